//! The task that has the connection to RabbitMQ: it takes messages, and settles them.
//!
//! A message is acknowledged after everything that follows from it was published and confirmed. When the connection has
//! gone, RabbitMQ gives what was not acknowledged to somebody else, or to us once more: what comes to us once more while
//! it is on its way is not sent again, and what has ended meanwhile is settled then.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{
    Commit, Note, Wanted,
    broker::{Told, Wish},
    taken::{Key, LEFT_ALONE, Step, Taken, Work},
};
use crate::{
    feed::{
        once::random,
        queue::{Broking, Draining, Facts, Maker},
    },
    ledger::Clock,
    mail::{Cause, Stage, Trouble},
    message::Stamp,
    queue::{
        Foreign, Next, Place, Time,
        amqp::{Arrival, Dead, Letter, Link, Pause, Purpose},
    },
};

/// Messages taken in one go.
const MANY: usize = 100;
/// A message that has come so often has ended its workers, or is of no use to any.
const TOO_OFTEN: u64 = 10;
/// What is due within this time waits here.
const SOON: Time = 60_000;
/// An answer of RabbitMQ proves for so long that what it has delivered is ours. It forgets us after twice this time.
const PROVED: Duration = Duration::from_secs(5);
/// So often it is looked whether there is anything to do.
const TICK: Duration = Duration::from_secs(1);
/// Pauses between attempts to connect.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// Who is to end does not wait longer for a connection.
const FAREWELL: Duration = Duration::from_secs(10);
/// What nobody brings back to us after this time was given to somebody else.
const ELSEWHERE: Duration = Duration::from_secs(600);

