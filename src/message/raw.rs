//! Messages that exist already: checked, their header made fit for sending, their body left alone.

use super::{
    ComposeError, Input, Stamp,
    field::{given_message_id, parse_addresses},
    header::{Header, HeaderField},
    lines::{MAX_HEADER, MAX_LINE},
    spool::Data,
};
use crate::mail::{Address, Content, Entry, Piece};

const BARE_CR: &str = "it contains a bare CR; mail ends lines with CRLF or LF";

/// An existing message, ready to be sent.
#[derive(Debug, Clone)]
pub struct RawMessage {
    /// Its Message-ID; one of ours, if it has none, or what is none.
    pub message_id: String,
    /// The first address of its From field.
    pub from: Option<Address>,
    /// Addresses of To, Cc and Bcc, or of the Resent fields where there are any (RFC 5322, 3.6.6); each once.
    pub recipients: Vec<Address>,
    /// The message without Bcc.
    pub content: Content,
}

/// Reads a message: a leading mbox line and every Bcc are removed, a missing Date, Message-ID and From are added, LF
/// becomes CRLF. `default_from` is used where the message has no From; `recipients_wanted` says whether to read
/// recipients from it.
///
/// # Errors
/// A bare CR, a NUL, a line over 998 octets, a line in the header that is no field, a recipient that is no address.
pub fn read_raw(
    input: &Input,
    default_from: Option<&crate::mail::Mailbox>,
    recipients_wanted: bool,
    stamp: &mut Stamp,
) -> Result<RawMessage, ComposeError> {
    let data = input.open()?;
    let place = input.path().display().to_string();
    let mut scan = Scan::new(&place);
    data.for_each_block(|block| scan.block(block))?;
    scan.end()?;
    let header = parse_header(&scan.header, &place)?;

    let from = match header.value("From") {
        Some(value) => Some(
            first_address(&place, "From", value)?
                .ok_or_else(|| ComposeError::value(format!("{place}: From"), "it names nobody"))?,
        ),
        None => None,
    };
    let recipients = if recipients_wanted {
        header.recipients(|field, value| parse_addresses(&format!("{place}: {field}"), value))?
    } else {
        Vec::new()
    };
    let mut out = Vec::with_capacity(scan.header.len() + 256);
    let given = header.value("Message-ID");
    let message_id = given.and_then(given_message_id).unwrap_or_else(|| {
        let domain = from.as_ref().or(default_from.map(|from| &from.address)).map_or("localhost", |from| from.domain());
        format!("<{}@{domain}>", stamp.mark())
    });
    // What is none stays as it is, and the message is known by one of ours.
    if given.is_none() {
        out.extend_from_slice(format!("Message-ID: {message_id}\r\n").as_bytes());
    }
    if header.value("Date").is_none() {
        out.extend_from_slice(format!("Date: {}\r\n", stamp.date()).as_bytes());
    }
    if let (None, Some(from)) = (&from, default_from) {
        out.extend_from_slice(format!("From: <{}>\r\n", from.address).as_bytes());
    }
    for field in &header.fields {
        // The last server writes the Return-Path (RFC 5321, 4.4).
        if !["bcc", "resent-bcc", "return-path"].contains(&field.name.to_ascii_lowercase().as_str()) {
            out.extend_from_slice(&scan.header[field.lines.clone()]);
        }
    }
    // Octets of an old charset are 8-bit and no more: SMTPUTF8 would make them no better.
    let has_utf8_headers = !out.is_ascii() && std::str::from_utf8(&out).is_ok();
    out.extend_from_slice(b"\r\n");
    let mut content = Content::from_bytes(out);
    if let Some(body) = scan.body_piece(&data) {
        content.push(body);
    }
    content.is_8bit |= scan.is_8bit;
    content.has_utf8_headers = has_utf8_headers;
    Ok(RawMessage { message_id, from: from.or(default_from.map(|from| from.address.clone())), recipients, content })
}

fn first_address(place: &str, field: &str, value: &str) -> Result<Option<Address>, ComposeError> {
    let entries = parse_addresses(&format!("{place}: {field}"), value)?;
    Ok(entries.iter().flat_map(Entry::mailboxes).next().map(|mailbox| mailbox.address.clone()))
}

/// One pass over the message: checks every line, keeps the header, counts what the body becomes.
struct Scan<'a> {
    place: &'a str,
    /// The header with CRLF, its empty line left out.
    header: Vec<u8>,
    in_header: bool,
    at: u64,
    body_at: u64,
    body_length: u64,
    line: u64,
    column: usize,
    last: u8,
    is_8bit: bool,
}

