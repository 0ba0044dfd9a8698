//! From text to a compiled template: what would overrun the parser is refused first, and columns win over helpers.

use std::panic::{AssertUnwindSafe, catch_unwind};

use handlebars::{
    Path, Template,
    template::{DecoratorTemplate, HelperTemplate, Parameter, TemplateElement},
};

use super::{TemplateError, helpers};

/// Blocks in blocks, and `{{else if}}`s behind each other: the parser, the renderer and the compiled tree recurse.
const MAX_DEPTH: usize = 64;
/// Parentheses and brackets within one expression.
const MAX_NESTING: usize = 16;
/// So much of what is not understood is shown.
const MAX_SHOWN: usize = 40;

/// Compiles `text`, which errors call `label`.
pub(super) fn compile(label: &str, text: &str) -> Result<Template, TemplateError> {
    let open = check_depth(label, text)?;
    // The parser has places that it takes for unreachable.
    let parsed = catch_unwind(AssertUnwindSafe(|| Template::compile(text)));
    let error = match parsed {
        Ok(Ok(mut template)) => {
            normalize(&mut template);
            return Ok(template);
        }
        Ok(Err(error)) => error,
        Err(_) => return Err(TemplateError::new(label, "the parser of templates fails at it")),
    };
    if let Some((line, tag)) = open {
        let error = TemplateError::new(format!("{label}:{line}"), format!("the block '{tag}' has no end"));
        let name = tag.trim_matches(['{', '}', '#', '~', '>', '*', ' ']).split_whitespace().next().unwrap_or_default();
        return Err(error.hint(format!("close it: {{{{/{name}}}}}")));
    }
    use handlebars::TemplateErrorReason as Reason;
    let Some((line, column)) = error.pos() else {
        return Err(TemplateError::new(label, error.reason().to_string()));
    };
    let what = match error.reason() {
        Reason::MismatchingClosedHelper(open, close) | Reason::MismatchingClosedDecorator(open, close) => {
            format!("the block '{open}' is open, but '{close}' is closed")
        }
        _ => format!("'{}' is not understood", excerpt(text, line, column)),
    };
    let error = TemplateError::new(format!("{label}:{line}:{column}"), what);
    Err(error.hint("a placeholder is {{name}}, a name with spaces {{[name]}}; for the braces themselves write \\{{"))
}

