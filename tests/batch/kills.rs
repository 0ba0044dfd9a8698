//! The truth of the ledger: whoever is killed, loses power or fills the disk knows afterwards what was sent.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Child,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{ends, lines, people, person, records, start};
use crate::support::{
    Dice, Run, Sandbox, SmallDisk, finish,
    sink::{Act, Heard, Sink},
};

const ROWS: usize = 2_000;
const KILLS: usize = 20;
const CONNECTIONS: usize = 4;
const DEPTH: usize = 4;

/// How many lines are in the file.
fn length(ledger: &Path) -> usize {
    fs::read(ledger).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

/// Kills it as soon as the ledger has so many lines; false if it has ended before.
fn kill_at(child: &mut Child, ledger: &Path, wanted: usize) -> bool {
    while length(ledger) < wanted {
        if child.try_wait().expect("a state").is_some() {
            return false;
        }
        thread::sleep(Duration::from_micros(500));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    true
}

/// A server that takes its time over each message.
fn slow(offers: &str, pause: Duration) -> Sink {
    Sink::with(offers, move |moment| {
        if let Heard::Content(_) = moment.heard {
            thread::sleep(pause);
        }
        Act::Agree
    })
}

/// What a run that was killed again and again has sent, against what its ledger says.
fn killed_at_twenty_moments(offers: &str, resends: bool) {
    let sandbox = Sandbox::new();
    let mut dice = Dice::new(offers.len() as u64 * 2 + u64::from(resends));
    let sink = slow(offers, Duration::from_millis(12));
    let file = sandbox.file("people.csv", people(ROWS));
    let ledger = sandbox.path("run.jsonl");
    let (url, connections) = (sink.url(), CONNECTIONS.to_string());
    let depth = format!("pool.pipeline-depth={DEPTH}");
    let mut more = vec!["--report", "run.jsonl", "--resume", "--concurrency", &connections, "-o", &depth];
    more.extend(resends.then_some("--resend-unknown"));
    let arguments = super::batch(&file, &url, &more);
    let mut kills = 0;
    let mut doubts: BTreeSet<u64> = BTreeSet::new();
    // With every listing a row may be sent once more.
    let mut listed = 0;
    let begin = Instant::now();
    for _ in 0..KILLS {
        let mut child = start(&sandbox, &arguments);
        // About so many that the last of them comes before the end.
        let wanted = length(&ledger) + 1 + dice.below(2 * ROWS / KILLS + 40);
        if kill_at(&mut child, &ledger, wanted) {
            kills += 1;
            let list = sandbox.run(&["report", "run.jsonl", "--list", "unknown", "--json"]);
            let rows: Vec<u64> = list.records().iter().filter_map(|record| record["row"].as_u64()).collect();
            listed += rows.len();
            doubts.extend(rows);
        } else {
            finish(child).exits(if resends { 0 } else { 1 });
        }
    }
    let run = sandbox.run(&arguments);
    assert!(run.code == 0 || (!resends && run.code == 1), "{run:#?}");
    let counts = sink.counts();
    let got = |row: usize| counts.get(&person(row)).copied().unwrap_or_default();
    let ends = ends(&ledger);
    let end = |row: usize| ends.get(&(row as u64, person(row))).map_or("none", String::as_str);
    let unknown: Vec<usize> = (1..=ROWS).filter(|row| end(*row) == "unknown").collect();
    let missing: Vec<usize> = (1..=ROWS).filter(|row| got(*row) == 0).collect();
    let doubled: Vec<usize> = (1..=ROWS).filter(|row| got(*row) > 1).collect();
    eprintln!(
        "{offers}: {kills} kills in {:?}: {} unknown, {} missing, {} doubled, {} in doubt",
        begin.elapsed(),
        unknown.len(),
        missing.len(),
        doubled.len(),
        doubts.len()
    );
    assert!(kills >= KILLS / 2, "only {kills} kills");
    let most = kills * CONNECTIONS * DEPTH;
    assert!(doubts.len() <= most, "{} of {most}", doubts.len());
    for row in 1..=ROWS {
        assert!(matches!(end(row), "accepted" | "unknown"), "row {row}: {}", end(row));
        assert!(end(row) == "unknown" || got(row) > 0, "row {row} is accepted, and nobody has it");
        assert!(got(row) <= 1 || doubts.contains(&(row as u64)), "row {row} came {} times", got(row));
    }
    if resends {
        assert!(missing.is_empty() && unknown.is_empty(), "{missing:?} {unknown:?}");
        let more: usize = doubled.iter().map(|row| got(*row) - 1).sum();
        assert!(more <= listed, "{more} came again, {listed} were listed");
    } else {
        assert!(doubled.is_empty(), "{doubled:?}");
        assert!(missing.iter().all(|row| unknown.contains(row)), "{missing:?} of {unknown:?}");
    }
    let ids: BTreeSet<_> = sink.taken().iter().filter_map(|taken| taken.field("Message-ID")).collect();
    assert_eq!(ids.len(), ROWS - missing.len(), "a row has one Message-ID in all runs");
}

#[test]
fn killed_at_twenty_moments_with_data() {
    killed_at_twenty_moments("PIPELINING", false);
}

#[test]
fn killed_at_twenty_moments_with_windows() {
    killed_at_twenty_moments("PIPELINING, CHUNKING", false);
}

#[test]
fn killed_at_twenty_moments_and_resent() {
    killed_at_twenty_moments("PIPELINING, CHUNKING", true);
}

#[test]
fn killed_at_twenty_moments_and_resent_with_data() {
    killed_at_twenty_moments("PIPELINING", true);
}

/// Messages of one row that each go alone share its intents: what a server did not take does not take back the intent
/// of what another one may have.
#[test]
fn killed_with_return_paths_of_their_own() {
    let sandbox = Sandbox::new();
    let holds = Arc::new(AtomicBool::new(true));
    let is_on_its_way = AtomicBool::new(false);
    let sink = Sink::with("PIPELINING, CHUNKING", {
        let holds = holds.clone();
        move |moment| match moment.heard {
            Heard::Content(_) if moment.connection == 0 => {
                is_on_its_way.store(true, Ordering::SeqCst);
                while holds.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(2));
                }
                Act::Agree
            }
            Heard::Mail if holds.load(Ordering::SeqCst) && moment.connection > 0 => {
                while holds.load(Ordering::SeqCst) && !is_on_its_way.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(2));
                }
                Act::Say("421 4.3.2 later".to_owned())
            }
            _ => Act::Agree,
        }
    });
    let cell = (1..=8).map(person).collect::<Vec<_>>().join(", ");
    let file = sandbox.file("people.csv", format!("to\n\"{cell}\"\n"));
    let ledger = sandbox.path("run.jsonl");
    let url = sink.url();
    let more = ["--verp", "--report", "run.jsonl", "--resume", "--concurrency", "2", "-o", "pool.pipeline-depth=4"];
    let arguments = super::batch(&file, &url, &more);
    let mut child = start(&sandbox, &arguments);
    let begin = Instant::now();
    while !ledger.exists() || !fs::read_to_string(&ledger).expect("a ledger").contains("421") {
        assert!(begin.elapsed() < Duration::from_secs(10), "nobody was sent away");
        thread::sleep(Duration::from_millis(2));
    }
    thread::sleep(Duration::from_millis(50));
    child.kill().expect("it lives");
    child.wait().expect("it ends");
    holds.store(false, Ordering::SeqCst);
    while sink.count() < 4 {
        assert!(begin.elapsed() < Duration::from_secs(20), "the window is not taken");
        thread::sleep(Duration::from_millis(2));
    }
    let taken = sink.counts();
    sandbox.run(&arguments).exits(1);
    let ends = ends(&ledger);
    for row in 1..=8 {
        let end = ends.get(&(1, person(row))).map_or("none", String::as_str);
        let got = sink.counts().get(&person(row)).copied().unwrap_or_default();
        assert!(got <= 1, "{} came {got} times and is {end}", person(row));
        assert!(end == "unknown" || !taken.contains_key(&person(row)), "{} is {end}", person(row));
    }
    sandbox.run(&[&arguments[..], &["--resend-unknown"]].concat()).exits(0);
    assert_eq!(sink.counts().len(), 8);
}

