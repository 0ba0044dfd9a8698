//! Git's section sendemail, as `git config --null --get-regexp '^sendemail\.'` prints it (git-send-email(1)).

use std::collections::BTreeMap;

use super::{Draft, Found, Remark, certificate_check_advice, is_system_trust, password_advice};
use crate::config::Security;

/// Settings that say how patches become messages, not how messages leave.
const OF_PATCHES: [&str; 24] = [
    "aliasesfile",
    "aliasfiletype",
    "annotate",
    "assume8bitencoding",
    "bcc",
    "cc",
    "cccmd",
    "chainreplyto",
    "confirm",
    "forbidsendmailvariables",
    "headercmd",
    "mailmap",
    "multiedit",
    "signedoffbycc",
    "signedoffcc",
    "suppresscc",
    "suppressfrom",
    "thread",
    "to",
    "tocmd",
    "transferencoding",
    "validate",
    "xmailer",
    "identity",
];

/// Settings that have no counterpart, with what to do instead.
const WITHOUT_COUNTERPART: [(&str, &str); 7] = [
    ("envelopesender", "name the return path with each message: --envelope-from"),
    ("sendmailcmd", "a program is named with server = \"sendmail:/path/to/program\""),
    ("smtpserveroption", "a program gets no options of its own; wrap it in a script: server = \"sendmail:/path\""),
    ("smtpbatchsize", "one session carries as much as the server takes"),
    ("smtprelogindelay", "one session carries as much as the server takes"),
    ("outlookidfix", "a Message-ID stays what it is"),
    ("imapsentfolder", "copies are not kept: add yourself with --bcc"),
];

/// Name of the profile of the section itself.
const NAME: &str = "git";

type Values = BTreeMap<String, String>;

/// Reads the section: one profile for what stands in it directly, if that names a server, and one for each identity.
pub fn git(listing: &str) -> Found {
    let mut base = Values::new();
    let mut identities: Vec<(String, Values)> = Vec::new();
    for entry in listing.split('\0').filter(|entry| !entry.is_empty()) {
        // A key without a value is true.
        let (key, value) = entry.split_once('\n').unwrap_or((entry, "true"));
        let Some(key) = key.strip_prefix("sendemail.") else { continue };
        let (identity, key) = key.rsplit_once('.').map_or((None, key), |(identity, key)| (Some(identity), key));
        let values = match identity {
            None => &mut base,
            Some(name) => {
                let at = identities.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                    identities.push((name.to_owned(), Values::new()));
                    identities.len() - 1
                });
                &mut identities[at].1
            }
        };
        // The last one holds.
        values.insert(key.to_ascii_lowercase(), value.to_owned());
    }
    let mut found = Found::default();
    let default = base.get("identity").cloned();
    if base.contains_key("smtpserver") || identities.is_empty() && !base.is_empty() {
        draft(NAME, "sendemail", &base, &base, &mut found);
    }
    for (name, own) in &identities {
        let mut values = base.clone();
        values.extend(own.clone());
        let name = if name.chars().any(char::is_control) { continue } else { name };
        draft(name, &format!("sendemail.{name}"), &values, own, &mut found);
    }
    if identities.is_empty() || !base.contains_key("smtpserver") {
        remarks("sendemail", &base, &mut found.remarks);
    }
    found.default = default.or_else(|| found.profiles.first().map(|draft| draft.name.clone()));
    let of_patches: Vec<&str> =
        OF_PATCHES.into_iter().filter(|key| *key != "identity" && base.contains_key(*key)).collect();
    if !of_patches.is_empty() {
        let setting = format!("sendemail.{}", of_patches.join(", sendemail."));
        found.remarks.push(Remark { line: 0, setting, advice: "that is about patches and stays with git".to_owned() });
    }
    found.remarks.sort();
    found.remarks.dedup();
    found
}

/// What has no counterpart among the settings that stand here.
fn remarks(section: &str, own: &Values, remarks: &mut Vec<Remark>) {
    const CARRIED: [&str; 13] = [
        "smtpserver",
        "smtpserverport",
        "smtpuser",
        "smtppass",
        "smtpencryption",
        "smtpssl",
        "smtpauth",
        "smtpsslcertpath",
        "smtpdomain",
        "smtpsslclientcert",
        "smtpsslclientkey",
        "from",
        "smtpsslcert",
    ];
    for key in own.keys().filter(|key| !CARRIED.contains(&key.as_str()) && !OF_PATCHES.contains(&key.as_str())) {
        let advice = WITHOUT_COUNTERPART.iter().find(|(known, _)| known == key).map(|(_, advice)| *advice);
        let advice = advice.unwrap_or("this setting is not known here").to_owned();
        remarks.push(Remark { line: 0, setting: format!("{section}.{key}"), advice });
    }
}

