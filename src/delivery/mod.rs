//! The engine: sessions through a door, opened as submissions come, replaced when they die.
//!
//! It knows no feed: submissions come from a channel, steps go into one. It prints nothing. A submission whose session
//! does not open is settled as deferred; a refused login ends the run, and all that still comes is settled with it.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use crate::{
    config::{BreakerPolicy, Pool, Profile, RatePolicy},
    mail::{Cause, Stage, State, Step, Stop, Submission, Submissions, Trouble},
    smtp::{Ended, Listener, changed},
    transport::{Door, same_for_all},
};

/// A way out, and how much may go there at once.
#[derive(Debug, Clone)]
pub struct Outlet {
    /// The way.
    pub door: Arc<Door>,
    /// Its sessions.
    pub pool: Pool,
    /// How fast.
    pub rate: RatePolicy,
    /// When it is left alone.
    pub breaker: BreakerPolicy,
}

impl Outlet {
    /// The way out of a profile.
    pub fn new(door: Arc<Door>, profile: &Profile) -> Self {
        Self { door, pool: profile.pool, rate: profile.rate, breaker: profile.breaker }
    }
}

/// What a delivery works with.
#[derive(Debug, Clone)]
pub struct Work {
    /// Where submissions come from.
    pub submissions: Submissions,
    /// Where steps go.
    pub steps: mpsc::Sender<Step>,
    /// Whether to stop.
    pub stop: watch::Receiver<Stop>,
}

/// Delivers whatever comes until nothing comes any more, or delivery is to stop. The first outlet is the one that is
/// meant; the others are used in their order while those before them cannot be.
pub async fn deliver(outlets: Vec<Outlet>, wants_trace: bool, work: Work) {
    let Some(Outlet { door, pool, .. }) = outlets.into_iter().next() else { return };
    let Work { submissions, steps, stop } = work;
    let work = crate::smtp::Work { submissions, steps, stop, route: door.route() };
    let engine = Arc::new(Engine {
        listener: Listener { steps: work.steps.clone(), wants_trace },
        door,
        depth: pool.pipeline_depth,
        turn: Mutex::new(()),
        is_proven: AtomicBool::new(false),
        stopped: OnceLock::new(),
    });
    let mut sessions = JoinSet::new();
    for _ in 0..pool.max_connections {
        sessions.spawn(engine.clone().run(work.clone()));
    }
    while let Some(ended) = sessions.join_next().await {
        // A defect is not hidden: nobody knows what became of the session's messages.
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

struct Engine {
    door: Arc<Door>,
    listener: Listener,
    depth: usize,
    /// Held while a session opens, until one has: a second login must not repeat a refused one.
    turn: Mutex<()>,
    is_proven: AtomicBool,
    /// Why no session to this server is of use.
    stopped: OnceLock<Trouble>,
}

impl Engine {
    async fn run(self: Arc<Self>, mut work: crate::smtp::Work) {
        loop {
            let first = tokio::select! {
                biased;
                stop = changed(&mut work.stop) => match stop {
                    Stop::No => continue,
                    Stop::Drain | Stop::Now => return,
                },
                first = work.submissions.next() => match first {
                    Some(first) => first,
                    None => return,
                },
            };
            if let Some(trouble) = self.stopped.get() {
                refuse(&first, trouble, Instant::now(), &work).await;
                continue;
            }
            match self.session(first, &mut work).await {
                Ended::Drained => return,
                Ended::Replace | Ended::Broken(_) => {}
                Ended::Stop(trouble) => drop(self.stopped.set(trouble)),
            }
        }
    }

    async fn session(&self, first: Submission, work: &mut crate::smtp::Work) -> Ended {
        let start = Instant::now();
        let mut stop = work.stop.clone();
        let opened = tokio::select! {
            biased;
            trouble = stopped(&mut stop) => Err(trouble),
            opened = self.open() => opened,
        };
        match opened {
            Ok(session) => session.carry(first, work).await,
            Err(trouble) => {
                refuse(&first, &trouble, start, work).await;
                if is_for_good(&trouble) { Ended::Stop(trouble) } else { Ended::Broken(trouble) }
            }
        }
    }

    async fn open(&self) -> Result<crate::transport::Session<'_>, Trouble> {
        let turn = match self.is_proven.load(Ordering::Relaxed) {
            true => None,
            false => Some(self.turn.lock().await),
        };
        if let Some(trouble) = self.stopped.get() {
            return Err(trouble.clone());
        }
        let opened = self.door.open(self.depth, &self.listener).await;
        match &opened {
            Ok(_) => self.is_proven.store(true, Ordering::Relaxed),
            Err(trouble) if is_for_good(trouble) => drop(self.stopped.set(trouble.clone())),
            Err(_) => {}
        }
        drop(turn);
        opened
    }
}

async fn stopped(stop: &mut tokio::sync::watch::Receiver<Stop>) -> Trouble {
    loop {
        if *stop.borrow() != Stop::No || changed(stop).await != Stop::No {
            return Trouble::new(Stage::Connect, Cause::Stopped, "stopped by a signal");
        }
    }
}

/// Whether another session would end like this one.
fn is_for_good(trouble: &Trouble) -> bool {
    matches!(trouble.cause, Cause::Login | Cause::Untrusted | Cause::Unsupported | Cause::Configuration)
}

/// Settles a submission that no session could be opened for.
async fn refuse(submission: &Submission, trouble: &Trouble, start: Instant, work: &crate::smtp::Work) {
    let outcomes = same_for_all(submission, State::Deferred, trouble.stage, Some(trouble), None, start.elapsed());
    // If the feed is gone, there is nobody to tell.
    let _ = work.steps.send(Step::Settled { id: submission.id, route: work.route.clone(), outcomes }).await;
}
