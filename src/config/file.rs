//! Reading configuration files: which ones, and their tables with file and line of every key.

use std::{
    collections::BTreeMap,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    ConfigError, Environment, KEYS, Key, Origin, SHARED_KEYS,
    keys::{all, patterns},
    nearest,
    pattern::Pattern,
    template::TemplateTable,
    value::{Input, Raw},
};

pub(super) const SYSTEM_FILE: &str = "/etc/mailsend/config.toml";
/// Lists of addresses are shorter.
const MAX_LIST: u64 = 64 << 20;
const TOP_KEYS: [&str; 8] =
    ["default-profile", "secrets", "queue", "sendmail", "log", "defaults", "profiles", "templates"];

/// One file, its keys known and in place, their values not yet looked at.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    /// Where it lies.
    pub path: PathBuf,
    pub(super) default_profile: Option<(String, Origin)>,
    /// The tables of [`SHARED_KEYS`].
    pub(super) shared: Vec<Assignment>,
    pub(super) defaults: Vec<Assignment>,
    pub(super) profiles: BTreeMap<String, ProfileTable>,
    pub(super) templates: BTreeMap<String, TemplateTable>,
}

/// `[profiles.NAME]`.
#[derive(Debug, Clone)]
pub(super) struct ProfileTable {
    pub origin: Origin,
    pub inherits: Option<(String, Origin)>,
    /// `match`, which no heir inherits.
    pub senders: Vec<Pattern>,
    pub assignments: Vec<Assignment>,
}

/// A key with the value it is given somewhere.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    pub key: &'static Key,
    pub raw: Raw,
    pub origin: Origin,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The files that hold together: the user's, and the system's behind it.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The user's file, or the one named by flag or environment; the one that is edited.
    pub user: Option<ConfigFile>,
    /// The system's file; not read if a file was named.
    pub system: Option<ConfigFile>,
    /// Where they are, or would be.
    pub places: Vec<PathBuf>,
}

impl Files {
    /// Reads the file that `named` names (flag, or `MAILSEND_CONFIG`), else the user's and the system's.
    ///
    /// # Errors
    /// If a file cannot be read or is not what it should be; only a file that nobody named may be missing.
    pub fn load(named: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        if let Some(path) = named.map(Path::to_owned).or_else(|| environment.path("MAILSEND_CONFIG")) {
            let text = read(&path).map_err(|error| ConfigError::File { path: path.clone(), error })?;
            return Ok(Self { user: Some(ConfigFile::parse(&path, &text)?), system: None, places: vec![path] });
        }
        let user_path = Self::user_path(None, environment);
        let user = match &user_path {
            Some(path) => read_if_there(path)?,
            None => None,
        };
        let places = user_path.into_iter().chain([SYSTEM_FILE.into()]).collect();
        Ok(Self { user, system: read_if_there(Path::new(SYSTEM_FILE))?, places })
    }

    /// Where the user's file is, or would be.
    pub fn user_path(named: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
        named.map(Path::to_owned).or_else(|| environment.path("MAILSEND_CONFIG")).or_else(|| {
            let folder = environment
                .path("XDG_CONFIG_HOME")
                .filter(|folder| folder.is_absolute())
                .or_else(|| Some(environment.path("HOME")?.join(".config")))?;
            Some(folder.join("mailsend/config.toml"))
        })
    }

    pub(super) fn both(&self) -> impl Iterator<Item = &ConfigFile> {
        self.user.iter().chain(&self.system)
    }

    /// The profile of this name: the user's replaces the system's whole.
    pub(super) fn profile(&self, name: &str) -> Option<&ProfileTable> {
        self.both().find_map(|file| file.profiles.get(name))
    }
}

/// Reads a file; whoever can write it decides which commands run.
fn read(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    check_writers(path, &file.metadata()?, "which commands run")?;
    let mut text = String::new();
    io::Read::read_to_string(&mut file, &mut text)?;
    Ok(text)
}

