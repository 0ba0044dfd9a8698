//! Into the queue: what a message is when it gets there, when it goes, and by which way.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{add, list, message, only, sandbox, show, start, text, until};
use crate::support::{
    Sandbox, SmallDisk, real,
    sink::{Act, Heard, Sink},
    traces_of,
};

/// Nobody listens there.
const NOWHERE: &str = "smtp://127.0.0.1:9";

#[test]
fn it_is_composed_at_once_and_sent_later() {
    let sandbox = sandbox();
    let sink = Sink::new("PIPELINING");
    let file = sandbox.file("report.txt", "last night\n");
    // Over 64 KiB, and a few: both forms in which messages are kept.
    let large = sandbox.file("large.bin", vec![7; 200_000]);
    let url = sink.url();
    let run =
        sandbox.run(&message(&url, "a@y.example", &["--queue", "-a", &file, "--format", "json"])).exits(0).silently();
    let record = &run.records()[0];
    assert_eq!((&record["state"], &record["stage"]), (&"queued".into(), &"compose".into()));
    assert_eq!((&record["recipient"], &record["attempts"]), (&"a@y.example".into(), &0.into()));
    let name = only(&sandbox);
    assert_eq!(record["remote_id"], name.as_str());
    add(&sandbox, &url, "b@y.example", &["-a", &large]);
    assert_eq!(sink.count(), 0);
    fs::remove_file(&file).expect("it is there");
    fs::write(&large, "something else").expect("it is there");
    let eml = sandbox.run(&["queue", "show", &name, "--eml", "-"]).exits(0).stdout;
    sandbox.run(&["queue", "run"]).exits(0).silently();
    let taken = sink.taken();
    let of = |recipient: &str| taken.iter().find(|taken| taken.recipients == [recipient]).expect("it is there");
    assert_eq!(of("a@y.example").content, eml.replace('\n', "\r\n").replace("\r\r", "\r"));
    assert_eq!(of("a@y.example").sender, "s@x.example");
    assert_eq!(of("a@y.example").field("Message-ID"), record["message_id"].as_str().map(str::to_owned));
    assert!(of("b@y.example").content.len() > 250_000);
    assert!(list(&sandbox, &[]).is_empty());
    let shown = show(&sandbox, &name);
    assert_eq!((&shown["status"], &shown["all"][0]["state"]), (&"done".into(), &"accepted".into()));
    // Its text is gone with it.
    sandbox.run(&["queue", "show", &name, "--eml", "-"]).exits(66);
}

#[test]
fn where_no_worker_runs_it_is_begun_in_the_background() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("PIPELINING");
    let begin = Instant::now();
    add(&sandbox, NOWHERE, "a@y.example", &[]);
    add(&sandbox, &sink.url(), "b@y.example", &[]);
    assert!(begin.elapsed() < Duration::from_secs(8), "somebody was waited for");
    until("the message", || sink.count() == 1);
    until("its end", || list(&sandbox, &["--all"]).iter().any(|one| one["status"] == "done"));
    assert_eq!(sink.counts().into_iter().collect::<Vec<_>>(), [("b@y.example".to_owned(), 1)]);
    // What waits for its time wakes nobody.
    add(&sandbox, &sink.url(), "c@y.example", &["--in", "1h", "-q"]);
    assert_eq!(list(&sandbox, &[]).len(), 2);
}

