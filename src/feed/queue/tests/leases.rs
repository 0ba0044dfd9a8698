//! Messages that others have by now, and workers side by side.

use super::*;

/// Somebody else takes up this message, as if this worker had stood still for longer than its lease.
fn steal(bench: &mut Bench) -> (crate::queue::Worker, usize) {
    let later = clock() + 10 * milliseconds_of(300 * SECOND);
    bench.store.recover(later, false).unwrap();
    let thief = bench.store.worker(true).unwrap();
    let claims = bench.store.claim(&thief, 1, later, 3_600 * SECOND).unwrap();
    (thief, claims.len())
}

#[tokio::test(start_paused = true)]
async fn a_message_that_others_have_by_now_is_not_sent() {
    play_one_way(async |bench| {
        bench.add(&[job(&["a@y.example"]), job(&["b@y.example"])]);
        let delivery = bench.delivery().await;
        let (first, second) = (delivery.next().await, delivery.next().await);
        settle().await;
        // Both leases have run out; somebody has the first, and nobody the second.
        let (_thief, stolen) = steal(bench);
        assert_eq!(stolen, 1);
        assert!(!delivery.commit(&[first.id, second.id]).await, "only whole commits go");
        delivery.later(first, None).await;
        delivery.later(second, None).await;
        settle().await;
        let again = delivery.answer(250, "ok").await;
        assert_eq!(again.envelope.to()[0].to_string(), "b@y.example");
        assert_eq!((delivery.all().await.len(), bench.left()), (0, vec!["a@y.example leased".to_owned()]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_refused_takes_back_the_intents_that_were_noted() {
    play_one_way(async |bench| {
        let names = bench.add(&[job(&["a@y.example"]), job(&["b@y.example"])]);
        let delivery = bench.delivery().await;
        let (first, second) = (delivery.next().await, delivery.next().await);
        settle().await;
        bench.store.hold(&names[0]).unwrap_err();
        let (_thief, _) = steal(bench);
        // The second is ours again, under another lease: this one is not whole.
        settle().await;
        assert!(!delivery.commit(&[second.id, first.id]).await);
        delivery.later(second, None).await;
        delivery.later(first, None).await;
        settle().await;
        assert_eq!(bench.left().iter().filter(|line| line.contains("held")).count(), 0, "{:?}", bench.left());
        delivery.answer(250, "ok").await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_workers_send_each_message_once() {
    let sent: Rc<RefCell<Vec<String>>> = Rc::default();
    let (mut bench, course) = bench(Draining { ends_idle: true, ..draining() }, |_| Ok(way(1, 4)));
    let jobs: Vec<Job> = (0..60).map(|number| job(&[&format!("r{number}@y.example")])).collect();
    bench.add(&jobs);
    let (_stop, stop) = watch::channel(Stop::No);
    let (_renewed, renewal) = watch::channel(());
    let (path, told) = (bench.path.clone(), bench.told.clone());
    let second = Draining { ends_idle: true, ..draining() };
    let (mut others, other) = feed(&path, second, |_| Ok(way(1, 4)), told, Signals { stop, renewal });
    let carry = async |delivery: Delivery| {
        while let Some(submission) = delivery.work.submissions.next().await {
            if delivery.commit(&[submission.id]).await {
                sent.borrow_mut().push(submission.envelope.to()[0].to_string());
                let to = submission.envelope.to()[0].to_string();
                delivery.settled(submission.id, vec![answer(&to, 250, "ok")]).await;
            }
        }
    };
    let first = async {
        if let Some(delivery) = bench.deliveries.recv().await {
            carry(delivery).await
        }
    };
    let second = async {
        if let Some(delivery) = others.recv().await {
            carry(delivery).await
        }
    };
    tokio::select! {
        _ = async { tokio::join!(course, other) } => {}
        _ = async { tokio::join!(first, second, std::future::pending::<()>()) } => {}
    }
    let mut sent = sent.borrow().clone();
    sent.sort();
    let mut all: Vec<String> = (0..60).map(|number| format!("r{number}@y.example")).collect();
    all.sort();
    assert_eq!(sent, all);
    assert!(bench.left().is_empty());
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_while_messages_are_under_way() {
    play_one_way(async |bench| {
        bench.add(&[job(&["a@y.example"])]);
        let delivery = bench.delivery().await;
        let submission = delivery.next().await;
        for _ in 0..30 {
            tokio::time::sleep(60 * SECOND).await;
            assert_eq!(bench.store.recover(clock(), false).unwrap(), (0, 0), "{}", elapsed());
        }
        assert!(delivery.commit(&[submission.id]).await);
        delivery.settled(submission.id, vec![answer("a@y.example", 250, "ok")]).await;
    })
    .await;
}
