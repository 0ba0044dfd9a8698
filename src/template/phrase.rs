//! One compiled text.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use handlebars::{
    Output, RenderContext, RenderError, RenderErrorReason as Reason, Renderable, Template, template::TemplateElement,
};

use super::{Data, Kind, Names, TemplateError, compile::compile, names::Use, plain, shelf::Shelf, walk::uses};

/// A longer text is the work of a loop that its author did not mean.
const MAX_RENDERED: usize = 64 * 1024 * 1024;

/// One compiled text: an option's value, a subject, a body. It can be rendered by several threads at once.
#[derive(Debug)]
pub struct Phrase {
    name: String,
    kind: Kind,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Nothing in it depends on data.
    Literal(String),
    Compiled {
        template: Box<Template>,
        /// The same, if it is simple.
        pieces: Option<Vec<plain::Piece>>,
        shelf: Arc<Shelf>,
        /// Names that a row must have.
        uses: Vec<Use>,
        /// It uses the row as a whole, too.
        takes_row: bool,
        /// Octets of the last result: the next is about as long.
        size: AtomicUsize,
    },
}

impl Phrase {
    /// Compiles `text`, which errors call `name`.
    ///
    /// # Errors
    /// With line and column, if it is no template, or calls for a helper or partial that does not exist. A line end
    /// where none may be.
    pub fn compile(name: &str, text: &str, kind: Kind) -> Result<Self, TemplateError> {
        Self::compile_on(name, text, kind, &Shelf::bare(kind))
    }

    /// The same with the partials on this shelf.
    pub(super) fn compile_on(name: &str, text: &str, kind: Kind, shelf: &Arc<Shelf>) -> Result<Self, TemplateError> {
        if kind == Kind::Line {
            check_line(name, text)?;
        }
        // Backslashes have a meaning before braces only.
        let body = if text.contains("{{") {
            let template = Box::new(compile(name, text)?);
            let (uses, takes_row) = uses(name, &template, shelf)?;
            let pieces = plain::pieces(&template);
            Body::Compiled {
                template,
                pieces,
                shelf: Arc::clone(shelf),
                uses,
                takes_row,
                size: AtomicUsize::new(text.len()),
            }
        } else {
            Body::Literal(text.to_owned())
        };
        Ok(Self { name: name.to_owned(), kind, body })
    }

    /// The text itself, if nothing in it depends on data.
    pub fn literal(&self) -> Option<&str> {
        match &self.body {
            Body::Literal(text) => Some(text),
            Body::Compiled { .. } => None,
        }
    }

    /// Whether it uses the row as a whole.
    pub(super) fn takes_row(&self) -> bool {
        matches!(self.body, Body::Compiled { takes_row: true, .. })
    }

    /// Whether the result begins with what was typed, and not with a value.
    pub(super) fn begins_with_text(&self) -> bool {
        match &self.body {
            Body::Literal(_) => true,
            Body::Compiled { template, .. } => {
                matches!(template.elements.first(), Some(TemplateElement::RawString(text)) if !text.is_empty())
            }
        }
    }

