//! What a call says about its way, so that it can be said again later, by another process in another folder.

use std::path::Path;

use super::{Origin, Profile, edit::value_of};

/// What flags and environment say about the way, beside the profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    /// The URL of the server.
    pub server: Option<String>,
    /// Keys with their values, as behind `-o`; paths are whole.
    pub settings: Vec<(String, String)>,
}

/// Keys that have had their effect once the message is there.
const OF_THE_MESSAGE: [&str; 4] = ["from", "envelope-from", "reply-to", "match"];
/// Tables that have nothing to do with it.
const OF_NO_WAY: [&str; 3] = ["queue.", "sendmail.", "log."];

impl Call {
    /// What was said to get this profile. Relative paths start from `folder`.
    pub fn of(profile: &Profile, folder: &Path) -> Self {
        let mut call = Self::default();
        for setting in &profile.settings {
            let is_url = match &setting.origin {
                Origin::Flag(flag) => flag == "--server",
                Origin::Environment(_) => true,
                Origin::File(..) | Origin::Default => continue,
            };
            if OF_THE_MESSAGE.contains(&setting.key) || OF_NO_WAY.iter().any(|table| setting.key.starts_with(table)) {
                continue;
            }
            let text = pinned(setting.key, &as_typed(&setting.value), folder);
            match setting.key {
                "server" if is_url => call.server = Some(text),
                key => call.settings.push((key.to_owned(), text)),
            }
        }
        call
    }

    /// Sets a key instead of what was said before. Relative paths start from `folder`.
    pub fn set(&mut self, key: &str, value: &str, folder: &Path) {
        self.settings.retain(|(known, _)| known != key);
        self.settings.push((key.to_owned(), pinned(key, value, folder)));
    }
}

/// The text behind `-o KEY=` of which this value in TOML was made.
fn as_typed(value: &str) -> String {
    match value.parse::<toml_edit::Value>() {
        Ok(toml_edit::Value::String(text)) => text.into_value(),
        _ => value.to_owned(),
    }
}

/// The same value with whole paths.
fn pinned(key: &str, value: &str, folder: &Path) -> String {
    match value_of(key, value, folder) {
        toml_edit::Value::String(text) => text.into_value(),
        value => value.to_string().trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Files, Request, SecretSource, Server, resolve};

    fn resolved(server: Option<&str>, settings: &[(&str, &str)], environment: &Environment) -> Profile {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned(), format!("-o {key}"));
        let settings = settings.iter().map(own).collect();
        let request = Request { server: server.map(str::to_owned), settings, ..Request::default() };
        resolve(&request, &Files::default(), environment).unwrap()
    }

    /// What is said again means the same.
    #[test]
    fn from_another_folder_it_means_the_same() {
        let environment = Environment::from([
            ("MAILSEND_SERVER", "smtps://ada@mx.example"),
            ("MAILSEND_POOL_PIPELINE_DEPTH", "3"),
            ("EMAIL", "ada@example.com"),
            ("MAILSEND_QUEUE_KEEP", "1d"),
        ]);
        let settings = [
            ("tls.ca-file", "ca.pem"),
            ("tls.pin-sha256", "[\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]"),
            ("password", "{ file = \"p\" }"),
            ("timeouts.connect", "5s"),
            ("auth", "PLAIN, LOGIN"),
            ("ehlo-name", "[127.0.0.1]"),
        ];
        let profile = resolved(None, &settings, &environment);
        let mut call = Call::of(&profile, Path::new("/home/ada"));
        assert_eq!(call.server.as_deref(), Some("smtps://ada@mx.example"));
        assert_eq!(call.settings.len(), 7, "{call:?}");
        let settings: Vec<(&str, &str)> = call.settings.iter().map(|(key, value)| (&**key, &**value)).collect();
        let again = resolved(call.server.as_deref(), &settings, &Environment::default());
        assert_eq!(again.server, profile.server);
        assert_eq!(again.tls.pins, profile.tls.pins);
        assert_eq!(again.tls.ca_file, Some("/home/ada/ca.pem".into()));
        assert_eq!(again.password, Some(SecretSource::File("/home/ada/p".into())));
        assert_eq!((&again.auth, again.timeouts), (&profile.auth, profile.timeouts));
        assert_eq!((again.ehlo_name, again.pool.pipeline_depth), (profile.ehlo_name, 3));
        call.set("password", "{ command = \"pass 'x \\\"y\\\"'\" }", Path::new("/"));
        assert_eq!(call.settings.len(), 7);
        assert_eq!(call.settings[6].1, "{ command = \"pass 'x \\\"y\\\"'\" }");
    }

    #[test]
    fn a_folder_is_named_whole() {
        for (server, wanted) in [("maildir:out", "/home/ada/out"), ("maildir:/abs", "/abs")] {
            let profile = resolved(Some(server), &[], &Environment::default());
            let call = Call::of(&profile, Path::new("/home/ada"));
            let again = resolved(call.server.as_deref(), &[], &Environment::default());
            assert_eq!(again.server, Some(Server::Maildir { path: wanted.into() }));
        }
    }
}
