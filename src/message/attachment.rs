//! Files that go with a message: what is typed about them, and what they are.

use std::{fs::File, path::Path, sync::Arc};

use mail_builder::{
    headers::{content_type::ContentType, raw::Raw},
    mime::{BodyPart, MimePart},
};

use super::{Blocks, ComposeError, Input, field::check_value, lines::Census, spool::Data, text::charset_of};
use crate::mail::Piece;

/// A longer name of a charset is none (RFC 2978, 2.3).
const MAX_CHARSET: usize = 40;
/// Of a type and of a subtype (RFC 6838, 4.2).
const MAX_NAME: usize = 127;
/// Octets that are kept encoded for many messages.
const MAX_KEPT: u64 = 24 * 1024 * 1024;
/// With its angle brackets it must fit into a line of 998 octets; what is longer than a Message-ID may be is none.
const MAX_CID: usize = 250;

/// `FILE;name=…;type=…;cid=…;charset=…` as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentSpec {
    /// The file, or standard input.
    pub input: Input,
    /// Name to give it.
    pub name: Option<String>,
    /// Media type to give it.
    pub media_type: Option<String>,
    /// Content-ID by which the HTML names it.
    pub cid: Option<String>,
    /// Charset of a text.
    pub charset: Option<String>,
}

/// A file ready to be a part of a message.
#[derive(Debug, Clone)]
pub struct Attachment {
    name: String,
    media_type: String,
    charset: Option<String>,
    cid: Option<String>,
    data: Data,
    /// A message goes as it is, in so many octets.
    plain_length: Option<u64>,
    /// What goes out, where it was made beforehand.
    encoded: Option<Arc<[Piece]>>,
}

impl AttachmentSpec {
    /// Splits the marks off from the right; a file that has the whole text as its name wins.
    pub fn parse(text: &str) -> Self {
        let mut spec = Self { input: Input::Stdin, name: None, media_type: None, cid: None, charset: None };
        let mut rest = text;
        if !Path::new(text).exists() {
            while let Some((before, mark)) = rest.rsplit_once(';') {
                let Some((key, value)) = mark.split_once('=') else { break };
                let place = match key.trim() {
                    "name" => &mut spec.name,
                    "type" => &mut spec.media_type,
                    "cid" => &mut spec.cid,
                    "charset" => &mut spec.charset,
                    _ => break,
                };
                place.get_or_insert_with(|| value.trim().to_owned());
                rest = before;
            }
        }
        spec.input = Input::from_word(rest);
        spec
    }

    /// Opens the file, given behind `option`, and finds out what is not said.
    ///
    /// # Errors
    /// If the file cannot be read, or a mark holds what cannot be in a message.
    pub fn open(&self, option: &str) -> Result<Attachment, ComposeError> {
        self.attachment(option, || self.input.open())
    }

    /// The same for a regular file that was opened already, whatever lies at its path by now. The path of the input only
    /// names it.
    ///
    /// # Errors
    /// As [`AttachmentSpec::open`].
    pub fn open_file(&self, option: &str, file: File) -> Result<Attachment, ComposeError> {
        self.attachment(option, || self.input.take(file))
    }

    /// The same for octets that lie in no file.
    ///
    /// # Errors
    /// If a mark holds what cannot be in a message.
    pub fn open_octets(&self, option: &str, octets: Vec<u8>) -> Result<Attachment, ComposeError> {
        self.attachment(option, || Ok(Data::Memory(octets.into())))
    }

