//! Servers that misbehave: every row ends as it should, after as many attempts as it should.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{batch, ended, ends, people, person, records, start, who};
use crate::support::{
    Sandbox, Server, finish,
    sink::{Act, Heard, Sink},
};

fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

/// The row of a recipient as [`person`] names it.
fn row_of(recipient: &str) -> usize {
    recipient.trim_start_matches('p').split('@').next().and_then(|row| row.parse().ok()).unwrap_or_default()
}

/// What a thing that happens at random turns on; the same for the same numbers.
fn mixed(a: usize, b: usize) -> usize {
    let mut x = (a as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (b as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 29;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 32)) as usize
}

/// It drops every 7th connection at some stage, greylists every 3rd address, refuses every 11th for good, and has
/// enough of a connection after 50 messages.
#[test]
fn a_server_with_every_fault() {
    const ROWS: usize = 700;
    for (seed, offers) in [(1, "PIPELINING"), (2, "PIPELINING, CHUNKING"), (3, "")] {
        let sandbox = Sandbox::new();
        // How often each was asked for, and how many transactions with it ended by the server's hanging up.
        let asked = Arc::new(Mutex::new(BTreeMap::<usize, usize>::new()));
        let sink = Sink::with(offers, {
            let asked = asked.clone();
            move |moment| {
                let drops = moment.connection % 7 == 6;
                // One of the first twelve things that are heard.
                let stage = mixed(moment.connection, seed) % 4;
                let after = mixed(seed, moment.connection) % 5;
                match moment.heard {
                    Heard::Connect if drops && stage == 0 => Act::HangUp,
                    Heard::Mail if moment.taken >= 50 => say("421 4.7.0 enough of you"),
                    Heard::Mail if drops && stage == 1 && moment.taken >= after => Act::HangUp,
                    Heard::Rcpt(..) if drops && stage == 2 && moment.taken >= after => Act::HangUp,
                    Heard::Content(_) if drops && stage == 3 && moment.taken >= after => Act::HangUp,
                    Heard::Rcpt(recipient, _) => {
                        let row = row_of(recipient);
                        let mut asked = asked.lock().expect("no panic");
                        let count = asked.entry(row).or_default();
                        *count += 1;
                        match *count {
                            _ if row.is_multiple_of(11) => say("550 5.1.1 unknown"),
                            1 if row.is_multiple_of(3) => say("451 4.7.1 greylisted"),
                            _ => Act::Agree,
                        }
                    }
                    _ => Act::Agree,
                }
            }
        });
        let file = sandbox.file("people.csv", people(ROWS));
        let ledger = sandbox.path("run.jsonl");
        let url = sink.url();
        let quick = ["-o", "retry.initial-delay=50ms", "-o", "retry.max-delay=200ms", "-o", "breaker.cool-down=100ms"];
        let more = ["--report", "run.jsonl", "--concurrency", "5", "-o", "pool.pipeline-depth=4"];
        let run = sandbox.run(&batch(&file, &url, &[&more[..], &quick].concat())).exits(1);
        let counts = sink.counts();
        let mut lost = 0;
        let outcomes = records(&ledger, "outcome");
        assert_eq!(outcomes.len(), ROWS, "{offers}: {run:#?}");
        for record in outcomes {
            let row = record["row"].as_u64().expect("a row") as usize;
            let got = counts.get(&person(row)).copied().unwrap_or_default();
            let attempts = record["attempts"].as_u64().expect("attempts") as usize;
            let asked = asked.lock().expect("no panic").get(&row).copied().unwrap_or_default();
            match record["state"].as_str().expect("a state") {
                "failed" => assert!(row.is_multiple_of(11) && got == 0, "{offers}: {record}"),
                "accepted" => {
                    assert!(!row.is_multiple_of(11) && got == 1, "{offers}: {record}");
                    // A greylisted address takes two, and any connection that broke one more.
                    assert!(attempts >= if row.is_multiple_of(3) { 2 } else { 1 }, "{offers}: {record}");
                }
                // The server hung up instead of a reply to the content.
                "unknown" => {
                    lost += 1;
                    assert!(got == 0, "{offers}: the sink stores nothing without a reply: {record}");
                }
                _ => panic!("{offers}: {record}"),
            }
            assert!(attempts <= asked + 4, "{offers}: asked {asked} times, {record}");
        }
        // Four connections of 28 break behind the content, with a window in doubt each.
        assert!(lost <= 40, "{offers}: {lost} unknown");
        let deferred = records(&ledger, "attempt");
        for row in (3..=ROWS).step_by(3).filter(|row| !row.is_multiple_of(11)) {
            let own = deferred.iter().filter(|record| record["row"] == row && record["reply"].is_string());
            assert!(own.count() <= 2, "{offers}: row {row}");
        }
    }
}

