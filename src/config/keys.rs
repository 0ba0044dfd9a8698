//! The one table of profile keys: name, what is wanted, default, documentation, and how a value is taken in.

mod extensions;
mod log;
mod queue;
mod reading;
mod retry;
mod secrets;
mod sending;
mod sendmail;

use std::path::PathBuf;

pub use log::LOG_KEYS;
pub use queue::QUEUE_KEYS;
pub(super) use reading::patterns;
pub use reading::web_address;
use reading::{auth, ehlo_name, nonempty, parse_pin, secret_source};
pub use secrets::SECRETS_KEYS;
pub use sendmail::SENDMAIL_KEYS;

use super::{
    oauth::{Flow, OAuthParts, Provider},
    profile::{Profile, SecretSource, Security},
    server::{ServerUrl, UrlError, parse_host, parse_port, parse_proxy},
    value::{Input, Raw},
};
use crate::{
    mail::{Mailbox, parse_list},
    net::TlsVersion,
};

/// A key of a profile.
pub struct Key {
    /// As in TOML and behind `-o`; a dot stands for a table.
    pub name: &'static str,
    /// What is wanted, for the manual.
    pub wanted: &'static str,
    /// The value that holds when nothing is set, as text; the manual names it.
    pub default: Option<&'static str>,
    /// One to three sentences for the manual.
    pub doc: &'static str,
    pub(super) set: fn(&mut Parts, &Input<'_>) -> Result<(), String>,
}

/// A profile while its values come in, and the parts of its server that are put together at the end.
#[derive(Default)]
pub(super) struct Parts {
    pub profile: Profile,
    pub url: Option<ServerUrl>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub socket: Option<PathBuf>,
    pub security: Option<Security>,
    pub oauth: OAuthParts,
    /// `proxy = "none"`: not even that of the environment.
    pub has_no_proxy: bool,
}

impl Key {
    /// The variable that sets this key: `MAILSEND_TIMEOUTS_CONNECT`.
    pub fn variable(&self) -> String {
        format!("MAILSEND_{}", self.name.to_ascii_uppercase().replace(['.', '-'], "_"))
    }
}

const TLS_VERSIONS: &[(&str, TlsVersion)] = &[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];

/// All keys, in the order in which the manual and `profile show` name them.
pub const KEYS: &[Key] = &[
    Key {
        name: "from",
        wanted: "address",
        default: None,
        doc: "Sender of messages that name none: the From field, and the return path unless --envelope-from is given. \
              \"\" or \"<>\" is the null sender: messages have no return path, and name their sender with --from.",
        set: |parts, input| {
            let text = input.line()?;
            parts.profile.has_null_sender = matches!(text.trim(), "" | "<>");
            parts.profile.from = match parts.profile.has_null_sender {
                true => None,
                false => Some(Mailbox::parse(text).map_err(|error| error.to_string())?),
            };
            Ok(())
        },
    },
    Key {
        name: "envelope-from",
        wanted: "address",
        default: None,
        doc: "Return path of all messages of this profile that have one, whatever their sender is and whatever a program \
              says with sendmail -f: some servers take no other. --envelope-from wins.",
        set: |parts, input| {
            let mailbox = Mailbox::parse(input.line()?).map_err(|error| error.to_string())?;
            parts.profile.envelope_from = Some(mailbox.address);
            Ok(())
        },
    },
    Key {
        name: "match",
        wanted: "patterns",
        default: None,
        doc: "Senders that choose this profile when none is named: [\"*@work.example\", \"me+*@home.example\"]; \"<>\" is the \
              null sender. What names most characters wins. It is not inherited.",
        set: |_, input| patterns(input).map(|_| ()),
    },
    Key {
        name: "reply-to",
        wanted: "addresses",
        default: None,
        doc: "Reply-To of messages that name none.",
        set: |parts, input| {
            parts.profile.reply_to = parse_list(input.line()?).map_err(|error| error.to_string())?;
            Ok(())
        },
    },
    Key {
        name: "server",
        wanted: "URL",
        default: None,
        doc: "The server as one URL instead of host, port and security: smtp://USER@HOST:PORT, smtps://, lmtp://, \
              sendmail:PROGRAM, maildir:FOLDER. It has the forms and defaults of --server.",
        set: |parts, input| {
            parts.url = Some(ServerUrl::parse(input.line()?).map_err(|error| match error {
                UrlError::Password => "a password in a URL is not taken: store it with 'mailsend login'".to_owned(),
                UrlError::Invalid(what) => what,
            })?);
            // A relative folder starts from the file that names it, as every other path does.
            if let Some(ServerUrl::Maildir { path }) = &mut parts.url {
                let raw = Raw::Text(path.to_string_lossy().into_owned());
                *path = Input { raw: &raw, folder: input.folder.clone(), home: input.home.clone() }.path()?;
            }
            Ok(())
        },
    },
    Key {
        name: "host",
        wanted: "host name",
        default: None,
        doc: "The server's name or IP address. Its certificate must be for this name.",
        set: |parts, input| {
            parts.host = Some(parse_host(input.line()?)?);
            Ok(())
        },
    },
    Key {
        name: "port",
        wanted: "number",
        default: None,
        doc: "The server's port. By default 465 with security = \"tls\", 587 with \"starttls\", 25 with \"none\".",
        set: |parts, input| {
            let port: i64 = input.integer()?;
            parts.port = Some(parse_port(&port.to_string())?);
            Ok(())
        },
    },
    Key {
        name: "socket",
        wanted: "path",
        default: None,
        doc: "Unix socket to connect to instead of host and port. Without security = no TLS is used; certificate and \
              password are for the host, or for localhost.",
        set: |parts, input| {
            parts.socket = Some(input.path()?);
            Ok(())
        },
    },
    Key {
        name: "security",
        wanted: "tls, starttls or none",
        default: None,
        doc: "What protects the connection. Without it: tls if no port is set or it is 465, else starttls. With \
              starttls nothing is sent to a server that does not offer it.",
        set: |parts, input| {
            parts.security = Some(input.choice(&Security::WORDS)?);
            Ok(())
        },
    },
    Key {
        name: "username",
        wanted: "text",
        default: None,
        doc: "User to log in as. Without one there is no login.",
        set: |parts, input| {
            let name = input.line()?;
            parts.profile.username = (!name.is_empty()).then(|| name.to_owned());
            Ok(())
        },
    },
    Key {
        name: "auth",
        wanted: "auto, or a list",
        default: Some("auto"),
        doc: "Mechanisms to log in with, best first: SCRAM-SHA-256-PLUS, SCRAM-SHA-256, SCRAM-SHA-1-PLUS, SCRAM-SHA-1, \
              CRAM-MD5, PLAIN, LOGIN, XOAUTH2, OAUTHBEARER, EXTERNAL, ANONYMOUS. auto is SCRAM with SHA-256, then with \
              SHA-1, each with channel binding where it is offered, then PLAIN, LOGIN under TLS; without TLS CRAM-MD5; \
              with oauth it is OAUTHBEARER, then XOAUTH2, whose secret is an access token. EXTERNAL shows \
              tls.client-cert, ANONYMOUS nothing: they need no password.",
        set: |parts, input| {
            parts.profile.auth = auth(input)?;
            Ok(())
        },
    },
    Key {
        name: "password",
        wanted: "keyring, or a table with one source",
        default: None,
        doc: "Where the password or token is kept, never the password itself: \"keyring\" (see mailsend login), \
              { command = \"pass show smtp\" }, { file = \"smtp.password\" } (readable by its owner only), \
              { env = \"NAME\" }, { fd = 3 }, { credential = \"NAME\" } (systemd), \"netrc\" or { netrc = \"FILE\" }. \
              Without it the stores of login are asked, and at a terminal the user.",
        set: |parts, input| {
            parts.profile.password = Some(secret_source(input)?);
            Ok(())
        },
    },
    Key {
        name: "oauth.provider",
        wanted: "google, microsoft or custom",
        default: None,
        doc: "Log in with access tokens of this provider instead of a password. google and microsoft bring endpoints, \
              scopes, and the server where none is named; custom needs its endpoints.",
        set: |parts, input| {
            parts.oauth.provider = Some(input.choice(&Provider::WORDS)?);
            Ok(())
        },
    },
    Key {
        name: "oauth.command",
        wanted: "text",
        default: None,
        doc: "Shell command that prints an access token, instead of everything else here.",
        set: |parts, input| {
            parts.oauth.command = Some(nonempty(input.text()?)?);
            Ok(())
        },
    },
    Key {
        name: "oauth.flow",
        wanted: "device, code, client-credentials or service-account",
        default: None,
        doc: "How the first token is got. device: a code is typed into a browser anywhere (microsoft's default); code: a \
              browser on this machine (google's default); client-credentials: the client alone, nobody consents; \
              service-account: a Google service account that acts for the user.",
        set: |parts, input| {
            parts.oauth.flow = Some(input.choice(&Flow::WORDS)?);
            Ok(())
        },
    },
    Key {
        name: "oauth.client-id",
        wanted: "text",
        default: None,
        doc: "The client id that the provider has registered for you.",
        set: |parts, input| {
            parts.oauth.client_id = Some(nonempty(input.line()?)?);
            Ok(())
        },
    },
    Key {
        name: "oauth.client-secret",
        wanted: "a table with one source",
        default: None,
        doc: "Where the client's secret is kept, as for password. Where the flow has a login, mailsend login can ask for \
              it and keep it with the tokens.",
        set: |parts, input| {
            parts.oauth.client_secret = Some(secret_source(input)?);
            Ok(())
        },
    },
    Key {
        name: "oauth.private-key",
        wanted: "path",
        default: None,
        doc: "PEM file with an RSA key of the client, which signs assertions instead of a secret (RFC 7523).",
        set: |parts, input| {
            parts.oauth.private_key = Some(input.path()?);
            Ok(())
        },
    },
    Key {
        name: "oauth.certificate",
        wanted: "path",
        default: None,
        doc: "PEM file with the certificate of oauth.private-key, as registered with microsoft.",
        set: |parts, input| {
            parts.oauth.certificate = Some(input.path()?);
            Ok(())
        },
    },
    Key {
        name: "oauth.service-account",
        wanted: "path",
        default: None,
        doc: "JSON file with the key of a Google service account that may act for the user (domain-wide delegation).",
        set: |parts, input| {
            parts.oauth.service_account = Some(input.path()?);
            Ok(())
        },
    },
    Key {
        name: "oauth.tenant",
        wanted: "text",
        default: None,
        doc: "Microsoft's tenant: a domain, an id, organizations or consumers. Without it: common.",
        set: |parts, input| {
            let tenant = nonempty(input.line()?)?;
            if !tenant.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')) {
                return Err("a domain or an id is wanted".to_owned());
            }
            parts.oauth.tenant = Some(tenant);
            Ok(())
        },
    },
    Key {
        name: "oauth.scopes",
        wanted: "text, or a list",
        default: None,
        doc: "What is asked for, instead of the provider's usual scopes.",
        set: |parts, input| {
            let words = input.list()?;
            parts.oauth.scopes =
                Some(words.iter().flat_map(|word| word.split_whitespace()).map(str::to_owned).collect());
            Ok(())
        },
    },
    Key {
        name: "oauth.token-endpoint",
        wanted: "web address",
        default: None,
        doc: "Where tokens are given out: https, or http on this machine.",
        set: |parts, input| {
            parts.oauth.token_endpoint = Some(web_address(input.line()?)?);
            Ok(())
        },
    },
    Key {
        name: "oauth.authorize-endpoint",
        wanted: "web address",
        default: None,
        doc: "Where people consent, for flow code.",
        set: |parts, input| {
            parts.oauth.authorize_endpoint = Some(web_address(input.line()?)?);
            Ok(())
        },
    },
    Key {
        name: "oauth.device-endpoint",
        wanted: "web address",
        default: None,
        doc: "Where codes are given out, for flow device.",
        set: |parts, input| {
            parts.oauth.device_endpoint = Some(web_address(input.line()?)?);
            Ok(())
        },
    },
    Key {
        name: "oauth.redirect-uri",
        wanted: "web address",
        default: None,
        doc: "Where the browser comes back to, for flow code, where the provider wants an exact one: \
              http://localhost:PORT/PATH. Without it a free port of this machine is taken.",
        set: |parts, input| {
            let address = web_address(input.line()?)?;
            if !address.starts_with("http://") {
                return Err("an address of this machine is wanted: http://localhost:PORT/PATH".to_owned());
            }
            parts.oauth.redirect_uri = Some(address);
            Ok(())
        },
    },
    Key {
        name: "allow-plaintext-auth",
        wanted: "true or false",
        default: Some("false"),
        doc: "Whether a login that shows the password or token may go over a connection without TLS, where everybody in \
              between can read it. SCRAM and CRAM-MD5 show neither.",
        set: |parts, input| {
            parts.profile.allow_plaintext_auth = input.boolean()?;
            Ok(())
        },
    },
    Key {
        name: "ehlo-name",
        wanted: "host name",
        default: None,
        doc: "Name that is given in EHLO. By default this machine's, or its address where that has no dot, \
              or localhost behind a proxy or a socket, who need not know that address.",
        set: |parts, input| {
            parts.profile.ehlo_name = Some(ehlo_name(input.line()?)?);
            Ok(())
        },
    },
    Key {
        name: "proxy",
        wanted: "URL, or none",
        default: None,
        doc: "Proxy to connect through: socks5://USER@HOST:PORT or http://USER@HOST:PORT (CONNECT). It looks the host up. \
              Without it ALL_PROXY is heeded, except for this machine and what NO_PROXY names; none heeds nothing.",
        set: |parts, input| {
            let text = input.line()?;
            parts.has_no_proxy = matches!(text, "none" | "");
            parts.profile.proxy = match parts.has_no_proxy {
                true => None,
                false => Some(parse_proxy(text, false).map_err(|error| match error {
                    UrlError::Password => {
                        "a password in a URL is not taken: name its place with proxy-password".to_owned()
                    }
                    UrlError::Invalid(what) => what,
                })?),
            };
            Ok(())
        },
    },
    Key {
        name: "proxy-password",
        wanted: "a table with one source",
        default: None,
        doc: "Where the proxy's password is kept, as for password, but not the keyring.",
        set: |parts, input| {
            parts.profile.proxy_password = match secret_source(input)? {
                SecretSource::Keyring => {
                    return Err("the keyring keeps no passwords of proxies: name another source".to_owned());
                }
                source => Some(source),
            };
            Ok(())
        },
    },
    Key {
        name: "bind-address",
        wanted: "IP address",
        default: None,
        doc: "Our own address to connect from, on a machine with several.",
        set: |parts, input| {
            let text = input.line()?;
            let address = text.parse().map_err(|_| format!("'{}' is no IP address", crate::mail::clean(text)))?;
            parts.profile.bind_address = Some(address);
            Ok(())
        },
    },
    Key {
        name: "tls.ca-file",
        wanted: "path",
        default: None,
        doc: "PEM file with the authorities, or the server certificates, to trust instead of all others.",
        set: |parts, input| {
            parts.profile.tls.ca_file = Some(input.path()?);
            Ok(())
        },
    },
    Key {
        name: "tls.pin-sha256",
        wanted: "Base64, or a list",
        default: None,
        doc: "SHA-256 of the server's public key. A server with this key is trusted, whoever signed its certificate; \
              one with another key never is. profile check prints it.",
        set: |parts, input| {
            parts.profile.tls.pins = input.list()?.iter().map(|pin| parse_pin(pin)).collect::<Result<_, _>>()?;
            Ok(())
        },
    },
    Key {
        name: "tls.client-cert",
        wanted: "path",
        default: None,
        doc: "PEM file with our own certificate chain, for servers that ask for one. Needs tls.client-key.",
        set: |parts, input| {
            parts.profile.tls.client.get_or_insert_default().0 = input.path()?;
            Ok(())
        },
    },
    Key {
        name: "tls.client-key",
        wanted: "path",
        default: None,
        doc: "PEM file with the key of tls.client-cert.",
        set: |parts, input| {
            parts.profile.tls.client.get_or_insert_default().1 = input.path()?;
            Ok(())
        },
    },
    Key {
        name: "tls.min-version",
        wanted: "1.2 or 1.3",
        default: Some("1.2"),
        doc: "The oldest version of TLS to speak.",
        set: |parts, input| {
            parts.profile.tls.min_version = input.choice(TLS_VERSIONS)?;
            Ok(())
        },
    },
    Key {
        name: "tls.server-name",
        wanted: "host name",
        default: None,
        doc: "Name that the certificate must be for, instead of the host.",
        set: |parts, input| {
            parts.profile.tls.server_name = Some(parse_host(input.line()?)?);
            Ok(())
        },
    },
    Key {
        name: "timeouts.connect",
        wanted: "time",
        default: Some("15s"),
        doc: "Limit for the name look-up and the connection, a proxy's answers included.",
        set: |parts, input| {
            parts.profile.timeouts.connect = input.limit()?;
            Ok(())
        },
    },
    Key {
        name: "timeouts.greeting",
        wanted: "time",
        default: Some("1m"),
        doc: "Limit for the server's greeting.",
        set: |parts, input| {
            parts.profile.timeouts.greeting = input.limit()?;
            Ok(())
        },
    },
    Key {
        name: "timeouts.command",
        wanted: "time",
        default: Some("2m"),
        doc: "Limit for each reply to a command.",
        set: |parts, input| {
            parts.profile.timeouts.command = input.limit()?;
            Ok(())
        },
    },
    Key {
        name: "timeouts.content",
        wanted: "time",
        default: Some("3m"),
        doc: "Limit for each block of the message that is sent.",
        set: |parts, input| {
            parts.profile.timeouts.content = input.limit()?;
            Ok(())
        },
    },
    Key {
        name: "timeouts.final-reply",
        wanted: "time",
        default: Some("10m"),
        doc: "Limit for the reply to the whole message. What is not answered by then is unknown; --timeout never \
              shortens it.",
        set: |parts, input| {
            parts.profile.timeouts.final_reply = input.limit()?;
            Ok(())
        },
    },
    retry::INITIAL_DELAY,
    retry::MULTIPLIER,
    retry::MAX_DELAY,
    retry::JITTER,
    retry::MAX_TIME,
    retry::MAX_ATTEMPTS,
    sending::MAX_CONNECTIONS,
    sending::MAX_MESSAGES,
    sending::IDLE_TIMEOUT,
    sending::ACQUIRE_TIMEOUT,
    sending::PIPELINE_DEPTH,
    sending::LIMIT,
    sending::BURST,
    sending::PER_DOMAIN,
    sending::FAILURE_THRESHOLD,
    sending::COOL_DOWN,
    sending::FALLBACK,
    extensions::DSN,
    extensions::SMTPUTF8,
    extensions::CHUNKING,
    extensions::PIPELINING,
    extensions::REQUIRETLS,
];

/// The tables that are the same for all profiles, and their keys.
pub const SHARED_KEYS: [(&str, &[Key]); 4] =
    [("secrets", SECRETS_KEYS), ("queue", QUEUE_KEYS), ("sendmail", SENDMAIL_KEYS), ("log", LOG_KEYS)];

/// Keys that are the same for all profiles.
pub(super) fn shared() -> impl Iterator<Item = &'static Key> {
    SHARED_KEYS.iter().flat_map(|(_, keys)| *keys)
}

/// Keys of profiles, and those that are the same for all of them.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(shared())
}

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

#[cfg(test)]
mod tests;
