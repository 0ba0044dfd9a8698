//! The keyring of the operating system.
//!
//! On Linux that is the Secret Service over D-Bus. While it is locked it says "no entry", which does not mean that
//! nothing is stored; so the lock is asked for first. Every call has a limit, because a keyring may wait for a
//! dialogue that nobody sees.

use std::{collections::HashMap, sync::mpsc, thread, time::Duration};

use keyring::{Entry, Error};

use super::{
    SecretError, Wanted,
    stores::{Refusal, file::hint_settings, kind_of, owner_of},
};
use crate::{config::Environment, mail::Secret};

const SERVICE: &str = "mailsend";
/// Nobody has to click anything.
const QUIET_LIMIT: Duration = Duration::from_secs(10);
/// Somebody may have to type the passphrase of the keyring into its dialogue.
const DIALOGUE_LIMIT: Duration = Duration::from_secs(120);

/// Reads an entry.
pub(super) fn load(wanted: &Wanted, account: &str) -> Result<Option<Secret>, Refusal> {
    let name = account.to_owned();
    let read = move || Entry::new(SERVICE, &name).map_err(no_store)?.get_secret().map_err(Failure::Keyring);
    match call(&wanted.environment, read) {
        Ok(bytes) if bytes.is_empty() => Err(Refusal::failed(
            "its entry is empty",
            SecretError::new("the keyring's entry is empty").hint(wanted.login_command()),
        )),
        Ok(bytes) => Ok(Some(Secret::new(bytes))),
        Err(Failure::Keyring(Error::NoEntry)) => Ok(None),
        Err(failure) => Err(failure.in_vain(wanted, account)),
    }
}

/// Whether a keyring is there and open, so that an entry can be stored in it.
pub(super) fn reach(wanted: &Wanted, account: &str) -> Result<(), Refusal> {
    let name = account.to_owned();
    let open = move || Entry::new(SERVICE, &name).map(|_| ()).map_err(no_store);
    call(&wanted.environment, open).map_err(|failure| failure.explain(wanted, account))
}

/// Stores an entry.
pub(super) fn save(wanted: &Wanted, account: &str, secret: &Secret) -> Result<(), Refusal> {
    let (name, secret) = (account.to_owned(), secret.clone());
    let write =
        move || Entry::new(SERVICE, &name).map_err(no_store)?.set_secret(secret.expose()).map_err(Failure::Keyring);
    call(&wanted.environment, write).map_err(|failure| failure.explain(wanted, account))
}

/// Removes an entry; tells whether there was one.
pub(super) fn forget(wanted: &Wanted, account: &str) -> Result<bool, Refusal> {
    let name = account.to_owned();
    let remove = move || Entry::new(SERVICE, &name).map_err(no_store)?.delete_credential().map_err(Failure::Keyring);
    match call(&wanted.environment, remove) {
        Ok(()) => Ok(true),
        Err(Failure::Keyring(Error::NoEntry)) => Ok(false),
        Err(failure) => Err(failure.explain(wanted, account)),
    }
}