/// Without any connection that breaks the number of attempts is exact.
#[test]
fn greylisting_takes_exactly_two_attempts() {
    let sandbox = Sandbox::new();
    let asked = Mutex::new(BTreeMap::<usize, usize>::new());
    let sink = Sink::with("PIPELINING, CHUNKING", move |moment| match moment.heard {
        Heard::Rcpt(recipient, _) => {
            let row = row_of(recipient);
            let mut asked = asked.lock().expect("no panic");
            let count = asked.entry(row).or_default();
            *count += 1;
            match *count {
                _ if row.is_multiple_of(11) => say("550 5.1.1 unknown"),
                1 if row.is_multiple_of(3) => say("451 4.7.1 greylisted"),
                _ => Act::Agree,
            }
        }
        Heard::Mail if moment.taken >= 50 => say("421 4.7.0 enough of you"),
        _ => Act::Agree,
    });
    let file = sandbox.file("people.csv", people(330));
    let url = sink.url();
    let more = ["--report", "run.jsonl", "-o", "retry.initial-delay=50ms", "--concurrency", "3"];
    sandbox.run(&batch(&file, &url, &more)).exits(1);
    let counts = sink.counts();
    let outcomes = records(&sandbox.path("run.jsonl"), "outcome");
    assert_eq!(outcomes.len(), 330);
    // The message to whose MAIL 421 is said is deferred, and comes again.
    let busy: Vec<u64> = records(&sandbox.path("run.jsonl"), "attempt")
        .iter()
        .filter(|record| record["code"] == 421)
        .filter_map(|record| record["row"].as_u64())
        .collect();
    for record in outcomes {
        let row = record["row"].as_u64().expect("a row");
        let more = busy.iter().filter(|busy| **busy == row).count() as u64;
        let wanted = match row {
            _ if row.is_multiple_of(11) => ("failed", 1 + more, 0),
            _ if row.is_multiple_of(3) => ("accepted", 2 + more, 1),
            _ => ("accepted", 1 + more, 1),
        };
        let got = counts.get(&person(row as usize)).copied().unwrap_or_default();
        let found =
            (record["state"].as_str().unwrap_or_default(), record["attempts"].as_u64().unwrap_or_default(), got);
        assert_eq!(found, wanted, "{record}");
    }
}

