//! Changing a configuration file: comments, order and everything else in it stay as they are.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use toml_edit::{DocumentMut, Item, RawString, Table, TableLike, Value};

use super::{ConfigError, ConfigFile, Origin, keys::find};

/// Who changes the file asks nobody anything meanwhile.
const LOCK_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at the lock.
const PAUSE: Duration = Duration::from_millis(10);

/// A file being changed; [`Edit::save`] puts it in place at once or not at all. While it lives, other processes that
/// open theirs wait: ask nobody anything meanwhile.
#[derive(Debug, Clone)]
pub struct Edit {
    path: PathBuf,
    document: DocumentMut,
    _lock: Option<Arc<File>>,
}

impl Edit {
    /// An empty file that is not there yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), document: DocumentMut::new(), _lock: None }
    }

    /// Opens the file at `path`; one that does not exist is empty. Waits for others that change it.
    ///
    /// # Errors
    /// If it cannot be read, is no valid configuration, or somebody keeps it for 10 s.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let lock = lock(path)?.map(Arc::new);
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
        Ok(Self { path: path.to_owned(), document, _lock: lock })
    }

    /// Whether there is a profile of this name.
    pub fn has_profile(&self, name: &str) -> bool {
        self.document.get("profiles").and_then(|profiles| profiles.get(name)).is_some()
    }

    /// Adds a profile with these keys, or replaces the one of this name; a key with a dot goes into its sub-table.
    /// Relative paths start from `folder`.
    pub fn add_profile(&mut self, name: &str, settings: &[(String, String)], folder: &Path) {
        let mut table = Table::new();
        for (key, text) in settings {
            let value = value_of(key, text, folder);
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

    /// The text as it will be.
    pub fn text(&self) -> String {
        self.document.to_string()
    }

    /// Sets these keys of a profile, which is made if it is not there; everything else in it stays. Relative paths start
    /// from `folder`.
    pub fn set_keys(&mut self, name: &str, settings: &[(String, String)], folder: &Path) {
        let profiles = self.document.entry("profiles").or_insert_with(|| {
            let mut profiles = Table::new();
            profiles.set_implicit(true);
            Item::Table(profiles)
        });
        let profile = profiles.as_table_like_mut().map(|profiles| {
            let profile = profiles.entry(name);
            profile.or_insert_with(|| Item::Table(Table::new()))
        });
        // A file that was read has tables here.
        let Some(profile) = profile.and_then(Item::as_table_like_mut) else { return };
        for (key, text) in settings {
            let value = value_of(key, text, folder);
            match key.split_once('.') {
                None => set_value(profile, key, value),
                Some((group, key)) => {
                    let group = profile.entry(group).or_insert_with(|| Item::Table(Table::new()));
                    if let Some(group) = group.as_table_like_mut() {
                        set_value(group, key, value);
                    }
                }
            }
        }
    }

    /// The file as it will be.
    ///
    /// # Errors
    /// If it is no valid configuration.
    pub fn file(&self) -> Result<ConfigFile, ConfigError> {
        ConfigFile::parse(&self.path, &self.document.to_string())
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

/// Locks the folder of a file, since the file itself is replaced; where that is not possible there is no lock.
///
/// # Errors
/// If somebody else does not let go of it.
fn lock(path: &Path) -> Result<Option<File>, ConfigError> {
    let at = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = at.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(folder) = fs::create_dir_all(folder).and_then(|()| File::open(folder)).ok() else { return Ok(None) };
    let start = Instant::now();
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(Some(folder)),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_LIMIT => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                let error = io::Error::new(io::ErrorKind::TimedOut, "another process is changing it, or its folder");
                return Err(ConfigError::File { path: path.to_owned(), error });
            }
        }
    }
}

/// Sets a key; the comment behind an old value stays.
fn set_value(table: &mut dyn TableLike, key: &str, mut value: Value) {
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *value.decor_mut() = old.decor().clone();
    }
    table.insert(key, Item::Value(value));
}

/// The table whose header stands first in the file.
fn first_table(root: &mut Table) -> Option<&mut Table> {
    let tables = root.iter_mut().filter_map(|(_, item)| item.as_table_mut());
    let shown = tables.filter_map(|table| if table.is_implicit() { first_table(table) } else { Some(table) });
    shown.min_by_key(|table| table.position())
}

