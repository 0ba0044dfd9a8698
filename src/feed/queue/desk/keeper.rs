//! The task that has the connection to RabbitMQ: it takes messages, and settles them.
//!
//! A message is acknowledged after everything that follows from it was published and confirmed. When the connection has
//! gone, RabbitMQ gives what was not acknowledged to somebody else, or to us once more: what comes to us once more while
//! it is on its way is not sent again, and what has ended meanwhile is settled then.

mod arriving;
mod errands;
mod settling;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use self::{
    arriving::{Made, arrivals},
    errands::{Done, Errand},
    settling::Settled,
};
use super::{
    Commit, Wanted,
    broker::{Told, Wish},
    taken::{Key, Taken},
};
use crate::{
    feed::{
        once::random,
        queue::{Broking, Draining},
    },
    ledger::Clock,
    mail::{Cause, Stage, Trouble},
    queue::{
        Place, Time,
        amqp::{Link, Purpose},
    },
};

/// RabbitMQ writes an acknowledgement down within this time after it has read it.
const WRITTEN: Duration = Duration::from_secs(5);
/// So often it is looked whether there is anything to do.
const TICK: Duration = Duration::from_secs(1);
/// Pauses between attempts to connect, and to publish.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// Who is to end does not wait longer for a connection.
const FAREWELL: Duration = Duration::from_secs(10);
/// Or for a RabbitMQ that has no room and says nothing.
const STANDSTILL: Duration = Duration::from_secs(30);
/// What nobody brings back to us after this time was given to somebody else.
const ELSEWHERE: Duration = Duration::from_secs(600);

pub(super) struct Keeper {
    broking: Broking,
    draining: Draining,
    clock: fn() -> i64,
    wishes: mpsc::UnboundedReceiver<Wish>,
    tell: mpsc::UnboundedSender<Told>,
    link: Option<Arc<Link>>,
    /// Counts connections.
    epoch: i64,
    /// When RabbitMQ was asked for the answer that has come last.
    proved: Moment,
    taken: HashMap<i64, Taken>,
    next_id: i64,
    /// Messages of connections that have gone.
    orphans: HashMap<Key, Vec<i64>>,
    /// Acknowledged, and not proved yet that RabbitMQ knows; whether no other can be taken for it.
    acknowledged: VecDeque<(Instant, Key, bool)>,
    /// Acknowledged through connections that have gone: if they come once more they are over.
    over: HashMap<Key, usize>,
    lost_since: Option<Instant>,
    /// Messages that wait for their moment.
    parked: BTreeSet<(Time, i64)>,
    /// Places that are left alone, and for how long.
    alone: Vec<(Place, Duration)>,
    /// Who waits for an answer of RabbitMQ.
    waiting: Vec<Commit>,
    pinging: Option<JoinHandle<(Moment, Result<(), Trouble>)>>,
    making: JoinSet<Made>,
    settling: JoinSet<Settled>,
    /// Everything else that is published.
    errands: JoinSet<Done>,
    counting: Option<JoinHandle<Result<u32, Trouble>>>,
    connecting: Option<JoinHandle<Result<Link, Trouble>>>,
    again: Instant,
    pause: Duration,
    has_been_up: bool,
    has_told: bool,
    stopped: Option<Instant>,
    /// When something was settled last, or somebody began to wait for that.
    moved: Instant,
    /// Nothing comes any more.
    is_silent: bool,
    records: Clock,
}

/// A moment by two clocks: one stands still while the machine sleeps, the other may be set.
#[derive(Debug, Clone, Copy)]
struct Moment(Instant, SystemTime);

impl Moment {
    fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    fn is_within(self, limit: Duration) -> bool {
        self.0.elapsed() < limit && self.1.elapsed().is_ok_and(|elapsed| elapsed < limit)
    }
}

impl Keeper {
    pub fn new(
        broking: Broking,
        draining: Draining,
        clock: fn() -> i64,
        wishes: mpsc::UnboundedReceiver<Wish>,
        tell: mpsc::UnboundedSender<Told>,
    ) -> Self {
        Self {
            broking,
            draining,
            clock,
            wishes,
            tell,
            link: None,
            epoch: 0,
            proved: Moment::now(),
            taken: HashMap::new(),
            next_id: 0,
            orphans: HashMap::new(),
            acknowledged: VecDeque::new(),
            over: HashMap::new(),
            lost_since: None,
            parked: BTreeSet::new(),
            alone: Vec::new(),
            waiting: Vec::new(),
            pinging: None,
            making: JoinSet::new(),
            settling: JoinSet::new(),
            errands: JoinSet::new(),
            counting: None,
            connecting: None,
            again: Instant::now(),
            pause: FIRST,
            has_been_up: false,
            has_told: false,
            stopped: None,
            moved: Instant::now(),
            is_silent: false,
            records: Clock::default(),
        }
    }

