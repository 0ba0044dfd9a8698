//! A draft becomes a message: fields in the usual order, then the tree mixed > related > alternative.

use std::{borrow::Cow, collections::HashSet};

use mail_builder::{
    MessageBuilder, Writer,
    headers::{HeaderType, content_type::ContentType, raw::Raw},
    mime::{BodyPart, MimePart},
};

use super::{
    Attachment, ComposeError, Field, Stamp, Text,
    field::{addresses, check_value, mailbox, message_id, message_ids, parse_addresses, unstructured},
    stamp::parse_date,
    text::{html_from_markdown, text_from_html},
};
use crate::mail::{Address, Content, Entry, Mailbox, Piece};

/// Everything that a message is made of.
#[derive(Debug, Clone)]
pub struct Draft {
    /// From.
    pub from: Mailbox,
    /// To.
    pub to: Vec<Entry>,
    /// Cc.
    pub cc: Vec<Entry>,
    /// Recipients that appear in no field.
    pub bcc: Vec<Entry>,
    /// Reply-To.
    pub reply_to: Vec<Entry>,
    /// Subject.
    pub subject: Option<String>,
    /// The text part.
    pub text: Option<Text>,
    /// The HTML part; without a text one is made of it.
    pub html: Option<Text>,
    /// Text and HTML at once.
    pub markdown: Option<Text>,
    /// Images that the HTML shows.
    pub inline: Vec<Attachment>,
    /// Files.
    pub attachments: Vec<Attachment>,
    /// Date as RFC 5322 writes it.
    pub date: Option<String>,
    /// Message-ID with its angle brackets.
    pub message_id: Option<String>,
    /// In-Reply-To.
    pub in_reply_to: Vec<String>,
    /// References; what is replied to is added.
    pub references: Vec<String>,
    /// How urgent it is.
    pub priority: Option<Priority>,
    /// Ask the reader's program for a receipt (RFC 8098).
    pub wants_read_receipt: bool,
    /// Other fields, in their order.
    pub fields: Vec<Field>,
}

/// How urgent a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Urgent.
    High,
    /// As every other.
    Normal,
    /// It can wait.
    Low,
}

/// A message with what its envelope needs.
#[derive(Debug, Clone)]
pub struct Message {
    /// Message-ID with its angle brackets.
    pub message_id: String,
    /// Every recipient once, in the order of To, Cc, Bcc.
    pub recipients: Vec<Address>,
    /// The message.
    pub content: Content,
}

/// Fields of which a message has one (RFC 5322, 3.6; RFC 8098, 2.1).
const SINGLE_FIELDS: [&str; 5] =
    ["Sender", "Disposition-Notification-To", "Importance", "X-Priority", "Auto-Submitted"];

impl Draft {
    /// An empty draft.
    pub fn new(from: Mailbox) -> Self {
        Self {
            from,
            to: Vec::new(),
            cc: Vec::new(),
            bcc: Vec::new(),
            reply_to: Vec::new(),
            subject: None,
            text: None,
            html: None,
            markdown: None,
            inline: Vec::new(),
            attachments: Vec::new(),
            date: None,
            message_id: None,
            in_reply_to: Vec::new(),
            references: Vec::new(),
            priority: None,
            wants_read_receipt: false,
            fields: Vec::new(),
        }
    }

    /// Takes in a field given as a whole. One that has a place of its own goes there: `Bcc` into the envelope.
    ///
    /// # Errors
    /// If its place is taken already, or its value does not fit there.
    pub fn add_field(&mut self, field: Field) -> Result<(), ComposeError> {
        let name = field.name.as_str();
        let twice = |taken: bool| {
            if taken { Err(ComposeError::value(name, "it is given twice")) } else { Ok(()) }
        };
        match name.to_ascii_lowercase().as_str() {
            "to" => self.to.extend(parse_addresses(name, &field.value)?),
            "cc" => self.cc.extend(parse_addresses(name, &field.value)?),
            "bcc" => self.bcc.extend(parse_addresses(name, &field.value)?),
            "from" => {
                self.from = Mailbox::parse(&field.value)
                    .map_err(|error| ComposeError::Address { field: field.name.clone(), error })?;
            }
            "reply-to" => {
                twice(!self.reply_to.is_empty())?;
                self.reply_to = parse_addresses(name, &field.value)?;
            }
            "subject" => {
                twice(self.subject.is_some())?;
                self.subject = Some(field.value);
            }
            "date" => {
                twice(self.date.is_some())?;
                self.date = Some(parse_date(&field.value).map_err(|what| ComposeError::value(name, what))?);
            }
            "message-id" => {
                twice(self.message_id.is_some())?;
                self.message_id = Some(message_id(name, &field.value)?);
            }
            "in-reply-to" => {
                twice(!self.in_reply_to.is_empty())?;
                self.in_reply_to = message_ids(name, &field.value)?;
            }
            "references" => {
                twice(!self.references.is_empty())?;
                self.references = message_ids(name, &field.value)?;
            }
            _ => {
                twice(SINGLE_FIELDS.iter().any(|single| field.is(single)) && self.has_field(&field.name))?;
                self.fields.push(field);
            }
        }
        Ok(())
    }