impl<'a> Scan<'a> {
    fn new(place: &'a str) -> Self {
        Self {
            place,
            header: Vec::new(),
            in_header: true,
            at: 0,
            body_at: 0,
            body_length: 0,
            line: 1,
            column: 0,
            last: 0,
            is_8bit: false,
        }
    }

    fn fail(&self, what: &str) -> ComposeError {
        ComposeError::value(format!("{} line {}", self.place, self.line), what)
    }

    fn block(&mut self, block: &[u8]) -> Result<(), ComposeError> {
        for &byte in block {
            self.at += 1;
            if self.last == b'\r' && byte != b'\n' {
                return Err(self.fail(BARE_CR));
            }
            match byte {
                0 => return Err(self.fail("it contains a NUL")),
                b'\n' => self.end_of_line(),
                b'\r' => {}
                _ => {
                    self.column += 1;
                    if self.column > MAX_LINE {
                        return Err(self.fail("it is longer than 998 octets; encode the body, or send it with --body"));
                    }
                    self.is_8bit |= byte > 127;
                    if self.in_header {
                        self.header.push(byte);
                        if self.header.len() > MAX_HEADER {
                            return Err(self.fail("the header is longer than 1 MiB"));
                        }
                    } else {
                        self.body_length += 1;
                    }
                }
            }
            self.last = byte;
        }
        Ok(())
    }

    fn end_of_line(&mut self) {
        if self.in_header && self.column == 0 {
            self.in_header = false;
            self.body_at = self.at;
        } else if self.in_header {
            self.header.extend_from_slice(b"\r\n");
        } else {
            self.body_length += 2;
        }
        self.line += 1;
        self.column = 0;
    }

    fn end(&mut self) -> Result<(), ComposeError> {
        if self.last == b'\r' {
            return Err(self.fail(BARE_CR));
        }
        if self.column > 0 {
            self.end_of_line();
        }
        if self.in_header {
            self.body_at = self.at;
        }
        Ok(())
    }

    fn body_piece(&self, data: &Data) -> Option<Piece> {
        (self.at > self.body_at).then(|| data.crlf_piece(self.body_at, self.body_length))
    }
}

