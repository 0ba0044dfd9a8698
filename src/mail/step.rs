//! The two channels between a feed and its sessions: submissions go up, steps come down.

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::{Outcome, Submission};

/// What a session tells the feed whose submissions it carries.
#[derive(Debug)]
pub enum Step {
    /// The last bytes of these submissions are about to leave. They leave once `ack` is answered; the feed writes
    /// down the intent first. Dropping `ack` hands them back, and ends the session once it has its replies.
    Commit {
        /// The feed's numbers.
        ids: Vec<u64>,
        /// The feed's consent.
        ack: oneshot::Sender<()>,
    },
    /// These recipients of the submission are settled for this attempt.
    Settled {
        /// The feed's number.
        id: u64,
        /// Where it went.
        route: Arc<Route>,
        /// One each; further recipients of the same submission may follow.
        outcomes: Vec<Outcome>,
    },
    /// This submission was not taken, through no fault of its own: due again, no attempt counted.
    Later {
        /// As it was handed in, with the recipients that are still open.
        submission: Submission,
        /// Not before this moment; at once, if none is named. It then goes out without being held back for the same
        /// reason again, if [`Submission::has_turn`] is set.
        at: Option<Instant>,
    },
    /// Something to show. May be dropped where nobody looks.
    Event(Event),
}

/// Where a message went, as records name it.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The profile's name, if it has one.
    pub profile: Option<String>,
    /// `smtp.example.com:587`, `maildir:/path`.
    pub server: String,
}

/// Something to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A step of the session, for `-v`: "connected to …".
    Note(String),
    /// Something the user should know though the message went: "the server offers no DSN".
    Warning(String),
    /// A line of the dialogue, with its mark and without secrets, for `--trace`.
    Trace(String),
    /// Octets of a submission's content handed to the socket so far.
    Progress {
        /// The feed's number.
        id: u64,
        /// So many.
        sent: u64,
        /// Of so many.
        total: u64,
    },
    /// Recipients were deferred and will be tried again.
    Retry {
        /// The attempt that comes next, from 2.
        attempt: u32,
        /// After this pause.
        pause: Duration,
    },
    /// The circuit breaker of a server has changed its state.
    Breaker {
        /// The server, as routes name it.
        server: String,
        /// The new state.
        state: BreakerState,
        /// What opened it.
        why: Option<String>,
    },
    /// Whether no server can take anything: all breakers have opened, and fallbacks that are of no use do not count. Told
    /// when it changes, and never dropped.
    Dark(bool),
    /// The server asks for less: nothing new is begun for so long.
    Slowed {
        /// The server, as routes name it.
        server: String,
        /// The pause.
        pause: Duration,
        /// Its words.
        why: String,
    },
}

/// What the circuit breaker of a server lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing, until it has cooled down.
    Open,
    /// One submission, which decides.
    HalfOpen,
}

impl BreakerState {
    /// The word for people and records.
    pub fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
        }
    }
}

/// The end of the channel from which sessions pull submissions; several sessions share it.
#[derive(Debug, Clone)]
pub struct Submissions(async_channel::Receiver<Submission>);

impl Submissions {
    /// Shares `receiver`.
    pub fn new(receiver: async_channel::Receiver<Submission>) -> Self {
        Self(receiver)
    }

    /// The next submission, or `None` when no more come. Dropping the future loses nothing.
    pub async fn next(&self) -> Option<Submission> {
        self.0.recv().await.ok()
    }

    /// Whether none is there, and no more come.
    pub fn is_over(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }

    /// A submission that is there already.
    pub fn ready(&self) -> Option<Submission> {
        self.0.try_recv().ok()
    }
}

/// How urgently a delivery is asked to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not at all.
    #[default]
    No,
    /// Begin nothing new; what is under way has its own time limits to end.
    Finish,
    /// Begin nothing new; what is under way has [`Stop::DRAIN`] to end.
    Drain,
    /// At once.
    Now,
}

impl Stop {
    /// How long what is under way may still take.
    pub const DRAIN: Duration = Duration::from_secs(30);

    /// Why something has come to no end, for people.
    pub fn reason(self) -> &'static str {
        match self {
            Stop::No | Stop::Finish => "stopped by a signal",
            Stop::Drain => "stopped by a signal, and it took longer than 30 s",
            Stop::Now => "cut off by a second signal",
        }
    }
}