    /// The names that it uses, each with the place of its first use.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.uses().iter().map(|used| (used.name.as_str(), used.place.as_str()))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn uses(&self) -> &[Use] {
        match &self.body {
            Body::Literal(_) => &[],
            Body::Compiled { uses, .. } => uses,
        }
    }

    /// Whether every name in it is known.
    ///
    /// # Errors
    /// With the line and the nearest known name.
    pub fn check(&self, names: &Names) -> Result<(), TemplateError> {
        names.check(self.uses())
    }

    /// Renders it.
    ///
    /// # Errors
    /// A name that this row does not have, a line end where none may be.
    pub fn render(&self, data: &Data) -> Result<String, TemplateError> {
        let (template, pieces, shelf, uses, size) = match &self.body {
            Body::Literal(text) => return Ok(text.clone()),
            Body::Compiled { template, pieces, shelf, uses, size, .. } => (template, pieces, shelf, uses, size),
        };
        if let Some(missing) = uses.iter().find(|used| data.get(&used.name).is_none()) {
            return Err(TemplateError::new(&missing.place, format!("there is no '{}' here", missing.name)));
        }
        // Somewhat more than the last time: no two rows have the same length.
        let expected = size.load(Ordering::Relaxed);
        let mut text = Text(String::with_capacity(expected + expected / 8 + 64));
        match pieces {
            Some(pieces) => plain::write(pieces, data, shelf, &mut text.0),
            None => template
                .render(shelf.registry(), data.context(), &mut RenderContext::new(None), &mut text)
                .map_err(|error| self.render_error(&error, shelf))?,
        }
        size.store(text.0.len(), Ordering::Relaxed);
        if self.kind == Kind::Line {
            check_line(&self.name, &text.0).map_err(|error| self.blame(error, data))?;
        }
        Ok(text.0)
    }

    fn render_error(&self, error: &RenderError, shelf: &Shelf) -> TemplateError {
        let file = error.template_name.as_deref().and_then(|name| shelf.label(name)).unwrap_or(&self.name);
        let place = match (error.line_no, error.column_no) {
            (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
            _ => file.to_owned(),
        };
        match error.reason() {
            Reason::MissingVariable(Some(path)) => TemplateError::new(place, format!("there is no '{path}' here"))
                .hint(format!("where it may be missing: {{{{#if {path}}}}}…{{{{/if}}}}")),
            Reason::InvalidJsonIndex(index) => TemplateError::new(place, format!("'{index}' is no number in a list")),
            Reason::PartialBlockNotFound => TemplateError::new(
                place,
                "nothing stands for {{> @partial-block}}: the partial is included without a block",
            ),
            Reason::IOError(_) => TemplateError::new(place, "the text becomes too long"),
            reason => TemplateError::new(place, reason.to_string()),
        }
    }

    /// Names the value that a character which may not be in a line comes from.
    fn blame(&self, error: TemplateError, data: &Data) -> TemplateError {
        let has_control = |used: &&Use| {
            data.get(&used.name).is_some_and(|value| match value.as_str() {
                Some(text) => text.chars().any(char::is_control),
                None => value.is_object() || value.is_array(),
            })
        };
        match self.uses().iter().find(has_control) {
            Some(used) => TemplateError::new(&used.place, format!("{}, from '{}'", error.what, used.name)),
            None => error,
        }
    }
}

/// Refuses what may not be in a header field or a file name.
fn check_line(name: &str, text: &str) -> Result<(), TemplateError> {
    match text.chars().find(|c| c.is_control()) {
        None => Ok(()),
        Some('\r' | '\n') => Err(TemplateError::new(name, "it contains a line end, where only one line may be")),
        Some(c) => Err(TemplateError::new(name, format!("it contains the control character U+{:04X}", u32::from(c)))),
    }
}

/// Where a rendered text grows.
struct Text(String);

