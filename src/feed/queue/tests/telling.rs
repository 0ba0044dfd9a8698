//! Who is told of what has failed or expired.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_report_goes_to_the_sender_once() {
    play_one_way(async |bench| {
        bench.add(&[job(&["a@y.example", "b@y.example"])]);
        let delivery = bench.delivery().await;
        let submission = delivery.next().await;
        let outcomes = vec![answer("a@y.example", 550, "5.1.1 unknown"), answer("b@y.example", 451, "later")];
        delivery.settled(submission.id, outcomes).await;
        let report = delivery.next().await;
        assert_eq!((report.envelope.from(), report.envelope.to()), (None, &[address("sender@x.example")][..]));
        let octets = crate::message::Blocks::new(&report.content).collect::<Result<Vec<_>, _>>().unwrap().concat();
        let text = String::from_utf8(octets).unwrap();
        assert!(text.contains("Final-Recipient: rfc822; a@y.example") && !text.contains("b@y.example"), "{text}");
        // A report that fails is followed by none.
        delivery.settled(report.id, vec![answer("sender@x.example", 550, "5.1.1 no")]).await;
        assert_eq!(delivery.answer(250, "ok").await.envelope.to(), [address("b@y.example")]);
        assert!(delivery.all().await.is_empty() && bench.left().is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_who_does_not_want_to_be() {
    play_one_way(async |bench| {
        let mut null = job(&["a@y.example"]);
        null.envelope = Envelope::new(None, vec![address("a@y.example")]).unwrap();
        let mut never = job(&["b@y.example"]);
        never.dsn.notify = Some(DsnNotify { success: true, failure: false, delay: false });
        bench.add(&[null, never]);
        let delivery = bench.delivery().await;
        delivery.answer(550, "no").await;
        delivery.answer(550, "no").await;
        assert!(delivery.all().await.is_empty() && bench.left().is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_has_failed() {
    play_one_way(async |bench| {
        let names = bench.add(&[Job { expires: BASE + 5_000, ..job(&["a@y.example"]) }]);
        let delivery = bench.delivery().await;
        delivery.answer(451, "4.2.2 mailbox full").await;
        delivery.answer(451, "4.2.2 mailbox full").await;
        let report = delivery.next().await;
        assert!((5_000..5_020).contains(&elapsed()), "{}", elapsed());
        let octets = crate::message::Blocks::new(&report.content).collect::<Result<Vec<_>, _>>().unwrap().concat();
        let text = String::from_utf8(octets).unwrap();
        assert!(text.contains("Status: 4.4.7") && text.contains("451 4.2.2 mailbox full"), "{text}");
        let entry = bench.store.show(&names[0]).unwrap();
        assert_eq!((entry.outline.status, entry.outline.attempts), (Status::Done, 2));
        assert_eq!(entry.all[0].state, Some(State::Failed));
        delivery.settled(report.id, vec![answer("sender@x.example", 250, "ok")]).await;

        // The same for one that waits for a session.
        settle().await;
        bench.told();
        bench.add(&[Job { expires: BASE + 8_000, ..job(&["b@y.example"]) }]);
        tokio::time::sleep(SECOND).await;
        assert_eq!(bench.left(), ["b@y.example leased"]);
        tokio::time::sleep(4 * SECOND).await;
        assert_eq!(bench.told()[0], "b@y.example is failed 0");
        let mut ended = Vec::new();
        let mut done = |line: &crate::queue::Outline| ended.push(line.why.clone().unwrap_or_default());
        bench.store.list(&[Status::Done], &mut done).unwrap();
        assert_eq!(ended.last().unwrap(), "it has expired, and no attempt was made");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_untried_says_what_it_waited_for() {
    let broken = |_: &Place| Err(Trouble::new(Stage::Connect, Cause::Configuration, "ca.pem cannot be read"));
    let draining = Draining { on_failure: OnFailure::Nothing, ..draining() };
    play(draining, broken, async |bench| {
        let names = bench.add(&[Job { expires: BASE + 5_000, ..job(&["a@y.example"]) }]);
        tokio::time::sleep(7 * SECOND).await;
        let entry = bench.store.show(&names[0]).unwrap();
        assert_eq!((entry.outline.status, entry.outline.attempts), (Status::Done, 0));
        let why = "it has expired, and no attempt was made: ca.pem cannot be read";
        assert_eq!(entry.all[0].text.as_deref(), Some(why));
    })
    .await;
}

/// Each failure is one call, and few run at once. They take real time.
#[tokio::test]
async fn a_command_is_called_for_each_failure() {
    let out = tempfile::tempdir().unwrap();
    let command = format!("cat > {}/$$; ls {}", out.path().display(), out.path().display());
    let draining = Draining { on_failure: OnFailure::Command(command), ends_idle: true, ..draining() };
    let (mut bench, course) = bench(draining, |_| Ok(way(4, 16)));
    let jobs: Vec<Job> = (0..12).map(|number| job(&[&format!("r{number}@y.example")])).collect();
    let mut names = bench.add(&jobs);
    let testing = async {
        let delivery = bench.delivery().await;
        for _ in 0..12 {
            delivery.answer(550, "5.1.1 no").await;
        }
        delivery
    };
    let (_delivery, drained) = tokio::join!(biased; testing, course);
    assert_eq!(drained.counts[State::Failed as usize], 12);
    let records = std::fs::read_dir(out.path()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let records = records.map(|record| serde_json::from_slice::<serde_json::Value>(&record).unwrap());
    let mut told: Vec<String> = records
        .map(|record| {
            assert_eq!((&record["status"], &record["all"][0]["state"]), (&"done".into(), &"failed".into()), "{record}");
            record["name"].as_str().unwrap().to_owned()
        })
        .collect();
    names.sort();
    told.sort();
    assert_eq!(told, names);
}

#[tokio::test]
async fn a_command_takes_the_record_of_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let command = format!("cat > {}", out.display());
    notice::run(command, "{\"name\":\"x\"}".to_owned()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "{\"name\":\"x\"}\n");
    // One that does not read is none the worse.
    notice::run("exit 0".to_owned(), "x".repeat(1 << 20)).await.unwrap();
    assert!(notice::run("exit 3".to_owned(), String::new()).await.unwrap_err().contains('3'));
}