/// Messages that have come by this connection, each as a letter or with the reason why it is none.
type Made = (i64, Vec<(Arrival, Key, Result<Letter, String>)>);
/// By this connection a message was settled, with its record if a command is to have it; or it was not, with what is left.
type Settled = (i64, Result<(i64, Option<String>), (i64, Work, Trouble)>);
/// By this connection something was done.
type Done = (i64, Result<(), Trouble>);

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
    /// Acknowledged, and not proved yet that RabbitMQ knows.
    acknowledged: VecDeque<(Instant, Key)>,
    /// Acknowledged through connections that have gone: if they come once more they are over.
    over: HashMap<Key, usize>,
    lost_since: Option<Instant>,
    /// Messages that wait for their moment.
    parked: BTreeSet<(Time, i64)>,
    /// Places that are left alone.
    alone: Vec<Place>,
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
    /// When something was settled last.
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

    fn is_fresh(self) -> bool {
        self.0.elapsed() < PROVED && self.1.elapsed().is_ok_and(|elapsed| elapsed < PROVED)
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
                counted = ended(&mut self.counting) => self.counted(counted),
                Some(settled) = self.settling.join_next() => self.settled(settled),
                Some(done) = self.errands.join_next() => self.done(done),
                Some(made) = self.making.join_next() => self.made(made),
                arrivals = arrivals(self.link.as_ref()), if !self.is_silent => self.arrived(arrivals),
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
        let link = match connected {
            Ok(link) => Arc::new(link),
            Err(trouble) => return self.down(trouble),
        };
        self.epoch += 1;
        self.link = Some(link.clone());
        self.is_silent = self.stopped.is_some();
        if self.is_silent {
            return;
        }
        let (epoch, prefetch, began) = (self.epoch, self.broking.prefetch, Moment::now());
        self.errands.spawn(async move { (epoch, link.consume(prefetch).await) });
        self.proved = began;
        (self.pause, self.has_been_up, self.has_told) = (FIRST, true, false);
    }

    /// The connection has gone, or has not come about.
    fn down(&mut self, trouble: Trouble) {
        let is_final =
            matches!(trouble.cause, Cause::Login | Cause::Untrusted | Cause::Unsupported | Cause::Configuration);
        let is_hopeless =
            self.stopped.is_some() || self.draining.ends_idle && !self.has_been_up || is_final && !self.has_been_up;
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
        for (_, id) in std::mem::take(&mut self.parked) {
            self.taken.remove(&id);
        }
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().for_each(|commit| self.refuse(&commit));
        for (_, key) in self.acknowledged.drain(..) {
            *self.over.entry(key).or_default() += 1;
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
        let is_busy = !self.settling.is_empty() || !self.errands.is_empty();
        if self.stopped.is_some() && is_busy && self.moved.elapsed() > FAREWELL {
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
                // It has read what was written before.
                while self.acknowledged.front().is_some_and(|(at, _)| *at <= began.0) {
                    self.acknowledged.pop_front();
                }
                let waiting = std::mem::take(&mut self.waiting);
                waiting.into_iter().for_each(|commit| self.commit(commit));
            }
        }
    }

    // ---- messages come

    fn arrived(&mut self, arrivals: Result<Vec<Arrival>, Trouble>) {
        let arrivals = match arrivals {
            Ok(arrivals) => arrivals,
            // Asked to deliver nothing more, it ends.
            Err(_) if self.stopped.is_some() => return self.is_silent = true,
            Err(trouble) => return self.lose(trouble),
        };
        let mut fresh = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            let key = key(&arrival);
            if self.stopped.is_some() {
                self.errand(async move |_| arrival.ticket.give_back().await);
            } else if let Some(id) = self.orphan(&arrival, &key) {
                self.adopt(id, arrival);
            } else if self.is_over(&arrival, &key) {
                self.errand(async move |_| arrival.ticket.acknowledge().await);
            } else if arrival.times >= TOO_OFTEN {
                self.errand(async move |link| {
                    let reason = format!("{} workers have had it and not settled it", arrival.times);
                    link.bury(Dead::Arrival(&arrival), &reason, None).await?;
                    arrival.ticket.acknowledge().await
                });
            } else {
                fresh.push((arrival, key));
            }
        }
        if !fresh.is_empty() {
            let (maker, epoch, now) = (self.broking.maker.clone(), self.epoch, self.now());
            self.making.spawn_blocking(move || {
                let make = |(arrival, key): (Arrival, Key)| {
                    let letter = letter(&arrival, &key, &maker, now);
                    (arrival, key, letter)
                };
                (epoch, fresh.into_iter().map(make).collect())
            });
        }
    }

    /// A message that we have already, of a connection that has gone.
    fn orphan(&mut self, arrival: &Arrival, key: &Key) -> Option<i64> {
        if !arrival.is_redelivered {
            return None;
        }
        let ids = self.orphans.get_mut(key)?;
        let id = ids.pop();
        if ids.is_empty() {
            self.orphans.remove(key);
        }
        id
    }

    /// We have settled it, and RabbitMQ has not heard of it.
    fn is_over(&mut self, arrival: &Arrival, key: &Key) -> bool {
        match self.over.get_mut(key) {
            Some(times) if arrival.is_redelivered && *times > 0 => {
                *times -= 1;
                true
            }
            _ => false,
        }
    }

    fn adopt(&mut self, id: i64, mut arrival: Arrival) {
        arrival.octets = Vec::new();
        let Some(taken) = self.taken.get_mut(&id) else { return };
        (taken.arrival, taken.epoch) = (arrival, self.epoch);
        if let Some(work) = taken.work.take() {
            self.settle(id, work);
        }
    }

    fn made(&mut self, made: Result<Made, JoinError>) {
        let (epoch, made) = whole(made);
        // They come once more.
        if epoch != self.epoch || self.link.is_none() {
            return;
        }
        let (now, mut claims) = (self.now(), Vec::with_capacity(made.len()));
        for (mut arrival, key, letter) in made {
            let letter = match letter {
                Ok(letter) => letter,
                Err(reason) => {
                    self.errand(async move |link| {
                        link.bury(Dead::Arrival(&arrival), &reason, None).await?;
                        arrival.ticket.acknowledge().await
                    });
                    continue;
                }
            };
            if self.stopped.is_some() {
                self.errand(async move |_| arrival.ticket.give_back().await);
                continue;
            }
            if let Some(due) = letter.job.due.filter(|due| *due > now) {
                self.errand(async move |link| {
                    link.delay_arrival(Pause::AtMost(due - now), &arrival).await?;
                    arrival.ticket.acknowledge().await
                });
                continue;
            }
            // The letter has them.
            arrival.octets = Vec::new();
            self.next_id += 1;
            let taken = Taken::new(arrival, key, epoch, letter);
            claims.push(taken.claim(self.next_id));
            self.taken.insert(self.next_id, taken);
        }
        if !claims.is_empty() {
            self.told(Told::Claimed(claims));
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
            let name = self.broking.broker.name().to_owned();
            self.counting =
                Some(tokio::spawn(async move { Ok(link.count(&name).await?.map_or(0, |count| count.messages)) }));
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
        self.moved = Instant::now();
        if self.stopped.replace(Instant::now()).is_some() {
            return;
        }
        for (_, id) in std::mem::take(&mut self.parked) {
            if let Some(taken) = self.taken.remove(&id) {
                self.errand(async move |_| taken.arrival.ticket.give_back().await);
            }
        }
        // Nobody brings them back to who takes nothing more.
        self.leave_orphans();
        self.errand(async move |link| link.cancel().await);
    }

    /// Who still has all of them may send them.
    fn commit(&mut self, commit: Commit) {
        let is_ours = |id: &i64| self.taken.get(id).is_some_and(|taken| taken.epoch == self.epoch);
        if self.link.is_none() || !commit.claims.iter().all(|(_, id, _)| is_ours(id)) {
            return self.refuse(&commit);
        }
        if !self.proved.is_fresh() {
            self.waiting.push(commit);
            return self.ping();
        }
        // The session may be gone by now.
        let _ = commit.ack.send(());
    }

    /// Those that are others' by now are lost; the rest comes back without consent.
    fn refuse(&mut self, commit: &Commit) {
        let (link, epoch) = (self.link.is_some(), self.epoch);
        let mut lost = Vec::new();
        for (number, id, _) in &commit.claims {
            let is_ours = link && self.taken.get(id).is_some_and(|taken| taken.epoch == epoch);
            if !is_ours {
                self.forget(*id);
                lost.push(*number);
            }
        }
        self.told(Told::Lost(lost));
    }

    fn forget(&mut self, id: i64) {
        if let Some(taken) = self.taken.remove(&id)
            && let Some(ids) = self.orphans.get_mut(&taken.key)
        {
            ids.retain(|one| *one != id);
        }
    }

    fn note(&mut self, note: Note) {
        let now = self.now();
        let Some(taken) = self.taken.get_mut(&note.id) else { return self.told(Told::Settled(1)) };
        let records = taken.hear(&note.outcomes, now, &mut self.records);
        let records = if self.broking.broker.results().is_some() { records } else { Vec::new() };
        match &note.next {
            Next::More => {
                self.told(Told::Settled(1));
                if !records.is_empty() {
                    self.errand(async move |link| Step::Records(records).run(&link).await);
                }
            }
            Next::Released(at) if taken.is_untouched() => self.release(note.id, *at),
            _ => match taken.work(&note, records, &self.draining, now) {
                Ok(work) => self.settle(note.id, work),
                Err(what) => {
                    // What cannot be written comes to us or others once more.
                    self.told(Told::Warning(what));
                    self.release(note.id, None);
                }
            },
        }
    }

    /// It was not taken: it is tried again here, or by others.
    fn release(&mut self, id: i64, at: Option<Time>) {
        self.told(Told::Settled(1));
        let Some(taken) = self.taken.get(&id) else { return };
        if taken.epoch != self.epoch || self.link.is_none() {
            return self.forget(id);
        }
        let now = self.now();
        let is_left_alone = at.is_none() && self.alone.contains(&taken.letter.job.place);
        let pause = match at {
            Some(at) if at.saturating_sub(now) > SOON => Some(Pause::AtMost(at - now)),
            _ if is_left_alone => Some(Pause::About(LEFT_ALONE)),
            _ => None,
        };
        if self.stopped.is_some() {
            if let Some(taken) = self.taken.remove(&id) {
                self.errand(async move |_| taken.arrival.ticket.give_back().await);
            }
            return;
        }
        let Some(pause) = pause else {
            self.parked.insert((at.unwrap_or(now), id));
            return;
        };
        if let Some(Taken { arrival, letter, .. }) = self.taken.remove(&id) {
            self.errand(async move |link| {
                let failed = |error: std::io::Error| Trouble::new(Stage::Compose, Cause::Input, error.to_string());
                let octets = letter.encode().map_err(failed)?;
                link.delay(pause, &octets, &letter.job.message_id, letter.attempts).await?;
                arrival.ticket.acknowledge().await
            });
        }
    }

    fn unpark(&mut self) {
        let now = self.now();
        let mut claims = Vec::new();
        while let Some((at, id)) = self.parked.first().copied().filter(|(at, _)| *at <= now) {
            self.parked.remove(&(at, id));
            claims.extend(self.taken.get(&id).map(|taken| taken.claim(id)));
        }
        if !claims.is_empty() {
            self.told(Told::Claimed(claims));
        }
    }

    /// Publishes what follows of a message, and acknowledges it.
    fn settle(&mut self, id: i64, mut work: Work) {
        let link = self.link.clone().filter(|_| self.taken.get(&id).is_some_and(|taken| taken.epoch == self.epoch));
        let Some(link) = link else {
            // If it comes to us once more, it is settled then.
            if let Some(taken) = self.taken.get_mut(&id).filter(|_| self.stopped.is_none()) {
                taken.work = Some(work);
                return;
            }
            self.forget(id);
            return self.told(Told::Settled(1));
        };
        let Some(taken) = self.taken.get(&id) else { return };
        let (epoch, ticket) = (self.epoch, taken.arrival.ticket.clone());
        self.settling.spawn(async move {
            while let Some(step) = work.steps.front() {
                if let Err(trouble) = step.run(&link).await {
                    return (epoch, Err((id, work, trouble)));
                }
                work.steps.pop_front();
            }
            match ticket.acknowledge().await {
                Ok(()) => (epoch, Ok((id, work.failed))),
                Err(trouble) => (epoch, Err((id, work, trouble))),
            }
        });
    }

    fn settled(&mut self, settled: Result<Settled, JoinError>) {
        self.moved = Instant::now();
        match whole(settled) {
            (epoch, Ok((id, failed))) => {
                if let Some(taken) = self.taken.remove(&id) {
                    if epoch == self.epoch {
                        self.acknowledged.push_back((Instant::now(), taken.key));
                    } else if taken.epoch == self.epoch {
                        // It has come once more meanwhile.
                        self.errand(async move |_| taken.arrival.ticket.acknowledge().await);
                    } else {
                        let ids = self.orphans.get_mut(&taken.key);
                        ids.into_iter().for_each(|ids| ids.retain(|one| *one != id));
                        *self.over.entry(taken.key).or_default() += 1;
                    }
                }
                if let Some(record) = failed {
                    self.told(Told::Failed(record));
                }
                self.told(Told::Settled(1));
            }
            (epoch, Err((id, work, trouble))) => {
                match self.taken.get_mut(&id) {
                    Some(taken) => taken.work = Some(work),
                    None => self.told(Told::Settled(1)),
                }
                if epoch == self.epoch {
                    self.lose(trouble);
                } else if let Some(taken) = self.taken.get_mut(&id)
                    && taken.epoch == self.epoch
                    && let Some(work) = taken.work.take()
                {
                    // It has come once more meanwhile.
                    self.settle(id, work);
                }
            }
        }
    }

    /// Something that no note waits for.
    fn errand<F>(&mut self, errand: impl FnOnce(Arc<Link>) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), Trouble>> + Send + 'static,
    {
        let Some(link) = self.link.clone() else { return };
        let epoch = self.epoch;
        self.errands.spawn(async move { (epoch, errand(link).await) });
    }

    fn done(&mut self, done: Result<Done, JoinError>) {
        self.moved = Instant::now();
        if let (epoch, Err(trouble)) = whole(done)
            && epoch == self.epoch
        {
            self.lose(trouble);
        }
    }
}