/// Takes a header apart in which every line must be one of a field.
fn parse_header(header: &[u8], place: &str) -> Result<Header, ComposeError> {
    let mut fields: Vec<HeaderField> = Vec::new();
    let mut at = 0;
    for (number, line) in header.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let lines = at..at + line.len();
        at = lines.end;
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\r', '\n']);
        // mbox files and pipes of old mail programs begin so.
        if number == 0 && text.starts_with("From ") {
            continue;
        }
        if text.starts_with([' ', '\t'])
            && let Some(field) = fields.last_mut()
        {
            field.value.push(' ');
            field.value.push_str(text.trim_start());
            field.lines.end = lines.end;
            continue;
        }
        match text.split_once(':') {
            Some((name, value)) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) => {
                let value = value.trim().to_owned();
                fields.push(HeaderField { name: name.to_owned(), value, lines });
            }
            _ => {
                let what =
                    "it is no header field; a message begins with its header (for a plain text use --body @FILE)";
                return Err(ComposeError::value(format!("{place} line {}", number + 1), what));
            }
        }
    }
    if fields.is_empty() {
        return Err(ComposeError::value(place, "it has no header; for a plain text use --body @FILE"));
    }
    Ok(Header { fields })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mail::Mailbox, message::Blocks};
    use proptest::prelude::*;
    use std::fs;

    fn read(bytes: &[u8]) -> Result<(RawMessage, Vec<u8>), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.eml");
        fs::write(&path, bytes).unwrap();
        let from = Mailbox::parse("me@example.com").unwrap();
        let message = read_raw(&Input::Path(path), Some(&from), true, &mut Stamp::fixed(0, 1))
            .map_err(|error| error.to_string())?;
        let bytes = Blocks::new(&message.content).collect::<Result<Vec<_>, _>>().unwrap().concat();
        assert_eq!(bytes.len() as u64, message.content.len());
        Ok((message, bytes))
    }

    #[test]
    fn header_is_made_fit_and_body_is_left_alone() {
        let (message, bytes) = read(
            b"From ada Mon Nov 23 10:00:00 2026\nFrom: Ada <ada@example.com>\nTo: b@example.com,\n c@example.com\n\
              bcc: secret@example.com,\n\thidden@example.com\nSubject: x\n\n.dot\nFrom here\n\nend",
        )
        .unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            format!(
                "Message-ID: {}\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nFrom: Ada <ada@example.com>\r\nTo: b@example.com,\r\n \
                 c@example.com\r\nSubject: x\r\n\r\n.dot\r\nFrom here\r\n\r\nend\r\n",
                message.message_id
            )
        );
        let recipients: Vec<_> = message.recipients.iter().map(ToString::to_string).collect();
        assert_eq!(recipients, ["b@example.com", "c@example.com", "secret@example.com", "hidden@example.com"]);
        assert_eq!(message.from.unwrap().to_string(), "ada@example.com");
    }

    #[test]
    fn a_return_path_is_the_last_server_s_to_write() {
        let (_, bytes) = read(b"Return-Path: <old@example.com>\nFrom: a@b.example\nTo: a@b.example\n\n").unwrap();
        assert!(!String::from_utf8(bytes).unwrap().contains("old@"));
    }

    #[test]
    fn what_is_there_stays() {
        let whole = b"Date: Mon, 23 Nov 2026 10:00:00 +0100\r\nMessage-ID: <a@b>\r\nFrom: x@example.com\r\nTo: y@example.com\r\n\r\nbody\r\n";
        let (message, bytes) = read(whole).unwrap();
        assert_eq!((bytes.as_slice(), message.message_id.as_str()), (&whole[..], "<a@b>"));
        let (message, bytes) = read(b"Resent-To: z@example.com\nTo: y@example.com\n").unwrap();
        assert_eq!(message.recipients.len(), 1);
        assert!(String::from_utf8(bytes).unwrap().contains("From: <me@example.com>\r\n"));
    }

    #[test]
    fn what_is_no_message_id_stays_and_names_nothing() {
        for id in ["20261128.1234", "<a b@c>"] {
            let (message, bytes) = read(format!("Message-ID: {id}\nTo: y@example.com\n\n").as_bytes()).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            assert_eq!(text.matches("Message-ID").count(), 1, "{text}");
            assert!(text.contains(&format!("Message-ID: {id}\r\n")), "{text}");
            assert!(message.message_id.ends_with("@example.com>") && !message.message_id.contains(' '), "{message:?}");
        }
    }

    #[test]
    fn a_large_body_stays_in_its_file() {
        let body = "line of text\n".repeat(10_000);
        let (message, bytes) = read(format!("From: a@example.com\nTo: b@example.com\n\n{body}").as_bytes()).unwrap();
        assert!(!message.content.is_in_memory());
        assert!(bytes.ends_with(body.replace('\n', "\r\n").as_bytes()));
    }

    #[test]
    fn what_cannot_be_sent_is_named_with_its_line() {
        for (bytes, why) in [
            (&b"To: a@b.example\n\nx\ny\rz\n"[..], "line 4: it contains a bare CR"),
            (b"To: a@b.example\n\nx\r", "line 3: it contains a bare CR"),
            (b"To: a@b.example\n\nx\0\n", "line 3: it contains a NUL"),
            (b"To: a@b.example\nnonsense\n\n", "line 2: it is no header field"),
            (b"plain text\n", "line 1: it is no header field"),
            (b"", "it has no header"),
            (b"\nTo: a@b.example\n", "it has no header"),
            (b"To: a b@c.example\n\n", "To: 'a b@c.example' is not an address"),
            (b"From:\nTo: a@b.example\n\n", "From: it names nobody"),
            (b"From: Nobody:;\nTo: a@b.example\n\n", "From: it names nobody"),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let long = ["To: a@b.example\n\n", &"x".repeat(999), "\n"].concat();
        assert!(read(long.as_bytes()).unwrap_err().contains("line 3: it is longer than 998"));
    }

    #[test]
    fn eight_bits_are_told() {
        let (message, _) = read("From: a@b.example\nTo: a@b.example\n\nü\n".as_bytes()).unwrap();
        assert!(message.content.is_8bit && !message.content.has_utf8_headers);
        let (message, _) = read("From: a@b.example\nTo: a@b.example\nSubject: ü\n\n".as_bytes()).unwrap();
        assert!(message.content.has_utf8_headers);
        let (message, _) = read(b"From: a@b.example\nTo: a@b.example\nSubject: \xFC\n\n").unwrap();
        assert!(message.content.is_8bit && !message.content.has_utf8_headers);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), Just(b'a'), any::<u8>()], 0..200)) {
            if let Ok((_, out)) = read(&bytes) {
                for line in out.split_inclusive(|&b| b == b'\n') {
                    prop_assert!(line.ends_with(b"\r\n") && !line[..line.len() - 2].contains(&b'\r'));
                }
            }
        }
    }
}
