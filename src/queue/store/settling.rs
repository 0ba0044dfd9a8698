//! What came of attempts.

use rusqlite::OptionalExtension;

use super::{Durability, QueueError, Store, Time, Transaction, adding, run};
use crate::{
    mail::{Stage, State, clean},
    queue::{Job, Next, Settlement, Status},
};

/// What was said to those whom message ?1 waits for, or else what went wrong.
macro_rules! said {
    () => {
        "(SELECT text FROM recipient WHERE job = ?1
          ORDER BY (state IS NULL OR state = 'deferred') DESC, text IS NULL, state = 'accepted', number LIMIT 1)"
    };
}

pub(super) const SAY: &str = concat!(
    "UPDATE job SET attempts = attempts + ?2, why = CASE state WHEN 2 THEN why ELSE ",
    said!(),
    " END WHERE id = ?1"
);
const FINISH: &str = concat!(
    "UPDATE job SET state = 3, finished = ?2, worker = NULL, lease = NULL, boot = NULL, intent = NULL,
            attempts = attempts + ?3, why = ",
    said!(),
    " WHERE id = ?1"
);

/// How many recipients of a message have not ended, and of how many nobody knows.
pub(super) struct Rest {
    pub open: i64,
    pub unknown: i64,
    /// Failed, and nobody was told.
    pub untold: i64,
}

impl Rest {
    pub fn of(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<Self> {
        let mut count = transaction.prepare_cached(
            "SELECT count(*) FILTER (WHERE state IS NULL OR state = 'deferred'), count(*) FILTER (WHERE state = 'unknown'),
                    count(*) FILTER (WHERE state = 'failed' AND NOT is_told)
             FROM recipient WHERE job = ?",
        )?;
        count.query_row([id], |row| Ok(Rest { open: row.get(0)?, unknown: row.get(1)?, untold: row.get(2)? }))
    }

    fn is_over(&self) -> bool {
        self.open == 0 && self.unknown == 0 && self.untold == 0
    }
}

impl Store {
    /// Notes that the last bytes of some messages (number and generation) are about to leave, and what came of attempts,
    /// all in one transaction. Tells for each intent whether it may: not, if the lease is somebody else's by now; and for
    /// each settlement whether its lease was the latest: what failed under another one is nobody's to be told.
    ///
    /// # Errors
    /// Of the database: then nothing may leave, and nothing is noted.
    pub fn note_all(
        &mut self,
        intents: &[(i64, i64)],
        settlements: &[Settlement<'_>],
        now: Time,
    ) -> Result<(Vec<bool>, Vec<bool>), QueueError> {
        let reports: Vec<&Job> = settlements.iter().filter_map(|settlement| settlement.report).collect();
        let mut kept = self.keep_all(&reports)?;
        // A loss of power must be told from a death, or take no intent away.
        let must_last = self.boot.is_none() && !intents.is_empty();
        let durability = if must_last { Durability::Synced } else { Durability::Written };
        let (may, ended, latest) = self.write(durability, |transaction| {
            let may =
                intents.iter().map(|intent| intend(transaction, *intent, now)).collect::<rusqlite::Result<_>>()?;
            let (mut ended, mut latest) = (Vec::new(), Vec::with_capacity(settlements.len()));
            let mut reports = reports.iter().zip(&kept);
            for settlement in settlements {
                let report = settlement.report.and_then(|_| reports.next());
                let (is_latest, file) = settle(transaction, settlement, now)?;
                ended.extend(file);
                latest.push(is_latest);
                if let Some((report, (kept, name))) = report.filter(|_| is_latest) {
                    adding::insert(transaction, report, name, kept, now)?;
                }
            }
            Ok((may, ended, latest))
        })?;
        let added = settlements.iter().zip(&latest).filter(|(settlement, _)| settlement.report.is_some());
        for ((kept, _), (_, is_latest)) in kept.iter_mut().zip(added) {
            kept.take(*is_latest);
        }
        self.end_files(&ended);
        Ok((may, latest))
    }
}

/// Notes an intent; tells whether the lease is still ours.
fn intend(transaction: &Transaction<'_>, (id, generation): (i64, i64), now: Time) -> rusqlite::Result<bool> {
    let intend = "UPDATE job SET intent = ? WHERE id = ? AND generation = ? AND state = 1";
    Ok(run(transaction, intend, (now, id, generation))? == 1)
}

/// Returns whether the lease was the latest, and the name of a large message that has ended.
fn settle(
    transaction: &Transaction<'_>,
    settlement: &Settlement<'_>,
    now: Time,
) -> rusqlite::Result<(bool, Option<String>)> {
    let id = settlement.id;
    let found = transaction
        .prepare_cached("SELECT state, generation, intent IS NOT NULL FROM job WHERE id = ?")?
        .query_row([id], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?)))
        .optional()?;
    // Removed by somebody meanwhile.
    let Some((Code(status), generation, has_intent)) = found else { return Ok((false, None)) };
    // Taken up since, though by nobody yet: what is said here is the latest truth all the same.
    let is_latest = generation == settlement.generation && status != Status::Done;
    let has_lease = is_latest && status == Status::Leased;
    note(transaction, settlement, is_latest, now)?;
    if is_latest && settlement.is_told {
        run(transaction, "UPDATE recipient SET is_told = 1 WHERE job = ? AND state = 'failed'", [id])?;
    }
    let was_tried = has_intent || settlement.outcomes.iter().any(|(outcome, _)| outcome.stage > Stage::Compose);
    let is_attempt = match settlement.next {
        Next::Again(_) | Next::AgainUnknown(_) => true,
        // What has expired, or goes nowhere, is not tried.
        Next::Done | Next::Held(_) | Next::HeldWithoutWay(_) => was_tried,
        Next::More | Next::Released(_) => false,
    };
    let is_attempt = is_latest && is_attempt;
    let rest = Rest::of(transaction, id)?;
    let over = match is_latest {
        true => follow(transaction, settlement, has_lease, &rest, is_attempt, now)?,
        false if status != Status::Done && rest.is_over() => Some(finish(transaction, id, is_attempt, now)?),
        false => None,
    };
    match over {
        Some(Over(file)) => Ok((is_latest, file)),
        None => count_and_say(transaction, id, is_attempt).map(|()| (is_latest, None)),
    }
}

