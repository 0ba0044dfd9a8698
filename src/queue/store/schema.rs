//! The tables, and how a database comes to have the latest of them.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, config::DbConfig};

use super::{QueueError, file_error};
use crate::secret::private::{self, NotLocked};

/// "Mail" in ASCII: tells our databases from others'.
const APPLICATION: i64 = 0x4D61_696C;

/// Statements that stay prepared: all of them.
const STATEMENTS: usize = 64;
/// How long others may have it.
const PATIENCE: Duration = Duration::from_secs(30);
/// A file that is there to be removed, and its octets: what the log takes when much is removed at once.
pub(super) const ROOM: &str = "room";
const RESERVE: usize = 256 * 1024;
/// Between two looks whether it is free again: what takes long is a sync, of a millisecond or two.
const PAUSE: Duration = Duration::from_millis(2);

/// Each brings the tables of the version before to its own; `user_version` counts them. What has been released does not
/// change any more.
///
/// What changes with each attempt is apart from the octets, so that these are written once. The partial indices hold only
/// what is looked for: waiting messages by their turn, by their end and by the moment their due time was noted at (which
/// lies in the future, if the clock has been set back); leases by worker; what is done by its end.
const MIGRATIONS: [&str; 3] = [FIRST, REMOVED, HAS_NO_WAY];

const FIRST: &str = "
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
CREATE INDEX job_turn ON job (place, priority, due) WHERE state = 0;
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
    is_told INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, address)
) WITHOUT ROWID;
";

/// A removed message ended when it was done, else when it was removed; its recipients are an array in JSON.
const REMOVED: &str = "
CREATE TABLE removed (
    key TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    message_id TEXT NOT NULL,
    recipients TEXT NOT NULL,
    ended INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX removed_ended ON removed (ended);
";

/// Messages that are held until there is a way for them are told from those that people hold.
const HAS_NO_WAY: &str = "
ALTER TABLE job ADD COLUMN has_no_way INTEGER NOT NULL DEFAULT 0;
CREATE INDEX job_has_no_way ON job (place) WHERE state = 2 AND has_no_way = 1;
";

/// Opens the database, and makes it where there is none. `folder` is the one beside it.
pub(super) fn open(path: &Path, folder: &Path) -> Result<Connection, QueueError> {
    check(path, fs::Metadata::is_file, "it is no regular file")?;
    check(folder, fs::Metadata::is_dir, "it is no folder")?;
    check_above(path)?;
    match (path.is_file(), folder.is_dir()) {
        (true, true) => {
            let connection = connect(path)?;
            if version(&connection, path)? == Some(MIGRATIONS.len()) {
                return Ok(connection);
            }
        }
        // Beside what is not ours nothing is made.
        (true, false) => {
            let looking = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
            version(&looking.map_err(|error| super::error(path, &error))?, path)?;
        }
        (false, _) => {}
    }
    // One at a time: SQLite has no patience where the kind of journal is changed.
    let is_new = !path.exists();
    let lock = folder.join("lock");
    let made = missing(&lock);
    let _lock = private::lock(&lock, PATIENCE).map_err(|error| match error {
        NotLocked::Busy => QueueError::Busy(path.to_owned()),
        NotLocked::Failed(error) => file_error(path, &error, is_new),
    })?;
    create(path, &made).map_err(|error| file_error(path, &error, is_new))?;
    let connection = connect(path)?;
    migrate(&connection, path, &MIGRATIONS)?;
    reserve(folder);
    Ok(connection)
}

/// Keeps some room, which is taken where the disk is full: who removes something has to write first, too.
pub(super) fn reserve(folder: &Path) {
    let path = folder.join(ROOM);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    if let Ok(mut file) = options.open(&path)
        && file.write_all(&[0; RESERVE]).is_err()
    {
        // There is none for this, either.
        let _ = fs::remove_file(path);
    }
}

/// What is another's, or open to others, could be read or changed by them; and what root writes into a user's queue, that
/// user loses.
fn check(path: &Path, is_right: impl Fn(&fs::Metadata) -> bool, what: &str) -> Result<(), QueueError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => {
            #[cfg(unix)]
            if error.kind() == ErrorKind::PermissionDenied
                && let Some(foreign) = path.ancestors().find(|folder| folder.exists()).and_then(foreign)
            {
                return Err(foreign);
            }
            return Err(file_error(path, &error, false));
        }
    };
    if !is_right(&metadata) {
        return Err(QueueError::Invalid { path: path.to_owned(), what: what.to_owned() });
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if let Some(foreign) = foreign(path) {
            return Err(foreign);
        }
        if metadata.mode() & 0o077 != 0 {
            let what = format!("others than its owner can use it (mode {:o})", metadata.mode() & 0o7777);
            let mode = if metadata.is_dir() { "700" } else { "600" };
            let hint = format!("chmod {mode} {}", path.display());
            return Err(QueueError::Exposed { path: path.to_owned(), what, hint });
        }
    }
    Ok(())
}

