//! The embedded queue: one SQLite file that any number of processes add to and drain.

use std::{path::Path, time::Duration};

use super::{Claim, Entry, Job, Outline, QueueError, Settlement, Stats, Status, job::Time};

/// The queue of one user on one machine.
#[derive(Debug)]
pub struct Store {}

/// What became of [`Store::add`]: the message's name, and whether it is new or was added before with the same key.
pub type Added = (String, bool);

impl Store {
    /// Opens it, and makes it where there is none.
    ///
    /// # Errors
    /// If it cannot be used; see [`QueueError`].
    pub fn open(_path: &Path) -> Result<Self, QueueError> {
        todo!()
    }

    /// Keeps these messages, all or none. When it returns, they outlive a loss of power.
    ///
    /// # Errors
    /// A full disk, a file of a message that cannot be read.
    pub fn add(&mut self, _jobs: &[Job]) -> Result<Vec<Added>, QueueError> {
        todo!()
    }

    /// Takes up to `most` messages that are due for this worker, the highest priority first, then the longest due. Noted on
    /// the disk before it returns.
    ///
    /// # Errors
    /// Of the database.
    pub fn claim(
        &mut self,
        _worker: &str,
        _most: usize,
        _now: Time,
        _lease: Duration,
    ) -> Result<Vec<Claim>, QueueError> {
        todo!()
    }

    /// Notes that the last bytes of these messages (number and generation) are about to leave. Tells for each whether it
    /// may: not, if the lease is somebody else's by now.
    ///
    /// # Errors
    /// Of the database: then none may.
    pub fn intend(&mut self, _claims: &[(i64, i64)], _now: Time) -> Result<Vec<bool>, QueueError> {
        todo!()
    }

    /// Notes what came of attempts, all in one transaction.
    ///
    /// # Errors
    /// Of the database.
    pub fn settle(&mut self, _settlements: &[Settlement<'_>], _now: Time) -> Result<(), QueueError> {
        todo!()
    }

    /// Renews the leases that this worker still has.
    ///
    /// # Errors
    /// Of the database.
    pub fn renew(&mut self, _worker: &str, _now: Time, _lease: Duration) -> Result<(), QueueError> {
        todo!()
    }

    /// Takes up what dead workers have left, and leases that have run out: without an intent free again, with one
    /// `unknown`: held, or with `retries_unknown` free again. Returns how many of each.
    ///
    /// # Errors
    /// Of the database.
    pub fn recover(&mut self, _now: Time, _retries_unknown: bool) -> Result<(u64, u64), QueueError> {
        todo!()
    }

    /// Takes up to `most` messages that have expired and that no worker has, for this worker, to be told of.
    ///
    /// # Errors
    /// Of the database.
    pub fn expired(
        &mut self,
        _worker: &str,
        _most: usize,
        _now: Time,
        _lease: Duration,
    ) -> Result<Vec<Claim>, QueueError> {
        todo!()
    }

    /// When the next message that nobody has becomes due or expires.
    ///
    /// # Errors
    /// Of the database.
    pub fn next_due(&mut self) -> Result<Option<Time>, QueueError> {
        todo!()
    }

    /// Makes whatever was noted outlive a loss of power.
    ///
    /// # Errors
    /// Of the database.
    pub fn sync(&mut self) -> Result<(), QueueError> {
        todo!()
    }

    /// Tells of the messages in these states, in the order in which they were added, one by one: there may be many.
    ///
    /// # Errors
    /// Of the database.
    pub fn list(&mut self, _states: &[Status], _told: &mut dyn FnMut(&Outline)) -> Result<(), QueueError> {
        todo!()
    }

    /// All that is known of the message of this name, or of the only one whose name begins so.
    ///
    /// # Errors
    /// [`QueueError::Unknown`]; of the database.
    pub fn show(&mut self, _name: &str) -> Result<Entry, QueueError> {
        todo!()
    }

    /// The queue in figures.
    ///
    /// # Errors
    /// Of the database.
    pub fn stats(&mut self, _now: Time) -> Result<Stats, QueueError> {
        todo!()
    }
}
