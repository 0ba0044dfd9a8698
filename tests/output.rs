//! What is told to whom: records, files, closed pipes, full disks, signals.

use std::{fs, io::Read, process::Stdio, time::Duration};

use crate::support::{Sandbox, Server, finish};

fn one_for_all() -> Server {
    Server::new(|talk, _| {
        talk.greet("PIPELINING");
        for _ in 0..4 {
            talk.hear();
        }
        talk.say("250 ok\n250 ok\n550 5.1.1 \"no\", such user\n354 go");
        talk.data();
        talk.say("250 2.0.0 Ok: queued as 4F2");
    })
}

const BOTH: &[&str] = &["-r", "s@x.example", "a@y.example", "b@y.example", "--body", "x"];

#[test]
fn records_in_every_form() {
    let sandbox = Sandbox::new();
    let run = |more: &[&str]| {
        let server = one_for_all();
        let url = server.url();
        sandbox.run(&[&["--server", &url], BOTH, more].concat()).exits(1)
    };
    let human = run(&["--report", "-"]).stdout;
    assert_eq!(
        human,
        "failed b@y.example: 550 5.1.1 \"no\", such user (at RCPT)\naccepted a@y.example: 250 2.0.0 Ok: queued as 4F2\n"
    );
    let json = run(&["--format", "json"]);
    let record = &json.records()[1];
    let keys: Vec<&str> = record.as_object().expect("an object").keys().map(String::as_str).collect();
    for key in [
        "v",
        "type",
        "time",
        "run",
        "row",
        "message_id",
        "from",
        "recipient",
        "state",
        "stage",
        "code",
        "enhanced",
        "reply",
        "attempts",
        "profile",
        "server",
        "remote_id",
        "elapsed_ms",
        "error",
        "dsn",
        "redelivered",
    ] {
        assert!(keys.contains(&key), "{key}");
    }
    assert_eq!(
        (record["v"].as_u64(), record["from"].as_str(), record["profile"].is_null()),
        (Some(1), Some("s@x.example"), true)
    );
    let csv = run(&["--format", "csv"]).stdout;
    assert!(csv.starts_with("v,type,time,run,row,") && csv.contains("\"5.1.1 \"\"no\"\", such user\""), "{csv}");
    // A file is added to; its name tells the format.
    for _ in 0..2 {
        run(&["--report", "run.jsonl"]);
        run(&["--report", "run.csv"]);
    }
    let lines = |name: &str| fs::read_to_string(sandbox.path(name)).expect("records").lines().count();
    assert_eq!((lines("run.jsonl"), lines("run.csv")), (4, 5));
}

#[test]
fn a_report_that_cannot_be_opened_stops_everything() {
    let server = Server::uncalled();
    let url = server.url();
    let sandbox = Sandbox::new();
    sandbox
        .run(&[&["--server", &url], BOTH, &["--report", "no/such/folder/run.jsonl"]].concat())
        .exits(73)
        .says("run.jsonl");
}

#[test]
fn a_full_disk_behind_the_report_is_told_after_the_mail_has_gone() {
    let server = Server::new(|talk, _| {
        talk.greet("");
        talk.take_one(1);
    });
    let url = server.url();
    let run = Sandbox::new().run(&[
        "--server",
        &url,
        "-r",
        "s@x.example",
        "a@y.example",
        "--body",
        "x",
        "--report",
        "/dev/full",
    ]);
    run.exits(74).says("the records are not complete");
    assert_eq!(server.only().messages.len(), 1);
}

