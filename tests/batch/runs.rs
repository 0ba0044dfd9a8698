//! Runs: their ledgers, who may go on with them, what they show, and how they end.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::{batch, ended, ends, people, person, records, start, who};
use crate::support::{
    Sandbox, finish,
    sink::{Act, Heard, Sink},
};

/// A server that holds back its replies to content while the flag is up.
fn held(offers: &str) -> (Sink, Arc<AtomicBool>) {
    let holds = Arc::new(AtomicBool::new(true));
    let sink = Sink::with(offers, {
        let holds = holds.clone();
        move |moment| {
            if let Heard::Content(_) = moment.heard {
                while holds.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(2));
                }
            }
            Act::Agree
        }
    });
    (sink, holds)
}

/// Waits until this is so.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..5_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("{what} does not happen");
}

#[test]
fn a_ledger_is_not_written_over() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("PIPELINING");
    let url = sink.url();
    let file = sandbox.file("people.csv", people(3));
    let arguments = batch(&file, &url, &["--report", "run.jsonl"]);
    let resume = [&arguments[..], &["--resume"]].concat();
    // Where there is none, going on is beginning, and is said to be: the name may be misspelt.
    sandbox.run(&resume).exits(0).says("no run to go on with in run.jsonl");
    assert_eq!(sink.count(), 3);
    let mode = fs::metadata(sandbox.path("run.jsonl")).expect("a ledger").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(sandbox.path("run.jsonl")).expect("a ledger");
    sandbox.run(&arguments).exits(64).says("run.jsonl is there already").says("--resume");
    assert_eq!(fs::read(sandbox.path("run.jsonl")).expect("a ledger"), before);
    sandbox.run(&resume).exits(0);
    assert_eq!(sink.count(), 3);
    // What is no ledger is left alone.
    sandbox.file("notes.txt", "my notes\n");
    sandbox.run(&batch(&file, &url, &["--report", "notes.txt", "--resume"])).exits(65).says("notes.txt, line 1");
    assert_eq!(fs::read_to_string(sandbox.path("notes.txt")).expect("the notes"), "my notes\n");
}

#[test]
fn the_ledger_that_nobody_has_named() {
    let sandbox = Sandbox::new();
    let is_spent = Arc::new(AtomicBool::new(true));
    let sink = Sink::with("", {
        let is_spent = is_spent.clone();
        move |moment| match moment.heard {
            Heard::Rcpt(recipient, _) if recipient == "p2@y.example" && is_spent.load(Ordering::SeqCst) => {
                Act::Say("450 4.2.0 full".to_owned())
            }
            _ => Act::Agree,
        }
    });
    let url = sink.url();
    let file = sandbox.file("people.csv", people(3));
    let quick = ["-o", "retry.initial-delay=10ms", "-o", "retry.max-attempts=2"];
    let run = sandbox.run(&batch(&file, &url, &quick)).exits(75).says("ledger: ").says("--resume");
    assert!(run.stderr.contains(".local/state/mailsend/batches/"), "{run:#?}");
    is_spent.store(false, Ordering::SeqCst);
    sandbox.run(&batch(&file, &url, &[&quick[..], &["--resume"]].concat())).exits(0);
    assert_eq!(who(&sink), [person(1), person(2), person(3)]);
    // With a row more it is another run, and nobody gets it anew by mistake.
    sandbox.file("people.csv", people(4));
    sandbox.run(&batch(&file, &url, &[&quick[..], &["--resume"]].concat())).exits(65).says("--force");
    assert_eq!(sink.count(), 3);
}