/// Whoever adds what may stay is told that it may, where somebody looks.
#[test]
fn nobody_is_left_to_think_that_a_worker_runs() {
    let sandbox = sandbox();
    let told = "no worker runs";
    add(&sandbox, NOWHERE, "a@y.example", &[]);
    sandbox.run(&message(NOWHERE, "b@y.example", &["--queue", "-v"])).exits(0).says("due now, and no worker runs");
    sandbox.run(&message(NOWHERE, "c@y.example", &["--queue-on-failure"])).exits(0).says("queued as");
    let run = sandbox.run(&message(NOWHERE, "c@y.example", &["--queue-on-failure", "-v"])).exits(0).says(told);
    assert!(run.stderr.find("queued as") < run.stderr.find(told), "{run:#?}");
    sandbox.run(&["queue", "list"]).exits(0).says(told);
    sandbox.run(&["queue", "stats"]).exits(0).says(told);
    sandbox.run(&["queue", "stats", "-q"]).exits(0).silently();
    let mut worker = start(&sandbox, &["worker"]);
    until("a worker", || sandbox.run(&["queue", "stats"]).stdout.contains("runs"));
    for quiet in [&["queue", "list"][..], &message(NOWHERE, "d@y.example", &["--in", "1h"])] {
        sandbox.run(quiet).exits(0).silently();
    }
    drop(worker.kill());
    worker.wait().expect("it ends");
}

/// Many who add something have one who drains it.
#[test]
fn many_have_one_in_the_background() {
    let sandbox = Sandbox::new();
    let sink = Sink::with("PIPELINING", |moment| {
        if let Heard::Content(_) = moment.heard {
            std::thread::sleep(Duration::from_millis(20));
        }
        Act::Agree
    });
    let most = Arc::new(AtomicUsize::new(0));
    let url = sink.url();
    std::thread::scope(|scope| {
        for adder in 0..4 {
            let (sandbox, url, most) = (&sandbox, &url, &most);
            scope.spawn(move || {
                for number in 0..10 {
                    add(sandbox, url, &format!("p{adder}-{number}@y.example"), &[]);
                    let workers = fs::read_dir(sandbox.path(".local/state/mailsend/queue.sqlite.d/workers"));
                    most.fetch_max(workers.map_or(0, Iterator::count), Ordering::SeqCst);
                }
            });
        }
    });
    until("the last message", || sink.counts().len() == 40);
    until("the end", || list(&sandbox, &["--all"]).iter().all(|one| one["status"] == "done"));
    assert_eq!(sink.count(), 40);
    let most = most.load(Ordering::SeqCst);
    // One that begins while another ends.
    assert!((1..=3).contains(&most), "{most} at once");
}

#[test]
fn not_before_its_time() {
    let sandbox = sandbox();
    let sink = Sink::new("PIPELINING");
    let url = sink.url();
    sandbox.run(&message(&url, "a@y.example", &["--in", "2h", "-q"])).exits(0).silently();
    sandbox
        .run(&message(&url, "b@y.example", &["--at", "2999-01-01 09:00"]))
        .exits(0)
        .says("due 2999-01-01T09:00:00Z, and no worker runs: mailsend worker, or mailsend queue run from cron");
    sandbox.run(&message(&url, "c@y.example", &["--at", "2020-01-01T09:00:00Z"])).exits(0).says("past");
    let listed = list(&sandbox, &[]);
    assert_eq!(listed[1]["due"], "2999-01-01T09:00:00.000Z");
    assert_eq!(listed[1]["expires"], "2999-01-06T09:00:00.000Z");
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(sink.counts().keys().collect::<Vec<_>>(), ["c@y.example"]);
    sandbox.run(&["queue", "retry", &text(&listed[1]["name"])[..6]]).exits(0).silently();
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(sink.counts().keys().collect::<Vec<_>>(), ["b@y.example", "c@y.example"]);
    let shown = sandbox.run(&message(&url, "d@y.example", &["--at", "2999-01-01T09:00:00Z", "--dry-run"])).exits(0);
    assert!(shown.stdout.contains("not before 2999-01-01T09:00:00Z"), "{shown:#?}");
    for bad in [
        &["--at", "noon"][..],
        &["--in", "soon"],
        &["--in", "-5m"],
        &["--in", "9999999d"],
        &["--queue", "--key", ""],
        &["--at", "09:00", "--in", "1h"],
        &["--expires", "1h"],
        &["--key", "x"],
    ] {
        sandbox.run(&message(&url, "d@y.example", bad)).exits(64);
    }
}

