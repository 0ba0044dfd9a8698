//! The queue at work, whichever it is. The store: one round at a time on another thread, which takes everything that waits
//! for it. RabbitMQ: a task that has the connection.

mod broker;
mod keeper;
mod taken;

use std::time::Duration;

use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

use self::broker::BrokerDesk;
use super::{Draining, Source, milliseconds_of, notice::Notice, open::Settled};
use crate::config::OnFailure;
use crate::queue::{Claim, Job, Next, Place, QueueError, Settlement, Store, Worker};

/// Messages that have expired, or that are forgotten, taken in one round.
const SWEEP: usize = 100;
/// A store that cannot be used is tried again after this time.
const PAUSE: Duration = Duration::from_secs(1);
/// And given up after this one, by whoever wants to end soon, or stays.
const BRIEF: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// The queue, and what waits for it.
pub(super) struct Desk {
    pub orders: Orders,
    kind: Kind,
}

enum Kind {
    Store(Box<StoreDesk>),
    Broker(BrokerDesk),
}

impl Desk {
    pub fn new(source: Source, draining: Draining, clock: fn() -> i64) -> Self {
        let orders = Orders { wants_recovery: true, wants_forgetting: true, wants_ways: true, ..Orders::default() };
        let kind = match source {
            Source::Store(store, worker) => Kind::Store(Box::new(StoreDesk::new(*store, worker, draining, clock))),
            Source::Broker(broking) => Kind::Broker(BrokerDesk::new(broking, draining, clock)),
        };
        Self { orders, kind }
    }

    /// Whether nothing waits and nothing is done.
    pub fn is_idle(&self) -> bool {
        self.orders.is_empty()
            && match &self.kind {
                Kind::Store(desk) => desk.round.is_none(),
                Kind::Broker(desk) => desk.is_idle(),
            }
    }

    /// Whether it can be used, as far as is known, or is to be tried again.
    pub fn is_well(&self, now: Instant) -> bool {
        match &self.kind {
            Kind::Store(desk) => desk.failing.is_none_or(|(_, again)| again <= now),
            Kind::Broker(_) => true,
        }
    }

    /// When a store that cannot be used is tried again.
    pub fn wake(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Store(desk) => desk.failing.filter(|_| !self.orders.is_empty()).map(|(_, again)| again),
            Kind::Broker(_) => None,
        }
    }

    /// Lets what waits be done, unless something is being done.
    pub fn begin(&mut self) {
        match &mut self.kind {
            _ if self.orders.is_empty() => {}
            Kind::Store(desk) => desk.begin(&mut self.orders),
            Kind::Broker(desk) => desk.begin(&mut self.orders),
        }
    }

    /// From now on nothing more is taken, and what cannot be used is not tried for long.
    pub fn end_soon(&mut self) {
        match &mut self.kind {
            Kind::Store(desk) if !desk.ends_soon => {
                desk.ends_soon = true;
                desk.failing = desk.failing.map(|(_, again)| (Instant::now(), again));
            }
            Kind::Store(_) => {}
            Kind::Broker(desk) => desk.stop(),
        }
    }

    /// The end.
    pub async fn end(self) {
        if let Kind::Broker(desk) = self.kind {
            desk.end().await;
        }
    }

    /// Waits for answers, if there will be some. Dropping the future loses nothing.
    pub async fn answers(&mut self) -> Answers {
        match &mut self.kind {
            Kind::Store(desk) => desk.answers(&mut self.orders).await,
            Kind::Broker(desk) => desk.answers().await,
        }
    }
}

/// The store.
struct StoreDesk {
    /// `None` while a round is made.
    kit: Option<Kit>,
    round: Option<JoinHandle<(Kit, Orders, Answers)>>,
    /// Since when it cannot be used, and when it is tried again.
    failing: Option<(Instant, Instant)>,
    /// It is not tried for long.
    ends_soon: bool,
    clock: fn() -> i64,
}

struct Kit {
    store: Store,
    worker: Worker,
    draining: Draining,
}

/// What the store is to do.
#[derive(Default)]
pub(super) struct Orders {
    pub commits: Vec<Commit>,
    pub notes: Vec<Note>,
    pub claim: Option<Wanted>,
    pub wants_renewal: bool,
    pub wants_recovery: bool,
    pub wants_forgetting: bool,
    pub wants_sync: bool,
    /// Places are wanted whose messages are held since there was no way.
    pub wants_ways: bool,
    /// Those to which there is one now.
    pub ways_found: Vec<Place>,
}

/// Messages that are about to leave: the feed's numbers, the store's and those of their leases.
pub(super) struct Commit {
    pub claims: Vec<(u64, i64, i64)>,
    pub ack: oneshot::Sender<()>,
}

