//! The report of a failure to the sender of a message (RFC 3464, RFC 6522; RFC 6533 where an address needs UTF-8).

use std::{borrow::Cow, fmt::Write, io};

use mail_builder::{
    MessageBuilder,
    headers::{HeaderType, content_type::ContentType, raw::Raw},
    mime::{BodyPart, MimePart},
};

use super::{
    Blocks, Message, Stamp, Text,
    compose::id_domain,
    field::{mailbox, unstructured},
    stamp::date_of,
};
use crate::mail::{Address, Content, DsnRequest, EnhancedStatus, Mailbox, Outcome, Reply, Route, clean};

/// A header is reported up to so many octets.
const MAX_HEADER: usize = 64 * 1024;
/// A line of a message has 998 octets at most (RFC 5322, 2.1.1).
const MAX_VALUE: usize = 900;

/// A message that did not arrive everywhere.
#[derive(Debug)]
pub struct Undelivered<'a> {
    /// Its return path.
    pub sender: &'a Address,
    /// With its angle brackets.
    pub message_id: &'a str,
    /// The message.
    pub content: &'a Content,
    /// Delivery reports wished for.
    pub dsn: &'a DsnRequest,
    /// When it came to us, in milliseconds since 1970.
    pub arrival: Option<i64>,
    /// For whom it has failed, one at least.
    pub failed: Vec<Failed<'a>>,
}

/// A recipient for whom it has failed.
#[derive(Debug)]
pub struct Failed<'a> {
    /// What became of it.
    pub outcome: &'a Outcome,
    /// By which way.
    pub route: &'a Route,
    /// It has expired; what a server, or the way to it, had said until then is told as well.
    pub expired: Option<Option<String>>,
}

/// Makes the report that this host, `reporter`, sends to the sender. It is from the sender's own address: that is the one
/// for which the servers on its way take mail. The return path has to be `<>`.
///
/// # Errors
/// If the header of the message cannot be read.
pub fn failure_report(undelivered: &Undelivered<'_>, reporter: &str, stamp: &mut Stamp) -> io::Result<Message> {
    let Undelivered { sender, message_id, content, .. } = undelivered;
    let header = header(content)?;
    let is_global = !header.is_ascii()
        || !AsRef::<str>::as_ref(*sender).is_ascii()
        || undelivered.failed.iter().any(|failed| !AsRef::<str>::as_ref(&failed.outcome.recipient).is_ascii());
    let (status_type, header_type) = match is_global {
        false => ("message/delivery-status", "text/rfc822-headers"),
        true => ("message/global-delivery-status", "message/global-headers"),
    };
    let status = status(undelivered, reporter, is_global, stamp.date());
    let parts = vec![
        part(ContentType::new("text/plain"), &Text::from(explanation(undelivered, reporter))),
        part(ContentType::new(status_type), &Text::from(status)),
        part(ContentType::new(header_type), &Text { bytes: header.clone(), charset: None }),
    ];
    let media_type = ContentType::new("multipart/report")
        .attribute("report-type", if is_global { "global-delivery-status" } else { "delivery-status" })
        .attribute("boundary", format!("=_{}", stamp.mark()));
    let body = MimePart::raw(BodyPart::Multipart(parts)).header("Content-Type", media_type);
    let id = format!("<{}@{}>", stamp.mark(), id_domain(sender.domain()));
    let to = Mailbox { name: None, address: (*sender).clone() };
    let from = Mailbox { name: Some("Mail delivery".to_owned()), address: (*sender).clone() };
    let subject = match subject(&header) {
        Some(subject) => format!("Not delivered: {subject}"),
        None => "Not delivered".to_owned(),
    };
    let raw = |text: &str| HeaderType::from(Raw::new(text.to_owned()));
    let headers: Vec<(Cow<'_, str>, HeaderType<'_>)> = vec![
        ("From".into(), mailbox(&from)),
        ("To".into(), mailbox(&to)),
        // Encoded words stay what they are.
        ("Subject".into(), if subject.is_ascii() { raw(&subject) } else { unstructured(&subject) }),
        ("Date".into(), raw(stamp.date())),
        ("Message-ID".into(), raw(&id)),
        ("In-Reply-To".into(), raw(message_id)),
        ("References".into(), raw(message_id)),
        // Nobody's program answers to it (RFC 3834, 5).
        ("Auto-Submitted".into(), raw("auto-replied")),
    ];
    let mut bytes = Vec::new();
    MessageBuilder { headers, body: Some(body), ..MessageBuilder::new() }.serialize(&mut bytes);
    let mut content = Content::from_bytes(bytes);
    content.has_utf8_headers = content.is_8bit;
    Ok(Message { message_id: id, recipients: vec![(*sender).clone()], content })
}

