//! Login mechanisms: what is said for each challenge (RFC 4954, RFC 4422).
//!
//! Which mechanism is tried is decided in `choice`, what a refusal means in `refusal`.

mod bearer;
mod choice;
mod refusal;
mod scram;

use encodify::base64::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use zeroize::Zeroizing;

use self::{
    bearer::Refusal,
    scram::{Binding, Scram, ScramError},
};
pub(super) use self::{
    choice::{binding_for, candidates},
    refusal::{login_hint, login_refused, login_wanted, wants_login},
};
use super::reader::conceal;
use crate::{
    config::{Mechanism, Profile, Server},
    mail::{Cause, Secret, Stage, Trouble},
};

/// The trace of who has no name (RFC 4505, 2).
const ANONYMOUS: &str = "mailsend";

/// One login under way.
pub(super) struct Login<'a> {
    mechanism: Mechanism,
    user: &'a str,
    /// The server's name and port, for OAUTHBEARER.
    server: Option<&'a Server>,
    secret: &'a [u8],
    /// Challenges answered so far.
    answered: u8,
    scram: Option<Scram>,
    /// By what the secret could be told, beside itself.
    derived: Vec<Secret>,
    /// What the server says of its refusal beside the reply.
    pub complaint: Complaint,
}

/// What a server says of its refusal beside the reply.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    /// In words.
    pub words: Option<String>,
    /// Another token could do better.
    pub is_about_token: bool,
    /// The server cannot bind a login to TLS in our way: nothing is said about the password.
    pub is_unfit_binding: bool,
}

impl<'a> Login<'a> {
    /// Begins a login; `secret` is empty for a mechanism that takes none.
    ///
    /// # Errors
    /// [`Cause::Internal`] if there are no random numbers.
    pub fn new(
        mechanism: Mechanism,
        profile: &'a Profile,
        secret: Option<&'a Secret>,
        binding: Binding<'_>,
    ) -> Result<Self, Trouble> {
        let user = profile.username.as_deref().unwrap_or_default();
        let scram = match mechanism {
            Mechanism::ScramSha256Plus | Mechanism::ScramSha256 | Mechanism::ScramSha1Plus | Mechanism::ScramSha1 => {
                let scram = Scram::new(mechanism, user, binding);
                Some(scram.map_err(|error| Trouble::new(Stage::Auth, Cause::Internal, error.to_string()))?)
            }
            _ => None,
        };
        Ok(Self {
            mechanism,
            user,
            server: profile.server.as_ref(),
            secret: secret.map_or(&[], Secret::expose),
            answered: 0,
            scram,
            derived: Vec::new(),
            complaint: Complaint::default(),
        })
    }

    /// Everything by which the secret could be told so far.
    pub fn secrets(&self) -> Vec<Secret> {
        forms(self.secret).into_iter().chain(self.derived.iter().cloned()).collect()
    }

    /// What is said with AUTH, in Base64; `None` where the server speaks first.
    pub fn initial(&mut self) -> Option<Zeroizing<String>> {
        let (user, secret) = (self.user.as_bytes(), self.secret);
        Some(match self.mechanism {
            Mechanism::Plain => base64(&[b"\0", user, b"\0", secret]),
            Mechanism::XOAuth2 => base64(&[b"user=", user, b"\x01auth=Bearer ", secret, b"\x01\x01"]),
            Mechanism::OAuthBearer => {
                let name = self.user.replace('=', "=3D").replace(',', "=2C");
                let place = match self.server {
                    Some(Server::Network { endpoint, .. }) => {
                        format!("\x01host={}\x01port={}", endpoint.host, endpoint.port)
                    }
                    _ => String::new(),
                };
                let parts =
                    [b"n,a=", name.as_bytes(), b",", place.as_bytes(), b"\x01auth=Bearer ", secret, b"\x01\x01"];
                base64(&parts)
            }
            Mechanism::External => base64(&[user]),
            Mechanism::Anonymous if user.is_empty() => base64(&[ANONYMOUS.as_bytes()]),
            Mechanism::Anonymous => base64(&[user]),
            Mechanism::Login | Mechanism::CramMd5 => return None,
            Mechanism::ScramSha256Plus | Mechanism::ScramSha256 | Mechanism::ScramSha1Plus | Mechanism::ScramSha1 => {
                base64(&[&self.scram.as_mut()?.first()])
            }
        })
    }

