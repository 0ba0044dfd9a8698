//! Header fields, from `-a` and `-C`, and with `-t` from the head of the text: each goes where it belongs.

use super::options::Call;
use crate::{
    cli::{CliError, Exit},
    mail::clean,
    message::checked_charset,
};

/// A `Content-Type` that a text may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MediaType {
    name: String,
    pub charset: Option<String>,
}

impl MediaType {
    /// Reads `text/html; charset=utf-8`.
    ///
    /// # Errors
    /// What is neither text nor HTML, and a charset that nobody knows.
    pub fn parse(value: &str) -> Result<Self, CliError> {
        let (name, parameters) = value.split_once(';').unwrap_or((value, ""));
        let name = name.trim().to_ascii_lowercase();
        if !matches!(name.as_str(), "text/plain" | "text/html" | "text") {
            return Err(CliError::new(
                Exit::Data,
                format!("Content-Type: a text is plain or HTML, and not '{}'", clean(&name)),
            )
            .hint("attach what is of another type: -A 'FILE;type=…'")
            .hint("a message that is whole already goes to sendmail -t"));
        }
        let charset = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']).to_owned())
        });
        let charset = charset.map(|charset| checked_charset("Content-Type", &charset)).transpose()?;
        Ok(Self { name, charset })
    }

    pub fn is_html(&self) -> bool {
        self.name == "text/html"
    }
}

/// Splits `Name: value` if it looks like a field: no path does.
pub(super) fn field(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(':')?;
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    is_name.then_some((name, value.trim()))
}

impl Call {
    /// Takes in a field.
    ///
    /// # Errors
    /// A type that a text cannot have.
    pub fn take_field(&mut self, name: &str, value: &str) -> Result<(), CliError> {
        let value = value.to_owned();
        match name.to_ascii_lowercase().as_str() {
            "to" => self.to.push(value),
            "cc" => self.cc.push(value),
            "bcc" => self.bcc.push(value),
            // What an option says holds.
            "subject" => drop(self.subject.get_or_insert(value)),
            "from" => drop(self.from.get_or_insert(value)),
            "reply-to" => drop(self.reply_to.get_or_insert(value)),
            "content-type" => self.media_type = Some(MediaType::parse(&value)?),
            // They follow from the text.
            "mime-version" | "content-transfer-encoding" | "content-disposition" => {}
            _ => self.headers.push(format!("{name}: {value}")),
        }
        Ok(())
    }
}

/// Takes the fields away that the text begins with, if it does.
///
/// # Errors
/// As [`Call::take_field`]; a head that is not UTF-8.
pub(super) fn take_header(octets: Vec<u8>, call: &mut Call) -> Result<Vec<u8>, CliError> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut at = 0;
    while let Some(length) = octets[at..].iter().position(|&byte| byte == b'\n').map(|end| end + 1) {
        let line = octets[at..at + length].trim_ascii_end();
        if line.is_empty() {
            // A text that begins with an empty line has no fields.
            at += if fields.is_empty() { 0 } else { length };
            break;
        }
        let text = std::str::from_utf8(line);
        match (text.ok(), fields.last_mut()) {
            (Some(text), Some((_, value))) if text.starts_with([' ', '\t']) => {
                value.push(' ');
                value.push_str(text.trim());
            }
            (Some(text), _) if field(text).is_some() => {
                fields.extend(field(text).map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
            (None, Some(_)) => {
                return Err(CliError::new(Exit::Data, "the fields at the head of the text are not UTF-8"));
            }
            _ => break,
        }
        at += length;
    }
    for (name, value) in fields {
        call.take_field(&name, &value)?;
    }
    Ok(octets[at..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_a_text() {
        let html = MediaType::parse("Text/HTML; format=flowed; charset=\"ISO-8859-1\"").unwrap();
        assert!(html.is_html() && html.charset.is_some_and(|charset| charset.eq_ignore_ascii_case("iso-8859-1")));
        assert!(!MediaType::parse("text/plain").unwrap().is_html());
        for bad in ["application/pdf", "", "multipart/mixed; boundary=x", "text/html; charset=a\r\nb"] {
            assert!(MediaType::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_looks_like_a_field() {
        assert_eq!(field("X-Y:z"), Some(("X-Y", "z")));
        for text in ["/tmp/a:b", "a b: c", ":x", "report.pdf", "http://x"] {
            assert!(field(text).is_none() || text == "http://x", "{text}");
        }
    }

    #[test]
    fn the_head_of_a_text() {
        let take = |text: &str| {
            let mut call = Call::default();
            let rest = take_header(text.as_bytes().to_vec(), &mut call).unwrap();
            (String::from_utf8(rest).unwrap(), call)
        };
        let (rest, call) = take("To: a@x.example,\n b\nSubject: Hi\r\nX-A: 1\nBcc: c\n\nText: no field\n");
        assert_eq!(rest, "Text: no field\n");
        assert_eq!((call.to, call.bcc), (vec!["a@x.example, b".to_owned()], vec!["c".to_owned()]));
        assert_eq!((call.subject.as_deref(), call.headers), (Some("Hi"), vec!["X-A: 1".to_owned()]));
        for text in ["Hello\nTo: x\n", "\nTo: x\n", "", "To x\n"] {
            let (rest, call) = take(text);
            assert!(rest == text && call.to.is_empty(), "{text:?} {rest:?}");
        }
        // The head ends where something else begins.
        assert_eq!(take("To: a\nHello\n").0, "Hello\n");
    }
}
