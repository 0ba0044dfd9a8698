//! The environment, as one layer of settings.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    path::PathBuf,
};

/// The environment variables, taken once. Tests make their own.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The process's own; a variable whose name is not UTF-8 is nobody's.
    pub fn of_process() -> Self {
        Self(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect())
    }

    /// Nothing but these variables.
    pub fn only(&self, names: &[&str]) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(name, _)| names.contains(&name.as_str()))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        )
    }

    /// Everything but these variables.
    pub fn without(&self, names: &[&str]) -> Self {
        let mut rest = self.0.clone();
        rest.retain(|name, _| !names.contains(&name.as_str()));
        Self(rest)
    }

    /// The same with this value for a variable that is not set, or empty.
    #[must_use]
    pub fn or(mut self, name: &str, value: &str) -> Self {
        if self.value(name).is_none() {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    /// A variable that is set, not empty and UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.value(name)?.to_str()
    }

    /// A variable that is set and not empty, whatever it holds.
    pub fn value(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The same as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }

    /// Where this program keeps its own state: `$XDG_STATE_HOME/mailsend`, `~/.local/state/mailsend`.
    pub fn state_folder(&self) -> Option<PathBuf> {
        let folder = self
            .path("XDG_STATE_HOME")
            .filter(|folder| folder.is_absolute())
            .or_else(|| Some(self.path("HOME")?.join(".local/state")))?;
        Some(folder.join("mailsend"))
    }

    /// `ALL_PROXY`, unless `NO_PROXY` names the host: both as curl reads them, in small letters, too.
    pub fn proxy_for(&self, host: &str) -> Option<(&'static str, &str)> {
        let either = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, self.get(name)?)));
        let is_spared = |name: &str| {
            let name = name.trim().trim_start_matches('.');
            name == "*"
                || host.eq_ignore_ascii_case(name)
                || (!name.is_empty() && host.to_ascii_lowercase().ends_with(&format!(".{}", name.to_ascii_lowercase())))
        };
        if either(["NO_PROXY", "no_proxy"]).is_some_and(|(_, names)| names.split(',').any(is_spared)) {
            return None;
        }
        either(["ALL_PROXY", "all_proxy"])
    }
}

impl fmt::Debug for Environment {
    /// Names only: some values are passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_of_the_environment() {
        let environment = Environment::from([
            ("all_proxy", "socks5://proxy.example"),
            ("NO_PROXY", "localhost, .example.com,mx.example"),
        ]);
        assert_eq!(environment.proxy_for("other.example"), Some(("all_proxy", "socks5://proxy.example")));
        for host in ["localhost", "a.b.EXAMPLE.com", "example.com", "MX.example"] {
            assert_eq!(environment.proxy_for(host), None, "{host}");
        }
        assert!(environment.proxy_for("notexample.com").is_some());
        assert_eq!(Environment::default().proxy_for("x"), None);
    }

    #[test]
    fn what_is_set_stays() {
        let environment = Environment::from([("EMAIL", "a@x.example"), ("REPLYTO", "")]);
        let environment = environment.or("EMAIL", "b@x.example").or("REPLYTO", "c@x.example").or("X", "y");
        assert_eq!(
            ["EMAIL", "REPLYTO", "X"].map(|name| environment.get(name)),
            [Some("a@x.example"), Some("c@x.example"), Some("y")]
        );
    }

    #[test]
    fn state_has_its_place() {
        let folder = |variables: [(&str, &str); 2]| Environment::from(variables).state_folder();
        assert_eq!(folder([("HOME", "/h"), ("XDG_STATE_HOME", "")]), Some("/h/.local/state/mailsend".into()));
        assert_eq!(folder([("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), Some("/s/mailsend".into()));
    }
}
