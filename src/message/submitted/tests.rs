use super::*;
use crate::{
    mail::Piece,
    message::{Blocks, lines::with_crlf},
};
use mail_parser::{Encoding, MessageParser};
use std::io::Cursor;

mod properties;

const HEAD: &str =
    "From: a@x.example\nTo: b@x.example\nDate: Mon, 23 Nov 2026 10:00:00 +0100\nMessage-ID: <i@x.example>\n";
const HEAD_FIELDS: usize = 4;

fn handover(default_from: &Mailbox) -> Handover<'_> {
    Handover {
        domain: "box.example",
        default_from,
        wants_recipients: true,
        named: &[],
        ends_at_dot: false,
        is_of_cron: false,
    }
}

fn me() -> Mailbox {
    Mailbox::parse("Jürgen <me@box.example>").unwrap()
}

fn octets(submitted: &Submitted) -> Vec<u8> {
    let octets = Blocks::new(&submitted.content).collect::<Result<Vec<_>, _>>().unwrap().concat();
    assert_eq!(octets.len() as u64, submitted.content.len());
    octets
}

/// What holds for every message.
fn check(submitted: &Submitted) -> Vec<u8> {
    let octets = octets(submitted);
    for line in octets.split_inclusive(|&byte| byte == b'\n') {
        let text = line.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(line)));
        assert!(
            text.len() <= 998 && !text.contains(&b'\r') && !text.contains(&0),
            "{:?}",
            String::from_utf8_lossy(text)
        );
    }
    let end = octets.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(octets[..end].is_ascii(), !submitted.content.has_utf8_headers);
    assert_eq!(octets.is_ascii(), !submitted.content.is_8bit);
    octets
}

fn submit_with(bytes: &[u8], change: impl Fn(&mut Handover<'_>)) -> Result<(Submitted, Vec<u8>), ComposeError> {
    let me = me();
    let mut handover = handover(&me);
    change(&mut handover);
    let submitted = read_submitted(bytes, &handover, &mut Stamp::fixed(0, 1))?;
    let octets = check(&submitted);
    Ok((submitted, octets))
}

fn submit(bytes: impl AsRef<[u8]>) -> (Submitted, Vec<u8>) {
    submit_with(bytes.as_ref(), |_| {}).unwrap()
}

/// The message that comes of it.
fn sent(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8(submit(bytes).1).unwrap()
}

/// The message that comes of it, without the fields of `HEAD`.
fn below(text: impl AsRef<[u8]>) -> String {
    let whole = sent([HEAD.as_bytes(), text.as_ref()].concat());
    whole.split_inclusive("\r\n").skip(HEAD_FIELDS).collect()
}

/// Octets of each part that is no multipart, decoded.
fn leaves(octets: &[u8]) -> Vec<Vec<u8>> {
    let message = MessageParser::new().parse(octets).unwrap();
    let leaf = |part: &mail_parser::MessagePart<'_>| {
        let raw = &octets[part.offset_body as usize..part.offset_end as usize];
        match part.encoding {
            Encoding::None => raw.to_vec(),
            Encoding::QuotedPrintable => encodify::qp::BODY.decode(raw).unwrap().to_vec(),
            Encoding::Base64 => encodify::base64::MIME.decode(raw).unwrap(),
        }
    };
    message.parts.iter().filter(|part| !part.is_multipart()).map(leaf).collect()
}

fn error(bytes: impl AsRef<[u8]>) -> String {
    submit_with(bytes.as_ref(), |_| {}).unwrap_err().to_string()
}

#[test]
fn a_fit_message_stays_octet_for_octet() {
    for body in ["", "\n", "\nbody\n", "\n.dot\n..\nFrom x\n"] {
        let whole = format!("{HEAD}Subject:  two  spaces \nX-Folded: a\n\tb\n  c\n{body}");
        let expected = if body.is_empty() { format!("{whole}\n") } else { whole.clone() };
        assert_eq!(sent(&whole), expected.replace('\n', "\r\n"));
        assert_eq!(sent(whole.replace('\n', "\r\n")), expected.replace('\n', "\r\n"));
    }
}

