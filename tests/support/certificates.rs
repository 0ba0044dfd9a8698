//! Certificates of every kind of wrongness, made anew for each test process.

use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};

/// A chain and its key in PEM.
#[derive(Clone)]
pub struct Identity {
    pub chain: String,
    pub key: String,
}

/// A private authority and what it has signed.
pub struct Authority {
    /// Its certificate in PEM.
    pub ca: String,
    /// For localhost and 127.0.0.1.
    pub good: Identity,
    /// For localhost, until 2000.
    pub expired: Identity,
    /// For localhost, from 2090.
    pub premature: Identity,
    /// For other.example only.
    pub wrong_host: Identity,
    /// For localhost, signed by itself, not allowed to sign others.
    pub self_signed: Identity,
    /// The same as `openssl req -x509` makes it: allowed to sign.
    pub self_signed_ca: Identity,
    /// For localhost, signed with the key of `self_signed`.
    pub signed_by_no_authority: Identity,
    /// For localhost, signed by an authority under ours that has expired.
    pub expired_intermediate: Identity,
    /// An authority's own, for localhost, signed by ours.
    pub of_an_authority: Identity,
    /// For the hosts of example.test, which only exists in networks of the tests' own.
    pub domain: Identity,
    /// For clients.
    pub client: Identity,
}

/// The authority of this test process.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(make)
}

fn params(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let mut params = CertificateParams::new(names).expect("valid names");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn make() -> Authority {
    const LOCAL: [&str; 2] = ["localhost", "127.0.0.1"];
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca_params = params("Test Authority", &[]);
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = ca_params.self_signed(&ca_key).expect("a certificate").pem();
    let issuer = Issuer::new(ca_params, ca_key);
    let signed = |params: CertificateParams| {
        let key = KeyPair::generate().expect("a key");
        let chain = params.signed_by(&key, &issuer).expect("a certificate").pem();
        Identity { chain, key: key.serialize_pem() }
    };
    let self_signed = |params: CertificateParams| {
        let key = KeyPair::generate().expect("a key");
        let chain = params.self_signed(&key).expect("a certificate").pem();
        Identity { chain, key: key.serialize_pem() }
    };
    let mut expired = params("localhost", &LOCAL);
    (expired.not_before, expired.not_after) = (date_time_ymd(1999, 1, 1), date_time_ymd(2000, 1, 2));
    let mut premature = params("localhost", &LOCAL);
    (premature.not_before, premature.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
    let mut own = params("localhost", &LOCAL);
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own_key = KeyPair::generate().expect("a key");
    let leaf = Issuer::new(params("localhost", &LOCAL), &own_key);
    let signed_key = KeyPair::generate().expect("a key");
    let signed_by_leaf = params("Signed", &LOCAL).signed_by(&signed_key, &leaf).expect("a certificate").pem();
    let own_chain = params("localhost", &LOCAL).self_signed(&own_key).expect("a certificate").pem();

    let between_key = KeyPair::generate().expect("a key");
    let mut between = params("Between", &[]);
    between.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (between.not_before, between.not_after) = (date_time_ymd(1999, 1, 1), date_time_ymd(2000, 1, 2));
    let between_pem = between.signed_by(&between_key, &issuer).expect("a certificate").pem();
    let below_key = KeyPair::generate().expect("a key");
    let below = params("localhost", &LOCAL)
        .signed_by(&below_key, &Issuer::new(between, between_key))
        .expect("a certificate")
        .pem();
    let mut client = params("client", &["client.example"]);
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Authority {
        ca,
        good: signed(params("localhost", &LOCAL)),
        expired: signed(expired),
        premature: signed(premature),
        wrong_host: signed(params("other.example", &["other.example"])),
        self_signed: Identity { chain: own_chain, key: own_key.serialize_pem() },
        self_signed_ca: self_signed(own.clone()),
        signed_by_no_authority: Identity { chain: signed_by_leaf, key: signed_key.serialize_pem() },
        expired_intermediate: Identity { chain: below + &between_pem, key: below_key.serialize_pem() },
        of_an_authority: signed(own),
        domain: signed(params("example.test", &["example.test", "*.example.test", "mail.hoster.test"])),
        client: signed(client),
    }
}