    fn attachment(
        &self,
        option: &str,
        data: impl FnOnce() -> Result<Data, ComposeError>,
    ) -> Result<Attachment, ComposeError> {
        let name = match (&self.name, &self.input) {
            (Some(name), _) => name.clone(),
            (None, Input::Stdin) => "attachment".to_owned(),
            (None, Input::Path(path)) => match path.file_name() {
                Some(name) => name.to_string_lossy().into_owned(),
                None => "attachment".to_owned(),
            },
        };
        check_value("file name", &name)?;
        if name.contains('\t') {
            return Err(ComposeError::value("file name", "it contains a tab"));
        }
        let data = data()?;
        let media_type = match &self.media_type {
            Some(media_type) => checked_media_type(option, media_type)?,
            None => mime_guess::from_path(&name).first_raw().unwrap_or("application/octet-stream").to_owned(),
        };
        let charset = match &self.charset {
            Some(charset) => Some(checked_charset(option, charset)?),
            None if media_type.starts_with("text/") => Some(find_charset(&data)?),
            None => None,
        };
        if let Some(cid) = &self.cid
            && (cid.is_empty()
                || cid.len() > MAX_CID
                || !cid.bytes().all(|b| b.is_ascii_graphic() && !b"<>()\"\\".contains(&b)))
        {
            return Err(ComposeError::value(option, format!("'{cid}' is no Content-ID")));
        }
        let mut attachment =
            Attachment { name, media_type, charset, cid: self.cid.clone(), data, plain_length: None, encoded: None };
        attachment.settle_message_type()?;
        Ok(attachment)
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
}

/// Returns the charset if its name can be one (RFC 2978, 2.3).
///
/// # Errors
/// If it cannot.
pub fn checked_charset(option: &str, charset: &str) -> Result<String, ComposeError> {
    if is_token(charset) && charset.len() <= MAX_CHARSET {
        return Ok(charset.to_owned());
    }
    Err(ComposeError::value(option, format!("'{charset}' is no charset")))
}

fn checked_media_type(option: &str, text: &str) -> Result<String, ComposeError> {
    match text.split_once('/') {
        Some((kind, subtype)) if [kind, subtype].iter().all(|name| is_token(name) && name.len() <= MAX_NAME) => {
            match kind.to_ascii_lowercase().as_str() {
                "multipart" => Err(ComposeError::value(option, format!("'{text}' is not the type of a file"))),
                _ => Ok(text.to_ascii_lowercase()),
            }
        }
        _ => Err(ComposeError::value(option, format!("'{text}' is no media type: type/subtype is wanted"))),
    }
}

/// Reads a text once to tell its charset; it may be large, so not all at once.
pub(super) fn find_charset(data: &Data) -> Result<String, ComposeError> {
    let mut verdict = "us-ascii";
    // A character of UTF-8 may be cut by the end of a block.
    let mut carry: Vec<u8> = Vec::new();
    let mut at_start = true;
    data.for_each_block(|block| {
        if at_start && matches!(block.get(..2), Some([0xFF, 0xFE] | [0xFE, 0xFF])) {
            verdict = "utf-16";
        }
        at_start = false;
        if matches!(verdict, "utf-16" | "unknown-8bit") || (carry.is_empty() && block.is_ascii()) {
            return Ok(());
        }
        carry.extend_from_slice(block);
        let rest = match std::str::from_utf8(&carry) {
            Ok(_) => carry.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => {
                verdict = "unknown-8bit";
                carry.len()
            }
        };
        if verdict == "us-ascii" && !carry.is_ascii() {
            verdict = "utf-8";
        }
        carry.drain(..rest);
        Ok(())
    })?;
    Ok(if carry.is_empty() { verdict } else { charset_of(&carry) }.to_owned())
}

impl Attachment {
    /// The name it travels under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name by which the HTML shows it, if it is an image there.
    pub fn content_id(&self) -> String {
        self.cid.clone().unwrap_or_else(|| default_cid(&self.name))
    }

    /// Its media type.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Octets of the file.
    pub fn size(&self) -> u64 {
        self.data.len()
    }

    /// A message inside a message must not be in Base64 (RFC 2046, 5.2.1): one that cannot go as it is, is a file
    /// like any other.
    fn settle_message_type(&mut self) -> Result<(), ComposeError> {
        if self.media_type.starts_with("message/") {
            let mut census = Census::default();
            self.data.for_each_block(|block| {
                census.write(block);
                Ok(())
            })?;
            self.plain_length = census.plain_length();
            if self.plain_length.is_none() {
                self.media_type = "application/octet-stream".to_owned();
            }
        }
        Ok(())
    }

