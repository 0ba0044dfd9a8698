//! Finds a template, reads its files, and compiles them.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use handlebars::{html_escape, no_escape};
use ring::digest::{Context as Digest, SHA256};

use super::{
    Kind, Phrase, Template, TemplateError, helpers,
    images::Images,
    parts::{Markdown, escape_markdown},
    shelf::Shelf,
    variants::{Variants, files},
};
use crate::config::{ConfigError, DataSource, Files, Origin, TemplateTable, nearest};

/// A longer file is no template.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Folders of partials in the folder of partials.
const MAX_DEPTH: usize = 4;
/// What a folder may say about itself.
const TABLE_FILE: &str = "template.toml";

/// Loads a template: a table of the configuration, a folder beside it, or the folder at a path with a '/' in it.
///
/// # Errors
/// It is not there, a file cannot be read, a part is no template.
pub fn load(name: &str, files: &Files) -> Result<Template, TemplateError> {
    load_reporting_all(name, files).map_err(|mut errors| errors.swap_remove(0))
}

/// The same, with everything that is wrong: at least one error.
///
/// # Errors
/// As [`load`].
pub fn load_reporting_all(name: &str, files: &Files) -> Result<Template, Vec<TemplateError>> {
    let found = find(name, files).map_err(|error| vec![error])?;
    let mut loader = Loader { found: &found, digest: Digest::new(&SHA256), errors: Vec::new(), markup: Vec::new() };
    let template = loader.template();
    match template {
        Some(template) if loader.errors.is_empty() => Ok(template),
        _ => Err(loader.errors),
    }
}

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
                let path = match (&found.table.origin, files.template(&name)) {
                    (origin, Some(_)) => origin.to_string(),
                    (_, None) => found.folder.display().to_string(),
                };
                Listed { name, path, source: Ok(found.table.data) }
            }
            Err(error) => Listed { name, path: error.name, source: Err(error.what) },
        })
        .collect()
}

/// A template that was found, its files not read yet.
struct Found {
    name: String,
    /// The folder that the files lie in.
    folder: PathBuf,
    /// Every file that has the name of a part is one.
    is_folder: bool,
    table: TemplateTable,
}

fn find(name: &str, files: &Files) -> Result<Found, TemplateError> {
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
            return Ok(Found { name: name.to_owned(), folder: beside, is_folder: false, table: table.clone() });
        };
        if !folder.is_dir() {
            let what = format!("there is no folder {}", folder.display());
            return Err(TemplateError::unreadable(table.origin.to_string(), what));
        }
        let mut found = of_folder(folder)?;
        found.name = name.to_owned();
        found.table = overlaid(found.table, table.clone());
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
    let table = match read(&path) {
        Ok(text) => TemplateTable::parse(&path, &text).map_err(|error| match error {
            ConfigError::Value { origin, what, hint } => {
                let error = TemplateError::new(origin.to_string(), what);
                hint.iter().fold(error, TemplateError::hint)
            }
            other => TemplateError::new(path.display().to_string(), other.to_string()),
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => TemplateTable::empty(Origin::File(folder.clone(), 1)),
        Err(error) => return Err(TemplateError::unreadable(path.display().to_string(), error.to_string())),
    };
    Ok(Found { name: name.unwrap_or_else(|| folder.display().to_string()), folder, is_folder: true, table })
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

/// Reads a text of UTF-8, without its mark.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too long for a template"));
    }
    Ok(text.strip_prefix('\u{FEFF}').map(str::to_owned).unwrap_or(text))
}

/// Collects what is wrong while parts are read and compiled.
struct Loader<'a> {
    found: &'a Found,
    digest: Digest,
    errors: Vec<TemplateError>,
    /// Label and text of everything that HTML is made of.
    markup: Vec<(String, String)>,
}

/// A file of a part: language, label, text.
type Part = (Option<String>, String, String);

/// A partial: name, extension, label, text.
type PartialFile = (String, String, String, String);

