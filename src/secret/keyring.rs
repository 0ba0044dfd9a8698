//! The keyring of the operating system: one entry per user and host.
//!
//! On Linux that is the Secret Service over D-Bus. While it is locked it says "no entry", which does not mean that
//! nothing is stored; so the lock is asked for first. Every call has a limit, because a keyring may wait for a
//! dialogue that nobody sees.

use std::{sync::mpsc, thread, time::Duration};

use keyring::{Entry, Error};

use super::{Found, SecretError, Wanted};
use crate::mail::Secret;

const SERVICE: &str = "mailsend";
/// Nobody has to click anything.
const QUIET_LIMIT: Duration = Duration::from_secs(10);
/// Somebody may have to type the passphrase of the keyring into its dialogue.
const DIALOGUE_LIMIT: Duration = Duration::from_secs(120);

/// Reads the entry of user and host.
pub(super) fn load(wanted: &Wanted) -> Result<Found, SecretError> {
    let account = account(&wanted.user, &wanted.host);
    let read = move || Entry::new(SERVICE, &account).map_err(no_store)?.get_secret().map_err(Failure::Keyring);
    match call(has_display(wanted), read) {
        Ok(bytes) if bytes.is_empty() => {
            Err(SecretError::new("the keyring's entry is empty").hint(wanted.login_command()))
        }
        Ok(bytes) => Ok(Found { secret: Secret::new(bytes), source: "keyring".to_owned() }),
        Err(failure) => Err(failure.explain(wanted)),
    }
}

/// Whether a keyring is there and open, so that a password can be stored in it.
///
/// # Errors
/// If there is none, it is locked, or it does not answer.
pub fn reach(wanted: &Wanted) -> Result<(), SecretError> {
    let account = account(&wanted.user, &wanted.host);
    let open = move || Entry::new(SERVICE, &account).map(|_| ()).map_err(no_store);
    call(has_display(wanted), open).map_err(|failure| failure.explain(wanted))
}

/// Stores the secret of user and host.
///
/// # Errors
/// If there is no keyring, it is locked, or it does not answer.
pub fn store(wanted: &Wanted, secret: Secret) -> Result<(), SecretError> {
    let account = account(&wanted.user, &wanted.host);
    let write =
        move || Entry::new(SERVICE, &account).map_err(no_store)?.set_secret(secret.expose()).map_err(Failure::Keyring);
    call(has_display(wanted), write).map_err(|failure| failure.explain(wanted))
}

/// Removes the secret of user and host; tells whether there was one.
///
/// # Errors
/// If there is no keyring, it is locked, or it does not answer.
pub fn forget(wanted: &Wanted) -> Result<bool, SecretError> {
    let account = account(&wanted.user, &wanted.host);
    let remove = move || Entry::new(SERVICE, &account).map_err(no_store)?.delete_credential().map_err(Failure::Keyring);
    match call(has_display(wanted), remove) {
        Ok(()) => Ok(true),
        Err(Failure::Keyring(Error::NoEntry)) => Ok(false),
        Err(failure) => Err(failure.explain(wanted)),
    }
}

fn account(user: &str, host: &str) -> String {
    format!("{user}@{host}")
}

fn has_display(wanted: &Wanted) -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| wanted.environment.get(name).is_some())
}

enum Failure {
    Absent(String),
    Locked,
    Silent(Duration),
    Keyring(Error),
}

fn no_store(_: Error) -> Failure {
    let reason = Entry::store_status().as_ref().err().map_or_else(String::new, ToString::to_string);
    Failure::Absent(reason)
}

/// Runs `task` on a thread of its own, which is left behind if it does not come back.
fn call<T: Send + 'static>(
    has_display: bool,
    task: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, result) = mpsc::channel();
    thread::spawn(move || {
        let verdict = if is_locked() && !has_display { Err(Failure::Locked) } else { task() };
        // Nobody listens any more when the time ran out.
        let _ = sender.send(verdict);
    });
    let limit = if has_display { DIALOGUE_LIMIT } else { QUIET_LIMIT };
    result.recv_timeout(limit).unwrap_or(Err(Failure::Silent(limit)))
}

/// Whether the default collection is there and locked.
#[cfg(target_os = "linux")]
fn is_locked() -> bool {
    use secret_service::{EncryptionType, blocking::SecretService};
    SecretService::connect(EncryptionType::Plain)
        .and_then(|service| service.get_default_collection()?.is_locked())
        .unwrap_or(false)
}

#[cfg(not(target_os = "linux"))]
fn is_locked() -> bool {
    false
}

impl Failure {
    fn explain(self, wanted: &Wanted) -> SecretError {
        let whose = account(&wanted.user, &wanted.host);
        match self {
            Failure::Keyring(Error::NoEntry) => {
                SecretError::new(format!("the keyring holds no password for {whose}")).hint(wanted.login_command())
            }
            Failure::Keyring(Error::NoStorageAccess(_)) | Failure::Locked => ways_out(
                SecretError::new(format!("the keyring is locked, so there is no password for {whose}"))
                    .hint("unlock it by logging in at the desktop; where nobody does (cron, SSH, container):"),
                wanted,
            ),
            Failure::Absent(reason) => ways_out(
                SecretError::new(format!("no keyring is running here, so there is no password for {whose} ({reason})"))
                    .hint("cron jobs, SSH sessions and containers have none; there:"),
                wanted,
            ),
            Failure::Silent(limit) => {
                ways_out(SecretError::new(format!("the keyring did not answer within {} s", limit.as_secs())), wanted)
            }
            Failure::Keyring(Error::Ambiguous(_)) => {
                SecretError::new(format!("the keyring holds several passwords for {whose}"))
                    .hint(format!("remove them with the keyring's own program, then: {}", wanted.login_command()))
            }
            Failure::Keyring(error) => ways_out(SecretError::new(format!("the keyring failed: {error}")), wanted),
        }
    }
}

/// Adds the sources that need no keyring, as lines to paste.
fn ways_out(error: SecretError, wanted: &Wanted) -> SecretError {
    let paste = |source: &str| match &wanted.profile_name {
        Some(name) => format!("in [profiles.{name}]: password = {source}"),
        None => format!("-o 'password={source}'"),
    };
    error
        .hint(format!("{}    # chmod 600", paste("{ file = \"/path/to/password\" }")))
        .hint(paste("{ command = \"pass show smtp\" }"))
        .hint(paste("{ env = \"SMTP_PASSWORD\" }"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn wanted() -> Wanted {
        Wanted {
            user: "ada".to_owned(),
            host: "mx.example".to_owned(),
            flag: None,
            environment: Environment::default(),
            profile: None,
            oauth: None,
            secrets: crate::config::Secrets::default(),
            profile_name: Some("work".to_owned()),
            may_prompt: false,
        }
    }

    #[test]
    fn every_failure_names_the_way_out() {
        let no_entry = Failure::Keyring(Error::NoEntry).explain(&wanted());
        assert_eq!(no_entry.hints, ["mailsend login --profile work"]);
        for failure in [Failure::Locked, Failure::Absent("x".to_owned()), Failure::Silent(QUIET_LIMIT)] {
            let error = failure.explain(&wanted());
            let pasted: Vec<_> =
                error.hints.iter().filter(|hint| hint.contains("in [profiles.work]: password = {")).collect();
            assert_eq!(pasted.len(), 3, "{error:?}");
        }
        let locked = Failure::Locked.explain(&wanted());
        assert!(locked.what.contains("locked"));
    }
}