    /// The answer to a challenge, in Base64; `None` if the mechanism has none for it.
    ///
    /// # Errors
    /// [`Cause::Protocol`] if the challenge must not be answered, [`Cause::Login`] if the server proves to be another.
    pub fn answer(&mut self, challenge: &str) -> Result<Option<Zeroizing<String>>, Trouble> {
        self.answered += 1;
        Ok(match (self.mechanism, self.answered) {
            (Mechanism::Login, 1) => Some(base64(&[self.user.as_bytes()])),
            (Mechanism::Login, 2) => Some(base64(&[self.secret])),
            (Mechanism::CramMd5, 1) => {
                let digest = hmac_md5(self.secret, &self.decoded(challenge)?);
                self.derived.extend(forms(digest.as_bytes()));
                Some(base64(&[self.user.as_bytes(), b" ", digest.as_bytes()]))
            }
            // The refusal comes as a challenge with JSON; only after this answer the code follows (RFC 7628, 3.2.3).
            (Mechanism::XOAuth2 | Mechanism::OAuthBearer, 1) => {
                let secrets = self.secrets();
                let refusal = Refusal::parse(challenge, |said| conceal(&secrets, said));
                self.complaint.is_about_token = refusal.is_about_token;
                self.complaint.words = Some(refusal.words).filter(|words| !words.is_empty());
                let is_bearer = self.mechanism == Mechanism::OAuthBearer;
                Some(if is_bearer { base64(&[b"\x01"]) } else { Zeroizing::default() })
            }
            (_, 1..=2) if self.scram.is_some() => self.answer_scram(&self.decoded(challenge)?)?,
            _ => None,
        })
    }

    fn answer_scram(&mut self, message: &[u8]) -> Result<Option<Zeroizing<String>>, Trouble> {
        let Some(scram) = &mut self.scram else { return Ok(None) };
        match scram.answer(message, self.secret) {
            Ok(answer) => {
                let answer = answer.unwrap_or_default();
                let proof = answer.windows(3).rposition(|at| at == b",p=").map(|at| &answer[at + 3..]);
                self.derived.extend(forms(proof.unwrap_or_default()));
                self.derived.extend(forms(scram.signature().unwrap_or_default().as_bytes()));
                Ok(Some(base64(&[&answer])))
            }
            // The code follows.
            Err(error @ ScramError::Refused(_)) => {
                self.complain(&error)?;
                Ok(Some(Zeroizing::default()))
            }
            Err(error) => Err(self.broken_off(&error)),
        }
    }

    /// The server says that the login has succeeded.
    ///
    /// # Errors
    /// [`Cause::Login`] if the mechanism has the server prove itself, and it does not.
    pub fn succeed(&mut self, text: &str) -> Result<(), Trouble> {
        let finished = self.scram.as_mut().map_or(Ok(()), |scram| scram.finish(text));
        finished.map_err(|error| self.broken_off(&error))
    }

    /// The server says that the login has failed; its text may say why.
    ///
    /// # Errors
    /// [`Cause::Untrusted`] if somebody has changed what the server offers.
    pub fn fail(&mut self, text: &str) -> Result<(), Trouble> {
        match self.scram.as_ref().and_then(|_| Scram::complaint(text)) {
            Some(error) => self.complain(&error),
            None => Ok(()),
        }
    }

    fn complain(&mut self, error: &ScramError) -> Result<(), Trouble> {
        // Whoever sits there would like us to go on without the binding, or with the password itself.
        if error.is_downgrade() {
            return Err(self.broken_off(error));
        }
        if error.is_other_connection() {
            let without = self.mechanism.as_str().trim_end_matches("-PLUS");
            return Err(self.broken_off(error).hint(format!(
                "if TLS ends at a machine in front of the server, and you trust it: -o auth={without}"
            )));
        }
        self.complaint.words = Some(error.to_string());
        self.complaint.is_unfit_binding = error.is_unfit_binding();
        Ok(())
    }

