//! The format of the encrypted file: which octets mean what, without reading or writing any file.
//!
//! JSON: a version, how the key is made (salt; iterations), a check value, and for every account a nonce and the
//! sealed secret. ChaCha20-Poly1305 (RFC 8439) seals each entry by itself, its account being associated data: an
//! entry cannot be moved to another account. Accounts are readable, and that an older copy of the whole file was put
//! in place is not noticed.

use std::{collections::BTreeMap, num::NonZeroU32};

use encodify::base64::STANDARD;
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf, pbkdf2,
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use zeroize::Zeroizing;

use crate::mail::Secret;

const VERSION: u64 = 1;
/// As OWASP advises for PBKDF2 with SHA-256.
const ITERATIONS: u32 = 600_000;
/// A file that asks for more would keep us busy for minutes; with less it is none of ours.
const ALLOWED_ITERATIONS: std::ops::RangeInclusive<u32> = 100_000..=10_000_000;
const SALT_LEN: usize = 16;
const KEY_LEN: usize = 32;
/// What the check value is sealed with; no account has a NUL.
const CHECK: &str = "\0check";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vault {
    version: u64,
    kdf: Kdf,
    check: Sealed,
    entries: BTreeMap<String, Sealed>,
}

/// How the key is made of what the user has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", deny_unknown_fields)]
pub(super) enum Kdf {
    /// Of a passphrase (RFC 8018, 5.2).
    #[serde(rename = "pbkdf2-hmac-sha256")]
    Pbkdf2 { salt: Octets, iterations: u32 },
    /// Of 32 random octets or more (RFC 5869).
    #[serde(rename = "hkdf-sha256")]
    Hkdf { salt: Octets },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    nonce: Octets,
    sealed: Octets,
}

/// Octets that are Base64 in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Octets(Vec<u8>);

impl TryFrom<String> for Octets {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(&text).map(Self).map_err(|_| "Base64 is wanted")
    }
}

impl From<Octets> for String {
    fn from(octets: Octets) -> Self {
        STANDARD.encode(&octets.0)
    }
}

/// Seals and opens the entries of one file.
#[derive(Clone)]
pub(super) struct Key(Zeroizing<[u8; KEY_LEN]>);

/// Why the octets of a file are no vault.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A newer program wrote it.
    Newer(u64),
    /// Damaged, or another file.
    Corrupt(String),
}

/// The system gives no random numbers.
#[derive(Debug)]
pub(super) struct NoRandomness;

/// What the user has for a key.
pub(super) struct Material<'a> {
    /// The octets, as read or typed.
    pub secret: &'a Secret,
    /// Whether somebody typed it, so that it is a passphrase whatever it looks like.
    pub is_typed: bool,
}

impl Material<'_> {
    /// Random octets in Base64, if that is what it is.
    fn octets(&self) -> Option<Zeroizing<Vec<u8>>> {
        let octets = Zeroizing::new(STANDARD.decode(self.secret.expose()).ok()?);
        (octets.len() >= KEY_LEN).then_some(octets)
    }
}

impl Kdf {
    fn new(material: &Material<'_>) -> Result<Self, NoRandomness> {
        let salt = Octets(random::<SALT_LEN>()?.to_vec());
        Ok(match material.octets() {
            Some(_) if !material.is_typed => Kdf::Hkdf { salt },
            _ => Kdf::Pbkdf2 { salt, iterations: ITERATIONS },
        })
    }

    /// Makes the key; `None` if this is not what the file's key is made of. A passphrase takes some 0.2 s.
    fn derive(&self, material: &Material<'_>) -> Option<Key> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        match self {
            Kdf::Pbkdf2 { salt, iterations } => {
                let iterations = NonZeroU32::new(*iterations)?;
                let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
                pbkdf2::derive(algorithm, iterations, &salt.0, material.secret.expose(), &mut *key);
            }
            Kdf::Hkdf { salt } => {
                let octets = material.octets()?;
                let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, &salt.0).extract(&octets);
                let expanded = pseudorandom.expand(&[b"mailsend secrets 1"], hkdf::HKDF_SHA256).ok()?;
                expanded.fill(&mut *key).ok()?;
            }
        }
        Some(Key(key))
    }
}