    pub async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.connect();
            let next = self.parked.first().map(|(at, _)| self.moment_of(*at));
            tokio::select! {
                biased;
                wish = self.wishes.recv() => match wish {
                    None => break,
                    Some(wish) => self.wished(wish),
                },
                connected = ended(&mut self.connecting) => self.connected(connected),
                pinged = ended(&mut self.pinging) => self.pinged(pinged),
                Some(settled) = self.settling.join_next() => self.settled(settled),
                Some(done) = self.errands.join_next() => self.done(done),
                Some(made) = self.making.join_next() => self.made(made),
                arrivals = arrivals(self.link.as_ref()), if !self.is_silent => self.arrived(arrivals),
                // What came before it was counted is known by now.
                counted = ended(&mut self.counting) => self.counted(counted),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.unpark(),
                () = sleep_until(self.again), if self.is_to_connect() => {}
                _ = tick.tick() => self.tick(),
            }
        }
        if let Some(link) = self.link.take() {
            // What nobody waits for is published, too, if that can be.
            let _ = timeout(FAREWELL, async { while self.errands.join_next().await.is_some() {} }).await;
            link.close().await;
        }
    }

    fn now(&self) -> Time {
        (self.clock)()
    }

    fn moment_of(&self, at: Time) -> Instant {
        Instant::now() + Duration::from_millis(u64::try_from(at.saturating_sub(self.now())).unwrap_or_default())
    }

    fn told(&self, told: Told) {
        // The feed ends before its task does.
        let _ = self.tell.send(told);
    }

    // ---- the connection

    fn is_to_connect(&self) -> bool {
        self.link.is_none() && self.connecting.is_none() && self.stopped.is_none_or(|since| since.elapsed() < FAREWELL)
    }

    fn connect(&mut self) {
        if self.is_to_connect() && self.again <= Instant::now() {
            self.connecting = Some(tokio::spawn(Link::open(self.broking.broker.clone(), Purpose::Working)));
        }
    }

    fn connected(&mut self, connected: Result<Link, Trouble>) {
        match connected {
            Ok(link) => self.link = Some(Arc::new(link)),
            Err(trouble) => return self.down(trouble),
        }
        self.epoch += 1;
        self.is_silent = self.stopped.is_some();
        if self.is_silent {
            return;
        }
        self.proved = Moment::now();
        // What was ours is brought back from now on.
        self.lost_since = self.lost_since.map(|_| Instant::now());
        self.errand(Errand::Consume(self.broking.prefetch));
    }

    /// Messages come.
    fn is_up(&mut self) {
        (self.pause, self.has_been_up, self.has_told) = (FIRST, true, false);
    }

    /// The connection has gone, or has not come about.
    fn down(&mut self, trouble: Trouble) {
        let is_final =
            matches!(trouble.cause, Cause::Login | Cause::Untrusted | Cause::Unsupported | Cause::Configuration);
        let is_hopeless = self.stopped.is_some() || self.draining.ends_idle || (is_final && !self.has_been_up);
        self.again = Instant::now() + self.pause.mul_f64(0.5 + random() / 2.0);
        self.pause = (self.pause * 2).min(LONGEST);
        self.told(Told::Down { trouble, is_new: !self.has_told, is_hopeless });
        self.has_told = true;
    }

    /// What was delivered is others' by now, or comes to us once more.
    fn lose(&mut self, trouble: Trouble) {
        if self.link.take().is_none() {
            return;
        }
        self.lost_since = Some(Instant::now());
        (self.pinging, self.counting) = (None, None);
        self.parked.clear();
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().for_each(|commit| self.refuse(&commit));
        for (_, key, is_unique) in std::mem::take(&mut self.acknowledged) {
            self.remember(key, is_unique);
        }
        self.orphans.clear();
        for (id, taken) in &self.taken {
            self.orphans.entry(taken.key).or_default().push(*id);
        }
        if self.stopped.is_some() {
            self.leave_orphans();
        }
        self.down(trouble);
    }

    /// If it comes once more it is over. Two jobs may be the same word for word: neither is taken for the other.
    fn remember(&mut self, key: Key, is_unique: bool) {
        if is_unique {
            *self.over.entry(key).or_default() += 1;
        }
    }

    /// Nobody brings back what was delivered by connections that have gone.
    fn leave_orphans(&mut self) {
        let ids: Vec<i64> = self.orphans.drain().flat_map(|(_, ids)| ids).collect();
        let mut settled = 0;
        for id in ids {
            if self.taken.get(&id).is_some_and(|taken| taken.work.is_some()) {
                settled += 1;
            }
            self.taken.remove(&id);
        }
        if settled > 0 {
            self.told(Told::Settled(settled));
        }
    }

    fn tick(&mut self) {
        self.told(Told::Alive);
        self.ping();
        // RabbitMQ may have no room, and let everybody who publishes wait.
        let is_waited_for = !self.settling.is_empty() || !self.errands.is_empty() || !self.waiting.is_empty();
        if self.stopped.is_some() && is_waited_for && self.moved.elapsed() > STANDSTILL {
            self.lose(Trouble::new(Stage::Connect, Cause::TimedOut, "RabbitMQ takes nothing at present"));
        }
        if self.link.is_some() && self.lost_since.is_some_and(|since| since.elapsed() > ELSEWHERE) {
            self.lost_since = None;
            self.leave_orphans();
            self.over.clear();
        }
    }

    fn ping(&mut self) {
        let Some(link) = self.link.clone() else { return };
        if self.pinging.is_some() || (self.taken.is_empty() && self.acknowledged.is_empty()) {
            return;
        }
        let (began, prefetch) = (Moment::now(), self.broking.prefetch);
        self.pinging = Some(tokio::spawn(async move { (began, link.ping(prefetch).await) }));
    }

    fn pinged(&mut self, (began, answer): (Moment, Result<(), Trouble>)) {
        match answer {
            Err(trouble) => self.lose(trouble),
            Ok(()) => {
                self.proved = began;
                // It has read what was written before, and has written it down by now.
                while self.acknowledged.front().is_some_and(|(at, ..)| *at + WRITTEN <= began.0) {
                    self.acknowledged.pop_front();
                }
                let waiting = std::mem::take(&mut self.waiting);
                waiting.into_iter().for_each(|commit| self.commit(commit));
            }
        }
    }

    // ---- what the feed wishes

    fn wished(&mut self, wish: Wish) {
        match wish {
            Wish::Commit(commit) => self.commit(commit),
            Wish::Note(note) => self.note(*note),
            Wish::Claim(Wanted { alone, .. }) => {
                self.alone = alone;
                self.count();
            }
            Wish::Stop => self.stop(),
        }
    }

    /// Whoever ends when nothing is due has to know when that is so.
    fn count(&mut self) {
        let is_busy = !self.taken.is_empty() || !self.making.is_empty() || self.counting.is_some();
        if let Some(link) = self.link.clone()
            && self.draining.ends_idle
            && !is_busy
        {
            let (name, prefetch) = (self.broking.broker.name().to_owned(), self.broking.prefetch);
            self.counting = Some(tokio::spawn(async move {
                let count = link.count(&name).await?.map_or(0, |count| count.messages);
                // What is not counted has come when this is answered.
                link.ping(prefetch).await?;
                Ok(count)
            }));
        }
    }

    fn counted(&mut self, counted: Result<u32, Trouble>) {
        match counted {
            Ok(0) if self.taken.is_empty() && self.making.is_empty() => self.told(Told::Nothing),
            Ok(_) => {}
            Err(trouble) => self.lose(trouble),
        }
    }

    fn stop(&mut self) {
        if self.stopped.replace(Instant::now()).is_some() {
            return;
        }
        self.moved = Instant::now();
        for (_, id) in std::mem::take(&mut self.parked) {
            if let Some(taken) = self.taken.remove(&id) {
                self.give_back_taken(taken);
            }
        }
        // Nobody brings them back to who takes nothing more.
        self.leave_orphans();
        self.errand(Errand::Cancel);
    }

    /// Who still has all of them may send them.
    fn commit(&mut self, commit: Commit) {
        let is_ours = |id: &i64| self.taken.get(id).is_some_and(|taken| taken.epoch == self.epoch);
        let Some(link) = self.link.as_ref().filter(|_| commit.claims.iter().all(|(_, id, _)| is_ours(id))) else {
            return self.refuse(&commit);
        };
        if !link.is_alive() || !self.proved.is_within(link.proof()) {
            self.begin_moving();
            self.waiting.push(commit);
            return self.ping();
        }
        // The session may be gone by now.
        let _ = commit.ack.send(());
    }

    /// Those that are others' by now are lost; the rest comes back without consent.
    fn refuse(&mut self, commit: &Commit) {
        let (has_link, epoch) = (self.link.is_some(), self.epoch);
        let mut lost = Vec::new();
        for (number, id, _) in &commit.claims {
            let is_ours = has_link && self.taken.get(id).is_some_and(|taken| taken.epoch == epoch);
            if !is_ours {
                self.forget(*id);
                lost.push(*number);
            }
        }
        self.told(Told::Lost(lost));
    }

    fn forget(&mut self, id: i64) {
        if let Some(taken) = self.taken.remove(&id) {
            self.is_no_orphan(id, &taken.key);
        }
    }

    fn is_no_orphan(&mut self, id: i64, key: &Key) {
        if let Some(ids) = self.orphans.get_mut(key) {
            ids.retain(|one| *one != id);
        }
    }

    /// From now on somebody is waited for.
    fn begin_moving(&mut self) {
        if self.settling.is_empty() && self.errands.is_empty() && self.waiting.is_empty() {
            self.moved = Instant::now();
        }
    }
}

/// The end of a task that may not be there. Its defects are ours.
async fn ended<T>(task: &mut Option<JoinHandle<T>>) -> T {
    let Some(running) = task else { return std::future::pending().await };
    let ended = running.await;
    *task = None;
    whole(ended)
}

/// Its defects are ours; nobody cancels it.
fn whole<T>(ended: Result<T, JoinError>) -> T {
    match ended {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