/// Rows of standard input are kept beside the ledger for whoever goes on.
#[test]
fn standard_input_can_be_resumed() {
    let sandbox = Sandbox::new();
    let sink = Sink::with("", |moment| match moment.heard {
        Heard::Rcpt(recipient, _) if recipient == "p2@y.example" && moment.connection == 0 => {
            Act::Say("450 4.2.0 full".to_owned())
        }
        _ => Act::Agree,
    });
    let url = sink.url();
    let more = ["--report", "run.jsonl", "-o", "retry.max-attempts=1", "--concurrency", "1"];
    let first = sandbox.run_with(&batch("-", &url, &more), people(3).as_bytes()).exits(75);
    first.says("--resume, and run.rows.csv in place of -");
    let kept = sandbox.path("run.rows.csv");
    assert_eq!(fs::metadata(&kept).expect("the rows").permissions().mode() & 0o777, 0o600);
    let resume = [&more[..], &["--resume"]].concat();
    sandbox.run(&batch("run.rows.csv", &url, &resume)).exits(0);
    assert_eq!(who(&sink), [person(1), person(2), person(3)]);
    // Whoever still has them may pipe them again; what was kept vanishes with the end.
    sandbox.run_with(&batch("-", &url, &resume), people(3).as_bytes()).exits(0);
    assert_eq!(sink.count(), 3);
    assert!(!kept.exists());
}

#[test]
fn two_runs_cannot_write_one_ledger() {
    let sandbox = Sandbox::new();
    let (sink, holds) = held("PIPELINING");
    let url = sink.url();
    let file = sandbox.file("people.csv", people(5));
    let arguments = batch(&file, &url, &["--report", "run.jsonl", "--resume"]);
    let first = start(&sandbox, &arguments);
    let ledger = sandbox.path("run.jsonl");
    until("the first message", || ledger.exists() && !records(&ledger, "intent").is_empty());
    sandbox.run(&arguments).exits(75).says("run.jsonl is written by another run");
    holds.store(false, Ordering::SeqCst);
    finish(first).exits(0);
    assert_eq!(who(&sink).len(), 5);
}

#[test]
fn a_changed_source_is_another_batch() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("");
    let url = sink.url();
    sandbox.file("people.csv", people(2));
    sandbox.file("letter.txt", "Dear {{to}}");
    let run = |more: &[&str]| {
        let arguments = ["batch", "people.csv", "--server", &url, "-r", "s@x.example", "-s", "x"];
        let further = ["--body", "@letter.txt", "--report", "run.jsonl", "--resume"];
        sandbox.run(&[&arguments[..], &further, more].concat())
    };
    run(&[]).exits(0);
    sandbox.file("people.csv", people(4));
    run(&[]).exits(65).says("the source has changed").says("--force");
    assert_eq!(sink.count(), 2);
    run(&["--force"]).exits(0);
    assert_eq!(who(&sink), (1..=4).map(person).collect::<Vec<_>>());
    sandbox.file("letter.txt", "Hello {{to}}");
    run(&[]).exits(65).says("the template or an option");
    // Where it goes and how fast is no part of what it is.
    sandbox.file("letter.txt", "Dear {{to}}");
    run(&["--concurrency", "2", "--rate", "100/s"]).exits(0);
    assert_eq!(sink.count(), 4);
}

/// The first signal lets what is in flight come to its end.
#[test]
fn a_signal_drains() {
    for offers in ["PIPELINING", "PIPELINING, CHUNKING"] {
        let sandbox = Sandbox::new();
        let (sink, holds) = held(offers);
        let url = sink.url();
        let file = sandbox.file("people.csv", people(400));
        let ledger = sandbox.path("run.jsonl");
        let more = ["--report", "run.jsonl", "--resume", "--concurrency", "3", "-o", "pool.pipeline-depth=4"];
        let arguments = batch(&file, &url, &more);
        let child = start(&sandbox, &arguments);
        until("the first message", || ledger.exists() && !records(&ledger, "intent").is_empty());
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
        thread::sleep(Duration::from_millis(50));
        holds.store(false, Ordering::SeqCst);
        let run = finish(child);
        assert_eq!(run.code, -15, "{offers}: {run:#?}");
        let count = sink.count();
        assert!((1..=16).contains(&count), "{offers}: {count} were sent");
        assert_eq!((ended(&ledger, "accepted"), ends(&ledger).len()), (count, count), "{offers}: {run:#?}");
        let unknown = sandbox.run(&["report", "run.jsonl", "--list", "unknown"]).exits(0).stdout;
        assert_eq!(unknown, "", "{offers}");
        sandbox.run(&arguments).exits(0);
        assert_eq!(sink.count(), 400, "{offers}");
        assert!(sink.counts().values().all(|count| *count == 1), "{offers}");
    }
}