#[test]
fn what_is_urgent_goes_first() {
    let sandbox = sandbox();
    let sink = Sink::new("PIPELINING");
    let url = sink.url();
    for (to, priority) in [("low@y.example", "low"), ("normal@y.example", "normal"), ("high@y.example", "high")] {
        add(&sandbox, &url, to, &["--priority", priority, "-o", "pool.max-connections=1"]);
    }
    sandbox.run(&["queue", "run"]).exits(0);
    let order: Vec<String> = sink.taken().into_iter().flat_map(|taken| taken.recipients).collect();
    assert_eq!(order, ["high@y.example", "normal@y.example", "low@y.example"]);
}

#[test]
fn a_key_is_taken_once() {
    let sandbox = sandbox();
    let sink = Sink::new("PIPELINING");
    let url = sink.url();
    let with_key = message(&url, "a@y.example", &["--queue", "--key", "invoice 7", "-v", "--format", "json"]);
    let first = sandbox.run(&with_key).exits(0).says("queued as ");
    let name = only(&sandbox);
    let before = format!("a message with this key was queued before as {name}; this one was not added");
    let again = sandbox.run(&with_key).exits(0).says(&before);
    for same in ["remote_id", "message_id", "state"] {
        assert_eq!(first.records()[0][same], again.records()[0][same]);
    }
    // Who gets nothing is told so in any case.
    let others = ["--queue", "--key", "invoice 7", "--format", "json"];
    let run =
        sandbox.run(&message(&url, "a@y.example, b@y.example", &others)).exits(0).says(&before).says("b@y.example");
    let states: Vec<String> = run.records().iter().map(|record| text(&record["state"])).collect();
    assert_eq!(states, ["queued", "skipped"]);
    assert!(text(&run.records()[1]["error"]).contains(&name), "{run:#?}");
    sandbox.run(&message(&url, "a@y.example", &[&others[..3], &["--in", "1h"]].concat())).exits(0).silently();
    sandbox.run(&["queue", "run"]).exits(0);
    // It is known beyond the end of its message.
    sandbox.run(&with_key).exits(0).says(&before);
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(sink.count(), 1);
    // And beyond its removal: who adds it again may have been told of nothing.
    sandbox.run(&["queue", "purge", "--done", "--yes"]).exits(0);
    sandbox.run(&with_key).exits(0).says(&before);
    assert!(list(&sandbox, &["--all"]).is_empty());
    // With a return path for each there is a message for each.
    let many = message(&url, "b@y.example, c@y.example", &["--queue", "--verp", "--key", "list", "-v"]);
    assert_eq!(sandbox.run(&many).exits(0).stderr.matches("queued as").count(), 2);
    sandbox.run(&many).exits(0).says("was queued before");
    assert_eq!(list(&sandbox, &[]).len(), 2);
}

