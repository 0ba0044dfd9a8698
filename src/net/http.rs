//! Plain HTTP requests over our own streams (RFC 9110): one way to connect, one trust, one connection per request.
//!
//! What is asked and what an answer means is not known here. Bodies are held, so both are bounded, unless somebody
//! takes them piece by piece.

use std::{fmt, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, LOCATION, USER_AGENT},
};
use hyper_util::rt::TokioIo;

use super::{Endpoint, Passage, Tls, TlsPolicy, dial};
use crate::mail::{Cause, Secret, Stage, Trouble};

/// Larger answers are cut off: tokens and configurations have some kilobytes.
const MAX_BODY: u64 = MIB;
const MIB: u64 = 1024 * 1024;
/// Redirections that a GET follows.
const MAX_REDIRECTS: u8 = 3;

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// `https://HOST/PATH`, or `http://`.
    pub url: String,
    /// Content type and octets to POST, which may be secret; GET without.
    pub body: Option<(&'static str, Secret)>,
    /// What may come back, for Accept.
    pub accept: &'static str,
    /// The way there, for redirections, too.
    pub passage: Passage,
}

/// An answer, whatever its status.
#[derive(Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Content type without parameters, in lower case; empty if there is none.
    pub content_type: String,
    /// The octets.
    pub body: Vec<u8>,
}

impl fmt::Debug for Answer {
    /// Without the body: it may hold tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, content_type, .. } = self;
        f.debug_struct("Answer").field("status", status).field("content_type", content_type).finish_non_exhaustive()
    }
}

/// Sends a request within `limit`, redirections included: a GET follows them, but never from https to http; a POST
/// does not, since it may carry secrets.
///
/// # Errors
/// [`Cause::Configuration`] for an address that is none; see [`dial`] and [`Tls::secure`]; [`Cause::Protocol`] if the
/// answer is no HTTP or too large; [`Cause::TimedOut`].
pub async fn ask(asked: &Asked, limit: Duration) -> Result<Answer, Trouble> {
    let mut body = Vec::new();
    let mut take = |_, octets: &[u8]| {
        body.extend_from_slice(octets);
        true
    };
    let answer = in_time(follow(asked, limit, MAX_BODY, &mut take), &asked.url, limit).await?;
    Ok(Answer { body, ..answer })
}

/// Waits for something of the host in `url`.
async fn in_time<T>(
    waiting: impl Future<Output = Result<T, Trouble>>,
    url: &str,
    limit: Duration,
) -> Result<T, Trouble> {
    tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| {
        let host = url.split('/').nth(2).unwrap_or_default();
        let what = format!("no answer from {host} within {} s", limit.as_secs_f32());
        Err(Trouble::new(Stage::Connect, Cause::TimedOut, what))
    })
}

/// The same for callers who wait, on a thread outside of any event loop.
///
/// # Errors
/// As [`ask`].
pub fn ask_and_wait(asked: &Asked, limit: Duration) -> Result<Answer, Trouble> {
    wait(ask(asked, limit))
}

/// Takes the body of an answer of up to `max` octets piece by piece, with its status; the answer comes without. Each
/// piece has to come within `limit`. `take` tells whether to go on.
///
/// # Errors
/// As [`ask`]; [`Cause::Internal`] if `take` has ended it.
pub fn take_and_wait(asked: &Asked, limit: Duration, max: u64, take: Take<'_>) -> Result<Answer, Trouble> {
    wait(follow(asked, limit, max, take))
}

fn wait<T>(asking: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Trouble::new(Stage::Connect, Cause::Internal, format!("no event loop: {error}")))?;
    let answer = runtime.block_on(asking);
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    answer
}

/// Gets the pieces of a body, with the status; tells whether to go on.
type Take<'a> = &'a mut (dyn FnMut(u16, &[u8]) -> bool + Send);

async fn follow(asked: &Asked, limit: Duration, max: u64, take: Take<'_>) -> Result<Answer, Trouble> {
    let mut url = asked.url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let (answer, location) = once(asked, &url, limit, max, take).await?;
        match location {
            Some(location) => url = redirected(&url, &location)?,
            None => return Ok(answer),
        }
    }
    Err(protocol(format!("{} sends from one address to the next", asked.url)))
}

/// The address that a redirection leads to.
fn redirected(from: &str, location: &str) -> Result<String, Trouble> {
    let to = match location {
        location if location.contains("://") => location.to_owned(),
        location if location.starts_with('/') && !location.starts_with("//") => {
            let scheme_and_host: String = from.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            scheme_and_host + location
        }
        _ => return Err(protocol(format!("{from} redirects to '{location}'"))),
    };
    let is_protected = |url: &str| url.starts_with("https:") || is_loopback(url);
    if is_protected(from) && !is_protected(&to) || from.starts_with("https:") && !to.starts_with("https:") {
        return Err(protocol(format!("{from} redirects to an unprotected address, {to}")));
    }
    Ok(to)
}

