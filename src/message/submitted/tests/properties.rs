//! What holds for all octets.

use super::*;
use proptest::prelude::*;

/// Octets in which those that matter are frequent.
fn any_octets(length: usize) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => proptest::collection::vec(any::<u8>(), 1..4),
        8 => "[a-z=?. \t-]{1,8}".prop_map(String::into_bytes),
        4 => Just(b"\n".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => Just(b"\0".to_vec()),
        1 => Just(vec![b'x'; 999]),
        2 => Just("üß世".as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..length).prop_map(|pieces| pieces.concat())
}

fn any_field() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just("From"),
        Just("To"),
        Just("Cc"),
        Just("Bcc"),
        Just("Subject"),
        Just("Date"),
        Just("Message-ID"),
        Just("Resent-To"),
        Just("Content-Type"),
        Just("Content-Disposition"),
        Just("Content-Transfer-Encoding"),
    ];
    let value = prop_oneof![
        4 => any_octets(6),
        1 => Just(b"root, \"J\xFCrgen\" <j@x.example>, all: b;".to_vec()),
        1 => Just("Jürgen (x) <j@x.example>,".repeat(60).into_bytes()),
        1 => Just(b"multipart/mixed; boundary=b".to_vec()),
        1 => Just(b"message/rfc822".to_vec()),
        1 => Just("text/plain; name=\"ü\"; charset=x".as_bytes().to_vec()),
        1 => Just(b"8bit".to_vec()),
        1 => Just(b"base64".to_vec()),
        1 => Just(b"quoted-printable".to_vec()),
    ];
    (name, prop_oneof![Just(":"), Just(" : "), Just(":\n ")], value)
        .prop_map(|(name, colon, value)| [name.as_bytes(), colon.as_bytes(), &value, b"\n"].concat())
}

fn any_header() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any_field(), 0..6).prop_map(|fields| fields.concat())
}

/// Wide texts and marks are converted: not what these look at.
fn has_mark(octets: &[u8]) -> bool {
    [&b"\xEF\xBB\xBF"[..], b"\xFF\xFE", b"\xFE\xFF"].iter().any(|mark| octets.starts_with(mark))
}

fn ended(mut text: Vec<u8>) -> Vec<u8> {
    if !text.is_empty() && !text.ends_with(b"\r\n") {
        text.extend_from_slice(b"\r\n");
    }
    text
}

const BOUNDARY: &str = "=_0123456789";

/// The fields of a leaf and its octets.
fn any_leaf() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let fields = prop_oneof![
        Just(""),
        Just("Content-Type: text/plain\n"),
        Just("Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"),
        Just("Content-Type: application/octet-stream\nContent-Transfer-Encoding: binary\n"),
    ];
    (fields, any_octets(12)).prop_filter("marks are converted", |(_, leaf)| !has_mark(leaf))
}

proptest! {
    #[test]
    fn any_octets_are_a_message(head in any_header(), body in any_octets(20), wants_recipients: bool) {
        for bytes in [[&head[..], &body].concat(), [&head[..], b"\n", &body].concat(), body] {
            let result = submit_with(&bytes, |handover| handover.wants_recipients = wants_recipients);
            if let Err(error) = result {
                let error = error.to_string();
                prop_assert!(
                    wants_recipients || error.contains("must not be changed") || error.contains("is not known"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn any_text_comes_back(body in any_octets(30)) {
        prop_assume!(!has_mark(&body));
        let (_, octets) = submit([HEAD.as_bytes(), b"\n", &body].concat());
        // In Base64 its last line needs no end.
        prop_assert_eq!(ended(leaves(&octets).concat()), with_crlf(&body));
    }

    #[test]
    fn any_subject_comes_back(words in "[a-z?ü界\u{1F600}]{1,40}( [a-z?ü界]{1,40}){0,30}", long in 0_usize..1_200) {
        let subject = format!("{words} {}y", "x".repeat(long));
        let (_, octets) = submit(format!("Subject: {subject}\n\n"));
        let message = MessageParser::new().parse(&octets).unwrap();
        prop_assert_eq!(message.subject(), Some(subject.as_str()));
    }

    #[test]
    fn any_name_comes_back(name in "[ -<>-~ü界\u{1F600}]{1,80}", long in prop_oneof![Just(0_usize), 0_usize..1_200]) {
        let name = format!("{}{}", name.split_ascii_whitespace().collect::<Vec<_>>().join(" "), "x".repeat(long));
        prop_assume!(!name.is_empty());
        let mailbox = Mailbox { name: Some(name.clone()), address: Mailbox::parse("a@b.example").unwrap().address };
        let message = read_submitted(&b""[..], &handover(&mailbox), &mut Stamp::fixed(0, 1)).unwrap();
        let octets = check(&message);
        let parsed = MessageParser::new().parse(&octets).unwrap();
        prop_assert_eq!(parsed.from().unwrap().first().unwrap().name(), Some(name.as_str()));
    }

    #[test]
    fn any_parts_come_back(
        parts in proptest::collection::vec(proptest::collection::vec(any_leaf(), 1..4), 1..4),
        has_close: bool,
    ) {
        let top = format!("Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\n\n");
        let mut whole = format!("{HEAD}MIME-Version: 1.0\n{top}").into_bytes();
        let mut expected = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let inner = format!("=_{number}_inside");
            let head = format!("--{BOUNDARY}\nContent-Type: multipart/mixed; boundary=\"{inner}\"\n\n");
            whole.extend_from_slice(head.as_bytes());
            for (fields, leaf) in part {
                whole.extend_from_slice(format!("--{inner}\n{fields}\n").as_bytes());
                whole.extend_from_slice(leaf);
                whole.extend_from_slice(if leaf.ends_with(b"\r") { b"\r\n" } else { b"\n" });
                expected.push(leaf.clone());
            }
            whole.extend_from_slice(format!("--{inner}--\n").as_bytes());
        }
        if has_close {
            whole.extend_from_slice(format!("--{BOUNDARY}--\n").as_bytes());
        }
        let (_, octets) = submit(&whole);
        let found = leaves(&octets);
        prop_assert_eq!(found.len(), expected.len());
        for (found, expected) in found.into_iter().zip(expected) {
            // A part that is no text keeps its LF if it is encoded.
            prop_assert_eq!(ended(with_crlf(&found)), with_crlf(&expected));
        }
    }
}
