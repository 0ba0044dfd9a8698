//! The ways that the messages of a queue mean, as the configuration is now.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    cli::{
        CliError, Exit,
        args::{CommonArgs, Context, WhereArgs},
        outlets::unattended,
        send::no_server,
    },
    config::{ConfigError, Files, Origin, Profile, Request, Server, profile_names, resolve},
    feed::Ways,
    mail::{Address, Cause, Stage, Trouble},
    queue::Place,
};

/// Messages of RabbitMQ at once that are not settled, however many sessions there may be.
const MOST: usize = 1024;
/// Files are looked at so often while nothing is to be sent.
const LOOK: Duration = Duration::from_secs(1);

/// By which a file is known to be another one: when it was written, its length and its number.
type Mark = Option<(SystemTime, u64, u64)>;

/// Resolves places.
pub(super) struct Places {
    common: CommonArgs,
    context: Context,
    /// The configuration's files as they were when it was read.
    marks: Vec<Mark>,
    looked: Instant,
    /// For messages that name no place.
    own: WhereArgs,
    concurrency: Option<usize>,
}

impl Places {
    /// # Errors
    /// If what flags and environment say cannot be: nobody's message is to suffer from that.
    pub fn new(
        context: Context,
        common: &CommonArgs,
        own: WhereArgs,
        concurrency: Option<usize>,
    ) -> Result<Self, CliError> {
        let marks = marks(&context.files);
        let places = Self { common: common.clone(), context, marks, looked: Instant::now(), own, concurrency };
        places.check()?;
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

    /// Looks at every value of flags and environment. What files say is for the messages that want it.
    fn check(&self) -> Result<(), CliError> {
        let request = self.request(&Place::default())?;
        let is_set = |name| self.context.environment.get(name).is_some();
        let is_named = request.profile.is_some() || is_set("MAILSEND_PROFILE");
        let is_ours = is_named || request.server.is_some() || is_set("MAILSEND_SERVER");
        match resolve(&request, &self.context.files, &self.context.environment) {
            Ok(profile) if is_ours && profile.server.is_none() => Err(no_server()),
            Ok(_) => Ok(()),
            Err(ConfigError::Value { origin: Origin::File(..), .. } | ConfigError::Profile { .. }) if !is_ours => {
                // There may be something else that is wrong: it is looked at without any profile.
                let request = Request { server: Some("smtp://localhost".to_owned()), ..request };
                resolve(&request, &self.context.files, &self.context.environment)?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the configuration again.
    ///
    /// # Errors
    /// If it is wrong: then it stays as it was.
    pub fn reload(&mut self) -> Result<(), CliError> {
        // Before they are read: what changes meanwhile is read once more.
        self.marks = marks(&self.context.files);
        self.context = self.common.context()?;
        Ok(())
    }

    /// Reads it again if one of its files has changed since; tells whether that was so. Where nothing `is_to_be_sent`,
    /// they are not looked at each time.
    ///
    /// # Errors
    /// If it is wrong: then it stays as it was, and nothing more is said until it changes again.
    pub fn refresh(&mut self, is_to_be_sent: bool) -> Result<bool, CliError> {
        if !is_to_be_sent && self.looked.elapsed() < LOOK {
            return Ok(false);
        }
        self.looked = Instant::now();
        if marks(&self.context.files) == self.marks {
            return Ok(false);
        }
        self.reload().map(|()| true)
    }

    /// As if some time had passed.
    #[cfg(test)]
    pub fn look_again(&mut self) {
        self.looked = self.looked.checked_sub(LOOK).unwrap_or(self.looked);
    }

    /// The way that a place means.
    ///
    /// # Errors
    /// [`Cause::Configuration`]: at [`Stage::Compose`] if there is none, since the profile does not exist or names no
    /// server; at [`Stage::Connect`] if something about it is wrong.
    pub fn ways(&self, place: &Place) -> Result<Ways, Trouble> {
        let is_known = |name: &String| profile_names(&self.context.files).contains_key(name);
        let stage = if place.profile.as_ref().is_none_or(is_known) { Stage::Connect } else { Stage::Compose };
        let profile = self.profile(place).map_err(|error| trouble(stage, error))?;
        if profile.server.is_none() {
            let names_none = |name| CliError::new(Exit::Configuration, format!("profile '{name}' names no server"));
            return Err(trouble(Stage::Compose, place.profile.as_ref().map_or_else(no_server, names_none)));
        }
        self.made(place, profile).map_err(|error| trouble(Stage::Connect, error))
    }

    /// The place of a message that names its sender and no profile: that of the profile which is for the sender, where
    /// nothing else was said to us.
    ///
    /// # Errors
    /// If the sender is one of several profiles.
    pub(super) fn of_sender(&self, sender: &Address) -> Result<Place, CliError> {
        let chosen = |senders| {
            let request = Request { senders, ..self.own.request()? };
            let profile = resolve(&request, &self.context.files, &self.context.environment)?;
            Ok::<_, CliError>(profile.name)
        };
        let profile = chosen(vec![sender.to_string()])?;
        // What is left to us stays so, whatever the configuration says by the time it is sent.
        let is_ours = chosen(Vec::new()).is_ok_and(|own| own == profile);
        Ok(Place { profile: profile.filter(|_| !is_ours), ..Place::default() })
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
        Ok(resolve(&self.request(place)?, &self.context.files, &self.context.environment)?)
    }

    fn request(&self, place: &Place) -> Result<Request, CliError> {
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
        Ok(request)
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

fn marks(files: &Files) -> Vec<Mark> {
    files.places.iter().map(|path| mark(path)).collect()
}

fn mark(path: &Path) -> Mark {
    let metadata = fs::metadata(path).ok()?;
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let number = 0;
    Some((metadata.modified().ok()?, metadata.len(), number))
}

fn trouble(stage: Stage, error: CliError) -> Trouble {
    let what = match &error.source {
        Some(source) => format!("{}: {source:#}", error.message),
        None => error.message,
    };
    error.hints.into_iter().fold(Trouble::new(stage, Cause::Configuration, what), Trouble::hint)
}

/// Whether it is left to us.
fn is_open(place: &Place) -> bool {
    place.profile.is_none() && place.server.is_none()
}
