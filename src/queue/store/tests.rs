mod faults;
mod model;
mod plans;
mod telling;

use std::{path::PathBuf, sync::Arc};

use super::*;
use crate::{
    mail::{Content, DsnNotify, DsnRequest, DsnReturn, Envelope, Mailbox, Outcome, Reply, Route, Stage, State},
    message::Blocks,
    queue::{Claim, Job, Next, Place, Settlement, Stats, Status},
};

const LEASE: Duration = Duration::from_secs(300);
const NEVER: Time = i64::MAX;

struct Queue {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Queue {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/queue.sqlite");
        Self { _folder: folder, path }
    }

    fn open(&self) -> Store {
        Store::open(&self.path).unwrap()
    }
}

/// One without the other.
impl Store {
    /// Only intents.
    pub fn intend(&mut self, claims: &[(i64, i64)], now: Time) -> Result<Vec<bool>, QueueError> {
        self.note_all(claims, &[], now).map(|(may, _)| may)
    }

    /// Only what came of attempts.
    pub fn settle(&mut self, settlements: &[Settlement<'_>], now: Time) -> Result<Vec<bool>, QueueError> {
        self.note_all(&[], settlements, now).map(|(_, latest)| latest)
    }
}

fn job(recipients: &[&str]) -> Job {
    let address = |text: &str| Mailbox::parse(text).unwrap().address;
    Job {
        message_id: "<m@x.example>".to_owned(),
        envelope: Envelope::new(Some(address("a@x.example")), recipients.iter().map(|text| address(text)).collect())
            .unwrap(),
        content: Content::from_bytes(b"Subject: x\r\n\r\ntext\r\n".to_vec()),
        dsn: DsnRequest::default(),
        place: Place::default(),
        priority: 0,
        due: None,
        expires: NEVER,
        key: None,
    }
}

fn outcome(recipient: &str, state: State, text: &str) -> (Outcome, Arc<Route>) {
    let outcome = Outcome {
        recipient: Mailbox::parse(recipient).unwrap().address,
        state,
        stage: Stage::Data,
        reply: Some(Reply { code: 250, lines: vec![text.to_owned()] }),
        trouble: None,
        remote_id: Some("4F2".to_owned()),
        dsn: None,
        elapsed: Duration::ZERO,
    };
    (outcome, Arc::new(Route { profile: None, server: "mx.example:25".to_owned() }))
}

fn settle(store: &mut Store, claim: &Claim, outcomes: &[(Outcome, Arc<Route>)], next: Next, now: Time) {
    let settlement =
        Settlement { id: claim.id, generation: claim.generation, outcomes, next, is_told: true, report: None };
    store.settle(&[settlement], now).unwrap();
}

fn add(store: &mut Store, job: Job, now: Time) -> String {
    store.add_at(&[job], now).unwrap().remove(0).0
}

fn claim(store: &mut Store, worker: &Worker, now: Time) -> Option<Claim> {
    store.claim(worker, 1, now, LEASE).unwrap().pop()
}

fn octets(content: &Content) -> Vec<u8> {
    Blocks::new(content).collect::<io::Result<Vec<_>>>().unwrap().concat()
}

fn recipients(claim: &Claim) -> Vec<String> {
    claim.submission.envelope.to().iter().map(ToString::to_string).collect()
}

#[test]
fn a_message_goes_its_way() {
    let queue = Queue::new();
    let mut store = queue.open();
    let job = Job {
        dsn: DsnRequest {
            notify: Some(DsnNotify { success: true, failure: false, delay: true }),
            ret: Some(DsnReturn::Hdrs),
            envid: Some("e-1".to_owned()),
        },
        place: Place {
            profile: Some("work".to_owned()),
            server: None,
            settings: vec![("a".to_owned(), "b".to_owned())],
        },
        ..job(&["b@y.example", "\"c d\"@y.example"])
    };
    let [(name, None)] = &store.add_at(std::slice::from_ref(&job), 1_000).unwrap()[..] else { panic!("not added") };
    assert!(store.has_news().unwrap());
    drop(store);
    let mut store = queue.open();
    let worker = store.worker(true).unwrap();
    assert_eq!(store.next_due().unwrap(), Some(1_000));
    let claims = store.claim(&worker, 10, 1_000, LEASE).unwrap();
    let [claim] = &claims[..] else { panic!("{claims:?}") };
    assert_eq!(octets(&claim.submission.content), octets(&job.content));
    assert_eq!(claim.submission.envelope, job.envelope);
    assert_eq!(claim.submission.dsn, job.dsn);
    assert_eq!((&claim.place, claim.attempts, claim.generation), (&job.place, 0, 1));
    assert_eq!(store.claim(&worker, 10, 1_000, LEASE).unwrap().len(), 0);
    assert_eq!(store.next_due().unwrap(), None);
    assert_eq!(store.intend(&[(claim.id, 1), (claim.id, 2), (7, 1)], 1_001).unwrap(), [true, false, false]);
    assert_eq!(store.show(name).unwrap().worker.as_deref(), Some(worker.name()));

    let outcomes =
        [outcome("b@y.example", State::Accepted, "ok"), outcome("\"c d\"@y.example", State::Deferred, "later")];
    settle(&mut store, claim, &outcomes, Next::Again(5_000), 1_002);
    assert_eq!(store.next_due().unwrap(), Some(5_000));
    assert_eq!(store.claim(&worker, 10, 4_999, LEASE).unwrap().len(), 0);
    let claims = store.claim(&worker, 10, 5_000, LEASE).unwrap();
    let [claim] = &claims[..] else { panic!("{claims:?}") };
    assert_eq!(recipients(claim), ["\"c d\"@y.example"]);
    assert_eq!((claim.attempts, claim.generation), (1, 2));
    settle(&mut store, claim, &[outcome("\"c d\"@y.example", State::Failed, "no")], Next::Done, 5_001);

    let entry = store.show(&name[..5]).unwrap();
    assert_eq!((entry.outline.status, entry.outline.open, entry.outline.recipients), (Status::Done, 0, 2));
    let stats = store.stats(5_001).unwrap();
    assert_eq!((entry.outline.failed, stats.done, stats.failed), (1, 1, 1));
    assert_eq!(entry.outline.why.as_deref(), Some("250 no"));
    let states: Vec<_> = entry.all.iter().map(|one| (one.address.as_str(), one.state.unwrap())).collect();
    assert_eq!(states, [("b@y.example", State::Accepted), ("\"c d\"@y.example", State::Failed)]);
    assert!(store.content(name).unwrap().is_none());
    store.sync().unwrap();
}

#[test]
fn the_urgent_go_first_then_the_longest_due() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(false).unwrap();
    let mut names = Vec::new();
    for (priority, due) in
        [(-1, None), (0, Some(300)), (0, None), (1, Some(9_000)), (1, Some(400)), (0, Some(200)), (7, None)]
    {
        names.push(add(&mut store, Job { priority, due, ..job(&["b@y.example"]) }, 250));
    }
    let mut order = Vec::new();
    while let Some(claim) = claim(&mut store, &worker, 1_000) {
        order.push(claim.id - 1);
        // Each has its turn within one call, too.
        settle(&mut store, &claim, &[], Next::Held("looked at".to_owned()), 1_000);
    }
    assert_eq!(order, [6, 4, 5, 2, 1, 0]);
    assert_eq!(store.next_due().unwrap(), Some(9_000));
    for name in &names[..3] {
        store.release(name, false).unwrap();
    }
    let ids: Vec<i64> = store.claim(&worker, 2, NEVER - 1, LEASE).unwrap().iter().map(|claim| claim.id - 1).collect();
    assert_eq!(ids, [3, 1]);
    let mut outlines = Vec::new();
    store
        .list(&[Status::Leased, Status::Held], &mut |outline| outlines.push((outline.name.clone(), outline.status)))
        .unwrap();
    let [h, l] = [Status::Held, Status::Leased];
    let expected = [(1, l), (3, l), (4, h), (5, h), (6, h)].map(|(at, status): (usize, _)| (names[at].clone(), status));
    assert_eq!(outlines, expected);
}

