//! The ways out that a profile means: its own, and those it falls back on.

use std::sync::Arc;

use super::{
    CliError,
    args::{Context, WhereArgs},
};
use crate::{
    config::{Profile, Server, fallbacks},
    delivery::Outlet,
    secret::{self, Wanted},
    transport::Door,
};

/// Makes them. A password that somebody at the terminal has to give is asked for now: an interrupted prompt must leave
/// the terminal as it was. Nobody is asked for a fallback's, which may never be needed.
pub(super) fn outlets(profile: &Profile, place: &WhereArgs, context: &Context) -> Result<Vec<Outlet>, CliError> {
    let wanted = place.wanted(profile, context);
    let mut door = Door::new(Arc::new(profile.clone()), wanted.clone())?;
    if let Some(wanted) = wanted.filter(|wanted| wanted.may_ask_somebody() && profile.auth.always_takes_secret()) {
        door.remember(secret::get(&wanted)?);
    }
    with_fallbacks(door, profile, context)
}

/// The same where nobody can be asked. `place` is the one of our own flags and environment, if the profile is meant by it:
/// a password that they give is not for others.
pub(super) fn unattended(
    profile: &Profile,
    place: Option<&WhereArgs>,
    context: &Context,
) -> Result<Vec<Outlet>, CliError> {
    let wanted = match place {
        Some(place) => place.wanted(profile, context).map(|wanted| Wanted { may_prompt: false, ..wanted }),
        None => wanted_for(profile, context),
    };
    with_fallbacks(Door::new(Arc::new(profile.clone()), wanted)?, profile, context)
}

fn with_fallbacks(door: Door, profile: &Profile, context: &Context) -> Result<Vec<Outlet>, CliError> {
    let mut outlets = vec![Outlet::new(Arc::new(door), profile)];
    for fallback in &fallbacks(profile, &context.files, &context.environment)? {
        let door = Door::new(Arc::new(fallback.clone()), wanted_for(fallback, context))?;
        outlets.push(Outlet::new(Arc::new(door), fallback));
    }
    Ok(outlets)
}

/// Whose password is wanted. What flags and environment give is for the selected profile's host and user.
fn wanted_for(fallback: &Profile, context: &Context) -> Option<Wanted> {
    let (Some(user), Some(Server::Network { endpoint, .. })) = (&fallback.username, &fallback.server) else {
        return None;
    };
    Some(Wanted {
        user: user.clone(),
        host: endpoint.host.clone(),
        flag: None,
        environment: context.environment.without(&["MAILSEND_PASSWORD", "MAILSEND_PASSWORD_FILE"]),
        profile: fallback.password.clone(),
        oauth: fallback.oauth.clone(),
        secrets: fallback.secrets.clone(),
        web: fallback.web_way(),
        profile_name: fallback.name.clone(),
        may_prompt: false,
    })
}