    fn broken_off(&self, error: &ScramError) -> Trouble {
        let cause = match error {
            ScramError::Invalid(_) => Cause::Protocol,
            ScramError::NoRandom => Cause::Internal,
            ScramError::WrongSignature | ScramError::NoSignature => Cause::Login,
            ScramError::Refused(_) => Cause::Untrusted,
        };
        let name = self.mechanism.as_str();
        Trouble::new(Stage::Auth, cause, format!("the login by {name} was broken off: {error}"))
    }

    fn decoded(&self, challenge: &str) -> Result<Vec<u8>, Trouble> {
        STANDARD
            .decode(challenge.trim())
            .map_err(|_| self.broken_off(&ScramError::Invalid("the server's challenge is no Base64")))
    }
}

/// A secret, and the characters of Base64 that it alone decides, wherever in a text it stands.
fn forms(secret: &[u8]) -> Vec<Secret> {
    let aligned = |shift: usize| {
        let encoded = base64(&[&[0; 2][..shift], secret]);
        let whole = (shift + secret.len()) * 8 / 6;
        let inner = encoded.get((shift * 8).div_ceil(6)..whole).unwrap_or_default();
        Secret::new(inner.as_bytes().to_vec())
    };
    (0..3).map(aligned).chain([Secret::new(secret.to_vec())]).collect()
}

fn base64(parts: &[&[u8]]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    Zeroizing::new(STANDARD.encode(&*bytes))
}

