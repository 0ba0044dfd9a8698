//! A ledger, or the records of single messages, read back to what they came to.

use std::{
    fmt,
    fs::File,
    io::{BufReader, Read, Seek},
    path::Path,
};

use jiff::Timestamp;

use super::{Tally, tally::Seen};
use crate::{
    ledger::{Kind, LedgerError, Line, Lines, NoLine, Past, Text, boot},
    mail::{State, clean},
};

/// Recipients in doubt that a summary names.
const NAMED: usize = 20;

/// What a file tells.
#[derive(Debug, Default)]
pub struct Reading {
    /// What it came to.
    pub tally: Tally,
    /// The name of the run, empty for single messages.
    pub run: String,
    /// Time of the first line, in milliseconds since 1970.
    pub first: Option<u64>,
    /// Time of the last line.
    pub last: Option<u64>,
    /// The first of those of whom nobody can know what became, as lines.
    pub unknown: Vec<String>,
}

/// A recipient, or a row of which no recipient is named or not all are, as a file has it in the end.
#[derive(Debug)]
pub struct Found<'a> {
    /// The row.
    pub row: Option<u64>,
    /// What became of it.
    pub state: State,
    /// The last line about it; none where there is only an intent or a reservation.
    pub line: Option<&'a Line<'a>>,
    /// Other recipients of the row are named.
    pub is_part: bool,
}

impl Reading {
    /// Reads a file, also while a run still writes it, and shows everybody in it to `each`. A torn last line is passed
    /// over; of a run, the last line about a row's recipient is the one that counts.
    ///
    /// # Errors
    /// If the file cannot be read or is no ledger.
    pub fn new(path: &Path, mut each: impl FnMut(&Found<'_>)) -> Result<Self, LedgerError> {
        let failed = |error| LedgerError::File { path: path.to_owned(), error };
        let mut file = File::open(path).map_err(failed)?;
        let mut past = Past::default();
        let end = lines(path, &file, |line| past.note(line))?;
        let partly: Vec<u64> = past.partly_named().collect();
        past.begin(boot().as_deref());
        file.rewind().map_err(failed)?;
        let mut reading = Self { run: past.run().to_owned(), ..Self::default() };
        lines(path, file.take(end), |line| {
            let time = reading.pass(line);
            if let Some(state) = past.last_word(line) {
                match line.state == Some(state) {
                    true => reading.tally.add(&seen(line, state, time)),
                    false => reading.tally.doubted(1),
                }
                reading.found(&Found { row: line.row, state, line: Some(line), is_part: false }, &mut each);
            }
            Ok(())
        })?;
        let partly = partly.into_iter().map(|row| (row, true));
        for (row, is_part) in past.unnamed().map(|row| (row, false)).chain(partly) {
            reading.tally.doubted(1);
            reading.found(&Found { row: Some(row), state: State::Unknown, line: None, is_part }, &mut each);
        }
        Ok(reading)
    }

    /// Takes the time of a line, or of the one before.
    fn pass(&mut self, line: &Line<'_>) -> u64 {
        let time = line.time.as_ref().and_then(|time| time.as_str().parse::<Timestamp>().ok());
        let Some(time) = time.and_then(|time| u64::try_from(time.as_millisecond()).ok()) else {
            return self.last.unwrap_or(0);
        };
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = self.last.max(Some(time));
        match line.kind {
            Kind::Run => self.tally.begin_at(time),
            Kind::Attempt => self.tally.repeat(time, line.code, text_of(&line.stage)),
            _ => self.tally.pass(time),
        }
        time
    }

    fn found(&mut self, found: &Found<'_>, each: &mut impl FnMut(&Found<'_>)) {
        if found.state == State::Unknown && self.unknown.len() < NAMED {
            self.unknown.push(found.to_string());
        }
        each(found);
    }
}