#[test]
fn what_has_expired_is_told_of_and_not_sent() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(true).unwrap();
    let name = add(&mut store, Job { expires: 500, ..job(&["b@y.example"]) }, 100);
    assert_eq!(store.expired(&worker, 9, 499, LEASE).unwrap().len(), 0);
    assert!(claim(&mut store, &worker, 500).is_none());
    assert_eq!(store.next_due().unwrap(), Some(100));
    let expired = store.expired(&worker, 9, 500, LEASE).unwrap().remove(0);
    assert_eq!(octets(&expired.submission.content), octets(&job(&["b@y.example"]).content));
    let mut failed = outcome("b@y.example", State::Failed, "");
    (failed.0.stage, failed.0.reply) = (Stage::Compose, None);
    settle(&mut store, &expired, &[failed], Next::Done, 500);
    let entry = store.show(&name).unwrap();
    assert_eq!((entry.outline.status, entry.outline.attempts), (Status::Done, 0));
}

#[test]
fn the_same_key_is_the_same_message() {
    let queue = Queue::new();
    let mut store = queue.open();
    let keyed = |key: &str| Job { key: Some(key.to_owned()), ..job(&["b@y.example"]) };
    let added = store.add(&[keyed("1"), keyed("2"), keyed("1")]).unwrap();
    assert_eq!(added.iter().map(|(_, first)| first.is_none()).collect::<Vec<_>>(), [true, true, false]);
    let first = First { message_id: "<m@x.example>".to_owned(), recipients: vec!["b@y.example".to_owned()] };
    assert_eq!(added[2].1.as_ref(), Some(&first));
    assert_eq!(added[0].0, added[2].0);
    let worker = store.worker(true).unwrap();
    for claim in store.claim(&worker, 9, NEVER - 1, Duration::ZERO).unwrap() {
        settle(&mut store, &claim, &[outcome("b@y.example", State::Accepted, "ok")], Next::Done, 2_000);
    }
    // Also when it is done, until it is forgotten.
    assert_eq!(store.add(&[keyed("2")]).unwrap(), [(added[1].0.clone(), Some(first))]);
    assert_eq!(store.show(&added[1].0).unwrap().key.as_deref(), Some("2"));
    assert_eq!(
        (store.forget(2_000, 9).unwrap(), store.forget(2_001, 1).unwrap(), store.forget(2_001, 9).unwrap()),
        (0, 1, 1)
    );
    assert_eq!(store.add(&[keyed("2")]).unwrap()[0].1, None);
    assert!(matches!(store.show(&added[1].0), Err(QueueError::Unknown(_))));
}

