//! The feed over a real store, with a delivery that the test plays, in paused time.

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
    (deliveries, Course::new(store, worker, draining, (ways, engine, tell), signals.renewal, clock).run(signals.stop))
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

#[tokio::test(start_paused = true)]
async fn messages_go_and_are_done() {
    let drained = play(
        draining(),
        |_| Ok(way(4, 16)),
        async |bench| {
            let names = bench.add(&[job(&["a@y.example"]), job(&["b@y.example", "c@y.example"])]);
            let delivery = bench.delivery().await;
            assert_eq!(delivery.answer(250, "ok").await.message_id, "<a.y.example@x.example>");
            let second = delivery.next().await;
            assert!(delivery.commit(&[second.id]).await);
            // One reply per recipient, as LMTP gives them.
            delivery.settled(second.id, vec![answer("b@y.example", 250, "ok")]).await;
            settle().await;
            assert_eq!((bench.status(&names[0]), bench.status(&names[1])), (Status::Done, Status::Leased));
            assert_eq!(bench.store.show(&names[1]).unwrap().all[0].state, Some(State::Accepted));
            delivery.settled(second.id, vec![answer("c@y.example", 550, "no")]).await;
            settle().await;
            assert_eq!(bench.status(&names[1]), Status::Done);
            assert_eq!(
                bench.told(),
                ["0 way of work", "a@y.example is accepted 1", "b@y.example is accepted 1", "c@y.example is failed 1"]
            );
        },
    )
    .await;
    assert_eq!((drained.counts[0], drained.counts[2], drained.held), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_deferred_comes_again_when_it_is_due() {
    let mut ways = way(1, 1);
    ways.retry.max_attempts = Some(5);
    let draining = Draining { on_failure: OnFailure::Nothing, ..draining() };
    play(
        draining,
        |_| Ok(ways.clone()),
        async |bench| {
            let names = bench.add(&[job(&["a@y.example"])]);
            let delivery = bench.delivery().await;
            let mut times = Vec::new();
            let start = elapsed();
            for _ in 0..5 {
                let submission = delivery.next().await;
                times.push((elapsed() - start) / 10);
                delivery.settled(submission.id, vec![answer("a@y.example", 451, "later")]).await;
            }
            // Pauses of 2, 4, 8, 16 s: the policy's longest time is not heeded, the message has its own.
            assert_eq!(times, [0, 200, 600, 1400, 3000]);
            settle().await;
            let entry = bench.store.show(&names[0]).unwrap();
            assert_eq!((entry.outline.status, entry.outline.attempts), (Status::Done, 5));
            assert_eq!(bench.told().last().unwrap(), "a@y.example is failed 5");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_added_later_is_found_within_a_second() {
    play(
        draining(),
        |_| Ok(way(1, 1)),
        async |bench| {
            for pause in [10_300, 70_700] {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let start = elapsed();
                bench.add(&[job(&["a@y.example"]), Job { due: Some(clock() + 5_250), ..job(&["b@y.example"]) }]);
                // The delivery before has been idle for a minute by the second time, and has ended.
                let delivery = bench.delivery().await;
                delivery.answer(250, "ok").await;
                assert!(elapsed() - start <= 1_010, "{}", elapsed() - start);
                delivery.answer(250, "ok").await;
                assert!((5_250..5_260).contains(&(elapsed() - start)), "{}", elapsed() - start);
            }
            assert_eq!(bench.told().iter().filter(|line| line.contains("way of")).count(), 2);
        },
    )
    .await;
}

/// Somebody else takes up this message, as if this worker had stood still for longer than its lease.
fn steal(bench: &mut Bench) -> (crate::queue::Worker, usize) {
    let later = clock() + 10 * milliseconds_of(300 * SECOND);
    bench.store.recover(later, false).unwrap();
    let thief = bench.store.worker(true).unwrap();
    let claims = bench.store.claim(&thief, 1, later, 3_600 * SECOND).unwrap();
    (thief, claims.len())
}

#[tokio::test(start_paused = true)]
async fn a_message_that_others_have_by_now_is_not_sent() {
    play(
        draining(),
        |_| Ok(way(1, 4)),
        async |bench| {
            bench.add(&[job(&["a@y.example"]), job(&["b@y.example"])]);
            let delivery = bench.delivery().await;
            let (first, second) = (delivery.next().await, delivery.next().await);
            settle().await;
            // Both leases have run out; somebody has the first, and nobody the second.
            let (_thief, stolen) = steal(bench);
            assert_eq!(stolen, 1);
            assert!(!delivery.commit(&[first.id, second.id]).await, "only whole commits go");
            delivery.later(first, None).await;
            delivery.later(second, None).await;
            settle().await;
            let again = delivery.answer(250, "ok").await;
            assert_eq!(again.envelope.to()[0].to_string(), "b@y.example");
            assert_eq!((delivery.all().await.len(), bench.left()), (0, vec!["a@y.example leased".to_owned()]));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_refused_takes_back_the_intents_that_were_noted() {
    play(
        draining(),
        |_| Ok(way(1, 4)),
        async |bench| {
            let names = bench.add(&[job(&["a@y.example"]), job(&["b@y.example"])]);
            let delivery = bench.delivery().await;
            let (first, second) = (delivery.next().await, delivery.next().await);
            settle().await;
            bench.store.hold(&names[0]).unwrap_err();
            let (_thief, _) = steal(bench);
            // The second is ours again, under another lease: this one is not whole.
            settle().await;
            assert!(!delivery.commit(&[second.id, first.id]).await);
            delivery.later(second, None).await;
            delivery.later(first, None).await;
            settle().await;
            assert_eq!(bench.left().iter().filter(|line| line.contains("held")).count(), 0, "{:?}", bench.left());
            delivery.answer(250, "ok").await;
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_workers_send_each_message_once() {
    let sent: Rc<RefCell<Vec<String>>> = Rc::default();
    let (mut bench, course) = bench(Draining { ends_idle: true, ..draining() }, |_| Ok(way(1, 4)));
    let jobs: Vec<Job> = (0..60).map(|number| job(&[&format!("r{number}@y.example")])).collect();
    bench.add(&jobs);
    let (_stop, stop) = watch::channel(Stop::No);
    let (_renewed, renewal) = watch::channel(());
    let (path, told) = (bench.path.clone(), bench.told.clone());
    let second = Draining { ends_idle: true, ..draining() };
    let (mut others, other) = feed(&path, second, |_| Ok(way(1, 4)), told, Signals { stop, renewal });
    let carry = async |delivery: Delivery| {
        while let Some(submission) = delivery.work.submissions.next().await {
            if delivery.commit(&[submission.id]).await {
                sent.borrow_mut().push(submission.envelope.to()[0].to_string());
                let to = submission.envelope.to()[0].to_string();
                delivery.settled(submission.id, vec![answer(&to, 250, "ok")]).await;
            }
        }
    };
    let first = async {
        if let Some(delivery) = bench.deliveries.recv().await {
            carry(delivery).await
        }
    };
    let second = async {
        if let Some(delivery) = others.recv().await {
            carry(delivery).await
        }
    };
    tokio::select! {
        _ = async { tokio::join!(course, other) } => {}
        _ = async { tokio::join!(first, second, std::future::pending::<()>()) } => {}
    }
    let mut sent = sent.borrow().clone();
    sent.sort();
    let mut all: Vec<String> = (0..60).map(|number| format!("r{number}@y.example")).collect();
    all.sort();
    assert_eq!(sent, all);
    assert!(bench.left().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_report_goes_to_the_sender_once() {
    play(
        draining(),
        |_| Ok(way(1, 4)),
        async |bench| {
            bench.add(&[job(&["a@y.example", "b@y.example"])]);
            let delivery = bench.delivery().await;
            let submission = delivery.next().await;
            let outcomes = vec![answer("a@y.example", 550, "5.1.1 unknown"), answer("b@y.example", 451, "later")];
            delivery.settled(submission.id, outcomes).await;
            let report = delivery.next().await;
            assert_eq!((report.envelope.from(), report.envelope.to()), (None, &[address("sender@x.example")][..]));
            let octets = crate::message::Blocks::new(&report.content).collect::<Result<Vec<_>, _>>().unwrap().concat();
            let text = String::from_utf8(octets).unwrap();
            assert!(text.contains("Final-Recipient: rfc822; a@y.example") && !text.contains("b@y.example"), "{text}");
            // A report that fails is followed by none.
            delivery.settled(report.id, vec![answer("sender@x.example", 550, "5.1.1 no")]).await;
            assert_eq!(delivery.answer(250, "ok").await.envelope.to(), [address("b@y.example")]);
            assert!(delivery.all().await.is_empty() && bench.left().is_empty());
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_who_does_not_want_to_be() {
    play(
        draining(),
        |_| Ok(way(1, 4)),
        async |bench| {
            let mut null = job(&["a@y.example"]);
            null.envelope = Envelope::new(None, vec![address("a@y.example")]).unwrap();
            let mut never = job(&["b@y.example"]);
            never.dsn.notify = Some(DsnNotify { success: true, failure: false, delay: false });
            bench.add(&[null, never]);
            let delivery = bench.delivery().await;
            delivery.answer(550, "no").await;
            delivery.answer(550, "no").await;
            assert!(delivery.all().await.is_empty() && bench.left().is_empty());
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_has_failed() {
    play(
        draining(),
        |_| Ok(way(1, 4)),
        async |bench| {
            let names = bench.add(&[Job { expires: BASE + 5_000, ..job(&["a@y.example"]) }]);
            let delivery = bench.delivery().await;
            delivery.answer(451, "4.2.2 mailbox full").await;
            delivery.answer(451, "4.2.2 mailbox full").await;
            let report = delivery.next().await;
            assert!((5_000..5_020).contains(&elapsed()), "{}", elapsed());
            let octets = crate::message::Blocks::new(&report.content).collect::<Result<Vec<_>, _>>().unwrap().concat();
            let text = String::from_utf8(octets).unwrap();
            assert!(text.contains("Status: 4.4.7") && text.contains("451 4.2.2 mailbox full"), "{text}");
            let entry = bench.store.show(&names[0]).unwrap();
            assert_eq!((entry.outline.status, entry.outline.attempts), (Status::Done, 2));
            assert_eq!(entry.all[0].state, Some(State::Failed));
            delivery.settled(report.id, vec![answer("sender@x.example", 250, "ok")]).await;

            // The same for one that waits for a session.
            settle().await;
            bench.told();
            bench.add(&[Job { expires: BASE + 8_000, ..job(&["b@y.example"]) }]);
            tokio::time::sleep(SECOND).await;
            assert_eq!(bench.left(), ["b@y.example leased"]);
            tokio::time::sleep(4 * SECOND).await;
            assert_eq!(bench.told()[0], "b@y.example is failed 0");
            let mut ended = Vec::new();
            let mut done = |line: &crate::queue::Outline| ended.push(line.why.clone().unwrap_or_default());
            bench.store.list(&[Status::Done], &mut done).unwrap();
            assert_eq!(ended.last().unwrap(), "it has expired, and no attempt was made");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_untried_says_what_it_waited_for() {
    let broken = |_: &Place| Err(Trouble::new(Stage::Connect, Cause::Configuration, "ca.pem cannot be read"));
    let draining = Draining { on_failure: OnFailure::Nothing, ..draining() };
    play(draining, broken, async |bench| {
        let names = bench.add(&[Job { expires: BASE + 5_000, ..job(&["a@y.example"]) }]);
        tokio::time::sleep(7 * SECOND).await;
        let entry = bench.store.show(&names[0]).unwrap();
        assert_eq!((entry.outline.status, entry.outline.attempts), (Status::Done, 0));
        let why = "it has expired, and no attempt was made: ca.pem cannot be read";
        assert_eq!(entry.all[0].text.as_deref(), Some(why));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_place_that_nobody_knows_holds_its_messages_and_no_others() {
    let gone = |place: &Place| match place.profile.as_deref() {
        Some("gone") => Err(Trouble::new(Stage::Compose, Cause::Configuration, "there is no profile 'gone'")),
        Some("broken") => Err(Trouble::new(Stage::Connect, Cause::Configuration, "ca.pem cannot be read")),
        _ => Ok(way(1, 1)),
    };
    let drained = play(draining(), gone, async |bench| {
        bench.add(&[Job { place: place("gone"), ..job(&["a@y.example"]) }, job(&["b@y.example"])]);
        bench.add(&[Job { place: place("broken"), ..job(&["c@y.example"]) }]);
        bench.delivery().await.answer(250, "ok").await;
        settle().await;
        assert_eq!(bench.left(), ["a@y.example held", "c@y.example waiting"]);
        assert!(bench.told().contains(&"held: there is no profile 'gone'".to_owned()));
    })
    .await;
    assert_eq!(drained.held, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_without_a_way_goes_once_there_is_one() {
    let known: Rc<RefCell<Vec<&str>>> = Rc::default();
    let ways = |place: &Place| match place.profile.as_deref() {
        Some(name) if known.borrow().contains(&name) => Ok(way(1, 1)),
        _ => Err(Trouble::new(Stage::Compose, Cause::Configuration, "there is no such profile")),
    };
    play(draining(), ways, async |bench| {
        bench.add(&[Job { place: place("new"), ..job(&["a@y.example"]) }, job(&["b@y.example"])]);
        settle().await;
        assert_eq!(bench.left(), ["a@y.example held", "b@y.example held"]);
        known.borrow_mut().push("new");
        bench.renewed.send(()).unwrap();
        bench.delivery().await.answer(250, "ok").await;
        settle().await;
        assert_eq!(bench.left(), ["b@y.example held"]);
        assert_eq!(bench.told().iter().filter(|line| line.starts_with("held")).count(), 2, "nobody is told again");
    })
    .await;
    // Whoever begins looks, too, before it finds that nothing is due.
    let (mut bench, course) = bench(Draining { ends_idle: true, ..draining() }, |_| Ok(way(1, 1)));
    bench.add(&[job(&["a@y.example"])]);
    let worker = bench.store.worker(false).unwrap();
    let claim = bench.store.claim(&worker, 1, clock(), SECOND).unwrap().remove(0);
    let held = crate::queue::Settlement {
        id: claim.id,
        generation: claim.generation,
        outcomes: &[],
        next: crate::queue::Next::HeldWithoutWay("no profile".to_owned()),
        is_told: false,
        report: None,
    };
    bench.store.settle(&[held], clock()).unwrap();
    let testing = async { bench.delivery().await.answer(250, "ok").await };
    let (_, drained) = tokio::join!(biased; testing, course);
    assert_eq!((drained.counts[State::Accepted as usize], bench.left().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_not_tried_in_a_loop() {
    play(
        draining(),
        |_| Ok(way(1, 4)),
        async |bench| {
            bench.add(&[job(&["a@y.example"]), job(&["b@y.example"]), job(&["c@y.example"])]);
            let delivery = bench.delivery().await;
            let refuse = async |delivery: Delivery| {
                let submission = delivery.next().await;
                let to = submission.envelope.to()[0].to_string();
                delivery.settled(submission.id, vec![trouble(&to, State::Deferred, Stage::Auth, Cause::Login)]).await;
                settle().await;
                assert!(delivery.all().await.is_empty(), "the others are taken back");
            };
            refuse(delivery).await;
            assert_eq!(bench.told(), ["0 way of work", "a@y.example for now deferred 1", "work rests 900"]);
            assert_eq!(bench.left(), ["a@y.example waiting", "b@y.example waiting", "c@y.example waiting"]);
            // Others go on.
            bench.add(&[Job { place: place("other"), ..job(&["d@y.example"]) }]);
            bench.delivery().await.answer(250, "ok").await;
            settle().await;
            assert!(elapsed() < 2_000);
            bench.told();

            let delivery = bench.delivery().await;
            assert!((900_000..902_000).contains(&elapsed()), "{}", elapsed());
            refuse(delivery).await;
            assert_eq!(bench.told()[2], "work rests 1800");
            // Somebody has repaired it.
            tokio::time::sleep(10 * SECOND).await;
            bench.renewed.send(()).unwrap();
            let delivery = bench.delivery().await;
            assert!((910_000..913_000).contains(&elapsed()), "{}", elapsed());
            for _ in 0..3 {
                delivery.answer(250, "ok").await;
            }
            settle().await;
            assert!(bench.left().is_empty());
            assert_eq!(bench.told().last().unwrap(), "c@y.example is accepted 1", "no attempt was counted");
        },
    )
    .await;
}

/// A claim may be under way when it becomes known that nothing is of use.
#[tokio::test(start_paused = true)]
async fn what_was_claimed_before_the_trouble_waits_as_well() {
    for (yields, is_dark) in (0..6).flat_map(|yields| [(yields, true), (yields, false)]) {
        play(
            Draining { on_failure: OnFailure::Nothing, ..draining() },
            |_| Ok(way(1, 1)),
            async |bench| {
                let jobs: Vec<Job> = (0..300).map(|number| job(&[&format!("r{number}@y.example")])).collect();
                bench.add(&jobs);
                let delivery = bench.delivery().await;
                for _ in 0..99 {
                    delivery.answer(550, "no").await;
                }
                for _ in 0..yields {
                    tokio::task::yield_now().await;
                }
                let last = delivery.next().await;
                let to = last.envelope.to()[0].to_string();
                let cause = if is_dark { Cause::Unreachable } else { Cause::Login };
                delivery.settled(last.id, vec![trouble(&to, State::Deferred, Stage::Auth, cause)]).await;
                if is_dark {
                    delivery.step(Step::Event(Event::Dark(true))).await;
                }
                settle().await;
                settle().await;
                assert!(delivery.all().await.is_empty(), "{yields} {is_dark}");
                assert_eq!(bench.left().iter().filter(|line| line.ends_with("leased")).count(), 0);
                assert!(bench.deliveries.try_recv().is_err());
            },
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_configuration_holds_for_what_begins_after_it() {
    play(
        draining(),
        |_| Ok(way(1, 4)),
        async |bench| {
            bench.add(&[job(&["a@y.example"]), job(&["b@y.example"])]);
            let old = bench.delivery().await;
            let begun = old.next().await;
            bench.renewed.send(()).unwrap();
            let new = bench.delivery().await;
            assert_eq!(new.next().await.envelope.to(), [address("b@y.example")]);
            assert!(old.commit(&[begun.id]).await, "what has begun goes on");
            old.settled(begun.id, vec![answer("a@y.example", 250, "ok")]).await;
            settle().await;
            assert!(old.work.submissions.is_over());
            assert_eq!(bench.left(), ["b@y.example leased"]);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn recipients_that_were_one_too_many_are_next_in_the_same_attempt() {
    play(
        draining(),
        |_| Ok(way(1, 4)),
        async |bench| {
            bench.add(&[job(&["a@y.example", "b@y.example", "c@y.example"])]);
            let delivery = bench.delivery().await;
            let start = elapsed();
            let submission = delivery.next().await;
            assert!(delivery.commit(&[submission.id]).await);
            let outcomes = vec![
                answer("b@y.example", 452, "4.5.3 too many recipients"),
                answer("c@y.example", 452, "4.5.3 too many recipients"),
                answer("a@y.example", 250, "ok"),
            ];
            delivery.settled(submission.id, outcomes).await;
            let rest = delivery.next().await;
            assert_eq!(rest.envelope.to(), [address("b@y.example"), address("c@y.example")]);
            assert!(elapsed() - start < 10);
            // Where it gets nobody on, it is an attempt like any other.
            delivery
                .settled(
                    rest.id,
                    vec![
                        answer("b@y.example", 452, "4.5.3 too many recipients"),
                        answer("c@y.example", 452, "4.5.3 too many recipients"),
                    ],
                )
                .await;
            delivery.answer(250, "ok").await;
            assert!((2_000..2_010).contains(&(elapsed() - start)));
            settle().await;
            assert_eq!(bench.told().last().unwrap(), "c@y.example is accepted 2");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_know_is_held() {
    let drained = play(
        draining(),
        |_| Ok(way(1, 4)),
        async |bench| {
            let names = bench.add(&[job(&["a@y.example"])]);
            let delivery = bench.delivery().await;
            let submission = delivery.next().await;
            assert!(delivery.commit(&[submission.id]).await);
            delivery
                .settled(submission.id, vec![trouble("a@y.example", State::Unknown, Stage::Final, Cause::Lost)])
                .await;
            settle().await;
            assert_eq!(bench.status(&names[0]), Status::Held);
            assert_eq!(
                bench.told()[1..],
                ["a@y.example is unknown 1", "held: nobody can know whether the server has it: trouble"]
            );
        },
    )
    .await;
    assert_eq!((drained.held, drained.counts[State::Unknown as usize]), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_know_comes_again_where_that_is_wanted() {
    let draining = Draining { retries_unknown: true, ..draining() };
    play(
        draining,
        |_| Ok(way(1, 4)),
        async |bench| {
            bench.add(&[job(&["a@y.example"])]);
            let delivery = bench.delivery().await;
            let submission = delivery.next().await;
            assert!(delivery.commit(&[submission.id]).await);
            delivery
                .settled(submission.id, vec![trouble("a@y.example", State::Unknown, Stage::Final, Cause::Lost)])
                .await;
            delivery.answer(250, "ok").await;
            settle().await;
            assert_eq!(bench.told()[1..], ["a@y.example for now unknown 1", "a@y.example is accepted 2"]);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_waited_for_and_then_had() {
    play(
        draining(),
        |_| Ok(way(1, 4)),
        async |bench| {
            bench.add(&[job(&["a@y.example"])]);
            let delivery = bench.delivery().await;
            let submission = delivery.next().await;
            let start = elapsed();
            delivery.later(Submission { has_turn: true, ..submission }, Some(Instant::now() + 7 * SECOND)).await;
            settle().await;
            assert_eq!(bench.left(), ["a@y.example waiting"]);
            let submission = delivery.next().await;
            assert!(submission.has_turn && (7_000..7_010).contains(&(elapsed() - start)), "{}", elapsed() - start);
            // Without a moment it is tried again at once, and nothing is noted.
            delivery.later(submission, None).await;
            delivery.answer(250, "ok").await;
            settle().await;
            assert_eq!(bench.told().last().unwrap(), "a@y.example is accepted 1");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_a_server_that_is_away() {
    play(
        draining(),
        |_| Ok(way(1, 4)),
        async |bench| {
            bench.add(&[job(&["a@y.example"]), job(&["b@y.example"])]);
            let delivery = bench.delivery().await;
            let first = delivery.next().await;
            let gone = trouble("a@y.example", State::Deferred, Stage::Connect, Cause::Unreachable);
            delivery.settled(first.id, vec![gone]).await;
            delivery.step(Step::Event(Event::Dark(true))).await;
            settle().await;
            assert!(delivery.all().await.is_empty());
            assert_eq!(bench.left(), ["a@y.example waiting", "b@y.example waiting"]);
            let start = elapsed();
            let again = delivery.next().await;
            assert!((29_000..32_000).contains(&(elapsed() - start)), "it has cooled down: {}", elapsed() - start);
            assert_eq!(again.envelope.to(), [address("b@y.example")], "the longest due is the first");
            delivery.settled(again.id, vec![answer("b@y.example", 250, "ok")]).await;
            delivery.step(Step::Event(Event::Dark(false))).await;
            delivery.answer(250, "ok").await;
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_place_does_not_keep_others_waiting() {
    play(
        draining(),
        |_| Ok(way(1, 1)),
        async |bench| {
            let mut jobs: Vec<Job> = (0..350).map(|number| job(&[&format!("r{number}@y.example")])).collect();
            jobs.push(Job { place: place("other"), ..job(&["b@y.example"]) });
            bench.add(&jobs);
            let (_slow, other) = (bench.delivery().await, bench.delivery().await);
            assert_eq!(other.answer(250, "ok").await.envelope.to(), [address("b@y.example")]);
            assert!(elapsed() < 10);
            settle().await;
            let leased = bench.left().iter().filter(|line| line.ends_with("leased")).count();
            assert!(leased <= 100, "{leased}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_stops_gives_back_what_has_not_begun() {
    let (mut bench, course) = bench(draining(), |_| Ok(way(1, 4)));
    let names = bench.add(&[job(&["a@y.example"]), job(&["b@y.example"]), job(&["c@y.example"])]);
    let testing = async {
        let delivery = bench.delivery().await;
        let (first, second) = (delivery.next().await, delivery.next().await);
        bench.stop.send(Stop::Drain).unwrap();
        settle().await;
        assert_eq!(bench.left()[2], "c@y.example waiting");
        assert!(delivery.commit(&[first.id]).await, "what is under way comes to its end");
        delivery.settled(first.id, vec![answer("a@y.example", 250, "ok")]).await;
        delivery
            .settled(second.id, vec![trouble("b@y.example", State::Deferred, Stage::Connect, Cause::Stopped)])
            .await;
        assert_eq!(*delivery.work.stop.borrow(), Stop::Finish, "its time limits are its own");
        drop(delivery);
    };
    let ((), drained) = tokio::join!(biased; testing, course);
    assert!(drained.has_more && drained.end.is_none() && elapsed() < 1_000);
    assert_eq!(bench.left(), ["b@y.example waiting", "c@y.example waiting"]);
    let attempts: Vec<u32> = names.iter().map(|name| bench.store.show(name).unwrap().outline.attempts).collect();
    assert_eq!(attempts, [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn who_stops_waits_for_a_slow_reply() {
    let (mut bench, course) = bench(draining(), |_| Ok(way(1, 4)));
    let names = bench.add(&[job(&["a@y.example"])]);
    let testing = async {
        let delivery = bench.delivery().await;
        let submission = delivery.next().await;
        assert!(delivery.commit(&[submission.id]).await);
        bench.stop.send(Stop::Drain).unwrap();
        tokio::time::sleep(500 * SECOND).await;
        assert_eq!(*delivery.work.stop.borrow(), Stop::Finish);
        assert_eq!(bench.status(&names[0]), Status::Leased);
        delivery.settled(submission.id, vec![answer("a@y.example", 250, "ok")]).await;
        drop(delivery);
    };
    let ((), drained) = tokio::join!(biased; testing, course);
    assert!(!drained.has_more && bench.status(&names[0]) == Status::Done);
    // A second signal is in a hurry.
    let (mut bench, course) = self::bench(draining(), |_| Ok(way(1, 4)));
    let names = bench.add(&[job(&["a@y.example"])]);
    let testing = async {
        let delivery = bench.delivery().await;
        let submission = delivery.next().await;
        bench.stop.send(Stop::Drain).unwrap();
        settle().await;
        bench.stop.send(Stop::Now).unwrap();
        settle().await;
        assert_eq!(*delivery.work.stop.borrow(), Stop::Now);
        let cut = trouble("a@y.example", State::Deferred, Stage::Data, Cause::Stopped);
        delivery.settled(submission.id, vec![cut]).await;
    };
    tokio::join!(biased; testing, course);
    let outline = bench.store.show(&names[0]).unwrap().outline;
    assert_eq!((outline.status, outline.attempts, outline.why.as_deref()), (Status::Waiting, 0, Some("trouble")));
}

#[tokio::test(start_paused = true)]
async fn once_ends_when_nothing_is_due() {
    let (mut bench, course) = bench(Draining { ends_idle: true, ..draining() }, |_| Ok(way(1, 4)));
    bench.add(&[job(&["a@y.example"]), Job { due: Some(BASE + 60_000), ..job(&["b@y.example"]) }]);
    let testing = async {
        let delivery = bench.delivery().await;
        // The failure's report is due at once.
        delivery.answer(550, "no").await;
        assert_eq!(delivery.answer(451, "later").await.envelope.from(), None);
        delivery
    };
    let (_delivery, drained) = tokio::join!(biased; testing, course);
    assert!(drained.has_more && elapsed() < 1_000, "{}", elapsed());
    assert_eq!(drained.counts[State::Failed as usize], 1);

    let (mut bench, course) = self::bench(Draining { ends_idle: true, ..draining() }, |_| Ok(way(1, 4)));
    let drained = course.await;
    assert!(!drained.has_more && bench.deliveries.try_recv().is_err() && elapsed() < 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_used_is_given_up() {
    for (ends_idle, seconds) in [(true, 5), (false, 60)] {
        let (mut bench, course) = bench(Draining { ends_idle, ..draining() }, |_| Ok(way(1, 4)));
        bench.add(&[job(&["a@y.example"])]);
        rusqlite::Connection::open(&bench.path).unwrap().execute_batch("DROP TABLE content").unwrap();
        let start = Instant::now();
        let drained = course.await;
        assert!((seconds..seconds + 2).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert!(drained.end.unwrap().to_string().contains("no such table"));
        let told = bench.told();
        assert_eq!(told.iter().filter(|line| line.starts_with("failing")).count(), 1, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_while_messages_are_under_way() {
    play(
        draining(),
        |_| Ok(way(1, 4)),
        async |bench| {
            bench.add(&[job(&["a@y.example"])]);
            let delivery = bench.delivery().await;
            let submission = delivery.next().await;
            for _ in 0..30 {
                tokio::time::sleep(60 * SECOND).await;
                assert_eq!(bench.store.recover(clock(), false).unwrap(), (0, 0), "{}", elapsed());
            }
            assert!(delivery.commit(&[submission.id]).await);
            delivery.settled(submission.id, vec![answer("a@y.example", 250, "ok")]).await;
        },
    )
    .await;
}

/// Each failure is one call, and few run at once. They take real time.
#[tokio::test]
async fn a_command_is_called_for_each_failure() {
    let out = tempfile::tempdir().unwrap();
    let command = format!("cat > {}/$$; ls {}", out.path().display(), out.path().display());
    let draining = Draining { on_failure: OnFailure::Command(command), ends_idle: true, ..draining() };
    let (mut bench, course) = bench(draining, |_| Ok(way(4, 16)));
    let jobs: Vec<Job> = (0..12).map(|number| job(&[&format!("r{number}@y.example")])).collect();
    let mut names = bench.add(&jobs);
    let testing = async {
        let delivery = bench.delivery().await;
        for _ in 0..12 {
            delivery.answer(550, "5.1.1 no").await;
        }
        delivery
    };
    let (_delivery, drained) = tokio::join!(biased; testing, course);
    assert_eq!(drained.counts[State::Failed as usize], 12);
    let records = std::fs::read_dir(out.path()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let records = records.map(|record| serde_json::from_slice::<serde_json::Value>(&record).unwrap());
    let mut told: Vec<String> = records
        .map(|record| {
            assert_eq!((&record["status"], &record["all"][0]["state"]), (&"done".into(), &"failed".into()), "{record}");
            record["name"].as_str().unwrap().to_owned()
        })
        .collect();
    names.sort();
    told.sort();
    assert_eq!(told, names);
}

#[tokio::test]
async fn a_command_takes_the_record_of_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let command = format!("cat > {}", out.display());
    notice::run(command, "{\"name\":\"x\"}".to_owned()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "{\"name\":\"x\"}\n");
    // One that does not read is none the worse.
    notice::run("exit 0".to_owned(), "x".repeat(1 << 20)).await.unwrap();
    assert!(notice::run("exit 3".to_owned(), String::new()).await.unwrap_err().contains('3'));
}
