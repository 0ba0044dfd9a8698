//! Failures are told once, with what is noted of them.

use super::*;

/// Notes an outcome without an end, as the feed does while others are under way; nobody is told of it.
fn note(store: &mut Store, claim: &Claim, outcomes: &[(Outcome, Arc<Route>)]) {
    let (id, generation) = (claim.id, claim.generation);
    let settlement = Settlement { id, generation, outcomes, next: Next::More, is_told: false, report: None };
    store.settle(&[settlement], 0).unwrap();
}

/// Settles, and adds the report.
fn report(store: &mut Store, claim: &Claim, outcomes: &[(Outcome, Arc<Route>)], next: Next) -> bool {
    let report = Job {
        envelope: Envelope::new(None, job(&["a@x.example"]).envelope.to().to_vec()).unwrap(),
        ..job(&["a@x.example"])
    };
    let (id, generation) = (claim.id, claim.generation);
    let settlement = Settlement { id, generation, outcomes, next, is_told: true, report: Some(&report) };
    store.settle(&[settlement], 0).unwrap()[0]
}

#[test]
fn a_failure_that_was_not_told_is_told_by_the_next() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(true).unwrap();
    add(&mut store, job(&["b@y.example", "c@y.example"]), 0);
    let first = claim(&mut store, &worker, 0).unwrap();
    assert!(first.untold.is_empty());
    note(&mut store, &first, &[outcome("b@y.example", State::Failed, "no such user")]);
    drop(worker);

    let worker = store.worker(true).unwrap();
    assert_eq!(store.recover(0, false).unwrap(), (1, 0));
    let second = claim(&mut store, &worker, 0).unwrap();
    assert_eq!((recipients(&second), second.is_over), (vec!["c@y.example".to_owned()], false));
    let [untold] = &second.untold[..] else { panic!("{second:?}") };
    assert_eq!((untold.address.to_string().as_str(), untold.text.as_str()), ("b@y.example", "250 no such user"));
    // Its end without a word of them is none.
    note(&mut store, &second, &[outcome("c@y.example", State::Accepted, "ok")]);
    drop(worker);

    let worker = store.worker(true).unwrap();
    store.recover(0, false).unwrap();
    let third = claim(&mut store, &worker, 0).unwrap();
    assert_eq!((recipients(&third), third.is_over), (vec!["b@y.example".to_owned()], true));
    assert!(report(&mut store, &third, &[], Next::Done));
    let told = claim(&mut store, &worker, 0).unwrap();
    assert_eq!((told.submission.envelope.from(), recipients(&told)), (None, vec!["a@x.example".to_owned()]));
    settle(&mut store, &told, &[outcome("a@x.example", State::Accepted, "ok")], Next::Done, 0);
    assert!(claim(&mut store, &worker, 0).is_none());
    assert_eq!(store.stats(0).unwrap().done, 2);
}

#[test]
fn nobody_is_told_of_a_failure_under_an_old_lease() {
    let queue = Queue::new();
    let mut store = queue.open();
    let (slow, quick) = (store.worker(true).unwrap(), store.worker(true).unwrap());
    add(&mut store, job(&["b@y.example"]), 0);
    let old = claim(&mut store, &slow, 0).unwrap();
    let late = LEASE.as_millis() as Time + 1;
    store.recover(late, false).unwrap();
    let new = claim(&mut store, &quick, late).unwrap();
    settle(&mut store, &new, &[outcome("b@y.example", State::Accepted, "ok")], Next::Done, late);
    assert!(!report(&mut store, &old, &[outcome("b@y.example", State::Failed, "no such user")], Next::Done));
    let stats = store.stats(late).unwrap();
    assert_eq!((stats.done, stats.waiting), (1, 0));
}

#[test]
fn a_large_message_is_added_once_for_its_key() {
    let queue = Queue::new();
    let mut store = queue.open();
    let large = Content::from_bytes([b"Subject: x\r\n\r\n".to_vec(), b"x\r\n".repeat(40_000)].concat());
    let job = Job { content: large, key: Some("k".to_owned()), ..job(&["b@y.example"]) };
    let first = store.add_at(std::slice::from_ref(&job), 0).unwrap();
    let second = store.add_at(std::slice::from_ref(&job), 0).unwrap();
    assert!(first[0].1.is_none() && second[0].1.is_some());
    assert_eq!(first[0].0, second[0].0);
    let worker = store.worker(true).unwrap();
    let claim = claim(&mut store, &worker, 0).unwrap();
    assert_eq!(octets(&claim.submission.content), octets(&job.content));
}

/// Of a message of which one recipient is in doubt the others are tried again.
#[test]
fn whoever_is_in_doubt_holds_up_nobody() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(true).unwrap();
    add(&mut store, job(&["b@y.example", "c@y.example"]), 0);
    let first = claim(&mut store, &worker, 0).unwrap();
    let outcomes =
        [outcome("b@y.example", State::Deferred, "later"), outcome("c@y.example", State::Unknown, "no reply")];
    settle(&mut store, &first, &outcomes, Next::Again(5), 0);
    let second = claim(&mut store, &worker, 5).unwrap();
    assert_eq!(recipients(&second), ["b@y.example"]);
    settle(&mut store, &second, &[outcome("b@y.example", State::Accepted, "ok")], Next::Done, 5);
    assert_eq!(store.stats(5).unwrap().held, 1);
}
