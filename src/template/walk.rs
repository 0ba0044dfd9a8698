//! Follows every path of a compiled text: which names of the row it uses, and what in it can never work.

use std::collections::HashMap;

use handlebars::{
    Path, PathSeg, Template,
    template::{BlockParam, DecoratorTemplate, HelperTemplate, Parameter, TemplateElement},
};

use super::{
    TemplateError,
    compile::{inline_partial, is_value},
    helpers::{self, Form, SPECS},
    names::Use,
    shelf::Shelf,
};
use crate::config::nearest;

/// Partials in partials: rendering recurses.
const MAX_INCLUSIONS: usize = 24;
/// So many elements are followed. Partials that include others several times are as many texts as they stand for.
const MAX_ELEMENTS: usize = 100_000;
/// What stands for the content of a block that a partial is called with.
const PARTIAL_BLOCK: &str = "@partial-block";

/// Returns the names of the row that `template` uses, each once, with the place of its first use; and whether it uses
/// the row as a whole.
///
/// # Errors
/// Helpers and partials that do not exist, wrong arguments, partials without end.
pub(super) fn uses(label: &str, template: &Template, shelf: &Shelf) -> Result<(Vec<Use>, bool), TemplateError> {
    let mut walk = Walk {
        shelf,
        label: label.to_owned(),
        place: label.to_owned(),
        scopes: vec![Scope { is_row: true, ..Scope::default() }],
        inline: Vec::new(),
        including: Vec::new(),
        elements: 0,
        uses: Vec::new(),
        takes_row: false,
    };
    walk.template(template)?;
    Ok((walk.uses, walk.takes_row))
}

/// What names mean at a place.
#[derive(Debug, Clone, Default)]
struct Scope<'a> {
    /// They are those of the row; else of something in it, whose names nobody knows.
    is_row: bool,
    /// Block parameters, and what a partial is given by name.
    names: Vec<&'a str>,
    /// Within `{{#each}}` there are `@index` and the like.
    is_loop: bool,
}

struct Walk<'a> {
    shelf: &'a Shelf,
    /// The file that is followed just now.
    label: String,
    /// The place in it.
    place: String,
    scopes: Vec<Scope<'a>>,
    inline: Vec<HashMap<&'a str, &'a Template>>,
    including: Vec<String>,
    elements: usize,
    uses: Vec<Use>,
    takes_row: bool,
}

impl<'a> Walk<'a> {
    fn error(&self, what: impl AsRef<str>) -> TemplateError {
        TemplateError::new(&self.place, what)
    }

    fn template(&mut self, template: &'a Template) -> Result<(), TemplateError> {
        let outer = self.place.clone();
        // An inline partial is known behind its definition, as far as the text goes that it stands in.
        self.inline.push(HashMap::new());
        for (number, element) in template.elements.iter().enumerate() {
            self.elements += 1;
            if self.elements > MAX_ELEMENTS {
                return Err(self.error("partials are included too often"));
            }
            if let Some(mapping) = template.mapping.get(number) {
                self.place = format!("{}:{}:{}", self.label, mapping.0, mapping.1);
            }
            match element {
                TemplateElement::RawString(_) | TemplateElement::Comment(_) => {}
                TemplateElement::Expression(helper)
                | TemplateElement::HtmlExpression(helper)
                | TemplateElement::HelperBlock(helper) => self.expression(helper)?,
                TemplateElement::DecoratorExpression(decorator) | TemplateElement::DecoratorBlock(decorator) => {
                    self.decorator(decorator)?;
                }
                TemplateElement::PartialExpression(partial) | TemplateElement::PartialBlock(partial) => {
                    self.partial(partial)?;
                }
                // The enum may grow.
                #[allow(unreachable_patterns)]
                _ => return Err(self.error("this kind of tag is not known here")),
            }
        }
        self.inline.pop();
        self.place = outer;
        Ok(())
    }

