//! The one error of the command line: exit code, message, hints, source.

use std::io;

use super::Exit;
use crate::{
    config::{ConfigError, Origin},
    ledger::LedgerError,
    mail::{AddressError, Stage, Trouble, clean},
    message::ComposeError,
    queue::QueueError,
    rows::RowsError,
    secret::SecretError,
    template::TemplateError,
};

/// An error that ends the program, for people.
#[derive(Debug)]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    /// What happened, in one line.
    pub message: String,
    /// Lines that show where, such as a text with a caret below.
    pub excerpt: Option<String>,
    /// What to type or check next.
    pub hints: Vec<String>,
    /// What caused it.
    pub source: Option<anyhow::Error>,
}

impl CliError {
    /// An error without hints.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), excerpt: None, hints: Vec::new(), source: None }
    }

    /// A wrong command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds what to type or check next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds what caused it.
    #[must_use]
    pub fn source(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A text that is no address, where `place` says where it stands.
    pub fn address(place: &str, error: &AddressError) -> Self {
        let excerpt = Some(error.caret()).filter(|_| !error.input.is_empty());
        Self { excerpt, ..Self::new(Exit::Data, format!("{place}: {error}")) }
    }

    /// A file that cannot be read.
    pub fn no_input(name: &str, error: io::Error) -> Self {
        Self::new(Exit::NoInput, format!("{name} cannot be read")).source(error)
    }

    /// The whole error as it is shown, one line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("mailsend: {}", self.message)];
        if let Some(excerpt) = &self.excerpt {
            lines.extend(excerpt.lines().map(|line| format!("    {line}")));
        }
        if let Some(source) = &self.source {
            lines.extend(source.chain().map(|cause| format!("  caused by: {cause}")));
        }
        lines.extend(self.hints.iter().map(|hint| format!("  hint: {hint}")));
        // File names and values may hold anything.
        lines.iter().map(|line| clean(line)).collect()
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::File { path, error } => Self::no_input(&path.display().to_string(), error),
            ConfigError::Value { origin, what, hint } => {
                let (exit, place) = match &origin {
                    Origin::Flag(flag) => (Exit::Usage, flag.clone()),
                    origin => (Exit::Configuration, origin.to_string()),
                };
                let error = Self::new(exit, format!("{place}: {what}"));
                hint.into_iter().fold(error, Self::hint)
            }
            ConfigError::Profile { what, hints } => {
                hints.into_iter().fold(Self::new(Exit::Configuration, what), Self::hint)
            }
        }
    }
}

impl From<ComposeError> for CliError {
    fn from(error: ComposeError) -> Self {
        match error {
            ComposeError::Value { .. } => Self::new(Exit::Data, error.to_string()),
            ComposeError::Address { field, error } => Self::address(&field, &error),
            ComposeError::File { path, error } => Self::no_input(&path.display().to_string(), error),
            ComposeError::Spool(error) => Self::new(Exit::Io, "a temporary copy of the input cannot be written")
                .source(error)
                .hint("make room in the folder for temporary files, or name another: TMPDIR=/path"),
        }
    }
}

impl From<TemplateError> for CliError {
    fn from(error: TemplateError) -> Self {
        let exit = if error.is_unreadable { Exit::NoInput } else { Exit::Data };
        let shown = Self::new(exit, error.to_string());
        error.hints.into_iter().fold(shown, Self::hint)
    }
}

impl From<RowsError> for CliError {
    fn from(error: RowsError) -> Self {
        let exit = if error.is_unreadable { Exit::NoInput } else { Exit::Data };
        error.hints.into_iter().fold(Self::new(exit, error.what), Self::hint)
    }
}

impl From<LedgerError> for CliError {
    fn from(error: LedgerError) -> Self {
        let what = error.to_string();
        match error {
            LedgerError::Exists(_) => Self::usage(what)
                .hint("go on with it: the same command with --resume")
                .hint("or begin another: --report with another file"),
            LedgerError::Locked(_) => {
                Self::new(Exit::TryAgain, what).hint("look at it while it runs: mailsend report FILE")
            }
            LedgerError::Changed { .. } => Self::new(Exit::Data, what)
                .hint("what is final stays as it is; to go on with the rest all the same: --resume --force")
                .hint("or begin another run: without --resume, and --report with another file"),
            LedgerError::Invalid { .. } => Self::new(Exit::Data, what),
            LedgerError::File { path, error } => {
                let exit = match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::WriteZero => Exit::Io,
                    _ => Exit::CannotCreate,
                };
                Self::new(exit, format!("{} cannot be used as a ledger", path.display())).source(error)
            }
            LedgerError::NoPlace => Self::new(Exit::Configuration, what).hint("name a file for it: --report run.jsonl"),
        }
    }
}

