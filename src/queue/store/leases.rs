//! Workers take messages for themselves for a while, and others take up what the dead have left.

use std::{cmp::Reverse, collections::HashSet, fs, time::Duration};

use rusqlite::{OptionalExtension, Row};

use super::{
    Durability, QueueError, Store, Time, Transaction, deciding, looking, run, settling,
    settling::{Over, Rest},
    worker, workers,
};
use crate::{
    mail::{Address, Content, DsnRequest, DsnReturn, Envelope, Piece, Source, Submission},
    queue::{Claim, Place, Untold, Worker},
};

/// A file without a message is younger while its message is being added.
const ORPHAN_FOR: Duration = Duration::from_secs(3600);

// Each step of these costs a look into an index, however many wait: none is walked through in vain. Places are few.

/// The next place in which messages wait.
pub(super) const NEXT_PLACE: &str = "SELECT place FROM job WHERE state = 0 AND place > ? ORDER BY place LIMIT 1";
/// The highest priority there below another one.
pub(super) const NEXT_PRIORITY: &str =
    "SELECT priority FROM job WHERE state = 0 AND place = ? AND priority < ? ORDER BY priority DESC LIMIT 1";
/// Due messages of a place and a priority, in their turn.
pub(super) const DUE: &str = "SELECT due, id FROM job
     WHERE state = 0 AND place = ?1 AND priority = ?2 AND due <= ?3 AND expires > ?3 ORDER BY due, id LIMIT ?4";
/// The first that becomes due there.
pub(super) const FIRST: &str = "SELECT min(due) FROM job WHERE state = 0 AND place = ? AND priority = ?";
/// What was to be waited for begins anew.
pub(super) const SET_BACK: &str =
    "UPDATE job SET due = due - since + ?1, since = ?1 WHERE state = 0 AND since IS NOT NULL AND since > ?1";
pub(super) const FIRST_END: &str = "SELECT min(expires) FROM job WHERE state = 0";
pub(super) const EXPIRED: &str = "SELECT id FROM job WHERE state = 0 AND expires <= ? ORDER BY expires LIMIT ?";
pub(super) const RENEW: &str = "UPDATE job SET lease = ? WHERE state = 1 AND worker = ?";
pub(super) const WITHOUT_WAY: &str = "SELECT id FROM job WHERE state = 2 AND has_no_way = 1 AND place = ?";
pub(super) const PLACES_WITHOUT_WAY: &str = "SELECT DISTINCT place FROM job WHERE state = 2 AND has_no_way = 1";
pub(super) const RECIPIENTS: &str = "SELECT number, address, state = 'failed', text, server FROM recipient
     WHERE job = ? AND (state IS NULL OR state = 'deferred' OR (state = 'failed' AND NOT is_told))";
pub(super) const LEASES: &str = "SELECT id, lease, worker, boot FROM job WHERE state = 1";

/// A lease that nobody minds any more.
struct Left {
    id: i64,
    lease: i64,
    worker: String,
    /// Whether it was sent is in doubt even without an intent.
    is_doubtful: bool,
    /// What has become of its worker.
    what: &'static str,
}

impl Store {
    /// From now on [`Store::claim`] leaves the messages of these places, and of no others, where they are.
    pub fn pass_over(&mut self, places: &[Place]) {
        // Nothing in them is without a form in JSON.
        self.passed_over = places.iter().filter_map(|place| serde_json::to_string(place).ok()).collect();
    }

    /// Takes up to `most` messages that are due for this worker, the highest priority first, then the longest due. Noted on
    /// the disk before it returns. One that has expired is left for [`Store::expired`]; one that cannot be read is held.
    ///
    /// # Errors
    /// Of the database.
    pub fn claim(
        &mut self,
        worker: &Worker,
        most: usize,
        now: Time,
        lease: Duration,
    ) -> Result<Vec<Claim>, QueueError> {
        let passed_over = self.passed_over.clone();
        self.take(worker, now, lease, |transaction| {
            // The clock has been set back since these were noted.
            run(transaction, SET_BACK, [now])?;
            due(transaction, most, now, &passed_over)
        })
    }

