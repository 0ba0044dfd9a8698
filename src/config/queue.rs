//! `[queue]`: where messages are kept, for how long, and what becomes of those that fail.

use std::{fmt, path::PathBuf, time::Duration};

use super::{
    profile::SecretSource,
    server::{UrlError, host_and_port, percent_decode, percent_encode_path},
};
use crate::net::Endpoint;

/// The queue of this user, which no profile has a say in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueTable {
    /// The file; one in the state folder, if none is named.
    pub path: Option<PathBuf>,
    /// A folder with a folder for each user who has no home.
    pub fallback_folder: Option<PathBuf>,
    /// What is not accepted by then has failed.
    pub lifetime: Duration,
    /// How long messages that have ended are remembered, with their keys.
    pub keep: Duration,
    /// Whether a message of which nobody can know whether it was sent is sent again, instead of being held.
    pub retries_unknown: bool,
    /// What becomes of a message that has failed.
    pub on_failure: OnFailure,
    /// Whether somebody who adds a message sees to it that it is sent, where no worker runs.
    pub drains: bool,
    /// Absolute folders below which jobs of other programs may name files; nowhere, if there are none.
    pub attachment_roots: Vec<PathBuf>,
    /// The RabbitMQ that keeps the messages instead of the file.
    pub url: Option<BrokerUrl>,
    /// Its password.
    pub password: Option<SecretSource>,
    /// Its authorities instead of all others.
    pub ca_file: Option<PathBuf>,
    /// The password may go to another machine without TLS.
    pub allows_plaintext: bool,
    /// The queue there; others have names that begin so.
    pub name: String,
    /// The queue there that gets a record for every recipient.
    pub results: Option<String>,
    /// Whether queues are made there; else they have to be there.
    pub declares: bool,
}

/// A RabbitMQ server: `amqps://USER@HOST:PORT/VHOST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// `amqps`.
    pub is_tls: bool,
    /// Host and port.
    pub endpoint: Endpoint,
    /// Who logs in; none is RabbitMQ's own guest.
    pub user: Option<String>,
    /// The virtual host, `/` if none is named.
    pub vhost: String,
}

impl BrokerUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// If there is a password in it, or with the reason why it is none.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let invalid = |what: &str| UrlError::Invalid(what.to_owned());
        let known = "amqps://USER@HOST or amqp://USER@HOST is wanted, with :PORT and /VHOST where they differ";
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid(known))?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "amqp" => false,
            "amqps" => true,
            _ => return Err(invalid(known)),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host_port) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        if user.is_some_and(|user| user.contains(':')) {
            return Err(UrlError::Password);
        }
        let decode =
            |text: &str| percent_decode(text).ok_or_else(|| invalid("a '%' is not followed by two hex digits"));
        if path.contains(['/', '?', '#']) {
            return Err(invalid("behind the host only a VHOST is known; a '/' in its name is written %2F"));
        }
        let (host, port) = host_and_port(host_port)?;
        let vhost = if path.is_empty() { "/".to_owned() } else { decode(path)? };
        let user = user.filter(|user| !user.is_empty()).map(decode).transpose()?;
        let port = port.unwrap_or(if is_tls { 5671 } else { 5672 });
        Ok(Self { is_tls, endpoint: Endpoint { host, port }, user, vhost })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_tls { "amqps://" } else { "amqp://" })?;
        let encoded = |text: &str| percent_encode_path(text).replace('/', "%2F");
        if let Some(user) = &self.user {
            write!(f, "{}@", encoded(user))?;
        }
        write!(f, "{}", self.endpoint)?;
        match self.vhost.as_str() {
            "/" => Ok(()),
            vhost => write!(f, "/{}", encoded(vhost)),
        }
    }
}

/// What is done about a message that has failed for some recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnFailure {
    /// A report goes to its sender (RFC 3464).
    Report,
    /// Nothing.
    Nothing,
    /// This shell command runs.
    Command(String),
}

impl Default for QueueTable {
    /// As the defaults of the keys say it.
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            path: None,
            fallback_folder: None,
            lifetime: 5 * DAY,
            keep: 7 * DAY,
            retries_unknown: false,
            on_failure: OnFailure::Report,
            drains: true,
            attachment_roots: Vec::new(),
            url: None,
            password: None,
            ca_file: None,
            allows_plaintext: false,
            name: "email_queue".to_owned(),
            results: None,
            declares: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_brokers() {
        for (url, shown) in [
            ("amqp://rabbit", "amqp://rabbit:5672"),
            ("AMQPS://ada@rabbit.example/", "amqps://ada@rabbit.example:5671"),
            ("amqp://a%2Fb@[::1]:1/my%2Fhost", "amqp://a%2Fb@[::1]:1/my%2Fhost"),
            ("amqp://rabbit/%2F", "amqp://rabbit:5672"),
        ] {
            assert_eq!(BrokerUrl::parse(url).unwrap().to_string(), shown);
        }
        assert_eq!(BrokerUrl::parse("amqp://ada:secret@rabbit"), Err(UrlError::Password));
        for bad in ["rabbit", "http://rabbit", "amqp://", "amqp://rabbit/a/b", "amqp://rabbit/a?b=c", "amqp://r%zz@h"] {
            assert!(matches!(BrokerUrl::parse(bad), Err(UrlError::Invalid(_))), "{bad}");
        }
    }
}
