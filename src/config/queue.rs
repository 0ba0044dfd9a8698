//! `[queue]`: where messages are kept, for how long, and what becomes of those that fail.

use std::{path::PathBuf, time::Duration};

use super::Environment;

/// The queue of this user, which no profile has a say in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueTable {
    /// The file; one in the state folder, if none is named.
    pub path: Option<PathBuf>,
    /// What is not accepted by then has failed.
    pub lifetime: Duration,
    /// How long messages that have ended are remembered, with their keys.
    pub keep: Duration,
    /// Whether a message of which nobody can know whether it was sent is sent again, instead of being held.
    pub retries_unknown: bool,
    /// What becomes of a message that has failed.
    pub on_failure: OnFailure,
    /// Whether somebody who adds a message sees to it that it is sent, where no worker runs.
    pub drains: bool,
    /// Absolute folders below which jobs of other programs may name files; nowhere, if there are none.
    pub attachment_roots: Vec<PathBuf>,
}

/// What is done about a message that has failed for some recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnFailure {
    /// A report goes to its sender (RFC 3464).
    Report,
    /// Nothing.
    Nothing,
    /// This shell command runs.
    Command(String),
}

impl Default for QueueTable {
    /// As the defaults of the keys say it.
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            path: None,
            lifetime: 5 * DAY,
            keep: 7 * DAY,
            retries_unknown: false,
            on_failure: OnFailure::Report,
            drains: true,
            attachment_roots: Vec::new(),
        }
    }
}

impl QueueTable {
    /// The file, if there is any place for one.
    pub fn file(&self, environment: &Environment) -> Option<PathBuf> {
        self.path.clone().or_else(|| Some(environment.state_folder()?.join("queue.sqlite")))
    }
}