/// The error of a file or folder that is another's.
#[cfg(unix)]
fn foreign(path: &Path) -> Option<QueueError> {
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).ok()?);
    (owner != rustix::process::geteuid().as_raw()).then(|| QueueError::Foreign { path: path.to_owned(), owner })
}

/// Where everybody can put files, others could put one in the place of ours.
fn check_above(path: &Path) -> Result<(), QueueError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let folder = private::folder_of(path);
        if fs::metadata(folder).is_ok_and(|metadata| metadata.mode() & 0o002 != 0) {
            let what = "everybody can make files in its folder".to_owned();
            let hint = format!("chmod o-w {}, or a folder of its own for it: queue.path", folder.display());
            return Err(QueueError::Exposed { path: path.to_owned(), what, hint });
        }
    }
    Ok(())
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
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    private::sync_folder(path)?;
    made.iter().try_for_each(|folder| private::sync_folder(folder))
}

fn connect(path: &Path) -> Result<Connection, QueueError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|error| super::error(path, &error))?;
    let mut set = || {
        wait_patiently(&mut connection)?;
        // Whoever adds one message shall not wait for the checkpoint of all.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // Else most statements are prepared anew for every value: it might lead to another plan.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // macOS syncs to the disk itself only so.
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "journal_size_limit", super::JOURNAL_LIMIT)
    };
    set().map_err(|error| super::error(path, &error))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// SQLite's own pauses grow to a tenth of a second, and whoever is always back sooner gets it.
pub(super) fn wait_patiently(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(is_patient))
}