/// What came of a message.
pub(super) struct Note {
    pub id: i64,
    pub generation: i64,
    pub outcomes: Vec<Settled>,
    pub next: Next,
    pub notice: Option<Notice>,
}

/// Messages to be taken.
pub(super) struct Wanted {
    pub most: usize,
    /// Those of these places stay where they are.
    pub without: Vec<Place>,
    /// Of these, those whose messages do better after this time.
    pub alone: Vec<(Place, Duration)>,
    /// Nothing speaks for it but that time has passed: only if somebody else has changed something.
    pub is_guess: bool,
}

/// What the store has answered.
#[derive(Default)]
pub(super) struct Answers {
    /// Messages, if any were wanted.
    pub claimed: Option<Vec<Claim>>,
    pub expired: Vec<Claim>,
    /// The next message that nobody has is due or expires.
    pub next_due: Option<i64>,
    /// Messages that others have by now.
    pub lost: Vec<u64>,
    /// Places whose messages are held since there was no way.
    pub without_way: Vec<Place>,
    /// Of dead workers.
    pub recovered: (u64, u64),
    /// Records of messages that have failed, for a command.
    pub failed: Vec<String>,
    pub warnings: Vec<String>,
    pub error: Option<QueueError>,
    /// It is the first after all was well.
    pub is_new: bool,
    /// It is given up.
    pub is_hopeless: bool,
}

impl StoreDesk {
    fn new(store: Store, worker: Worker, draining: Draining, clock: fn() -> i64) -> Self {
        let ends_soon = draining.ends_idle;
        Self { kit: Some(Kit { store, worker, draining }), round: None, failing: None, ends_soon, clock }
    }

    /// Begins a round, if nothing is done.
    fn begin(&mut self, orders: &mut Orders) {
        if self.failing.is_some_and(|(_, again)| Instant::now() < again) {
            return;
        }
        let Some(kit) = self.kit.take() else { return };
        let (orders, now) = (std::mem::take(orders), (self.clock)());
        self.round = Some(tokio::task::spawn_blocking(move || kit.round(orders, now)));
    }

    /// Waits for the end of a round, if one is made. Dropping the future loses nothing.
    async fn answers(&mut self, orders: &mut Orders) -> Answers {
        let Some(round) = &mut self.round else { return std::future::pending().await };
        let ended = round.await;
        self.round = None;
        let (kit, left, mut answers) = match ended {
            Ok(ended) => ended,
            // Its defects are the feed's: nobody knows what was noted.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only the end of the runtime cancels it, and nobody waits then.
            Err(_) => return std::future::pending().await,
        };
        self.kit = Some(kit);
        orders.take_back(left);
        let now = Instant::now();
        match &answers.error {
            None => self.failing = None,
            Some(error) => {
                answers.is_new = self.failing.is_none();
                let since = self.failing.map_or(now, |(since, _)| since);
                let patience = patience(self.ends_soon, error);
                answers.is_hopeless = patience.is_some_and(|patience| now.saturating_duration_since(since) >= patience);
                self.failing = Some((since, now + PAUSE));
            }
        }
        answers
    }
}

/// How long a store that fails so is tried. Whoever stays waits for room on the disk as long as it takes.
fn patience(ends_soon: bool, error: &QueueError) -> Option<Duration> {
    match error {
        _ if ends_soon => Some(BRIEF),
        QueueError::File { .. } | QueueError::Busy(_) => None,
        _ => Some(PATIENCE),
    }
}

impl Orders {
    fn is_empty(&self) -> bool {
        self.commits.is_empty()
            && self.notes.is_empty()
            && self.claim.is_none()
            && self.ways_found.is_empty()
            && !(self.wants_ways
                || self.wants_renewal
                || self.wants_recovery
                || self.wants_forgetting
                || self.wants_sync)
    }

    /// What was not done is done with what has come since.
    fn take_back(&mut self, mut left: Orders) {
        left.notes.append(&mut self.notes);
        self.notes = left.notes;
        self.wants_renewal |= left.wants_renewal;
        self.wants_recovery |= left.wants_recovery;
        self.wants_ways |= left.wants_ways;
        self.ways_found.append(&mut left.ways_found);
    }
}

impl Kit {
    /// Does what is wanted. What could not be noted comes back.
    fn round(mut self, mut orders: Orders, now: i64) -> (Self, Orders, Answers) {
        let mut answers = Answers::default();
        answers.error = self.work(&mut orders, now, &mut answers).err();
        (self, orders, answers)
    }

