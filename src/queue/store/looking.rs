//! What is in the queue, for people.

use rusqlite::Row;

use super::{Fault, QueueError, Store, Time, Transaction, settling::Code, worker, workers};
use crate::{
    mail::{Content, State},
    queue::{Entry, Outline, Recipient, Stats, Status},
};

/// Characters of a name.
const NAME: usize = 20;
/// So many are looked at at once: a reader who stays keeps the log from beginning anew.
const PAGE: usize = 256;

/// What is told of a message.
const OUTLINE: &str = "
    id, name, state, added, due, expires, priority, attempts, size, sender, message_id, why, worker,
    (SELECT count(*) FROM recipient WHERE job = id) AS recipients,
    (SELECT count(*) FROM recipient r WHERE job = id AND (r.state IS NULL OR r.state = 'deferred')) AS open,
    (SELECT count(*) FROM recipient r WHERE job = id AND r.state = 'failed') AS failed,
    (SELECT address FROM recipient r WHERE job = id ORDER BY r.state IS NOT NULL AND r.state <> 'deferred', number LIMIT 1)
        AS first_recipient";

/// Said of a message whose worker was killed.
const LEFT: &str = "its worker is dead: the next one takes it up";

/// Messages whose names begin so; all their characters come before `w`.
pub(super) const NAMED: &str =
    "SELECT id, name, state FROM job WHERE name >= ?1 AND name < ?1 || 'w' ORDER BY name LIMIT 2";

impl Store {
    /// Tells of the messages in these states, in the order in which they were added, one by one: there may be many.
    ///
    /// # Errors
    /// Of the database.
    pub fn list(&mut self, states: &[Status], told: &mut dyn FnMut(&Outline)) -> Result<(), QueueError> {
        let mut last = 0;
        loop {
            let page = self.page(states, last)?;
            for (_, outline) in &page {
                told(outline);
            }
            match page.last() {
                Some((id, _)) if page.len() == PAGE => last = *id,
                _ => return Ok(()),
            }
        }
    }

