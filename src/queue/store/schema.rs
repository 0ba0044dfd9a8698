//! The tables, and how a database comes to have the latest of them.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, config::DbConfig};

use super::{QueueError, file_error};
use crate::secret::private::{self, NotLocked};

/// "Mail" in ASCII: tells our databases from others'.
const APPLICATION: i64 = 0x4D61_696C;

/// Each brings the tables of the version before to its own; `user_version` counts them. What has been released does not
/// change any more.
///
/// What changes with each attempt is apart from the octets, so that these are written once. The partial indices hold only
/// what is looked for: waiting messages by their turn, by their end and by the moment their due time was noted at (which
/// lies in the future, if the clock has been set back); leases by worker; what is done by its end.
const MIGRATIONS: [&str; 1] = ["
CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    key TEXT,
    state INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    added INTEGER NOT NULL,
    due INTEGER NOT NULL,
    since INTEGER,
    expires INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    worker TEXT,
    lease INTEGER,
    boot TEXT,
    intent INTEGER,
    message_id TEXT NOT NULL,
    sender TEXT,
    dsn_notify TEXT,
    dsn_return TEXT,
    dsn_envid TEXT,
    place TEXT NOT NULL,
    size INTEGER NOT NULL,
    is_8bit INTEGER NOT NULL,
    has_utf8_headers INTEGER NOT NULL,
    is_file INTEGER NOT NULL,
    why TEXT,
    finished INTEGER
);
CREATE UNIQUE INDEX job_key ON job (key) WHERE key IS NOT NULL;
CREATE INDEX job_turn ON job (priority, due) WHERE state = 0;
CREATE INDEX job_expires ON job (expires) WHERE state = 0;
CREATE INDEX job_since ON job (since) WHERE state = 0 AND since IS NOT NULL;
CREATE INDEX job_worker ON job (worker) WHERE state = 1;
CREATE INDEX job_finished ON job (finished) WHERE state = 3;
CREATE TABLE content (
    job INTEGER PRIMARY KEY,
    octets BLOB NOT NULL
);
CREATE TABLE recipient (
    job INTEGER NOT NULL,
    address TEXT NOT NULL,
    number INTEGER NOT NULL,
    state TEXT,
    text TEXT,
    remote_id TEXT,
    server TEXT,
    time INTEGER,
    PRIMARY KEY (job, address)
) WITHOUT ROWID;
"];

/// Opens the database, and makes it where there is none. `folder` is the one beside it.
pub(super) fn open(path: &Path, folder: &Path, patience: Duration) -> Result<Connection, QueueError> {
    check_owner(path)?;
    check_owner(folder)?;
    if path.is_file() && folder.is_dir() {
        let connection = connect(path, patience)?;
        if version(&connection, path)? == Some(MIGRATIONS.len()) {
            return Ok(connection);
        }
    }
    // One at a time: SQLite has no patience where the kind of journal is changed.
    let is_new = !path.exists();
    let lock = folder.join("lock");
    let made = missing(&lock);
    let _lock = private::lock(&lock, patience).map_err(|error| match error {
        NotLocked::Busy => QueueError::Busy(path.to_owned()),
        NotLocked::Failed(error) => file_error(path, &error, is_new),
    })?;
    create(path, &made).map_err(|error| file_error(path, &error, is_new))?;
    let connection = connect(path, patience)?;
    migrate(&connection, path, &MIGRATIONS)?;
    Ok(connection)
}

/// What is another's could be read or changed by them; and what root writes into a user's queue, that user loses.
fn check_owner(path: &Path) -> Result<(), QueueError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file_error(path, &error, false)),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(QueueError::Foreign(path.to_owned()));
        }
    }
    if metadata.is_file() || metadata.is_dir() {
        return Ok(());
    }
    Err(QueueError::Invalid { path: path.to_owned(), what: "it is no regular file".to_owned() })
}

/// The folders above this file that are not there.
fn missing(path: &Path) -> Vec<PathBuf> {
    path.ancestors().skip(1).take_while(|folder| !folder.exists()).map(Path::to_owned).collect()
}

/// Makes the file, for its owner only, where it is not there, and sees to it that its name and those of its new folders
/// outlive a loss of power.
fn create(path: &Path, made: &[PathBuf]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // What is there is not opened: closing it would end the locks that this process may have on it.
    match options.open(path) {
        Ok(file) => file.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    private::sync_folder(path)?;
    made.iter().try_for_each(|folder| private::sync_folder(folder))
}

fn connect(path: &Path, patience: Duration) -> Result<Connection, QueueError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| super::error(path, &error))?;
    let set = || {
        connection.busy_timeout(patience)?;
        // Whoever adds one message shall not wait for the checkpoint of all.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // macOS syncs to the disk itself only so.
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "journal_size_limit", super::JOURNAL_LIMIT)
    };
    set().map_err(|error| super::error(path, &error))?;
    Ok(connection)
}

/// How many of the migrations it has gone through; none, if there is nothing in it yet.
///
/// # Errors
/// If it is no queue, or a newer one.
fn version(connection: &Connection, path: &Path) -> Result<Option<usize>, QueueError> {
    let number = |sql: &str| {
        let number = connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        number.map_err(|error| super::error(path, &error))
    };
    let found = number("PRAGMA user_version")?;
    match number("PRAGMA application_id")? {
        APPLICATION => match usize::try_from(found) {
            Ok(version) if version <= MIGRATIONS.len() => Ok(Some(version)),
            _ => Err(QueueError::Newer { path: path.to_owned(), found, known: MIGRATIONS.len() as i64 }),
        },
        0 if found == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0 => Ok(None),
        _ => {
            Err(QueueError::Invalid { path: path.to_owned(), what: "it is the database of another program".to_owned() })
        }
    }
}

fn migrate(connection: &Connection, path: &Path, migrations: &[&str]) -> Result<(), QueueError> {
    let failed = |error| super::error(path, &error);
    let version = version(connection, path)?;
    if version.is_none() {
        // Only before the first table: pages that are free go back to the disk.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(failed)?;
    let change = || {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        for migration in &migrations[version.unwrap_or(0)..] {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", migrations.len() as i64)?;
        transaction.commit()?;
        connection.pragma_update(None, "synchronous", "NORMAL")
    };
    change().map_err(failed)
}
