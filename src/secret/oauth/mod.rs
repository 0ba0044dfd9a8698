//! Access tokens (RFC 6749): kept, renewed, and got by a login.
//!
//! A refresh token that a provider has replaced is saved before the access token beside it is used, so that no crash
//! and no second process loses it. Nothing is printed here and nobody is asked; what has to be shown during a login
//! is handed to the caller. Requests block, within limits.

mod answer;
pub(crate) mod browser;
mod client;
mod code;
mod device;
mod form;
mod jwt;
mod lock;
mod pending;
mod redirect;
mod renewal;
mod service;
#[cfg(test)]
mod testing;
mod tokens;

use std::{
    sync::{Mutex, PoisonError, mpsc::Receiver},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub(super) use pending::settle;

pub use self::browser::open as open_in_browser;
use self::{
    answer::Grant,
    client::{ANSWER_LIMIT, Client, Place},
    tokens::Entry,
};
use super::{COMMAND_LIMIT, SecretError, Wanted, sources};
use crate::{
    config::{Flow, OAuth, OAuthClient, Provider, SecretSource, StoreKind},
    mail::{Secret, clean},
};

/// What somebody has to see during a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A code has to be typed into a browser anywhere.
    Code {
        /// Where.
        address: String,
        /// The code.
        code: String,
        /// An address that brings the code along.
        direct: Option<String>,
        /// How long the code is good for.
        lifetime: Duration,
    },
    /// Somebody has to consent in a browser that can come back to this machine.
    Address {
        /// Where.
        address: String,
        /// Whether a browser was started with it.
        is_opened: bool,
        /// How long somebody is waited for.
        limit: Duration,
    },
    /// What was pasted is no address that a browser was sent back to.
    NoAddress,
    /// The tokens are stored, but another store keeps older ones, for this reason.
    Older(String),
}

/// How a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoggedIn {
    /// The tokens are in this store.
    Stored(StoreKind),
    /// A token was given out; there is nothing to store, since the next one is got the same way.
    Proved,
}

/// Whether the provider gives such a client a secret that no source of the profile names.
pub fn may_need_client_secret(settings: &OAuthClient) -> bool {
    settings.flow.needs_login()
        && settings.provider == Provider::Google
        && settings.client_secret.is_none()
        && settings.private_key.is_none()
}

/// Runs the flow of the profile and keeps what it brings, in `store` or the one that the configuration says. `secret`
/// is the client's, if somebody typed it. `show` is called with what somebody has to see; lines that come through
/// `pasted` are addresses to which a browser elsewhere was sent.
///
/// # Errors
/// [`crate::mail::Cause::Login`] if the provider or the user refuses or what comes back belongs to another login,
/// see [`SecretError::cause`] for the others; then the store is as it was.
pub fn login(
    wanted: &Wanted,
    settings: &OAuthClient,
    secret: Option<Secret>,
    store: Option<StoreKind>,
    show: &mut dyn FnMut(&Notice),
    pasted: &Receiver<String>,
) -> Result<LoggedIn, SecretError> {
    let typed = secret.clone();
    if settings.flow.needs_login() {
        renewal::reach(wanted, store)?;
    }
    let client = Client::new(wanted, settings, secret)?;
    let (grant, pending) = match settings.flow {
        Flow::Device => device::run(&client, show, &mut thread::sleep)?,
        Flow::Code => code::run(&client, show, pasted, code::CONSENT_LIMIT)?,
        Flow::ClientCredentials | Flow::ServiceAccount => {
            fetch(wanted, settings)?;
            return Ok(LoggedIn::Proved);
        }
    };
    let entry = first_entry(&client, &grant, typed)?;
    let (store, older) = renewal::keep_first(wanted, &entry, store)?;
    drop(pending);
    if let Some(error) = older {
        show(&Notice::Older(error.what));
    }
    Ok(LoggedIn::Stored(store))
}

