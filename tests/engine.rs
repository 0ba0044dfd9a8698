//! The engine with several submissions: windows, consent, sessions that are replaced, logins that end a run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc as sync,
    },
    time::Duration,
};

use mailsend::{
    config::{Environment, Files, Request, resolve},
    delivery::{Outlet, Work, deliver},
    mail::{Content, DsnRequest, Envelope, Event, Mailbox, State, Step, Stop, Submission, Submissions},
    secret::Wanted,
    transport::Door,
};
use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
};

use crate::support::{Server, Talk};

pub fn submission(id: u64) -> Submission {
    submission_to(id, "a@y.example")
}

fn submission_to(id: u64, recipient: &str) -> Submission {
    let address = |text: &str| Mailbox::parse(text).expect("an address").address;
    Submission {
        id,
        message_id: format!("<{id}@x.example>"),
        envelope: Envelope::new(Some(address("s@x.example")), vec![address(recipient)]).expect("an envelope"),
        content: Content::from_bytes(format!("Subject: {id}\r\n\r\nhi\r\n").into_bytes()),
        dsn: DsnRequest::default(),
        has_turn: false,
    }
}

/// What came down, in its order: `commit 1 2`, `1 accepted`, `later 3`, `open`, `slowed 1 s`, `warning`.
pub type Log = Vec<String>;

/// An outlet with these options.
fn outlet(url: &str, password: bool, options: &[(&str, &str)]) -> Outlet {
    let options = options.iter().chain(&[("allow-plaintext-auth", "true")]);
    let request = Request {
        server: Some(url.to_owned()),
        settings: options.map(|(key, value)| (key.to_string(), value.to_string(), "-o".to_owned())).collect(),
        ..Request::default()
    };
    let profile = Arc::new(resolve(&request, &Files::default(), &Environment::default()).expect("a profile"));
    let wanted = password.then(|| Wanted {
        user: "ada".to_owned(),
        host: "127.0.0.1".to_owned(),
        flag: None,
        environment: Environment::from([("MAILSEND_PASSWORD", "hunter2")]),
        profile: None,
        oauth: None,
        secrets: mailsend::config::Secrets::default(),
        web: mailsend::config::WebWay::default(),
        profile_name: None,
        may_prompt: false,
    });
    Outlet::new(Arc::new(Door::new(profile.clone(), wanted).expect("a door")), &profile)
}

/// Runs the engine over `count` submissions; `consent` says whether a commit is answered.
fn run(url: &str, password: bool, limits: [usize; 2], count: u64, consent: impl Fn(&[u64]) -> bool) -> Log {
    let mut outlet = outlet(url, password, &[]);
    [outlet.pool.max_connections, outlet.pool.pipeline_depth] = limits;
    let mut feed = Feed { submissions: (1..=count).map(submission).collect(), ..Feed::default() };
    feed.run(vec![outlet], consent)
}

/// A feed that hands in again what comes back.
#[derive(Default)]
pub struct Feed {
    pub submissions: Vec<Submission>,
    /// What is deferred is due again so often.
    pub retries: usize,
    /// A submission is only handed in once the one before is settled, and this has happened.
    pub one_by_one: Option<Box<dyn Fn(u64)>>,
    /// Names of the servers that took something, with how many.
    pub routes: std::collections::BTreeMap<String, usize>,
}