    /// Whether an option of its own writes this field.
    fn has_option_for(&self, field: &Field) -> bool {
        let is_priority = field.is("Importance") || field.is("X-Priority");
        let has_priority = matches!(self.priority, Some(Priority::High | Priority::Low));
        (is_priority && has_priority) || (field.is("Disposition-Notification-To") && self.wants_read_receipt)
    }

    /// Octets of its texts and files, before anything is encoded.
    pub fn weight(&self) -> u64 {
        let texts = [&self.text, &self.html, &self.markdown].into_iter().flatten();
        let texts: usize = texts.map(|text| text.bytes.len()).sum();
        let files: u64 = self.attachments.iter().chain(&self.inline).map(Attachment::size).sum();
        texts as u64 + files
    }

    fn has_field(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.is(name))
    }

    /// Whether there is neither text nor file.
    pub fn is_blank(&self) -> bool {
        [&self.text, &self.html, &self.markdown].into_iter().flatten().all(Text::is_blank)
            && self.attachments.is_empty()
            && self.inline.is_empty()
    }

    /// Every recipient once, in the order of To, Cc, Bcc.
    pub fn recipients(&self) -> Vec<Address> {
        let mut seen = HashSet::new();
        [&self.to, &self.cc, &self.bcc]
            .into_iter()
            .flatten()
            .flat_map(Entry::mailboxes)
            .filter(|mailbox| seen.insert(&mailbox.address))
            .map(|mailbox| mailbox.address.clone())
            .collect()
    }
}

/// Makes the message. It is 7-bit unless an address in its header needs UTF-8.
///
/// # Errors
/// As [`check`].
pub fn compose(draft: &Draft, stamp: &mut Stamp) -> Result<Message, ComposeError> {
    let Checked { text, html, entries } = checked(draft)?;
    let id = match &draft.message_id {
        Some(id) => id.clone(),
        // The sender's domain makes it unique, and tells nothing of this machine.
        None => format!("<{}@{}>", stamp.mark(), id_domain(draft.from.address.domain())),
    };
    // Header fields and boundaries beside the texts.
    let expected: usize = [&text, &html].into_iter().flatten().map(|text| text.bytes.len() * 17 / 16).sum();
    let mut assembly = Assembly { buffer: Vec::with_capacity(expected + 1024), ..Assembly::default() };
    let body = body(draft, (text, html), stamp, &mut assembly);
    let headers = fields(draft, &entries, stamp, &id);
    MessageBuilder { headers, body: Some(body), ..MessageBuilder::new() }.serialize(&mut assembly);
    let mut content = assembly.finish();
    content.has_utf8_headers = content.is_8bit;
    Ok(Message { message_id: id, recipients: draft.recipients(), content })
}

/// Whether a message can be made of the draft. It costs less than to make it.
///
/// # Errors
/// A value that must not be in a header, a field that is there twice, images without HTML, HTML that no text can be made
/// of.
pub fn check(draft: &Draft) -> Result<(), ComposeError> {
    checked(draft).map(drop)
}

/// What is made of a draft before it is put together.
struct Checked<'a> {
    text: Option<Cow<'a, Text>>,
    html: Option<Cow<'a, Text>>,
    /// The addresses in each of its other fields, if it is one for such.
    entries: Vec<Option<Vec<Entry>>>,
}

