//! Finds out how a table is written, where nobody has told: encoding, format, delimiter.
//!
//! An encoding is decided by all octets, the rest by the first ones.

use std::io::{self, Read};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use ring::digest::{Context, SHA256};

use super::{Format, csv::Record};

/// Octets from the beginning that show how the rest is written.
const SAMPLE: usize = 64 * 1024;
/// Records that show the delimiter.
const RECORDS: usize = 100;
/// Delimiters that are found out, the likelier first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// What all octets of a table are like.
#[derive(Debug)]
pub(super) struct Survey {
    /// The first octets.
    pub sample: Vec<u8>,
    /// All of them are in the sample.
    pub is_whole: bool,
    /// SHA-256 of everything behind a mark of UTF-8, in hexadecimal digits.
    pub digest: String,
    /// Characters of UTF-8 that are not ASCII.
    characters: u64,
    /// Octets that cannot stand in UTF-8.
    strangers: u64,
    /// Octets over 0x7F.
    high: u64,
    /// Those among them that stand three or more in a row.
    crowded: u64,
    /// Octets that windows-1252 does not know.
    undefined: u64,
    /// Control characters that stand in no text.
    controls: u64,
}

/// The encoding of a table, and how sure that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guess {
    pub encoding: &'static Encoding,
    /// It says so itself, or can be nothing else.
    pub is_sure: bool,
}

impl Survey {
    /// Reads everything.
    ///
    /// # Errors
    /// Of `input`.
    pub fn of(mut input: impl Read) -> io::Result<Self> {
        let mut survey = Self {
            sample: Vec::new(),
            is_whole: false,
            digest: String::new(),
            characters: 0,
            strangers: 0,
            high: 0,
            crowded: 0,
            undefined: 0,
            controls: 0,
        };
        let mut digest = Context::new(&SHA256);
        (&mut input).take(SAMPLE as u64).read_to_end(&mut survey.sample)?;
        survey.is_whole = survey.sample.len() < SAMPLE;
        let mut block = survey.sample.clone();
        let mark = if block.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        digest.update(&block[mark..]);
        let (mut kept, mut run) = (0, 0);
        loop {
            let is_last = block.len() == kept;
            kept = survey.look_at(&block, &mut run, is_last);
            if is_last {
                break;
            }
            let from = block.len() - kept;
            block.drain(..from);
            let count = (&mut input).take(SAMPLE as u64).read_to_end(&mut block)?;
            digest.update(&block[block.len() - count..]);
        }
        survey.digest = super::hex(digest.finish().as_ref());
        Ok(survey)
    }

    /// Counts; leaves an incomplete character at the end for the next block, unless there is none.
    fn look_at(&mut self, mut block: &[u8], run: &mut u64, is_last: bool) -> usize {
        if block.is_ascii() {
            *run = 0;
            self.controls += count_controls(block);
            return 0;
        }
        loop {
            let (valid, rest) = match std::str::from_utf8(block) {
                Ok(_) => (block, &[][..]),
                Err(error) => block.split_at(error.valid_up_to()),
            };
            self.characters += valid.iter().filter(|&&byte| byte >= 0xC0).count() as u64;
            self.controls += count_controls(valid);
            self.crowd(valid, run);
            if rest.is_empty() {
                return 0;
            }
            let length = match std::str::from_utf8(rest).err().map(|error| error.error_len()) {
                Some(None) if !is_last => return rest.len(),
                Some(Some(length)) => length,
                _ => rest.len(),
            };
            self.strangers += length as u64;
            self.crowd(&rest[..length], run);
            block = &rest[length..];
        }
    }

    /// Counts octets over 0x7F, and those that stand together.
    fn crowd(&mut self, bytes: &[u8], run: &mut u64) {
        for &byte in bytes {
            if byte < 0x80 {
                *run = 0;
                continue;
            }
            *run += 1;
            self.high += 1;
            self.undefined += u64::from(matches!(byte, 0x81 | 0x8D | 0x8F | 0x90 | 0x9D));
            self.crowded += match *run {
                3 => 3,
                4.. => 1,
                _ => 0,
            };
        }
    }

    /// The encoding. What is not UTF-8 is taken for windows-1252 only if that makes it a text of some language of
    /// Western Europe, where letters with accents stand alone; a few wrong octets among characters of UTF-8 are wrong.
    pub fn encoding(&self) -> Guess {
        let sure = |encoding| Guess { encoding, is_sure: true };
        if let Some((encoding, _)) = Encoding::for_bom(&self.sample) {
            return sure(encoding);
        }
        if let Some(encoding) = self.wide() {
            return sure(encoding);
        }
        let is_western =
            self.strangers > self.characters && self.controls + self.undefined == 0 && self.crowded * 20 <= self.high;
        if is_western { Guess { encoding: WINDOWS_1252, is_sure: false } } else { sure(UTF_8) }
    }

