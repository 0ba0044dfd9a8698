//! One message: sent, tried again if asked for, and done.

use std::{collections::HashSet, sync::Arc};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Duration, sleep, sleep_until},
};

use crate::{
    delivery::{Outlet, Work, deliver},
    mail::{
        Address, Cause, Envelope, Event, Outcome, RetryPolicy, Route, Stage, State, Step, Stop, Submission,
        Submissions, Trouble,
    },
    smtp::changed,
    transport::same_for_all,
};

/// What the caller is told, as it happens.
#[derive(Debug)]
pub enum Told {
    /// This recipient is settled; no further attempt follows.
    Settled {
        /// Where it went.
        route: Arc<Route>,
        /// What became of it.
        outcome: Outcome,
        /// Attempts made.
        attempts: u32,
    },
    /// Something to show.
    Event(Event),
}

/// Sends one message, or forms of it that differ in their envelopes, by the first outlet that takes it, tries again as the policy says, and tells of every recipient once.
pub async fn once(
    submissions: Vec<Submission>,
    retry: RetryPolicy,
    mut outlets: Vec<Outlet>,
    wants_trace: bool,
    mut stop: watch::Receiver<Stop>,
    mut told: impl FnMut(Told),
) {
    let (up, taken) = async_channel::bounded(submissions.len().max(1));
    let (down, steps) = mpsc::channel(64);
    let Some(route) = outlets.first().map(|outlet| outlet.door.route()) else { return };
    for outlet in &mut outlets {
        // The transactions of one message go one after the other.
        outlet.pool.max_connections = 1;
    }
    let work = Work { submissions: Submissions::new(taken), steps: down, stop: stop.clone() };
    let delivery = tokio::spawn(deliver(outlets, wants_trace, work));
    let mut feed = Feed { up, steps, delivery: Some(delivery), route };
    let mut open = submissions.clone();
    for attempts in 1.. {
        let attempt = Attempt { number: attempts, has_more: retry.allows_after(attempts) };
        let deferred = feed.attempt(open, attempt, &mut told).await;
        open = narrowed(&submissions, &deferred);
        if open.is_empty() {
            break;
        }
        let pause = retry.pause_after(attempts, random()).unwrap_or_default();
        told(Told::Event(Event::Retry { attempt: attempts + 1, pause }));
        if !wait(pause, &mut stop).await {
            deferred.into_iter().for_each(|held| told(held.told(attempts)));
            break;
        }
    }
    feed.close(&mut told).await;
}

/// An outcome that is not the last word.
struct Held {
    id: u64,
    outcome: Outcome,
    route: Arc<Route>,
}

impl Held {
    fn told(self, attempts: u32) -> Told {
        Told::Settled { route: self.route, outcome: self.outcome, attempts }
    }
}

/// Which attempt it is, from 1, and whether another may follow.
#[derive(Clone, Copy)]
struct Attempt {
    number: u32,
    has_more: bool,
}

/// What is left of a transaction whose other recipients are settled and told.
#[derive(Default)]
struct Rest {
    /// The server takes no more recipients at once.
    overflow: Vec<Held>,
    deferred: Vec<Held>,
    has_accepted: bool,
}

/// The submissions with only the held recipients in their envelopes, without those that have none.
fn narrowed(submissions: &[Submission], held: &[Held]) -> Vec<Submission> {
    let narrow = |submission: &Submission| {
        let own = held.iter().filter(|held| held.id == submission.id);
        let recipients = own.map(|held| held.outcome.recipient.clone()).collect();
        let envelope = Envelope::new(submission.envelope.from().cloned(), recipients).ok()?;
        Some(Submission { envelope, ..submission.clone() })
    };
    submissions.iter().filter_map(narrow).collect()
}

struct Feed {
    up: async_channel::Sender<Submission>,
    steps: mpsc::Receiver<Step>,
    /// `None` once its end was looked at.
    delivery: Option<JoinHandle<()>>,
    route: Arc<Route>,
}

impl Feed {
    /// Makes one attempt: as many transactions as the server wants, as long as each gets on (RFC 5321, 4.5.3.1.10).
    /// Returns what is deferred and may be tried again.
    async fn attempt(
        &mut self,
        mut submissions: Vec<Submission>,
        attempt: Attempt,
        told: &mut impl FnMut(Told),
    ) -> Vec<Held> {
        let mut deferred = Vec::new();
        loop {
            let rest = self.transaction(&submissions, attempt, told).await;
            deferred.extend(rest.deferred);
            if rest.has_accepted && !rest.overflow.is_empty() {
                submissions = narrowed(&submissions, &rest.overflow);
                continue;
            }
            for held in rest.overflow {
                if attempt.has_more { deferred.push(held) } else { told(held.told(attempt.number)) }
            }
            return deferred;
        }
    }

