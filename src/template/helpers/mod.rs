//! Helpers that templates may call: what each takes, and the functions behind them.
//!
//! Handlebars ignores what it does not know: a hash that no helper reads, a block where none is wanted. [`SPECS`] says
//! what is known, so that it can be checked before anything is rendered.

mod date;
mod locale;
mod number;
mod text;

use std::{borrow::Cow, sync::Arc};

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonRender, Output, RenderContext, RenderError,
    RenderErrorReason as Reason, Renderable, ScopedJson,
};
use serde_json::Value;

use locale::Locale;

/// For whom helpers write when nobody says it.
pub(super) const DEFAULT_LOCALE: &str = "en";

/// How a helper is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `{{name value}}` or `(name value)`.
    Value,
    /// `{{#name value}}…{{/name}}`.
    Block,
    /// Both.
    Either,
}

/// What a helper takes.
#[derive(Debug)]
pub(super) struct Spec {
    pub name: &'static str,
    pub form: Form,
    /// How many values it takes, at least and at most.
    pub values: (usize, usize),
    /// What it takes by name.
    pub hash: &'static [&'static str],
    /// The function, if Handlebars does not bring it.
    run: Option<Run>,
}

type Run = fn(&Call<'_>) -> Result<Value, String>;

const fn builtin(name: &'static str, form: Form, least: usize, most: usize, hash: &'static [&'static str]) -> Spec {
    Spec { name, form, values: (least, most), hash, run: None }
}

const fn own(name: &'static str, least: usize, most: usize, hash: &'static [&'static str], run: Run) -> Spec {
    Spec { name, form: Form::Value, values: (least, most), hash, run: Some(run) }
}

const fn condition(name: &'static str, run: Run) -> Spec {
    Spec { name, form: Form::Either, values: (2, 2), hash: &[], run: Some(run) }
}

/// All helpers.
pub(super) const SPECS: &[Spec] = &[
    builtin("if", Form::Block, 1, 1, &["includeZero"]),
    builtin("unless", Form::Block, 1, 1, &["includeZero"]),
    builtin("each", Form::Block, 1, 1, &[]),
    builtin("with", Form::Block, 1, 1, &[]),
    builtin("raw", Form::Block, 0, 0, &[]),
    builtin("lookup", Form::Value, 2, 2, &[]),
    builtin("and", Form::Either, 2, usize::MAX, &[]),
    builtin("or", Form::Either, 2, usize::MAX, &[]),
    builtin("not", Form::Either, 1, 1, &[]),
    condition("eq", number::eq),
    condition("ne", number::ne),
    condition("gt", number::gt),
    condition("gte", number::gte),
    condition("lt", number::lt),
    condition("lte", number::lte),
    own("date", 1, 1, &["format", "tz", "locale"], date::date),
    own("number", 1, 1, &["decimals", "grouping", "locale"], number::number),
    own("currency", 1, 2, &["currency", "decimals", "locale"], number::currency),
    own("plural", 1, 1, &["zero", "one", "two", "few", "many", "other", "locale"], number::plural),
    own("default", 2, usize::MAX, &[], text::default),
    own("url-encode", 1, 1, &[], text::url_encode),
    own("truncate", 2, 2, &["words", "ellipsis"], text::truncate),
    own("upper", 1, 1, &[], text::upper),
    own("lower", 1, 1, &[], text::lower),
    own("trim", 1, 1, &[], text::trim),
    own("join", 1, 2, &[], text::join),
    own("len", 1, 1, &[], text::len),
];

/// What the helper of this name takes.
pub(super) fn spec(name: &str) -> Option<&'static Spec> {
    SPECS.iter().find(|spec| spec.name == name)
}

/// Gives a registry the helpers, which write for readers of `locale`, and takes from it what is not for mail.
pub(super) fn register(registry: &mut Handlebars<'static>, locale: &str) {
    let locale: Arc<str> = locale.into();
    registry.unregister_helper("log");
    // Asked for every value that is not there; strict mode would take what is empty for missing, too.
    registry.register_helper("helperMissing", Box::new(Missing));
    for spec in SPECS {
        if let Some(run) = spec.run {
            let own = Own { spec, run, locale: Arc::clone(&locale) };
            match spec.form {
                Form::Either => registry.register_helper(spec.name, Box::new(Condition(own))),
                _ => registry.register_helper(spec.name, Box::new(own)),
            }
        }
    }
}

/// Refuses to show a value that is not there.
struct Missing;

impl HelperDef for Missing {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        Err(Reason::MissingVariable(Some(helper.name().to_owned())).into())
    }
}

/// A helper of ours.
struct Own {
    spec: &'static Spec,
    run: Run,
    locale: Arc<str>,
}

impl HelperDef for Own {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let call = Call { helper, context, locale: &self.locale };
        (self.run)(&call)
            .map(ScopedJson::Derived)
            .map_err(|what| Reason::Other(format!("{}: {what}", self.spec.name)).into())
    }
}

/// One that is true or false: it can also stand around a block.
struct Condition(Own);

impl HelperDef for Condition {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        self.0.call_inner(helper, registry, context, render)
    }

    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let value = self.call_inner(helper, registry, context, render)?;
        if !helper.is_block() {
            return Ok(out.write(&value.render())?);
        }
        let is_true = value.as_json().as_bool().unwrap_or(false);
        let branch = if is_true { helper.template() } else { helper.inverse() };
        branch.map_or(Ok(()), |branch| branch.render(registry, context, render, out))
    }
}

/// What a helper is called with.
struct Call<'a> {
    helper: &'a Helper<'a>,
    context: &'a Context,
    locale: &'a str,
}

impl Call<'_> {
    /// The value at this place.
    fn value(&self, at: usize) -> Result<&Value, String> {
        let Some(value) = self.helper.param(at) else { return Err("a value is missing".to_owned()) };
        match (value.is_value_missing(), value.relative_path()) {
            (true, Some(path)) => Err(format!("there is no '{path}' here")),
            _ => Ok(value.value()),
        }
    }

    /// The value if it is there, and more than nothing.
    fn filled(&self, at: usize) -> Option<&Value> {
        self.helper.param(at).map(|value| value.value()).filter(|value| !is_blank(value))
    }

    /// The value as it would be shown.
    fn text(&self, at: usize) -> Result<Cow<'_, str>, String> {
        text_of(self.value(at)?)
    }

    fn hash(&self, name: &str) -> Option<&Value> {
        self.helper.hash_get(name).map(|value| value.value()).filter(|value| !is_blank(value))
    }

    fn hash_text(&self, name: &str) -> Result<Option<&str>, String> {
        self.hash(name).map(|value| value.as_str().ok_or_else(|| format!("{name}= wants a text"))).transpose()
    }

    fn hash_flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.hash(name) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| format!("{name}= wants true or false")),
        }
    }

    /// For whom it writes: `locale=`, the row's, the template's.
    fn locale(&self) -> Result<Locale, String> {
        let of_row = || self.context.data().get("locale").and_then(Value::as_str).filter(|locale| !locale.is_empty());
        let locale = self.hash_text("locale")?.or_else(of_row).unwrap_or(self.locale);
        Locale::parse(locale)
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// A value that stands for one text.
fn text_of(value: &Value) -> Result<Cow<'_, str>, String> {
    match value {
        Value::String(text) => Ok(text.as_str().into()),
        Value::Null => Ok("".into()),
        Value::Number(_) | Value::Bool(_) => Ok(value.render().into()),
        Value::Array(_) | Value::Object(_) => Err("a text is wanted, not a list or an object".to_owned()),
    }
}
