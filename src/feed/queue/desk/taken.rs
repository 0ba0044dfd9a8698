//! A message of RabbitMQ that we have, and what its outcomes mean for what is published of it.

use std::collections::VecDeque;

use super::Note;
use crate::{
    config::OnFailure,
    feed::queue::{Draining, open::Settled},
    ledger::{Clock, Record},
    mail::{Address, Cause, Stage, State, Submission, Trouble},
    queue::{
        Claim, Entry, Job, Letter, Next, Outline, Recipient, Status, Time,
        amqp::{Arrival, Dead, Link, Pause, Publisher},
    },
};

/// A message for which there is no place now comes back after this time, in milliseconds.
pub(super) const LEFT_ALONE: Time = 60_000;

/// By this a delivery is known again: what is in it, and how its publisher calls it.
pub(super) type Key = [u8; 16];

/// A message that we have.
pub(super) struct Taken {
    /// Its octets are in the letter.
    pub arrival: Arrival,
    pub key: Key,
    /// Of the connection that has brought it.
    pub epoch: i64,
    /// With the recipients that are open.
    pub letter: Letter,
    /// Everybody, and what was heard of them.
    people: Vec<Recipient>,
    /// Records that were not published yet.
    records: Vec<Vec<u8>>,
    /// It waits here for its moment.
    pub is_parked: bool,
    /// What is to be done about its end, once there is one.
    pub work: Option<Work>,
}

/// What is to be published of a message that has ended here, in this order, before it is acknowledged.
pub(super) struct Work {
    pub steps: VecDeque<Step>,
    /// Its record, if a command is to have it.
    pub failed: Option<String>,
    /// What was too large to wait in RabbitMQ, and waits here.
    pub waiting: Option<(Letter, Option<Pause>)>,
}

/// Something to be published.
pub(super) enum Step {
    /// A letter: at once, or later.
    Letter(Letter, Option<Pause>),
    /// What nobody could send.
    Bury { letter: Letter, reason: String, reply: Option<String> },
    /// Records.
    Records(Vec<Vec<u8>>),
}

impl Step {
    /// Publishes it. Tells what has to wait here instead.
    async fn run(&self, link: &Link, publisher: Option<&Publisher<'_>>) -> Result<bool, Trouble> {
        let broken = |error: std::io::Error| Trouble::new(Stage::Compose, Cause::Internal, error.to_string());
        match (self, publisher) {
            (Step::Records(records), _) => link.records(records).await.map(|()| true),
            (_, None) => Ok(true),
            (Step::Letter(letter, pause), Some(publisher)) => {
                let octets = letter.encode().map_err(broken)?;
                match publisher.letter(*pause, &octets, &letter.job.message_id, letter.attempts).await {
                    Err(trouble) if trouble.cause == Cause::TooLarge => Ok(false),
                    published => published.map(|()| true),
                }
            }
            (Step::Bury { letter, reason, reply }, Some(publisher)) => {
                let octets = letter.encode().map_err(broken)?;
                let dead =
                    |octets| Dead::Letter { octets, message_id: &letter.job.message_id, attempts: letter.attempts };
                match publisher.bury(dead(&octets), reason, reply.as_deref()).await {
                    Err(trouble) if trouble.cause == Cause::TooLarge => {
                        // Of what came whole not even that is lost: who it was for, and its header.
                        let octets = letter.clone().cut().encode().map_err(broken)?;
                        let again = link.publisher().await?;
                        let reason = format!("{reason}; only its header fits");
                        again.bury(dead(&octets), &reason, reply.as_deref()).await.map(|()| true)
                    }
                    published => published.map(|()| true),
                }
            }
        }
    }
}

impl Work {
    /// Publishes what is left to be, each thing once it was confirmed that the one before is safe.
    ///
    /// # Errors
    /// With what stands in the way; what is left is done when this is called once more.
    pub async fn run(&mut self, link: &Link) -> Result<(), Trouble> {
        let is_simple = self.steps.iter().all(|step| matches!(step, Step::Records(_)));
        let publisher = if is_simple { None } else { Some(link.publisher().await?) };
        while let Some(step) = self.steps.front() {
            let is_done = step.run(link, publisher.as_ref()).await?;
            match self.steps.pop_front() {
                // Its channel has gone with that.
                Some(Step::Letter(letter, pause)) if !is_done => {
                    self.waiting = Some((letter, pause));
                    return Box::pin(self.run(link)).await;
                }
                _ => {}
            }
        }
        if let Some(publisher) = publisher {
            publisher.close().await;
        }
        Ok(())
    }
}

