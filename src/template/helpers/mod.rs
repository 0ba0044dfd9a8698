//! Helpers that templates may call: what each takes, and the functions behind them.
//!
//! Handlebars ignores what it does not know: a hash that no helper reads, a block where none is wanted. [`SPECS`] says
//! what is known, so that it can be checked before anything is rendered.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, RenderContext, RenderError, RenderErrorReason as Reason, ScopedJson,
};

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
}

const fn spec_of(name: &'static str, form: Form, least: usize, most: usize, hash: &'static [&'static str]) -> Spec {
    Spec { name, form, values: (least, most), hash }
}

/// All helpers.
pub(super) const SPECS: &[Spec] = &[
    spec_of("if", Form::Block, 1, 1, &["includeZero"]),
    spec_of("unless", Form::Block, 1, 1, &["includeZero"]),
    spec_of("each", Form::Block, 1, 1, &[]),
    spec_of("with", Form::Block, 1, 1, &[]),
    spec_of("raw", Form::Block, 0, 0, &[]),
    spec_of("lookup", Form::Value, 2, 2, &[]),
    spec_of("len", Form::Value, 1, 1, &[]),
    spec_of("eq", Form::Either, 2, 2, &[]),
    spec_of("ne", Form::Either, 2, 2, &[]),
    spec_of("gt", Form::Either, 2, 2, &[]),
    spec_of("gte", Form::Either, 2, 2, &[]),
    spec_of("lt", Form::Either, 2, 2, &[]),
    spec_of("lte", Form::Either, 2, 2, &[]),
    spec_of("and", Form::Either, 2, usize::MAX, &[]),
    spec_of("or", Form::Either, 2, usize::MAX, &[]),
    spec_of("not", Form::Either, 1, 1, &[]),
];

/// What the helper of this name takes.
pub(super) fn spec(name: &str) -> Option<&'static Spec> {
    SPECS.iter().find(|spec| spec.name == name)
}

/// For whom helpers write when nobody says it.
pub(super) const DEFAULT_LOCALE: &str = "en";

/// Gives a registry the helpers, which write for readers of `locale`, and takes from it what is not for mail.
pub(super) fn register(registry: &mut Handlebars<'static>, _locale: &str) {
    registry.unregister_helper("log");
    // Asked for every value that is not there; strict mode would take what is empty for missing, too.
    registry.register_helper("helperMissing", Box::new(Missing));
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