impl Feed {
    pub fn run(&mut self, outlets: Vec<Outlet>, consent: impl Fn(&[u64]) -> bool) -> Log {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (up, submissions) = async_channel::bounded(64);
            let (down, mut steps) = mpsc::channel(64);
            let (_keep, stop) = watch::channel(Stop::No);
            let work = Work { submissions: Submissions::new(submissions), steps: down, stop };
            let mut open = self.submissions.len();
            let first = if self.one_by_one.is_some() { 1 } else { open };
            let all = std::mem::take(&mut self.submissions);
            let mut waiting = all.clone().into_iter();
            for submission in waiting.by_ref().take(first) {
                up.send(submission).await.expect("room");
            }
            let engine = tokio::spawn(deliver(outlets, false, work));
            let mut log = Log::new();
            while let Some(step) = steps.recv().await {
                match step {
                    Step::Commit { ids, ack } => {
                        log.push(ids.iter().fold("commit".to_owned(), |text, id| format!("{text} {id}")));
                        if consent(&ids) {
                            ack.send(()).expect("somebody waits");
                        }
                    }
                    Step::Settled { id, outcomes, route } => {
                        for outcome in outcomes {
                            log.push(format!("{id} {}", outcome.state));
                            assert!(outcome.state != State::Unknown || outcome.trouble.is_some());
                            if outcome.state == State::Accepted {
                                *self.routes.entry(route.server.clone()).or_default() += 1;
                            }
                            if outcome.state == State::Deferred && self.retries > 0 {
                                self.retries -= 1;
                                let again = all.iter().find(|submission| submission.id == id).expect("one of ours");
                                up.send(again.clone()).await.expect("room");
                            } else {
                                open -= 1;
                                if let Some(happens) = &self.one_by_one
                                    && let Some(next) = waiting.next()
                                {
                                    // The engine goes on meanwhile.
                                    tokio::time::sleep(Duration::from_millis(20)).await;
                                    happens(next.id);
                                    up.send(next).await.expect("room");
                                }
                            }
                        }
                    }
                    Step::Later { submission, at } => {
                        log.push(format!("later {}", submission.id));
                        let up = up.clone();
                        tokio::spawn(async move {
                            if let Some(at) = at {
                                tokio::time::sleep_until(at).await;
                            }
                            // The engine may be gone.
                            let _ = up.send(submission).await;
                        });
                    }
                    Step::Event(Event::Breaker { state, .. }) => log.push(state.as_str().to_owned()),
                    Step::Event(Event::Slowed { pause, .. }) => log.push(format!("slowed {} s", pause.as_secs())),
                    Step::Event(Event::Warning(text)) => log.push(text),
                    Step::Event(_) => {}
                }
                if open == 0 {
                    up.close();
                }
            }
            engine.await.expect("the engine ends well");
            log
        })
    }
}

/// How many lines are this.
fn count(log: &Log, line: &str) -> usize {
    log.iter().filter(|known| known.ends_with(line)).count()
}

/// Sessions and depth.
const ONE_SESSION: [usize; 2] = [1, 16];

#[test]
fn a_window_leaves_without_waiting_and_with_one_consent() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING, CHUNKING");
        // Nothing is answered before all of it is here.
        for number in 0..3 {
            if number > 0 {
                talk.expect("RSET");
            }
            talk.expect("MAIL");
            talk.expect("RCPT");
            talk.bdat();
        }
        talk.say("250 ok\n250 ok\n250 first");
        talk.say("250 reset\n250 ok\n550 5.1.1 no\n503 none");
        talk.say("250 reset\n250 ok\n250 ok\n250 third");
        talk.expect("QUIT");
    });
    let log = run(&server.url(), false, ONE_SESSION, 3, |_| true);
    assert_eq!(log, ["commit 1 2 3", "1 accepted", "2 failed", "3 accepted"]);
    let subjects: Vec<_> = server.only().messages.iter().map(|message| message[9]).collect();
    assert_eq!(subjects, *b"123");
}

#[test]
fn a_window_is_as_deep_as_it_may_be() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING, CHUNKING");
        for number in 0..2 {
            if number > 0 {
                talk.expect("RSET");
            }
            talk.expect("MAIL");
            talk.expect("RCPT");
            talk.bdat();
        }
        assert!(!talk.has_more_within(Duration::from_millis(100)), "a third message is in doubt");
        talk.say("250 ok\n250 ok\n250 first");
        talk.expect("RSET");
        talk.expect("MAIL");
        talk.expect("RCPT");
        talk.bdat();
        talk.say("250 reset\n250 ok\n250 ok\n250 second");
        talk.say("250 reset\n250 ok\n250 ok\n250 third");
        talk.expect("QUIT");
    });
    run(&server.url(), false, [1, 2], 3, |_| true);
}

