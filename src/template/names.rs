//! The names that a template may use, and what is said about one that it may not.

use super::{TemplateError, data::snake_case};
use crate::config::nearest;

/// So many names are listed when none is near.
const MAX_LISTED: usize = 12;

/// Names that a template may use.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Columns and `--set` names.
    pub given: Vec<String>,
    /// Names that may be missing.
    pub optional: Vec<String>,
}

/// A name that the row must have, and where a text uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Use {
    pub name: String,
    /// `welcome/body.html:3:7`.
    pub place: String,
}

impl Names {
    fn all(&self) -> impl Iterator<Item = &str> {
        self.given.iter().chain(&self.optional).map(String::as_str)
    }

    /// Whether a template may use `name`.
    pub fn has(&self, name: &str) -> bool {
        self.all().any(|known| known == name || snake_case(known) == name)
    }

    /// These, and further names that may be missing.
    pub(super) fn and_optional(&self, names: &[String]) -> Self {
        let mut all = self.clone();
        all.optional.extend_from_slice(names);
        all
    }

    pub(super) fn check(&self, uses: &[Use]) -> Result<(), TemplateError> {
        uses.iter().find(|used| !self.has(&used.name)).map_or(Ok(()), |used| Err(self.unknown(used)))
    }

    fn unknown(&self, used: &Use) -> TemplateError {
        let error = TemplateError::new(&used.place, format!("there is no column or value named '{}'", used.name));
        let mut known: Vec<String> = self.all().map(|name| snake_case(name).into_owned()).collect();
        known.dedup();
        if let Some(near) = nearest(&used.name, known.iter().map(String::as_str)) {
            return error.hint(format!("did you mean {{{{{near}}}}}?"));
        }
        if known.is_empty() {
            return error.hint(format!("give it: --set {}=VALUE", used.name));
        }
        let more = known.len().saturating_sub(MAX_LISTED);
        known.truncate(MAX_LISTED);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        error.hint(format!("there are: {}{more}; or give it: --set {}=VALUE", known.join(", "), used.name))
    }
}