    fn expression(&mut self, helper: &'a HelperTemplate) -> Result<(), TemplateError> {
        if is_value(helper) {
            return match &helper.name {
                Parameter::Path(path) => self.path(path),
                Parameter::Subexpression(_) => {
                    Err(self.error("parentheses alone: a helper is called as {{name value}}"))
                }
                _ => Ok(()),
            };
        }
        self.call(helper)?;
        let name = helper.name.as_name().unwrap_or_default();
        let scope = match name {
            "each" => Some(Scope { is_loop: true, ..Scope::default() }),
            "with" => {
                let is_row = matches!(helper.params.first(), Some(Parameter::Path(path)) if self.is_row(path));
                Some(Scope { is_row, is_loop: self.scope(0).is_loop, names: Vec::new() })
            }
            _ => None,
        };
        if let Some(template) = &helper.template {
            let is_pushed = scope.is_some();
            if let Some(mut scope) = scope {
                match &helper.block_param {
                    Some(BlockParam::Single(one)) => scope.names.extend(one.as_name()),
                    Some(BlockParam::Pair((one, two))) => {
                        scope.names.extend([one, two].into_iter().flat_map(Parameter::as_name))
                    }
                    _ => {}
                }
                self.scopes.push(scope);
            }
            self.template(template)?;
            if is_pushed {
                self.scopes.pop();
            }
        }
        helper.inverse.as_ref().map_or(Ok(()), |inverse| self.template(inverse))
    }

    /// Whether the helper is known, and takes what it is given.
    fn call(&mut self, helper: &'a HelperTemplate) -> Result<(), TemplateError> {
        let Some(name) = helper.name.as_name() else { return Err(self.error("the name of a helper is wanted")) };
        let Some(spec) = helpers::spec(name) else { return Err(self.no_helper(name, helper)) };
        let call = format!("{{{{{}{name} …}}}}", if helper.block { "#" } else { "" });
        match spec.form {
            Form::Value if helper.block => return Err(self.error(format!("{call}: '{name}' takes no block"))),
            Form::Block if !helper.block => {
                return Err(self.error(format!("{call}: '{name}' wants a block: {{{{#{name} …}}}}…{{{{/{name}}}}}")));
            }
            _ => {}
        }
        let (least, most) = spec.values;
        let given = helper.params.len();
        if given < least || given > most {
            let wanted = match (least, most) {
                (0, 0) => "no value".to_owned(),
                (1, 1) => "one value".to_owned(),
                (least, most) if least == most => format!("{least} values"),
                (least, usize::MAX) => format!("{least} values or more"),
                (least, most) => format!("{least} to {most} values"),
            };
            return Err(self.error(format!("{call}: '{name}' takes {wanted}, not {given}")));
        }
        if let Some(unknown) = helper.hash.keys().filter(|key| !spec.hash.contains(&key.as_str())).min() {
            let error = self.error(format!("{call}: '{name}' knows no {unknown}="));
            return Err(match nearest(unknown, spec.hash.iter().copied()) {
                Some(near) => error.hint(format!("did you mean {near}=?")),
                None if spec.hash.is_empty() => error,
                None => error.hint(format!("it knows {}=", spec.hash.join("=, "))),
            });
        }
        helper.params.iter().chain(helper.hash.values()).try_for_each(|parameter| self.parameter(parameter))
    }

    fn no_helper(&self, name: &str, helper: &HelperTemplate) -> TemplateError {
        if helper.block && helper.params.is_empty() {
            let error = self.error(format!("there is no block '{name}'"));
            return error.hint(format!("{{{{#if {name}}}}}…{{{{/if}}}}, or {{{{#each {name}}}}}…{{{{/each}}}}"));
        }
        let error = self.error(format!("there is no helper '{name}'"));
        let words: Vec<&str> = helper.params.iter().filter_map(Parameter::as_name).collect();
        if let Some(near) = nearest(name, SPECS.iter().map(|spec| spec.name)) {
            return error.hint(format!("did you mean '{near}'?"));
        }
        error.hint(format!("a name with spaces is written {{{{[{} {}]}}}}", name, words.join(" ")))
    }