    async fn transaction(&mut self, submissions: &[Submission], attempt: Attempt, told: &mut impl FnMut(Told)) -> Rest {
        let mut waiting: HashSet<(u64, Address)> = submissions
            .iter()
            .flat_map(|submission| submission.envelope.to().iter().map(|to| (submission.id, to.clone())))
            .collect();
        let mut rest = Rest::default();
        // If the engine is gone, its end of the steps tells below.
        for submission in submissions {
            let _ = self.up.send(submission.clone()).await;
        }
        while !waiting.is_empty() {
            match self.steps.recv().await {
                // A single message has no intent to write down. The session may be gone by now.
                Some(Step::Commit { ack, .. }) => drop(ack.send(())),
                Some(Step::Settled { id, outcomes, route }) => {
                    for outcome in outcomes {
                        waiting.remove(&(id, outcome.recipient.clone()));
                        rest.has_accepted |= outcome.state == State::Accepted;
                        let held = Held { id, outcome, route: route.clone() };
                        if is_one_too_many(&held.outcome) {
                            rest.overflow.push(held);
                        } else if attempt.has_more && may_change(&held.outcome) {
                            rest.deferred.push(held);
                        } else {
                            told(held.told(attempt.number));
                        }
                    }
                }
                Some(Step::Later { submission, at }) => {
                    // It has a turn of its own; until then nothing else is to be done. A wish to stop ends the engine,
                    // and the channel with it.
                    if let Some(at) = at {
                        tokio::select! {
                            () = sleep_until(at) => {}
                            () = self.up.closed() => {}
                        }
                    }
                    drop(self.up.send(submission).await);
                }
                Some(Step::Event(event)) => told(Told::Event(event)),
                None => {
                    rethrow(&mut self.delivery).await;
                    let trouble = Trouble::new(Stage::Connect, Cause::Stopped, "stopped by a signal");
                    let (state, stage) = (State::Deferred, trouble.stage);
                    for submission in submissions {
                        let id = submission.id;
                        for outcome in same_for_all(submission, state, stage, Some(&trouble), None, Duration::ZERO) {
                            if waiting.remove(&(id, outcome.recipient.clone())) {
                                told(Held { id, outcome, route: self.route.clone() }.told(attempt.number));
                            }
                        }
                    }
                }
            }
        }
        rest
    }

    /// Lets the session say farewell, and shows its last events.
    async fn close(mut self, told: &mut impl FnMut(Told)) {
        self.up.close();
        while let Some(step) = self.steps.recv().await {
            if let Step::Event(event) = step {
                told(Told::Event(event));
            }
        }
        rethrow(&mut self.delivery).await;
    }
}

/// A defect in the engine is one of the feed: nobody knows what became of its messages.
pub(super) async fn rethrow(delivery: &mut Option<JoinHandle<()>>) {
    if let Some(delivery) = delivery.take()
        && let Err(error) = delivery.await
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Whether the server would take this recipient in a transaction of its own (RFC 5321, 4.5.3.1.10; RFC 3463, 3.6).
pub(super) fn is_one_too_many(outcome: &Outcome) -> bool {
    let Some(reply) = &outcome.reply else { return false };
    outcome.state == State::Deferred
        && outcome.stage == Stage::Rcpt
        && matches!(reply.code, 452 | 552)
        && reply.enhanced().is_none_or(|status| (status.subject, status.detail) == (5, 3))
}

/// Whether a later attempt may end better: 4xx, connection, time-out; never a refused login or what lacks for good.
pub(super) fn may_change(outcome: &Outcome) -> bool {
    let may_pass = |trouble: &Trouble| {
        matches!(trouble.cause, Cause::Unreachable | Cause::TimedOut | Cause::Lost | Cause::Busy | Cause::Output)
    };
    outcome.state == State::Deferred && outcome.trouble.as_ref().is_none_or(may_pass)
}

/// Waits; tells whether it was to the end.
async fn wait(pause: Duration, stop: &mut watch::Receiver<Stop>) -> bool {
    tokio::select! {
        () = sleep(pause) => true,
        _ = async { while changed(stop).await == Stop::No {} } => false,
    }
}

/// A number from 0 to 1; without randomness all clients of a machine wait alike, which hurts nobody.
pub(super) fn random() -> f64 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
