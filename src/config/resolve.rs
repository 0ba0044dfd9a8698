//! Layers to one profile: default, system's file, user's file, environment, flags, in rising order of precedence.

mod fallback;

use std::{collections::BTreeMap, path::PathBuf};

pub use fallback::fallbacks;

use super::{
    ConfigError, Environment, Files, Key, Origin,
    file::Assignment,
    keys::{Parts, all, find, shared},
    log::LogTable,
    oauth::OAuth,
    pattern::Pattern,
    profile::{Profile, Secrets, Security, Server, Setting},
    queue::QueueTable,
    sendmail::SendmailTable,
    server::{ServerUrl, UrlError, parse_proxy},
    value::{Input, Raw},
};
use crate::net::{Endpoint, Proxy};

/// What the flags say about where to send.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `--profile`.
    pub profile: Option<String>,
    /// `--server`.
    pub server: Option<String>,
    /// Senders of the message, empty for the null sender: the first that a profile is for chooses it, where none is
    /// named.
    pub senders: Vec<String>,
    /// Keys set by flags: name, value, and the flag as typed.
    pub settings: Vec<(String, String, String)>,
}

/// Names of all profiles with the place of their definition, in alphabetical order.
pub fn profile_names(files: &Files) -> BTreeMap<String, Origin> {
    let mut names = BTreeMap::new();
    for file in files.both() {
        for (name, table) in &file.profiles {
            names.entry(name.clone()).or_insert_with(|| table.origin.clone());
        }
    }
    names
}

/// Names of the profiles that build on this one, in alphabetical order.
pub fn heirs(files: &Files, name: &str) -> Vec<String> {
    let inherits = |heir: &String| {
        let parent = files.profile(heir).and_then(|table| table.inherits.as_ref());
        parent.is_some_and(|(parent, _)| parent == name)
    };
    profile_names(files).into_keys().filter(inherits).collect()
}

/// Returns the profile that flags, environment and files ask for together.
///
/// Without any profile and any server the result has no server: composing a message does not need one.
///
/// # Errors
/// A profile that does not exist, a value that cannot be, profiles that inherit from each other, several profiles
/// of which none is the default.
pub fn resolve(request: &Request, files: &Files, environment: &Environment) -> Result<Profile, ConfigError> {
    // A profile that was asked for by hand is not replaced by a server that somebody set for everything.
    let takes_server = request.profile.is_none();
    let by_url = request.server.is_some() || (takes_server && environment.get("MAILSEND_SERVER").is_some());
    let name = selected(request, files, environment);
    let name = match name {
        // A URL needs no profile; one that was named must be there all the same.
        Err(_) if by_url && request.profile.is_none() => None,
        name => name?,
    };
    let mut layers = match &name {
        Some(name) => file_layers(name, files)?,
        None => defaults(files),
    };
    if by_url {
        for layer in &mut layers {
            layer.retain(|assignment| assignment.key.name == "from");
        }
    }
    layers.extend(shared_layers(files));
    let mut variables = environment_layer(environment)?;
    variables.retain(|assignment| takes_server || assignment.key.name != "server");
    layers.push(variables);
    layers.push(flag_layer(request)?);

    let mut profile = Resolver::new(environment).run(layers)?;
    profile.name = name.filter(|_| !by_url);
    Ok(profile)
}

/// Where secrets are kept, which no profile has a say in.
///
/// # Errors
/// A value in `[secrets]` or its variables that cannot be.
pub fn resolve_secrets(files: &Files, environment: &Environment) -> Result<Secrets, ConfigError> {
    Ok(resolve_shared(files, environment)?.secrets)
}

/// The queue, which no profile has a say in.
///
/// # Errors
/// A value in `[queue]` or its variables that cannot be.
pub fn resolve_queue(files: &Files, environment: &Environment) -> Result<QueueTable, ConfigError> {
    Ok(resolve_shared(files, environment)?.queue)
}