/// The entry after a login: complete, or none.
fn first_entry(client: &Client<'_>, grant: &Grant, typed: Option<Secret>) -> Result<Entry, SecretError> {
    let access = grant.access.clone().map_err(|what| client.unusable(&what))?;
    let settings = client.settings;
    let Some(refresh_token) = grant.refresh_token.clone() else {
        let what = format!("{} gives access, but no refresh token: it would end soon", settings.token_endpoint);
        return Err(SecretError::new(what).hint(match settings.provider {
            Provider::Google => {
                "take the access away at https://myaccount.google.com/connections, then log in again".to_owned()
            }
            Provider::Microsoft => "oauth.scopes needs offline_access beside the others".to_owned(),
            Provider::Custom => "most providers want offline_access among oauth.scopes, or a consent each time: \
                                 oauth.authorize-endpoint = \"…?prompt=consent\""
                .to_owned(),
        }));
    };
    Ok(Entry {
        client_id: client.id().to_owned(),
        client_secret: typed.filter(|_| settings.client_secret.is_none()),
        token_endpoint: settings.token_endpoint.clone(),
        scopes: settings.scopes.clone(),
        refresh_token,
        expires_at: now().saturating_add(access.lifetime),
        access: Some(access),
    })
}

/// An access token for a session.
///
/// # Errors
/// With what was tried, and the ways out.
pub(super) fn get(wanted: &Wanted, oauth: &OAuth) -> Result<(Secret, String), SecretError> {
    match oauth {
        OAuth::Client(settings) if settings.flow.needs_login() => renewal::get(wanted, settings),
        OAuth::Client(settings) => fetch(wanted, settings),
        OAuth::Command(command) => {
            let source = SecretSource::Command(command.clone());
            let secret = sources::read(&source, &wanted.environment, COMMAND_LIMIT)?;
            Ok((secret, source.to_string()))
        }
    }
}

/// An access token other than the `stale` one, which a server has refused.
///
/// # Errors
/// As [`get`].
pub(super) fn refresh(wanted: &Wanted, oauth: &OAuth, stale: &Secret) -> Result<(Secret, String), SecretError> {
    match oauth {
        OAuth::Client(settings) if settings.flow.needs_login() => renewal::refresh(wanted, settings, stale),
        oauth => get(wanted, oauth),
    }
}

/// A token that nobody has to consent to, and that is not stored.
fn fetch(wanted: &Wanted, settings: &OAuthClient) -> Result<(Secret, String), SecretError> {
    let grant = match settings.flow {
        Flow::ServiceAccount => service::fetch(wanted, settings, ANSWER_LIMIT)?,
        _ => Client::new(wanted, settings, None)?.alone()?,
    };
    let access = grant.access.map_err(|what| client::unusable(Place::of_tokens(settings), &what))?;
    let source = format!("OAuth {} of {}", settings.flow.as_str(), settings.provider.as_str());
    Ok((access.token, source))
}

/// Keeps other processes from renewing the tokens while they are moved, until it is dropped.
///
/// # Errors
/// If there is no place for the lock, or another process keeps it.
pub fn hold(wanted: &Wanted) -> Result<impl Sized + use<>, SecretError> {
    lock::Lock::take(wanted, lock::WAIT_LIMIT)
}

/// Removes what was put aside because no store would take it: part of a logout.
pub fn forget_unsaved(wanted: &Wanted) {
    lock::forget_unsaved(wanted);
}

/// What has to be told although it has stopped nothing.
static REMARKS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn remark(what: String) {
    REMARKS.lock().unwrap_or_else(PoisonError::into_inner).push(clean(&what));
}

/// Takes what the user has to know although it has stopped nothing: tokens that lie elsewhere than they should.
pub fn remarks() -> Vec<String> {
    std::mem::take(&mut *REMARKS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Seconds since 1970.
fn now() -> u64 {
    // A clock before that is none.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