fn draft(name: &str, section: &str, values: &Values, own: &Values, found: &mut Found) {
    remarks(section, own, &mut found.remarks);
    let value = |key: &str| values.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let mut remark = |key: &str, advice: String| {
        let section = if own.contains_key(key) { section } else { "sendemail" };
        found.remarks.push(Remark { line: 0, setting: format!("{section}.{key}"), advice });
    };
    let mut draft = Draft { name: name.to_owned(), ..Draft::default() };
    if let Some(from) = value("from") {
        draft.set("from", from);
    }
    let Some(server) = value("smtpserver") else {
        remark("smtpserver", format!("no server is named, so '{name}' is no profile"));
        return;
    };
    if server.starts_with(['/', '~']) {
        draft.set("server", format!("sendmail:{server}"));
        found.profiles.push(draft);
        return;
    }
    let security = match value("smtpencryption").map(str::to_ascii_lowercase).as_deref() {
        Some("tls") => Security::Starttls,
        Some("ssl") => Security::Tls,
        None if value("smtpssl").is_some_and(|value| matches!(value, "true" | "yes" | "on" | "1")) => Security::Tls,
        _ => Security::None,
    };
    // A name of /etc/services is as good as a number.
    let port = match value("smtpserverport") {
        None if security == Security::Tls => 465,
        None | Some("smtp" | "mail") => 25,
        Some("submission" | "msa") => 587,
        Some("smtps" | "submissions" | "ssmtp" | "urd") => 465,
        Some(port) => match port.parse() {
            Ok(port) => port,
            Err(_) => return remark("smtpserverport", format!("it is no port, so '{name}' is no profile")),
        },
    };
    draft.set_server(server, port, security);
    if let Some(user) = value("smtpuser").filter(|_| value("smtpauth") != Some("none")) {
        draft.set("username", user);
        if let Err(unknown) = draft.set_mechanisms(value("smtpauth").unwrap_or_default().split_whitespace()) {
            remark("smtpauth", format!("{} is not spoken", unknown.join(", ")));
        }
        if security == Security::None {
            let advice = "a password does not go over a connection without TLS: set security = \"starttls\" where the \
                          server offers it, or allow-plaintext-auth = true";
            remark("smtpuser", advice.to_owned());
        }
        if value("smtppass").is_some() {
            draft.has_password = true;
            remark("smtppass", password_advice(name));
        }
    }
    match values.get("smtpsslcertpath").map(String::as_str) {
        Some("") => remark("smtpsslcertpath", certificate_check_advice(name)),
        Some(path) if is_system_trust(path) => {}
        Some(path) if path.ends_with('/') => {
            remark(
                "smtpsslcertpath",
                "a folder cannot be named: put its certificates into one file for tls.ca-file".to_owned(),
            );
        }
        Some(path) => draft.set("tls.ca-file", path),
        None => {}
    }
    if let (Some(certificate), Some(key)) = (value("smtpsslclientcert"), value("smtpsslclientkey")) {
        draft.set("tls.client-cert", certificate);
        draft.set("tls.client-key", key);
    }
    if let Some(domain) = value("smtpdomain") {
        draft.set("ehlo-name", domain);
    }
    found.profiles.push(draft);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listing(entries: &[(&str, &str)]) -> String {
        entries.iter().map(|(key, value)| format!("sendemail.{key}\n{value}\0")).collect()
    }

    #[test]
    fn identities_stand_on_the_section() {
        let found = git(&listing(&[
            ("smtpserver", "mx.example"),
            ("smtpencryption", "tls"),
            ("smtpserverport", "submission"),
            ("smtpuser", "ada"),
            ("from", "Ada <ada@x.example>"),
            ("work.x.smtpserver", "work.example"),
            ("work.x.smtpencryption", "ssl"),
            ("work.x.smtpserverport", ""),
            ("identity", "work.x"),
            ("confirm", "auto"),
            ("smtpbatchsize", "3"),
        ]));
        assert_eq!(found.default.as_deref(), Some("work.x"));
        let names: Vec<&str> = found.profiles.iter().map(|draft| draft.name.as_str()).collect();
        assert_eq!(names, ["git", "work.x"]);
        let find =
            |at: usize, key: &str| found.profiles[at].settings.iter().find(|(k, _)| k == key).unwrap().1.as_str();
        assert_eq!((find(0, "port"), find(0, "security")), ("587", "starttls"));
        assert_eq!((find(1, "host"), find(1, "port"), find(1, "security")), ("work.example", "465", "tls"));
        assert_eq!(find(1, "username"), "ada");
        let settings: Vec<&str> = found.remarks.iter().map(|remark| remark.setting.as_str()).collect();
        assert_eq!(settings, ["sendemail.confirm", "sendemail.smtpbatchsize"]);
    }

    #[test]
    fn a_password_goes_no_further() {
        let found = git(&listing(&[("smtpserver", "mx.example"), ("smtpuser", "a"), ("smtppass", "kanarienvogel")]));
        assert!(found.profiles[0].has_password);
        assert!(!format!("{found:?}").contains("kanarienvogel"), "{found:?}");
        let local = git(&listing(&[("smtpserver", "/usr/bin/msmtp")]));
        assert_eq!(local.profiles[0].settings, [("server".to_owned(), "sendmail:/usr/bin/msmtp".to_owned())]);
        assert_eq!(git("").profiles, []);
    }

    proptest! {
        #[test]
        fn any_listing_is_read(entries in prop::collection::vec(
            "sendemail\\.([a-z\\.]{0,3}\\.)?(smtpserver|smtpserverport|smtpuser|from|smtpauth|identity)(\n.{0,6})?", 0..12,
        ), text in "(?s).{0,100}") {
            let _ = git(&entries.join("\0"));
            let _ = git(&text);
        }
    }
}
