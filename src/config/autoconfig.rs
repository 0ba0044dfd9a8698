//! Which server sends a user's mail, as far as that can be known without asking the user: Mozilla's configuration files
//! and the domains of large providers.

use roxmltree::Document;

use super::{Provider, Security, server::parse_host};
use crate::{mail::Address, net::Endpoint};

/// A server that takes a user's mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Host and port.
    pub endpoint: Endpoint,
    /// What protects the connection; never nothing.
    pub security: Security,
    /// User to log in as.
    pub username: String,
    /// Whether nothing but OAuth will do.
    pub wants_oauth: bool,
}

/// Reads Mozilla's `config-v1.1.xml`: the outgoing servers, in the file's order. Those that would take a password
/// unprotected are left out.
///
/// # Errors
/// If it is no such file.
pub fn read_autoconfig(xml: &str, address: &Address) -> Result<Vec<Candidate>, String> {
    let document = Document::parse(xml).map_err(|error| format!("it is no XML: {error}"))?;
    let root = document.root_element();
    if !root.has_tag_name("clientConfig") {
        return Err("it is no client configuration".to_owned());
    }
    let servers = root.descendants().filter(|node| {
        node.has_tag_name("outgoingServer")
            && node.attribute("type").is_some_and(|kind| kind.eq_ignore_ascii_case("smtp"))
    });
    Ok(servers.filter_map(|server| candidate(&server, address)).collect())
}

fn candidate(server: &roxmltree::Node<'_, '_>, address: &Address) -> Option<Candidate> {
    let texts = |name: &'static str| {
        server.children().filter(move |node| node.has_tag_name(name)).filter_map(|node| Some(node.text()?.trim()))
    };
    let fill = |text: &str| {
        let whole = address.to_string();
        text.replace("%EMAILADDRESS%", &whole)
            .replace("%EMAILLOCALPART%", address.user())
            .replace("%EMAILDOMAIN%", address.domain())
    };
    let security = match texts("socketType").next()?.to_ascii_uppercase().as_str() {
        "SSL" | "TLS" => Security::Tls,
        "STARTTLS" => Security::Starttls,
        _ => return None,
    };
    let host = parse_host(&fill(texts("hostname").next()?)).ok()?;
    let port = texts("port").next()?.parse().ok().filter(|&port| port > 0)?;
    let username = texts("username").next().map_or_else(|| address.to_string(), fill);
    let ways: Vec<&str> = texts("authentication").collect();
    Some(Candidate {
        endpoint: Endpoint { host, port },
        security,
        username: if username.chars().any(char::is_control) { address.to_string() } else { username },
        wants_oauth: !ways.is_empty() && ways.iter().all(|way| way.eq_ignore_ascii_case("OAuth2")),
    })
}

/// The domains of large providers, their server, its port, and what protects it.
const KNOWN: &[(&[&str], &str, u16)] = &[
    (&["gmail.com", "googlemail.com"], "smtp.gmail.com", 465),
    (&["outlook.com", "hotmail.com", "live.com", "msn.com", "outlook.de", "hotmail.de"], "smtp-mail.outlook.com", 587),
    (&["icloud.com", "me.com", "mac.com"], "smtp.mail.me.com", 587),
    (&["yahoo.com", "yahoo.co.uk", "yahoo.de", "yahoo.fr", "ymail.com"], "smtp.mail.yahoo.com", 465),
    (&["aol.com"], "smtp.aol.com", 465),
    (&["gmx.net", "gmx.de", "gmx.at", "gmx.ch"], "mail.gmx.net", 465),
    (&["gmx.com"], "mail.gmx.com", 465),
    (&["web.de"], "smtp.web.de", 587),
    (&["t-online.de"], "securesmtp.t-online.de", 465),
    (&["posteo.de", "posteo.net"], "posteo.de", 465),
    (&["mailbox.org"], "smtp.mailbox.org", 465),
    (&["fastmail.com", "fastmail.fm"], "smtp.fastmail.com", 465),
    (&["zoho.com"], "smtp.zoho.com", 465),
    (&["yandex.ru", "yandex.com"], "smtp.yandex.com", 465),
    (&["mail.ru"], "smtp.mail.ru", 465),
    (&["qq.com"], "smtp.qq.com", 465),
    (&["163.com"], "smtp.163.com", 465),
    (&["126.com"], "smtp.126.com", 465),
];

