//! What cannot be sent: a clear error, the right code, and nothing reaches a server.

use crate::support::{Run, Sandbox, Server};

/// Runs against a server that nobody may call.
fn refused(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    let server = Server::uncalled();
    let url = server.url();
    let mut all = vec!["--server", &url, "-r", "s@x.example"];
    if !arguments.contains(&"--body") {
        all.extend(["--body", "x"]);
    }
    all.extend(arguments);
    let run = sandbox.run(&all);
    assert!(!run.stderr.chars().any(|c| c.is_control() && c != '\n'), "{run:#?}");
    assert_eq!(run.stdout, "");
    run
}

const A: &str = "a@y.example";

#[test]
fn line_ends_and_nul_get_nowhere() {
    // NUL cannot be in an argument; the rooms below are tested with it.
    let sandbox = Sandbox::new();
    sandbox.file("f.txt", "x");
    for evil in ["a\r\nBcc: evil@z.example", "a\nb", "a\rb"] {
        let name = format!("f.txt;name={evil}");
        let cid = format!("f.txt;cid={evil}");
        let header = format!("X: {evil}");
        let header_name = format!("{evil}: x");
        let address = format!("{evil}@z.example");
        let named = format!("{evil} <b@z.example>");
        let quoted = format!("\"{evil}\"@z.example");
        let ehlo = format!("ehlo-name={evil}");
        let id = format!("<{evil}@z.example>");
        for arguments in [
            &["-s", evil][..],
            &["-H", &header],
            &["-H", &header_name],
            &["--message-id", &id],
            &["--in-reply-to", &id],
            &["--references", &id],
            &["--envid", evil],
            &["--date", evil],
            &["--to", &address],
            &["--to", &named],
            &["--cc", &quoted],
            &["--bcc", &address],
            &["--reply-to", &named],
            &["-f", &address],
            &["-a", &name],
            &["--html", "x", "--inline", &cid],
            &["-o", &ehlo],
            &["--user", evil],
        ] {
            let mut all = vec![A];
            all.extend(arguments);
            let run = refused(&sandbox, &all);
            assert!(matches!(run.code, 64..=66), "{arguments:?}: {run:#?}");
        }
        let run = sandbox.run(&["-r", &named, A, "--body", "x", "--eml", "o"]).exits(65);
        assert!(run.stderr.contains("control character"), "{run:#?}");
    }
}

#[test]
fn wrong_addresses_are_shown_with_a_caret() {
    for (address, words, caret) in [
        ("ada lovelace@y.example", "there is a space in the part before the '@'", "       ^"),
        ("ada@y..example", "a dot must stand between two labels", "          ^"),
        ("b@y.example, @y.example", "nothing before the '@'", "                 ^"),
        ("@@y.example", "nothing before the '@'", "    ^"),
        ("ada@", "no domain after the '@'", "        ^"),
    ] {
        let run = refused(&Sandbox::new(), &["--to", address]).exits(65).says(words);
        let lines: Vec<&str> = run.stderr.lines().collect();
        assert_eq!(lines[1], format!("    {}", address.replacen("@@", "@", 1)));
        assert_eq!(lines[2], caret, "{run:#?}");
    }
    let sandbox = Sandbox::new();
    sandbox.file("list.txt", "a@y.example\n\nnonsense\n");
    refused(&sandbox, &["--to", "@list.txt"]).exits(65).says("entry 2").says("'nonsense'");
}

#[test]
fn files_that_cannot_be() {
    let sandbox = Sandbox::new();
    refused(&sandbox, &[A, "-a", "nonesuch.pdf"]).exits(66).says("nonesuch.pdf");
    refused(&sandbox, &[A, "-a", "."]).exits(66).says("directory");
    let charset = ["--body", "x", "--html", "<p>x", "--inline", "Cargo.toml;charset=a b"];
    sandbox.file("Cargo.toml", "");
    refused(&sandbox, &[&[A], &charset[2..]].concat()).exits(65).says("--inline: 'a b' is no charset");
    let latin = sandbox.file("latin.md", b"gr\xFC\xDFe");
    let markdown = format!("@{latin};charset=klingon");
    sandbox.run(&["-r", "s@x.example", A, "--markdown", &markdown, "--dry-run"]).exits(65).says("'klingon'");
    sandbox.file("nobody.eml", "From:\nTo: a@y.example\n\nx\n");
    sandbox.run(&["--raw", "nobody.eml", "-r", "s@x.example", "--dry-run"]).exits(65).says("From: it names nobody");
    refused(&sandbox, &[A, "--body", "@nonesuch.txt"]).exits(66);
    refused(&sandbox, &["--to", "@nonesuch.txt"]).exits(66);
    refused(&sandbox, &[A, "-C", "nonesuch.toml"]).exits(66);
    let run = sandbox.run(&["--raw", "nonesuch.eml", "-r", "s@x.example", A]);
    run.exits(66);
}

