//! What the sessions of one outlet share: its gate, which says whether a submission may be begun, and how many sessions
//! there are.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex as Queue, Notify, mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    Outlet,
    breaker::{Breaker, Verdict},
    pace::{Bucket, Domains, Pauses, asks_for_less, is_of_the_service},
    reach::Reach,
};
use crate::{
    mail::{BreakerState, Event, Outcome, State, Step, Stop, Submission, Submissions, Trouble, clean},
    smtp::Listener,
};

/// Whoever waits for the gate looks so often whether anything is still to come.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// One outlet at work.
pub(super) struct Lane {
    pub outlet: Outlet,
    pub listener: Listener,
    pub stop: watch::Receiver<Stop>,
    /// What the feed hands in, or the lane before hands on.
    pub source: Submissions,
    pub onward: Option<Onward>,
    /// The outlet that is meant: without it the run is of no use.
    pub is_first: bool,
    gate: Mutex<Gate>,
    /// Who waits for the gate, in the order in which they came.
    queue: Queue<()>,
    /// What was held for a submission is free again: for the one who waits longest.
    freed: Notify,
    /// Some gate has opened or shut. All lanes share it.
    pub changed: Arc<Notify>,
    reach: Arc<Reach>,
    pub sessions: Sessions,
}

/// The lane that goes on when this one cannot.
pub(super) struct Onward {
    pub lane: Arc<Lane>,
    pub sender: async_channel::Sender<Submission>,
}

/// How many sessions there are, and what they do.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Begun and not ended.
    live: AtomicUsize,
    /// Of these, not open yet.
    opening: AtomicUsize,
    /// Of these, waiting for a submission.
    waiting: AtomicUsize,
    /// The most there may be: the server may have said that it wants fewer.
    most: AtomicUsize,
    /// A session has opened: the login is good.
    is_proven: AtomicBool,
    changed: Notify,
}

struct Gate {
    breaker: Breaker,
    pauses: Pauses,
    bucket: Option<Bucket>,
    domains: Option<Domains>,
    /// Why no session to this server is of use.
    out_of_use: Option<Trouble>,
    /// Nothing can be taken: told to [`Reach`].
    is_dark: bool,
}

/// What the gate says.
enum Admission {
    Go { is_attempt: bool },
    At(Instant),
    Wait,
    Never,
}

/// What is to be done with the submissions of a lane.
pub(super) enum Mode {
    /// Begin them, as far as the gate lets them through.
    Deliver,
    /// Leave them where they are.
    Hold,
    /// Hand them on, until this moment if it is known.
    HandOn(Option<Instant>),
    /// Give them back to the feed, which hands them in again.
    GiveBack(Option<Instant>),
    /// Settle them with this.
    Refuse(Trouble),
}

