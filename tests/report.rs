//! `mailsend report`: ledgers and records read back, as text, as JSON, as a page in a real browser.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{Sandbox, Server, finish};

fn line(value: Value) -> String {
    format!("{value}\n")
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn run_line(boot: &str) -> String {
    line(json!({ "v": 1, "type": "run", "time": "2026-11-23T04:00:00.000Z", "run": "0123456789abcdefghij",
        "source": "s", "template": "t", "boot": boot, "version": "0.1.0" }))
}

fn rows(kind: &str, rows: &str) -> String {
    line(json!({ "v": 1, "type": kind, "rows": rows }))
}

/// An outcome, settled so many seconds after the beginning.
fn outcome(seconds: u64, row: u64, recipient: &str, state: &str, reply: Option<(u16, &str)>) -> String {
    line(json!({
        "v": 1, "type": "outcome", "time": format!("2026-11-23T04:{:02}:{:02}.000Z", seconds / 60, seconds % 60),
        "run": "0123456789abcdefghij", "row": row, "message_id": format!("<{row}@x>"), "from": "s@x.example",
        "recipient": recipient, "state": state, "stage": "rcpt", "code": reply.map(|(code, _)| code), "enhanced": null,
        "reply": reply.map(|(_, text)| text), "attempts": 1, "profile": null, "server": "mx.example:25",
        "remote_id": null, "elapsed_ms": 12, "error": null, "dsn": null
    }))
}

const HOSTILE: &str =
    "5.7.1 </td><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">&'";

/// Every kind of end, hostile words, and a line that is still being written.
fn ledger() -> String {
    let mut text = run_line(&boot()) + &rows("reserve", "1-40") + &rows("intent", "1-36");
    for row in 1..=30 {
        text += &outcome(row, row, &format!("user{row}@good.example"), "accepted", Some((250, "2.0.0 Ok")));
    }
    text += &outcome(31, 31, "a@evil.example", "failed", Some((554, HOSTILE)));
    text += &outcome(31, 32, "b@evil.example", "failed", Some((554, HOSTILE)));
    text += &outcome(32, 33, "c@slow.example", "deferred", Some((450, "4.2.0 <c@slow.example> greylisted")));
    text += &outcome(33, 34, "<script>@x.example", "unknown", None);
    text += &rows("release", "1-34");
    text + "{\"v\":1,\"type\":\"outcome\",\"ro"
}

#[test]
fn a_summary_for_people_and_for_programs() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("run.jsonl", ledger());
    let text = sandbox.run(&["report", &file]).exits(0).silently().stdout;
    for said in [
        "36 recipients in 33 s (",
        "  accepted  30  83.3 %\n",
        "  deferred   1   2.8 %\n",
        "  failed     2   5.6 %\n",
        "  unknown    3   8.3 %\n",
        "took 12 ms (median), 12 ms (p90), 12 ms (p99), 12 ms at most\n",
        "  2 failed 554 5.7.1 </td><script>",
        "  1 deferred 450 4.2.0 … greylisted\n",
        "  row 34: unknown <script>@x.example (at RCPT); look for <34@x> at the server\n",
        "  row 35: unknown: it was on its way, and no outcome was written\n",
    ] {
        assert!(text.contains(said), "'{said}' is not said in\n{text}");
    }
    let json: Value = serde_json::from_str(&sandbox.run(&["report", &file, "--json"]).exits(0).stdout).expect("JSON");
    assert_eq!((json["v"].as_u64(), json["type"].as_str()), (Some(1), Some("summary")));
    assert_eq!((json["run"].as_str(), json["seconds"].as_f64()), (Some("0123456789abcdefghij"), Some(33.0)));
    let counts = ["recipients", "accepted", "deferred", "failed", "unknown", "skipped"].map(|name| json[name].as_u64());
    assert_eq!(counts, [36, 30, 1, 2, 3, 0].map(Some));
    assert_eq!(json["domains"][0], json!({ "domain": "evil.example", "count": 2 }));
}

