//! The ledger of a batch: what was intended and what came of it, one JSON object per line, readable by a second run.
//!
//! A store: it decides nothing and shows nothing. Each line has `v` and `type`:
//!
//! | type | what it tells |
//! |---|---|
//! | `run` | a run begins or goes on: digests of its rows and its message, and since which start of the system |
//! | `reserve` | these rows may be sent from now on; on disk before they are |
//! | `intent` | the last bytes of these rows' messages are about to leave; written before they do |
//! | `release` | they were not taken, through no fault of theirs: as if there had been no intent |
//! | `attempt` | a [`Record`]: a recipient was deferred and will be tried again |
//! | `outcome` | a [`Record`]: a recipient has ended in this run |
//!
//! Whoever dies between intent and outcome leaves a message of which nobody can know whether it was sent. What was written
//! outlives the death of a process; a loss of power takes what was not synced, so that after one every reserved row
//! without an outcome is in doubt.

mod errors;
mod folder;
mod lines;
mod past;
mod record;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

pub use errors::{Errors, errors};
pub use folder::{folder, fresh, latest, latest_of};
pub use lines::{Kind, Line, Lines, NoLine, Text};
pub use past::{Counts, Past};
pub use record::{Clock, Record};
pub(crate) use record::{Columns, Fields, beginning, skipped};

use crate::{
    mail::{Cause, Stage, Trouble},
    message::Stamp,
    secret::private,
};

/// Version of the format: it changes when a field changes its meaning, not when one is added.
const VERSION: u32 = 1;

/// What makes a run the same run: its rows and its message.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Digest of the table.
    pub source: String,
    /// Digest of template and options.
    pub template: String,
    /// Where the table comes from, as text; empty if nobody knows. It tells what is meant, and may change.
    pub name: String,
}

/// A ledger that is written to; nobody else can while it is open.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    run: String,
    noted: Vec<u8>,
    /// Octets of the whole lines that are in the file.
    length: u64,
    /// Whether the file may hold more than them.
    is_torn: bool,
    clock: Clock,
}

impl Ledger {
    /// Begins a ledger where there is none; an empty file is none.
    ///
    /// # Errors
    /// If there is one, or the file cannot be created.
    pub fn create(path: &Path, facts: &Facts) -> Result<Self, LedgerError> {
        let file = open(path)?;
        let length = file.metadata().map_err(|error| LedgerError::file(path, error))?.len();
        if length > 0 {
            return Err(LedgerError::Exists(path.to_owned()));
        }
        Self::begin(path, file, 0, Stamp::now().mark(), facts)
    }

    /// Goes on with a ledger, or begins it where there is none. A torn last line is dropped.
    ///
    /// # Errors
    /// If another run has it, if it is no ledger, or if facts have changed and it is not forced.
    pub fn resume(path: &Path, facts: &Facts, is_forced: bool) -> Result<(Self, Past), LedgerError> {
        let file = open(path)?;
        let (past, length) = begun(path, &file, facts, is_forced)?;
        let run = if length == 0 { Stamp::now().mark() } else { past.run().to_owned() };
        Ok((Self::begin(path, file, length, run, facts)?, past))
    }

    /// Writes the line of the run behind the whole lines of the file, and sees to it that the file outlives a loss of
    /// power.
    fn begin(path: &Path, file: File, length: u64, run: String, facts: &Facts) -> Result<Self, LedgerError> {
        let mut ledger = Self { file, run, noted: Vec::new(), length, is_torn: true, clock: Clock::default() };
        let line = serde_json::json!({
            "v": VERSION,
            "type": "run",
            "time": ledger.clock.now(),
            "run": ledger.run,
            "source": facts.source,
            "template": facts.template,
            "name": Some(&facts.name).filter(|name| !name.is_empty()),
            "boot": boot(),
            "version": env!("CARGO_PKG_VERSION"),
        });
        ledger.noted.extend_from_slice(line.to_string().as_bytes());
        ledger.noted.push(b'\n');
        let written = ledger.file.set_len(length).and_then(|()| ledger.write());
        let synced = written.and_then(|()| ledger.file.sync_all()).and_then(|()| private::sync_folder(path));
        synced.map(|()| ledger).map_err(|error| LedgerError::file(path, error))
    }

    /// The name of the run, the same for all that go on with it: 20 characters from 0-9 and a-v.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Notes that these rows may be sent from now on; to be written and synced before they are. A row that is tried
    /// again is reserved again.
    pub fn reserve(&mut self, rows: &[u64]) {
        self.note_rows("reserve", rows);
    }

    /// Notes that the last bytes of these rows' messages are about to leave; to be written before they do.
    pub fn intent(&mut self, rows: &[u64]) {
        self.note_rows("intent", rows);
    }

    /// Takes the intent back for all recipients of these rows that have no outcome: their messages were not taken, and
    /// no attempt is counted.
    pub fn release(&mut self, rows: &[u64]) {
        self.note_rows("release", rows);
    }

    /// Notes an attempt that deferred a recipient who will be tried again.
    pub fn attempt(&mut self, record: &Record<'_>) {
        self.note_record("attempt", record);
    }

    /// Notes how a recipient has ended in this run.
    pub fn outcome(&mut self, record: &Record<'_>) {
        self.note_record("outcome", record);
    }

    /// Notes that a row is not sent, whoever its recipients are, and why.
    pub fn skipped(&mut self, row: u64, why: &str) {
        let trouble = Trouble::new(Stage::Compose, Cause::Input, why);
        skipped(&self.run, row, &trouble, self.clock.now()).write_json(&mut self.noted);
        self.noted.push(b'\n');
    }

