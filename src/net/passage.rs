//! The way to a server: straight on, through a unix socket or a proxy, from an address of our own choice.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

use super::{
    Endpoint, Proxy, Stream,
    dial::{self, reason},
    proxy,
};
use crate::mail::{Cause, Stage, Trouble};

/// What a profile says about the way to a server; by default it is the straight one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passage {
    /// Unix socket to connect to instead of host and port; then there is no proxy.
    pub socket: Option<PathBuf>,
    /// Proxy that connects for us.
    pub proxy: Option<Proxy>,
    /// Our own address to connect from.
    pub source: Option<IpAddr>,
}

/// A connection.
pub struct Connected {
    /// The bytes.
    pub stream: Stream,
    /// The server's address, where it was us who looked the host up.
    pub peer: Option<SocketAddr>,
    /// Our own address, where the server can see it.
    pub local: Option<IpAddr>,
}

impl Passage {
    /// Whether there is nothing in between and nothing chosen.
    pub fn is_straight(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Passage {
    /// `through socks5://proxy.example:1080, from 192.0.2.1`; empty if it is the straight way.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(socket) = &self.socket {
            return write!(f, "through {}", socket.display());
        }
        match (&self.proxy, self.source) {
            (None, None) => Ok(()),
            (Some(proxy), None) => write!(f, "through {proxy}"),
            (None, Some(source)) => write!(f, "from {source}"),
            (Some(proxy), Some(source)) => write!(f, "through {proxy}, from {source}"),
        }
    }
}

/// Connects within `limit`, name look-up and the proxy's answers included; Nagle's algorithm is off.
///
/// # Errors
/// [`Cause::NoHost`] if the name has no address, [`Cause::TimedOut`], or [`Cause::Unreachable`] with each address's
/// own reason. [`Cause::Configuration`] for a socket that is none or is not for us, and for an address that is not
/// ours. Of a proxy: [`Cause::Login`] if it refuses us, [`Cause::Refused`] if it refuses the host,
/// [`Cause::Protocol`] if it is none.
pub async fn dial(endpoint: &Endpoint, passage: &Passage, limit: Duration) -> Result<Connected, Trouble> {
    let late = |what: String| {
        let what = format!("{what} within {} s", limit.as_secs_f32());
        Trouble::new(Stage::Connect, Cause::TimedOut, what)
    };
    let deadline = Instant::now() + limit;
    if let Some(socket) = &passage.socket {
        let stream = match timeout_at(deadline, dial::connect_socket(socket)).await {
            Ok(stream) => stream?,
            Err(_) => return Err(late(format!("no connection to {}", socket.display()))),
        };
        return Ok(Connected { stream, peer: None, local: None });
    }
    let Some(proxy) = &passage.proxy else {
        return match timeout_at(deadline, dial::connect(endpoint, passage.source)).await {
            Ok(stream) => {
                let (stream, peer) = without_delay(stream?, endpoint)?;
                let local = stream.local_addr().ok().map(|address| address.ip());
                Ok(Connected { stream: Box::new(stream), peer: Some(peer), local })
            }
            Err(_) => Err(late(format!("no connection to {endpoint}"))
                .hint("check host and port, and whether a firewall is in between")),
        };
    };
    let connecting = dial::connect(&proxy.endpoint, passage.source);
    let (mut stream, _) = match timeout_at(deadline, connecting).await {
        Ok(stream) => without_delay(stream.map_err(|trouble| proxy::unreachable(proxy, &trouble))?, &proxy.endpoint)?,
        Err(_) => return Err(late(format!("no connection to the proxy {proxy}")).hint(proxy::WHERE)),
    };
    match timeout_at(deadline, proxy::pass(proxy, endpoint, &mut stream)).await {
        // The address that the proxy sees is not one that the server sees.
        Ok(passed) => passed.map(|()| Connected { stream: Box::new(stream), peer: None, local: None }),
        Err(_) => Err(late(format!("the proxy {proxy} has not connected to {endpoint}"))
            .hint(format!("check whether it lets you reach {endpoint}, and whether {} is its kind", proxy.kind))),
    }
}

/// Small groups of commands must not wait for the acknowledgement of the group before.
fn without_delay(
    (stream, peer): (tokio::net::TcpStream, SocketAddr),
    endpoint: &Endpoint,
) -> Result<(tokio::net::TcpStream, SocketAddr), Trouble> {
    match stream.set_nodelay(true) {
        Ok(()) => Ok((stream, peer)),
        Err(error) => {
            let what = format!("no connection to {endpoint}: {}", reason(&error));
            Err(Trouble::new(Stage::Connect, Cause::Unreachable, what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint { host: "127.0.0.1".to_owned(), port }
    }

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn small_groups_do_not_wait_for_an_acknowledgement() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(listener.local_addr().unwrap().port());
        let (stream, peer) = dial::connect(&endpoint, None).await.unwrap();
        assert!(without_delay((stream, peer), &endpoint).unwrap().0.nodelay().unwrap());
    }

    #[tokio::test]
    async fn refusal_names_port_and_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(listener.local_addr().unwrap().port());
        drop(listener);
        let trouble = dial(&endpoint, &Passage::default(), LIMIT).await.err().unwrap();
        assert_eq!(trouble.cause, Cause::Unreachable);
        assert_eq!(trouble.what, format!("no connection to {endpoint}: connection refused"));
    }

    #[tokio::test]
    async fn an_unknown_host_is_no_host() {
        let endpoint = Endpoint { host: "nonesuch.invalid".to_owned(), port: 25 };
        let trouble = dial(&endpoint, &Passage::default(), LIMIT).await.err().unwrap();
        // A machine without any resolver cannot know that the name does not exist.
        assert!(matches!(trouble.cause, Cause::NoHost | Cause::Unreachable), "{trouble:?}");
        assert!(trouble.what.contains("nonesuch.invalid"));
    }

    #[tokio::test]
    async fn only_addresses_of_the_family_of_ours_are_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(listener.local_addr().unwrap().port());
        let from = |source: &str| Passage { source: Some(source.parse().unwrap()), ..Passage::default() };
        let connected = dial(&endpoint, &from("127.0.0.2"), LIMIT).await.unwrap();
        assert_eq!(connected.local, Some("127.0.0.2".parse().unwrap()));
        assert_eq!(listener.accept().await.unwrap().1.ip().to_string(), "127.0.0.2");
        let trouble = dial(&endpoint, &from("::1"), LIMIT).await.err().unwrap();
        assert_eq!(trouble.what, "host '127.0.0.1' has no IPv6 address, which bind-address = ::1 needs");
        assert_eq!(trouble.cause, Cause::Configuration);
        let trouble = dial(&endpoint, &from("192.0.2.77"), LIMIT).await.err().unwrap();
        assert_eq!(trouble.what, "bind-address = 192.0.2.77 is no address of this machine");
        assert_eq!(trouble.cause, Cause::Configuration);
    }

    #[test]
    fn ways_in_words() {
        let proxy =
            Proxy { kind: super::super::ProxyKind::Http, endpoint: endpoint(8080), username: None, password: None };
        let passage = Passage { socket: None, proxy: Some(proxy), source: Some("192.0.2.1".parse().unwrap()) };
        assert_eq!(passage.to_string(), "through http://127.0.0.1:8080, from 192.0.2.1");
        assert!(Passage::default().is_straight() && Passage::default().to_string().is_empty());
    }
}