#[test]
fn what_is_no_message_id_stays_and_names_nothing() {
    for id in ["20261128.1234", "<a b@c>"] {
        let (message, octets) = submit(format!("From: x@y.example\nTo: z@y.example\nMessage-ID: {id}\n\n"));
        let text = String::from_utf8(octets).unwrap();
        assert_eq!(text.matches("Message-ID").count(), 1, "{text}");
        assert!(text.contains(&format!("Message-ID: {id}\r\n")), "{text}");
        assert!(message.message_id.ends_with("@y.example>") && !message.message_id.contains(' '), "{message:?}");
    }
}

#[test]
fn what_is_not_there_is_added() {
    let (message, octets) = submit("hello\n");
    assert_eq!(
        String::from_utf8(octets).unwrap(),
        format!(
            "From: =?utf-8?Q?J=C3=BCrgen?= <me@box.example>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n\
             Message-ID: {}\r\nTo: undisclosed-recipients:;\r\n\r\nhello\r\n",
            message.message_id
        )
    );
    assert!(message.message_id.ends_with("@box.example>"));
    assert_eq!(message.from.unwrap().to_string(), "me@box.example");
    let text = sent("From: x@y.example\nTo:\nDate: \nMessage-ID:\n\nx");
    assert!(text.contains("@y.example>\r\n") && text.contains("\r\nTo: undisclosed-recipients:;\r\n"), "{text}");
    assert_eq!(["To:", "Date:", "Message-ID:"].map(|name| text.matches(name).count()), [1, 1, 1]);
    assert!(!sent("Cc: a@b.example\n\n").contains("\r\nTo:"));
    assert!(sent("").ends_with("To: undisclosed-recipients:;\r\n\r\n"));
    let named = |text: &str, named: &[&str]| {
        let named: Vec<Address> = named.iter().map(|text| Mailbox::parse(text).unwrap().address).collect();
        let me = me();
        let handover = Handover { named: &named, ..handover(&me) };
        let message = read_submitted(text.as_bytes(), &handover, &mut Stamp::fixed(0, 1)).unwrap();
        let text = String::from_utf8(check(&message)).unwrap();
        text.lines().find_map(|line| line.strip_prefix("To: ")).unwrap().to_owned()
    };
    assert_eq!(named("x", &["a@b.example"]), "a@b.example");
    assert_eq!(named("x", &["root@localhost"]), "root@box.example");
    assert_eq!(named("x", &["a@b.example", "c@b.example"]), "undisclosed-recipients:;");
    assert_eq!(named("Bcc: c@b.example\n\n", &["a@b.example"]), "undisclosed-recipients:;");
}

#[test]
fn what_must_not_go_does_not() {
    let text = sent(
        "From x Mon Nov 23 10:00:00 2026\nReturn-Path: <old@b.example>\nbcc : s@b.example,\n h@b.example\n\
         To : t@b.example\nResent-Bcc: r@b.example\nContent-Length: 7\n\nx\n",
    );
    for gone in ["From x", "old@", "s@b", "h@b", "r@b", "7"] {
        assert!(!text.split("Date:").next().unwrap().contains(gone), "{gone}: {text}");
    }
    assert!(text.starts_with("To: t@b.example\r\n"), "{text}");
}

fn recipients(text: &str) -> Vec<String> {
    submit(text).0.recipients.iter().map(ToString::to_string).collect()
}

#[test]
fn recipients_are_those_of_the_header() {
    assert_eq!(
        recipients(
            "To: root, Ada <ada@x.example>\nCc: all: b@x.example, root;\nBcc: c@x.example\n\nCc: no@x.example\n"
        ),
        ["root@localhost", "ada@x.example", "b@x.example", "c@x.example"]
    );
    assert_eq!(recipients("Resent-To: n@x.example\nResent-To: old@x.example\nTo: t@x.example\n\n"), ["n@x.example"]);
    assert_eq!(recipients("x"), [""; 0]);
    let error = submit_with(b"To: a b@x.example\n\n", |_| {}).unwrap_err();
    let ComposeError::Address { field, error } = error else { panic!("{error}") };
    assert_eq!((field.as_str(), error.caret().as_str()), ("To", "a b@x.example\n ^"));
    let (message, octets) =
        submit_with(b"To: a b@x.example\n\n", |handover| handover.wants_recipients = false).unwrap();
    assert!(message.recipients.is_empty() && octets.starts_with(b"To: a b@x.example\r\n"));
    assert!(self::error(b"To: J\xFCrgen@x.example\n\n").contains("neither ASCII nor UTF-8"));
    assert_eq!(recipients_of(b"To: J\xFCrgen <j@x.example>\n\n"), ["j@x.example"]);
    let many: Vec<String> = (0..10_000).map(|number| format!("r{number}@x.example")).collect();
    for comma in [",", ", ", ",\n "] {
        assert_eq!(recipients(&format!("To: {}\n\n", many.join(comma))), many);
    }
}

