//! Handlebars templates for text, HTML and header fields: compiled, checked against the known names, rendered.
//!
//! Files are read when a template is loaded; rendering does no I/O. A template sees the row, its own partials and the
//! helpers of `helpers`, nothing else: no file, no environment, no command. What is sent to whom is decided above.
//!
//! Strict mode of Handlebars is not strict: `{{#if gone}}` and arguments of helpers pass. So every path of a compiled
//! text is followed once, through blocks, block parameters and partials, and each name that the row must have is
//! noted; that list is checked against the columns before anything is sent, and against each row while rendering.

mod attached;
mod compile;
mod data;
mod find;
mod helpers;
mod images;
mod load;
mod names;
mod parts;
mod phrase;
mod plain;
mod shelf;
mod style;
mod variants;
mod walk;

pub use data::Data;
pub use find::{Listed, list};
pub use load::{load, load_reporting_all};
pub use names::Names;
pub use parts::{Rendered, Template};
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
    /// A file or folder that cannot be read (exit 66); else it is wrong in itself (65).
    pub is_unreadable: bool,
}

impl TemplateError {
    fn new(name: impl Into<String>, what: impl AsRef<str>) -> Self {
        let what = crate::mail::clean(what.as_ref());
        Self { name: crate::mail::clean(&name.into()), what, hints: Vec::new(), is_unreadable: false }
    }

    fn unreadable(name: impl Into<String>, what: impl AsRef<str>) -> Self {
        Self { is_unreadable: true, ..Self::new(name, what) }
    }

    #[must_use]
    fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hints.push(crate::mail::clean(hint.as_ref()));
        self
    }
}