/// Refuses a file that everybody can write, as it `says` what not everybody decides.
fn check_writers(path: &Path, metadata: &fs::Metadata, says: &str) -> io::Result<()> {
    #[cfg(unix)]
    if metadata.is_file() && std::os::unix::fs::MetadataExt::mode(metadata) & 0o002 != 0 {
        let what = format!("everybody can write it, and it says {says}: chmod o-w {}", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    let _ = (path, metadata, says);
    Ok(())
}

/// Reads a list of addresses of another program: a regular file that not everybody can write. What is not UTF-8 in it
/// becomes U+FFFD; `/dev/null` is an empty list.
pub(super) fn read_list(path: &Path) -> io::Result<String> {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    // A pipe that nobody writes to must not be waited for.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if path == Path::new("/dev/null") {
        return Ok(String::new());
    }
    if !metadata.is_file() || metadata.len() > MAX_LIST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file with a list of addresses"));
    }
    check_writers(path, &metadata, "who gets mail")?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // Many users have a group of their own, with their number.
        if metadata.mode() & 0o020 != 0 && metadata.gid() != metadata.uid() {
            let what = format!("a group can write it, and it says who gets mail: chmod g-w {}", path.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
    }
    let mut octets = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MAX_LIST), &mut octets)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

fn read_if_there(path: &Path) -> Result<Option<ConfigFile>, ConfigError> {
    match read(path) {
        Ok(text) => ConfigFile::parse(path, &text).map(Some),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(ConfigError::File { path: path.to_owned(), error }),
    }
}

impl ConfigFile {
    /// Parses the text of the file at `path`.
    ///
    /// # Errors
    /// With file and line: bad TOML, an unknown key (and the nearest known one), a table where a value belongs.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let reader = Reader { path, text };
        let table = reader.table()?;
        let mut file = Self {
            path: path.to_owned(),
            default_profile: None,
            shared: Vec::new(),
            defaults: Vec::new(),
            profiles: BTreeMap::new(),
            templates: BTreeMap::new(),
        };
        for (name, value) in table.get_ref() {
            match (name.get_ref().as_ref(), value.get_ref()) {
                ("default-profile", DeValue::String(profile)) => {
                    file.default_profile = Some((profile.to_string(), reader.origin(&name.span())));
                }
                ("default-profile", _) => {
                    return Err(reader.error(&name.span(), "default-profile: the name of a profile is wanted", None));
                }
                ("defaults", DeValue::Table(table)) => file.defaults = reader.assignments("defaults", table)?,
                ("profiles", DeValue::Table(profiles)) => {
                    for (name, value) in profiles {
                        let profile = reader.profile(name, value)?;
                        file.profiles.insert(name.get_ref().to_string(), profile);
                    }
                }
                ("templates", DeValue::Table(templates)) => {
                    for (name, value) in templates {
                        let template = TemplateTable::of_config(&reader, name, value)?;
                        file.templates.insert(name.get_ref().to_string(), template);
                    }
                }
                ("templates", _) => {
                    return Err(reader.error(&name.span(), "'templates' is a table: [templates.NAME]", None));
                }
                ("defaults" | "profiles", _) => {
                    let what = format!("'{}' is a table: [{0}] or [{0}.NAME]", name.get_ref());
                    return Err(reader.error(&name.span(), what, None));
                }
                (word, value) => match (SHARED_KEYS.iter().find(|(table, _)| *table == word), value) {
                    (Some((table, keys)), DeValue::Table(value)) => {
                        reader.collect(table, &format!("{table}."), value, keys, &mut file.shared)?;
                    }
                    (Some((table, _)), _) => {
                        return Err(reader.error(&name.span(), format!("'{table}' is a table: [{table}]"), None));
                    }
                    (None, _) => return Err(reader.unknown(word, &name.span(), None)),
                },
            }
        }
        Ok(file)
    }
}

/// The text of a file, and how errors name places in it.
pub(super) struct Reader<'a> {
    pub path: &'a Path,
    pub text: &'a str,
}