    fn parameter(&mut self, parameter: &'a Parameter) -> Result<(), TemplateError> {
        match parameter {
            Parameter::Path(path) => self.path(path),
            Parameter::Subexpression(call) => match call.as_element() {
                TemplateElement::Expression(helper) => self.call(helper),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The scope so many levels up; what leads out of all of them stays where it is, as in rendering.
    fn scope(&self, up: usize) -> &Scope<'a> {
        let at = self.scopes.len().checked_sub(up + 1).unwrap_or(self.scopes.len() - 1);
        &self.scopes[at]
    }

    /// Whether the path is the whole row.
    fn is_row(&self, path: &Path) -> bool {
        match path {
            Path::Relative((segments, raw)) => {
                let names = segments.iter().filter(|segment| matches!(segment, PathSeg::Named(_))).count();
                names == 0 && (raw.starts_with("@root") || self.scope(segments.len()).is_row)
            }
            Path::Local(_) => false,
        }
    }

    fn path(&mut self, path: &'a Path) -> Result<(), TemplateError> {
        match path {
            Path::Local((up, name, raw)) => {
                let is_known = self.scope(*up).is_loop && ["index", "first", "last", "key"].contains(&name.as_str());
                if is_known {
                    return Ok(());
                }
                let error = self.error(format!("there is no '{raw}' here"));
                Err(error.hint("@index, @first, @last and @key are known within {{#each …}}, @root everywhere"))
            }
            Path::Relative((segments, raw)) => {
                let ups = segments.iter().take_while(|segment| matches!(segment, PathSeg::Ruled(_))).count();
                let Some(PathSeg::Named(name)) = segments.get(ups) else {
                    self.takes_row |= self.is_row(path);
                    return Ok(());
                };
                let is_root = raw.starts_with("@root");
                // A block parameter is known in all blocks within its own.
                if !is_root && self.scopes.iter().any(|scope| scope.names.contains(&name.as_str())) {
                    return Ok(());
                }
                if (is_root || self.scope(ups).is_row) && !self.uses.iter().any(|used| used.name == *name) {
                    self.uses.push(Use { name: name.clone(), place: self.place.clone() });
                }
                Ok(())
            }
        }
    }

    fn decorator(&mut self, decorator: &'a DecoratorTemplate) -> Result<(), TemplateError> {
        let Some((name, template)) = inline_partial(decorator) else {
            let error = self.error("this is no inline partial");
            return Err(error.hint("{{#*inline \"name\"}}…{{/inline}}"));
        };
        if let Some(inline) = self.inline.last_mut() {
            inline.insert(name, template);
        }
        Ok(())
    }

    fn partial(&mut self, partial: &'a DecoratorTemplate) -> Result<(), TemplateError> {
        let Some(name) = partial.name.as_name().map(|name| name.trim_matches('\'')) else {
            let error = self.error("the name of a partial cannot be computed");
            return Err(error.hint("{{#if …}}{{> one}}{{else}}{{> other}}{{/if}}"));
        };
        partial.params.iter().chain(partial.hash.values()).try_for_each(|parameter| self.parameter(parameter))?;
        if name == PARTIAL_BLOCK {
            return partial.template.as_ref().map_or(Ok(()), |fallback| self.template(fallback));
        }
        let is_row = match partial.params.first() {
            None => self.scope(0).is_row,
            Some(Parameter::Path(path)) => self.is_row(path),
            Some(_) => false,
        };
        let names = partial.hash.keys().map(String::as_str).collect();
        self.scopes.push(Scope { is_row, names, is_loop: self.scope(0).is_loop });
        // The content of the block may define inline partials for the partial.
        self.inline.push(HashMap::new());
        if let Some(content) = &partial.template {
            for element in &content.elements {
                if let TemplateElement::DecoratorBlock(decorator) = element {
                    self.decorator(decorator)?;
                }
            }
            self.template(content)?;
        }
        let inline = self.inline.iter().rev().find_map(|partials| partials.get(name).copied());
        let label = match inline {
            Some(_) => self.label.clone(),
            None => self.shelf.label(name).unwrap_or_default().to_owned(),
        };
        match inline.or_else(|| self.shelf.partial(name)) {
            Some(template) => self.include(name, label, template)?,
            // The content stands for a partial that is not there.
            None if partial.template.is_some() => {}
            None => return Err(self.no_partial(name)),
        }
        self.inline.pop();
        self.scopes.pop();
        Ok(())
    }

    fn include(&mut self, name: &str, label: String, template: &'a Template) -> Result<(), TemplateError> {
        if self.including.iter().any(|outer| outer == name) {
            let circle = [self.including.join("' includes '"), name.to_owned()].join("' includes '");
            return Err(self.error(format!("partials include each other without end: '{circle}'")));
        }
        if self.including.len() >= MAX_INCLUSIONS {
            return Err(self.error("partials are nested too deeply"));
        }
        self.including.push(name.to_owned());
        let outer = (std::mem::replace(&mut self.label, label), self.place.clone());
        self.template(template)?;
        (self.label, self.place) = outer;
        self.including.pop();
        Ok(())
    }

    fn no_partial(&self, name: &str) -> TemplateError {
        let error = self.error(format!("there is no partial '{name}'"));
        match nearest(name, self.shelf.partials()) {
            Some(near) => error.hint(format!("did you mean {{{{> {near}}}}}?")),
            None => error.hint(self.shelf.hint(name)),
        }
    }
}
