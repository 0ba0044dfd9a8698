//! Why the queue cannot be used.

use std::path::{Path, PathBuf};

use super::Status;
use crate::mail::Trouble;

/// Why the queue cannot be used. Its text is clean, and names the file.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// There is no folder for it: neither XDG_STATE_HOME nor HOME is set, or this one cannot be made (exit 78).
    #[error("there is no place for the queue: {}", no_place(.0.as_deref()))]
    NoPlace(Option<PathBuf>),
    /// It, or a folder above it, belongs to somebody else, who could read or change what is sent (exit 78).
    #[error("{} belongs to another user ({})", path.display(), name_of(*owner))]
    Foreign {
        /// The file or folder.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
    },
    /// It is not set up as it has to be: others could read it or change what is sent, or cannot use it though they are to
    /// (exit 78).
    #[error("{}: {what}", path.display())]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// In what way.
        what: String,
        /// What to type.
        hint: String,
    },
    /// A later version of mailsend has made it (exit 78).
    #[error("{} was made by a newer mailsend (version {found} of its tables, {known} is known)", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The one that is known.
        known: i64,
    },
    /// It is no queue, or damaged (exit 65).
    #[error("{}: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A message is such that nobody who shares the queue would take it (exit 65).
    #[error("nobody could take the message from the queue: {0}")]
    Unfit(String),
    /// Others have it for too long (exit 75).
    #[error("{} is busy", .0.display())]
    Busy(PathBuf),
    /// No room is left on the disk (exit 74).
    #[error("{}: no room is left on the disk", .0.display())]
    Full(PathBuf),
    /// It cannot be written (exit 74; 73 if it cannot be created).
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        what: String,
        /// It does not exist and cannot be created.
        is_new: bool,
    },
    /// RabbitMQ cannot be used (exit by its cause).
    #[error("{0}")]
    Broker(Trouble),
    /// A file of a message cannot be read while it is added (exit 66).
    #[error("{}: {error}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// There is no message of this name (exit 66).
    #[error("there is no message '{0}' in the queue")]
    Unknown(String),
    /// Several messages have names that begin so (exit 64).
    #[error("several messages in the queue begin with '{0}'")]
    Ambiguous(String),
    /// Where the message stands, it cannot be done (exit 65).
    #[error("message '{name}' is {}", status.as_str())]
    Standing {
        /// Its name.
        name: String,
        /// Where it stands.
        status: Status,
    },
    /// It was to be released, and nobody is left but those of whom nobody knows whether they have it (exit 65).
    #[error("of message '{0}' nobody is left but recipients of whom nobody knows whether they have it")]
    OnlyUnknown(String),
}

fn no_place(state: Option<&Path>) -> String {
    match state {
        Some(state) => format!("{} is not there, and not ours to make", state.display()),
        None => "neither XDG_STATE_HOME nor HOME is set".to_owned(),
    }
}

/// The user whom everybody knows by name, or the number of another.
fn name_of(owner: u32) -> String {
    if owner == 0 { "root".to_owned() } else { owner.to_string() }
}
