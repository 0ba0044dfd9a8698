//! Sessions: how many there are, when they open, and when another takes their place.

use super::*;

/// Takes a message whose MAIL was heard.
fn agree_from_mail_on(talk: &mut Talk) {
    talk.say("250 ok");
    talk.answer("RCPT", "250 ok");
    talk.answer("DATA", "354 go");
    talk.data();
    talk.say("250 ok");
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
                agree_from_mail_on(talk);
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
        agree_from_mail_on(talk);
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
