//! Makes letters of rows on threads of its own: one reads, the others compose.

use std::{
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc as sync},
    thread,
};

use tokio::{sync::mpsc, time::Instant};

use super::sieve::{Choice, Fate, Sieve};
use crate::{
    feed::recipe::{Letters, Recipe, RowIds},
    mail::Address,
    message::Stamp,
    rows::{Position, Reader, Row, RowError, Table},
};

/// Rows that are reserved together.
const BLOCK: usize = 200;
/// Rows that go to a composing thread together.
const CHUNK: usize = 16;

/// Chunks of letters that wait for the feed.
const READY: usize = 4;

/// What comes from the press.
pub(super) enum Made {
    /// These rows come next; none is sent before that is noted and synced.
    Block(Vec<u64>),
    /// The letters of a row, and the recipients that it is not sent to.
    Letters(Ticket, Letters, Vec<(Address, Fate)>),
    /// A row that cannot be sent.
    Bad(Ticket, RowError),
    /// All rows were read once.
    End,
    /// A composing thread has met a defect, and told it.
    Defect,
}

/// A row on its way, or waiting for its next attempt.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub row: u64,
    pub position: Option<Position>,
    /// Attempts made.
    pub attempts: u32,
    /// When the first one began.
    pub first: Option<Instant>,
    /// Recipients that are open; all, if it was not tried yet.
    pub open: Option<Box<[Address]>>,
    /// See [`crate::mail::Submission::has_turn`].
    pub has_turn: bool,
}

/// The rows of a choice, in their order.
pub(super) struct Selection<'a> {
    reader: Reader,
    choice: &'a Choice,
    left: u64,
}

impl<'a> Selection<'a> {
    pub fn new(table: &Table, choice: &'a Choice) -> Self {
        Self { reader: table.reader(), choice, left: choice.first.unwrap_or(u64::MAX) }
    }

    fn again(&mut self, ticket: &Ticket) -> Result<Row, RowError> {
        match ticket.position {
            Some(position) => self.reader.at(ticket.row, position),
            None => Err(RowError {
                number: ticket.row,
                position: None,
                what: "it cannot be read again".to_owned(),
                is_final: false,
            }),
        }
    }
}

impl Iterator for &mut Selection<'_> {
    type Item = Result<Row, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            let row = self.reader.next_row()?;
            let number = row.as_ref().map_or_else(|error| error.number, |row| row.number);
            if matches!(&row, Err(error) if error.is_final) {
                self.left = 0;
                return Some(row);
            }
            if self.choice.numbers.as_ref().is_none_or(|numbers| numbers.contains(number)) {
                self.left -= 1;
                return Some(row);
            }
        }
        None
    }
}

/// A row for a composing thread.
type Job = (Ticket, Result<Row, RowError>);

/// Starts the threads. They end when the feed's ends of the channels have gone.
pub(super) fn press(
    table: &Table,
    recipe: &Arc<Recipe>,
    sieve: &Arc<Sieve>,
    ids: &RowIds,
) -> (mpsc::Receiver<Vec<Made>>, sync::Sender<Ticket>) {
    let composers = thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2).min(8);
    let (made, results) = mpsc::channel(READY);
    let (again, tickets) = sync::channel();
    let (jobs, taken) = async_channel::bounded::<Vec<Job>>(2 * composers);
    let reader = table.reader();
    thread::spawn({
        let (sieve, made) = (sieve.clone(), made.clone());
        move || {
            let selection = Selection { left: sieve.choice.first.unwrap_or(u64::MAX), choice: &sieve.choice, reader };
            // An end before its time means that the feed has ended.
            let _ = read(selection, &jobs, &made, &tickets);
        }
    });
    for _ in 0..composers {
        let (recipe, sieve, ids) = (recipe.clone(), sieve.clone(), ids.clone());
        let (taken, made) = (taken.clone(), made.clone());
        thread::spawn(move || {
            let mut stamp = Stamp::now();
            while let Ok(jobs) = taken.recv_blocking() {
                stamp.renew();
                let composed = |(ticket, row)| composed(ticket, row, &recipe, &sieve, &ids, &mut stamp);
                let chunk = AssertUnwindSafe(|| jobs.into_iter().map(composed).collect());
                // The feed must not wait for what a defect has taken away.
                let (chunk, is_defect) = match catch_unwind(chunk) {
                    Ok(chunk) => (chunk, false),
                    Err(_) => (vec![Made::Defect], true),
                };
                // Whoever is woken for one letter takes the others of its chunk, too.
                if made.blocking_send(chunk).is_err() || is_defect {
                    return;
                }
            }
        });
    }
    (results, again)
}

/// Reads all rows once, and any row again that is asked for, as long as anybody may ask.
fn read(
    mut selection: Selection<'_>,
    jobs: &async_channel::Sender<Vec<Job>>,
    made: &mpsc::Sender<Vec<Made>>,
    tickets: &sync::Receiver<Ticket>,
) -> Option<()> {
    let mut is_end = false;
    while !is_end {
        let mut block = Vec::with_capacity(BLOCK);
        for row in (&mut selection).take(BLOCK) {
            let (row_number, position) = match &row {
                Ok(row) => (row.number, Some(row.position)),
                Err(error) => (error.number, error.position),
            };
            let ticket = Ticket { row: row_number, position, attempts: 0, first: None, open: None, has_turn: false };
            block.push((ticket, row));
        }
        is_end = block.len() < BLOCK;
        if !block.is_empty() {
            made.blocking_send(vec![Made::Block(block.iter().map(|(ticket, _)| ticket.row).collect())]).ok()?;
        }
        let mut block = block.into_iter().peekable();
        while block.peek().is_some() {
            while let Ok(ticket) = tickets.try_recv() {
                let row = selection.again(&ticket);
                jobs.send_blocking(vec![(ticket, row)]).ok()?;
            }
            jobs.send_blocking(block.by_ref().take(CHUNK).collect()).ok()?;
        }
    }
    made.blocking_send(vec![Made::End]).ok()?;
    while let Ok(ticket) = tickets.recv() {
        let mut chunk = Vec::new();
        for ticket in [ticket].into_iter().chain(tickets.try_iter().take(CHUNK - 1)) {
            let row = selection.again(&ticket);
            chunk.push((ticket, row));
        }
        jobs.send_blocking(chunk).ok()?;
    }
    Some(())
}

fn composed(
    ticket: Ticket,
    row: Result<Row, RowError>,
    recipe: &Recipe,
    sieve: &Sieve,
    ids: &RowIds,
    stamp: &mut Stamp,
) -> Made {
    let row = match row {
        Ok(row) => row,
        Err(error) => return Made::Bad(ticket, error),
    };
    let (number, twins) = (row.number, sieve.twins(&row));
    let mut left = Vec::new();
    let letters = recipe.letters(row, ids, stamp, &mut |recipient, receiver| match &ticket.open {
        Some(open) => open.contains(receiver),
        None => match sieve.fate(number, recipient, receiver, twins) {
            Fate::Send => true,
            fate => {
                // What is in doubt went to the receiver; who is left out is the recipient.
                let whom = if fate == Fate::Unknown { receiver } else { recipient };
                left.push((whom.clone(), fate));
                false
            }
        },
    });
    match letters {
        Ok(letters) => Made::Letters(ticket, letters, left),
        Err(error) => Made::Bad(ticket, error),
    }
}