#[test]
fn with_data_the_next_envelope_leaves_behind_the_content() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING");
        for number in 1..=3 {
            talk.expect("MAIL");
            talk.expect("RCPT");
            talk.expect("DATA");
            talk.say("250 ok\n250 ok\n354 go");
            talk.data();
            if number < 3 {
                // The content is not answered yet.
                assert!(talk.has_more_within(Duration::from_secs(10)), "the next envelope waits");
            }
            talk.say("250 ok");
        }
        talk.expect("QUIT");
    });
    let log = run(&server.url(), false, ONE_SESSION, 3, |_| true);
    assert_eq!(log, ["commit 1", "1 accepted", "commit 2", "2 accepted", "commit 3", "3 accepted"]);
}

#[test]
fn nothing_is_complete_without_consent() {
    for offers in ["PIPELINING", "PIPELINING, CHUNKING"] {
        let server = Server::new(move |talk, number| {
            if number > 0 {
                return take(talk, 1);
            }
            talk.greet(offers);
            if offers == "PIPELINING" {
                for reply in ["250 ok", "250 ok", "354 go"] {
                    talk.answer("", reply);
                }
            }
            let rest = talk.hear_to_the_end();
            assert!(rest.iter().all(|line| line == "QUIT"), "{offers}: {rest:?}");
        });
        let is_asked_again = AtomicBool::new(false);
        let log = run(&server.url(), false, ONE_SESSION, 1, |_| is_asked_again.swap(true, Ordering::SeqCst));
        assert_eq!(log, ["commit 1", "later 1", "commit 1", "1 accepted"], "{offers}");
    }
}

#[test]
fn what_is_complete_has_its_replies_though_nothing_more_may_be_sent() {
    let is_refused = Arc::new(AtomicBool::new(false));
    let server = Server::new({
        let is_refused = is_refused.clone();
        move |talk, number| {
            talk.greet("PIPELINING, CHUNKING");
            if number > 0 {
                while let Some(line) = talk.hear_or_end() {
                    if line.starts_with("BDAT") {
                        // The message has three lines.
                        let _ = [(); 3].map(|()| talk.hear());
                    }
                    talk.say("250 ok");
                }
                return;
            }
            for message in 0..8 {
                if message > 0 {
                    talk.expect("RSET");
                }
                talk.expect("MAIL");
                talk.expect("RCPT");
                talk.bdat();
            }
            // Now there is room for two more.
            talk.say("250 ok\n250 ok\n250 first");
            while !is_refused.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            // The engine learns of it meanwhile.
            std::thread::sleep(Duration::from_millis(50));
            (1..8).for_each(|_| talk.say("250 reset\n250 ok\n250 ok\n250 done"));
            talk.expect("QUIT");
        }
    });
    let may_leave = |ids: &[u64]| !ids.contains(&9) || is_refused.swap(true, Ordering::SeqCst);
    let log = run(&server.url(), false, ONE_SESSION, 10, may_leave);
    assert_eq!((count(&log, "accepted"), count(&log, "unknown"), count(&log, "deferred")), (10, 0, 0), "{log:?}");
    assert!(log.contains(&"later 9".to_owned()) && log.contains(&"later 10".to_owned()), "{log:?}");
}

#[test]
fn a_421_makes_what_is_behind_it_due_again() {
    let server = Server::new(|talk, number| {
        talk.greet("PIPELINING, CHUNKING");
        let count = if number == 0 { 3 } else { 2 };
        for message in 0..count {
            if message > 0 {
                talk.expect("RSET");
            }
            talk.expect("MAIL");
            talk.expect("RCPT");
            talk.bdat();
        }
        if number == 0 {
            talk.say("250 ok\n421 4.3.2 going down");
            return talk.close();
        }
        talk.say("250 ok\n250 ok\n250 x\n250 ok\n250 ok\n250 ok\n250 x");
        talk.expect("QUIT");
    });
    let log = run(&server.url(), false, ONE_SESSION, 3, |_| true);
    let due_again = ["commit 1 2 3", "1 deferred", "later 2", "later 3", "slowed 1 s"];
    assert_eq!(log, [&due_again[..], &["commit 2 3", "2 accepted", "3 accepted"]].concat());
}

