//! Which mechanisms are tried: those that profile, server and connection allow, best first.

use super::scram::Binding;
use crate::{
    config::{Auth, Mechanism, Profile},
    mail::{Cause, Stage, Trouble},
    net::TlsInfo,
};

/// CRAM-MD5 hides nothing that TLS does not, and has servers keep passwords in the clear: only who names it gets it.
const OVER_TLS: [Mechanism; 6] = [
    Mechanism::ScramSha256Plus,
    Mechanism::ScramSha256,
    Mechanism::ScramSha1Plus,
    Mechanism::ScramSha1,
    Mechanism::Plain,
    Mechanism::Login,
];
const IN_THE_CLEAR: [Mechanism; 5] =
    [Mechanism::ScramSha256, Mechanism::ScramSha1, Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login];
const WITH_TOKEN: [Mechanism; 2] = [Mechanism::OAuthBearer, Mechanism::XOAuth2];

/// Mechanisms to try, best first; never none.
///
/// # Errors
/// [`Cause::Configuration`] if the profile lacks what its mechanisms need, [`Cause::Unsupported`] if the server offers
/// none that may be used.
pub fn candidates(profile: &Profile, offered: &[String], tls: Option<&TlsInfo>) -> Result<Vec<Mechanism>, Trouble> {
    let unsupported = |what: String| Trouble::new(Stage::Auth, Cause::Unsupported, what);
    let wanted = wanted(profile, tls.is_some())?;
    let is_offered = |mechanism: &Mechanism| offered.iter().any(|name| name == mechanism.as_str());
    let shared: Vec<Mechanism> = wanted.iter().copied().filter(is_offered).collect();
    let is_shown = |mechanism: &Mechanism| tls.is_none() && !profile.allow_plaintext_auth && mechanism.shows_secret();
    let has_binding = tls.is_some_and(|tls| tls.binding.is_some());
    let usable: Vec<Mechanism> = shared
        .iter()
        .copied()
        .filter(|mechanism| !is_shown(mechanism) && (has_binding || !mechanism.is_bound()))
        .collect();
    if !usable.is_empty() {
        return Ok(usable);
    }
    if offered.is_empty() {
        let trouble = unsupported("the server offers no login".to_owned());
        let trouble = if tls.is_none() {
            trouble.hint("it may offer one over TLS: -o security=starttls, or -o security=tls")
        } else {
            trouble
        };
        return Err(trouble.hint("if it wants none, leave the user out: -o username= or a URL without USER@"));
    }
    if shared.iter().any(is_shown) {
        return Err(unsupported("the connection is not protected, so no password is sent over it".to_owned())
            .hint("use TLS: -o security=starttls, or -o security=tls")
            .hint("if everybody in between may read it: -o allow-plaintext-auth=true"));
    }
    if !shared.is_empty() {
        let names = names(&shared);
        return Err(unsupported(format!("{names}: this connection has no TLS that the login could be bound to"))
            .hint("without binding: -o auth=SCRAM-SHA-256 or -o auth=SCRAM-SHA-1"));
    }
    let trouble = unsupported(format!("no login mechanism fits: the server offers {}", offered.join(", ")));
    Err(match &profile.auth {
        Auth::List(list) => trouble.hint(format!("auth allows {} only: -o auth=auto", names(list))),
        Auth::Auto => would_help(trouble, profile, is_offered),
    })
}

/// What profile and connection want, whatever the server offers.
fn wanted(profile: &Profile, is_tls: bool) -> Result<Vec<Mechanism>, Trouble> {
    let lacking = |what: String| Trouble::new(Stage::Auth, Cause::Configuration, what);
    let has_token = profile.oauth.is_some();
    let list = match &profile.auth {
        Auth::Auto if has_token => return Ok(WITH_TOKEN.to_vec()),
        Auth::Auto if is_tls => return Ok(OVER_TLS.to_vec()),
        Auth::Auto => return Ok(IN_THE_CLEAR.to_vec()),
        Auth::List(list) => list,
    };
    let left = |fits: &dyn Fn(&Mechanism) -> bool, from: &[Mechanism]| -> Vec<Mechanism> {
        from.iter().copied().filter(fits).collect()
    };
    let list = match has_token {
        false => list.clone(),
        true => match left(&|mechanism| mechanism.takes_token(), list) {
            none if none.is_empty() => {
                return Err(lacking(format!("the profile has access tokens, and none of {} takes one", names(list)))
                    .hint("-o auth=auto, or name those that do: -o auth=OAUTHBEARER,XOAUTH2"));
            }
            tokens => tokens,
        },
    };
    let has_certificate = is_tls && profile.tls.client.is_some();
    let provable = left(&|mechanism| has_certificate || *mechanism != Mechanism::External, &list);
    let usable = left(&|mechanism| profile.username.is_some() || !mechanism.takes_secret(), &provable);
    match () {
        () if !usable.is_empty() => Ok(usable),
        () if !provable.is_empty() => {
            Err(lacking(format!("{} needs a user name", names(&provable))).hint("name the user: --user USER"))
        }
        () if is_tls => Err(lacking("EXTERNAL needs a certificate of yours".to_owned())
            .hint("-o tls.client-cert=CERT.pem -o tls.client-key=KEY.pem")),
        () => Err(lacking("EXTERNAL needs TLS, in which your certificate is shown".to_owned())
            .hint("-o security=starttls, or -o security=tls")),
    }
}

