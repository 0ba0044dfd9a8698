//! What a client has sent and nobody has taken yet, and the command lines in it.

/// Octets of a command line with its end. RFC 5321, 4.5.3.1.4 promises 512, and the extensions add some 1,000.
const MAX_LINE: usize = 2_000;

/// How the lines of a session end: its first command decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// As RFC 5321, 2.3.8 wants it: a CR or LF alone ends nothing.
    Crlf,
    /// As a program of the same machine writes into a pipe.
    Lf,
}

/// A command line that nobody needs so long. It was skipped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// Octets of `bytes` that were taken.
    start: usize,
    /// Octets of `bytes` behind which no end of line was looked for.
    searched: usize,
    line_end: Option<LineEnd>,
    /// The line that is being read is over its limit, and of what came of it only the last octet is kept.
    is_too_long: bool,
}

impl Input {
    pub fn push(&mut self, octets: &[u8]) {
        self.bytes.drain(..self.start);
        (self.start, self.searched) = (0, self.searched.saturating_sub(self.start));
        self.bytes.extend_from_slice(octets);
    }

    /// How lines end. Nobody asks before the first command.
    pub fn line_end(&self) -> LineEnd {
        self.line_end.unwrap_or(LineEnd::Crlf)
    }

    /// Takes the next command line, without its end.
    pub fn line(&mut self) -> Option<Result<Vec<u8>, TooLong>> {
        self.searched = self.searched.max(self.start);
        while let Some(at) = memchr::memchr(b'\n', &self.bytes[self.searched..]) {
            let end = self.searched + at;
            self.searched = end + 1;
            let has_cr = end > self.start && self.bytes[end - 1] == b'\r';
            let line_end = *self.line_end.get_or_insert(if has_cr { LineEnd::Crlf } else { LineEnd::Lf });
            if line_end == LineEnd::Crlf && !has_cr {
                continue;
            }
            let line = &self.bytes[self.start..end - usize::from(has_cr)];
            let is_too_long = std::mem::take(&mut self.is_too_long) || end - self.start >= MAX_LINE;
            let line = if is_too_long { Err(TooLong) } else { Ok(line.to_vec()) };
            self.start = end + 1;
            return Some(line);
        }
        self.searched = self.bytes.len();
        if self.searched - self.start >= MAX_LINE {
            self.is_too_long = true;
            self.start = self.searched - 1;
        }
        None
    }

    /// All that is there.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// So many octets of the rest were taken.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(parts: &[&[u8]]) -> Vec<Result<String, TooLong>> {
        let mut input = Input::default();
        let mut lines = Vec::new();
        for part in parts {
            input.push(part);
            while let Some(line) = input.line() {
                lines.push(line.map(|line| String::from_utf8_lossy(&line).into_owned()));
            }
        }
        lines
    }

    fn texts(octets: &[u8]) -> Vec<String> {
        lines(&[octets]).into_iter().map(|line| line.unwrap_or_else(|_| "(too long)".to_owned())).collect()
    }

    #[test]
    fn the_first_line_decides_how_lines_end() {
        assert_eq!(texts(b"a\r\nb\nc\r\nd\re\r\n"), ["a", "b\nc", "d\re"]);
        assert_eq!(texts(b"a\nb\r\nc\rd\ne"), ["a", "b", "c\rd"]);
        assert_eq!(texts(b"\r\n\r\n"), ["", ""]);
        assert_eq!(texts(b"a\r"), Vec::<String>::new());
    }

    #[test]
    fn long_lines_are_skipped_and_not_kept() {
        let longest = "x".repeat(MAX_LINE - 2);
        assert_eq!(texts(format!("{longest}\r\nb\r\n").as_bytes()), [&longest, "b"]);
        assert_eq!(texts(format!("{longest}x\r\nb\r\n").as_bytes()), ["(too long)", "b"]);
        let mut input = Input::default();
        for _ in 0..1_000 {
            input.push(&[b'x'; 10_000]);
            assert_eq!(input.line(), None);
            assert!(input.bytes.len() <= 10_001);
        }
        input.push(b"\r");
        assert_eq!(input.line(), None);
        input.push(b"\nb\r\n");
        assert_eq!(input.line(), Some(Err(TooLong)));
        assert_eq!((input.line_end(), input.line()), (LineEnd::Crlf, Some(Ok(b"b".to_vec()))));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            text in proptest::collection::vec(prop_oneof![Just("\r"), Just("\n"), Just("\r\n"), Just("a"), Just("long")], 0..20),
            cuts in proptest::collection::vec(0_usize..6_000, 0..5),
        ) {
            let text = text.concat().replace("long", &"x".repeat(MAX_LINE / 2 - 2)).into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= text.len()).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            prop_assert_eq!(lines(&parts), lines(&[&text]));
        }
    }
}