    /// The places of messages that are held since there was no way for them.
    ///
    /// # Errors
    /// Of the database.
    pub fn places_without_way(&mut self) -> Result<Vec<Place>, QueueError> {
        self.read(|transaction| {
            let mut places = transaction.prepare_cached(PLACES_WITHOUT_WAY)?;
            let places = places.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
            Ok(places.iter().filter_map(|place| serde_json::from_str(place).ok()).collect())
        })
    }

    /// Frees the messages of these places that are held since there was no way for them. One that has expired meanwhile
    /// lives as long again as it was meant to. Returns how many.
    ///
    /// # Errors
    /// Of the database.
    pub fn free_with_way(&mut self, places: &[Place], now: Time) -> Result<u64, QueueError> {
        // Nothing in them is without a form in JSON.
        let places: Vec<String> = places.iter().filter_map(|place| serde_json::to_string(place).ok()).collect();
        self.write(Durability::Written, |transaction| {
            let mut count = 0;
            for place in &places {
                let mut ids = transaction.prepare_cached(WITHOUT_WAY)?;
                let ids = ids.query_map([place], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
                for id in ids {
                    run(transaction, "UPDATE job SET generation = generation + 1 WHERE id = ?", [id])?;
                    settling::free(transaction, id)?;
                    settling::say(transaction, id)?;
                    deciding::live_again(transaction, id, now)?;
                    count += 1;
                }
            }
            Ok(count)
        })
    }

    /// Takes up to `most` waiting messages that have expired for this worker, to be told of.
    ///
    /// # Errors
    /// Of the database.
    pub fn expired(
        &mut self,
        worker: &Worker,
        most: usize,
        now: Time,
        lease: Duration,
    ) -> Result<Vec<Claim>, QueueError> {
        let expired = |transaction: &Transaction<'_>, most: usize| {
            let mut expired = transaction.prepare_cached(EXPIRED)?;
            expired.query_map((now, most as i64), |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()
        };
        // Whoever only looks is in nobody's way.
        if self.read(|transaction| Ok(expired(transaction, 1)?))?.is_empty() {
            return Ok(Vec::new());
        }
        self.take(worker, now, lease, |transaction| expired(transaction, most))
    }

    fn take(
        &mut self,
        worker: &Worker,
        now: Time,
        lease: Duration,
        choose: impl Fn(&Transaction<'_>) -> rusqlite::Result<Vec<i64>>,
    ) -> Result<Vec<Claim>, QueueError> {
        let (claims, ended) = self.write(Durability::Synced, |transaction| {
            let ids = choose(transaction)?;
            // RETURNING would cost more: it keeps a table of what it returns.
            let mut look = transaction.prepare_cached(
                "SELECT id, generation + 1 AS generation, name, place, message_id, sender, dsn_notify, dsn_return,
                        dsn_envid, attempts, expires, is_8bit, has_utf8_headers, is_file, size
                 FROM job WHERE id = ?",
            )?;
            let mut take = transaction.prepare_cached(
                "UPDATE job SET state = 1, generation = generation + 1, worker = ?, lease = ?, boot = ?, intent = NULL
                 WHERE id = ?",
            )?;
            let (mut claims, mut ended) = (Vec::with_capacity(ids.len()), Vec::new());
            for id in ids {
                let loaded = look.query_row([id], |row| self.load(transaction, row))?;
                take.execute((worker.name(), end(now, lease), &self.boot, id))?;
                match loaded {
                    Ok(claim) => claims.push(claim),
                    Err(NotLoaded::NobodyOpen) => {
                        let rest = Rest::of(transaction, id)?;
                        let over = settling::conclude(transaction, id, &rest, false, now)?;
                        ended.extend(over.and_then(|Over(file)| file));
                    }
                    Err(NotLoaded::Unreadable(why)) => settling::hold(transaction, id, &why)?,
                }
            }
            Ok((claims, ended))
        })?;
        self.end_files(&ended);
        Ok(claims)
    }

    fn load(&self, transaction: &Transaction<'_>, row: &Row<'_>) -> rusqlite::Result<Result<Claim, NotLoaded>> {
        let unreadable = |what: &str| Ok(Err(NotLoaded::Unreadable(format!("it cannot be read: {what}"))));
        let id: i64 = row.get("id")?;
        let Some((to, untold)) = recipients(transaction, id)? else { return unreadable("an address is damaged") };
        let Ok(from) = row.get::<_, Option<String>>("sender")?.map(|text| address(&text).ok_or(())).transpose() else {
            return unreadable("its sender is damaged");
        };
        let is_over = to.is_empty();
        let to = if is_over { untold.iter().map(|untold| untold.address.clone()).collect() } else { to };
        let Ok(envelope) = Envelope::new(from, to) else { return Ok(Err(NotLoaded::NobodyOpen)) };
        let Ok(place) = serde_json::from_str(&row.get::<_, String>("place")?) else {
            return unreadable("what it says of its way is damaged");
        };
        let content = match self.content_of(transaction, row)? {
            Ok(content) => content,
            Err(why) => return unreadable(&why),
        };
        let submission = Submission {
            id: id as u64,
            message_id: row.get("message_id")?,
            envelope,
            content,
            dsn: dsn(row)?,
            has_turn: false,
        };
        Ok(Ok(Claim {
            id,
            name: row.get("name")?,
            generation: row.get("generation")?,
            place,
            submission,
            attempts: row.get("attempts")?,
            expires: row.get("expires")?,
            untold,
            is_over,
            is_redelivered: false,
        }))
    }

    /// The octets of a message: small ones are read, large ones a file.
    pub(super) fn content_of(
        &self,
        transaction: &Transaction<'_>,
        row: &Row<'_>,
    ) -> rusqlite::Result<Result<Content, String>> {
        let size = row.get::<_, i64>("size")? as u64;
        let mut content = if row.get("is_file")? {
            let path = self.file(&row.get::<_, String>("name")?);
            let modified = match fs::metadata(&path) {
                Ok(metadata) if metadata.len() == size => metadata.modified().ok(),
                Ok(_) => return Ok(Err(format!("{} is damaged", path.display()))),
                Err(error) => return Ok(Err(format!("{}: {error}", path.display()))),
            };
            let mut content = Content::default();
            content.push(Piece::verbatim(Source::Path { path, modified }, size));
            content
        } else {
            let mut octets = transaction.prepare_cached("SELECT octets FROM content WHERE job = ?")?;
            match octets.query_row([row.get::<_, i64>("id")?], |row| row.get(0)).optional()? {
                Some(octets) => Content::from_bytes(octets),
                None => return Ok(Err("its octets are gone".to_owned())),
            }
        };
        content.is_8bit = row.get("is_8bit")?;
        content.has_utf8_headers = row.get("has_utf8_headers")?;
        Ok(Ok(content))
    }

    /// Renews the leases that this worker still has.
    ///
    /// # Errors
    /// Of the database.
    pub fn renew(&mut self, worker: &Worker, now: Time, lease: Duration) -> Result<(), QueueError> {
        self.write(Durability::Written, |transaction| {
            run(transaction, RENEW, (end(now, lease), worker.name()))?;
            Ok(())
        })
    }

    /// Takes up what dead workers have left, and leases that have run out: without an intent free again, with one
    /// `unknown`: held, or with `retries_unknown` free again. Returns how many of each.
    ///
    /// # Errors
    /// Of the database.
    pub fn recover(&mut self, now: Time, retries_unknown: bool) -> Result<(u64, u64), QueueError> {
        self.sweep()?;
        let left = self.left(now)?;
        if left.is_empty() {
            return Ok((0, 0));
        }
        let (counts, ended) = self.write(Durability::Synced, |transaction| {
            let (mut counts, mut ended) = ((0, 0), Vec::new());
            for left in &left {
                let still =
                    "SELECT intent IS NOT NULL FROM job WHERE id = ? AND state = 1 AND lease = ? AND worker = ?";
                let whose = (left.id, left.lease, &left.worker);
                let intent = transaction.query_row(still, whose, |row| row.get::<_, bool>(0)).optional()?;
                // Renewed, settled or taken up by somebody else meanwhile.
                let Some(has_intent) = intent else { continue };
                let rest = Rest::of(transaction, left.id)?;
                if rest.open == 0 {
                    let over = settling::conclude(transaction, left.id, &rest, false, now)?;
                    ended.extend(over.and_then(|Over(file)| file));
                } else if !has_intent && !left.is_doubtful {
                    settling::free(transaction, left.id)?;
                    let why = format!("{} before it was sent", left.what);
                    run(transaction, "UPDATE job SET why = coalesce(why, ?) WHERE id = ?", (why, left.id))?;
                    counts.0 += 1;
                } else {
                    let why = format!("{} while it was sent", left.what);
                    settling::doubt(transaction, left.id, &why, now, retries_unknown)?;
                    counts.1 += 1;
                }
            }
            Ok((counts, ended))
        })?;
        self.end_files(&ended);
        Ok(counts)
    }

    /// Leases that nobody minds any more.
    fn left(&self, now: Time) -> Result<Vec<Left>, QueueError> {
        let workers = workers(&self.folder);
        self.read(|transaction| {
            let mut leases = transaction.prepare_cached(LEASES)?;
            let mut rows = leases.query([])?;
            let (mut left, mut alive, mut dead) = (Vec::new(), HashSet::new(), HashSet::new());
            while let Some(row) = rows.next()? {
                let (worker, boot): (String, Option<String>) = (row.get(2)?, row.get(3)?);
                if !alive.contains(&worker) && !dead.contains(&worker) {
                    let known = if worker::lives(&workers, &worker) { &mut alive } else { &mut dead };
                    known.insert(worker.clone());
                }
                let lease: i64 = row.get(1)?;
                // The intent was not synced: the loss of power that ended the worker may have taken it.
                let is_of_another_boot = boot.is_some() && self.boot.is_some() && boot != self.boot;
                let what = match (is_of_another_boot, dead.contains(&worker)) {
                    (true, _) => "the system was started anew",
                    (false, true) => "the worker died",
                    (false, false) if lease <= now => "the worker stood still",
                    _ => continue,
                };
                left.push(Left { id: row.get(0)?, lease, worker, is_doubtful: is_of_another_boot, what });
            }
            Ok(left)
        })
    }

    /// Removes files of dead workers, and once those of messages that were not added whole or have ended.
    fn sweep(&mut self) -> Result<(), QueueError> {
        worker::sweep(&workers(&self.folder));
        if std::mem::replace(&mut self.is_swept, true) {
            return Ok(());
        }
        // An end that a loss of power could take back would come back without its file.
        self.sync()?;
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let Some(name) = name.to_str().filter(|name| looking::is_name(name)) else { continue };
            if worker::is_old(&path, ORPHAN_FOR) {
                // Nobody adds its message meanwhile; who does so later finds that it is gone.
                self.write(Durability::Written, |transaction| {
                    let has_message = "SELECT EXISTS (SELECT 1 FROM job WHERE name = ? AND state <> 3)";
                    if !transaction.query_row(has_message, [name], |row| row.get::<_, bool>(0))? {
                        // What cannot be removed is no harm but to the disk.
                        let _ = fs::remove_file(&path);
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// When the next message that nobody has becomes due or expires.
    ///
    /// # Errors
    /// Of the database.
    pub fn next_due(&mut self) -> Result<Option<Time>, QueueError> {
        self.read(|transaction| {
            let mut next: Option<Time> = transaction.prepare_cached(FIRST_END)?.query_row([], |row| row.get(0))?;
            let mut first = transaction.prepare_cached(FIRST)?;
            each_turn(transaction, |place, priority| {
                let first: Option<Time> = first.query_row((place, priority), |row| row.get(0))?;
                next = next.into_iter().chain(first).min();
                Ok(())
            })?;
            Ok(next)
        })
    }
}

/// Why a message could not be taken.
enum NotLoaded {
    NobodyOpen,
    Unreadable(String),
}

fn end(now: Time, lease: Duration) -> Time {
    now.saturating_add(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX))
}

/// Messages that are due, in their turn: the highest priority first, then the longest due.
fn due(transaction: &Transaction<'_>, most: usize, now: Time, passed_over: &[String]) -> rusqlite::Result<Vec<i64>> {
    let mut due = transaction.prepare_cached(DUE)?;
    let mut turns: Vec<(Reverse<i64>, Time, i64)> = Vec::new();
    each_turn(transaction, |place, priority| {
        if passed_over.iter().any(|passed| passed == place) {
            return Ok(());
        }
        let found = due.query_map((place, priority, now, most as i64), |row| {
            Ok((Reverse(priority), row.get::<_, Time>(0)?, row.get::<_, i64>(1)?))
        })?;
        for turn in found {
            turns.push(turn?);
        }
        Ok(())
    })?;
    turns.sort_unstable();
    turns.truncate(most);
    Ok(turns.into_iter().map(|(.., id)| id).collect())
}

/// Calls `each` with every place in which messages wait, and the priorities there.
fn each_turn(
    transaction: &Transaction<'_>,
    mut each: impl FnMut(&str, i64) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut next_place = transaction.prepare_cached(NEXT_PLACE)?;
    let mut next_priority = transaction.prepare_cached(NEXT_PRIORITY)?;
    let mut place = String::new();
    while let Some(next) = next_place.query_row([&place], |row| row.get::<_, String>(0)).optional()? {
        place = next;
        let mut last = i64::MAX;
        while let Some(priority) = next_priority.query_row((&place, last), |row| row.get(0)).optional()? {
            each(&place, priority)?;
            last = priority;
        }
    }
    Ok(())
}

/// Those whom a message waits for, and its failures that were not told; nothing, if an address among them is damaged.
fn recipients(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<Option<(Vec<Address>, Vec<Untold>)>> {
    let mut found = transaction.prepare_cached(RECIPIENTS)?;
    let mut rows = found.query([id])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(address) = address(row.get_ref(1)?.as_str()?) else { return Ok(None) };
        let words = match row.get::<_, Option<bool>>(2)? {
            Some(true) => Some((row.get::<_, Option<String>>(3)?, row.get::<_, Option<String>>(4)?)),
            _ => None,
        };
        found.push((row.get::<_, i64>(0)?, address, words));
    }
    // SQLite would build a sorter even for one.
    found.sort_unstable_by_key(|(number, ..)| *number);
    let (mut open, mut untold) = (Vec::new(), Vec::new());
    for (_, address, words) in found {
        match words {
            None => open.push(address),
            Some((text, server)) => {
                let (text, server) = (text.unwrap_or_default(), server.unwrap_or_default());
                untold.push(Untold { address, text, server });
            }
        }
    }
    Ok(Some((open, untold)))
}

/// It was an address when the message was added; what it was parsed to is not parsed again.
fn address(text: &str) -> Option<Address> {
    let (user, domain) = text.rsplit_once('@')?;
    Some(Address::new_dangerous(user, domain))
}

fn dsn(row: &Row<'_>) -> rusqlite::Result<DsnRequest> {
    let notify = row.get::<_, Option<String>>("dsn_notify")?;
    let notify = notify.and_then(|words| words.to_ascii_lowercase().parse().ok());
    let ret = row.get::<_, Option<String>>("dsn_return")?.and_then(|word| DsnReturn::from_word(&word));
    Ok(DsnRequest { notify, ret, envid: row.get("dsn_envid")? })
}
