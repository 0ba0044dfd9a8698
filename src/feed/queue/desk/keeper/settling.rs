//! What has come of messages: what follows is published, and they are acknowledged.

use tokio::{task::JoinError, time::Instant};

use super::{Errand, Keeper, errands::Patience, whole};
use crate::{
    feed::queue::{
        desk::{
            Note,
            broker::Told,
            taken::{Step, Taken, Work},
        },
        milliseconds_of,
    },
    mail::Trouble,
    queue::{Letter, Next, Time, amqp::Pause},
};

/// What is due within this time waits here, in milliseconds.
const SOON: Time = 60_000;
/// A message that nobody takes now is tried again after this time, in milliseconds.
const AT_ONCE: Time = 200;

/// By this connection a message was settled, or not: with what is left to be done.
pub(super) type Settled = (i64, i64, Work, Result<(), Trouble>);

impl Keeper {
    pub(super) fn note(&mut self, note: Note) {
        let now = self.now();
        let Some(taken) = self.taken.get_mut(&note.id) else { return self.told(Told::Settled(1)) };
        let clock = self.broking.broker.results().is_some().then_some(&mut self.records);
        taken.hear(&note.outcomes, now, clock);
        match &note.next {
            Next::More => self.told(Told::Settled(1)),
            Next::Released(at) if taken.is_untouched() => self.release(note.id, *at),
            _ => match taken.work(&note, &self.draining, now) {
                Ok(work) => self.settle(note.id, work),
                Err(what) => {
                    // What cannot be written goes to the dead, as it came here.
                    let letter = taken.letter.clone();
                    self.told(Told::Warning(what.clone()));
                    let steps = [Step::Bury { letter, reason: what, reply: None }].into();
                    self.settle(note.id, Work { steps, failed: None, waiting: None });
                }
            },
        }
    }

    /// It was not taken: it is tried again here, or by others.
    fn release(&mut self, id: i64, at: Option<Time>) {
        self.told(Told::Settled(1));
        let Some(taken) = self.taken.get(&id) else { return };
        if taken.epoch != self.epoch || self.link.is_none() {
            return self.forget(id);
        }
        let now = self.now();
        let place = &taken.letter.job.place;
        let left_alone = self.alone.iter().find(|(alone, _)| at.is_none() && alone == place).map(|(_, time)| *time);
        let pause = match at {
            Some(at) if at.saturating_sub(now) > SOON => Some(Pause::AtMost(at - now)),
            _ => left_alone.map(|time| Pause::About(milliseconds_of(time))),
        };
        if self.stopped.is_some() {
            if let Some(taken) = self.taken.remove(&id) {
                self.give_back_taken(taken);
            }
            return;
        }
        let Some(pause) = pause else { return self.park(id, at.unwrap_or(now + AT_ONCE)) };
        if let Some(Taken { arrival, mut letter, .. }) = self.taken.remove(&id) {
            letter.job.due = at;
            self.errand(Errand::Letter(Box::new(letter), arrival.ticket, Some(pause)));
        }
    }

    /// It waits here.
    fn park(&mut self, id: i64, at: Time) {
        let (epoch, has_link) = (self.epoch, self.link.is_some());
        if let Some(taken) = self.taken.get_mut(&id) {
            taken.is_parked = true;
            if taken.epoch == epoch && has_link {
                self.parked.insert((at, id));
            }
        }
    }

    pub(super) fn unpark(&mut self) {
        let now = self.now();
        let mut claims = Vec::new();
        while let Some((at, id)) = self.parked.first().copied().filter(|(at, _)| *at <= now) {
            self.parked.remove(&(at, id));
            if let Some(taken) = self.taken.get_mut(&id) {
                taken.is_parked = false;
                claims.push(taken.claim(id));
            }
        }
        if !claims.is_empty() {
            self.told(Told::Claimed(claims));
        }
    }

    /// Publishes what follows of a message, and acknowledges it.
    pub(super) fn settle(&mut self, id: i64, mut work: Work) {
        let link = self.link.clone().filter(|_| self.taken.get(&id).is_some_and(|taken| taken.epoch == self.epoch));
        let Some(link) = link else {
            // If it comes to us once more, it is settled then.
            if let Some(taken) = self.taken.get_mut(&id).filter(|_| self.stopped.is_none()) {
                taken.work = Some(work);
                return;
            }
            self.forget(id);
            return self.told(Told::Settled(1));
        };
        let Some(taken) = self.taken.get(&id) else { return };
        let (epoch, ticket, tell) = (self.epoch, taken.arrival.ticket.clone(), self.tell.clone());
        self.begin_moving();
        self.settling.spawn(async move {
            let mut patience = Patience::new();
            let mut settled = loop {
                let Err(trouble) = work.run(&link).await else { break Ok(()) };
                if let Err(trouble) = patience.wait(&link, &tell, trouble).await {
                    break Err(trouble);
                }
            };
            if settled.is_ok() && work.waiting.is_none() {
                settled = ticket.acknowledge().await;
            }
            (epoch, id, work, settled)
        });
    }

    pub(super) fn settled(&mut self, settled: Result<Settled, JoinError>) {
        self.moved = Instant::now();
        let (epoch, id, mut work, settled) = whole(settled);
        match settled {
            Ok(()) => {
                if let Some(record) = work.failed.take() {
                    self.told(Told::Failed(record));
                }
                match work.waiting.take() {
                    Some((letter, pause)) => self.wait_here(id, letter, pause),
                    None => self.is_acknowledged(epoch, id),
                }
                self.told(Told::Settled(1));
            }
            Err(trouble) => {
                match self.taken.get_mut(&id) {
                    Some(taken) => taken.work = Some(work),
                    None => self.told(Told::Settled(1)),
                }
                if epoch == self.epoch && self.link.is_some() {
                    self.lose(trouble);
                } else if let Some(taken) = self.taken.get_mut(&id)
                    && taken.epoch == self.epoch
                    && self.link.is_some()
                    && let Some(work) = taken.work.take()
                {
                    // It has come once more meanwhile.
                    self.settle(id, work);
                }
            }
        }
    }

    /// It was too large to wait in RabbitMQ.
    fn wait_here(&mut self, id: i64, letter: Letter, pause: Option<Pause>) {
        let now = self.now();
        if let Some(taken) = self.taken.get_mut(&id) {
            taken.renew(letter);
            let (Pause::About(pause) | Pause::AtMost(pause)) = pause.unwrap_or(Pause::About(0));
            self.park(id, now.saturating_add(pause));
        }
    }

    /// It was acknowledged by this connection.
    fn is_acknowledged(&mut self, epoch: i64, id: i64) {
        let Some(taken) = self.taken.remove(&id) else { return };
        let (key, is_unique) = (taken.key, taken.arrival.is_unique());
        if epoch == self.epoch && self.link.is_some() {
            self.acknowledged.push_back((Instant::now(), key, is_unique));
        } else if taken.epoch == self.epoch && self.link.is_some() {
            // It has come once more meanwhile.
            self.errand(Errand::Over(taken.arrival.ticket));
        } else {
            self.is_no_orphan(id, &key);
            self.remember(key, is_unique);
        }
    }
}