/// HMAC-MD5 in lower-case hexadecimal (RFC 2195, 2).
fn hmac_md5(secret: &[u8], challenge: &[u8]) -> Zeroizing<String> {
    // A key of any length will do.
    let Ok(hmac) = Hmac::<md5::Md5>::new_from_slice(secret) else { return Zeroizing::default() };
    let digest = hmac.chain_update(challenge).finalize().into_bytes();
    Zeroizing::new(digest.iter().map(|octet| format!("{octet:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Security, net::Endpoint};
    use proptest::prelude::*;

    fn profile(user: &str) -> Profile {
        let endpoint = Endpoint { host: "server.example.com".to_owned(), port: 143 };
        Profile {
            username: Some(user.to_owned()).filter(|user| !user.is_empty()),
            server: Some(Server::Network { is_lmtp: false, endpoint, socket: None, security: Security::Tls }),
            ..Profile::default()
        }
    }

    fn decoded(value: &str) -> String {
        String::from_utf8(STANDARD.decode(value).unwrap()).unwrap()
    }

    fn login<'a>(mechanism: Mechanism, profile: &'a Profile, secret: &'a Secret) -> Login<'a> {
        Login::new(mechanism, profile, Some(secret), Binding::None).unwrap()
    }

    #[test]
    fn what_is_said() {
        let (ada, nobody, secret) = (profile("ada"), profile(""), Secret::new("pa ss\"wörd".into()));
        let first = |mechanism, profile| login(mechanism, profile, &secret).initial().map(|text| decoded(&text));
        assert_eq!(first(Mechanism::Plain, &ada).unwrap(), "\0ada\0pa ss\"wörd");
        assert_eq!(first(Mechanism::External, &ada).unwrap(), "ada");
        assert_eq!(first(Mechanism::External, &nobody).unwrap(), "");
        assert_eq!(first(Mechanism::Anonymous, &ada).unwrap(), "ada");
        assert_eq!(first(Mechanism::Anonymous, &nobody).unwrap(), "mailsend");
        assert_eq!(first(Mechanism::Login, &ada), None);
        assert_eq!(first(Mechanism::CramMd5, &ada), None);
        assert!(first(Mechanism::ScramSha256, &ada).unwrap().starts_with("n,,n=ada,r="));
        for mechanism in [Mechanism::Plain, Mechanism::External, Mechanism::Anonymous] {
            assert!(login(mechanism, &ada, &secret).answer("").unwrap().is_none());
        }
        let mut login = login(Mechanism::Login, &ada, &secret);
        assert_eq!(decoded(&login.answer("VXNlcm5hbWU6").unwrap().unwrap()), "ada");
        assert_eq!(decoded(&login.answer("").unwrap().unwrap()), "pa ss\"wörd");
        assert!(login.answer("").unwrap().is_none());
    }

    /// RFC 2195, 2; what is longer than a block is hashed first (RFC 2104, 2), checked by Python's hmac.
    #[test]
    fn cram_md5() {
        let (tim, secret) = (profile("tim"), Secret::new("tanstaaftanstaaf".into()));
        let mut login = login(Mechanism::CramMd5, &tim, &secret);
        let challenge = STANDARD.encode("<1896.697170952@postoffice.reston.mci.net>");
        let answer = login.answer(&challenge).unwrap().unwrap();
        assert_eq!(decoded(&answer), "tim b913a602c7eda7a495b4e6e7334d3890");
        assert!(login.secrets().iter().any(|secret| secret.expose() == b"b913a602c7eda7a495b4e6e7334d3890"));
        assert!(login.answer(&challenge).unwrap().is_none());
        assert_eq!(hmac_md5(&[b'x'; 100], b"abc").as_str(), "f2c71e5565847569782c991ec29d0d93");
        let trouble = super::Login::new(Mechanism::CramMd5, &tim, Some(&secret), Binding::None).unwrap().answer("<no>");
        assert!(trouble.unwrap_err().what.ends_with("the server's challenge is no Base64"));
    }

    /// The examples of Google's documentation and of RFC 7628, 4.1 and 4.3.
    #[test]
    fn tokens() {
        let (user, token) =
            (profile("someuser@example.com"), Secret::new(b"ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg".to_vec()));
        let mut bearer = login(Mechanism::XOAuth2, &user, &token);
        assert_eq!(
            bearer.initial().unwrap().as_str(),
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
        );
        assert_eq!(bearer.answer(&STANDARD.encode("{\"status\":\"401\"}")).unwrap().unwrap().as_str(), "");
        assert_eq!(bearer.complaint.words.as_deref(), Some("status 401"));
        assert!(bearer.complaint.is_about_token && bearer.answer("").unwrap().is_none());

        let (user, token) =
            (profile("user@example.com"), Secret::new(b"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==".to_vec()));
        let mut bearer = login(Mechanism::OAuthBearer, &user, &token);
        assert_eq!(
            bearer.initial().unwrap().as_str(),
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
        );
        assert_eq!(bearer.answer("eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=").unwrap().unwrap().as_str(), "AQ==");
        assert_eq!(bearer.complaint.words.as_deref(), Some("status invalid_token"));
        let odd = profile("a=b,c");
        assert!(
            decoded(&login(Mechanism::OAuthBearer, &odd, &token).initial().unwrap())
                .starts_with("n,a=a=3Db=2Cc,\x01host=")
        );
        // A server that gives the token back has it concealed.
        let mut echo = login(Mechanism::XOAuth2, &user, &token);
        echo.answer(&STANDARD.encode("{\"status\":\"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\"}")).unwrap();
        assert_eq!(echo.complaint.words.as_deref(), Some("status ***"));
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands() {
        let ada = profile("ada");
        for secret in ["kanarienvogel", "kanarienvogel1", "kanarienvogel12"] {
            let secret_ = Secret::new(secret.into());
            let secrets = login(Mechanism::Plain, &ada, &secret_).secrets();
            for before in ["", "a", "ab", "abc"] {
                for after in ["", "x", "xy"] {
                    let text = STANDARD.encode(format!("{before}{secret}{after}"));
                    let concealed = String::from_utf8(conceal(&secrets, format!("334 {text}").into_bytes())).unwrap();
                    assert!(concealed.contains("***") && concealed.len() < 24, "{text}: {concealed}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_challenge_is_survived(text in "\\PC{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let (ada, secret) = (profile("ada"), Secret::new(b"x".to_vec()));
            for challenge in [&text, &STANDARD.encode(&bytes)] {
                for mechanism in [Mechanism::CramMd5, Mechanism::Login, Mechanism::XOAuth2, Mechanism::OAuthBearer, Mechanism::ScramSha1] {
                    let mut login = login(mechanism, &ada, &secret);
                    login.initial();
                    for _ in 0..4 {
                        if !matches!(login.answer(challenge), Ok(Some(_))) {
                            break;
                        }
                    }
                    prop_assert_eq!(login.succeed(challenge).is_ok(), mechanism != Mechanism::ScramSha1);
                }
            }
        }
    }
}
