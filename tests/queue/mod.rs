//! The queue, end to end: what is in it when a command has ended is sent once, whatever happens meanwhile.

mod adding;
mod batches;
mod broker;
mod deciding;
mod draining;
mod dropping;
mod jobs;
mod rabbitmq;
mod trouble;

use std::{
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Sandbox, finish};

/// A sandbox in which nobody drains the queue unasked.
fn sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.env("MAILSEND_QUEUE_DRAIN", "false");
    sandbox
}

/// What most messages begin with.
fn message<'a>(server: &'a str, to: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--server", server, "-r", "s@x.example", "--to", to, "-s", "Hi", "--body", "Hello\n"], more].concat()
}

/// Puts one into the queue.
#[track_caller]
fn add(sandbox: &Sandbox, server: &str, to: &str, more: &[&str]) {
    sandbox.run(&message(server, to, &[&["--queue"], more].concat())).exits(0).silently();
}

/// What `queue list` tells.
#[track_caller]
fn list(sandbox: &Sandbox, more: &[&str]) -> Vec<Value> {
    let run = sandbox.run(&[&["queue", "list", "--json"], more].concat()).exits(0);
    serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("no JSON: {run:#?}"))
}

/// What `queue show` tells.
#[track_caller]
fn show(sandbox: &Sandbox, name: &str) -> Value {
    let run = sandbox.run(&["queue", "show", name, "--json"]).exits(0);
    serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("no JSON: {run:#?}"))
}

/// The name of the only message there is.
#[track_caller]
fn only(sandbox: &Sandbox) -> String {
    let listed = list(sandbox, &["--all"]);
    assert_eq!(listed.len(), 1, "{listed:#?}");
    text(&listed[0]["name"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The database itself, to make it what no command makes it.
fn database(sandbox: &Sandbox) -> rusqlite::Connection {
    rusqlite::Connection::open(sandbox.path(".local/state/mailsend/queue.sqlite")).expect("a database")
}

/// Starts something and does not wait for it.
fn start(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = sandbox.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary starts")
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a process");
    kill_process(pid, signal).expect("it is ours");
}

/// Lets it come to its end, which is a good one.
#[track_caller]
fn end(worker: Child) {
    signal(&worker, Signal::TERM);
    finish(worker).exits(0);
}

/// Waits until this is so, for a minute at most.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what} does not happen");
        thread::sleep(Duration::from_millis(2));
    }
}
