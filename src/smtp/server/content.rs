//! The octets of a content as the client sends them: where it ends, and what of it is the message.

use memchr::{memchr, memchr2};

use super::input::LineEnd;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    LineStart,
    /// Behind a dot at the start of a line, which was left out.
    Dot,
    /// Behind such a dot and a CR, which is held back.
    DotCr,
    Middle,
    Cr,
}

/// Reads a content, however it is cut.
#[derive(Debug)]
pub(super) struct Content {
    line_end: LineEnd,
    /// Lines that begin with a dot have one more (RFC 5321, 4.5.2), and a lone dot is the end: DATA, not BDAT.
    is_stuffed: bool,
    place: Place,
    /// There was a CR or LF alone, where lines end with CRLF.
    pub has_bare: bool,
}

impl Content {
    pub fn new(line_end: LineEnd, is_stuffed: bool) -> Self {
        Self { line_end, is_stuffed, place: Place::LineStart, has_bare: false }
    }

    /// Puts what is the message into `out`; returns how many octets were taken, and whether this was the end.
    ///
    /// Where lines end with CRLF, nothing else makes a line: a dot between others' ends of lines is text (RFC 5321,
    /// 4.1.1.4). Whoever takes it for an end takes the text of a message for commands.
    pub fn take(&mut self, octets: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let mut at = 0;
        while let Some(&octet) = octets.get(at) {
            match (self.place, octet, self.line_end) {
                (Place::LineStart, b'.', _) if self.is_stuffed => self.place = Place::Dot,
                (Place::Dot, b'\n', LineEnd::Lf) | (Place::DotCr, b'\n', _) => return (at + 1, true),
                (Place::Dot, b'\r', LineEnd::Crlf) => self.place = Place::DotCr,
                (Place::Cr, b'\n', _) => {
                    out.push(octet);
                    self.place = Place::LineStart;
                }
                (Place::Middle, ..) => {
                    at += self.middle(&octets[at..], out);
                    continue;
                }
                (place, ..) => {
                    self.has_bare |= matches!(place, Place::Cr | Place::DotCr);
                    if place == Place::DotCr {
                        out.push(b'\r');
                    }
                    self.place = Place::Middle;
                    continue;
                }
            }
            at += 1;
        }
        (at, false)
    }

    /// Copies up to what may be the end of the line.
    fn middle(&mut self, octets: &[u8], out: &mut Vec<u8>) -> usize {
        let found = match self.line_end {
            LineEnd::Lf => memchr(b'\n', octets),
            LineEnd::Crlf => memchr2(b'\r', b'\n', octets),
        };
        let count = found.map_or(octets.len(), |at| at + 1);
        out.extend_from_slice(&octets[..count]);
        match (found.map(|at| octets[at]), self.line_end) {
            (Some(b'\r'), _) => self.place = Place::Cr,
            (Some(_), LineEnd::Lf) => self.place = Place::LineStart,
            (Some(_), LineEnd::Crlf) => self.has_bare = true,
            (None, _) => {}
        }
        count
    }

    /// The same, if the content ends here.
    pub fn ends_bare(&self) -> bool {
        self.has_bare || self.place == Place::Cr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message, whether it has bare line ends, and what is left behind its end.
    fn read(line_end: LineEnd, octets: &str) -> Option<(String, bool, String)> {
        let mut whole = None;
        for cut in 0..=octets.len() {
            let mut content = Content::new(line_end, true);
            let (mut out, mut ended) = (Vec::new(), None);
            let (first, second) = octets.as_bytes().split_at(cut);
            for (before, part) in [(0, first), (cut, second)] {
                if ended.is_none() {
                    let (count, is_end) = content.take(part, &mut out);
                    assert!(is_end || count == part.len());
                    ended = is_end.then_some(before + count);
                }
            }
            let read = ended.map(|at| (String::from_utf8(out).unwrap(), content.ends_bare(), octets[at..].to_owned()));
            assert!(whole.is_none() || whole.as_ref() == Some(&read), "cut at {cut}");
            whole = Some(read);
        }
        whole.flatten()
    }

    #[test]
    fn only_crlf_dot_crlf_ends() {
        let read = |octets: &str| read(LineEnd::Crlf, octets);
        let message = |text: &str, rest: &str| Some((text.to_owned(), false, rest.to_owned()));
        assert_eq!(read("a\r\n.\r\nQUIT"), message("a\r\n", "QUIT"));
        assert_eq!(read(".\r\n"), message("", ""));
        assert_eq!(read("..\r\n...\r\n.a\r\nb.\r\n.\r\n"), message(".\r\n..\r\na\r\nb.\r\n", ""));
        assert_eq!(read("a.\r\n.\r\n.\r\n"), message("a.\r\n", ".\r\n"));
        for tail in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\n.\r",
            "\r.\n",
            "\r.\r\n",
            "\r\n.\r",
            "\r\n.\r\r\n",
            "\r\n\r.\r\n",
        ] {
            assert_eq!(read(&format!("a{tail}b")), None, "{tail:?}");
            let (text, has_bare, rest) = read(&format!("a{tail}b\r\n.\r\n")).unwrap();
            assert!(has_bare && text.ends_with("b\r\n") && rest.is_empty(), "{tail:?}");
        }
    }

    #[test]
    fn only_lf_dot_lf_ends_where_lines_end_with_lf() {
        let read = |octets: &str| read(LineEnd::Lf, octets);
        let message = |text: &str, rest: &str| Some((text.to_owned(), false, rest.to_owned()));
        assert_eq!(read("a\n.\nQUIT"), message("a\n", "QUIT"));
        assert_eq!(read(".\n"), message("", ""));
        assert_eq!(read("..\n.a\r\nb\r.\r\n.\n"), message(".\na\r\nb\r.\r\n", ""));
        for tail in ["\r\n.\r\n", "\n.\r\n", "\r.\r", "\r.\n", "\n.\r"] {
            assert_eq!(read(&format!("a{tail}b")), None, "{tail:?}");
        }
    }

    #[test]
    fn chunks_have_no_dots() {
        let mut content = Content::new(LineEnd::Crlf, false);
        let mut out = Vec::new();
        assert_eq!(content.take(b".\r\n..\r\n.\r", &mut out), (9, false));
        assert_eq!((&out[..], content.ends_bare()), (&b".\r\n..\r\n.\r"[..], true));
        assert_eq!(content.take(b"\n", &mut out), (1, false));
        assert!(!content.ends_bare());
    }
}
