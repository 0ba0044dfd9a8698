//! Where a message ends that a program writes: at the end of the input, or at a line with a lone dot.

use std::io::{self, BufRead, BufReader, Read};

/// Reads up to a line that is just a dot, which is not part of the message; what is behind it is not looked at. Nobody
/// has doubled dots here: that is a rule of SMTP.
pub(super) struct UpToDot<R> {
    input: BufReader<R>,
    place: Place,
    /// What was held back and turned out to be text.
    held: &'static [u8],
}

/// Where in a line the next octet stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Inside,
    BehindDot,
    BehindDotCr,
    End,
}

impl<R: Read> UpToDot<R> {
    pub fn new(reader: R) -> Self {
        Self { input: BufReader::with_capacity(64 * 1024, reader), place: Place::Start, held: b"" }
    }
}

impl<R: Read> Read for UpToDot<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some((&first, rest)) = self.held.split_first() {
                (buffer[0], self.held) = (first, rest);
                return Ok(1);
            }
            if self.place == Place::End {
                return Ok(0);
            }
            let block = self.input.fill_buf()?;
            let Some(&next) = block.first() else {
                // A dot without an end of line ends it just as well; a CR behind it makes it no text either.
                return Ok(0);
            };
            let (place, held, used): (Place, &'static [u8], usize) = match (self.place, next) {
                (Place::Start, b'.') => (Place::BehindDot, b"", 1),
                (Place::BehindDot, b'\r') => (Place::BehindDotCr, b"", 1),
                (Place::BehindDot | Place::BehindDotCr, b'\n') => (Place::End, b"", 1),
                (Place::BehindDot, _) => (Place::Inside, b".", 0),
                (Place::BehindDotCr, _) => (Place::Inside, b".\r", 0),
                _ => {
                    let line = memchr::memchr(b'\n', block).map_or(block.len(), |at| at + 1).min(buffer.len());
                    buffer[..line].copy_from_slice(&block[..line]);
                    self.place = if block[line - 1] == b'\n' { Place::Start } else { Place::Inside };
                    self.input.consume(line);
                    return Ok(line);
                }
            };
            (self.place, self.held) = (place, held);
            self.input.consume(used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives its octets in blocks of `size`.
    struct Cut<'a>(&'a [u8], usize);

    impl Read for Cut<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    fn read(bytes: &[u8], size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        UpToDot::new(Cut(bytes, size)).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn a_lone_dot_ends_it() {
        for (input, message) in [
            ("a\n.\nb\n", "a\n"),
            ("a\r\n.\r\nb\r\n", "a\r\n"),
            (".\nb", ""),
            ("a\n..\n.b\n. \n.\r\r\n.", "a\n..\n.b\n. \n.\r\r\n"),
            ("a.\nb", "a.\nb"),
            ("a\n.", "a\n"),
            ("", ""),
        ] {
            for size in [1, 2, 3, 100] {
                assert_eq!(read(input.as_bytes(), size), message.as_bytes(), "{input:?} by {size}");
            }
        }
    }

    proptest! {
        #[test]
        fn it_ends_where_lines_say_so(text in "[.a\r\n]{0,60}", size in 1_usize..9) {
            let mut expected = String::new();
            for line in text.split_inclusive('\n') {
                if [".", ".\r", ".\n", ".\r\n"].contains(&line) {
                    break;
                }
                expected.push_str(line);
            }
            prop_assert_eq!(read(text.as_bytes(), size), expected.into_bytes());
        }
    }
}