#[test]
fn a_session_without_success_is_replaced() {
    let refuse = |talk: &mut Talk, count: usize| {
        talk.greet("");
        for message in 0..count {
            if message > 0 {
                talk.answer("RSET", "250 ok");
            }
            talk.answer("MAIL", "250 ok");
            talk.answer("RCPT", "550 5.1.1 no");
        }
        talk.expect("QUIT");
    };
    let server = Server::new(move |talk, number| refuse(talk, if number == 0 { 8 } else { 2 }));
    let log = run(&server.url(), false, ONE_SESSION, 10, |_| true);
    assert_eq!(log.iter().filter(|line| line.ends_with("failed")).count(), 10);
    assert_eq!(server.heard().len(), 2);
}

#[test]
fn the_second_session_opens_when_the_first_has_logged_in() {
    let logged_in = Arc::new(AtomicBool::new(false));
    let (told, second) = sync::channel();
    let second = std::sync::Mutex::new(second);
    let server = Server::new({
        let logged_in = logged_in.clone();
        move |talk, number| {
            if number > 0 {
                assert!(logged_in.load(Ordering::SeqCst), "a second connection before the first has logged in");
                told.send(()).expect("somebody waits");
            }
            talk.greet("AUTH PLAIN");
            talk.expect("AUTH PLAIN");
            if number == 0 {
                // Time enough for a second session that does not wait.
                std::thread::sleep(Duration::from_millis(200));
                logged_in.store(true, Ordering::SeqCst);
            }
            talk.say("235 welcome");
            if number == 0 {
                talk.expect("MAIL");
                second.lock().expect("no panic").recv_timeout(Duration::from_secs(10)).expect("a second session");
                talk.say("250 ok");
                talk.answer("RCPT", "250 ok");
                talk.answer("DATA", "354 go");
                talk.data();
                talk.say("250 ok");
            } else {
                talk.take_one(1);
            }
            talk.expect("QUIT");
        }
    });
    let url = server.url().replace("127", "ada@127");
    let log = run(&url, true, [2, 1], 2, |_| true);
    assert_eq!(log.iter().filter(|line| line.ends_with("accepted")).count(), 2);
}

#[test]
fn a_refused_login_is_tried_once_and_ends_the_run() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let server = Server::new({
        let attempts = attempts.clone();
        move |talk, _| {
            attempts.fetch_add(1, Ordering::SeqCst);
            talk.greet("AUTH PLAIN LOGIN");
            talk.answer("AUTH PLAIN", "535 5.7.8 wrong");
            assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT"));
        }
    });
    let url = server.url().replace("127", "ada@127");
    let log = run(&url, true, [4, 16], 20, |_| true);
    assert_eq!(log.iter().filter(|line| line.ends_with("deferred")).count(), 20);
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
}

#[test]
fn what_a_dying_session_leaves_in_doubt_is_bounded_and_told() {
    let server = Server::new(|talk, number| {
        talk.greet("PIPELINING, CHUNKING");
        if number > 0 {
            return drop(talk.hear_to_the_end());
        }
        for message in 0..3 {
            if message > 0 {
                talk.expect("RSET");
            }
            talk.expect("MAIL");
            talk.expect("RCPT");
            talk.bdat();
        }
        talk.say("250 ok\n250 ok\n250 first");
        talk.reset();
    });
    let log = run(&server.url(), false, ONE_SESSION, 3, |_| true);
    assert_eq!(log, ["commit 1 2 3", "1 accepted", "2 unknown", "3 unknown"]);
}

#[test]
fn a_session_that_dies_before_it_answers_costs_the_next_message_no_attempt() {
    let server = Server::new(|talk, number| {
        if number > 0 {
            return take(talk, 1);
        }
        talk.greet("");
        talk.take_one(1);
        talk.expect("MAIL");
        talk.close();
    });
    let log = run(&server.url(), false, ONE_SESSION, 2, |_| true);
    assert_eq!(log, ["commit 1", "1 accepted", "later 2", "commit 2", "2 accepted"]);
}