impl Lane {
    pub fn new(
        outlet: Outlet,
        source: Submissions,
        onward: Option<Onward>,
        is_first: bool,
        (listener, stop, changed, reach): (Listener, watch::Receiver<Stop>, Arc<Notify>, Arc<Reach>),
    ) -> Self {
        let gate = Gate {
            breaker: Breaker::new(outlet.breaker),
            pauses: Pauses::default(),
            bucket: Bucket::new(&outlet.rate, Instant::now()),
            domains: outlet.rate.per_domain.map(Domains::new),
            out_of_use: None,
            is_dark: false,
        };
        let sessions = Sessions { most: AtomicUsize::new(outlet.pool.max_connections.max(1)), ..Sessions::default() };
        let (gate, queue) = (Mutex::new(gate), Queue::new(()));
        let freed = Notify::new();
        Self { outlet, listener, stop, source, onward, is_first, gate, queue, freed, changed, reach, sessions }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        // Nothing in there is left half done.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a submission may be begun; `None` when none will be. `told` takes what has changed by that.
    pub async fn admission(&self, told: &mut Outbox) -> Option<Permit<'_>> {
        if let Ok(_turn) = self.queue.try_lock()
            && let Admission::Go { is_attempt } = self.admit(told)
        {
            return Some(Permit { lane: self, is_attempt, is_spent: false });
        }
        let _turn = self.queue.lock().await;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let look = Instant::now() + LOOK;
            let until = match self.admit(told) {
                Admission::Go { is_attempt } => return Some(Permit { lane: self, is_attempt, is_spent: false }),
                Admission::Never => return None,
                Admission::At(at) => at.min(look),
                Admission::Wait => look,
            };
            if self.source.is_over() {
                return None;
            }
            tokio::select! {
                () = changed => {}
                () = self.freed.notified() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// The same, now or not.
    pub fn admission_now(&self, told: &mut Outbox) -> Option<Permit<'_>> {
        let _turn = self.queue.try_lock().ok()?;
        match self.admit(told) {
            Admission::Go { is_attempt } => Some(Permit { lane: self, is_attempt, is_spent: false }),
            _ => None,
        }
    }

    fn admit(&self, told: &mut Outbox) -> Admission {
        let mut gate = self.gate();
        if gate.out_of_use.is_some() {
            return Admission::Never;
        }
        let now = Instant::now();
        if let Some(until) = gate.pauses.look(now) {
            return Admission::At(until);
        }
        let verdict = gate.breaker.look(now);
        match verdict {
            Verdict::Go | Verdict::Try => {}
            Verdict::At(at) => return Admission::At(at),
            Verdict::Wait => return Admission::Wait,
        }
        if let Some(bucket) = &mut gate.bucket {
            if let Some(at) = bucket.look(now) {
                return Admission::At(at);
            }
            bucket.take();
        }
        let is_attempt = verdict == Verdict::Try;
        let transition = if is_attempt { gate.breaker.attempt() } else { None };
        drop(gate);
        self.tell_of(transition, None, told);
        Admission::Go { is_attempt }
    }

    /// What to do with submissions now.
    pub fn mode(&self) -> Mode {
        let now = Instant::now();
        let gate = self.gate();
        let trouble = gate.out_of_use.clone();
        let verdict = gate.breaker.look(now);
        drop(gate);
        let until = match (&trouble, verdict) {
            (None, Verdict::Go | Verdict::Try) => return Mode::Deliver,
            (None, Verdict::At(at)) => Some(at),
            _ => None,
        };
        match (trouble, &self.onward) {
            (Some(trouble), _) if self.is_first => Mode::Refuse(trouble),
            (_, Some(onward)) if onward.lane.takes(now) => Mode::HandOn(until),
            (None, _) if self.is_first => Mode::Hold,
            _ => Mode::GiveBack(until),
        }
    }

    /// Whether submissions of the lane before may come here.
    fn takes(&self, now: Instant) -> bool {
        let gate = self.gate();
        let is_open = gate.out_of_use.is_none() && matches!(gate.breaker.look(now), Verdict::Go | Verdict::Try);
        drop(gate);
        is_open || self.onward.as_ref().is_some_and(|onward| onward.lane.takes(now))
    }

    /// Whether somebody else may go on where this lane has failed.
    pub fn can_hand_on(&self) -> bool {
        self.onward.as_ref().is_some_and(|onward| onward.lane.takes(Instant::now()))
    }

    /// Hands a submission on; gives it back to the feed if there is no place for it in time.
    pub async fn hand_on(&self, submission: Submission) {
        let Some(onward) = &self.onward else { return self.give_back(submission, None).await };
        let full = match onward.sender.try_send(submission) {
            Ok(()) => return,
            Err(error) => error.into_inner(),
        };
        let sending = onward.sender.send(full.clone());
        if !matches!(timeout(self.outlet.pool.acquire_timeout, sending).await, Ok(Ok(()))) {
            self.give_back(full, None).await;
        }
    }

    /// Gives a submission back to the feed. If that is gone, there is nobody to give it to.
    pub async fn give_back(&self, submission: Submission, at: Option<Instant>) {
        let _ = self.listener.steps.send(Step::Later { submission, at }).await;
    }

    /// The turn of a pulled submission, if it is later: its domains may have had enough.
    pub fn turn(&self, submission: &Submission) -> Option<Instant> {
        if submission.has_turn || self.outlet.rate.per_domain.is_none() {
            return None;
        }
        self.gate().domains.as_mut()?.turn(submission, Instant::now())
    }

    /// What outcomes say about the server.
    pub fn settled(&self, outcomes: &[Outcome], told: &mut Outbox) {
        let mut gate = self.gate();
        for outcome in outcomes {
            let Some(reply) = &outcome.reply else {
                // A door without replies.
                if outcome.state == State::Accepted {
                    self.tell_of(gate.breaker.success(), None, told);
                }
                continue;
            };
            if outcome.state == State::Accepted {
                gate.pauses.accept();
            }
            let transition = if is_of_the_service(outcome) {
                gate.breaker.failure(Instant::now())
            } else if reply.code != 421 {
                gate.breaker.success()
            } else {
                None
            };
            if transition.is_some() {
                self.tell_of(transition, Some(&reply.to_string()), told);
            }
            if asks_for_less(outcome) {
                self.slow(&mut gate, &reply.to_string(), told);
            }
        }
        self.look_out(&mut gate);
    }

    /// The server has failed.
    pub fn failed(&self, trouble: &Trouble, told: &mut Outbox) {
        let mut gate = self.gate();
        let transition = gate.breaker.failure(Instant::now());
        self.tell_of(transition, Some(&trouble.to_string()), told);
        self.look_out(&mut gate);
        if trouble.reply.as_ref().is_some_and(|reply| reply.code == 421) {
            self.slow(&mut gate, &trouble.to_string(), told);
        }
        drop(gate);
        // Whoever waited for this attempt may be next.
        self.changed.notify_waiters();
    }

    fn slow(&self, gate: &mut Gate, why: &str, told: &mut Outbox) {
        if let Some(pause) = gate.pauses.slow(Instant::now()) {
            let server = self.outlet.door.route().server.clone();
            told.put(Step::Event(Event::Slowed { server, pause, why: why.to_owned() }));
            self.changed.notify_waiters();
        }
    }

    /// What was tried has told nothing about the server.
    pub fn attempt_told_nothing(&self) {
        self.gate().breaker.give_back();
        self.changed.notify_waiters();
    }

    /// No session to this server is of use. Of a fallback the user would not learn it otherwise.
    pub fn put_out_of_use(&self, trouble: &Trouble, told: &mut Outbox) {
        let mut gate = self.gate();
        let is_new = gate.out_of_use.replace(trouble.clone()).is_none();
        self.look_out(&mut gate);
        drop(gate);
        if is_new && !self.is_first {
            let route = self.outlet.door.route();
            let name = route.profile.as_deref().unwrap_or(&route.server);
            let text = format!("the fallback '{}' is of no use: {trouble}", clean(name));
            told.put(Step::Event(Event::Warning(text)));
        }
        self.changed.notify_waiters();
    }

    /// Tells if something can be taken where nothing could, or the other way round.
    fn look_out(&self, gate: &mut Gate) {
        let is_dark = gate.out_of_use.is_some() || !gate.breaker.is_closed();
        if std::mem::replace(&mut gate.is_dark, is_dark) != is_dark {
            self.reach.change(!is_dark);
        }
    }

    fn tell_of(&self, transition: Option<BreakerState>, why: Option<&str>, told: &mut Outbox) {
        let Some(state) = transition else { return };
        let why = why.filter(|_| state == BreakerState::Open).map(str::to_owned);
        told.put(Step::Event(Event::Breaker { server: self.outlet.door.route().server.clone(), state, why }));
        self.changed.notify_waiters();
    }
}

/// Steps that could not be sent at once. None is lost, and who cannot wait does not.
#[derive(Debug)]
pub(super) struct Outbox {
    steps: mpsc::Sender<Step>,
    held: Vec<Step>,
}

impl Outbox {
    pub fn new(steps: mpsc::Sender<Step>) -> Self {
        Self { steps, held: Vec::new() }
    }