/// The tag in which the parser stopped.
fn excerpt(text: &str, line: usize, column: usize) -> String {
    let text = text.lines().nth(line - 1).unwrap_or_default();
    let at = text.char_indices().nth(column.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
    let start = text[..at].rfind("{{").unwrap_or(at);
    let shown: String = text[start..].chars().take(MAX_SHOWN).collect();
    shown.find("}}").map_or(shown.as_str(), |end| &shown[..end + 2]).to_owned()
}

/// Refuses what is nested so deeply that a recursive parser overruns its stack. Returns line and tag of the last block
/// that is not closed.
///
/// It follows the grammar as far as it must: what it takes for the end of a block is one, and behind a tag that it
/// cannot follow the parser does not go on.
fn check_depth<'a>(label: &str, text: &'a str) -> Result<Option<(usize, &'a str)>, TemplateError> {
    // Line, tag, and how many levels of the compiled tree it has.
    let mut open: Vec<(usize, &str, usize)> = Vec::new();
    let mut depth = 0;
    let (mut at, mut line) = (0, 1);
    while let Some(found) = text[at..].find("{{") {
        let start = at + found;
        line += newlines(&text[at..start]);
        let rest = &text[start..];
        let error = |what: &str| TemplateError::new(format!("{label}:{line}"), what);
        let backslashes = text[at..start].len() - text[at..start].trim_end_matches('\\').len();
        let end = if backslashes == 1 {
            2
        } else if rest.starts_with("{{!--") && rest.contains("--}}") {
            rest.find("--}}").map_or(rest.len(), |end| end + 4)
        } else if rest.starts_with("{{!") {
            rest.find("}}").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("{{{{") {
            rest.find("{{{{/").map_or(rest.len(), |end| end + 5)
        } else {
            let (end, nesting) = tag_end(rest).ok_or_else(|| {
                error(&format!("'{}' has no end", excerpt(rest, 1, 1))).hint("for the braces themselves write \\{{")
            })?;
            if nesting > MAX_NESTING {
                return Err(error("parentheses are nested too deeply"));
            }
            let tag = rest[2..end].trim_start_matches('~').trim_start();
            if tag.starts_with('#') {
                open.push((line, &rest[..end], 1));
                depth += 1;
            } else if tag.starts_with('/') {
                depth -= open.pop().map_or(0, |(_, _, levels)| levels);
            } else if let Some((_, _, levels)) = open.last_mut()
                && (tag.starts_with("else") || tag.starts_with('^'))
            {
                *levels += 1;
                depth += 1;
            }
            if depth > MAX_DEPTH {
                return Err(error("blocks are nested too deeply"));
            }
            end
        };
        line += newlines(&rest[..end]);
        at = start + end;
    }
    Ok(open.pop().map(|(line, tag, _)| (line, tag)))
}

fn newlines(text: &str) -> usize {
    memchr::memchr_iter(b'\n', text.as_bytes()).count()
}

/// Where the tag that `text` begins with ends, and how deeply parentheses and brackets are nested in it, as far as that
/// can be borne.
fn tag_end(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut quote = None;
    // The third brace of `{{{` opens nothing.
    let mut at = if bytes.get(2) == Some(&b'{') { 3 } else { 2 };
    while let Some(&byte) = bytes.get(at) {
        match (quote, byte) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'}') if depth == 0 && bytes[at..].starts_with(b"}}") => return Some((at + 2, deepest)),
            (None, b'(' | b'[' | b'{') => {
                // A name in brackets holds anything but its end; a list with nothing in it that nests is as flat.
                let name = (byte == b'[').then(|| bytes[at + 1..].iter().position(|&b| b == b']')).flatten();
                match name {
                    Some(len) if !bytes[at + 1..][..len].iter().any(|b| b"\"'[{(".contains(b)) => at += len + 1,
                    _ => depth += 1,
                }
                deepest = deepest.max(depth);
                if deepest > MAX_NESTING {
                    return Some((at, deepest));
                }
            }
            (None, b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// A column named as a helper is meant where it stands alone: `{{date}}` shows the column.
fn normalize(template: &mut Template) {
    for element in &mut template.elements {
        match element {
            TemplateElement::Expression(helper) | TemplateElement::HtmlExpression(helper) => normalize_value(helper),
            TemplateElement::HelperBlock(block) => {
                block.template.iter_mut().chain(&mut block.inverse).for_each(normalize);
            }
            TemplateElement::DecoratorBlock(block) | TemplateElement::PartialBlock(block) => {
                block.template.iter_mut().for_each(normalize);
            }
            _ => {}
        }
    }
}

fn normalize_value(value: &mut HelperTemplate) {
    if is_value(value)
        && let Some(name) = value.name.as_name()
        && helpers::spec(name).is_some()
        && let Ok(path) = Path::parse(&format!("./{name}"))
    {
        value.name = Parameter::Path(path);
    }
}

/// Whether it is a placeholder for a value, and no call of a helper.
pub(super) fn is_value(expression: &HelperTemplate) -> bool {
    !expression.block && expression.params.is_empty() && expression.hash.is_empty()
}

/// Name and content of an inline partial: `{{#*inline "name"}}`.
pub(super) fn inline_partial(decorator: &DecoratorTemplate) -> Option<(&str, &Template)> {
    let [Parameter::Literal(serde_json::Value::String(name))] = decorator.params.as_slice() else { return None };
    (decorator.name.as_name() == Some("inline")).then_some(())?;
    Some((name, decorator.template.as_ref()?))
}
