//! The server URL of `--server` and of the key `server`.

use std::path::PathBuf;

use super::profile::Security;
use crate::{
    mail::Secret,
    net::{Endpoint, Proxy, ProxyKind},
};

/// A server URL, taken apart but not completed: what it does not say is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerUrl {
    /// `smtp://`, `smtps://`, `lmtp://`.
    Network {
        /// LMTP instead of SMTP.
        is_lmtp: bool,
        /// User part, percent-decoded.
        username: Option<String>,
        /// Host in A-labels, or an IP address without brackets; `localhost` for a socket.
        host: String,
        /// Unix socket, an absolute path, instead of a host and port.
        socket: Option<PathBuf>,
        /// Port.
        port: Option<u16>,
        /// From the scheme `smtps` or `?security=`.
        security: Option<Security>,
    },
    /// `sendmail:` or `sendmail:/path/to/program`.
    Sendmail {
        /// The program; `/usr/sbin/sendmail` if the URL names none.
        program: PathBuf,
    },
    /// `maildir:PATH`.
    Maildir {
        /// The folder.
        path: PathBuf,
    },
}

/// Why a server URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlError {
    /// A password stands in it, where every process listing shows it.
    Password,
    /// Anything else, in words.
    Invalid(String),
}

const DEFAULT_SENDMAIL: &str = "/usr/sbin/sendmail";

impl ServerUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// If there is a password in it, or with the reason why it is none.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let invalid = |what: &str| UrlError::Invalid(what.to_owned());
        if let Some(c) = url.chars().find(|c| c.is_control()) {
            return Err(UrlError::Invalid(format!("it contains the control character U+{:04X}", u32::from(c))));
        }
        let known = "smtp://HOST, smtps://HOST, lmtp://HOST, sendmail: and maildir:PATH are known";
        let (scheme, rest) = url.split_once(':').ok_or_else(|| invalid(known))?;
        let (is_lmtp, is_tls) = match scheme.to_ascii_lowercase().as_str() {
            "smtp" => (false, false),
            "smtps" => (false, true),
            "lmtp" => (true, false),
            "sendmail" => {
                let program = PathBuf::from(if rest.is_empty() { DEFAULT_SENDMAIL } else { rest });
                return if program.is_absolute() {
                    Ok(Self::Sendmail { program })
                } else {
                    Err(invalid("the program needs its whole path: sendmail:/usr/sbin/sendmail"))
                };
            }
            "maildir" if rest.is_empty() => return Err(invalid("the folder is missing: maildir:./outbox")),
            "maildir" => return Ok(Self::Maildir { path: PathBuf::from(rest) }),
            _ => return Err(invalid(known)),
        };
        let rest = rest.strip_prefix("//").ok_or_else(|| invalid("'//' is missing behind the scheme: smtp://HOST"))?;
        let (authority, query) =
            rest.split_once('?').map_or((rest, None), |(authority, query)| (authority, Some(query)));
        // Only behind an empty host a path has a meaning: smtp:///run/smtp.sock, smtp://USER@/run/smtp.sock.
        let (authority, path) = authority.find('/').map_or((authority, ""), |at| authority.split_at(at));
        let (user, host_port) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let socket = match path {
            "" | "/" => None,
            path if host_port.is_empty() => Some(PathBuf::from(
                percent_decode(path).ok_or_else(|| invalid("a '%' in the path is not followed by two hex digits"))?,
            )),
            _ => return Err(invalid("a path has no meaning behind the host")),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(UrlError::Password);
        }
        let username = match user {
            None | Some("") => None,
            Some(user) => Some(
                percent_decode(user)
                    .ok_or_else(|| invalid("a '%' in the user is not followed by two hex digits of valid text"))?,
            ),
        };
        let (host, port) = match &socket {
            None => host_and_port(host_port)?,
            Some(_) => ("localhost".to_owned(), None),
        };
        let mut security = is_tls.then_some(Security::Tls);
        if let Some(query) = query {
            let value = query
                .strip_prefix("security=")
                .ok_or_else(|| invalid("behind '?' only security=tls, security=starttls or security=none is known"))?;
            let wanted = Security::parse(value)
                .ok_or_else(|| UrlError::Invalid(format!("'{value}' is none of tls, starttls, none")))?;
            if is_tls && wanted != Security::Tls {
                return Err(invalid("smtps:// is TLS; use smtp:// with another security"));
            }
            security = Some(wanted);
        }
        Ok(Self::Network { is_lmtp, username, host, socket, port, security })
    }
}

/// Takes the URL of a proxy apart; `has_password` tells whether one may stand in it.
///
/// # Errors
/// As [`ServerUrl::parse`].
pub(super) fn parse_proxy(url: &str, has_password: bool) -> Result<Proxy, UrlError> {
    let invalid = |what: &str| UrlError::Invalid(what.to_owned());
    let known = "socks5://HOST:PORT, http://HOST:PORT or none is wanted";
    let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid(known))?;
    let (kind, default_port) = match scheme.to_ascii_lowercase().as_str() {
        "socks5" | "socks5h" | "socks" => (ProxyKind::Socks5, 1080),
        "http" => (ProxyKind::Http, 8080),
        _ => return Err(invalid(known)),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (login, host_port) = rest.rsplit_once('@').map_or((None, rest), |(login, host)| (Some(login), host));
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        None => (None, ""),
        Some((user, password)) => (Some(user).filter(|user| !user.is_empty()), password),
    };
    if !password.is_empty() && !has_password {
        return Err(UrlError::Password);
    }
    let decode = |text: &str| percent_decode(text).ok_or_else(|| invalid("a '%' is not followed by two hex digits"));
    let (host, port) = host_and_port(host_port)?;
    Ok(Proxy {
        kind,
        endpoint: Endpoint { host, port: port.unwrap_or(default_port) },
        username: user.map(decode).transpose()?,
        password: match password {
            "" => None,
            password => Some(Secret::new(decode(password)?.into_bytes())),
        },
    })
}

