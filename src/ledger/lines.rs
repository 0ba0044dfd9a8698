//! The lines of a ledger: how rows are written, and how a file is read, one line after the other.

use std::{
    borrow::Cow,
    fmt,
    io::{BufRead, Read},
    ops::RangeInclusive,
};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, Visitor},
};

use super::VERSION;
use crate::mail::State;

/// Rows that one line may name.
const MAX_ROWS: u64 = 1 << 20;

/// Rows that are written into one line: however scattered they are, it has about 200 kB at most.
pub(super) const MAX_WRITTEN_ROWS: usize = 10_000;

/// A reply has 64 KiB at most, and JSON may write six octets for one.
const MAX_LINE: u64 = 1 << 20;

/// What a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A run begins, or goes on.
    Run,
    /// Rows may be sent from now on.
    Reserve,
    /// The last bytes of these rows' messages are about to leave.
    Intent,
    /// They did not: the messages of these rows were not taken.
    Release,
    /// A recipient was deferred and will be tried again.
    Attempt,
    /// A recipient has ended in this run.
    Outcome,
    /// Something of a later version that changes nothing here.
    Other,
}

/// A line, borrowed from where it was read.
#[derive(Debug, Deserialize)]
pub struct Line<'a> {
    /// Version of the format.
    v: u32,
    /// What it tells.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// When, as [`super::Clock`] writes it.
    #[serde(borrow)]
    pub time: Option<Text<'a>>,
    /// The run.
    pub run: Option<Text<'a>>,
    /// Digest of the table.
    pub source: Option<Text<'a>>,
    /// Digest of template and options.
    pub template: Option<Text<'a>>,
    /// Where the table comes from.
    pub name: Option<Text<'a>>,
    /// Mark of the time since the system has started.
    pub boot: Option<Text<'a>>,
    /// Rows, as `1-3,7`.
    pub rows: Option<Text<'a>>,
    /// The row, from 1; none for a single message.
    pub row: Option<u64>,
    /// With its angle brackets.
    pub message_id: Option<Text<'a>>,
    /// Who.
    pub recipient: Option<Text<'a>>,
    /// What became of it.
    #[serde(default, deserialize_with = "state")]
    pub state: Option<State>,
    /// How far it had gone.
    pub stage: Option<Text<'a>>,
    /// Of the reply that decided.
    pub code: Option<u16>,
    /// Enhanced status code.
    pub enhanced: Option<Text<'a>>,
    /// The reply's text.
    pub reply: Option<Text<'a>>,
    /// Attempts made.
    pub attempts: Option<u32>,
    /// By which server.
    pub server: Option<Text<'a>>,
    /// From taking the message in hand to this outcome.
    pub elapsed_ms: Option<u64>,
    /// What decided if no reply did.
    pub error: Option<Text<'a>>,
}

/// Text that is copied only where JSON has escaped something in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowing;
        impl<'de> Visitor<'de> for Borrowing {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrowing)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Text::deserialize(deserializer)?.as_str() {
            "run" => Kind::Run,
            "reserve" => Kind::Reserve,
            "intent" => Kind::Intent,
            "release" => Kind::Release,
            "attempt" => Kind::Attempt,
            "outcome" => Kind::Outcome,
            _ => Kind::Other,
        })
    }
}

fn state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<State>, D::Error> {
    let Some(word) = Option::<Text<'_>>::deserialize(deserializer)? else { return Ok(None) };
    let found = State::ALL.into_iter().find(|state| state.as_str() == word.as_str());
    found.map(Some).ok_or_else(|| D::Error::custom(format_args!("'{}' is no state", crate::mail::clean(word.as_str()))))
}

impl<'a> Line<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// With a clause for people.
    pub(super) fn parse(octets: &'a [u8]) -> Result<Self, String> {
        let line: Self = serde_json::from_slice(octets).map_err(|error| {
            // Its own position is of no use in a line of a file.
            let what = error.to_string();
            let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what);
            format!("this is no line of a ledger: {}", crate::mail::clean(what))
        })?;
        match line.v {
            VERSION => Ok(line),
            v => Err(format!("this was written by another version of mailsend, whose format is {v}, not {VERSION}")),
        }
    }

    /// The rows that the line names: `1-3,7`.
    ///
    /// # Errors
    /// With a clause for people, also where they are too many.
    pub(super) fn named_rows(&self) -> Result<Vec<RangeInclusive<u64>>, String> {
        let text = self.rows.as_ref().map(Text::as_str).unwrap_or_default();
        let mut left = MAX_ROWS;
        text.split(',')
            .map(|part| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let rows = first.parse::<u64>().ok().zip(last.parse::<u64>().ok());
                let (first, last) = rows.filter(|(first, last)| 0 < *first && first <= last)?;
                left = left.checked_sub(last - first)?.checked_sub(1)?;
                Some(first..=last)
            })
            .collect::<Option<_>>()
            .ok_or_else(|| format!("'{}' names no rows", crate::mail::clean(text)))
    }
}