/// The accounts of all entries, or why there are none to see, in a few words.
/// With whether there is no keyring here.
pub(super) fn list(environment: &Environment) -> Result<Vec<String>, (String, bool)> {
    call(environment, || {
        // The first entry opens the store; it is not made before something is set.
        Entry::new(SERVICE, "").map_err(no_store)?;
        // Windows takes a pattern for the names, the others attributes.
        let query = HashMap::from([if cfg!(windows) { ("pattern", SERVICE) } else { ("service", SERVICE) }]);
        let found = keyring_core::Entry::search(&query).map_err(Failure::Keyring)?;
        let accounts = found.iter().filter_map(keyring_core::Entry::get_specifiers);
        Ok(accounts.filter(|(service, _)| service == SERVICE).map(|(_, account)| account).collect())
    })
    .map_err(|failure| (failure.said(), matches!(failure, Failure::Absent(_))))
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
    environment: &Environment,
    task: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| environment.get(name).is_some());
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
    /// In a few words.
    fn said(&self) -> String {
        match self {
            Failure::Absent(_) => "not running here".to_owned(),
            Failure::Locked | Failure::Keyring(Error::NoStorageAccess(_)) => "locked".to_owned(),
            Failure::Silent(limit) => format!("no answer within {} s", limit.as_secs()),
            Failure::Keyring(Error::NoEntry) => "no entry".to_owned(),
            Failure::Keyring(Error::Ambiguous(_)) => "several entries".to_owned(),
            Failure::Keyring(error) => format!("it failed: {error}"),
        }
    }

    /// Why an entry cannot be looked up, and what else may bring the secret.
    fn in_vain(self, wanted: &Wanted, account: &str) -> Refusal {
        let none = if kind_of(account) == "tokens" { "there are no tokens" } else { "there is no password" };
        let missing = format!("so {none} for {}", owner_of(account));
        let is_out_of_reach = self.is_out_of_reach();
        let said = match &self {
            // In the words of the system: in the chain only.
            Failure::Absent(reason) if !reason.is_empty() => format!("{} ({reason})", self.said()),
            _ => self.said(),
        };
        let Refusal { mut error, is_absent, .. } = self.explain(wanted, account);
        if is_out_of_reach {
            error.what = format!("{}, {missing}", error.what);
            error = ways_out(error, wanted);
        }
        Refusal { said, error, is_absent }
    }

    /// Whether it may have the entry for somebody else than us.
    fn is_out_of_reach(&self) -> bool {
        !matches!(self, Failure::Keyring(Error::NoEntry | Error::Ambiguous(_)))
    }

    fn explain(self, wanted: &Wanted, account: &str) -> Refusal {
        let (what, whose) = (kind_of(account), owner_of(account));
        let error = match &self {
            Failure::Keyring(Error::NoEntry) => {
                SecretError::new(format!("the keyring holds no {what} for {whose}")).hint(wanted.login_command())
            }
            Failure::Keyring(Error::NoStorageAccess(_)) | Failure::Locked => SecretError::new("the keyring is locked")
                .hint("unlock it by logging in at the desktop; where nobody does (cron, SSH, container):"),
            Failure::Absent(_) => SecretError::new("no keyring is running here")
                .hint("cron jobs, SSH sessions and containers have none; there:"),
            Failure::Silent(limit) => {
                SecretError::new(format!("the keyring did not answer within {} s", limit.as_secs()))
            }
            Failure::Keyring(Error::Ambiguous(_)) => {
                SecretError::new(format!("the keyring holds several {what} entries for {whose}"))
                    .hint(format!("remove them with the keyring's own program, then: {}", wanted.login_command()))
            }
            Failure::Keyring(error) => SecretError::new(format!("the keyring failed: {error}")),
        };
        let error = if self.is_out_of_reach() { other_stores(error, wanted) } else { error };
        match self {
            Failure::Absent(_) => Refusal::absent(self.said(), error),
            failure => Refusal::failed(failure.said(), error),
        }
    }
}

/// Adds the stores that need no desktop.
fn other_stores(error: SecretError, wanted: &Wanted) -> SecretError {
    let command = wanted.login_command();
    let error = match cfg!(target_os = "linux") {
        true => error.hint(format!("{command} --store keyutils    # until the machine starts anew")),
        false => error,
    };
    hint_settings(error.hint(format!("{command} --store file    # encrypted")), &wanted.environment)
}

/// Adds the sources that need no store, as lines to paste.
fn ways_out(error: SecretError, wanted: &Wanted) -> SecretError {
    let paste = |source: &str| match &wanted.profile_name {
        Some(name) => format!("in [profiles.{name}]: password = {source}"),
        None => format!("-o 'password={source}'"),
    };
    error
        .hint("or the password comes from elsewhere:")
        .hint(format!("{}    # chmod 600", paste("{ file = \"/path/to/password\" }")))
        .hint(paste("{ command = \"pass show smtp\" }"))
        .hint(paste("{ env = \"SMTP_PASSWORD\" }"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_names_the_way_out() {
        let wanted = crate::secret::tests::wanted(Environment::default(), Some("work"));
        let account = "ada@mx.example";
        let no_entry = Failure::Keyring(Error::NoEntry).explain(&wanted, account).error;
        assert_eq!(no_entry.hints, ["mailsend login --profile work"]);
        for failure in [Failure::Locked, Failure::Absent("x".to_owned()), Failure::Silent(QUIET_LIMIT)] {
            let error = failure.in_vain(&wanted, account).error;
            let pasted: Vec<_> =
                error.hints.iter().filter(|hint| hint.contains("in [profiles.work]: password = {")).collect();
            assert_eq!(pasted.len(), 3, "{error:?}");
            assert!(error.hints.iter().any(|hint| hint.contains("mailsend login --profile work --store file")));
        }
        // The words of the system are not for everybody, and who logs in misses nothing yet.
        let refusal = Failure::Absent("zbus".to_owned()).in_vain(&wanted, account);
        assert!(refusal.said.contains("zbus") && !format!("{:?}", refusal.error).contains("zbus"), "{refusal:?}");
        let refusal = Failure::Absent("zbus".to_owned()).explain(&wanted, account);
        assert_eq!((refusal.error.what.as_str(), refusal.error.hints.len() < 9), ("no keyring is running here", true));
        let locked = Failure::Locked.in_vain(&wanted, "oauth:ada@mx.example").error;
        assert!(locked.what.contains("locked") && locked.what.contains("tokens for ada@mx.example"), "{locked:?}");
    }
}
