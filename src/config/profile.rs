//! A profile with everything resolved: what the rooms above work with.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use super::{
    BreakerPolicy, ConfigError, Environment, LogTable, OAuth, Pool, QueueTable, RatePolicy, SendmailTable,
    resolve::proxy_of_environment,
};
use crate::{
    mail::{Address, Entry, Mailbox, RetryPolicy},
    net::{Endpoint, Passage, Proxy, TlsPolicy},
};

/// Where to send and how. Made by [`super::resolve`], immutable afterwards.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name; `None` for a `--server` URL.
    pub name: Option<String>,
    /// Sender of messages that name none.
    pub from: Option<Mailbox>,
    /// Whether messages have the null return path, `<>` (`from = ""`).
    pub has_null_sender: bool,
    /// Return path of messages that have one, instead of their sender's.
    pub envelope_from: Option<Address>,
    /// Reply-To of messages that name none.
    pub reply_to: Vec<Entry>,
    /// Where messages go; `None` while nothing says so.
    pub server: Option<Server>,
    /// User to log in as; without one nobody logs in, but for mechanisms that need none.
    pub username: Option<String>,
    /// Mechanisms to log in with.
    pub auth: Auth,
    /// Source of the password or token; the keyring, then a prompt, if none is named.
    pub password: Option<SecretSource>,
    /// Where access tokens come from; then there is no password.
    pub oauth: Option<OAuth>,
    /// Where the keyring's entries are kept.
    pub secrets: Secrets,
    /// The queue, for messages that go there.
    pub queue: QueueTable,
    /// How messages of other programs are taken.
    pub sendmail: SendmailTable,
    /// What is noted of outcomes.
    pub log: LogTable,
    /// Whether a login may go over a connection without TLS.
    pub allow_plaintext_auth: bool,
    /// Name given in EHLO; this machine's, if none.
    pub ehlo_name: Option<String>,
    /// Proxy to connect through.
    pub proxy: Option<Proxy>,
    /// Source of the proxy's password.
    pub proxy_password: Option<SecretSource>,
    /// Our own address to connect from.
    pub bind_address: Option<IpAddr>,
    /// TLS.
    pub tls: TlsPolicy,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Which SMTP extensions to use.
    pub extensions: Extensions,
    /// Pauses between attempts.
    pub retry: RetryPolicy,
    /// Sessions.
    pub pool: Pool,
    /// How fast.
    pub rate: RatePolicy,
    /// When the server is left alone.
    pub breaker: BreakerPolicy,
    /// Profiles to send by while it is.
    pub fallback: Vec<String>,
    /// Every key that is set, in the order of the table, with where it was set.
    pub settings: Vec<Setting>,
    /// Why a password source of the file is not used, if one is not.
    pub dropped_password: Option<String>,
}

/// A key, its value as written, and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key's name.
    pub key: &'static str,
    /// The value as TOML.
    pub value: String,
    /// Where it was set.
    pub origin: Origin,
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag, as typed.
    Flag(String),
    /// A variable of the environment.
    Environment(String),
    /// A file and a line of it, from 1.
    File(PathBuf, usize),
    /// The table of keys.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) => write!(f, "flag {flag}"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// The way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// A server that speaks SMTP or LMTP.
    Network {
        /// LMTP (RFC 2033) instead of SMTP.
        is_lmtp: bool,
        /// Host and port; with a socket, whose name the certificate and the password are for.
        endpoint: Endpoint,
        /// Unix socket to connect to instead.
        socket: Option<PathBuf>,
        /// What protects the connection.
        security: Security,
    },
    /// A sendmail program of this machine.
    Sendmail {
        /// Its whole path.
        program: PathBuf,
    },
    /// A maildir of this machine.
    Maildir {
        /// Its folder.
        path: PathBuf,
    },
}

impl fmt::Display for Server {
    /// As records name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Network { is_lmtp, socket: Some(socket), .. } => {
                write!(f, "{}://{}", if *is_lmtp { "lmtp" } else { "smtp" }, socket.display())
            }
            Server::Network { is_lmtp: true, endpoint, .. } => write!(f, "lmtp://{endpoint}"),
            Server::Network { endpoint, .. } => write!(f, "{endpoint}"),
            Server::Sendmail { program } => write!(f, "sendmail:{}", program.display()),
            Server::Maildir { path } => write!(f, "maildir:{}", path.display()),
        }
    }
}

/// What protects a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// STARTTLS, without which nothing is sent (RFC 3207).
    Starttls,
    /// Nothing.
    None,
}

impl Security {
    pub(super) const WORDS: [(&'static str, Security); 3] =
        [("tls", Security::Tls), ("starttls", Security::Starttls), ("none", Security::None)];

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
    }

    /// The word used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Security::Tls => "tls",
            Security::Starttls => "starttls",
            Security::None => "none",
        }
    }
}

/// Mechanisms to log in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// The best that server and secret allow.
    Auto,
    /// These, in this order.
    List(Vec<Mechanism>),
}

