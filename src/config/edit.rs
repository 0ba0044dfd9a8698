//! Changing a configuration file: comments, order and everything else in it stay as they are.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use toml_edit::{DocumentMut, Item, RawString, Table, Value};

use super::{ConfigError, ConfigFile, Origin};

/// A file being changed; [`Edit::save`] puts it in place at once or not at all.
#[derive(Debug)]
pub struct Edit {
    path: PathBuf,
    document: DocumentMut,
}

impl Edit {
    /// Opens the file at `path`; one that does not exist is empty.
    ///
    /// # Errors
    /// If it cannot be read, or is no valid configuration.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(ConfigError::File { path: path.to_owned(), error }),
        };
        ConfigFile::parse(path, &text)?;
        let document = text.parse::<DocumentMut>().map_err(|error| ConfigError::Value {
            origin: Origin::File(path.to_owned(), 1),
            what: error.message().to_owned(),
            hint: None,
        })?;
        Ok(Self { path: path.to_owned(), document })
    }

    /// Whether there is a profile of this name.
    pub fn has_profile(&self, name: &str) -> bool {
        self.document.get("profiles").and_then(|profiles| profiles.get(name)).is_some()
    }

    /// Adds a profile with these keys; a key with a dot goes into its sub-table, a value is TOML or else text.
    pub fn add_profile(&mut self, name: &str, settings: &[(String, String)]) {
        let mut table = Table::new();
        for (key, value) in settings {
            let value = value_of(value);
            match key.split_once('.') {
                None => drop(table.insert(key, Item::Value(value))),
                Some((group, key)) => {
                    let group = table.entry(group).or_insert_with(|| Item::Table(Table::new()));
                    group[key] = Item::Value(value);
                }
            }
        }
        let profiles = self.document.entry("profiles").or_insert_with(|| {
            let mut profiles = Table::new();
            profiles.set_implicit(true);
            Item::Table(profiles)
        });
        profiles[name] = Item::Table(table);
    }

    /// Removes a profile, and the default if it is this one; tells whether it was.
    pub fn remove_profile(&mut self, name: &str) -> bool {
        if let Some(profiles) = self.document.get_mut("profiles").and_then(Item::as_table_like_mut) {
            profiles.remove(name);
        }
        let was_default = self.default_profile() == Some(name);
        if was_default {
            self.remove_default_profile();
        }
        was_default
    }

    /// Comments at the top of a file stand before its first key: they stay when that goes.
    fn remove_default_profile(&mut self) {
        let key = self.document.key("default-profile");
        let comments = key.and_then(|key| key.leaf_decor().prefix()?.as_str().map(str::to_owned)).unwrap_or_default();
        self.document.remove("default-profile");
        if comments.trim().is_empty() {
            return;
        }
        let with = |below: Option<&RawString>| comments.clone() + below.and_then(RawString::as_str).unwrap_or_default();
        let is_value = |(_, item): &(_, &mut Item)| item.is_value();
        if let Some((mut key, _)) = self.document.iter_mut().find(is_value) {
            let decor = key.leaf_decor_mut();
            let prefix = with(decor.prefix());
            decor.set_prefix(prefix);
        } else if let Some(table) = first_table(self.document.as_table_mut()) {
            let prefix = with(table.decor().prefix());
            table.decor_mut().set_prefix(prefix);
        } else {
            let trailing = with(Some(self.document.trailing()));
            self.document.set_trailing(trailing);
        }
    }

    /// The profile that is used when none is named.
    pub fn default_profile(&self) -> Option<&str> {
        self.document.get("default-profile")?.as_str()
    }

    /// Sets the profile that is used when none is named.
    pub fn set_default_profile(&mut self, name: &str) {
        self.document["default-profile"] = toml_edit::value(name);
    }

    /// Writes the file: a new one is readable by its owner only, an old one keeps its mode. A reader sees the old
    /// text or the new one, never a part.
    ///
    /// # Errors
    /// If a folder or the file cannot be written.
    pub fn save(&self) -> Result<(), ConfigError> {
        let fail = |error| ConfigError::File { path: self.path.clone(), error };
        // A link, as dotfile collections use, stays a link.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(fail)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
        file.write_all(self.document.to_string().as_bytes()).map_err(fail)?;
        if let Ok(metadata) = fs::metadata(&path) {
            file.as_file().set_permissions(metadata.permissions()).map_err(fail)?;
        }
        file.as_file().sync_all().map_err(fail)?;
        file.persist(&path).map_err(|error| fail(error.error))?;
        Ok(())
    }
}

/// The table whose header stands first in the file.
fn first_table(root: &mut Table) -> Option<&mut Table> {
    let tables = root.iter_mut().filter_map(|(_, item)| item.as_table_mut());
    let shown = tables.filter_map(|table| if table.is_implicit() { first_table(table) } else { Some(table) });
    shown.min_by_key(|table| table.position())
}

/// Numbers, booleans, lists and tables as such, everything else as a text.
fn value_of(text: &str) -> Value {
    match text.parse::<Value>() {
        Ok(value @ (Value::Integer(_) | Value::Boolean(_) | Value::Array(_) | Value::InlineTable(_))) => value,
        _ => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(settings: &[(&str, &str)]) -> Vec<(String, String)> {
        settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn comments_and_order_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/config.toml");
        let mut edit = Edit::open(&path).unwrap();
        edit.add_profile("work", &strings(&[("host", "mx.example"), ("port", "587"), ("tls.ca-file", "ca.pem")]));
        edit.set_default_profile("work");
        edit.save().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("# mine\n{text}\n# the end\n")).unwrap();

        let mut edit = Edit::open(&path).unwrap();
        edit.add_profile("home", &strings(&[("server", "maildir:x"), ("password", "{ env = \"X\" }")]));
        edit.save().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# mine\ndefault-profile = \"work\"\n"), "{text}");
        assert!(text.contains("# the end"), "{text}");
        assert!(text.contains("[profiles.work]\nhost = \"mx.example\"\nport = 587\n"), "{text}");
        assert!(text.contains("[profiles.work.tls]\nca-file = \"ca.pem\"\n"), "{text}");
        assert!(text.contains("[profiles.home]\nserver = \"maildir:x\"\npassword = { env = \"X\" }\n"), "{text}");
        ConfigFile::parse(&path, &text).unwrap();

        let mut edit = Edit::open(&path).unwrap();
        assert!(edit.remove_profile("work"));
        assert!(edit.document.to_string().starts_with("# mine\n"), "{}", edit.document);
        assert!(!edit.has_profile("work") && edit.has_profile("home"));
        assert_eq!(edit.default_profile(), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_private_and_a_link_stays_a_link() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        Edit::open(&path).unwrap().save().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let link = folder.path().join("link.toml");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut edit = Edit::open(&link).unwrap();
        edit.set_default_profile("x");
        edit.save().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&path).unwrap().contains("default-profile"));
    }
}
