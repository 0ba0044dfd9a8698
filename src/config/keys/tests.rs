//! The table is sound, and values that must not get in do not.

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
    for text in
        ["{ password = \"x\" }", "{ }", "{ env = \"A\", fd = 3 }", "{ fd = -1 }", "{ credential = \"../x\" }", "[1]"]
    {
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
