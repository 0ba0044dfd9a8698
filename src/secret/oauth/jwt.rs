//! Signed assertions (RFC 7515, RFC 7523): the proof of a client or a service account that has a key instead of a
//! secret.

use encodify::base64::URL_SAFE_NO_PAD;
use ring::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest},
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Map, Value};

use crate::mail::Secret;

/// How long an assertion is good for, in seconds.
pub(super) const LIFETIME: u64 = 300;

/// A private RSA key that signs.
#[derive(Debug)]
pub(super) struct Key(KeyPair);

/// How it signs (RFC 7518, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// PKCS #1 v1.5.
    Rs256,
    /// PSS.
    Ps256,
}

impl Key {
    /// Reads a PEM file's text: PKCS #8 or PKCS #1.
    ///
    /// # Errors
    /// Why it is no such key; nothing of the text.
    pub fn read(pem: &[u8]) -> Result<Self, String> {
        if memchr::memmem::find(pem, b"ENCRYPTED").is_some() {
            return Err("the key is encrypted; without a passphrase is wanted: openssl pkey -in KEY -out PLAIN".into());
        }
        let wanted = "a PEM file with an RSA key is wanted: BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY";
        let pair = match PrivateKeyDer::from_pem_slice(pem) {
            Ok(PrivateKeyDer::Pkcs8(der)) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            Ok(PrivateKeyDer::Pkcs1(der)) => KeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(wanted.to_owned()),
        };
        pair.map(Self)
            .map_err(|rejected| format!("the key cannot be used ({rejected}): {wanted}, of 2048 bits or more"))
    }

    /// A signed token with these claims; `header` is completed by the algorithm.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn sign(
        &self,
        algorithm: Algorithm,
        mut header: Map<String, Value>,
        claims: &Map<String, Value>,
    ) -> Result<Secret, String> {
        let (name, encoding): (_, &'static dyn RsaEncoding) = match algorithm {
            Algorithm::Rs256 => ("RS256", &RSA_PKCS1_SHA256),
            Algorithm::Ps256 => ("PS256", &RSA_PSS_SHA256),
        };
        header.insert("alg".to_owned(), name.into());
        header.insert("typ".to_owned(), "JWT".into());
        let encoded = |part: &Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(part.clone()).to_string());
        let mut token = format!("{}.{}", encoded(&header), encoded(claims));
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(encoding, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| "the system gives no random numbers to sign with".to_owned())?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(Secret::new(token.into_bytes()))
    }
}

/// The header fields by which a provider finds the certificate in `pem` (RFC 7515, 4.1.7 and 4.1.8).
///
/// # Errors
/// If there is none.
pub(super) fn thumbprints(pem: &[u8]) -> Result<Map<String, Value>, String> {
    let der = CertificateDer::from_pem_slice(pem)
        .map_err(|_| "a PEM file with a certificate is wanted: BEGIN CERTIFICATE".to_owned())?;
    let print = |algorithm| Value::from(URL_SAFE_NO_PAD.encode(digest(algorithm, &der).as_ref()));
    Ok(Map::from_iter([("x5t".to_owned(), print(&SHA1_FOR_LEGACY_USE_ONLY)), ("x5t#S256".to_owned(), print(&SHA256))]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{
        RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    };

    const PKCS8: &[u8] = include_bytes!("../../../tests/support/keys/pkcs8.pem");
    const PKCS1: &[u8] = include_bytes!("../../../tests/support/keys/pkcs1.pem");
    const ENCRYPTED: &[u8] = include_bytes!("../../../tests/support/keys/encrypted.pem");
    const CERTIFICATE: &[u8] = include_bytes!("../../../tests/support/keys/certificate.pem");

    #[test]
    fn both_algorithms_sign_with_both_kinds_of_file() {
        let claims = Map::from_iter([("sub".to_owned(), Value::from("ada"))]);
        let cases: [(_, _, &'static dyn VerificationAlgorithm); 2] = [
            (Algorithm::Rs256, "RS256", &RSA_PKCS1_2048_8192_SHA256),
            (Algorithm::Ps256, "PS256", &RSA_PSS_2048_8192_SHA256),
        ];
        for pem in [PKCS8, PKCS1] {
            for (algorithm, name, verification) in cases {
                let key = Key::read(pem).unwrap();
                let token = key.sign(algorithm, thumbprints(CERTIFICATE).unwrap(), &claims).unwrap();
                let token = std::str::from_utf8(token.expose()).unwrap().to_owned();
                let (signed, signature) = token.rsplit_once('.').unwrap();
                let public = UnparsedPublicKey::new(verification, key.0.public().as_ref());
                public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
                let parts: Vec<Value> = signed
                    .split('.')
                    .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
                    .collect();
                assert_eq!((&parts[0]["alg"], &parts[1]["sub"]), (&Value::from(name), &Value::from("ada")));
                // As `openssl x509 -fingerprint` says it.
                assert_eq!(parts[0]["x5t"], "Uqfc_46eAEF31KRsVw7tIUI0D54");
                assert_eq!(parts[0]["x5t#S256"], "H1jG_5gE7WeInGAmoe_SV4eCLJjUIcEuLRA69yZtfN8");
            }
        }
    }

    #[test]
    fn what_is_no_key_is_told() {
        assert!(Key::read(ENCRYPTED).unwrap_err().contains("encrypted"));
        for wrong in [CERTIFICATE, b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert!(Key::read(wrong).unwrap_err().contains("RSA key is wanted"));
        }
        assert!(thumbprints(PKCS8).is_err());
    }
}
