//! The gate and its timers, with paused time: what a session may pull, and when.

use std::time::Duration;

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, timeout},
};

use super::{lane::Lane, pull::Pull, *};
use crate::{
    config::{Rate, Server},
    mail::{Cause, Content, DsnRequest, Envelope, Event, Mailbox, Outcome, Reply, Stage, State, Submission, Trouble},
    smtp::Supply,
};

const SECOND: Duration = Duration::from_secs(1);

/// A lane that leads nowhere, with the ends of its channels.
struct Bench {
    lane: Arc<Lane>,
    up: async_channel::Sender<Submission>,
    steps: mpsc::Receiver<Step>,
    changes: mpsc::UnboundedReceiver<bool>,
    start: Instant,
    _keep: watch::Sender<Stop>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Outlet)) -> Self {
        let server = Some(Server::Maildir { path: "/nowhere".into() });
        let profile = Profile { server, ..Profile::default() };
        let pool = Pool {
            max_connections: 4,
            max_messages_per_connection: 100,
            idle_timeout: 30 * SECOND,
            acquire_timeout: SECOND,
            pipeline_depth: 16,
        };
        let breaker = BreakerPolicy { failure_threshold: 2, cool_down: 30 * SECOND };
        let door = Arc::new(Door::new(Arc::new(profile), None).unwrap());
        let mut outlet = Outlet { door, pool, rate: RatePolicy::default(), breaker };
        change(&mut outlet);
        let (up, source) = async_channel::bounded(64);
        let (down, steps) = mpsc::channel(64);
        let (keep, stop) = watch::channel(Stop::No);
        let listener = Listener { steps: down, wants_trace: false };
        let (reach, changes) = Reach::new(1);
        let common = (listener, stop, Arc::new(Notify::new()), Arc::new(reach));
        let lane = Arc::new(Lane::new(outlet, Submissions::new(source), None, true, common));
        Self { lane, up, steps, changes, start: Instant::now(), _keep: keep }
    }

    fn pull(&self) -> Pull {
        Pull::new(self.lane.clone())
    }

    async fn feed(&self, ids: std::ops::RangeInclusive<u64>, recipients: &[&str]) {
        for id in ids {
            let recipients = recipients.iter().map(|text| Mailbox::parse(text).unwrap().address).collect();
            let submission = Submission {
                id,
                message_id: String::new(),
                envelope: Envelope::new(None, recipients).unwrap(),
                content: Content::from_bytes(Vec::new()),
                dsn: DsnRequest::default(),
                has_turn: false,
            };
            self.up.send(submission).await.unwrap();
        }
    }

    /// The next one's number, and milliseconds since the start.
    async fn next(&self, pull: &mut Pull) -> Option<(u64, u128)> {
        let submission = pull.next(true).await?;
        Some((submission.id, self.start.elapsed().as_millis()))
    }

    /// Whether it has become dark or not, so far.
    fn darkness(&mut self) -> Vec<bool> {
        std::iter::from_fn(|| self.changes.try_recv().ok()).collect()
    }

    /// Events so far, and what came back.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(step) = self.steps.try_recv() {
            told.push(match step {
                Step::Event(Event::Breaker { state, .. }) => state.as_str().to_owned(),
                Step::Event(Event::Slowed { pause, .. }) => format!("slowed {}", pause.as_secs()),
                Step::Later { submission, at } => {
                    assert!(submission.has_turn);
                    format!("later {} {}", submission.id, (at.unwrap() - self.start).as_millis())
                }
                other => panic!("{other:?}"),
            });
        }
        told
    }
}

fn lost() -> Trouble {
    Trouble::new(Stage::Connect, Cause::Unreachable, "nobody is there")
}

