//! A queue that is not what it should be.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{add, database, list, message, sandbox};
use crate::support::{Sandbox, real, sink::Sink};

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
    sandbox.without("HOME");
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