#[test]
fn what_cannot_be_sent_now_is_kept_for_whom_it_could_not() {
    let sandbox = sandbox();
    let later = ["--queue-on-failure", "--format", "json"];
    let run = sandbox.run(&message(NOWHERE, "a@y.example", &later)).exits(0).says("queued as ");
    assert_eq!(run.records()[0]["state"], "queued");
    sandbox.run(&["queue", "purge", "--waiting", "-y"]).exits(0);
    let sink = Sink::with("PIPELINING", |moment| match &moment.heard {
        Heard::Rcpt("late@y.example", _) if moment.connection == 0 => Act::Say("451 4.7.1 greylisted".to_owned()),
        Heard::Rcpt("never@y.example", _) => Act::Say("550 5.1.1 unknown".to_owned()),
        Heard::Content(taken) if taken.recipients == ["lost@y.example"] => Act::Swallow,
        _ => Act::Agree,
    });
    let url = sink.url();
    let all = "late@y.example, never@y.example, ok@y.example";
    let run = sandbox.run(&message(&url, all, &later)).exits(1).says("451 4.7.1 greylisted").says("queued as ");
    let mut states: Vec<(String, String)> =
        run.records().iter().map(|record| (text(&record["recipient"]), text(&record["state"]))).collect();
    states.sort();
    let state = |name: &str, state: &str| (format!("{name}@y.example"), state.to_owned());
    assert_eq!(states, [state("late", "queued"), state("never", "failed"), state("ok", "accepted")]);
    let shown = show(&sandbox, &only(&sandbox));
    assert_eq!(
        (shown["all"].as_array().map(Vec::len), &shown["all"][0]["address"]),
        (Some(1), &"late@y.example".into())
    );
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(sink.counts().get("late@y.example"), Some(&1));
    // Accepted by one, and the rest is safe: all is well.
    sandbox.run(&message(&url, "ok@y.example", &later)).exits(0);
    // Whoever may have it already is left to people.
    let before = list(&sandbox, &["--all"]).len();
    sandbox.run(&message(&url, "lost@y.example", &later)).exits(1);
    // So is a login that is refused: it will not be better tomorrow.
    let refused = Sink::with("AUTH PLAIN", |moment| match moment.heard {
        Heard::Login => Act::Say("535 5.7.8 no".to_owned()),
        _ => Act::Agree,
    });
    let secret = sandbox.file("secret", "x");
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
    let url = format!("smtp://u@127.0.0.1:{}", refused.port);
    let login = ["--queue-on-failure", "-o", "allow-plaintext-auth=true", "--password-file", &secret];
    sandbox.run(&message(&url, "a@y.example", &login)).exits(77);
    assert_eq!(list(&sandbox, &["--all"]).len(), before);
}

#[test]
fn what_has_expired_has_failed_and_its_sender_is_told() {
    let sandbox = sandbox();
    let sink = Sink::new("PIPELINING");
    let url = sink.url();
    add(&sandbox, &url, "a@y.example", &["--expires", "1ms"]);
    add(&sandbox, &url, "b@y.example", &["--expires", "1ms", "-f", "<>"]);
    std::thread::sleep(Duration::from_millis(5));
    sandbox.run(&["queue", "run"]).exits(1);
    sandbox.run(&["queue", "run"]);
    let taken = sink.taken();
    assert_eq!(taken.len(), 1, "{taken:#?}");
    assert_eq!((taken[0].sender.as_str(), &taken[0].recipients[..]), ("", &["s@x.example".to_owned()][..]));
    assert!(taken[0].content.contains("Final-Recipient: rfc822;") && taken[0].content.contains("a@y.example"));
    assert!(list(&sandbox, &[]).is_empty());
}

#[test]
fn its_way_is_kept_and_no_secret() {
    const SECRET: &str = "xyzzy-plugh-4711";
    let mut sandbox = sandbox();
    let out = sandbox.path("elsewhere/out");
    sandbox.config(
        "[profiles.work]\nserver = \"maildir:elsewhere/out\"\nmatch = \"*@work.example\"\nfrom = \"w@work.example\"\n\
         [profiles.login]\nserver = \"smtp://u@127.0.0.1:9\"\n[profiles.bare]\nfrom = \"b@x.example\"\n",
    );
    sandbox.file("elsewhere/x", "");
    // The sender has chosen it, and it is remembered by its name.
    sandbox.run(&["--queue", "-r", "m@work.example", "--to", "a@y.example", "-s", "Hi", "--body", ""]).exits(0);
    let shown = show(&sandbox, &only(&sandbox));
    assert_eq!(shown["place"], serde_json::json!({ "profile": "work" }));
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(fs::read_dir(out.join("new")).expect("a maildir").count(), 1);
    // A folder that was named from here is the same from anywhere.
    add(&sandbox, "maildir:./here", "b@y.example", &["-o", "tls.ca-file=ca.pem", "--timeout", "5s"]);
    let mut command = sandbox.command(&["queue", "run"]);
    assert_eq!(command.current_dir("/").status().expect("it runs").into_raw(), 0);
    assert_eq!(fs::read_dir(sandbox.path("here/new")).expect("a maildir").count(), 1);
    // Passwords are not kept, and where there is no other source that is said.
    sandbox.env("MAILSEND_PASSWORD", SECRET);
    let to_login = ["--queue", "-p", "login", "-r", "m@x.example", "--to", "c@y.example", "-s", "Hi", "--body", ""];
    sandbox.run(&to_login).exits(0).says("MAILSEND_PASSWORD is not kept");
    sandbox.run(&[&to_login[..], &["--password-command", "cat p"]].concat()).exits(0).silently();
    let settings: Vec<String> = list(&sandbox, &[])
        .iter()
        .map(|one| show(&sandbox, &text(&one["name"]))["place"]["settings"].to_string())
        .collect();
    assert_eq!(settings, ["null", "[[\"password\",\"{ command = \\\"cat p\\\" }\"]]"]);
    for entry in fs::read_dir(sandbox.path(".local/state/mailsend")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(traces_of(SECRET).iter().all(|trace| !text.contains(trace)), "{}", path.display());
    }
    // What only sending now knows.
    for (more, why) in
        [(&["--password-fd", "3"][..], "descriptor"), (&["--retry", "2"], "expires"), (&["--trace"], "dialogue")]
    {
        sandbox.run(&message(NOWHERE, "d@y.example", &[&["--queue"], more].concat())).exits(64).says(why);
    }
    sandbox
        .run(&["--queue", "-p", "bare", "--to", "d@y.example", "-s", "Hi", "--body", ""])
        .exits(78)
        .says("no server");
    sandbox.run(&message(NOWHERE, "not an address", &["--queue"])).exits(65);
    sandbox.run(&message(NOWHERE, "d@y.example", &["--queue", "-a", "missing.pdf"])).exits(66);
    assert_eq!(list(&sandbox, &[]).len(), 2);
}

