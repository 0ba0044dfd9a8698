//! Messages come into the queue.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{OptionalExtension, named_params};

use super::{Durability, QueueError, Store, Time, Transaction, file_error, now, run};
use crate::{
    mail::{Address, Content, Piece, Source},
    message::Blocks,
    queue::Job,
    secret::private,
};

/// Larger messages are files: the database would be slow with them, and they would not be streamed.
const SMALL: u64 = 64 * 1024;

/// The name, Message-ID and recipients of the message with a key, whether it is there or was removed.
pub(super) const KNOWN: &str = "
    SELECT name, message_id, (SELECT json_group_array(address ORDER BY number) FROM recipient WHERE job = id)
        FROM job WHERE key = ?1
    UNION ALL SELECT name, message_id, recipients FROM removed WHERE key = ?1 LIMIT 1";

/// What became of [`Store::add`]: the message's name, and what had its key before, in whose place it was not added.
pub type Added = (String, Option<First>);

/// The message that was added first with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct First {
    /// With its angle brackets.
    pub message_id: String,
    /// Its recipients, in the order of the envelope.
    pub recipients: Vec<String>,
}

impl First {
    /// Whether the message that was added first is for this recipient.
    pub fn is_for(&self, recipient: &Address) -> bool {
        let recipient: &str = recipient.as_ref();
        self.recipients.iter().any(|own| own == recipient)
    }
}

/// The octets of a message, kept.
pub(super) enum Kept {
    Octets(Arc<[u8]>),
    File(Draft),
}

impl Kept {
    /// A message has it, or none.
    pub fn take(&mut self, is_taken: bool) {
        if let Kept::File(draft) = self {
            draft.is_taken = is_taken;
        }
    }
}

