//! Places without a way, left alone, away or slow, and others beside them.

use super::*;

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
    play_one_way(async |bench| {
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
    })
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
    play_one_way(async |bench| {
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_a_server_that_is_away() {
    play_one_way(async |bench| {
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
    })
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