fn is_patient(pauses: i32) -> bool {
    thread::sleep(PAUSE);
    PAUSE * pauses.unsigned_abs() < PATIENCE
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Claim, Status, Store};

    /// What a queue of each version may have in the tables and columns that are new in it.
    const ROWS: [&str; MIGRATIONS.len()] = [
        "
INSERT INTO job (id, name, key, state, priority, added, due, since, expires, attempts, generation, worker, lease, boot,
                 intent, message_id, sender, dsn_notify, place, size, is_8bit, has_utf8_headers, is_file, why, finished)
VALUES (1, '0000000000000000000a', 'one', 0, 1, 5, 5, 5, 9000000000000000, 0, 0, NULL, NULL, NULL, NULL, '<1@x>', 'a@x',
        'FAILURE', '{\"profile\":\"work\"}', 4, 0, 0, 0, NULL, NULL),
       (2, '0000000000000000000b', NULL, 1, 0, 6, 6, 6, 9000000000000000, 1, 2, 'gone', 7, NULL, NULL, '<2@x>', NULL,
        NULL, '{}', 70000, 0, 0, 1, 'later', NULL),
       (3, '0000000000000000000c', NULL, 2, 0, 7, 7, NULL, 9000000000000000, 0, 1, NULL, NULL, NULL, NULL, '<3@x>', 'a@x',
        NULL, '{}', 4, 0, 0, 0, 'held by hand', NULL),
       (4, '0000000000000000000d', 'four', 3, 0, 8, 8, 8, 9000000000000000, 1, 1, NULL, NULL, NULL, NULL, '<4@x>', 'a@x',
        NULL, '{}', 4, 0, 0, 0, '250 ok', 9);
INSERT INTO content (job, octets) VALUES (1, x'610d0a0d'), (3, x'620d0a0d');
INSERT INTO recipient (job, address, number, state, text, is_told)
VALUES (1, 'b@y', 0, NULL, NULL, 0), (1, 'c@y', 1, 'failed', 'no', 0), (2, 'b@y', 0, 'deferred', 'later', 0),
       (3, 'b@y', 0, NULL, NULL, 0), (4, 'b@y', 0, 'accepted', '250 ok', 0);
",
        "INSERT INTO removed (key, name, message_id, recipients, ended) VALUES ('five', 'e', '<5@x>', '[\"b@y\"]', 9);",
        "UPDATE job SET has_no_way = 1 WHERE id = 3;",
    ];

    fn number(connection: &Connection, sql: &str) -> i64 {
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Tables with how many rows they have.
    fn tables(connection: &Connection) -> Vec<(String, i64)> {
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
        let mut tables = connection.prepare(tables).unwrap();
        let names = tables.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
        names
            .map(|name| {
                let count = number(connection, &format!("SELECT count(*) FROM {name}"));
                (name, count)
            })
            .collect()
    }

    /// What an older mailsend has left is still there, and is sent.
    #[test]
    fn an_older_queue_is_taken_over_with_all_that_is_in_it() {
        for known in 1..=MIGRATIONS.len() {
            let folder = tempfile::tempdir().unwrap();
            let (path, beside) = (folder.path().join("q"), folder.path().join("q.d"));
            create(&path, &[]).unwrap();
            let connection = connect(&path).unwrap();
            for (version, rows) in (1..=known).zip(ROWS) {
                migrate(&connection, &path, &MIGRATIONS[..version]).unwrap();
                connection.execute_batch(rows).unwrap();
            }
            let before = tables(&connection);
            assert!(before.iter().all(|(_, count)| *count > 0), "{before:?}");
            drop(connection);
            private::make_folder(&beside.join("x")).unwrap();
            fs::write(beside.join("0000000000000000000b"), vec![b'x'; 70_000]).unwrap();

            let mut store = Store::open(&path).unwrap();
            let connection = connect(&path).unwrap();
            assert_eq!(version(&connection, &path).unwrap(), Some(MIGRATIONS.len()));
            let after = tables(&connection);
            assert!(before.iter().all(|table| after.contains(table)), "{before:?} {after:?}");
            let worker = store.worker(false).unwrap();
            assert_eq!(store.recover(10, false).unwrap(), (1, 0));
            store.release("0000000000000000000c", false).unwrap();
            let claims = store.claim(&worker, 9, i64::MAX / 2_000, Duration::ZERO).unwrap();
            let mut taken: Vec<_> = claims.iter().map(|Claim { id, attempts, .. }| (*id, *attempts)).collect();
            taken.sort_unstable();
            assert_eq!(taken, [(1, 0), (2, 1), (3, 0)]);
            assert_eq!(claims[0].untold[0].text, "no");
            let done = store.show("0000000000000000000d").unwrap();
            assert_eq!((done.outline.status, done.key.as_deref()), (Status::Done, Some("four")));
        }
    }

    #[test]
    fn every_version_is_brought_to_the_latest() {
        for known in 0..=MIGRATIONS.len() {
            let folder = tempfile::tempdir().unwrap();
            let (path, beside) = (folder.path().join("q"), folder.path().join("q.d"));
            create(&path, &[]).unwrap();
            let connection = connect(&path).unwrap();
            migrate(&connection, &path, &MIGRATIONS[..known]).unwrap();
            assert_eq!(version(&connection, &path).unwrap(), Some(known));
            drop(connection);
            let connection = open(&path, &beside).unwrap();
            assert_eq!(version(&connection, &path).unwrap(), Some(MIGRATIONS.len()));
            connection.query_row("SELECT count(*) FROM job, content, recipient", [], |_| Ok(())).unwrap();
            for (pragma, value) in [("journal_mode", "wal"), ("auto_vacuum", "2"), ("synchronous", "1")] {
                let set = connection.pragma_query_value(None, pragma, |row| {
                    Ok(row
                        .get_ref(0)?
                        .as_str()
                        .map_or_else(|_| row.get::<_, i64>(0).unwrap().to_string(), str::to_owned))
                });
                assert_eq!(set.unwrap(), value, "{pragma}");
            }
        }
    }

    #[test]
    fn what_is_no_queue_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, beside) = (folder.path().join("q"), folder.path().join("q.d"));
        fs::write(&path, "people,of,a,table\n".repeat(100)).unwrap();
        close(&path);
        let before = fs::read(&path).unwrap();
        let what = open(&path, &beside).unwrap_err().to_string();
        assert!(what.ends_with("q: it is no queue"), "{what}");
        assert_eq!(fs::read(&path).unwrap(), before);
        fs::remove_file(&path).unwrap();
        let connection = Connection::open(&path).unwrap();
        close(&path);
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE people (name)").unwrap();
        let what = open(&path, &beside).unwrap_err().to_string();
        assert!(what.ends_with("q: it is the database of another program"), "{what}");
        connection.execute_batch("DROP TABLE people; PRAGMA application_id = 7").unwrap();
        assert!(matches!(open(&path, &beside), Err(QueueError::Invalid { .. })));
        connection.execute_batch(&format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 99")).unwrap();
        let error = open(&path, &beside).unwrap_err();
        assert!(matches!(error, QueueError::Newer { found: 99, .. }), "{error}");
        // Nothing was made beside it.
        drop(connection);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let what = open(folder.path(), &beside).unwrap_err().to_string();
        assert!(what.ends_with("it is no regular file"), "{what}");
        // Nothing at all is a queue that was not finished.
        fs::write(&path, "").unwrap();
        open(&path, &beside).unwrap();
    }

    /// Makes a file its owner's alone.
    fn close(path: &Path) {
        #[cfg(unix)]
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn what_others_can_use_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (path, beside) = (state.join("q"), state.join("q.d"));
        drop(open(&path, &beside).unwrap());
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for (exposed, exposure, closed, hint) in [
            (&path, 0o666, 0o600, "chmod 600 "),
            (&path, 0o640, 0o600, "chmod 600 "),
            (&beside, 0o755, 0o700, "chmod 700 "),
            (&state, 0o1777, 0o700, "chmod o-w "),
        ] {
            mode(exposed, exposure);
            match open(&path, &beside).unwrap_err() {
                QueueError::Exposed { hint: told, .. } => {
                    assert!(told.starts_with(&format!("{hint}{}", exposed.display())))
                }
                error => panic!("{error}"),
            }
            mode(exposed, closed);
            drop(open(&path, &beside).unwrap());
        }
    }

    #[test]
    fn it_is_its_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/deep/q");
        let beside = folder.path().join("state/deep/q.d");
        let connection = open(&path, &beside).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE; DELETE FROM job; COMMIT").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
            for name in ["state", "state/deep", "state/deep/q.d"] {
                assert_eq!(mode(name), 0o700, "{name}");
            }
            for name in ["state/deep/q", "state/deep/q-wal", "state/deep/q-shm", "state/deep/q.d/lock"] {
                assert_eq!(mode(name), 0o600, "{name}");
            }
            drop(connection);
            if !rustix::process::geteuid().is_root() {
                eprintln!("skipped: only root can give a queue to somebody else");
                return;
            }
            for path_of_another in [&path, &beside] {
                std::os::unix::fs::chown(path_of_another, Some(65_534), None).unwrap();
                let error = open(&path, &beside).unwrap_err();
                assert!(
                    matches!(&error, QueueError::Foreign { path, owner: 65_534 } if path == path_of_another),
                    "{error}"
                );
                std::os::unix::fs::chown(path_of_another, Some(0), None).unwrap();
            }
        }
    }

    #[test]
    fn where_nothing_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let path = folder.path().join("file/q");
        let error = open(&path, &folder.path().join("file/q.d")).unwrap_err();
        assert!(matches!(error, QueueError::File { is_new: true, .. }), "{error}");
    }
}
