//! Keys of `[queue]`, which is one for all profiles.

use std::path::{Component, PathBuf};

use super::{
    Key,
    reading::{nonempty, secret_source},
};
use crate::config::{
    queue::{BrokerUrl, OnFailure},
    server::UrlError,
    value::{Input, Raw},
};

/// Names of queues have to fit into a short string of AMQP, with what is put behind them.
const LONGEST_NAME: usize = 200;

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
        name: "queue.fallback-folder",
        wanted: "folder",
        default: None,
        doc: "Where users without a home keep their queues, each in a folder of their own in it. Everybody must be able to \
              make one there, and nobody take away those of others: chmod 1777.",
        set: |parts, input| {
            parts.profile.queue.fallback_folder = Some(input.path()?);
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
    Key {
        name: "queue.attachment-roots",
        wanted: "folders",
        default: None,
        doc: "Absolute folders below which the jobs of other programs may name files to attach, as a list. Without one they \
              may name none. A relative path starts from the first; hidden files, and links that lead out, are refused.",
        set: |parts, input| {
            parts.profile.queue.attachment_roots = roots(input)?;
            Ok(())
        },
    },
    Key {
        name: "queue.url",
        wanted: "amqps://USER@HOST:PORT/VHOST",
        default: None,
        doc: "The RabbitMQ that keeps the messages instead of the file, so that workers on many machines share them. \
              amqp:// is without TLS. There is no password in it: see queue.password.",
        set: |parts, input| {
            parts.profile.queue.url = Some(BrokerUrl::parse(input.line()?).map_err(|error| match error {
                UrlError::Password => "a password in a URL is not taken: name its place in queue.password".to_owned(),
                UrlError::Invalid(what) => what,
            })?);
            Ok(())
        },
    },
    Key {
        name: "queue.password",
        wanted: "keyring, or a table with one source",
        default: None,
        doc: "Where the password for RabbitMQ is kept, as in a profile.",
        set: |parts, input| {
            parts.profile.queue.password = Some(secret_source(input)?);
            Ok(())
        },
    },
    Key {
        name: "queue.ca-file",
        wanted: "path",
        default: None,
        doc: "PEM file with the authorities that RabbitMQ's certificate is trusted by, instead of all others.",
        set: |parts, input| {
            parts.profile.queue.ca_file = Some(input.path()?);
            Ok(())
        },
    },
    Key {
        name: "queue.allow-plaintext-auth",
        wanted: "true or false",
        default: Some("false"),
        doc: "Whether the password may go to RabbitMQ on another machine without TLS (amqp://).",
        set: |parts, input| {
            parts.profile.queue.allows_plaintext = input.boolean()?;
            Ok(())
        },
    },
    Key {
        name: "queue.name",
        wanted: "name of a queue",
        default: Some("email_queue"),
        doc: "The queue in RabbitMQ. NAME.delay.8s and its like keep what is tried again later, NAME.dead what could not \
              be sent or read.",
        set: |parts, input| {
            parts.profile.queue.name = queue_name(input.line()?)?;
            Ok(())
        },
    },
    Key {
        name: "queue.results",
        wanted: "name of a queue",
        default: None,
        doc: "The queue in RabbitMQ that gets a record, as --report writes it, for every recipient that has ended.",
        set: |parts, input| {
            parts.profile.queue.results = Some(queue_name(input.line()?)?);
            Ok(())
        },
    },
    Key {
        name: "queue.declare",
        wanted: "true or false",
        default: Some("true"),
        doc: "Whether queues that RabbitMQ does not have are made. With false they have to be there, and nothing is asked \
              of their kind.",
        set: |parts, input| {
            parts.profile.queue.declares = input.boolean()?;
            Ok(())
        },
    },
];

/// Folders that do not depend on where somebody stands, and that are not everything.
fn roots(input: &Input<'_>) -> Result<Vec<PathBuf>, String> {
    let root = |text: &String| {
        let raw = Raw::Text(text.clone());
        let path = Input { raw: &raw, folder: None, home: input.home.clone() }.path()?;
        let is_plain = path.components().all(|part| !matches!(part, Component::ParentDir));
        match path.is_absolute() && path.parent().is_some() && is_plain {
            true => Ok(path),
            false => Err(format!("'{}' is no absolute path of a folder, like /srv/mail", crate::mail::clean(text))),
        }
    };
    input.list()?.iter().map(root).collect()
}

fn queue_name(text: &str) -> Result<String, String> {
    let is_reserved = text.starts_with("amq.");
    match nonempty(text)? {
        name if name.len() <= LONGEST_NAME && !is_reserved => Ok(name),
        _ if is_reserved => Err("names that begin with amq. are RabbitMQ's own".to_owned()),
        _ => Err(format!("a name of up to {LONGEST_NAME} octets is wanted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{keys::Parts, queue::QueueTable};

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

    #[test]
    fn files_of_jobs_lie_somewhere() {
        let of = |value: &str| set("queue.attachment-roots", value).map(|table| table.attachment_roots);
        assert_eq!(of("[\"/srv/a, b\", \"/srv/c\"]"), Ok(vec!["/srv/a, b".into(), "/srv/c".into()]));
        assert_eq!(of("/srv/a,/srv/c"), Ok(vec!["/srv/a".into(), "/srv/c".into()]));
        assert_eq!(of("[]"), Ok(Vec::new()));
        for bad in ["files", "./files", "/", "/srv/../etc", "", "~/files", "[1]", "true,"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
