//! Login mechanisms: what is said for each challenge (RFC 4954, RFC 4616).

use encodify::base64::STANDARD;
use zeroize::Zeroizing;

use super::reader::conceal;
use crate::{
    config::{Auth, Mechanism},
    mail::{Cause, Reply, Secret, Stage, Trouble, clean},
};

/// One login under way.
pub(super) struct Login<'a> {
    mechanism: Mechanism,
    user: &'a str,
    secret: &'a Secret,
    /// Challenges answered so far.
    answered: u8,
    /// What an OAuth server says of its refusal.
    pub complaint: Option<String>,
}

impl<'a> Login<'a> {
    pub fn new(mechanism: Mechanism, user: &'a str, secret: &'a Secret) -> Self {
        Self { mechanism, user, secret, answered: 0, complaint: None }
    }

    /// Everything by which the secret could be told: itself, and the characters of Base64 that it alone decides,
    /// wherever in a text it stands.
    pub fn secrets(&self) -> Vec<Secret> {
        let aligned = |shift: usize| {
            let encoded = base64(&[&[0; 2][..shift], self.secret.expose()]);
            let whole = (shift + self.secret.expose().len()) * 8 / 6;
            let inner = encoded.get((shift * 8).div_ceil(6)..whole).unwrap_or_default();
            Secret::new(inner.as_bytes().to_vec())
        };
        (0..3).map(aligned).chain([self.secret.clone()]).collect()
    }

    /// What is said with AUTH, in Base64; `None` where the server speaks first.
    pub fn initial(&self) -> Option<Zeroizing<String>> {
        let parts: &[&[u8]] = match self.mechanism {
            Mechanism::Login => return None,
            Mechanism::Plain => &[b"\0", self.user.as_bytes(), b"\0", self.secret.expose()],
            Mechanism::XOAuth2 => {
                &[b"user=", self.user.as_bytes(), b"\x01auth=Bearer ", self.secret.expose(), b"\x01\x01"]
            }
            _ => return None,
        };
        Some(base64(parts))
    }

    /// The answer to a challenge, in Base64; `None` if the mechanism has none for it.
    pub fn answer(&mut self, challenge: &str) -> Option<Zeroizing<String>> {
        self.answered += 1;
        match (self.mechanism, self.answered) {
            (Mechanism::Login, 1) => Some(base64(&[self.user.as_bytes()])),
            (Mechanism::Login, 2) => Some(base64(&[self.secret.expose()])),
            // The refusal comes as a challenge with JSON; only after an empty answer the code follows.
            (Mechanism::XOAuth2, 1) => {
                let json = STANDARD.decode(challenge.trim()).unwrap_or_default();
                let json = conceal(&self.secrets(), json);
                self.complaint = Some(clean(&String::from_utf8_lossy(&json)));
                Some(Zeroizing::default())
            }
            _ => None,
        }
    }
}

/// Authentication required, mechanism too weak, credentials invalid (RFC 4954, 6).
pub(super) fn wants_login(reply: &Reply) -> bool {
    matches!(reply.code, 530 | 534 | 535)
}

pub(super) fn login_wanted(stage: Stage, reply: Reply) -> Trouble {
    let wants_tls = reply.code == 530 && reply.text().to_ascii_uppercase().contains("STARTTLS");
    if wants_tls {
        return Trouble::new(stage, Cause::Unsupported, "the server wants TLS first")
            .reply(reply)
            .hint("set security = \"starttls\" (-o security=starttls)");
    }
    Trouble::new(stage, Cause::Login, "the server wants a login")
        .reply(reply)
        .hint("name the user: username = \"…\" in the profile, --user, or smtp://USER@HOST")
}

fn base64(parts: &[&[u8]]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    Zeroizing::new(STANDARD.encode(&*bytes))
}

/// Mechanisms to try, best first.
pub(super) fn candidates(auth: &Auth, offered: &[String]) -> Vec<Mechanism> {
    let wanted: &[Mechanism] = match auth {
        Auth::Auto => &[Mechanism::Plain, Mechanism::Login],
        Auth::List(list) => list,
    };
    wanted.iter().copied().filter(|mechanism| offered.iter().any(|name| name == mechanism.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Option<Zeroizing<String>>) -> Option<String> {
        value.map(|value| String::from_utf8(STANDARD.decode(value.as_str()).unwrap()).unwrap())
    }

    #[test]
    fn what_is_said() {
        let secret = Secret::new("pa ss\"wörd".into());
        let mut plain = Login::new(Mechanism::Plain, "ada", &secret);
        assert_eq!(text(plain.initial()).unwrap(), "\0ada\0pa ss\"wörd");
        assert!(plain.answer("").is_none());
        let mut login = Login::new(Mechanism::Login, "ada", &secret);
        assert!(login.initial().is_none());
        assert_eq!(text(login.answer("VXNlcm5hbWU6")).unwrap(), "ada");
        assert_eq!(text(login.answer("")).unwrap(), "pa ss\"wörd");
        assert!(login.answer("").is_none());
        // The example of Google's documentation.
        let token = Secret::new(b"ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg".to_vec());
        let mut bearer = Login::new(Mechanism::XOAuth2, "someuser@example.com", &token);
        assert_eq!(
            bearer.initial().unwrap().as_str(),
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
        );
        assert_eq!(bearer.answer(&STANDARD.encode("{\"status\":\"401\"}")).unwrap().as_str(), "");
        assert_eq!(bearer.complaint.as_deref(), Some("{\"status\":\"401\"}"));
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands() {
        for secret in ["kanarienvogel", "kanarienvogel1", "kanarienvogel12"] {
            let secrets = Login::new(Mechanism::Plain, "ada", &Secret::new(secret.into())).secrets();
            for before in ["", "a", "ab", "abc"] {
                for after in ["", "x", "xy"] {
                    let text = STANDARD.encode(format!("{before}{secret}{after}"));
                    let concealed = String::from_utf8(conceal(&secrets, format!("334 {text}").into_bytes())).unwrap();
                    assert!(concealed.contains("***") && concealed.len() < 24, "{text}: {concealed}");
                }
            }
        }
    }

    #[test]
    fn what_is_tried() {
        let offered = ["LOGIN", "XOAUTH2", "PLAIN"].map(str::to_owned);
        assert_eq!(candidates(&Auth::Auto, &offered), [Mechanism::Plain, Mechanism::Login]);
        assert_eq!(candidates(&Auth::Auto, &offered[..1]), [Mechanism::Login]);
        assert_eq!(candidates(&Auth::List(vec![Mechanism::XOAuth2]), &offered), [Mechanism::XOAuth2]);
        assert_eq!(candidates(&Auth::List(vec![Mechanism::XOAuth2]), &offered[..1]), []);
    }
}
