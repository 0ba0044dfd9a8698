//! Tells the service manager how it goes (sd_notify): a datagram to the socket that it has named.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use crate::config::Environment;

/// Nobody, or the service manager.
#[derive(Debug)]
pub(super) struct Notifier {
    line: Option<Line>,
    /// A sign of life is wanted that often.
    interval: Option<Duration>,
    /// When one was given last; none yet, if it is not known that we work at all.
    last: Cell<Option<Instant>>,
}

#[cfg(unix)]
#[derive(Debug)]
struct Line {
    socket: std::os::unix::net::UnixDatagram,
    address: std::os::unix::net::SocketAddr,
}

#[cfg(unix)]
impl Line {
    fn to(name: &str) -> Option<Self> {
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let address = match name.strip_prefix('@') {
            #[cfg(target_os = "linux")]
            Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name).ok()?,
            _ => SocketAddr::from_pathname(name).ok()?,
        };
        let socket = UnixDatagram::unbound().ok()?;
        // A service manager that is slow is not waited for.
        socket.set_nonblocking(true).ok()?;
        Some(Self { socket, address })
    }

    fn send(&self, text: &str) {
        // There is nobody else to tell.
        let _ = self.socket.send_to_addr(text.as_bytes(), &self.address);
    }
}

#[cfg(not(unix))]
#[derive(Debug)]
struct Line;

#[cfg(not(unix))]
impl Line {
    fn to(_: &str) -> Option<Self> {
        None
    }

    fn send(&self, _: &str) {}
}

impl Notifier {
    /// As the environment of a service says it.
    pub fn of_environment(environment: &Environment) -> Self {
        let line = environment.get("NOTIFY_SOCKET").and_then(Line::to);
        // The watchdog may be meant for another process (sd_watchdog_enabled).
        let is_ours = environment.get("WATCHDOG_PID").is_none_or(|id| id == std::process::id().to_string());
        let limit = environment.get("WATCHDOG_USEC").filter(|_| is_ours).and_then(|text| text.parse().ok());
        Self { line, interval: limit.map(|limit: u64| Duration::from_micros(limit / 2)), last: Cell::new(None) }
    }

    /// The queue has answered. The first time it says that we are ready.
    pub fn alive(&self) {
        let now = Instant::now();
        let text = match (self.last.get(), self.interval) {
            (None, _) => "READY=1\nSTATUS=sending what is in the queue",
            (Some(last), Some(interval)) if now.duration_since(last) >= interval => "WATCHDOG=1",
            _ => return,
        };
        self.last.set(Some(now));
        self.send(text);
    }

    /// What is under way comes to its end.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, text: &str) {
        if let Some(line) = &self.line {
            line.send(text);
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut heard = Vec::new();
        let mut buffer = [0; 256];
        socket.set_nonblocking(true).unwrap();
        while let Ok(length) = socket.recv(&mut buffer) {
            heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        heard
    }

    #[test]
    fn a_service_manager_hears_of_beginning_life_and_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let name = path.to_str().unwrap();
        let own = std::process::id().to_string();
        for (id, limit, wanted) in [(own.as_str(), "1", true), ("1", "1", false), (own.as_str(), "90000000", false)] {
            let notifier = Notifier::of_environment(&Environment::from([
                ("NOTIFY_SOCKET", name),
                ("WATCHDOG_USEC", limit),
                ("WATCHDOG_PID", id),
            ]));
            notifier.alive();
            notifier.alive();
            notifier.stopping();
            let life = if wanted { &["WATCHDOG=1"][..] } else { &[] };
            let all = [&["READY=1\nSTATUS=sending what is in the queue"][..], life, &["STOPPING=1"]].concat();
            assert_eq!(heard(&socket), all, "{id} {limit}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_without_a_file_is_one_too() {
        use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
        let name = format!("mailsend-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let at = format!("@{name}");
        Notifier::of_environment(&Environment::from([("NOTIFY_SOCKET", at.as_str())])).alive();
        assert_eq!(heard(&socket).len(), 1);
    }

    #[test]
    fn without_one_nobody_is_told() {
        for socket in ["", "/nowhere/at/all"] {
            Notifier::of_environment(&Environment::from([("NOTIFY_SOCKET", socket)])).alive();
        }
    }
}