    /// UTF-16 without a mark: header, delimiters and addresses are ASCII, so every other octet is often zero.
    fn wide(&self) -> Option<&'static Encoding> {
        let (pairs, _) = self.sample.as_chunks::<2>();
        let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
        let (first, second) = (zeros(0), zeros(1));
        let is_often = |zeros: usize| zeros > 1 && zeros * 3 > pairs.len();
        match (is_often(first), is_often(second)) {
            (true, false) if second * 100 <= first => Some(UTF_16BE),
            (false, true) if first * 100 <= second => Some(UTF_16LE),
            _ => None,
        }
    }
}

fn count_controls(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')).count() as u64
}

/// Why these octets are no table at all, but a file of some program.
pub(super) fn foreign(sample: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 5] = [
        (b"PK\x03\x04", "a spreadsheet, or another ZIP archive"),
        (b"\xD0\xCF\x11\xE0", "a file of an office program"),
        (b"\x1F\x8B", "compressed by gzip"),
        (b"%PDF-", "a PDF"),
        (b"SQLite format 3\0", "a database"),
    ];
    KINDS.iter().find(|(magic, _)| sample.starts_with(magic)).map(|(_, kind)| *kind)
}

/// How a text is written, judged by its first character but one, or two.
pub(super) fn format(text: &[u8]) -> Format {
    let text = text.trim_ascii_start();
    let next = |text: &[u8]| text.get(1..).and_then(|rest| rest.trim_ascii_start().first().copied());
    match text.first() {
        Some(b'[') if matches!(next(text), Some(b'{' | b']')) => Format::Json,
        Some(b'{') if matches!(next(text), Some(b'"' | b'}')) => {
            // An object over several lines begins with one that is no object.
            let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let is_one = serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
            if is_one { Format::JsonLines } else { Format::Json }
        }
        _ => Format::Csv,
    }
}

/// The delimiter that a spreadsheet program has written in front of the header (`sep=;`), and the length of its line.
pub(super) fn told_delimiter(text: &[u8]) -> Option<(u8, usize)> {
    let end = memchr::memchr(b'\n', text)?;
    let line = text[..end].trim_ascii_end();
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    // A tab is trimmed off.
    match line.strip_prefix(b"sep=").or_else(|| line.strip_prefix(b"SEP="))? {
        [] => Some((b'\t', end + 1)),
        &[byte] if byte.is_ascii() => Some((byte, end + 1)),
        _ => None,
    }
}

/// Whether this header shows its delimiter, and no other that could be one.
pub(super) fn is_plain(delimiter: u8, header: &[u8]) -> bool {
    DELIMITERS.contains(&delimiter) && !header.iter().any(|byte| DELIMITERS.contains(byte) && *byte != delimiter)
}

