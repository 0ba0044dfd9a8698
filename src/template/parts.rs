//! A template with all its parts, and what a message takes from it.

use std::{borrow::Cow, path::PathBuf};

use serde_json::Value;

use super::{
    Data, Names, Phrase, TemplateError,
    attached::Attached,
    images::Images,
    style,
    variants::{Variants, fallbacks},
};
use crate::{
    config::DataSource,
    message::{AttachmentSpec, html_fragment, html_page},
};

/// What stands for the body in a layout.
const BODY: &str = "body";

/// A template with all its parts, loaded and compiled. It can be rendered by several threads at once.
#[derive(Debug)]
pub struct Template {
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) optional: Vec<String>,
    pub(super) locale: Option<String>,
    pub(super) source: Option<DataSource>,
    pub(super) subject: Variants<Phrase>,
    pub(super) text: Variants<Phrase>,
    pub(super) html: Variants<Phrase>,
    pub(super) markdown: Variants<Markdown>,
    pub(super) html_layout: Variants<Phrase>,
    pub(super) text_layout: Variants<Phrase>,
    pub(super) attachments: Vec<Attached>,
    pub(super) images: Images,
}

/// A Markdown text. In its HTML no value becomes markup, in its text values stand as they are.
#[derive(Debug)]
pub(super) struct Markdown {
    pub text: Phrase,
    pub html: Phrase,
}

/// A rendered template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The subject.
    pub subject: Option<String>,
    /// The text part; of Markdown, its source.
    pub text: Option<String>,
    /// The HTML part, with its style sheets in style attributes and its images as `cid:`.
    pub html: Option<String>,
    /// Images of the HTML, to be sent inline: Content-ID and file.
    pub images: Vec<(String, PathBuf)>,
    /// Files to attach; relative paths start from the template's folder already.
    pub attachments: Vec<AttachmentSpec>,
}

impl Template {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of everything it was loaded from, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Names that may be missing in its data.
    pub fn optional(&self) -> &[String] {
        &self.optional
    }

    /// Where its data comes from, if it says so.
    pub fn source(&self) -> Option<&DataSource> {
        self.source.as_ref()
    }

    /// The languages that it has parts for, in alphabetical order.
    pub fn languages(&self) -> Vec<&str> {
        let bodies = self.text.languages().chain(self.html.languages()).chain(self.markdown.languages());
        let mut languages: Vec<&str> = self.subject.languages().chain(bodies).collect();
        languages.sort_unstable();
        languages.dedup();
        languages
    }

    /// All texts; those of layouts with `true`.
    fn phrases(&self) -> impl Iterator<Item = (&Phrase, bool)> {
        let attachments = self.attachments.iter().flat_map(Attached::phrases);
        let parts = self.subject.all().chain(self.text.all()).chain(self.html.all()).chain(attachments);
        let markdown = self.markdown.all().map(|markdown| &markdown.html);
        let layouts = self.html_layout.all().chain(self.text_layout.all());
        parts.chain(markdown).map(|phrase| (phrase, false)).chain(layouts.map(|phrase| (phrase, true)))
    }

    /// The names that it uses, each once and with the place of its first use, in their order.
    pub fn variables(&self) -> Vec<(&str, &str)> {
        let mut variables: Vec<(&str, &str)> = Vec::new();
        for (phrase, is_layout) in self.phrases() {
            for (name, place) in phrase.variables() {
                let is_known = (is_layout && name == BODY) || variables.iter().any(|(known, _)| *known == name);
                if !is_known {
                    variables.push((name, place));
                }
            }
        }
        variables
    }

    /// Whether every name in all its parts, partials, layouts and language variants is known.
    ///
    /// # Errors
    /// The first that is not, with part, line and the nearest known name.
    pub fn check(&self, names: &Names) -> Result<(), TemplateError> {
        self.check_all(names).into_iter().next().map_or(Ok(()), Err)
    }

    /// Every name that is not known, as [`Template::check`] tells the first.
    pub fn check_all(&self, names: &Names) -> Vec<TemplateError> {
        let names = names.and_optional(&self.optional);
        self.phrases()
            .filter_map(|(phrase, is_layout)| {
                let of_layout = [BODY.to_owned()];
                if is_layout { phrase.check(&names.and_optional(&of_layout)) } else { phrase.check(&names) }.err()
            })
            .collect()
    }

    /// Renders all parts, in the variant for `locale` (`zh-TW` finds zh-TW, else zh, else the one without a language).
    /// Without one the `locale` of the data is taken, else that of the template.
    ///
    /// # Errors
    /// As [`Phrase::render`], with the part.
    pub fn render(&self, data: &Data, locale: Option<&str>) -> Result<Rendered, TemplateError> {
        let data = self.completed(data, locale);
        let of_data = data.get("locale").and_then(Value::as_str).filter(|locale| !locale.is_empty());
        let languages = fallbacks(of_data.or(self.locale.as_deref()));
        let mut rendered = Rendered::default();
        if let Some(subject) = self.subject.find(&languages) {
            rendered.subject = Some(subject.render(&data)?);
        }
        (rendered.text, rendered.html) = self.bodies(&data, &languages)?;
        if let Some(html) = rendered.html.take() {
            let html = style::inline(&self.name, html)?;
            let (html, images) = self.images.embed(&self.name, html)?;
            (rendered.html, rendered.images) = (Some(html), images);
        }
        for attachment in &self.attachments {
            rendered.attachments.push(attachment.render(&data)?);
        }
        Ok(rendered)
    }

