//! Attempts, and what comes of them.

use super::*;

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

#[tokio::test(start_paused = true)]
async fn recipients_that_were_one_too_many_are_next_in_the_same_attempt() {
    play_one_way(async |bench| {
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_know_is_held() {
    let drained = play_one_way(async |bench| {
        let names = bench.add(&[job(&["a@y.example"])]);
        let delivery = bench.delivery().await;
        let submission = delivery.next().await;
        assert!(delivery.commit(&[submission.id]).await);
        delivery.settled(submission.id, vec![trouble("a@y.example", State::Unknown, Stage::Final, Cause::Lost)]).await;
        settle().await;
        assert_eq!(bench.status(&names[0]), Status::Held);
        assert_eq!(
            bench.told()[1..],
            ["a@y.example is unknown 1", "held: nobody can know whether the server has it: trouble"]
        );
    })
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
    play_one_way(async |bench| {
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
    })
    .await;
}
