//! Passwords and tokens, from where the profile says they are kept.
//!
//! The first source that is set is used, and its failure is an error: flag, environment, the profile's one source;
//! only where none is named the keyring is asked and then, at a terminal, the user. With OAuth the secret is an access
//! token. Everything here blocks, within limits. What a secret is used for is not known here.

mod environ;
mod keyring;
mod netrc;
pub mod oauth;
pub(crate) mod private;
mod proxy;
mod sources;
pub mod stores;
mod terminal;

use std::time::Duration;

pub use environ::{command, withhold, withhold_sources};
pub use proxy::for_proxy;
pub use sources::of_stdin;
#[cfg(unix)]
pub use terminal::is_ignored;
pub use terminal::{prompt, prompt_client_secret};

use crate::{
    config::{Environment, OAuth, SecretSource, Secrets, StoreKind, WebWay},
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
    /// How those are reached who give out tokens.
    pub web: WebWay,
    /// The profile's name, for hints.
    pub profile_name: Option<String>,
    /// Whether somebody sits at a terminal.
    pub may_prompt: bool,
}

/// Who was asked and what they said, in order.
pub type Chain = Vec<(String, String)>;

/// A secret and who answered.
#[derive(Debug, Clone)]
pub struct Found {
    /// The secret.
    pub secret: Secret,
    /// The source in words.
    pub source: String,
    /// Everybody who was asked for it, the source included.
    pub chain: Chain,
}

/// No secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SecretError {
    /// [`Cause::Login`] if a provider refused; [`Cause::Busy`], [`Cause::Unreachable`] or [`Cause::NoHost`] if it may be
    /// asked again later; [`Cause::Output`] if a store cannot be written; [`Cause::Configuration`] otherwise.
    pub cause: Cause,
    /// What was tried and why it failed.
    pub what: String,
    /// What to type instead.
    pub hints: Vec<String>,
    /// Everybody who was asked.
    pub chain: Chain,
}

