//! Any order of what workers, people, clocks and deaths do, against the simplest model of it.

use proptest::prelude::*;

use super::*;

const WORKERS: usize = 3;
const RECIPIENTS: [&str; 2] = ["b@y.example", "c@y.example"];
const LEASE: i64 = 300;

#[derive(Debug, Clone)]
enum Act {
    Add { due_in: Option<i64> },
    Claim { worker: usize, most: usize },
    Intend { claim: usize },
    Settle { claim: usize, states: [Option<State>; 2], next: u8 },
    Renew { worker: usize },
    Kill { worker: usize },
    Recover { retries_unknown: bool },
    Hold { job: usize },
    Release { job: usize, is_unknown_too: bool },
    FindWay,
    Clock { by: i64 },
}

fn act() -> impl Strategy<Value = Act> {
    let known = [State::Accepted, State::Deferred, State::Failed, State::Unknown].map(Some);
    let state = prop::sample::select([&[None][..], &known].concat());
    let n = 0..64_usize;
    prop_oneof![
        3 => prop::option::of(0..200_i64).prop_map(|due_in| Act::Add { due_in }),
        6 => (0..WORKERS, 1..4_usize).prop_map(|(worker, most)| Act::Claim { worker, most }),
        4 => n.clone().prop_map(|claim| Act::Intend { claim }),
        6 => (n.clone(), state.clone(), state, 0..7_u8)
            .prop_map(|(claim, b, c, next)| Act::Settle { claim, states: [b, c], next }),
        1 => (0..WORKERS).prop_map(|worker| Act::Renew { worker }),
        1 => (0..WORKERS).prop_map(|worker| Act::Kill { worker }),
        2 => any::<bool>().prop_map(|retries_unknown| Act::Recover { retries_unknown }),
        1 => n.clone().prop_map(|job| Act::Hold { job }),
        1 => (n, any::<bool>()).prop_map(|(job, is_unknown_too)| Act::Release { job, is_unknown_too }),
        1 => Just(Act::FindWay),
        3 => (-400..400_i64).prop_map(|by| Act::Clock { by }),
    ]
}

/// A message as the model has it.
#[derive(Debug)]
struct Known {
    name: String,
    status: Status,
    generation: i64,
    states: [Option<State>; 2],
    due: i64,
    since: Option<i64>,
    worker: String,
    lease: i64,
    has_intent: bool,
    /// Where it is held: until there is a way.
    has_no_way: bool,
}

impl Known {
    fn open(&self) -> Vec<&'static str> {
        RECIPIENTS.into_iter().zip(self.states).filter(|(_, state)| is_open(*state)).map(|(open, _)| open).collect()
    }

    fn has_unknown(&self) -> bool {
        self.states.contains(&Some(State::Unknown))
    }

    fn conclude(&mut self) {
        self.status = if self.has_unknown() { Status::Held } else { Status::Done };
        self.has_no_way = false;
    }

    fn replace(&mut self, when: impl Fn(Option<State>) -> bool, by: State) {
        self.states.iter_mut().filter(|state| when(**state)).for_each(|state| *state = Some(by));
    }

    fn wait(&mut self, due: i64, now: i64) {
        (self.status, self.due, self.since) = (Status::Waiting, due, Some(now));
    }

    fn settle(&mut self, generation: i64, states: [Option<State>; 2], next: &Next, now: i64) {
        let is_latest = generation == self.generation && self.status != Status::Done;
        let has_lease = is_latest && self.status == Status::Leased;
        for (own, new) in self.states.iter_mut().zip(states) {
            if new.is_some() && *own != Some(State::Accepted) && (is_latest || new == Some(State::Accepted)) {
                *own = new;
            }
        }
        let is_over = self.open().is_empty() && !self.has_unknown();
        match next {
            _ if !is_latest && !is_over => {}
            Next::More if has_lease => {}
            Next::Done => self.conclude(),
            _ if is_over => self.status = Status::Done,
            Next::AgainUnknown(at) => {
                self.replace(|state| state == Some(State::Unknown), State::Deferred);
                self.wait(*at, now);
            }
            Next::More => {}
            _ if !has_lease && self.has_unknown() => {}
            Next::Held(_) => (self.status, self.has_no_way) = (Status::Held, false),
            Next::HeldWithoutWay(_) if !self.open().is_empty() => (self.status, self.has_no_way) = (Status::Held, true),
            _ if self.open().is_empty() => self.conclude(),
            Next::Again(at) | Next::Released(Some(at)) => self.wait(*at, now),
            Next::Released(None) | Next::HeldWithoutWay(_) => self.status = Status::Waiting,
        }
    }
}

