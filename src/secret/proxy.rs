//! The password of a proxy.

use super::{Found, SecretError, Wanted, get};
use crate::{
    config::{Environment, SecretSource, Secrets, WebWay},
    net::Passage,
};

/// Puts the password of a proxy, from its source, into a way through it, if somebody is to log in there. Blocks as
/// [`get`] does.
///
/// # Errors
/// As [`get`].
pub fn for_proxy(
    passage: &mut Passage,
    source: Option<&SecretSource>,
    environment: Environment,
) -> Result<(), SecretError> {
    let (Some(proxy), Some(source)) = (&mut passage.proxy, source) else { return Ok(()) };
    let Some(user) = &proxy.username else { return Ok(()) };
    // As if by a flag: what the environment says of the server's password is not for proxies.
    let wanted = Wanted {
        user: user.clone(),
        host: proxy.endpoint.host.clone(),
        flag: Some(source.clone()),
        environment,
        profile: None,
        oauth: None,
        secrets: Secrets::default(),
        web: WebWay::default(),
        profile_name: None,
        may_prompt: false,
    };
    let Found { secret, .. } = get(&wanted).map_err(|error| {
        let what = format!("the proxy {proxy} wants a login: {}", error.what);
        SecretError { what, ..error }
    })?;
    // One that stands in a URL of the environment is less than one that was asked for.
    proxy.password = Some(secret);
    Ok(())
}

/// The way to a web server for the profile's purposes, with the password of a proxy in it. Blocks as [`get`] does.
///
/// # Errors
/// As [`get`]; if `ALL_PROXY` is no URL of a proxy.
pub(super) fn way_to(url: &str, wanted: &Wanted) -> Result<Passage, SecretError> {
    let host = url.split('/').nth(2).unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let passage = wanted.web.passage_to(host, &wanted.environment);
    let mut passage = passage.map_err(|error| SecretError::new(error.to_string()))?;
    for_proxy(&mut passage, wanted.web.proxy_password.as_ref(), wanted.environment.clone())?;
    Ok(passage)
}