fn answer(code: u16, text: &str) -> [Outcome; 1] {
    [Outcome {
        recipient: Mailbox::parse("a@x.example").unwrap().address,
        state: if code < 400 { State::Accepted } else { State::Deferred },
        stage: Stage::Data,
        reply: Some(Reply { code, lines: vec![text.to_owned()] }),
        trouble: None,
        remote_id: None,
        dsn: None,
        elapsed: Duration::ZERO,
    }]
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_that_of_all_sessions_together() {
    let rate = Some(Rate { count: 30, per: 60 * SECOND });
    let bench = Bench::new(|outlet| outlet.rate.limit = rate);
    bench.feed(1..=4, &["a@x.example", "b@x.example"]).await;
    let (mut one, mut two) = (bench.pull(), bench.pull());
    assert_eq!(bench.next(&mut one).await, Some((1, 0)));
    // Two recipients are two tokens, of two seconds each.
    assert_eq!(two.ready().map(|submission| submission.id), None);
    assert_eq!(bench.next(&mut two).await, Some((2, 4_000)));
    assert_eq!(bench.next(&mut one).await, Some((3, 8_000)));
    assert_eq!(bench.next(&mut one).await, Some((4, 12_000)));
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_takes_nothing_from_the_rate() {
    let rate = Some(Rate { count: 1, per: 60 * SECOND });
    let bench = Bench::new(|outlet| outlet.rate.limit = rate);
    let (mut one, mut two) = (bench.pull(), bench.pull());
    assert!(timeout(SECOND, one.pull()).await.is_err(), "nothing is there");
    bench.feed(1..=2, &["a@x.example"]).await;
    assert_eq!(bench.next(&mut two).await, Some((1, 1_000)));
    // A session that cannot have its turn in time ends.
    assert_eq!(bench.next(&mut one).await, None);
    assert_eq!(bench.start.elapsed().as_secs(), 31);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_rate_when_nothing_comes_any_more() {
    let rate = Some(Rate { count: 1, per: 86_400 * SECOND });
    let bench = Bench::new(|outlet| outlet.rate.limit = rate);
    bench.feed(1..=1, &["a@x.example"]).await;
    let mut pull = bench.pull();
    assert_eq!(bench.next(&mut pull).await, Some((1, 0)));
    bench.up.close();
    assert_eq!(bench.next(&mut pull).await, None);
    assert!(bench.start.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn sessions_end_when_they_are_idle_or_have_had_enough() {
    let bench = Bench::new(|outlet| outlet.pool.max_messages_per_connection = 2);
    let mut pull = bench.pull();
    assert!(timeout(20 * SECOND, bench.next(&mut pull)).await.is_err());
    assert!(timeout(60 * SECOND, pull.next(false)).await.is_err(), "something is under way");
    assert_eq!(bench.next(&mut pull).await, None, "30 s after it was idle");
    assert_eq!(bench.start.elapsed().as_secs(), 110);
    bench.feed(1..=3, &["a@x.example"]).await;
    assert_eq!(pull.ready().map(|submission| submission.id), Some(1));
    assert_eq!(pull.next(false).await.map(|submission| submission.id), Some(2));
    assert!(pull.ready().is_none() && pull.next(false).await.is_none(), "two are enough");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_lets_nothing_through_and_then_one() {
    let mut bench = Bench::new(|_| {});
    bench.feed(1..=4, &["a@x.example"]).await;
    for _ in 0..2 {
        bench.pull().end(Some(&lost())).await;
    }
    assert_eq!(bench.told(), ["open"]);
    let (mut one, mut two) = (bench.pull(), bench.pull());
    assert_eq!(bench.next(&mut one).await, Some((1, 30_000)));
    assert_eq!((bench.told(), bench.darkness()), (vec!["half-open".to_owned()], vec![true]), "it is not known yet");
    assert!(timeout(10 * SECOND, two.pull()).await.is_err() && one.ready().is_none(), "one decides");
    one.end(Some(&lost())).await;
    assert_eq!(bench.told(), ["open"]);
    assert_eq!(bench.next(&mut two).await, Some((2, 70_000)));
    two.settled(&answer(550, "5.1.1 no"));
    assert_eq!(bench.told(), ["half-open", "closed"], "any answer to a message is one");
    assert_eq!(bench.darkness(), [false]);
    assert_eq!(bench.next(&mut two).await, Some((3, 70_000)));
    assert_eq!(two.ready().map(|submission| submission.id), Some(4));
}

#[tokio::test(start_paused = true)]
async fn it_is_dark_when_the_last_one_can_take_nothing() {
    let (reach, mut changes) = Reach::new(2);
    let mut changes = || std::iter::from_fn(|| changes.try_recv().ok()).collect::<Vec<_>>();
    reach.change(false);
    assert!(changes().is_empty());
    reach.change(false);
    assert_eq!(changes(), [true]);
    reach.change(true);
    reach.change(true);
    reach.change(false);
    assert_eq!(changes(), [false]);

    // Out of use is as good as away, and its breaker changes nothing any more.
    let mut bench = Bench::new(|outlet| outlet.breaker.failure_threshold = 1);
    let mut pull = bench.pull();
    pull.out_of_use(&lost());
    pull.out_of_use(&lost());
    pull.settled(&answer(250, "ok"));
    pull.end(Some(&lost())).await;
    assert_eq!(bench.darkness(), [true]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_tells_nothing_is_followed_by_another() {
    let mut bench = Bench::new(|_| {});
    bench.feed(1..=2, &["a@x.example"]).await;
    for _ in 0..2 {
        bench.pull().end(Some(&lost())).await;
    }
    let (mut one, mut two) = (bench.pull(), bench.pull());
    assert_eq!(bench.next(&mut one).await, Some((1, 30_000)));
    one.end(None).await;
    assert_eq!(bench.next(&mut two).await, Some((2, 30_000)));
    assert_eq!(bench.told(), ["open", "half-open"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_that_had_its_say_is_no_failure() {
    let mut bench = Bench::new(|outlet| outlet.breaker.failure_threshold = 1);
    let busy = Trouble::new(Stage::Mail, Cause::Busy, "the server goes").reply(Reply { code: 421, lines: Vec::new() });
    for trouble in [&busy, &Trouble::new(Stage::Mail, Cause::Lost, "gone")] {
        let mut pull = bench.pull();
        pull.settled(&answer(250, "ok"));
        pull.end(Some(trouble)).await;
    }
    assert_eq!(bench.told(), Vec::<String>::new());
    let mut pull = bench.pull();
    pull.settled(&answer(250, "ok"));
    pull.end(Some(&Trouble::new(Stage::Final, Cause::TimedOut, "no answer"))).await;
    assert_eq!(bench.told(), ["open"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_in_trouble_opens_the_breaker_too() {
    let mut bench = Bench::new(|_| {});
    let mut pull = bench.pull();
    pull.settled(&answer(452, "4.3.1 disk full"));
    pull.settled(&answer(451, "4.1.1 not yet"));
    pull.settled(&answer(452, "4.3.1 disk full"));
    assert_eq!(bench.told(), Vec::<String>::new());
    pull.settled(&answer(452, "4.3.1 disk full"));
    assert_eq!(bench.told(), ["open"]);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_less_gets_nothing_for_a_while() {
    let mut bench = Bench::new(|_| {});
    bench.feed(1..=3, &["a@x.example"]).await;
    let mut pull = bench.pull();
    assert_eq!(bench.next(&mut pull).await, Some((1, 0)));
    pull.settled(&answer(450, "4.7.1 Greylisted, see http://x.example"));
    assert_eq!(bench.next(&mut pull).await, Some((2, 0)));
    pull.settled(&answer(450, "4.7.1 too many messages"));
    pull.settled(&answer(450, "4.7.1 too many messages"));
    assert_eq!(bench.told(), ["slowed 1"]);
    assert!(pull.ready().is_none());
    assert_eq!(bench.next(&mut pull).await, Some((3, 1_000)));
    pull.settled(&answer(450, "4.7.1 too many messages"));
    assert_eq!(bench.told(), ["slowed 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_domain_has_its_turns_and_the_others_have_theirs() {
    let rate = Some(Rate { count: 2, per: SECOND });
    let mut bench = Bench::new(|outlet| outlet.rate.per_domain = rate);
    bench.feed(1..=4, &["a@x.example"]).await;
    bench.feed(5..=5, &["a@y.example"]).await;
    let mut pull = bench.pull();
    for id in [1, 2, 5] {
        assert_eq!(bench.next(&mut pull).await, Some((id, 0)));
    }
    assert_eq!(bench.told(), ["later 3 500", "later 4 1000"]);
}

#[tokio::test(start_paused = true)]
async fn who_had_its_turn_passes() {
    let rate = Some(Rate { count: 1, per: 60 * SECOND });
    let mut bench = Bench::new(|outlet| outlet.rate.per_domain = rate);
    bench.feed(1..=2, &["a@x.example"]).await;
    let mut pull = bench.pull();
    assert_eq!(bench.next(&mut pull).await, Some((1, 0)));
    assert!(pull.ready().is_none());
    let Ok(Step::Later { submission, at: Some(at) }) = bench.steps.try_recv() else { panic!("it was not handed back") };
    tokio::time::sleep_until(at).await;
    bench.up.send(submission).await.unwrap();
    assert_eq!(bench.next(&mut pull).await, Some((2, 60_000)));
}

#[tokio::test(start_paused = true)]
async fn a_full_channel_loses_no_event() {
    let mut bench = Bench::new(|outlet| outlet.breaker.failure_threshold = 1);
    while bench
        .lane
        .listener
        .steps
        .try_send(Step::Event(Event::Slowed { server: String::new(), pause: SECOND, why: String::new() }))
        .is_ok()
    {}
    let mut pull = bench.pull();
    pull.settled(&answer(452, "4.3.1 disk full"));
    assert_eq!(bench.told().len(), 64);
    assert!(timeout(SECOND, pull.pull()).await.is_err());
    assert_eq!(bench.told(), ["open"]);
}

#[tokio::test]
async fn sessions_are_opened_as_they_are_needed() {
    let bench = Bench::new(|outlet| outlet.pool.max_connections = 20);
    let sessions = &bench.lane.sessions;
    assert!(sessions.wants_another());
    let mut first = lane::Live::new(bench.lane.clone());
    assert!(!sessions.wants_another(), "its login may be refused");
    first.open();
    let waiting = sessions.wait();
    assert!(!sessions.wants_another(), "somebody is there");
    drop(waiting);
    let open_all = |count: usize| {
        let mut all: Vec<_> = std::iter::repeat_with(|| lane::Live::new(bench.lane.clone())).take(count).collect();
        assert!(!sessions.wants_another(), "enough are being opened");
        all.iter_mut().for_each(lane::Live::open);
        assert!(sessions.wants_another());
        all
    };
    let all = [open_all(4), open_all(5)];
    let refused = lane::Live::new(bench.lane.clone());
    assert_eq!((sessions.has_others(), sessions.take_no_more()), (true, 10));
    drop(refused);
    assert!(!sessions.wants_another(), "the server takes no more");
    drop(all);
    assert!(sessions.wants_another());
}
