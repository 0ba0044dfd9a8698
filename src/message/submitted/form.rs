//! What a header says of the body below it, and what a body that was changed makes it say.

use super::{
    fields::write_field,
    header::value,
    media::{Media, write_parameters},
    words::Folder,
};
use crate::message::{
    header::{Header, HeaderField},
    lines::MAX_LINE,
};

/// What the fields of MIME say.
#[derive(Debug)]
pub(super) struct Form {
    pub transfer: Transfer,
    pub kind: Kind,
    pub is_text: bool,
    pub charset: Option<String>,
}

/// How the body is encoded already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transfer {
    /// Not at all, and nobody says that there is 8-bit.
    Plain,
    /// Not at all: 8bit or binary.
    Declared,
    Base64,
    QuotedPrintable,
    /// By something that is not known here.
    Other,
}

/// What the body is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Leaf,
    Multipart {
        /// `None` if it cannot be one.
        boundary: Option<Vec<u8>>,
        /// Its parts are messages unless they say otherwise (RFC 2046, 5.1.5).
        is_digest: bool,
    },
    /// A message whose own parts can be encoded.
    Message,
    /// What must stay octet for octet.
    Sealed,
}

impl Form {
    /// Of the header in `head`; `default` is the type of a body without one.
    pub fn of(head: &[u8], header: &Header, default: &str) -> Self {
        let transfer = header.value("Content-Transfer-Encoding").unwrap_or_default();
        let transfer = transfer.split([' ', '\t', ';', '(']).next().unwrap_or_default();
        let transfer = match transfer.to_ascii_lowercase().as_str() {
            // Scripts write more than there is.
            "" | "7bit" | "7-bit" | "7" | "none" | "us-ascii" => Transfer::Plain,
            "8bit" | "binary" | "8-bit" | "8" | "utf-8" | "utf8" => Transfer::Declared,
            "base64" => Transfer::Base64,
            "quoted-printable" => Transfer::QuotedPrintable,
            _ => Transfer::Other,
        };
        let field = header.fields.iter().find(|field| field.is("Content-Type"));
        let value = field.map_or_else(|| default.into(), |field| value(&head[field.lines.clone()]));
        let media = Media::parse(&value);
        let kind = match media.kind.split_once('/') {
            Some(("multipart", "signed" | "encrypted")) => Kind::Sealed,
            Some(("multipart", kind)) => {
                let boundary = media.parameter("boundary").map(|boundary| boundary.trim_ascii_end().to_vec());
                Kind::Multipart {
                    boundary: boundary.filter(|boundary| (1..=MAX_LINE / 2).contains(&boundary.len())),
                    is_digest: kind == "digest",
                }
            }
            Some(("message", "rfc822" | "global")) => Kind::Message,
            Some(("message", _)) => Kind::Sealed,
            _ => Kind::Leaf,
        };
        // What is no type is a text (RFC 2045, 5.2).
        let is_text = media.kind.split_once('/').is_none_or(|(kind, _)| kind == "text");
        let charset = media.parameter("charset").map(|charset| String::from_utf8_lossy(&charset).into_owned());
        Self { transfer, kind, is_text, charset }
    }

    /// Whether 8-bit may be in it.
    pub fn is_declared(&self) -> bool {
        self.transfer != Transfer::Plain || self.kind != Kind::Leaf
    }

    /// Whether it is a single part that nobody has encoded.
    pub fn is_plain_leaf(&self) -> bool {
        self.kind == Kind::Leaf && matches!(self.transfer, Transfer::Plain | Transfer::Declared)
    }
}

/// What a body that was encoded wants in the header above it.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The Content-Transfer-Encoding in place of what was there.
    pub transfer_encoding: Option<&'static str>,
    /// The charset for a Content-Type that has none.
    pub charset: Option<String>,
    /// The Content-Type is not what it says: it becomes that of a text.
    pub is_text: bool,
}

/// Writes the fields of a header with the marks of its body.
pub(super) struct FieldWriter<'a> {
    head: &'a [u8],
    marks: &'a Marks,
    /// For names without one.
    domain: Option<&'a str>,
    has_type: bool,
}

impl<'a> FieldWriter<'a> {
    /// For fields whose lines are in `head`; names without a domain get `domain`, if there is one.
    pub fn new(head: &'a [u8], marks: &'a Marks, domain: Option<&'a str>) -> Self {
        Self { head, marks, domain, has_type: false }
    }

    /// Writes a field, or leaves it out if the marks say so.
    pub fn field(&mut self, field: &HeaderField, out: &mut Vec<u8>) {
        let lines = &self.head[field.lines.clone()];
        if self.marks.transfer_encoding.is_none() {
            return write_field(&field.name, lines, self.domain, out);
        }
        if field.is("Content-Transfer-Encoding") {
            return;
        }
        // Of two types, readers take the one or the other.
        if !field.is("Content-Type") {
            write_field(&field.name, lines, self.domain, out);
        } else if !std::mem::replace(&mut self.has_type, true) {
            self.content_type(lines, out);
        }
    }

    fn content_type(&self, lines: &[u8], out: &mut Vec<u8>) {
        let value = if self.marks.is_text { b"text/plain".to_vec() } else { value(lines) };
        match &self.marks.charset {
            Some(charset) if Media::parse(&value).is_whole => {
                let value =
                    [value.trim_ascii_end().strip_suffix(b";").unwrap_or(&value), b"; charset=", charset.as_bytes()];
                write_parameters(&value.concat(), Folder::new("Content-Type", out));
            }
            _ => write_field("Content-Type", lines, None, out),
        }
    }

    /// Writes what was not there.
    pub fn finish(self, out: &mut Vec<u8>) {
        if !self.has_type && self.marks.charset.is_some() {
            self.content_type(b"Content-Type: text/plain", out);
        }
        if let Some(encoding) = self.marks.transfer_encoding {
            out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes());
        }
    }
}
