//! The embedded queue: one SQLite file that any number of processes add to and drain.
//!
//! | table | a row |
//! |---|---|
//! | `job` | a message: where it stands, whose it is, when it is due |
//! | `content` | its octets, up to 64 KiB; larger ones are a file in the folder `<queue file>.d` |
//! | `recipient` | a recipient, and what was last heard of them |
//! | `removed` | the key of a message that was taken away: who adds it again has it already |
//!
//! What was written outlives the death of its process. What has to outlive a loss of power, too, is synced: that a
//! message was added, and that a worker has it. Intents and outcomes are not, so that after a loss of power they may be
//! lost: a lease carries the mark of the system's start, and one of another start counts as one with an intent.

mod adding;
mod deciding;
mod leases;
mod looking;
mod schema;
mod settling;
#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    fs, io,
    ops::Deref,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, Params};

use super::{QueueError, Time, Worker, worker};
use crate::{ledger, message::Stamp, secret::private};

pub use adding::{Added, First};

/// Octets that the write-ahead log keeps when it begins anew.
const JOURNAL_LIMIT: i64 = 16 << 20;
/// Beyond so many octets the log has not begun anew for long, since there was always somebody who read or wrote.
const JOURNAL_TOO_LONG: u64 = 64 << 20;

/// How long a checkpoint waits for readers while everybody waits for it.
const BRIEFLY: Duration = Duration::from_millis(50);

/// The queue of one user on one machine.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    folder: PathBuf,
    boot: Option<String>,
    stamp: Stamp,
    /// Nothing was written that a loss of power could take.
    is_synced: Cell<bool>,
    /// What the connection is set to.
    durability: Cell<Durability>,
    /// Files of messages that have ended. They go once that is synced.
    ended: Vec<PathBuf>,
    /// Files without a message were looked for.
    is_swept: bool,
    /// The places whose messages are not claimed, in a JSON array.
    passed_over: Vec<String>,
    /// What `data_version` was last.
    seen: i64,
}

/// How much a transaction outlives.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Durability {
    /// The death of the process.
    Written,
    /// A loss of power.
    Synced,
}

/// What belongs together. Unlike rusqlite's it keeps its own statements prepared.
struct Transaction<'a> {
    connection: &'a Connection,
}

impl<'a> Transaction<'a> {
    fn begin(connection: &'a Connection, begin: &str) -> rusqlite::Result<Self> {
        connection.prepare_cached(begin)?.execute([])?;
        Ok(Self { connection })
    }

    fn commit(self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("COMMIT")?.execute([]).map(drop)
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // After its end, and after some errors, there is none any more.
        if !self.connection.is_autocommit() {
            // SQLite takes back what is left open.
            let _ = self.connection.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([]));
        }
    }
}

/// Why a transaction has not come to its end.
enum Fault {
    Sql(rusqlite::Error),
    Told(QueueError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Sql(error)
    }
}

impl From<QueueError> for Fault {
    fn from(error: QueueError) -> Self {
        Fault::Told(error)
    }
}

impl Store {
    /// Opens it, and makes it where there is none.
    ///
    /// # Errors
    /// If it cannot be used; see [`QueueError`].
    pub fn open(path: &Path) -> Result<Self, QueueError> {
        // Elsewhere it would be another file once the working directory has changed; and SQLite reads `file:` as a URI.
        let path = std::path::absolute(path).map_err(|error| file_error(path, &error, false))?;
        let folder = private::beside(&path, ".d");
        let connection = schema::open(&path, &folder)?;
        Ok(Self {
            connection,
            path,
            folder,
            boot: ledger::boot(),
            stamp: Stamp::now(),
            is_synced: Cell::new(true),
            durability: Cell::new(Durability::Written),
            ended: Vec::new(),
            is_swept: false,
            passed_over: Vec::new(),
            seen: 0,
        })
    }

    /// Registers somebody who drains it: for as long as there is something due, or lastingly.
    ///
    /// # Errors
    /// If its file cannot be made.
    pub fn worker(&self, is_lasting: bool) -> Result<Worker, QueueError> {
        Worker::new(&workers(&self.folder), is_lasting).map_err(|error| file_error(&self.path, &error, false))
    }

    /// Whether somebody drains the queue of this file lastingly. Opens no database.
    pub fn has_worker(path: &Path) -> bool {
        worker::has_lasting(&workers(&private::beside(path, ".d")))
    }

    /// Whether somebody else has changed something since this was last asked; the first time it is so. Costs next to
    /// nothing.
    ///
    /// # Errors
    /// Of the database.
    pub fn has_news(&mut self) -> Result<bool, QueueError> {
        let version = self.connection.prepare_cached("PRAGMA data_version");
        let version = version.and_then(|mut version| version.query_row([], |row| row.get(0)));
        let version: i64 = version.map_err(|error| self::error(&self.path, &error))?;
        Ok(std::mem::replace(&mut self.seen, version) != version)
    }

