//! What people see of the queue and decide about it.

use super::{add, database, list, only, sandbox, show, text};
use crate::support::sink::{Act, Heard, Sink};

const NOWHERE: &str = "smtp://127.0.0.1:9";

#[test]
fn an_empty_queue() {
    let sandbox = sandbox();
    sandbox.run(&["queue", "list"]).exits(0).says("the queue is empty");
    assert!(list(&sandbox, &[]).is_empty());
    sandbox.run(&["queue", "show", "x"]).exits(66).says("queue list");
    sandbox.run(&["queue", "hold", "--all"]).exits(0).silently();
    sandbox.run(&["queue", "run"]).exits(0).silently();
    sandbox.run(&["queue", "hold"]).exits(64);
}

#[test]
fn held_released_removed() {
    let sandbox = sandbox();
    let sink = Sink::new("PIPELINING");
    let url = sink.url();
    for to in ["a@y.example", "b@y.example", "c@y.example"] {
        add(&sandbox, &url, to, &["--in", "1h", "-q"]);
    }
    let names: Vec<String> = list(&sandbox, &[]).iter().map(|one| text(&one["name"])).collect();
    sandbox.run(&["queue", "hold", &names[0][..8], &names[1]]).exits(0).silently();
    sandbox.run(&["queue", "hold", "nothing"]).exits(66);
    sandbox.run(&["queue", "retry", &names[0]]).exits(65).says("held");
    sandbox.run(&["queue", "retry", "--all"]).exits(0);
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(sink.counts().keys().collect::<Vec<_>>(), ["c@y.example"]);
    let statuses: Vec<String> = list(&sandbox, &["--all"]).iter().map(|one| text(&one["status"])).collect();
    assert_eq!(statuses, ["held", "held", "done"]);
    sandbox.run(&["queue", "release", &names[0]]).exits(0);
    sandbox.run(&["queue", "retry", &names[0]]).exits(0);
    sandbox.run(&["queue", "remove", &names[1]]).exits(0);
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(sink.counts().keys().collect::<Vec<_>>(), ["a@y.example", "c@y.example"]);
    sandbox.run(&["queue", "show", &names[1]]).exits(66);
    sandbox.run(&["queue", "release", &names[0]]).exits(65).says("done");
    // A name that is wrong changes nothing; one for which it cannot be done does not stop the others, and is told.
    add(&sandbox, &url, "d@y.example", &[]);
    let name = text(&list(&sandbox, &[])[0]["name"]);
    sandbox.run(&["queue", "hold", &name, "nothing"]).exits(66).says("nothing");
    assert_eq!(list(&sandbox, &[])[0]["status"], "waiting");
    sandbox.run(&["queue", "hold", &names[0], &name]).exits(65).says("done");
    assert_eq!(list(&sandbox, &[])[0]["status"], "held");
    sandbox.run(&["queue", "remove", &name, &name[..12]]).exits(0).silently();
    assert!(list(&sandbox, &[]).is_empty());
    // What takes many away is asked for twice.
    add(&sandbox, &url, "e@y.example", &[]);
    sandbox.run(&["queue", "purge", "--yes"]).exits(64).says("--done, --held, --waiting");
    sandbox.run(&["queue", "purge", "--waiting"]).exits(64).says("--yes");
    sandbox.run(&["queue", "remove", "--all"]).exits(64).says("--yes");
    sandbox.run(&["queue", "purge", "--done", "-y"]).exits(0);
    assert_eq!(list(&sandbox, &["--all"]).len(), 1);
    add(&sandbox, &url, "f@y.example", &["--in", "1h", "-q"]);
    let due = list(&sandbox, &[])[1]["due"].clone();
    sandbox.run(&["queue", "hold", "--all"]).exits(0);
    sandbox.run(&["queue", "release", "--all"]).exits(0);
    assert_eq!(list(&sandbox, &[])[1]["due"], due);
    sandbox.run(&["queue", "remove", "--all", "-y"]).exits(0);
    assert!(list(&sandbox, &["--all"]).is_empty());
}

