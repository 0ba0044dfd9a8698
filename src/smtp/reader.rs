//! Replies out of bytes: bounded, lenient about what cannot hurt (RFC 5321, 4.2).

use crate::mail::{Reply, Secret};

/// RFC 5321, 4.5.3.1.5 promises 512 octets; servers send more.
const MAX_LINE: usize = 4 * 1024;
const MAX_REPLY: usize = 64 * 1024;
/// Shorter texts are not taken for secrets.
const SHORTEST: usize = 4;

/// Takes bytes as they come, gives replies as they are complete.
#[derive(Debug, Default)]
pub struct ReplyReader {
    bytes: Vec<u8>,
    /// Octets of `bytes` that were taken.
    start: usize,
    /// Octets of `bytes` behind which no end of line was looked for.
    searched: usize,
    lines: Vec<String>,
    size: usize,
    hidden: Vec<Secret>,
}

/// Bytes that are no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line does not begin with a code.
    #[error("the server sent '{0}', which is no SMTP reply")]
    Malformed(String),
    /// A line over 4 KB or a reply over 64 KB.
    #[error("the server sent a reply without end")]
    TooLong,
}

impl ReplyReader {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        (self.start, self.searched) = (0, self.searched - self.start);
        self.bytes.extend_from_slice(bytes);
    }

    /// From here on these are shown to nobody: a server that repeats what it was told tells a password. What is very
    /// short stands in many a word, and its absence would tell it.
    pub fn hide(&mut self, secrets: impl IntoIterator<Item = Secret>) {
        self.hidden.extend(secrets.into_iter().filter(|secret| secret.expose().len() >= SHORTEST));
    }

    /// The login is over: what comes now is not changed. A short password stands in many a word.
    pub fn hide_nothing(&mut self) {
        self.hidden.clear();
    }

    /// A reply as it may be shown. Challenges are a part of the login like their answers.
    pub fn shown(&self, reply: &Reply) -> Reply {
        let shown = |line: &String| match reply.code {
            334 => "***".to_owned(),
            _ => decode(&conceal(&self.hidden, format!("{} {line}", reply.code).into_bytes())[4..]),
        };
        Reply { code: reply.code, lines: reply.lines.iter().map(shown).collect() }
    }

    /// Whether nothing is left over: neither a reply nor a part of one.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == self.start && self.lines.is_empty()
    }

    /// Takes the next complete reply.
    ///
    /// # Errors
    /// If what came is no reply; nothing after it can be trusted.
    pub fn take(&mut self) -> Result<Option<Reply>, ReplyError> {
        loop {
            let Some(end) = memchr::memchr(b'\n', &self.bytes[self.searched..]) else {
                self.searched = self.bytes.len();
                let rest = self.bytes.len() - self.start;
                return if rest > MAX_LINE { Err(ReplyError::TooLong) } else { Ok(None) };
            };
            let end = self.searched + end;
            let length = end - self.start;
            if length > MAX_LINE || self.size + length > MAX_REPLY {
                return Err(ReplyError::TooLong);
            }
            let line = &self.bytes[self.start..=end];
            self.size += line.len();
            let (code, is_last, text) = match parse_line(line) {
                // What the login depends on is read as it is.
                Ok((code, is_last, text)) if self.hidden.is_empty() || is_for_the_login(code) => (code, is_last, text),
                _ => parse_line(&conceal(&self.hidden, line.to_vec()))?,
            };
            (self.start, self.searched) = (end + 1, end + 1);
            if self.start == self.bytes.len() {
                self.bytes.clear();
                (self.start, self.searched) = (0, 0);
            }
            if !is_last {
                self.lines.push(text);
                continue;
            }
            self.size = 0;
            let lines = if self.lines.is_empty() {
                vec![text]
            } else {
                self.lines.push(text);
                std::mem::take(&mut self.lines)
            };
            // The code of the last line decides, as with most clients, where a server contradicts itself.
            return Ok(Some(Reply { code, lines }));
        }
    }
}

/// A challenge, or consent: a mechanism has to see every octet of it.
fn is_for_the_login(code: u16) -> bool {
    code == 334 || code / 100 == 2
}

/// Puts asterisks in the place of secrets; the code of a reply stays.
pub(super) fn conceal(hidden: &[Secret], mut bytes: Vec<u8>) -> Vec<u8> {
    // Of a secret of one octet not every alignment decides a character.
    for secret in hidden.iter().filter(|secret| !secret.is_empty()) {
        let mut from = if bytes.len() > 3 && bytes[..3].iter().all(u8::is_ascii_digit) { 4 } else { 0 };
        while let Some(at) = bytes.get(from..).and_then(|rest| memchr::memmem::find(rest, secret.expose())) {
            bytes.splice(from + at..from + at + secret.expose().len(), *b"***");
            from += at + 3;
        }
    }
    bytes
}