/// Whoever was killed behind the queue adds again what people have removed meanwhile.
#[test]
fn a_key_outlives_its_message() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(true).unwrap();
    let keyed = |key: &str, message_id: &str| Job {
        key: Some(key.to_owned()),
        message_id: message_id.to_owned(),
        ..job(&["c@y.example", "b@y.example"])
    };
    let jobs = ["sent", "purged", "held"].map(|key| keyed(key, "<first@x.example>"));
    let names: Vec<String> = store.add_at(&jobs, 0).unwrap().into_iter().map(|(name, _)| name).collect();
    let sent = claim(&mut store, &worker, 0).unwrap();
    let outcomes = ["b@y.example", "c@y.example"].map(|to| outcome(to, State::Accepted, "ok"));
    settle(&mut store, &sent, &outcomes, Next::Done, 1_000);
    store.hold(&names[2]).unwrap();
    let before = now();
    store.remove(&names[2]).unwrap();
    assert_eq!((store.purge(Status::Done).unwrap(), store.purge(Status::Waiting).unwrap()), (1, 1));
    assert_eq!(store.forget(1_000, 9).unwrap(), 0);
    let again = |store: &mut Store| {
        let jobs = ["sent", "purged", "held"].map(|key| keyed(key, "<second@x.example>"));
        store.add(&jobs).unwrap()
    };
    let first = First {
        message_id: "<first@x.example>".to_owned(),
        recipients: vec!["c@y.example".to_owned(), "b@y.example".to_owned()],
    };
    let known: Vec<Added> = names.iter().map(|name| (name.clone(), Some(first.clone()))).collect();
    assert_eq!(again(&mut store), known);
    assert_eq!(store.stats(0).unwrap(), Stats::default());
    // Sent: known from its end on, not from its removal.
    store.forget(before, 9).unwrap();
    assert_eq!(again(&mut store).iter().map(|(_, first)| first.is_none()).collect::<Vec<_>>(), [true, false, false]);
    store.forget(NEVER, 1).unwrap();
    store.forget(NEVER, 9).unwrap();
    assert_eq!(again(&mut store).iter().filter(|(_, first)| first.is_none()).count(), 2);
}