fn is_open(state: Option<State>) -> bool {
    matches!(state, None | Some(State::Deferred))
}

struct Course {
    store: Store,
    workers: Vec<Worker>,
    known: Vec<Known>,
    /// All that were ever handed out.
    claims: Vec<Claim>,
    now: i64,
}

impl Course {
    fn act(&mut self, act: &Act) {
        let now = self.now;
        let lease = Duration::from_millis(LEASE as u64);
        match act {
            Act::Add { due_in } => self.add(*due_in),
            Act::Claim { worker, most } => self.claim(*worker, *most),
            Act::Intend { claim } => {
                let Some(claim) = latest(&self.claims, *claim) else { return };
                let known = &mut self.known[claim.id as usize - 1];
                let may = known.status == Status::Leased && known.generation == claim.generation;
                assert_eq!(self.store.intend(&[(claim.id, claim.generation)], now).unwrap(), [may]);
                known.has_intent |= may;
            }
            Act::Settle { claim, states, next } => self.settle(*claim, *states, *next),
            Act::Renew { worker } => {
                let worker = &self.workers[*worker];
                self.store.renew(worker, now, lease).unwrap();
                let own = |known: &&mut Known| known.status == Status::Leased && known.worker == worker.name();
                self.known.iter_mut().filter(own).for_each(|known| known.lease = now + LEASE);
            }
            Act::Kill { worker } => self.workers[*worker] = self.store.worker(false).unwrap(),
            Act::Recover { retries_unknown } => self.recover(*retries_unknown),
            Act::Hold { job } => {
                let Some(known) = latest_mut(&mut self.known, *job) else { return };
                let may = matches!(known.status, Status::Waiting | Status::Held);
                assert_eq!(self.store.hold(&known.name).is_ok(), may);
                if may {
                    (known.status, known.generation) = (Status::Held, known.generation + 1);
                    known.has_no_way = false;
                }
            }
            Act::Release { job, is_unknown_too } => {
                let Some(known) = latest_mut(&mut self.known, *job) else { return };
                let may = known.status == Status::Held
                    && (!known.open().is_empty() || *is_unknown_too || !known.has_unknown());
                assert_eq!(self.store.release_at(&known.name, *is_unknown_too, now).is_ok(), may);
                if may {
                    if *is_unknown_too {
                        known.replace(|state| state == Some(State::Unknown), State::Deferred);
                    }
                    known.generation += 1;
                    known.status = Status::Waiting;
                    // A moment that somebody has named stays.
                    if known.since.is_some() || known.due <= now {
                        known.wait(now, now);
                    }
                }
            }
            Act::FindWay => {
                let is_waiting = |known: &&mut Known| known.status == Status::Held && known.has_no_way;
                let mut count = 0;
                for known in self.known.iter_mut().filter(is_waiting) {
                    (known.status, known.generation) = (Status::Waiting, known.generation + 1);
                    count += 1;
                }
                assert_eq!(self.store.free_with_way(&[Place::default()], now).unwrap(), count);
            }
            Act::Clock { by } => self.now += by,
        }
    }

    fn add(&mut self, due_in: Option<i64>) {
        let due = due_in.map(|due| self.now + due);
        let name = add(&mut self.store, Job { due, ..job(&RECIPIENTS) }, self.now);
        self.known.push(Known {
            name,
            status: Status::Waiting,
            generation: 0,
            states: [None, None],
            due: due.unwrap_or(self.now),
            since: due.is_none().then_some(self.now),
            worker: String::new(),
            lease: 0,
            has_intent: false,
            has_no_way: false,
        });
    }