/// How messages of other programs are taken, which no profile has a say in.
///
/// # Errors
/// A value in `[sendmail]` or its variables that cannot be.
pub fn resolve_sendmail(files: &Files, environment: &Environment) -> Result<SendmailTable, ConfigError> {
    Ok(resolve_shared(files, environment)?.sendmail)
}

/// The log, which no profile has a say in.
///
/// # Errors
/// A value in `[log]` or its variables that cannot be.
pub fn resolve_log(files: &Files, environment: &Environment) -> Result<LogTable, ConfigError> {
    Ok(resolve_shared(files, environment)?.log)
}

fn resolve_shared(files: &Files, environment: &Environment) -> Result<Profile, ConfigError> {
    let mut layers: Vec<Layer> = shared_layers(files).collect();
    layers.push(shared_variables(environment)?);
    Resolver::new(environment).run(layers)
}

/// What files say for all profiles.
fn shared_layers(files: &Files) -> impl Iterator<Item = Layer> {
    files.system.iter().chain(&files.user).map(|file| file.shared.clone())
}

/// What the environment says for all profiles.
fn shared_variables(environment: &Environment) -> Result<Layer, ConfigError> {
    let variables: Vec<String> = shared().map(Key::variable).collect();
    let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
    environment_layer(&environment.only(&variables))
}

fn selected(request: &Request, files: &Files, environment: &Environment) -> Result<Option<String>, ConfigError> {
    let names = profile_names(files);
    let known = || names.keys().cloned().collect::<Vec<_>>().join(", ");
    let chosen = request
        .profile
        .clone()
        .map(|name| (name, "--profile".to_owned()))
        .or_else(|| Some((environment.get("MAILSEND_PROFILE")?.to_owned(), "MAILSEND_PROFILE".to_owned())))
        .map_or_else(
            || for_sender(request, files).map(|name| Some((name?, "match".to_owned()))),
            |named| Ok(Some(named)),
        )?
        .or_else(|| {
            files.both().find_map(|file| file.default_profile.clone()).map(|(name, origin)| (name, origin.to_string()))
        });
    match chosen {
        Some((name, _)) if names.contains_key(&name) => Ok(Some(name)),
        Some((name, origin)) => {
            let hint = match super::nearest(&name, names.keys().map(String::as_str)) {
                Some(near) => format!("did you mean '{near}'? Configured: {}", known()),
                None if names.is_empty() => {
                    format!("set it up: mailsend profile add {name} --server smtps://USER@HOST")
                }
                None => format!("configured: {}", known()),
            };
            let what = format!("there is no profile '{}' ({origin})", crate::mail::clean(&name));
            Err(ConfigError::Profile { what, hints: vec![hint] })
        }
        None => match names.len() {
            0 | 1 => Ok(names.into_keys().next()),
            _ => Err(ConfigError::Profile {
                what: format!("there are several profiles and none is the default: {}", known()),
                hints: vec!["name one: --profile NAME, or for good: mailsend profile default NAME".to_owned()],
            }),
        },
    }
}

/// The profile whose pattern describes the sender most closely.
fn for_sender(request: &Request, files: &Files) -> Result<Option<String>, ConfigError> {
    for sender in &request.senders {
        let weight = |name: &String| {
            let patterns = files.profile(name).map_or(&[][..], |table| &table.senders);
            patterns.iter().filter(|pattern| pattern.matches(sender)).map(Pattern::weight).max()
        };
        let found: Vec<(usize, String)> =
            profile_names(files).into_keys().filter_map(|name| Some((weight(&name)?, name))).collect();
        let most = found.iter().map(|(weight, _)| *weight).max();
        let names: Vec<&str> =
            found.iter().filter(|(weight, _)| Some(*weight) == most).map(|(_, name)| name.as_str()).collect();
        match names.as_slice() {
            [] => {}
            [name] => return Ok(Some((*name).to_owned())),
            several => {
                let shown = if sender.is_empty() { "<>" } else { sender };
                let what =
                    format!("sender {} is one of several profiles: {}", crate::mail::clean(shown), several.join(", "));
                return Err(ConfigError::Profile { what, hints: vec!["name one: --profile NAME".to_owned()] });
            }
        }
    }
    Ok(None)
}