#[test]
fn everybody_who_ended_so() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("run.jsonl", ledger());
    let list = |more: &[&str]| sandbox.run(&[&["report", &file, "--list"], more].concat()).exits(0).silently();
    let failed = list(&["failed"]).stdout;
    assert_eq!(failed.lines().count(), 2);
    assert!(failed.starts_with("row 31: failed a@evil.example: 554 5.7.1 </td>"), "{failed}");
    let unknown = list(&["unknown", "--json"]).records();
    assert_eq!(unknown.iter().map(|record| record["row"].as_u64()).collect::<Vec<_>>(), [34, 35, 36].map(Some));
    assert_eq!(unknown[0]["recipient"], "<script>@x.example");
    assert_eq!(list(&["skipped"]).stdout, "");
    assert_eq!(list(&["accepted"]).stdout.lines().count(), 30);
}

#[test]
fn after_a_loss_of_power_reserved_rows_are_unknown() {
    let sandbox = Sandbox::new();
    let text = |boot: &str| {
        run_line(boot) + &rows("reserve", "1-30") + &outcome(1, 2, "a@x.example", "accepted", Some((250, "Ok")))
    };
    let file = sandbox.file("run.jsonl", text(&boot()));
    assert!(!sandbox.run(&["report", &file]).exits(0).stdout.contains("unknown"));
    let file = sandbox.file("run.jsonl", text("another"));
    let told = sandbox.run(&["report", &file]).exits(0).stdout;
    assert!(told.contains("  unknown   29  96.7 %\n"), "{told}");
    assert!(told.contains("  row 21: unknown") && !told.contains("  row 22: unknown"), "{told}");
    assert!(told.contains(&format!("  and 9 more: mailsend report {file} --list unknown\n")), "{told}");
}

#[test]
fn records_of_single_messages_are_read_back() {
    let sandbox = Sandbox::new();
    for _ in 0..2 {
        let server = Server::new(|talk, _| {
            talk.greet("PIPELINING");
            for _ in 0..4 {
                talk.hear();
            }
            talk.say("250 ok\n250 ok\n550 5.1.1 no such user\n354 go");
            talk.data();
            talk.say("250 2.0.0 Ok: queued as 4F2");
        });
        let url = server.url();
        let send = ["--server", &url, "-r", "s@x.example", "a@y.example", "b@y.example", "--body", "x"];
        sandbox.run(&[&send[..], &["--report", "run.jsonl"]].concat()).exits(1);
    }
    let text = sandbox.run(&["report", "run.jsonl"]).exits(0).stdout;
    assert!(text.contains("  accepted  2  50.0 %\n") && text.contains("  2 failed 550 5.1.1 no such user\n"), "{text}");
}

#[test]
fn what_is_no_ledger() {
    let sandbox = Sandbox::new();
    sandbox.run(&["report", "none.jsonl"]).exits(66).says("none.jsonl cannot be read");
    let file = sandbox.file("run.csv", "v,type,time\n1,outcome,x\n");
    sandbox.run(&["report", &file]).exits(65).says("run.csv, line 1: this is no line of a ledger");
    let file = sandbox.file("new.jsonl", run_line("x") + &run_line("x").replace("\"v\":1", "\"v\":2"));
    sandbox.run(&["report", &file]).exits(65).says("line 2: this was written by another version of mailsend");
    let file = sandbox.file("empty.jsonl", "");
    assert_eq!(sandbox.run(&["report", &file]).exits(0).stdout, "0 recipients\n");
    sandbox.run(&["report", &file, "--html", "no/such/page.html"]).exits(73).says("page.html cannot be written");
    sandbox.run(&["report", &file, "--html", "-", "--open"]).exits(64);
}

/// All elements of a page that is well-formed, also as XML.
fn elements(page: &str) -> Vec<(String, Vec<String>, String)> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let document = roxmltree::Document::parse_with_options(page, options).expect("a well-formed page");
    let elements = document.descendants().filter(roxmltree::Node::is_element);
    elements
        .map(|node| {
            let attributes = node.attributes().map(|attribute| attribute.name().to_owned()).collect();
            (node.tag_name().name().to_owned(), attributes, node.text().unwrap_or_default().to_owned())
        })
        .collect()
}

