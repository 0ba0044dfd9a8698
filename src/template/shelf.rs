//! What the parts of a template have in common: helpers, partials, and how values are escaped.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use handlebars::{Handlebars, Template, html_escape, no_escape};

use super::{Kind, TemplateError, compile::compile, helpers, parts::escape_markdown};

/// What is done to values, so that they are nothing but text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    Html,
    Markdown,
    None,
}

/// Helpers and partials for texts of one kind.
pub(super) struct Shelf {
    registry: Handlebars<'static>,
    escape: Escape,
    /// The files of the partials.
    labels: HashMap<String, String>,
}

/// What a text of an option may use: helpers, and no partial.
static BARE: LazyLock<[Arc<Shelf>; 2]> = LazyLock::new(|| {
    [Escape::Html, Escape::None].map(|escape| Arc::new(Shelf::empty(escape, helpers::DEFAULT_LOCALE)))
});

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(&self.labels).finish()
    }
}

impl Shelf {
    /// The one without partials.
    pub fn bare(kind: Kind) -> Arc<Self> {
        let [html, text] = &*BARE;
        Arc::clone(if kind == Kind::Html { html } else { text })
    }

    /// One without partials whose helpers write for readers of `locale`.
    pub fn empty(escape: Escape, locale: &str) -> Self {
        let mut registry = Handlebars::new();
        registry.register_escape_fn(match escape {
            Escape::Html => html_escape,
            Escape::Markdown => escape_markdown,
            Escape::None => no_escape,
        });
        helpers::register(&mut registry, locale);
        Self { registry, escape, labels: HashMap::new() }
    }

    /// Adds a partial, which errors call `label`.
    pub fn add(&mut self, name: &str, label: &str, text: &str) -> Result<(), TemplateError> {
        let mut template = compile(label, text)?;
        template.name = Some(name.to_owned());
        self.registry.register_template(name, template);
        self.labels.insert(name.to_owned(), label.to_owned());
        Ok(())
    }

    pub fn escape(&self) -> Escape {
        self.escape
    }

    pub fn registry(&self) -> &Handlebars<'static> {
        &self.registry
    }

    pub fn partial(&self, name: &str) -> Option<&Template> {
        self.registry.get_template(name)
    }

    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    pub fn partials(&self) -> impl Iterator<Item = &str> {
        self.labels.keys().map(String::as_str)
    }

    /// What to do about a partial that is not there.
    pub fn hint(&self, name: &str) -> String {
        match self.labels.is_empty() {
            true => format!("partials lie in the template's folder: partials/{name}.html, partials/{name}.txt"),
            false => {
                let mut names: Vec<&str> = self.partials().collect();
                names.sort_unstable();
                format!("there are: {}", names.join(", "))
            }
        }
    }
}
