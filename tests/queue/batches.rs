//! Batches that go into the queue.

use std::{collections::BTreeSet, fs, path::Path, thread, time::Duration};

use super::{list, sandbox, show, start, text, until};
use crate::support::{Dice, finish, sink::Sink};

fn people(count: usize) -> String {
    (1..=count).fold("to,n\n".to_owned(), |table, row| format!("{table}p{row}@y.example,{row}\n"))
}

fn batch<'a>(file: &'a str, url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["batch", file, "--server", url, "-r", "s@x.example", "-s", "Hi {{n}}", "--body", "Hello\n", "--queue"], more]
        .concat()
}

fn length(ledger: &Path) -> usize {
    fs::read(ledger).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

#[test]
fn rows_are_queued_and_sent() {
    let sandbox = sandbox();
    let sink = Sink::new("PIPELINING, CHUNKING");
    let url = sink.url();
    let file = sandbox.file("people.csv", people(450) + "p1@y.example,1\n");
    let more = ["--report", "run.jsonl", "--priority", "low", "--expires", "2h", "--in", "1h", "-v"];
    let run = sandbox.run(&batch(&file, &url, &more)).exits(0).says("queued    450").says("skipped     1");
    assert_eq!(sink.count(), 0, "{run:#?}");
    let listed = list(&sandbox, &[]);
    assert_eq!(listed.len(), 450);
    let one = show(&sandbox, &text(&listed[17]["name"]));
    assert_eq!((&one["priority"], &one["first_recipient"]), (&(-1).into(), &"p18@y.example".into()));
    assert!(text(&one["key"]).ends_with(" 18"), "{one:#}");
    // The ledger tells it, and nothing is left of it.
    let ledger = fs::read_to_string(sandbox.path("run.jsonl")).expect("a ledger");
    let lines = ledger.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let queued: Vec<serde_json::Value> = lines.filter(|line: &serde_json::Value| line["state"] == "queued").collect();
    let names: BTreeSet<String> = queued.iter().map(|record| text(&record["remote_id"])).collect();
    assert_eq!(names, listed.iter().map(|one| text(&one["name"])).collect());
    sandbox.run(&batch(&file, &url, &[&more[..], &["--resume"]].concat())).exits(0);
    assert_eq!(list(&sandbox, &[]).len(), 450);
    // What is in the queue is not sent beside it.
    let sending = ["batch", &file, "--server", &url, "-r", "s@x.example", "-s", "Hi {{n}}", "--body", "Hello\n"];
    let resume = ["--priority", "low", "--report", "run.jsonl", "--resume"];
    sandbox.run(&[&sending[..], &resume].concat()).exits(65).says("has changed");
    sandbox.run(&["queue", "retry", "--all"]).exits(0);
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!((sink.counts().len(), sink.count()), (450, 450));
    assert!(sink.taken().iter().all(|taken| taken.field("Subject").is_some_and(|subject| subject.starts_with("Hi "))));
}

/// A run that is killed again and again adds each row once.
#[test]
fn killed_and_resumed_nothing_is_added_twice() {
    const ROWS: usize = 3_000;
    let sandbox = sandbox();
    let mut dice = Dice::new(77);
    let file = sandbox.file("people.csv", people(ROWS));
    let ledger = sandbox.path("run.jsonl");
    let arguments = batch(&file, "smtp://127.0.0.1:9", &["--report", "run.jsonl", "--resume"]);
    let mut kills = 0;
    for _ in 0..12 {
        let mut child = start(&sandbox, &arguments);
        let wanted = length(&ledger) + 1 + dice.below(ROWS / 6);
        while length(&ledger) < wanted && child.try_wait().expect("a state").is_none() {
            thread::sleep(Duration::from_micros(200));
        }
        // Between queue and ledger, perhaps.
        thread::sleep(Duration::from_micros(dice.below(60_000) as u64));
        kills += usize::from(child.try_wait().expect("a state").is_none());
        drop(child.kill());
        child.wait().expect("it ends");
    }
    // The ledger as a loss of power may leave it: the queue knows all the same.
    let text = fs::read_to_string(&ledger).expect("a ledger");
    let kept: Vec<&str> = text.lines().take(length(&ledger) / 2).collect();
    fs::write(&ledger, kept.join("\n") + "\n").expect("a ledger");
    finish(start(&sandbox, &arguments)).exits(0);
    let listed = list(&sandbox, &[]);
    let everybody: BTreeSet<&str> = listed.iter().filter_map(|one| one["first_recipient"].as_str()).collect();
    eprintln!("{kills} kills, {} messages", listed.len());
    assert_eq!((listed.len(), everybody.len()), (ROWS, ROWS));
    assert!(kills >= 3, "only {kills} kills");
    assert_eq!(sandbox.run(&["report", "run.jsonl", "--list", "queued"]).exits(0).stdout.lines().count(), ROWS);
}

/// A run that was killed between queue and ledger goes on once all was sent and taken away.
#[test]
fn resumed_after_a_purge_nothing_is_sent_twice() {
    const ROWS: usize = 1_000;
    let sandbox = sandbox();
    let sink = Sink::new("PIPELINING, CHUNKING");
    let url = sink.url();
    let file = sandbox.file("people.csv", people(ROWS));
    let arguments = batch(&file, &url, &["--report", "run.jsonl", "--resume"]);
    let ledger = sandbox.path("run.jsonl");
    let mut child = start(&sandbox, &arguments);
    until("half of them", || length(&ledger) > ROWS / 2);
    drop(child.kill());
    child.wait().expect("it ends");
    // What may lie between queue and ledger.
    let text = fs::read_to_string(&ledger).expect("a ledger");
    let kept: Vec<&str> = text.lines().take(length(&ledger) - 200).collect();
    fs::write(&ledger, kept.join("\n") + "\n").expect("a ledger");
    sandbox.run(&["queue", "run"]).exits(0);
    let sent = sink.count();
    assert!((ROWS / 2..=ROWS).contains(&sent), "{sent}");
    sandbox.run(&["queue", "purge", "--done", "-y"]).exits(0);
    finish(start(&sandbox, &arguments)).exits(0);
    assert_eq!(sandbox.run(&["report", "run.jsonl", "--list", "queued"]).exits(0).stdout.lines().count(), ROWS);
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!((sink.counts().len(), sink.count()), (ROWS, ROWS));
}

#[test]
fn an_attachment_that_vanishes_takes_no_other_row_along() {
    let sandbox = sandbox();
    let sink = Sink::new("PIPELINING");
    let url = sink.url();
    let table = (1..=20).fold("to,n\n".to_owned(), |table, row| format!("{table}p{row}@y.example,{row}\n"));
    (1..=20).for_each(|row| drop(sandbox.file(&format!("f{row}.txt"), format!("text {row}"))));
    let file = sandbox.file("people.csv", table);
    let arguments = batch(&file, &url, &["--attach", "f{{n}}.txt", "--report", "run.jsonl"]);
    fs::remove_file(sandbox.path("f7.txt")).expect("it is there");
    sandbox.run(&arguments).exits(65).says("row 7");
    assert!(list(&sandbox, &[]).is_empty());
    sandbox.run(&[&arguments[..], &["--skip-bad-rows"]].concat()).exits(1);
    assert_eq!(list(&sandbox, &[]).len(), 19);
    (1..=20).for_each(|row| drop(fs::remove_file(sandbox.path(&format!("f{row}.txt")))));
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(sink.count(), 19);
}