/// One group of assignments that stand together, such as a profile's table.
type Layer = Vec<Assignment>;

fn defaults(files: &Files) -> Vec<Layer> {
    files.system.iter().chain(&files.user).map(|file| file.defaults.clone()).collect()
}

fn file_layers(name: &str, files: &Files) -> Result<Vec<Layer>, ConfigError> {
    let mut chain: Vec<&str> = Vec::new();
    let mut own_layers = Vec::new();
    let mut next = Some(name);
    while let Some(name) = next {
        let Some(table) = files.profile(name) else {
            let what =
                format!("profile '{}' inherits from '{name}', which does not exist", chain.last().unwrap_or(&name));
            return Err(ConfigError::Profile { what, hints: Vec::new() });
        };
        if chain.contains(&name) {
            let what = format!("profile '{name}' inherits from itself: {} -> {name}", chain.join(" -> "));
            return Err(ConfigError::Profile { what, hints: Vec::new() });
        }
        let mut layer = table.assignments.clone();
        layer.retain(|assignment| chain.is_empty() || assignment.key.name != "match");
        chain.push(name);
        own_layers.push(layer);
        next = table.inherits.as_ref().map(|(parent, _)| parent.as_str());
    }
    let mut layers = defaults(files);
    layers.extend(own_layers.into_iter().rev());
    Ok(layers)
}

fn environment_layer(environment: &Environment) -> Result<Layer, ConfigError> {
    let mut layer = Layer::new();
    for key in all() {
        // MAILSEND_PASSWORD is the password itself; the secrets' room reads it.
        let variable = key.variable();
        let fallback = match key.name {
            "password" => continue,
            "from" => Some("EMAIL"),
            "reply-to" => Some("REPLYTO"),
            _ => None,
        };
        let found = [Some(variable.as_str()), fallback]
            .into_iter()
            .flatten()
            .find_map(|name| Some((name, environment.value(name)?)));
        if let Some((name, value)) = found {
            let origin = Origin::Environment(name.to_owned());
            let value = value.to_str().ok_or_else(|| value_error(&origin, "it is not UTF-8".to_owned()))?;
            let raw = Raw::from_text(value).map_err(|what| value_error(&origin, what))?;
            layer.push(Assignment { key, raw, origin });
        }
    }
    Ok(layer)
}

fn flag_layer(request: &Request) -> Result<Layer, ConfigError> {
    let mut layer = Layer::new();
    let server = request.server.iter().map(|url| ("server", url.as_str(), "--server"));
    let settings = request.settings.iter().map(|(key, value, flag)| (key.as_str(), value.as_str(), flag.as_str()));
    for (name, value, flag) in server.chain(settings) {
        let origin = Origin::Flag(flag.to_owned());
        let Some(key) = find(name) else {
            let hint = super::nearest(name, all().map(|key| key.name)).map(|key| format!("did you mean '{key}'?"));
            let what = format!("unknown key '{}'", crate::mail::clean(name));
            return Err(ConfigError::Value { origin, what, hint });
        };
        let raw = Raw::from_text(value).map_err(|what| value_error(&origin, what))?;
        // The last of two flags for one key holds, as with every flag.
        layer.retain(|earlier: &Assignment| earlier.key.name != key.name);
        layer.push(Assignment { key, raw, origin });
    }
    Ok(layer)
}