#[test]
fn people_decide() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(true).unwrap();
    let name = add(&mut store, Job { due: Some(NEVER - 1), ..job(&["b@y.example", "c@y.example"]) }, 100);
    assert!(claim(&mut store, &worker, 1_000).is_none());
    store.retry(&name[..4]).unwrap();
    let soon = now() + 1;
    let taken = claim(&mut store, &worker, soon).unwrap();
    for refused in [store.hold(&name), store.remove(&name), store.retry(&name), store.release(&name, true)] {
        assert!(matches!(refused, Err(QueueError::Standing { status: Status::Leased, .. })), "{refused:?}");
    }
    let outcomes = [outcome("b@y.example", State::Unknown, "who knows"), outcome("c@y.example", State::Accepted, "ok")];
    settle(&mut store, &taken, &outcomes, Next::Done, soon);
    let entry = store.show(&name).unwrap();
    assert_eq!((entry.outline.status, entry.outline.open), (Status::Held, 0));
    assert_eq!(entry.outline.why.unwrap(), "nobody knows whether it was sent: 250 who knows");
    assert!(matches!(store.release(&name, false), Err(QueueError::OnlyUnknown(_))));
    assert!(store.retry(&name).is_err());
    store.hold(&name).unwrap();
    store.release(&name, true).unwrap();
    let again = claim(&mut store, &worker, now() + 1).unwrap();
    assert_eq!(recipients(&again), ["b@y.example"]);
    settle(&mut store, &again, &[], Next::Again(NEVER - 1), soon);
    store.hold(&name).unwrap();
    assert_eq!(store.show(&name).unwrap().outline.why.unwrap(), "held by hand");
    store.remove(&name).unwrap();
    for name in [&name, "", "x", "w", "../../etc", &"0".repeat(21)] {
        assert!(matches!(store.show(name), Err(QueueError::Unknown(_))), "{name}");
    }
    let names: Vec<String> = (0..40).map(|_| add(&mut store, job(&["b@y.example"]), 1)).collect();
    // There are 32 characters.
    let ambiguous = names.iter().filter(|name| matches!(store.show(&name[..1]), Err(QueueError::Ambiguous(_)))).count();
    assert!(ambiguous >= 2);
    assert_eq!((store.purge(Status::Leased).unwrap(), store.purge(Status::Waiting).unwrap()), (0, 40));
}

#[test]
fn what_is_held_and_released_goes_when_it_was_meant_to() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(true).unwrap();
    let later = now() + 3_600_000;
    let meant = add(&mut store, Job { due: Some(later), ..job(&["b@y.example"]) }, 100);
    let deferred = add(&mut store, job(&["b@y.example"]), 100);
    let taken = claim(&mut store, &worker, 100).unwrap();
    settle(&mut store, &taken, &[], Next::Again(later), 200);
    for name in [&meant, &deferred] {
        store.hold(name).unwrap();
        store.release(name, false).unwrap();
    }
    assert_eq!(store.show(&meant).unwrap().outline.due, Some(later));
    assert!(store.show(&deferred).unwrap().outline.due.unwrap() < later);
}