/// A run that is killed while its server greylists, refuses, hangs up and loses replies.
#[test]
fn killed_while_everything_goes_wrong() {
    const ROWS: usize = 600;
    let sandbox = Sandbox::new();
    let mut dice = Dice::new(8);
    let greeted = Mutex::new(BTreeSet::new());
    let row_of = |recipient: &str| -> usize {
        recipient.trim_start_matches('p').split('@').next().and_then(|row| row.parse().ok()).unwrap_or_default()
    };
    let is_calm = Arc::new(AtomicBool::new(false));
    let calms_down = is_calm.clone();
    let sink = Sink::with("PIPELINING, CHUNKING", move |moment| match &moment.heard {
        Heard::Mail if moment.taken >= 50 => Act::Say("421 4.7.0 enough".to_owned()),
        Heard::Rcpt(recipient, _) if row_of(recipient).is_multiple_of(11) => Act::Say("550 5.1.1 unknown".to_owned()),
        Heard::Rcpt(recipient, _) => {
            let row = row_of(recipient);
            match row.is_multiple_of(3) && greeted.lock().expect("no panic").insert(row) {
                true => Act::Say("451 4.7.1 greylisted".to_owned()),
                false => Act::Agree,
            }
        }
        Heard::Content(_) => {
            thread::sleep(Duration::from_millis(5));
            match (moment.connection % 5, moment.taken) {
                _ if calms_down.load(Ordering::SeqCst) => Act::Agree,
                (2, 7) => Act::HangUp,
                (4, 9) => Act::Swallow,
                _ => Act::Agree,
            }
        }
        _ => Act::Agree,
    });
    let file = sandbox.file("people.csv", people(ROWS));
    let ledger = sandbox.path("run.jsonl");
    let url = sink.url();
    let quick = ["-o", "retry.initial-delay=50ms", "-o", "breaker.failure-threshold=50", "-o", "pool.pipeline-depth=4"];
    let more = [&["--report", "run.jsonl", "--resume", "--concurrency", "4"], &quick[..]].concat();
    let arguments = super::batch(&file, &url, &more);
    for _ in 0..8 {
        let mut child = start(&sandbox, &arguments);
        let wanted = length(&ledger) + 1 + dice.below(200);
        kill_at(&mut child, &ledger, wanted);
    }
    let run = sandbox.run(&arguments).exits(1);
    // What was in flight when it was killed is there by now, or never will be.
    let counts = sink.counts();
    let ends = ends(&ledger);
    for row in 1..=ROWS {
        let got = counts.get(&person(row)).copied().unwrap_or_default();
        let end = ends.get(&(row as u64, person(row))).map_or("none", String::as_str);
        let is_right = match end {
            "failed" => row.is_multiple_of(11) && got == 0,
            "accepted" => !row.is_multiple_of(11) && got == 1,
            // Windows are in doubt as a whole, those in it who are refused with them.
            "unknown" => got <= 1,
            _ => false,
        };
        assert!(is_right, "row {row} is {end} and came {got} times: {run:#?}");
    }
    // Those refused among them are found out; nobody is left without.
    is_calm.store(true, Ordering::SeqCst);
    sandbox.run(&[&arguments[..], &["--resend-unknown"]].concat()).exits(1);
    for row in 1..=ROWS {
        let got = sink.counts().get(&person(row)).copied().unwrap_or_default();
        assert!(if row.is_multiple_of(11) { got == 0 } else { (1..=2).contains(&got) }, "row {row} came {got} times");
    }
}