impl SecretError {
    fn new(what: impl AsRef<str>) -> Self {
        Self {
            cause: Cause::Configuration,
            what: crate::mail::clean(what.as_ref()),
            hints: Vec::new(),
            chain: Chain::new(),
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The provider, or who consents for the user, has said no.
    fn of_login(self) -> Self {
        self.because(Cause::Login)
    }

    fn because(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }
}

impl Wanted {
    /// The source that will be asked; `None` stands for the keyring and then a prompt.
    pub fn source(&self) -> Option<SecretSource> {
        self.source_of_call().or_else(|| self.profile.clone())
    }

    /// The source that flag or environment name, whatever the profile says.
    pub fn source_of_call(&self) -> Option<SecretSource> {
        let from_environment = || {
            if self.environment.value("MAILSEND_PASSWORD").is_some() {
                return Some(SecretSource::Env("MAILSEND_PASSWORD".to_owned()));
            }
            self.environment.path("MAILSEND_PASSWORD_FILE").map(SecretSource::File)
        };
        self.flag.clone().or_else(from_environment)
    }

    /// The sources in front of the one that will be asked.
    fn unset(&self) -> Chain {
        let said = [
            ("--password-*", self.flag.is_none(), "not given"),
            ("MAILSEND_PASSWORD", self.environment.value("MAILSEND_PASSWORD").is_none(), "not set"),
            ("MAILSEND_PASSWORD_FILE", self.environment.value("MAILSEND_PASSWORD_FILE").is_none(), "not set"),
            ("profile", self.profile.is_none(), "names none"),
        ];
        let unset = said.into_iter().take_while(|(_, is_unset, _)| *is_unset);
        unset.map(|(source, _, said)| (source.to_owned(), said.to_owned())).collect()
    }

    /// Whether it may come to a prompt.
    pub fn may_ask_somebody(&self) -> bool {
        self.may_prompt && self.oauth.is_none() && self.source().is_none()
    }

    /// Where access tokens come from, unless a flag or a variable brings one.
    fn oauth(&self) -> Option<&OAuth> {
        self.oauth.as_ref().filter(|_| self.source_of_call().is_none())
    }

    /// Whether [`refresh`] may bring another token where one was refused.
    pub fn can_renew(&self) -> bool {
        self.oauth().is_some() || matches!(self.source(), Some(SecretSource::Command(_)))
    }

    /// The name of a store, for people.
    pub fn store_name(&self, kind: StoreKind) -> String {
        stores::name(kind, &self.secrets, &self.environment)
    }

    fn login_command(&self) -> String {
        match (&self.profile_name, &self.oauth) {
            (None, Some(OAuth::Client(client))) => format!(
                "mailsend login {} --oauth {} --client-id {}",
                self.whose(),
                client.provider.as_str(),
                client.client_id.as_deref().unwrap_or("ID")
            ),
            _ => format!("mailsend login {}", self.whose()),
        }
    }

    fn logout_command(&self) -> String {
        format!("mailsend logout {}", self.whose())
    }

    fn whose(&self) -> String {
        match &self.profile_name {
            Some(name) => format!("--profile {name}"),
            None => format!("--server smtp://{}@{}", self.user, self.host),
        }
    }
}

/// The last thing before the process ends: waits until no new token is under way or unsaved, at most five seconds for
/// an answer and thirty for saving it, and gives a terminal back at which somebody is being asked.
pub fn settle() {
    oauth::settle();
    terminal::restore();
}

/// Returns the secret. Blocks: for seconds at a keyring, up to a minute at a command, for long at a prompt.
///
/// # Errors
/// With what was tried, and the ways out.
pub fn get(wanted: &Wanted) -> Result<Found, SecretError> {
    let mut chain = wanted.unset();
    if let Some(oauth) = wanted.oauth() {
        return from_oauth(wanted, chain, oauth::get(wanted, oauth));
    }
    let Some(source) = wanted.source() else { return from_stores(wanted, chain) };
    let read = match source {
        SecretSource::Keyring => from_keyring(wanted),
        SecretSource::Netrc(ref path) => netrc::read(path.as_deref(), wanted),
        _ => sources::read(&source, &wanted.environment, COMMAND_LIMIT),
    };
    let source = source.to_string();
    chain.push((source.clone(), read.as_ref().map_or_else(|error| error.what.clone(), |_| "holds it".to_owned())));
    match read {
        Ok(secret) => Ok(Found { secret, source, chain }),
        Err(error) => Err(SecretError { chain, ..error }),
    }
}

/// Returns an access token in the place of the `stale` one, which a server has refused as expired. Blocks as [`get`].
///
/// # Errors
/// As [`get`]; [`Cause::Login`] if there is nothing newer where the refused one came from.
pub fn refresh(wanted: &Wanted, stale: &Secret) -> Result<Found, SecretError> {
    if let Some(oauth) = wanted.oauth() {
        return from_oauth(wanted, wanted.unset(), oauth::refresh(wanted, oauth, stale));
    }
    match wanted.source() {
        // What prints tokens may print a newer one.
        Some(SecretSource::Command(_)) => get(wanted),
        source => {
            let place = source.map_or_else(|| "the stores of login".to_owned(), |source| source.to_string());
            let what = format!("the access token from {place} is refused, and nothing there can renew it");
            Err(SecretError::new(what)
                .of_login()
                .hint("let mailsend get its tokens itself: see oauth.provider and oauth.command in the manual"))
        }
    }
}

/// Adds to the chain what came of OAuth.
fn from_oauth(
    wanted: &Wanted,
    mut chain: Chain,
    answer: Result<(Secret, String), SecretError>,
) -> Result<Found, SecretError> {
    // The profile's password is not asked.
    chain.truncate(3);
    let name = match &wanted.oauth {
        Some(OAuth::Client(client)) => format!("oauth ({})", client.flow.as_str()),
        _ => "oauth.command".to_owned(),
    };
    match answer {
        Ok((secret, source)) => {
            chain.push((name, format!("token from {source}")));
            Ok(Found { secret, source, chain })
        }
        Err(mut error) => {
            chain.append(&mut error.chain);
            chain.push((name, error.what.clone()));
            Err(SecretError { chain, ..error })
        }
    }
}

/// Asks the keyring alone, because the profile names it.
fn from_keyring(wanted: &Wanted) -> Result<Secret, SecretError> {
    stores::check_user(wanted)?;
    let account = stores::password_account(&wanted.user, &wanted.host);
    match keyring::load(wanted, &account) {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => Err(no_entry(wanted, "the keyring holds no password")),
        Err(refusal) => Err(refusal.error),
    }
}

/// Asks the stores and then somebody.
fn from_stores(wanted: &Wanted, mut chain: Chain) -> Result<Found, SecretError> {
    let lookup = stores::load(wanted, &stores::password_account(&wanted.user, &wanted.host));
    let said: Vec<String> = lookup.said.iter().map(|(store, said)| format!("{store}: {said}")).collect();
    chain.extend(lookup.said);
    if let Some((secret, kind)) = lookup.found {
        let source = wanted.store_name(kind);
        return Ok(Found { secret, source, chain });
    }
    let error = lookup.trouble.unwrap_or_else(|| match wanted.secrets.store {
        None => no_entry(wanted, "no store holds a password"),
        Some(kind) => no_entry(wanted, &format!("the {} holds no password", wanted.store_name(kind))),
    });
    if !wanted.may_prompt || lookup.is_final {
        return Err(SecretError { chain, ..error }.hint(format!("asked were: {}", said.join("; "))));
    }
    match prompt(&wanted.user, &wanted.host) {
        Ok(secret) => {
            chain.push(("prompt".to_owned(), "typed".to_owned()));
            Ok(Found { secret, source: format!("prompt ({})", error.what), chain })
        }
        Err(error) => {
            chain.push(("prompt".to_owned(), error.what.clone()));
            Err(SecretError { chain, ..error })
        }
    }
}

fn no_entry(wanted: &Wanted, what: &str) -> SecretError {
    SecretError::new(format!("{what} for {}@{}", wanted.user, wanted.host)).hint(wanted.login_command())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn wanted(environment: Environment, profile_name: Option<&str>) -> Wanted {
        Wanted {
            user: "ada".to_owned(),
            host: "mx.example".to_owned(),
            flag: None,
            environment,
            profile: None,
            oauth: None,
            secrets: Secrets::default(),
            web: WebWay::default(),
            profile_name: profile_name.map(str::to_owned),
            may_prompt: false,
        }
    }

    #[test]
    fn the_first_source_that_is_set_is_the_one() {
        let wanted = |flag: bool, environment: Environment, profile: bool| Wanted {
            flag: flag.then(|| SecretSource::Env("FLAG".to_owned())),
            profile: profile.then(|| SecretSource::Env("PROFILE".to_owned())),
            ..wanted(environment, None)
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
