//! The course of the worker: messages are taken when they are due, handed to their place, and settled.

mod answers;

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    Drained, Draining, QueueTold, Source, Ways,
    desk::{Commit, Desk, Note, Wanted},
    lane::Lane,
    milliseconds_of,
    notice::Notice,
    open::{Meaning, Open, Rules},
    rests::Rests,
};
use crate::{
    delivery::{Outlet, Work},
    feed::once::random,
    mail::{BreakerState, Event, Outcome, Route, Stage, Step, Stop, Submission, Trouble},
    queue::{Next, Place},
    smtp::changed,
};

/// Messages under way at most, of all places.
const MOST: usize = 1024;
/// Messages taken at once.
const CLAIM: usize = 100;
/// A message of a place that is left alone for long is looked at so often, where it cannot wait where it is.
const REST: Duration = Duration::from_secs(60);
/// Commands for failures that run at once.
const COMMANDS: usize = 4;
/// Others may have added something, and what was noted is on the disk, after this time.
const LOOK: Duration = Duration::from_secs(1);
/// Dead workers are looked for so often.
const RECOVERY: u32 = 10;
/// What has ended long ago is forgotten so often.
const FORGETTING: u32 = 60;

pub(super) struct Course<W, E, T> {
    draining: Draining,
    ways: W,
    engine: E,
    told: T,
    clock: fn() -> i64,
    desk: Desk,
    lanes: HashMap<u64, Lane>,
    by_place: HashMap<Place, u64>,
    rests: Rests,
    open: HashMap<u64, Open>,
    next_id: u64,
    /// Messages that had their domain's turn taken, by their names.
    turns: HashMap<String, Instant>,
    commands: JoinSet<Result<(), String>>,
    /// Records of messages that have failed, for further commands.
    failed: VecDeque<String>,
    /// Since when it is to stop, and nothing has ended that was under way.
    stopped: Option<Instant>,
    /// There may be messages to be taken.
    is_curious: bool,
    /// Time has passed, and others may have added some.
    is_guessing: bool,
    /// Some that are due had to stay where they are.
    is_narrowed: bool,
    /// When the next one is due.
    next_due: Option<Instant>,
    /// Nothing was due when it was looked last, and nothing has changed since.
    is_exhausted: bool,
    looks: u32,
    renewed: Instant,
    is_dirty: bool,
    drained: Drained,
    /// The wish to ask for every way anew.
    renewal: watch::Receiver<()>,
    stop: watch::Sender<Stop>,
}