/// A run of which half is done, killed.
fn half_done(sandbox: &Sandbox, sink: &Sink, rows: usize) {
    let file = sandbox.file("people.csv", people(rows));
    let url = sink.url();
    let mut child = start(sandbox, &super::batch(&file, &url, &["--report", "run.jsonl", "--concurrency", "2"]));
    assert!(kill_at(&mut child, &sandbox.path("run.jsonl"), rows / 2), "it ends before it is killed");
}

/// Resumes what [`half_done`] has begun.
fn resume(sandbox: &Sandbox, sink: &Sink, more: &[&str]) -> Run {
    let url = sink.url();
    sandbox.run(&super::batch("people.csv", &url, &[&["--report", "run.jsonl", "--resume"], more].concat()))
}

#[test]
fn after_a_loss_of_power_whatever_was_reserved_is_unknown() {
    let sandbox = Sandbox::new();
    let sink = slow("PIPELINING", Duration::from_millis(5));
    half_done(&sandbox, &sink, 300);
    let ledger = sandbox.path("run.jsonl");
    let text = fs::read_to_string(&ledger).expect("a ledger");
    let boot = mailsend::ledger::boot().expect("a mark of the system's start");
    fs::write(&ledger, text.replace(&boot, "00000000-0000-0000-0000-000000000000")).expect("a ledger");
    let done: BTreeSet<u64> = records(&ledger, "outcome").iter().filter_map(|record| record["row"].as_u64()).collect();
    let reserved: BTreeSet<u64> = lines(&ledger)
        .iter()
        .filter(|line| line["type"] == "reserve")
        .flat_map(|line| {
            let text = line["rows"].as_str().expect("rows").to_owned();
            let spans = text.split(',').map(str::to_owned).collect::<Vec<_>>();
            spans.into_iter().flat_map(|span| {
                let (first, last) = span.split_once('-').unwrap_or((&span, &span));
                first.parse::<u64>().expect("a row")..=last.parse().expect("a row")
            })
        })
        .collect();
    sink.rest();
    let before = sink.counts();
    resume(&sandbox, &sink, &[]).exits(1);
    let unknown: BTreeSet<u64> =
        ends(&ledger).iter().filter(|(_, end)| *end == "unknown").map(|((row, _), _)| *row).collect();
    assert_eq!(unknown, reserved.difference(&done).copied().collect::<BTreeSet<u64>>());
    assert!(unknown.len() > 20, "{unknown:?}");
    let after = sink.counts();
    for row in 1..=300 {
        let name = person(row as usize);
        let sent = after.get(&name).copied().unwrap_or_default() - before.get(&name).copied().unwrap_or_default();
        assert_eq!(sent, usize::from(!done.contains(&row) && !unknown.contains(&row)), "row {row}");
    }
    // Whoever wants them all to have it at least once gets that.
    resume(&sandbox, &sink, &["--resend-unknown"]).exits(0);
    assert_eq!(sink.counts().len(), 300);
}