/// A reply that is lost leaves its message unknown, and no other one.
#[test]
fn lost_final_replies() {
    for (offers, depth) in
        [("PIPELINING", "16"), ("PIPELINING, CHUNKING", "1"), ("PIPELINING, CHUNKING", "4"), ("", "1")]
    {
        let sandbox = Sandbox::new();
        let swallowed = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink::with(offers, {
            let swallowed = swallowed.clone();
            move |moment| match moment.heard {
                Heard::Content(taken) if moment.connection < 8 && moment.taken == moment.connection => {
                    swallowed.lock().expect("no panic").push(row_of(&taken.recipients[0]) as u64);
                    Act::Swallow
                }
                _ => Act::Agree,
            }
        });
        let file = sandbox.file("people.csv", people(150));
        let ledger = sandbox.path("run.jsonl");
        let (url, depth_option) = (sink.url(), format!("pool.pipeline-depth={depth}"));
        let quick = ["-o", "retry.initial-delay=20ms", "-o", "breaker.failure-threshold=100", "-o", &depth_option];
        let more = [&["--report", "run.jsonl", "--concurrency", "2"], &quick[..]].concat();
        sandbox.run(&batch(&file, &url, &more)).exits(1).says("unknown");
        let unknown: Vec<u64> =
            ends(&ledger).iter().filter(|(_, end)| *end == "unknown").map(|((row, _), _)| *row).collect();
        let mut swallowed = swallowed.lock().expect("no panic").clone();
        swallowed.sort_unstable();
        assert_eq!(swallowed.len(), 8, "{offers} {depth}");
        let counts = sink.counts();
        for row in 1..=150 {
            let got = counts.get(&person(row as usize)).copied().unwrap_or_default();
            assert_eq!(
                got,
                usize::from(swallowed.contains(&row) || !unknown.contains(&row)),
                "{offers} {depth}: {row}"
            );
        }
        if depth == "4" {
            // What was behind it in the window is in doubt, too.
            assert!(
                swallowed.iter().all(|row| unknown.contains(row)) && unknown.len() <= 8 * 4,
                "{offers}: {unknown:?}"
            );
        } else {
            assert_eq!(unknown, swallowed, "{offers} {depth}");
        }
        // They stay unknown, until somebody says that twice is better than never.
        let before = sink.count();
        sandbox.run(&batch(&file, &url, &[&["--resume"], &more[..]].concat())).exits(1);
        assert_eq!(sink.count(), before, "{offers} {depth}");
        sandbox.run(&batch(&file, &url, &[&["--resume", "--resend-unknown"], &more[..]].concat())).exits(0);
        assert_eq!(sink.count(), before + unknown.len(), "{offers} {depth}");
        assert_eq!(ended(&ledger, "accepted"), 150, "{offers} {depth}");
    }
}

/// A login that is refused in the middle is the fault of no row.
#[test]
fn a_login_is_refused_in_the_middle() {
    // At the next login, or at the next MAIL.
    for at_login in [true, false] {
        let mut sandbox = Sandbox::new();
        let is_well = Arc::new(AtomicBool::new(false));
        let sink = Sink::with("PIPELINING, CHUNKING, AUTH PLAIN", {
            let is_well = is_well.clone();
            move |moment| match moment.heard {
                _ if is_well.load(Ordering::SeqCst) => Act::Agree,
                Heard::Mail if moment.taken >= 40 && at_login => say("421 4.3.2 later"),
                Heard::Mail if moment.taken >= 40 => say("530 5.7.0 log in first"),
                Heard::Login if moment.connection > 0 && at_login => say("535 5.7.8 no longer"),
                _ => Act::Agree,
            }
        });
        sandbox.env("MAILSEND_PASSWORD", "hunter2");
        let file = sandbox.file("people.csv", people(120));
        let ledger = sandbox.path("run.jsonl");
        let url = sink.url();
        let more = ["--user", "ada", "-o", "allow-plaintext-auth=true", "--report", "run.jsonl", "--concurrency", "1"];
        let arguments = batch(&file, &url, &more);
        let run = sandbox.run(&arguments).exits(77).says("--resume");
        let count = sink.count();
        assert!((40..120).contains(&count), "{count}: {run:#?}");
        assert_eq!((ended(&ledger, "failed"), ended(&ledger, "unknown")), (0, 0), "{run:#?}");
        assert_eq!(ended(&ledger, "accepted"), count);
        is_well.store(true, Ordering::SeqCst);
        sandbox.run(&[&arguments[..], &["--resume"]].concat()).exits(0);
        assert_eq!(sink.count(), 120);
        assert!(sink.counts().values().all(|count| *count == 1));
    }
}

