//! TLS by rustls: whom to trust, and errors in words.
//!
//! Trust is one of three: pinned keys (then nothing else counts), the authorities of a file, or those of the
//! platform and of Mozilla together.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use tokio_rustls::TlsConnector;

use super::{Certificate, ChannelBinding, Stream};
use crate::mail::{Cause, Stage, Trouble};

/// What a profile says about TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsPolicy {
    /// PEM file with the authorities to trust instead of all others.
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the public keys to trust, whoever signed them and however they are named.
    pub pins: Vec<[u8; 32]>,
    /// PEM files of our own certificate chain and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The oldest version to speak.
    pub min_version: TlsVersion,
    /// Name to ask for and to verify instead of the host's.
    pub server_name: Option<String>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// A handshake's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's registered name.
    pub cipher: String,
    /// The server's certificate.
    pub certificate: Option<Certificate>,
    /// What made it trusted.
    pub trusted_by: &'static str,
    /// What a login can be bound to.
    pub binding: Option<ChannelBinding>,
}

/// Everything a handshake needs, made once per profile.
#[derive(Debug)]
pub struct Tls {
    provider: Arc<CryptoProvider>,
    trust: Arc<Trust>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    policy: TlsPolicy,
}

#[derive(Debug)]
enum Trust {
    Pins(Vec<[u8; 32]>),
    /// Authorities, and server certificates that are trusted as they stand: a self-signed one is rarely allowed to
    /// sign, so no chain leads to it.
    File {
        authorities: Option<Arc<WebPkiServerVerifier>>,
        certificates: Vec<CertificateDer<'static>>,
    },
    /// Mozilla's roots cost 0.02 ms, the platform's some 4 ms: those are read when the first do not suffice.
    Everybody {
        mozilla: Arc<WebPkiServerVerifier>,
        platform: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
    },
}

impl Tls {
    /// Reads the files that the policy names.
    ///
    /// # Errors
    /// [`Cause::Configuration`] if a file cannot be read or does not hold what it should.
    pub fn new(policy: TlsPolicy) -> Result<Self, Trouble> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trust = match &policy.ca_file {
            _ if !policy.pins.is_empty() => Trust::Pins(policy.pins.clone()),
            Some(path) => {
                let certificates = read_certificates("tls.ca-file", path)?;
                let mut roots = RootCertStore::empty();
                for der in &certificates {
                    let invalid = |what: &str| setup(format!("tls.ca-file {}: {what}", path.display()));
                    let certificate = Certificate::from_der(der)
                        .ok_or_else(|| invalid("a block in it is no certificate that can be read"))?;
                    // What is no authority could sign for every host if it were a root.
                    if certificate.is_authority {
                        roots.add(der.clone()).map_err(|error| invalid(&error.to_string()))?;
                    }
                }
                let authorities = if roots.is_empty() { None } else { Some(verifier(roots, &provider)?) };
                Trust::File { authorities, certificates }
            }
            None => {
                let mozilla = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
                Trust::Everybody { mozilla: verifier(mozilla, &provider)?, platform: OnceLock::new() }
            }
        };
        let client = match &policy.client {
            None => None,
            Some((certificate, key)) => {
                let chain = read_certificates("tls.client-cert", certificate)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| setup(format!("tls.client-key {}: {}", key.display(), pem_error(error))))?;
                Some((chain, key))
            }
        };
        Ok(Self { provider, trust: Arc::new(trust), client, policy })
    }

    /// Makes `stream` a TLS stream to `host`.
    ///
    /// # Errors
    /// [`Cause::Untrusted`] with the words for this certificate, [`Cause::Unsupported`] if no handshake is
    /// possible, [`Cause::Lost`] if the connection ends.
    pub async fn secure(&self, stream: Stream, host: &str) -> Result<(Stream, TlsInfo), Trouble> {
        let name = self.policy.server_name.as_deref().unwrap_or(host);
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|_| setup(format!("'{name}' is no host name that a certificate could be for")))?;
        let seen = Arc::new(Mutex::new(None));
        let verifier = Verifier { trust: self.trust.clone(), provider: self.provider.clone(), seen: seen.clone() };
        let config = self.config(verifier)?;
        match TlsConnector::from(Arc::new(config)).connect(server_name, stream).await {
            Ok(stream) => {
                let connection = stream.get_ref().1;
                let info = TlsInfo {
                    version: match connection.protocol_version() {
                        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                        _ => "TLSv1.2",
                    },
                    cipher: connection
                        .negotiated_cipher_suite()
                        .and_then(|suite| suite.suite().as_str())
                        .unwrap_or("unknown")
                        .to_owned(),
                    certificate: connection
                        .peer_certificates()
                        .and_then(|chain| chain.first())
                        .and_then(|certificate| Certificate::from_der(certificate)),
                    trusted_by: self.trust.name(),
                    binding: ChannelBinding::of(connection),
                };
                Ok((Box::new(stream), info))
            }
            Err(error) => {
                let certificate = seen.lock().ok().and_then(|mut seen| seen.take());
                Err(handshake_trouble(&error, name, certificate.and_then(|der: Vec<u8>| Certificate::from_der(&der))))
            }
        }
    }

    fn config(&self, verifier: Verifier) -> Result<ClientConfig, Trouble> {
        let versions: &[&rustls::SupportedProtocolVersion] = match self.policy.min_version {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(versions)
            .map_err(|error| setup(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        match &self.client {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| setup(format!("tls.client-cert and tls.client-key do not fit: {error}"))),
        }
    }
}

impl Trust {
    fn name(&self) -> &'static str {
        match self {
            Trust::Pins(_) => "tls.pin-sha256",
            Trust::File { .. } => "tls.ca-file",
            Trust::Everybody { .. } => "known authorities",
        }
    }
}

