//! Bodies of text: charset and transfer encoding by what is in them (RFC 2045, RFC 2046 4.1).

use std::borrow::Cow;

use encoding_rs::Encoding;

use super::{
    ComposeError,
    lines::{Census, with_crlf, with_crlf_inside},
};

/// Elements nested deeper than this make the conversion to text very slow.
const MAX_HTML_DEPTH: usize = 1_000;
/// Width of the text that is made from HTML.
const TEXT_WIDTH: usize = 78;

/// A text as it came in: its bytes, and its charset if somebody told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// The bytes, whatever they are.
    pub bytes: Vec<u8>,
    /// The charset to declare; found out from the bytes if absent.
    pub charset: Option<String>,
}

/// A text ready for a MIME part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encoded {
    pub charset: String,
    pub transfer_encoding: &'static str,
    pub body: Vec<u8>,
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), charset: None }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { bytes: text.into_bytes(), charset: None }
    }
}

impl Text {
    /// Whether there is nothing but white space.
    pub fn is_blank(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }

    /// The text as Unicode, for conversions: in the charset that was told, else UTF-8, UTF-16 with its mark, Latin-1.
    ///
    /// # Errors
    /// If the charset is not known.
    pub fn decoded(&self, option: &str) -> Result<Cow<'_, str>, ComposeError> {
        if let Some(charset) = &self.charset {
            let encoding = Encoding::for_label(charset.as_bytes()).ok_or_else(|| {
                let what = format!("'{charset}' is no charset that can be converted; give the text in UTF-8");
                ComposeError::value(option, what)
            })?;
            return Ok(encoding.decode(&self.bytes).0);
        }
        if let Some(text) = utf16(&self.bytes) {
            return Ok(text.into());
        }
        let bytes = self.bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.bytes);
        Ok(match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect::<String>().into(),
        })
    }

    /// Chooses charset and encoding. Never fails: what cannot stand in a message as it is gets encoded.
    pub(super) fn encode(&self) -> Encoded {
        self.encode_by(with_crlf)
    }

    /// The same for a part, whose last line the boundary behind it ends.
    pub(super) fn encode_inside(&self) -> Encoded {
        let mut encoded = self.encode_by(with_crlf_inside);
        if encoded.transfer_encoding == "base64" {
            encoded.body.truncate(encoded.body.trim_ascii_end().len());
        }
        encoded
    }

    fn encode_by(&self, with_line_ends: fn(&[u8]) -> Vec<u8>) -> Encoded {
        if let Some(charset) = &self.charset
            && is_wide(charset)
        {
            let body = encodify::base64::MIME.encode(&self.bytes).into_bytes();
            return Encoded { charset: charset.clone(), transfer_encoding: "base64", body };
        }
        let decoded = self.charset.is_none().then(|| utf16(&self.bytes)).flatten();
        let bytes = decoded.as_ref().map_or(self.bytes.as_slice(), String::as_bytes);
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let charset = self.charset.clone().unwrap_or_else(|| charset_of(bytes).to_owned());
        let text = with_line_ends(bytes);
        let (transfer_encoding, body) = if is_plain(&text) {
            ("7bit", text)
        } else {
            // Quoted-printable can be read and searched as it is: worth some octets more.
            let limit = encodify::base64::MIME.encoded_len(text.len()) * 3 / 2;
            match encodify::qp::BODY.encoded_len_within(&text, limit) {
                Some(_) => ("quoted-printable", encodify::qp::BODY.encode(&text).into_bytes()),
                None => ("base64", encodify::base64::MIME.encode(&text).into_bytes()),
            }
        };
        Encoded { charset, transfer_encoding, body }
    }
}

/// The charset of bytes that nobody has told: what they can only be, or that it is unknown (RFC 1428).
pub(super) fn charset_of(bytes: &[u8]) -> &'static str {
    if bytes.is_ascii() {
        "us-ascii"
    } else if std::str::from_utf8(bytes).is_ok() {
        "utf-8"
    } else {
        "unknown-8bit"
    }
}

