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
    mail::{Content, DsnRequest, Envelope, Mailbox, State, Step, Stop, Submission, Submissions},
    secret::Wanted,
    transport::Door,
};
use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
};

use crate::support::{Server, Talk};

fn submission(id: u64) -> Submission {
    let address = |text: &str| Mailbox::parse(text).expect("an address").address;
    Submission {
        id,
        message_id: format!("<{id}@x.example>"),
        envelope: Envelope::new(Some(address("s@x.example")), vec![address("a@y.example")]).expect("an envelope"),
        content: Content::from_bytes(format!("Subject: {id}\r\n\r\nhi\r\n").into_bytes()),
        dsn: DsnRequest::default(),
        has_turn: false,
    }
}

/// What came down, in its order: `commit 1 2`, `1 accepted`, `later 3`.
type Log = Vec<String>;

/// Runs the engine over `count` submissions; `consent` says whether a commit is answered.
fn run(url: &str, password: bool, limits: [usize; 2], count: u64, consent: impl Fn(&[u64]) -> bool) -> Log {
    let request = Request {
        server: Some(url.to_owned()),
        settings: vec![("allow-plaintext-auth".to_owned(), "true".to_owned(), "-o".to_owned())],
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
    let mut outlet = Outlet::new(Arc::new(Door::new(profile.clone(), wanted).expect("a door")), &profile);
    [outlet.pool.max_connections, outlet.pool.pipeline_depth] = limits;
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (up, submissions) = async_channel::bounded(64);
        let (down, mut steps) = mpsc::channel(64);
        let (_keep, stop) = watch::channel(Stop::No);
        let work = Work { submissions: Submissions::new(submissions), steps: down, stop };
        for id in 1..=count {
            up.send(submission(id)).await.expect("room");
        }
        let engine = tokio::spawn(deliver(vec![outlet], false, work));
        let mut up = Some(up);
        let mut log = Log::new();
        let mut open = count;
        while let Some(step) = steps.recv().await {
            match step {
                Step::Commit { ids, ack } => {
                    log.push(ids.iter().fold("commit".to_owned(), |text, id| format!("{text} {id}")));
                    if consent(&ids) {
                        ack.send(()).expect("somebody waits");
                    }
                }
                Step::Settled { id, outcomes, .. } => {
                    for outcome in outcomes {
                        log.push(format!("{id} {}", outcome.state));
                        open -= 1;
                        assert!(outcome.state != State::Unknown || outcome.trouble.is_some());
                    }
                }
                Step::Later { submission, .. } => {
                    log.push(format!("later {}", submission.id));
                    if let Some(up) = &up {
                        up.send(submission).await.expect("room");
                    }
                }
                Step::Event(_) => {}
            }
            if open == 0 {
                up = None;
            }
        }
        engine.await.expect("the engine ends well");
        log
    })
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
        let server = Server::new(move |talk, _| {
            talk.greet(offers);
            if offers == "PIPELINING" {
                for reply in ["250 ok", "250 ok", "354 go"] {
                    talk.answer("", reply);
                }
            }
            let rest = talk.hear_to_the_end();
            assert!(rest.iter().all(|line| line == "QUIT"), "{offers}: {rest:?}");
        });
        let log = run(&server.url(), false, ONE_SESSION, 1, |_| false);
        assert_eq!(log, ["commit 1", "1 deferred"], "{offers}");
    }
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
    assert_eq!(log, ["commit 1 2 3", "1 deferred", "later 2", "later 3", "commit 2 3", "2 accepted", "3 accepted"]);
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
