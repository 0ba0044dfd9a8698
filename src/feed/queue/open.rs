//! A message under way, and what its outcomes mean for it.

use std::{sync::Arc, time::Duration};

use crate::{
    feed::once::{is_one_too_many, may_change},
    ledger::Record,
    mail::{Cause, Outcome, Reply, Route, Stage, State, Submission, Trouble},
    queue::{Claim, Next, Untold},
};

/// A message on its way.
pub(super) struct Open {
    /// By which people name it.
    pub name: String,
    /// The store's number, and that of the lease.
    pub id: i64,
    pub generation: i64,
    pub lane: u64,
    is_redelivered: bool,
    /// As it was handed in first.
    pub submission: Submission,
    /// The one that is under way included.
    pub attempts: u32,
    pub expires: i64,
    pub has_intent: bool,
    /// No attempt was made: its time is over.
    pub has_expired: bool,
    /// Recipients that are not settled for this attempt.
    waiting: usize,
    /// What the store does not know yet.
    noted: Vec<Settled>,
    /// Those that have failed for good in this attempt.
    pub failed: Vec<Settled>,
    /// The server takes no more recipients at once.
    overflow: Vec<Settled>,
    has_accepted: bool,
    /// When those that are deferred are tried again.
    again: Option<i64>,
    /// Why nobody can know of some recipient.
    unknown: Option<String>,
    /// Why the message cannot be read: that is the queue's trouble, and no recipient's.
    unreadable: Option<String>,
    /// Those of whom nobody can know are tried again.
    retries_unknown: bool,
    /// It was not taken, and may be at this moment.
    released: Option<Option<i64>>,
    /// Nobody settles those that wait.
    is_handed_back: bool,
}

/// An outcome and where it came about.
pub(super) type Settled = (Outcome, Arc<Route>);

/// What an outcome means.
pub(super) enum Meaning {
    /// The recipient has ended.
    Final(Settled),
    /// It is tried again.
    Deferred(Settled),
    /// The server takes it in another transaction, if it has taken others.
    Overflow,
    /// It was not taken, and is nobody's to be told.
    NotTaken,
    /// No message of this place does better.
    Place(Settled, Trouble),
}

/// By which an outcome is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// When another attempt may follow this one.
    pub again: Option<i64>,
    pub retries_unknown: bool,
}

impl Open {
    pub fn new(claim: Claim, number: u64, lane: u64) -> Self {
        let Claim { id, name, generation, mut submission, attempts, expires, untold, is_redelivered, .. } = claim;
        submission.id = number;
        Self {
            name,
            id,
            generation,
            lane,
            is_redelivered,
            waiting: submission.envelope.to().len(),
            submission,
            attempts: attempts.saturating_add(1),
            expires,
            has_intent: false,
            has_expired: false,
            noted: Vec::new(),
            failed: untold.into_iter().map(settled_before).collect(),
            overflow: Vec::new(),
            has_accepted: false,
            again: None,
            unknown: None,
            unreadable: None,
            retries_unknown: false,
            released: None,
            is_handed_back: false,
        }
    }

    /// The record of one of its outcomes.
    pub fn record<'a>(&'a self, (outcome, route): &'a Settled) -> Record<'a> {
        Record {
            run: &self.name,
            row: None,
            message_id: &self.submission.message_id,
            from: self.submission.envelope.from(),
            outcome,
            route,
            attempts: self.attempts,
            is_redelivered: self.is_redelivered,
        }
    }

    /// Takes an outcome in and decides what it means.
    pub fn settle(&mut self, outcome: Outcome, route: &Arc<Route>, rules: Rules) -> Meaning {
        self.waiting = self.waiting.saturating_sub(1);
        if is_one_too_many(&outcome) {
            self.overflow.push((outcome, route.clone()));
            return Meaning::Overflow;
        }
        self.sort((outcome, route.clone()), rules)
    }