#[test]
fn refusals_in_a_row_mean_a_quota() {
    let sandbox = Sandbox::new();
    let is_spent = Arc::new(AtomicBool::new(true));
    let refused = Arc::new(AtomicUsize::new(0));
    let sink = Sink::with("PIPELINING", {
        let (is_spent, refused) = (is_spent.clone(), refused.clone());
        move |moment| match &moment.heard {
            // One in the middle is no quota.
            Heard::Content(taken) if taken.recipients[0] == person(5) => say("554 5.7.1 spam"),
            Heard::Content(_) if moment.taken >= 20 && is_spent.load(Ordering::SeqCst) => {
                refused.fetch_add(1, Ordering::SeqCst);
                say("550 5.4.5 daily quota")
            }
            _ => Act::Agree,
        }
    });
    let file = sandbox.file("people.csv", people(60));
    let ledger = sandbox.path("run.jsonl");
    let url = sink.url();
    let arguments = batch(&file, &url, &["--report", "run.jsonl", "--concurrency", "1"]);
    sandbox
        .run(&arguments)
        .exits(75)
        .says("5 messages in a row were refused alike")
        .says("5.4.5 daily quota")
        .says("--stop-after-failures 0");
    assert_eq!((ended(&ledger, "failed"), sink.count()), (1, 20));
    let refused = refused.load(Ordering::SeqCst);
    assert!((5..=7).contains(&refused), "{refused} refused");
    is_spent.store(false, Ordering::SeqCst);
    sandbox.run(&[&arguments[..], &["--resume"]].concat()).exits(1);
    assert_eq!((sink.count(), ended(&ledger, "failed"), ended(&ledger, "accepted")), (59, 1, 59));
    // Without the limit each is what its server says it is.
    let sandbox = Sandbox::new();
    let sink = Sink::with("", |moment| match moment.heard {
        Heard::Content(_) => say("550 5.4.5 daily quota"),
        _ => Act::Agree,
    });
    let file = sandbox.file("people.csv", people(12));
    sandbox.run(&batch(&file, &sink.url(), &["--report", "run.jsonl", "--stop-after-failures", "0"])).exits(1);
    assert_eq!(ended(&sandbox.path("run.jsonl"), "failed"), 12);
}

/// A server goes away and comes back: the batch waits for it.
#[test]
fn a_server_is_away_for_a_while() {
    let sandbox = Sandbox::new();
    // Nobody listens yet; whoever does later gets this port.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let file = sandbox.file("people.csv", people(30));
    let url = format!("smtp://127.0.0.1:{port}");
    let quick =
        ["-o", "retry.initial-delay=50ms", "-o", "breaker.cool-down=200ms", "-o", "breaker.failure-threshold=2"];
    let more = [&["--report", "run.jsonl", "--progress", "lines"], &quick[..]].concat();
    let child = start(&sandbox, &batch(&file, &url, &more));
    thread::sleep(Duration::from_millis(1_500));
    let sink = Sink::at(port, "PIPELINING", |_| Act::Agree);
    let run = finish(child).exits(0);
    assert_eq!(sink.counts().len(), 30);
    assert_eq!(sink.count(), 30);
    assert!(run.stderr.contains("open"), "{run:#?}");
    assert!(run.stderr.contains("closed") || run.stderr.contains("again"), "{run:#?}");
}

#[test]
fn no_server_for_too_long() {
    let sandbox = Sandbox::new();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let file = sandbox.file("people.csv", people(30));
    let url = format!("smtp://127.0.0.1:{port}");
    let quick = ["-o", "retry.initial-delay=50ms", "-o", "breaker.cool-down=100ms", "-o", "retry.max-time=1s"];
    let begin = std::time::Instant::now();
    sandbox.run(&batch(&file, &url, &[&["--report", "run.jsonl"], &quick[..]].concat())).exits(75).says("--resume");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    // It is nobody's fault, and all of them go once there is one.
    assert_eq!(ended(&sandbox.path("run.jsonl"), "failed"), 0);
    let sink = Sink::at(port, "PIPELINING", |_| Act::Agree);
    sandbox.run(&batch(&file, &url, &["--report", "run.jsonl", "--resume"])).exits(0);
    assert_eq!(who(&sink).len(), 30);
}

