//! The password of a proxy.

use super::{Found, SecretError, Wanted, get};
use crate::{
    config::{Environment, Profile, Secrets},
    net::Passage,
};

/// Puts the password of the profile's proxy into a way through it, if somebody is to log in there and the password
/// is not known yet. Blocks as [`get`] does.
///
/// # Errors
/// As [`get`].
pub fn for_proxy(passage: &mut Passage, profile: &Profile, environment: Environment) -> Result<(), SecretError> {
    let (Some(proxy), Some(source)) = (&mut passage.proxy, &profile.proxy_password) else { return Ok(()) };
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
        profile_name: profile.name.clone(),
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