/// The second signal does not wait for a server that does not answer; what it has is unknown.
#[test]
fn two_signals_stop_at_once() {
    let sandbox = Sandbox::new();
    let (sink, holds) = held("PIPELINING");
    let url = sink.url();
    let file = sandbox.file("people.csv", people(50));
    let ledger = sandbox.path("run.jsonl");
    let child = start(&sandbox, &batch(&file, &url, &["--report", "run.jsonl", "--concurrency", "2"]));
    until("the first message", || ledger.exists() && !records(&ledger, "intent").is_empty());
    let pid = rustix::process::Pid::from_child(&child);
    let begin = std::time::Instant::now();
    for _ in 0..2 {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it lives");
        thread::sleep(Duration::from_millis(200));
    }
    let run = finish(child);
    assert_eq!(run.code, -2, "{run:#?}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let unknown = ended(&ledger, "unknown");
    assert!((1..=2).contains(&unknown) && ended(&ledger, "accepted") == 0, "{run:#?}");
    holds.store(false, Ordering::SeqCst);
    until("the messages", || sink.count() == unknown);
    sandbox.run(&batch(&file, &url, &["--report", "run.jsonl", "--resume"])).exits(1);
    assert_eq!(sink.counts().len(), 50);
    assert_eq!(sink.count(), 50);
}

/// At a terminal nothing is sent before somebody has said so.
#[test]
fn a_question_at_a_terminal() {
    if !crate::support::real::is_here("script (util-linux)", std::path::Path::new("/usr/bin/script").exists()) {
        return;
    }
    let mut sandbox = Sandbox::new();
    sandbox.env("TERM", "xterm");
    let sink = Sink::new("");
    let url = sink.url();
    sandbox.file("people.csv", people(3));
    let binary = env!("CARGO_BIN_EXE_mailsend");
    let at_terminal = |answer: &str, more: &str| {
        let line = format!("{binary} batch people.csv --server {url} -r s@x.example -s x --body x {more}");
        sandbox.shell(&format!("{answer} | script -qec '{line}' /dev/null"))
    };
    let run = at_terminal("sleep 1; echo n", "");
    assert!(run.stdout.contains("Send 3 messages now? [y/N]"), "{run:#?}");
    assert!(run.stdout.contains("recipients  3") && run.stdout.contains("nothing was sent"), "{run:#?}");
    assert_eq!(sink.count(), 0);
    at_terminal("(sleep 1; echo y; sleep 2)", "").exits(0);
    assert_eq!(sink.count(), 3);
    let run = at_terminal("sleep 2", "--yes");
    assert!(!run.stdout.contains("[y/N]"), "{run:#?}");
    assert_eq!(sink.count(), 6);
}

/// What the ledger notes in between: the rest of a row is in no doubt while it waits, and what a quota may have
/// refused is neither.
#[test]
fn what_waits_is_in_no_doubt() {
    let stalls = |text: &'static str| {
        let begun = Arc::new(AtomicBool::new(false));
        let waits = {
            let begun = begun.clone();
            move || {
                begun.store(true, Ordering::SeqCst);
                thread::sleep(Duration::from_secs(2));
                Act::Say(text.to_owned())
            }
        };
        (begun, waits)
    };
    // Two at a time: the third transaction does not come to its content.
    let sandbox = Sandbox::new();
    let (begun, waits) = stalls("421 4.3.2 away");
    let sink = Sink::with("PIPELINING", move |moment| match moment.heard {
        Heard::Mail if moment.taken == 2 => waits(),
        Heard::Rcpt(_, 2..) => Act::Say("452 4.5.3 too many".to_owned()),
        _ => Act::Agree,
    });
    let cell = (1..=7).map(person).collect::<Vec<_>>().join(", ");
    let file = sandbox.file("people.csv", format!("to\n\"{cell}\"\n"));
    let url = sink.url();
    let mut child = start(&sandbox, &batch(&file, &url, &["--report", "run.jsonl"]));
    until("the third transaction", || begun.load(Ordering::SeqCst));
    child.kill().expect("it lives");
    child.wait().expect("it ends");
    let unknown = sandbox.run(&["report", "run.jsonl", "--list", "unknown"]).exits(0).stdout;
    assert_eq!(unknown, "");
    let calm = Sink::new("PIPELINING");
    sandbox.run(&batch(&file, &calm.url(), &["--report", "run.jsonl", "--resume"])).exits(0);
    assert_eq!(who(&sink), (1..=4).map(person).collect::<Vec<_>>());
    assert_eq!(who(&calm), (5..=7).map(person).collect::<Vec<_>>());
    // Four refusals, and nobody knows yet what they mean.
    let sandbox = Sandbox::new();
    let (begun, waits) = stalls("250 Ok");
    let sink = Sink::with("PIPELINING", move |moment| match &moment.heard {
        Heard::Content(taken) if taken.recipients[0] == person(5) => waits(),
        Heard::Content(_) => Act::Say("550 5.4.5 quota".to_owned()),
        _ => Act::Agree,
    });
    let file = sandbox.file("people.csv", people(5));
    let url = sink.url();
    let mut child = start(&sandbox, &batch(&file, &url, &["--report", "run.jsonl", "--concurrency", "1"]));
    until("the fifth message", || begun.load(Ordering::SeqCst));
    child.kill().expect("it lives");
    child.wait().expect("it ends");
    let unknown = sandbox.run(&["report", "run.jsonl", "--list", "unknown", "--json"]).exits(0).records();
    assert_eq!(unknown.iter().map(|record| record["row"].as_u64()).collect::<Vec<_>>(), [Some(5)]);
    let calm = Sink::new("PIPELINING");
    sandbox.run(&batch(&file, &calm.url(), &["--report", "run.jsonl", "--resume"])).exits(1);
    assert_eq!(who(&calm), (1..=4).map(person).collect::<Vec<_>>());
}

