//! A queue that is not what it should be.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{add, database, end, list, message, only, sandbox, show, signal, start, text, until};
use crate::support::{
    Sandbox, SmallDisk, finish, real,
    sink::{Act, Heard, Sink},
};

const NOWHERE: &str = "smtp://127.0.0.1:9";

fn file(sandbox: &Sandbox) -> std::path::PathBuf {
    sandbox.path(".local/state/mailsend/queue.sqlite")
}

/// Every command that opens it ends so, and says so.
#[track_caller]
fn all_end(sandbox: &Sandbox, code: i32, words: &str) {
    let adding = message(NOWHERE, "b@y.example", &["--queue"]);
    for arguments in [&adding[..], &["queue", "list"], &["queue", "stats"], &["queue", "run"], &["worker"]] {
        sandbox.run(arguments).exits(code).says(words);
    }
}

#[test]
fn it_is_its_owners_alone() {
    let sandbox = sandbox();
    add(&sandbox, NOWHERE, "a@y.example", &[]);
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&file(&sandbox)), mode(file(&sandbox).parent().expect("a folder"))), (0o600, 0o700));
}

#[test]
fn of_another_user() {
    let is_root = rustix::process::geteuid().is_root();
    if !real::is_here("a queue of another user (making one needs root)", is_root) {
        return;
    }
    let sandbox = sandbox();
    add(&sandbox, NOWHERE, "a@y.example", &[]);
    std::os::unix::fs::chown(file(&sandbox), Some(1), None).expect("root may");
    all_end(&sandbox, 78, "belongs to another user");
}

#[test]
fn of_a_newer_version() {
    let sandbox = sandbox();
    add(&sandbox, NOWHERE, "a@y.example", &[]);
    database(&sandbox).pragma_update(None, "user_version", 1_000).expect("a database");
    all_end(&sandbox, 78, "newer");
}

#[test]
fn no_queue_at_all() {
    let sandbox = sandbox();
    add(&sandbox, NOWHERE, "a@y.example", &[]);
    let path = file(&sandbox);
    for ending in ["-wal", "-shm"] {
        drop(fs::remove_file(path.with_file_name(format!("queue.sqlite{ending}"))));
    }
    let poison = b"This is no database, whoever says so. ".repeat(1_000);
    fs::write(&path, &poison).expect("it is ours");
    all_end(&sandbox, 65, "queue.sqlite");
    // Nobody has touched it.
    assert_eq!(fs::read(&path).expect("it is there"), poison);
    // Of another program.
    fs::remove_file(&path).expect("it is there");
    database(&sandbox).execute_batch("PRAGMA application_id = 7; CREATE TABLE t (x)").expect("a database");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    all_end(&sandbox, 65, "queue.sqlite");
}

#[test]
fn no_place_for_it() {
    let mut sandbox = sandbox();
    // Without HOME it would be the real one.
    sandbox.env("HOME", "/nonexistent");
    sandbox.run(&message(NOWHERE, "a@y.example", &["--queue"])).exits(78).says("no place for the queue");
    let path = sandbox.file("file", "");
    sandbox.env("MAILSEND_QUEUE_PATH", &format!("{path}/queue.sqlite"));
    sandbox.run(&message(NOWHERE, "a@y.example", &["--queue"])).exits(73);
}

/// A profile that has gone holds its own messages, and no others.
#[test]
fn a_profile_that_has_gone() {
    let sandbox = sandbox();
    let sink = Sink::new("PIPELINING");
    sandbox.config("[profiles.a]\nserver = \"maildir:out\"\nfrom = \"a@x.example\"\n");
    sandbox.run(&["--queue", "-p", "a", "--to", "a@y.example", "-s", "Hi", "--body", ""]).exits(0);
    add(&sandbox, &sink.url(), "b@y.example", &[]);
    sandbox.config("");
    sandbox.run(&["queue", "run"]).exits(1).says("'a'");
    assert_eq!(sink.counts().keys().collect::<Vec<_>>(), ["b@y.example"]);
    let held = list(&sandbox, &[]);
    assert_eq!((held.len(), &held[0]["status"]), (1, &"held".into()));
    sandbox.config("[profiles.a]\nserver = \"maildir:out\"\n");
    sandbox.run(&["queue", "release", "--all"]).exits(0);
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(fs::read_dir(sandbox.path("out/new")).expect("a maildir").count(), 1);
}

