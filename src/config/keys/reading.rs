//! Values of several kinds that keys want, read with the reason why they are none.

use crate::{
    config::{
        pattern::Pattern,
        profile::{Auth, Mechanism, SecretSource},
        server::parse_host,
        value::{Input, Raw},
    },
    mail::Mailbox,
};

/// The patterns of `match`.
pub(in crate::config) fn patterns(input: &Input<'_>) -> Result<Vec<Pattern>, String> {
    input.list()?.iter().map(|pattern| Pattern::parse(pattern)).collect()
}

pub(in crate::config) fn nonempty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a text is wanted".to_owned()) } else { Ok(text.to_owned()) }
}

/// Checks an address to which tokens and secrets go: https, or http to this machine.
///
/// # Errors
/// What is wanted instead.
pub fn web_address(text: &str) -> Result<String, String> {
    let wanted = || "https://HOST/PATH is wanted, or http:// to this machine".to_owned();
    let (scheme, rest) = text.split_once("://").ok_or_else(wanted)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') || !text.is_ascii() || text.contains(char::is_whitespace) {
        return Err(wanted());
    }
    let host = match authority.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_loopback = crate::net::Endpoint { host: host.to_owned(), port: 0 }.is_loopback();
    match scheme {
        "https" => Ok(text.to_owned()),
        "http" if is_loopback => Ok(text.to_owned()),
        _ => Err(wanted()),
    }
}

pub(in crate::config) fn secret_source(input: &Input<'_>) -> Result<SecretSource, String> {
    const WANTED: &str = "\"keyring\" or one of { command = … }, { file = … }, { env = … }, { fd = … }, { credential = … }, \"netrc\" is wanted";
    let table = match input.raw {
        Raw::Text(text) if text == "keyring" => return Ok(SecretSource::Keyring),
        Raw::Text(text) if text == "netrc" => return Ok(SecretSource::Netrc(None)),
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
    let nonempty = |text: &str| nonempty(text).map_err(|_| WANTED.to_owned());
    match kind.as_str() {
        "command" => Ok(SecretSource::Command(nonempty(value.text()?)?)),
        "file" => Ok(SecretSource::File(value.path()?)),
        "env" => Ok(SecretSource::Env(nonempty(value.line()?)?)),
        "fd" => Ok(SecretSource::Fd(value.integer()?)),
        "netrc" => Ok(SecretSource::Netrc(Some(value.path()?))),
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
pub(in crate::config) fn ehlo_name(text: &str) -> Result<String, String> {
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

/// The domain of an address, in A-labels.
pub(in crate::config) fn domain_name(text: &str) -> Result<String, String> {
    let is_whole = !text.contains(|c: char| c.is_whitespace() || matches!(c, '@' | '(' | ')' | '<' | '>' | ',' | '"'));
    match Mailbox::parse(&format!("postmaster@{text}")) {
        Ok(mailbox) if is_whole => Ok(mailbox.address.domain().to_owned()),
        _ => Err(format!("'{}' is no domain", crate::mail::clean(text))),
    }
}

pub(in crate::config) fn parse_pin(text: &str) -> Result<[u8; 32], String> {
    let text = text.trim();
    let text = text.strip_prefix("sha256//").unwrap_or(text);
    encodify::base64::STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "the Base64 of a SHA-256 is wanted, 44 characters".to_owned())
}

/// `auto`, or mechanisms by name.
pub(in crate::config) fn auth(input: &Input<'_>) -> Result<Auth, String> {
    let words = input.list()?;
    match words.as_slice() {
        [word] if word.eq_ignore_ascii_case("auto") => Ok(Auth::Auto),
        [] => Err("at least one mechanism is wanted".to_owned()),
        words => {
            let list = words.iter().map(|word| {
                let raw = Raw::Text(word.clone());
                Input { raw: &raw, folder: None, home: None }.choice(&Mechanism::WORDS)
            });
            list.collect::<Result<_, _>>().map(Auth::List)
        }
    }
}