pub(super) fn host_and_port(text: &str) -> Result<(String, Option<u16>), UrlError> {
    let (host, port) = if let Some(literal) = text.strip_prefix('[') {
        let (host, rest) =
            literal.split_once(']').ok_or_else(|| UrlError::Invalid("'[' is not closed by ']'".to_owned()))?;
        (host, rest.strip_prefix(':').or((!rest.is_empty()).then_some(rest)))
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    let host = parse_host(host).map_err(UrlError::Invalid)?;
    let port = match port {
        None => None,
        Some(port) => Some(parse_port(port).map_err(UrlError::Invalid)?),
    };
    Ok((host, port))
}

pub(super) fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
        _ => Err(format!("'{text}' is no port (1 to 65535)")),
    }
}

/// Returns a host in A-labels, or an IP address as it is.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<std::net::IpAddr>() {
        return Ok(ip.to_string());
    }
    if text.is_empty() {
        return Err("the host is missing".to_owned());
    }
    idna::domain_to_ascii(text)
        .ok()
        .filter(|host| {
            !host.is_empty()
                && host.len() <= 253
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        })
        .ok_or_else(|| format!("'{}' is no host name", crate::mail::clean(text)))
}

/// A path as it stands in a URL.
pub(super) fn percent_encode_path(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_' | b'~');
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

pub(super) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(url: &str) -> (bool, Option<String>, String, Option<u16>, Option<Security>) {
        match ServerUrl::parse(url) {
            Ok(ServerUrl::Network { is_lmtp, username, host, port, security, socket: None }) => {
                (is_lmtp, username, host, port, security)
            }
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn forms() {
        let host = |host: &str| host.to_owned();
        assert_eq!(network("smtp://mx.example"), (false, None, host("mx.example"), None, None));
        assert_eq!(
            network("smtps://ada%40example.com@mx.example:465/"),
            (false, Some(host("ada@example.com")), host("mx.example"), Some(465), Some(Security::Tls))
        );
        assert_eq!(
            network("smtp://ada@example.com@[::1]:25?security=none"),
            (false, Some(host("ada@example.com")), host("::1"), Some(25), Some(Security::None))
        );
        assert_eq!(network("LMTP://bücher.example"), (true, None, host("xn--bcher-kva.example"), None, None));
        assert_eq!(
            ServerUrl::parse("lmtp://ada@/run/a%20b.sock?security=none"),
            Ok(ServerUrl::Network {
                is_lmtp: true,
                username: Some("ada".to_owned()),
                host: "localhost".to_owned(),
                socket: Some("/run/a b.sock".into()),
                port: None,
                security: Some(Security::None)
            })
        );
        assert_eq!(ServerUrl::parse("sendmail:"), Ok(ServerUrl::Sendmail { program: "/usr/sbin/sendmail".into() }));
        assert_eq!(ServerUrl::parse("maildir:./out box"), Ok(ServerUrl::Maildir { path: "./out box".into() }));
    }

    #[test]
    fn a_password_is_not_taken() {
        assert_eq!(ServerUrl::parse("smtp://ada:hunter2@mx.example"), Err(UrlError::Password));
        assert_eq!(ServerUrl::parse("smtp://ada@example.com:hunter2@mx.example"), Err(UrlError::Password));
    }

    #[test]
    fn proxies() {
        let proxy = parse_proxy("socks5h://ada@[::1]", false).unwrap();
        assert_eq!((proxy.to_string(), proxy.username.as_deref()), ("socks5://[::1]:1080".to_owned(), Some("ada")));
        let proxy = parse_proxy("http://ada:p%40ss@proxy.example:3128/", true).unwrap();
        assert_eq!(proxy.password, Some(Secret::new(b"p@ss".to_vec())));
        assert_eq!(parse_proxy("http://ada:x@proxy.example", false), Err(UrlError::Password));
        for url in ["proxy.example:1080", "https://proxy.example", "socks4://x", "socks5://", "http://a/b"] {
            assert!(matches!(parse_proxy(url, true), Err(UrlError::Invalid(_))), "{url}");
        }
    }

    #[test]
    fn mistakes() {
        for url in [
            "mx.example",
            "http://mx.example",
            "smtp:mx.example",
            "smtp://",
            "smtp://:25",
            "smtp://mx.example:0",
            "smtp://mx.example:99999",
            "smtp://mx.example:+25",
            "smtp://mx.example/inbox",
            "smtp://mx example",
            "smtp://mx.example?security=ssl",
            "smtps://mx.example?security=none",
            "smtp://mx.example?tls=1",
            "smtp://[::1",
            "smtp://a%0d%0ab@mx.example",
            "smtp://a%zz@mx.example",
            "smtp://a\r\n@mx.example",
            "sendmail:sendmail",
            "maildir:",
        ] {
            assert!(matches!(ServerUrl::parse(url), Err(UrlError::Invalid(_))), "{url}");
        }
    }
}
