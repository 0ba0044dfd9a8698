//! The course of a batch: letters go up, steps come down, and the ledger knows of everything before it happens.

mod due;
mod notes;

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, mpsc as sync},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use self::due::Due;
use super::{
    BatchTold, End, Manner, Verdict,
    press::{Made, Ticket},
    sieve::Fate,
};
use crate::{
    delivery::{Outlet, Work, deliver},
    feed::once::{is_one_too_many, may_change, random, rethrow},
    ledger::Ledger,
    mail::{
        Address, Cause, DsnRequest, Event, Outcome, Route, Stage, State, Step, Stop, Submission, Submissions, Trouble,
    },
    smtp::changed,
};

/// Submissions that wait for a session, and steps that wait for the feed.
const UP: usize = 128;
const DOWN: usize = 4096;
/// Letters held here at most, beside those that come back.
const HELD: usize = 256;
/// Rows that wait for another attempt, or for the turn of their domain, before no further ones are begun.
const WAITING: usize = 200_000;
/// Outcomes are on the disk after this time.
const SYNC: Duration = Duration::from_secs(1);

/// A message on its way.
struct Open {
    ticket: Ticket,
    message_id: String,
    from: Option<Address>,
    /// Recipients that are not settled for this attempt.
    waiting: usize,
    /// The server takes no more recipients at once: they are next in the same attempt.
    overflow: Vec<(Outcome, Arc<Route>)>,
    has_accepted: bool,
    deferred: Vec<Address>,
    /// Before the next attempt, if one follows; decided with the first deferred recipient.
    pause: Option<Option<Duration>>,
    has_intent: bool,
}

/// Messages in a row that were refused with the same code: their outcomes wait until it is known what they mean.
#[derive(Default)]
struct Streak {
    code: u16,
    messages: u32,
    held: Vec<(Facts<'static>, Outcome, Arc<Route>)>,
}

/// What a record needs beside the outcome.
struct Facts<'a> {
    id: u64,
    row: u64,
    message_id: Cow<'a, str>,
    from: Option<Cow<'a, Address>>,
    attempts: u32,
}

impl Open {
    fn facts(&self, id: u64) -> Facts<'_> {
        let (message_id, from) = (Cow::Borrowed(self.message_id.as_str()), self.from.as_ref().map(Cow::Borrowed));
        Facts { id, row: self.ticket.row, message_id, from, attempts: self.ticket.attempts }
    }
}

impl Facts<'_> {
    fn into_owned(self) -> Facts<'static> {
        let message_id = Cow::Owned(self.message_id.into_owned());
        let from = self.from.map(|from| Cow::Owned(from.into_owned()));
        Facts { id: self.id, row: self.row, message_id, from, attempts: self.attempts }
    }
}

pub(super) struct Course<T> {
    ledger: Ledger,
    run: String,
    manner: Manner,
    dsn: DsnRequest,
    again: sync::Sender<Ticket>,
    told: T,
    open: HashMap<u64, Open>,
    next_id: u64,
    /// Rows that the press has and that have not come.
    in_press: u64,
    is_read: bool,
    /// Messages of a row that have an intent and no answer.
    in_doubt: HashMap<u64, u32>,
    /// Rows without any that have had one, to be noted.
    answered: Vec<u64>,
    /// Letters whose rows are not reserved yet.
    held: VecDeque<(u64, Submission)>,
    outbox: VecDeque<Submission>,
    due: BinaryHeap<Reverse<Due>>,
    /// Rows up to this are noted as reserved, and synced.
    reserved: u64,
    noted: u64,
    /// Tickets that go back to the press once their rows are reserved anew.
    to_reserve: Vec<Ticket>,
    is_dirty: bool,
    syncing: Option<Syncing>,
    streak: Streak,
    verdict: Verdict,
    /// Since when no server can take anything.
    dark_since: Option<Instant>,
    stop: watch::Sender<Stop>,
}

struct Syncing {
    task: JoinHandle<io::Result<()>>,
    reserved: u64,
    tickets: Vec<Ticket>,
}

/// Nothing is made any more, though something should be.
pub(super) fn no_more() -> End {
    End::Trouble(Trouble::new(Stage::Compose, Cause::Internal, "no more messages are made"))
}

