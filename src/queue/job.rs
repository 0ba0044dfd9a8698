//! What is kept of a message, and what is told of it.

use serde::{Deserialize, Serialize};

use crate::mail::{Content, DsnRequest, Envelope, Outcome, Route, State, Submission};

/// Milliseconds since 1970 by the system's clock, which may be set back.
pub type Time = i64;

/// Which way a message takes: what somebody who sends it at once would say on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// `--profile`, or the profile that was chosen for its sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// `--server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Keys that flags have set: name and value. Never a secret; where one is kept may be among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<(String, String)>,
}

/// A message to be kept.
#[derive(Debug, Clone)]
pub struct Job {
    /// With its angle brackets.
    pub message_id: String,
    /// Return path and recipients.
    pub envelope: Envelope,
    /// The message. Its files are read when it is added, and may change or vanish afterwards.
    pub content: Content,
    /// Delivery reports wished for.
    pub dsn: DsnRequest,
    /// By which way.
    pub place: Place,
    /// What is higher goes first: 1 high, 0 normal, -1 low.
    pub priority: i8,
    /// Not before this moment; at once, if none is named.
    pub due: Option<Time>,
    /// What is not accepted by then has failed.
    pub expires: Time,
    /// Who adds a second message with the same key gets the first.
    pub key: Option<String>,
}

/// A message that a worker has for itself for a while.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The store's number, in the order in which messages were added.
    pub id: i64,
    /// By which people name it.
    pub name: String,
    /// Of the lease: whoever has taken the message since has a higher one.
    pub generation: i64,
    /// By which way.
    pub place: Place,
    /// The message with the recipients that are open; its number is that of the claim.
    pub submission: Submission,
    /// Attempts made before.
    pub attempts: u32,
    /// What is not accepted by then has failed.
    pub expires: Time,
    /// Recipients that have failed, and whose failure was not told yet: whoever should have has died.
    pub untold: Vec<Untold>,
    /// Nobody is open: only the failures are to be told. The envelope then names those who have failed.
    pub is_over: bool,
    /// Somebody had it before, and nobody knows how far that has come.
    pub is_redelivered: bool,
}

/// A failure that was noted and not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// The recipient.
    pub address: crate::mail::Address,
    /// The reply or the trouble that decided.
    pub text: String,
    /// Which server; empty, if there was none.
    pub server: String,
}

/// What an attempt came to.
#[derive(Debug)]
pub struct Settlement<'a> {
    /// Whose.
    pub id: i64,
    /// Of the lease. What comes under an older lease is noted all the same where it tells that something was accepted:
    /// that is the truth, and nobody may send it again.
    pub generation: i64,
    /// Recipients with their outcomes.
    pub outcomes: &'a [(Outcome, std::sync::Arc<Route>)],
    /// What follows.
    pub next: Next,
    /// The failures of the message are told with this, or nobody wants to know of them.
    pub is_told: bool,
    /// What tells its sender of them: added with what is noted, and only if the lease is the latest.
    pub report: Option<&'a Job>,
}

/// What becomes of a message after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing yet: further recipients are under way under the same lease.
    More,
    /// It is over: every recipient has ended. Where nobody knows of some whether they have it, it is held instead.
    Done,
    /// Those still open are tried again at this moment, and the lease is given back.
    Again(Time),
    /// The same, and those of whom nobody knows whether they have it are open again, too: they may get it twice.
    AgainUnknown(Time),
    /// Those still open wait for somebody who decides, with the reason.
    Held(String),
    /// Those still open wait until there is a way for them, or for somebody who decides, with the reason.
    HeldWithoutWay(String),
    /// It was not taken, through no fault of its own: free again at this moment (at once without one), no attempt counted.
    Released(Option<Time>),
}

/// Where a kept message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Free for any worker, once it is due.
    Waiting,
    /// A worker has it.
    Leased,
    /// Until somebody decides.
    Held,
    /// Every recipient has ended.
    Done,
}

impl Status {
    /// All of them, in the order of their declaration.
    pub const ALL: [Status; 4] = [Status::Waiting, Status::Leased, Status::Held, Status::Done];

    /// The word for people and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Leased => "leased",
            Status::Held => "held",
            Status::Done => "done",
        }
    }
}

/// A line of the list.
#[derive(Debug, Clone, Serialize)]
pub struct Outline {
    /// By which people name it: 20 characters from 0-9 and a-v.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// When it was added.
    #[serde(serialize_with = "moment")]
    pub added: Time,
    /// When it is due next.
    #[serde(serialize_with = "some_moment")]
    pub due: Option<Time>,
    /// When it expires.
    #[serde(serialize_with = "moment")]
    pub expires: Time,
    /// See [`Job::priority`].
    pub priority: i8,
    /// Attempts made.
    pub attempts: u32,
    /// Octets of the message.
    pub size: u64,
    /// The return path; none for `<>`.
    pub sender: Option<String>,
    /// Of all its recipients.
    pub recipients: u64,
    /// Of these, not ended yet.
    pub open: u64,
    /// Of these, refused for good or expired.
    pub failed: u64,
    /// The first of those that are open, else the first of all.
    pub first_recipient: String,
    /// With its angle brackets.
    pub message_id: String,
    /// What was said last, or why it is held.
    pub why: Option<String>,
}

/// All that is known of one message.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// As in the list.
    #[serde(flatten)]
    pub outline: Outline,
    /// By which way.
    pub place: Place,
    /// Its key, if it has one.
    pub key: Option<String>,
    /// Its worker, while one has it.
    pub worker: Option<String>,
    /// Its recipients, in the order of the envelope.
    pub all: Vec<Recipient>,
}

/// What is known of a recipient.
#[derive(Debug, Clone, Serialize)]
pub struct Recipient {
    /// The address.
    pub address: String,
    /// Where it has ended, or `deferred`; none before the first attempt.
    #[serde(serialize_with = "word")]
    pub state: Option<State>,
    /// The reply or the trouble that decided.
    pub text: Option<String>,
    /// The server's own name for the message.
    pub remote_id: Option<String>,
    /// Which server.
    pub server: Option<String>,
    /// When.
    #[serde(serialize_with = "some_moment")]
    pub time: Option<Time>,
}

/// As in records: `2026-11-23T04:00:00.123Z`.
fn moment<S: serde::Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    match jiff::Timestamp::from_millisecond(*time) {
        Ok(moment) => serializer.collect_str(&format_args!("{moment:.3}")),
        // Of no calendar.
        Err(_) => serializer.serialize_i64(*time),
    }
}

fn some_moment<S: serde::Serializer>(time: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => moment(time, serializer),
        None => serializer.serialize_none(),
    }
}

fn word<S: serde::Serializer>(state: &Option<State>, serializer: S) -> Result<S::Ok, S::Error> {
    match state {
        Some(state) => serializer.serialize_str(state.as_str()),
        None => serializer.serialize_none(),
    }
}

/// The queue in figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Messages that wait, due or not.
    pub waiting: u64,
    /// Of these, due.
    pub due: u64,
    /// With a worker.
    pub leased: u64,
    /// Held.
    pub held: u64,
    /// Done, and kept to be looked at.
    pub done: u64,
    /// Of these, failed for a recipient or for several.
    pub failed: u64,
    /// Octets of all messages that are not done.
    pub octets: u64,
    /// How long the oldest message that is due has been so, in milliseconds.
    pub oldest_due: Option<i64>,
}