impl From<QueueError> for CliError {
    fn from(error: QueueError) -> Self {
        let what = error.to_string();
        match error {
            QueueError::NoPlace(_) => Self::new(Exit::Configuration, what)
                .hint("name a file in the configuration: [queue] path = \"/var/lib/mailsend/queue.sqlite\"")
                .hint("or, for all users without a home, a folder of mode 1777: [queue] fallback-folder = \"/var/spool/mailsend/users\""),
            QueueError::Foreign { path, owner } => {
                let is_at_home = std::env::home_dir().is_some_and(|home| path != home && path.starts_with(home));
                Self::new(Exit::Configuration, what).hint(match owner {
                    0 if is_at_home => format!("if sudo made it: sudo chown -R \"$(id -un)\" {}*", path.display()),
                    _ => {
                        format!("every user has a queue of their own: sudo -u '#{owner}' mailsend ..., or name another")
                    }
                })
            }
            QueueError::Exposed { hint, .. } => Self::new(Exit::Configuration, what).hint(hint),
            QueueError::Newer { .. } => Self::new(Exit::Configuration, what).hint("use that version"),
            QueueError::Invalid { .. } | QueueError::Unfit(_) => Self::new(Exit::Data, what),
            QueueError::Busy(_) => Self::new(Exit::TryAgain, what),
            QueueError::Full(_) => Self::new(Exit::Io, what)
                .hint("make room on that disk; what has ended takes some: mailsend queue purge --done"),
            QueueError::File { is_new: true, .. } => Self::new(Exit::CannotCreate, what),
            QueueError::File { is_new: false, .. } => Self::new(Exit::Io, what),
            QueueError::Input { path, error } => Self::no_input(&path.display().to_string(), error),
            QueueError::Unknown(_) => Self::new(Exit::NoInput, what).hint("see: mailsend queue list"),
            QueueError::Ambiguous(_) => Self::usage(what).hint("type more of the name; see: mailsend queue list"),
            QueueError::Standing { .. } => Self::new(Exit::Data, what),
            QueueError::OnlyUnknown(name) => Self::new(Exit::Data, what)
                .hint(format!("if they do not have it: mailsend queue release --unknown {name}"))
                .hint(format!("look for its Message-ID at the server first: mailsend queue show {name}")),
            QueueError::Broker(trouble) if trouble.stage == Stage::Final => Self::new(Exit::Partial, what)
                .hint("nobody knows whether it is in the queue: the same command may add it a second time"),
            QueueError::Broker(trouble) => trouble.into(),
        }
    }
}

impl From<Trouble> for CliError {
    fn from(trouble: Trouble) -> Self {
        let error = Self::new(Exit::of_trouble(&trouble), trouble.to_string());
        trouble.hints.into_iter().fold(error, Self::hint)
    }
}

impl From<SecretError> for CliError {
    fn from(error: SecretError) -> Self {
        let exit = Exit::of_trouble(&Trouble::new(Stage::Auth, error.cause, &error.what));
        error.hints.into_iter().fold(Self::new(exit, error.what), Self::hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Cause, Mailbox};

    #[test]
    fn what_caused_by_hint() {
        let error = CliError::no_input("a.pdf", io::Error::other("no \x1b[2Jsuch file")).hint("check the name");
        assert_eq!(
            error.lines(),
            ["mailsend: a.pdf cannot be read", "  caused by: no \u{FFFD}[2Jsuch file", "  hint: check the name"]
        );
    }

    #[test]
    fn an_address_has_its_caret() {
        let error = CliError::address("--to", &Mailbox::parse("a b@c.example").unwrap_err());
        assert_eq!(error.exit, Exit::Data);
        assert_eq!(error.lines()[1..], ["    a b@c.example", "     ^"]);
    }

    #[test]
    fn a_queue_that_sudo_made_is_given_back_at_home_only() {
        let home = std::env::home_dir().unwrap_or_default();
        let hint =
            |path: std::path::PathBuf, owner| CliError::from(QueueError::Foreign { path, owner }).hints.remove(0);
        let own = home.join("state/queue.sqlite");
        assert!(hint(own.clone(), 0).ends_with(&format!("sudo chown -R \"$(id -un)\" {}*", own.display())));
        assert!([hint(own, 7), hint(home, 0), hint("/nobody".into(), 0)].iter().all(|hint| !hint.contains("chown")));
    }

    #[test]
    fn trouble_keeps_its_hints() {
        let trouble = Trouble::new(Stage::Connect, Cause::NoHost, "host 'x' was not found").hint("check the spelling");
        let error = CliError::from(trouble);
        assert_eq!((error.exit, error.hints.len()), (Exit::NoHost, 1));
    }
}