    fn note_rows(&mut self, kind: &str, rows: &[u64]) {
        let mut sorted = rows.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        for rows in sorted.chunks(lines::MAX_WRITTEN_ROWS) {
            for part in ["{\"v\":1,\"type\":\"", kind, "\",\"rows\":\""] {
                self.noted.extend_from_slice(part.as_bytes());
            }
            lines::write_rows(&mut self.noted, rows);
            self.noted.extend_from_slice(b"\"}\n");
        }
    }

    fn note_record(&mut self, kind: &'static str, record: &Record<'_>) {
        record.fields(kind, self.clock.now()).write_json(&mut self.noted);
        self.noted.push(b'\n');
    }

    /// Whether something was noted that is not written yet.
    pub fn has_notes(&self) -> bool {
        !self.noted.is_empty()
    }

    /// Writes everything noted since the last call, with one write(2).
    ///
    /// # Errors
    /// Of the write, such as a full disk. Whole lines that were written stay; a part of one is taken back, and what is
    /// not in the file is kept for another try.
    pub fn write(&mut self) -> io::Result<()> {
        if self.is_torn {
            // What is torn is the beginning of what is noted: if it cannot be cut off, it is written over.
            self.file.seek(SeekFrom::Start(self.length))?;
        }
        let (written, error) = write(&mut self.file, &self.noted);
        let whole = memchr::memrchr(b'\n', &self.noted[..written]).map_or(0, |at| at + 1);
        self.noted.drain(..whole);
        self.length += whole as u64;
        self.is_torn = error.is_some();
        let Some(error) = error else { return Ok(()) };
        // The first error is the one to tell; a torn line is no harm to a reader.
        let _ = self.file.set_len(self.length);
        Err(error)
    }

    /// The file, for fdatasync on a thread that may block.
    ///
    /// # Errors
    /// Of the system.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Writes as much as goes, and says how much that was.
fn write(file: &mut impl Write, octets: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < octets.len() {
        match file.write(&octets[written..]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(length) => written += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// Opens a file that only its owner can use, and locks it.
fn open(path: &Path) -> Result<File, LedgerError> {
    let fail = |error| LedgerError::file(path, error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // A device or a pipe cannot be read again, and opening it may wait for ever.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(fail(io::Error::other("it is no regular file, so that no second run could read it")));
    }
    let file = options.open(path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(fail(error)),
    }
}

/// Reads what is there; returns it with the number of octets that are whole.
fn read(path: &Path, file: &File, boot: Option<&str>) -> Result<(Past, u64), LedgerError> {
    let mut lines = Lines::new(BufReader::with_capacity(1 << 16, file));
    let mut past = Past::default();
    loop {
        match lines.next_line() {
            Ok(None) => return Ok((past, lines.end())),
            Ok(Some(line)) => {
                let noted = past.note(&line);
                noted.map_err(|what| LedgerError::invalid(path, lines.number(), what))?;
            }
            Err(NoLine::File(error)) => return Err(LedgerError::file(path, error)),
            Err(NoLine::Invalid(what)) => match lines.lost_since() {
                // Nothing behind it was synced, or it would be there: rows reserved before are in doubt, none since.
                Some(end) if past.is_of_another_boot(boot) => return Ok((past, end)),
                _ => return Err(LedgerError::invalid(path, lines.number(), what)),
            },
        }
    }
}

/// What [`Ledger::resume`] would go on with: nothing is written, and nobody kept out.
///
/// # Errors
/// If the file cannot be read, is no ledger, or if facts have changed and it is not forced.
pub fn past(path: &Path, facts: &Facts, is_forced: bool) -> Result<Past, LedgerError> {
    match File::open(path) {
        Ok(file) => begun(path, &file, facts, is_forced).map(|(past, _)| past),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Past::default()),
        Err(error) => Err(LedgerError::file(path, error)),
    }
}

/// What a run that goes on with this file finds, with the number of octets that are whole.
fn begun(path: &Path, file: &File, facts: &Facts, is_forced: bool) -> Result<(Past, u64), LedgerError> {
    let boot = boot();
    let (mut past, length) = read(path, file, boot.as_deref())?;
    if length > 0 && past.run().is_empty() {
        return Err(LedgerError::invalid(path, 1, "no run begins here: these are not the records of a batch"));
    }
    if length > 0 && !is_forced {
        past_is_of(&past, facts)?;
    }
    past.begin(boot.as_deref());
    Ok((past, length))
}

fn past_is_of(past: &Past, facts: &Facts) -> Result<(), LedgerError> {
    let what = match (past.source() == facts.source, past.template() == facts.template) {
        (true, true) => return Ok(()),
        (false, true) => "the source has changed since the run began",
        (true, false) => "the template or an option of the message has changed since the run began",
        (false, false) => "the source and the template, or options of the message, have changed since the run began",
    };
    Err(LedgerError::Changed { what: what.to_owned() })
}

/// A mark of the time since the system has started, where it has one.
pub fn boot() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
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
    /// It is no ledger, or one of another version (exit 65).
    #[error("{}, line {line}: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// Why.
        what: String,
    },
    /// The file cannot be created, read or written (exit 73).
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// There is no folder for it: neither XDG_STATE_HOME nor HOME is set (exit 78).
    #[error("there is no place for the ledger: neither XDG_STATE_HOME nor HOME is set")]
    NoPlace,
}

impl LedgerError {
    fn file(path: &Path, error: io::Error) -> Self {
        LedgerError::File { path: path.to_owned(), error }
    }

    fn invalid(path: &Path, line: u64, what: impl Into<String>) -> Self {
        LedgerError::Invalid { path: path.to_owned(), line, what: what.into() }
    }
}
