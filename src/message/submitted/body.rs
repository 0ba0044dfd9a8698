//! What is below a header: as it is if it can go so, else encoded; in a multipart only what needs it.

use std::ops::Range;

use super::{
    form::{FieldWriter, Form, Kind, Marks, Transfer},
    header::read_header,
    transfer::{requoted, rewrapped},
};
use crate::{
    mail::Piece,
    message::{
        ComposeError, Text,
        attachment::find_charset,
        header::Header,
        lines::{Census, MAX_LINE, with_crlf_inside, without_end},
        spool::Data,
    },
};

/// What must be changed is held in memory up to here.
const MAX_HELD: u64 = 64 * 1024 * 1024;
/// A larger body that is one leaf is encoded while it goes out.
const MAX_LEAF: u64 = 4 * 1024 * 1024;
/// Nobody nests parts deeper, or has more of them.
const MAX_DEPTH: usize = 20;
const MAX_PARTS: usize = 10_000;

/// A body as it goes out.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub pieces: Vec<Piece>,
    pub is_8bit: bool,
    pub marks: Marks,
}

/// Makes the body of a message fit: no line over 998 octets, no NUL, no bare CR, 8-bit only where the header says so.
/// `head` is what stands above it, `header` the same taken apart.
///
/// # Errors
/// What cannot go as it is and cannot be changed, with its line: it is signed, or the parts are too large or too many.
pub(super) fn fit_body(head: &[u8], header: &Header, body: &Data) -> Result<Body, ComposeError> {
    let mut census = Census::default();
    body.for_each_block(|block| {
        census.write(block);
        Ok(())
    })?;
    let form = Form::of(head, header, "text/plain");
    let is_8bit = census.is_8bit();
    if let Some(length) = census.fit_length().filter(|_| !is_8bit || form.is_declared()) {
        let pieces = if body.len() > 0 { vec![body.crlf_piece(0, length)] } else { Vec::new() };
        return Ok(Body { pieces, is_8bit, marks: Marks::default() });
    }
    if body.len() > MAX_LEAF && form.is_plain_leaf() {
        // Base64 does not mind its line ends, and neither does who reads them.
        let charset = if form.is_text && form.charset.is_none() { Some(find_charset(body)?) } else { None };
        let marks = Marks { transfer_encoding: Some("base64"), charset, is_text: false };
        let pieces = vec![body.base64_piece(), Piece::Bytes(b"\r\n"[..].into())];
        return Ok(Body { pieces, is_8bit: false, marks });
    }
    if body.len() > MAX_HELD {
        let what = "it has a line over 998 octets, a NUL or a bare CR, and is too large to be encoded part by part";
        return Err(ComposeError::value("the message", what));
    }
    let octets = body.head(MAX_HELD as usize)?;
    let lines_above = memchr::memchr_iter(b'\n', head).count();
    let mut repair = Repair { octets: &octets, lines_above, boundaries: Vec::new(), parts: 0 };
    let (mut out, marks) = repair.body(&form, 0..octets.len(), 0)?;
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    Ok(Body { is_8bit: !out.is_ascii(), pieces: vec![Piece::Bytes(out.into())], marks })
}

/// Encodes what needs it in a body that is in memory.
struct Repair<'a> {
    octets: &'a [u8],
    /// Lines of the header, for errors.
    lines_above: usize,
    /// Of the multiparts around what is looked at.
    boundaries: Vec<Vec<u8>>,
    parts: usize,
}

