//! Values with parameters: `text/plain; charset=utf-8` (RFC 2045, 5.1; RFC 2231).

use encodify::hex::PERCENT;

use super::words::{Folder, is_unfit, pieces};
use crate::message::text::charset_of;

/// Octets of a parameter's value on one line.
const SECTION: usize = 48;
/// Nobody cuts what is read here into more.
const MAX_SECTIONS: usize = 100;

/// A media type with its parameters, or a disposition.
#[derive(Debug)]
pub(super) struct Media<'a> {
    /// `text/plain`, in lower case.
    pub kind: String,
    /// Names in lower case, and the values as they are written.
    parameters: Vec<(String, &'a [u8])>,
    /// Every quotation mark and comment is closed.
    pub is_whole: bool,
}

impl<'a> Media<'a> {
    /// Takes what can be understood.
    pub fn parse(value: &'a [u8]) -> Self {
        let (sections, is_whole) = sections(value);
        let mut sections = sections.into_iter();
        let kind = without_comments(sections.next().unwrap_or_default());
        let kind = String::from_utf8_lossy(&kind).trim().to_ascii_lowercase();
        let parameters = sections
            .filter_map(|section| {
                let (name, value) = section.split_at(memchr::memchr(b'=', section)?);
                let name = String::from_utf8_lossy(&without_comments(name)).trim().to_ascii_lowercase();
                Some((name, value[1..].trim_ascii()))
            })
            .collect();
        Self { kind, parameters, is_whole }
    }

    /// The value of a parameter, its sections joined.
    pub fn parameter(&self, name: &str) -> Option<Vec<u8>> {
        let find = |name: &str| self.parameters.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
        if let Some(value) = find(name) {
            return Some(unquoted(value));
        }
        if let Some(value) = find(&format!("{name}*")) {
            return Some(decoded(&unquoted(value), true));
        }
        let mut joined = Vec::new();
        for number in 0..self.parameters.len().min(MAX_SECTIONS) {
            if let Some(value) = find(&format!("{name}*{number}")) {
                joined.extend(unquoted(value));
            } else if let Some(value) = find(&format!("{name}*{number}*")) {
                joined.extend(decoded(&unquoted(value), number == 0));
            } else {
                break;
            }
        }
        Some(joined).filter(|joined| !joined.is_empty())
    }
}

/// Writes a value with parameters anew, those encoded that must be. What is none can only stand as a text.
pub(super) fn write_parameters(value: &[u8], mut folder: Folder<'_>) {
    let sections = sections(value).0;
    if sections.first().is_none_or(|kind| is_unfit(kind)) {
        folder.text(value, is_unfit, b"");
        return folder.end();
    }
    let mut words: Vec<Vec<u8>> = Vec::new();
    for section in sections {
        if !is_unfit(section) {
            words.push(section.to_vec());
        } else if let Some(equals) = memchr::memchr(b'=', section)
            && let name = String::from_utf8_lossy(section[..equals].trim_ascii())
            && !is_unfit(name.as_bytes())
            && name.len() < SECTION
        {
            write_parameter(&name, &unquoted(section[equals + 1..].trim_ascii()), &mut words);
        }
    }
    words.retain(|word| !word.is_empty());
    let last = words.len().saturating_sub(1);
    for (number, mut word) in words.into_iter().enumerate() {
        if number < last {
            word.push(b';');
        }
        folder.word(b" ", &word);
    }
    folder.end();
}

fn write_parameter(name: &str, value: &[u8], words: &mut Vec<Vec<u8>>) {
    if name.contains('*') {
        // It is encoded, but not enough.
        let ascii: String = value
            .iter()
            .map(|&byte| if byte.is_ascii() { char::from(byte).to_string() } else { PERCENT.encode([byte]) })
            .collect();
        let word = format!("{name}={ascii}").into_bytes();
        return words.extend(Some(word).filter(|word| !is_unfit(word)));
    }
    let sections = pieces(value, SECTION, |byte| PERCENT.encoded_byte_len(byte));
    let is_one = sections.len() == 1;
    for (number, section) in sections.into_iter().enumerate() {
        let charset = if number == 0 { format!("{}''", charset_of(value)) } else { String::new() };
        let number = if is_one { String::new() } else { format!("*{number}") };
        words.push(format!("{name}{number}*={charset}{}", PERCENT.encode(section)).into_bytes());
    }
}

