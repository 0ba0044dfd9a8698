//! The tree of parts, mixed > related > alternative, and the octets that mail-builder makes of it.

use std::borrow::Cow;

use mail_builder::{
    Writer,
    headers::content_type::ContentType,
    mime::{BodyPart, MimePart},
};

use super::{Attachment, Draft, Stamp, Text};
use crate::mail::{Content, Piece};

/// Text and HTML of a message.
pub(super) type Texts<'a> = (Option<Cow<'a, Text>>, Option<Cow<'a, Text>>);

/// The tree of parts.
pub(super) fn body(
    draft: &Draft,
    (text, html): Texts<'_>,
    stamp: &mut Stamp,
    assembly: &mut Assembly,
) -> MimePart<'static> {
    let mut part = match (text, html) {
        (Some(text), None) if text.bytes.is_empty() && !draft.attachments.is_empty() => None,
        (Some(text), None) => Some(text_part("text/plain", &text)),
        (None, None) => None,
        (text, Some(html)) => {
            let mut parts = vec![text_part("text/plain", &text.unwrap_or_default()), text_part("text/html", &html)];
            if !draft.inline.is_empty() {
                let alternative = multipart("alternative", parts, stamp);
                parts = vec![alternative];
                parts.extend(draft.inline.iter().map(|image| assembly.part(image, true, stamp)));
                Some(multipart("related", parts, stamp))
            } else {
                Some(multipart("alternative", parts, stamp))
            }
        }
    };
    if !draft.attachments.is_empty() {
        let mut parts: Vec<_> = part.into_iter().collect();
        parts.extend(draft.attachments.iter().map(|file| assembly.part(file, false, stamp)));
        part = Some(multipart("mixed", parts, stamp));
    }
    part.unwrap_or_else(|| text_part("text/plain", &Text::default()))
}

fn text_part(media_type: &'static str, text: &Text) -> MimePart<'static> {
    let encoded = text.encode();
    let media_type = ContentType::new(media_type).attribute("charset", encoded.charset);
    MimePart::raw(BodyPart::Binary(encoded.body.into()))
        .header("Content-Type", media_type)
        .transfer_encoding(encoded.transfer_encoding)
}

fn multipart(subtype: &str, parts: Vec<MimePart<'static>>, stamp: &mut Stamp) -> MimePart<'static> {
    let mut media_type = ContentType::new(format!("multipart/{subtype}"));
    if subtype == "related" {
        // The type of the part to show (RFC 2387, 3.1).
        media_type = media_type.attribute("type", "multipart/alternative");
    }
    // '=_' can stand neither in quoted-printable nor in Base64 (RFC 2045, 6.7).
    let media_type = media_type.attribute("boundary", format!("=_{}", stamp.mark()));
    MimePart::raw(BodyPart::Multipart(parts)).header("Content-Type", media_type)
}

/// Collects what mail-builder writes. A file's part is written with a placeholder as its body; where that is written,
/// the file's piece goes in.
#[derive(Default)]
pub(super) struct Assembly {
    content: Content,
    buffer: Vec<u8>,
    waiting: Vec<(String, Vec<Piece>)>,
}

impl Assembly {
    /// With room for so many octets.
    pub fn with_room(octets: usize) -> Self {
        Self { buffer: Vec::with_capacity(octets), ..Self::default() }
    }

    fn part(&mut self, attachment: &Attachment, is_inline: bool, stamp: &mut Stamp) -> MimePart<'static> {
        let placeholder = format!("{}{}", stamp.mark(), stamp.mark());
        let (part, pieces) = attachment.part(is_inline, &placeholder);
        self.waiting.push((placeholder, pieces));
        part
    }

    pub fn finish(mut self) -> Content {
        self.flush();
        self.content
    }

    fn flush(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.content.push(Piece::Bytes(buffer.into()));
    }
}

impl Writer for Assembly {
    fn reserve(&mut self, additional: usize) {
        self.buffer.reserve(additional);
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some(at) = self.waiting.iter().position(|(placeholder, _)| placeholder.as_bytes() == bytes) else {
            self.buffer.extend_from_slice(bytes);
            return;
        };
        let pieces = self.waiting.swap_remove(at).1;
        match pieces.as_slice() {
            [Piece::Bytes(bytes)] => self.buffer.extend_from_slice(bytes),
            _ => {
                self.flush();
                pieces.into_iter().for_each(|piece| self.content.push(piece));
            }
        }
    }
}
