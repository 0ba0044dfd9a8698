//! Jobs that other programs publish: JSON, read strictly, with bounds, and with a reason for people where it is none.
//!
//! Reads only: what the fields mean for a message is decided above. A reason names a field and what is wanted there, and
//! never repeats what the field holds.

use std::{cell::Cell, fmt, time::Duration};

use jiff::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, error::Category};

use super::Time;
use crate::{
    config::{nearest, parse_duration},
    mail::{DsnRequest, DsnReturn, clean},
};

/// Octets of a job.
const MAX_OCTETS: usize = 40 * 1024 * 1024;
/// Objects and lists within each other.
const MAX_DEPTH: usize = 32;
/// Values of all kinds: each takes far more memory than the two octets that it may be written in.
const MAX_VALUES: usize = 100_000;
/// Of a name that is shown, in characters.
const MAX_SHOWN: usize = 60;

const FIELDS: [&str; 19] = [
    "to",
    "cc",
    "bcc",
    "from",
    "reply_to",
    "subject",
    "content",
    "text",
    "html",
    "markdown",
    "template",
    "data",
    "headers",
    "attachments",
    "profile",
    "dsn",
    "message_id",
    "not_before",
    "expires",
];

/// A message as another program describes it. All texts are literal: none names a file, and none is a template.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Foreign {
    /// Lists of addresses as in a header field.
    pub to: Vec<String>,
    /// The same of those who get a copy.
    pub cc: Vec<String>,
    /// The same of those whom no one sees.
    pub bcc: Vec<String>,
    /// The sender; the profile's, if none is named.
    pub from: Option<String>,
    /// Lists of addresses to which replies go.
    pub reply_to: Vec<String>,
    /// The subject.
    pub subject: Option<String>,
    /// The text part.
    pub text: Option<String>,
    /// The HTML part.
    pub html: Option<String>,
    /// Text and HTML part.
    pub markdown: Option<String>,
    /// The name of a template.
    pub template: Option<String>,
    /// What the template's names stand for.
    pub data: Map<String, Value>,
    /// Header fields: name and value.
    pub headers: Vec<(String, String)>,
    /// Files.
    pub attachments: Vec<ForeignFile>,
    /// By which profile it leaves.
    pub profile: Option<String>,
    /// Delivery reports wished for.
    pub dsn: DsnRequest,
    /// The Message-ID, not checked yet.
    pub message_id: Option<String>,
    /// Not before this moment.
    pub not_before: Option<Time>,
    /// What is not accepted by then has failed.
    pub expires: Option<Expiry>,
}

/// A file of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignFile {
    /// Where its octets are.
    pub source: ForeignSource,
    /// The name to give it.
    pub name: Option<String>,
    /// The media type to give it.
    pub media_type: Option<String>,
}

/// Where the octets of a job's file are.
#[derive(Debug, Clone, PartialEq)]
pub enum ForeignSource {
    /// In a file of whoever sends the message, if that is allowed.
    Path(String),
    /// In the job.
    Octets(Vec<u8>),
}

/// The end of a message that nobody accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// This moment.
    At(Time),
    /// So long after the moment for which the message was meant.
    After(Duration),
}

impl Foreign {
    /// Reads a job.
    ///
    /// # Errors
    /// A clause for people that says why it is none, clean and short.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        if body.len() > MAX_OCTETS {
            return Err(format!("it has {} octets, and no job has more than {MAX_OCTETS}", body.len()));
        }
        let object = match tree(body)? {
            Value::Object(object) => object,
            other => return Err(format!("it is {}: an object in braces is wanted", kind(&other))),
        };
        let mut fields = Fields { object, path: String::new() };
        fields.check(&FIELDS)?;
        let read = Self {
            to: fields.texts("to")?,
            cc: fields.texts("cc")?,
            bcc: fields.texts("bcc")?,
            from: fields.text("from")?,
            reply_to: fields.texts("reply_to")?,
            subject: fields.text("subject")?,
            text: fields.body()?,
            html: fields.text("html")?,
            markdown: fields.text("markdown")?,
            template: fields.text("template")?,
            data: fields.data()?,
            headers: fields.headers()?,
            attachments: fields.attachments()?,
            profile: fields.text("profile")?,
            dsn: fields.dsn()?,
            message_id: fields.text("message_id")?,
            not_before: fields.moment("not_before")?,
            expires: fields.expiry()?,
        };
        read.check()
    }

    /// What no single field can tell.
    fn check(self) -> Result<Self, String> {
        let has_recipient = |(name, _): &(String, String)| {
            ["to", "cc", "bcc"].iter().any(|recipients| recipients.eq_ignore_ascii_case(name))
        };
        let is_for_somebody = [&self.to, &self.cc, &self.bcc].into_iter().any(|list| !list.is_empty());
        if !is_for_somebody && !self.headers.iter().any(has_recipient) {
            return Err("`to` is missing".to_owned());
        }
        if self.markdown.is_some() && (self.text.is_some() || self.html.is_some()) {
            return Err(
                "`markdown` is text and HTML at once: `text`, `content` and `html` cannot stand beside it".to_owned()
            );
        }
        if self.template.is_none() && !self.data.is_empty() {
            return Err("`data` is for a template, and `template` is missing".to_owned());
        }
        Ok(self)
    }
}

