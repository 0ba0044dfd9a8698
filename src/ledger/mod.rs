//! The ledger of a batch: what was intended and what came of it, one JSON object per line, readable by a second run.
//!
//! A store: it decides nothing and shows nothing.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::mail::{Address, Outcome, Route, State};

/// What makes a run the same run: its rows and its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Digest of the table.
    pub source: String,
    /// Digest of template and options.
    pub template: String,
}

/// A ledger that is written to; nobody else can while it is open.
#[derive(Debug)]
pub struct Ledger {}

/// What an earlier run has left.
#[derive(Debug, Default)]
pub struct Past {}

impl Ledger {
    /// Begins a ledger where there is none.
    ///
    /// # Errors
    /// If there is one, or the file cannot be created.
    pub fn create(_path: &Path, _facts: &Facts) -> Result<Self, LedgerError> {
        todo!()
    }

    /// Goes on with a ledger, or begins it where there is none. A torn last line is dropped.
    ///
    /// # Errors
    /// If another run has it, if it is no ledger, or if facts have changed and it is not forced.
    pub fn resume(_path: &Path, _facts: &Facts, _is_forced: bool) -> Result<(Self, Past), LedgerError> {
        todo!()
    }

    /// The name of the run, the same for all that go on with it.
    pub fn run(&self) -> &str {
        todo!()
    }

    /// Notes that these rows may be sent from now on; to be written and synced before they are.
    pub fn reserve(&mut self, _rows: &[u64]) {
        todo!()
    }

    /// Notes that the last bytes of these rows' messages are about to leave; to be written before they do.
    pub fn intent(&mut self, _rows: &[u64]) {
        todo!()
    }

    /// Notes an attempt that deferred a recipient who will be tried again.
    pub fn attempt(&mut self, _record: &Record<'_>) {
        todo!()
    }

    /// Notes how a recipient has ended in this run.
    pub fn outcome(&mut self, _record: &Record<'_>) {
        todo!()
    }

    /// Writes everything noted since the last call, with one write(2).
    ///
    /// # Errors
    /// Of the write; what was noted is kept for another try, and a part that was written is taken back first.
    pub fn write(&mut self) -> io::Result<()> {
        todo!()
    }

    /// The file, for fdatasync on a thread that may block.
    ///
    /// # Errors
    /// Of the system.
    pub fn file(&self) -> io::Result<File> {
        todo!()
    }
}

impl Past {
    /// What became of this recipient of this row, if it was begun: deferred means that it was tried and may be again,
    /// unknown that an intent, or after a loss of power a reserved row, has no outcome.
    pub fn of(&self, _row: u64, _recipient: &Address) -> Option<State> {
        todo!()
    }
}

/// An outcome as it is recorded, borrowed from where it is. Its fields are part of the contract.
#[derive(Debug)]
pub struct Record<'a> {
    /// The run.
    pub run: &'a str,
    /// The row, from 1; none for a single message.
    pub row: Option<u64>,
    /// With its angle brackets.
    pub message_id: &'a str,
    /// The return path; none for `<>`.
    pub from: Option<&'a Address>,
    /// What became of whom.
    pub outcome: &'a Outcome,
    /// By which way.
    pub route: &'a Route,
    /// Attempts made.
    pub attempts: u32,
}

/// Why a ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// There is one already (exit 64).
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// Another run writes it (exit 75).
    #[error("{} is written by another run", .0.display())]
    Locked(PathBuf),
    /// The rows or the message are others than those of the run (exit 65).
    #[error("{what}")]
    Changed {
        /// What has changed.
        what: String,
    },
    /// It is no ledger, or one of a newer version (exit 65).
    #[error("{}, line {line}: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// Why.
        what: String,
    },
    /// The file cannot be created, read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}
