//! A proxy between us and the server: SOCKS 5 (RFC 1928, RFC 1929) or HTTP CONNECT (RFC 9110, 9.3.6).
//!
//! The host's name goes to the proxy, which looks it up.

use std::fmt;

use super::Endpoint;
use crate::mail::Secret;

/// A proxy, and who we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// What it speaks.
    pub kind: ProxyKind,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// User to log in as; no login without one.
    pub username: Option<String>,
    /// The password, where it is known already.
    pub password: Option<Secret>,
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// RFC 1928.
    Socks5,
    /// CONNECT.
    Http,
}

impl fmt::Display for Proxy {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Http => "http",
        };
        write!(f, "{scheme}://{}", self.endpoint)
    }
}
