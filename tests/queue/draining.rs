//! Many who add, many who drain, and whatever may happen to them: everybody gets it once, or it is known that nobody knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{add, database, end, list, message, sandbox, show, signal, start, text, until};
use crate::support::{
    Dice, Sandbox,
    sink::{Act, Heard, Sink},
};

/// So many messages by one command.
fn add_many(sandbox: &Sandbox, url: &str, count: usize, more: &[&str]) {
    let table = (1..=count).fold("to\n".to_owned(), |table, row| format!("{table}p{row}@y.example\n"));
    let file = sandbox.file("people.csv", table);
    let batch = ["batch", &file, "--server", url, "-r", "s@x.example", "-f", "<>", "-s", "Hi", "--body", "Hello\n"];
    let quick = ["-o", "retry.initial-delay=20ms", "-o", "retry.max-delay=500ms", "-o", "breaker.cool-down=200ms"];
    let batch = [&batch[..], &["--queue"], &quick, more].concat();
    sandbox.run(&batch).exits(0);
}

/// Names of those whom nobody knows to have it.
fn in_doubt(sandbox: &Sandbox) -> BTreeSet<String> {
    let held = list(sandbox, &[]);
    assert!(held.iter().all(|one| one["status"] == "held"), "{held:#?}");
    held.iter()
        .map(|one| {
            let entry = show(sandbox, &text(&one["name"]));
            assert_eq!(entry["all"][0]["state"], "unknown", "{entry:#}");
            text(&one["first_recipient"])
        })
        .collect()
}

#[test]
fn ten_add_while_four_drain() {
    let sandbox = sandbox();
    let sink = Sink::new("PIPELINING, CHUNKING");
    let url = sink.url();
    let workers: Vec<Child> = (0..4).map(|_| start(&sandbox, &["worker"])).collect();
    thread::scope(|scope| {
        for adder in 0..10 {
            let (sandbox, url) = (&sandbox, &url);
            scope.spawn(move || {
                for number in 0..100 {
                    add(sandbox, url, &format!("p{adder}-{number}@y.example"), &[]);
                }
            });
        }
    });
    until("the last message", || sink.counts().len() == 1_000);
    workers.into_iter().for_each(end);
    let counts = sink.counts();
    let doubled: BTreeMap<_, _> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    assert_eq!((counts.len(), sink.count()), (1_000, 1_000));
    let ended = list(&sandbox, &["--all"]);
    assert!(ended.len() == 1_000 && ended.iter().all(|one| one["status"] == "done"));
}

/// Workers that are killed at any message leave it sent, waiting, or held and unknown.
#[test]
fn workers_that_are_killed() {
    const MESSAGES: usize = 400;
    let sandbox = sandbox();
    let mut dice = Dice::new(5);
    let sink = Sink::slow("PIPELINING, CHUNKING", Duration::from_millis(4));
    let few = ["-o", "pool.max-connections=2", "-o", "pool.pipeline-depth=4"];
    add_many(&sandbox, &sink.url(), MESSAGES, &few);
    let mut kills = 0;
    while sink.count() < MESSAGES * 9 / 10 {
        let mut pair: Vec<Child> = (0..2).map(|_| start(&sandbox, &["worker"])).collect();
        let wanted = sink.count() + 1 + dice.below(40);
        let begin = Instant::now();
        while sink.count() < wanted && begin.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_micros(300));
        }
        for worker in &mut pair {
            worker.kill().expect("it is ours");
            worker.wait().expect("it ends");
            kills += 1;
        }
    }
    // What was on its way when they died is there by now, or never will be.
    sandbox.run(&["queue", "run"]);
    sink.rest();
    let counts = sink.counts();
    let doubt = in_doubt(&sandbox);
    let missing: Vec<String> =
        (1..=MESSAGES).map(|row| format!("p{row}@y.example")).filter(|one| !counts.contains_key(one)).collect();
    eprintln!("{kills} kills: {} in doubt, {} missing", doubt.len(), missing.len());
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert!(missing.iter().all(|one| doubt.contains(one)), "{missing:?} of {doubt:?}");
    assert!(kills >= 10, "only {kills} kills");
    // Of a worker that dies no more is in doubt than it had under way.
    assert!(doubt.len() <= kills * 2 * 4, "{} of {kills} kills", doubt.len());
    // Whoever wants everybody to have it once or twice gets that.
    sandbox.run(&["queue", "release", "--all", "--unknown"]).exits(0);
    sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(sink.counts().len(), MESSAGES);
}