    /// Encodes it now, once for all the messages that it goes with, if it is not too large to be kept.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn encode_once(&mut self) -> Result<(), ComposeError> {
        let piece = self.piece();
        if piece.len() > MAX_KEPT || matches!(piece, Piece::Bytes(_)) {
            return Ok(());
        }
        let blocks = Blocks::of_pieces(vec![piece]).map(|block| block.map(|bytes| Piece::Bytes(bytes.into())));
        let path = self.name.clone().into();
        self.encoded = Some(blocks.collect::<Result<_, _>>().map_err(|error| ComposeError::File { path, error })?);
        Ok(())
    }

    fn piece(&self) -> Piece {
        match self.plain_length {
            Some(length) => self.data.crlf_piece(0, length),
            None => self.data.base64_piece(),
        }
    }

    /// The part with its fields; `placeholder` stands where the returned pieces belong.
    pub(super) fn part(&self, is_inline: bool, placeholder: &str) -> (MimePart<'static>, Vec<Piece>) {
        let mut media_type = ContentType::new(self.media_type.clone());
        if let Some(charset) = &self.charset {
            media_type = media_type.attribute("charset", charset.clone());
        }
        media_type = media_type.attribute("name", self.name.clone());
        let disposition = if is_inline { "inline" } else { "attachment" };
        let mut part = MimePart::raw(BodyPart::Binary(placeholder.as_bytes().to_vec().into()))
            .header("Content-Type", media_type)
            .header("Content-Disposition", ContentType::new(disposition).attribute("filename", self.name.clone()));
        if let Some(cid) = self.cid.clone().or_else(|| is_inline.then(|| self.content_id())) {
            part = part.header("Content-ID", Raw::new(format!("<{cid}>")));
        }
        let part = part.transfer_encoding(if self.plain_length.is_some() { "7bit" } else { "base64" });
        let pieces = self.encoded.as_ref().map_or_else(|| vec![self.piece()], |pieces| pieces.to_vec());
        (part, pieces)
    }
}

