//! The stores for secrets, one behind the other: keyring, kernel keys, encrypted file.
//!
//! An entry has an account, a text that names its owner, and octets. What they mean is not known here.

use super::{SecretError, Wanted, keyring};
use crate::{config::StoreKind, mail::Secret};

/// What was found, and what every store that was asked has said.
#[derive(Debug, Default)]
pub struct Lookup {
    /// The entry and where it is kept.
    pub found: Option<(Secret, StoreKind)>,
    /// The answer of every store, in the order in which they were asked: its name, and its words.
    pub said: Vec<(String, String)>,
    /// Why a store could not look, if none has the entry.
    pub trouble: Option<SecretError>,
}

/// The account of a password.
pub fn password_account(user: &str, host: &str) -> String {
    format!("{user}@{host}")
}

/// The account of OAuth tokens.
pub fn token_account(user: &str, host: &str) -> String {
    format!("oauth:{user}@{host}")
}

/// Looks an entry up, in one store or in all of them.
pub fn load(wanted: &Wanted, account: &str) -> Lookup {
    let _ = (wanted, account);
    todo!()
}

/// Keeps an entry, in this store or the one that the configuration says; replaces what was there.
///
/// # Errors
/// If the store is not there, is locked, does not answer, or cannot be written; then what was there is still there.
pub fn save(
    wanted: &Wanted,
    account: &str,
    secret: &Secret,
    store: Option<StoreKind>,
) -> Result<StoreKind, SecretError> {
    let _ = (wanted, account, secret, store, keyring::reach);
    todo!()
}

/// Removes an entry from all stores; tells where it was.
///
/// # Errors
/// If a store that may have it cannot be asked.
pub fn forget(wanted: &Wanted, account: &str) -> Result<Vec<StoreKind>, SecretError> {
    let _ = (wanted, account);
    todo!()
}