impl Taken {
    pub fn new(arrival: Arrival, key: Key, epoch: i64, letter: Letter) -> Self {
        let (people, records) = (people(&letter), Vec::new());
        Self { people, records, arrival, key, epoch, letter, is_parked: false, work: None }
    }

    /// It goes on as this letter.
    pub fn renew(&mut self, letter: Letter) {
        (self.people, self.letter) = (people(&letter), letter);
    }

    /// What a worker gets of it.
    pub fn claim(&self, id: i64) -> Claim {
        let Job { message_id, envelope, content, dsn, place, expires, .. } = &self.letter.job;
        Claim {
            id,
            name: self.letter.name.clone(),
            generation: self.epoch,
            place: place.clone(),
            submission: Submission {
                id: 0,
                message_id: message_id.clone(),
                envelope: envelope.clone(),
                content: content.clone(),
                dsn: dsn.clone(),
                has_turn: false,
            },
            attempts: self.letter.attempts,
            expires: *expires,
            untold: Vec::new(),
            is_over: false,
            is_redelivered: self.arrival.is_redelivered,
        }
    }

    /// Whether everybody is still open, so that nothing has come of it.
    pub fn is_untouched(&self) -> bool {
        self.people.iter().all(|person| person.state.is_none())
    }

    /// Takes outcomes in, and makes records of those that have ended if somebody wants some.
    pub fn hear(&mut self, outcomes: &[Settled], now: Time, clock: Option<&mut Clock>) {
        let mut clock = clock;
        for (outcome, route) in outcomes {
            let address: &str = outcome.recipient.as_ref();
            if let Some(person) = self.people.iter_mut().find(|person| person.address == address) {
                person.state = Some(outcome.state);
                person.text = outcome.words();
                person.remote_id.clone_from(&outcome.remote_id);
                person.server = Some(route.server.clone());
                person.time = Some(now);
            }
            if let Some(clock) = clock.as_deref_mut().filter(|_| outcome.state != State::Deferred) {
                let record = Record {
                    run: &self.letter.name,
                    row: None,
                    message_id: &self.letter.job.message_id,
                    from: self.letter.job.envelope.from(),
                    outcome,
                    route,
                    attempts: self.letter.attempts.saturating_add(1),
                    is_redelivered: self.arrival.is_redelivered,
                };
                let mut json = Vec::new();
                record.fields("outcome", clock.now()).write_json(&mut json);
                self.records.push(json);
            }
        }
    }

    /// Those of whom this is true.
    fn only(&self, which: impl Fn(&Recipient) -> bool) -> Vec<Address> {
        let all = self.letter.job.envelope.to().iter().zip(&self.people);
        all.filter(|(_, person)| which(person)).map(|(address, _)| address.clone()).collect()
    }

    /// What is to be published of it, now that it has ended here: the records of its last outcomes among them.
    ///
    /// # Errors
    /// With a sentence for people, if it cannot be written.
    pub fn work(&mut self, note: &Note, draining: &Draining, now: Time) -> Result<Work, String> {
        let is_open = |person: &Recipient| matches!(person.state, None | Some(State::Deferred));
        let is_unknown = |person: &Recipient| person.state == Some(State::Unknown);
        let mut work = Work { steps: VecDeque::new(), failed: None, waiting: None };
        self.tell(note, draining, now, &mut work)?;
        let failed = note.notice.iter().flat_map(|notice| &notice.failed);
        let failed: Vec<Address> = failed.map(|(outcome, _)| outcome.recipient.clone()).collect();
        let why = match note.notice.as_ref().is_some_and(|notice| notice.has_expired) {
            true => "it has expired",
            false => "it has failed",
        };
        self.bury(failed, why, &mut work)?;
        let attempts = self.letter.attempts.saturating_add(1);
        match &note.next {
            Next::Again(at) => {
                self.bury(self.only(is_unknown), "nobody knows whether it was sent", &mut work)?;
                self.follow(self.only(is_open), attempts, Some(Pause::About(at.saturating_sub(now))), &mut work)?;
            }
            Next::AgainUnknown(at) => {
                let both = self.only(|person| is_open(person) || is_unknown(person));
                self.follow(both, attempts, Some(Pause::About(at.saturating_sub(now))), &mut work)?;
            }
            Next::Held(why) => self.bury(self.only(|person| is_open(person) || is_unknown(person)), why, &mut work)?,
            // Another worker may know the way, or this one later.
            Next::HeldWithoutWay(_) => {
                let pause = Some(Pause::About(LEFT_ALONE));
                self.follow(self.only(is_open), self.letter.attempts, pause, &mut work)?;
            }
            Next::Released(at) => {
                let pause = at.map(|at| Pause::AtMost(at.saturating_sub(now)));
                self.bury(self.only(is_unknown), "nobody knows whether it was sent", &mut work)?;
                self.follow(self.only(is_open), self.letter.attempts, pause, &mut work)?;
            }
            // Whoever says so has nobody left; and who is left all the same is not lost.
            Next::Done | Next::More => {
                self.bury(self.only(is_unknown), "nobody knows whether it was sent", &mut work)?;
                self.follow(self.only(is_open), attempts, None, &mut work)?;
            }
        }
        let records = std::mem::take(&mut self.records);
        if !records.is_empty() {
            work.steps.push_back(Step::Records(records));
        }
        Ok(work)
    }

