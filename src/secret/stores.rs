//! The stores for secrets, one behind the other: keyring, kernel keys, encrypted file.
//!
//! An entry has an account, a text that names its owner, and octets. What they mean is not known here.

pub(super) mod file;
mod keyutils;
mod vault;

use super::{Chain, SecretError, Wanted, keyring};
use crate::{
    config::{Environment, Secrets, StoreKind},
    mail::Secret,
};

/// What an account of tokens begins with, and no user's name.
const TOKENS: &str = "oauth:";

/// What was found, and what every store that was asked has said.
#[derive(Debug, Default)]
pub struct Lookup {
    /// The entry and where it is kept.
    pub found: Option<(Secret, StoreKind)>,
    /// The answer of every store, in the order in which they were asked: its name, and its words.
    pub said: Chain,
    /// Why a store could not look, if none has the entry.
    pub trouble: Option<SecretError>,
    /// Whether that is the end: the encrypted file is there and does not open. Nobody is asked for its entry instead,
    /// who could take the question for that of the file's passphrase.
    pub is_final: bool,
}

/// An entry without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Whether it holds OAuth tokens and no password.
    pub is_tokens: bool,
    /// The user.
    pub user: String,
    /// The server's host.
    pub host: String,
    /// Where it is.
    pub store: StoreKind,
}

/// A store that does not say what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// The store.
    pub store: StoreKind,
    /// Its name, for people.
    pub name: String,
    /// In a few words.
    pub reason: String,
    /// Whether there is no such store on this machine, so that it holds nothing.
    pub is_absent: bool,
}

/// Why a store did not do what was asked.
#[derive(Debug)]
pub(super) struct Refusal {
    /// In a few words, for the chain.
    pub said: String,
    /// In full.
    pub error: SecretError,
    /// Whether there is no such store on this machine, so that it holds nothing.
    pub is_absent: bool,
}

impl Refusal {
    pub(super) fn failed(said: impl Into<String>, error: SecretError) -> Self {
        Self { said: said.into(), error, is_absent: false }
    }

    pub(super) fn absent(said: impl Into<String>, error: SecretError) -> Self {
        Self { said: said.into(), error, is_absent: true }
    }
}

/// The account of a password.
pub fn password_account(user: &str, host: &str) -> String {
    format!("{user}@{host}")
}

/// The account of OAuth tokens.
pub fn token_account(user: &str, host: &str) -> String {
    format!("{TOKENS}{user}@{host}")
}

/// Checks that nothing of a user can be taken for another user's tokens.
///
/// # Errors
/// If the name begins as the accounts of tokens do.
pub fn check_user(wanted: &Wanted) -> Result<(), SecretError> {
    if !wanted.user.starts_with(TOKENS) {
        return Ok(());
    }
    let what = format!("the user '{}': a name that begins with '{TOKENS}' cannot have a place in a store", wanted.user);
    Err(SecretError::new(what)
        .hint("name the user alone; where it is called so, name a source: -o 'password={ file = \"/path\" }'"))
}

/// What an account is for, in a word.
pub fn kind_of(account: &str) -> &'static str {
    if account.starts_with(TOKENS) { "tokens" } else { "password" }
}

/// Whose an account is.
pub(super) fn owner_of(account: &str) -> &str {
    account.strip_prefix(TOKENS).unwrap_or(account)
}

/// The stores to ask, in their order.
fn kinds(secrets: &Secrets) -> Vec<StoreKind> {
    match secrets.store {
        Some(kind) => vec![kind],
        None => StoreKind::WORDS.iter().map(|(_, kind)| *kind).collect(),
    }
}

/// The name of a store, for people.
pub fn name(kind: StoreKind, secrets: &Secrets, environment: &Environment) -> String {
    match (kind, file::path(secrets, environment)) {
        (StoreKind::File, Some(path)) => format!("file {}", path.display()),
        (StoreKind::Keyutils, _) => "kernel's key store".to_owned(),
        _ => kind.as_str().to_owned(),
    }
}

/// Reads an entry from one store.
pub(super) fn load_from(kind: StoreKind, wanted: &Wanted, account: &str) -> Result<Option<Secret>, Refusal> {
    match kind {
        StoreKind::Keyring => keyring::load(wanted, account),
        StoreKind::Keyutils => keyutils::load(account),
        StoreKind::File => file::load(wanted, account),
    }
}