/// The server of a large provider, by the address's domain.
pub fn known_server(address: &Address) -> Option<Candidate> {
    let domain = address.domain().to_ascii_lowercase();
    let (_, host, port) = KNOWN.iter().find(|(domains, _, _)| domains.contains(&domain.as_str()))?;
    Some(at(host, *port, address))
}

/// The server of a provider that takes a domain's mail, by the name of its exchanger.
pub fn server_behind(exchanger: &str, address: &Address) -> Option<Candidate> {
    let is_below = |domain: &str| exchanger.to_ascii_lowercase().ends_with(&format!(".{domain}"));
    let provider = if ["google.com", "googlemail.com"].into_iter().any(is_below) {
        Provider::Google
    } else if ["mail.protection.outlook.com", "mx.microsoft"].into_iter().any(is_below) {
        Provider::Microsoft
    } else {
        return None;
    };
    let (host, port) = provider.server()?;
    Some(at(host, port, address))
}

/// A server found by its name, with the whole address as user; port 465 is TLS.
pub fn at(host: &str, port: u16, address: &Address) -> Candidate {
    Candidate {
        endpoint: Endpoint { host: host.to_owned(), port },
        security: if port == 465 { Security::Tls } else { Security::Starttls },
        username: address.to_string(),
        wants_oauth: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Mailbox;
    use proptest::prelude::*;

    fn ada() -> Address {
        Mailbox::parse("ada@example.com").unwrap().address
    }

    #[test]
    fn mozilla_s_files_are_read() {
        let xml = r#"<?xml version="1.0"?>
            <clientConfig version="1.1"><emailProvider id="example.com">
              <incomingServer type="imap"><hostname>imap.example.com</hostname></incomingServer>
              <outgoingServer type="smtp">
                <hostname>plain.example.com</hostname><port>25</port><socketType>plain</socketType>
              </outgoingServer>
              <outgoingServer type="smtp">
                <hostname>smtp.%EMAILDOMAIN%</hostname><port>465</port><socketType>SSL</socketType>
                <username>%EMAILLOCALPART%</username><authentication>password-cleartext</authentication>
              </outgoingServer>
              <outgoingServer type="smtp">
                <hostname>other.example.com</hostname><port>587</port><socketType>STARTTLS</socketType>
                <authentication>OAuth2</authentication>
              </outgoingServer>
            </emailProvider></clientConfig>"#;
        let found = read_autoconfig(xml, &ada()).unwrap();
        let expected = [
            Candidate { username: "ada".to_owned(), ..at("smtp.example.com", 465, &ada()) },
            Candidate { wants_oauth: true, ..at("other.example.com", 587, &ada()) },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn other_things_are_no_configuration() {
        assert!(read_autoconfig("<html><body>404</body></html>", &ada()).is_err());
        assert!(read_autoconfig("<html><br>", &ada()).is_err());
        // Entities that grow without end.
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><clientConfig>&b;</clientConfig>";
        assert!(read_autoconfig(bomb, &ada()).is_err());
        let evil = "<clientConfig><outgoingServer type='smtp'><hostname>a b</hostname><port>465</port>\
                    <socketType>SSL</socketType></outgoingServer></clientConfig>";
        assert_eq!(read_autoconfig(evil, &ada()).unwrap(), []);
    }

    #[test]
    fn large_providers_are_known() {
        let server = |address: &str| {
            let found = known_server(&Mailbox::parse(address).unwrap().address)?;
            Some((found.endpoint.to_string(), found.security))
        };
        assert_eq!(server("a@GMAIL.com"), Some(("smtp.gmail.com:465".to_owned(), Security::Tls)));
        assert_eq!(server("a@hotmail.com"), Some(("smtp-mail.outlook.com:587".to_owned(), Security::Starttls)));
        assert_eq!(server("a@example.com"), None);
        let behind = |exchanger: &str| server_behind(exchanger, &ada()).map(|found| found.endpoint.to_string());
        assert_eq!(behind("aspmx.l.google.com").as_deref(), Some("smtp.gmail.com:465"));
        assert_eq!(behind("example-com.mail.protection.outlook.com").as_deref(), Some("smtp.office365.com:587"));
        assert_eq!(behind("evilgoogle.com"), None);
        let mut all: Vec<&str> = KNOWN.iter().flat_map(|(domains, _, _)| domains.iter().copied()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    proptest! {
        #[test]
        fn any_text_is_a_configuration_or_an_error(text in "\\PC{0,200}") {
            let _ = read_autoconfig(&text, &ada());
        }
    }
}
