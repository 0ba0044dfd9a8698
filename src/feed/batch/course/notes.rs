//! What a batch writes down and when it is on the disk, and what the clock brings back.

use std::{cmp::Reverse, io, sync::Arc};

use tokio::time::Instant;

use super::{Course, Facts, Syncing};
use crate::{
    feed::batch::{BatchTold, End, Verdict},
    ledger::Record,
    mail::{Outcome, Route},
};

impl<T: FnMut(BatchTold<'_>)> Course<T> {
    pub(super) fn record<'a>(run: &'a str, facts: &'a Facts<'_>, outcome: &'a Outcome, route: &'a Route) -> Record<'a> {
        let (row, message_id, from) = (Some(facts.row), &*facts.message_id, facts.from.as_deref());
        Record { run, row, message_id, from, outcome, route, attempts: facts.attempts, is_redelivered: false }
    }

    /// A recipient has ended for this run.
    pub(super) fn settle(&mut self, facts: &Facts<'_>, outcome: &Outcome, route: &Arc<Route>) {
        let record = Self::record(&self.run, facts, outcome, route);
        self.ledger.outcome(&record);
        self.verdict.counts[outcome.state as usize] += 1;
        (self.told)(BatchTold::Settled(&record));
    }

    /// A recipient is deferred, and this is not the last word.
    pub(super) fn defer(&mut self, facts: &Facts<'_>, outcome: &Outcome, route: &Arc<Route>) {
        let record = Self::record(&self.run, facts, outcome, route);
        self.ledger.attempt(&record);
        (self.told)(BatchTold::Deferred(&record));
    }

    /// Writes what was noted; false, and the end of the batch, if that is not possible.
    pub(super) fn write(&mut self) -> bool {
        if !self.ledger.has_notes() {
            return true;
        }
        match self.ledger.write() {
            Ok(()) => {
                self.is_dirty = true;
                true
            }
            Err(error) => {
                self.verdict.has_more = true;
                self.end(End::Ledger(error));
                false
            }
        }
    }

    /// Syncs what waits for it, unless that is under way.
    pub(super) fn sync(&mut self) {
        if self.syncing.is_some() || (self.noted <= self.reserved && self.to_reserve.is_empty()) || !self.write() {
            return;
        }
        self.start_sync();
    }

    pub(super) fn start_sync(&mut self) {
        self.is_dirty = false;
        let tickets = std::mem::take(&mut self.to_reserve);
        let task = match self.ledger.file() {
            Ok(file) => tokio::task::spawn_blocking(move || file.sync_data()),
            Err(error) => tokio::spawn(async move { Err(error) }),
        };
        self.syncing = Some(Syncing { task, reserved: self.noted, tickets });
    }

    pub(super) fn synced(&mut self, result: io::Result<()>) {
        let Some(syncing) = self.syncing.take() else { return };
        if let Err(error) = result {
            self.verdict.has_more |= !syncing.tickets.is_empty();
            return self.end(End::Ledger(error));
        }
        self.reserved = syncing.reserved;
        for ticket in syncing.tickets {
            self.in_press += 1;
            // If the press has gone, its end of the letters tells.
            let _ = self.again.send(ticket);
        }
    }

    // ---- the clock

    pub(super) fn wake(&self) -> Option<Instant> {
        if self.is_stopping() {
            return None;
        }
        let due = self.due.peek().map(|Reverse(due)| due.at);
        let dark = self.dark_since.and_then(|since| since.checked_add(self.manner.retry.max_time));
        [due, dark].into_iter().flatten().min()
    }

    pub(super) fn woken(&mut self) {
        let now = Instant::now();
        let mut rows = Vec::new();
        while let Some(Reverse(due)) = self.due.peek().filter(|Reverse(due)| due.at <= now) {
            rows.push(due.ticket.row);
            if let Some(Reverse(due)) = self.due.pop() {
                self.to_reserve.push(due.ticket);
            }
        }
        if !rows.is_empty() {
            self.ledger.reserve(&rows);
        }
        if self.dark_since.is_some_and(|since| now - since >= self.manner.retry.max_time) {
            self.end(End::Unreachable(self.manner.retry.max_time));
        }
    }

    pub(super) fn tick(&mut self) {
        if self.is_dirty && self.syncing.is_none() && self.write() {
            self.start_sync();
        }
    }

    pub(super) async fn finish(mut self) -> Verdict {
        self.release_streak();
        self.verdict.has_more |= !self.is_read
            || self.in_press > 0
            || !(self.open.is_empty() && self.due.is_empty() && self.to_reserve.is_empty() && self.held.is_empty());
        if let Some(syncing) = self.syncing.take() {
            self.verdict.has_more |= !syncing.tickets.is_empty();
            // The last one says whether all is well.
            let _ = syncing.task.await;
        }
        if self.write() {
            let file = self.ledger.file();
            let synced = tokio::task::spawn_blocking(move || file.and_then(|file| file.sync_data())).await;
            if let Err(error) = synced.unwrap_or_else(|error| Err(io::Error::other(error))) {
                self.end(End::Ledger(error));
            }
        }
        self.verdict
    }
}
