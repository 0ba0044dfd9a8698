//! What people decide. It is written when it returns, and synced by [`Store::sync`] at the latest.

use std::fs;

use super::{
    Durability, Fault, QueueError, Store, Time, Transaction,
    looking::{Found, find},
    now, run, schema,
    settling::{Rest, free, hold, reopen, say},
};
use crate::queue::Status;

/// So many are removed in one transaction: others want to write, too.
const MANY: i64 = 500;
/// Pages that are given back to the disk at a time.
const PAGES: i64 = 4096;
/// More than there are.
const ALL: i64 = i32::MAX as i64;

pub(super) const DONE_BEFORE: &str =
    "SELECT id, name, is_file FROM job WHERE state = 3 AND finished < ?1 ORDER BY finished LIMIT ?2";

/// Messages in a state that were added before this moment. Only a literal says which index has them.
pub(super) fn of_state(status: Status) -> String {
    format!("SELECT id, name, is_file FROM job WHERE state = {} AND added < ?1 LIMIT ?2", status as i64)
}

/// Keys of messages that were removed and had ended before.
const REMOVED_BEFORE: &str =
    "DELETE FROM removed WHERE key IN (SELECT key FROM removed WHERE ended < ? ORDER BY ended LIMIT ?)";

impl Store {
    /// Lets a waiting message wait until it is released; one that is held already stays so. Returns its name.
    ///
    /// # Errors
    /// [`QueueError::Standing`], if it is leased or done; as of [`Store::show`].
    pub fn hold(&mut self, name: &str) -> Result<String, QueueError> {
        self.decide(name, &[Status::Waiting, Status::Held], |transaction, found| {
            match found.status {
                Status::Waiting => hold(transaction, found.id, "held by hand")?,
                // From now on nobody else decides.
                _ => drop(run(transaction, "UPDATE job SET has_no_way = 0 WHERE id = ?", [found.id])?),
            }
            Ok(())
        })
    }

    /// Makes a held message due now, or when somebody meant it to be. With `is_unknown_too` also recipients of whom nobody
    /// knows whether they have it get it: perhaps twice. One that has expired meanwhile lives as long again as it was
    /// meant to. Returns its name.
    ///
    /// # Errors
    /// [`QueueError::Standing`], if it is not held; [`QueueError::OnlyUnknown`], if nobody would get it; as of
    /// [`Store::show`].
    pub fn release(&mut self, name: &str, is_unknown_too: bool) -> Result<String, QueueError> {
        self.release_at(name, is_unknown_too, now())
    }

    pub(super) fn release_at(&mut self, name: &str, is_unknown_too: bool, now: Time) -> Result<String, QueueError> {
        self.decide(name, &[Status::Held], |transaction, found| {
            if is_unknown_too {
                reopen(transaction, found.id)?;
            }
            let rest = Rest::of(transaction, found.id)?;
            if rest.open == 0 && rest.unknown > 0 {
                return Err(QueueError::OnlyUnknown(found.name.clone()).into());
            }
            free(transaction, found.id)?;
            say(transaction, found.id)?;
            // A moment that somebody has named does not move with the clock, nor by being held.
            let due = "UPDATE job SET due = ?1, since = ?1 WHERE id = ?2 AND (since IS NOT NULL OR due <= ?1)";
            run(transaction, due, (now, found.id))?;
            Ok(live_again(transaction, found.id, now)?)
        })
    }

    /// Makes a waiting message due now. Returns its name.
    ///
    /// # Errors
    /// [`QueueError::Standing`], if it does not wait; as of [`Store::show`].
    pub fn retry(&mut self, name: &str) -> Result<String, QueueError> {
        self.decide(name, &[Status::Waiting], |transaction, found| Ok(due_at_once(transaction, found.id, now())?))
    }

    /// Removes a message, whoever has not got it yet. Its key stays known until it is forgotten. Returns its name.
    ///
    /// # Errors
    /// [`QueueError::Standing`], if a worker has it; as of [`Store::show`].
    pub fn remove(&mut self, name: &str) -> Result<String, QueueError> {
        let name = self.decide(name, &[Status::Waiting, Status::Held, Status::Done], |transaction, found| {
            remember(transaction, found.id, now())?;
            Ok(delete(transaction, found.id)?)
        })?;
        self.end_files(std::slice::from_ref(&name));
        Ok(name)
    }

    /// Removes all messages in this state; none, if it is [`Status::Leased`]. Their keys stay known until they are
    /// forgotten. Also on a full disk. Returns how many.
    ///
    /// # Errors
    /// Of the database.
    pub fn purge(&mut self, status: Status) -> Result<u64, QueueError> {
        if status == Status::Leased {
            return Ok(0);
        }
        let (mut count, now) = (0, now());
        let of_state = of_state(status);
        loop {
            let removed = match self.delete_many(&of_state, i64::MAX, MANY, Some(now), false) {
                Err(QueueError::Full(_)) => self.make_room(|store| {
                    // All in one go: the less is left the less is written.
                    store.delete_many(&of_state, i64::MAX, ALL, Some(now), true)
                })?,
                removed => removed?,
            };
            count += removed;
            if removed == 0 {
                while self.give_back()? {}
                return Ok(count);
            }
        }
    }