fn setup(what: String) -> Trouble {
    Trouble::new(Stage::Tls, Cause::Configuration, what)
}

fn pem_error(error: rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        rustls::pki_types::pem::Error::NoItemsFound => "it holds no such PEM block".to_owned(),
        _ => "it is not valid PEM".to_owned(),
    }
}

fn read_certificates(key: &str, path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    let fail = |error| setup(format!("{key} {}: {}", path.display(), pem_error(error)));
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(fail)?.collect();
    match certificates.map_err(fail)? {
        certificates if certificates.is_empty() => {
            Err(setup(format!("{key} {}: it holds no PEM certificate", path.display())))
        }
        certificates => Ok(certificates),
    }
}

fn verifier(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Trouble> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| setup(error.to_string()))
}

/// Verifies by the profile's trust, and keeps the certificate so that an error can speak of it.
#[derive(Debug)]
struct Verifier {
    trust: Arc<Trust>,
    provider: Arc<CryptoProvider>,
    seen: Arc<Mutex<Option<Vec<u8>>>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Ok(mut seen) = self.seen.lock() {
            *seen = Some(end_entity.to_vec());
        }
        let verify = |verifier: &WebPkiServerVerifier| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        match &*self.trust {
            Trust::Pins(pins) => match Certificate::from_der(end_entity) {
                Some(certificate) if pins.contains(&certificate.key_sha256) => Ok(ServerCertVerified::assertion()),
                _ => Err(CertificateError::ApplicationVerificationFailure.into()),
            },
            Trust::File { certificates, .. } if certificates.iter().any(|known| known == end_entity) => {
                verify_as_it_stands(end_entity, server_name, now)
            }
            Trust::File { authorities: Some(authorities), .. } => verify(authorities),
            Trust::File { authorities: None, .. } => Err(CertificateError::UnknownIssuer.into()),
            Trust::Everybody { mozilla, platform } => match verify(mozilla) {
                // Another root may be the end of another chain, unless the certificate itself is at fault.
                Err(rustls::Error::InvalidCertificate(reason)) if !is_its_own_fault(&reason, end_entity, now) => {
                    match platform.get_or_init(|| platform_verifier(&self.provider)).as_deref().map(verify) {
                        None | Some(Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))) => {
                            Err(reason.into())
                        }
                        Some(verdict) => verdict,
                    }
                }
                verdict => verdict,
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether no authority could make up for it.
fn is_its_own_fault(reason: &CertificateError, end_entity: &CertificateDer<'_>, now: UnixTime) -> bool {
    let is_name = matches!(reason, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. });
    is_name || Certificate::from_der(end_entity).is_none_or(|certificate| check_dates(&certificate, now).is_err())
}

fn check_dates(certificate: &Certificate, now: UnixTime) -> Result<(), CertificateError> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
    if now < certificate.not_before {
        return Err(CertificateError::NotValidYet);
    }
    if now > certificate.not_after {
        return Err(CertificateError::Expired);
    }
    Ok(())
}

/// Verifies name and dates of a certificate that is itself trusted.
fn verify_as_it_stands(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, rustls::Error> {
    check_dates(&Certificate::from_der(certificate).ok_or(CertificateError::BadEncoding)?, now)?;
    verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)?;
    Ok(ServerCertVerified::assertion())
}

/// The platform's own authorities; none where none are installed.
fn platform_verifier(provider: &Arc<CryptoProvider>) -> Option<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    verifier(roots, provider).ok()
}

fn date(time: impl TryInto<Timestamp>) -> String {
    time.try_into().map_or_else(|_| "an unknown date".to_owned(), |time| time.strftime("%F").to_string())
}

fn handshake_trouble(error: &io::Error, host: &str, certificate: Option<Certificate>) -> Trouble {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let certificate = certificate.as_ref();
    match cause {
        Some(rustls::Error::InvalidCertificate(reason)) => untrusted(reason, host, certificate),
        Some(rustls::Error::AlertReceived(alert)) => alert_trouble(*alert),
        Some(rustls::Error::InvalidMessage(_)) => {
            Trouble::new(Stage::Tls, Cause::Unsupported, "the server does not speak TLS on this port")
                .hint("if it offers STARTTLS here, set security = \"starttls\" (-o security=starttls)")
        }
        Some(error) => Trouble::new(Stage::Tls, Cause::Unsupported, format!("TLS is not possible: {error}")),
        None => {
            Trouble::new(Stage::Tls, Cause::Lost, format!("the connection ended during the TLS handshake: {error}"))
        }
    }
}

