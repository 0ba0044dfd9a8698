//! The keys of extensions.

use super::Key;
use crate::config::profile::Extension;

const PREFER: &[(&str, Extension)] =
    &[("prefer", Extension::Prefer), ("require", Extension::Require), ("off", Extension::Off)];
const REQUIRE: &[(&str, Extension)] = &[("require", Extension::Require), ("off", Extension::Off)];

pub(super) const DSN: Key = Key {
    name: "extensions.dsn",
    wanted: "prefer, require or off",
    default: Some("prefer"),
    doc: "Delivery reports (RFC 3461). With prefer, a message for which they are wished goes out without the wish \
          where the server does not offer them, and its record says \"dsn\": false.",
    set: |parts, input| {
        parts.profile.extensions.dsn = input.choice(PREFER)?;
        Ok(())
    },
};

pub(super) const SMTPUTF8: Key = Key {
    name: "extensions.smtputf8",
    wanted: "prefer, require or off",
    default: Some("prefer"),
    doc: "Addresses in UTF-8 (RFC 6531), used only for a message that has one.",
    set: |parts, input| {
        parts.profile.extensions.smtputf8 = input.choice(PREFER)?;
        Ok(())
    },
};

pub(super) const CHUNKING: Key = Key {
    name: "extensions.chunking",
    wanted: "prefer, require or off",
    default: Some("prefer"),
    doc: "BDAT instead of DATA (RFC 3030): one round trip less.",
    set: |parts, input| {
        parts.profile.extensions.chunking = input.choice(PREFER)?;
        Ok(())
    },
};

pub(super) const PIPELINING: Key = Key {
    name: "extensions.pipelining",
    wanted: "prefer, require or off",
    default: Some("prefer"),
    doc: "Several commands at once (RFC 2920). off waits for every reply.",
    set: |parts, input| {
        parts.profile.extensions.pipelining = input.choice(PREFER)?;
        Ok(())
    },
};

pub(super) const REQUIRETLS: Key = Key {
    name: "extensions.requiretls",
    wanted: "require or off",
    default: Some("off"),
    doc: "Ask all servers on the way to use verified TLS or to return the message (RFC 8689).",
    set: |parts, input| {
        parts.profile.extensions.requiretls = input.choice(REQUIRE)?;
        Ok(())
    },
};
