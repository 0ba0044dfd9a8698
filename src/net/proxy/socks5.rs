//! SOCKS 5: methods, login, request (RFC 1928, RFC 1929).

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::Asking;
use crate::mail::{Cause, Trouble};

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xFF;
/// Of the login (RFC 1929).
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;

pub(super) async fn pass(
    asking: &Asking<'_>,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<(), Trouble> {
    let lost = |error| asking.lost(&error);
    let has_login = asking.proxy.username.is_some();
    let methods: &[u8] = if has_login { &[VERSION, 2, NO_LOGIN, PASSWORD] } else { &[VERSION, 1, NO_LOGIN] };
    stream.write_all(methods).await.map_err(lost)?;
    // An octet says whether it is SOCKS at all; who speaks otherwise may not send a second one.
    if stream.read_u8().await.map_err(lost)? != VERSION {
        return Err(asking.no_proxy("does not speak SOCKS 5"));
    }
    match stream.read_u8().await.map_err(lost)? {
        NO_LOGIN => {}
        PASSWORD if has_login => log_in(asking, stream).await?,
        NO_METHOD if has_login => {
            let what = "takes neither a login with a password nor none";
            return Err(asking.trouble(Cause::Login, what).hint("another kind of login is not known here"));
        }
        NO_METHOD => return Err(asking.wants_login()),
        method => return Err(asking.no_proxy(&format!("chooses a login that was not offered ({method})"))),
    }
    stream.write_all(&request(asking)).await.map_err(lost)?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(lost)?;
    if head[0] != VERSION {
        return Err(asking.no_proxy("does not keep to SOCKS 5"));
    }
    if head[1] != 0 {
        return Err(refusal(asking, head[1]));
    }
    // The address that it connects from: of no use, but in front of what the server says.
    let length = match head[3] {
        1 => 4,
        3 => usize::from(stream.read_u8().await.map_err(lost)?),
        4 => 16,
        kind => return Err(asking.no_proxy(&format!("answers with an address of an unknown kind ({kind})"))),
    };
    let mut address = [0; 255 + 2];
    stream.read_exact(&mut address[..length + 2]).await.map_err(lost)?;
    Ok(())
}