/// An object while its fields are taken out.
struct Fields {
    object: Map<String, Value>,
    /// Where it stands, with a dot at the end; empty for the job itself.
    path: String,
}

impl Fields {
    /// Complains of what nobody knows.
    fn check(&self, known: &[&str]) -> Result<(), String> {
        let Some(name) = self.object.keys().find(|name| !known.contains(&name.as_str())) else { return Ok(()) };
        let near = nearest(name, known.iter().copied());
        let near = near.map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
        Err(format!("unknown field `{}{}`{near}", self.path, shown(name)))
    }

    fn wrong(&self, name: &str, wanted: &str, value: &Value) -> String {
        format!("`{}{name}` is {}: {wanted} is wanted", self.path, kind(value))
    }

    /// A value that is there; `null` is not.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "a text", &other)),
        }
    }

    /// A text, or a list of them.
    fn texts(&mut self, name: &str) -> Result<Vec<String>, String> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(values)) => {
                let text = |(number, value)| match value {
                    Value::String(text) => Ok(text),
                    other => Err(self.wrong(&format!("{name}[{number}]"), "a text", &other)),
                };
                values.into_iter().enumerate().map(text).collect()
            }
            Some(other) => Err(self.wrong(name, "a text or a list of texts", &other)),
        }
    }

    fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(other) => Err(self.wrong(name, "an object", &other)),
        }
    }

    /// Whichever name the text goes by.
    fn body(&mut self) -> Result<Option<String>, String> {
        match (self.text("text")?, self.text("content")?) {
            (Some(_), Some(_)) => Err("`content` and `text` are the same: give one of them".to_owned()),
            (text, content) => Ok(text.or(content)),
        }
    }

    fn data(&mut self) -> Result<Map<String, Value>, String> {
        Ok(self.object("data")?.unwrap_or_default())
    }

    /// A field that comes more than once is a list.
    fn headers(&mut self) -> Result<Vec<(String, String)>, String> {
        let Some(object) = self.object("headers")? else { return Ok(Vec::new()) };
        let mut headers = Vec::with_capacity(object.len());
        for (name, value) in object {
            // The name is as foreign as the value.
            let known = shown(&name);
            let object = Map::from_iter([(known.clone(), value)]);
            let values = Fields { object, path: "headers.".to_owned() }.texts(&known)?;
            headers.extend(values.into_iter().map(|value| (name.clone(), value)));
        }
        Ok(headers)
    }

    fn attachments(&mut self) -> Result<Vec<ForeignFile>, String> {
        let values = match self.take("attachments") {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(other) => return Err(self.wrong("attachments", "a list of objects", &other)),
        };
        let file = |(number, value)| match value {
            Value::Object(object) => Fields { object, path: format!("attachments[{number}].") }.attachment(),
            other => Err(self.wrong(&format!("attachments[{number}]"), "an object", &other)),
        };
        values.into_iter().enumerate().map(file).collect()
    }

    fn attachment(mut self) -> Result<ForeignFile, String> {
        self.check(&["path", "base64", "name", "type"])?;
        let source = match (self.text("path")?, self.text("base64")?) {
            (Some(path), None) => ForeignSource::Path(path),
            (None, Some(encoded)) => {
                ForeignSource::Octets(encodify::base64::STANDARD.decode(encoded.as_bytes()).map_err(|_| {
                    format!("`{}base64` is no Base64, with its padding and without line ends", self.path)
                })?)
            }
            (None, None) => return Err(format!("`{0}path` or `{0}base64` is missing", self.path)),
            (Some(_), Some(_)) => return Err(format!("`{0}path` and `{0}base64`: give one of them", self.path)),
        };
        Ok(ForeignFile { source, name: self.text("name")?, media_type: self.text("type")? })
    }

    /// `"failure,delay"`, `["failure", "delay"]`, or an object with this as `notify`.
    fn dsn(&mut self) -> Result<DsnRequest, String> {
        let mut request = DsnRequest::default();
        let mut fields = match self.take("dsn") {
            None => return Ok(request),
            Some(Value::Object(object)) => Fields { object, path: "dsn.".to_owned() },
            Some(value @ (Value::String(_) | Value::Array(_))) => {
                Fields { object: Map::from_iter([("dsn".to_owned(), value)]), path: String::new() }
            }
            Some(other) => return Err(self.wrong("dsn", "a text, a list of texts or an object", &other)),
        };
        let notify = if fields.path.is_empty() { "dsn" } else { "notify" };
        fields.check(&[notify, "return", "envid"])?;
        let words = fields.texts(notify)?;
        if !words.is_empty() {
            let wrong = |what| format!("`{}{notify}`: {what}", fields.path);
            request.notify = Some(words.join(",").parse().map_err(wrong)?);
        }
        request.ret = match fields.text("return")?.as_deref() {
            None => None,
            Some("full") => Some(DsnReturn::Full),
            Some("hdrs") => Some(DsnReturn::Hdrs),
            Some(_) => return Err("`dsn.return`: full or hdrs is wanted".to_owned()),
        };
        request.envid = fields.text("envid")?;
        request.check_envid().map_err(|what| format!("`dsn.envid`: {what}"))?;
        Ok(request)
    }

    fn moment(&mut self, name: &str) -> Result<Option<Time>, String> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let wanted = || format!("`{name}` is no moment of RFC 3339: 2026-12-01T09:00:00Z");
        moment(&text).map(Some).ok_or_else(wanted)
    }

    fn expiry(&mut self) -> Result<Option<Expiry>, String> {
        let Some(text) = self.text("expires")? else { return Ok(None) };
        let wanted = "a moment of RFC 3339 (2026-12-01T09:00:00Z) or a time (2h) is wanted";
        match (moment(&text), parse_duration(&text)) {
            (Some(moment), _) => Ok(Some(Expiry::At(moment))),
            (None, Ok(time)) if !time.is_zero() => Ok(Some(Expiry::After(time))),
            _ => Err(format!("`expires`: {wanted}")),
        }
    }
}

