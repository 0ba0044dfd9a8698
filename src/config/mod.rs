//! From TOML, environment and flags to one resolved [`Profile`].
//!
//! Parses and resolves only: a secret source is data here, nobody is connected to, nothing is prompted for. One
//! table, [`KEYS`], drives reading, the hint for a misspelt key, `-o`, the environment, `profile show` and the man
//! page. Order of precedence: flag, environment, user's file, system's file, default.

mod aliases;
pub mod autoconfig;
mod call;
mod edit;
mod environment;
mod file;
pub mod import;
mod keys;
mod log;
mod oauth;
mod pattern;
mod profile;
mod queue;
mod resolve;
mod sending;
mod sendmail;
mod server;
mod template;
mod value;

use std::{io, path::PathBuf};

pub use aliases::{Aliases, Expanded, LocalPlace, Mailrc};
pub use call::Call;
pub use edit::Edit;
pub use environment::Environment;
pub use file::{ConfigFile, Files};
pub use keys::{KEYS, Key, SHARED_KEYS, web_address};
pub use log::{LogFormat, LogTable, LogTarget};
pub use oauth::{Flow, OAuth, OAuthClient, Provider};
pub use profile::{
    Auth, Extension, Extensions, Mechanism, Origin, Profile, SecretSource, Secrets, Security, Server, Setting,
    StoreKind, Timeouts, WebWay,
};
pub use queue::{BrokerUrl, OnFailure, QueueTable};
pub use resolve::{
    Request, fallbacks, heirs, profile_names, resolve, resolve_log, resolve_queue, resolve_secrets, resolve_sendmail,
};
pub use sending::{BreakerPolicy, Pool, Rate, RatePolicy};
pub use sendmail::{AliasKind, SendmailTable, SubmissionMode};
pub use server::ServerUrl;
pub use template::{DataSource, TemplateTable};
pub use value::parse_duration;

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A place in a file, a variable or a flag holds something that is not wanted there.
    #[error("{origin}: {what}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// What is wrong with it.
        what: String,
        /// What to type instead.
        hint: Option<String>,
    },
    /// No profile, or not the one asked for.
    #[error("{what}")]
    Profile {
        /// What is missing.
        what: String,
        /// What to type next.
        hints: Vec<String>,
    },
}

/// Returns the one of `known` that `word` was most likely meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let score = |candidate: &str| strsim::jaro_winkler(&word.to_lowercase(), candidate);
    let best = known.into_iter().map(|candidate| (score(candidate), candidate)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.75).then_some(best.1)
}
