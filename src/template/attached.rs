//! Files that a template attaches: their names may depend on the row, where they lie does not.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Data, Kind, Phrase, TemplateError, find::leads_out, shelf::Shelf};
use crate::message::{AttachmentSpec, Input};

/// A file to attach, as behind `--attach`. Its marks are split off before it is a template: no value sets them.
#[derive(Debug)]
pub(super) struct Attached {
    path: Phrase,
    name: Option<Phrase>,
    marks: AttachmentSpec,
    /// Relative paths start from it.
    folder: PathBuf,
    /// Nothing outside the folder is attached, not even by a link.
    is_confined: bool,
}

/// Splits the marks off from a file; one in this folder that has the whole text as its name wins.
pub(super) fn split(folder: &Path, text: &str) -> (String, AttachmentSpec) {
    if folder.join(text).exists() {
        let input = Input::Path(PathBuf::from(text));
        return (text.to_owned(), AttachmentSpec { input, name: None, media_type: None, cid: None, charset: None });
    }
    let spec = AttachmentSpec::parse(text);
    let file = match &spec.input {
        Input::Stdin => "-".to_owned(),
        Input::Path(path) => path.to_string_lossy().into_owned(),
    };
    (file, spec)
}

impl Attached {
    /// Takes what stands in a table, which errors call `label`.
    ///
    /// # Errors
    /// If it is no template.
    pub fn compile(
        label: &str,
        text: &str,
        folder: &Path,
        is_confined: bool,
        shelf: &Arc<Shelf>,
    ) -> Result<Self, TemplateError> {
        let (file, marks) = split(folder, text);
        let name = marks.name.as_deref().map(|name| Phrase::compile_on(label, name, Kind::Line, shelf)).transpose()?;
        let path = Phrase::compile_on(label, &file, Kind::Line, shelf)?;
        Ok(Self { path, name, marks, folder: folder.to_owned(), is_confined })
    }

    /// Everything in it that is a template.
    pub fn phrases(&self) -> impl Iterator<Item = &Phrase> {
        [&self.path].into_iter().chain(&self.name)
    }

    /// The file for one message.
    ///
    /// # Errors
    /// As [`Phrase::render`], and if the values or a link lead out of the folder.
    pub fn render(&self, data: &Data) -> Result<AttachmentSpec, TemplateError> {
        let file = self.path.render(data)?;
        if self.path.literal().is_none() {
            let is_climbing = file.split(['/', '\\']).any(|part| part == "..");
            let is_absolute = Path::new(&file).is_absolute() && !self.path.begins_with_text();
            if is_climbing || is_absolute {
                let what = format!("the values make '{file}' of it, which leads out of its folder");
                return Err(TemplateError::new(self.path.name(), what));
            }
        }
        let path = self.folder.join(&file);
        if self.is_confined && leads_out(&path, &self.folder) {
            let what = format!("'{file}' is a link that leads out of the template's folder");
            return Err(TemplateError::new(self.path.name(), what));
        }
        let name = self.name.as_ref().map(|name| name.render(data)).transpose()?;
        Ok(AttachmentSpec { input: Input::Path(path), name, ..self.marks.clone() })
    }
}