    /// Sends it, now or with [`Outbox::empty`].
    pub fn put(&mut self, step: Step) {
        if !self.held.is_empty() {
            return self.held.push(step);
        }
        match self.steps.try_send(step) {
            Err(mpsc::error::TrySendError::Full(step)) => self.held.push(step),
            // If the feed is gone, there is nobody to tell.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }

    /// Sends what is held. Dropping the future loses nothing.
    pub async fn empty(&mut self) {
        while !self.held.is_empty() {
            match self.steps.reserve().await {
                Ok(place) => place.send(self.held.remove(0)),
                Err(_) => self.held.clear(),
            }
        }
    }
}

/// A submission may be begun. What is not used is given back.
pub(super) struct Permit<'a> {
    lane: &'a Lane,
    is_attempt: bool,
    is_spent: bool,
}

impl Permit<'_> {
    /// A submission with so many recipients was pulled; tells whether it decides about the server.
    pub fn spend(mut self, recipients: usize) -> bool {
        self.is_spent = true;
        if let Some(bucket) = &mut self.lane.gate().bucket {
            bucket.spend(recipients);
        }
        self.is_attempt
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_spent {
            return;
        }
        let mut gate = self.lane.gate();
        if let Some(bucket) = &mut gate.bucket {
            bucket.give_back();
        }
        if self.is_attempt {
            gate.breaker.give_back();
        }
        drop(gate);
        self.lane.freed.notify_one();
        if self.is_attempt {
            self.lane.changed.notify_waiters();
        }
    }
}

impl Sessions {
    /// Whether another session is of use: nobody waits for work, and not too many are being opened. That is one until
    /// one is open, and then as many as are: no server likes a thousand at once.
    pub fn wants_another(&self) -> bool {
        let opening = self.opening.load(Ordering::Relaxed);
        let open = self.live.load(Ordering::Relaxed) - opening;
        let most = if self.is_proven.load(Ordering::Relaxed) { open.max(Self::OPENING) } else { 1 };
        self.waiting.load(Ordering::Relaxed) == 0 && self.has_room() && opening < most
    }