#[test]
fn lists_for_people_and_programs() {
    let sandbox = sandbox();
    add(&sandbox, NOWHERE, "a@y.example, b@y.example, c@y.example", &["--priority", "high", "--key", "k"]);
    let name = only(&sandbox);
    let shown = sandbox.run(&["queue", "list", "-q"]).exits(0).silently();
    let line = shown.stdout.lines().nth(1).expect("a line").to_owned();
    assert!(line.starts_with(&name[..10]) && line.contains(" waiting ") && line.contains(" now "), "{line}");
    assert!(line.ends_with("s@x.example > a@y.example +2"), "{line}");
    let one = &list(&sandbox, &[])[0];
    for (key, wanted) in [("status", "waiting"), ("sender", "s@x.example"), ("first_recipient", "a@y.example")] {
        assert_eq!(one[key], wanted);
    }
    for (key, wanted) in [("recipients", 3), ("open", 3), ("priority", 1), ("attempts", 0)] {
        assert_eq!(one[key], wanted);
    }
    let entry = show(&sandbox, &name[..5]);
    assert_eq!((&entry["key"], &entry["place"]["server"]), (&"k".into(), &NOWHERE.into()));
    assert_eq!(entry["all"].as_array().map(Vec::len), Some(3));
    let page = sandbox.run(&["queue", "show", &name]).exits(0).stdout;
    assert!(page.contains("priority    high") && page.contains("recipient   c@y.example, open"), "{page}");
    let stats = |sandbox: &crate::support::Sandbox| {
        let run = sandbox.run(&["queue", "stats", "--json"]).exits(0);
        serde_json::from_str::<serde_json::Value>(&run.stdout).expect("JSON")
    };
    let figures = stats(&sandbox);
    assert_eq!((&figures["waiting"], &figures["due"], &figures["held"]), (&1.into(), &1.into(), &0.into()));
    assert_eq!((&figures["has_worker"], &figures["octets"]), (&false.into(), &one["size"]));
    // After an attempt the server's last words, or the lack of them, are there.
    sandbox.run(&["queue", "run", "--limit", "5s"]).exits(75);
    let one = &list(&sandbox, &[])[0];
    assert!(one["attempts"].as_u64() >= Some(1) && text(&one["why"]).contains("refused"), "{one:#}");
}

/// What is due for an hour and longer is due for somebody who is not there.
#[test]
fn nobody_drains_the_queue() {
    let sandbox = sandbox();
    add(&sandbox, NOWHERE, "a@y.example", &[]);
    sandbox.run(&["queue", "list"]).exits(0).says("no worker runs: mailsend worker, or mailsend queue run from cron");
    let hours = 3 * 3_600_000_i64;
    database(&sandbox)
        .execute("UPDATE job SET added = added - ?1, due = due - ?1", [hours])
        .expect("a table of messages");
    sandbox.run(&["queue", "list"]).exits(0).says("due for 3h, and no worker runs");
    sandbox.run(&["queue", "stats", "--json"]).exits(0).says("due for 3h, and no worker runs");
    sandbox.run(&["queue", "list", "-q"]).exits(0).silently();
}

/// Whoever may have it already gets it again only if somebody says so.
#[test]
fn unknown_is_held_and_released_by_hand() {
    let sandbox = sandbox();
    let sink = Sink::with("PIPELINING", |moment| match &moment.heard {
        Heard::Content(_) if moment.connection == 0 => Act::Swallow,
        _ => Act::Agree,
    });
    let url = sink.url();
    add(&sandbox, &url, "a@y.example", &[]);
    sandbox.run(&["queue", "run"]).exits(1);
    let name = only(&sandbox);
    let entry = show(&sandbox, &name);
    assert_eq!((&entry["status"], &entry["all"][0]["state"]), (&"held".into(), &"unknown".into()));
    sandbox.run(&["queue", "run"]);
    sandbox.run(&["queue", "release", &name]).exits(65).says("nobody knows").says("release --unknown");
    assert_eq!(sink.count(), 1);
    sandbox.run(&["queue", "release", "--unknown", &name, "-v"]).exits(0).says("may have it");
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(sink.count(), 2);
    assert_eq!(show(&sandbox, &name)["status"], "done");
}
