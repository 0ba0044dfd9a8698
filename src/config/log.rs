//! `[log]`: where it is noted what became of every recipient.

use std::path::PathBuf;

/// The log of this user, which no profile has a say in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogTable {
    /// Where lines go; nowhere, if none is named.
    pub target: Option<LogTarget>,
    /// How they are written.
    pub format: LogFormat,
}

/// Who keeps the lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// A file; lines are added to its end.
    File(PathBuf),
    /// The system's logger (RFC 3164, facility mail).
    Syslog,
    /// systemd's journal, with a field for each column.
    Journal,
}

/// How lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `state=accepted recipient=b@y.example …`
    #[default]
    Text,
    /// A JSON object, as `--report` writes it.
    Json,
}