/// The proxy that `ALL_PROXY` names for this host. This machine is reached directly.
pub(super) fn proxy_of_environment(host: &str, environment: &Environment) -> Result<Option<Proxy>, ConfigError> {
    if (Endpoint { host: host.to_owned(), port: 0 }).is_loopback() {
        return Ok(None);
    }
    let Some((name, url)) = environment.proxy_for(host) else { return Ok(None) };
    let origin = Origin::Environment(name.to_owned());
    let proxy = parse_proxy(url, true).map_err(|error| match error {
        UrlError::Invalid(what) => value_error(&origin, what),
        UrlError::Password => value_error(&origin, "no URL".to_owned()),
    })?;
    Ok(Some(proxy))
}

fn value_error(origin: &Origin, what: String) -> ConfigError {
    ConfigError::Value { origin: origin.clone(), what, hint: None }
}

/// Keys that say who logs in by OAuth.
const OAUTH_LOGINS: [&str; 3] = ["oauth.command", "oauth.client-id", "oauth.service-account"];

struct Resolver<'a> {
    environment: &'a Environment,
    parts: Parts,
    is_lmtp: bool,
    by_url: bool,
    local: Option<Server>,
    set: BTreeMap<&'static str, (Raw, Origin)>,
    host_origin: Option<Origin>,
    user_origin: Option<Origin>,
    /// Host and user that the password source was written for.
    password_for: Option<Identity>,
    /// The same for `oauth`, with the key that was set last.
    oauth_for: Option<(Identity, &'static str)>,
}

/// Host and user.
type Identity = [Option<String>; 2];