/// What an error on a TLS stream says of a refusal by the server: with TLS 1.3 that comes after the handshake.
pub fn refusal(error: &io::Error) -> Option<Trouble> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(alert_trouble(*alert)),
        _ => None,
    }
}

fn alert_trouble(alert: AlertDescription) -> Trouble {
    let name = alert.as_str().map_or_else(|| format!("alert {}", u8::from(alert)), str::to_owned);
    match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            Trouble::new(Stage::Tls, Cause::Untrusted, format!("the server does not accept our certificate ({name})"))
                .hint("set tls.client-cert and tls.client-key to a certificate that it knows")
        }
        AlertDescription::ProtocolVersion => Trouble::new(
            Stage::Tls,
            Cause::Unsupported,
            format!("the server speaks no version of TLS that is allowed ({name})"),
        )
        .hint("tls.min-version = \"1.2\" is the lowest there is"),
        _ => Trouble::new(Stage::Tls, Cause::Unsupported, format!("the server broke off the TLS handshake ({name})")),
    }
}

fn untrusted(reason: &CertificateError, host: &str, certificate: Option<&Certificate>) -> Trouble {
    let trouble = |what: String| Trouble::new(Stage::Tls, Cause::Untrusted, what);
    let names = certificate.map_or_else(|| "no name".to_owned(), |certificate| certificate.names.join(", "));
    let pin_hint = certificate.map(|certificate| {
        format!(
            "or trust this key alone, after comparing it with the server's: -o tls.pin-sha256={}",
            certificate.pin()
        )
    });
    let is_in_time = certificate.is_some_and(|certificate| check_dates(certificate, UnixTime::now()).is_ok());
    match reason {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. }
            if is_in_time =>
        {
            let when = match reason {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
                _ => "is not valid yet",
            };
            trouble(format!("an intermediate certificate behind that of {host} {when}"))
                .hint("the server's administrator has to replace it; check this machine's clock, too")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let since = certificate.map_or_else(|| "some time ago".to_owned(), |c| format!("on {}", date(c.not_after)));
            trouble(format!("the certificate of {host} expired {since}"))
                .hint("its administrator has to renew it; check this machine's clock, too")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            let from = certificate.map_or_else(|| "later".to_owned(), |c| date(c.not_before));
            trouble(format!("the certificate of {host} is not valid before {from}"))
                .hint(format!("this machine's clock says {}", date(SystemTime::now())))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            trouble(format!("the certificate is not for {host} but for {names}"))
                .hint("use one of these as host, or tell which one is right: -o tls.server-name=NAME")
        }
        CertificateError::ApplicationVerificationFailure => {
            trouble(format!("the key of {host} is none of tls.pin-sha256"))
                .hint("if the server's key was changed on purpose, pin the new one; otherwise somebody is in between")
        }
        CertificateError::Revoked => trouble(format!("the certificate of {host} was revoked")),
        _ if certificate.is_some_and(|certificate| certificate.is_self_signed) => {
            let trouble = trouble(format!("the certificate of {host} is self-signed"))
                .hint("trust this certificate alone, saved from the server itself: -o tls.ca-file=FILE.pem");
            pin_hint.into_iter().fold(trouble, Trouble::hint)
        }
        CertificateError::UnknownIssuer => {
            let issuer = certificate.map_or_else(|| "an unknown authority".to_owned(), |c| format!("'{}'", c.issuer));
            let trouble =
                trouble(format!("the certificate of {host} is signed by {issuer}, an authority not known here"))
                    .hint("trust that authority: -o tls.ca-file=FILE.pem");
            pin_hint.into_iter().fold(trouble, Trouble::hint)
        }
        other => {
            let what = match other {
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                    "is not meant for servers".to_owned()
                }
                CertificateError::Other(_) if certificate.is_some_and(|certificate| certificate.is_authority) => {
                    "is that of an authority, not of a server".to_owned()
                }
                CertificateError::Other(error) => format!("is not valid: {}", words(&format!("{:?}", error.0))),
                other => format!("is not valid: {}", words(&other.to_string())),
            };
            let trouble = trouble(format!("the certificate of {host} {what}"))
                .hint("trust this certificate alone, saved from the server itself: -o tls.ca-file=FILE.pem");
            pin_hint.into_iter().fold(trouble, Trouble::hint)
        }
    }
}

/// A name out of code as words: "BadSignature" is "bad signature".
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && words.ends_with(|last: char| last.is_ascii_lowercase()) {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsVersion::V1_2 => "1.2",
            TlsVersion::V1_3 => "1.3",
        })
    }
}
