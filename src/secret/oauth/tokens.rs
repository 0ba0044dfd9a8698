//! The tokens of a user at a host, as they are kept in a store: one entry in JSON.

use std::borrow::Cow;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{
    answer::{Access, Grant},
    now,
};
use crate::{
    config::{OAuthClient, StoreKind},
    mail::{Secret, clean},
    secret::{SecretError, Wanted, stores},
};

/// The form of the entry; another one is none of ours.
const VERSION: u8 = 1;
/// A token that lives no longer than this is renewed first, in seconds.
const MARGIN: u64 = 60;

/// Tokens and whose they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The client that they were given to.
    pub client_id: String,
    /// Its secret, if it was typed at the login.
    pub client_secret: Option<Secret>,
    /// Where they are renewed.
    pub token_endpoint: String,
    /// What was asked for.
    pub scopes: Vec<String>,
    /// Renews them.
    pub refresh_token: Secret,
    /// What a server takes; none after an answer without one.
    pub access: Option<Access>,
    /// When that ends, in seconds since 1970.
    pub expires_at: u64,
}

/// An entry and where it was found.
#[derive(Debug)]
pub(super) struct Kept {
    pub entry: Entry,
    pub store: StoreKind,
}

/// The entry in JSON.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    version: u8,
    client_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    client_secret: Option<Cow<'a, str>>,
    token_endpoint: Cow<'a, str>,
    scopes: Cow<'a, [String]>,
    refresh_token: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    access_token: Option<Cow<'a, str>>,
    expires_at: u64,
    /// Seconds from the answer to the end: a tenth of a short life is margin enough.
    #[serde(default)]
    lifetime: u64,
}

impl Entry {
    /// As it is kept.
    pub fn encode(&self) -> Secret {
        let stored = Stored {
            version: VERSION,
            client_id: Cow::Borrowed(&self.client_id),
            client_secret: self.client_secret.as_ref().map(text),
            token_endpoint: Cow::Borrowed(&self.token_endpoint),
            scopes: Cow::Borrowed(&self.scopes),
            refresh_token: text(&self.refresh_token),
            access_token: self.access.as_ref().map(|access| text(&access.token)),
            expires_at: self.expires_at,
            lifetime: self.access.as_ref().map_or(0, |access| access.lifetime),
        };
        // Texts and numbers: there is nothing that JSON could not hold.
        Secret::new(serde_json::to_vec(&stored).unwrap_or_default())
    }

    /// From what a store has.
    ///
    /// # Errors
    /// What is wrong with it, without a word of it.
    pub fn decode(octets: &[u8]) -> Result<Self, &'static str> {
        let stored: Stored<'_> = serde_json::from_slice(octets).map_err(|_| "it is no JSON of tokens")?;
        if stored.version != VERSION {
            return Err("another version of mailsend has written it");
        }
        if stored.refresh_token.is_empty() {
            return Err("there is no refresh token in it");
        }
        let secret = |text: Cow<'_, str>| Secret::new(text.into_owned().into_bytes());
        let lifetime = stored.lifetime;
        Ok(Self {
            client_id: stored.client_id.into_owned(),
            client_secret: stored.client_secret.map(secret),
            token_endpoint: stored.token_endpoint.into_owned(),
            scopes: stored.scopes.into_owned(),
            refresh_token: secret(stored.refresh_token),
            access: stored.access_token.map(|token| Access { token: secret(token), lifetime }),
            expires_at: stored.expires_at,
        })
    }

    /// The access token, if it lives long enough for a session.
    pub fn living(&self) -> Option<&Access> {
        let access = self.access.as_ref()?;
        (self.expires_at > now().saturating_add(MARGIN.min(access.lifetime / 10))).then_some(access)
    }

    /// The entry after an answer: a new refresh token replaces the old one even if there is no access token with it.
    pub fn renewed(&self, grant: &Grant) -> Self {
        let access = grant.access.as_ref().ok().cloned();
        Self {
            refresh_token: grant.refresh_token.clone().unwrap_or_else(|| self.refresh_token.clone()),
            expires_at: access.as_ref().map_or(0, |access| now().saturating_add(access.lifetime)),
            access,
            ..self.clone()
        }
    }

    /// By what a refresh token is known without being told.
    pub fn mark(&self) -> String {
        hexadecimal(digest(&SHA256, self.refresh_token.expose()).as_ref())
    }
}

fn text(secret: &Secret) -> Cow<'_, str> {
    // Typed secrets and tokens are UTF-8 where they come from.
    String::from_utf8_lossy(secret.expose())
}

