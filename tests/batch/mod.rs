//! Batches, end to end: what the rows say is what a server gets, and the ledger tells the truth about it.

mod faults;
mod kills;
mod messages;
mod recipients;
mod runs;
mod tables;

use std::{collections::BTreeMap, path::Path, process::Child, process::Stdio};

use serde_json::Value;

use crate::support::{Run, Sandbox, sink::Sink};

/// What most batches begin with.
fn batch<'a>(source: &'a str, server: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["batch", source, "--server", server, "-r", "s@x.example", "-s", "Hi", "--body", "Hello\n"], more].concat()
}

/// Starts a batch and does not wait for it.
fn start(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = sandbox.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary starts")
}

/// A table of so many rows, with the columns `to` and `n`.
fn people(count: usize) -> String {
    (1..=count).fold("to,n\n".to_owned(), |table, row| format!("{table}{},{row}\n", person(row)))
}

/// Who stands in this row of it.
fn person(row: usize) -> String {
    format!("p{row}@y.example")
}

/// The lines of a ledger.
fn lines(ledger: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(ledger).expect("a ledger");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

/// The records of a ledger of this type.
fn records(ledger: &Path, kind: &str) -> Vec<Value> {
    lines(ledger).into_iter().filter(|line| line["type"] == kind).collect()
}

/// How each recipient has ended, as the last outcome of each tells: by row and recipient.
fn ends(ledger: &Path) -> BTreeMap<(u64, String), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let key = |record: &Value| (record["row"].as_u64().unwrap_or_default(), text(&record["recipient"]));
    records(ledger, "outcome").iter().map(|record| (key(record), text(&record["state"]))).collect()
}

/// How many recipients have ended so.
fn ended(ledger: &Path, state: &str) -> usize {
    ends(ledger).values().filter(|end| *end == state).count()
}

/// Everybody who has got a message, in the order of the alphabet.
fn who(sink: &Sink) -> Vec<String> {
    sink.counts().into_iter().flat_map(|(recipient, count)| vec![recipient; count]).collect()
}

/// Nothing was sent, and standard error says all this.
#[track_caller]
fn is_refused(run: Run, sink: &Sink, texts: &[&str]) {
    let run = texts.iter().fold(run.exits(65), |run, text| run.says(text));
    assert_eq!(sink.count(), 0, "{run:#?}");
}