/// What is told to be safe is on the disk: nothing that belongs to it is written behind the last sync.
#[test]
fn it_is_on_the_disk_before_the_end() {
    let sandbox = sandbox();
    let has_strace = sandbox.shell("command -v strace").code == 0;
    if !real::is_here("strace", has_strace) {
        return;
    }
    add(&sandbox, NOWHERE, "a@y.example", &[]);
    let arguments = message(NOWHERE, "b@y.example", &["--queue"]);
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-y", "-o", "trace", "-e", "trace=pwrite64,write,fsync,fdatasync"]);
    let own = sandbox.command(&arguments);
    command.arg(own.get_program()).args(own.get_args()).current_dir(sandbox.path(""));
    command.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().expect("strace");
    assert!(output.status.success(), "{output:?}");
    let trace = fs::read_to_string(sandbox.path("trace")).expect("a trace");
    let last = |calls: &[&str]| {
        trace
            .lines()
            .enumerate()
            .filter(|(_, line)| line.contains("sqlite-wal>") && calls.iter().any(|call| line.contains(call)))
            .map(|(at, _)| at)
            .last()
    };
    let (written, synced) = (last(&["write(", "pwrite64("]), last(&["fsync(", "fdatasync("]));
    assert!(written.is_some() && synced > written, "{trace}");
}

#[test]
fn a_full_disk_keeps_what_is_there() {
    let Some(disk) = SmallDisk::mount(600) else { return };
    let mut sandbox = sandbox();
    let path = disk.path("queue.sqlite");
    sandbox.env("MAILSEND_QUEUE_PATH", path.to_str().expect("a UTF-8 path"));
    let sink = Sink::new("PIPELINING");
    let url = sink.url();
    let large = sandbox.file("large.txt", "x".repeat(40_000));
    let mut safe = 0;
    let end = loop {
        let to = format!("p{safe}@y.example");
        let run = sandbox.run(&message(&url, &to, &["--queue", "-a", &large]));
        if run.code != 0 {
            break run;
        }
        safe += 1;
    };
    end.exits(74);
    assert!((1..20).contains(&safe), "{safe}");
    // There is room for nothing, but what was told to be safe is; and what has ended can go.
    sandbox.run(&["queue", "purge", "--held", "--done", "-y"]).exits(0);
    disk.grow("8m");
    assert_eq!(list(&sandbox, &[]).len(), safe);
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(sink.counts().len(), safe);
}
