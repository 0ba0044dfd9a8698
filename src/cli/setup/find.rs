//! Finds the submission server of a mail address: known providers, Mozilla's files at the domain, the DNS.

use std::time::Duration;

use crate::{
    config::{
        Environment, Security, WebWay,
        autoconfig::{Candidate, at, known_server, read_autoconfig, server_behind},
    },
    mail::{Address, clean},
    net::{Dns, Endpoint, http},
};

/// How long a web server or a name server may take: most domains have no such web server.
const LIMIT: Duration = Duration::from_secs(10);
/// Such files have some kilobytes; to read a large one that means no good takes minutes.
const MAX_CONFIGURATION: usize = 64 * 1024;
/// Servers that are tried at most.
const MAX_FOUND: usize = 4;

/// A server and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub candidate: Candidate,
    /// In words: `DNS SRV`.
    pub how: String,
    /// Whether a stranger could have led us there: the DNS names a host of another domain.
    pub is_doubtful: bool,
}

/// What was found, best first, and what everybody has said who was asked in vain.
pub(super) async fn find(address: &Address, environment: &Environment) -> (Vec<Found>, Vec<String>) {
    if let Some(candidate) = known_server(address) {
        return (vec![Found { candidate, how: "a known provider".to_owned(), is_doubtful: false }], Vec::new());
    }
    let domain = address.domain();
    let dns = Dns::of_system(LIMIT);
    let at_autoconfig = format!("https://autoconfig.{domain}/mail/config-v1.1.xml?emailaddress={}", encoded(address));
    let at_domain = format!("https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml");
    let (tls, starttls) = (format!("_submissions._tcp.{domain}"), format!("_submission._tcp.{domain}"));
    let (first, second, tls, starttls, exchangers) = tokio::join!(
        configuration(&at_autoconfig, address, environment),
        configuration(&at_domain, address, environment),
        dns.services(&tls),
        dns.services(&starttls),
        dns.mail_exchangers(domain),
    );
    let mut said = Vec::new();
    let mut found = Vec::new();
    for (host, answer) in [(format!("autoconfig.{domain}"), first), (domain.to_owned(), second)] {
        match answer {
            Ok(candidates) => found.extend(candidates.into_iter().map(|candidate| Found {
                candidate,
                how: format!("the configuration at {host}"),
                is_doubtful: false,
            })),
            Err(why) => said.push(format!("configuration at {host}: {why}")),
        }
    }
    for (service, security, answer) in
        [("_submissions", Security::Tls, tls), ("_submission", Security::Starttls, starttls)]
    {
        match answer {
            Ok(endpoints) if endpoints.is_empty() => said.push(format!("DNS SRV {service}: none")),
            Ok(endpoints) => {
                found.extend(endpoints.into_iter().map(|endpoint| by_service(endpoint, security, address)))
            }
            Err(error) => said.push(format!("DNS SRV {service}: {error}")),
        }
    }
    match exchangers {
        Ok(exchangers) => match exchangers.iter().find_map(|exchanger| server_behind(exchanger, address)) {
            // Whoever lies about it sends us to one of two providers, nowhere else.
            Some(candidate) => {
                found.push(Found { candidate, how: "the provider that takes its mail".to_owned(), is_doubtful: false });
            }
            None => said.push("DNS MX: no provider that is known".to_owned()),
        },
        Err(error) => said.push(format!("DNS MX: {error}")),
    }
    let mut seen: Vec<Endpoint> = Vec::new();
    found.retain(|Found { candidate: Candidate { endpoint, .. }, .. }| {
        let is_new = !seen.contains(endpoint);
        seen.push(endpoint.clone());
        is_new
    });
    found.truncate(MAX_FOUND);
    (found, said)
}

/// RFC 6186, 6: who answers for the DNS is not known, so a host of another domain is somebody's word only.
fn by_service(endpoint: Endpoint, security: Security, address: &Address) -> Found {
    let domain = address.domain().to_ascii_lowercase();
    let is_ours = endpoint.host == domain || endpoint.host.ends_with(&format!(".{domain}"));
    Found {
        candidate: Candidate { security, ..at(&endpoint.host, endpoint.port, address) },
        how: "DNS SRV".to_owned(),
        is_doubtful: !is_ours,
    }
}

/// Mozilla's file at an address, if it is there. Never without TLS: who answers would name the server.
async fn configuration(url: &str, address: &Address, environment: &Environment) -> Result<Vec<Candidate>, String> {
    let host = url.split('/').nth(2).unwrap_or_default();
    let passage = WebWay::default().passage_to(host, environment).map_err(|error| error.to_string())?;
    let accept = "text/xml, application/xml";
    let asked = http::Asked { url: url.to_owned(), accept, passage, ..http::Asked::default() };
    let answer = http::ask(&asked, LIMIT).await.map_err(|trouble| trouble.what)?;
    if answer.body.len() > MAX_CONFIGURATION {
        return Err("it is too long for a configuration".to_owned());
    }
    if answer.status != 200 {
        return Err(format!("none (status {})", answer.status));
    }
    let candidates = read_autoconfig(&String::from_utf8_lossy(&answer.body), address).map_err(|why| clean(&why))?;
    if candidates.is_empty() { Err("it names no server that is of use".to_owned()) } else { Ok(candidates) }
}

fn encoded(address: &Address) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'@');
    address
        .to_string()
        .bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Mailbox;

    fn address(text: &str) -> Address {
        Mailbox::parse(text).unwrap().address
    }

    #[test]
    fn a_host_of_another_domain_is_doubtful() {
        let found = |host: &str| {
            let endpoint = Endpoint { host: host.to_owned(), port: 465 };
            by_service(endpoint, Security::Tls, &address("ada@Example.com")).is_doubtful
        };
        assert!(!found("smtp.example.com") && !found("example.com"));
        assert!(found("evilexample.com") && found("example.com.evil.example"));
    }

    #[test]
    fn addresses_in_a_query_are_encoded() {
        assert_eq!(encoded(&address("a+b@example.com")), "a%2Bb@example.com");
        assert_eq!(encoded(&address("\"a&b\"@example.com")), "a%26b@example.com");
    }
}
