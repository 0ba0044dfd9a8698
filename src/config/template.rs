//! `[templates.NAME]`, and `template.toml` in the folder of a template: the same keys, as data. Nothing is read here.

use std::path::{Path, PathBuf};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    ConfigError, Files, Origin,
    file::Reader,
    nearest,
    value::{Input, Raw},
};

/// Where the rows or the data of a template come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSource {
    /// A file.
    File(PathBuf),
    /// A web address, http or https, that answers with JSON.
    Web(String),
    /// The output of a shell command.
    Command(String),
}

/// What a table says about a template; relative paths start from the file that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateTable {
    /// Where it stands.
    pub origin: Origin,
    /// The folder with its files.
    pub folder: Option<PathBuf>,
    /// The subject itself.
    pub subject: Option<String>,
    /// File of the text.
    pub text: Option<PathBuf>,
    /// File of the HTML.
    pub html: Option<PathBuf>,
    /// File of the Markdown, which becomes text and HTML.
    pub markdown: Option<PathBuf>,
    /// Folder of the partials.
    pub partials: Option<PathBuf>,
    /// File of the layout that the HTML stands in, or of the text's.
    pub layout: Vec<PathBuf>,
    /// Files to attach, as behind `--attach`.
    pub attachments: Vec<String>,
    /// Names that may be missing.
    pub optional: Vec<String>,
    /// For readers of which language and country helpers write when the row does not say it.
    pub locale: Option<String>,
    /// Where its data comes from.
    pub data: Option<DataSource>,
}

const KEYS: [&str; 11] = [
    "folder",
    "subject",
    "text",
    "html",
    "markdown",
    "partials",
    "layout",
    "attachments",
    "optional",
    "locale",
    "data",
];

impl TemplateTable {
    /// One that says nothing.
    pub fn empty(origin: Origin) -> Self {
        Self {
            origin,
            folder: None,
            subject: None,
            text: None,
            html: None,
            markdown: None,
            partials: None,
            layout: Vec::new(),
            attachments: Vec::new(),
            optional: Vec::new(),
            locale: None,
            data: None,
        }
    }

    /// Parses the text of a `template.toml` at `path`.
    ///
    /// # Errors
    /// With file and line: bad TOML, an unknown key, a value that cannot be.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let reader = Reader { path, text };
        let table = reader.table()?;
        Self::read(&reader, "", table.get_ref(), Origin::File(path.to_owned(), 1))
    }

    /// The table `templates.NAME` of a configuration file.
    pub(super) fn of_config(
        reader: &Reader<'_>,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Self, ConfigError> {
        let origin = reader.origin(&name.span());
        let name = name.get_ref();
        if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
            return Err(ConfigError::Value {
                origin,
                what: format!("'{}' is no name of a template", crate::mail::clean(name)),
                hint: Some("a name has no '/' in it, and begins with no dot".to_owned()),
            });
        }
        match value.get_ref() {
            DeValue::Table(table) => Self::read(reader, &format!(" in [templates.{name}]"), table, origin),
            _ => {
                let what = format!("templates.{name} is a table: [templates.{name}]");
                Err(ConfigError::Value { origin, what, hint: None })
            }
        }
    }

    fn read(reader: &Reader<'_>, place: &str, table: &DeTable<'_>, origin: Origin) -> Result<Self, ConfigError> {
        let mut read = Self::empty(origin);
        // Settings come in layers, with the environment as one of them; what a table names are files of this user.
        let home = std::env::home_dir();
        for (name, value) in table {
            let key = name.get_ref().as_ref();
            let error = |what: String| reader.error(&value.span(), format!("{key}: {what}"), None);
            let raw = Raw::from_toml(value.get_ref()).ok_or_else(|| error("a date has no meaning here".to_owned()))?;
            let folder = reader.path.parent().map(Path::to_owned);
            let input = Input { raw: &raw, folder, home: home.clone() };
            let path = || input.path().map_err(error);
            match key {
                "folder" => read.folder = Some(path()?),
                "subject" => read.subject = Some(input.line().map_err(error)?.to_owned()),
                "text" => read.text = Some(path()?),
                "html" => read.html = Some(path()?),
                "markdown" => read.markdown = Some(path()?),
                "partials" => read.partials = Some(path()?),
                "layout" => {
                    for file in words(&raw).map_err(error)? {
                        let raw = Raw::Text(file);
                        read.layout.push(Input { raw: &raw, ..input.clone() }.path().map_err(error)?);
                    }
                }
                "attachments" => read.attachments = words(&raw).map_err(error)?,
                "optional" => read.optional = words(&raw).map_err(error)?,
                "locale" => read.locale = Some(input.line().map_err(error)?.to_owned()),
                "data" => read.data = Some(data_source(&input).map_err(error)?),
                unknown => {
                    let hint = nearest(unknown, KEYS).map(|key| format!("did you mean '{key}'?"));
                    let what = format!("unknown key '{}'{place}", crate::mail::clean(unknown));
                    return Err(reader.error(&name.span(), what, hint));
                }
            }
        }
        Ok(read)
    }
}