#[test]
fn headers_that_cannot_be() {
    let sandbox = Sandbox::new();
    for (header, words) in [
        ("X Priority: 1", "contains a space"),
        ("no colon", "no colon"),
        ("Content-Type: text/html", "cannot be given"),
        ("Return-Path: <>", "--envelope-from"),
        ("Subject: twice", "given twice"),
        ("To: not an address", "is not an address"),
        ("Bcc: not an address", "is not an address"),
        ("Message-ID: nonsense", "no Message-ID"),
    ] {
        refused(&sandbox, &[A, "-s", "x", "-H", header]).exits(65).says(words);
    }
    for twice in [
        &["-H", "From: b@x.example", "-H", "From: c@x.example"][..],
        &["-H", "Sender: b@x.example", "-H", "sender: c@x.example"],
        &["--priority", "high", "-H", "Importance: low"],
        &["--mdn", "-H", "Disposition-Notification-To: b@x.example"],
    ] {
        refused(&sandbox, &[&[A], twice].concat()).exits(65).says("given twice");
    }
}

#[test]
fn command_lines_that_cannot_be() {
    let sandbox = Sandbox::new();
    refused(&sandbox, &[]).exits(64).says("nobody is named");
    refused(&sandbox, &["--to", " , "]).exits(64).says("nobody is named");
    refused(&sandbox, &[A, "--nonesuch"]).exits(64);
    refused(&sandbox, &[A, "--password", "x"]).exits(64);
    refused(&sandbox, &[A, "--markdown", "x"]).exits(64);
    refused(&sandbox, &[A, "--body", "-", "-a", "-"]).exits(64).says("--body").says("--attach");
    let run = sandbox.run(&[
        "--server",
        "smtp://ada@127.0.0.1:1",
        "-r",
        "s@x.example",
        A,
        "--password-fd",
        "0",
        "--body",
        "-",
    ]);
    run.exits(64).says("for the password and for --body");
    refused(&sandbox, &[A, "-o", "timeouts.conect=1s"]).exits(64).says("did you mean 'timeouts.connect'?");
    refused(&sandbox, &[A, "-o", "timeouts.connect"]).exits(64).says("has no '='");
    refused(&sandbox, &[A, "--timeout", "soon"]).exits(64);
    refused(&sandbox, &[A, "-o", "timeouts.final-reply=0s"]).exits(64).says("a time above 0");
    refused(&sandbox, &[A, "-o", "password=hunter2"]).exits(64).says("mailsend login");
    refused(&sandbox, &[A, "--dsn-notify", "always"]).exits(64);
    let run =
        sandbox.run(&["--server", "smtp://ada:hunter2@mx.example", "-r", "s@x.example", A, "--body", "x"]).exits(64);
    assert!(run.stderr.contains("mailsend login") && !run.stderr.contains("hunter2"), "{run:#?}");
    sandbox.run(&["--server", "http://mx.example", A, "--body", "x"]).exits(64).says("smtp://HOST");
}

#[test]
fn the_first_words_of_a_stranger() {
    let sandbox = Sandbox::new();
    // No profile, no sender, no server: each a sentence with the next command to type.
    sandbox.run(&[A, "--body", "x"]).exits(78).says("nobody is named as the sender").says("mailsend profile add");
    sandbox
        .run(&[A, "-r", "s@x.example", "--body", "x"])
        .exits(78)
        .says("no profile is set up")
        .says("mailsend profile add")
        .says("--server maildir:");
    sandbox
        .run(&["-p", "work", A, "--body", "x"])
        .exits(78)
        .says("there is no profile 'work'")
        .says("mailsend profile add work");
    sandbox.run(&["--server", "smtp://mx.example", A, "--body", "x"]).exits(78).says("--from ADDRESS").says("EMAIL=");
}
