//! Windows and groups: what leaves together, under which consent, and what is in doubt when the session dies.

use super::*;

#[test]
fn a_window_leaves_without_waiting_and_with_one_consent() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING, CHUNKING");
        // Nothing is answered before all of it is here.
        talk.window(3);
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
        talk.window(2);
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
            talk.window(8);
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
        talk.window(count);
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
fn what_a_dying_session_leaves_in_doubt_is_bounded_and_told() {
    let server = Server::new(|talk, number| {
        talk.greet("PIPELINING, CHUNKING");
        if number > 0 {
            return drop(talk.hear_to_the_end());
        }
        talk.window(3);
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
