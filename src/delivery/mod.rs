//! The engine: sessions of one or several outlets, opened as submissions come, replaced when they die.
//!
//! It knows no feed: submissions come from a channel, steps go into one. It prints nothing. Each outlet is a lane: a
//! gate (rate, pauses, circuit breaker) in front of sessions that pull for themselves, and one task that opens them.
//! Nobody waits with a message in hand but for its connection. A submission whose session does not open goes on to the
//! next lane, or is settled as deferred; a refused login of the first outlet ends the run, and all that still comes is
//! settled with it.

mod breaker;
mod descriptors;
mod lane;
mod opener;
mod pace;
mod pull;
mod reach;

use std::sync::Arc;

use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};

pub use descriptors::make_room_for;

use self::{
    lane::{Lane, Onward},
    reach::Reach,
};
use crate::{
    config::{BreakerPolicy, Pool, Profile, RatePolicy},
    mail::{Step, Stop, Submissions},
    smtp::Listener,
    transport::Door,
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
    let changed = Arc::new(Notify::new());
    let (reach, changes) = Reach::new(outlets.len());
    let (reach, telling) = (Arc::new(reach), reach::tell(changes, work.steps.clone()));
    let listener = Listener { steps: work.steps, wants_trace };
    let mut lanes: Vec<Arc<Lane>> = Vec::new();
    let mut onward = None;
    for (number, outlet) in outlets.into_iter().enumerate().rev() {
        let is_first = number == 0;
        let (sender, source) = match is_first {
            true => (None, work.submissions.clone()),
            false => {
                let (sender, source) = async_channel::bounded(outlet.pool.pipeline_depth);
                (Some(sender), Submissions::new(source))
            }
        };
        let common = (listener.clone(), work.stop.clone(), changed.clone(), reach.clone());
        let lane = Arc::new(Lane::new(outlet, source, onward.take(), is_first, common));
        onward = sender.map(|sender| Onward { lane: lane.clone(), sender });
        lanes.push(lane);
    }
    drop((listener, work.submissions, reach));
    let mut openers: JoinSet<()> = lanes.into_iter().map(opener::run).collect();
    let working = async {
        while let Some(ended) = openers.join_next().await {
            opener::rethrow(ended);
        }
    };
    // Whoever tells waits for more until the last lane has gone.
    tokio::join!(working, telling);
}

#[cfg(test)]
mod tests;