fn checked(draft: &Draft) -> Result<Checked<'_>, ComposeError> {
    let mut text = draft.text.as_ref().map(Cow::Borrowed);
    let mut html = draft.html.as_ref().map(Cow::Borrowed);
    if let Some(markdown) = &draft.markdown {
        html = Some(Cow::Owned(html_from_markdown(markdown)?));
        text = Some(Cow::Borrowed(markdown));
    }
    if let (None, Some(html)) = (&text, &html) {
        text = Some(Cow::Owned(text_from_html(html)?));
    }
    for charset in [&text, &html].into_iter().flatten().filter_map(|text| text.charset.as_deref()) {
        check_value("charset", charset)?;
    }
    let mut ids = HashSet::new();
    if let Some(twice) = draft.inline.iter().map(Attachment::content_id).find(|id| !ids.insert(id.clone())) {
        let what = format!("two images have the Content-ID '{twice}'; name one otherwise: 'FILE;cid=…'");
        return Err(ComposeError::value("--inline", what));
    }
    if html.is_none() && !draft.inline.is_empty() {
        return Err(ComposeError::value(
            "--inline",
            "an image can only stand in HTML; use --html or --markdown, or --attach",
        ));
    }
    if let Some(subject) = &draft.subject {
        check_value("Subject", subject)?;
    }
    let mut entries = Vec::with_capacity(draft.fields.len());
    for (number, field) in draft.fields.iter().enumerate() {
        let is_single = SINGLE_FIELDS.iter().any(|single| field.is(single));
        if is_single
            && (draft.has_option_for(field) || draft.fields[..number].iter().any(|other| other.is(&field.name)))
        {
            return Err(ComposeError::value(&field.name, "it is given twice: as a field and by its option"));
        }
        entries.push(field.entries()?);
    }
    Ok(Checked { text, html, entries })
}

/// A domain literal cannot stand in a Message-ID that everybody reads.
pub fn id_domain(domain: &str) -> String {
    domain.chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)).collect()
}

/// Names and values, borrowed where they are there already.
type Fields<'a> = Vec<(Cow<'a, str>, HeaderType<'a>)>;

fn fields<'a>(draft: &'a Draft, entries: &'a [Option<Vec<Entry>>], stamp: &'a Stamp, id: &'a str) -> Fields<'a> {
    let mut fields: Fields<'a> = Vec::with_capacity(8 + draft.fields.len());
    let mut add = |name: &'a str, value: HeaderType<'a>| fields.push((name.into(), value));
    add("From", mailbox(&draft.from));
    for (name, entries) in [("To", &draft.to), ("Cc", &draft.cc), ("Reply-To", &draft.reply_to)] {
        if !entries.is_empty() {
            add(name, addresses(entries));
        }
    }
    if draft.to.is_empty() && draft.cc.is_empty() {
        // Some servers take a message without any recipient field for spam (RFC 5322, 3.6.3 allows it).
        add("To", Raw::new("undisclosed-recipients:;").into());
    }
    if let Some(subject) = &draft.subject {
        add("Subject", unstructured(subject));
    }
    let raw = |text: &'a str| HeaderType::from(Raw::new(text));
    add("Date", raw(draft.date.as_deref().unwrap_or(stamp.date())));
    add("Message-ID", raw(id));
    if !draft.in_reply_to.is_empty() {
        add("In-Reply-To", Raw::new(draft.in_reply_to.join(" ")).into());
    }
    // A reply refers to what it replies to (RFC 5322, 3.6.4).
    let mut references: Vec<&str> = draft.references.iter().map(String::as_str).collect();
    references.extend(draft.in_reply_to.iter().filter(|id| !draft.references.contains(id)).map(String::as_str));
    if !references.is_empty() {
        add("References", Raw::new(references.join(" ")).into());
    }
    match draft.priority {
        Some(Priority::High) => {
            add("Importance", raw("high"));
            add("X-Priority", raw("1"));
        }
        Some(Priority::Low) => {
            add("Importance", raw("low"));
            add("X-Priority", raw("5"));
        }
        Some(Priority::Normal) | None => {}
    }
    if draft.wants_read_receipt {
        add("Disposition-Notification-To", mailbox(&draft.from));
    }
    for (field, entries) in draft.fields.iter().zip(entries) {
        add(&field.name, entries.as_deref().map_or_else(|| unstructured(&field.value), addresses));
    }
    fields
}

/// Text and HTML of a message.
type Texts<'a> = (Option<Cow<'a, Text>>, Option<Cow<'a, Text>>);

