//! Keys of `[sendmail]`, which is one for all profiles.

use super::{Key, reading::domain_name};
use crate::config::{
    sendmail::{AliasKind, SubmissionMode},
    value::{Input, Raw},
};

const MODES: &[(&str, SubmissionMode)] = &[
    ("queue-then-try", SubmissionMode::QueueThenTry),
    ("queue", SubmissionMode::Queue),
    ("direct", SubmissionMode::Direct),
];

const KINDS: &[(&str, AliasKind)] =
    &[("include", AliasKind::Include), ("file", AliasKind::File), ("command", AliasKind::Command)];

/// The keys of `[sendmail]`.
pub const SENDMAIL_KEYS: &[Key] = &[
    Key {
        name: "sendmail.mode",
        wanted: "queue-then-try, queue or direct",
        default: Some("queue-then-try"),
        doc: "When a message is sent that a program hands to sendmail or mail. queue-then-try: it is put into the queue, the \
              program goes on, and there is one attempt of up to 10 s in the background; queue: a worker sends it; direct: \
              it is sent while the program waits.",
        set: |parts, input| {
            parts.profile.sendmail.mode = input.choice(MODES)?;
            Ok(())
        },
    },
    Key {
        name: "sendmail.domain",
        wanted: "domain",
        default: None,
        doc: "The domain of names that have none, such as root. Without it: this machine's name.",
        set: |parts, input| {
            parts.profile.sendmail.domain = Some(domain_name(input.line()?)?);
            Ok(())
        },
    },
    Key {
        name: "sendmail.aliases",
        wanted: "paths",
        default: Some("/etc/aliases"),
        doc: "Files with lines like 'root: ops@example.com' (aliases(5)) for the names of this machine, as a list; the first \
              file that knows a name counts. '*' or 'default' stands for every name that is not there.",
        set: |parts, input| {
            let path = |text: &String| {
                let raw = Raw::Text(text.clone());
                Input { raw: &raw, folder: input.folder.clone(), home: input.home.clone() }.path()
            };
            let paths = input.list()?;
            parts.profile.sendmail.aliases =
                paths.iter().filter(|text| !text.is_empty()).map(path).collect::<Result<_, _>>()?;
            Ok(())
        },
    },
    Key {
        name: "sendmail.allow",
        wanted: "a list of include, file, command",
        default: None,
        doc: "What an alias may stand for beside addresses: :include:/file, /file, |command. Whatever is not named here is \
              refused.",
        set: |parts, input| {
            let kind = |text: &String| {
                let raw = Raw::Text(text.clone());
                Input { raw: &raw, folder: None, home: None }.choice(KINDS)
            };
            let words = input.list()?;
            parts.profile.sendmail.allows =
                words.iter().filter(|text| !text.is_empty()).map(kind).collect::<Result<_, _>>()?;
            Ok(())
        },
    },
    Key {
        name: "sendmail.drop",
        wanted: "folder",
        default: None,
        doc: "For one mail service of a whole system: a folder that every user may add messages to, and that the worker of its \
              owner sends from. It belongs into /etc/mailsend/config.toml.",
        set: |parts, input| {
            parts.profile.sendmail.drop = Some(input.path()?);
            Ok(())
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{keys::Parts, sendmail::SendmailTable};

    fn set(name: &str, value: &str) -> Result<SendmailTable, String> {
        let key = SENDMAIL_KEYS.iter().find(|key| key.name == name).unwrap();
        let mut parts = Parts::default();
        let raw = Raw::from_text(value)?;
        let folder = Some("/etc/mailsend".into());
        (key.set)(&mut parts, &Input { raw: &raw, folder, home: None })?;
        Ok(parts.profile.sendmail)
    }

    /// What holds without a word is what the manual says.
    #[test]
    fn defaults_are_those_of_the_table() {
        let mut parts = Parts::default();
        for key in SENDMAIL_KEYS {
            assert!(key.doc.ends_with('.') && !key.wanted.is_empty(), "{}", key.name);
            if let Some(default) = key.default {
                let raw = Raw::Text(default.to_owned());
                (key.set)(&mut parts, &Input { raw: &raw, folder: None, home: None }).unwrap();
            }
        }
        assert_eq!(parts.profile.sendmail, SendmailTable::default());
    }

    #[test]
    fn values() {
        assert_eq!(set("sendmail.mode", "direct").unwrap().mode, SubmissionMode::Direct);
        assert_eq!(
            set("sendmail.aliases", "[\"/etc/aliases\", \"more\"]").unwrap().aliases,
            ["/etc/aliases", "/etc/mailsend/more"].map(std::path::PathBuf::from)
        );
        assert!(set("sendmail.aliases", "[]").unwrap().aliases.is_empty());
        assert_eq!(set("sendmail.allow", "include, file").unwrap().allows, [AliasKind::Include, AliasKind::File]);
        assert_eq!(
            set("sendmail.domain", "B\u{fc}cher.example").unwrap().domain.as_deref(),
            Some("xn--bcher-kva.example")
        );
        for (name, bad) in [
            ("mode", "now"),
            ("allow", "pipe"),
            ("domain", "a b"),
            ("domain", ""),
            ("domain", "a@b"),
            ("domain", "a\r\nb"),
        ] {
            assert!(set(&format!("sendmail.{name}"), bad).is_err(), "{name} {bad}");
        }
    }
}