    /// Makes whatever was noted outlive a loss of power.
    ///
    /// # Errors
    /// Of the database.
    pub fn sync(&mut self) -> Result<(), QueueError> {
        let log = private::beside(&self.path, "-wal");
        let file_error = |error: io::Error| file_error(&self.path, &error, false);
        if !self.is_synced.get() {
            match fs::File::open(&log).and_then(|file| file.sync_data()) {
                // It was all put into the database, and synced there.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file_error(error)),
                _ => self.is_synced.set(true),
            }
        }
        for path in self.ended.drain(..) {
            // What is not there is gone already; what cannot be removed is swept away later.
            let _ = fs::remove_file(path);
        }
        if fs::metadata(&log).is_ok_and(|metadata| metadata.len() > JOURNAL_TOO_LONG) {
            self.shorten()?;
        }
        Ok(())
    }

    /// Begins the log anew. First most of it is put into the database while others go on; for the rest they have to wait.
    fn shorten(&mut self) -> Result<(), QueueError> {
        let result = self.connection.busy_timeout(BRIEFLY).and_then(|()| {
            ["PASSIVE", "TRUNCATE"].into_iter().try_for_each(|kind| {
                let checkpoint = format!("PRAGMA wal_checkpoint({kind})");
                self.connection.query_row(&checkpoint, [], |_| Ok(()))
            })
        });
        let result = schema::wait_patiently(&mut self.connection).and(result);
        match result {
            // Somebody reads for long: another time.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
            result => result.map_err(|error| self::error(&self.path, &error)),
        }
    }

    /// All or nothing, and nobody else writes meanwhile.
    fn write<T>(
        &self,
        durability: Durability,
        change: impl Fn(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, QueueError> {
        let result = match self.try_to_write(durability, &change) {
            Err(Fault::Sql(error)) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                // What the log takes is room for another one once it is in the database. If that has no room either, the
                // second try says so.
                let _ = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
                self.try_to_write(durability, &change)
            }
            result => result,
        };
        result.map_err(|fault| self.told(fault))
    }

    fn try_to_write<T>(
        &self,
        durability: Durability,
        change: impl Fn(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.durability.get() != durability {
            let synchronous = if durability == Durability::Synced { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", synchronous)?;
            self.durability.set(durability);
        }
        let changes = self.connection.total_changes();
        let transaction = Transaction::begin(&self.connection, "BEGIN IMMEDIATE")?;
        let result = change(&transaction)?;
        transaction.commit()?;
        // Syncing the log syncs all that is in it; but what has changed nothing is not synced.
        if self.connection.total_changes() != changes {
            self.is_synced.set(durability == Durability::Synced);
        }
        Ok(result)
    }

    /// All that is read is of the same moment.
    fn read<T>(&self, look: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>) -> Result<T, QueueError> {
        let look = || {
            let transaction = Transaction::begin(&self.connection, "BEGIN")?;
            look(&transaction)
        };
        look().map_err(|fault| self.told(fault))
    }

    fn told(&self, fault: Fault) -> QueueError {
        match fault {
            Fault::Sql(error) => self::error(&self.path, &error),
            Fault::Told(error) => error,
        }
    }

    /// These messages have ended: their files go, where they have some.
    fn end_files(&mut self, names: &[String]) {
        let folder = &self.folder;
        self.ended.extend(names.iter().map(|name| folder.join(name)));
    }

    /// The file of a large message.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Nobody is left to be told. What is not synced outlives this process all the same.
        let _ = self.sync();
    }
}

/// Changes rows with a statement that stays prepared. Returns how many.
fn run(transaction: &Transaction<'_>, sql: &str, parameters: impl Params) -> rusqlite::Result<usize> {
    transaction.prepare_cached(sql)?.execute(parameters)
}

fn workers(folder: &Path) -> PathBuf {
    folder.join("workers")
}

/// The present by the system's clock.
fn now() -> Time {
    jiff::Timestamp::now().as_millisecond()
}

/// What SQLite says, in terms of the queue.
fn error(path: &Path, error: &rusqlite::Error) -> QueueError {
    let path = path.to_owned();
    let what = crate::mail::clean(&error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => QueueError::Busy(path),
        Some(ErrorCode::DiskFull) => QueueError::Full(path),
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed,
        ) => QueueError::File { path, what, is_new: false },
        Some(ErrorCode::NotADatabase) => QueueError::Invalid { path, what: "it is no queue".to_owned() },
        Some(ErrorCode::DatabaseCorrupt) => QueueError::Invalid { path, what: "it is damaged".to_owned() },
        _ => QueueError::Invalid { path, what },
    }
}

fn file_error(path: &Path, error: &io::Error, is_new: bool) -> QueueError {
    match error.kind() {
        io::ErrorKind::StorageFull => QueueError::Full(path.to_owned()),
        _ => QueueError::File { path: path.to_owned(), what: error.to_string(), is_new },
    }
}