/// Counts an attempt, if it was one, and says of a message that is not held what was said to those whom it still waits
/// for, or else what went wrong.
fn count_and_say(transaction: &Transaction<'_>, id: i64, is_attempt: bool) -> rusqlite::Result<()> {
    run(transaction, SAY, (id, is_attempt)).map(drop)
}

/// What was said to those whom a message waits for, and no other reason.
pub(super) fn say(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    count_and_say(transaction, id, false)
}

/// A message is over, and this is the name of its file, if it has one.
pub(super) struct Over(pub Option<String>);

/// Does what follows for a message, as its latest lease says. Of one that is over all is noted, also the attempt.
fn follow(
    transaction: &Transaction<'_>,
    settlement: &Settlement<'_>,
    has_lease: bool,
    rest: &Rest,
    is_attempt: bool,
    now: Time,
) -> rusqlite::Result<Option<Over>> {
    let id = settlement.id;
    match &settlement.next {
        Next::More if has_lease => Ok(None),
        // Whoever says so has lost count of them.
        Next::Done if rest.open > 0 => free(transaction, id).map(|()| None),
        Next::Done => conclude(transaction, id, rest, is_attempt, now),
        _ if rest.is_over() => finish(transaction, id, is_attempt, now).map(Some),
        Next::AgainUnknown(at) => {
            reopen(transaction, id)?;
            again(transaction, id, *at, now)
        }
        // Whoever took it up has found it in doubt, and it still is.
        _ if !has_lease && rest.unknown > 0 => Ok(None),
        Next::More => Ok(None),
        Next::Held(why) => hold(transaction, id, why).map(|()| None),
        Next::HeldWithoutWay(why) if rest.open > 0 => {
            hold(transaction, id, why)?;
            run(transaction, "UPDATE job SET has_no_way = 1 WHERE id = ?", [id]).map(|_| None)
        }
        _ if rest.open == 0 => conclude(transaction, id, rest, is_attempt, now),
        Next::Again(at) | Next::Released(Some(at)) => again(transaction, id, *at, now),
        Next::Released(None) | Next::HeldWithoutWay(_) => free(transaction, id).map(|()| None),
    }
}

