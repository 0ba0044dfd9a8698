//! A certificate as people need it: whose, from whom, until when.

use std::{net::IpAddr, time::SystemTime};

use x509_cert::{
    certificate::Version,
    der::{Decode, Encode},
    ext::pkix::{BasicConstraints, SubjectAltName, name::GeneralName},
};

use crate::mail::clean;

/// The readable part of an X.509 certificate (RFC 5280). Foreign text is cleaned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Distinguished name of the holder.
    pub subject: String,
    /// Distinguished name of who signed it.
    pub issuer: String,
    /// DNS names and IP addresses it is valid for.
    pub names: Vec<String>,
    /// Start of its life.
    pub not_before: SystemTime,
    /// End of its life.
    pub not_after: SystemTime,
    /// SHA-256 of its public key (SubjectPublicKeyInfo), as `pin-sha256` takes it.
    pub key_sha256: [u8; 32],
    /// Holder and signer are the same.
    pub is_self_signed: bool,
    /// It may sign others: it says so, or is of a version in which none could say so.
    pub is_authority: bool,
}

impl Certificate {
    /// Reads a DER certificate; `None` if it cannot be read.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let certificate = x509_cert::Certificate::from_der(der).ok()?.tbs_certificate;
        let names = certificate
            .get::<SubjectAltName>()
            .ok()
            .flatten()
            .map_or_else(Vec::new, |(_, names)| names.0.iter().filter_map(general_name).collect());
        let key = certificate.subject_public_key_info.to_der().ok()?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &key);
        Some(Self {
            subject: clean(&certificate.subject.to_string()),
            issuer: clean(&certificate.issuer.to_string()),
            names,
            not_before: certificate.validity.not_before.to_system_time(),
            not_after: certificate.validity.not_after.to_system_time(),
            key_sha256: digest.as_ref().try_into().ok()?,
            is_self_signed: certificate.subject == certificate.issuer,
            is_authority: match certificate.get::<BasicConstraints>() {
                Ok(Some((_, constraints))) => constraints.ca,
                Ok(None) => certificate.version != Version::V3,
                Err(_) => false,
            },
        })
    }

    /// The key's SHA-256 in Base64, as `pin-sha256` takes it.
    pub fn pin(&self) -> String {
        encodify::base64::STANDARD.encode(self.key_sha256)
    }
}

fn general_name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(clean(name.as_str())),
        GeneralName::IpAddress(octets) => match octets.as_bytes() {
            bytes if bytes.len() == 4 => <[u8; 4]>::try_from(bytes).ok().map(|b| IpAddr::from(b).to_string()),
            bytes => <[u8; 16]>::try_from(bytes).ok().map(|b| IpAddr::from(b).to_string()),
        },
        _ => None,
    }
}