impl Key {
    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&CHACHA20_POLY1305, &*self.0).ok().map(LessSafeKey::new)
    }

    fn seal(&self, account: &str, octets: &[u8]) -> Result<Sealed, NoRandomness> {
        let nonce = random::<NONCE_LEN>()?;
        // Room for the tag, so that the buffer does not move and leave the secret behind.
        let mut buffer = Vec::with_capacity(octets.len() + CHACHA20_POLY1305.tag_len());
        buffer.extend_from_slice(octets);
        let cipher = self.cipher().ok_or(NoRandomness)?;
        let aad = Aad::from(account.as_bytes());
        cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut buffer)
            .map_err(|_| NoRandomness)?;
        Ok(Sealed { nonce: Octets(nonce.to_vec()), sealed: Octets(buffer) })
    }

    fn open(&self, account: &str, sealed: &Sealed) -> Option<Secret> {
        let nonce = Nonce::try_assume_unique_for_key(&sealed.nonce.0).ok()?;
        let mut buffer = Zeroizing::new(sealed.sealed.0.clone());
        let plain = self.cipher()?.open_in_place(nonce, Aad::from(account.as_bytes()), &mut buffer).ok()?;
        Some(Secret::new(plain.to_vec()))
    }
}

impl Vault {
    /// An empty one, and its key.
    pub fn new(material: &Material<'_>) -> Result<(Self, Key), NoRandomness> {
        let kdf = Kdf::new(material)?;
        let key = kdf.derive(material).ok_or(NoRandomness)?;
        let check = key.seal(CHECK, b"")?;
        Ok((Self { version: VERSION, kdf, check, entries: BTreeMap::new() }, key))
    }

    /// Reads the octets of a file.
    pub fn parse(octets: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Head {
            version: u64,
        }
        // The parser's own words may have what stands there, which may be a secret in another file.
        let corrupt = |error: serde_json::Error| {
            let what = match error.classify() {
                Category::Eof => "it ends too early",
                Category::Syntax => "it is no JSON",
                Category::Data | Category::Io => "it has not the right form",
            };
            Unreadable::Corrupt(format!("{what} (line {}, column {})", error.line(), error.column()))
        };
        let head: Head = serde_json::from_slice(octets).map_err(corrupt)?;
        if head.version > VERSION {
            return Err(Unreadable::Newer(head.version));
        }
        let vault: Self = serde_json::from_slice(octets).map_err(corrupt)?;
        match vault.kdf {
            _ if vault.version != VERSION => Err(Unreadable::Corrupt(format!("version {}", vault.version))),
            Kdf::Pbkdf2 { iterations, .. } if !ALLOWED_ITERATIONS.contains(&iterations) => {
                Err(Unreadable::Corrupt(format!("{iterations} iterations for the key")))
            }
            _ => Ok(vault),
        }
    }

    /// As it stands in a file.
    pub fn to_octets(&self) -> Vec<u8> {
        // Texts and numbers only: it cannot fail.
        let mut octets = serde_json::to_vec_pretty(self).unwrap_or_default();
        octets.push(b'\n');
        octets
    }

    /// The key, if this is what it is made of.
    pub fn unlock(&self, material: &Material<'_>) -> Option<Key> {
        self.kdf.derive(material).filter(|key| self.is_opened_by(key))
    }

    /// Whether its key is made of random octets, which nobody types.
    pub fn wants_octets(&self) -> bool {
        matches!(self.kdf, Kdf::Hkdf { .. })
    }

    /// Whether this is the key.
    pub fn is_opened_by(&self, key: &Key) -> bool {
        key.open(CHECK, &self.check).is_some()
    }

    /// Whether there is an entry.
    pub fn has(&self, account: &str) -> bool {
        self.entries.contains_key(account)
    }

    /// The secret of an account; `None` if its entry is damaged or not there.
    pub fn get(&self, account: &str, key: &Key) -> Option<Secret> {
        key.open(account, self.entries.get(account)?)
    }

    /// Puts an entry in, or another in its place.
    pub fn put(&mut self, account: &str, secret: &Secret, key: &Key) -> Result<(), NoRandomness> {
        let sealed = key.seal(account, secret.expose())?;
        self.entries.insert(account.to_owned(), sealed);
        Ok(())
    }

    /// Takes an entry out; tells whether it was there.
    pub fn remove(&mut self, account: &str) -> bool {
        self.entries.remove(account).is_some()
    }