/// A worker goes by the configuration as it is when a message is sent.
#[test]
fn a_profile_made_while_a_worker_runs() {
    let sandbox = sandbox();
    let maildir = |profile: &str, folder: &str| {
        format!(
            "[profiles.{profile}]\nserver = \"maildir:{}\"\nfrom = \"a@x.example\"\n",
            sandbox.path(folder).display()
        )
    };
    let count = |folder: &str| fs::read_dir(sandbox.path(folder).join("new")).map_or(0, Iterator::count);
    let queue = |profile: &str| {
        sandbox.run(&["--queue", "-p", profile, "--to", "b@y.example", "-s", "Hi", "--body", ""]).exits(0);
    };
    sandbox.config(&maildir("a", "one"));
    let worker = start(&sandbox, &["worker"]);
    queue("a");
    until("the first", || count("one") == 1);
    // The same profile, by another way, while the worker still has the old one at hand; and a new one.
    sandbox.config(&(maildir("a", "two") + &maildir("b", "three")));
    queue("a");
    queue("b");
    until("the others", || count("two") + count("three") == 2);
    assert_eq!(count("one"), 1);
    // Held, and free again, without a word to the worker.
    sandbox.config(&maildir("c", "four"));
    sandbox.run(&["--queue", "-p", "c", "-s", "Hi", "--to", "b@y.example", "--body", "", "--in", "1s"]).exits(0);
    sandbox.config("");
    until("it is held", || list(&sandbox, &[])[0]["status"] == "held");
    sandbox.config(&maildir("c", "four"));
    until("it is sent", || count("four") == 1);
    end(worker);
}

/// Whoever sends once ends soon on a full disk; a worker waits for room.
#[test]
fn a_full_disk() {
    let Some(disk) = SmallDisk::mount(1_000) else { return };
    let mut sandbox = sandbox();
    let path = disk.path("queue.sqlite");
    sandbox.env("MAILSEND_QUEUE_PATH", path.to_str().expect("a UTF-8 path"));
    let sink = Sink::new("PIPELINING");
    add(&sandbox, &sink.url(), "a@y.example", &[]);
    // What all who have it open share is not made anew.
    let reader = rusqlite::Connection::open(&path).expect("a database");
    reader.query_row("SELECT count(*) FROM job", [], |row| row.get::<_, i64>(0)).expect("a queue");
    let mut filler = fs::File::create(disk.path("filler")).expect("a file");
    while filler.write_all(&[0; 512]).is_ok() {}
    let begin = Instant::now();
    sandbox.run(&["queue", "run"]).exits(74).says("no room is left on the disk");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(sink.count(), 0);
    let worker = start(&sandbox, &["worker"]);
    // Longer than whoever sends once would have tried.
    thread::sleep(Duration::from_secs(7));
    fs::remove_file(disk.path("filler")).expect("it is there");
    drop(filler);
    until("it is sent", || sink.count() == 1);
    end(worker);
}

