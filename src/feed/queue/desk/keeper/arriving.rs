//! Messages come: ours, those of other programs, and those that we have already.

use std::{future::poll_fn, sync::Arc, task::Poll};

use tokio::task::JoinError;

use super::{Errand, Keeper, whole};
use crate::{
    feed::queue::{
        Facts, Maker, Refusal,
        desk::{
            broker::Told,
            taken::{Key, LEFT_ALONE, Taken},
        },
    },
    mail::Trouble,
    message::Stamp,
    queue::{
        Foreign, Letter, Time,
        amqp::{Arrival, Link, Pause},
    },
};

/// Messages taken in one go.
const MANY: usize = 100;
/// A message that has come so often has ended its workers, or is of no use to any.
const TOO_OFTEN: u64 = 10;
/// One that has come so often is published once more instead of being given back: RabbitMQ counts that, too.
const OFTEN: u64 = 5;

/// Messages that have come by this connection, each as a letter or with the reason why it is none.
pub(super) type Made = (i64, Vec<(Arrival, Key, Result<Letter, NoLetter>)>);

/// Why a delivery is no letter.
pub(super) enum NoLetter {
    /// It never will be.
    Never(String),
    /// It may be later: it is not its own fault.
    Now(String),
}

impl Keeper {
    pub(super) fn arrived(&mut self, arrivals: Result<Vec<Arrival>, Trouble>) {
        let arrivals = match arrivals {
            Ok(arrivals) => arrivals,
            // Asked to deliver nothing more, it ends.
            Err(_) if self.stopped.is_some() => return self.is_silent = true,
            Err(trouble) => return self.lose(trouble),
        };
        let mut letters = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            let key = key(&arrival);
            if self.stopped.is_some() {
                self.give_back(arrival);
            } else if let Some(id) = self.orphan(&arrival, &key) {
                self.adopt(id, arrival);
            } else if self.is_over(&arrival, &key) {
                self.errand(Errand::Over(arrival.ticket));
            } else if arrival.times >= TOO_OFTEN {
                let reason = format!("{} workers have had it and not settled it", arrival.times);
                self.errand(Errand::Bury(arrival, reason));
            } else if arrival.is_letter {
                letters.push((arrival, key));
            } else {
                // One may take long, and the others do not wait for it.
                self.make(vec![(arrival, key)]);
            }
        }
        if !letters.is_empty() {
            self.make(letters);
        }
    }

    fn make(&mut self, arrivals: Vec<(Arrival, Key)>) {
        let (maker, epoch, now) = (self.broking.maker.clone(), self.epoch, self.now());
        self.making.spawn_blocking(move || {
            let make = |(arrival, key): (Arrival, Key)| {
                let letter = letter(&arrival, &key, &maker, now);
                (arrival, key, letter)
            };
            (epoch, arrivals.into_iter().map(make).collect())
        });
    }

    /// Nobody has begun it.
    fn give_back(&mut self, arrival: Arrival) {
        self.errand(match arrival.times >= OFTEN {
            true => Errand::Again(arrival, None),
            false => Errand::Back(arrival.ticket),
        });
    }

    /// The same, of one whose octets are in its letter.
    pub(super) fn give_back_taken(&mut self, taken: Taken) {
        let Taken { arrival, letter, .. } = taken;
        self.errand(match arrival.times >= OFTEN {
            true => Errand::Letter(Box::new(letter), arrival.ticket, None),
            false => Errand::Back(arrival.ticket),
        });
    }

    /// A message that we have already, of a connection that has gone.
    fn orphan(&mut self, arrival: &Arrival, key: &Key) -> Option<i64> {
        if !arrival.is_redelivered {
            return None;
        }
        let ids = self.orphans.get_mut(key)?;
        let id = ids.pop();
        if ids.is_empty() {
            self.orphans.remove(key);
        }
        id
    }

    /// We have settled it, and RabbitMQ has not heard of it.
    fn is_over(&mut self, arrival: &Arrival, key: &Key) -> bool {
        match self.over.get_mut(key) {
            Some(times) if arrival.is_redelivered && *times > 0 => {
                *times -= 1;
                true
            }
            _ => false,
        }
    }

    fn adopt(&mut self, id: i64, mut arrival: Arrival) {
        arrival.octets = Vec::new();
        let now = self.now();
        let Some(taken) = self.taken.get_mut(&id) else { return self.errand(Errand::Over(arrival.ticket)) };
        (taken.arrival, taken.epoch) = (arrival, self.epoch);
        if taken.is_parked {
            self.parked.insert((now, id));
        } else if let Some(work) = taken.work.take() {
            self.settle(id, work);
        }
    }

    pub(super) fn made(&mut self, made: Result<Made, JoinError>) {
        let (epoch, made) = whole(made);
        // They come once more.
        if epoch != self.epoch || self.link.is_none() {
            return;
        }
        let (now, mut claims) = (self.now(), Vec::with_capacity(made.len()));
        for (mut arrival, key, letter) in made {
            let letter = match letter {
                Ok(letter) => letter,
                Err(NoLetter::Never(reason)) => {
                    self.errand(Errand::Bury(arrival, reason));
                    continue;
                }
                Err(NoLetter::Now(reason)) => {
                    self.told(Told::Warning(reason));
                    self.errand(Errand::Again(arrival, Some(Pause::About(LEFT_ALONE))));
                    continue;
                }
            };
            if self.stopped.is_some() {
                self.give_back(arrival);
                continue;
            }
            if let Some(due) = letter.job.due.filter(|due| *due > now) {
                self.errand(Errand::Again(arrival, Some(Pause::AtMost(due - now))));
                continue;
            }
            // The letter has them.
            arrival.octets = Vec::new();
            self.next_id += 1;
            let taken = Taken::new(arrival, key, epoch, letter);
            claims.push(taken.claim(self.next_id));
            self.taken.insert(self.next_id, taken);
        }
        if !claims.is_empty() {
            self.told(Told::Claimed(claims));
        }
    }
}