/// A file that is removed, unless a message has it.
pub(super) struct Draft {
    path: PathBuf,
    is_taken: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_taken {
            // Else it is swept away later.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Store {
    /// Keeps these messages, all or none. When it returns, they outlive a loss of power.
    ///
    /// # Errors
    /// A full disk, a file of a message that cannot be read.
    pub fn add(&mut self, jobs: &[Job]) -> Result<Vec<Added>, QueueError> {
        self.add_at(jobs, now())
    }

    pub(super) fn add_at(&mut self, jobs: &[Job], now: Time) -> Result<Vec<Added>, QueueError> {
        let jobs: Vec<&Job> = jobs.iter().collect();
        let kept = self.keep_all(&jobs)?;
        self.add_kept(&jobs, kept, now)
    }

    /// The same for messages that have names already. Where one has that of another message, it gets a new one.
    ///
    /// # Errors
    /// As of [`Store::add`].
    pub fn add_named(&mut self, named: &[(String, Job)]) -> Result<Vec<Added>, QueueError> {
        let mut kept = Vec::with_capacity(named.len());
        for (name, job) in named {
            let is_known = "SELECT EXISTS (SELECT 1 FROM job WHERE name = ?)";
            let is_known = self.read(|transaction| Ok(transaction.query_row(is_known, [name], |row| row.get(0))?))?;
            // A file without a message was left by somebody who has died, and is swept away later.
            let is_taken: bool = is_known || self.file(name).exists();
            let name = if is_taken { self.stamp.mark() } else { name.clone() };
            kept.push((self.keep(&name, job)?, name));
        }
        self.sync_kept(&kept)?;
        let jobs: Vec<&Job> = named.iter().map(|(_, job)| job).collect();
        self.add_kept(&jobs, kept, now())
    }

    fn add_kept(&self, jobs: &[&Job], mut kept: Vec<(Kept, String)>, now: Time) -> Result<Vec<Added>, QueueError> {
        let added = self.write(Durability::Synced, |transaction| {
            let add = |(job, (kept, name)): (&&Job, &(Kept, String))| match known(transaction, job)? {
                Some((name, first)) => Ok((name, Some(first))),
                None => insert(transaction, job, name, kept, now).map(|()| (name.clone(), None)),
            };
            let added = jobs.iter().zip(&kept).map(add).collect::<Result<Vec<_>, rusqlite::Error>>();
            Ok(added?)
        })?;
        for ((kept, _), (_, first)) in kept.iter_mut().zip(&added) {
            kept.take(first.is_none());
        }
        Ok(added)
    }

    /// Keeps the octets of these messages under new names; what is a file is on the disk.
    pub(super) fn keep_all(&mut self, jobs: &[&Job]) -> Result<Vec<(Kept, String)>, QueueError> {
        let mut kept = Vec::with_capacity(jobs.len());
        for job in jobs {
            let name = self.stamp.mark();
            kept.push((self.keep(&name, job)?, name));
        }
        self.sync_kept(&kept)?;
        Ok(kept)
    }

    fn sync_kept(&self, kept: &[(Kept, String)]) -> Result<(), QueueError> {
        if kept.iter().any(|(kept, _)| matches!(kept, Kept::File(_))) {
            private::sync_folder(&self.file("x")).map_err(|error| file_error(&self.folder, &error, false))?;
        }
        Ok(())
    }

    /// Reads all of the message; what is large becomes a file on the disk.
    fn keep(&self, name: &str, job: &Job) -> Result<Kept, QueueError> {
        let pieces = job.content.pieces();
        if let [Piece::Bytes(octets)] = pieces
            && octets.len() as u64 <= SMALL
        {
            return Ok(Kept::Octets(octets.clone()));
        }
        if job.content.len() <= SMALL {
            let mut octets = Vec::with_capacity(job.content.len() as usize);
            each_block(&job.content, |block| {
                octets.extend_from_slice(block);
                Ok(())
            })?;
            return Ok(Kept::Octets(octets.into()));
        }
        let path = self.file(name);
        let failed = |error: io::Error| file_error(&path, &error, false);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file: File = options.open(&path).map_err(failed)?;
        let draft = Draft { path: path.clone(), is_taken: false };
        each_block(&job.content, |block| file.write_all(block).map_err(failed))?;
        file.sync_all().map_err(failed)?;
        Ok(Kept::File(draft))
    }
}

/// Calls `each` with the octets as they go out.
fn each_block(content: &Content, mut each: impl FnMut(&[u8]) -> Result<(), QueueError>) -> Result<(), QueueError> {
    for piece in content.pieces() {
        let source = match piece {
            Piece::Bytes(octets) => {
                each(octets)?;
                continue;
            }
            Piece::File { source, .. } => source,
        };
        for block in Blocks::of_pieces(vec![piece.clone()]) {
            each(&block.map_err(|error| input_error(source, error))?)?;
        }
    }
    Ok(())
}

fn input_error(source: &Source, error: io::Error) -> QueueError {
    let path: &Path = match source {
        Source::Path { path, .. } => path,
        Source::Spooled(_) => Path::new("standard input"),
    };
    QueueError::Input { path: path.to_owned(), error }
}

/// The message that has or had the same key.
fn known(transaction: &Transaction<'_>, job: &Job) -> rusqlite::Result<Option<(String, First)>> {
    let Some(key) = &job.key else { return Ok(None) };
    let known = transaction.prepare_cached(KNOWN)?.query_row([key], |row| {
        let recipients: String = row.get(2)?;
        let recipients = serde_json::from_str(&recipients).unwrap_or_default();
        Ok((row.get(0)?, First { message_id: row.get(1)?, recipients }))
    });
    known.optional()
}

pub(super) fn insert(
    transaction: &Transaction<'_>,
    job: &Job,
    name: &str,
    kept: &Kept,
    now: Time,
) -> rusqlite::Result<()> {
    if let Kept::File(draft) = kept
        && !draft.path.exists()
    {
        // Whoever has swept has taken it for one that nobody adds any more: a machine may sleep for long.
        let what = io::Error::new(io::ErrorKind::NotFound, "the file of the message has gone while it was added");
        return Err(rusqlite::Error::ToSqlConversionFailure(what.into()));
    }
    let place = serde_json::to_string(&job.place);
    run(transaction,
            "INSERT INTO job (name, key, state, priority, added, due, since, expires, attempts, generation, message_id,
                              sender, dsn_notify, dsn_return, dsn_envid, place, size, is_8bit, has_utf8_headers, is_file)
             VALUES (:name, :key, 0, :priority, :added, :due, :since, :expires, 0, 0, :message_id,
                     :sender, :notify, :return, :envid, :place, :size, :is_8bit, :has_utf8_headers, :is_file)",
named_params! {
            ":name": name,
            ":key": job.key,
            ":priority": job.priority,
            ":added": now,
            ":due": job.due.unwrap_or(now),
            // A moment that somebody has named does not move with the clock.
            ":since": job.due.is_none().then_some(now),
            ":expires": job.expires,
            ":message_id": job.message_id,
            ":sender": job.envelope.from().map(AsRef::<str>::as_ref),
            ":notify": job.dsn.notify.map(|notify| notify.to_string()),
            ":return": job.dsn.ret.map(|ret| ret.to_string()),
            ":envid": job.dsn.envid,
            ":place": place.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?,
            ":size": job.content.len() as i64,
            ":is_8bit": job.content.is_8bit,
            ":has_utf8_headers": job.content.has_utf8_headers,
            ":is_file": matches!(kept, Kept::File(_)),
        })?;
    let id = transaction.last_insert_rowid();
    if let Kept::Octets(octets) = kept {
        run(transaction, "INSERT INTO content (job, octets) VALUES (?, ?)", (id, &octets[..]))?;
    }
    for (number, address) in job.envelope.to().iter().enumerate() {
        let recipient = "INSERT OR IGNORE INTO recipient (job, address, number) VALUES (?, ?, ?)";
        run(transaction, recipient, (id, AsRef::<str>::as_ref(address), number as i64))?;
    }
    Ok(())
}
