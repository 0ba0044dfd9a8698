//! Reads the files of a template, and compiles them.

use std::{fs, io, io::Read, path::Path, sync::Arc};

use ring::digest::{Context as Digest, SHA256};

use super::{
    Kind, Phrase, Template, TemplateError,
    attached::Attached,
    find::{Found, find, leads_out},
    helpers,
    images::Images,
    parts::Markdown,
    shelf::{Escape, Shelf},
    variants::{Variants, files},
};
use crate::config::Files;

/// A longer file is no template.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Folders of partials in the folder of partials.
const MAX_DEPTH: usize = 4;

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

/// Reads a text of UTF-8, without its mark.
pub(super) fn read(path: &Path) -> io::Result<String> {
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
        let mut shelf = |escape: Escape, extensions: &[&str]| {
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
        let html_shelf = shelf(Escape::Html, &["hbs", "html"]);
        let text_shelf = shelf(Escape::None, &["hbs", "md", "txt"]);
        let source_shelf = shelf(Escape::None, &["hbs", "txt", "md"]);
        let markdown_shelf = shelf(Escape::Markdown, &["hbs", "txt", "md"]);
        for (_, extension, label, text) in &partials {
            match extension.as_str() {
                "html" | "hbs" => self.markup.push((label.clone(), text.clone())),
                "md" => self.markdown_images(label, text),
                _ => {}
            }
        }

        let subject = match &table.subject {
            Some(text) => {
                self.digest(b"subject", text);
                let part = (None, format!("{} subject", table.origin), text.clone());
                self.phrases(vec![part], Kind::Line, &text_shelf)
            }
            None => {
                let mut parts = self.part(None, false, &["subject"], "txt");
                parts.iter_mut().for_each(|(_, _, text)| text.truncate(text.trim_end_matches(['\r', '\n']).len()));
                self.phrases(parts, Kind::Line, &text_shelf)
            }
        };
        let bodies = ["body", found.name.as_str()];
        let parts = self.part(table.text.as_deref(), found.is_given(|given| given.text.is_some()), &bodies, "txt");
        let text = self.phrases(parts, Kind::Text, &text_shelf);
        let parts = self.part(table.html.as_deref(), found.is_given(|given| given.html.is_some()), &bodies, "html");
        self.markup.extend(parts.iter().map(|(_, label, text)| (label.clone(), text.clone())));
        let html = self.phrases(parts, Kind::Html, &html_shelf);
        let mut markdown = Variants::default();
        let is_given = found.is_given(|given| given.markdown.is_some());
        for (language, label, source) in self.part(table.markdown.as_deref(), is_given, &bodies, "md") {
            if let Some(text) = self.phrase(&label, &source, Kind::Text, &source_shelf)
                && let Some(html) = self.phrase(&label, &source, Kind::Html, &markdown_shelf)
            {
                markdown.push(language, Markdown { text, html });
            }
            self.markdown_images(&label, &source);
        }
        let html_layout = self.layout("html", Kind::Html, &html_shelf);
        let text_layout = self.layout("txt", Kind::Text, &text_shelf);
        let is_confined = found.is_folder && !found.is_given(|given| !given.attachments.is_empty());
        let attachments = table
            .attachments
            .iter()
            .filter_map(|file| {
                self.digest(b"attachment", file);
                let label = format!("{} attachments", table.origin);
                let attached = Attached::compile(&label, file, &found.folder, is_confined, &text_shelf);
                attached.map_err(|error| self.errors.push(error)).ok()
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

    /// Markdown shows images, or has HTML in it; which files those are is seen in what becomes of it.
    fn markdown_images(&mut self, label: &str, source: &str) {
        let text = if source.contains("![") { "<img>" } else { source };
        self.markup.push((label.to_owned(), text.to_owned()));
    }

    /// How errors name a file.
    fn label(&self, path: &Path) -> String {
        match path.strip_prefix(&self.found.folder) {
            Ok(inner) if self.found.is_folder => Path::new(&self.found.name).join(inner).display().to_string(),
            _ => path.display().to_string(),
        }
    }

    /// Label and text of a file, which the configuration names, or which must lie in the template's folder.
    fn text(&mut self, path: &Path, is_given: bool) -> Option<(String, String)> {
        let label = self.label(path);
        if !is_given && leads_out(path, &self.found.folder) {
            let error = TemplateError::new(label, "it is a link that leads out of the template's folder");
            self.errors.push(error.hint("the configuration may name such a file: [templates.NAME]"));
            return None;
        }
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
    /// that have one of these names. Files that are given may lie anywhere.
    fn part(&mut self, named: Option<&Path>, is_given: bool, stems: &[&str], extension: &str) -> Vec<Part> {
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
                let (label, text) = self.text(&path, is_given)?;
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
        let is_given = self.found.is_given(|given| !given.layout.is_empty());
        for (language, label, text) in self.part(own.as_deref(), is_given, &["layout"], extension) {
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
        let is_given = found.is_given(|given| given.partials.is_some());
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
                    && let Some((label, text)) = self.text(&path, is_given)
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
        match Images::of(folder, self.found.is_folder) {
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
mod tests;