/// A worker that sleeps beyond its lease has lost its messages, and sends none of them when it wakes up.
#[test]
fn a_worker_that_sleeps() {
    const MESSAGES: usize = 60;
    let sandbox = sandbox();
    let asleep = Arc::new(AtomicBool::new(false));
    let heard = Arc::new(AtomicUsize::new(0));
    let sink = Sink::with("PIPELINING", {
        let (asleep, heard) = (asleep.clone(), heard.clone());
        move |moment| {
            if let Heard::Content(_) = moment.heard {
                heard.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(if asleep.load(Ordering::SeqCst) { 0 } else { 30 }));
            }
            Act::Agree
        }
    });
    add_many(&sandbox, &sink.url(), MESSAGES, &[]);
    let sleeper = start(&sandbox, &["worker", "--lease", "10s"]);
    until("its first messages", || heard.load(Ordering::SeqCst) >= 3);
    signal(&sleeper, Signal::STOP);
    asleep.store(true, Ordering::SeqCst);
    // Its lease has run out.
    database(&sandbox)
        .execute("UPDATE job SET lease = lease - 10000 WHERE state = 1", [])
        .expect("a table of messages");
    // Another one takes up what it had.
    let other = start(&sandbox, &["worker", "--lease", "10s"]);
    until("the others", || list(&sandbox, &[]).iter().all(|one| one["status"] == "held"));
    signal(&sleeper, Signal::CONT);
    thread::sleep(Duration::from_millis(500));
    end(sleeper);
    end(other);
    sink.rest();
    let counts = sink.counts();
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    let left = list(&sandbox, &[]);
    let doubt: BTreeSet<String> = left.iter().map(|one| text(&one["first_recipient"])).collect();
    let missing = (1..=MESSAGES).map(|row| format!("p{row}@y.example")).filter(|one| !counts.contains_key(one));
    let missing: Vec<String> = missing.collect();
    assert!(missing.iter().all(|one| doubt.contains(one)), "{missing:?} of {doubt:?}");
}

/// A server that goes and comes back under load costs time and nothing else.
#[test]
fn a_server_that_goes_and_comes_back() {
    const MESSAGES: usize = 300;
    let sandbox = sandbox();
    const PAUSE: Duration = Duration::from_millis(3);
    let mut sink = Sink::slow("PIPELINING", PAUSE);
    let port = sink.port;
    add_many(&sandbox, &sink.url(), MESSAGES, &[]);
    let worker = start(&sandbox, &["worker"]);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut collect = |sink: Sink| {
        for (recipient, count) in sink.end() {
            *counts.entry(recipient).or_default() += count;
        }
    };
    for _ in 0..3 {
        let wanted = 40;
        until("some messages", || sink.count() >= wanted);
        collect(sink);
        thread::sleep(Duration::from_millis(200));
        sink = Sink::slow_at(port, "PIPELINING", PAUSE);
    }
    until("the end", || list(&sandbox, &[]).iter().all(|one| one["status"] == "held"));
    end(worker);
    collect(sink);
    let doubt = in_doubt(&sandbox);
    for row in 1..=MESSAGES {
        let name = format!("p{row}@y.example");
        let count = counts.get(&name).copied().unwrap_or_default();
        assert!(count == 1 || doubt.contains(&name), "{name} came {count} times");
        assert!(count <= 1, "{name} came {count} times");
    }
    eprintln!("{} in doubt", doubt.len());
}

/// A worker that is stopped brings what is under way to its end, and leaves the rest.
#[test]
fn a_worker_that_is_stopped() {
    let sandbox = sandbox();
    let sink = Sink::slow("PIPELINING", Duration::from_millis(20));
    add_many(&sandbox, &sink.url(), 200, &[]);
    let worker = start(&sandbox, &["worker", "--report", "sent.jsonl"]);
    until("some messages", || sink.count() > 10);
    end(worker);
    let left = list(&sandbox, &[]);
    assert!(left.iter().all(|one| one["status"] == "waiting"), "{left:#?}");
    assert_eq!(left.len() + sink.count(), 200);
    let records = std::fs::read_to_string(sandbox.path("sent.jsonl")).expect("records");
    assert_eq!(records.lines().count(), sink.count());
    // It waits for what comes.
    let worker = start(&sandbox, &["worker"]);
    until("the others", || sink.counts().len() == 200);
    sandbox.run(&message(&sink.url(), "late@y.example", &["--in", "1s"])).exits(0);
    until("the late one", || sink.counts().contains_key("late@y.example"));
    end(worker);
}

/// A limit begins nothing new; what is under way is waited for, and nothing is in doubt.
#[test]
fn a_limit_cuts_nothing_off() {
    let sandbox = sandbox();
    let sink = Sink::with("", |moment| {
        if let Heard::Content(_) = moment.heard {
            thread::sleep(Duration::from_millis(1_500));
        }
        Act::Agree
    });
    add_many(&sandbox, &sink.url(), 3, &["-o", "pool.max-connections=1"]);
    sandbox.run(&["queue", "run", "--limit", "500ms"]).exits(75);
    let left = list(&sandbox, &[]);
    assert!(left.len() == 2 && left.iter().all(|one| one["status"] == "waiting"), "{left:#?}");
    assert_eq!(sink.count(), 1);
}
