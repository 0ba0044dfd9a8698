//! The place on this machine to which a browser comes back with a code (RFC 8252, 7.3).
//!
//! Whatever knocks is bounded in size and time, has a thread of its own, and gets a page without a word of anybody
//! else. A browser may open connections that it never uses; those hold nobody up.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use super::form;
use crate::secret::SecretError;

/// Longest head of a request; codes have some kilobytes.
const MAX_HEAD: usize = 32 * 1024;
/// How long a request may take to arrive.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// Connections at a time.
const MAX_CONNECTIONS: usize = 16;

/// Where the browser comes back to.
#[derive(Debug)]
pub(super) struct Redirect {
    listener: TcpListener,
    /// The address that the provider is told.
    pub address: String,
    path: String,
    open: Arc<AtomicUsize>,
}

/// What the browser has brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Returned {
    pub code: Option<String>,
    pub state: Option<String>,
    pub error: Option<String>,
    pub error_description: Option<String>,
}

impl Returned {
    /// Reads the query of an address; `None` if that is not an answer to a request for consent.
    pub fn read(query: &str) -> Option<Self> {
        let mut returned = Self::default();
        for (name, value) in form::decode(query) {
            match name.as_str() {
                "code" => returned.code = Some(value),
                "state" => returned.state = Some(value),
                "error" => returned.error = Some(value),
                "error_description" => returned.error_description = Some(value),
                _ => {}
            }
        }
        (returned.code.is_some() || returned.error.is_some()).then_some(returned)
    }

    /// The same for an address that was copied out of a browser.
    pub fn of_address(address: &str) -> Option<Self> {
        let (_, query) = address.trim().split_once('?')?;
        Self::read(query.split('#').next().unwrap_or_default())
    }
}

