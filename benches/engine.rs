//! The engine alone, without feed, ledger and composing: what a message costs on the wire.
//!
//! `cargo bench --bench engine` runs everything; `-- cost`, `-- trips`, `-- many` one topic. Nothing leaves this
//! machine. The engine runs on this thread, whose processor time is told per message.

#[allow(dead_code)]
mod peers;
#[allow(dead_code)]
mod postfix;
mod proxy;
#[allow(dead_code)]
mod sink;
mod slow;

use std::{
    env, fs,
    sync::Arc,
    time::{Duration, Instant},
};

use mailsend::{
    config::{Environment, Files, Request, resolve},
    delivery::{Outlet, Work, deliver, make_room_for},
    mail::{Content, DsnRequest, Envelope, Mailbox, State, Step, Stop, Submission, Submissions},
    transport::Door,
};
use postfix::SmtpSink;
use sink::{Authority, Sink};
use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
};

const BATCH: usize = 256;

fn main() {
    let topics: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |topic: &str| topics.is_empty() || topics.iter().any(|wanted| wanted == topic);
    let authority = Authority::new();
    if is_wanted("cost") {
        let count = 100_000;
        if let Some(sink) = SmtpSink::start().expect("processes") {
            show("smtp-sink, PIPELINING, 10 sessions", send(sink.port, count, 10, 1024));
        }
        let sink = Sink::new(&["PIPELINING"], &authority);
        show("own sink, PIPELINING, 10 sessions", send(sink.port, count, 10, 1024));
        let sink = Sink::new(&["PIPELINING", "CHUNKING"], &authority);
        show("own sink, CHUNKING, 10 sessions", send(sink.port, count, 10, 1024));
    }
    if is_wanted("trips") {
        let trip = Duration::from_millis(50);
        for offers in [&["PIPELINING"][..], &["PIPELINING", "CHUNKING"]] {
            let port = proxy::start(Sink::new(offers, &authority).port, trip);
            show(
                &format!("{}, one session, 50 ms", offers.join(" ")),
                send(port, if offers.len() > 1 { 2_000 } else { 100 }, 1, 1024),
            );
        }
    }
    if is_wanted("many") {
        make_room_for(2_100).expect("room for both ends");
        show("1000 sessions, each reply after 1 s", send(slow::start(), 3_000, 1_000, 1024));
    }
}

struct Spent {
    count: u64,
    time: Duration,
    processor: Duration,
}

fn show(what: &str, spent: Spent) {
    let per_second = spent.count as f64 / spent.time.as_secs_f64();
    let cost = spent.processor.as_secs_f64() * 1e6 / spent.count as f64;
    let share = 100.0 * spent.processor.as_secs_f64() / spent.time.as_secs_f64();
    println!("{what:<42} {per_second:>9.1} messages/s {cost:>8.2} us each {share:>6.1} % of a core");
}

/// Processor time of this thread.
fn processor() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|spent| spent.parse().ok()).unwrap_or(0))
}

fn send(port: u16, count: u64, sessions: usize, size: usize) -> Spent {
    let url = format!("smtp://127.0.0.1:{port}");
    let request = Request { server: Some(url), ..Request::default() };
    let profile = Arc::new(resolve(&request, &Files::default(), &Environment::default()).expect("a profile"));
    let mut outlet = Outlet::new(Arc::new(Door::new(profile.clone(), None).expect("a door")), &profile);
    outlet.pool.max_connections = sessions;
    outlet.pool.max_messages_per_connection = usize::MAX;
    let address = |text: &str| Mailbox::parse(text).expect("an address").address;
    let (from, to) = (address("sender@x.example"), address("recipient@y.example"));
    let content = Content::from_bytes(("x".repeat(62) + "\r\n").repeat(size / 64).into_bytes());
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (start, before) = (Instant::now(), processor());
    runtime.block_on(async {
        let (up, submissions) = async_channel::bounded(BATCH);
        let (down, mut steps) = mpsc::channel(BATCH);
        let (_keep, stop) = watch::channel(Stop::No);
        let engine = tokio::spawn(deliver(
            vec![outlet],
            false,
            Work { submissions: Submissions::new(submissions), steps: down, stop },
        ));
        let feeding = tokio::spawn(async move {
            for id in 0..count {
                let submission = Submission {
                    id,
                    message_id: String::new(),
                    envelope: Envelope::new(Some(from.clone()), vec![to.clone()]).expect("a recipient"),
                    content: content.clone(),
                    dsn: DsnRequest::default(),
                    has_turn: false,
                };
                up.send(submission).await.expect("the engine runs");
            }
        });
        let mut accepted = 0;
        let mut batch = Vec::with_capacity(BATCH);
        while steps.recv_many(&mut batch, BATCH).await > 0 {
            for step in batch.drain(..) {
                match step {
                    Step::Commit { ack, .. } => drop(ack.send(())),
                    Step::Settled { outcomes, .. } => {
                        for outcome in outcomes {
                            let trouble = outcome.trouble.map(|trouble| trouble.to_string());
                            assert_eq!(outcome.state, State::Accepted, "{trouble:?} {:?}", outcome.reply);
                            accepted += 1;
                        }
                    }
                    Step::Later { .. } => panic!("nothing is handed back"),
                    Step::Event(_) => {}
                }
            }
        }
        feeding.await.expect("it feeds");
        engine.await.expect("the engine ends well");
        assert_eq!(accepted, count);
    });
    Spent { count, time: start.elapsed(), processor: processor().saturating_sub(before) }
}