/// A SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 5802, RFC 7677, with channel binding.
    ScramSha256Plus,
    /// RFC 5802, RFC 7677.
    ScramSha256,
    /// RFC 5802, with channel binding.
    ScramSha1Plus,
    /// RFC 5802.
    ScramSha1,
    /// RFC 2195.
    CramMd5,
    /// RFC 4616.
    Plain,
    /// draft-murchison-sasl-login.
    Login,
    /// Google's and Microsoft's; the secret is an access token.
    XOAuth2,
    /// RFC 7628; the secret is an access token.
    OAuthBearer,
    /// RFC 4422, appendix A: the client certificate says who we are.
    External,
    /// RFC 4505.
    Anonymous,
}

impl Auth {
    /// Whether no mechanism can be used without a secret.
    pub fn always_takes_secret(&self) -> bool {
        match self {
            Auth::Auto => true,
            Auth::List(list) => list.iter().all(|mechanism| mechanism.takes_secret()),
        }
    }
}

impl Mechanism {
    pub(super) const WORDS: [(&'static str, Mechanism); 11] = [
        ("SCRAM-SHA-256-PLUS", Mechanism::ScramSha256Plus),
        ("SCRAM-SHA-256", Mechanism::ScramSha256),
        ("SCRAM-SHA-1-PLUS", Mechanism::ScramSha1Plus),
        ("SCRAM-SHA-1", Mechanism::ScramSha1),
        ("CRAM-MD5", Mechanism::CramMd5),
        ("PLAIN", Mechanism::Plain),
        ("LOGIN", Mechanism::Login),
        ("XOAUTH2", Mechanism::XOAuth2),
        ("OAUTHBEARER", Mechanism::OAuthBearer),
        ("EXTERNAL", Mechanism::External),
        ("ANONYMOUS", Mechanism::Anonymous),
    ];

    /// The registered name.
    pub fn as_str(self) -> &'static str {
        // Every mechanism has its word.
        Self::WORDS.iter().find(|(_, mechanism)| *mechanism == self).map_or("", |(word, _)| word)
    }

    /// Whether its secret is an access token.
    pub fn takes_token(self) -> bool {
        matches!(self, Mechanism::XOAuth2 | Mechanism::OAuthBearer)
    }

    /// Whether it needs a secret of ours at all.
    pub fn takes_secret(self) -> bool {
        !matches!(self, Mechanism::External | Mechanism::Anonymous)
    }

    /// Whether it is bound to the TLS connection.
    pub fn is_bound(self) -> bool {
        matches!(self, Mechanism::ScramSha256Plus | Mechanism::ScramSha1Plus)
    }

    /// Whether who listens could use what is said.
    pub fn shows_secret(self) -> bool {
        matches!(self, Mechanism::Plain | Mechanism::Login | Mechanism::XOAuth2 | Mechanism::OAuthBearer)
    }
}

/// Where a password or token is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The keyring of the operating system.
    Keyring,
    /// Output of a shell command.
    Command(String),
    /// A file that only its owner can read.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
    /// An open file descriptor.
    Fd(u32),
    /// A systemd credential (`$CREDENTIALS_DIRECTORY/NAME`).
    Credential(String),
    /// The entry of host and user in a `.netrc`; `$NETRC` or `~/.netrc` if none is named.
    Netrc(Option<PathBuf>),
}

/// Where the entries of `login` are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// The one store to use; all that are there, if none is named.
    pub store: Option<StoreKind>,
    /// The encrypted file; one in the state folder, if none is named.
    pub file: Option<PathBuf>,
    /// Where the key of the encrypted file comes from; a passphrase typed at the terminal, if nothing is named.
    pub key: Option<SecretSource>,
}

/// A store for secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// The desktop's keyring: Secret Service, macOS Keychain, Windows Credential Manager.
    Keyring,
    /// Linux kernel keys: until the machine starts anew.
    Keyutils,
    /// An encrypted file.
    File,
}

impl StoreKind {
    /// The words of the configuration, in the order in which the stores are asked.
    pub const WORDS: [(&'static str, StoreKind); 3] =
        [("keyring", StoreKind::Keyring), ("keyutils", StoreKind::Keyutils), ("file", StoreKind::File)];

    /// The word used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            StoreKind::Keyring => "keyring",
            StoreKind::Keyutils => "keyutils",
            StoreKind::File => "file",
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::Keyring => f.write_str("keyring"),
            SecretSource::Command(command) => write!(f, "command '{command}'"),
            SecretSource::File(path) => write!(f, "file {}", path.display()),
            SecretSource::Env(name) => write!(f, "environment variable {name}"),
            SecretSource::Fd(number) => write!(f, "file descriptor {number}"),
            SecretSource::Credential(name) => write!(f, "systemd credential '{name}'"),
            SecretSource::Netrc(None) => f.write_str("netrc"),
            SecretSource::Netrc(Some(path)) => write!(f, "netrc {}", path.display()),
        }
    }
}