/// Writes numbers of rows, in order, as `1-3,7`.
pub(super) fn write_rows(out: &mut Vec<u8>, rows: &[u64]) {
    let write = |out: &mut Vec<u8>, number: u64| {
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        let mut rest = number;
        while at == digits.len() || rest > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&digits[at..]);
    };
    for (number, range) in rows.chunk_by(|a, b| a.checked_add(1) == Some(*b)).enumerate() {
        if number > 0 {
            out.push(b',');
        }
        let (Some(&first), Some(&last)) = (range.first(), range.last()) else { continue };
        write(out, first);
        if last > first {
            out.push(b'-');
            write(out, last);
        }
    }
}

/// Reads a file line by line. What stands behind the last line end is torn, and nobody's.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    /// Octets of all whole lines so far, and of those before the last.
    end: u64,
    before: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads from its beginning.
    pub fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0, end: 0, before: 0 }
    }

    /// The next whole line.
    ///
    /// # Errors
    /// If the file cannot be read, or this is no line of a ledger.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, NoLine> {
        self.line.clear();
        let mut limited = Read::by_ref(&mut self.input).take(MAX_LINE);
        let length = limited.read_until(b'\n', &mut self.line).map_err(NoLine::File)? as u64;
        let Some((b'\n', line)) = self.line.split_last() else {
            return match length {
                MAX_LINE => Err(NoLine::Invalid("the line is too long for a ledger".to_owned())),
                _ => Ok(None),
            };
        };
        self.number += 1;
        self.before = self.end;
        self.end += length;
        Line::parse(line).map(Some).map_err(NoLine::Invalid)
    }

    /// Number of the line last read, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Octets of all whole lines so far.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether the line last read holds zeros, which nobody writes: they are a file system's word for octets that a loss
    /// of power has taken. Returns where the line began.
    pub fn lost_since(&self) -> Option<u64> {
        self.line.contains(&0).then_some(self.before)
    }
}

/// Why a line cannot be had.
#[derive(Debug)]
pub enum NoLine {
    /// The file cannot be read.
    File(std::io::Error),
    /// This is no line of a ledger; a clause for people.
    Invalid(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(text: &str) -> Result<Vec<u64>, String> {
        let line = format!("{{\"v\":1,\"type\":\"intent\",\"rows\":\"{text}\"}}");
        Ok(Line::parse(line.as_bytes())?.named_rows()?.into_iter().flatten().collect())
    }

    #[test]
    fn rows_that_are_none() {
        assert_eq!(rows("17,20-22").unwrap(), [17, 20, 21, 22]);
        for text in ["", "0", "0-3", "3-1", "1-", "-1", "a", "1,,2", "1-99999999999", "18446744073709551616"] {
            assert_eq!(rows(text).unwrap_err(), format!("'{text}' names no rows"));
        }
    }

    #[test]
    fn lines_that_are_none() {
        for (line, what) in [
            ("", "this is no line of a ledger: EOF"),
            ("{\"v\":1}", "this is no line of a ledger: missing field `type`"),
            ("[1]", "this is no line of a ledger: "),
            ("{\"v\":2,\"type\":\"run\"}", "this was written by another version of mailsend, whose format is 2, not 1"),
            ("{\"v\":1,\"type\":\"outcome\",\"state\":\"l\\u001bost\"}", "'l\u{FFFD}ost' is no state"),
            ("{\"v\":1,\"type\":\"outcome\",\"row\":-1}", "this is no line of a ledger: invalid value"),
        ] {
            let error = Line::parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(what), "{line}: {error}");
        }
        assert_eq!(Line::parse(b"{\"v\":1,\"type\":\"opened\",\"more\":{}}").unwrap().kind, Kind::Other);
    }

    #[test]
    fn a_line_without_end_is_refused_and_a_torn_one_is_nobody_s() {
        let long = vec![b' '; MAX_LINE as usize + 1];
        assert!(matches!(Lines::new(&long[..]).next_line(), Err(NoLine::Invalid(_))));
        let mut lines = Lines::new(&b"{\"v\":1,\"type\":\"intent\",\"rows\":\"1\"}\n{\"v\":1,"[..]);
        assert_eq!(lines.next_line().unwrap().unwrap().kind, Kind::Intent);
        assert!(lines.next_line().unwrap().is_none());
        assert_eq!((lines.number(), lines.end()), (1, 35));
    }

    proptest! {
        #[test]
        fn rows_come_back(numbers in proptest::collection::btree_set(1_u64..60, 1..30)) {
            let numbers: Vec<u64> = numbers.into_iter().collect();
            let mut text = Vec::new();
            write_rows(&mut text, &numbers);
            prop_assert_eq!(rows(std::str::from_utf8(&text).unwrap()).unwrap(), numbers);
        }
    }
}
