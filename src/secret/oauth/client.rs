//! The client at the endpoints of its provider: who it is, what it asks, and what a refusal means for people.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value};

use super::{
    answer::{Grant, Refusal, Reply},
    form::{Form, conceal},
    jwt::{self, Algorithm, Key},
    now,
};
use crate::{
    config::{Flow, OAuthClient, Provider, SecretSource},
    mail::{Cause, Secret},
    net::http::{Asked, ask_and_wait},
    secret::{COMMAND_LIMIT, SecretError, Wanted, proxy::way_to, sources},
};

/// How long an endpoint may take for its answer.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// An endpoint of the provider.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The key that names it.
    pub key: &'static str,
    /// Its address.
    pub address: &'a str,
}

impl<'a> Place<'a> {
    /// Where tokens are given out.
    pub fn of_tokens(settings: &'a OAuthClient) -> Self {
        Self { key: "oauth.token-endpoint", address: &settings.token_endpoint }
    }

    /// Where codes for devices are given out.
    pub fn of_codes(settings: &'a OAuthClient) -> Self {
        Self { key: DEVICE_ENDPOINT, address: settings.device_endpoint.as_deref().unwrap_or_default() }
    }

    /// Where somebody consents.
    pub fn of_consent(settings: &'a OAuthClient) -> Self {
        Self { key: "oauth.authorize-endpoint", address: settings.authorize_endpoint.as_deref().unwrap_or_default() }
    }

    /// What is wanted there, and is not to be had.
    fn no(&self, why: &dyn std::fmt::Display) -> SecretError {
        let wanted = if self.key == DEVICE_ENDPOINT { "code" } else { "token" };
        SecretError::new(format!("no {wanted} from {}: {why}", self.address))
    }
}

const DEVICE_ENDPOINT: &str = "oauth.device-endpoint";

/// A client and whom it works for.
#[derive(Debug)]
pub(super) struct Client<'a> {
    /// Whose tokens.
    pub wanted: &'a Wanted,
    /// What the profile says.
    pub settings: &'a OAuthClient,
    proof: Proof,
    /// Limit for each answer.
    pub limit: Duration,
}

/// How the client shows that it is the one.
#[derive(Debug)]
enum Proof {
    Nothing,
    Secret(Secret),
    Key { key: Box<Key>, algorithm: Algorithm, header: Map<String, Value> },
}

impl<'a> Client<'a> {
    /// The client of the profile; `typed` is its secret, where the profile names none. Blocks as a source does.
    ///
    /// # Errors
    /// If secret, key or certificate cannot be read.
    pub fn new(wanted: &'a Wanted, settings: &'a OAuthClient, typed: Option<Secret>) -> Result<Self, SecretError> {
        let proof = match (&settings.private_key, &settings.client_secret) {
            (Some(path), _) => {
                let wrong = |what: String| SecretError::new(format!("oauth.private-key {}: {what}", path.display()));
                let pem = read_file("oauth.private-key", path)?;
                let key = Key::read(pem.expose()).map(Box::new).map_err(wrong)?;
                let header = match &settings.certificate {
                    Some(path) => {
                        let fail = |what: &dyn std::fmt::Display| {
                            SecretError::new(format!("oauth.certificate {}: {what}", path.display()))
                        };
                        let pem = std::fs::read(path).map_err(|error| fail(&error))?;
                        jwt::thumbprints(&pem).map_err(|what| fail(&what))?
                    }
                    None if settings.provider == Provider::Microsoft => {
                        let what = "oauth.certificate is wanted: microsoft finds the key by its certificate";
                        return Err(SecretError::new(what).hint("name its PEM file: -o oauth.certificate=FILE"));
                    }
                    None => Map::new(),
                };
                let algorithm = match settings.provider {
                    Provider::Microsoft => Algorithm::Ps256,
                    Provider::Google | Provider::Custom => Algorithm::Rs256,
                };
                Proof::Key { key, algorithm, header }
            }
            (None, Some(source)) => Proof::Secret(client_secret(source, wanted)?),
            (None, None) => typed.map_or(Proof::Nothing, Proof::Secret),
        };
        Ok(Self { wanted, settings, proof, limit: ANSWER_LIMIT })
    }

