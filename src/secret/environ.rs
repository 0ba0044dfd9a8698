//! What programs that we start find in their environment: nothing that is secret.

use std::{
    ffi::OsStr,
    process::Command,
    sync::{Mutex, PoisonError},
};

use crate::config::{OAuth, Profile, SecretSource};

/// The variables that the profiles of this process take secrets from.
static NAMED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on no program that we start gets the variables from which this profile takes a secret.
pub fn withhold(profile: &Profile) {
    let client_secret = match &profile.oauth {
        Some(OAuth::Client(client)) => client.client_secret.as_ref(),
        _ => None,
    };
    let sources =
        [profile.password.as_ref(), profile.proxy_password.as_ref(), profile.secrets.key.as_ref(), client_secret];
    withhold_sources(sources.into_iter().flatten());
}

/// The same for single sources.
pub fn withhold_sources<'a>(sources: impl Iterator<Item = &'a SecretSource>) {
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    for source in sources {
        if let SecretSource::Env(name) = source
            && !named.contains(name)
        {
            named.push(name.clone());
        }
    }
}

/// A program that is to be started: it gets neither `MAILSEND_PASSWORD` nor what [`withhold`] has named. It may live
/// long, and others may see its environment.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("MAILSEND_PASSWORD");
    for name in NAMED.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        command.env_remove(name);
    }
    command
}