/// What another program asks for, or a letter of ours, as a letter.
fn letter(arrival: &Arrival, key: &Key, maker: &Maker, now: Time) -> Result<Letter, NoLetter> {
    if arrival.is_letter {
        return Letter::decode(&arrival.octets).map_err(NoLetter::Never);
    }
    let foreign = Foreign::parse(&arrival.octets).map_err(NoLetter::Never)?;
    let mark: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let published = arrival.timestamp.and_then(|seconds| Time::try_from(seconds).ok()?.checked_mul(1000));
    let facts = Facts { mark, published: published.unwrap_or(now) };
    let job = (maker.0)(foreign, &facts).map_err(|refusal| match refusal {
        Refusal { reason, is_passing: true } => NoLetter::Now(reason),
        Refusal { reason, is_passing: false } => NoLetter::Never(reason),
    })?;
    Letter::new(Stamp::now().mark(), job, facts.published).whole().map_err(NoLetter::Never)
}

/// By what a delivery is known again.
fn key(arrival: &Arrival) -> Key {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    digest.update(arrival.message_id.as_deref().unwrap_or_default().as_bytes());
    digest.update(&[0]);
    digest.update(&arrival.timestamp.unwrap_or_default().to_be_bytes());
    digest.update(&arrival.octets);
    let mut key = Key::default();
    for (octet, digested) in key.iter_mut().zip(digest.finish().as_ref()) {
        *octet = *digested;
    }
    key
}

/// Everything that has come by now.
pub(super) async fn arrivals(link: Option<&Arc<Link>>) -> Result<Vec<Arrival>, Trouble> {
    let Some(link) = link else { return std::future::pending().await };
    poll_fn(|context| {
        let mut arrivals = Vec::new();
        while arrivals.len() < MANY {
            match link.poll_arrival(context) {
                Poll::Ready(Ok(arrival)) => arrivals.push(arrival),
                // It is told once more.
                Poll::Ready(Err(_)) if !arrivals.is_empty() => break,
                Poll::Ready(Err(trouble)) => return Poll::Ready(Err(trouble)),
                Poll::Pending => break,
            }
        }
        if arrivals.is_empty() { Poll::Pending } else { Poll::Ready(Ok(arrivals)) }
    })
    .await
}