    fn work(&mut self, orders: &mut Orders, now: i64, answers: &mut Answers) -> Result<(), QueueError> {
        let lease = self.draining.lease;
        // Somebody waits for these.
        let commits = std::mem::take(&mut orders.commits);
        self.note(commits, &mut orders.notes, now, answers)?;
        if orders.wants_renewal {
            self.store.renew(&self.worker, now, lease)?;
            orders.wants_renewal = false;
        }
        if orders.wants_recovery {
            answers.recovered = self.store.recover(now, self.draining.retries_unknown)?;
            orders.wants_recovery = false;
        }
        if !orders.ways_found.is_empty() {
            self.store.free_with_way(&orders.ways_found, now)?;
            orders.ways_found.clear();
        }
        if orders.wants_ways {
            answers.without_way = self.store.places_without_way()?;
            orders.wants_ways = false;
        }
        if std::mem::take(&mut orders.wants_forgetting) {
            self.store.forget(now.saturating_sub(milliseconds_of(self.draining.keep)), SWEEP)?;
        }
        if std::mem::take(&mut orders.wants_sync) {
            self.store.sync()?;
        }
        if let Some(wanted) = orders.claim.take()
            && (self.store.has_news()? || !wanted.is_guess)
        {
            answers.expired = self.store.expired(&self.worker, SWEEP, now, lease)?;
            self.store.pass_over(&wanted.without);
            answers.claimed = Some(self.store.claim(&self.worker, wanted.most, now, lease)?);
            answers.next_due = self.store.next_due()?;
        }
        Ok(())
    }

    /// Notes everything at once. Whoever commits for messages of which one is somebody else's does not get its consent;
    /// the others have it before anything else is done.
    fn note(
        &mut self,
        commits: Vec<Commit>,
        notes: &mut Vec<Note>,
        now: i64,
        answers: &mut Answers,
    ) -> Result<(), QueueError> {
        if commits.is_empty() && notes.is_empty() {
            return Ok(());
        }
        let intents: Vec<(i64, i64)> =
            commits.iter().flat_map(|commit| &commit.claims).map(|(_, id, generation)| (*id, *generation)).collect();
        let mut reports = Vec::with_capacity(notes.len());
        for note in notes.iter() {
            let notice = note.notice.as_ref().filter(|_| self.draining.on_failure == OnFailure::Report);
            let report = notice.map(|notice| {
                let entry = self.store.show(&notice.name).ok();
                notice.report(entry.as_ref(), now, self.draining.lifetime)
            });
            reports.push(match report {
                None => None,
                Some(Ok(report)) => report,
                Some(Err(what)) => {
                    answers.warnings.push(what);
                    None
                }
            });
        }
        let settlement = |(note, report)| {
            let Note { id, generation, outcomes, next, notice }: &Note = note;
            let report: &Option<Job> = report;
            Settlement {
                id: *id,
                generation: *generation,
                outcomes,
                next: next.clone(),
                is_told: notice.is_some(),
                report: report.as_ref(),
            }
        };
        let settlements: Vec<Settlement<'_>> = notes.iter().zip(&reports).map(settlement).collect();
        let (verdicts, latest) = self.store.note_all(&intents, &settlements, now)?;
        consent(commits, verdicts, answers);
        let notes = std::mem::take(notes);
        if matches!(self.draining.on_failure, OnFailure::Command(_)) {
            for (note, _) in notes.into_iter().zip(latest).filter(|(_, is_latest)| *is_latest) {
                // Purged meanwhile by somebody who does not want to know.
                let entry = note.notice.and_then(|notice| self.store.show(&notice.name).ok());
                answers.failed.extend(entry.and_then(|entry| serde_json::to_string(&entry).ok()));
            }
        }
        Ok(())
    }
}

/// Tells those who wait whether their messages may leave.
fn consent(commits: Vec<Commit>, verdicts: Vec<bool>, answers: &mut Answers) {
    let mut verdicts = verdicts.into_iter();
    for Commit { claims, ack } in commits {
        let mut is_whole = true;
        for ((number, ..), may) in claims.into_iter().zip(&mut verdicts) {
            if !may {
                is_whole = false;
                answers.lost.push(number);
            }
        }
        if is_whole {
            // The session may be gone by now.
            let _ = ack.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_stays_waits_for_room_on_the_disk() {
        let full =
            QueueError::File { path: "/q".into(), what: "no room is left on the disk".to_owned(), is_new: false };
        let damaged = QueueError::Invalid { path: "/q".into(), what: "it is damaged".to_owned() };
        let patience = [(true, &full), (true, &damaged), (false, &full), (false, &damaged)]
            .map(|(ends_soon, error)| patience(ends_soon, error).map(|patience| patience.as_secs()));
        assert_eq!(patience, [Some(5), Some(5), None, Some(60)]);
    }
}
