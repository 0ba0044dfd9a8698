//! SCRAM: the password never leaves, and the server has to prove that it knows it, too (RFC 5802, RFC 7677).

use std::{borrow::Cow, num::NonZeroU32};

use encodify::base64::STANDARD;
use ring::{
    digest, hmac, pbkdf2,
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

use crate::{config::Mechanism, mail::clean, net::ChannelBinding};

/// Octets of our nonce.
const NONCE: usize = 24;
/// Fewer make the proof too easy a prey (RFC 7677, 4).
const MIN_ITERATIONS: u32 = 4096;
/// A hostile server could have us count for hours; this takes about a second.
const MAX_ITERATIONS: u32 = 2_000_000;

/// What the client says of channel binding (RFC 5802, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding<'a> {
    /// It is not wanted, or there is nothing to bind to.
    None,
    /// It could be done, but the server does not offer it: who took it out of the offer is found out.
    NotOffered,
    /// The login is bound to this.
    To(&'a ChannelBinding),
}

/// A login under way.
pub struct Scram {
    hash: Hash,
    /// The header of GS2 (RFC 5801, 4), and behind it what the login is bound to.
    header: String,
    binding: Vec<u8>,
    nonce: String,
    user: String,
    state: State,
}

enum State {
    /// Nothing was said.
    Start,
    /// The first message was sent.
    First,
    /// The proof was sent; the server's has to be this HMAC.
    Proven { key: hmac::Key, message: String },
    /// The server has proven that it knows the password.
    Verified,
}

struct Hash {
    hmac: hmac::Algorithm,
    digest: &'static digest::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

/// Why a message of the server cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// No random numbers are to be had.
    #[error("the operating system gives no random numbers")]
    NoRandom,
    /// Not what RFC 5802 says.
    #[error("{0}")]
    Invalid(&'static str),
    /// Its proof is wrong: it does not know the password, or somebody in between has changed something.
    #[error("the server's signature is wrong: it does not know the password itself, or somebody is in between")]
    WrongSignature,
    /// It has not proven anything.
    #[error("the server did not sign: it does not know the password itself, or somebody is in between")]
    NoSignature,
    /// `e=` (RFC 5802, 7).
    #[error("{}", words_of(.0))]
    Refused(String),
}

impl Scram {
    /// Begins a login as `user`.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn new(mechanism: Mechanism, user: &str, binding: Binding<'_>) -> Result<Self, ScramError> {
        let mut nonce = [0; NONCE];
        SystemRandom::new().fill(&mut nonce).map_err(|_| ScramError::NoRandom)?;
        Ok(Self::with_nonce(mechanism, user, binding, STANDARD.encode(nonce)))
    }

    fn with_nonce(mechanism: Mechanism, user: &str, binding: Binding<'_>, nonce: String) -> Self {
        let hash = match mechanism {
            Mechanism::ScramSha1 | Mechanism::ScramSha1Plus => Hash {
                hmac: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                digest: &digest::SHA1_FOR_LEGACY_USE_ONLY,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA1,
            },
            _ => Hash { hmac: hmac::HMAC_SHA256, digest: &digest::SHA256, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256 },
        };
        let (header, binding) = match binding {
            Binding::None => ("n,,".to_owned(), Vec::new()),
            Binding::NotOffered => ("y,,".to_owned(), Vec::new()),
            Binding::To(binding) => (format!("p={},,", binding.name), binding.data.clone()),
        };
        let user = prepared(user).replace('=', "=3D").replace(',', "=2C");
        Self { hash, header, binding, nonce, user, state: State::Start }
    }

    /// The client's first message.
    pub fn first(&mut self) -> Vec<u8> {
        self.state = State::First;
        format!("{}{}", self.header, self.first_bare()).into_bytes()
    }

    fn first_bare(&self) -> String {
        format!("n={},r={}", self.user, self.nonce)
    }

    /// Answers a message of the server; `None` if there is nothing to say to it any more. May take a second.
    ///
    /// # Errors
    /// If it is none, or none that may be answered.
    pub fn answer(&mut self, message: &[u8], password: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, ScramError> {
        match self.state {
            State::Start => Ok(None),
            State::First => self.prove(message, password).map(Some),
            State::Proven { .. } => self.verify(message).map(|()| Some(Zeroizing::default())),
            State::Verified => Ok(None),
        }
    }

    /// The login is said to have succeeded, with this text.
    ///
    /// # Errors
    /// If the server has not proven, and does not prove with it, that it knows the password (RFC 5802, 5).
    pub fn finish(&mut self, text: &str) -> Result<(), ScramError> {
        if matches!(self.state, State::Verified) {
            return Ok(());
        }
        match last_message(text, b"v=") {
            Some(message) => self.verify(&message),
            None => Err(ScramError::NoSignature),
        }
    }

    /// What the server says of its refusal in the text of the reply, if anything.
    pub fn complaint(text: &str) -> Option<ScramError> {
        let message = last_message(text, b"e=")?;
        Some(ScramError::Refused(clean(&String::from_utf8_lossy(&message[2..]))))
    }

    /// The signature that the server has to give. Who sees it can try passwords on it.
    pub fn signature(&self) -> Option<String> {
        match &self.state {
            State::Proven { key, message } => Some(STANDARD.encode(hmac::sign(key, message.as_bytes()))),
            _ => None,
        }
    }

    fn prove(&mut self, message: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, ScramError> {
        let first =
            std::str::from_utf8(message).map_err(|_| ScramError::Invalid("the server's challenge is not UTF-8"))?;
        let challenge = Challenge::parse(first, &self.nonce)?;
        let hash = &self.hash;
        let mut salted = Zeroizing::new(vec![0; hash.hmac.digest_algorithm().output_len()]);
        let password = prepared_password(password);
        pbkdf2::derive(hash.pbkdf2, challenge.iterations, &challenge.salt, &password, &mut salted);
        let salted = hmac::Key::new(hash.hmac, &salted);

        let mut binding = self.header.clone().into_bytes();
        binding.extend_from_slice(&self.binding);
        let without_proof = format!("c={},r={}", STANDARD.encode(binding), challenge.nonce);
        let message = format!("{},{first},{without_proof}", self.first_bare());

        let client_key = hmac::sign(&salted, b"Client Key");
        let stored = digest::digest(hash.digest, client_key.as_ref());
        let signature = hmac::sign(&hmac::Key::new(hash.hmac, stored.as_ref()), message.as_bytes());
        let proof: Zeroizing<Vec<u8>> = client_key
            .as_ref()
            .iter()
            .zip(signature.as_ref())
            .map(|(key, signature)| key ^ signature)
            .collect::<Vec<_>>()
            .into();
        let server_key = hmac::sign(&salted, b"Server Key");
        self.state = State::Proven { key: hmac::Key::new(hash.hmac, server_key.as_ref()), message };
        Ok(Zeroizing::new(format!("{without_proof},p={}", STANDARD.encode(&*proof)).into_bytes()))
    }

    fn verify(&mut self, message: &[u8]) -> Result<(), ScramError> {
        let State::Proven { key, message: signed } = &self.state else {
            return Err(ScramError::Invalid("the server's signature comes too early"));
        };
        let text =
            std::str::from_utf8(message).map_err(|_| ScramError::Invalid("the server's last word is not UTF-8"))?;
        let first = text.split(',').next().unwrap_or_default();
        if let Some(error) = first.strip_prefix("e=") {
            return Err(ScramError::Refused(clean(error)));
        }
        let signature = first.strip_prefix("v=").and_then(|signature| STANDARD.decode(signature).ok());
        let signature = signature.ok_or(ScramError::NoSignature)?;
        hmac::verify(key, signed.as_bytes(), &signature).map_err(|_| ScramError::WrongSignature)?;
        self.state = State::Verified;
        Ok(())
    }
}

impl ScramError {
    /// Whether the server cannot bind a login in our way: nothing is said about the password.
    pub fn is_unfit_binding(&self) -> bool {
        let words = ["channel-binding-not-supported", "unsupported-channel-binding-type"];
        matches!(self, ScramError::Refused(word) if words.contains(&word.as_str()))
    }

    /// Whether the server sees another TLS connection than we do: somebody sits in between.
    pub fn is_other_connection(&self) -> bool {
        matches!(self, ScramError::Refused(word) if word == "channel-bindings-dont-match")
    }

    /// Whether somebody in between took the channel binding out of the server's offer (RFC 5802, 6).
    pub fn is_downgrade(&self) -> bool {
        matches!(self, ScramError::Refused(word) if word == "server-does-support-channel-binding")
    }
}

/// Some put their last message into the text of the reply that ends the login.
fn last_message(text: &str, start: &[u8]) -> Option<Vec<u8>> {
    text.split_ascii_whitespace()
        .filter_map(|word| STANDARD.decode(word).ok())
        .find(|message| message.starts_with(start))
}

fn words_of(error: &str) -> Cow<'_, str> {
    Cow::Borrowed(match error {
        "invalid-proof" => "the password is wrong",
        "unknown-user" => "the server does not know the user",
        "invalid-username-encoding" => "the server does not take this user name",
        "invalid-encoding" => "the server cannot read what we said",
        "extensions-not-supported" => "the server does not know an extension",
        "channel-bindings-dont-match" => "the server sees another TLS connection than we do",
        "channel-binding-not-supported" => "the server cannot bind a login to TLS",
        "unsupported-channel-binding-type" => "the server cannot bind a login to TLS in this way",
        "server-does-support-channel-binding" => {
            "the server can bind a login to TLS, but somebody in between took that out of its offer"
        }
        "no-resources" => "the server has no resources for it now",
        "other-error" | "" => "the server says no more",
        other => return Cow::Owned(format!("the server says {other}")),
    })
}

/// The server's first message.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl<'a> Challenge<'a> {
    fn parse(text: &'a str, ours: &str) -> Result<Self, ScramError> {
        let mut parts = text.split(',');
        let mut next = |name: &str| parts.next().and_then(|part| part.strip_prefix(name));
        if let Some(error) = text.strip_prefix("e=") {
            return Err(ScramError::Refused(clean(error.split(',').next().unwrap_or_default())));
        }
        // An extension that must be understood (m=) stands in its place.
        let nonce = next("r=").ok_or(ScramError::Invalid("the server's challenge does not begin with a nonce"))?;
        if nonce.strip_prefix(ours).is_none_or(str::is_empty) {
            return Err(ScramError::Invalid("the server's nonce does not continue ours: it answers somebody else"));
        }
        let salt = next("s=").and_then(|salt| STANDARD.decode(salt).ok()).filter(|salt| !salt.is_empty());
        let salt = salt.ok_or(ScramError::Invalid("the server's challenge has no salt"))?;
        let iterations = next("i=").and_then(|number| number.parse().ok());
        let iterations: NonZeroU32 =
            iterations.ok_or(ScramError::Invalid("the server's challenge has no iteration count"))?;
        if iterations.get() < MIN_ITERATIONS {
            return Err(ScramError::Invalid("the server's iteration count is below 4096, which protects nothing"));
        }
        if iterations.get() > MAX_ITERATIONS {
            return Err(ScramError::Invalid("the server's iteration count is above 2000000"));
        }
        Ok(Self { nonce, salt, iterations })
    }
}

/// SASLprep (RFC 4013); what it does not allow goes as it is, as the server may have it so.
fn prepared(text: &str) -> Cow<'_, str> {
    stringprep::saslprep(text).unwrap_or(Cow::Borrowed(text))
}

