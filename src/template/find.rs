//! Which templates there are, and where a name leads.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::{TemplateError, attached, load::read};
use crate::config::{ConfigError, DataSource, Files, Origin, TemplateTable, nearest};

/// What a folder may say about itself.
const TABLE_FILE: &str = "template.toml";

/// A template that the configuration knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The folder, or the file and line of the table.
    pub path: String,
    /// Where its data comes from, or why that is not known.
    pub source: Result<Option<DataSource>, String>,
}

/// All templates of the configuration: tables, and folders beside it. In alphabetical order.
pub fn list(files: &Files) -> Vec<Listed> {
    let mut names = files.template_names();
    for folder in files.template_folders() {
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            if let (Ok(name), true) = (entry.file_name().into_string(), entry.path().is_dir()) {
                names.push(name);
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|name| !name.starts_with('.'))
        .map(|name| match find(&name, files) {
            Ok(found) => {
                let path = match files.template(&name) {
                    Some(table) => table.origin.to_string(),
                    None => found.folder.display().to_string(),
                };
                Listed { name, path, source: Ok(found.table.data) }
            }
            Err(error) => Listed { name, path: error.name, source: Err(error.what) },
        })
        .collect()
}

/// A template that was found, its files not read yet.
pub(super) struct Found {
    pub name: String,
    /// The folder that the files lie in.
    pub folder: PathBuf,
    /// Every file that has the name of a part is one.
    pub is_folder: bool,
    pub table: TemplateTable,
    /// What of the table is said by the configuration: its files may lie anywhere.
    pub given: Option<TemplateTable>,
}

impl Found {
    /// Whether the configuration says this.
    pub fn is_given(&self, says: impl FnOnce(&TemplateTable) -> bool) -> bool {
        self.given.as_ref().is_some_and(says)
    }
}

/// Whether a link leads from this path in the folder to a place outside of it. What is not there leads nowhere.
pub(super) fn leads_out(path: &Path, folder: &Path) -> bool {
    let (Ok(file), Ok(folder)) = (fs::canonicalize(path), fs::canonicalize(folder)) else { return false };
    !file.starts_with(folder)
}

pub(super) fn find(name: &str, files: &Files) -> Result<Found, TemplateError> {
    if name.is_empty() {
        return Err(TemplateError::new("template", "a name or a folder is wanted"));
    }
    if name.contains(['/', '\\']) || matches!(name, "." | "..") {
        let folder = PathBuf::from(name);
        if !folder.is_dir() {
            return Err(TemplateError::unreadable(name, "there is no such folder")
                .hint("a template is a folder with subject.txt, and body.txt, body.html or body.md"));
        }
        return of_folder(folder);
    }
    if let Some(table) = files.template(name) {
        let beside = match &table.origin {
            Origin::File(path, _) => path.parent().map(Path::to_owned).unwrap_or_default(),
            _ => PathBuf::new(),
        };
        let Some(folder) = table.folder.clone() else {
            let (table, given) = (table.clone(), Some(table.clone()));
            return Ok(Found { name: name.to_owned(), folder: beside, is_folder: false, table, given });
        };
        if !folder.is_dir() {
            let what = format!("there is no folder {}", folder.display());
            return Err(TemplateError::unreadable(table.origin.to_string(), what));
        }
        let mut found = of_folder(folder)?;
        found.name = name.to_owned();
        found.table = overlaid(found.table, table.clone());
        found.given = Some(table.clone());
        return Ok(found);
    }
    let places: Vec<PathBuf> = files.template_folders().map(|place| place.join(name)).collect();
    if let Some(folder) = places.iter().find(|folder| folder.is_dir()) {
        return of_folder(folder.clone());
    }
    let error = TemplateError::unreadable(format!("template '{name}'"), "there is none of this name");
    if Path::new(name).is_dir() {
        return Err(error.hint(format!("for the folder here: --template ./{name}")));
    }
    let known: Vec<String> = list(files).into_iter().map(|listed| listed.name).collect();
    Err(match (nearest(name, known.iter().map(String::as_str)), places.first()) {
        (Some(near), _) => error.hint(format!("did you mean '{near}'?")),
        (None, Some(place)) => {
            error.hint(format!("make a folder {}, or name one: --template ./FOLDER", place.display()))
        }
        (None, None) => error.hint("name a folder: --template ./FOLDER"),
    })
}

fn of_folder(folder: PathBuf) -> Result<Found, TemplateError> {
    let name = fs::canonicalize(&folder).ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let path = folder.join(TABLE_FILE);
    if leads_out(&path, &folder) {
        let what = "it is a link that leads out of the template's folder";
        return Err(TemplateError::new(path.display().to_string(), what));
    }
    let table = match read(&path) {
        Ok(text) => {
            let table = TemplateTable::parse(&path, &text).map_err(|error| match error {
                ConfigError::Value { origin, what, hint } => {
                    let error = TemplateError::new(origin.to_string(), what);
                    hint.iter().fold(error, TemplateError::hint)
                }
                other => TemplateError::new(path.display().to_string(), other.to_string()),
            })?;
            confined(&table, &folder).map_err(|(key, what)| {
                TemplateError::new(path.display().to_string(), format!("{key}: {what}"))
                    .hint("the configuration may say that: [templates.NAME] with folder = \"…\"")
            })?;
            table
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => TemplateTable::empty(Origin::File(folder.clone(), 1)),
        Err(error) => return Err(TemplateError::unreadable(path.display().to_string(), error.to_string())),
    };
    let name = name.unwrap_or_else(|| folder.display().to_string());
    Ok(Found { name, folder, is_folder: true, table, given: None })
}

/// A folder may come from anybody: what it says about itself runs no command, asks no server, and takes no
/// file from elsewhere.
fn confined(table: &TemplateTable, folder: &Path) -> Result<(), (&'static str, String)> {
    let is_inside = |path: &Path| {
        let inner = path.strip_prefix(folder);
        inner.is_ok_and(|inner| inner.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)))
            && !leads_out(path, folder)
    };
    if table.folder.is_some() {
        return Err(("folder", "this is the folder already".to_owned()));
    }
    let data = match &table.data {
        Some(DataSource::Command(_)) => return Err(("data", "a template's folder runs no command".to_owned())),
        Some(DataSource::Web(_)) => return Err(("data", "a template's folder asks no server".to_owned())),
        Some(DataSource::File(path)) => Some(path),
        None => None,
    };
    let attachments: Vec<PathBuf> =
        table.attachments.iter().map(|file| folder.join(attached::split(folder, file).0)).collect();
    let paths =
        [("text", &table.text), ("html", &table.html), ("markdown", &table.markdown), ("partials", &table.partials)];
    let named = paths.iter().filter_map(|(key, path)| Some((*key, path.as_ref()?)));
    let layout = table.layout.iter().map(|path| ("layout", path));
    let attached = attachments.iter().map(|path| ("attachments", path));
    let outside =
        named.chain(layout).chain(attached).chain(data.map(|path| ("data", path))).find(|(_, path)| !is_inside(path));
    outside.map_or(Ok(()), |(key, path)| Err((key, format!("{} lies outside the template's folder", path.display()))))
}

/// What the configuration says about a folder holds above what the folder says.
fn overlaid(below: TemplateTable, above: TemplateTable) -> TemplateTable {
    let longer = |below: Vec<String>, above: Vec<String>| if above.is_empty() { below } else { above };
    TemplateTable {
        origin: above.origin,
        folder: above.folder,
        subject: above.subject.or(below.subject),
        text: above.text.or(below.text),
        html: above.html.or(below.html),
        markdown: above.markdown.or(below.markdown),
        partials: above.partials.or(below.partials),
        layout: if above.layout.is_empty() { below.layout } else { above.layout },
        attachments: longer(below.attachments, above.attachments),
        optional: longer(below.optional, above.optional),
        locale: above.locale.or(below.locale),
        data: above.data.or(below.data),
    }
}
