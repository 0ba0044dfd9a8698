//! The gate in front of the sessions: rate, pauses, circuit breaker, and the fallbacks behind it.

use super::*;

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