/// The tree of parts.
fn body(draft: &Draft, (text, html): Texts<'_>, stamp: &mut Stamp, assembly: &mut Assembly) -> MimePart<'static> {
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
struct Assembly {
    content: Content,
    buffer: Vec<u8>,
    waiting: Vec<(String, Vec<Piece>)>,
}

impl Assembly {
    fn part(&mut self, attachment: &Attachment, is_inline: bool, stamp: &mut Stamp) -> MimePart<'static> {
        let placeholder = format!("{}{}", stamp.mark(), stamp.mark());
        let (part, pieces) = attachment.part(is_inline, &placeholder);
        self.waiting.push((placeholder, pieces));
        part
    }

    fn finish(mut self) -> Content {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{AttachmentSpec, Blocks};
    use mail_parser::{Message as Parsed, MessageParser, MimeHeaders};
    use std::fs;

    fn draft() -> Draft {
        let mut draft = Draft::new(Mailbox::parse("Ada Lovelace <ada@example.com>").unwrap());
        draft.to = parse_addresses("To", "Jürgen Müller <j@bücher.example>, b@example.com").unwrap();
        draft.subject = Some("Grüße aus 東京".to_owned());
        draft.text = Some(Text::from("Hällo\n"));
        draft
    }

    fn bytes(draft: &Draft) -> Vec<u8> {
        let message = compose(draft, &mut Stamp::fixed(1_795_000_000, 7)).unwrap();
        let bytes = Blocks::new(&message.content).collect::<Result<Vec<_>, _>>().unwrap().concat();
        assert_eq!(bytes.len() as u64, message.content.len());
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            assert!(line.ends_with(b"\r\n") && line.len() <= 1_000, "{:?}", String::from_utf8_lossy(line));
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Parsed<'static> {
        MessageParser::new().parse(bytes).unwrap().into_owned()
    }

    fn attachment(name: &str, content: &[u8], marks: &str) -> Attachment {
        let folder = tempfile::tempdir().unwrap().keep();
        fs::write(folder.join(name), content).unwrap();
        AttachmentSpec::parse(&format!("{}{marks}", folder.join(name).display())).open("--attach").unwrap()
    }

    #[test]
    fn a_message_is_the_same_for_the_same_seed() {
        let mut draft = draft();
        draft.html = Some(Text::from("<p>Hi</p>"));
        draft.attachments.push(attachment("a.bin", &[7; 200_000], ""));
        assert_eq!(bytes(&draft), bytes(&draft));
    }

    #[test]
    fn foreign_parsers_read_the_fields() {
        let mut draft = draft();
        draft.cc = parse_addresses("Cc", "Team: c@example.com, \"D, E\" <d@example.com>;").unwrap();
        draft.bcc = parse_addresses("Bcc", "secret@example.com").unwrap();
        draft.in_reply_to = vec!["<x@y>".to_owned()];
        draft.references = vec!["<w@y>".to_owned()];
        draft.priority = Some(Priority::High);
        draft.wants_read_receipt = true;
        draft
            .add_field(Field::parse("X-Größe: 1").unwrap_or(Field { name: "X-A".to_owned(), value: "ü".to_owned() }))
            .unwrap();
        draft.add_field(Field::parse("bcc: hidden@example.com").unwrap()).unwrap();
        let raw = bytes(&draft);
        let text = String::from_utf8(raw.clone()).unwrap();
        assert!(text.is_ascii());
        assert!(
            !text.contains("secret@") && !text.contains("hidden@") && !text.to_lowercase().contains("\nbcc"),
            "{text}"
        );
        for field in [
            "References: <w@y> <x@y>\r\n",
            "Importance: high\r\n",
            "Disposition-Notification-To: \"Ada Lovelace\" <ada@example.com>\r\n",
            "Date: Wed, 18 Nov 2026 11:06:40 +0000\r\n",
            "MIME-Version: 1.0\r\n",
        ] {
            assert!(text.contains(field), "{field} is not in {text}");
        }
        let message = parse(&raw);
        assert_eq!(message.subject(), Some("Grüße aus 東京"));
        let to: Vec<_> = message.to().unwrap().iter().map(|m| (m.name(), m.address())).collect();
        assert_eq!(to[0], (Some("Jürgen Müller"), Some("j@xn--bcher-kva.example")));
        assert_eq!(message.cc().unwrap().iter().count(), 2);
        let made = compose(&draft, &mut Stamp::fixed(0, 0)).unwrap();
        let recipients: Vec<_> = made.recipients.iter().map(ToString::to_string).collect();
        assert_eq!(
            recipients,
            [
                "j@xn--bcher-kva.example",
                "b@example.com",
                "c@example.com",
                "d@example.com",
                "secret@example.com",
                "hidden@example.com"
            ]
        );
    }

    #[test]
    fn the_tree_and_every_byte_of_the_files() {
        let pdf: Vec<u8> = (0..150_000_u32).map(|n| (n.wrapping_mul(n) >> 5) as u8).collect();
        let mut draft = draft();
        draft.text = None;
        draft.html = Some(Text::from("<p>Look: <img src=\"cid:logo\"></p>"));
        draft.inline.push(attachment("logo.png", b"\x89PNG", ";cid=logo"));
        draft.attachments.push(attachment("Größe 100%; 'x'.pdf", &pdf, ""));
        draft.attachments.push(attachment("empty.txt", b"", ""));
        let raw = bytes(&draft);
        let message = parse(&raw);
        assert_eq!(message.body_html(0).as_deref().map(str::trim_end), Some("<p>Look: <img src=\"cid:logo\"></p>"));
        assert!(message.body_text(0).unwrap().contains("Look:"));
        let attachments: Vec<_> = message.attachments().collect();
        let pdf_part = attachments.iter().find(|part| part.contents().len() == pdf.len()).unwrap();
        assert_eq!(pdf_part.contents(), pdf);
        assert_eq!(pdf_part.attachment_name(), Some("Größe 100%; 'x'.pdf"));
        let text = String::from_utf8(raw).unwrap();
        let order: Vec<usize> = ["multipart/mixed", "multipart/related", "multipart/alternative", "Content-ID: <logo>"]
            .iter()
            .map(|part| text.find(part).unwrap())
            .collect();
        assert!(order.is_sorted(), "{order:?}");
    }

    #[test]
    fn utf8_in_an_address_is_told() {
        let mut draft = draft();
        let plain = compose(&draft, &mut Stamp::fixed(0, 0)).unwrap().content;
        assert!(!plain.has_utf8_headers && !plain.is_8bit);
        draft.to = parse_addresses("To", "jürgen@example.com").unwrap();
        let message = compose(&draft, &mut Stamp::fixed(0, 0)).unwrap().content;
        assert!(message.has_utf8_headers && message.is_8bit);
        draft.to = parse_addresses("To", "a@example.com").unwrap();
        draft.bcc = parse_addresses("Bcc", "jürgen@example.com").unwrap();
        assert!(!compose(&draft, &mut Stamp::fixed(0, 0)).unwrap().content.has_utf8_headers);
    }

    #[test]
    fn what_a_message_has_once_cannot_be_given_twice() {
        let field = |text: &str| Field::parse(text).unwrap();
        let mut draft = draft();
        draft.add_field(field("Sender: a@b.example")).unwrap();
        assert!(draft.add_field(field("sender: c@d.example")).unwrap_err().to_string().contains("given twice"));
        draft.add_field(field("X-Any: 1")).unwrap();
        draft.add_field(field("X-Any: 2")).unwrap();
        for (option, text) in [("mdn", "Disposition-Notification-To: a@b.example"), ("priority", "importance: low")] {
            let mut draft = draft.clone();
            draft.add_field(field(text)).unwrap();
            assert!(compose(&draft, &mut Stamp::fixed(0, 0)).is_ok());
            draft.wants_read_receipt = option == "mdn";
            draft.priority = (option == "priority").then_some(Priority::High);
            let error = compose(&draft, &mut Stamp::fixed(0, 0)).unwrap_err().to_string();
            assert!(error.contains("given twice"), "{error}");
        }
    }

    #[test]
    fn duplicates_count_once() {
        let mut draft = draft();
        draft.to = parse_addresses("To", "a@example.com, \"a\"@EXAMPLE.com, A <a@example.com>, A@example.com").unwrap();
        let made = compose(&draft, &mut Stamp::fixed(0, 0)).unwrap();
        let recipients: Vec<_> = made.recipients.iter().map(ToString::to_string).collect();
        assert_eq!(recipients, ["a@example.com", "A@example.com"]);
    }

    #[test]
    fn nothing_but_a_file_is_a_message_too() {
        let mut draft = draft();
        draft.text = None;
        draft.attachments.push(attachment("a.txt", b"x\n", ""));
        assert_eq!(parse(&bytes(&draft)).attachments().count(), 1);
        draft.attachments.clear();
        assert!(bytes(&draft).ends_with(b"\r\n\r\n"));
        draft.inline.push(attachment("a.png", b"x", ""));
        draft.inline.push(attachment("a.png", b"y", ""));
        assert!(compose(&draft, &mut Stamp::fixed(0, 0)).unwrap_err().to_string().contains("Content-ID 'a.png'"));
        draft.inline.pop();
        assert!(compose(&draft, &mut Stamp::fixed(0, 0)).unwrap_err().to_string().contains("--html"));
    }

    #[test]
    fn nobody_in_sight_has_a_name() {
        let mut draft = draft();
        (draft.to, draft.bcc) = (Vec::new(), draft.to);
        assert!(String::from_utf8(bytes(&draft)).unwrap().contains("To: undisclosed-recipients:;\r\n"));
    }
}
