//! A draft becomes a message: fields in the usual order, then the tree of parts.

use std::{borrow::Cow, collections::HashSet};

use mail_builder::{
    MessageBuilder,
    headers::{HeaderType, raw::Raw},
};

use super::{
    Attachment, ComposeError, Draft, Priority, Stamp, Text,
    draft::SINGLE_FIELDS,
    field::{addresses, check_value, mailbox, unstructured},
    text::{html_from_markdown, text_from_html},
    tree::{Assembly, body},
};
use crate::mail::{Address, Content, Entry};

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
    let mut assembly = Assembly::with_room(expected + 1024);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mail::Mailbox,
        message::{AttachmentSpec, Blocks, Field, field::parse_addresses},
    };
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
