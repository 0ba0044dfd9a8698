//! Who gets a message: choices, duplicates, exclusions, many in a cell, and what a server says to each of them.

use std::collections::BTreeMap;

use super::{batch, ended, ends, people, person, records, who};
use crate::support::{
    Sandbox,
    sink::{Act, Heard, Sink},
};

fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

#[test]
fn a_choice_of_rows() {
    let choices: [(&[&str], &[usize]); 4] = [
        (&["--rows", "2,4-5,9"], &[2, 4, 5, 9]),
        (&["--first", "2"], &[1, 2]),
        (&["--rows", "3-8", "--first", "2"], &[3, 4]),
        (&["--rows", "300"], &[]),
    ];
    for (options, rows) in choices {
        let sandbox = Sandbox::new();
        let sink = Sink::new("");
        let file = sandbox.file("people.csv", people(10));
        let run = sandbox.run(&batch(&file, &sink.url(), options)).exits(0);
        let mut wanted: Vec<String> = rows.iter().map(|row| person(*row)).collect();
        wanted.sort();
        assert_eq!(who(&sink), wanted, "{options:?}: {run:#?}");
    }
}

#[test]
fn the_same_rows_and_the_same_addresses() {
    let table = "to,n\nada@y.example,1\nada@y.example,1\nADA@y.example,2\nbob@y.example,3\nada@y.example,1\n";
    let cases: [(&[&str], &[&str], &[u64]); 2] = [
        (&[], &["ADA@y.example", "ada@y.example", "bob@y.example"], &[2, 5]),
        (&["--unique"], &["ada@y.example", "bob@y.example"], &[2, 3, 5]),
    ];
    for (options, wanted, skipped) in cases {
        let sandbox = Sandbox::new();
        let sink = Sink::new("");
        let file = sandbox.file("people.csv", table);
        let url = sink.url();
        let options = [&["--report", "run.jsonl"], options].concat();
        let dry = sandbox.run(&batch(&file, &url, &[&["--dry-run"], &options[..]].concat())).exits(0).stdout;
        assert!(dry.contains(&format!("messages    {}\n", wanted.len())), "{options:?}: {dry}");
        assert!(dry.contains(&format!("recipients  {}\n", wanted.len())), "{options:?}: {dry}");
        assert!(dry.contains(&format!("duplicates  {}\n", skipped.len())), "{options:?}: {dry}");
        sandbox.run(&batch(&file, &url, &options)).exits(0);
        assert_eq!(who(&sink), wanted, "{options:?}");
        let ends = ends(&sandbox.path("run.jsonl"));
        let rows: Vec<u64> = ends.iter().filter(|(_, end)| *end == "skipped").map(|((row, _), _)| *row).collect();
        assert_eq!(rows, skipped, "{options:?}");
        // Nothing is left for a second run.
        sandbox.run(&batch(&file, &url, &[&["--resume"], &options[..]].concat())).exits(0);
        assert_eq!(sink.count(), wanted.len(), "{options:?}");
    }
}

#[test]
fn exclusions_and_redirection() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("");
    let url = sink.url();
    let file = sandbox.file("people.csv", "to\nada@y.example\nbob@z.example\n\"eve@y.example, x@z.example\"\n");
    sandbox.file("not.txt", "# nobody of these\n@Z.example\nADA@y.example\n");
    sandbox.run(&batch(&file, &url, &["--exclude", "not.txt", "--report", "a.jsonl"])).exits(0);
    assert_eq!(who(&sink), ["eve@y.example"]);
    assert_eq!(ended(&sandbox.path("a.jsonl"), "skipped"), 3);
    let sink = Sink::new("");
    sandbox.run(&batch(&file, &sink.url(), &["--redirect-to", "me@x.example", "--report", "b.jsonl"])).exits(0);
    assert_eq!(who(&sink), ["me@x.example"; 3]);
    // The header is as it would be.
    let to: Vec<_> = sink.taken().iter().filter_map(|taken| taken.field("To")).collect();
    assert!(to.contains(&"<eve@y.example>, <x@z.example>".to_owned()), "{to:?}");
}

