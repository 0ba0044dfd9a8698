//! What a session works for: where its submissions come from, where its steps go, when it is to stop.

use std::{future::Future, sync::Arc};

use tokio::sync::{mpsc, watch};

use super::changed;
use crate::mail::{Outcome, Route, Step, Stop, Submission, Trouble};

/// Where a session's submissions come from; whoever gives them learns what becomes of them.
pub trait Supply: Send {
    /// Waits for the next submission that may be begun; `None` when no more come to this session. `is_idle` says that
    /// nothing is under way. Dropping the future loses nothing.
    fn next(&mut self, is_idle: bool) -> impl Future<Output = Option<Submission>> + Send;

    /// A submission that is there already and may be begun now.
    fn ready(&mut self) -> Option<Submission>;

    /// These recipients are settled. The feed is told afterwards.
    fn settled(&mut self, outcomes: &[Outcome]);

    /// No session to this server is of use. What it wanted a login for is handed back afterwards.
    fn out_of_use(&mut self, trouble: &Trouble);
}

/// What a session works with.
#[derive(Debug)]
pub struct Duty<S> {
    /// Where submissions come from.
    pub supply: S,
    /// Where steps go.
    pub steps: mpsc::Sender<Step>,
    /// Whether to stop.
    pub stop: watch::Receiver<Stop>,
    /// Others may take what this server does not take without another login.
    pub is_fallback: bool,
    /// How records name this way.
    pub route: Arc<Route>,
}

impl<S: Supply> Duty<S> {
    /// Settles recipients of a submission. If the feed is gone, there is nobody to tell.
    pub async fn settle(&mut self, id: u64, outcomes: Vec<Outcome>) {
        self.supply.settled(&outcomes);
        let _ = self.steps.send(Step::Settled { id, route: self.route.clone(), outcomes }).await;
    }

    /// The next submission of a session that carries one after the other; `None` if none comes, or delivery is to stop.
    pub async fn following(&mut self) -> Option<Submission> {
        tokio::select! {
            biased;
            () = async { while *self.stop.borrow() == Stop::No { changed(&mut self.stop).await; } } => None,
            next = self.supply.next(true) => next,
        }
    }
}
