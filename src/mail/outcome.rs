//! What became of one recipient.

use std::{fmt, time::Duration};

use super::{Address, Cause, Reply, Trouble};

/// The state in which a recipient ended. Exactly one per recipient and attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The server took responsibility; for a maildir the file is there.
    Accepted,
    /// Not now: 4xx, connection, time-out, TLS, login. Not this recipient's fault, or not for good.
    Deferred,
    /// Never like this: 5xx to this message's MAIL, RCPT or content, or refused here before it was sent.
    Failed,
    /// The last byte has left and no reply came: nobody can know.
    Unknown,
    /// Not sent, and rightly so: a duplicate, excluded, a row that cannot be sent and was to be skipped.
    Skipped,
    /// Kept in the queue, on the disk, to be sent later.
    Queued,
}

/// How far things had gone when a state was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The message is made.
    Compose,
    /// Name look-up and connection.
    Connect,
    /// The server's 220 and the reply to EHLO.
    Greeting,
    /// STARTTLS and the handshake.
    Tls,
    /// Login.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA or BDAT, and the message itself.
    Data,
    /// The last byte has left.
    Final,
}

impl State {
    /// All of them, in the order in which they are shown.
    pub const ALL: [State; 6] =
        [State::Accepted, State::Deferred, State::Failed, State::Unknown, State::Skipped, State::Queued];

    /// The word used in records.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Accepted => "accepted",
            State::Deferred => "deferred",
            State::Failed => "failed",
            State::Unknown => "unknown",
            State::Skipped => "skipped",
            State::Queued => "queued",
        }
    }
}

impl Stage {
    /// The word used in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Compose => "compose",
            Stage::Connect => "connect",
            Stage::Greeting => "greeting",
            Stage::Tls => "tls",
            Stage::Auth => "auth",
            Stage::Mail => "mail",
            Stage::Rcpt => "rcpt",
            Stage::Data => "data",
            Stage::Final => "final",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One recipient's outcome of one attempt.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The recipient as in the envelope.
    pub recipient: Address,
    /// Where it ended.
    pub state: State,
    /// How far it had gone.
    pub stage: Stage,
    /// The reply that decided, if one came.
    pub reply: Option<Reply>,
    /// What decided if it was not a reply.
    pub trouble: Option<Trouble>,
    /// The server's own name for the message, when it gave one; a maildir's file name.
    pub remote_id: Option<String>,
    /// Whether the wish for delivery reports was passed on; `None` when there was none.
    pub dsn: Option<bool>,
    /// From taking the message in hand to this outcome.
    pub elapsed: Duration,
}

impl Outcome {
    /// The reply or the trouble that decided, in words.
    pub fn words(&self) -> Option<String> {
        let reply = self.reply.as_ref().map(ToString::to_string);
        reply.or_else(|| self.trouble.as_ref().map(ToString::to_string))
    }

    /// Of a recipient whose message is safe in the queue under this name.
    pub fn queued(recipient: Address, name: &str) -> Self {
        Self {
            recipient,
            state: State::Queued,
            stage: Stage::Compose,
            reply: None,
            trouble: None,
            remote_id: Some(name.to_owned()),
            dsn: None,
            elapsed: Duration::ZERO,
        }
    }

    /// Of a recipient that is not sent to, and rightly so.
    pub fn skipped(recipient: Address, why: impl AsRef<str>) -> Self {
        Self {
            recipient,
            state: State::Skipped,
            stage: Stage::Compose,
            reply: None,
            trouble: Some(Trouble::new(Stage::Compose, Cause::Stopped, why)),
            remote_id: None,
            dsn: None,
            elapsed: Duration::ZERO,
        }
    }
}
