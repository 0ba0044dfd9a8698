//! What a refused login means, and what would help.

use super::Complaint;
use crate::{
    config::{Mechanism, OAuth, Profile, Provider, Security, Server},
    mail::{Cause, Reply, Stage, Trouble},
};

/// Authentication required, mechanism too weak, credentials invalid (RFC 4954, 6); Microsoft says 550 to who has
/// logged in with a password where a token is wanted.
pub fn wants_login(reply: &Reply) -> bool {
    matches!(reply.code, 530 | 534 | 535) || is_enhanced(reply, 550, "5.7.30")
}

/// The server wants a login, or another one, where it was asked for something else; `hint` is of [`login_hint`].
pub fn login_wanted(stage: Stage, reply: Reply, hint: Option<&str>) -> Trouble {
    let wants_tls = reply.code == 530 && reply.text().to_ascii_uppercase().contains("STARTTLS");
    if wants_tls {
        return Trouble::new(stage, Cause::Unsupported, "the server wants TLS first")
            .reply(reply)
            .hint("set security = \"starttls\" (-o security=starttls)");
    }
    let trouble = |what: &str| Trouble::new(stage, Cause::Login, what).reply(reply.clone());
    match hint {
        Some(hint) if reply.code == 550 => trouble("the server does not take this login").hint(hint),
        _ => trouble("the server wants a login")
            .hint("name the user: username = \"…\" in the profile, --user, or smtp://USER@HOST"),
    }
}

/// A login was refused for good.
pub fn login_refused(profile: &Profile, mechanism: Mechanism, reply: Reply, complaint: &Complaint) -> Trouble {
    if reply.code == 530 {
        return login_wanted(Stage::Auth, reply, None);
    }
    let what = if mechanism.takes_token() { "the token was refused" } else { "the login was refused" };
    let what = complaint.words.as_ref().map_or_else(|| what.to_owned(), |words| format!("{what} ({words})"));
    let provider = provider_of(profile, &reply);
    let trouble = Trouble::new(Stage::Auth, Cause::Login, what).reply(reply);
    let login = login_command(profile);
    match (mechanism, &profile.oauth, provider) {
        (Mechanism::External, ..) => trouble.hint("check tls.client-cert: the server has to know it, and whose it is"),
        (Mechanism::Anonymous, ..) => trouble.hint("this server wants to know who you are: -o auth=auto --user USER"),
        (_, Some(OAuth::Command(_)), _) => trouble.hint("check what the command of oauth.command prints"),
        (_, Some(OAuth::Client(client)), _) if client.flow.needs_login() => {
            trouble.hint(format!("consent anew: {login}"))
        }
        (_, Some(OAuth::Client(_)), _) => {
            trouble.hint("check that the client may send as this user: an administrator has to consent to that")
        }
        (mechanism, None, _) if mechanism.takes_token() => {
            trouble.hint("the password has to be an access token of this user that has not expired")
        }
        (_, None, Some(Provider::Google)) => trouble
            .hint(format!("log in by OAuth: {}", oauth_command(profile, provider)))
            .hint(format!("or store an app password of https://myaccount.google.com/apppasswords: {login}")),
        (_, None, Some(_)) => trouble
            .hint(format!("log in by OAuth: {}", oauth_command(profile, provider)))
            .hint(format!("if this account may still use passwords, store the right one: {login}")),
        (mechanism, None, None) => {
            let trouble = trouble.hint(format!("check the user, and store the right password: {login}"));
            let trouble = match mechanism {
                Mechanism::Plain | Mechanism::Login => trouble,
                // Stored as a hash of another kind, it serves no challenge.
                _ => trouble.hint(format!(
                    "if it is right, the server may keep it in a form that {} cannot use: -o auth=PLAIN",
                    mechanism.as_str()
                )),
            };
            trouble.hint(
                "providers with two-factor login want an app password here, or an access token (auth = \"XOAUTH2\")",
            )
        }
    }
}

/// What would help with a server that takes no password from this profile.
pub fn login_hint(profile: &Profile) -> Option<String> {
    let provider = host_of(profile).and_then(Provider::of_host).unwrap_or(Provider::Microsoft);
    (profile.oauth.is_none()).then(|| format!("log in by OAuth: {}", oauth_command(profile, Some(provider))))
}

/// Whose refusal this is; a company's own name may stand for Microsoft's server.
fn provider_of(profile: &Profile, reply: &Reply) -> Option<Provider> {
    let says_so = is_enhanced(reply, 535, "5.7.139") || is_enhanced(reply, 550, "5.7.30");
    let is_app_password = reply.code == 534 && reply.text().to_lowercase().contains("application-specific password");
    match host_of(profile).and_then(Provider::of_host) {
        Some(provider) => Some(provider),
        None if says_so => Some(Provider::Microsoft),
        None if is_app_password => Some(Provider::Google),
        None => None,
    }
}

