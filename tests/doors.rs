//! The doors that are no network: a maildir, a sendmail program.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::support::{Run, Sandbox};

fn script(sandbox: &Sandbox, body: &str) -> String {
    let path = sandbox.file("bin/sendmail", format!("#!/bin/sh\n{body}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    format!("sendmail:{path}")
}

fn send(sandbox: &Sandbox, server: &str, more: &[&str]) -> Run {
    sandbox
        .run(&[&["--server", server, "-r", "s@x.example", "--format", "json", "--body", "hi\n.\nend"], more].concat())
}

#[test]
fn a_maildir_gets_the_message_and_tells_where() {
    let sandbox = Sandbox::new();
    let run = sandbox
        .run(&["--server", "maildir:./outbox", "--to", "you@example.com", "-s", "Hello", "--body", "Grüße"])
        .exits(0);
    let path = run.stderr.lines().next().and_then(|line| line.split(": ").nth(1)).expect("a path").to_owned();
    assert!(path.starts_with("./outbox/new/"), "{run:#?}");
    assert!(run.stderr.contains("next: mailsend profile add"), "{run:#?}");
    let text = fs::read_to_string(sandbox.path(&path)).expect("the message");
    assert!(text.contains("To: <you@example.com>\n") && !text.contains('\r'), "{text}");
    assert!(text.contains("From: <tester@"), "{text}");
    sandbox.run(&["--server", "maildir:./outbox", "--to", "you@example.com", "-q", "--body", "x"]).exits(0).silently();
    assert_eq!(fs::read_dir(sandbox.path("outbox/new")).expect("a folder").count(), 2);
    assert_eq!(fs::read_dir(sandbox.path("outbox/tmp")).expect("a folder").count(), 0);
}

#[test]
fn a_maildir_that_cannot_be_written_accepts_nothing() {
    let sandbox = Sandbox::new();
    sandbox.file("file", "");
    let run = send(&sandbox, "maildir:./file", &["a@y.example"]).exits(74);
    assert_eq!(run.records()[0]["state"], "deferred");
}

#[test]
fn sendmail_gets_sender_wishes_and_recipients_as_arguments_only() {
    let sandbox = Sandbox::new();
    let server = script(&sandbox, "printf '%s\\n' \"$@\" > args; cat > mail; echo done >&2");
    let run = send(
        &sandbox,
        &server,
        &[
            "--to",
            "-OQueueDirectory=/tmp@example.test",
            "--to",
            "\"a b;touch evil\"@example.test",
            "--dsn-notify",
            "success",
            "--dsn-return",
            "hdrs",
            "--envid",
            "e1",
        ],
    )
    .exits(0)
    .silently();
    let arguments = fs::read_to_string(sandbox.path("args")).expect("arguments");
    assert_eq!(
        arguments,
        "-i\n-f\ns@x.example\n-N\nsuccess\n-R\nhdrs\n-V\ne1\n--\n-OQueueDirectory=/tmp@example.test\n\"a b;touch evil\"@example.test\n"
    );
    let mail = fs::read_to_string(sandbox.path("mail")).expect("mail");
    assert!(mail.ends_with("\n\nhi\n.\nend\n") && !mail.contains('\r'), "{mail}");
    assert!(!sandbox.path("evil").exists());
    assert_eq!(run.records().len(), 2);
}

#[test]
fn exit_codes_of_sendmail_are_understood() {
    let sandbox = Sandbox::new();
    for (body, exit, state) in [
        ("cat > /dev/null; exit 67", 67, "failed"),
        ("cat > /dev/null; exit 65", 69, "failed"),
        ("cat > /dev/null; echo 'queue full' >&2; exit 75", 75, "deferred"),
        ("cat > /dev/null; exit 78", 75, "deferred"),
        ("exit 75", 75, "deferred"),
        ("cat > /dev/null; kill -9 $$", 1, "unknown"),
    ] {
        let server = script(&sandbox, body);
        let run = send(&sandbox, &server, &["a@y.example"]).exits(exit);
        assert_eq!(run.records()[0]["state"], state, "{body}");
        if body.contains("queue full") {
            run.says("queue full");
        }
    }
    let server = script(&sandbox, "cat > /dev/null; sleep 60");
    let run = send(&sandbox, &server, &["a@y.example", "-o", "timeouts.final-reply=200ms"]).exits(1);
    assert_eq!(run.records()[0]["state"], "unknown");
}

#[test]
fn a_sendmail_that_leaves_a_daemon_behind_is_not_waited_for() {
    let sandbox = Sandbox::new();
    let server = script(&sandbox, "cat > /dev/null; echo 'no room' >&2; sleep 600 & exit 75");
    let start = std::time::Instant::now();
    send(&sandbox, &server, &["a@y.example"]).exits(75).says("no room");
    assert!(start.elapsed() < std::time::Duration::from_secs(20));
}

/// What a program gets that is killed in the middle must not look like a whole message.
#[test]
fn a_sendmail_does_not_see_the_end_of_half_a_message() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("large.bin", vec![7; 1_000_000]);
    // Its end is seen when the last of its processes has let go of this.
    let alive = sandbox.path("alive");
    assert!(std::process::Command::new("mkfifo").arg(&alive).status().expect("mkfifo").success());
    let gone = std::thread::spawn(move || fs::read(alive));
    // It stops reading in the middle; a child of its own holds the input, too.
    let body = "exec 9> alive; (head -c 1000 > /dev/null; sleep 2; cat > /dev/null; echo whole > seen) & wait";
    let server = script(&sandbox, body);
    let run = send(&sandbox, &server, &["a@y.example", "-a", &file, "-o", "timeouts.content=200ms"]).exits(75);
    assert_eq!(run.records()[0]["state"], "deferred");
    gone.join().expect("a thread").expect("a pipe");
    assert!(!sandbox.path("seen").exists(), "it has taken half a message");
}

/// The first signal lets it end, the second does not.
/// If we are killed, the program takes the end of its input for the end of the message.
#[test]
fn a_sendmail_is_not_started_before_that_is_noted() {
    let sandbox = Sandbox::new();
    sandbox.file("people.csv", "to\na@y.example\n");
    let server = script(&sandbox, "cp run.jsonl seen.jsonl; cat > mail");
    let words = ["batch", "people.csv", "--server", &server, "-r", "s@x.example", "-s", "x", "--body", "x", "--report"];
    sandbox.run(&[&words[..], &["run.jsonl"]].concat()).exits(0);
    let seen = fs::read_to_string(sandbox.path("seen.jsonl")).expect("a copy of the ledger");
    assert!(seen.contains("\"type\":\"intent\",\"rows\":\"1\"") && !seen.contains("outcome"), "{seen}");
}

#[test]
fn a_second_signal_ends_a_sendmail_too() {
    let sandbox = Sandbox::new();
    for (body, file, state) in [
        // It had everything and has not said what became of it.
        ("cat > /dev/null; echo > ready; sleep 600", "ready", "unknown"),
        ("head -c 10 > /dev/null; echo > early; sleep 600", "early", "deferred"),
    ] {
        let server = script(&sandbox, body);
        let large = sandbox.file("large.bin", vec![7; 1_000_000]);
        let mut child = sandbox
            .command(&["--server", &server, "-r", "s@x.example", "--format", "json", "--body", "hi", "a@y.example"])
            .args(["-a", &large])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the binary starts");
        while !sandbox.path(file).exists() {
            assert!(child.try_wait().expect("a child").is_none(), "it ends early");
            std::thread::yield_now();
        }
        let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).expect("a number");
        for _ in 0..2 {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
            // Two that come together are one.
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let run = crate::support::finish(child);
        assert_eq!(run.code, -15, "{run:#?}");
        assert_eq!(run.records()[0]["state"], state, "{run:#?}");
    }
}

#[test]
fn mailsend_does_not_call_itself() {
    let sandbox = Sandbox::new();
    send(&sandbox, &format!("sendmail:{}", env!("CARGO_BIN_EXE_mailsend")), &["a@y.example"])
        .exits(78)
        .says("is mailsend itself");
    let link = sandbox.path("sendmail");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mailsend"), &link).expect("a link");
    send(&sandbox, &format!("sendmail:{}", link.display()), &["a@y.example"]).exits(78).says("is mailsend itself");
    // A wrapper that comes back here ends, too.
    let wrapper = script(
        &sandbox,
        &format!("exec {} --server sendmail:$0 -r s@x.example --raw - \"$@\"", env!("CARGO_BIN_EXE_mailsend")),
    );
    let run = send(&sandbox, &wrapper, &["a@y.example"]);
    assert!(run.code != 0, "{run:#?}");
    send(&sandbox, "sendmail:/nonesuch", &["a@y.example"]).exits(78).says("/nonesuch");
    send(&sandbox, "sendmail:sendmail", &["a@y.example"]).exits(64).says("whole path");
}

#[test]
fn a_large_file_goes_through_both_doors() {
    let sandbox = Sandbox::new();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n.wrapping_mul(97) >> 3) as u8).collect();
    let file = sandbox.file("large.bin", &bytes);
    let server = script(&sandbox, "cat > mail");
    send(&sandbox, &server, &["a@y.example", "-a", &file]).exits(0);
    send(&sandbox, "maildir:./box", &["a@y.example", "-a", &file]).exits(0);
    let stored =
        fs::read_dir(sandbox.path("box/new")).expect("a folder").next().expect("a file").expect("a file").path();
    for path in [sandbox.path("mail"), stored] {
        let mail = fs::read(path).expect("mail");
        let message = mail_parser::MessageParser::new().parse(&mail).expect("a message");
        let part = message.attachment(0).expect("a file");
        assert_eq!(mail_parser::MessagePart::contents(part), bytes);
    }
}