/// Hints at what is offered and was not asked for.
fn would_help(trouble: Trouble, profile: &Profile, is_offered: impl Fn(&Mechanism) -> bool) -> Trouble {
    if profile.oauth.is_some() {
        return trouble.hint("it takes no access token: leave oauth out, and store a password: mailsend login");
    }
    let others = [Mechanism::CramMd5, Mechanism::External, Mechanism::Anonymous];
    let others: Vec<Mechanism> = others.into_iter().filter(&is_offered).collect();
    let takes_token = WITH_TOKEN.iter().any(is_offered);
    let trouble = match takes_token {
        true => trouble
            .hint(format!("it takes access tokens: {}", super::refusal::oauth_command(profile, None)))
            .hint("if the password is an access token: -o auth=OAUTHBEARER,XOAUTH2"),
        false => trouble,
    };
    match others.is_empty() {
        false => trouble.hint(format!("if that is what you want: -o auth={}", names(&others).replace(", ", ","))),
        true if takes_token => trouble,
        true => trouble.hint("known are the SCRAMs, CRAM-MD5, PLAIN, LOGIN, XOAUTH2, OAUTHBEARER, EXTERNAL, ANONYMOUS"),
    }
}

/// What is said of channel binding with this mechanism.
pub fn binding_for<'a>(
    mechanism: Mechanism,
    profile: &Profile,
    offered: &[String],
    tls: Option<&'a TlsInfo>,
) -> Binding<'a> {
    let bound = match mechanism {
        Mechanism::ScramSha256 => Mechanism::ScramSha256Plus,
        Mechanism::ScramSha1 => Mechanism::ScramSha1Plus,
        mechanism => mechanism,
    };
    let is_wanted = match &profile.auth {
        Auth::Auto => true,
        Auth::List(list) => list.contains(&bound),
    };
    let is_offered = offered.iter().any(|name| name == bound.as_str());
    match tls.and_then(|tls| tls.binding.as_ref()) {
        Some(binding) if mechanism.is_bound() => Binding::To(binding),
        // A server that does offer it would take this for the work of somebody in between.
        Some(_) if is_wanted && !is_offered => Binding::NotOffered,
        _ => Binding::None,
    }
}

