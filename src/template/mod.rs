//! Handlebars templates for text, HTML and header fields: compiled, checked against the known names, rendered.
//!
//! Files are read when a template is loaded; rendering does no I/O. A template sees the row, its own partials and the
//! helpers of [`helpers`], nothing else: no file, no environment, no command. What is sent to whom is decided above.
//!
//! Strict mode of Handlebars is not strict: `{{#if gone}}` and arguments of helpers pass. So every path of a compiled
//! text is followed once, through blocks, block parameters and partials, and each name that the row must have is
//! noted; that list is checked against the columns before anything is sent, and against each row while rendering.

mod compile;
mod data;
mod helpers;
mod names;
mod phrase;
mod shelf;
mod walk;

pub use data::Data;
pub use names::Names;
pub use phrase::Phrase;

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

/// What is wrong with a template, or with its data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {what}")]
pub struct TemplateError {
    /// The part: `welcome/body.html:3:7`, `--subject`.
    pub name: String,
    /// A clause for people; clean.
    pub what: String,
    /// What to type or check next.
    pub hints: Vec<String>,
}

impl TemplateError {
    fn new(name: impl Into<String>, what: impl AsRef<str>) -> Self {
        let what = crate::mail::clean(what.as_ref());
        Self { name: crate::mail::clean(&name.into()), what, hints: Vec::new() }
    }

    #[must_use]
    fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hints.push(crate::mail::clean(hint.as_ref()));
        self
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

    /// Names that may be missing in its data.
    pub fn optional(&self) -> &[String] {
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
