//! A batch: a message for each row of a table, and a ledger of what became of it.
//!
//! One task owns the ledger and the retries. Rows are read and composed on threads of their own; what leaves is noted
//! before it does, and whoever waits, waits here, never in a session. Nothing is shown here and nothing asked.

mod course;
mod keep;
mod preflight;
mod press;
mod sieve;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::watch;

pub use preflight::Preflight;
pub use sieve::Choice;

use self::sieve::Sieve;
use super::recipe::{Recipe, RowIds};
use crate::{
    delivery::Outlet,
    ledger::{Ledger, Past, Record},
    mail::{Event, RetryPolicy, Route, State, Stop, Trouble},
    message::Draft,
    queue::{Inlet, Place, QueueError, Time},
    rows::{Row, RowError, RowsError, Table},
};

/// What is to be sent to whom.
#[derive(Debug)]
pub struct Batch {
    table: Table,
    recipe: Arc<Recipe>,
    sieve: Arc<Sieve>,
}

/// How it is sent.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// When to try again, and how long.
    pub retry: RetryPolicy,
    /// So many messages in a row refused with the same code mean that no more are taken.
    pub stop_after_failures: Option<u32>,
    /// Rows that cannot be sent are noted as skipped.
    pub skips_bad: bool,
    /// Show the dialogue.
    pub wants_trace: bool,
}

/// How it is kept in the queue instead.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// By which way it is sent later.
    pub place: Place,
    /// The same for records.
    pub route: Arc<Route>,
    /// See [`Job::priority`](crate::queue::Job::priority).
    pub priority: i8,
    /// Not before this moment; at once, if none is named.
    pub due: Option<Time>,
    /// What is not accepted by then has failed.
    pub expires: Time,
    /// Rows that cannot be sent are noted as skipped.
    pub skips_bad: bool,
}

/// What the caller is told, as it happens.
#[derive(Debug)]
pub enum BatchTold<'a> {
    /// A recipient is settled for this run.
    Settled(&'a Record<'a>),
    /// A recipient is deferred and will be tried again.
    Deferred(&'a Record<'a>),
    /// A row cannot be sent and is skipped; its number, and why.
    Skipped(u64, &'a str),
    /// A row could be sent before and cannot any more; the next run may find it again.
    Left(u64, &'a str),
    /// Something to show.
    Event(Event),
}

/// How a batch has ended.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Recipients that this run has settled, in the order of [`State::ALL`].
    pub counts: [u64; State::ALL.len()],
    /// Something is left that could still be sent.
    pub has_more: bool,
    /// Why it ended before its time, if it did.
    pub end: Option<End>,
}

/// Why a batch ends before its time.
#[derive(Debug)]
pub enum End {
    /// A signal.
    Stopped,
    /// Login, certificate or configuration: no message will do better.
    Trouble(Trouble),
    /// So many messages in a row were refused, the last of them so.
    Refused(u32, String),
    /// No server for so long.
    Unreachable(std::time::Duration),
    /// The ledger cannot be written.
    Ledger(std::io::Error),
    /// The queue takes no more.
    Queue(QueueError),
}

impl Batch {
    /// Joins table and recipe.
    pub fn new(table: Table, recipe: Recipe, choice: Choice, past: Past) -> Self {
        Self { table, recipe: Arc::new(recipe), sieve: Arc::new(Sieve::new(choice, past)) }
    }

    /// Looks at every message once. Must come before [`Batch::send`], which heeds what it has learnt.
    pub fn preflight(&mut self) -> Preflight {
        // Nobody else has it yet.
        Arc::get_mut(&mut self.sieve)
            .map_or_else(Preflight::default, |sieve| preflight::preflight(&self.table, &self.recipe, sieve))
    }

    /// Sends it. What happens is told at once, on the thread of the engine: who is told does not wait.
    pub async fn send(
        &self,
        ledger: Ledger,
        outlets: Vec<Outlet>,
        manner: Manner,
        stop: watch::Receiver<Stop>,
        told: impl FnMut(BatchTold<'_>),
    ) -> Verdict {
        let ids = RowIds::new(ledger.run());
        let (made, again) = press::press(&self.table, &self.recipe, &self.sieve, &ids);
        let run = course::Course::new(ledger, manner, self.recipe.dsn.clone(), again, told);
        run.run(made, outlets, stop).await
    }

    /// Keeps it in the queue. What happens is told at once.
    pub async fn keep(
        &self,
        ledger: Ledger,
        inlet: Inlet,
        keeping: Keeping,
        stop: watch::Receiver<Stop>,
        told: impl FnMut(BatchTold<'_>),
    ) -> Verdict {
        let ids = RowIds::new(ledger.run());
        let (made, _again) = press::press(&self.table, &self.recipe, &self.sieve, &ids);
        keep::Keep::new(ledger, inlet, keeping, &self.recipe, told).run(made, stop).await
    }

    /// The messages of the first rows, to be looked at.
    pub fn drafts(&self, count: usize) -> Vec<Result<(u64, Draft), RowError>> {
        let mut selection = press::Selection::new(&self.table, &self.sieve.choice);
        let draft = |row: Result<Row, RowError>| {
            let row = row?;
            let number = row.number;
            self.recipe.draft(row).map(|draft| (number, draft))
        };
        (&mut selection).take(count).map(draft).collect()
    }

    /// Keeps the copy of a table that cannot be read again from where it came. Returns where it is.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn keep_rows(&mut self) -> Result<Option<PathBuf>, RowsError> {
        Ok(self.table.keep()?.map(Path::to_owned))
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }
}