/// Whether nobody but this machine can read what goes to this address.
pub fn is_loopback(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Endpoint { host, port: 0 }.is_loopback()
}

/// One request, and where a GET is sent on to; the body of such an answer is nobody's.
async fn once(
    asked: &Asked,
    url: &str,
    limit: Duration,
    max: u64,
    take: Take<'_>,
) -> Result<(Answer, Option<String>), Trouble> {
    let uri: Uri = url.parse().map_err(|_| setup(format!("'{url}' is no web address")))?;
    let is_tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(setup(format!("'{url}' is no web address: https:// is missing"))),
    };
    let authority = uri.authority().ok_or_else(|| setup(format!("'{url}' names no host")))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let endpoint = Endpoint { host, port };
    let mut stream = dial(&endpoint, &asked.passage, limit).await?.stream;
    if is_tls {
        let tls = Tls::new(TlsPolicy::default())?;
        stream = in_time(tls.secure(stream, &endpoint.host), url, limit).await?.0;
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder()
        .method(if asked.body.is_some() { Method::POST } else { Method::GET })
        .uri(path)
        .header(HOST, authority.as_str())
        .header(USER_AGENT, concat!("mailsend/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, asked.accept);
    let body = match &asked.body {
        Some((content_type, octets)) => {
            request = request.header(CONTENT_TYPE, *content_type);
            Full::new(Bytes::copy_from_slice(octets.expose()))
        }
        None => Full::default(),
    };
    let request = request.body(body).map_err(|error| setup(format!("'{url}': {error}")))?;
    let no_http = |error: hyper::Error| lost(&endpoint, &error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
    // The connection moves its bytes while the request waits for them.
    let asking = async {
        let sending = async { sender.send_request(request).await.map_err(no_http) };
        let (head, mut body) = in_time(sending, url, limit).await?.into_parts();
        let field = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let content_type = field(CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default();
        let is_redirect = matches!(
            head.status,
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        let status = head.status.as_u16();
        let location = field(LOCATION).filter(|_| is_redirect && asked.body.is_none()).map(str::to_owned);
        let mut count = 0;
        while let Some(frame) = in_time(async { Ok(body.frame().await) }, url, limit).await? {
            let frame =
                frame.map_err(|error| protocol(format!("the answer of {endpoint} is not to be had: {error}")))?;
            let octets = frame.into_data().unwrap_or_default();
            count += octets.len() as u64;
            if count > max {
                return Err(protocol(format!("the answer of {endpoint} is larger than {} MiB", max / MIB)));
            }
            if location.is_none() && !take(status, &octets) {
                return Err(Trouble::new(Stage::Connect, Cause::Internal, "not all of the answer was taken"));
            }
        }
        let content_type = content_type.trim().to_ascii_lowercase();
        Ok((Answer { status, content_type, body: Vec::new() }, location))
    };
    tokio::pin!(asking);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut asking => answer,
        // An answer that is complete is one, however the connection ends.
        _ = &mut connection => asking.await,
    }
}

fn setup(what: String) -> Trouble {
    Trouble::new(Stage::Connect, Cause::Configuration, what)
}

fn protocol(what: String) -> Trouble {
    Trouble::new(Stage::Connect, Cause::Protocol, what)
}

fn lost(endpoint: &Endpoint, error: &hyper::Error) -> Trouble {
    let cause = if error.is_parse() { Cause::Protocol } else { Cause::Lost };
    let what = match cause {
        Cause::Protocol => format!("{endpoint} speaks no HTTP"),
        _ => format!("{endpoint} closed the connection without an answer"),
    };
    Trouble::new(Stage::Connect, cause, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread::{self, JoinHandle},
    };

    /// Answers one request after the other with these bytes; gives back what was asked.
    fn server(answers: &'static [&'static str]) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a", listener.local_addr().unwrap());
        let thread = thread::spawn(move || {
            let answer = |answer: &&str| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut heard = vec![0; 4096];
                let count = stream.read(&mut heard).unwrap();
                heard.truncate(count);
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(heard).unwrap()
            };
            answers.iter().map(answer).collect()
        });
        (url, thread)
    }

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn a_form_is_posted_and_its_answer_read_whatever_it_is() {
        let (url, thread) = server(&[
            "HTTP/1.1 400 Bad\r\nContent-Type: Application/JSON; charset=utf-8\r\nConnection: close\r\n\r\n{}",
        ]);
        let asked = Asked {
            url,
            body: Some(("application/x-www-form-urlencoded", Secret::new(b"a=b".to_vec()))),
            accept: "application/json",
            ..Asked::default()
        };
        let answer = ask_and_wait(&asked, LIMIT).unwrap();
        assert_eq!(
            (answer.status, answer.content_type.as_str(), answer.body.as_slice()),
            (400, "application/json", &b"{}"[..])
        );
        let heard = thread.join().unwrap().remove(0);
        assert!(heard.starts_with("POST /a HTTP/1.1\r\n"), "{heard}");
    }

    #[test]
    fn a_get_follows_and_a_post_does_not() {
        const MOVED: &str = "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
        let (url, thread) = server(&[MOVED, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"]);
        let answer = ask_and_wait(&Asked { url, ..Asked::default() }, LIMIT).unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hi"[..]));
        assert!(thread.join().unwrap()[1].starts_with("GET /b "));
        let (url, thread) = server(&[MOVED]);
        let asked = Asked { url, body: Some(("text/plain", Secret::new(Vec::new()))), ..Asked::default() };
        assert_eq!(ask_and_wait(&asked, LIMIT).unwrap().status, 302);
        thread.join().unwrap();
        assert!(redirected("https://a/x", "http://a/y").is_err());
        assert!(redirected("https://a/x", "http://127.0.0.1/y").is_err());
        assert!(redirected("http://127.0.0.1:1/x", "http://a/y").is_err());
        assert_eq!(redirected("http://[::1]/x", "http://localhost/y").unwrap(), "http://localhost/y");
        assert_eq!(redirected("https://a:1/x?y", "/z").unwrap(), "https://a:1/z");
    }

    #[test]
    fn pieces_are_taken_as_long_as_somebody_wants_them() {
        const MOVED: &str = "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 4\r\n\r\ngone";
        const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let taken = |max: u64, wanted: usize| {
            let (url, thread) = server(&[MOVED, ANSWER]);
            let mut taken = Vec::new();
            let mut take = |status: u16, octets: &[u8]| {
                assert_eq!(status, 200);
                taken.extend_from_slice(octets);
                taken.len() < wanted
            };
            let answer = take_and_wait(&Asked { url, ..Asked::default() }, LIMIT, max, &mut take);
            thread.join().unwrap();
            answer.map(|answer| (answer.body.len(), String::from_utf8(taken).unwrap())).map_err(|trouble| trouble.cause)
        };
        assert_eq!(taken(5, 9), Ok((0, "abcde".to_owned())));
        assert_eq!(taken(4, 9), Err(Cause::Protocol));
        assert_eq!(taken(9, 2), Err(Cause::Internal));
    }

    #[test]
    fn a_proxy_is_asked_for_the_host() {
        use crate::net::{Proxy, ProxyKind};
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
        let proxy = Proxy { kind: ProxyKind::Http, endpoint, username: None, password: None };
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = vec![0; 4096];
            let mut hear = |answer: &str| {
                let count = stream.read(&mut heard).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(heard[..count].to_vec()).unwrap()
            };
            let asked = hear("HTTP/1.1 200 Go on\r\n\r\n");
            asked + &hear("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        });
        let url = "http://tokens.example/t".to_owned();
        let passage = Passage { proxy: Some(proxy), ..Passage::default() };
        let answer = ask_and_wait(&Asked { url, passage, ..Asked::default() }, LIMIT).unwrap();
        assert_eq!(answer.body, b"hi");
        let heard = thread.join().unwrap();
        assert!(heard.starts_with("CONNECT tokens.example:80 HTTP/1.1\r\n") && heard.contains("GET /t "), "{heard}");
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let cause = |answer: &'static [&'static str]| {
            let (url, thread) = server(answer);
            let trouble = ask_and_wait(&Asked { url, ..Asked::default() }, LIMIT).unwrap_err();
            thread.join().unwrap();
            trouble.cause
        };
        assert_eq!(cause(&["220 mx.example ESMTP\r\n"]), Cause::Protocol);
        assert_eq!(cause(&[""]), Cause::Lost);
        assert_eq!(cause(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi"]), Cause::Protocol);
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let asked = Asked { url: format!("http://{}", silent.local_addr().unwrap()), ..Asked::default() };
        let trouble = ask_and_wait(&asked, Duration::from_millis(200)).unwrap_err();
        assert_eq!(trouble.cause, Cause::TimedOut);
        for url in ["ftp://x", "x", "http://"] {
            let asked = Asked { url: url.to_owned(), ..Asked::default() };
            assert_eq!(ask_and_wait(&asked, LIMIT).unwrap_err().cause, Cause::Configuration, "{url}");
        }
    }
}
