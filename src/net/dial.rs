//! Connecting to a host: all its addresses, IPv6 and IPv4 in turn, the next one started when one is slow (RFC 8305).

use std::{fmt, io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::mail::{Cause, Stage, Trouble};

/// How long one address may take before the next is tried beside it (RFC 8305, 8: 250 ms recommended).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses tried at most; more only come from a broken or hostile zone.
const MAX_ADDRESSES: usize = 16;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A domain name in A-labels, or an IP address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Endpoint {
    /// Whether the host is this machine, by name or address.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Connects within `limit`, name look-up included; Nagle's algorithm is off.
///
/// # Errors
/// [`Cause::NoHost`] if the name has no address, [`Cause::TimedOut`], or [`Cause::Unreachable`] with each address's
/// own reason.
pub async fn dial(endpoint: &Endpoint, limit: Duration) -> Result<(TcpStream, SocketAddr), Trouble> {
    let connecting = async {
        let addresses = resolve(endpoint).await?;
        race(endpoint, &addresses).await
    };
    let (stream, peer) = match timeout(limit, connecting).await {
        Ok(connected) => connected?,
        Err(_) => {
            let what = format!("no connection to {endpoint} within {} s", limit.as_secs_f32());
            return Err(Trouble::new(Stage::Connect, Cause::TimedOut, what)
                .hint("check host and port, and whether a firewall is in between"));
        }
    };
    // Small groups of commands must not wait for the acknowledgement of the group before.
    stream.set_nodelay(true).map_err(|error| unreachable(endpoint, &[(peer, error)]))?;
    Ok((stream, peer))
}

async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Trouble> {
    let no_host = |what: String| {
        Trouble::new(Stage::Connect, Cause::NoHost, what).hint(format!("check the spelling of '{}'", endpoint.host))
    };
    match lookup_host((endpoint.host.as_str(), endpoint.port)).await {
        Ok(found) => {
            let addresses = interleave(found);
            if addresses.is_empty() {
                Err(no_host(format!("host '{}' has no address", endpoint.host)))
            } else {
                Ok(addresses)
            }
        }
        // The resolver's own error is only a text; a resolver that does not answer is no verdict about the name.
        Err(error) if error.to_string().contains("Temporary failure") => Err(Trouble::new(
            Stage::Connect,
            Cause::Unreachable,
            format!("host '{}' could not be looked up: {error}", endpoint.host),
        )),
        Err(_) => Err(no_host(format!("host '{}' was not found", endpoint.host))),
    }
}

/// Puts the families in turn, the resolver's first choice first (RFC 8305, 4).
fn interleave(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = found.collect();
    found.dedup();
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut addresses: Vec<SocketAddr> =
        first.into_iter().flat_map(|address| [Some(address), second.next()]).flatten().collect();
    addresses.extend(second);
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

async fn race(endpoint: &Endpoint, addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), Trouble> {
    let mut waiting = addresses.iter().copied();
    let mut running: JoinSet<(SocketAddr, io::Result<TcpStream>)> = JoinSet::new();
    let mut failures = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            running.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        let may_start_more = waiting.len() > 0;
        tokio::select! {
            ended = running.join_next() => match ended {
                Some(Ok((address, Ok(stream)))) => return Ok((stream, address)),
                Some(Ok((address, Err(error)))) => failures.push((address, error)),
                Some(Err(_)) => {}
                None => return Err(unreachable(endpoint, &failures)),
            },
            () = sleep(ATTEMPT_DELAY), if may_start_more => {}
        }
    }
}

fn unreachable(endpoint: &Endpoint, failures: &[(SocketAddr, io::Error)]) -> Trouble {
    let reasons: Vec<String> = failures
        .iter()
        .map(|(address, error)| match failures {
            [_] => reason(error),
            _ => format!("{} {}", address.ip(), reason(error)),
        })
        .collect();
    let trouble = Trouble::new(
        Stage::Connect,
        Cause::Unreachable,
        format!("no connection to {endpoint}: {}", reasons.join("; ")),
    );
    if failures.iter().any(|(_, error)| error.kind() == io::ErrorKind::ConnectionRefused) {
        trouble.hint(format!(
            "nothing listens on port {}: submission is usually 587 (STARTTLS) or 465 (TLS), a local server 25",
            endpoint.port
        ))
    } else {
        trouble
    }
}

/// The system's words without the "(os error N)" that people cannot use.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().collect::<String>() + chars.as_str())
}

/// This machine's name as the system knows it, or `localhost`.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;
    use tokio::net::TcpListener;

    fn endpoint(host: &str, port: u16) -> Endpoint {
        Endpoint { host: host.to_owned(), port }
    }

    #[test]
    fn families_take_turns() {
        let found = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1", "2.2.2.2:1", "3.3.3.3:1", "4.4.4.4:1"];
        let order = interleave(found.iter().map(|text| text.parse().unwrap()));
        let order: Vec<String> = order.iter().map(|address| address.ip().to_string()).collect();
        assert_eq!(order, ["::1", "1.1.1.1", "::2", "2.2.2.2", "::3", "3.3.3.3", "4.4.4.4"]);
    }

    #[test]
    fn loopback_has_many_names() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1"] {
            assert!(endpoint(host, 25).is_loopback(), "{host}");
        }
        assert!(!endpoint("127.0.0.1.example.com", 25).is_loopback());
        assert_eq!(endpoint("::1", 25).to_string(), "[::1]:25");
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_living_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let living = listener.local_addr().unwrap();
        let dead = SocketAddr::from((Ipv6Addr::LOCALHOST, living.port()));
        let (_, peer) = race(&endpoint("both.example", living.port()), &[dead, living]).await.unwrap();
        assert_eq!(peer, living);
    }

    #[tokio::test]
    async fn small_groups_do_not_wait_for_an_acknowledgement() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stream, _) = dial(&endpoint("127.0.0.1", port), Duration::from_secs(5)).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn refusal_names_port_and_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let trouble = dial(&endpoint("127.0.0.1", port), Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(trouble.cause, Cause::Unreachable);
        assert_eq!(trouble.what, format!("no connection to 127.0.0.1:{port}: connection refused"));
    }

    #[tokio::test]
    async fn an_unknown_host_is_no_host() {
        let trouble = dial(&endpoint("nonesuch.invalid", 25), Duration::from_secs(5)).await.unwrap_err();
        // A machine without any resolver cannot know that the name does not exist.
        assert!(matches!(trouble.cause, Cause::NoHost | Cause::Unreachable), "{trouble:?}");
        assert!(trouble.what.contains("nonesuch.invalid"));
    }
}
