//! The feed over a real store, with a delivery that the test plays, in paused time.

mod attempts;
mod ending;
mod leases;
mod places;
mod telling;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use super::*;
use crate::{
    config::{BreakerPolicy, OnFailure, Pool, Profile, RatePolicy, Server},
    delivery::Work,
    mail::{
        Address, Cause, Content, DsnNotify, DsnRequest, Envelope, Mailbox, Outcome, Reply, Route, Stage, Step,
        Submission,
    },
    queue::{Job, Status},
    transport::Door,
};

const SECOND: Duration = Duration::from_secs(1);
const BASE: i64 = 1_800_000_000_000;

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The time of the test as a wall shows it.
fn clock() -> i64 {
    let start = START.get().unwrap_or_else(|| {
        let now = Instant::now();
        START.set(Some(now));
        now
    });
    BASE + milliseconds_of(start.elapsed())
}

fn address(text: &str) -> Address {
    Mailbox::parse(text).unwrap().address
}

fn place(name: &str) -> Place {
    Place { profile: Some(name.to_owned()), ..Place::default() }
}

fn job(to: &[&str]) -> Job {
    let recipients = to.iter().map(|text| address(text)).collect();
    Job {
        message_id: format!("<{}@x.example>", to[0].replace('@', ".")),
        envelope: Envelope::new(Some(address("sender@x.example")), recipients).unwrap(),
        content: Content::from_bytes(b"Subject: s\r\n\r\nt\r\n".to_vec()),
        dsn: DsnRequest::default(),
        place: place("work"),
        priority: 0,
        due: None,
        expires: BASE + milliseconds_of(5 * 24 * 3600 * SECOND),
        key: None,
    }
}

fn outcome(recipient: &str, state: State, stage: Stage) -> Outcome {
    Outcome {
        recipient: address(recipient),
        state,
        stage,
        reply: None,
        trouble: None,
        remote_id: None,
        dsn: None,
        elapsed: Duration::ZERO,
    }
}

/// What the server answers to the recipient, or to the content.
fn answer(recipient: &str, code: u16, text: &str) -> Outcome {
    let (state, stage) = match code / 100 {
        2 => (State::Accepted, Stage::Data),
        4 => (State::Deferred, Stage::Rcpt),
        _ => (State::Failed, Stage::Rcpt),
    };
    Outcome { reply: Some(Reply { code, lines: vec![text.to_owned()] }), ..outcome(recipient, state, stage) }
}

fn trouble(recipient: &str, state: State, stage: Stage, cause: Cause) -> Outcome {
    Outcome { trouble: Some(Trouble::new(stage, cause, "trouble")), ..outcome(recipient, state, stage) }
}

/// The delivery of a place, as the feed sees it.
struct Delivery {
    work: Work,
    _end: oneshot::Sender<()>,
}

impl Delivery {
    async fn next(&self) -> Submission {
        timeout(24 * 3600 * SECOND, self.work.submissions.next()).await.expect("nothing comes").expect("it is closed")
    }

    /// Everything that is there by now.
    async fn all(&self) -> Vec<Submission> {
        settle().await;
        std::iter::from_fn(|| self.work.submissions.ready()).collect()
    }

    async fn step(&self, step: Step) {
        self.work.steps.send(step).await.unwrap();
    }

    /// Whether these may leave.
    async fn commit(&self, ids: &[u64]) -> bool {
        let (ack, consent) = oneshot::channel();
        self.step(Step::Commit { ids: ids.to_vec(), ack }).await;
        consent.await.is_ok()
    }

    async fn settled(&self, id: u64, outcomes: Vec<Outcome>) {
        let route = Arc::new(Route { profile: Some("work".to_owned()), server: "mx.example:25".to_owned() });
        self.step(Step::Settled { id, route, outcomes }).await;
    }

    /// Takes the next message and answers.
    async fn answer(&self, code: u16, text: &str) -> Submission {
        let submission = self.next().await;
        if code < 300 {
            assert!(self.commit(&[submission.id]).await);
        }
        let answers = submission.envelope.to().iter().map(|to| answer(to.as_ref(), code, text));
        self.settled(submission.id, answers.collect()).await;
        submission
    }

    async fn later(&self, submission: Submission, at: Option<Instant>) {
        self.step(Step::Later { submission, at }).await;
    }
}

/// Lets the feed and the store do whatever is to be done at this moment.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

struct Bench {
    store: Store,
    path: std::path::PathBuf,
    told: Rc<RefCell<Vec<String>>>,
    deliveries: mpsc::UnboundedReceiver<Delivery>,
    stop: watch::Sender<Stop>,
    renewed: watch::Sender<()>,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn delivery(&mut self) -> Delivery {
        timeout(24 * 3600 * SECOND, self.deliveries.recv()).await.expect("no delivery begins").unwrap()
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.borrow_mut())
    }

    fn add(&mut self, jobs: &[Job]) -> Vec<String> {
        self.store.add(jobs).unwrap().into_iter().map(|(name, _)| name).collect()
    }

    fn status(&mut self, name: &str) -> Status {
        self.store.show(name).unwrap().outline.status
    }

    /// Where messages stand that are not done: first recipient and status.
    fn left(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        self.store
            .list(&[Status::Waiting, Status::Leased, Status::Held], &mut |line| {
                left.push(format!("{} {}", line.first_recipient, line.status.as_str()));
            })
            .unwrap();
        left
    }
}