    /// Sessions that may be opened at once where the login is known to be good.
    const OPENING: usize = 4;

    fn has_room(&self) -> bool {
        self.live.load(Ordering::Relaxed) < self.most.load(Ordering::Relaxed)
    }

    /// Waits until [`Sessions::wants_another`] may have changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Counts one that waits.
    pub fn wait(&self) -> Waiting<'_> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) == 0 && self.has_room() {
            self.changed.notify_one();
        }
        Waiting(self)
    }

    /// Whether the server works for others than one that does not open.
    pub fn has_others(&self) -> bool {
        self.live.load(Ordering::Relaxed) > self.opening.load(Ordering::Relaxed)
    }

    /// The server takes no more than it has. Returns how many that is, without the one that asks.
    pub fn take_no_more(&self) -> usize {
        let others = self.live.load(Ordering::Relaxed).saturating_sub(1).max(1);
        self.most.fetch_min(others, Ordering::Relaxed).min(others)
    }
}

/// A session from its beginning to its end.
pub(super) struct Live {
    lane: Arc<Lane>,
    is_opening: bool,
}

impl Live {
    /// Counts one that begins.
    pub fn new(lane: Arc<Lane>) -> Self {
        lane.sessions.live.fetch_add(1, Ordering::Relaxed);
        lane.sessions.opening.fetch_add(1, Ordering::Relaxed);
        Self { lane, is_opening: true }
    }

    /// It is open.
    pub fn open(&mut self) {
        if std::mem::take(&mut self.is_opening) {
            let sessions = &self.lane.sessions;
            sessions.opening.fetch_sub(1, Ordering::Relaxed);
            sessions.is_proven.store(true, Ordering::Relaxed);
            sessions.changed.notify_one();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let sessions = &self.lane.sessions;
        if self.is_opening {
            sessions.opening.fetch_sub(1, Ordering::Relaxed);
        }
        sessions.live.fetch_sub(1, Ordering::Relaxed);
        sessions.changed.notify_one();
    }
}

/// A session that waits for a submission.
pub(super) struct Waiting<'a>(&'a Sessions);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::Relaxed) == 1 && self.0.has_room() {
            self.0.changed.notify_one();
        }
    }
}
