//! Channel bindings: what only the two ends of one TLS connection know alike, so that a login cannot be carried on to
//! another connection (RFC 5056).

use x509_cert::der::Decode;

/// A channel binding of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelBinding {
    /// Its registered name: `tls-exporter`, `tls-server-end-point`.
    pub name: &'static str,
    /// What both ends know.
    pub data: Vec<u8>,
}

impl ChannelBinding {
    /// The binding of a connection: the exporter with TLS 1.3 (RFC 9266), the server's certificate with TLS 1.2, where
    /// an exporter is only worth something with an extension that cannot be seen from here (RFC 9266, 4.2). `None` if
    /// the connection has none.
    pub(super) fn of(connection: &rustls::ClientConnection) -> Option<Self> {
        if connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) {
            let data = connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok()?;
            return Some(Self { name: "tls-exporter", data: data.to_vec() });
        }
        let data = end_point(connection.peer_certificates()?.first()?)?;
        Some(Self { name: "tls-server-end-point", data })
    }
}

/// The hash of a certificate by the hash of its signature, but never by MD5 or SHA-1 (RFC 5929, 4.1). It is undefined
/// for signatures that name none in their algorithm, such as Ed25519.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = x509_cert::Certificate::from_der(certificate).ok()?.signature_algorithm.oid.to_string();
    let hash = match algorithm.as_str() {
        // RSA with MD5, SHA-1, SHA-256 (RFC 8017, A.2.4); ECDSA with SHA-1, SHA-256 (RFC 5758, 3.2).
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => &ring::digest::SHA256,
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => &ring::digest::SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &ring::digest::SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &ring::digest::SHA512,
        _ => return None,
    };
    Some(ring::digest::digest(hash, certificate).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_hashed_as_it_is_signed() {
        for (algorithm, length) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            let certificate = certificate.self_signed(&key).unwrap();
            assert_eq!(end_point(certificate.der()).map(|hash| hash.len()), length, "{algorithm:?}");
        }
        assert_eq!(end_point(b"no certificate"), None);
    }
}
