//! A Google service account that acts for a user of its domain (RFC 7523, 2.1).

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    answer::{Grant, Reply},
    client::{Place, post, read_file, refused},
    form::Form,
    jwt::{self, Algorithm, Key},
    now,
};
use crate::{
    config::{OAuthClient, web_address},
    mail::Secret,
    secret::{SecretError, Wanted},
};

/// The file that the provider gives out for an account.
#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    client_email: String,
    #[serde(default)]
    private_key: String,
    #[serde(default)]
    private_key_id: Option<String>,
    #[serde(default)]
    token_uri: Option<String>,
}

/// Fetches a token for the user.
///
/// # Errors
/// If the file is not that of a service account; see [`post`] and [`refused`].
pub(super) fn fetch(wanted: &Wanted, settings: &OAuthClient, limit: Duration) -> Result<Grant, SecretError> {
    let path = settings.service_account.clone().unwrap_or_default();
    let wrong = |what: &str| {
        SecretError::new(format!("oauth.service-account {}: {what}", path.display()))
            .hint("wanted is the JSON file of a key of the service account, as Google's console gives it out")
    };
    let octets = read_file("oauth.service-account", &path)?;
    // What serde says could quote the key.
    let account: Account = serde_json::from_slice(octets.expose()).map_err(|_| wrong("it is no JSON of an account"))?;
    if account.client_email.is_empty() {
        return Err(wrong("there is no client_email"));
    }
    let pem = Secret::new(account.private_key.into_bytes());
    let key = Key::read(pem.expose()).map_err(|what| wrong(&format!("private_key: {what}")))?;
    let place = match &account.token_uri {
        Some(address) => Place { key: "oauth.service-account", address },
        None => Place::of_tokens(settings),
    };
    let endpoint = place.address;
    if web_address(endpoint).is_err() {
        return Err(wrong("its token_uri is no https address"));
    }
    let header = account.private_key_id.map(|id| ("kid".to_owned(), Value::from(id))).into_iter().collect();
    let issued = now();
    let claims = Map::from_iter([
        ("iss".to_owned(), Value::from(account.client_email)),
        ("sub".to_owned(), wanted.user.as_str().into()),
        ("scope".to_owned(), settings.scopes.join(" ").into()),
        ("aud".to_owned(), endpoint.into()),
        ("iat".to_owned(), issued.into()),
        ("exp".to_owned(), (issued + jwt::LIFETIME).into()),
    ]);
    let assertion = key.sign(Algorithm::Rs256, header, &claims).map_err(|what| wrong(&what))?;
    let form = Form::default()
        .field("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
        .secret("assertion", &assertion);
    match post(wanted, place, &form, limit)? {
        Reply::Given(fields) => Ok(Grant::read(&fields)),
        Reply::Refused(refusal) => Err(refused(wanted, settings, place, &refusal)),
    }
}