fn draining() -> Draining {
    Draining {
        lease: 300 * SECOND,
        retries_unknown: false,
        on_failure: OnFailure::Report,
        lifetime: 5 * 24 * 3600 * SECOND,
        keep: 7 * 24 * 3600 * SECOND,
        ends_idle: false,
        wants_trace: false,
    }
}

fn retry() -> RetryPolicy {
    RetryPolicy {
        max_attempts: None,
        max_time: SECOND,
        initial_delay: 2 * SECOND,
        multiplier: 2.0,
        max_delay: 20 * SECOND,
        jitter: false,
    }
}

/// A way that leads nowhere.
fn way(connections: usize, depth: usize) -> Ways {
    let server = Some(Server::Maildir { path: "/nowhere".into() });
    let profile = Profile { server, ..Profile::default() };
    let pool = Pool {
        max_connections: connections,
        max_messages_per_connection: 100,
        idle_timeout: 30 * SECOND,
        acquire_timeout: SECOND,
        pipeline_depth: depth,
    };
    let breaker = BreakerPolicy { failure_threshold: 2, cool_down: 30 * SECOND };
    let door = Arc::new(Door::new(Arc::new(profile), None).unwrap());
    Ways { outlets: vec![Outlet { door, pool, rate: RatePolicy::default(), breaker }], retry: retry() }
}

/// Milliseconds since the start.
fn elapsed() -> i64 {
    clock() - BASE
}

/// Another feed over the same queue.
fn feed<W: FnMut(&Place) -> Result<Ways, Trouble>>(
    path: &std::path::Path,
    draining: Draining,
    mut ways: W,
    told: Rc<RefCell<Vec<String>>>,
    signals: Signals,
) -> (mpsc::UnboundedReceiver<Delivery>, impl Future<Output = Drained> + use<W>) {
    clock();
    let store = Store::open(path).unwrap();
    let worker = store.worker(!draining.ends_idle).unwrap();
    let (sender, deliveries) = mpsc::unbounded_channel();
    let engine = move |_: Vec<Outlet>, work: Work| {
        let (end, ended) = oneshot::channel();
        // Over it is when the test has let go of it.
        let _ = sender.send(Delivery { work, _end: end });
        tokio::spawn(async move { drop(ended.await) })
    };
    let asking = told.clone();
    let ways = move |place: &Place| {
        let name = place.profile.clone().unwrap_or_default();
        asking.borrow_mut().push(format!("{} way of {name}", elapsed() / 1000));
        ways(place)
    };
    let tell = move |one: QueueTold<'_>| {
        let line = match one {
            QueueTold::Settled(record) | QueueTold::Deferred(record) => {
                let outcome = record.outcome;
                let word = if matches!(one, QueueTold::Settled(_)) { "is" } else { "for now" };
                format!("{} {word} {} {}", outcome.recipient, outcome.state, record.attempts)
            }
            QueueTold::Held(_, why) => format!("held: {why}"),
            QueueTold::Rests(place, _, pause) => {
                format!("{} rests {}", place.profile.clone().unwrap_or_default(), pause.as_secs())
            }
            QueueTold::Recovered(free, unknown) => format!("recovered {free} {unknown}"),
            QueueTold::Failing(error) => format!("failing: {error}"),
            QueueTold::Warning(what) => format!("warning: {what}"),
            QueueTold::Event(_) | QueueTold::Taken | QueueTold::Alive => return,
        };
        told.borrow_mut().push(line);
    };
    (
        deliveries,
        Course::new(Source::Store(Box::new(store), worker), draining, (ways, engine, tell), signals.renewal, clock)
            .run(signals.stop),
    )
}

fn bench(
    draining: Draining,
    ways: impl FnMut(&Place) -> Result<Ways, Trouble>,
) -> (Bench, impl Future<Output = Drained>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.sqlite");
    let told: Rc<RefCell<Vec<String>>> = Rc::default();
    let ((stop, stopped), (renewed, renewal)) = (watch::channel(Stop::No), watch::channel(()));
    let signals = Signals { stop: stopped, renewal };
    let (deliveries, course) = feed(&path, draining, ways, told.clone(), signals);
    let store = Store::open(&path).unwrap();
    (Bench { store, path, told, deliveries, stop, renewed, _folder: folder }, course)
}

/// Plays a test beside the feed, and stops that at its end.
async fn play(
    draining: Draining,
    ways: impl FnMut(&Place) -> Result<Ways, Trouble>,
    test: impl AsyncFnOnce(&mut Bench),
) -> Drained {
    let (mut bench, course) = bench(draining, ways);
    let testing = async {
        test(&mut bench).await;
        bench.stop.send(Stop::Drain).unwrap();
        // Deliveries that nobody plays any more end.
        while bench.deliveries.recv().await.is_some() {}
    };
    // What the test adds first is there when the feed begins.
    let both = async { tokio::join!(biased; testing, course).1 };
    timeout(30 * 24 * 3600 * SECOND, both).await.expect("it does not end")
}

/// The same with one way for all, on one connection, and everything else as usual.
async fn play_one_way(test: impl AsyncFnOnce(&mut Bench)) -> Drained {
    play(draining(), |_| Ok(way(1, 4)), test).await
}
