//! Handlebars templates for text, HTML and header fields: compiled, checked against the known names, rendered.
//!
//! Files are read when a template is loaded; rendering does no I/O. What is sent to whom is decided above.

use serde_json::Value;

/// What a rendered text is for: it decides how values are escaped and what may be in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// HTML: values are escaped.
    Html,
    /// Text: values stand as they are.
    Text,
    /// One line, such as a header field, an address or a file name: a line end in the result is an error.
    Line,
}

/// The variables of one message, ready for rendering.
#[derive(Debug, Clone)]
pub struct Data {}

impl Data {
    /// Takes an object of columns and other values. Each name is also offered in snake_case.
    pub fn new(_values: Value) -> Self {
        todo!()
    }
}

/// Names that a template may use.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Columns and `--set` names.
    pub given: Vec<String>,
    /// Names that may be missing.
    pub optional: Vec<String>,
}

/// One compiled text: an option's value, a subject, a body.
#[derive(Debug)]
pub struct Phrase {}

impl Phrase {
    /// Compiles `text`, which errors call `name`.
    ///
    /// # Errors
    /// With line and column, if it is no template.
    pub fn compile(_name: &str, _text: &str, _kind: Kind) -> Result<Self, TemplateError> {
        todo!()
    }

    /// The text itself, if nothing in it depends on data.
    pub fn literal(&self) -> Option<&str> {
        todo!()
    }

    /// Whether every name in it is known.
    ///
    /// # Errors
    /// With the line and the nearest known name.
    pub fn check(&self, _names: &Names) -> Result<(), TemplateError> {
        todo!()
    }

    /// Renders it.
    ///
    /// # Errors
    /// A name that this row does not have, a line end where none may be.
    pub fn render(&self, _data: &Data) -> Result<String, TemplateError> {
        todo!()
    }
}

/// A template with all its parts, loaded and compiled.
#[derive(Debug)]
pub struct Template {}

impl Template {
    /// Its name.
    pub fn name(&self) -> &str {
        todo!()
    }

    /// Whether every name in all its parts, partials, layouts and language variants is known.
    ///
    /// # Errors
    /// The first that is not, with part, line and the nearest known name.
    pub fn check(&self, _names: &Names) -> Result<(), TemplateError> {
        todo!()
    }

    /// SHA-256 of everything it was loaded from, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        todo!()
    }

    /// Renders all parts, in the variant for `locale` (`zh-TW` finds zh-TW, else zh, else the one without a language).
    ///
    /// # Errors
    /// As [`Phrase::render`], with the part.
    pub fn render(&self, _data: &Data, _locale: Option<&str>) -> Result<Rendered, TemplateError> {
        todo!()
    }
}

/// A rendered template.
#[derive(Debug, Clone, Default)]
pub struct Rendered {
    /// The subject.
    pub subject: Option<String>,
    /// The text part; of Markdown, its source.
    pub text: Option<String>,
    /// The HTML part, with its style sheets in style attributes and its images as `cid:`.
    pub html: Option<String>,
    /// Images of the HTML, to be sent inline: Content-ID and file.
    pub images: Vec<(String, std::path::PathBuf)>,
    /// Files to attach, as behind `--attach`; relative paths start from the template's folder already.
    pub attachments: Vec<String>,
}

/// What is wrong with a template, or with its data.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{name}: {what}")]
pub struct TemplateError {
    /// The part: `welcome/body.html:3:7`, `--subject`.
    pub name: String,
    /// A clause for people; clean.
    pub what: String,
    /// What to type or check next.
    pub hints: Vec<String>,
}
