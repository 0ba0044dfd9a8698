use std::{path::PathBuf, sync::Arc};

use super::*;
use crate::{
    mail::{Content, DsnNotify, DsnRequest, DsnReturn, Envelope, Mailbox, Outcome, Reply, Route, Stage, State},
    message::Blocks,
    queue::{Claim, Job, Next, Place, Settlement, Status},
};

const LEASE: Duration = Duration::from_secs(300);
const NEVER: Time = i64::MAX;

struct Queue {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Queue {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/queue.sqlite");
        Self { folder, path }
    }

    fn open(&self) -> Store {
        Store::open(&self.path).unwrap()
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
    let settlement = Settlement { id: claim.id, generation: claim.generation, outcomes, next };
    store.settle(&[settlement], now).unwrap();
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
    let [(name, true)] = &store.add_at(&[job.clone()], 1_000).unwrap()[..] else { panic!("not added") };
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
    assert_eq!(entry.outline.why.as_deref(), Some("250 no"));
    let states: Vec<_> = entry.all.iter().map(|one| (one.address.as_str(), one.state.unwrap())).collect();
    assert_eq!(states, [("b@y.example", State::Accepted), ("\"c d\"@y.example", State::Failed)]);
    assert!(store.content(name).unwrap().is_none());
    store.sync().unwrap();
}
