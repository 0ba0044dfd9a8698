//! Every extension, as others understand it.

use std::fs;

use super::{Desk, noise, session, unique};
use crate::support::real::{exim, postfix};

#[test]
fn postfix_offers_all_that_we_use() {
    let Some(postfix) = postfix() else { return };
    let desk = Desk::at_postfix(postfix);
    let to = unique("offers");
    let mut run = desk.trace(&[&to, "--body", "Grüße"], b"").exits(0);
    for offer in [
        "PIPELINING",
        "SIZE 8000000",
        "STARTTLS",
        "AUTH PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER",
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "DSN",
        "SMTPUTF8",
        "CHUNKING",
    ] {
        run = run.says(&format!("{offer}\n"));
    }
    let mail = run.stderr.lines().find(|line| line.contains("-> MAIL FROM")).expect("a sender").to_owned();
    assert!(mail.contains(" SIZE="), "{mail}");
    let run = desk.trace(&[&to, "--body", "hi", "-o", "extensions.requiretls=require"], b"").exits(69);
    run.says("does not offer REQUIRETLS");
}

#[test]
fn with_and_without_chunking_and_pipelining() {
    let (Some(postfix), Some(exim)) = (postfix(), exim()) else { return };
    for (server, desk) in [(&postfix.postfix, Desk::at_postfix(postfix)), (exim, Desk::at_exim(exim))] {
        for (chunking, pipelining) in [("require", "require"), ("require", "off"), ("off", "require"), ("off", "off")] {
            // Below and above the size from which on it is not sent unasked.
            for lines in [10, 4_000] {
                let to = unique("wire");
                let text: String = (0..lines).map(|line| format!(".{line} Zeile mit Umläuten äöü\n")).collect();
                let chunking_option = format!("extensions.chunking={chunking}");
                let pipelining_option = format!("extensions.pipelining={pipelining}");
                let run =
                    desk.trace(&[&to, "-o", &chunking_option, "-o", &pipelining_option], text.as_bytes()).exits(0);
                let body = if chunking == "require" { "-> BDAT " } else { "-> DATA" };
                let run = run.says(body);
                let at = |word: &str| run.stderr.find(word).unwrap_or_else(|| panic!("no {word} in {run:#?}"));
                let waits = run.stderr[at("-> MAIL")..at("-> RCPT")].contains("<- 250");
                assert_eq!(waits, pipelining == "off", "{run:#?}");
                assert_eq!(server.mail_for(&to).text().replace("\r\n", "\n"), text);
            }
        }
    }
}

#[test]
fn what_is_too_large_is_not_sent() {
    let Some(postfix) = postfix() else { return };
    let desk = Desk::at_postfix(postfix);
    let to = unique("large");
    desk.sandbox.file("large.bin", noise(7_000_000));
    let run = desk.trace(&[&to, "--body", "", "-a", "large.bin"], b"").exits(69).says("8000000");
    assert!(!run.stderr.contains("-> DATA") && !run.stderr.contains("-> BDAT"), "{run:#?}");
    assert_eq!(desk.outcome(&to).0, "failed");
}

#[test]
fn an_address_in_utf8_is_delivered() {
    let (Some(postfix), Some(exim)) = (postfix(), exim()) else { return };
    for (server, desk) in [(&postfix.postfix, Desk::at_postfix(postfix)), (exim, Desk::at_exim(exim))] {
        let to = unique("jörg");
        let run = desk.trace(&[&to, "-s", "Grüße", "--body", "hi"], b"").exits(0);
        run.says(" SMTPUTF8").says(&format!("RCPT TO:<{to}>"));
        let mail = server.mail_for(&to);
        assert_eq!(mail.header("subject"), "Grüße");
        assert_eq!(mail.header("to"), to);
        let received = mail.all("received").join("\n").to_lowercase();
        assert!(received.contains("with utf8") || received.contains("utf8esmtpsa"), "{received}");
    }
}

#[test]
fn a_domain_beyond_ascii_is_delivered() {
    let Some(postfix) = postfix() else { return };
    let desk = Desk::at_postfix(postfix);
    let run = desk.trace(&["post@bücher.test", "--body", "hi"], b"").exits(0);
    run.says("RCPT TO:<post@xn--bcher-kva.test>");
    postfix.postfix.wait_for("post@xn--bcher-kva.test");
}

