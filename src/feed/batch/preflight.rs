//! The first pass over a table: every message is looked at, so that nothing is sent while a row is bad.

use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
};

use super::{
    press::Selection,
    sieve::{Fate, Marks, Sieve, row_hash},
};
use crate::{
    feed::recipe::{Recipe, RowIds},
    mail::State,
    message::{Stamp, compose},
    rows::{Row, RowError, Table},
};

/// Complaints that are kept to be shown.
const SHOWN: usize = 20;
/// Rows that go to a thread together.
const CHUNK: usize = 64;

/// What the first pass has found.
#[derive(Debug, Default)]
pub struct Preflight {
    /// Rows chosen.
    pub rows: u64,
    /// Messages to be sent.
    pub messages: u64,
    /// Recipients to be sent to.
    pub recipients: u64,
    /// Rows that are the same as one before, and with `--unique` addresses that were there before.
    pub duplicates: u64,
    /// Recipients on the exclusion list.
    pub excluded: u64,
    /// Recipients that an earlier run has settled: accepted, failed, skipped.
    pub done: u64,
    /// Of those, failed.
    pub failed: u64,
    /// Recipients of whom an earlier run does not know, left alone.
    pub unknown: u64,
    /// Rows that cannot be sent.
    pub bad: u64,
    /// The first of them, by row.
    pub complaints: Vec<RowError>,
    /// Recipients that the run comes to an end with, sent to or not; a bad row counts as one.
    pub total: u64,
    /// Octets of the message with the longest texts and files.
    pub largest: u64,
}

impl Preflight {
    fn add(&mut self, more: &Self) {
        self.rows += more.rows;
        self.messages += more.messages;
        self.recipients += more.recipients;
        self.excluded += more.excluded;
        self.done += more.done;
        self.failed += more.failed;
        self.unknown += more.unknown;
        self.bad += more.bad;
    }
}

#[derive(Default)]
struct Findings {
    sums: Preflight,
    complaints: BTreeMap<u64, RowError>,
    rows: Marks,
    addresses: Marks,
    /// Octets of the longest texts and files so far: what is longer is put together.
    heaviest: u64,
}

/// Looks at every message of the table once.
pub(super) fn preflight(table: &Table, recipe: &Recipe, sieve: &mut Sieve) -> Preflight {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(16);
    let (sender, chunks) = async_channel::bounded::<Vec<Row>>(2 * threads);
    let all = Mutex::new(Findings::default());
    let ids = RowIds::new("");
    let mut own = Findings::default();
    let mut selection = Selection::new(table, &sieve.choice);
    let looked_at: &Sieve = sieve;
    thread::scope(|scope| {
        for _ in 0..threads {
            let (chunks, all, ids) = (chunks.clone(), &all, &ids);
            scope.spawn(move || {
                let mut findings = Findings::default();
                let mut stamp = Stamp::now();
                while let Ok(rows) = chunks.recv_blocking() {
                    rows.into_iter().for_each(|row| findings.row(row, recipe, looked_at, ids, &mut stamp));
                }
                all.lock().unwrap_or_else(PoisonError::into_inner).join(findings);
            });
        }
        // If all of them have met a defect, nothing can be sent to them any more, and the scope passes it on.
        drop(chunks);
        let mut chunk = Vec::with_capacity(CHUNK);
        for row in &mut selection {
            match row {
                Ok(row) => chunk.push(row),
                Err(error) => own.complain(error),
            }
            if chunk.len() == CHUNK
                && sender.send_blocking(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK))).is_err()
            {
                break;
            }
        }
        // They end when all is read.
        let _ = sender.send_blocking(chunk);
        sender.close();
    });
    own.join(all.into_inner().unwrap_or_else(PoisonError::into_inner));
    let mut found = own.sums;
    let doubles = sieve.learn(own.rows, own.addresses);
    found.duplicates = doubles.count;
    found.recipients = found.recipients.saturating_sub(doubles.recipients);
    // A message of its own for each, or one for all of a row.
    let each_alone = recipe.has_verp && recipe.redirect.is_none();
    let less = if each_alone { doubles.recipients } else { doubles.messages };
    found.messages = found.messages.saturating_sub(less);
    if recipe.redirect.is_some() {
        found.recipients = found.messages;
    }
    found.total = found.recipients + doubles.recipients + found.excluded + found.unknown + found.bad;
    found.complaints = own.complaints.into_values().collect();
    found
}

impl Findings {
    fn row(&mut self, row: Row, recipe: &Recipe, sieve: &Sieve, ids: &RowIds, stamp: &mut Stamp) {
        self.sums.rows += 1;
        let mut found = Preflight::default();
        let mut addresses = Vec::new();
        let (number, position, hash) = (row.number, row.position, row_hash(&row));
        let looked = recipe.look(row, ids, &mut |recipient, receiver| {
            let fate = sieve.fate(number, recipient, receiver, &[]);
            if sieve.choice.is_unique {
                addresses.push((recipient.clone(), fate == Fate::Send));
            }
            match fate {
                Fate::Send => found.recipients += 1,
                Fate::Done(state) => {
                    found.done += 1;
                    found.failed += u64::from(state == State::Failed);
                }
                Fate::Unknown => found.unknown += 1,
                Fate::Excluded => found.excluded += 1,
                Fate::Duplicate(_) | Fate::Same(_) => {}
            }
            fate == Fate::Send
        });
        let (draft, messages) = match looked {
            Ok(looked) => looked,
            Err(error) => return self.complain(error),
        };
        found.messages = messages as u64;
        let weight = draft.weight();
        if messages > 0 && weight > self.heaviest {
            self.heaviest = weight;
            match compose(&draft, stamp) {
                Ok(message) => self.sums.largest = message.content.len(),
                Err(error) => {
                    let what = error.to_string();
                    return self.complain(RowError { number, position: Some(position), what, is_final: false });
                }
            }
        }
        self.rows.row(hash, number, usize::try_from(found.recipients).unwrap_or(usize::MAX));
        // A row that is bad takes no address from another.
        addresses.iter().for_each(|(address, is_sent)| self.addresses.address(number, address, *is_sent));
        self.sums.add(&found);
    }

    fn complain(&mut self, error: RowError) {
        self.sums.bad += 1;
        self.complaints.insert(error.number, error);
        if self.complaints.len() > SHOWN {
            self.complaints.pop_last();
        }
    }

    fn join(&mut self, other: Self) {
        self.sums.add(&other.sums);
        if other.heaviest > self.heaviest {
            (self.heaviest, self.sums.largest) = (other.heaviest, other.sums.largest);
        }
        self.complaints.extend(other.complaints);
        while self.complaints.len() > SHOWN {
            self.complaints.pop_last();
        }
        self.rows.append(other.rows);
        self.addresses.append(other.addresses);
    }
}