/// A charset is declared of text only.
fn part(media_type: ContentType<'static>, text: &Text) -> MimePart<'static> {
    let encoded = text.encode();
    let is_text = media_type.c_type.starts_with("text/");
    let media_type = if is_text { media_type.attribute("charset", encoded.charset) } else { media_type };
    MimePart::raw(BodyPart::Binary(encoded.body.into()))
        .header("Content-Type", media_type)
        .transfer_encoding(encoded.transfer_encoding)
}

/// The header of a message, with the empty line behind it left out.
fn header(content: &Content) -> io::Result<Vec<u8>> {
    const END: &[u8] = b"\r\n\r\n";
    let mut header = Vec::new();
    for block in Blocks::new(content) {
        let from = header.len().saturating_sub(END.len());
        header.extend_from_slice(&block?);
        if let Some(at) = memchr::memmem::find(&header[from..], END) {
            header.truncate(from + at + 2);
            break;
        }
        if header.len() >= MAX_HEADER {
            break;
        }
    }
    if header.len() > MAX_HEADER {
        header.truncate(MAX_HEADER);
        // Whole lines only.
        let end = memchr::memmem::rfind(&header, b"\r\n").map_or(0, |at| at + 2);
        header.truncate(end);
    }
    Ok(header)
}

/// The value of the Subject, unfolded, if there is one.
fn subject(header: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(header);
    let mut lines = text.split("\r\n");
    let first = lines.find(|line| line.get(..8).is_some_and(|name| name.eq_ignore_ascii_case("subject:")))?;
    let mut value = first[8..].trim().to_owned();
    for line in lines.take_while(|line| line.starts_with([' ', '\t'])) {
        value.push(' ');
        value.push_str(line.trim());
    }
    Some(clean(&value)).filter(|value| !value.is_empty() && value.len() <= MAX_VALUE)
}

/// What people read.
fn explanation(undelivered: &Undelivered<'_>, reporter: &str) -> String {
    let mut text = format!("This is mailsend on {}.\n\nA message of yours was not delivered to:\n", clean(reporter));
    for failed in &undelivered.failed {
        let _ = write!(text, "\n  {}\n", clean(failed.outcome.recipient.as_ref()));
        for line in words(failed) {
            let _ = writeln!(text, "    {line}");
        }
        if !failed.route.server.is_empty() {
            let _ = writeln!(text, "    by way of {}", clean(&failed.route.server));
        }
    }
    text.push_str("\nIt will not be tried again for them. The header of the message is attached.\n");
    text
}

/// What was said, or went wrong.
fn words(failed: &Failed<'_>) -> Vec<String> {
    let outcome = failed.outcome;
    let mut words: Vec<String> = outcome.trouble.iter().map(|trouble| clean(&trouble.what)).collect();
    words.extend(outcome.reply.as_ref().map(Reply::to_string));
    words.extend(failed.expired.iter().flatten().map(|last| clean(last)));
    words
}

/// What programs read (RFC 3464, 2).
fn status(undelivered: &Undelivered<'_>, reporter: &str, is_global: bool, now: &str) -> String {
    let mut text = String::new();
    // Whatever stands in a field stays on its line. Nothing can fail to be written into memory.
    let mut field = |name: &str, kind: &str, value: &str| {
        let value: String = clean(value).chars().map(|c| if is_global || c.is_ascii() { c } else { '?' }).collect();
        let end = (0..=value.len().min(MAX_VALUE)).rev().find(|at| value.is_char_boundary(*at)).unwrap_or_default();
        let _ = write!(text, "{name}: {kind}{}\r\n", &value[..end]);
    };
    if let Some(envid) = &undelivered.dsn.envid {
        field("Original-Envelope-Id", "", envid);
    }
    field("Reporting-MTA", "dns; ", reporter);
    if let Some(arrival) = undelivered.arrival {
        field("Arrival-Date", "", &date_of(arrival / 1000));
    }
    for failed in &undelivered.failed {
        let outcome = failed.outcome;
        let recipient: &str = outcome.recipient.as_ref();
        field("\r\nFinal-Recipient", if recipient.is_ascii() { "rfc822; " } else { "utf-8; " }, recipient);
        field("Action", "", "failed");
        field("Status", "", &status_of(failed).to_string());
        let host = failed.route.server.rsplit_once(':').map_or("", |(host, _)| host);
        if outcome.reply.is_some() && !host.contains([':', '/']) && !host.is_empty() {
            field("Remote-MTA", "dns; ", host);
        }
        match &outcome.reply {
            Some(reply) => field("Diagnostic-Code", "smtp; ", &reply.to_string()),
            None => field("Diagnostic-Code", "x-mailsend; ", &words(failed).join(": ")),
        }
        if failed.expired.is_none() {
            field("Last-Attempt-Date", "", now);
        }
    }
    text
}

/// The code of a failure (RFC 3463): the server's own, if it is one of a permanent failure.
fn status_of(failed: &Failed<'_>) -> EnhancedStatus {
    let status = |class, subject, detail| EnhancedStatus { class, subject, detail };
    match failed.outcome.reply.as_ref() {
        Some(reply) => reply.enhanced().unwrap_or_else(|| status(if reply.is_permanent() { 5 } else { 4 }, 0, 0)),
        // Delivery time expired.
        None if failed.expired.is_some() => status(4, 4, 7),
        None => status(5, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Cause, Stage, State, Trouble};
    use mail_parser::{MessageParser, MimeHeaders};
    use std::time::Duration;

    fn outcome(recipient: &str, reply: Option<Reply>, trouble: Option<Trouble>) -> Outcome {
        Outcome {
            recipient: Mailbox::parse(recipient).unwrap().address,
            state: State::Failed,
            stage: Stage::Rcpt,
            reply,
            trouble,
            remote_id: None,
            dsn: None,
            elapsed: Duration::ZERO,
        }
    }

    fn route(server: &str) -> Route {
        Route { profile: None, server: server.to_owned() }
    }

    fn report(content: &str, outcomes: &[(&Outcome, &Route, Option<Option<String>>)]) -> Vec<u8> {
        let sender = Mailbox::parse("ada@example.com").unwrap().address;
        let failed = outcomes
            .iter()
            .map(|(outcome, route, expired)| Failed { outcome, route, expired: expired.clone() })
            .collect();
        let undelivered = Undelivered {
            sender: &sender,
            message_id: "<m@example.com>",
            content: &Content::from_bytes(content.replace('\n', "\r\n").into_bytes()),
            dsn: &DsnRequest { envid: Some("E-7".to_owned()), ..DsnRequest::default() },
            arrival: Some(1_795_000_000_000),
            failed,
        };
        let message = failure_report(&undelivered, "host.example", &mut Stamp::fixed(1_795_000_100, 7)).unwrap();
        assert_eq!(message.recipients, [sender]);
        let bytes = Blocks::new(&message.content).collect::<Result<Vec<_>, _>>().unwrap().concat();
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            assert!(line.ends_with(b"\r\n") && line.len() <= 1_000, "{:?}", String::from_utf8_lossy(line));
        }
        bytes
    }

    /// The fields of each block of the part that programs read.
    fn blocks(bytes: &[u8]) -> Vec<Vec<String>> {
        let message = MessageParser::new().parse(bytes).unwrap();
        let part = message.parts.iter().find(|part| {
            part.content_type().is_some_and(|t| t.subtype().unwrap().contains("delivery-status"))
                && part.content_type().unwrap().ctype() == "message"
        });
        let text = String::from_utf8(part.unwrap().contents().to_vec()).unwrap();
        text.trim_end().split("\r\n\r\n").map(|block| block.lines().map(str::to_owned).collect()).collect()
    }

    const CONTENT: &str = "From: Ada <ada@example.com>\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\n =?utf-8?Q?_an_alle?=\n\
                           Message-ID: <m@example.com>\n\nsecret text\n";

    #[test]
    fn a_report_tells_people_and_programs() {
        let refused = Reply { code: 550, lines: vec!["5.1.1 no \u{1b}[2Jsuch user".to_owned(), "5.1.1 ü".to_owned()] };
        let refused = outcome("b@y.example", Some(refused), None);
        let trouble = Trouble::new(Stage::Connect, Cause::TimedOut, "it has expired");
        let expired = outcome("c@z.example", None, Some(trouble));
        let (server, place) = (route("smtp.example.com:587"), route(""));
        let last = Some(Some("451 4.7.1 later".to_owned()));
        let bytes = report(CONTENT, &[(&refused, &server, None), (&expired, &place, last)]);
        assert!(!bytes.windows(11).any(|window| window == b"secret text"));
        let message = MessageParser::new().parse(&bytes).unwrap();
        assert_eq!(message.subject(), Some("Not delivered: Grüße an alle"));
        assert_eq!(message.from().unwrap().first().unwrap().address(), Some("ada@example.com"));
        assert_eq!(message.header("Auto-Submitted").unwrap().as_text(), Some("auto-replied"));
        assert_eq!(message.in_reply_to().as_text(), Some("m@example.com"));
        let types: Vec<String> = message
            .parts
            .iter()
            .map(|part| part.content_type().unwrap())
            .map(|t| format!("{}/{}", t.ctype(), t.subtype().unwrap()))
            .collect();
        assert_eq!(types, ["multipart/report", "text/plain", "message/delivery-status", "text/rfc822-headers"]);
        let text = message.body_text(0).unwrap();
        assert!(text.contains("\n  b@y.example\r\n    550 5.1.1 no \u{FFFD}[2Jsuch user ü\r\n"), "{text}");
        assert!(text.contains("  c@z.example\r\n    it has expired\r\n    451 4.7.1 later\r\n"), "{text}");
        assert_eq!(
            blocks(&bytes),
            [
                vec![
                    "Original-Envelope-Id: E-7",
                    "Reporting-MTA: dns; host.example",
                    "Arrival-Date: Wed, 18 Nov 2026 11:06:40 +0000"
                ],
                vec![
                    "Final-Recipient: rfc822; b@y.example",
                    "Action: failed",
                    "Status: 5.1.1",
                    "Remote-MTA: dns; smtp.example.com",
                    "Diagnostic-Code: smtp; 550 5.1.1 no ?[2Jsuch user ?",
                    "Last-Attempt-Date: Wed, 18 Nov 2026 11:08:20 +0000",
                ],
                vec![
                    "Final-Recipient: rfc822; c@z.example",
                    "Action: failed",
                    "Status: 4.4.7",
                    "Diagnostic-Code: x-mailsend; it has expired: 451 4.7.1 later",
                ],
            ]
        );
    }

    #[test]
    fn addresses_in_utf8_make_it_global() {
        let refused = outcome("grüße@y.example", Some(Reply { code: 553, lines: vec!["no".to_owned()] }), None);
        let bytes = report(CONTENT, &[(&refused, &route("lmtp:///run/lmtp"), None)]);
        assert!(bytes.is_ascii(), "it needs no 8BITMIME");
        let message = MessageParser::new().parse(&bytes).unwrap();
        assert_eq!(message.parts[3].content_type().unwrap().subtype(), Some("global-headers"));
        assert_eq!(
            blocks(&bytes)[1][..3],
            ["Final-Recipient: utf-8; grüße@y.example", "Action: failed", "Status: 5.0.0"]
        );
    }

    #[test]
    fn headers_are_reported_as_far_as_they_go() {
        let refused = outcome("b@y.example", Some(Reply { code: 550, lines: vec![] }), None);
        for content in ["", "no header at all", "Subject:\n\nx\n", &format!("X: y\n{}", "A: b\n".repeat(20_000))] {
            let bytes = report(content, &[(&refused, &route("x:25"), None)]);
            let message = MessageParser::new().parse(&bytes).unwrap();
            assert_eq!(message.subject(), Some("Not delivered"));
            assert!(bytes.len() < MAX_HEADER + 4_096);
        }
    }
}
