//! A place at work: the delivery of its messages, and how many it has.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use super::Ways;
use crate::{
    delivery::{Outlet, Work},
    feed::once::rethrow,
    mail::{RetryPolicy, Step, Stop, Submission, Submissions},
    queue::Place,
};

/// Steps that wait for the feed.
const DOWN: usize = 1024;
/// A delivery has at most so many messages, however many its sessions could take.
const MOST: usize = 512;
/// A delivery that has nothing for this time ends.
const IDLE: Duration = Duration::from_secs(60);

/// The delivery of a place.
pub(super) struct Lane {
    pub place: Place,
    pub retry: RetryPolicy,
    up: async_channel::Sender<Submission>,
    /// The end that the sessions share, to take back what none of them has begun.
    source: async_channel::Receiver<Submission>,
    steps: mpsc::Receiver<Step>,
    task: Option<JoinHandle<()>>,
    /// Messages under way.
    open: usize,
    /// Twice what its sessions can take.
    room: usize,
    /// It had no room, and is not half empty yet.
    is_full: bool,
    idle_since: Instant,
    /// It counts what it sends: one that ends forgets it.
    is_counting: bool,
    cool_down: Duration,
    /// No server of it can take anything.
    is_dark: bool,
    /// Nothing new for it before this moment.
    dark_until: Option<Instant>,
}

impl Lane {
    pub fn start(
        place: Place,
        ways: Ways,
        stop: watch::Receiver<Stop>,
        engine: &mut impl FnMut(Vec<Outlet>, Work) -> JoinHandle<()>,
    ) -> Self {
        let (up, source) = async_channel::unbounded();
        let (down, steps) = mpsc::channel(DOWN);
        let Ways { outlets, retry } = ways;
        let sessions: usize = outlets
            .iter()
            .map(|outlet| outlet.pool.max_connections.saturating_mul(outlet.pool.pipeline_depth))
            .fold(0, usize::saturating_add);
        let is_counting = outlets.iter().any(|outlet| outlet.rate.limit.is_some() || outlet.rate.per_domain.is_some());
        let cool_down = outlets.iter().map(|outlet| outlet.breaker.cool_down).max().unwrap_or_default();
        let work = Work { submissions: Submissions::new(source.clone()), steps: down, stop };
        let task = Some(engine(outlets, work));
        Self {
            place,
            retry,
            up,
            source,
            steps,
            task,
            open: 0,
            room: sessions.saturating_mul(2).clamp(2, MOST),
            is_full: false,
            idle_since: Instant::now(),
            is_counting,
            cool_down,
            is_dark: false,
            dark_until: None,
        }
    }

    /// Hands a message in; gives it back if the delivery is at its end.
    pub fn send(&self, submission: Submission) -> Option<Submission> {
        self.up.try_send(submission).err().map(async_channel::TrySendError::into_inner)
    }

    /// What no session has begun.
    pub fn take_back(&self) -> Vec<Submission> {
        std::iter::from_fn(|| self.source.try_recv().ok()).collect()
    }

    /// Nothing more is handed in.
    pub fn close(&self) {
        self.up.close();
    }

    /// Messages come under way.
    pub fn opened(&mut self) {
        self.open += 1;
        self.is_full |= self.open >= self.room;
    }

    /// A message is under way no more; tells whether there is room again where there was none.
    pub fn closed(&mut self) -> bool {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            self.idle_since = Instant::now();
        }
        self.is_full && self.open <= self.room / 2 && std::mem::take(&mut self.is_full)
    }

    /// Whether further messages have to wait.
    pub fn takes_nothing(&self, now: Instant) -> bool {
        self.is_full || self.is_dark(now)
    }

    /// For how long it waits for a server to come back, if it does.
    pub fn dark_for(&self, now: Instant) -> Option<Duration> {
        Some(self.dark_until?.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Whether it waits for a server to come back.
    pub fn is_dark(&self, now: Instant) -> bool {
        self.dark_until.is_some_and(|until| now < until)
    }

    /// Its servers are reached or not, or one that cannot be reached has been tried in vain. Tells whether what has not
    /// begun is to be taken back.
    pub fn darken(&mut self, is_dark: Option<bool>) -> bool {
        self.is_dark = is_dark.unwrap_or(self.is_dark);
        // Then one message is let through, which decides.
        self.dark_until = self.is_dark.then(|| Instant::now() + self.cool_down);
        self.is_dark
    }

    /// Whether the delivery is of no use any more.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.open == 0 && !self.is_counting && now.saturating_duration_since(self.idle_since) >= IDLE
    }

    /// Takes what the delivery tells; ready with false at its end.
    pub fn poll_steps(&mut self, context: &mut Context<'_>, got: &mut Vec<Step>) -> Poll<bool> {
        self.steps.poll_recv_many(context, got, DOWN).map(|count| count > 0)
    }

    /// The end of the delivery. Its defects are the feed's.
    pub async fn end(mut self) {
        rethrow(&mut self.task).await;
    }
}