impl Output for Text {
    fn write(&mut self, text: &str) -> io::Result<()> {
        if self.0.len() + text.len() > MAX_RENDERED {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn phrase(text: &str, kind: Kind) -> Result<Phrase, String> {
        Phrase::compile("t", text, kind).map_err(|error| error.to_string())
    }

    fn render(text: &str, data: Value) -> Result<String, String> {
        phrase(text, Kind::Text)?.render(&Data::new(data)).map_err(|error| error.to_string())
    }

    fn names(given: &[&str], optional: &[&str]) -> Names {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Names { given: owned(given), optional: owned(optional) }
    }

    #[test]
    fn values_are_escaped_by_kind() {
        let data = Data::new(json!({"x": "<a href='\"'>&"}));
        let render = |kind| phrase("{{x}} {{{x}}}", kind).unwrap().render(&data).unwrap();
        assert_eq!(render(Kind::Text), "<a href='\"'>& <a href='\"'>&");
        assert_eq!(render(Kind::Line), "<a href='\"'>& <a href='\"'>&");
        assert_eq!(render(Kind::Html), "&lt;a href&#x3D;&#x27;&quot;&#x27;&gt;&amp; <a href='\"'>&");
    }

    #[test]
    fn what_has_no_braces_is_itself() {
        assert_eq!(phrase("a \\ b } {", Kind::Text).unwrap().literal(), Some("a \\ b } {"));
        assert_eq!(phrase("{{a}}", Kind::Text).unwrap().literal(), None);
        assert_eq!(render("\\{{a}} {{a}}", json!({"a": 1})).unwrap(), "{{a}} 1");
    }

    #[test]
    fn columns_win_over_helpers() {
        let data = json!({"len": 5, "if": "x", "lookup": ["a"], "First Name": "Ada"});
        assert_eq!(render("{{len}} {{if}} {{#each lookup}}{{this}}{{/each}}", data.clone()).unwrap(), "5 x a");
        assert_eq!(render("{{len lookup}} {{[First Name]}} {{first_name}}", data).unwrap(), "1 Ada Ada");
    }

    #[test]
    fn every_name_must_be_known() {
        let check = |text: &str, names: &Names| {
            phrase(text, Kind::Text).unwrap().check(names).map_err(|error| (error.to_string(), error.hints))
        };
        let known = names(&["First Name", "email", "items"], &["nick"]);
        for text in [
            "{{first_name}} {{[First Name]}} {{nick}}",
            "{{#each items}}{{title}} {{@index}} {{../email}} {{@root.email}}{{/each}}",
            "{{#each items as |item n|}}{{item.title}} {{n}} {{#if item.x}}{{n}}{{/if}}{{/each}}",
            "{{#with items}}{{anything}}{{/with}}",
            "{{this.email}} {{./email}}",
        ] {
            assert_eq!(check(text, &known), Ok(()), "{text}");
        }
        let near = "did you mean {{email}}?";
        for (text, place) in [
            ("a\n {{emial}}", "t:2:2"),
            ("{{#if emial}}x{{/if}}", "t:1:1"),
            ("{{#unless emial}}x{{/unless}}", "t:1:1"),
            ("{{#if nick}}\n{{#if emial}}x{{/if}}{{/if}}", "t:2:1"),
            ("{{#if nick}}{{else if emial}}x{{/if}}", "t:1:1"),
            ("{{len emial}}", "t:1:1"),
            ("{{len (lookup emial 1)}}", "t:1:1"),
            ("{{#each items}}{{../emial}}{{/each}}", "t:1:16"),
            ("{{#each items}}{{#if @root.emial}}{{/if}}{{/each}}", "t:1:16"),
            ("{{#*inline \"p\"}}{{emial}}{{/inline}}{{> p}}", "t:1:17"),
            ("{{#*inline \"p\"}}{{emial}}{{/inline}}{{> p x=emial}}", "t:1:37"),
        ] {
            let (error, hints) = check(text, &known).unwrap_err();
            assert_eq!(error, format!("{place}: there is no column or value named 'emial'"), "{text}");
            assert_eq!(hints, [near], "{text}");
        }
        assert!(check("{{x}}", &known).unwrap_err().1[0].starts_with("there are: first_name, email, items, nick;"));
        assert_eq!(check("{{#*inline \"p\"}}{{y}}{{/inline}}{{> p y=email}}", &known), Ok(()));
    }

    #[test]
    fn what_can_never_work_is_told_at_once() {
        for (text, expected) in [
            ("{{", "t:1: '{{' has no end"),
            ("{{a", "t:1: '{{a' has no end"),
            ("x {{a b-}}\n{{c}", "t:2: '{{c}' has no end"),
            ("{{#if a}}\nx", "t:1: the block '{{#if a}}' has no end"),
            ("{{#if a}}x{{/each}}", "t:1:11: the block 'if' is open, but 'each' is closed"),
            ("a\nb {{a b!}}", "t:2:8: '{{a b!}}' is not understood"),
            ("{{first name}}", "t:1:1: there is no helper 'first'"),
            ("{{#orders}}x{{/orders}}", "t:1:1: there is no block 'orders'"),
            ("{{if a}}x", "t:1:1: {{if …}}: 'if' wants a block: {{#if …}}…{{/if}}"),
            ("{{#len a}}x{{/len}}", "t:1:1: {{#len …}}: 'len' takes no block"),
            ("{{len a b}}", "t:1:1: {{len …}}: 'len' takes one value, not 2"),
            ("{{#if a includezero=true}}x{{/if}}", "t:1:1: {{#if …}}: 'if' knows no includezero="),
            ("{{> foot}}", "t:1:1: there is no partial 'foot'"),
            ("{{> (lookup a b)}}", "t:1:1: the name of a partial cannot be computed"),
            ("{{@index}}", "t:1:1: there is no '@index' here"),
            ("{{log a}}", "t:1:1: there is no helper 'log'"),
            (
                "{{#*inline \"a\"}}{{> b}}{{/inline}}{{#*inline \"b\"}}{{> a}}{{/inline}}{{> a}}",
                "t:1:51: partials include each other without end: 'a' includes 'b' includes 'a'",
            ),
        ] {
            assert_eq!(phrase(text, Kind::Text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn depth_has_an_end() {
        let blocks = "{{#if a}}".repeat(100_000);
        for text in [
            blocks.clone(),
            "{{#if a}}\\{{/if}}".repeat(10_000),
            "{{#if a}}{{!-- {{/if}} --}}".repeat(10_000),
            "{{#if a}}{{x \"{{/if}}\"}}".repeat(10_000),
            format!("{{{{#if a}}}}{}{{{{/if}}}}", "{{else if a}}".repeat(10_000)),
            format!("{{{{len {}a}}}}", "(len ".repeat(100_000)),
            format!("{{{{len {}1}}}}", "[".repeat(100_000)),
            format!("{{{{len {{\"\":{{}}}} {}1}}}}", "[".repeat(100_000)),
            format!("{{{{len [true, \"]\", {}]}}}}", "[".repeat(100_000)),
            format!("{{{{[it's]}}}}{blocks}"),
        ] {
            let error = phrase(&text, Kind::Text).unwrap_err();
            assert!(error.contains("nested too deeply") || error.contains("has no end"), "{error}");
        }
        let bomb: String = (0..20)
            .map(|n| format!("{{{{#*inline \"p{n}\"}}}}{}{{{{/inline}}}}", format!("{{{{> p{}}}}}", n + 1).repeat(8)))
            .collect();
        let error =
            phrase(&format!("{bomb}{{{{#*inline \"p20\"}}}}x{{{{/inline}}}}{{{{> p0}}}}"), Kind::Text).unwrap_err();
        assert!(error.contains("included too often"), "{error}");
    }

    #[test]
    fn a_row_without_the_name_is_told() {
        assert_eq!(render("x\n{{#if a}}y{{/if}}", json!({"b": 1})).unwrap_err(), "t:2:1: there is no 'a' here");
        assert_eq!(render("{{a.b}}", json!({"a": {}})).unwrap_err(), "t:1:1: there is no 'a.b' here");
        assert_eq!(
            render("{{#each a}}{{name}}{{/each}}", json!({"a": [{}], "name": "x"})).unwrap_err(),
            "t:1:12: there is no 'name' here"
        );
        let data = Data::new(json!({})).with_optional(&["a".to_owned()]);
        let text = "[{{a}}{{#if a}}x{{/if}}{{#with a}}y{{/with}}{{#each a}}z{{/each}}]";
        assert_eq!(phrase(text, Kind::Text).unwrap().render(&data).unwrap(), "[]");
    }

    #[test]
    fn a_line_is_one_line() {
        let line = phrase("Hi {{a}} {{b}}", Kind::Line).unwrap();
        let render = |a: &str| line.render(&Data::new(json!({"a": "x", "b": a}))).map_err(|error| error.to_string());
        assert_eq!(render("Ada").unwrap(), "Hi x Ada");
        assert_eq!(
            render("x\r\nBcc: a@b.example").unwrap_err(),
            "t:1:1: it contains a line end, where only one line may be, from 'b'".replace("1:1", "1:10")
        );
        assert!(render("\u{1b}[2J").unwrap_err().contains("U+001B"));
        assert!(phrase("a\nb", Kind::Line).unwrap_err().contains("line end"));
    }

    #[test]
    fn phrases_and_data_go_to_other_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Phrase>();
        shared::<Data>();
    }

    proptest! {
        /// A reader of the HTML gets every value back, and no value makes an element or ends an attribute.
        #[test]
        fn values_in_html_are_text(value in "[!-~äü€]{1,60}") {
            let html = phrase("<p title=\"{{x}}\" class='{{x}}'>{{x}}</p>", Kind::Html).unwrap();
            let html = html.render(&Data::new(json!({"x": value.clone()}))).unwrap();
            let text = html2text::config::plain().string_from_read(html.as_bytes(), 200).unwrap();
            prop_assert_eq!(text.trim_end(), value);
            let marks = |c: &str| html.matches(c).count();
            prop_assert_eq!((marks("<"), marks("\""), marks("'")), (2, 2, 2), "{}", html);
        }

        /// The short way writes what Handlebars writes.
        #[test]
        fn both_ways_are_one(pieces in proptest::collection::vec(prop_oneof![
            Just("{{a}}"), Just("{{{b}}}"), Just("{{&c}}"), Just("{{./d}}"), Just("{{date}}"), Just("{{#if a}}"), Just("{{/if}}"),
            Just("{{#unless b}}"), Just("{{/unless}}"), Just("{{else}}"), Just("{{else if c}}"), Just("{{! x }}"), Just(" "),
            Just("\n"), Just("x"), Just("{{~a~}}"), Just("\\{{a}}"),
        ], 0..16), a in "[a<'&=]{0,3}", b: bool, c in -1_i64..2) {
            let text: String = pieces.concat();
            let data = Data::new(json!({"a": a, "b": b, "c": c, "d": [1, {"x": null}], "date": null}));
            for kind in [Kind::Html, Kind::Text] {
                if let Ok(phrase) = phrase(&text, kind)
                    && let Body::Compiled { template, shelf, pieces, .. } = &phrase.body
                {
                    prop_assert!(pieces.is_some(), "{text}");
                    let mut long = Text(String::new());
                    template.render(shelf.registry(), data.context(), &mut RenderContext::new(None), &mut long).unwrap();
                    prop_assert_eq!(phrase.render(&data).unwrap(), long.0);
                }
            }
        }

        /// Whatever is typed as a template, compiling it ends, without a panic.
        #[test]
        fn hostile_templates_end(pieces in proptest::collection::vec(prop_oneof![
            Just("{{"), Just("}}"), Just("{{{"), Just("}}}"), Just("{{{{"), Just("}}}}"), Just("{{#if a}}"), Just("{{/if}}"),
            Just("{{else}}"), Just("{{else if b}}"), Just("{{^}}"), Just("#"), Just("/"), Just("~"), Just("("), Just(")"),
            Just("["), Just("]"), Just("\""), Just("'"), Just("\\"), Just("as |a b|"), Just("{{!--"), Just("--}}"),
            Just("{{> p}}"), Just("{{#> p}}"), Just("{{/p}}"), Just("{{#*inline \"p\"}}"), Just("{{/inline}}"), Just("@"),
            Just("../"), Just("this"), Just("."), Just("="), Just(" "), Just("\n"), Just("a"), Just("1"), Just("ü"), Just("&"),
            Just("{{#each a}}"), Just("{{/each}}"), Just("null"), Just("len"), Just("lookup"), Just("|"), Just("*"), Just(">"),
        ], 0..24)) {
            let text: String = pieces.concat();
            if let Ok(phrase) = phrase(&text, Kind::Html) {
                let data = Data::new(json!({"a": [1, {"b": 2}], "b": "x", "p": {"a": 1}}));
                let _ = phrase.render(&data);
            }
        }

        /// No value yields a second line, or any other control character.
        #[test]
        fn no_value_ends_a_line(value in any::<String>()) {
            let line = phrase("a {{x}} b", Kind::Line).unwrap();
            match line.render(&Data::new(json!({"x": value.clone()}))) {
                Ok(text) => prop_assert_eq!(text, format!("a {value} b")),
                Err(_) => prop_assert!(value.chars().any(char::is_control)),
            }
        }
    }
}