/// Notes the outcomes: of a lease that is not the latest only what was accepted. That is never taken back.
fn note(
    transaction: &Transaction<'_>,
    settlement: &Settlement<'_>,
    is_latest: bool,
    now: Time,
) -> rusqlite::Result<()> {
    let mut note = transaction.prepare_cached(
        "UPDATE recipient SET state = ?, text = ?, remote_id = ?, server = ?, time = ?
         WHERE job = ? AND address = ? AND state IS NOT 'accepted'",
    )?;
    for (outcome, route) in settlement.outcomes {
        if !is_latest && outcome.state != State::Accepted {
            continue;
        }
        note.execute((
            outcome.state.as_str(),
            outcome.words(),
            &outcome.remote_id,
            &route.server,
            now,
            settlement.id,
            AsRef::<str>::as_ref(&outcome.recipient),
        ))?;
    }
    Ok(())
}

const DOUBT: &str = "nobody knows whether it was sent";

/// Nobody is to be tried again: it is over, or waits for somebody who decides what nobody knows.
pub(super) fn conclude(
    transaction: &Transaction<'_>,
    id: i64,
    rest: &Rest,
    is_attempt: bool,
    now: Time,
) -> rusqlite::Result<Option<Over>> {
    if rest.untold > 0 && rest.unknown == 0 {
        // Whoever takes it tells of them.
        return free(transaction, id).map(|()| None);
    }
    if rest.unknown == 0 {
        return finish(transaction, id, is_attempt, now).map(Some);
    }
    let text = "SELECT text FROM recipient WHERE job = ? AND state = 'unknown' ORDER BY number LIMIT 1";
    let text: Option<String> = transaction.query_row(text, [id], |row| row.get(0))?;
    let why = text.map_or_else(|| DOUBT.to_owned(), |text| format!("{DOUBT}: {text}"));
    hold(transaction, id, &why).map(|()| None)
}

/// It is over: its octets go.
fn finish(transaction: &Transaction<'_>, id: i64, is_attempt: bool, now: Time) -> rusqlite::Result<Over> {
    let mut file = transaction.prepare_cached("SELECT name FROM job WHERE id = ? AND is_file")?;
    let file = file.query_row([id], |row| row.get(0)).optional()?;
    run(transaction, "DELETE FROM content WHERE job = ?", [id])?;
    run(transaction, FINISH, (id, now, is_attempt))?;
    Ok(Over(file))
}

/// It waits for somebody who decides.
pub(super) fn hold(transaction: &Transaction<'_>, id: i64, why: &str) -> rusqlite::Result<()> {
    let hold = "UPDATE job SET state = 2, has_no_way = 0, why = ?, worker = NULL, lease = NULL, boot = NULL,
                    intent = NULL WHERE id = ?";
    run(transaction, hold, (clean(why), id)).map(drop)
}

/// It is free, in its old turn.
pub(super) fn free(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    let free = "UPDATE job SET state = 0, worker = NULL, lease = NULL, boot = NULL, intent = NULL WHERE id = ?";
    run(transaction, free, [id]).map(drop)
}

/// It is free, and due at this moment.
fn again(transaction: &Transaction<'_>, id: i64, at: Time, now: Time) -> rusqlite::Result<Option<Over>> {
    free(transaction, id)?;
    run(transaction, "UPDATE job SET due = ?, since = ? WHERE id = ?", (at, now, id))?;
    Ok(None)
}

/// Those of whom nobody knows whether they have it are open again.
pub(super) fn reopen(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    run(transaction, "UPDATE recipient SET state = 'deferred' WHERE job = ? AND state = 'unknown'", [id]).map(drop)
}

/// Whoever had it cannot say any more whether it was sent.
pub(super) fn doubt(
    transaction: &Transaction<'_>,
    id: i64,
    why: &str,
    now: Time,
    retries_unknown: bool,
) -> rusqlite::Result<()> {
    let state = if retries_unknown { State::Deferred } else { State::Unknown };
    run(
        transaction,
        "UPDATE recipient SET state = ?, text = ?, time = ? WHERE job = ? AND (state IS NULL OR state = 'deferred')",
        (state.as_str(), why, now, id),
    )?;
    run(transaction, "UPDATE job SET attempts = attempts + 1 WHERE id = ?", [id])?;
    hold(transaction, id, why)?;
    if retries_unknown { free(transaction, id) } else { Ok(()) }
}

/// A status as the database has it; the partial indices name these numbers.
pub(super) struct Code(pub Status);

impl rusqlite::types::FromSql for Code {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        let number = value.as_i64()?;
        let status = usize::try_from(number).ok().and_then(|number| Status::ALL.get(number));
        status.map(|status| Code(*status)).ok_or(rusqlite::types::FromSqlError::OutOfRange(number))
    }
}