impl<W, E, T> Course<W, E, T>
where
    W: FnMut(&Place) -> Result<Ways, Trouble>,
    E: FnMut(Vec<Outlet>, Work) -> JoinHandle<()>,
    T: FnMut(QueueTold<'_>),
{
    pub fn new(
        source: Source,
        draining: Draining,
        (ways, engine, told): (W, E, T),
        renewal: watch::Receiver<()>,
        clock: fn() -> i64,
    ) -> Self {
        Self {
            desk: Desk::new(source, draining.clone(), clock),
            draining,
            ways,
            engine,
            told,
            clock,
            lanes: HashMap::new(),
            by_place: HashMap::new(),
            rests: Rests::default(),
            open: HashMap::new(),
            next_id: 0,
            turns: HashMap::new(),
            commands: JoinSet::new(),
            failed: VecDeque::new(),
            stopped: None,
            is_curious: true,
            is_guessing: false,
            is_narrowed: false,
            next_due: None,
            is_exhausted: false,
            looks: 0,
            renewed: Instant::now(),
            is_dirty: false,
            drained: Drained::default(),
            renewal,
            stop: watch::channel(Stop::No).0,
        }
    }

    pub async fn run(mut self, mut stop: watch::Receiver<Stop>) -> Drained {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.want();
            self.desk.begin();
            if self.is_done() {
                if !std::mem::take(&mut self.is_dirty) || self.drained.end.is_some() {
                    break;
                }
                self.desk.orders.wants_sync = true;
                continue;
            }
            let wake = [self.next_due, self.desk.wake()].into_iter().flatten().min();
            tokio::select! {
                biased;
                answers = self.desk.answers() => self.answered(answers),
                steps = poll_fn(|context| poll_steps(&mut self.lanes, context)) => self.steps(steps).await,
                Some(ended) = self.commands.join_next() => self.command_ended(ended),
                _ = look.tick() => self.look(),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.woken(),
                stop = changed(&mut stop) => self.wished(gently(stop)),
                () = renewal(&mut self.renewal) => self.renew(),
            }
        }
        let Self { desk, drained, .. } = self;
        desk.end().await;
        drained
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// Whether nothing is left to be done: when it is to stop, once every delivery has ended.
    fn is_done(&self) -> bool {
        let has_commands = !(self.commands.is_empty() && self.failed.is_empty());
        match self.stopped {
            None => {
                let is_over = self.is_exhausted && self.open.is_empty() && self.desk.is_idle() && !has_commands;
                self.draining.ends_idle && is_over
            }
            Some(since) => {
                let is_late = *self.stop.borrow() == Stop::Now || since.elapsed() >= Stop::DRAIN;
                let is_over = self.drained.end.is_some() || (self.desk.is_idle() && (!has_commands || is_late));
                self.lanes.is_empty() && is_over
            }
        }
    }

    /// Asks for messages, where there may be some and they have their place here.
    fn want(&mut self) {
        let room = MOST.saturating_sub(self.open.len()).min(CLAIM);
        let is_wanted = self.is_curious || self.is_guessing;
        // Who knows that there are some does not wait for a guess.
        let is_asked = self.desk.orders.claim.as_ref().is_some_and(|wanted| !(wanted.is_guess && self.is_curious));
        let now = Instant::now();
        // What cannot be told of failures as fast as they come is waited for.
        let is_flooded = room == 0 || self.failed.len() >= MOST;
        if !is_wanted || is_asked || self.is_stopping() || is_flooded || !self.desk.is_well(now) {
            return;
        }
        let full = self.lanes.values().filter(|lane| lane.takes_nothing(now)).map(|lane| lane.place.clone());
        let without: Vec<Place> = full.chain(self.rests.places(now)).collect();
        let dark = self.lanes.values().filter_map(|lane| Some((lane.place.clone(), lane.dark_for(now)?)));
        let alone = dark.chain(self.rests.places(now).map(|place| (place, REST))).collect();
        let is_guess = !self.is_curious && !self.is_narrowed;
        self.is_narrowed = !without.is_empty();
        self.desk.orders.claim = Some(Wanted { most: room, without, alone, is_guess });
        (self.is_curious, self.is_guessing) = (false, false);
    }

    fn look(&mut self) {
        self.looks = self.looks.wrapping_add(1);
        self.is_guessing = true;
        let now = Instant::now();
        let orders = &mut self.desk.orders;
        orders.wants_sync |= std::mem::take(&mut self.is_dirty);
        orders.wants_recovery |= self.looks.is_multiple_of(RECOVERY);
        orders.wants_forgetting |= self.looks.is_multiple_of(FORGETTING);
        // Whoever has slept, and the machine with it, does not know: before dead leases are looked for, ours are renewed.
        let is_time = now.saturating_duration_since(self.renewed) >= self.draining.lease / 5;
        if (is_time || orders.wants_recovery) && !self.open.is_empty() {
            self.renewed = now;
            orders.wants_renewal = true;
        }
        self.turns.retain(|_, at| *at + LOOK * 60 > now);
        self.take_back_expired();
        let idle: Vec<u64> = self.lanes.iter().filter(|(_, lane)| lane.is_idle(now)).map(|(key, _)| *key).collect();
        idle.into_iter().for_each(|key| self.close_lane(key));
    }

    fn woken(&mut self) {
        self.next_due = None;
        self.is_curious = true;
    }

    fn wished(&mut self, stop: Stop) {
        if stop != Stop::No {
            self.stopped.get_or_insert_with(Instant::now);
            self.desk.end_soon();
            self.stop.send_replace(stop);
            let keys: Vec<u64> = self.lanes.keys().copied().collect();
            keys.into_iter().for_each(|key| self.close_lane(key));
        }
    }

    /// Every way is asked for anew, also for what is held since there was none.
    fn renew(&mut self) {
        self.desk.orders.wants_ways = true;
        self.rests.clear();
        let keys: Vec<u64> = self.lanes.keys().copied().collect();
        keys.into_iter().for_each(|key| self.close_lane(key));
        self.is_curious = true;
    }

    // ---- deliveries

    fn open_lane(&mut self, place: Place, ways: Ways) -> u64 {
        self.next_id += 1;
        let lane = Lane::start(place.clone(), ways, self.stop.subscribe(), &mut self.engine);
        self.lanes.insert(self.next_id, lane);
        self.by_place.insert(place, self.next_id);
        self.next_id
    }

    /// What a delivery has under way comes to its end; the next message of its place begins another.
    fn close_lane(&mut self, key: u64) {
        if let Some(lane) = self.lanes.get(&key) {
            lane.close();
            if self.by_place.get(&lane.place) == Some(&key) {
                self.by_place.remove(&lane.place);
            }
        }
        self.take_back(key);
    }

    /// Gives the store back what no session of a delivery has begun.
    fn take_back(&mut self, key: u64) {
        let Some(lane) = self.lanes.get(&key) else { return };
        for submission in lane.take_back() {
            self.hand_back(submission.id, None);
        }
    }

    fn leave_lane(&mut self, key: u64) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            self.is_curious |= lane.closed();
        }
    }

    /// Messages that waited for a session until their time was over.
    fn take_back_expired(&mut self) {
        let now = (self.clock)();
        let mut keys: Vec<u64> = self.open.values().filter(|open| open.expires <= now).map(|open| open.lane).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let Some(lane) = self.lanes.get(&key) else { continue };
            for submission in lane.take_back() {
                let is_over = self.open.get(&submission.id).is_none_or(|open| open.expires <= now);
                match self.lanes.get(&key) {
                    Some(lane) if !is_over => drop(lane.send(submission)),
                    _ => self.hand_back(submission.id, None),
                }
            }
        }
    }

    async fn steps(&mut self, steps: Vec<(u64, Option<Vec<Step>>)>) {
        for (key, steps) in steps {
            match steps {
                Some(steps) => steps.into_iter().for_each(|step| self.step(key, step)),
                None => self.lane_ended(key).await,
            }
        }
    }

    async fn lane_ended(&mut self, key: u64) {
        self.close_lane(key);
        // What was about to leave is left to whoever finds this worker gone, and is unknown then.
        let left: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| open.lane == key && !open.has_intent)
            .map(|(number, _)| *number)
            .collect();
        left.into_iter().for_each(|number| self.hand_back(number, None));
        if let Some(lane) = self.lanes.remove(&key) {
            lane.end().await;
            // What it has told may want its commands, and these their time.
            self.stopped = self.stopped.map(|_| Instant::now());
        }
    }

    fn step(&mut self, key: u64, step: Step) {
        match step {
            Step::Commit { ids, ack } => {
                let mut claims = Vec::with_capacity(ids.len());
                for number in &ids {
                    if let Some(open) = self.open.get_mut(number) {
                        open.has_intent = true;
                        claims.push((*number, open.id, open.generation));
                    }
                }
                // Without consent all of it comes back.
                if claims.len() == ids.len() {
                    self.desk.orders.commits.push(Commit { claims, ack });
                }
            }
            Step::Settled { id, route, outcomes } => self.settled(id, &route, outcomes),
            Step::Later { submission, at } => self.later(submission, at),
            Step::Event(event) => self.event(key, event),
        }
    }

    fn event(&mut self, key: u64, event: Event) {
        let change = match &event {
            Event::Dark(is_dark) => Some(Some(*is_dark)),
            Event::Breaker { state: BreakerState::Open, .. } => Some(None),
            _ => None,
        };
        if let Some(change) = change
            && let Some(lane) = self.lanes.get_mut(&key)
        {
            if lane.darken(change) {
                self.drained.has_more = true;
                self.take_back(key);
            } else {
                self.is_curious = true;
            }
        }
        (self.told)(QueueTold::Event(event));
    }

    fn settled(&mut self, number: u64, route: &Arc<Route>, outcomes: Vec<Outcome>) {
        let Some(mut open) = self.open.remove(&number) else { return };
        let rules = self.rules(&open);
        for outcome in outcomes {
            let meaning = open.settle(outcome, route, rules);
            self.judge(&open, &meaning);
        }
        self.close(number, open, rules);
    }

    fn rules(&self, open: &Open) -> Rules {
        let retry = self.lanes.get(&open.lane).map(|lane| lane.retry);
        let pause = retry.and_then(|retry| retry.pause_after(open.attempts, random()));
        let again = pause.map(|pause| (self.clock)().saturating_add(milliseconds_of(pause)));
        Rules { again, retries_unknown: self.draining.retries_unknown }
    }

    /// Draws the conclusions for the place, and tells.
    fn judge(&mut self, open: &Open, meaning: &Meaning) {
        self.tell(open, meaning);
        let place = self.lanes.get(&open.lane).map(|lane| lane.place.clone());
        match (meaning, place) {
            (Meaning::Place(_, trouble), Some(place)) => {
                self.drained.has_more = true;
                // Other sessions, and what is left of the delivery, tell the same.
                if let Some(pause) = self.rests.rest(&place, trouble, Instant::now()) {
                    (self.told)(QueueTold::Rests(&place, trouble, pause));
                }
                self.close_lane(open.lane);
            }
            (Meaning::Final((outcome, _)) | Meaning::Deferred((outcome, _)), Some(place))
                if outcome.stage > Stage::Auth =>
            {
                self.rests.forget(&place, Instant::now());
            }
            _ => {}
        }
    }

    fn tell(&mut self, open: &Open, meaning: &Meaning) {
        match meaning {
            Meaning::Final(settled) => {
                self.drained.counts[settled.0.state as usize] += 1;
                (self.told)(QueueTold::Settled(&open.record(settled)));
            }
            Meaning::Deferred(settled) | Meaning::Place(settled, _) => {
                (self.told)(QueueTold::Deferred(&open.record(settled)));
            }
            Meaning::Overflow | Meaning::NotTaken => {}
        }
    }

    /// It was not taken, through no fault of its own.
    fn later(&mut self, submission: Submission, at: Option<Instant>) {
        let number = submission.id;
        let Some(open) = self.open.get(&number) else { return };
        if let Some(at) = at {
            self.turns.insert(open.name.clone(), at);
            let pause = at.saturating_duration_since(Instant::now());
            let at = (self.clock)().saturating_add(milliseconds_of(pause));
            return self.hand_back(number, Some(at));
        }
        // The store takes an intent back only with the message.
        let is_free = !open.has_intent && !self.is_stopping();
        let refused = match self.lanes.get(&open.lane) {
            Some(lane) if is_free => lane.send(submission).is_some(),
            _ => true,
        };
        if refused {
            self.hand_back(number, None);
        }
    }

    fn hand_back(&mut self, number: u64, at: Option<i64>) {
        let Some(mut open) = self.open.remove(&number) else { return };
        self.drained.has_more |= at.is_some() || self.is_stopping();
        open.hand_back(at);
        let rules = self.rules(&open);
        self.close(number, open, rules);
    }

    /// Takes a message off whose recipients are all settled for this attempt.
    fn close(&mut self, number: u64, mut open: Open, rules: Rules) {
        if !open.is_over() {
            let outcomes = open.take_noted();
            if !outcomes.is_empty() {
                let (id, generation) = (open.id, open.generation);
                self.desk.orders.notes.push(Note { id, generation, outcomes, next: Next::More, notice: None });
            }
            self.open.insert(number, open);
            return;
        }
        for meaning in open.overflow(rules) {
            self.judge(&open, &meaning);
        }
        let place = self.lanes.get(&open.lane).map(|lane| lane.place.clone()).unwrap_or_default();
        self.leave_lane(open.lane);
        self.write(open, place);
    }

    /// Orders that the end of an attempt be noted.
    fn write(&mut self, mut open: Open, place: Place) {
        let next = open.next();
        match &next {
            Next::Held(why) => {
                self.drained.held += 1;
                (self.told)(QueueTold::Held(&open.name, why));
            }
            Next::Again(_) => self.drained.has_more = true,
            _ => {}
        }
        let (outcomes, failed) = (open.take_noted(), std::mem::take(&mut open.failed));
        let Open { name, id, generation, submission, has_expired, .. } = open;
        let notice = (!failed.is_empty()).then_some(Notice { name, place, has_expired, submission, failed });
        // A message that is free again may be taken at once, and a report may have been added. One that is over leaves
        // nothing behind: whoever has no room would look in vain after each.
        self.is_curious |= next != Next::Done || notice.is_some() || self.open.is_empty();
        (self.is_exhausted, self.is_dirty) = (false, true);
        self.desk.orders.notes.push(Note { id, generation, outcomes, next, notice });
    }
}

/// In a queue nothing is in a hurry: whoever is cut off while the reply is awaited leaves a message in doubt.
fn gently(stop: Stop) -> Stop {
    if stop == Stop::Drain { Stop::Finish } else { stop }
}

/// Everything that the deliveries tell by now; nothing for one that has ended.
fn poll_steps(lanes: &mut HashMap<u64, Lane>, context: &mut Context<'_>) -> Poll<Vec<(u64, Option<Vec<Step>>)>> {
    let mut all = Vec::new();
    for (key, lane) in lanes {
        let mut got = Vec::new();
        match lane.poll_steps(context, &mut got) {
            Poll::Ready(true) => all.push((*key, Some(got))),
            Poll::Ready(false) => all.push((*key, None)),
            Poll::Pending => {}
        }
    }
    if all.is_empty() { Poll::Pending } else { Poll::Ready(all) }
}

/// Waits for the wish to ask for every way anew.
async fn renewal(renewal: &mut watch::Receiver<()>) {
    if renewal.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
