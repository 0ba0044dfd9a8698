//! What stopped a session or a message where no reply to a recipient did.

use std::fmt;

use super::{Reply, Stage};

/// Kinds of trouble. They decide the exit code and whether trying again makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The host name has no address.
    NoHost,
    /// No address of the host could be connected to.
    Unreachable,
    /// A time limit ran out.
    TimedOut,
    /// The connection ended.
    Lost,
    /// The service says: not now (421, 4xx).
    Busy,
    /// The service says: no (5xx).
    Refused,
    /// TLS, or an extension the message or the configuration requires, is not to be had.
    Unsupported,
    /// The message is larger than the server takes.
    TooLarge,
    /// The certificate is not trusted, or ours is not accepted.
    Untrusted,
    /// The login was refused.
    Login,
    /// The server broke the protocol, or somebody between broke it.
    Protocol,
    /// The configuration cannot work: a secret that is not there, a key file that is no key.
    Configuration,
    /// A file of the message could not be read, or is not what it was when the message was made.
    Input,
    /// A file could not be written.
    Output,
    /// Stopped by a signal.
    Stopped,
    /// A defect of this program.
    Internal,
}

/// What happened, where, and what to do about it.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// How far things had gone.
    pub stage: Stage,
    /// Its kind.
    pub cause: Cause,
    /// What happened, a clause for people, without control characters.
    pub what: String,
    /// The reply behind it, if one was.
    pub reply: Option<Reply>,
    /// What to type or check next, one clause each.
    pub hints: Vec<String>,
}

impl Trouble {
    /// Returns trouble of this kind; foreign text in `what` is cleaned.
    pub fn new(stage: Stage, cause: Cause, what: impl AsRef<str>) -> Self {
        Self { stage, cause, what: super::clean(what.as_ref()), reply: None, hints: Vec::new() }
    }

    /// Adds the reply behind it.
    #[must_use]
    pub fn reply(mut self, reply: Reply) -> Self {
        self.reply = Some(reply);
        self
    }

    /// Adds what to type or check next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl std::error::Error for Trouble {}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reply {
            Some(reply) => write!(f, "{}: {reply}", self.what),
            None => f.write_str(&self.what),
        }
    }
}