    /// The same with a secret that was typed at its login, where the profile names none.
    pub fn or_secret(mut self, kept: Option<&Secret>) -> Self {
        if let (Proof::Nothing, Some(kept)) = (&self.proof, kept) {
            self.proof = Proof::Secret(kept.clone());
        }
        self
    }

    /// The registered name; empty only for a service account.
    pub fn id(&self) -> &str {
        self.settings.client_id.as_deref().unwrap_or_default()
    }

    /// Adds who asks, and the proof of it.
    ///
    /// # Errors
    /// If an assertion cannot be signed.
    pub fn identify(&self, form: Form) -> Result<Form, SecretError> {
        let form = form.field("client_id", self.id());
        Ok(match &self.proof {
            Proof::Nothing => form,
            Proof::Secret(secret) => form.secret("client_secret", secret),
            Proof::Key { key, algorithm, header } => {
                let issued = now();
                let claims = Map::from_iter([
                    ("iss".to_owned(), self.id().into()),
                    ("sub".to_owned(), self.id().into()),
                    ("aud".to_owned(), self.settings.token_endpoint.as_str().into()),
                    ("jti".to_owned(), random_word()?.into()),
                    ("iat".to_owned(), issued.into()),
                    ("nbf".to_owned(), issued.into()),
                    ("exp".to_owned(), (issued + jwt::LIFETIME).into()),
                ]);
                let assertion = key
                    .sign(*algorithm, header.clone(), &claims)
                    .map_err(|what| SecretError::new(format!("oauth.private-key: {what}")))?;
                form.field("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                    .secret("client_assertion", &assertion)
            }
        })
    }

    /// Asks the token endpoint.
    ///
    /// # Errors
    /// See [`post`] and [`refused`].
    pub fn tokens(&self, form: Form) -> Result<Grant, SecretError> {
        let endpoint = Place::of_tokens(self.settings);
        match post(self.wanted, endpoint, &self.identify(form)?, self.limit)? {
            Reply::Given(fields) => Ok(Grant::read(&fields)),
            Reply::Refused(refusal) => Err(refused(self.wanted, self.settings, endpoint, &refusal)),
        }
    }

    /// The client alone (RFC 6749, 4.4).
    ///
    /// # Errors
    /// See [`Client::tokens`].
    pub fn alone(&self) -> Result<Grant, SecretError> {
        self.tokens(self.scoped(Form::default().field("grant_type", "client_credentials")))
    }

    /// Adds what is asked for, if anything is said about it.
    pub fn scoped(&self, form: Form) -> Form {
        match self.settings.scopes.as_slice() {
            [] => form,
            scopes => form.field("scope", &scopes.join(" ")),
        }
    }

    /// The access token of a grant.
    ///
    /// # Errors
    /// Why there is none that can be used.
    pub fn unusable(&self, what: &str) -> SecretError {
        unusable(Place::of_tokens(self.settings), what)
    }
}

/// An answer of this endpoint cannot be used.
pub(super) fn unusable(endpoint: Place<'_>, what: &str) -> SecretError {
    endpoint.no(&what).hint(format!("is it the right address? See {} in: mailsend profile show", endpoint.key))
}

/// Sends a form and reads the answer.
///
/// # Errors
/// If the endpoint cannot be reached ([`Cause::NoHost`], [`Cause::Unreachable`]), is out of order ([`Cause::Busy`]),
/// does not answer within `limit`, or answers with something else than JSON.
pub(super) fn post(wanted: &Wanted, endpoint: Place<'_>, form: &Form, limit: Duration) -> Result<Reply, SecretError> {
    let asked = Asked {
        url: endpoint.address.to_owned(),
        body: Some(("application/x-www-form-urlencoded", Secret::new(form.as_str().as_bytes().to_vec()))),
        accept: "application/json",
        passage: way_to(endpoint.address, wanted)?,
    };
    let answer = ask_and_wait(&asked, limit).map_err(|trouble| {
        let mut error = endpoint.no(&trouble);
        // What may pass by itself; a provider that takes its time does not.
        if matches!(trouble.cause, Cause::NoHost | Cause::Unreachable) {
            error = error.because(trouble.cause);
        }
        error.hints = trouble.hints;
        let key = endpoint.key;
        error.hint(format!("the endpoint has to be reachable: try again, or see {key} in: mailsend profile show"))
    })?;
    Reply::read(&answer, form.secrets()).map_err(|what| {
        let what = conceal(&what, form.secrets());
        match answer.status {
            500.. => out_of_order(endpoint.no(&what)),
            _ => unusable(endpoint, &what),
        }
    })
}

/// The provider has trouble that passes.
fn out_of_order(error: SecretError) -> SecretError {
    error.because(Cause::Busy).hint("the provider has trouble of its own: try again later")
}

/// What a refusal means and what to do about it (RFC 6749, 4.1.2.1 and 5.2; RFC 8628, 3.5; OpenID Connect, 3.1.2.6).
pub(super) fn refused(wanted: &Wanted, settings: &OAuthClient, endpoint: Place<'_>, refusal: &Refusal) -> SecretError {
    let error = SecretError::new(format!("{} refuses: {refusal}", endpoint.address));
    // Who has just asked for a code need not be told to ask for one.
    let can_login = settings.flow.needs_login() && endpoint.key != DEVICE_ENDPOINT;
    match refusal.code.as_str() {
        "invalid_grant" if settings.flow == Flow::ServiceAccount => error.of_login().hint(format!(
            "the clock of this machine has to be right, and {} a user of the domain that the service account may act for",
            wanted.user
        )),
        "unauthorized_client" if settings.flow == Flow::ServiceAccount => error.hint(format!(
            "the domain's administrator has to allow the service account the scope {} (domain-wide delegation)",
            settings.scopes.join(" ")
        )),
        "invalid_grant" | "access_denied" | "expired_token" | "interaction_required" | "consent_required"
        | "login_required" => match can_login {
            true => error.of_login().hint(format!("log in again: {}", wanted.login_command())),
            false => error.of_login().hint("the provider has to allow this client what it asks for"),
        },
        "invalid_client" => {
            error.hint("check oauth.client-id and oauth.client-secret, or oauth.private-key and oauth.certificate")
        }
        "unauthorized_client" => error.hint(format!(
            "the provider does not allow this client the flow \"{}\": allow it there, or choose another oauth.flow",
            settings.flow.as_str()
        )),
        "invalid_scope" => error.hint("check oauth.scopes: they are what the provider has registered for this client"),
        "invalid_request" => {
            error.hint("check oauth.client-id, oauth.tenant and oauth.redirect-uri, and whether a client secret is wanted")
        }
        "unsupported_grant_type" | "unsupported_response_type" => {
            error.hint("the provider does not know this way: choose another oauth.flow")
        }
        "server_error" | "temporarily_unavailable" | "slow_down" => out_of_order(error),
        _ if refusal.is_of_server => out_of_order(error),
        _ => error.hint("the words are the provider's; its documentation explains them"),
    }
}

fn client_secret(source: &SecretSource, wanted: &Wanted) -> Result<Secret, SecretError> {
    sources::read(source, &wanted.environment, COMMAND_LIMIT).map_err(|mut error| {
        error.what = format!("oauth.client-secret: {}", error.what);
        error
    })
}

/// A file with a key, which nobody else may read.
pub(super) fn read_file(key: &str, path: &std::path::Path) -> Result<Secret, SecretError> {
    sources::of_file(path, &SecretSource::File(path.to_owned()))
        .map(|mut octets| Secret::new(std::mem::take(&mut *octets)))
        .map_err(|mut error| {
            error.what = format!("{key}: {}", error.what);
            error
        })
}

/// 256 random bits in 43 characters that every query takes as they are.
///
/// # Errors
/// If the system gives none.
pub(super) fn random_word() -> Result<String, SecretError> {
    let mut octets = [0; 32];
    SystemRandom::new().fill(&mut octets).map_err(|_| SecretError::new("the system gives no random numbers"))?;
    Ok(encodify::base64::URL_SAFE_NO_PAD.encode(octets))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::{config::Environment, secret::oauth::testing};

    #[test]
    fn an_endpoint_that_hangs_or_is_not_there_is_told() {
        let wanted = testing::wanted(Environment::default());
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", silent.local_addr().unwrap());
        let place = Place { key: "oauth.token-endpoint", address: &url };
        let error = post(&wanted, place, &Form::default(), Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.cause, Cause::Configuration);
        assert!(
            error.what.contains(&url) && error.what.contains("no answer from") && error.what.contains("0.2 s"),
            "{error:?}"
        );
        drop(silent);
        let error = post(&wanted, place, &Form::default(), ANSWER_LIMIT).unwrap_err();
        assert_eq!(error.cause, Cause::Unreachable);
        assert!(error.what.contains("refused") && !error.hints.is_empty(), "{error:?}");
    }

    #[test]
    fn what_passes_is_told_from_what_is_wrong() {
        let wanted = testing::wanted(Environment::default());
        for (status, body, cause) in [
            (502, "<html>", Some(Cause::Busy)),
            (500, "{}", Some(Cause::Busy)),
            (404, "<html>", Some(Cause::Configuration)),
            (500, "{\"error\":\"internal_failure\"}", None),
        ] {
            let (url, thread) = testing::endpoint(vec![(status, body.to_owned())]);
            let mut settings = testing::settings(&url, Flow::Device);
            settings.device_endpoint = Some(url.clone());
            let place = Place::of_codes(&settings);
            let form = Form::default().field("client_id", "id");
            let error = match post(&wanted, place, &form, ANSWER_LIMIT) {
                Ok(Reply::Refused(refusal)) => refused(&wanted, &settings, place, &refusal),
                answer => answer.unwrap_err(),
            };
            thread.join().unwrap();
            assert_eq!(error.cause, cause.unwrap_or(Cause::Busy), "{error:?}");
            let is_blamed = error.hints.iter().any(|hint| hint.contains("oauth.device-endpoint"));
            assert_eq!(is_blamed, error.cause == Cause::Configuration, "{error:?}");
        }
        let settings = testing::settings("http://x", Flow::Device);
        let denied = Refusal::new("access_denied", "", &[]);
        let error = refused(&wanted, &settings, Place::of_codes(&settings), &denied);
        assert!(error.cause == Cause::Login && !error.hints[0].contains("log in again"), "{error:?}");
    }

    #[test]
    fn every_refusal_has_its_code_and_its_hint() {
        let wanted = testing::wanted(Environment::default());
        for (code, flow, cause, hint) in [
            ("invalid_grant", Flow::Device, Cause::Login, "mailsend login --profile work"),
            ("access_denied", Flow::Code, Cause::Login, "mailsend login --profile work"),
            ("expired_token", Flow::Device, Cause::Login, "mailsend login --profile work"),
            ("interaction_required", Flow::Code, Cause::Login, "mailsend login --profile work"),
            ("consent_required", Flow::Code, Cause::Login, "mailsend login --profile work"),
            ("access_denied", Flow::ClientCredentials, Cause::Login, "allow this client"),
            ("invalid_grant", Flow::ServiceAccount, Cause::Login, "clock"),
            ("unauthorized_client", Flow::ServiceAccount, Cause::Configuration, "domain-wide delegation"),
            ("unauthorized_client", Flow::Code, Cause::Configuration, "oauth.flow"),
            ("invalid_client", Flow::Code, Cause::Configuration, "oauth.client-secret"),
            ("invalid_scope", Flow::Code, Cause::Configuration, "oauth.scopes"),
            ("invalid_request", Flow::Code, Cause::Configuration, "oauth.redirect-uri"),
            ("unsupported_grant_type", Flow::Code, Cause::Configuration, "oauth.flow"),
            ("temporarily_unavailable", Flow::Code, Cause::Busy, "later"),
            ("server_error", Flow::ServiceAccount, Cause::Busy, "later"),
            ("slow_down", Flow::Device, Cause::Busy, "later"),
            ("something_else", Flow::Code, Cause::Configuration, "provider"),
        ] {
            let settings = testing::settings("http://x", flow);
            let place = Place::of_tokens(&settings);
            let error = refused(&wanted, &settings, place, &Refusal::new(code, "words", &[]));
            assert_eq!(error.cause, cause, "{code}");
            assert!(error.what.contains(code) && error.what.contains("words"), "{error:?}");
            assert!(error.hints.iter().any(|line| line.contains(hint)), "{error:?}");
        }
    }

    #[test]
    fn random_words_differ_and_fit_a_verifier() {
        let words = [random_word().unwrap(), random_word().unwrap()];
        assert_ne!(words[0], words[1]);
        assert!(words.iter().all(|word| word.len() == 43));
    }
}