    fn sort(&mut self, (mut outcome, route): Settled, rules: Rules) -> Meaning {
        match outcome.state {
            State::Deferred => {
                let trouble = outcome.trouble.as_ref().filter(|_| !may_change(&outcome)).cloned();
                match trouble {
                    Some(trouble) if trouble.cause == Cause::Stopped => {
                        self.released.get_or_insert(None);
                        if outcome.stage > Stage::Auth {
                            // Whoever looks at it later wants to know why it has come to nothing.
                            self.noted.push((outcome, route));
                        }
                        return Meaning::NotTaken;
                    }
                    Some(trouble) if is_of_place(&trouble) => {
                        self.released.get_or_insert(None);
                        self.noted.push((outcome.clone(), route.clone()));
                        return Meaning::Place((outcome, route), trouble);
                    }
                    _ => {}
                }
                match rules.again {
                    Some(at) => {
                        self.again.get_or_insert(at);
                        self.noted.push((outcome.clone(), route.clone()));
                        return Meaning::Deferred((outcome, route));
                    }
                    // So many attempts and no more: it has failed, with the words of the last.
                    None => outcome.state = State::Failed,
                }
            }
            State::Unknown if rules.retries_unknown && rules.again.is_some() => {
                self.again = self.again.or(rules.again);
                self.retries_unknown = true;
                self.noted.push((outcome.clone(), route.clone()));
                return Meaning::Deferred((outcome, route));
            }
            State::Unknown => {
                let why = outcome.trouble.as_ref().map_or_else(|| "no reply came".to_owned(), ToString::to_string);
                self.unknown.get_or_insert(why);
            }
            State::Accepted => self.has_accepted = true,
            State::Failed if outcome.trouble.as_ref().is_some_and(|trouble| trouble.cause == Cause::Input) => {
                outcome.state = State::Deferred;
                let why = outcome.trouble.as_ref().map(ToString::to_string).unwrap_or_default();
                self.unreadable.get_or_insert(why);
                self.noted.push((outcome.clone(), route.clone()));
                return Meaning::Deferred((outcome, route));
            }
            State::Failed | State::Skipped | State::Queued => {}
        }
        let settled = (outcome, route);
        if settled.0.state == State::Failed {
            self.failed.push(settled.clone());
        }
        self.noted.push(settled.clone());
        Meaning::Final(settled)
    }

    /// Nobody takes it now.
    pub fn hand_back(&mut self, at: Option<i64>) {
        (self.released, self.is_handed_back) = (Some(at), true);
    }

    /// Whether every recipient is settled for this attempt, or nobody will settle the rest.
    pub fn is_over(&self) -> bool {
        self.waiting == 0 || self.is_handed_back
    }

    /// The recipients that were one too many, once it is over. Where the server has taken others, they are next: at
    /// once, and in the same attempt (RFC 5321, 4.5.3.1.10).
    pub fn overflow(&mut self, rules: Rules) -> Vec<Meaning> {
        let overflow = std::mem::take(&mut self.overflow);
        if !overflow.is_empty() && self.has_accepted {
            self.again = None;
            self.released.get_or_insert(None);
            self.noted.extend(overflow.iter().cloned());
            return overflow.into_iter().map(Meaning::Deferred).collect();
        }
        overflow.into_iter().map(|settled| self.sort(settled, rules)).collect()
    }

    /// What the store does not know yet.
    pub fn take_noted(&mut self) -> Vec<Settled> {
        std::mem::take(&mut self.noted)
    }

    /// What follows, once it is over.
    pub fn next(&self) -> Next {
        if let Some(why) = &self.unreadable {
            return Next::Held(why.clone());
        }
        match (&self.unknown, self.again, self.released) {
            (_, Some(at), _) if self.retries_unknown => Next::AgainUnknown(at),
            // Of whom nobody can know is held once nobody else is left.
            (_, Some(at), _) => Next::Again(at),
            (Some(why), None, _) => Next::Held(format!("nobody can know whether the server has it: {why}")),
            (None, None, Some(at)) => Next::Released(at),
            (None, None, None) => Next::Done,
        }
    }
}

/// A failure that an earlier worker has noted and not told. What it was is known as text.
fn settled_before(untold: Untold) -> Settled {
    let Untold { address, text, server } = untold;
    let reply = text.split_once(' ').and_then(|(code, rest)| {
        let code = code.parse().ok().filter(|code| (200..600).contains(code))?;
        Some(Reply { code, lines: vec![rest.to_owned()] })
    });
    let trouble = match reply {
        Some(_) => None,
        None => Some(Trouble::new(Stage::Compose, Cause::Refused, text)),
    };
    let outcome = Outcome {
        recipient: address,
        state: State::Failed,
        stage: if reply.is_some() { Stage::Data } else { Stage::Compose },
        reply,
        trouble,
        remote_id: None,
        dsn: None,
        elapsed: Duration::ZERO,
    };
    (outcome, Arc::new(Route { profile: None, server }))
}

/// Whether every message of the place would end like this one.
fn is_of_place(trouble: &Trouble) -> bool {
    matches!(trouble.cause, Cause::Login | Cause::Untrusted | Cause::Unsupported | Cause::Configuration)
}