/// Greets, and takes so many messages, each whole before the next; then hears QUIT.
fn take(talk: &mut Talk, count: usize) {
    talk.greet("");
    for _ in 0..count {
        talk.take_one(1);
    }
    talk.expect("QUIT");
}

#[test]
fn a_session_is_replaced_after_its_messages() {
    let server = Server::new(|talk, number| take(talk, if number < 2 { 2 } else { 1 }));
    let options = [("pool.max-messages-per-connection", "2"), ("pool.max-connections", "1")];
    let mut feed = Feed { submissions: (1..=5).map(submission).collect(), ..Feed::default() };
    let log = feed.run(vec![outlet(&server.url(), false, &options)], |_| true);
    assert_eq!(count(&log, "accepted"), 5, "{log:?}");
    assert_eq!(server.heard().len(), 3);
}

#[test]
fn one_session_is_enough_for_who_comes_after_the_other() {
    let server = Server::new(|talk, _| take(talk, 5));
    let submissions = (1..=5).map(submission).collect();
    let mut feed = Feed { submissions, one_by_one: Some(Box::new(|_| {})), ..Feed::default() };
    let log = feed.run(vec![outlet(&server.url(), false, &[])], |_| true);
    assert_eq!(count(&log, "accepted"), 5, "{log:?}");
    server.only();
}

#[test]
fn an_idle_session_ends_and_another_takes_its_place() {
    let (told, idle) = sync::channel();
    let server = Server::new(move |talk, _| {
        take(talk, 1);
        told.send(()).expect("somebody waits");
    });
    let happens = move |_| idle.recv_timeout(Duration::from_secs(10)).expect("the session says QUIT");
    // The engine cannot go on while this waits: it has to be given its time first.
    let happens = move |id| {
        assert_eq!(id, 2);
        happens(id);
    };
    let submissions = (1..=2).map(submission).collect();
    let mut feed = Feed { submissions, one_by_one: Some(Box::new(happens)), ..Feed::default() };
    let log = feed.run(vec![outlet(&server.url(), false, &[("pool.idle-timeout", "1ms")])], |_| true);
    assert_eq!(log, ["commit 1", "1 accepted", "commit 2", "2 accepted"]);
    assert_eq!(server.heard().len(), 2);
}

#[test]
fn who_is_left_alone_is_tried_again_later() {
    let server = Server::new(|talk, number| match number {
        0 | 1 => talk.close(),
        _ => take(talk, 4),
    });
    let options = [("breaker.failure-threshold", "2"), ("breaker.cool-down", "300ms"), ("pool.max-connections", "1")];
    let mut feed = Feed { submissions: (1..=4).map(submission).collect(), retries: 2, ..Feed::default() };
    let start = std::time::Instant::now();
    let log = feed.run(vec![outlet(&server.url(), false, &options)], |_| true);
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(log[..5], ["1 deferred", "open", "2 deferred", "half-open", "commit 3"], "{log:?}");
    assert!(log.contains(&"closed".to_owned()), "{log:?}");
    assert_eq!((count(&log, "accepted"), count(&log, "open")), (4, 2), "{log:?}");
}

#[test]
fn messages_go_on_to_the_fallback() {
    let server = Server::new(|talk, _| take(talk, 6));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("one").port();
    let options = [("breaker.failure-threshold", "2"), ("pool.max-connections", "1")];
    let outlets = [format!("smtp://127.0.0.1:{nobody}"), server.url()].map(|url| outlet(&url, false, &options)).into();
    let mut feed = Feed { submissions: (1..=6).map(submission).collect(), ..Feed::default() };
    let log = feed.run(outlets, |_| true);
    assert_eq!((count(&log, "accepted"), count(&log, "open")), (6, 1), "{log:?}");
    assert_eq!(feed.routes, [(format!("127.0.0.1:{}", server.port), 6)].into());
    server.only();
}

