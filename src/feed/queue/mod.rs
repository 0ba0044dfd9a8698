//! The queue drained: messages that are due go to the delivery of their place, and what comes of them is noted.
//!
//! One task owns the store and all retries; it knows places, and asks for the way that one of them means. The store works
//! on another thread, and takes everything that waits for it at once. Nothing is shown here, and no profile is known.

mod course;
mod desk;
mod lane;
mod notice;
mod open;
mod rests;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

use self::course::Course;
use crate::{
    config::OnFailure,
    delivery::{Outlet, deliver},
    ledger::Record,
    mail::{Event, RetryPolicy, State, Stop, Trouble},
    queue::{Foreign, Job, Place, QueueError, Store, Worker, amqp::Broker},
};

/// The queue that is drained.
#[derive(Debug)]
pub enum Source {
    /// That of this machine.
    Store(Box<Store>, Worker),
    /// One that machines share.
    Broker(Broking),
}

/// How a RabbitMQ is drained.
#[derive(Debug)]
pub struct Broking {
    /// Which.
    pub broker: Arc<Broker>,
    /// Messages at once that are not settled.
    pub prefetch: u16,
    /// Makes messages of what other programs ask for.
    pub maker: Maker,
}

type Make = dyn Fn(Foreign, &Facts) -> Result<Job, Refusal> + Send + Sync;

/// Makes a message of what another program asks for: the job, and what is known of how it came. Runs on threads that may
/// block.
#[derive(Clone)]
pub struct Maker(pub Arc<Make>);

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Maker")
    }
}

/// Why no message could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For people: clean and short.
    pub reason: String,
    /// It is not the job's fault, and may be another time.
    pub is_passing: bool,
}

/// What is known of a job of another program, beside what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What stands left of the @ in the Message-ID, where the job names none: of the same delivery always the same.
    pub mark: String,
    /// When it was published, in milliseconds since 1970; when it was taken, if its publisher does not say so.
    pub published: i64,
}

/// How a queue is drained.
#[derive(Debug, Clone)]
pub struct Draining {
    /// How long a message is this worker's without a sign of life.
    pub lease: Duration,
    /// A message of which nobody can know whether the server has it is sent again, instead of being held.
    pub retries_unknown: bool,
    /// What is done about messages that have failed.
    pub on_failure: OnFailure,
    /// How long a failure report is tried.
    pub lifetime: Duration,
    /// How long messages that have ended are remembered.
    pub keep: Duration,
    /// It ends when nothing is due and nothing is under way.
    pub ends_idle: bool,
    /// Show the dialogue.
    pub wants_trace: bool,
}

/// The way that a place means.
#[derive(Debug, Clone)]
pub struct Ways {
    /// Its own, and those it falls back on.
    pub outlets: Vec<Outlet>,
    /// When to try again. How long is the message's own matter.
    pub retry: RetryPolicy,
}

/// Who asks for what, while it goes.
#[derive(Debug)]
pub struct Signals {
    /// To end. Nothing more is begun, but what is under way has its own time limits; only [`Stop::Now`] cuts it off.
    pub stop: watch::Receiver<Stop>,
    /// To ask anew for every way, to try again those that are left alone, and to free what is held since there was none.
    pub renewal: watch::Receiver<()>,
}

/// What the caller is told, as it happens.
#[derive(Debug)]
pub enum QueueTold<'a> {
    /// A recipient has ended. The run of the record is the message's name in the queue.
    Settled(&'a Record<'a>),
    /// A recipient is deferred and will be tried again.
    Deferred(&'a Record<'a>),
    /// A message waits for somebody who decides: its name, and why.
    Held(&'a str, &'a str),
    /// A place is left alone for a time: its messages will not do better.
    Rests(&'a Place, &'a Trouble, Duration),
    /// What dead workers have left: messages that are free again, and messages of which nobody can know.
    Recovered(u64, u64),
    /// The store cannot be used now; what is to be noted waits.
    Failing(&'a QueueError),
    /// Something the user should know.
    Warning(String),
    /// Something to show.
    Event(Event),
    /// Messages have been taken, and go to their places next: a wish to ask anew for every way that is uttered now holds
    /// for them.
    Taken,
    /// The queue has answered, or is tried again.
    Alive,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Drained {
    /// Recipients that have ended, in the order of [`State::ALL`].
    pub counts: [u64; State::ALL.len()],
    /// Messages that are held.
    pub held: u64,
    /// Something was due and is left.
    pub has_more: bool,
    /// Why it ended before its time, if it did.
    pub end: Option<QueueError>,
}

/// Drains the queue until it is to stop, or nothing is due any more. A way is asked for when the first message of its
/// place is due; if there is none ([`crate::mail::Stage::Compose`]), the messages of the place are held until there is
/// one; if it cannot be used now, the place is left alone for a while. What happens is told at once, on the thread of the
/// engine: who is told does not wait.
pub async fn drain(
    source: Source,
    draining: Draining,
    ways: impl FnMut(&Place) -> Result<Ways, Trouble>,
    signals: Signals,
    told: impl FnMut(QueueTold<'_>),
) -> Drained {
    let wants_trace = draining.wants_trace;
    let engine = |outlets, work| tokio::spawn(deliver(outlets, wants_trace, work));
    let Signals { stop, renewal } = signals;
    Course::new(source, draining, (ways, engine, told), renewal, now).run(stop).await
}

/// Milliseconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, milliseconds_of)
}

fn milliseconds_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
