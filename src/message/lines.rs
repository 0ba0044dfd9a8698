//! Line ends of mail: CRLF, and nothing else; and whether a text can go as it is.

/// A line must not be longer than this without its end (RFC 5322, 2.1.1).
pub(super) const MAX_LINE: usize = 998;
/// A header of more octets is an attack or no header.
pub(super) const MAX_HEADER: usize = 1024 * 1024;

/// A line without its end.
pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Turns every bare LF into CRLF, however the text is cut. A bare CR stays: who must not send one looks for it.
#[derive(Debug, Default)]
pub(super) struct Crlf {
    last: Option<u8>,
}

impl Crlf {
    /// Appends `bytes` to `out`.
    pub fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut copied = 0;
        for at in memchr::memchr_iter(b'\n', bytes) {
            let before = if at == 0 { self.last } else { Some(bytes[at - 1]) };
            if before != Some(b'\r') {
                out.extend_from_slice(&bytes[copied..at]);
                out.push(b'\r');
                copied = at;
            }
        }
        out.extend_from_slice(&bytes[copied..]);
        self.last = bytes.last().copied().or(self.last);
    }

    /// Ends the last line if it is not; an empty text has none.
    pub fn finish(&self, out: &mut Vec<u8>) {
        if self.last.is_some_and(|last| last != b'\n') {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// What a text is made of, however it is cut.
#[derive(Debug, Default)]
pub(super) struct Census {
    is_8bit: bool,
    has_nul: bool,
    has_bare_cr: bool,
    longest_line: usize,
    length: u64,
    column: usize,
    ends_with_cr: bool,
}

impl Census {
    /// Looks at the next octets.
    pub fn write(&mut self, bytes: &[u8]) {
        self.is_8bit |= !bytes.is_ascii();
        self.has_nul |= memchr::memchr(0, bytes).is_some();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, is_ended) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            if self.ends_with_cr && !text.is_empty() {
                self.bare_cr();
            }
            let (text, has_cr) = text.strip_suffix(b"\r").map_or((text, false), |text| (text, true));
            self.ends_with_cr |= has_cr;
            self.has_bare_cr |= memchr::memchr(b'\r', text).is_some();
            self.column += text.len();
            if is_ended {
                self.ends_with_cr = false;
                self.end_of_line();
            }
        }
    }

    /// Whether some octet is over 127.
    pub fn is_8bit(&self) -> bool {
        self.is_8bit
    }

    /// Octets of the text with CRLF if it can go as it is: 7-bit and fit.
    pub fn plain_length(self) -> Option<u64> {
        if self.is_8bit { None } else { self.fit_length() }
    }

    /// Octets of the text with CRLF if it is fit for a server that takes 8-bit: no NUL, no bare CR, no line too long.
    pub fn fit_length(mut self) -> Option<u64> {
        if self.ends_with_cr {
            self.bare_cr();
        }
        if self.column > 0 {
            self.end_of_line();
        }
        let is_fit = !self.has_nul && !self.has_bare_cr && self.longest_line <= MAX_LINE;
        is_fit.then_some(self.length)
    }

    fn bare_cr(&mut self) {
        (self.has_bare_cr, self.ends_with_cr) = (true, false);
        self.column += 1;
    }

    fn end_of_line(&mut self) {
        self.longest_line = self.longest_line.max(self.column);
        self.length += self.column as u64 + 2;
        self.column = 0;
    }
}

/// The whole of a text at once, its last line ended.
pub(super) fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    converted(bytes, true)
}

/// The whole of a part at once: the boundary behind it ends its last line.
pub(super) fn with_crlf_inside(bytes: &[u8]) -> Vec<u8> {
    converted(bytes, false)
}

fn converted(bytes: &[u8], is_ended: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + bytes.len() / 32 + 2);
    let mut lines = Crlf::default();
    lines.write(bytes, &mut text);
    if is_ended {
        lines.finish(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_line_ends_well() {
        assert_eq!(with_crlf(b"a\nb\r\nc\rd\n\ne"), b"a\r\nb\r\nc\rd\r\n\r\ne\r\n");
        assert_eq!(with_crlf(b"a\r"), b"a\r\r\n");
        assert_eq!(with_crlf(b"\n"), b"\r\n");
        assert_eq!(with_crlf(b"x\0"), b"x\0\r\n");
        assert_eq!(with_crlf(b""), b"");
    }

    fn plain_length(parts: &[&[u8]]) -> Option<u64> {
        let mut census = Census::default();
        parts.iter().for_each(|part| census.write(part));
        census.plain_length()
    }

    #[test]
    fn what_can_go_as_it_is() {
        assert_eq!(plain_length(&[b"a\nb\r\n"]), Some(6));
        assert_eq!(plain_length(&[b"a\r", b"\nb"]), Some(6));
        assert_eq!(plain_length(&[]), Some(0));
        for text in [&b"a\0"[..], b"\xFC", b"a\rb", b"a\r", b"a\r\r\n", &[b'x'; 999]] {
            assert_eq!(plain_length(&[text]), None, "{text:?}");
        }
        assert_eq!(plain_length(&[b"a\r", b"b\n"]), None);
        assert_eq!(plain_length(&[&[b'x'; 998], b"\r", b"\n"]), Some(1000));
        assert_eq!(plain_length(&[&[b'x'; 998], b"x\n"]), None);
    }

    proptest! {
        #[test]
        fn a_census_does_not_mind_cuts(text in "[a\r\n]{0,40}", cut in 0_usize..40) {
            let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
            let whole = plain_length(&[text.as_bytes()]);
            prop_assert_eq!(plain_length(&[first, second]), whole);
            let out = with_crlf(text.as_bytes());
            let has_bare_cr = String::from_utf8(out.clone()).unwrap().replace("\r\n", "").contains('\r');
            prop_assert_eq!(whole, (!has_bare_cr).then_some(out.len() as u64));
        }

        #[test]
        fn cuts_do_not_matter(text in "[a\r\n]{0,40}", cut in 0_usize..40) {
            let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
            let mut out = Vec::new();
            let mut lines = Crlf::default();
            lines.write(first, &mut out);
            lines.write(second, &mut out);
            lines.finish(&mut out);
            prop_assert_eq!(out, with_crlf(text.as_bytes()));
        }
    }
}