/// A folder on a disk of one megabyte; only root can make one, and a machine without it skips by name.
fn small_disk(sandbox: &Sandbox) -> Option<Mounted> {
    let path = sandbox.path("small");
    fs::create_dir(&path).expect("a folder");
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&path)
        .stderr(Stdio::null())
        .status();
    if mount.is_ok_and(|status| status.success()) {
        return Some(Mounted(path));
    }
    assert!(std::env::var_os("MAILSEND_TEST_SERVERS").is_none(), "a small disk cannot be mounted");
    eprintln!("skipped: a full disk (mounting one needs root)");
    None
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_half_is_left() {
    let mut sandbox = Sandbox::new();
    let Some(disk) = small_disk(&sandbox) else { return };
    let folder = disk.0.to_str().expect("UTF-8").to_owned();
    let large = sandbox.file("large.bin", vec![1; 3_000_000]);
    let base = ["-r", "s@x.example", "a@y.example", "--body", "x", "-a", &large];
    // A maildir there: nothing is in new, nothing in tmp.
    let server = format!("maildir:{folder}/box");
    let run =
        sandbox.run(&[&base[..], &["--server", &server, "--format", "json"]].concat()).exits(74).says("No space left");
    assert_eq!(run.records()[0]["state"], "deferred");
    for part in ["new", "tmp"] {
        assert_eq!(fs::read_dir(format!("{folder}/box/{part}")).expect("a folder").count(), 0);
    }
    let eml = format!("{folder}/out.eml");
    let files = || fs::read_dir(&folder).expect("a folder").count();
    let before = files();
    sandbox.run(&[&base[..], &["--eml", &eml]].concat()).exits(74).says("No space left");
    assert_eq!(files(), before, "half a message is left");
    // A pipe that is spooled there.
    sandbox.env("TMPDIR", &folder);
    let server = Server::uncalled();
    let url = server.url();
    let stdin = vec![1; 3_000_000];
    sandbox
        .run_with(&["--server", &url, "-r", "s@x.example", "a@y.example", "-a", "-"], &stdin)
        .exits(74)
        .says("TMPDIR=");
    // The configuration stays what it was.
    let config = format!("{folder}/c.toml");
    let old = format!("# {}\n", "x".repeat(700_000));
    fs::write(&config, &old).expect("room");
    sandbox.run(&["profile", "add", "p", "--server", "smtp://mx.example", "-C", &config]).exits(73);
    assert!(fs::read_to_string(&config).expect("a file") == old);
}

