//! The log: a line for every recipient and outcome, in a file, with the system's logger or in systemd's journal.
//!
//! Mail never waits for it: lines are made here and written by a thread of their own, and where that is not possible it is
//! said once on standard error.

mod line;
mod writer;

use self::{line::Lines, writer::Writer};
use crate::{
    config::{LogTable, LogTarget},
    ledger::Fields,
    mail::State,
};

/// The log of this process. What is left is written when it is dropped, which takes a second at most.
pub struct Log {
    lines: Lines,
    writer: Writer,
    line: Vec<u8>,
}

impl Log {
    /// Opens it, if `[log]` names one. `tag` is the name of the program for the system's logger and for the journal; what
    /// would not be one there is left out.
    pub fn open(table: &LogTable, tag: &str) -> Option<Self> {
        let target = table.target.as_ref()?;
        Some(Self { lines: Lines::new(target, table.format, tag), writer: Writer::start(target), line: Vec::new() })
    }

    /// Writes a line.
    pub(super) fn write(&mut self, fields: &Fields<'_>, state: State) {
        self.line.clear();
        self.lines.write(fields, state, &mut self.line);
        self.writer.add(&self.line);
    }
}

/// The target as people name it.
fn name_of(target: &LogTarget) -> String {
    match target {
        LogTarget::File(path) => path.display().to_string(),
        LogTarget::Syslog => "syslog".to_owned(),
        LogTarget::Journal => "journal".to_owned(),
    }
}