    /// Removes something where the disk is full, with the room that is kept for the log of that.
    fn make_room(&mut self, remove: impl FnOnce(&mut Self) -> Result<u64, QueueError>) -> Result<u64, QueueError> {
        // What is not there was taken before.
        let _ = fs::remove_file(self.file(schema::ROOM));
        // Pages that are free in the end are not written, unless memory is spared meanwhile.
        let _ = self.connection.pragma_update(None, "cache_spill", false);
        let removed = remove(self);
        let _ = self.connection.pragma_update(None, "cache_spill", true);
        if removed.is_ok() {
            // If the log finds no room in the database, it goes another time.
            let _ = self.sync().and_then(|()| self.shorten());
            schema::reserve(&self.folder);
        }
        removed
    }

    /// Removes up to `most` messages that were done before this moment, and gives room back to the disk. Their names and
    /// keys are unknown then, and as many keys of messages that were removed. Returns how many messages.
    ///
    /// # Errors
    /// Of the database.
    pub fn forget(&mut self, before: Time, most: usize) -> Result<u64, QueueError> {
        let count = self.delete_many(DONE_BEFORE, before, most as i64, None, false)?;
        self.write(Durability::Written, |transaction| Ok(run(transaction, REMOVED_BEFORE, (before, most as i64))?))?;
        self.give_back()?;
        Ok(count)
    }

    /// Gives pages that are free back to the disk, if they are many. Tells whether some went.
    fn give_back(&mut self) -> Result<bool, QueueError> {
        let number = |sql: &str| {
            let number = self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
            number.map_err(|error| super::error(&self.path, &error))
        };
        // Half of the file is no waste: messages come and go.
        let free = number("PRAGMA freelist_count")?;
        if free <= PAGES || free <= number("PRAGMA page_count")? / 2 {
            return Ok(false);
        }
        self.write(Durability::Written, |transaction| Ok(vacuum(transaction, PAGES)?))?;
        Ok(number("PRAGMA freelist_count")? < free)
    }

    /// Changes the message of this name, or the only one whose name begins so, where it stands in one of these states.
    /// Whoever had it before has it no more.
    fn decide(
        &mut self,
        name: &str,
        allowed: &[Status],
        change: impl Fn(&Transaction<'_>, &Found) -> Result<(), Fault>,
    ) -> Result<String, QueueError> {
        self.write(Durability::Written, |transaction| {
            let found = find(transaction, name)?;
            if !allowed.contains(&found.status) {
                return Err(QueueError::Standing { name: found.name, status: found.status }.into());
            }
            run(transaction, "UPDATE job SET generation = generation + 1 WHERE id = ?", [found.id])?;
            change(transaction, &found)?;
            Ok(found.name)
        })
    }

    /// Removes up to `most` messages that this finds with this bound. With a time their keys stay known;
    /// on a full disk what they leave free goes at once.
    fn delete_many(
        &mut self,
        sql: &str,
        bound: i64,
        most: i64,
        remembered: Option<Time>,
        is_full: bool,
    ) -> Result<u64, QueueError> {
        let (count, files) = self.write(Durability::Written, |transaction| {
            let mut found = transaction.prepare_cached(sql)?;
            let found = found.query_map((bound, most), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let found = found.collect::<rusqlite::Result<Vec<(i64, String, bool)>>>()?;
            for (id, ..) in &found {
                if let Some(now) = remembered {
                    remember(transaction, *id, now)?;
                }
                delete(transaction, *id)?;
            }
            if is_full {
                vacuum(transaction, ALL)?;
            }
            let files = found.iter().filter(|(_, _, is_file)| *is_file).map(|(_, name, _)| name.clone());
            Ok((found.len() as u64, files.collect::<Vec<_>>()))
        })?;
        self.end_files(&files);
        Ok(count)
    }
}

/// What has expired while it was held lives as long again as it was meant to.
pub(super) fn live_again(transaction: &Transaction<'_>, id: i64, now: Time) -> rusqlite::Result<()> {
    let live_again = "UPDATE job SET expires = ?1 + max(expires - added, 0) WHERE id = ?2 AND expires <= ?1";
    run(transaction, live_again, (now, id)).map(drop)
}

/// Gives up to so many pages that are free back to the disk.
fn vacuum(transaction: &Transaction<'_>, pages: i64) -> rusqlite::Result<()> {
    let mut vacuum = transaction.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut pages = vacuum.query([])?;
    // Each row is a page.
    while pages.next()?.is_some() {}
    Ok(())
}

fn due_at_once(transaction: &Transaction<'_>, id: i64, now: Time) -> rusqlite::Result<()> {
    run(transaction, "UPDATE job SET due = ?1, since = ?1 WHERE id = ?2", (now, id)).map(drop)
}

/// Its key outlives it.
fn remember(transaction: &Transaction<'_>, id: i64, now: Time) -> rusqlite::Result<()> {
    let remember = "
        INSERT OR REPLACE INTO removed (key, name, message_id, recipients, ended)
        SELECT key, name, message_id, (SELECT json_group_array(address ORDER BY number) FROM recipient WHERE job = id),
               coalesce(finished, ?)
        FROM job WHERE id = ? AND key IS NOT NULL";
    run(transaction, remember, (now, id)).map(drop)
}

fn delete(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    for table in
        ["DELETE FROM content WHERE job = ?", "DELETE FROM recipient WHERE job = ?", "DELETE FROM job WHERE id = ?"]
    {
        run(transaction, table, [id])?;
    }
    Ok(())
}