async fn log_in(asking: &Asking<'_>, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), Trouble> {
    let user = asking.proxy.username.as_deref().unwrap_or_default().as_bytes();
    let password = asking.proxy.password.as_ref().map_or(&b""[..], |password| password.expose());
    let (Ok(user_length), Ok(password_length)) = (u8::try_from(user.len()), u8::try_from(password.len())) else {
        let what = "takes users and passwords of up to 255 octets";
        return Err(asking.trouble(Cause::Configuration, what));
    };
    let mut login = Zeroizing::new(Vec::with_capacity(3 + user.len() + password.len()));
    login.extend_from_slice(&[LOGIN_VERSION, user_length]);
    login.extend_from_slice(user);
    login.push(password_length);
    login.extend_from_slice(password);
    stream.write_all(&login).await.map_err(|error| asking.lost(&error))?;
    let mut answer = [0; 2];
    // RFC 1929, 2: after a refusal it closes; some do so without saying why.
    match stream.read_exact(&mut answer).await {
        Ok(_) if answer[1] == 0 => Ok(()),
        Ok(_) => Err(asking.refuses_login()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(asking.refuses_login()),
        Err(error) => Err(asking.lost(&error)),
    }
}

fn request(asking: &Asking<'_>) -> Vec<u8> {
    let mut request = vec![VERSION, CONNECT, 0];
    match asking.endpoint.host.parse() {
        Ok(IpAddr::V4(ip)) => {
            request.push(1);
            request.extend_from_slice(&ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            request.push(4);
            request.extend_from_slice(&ip.octets());
        }
        Err(_) => {
            let host = asking.endpoint.host.as_bytes();
            // Longer ones were refused before.
            request.extend_from_slice(&[3, u8::try_from(host.len()).unwrap_or(u8::MAX)]);
            request.extend_from_slice(host);
        }
    }
    request.extend_from_slice(&asking.endpoint.port.to_be_bytes());
    request
}

/// RFC 1928, 6
fn refusal(asking: &Asking<'_>, code: u8) -> Trouble {
    let (cause, why) = match code {
        1 => (Cause::Unreachable, "it failed, and does not say why"),
        2 => (Cause::Refused, "its rules do not allow it"),
        3 => (Cause::Unreachable, "the network is unreachable"),
        4 => (Cause::Unreachable, "the host is unreachable, or unknown"),
        5 => (Cause::Unreachable, "connection refused"),
        6 => (Cause::Unreachable, "it took too long (TTL expired)"),
        7 => (Cause::Refused, "it does not know the command CONNECT"),
        8 => (Cause::Refused, "it does not know this kind of address"),
        code => return asking.not_reached(Cause::Unreachable, &format!("its reason has no name (code {code})")),
    };
    asking.not_reached(cause, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mail::Secret,
        net::{Endpoint, Proxy, ProxyKind},
    };
    use proptest::prelude::*;

    fn proxy(username: Option<&str>) -> Proxy {
        Proxy {
            kind: ProxyKind::Socks5,
            endpoint: Endpoint { host: "proxy.example".to_owned(), port: 1080 },
            username: username.map(str::to_owned),
            password: username.map(|_| Secret::new(b"geheim".to_vec())),
        }
    }

    /// What becomes of these answers, what was said, and what of the answers is still unread.
    fn run(user: Option<&str>, host: &str, answers: &[u8]) -> (Result<(), Trouble>, Vec<u8>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut ours, mut theirs) = tokio::io::duplex(1 << 16);
            theirs.write_all(answers).await.unwrap();
            theirs.shutdown().await.unwrap();
            let endpoint = Endpoint { host: host.to_owned(), port: 587 };
            let ended = pass(&Asking { proxy: &proxy(user), endpoint: &endpoint }, &mut ours).await;
            let mut rest = Vec::new();
            ours.read_to_end(&mut rest).await.unwrap();
            drop(ours);
            let mut said = Vec::new();
            theirs.read_to_end(&mut said).await.unwrap();
            (ended, said, rest)
        })
    }

    #[test]
    fn the_name_goes_to_the_proxy_and_the_greeting_stays() {
        let (ended, said, rest) = run(None, "mx.example", b"\x05\x00\x05\x00\x00\x03\x02xy\x00\x01220 hi\r\n");
        ended.unwrap();
        assert_eq!(said, b"\x05\x01\x00\x05\x01\x00\x03\x0Amx.example\x02\x4B");
        assert_eq!(rest, b"220 hi\r\n");
        let (ended, said, _) = run(None, "::1", b"\x05\x00\x05\x00\x00\x01\x7F\x00\x00\x01\x00\x01");
        ended.unwrap();
        assert_eq!(said[3..], *b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x4B");
    }

    #[test]
    fn a_login_is_given_where_it_is_wanted() {
        let granted = b"\x05\x00\x00\x01\0\0\0\0\0\0";
        let (ended, said, _) = run(Some("ada"), "mx.example", &[&b"\x05\x02\x01\x00"[..], granted].concat());
        ended.unwrap();
        assert!(said.starts_with(b"\x05\x02\x00\x02\x01\x03ada\x06geheim\x05\x01"), "{said:?}");
        let (ended, said, _) = run(Some("ada"), "mx.example", &[&b"\x05\x00"[..], granted].concat());
        ended.unwrap();
        assert!(!said.windows(6).any(|part| part == b"geheim"));
    }

    #[test]
    fn refusals_have_their_words() {
        let told = |user: Option<&str>, answers: &[u8]| {
            let trouble = run(user, "mx.example", answers).0.unwrap_err();
            (trouble.cause, trouble.what.replace("the proxy socks5://proxy.example:1080 ", ""))
        };
        let words = |what: &str| what.to_owned();
        assert_eq!(told(None, b"\x05\xFF"), (Cause::Login, words("wants a login")));
        assert_eq!(told(Some("ada"), b"\x05\x02\x01\x01").1, "refuses the login of 'ada'");
        assert_eq!(told(Some("ada"), b"\x05\x02").0, Cause::Login);
        assert_eq!(told(Some("ada"), b"\x05\xFF").0, Cause::Login);
        assert_eq!(told(None, b"\x05\x02").0, Cause::Protocol);
        assert_eq!(told(None, b"HTTP/1.1 400").1, "does not speak SOCKS 5");
        assert_eq!(told(None, b""), (Cause::Lost, words("closed the connection without an answer")));
        assert_eq!(told(None, b"\x05\x00\x05\x00\x00\x07\0\0\0\0").0, Cause::Protocol);
        let mut reasons = Vec::new();
        for code in 1..=9 {
            let (cause, what) = told(None, &[5, 0, 5, code, 0, 1]);
            assert_eq!(cause == Cause::Refused, matches!(code, 2 | 7 | 8), "{code}");
            assert!(what.starts_with("does not connect to mx.example:587: "), "{what}");
            reasons.push(what);
        }
        reasons.dedup();
        assert_eq!(reasons.len(), 9);
    }

    proptest! {
        #[test]
        fn no_answer_brings_it_down(answers in prop::collection::vec(any::<u8>(), 0..400), has_user: bool) {
            let (ended, _, rest) = run(has_user.then_some("ada"), "mx.example", &answers);
            // What follows the answer is untouched, however long it is.
            prop_assert!(ended.is_err() || answers.ends_with(&rest));
        }
    }
}