    fn claim(&mut self, worker: usize, most: usize) {
        let (worker, now) = (&self.workers[worker], self.now);
        let claims = self.store.claim(worker, most, now, Duration::from_millis(LEASE as u64)).unwrap();
        for known in self.known.iter_mut().filter(|known| known.status == Status::Waiting) {
            if let Some(since) = known.since.filter(|since| *since > now) {
                (known.due, known.since) = (known.due - since + now, Some(now));
            }
        }
        let is_due = |at: &usize| self.known[*at].status == Status::Waiting && self.known[*at].due <= now;
        let mut due: Vec<usize> = (0..self.known.len()).filter(is_due).collect();
        due.sort_by_key(|at| (self.known[*at].due, *at));
        due.truncate(most);
        // Nobody is left of these: another lease has told of the last.
        due.retain(|at| {
            let known = &mut self.known[*at];
            let is_left = !known.open().is_empty();
            if !is_left {
                known.generation += 1;
                known.conclude();
            }
            is_left
        });
        let taken: Vec<usize> = claims.iter().map(|claim| claim.id as usize - 1).collect();
        assert_eq!(taken, due);
        for claim in &claims {
            let known = &mut self.known[claim.id as usize - 1];
            assert!(claim.generation > known.generation);
            assert_eq!(recipients(claim), known.open());
            (known.status, known.generation, known.has_intent) = (Status::Leased, claim.generation, false);
            (known.worker, known.lease) = (worker.name().to_owned(), now + LEASE);
        }
        self.claims.extend(claims);
    }

    fn settle(&mut self, claim: usize, states: [Option<State>; 2], next: u8) {
        let Some(claim) = latest(&self.claims, claim) else { return };
        let said = RECIPIENTS.into_iter().zip(states);
        let outcomes: Vec<_> = said.filter_map(|(to, state)| Some(outcome(to, state?, "said"))).collect();
        let next = match next {
            0 => Next::More,
            // Who says that it is over has an outcome for everybody.
            1 if states.into_iter().any(is_open) => Next::More,
            1 => Next::Done,
            2 => Next::Again(self.now + 100),
            3 => Next::AgainUnknown(self.now + 100),
            4 => Next::Held("why".to_owned()),
            5 => Next::HeldWithoutWay("why".to_owned()),
            _ => Next::Released(None),
        };
        self.known[claim.id as usize - 1].settle(claim.generation, states, &next, self.now);
        settle(&mut self.store, claim, &outcomes, next, self.now);
    }

    fn recover(&mut self, retries_unknown: bool) {
        let counts = self.store.recover(self.now, retries_unknown).unwrap();
        let mut expected = (0, 0);
        for known in self.known.iter_mut().filter(|known| known.status == Status::Leased) {
            let lives = self.workers.iter().any(|worker| worker.name() == known.worker);
            if lives && known.lease > self.now {
                continue;
            }
            match (known.open().is_empty(), known.has_intent) {
                (true, _) => known.conclude(),
                (false, false) => {
                    known.status = Status::Waiting;
                    expected.0 += 1;
                }
                (false, true) => {
                    known.replace(is_open, if retries_unknown { State::Deferred } else { State::Unknown });
                    known.status = if retries_unknown { Status::Waiting } else { Status::Held };
                    known.has_no_way = false;
                    expected.1 += 1;
                }
            }
        }
        assert_eq!(counts, expected);
    }

    /// Nothing is lost, and everything stands where it has to.
    fn check(&mut self) {
        for known in &self.known {
            let entry = self.store.show(&known.name).unwrap();
            let states: Vec<_> = entry.all.iter().map(|recipient| recipient.state).collect();
            assert_eq!((entry.outline.status, &states[..]), (known.status, &known.states[..]), "{known:?}");
            assert_eq!(self.store.content(&known.name).unwrap().is_none(), known.status == Status::Done);
        }
    }
}

/// One of the latest: they are the most interesting.
fn latest<T>(all: &[T], at: usize) -> Option<&T> {
    all.get(all.len().checked_sub(1 + at % all.len().clamp(1, 8))?)
}

fn latest_mut<T>(all: &mut [T], at: usize) -> Option<&mut T> {
    all.get_mut(all.len().checked_sub(1 + at % all.len().clamp(1, 8))?)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_accepted_is_sent_again(acts in prop::collection::vec(act(), 1..60)) {
        let queue = Queue::new();
        let store = queue.open();
        let workers = (0..WORKERS).map(|_| store.worker(false).unwrap()).collect();
        let mut course = Course { store, workers, known: Vec::new(), claims: Vec::new(), now: 1_000_000 };
        for act in &acts {
            course.act(act);
            course.check();
        }
    }
}
