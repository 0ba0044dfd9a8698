//! Keys of `[log]`, which is one for all profiles.

use super::Key;
use crate::config::{
    log::{LogFormat, LogTarget},
    value::Raw,
};

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

/// The keys of `[log]`.
pub const LOG_KEYS: &[Key] = &[
    Key {
        name: "log.file",
        wanted: "path, \"syslog\" or \"journal\"",
        default: None,
        doc: "Where a line is written for every recipient and outcome, whatever command it was: to the end of a file, to \
              the system's logger (facility mail), or to systemd's journal, which gets every column as a field.",
        set: |parts, input| {
            parts.profile.log.target = Some(match input.raw {
                Raw::Text(text) if text == "syslog" => LogTarget::Syslog,
                Raw::Text(text) if text == "journal" => LogTarget::Journal,
                _ => LogTarget::File(input.path()?),
            });
            Ok(())
        },
    },
    Key {
        name: "log.format",
        wanted: "text or json",
        default: Some("text"),
        doc: "How a line of the log is written: key=value, or a JSON object as of --report.",
        set: |parts, input| {
            parts.profile.log.format = input.choice(FORMATS)?;
            Ok(())
        },
    },
];