/// A submission that waits for a place in the channel.
type Parked = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<T: FnMut(BatchTold<'_>)> Course<T> {
    pub fn new(ledger: Ledger, manner: Manner, dsn: DsnRequest, again: sync::Sender<Ticket>, told: T) -> Self {
        Self {
            run: ledger.run().to_owned(),
            ledger,
            manner,
            dsn,
            again,
            told,
            open: HashMap::new(),
            next_id: 0,
            in_press: 0,
            is_read: false,
            in_doubt: HashMap::new(),
            answered: Vec::new(),
            held: VecDeque::new(),
            outbox: VecDeque::new(),
            due: BinaryHeap::new(),
            reserved: 0,
            noted: 0,
            to_reserve: Vec::new(),
            is_dirty: false,
            syncing: None,
            streak: Streak::default(),
            verdict: Verdict::default(),
            dark_since: None,
            stop: watch::channel(Stop::No).0,
        }
    }

    pub async fn run(
        mut self,
        mut made: mpsc::Receiver<Vec<Made>>,
        outlets: Vec<Outlet>,
        mut wish: watch::Receiver<Stop>,
    ) -> Verdict {
        let (up, submissions) = async_channel::bounded(UP);
        let (down, mut steps) = mpsc::channel(DOWN);
        let work = Work { submissions: Submissions::new(submissions), steps: down, stop: self.stop.subscribe() };
        let mut delivery = Some(tokio::spawn(deliver(outlets, self.manner.wants_trace, work)));
        let mut got = Vec::new();
        let mut parked: Option<Parked> = None;
        let mut tick = interval(SYNC);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_done(parked.is_some()) {
            self.hand_up(&up, &mut parked);
            self.sync();
            let wake = self.wake();
            let takes = self.takes_more();
            tokio::select! {
                biased;
                count = steps.recv_many(&mut got, DOWN) => match count {
                    0 => break,
                    _ => self.steps(&mut got),
                },
                () = async { if let Some(parked) = &mut parked { parked.await } }, if parked.is_some() => parked = None,
                synced = async { match &mut self.syncing { Some(syncing) => (&mut syncing.task).await, None => std::future::pending().await } } => {
                    self.synced(synced.unwrap_or_else(|error| Err(io::Error::other(error))));
                }
                one = made.recv(), if takes => match one {
                    Some(chunk) => {
                        chunk.into_iter().for_each(|one| self.made(one));
                        while self.takes_more() && let Ok(chunk) = made.try_recv() {
                            chunk.into_iter().for_each(|one| self.made(one));
                        }
                    }
                    // The press ends only with the feed: it has met a defect.
                    None => self.end(no_more()),
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.woken(),
                _ = tick.tick() => self.tick(),
                stop = changed(&mut wish) => self.wished(stop),
            }
            self.write();
        }
        up.close();
        drop(parked);
        while steps.recv_many(&mut got, DOWN).await > 0 {
            self.steps(&mut got);
            self.write();
        }
        rethrow(&mut delivery).await;
        self.finish().await
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// Everything is settled. When delivery is to stop, its end tells.
    fn is_done(&self, is_parked: bool) -> bool {
        self.is_read
            && !is_parked
            && self.in_press == 0
            && self.open.is_empty()
            && self.due.is_empty()
            && self.to_reserve.is_empty()
            && self.syncing.as_ref().is_none_or(|syncing| syncing.tickets.is_empty())
    }

    /// Whether anything that is made has its place here. What comes again always has: others have left it.
    fn takes_more(&self) -> bool {
        let is_flooded = self.due.len() >= WAITING && !self.is_read;
        !self.is_stopping() && !is_flooded && self.held.len() + self.outbox.len() < HELD
    }

    /// Ends the batch; what is under way comes to its end.
    fn end(&mut self, end: End) {
        self.verdict.end.get_or_insert(end);
        self.stop.send_if_modified(|stop| std::mem::replace(stop, (*stop).max(Stop::Drain)) < Stop::Drain);
    }

    fn wished(&mut self, stop: Stop) {
        if stop != Stop::No {
            self.verdict.end.get_or_insert(End::Stopped);
            self.stop.send_replace(stop);
        }
    }

    fn hand_up(&mut self, up: &async_channel::Sender<Submission>, parked: &mut Option<Parked>) {
        while self.held.front().is_some_and(|(row, _)| *row <= self.reserved) {
            self.outbox.extend(self.held.pop_front().map(|(_, submission)| submission));
        }
        while parked.is_none()
            && let Some(submission) = self.outbox.pop_front()
        {
            if let Err(async_channel::TrySendError::Full(submission)) = up.try_send(submission) {
                let up = up.clone();
                // If delivery has ended, its steps tell.
                *parked = Some(Box::pin(async move { drop(up.send(submission).await) }));
            }
        }
    }

    // ---- what the press has made

    fn made(&mut self, made: Made) {
        match made {
            Made::Block(rows) => {
                self.in_press += rows.len() as u64;
                self.ledger.reserve(&rows);
                self.noted = rows.last().copied().unwrap_or_default();
            }
            Made::End => self.is_read = true,
            Made::Defect => self.end(no_more()),
            Made::Letters(ticket, letters, left) => {
                self.in_press -= 1;
                for (recipient, fate) in left {
                    self.leave(&ticket, &letters.message_id, recipient, fate);
                }
                let is_fresh = ticket.attempts == 0 && ticket.open.is_none();
                for letter in letters.all {
                    self.next_id += 1;
                    let id = self.next_id;
                    let open = Open {
                        ticket: Ticket { attempts: ticket.attempts + 1, ..ticket.clone() },
                        message_id: letters.message_id.clone(),
                        from: letter.envelope.from().cloned(),
                        waiting: letter.envelope.to().len(),
                        overflow: Vec::new(),
                        has_accepted: false,
                        deferred: Vec::new(),
                        pause: None,
                        has_intent: false,
                    };
                    self.open.insert(id, open);
                    let submission = Submission {
                        id,
                        message_id: letters.message_id.clone(),
                        envelope: letter.envelope,
                        content: letter.content,
                        dsn: self.dsn.clone(),
                        has_turn: ticket.has_turn,
                    };
                    match is_fresh {
                        true => self.held.push_back((ticket.row, submission)),
                        false => self.outbox.push_back(submission),
                    }
                }
            }
            Made::Bad(ticket, error) => {
                self.in_press -= 1;
                let is_first = ticket.attempts == 0 && ticket.open.is_none();
                if is_first && self.manner.skips_bad {
                    return self.skip(&ticket, &error.what);
                }
                // It could be made before: a file has gone. The next run may find it again.
                self.verdict.has_more = true;
                (self.told)(BatchTold::Left(ticket.row, &error.what));
            }
        }
    }

    /// A row that is not sent at all.
    fn skip(&mut self, ticket: &Ticket, why: &str) {
        self.ledger.skipped(ticket.row, why);
        self.verdict.counts[State::Skipped as usize] += 1;
        (self.told)(BatchTold::Skipped(ticket.row, why));
    }

    /// A recipient that is not sent to.
    fn leave(&mut self, ticket: &Ticket, message_id: &str, recipient: Address, fate: Fate) {
        let Some(outcome) = fate.outcome(recipient) else { return };
        let facts = Facts { id: 0, row: ticket.row, message_id: message_id.into(), from: None, attempts: 0 };
        self.settle(&facts, &outcome, &Arc::new(Route { profile: None, server: String::new() }));
    }

    // ---- what delivery tells

    fn steps(&mut self, steps: &mut Vec<Step>) {
        let mut acks: Vec<oneshot::Sender<()>> = Vec::new();
        for step in steps.drain(..) {
            match step {
                Step::Commit { ids, ack } => {
                    let mut rows = Vec::with_capacity(ids.len());
                    for id in ids {
                        if let Some(open) = self.open.get_mut(&id) {
                            open.has_intent = true;
                            *self.in_doubt.entry(open.ticket.row).or_default() += 1;
                            rows.push(open.ticket.row);
                        }
                    }
                    // What was answered before is not what is intended now.
                    if rows.iter().any(|row| self.answered.contains(row)) {
                        self.note_answered();
                    }
                    self.ledger.intent(&rows);
                    acks.push(ack);
                }
                Step::Settled { id, route, outcomes } => self.settled(id, &route, outcomes),
                Step::Later { submission, at } => self.later(submission, at),
                Step::Event(event) => self.event(event),
            }
        }
        self.note_answered();
        // Nothing leaves of which the ledger does not know; without consent it does not leave.
        if self.write() {
            for ack in acks {
                // The session may be gone by now.
                let _ = ack.send(());
            }
        }
    }

    fn settled(&mut self, id: u64, route: &Arc<Route>, outcomes: Vec<Outcome>) {
        let Some(mut open) = self.open.remove(&id) else { return };
        for outcome in outcomes {
            open.waiting = open.waiting.saturating_sub(1);
            open.has_accepted |= outcome.state == State::Accepted;
            if is_one_too_many(&outcome) {
                open.overflow.push((outcome, route.clone()));
                continue;
            }
            self.sort(id, &mut open, outcome, route);
        }
        self.close(id, open);
    }

    /// Decides what an outcome means: the end, another attempt, or the end of all.
    fn sort(&mut self, id: u64, open: &mut Open, outcome: Outcome, route: &Arc<Route>) {
        if outcome.state == State::Deferred {
            let has_ended = *self.stop.borrow() != Stop::No;
            let trouble = outcome.trouble.as_ref().filter(|_| !may_change(&outcome)).cloned();
            let is_left = has_ended || trouble.as_ref().is_some_and(|trouble| trouble.cause != Cause::Protocol);
            let retry = &self.manner.retry;
            let first = *open.ticket.first.get_or_insert_with(|| {
                let now = Instant::now();
                now.checked_sub(outcome.elapsed).unwrap_or(now)
            });
            let pause = *open.pause.get_or_insert_with(|| {
                let pause = retry.pause_after(open.ticket.attempts, random())?;
                (first.elapsed() + pause <= retry.max_time).then_some(pause)
            });
            if is_left {
                // Nobody's fault, and not this recipient's last word: the next run tries again.
                self.verdict.has_more = true;
                self.defer(&open.facts(id), &outcome, route);
                if let Some(trouble) = trouble.filter(|trouble| trouble.cause != Cause::Stopped) {
                    self.end(End::Trouble(trouble));
                }
            } else if pause.is_some() && may_change(&outcome) {
                open.deferred.push(outcome.recipient.clone());
                self.defer(&open.facts(id), &outcome, route);
            } else {
                self.verdict.has_more = true;
                self.settle(&open.facts(id), &outcome, route);
            }
            return;
        }
        let refusal = outcome.reply.as_ref().filter(|reply| {
            // An address or a mailbox is one recipient's own (RFC 3463, 3.2 and 3.3), as LMTP tells it after the content.
            let is_own = reply.enhanced().is_some_and(|status| matches!(status.subject, 1 | 2));
            let is_of_message = matches!(outcome.stage, Stage::Mail | Stage::Data | Stage::Final);
            outcome.state == State::Failed && is_of_message && !is_own
        });
        match (refusal, self.manner.stop_after_failures) {
            (Some(reply), Some(limit)) => {
                self.refused(reply.code, limit, open.facts(id).into_owned(), outcome.clone(), route);
            }
            _ => {
                if outcome.state == State::Accepted {
                    self.release_streak();
                }
                self.settle(&open.facts(id), &outcome, route);
            }
        }
    }

    /// A message was refused as such. Many in a row are a quota, and none of them has failed for good.
    fn refused(&mut self, code: u16, limit: u32, facts: Facts<'static>, outcome: Outcome, route: &Arc<Route>) {
        if self.streak.code != code {
            self.release_streak();
            self.streak.code = code;
        }
        let is_same = self.streak.held.iter().any(|(held, ..)| held.id == facts.id);
        self.streak.messages += u32::from(!is_same);
        let reply = outcome.reply.as_ref().map(ToString::to_string).unwrap_or_default();
        // Whoever dies before it is known leaves nothing in doubt: the message was not taken.
        let for_now = Outcome { state: State::Deferred, ..outcome.clone() };
        self.ledger.attempt(&Self::record(&self.run, &facts, &for_now, route));
        self.streak.held.push((facts, outcome, route.clone()));
        if self.streak.messages >= limit {
            self.verdict.has_more = true;
            for (facts, outcome, route) in std::mem::take(&mut self.streak.held) {
                let outcome = Outcome { state: State::Deferred, ..outcome };
                (self.told)(BatchTold::Deferred(&Self::record(&self.run, &facts, &outcome, &route)));
            }
            self.end(End::Refused(self.streak.messages, reply));
        }
    }

    fn release_streak(&mut self) {
        let streak = std::mem::take(&mut self.streak);
        for (facts, outcome, route) in streak.held {
            self.settle(&facts, &outcome, &route);
        }
    }

    /// Takes a message off whose recipients are all settled for this attempt, and lets it come again if it has to.
    fn close(&mut self, id: u64, mut open: Open) {
        if open.waiting > 0 {
            self.open.insert(id, open);
            return;
        }
        self.certain(&mut open);
        let overflow = std::mem::take(&mut open.overflow);
        let goes_on = open.has_accepted && !overflow.is_empty();
        if !goes_on {
            for (outcome, route) in overflow {
                self.sort(id, &mut open, outcome, &route);
            }
            if let (Some(Some(pause)), false) = (open.pause, open.deferred.is_empty()) {
                let ticket = Ticket { open: Some(open.deferred.into()), has_turn: false, ..open.ticket };
                self.retry(ticket, Instant::now() + pause);
            }
            return;
        }
        // RFC 5321, 4.5.3.1.10: the rest in another transaction of the same attempt.
        let facts = open.facts(id);
        // They were refused for now: the intent of this transaction is not theirs.
        for (outcome, route) in &overflow {
            self.defer(&facts, outcome, route);
        }
        let rest = overflow.iter().map(|(outcome, _)| outcome.recipient.clone()).collect();
        let ticket = Ticket { attempts: open.ticket.attempts - 1, open: Some(rest), ..open.ticket.clone() };
        self.to_reserve.push(ticket);
        self.ledger.reserve(&[open.ticket.row]);
        if let (Some(Some(pause)), false) = (open.pause, open.deferred.is_empty()) {
            let ticket = Ticket { open: Some(open.deferred.into()), has_turn: false, ..open.ticket };
            self.retry(ticket, Instant::now() + pause);
        }
    }

    fn retry(&mut self, ticket: Ticket, at: Instant) {
        self.next_id += 1;
        self.due.push(Reverse(Due { at, number: self.next_id, ticket }));
    }

    /// It was not taken: due again, no attempt counted.
    fn later(&mut self, mut submission: Submission, at: Option<Instant>) {
        let Some(mut open) = self.open.remove(&submission.id) else { return };
        self.certain(&mut open);
        submission.has_turn |= at.is_some();
        match at {
            Some(at) if open.deferred.is_empty() && open.overflow.is_empty() => {
                let rest = submission.envelope.to().into();
                let attempts = open.ticket.attempts - 1;
                self.retry(Ticket { attempts, open: Some(rest), has_turn: true, ..open.ticket }, at);
            }
            _ => {
                self.open.insert(submission.id, open);
                self.outbox.push_front(submission);
            }
        }
    }

    /// A message is in doubt no more: it was answered, or not taken. If no other message of its row is, the intent is taken
    /// back for all recipients of the row that have no final outcome.
    fn certain(&mut self, open: &mut Open) {
        let row = open.ticket.row;
        if !std::mem::take(&mut open.has_intent) {
            return;
        }
        if let Some(messages) = self.in_doubt.get_mut(&row) {
            *messages -= 1;
            if *messages == 0 {
                self.in_doubt.remove(&row);
                self.answered.push(row);
            }
        }
    }

    fn note_answered(&mut self) {
        if !self.answered.is_empty() {
            self.ledger.release(&self.answered);
            self.answered.clear();
        }
    }

    fn event(&mut self, event: Event) {
        if let Event::Dark(is_dark) = event {
            self.dark_since = is_dark.then(Instant::now);
        }
        (self.told)(BatchTold::Event(event));
    }
}