#[test]
fn each_recipient_of_a_row_has_an_end_of_its_own() {
    let sandbox = Sandbox::new();
    let sink = Sink::with("PIPELINING", |moment| match moment.heard {
        Heard::Rcpt(recipient, _) if recipient.starts_with("no") => say("550 5.1.1 unknown"),
        _ => Act::Agree,
    });
    let file = sandbox.file(
        "people.csv",
        "to\n\"ada@y.example, no1@y.example, bob@y.example\"\n\"no2@y.example, no3@y.example\"\neve@y.example\n",
    );
    let run = sandbox.run(&batch(&file, &sink.url(), &["--report", "run.jsonl", "--failed", "bad.csv"])).exits(1);
    run.says("row 1: failed no1@y.example").says("5.1.1");
    assert_eq!(who(&sink), ["ada@y.example", "bob@y.example", "eve@y.example"]);
    let ledger = sandbox.path("run.jsonl");
    assert_eq!((ended(&ledger, "accepted"), ended(&ledger, "failed")), (3, 3));
    let bad = std::fs::read_to_string(sandbox.path("bad.csv")).expect("the failed rows");
    assert!(bad.contains("no1@y.example: ") && bad.lines().count() == 3, "{bad}");
    // They have failed for good: nobody asks again.
    let run = sandbox.run(&batch(&file, &sink.url(), &["--report", "run.jsonl", "--resume"])).exits(1);
    assert_eq!(sink.count(), 2, "{run:#?}");
}

/// RFC 5321, 4.5.3.1.10: whoever is one too many is next, in the same attempt.
#[test]
fn a_server_takes_two_at_a_time() {
    for offers in ["", "PIPELINING", "PIPELINING, CHUNKING"] {
        let sandbox = Sandbox::new();
        let sink = Sink::with(offers, |moment| match moment.heard {
            Heard::Rcpt(_, 2..) => say("452 4.5.3 too many"),
            _ => Act::Agree,
        });
        let cell: Vec<String> = (1..=7).map(person).collect();
        let file = sandbox.file("people.csv", format!("to,n\n\"{}\",1\nada@y.example,2\n", cell.join(", ")));
        sandbox.run(&batch(&file, &sink.url(), &["--report", "run.jsonl"])).exits(0);
        let mut wanted = [&cell[..], &["ada@y.example".to_owned()]].concat();
        wanted.sort();
        assert_eq!(who(&sink), wanted, "{offers}");
        assert_eq!(sink.count(), 5, "{offers}");
        let attempts: Vec<_> =
            records(&sandbox.path("run.jsonl"), "outcome").iter().map(|record| record["attempts"].as_u64()).collect();
        assert_eq!(attempts, [Some(1); 8], "{offers}");
        let ids: std::collections::BTreeSet<_> =
            sink.taken().iter().filter_map(|taken| taken.field("Message-ID")).collect();
        assert_eq!(ids.len(), 2, "{offers}");
    }
}

#[test]
fn every_recipient_has_a_return_path() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("PIPELINING, CHUNKING");
    let file = sandbox.file("people.csv", "to,cc\n\"ada@y.example, bob@z.example\",eve@y.example\ndan@y.example,\n");
    sandbox.run(&batch(&file, &sink.url(), &["--verp", "-f", "list@x.example", "--report", "run.jsonl"])).exits(0);
    let paths: BTreeMap<String, Vec<String>> =
        sink.taken().into_iter().map(|taken| (taken.sender, taken.recipients)).collect();
    let wanted = ["ada@y.example", "bob@z.example", "dan@y.example", "eve@y.example"]
        .map(|one| (format!("list+{}@x.example", one.replace('@', "=")), vec![one.to_owned()]));
    assert_eq!(paths, BTreeMap::from(wanted));
    assert_eq!(ended(&sandbox.path("run.jsonl"), "accepted"), 4);
}

