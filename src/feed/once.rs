//! One message: sent, tried again if asked for, and done.

use std::{collections::HashSet, sync::Arc};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Duration, sleep},
};

use crate::{
    delivery::{Limits, deliver},
    mail::{
        Cause, Envelope, Event, Outcome, RetryPolicy, Route, Stage, State, Step, Stop, Submission, Submissions, Trouble,
    },
    smtp::{Work, changed},
    transport::{Door, same_for_all},
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

/// Sends one message through the door, tries again as the policy says, and tells of every recipient once.
pub async fn once(
    mut submission: Submission,
    retry: RetryPolicy,
    door: Arc<Door>,
    wants_trace: bool,
    mut stop: watch::Receiver<Stop>,
    mut told: impl FnMut(Told),
) {
    let (up, submissions) = mpsc::channel(1);
    let (down, steps) = mpsc::channel(64);
    let route = door.route();
    let work =
        Work { submissions: Submissions::new(submissions), steps: down, stop: stop.clone(), route: route.clone() };
    let delivery = tokio::spawn(deliver(door, Limits::default(), wants_trace, work));
    let mut feed = Feed { up, steps, delivery: Some(delivery), route };
    for attempts in 1.. {
        let has_more = attempts <= retry.further_attempts;
        let deferred = feed.attempt(&submission, attempts, has_more, &mut told).await;
        let Ok(envelope) = Envelope::new(
            submission.envelope.from().cloned(),
            deferred.iter().map(|(outcome, _)| outcome.recipient.clone()).collect(),
        ) else {
            break;
        };
        submission.envelope = envelope;
        let pause = retry.pause_after(attempts, random()).unwrap_or_default();
        told(Told::Event(Event::Retry { attempt: attempts + 1, pause }));
        if !wait(pause, &mut stop).await {
            for (outcome, route) in deferred {
                told(Told::Settled { route, outcome, attempts });
            }
            break;
        }
    }
    feed.close(&mut told).await;
}

struct Feed {
    up: mpsc::Sender<Submission>,
    steps: mpsc::Receiver<Step>,
    /// `None` once its end was looked at.
    delivery: Option<JoinHandle<()>>,
    route: Arc<Route>,
}

impl Feed {
    /// Makes one attempt. Tells what is settled, returns what is deferred and may be tried again.
    async fn attempt(
        &mut self,
        submission: &Submission,
        attempts: u32,
        has_more: bool,
        told: &mut impl FnMut(Told),
    ) -> Vec<(Outcome, Arc<Route>)> {
        let mut waiting: HashSet<_> = submission.envelope.to().iter().cloned().collect();
        let mut deferred = Vec::new();
        // If the engine is gone, its end of the steps tells below.
        let _ = self.up.send(submission.clone()).await;
        while !waiting.is_empty() {
            match self.steps.recv().await {
                // A single message has no intent to write down. The session may be gone by now.
                Some(Step::Commit { ack, .. }) => drop(ack.send(())),
                Some(Step::Settled { outcomes, route, .. }) => {
                    for outcome in outcomes {
                        waiting.remove(&outcome.recipient);
                        if has_more && may_change(&outcome) {
                            deferred.push((outcome, route.clone()));
                        } else {
                            told(Told::Settled { route: route.clone(), outcome, attempts });
                        }
                    }
                }
                Some(Step::Later(submission)) => drop(self.up.send(submission).await),
                Some(Step::Event(event)) => told(Told::Event(event)),
                None => {
                    self.rethrow().await;
                    let trouble = Trouble::new(Stage::Connect, Cause::Stopped, "stopped by a signal");
                    let (state, stage) = (State::Deferred, trouble.stage);
                    for outcome in same_for_all(submission, state, stage, Some(&trouble), None, Duration::ZERO) {
                        if waiting.remove(&outcome.recipient) {
                            told(Told::Settled { route: self.route.clone(), outcome, attempts });
                        }
                    }
                }
            }
        }
        deferred
    }

    /// Lets the session say farewell, and shows its last events.
    async fn close(mut self, told: &mut impl FnMut(Told)) {
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.up, closed));
        while let Some(step) = self.steps.recv().await {
            if let Step::Event(event) = step {
                told(Told::Event(event));
            }
        }
        self.rethrow().await;
    }

    /// A defect in the engine is one here: nobody knows what became of the message.
    async fn rethrow(&mut self) {
        if let Some(delivery) = self.delivery.take()
            && let Err(error) = delivery.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// Whether a later attempt may end better: 4xx, connection, time-out; never a refused login or what lacks for good.
fn may_change(outcome: &Outcome) -> bool {
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
fn random() -> f64 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