/// Code, whether the reply ends here, text. A bare `250` and a missing CR are taken.
fn parse_line(line: &[u8]) -> Result<(u16, bool, String), ReplyError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let malformed = || {
        let shown: String = crate::mail::clean(&decode(line)).chars().take(60).collect();
        ReplyError::Malformed(shown)
    };
    let (code, rest) = line.split_at_checked(3).ok_or_else(malformed)?;
    if !matches!(code, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']) {
        return Err(malformed());
    }
    let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.split_first() {
        None => Ok((code, true, String::new())),
        Some((b' ', text)) => Ok((code, true, decode(text))),
        Some((b'-', text)) => Ok((code, false, decode(text))),
        Some(_) => Err(malformed()),
    }
}

/// UTF-8 (RFC 6531, 3.7.4.2) if it can be, else Latin-1.
fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Vec<Reply>, ReplyError> {
        let mut reader = ReplyReader::default();
        reader.push(bytes);
        let mut replies = Vec::new();
        while let Some(reply) = reader.take()? {
            replies.push(reply);
        }
        Ok(replies)
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        read(bytes).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn secrets_are_concealed() {
        let mut reader = ReplyReader::default();
        reader.hide([Secret::new(b"hunter2".to_vec()), Secret::new(b"535".to_vec()), Secret::new(Vec::new())]);
        reader.push(b"535-hunter2 and hunter2\r\n535 is no password, nor 535\r\nhunter2\r\n");
        let reply = reader.take().unwrap().unwrap();
        assert_eq!((reply.code, &*reply.text()), (535, "*** and *** is no password, nor 535"));
        assert!(!reader.take().unwrap_err().to_string().contains("hunter2"));

        // A mechanism gets every octet of what it has to answer.
        let mut reader = ReplyReader::default();
        reader.hide([Secret::new(b"hunter2".to_vec())]);
        reader.push(b"334 hunter2\r\n235 hunter2 ok\r\n");
        let (challenge, consent) = (reader.take().unwrap().unwrap(), reader.take().unwrap().unwrap());
        assert_eq!((&*challenge.text(), &*reader.shown(&challenge).text()), ("hunter2", "***"));
        assert_eq!((&*consent.text(), &*reader.shown(&consent).text()), ("hunter2 ok", "*** ok"));
    }

    #[test]
    fn replies_of_every_shape() {
        assert_eq!(texts(b"250-a\r\n250-b\r\n250 c\r\n"), ["250 a b c"]);
        assert_eq!(texts(b"250\r\n"), ["250 "]);
        assert_eq!(texts(b"250 lf only\n220 x\r\n"), ["250 lf only", "220 x"]);
        assert_eq!(texts(b"571 odd\r\n590 odder\r\n"), ["571 odd", "590 odder"]);
        assert_eq!(texts(b"550-first\r\n250 last decides\r\n"), ["250 first last decides"]);
        assert_eq!(texts(b"550 gr\xFC\xDFe\r\n"), ["550 grüße"]);
        assert_eq!(texts("550 grüße\r\n".as_bytes()), ["550 grüße"]);
        assert_eq!(texts(b"250-only the start\r\n"), Vec::<String>::new());
        let long: String = (0..199).map(|n| format!("250-{n}\r\n")).collect::<String>() + "250 end\r\n";
        assert_eq!(read(long.as_bytes()).unwrap()[0].lines.len(), 200);
    }

    #[test]
    fn what_is_no_reply_is_told_without_its_teeth() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"25\r\n",
            b"\r\n",
            b"150 x\r\n",
            b"650 x\r\n",
            b"250_x\r\n",
            b"2 50 x\r\n",
        ] {
            assert!(matches!(read(bytes), Err(ReplyError::Malformed(_))), "{bytes:?}");
        }
        assert_eq!(read(b"\x1b[2J\r\n"), Err(ReplyError::Malformed("\u{FFFD}[2J".to_owned())));
    }

    #[test]
    fn endless_lines_and_replies_end() {
        assert_eq!(read(&[b'2'; 5_000]), Err(ReplyError::TooLong));
        let line = [&b"250 "[..], &[b'x'; 5_000], b"\r\n"].concat();
        assert_eq!(read(&line), Err(ReplyError::TooLong));
        assert_eq!(read("250-x\r\n".repeat(10_000).as_bytes()), Err(ReplyError::TooLong));
    }

    proptest! {
        /// However the bytes are cut, the replies are the same; no bytes make it panic.
        #[test]
        fn cuts_do_not_matter(bytes in proptest::collection::vec(prop_oneof![Just(b'2'), Just(b'5'), Just(b'0'), Just(b'-'), Just(b' '), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..80), cut in 0_usize..80) {
            let whole = read(&bytes);
            let mut reader = ReplyReader::default();
            let mut replies = Vec::new();
            let mut verdict = Ok(());
            let cut = cut.min(bytes.len());
            for part in [&bytes[..cut], &bytes[cut..]] {
                reader.push(part);
                loop {
                    match reader.take() {
                        Ok(Some(reply)) => replies.push(reply),
                        Ok(None) => break,
                        Err(error) => { verdict = Err(error); break }
                    }
                }
                if verdict.is_err() { break }
            }
            prop_assert_eq!(verdict.map(|()| replies), whole);
        }
    }
}