impl Redirect {
    /// Listens at `address`, `http://HOST[:PORT][/PATH]`; on a free port if it names none.
    ///
    /// # Errors
    /// If the port cannot be had.
    pub fn listen(address: &str) -> Result<Self, SecretError> {
        let rest = address.strip_prefix("http://").unwrap_or(address);
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (authority, Some(0)),
        };
        let fail = |what: &dyn std::fmt::Display| {
            SecretError::new(format!("oauth.redirect-uri {address}: {what}"))
                .hint("another port, as registered with the provider: -o oauth.redirect-uri=http://localhost:PORT/PATH")
        };
        let port: u16 = port.ok_or_else(|| fail(&"its port is no number"))?;
        // Only this machine may come back.
        let own = if host == "[::1]" { "::1" } else { "127.0.0.1" };
        let listener = TcpListener::bind((own, port)).map_err(|error| fail(&error))?;
        listener.set_nonblocking(true).map_err(|error| fail(&error))?;
        let port = listener.local_addr().map_err(|error| fail(&error))?.port();
        let address = format!("http://{host}:{port}{path}");
        let path = path.split(['?', '#']).next().filter(|path| !path.is_empty()).unwrap_or("/").to_owned();
        Ok(Self { listener, address, path, open: Arc::default() })
    }

    /// Takes the connections that are waiting; what they bring comes through `sender`. `state` decides what the
    /// browser shows.
    pub fn take(&self, state: &str, sender: &mpsc::Sender<Returned>) {
        // Nobody waiting and a connection that broke off are the same here.
        while let Ok((stream, _)) = self.listener.accept() {
            if self.open.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
                self.open.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let (path, state, sender, open) =
                (self.path.clone(), state.to_owned(), sender.clone(), Arc::clone(&self.open));
            thread::spawn(move || {
                if let Some(returned) = answer(stream, &path, &state) {
                    // Nobody waits any more after the first.
                    let _ = sender.send(returned);
                }
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }
}

/// Hears a request and answers it.
fn answer(mut stream: TcpStream, path: &str, state: &str) -> Option<Returned> {
    let start = Instant::now();
    stream.set_nonblocking(false).ok()?;
    let mut head = Vec::new();
    let mut block = [0; 4 * 1024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let left = HEAD_LIMIT.checked_sub(start.elapsed()).filter(|left| !left.is_zero())?;
        stream.set_read_timeout(Some(left)).ok()?;
        let count = stream.read(&mut block).ok().filter(|&count| count > 0)?;
        head.extend_from_slice(&block[..count]);
        if head.len() > MAX_HEAD {
            return None;
        }
    }
    let returned = request(&head, path);
    let (status, title, words) = match &returned {
        None => ("404 Not Found", "Nothing here", "There is nothing here."),
        Some(returned) if returned.state.as_deref() != Some(state) => {
            ("400 Bad Request", "Refused", "This answer does not belong to the login that is waiting.")
        }
        Some(Returned { error: Some(_), .. }) => {
            ("200 OK", "Not logged in", "The login was not completed. The terminal says why.")
        }
        Some(_) => ("200 OK", "Thank you", "mailsend goes on in the terminal. You can close this page."),
    };
    let page = format!(
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>mailsend: {title}</title><h1>{title}</h1><p>{words}</p></html>\n"
    );
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    // A browser that has gone has brought its code all the same.
    let _ = stream.set_write_timeout(Some(HEAD_LIMIT)).and_then(|()| stream.write_all(answer.as_bytes()));
    returned
}

/// What a request for `path` brings; `None` for every other.
fn request(head: &[u8], path: &str) -> Option<Returned> {
    let line = head.split(|&octet| octet == b'\r').next()?;
    let target = std::str::from_utf8(line).ok()?.strip_prefix("GET ")?.split(' ').next()?;
    let (own, query) = target.split_once('?')?;
    if own != path {
        return None;
    }
    Returned::read(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_come_back_to() {
        for (given, start, path) in [
            ("http://127.0.0.1", "http://127.0.0.1:", "/"),
            ("http://localhost/callback", "http://localhost:", "/callback"),
            ("http://localhost:0/a/b", "http://localhost:", "/a/b"),
        ] {
            let redirect = Redirect::listen(given).unwrap();
            assert!(redirect.address.starts_with(start) && !redirect.address.contains(":0"), "{redirect:?}");
            assert_eq!(redirect.path, path);
        }
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://localhost:{}", taken.local_addr().unwrap().port());
        let error = Redirect::listen(&address).unwrap_err();
        assert!(error.what.contains(&address) && error.hints[0].contains("oauth.redirect-uri"), "{error:?}");
        assert!(Redirect::listen("http://localhost:x").is_err());
    }

    #[test]
    fn only_our_path_counts() {
        let ask = |line: &str| request(format!("{line}\r\nHost: x\r\n\r\n").as_bytes(), "/cb");
        let returned = ask("GET /cb?code=a%2Fb&state=s HTTP/1.1").unwrap();
        assert_eq!((returned.code.as_deref(), returned.state.as_deref()), (Some("a/b"), Some("s")));
        assert!(ask("GET /cb?error=access_denied&state=s HTTP/1.1").unwrap().error.is_some());
        for other in
            ["GET /favicon.ico HTTP/1.1", "GET /x?code=a HTTP/1.1", "POST /cb?code=a HTTP/1.1", "GET /cb?x=y", ""]
        {
            assert_eq!(ask(other), None, "{other}");
        }
        assert_eq!(Returned::of_address(" http://localhost:1/?state=s&code=c#x\n").unwrap().code.as_deref(), Some("c"));
        assert_eq!(Returned::of_address("no address"), None);
    }

    /// A connection that says nothing, one that says too much, and a stranger's request do not keep the browser away.
    #[test]
    fn the_browser_gets_through() {
        let redirect = Redirect::listen("http://127.0.0.1/cb").unwrap();
        let at = redirect.address.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
        let (sender, receiver) = mpsc::channel();
        let _silent = TcpStream::connect(&at).unwrap();
        let mut flood = TcpStream::connect(&at).unwrap();
        let flood = thread::spawn(move || while flood.write_all(&[b'x'; 4096]).is_ok() {});
        let browse = |target: &'static str| {
            let at = at.clone();
            thread::spawn(move || {
                let mut stream = TcpStream::connect(at).unwrap();
                write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                let mut page = String::new();
                stream.read_to_string(&mut page).unwrap();
                page
            })
        };
        let pages = [browse("/favicon.ico"), browse("/cb?code=%3Cb%3E&state=right"), browse("/cb?code=c&state=wrong")];
        let start = Instant::now();
        let mut returned = Vec::new();
        while returned.len() < 2 && start.elapsed() < Duration::from_secs(20) {
            redirect.take("right", &sender);
            returned.extend(receiver.recv_timeout(Duration::from_millis(10)));
        }
        let pages = pages.map(|page| page.join().unwrap());
        assert!(pages[0].starts_with("HTTP/1.1 404 "), "{pages:?}");
        assert!(pages[1].starts_with("HTTP/1.1 200 ") && !pages[1].contains("<b>"), "{pages:?}");
        assert!(pages[2].starts_with("HTTP/1.1 400 "), "{pages:?}");
        assert_eq!(returned.len(), 2);
        flood.join().unwrap();
    }
}