#[test]
fn a_page_is_whole_and_holds_nothing_foreign() {
    let sandbox = Sandbox::new();
    for text in [String::new(), run_line(&boot()), ledger()] {
        let file = sandbox.file("run.jsonl", &text);
        let page = sandbox.run(&["report", &file, "--html", "-"]).exits(0).silently().stdout;
        for (name, attributes, _) in elements(&page) {
            assert!(!["script", "img", "link", "iframe", "a", "object"].contains(&name.as_str()), "{name}");
            let is_harmful =
                |name: &String| name.starts_with("on") || ["href", "src", "style"].contains(&name.as_str());
            assert!(!attributes.iter().any(is_harmful), "{attributes:?}");
        }
        assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("@import"), "{page}");
    }
    let page = sandbox.run(&["report", "run.jsonl", "--html", "-"]).exits(0).stdout;
    let elements = elements(&page);
    let has = |name: &str, text: &str| elements.iter().any(|(tag, _, said)| tag == name && said == text);
    for (name, text) in [("h1", "36 recipients"), ("dd", "30"), ("th", "evil.example"), ("h2", "Unknown")] {
        assert!(has(name, text), "{name}: {text}");
    }
    assert!(elements.iter().any(|(tag, _, text)| tag == "td" && text.contains("</td><script>")), "{page}");
    // The plots have names, and tables beside them.
    for (name, count) in [("figure", 2), ("desc", 2), ("table", 5)] {
        assert_eq!(elements.iter().filter(|(tag, ..)| tag == name).count(), count, "{name}");
    }
}

#[test]
fn a_page_is_written_and_opened() {
    let mut sandbox = Sandbox::new();
    let file = sandbox.file("run.jsonl", ledger());
    sandbox.run(&["report", &file, "--html", "page.html"]).exits(0).silently();
    let page = fs::read_to_string(sandbox.path("page.html")).expect("a page");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    sandbox.run(&["report", &file, "--html", "page.html", "--open"]).exits(0).says("no browser could be started");
    // Who opens it sees the same; a pipe tells that it has.
    let pipe = sandbox.path("opened");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|status| status.success()), "a pipe cannot be made");
    let browser = sandbox.file("browser", format!("#!/bin/sh\ncat \"$1\" > {}\nrm \"$1\"\n", pipe.display()));
    assert!(Command::new("chmod").args(["+x", &browser]).status().is_ok_and(|status| status.success()));
    sandbox.env("BROWSER", &browser);
    let child = sandbox.command(&["report", &file, "--open"]).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let opened = fs::read_to_string(&pipe).expect("what the browser has read");
    finish(child.expect("the binary starts")).exits(0).silently();
    assert_eq!(opened, page);
}

/// A real browser shows the page, and runs nothing of what servers have said.
#[test]
fn a_browser_shows_the_page() {
    let Some(browser) = ["/usr/bin/chromium", "/usr/bin/google-chrome", "/usr/bin/chromium-browser"]
        .into_iter()
        .find(|path| Path::new(path).exists())
    else {
        eprintln!("skipped: the page in a browser (apt-get install chromium)");
        return;
    };
    let sandbox = Sandbox::new();
    let file = sandbox.file("run.jsonl", ledger());
    sandbox.run(&["report", &file, "--html", "page.html"]).exits(0);
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", sandbox.path("browser").display()))
        .args(["--window-size=400,900", "--dump-dom"])
        .arg(format!("file://{}", sandbox.path("page.html").display()))
        .env("HOME", sandbox.path("."))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let run = finish(command.spawn().expect("a browser starts")).exits(0);
    assert!(run.stdout.contains("<title>run.jsonl: 36 recipients</title>"), "{}", run.stdout);
    assert!(run.stdout.contains("&lt;script&gt;document.title='taken'") && !run.stdout.contains("<script"));
    assert_eq!(run.stdout.matches("<svg class=\"plot").count(), 2);
    // What its rules forbid would be told: "Refused to load …".
    assert!(!run.stderr.contains("CONSOLE"), "{}", run.stderr);
}