fn recipients_of(bytes: &[u8]) -> Vec<String> {
    submit(bytes).0.recipients.iter().map(ToString::to_string).collect()
}

#[test]
fn a_message_that_is_sent_again_says_so() {
    let text =
        sent(format!("Received: x\nResent-To: root\nReceived: y\nResent-Date: old\nResent-To: o@x.example\n{HEAD}\n"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "Received: x",
            "Resent-Date: Thu, 1 Jan 1970 00:00:00 +0000",
            "Resent-From: =?utf-8?Q?J=C3=BCrgen?= <me@box.example>",
            lines[3]
        ]
    );
    assert!(lines[3].starts_with("Resent-Message-ID: <") && lines[4] == "Resent-To: root@box.example", "{text}");
    assert!(!sent("Resent-To: a@x.example\n\n").contains("\nTo:"));
}

#[test]
fn names_of_this_machine_get_its_domain() {
    for (field, written) in [
        ("From: root (Cron Daemon)", "From: Cron Daemon <root@box.example>"),
        ("From: \"(CronDaemon)\" <root>", "From: \"(CronDaemon)\" <root@box.example>"),
        ("To: root, Ada <ada>, x@y.example", "To: root@box.example, Ada <ada@box.example>, x@y.example"),
        ("Cc: all: root;, none:;", "Cc: all: root@box.example;, none:;"),
        ("Reply-To: =?utf-8?Q?J=C3=BCrgen?= <root>", "Reply-To: =?utf-8?Q?J=C3=BCrgen?= <root@box.example>"),
        ("Sender: \"A \\\"B\\\" C.\" <root>", "Sender: \"A \\\"B\\\" C.\" <root@box.example>"),
        ("From:  \"A\"  <a@b.example> (c)", "From:  \"A\"  <a@b.example> (c)"),
        ("From: Two Words", "From: Two Words"),
        ("From: A <@relay:a@b.example>", "From: A <@relay:a@b.example>"),
        ("Subject: root", "Subject: root"),
    ] {
        let (message, octets) = submit_with(field.as_bytes(), |handover| handover.wants_recipients = false).unwrap();
        let text = String::from_utf8(octets).unwrap();
        assert_eq!(text.lines().next().unwrap(), written);
        if field.contains("Cron") {
            assert_eq!(message.from.unwrap().to_string(), "root@box.example");
        }
    }
}