/// What semicolons separate, outside of quotation marks and comments; and whether all of these are closed.
fn sections(value: &[u8]) -> (Vec<&[u8]>, bool) {
    let mut sections = Vec::new();
    let (mut start, mut depth, mut is_quoted, mut is_escaped) = (0, 0_usize, false, false);
    for (at, &byte) in value.iter().enumerate() {
        if std::mem::take(&mut is_escaped) {
            continue;
        }
        match byte {
            b'\\' => is_escaped = is_quoted || depth > 0,
            b'"' if depth == 0 => is_quoted = !is_quoted,
            b'(' if !is_quoted => depth += 1,
            b')' if !is_quoted => depth = depth.saturating_sub(1),
            b';' if !is_quoted && depth == 0 => {
                sections.push(value[start..at].trim_ascii());
                start = at + 1;
            }
            _ => {}
        }
    }
    sections.push(value[start..].trim_ascii());
    (sections, depth == 0 && !is_quoted && !is_escaped)
}

/// Comments outside of quotation marks become nothing.
fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut depth = 0_usize;
    let mut out = Vec::new();
    for &byte in text {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(byte),
            _ => {}
        }
    }
    out
}

/// A token up to white space or a comment, or what is in quotation marks.
fn unquoted(value: &[u8]) -> Vec<u8> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        let end = value.iter().position(|&byte| matches!(byte, b' ' | b'\t' | b'(')).unwrap_or(value.len());
        return value[..end].to_vec();
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => out.extend(bytes.next()),
            byte => out.push(byte),
        }
    }
    out
}

/// A value of RFC 2231; the first of several sections tells charset and language.
fn decoded(value: &[u8], tells_charset: bool) -> Vec<u8> {
    let text = if tells_charset { value.splitn(3, |&byte| byte == b'\'').last().unwrap_or(value) } else { value };
    PERCENT.decode(text).map_or_else(|_| text.to_vec(), |text| text.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_media_type() {
        for (value, kind, boundary) in [
            ("multipart/mixed; boundary=a", "multipart/mixed", Some("a")),
            ("Multipart/Mixed (x;y) ;\tcharset=u; BOUNDARY = \"a;\\\"b\" (z)", "multipart/mixed", Some("a;\"b")),
            ("multipart/mixed; boundary*=us-ascii'en'a%20b", "multipart/mixed", Some("a b")),
            ("multipart/mixed; boundary*0=a; boundary*1*=%62; boundary*2=\"c\"", "multipart/mixed", Some("abc")),
            ("text", "text", None),
            ("text/plain; boundary", "text/plain", None),
            ("; boundary=x", "", Some("x")),
            ("", "", None),
        ] {
            let media = Media::parse(value.as_bytes());
            assert_eq!((media.kind.as_str(), media.is_whole), (kind, true), "{value}");
            assert_eq!(media.parameter("boundary").as_deref(), boundary.map(str::as_bytes), "{value}");
        }
        for broken in ["text/plain; name=\"x", "text/plain (x", "text/plain; x=\"\\\""] {
            assert!(!Media::parse(broken.as_bytes()).is_whole, "{broken}");
        }
    }

    fn written(value: &[u8]) -> String {
        let mut out = Vec::new();
        write_parameters(value, Folder::new("Content-Type", &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parameters_are_encoded() {
        assert_eq!(
            written("a/b; name=\"Größe; \\\"1\\\".pdf\"; x=y".as_bytes()),
            "Content-Type: a/b; name*=utf-8''Gr%C3%B6%C3%9Fe%3B%20%221%22.pdf; x=y\r\n"
        );
        assert_eq!(written(b"a/b; name=J\xFCrgen"), "Content-Type: a/b; name*=unknown-8bit''J%FCrgen\r\n");
        assert_eq!(written("a/b; name*=utf-8''Jü".as_bytes()), "Content-Type: a/b; name*=utf-8''J%C3%BC\r\n");
        assert_eq!(written("a/b; ü=x; y=z".as_bytes()), "Content-Type: a/b; y=z\r\n");
        assert_eq!(written("ä/b; y=z".as_bytes()), "Content-Type: =?utf-8?Q?=C3=A4/b=3B?= y=z\r\n");
        let long = format!("{}.pdf", "ö".repeat(500));
        let field = written(format!("a/b; name={long}; x=y").as_bytes());
        assert!(field.split("\r\n").all(|line| line.len() <= 76), "{field}");
        let message = mail_parser::MessageParser::new().parse(field.as_bytes()).unwrap().into_owned();
        let mail_parser::HeaderValue::ContentType(read) = message.header("Content-Type").unwrap() else { panic!() };
        assert_eq!((read.attribute("name"), read.attribute("x")), (Some(long.as_str()), Some("y")));
    }
}
