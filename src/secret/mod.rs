//! Passwords and tokens, from where the profile says they are kept.
//!
//! The first source that is set is used, and its failure is an error: flag, environment, the profile's one source;
//! only where none is named the keyring is asked and then, at a terminal, the user. Everything here blocks, within
//! limits. What a secret is used for is not known here.

mod keyring;
pub mod oauth;
mod sources;
pub mod stores;

use std::time::Duration;

pub use keyring::{forget, reach, store};
pub use oauth::settle;
pub use sources::{prompt, prompt_client_secret};

use crate::{
    config::{Environment, OAuth, SecretSource, Secrets},
    mail::{Cause, Secret},
};

/// How long a command may take to print a password; people type a passphrase meanwhile.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Whose secret is wanted, and what may answer.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The user who logs in.
    pub user: String,
    /// The server's host.
    pub host: String,
    /// `--password-command`, `--password-file`, `--password-fd`.
    pub flag: Option<SecretSource>,
    /// `MAILSEND_PASSWORD`, `MAILSEND_PASSWORD_FILE` and those that sources name.
    pub environment: Environment,
    /// The profile's source.
    pub profile: Option<SecretSource>,
    /// Where access tokens come from, if not from a source.
    pub oauth: Option<OAuth>,
    /// Which stores there are.
    pub secrets: Secrets,
    /// The profile's name, for hints.
    pub profile_name: Option<String>,
    /// Whether somebody sits at a terminal.
    pub may_prompt: bool,
}

/// A secret and who answered.
#[derive(Debug)]
pub struct Found {
    /// The secret.
    pub secret: Secret,
    /// The source in words.
    pub source: String,
}

/// No secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SecretError {
    /// [`Cause::Login`] if a provider refused, [`Cause::Configuration`] otherwise.
    pub cause: Cause,
    /// What was tried and why it failed.
    pub what: String,
    /// What to type instead.
    pub hints: Vec<String>,
}

impl SecretError {
    fn new(what: impl AsRef<str>) -> Self {
        Self { cause: Cause::Configuration, what: crate::mail::clean(what.as_ref()), hints: Vec::new() }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The provider, or who consents for the user, has said no.
    fn of_login(mut self) -> Self {
        self.cause = Cause::Login;
        self
    }
}

impl Wanted {
    /// The source that will be asked; `None` stands for the keyring and then a prompt.
    pub fn source(&self) -> Option<SecretSource> {
        self.source_of_call().or_else(|| self.profile.clone())
    }

    /// The source that flag or environment name, whatever the profile says.
    fn source_of_call(&self) -> Option<SecretSource> {
        let from_environment = || {
            if self.environment.value("MAILSEND_PASSWORD").is_some() {
                return Some(SecretSource::Env("MAILSEND_PASSWORD".to_owned()));
            }
            self.environment.path("MAILSEND_PASSWORD_FILE").map(SecretSource::File)
        };
        self.flag.clone().or_else(from_environment)
    }

    /// Whether it may come to a prompt.
    pub fn may_ask_somebody(&self) -> bool {
        self.may_prompt && self.oauth.is_none() && self.source().is_none()
    }

    /// Where access tokens come from, unless a flag or a variable brings one.
    fn oauth(&self) -> Option<&OAuth> {
        self.oauth.as_ref().filter(|_| self.source_of_call().is_none())
    }

    fn login_command(&self) -> String {
        match (&self.profile_name, &self.oauth) {
            (Some(name), _) => format!("mailsend login --profile {name}"),
            (None, Some(OAuth::Client(client))) => format!(
                "mailsend login --server smtp://{}@{} --oauth {} --client-id {}",
                self.user,
                self.host,
                client.provider.as_str(),
                client.client_id.as_deref().unwrap_or("ID")
            ),
            (None, _) => format!("mailsend login --server smtp://{}@{}", self.user, self.host),
        }
    }
}

/// Returns the secret. Blocks: for seconds at a keyring, up to a minute at a command, for long at a prompt.
///
/// # Errors
/// With what was tried, and the ways out.
pub fn get(wanted: &Wanted) -> Result<Found, SecretError> {
    if let Some(oauth) = wanted.oauth() {
        return oauth::get(wanted, oauth);
    }
    match wanted.source() {
        Some(SecretSource::Keyring) => keyring::load(wanted),
        Some(source) => {
            let secret = sources::read(&source, &wanted.environment, COMMAND_LIMIT)?;
            Ok(Found { secret, source: source.to_string() })
        }
        None => keyring::load(wanted).or_else(|error| {
            if !wanted.may_prompt {
                return Err(error);
            }
            let secret = prompt(&wanted.user, &wanted.host)?;
            Ok(Found { secret, source: format!("prompt ({})", error.what) })
        }),
    }
}

/// Returns an access token in the place of the `stale` one, which a server has refused as expired. Blocks as [`get`].
///
/// # Errors
/// As [`get`]; [`Cause::Login`] if there is nothing newer where the refused one came from.
pub fn refresh(wanted: &Wanted, stale: &Secret) -> Result<Found, SecretError> {
    if let Some(oauth) = wanted.oauth() {
        return oauth::refresh(wanted, oauth, stale);
    }
    match wanted.source() {
        // What prints tokens may print a newer one.
        Some(source @ SecretSource::Command(_)) => {
            let secret = sources::read(&source, &wanted.environment, COMMAND_LIMIT)?;
            Ok(Found { secret, source: source.to_string() })
        }
        source => {
            let place = source.map_or_else(|| "the stores of login".to_owned(), |source| source.to_string());
            let what = format!("the access token from {place} is refused, and nothing there can renew it");
            Err(SecretError::new(what)
                .of_login()
                .hint("let mailsend get its tokens itself: see oauth.provider and oauth.command in the manual"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_source_that_is_set_is_the_one() {
        let wanted = |flag: bool, environment: Environment, profile: bool| Wanted {
            user: "ada".to_owned(),
            host: "mx.example".to_owned(),
            flag: flag.then(|| SecretSource::Env("FLAG".to_owned())),
            environment,
            profile: profile.then(|| SecretSource::Env("PROFILE".to_owned())),
            oauth: None,
            secrets: Secrets::default(),
            profile_name: None,
            may_prompt: false,
        };
        let both = Environment::from([("MAILSEND_PASSWORD", "a"), ("MAILSEND_PASSWORD_FILE", "/b"), ("PROFILE", "p")]);
        let env = |name: &str| Some(SecretSource::Env(name.to_owned()));
        assert_eq!(wanted(true, both.clone(), true).source(), env("FLAG"));
        assert_eq!(wanted(false, both.clone(), true).source(), env("MAILSEND_PASSWORD"));
        let file = Environment::from([("MAILSEND_PASSWORD_FILE", "/b")]);
        assert_eq!(wanted(false, file, true).source(), Some(SecretSource::File("/b".into())));
        assert_eq!(wanted(false, Environment::default(), true).source(), env("PROFILE"));
        assert_eq!(wanted(false, Environment::default(), false).source(), None);

        // A named source that fails is an error: nothing else is asked.
        let error = get(&wanted(true, both.clone(), true)).unwrap_err();
        assert!(error.what.contains("FLAG"), "{error:?}");
        let found = get(&wanted(false, both, true)).unwrap();
        assert_eq!(
            (found.secret.expose(), found.source.as_str()),
            (&b"a"[..], "environment variable MAILSEND_PASSWORD")
        );
    }
}
