//! Texts that only show values, and ask whether there are some: most are of this kind, and are written without
//! Handlebars, which copies every path and value on its way.

use handlebars::{
    JsonRender, JsonTruthy, Path, PathSeg, Template,
    template::{HelperTemplate, Parameter, TemplateElement},
};
use serde_json::Value;

use super::{
    Data,
    compile::is_value,
    shelf::{Escape, Shelf},
};

/// A part of such a text.
#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Value { name: String, is_escaped: bool },
    If { name: String, then: Vec<Piece>, otherwise: Vec<Piece> },
}

/// The pieces of a text, if it has no others.
pub(super) fn pieces(template: &Template) -> Option<Vec<Piece>> {
    let mut pieces = Vec::with_capacity(template.elements.len());
    for element in &template.elements {
        pieces.push(match element {
            TemplateElement::RawString(text) => Piece::Text(text.clone()),
            TemplateElement::Comment(_) => continue,
            TemplateElement::Expression(value) if is_value(value) => {
                Piece::Value { name: column(&value.name)?, is_escaped: true }
            }
            TemplateElement::HtmlExpression(value) if is_value(value) => {
                Piece::Value { name: column(&value.name)?, is_escaped: false }
            }
            TemplateElement::HelperBlock(block) => condition(block)?,
            _ => return None,
        });
    }
    Some(pieces)
}

fn condition(block: &HelperTemplate) -> Option<Piece> {
    let [parameter] = block.params.as_slice() else { return None };
    if !block.hash.is_empty() || block.block_param.is_some() {
        return None;
    }
    let name = column(parameter)?;
    let branch = |template: &Option<Template>| template.as_ref().map_or(Some(Vec::new()), pieces);
    let (then, otherwise) = (branch(&block.template)?, branch(&block.inverse)?);
    match block.name.as_name()? {
        "if" => Some(Piece::If { name, then, otherwise }),
        "unless" => Some(Piece::If { name, then: otherwise, otherwise: then }),
        _ => None,
    }
}

/// The name, if it is one of the row and nothing behind it.
fn column(parameter: &Parameter) -> Option<String> {
    match parameter {
        Parameter::Path(Path::Relative((segments, _))) => match segments.as_slice() {
            [PathSeg::Named(name)] => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Writes the pieces; every name is known to be there.
pub(super) fn write(pieces: &[Piece], data: &Data, shelf: &Shelf, out: &mut String) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Value { name, is_escaped } => match data.get(name) {
                // Nothing in it would be escaped: it is copied once.
                Some(Value::String(text)) if !is_escaped || is_as_it_is(text, shelf.escape()) => out.push_str(text),
                Some(value) if *is_escaped => out.push_str(&shelf.registry().get_escape_fn()(&value.render())),
                Some(value) => out.push_str(&value.render()),
                None => {}
            },
            Piece::If { name, then, otherwise } => {
                let is_true = data.get(name).is_some_and(|value| value.is_truthy(false));
                write(if is_true { then } else { otherwise }, data, shelf, out);
            }
        }
    }
}

/// Whether escaping leaves it as it is.
fn is_as_it_is(text: &str, escape: Escape) -> bool {
    match escape {
        Escape::None => true,
        Escape::Html => !text.bytes().any(|byte| matches!(byte, b'<' | b'>' | b'"' | b'&' | b'\'' | b'`' | b'=')),
        Escape::Markdown => false,
    }
}