/// Gives each whole line away; returns the number of octets they have.
fn lines(
    path: &Path,
    input: impl Read,
    mut each: impl FnMut(&Line<'_>) -> Result<(), String>,
) -> Result<u64, LedgerError> {
    let mut lines = Lines::new(BufReader::with_capacity(1 << 16, input));
    loop {
        let what = match lines.next_line() {
            Ok(None) => return Ok(lines.end()),
            Ok(Some(line)) => match each(&line) {
                Ok(()) => continue,
                Err(what) => what,
            },
            Err(NoLine::File(error)) => return Err(LedgerError::File { path: path.to_owned(), error }),
            Err(NoLine::Invalid(what)) => match lines.lost_since() {
                Some(end) => return Ok(end),
                None => what,
            },
        };
        return Err(LedgerError::Invalid { path: path.to_owned(), line: lines.number(), what });
    }
}

fn seen<'a>(line: &'a Line<'_>, state: State, time: u64) -> Seen<'a> {
    Seen {
        time,
        recipient: text_of(&line.recipient),
        state,
        stage: text_of(&line.stage),
        code: line.code,
        text: said(line),
        elapsed_ms: line.elapsed_ms.unwrap_or(0),
        attempts: line.attempts,
    }
}

fn said<'a>(line: &'a Line<'_>) -> &'a str {
    match text_of(&line.error) {
        "" => text_of(&line.reply),
        error => error,
    }
}

fn text_of<'a>(text: &'a Option<Text<'_>>) -> &'a str {
    text.as_ref().map(Text::as_str).unwrap_or_default()
}

impl Found<'_> {
    /// The same for programs, with the fields of a record.
    pub fn json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({ "row": self.row, "state": self.state.as_str() });
        if let Some(line) = self.line {
            json["message_id"] = text_of(&line.message_id).into();
            json["recipient"] = text_of(&line.recipient).into();
            json["attempts"] = line.attempts.into();
        }
        // What was said before it was sent again is no reason of anything.
        if let Some(line) = self.line.filter(|line| line.state == Some(self.state)) {
            json["time"] = text_of(&line.time).into();
            json["stage"] = text_of(&line.stage).into();
            json["code"] = line.code.into();
            json["enhanced"] = line.enhanced.as_ref().map(Text::as_str).into();
            json["reply"] = line.reply.as_ref().map(Text::as_str).into();
            json["server"] = text_of(&line.server).into();
            json["error"] = line.error.as_ref().map(Text::as_str).into();
        }
        json
    }
}