/// Only those are tried again who were deferred.
#[test]
fn only_the_deferred_come_again() {
    let sandbox = Sandbox::new();
    let asked = std::sync::Mutex::new(BTreeMap::<String, usize>::new());
    let sink = Sink::with("PIPELINING, CHUNKING", move |moment| match moment.heard {
        Heard::Rcpt(recipient, _) => {
            let mut asked = asked.lock().expect("no panic");
            let count = asked.entry(recipient.to_owned()).or_default();
            *count += 1;
            match recipient {
                "grey@y.example" if *count < 3 => say("451 4.7.1 greylisted"),
                "never@y.example" => say("450 4.2.0 full"),
                "no@y.example" => say("550 5.1.1 unknown"),
                _ => Act::Agree,
            }
        }
        _ => Act::Agree,
    });
    let file = sandbox.file("people.csv", "to\n\"ada@y.example, grey@y.example, never@y.example, no@y.example\"\n");
    let ledger = sandbox.path("run.jsonl");
    let more = ["--report", "run.jsonl", "-o", "retry.initial-delay=20ms", "-o", "retry.max-attempts=4"];
    sandbox.run(&batch(&file, &sink.url(), &more)).exits(75).says("--resume");
    assert_eq!(who(&sink), ["ada@y.example", "grey@y.example"]);
    let outcomes: BTreeMap<String, (String, u64)> = records(&ledger, "outcome")
        .iter()
        .map(|record| {
            let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
            (text("recipient"), (text("state"), record["attempts"].as_u64().unwrap_or_default()))
        })
        .collect();
    let wanted = [
        ("ada@y.example", "accepted", 1),
        ("grey@y.example", "accepted", 3),
        ("never@y.example", "deferred", 4),
        ("no@y.example", "failed", 1),
    ];
    let wanted = wanted.map(|(recipient, state, attempts)| (recipient.to_owned(), (state.to_owned(), attempts)));
    assert_eq!(outcomes, BTreeMap::from(wanted));
}

/// Whoever was refused for now is sent to by the next run, though others of the same message have it.
#[test]
fn nobody_is_in_doubt_who_was_answered() {
    for offers in ["", "PIPELINING", "PIPELINING, CHUNKING"] {
        let sandbox = Sandbox::new();
        let is_grey = std::sync::atomic::AtomicBool::new(true);
        let sink = Sink::with(offers, move |moment| match moment.heard {
            Heard::Rcpt("grey@y.example", _) if is_grey.swap(false, std::sync::atomic::Ordering::SeqCst) => {
                say("450 4.2.0 not now")
            }
            Heard::Rcpt("typo@y.example", _) => say("550 5.1.1 unknown"),
            _ => Act::Agree,
        });
        let url = sink.url();
        sandbox.file("people.csv", "to,n\n\"ada@y.example, grey@y.example\",1\ntypo@y.example,2\n");
        let more = ["--report", "run.jsonl", "-o", "retry.max-attempts=1"];
        sandbox.run(&batch("people.csv", &url, &more)).exits(75);
        let resume = [&more[..], &["--resume"]].concat();
        sandbox.run(&batch("people.csv", &url, &resume)).exits(1);
        assert_eq!(who(&sink), ["ada@y.example", "grey@y.example"], "{offers}");
        // An address that was mended is another recipient.
        sandbox.file("people.csv", "to,n\n\"ada@y.example, grey@y.example\",1\nright@y.example,2\n");
        let force = [&resume[..], &["--force"]].concat();
        sandbox.run(&batch("people.csv", &url, &force)).exits(0);
        assert_eq!(who(&sink), ["ada@y.example", "grey@y.example", "right@y.example"], "{offers}");
    }
}

/// What a server has accepted stays so, whatever is left out later.
#[test]
fn what_is_settled_stays_settled() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("PIPELINING");
    let url = sink.url();
    let file = sandbox.file("people.csv", "to\nada@y.example\nbob@y.example\nbob@y.example\n");
    sandbox.file("out.txt", "ada@y.example\n");
    let ledger = sandbox.path("run.jsonl");
    sandbox.run(&batch(&file, &url, &["--report", "run.jsonl", "--rows", "1,3"])).exits(0);
    sandbox.run(&batch(&file, &url, &["--report", "run.jsonl", "--resume", "--exclude", "out.txt"])).exits(0);
    // The second row is the same as the third, which bob has got already.
    assert_eq!(who(&sink), ["ada@y.example", "bob@y.example"]);
    let wanted = [(1, "accepted"), (2, "skipped"), (3, "accepted")];
    let found = ends(&ledger);
    let found: Vec<(u64, &str)> = found.iter().map(|((row, _), end)| (*row, end.as_str())).collect();
    assert_eq!(found, wanted);
}
