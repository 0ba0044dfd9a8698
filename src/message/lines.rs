//! Line ends of mail: CRLF, and nothing else.

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

/// The whole of a text at once, its last line ended.
pub(super) fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + bytes.len() / 32 + 2);
    let mut lines = Crlf::default();
    lines.write(bytes, &mut text);
    lines.finish(&mut text);
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

    proptest! {
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
