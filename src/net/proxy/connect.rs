//! HTTP CONNECT: one request, one head of an answer (RFC 9110, 9.3.6; RFC 9112).

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::Asking;
use crate::mail::{Cause, Trouble};

/// A longer head is none.
const MAX_HEAD: usize = 16 * 1024;

pub(super) async fn pass(
    asking: &Asking<'_>,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<(), Trouble> {
    stream.write_all(&request(asking)).await.map_err(|error| asking.lost(&error))?;
    let head = read_head(asking, stream).await?;
    let line = String::from_utf8_lossy(head.split(|&byte| byte == b'\n').next().unwrap_or_default());
    let no_http = || asking.no_proxy("does not speak HTTP");
    let (version, answer) = line.trim().split_once(' ').ok_or_else(no_http)?;
    let status = answer.get(..3).filter(|status| status.bytes().all(|byte| byte.is_ascii_digit()));
    let status: u16 = status.and_then(|status| status.parse().ok()).ok_or_else(no_http)?;
    if !version.starts_with("HTTP/1.") {
        return Err(no_http());
    }
    // Some give back what they heard, and that may have been a password.
    let answer = if asking.proxy.username.is_some() { &answer[..3] } else { answer };
    match status {
        200..=299 => Ok(()),
        407 if asking.proxy.username.is_none() => Err(asking.wants_login()),
        407 => Err(asking.refuses_login()),
        403 => Err(asking
            .not_reached(Cause::Refused, &format!("its rules do not allow it ({answer})"))
            .hint("many let only port 443 through: ask its administrator, or use a socks5 proxy")),
        405 | 501 => Err(asking.not_reached(Cause::Refused, &format!("it does not know CONNECT ({answer})"))),
        502..=504 => Err(asking.not_reached(Cause::Unreachable, &format!("it does not reach it ({answer})"))),
        500..=599 => Err(asking.not_reached(Cause::Unreachable, answer)),
        300..=499 => Err(asking.not_reached(Cause::Refused, answer)),
        _ => Err(asking.no_proxy(&format!("answers {answer}, which is no answer to CONNECT"))),
    }
}