#[test]
fn headers_become_seven_bit() {
    let field = |text: &[u8]| below([text, b"\n\n"].concat());
    for (text, written) in [
        ("Subject: Grüße aus Köln", "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= aus =?utf-8?Q?K=C3=B6ln?="),
        ("Subject: Größe größer", "Subject: =?utf-8?Q?Gr=C3=B6=C3=9Fe_gr=C3=B6=C3=9Fer?="),
        ("Subject: =?x?Q?y?= ü", "Subject: =?x?Q?y?= =?utf-8?B?IMO8?="),
        ("Subject: ü =?x?Q?y?= ü z", "Subject: =?utf-8?B?w7wg?= =?x?Q?y?= =?utf-8?B?IMO8?= z"),
        ("Subject: 世界", "Subject: =?utf-8?B?5LiW55WM?="),
        ("Subject: a\0b\x07c\rd", "Subject: a b c d"),
        ("Subject: a\n \n\tb", "Subject: a \tb"),
        (
            "Cc: Jürgen Müller <j@x.example>, b@x.example",
            "Cc: =?utf-8?Q?J=C3=BCrgen_M=C3=BCller?= <j@x.example>, b@x.example",
        ),
        ("Cc: \"Müller, J.\" <j@bücher.example>", "Cc: =?utf-8?Q?M=C3=BCller=2C_J=2E?= <j@xn--bcher-kva.example>"),
        ("Cc: Büro: a@x.y, ä <b@x.y>;, z@x.y", "Cc: =?utf-8?Q?B=C3=BCro?=: a@x.y, =?utf-8?Q?=C3=A4?= <b@x.y>;, z@x.y"),
        (
            "Content-Disposition: attachment; filename=\"ü.pdf\"",
            "Content-Disposition: attachment; filename*=utf-8''%C3%BC.pdf",
        ),
        ("X-Y:ü", "X-Y: =?utf-8?Q?=C3=BC?="),
    ] {
        assert_eq!(field(text.as_bytes()), format!("{written}\r\n\r\n"), "{text}");
    }
    assert_eq!(field(b"Subject: J\xFCrgen"), "Subject: =?unknown-8bit?Q?J=FCrgen?=\r\n\r\n");
    assert_eq!(field(b"Cc: J\xFCrgen \xC4 <j@x.example>"), "Cc: =?unknown-8bit?Q?J=FCrgen_=C4?= <j@x.example>\r\n\r\n");
    let text = sent("Subject: ü\n");
    assert!(text.starts_with("Subject: =?utf-8?Q?=C3=BC?=\r\n"), "{text}");
    let (message, octets) = submit_with("To: ü ö, a@x.y\n".as_bytes(), |it| it.wants_recipients = false).unwrap();
    assert!(octets.starts_with(b"To: =?utf-8?B?w7wgw7Ys?= a@x.y\r\n") && !message.content.is_8bit);
    let (message, octets) = submit("To: jürgen@bücher.example\nSubject: ü\n");
    assert!(message.content.has_utf8_headers);
    assert!(octets.starts_with("To: jürgen@xn--bcher-kva.example\r\nSubject: =?".as_bytes()));
}

#[test]
fn long_lines_of_a_header_are_cut() {
    for (name, value) in [
        ("Subject", "word ".repeat(500)),
        ("Subject", "x".repeat(5_000)),
        ("Subject", "界".repeat(2_000)),
        ("X-Spaces", format!("a{}b", " ".repeat(3_000))),
        ("References", "<a@b.example>".repeat(500)),
        ("Cc", vec!["ada@x.example"; 500].join(",")),
        ("Cc", format!("{} <a@x.example>", "n".repeat(2_000))),
        ("Cc", format!("\"{}.\" <a@x.example>", "n ".repeat(2_000))),
        ("Cc", "broken".repeat(500)),
        ("Content-Type", format!("text/plain; name=\"{}\"", "n".repeat(2_000))),
        ("Content-Type", "x".repeat(2_000)),
    ] {
        let text = sent(format!("{name}: {value}\nTo: a@x.example\n\nbody\n").replacen("Cc: brok", "X-Cc: brok", 1));
        let message = MessageParser::new().parse(text.as_bytes()).unwrap();
        assert!(name == "X-Spaces" || text.contains("\r\n "), "{text}");
        match name {
            "Subject" => assert_eq!(message.subject(), Some(value.trim())),
            "Cc" if value.starts_with('n') => {
                assert_eq!(message.cc().unwrap().first().unwrap().name(), Some("n".repeat(2_000).as_str()));
            }
            "Cc" if value.starts_with("ada") => assert_eq!(message.cc().unwrap().iter().count(), 500),
            _ => {}
        }
    }
    let long = "A: b\n".repeat(MAX_HEADER / 5 + 1);
    assert!(error(&long).contains("longer than 1 MiB"));
    assert!(error(format!("A: {}", "x".repeat(MAX_HEADER))).contains("longer than 1 MiB"));
    assert!(error(format!("A: x\n{}", " y\n".repeat(MAX_HEADER / 3))).contains("longer than 1 MiB"));
    submit("x".repeat(2 * MAX_HEADER));
    submit(format!("A: b\n{}", "x".repeat(2 * MAX_HEADER)));
}