/// What another program asks for, or a letter of ours, as a letter.
fn letter(arrival: &Arrival, key: &Key, maker: &Maker, now: Time) -> Result<Letter, String> {
    if arrival.is_letter {
        return Letter::decode(&arrival.octets);
    }
    let foreign = Foreign::parse(&arrival.octets)?;
    let mark: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let published = arrival.timestamp.and_then(|seconds| Time::try_from(seconds).ok()?.checked_mul(1000));
    let facts = Facts { mark, published: published.unwrap_or(now) };
    let job = (maker.0)(foreign, &facts)?;
    Ok(Letter::new(Stamp::now().mark(), job, facts.published))
}

/// By what a delivery is known again.
fn key(arrival: &Arrival) -> Key {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    digest.update(arrival.message_id.as_deref().unwrap_or_default().as_bytes());
    digest.update(&[0]);
    digest.update(&arrival.timestamp.unwrap_or_default().to_be_bytes());
    digest.update(&arrival.octets);
    let mut key = Key::default();
    for (octet, digested) in key.iter_mut().zip(digest.finish().as_ref()) {
        *octet = *digested;
    }
    key
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

/// Everything that has come by now.
async fn arrivals(link: Option<&Arc<Link>>) -> Result<Vec<Arrival>, Trouble> {
    let Some(link) = link else { return std::future::pending().await };
    poll_fn(|context| {
        let mut arrivals = Vec::new();
        while arrivals.len() < MANY {
            match link.poll_arrival(context) {
                Poll::Ready(Ok(arrival)) => arrivals.push(arrival),
                // It is told once more.
                Poll::Ready(Err(_)) if !arrivals.is_empty() => break,
                Poll::Ready(Err(trouble)) => return Poll::Ready(Err(trouble)),
                Poll::Pending => break,
            }
        }
        if arrivals.is_empty() { Poll::Pending } else { Poll::Ready(Ok(arrivals)) }
    })
    .await
}