    /// The next messages in these states behind number `last`.
    fn page(&self, states: &[Status], last: i64) -> Result<Vec<(i64, Outline)>, QueueError> {
        let wanted = |status| states.contains(&status).then_some(status as i64);
        let [waiting, leased, held, done] = Status::ALL.map(wanted);
        self.read(|transaction| {
            let sql = format!("SELECT {OUTLINE} FROM job WHERE id > ? AND state IN (?, ?, ?, ?) ORDER BY id LIMIT ?");
            let mut page = transaction.prepare_cached(&sql)?;
            let parameters = (last, waiting, leased, held, done, PAGE as i64);
            let page = page.query_map(parameters, |row| Ok((row.get("id")?, self.outline(row)?)))?;
            Ok(page.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// All that is known of the message of this name, or of the only one whose name begins so.
    ///
    /// # Errors
    /// [`QueueError::Unknown`], [`QueueError::Ambiguous`]; of the database.
    pub fn show(&mut self, name: &str) -> Result<Entry, QueueError> {
        self.read(|transaction| {
            let id = find(transaction, name)?.id;
            let sql = format!("SELECT {OUTLINE}, place, key FROM job WHERE id = ?");
            let mut entry = transaction.prepare_cached(&sql)?.query_row([id], |row| {
                let place: String = row.get("place")?;
                Ok(Entry {
                    outline: self.outline(row)?,
                    place: serde_json::from_str(&place).unwrap_or_default(),
                    key: row.get("key")?,
                    worker: row.get("worker")?,
                    all: Vec::new(),
                })
            })?;
            let mut all = transaction.prepare_cached(
                "SELECT address, state, text, remote_id, server, time FROM recipient WHERE job = ? ORDER BY number",
            )?;
            entry.all = all.query_map([id], recipient)?.collect::<rusqlite::Result<_>>()?;
            Ok(entry)
        })
    }

    /// The octets of a message; none, if it has ended.
    ///
    /// # Errors
    /// As of [`Store::show`]; [`QueueError::Invalid`], if they are damaged.
    pub fn content(&mut self, name: &str) -> Result<Option<Content>, QueueError> {
        self.read(|transaction| {
            let found = find(transaction, name)?;
            if found.status == Status::Done {
                return Ok(None);
            }
            let row = "SELECT id, name, size, is_file, is_8bit, has_utf8_headers FROM job WHERE id = ?";
            let content = transaction.query_row(row, [found.id], |row| self.content_of(transaction, row))?;
            content.map(Some).map_err(|what| QueueError::Invalid { path: self.path.clone(), what }.into())
        })
    }

    /// The queue in figures.
    ///
    /// # Errors
    /// Of the database.
    pub fn stats(&mut self, now: Time) -> Result<Stats, QueueError> {
        self.read(|transaction| {
            let mut stats = Stats::default();
            let counts = "SELECT state, count(*), sum(size) FROM job GROUP BY state";
            let mut counts = transaction.prepare_cached(counts)?;
            let mut rows = counts.query([])?;
            while let Some(row) = rows.next()? {
                let (Code(status), count) = (row.get(0)?, row.get::<_, i64>(1)? as u64);
                match status {
                    Status::Waiting => stats.waiting = count,
                    Status::Leased => stats.leased = count,
                    Status::Held => stats.held = count,
                    Status::Done => stats.done = count,
                }
                if status != Status::Done {
                    stats.octets += row.get::<_, i64>(2)? as u64;
                }
            }
            // Noted in the future: the clock has been set back, and the worker that sees them next lets them wait anew.
            let due = "SELECT count(*), min(due) FROM job WHERE state = 0 AND due <= ?";
            let (due, first): (i64, Option<Time>) =
                transaction.query_row(due, [now], |row| Ok((row.get(0)?, row.get(1)?)))?;
            stats.due = due as u64;
            stats.oldest_due = first.map(|first| now - first);
            let failed = "SELECT count(*) FROM job WHERE state = 3
                          AND EXISTS (SELECT 1 FROM recipient r WHERE r.job = id AND r.state = 'failed')";
            stats.failed = transaction.query_row(failed, [], |row| row.get::<_, i64>(0))? as u64;
            Ok(stats)
        })
    }

    fn outline(&self, row: &Row<'_>) -> rusqlite::Result<Outline> {
        let Code(status) = row.get("state")?;
        let (added, due): (Time, Time) = (row.get("added")?, row.get("due")?);
        let worker: Option<String> = row.get("worker")?;
        let lives = |worker: &String| worker::lives(&workers(&self.folder), worker);
        let is_left = status == Status::Leased && !worker.as_ref().is_some_and(lives);
        Ok(Outline {
            name: row.get("name")?,
            status,
            added,
            // At once is no moment to be shown.
            due: (status == Status::Waiting && due > added).then_some(due),
            expires: row.get("expires")?,
            priority: row.get("priority")?,
            attempts: row.get("attempts")?,
            size: row.get::<_, i64>("size")? as u64,
            sender: row.get("sender")?,
            recipients: row.get::<_, i64>("recipients")? as u64,
            open: row.get::<_, i64>("open")? as u64,
            failed: row.get::<_, i64>("failed")? as u64,
            first_recipient: row.get::<_, Option<String>>("first_recipient")?.unwrap_or_default(),
            message_id: row.get("message_id")?,
            why: if is_left { Some(LEFT.to_owned()) } else { row.get("why")? },
        })
    }
}

/// A message that was named.
pub(super) struct Found {
    pub id: i64,
    pub name: String,
    pub status: Status,
}

/// The message of this name, or the only one whose name begins so.
pub(super) fn find(transaction: &Transaction<'_>, name: &str) -> Result<Found, Fault> {
    let unknown = || QueueError::Unknown(crate::mail::clean(name));
    if !is_beginning(name) {
        return Err(unknown().into());
    }
    let mut found = transaction.prepare_cached(NAMED)?;
    let mut found = found.query_map([name], |row| {
        let Code(status) = row.get(2)?;
        Ok(Found { id: row.get(0)?, name: row.get(1)?, status })
    })?;
    match (found.next().transpose()?, found.next().transpose()?) {
        (None, _) => Err(unknown().into()),
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => Err(QueueError::Ambiguous(name.to_owned()).into()),
    }
}

fn is_beginning(text: &str) -> bool {
    (1..=NAME).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v'))
}

/// Whether this is what names look like.
pub(super) fn is_name(text: &str) -> bool {
    text.len() == NAME && is_beginning(text)
}

fn recipient(row: &Row<'_>) -> rusqlite::Result<Recipient> {
    let state: Option<String> = row.get(1)?;
    Ok(Recipient {
        address: row.get(0)?,
        state: state.and_then(|word| State::ALL.into_iter().find(|state| state.as_str() == word)),
        text: row.get(2)?,
        remote_id: row.get(3)?,
        server: row.get(4)?,
        time: row.get(5)?,
    })
}
