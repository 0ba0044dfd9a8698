//! Profiles out of the configurations of other programs: msmtp, git send-email, mutt.
//!
//! Texts come in, settings and remarks go out; nothing is read or run here. A password that stands in such a text
//! goes no further than this room: what comes out says only that there is one.

mod git;
mod msmtp;
mod mutt;

use super::{Mechanism, Security};

pub use git::git;
pub use msmtp::msmtp;
pub use mutt::mutt;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order of the text.
    pub profiles: Vec<Draft>,
    /// The one that its program uses when none is named.
    pub default: Option<String>,
    /// What could not be carried over, in the order of the text.
    pub remarks: Vec<Remark>,
}

/// A profile that could be.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// Where it begins: a line from 1, or 0.
    pub line: usize,
    /// Keys and values, as [`super::Edit::add_profile`] takes them.
    pub settings: Vec<(String, String)>,
    /// Whether its password stands in the text.
    pub has_password: bool,
}

/// A setting that has no counterpart here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// Where it stands: a line from 1, or 0.
    pub line: usize,
    /// The setting's name, without its value.
    pub setting: String,
    /// What to do instead.
    pub advice: String,
}

impl Draft {
    fn set(&mut self, key: &str, value: impl Into<String>) {
        self.settings.push((key.to_owned(), value.into()));
    }

    /// The output of a command is the password.
    fn set_command(&mut self, command: &str) {
        self.set("password", format!("{{ command = {} }}", quoted(command)));
    }

    fn set_server(&mut self, host: &str, port: u16, security: Security) {
        self.set("host", host);
        self.set("port", port.to_string());
        self.set("security", security.as_str());
    }

    /// The mechanisms that are known here; `Err` has the others.
    fn set_mechanisms<'a>(&mut self, words: impl Iterator<Item = &'a str>) -> Result<(), Vec<String>> {
        let (known, unknown): (Vec<String>, Vec<String>) = words
            .map(str::to_ascii_uppercase)
            .partition(|word| Mechanism::WORDS.iter().any(|(known, _)| known == word));
        match known.as_slice() {
            [] => {}
            [word] => self.set("auth", word),
            words => self.set("auth", array(words)),
        }
        if unknown.is_empty() { Ok(()) } else { Err(unknown) }
    }

    fn set_from(&mut self, address: &str, name: Option<&str>) {
        match name.filter(|name| !name.is_empty()) {
            Some(name) => {
                let name = name.replace('\\', "\\\\").replace('"', "\\\"");
                self.set("from", format!("\"{name}\" <{address}>"));
            }
            None => self.set("from", address),
        }
    }
}

/// A text in TOML.
fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

/// A list in TOML.
fn array(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
}

/// Whether this file or folder holds what everybody trusts: that needs no saying here.
fn is_system_trust(path: &str) -> bool {
    const FILES: [&str; 8] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/ssl/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
        "/etc/ssl/ca-bundle.pem",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/pki/tls/cert.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/certs",
    ];
    let is_of_a_packager = ["/usr/local/etc/", "/opt/homebrew/etc/", "/opt/local/etc/", "/usr/share/ssl/"];
    FILES.contains(&path.trim_end_matches('/'))
        || (is_of_a_packager.iter().any(|folder| path.starts_with(folder)) && path.ends_with("/cert.pem"))
}

/// What to say of a password that stands in a text.
fn password_advice(profile: &str) -> String {
    format!("a password is not written into a configuration; keep it safe: mailsend login --profile {profile}")
}

fn certificate_check_advice(profile: &str) -> String {
    format!(
        "certificates are always verified; trust the server's key alone with tls.pin-sha256, which \
         'mailsend profile check {profile}' prints, or its certificate with tls.ca-file"
    )
}