#[test]
fn bodies_without_mime_are_encoded_if_they_must() {
    for (body, fields, encoded) in [
        ("Grüße\n", "text/plain; charset=utf-8|quoted-printable", "Gr=C3=BC=C3=9Fe\r\n"),
        ("a\rb\n", "text/plain; charset=us-ascii|quoted-printable", "a=0Db\r\n"),
        ("a\0b", "text/plain; charset=us-ascii|quoted-printable", "a=00b\r\n"),
        ("世界世界世界\n", "text/plain; charset=utf-8|base64", "5LiW55WM5LiW55WM5LiW55WMDQo=\r\n"),
    ] {
        let (kind, encoding) = fields.split_once('|').unwrap();
        assert_eq!(
            below(format!("\n{body}")),
            format!(
                "MIME-Version: 1.0\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{encoded}"
            )
        );
    }
    let text = below(b"\nlatin \xFC\n");
    assert!(text.contains("charset=unknown-8bit") && text.ends_with("\r\nlatin =FC\r\n"), "{text}");
    let wide: Vec<u8> = "\u{feff}Grüße\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let text = below([b"\n", &wide[..]].concat());
    assert!(text.contains("charset=utf-8") && text.ends_with("Gr=C3=BC=C3=9Fe\r\n"), "{text}");
    assert_eq!(leaves(sent("x".repeat(5_000)).as_bytes()), [[&[b'x'; 5_000][..], b"\r\n"].concat()]);
}

#[test]
fn bodies_with_mime_are_encoded_where_it_is_not_done() {
    let part = |fields: &str, body: &[u8]| below([format!("{fields}\n\n").as_bytes(), body].concat());
    let encoded = "Gr=C3=BC=C3=9Fe\r\n";
    for (fields, written) in [
        ("MIME-Version: 1.0", "MIME-Version: 1.0|Content-Type: text/plain; charset=utf-8|"),
        ("Content-Type: text/html", "Content-Type: text/html; charset=utf-8|MIME-Version: 1.0|"),
        ("Content-Type: TEXT/HTML; x=y ;", "Content-Type: TEXT/HTML; x=y; charset=utf-8|MIME-Version: 1.0|"),
        ("Content-Type: text/plain;\n charset=koi8-r", "Content-Type: text/plain;| charset=koi8-r|MIME-Version: 1.0|"),
        ("Content-Type: text/plain; name=\"x", "Content-Type: text/plain; name=\"x|MIME-Version: 1.0|"),
        ("Content-Type: text", "Content-Type: text; charset=utf-8|MIME-Version: 1.0|"),
        (
            "MIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\nContent-Type: text/x\nX: y",
            "MIME-Version: 1.0|Content-Type: text/x; charset=utf-8|X: y|",
        ),
        (
            "MIME-Version: 1.0\nContent-Type: text/x\nContent-type: text/y",
            "MIME-Version: 1.0|Content-Type: text/x; charset=utf-8|",
        ),
    ] {
        let written = written.replace('|', "\r\n");
        assert_eq!(
            part(fields, "Grüße\n".as_bytes()),
            format!("{written}Content-Transfer-Encoding: quoted-printable\r\n\r\n{encoded}"),
            "{fields}"
        );
    }
    let text = part(
        "MIME-Version: 1.0\nContent-Type: application/pdf\nContent-Transfer-Encoding: binary",
        b"%PDF\n\0\r\n\xFF",
    );
    assert!(
        text.ends_with("Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERgoADQr/\r\n"),
        "{text}"
    );
    let long = encodify::base64::STANDARD.encode([7; 3_000]);
    let text = part("Content-Transfer-Encoding: base64\nContent-Type: image/png", long.as_bytes());
    assert!(text.starts_with("Content-Transfer-Encoding: base64\r\n"));
    assert_eq!(leaves([b"MIME-Version: 1.0\r\n", text.as_bytes()].concat().as_slice()), [[7; 3_000]]);
    let text = part("Content-Transfer-Encoding: Quoted-Printable (x)", "=C3=BC".repeat(500).as_bytes());
    assert!(text.starts_with("Content-Transfer-Encoding: Quoted-Printable (x)\r\n\r\n=C3"), "{text}");
    let message = [HEAD, "Content-Transfer-Encoding: x-uuencode\n\nbegin\n", &"x".repeat(999)].concat();
    let error = error(message);
    assert_eq!(
        error,
        "the message line 8: it is longer than 998 octets, and its Content-Transfer-Encoding is not known"
    );
}