#[test]
fn a_fallback_that_refuses_the_login_is_of_no_use_and_ends_nothing() {
    let refuse = |talk: &mut Talk| {
        talk.greet("AUTH PLAIN");
        talk.answer("AUTH PLAIN", "535 5.7.8 wrong");
        assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT"));
    };
    let logins = Arc::new(AtomicUsize::new(0));
    let fallback = Server::new({
        let logins = logins.clone();
        move |talk, _| {
            logins.fetch_add(1, Ordering::SeqCst);
            refuse(talk);
        }
    });
    let server = Server::new(|talk, number| if number == 0 { talk.close() } else { take(talk, 3) });
    let options = [("pool.max-connections", "1")];
    let url = fallback.url().replace("127", "ada@127");
    let outlets = vec![outlet(&server.url(), false, &options), outlet(&url, true, &options)];
    let mut feed = Feed { submissions: (1..=3).map(submission).collect(), ..Feed::default() };
    let log = feed.run(outlets, |_| true);
    assert_eq!((count(&log, "accepted"), logins.load(Ordering::SeqCst)), (3, 1), "{log:?}");
    assert!(log.iter().any(|line| line.starts_with("the fallback '127.0.0.1:") && line.contains("535")), "{log:?}");
}

#[test]
fn a_fallback_that_wants_a_login_for_messages_is_of_no_use_and_ends_nothing() {
    for offers in ["", "PIPELINING", "PIPELINING, CHUNKING"] {
        let asked = Arc::new(AtomicUsize::new(0));
        let fallback = Server::new({
            let asked = asked.clone();
            move |talk, _| {
                talk.greet(offers);
                while let Some(line) = talk.hear_or_end() {
                    if line.starts_with("BDAT") {
                        // The message has three lines.
                        let _ = [(); 3].map(|()| talk.hear_or_end());
                    }
                    asked.fetch_add(usize::from(line.starts_with("MAIL")), Ordering::SeqCst);
                    talk.say(if line == "RSET" { "250 ok" } else { "530 5.7.0 Authentication required" });
                }
            }
        });
        let server = Server::new(|talk, number| if number == 0 { talk.close() } else { take(talk, 3) });
        let outlets = [&server, &fallback].map(|server| outlet(&server.url(), false, &[("pool.max-connections", "1")]));
        let mut feed = Feed { submissions: (1..=3).map(submission).collect(), ..Feed::default() };
        let log = feed.run(outlets.into(), |_| true);
        assert_eq!((count(&log, "accepted"), count(&log, "deferred")), (3, 0), "{offers}: {log:?}");
        assert!(log.iter().any(|line| line.starts_with("the fallback '127.0.0.1:") && line.contains("530")), "{log:?}");
        assert!((1..=3).contains(&asked.load(Ordering::SeqCst)), "{offers}: nobody is sent there twice");
    }
}

#[test]
fn a_421_slows_down_who_has_had_nothing_accepted() {
    let server = Server::new(|talk, number| {
        if number == 0 {
            talk.greet("");
            talk.answer("MAIL", "421 4.7.0 too fast");
            return talk.close();
        }
        talk.greet("");
        talk.take_one(1);
        if number == 2 {
            return drop(talk.expect("QUIT"));
        }
        // Enough of this session, which is no failure.
        talk.answer("MAIL", "421 4.3.2 that was one");
        talk.close();
    });
    let options = [("pool.max-connections", "1"), ("breaker.failure-threshold", "2")];
    let mut feed = Feed { submissions: (1..=2).map(submission).collect(), retries: 2, ..Feed::default() };
    let start = std::time::Instant::now();
    let log = feed.run(vec![outlet(&server.url(), false, &options)], |_| true);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(count(&log, "slowed 1 s"), 1, "{log:?}");
    assert_eq!((count(&log, "accepted"), count(&log, "deferred"), count(&log, "open")), (2, 2, 0), "{log:?}");
}