#[test]
fn a_closed_pipe_ends_printing_not_sending() {
    let server = Server::new(|talk, _| {
        talk.greet("");
        talk.take_one(1);
    });
    let url = server.url();
    let sandbox = Sandbox::new();
    let mut command =
        sandbox.command(&["--server", &url, "-r", "s@x.example", "a@y.example", "--body", "x", "--format", "json"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    finish(child).exits(0).silently();
    assert_eq!(server.only().messages.len(), 1);
    for arguments in [&["--help"][..], &["man"], &["completions", "zsh"]] {
        let mut child =
            sandbox.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let run = finish(child);
        assert!(run.code == 0 && run.stderr.is_empty(), "{arguments:?}: {run:#?}");
    }
}

#[test]
fn quiet_verbose_and_trace() {
    let send = |more: &[&str]| {
        let server = Server::new(|talk, _| {
            talk.greet("8BITMIME");
            talk.take_one(1);
            talk.expect("QUIT");
        });
        let url = server.url();
        Sandbox::new()
            .run(&[&["--server", &url, "-r", "s@x.example", "a@y.example", "--body", "x"], more].concat())
            .exits(0)
    };
    assert_eq!(send(&[]).stderr, "");
    assert_eq!(send(&["-q"]).stderr, "");
    assert!(send(&["-v"]).stderr.contains("accepted a@y.example: 250"));
    let trace = send(&["--trace"]).stderr;
    for line in [
        "<- 220 mx.example ESMTP",
        "<- 250-mx.example",
        "<- 250 8BITMIME",
        "-> MAIL FROM:<s@x.example>",
        "-> DATA",
        "octets of message]",
        "-> .",
        "<- 250 2.0.0 Ok",
        "-> QUIT",
    ] {
        assert!(trace.contains(line), "{line} is not in {trace}");
    }
    assert_eq!(send(&["--progress", "json"]).stderr, "", "a small message has no progress");
}

#[test]
fn progress_of_a_large_message() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("large.bin", vec![1; 2_000_000]);
    for (how, expected) in [("lines", "100% of "), ("json", "{\"sent\":"), ("none", "")] {
        let server = Server::new(|talk, _| {
            talk.greet("");
            talk.take_one(1);
        });
        let url = server.url();
        let run = sandbox
            .run(&["--server", &url, "-r", "s@x.example", "a@y.example", "--body", "x", "-a", &file, "--progress", how])
            .exits(0);
        assert!(run.stderr.contains(expected), "{run:#?}");
        assert_eq!(run.stderr.is_empty(), how == "none", "{run:#?}");
    }
}

#[test]
fn a_signal_ends_what_is_under_way_and_is_seen_by_the_caller() {
    // While the server thinks about the whole message: the second signal ends it, the record says unknown.
    let (told, ready) = std::sync::mpsc::channel();
    let server = Server::new(move |talk, _| {
        talk.greet("");
        for reply in ["250 ok", "250 ok", "354 go"] {
            talk.answer("", reply);
        }
        talk.data();
        told.send(()).expect("the test waits");
        talk.hear_to_the_end_or_reset();
    });
    let url = server.url();
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&[
        "--server",
        &url,
        "-r",
        "s@x.example",
        "a@y.example",
        "--body",
        "x",
        "--report",
        "run.jsonl",
    ]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    ready.recv().expect("the message was sent");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
    // What is under way may end: the first signal alone does nothing yet.
    std::thread::sleep(Duration::from_millis(200));
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
    let run = finish(child);
    assert_eq!(run.code, -15, "{run:#?}");
    let records = fs::read_to_string(sandbox.path("run.jsonl")).expect("records");
    assert!(records.contains("\"state\":\"unknown\"") && records.contains("cut off by a second signal"), "{records}");
}

/// A reader that pauses holds neither the conversation nor a signal.
#[test]
fn an_output_that_nobody_reads_stops_nothing() {
    let (told, ready) = std::sync::mpsc::channel();
    let server = Server::new(move |talk, _| {
        talk.greet("PIPELINING");
        talk.expect("MAIL");
        talk.say("250 ok");
        for _ in 0..2_000 {
            talk.answer("RCPT", "250 ok");
        }
        talk.answer("DATA", "354 go");
        talk.data();
        talk.say("250 ok");
        talk.expect("QUIT");
        told.send(()).expect("the test waits");
    });
    let sandbox = Sandbox::new();
    let list: String = (0..2_000).map(|number| format!("{number}@y.example\n")).collect();
    sandbox.file("list.txt", list);
    let url = server.url();
    let mut command = sandbox.command(&["--server", &url, "-r", "s@x.example", "--bcc", "@list.txt", "--body", "x"]);
    command.args(["--format", "json"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // All is said and done, while the records of some 800 KB wait for a reader.
    ready.recv().expect("the message was sent");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    let start = std::time::Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "no signal ends it");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let (told, ready) = std::sync::mpsc::channel();
    let (go, sent) = std::sync::mpsc::channel();
    let sent = std::sync::Mutex::new(sent);
    let server = Server::new(move |talk, _| {
        talk.greet("");
        talk.expect("MAIL");
        told.send(()).expect("the test waits");
        sent.lock().expect("one connection").recv().expect("the signal is sent");
        talk.say("250 ok");
        talk.answer("RCPT", "250 ok");
        talk.answer("DATA", "354 go");
        talk.data();
        talk.say("250 ok");
    });
    let sandbox = Sandbox::new();
    let line = format!(
        "trap '' HUP; exec {} --server {} -r s@x.example a@y.example --body x",
        env!("CARGO_BIN_EXE_mailsend"),
        server.url()
    );
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", &line]).env("MAILSEND_CONFIG", sandbox.path("config.toml")).env("HOME", sandbox.path("."));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    ready.recv().expect("it connects");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    for _ in 0..2 {
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("a signal");
    }
    go.send(()).expect("the server waits");
    finish(child).exits(0).silently();
}

#[test]
fn a_signal_before_anything_was_asked_stops_at_once() {
    let (told, ready) = std::sync::mpsc::channel();
    let server = Server::new(move |talk, _| {
        told.send(()).expect("the test waits");
        talk.hear_to_the_end_or_reset();
    });
    let url = server.url();
    let sandbox = Sandbox::new();
    let mut command =
        sandbox.command(&["--server", &url, "-r", "s@x.example", "a@y.example", "--body", "x", "--format", "json"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    ready.recv().expect("it connects");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
    let run = finish(child);
    assert_eq!(run.code, -2, "{run:#?}");
    assert_eq!(run.records()[0]["state"], "deferred");
}

#[test]
fn version_and_help_are_what_was_asked_for() {
    let sandbox = Sandbox::new();
    let version = sandbox.run(&["--version"]).exits(0).silently();
    assert!(version.stdout.starts_with("mailsend "));
    let short = sandbox.run(&["-h"]).exits(0).silently().stdout;
    let long = sandbox.run(&["--help"]).exits(0).silently().stdout;
    let full = sandbox.shell(&format!("exec {} --help > /dev/full", env!("CARGO_BIN_EXE_mailsend")));
    full.exits(74).says("No space left");
    assert!(long.len() > short.len() && long.contains("Examples:"));
    assert!(!short.contains("--password "), "there is no password option");
    let mut out = String::new();
    let mut child = sandbox.command(&["man", "config"]).stdout(Stdio::piped()).spawn().expect("it starts");
    child.stdout.take().expect("a pipe").read_to_string(&mut out).expect("text");
    child.wait().expect("it ends");
    assert!(out.contains(".TH MAILSEND-CONFIG 5"));
}
