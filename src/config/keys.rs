//! The one table of profile keys: name, what is wanted, default, documentation, and how a value is taken in.

use super::{
    profile::{Auth, Extension, Mechanism, Profile, SecretSource, Security},
    server::{ServerUrl, UrlError, parse_host, parse_port},
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
    pub security: Option<Security>,
}

impl Key {
    /// The variable that sets this key: `MAILSEND_TIMEOUTS_CONNECT`.
    pub fn variable(&self) -> String {
        format!("MAILSEND_{}", self.name.to_ascii_uppercase().replace(['.', '-'], "_"))
    }
}

const PREFER: &[(&str, Extension)] =
    &[("prefer", Extension::Prefer), ("require", Extension::Require), ("off", Extension::Off)];
const REQUIRE: &[(&str, Extension)] = &[("require", Extension::Require), ("off", Extension::Off)];
const TLS_VERSIONS: &[(&str, TlsVersion)] = &[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];

/// All keys, in the order in which the manual and `profile show` name them.
pub const KEYS: &[Key] = &[
    Key {
        name: "from",
        wanted: "address",
        default: None,
        doc: "Sender of messages that name none: the From field, and the return path unless --envelope-from is given.",
        set: |parts, input| {
            parts.profile.from = Some(Mailbox::parse(input.line()?).map_err(|error| error.to_string())?);
            Ok(())
        },
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
        doc: "Mechanisms to log in with, of PLAIN, LOGIN and XOAUTH2. auto takes PLAIN where it is offered, else \
              LOGIN. With XOAUTH2 the secret is an access token.",
        set: |parts, input| {
            let words = input.list()?;
            parts.profile.auth = match words.as_slice() {
                [word] if word.eq_ignore_ascii_case("auto") => Auth::Auto,
                [] => return Err("at least one mechanism is wanted".to_owned()),
                words => {
                    let list = words.iter().map(|word| {
                        let raw = Raw::Text(word.clone());
                        Input { raw: &raw, folder: None, home: None }.choice(&Mechanism::WORDS)
                    });
                    Auth::List(list.collect::<Result<_, _>>()?)
                }
            };
            Ok(())
        },
    },
    Key {
        name: "password",
        wanted: "keyring, or a table with one source",
        default: None,
        doc: "Where the password or token is kept, never the password itself: \"keyring\" (see mailsend login), \
              { command = \"pass show smtp\" }, { file = \"smtp.password\" } (readable by its owner only), \
              { env = \"NAME\" }, { fd = 3 }, { credential = \"NAME\" } (systemd). Without it the keyring is asked, \
              and at a terminal the user.",
        set: |parts, input| {
            parts.profile.password = Some(secret_source(input)?);
            Ok(())
        },
    },
    Key {
        name: "allow-plaintext-auth",
        wanted: "true or false",
        default: Some("false"),
        doc: "Whether the login may go over a connection without TLS, where everybody in between can read it.",
        set: |parts, input| {
            parts.profile.allow_plaintext_auth = input.boolean()?;
            Ok(())
        },
    },
    Key {
        name: "ehlo-name",
        wanted: "host name",
        default: None,
        doc: "Name that is given in EHLO. By default this machine's, or its address where that has no dot.",
        set: |parts, input| {
            parts.profile.ehlo_name = Some(ehlo_name(input.line()?)?);
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
        doc: "Limit for the name look-up and the connection.",
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
    Key {
        name: "retry.initial-delay",
        wanted: "time",
        default: Some("2s"),
        doc: "Pause before the second attempt (--retry).",
        set: |parts, input| {
            parts.profile.retry.initial_delay = input.duration()?;
            Ok(())
        },
    },
    Key {
        name: "retry.multiplier",
        wanted: "number",
        default: Some("2.0"),
        doc: "Factor from one pause to the next.",
        set: |parts, input| {
            parts.profile.retry.multiplier = input.factor()?;
            Ok(())
        },
    },
    Key {
        name: "retry.max-delay",
        wanted: "time",
        default: Some("5m"),
        doc: "The longest pause.",
        set: |parts, input| {
            parts.profile.retry.max_delay = input.duration()?;
            Ok(())
        },
    },
    Key {
        name: "retry.jitter",
        wanted: "true or false",
        default: Some("true"),
        doc: "Whether each pause is shortened at random, to half at most, so that many clients do not come back at once.",
        set: |parts, input| {
            parts.profile.retry.jitter = input.boolean()?;
            Ok(())
        },
    },
    Key {
        name: "extensions.dsn",
        wanted: "prefer, require or off",
        default: Some("prefer"),
        doc: "Delivery reports (RFC 3461). With prefer, a message for which they are wished goes out without the wish \
              where the server does not offer them, and its record says \"dsn\": false.",
        set: |parts, input| {
            parts.profile.extensions.dsn = input.choice(PREFER)?;
            Ok(())
        },
    },
    Key {
        name: "extensions.smtputf8",
        wanted: "prefer, require or off",
        default: Some("prefer"),
        doc: "Addresses in UTF-8 (RFC 6531), used only for a message that has one.",
        set: |parts, input| {
            parts.profile.extensions.smtputf8 = input.choice(PREFER)?;
            Ok(())
        },
    },
    Key {
        name: "extensions.chunking",
        wanted: "prefer, require or off",
        default: Some("prefer"),
        doc: "BDAT instead of DATA (RFC 3030): one round trip less.",
        set: |parts, input| {
            parts.profile.extensions.chunking = input.choice(PREFER)?;
            Ok(())
        },
    },
    Key {
        name: "extensions.pipelining",
        wanted: "prefer, require or off",
        default: Some("prefer"),
        doc: "Several commands at once (RFC 2920). off waits for every reply.",
        set: |parts, input| {
            parts.profile.extensions.pipelining = input.choice(PREFER)?;
            Ok(())
        },
    },
    Key {
        name: "extensions.requiretls",
        wanted: "require or off",
        default: Some("off"),
        doc: "Ask all servers on the way to use verified TLS or to return the message (RFC 8689).",
        set: |parts, input| {
            parts.profile.extensions.requiretls = input.choice(REQUIRE)?;
            Ok(())
        },
    },
];

fn secret_source(input: &Input<'_>) -> Result<SecretSource, String> {
    const WANTED: &str =
        "\"keyring\" or one of { command = … }, { file = … }, { env = … }, { fd = … }, { credential = … } is wanted";
    let table = match input.raw {
        Raw::Text(text) if text == "keyring" => return Ok(SecretSource::Keyring),
        Raw::Text(_) => {
            return Err("a password does not belong into a configuration file or on a command line: \
                        store it with 'mailsend login', or name its place, such as { file = \"…\" }"
                .to_owned());
        }
        Raw::Table(table) => table,
        _ => return Err(WANTED.to_owned()),
    };
    let mut entries = table.iter();
    let (Some((kind, raw)), None) = (entries.next(), entries.next()) else { return Err(WANTED.to_owned()) };
    let value = Input { raw, folder: input.folder.clone(), home: input.home.clone() };
    let nonempty = |text: &str| if text.is_empty() { Err(WANTED.to_owned()) } else { Ok(text.to_owned()) };
    match kind.as_str() {
        "command" => Ok(SecretSource::Command(nonempty(value.text()?)?)),
        "file" => Ok(SecretSource::File(value.path()?)),
        "env" => Ok(SecretSource::Env(nonempty(value.line()?)?)),
        "fd" => Ok(SecretSource::Fd(value.integer()?)),
        "credential" => {
            let name = nonempty(value.line()?)?;
            if name.contains('/') || name == ".." {
                Err("a credential is a name without '/'".to_owned())
            } else {
                Ok(SecretSource::Credential(name))
            }
        }
        _ => Err(WANTED.to_owned()),
    }
}

/// A domain name or an address literal (RFC 5321, 4.1.3).
fn ehlo_name(text: &str) -> Result<String, String> {
    let literal = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match literal {
        Some(literal) => {
            let bare = literal.strip_prefix("IPv6:").unwrap_or(literal);
            bare.parse::<std::net::IpAddr>()
                .map(|_| text.to_owned())
                .map_err(|_| format!("'{text}' is no address literal"))
        }
        None => parse_host(text),
    }
}

fn parse_pin(text: &str) -> Result<[u8; 32], String> {
    let text = text.trim();
    let text = text.strip_prefix("sha256//").unwrap_or(text);
    encodify::base64::STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "the Base64 of a SHA-256 is wanted, 44 characters".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn set(name: &str, value: &str) -> Result<Parts, String> {
        let key = KEYS.iter().find(|key| key.name == name).unwrap();
        let raw = Raw::from_text(value)?;
        let mut parts = Parts::default();
        (key.set)(&mut parts, &Input { raw: &raw, folder: None, home: None })?;
        Ok(parts)
    }

    #[test]
    fn names_and_variables_are_unique_and_documented() {
        let names: HashSet<_> = KEYS.iter().map(|key| key.name).collect();
        let variables: HashSet<_> = KEYS.iter().map(Key::variable).collect();
        assert_eq!((names.len(), variables.len()), (KEYS.len(), KEYS.len()));
        for key in KEYS {
            assert!(key.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.'));
            assert!(key.doc.ends_with('.') && !key.wanted.is_empty(), "{}", key.name);
            if let Some(default) = key.default {
                assert!(set(key.name, default).is_ok(), "the default of {} is not taken", key.name);
            }
        }
        assert_eq!(KEYS.iter().find(|key| key.name == "tls.ca-file").unwrap().variable(), "MAILSEND_TLS_CA_FILE");
    }

    #[test]
    fn secrets_are_places_not_passwords() {
        let source = |text: &str| set("password", text).map(|parts| parts.profile.password.unwrap());
        assert_eq!(source("keyring"), Ok(SecretSource::Keyring));
        assert_eq!(source("{ command = \"pass x\" }"), Ok(SecretSource::Command("pass x".to_owned())));
        assert_eq!(source("{ fd = 3 }"), Ok(SecretSource::Fd(3)));
        let refused = source("hunter2").unwrap_err();
        assert!(refused.contains("mailsend login") && !refused.contains("hunter2"), "{refused}");
        for text in [
            "{ password = \"x\" }",
            "{ }",
            "{ env = \"A\", fd = 3 }",
            "{ fd = -1 }",
            "{ credential = \"../x\" }",
            "[1]",
        ] {
            assert!(source(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_that_breaks_a_line_gets_into_a_command() {
        for name in ["ehlo-name", "host", "username", "from", "reply-to", "server", "tls.server-name"] {
            for evil in ["a\r\nRSET", "a\nb", "a\0b"] {
                assert!(set(name, evil).is_err(), "{name} takes {evil:?}");
            }
        }
        assert!(set("ehlo-name", "mail host").is_err());
        assert_eq!(set("ehlo-name", "[IPv6:::1]").unwrap().profile.ehlo_name.as_deref(), Some("[IPv6:::1]"));
    }

    #[test]
    fn pins() {
        assert!(set("tls.pin-sha256", "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").is_ok());
        assert!(set("tls.pin-sha256", "AAAA").is_err());
    }
}