/// Whether line ends of this charset are not the octets CR and LF.
fn is_wide(charset: &str) -> bool {
    let charset = charset.to_ascii_lowercase();
    charset.starts_with("utf-16") || charset.starts_with("utf-32") || charset.starts_with("ucs-")
}

/// Text of a file in UTF-16 with its mark, as some shells redirect it.
fn utf16(bytes: &[u8]) -> Option<String> {
    let read: fn([u8; 2]) -> u16 = match bytes.get(..2)? {
        [0xFF, 0xFE] => u16::from_le_bytes,
        [0xFE, 0xFF] => u16::from_be_bytes,
        _ => return None,
    };
    let (pairs, rest) = bytes[2..].as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().copied().map(read).collect();
    if rest.is_empty() { String::from_utf16(&units).ok() } else { None }
}

/// Whether the text can go as it is.
fn is_plain(text: &[u8]) -> bool {
    let mut census = Census::default();
    census.write(text);
    census.plain_length().is_some()
}

/// Makes the text alternative of an HTML body.
pub(super) fn text_from_html(html: &Text) -> Result<Text, ComposeError> {
    let html = html.decoded("--html")?;
    if html_depth(&html) > MAX_HTML_DEPTH {
        let what = "its elements are nested too deeply to make a text of it; give the text with --body";
        return Err(ComposeError::value("--html", what));
    }
    let text = html2text::config::plain()
        .no_table_borders()
        .allow_width_overflow()
        .string_from_read(html.as_bytes(), TEXT_WIDTH)
        .map_err(|error| {
            ComposeError::value("--html", format!("no text can be made of it ({error}); give one with --body"))
        })?;
    Ok(Text::from(text.as_str()))
}

/// An upper bound of how deeply elements are nested.
fn html_depth(html: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = html.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'<', Some(b'/')) => depth = depth.saturating_sub(1),
            (b'<', Some(next)) if next.is_ascii_alphabetic() => depth += 1,
            (b'/', Some(b'>')) => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Makes an HTML body of Markdown.
///
/// # Errors
/// If its charset is not known.
pub(super) fn html_from_markdown(markdown: &Text) -> Result<Text, ComposeError> {
    Ok(Text::from(html_page(&html_fragment(&markdown.decoded("--markdown")?)).as_str()))
}

/// Makes HTML elements of Markdown (CommonMark with tables, strikethrough, task lists and footnotes).
pub fn html_fragment(markdown: &str) -> String {
    use pulldown_cmark::{Options, Parser, html};
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS | Options::ENABLE_FOOTNOTES;
    let mut out = String::with_capacity(markdown.len() + markdown.len() / 2);
    html::push_html(&mut out, Parser::new_ext(markdown, options));
    out
}