/// One text, or a list of them. Commas separate nothing: they may be in a template.
fn words(raw: &Raw) -> Result<Vec<String>, String> {
    let wanted = || "a text in quotation marks, or a list of them, is wanted".to_owned();
    match raw {
        Raw::Text(text) => Ok(vec![text.clone()]),
        Raw::List(list) => list
            .iter()
            .map(|raw| match raw {
                Raw::Text(text) => Ok(text.clone()),
                _ => Err(wanted()),
            })
            .collect(),
        _ => Err(wanted()),
    }
}

fn data_source(input: &Input<'_>) -> Result<DataSource, String> {
    let wanted = || "a file, { url = \"https://…\" } or { command = \"…\" } is wanted".to_owned();
    let Raw::Table(table) = input.raw else {
        return input.path().map(DataSource::File).map_err(|_| wanted());
    };
    let mut entries = table.iter();
    match (entries.next(), entries.next()) {
        (Some((key, raw)), None) => {
            let input = Input { raw, ..input.clone() };
            match key.as_str() {
                "file" => Ok(DataSource::File(input.path()?)),
                "url" => Ok(DataSource::Web(super::web_address(input.line()?)?)),
                "command" => Ok(DataSource::Command(input.text()?.to_owned())),
                _ => Err(wanted()),
            }
        }
        _ => Err(wanted()),
    }
}

impl Files {
    /// The table of this name: the user's, else the system's.
    pub fn template(&self, name: &str) -> Option<&TemplateTable> {
        self.both().find_map(|file| file.templates.get(name))
    }

    /// Names of all tables of templates, in alphabetical order.
    pub fn template_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.both().flat_map(|file| file.templates.keys().cloned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Folders in which every folder is a template: `templates` beside each configuration file that is read, or would
    /// be if it were there.
    pub fn template_folders(&self) -> impl Iterator<Item = PathBuf> {
        self.places.iter().filter_map(|path| Some(path.parent()?.join("templates")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigFile;

    fn parse(text: &str) -> Result<TemplateTable, (String, Option<String>)> {
        let file = ConfigFile::parse(Path::new("/etc/m/c.toml"), text).map_err(|error| match error {
            ConfigError::Value { origin, what, hint } => (format!("{origin}: {what}"), hint),
            other => (other.to_string(), None),
        })?;
        let files = Files { user: Some(file), ..Files::default() };
        Ok(files.template("x").unwrap().clone())
    }

    #[test]
    fn every_key_has_its_place() {
        let table = parse(
            "[templates.x]\nfolder = \"f\"\nsubject = \"Hi {{a}}, b\"\nhtml = \"a.html\"\nlayout = [\"l.html\", \"l.txt\"]\n\
             attachments = \"a,b.pdf\"\noptional = [\"nick\"]\nlocale = \"de\"\ndata = { url = \"https://x.example/d\" }\n",
        )
        .unwrap();
        assert_eq!(table.origin.to_string(), "/etc/m/c.toml:1");
        assert_eq!(table.folder.as_deref(), Some(Path::new("/etc/m/f")));
        assert_eq!(table.subject.as_deref(), Some("Hi {{a}}, b"));
        assert_eq!(table.layout, [Path::new("/etc/m/l.html"), Path::new("/etc/m/l.txt")]);
        assert_eq!(table.attachments, ["a,b.pdf"]);
        assert_eq!(table.data, Some(DataSource::Web("https://x.example/d".to_owned())));
        let data = |text: &str| parse(&format!("[templates.x]\ndata = {text}\n")).map(|table| table.data.unwrap());
        assert_eq!(data("\"p.csv\""), Ok(DataSource::File("/etc/m/p.csv".into())));
        assert_eq!(data("{ command = \"list\" }"), Ok(DataSource::Command("list".to_owned())));
        assert!(data("{ comand = \"list\" }").unwrap_err().0.starts_with("/etc/m/c.toml:2: data: a file, "));
    }

    #[test]
    fn misspelt_keys_have_a_line_and_a_hint() {
        let (error, hint) = parse("[templates.x]\nsubject = \"a\"\nhtlm = \"a\"\n").unwrap_err();
        assert_eq!(error, "/etc/m/c.toml:3: unknown key 'htlm' in [templates.x]");
        assert_eq!(hint.as_deref(), Some("did you mean 'html'?"));
        assert!(parse("[templates]\nx = 1\n").unwrap_err().0.contains("[templates.x]"));
        assert!(parse("[templates.\"../x\"]\n").unwrap_err().0.contains("no name of a template"));
        assert!(parse("[templates.x]\nsubject = \"a\\nb\"\n").unwrap_err().0.contains("control character"));
        assert!(parse("templates = 1\n").unwrap_err().0.contains("[templates.NAME]"));
    }
}