fn save_to(kind: StoreKind, wanted: &Wanted, account: &str, secret: &Secret) -> Result<(), Refusal> {
    match kind {
        StoreKind::Keyring => keyring::save(wanted, account, secret),
        StoreKind::Keyutils => keyutils::save(account, secret),
        StoreKind::File => file::save(wanted, account, secret),
    }
}

fn forget_in(kind: StoreKind, wanted: &Wanted, account: &str) -> Result<bool, Refusal> {
    match kind {
        StoreKind::Keyring => keyring::forget(wanted, account),
        StoreKind::Keyutils => keyutils::forget(account),
        StoreKind::File => file::forget(wanted, account),
    }
}

/// Looks an entry up, in one store or in all of them. The first that has it is not followed by another; one that
/// cannot look does not hide what the next one has.
pub fn load(wanted: &Wanted, account: &str) -> Lookup {
    let mut lookup = Lookup::default();
    if let Err(error) = check_user(wanted) {
        return Lookup { trouble: Some(error), ..lookup };
    }
    let mut absence = None;
    let has_file = file::path(&wanted.secrets, &wanted.environment).is_some_and(|path| path.exists());
    for kind in kinds(&wanted.secrets) {
        let said = match load_from(kind, wanted, account) {
            Ok(Some(secret)) => {
                lookup.found = Some((secret, kind));
                "holds it".to_owned()
            }
            Ok(None) if kind == StoreKind::File && !has_file => "not there".to_owned(),
            Ok(None) => "no entry".to_owned(),
            Err(refusal) if kind == StoreKind::File && !refusal.is_absent => {
                lookup.is_final = true;
                lookup.trouble = Some(refusal.error);
                refusal.said
            }
            Err(refusal) => {
                let place = if refusal.is_absent { &mut absence } else { &mut lookup.trouble };
                place.get_or_insert(refusal.error);
                refusal.said
            }
        };
        lookup.said.push((wanted.store_name(kind), said));
        if lookup.found.is_some() {
            lookup.trouble = None;
            return lookup;
        }
    }
    // No keyring is the trouble only where nobody has made another place.
    if lookup.trouble.is_none() && (!has_file || wanted.secrets.store.is_some()) {
        lookup.trouble = absence;
    }
    if let Some(trouble) = &mut lookup.trouble {
        trouble.chain.clone_from(&lookup.said);
    }
    lookup
}

/// The store that an entry is kept in, unless another is named.
pub fn target(wanted: &Wanted, store: Option<StoreKind>) -> StoreKind {
    store.or(wanted.secrets.store).unwrap_or(StoreKind::Keyring)
}

/// Opens a store as far as it must be to keep an entry, so that nobody types a password in vain. An encrypted file
/// that is not there is made.
///
/// # Errors
/// If the store is not there, is locked, does not answer, or its key is wrong; see [`check_user`].
pub fn reach(wanted: &Wanted, account: &str, store: Option<StoreKind>) -> Result<StoreKind, SecretError> {
    check_user(wanted)?;
    let kind = target(wanted, store);
    match kind {
        StoreKind::Keyring => keyring::reach(wanted, account),
        StoreKind::Keyutils => keyutils::reach(),
        StoreKind::File => file::reach(wanted),
    }
    .map_err(|refusal| refusal.error)?;
    Ok(kind)
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
    check_user(wanted)?;
    let kind = target(wanted, store);
    save_to(kind, wanted, account, secret).map_err(|refusal| refusal.error)?;
    Ok(kind)
}

/// Removes an entry from all stores; tells where it was.
///
/// # Errors
/// If a store that may have it cannot be asked; from the others it is removed all the same.
pub fn forget(wanted: &Wanted, account: &str) -> Result<Vec<StoreKind>, SecretError> {
    let (removed, failure) = forget_all(wanted, &[account]);
    match failure {
        None => Ok(removed.into_iter().map(|(kind, _)| kind).collect()),
        Some(error) => Err(error),
    }
}

