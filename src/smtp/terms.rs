//! What a session may use: offered by the server and wanted by the profile.

use super::capabilities::Capabilities;
use crate::{
    config::{Extension, Extensions},
    mail::{Cause, Stage, Trouble},
};

/// What server and profile allow in this session.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// LMTP: one reply to the content per willing recipient (RFC 2033).
    pub lmtp: bool,
    /// Several commands at once (RFC 2920).
    pub pipelining: bool,
    /// BDAT (RFC 3030).
    pub chunking: bool,
    /// SIZE may be declared (RFC 1870).
    pub offers_size: bool,
    /// The largest message.
    pub size_limit: Option<u64>,
    /// 8-bit content (RFC 6152).
    pub eight_bit: bool,
    /// UTF-8 in addresses and headers (RFC 6531).
    pub smtputf8: bool,
    /// Delivery reports can be wished for (RFC 3461).
    pub dsn: bool,
    /// TLS is required on the whole way (RFC 8689).
    pub require_tls: bool,
    /// Most submissions in the conversation at once.
    pub depth: usize,
    /// What would help if the server does not take this login.
    pub login_hint: Option<String>,
}

impl Terms {
    /// Joins what the server offers and the profile wants.
    ///
    /// # Errors
    /// [`Cause::Unsupported`] if the profile requires what is not offered.
    pub fn new(
        offered: &Capabilities,
        wanted: &Extensions,
        lmtp: bool,
        is_tls: bool,
        depth: usize,
    ) -> Result<Self, Trouble> {
        let decide = |keyword: &str, key: &str, wanted: Extension| match (offered.has(keyword), wanted) {
            (_, Extension::Off) => Ok(false),
            (is_offered, Extension::Prefer) => Ok(is_offered),
            (true, Extension::Require) => Ok(true),
            (false, Extension::Require) => Err(Trouble::new(
                Stage::Greeting,
                Cause::Unsupported,
                format!("the server does not offer {keyword}, which the profile requires"),
            )
            .hint(format!("if it is not needed: -o extensions.{key}=prefer"))),
        };
        let require_tls = wanted.requiretls == Extension::Require;
        if require_tls && !(is_tls && offered.has("REQUIRETLS")) {
            let what =
                if is_tls { "the server does not offer REQUIRETLS" } else { "REQUIRETLS needs a connection with TLS" };
            return Err(Trouble::new(Stage::Greeting, Cause::Unsupported, what)
                .hint("if the way behind the server need not be protected: -o extensions.requiretls=off"));
        }
        Ok(Self {
            lmtp,
            pipelining: decide("PIPELINING", "pipelining", wanted.pipelining)?,
            chunking: decide("CHUNKING", "chunking", wanted.chunking)?,
            offers_size: offered.has("SIZE"),
            size_limit: offered.size_limit(),
            eight_bit: offered.has("8BITMIME"),
            smtputf8: decide("SMTPUTF8", "smtputf8", wanted.smtputf8)?,
            dsn: decide("DSN", "dsn", wanted.dsn)?,
            require_tls,
            depth: depth.max(1),
            login_hint: None,
        })
    }
}