pub(super) fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The account of the tokens.
pub(super) fn account(wanted: &Wanted) -> String {
    stores::token_account(&wanted.user, &wanted.host)
}

/// Reads the entry; it has to be of the profile's client and endpoint.
///
/// # Errors
/// If there is none, no store can tell, it is damaged, or it is of somebody else.
pub(super) fn load(wanted: &Wanted, settings: &OAuthClient) -> Result<Kept, SecretError> {
    let account = account(wanted);
    let again = || format!("log in again: {}", wanted.login_command());
    let lookup = stores::load(wanted, &account);
    let Some((secret, store)) = lookup.found else {
        if let Some(trouble) = lookup.trouble {
            return Err(trouble);
        }
        let said: Vec<String> = lookup.said.iter().map(|(store, words)| format!("{store}: {words}")).collect();
        let said = if said.is_empty() { String::new() } else { format!(" ({})", said.join("; ")) };
        let what = format!("nobody has logged in as {} at {}{said}", wanted.user, wanted.host);
        return Err(SecretError::new(what).hint(format!("log in: {}", wanted.login_command())));
    };
    let entry = Entry::decode(secret.expose()).map_err(|what| {
        SecretError::new(format!("the entry {account} in the {} is damaged: {what}", wanted.store_name(store)))
            .hint(again())
    })?;
    let differing = [
        ("the client", entry.client_id.as_str(), settings.client_id.as_deref().unwrap_or_default()),
        ("the token endpoint", &entry.token_endpoint, &settings.token_endpoint),
    ];
    for (name, kept, wanted_one) in differing {
        if kept != wanted_one {
            let what = format!(
                "the tokens {account} in the {} are not for the profile: {name} was {}, now it is {wanted_one}",
                wanted.store_name(store),
                clean(kept)
            );
            return Err(SecretError::new(what).hint(again()));
        }
    }
    Ok(Kept { entry, store })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn entry() -> Entry {
        Entry {
            client_id: "id".to_owned(),
            client_secret: Some(Secret::new("ü\"".into())),
            token_endpoint: "https://x/token".to_owned(),
            scopes: vec!["a".to_owned(), "b".to_owned()],
            refresh_token: Secret::new(b"refresh".to_vec()),
            access: Some(Access { token: Secret::new(b"access".to_vec()), lifetime: 3_600 }),
            expires_at: now() + 3_600,
        }
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        for entry in [entry(), Entry { client_secret: None, access: None, ..entry() }] {
            assert_eq!(Entry::decode(entry.encode().expose()), Ok(entry));
        }
    }

    #[test]
    fn damage_is_told_without_a_word_of_the_entry() {
        let whole = entry().encode();
        let whole = std::str::from_utf8(whole.expose()).unwrap();
        for end in 0..whole.len() {
            assert!(Entry::decode(&whole.as_bytes()[..end]).is_err());
        }
        let other = whole.replace("\"version\":1", "\"version\":2");
        assert_eq!(Entry::decode(other.as_bytes()), Err("another version of mailsend has written it"));
        assert!(Entry::decode(whole.replace("refresh\"", "\"").as_bytes()).is_err());
    }

    #[test]
    fn a_token_lives_up_to_its_margin() {
        let lives = |left: u64, lifetime: u64| {
            let access = Some(Access { token: Secret::new(b"a".to_vec()), lifetime });
            Entry { access, expires_at: now() + left, ..entry() }.living().is_some()
        };
        assert!(lives(70, 3_600) && !lives(50, 3_600));
        assert!(lives(50, 100) && lives(15, 100) && !lives(5, 100));
        assert!(!lives(0, 0));
        assert!(Entry { access: None, ..entry() }.living().is_none());
    }

    #[test]
    fn a_missing_refresh_token_keeps_the_old_one() {
        let access = Access { token: Secret::new(b"new".to_vec()), lifetime: 60 };
        let renewed = entry().renewed(&Grant { refresh_token: None, access: Ok(access.clone()) });
        assert_eq!((renewed.refresh_token, renewed.access), (entry().refresh_token, Some(access)));
        let refresh_token = Some(Secret::new(b"next".to_vec()));
        let renewed = entry().renewed(&Grant { refresh_token: refresh_token.clone(), access: Err("x".into()) });
        assert_eq!((Some(renewed.refresh_token.clone()), renewed.living()), (refresh_token, None));
        assert_ne!(renewed.mark(), entry().mark());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(octets: Vec<u8>) {
            let _ = Entry::decode(&octets);
        }
    }
}
