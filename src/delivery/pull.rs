//! The submissions of one session: pulled when the gate lets them through, and counted.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::lane::{Lane, Outbox, Permit};
use crate::{
    mail::{Cause, Outcome, State, Step, Submission, Trouble},
    smtp::Supply,
};

/// What a session gets its submissions from.
pub(super) struct Pull {
    lane: Arc<Lane>,
    outbox: Outbox,
    /// Submissions so far.
    count: usize,
    has_accepted: bool,
    /// It carries the one that decides about the server.
    is_attempt: bool,
    idle_since: Option<Instant>,
}

impl Pull {
    /// For a session that has nothing yet.
    pub fn new(lane: Arc<Lane>) -> Self {
        let outbox = Outbox::new(lane.listener.steps.clone());
        Self { lane, outbox, count: 0, has_accepted: false, is_attempt: false, idle_since: None }
    }

    /// Waits for a submission whose turn it is; `None` when none will come. Dropping the future loses nothing.
    pub async fn pull(&mut self) -> Option<Submission> {
        loop {
            self.outbox.empty().await;
            let permit = self.lane.admission(&mut self.outbox).await?;
            let pulled = match self.lane.source.ready() {
                Some(submission) => submission,
                None => tokio::select! {
                    biased;
                    pulled = self.lane.source.next() => pulled?,
                    // The gate may have shut.
                    () = self.lane.changed.notified() => continue,
                },
            };
            if let Some(submission) = take(&self.lane, permit, pulled, &mut self.is_attempt, &mut self.outbox) {
                self.count += 1;
                return Some(submission);
            }
        }
    }

    /// The end of a session: what it has to say about the server, unless nothing speaks against it.
    pub async fn end(mut self, trouble: Option<&Trouble>) {
        if let Some(trouble) = trouble.filter(|trouble| !self.is_limit(trouble)) {
            self.lane.failed(trouble, &mut self.outbox);
        } else if self.is_attempt {
            self.lane.attempt_told_nothing();
        }
        self.outbox.empty().await;
    }

    /// Whether the server has only had enough of this session.
    fn is_limit(&self, trouble: &Trouble) -> bool {
        match trouble.cause {
            Cause::Lost | Cause::Busy => self.has_accepted,
            Cause::Stopped => true,
            _ => false,
        }
    }
}

/// Takes a pulled submission, or sends it back because its turn is later.
fn take(
    lane: &Lane,
    permit: Permit<'_>,
    mut submission: Submission,
    is_attempt: &mut bool,
    outbox: &mut Outbox,
) -> Option<Submission> {
    if let Some(at) = lane.turn(&submission) {
        submission.has_turn = true;
        outbox.put(Step::Later { submission, at: Some(at) });
        return None;
    }
    *is_attempt |= permit.spend(submission.envelope.to().len());
    Some(submission)
}

impl Supply for Pull {
    async fn next(&mut self, is_idle: bool) -> Option<Submission> {
        if self.count >= self.lane.outlet.pool.max_messages_per_connection {
            return None;
        }
        if !is_idle {
            self.idle_since = None;
            let lane = self.lane.clone();
            let _waiting = lane.sessions.wait();
            return self.pull().await;
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        let lane = self.lane.clone();
        let _waiting = lane.sessions.wait();
        tokio::select! {
            biased;
            pulled = self.pull() => pulled,
            () = sleep_until(since + lane.outlet.pool.idle_timeout) => None,
        }
    }

    fn ready(&mut self) -> Option<Submission> {
        while self.count < self.lane.outlet.pool.max_messages_per_connection {
            let permit = self.lane.admission_now(&mut self.outbox)?;
            let pulled = self.lane.source.ready()?;
            if let Some(submission) = take(&self.lane, permit, pulled, &mut self.is_attempt, &mut self.outbox) {
                self.count += 1;
                return Some(submission);
            }
        }
        None
    }

    fn settled(&mut self, outcomes: &[Outcome]) {
        self.has_accepted |= outcomes.iter().any(|outcome| outcome.state == State::Accepted);
        self.lane.settled(outcomes, &mut self.outbox);
        if std::mem::take(&mut self.is_attempt) {
            // Where an answer has decided, this changes nothing.
            self.lane.attempt_told_nothing();
        }
    }

    fn out_of_use(&mut self, trouble: &Trouble) {
        self.lane.put_out_of_use(trouble, &mut self.outbox);
    }
}
