//! Which rows and recipients are sent to: selection, duplicates, exclusions, and what an earlier run has left.

use std::collections::HashMap;

use ring::digest::{Context, SHA256};
use serde_json::Value;

use crate::{
    ledger::Past,
    mail::{Address, Cause, Outcome, Stage, State, Trouble},
    rows::{Exclusions, Numbers, Row},
};

/// What is to be sent.
#[derive(Debug, Default)]
pub struct Choice {
    /// Only these rows.
    pub numbers: Option<Numbers>,
    /// Only so many of them.
    pub first: Option<u64>,
    /// Nobody of these.
    pub exclusions: Option<Exclusions>,
    /// Each address once, the first time.
    pub is_unique: bool,
    /// Those, too, of whom nobody knows whether they have it.
    pub resends_unknown: bool,
}

/// The choice, with what is known of the whole table and of earlier runs.
#[derive(Debug)]
pub(super) struct Sieve {
    pub choice: Choice,
    pub past: Past,
    rows: Repeated,
    addresses: Repeated,
}

/// What is to be done for a recipient of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Send,
    /// An earlier run has settled it for good.
    Done(State),
    /// An earlier run does not know, and it is left alone.
    Unknown,
    Excluded,
    /// This row, which comes before, has the same cells.
    Same(u64),
    /// This row, which comes before, has the same address.
    Duplicate(u64),
}

/// A hash of 80 bits: of 1,000,000 different rows two have the same with a probability of 4 in 10^13.
pub(super) type Hash = [u8; 10];

/// Where each of those stands that are there more than once.
#[derive(Debug, Default)]
struct Repeated(HashMap<Hash, Box<[u32]>>);

/// What would be sent, were it not there before.
#[derive(Debug, Default)]
pub(super) struct Doubles {
    /// Rows, or addresses where each is wanted once.
    pub count: u64,
    pub messages: u64,
    pub recipients: u64,
}

/// Collects hashes of rows or addresses in 16 bytes each.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<Mark>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    hash: Hash,
    row: u32,
    /// Those to be sent to.
    recipients: u16,
}

impl Fate {
    /// The outcome of a recipient that is not sent to; none for one that is, or was.
    pub fn outcome(self, recipient: Address) -> Option<Outcome> {
        match self {
            Fate::Send | Fate::Done(_) => None,
            Fate::Unknown => {
                let trouble = Some(Trouble::new(Stage::Final, Cause::Stopped, "an earlier run was broken off"));
                let skipped = Outcome::skipped(recipient, "");
                Some(Outcome { state: State::Unknown, stage: Stage::Final, trouble, ..skipped })
            }
            Fate::Excluded => Some(Outcome::skipped(recipient, "on the exclusion list")),
            Fate::Same(first) => Some(Outcome::skipped(recipient, format!("the same as row {first}"))),
            Fate::Duplicate(first) => Some(Outcome::skipped(recipient, format!("the same address as in row {first}"))),
        }
    }
}

impl Sieve {
    pub fn new(choice: Choice, past: Past) -> Self {
        Self { choice, past, rows: Repeated::default(), addresses: Repeated::default() }
    }

    /// Takes in what preflight has found out. Returns what is not sent because of it.
    pub fn learn(&mut self, rows: Marks, addresses: Marks) -> Doubles {
        let mut doubles = Doubles::default();
        let mut by_row: HashMap<u32, u16> = HashMap::new();
        self.addresses = addresses.repeated(|mark| {
            let count = by_row.entry(mark.row).or_default();
            *count = count.saturating_add(mark.recipients);
        });
        if self.choice.is_unique {
            // The same rows have the same addresses, and are counted with them.
            let is_double = |mark: &&Mark| {
                mark.recipients > 0 && by_row.get(&mark.row).is_some_and(|count| *count == mark.recipients)
            };
            doubles.messages = rows.0.iter().filter(is_double).count() as u64;
            doubles.recipients = by_row.values().copied().map(u64::from).sum();
            doubles.count = doubles.recipients;
        }
        self.rows = rows.repeated(|mark| {
            if !self.choice.is_unique && mark.recipients > 0 {
                doubles.count += 1;
                doubles.messages += 1;
                doubles.recipients += u64::from(mark.recipients);
            }
        });
        doubles
    }