/// Makes a page of HTML elements.
pub fn html_page(fragment: &str) -> String {
    format!("<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head><body>\n{fragment}</body></html>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(bytes: &[u8]) -> (String, &'static str, String) {
        let encoded = Text { bytes: bytes.to_vec(), charset: None }.encode();
        (encoded.charset, encoded.transfer_encoding, String::from_utf8(encoded.body).unwrap())
    }

    #[test]
    fn the_least_encoding_that_is_right() {
        let case = |bytes: &[u8], charset: &str, encoding: &str, body: &str| {
            assert_eq!(encode(bytes), (charset.to_owned(), encoding, body.to_owned()), "{bytes:?}");
        };
        let (charset, encoding, body) = encode(b"plain\n.dot\nFrom me\n");
        assert_eq!((charset.as_str(), encoding, body.as_str()), ("us-ascii", "7bit", "plain\r\n.dot\r\nFrom me\r\n"));
        case(b"", "us-ascii", "7bit", "");
        case(b"no end", "us-ascii", "7bit", "no end\r\n");
        case(b"crlf\r\nlf\n", "us-ascii", "7bit", "crlf\r\nlf\r\n");
        case("Grüße\n".as_bytes(), "utf-8", "quoted-printable", "Gr=C3=BC=C3=9Fe\r\n");
        case("世界世界世界\n".as_bytes(), "utf-8", "base64", "5LiW55WM5LiW55WM5LiW55WMDQo=\r\n");
        case(b"bare\rCR\n", "us-ascii", "quoted-printable", "bare=0DCR\r\n");
        case(b"CR at the end\r", "us-ascii", "quoted-printable", "CR at the end=0D\r\n");
        case(b"nu\0l\n", "us-ascii", "quoted-printable", "nu=00l\r\n");
        case(b"latin \xFC\n", "unknown-8bit", "quoted-printable", "latin =FC\r\n");
        case("\u{feff}mark\n".as_bytes(), "us-ascii", "7bit", "mark\r\n");
        case(b"\xFF\xFEH\0i\0\n\0", "us-ascii", "7bit", "Hi\r\n");
        let (_, encoding, body) = encode(&[b'x'; 999]);
        assert_eq!(encoding, "quoted-printable");
        assert!(body.split("\r\n").all(|line| line.len() <= 76));
        assert_eq!(encode(&[b'x'; 998]).1, "7bit");
    }

    #[test]
    fn a_told_charset_is_believed() {
        let text = Text { bytes: b"latin \xFC\n".to_vec(), charset: Some("iso-8859-1".to_owned()) };
        assert_eq!(text.encode().charset, "iso-8859-1");
        let wide = Text { bytes: b"\xFF\xFEH\0".to_vec(), charset: Some("UTF-16".to_owned()) };
        assert_eq!(
            wide.encode(),
            Encoded { charset: "UTF-16".to_owned(), transfer_encoding: "base64", body: b"//5IAA==\r\n".to_vec() }
        );
    }

    #[test]
    fn html_gets_its_text() {
        let text =
            text_from_html(&Text::from("<h1>Hi</h1><p>See <a href=\"https://x.example/\">this</a> &amp; that</p>"))
                .unwrap();
        let text = String::from_utf8(text.bytes).unwrap();
        assert!(
            text.contains("Hi")
                && text.contains("this")
                && text.contains("https://x.example/")
                && text.contains("& that")
        );
        let deep = "<div>".repeat(200_000);
        assert!(text_from_html(&Text::from(deep.as_str())).unwrap_err().to_string().contains("--body"));
    }

    #[test]
    fn conversions_read_the_charset_that_was_told() {
        let told = |bytes: &[u8], charset: &str| Text { bytes: bytes.to_vec(), charset: Some(charset.to_owned()) };
        let text = |text: Text| String::from_utf8(text.bytes).unwrap();
        let html = told(b"<p>\xCF\xF0\xE8\xE2\xE5\xF2 \xA4</p>", "windows-1251");
        assert_eq!(text(text_from_html(&html).unwrap()).trim(), "Привет ¤");
        assert!(text(html_from_markdown(&told(b"# \xA4", "iso-8859-15")).unwrap()).contains("<h1>€</h1>"));
        let error = html_from_markdown(&told(b"x", "klingon")).unwrap_err().to_string();
        assert!(error.starts_with("--markdown: 'klingon' is no charset"), "{error}");
    }

    #[test]
    fn markdown_gets_its_html() {
        let html = html_from_markdown(&Text::from("# Grüße\n\n| a | b |\n|---|---|\n| 1 | ~~2~~ |\n")).unwrap();
        let html = String::from_utf8(html.bytes).unwrap();
        for part in ["<h1>Grüße</h1>", "<td>1</td>", "<del>2</del>"] {
            assert!(html.contains(part), "{html}");
        }
    }

    proptest! {
        /// Whatever comes in, what goes out is lines of a message, and a foreign decoder gets the text back.
        #[test]
        fn bodies_never_fail(bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(0_u8), any::<u8>()], 0..400)) {
            let encoded = Text { bytes: bytes.clone(), charset: Some("x".to_owned()) }.encode();
            prop_assert!(is_plain(&encoded.body));
            prop_assert!(encoded.body.is_empty() || encoded.body.ends_with(b"\r\n"));
            let message = [
                format!("Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: {}\r\n\r\n", encoded.transfer_encoding).as_bytes(),
                &encoded.body,
            ].concat();
            let message = mail_parser::MessageParser::new().parse(&message).unwrap();
            let stripped = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
            prop_assert_eq!(message.part(0).unwrap().contents(), with_crlf(stripped));
        }
    }
}