fn moment(text: &str) -> Option<Time> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// What a value is, for people.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A foreign name, short and clean.
fn shown(name: &str) -> String {
    let more = if name.chars().nth(MAX_SHOWN).is_some() { "…" } else { "" };
    clean(&name.chars().take(MAX_SHOWN).collect::<String>()) + more
}

/// Reads JSON within the bounds.
fn tree(body: &[u8]) -> Result<Value, String> {
    let left = Cell::new(MAX_VALUES);
    let mut parser = serde_json::Deserializer::from_slice(body);
    let value = Tree { left: &left, depth: 0 }.deserialize(&mut parser);
    value.and_then(|value| parser.end().map(|()| value)).map_err(|error| {
        let what = error.to_string();
        match error.classify() {
            // Ours, with its place behind it, which says nothing more.
            Category::Data => what.rsplit_once(" at line ").map_or(what.clone(), |(what, _)| what.to_owned()),
            _ => format!("it is not JSON: {}", clean(&what)),
        }
    })
}

/// A value that has its keys once, and of which there are not too many.
#[derive(Clone, Copy)]
struct Tree<'a> {
    left: &'a Cell<usize>,
    depth: usize,
}

impl Tree<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.depth {
            MAX_DEPTH => Err(E::custom(format_args!("it is nested more than {MAX_DEPTH} levels deep"))),
            depth => Ok(Self { depth: depth + 1, ..self }),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.left.get();
        if left == 0 {
            return Err(D::Error::custom(format_args!("it has more than {MAX_VALUES} values")));
        }
        self.left.set(left - 1);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("`{}` is there twice", shown(&key))));
            }
            let value = access.next_value_seed(inner)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests;
