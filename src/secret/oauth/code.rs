//! A browser on this machine comes back with a code (RFC 6749, 4.1; RFC 7636; RFC 8252).

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use encodify::base64::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use super::{
    Notice,
    answer::{Grant, Refusal},
    browser,
    client::{Client, Place, random_word, refused},
    form::Form,
    pending::Pending,
    redirect::{Redirect, Returned},
};
use crate::{config::Provider, mail::Secret, secret::SecretError};

/// How long somebody may take to consent.
pub(super) const CONSENT_LIMIT: Duration = Duration::from_secs(300);
/// Between two looks at the door.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs the flow. Lines that come through `pasted` are addresses to which a browser elsewhere was sent.
///
/// # Errors
/// If the provider refuses, nobody comes back within `limit`, or what comes back does not belong to this login.
pub(super) fn run(
    client: &Client<'_>,
    show: &mut dyn FnMut(&Notice),
    pasted: &Receiver<String>,
    limit: Duration,
) -> Result<(Grant, Pending), SecretError> {
    let settings = client.settings;
    // Microsoft knows localhost by any port, Google the address itself.
    let redirect = Redirect::listen(settings.redirect_uri.as_deref().unwrap_or(match settings.provider {
        Provider::Microsoft => "http://localhost",
        Provider::Google | Provider::Custom => "http://127.0.0.1",
    }))?;
    let (state, verifier) = (random_word()?, random_word()?);
    let address = consent_address(client, &redirect.address, &state, &verifier);
    let is_opened = browser::open(&client.wanted.environment, &address);
    show(&Notice::Address { address, is_opened, limit });
    let code = wait(client, show, &redirect, &state, pasted, limit)?;
    let form = Form::default()
        .field("grant_type", "authorization_code")
        .secret("code", &code)
        .field("redirect_uri", &redirect.address)
        .secret("code_verifier", &Secret::new(verifier.into_bytes()));
    let mut pending = Pending::asking();
    let grant = client.tokens(form)?;
    pending.saving();
    Ok((grant, pending))
}

/// Where the browser is sent.
fn consent_address(client: &Client<'_>, redirect: &str, state: &str, verifier: &str) -> String {
    let settings = client.settings;
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    let form =
        Form::default().field("response_type", "code").field("client_id", client.id()).field("redirect_uri", redirect);
    let mut form = client
        .scoped(form)
        .field("state", state)
        .field("code_challenge", &challenge)
        .field("code_challenge_method", "S256")
        .field("login_hint", &client.wanted.user);
    if settings.provider == Provider::Google {
        // Without both there is a refresh token only the first time.
        form = form.field("access_type", "offline").field("prompt", "consent");
    }
    let endpoint = settings.authorize_endpoint.as_deref().unwrap_or_default();
    let separator = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{separator}{}", form.as_str())
}

fn wait(
    client: &Client<'_>,
    show: &mut dyn FnMut(&Notice),
    redirect: &Redirect,
    state: &str,
    pasted: &Receiver<String>,
    limit: Duration,
) -> Result<Secret, SecretError> {
    let (sender, brought) = mpsc::channel();
    let start = Instant::now();
    let returned = loop {
        if start.elapsed() >= limit {
            let what = format!("nobody came back from the browser within {} s", limit.as_secs_f32());
            return Err(SecretError::new(what)
                .of_login()
                .hint(format!("log in again: {}", client.wanted.login_command()))
                .hint("where no browser can come back to this machine: -o oauth.flow=device"));
        }
        redirect.take(state, &sender);
        match pasted.try_recv().ok().map(|line| Returned::of_address(&line)) {
            Some(Some(returned)) => break returned,
            Some(None) => show(&Notice::NoAddress),
            None => {}
        }
        match brought.recv_timeout(PAUSE) {
            Ok(returned) => break returned,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    };
    if returned.state.as_deref() != Some(state) {
        let what =
            "what the browser brought does not belong to this login (another state): somebody else may have sent it";
        return Err(SecretError::new(what)
            .of_login()
            .hint(format!("nothing was stored; log in again, in one browser: {}", client.wanted.login_command())));
    }
    if let Some(error) = returned.error {
        let refusal = Refusal::new(&error, &returned.error_description.unwrap_or_default(), &[]);
        return Err(refused(client.wanted, client.settings, Place::of_consent(client.settings), &refusal));
    }
    Ok(Secret::new(returned.code.unwrap_or_default().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Environment, Flow},
        mail::Cause,
        secret::oauth::testing,
    };

    #[test]
    fn nobody_is_waited_for_for_ever() {
        let wanted = testing::wanted(Environment::default());
        for (provider, back) in [(Provider::Microsoft, "http%3A%2F%2Flocalhost%3A"), (Provider::Google, "127.0.0.1%3A")]
        {
            let mut settings = testing::settings("https://x.example/?a=b", Flow::Code);
            settings.provider = provider;
            let client = Client::new(&wanted, &settings, None).unwrap();
            let mut notices = Vec::new();
            let (_keeps_it_open, pasted) = mpsc::channel();
            let mut show = |notice: &Notice| notices.push(notice.clone());
            let error = run(&client, &mut show, &pasted, Duration::from_millis(100)).unwrap_err();
            assert_eq!(error.cause, Cause::Login);
            assert!(error.what.contains("within 0.1 s") && error.hints[0].contains("mailsend login"), "{error:?}");
            let Notice::Address { address, is_opened: false, .. } = &notices[0] else { panic!("{notices:?}") };
            assert!(address.starts_with("https://x.example/?a=b&response_type=code&client_id=id&"), "{address}");
            assert!(address.contains(back), "{address}");
            assert_eq!(address.contains("access_type=offline"), provider == Provider::Google);
        }
    }
}