#[test]
fn neither_our_refused_recipients_nor_an_idle_end_speak_against_a_server() {
    let server = Server::new(|talk, number| {
        talk.greet("");
        if number == 0 {
            talk.answer("MAIL", "250 ok");
            talk.answer("RCPT", "550 5.1.1 no");
            talk.answer("RSET", "250 ok");
            talk.expect("MAIL");
        } else {
            talk.take_one(1);
        }
        talk.close();
    });
    let options = [("pool.max-connections", "1"), ("breaker.failure-threshold", "1")];
    let submissions = (1..=3).map(submission).collect();
    let mut feed = Feed { submissions, retries: 1, one_by_one: Some(Box::new(|_| {})), ..Feed::default() };
    let log = feed.run(vec![outlet(&server.url(), false, &options)], |_| true);
    assert_eq!((count(&log, "failed"), count(&log, "accepted"), count(&log, "open")), (1, 2, 0), "{log:?}");
}

#[test]
fn a_server_that_takes_no_more_connections_is_served_by_those_it_has() {
    let (told, refused) = sync::channel();
    let refused = std::sync::Mutex::new(refused);
    let server = Server::new(move |talk, number| {
        if number > 0 {
            talk.say("421 4.7.0 too many connections");
            talk.close();
            return told.send(()).expect("somebody waits");
        }
        talk.greet("");
        talk.expect("MAIL");
        refused.lock().expect("no panic").recv_timeout(Duration::from_secs(10)).expect("a second connection");
        talk.say("250 ok");
        talk.answer("RCPT", "250 ok");
        talk.answer("DATA", "354 go");
        talk.data();
        talk.say("250 ok");
        for _ in 1..5 {
            talk.take_one(1);
        }
        talk.expect("QUIT");
    });
    let options = [("pool.max-connections", "2"), ("breaker.failure-threshold", "1")];
    let mut feed = Feed { submissions: (1..=5).map(submission).collect(), ..Feed::default() };
    let log = feed.run(vec![outlet(&server.url(), false, &options)], |_| true);
    assert_eq!((count(&log, "accepted"), count(&log, "deferred"), count(&log, "open")), (5, 0, 0), "{log:?}");
    assert_eq!((server.heard().len(), log.iter().filter(|line| line.starts_with("later")).count()), (2, 1));
}

#[test]
fn a_domain_that_has_had_enough_does_not_hold_up_the_others() {
    let server = Server::new(|talk, _| take(talk, 4));
    let recipients = ["a@x.example", "b@x.example", "c@x.example", "a@y.example"];
    let submissions = (1..).zip(recipients).map(|(id, recipient)| submission_to(id, recipient)).collect();
    let mut feed = Feed { submissions, ..Feed::default() };
    let options = [("rate.per-domain", "2/s"), ("pool.max-connections", "1")];
    let start = std::time::Instant::now();
    let log = feed.run(vec![outlet(&server.url(), false, &options)], |_| true);
    assert!(start.elapsed() >= Duration::from_millis(450));
    let accepted: Vec<_> = log.iter().filter(|line| line.ends_with("accepted")).collect();
    assert_eq!(accepted, ["1 accepted", "2 accepted", "4 accepted", "3 accepted"], "{log:?}");
    assert_eq!(log.iter().filter(|line| *line == "later 3").count(), 1, "{log:?}");
}

#[test]
fn all_sessions_share_the_rate() {
    let server = Server::new(|talk, _| {
        talk.greet("");
        while let Some(line) = talk.hear_or_end() {
            match line.split(' ').next() {
                Some("DATA") => {
                    talk.say("354 go");
                    talk.data();
                    talk.say("250 ok");
                }
                Some("QUIT") => break,
                _ => talk.say("250 ok"),
            }
        }
    });
    let options = [("rate.limit", "20/s"), ("rate.burst", "2"), ("pool.max-connections", "3")];
    let mut feed = Feed { submissions: (1..=8).map(submission).collect(), ..Feed::default() };
    let start = std::time::Instant::now();
    let log = feed.run(vec![outlet(&server.url(), false, &options)], |_| true);
    assert_eq!(count(&log, "accepted"), 8, "{log:?}");
    let time = start.elapsed();
    assert!(time >= Duration::from_millis(295) && time < Duration::from_secs(3), "{time:?}");
}