#[test]
fn what_is_said_of_a_message_is_for_whom_it_waits() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(true).unwrap();
    let name = add(&mut store, job(&["b@y.example", "c@y.example", "d@y.example"]), 0);
    let why = |store: &mut Store| store.show(&name).unwrap().outline.why;
    let first = claim(&mut store, &worker, 0).unwrap();
    settle(&mut store, &first, &[outcome("c@y.example", State::Deferred, "later")], Next::More, 0);
    settle(&mut store, &first, &[outcome("d@y.example", State::Failed, "no")], Next::More, 0);
    settle(&mut store, &first, &[outcome("b@y.example", State::Accepted, "ok")], Next::Again(0), 0);
    assert_eq!(why(&mut store).unwrap(), "250 later");
    // Held, it is why; and nothing of that stays.
    store.hold(&name).unwrap();
    assert_eq!(why(&mut store).unwrap(), "held by hand");
    settle(&mut store, &first, &[outcome("b@y.example", State::Accepted, "ok")], Next::Again(0), 0);
    assert_eq!(why(&mut store).unwrap(), "held by hand");
    store.release_at(&name, false, 0).unwrap();
    assert_eq!(why(&mut store).unwrap(), "250 later");
    let second = claim(&mut store, &worker, 0).unwrap();
    settle(&mut store, &second, &[outcome("c@y.example", State::Accepted, "ok")], Next::Done, 0);
    assert_eq!(why(&mut store).unwrap(), "250 no", "what went wrong is of more interest");

    // One that was never tried says nothing, unless its worker has died.
    let name = add(&mut store, job(&["b@y.example"]), 0);
    let why = |store: &mut Store| store.show(&name).unwrap().outline.why;
    store.hold(&name).unwrap();
    store.release_at(&name, false, 0).unwrap();
    assert_eq!(why(&mut store), None);
    claim(&mut store, &worker, 0).unwrap();
    drop(worker);
    assert_eq!(store.recover(0, false).unwrap(), (1, 0));
    assert_eq!(why(&mut store).unwrap(), "the worker died before it was sent");
}

#[test]
fn a_released_message_has_time_to_be_sent() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(true).unwrap();
    let name = add(&mut store, Job { expires: 700, ..job(&["b@y.example"]) }, 100);
    store.hold(&name).unwrap();
    let before = now();
    store.release(&name, false).unwrap();
    let expires = store.show(&name).unwrap().outline.expires;
    assert!((before + 600..=now() + 600).contains(&expires), "{expires}");
    assert!(claim(&mut store, &worker, before).is_some() || claim(&mut store, &worker, now() + 1).is_some());
}

#[test]
fn figures() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(true).unwrap();
    for due in [None, Some(400), Some(100), Some(50)] {
        add(&mut store, Job { due, ..job(&["b@y.example"]) }, 200);
    }
    let held = claim(&mut store, &worker, 300).unwrap();
    settle(&mut store, &held, &[], Next::Held("\u{1b}[2J".to_owned()), 300);
    let size = job(&["b@y.example"]).content.len();
    let stats = store.stats(300).unwrap();
    assert_eq!((stats.waiting, stats.due, stats.leased, stats.held, stats.done), (3, 2, 0, 1, 0));
    assert_eq!((stats.octets, stats.oldest_due), (4 * size, Some(200)));
    let mut why = None;
    store.list(&[Status::Held], &mut |outline| why.clone_from(&outline.why)).unwrap();
    assert_eq!(why.as_deref(), Some("\u{FFFD}[2J"));
    assert!(claim(&mut store, &worker, 300).is_some());
    assert_eq!(store.stats(300).unwrap().leased, 1);
    assert_eq!(store.purge(Status::Held).unwrap(), 1);
    assert_eq!(store.stats(0).unwrap().oldest_due, None);
}

#[test]
fn a_clock_that_is_set_back_makes_nobody_wait_longer_than_was_meant() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(true).unwrap();
    let hour = 3_600_000;
    add(&mut store, job(&["b@y.example"]), 10 * hour);
    add(&mut store, Job { due: Some(9 * hour), ..job(&["c@y.example"]) }, 10 * hour);
    let first = claim(&mut store, &worker, hour).unwrap();
    assert_eq!(recipients(&first), ["b@y.example"]);
    settle(&mut store, &first, &[], Next::Again(11 * hour), 10 * hour);
    // Back by nine hours: in one hour from now, as was meant.
    assert!(claim(&mut store, &worker, hour).is_none());
    assert!(claim(&mut store, &worker, 2 * hour - 1).is_none());
    let second = claim(&mut store, &worker, 2 * hour).unwrap();
    assert_eq!((recipients(&second), second.attempts), (vec!["b@y.example".to_owned()], 1));
    // A moment that somebody has named stays.
    assert!(claim(&mut store, &worker, 9 * hour - 1).is_none());
    assert_eq!(recipients(&claim(&mut store, &worker, 9 * hour).unwrap()), ["c@y.example"]);
}