/// Removes entries from all stores; tells where which was, and why a store that may have one could not be asked.
pub fn forget_all<'a>(wanted: &Wanted, accounts: &[&'a str]) -> (Vec<(StoreKind, &'a str)>, Option<SecretError>) {
    let mut removed = Vec::new();
    let (mut failed, mut absent, mut has_answer) = (None, None, false);
    for kind in kinds(&wanted.secrets) {
        for account in accounts {
            match forget_in(kind, wanted, account) {
                Ok(was_there) => {
                    has_answer = true;
                    removed.extend(was_there.then_some((kind, *account)));
                }
                Err(refusal) => {
                    let place = if refusal.is_absent { &mut absent } else { &mut failed };
                    place.get_or_insert(refusal.error);
                    // It will not answer the next question either.
                    break;
                }
            }
        }
    }
    // A store that is not there holds nothing; that there is none at all is worth a word.
    let failure = failed.or(absent.filter(|_| !has_answer));
    (removed, failure)
}

/// Removes an entry from all stores but this one: an older one would be found in front of it. A store that cannot be
/// asked is left alone.
///
/// # Errors
/// If a store that has it does not let it go.
pub(super) fn forget_elsewhere(wanted: &Wanted, account: &str, kept: StoreKind) -> Result<(), SecretError> {
    for kind in kinds(&wanted.secrets).into_iter().filter(|kind| *kind != kept) {
        if let Ok(Some(_)) = load_from(kind, wanted, account) {
            forget_in(kind, wanted, account).map_err(|refusal| refusal.error)?;
        }
    }
    Ok(())
}

/// Moves an entry to a store from the first other one that has it; tells where it was. It is read, written, read back
/// and compared, and then removed: whatever happens in between, it is in one of them.
///
/// # Errors
/// If one of both stores fails, or both have one and they differ.
pub fn relocate(wanted: &Wanted, account: &str, to: StoreKind) -> Result<Option<StoreKind>, SecretError> {
    for (_, from) in StoreKind::WORDS {
        if from == to {
            continue;
        }
        // A store that cannot be asked has nothing that could be moved.
        let Ok(Some(secret)) = load_from(from, wanted, account) else { continue };
        let there = load_from(to, wanted, account).map_err(|refusal| refusal.error)?;
        if there.is_some_and(|there| there != secret) {
            let (from, to, what) = (wanted.store_name(from), wanted.store_name(to), kind_of(account));
            return Err(SecretError::new(format!("the {from} and the {to} hold different {what} entries"))
                .hint(format!("remove both and log in again: {}", wanted.logout_command())));
        }
        save_to(to, wanted, account, &secret).map_err(|refusal| refusal.error)?;
        match load_from(to, wanted, account).map_err(|refusal| refusal.error)? {
            Some(kept) if kept == secret => {}
            _ => {
                return Err(SecretError::new(format!(
                    "the {} does not give back what it was given",
                    wanted.store_name(to)
                )));
            }
        }
        forget_in(from, wanted, account).map_err(|refusal| refusal.error)?;
        return Ok(Some(from));
    }
    Ok(None)
}

/// All entries of all stores that are there, and the stores that could not be asked.
pub fn list(secrets: &Secrets, environment: &Environment) -> (Vec<Listed>, Vec<Silent>) {
    let (mut entries, mut silent) = (Vec::new(), Vec::new());
    for kind in kinds(secrets) {
        let accounts = match kind {
            StoreKind::Keyring => keyring::list(environment),
            StoreKind::Keyutils => keyutils::list(),
            StoreKind::File => file::list(secrets, environment),
        };
        match accounts {
            Ok(mut accounts) => {
                accounts.sort();
                accounts.dedup();
                entries.extend(accounts.iter().map(|account| listed(account, kind)));
            }
            Err((reason, is_absent)) => {
                silent.push(Silent { store: kind, name: name(kind, secrets, environment), reason, is_absent });
            }
        }
    }
    (entries, silent)
}

fn listed(account: &str, store: StoreKind) -> Listed {
    let owner = owner_of(account);
    let (user, host) = owner.rsplit_once('@').unwrap_or((owner, ""));
    Listed { is_tokens: account.starts_with(TOKENS), user: user.to_owned(), host: host.to_owned(), store }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_back() {
        for (account, is_tokens) in
            [(password_account("ada@x.example", "mx"), false), (token_account("ada@x.example", "mx"), true)]
        {
            let entry = listed(&account, StoreKind::File);
            assert_eq!((entry.user.as_str(), entry.host.as_str(), entry.is_tokens), ("ada@x.example", "mx", is_tokens));
        }
    }
}