fn is_enhanced(reply: &Reply, code: u16, enhanced: &str) -> bool {
    reply.code == code && reply.enhanced().is_some_and(|status| status.to_string() == enhanced)
}

fn host_of(profile: &Profile) -> Option<&str> {
    match &profile.server {
        Some(Server::Network { endpoint, .. }) => Some(&endpoint.host),
        _ => None,
    }
}

/// What to type to store a password or to consent.
fn login_command(profile: &Profile) -> String {
    let place = match (&profile.name, &profile.server) {
        (Some(name), _) => format!("--profile {name}"),
        (None, Some(Server::Network { endpoint, security, .. })) => {
            let scheme = if *security == Security::Tls { "smtps" } else { "smtp" };
            let user = profile.username.as_deref().unwrap_or("USER");
            format!("--server {scheme}://{user}@{endpoint}")
        }
        _ => "--server smtps://USER@HOST".to_owned(),
    };
    format!("mailsend login {place}")
}

/// What to type to log in with tokens.
pub fn oauth_command(profile: &Profile, provider: Option<Provider>) -> String {
    let provider = provider.or_else(|| host_of(profile).and_then(Provider::of_host));
    format!("{} --oauth {} --client-id ID", login_command(profile), provider.map_or("PROVIDER", Provider::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Endpoint;

    fn profile(host: &str, name: Option<&str>) -> Profile {
        let endpoint = Endpoint { host: host.to_owned(), port: 587 };
        Profile {
            name: name.map(str::to_owned),
            username: Some("ada@example.com".to_owned()),
            server: Some(Server::Network { is_lmtp: false, endpoint, socket: None, security: Security::Starttls }),
            ..Profile::default()
        }
    }

    fn reply(code: u16, text: &str) -> Reply {
        Reply { code, lines: vec![text.to_owned()] }
    }

    #[test]
    fn hints_name_the_command() {
        let refused = |host: &str, name, mechanism, code, text: &str| {
            let trouble = login_refused(&profile(host, name), mechanism, reply(code, text), &Complaint::default());
            assert_eq!(trouble.cause, Cause::Login);
            trouble.hints.join("; ")
        };
        let plain = Mechanism::Plain;
        for (hints, words) in [
            (
                refused("smtp.office365.com", Some("work"), plain, 535, "5.7.139 basic authentication is disabled"),
                "mailsend login --profile work --oauth microsoft --client-id ID",
            ),
            (
                refused("mail.example.com", None, plain, 550, "5.7.30 Basic authentication is not supported"),
                "mailsend login --server smtp://ada@example.com@mail.example.com:587 --oauth microsoft --client-id ID",
            ),
            (
                refused("smtp.gmail.com", Some("home"), plain, 534, "5.7.9 Application-specific password required."),
                "mailsend login --profile home --oauth google --client-id ID",
            ),
            (refused("mx.example", Some("x"), plain, 534, "5.7.9 Application-specific password required"), "google"),
            (
                refused("smtp.gmail.com", Some("home"), plain, 535, "5.7.8 no"),
                "https://myaccount.google.com/apppasswords",
            ),
            (
                refused("mx.example", Some("x"), plain, 535, "5.7.8 no"),
                "store the right password: mailsend login --profile x;",
            ),
            (
                refused("mx.example", None, Mechanism::ScramSha256, 535, "5.7.8 no"),
                "SCRAM-SHA-256 cannot use: -o auth=PLAIN",
            ),
            (refused("mx.example", None, Mechanism::External, 535, "no"), "tls.client-cert"),
            (refused("smtp.gmail.com", None, Mechanism::XOAuth2, 535, "no"), "has not expired"),
        ] {
            assert!(hints.contains(words), "'{words}' is not in '{hints}'");
        }
        let generic = refused("mx.example", Some("x"), plain, 535, "5.7.8 no");
        assert!(!generic.contains("--oauth"), "{generic}");
    }

    #[test]
    fn what_is_about_the_login() {
        for (code, text, is_about_login) in [
            (530, "x", true),
            (534, "x", true),
            (535, "x", true),
            (550, "5.7.30 Basic authentication is not supported", true),
            (550, "5.7.1 no", false),
            (550, "5.7.300 no", false),
            (538, "x", false),
        ] {
            assert_eq!(wants_login(&reply(code, text)), is_about_login, "{code} {text}");
        }
        let hint = login_hint(&profile("smtp.gmail.com", Some("x")));
        assert_eq!(hint.as_deref(), Some("log in by OAuth: mailsend login --profile x --oauth google --client-id ID"));
        let off = login_wanted(Stage::Mail, reply(550, "5.7.30 no"), hint.as_deref());
        assert_eq!((off.what.as_str(), off.hints), ("the server does not take this login", vec![hint.unwrap()]));
        let first = login_wanted(Stage::Mail, reply(530, "5.7.0 x"), Some("x"));
        assert!(first.hints[0].starts_with("name the user"));
    }
}
