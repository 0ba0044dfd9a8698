//! What has gone wrong with which row, as the whole ledger tells.

use std::{
    collections::BTreeMap,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{BufReader, Seek, SeekFrom},
    path::Path,
};

use super::{
    LedgerError,
    lines::{Kind, Line, Lines, NoLine},
};
use crate::mail::State;

/// The errors of rows with a recipient that is failed or deferred, and of those that could not be sent. What they say
/// stays in the file until it is asked for.
#[derive(Debug)]
pub struct Errors {
    file: BufReader<File>,
    /// Where the last line about a recipient begins, by row and hash.
    found: BTreeMap<(u64, u64), u64>,
}

/// Reads them.
///
/// # Errors
/// If the ledger cannot be read.
pub fn errors(path: &Path) -> Result<Errors, LedgerError> {
    let fail = |error| LedgerError::File { path: path.to_owned(), error };
    let mut lines = Lines::new(BufReader::with_capacity(1 << 16, File::open(path).map_err(fail)?));
    let hasher = RandomState::new();
    let mut found = BTreeMap::new();
    loop {
        let start = lines.end();
        let line = match lines.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(NoLine::File(error)) => return Err(fail(error)),
            Err(NoLine::Invalid(what)) => {
                return Err(LedgerError::Invalid { path: path.to_owned(), line: lines.number(), what });
            }
        };
        if let (Kind::Attempt | Kind::Outcome, Some(row), Some(recipient)) = (line.kind, line.row, &line.recipient) {
            let key = (row, hasher.hash_one(recipient.as_str()));
            match is_wrong(&line) {
                true => found.insert(key, start),
                false => found.remove(&key),
            };
        }
    }
    let file = BufReader::new(File::open(path).map_err(fail)?);
    Ok(Errors { file, found })
}

/// Whether the row should be looked at.
fn is_wrong(line: &Line<'_>) -> bool {
    match line.state {
        Some(State::Failed | State::Deferred) => true,
        // A row that cannot be sent names nobody; what is skipped for another reason does.
        Some(State::Skipped) => line.recipient.as_ref().is_none_or(|recipient| recipient.as_str().is_empty()),
        Some(State::Accepted | State::Unknown | State::Queued) | None => false,
    }
}

/// What is wrong.
fn error_of(line: &Line<'_>) -> String {
    let recipient = line.recipient.as_ref().map_or("", |recipient| recipient.as_str());
    let text = |text: &Option<super::lines::Text<'_>>| text.as_ref().map(|text| text.as_str().to_owned());
    let why = text(&line.error).or_else(|| Some(format!("{} {}", line.code?, text(&line.reply)?)));
    let why = why.unwrap_or_else(|| line.state.map_or("", State::as_str).to_owned());
    if recipient.is_empty() { why } else { format!("{recipient}: {why}") }
}

impl Errors {
    /// The errors of a row in the order of their lines, in one line, if there are any.
    pub fn take(&mut self, row: u64) -> Option<String> {
        let keys = self.found.range((row, 0)..=(row, u64::MAX));
        let mut starts: Vec<((u64, u64), u64)> = keys.map(|(key, start)| (*key, *start)).collect();
        starts.sort_unstable_by_key(|(_, start)| *start);
        let errors: Vec<String> = starts
            .into_iter()
            .map(|(key, start)| {
                self.found.remove(&key);
                self.read(start).unwrap_or_else(|error| format!("the ledger cannot be read again: {error}"))
            })
            .collect();
        Some(errors.join("; ")).filter(|errors| !errors.is_empty())
    }

    /// What the line that begins there says.
    fn read(&mut self, start: u64) -> Result<String, String> {
        self.file.seek(SeekFrom::Start(start)).map_err(|error| error.to_string())?;
        match Lines::new(&mut self.file).next_line() {
            Ok(Some(line)) => Ok(error_of(&line)),
            Ok(None) => Err("it has become shorter".to_owned()),
            Err(NoLine::File(error)) => Err(error.to_string()),
            Err(NoLine::Invalid(what)) => Err(what),
        }
    }
}