#[test]
fn what_is_declared_stays_eight_bit() {
    for fields in [
        "Content-Transfer-Encoding: 8bit",
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: BINARY",
        "Content-Type: multipart/mixed; boundary=b",
        "Content-Type: message/rfc822",
        "Content-Transfer-Encoding: x-foo",
    ] {
        let whole = format!("{HEAD}{fields}\n\n--b\n\nGrüße\n--b--\n");
        let (message, octets) = submit(&whole);
        assert_eq!(octets, whole.replace('\n', "\r\n").into_bytes());
        assert!(message.content.is_8bit && !message.content.has_utf8_headers);
    }
    assert!(!submit(format!("{HEAD}Content-Transfer-Encoding: 8bit\n\nGrüße\0\n")).0.content.is_8bit);
}

#[test]
fn in_a_multipart_only_what_needs_it_changes() {
    let long = "x".repeat(1_000);
    let text = below(format!(
        "Content-Type: multipart/mixed; boundary=\"o o\"\n\npreamble\n--o o\nContent-Type: text/plain\n\nHi\n--o o  \n\
         Content-Type: multipart/alternative;\n boundary=o\n\n{long}\n--o\n\na\0b\n--o\n\
         Content-Type: text/html; charset=utf-8\n\n<i>ü\n\n--o--\n\
         --o o\nContent-Type: application/zip\nContent-Disposition: attachment; filename=ü.zip\n\nPK\r\r\n--o o\n\
         Content-Type: message/rfc822\n\nFrom x\nSubject: ü\n\n{long}\n--o o--\nepilogue\n"
    ));
    let expected = format!(
        "Content-Type: multipart/mixed; boundary=\"o o\"\n\npreamble\n--o o\nContent-Type: text/plain\n\nHi\n--o o\n\
         Content-Type: multipart/alternative;\n boundary=o\n\n--o\nContent-Type: text/plain; charset=us-ascii\n\
         Content-Transfer-Encoding: quoted-printable\n\na=00b\n--o\n\
         Content-Type: text/html; charset=utf-8\n\n<i>ü\n\n--o--\n\
         \n--o o\nContent-Type: application/zip\nContent-Disposition: attachment; filename*=utf-8''%C3%BC.zip\n\
         Content-Transfer-Encoding: base64\n\nUEsN\n--o o\n\
         Content-Type: message/rfc822\n\nSubject: =?utf-8?Q?=C3=BC?=\nContent-Type: text/plain; charset=us-ascii\n\
         Content-Transfer-Encoding: quoted-printable\n\n{long}\n--o o--\nepilogue\n",
    );
    assert_eq!(text.replace("x=\r\n", "x").replace("\r\n", "\n"), expected);
}

/// Encodings that there are not, as scripts write them.
#[test]
fn misspelt_encodings_are_what_they_mean() {
    for transfer in ["8-bit", "utf-8", "7-bit", "none"] {
        let text = "x".repeat(1_200);
        let message = sent(format!("{HEAD}Content-Type: text/html\nContent-Transfer-Encoding: {transfer}\n\n{text}\n"));
        let parsed = MessageParser::default().parse(message.as_bytes()).unwrap();
        assert_eq!(parsed.body_html(0).unwrap().trim_end(), text, "{transfer}");
    }
}

#[test]
fn what_must_not_be_changed_is_an_error() {
    let signed = |text: &str| {
        format!(
            "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/signed; boundary=i\n\n\
             --i\n\n{text}\n--i--\n--o--\n"
        )
    };
    let fit = signed("Grüße");
    assert!(
        String::from_utf8(submit(&fit).1).unwrap().contains(&fit.split_once("\n\n").unwrap().1.replace('\n', "\r\n"))
    );
    for (text, line, why) in [("a\0", 8, "a NUL"), ("a\nb\rc", 9, "a bare CR")] {
        let expected =
            format!("the message line {line}: it contains {why}, and it is in a part that must not be changed");
        assert_eq!(error(signed(text)), expected);
    }
    let mut deep = String::new();
    (0..30).for_each(|n| deep.push_str(&format!("Content-Type: multipart/mixed; boundary=b{n}x\n\n--b{n}x\n")));
    assert!(error(format!("{deep}\n\0\n")).contains("nested too deeply"));
    let many = format!("Content-Type: multipart/mixed; boundary=b\n\n{}\0", "--b\n\n".repeat(10_001));
    assert!(error(many).contains("too many parts"));
}