impl<'a> Reader<'a> {
    pub fn table(&self) -> Result<Spanned<DeTable<'a>>, ConfigError> {
        DeTable::parse(self.text).map_err(|error| {
            let line = error.span().map_or(1, |span| self.line(&span));
            self.error_at(line, error.message().lines().next().unwrap_or("it is not valid TOML"), None)
        })
    }

    fn line(&self, span: &Range<usize>) -> usize {
        1 + self.text.as_bytes().iter().take(span.start).filter(|&&byte| byte == b'\n').count()
    }

    pub fn origin(&self, span: &Range<usize>) -> Origin {
        Origin::File(self.path.to_owned(), self.line(span))
    }

    pub fn error(&self, span: &Range<usize>, what: impl Into<String>, hint: Option<String>) -> ConfigError {
        self.error_at(self.line(span), what, hint)
    }

    fn error_at(&self, line: usize, what: impl Into<String>, hint: Option<String>) -> ConfigError {
        ConfigError::Value { origin: Origin::File(self.path.to_owned(), line), what: what.into(), hint }
    }

    fn profile(
        &self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<ProfileTable, ConfigError> {
        let DeValue::Table(table) = value.get_ref() else {
            let what = format!("profiles.{0} is a table: [profiles.{0}]", name.get_ref());
            return Err(self.error(&name.span(), what, None));
        };
        let inherits = match table.iter().find(|(key, _)| key.get_ref() == "inherits") {
            None => None,
            Some((key, value)) => match value.get_ref() {
                DeValue::String(parent) => Some((parent.to_string(), self.origin(&key.span()))),
                _ => return Err(self.error(&key.span(), "inherits: the name of a profile is wanted", None)),
            },
        };
        let assignments = self.assignments(&format!("profiles.{}", name.get_ref()), table)?;
        let matching = assignments.iter().find(|assignment| assignment.key.name == "match");
        let senders = match matching {
            None => Vec::new(),
            Some(Assignment { key, raw, origin }) => {
                patterns(&Input { raw, folder: None, home: None }).map_err(|what| ConfigError::Value {
                    origin: origin.clone(),
                    what: format!("{}: {what}", key.name),
                    hint: None,
                })?
            }
        };
        Ok(ProfileTable { origin: self.origin(&name.span()), inherits, senders, assignments })
    }

    /// The keys of a profile's table, those of its sub-tables included.
    fn assignments(&self, place: &str, table: &DeTable<'_>) -> Result<Vec<Assignment>, ConfigError> {
        let mut assignments = Vec::new();
        self.collect(place, "", table, KEYS, &mut assignments)?;
        Ok(assignments)
    }

    fn collect(
        &self,
        place: &str,
        prefix: &str,
        table: &DeTable<'_>,
        keys: &'static [Key],
        assignments: &mut Vec<Assignment>,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            let path = format!("{prefix}{}", name.get_ref());
            if path == "inherits" && place != "defaults" {
                continue;
            }
            if path == "match" && place == "defaults" {
                return Err(self.error(&name.span(), "match belongs to one profile: [profiles.NAME]", None));
            }
            if let Some(key) = keys.iter().find(|key| key.name == path) {
                let raw = Raw::from_toml(value.get_ref()).ok_or_else(|| {
                    self.error(&value.span(), format!("{path}: a date or a huge number has no meaning here"), None)
                })?;
                assignments.push(Assignment { key, raw, origin: self.origin(&name.span()) });
                continue;
            }
            let is_group = prefix.is_empty() && keys.iter().any(|key| key.name.starts_with(&format!("{path}.")));
            match value.get_ref() {
                DeValue::Table(inner) if is_group => {
                    self.collect(&format!("{place}.{path}"), &format!("{path}."), inner, keys, assignments)?;
                }
                _ if is_group => {
                    let what = format!("'{path}' is a table: [{place}.{path}]");
                    return Err(self.error(&name.span(), what, None));
                }
                _ => return Err(self.unknown(&path, &name.span(), Some(place))),
            }
        }
        Ok(())
    }

    /// An unknown key; `place` is the table it stands in, `None` at the top of the file.
    fn unknown(&self, path: &str, span: &Range<usize>, place: Option<&str>) -> ConfigError {
        let shown = crate::mail::clean(path);
        let hint = match place {
            Some(_) if TOP_KEYS.contains(&path) => {
                Some(format!("'{path}' belongs to the top of the file, before the first [table]"))
            }
            Some(_) => nearest(path, all().map(|key| key.name)).map(|key| format!("did you mean '{key}'?")),
            None if KEYS.iter().any(|key| key.name == path) => {
                Some(format!("'{path}' belongs into a profile: [profiles.NAME], or [defaults] for all of them"))
            }
            None => nearest(path, TOP_KEYS).map(|key| format!("did you mean '{key}'?")),
        };
        let what = match place {
            Some(place) => format!("unknown key '{shown}' in [{place}]"),
            None => format!("unknown key '{shown}'"),
        };
        self.error(span, what, hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, (String, Option<String>)> {
        ConfigFile::parse(Path::new("c.toml"), text).map_err(|error| match error {
            ConfigError::Value { hint, .. } => (error_text(text), hint),
            other => (other.to_string(), None),
        })
    }

    fn error_text(text: &str) -> String {
        ConfigFile::parse(Path::new("c.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn tables_and_lines() {
        let file = parse(
            "default-profile = \"work\"\n[defaults]\nauth = \"auto\"\n[profiles.work]\nhost = \"mx.example\"\n\
             timeouts.connect = \"5s\"\n[profiles.work.tls]\nca-file = \"ca.pem\"\n[profiles.home]\ninherits = \"work\"\n",
        )
        .unwrap();
        assert_eq!(file.default_profile.unwrap().0, "work");
        let keys: Vec<_> = file.profiles["work"]
            .assignments
            .iter()
            .map(|assignment| (assignment.key.name, assignment.origin.to_string()))
            .collect();
        assert!(keys.contains(&("timeouts.connect", "c.toml:6".to_owned())), "{keys:?}");
        assert!(keys.contains(&("tls.ca-file", "c.toml:8".to_owned())), "{keys:?}");
        assert_eq!(file.profiles["home"].inherits.as_ref().unwrap().0, "work");
    }

    #[test]
    fn misspelt_and_misplaced_keys() {
        let hint = |text: &str| parse(text).unwrap_err();
        assert_eq!(
            hint("[profiles.work]\nhost = \"x\"\npasword = \"keyring\"\n"),
            (
                "c.toml:3: unknown key 'pasword' in [profiles.work]".to_owned(),
                Some("did you mean 'password'?".to_owned())
            )
        );
        assert_eq!(
            hint("[profiles.work.timeouts]\nconect = \"1s\"\n"),
            (
                "c.toml:2: unknown key 'timeouts.conect' in [profiles.work.timeouts]".to_owned(),
                Some("did you mean 'timeouts.connect'?".to_owned())
            )
        );
        assert!(hint("[defaults]\ndefault-profile = \"x\"\n").1.unwrap().contains("top of the file"));
        assert!(hint("host = \"x\"\n").1.unwrap().contains("[profiles.NAME]"));
        assert!(hint("[profile.work]\n").1.unwrap().contains("'profiles'"));
        assert!(hint("[profiles]\nwork = 1\n").0.contains("[profiles.work]"));
        assert!(hint("[profiles.work]\ntls = true\n").0.contains("[profiles.work.tls]"));
        assert!(hint("[defaults]\ninherits = \"x\"\n").0.contains("unknown key"));
    }

    #[test]
    fn bad_toml_has_a_line() {
        let error = error_text("[profiles.work]\nhost = \n");
        assert!(error.starts_with("c.toml:2: "), "{error}");
    }
}