impl Repair<'_> {
    /// A body without the end of its last line.
    fn body(&mut self, form: &Form, range: Range<usize>, depth: usize) -> Result<(Vec<u8>, Marks), ComposeError> {
        let octets = &self.octets[range.clone()];
        if depth > MAX_DEPTH {
            return Err(self.error(&range, "its parts are nested too deeply to be encoded"));
        }
        match (form.transfer, &form.kind) {
            (Transfer::Base64, _) => Ok((rewrapped(octets), Marks::default())),
            (Transfer::QuotedPrintable, _) => Ok((requoted(octets), Marks::default())),
            (Transfer::Other, _) => Err(self.error(&range, "its Content-Transfer-Encoding is not known")),
            (_, Kind::Sealed) => Err(self.error(&range, "it is in a part that must not be changed")),
            (_, Kind::Message) => Ok((self.entity(range, true, "text/plain", depth)?, Marks::default())),
            (_, Kind::Multipart { boundary: Some(boundary), is_digest }) => {
                let default = if *is_digest { "message/rfc822" } else { "text/plain" };
                match self.multipart(range, boundary, default, depth)? {
                    Some(parts) => Ok((parts, Marks::default())),
                    None => Ok(self.leaf(octets, None, true)),
                }
            }
            // Without parts it is no multipart, but there may be something to read.
            (_, Kind::Multipart { boundary: None, .. }) => Ok(self.leaf(octets, None, true)),
            (_, Kind::Leaf) if form.is_text => Ok(self.leaf(octets, form.charset.clone(), false)),
            (_, Kind::Leaf) => {
                let mut encoded = encodify::base64::MIME.encode(octets).into_bytes();
                encoded.truncate(encoded.trim_ascii_end().len());
                Ok((encoded, Marks { transfer_encoding: Some("base64"), charset: None, is_text: false }))
            }
        }
    }

    /// A text; `replaces_type` makes it one.
    fn leaf(&self, octets: &[u8], charset: Option<String>, replaces_type: bool) -> (Vec<u8>, Marks) {
        let has_charset = charset.is_some();
        let mut encoded = Text { bytes: octets.to_vec(), charset }.encode_inside();
        // Other lines than before must not end the multipart around it.
        let is_line =
            |line: &[u8], boundary: &Vec<u8>| line.strip_prefix(b"--").is_some_and(|line| line.starts_with(boundary));
        let mut lines = encoded.body.split(|&byte| byte == b'\n');
        if lines.any(|line| self.boundaries.iter().any(|boundary| is_line(line, boundary))) {
            let text = encodify::qp::BODY.decode(&encoded.body).map_or_else(|_| octets.to_vec(), |text| text.to_vec());
            encoded.body = encodify::base64::MIME.encode(text).trim_ascii_end().into();
            encoded.transfer_encoding = "base64";
        }
        let charset = if has_charset { None } else { Some(encoded.charset) };
        (encoded.body, Marks { transfer_encoding: Some(encoded.transfer_encoding), charset, is_text: replaces_type })
    }

    /// A part or a message with its header, without the end of its last line.
    fn entity(
        &mut self,
        range: Range<usize>,
        is_message: bool,
        default: &str,
        depth: usize,
    ) -> Result<Vec<u8>, ComposeError> {
        let octets = &self.octets[range.clone()];
        if is_fit(octets) {
            return Ok(with_crlf_inside(octets));
        }
        let (header, body_at) = read_header(octets, is_message);
        let below = range.start + body_at..range.end;
        let (body, marks) = if is_fit(&self.octets[below.clone()]) {
            (with_crlf_inside(&self.octets[below]), Marks::default())
        } else {
            self.body(&Form::of(octets, &header, default), below, depth + 1)?
        };
        let mut out = Vec::with_capacity(body.len() + body_at + 128);
        let mut writer = FieldWriter::new(octets, &marks, None);
        header.fields.iter().for_each(|field| writer.field(field, &mut out));
        writer.finish(&mut out);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&body);
        Ok(out)
    }

    /// The parts between the boundaries (RFC 2046, 5.1.1), or `None` if there are none.
    fn multipart(
        &mut self,
        range: Range<usize>,
        boundary: &[u8],
        default: &str,
        depth: usize,
    ) -> Result<Option<Vec<u8>>, ComposeError> {
        let octets = &self.octets[range.clone()];
        let (delimiters, close) = delimiters(octets, boundary);
        let Some(first) = delimiters.first() else { return Ok(None) };
        // Nobody shows what is before the first part and behind the last: what is unfit there is left out.
        let preamble = &octets[..first.start];
        let mut out = if is_fit(preamble) { with_crlf_inside(preamble) } else { Vec::new() };
        self.boundaries.push(boundary.to_vec());
        for (number, delimiter) in delimiters.iter().enumerate() {
            self.parts += 1;
            if self.parts > MAX_PARTS {
                return Err(self.error(&range, "it has too many parts to be encoded"));
            }
            let next = delimiters.get(number + 1).or(close.as_ref());
            let end = next.map_or(octets.len(), |next| octets[..next.start].len() - line_end(&octets[..next.start]));
            let part = range.start + delimiter.end..range.start + end.max(delimiter.end);
            out.extend_from_slice(if number > 0 { b"\r\n--" } else { b"--" });
            out.extend_from_slice(boundary);
            out.extend_from_slice(b"\r\n");
            out.extend(self.entity(part, false, default, depth)?);
        }
        self.boundaries.pop();
        if let Some(close) = close {
            out.extend_from_slice(&[b"\r\n--", boundary, b"--\r\n"].concat());
            let epilogue = &octets[close.end..];
            if is_fit(epilogue) {
                out.extend(with_crlf_inside(epilogue));
            }
        }
        Ok(Some(out))
    }

    /// Names the first line that cannot go.
    fn error(&self, range: &Range<usize>, why: &str) -> ComposeError {
        let mut line = self.lines_above + 1 + memchr::memchr_iter(b'\n', &self.octets[..range.start]).count();
        let mut what = "it cannot go as it is";
        for octets in self.octets[range.clone()].split_inclusive(|&byte| byte == b'\n') {
            let octets = without_end(octets);
            what = match octets {
                _ if octets.contains(&0) => "it contains a NUL",
                _ if octets.contains(&b'\r') => "it contains a bare CR",
                _ if octets.len() > MAX_LINE => "it is longer than 998 octets",
                _ => {
                    line += 1;
                    continue;
                }
            };
            break;
        }
        ComposeError::value(format!("the message line {line}"), format!("{what}, and {why}"))
    }
}

/// The lines of a boundary that begin parts, and the one that ends the last.
fn delimiters(octets: &[u8], boundary: &[u8]) -> (Vec<Range<usize>>, Option<Range<usize>>) {
    let mut parts = Vec::new();
    let mut at = 0;
    for line in octets.split_inclusive(|&byte| byte == b'\n') {
        let place = at..at + line.len();
        at = place.end;
        let behind = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary));
        let is_space = |rest: &[u8]| without_end(rest).iter().all(|byte| matches!(byte, b' ' | b'\t'));
        match behind {
            Some(rest) if is_space(rest) => parts.push(place),
            Some(rest) if !parts.is_empty() && rest.strip_prefix(b"--").is_some_and(is_space) => {
                return (parts, Some(place));
            }
            _ => {}
        }
        if parts.len() > MAX_PARTS {
            break;
        }
    }
    (parts, None)
}

/// Octets of the end of the last line.
fn line_end(octets: &[u8]) -> usize {
    octets.len() - without_end(octets).len()
}

fn is_fit(octets: &[u8]) -> bool {
    let mut census = Census::default();
    census.write(octets);
    census.fit_length().is_some()
}