    /// All rows that are the same as this one, itself included; none, if there are no others.
    pub fn twins(&self, row: &Row) -> &[u32] {
        self.rows.rows(|| row_hash(row))
    }

    /// What is settled stays so; then comes who is not to get anything, then who gets it already.
    pub fn fate(&self, row: u64, recipient: &Address, receiver: &Address, twins: &[u32]) -> Fate {
        match self.past.of(row, receiver) {
            None | Some(State::Deferred) => {}
            Some(State::Unknown) if self.choice.resends_unknown => {}
            Some(State::Unknown) => return Fate::Unknown,
            Some(state) => return Fate::Done(state),
        }
        if self.choice.exclusions.as_ref().is_some_and(|exclusions| exclusions.contains(recipient)) {
            return Fate::Excluded;
        }
        if let Some(first) = self.other(row, receiver, twins) {
            return Fate::Same(first);
        }
        match self.other(row, receiver, self.addresses.rows(|| address_hash(recipient))) {
            Some(first) => Fate::Duplicate(first),
            None => Fate::Send,
        }
    }

    /// The one of these rows that the receiver gets or has got it by, if that is not this one.
    fn other(&self, row: u64, receiver: &Address, rows: &[u32]) -> Option<u64> {
        let mut rows = rows.iter().map(|other| u64::from(*other));
        let has = |other: u64| self.past.of(other, receiver) == Some(State::Accepted);
        rows.find(|&other| other < row || (other > row && has(other)))
    }
}

impl Repeated {
    fn rows(&self, hash: impl FnOnce() -> Hash) -> &[u32] {
        if self.0.is_empty() {
            return &[];
        }
        self.0.get(&hash()).map_or(&[], |rows| rows)
    }
}

impl Marks {
    pub fn row(&mut self, hash: Hash, row: u64, recipients: usize) {
        self.push(hash, row, recipients);
    }

    pub fn address(&mut self, row: u64, address: &Address, is_sent_to: bool) {
        self.push(address_hash(address), row, usize::from(is_sent_to));
    }

    fn push(&mut self, hash: Hash, row: u64, recipients: usize) {
        let recipients = u16::try_from(recipients).unwrap_or(u16::MAX);
        // Rows beyond are not looked at for duplicates.
        if let Ok(row) = u32::try_from(row) {
            self.0.push(Mark { hash, row, recipients });
        }
    }

    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Those that are there more than once; `double` gets each but the first.
    fn repeated(mut self, mut double: impl FnMut(&Mark)) -> Repeated {
        self.0.sort_unstable();
        let mut repeated = HashMap::new();
        for same in self.0.chunk_by(|a, b| a.hash == b.hash).filter(|same| same.len() > 1) {
            repeated.insert(same[0].hash, same.iter().map(|mark| mark.row).collect());
            // An address may stand in one row twice.
            same.iter().filter(|mark| mark.row != same[0].row).for_each(&mut double);
        }
        Repeated(repeated)
    }
}

pub(super) fn row_hash(row: &Row) -> Hash {
    let mut context = Context::new(&SHA256);
    for (column, value) in &row.cells {
        let mut part = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_le_bytes());
            context.update(bytes);
        };
        part(column.as_bytes());
        match value {
            Value::String(text) => part(text.as_bytes()),
            other => part(other.to_string().as_bytes()),
        }
    }
    cut(context)
}

/// Local parts are the receiver's business, yet nobody gives two people addresses that differ by case only.
fn address_hash(address: &Address) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(address.to_string().to_lowercase().as_bytes());
    cut(context)
}

fn cut(context: Context) -> Hash {
    let mut hash = [0; 10];
    hash.copy_from_slice(&context.finish().as_ref()[..10]);
    hash
}