    /// All accounts.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

/// A new key as it stands in a key file: 32 random octets in Base64.
pub(super) fn new_key() -> Result<Zeroizing<String>, NoRandomness> {
    let octets = Zeroizing::new(random::<KEY_LEN>()?);
    Ok(Zeroizing::new(STANDARD.encode(*octets)))
}

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut octets = [0; N];
    SystemRandom::new().fill(&mut octets).map_err(|_| NoRandomness)?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn what_was_put_in_comes_out_with_the_key_alone() {
        let passphrase = secret("correct horse");
        let random = secret(&new_key().unwrap());
        for (material, other) in [(&passphrase, &random), (&random, &passphrase)] {
            let material = Material { secret: material, is_typed: false };
            let (mut vault, key) = Vault::new(&material).unwrap();
            vault.put("ada@mx", &secret("hunter2"), &key).unwrap();
            vault.put("bob@mx", &secret("x"), &key).unwrap();
            let again = Vault::parse(&vault.to_octets()).unwrap();
            assert_eq!(again, vault);
            assert!(!String::from_utf8(again.to_octets()).unwrap().contains("hunter2"));
            let key = again.unlock(&material).unwrap();
            assert_eq!(again.get("ada@mx", &key).unwrap().expose(), b"hunter2");
            assert_eq!(again.accounts().collect::<Vec<_>>(), ["ada@mx", "bob@mx"]);
            assert!(again.unlock(&Material { secret: other, is_typed: false }).is_none());
            // An entry under another's name does not open.
            let mut swapped = again.clone();
            let entry = swapped.entries["ada@mx"].clone();
            swapped.entries.insert("bob@mx".to_owned(), entry);
            assert!(swapped.get("bob@mx", &key).is_none() && swapped.is_opened_by(&key));
            assert!(swapped.remove("bob@mx") && !swapped.has("bob@mx"));
        }
    }

    #[test]
    fn what_is_typed_is_a_passphrase() {
        let key = secret(&new_key().unwrap());
        let kdf = |is_typed| Kdf::new(&Material { secret: &key, is_typed }).unwrap();
        assert!(matches!(kdf(true), Kdf::Pbkdf2 { iterations: ITERATIONS, .. }));
        assert!(matches!(kdf(false), Kdf::Hkdf { .. }));
        let short = secret(&STANDARD.encode([7; 31]));
        let kdf = Kdf::new(&Material { secret: &short, is_typed: false }).unwrap();
        assert!(matches!(kdf, Kdf::Pbkdf2 { .. }));
    }

    #[test]
    fn no_nonce_comes_twice() {
        let key = secret(&new_key().unwrap());
        let (mut vault, key) = Vault::new(&Material { secret: &key, is_typed: false }).unwrap();
        let mut seen = std::collections::HashSet::from([vault.check.nonce.0.clone()]);
        for _ in 0..100 {
            vault.put("ada@mx", &secret("hunter2"), &key).unwrap();
            assert!(seen.insert(vault.entries["ada@mx"].nonce.0.clone()));
        }
    }

    #[test]
    fn what_is_no_vault_is_told() {
        let key = secret(&new_key().unwrap());
        let (vault, _) = Vault::new(&Material { secret: &key, is_typed: false }).unwrap();
        let text = String::from_utf8(vault.to_octets()).unwrap();
        assert_eq!(
            Vault::parse(text.replace("\"version\": 1", "\"version\": 7").as_bytes()),
            Err(Unreadable::Newer(7))
        );
        for end in 0..text.trim_end().len() {
            assert!(matches!(Vault::parse(&text.as_bytes()[..end]), Err(Unreadable::Corrupt(_))), "cut at {end}");
        }
        for foreign in ["{\"version\": \"hunter2\"}", "{\"version\": 1, \"hunter2\": \"hunter2\"}", "hunter2"] {
            let Err(Unreadable::Corrupt(why)) = Vault::parse(foreign.as_bytes()) else { panic!("{foreign} is read") };
            assert!(!why.contains("hunter2"), "{why}");
        }
        let kdf = |iterations: u64| {
            let kdf = format!("\"name\": \"pbkdf2-hmac-sha256\", \"iterations\": {iterations},");
            Vault::parse(text.replace("\"name\": \"hkdf-sha256\",", &kdf).as_bytes())
        };
        assert!(kdf(600_000).is_ok());
        for iterations in [0, 1, 99_999, 10_000_001, u64::MAX] {
            assert!(matches!(kdf(iterations), Err(Unreadable::Corrupt(_))), "{iterations}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_refused_or_read(octets in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = Vault::parse(&octets);
        }
    }
}