/// Whoever is deferred is named, and has a record.
#[test]
fn who_is_deferred_is_named() {
    let sandbox = sandbox();
    let sink = Sink::with("PIPELINING", |moment| match moment.heard {
        Heard::Rcpt(address, _) if address.starts_with('b') => Act::Say("451 4.7.1 greylisted".to_owned()),
        _ => Act::Agree,
    });
    let slowly = ["--queue", "--to", "a@y.example", "-o", "retry.initial-delay=1h"];
    sandbox.run(&message(&sink.url(), "b@y.example", &slowly)).exits(0);
    let name = only(&sandbox);
    let run = sandbox.run(&["queue", "run", "--format", "json"]).exits(75);
    assert_eq!(run.stderr, format!("{name}: deferred b@y.example: 451 4.7.1 greylisted (at RCPT)\n"));
    let mut states: Vec<_> = run.records().iter().map(|one| (text(&one["recipient"]), text(&one["state"]))).collect();
    let [a, b] =
        [("a", "accepted"), ("b", "deferred")].map(|(to, state)| (format!("{to}@y.example"), state.to_owned()));
    states.sort();
    assert_eq!(states, [a, b], "{run:#?}");
    // It was told why it waits, and not that others did not have to.
    assert_eq!(list(&sandbox, &[])[0]["why"], "451 4.7.1 greylisted");
    sandbox.run(&["queue", "retry", "--all"]).exits(0);
    sandbox.run(&["queue", "run", "-q"]).exits(75).silently();
    // A worker tries again, and says when it begins.
    sandbox.run(&["queue", "retry", "--all"]).exits(0);
    let worker = start(&sandbox, &["worker"]);
    until("the third attempt", || show(&sandbox, &name)["attempts"] == 3);
    signal(&worker, Signal::TERM);
    let run = finish(worker).exits(0);
    assert!(run.stderr.ends_with("queue.sqlite: 1 waiting, 1 of them due, 0 held\n"), "{run:#?}");
}

/// What is said to those who send has to be right, whether any message wants it or not.
#[test]
fn what_cannot_be_is_refused_before_anything_is_sent() {
    let mut sandbox = sandbox();
    let sink = Sink::new("PIPELINING");
    add(&sandbox, &sink.url(), "a@y.example", &[]);
    for command in [&["queue", "run"][..], &["worker"]] {
        for wrong in [
            &["-o", "timeouts.connect=soon"][..],
            &["-o", "nonsense=1"],
            &["--server", "nonsense://"],
            &["--timeout", "soon"],
            &["--concurrency", "0"],
        ] {
            sandbox.run(&[command, wrong].concat()).exits(64);
        }
        sandbox.env("MAILSEND_TIMEOUTS_CONNECT", "abc");
        sandbox.run(command).exits(78).says("MAILSEND_TIMEOUTS_CONNECT");
        sandbox.without("MAILSEND_TIMEOUTS_CONNECT");
        sandbox.config("[profiles.a\n");
        sandbox.run(command).exits(78).says("config.toml:1");
        sandbox.config("");
    }
    assert_eq!(list(&sandbox, &[])[0]["status"], "waiting");
    sandbox.run(&["queue", "run", "--concurrency", "2"]).exits(0);
    assert_eq!(sink.count(), 1);
}

/// Who has no home has a queue all the same, where the administrator has made room for such.
#[test]
fn a_user_without_a_home() {
    let mut sandbox = sandbox();
    sandbox.env("HOME", "/nonexistent");
    let run = sandbox
        .run(&message(NOWHERE, "a@y.example", &["--queue"]))
        .exits(78)
        .says("/nonexistent/.local/state/mailsend");
    run.says("fallback-folder");
    fs::create_dir(sandbox.path("users")).expect("a folder");
    sandbox.config("[queue]\nfallback-folder = \"users\"\n");
    fs::set_permissions(sandbox.path("users"), fs::Permissions::from_mode(0o777)).expect("a mode");
    sandbox.run(&message(NOWHERE, "a@y.example", &["--queue"])).exits(78).says("chmod 1777");
    fs::set_permissions(sandbox.path("users"), fs::Permissions::from_mode(0o1777)).expect("a mode");
    sandbox.run(&message(NOWHERE, "a@y.example", &["--queue"])).exits(0);
    assert_eq!(list(&sandbox, &[]).len(), 1);
    let user = rustix::process::geteuid().as_raw().to_string();
    assert!(sandbox.path("users").join(user).join("queue.sqlite").is_file());
}
