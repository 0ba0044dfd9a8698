//! What has gone wrong with which row, as the whole ledger tells.

use std::{
    collections::HashMap,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::BufReader,
    path::Path,
};

use super::{
    LedgerError,
    lines::{Kind, Line, Lines, NoLine},
};
use crate::mail::State;

/// The errors of rows with a recipient that is failed or deferred, and of those that could not be sent.
#[derive(Debug, Default)]
pub struct Errors(HashMap<u64, Vec<(u64, String)>>);

/// Reads them.
///
/// # Errors
/// If the ledger cannot be read.
pub fn errors(path: &Path) -> Result<Errors, LedgerError> {
    let fail = |error| LedgerError::File { path: path.to_owned(), error };
    let mut lines = Lines::new(BufReader::new(File::open(path).map_err(fail)?));
    let hasher = RandomState::new();
    let mut errors = Errors::default();
    loop {
        let line = match lines.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(errors),
            Err(NoLine::File(error)) => return Err(fail(error)),
            Err(NoLine::Invalid(what)) => {
                return Err(LedgerError::Invalid { path: path.to_owned(), line: lines.number(), what });
            }
        };
        if let (Kind::Attempt | Kind::Outcome, Some(row), Some(recipient)) = (line.kind, line.row, &line.recipient) {
            errors.note(row, hasher.hash_one(recipient.as_str()), error_of(&line));
        }
    }
}

/// What is wrong, if anything is that the row should be looked at for.
fn error_of(line: &Line<'_>) -> Option<String> {
    let recipient = line.recipient.as_ref().map_or("", |recipient| recipient.as_str());
    let is_wrong = match line.state? {
        State::Failed | State::Deferred => true,
        // A row that cannot be sent names nobody; what is skipped for another reason does.
        State::Skipped => recipient.is_empty(),
        State::Accepted | State::Unknown => false,
    };
    let text = |text: &Option<super::lines::Text<'_>>| text.as_ref().map(|text| text.as_str().to_owned());
    let why = text(&line.error).or_else(|| Some(format!("{} {}", line.code?, text(&line.reply)?)));
    let why = why.unwrap_or_else(|| line.state.map_or("", State::as_str).to_owned());
    is_wrong.then(|| if recipient.is_empty() { why } else { format!("{recipient}: {why}") })
}

impl Errors {
    fn note(&mut self, row: u64, recipient: u64, error: Option<String>) {
        if let Some(error) = error {
            let all = self.0.entry(row).or_default();
            all.retain(|(other, _)| *other != recipient);
            all.push((recipient, error));
        } else if let Some(all) = self.0.get_mut(&row) {
            all.retain(|(other, _)| *other != recipient);
        }
    }

    /// The errors of a row, in one line, if there are any.
    pub fn take(&mut self, row: u64) -> Option<String> {
        let all = self.0.remove(&row)?;
        let errors: Vec<String> = all.into_iter().map(|(_, error)| error).collect();
        Some(errors.join("; ")).filter(|errors| !errors.is_empty())
    }
}
