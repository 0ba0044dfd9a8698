//! Keys of `[queue]`, which is one for all profiles.

use super::{Key, reading::nonempty};
use crate::config::{queue::OnFailure, value::Raw};

const ON_UNKNOWN: &[(&str, bool)] = &[("hold", false), ("retry", true)];

/// The keys of `[queue]`.
pub const QUEUE_KEYS: &[Key] = &[
    Key {
        name: "queue.path",
        wanted: "path",
        default: None,
        doc: "The file that keeps the messages, instead of queue.sqlite in the state folder. It must lie on a disk of this \
              machine; a folder of the same name with .d behind it keeps what is large.",
        set: |parts, input| {
            parts.profile.queue.path = Some(input.path()?);
            Ok(())
        },
    },
    Key {
        name: "queue.lifetime",
        wanted: "time",
        default: Some("5d"),
        doc: "A recipient that no server has accepted after this time has failed. Counted from the moment for which the \
              message was meant.",
        set: |parts, input| {
            parts.profile.queue.lifetime = input.limit()?;
            Ok(())
        },
    },
    Key {
        name: "queue.keep",
        wanted: "time",
        default: Some("7d"),
        doc: "How long messages that have ended can be looked at, and their keys are known, also those of removed ones. \
              Their text is gone at once.",
        set: |parts, input| {
            parts.profile.queue.keep = input.duration()?;
            Ok(())
        },
    },
    Key {
        name: "queue.on-unknown",
        wanted: "hold or retry",
        default: Some("hold"),
        doc: "What becomes of a message of which nobody can know whether the server has it: hold waits for somebody who \
              decides, retry sends it again, so that it may come twice.",
        set: |parts, input| {
            parts.profile.queue.retries_unknown = input.choice(ON_UNKNOWN)?;
            Ok(())
        },
    },
    Key {
        name: "queue.on-failure",
        wanted: "report, nothing, or { command = … }",
        default: Some("report"),
        doc: "What is done about a message that has failed or expired: report tells its sender by mail, unless that is <>; \
              a shell command gets the message's record as JSON on standard input, for a minute at most.",
        set: |parts, input| {
            const WANTED: &str = "\"report\", \"nothing\" or { command = \"…\" } is wanted";
            parts.profile.queue.on_failure = match input.raw {
                Raw::Text(text) if text == "report" => OnFailure::Report,
                Raw::Text(text) if text == "nothing" => OnFailure::Nothing,
                Raw::Table(table) => match table.iter().next() {
                    Some((name, Raw::Text(command))) if name == "command" && table.len() == 1 => {
                        OnFailure::Command(nonempty(command).map_err(|_| WANTED.to_owned())?)
                    }
                    _ => return Err(WANTED.to_owned()),
                },
                _ => return Err(WANTED.to_owned()),
            };
            Ok(())
        },
    },
    Key {
        name: "queue.drain",
        wanted: "true or false",
        default: Some("true"),
        doc: "Whether a command that adds messages also starts to send what is due, in the background, where no worker \
              runs. In a container, which ends with its command, false leaves that to the worker.",
        set: |parts, input| {
            parts.profile.queue.drains = input.boolean()?;
            Ok(())
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        keys::Parts,
        queue::QueueTable,
        value::{Input, Raw},
    };

    fn set(name: &str, value: &str) -> Result<QueueTable, String> {
        let key = QUEUE_KEYS.iter().find(|key| key.name == name).unwrap();
        let mut parts = Parts::default();
        let raw = Raw::from_text(value)?;
        (key.set)(&mut parts, &Input { raw: &raw, folder: None, home: None })?;
        Ok(parts.profile.queue)
    }

    /// What holds without a word is what the manual says.
    #[test]
    fn defaults_are_those_of_the_table() {
        let mut parts = Parts::default();
        for key in QUEUE_KEYS {
            assert!(key.doc.ends_with('.') && !key.wanted.is_empty(), "{}", key.name);
            if let Some(default) = key.default {
                let raw = Raw::Text(default.to_owned());
                (key.set)(&mut parts, &Input { raw: &raw, folder: None, home: None }).unwrap();
            }
        }
        assert_eq!(parts.profile.queue, QueueTable::default());
    }

    #[test]
    fn what_becomes_of_failures() {
        let of = |value: &str| set("queue.on-failure", value).map(|table| table.on_failure);
        assert_eq!(of("nothing"), Ok(OnFailure::Nothing));
        assert_eq!(of("{ command = \"logger\" }"), Ok(OnFailure::Command("logger".to_owned())));
        for bad in ["mail", "{ command = \"\" }", "{ file = \"x\" }", "{ command = \"a\", file = \"b\" }", "[1]"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert!(set("queue.lifetime", "0").is_err() && set("queue.on-unknown", "drop").is_err());
        assert!(set("queue.on-unknown", "retry").unwrap().retries_unknown);
    }
}
