//! Connecting to a host: all its addresses, IPv6 and IPv4 in turn, the next one started when one is slow (RFC 8305);
//! and to a unix socket.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    task::JoinSet,
    time::sleep,
};

use super::Stream;
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

/// Connects to the first address that answers, from `source` if that is named.
pub(super) async fn connect(endpoint: &Endpoint, source: Option<IpAddr>) -> Result<(TcpStream, SocketAddr), Trouble> {
    let mut addresses = resolve(endpoint).await?;
    if let Some(source) = source {
        check_source(source)?;
        addresses.retain(|address| address.is_ipv4() == source.is_ipv4());
        if addresses.is_empty() {
            let family = if source.is_ipv4() { "IPv4" } else { "IPv6" };
            let what = format!("host '{}' has no {family} address, which bind-address = {source} needs", endpoint.host);
            return Err(Trouble::new(Stage::Connect, Cause::Configuration, what)
                .hint("name an address of the other family, or none: -o bind-address="));
        }
    }
    race(endpoint, &addresses, source).await
}

/// Whether an address is this machine's own.
fn check_source(source: IpAddr) -> Result<(), Trouble> {
    match socket(SocketAddr::new(source, 0), Some(source)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            let what = format!("bind-address = {source} is no address of this machine");
            Err(Trouble::new(Stage::Connect, Cause::Configuration, what).hint("ip address shows which ones it has"))
        }
        // Anything else is told for the address that is tried.
        _ => Ok(()),
    }
}

fn socket(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    Ok(socket)
}

/// Connects to a unix socket.
#[cfg(unix)]
pub(super) async fn connect_socket(path: &Path) -> Result<Stream, Trouble> {
    use std::os::unix::fs::FileTypeExt;
    let error = match tokio::net::UnixStream::connect(path).await {
        Ok(stream) => return Ok(Box::new(stream)),
        Err(error) => error,
    };
    let shown = path.display();
    let trouble = |cause: Cause, what: String| Trouble::new(Stage::Connect, cause, what);
    let is_socket = tokio::fs::metadata(path).await.map(|metadata| metadata.file_type().is_socket());
    Err(match error.kind() {
        io::ErrorKind::NotFound => trouble(Cause::Unreachable, format!("there is no socket {shown}"))
            .hint("check the path, and whether the server runs"),
        io::ErrorKind::PermissionDenied => {
            trouble(Cause::Configuration, format!("the socket {shown} is not open to you: {}", reason(&error)))
                .hint(format!("its owner lets others in by its mode, or by its group: ls -l {shown}"))
        }
        _ if matches!(is_socket, Ok(false)) => {
            trouble(Cause::Configuration, format!("{shown} is no socket")).hint("name the socket that the server makes")
        }
        io::ErrorKind::ConnectionRefused => {
            trouble(Cause::Unreachable, format!("nobody listens on the socket {shown}"))
                .hint("check whether the server runs: this may be what an earlier one has left behind")
        }
        io::ErrorKind::InvalidInput => {
            trouble(Cause::Configuration, format!("the path of the socket {shown} is too long for the system"))
        }
        _ => trouble(Cause::Unreachable, format!("no connection to the socket {shown}: {}", reason(&error))),
    })
}

/// Connects to a unix socket, which there are none of here.
#[cfg(not(unix))]
pub(super) async fn connect_socket(path: &Path) -> Result<Stream, Trouble> {
    let what = format!("unix sockets are not known to this system: {}", path.display());
    Err(Trouble::new(Stage::Connect, Cause::Configuration, what))
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

async fn race(
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
    source: Option<IpAddr>,
) -> Result<(TcpStream, SocketAddr), Trouble> {
    let mut waiting = addresses.iter().copied();
    let mut running: JoinSet<(SocketAddr, io::Result<TcpStream>)> = JoinSet::new();
    let mut failures = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            running.spawn(async move {
                let stream = match socket(address, source) {
                    Ok(socket) => socket.connect(address).await,
                    Err(error) => Err(error),
                };
                (address, stream)
            });
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
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().collect::<String>() + chars.as_str())
}

/// This machine's name as the system knows it, or `localhost`.
pub fn host_name() -> String {
    // As addresses have it: what is compared with it has no capitals.
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
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
        let (_, peer) = race(&endpoint("both.example", living.port()), &[dead, living], None).await.unwrap();
        assert_eq!(peer, living);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_is_no_socket_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let told = async || {
            let trouble = connect_socket(&path).await.err().unwrap();
            (trouble.cause, trouble.what.replace(path.to_str().unwrap(), "S"))
        };
        assert_eq!(told().await, (Cause::Unreachable, "there is no socket S".to_owned()));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(connect_socket(&path).await.is_ok());
        drop(listener);
        assert_eq!(told().await, (Cause::Unreachable, "nobody listens on the socket S".to_owned()));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(told().await, (Cause::Configuration, "S is no socket".to_owned()));
        let long = Path::new("/tmp").join("x".repeat(200));
        let trouble = connect_socket(&long).await.err().unwrap();
        assert_eq!(trouble.cause, Cause::Configuration, "{trouble:?}");
    }
}