#[test]
fn a_multipart_without_parts_is_a_text() {
    for kind in ["multipart/mixed", "multipart/mixed; boundary=x"] {
        let text = below(format!("MIME-Version: 1.0\nContent-Type: {kind}\n\nü\0\n"));
        assert_eq!(
            text,
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC=00\r\n"
        );
    }
}

#[test]
fn lines_that_are_cut_make_no_boundary() {
    let line = format!("{}--b", "x".repeat(75)).repeat(20);
    let whole = format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n\n{line}\n--b--\n");
    let text = String::from_utf8(submit(&whole).1).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("--b")).count(), 2, "{text}");
    assert_eq!(leaves(text.as_bytes()), [line.as_bytes()]);
}

#[test]
fn mail_of_cron_says_that_nobody_wrote_it() {
    let field = "Auto-Submitted: auto-generated\r\n";
    assert!(sent("X-Cron-Env: <SHELL=/bin/sh>\n\nx").contains(field));
    assert!(!sent("Subject: x\n\nX-Cron-Env: x").contains(field));
    let of_cron = |text: &str| {
        let (_, octets) = submit_with(text.as_bytes(), |handover| handover.is_of_cron = true).unwrap();
        String::from_utf8(octets).unwrap()
    };
    assert!(of_cron("x").contains(field));
    assert!(!of_cron("Auto-Submitted: no\n\n").contains(field));
}

#[test]
fn a_lone_dot_ends_it_if_it_is_to() {
    let ends = |ends_at_dot: bool| {
        let (_, octets) = submit_with(b"Subject: x\n\na\n..\n.\r\nb\n", |it| it.ends_at_dot = ends_at_dot).unwrap();
        String::from_utf8(octets).unwrap().split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    assert_eq!((ends(true).as_str(), ends(false).as_str()), ("a\r\n..\r\n", "a\r\n..\r\n.\r\nb\r\n"));
}

/// Gives a head, then so many blocks.
struct Long {
    head: Cursor<String>,
    block: Cursor<Vec<u8>>,
    left: usize,
}

impl Read for Long {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.head.read(buffer)?;
        if count > 0 || self.left == 0 {
            return Ok(count);
        }
        let count = self.block.read(buffer)?;
        if self.block.position() == self.block.get_ref().len() as u64 {
            self.block.set_position(0);
            self.left -= 1;
        }
        Ok(count)
    }
}

#[test]
fn a_large_body_stays_in_its_file() {
    const BLOCK: usize = 1024 * 1024;
    let me = me();
    let long = |fields: &str, line: &[u8], blocks: usize| {
        let block = Cursor::new(line.repeat(BLOCK / line.len() + 1));
        let reader = Long { head: Cursor::new(format!("{HEAD}{fields}\n")), block, left: blocks };
        read_submitted(reader, &handover(&me), &mut Stamp::fixed(0, 1))
    };
    let in_memory = |content: &Content| -> usize {
        content.pieces().iter().map(|piece| if let Piece::Bytes(bytes) = piece { bytes.len() } else { 0 }).sum()
    };
    let line = [&[b'x'; 900][..], b"\n"].concat();
    let fit = long("", &line, 32).unwrap().content;
    assert!(in_memory(&fit) < 4_096 && fit.len() > 32 * BLOCK as u64 && !fit.is_8bit);
    let unfit = long("", b"octets without an end, \xFC ", 5).unwrap();
    assert!(in_memory(&unfit.content) < 4_096 && unfit.content.len() > 5 * BLOCK as u64 * 4 / 3);
    let text = String::from_utf8(check(&unfit)).unwrap();
    assert!(text.contains("charset=unknown-8bit\r\nContent-Transfer-Encoding: base64\r\n"));
    assert!(leaves(text.as_bytes())[0].ends_with(b"octets without an end, \xFC "));
    let parts = long("Content-Type: multipart/mixed; boundary=x\n", b"octets without an end ", 65);
    assert!(parts.unwrap_err().to_string().contains("too large"));
}