#[test]
fn a_delivery_report_comes_back() {
    let Some(postfix) = postfix() else { return };
    let desk = Desk::at_postfix(postfix);
    let to = unique("dsn");
    let id = "Sending.42-a";
    let arguments = [&to, "--body", "hi", "--dsn-notify", "success,failure", "--dsn-return", "hdrs", "--envid", id];
    let run = desk.trace(&arguments, b"").exits(0);
    run.says(" RET=HDRS")
        .says(&format!(" ENVID={id}"))
        .says(" NOTIFY=SUCCESS,FAILURE")
        .says(&format!(" ORCPT=rfc822;{to}"));
    let records = fs::read_to_string(desk.sandbox.path("run.jsonl")).expect("records");
    assert!(records.contains("\"dsn\":true"), "{records}");
    postfix.postfix.wait_for(&to);
    let report = postfix.postfix.mail_for(&desk.user);
    assert!(report.header("content-type").starts_with("multipart/report"), "{report:#?}");
    let status = report.parts.iter().find(|part| part["type"] == "message/delivery-status").expect("a status");
    let fields = status["fields"].to_string();
    for (name, value) in [
        ("Original-Envelope-Id", id.to_owned()),
        ("Original-Recipient", format!("rfc822;{to}")),
        ("Action", "delivered".to_owned()),
    ] {
        assert!(fields.replace("; ", ";").contains(&format!("[\"{name}\",\"{value}\"]")), "{name} in {fields}");
    }
}

#[test]
fn a_message_as_it_stands_arrives_as_it_stands() {
    let Some(postfix) = postfix() else { return };
    for (lines, chunking) in [(10, "require"), (4_000, "require"), (10, "off"), (4_000, "off")] {
        let desk = Desk::at_postfix(postfix);
        let to = unique("raw");
        let body: String = (0..lines).map(|line| format!("..{line} \tZeile mit Umläuten äöü  \n.\n")).collect();
        let head = format!(
            "From: {}\nTo: {to}\nX-Order: b\nX-Order: a\nSubject:  two  spaces\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n",
            desk.user
        );
        desk.sandbox.file("message.eml", format!("{head}\n{body}"));
        let chunking = format!("extensions.chunking={chunking}");
        desk.trace(&["--raw", "message.eml", "-o", &chunking], b"").exits(0).says("BODY=8BITMIME");
        let mail = postfix.postfix.mail_for(&to);
        let octets = String::from_utf8(mail.octets.clone()).expect("UTF-8");
        let (found, arrived) = octets.split_once("\n\n").expect("a header");
        assert_eq!(arrived, body);
        assert!(format!("{found}\n").contains(&head), "{found}");
        assert_eq!((mail.all("date").len(), mail.all("message-id").len()), (1, 1));
    }
}

#[test]
fn hidden_recipients_of_a_message_as_it_stands_stay_hidden() {
    let Some(postfix) = postfix() else { return };
    let desk = Desk::at_postfix(postfix);
    let (to, bcc) = (unique("raw"), unique("bcc"));
    let message = format!("From: {}\nTo: {to}\nBcc: Hidden\n <{bcc}>\nSubject: hi\n\nText\n", desk.user);
    desk.trace(&["--raw", "-"], message.as_bytes()).exits(0);
    for recipient in [&to, &bcc] {
        let mail = postfix.postfix.mail_for(recipient);
        assert_eq!(mail.all("bcc"), [""; 0]);
        assert_eq!((mail.header("to"), mail.text()), (to.as_str(), "Text\n"));
    }
}

#[test]
fn a_session_is_as_short_as_can_be() {
    let Some(postfix) = postfix() else { return };
    let desk = Desk::at_postfix(postfix);
    let to = unique("session");
    let refused = unique("refused");
    desk.trace(&[&to, &refused, "--body", "hi"], b"").exits(1);
    let lines = session(postfix, &refused);
    let end = lines.last().expect("an end");
    for count in ["ehlo=2", "starttls=1", "auth=1", "mail=1", "rcpt=1/2", "bdat=1", "quit=1"] {
        assert!(end.contains(count), "{count} in {end}");
    }
}
