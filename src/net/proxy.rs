//! A proxy between us and the server: SOCKS 5 (RFC 1928, RFC 1929) or HTTP CONNECT (RFC 9110, 9.3.6).
//!
//! The host's name goes to the proxy, which looks it up. Of what comes from a proxy only its own answer is read: the
//! server's greeting may be right behind it.

mod connect;
mod socks5;

use std::{fmt, io};

use tokio::net::TcpStream;

use super::{Endpoint, dial::reason};
use crate::mail::{Cause, Secret, Stage, Trouble};

/// Where a proxy may have been named.
pub(super) const WHERE: &str = "check the key proxy, or ALL_PROXY; -o proxy=none goes without one";

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

impl fmt::Display for ProxyKind {
    /// The scheme of its URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Http => "http",
        })
    }
}

impl fmt::Display for Proxy {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.kind, self.endpoint)
    }
}

/// Asks the proxy at the other end of `stream` for a connection to `endpoint`; then the stream is the server's.
pub(super) async fn pass(proxy: &Proxy, endpoint: &Endpoint, stream: &mut TcpStream) -> Result<(), Trouble> {
    let asking = Asking { proxy, endpoint };
    // Names were looked at where they came in; a proxy takes lines and lengths at their word.
    if endpoint.host.is_empty() || endpoint.host.len() > 255 || !endpoint.host.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(asking.trouble(Cause::Configuration, &format!("cannot be asked for the host '{}'", endpoint.host)));
    }
    match proxy.kind {
        ProxyKind::Socks5 => socks5::pass(&asking, stream).await,
        ProxyKind::Http => connect::pass(&asking, stream).await,
    }
}

/// A proxy that cannot be connected to itself.
pub(super) fn unreachable(proxy: &Proxy, trouble: &Trouble) -> Trouble {
    let what = format!("the proxy {proxy} cannot be reached: {}", trouble.what);
    let trouble = Trouble { hints: Vec::new(), ..Trouble::new(Stage::Connect, trouble.cause, what) };
    trouble.hint(WHERE)
}

/// Who is asked for what, for errors.
struct Asking<'a> {
    proxy: &'a Proxy,
    endpoint: &'a Endpoint,
}

impl Asking<'_> {
    fn trouble(&self, cause: Cause, what: &str) -> Trouble {
        Trouble::new(Stage::Connect, cause, format!("the proxy {} {what}", self.proxy))
    }

    /// It says that it has not come through to the server.
    fn not_reached(&self, cause: Cause, why: &str) -> Trouble {
        self.trouble(cause, &format!("does not connect to {}: {why}", self.endpoint))
    }

    fn wants_login(&self) -> Trouble {
        let proxy = self.proxy;
        self.trouble(Cause::Login, "wants a login").hint(format!(
            "name the user, -o proxy={}://USER@{}, and where the password is kept, with the key proxy-password",
            proxy.kind, proxy.endpoint
        ))
    }

    fn refuses_login(&self) -> Trouble {
        let user = self.proxy.username.as_deref().unwrap_or_default();
        let trouble = self.trouble(Cause::Login, &format!("refuses the login of '{user}'"));
        trouble.hint("check the proxy's user and password: the key proxy-password, or those in ALL_PROXY")
    }

    /// It is none.
    fn no_proxy(&self, what: &str) -> Trouble {
        self.trouble(Cause::Protocol, what).hint(WHERE)
    }

    fn lost(&self, error: &io::Error) -> Trouble {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.trouble(Cause::Lost, "closed the connection without an answer"),
            _ => self.trouble(Cause::Lost, &format!("broke the connection off: {}", reason(error))),
        }
    }
}