impl<'a> Resolver<'a> {
    fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            parts: Parts::default(),
            is_lmtp: false,
            by_url: false,
            local: None,
            set: BTreeMap::new(),
            host_origin: None,
            user_origin: None,
            password_for: None,
            oauth_for: None,
        }
    }

    fn run(mut self, layers: Vec<Layer>) -> Result<Profile, ConfigError> {
        for key in all() {
            if let Some(default) = key.default {
                let raw = Raw::Text(default.to_owned());
                self.assign(&Assignment { key, raw, origin: Origin::Default })?;
            }
        }
        for layer in &layers {
            self.layer(layer)?;
        }
        let settings = all().filter_map(|key| {
            let (raw, origin) = self.set.get(key.name)?;
            Some(Setting { key: key.name, value: raw.to_string(), origin: origin.clone() })
        });
        self.parts.profile.settings = settings.collect();
        self.check_client_certificate()?;
        self.check_password();
        self.parts.profile.oauth = self.oauth()?;
        self.parts.profile.server = self.server();
        self.take_proxy_of_environment()?;
        Ok(self.parts.profile)
    }

    /// A file and line for an error about a key, or about one that is missing beside it.
    fn origin_of(&self, key: &str) -> Origin {
        let group = |name: &&str| key.split_once('.').is_some_and(|(group, _)| name.starts_with(&format!("{group}.")));
        let found = self.set.get(key).or_else(|| self.set.iter().find(|(name, _)| group(name)).map(|(_, value)| value));
        found.map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    fn oauth(&mut self) -> Result<Option<OAuth>, ConfigError> {
        let parts = std::mem::take(&mut self.parts.oauth);
        if let Some((wanted_for, key)) = self.oauth_for.clone() {
            let origin = self.origin_of(key);
            if !self.is_meant_for_us(&origin, &wanted_for) {
                self.drop_secret("oauth", &origin, &wanted_for);
                return Ok(None);
            }
        }
        let oauth =
            parts.complete().map_err(|(key, what)| value_error(&self.origin_of(key), format!("{key}: {what}")))?;
        if let Some(OAuth::Client(client)) = &oauth
            && self.parts.host.is_none()
            && self.local.is_none()
            && let Some((host, port)) = client.provider.server()
        {
            self.parts.host = Some(host.to_owned());
            self.parts.port = self.parts.port.or(Some(port));
        }
        Ok(oauth)
    }

    /// What a whole environment goes through, unless the profile says otherwise.
    fn take_proxy_of_environment(&mut self) -> Result<(), ConfigError> {
        if self.parts.profile.proxy.is_some() || self.parts.has_no_proxy {
            return Ok(());
        }
        // What a file keeps is for the proxy that it names, whatever way leads to the server.
        if matches!(self.set.get("proxy-password"), Some((_, Origin::File(..)))) {
            self.parts.profile.proxy_password = None;
        }
        if let Some(Server::Network { endpoint, socket: None, .. }) = &self.parts.profile.server {
            self.parts.profile.proxy = proxy_of_environment(&endpoint.host, self.environment)?;
        }
        Ok(())
    }

    fn layer(&mut self, layer: &Layer) -> Result<(), ConfigError> {
        if let Some(url) = layer.iter().find(|assignment| assignment.key.name == "server") {
            self.assign(url)?;
            self.take_url(url, layer)?;
        }
        for assignment in layer.iter().filter(|assignment| assignment.key.name != "server") {
            self.assign(assignment)?;
            match assignment.key.name {
                "host" => {
                    (self.local, self.by_url) = (None, false);
                    self.host_origin = Some(assignment.origin.clone());
                    if !layer.iter().any(|assignment| assignment.key.name == "socket") {
                        self.parts.socket = None;
                        self.set.remove("socket");
                    }
                }
                "socket" => (self.local, self.by_url) = (None, false),
                "username" => self.user_origin = Some(assignment.origin.clone()),
                _ => {}
            }
        }
        // A password goes to no other proxy than the one that it was written for.
        let says = |key: &str| layer.iter().any(|assignment| assignment.key.name == key);
        if says("proxy") && !says("proxy-password") {
            self.parts.profile.proxy_password = None;
            self.set.remove("proxy-password");
        }
        if layer.iter().any(|assignment| assignment.key.name == "password") {
            self.password_for = Some(self.identity());
        }
        if let Some(last) = layer.iter().rfind(|assignment| OAUTH_LOGINS.contains(&assignment.key.name)) {
            self.oauth_for = Some((self.identity(), last.key.name));
        }
        Ok(())
    }

    fn assign(&mut self, assignment: &Assignment) -> Result<(), ConfigError> {
        let Assignment { key, raw, origin } = assignment;
        let folder = match origin {
            Origin::File(path, _) => path.parent().map(PathBuf::from),
            _ => None,
        };
        let input = Input { raw, folder, home: self.environment.path("HOME") };
        let had_null_sender = self.parts.profile.has_null_sender;
        (key.set)(&mut self.parts, &input).map_err(|what| match origin {
            Origin::Flag(flag) if flag.starts_with("--") => value_error(origin, what),
            _ => value_error(origin, format!("{}: {what}", key.name)),
        })?;
        // EMAIL names who writes; that a profile's messages have no return path stays.
        if key.name == "from" && matches!(origin, Origin::Environment(_)) {
            self.parts.profile.has_null_sender |= had_null_sender;
        }
        self.set.insert(key.name, (raw.clone(), origin.clone()));
        Ok(())
    }

    /// A URL replaces everything that layers below say about the server and its user.
    fn take_url(&mut self, assignment: &Assignment, layer: &Layer) -> Result<(), ConfigError> {
        let rivals = ["host", "port", "security", "socket"];
        if let Some(rival) = layer.iter().find(|other| rivals.contains(&other.key.name))
            && !matches!(assignment.origin, Origin::Flag(_))
        {
            let what = format!("'server' and '{}' say the same: only one of them is wanted", rival.key.name);
            return Err(value_error(&rival.origin, what));
        }
        for name in rivals.into_iter().chain(["username"]) {
            self.set.remove(name);
        }
        self.by_url = true;
        self.parts.profile.username = None;
        (self.parts.host, self.parts.port, self.parts.security, self.parts.socket) = (None, None, None, None);
        self.host_origin = Some(assignment.origin.clone());
        self.user_origin = Some(assignment.origin.clone());
        match self.parts.url.take() {
            Some(ServerUrl::Network { is_lmtp, username, host, socket, port, security }) => {
                (self.is_lmtp, self.local) = (is_lmtp, None);
                self.parts.profile.username = username;
                (self.parts.host, self.parts.port, self.parts.security) = (Some(host), port, security);
                self.parts.socket = socket;
            }
            Some(ServerUrl::Sendmail { program }) => self.local = Some(Server::Sendmail { program }),
            Some(ServerUrl::Maildir { path }) => self.local = Some(Server::Maildir { path }),
            None => {}
        }
        Ok(())
    }

    fn identity(&self) -> Identity {
        [self.parts.host.clone(), self.parts.profile.username.clone()]
    }

    fn server(&self) -> Option<Server> {
        if let Some(local) = &self.local {
            return Some(local.clone());
        }
        let socket = self.parts.socket.clone();
        let host = self.parts.host.clone().or_else(|| socket.is_some().then(|| "localhost".to_owned()))?;
        let port = self.parts.port;
        let is_loopback = Endpoint { host: host.clone(), port: 0 }.is_loopback();
        let security = self.parts.security.unwrap_or(match port {
            _ if socket.is_some() => Security::None,
            Some(465) => Security::Tls,
            _ if self.by_url && is_loopback => Security::None,
            None if !self.by_url => Security::Tls,
            _ => Security::Starttls,
        });
        let port = port.unwrap_or(match security {
            _ if self.is_lmtp => 24,
            Security::Tls => 465,
            Security::Starttls => 587,
            Security::None => 25,
        });
        Some(Server::Network { is_lmtp: self.is_lmtp, endpoint: Endpoint { host, port }, socket, security })
    }

    fn check_client_certificate(&self) -> Result<(), ConfigError> {
        let missing = match (self.set.get("tls.client-cert"), self.set.get("tls.client-key")) {
            (Some((_, origin)), None) => (origin, "tls.client-cert needs tls.client-key"),
            (None, Some((_, origin))) => (origin, "tls.client-key needs tls.client-cert"),
            _ => return Ok(()),
        };
        Err(value_error(missing.0, missing.1.to_owned()))
    }

    /// A password is never sent to a host, or for a user, that it was not written for.
    fn check_password(&mut self) {
        let (Some((_, origin)), Some(wanted_for)) = (self.set.get("password"), &self.password_for) else { return };
        let (origin, wanted_for) = (origin.clone(), wanted_for.clone());
        if !self.is_meant_for_us(&origin, &wanted_for) {
            self.drop_secret("password", &origin, &wanted_for);
            self.parts.profile.password = None;
        }
    }

    /// Whether what was written at `origin` for this host and user is for ours.
    fn is_meant_for_us(&self, origin: &Origin, wanted_for: &Identity) -> bool {
        let now = self.identity();
        // Where it stands names no host, or no user: it is for those that the same file names.
        let is_same_file = |other: &Option<Origin>| matches!((origin, other), (Origin::File(own, _), Some(Origin::File(other, _))) if own == other);
        let origins = [&self.host_origin, &self.user_origin];
        let is_meant =
            |part: usize| wanted_for[part] == now[part] || (wanted_for[part].is_none() && is_same_file(origins[part]));
        is_meant(0) && is_meant(1)
    }

    /// Says why a secret of the file is not used.
    fn drop_secret(&mut self, key: &str, origin: &Origin, wanted_for: &Identity) {
        let whose = |[host, user]: &Identity| {
            format!("{}@{}", user.as_deref().unwrap_or("nobody"), host.as_deref().unwrap_or("no host"))
        };
        let source = if key == "password" { "password source" } else { key };
        self.parts.profile.dropped_password =
            Some(format!("the {source} at {origin} is for {}, not for {}", whose(wanted_for), whose(&self.identity())));
        self.parts.profile.settings.retain(|setting| setting.key.split('.').next() != Some(key));
    }
}

#[cfg(test)]
mod tests;