    /// Tells of failures.
    fn tell(&self, note: &Note, draining: &Draining, now: Time, work: &mut Work) -> Result<(), String> {
        let Some(notice) = &note.notice else { return Ok(()) };
        match &draining.on_failure {
            OnFailure::Nothing => {}
            OnFailure::Command(_) => work.failed = serde_json::to_string(&self.entry()).ok(),
            OnFailure::Report => {
                if let Some(job) = notice.report(Some(&self.entry()), now, draining.lifetime)? {
                    let letter = Letter::new(crate::message::Stamp::now().mark(), job, now).whole()?;
                    work.steps.push_back(Step::Letter(letter, None));
                }
            }
        }
        Ok(())
    }

    fn bury(&self, whom: Vec<Address>, reason: &str, work: &mut Work) -> Result<(), String> {
        if whom.is_empty() {
            return Ok(());
        }
        let last = |address: &Address| {
            let address: &str = address.as_ref();
            self.people.iter().find(|person| person.address == address)?.text.clone()
        };
        let reply = whom.iter().rev().find_map(last);
        let mut letter = self.letter.only(whom)?;
        letter.attempts = letter.attempts.saturating_add(1);
        work.steps.push_back(Step::Bury { letter, reason: reason.to_owned(), reply });
        Ok(())
    }

    /// Those who are left are due again.
    fn follow(&self, whom: Vec<Address>, attempts: u32, pause: Option<Pause>, work: &mut Work) -> Result<(), String> {
        if whom.is_empty() {
            return Ok(());
        }
        let mut letter = self.letter.only(whom)?;
        letter.job.due = None;
        let heard = self.people.iter().filter_map(|person| Some((person.address.clone(), person.text.clone()?)));
        letter.last = heard.collect();
        let whom: Vec<&str> = letter.job.envelope.to().iter().map(AsRef::as_ref).collect();
        letter.last.retain(|address, _| whom.contains(&address.as_str()));
        letter.attempts = attempts;
        work.steps.push_back(Step::Letter(letter, pause));
        Ok(())
    }

    /// All that is known of it.
    fn entry(&self) -> Entry {
        let Letter { name, job, added, attempts, .. } = &self.letter;
        let is_open = |person: &&Recipient| matches!(person.state, None | Some(State::Deferred));
        let last = self.people.iter().rev().find(|person| person.text.is_some());
        let outline = Outline {
            name: name.clone(),
            status: Status::Leased,
            added: *added,
            due: job.due,
            expires: job.expires,
            priority: job.priority,
            attempts: attempts.saturating_add(1),
            size: job.content.len(),
            sender: job.envelope.from().map(ToString::to_string),
            recipients: self.people.len() as u64,
            open: self.people.iter().filter(is_open).count() as u64,
            failed: self.people.iter().filter(|person| person.state == Some(State::Failed)).count() as u64,
            first_recipient: self.people.first().map(|person| person.address.clone()).unwrap_or_default(),
            message_id: job.message_id.clone(),
            why: last.and_then(|person| person.text.clone()),
        };
        Entry { outline, place: job.place.clone(), key: None, worker: None, all: self.people.clone() }
    }
}

fn people(letter: &Letter) -> Vec<Recipient> {
    let people = letter.job.envelope.to().iter().map(|address| {
        let address = address.to_string();
        let text = letter.last.get(&address).cloned();
        Recipient { address, state: None, text, remote_id: None, server: None, time: None }
    });
    people.collect()
}