/// The delimiter that cuts most records into as many cells as the header, and the header into the most.
pub(super) fn delimiter(text: &[u8], is_whole: bool) -> u8 {
    let score = |delimiter: u8| {
        let (mut input, mut record, mut counts) = (text, Record::default(), Vec::new());
        while counts.len() <= RECORDS {
            // Reading from memory does not fail.
            let Ok(Some(_)) = record.read(&mut input, delimiter) else { break };
            // The sample ends in the middle of its last record.
            if input.is_empty() && !is_whole && !counts.is_empty() {
                break;
            }
            if !record.is_blank() && record.fault().is_none() {
                counts.push(record.count());
            }
        }
        let columns = counts.first().copied().filter(|&columns| columns > 1)?;
        let fitting = counts.iter().filter(|&&count| count == columns).count();
        Some((fitting * 1000 / counts.len(), columns))
    };
    let scored = DELIMITERS.into_iter().filter_map(|delimiter| Some((score(delimiter)?, delimiter)));
    // Of equals the first.
    scored.rev().max_by_key(|(score, _)| *score).map_or(b',', |(_, delimiter)| delimiter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guess(octets: &[u8]) -> (&'static str, bool) {
        let guess = Survey::of(octets).unwrap().encoding();
        (guess.encoding.name(), guess.is_sure)
    }

    fn encoded(text: &str, encoding: &'static Encoding) -> Vec<u8> {
        encoding.encode(text).0.into_owned()
    }

    fn wide(text: &str, to_octets: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_octets).collect()
    }

    #[test]
    fn encodings_are_found_out() {
        let text = "to,name\nada@x.example,J\u{fc}rgen Gr\u{f6}\u{df}e\n";
        assert_eq!(guess(text.as_bytes()), ("UTF-8", true));
        assert_eq!(guess(b"to\na@x.example\n"), ("UTF-8", true));
        assert_eq!(guess(&wide(text, u16::to_le_bytes)), ("UTF-16LE", true));
        assert_eq!(guess(&wide(text, u16::to_be_bytes)), ("UTF-16BE", true));
        assert_eq!(guess(&wide("\u{feff}\u{4e16}\u{754c}", u16::to_le_bytes)), ("UTF-16LE", true));
        assert_eq!(guess(&encoded(text, WINDOWS_1252)), ("windows-1252", false));
        assert_eq!(guess("\u{feff}to".as_bytes()), ("UTF-8", true));
        assert_eq!(guess(b"\xEF\xBB\xBFto\nJ\xFCrgen"), ("UTF-8", true), "it says what it is");
        // Not a text of Western Europe, or broken: who reads on will say where.
        assert_eq!(guess(&encoded("to\n\u{414}\u{43c}\u{438}\u{442}\u{440}", encoding_rs::WINDOWS_1251)).0, "UTF-8");
        assert_eq!(guess(&encoded("to\n\u{4e16}\u{754c}\u{4f60}\u{597d}", encoding_rs::GBK)).0, "UTF-8");
        assert_eq!(guess("to\n\u{fc}\u{fc} \u{fc}".as_bytes().split_last().unwrap().1).0, "UTF-8");
        assert_eq!(guess(b"to\nJ\xFCrgen\x81"), ("UTF-8", true));
        assert_eq!(guess(b"to\nJ\xFCrgen\x01"), ("UTF-8", true));
        assert_eq!(guess(b""), ("UTF-8", true));
    }

    #[test]
    fn characters_are_not_cut_by_blocks() {
        for shift in 0..4 {
            let text = "x".repeat(SAMPLE - shift) + &"\u{4e16}".repeat(SAMPLE);
            let survey = Survey::of(text.as_bytes()).unwrap();
            assert_eq!((survey.characters, survey.strangers, survey.is_whole), (SAMPLE as u64, 0, false));
            let whole = ring::digest::digest(&SHA256, text.as_bytes());
            assert_eq!(survey.digest, crate::rows::hex(whole.as_ref()));
        }
    }

    #[test]
    fn formats_are_found_out() {
        for (text, expected) in [
            ("to,name\n", Format::Csv),
            ("[to],name", Format::Csv),
            (" [\n{\"a\":1}]", Format::Json),
            ("[]", Format::Json),
            ("{\"a\":1}\n{", Format::JsonLines),
            ("{\n \"a\":1}", Format::Json),
            ("", Format::Csv),
        ] {
            assert_eq!(format(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(foreign(b"PK\x03\x04..."), Some("a spreadsheet, or another ZIP archive"));
        assert_eq!(foreign(b"to,name"), None);
    }

    #[test]
    fn delimiters_are_found_out() {
        for (text, expected) in [
            ("to,name\na@x,Ada\n", b','),
            ("to;name\na@x,b@x;Ada\nc@x,d@x;Bob\n", b';'),
            ("to\tname\na@x\t\"x, y; z\"\n", b'\t'),
            ("to|name|x\na@x|A, B|;\n", b'|'),
            ("to\na@x,b@x\n", b','),
            ("to;price,net;x\na;1,5;2\nb;2;3\n", b';'),
            ("\"to, or not\";name\n\"a;b\";c\n", b';'),
            ("to,name", b','),
            ("", b','),
        ] {
            assert_eq!(delimiter(text.as_bytes(), true), expected, "{text}");
        }
        assert_eq!(told_delimiter(b"sep=;\r\nto"), Some((b';', 7)));
        assert_eq!(told_delimiter(b"\"sep=|\"\nto"), Some((b'|', 8)));
        assert_eq!(told_delimiter(b"sep=\t\nto"), Some((b'\t', 6)));
        assert_eq!(told_delimiter(b"separator;name\nx"), None);
    }

    proptest! {
        /// What the crate csv has written is found out, if the header is plain and has more than one column.
        #[test]
        fn written_delimiters_are_found_out(
            rows in proptest::collection::vec(proptest::collection::vec("[ab,;|\t\"\n ]{0,8}", 3), 0..20),
            delimiter_ in proptest::sample::select(DELIMITERS.to_vec()),
        ) {
            let mut writer = csv::WriterBuilder::new().delimiter(delimiter_).from_writer(Vec::new());
            writer.write_record(["to", "first name", "e-mail"]).unwrap();
            rows.iter().for_each(|row| writer.write_record(row).unwrap());
            prop_assert_eq!(delimiter(&writer.into_inner().unwrap(), true), delimiter_);
        }

        #[test]
        fn any_octets_can_be_surveyed(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let survey = Survey::of(octets.as_slice()).unwrap();
            let is_valid = std::str::from_utf8(&octets).is_ok();
            prop_assert_eq!(survey.strangers == 0, is_valid);
            survey.encoding();
            format(&octets);
            delimiter(&octets, true);
            told_delimiter(&octets);
        }
    }
}
