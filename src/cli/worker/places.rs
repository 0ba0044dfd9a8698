//! The ways that the messages of a queue mean, as the configuration is now.

use crate::{
    cli::{
        CliError,
        args::{CommonArgs, Context, WhereArgs},
        outlets::unattended,
        send::no_server,
    },
    config::{Profile, Request, Server, resolve},
    feed::Ways,
    mail::{Cause, Stage, Trouble},
    queue::Place,
};

/// Messages of RabbitMQ at once that are not settled, however many sessions there may be.
const MOST: usize = 1024;

/// Resolves places.
pub(super) struct Places {
    context: Context,
    /// For messages that name no place.
    own: WhereArgs,
    concurrency: Option<usize>,
}

impl Places {
    /// # Errors
    /// If what is for messages that name no place cannot be, though it was said on the command line.
    pub fn new(context: Context, own: WhereArgs, concurrency: Option<usize>) -> Result<Self, CliError> {
        let places = Self { context, own, concurrency };
        if places.own.profile.is_some() || places.own.server.is_some() {
            places.profile(&Place::default())?;
        } else {
            places.own.request()?;
        }
        Ok(places)
    }

    /// The configuration as it is now.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Messages at once that the sessions of our own way could have under way.
    pub fn prefetch(&self) -> u16 {
        let pool = self.profile(&Place::default()).unwrap_or_default().pool;
        let messages = pool.max_connections.saturating_mul(pool.pipeline_depth).clamp(1, MOST);
        u16::try_from(messages).unwrap_or(u16::MAX)
    }

    /// Reads the configuration again.
    ///
    /// # Errors
    /// If it is wrong: then it stays as it was.
    pub fn reload(&mut self, common: &CommonArgs) -> Result<(), CliError> {
        self.context = common.context()?;
        Ok(())
    }

    /// The way that a place means.
    ///
    /// # Errors
    /// [`Cause::Configuration`]: at [`Stage::Compose`] if there is none, since the profile has gone or never had a
    /// server; at [`Stage::Connect`] if it cannot be used now.
    pub fn ways(&self, place: &Place) -> Result<Ways, Trouble> {
        let trouble = |stage| {
            move |error: CliError| {
                let trouble = Trouble::new(stage, Cause::Configuration, &error.message);
                error.hints.into_iter().fold(trouble, Trouble::hint)
            }
        };
        let profile = self.profile(place).map_err(trouble(Stage::Compose))?;
        if profile.server.is_none() {
            return Err(trouble(Stage::Compose)(no_server()));
        }
        self.made(place, profile).map_err(trouble(Stage::Connect))
    }

    fn made(&self, place: &Place, profile: Profile) -> Result<Ways, CliError> {
        let mut retry = profile.retry;
        if is_open(place) && self.own.retry > 0 {
            retry.max_attempts = Some(self.own.retry.saturating_add(1));
        }
        let own = self.is_ours(place, &profile).then_some(&self.own);
        let outlets = unattended(&profile, own, &self.context)?;
        Ok(Ways { outlets, retry })
    }

    pub(super) fn profile(&self, place: &Place) -> Result<Profile, CliError> {
        let mut request = match is_open(place) {
            true => self.own.request()?,
            false => Request { profile: place.profile.clone(), server: place.server.clone(), ..Request::default() },
        };
        let settings = place.settings.iter().map(|(key, value)| (key.clone(), value.clone(), format!("-o {key}")));
        request.settings.extend(settings);
        let concurrency = self.concurrency.map(|number| number.to_string());
        let concurrency =
            concurrency.map(|number| ("pool.max-connections".to_owned(), number, "--concurrency".to_owned()));
        request.settings.extend(concurrency);
        Ok(resolve(&request, &self.context.files, &self.context.environment)?)
    }

    /// Whether the password of our flags and of our environment is for this profile's host and user.
    pub(super) fn is_ours(&self, place: &Place, profile: &Profile) -> bool {
        let host = |profile: &Profile| match &profile.server {
            Some(Server::Network { endpoint, .. }) => Some(endpoint.host.clone()),
            _ => None,
        };
        is_open(place)
            || self.profile(&Place::default()).is_ok_and(|own| {
                own.username == profile.username && host(&own).is_some() && host(&own) == host(profile)
            })
    }
}

/// Whether it is left to us.
fn is_open(place: &Place) -> bool {
    place.profile.is_none() && place.server.is_none()
}