impl Loader<'_> {
    /// The template, as far as there is one.
    fn template(&mut self) -> Option<Template> {
        let found = self.found;
        let table = &found.table;
        let partials = self.partials();
        let mut shelf = |escape: fn(&str) -> String, extensions: &[&str]| {
            let mut shelf = Shelf::empty(escape, table.locale.as_deref().unwrap_or(helpers::DEFAULT_LOCALE));
            // Of two with the same name the one that fits better is added last, and replaces the other.
            for wanted in extensions {
                for (name, extension, label, text) in &partials {
                    if extension == wanted
                        && let Err(error) = shelf.add(name, label, text)
                        && !self.errors.contains(&error)
                    {
                        self.errors.push(error);
                    }
                }
            }
            Arc::new(shelf)
        };
        let html_shelf = shelf(html_escape, &["hbs", "html"]);
        let text_shelf = shelf(no_escape, &["hbs", "md", "txt"]);
        let source_shelf = shelf(no_escape, &["hbs", "txt", "md"]);
        let markdown_shelf = shelf(escape_markdown, &["hbs", "txt", "md"]);
        self.markup.extend(
            partials
                .iter()
                .filter(|(_, extension, ..)| extension == "html")
                .map(|(.., label, text)| (label.clone(), text.clone())),
        );

        let subject = match &table.subject {
            Some(text) => {
                self.digest(b"subject", text);
                let part = (None, format!("{} subject", table.origin), text.clone());
                self.phrases(vec![part], Kind::Line, &text_shelf)
            }
            None => {
                let mut parts = self.part(None, &["subject"], "txt");
                parts.iter_mut().for_each(|(_, _, text)| text.truncate(text.trim_end_matches(['\r', '\n']).len()));
                self.phrases(parts, Kind::Line, &text_shelf)
            }
        };
        let bodies = ["body", found.name.as_str()];
        let parts = self.part(table.text.as_deref(), &bodies, "txt");
        let text = self.phrases(parts, Kind::Text, &text_shelf);
        let parts = self.part(table.html.as_deref(), &bodies, "html");
        self.markup.extend(parts.iter().map(|(_, label, text)| (label.clone(), text.clone())));
        let html = self.phrases(parts, Kind::Html, &html_shelf);
        let mut markdown = Variants::default();
        for (language, label, source) in self.part(table.markdown.as_deref(), &bodies, "md") {
            if let Some(text) = self.phrase(&label, &source, Kind::Text, &source_shelf)
                && let Some(html) = self.phrase(&label, &source, Kind::Html, &markdown_shelf)
            {
                markdown.push(language, Markdown { text, html });
            }
            self.markup.push((label, if source.contains("![") { "<img>".to_owned() } else { source }));
        }
        let html_layout = self.layout("html", Kind::Html, &html_shelf);
        let text_layout = self.layout("txt", Kind::Text, &text_shelf);
        let attachments = table
            .attachments
            .iter()
            .filter_map(|file| {
                self.digest(b"attachment", file);
                self.phrase(&format!("{} attachments", table.origin), file, Kind::Line, &text_shelf)
            })
            .collect();
        if text.is_empty() && html.is_empty() && markdown.is_empty() && subject.is_empty() && self.errors.is_empty() {
            let place = found.folder.display().to_string();
            let error = TemplateError::new(place, "there is nothing of a template in it");
            let hint = match found.is_folder {
                true => "write subject.txt, and body.txt, body.html or body.md",
                false => "name its files: text = \"…\", html = \"…\" or markdown = \"…\"",
            };
            self.errors.push(error.hint(hint));
        }
        let images = self.images();
        Some(Template {
            name: found.name.clone(),
            digest: self.digest.clone().finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
            folder: found.folder.clone(),
            optional: table.optional.clone(),
            locale: table.locale.clone(),
            source: table.data.clone(),
            subject,
            text,
            html,
            markdown,
            html_layout,
            text_layout,
            attachments,
            images,
        })
    }

    fn digest(&mut self, name: &[u8], text: &str) {
        for bytes in [name, text.as_bytes()] {
            self.digest.update(&(bytes.len() as u64).to_be_bytes());
            self.digest.update(bytes);
        }
    }

    fn phrase(&mut self, label: &str, text: &str, kind: Kind, shelf: &Arc<Shelf>) -> Option<Phrase> {
        match Phrase::compile_on(label, text, kind, shelf) {
            Ok(phrase) => Some(phrase),
            Err(error) => {
                // Markdown is compiled twice, and partials stand in several parts.
                if !self.errors.contains(&error) {
                    self.errors.push(error);
                }
                None
            }
        }
    }

    fn phrases(&mut self, parts: Vec<Part>, kind: Kind, shelf: &Arc<Shelf>) -> Variants<Phrase> {
        let mut phrases = Variants::default();
        for (language, label, text) in parts {
            if let Some(phrase) = self.phrase(&label, &text, kind, shelf) {
                phrases.push(language, phrase);
            }
        }
        phrases
    }

    /// How errors name a file.
    fn label(&self, path: &Path) -> String {
        match path.strip_prefix(&self.found.folder) {
            Ok(inner) if self.found.is_folder => Path::new(&self.found.name).join(inner).display().to_string(),
            _ => path.display().to_string(),
        }
    }

    /// Label and text of a file.
    fn text(&mut self, path: &Path) -> Option<(String, String)> {
        let label = self.label(path);
        match read(path) {
            Ok(text) => {
                self.digest(label.as_bytes(), &text);
                Some((label, text))
            }
            Err(error) => {
                let what = match error.kind() {
                    io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
                    _ => error.to_string(),
                };
                self.errors.push(TemplateError::unreadable(label, what));
                None
            }
        }
    }

    /// Language, label and text of all files of a part: those of the file that is named, else those in the folder
    /// that have one of these names.
    fn part(&mut self, named: Option<&Path>, stems: &[&str], extension: &str) -> Vec<Part> {
        let paths = match named {
            Some(path) => {
                let paths = files(path);
                if paths.is_empty() {
                    let error = TemplateError::unreadable(
                        self.found.table.origin.to_string(),
                        format!("there is no file {}", path.display()),
                    );
                    self.errors.push(error);
                }
                paths
            }
            None if self.found.is_folder => {
                let of_stem = |stem: &&str| files(&self.found.folder.join(format!("{stem}.{extension}")));
                stems.iter().map(of_stem).find(|paths| !paths.is_empty()).unwrap_or_default()
            }
            None => Vec::new(),
        };
        paths
            .into_iter()
            .filter_map(|(language, path)| {
                let (label, text) = self.text(&path)?;
                Some((language, label, text))
            })
            .collect()
    }

    fn layout(&mut self, extension: &str, kind: Kind, shelf: &Arc<Shelf>) -> Variants<Phrase> {
        let named = &self.found.table.layout;
        let own = named.iter().find(|path| path.extension().is_some_and(|own| own == extension)).cloned();
        let mut layout = Variants::default();
        if !named.is_empty() && own.is_none() {
            return layout;
        }
        for (language, label, text) in self.part(own.as_deref(), &["layout"], extension) {
            // The body is a value here: what a block around it would be called with.
            let source =
                text.replace("{{> @partial-block}}", "{{{body}}}").replace("{{>@partial-block}}", "{{{body}}}");
            let Some(phrase) = self.phrase(&label, &source, kind, shelf) else { continue };
            if phrase.variables().all(|(name, _)| name != "body") {
                let error = TemplateError::new(&label, "the layout has no place for the body");
                self.errors.push(error.hint("{{{body}}} with three braces"));
                continue;
            }
            layout.push(language, phrase);
            if kind == Kind::Html {
                self.markup.push((label, text));
            }
        }
        layout
    }

    fn partials(&mut self) -> Vec<PartialFile> {
        let found = self.found;
        let folder = match (&found.table.partials, found.is_folder) {
            (Some(folder), _) => {
                if !folder.is_dir() {
                    let what = format!("there is no folder {}", folder.display());
                    self.errors.push(TemplateError::unreadable(found.table.origin.to_string(), what));
                }
                folder.clone()
            }
            (None, true) => found.folder.join("partials"),
            (None, false) => return Vec::new(),
        };
        let mut partials = Vec::new();
        let mut folders = vec![(folder, String::new(), 0)];
        while let Some((folder, prefix, depth)) = folders.pop() {
            let mut entries: Vec<fs::DirEntry> = folder.read_dir().into_iter().flatten().flatten().collect();
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let path = entry.path();
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
                // A link to a folder may lead anywhere, and in circles.
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    if depth < MAX_DEPTH {
                        folders.push((
                            path.clone(),
                            format!("{prefix}{}/", entry.file_name().to_string_lossy()),
                            depth + 1,
                        ));
                    }
                } else if ["hbs", "html", "txt", "md"].contains(&extension)
                    && !stem.starts_with('.')
                    && let Some((label, text)) = self.text(&path)
                {
                    partials.push((format!("{prefix}{stem}"), extension.to_owned(), label, text));
                }
            }
        }
        partials
    }

    /// The images beside the HTML, if it shows any; those that are named in full must be there.
    fn images(&mut self) -> Images {
        let has_image = |text: &str| memchr::memmem::find(text.to_ascii_lowercase().as_bytes(), b"<img").is_some();
        if !self.markup.iter().any(|(_, text)| has_image(text)) {
            return Images::default();
        }
        let table = &self.found.table;
        let beside = table.html.as_deref().or(table.markdown.as_deref()).and_then(Path::parent);
        let folder = if self.found.is_folder { &self.found.folder } else { beside.unwrap_or(&self.found.folder) };
        match Images::of(folder) {
            Ok(images) => {
                for (label, text) in &self.markup {
                    self.errors.extend(images.embed(label, text.clone()).err());
                }
                images
            }
            Err(error) => {
                self.errors.push(TemplateError::unreadable(folder.display().to_string(), error.to_string()));
                Images::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::ConfigFile,
        template::{Data, Names, Rendered},
    };
    use serde_json::{Value, json};

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    /// Loads the folder `t` of these files.
    fn of(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Template, Vec<TemplateError>>) {
        let folder = folder(files);
        let template = load_reporting_all(&format!("{}/t", folder.path().display()), &Files::default());
        (folder, template)
    }

    fn render(files: &[(&str, &str)], data: Value, locale: Option<&str>) -> Rendered {
        let (_folder, template) = of(files);
        template.unwrap().render(&Data::new(data), locale).unwrap()
    }

    fn errors(files: &[(&str, &str)]) -> Vec<String> {
        of(files).1.unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_folder_is_a_template() {
        let rendered = render(
            &[
                ("t/subject.txt", "Hi {{name}}\n"),
                ("t/body.txt", "{{> greeting}}!\n"),
                ("t/body.html", "<p>{{> greeting}}</p><img src='{{logo}}.png'>"),
                ("t/layout.html", "<html>{{name}}:{{{body}}}</html>"),
                ("t/layout.txt", "{{> @partial-block}}-- \nus"),
                ("t/partials/greeting.txt", "Dear {{name}}"),
                ("t/partials/greeting.html", "<b>{{name}}</b>"),
                ("t/a.png", "x"),
                ("t/template.toml", "attachments = [\"{{name}}.pdf\"]\noptional = [\"logo\"]\n"),
            ],
            json!({"name": "A & B", "logo": "a"}),
            None,
        );
        assert_eq!(rendered.subject.as_deref(), Some("Hi A & B"));
        assert_eq!(rendered.text.as_deref(), Some("Dear A & B!\n-- \nus"));
        assert_eq!(
            rendered.html.as_deref(),
            Some("<html>A &amp; B:<p><b>A &amp; B</b></p><img src=\"cid:a.png\"></html>")
        );
        assert_eq!(rendered.images.len(), 1);
        assert!(rendered.attachments[0].ends_with("/t/A & B.pdf"), "{:?}", rendered.attachments);
    }

    #[test]
    fn languages_go_together() {
        let files = [
            ("t/subject.txt", "Hello"),
            ("t/subject.de.txt", "Hallo"),
            ("t/body.txt", "hello"),
            ("t/t.html", "<p>hello"),
            ("t/t.de.html", "<p>hallo"),
            ("t/t.zh-TW.html", "<p>tw"),
        ];
        let parts = |locale: Option<&str>, data: Value| {
            let rendered = render(&files, data, locale);
            [rendered.subject, rendered.text, rendered.html].map(Option::unwrap_or_default)
        };
        assert_eq!(parts(None, json!({})), ["Hello", "hello", "<p>hello"]);
        assert_eq!(parts(Some("de_AT"), json!({})), ["Hallo", "", "<p>hallo"]);
        assert_eq!(parts(None, json!({"Locale": "de"})), ["Hallo", "", "<p>hallo"]);
        assert_eq!(parts(Some("zh-tw"), json!({"locale": "de"})), ["Hello", "", "<p>tw"]);
        assert_eq!(parts(Some("zh"), json!({})), ["Hello", "hello", "<p>hello"]);
        let (_folder, only) = of(&[("t/body.de.txt", "hallo")]);
        let error = only.unwrap().render(&Data::new(json!({})), Some("fr")).unwrap_err();
        assert_eq!(error.to_string(), "t: it has neither text nor HTML for the language 'fr'");
    }

    #[test]
    fn markdown_gives_both() {
        let rendered = render(
            &[("t/body.md", "# Hi {{name}}\n\n{{{more}}} <a href=\"{{url}}\">x</a>\n")],
            json!({"name": "*A* <b>", "more": "*y*", "url": "http://x.example/?a=1&b=\"2\""}),
            None,
        );
        assert_eq!(
            rendered.text.as_deref(),
            Some("# Hi *A* <b>\n\n*y* <a href=\"http://x.example/?a=1&b=\"2\"\">x</a>\n")
        );
        let html = rendered.html.unwrap();
        assert!(html.contains("<h1>Hi *A* &lt;b&gt;</h1>"), "{html}");
        assert!(html.contains("<em>y</em> <a href=\"http://x.example/?a=1&#38;b=&#34;2&#34;\">"), "{html}");
        assert!(html.starts_with("<!DOCTYPE html>"), "{html}");
    }

    #[test]
    fn tables_name_their_files() {
        let folder = folder(&[
            ("mail/w.html", "<p>{{name}}"),
            ("mail/w.de.html", "<p>Herr {{name}}"),
            ("templates/news/body.txt", "news {{x}}"),
            ("templates/.hidden/body.txt", "x"),
        ]);
        let path = folder.path().join("config.toml");
        let text = "[templates.welcome]\nsubject = \"Hi {{name}}\"\nhtml = \"mail/w.html\"\ndata = \"p.csv\"\n\
                    [templates.gone]\nhtml = \"mail/x.html\"\n[templates.news2]\nfolder = \"templates/news\"\nsubject = \"s\"\n";
        let files = Files {
            user: Some(ConfigFile::parse(&path, text).unwrap()),
            places: vec![path.clone()],
            ..Files::default()
        };
        let welcome = load("welcome", &files).unwrap();
        let rendered = welcome.render(&Data::new(json!({"name": "Ada", "locale": "de"})), None).unwrap();
        assert_eq!((rendered.subject.as_deref(), rendered.html.as_deref()), (Some("Hi Ada"), Some("<p>Herr Ada")));
        assert_eq!(welcome.source(), Some(&DataSource::File(folder.path().join("p.csv"))));
        assert_eq!(load("news", &files).unwrap().variables(), [("x", "news/body.txt:1:6")]);
        let news = load("news2", &files).unwrap();
        assert_eq!((news.name(), news.variables().len()), ("news2", 1));
        let names: Vec<String> = list(&files).into_iter().map(|listed| listed.name).collect();
        assert_eq!(names, ["gone", "news", "news2", "welcome"]);
        let error = load("gone", &files).unwrap_err();
        assert!(error.is_unreadable && error.name.ends_with("config.toml:5"), "{error:?}");
        let error = load("newz", &files).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.hints[0].as_str()),
            ("template 'newz': there is none of this name", "did you mean 'news'?")
        );
        for name in ["../news", "./nonesuch", "", ".hidden/.."] {
            assert!(load(name, &files).is_err(), "{name}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        assert_eq!(
            errors(&[
                ("t/subject.txt", "a\nb"),
                ("t/body.txt", "x\n{{#if a}}"),
                ("t/body.html", "{{> foot}}<img src=l.png>"),
                ("t/layout.html", "nothing"),
                ("t/partials/foot.html", "{{> leg}}"),
                ("t/partials/leg.html", "\n{{> foot}}"),
            ]),
            [
                "t/subject.txt: it contains a line end, where only one line may be",
                "t/body.txt:2: the block '{{#if a}}' has no end",
                "t/partials/leg.html:2:1: partials include each other without end: 'foot' includes 'leg' includes 'foot'",
                "t/layout.html: the layout has no place for the body",
                "t/body.html: there is no image 'l.png' in the template's folder",
            ]
        );
        assert!(errors(&[("t/x", "")])[0].ends_with("/t: there is nothing of a template in it"));
        assert!(errors(&[("t/template.toml", "optionl = []")])[0].contains("template.toml:1: unknown key 'optionl'"));
        let (folder, _) = of(&[("t/body.txt", "x")]);
        fs::write(folder.path().join("t/body.txt"), b"\xFF").unwrap();
        let error = load(&format!("{}/t", folder.path().display()), &Files::default()).unwrap_err();
        assert_eq!(error.to_string(), "t/body.txt: it is not UTF-8");
    }

    #[test]
    fn names_are_checked_in_every_part() {
        let (_folder, template) = of(&[
            ("t/body.txt", "{{a}}{{maybe}}"),
            ("t/body.de.txt", "{{b}}"),
            ("t/layout.txt", "{{c}}{{{body}}}"),
            ("t/template.toml", "optional = [\"maybe\"]"),
        ]);
        let template = template.unwrap();
        let names = Names { given: vec!["x".to_owned()], optional: Vec::new() };
        let places: Vec<String> = template.check_all(&names).into_iter().map(|error| error.name).collect();
        assert_eq!(places, ["t/body.txt:1:1", "t/body.de.txt:1:1", "t/layout.txt:1:1"]);
        let names: Vec<&str> = template.variables().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["a", "maybe", "b", "c"]);
        let text = template.render(&Data::new(json!({"a": 1, "c": 3})), None).unwrap().text;
        assert_eq!(text.as_deref(), Some("31"));
    }

    #[test]
    fn attachments_stay_in_their_folder() {
        let (_folder, template) = of(&[("t/body.txt", "x"), ("t/template.toml", "attachments = \"in/{{id}}.pdf\"")]);
        let template = template.unwrap();
        let render = |id: &str| template.render(&Data::new(json!({"id": id})), None);
        assert!(render("7").unwrap().attachments[0].ends_with("/t/in/7.pdf"));
        assert!(render("../../etc/passwd").unwrap_err().to_string().contains("leads out of its folder"));
        let (_folder, template) = of(&[("t/body.txt", "x"), ("t/template.toml", "attachments = \"{{id}}\"")]);
        assert!(template.unwrap().render(&Data::new(json!({"id": "/etc/passwd"})), None).is_err());
    }

    #[test]
    fn the_digest_is_that_of_everything() {
        let digest = |text: &str| of(&[("t/body.txt", text), ("t/partials/a.txt", "x")]).1.unwrap().digest().to_owned();
        assert_eq!(digest("a").len(), 64);
        assert_eq!(digest("a"), digest("a"));
        assert_ne!(digest("a"), digest("b"));
    }
}