/// Time limits of a session (RFC 5321, 4.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name look-up and connection.
    pub connect: Duration,
    /// The server's 220.
    pub greeting: Duration,
    /// Each reply to a command, and the TLS handshake.
    pub command: Duration,
    /// Each block of the message.
    pub content: Duration,
    /// The reply to the whole message.
    pub final_reply: Duration,
}

/// Which SMTP extensions to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extensions {
    /// Delivery reports (RFC 3461).
    pub dsn: Extension,
    /// Addresses in UTF-8 (RFC 6531).
    pub smtputf8: Extension,
    /// BDAT (RFC 3030).
    pub chunking: Extension,
    /// Groups of commands (RFC 2920).
    pub pipelining: Extension,
    /// TLS all the way (RFC 8689); never `Prefer`.
    pub requiretls: Extension,
}

/// What to do about an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// Use it where it is offered.
    Prefer,
    /// Do not send where it is not offered.
    Require,
    /// Do not use it.
    Off,
}

impl Profile {
    /// The way to its server. A password that a source keeps is not in it yet.
    pub fn passage(&self) -> Passage {
        match &self.server {
            Some(Server::Network { socket: Some(socket), .. }) => {
                Passage { socket: Some(socket.clone()), ..Passage::default() }
            }
            _ => Passage { socket: None, proxy: self.proxy.clone(), source: self.bind_address },
        }
    }

    /// How other hosts are reached for the same purpose, such as one that gives out tokens.
    pub fn web_way(&self) -> WebWay {
        WebWay {
            // `none` is said as well.
            is_said: self.settings.iter().any(|setting| setting.key == "proxy"),
            proxy: self.proxy.clone(),
            proxy_password: self.proxy_password.clone(),
            source: self.bind_address,
        }
    }

    /// Whether somebody logs in: a user, or whoever a mechanism without a secret stands for.
    pub fn wants_login(&self) -> bool {
        self.username.is_some() || !self.auth.always_takes_secret()
    }
}

/// The way to hosts other than the server: through the proxy that the profile names, else by what the environment says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebWay {
    is_said: bool,
    proxy: Option<Proxy>,
    /// Source of the proxy's password.
    pub proxy_password: Option<SecretSource>,
    source: Option<IpAddr>,
}

impl WebWay {
    /// The way to this host. A password that a source keeps is not in it yet.
    ///
    /// # Errors
    /// If `ALL_PROXY` is wanted and no URL of a proxy.
    pub fn passage_to(&self, host: &str, environment: &Environment) -> Result<Passage, ConfigError> {
        // http:// is only allowed because this machine's own connections are nobody else's.
        if (Endpoint { host: host.to_owned(), port: 0 }).is_loopback() {
            return Ok(Passage::default());
        }
        let proxy = if self.is_said { self.proxy.clone() } else { proxy_of_environment(host, environment)? };
        Ok(Passage { socket: None, proxy, source: self.source })
    }
}

impl Profile {
    /// Where reports about a message of this sender go, as long as nobody says it otherwise; `None` is `<>`.
    pub fn return_path(&self, sender: Option<&Address>) -> Option<Address> {
        match self.has_null_sender {
            true => None,
            false => self.envelope_from.as_ref().or(sender).cloned(),
        }
    }
}

impl Default for Profile {
    /// Everything empty; [`super::resolve`] puts the table's defaults in.
    fn default() -> Self {
        Self {
            name: None,
            from: None,
            has_null_sender: false,
            envelope_from: None,
            reply_to: Vec::new(),
            server: None,
            username: None,
            auth: Auth::Auto,
            password: None,
            oauth: None,
            secrets: Secrets::default(),
            queue: QueueTable::default(),
            sendmail: SendmailTable::default(),
            log: LogTable::default(),
            allow_plaintext_auth: false,
            ehlo_name: None,
            proxy: None,
            proxy_password: None,
            bind_address: None,
            tls: TlsPolicy::default(),
            timeouts: Timeouts {
                connect: Duration::ZERO,
                greeting: Duration::ZERO,
                command: Duration::ZERO,
                content: Duration::ZERO,
                final_reply: Duration::ZERO,
            },
            extensions: Extensions {
                dsn: Extension::Prefer,
                smtputf8: Extension::Prefer,
                chunking: Extension::Prefer,
                pipelining: Extension::Prefer,
                requiretls: Extension::Off,
            },
            retry: RetryPolicy {
                max_attempts: None,
                max_time: Duration::ZERO,
                initial_delay: Duration::ZERO,
                multiplier: 1.0,
                max_delay: Duration::ZERO,
                jitter: false,
            },
            pool: Pool {
                max_connections: 1,
                max_messages_per_connection: 1,
                idle_timeout: Duration::ZERO,
                acquire_timeout: Duration::ZERO,
                pipeline_depth: 1,
            },
            rate: RatePolicy::default(),
            breaker: BreakerPolicy { failure_threshold: 1, cool_down: Duration::ZERO },
            fallback: Vec::new(),
            settings: Vec::new(),
            dropped_password: None,
        }
    }
}