fn prepared_password(password: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(match std::str::from_utf8(password) {
        Ok(text) => prepared(text).into_owned().into_bytes(),
        // Latin-1, of old.
        Err(_) => password.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begun(mechanism: Mechanism, nonce: &str) -> Scram {
        let mut scram = Scram::with_nonce(mechanism, "user", Binding::None, nonce.to_owned());
        assert_eq!(scram.first(), format!("n,,n=user,r={nonce}").as_bytes());
        scram
    }

    const FIRST: &str = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";

    fn proven() -> Scram {
        let mut scram = begun(Mechanism::ScramSha1, "fyko+d2lbbFgONRv9qkxdawL");
        scram.answer(FIRST.as_bytes(), b"pencil").unwrap();
        scram
    }

    #[test]
    fn the_examples_of_the_rfcs() {
        for (mechanism, nonce, first, last, server_last) in [
            (
                Mechanism::ScramSha1,
                "fyko+d2lbbFgONRv9qkxdawL",
                FIRST,
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                Mechanism::ScramSha256,
                "rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ] {
            let password = b"pencil";
            let mut scram = begun(mechanism, nonce);
            let proof = scram.answer(first.as_bytes(), password).unwrap().unwrap();
            assert_eq!(std::str::from_utf8(&proof).unwrap(), last);
            assert_eq!(format!("v={}", scram.signature().unwrap()), server_last);
            assert!(scram.answer(server_last.as_bytes(), password).unwrap().unwrap().is_empty());
            assert_eq!(scram.finish("ok"), Ok(()));
            assert_eq!(scram.answer(b"v=", password), Ok(None));
        }
    }

    #[test]
    fn a_server_that_proves_nothing_is_none() {
        let right = STANDARD.encode("v=rmF9pqV8S7suAoZWja4dJRkFsKQ=");
        assert_eq!(proven().finish(&format!("2.7.0 {right}")), Ok(()));
        assert_eq!(proven().finish("2.7.0 welcome"), Err(ScramError::NoSignature));
        let error = Scram::complaint(&format!("5.7.8 {} no", STANDARD.encode("e=invalid-proof")));
        assert_eq!(error.unwrap().to_string(), "the password is wrong");
        assert_eq!(Scram::complaint("5.7.8 no"), None);
        let wrong = STANDARD.encode("v=rmF9pqV8S7suAoZWja4dJRkFsKE=");
        assert_eq!(proven().finish(&wrong), Err(ScramError::WrongSignature));
        for (message, error) in [
            (&b"v=rmF9pqV8S7suAoZWja4dJRkFsKE="[..], ScramError::WrongSignature),
            (b"v=", ScramError::WrongSignature),
            (b"v=rmF9", ScramError::WrongSignature),
            (b"", ScramError::NoSignature),
            (b"v=!", ScramError::NoSignature),
            (b"e=invalid-proof", ScramError::Refused("invalid-proof".to_owned())),
        ] {
            assert_eq!(proven().answer(message, b"pencil"), Err(error), "{message:?}");
        }
        // It cannot be had before the proof.
        let mut scram = begun(Mechanism::ScramSha1, "abc");
        assert!(scram.finish(&right).is_err());
    }

    #[test]
    fn hostile_challenges() {
        for (challenge, words) in [
            ("r=abc,s=QSXC,i=4096", "does not continue ours"),
            ("r=xbcdef,s=QSXC,i=4096", "does not continue ours"),
            ("m=x,r=abcdef,s=QSXC,i=4096", "does not begin with a nonce"),
            ("s=QSXC,i=4096", "does not begin with a nonce"),
            ("r=abcdef,s=,i=4096", "no salt"),
            ("r=abcdef,s=!,i=4096", "no salt"),
            ("r=abcdef,i=4096", "no salt"),
            ("r=abcdef,s=QSXC,i=4095", "below 4096"),
            ("r=abcdef,s=QSXC,i=2000001", "above"),
            ("r=abcdef,s=QSXC,i=4294967296", "no iteration count"),
            ("r=abcdef,s=QSXC,i=-1", "no iteration count"),
            ("r=abcdef,s=QSXC", "no iteration count"),
            ("e=unknown-user", "does not know the user"),
            ("", "does not begin with a nonce"),
        ] {
            let error = begun(Mechanism::ScramSha256, "abc").answer(challenge.as_bytes(), b"x").unwrap_err();
            assert!(error.to_string().contains(words), "{challenge}: {error}");
        }
        let more = begun(Mechanism::ScramSha256, "abc").answer(b"r=abcdef,s=QSXC,i=4096,x=later", b"x");
        assert!(more.unwrap().unwrap().starts_with(b"c=biws,r=abcdef,p="));
    }

    #[test]
    fn names_bindings_and_passwords() {
        let first = |user: &str, binding| {
            let mut scram = Scram::with_nonce(Mechanism::ScramSha1Plus, user, binding, "abc".to_owned());
            let first = String::from_utf8(scram.first()).unwrap();
            let proof = scram.answer(b"r=abcdef,s=QSXC,i=4096", b"x").unwrap().unwrap();
            let bound = std::str::from_utf8(&proof).unwrap().split(',').next().unwrap()[2..].to_owned();
            (first, STANDARD.decode(bound).unwrap())
        };
        let binding = ChannelBinding { name: "tls-exporter", data: vec![0, 255, b','] };
        assert_eq!(first("a=b,c", Binding::None), ("n,,n=a=3Db=2Cc,r=abc".to_owned(), b"n,,".to_vec()));
        assert_eq!(first("ada", Binding::NotOffered), ("y,,n=ada,r=abc".to_owned(), b"y,,".to_vec()));
        let bound = first("ada", Binding::To(&binding));
        assert_eq!(bound, ("p=tls-exporter,,n=ada,r=abc".to_owned(), b"p=tls-exporter,,\x00\xff,".to_vec()));
        // RFC 4013, 3.
        assert_eq!(&*prepared("I\u{AD}X"), "IX");
        assert_eq!(&*prepared("\u{2168}"), "IX");
        assert_eq!(prepared("a\u{7}"), "a\u{7}");
        assert_eq!(*prepared_password("I\u{AD}X".as_bytes()), *b"IX");
        assert_eq!(*prepared_password("\u{2168}".as_bytes()), *b"IX");
        assert_eq!(*prepared_password(b"gr\xFC\xDFe"), b"gr\xFC\xDFe");
        assert_eq!(*prepared_password("pa ss\"w\u{f6}rd".as_bytes()), *"pa ss\"w\u{f6}rd".as_bytes());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// No server makes it panic, and none gets a second answer out of it.
        #[test]
        fn any_message_is_survived(first in proptest::collection::vec(any::<u8>(), 0..60), rest in "[rsiemv=,0-9A-Za-z+/]{0,60}") {
            for message in [first.as_slice(), rest.as_bytes(), format!("r=abc{rest}").as_bytes()] {
                let mut scram = begun(Mechanism::ScramSha256, "abc");
                // Counting up to the limit, in a build without optimisation, would take the tests long.
                if !rest.contains("i=") {
                    let _ = scram.answer(message, b"x");
                }
                let mut scram = proven();
                prop_assert!(scram.answer(message, b"x").is_err());
                prop_assert!(scram.finish(&STANDARD.encode(message)).is_err());
            }
        }
    }
}
