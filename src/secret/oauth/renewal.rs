//! Access tokens from an entry, renewed when they end: under a lock, and saved before they are used.

use std::{thread, time::Duration};

use super::{
    client::Client,
    form::Form,
    lock::{Lock, WAIT_LIMIT, has_unsaved},
    pending::Pending,
    remark,
    tokens::{Entry, Kept, account, load},
};
use crate::{
    config::{OAuthClient, StoreKind},
    mail::{Cause, Secret},
    secret::{SecretError, Wanted, stores},
};

/// Pauses before saving is tried again.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// The entry's access token, renewed if it ends soon.
///
/// # Errors
/// If nobody has logged in, the provider refuses, or the store cannot be written.
pub(super) fn get(wanted: &Wanted, settings: &OAuthClient) -> Result<(Secret, String), SecretError> {
    if !has_unsaved(wanted) {
        let kept = load(wanted, settings)?;
        if let Some(access) = kept.entry.living() {
            return Ok(found(wanted, access.token.clone(), kept.store));
        }
    }
    under_lock(wanted, settings, |_| true)
}

/// An access token other than the `stale` one, which a server has refused.
///
/// # Errors
/// As [`get`].
pub(super) fn refresh(
    wanted: &Wanted,
    settings: &OAuthClient,
    stale: &Secret,
) -> Result<(Secret, String), SecretError> {
    under_lock(wanted, settings, |token| token != stale)
}

fn under_lock(
    wanted: &Wanted,
    settings: &OAuthClient,
    is_good: impl Fn(&Secret) -> bool,
) -> Result<(Secret, String), SecretError> {
    // A secret may take a minute; others must not wait for that.
    let client = Client::new(wanted, settings, None);
    let lock = Lock::take(wanted, WAIT_LIMIT)?;
    // Another process may have renewed it meanwhile.
    let kept = take_up(wanted, settings, &lock)?;
    if let Some(access) = kept.entry.living().filter(|access| is_good(&access.token)) {
        return Ok(found(wanted, access.token.clone(), kept.store));
    }
    let client = client?.or_secret(kept.entry.client_secret.as_ref());
    let token = renew(&client, &kept, &lock)?;
    Ok(found(wanted, token, kept.store))
}

/// The token, and where its entry is.
fn found(wanted: &Wanted, token: Secret, store: StoreKind) -> (Secret, String) {
    (token, format!("the {}", wanted.store_name(store)))
}

/// The entry of the store, or the one that was put aside in its place and now finds its way back.
fn take_up(wanted: &Wanted, settings: &OAuthClient, lock: &Lock) -> Result<Kept, SecretError> {
    let Kept { entry, store } = load(wanted, settings)?;
    let Some(newer) = lock.put_aside_for(&entry) else { return Ok(Kept { entry, store }) };
    // A store that still takes nothing is told about when it matters.
    if save(wanted, &newer, store).is_ok() {
        lock.clear();
    }
    Ok(Kept { entry: newer, store })
}

fn renew(client: &Client<'_>, kept: &Kept, lock: &Lock) -> Result<Secret, SecretError> {
    // The old token must not be used up for one that cannot be kept.
    save(client.wanted, &kept.entry, kept.store).map_err(|mut error| {
        error.what = format!("the access token has ended, and a new one could not be stored: {}", error.what);
        error
    })?;
    let form = Form::default().field("grant_type", "refresh_token").secret("refresh_token", &kept.entry.refresh_token);
    let mut pending = Pending::asking();
    let grant = client.tokens(form)?;
    pending.saving();
    let entry = kept.entry.renewed(&grant);
    keep(client.wanted, &entry, kept, lock)?;
    drop(pending);
    grant.access.map(|access| access.token).map_err(|what| client.unusable(&what))
}

/// Saves, with patience; where no store takes it, the entry is put aside for the next run, which is a remark.
fn keep(wanted: &Wanted, entry: &Entry, kept: &Kept, lock: &Lock) -> Result<(), SecretError> {
    let mut saved = save(wanted, entry, kept.store);
    for pause in PAUSES {
        if saved.is_ok() {
            break;
        }
        thread::sleep(pause);
        saved = save(wanted, entry, kept.store);
    }
    match saved {
        Ok(()) => {
            lock.clear();
            Ok(())
        }
        Err(error) => {
            lock.put_aside(entry, &kept.entry).map_err(|second| {
                SecretError::new(format!("the renewed tokens are lost: {}; and not put aside: {second}", error.what))
                    .because(Cause::Output)
                    .hint(format!("make room, and log in again: {}", wanted.login_command()))
            })?;
            remark(format!(
                "the renewed tokens of {} at {} could not be stored: {}; they lie in {} until the next run stores them",
                wanted.user,
                wanted.host,
                error.what,
                lock.aside().display()
            ));
            Ok(())
        }
    }
}

fn save(wanted: &Wanted, entry: &Entry, store: StoreKind) -> Result<(), SecretError> {
    stores::save(wanted, &account(wanted), &entry.encode(), Some(store)).map(|_| ())
}

/// Opens the store in which a login will keep its entry, and writes an older one back unchanged: nobody consents in
/// vain.
///
/// # Errors
/// If the store or the lock cannot be had.
pub(super) fn reach(wanted: &Wanted, store: Option<StoreKind>) -> Result<(), SecretError> {
    let account = account(wanted);
    let kind = stores::reach(wanted, &account, store)?;
    let _lock = Lock::take(wanted, WAIT_LIMIT)?;
    match stores::load(wanted, &account).found {
        Some((entry, kept)) if kept == kind => stores::save(wanted, &account, &entry, Some(kind)).map(|_| ()),
        _ => Ok(()),
    }
}

/// Keeps the entry of a login: it replaces whatever was there, in other stores, too. Where one of these does not let
/// an older entry go, that is told beside.
///
/// # Errors
/// If the store cannot be written; then what was there is still there.
pub(super) fn keep_first(
    wanted: &Wanted,
    entry: &Entry,
    store: Option<StoreKind>,
) -> Result<(StoreKind, Option<SecretError>), SecretError> {
    let lock = Lock::take(wanted, WAIT_LIMIT)?;
    let store = stores::save(wanted, &account(wanted), &entry.encode(), store)?;
    lock.clear();
    Ok((store, stores::forget_elsewhere(wanted, &account(wanted), store).err()))
}
