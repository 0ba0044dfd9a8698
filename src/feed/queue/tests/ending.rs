//! How it ends: asked to, with nothing left to do, or without a store.

use super::*;

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
    let (mut bench, course) = super::bench(draining(), |_| Ok(way(1, 4)));
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

    let (mut bench, course) = super::bench(Draining { ends_idle: true, ..draining() }, |_| Ok(way(1, 4)));
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

/// Whoever would wait for the store as long as it takes does not, once it is to end.
#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_used_keeps_nobody_from_ending() {
    let (mut bench, course) = bench(draining(), |_| Ok(way(1, 4)));
    bench.add(&[job(&["a@y.example"])]);
    let testing = async {
        let delivery = bench.delivery().await;
        let submission = delivery.next().await;
        assert!(delivery.commit(&[submission.id]).await);
        rusqlite::Connection::open(&bench.path).unwrap().execute_batch("DROP TABLE recipient").unwrap();
        delivery.settled(submission.id, vec![answer("a@y.example", 250, "ok")]).await;
        tokio::time::sleep(30 * SECOND).await;
        bench.stop.send(Stop::Drain).unwrap();
        Instant::now()
    };
    let (stopped, drained) = tokio::join!(biased; testing, course);
    assert!((5..8).contains(&stopped.elapsed().as_secs()), "{:?}", stopped.elapsed());
    assert!(drained.end.unwrap().to_string().contains("no such table"));
}