fn request(asking: &Asking<'_>) -> Zeroizing<Vec<u8>> {
    let endpoint = asking.endpoint;
    let head = format!("CONNECT {endpoint} HTTP/1.1\r\nHost: {endpoint}\r\n");
    let mut request = Zeroizing::new(Vec::with_capacity(4096));
    request.extend_from_slice(head.as_bytes());
    if let Some(user) = &asking.proxy.username {
        // RFC 7617: a user with a colon cannot be told from its password; the proxy will say so.
        let password = asking.proxy.password.as_ref().map_or(&b""[..], |password| password.expose());
        let login = Zeroizing::new([user.as_bytes(), b":", password].concat());
        let encoded = Zeroizing::new(encodify::base64::STANDARD.encode(login.as_slice()));
        request.extend_from_slice(b"Proxy-Authorization: Basic ");
        request.extend_from_slice(encoded.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// Reads up to the empty line and no octet more; what comes before a final answer is passed over.
async fn read_head(asking: &Asking<'_>, stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Trouble> {
    let mut head = Vec::new();
    let mut start = 0;
    loop {
        if head.len() == MAX_HEAD {
            return Err(asking.no_proxy("answers at too great a length"));
        }
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !head.is_empty() => {
                return Err(asking.no_proxy("breaks off within its answer"));
            }
            Err(error) => return Err(asking.lost(&error)),
        }
        let answer = &head[start..];
        let known = answer.len().min(5);
        if answer[..known] != b"HTTP/"[..known] {
            return Err(asking.no_proxy("does not speak HTTP"));
        }
        if answer.ends_with(b"\r\n\r\n") || answer.ends_with(b"\n\n") {
            // 1xx (RFC 9110, 15.2)
            let is_interim = answer.split(|&byte| byte == b' ').nth(1).is_some_and(|status| status.starts_with(b"1"));
            if !is_interim {
                return Ok(head.split_off(start));
            }
            start = head.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mail::Secret,
        net::{Endpoint, Proxy, ProxyKind},
    };
    use proptest::prelude::*;

    /// What becomes of this answer, what was said, and what of the answer is still unread.
    fn run(user: Option<&str>, answer: &[u8]) -> (Result<(), Trouble>, String, Vec<u8>) {
        let proxy = Proxy {
            kind: ProxyKind::Http,
            endpoint: Endpoint { host: "proxy.example".to_owned(), port: 8080 },
            username: user.map(str::to_owned),
            password: user.map(|_| Secret::new(b"geheim".to_vec())),
        };
        let endpoint = Endpoint { host: "::1".to_owned(), port: 587 };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut ours, mut theirs) = tokio::io::duplex(1 << 16);
            theirs.write_all(answer).await.unwrap();
            theirs.shutdown().await.unwrap();
            let ended = pass(&Asking { proxy: &proxy, endpoint: &endpoint }, &mut ours).await;
            let mut rest = Vec::new();
            ours.read_to_end(&mut rest).await.unwrap();
            drop(ours);
            let mut said = String::new();
            theirs.read_to_string(&mut said).await.unwrap();
            (ended, said, rest)
        })
    }

    #[test]
    fn nothing_behind_the_head_is_read() {
        let (ended, said, rest) = run(None, b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n220 hi\r\n");
        ended.unwrap();
        assert_eq!(said, "CONNECT [::1]:587 HTTP/1.1\r\nHost: [::1]:587\r\n\r\n");
        assert_eq!(rest, b"220 hi\r\n");
        let (ended, said, rest) = run(Some("ada"), b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.0 200 OK\n\n220");
        ended.unwrap();
        assert!(said.ends_with("\r\nProxy-Authorization: Basic YWRhOmdlaGVpbQ==\r\n\r\n"), "{said}");
        assert_eq!(rest, b"220");
    }

    #[test]
    fn refusals_have_their_words() {
        let told = |user: Option<&str>, answer: &str| {
            let trouble = run(user, answer.as_bytes()).0.unwrap_err();
            (trouble.cause, trouble.what.replace("the proxy http://proxy.example:8080 ", ""))
        };
        for (answer, cause, words) in [
            ("HTTP/1.1 407 Who are you?\r\n\r\n", Cause::Login, "wants a login"),
            ("HTTP/1.1 403 No\r\n\r\n", Cause::Refused, "its rules do not allow it (403 No)"),
            ("HTTP/1.1 405 No\r\n\r\n", Cause::Refused, "does not know CONNECT"),
            ("HTTP/1.1 502 Bad\r\n\r\n", Cause::Unreachable, "does not connect to [::1]:587: it does not reach it"),
            ("HTTP/1.1 503 Off\r\n\r\n", Cause::Unreachable, "503 Off"),
            ("HTTP/1.1 302 Go\r\n\r\n", Cause::Refused, "302 Go"),
            ("HTTP/2 200\r\n\r\n", Cause::Protocol, "does not speak HTTP"),
            ("HTTP/1.1\r\n\r\n", Cause::Protocol, "does not speak HTTP"),
            ("220 mx.example ESMTP\r\n", Cause::Protocol, "does not speak HTTP"),
            ("HTTP/1.1 200 OK\r\nX: ", Cause::Protocol, "breaks off"),
            ("", Cause::Lost, "closed the connection"),
        ] {
            let (found, what) = told(None, answer);
            assert!(found == cause && what.contains(words), "{answer}: {found:?} {what}");
        }
        assert_eq!(told(Some("ada"), "HTTP/1.1 407 No\r\n\r\n").1, "refuses the login of 'ada'");
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(MAX_HEAD));
        assert_eq!(told(None, &endless).1, "answers at too great a length");
    }

    proptest! {
        #[test]
        fn no_answer_brings_it_down(answer in prop::collection::vec(any::<u8>(), 0..200)) {
            let (ended, ..) = run(None, &[&b"HTTP/1.1 "[..], &answer].concat());
            let _ = ended;
            let (ended, _, rest) = run(None, &answer);
            prop_assert!(ended.is_err() || answer.ends_with(&rest));
        }
    }
}