/// Neither a fallback that is of no use nor one that is the same server under another name keeps a batch alive.
#[test]
fn no_server_and_no_fallback_for_too_long() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let refusing = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        talk.answer("AUTH PLAIN", "535 5.7.8 wrong");
        talk.hear_to_the_end();
    });
    for (fallback, warning) in [
        (refusing.url().replace("127", "ada@127"), "the fallback 'backup' is of no use"),
        (format!("smtp://ada@127.0.0.1:{port}"), ""),
    ] {
        let mut sandbox = Sandbox::new();
        sandbox.env("OF_BACKUP", "correct-horse");
        sandbox.config(&format!(
            "[profiles.work]\nserver = \"smtp://127.0.0.1:{port}\"\nfrom = \"s@x.example\"\nfallback = [\"backup\"]\n\
             retry.initial-delay = \"50ms\"\nretry.max-time = \"1s\"\nbreaker.failure-threshold = 2\n\
             breaker.cool-down = \"100ms\"\n[profiles.backup]\nserver = \"{fallback}\"\n\
             allow-plaintext-auth = true\npassword = {{ env = \"OF_BACKUP\" }}\nbreaker.failure-threshold = 2\n\
             breaker.cool-down = \"100ms\"\n"
        ));
        let file = sandbox.file("people.csv", people(30));
        let arguments = ["batch", &file, "--profile", "work", "-s", "x", "--body", "x", "--report", "run.jsonl"];
        let begin = std::time::Instant::now();
        sandbox.run(&arguments).exits(75).says("--resume").says(warning);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert_eq!(ended(&sandbox.path("run.jsonl"), "failed"), 0);
    }
}

/// Attempts are bounded by time, too.
#[test]
fn greylisting_that_never_ends() {
    let sandbox = Sandbox::new();
    let sink = Sink::with("PIPELINING", |moment| match moment.heard {
        Heard::Rcpt(recipient, _) if row_of(recipient) == 2 => say("451 4.7.1 greylisted"),
        _ => Act::Agree,
    });
    let file = sandbox.file("people.csv", people(3));
    let url = sink.url();
    let quick = ["-o", "retry.initial-delay=100ms", "-o", "retry.max-delay=100ms", "-o", "retry.max-time=1s"];
    let begin = std::time::Instant::now();
    sandbox.run(&batch(&file, &url, &[&["--report", "run.jsonl"], &quick[..]].concat())).exits(75);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let ledger = sandbox.path("run.jsonl");
    let last = records(&ledger, "outcome").into_iter().find(|record| record["row"] == 2).expect("an end");
    let attempts = last["attempts"].as_u64().expect("attempts");
    assert!(last["state"] == "deferred" && (3..=25).contains(&attempts), "{last}");
    assert_eq!(ended(&ledger, "accepted"), 2);
}

/// The other profile takes over where the first one's server has gone, and nothing is sent twice.
#[test]
fn another_profile_takes_over() {
    let sandbox = Sandbox::new();
    let first = Sink::with("PIPELINING, CHUNKING", |moment| match moment.heard {
        Heard::Connect if moment.connection > 0 => say("421 4.3.2 closed for today"),
        Heard::Mail if moment.taken >= 25 => say("421 4.3.2 closed for today"),
        _ => Act::Agree,
    });
    let second = Sink::new("PIPELINING");
    sandbox.config(&format!(
        "[profiles.work]\nserver = \"{}\"\nfrom = \"s@x.example\"\nfallback = [\"backup\"]\n\
         retry.initial-delay = \"50ms\"\nbreaker.failure-threshold = 2\nbreaker.cool-down = \"30s\"\n\
         pool.max-connections = 2\n[profiles.backup]\nserver = \"{}\"\nfrom = \"s@x.example\"\n",
        first.url(),
        second.url()
    ));
    let file = sandbox.file("people.csv", people(100));
    let arguments = ["batch", &file, "--profile", "work", "-s", "x", "--body", "x", "--report", "run.jsonl"];
    let run = sandbox.run(&arguments).exits(0);
    let mut all = [who(&first), who(&second)].concat();
    all.sort();
    let mut wanted: Vec<String> = (1..=100).map(person).collect();
    wanted.sort();
    assert_eq!(all, wanted, "{run:#?}");
    assert!(first.count() >= 25 && second.count() >= 25, "{} and {}", first.count(), second.count());
    let profiles: Vec<_> =
        records(&sandbox.path("run.jsonl"), "outcome").iter().map(|record| record["profile"].clone()).collect();
    assert_eq!(profiles.iter().filter(|name| *name == "backup").count(), second.count());
}