impl fmt::Display for Found<'_> {
    /// `row 17: failed b@y.example: 550 5.1.1 no such user (at RCPT)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(row) = self.row {
            write!(f, "row {row}: ")?;
        }
        let Some(line) = self.line else {
            let who = if self.is_part { ", some recipients" } else { "" };
            return write!(f, "{}{who}: it was on its way, and no outcome was written", self.state);
        };
        write!(f, "{}", self.state)?;
        // A row that could not be sent names nobody.
        if !text_of(&line.recipient).is_empty() {
            write!(f, " {}", clean(text_of(&line.recipient)))?;
        }
        if line.state != Some(self.state) {
            write!(f, ": it was on its way again, and no outcome was written")?;
        } else {
            match (text_of(&line.error), line.code, said(line)) {
                ("", Some(code), said) => write!(f, ": {code} {}", clean(said))?,
                (.., "") => {}
                (.., said) => write!(f, ": {}", clean(said))?,
            }
            if self.state != State::Accepted && line.error.is_none() && line.stage.is_some() {
                write!(f, " (at {})", clean(text_of(&line.stage)).to_uppercase())?;
            }
        }
        match &line.message_id {
            Some(id) if self.state == State::Unknown => write!(f, "; look for {} at the server", clean(id.as_str())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(text: &str) -> (Reading, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        fs::write(&path, text).unwrap();
        let mut found = Vec::new();
        let reading = Reading::new(&path, |one| found.push(one.to_string())).unwrap();
        (reading, found)
    }

    fn outcome(kind: &str, row: &str, recipient: &str, state: &str, code: &str) -> String {
        format!(
            "{{\"v\":1,\"type\":\"{kind}\",\"time\":\"2026-11-23T04:00:01.000Z\",\"run\":\"r\",\"row\":{row},\
             \"message_id\":\"<m@x>\",\"recipient\":\"{recipient}\",\"state\":\"{state}\",\"stage\":\"rcpt\",\
             \"code\":{code},\"reply\":\"said\",\"error\":null,\"elapsed_ms\":5}}\n"
        )
    }

    #[test]
    fn the_last_line_counts_and_doubt_is_named() {
        let run = "{\"v\":1,\"type\":\"run\",\"time\":\"2026-11-23T04:00:00.000Z\",\"run\":\"r\"}\n";
        let text = [
            run,
            "{\"v\":1,\"type\":\"intent\",\"rows\":\"1-4\"}\n",
            &outcome("attempt", "1", "a@x.example", "deferred", "450"),
            &outcome("outcome", "2", "b@x.example", "deferred", "450"),
            &outcome("outcome", "4", "d@x.example", "deferred", "450"),
            run,
            "{\"v\":1,\"type\":\"intent\",\"rows\":\"1,2\"}\n",
            &outcome("outcome", "1", "a@x.example", "accepted", "250"),
            "{\"v\":1,\"type\":\"release\",\"rows\":\"1\"}\n",
            &outcome("outcome", "null", "s@x.example", "failed", "550"),
            "{\"v\":1,\"type\":\"outc",
        ]
        .concat();
        let (reading, found) = read(&text);
        assert_eq!(
            found,
            [
                "row 2: unknown b@x.example: it was on its way again, and no outcome was written; look for <m@x> at the server",
                "row 4: deferred d@x.example: 450 said (at RCPT)",
                "row 1: accepted a@x.example: 250 said",
                "failed s@x.example: 550 said (at RCPT)",
                "row 3: unknown: it was on its way, and no outcome was written",
            ]
        );
        let counts = reading.tally.counts();
        assert_eq!((counts.accepted, counts.deferred, counts.failed, counts.unknown), (1, 1, 1, 2));
        assert_eq!((reading.unknown.len(), reading.run.as_str()), (2, "r"));
        assert_eq!(reading.last.unwrap() - reading.first.unwrap(), 1000);
        assert_eq!(reading.tally.json()["repeats"], 1);
    }

    #[test]
    fn a_row_with_an_intent_and_only_some_outcomes() {
        let run = "{\"v\":1,\"type\":\"run\",\"time\":\"2026-11-23T04:00:00.000Z\",\"run\":\"r\"}\n";
        let text = [
            run,
            "{\"v\":1,\"type\":\"intent\",\"rows\":\"1-3\"}\n",
            &outcome("outcome", "1", "a@x.example", "failed", "550"),
            &outcome("outcome", "2", "b@x.example", "accepted", "250"),
            "{\"v\":1,\"type\":\"release\",\"rows\":\"2\"}\n",
            &outcome("attempt", "3", "c@x.example", "deferred", "450"),
            "{\"v\":1,\"type\":\"intent\",\"rows\":\"3\"}\n",
        ]
        .concat();
        let (reading, found) = read(&text);
        assert_eq!(
            found.last().unwrap(),
            "row 1: unknown, some recipients: it was on its way, and no outcome was written"
        );
        // The third row is in doubt with the recipient that is named.
        assert_eq!((found.len(), reading.tally.counts().unknown, reading.unknown.len()), (4, 2, 2));
        // Whoever goes on tells of everybody in doubt by name.
        let gone_on = [text.as_str(), run, &outcome("outcome", "1", "z@x.example", "unknown", "null")].concat();
        assert_eq!(read(&gone_on).0.tally.counts().unknown, 2);
    }

    #[test]
    fn a_row_that_could_not_be_sent_may_be_later() {
        let run = "{\"v\":1,\"type\":\"run\",\"time\":\"2026-11-23T04:00:00.000Z\",\"run\":\"r\"}\n";
        let bad =
            "{\"v\":1,\"type\":\"outcome\",\"row\":1,\"recipient\":\"\",\"state\":\"skipped\",\"error\":\"no to\"}\n";
        let (reading, found) = read(&[run, bad].concat());
        assert_eq!((found, reading.tally.counts().skipped), (vec!["row 1: skipped: no to".to_owned()], 1));
        let (reading, found) =
            read(&[run, bad, bad, run, &outcome("outcome", "1", "a@x.example", "accepted", "250")].concat());
        assert_eq!(found, ["row 1: accepted a@x.example: 250 said"]);
        assert_eq!((reading.tally.counts().skipped, reading.tally.counts().total()), (0, 1));
    }

    #[test]
    fn records_without_a_run_stand_for_themselves() {
        let one = outcome("outcome", "1", "a@x.example", "accepted", "250");
        let (reading, found) = read(&[one.as_str(), &one].concat());
        assert_eq!((found.len(), reading.tally.counts().accepted), (2, 2));
        assert_eq!(read("").0.tally.counts().total(), 0);
    }
}
