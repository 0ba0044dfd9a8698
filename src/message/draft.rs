//! A draft: everything that a message is made of.

use std::collections::HashSet;

use super::{
    Attachment, ComposeError, Field, Text,
    field::{message_id, message_ids, parse_addresses},
    stamp::parse_date,
};
use crate::mail::{Address, Entry, Mailbox};

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

/// Fields of which a message has one (RFC 5322, 3.6; RFC 8098, 2.1).
pub(super) const SINGLE_FIELDS: [&str; 5] =
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
    pub(super) fn has_option_for(&self, field: &Field) -> bool {
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