/// An inline image without `;cid=` is named by its file name, as far as that can be a Content-ID.
fn default_cid(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-+@".contains(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Encoding;
    use std::fs;

    #[test]
    fn marks_are_split_from_the_right() {
        let spec = AttachmentSpec::parse("a;b.pdf;name=Größe.pdf;type=application/pdf");
        assert_eq!(spec.input, Input::Path("a;b.pdf".into()));
        assert_eq!((spec.name.as_deref(), spec.media_type.as_deref()), (Some("Größe.pdf"), Some("application/pdf")));
        assert_eq!(AttachmentSpec::parse("-;name=report.csv").input, Input::Stdin);
        assert_eq!(AttachmentSpec::parse("a;size=3;cid=x").input, Input::Path("a;size=3".into()));
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("odd;name=x.txt");
        fs::write(&whole, "x").unwrap();
        let spec = AttachmentSpec::parse(whole.to_str().unwrap());
        assert_eq!((spec.input, spec.name), (Input::Path(whole), None));
    }

    fn open(name: &str, bytes: &[u8], marks: &str) -> Result<Attachment, ComposeError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        AttachmentSpec::parse(&format!("{}{marks}", path.display())).open("--attach")
    }

    #[test]
    fn what_is_not_said_is_found_out() {
        let kind = |name: &str, bytes: &[u8]| {
            let attachment = open(name, bytes, "").unwrap();
            (attachment.media_type, attachment.charset)
        };
        let charset = |name: &str| Some(name.to_owned());
        assert_eq!(kind("a.pdf", b"%PDF"), ("application/pdf".to_owned(), None));
        assert_eq!(kind("a.unheard-of", b"x"), ("application/octet-stream".to_owned(), None));
        assert_eq!(kind("a.txt", b"x"), ("text/plain".to_owned(), charset("us-ascii")));
        assert_eq!(kind("a.csv", "ü".as_bytes()), ("text/csv".to_owned(), charset("utf-8")));
        assert_eq!(kind("a.txt", b"\xFC"), ("text/plain".to_owned(), charset("unknown-8bit")));
        assert_eq!(kind("a.txt", b"\xFF\xFEx\0"), ("text/plain".to_owned(), charset("utf-16")));
        let long = "x".repeat(65_535) + "ü" + &"y".repeat(70_000);
        assert_eq!(kind("a.txt", long.as_bytes()).1, charset("utf-8"));
        let cut = [&b"x".repeat(65_536)[..], b"\xC3"].concat();
        assert_eq!(kind("a.txt", &cut).1, charset("unknown-8bit"));
    }

    #[test]
    fn a_message_inside_a_message_is_not_encoded() {
        let clean = open("a.eml", b"Subject: x\n\nhello\n", "").unwrap();
        assert_eq!(clean.media_type, "message/rfc822");
        let (_, piece) = clean.part(false, "-");
        assert!(matches!(piece.as_slice(), [Piece::Bytes(bytes)] if **bytes == *b"Subject: x\r\n\r\nhello\r\n"));
        let large = open("a.eml", "Subject: x\n\nhello\n".repeat(5_000).as_bytes(), "").unwrap();
        let (_, piece) = large.part(false, "-");
        assert!(matches!(piece.as_slice(), [Piece::File { encoding: Encoding::Crlf, .. }]), "{piece:?}");
        assert_eq!(piece[0].len(), 5_000 * 21);
        assert_eq!(open("a.eml", "Subject: ü\n\n".as_bytes(), "").unwrap().media_type, "application/octet-stream");
    }

    #[test]
    fn what_is_no_path_is_attached_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let spec = AttachmentSpec { input: Input::Path("below/n.csv".into()), ..AttachmentSpec::parse("-") };
        for octets in [b"small".to_vec(), b"large".repeat(20_000)] {
            let path = folder.path().join("x");
            fs::write(&path, &octets).unwrap();
            let file = File::open(&path).unwrap();
            // Whatever is put in its place.
            fs::rename(&path, folder.path().join("y")).unwrap();
            fs::write(&path, "another").unwrap();
            for attachment in [spec.open_file("x", file).unwrap(), spec.open_octets("x", octets.clone()).unwrap()] {
                assert_eq!((attachment.name(), attachment.media_type()), ("n.csv", "text/csv"));
                let blocks = Blocks::of_pieces(attachment.part(false, "-").1);
                let encoded: Vec<u8> = blocks.flat_map(Result::unwrap).filter(|b| !b.is_ascii_whitespace()).collect();
                assert_eq!(encodify::base64::STANDARD.decode(encoded).unwrap(), octets);
            }
        }
        let error = spec.open_file("x", File::open(folder.path()).unwrap()).unwrap_err();
        assert!(error.to_string().contains("it is no regular file"), "{error}");
    }

    #[test]
    fn marks_that_would_break_a_header_are_refused() {
        for marks in [
            ";type=text",
            ";type=multipart/mixed",
            ";type=a b/c",
            ";type=text/html\r\nX: y",
            ";charset=a;b",
            ";cid=a b",
            &format!(";cid={}", "x".repeat(251)),
            &format!(";charset={}", "x".repeat(41)),
            &format!(";type=x/{}", "x".repeat(128)),
            ";cid=",
            ";name=a\r\nBcc: x@y.example",
            ";name=a\0b",
            ";name=a\tb",
        ] {
            let verdict = open("a.txt", b"x", marks);
            // NUL cannot be in the name of a file that exists, so the whole text is no file.
            assert!(verdict.is_err(), "{marks:?}");
        }
    }
}