fn names(mechanisms: &[Mechanism]) -> String {
    mechanisms.iter().map(|mechanism| mechanism.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{
        Mechanism::{
            Anonymous, CramMd5, External, Login, OAuthBearer, Plain, ScramSha1, ScramSha1Plus, ScramSha256,
            ScramSha256Plus, XOAuth2,
        },
        *,
    };
    use crate::{config::OAuth, net::ChannelBinding};

    fn tls() -> TlsInfo {
        TlsInfo {
            version: "TLSv1.3",
            cipher: String::new(),
            certificate: None,
            trusted_by: "nobody",
            binding: Some(ChannelBinding { name: "tls-exporter", data: vec![1] }),
        }
    }

    fn profile(auth: Auth) -> Profile {
        Profile { username: Some("ada".to_owned()), auth, ..Profile::default() }
    }

    fn offers(names: &str) -> Vec<String> {
        names.split_ascii_whitespace().map(str::to_owned).collect()
    }

    const ALL: &str = "LOGIN PLAIN XOAUTH2 OAUTHBEARER CRAM-MD5 ANONYMOUS EXTERNAL SCRAM-SHA-1 SCRAM-SHA-256 \
                       SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS DIGEST-MD5";

    #[test]
    fn what_is_tried() {
        let try_ = |profile: &Profile, names: &str, tls: Option<&TlsInfo>| candidates(profile, &offers(names), tls);
        let mut auto = profile(Auth::Auto);
        let tls = tls();
        let over_tls = [ScramSha256Plus, ScramSha256, ScramSha1Plus, ScramSha1, Plain, Login];
        assert_eq!(try_(&auto, ALL, Some(&tls)).unwrap(), over_tls);
        let unbound = TlsInfo { binding: None, ..tls.clone() };
        assert_eq!(try_(&auto, ALL, Some(&unbound)).unwrap(), [ScramSha256, ScramSha1, Plain, Login]);
        assert_eq!(try_(&auto, ALL, None).unwrap(), [ScramSha256, ScramSha1, CramMd5]);
        assert_eq!(try_(&auto, "LOGIN", Some(&tls)).unwrap(), [Login]);
        auto.allow_plaintext_auth = true;
        assert_eq!(try_(&auto, ALL, None).unwrap(), [ScramSha256, ScramSha1, CramMd5, Plain, Login]);
        auto.oauth = Some(OAuth::Command("true".to_owned()));
        assert_eq!(try_(&auto, ALL, Some(&tls)).unwrap(), [OAuthBearer, XOAuth2]);
        auto.allow_plaintext_auth = false;
        assert!(try_(&auto, ALL, None).unwrap_err().what.contains("not protected"));

        let listed = profile(Auth::List(vec![XOAuth2, CramMd5]));
        assert_eq!(try_(&listed, ALL, Some(&tls)).unwrap(), [XOAuth2, CramMd5]);
        assert_eq!(try_(&listed, ALL, None).unwrap(), [CramMd5]);
        let tokens = Profile { oauth: auto.oauth.clone(), ..listed };
        assert_eq!(try_(&tokens, ALL, Some(&tls)).unwrap(), [XOAuth2]);
    }

    #[test]
    fn who_needs_no_secret() {
        let tls = tls();
        let mut profile = profile(Auth::List(vec![External, Plain]));
        assert_eq!(candidates(&profile, &offers(ALL), Some(&tls)).unwrap(), [Plain]);
        profile.tls.client = Some(("c".into(), "k".into()));
        assert_eq!(candidates(&profile, &offers(ALL), Some(&tls)).unwrap(), [External, Plain]);
        profile.username = None;
        assert_eq!(candidates(&profile, &offers(ALL), Some(&tls)).unwrap(), [External]);
        profile.auth = Auth::List(vec![Anonymous]);
        assert_eq!(candidates(&profile, &offers(ALL), None).unwrap(), [Anonymous]);
        assert!(profile.wants_login() && !profile.auth.always_takes_secret());
    }

    #[test]
    fn what_cannot_be_is_told() {
        let tls = tls();
        let list = |list: &[Mechanism]| profile(Auth::List(list.to_vec()));
        let told = |profile: &Profile, names: &str, tls: Option<&TlsInfo>| {
            let trouble = candidates(profile, &offers(names), tls).unwrap_err();
            (trouble.cause, format!("{trouble}; {}", trouble.hints.join("; ")))
        };
        let auto = profile(Auth::Auto);
        let token = Profile { oauth: Some(OAuth::Command("true".to_owned())), ..list(&[Plain, Login]) };
        let nobody = Profile { username: None, ..list(&[Anonymous]) };
        let nobody = Profile { auth: Auth::List(vec![External, Plain]), ..nobody };
        for (told, cause, words) in [
            (told(&auto, "", Some(&tls)), Cause::Unsupported, "offers no login; if it wants none"),
            (told(&auto, "", None), Cause::Unsupported, "over TLS: -o security=starttls"),
            (told(&auto, "PLAIN", None), Cause::Unsupported, "is not protected"),
            (told(&auto, "XOAUTH2", Some(&tls)), Cause::Unsupported, "it takes access tokens: mailsend login"),
            (told(&auto, "CRAM-MD5 ANONYMOUS", Some(&tls)), Cause::Unsupported, "-o auth=CRAM-MD5,ANONYMOUS"),
            (told(&auto, "GSSAPI NTLM", Some(&tls)), Cause::Unsupported, "the server offers GSSAPI, NTLM; known are"),
            (told(&list(&[CramMd5]), "PLAIN", Some(&tls)), Cause::Unsupported, "auth allows CRAM-MD5 only"),
            (
                told(&list(&[ScramSha1Plus]), ALL, None),
                Cause::Unsupported,
                "SCRAM-SHA-1-PLUS: this connection has no TLS",
            ),
            (told(&token, ALL, Some(&tls)), Cause::Configuration, "none of PLAIN, LOGIN takes one"),
            (told(&list(&[External]), ALL, Some(&tls)), Cause::Configuration, "-o tls.client-cert="),
            (told(&list(&[External]), ALL, None), Cause::Configuration, "EXTERNAL needs TLS"),
            (told(&nobody, ALL, Some(&tls)), Cause::Configuration, "PLAIN needs a user name"),
        ] {
            assert_eq!(told.0, cause, "{}", told.1);
            assert!(told.1.contains(words), "'{words}' is not in '{}'", told.1);
        }
    }

    #[test]
    fn what_is_said_of_binding() {
        let tls = tls();
        let binding = tls.binding.as_ref().unwrap();
        let auto = profile(Auth::Auto);
        let plain_only = profile(Auth::List(vec![ScramSha256]));
        let said = |mechanism, profile: &Profile, names: &str| {
            let offered = offers(names);
            match binding_for(mechanism, profile, &offered, Some(&tls)) {
                Binding::To(to) => {
                    assert_eq!(to, binding);
                    'p'
                }
                Binding::NotOffered => 'y',
                Binding::None => 'n',
            }
        };
        assert_eq!(said(ScramSha256Plus, &auto, ALL), 'p');
        assert_eq!(said(ScramSha256, &auto, "SCRAM-SHA-256"), 'y');
        assert_eq!(said(ScramSha1, &auto, "SCRAM-SHA-1"), 'y');
        assert_eq!(said(ScramSha256, &auto, ALL), 'n');
        assert_eq!(said(ScramSha256, &plain_only, "SCRAM-SHA-256"), 'n');
        assert_eq!(binding_for(ScramSha256, &auto, &offers("SCRAM-SHA-256"), None), Binding::None);
    }
}