/// Lists and tables as such, numbers and booleans where the key wants them, everything else as a text.
pub(super) fn value_of(key: &str, text: &str, folder: &Path) -> Value {
    let wanted = find(key).map_or("", |known| known.wanted);
    match (text.parse::<Value>(), wanted) {
        (Ok(Value::InlineTable(mut table)), _) => {
            // A password's file.
            for name in ["file", "netrc"] {
                if let Some(path) = table.get_mut(name)
                    && let Some(text) = path.as_str().map(str::to_owned)
                {
                    *path = absolute(&text, folder).into();
                }
            }
            Value::InlineTable(table)
        }
        (Ok(value @ Value::Array(_)), _) => value,
        (Ok(value @ (Value::Integer(_) | Value::Float(_))), "number") => value,
        (Ok(value @ Value::Boolean(_)), "true or false") => value,
        (_, "path") => absolute(text, folder).into(),
        (_, "URL") => match text.strip_prefix("maildir:") {
            Some(path) => format!("maildir:{}", absolute(path, folder)).into(),
            None => text.into(),
        },
        _ => text.into(),
    }
}

/// A path of the command line starts from where that was typed, one in the file from the file's folder.
fn absolute(path: &str, folder: &Path) -> String {
    if path.starts_with("~/") {
        return path.to_owned();
    }
    let joined = folder.join(path);
    let absolute = std::path::absolute(&joined).unwrap_or(joined);
    // Other paths cannot stand in TOML.
    absolute.to_str().map_or_else(|| path.to_owned(), str::to_owned)
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
        let settings = [("host", "mx.example"), ("port", "587"), ("username", "0123"), ("tls.ca-file", "ca.pem")];
        edit.add_profile("work", &strings(&settings), Path::new("/home/ada"));
        edit.set_default_profile("work");
        edit.save().unwrap();
        drop(edit);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("# mine\n{text}\n# the end\n")).unwrap();

        let mut edit = Edit::open(&path).unwrap();
        let settings = [("server", "maildir:./x"), ("password", "{ file = \"p\" }"), ("tls.client-key", "~/k.pem")];
        edit.add_profile("home", &strings(&settings), Path::new("/home/ada"));
        edit.save().unwrap();
        drop(edit);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# mine\ndefault-profile = \"work\"\n"), "{text}");
        assert!(text.contains("# the end"), "{text}");
        assert!(text.contains("[profiles.work]\nhost = \"mx.example\"\nport = 587\nusername = \"0123\"\n"), "{text}");
        assert!(text.contains("[profiles.work.tls]\nca-file = \"/home/ada/ca.pem\"\n"), "{text}");
        let home = "[profiles.home]\nserver = \"maildir:/home/ada/x\"\npassword = { file = \"/home/ada/p\" }\n";
        assert!(text.contains(home), "{text}");
        assert!(text.contains("client-key = \"~/k.pem\""), "{text}");
        ConfigFile::parse(&path, &text).unwrap();

        let mut edit = Edit::open(&path).unwrap();
        assert!(edit.remove_profile("work"));
        assert!(edit.document.to_string().starts_with("# mine\n"), "{}", edit.document);
        assert!(!edit.has_profile("work") && edit.has_profile("home"));
        assert_eq!(edit.default_profile(), None);
    }

    #[test]
    fn keys_are_set_in_any_kind_of_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let settings = strings(&[
            ("oauth.provider", "microsoft"),
            ("oauth.client-id", "0123"),
            ("oauth.client-secret", "{ file = \"s\" }"),
            ("auth", "XOAUTH2"),
        ]);
        for before in [
            "# top\n[profiles.x] # here\nhost = \"mx.example\" # h\n\n# sub\n[profiles.x.oauth]\nclient-id = \"old\" # id\n# end\n",
            "[profiles]\nx = { host = \"mx.example\" } # here\n",
            "[profiles.x] # here\nhost = \"mx.example\" # h\noauth.client-id = \"old\" # id\n",
            "[profiles.x] # here\noauth = { client-id = \"old\" }\nhost = \"mx.example\" # h\n",
            "[profiles.y]\nhost = \"y.example\" # here\n",
            "",
        ] {
            fs::write(&path, before).unwrap();
            let mut edit = Edit::open(&path).unwrap();
            edit.set_keys("x", &settings, Path::new("/home/ada"));
            edit.save().unwrap();
            let after = fs::read_to_string(&path).unwrap();
            for comment in ["# top", "# here", "# sub", "# h\n", "# id", "# end"] {
                assert!(!before.contains(comment) || after.contains(comment), "{comment}: {after}");
            }
            assert!(!after.contains("old"), "{after}");
            let table: toml::Table = after.parse().unwrap();
            let oauth = &table["profiles"]["x"]["oauth"];
            assert_eq!(oauth["provider"].as_str(), Some("microsoft"), "{after}");
            assert_eq!(oauth["client-id"].as_str(), Some("0123"));
            assert_eq!(oauth["client-secret"]["file"].as_str(), Some("/home/ada/s"));
            assert_eq!(table["profiles"]["x"]["auth"].as_str(), Some("XOAUTH2"));
            edit.file().unwrap();
        }
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
        drop(edit);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&path).unwrap().contains("default-profile"));
    }
}