    /// The data with everything that may be missing, for readers of this locale.
    fn completed<'a>(&self, data: &'a Data, locale: Option<&str>) -> Cow<'a, Data> {
        let mut data = Cow::Borrowed(data);
        if self.optional.iter().any(|name| data.get(name).is_none()) {
            data = Cow::Owned(data.into_owned().with_optional(&self.optional));
        }
        if let Some(locale) = locale
            && data.get("locale").and_then(Value::as_str) != Some(locale)
        {
            data.to_mut().set("locale", locale.into());
        }
        data
    }

    /// Text and HTML in one language: the best that either has.
    fn bodies(
        &self,
        data: &Data,
        languages: &[Option<String>],
    ) -> Result<(Option<String>, Option<String>), TemplateError> {
        let found = languages.iter().map(Option::as_deref).find(|language| {
            self.text.get(*language).is_some()
                || self.html.get(*language).is_some()
                || self.markdown.get(*language).is_some()
        });
        let Some(language) = found else {
            let has_body = !(self.text.is_empty() && self.html.is_empty() && self.markdown.is_empty());
            return if has_body { Err(self.no_language(languages)) } else { Ok((None, None)) };
        };
        let mut text = self.text.get(language).map(|text| text.render(data)).transpose()?;
        let mut html = self.html.get(language).map(|html| html.render(data)).transpose()?;
        let mut is_fragment = false;
        if let Some(markdown) = self.markdown.get(language) {
            if text.is_none() {
                text = Some(markdown.text.render(data)?);
            }
            if html.is_none() {
                html = Some(html_fragment(&markdown.html.render(data)?));
                is_fragment = true;
            }
        }
        if let Some(layout) = self.text_layout.find(languages)
            && let Some(body) = text.take()
        {
            text = Some(laid_out(layout, data, body)?);
        }
        if let Some(body) = html.take() {
            html = Some(match self.html_layout.find(languages) {
                Some(layout) => laid_out(layout, data, body)?,
                None if is_fragment => html_page(&body),
                None => body,
            });
        }
        Ok((text, html))
    }

    fn no_language(&self, languages: &[Option<String>]) -> TemplateError {
        let wanted = languages
            .iter()
            .flatten()
            .next()
            .map_or_else(|| "nobody's language".to_owned(), |language| format!("the language '{language}'"));
        let error = TemplateError::new(&self.name, format!("it has neither text nor HTML for {wanted}"));
        error.hint(format!("it has: {}; a file without a language is for all others", self.languages().join(", ")))
    }
}

/// A layout with the body in it. It sees the values that it uses; the others are not copied.
fn laid_out(layout: &Phrase, data: &Data, body: String) -> Result<String, TemplateError> {
    let mut data = match layout.takes_row() {
        true => data.clone(),
        false => {
            let names = layout.uses().iter().map(|used| used.name.as_str()).chain(["locale"]);
            Data::exact(names.filter_map(|name| Some((name.to_owned(), data.get(name)?.clone()))).collect())
        }
    };
    data.set(BODY, body.into());
    layout.render(&data)
}

/// Escapes a value in Markdown, so that it can neither become markup nor HTML: references stand for themselves in
/// texts, links and HTML (CommonMark 0.31, 2.5); in code they are shown as they are.
pub(super) fn escape_markdown(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len() + 8);
    // What only matters at the beginning of a line, where the value may stand.
    let mut is_start = true;
    for c in value.chars() {
        let is_special = match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '<' | '>' | '&' | '|' | '~' | '!' | '"' | '\'' => true,
            '#' | '+' | '-' | '=' | '.' | ':' | ' ' => is_start,
            c => c.is_control(),
        };
        if is_special {
            escaped.push_str(&format!("&#{};", u32::from(c)));
        } else {
            escaped.push(c);
        }
        // "1." and "1)" begin a list.
        is_start = is_start && (c.is_ascii_digit() || c == ' ');
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_no_markdown() {
        for (value, escaped) in [
            ("Ada-Lovelace 3.5 x#1", "Ada-Lovelace 3.5 x#1"),
            ("*a* <b>", "&#42;a&#42; &#60;b&#62;"),
            ("# x", "&#35; x"),
            ("1. x", "1&#46; x"),
            ("    code", "&#32;&#32;&#32;&#32;code"),
            ("a\n\n# b", "a&#10;&#10;# b"),
        ] {
            assert_eq!(escape_markdown(value), escaped);
        }
    }

    proptest! {
        /// Whatever a value holds, it makes no element, and a reader of the HTML gets it back.
        #[test]
        fn a_value_in_markdown_is_text(value in "[ -~\u{e4}\n]{0,40}", before in "(|a |- |> |# |\\| |\\*\\*)") {
            let html = html_fragment(&format!("{before}{}", escape_markdown(&value)));
            let plain = html_fragment(&format!("{before}x"));
            let tags = |html: &str| html.matches('<').count();
            if !value.trim().is_empty() {
                prop_assert_eq!(tags(&html), tags(&plain), "{}", html);
            }
        }
    }
}