#[test]
fn whoever_still_talks_keeps_its_messages() {
    let queue = Queue::new();
    let (mut store, mut other) = (queue.open(), queue.open());
    let (worker, thief) = (store.worker(true).unwrap(), other.worker(true).unwrap());
    for _ in 0..3 {
        add(&mut store, job(&["b@y.example"]), 0);
    }
    let [first, second, third]: [Claim; 3] = store.claim(&worker, 3, 0, LEASE).unwrap().try_into().unwrap();
    assert_eq!(store.intend(&[(second.id, second.generation)], 1).unwrap(), [true]);
    store.renew(&worker, 200_000, LEASE).unwrap();
    assert_eq!(other.recover(300_000, false).unwrap(), (0, 0));
    assert_eq!(other.recover(499_999, false).unwrap(), (0, 0));
    // Suspended: its lease runs out.
    assert_eq!(other.recover(500_000, false).unwrap(), (2, 1));
    let stolen = other.claim(&thief, 1, 500_000, LEASE).unwrap().remove(0);
    assert_eq!((stolen.id, stolen.generation), (first.id, 2));
    let keys: Vec<_> = [&first, &second, &third].map(|claim| (claim.id, claim.generation)).to_vec();
    assert_eq!(store.intend(&keys, 500_001).unwrap(), [false; 3]);
    // Of the second it knows more than those who doubted.
    settle(
        &mut store,
        &second,
        &[outcome("b@y.example", State::Deferred, "4.2.0 later")],
        Next::Again(700_000),
        500_002,
    );
    assert_eq!(store.next_due().unwrap(), Some(0));
    assert_eq!(recipients(&claim(&mut store, &worker, 700_000).unwrap()).len(), 1);
    assert_eq!(recipients(&claim(&mut store, &worker, 700_000).unwrap()).len(), 1);
    // Of the first, what was accepted is the truth, whoever has it now.
    settle(&mut store, &first, &[outcome("b@y.example", State::Failed, "no")], Next::Done, 700_001);
    assert_eq!(other.intend(&[(stolen.id, stolen.generation)], 700_002).unwrap(), [true]);
    settle(&mut store, &first, &[outcome("b@y.example", State::Accepted, "ok")], Next::Again(1), 700_003);
    assert_eq!(other.intend(&[(stolen.id, stolen.generation)], 700_004).unwrap(), [false]);
    settle(&mut other, &stolen, &[outcome("b@y.example", State::Failed, "no")], Next::Again(0), 700_005);
    let mut done = Vec::new();
    store.list(&[Status::Done], &mut |outline| done.push(outline.why.clone().unwrap())).unwrap();
    assert_eq!(done, ["250 ok"]);
}

#[test]
fn four_workers_take_each_message_once() {
    let queue = Queue::new();
    let mut store = queue.open();
    let jobs: Vec<Job> = (0..2_000).map(|_| job(&["b@y.example"])).collect();
    for some in jobs.chunks(200) {
        store.add_at(some, 0).unwrap();
    }
    let drain = || {
        let mut store = queue.open();
        let worker = store.worker(false).unwrap();
        let mut taken = Vec::new();
        loop {
            let claims = store.claim(&worker, 50, 0, LEASE).unwrap();
            if claims.is_empty() {
                return taken;
            }
            let keys: Vec<_> = claims.iter().map(|claim| (claim.id, claim.generation)).collect();
            assert!(store.intend(&keys, 0).unwrap().into_iter().all(|may| may));
            let outcomes = [outcome("b@y.example", State::Accepted, "ok")];
            let settlement = |claim: &Claim| Settlement {
                id: claim.id,
                generation: claim.generation,
                outcomes: &outcomes,
                next: Next::Done,
                is_told: true,
                report: None,
            };
            store.settle(&claims.iter().map(settlement).collect::<Vec<_>>(), 0).unwrap();
            taken.extend(claims.iter().map(|claim| claim.id));
        }
    };
    let mut taken: Vec<i64> = std::thread::scope(|scope| {
        let drains: Vec<_> = (0..4).map(|_| scope.spawn(drain)).collect();
        drains.into_iter().flat_map(|drain| drain.join().unwrap()).collect()
    });
    taken.sort_unstable();
    assert_eq!(taken, (1..=2_000).collect::<Vec<_>>());
    let stats = store.stats(0).unwrap();
    assert_eq!((stats.done, stats.waiting, stats.octets), (2_000, 0, 0));
    let mut count = 0;
    store.list(&Status::ALL, &mut |_| count += 1).unwrap();
    assert_eq!(count, 2_000);
    assert_eq!(store.forget(1, 3_000).unwrap(), 2_000);
}