#[test]
fn records_beside_the_ledger() {
    let sandbox = Sandbox::new();
    let sink = Sink::with("", |moment| match moment.heard {
        Heard::Rcpt("p2@y.example", _) => Act::Say("550 5.1.1 unknown".to_owned()),
        _ => Act::Agree,
    });
    let url = sink.url();
    let file = sandbox.file("people.csv", people(3));
    sandbox.run(&batch(&file, &url, &["--report", "out.csv"])).exits(1);
    let csv = fs::read_to_string(sandbox.path("out.csv")).expect("the records");
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert!(csv.lines().next().is_some_and(|line| line.contains("recipient") && line.contains("state")), "{csv}");
    let run = sandbox.run(&batch(&file, &url, &["--format", "csv"])).exits(1);
    assert_eq!(run.stdout.lines().count(), 4, "{run:#?}");
    let run = sandbox.run(&batch(&file, &url, &["--format", "json"])).exits(1);
    let mut states: Vec<String> =
        run.records().iter().map(|record| format!("{} {}", record["row"], record["state"])).collect();
    states.sort();
    assert_eq!(states, ["1 \"accepted\"", "2 \"failed\"", "3 \"accepted\""]);
    // Every one of them had a ledger nevertheless.
    let ledgers = fs::read_dir(sandbox.path(".local/state/mailsend/batches")).expect("ledgers");
    assert_eq!(
        ledgers
            .filter(|entry| entry
                .as_ref()
                .is_ok_and(|entry| entry.path().extension().is_some_and(|ending| ending == "jsonl")))
            .count(),
        3
    );
}