#[test]
fn a_torn_last_line_is_dropped() {
    let sandbox = Sandbox::new();
    let sink = slow("PIPELINING", Duration::from_millis(5));
    half_done(&sandbox, &sink, 200);
    let ledger = sandbox.path("run.jsonl");
    let mut bytes = fs::read(&ledger).expect("a ledger");
    bytes.extend_from_slice(b"{\"v\":1,\"type\":\"outcome\",\"row\":1");
    fs::write(&ledger, bytes).expect("a ledger");
    let run = resume(&sandbox, &sink, &["--resend-unknown"]).exits(0);
    assert_eq!(sink.counts().len(), 200, "{run:#?}");
    // Every line can be read again.
    assert_eq!(super::ended(&ledger, "accepted"), 200);
}

/// A full disk ends the run, loses nothing, and is forgotten once there is room.
#[test]
fn a_full_disk() {
    let Some(disk) = SmallDisk::mount(400) else { return };
    let sandbox = Sandbox::new();
    let sink = slow("PIPELINING", Duration::from_millis(1));
    let file = sandbox.file("people.csv", people(3_000));
    let report = disk.path("run.jsonl");
    let report = report.to_str().expect("a UTF-8 path");
    let url = sink.url();
    let arguments = super::batch(&file, &url, &["--report", report]);
    sandbox.run(&arguments).exits(74).says("cannot be written").says("--resume");
    let ledger = disk.path("run.jsonl");
    let before = ends(&ledger);
    assert!((100..3_000).contains(&before.len()), "{} outcomes", before.len());
    let unknown = sandbox.run(&["report", report, "--list", "unknown", "--json"]).exits(0).records().len();
    assert!(unknown <= 160, "{unknown} unknown");
    assert!(sink.count() <= before.len() + unknown, "{} sent, {} known", sink.count(), before.len());
    // There is room again.
    disk.grow("8m");
    let run = sandbox.run(&[&arguments[..], &["--resume", "--resend-unknown"]].concat()).exits(0);
    let counts = sink.counts();
    assert_eq!(counts.len(), 3_000, "{run:#?}");
    assert!(counts.values().sum::<usize>() <= 3_000 + unknown, "{counts:?}");
}