#[test]
fn what_is_held_without_a_way_is_free_once_there_is_one() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(true).unwrap();
    let place = |name: &str| Place { profile: Some(name.to_owned()), ..Place::default() };
    let names = ["a", "a", "a", "b"]
        .map(|profile| add(&mut store, Job { place: place(profile), expires: 500, ..job(&["b@y.example"]) }, 100));
    let claims = store.claim(&worker, 9, 200, LEASE).unwrap();
    for claim in &claims {
        settle(&mut store, claim, &[], Next::HeldWithoutWay("no such profile".to_owned()), 200);
    }
    let standing = |store: &mut Store| {
        names.each_ref().map(|name| {
            let outline = store.show(name).unwrap().outline;
            (outline.status, outline.why, outline.attempts, outline.expires)
        })
    };
    let held = (Status::Held, Some("no such profile".to_owned()), 0, 500);
    assert_eq!(standing(&mut store), [&held; 4].map(Clone::clone));
    assert_eq!(store.places_without_way().unwrap(), [place("a"), place("b")]);
    // Whoever holds one by hand, or for another reason, decides alone; whoever has released one did.
    store.hold(&names[0]).unwrap();
    store.release_at(&names[1], false, 300).unwrap();
    let taken = claim(&mut store, &worker, 300).unwrap();
    settle(&mut store, &taken, &[], Next::Held("unreadable".to_owned()), 300);
    assert_eq!(store.free_with_way(&[place("c")], 400).unwrap(), 0);
    assert_eq!(store.free_with_way(&[place("a")], 600).unwrap(), 1);
    let unreadable = (Status::Held, Some("unreadable".to_owned()), 0, 500);
    let free = (Status::Waiting, None, 0, 1_000);
    assert_eq!(standing(&mut store), [held.clone(), unreadable, free, held]);
    assert_eq!(claim(&mut store, &worker, 600).unwrap().name, names[2]);
    assert_eq!(store.places_without_way().unwrap(), [place("b")]);
}

#[test]
fn places_can_be_passed_over() {
    let queue = Queue::new();
    let mut store = queue.open();
    let place = |profile: Option<&str>, settings: &[(&str, &str)]| Place {
        profile: profile.map(str::to_owned),
        server: None,
        settings: settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    let places =
        [place(None, &[]), place(Some("a"), &[]), place(Some("a"), &[("host", "\"x\"")]), place(Some("ü'"), &[])];
    let jobs: Vec<Job> = places.iter().map(|place| Job { place: place.clone(), ..job(&["b@y.example"]) }).collect();
    store.add(&jobs).unwrap();
    let worker = store.worker(false).unwrap();
    let taken = |store: &mut Store, without: &[Place]| {
        store.pass_over(without);
        let claims = store.claim(&worker, 10, 1, LEASE).unwrap();
        claims.into_iter().map(|claim| claim.place).collect::<Vec<_>>()
    };
    assert_eq!(taken(&mut store, &places), []);
    assert_eq!(taken(&mut store, &[&places[..1], &places[2..]].concat()), places[1..2]);
    assert_eq!(taken(&mut store, &places[2..3]), [places[0].clone(), places[3].clone()]);
    assert_eq!(taken(&mut store, &[]), places[2..3]);
}