#[test]
fn progress_as_lines_and_as_events() {
    let sandbox = Sandbox::new();
    let sink = Sink::with("PIPELINING", |moment| {
        if let Heard::Content(_) = moment.heard {
            thread::sleep(Duration::from_millis(15));
        }
        Act::Agree
    });
    let url = sink.url();
    // What is the same as before ends, too, and is counted in.
    let same = (1..=3).map(|row| format!("{},{row}\n", person(row))).collect::<String>();
    let file = sandbox.file("people.csv", people(200) + &same);
    let run = sandbox.run(&batch(&file, &url, &["--progress", "json", "--report", "a.jsonl", "--concurrency", "2"]));
    let run = run.exits(0);
    let events: Vec<serde_json::Value> = run
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let (last, progress) = events.split_last().unwrap_or_else(|| panic!("no events in {run:#?}"));
    assert_eq!((last["type"].as_str(), last["accepted"].as_u64()), (Some("summary"), Some(200)), "{last}");
    assert!(!progress.is_empty() && progress.iter().all(|event| event["type"] == "progress" && event["total"] == 203));
    let run = sandbox.run(&batch(&file, &url, &["--progress", "lines", "--report", "b.jsonl", "--concurrency", "2"]));
    assert!(run.stderr.lines().any(|line| line.contains("203 of 203")), "{run:#?}");
    let run = sandbox.run(&batch(&file, &url, &["--quiet", "--report", "c.jsonl", "--concurrency", "9"]));
    run.exits(0).silently();
}

/// The file of failed rows holds what a second batch may mend: the refused, and those whose time has not come.
#[test]
fn failed_rows_are_a_table_of_the_same_kind() {
    let sandbox = Sandbox::new();
    let sink = Sink::with("PIPELINING", |moment| match moment.heard {
        Heard::Rcpt("p2@y.example", _) => Act::Say("550 5.1.1 unknown".to_owned()),
        Heard::Rcpt("p3@y.example", _) => Act::Say("450 4.2.0 full".to_owned()),
        _ => Act::Agree,
    });
    let url = sink.url();
    let rows = (1..=4).map(|row| format!("{{\"to\":\"{}\",\"n\":{{\"deep\":[{row},\"é\"]}}}}\n", person(row)));
    sandbox.file("people.jsonl", rows.collect::<String>());
    let more = ["--report", "run.jsonl", "--failed", "bad.jsonl", "-o", "retry.max-attempts=1"];
    sandbox.run(&batch("people.jsonl", &url, &more)).exits(75);
    let bad = fs::read_to_string(sandbox.path("bad.jsonl")).expect("the failed rows");
    let bad: Vec<serde_json::Value> = bad.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(bad.iter().map(|row| row["n"]["deep"][0].as_u64()).collect::<Vec<_>>(), [Some(2), Some(3)]);
    assert!(bad[0]["error"].as_str().is_some_and(|error| error.contains("5.1.1 unknown")), "{bad:?}");
    let calm = Sink::new("");
    sandbox.run(&batch("bad.jsonl", &calm.url(), &[])).exits(0);
    assert_eq!(who(&calm), [person(2), person(3)]);
}

/// A login that never was is nobody's end.
#[test]
fn a_first_login_that_is_refused() {
    let mut sandbox = Sandbox::new();
    sandbox.env("MAILSEND_PASSWORD", "hunter2");
    let sink = Sink::with("AUTH PLAIN", |moment| match moment.heard {
        Heard::Login => Act::Say("535 5.7.8 no".to_owned()),
        _ => Act::Agree,
    });
    let url = sink.url();
    let file = sandbox.file("people.csv", people(3));
    let more = ["--user", "ada", "-o", "allow-plaintext-auth=true", "--report", "run.jsonl"];
    let run = sandbox.run(&batch(&file, &url, &more)).exits(77).says("535").says("--resume");
    assert!(!run.stderr.contains("hunter2"));
    assert!(ends(&sandbox.path("run.jsonl")).values().all(|end| end == "deferred"), "{run:#?}");
    let calm = Sink::new("AUTH PLAIN");
    let arguments = batch(&file, &url, &[&more[..], &["--resume"]].concat());
    let calm_url = calm.url();
    let arguments: Vec<&str> = arguments.iter().map(|word| if *word == url { &calm_url } else { *word }).collect();
    sandbox.run(&arguments).exits(0);
    assert_eq!(who(&calm), [person(1), person(2), person(3)]);
}
