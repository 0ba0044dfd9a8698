//! Messages that programs of this machine hand over as to sendmail: whatever their octets are, they become fit for
//! sending.
//!
//! The lenient sister of [`read_raw`](super::read_raw): nobody is there who could mend the message. What is fit stays
//! octet for octet, and a large body in its file. What is not is encoded, with the fields that this needs; those that are
//! missing are added (RFC 6409, 8). Who gets it, and whether names are aliases, is decided elsewhere.

mod body;
mod fields;
mod form;
mod header;
mod intake;
mod media;
mod transfer;
mod words;

use std::io::Read;

use self::{
    body::fit_body,
    fields::{is_for_addresses, write_addresses},
    form::FieldWriter,
    header::read_header,
    intake::UpToDot,
};
use super::{
    ComposeError, Input, Stamp,
    compose::id_domain,
    field::given_message_id,
    header::{Header, HeaderField},
    lines::MAX_HEADER,
    spool::Data,
};
use crate::mail::{Address, AddressError, Content, Entry, Mailbox, parse_list_at};

/// The domain of recipients that have none in the header.
const LOCAL: &str = "localhost";
/// The last server writes Return-Path (RFC 5321, 4.4); the length of an mbox file is that of another message.
const DROPPED: [&str; 4] = ["Bcc", "Resent-Bcc", "Return-Path", "Content-Length"];

/// What goes along with a message that a program hands over.
#[derive(Debug, Clone, Copy)]
pub struct Handover<'a> {
    /// The domain of names without one in the header.
    pub domain: &'a str,
    /// The sender of a message without a From field.
    pub default_from: &'a Mailbox,
    /// Whether recipients are read from the header.
    pub wants_recipients: bool,
    /// Recipients that were named beside it.
    pub named: &'a [Address],
    /// Whether a line with a lone dot ends it.
    pub ends_at_dot: bool,
    /// Whether cron has written it; it may say so itself, by an X-Cron-Env field.
    pub is_of_cron: bool,
}

/// A message as it can be sent.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// Its Message-ID; one of ours, if it has none, or what is none.
    pub message_id: String,
    /// The first address of its From field, or that of whoever resends it; `None` if that cannot be understood.
    pub from: Option<Address>,
    /// The recipients in its header, each once: those of To, Cc and Bcc, or of its newest Resent block (RFC 5322,
    /// 3.6.6). A name without a domain is one at `localhost`. Empty unless they were wanted.
    pub recipients: Vec<Address>,
    /// The message without Bcc.
    pub content: Content,
}

/// Reads a message to its end and makes it fit.
///
/// # Errors
/// A recipient in the header that is no address, if they are wanted; a header over 1 MiB; a part that cannot go as it
/// is and must not be changed; input that cannot be read.
pub fn read_submitted(
    reader: impl Read,
    handover: &Handover<'_>,
    stamp: &mut Stamp,
) -> Result<Submitted, ComposeError> {
    let data = match handover.ends_at_dot {
        true => Input::Stdin.copy(UpToDot::new(reader))?,
        false => Input::Stdin.copy(reader)?,
    };
    let (head, header, body) = split(&data)?;
    let recipients = if handover.wants_recipients { recipients(&header)? } else { Vec::new() };
    let body = fit_body(&head, &header, &body)?;

    let mut out = Vec::with_capacity(head.len() + 512);
    let mut added = Added { header: &header, handover, stamp };
    let resent = header.resent();
    let mut writer = FieldWriter::new(&head, &body.marks, Some(handover.domain));
    for (number, field) in header.fields.iter().enumerate() {
        if let Some(block) = resent.as_ref().filter(|block| block.start == number) {
            added.resent(&header.fields[block.clone()], &mut out);
        }
        if !is_dropped(field) {
            writer.field(field, &mut out);
        }
    }
    let author = added.sender(&mut out);
    let from = match &resent {
        Some(block) => added.resender(&header.fields[block.clone()]),
        None => author.clone(),
    };
    let message_id = added.identity(author.as_ref(), &mut out);
    if resent.is_none() {
        added.recipients(&recipients, &mut out);
    }
    if body.marks.transfer_encoding.is_some() && !added.has("MIME-Version") {
        out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    }
    writer.finish(&mut out);

    let has_utf8_headers = !out.is_ascii();
    out.extend_from_slice(b"\r\n");
    let mut content = Content::from_bytes(out);
    body.pieces.into_iter().for_each(|piece| content.push(piece));
    content.is_8bit |= body.is_8bit;
    content.has_utf8_headers = has_utf8_headers;
    Ok(Submitted { message_id, from, recipients, content })
}

/// The header as it came, the same taken apart, and what is below it.
fn split(data: &Data) -> Result<(Vec<u8>, Header, Data), ComposeError> {
    let mut head = data.head(MAX_HEADER + 1)?;
    let (header, body_at) = read_header(&head, true);
    if body_at > MAX_HEADER {
        // What is in it might be meant for nobody else: a Bcc must not become text.
        return Err(ComposeError::value("the message", "its header is longer than 1 MiB"));
    }
    head.truncate(body_at);
    Ok((head, header, data.skip(body_at as u64)))
}

fn recipients(header: &Header) -> Result<Vec<Address>, ComposeError> {
    header.recipients(|field, value| {
        let fail = |error: AddressError| ComposeError::Address { field: field.to_owned(), error };
        let entries = parse_list_at(value, LOCAL).map_err(fail)?;
        // Octets of an old charset in an address reach nobody.
        let is_lost = |mailbox: &Mailbox| mailbox.address.user().contains('\u{FFFD}');
        match value.find('\u{FFFD}') {
            Some(at) if entries.iter().flat_map(Entry::mailboxes).any(is_lost) => {
                let why = "an address in it is neither ASCII nor UTF-8".to_owned();
                Err(fail(AddressError { input: value.to_owned(), at, why }))
            }
            _ => Ok(entries),
        }
    })
}

/// Whether the field does not go out. One that must say something and says nothing is not there.
fn is_dropped(field: &HeaderField) -> bool {
    let must_say = is_for_addresses(&field.name)
        || ["Date", "Message-ID", "Resent-Date", "Resent-Message-ID"].iter().any(|name| field.is(name));
    DROPPED.iter().any(|name| field.is(name)) || (must_say && field.value.is_empty())
}

/// Adds what is not there.
struct Added<'a> {
    header: &'a Header,
    handover: &'a Handover<'a>,
    stamp: &'a mut Stamp,
}

impl Added<'_> {
    fn has(&self, name: &str) -> bool {
        self.header.values(name).any(|value| !value.is_empty())
    }

    /// A new block of Resent fields says when and by whom (RFC 5322, 3.6.6).
    fn resent(&mut self, block: &[HeaderField], out: &mut Vec<u8>) {
        let has = |name: &str| block.iter().any(|field| field.is(name) && !field.value.is_empty());
        let from = self.handover.default_from;
        if !has("Resent-Date") {
            out.extend_from_slice(format!("Resent-Date: {}\r\n", self.stamp.date()).as_bytes());
        }
        if !has("Resent-From") {
            write_addresses("Resent-From", vec![Entry::Mailbox(from.clone())], out);
        }
        if !has("Resent-Message-ID") {
            let id = self.id(from.address.domain());
            out.extend_from_slice(format!("Resent-Message-ID: {id}\r\n").as_bytes());
        }
    }

    /// Returns the first address of Resent-Sender, or of Resent-From.
    fn resender(&self, block: &[HeaderField]) -> Option<Address> {
        let value = |name: &str| block.iter().find(|field| field.is(name) && !field.value.is_empty());
        match value("Resent-Sender").or_else(|| value("Resent-From")) {
            Some(field) => self.first_address(&field.value),
            None => Some(self.handover.default_from.address.clone()),
        }
    }

    /// Returns the first address of From.
    fn sender(&self, out: &mut Vec<u8>) -> Option<Address> {
        let default = self.handover.default_from;
        let Some(value) = self.header.values("From").find(|value| !value.is_empty()) else {
            write_addresses("From", vec![Entry::Mailbox(default.clone())], out);
            return Some(default.address.clone());
        };
        self.first_address(value)
    }

    fn first_address(&self, value: &str) -> Option<Address> {
        let entries = parse_list_at(value, self.handover.domain).ok()?;
        let first = entries.iter().flat_map(Entry::mailboxes).next()?;
        Some(first.address.clone()).filter(|address| !address.user().contains('\u{FFFD}'))
    }

    /// Returns the Message-ID.
    fn identity(&mut self, from: Option<&Address>, out: &mut Vec<u8>) -> String {
        if !self.has("Date") {
            out.extend_from_slice(format!("Date: {}\r\n", self.stamp.date()).as_bytes());
        }
        let is_of_cron = self.handover.is_of_cron || self.header.value("X-Cron-Env").is_some();
        if is_of_cron && !self.has("Auto-Submitted") {
            out.extend_from_slice(b"Auto-Submitted: auto-generated\r\n");
        }
        let given = self.header.values("Message-ID").find(|value| !value.is_empty());
        if let Some(id) = given.and_then(given_message_id) {
            return id;
        }
        let id = self.id(from.unwrap_or(&self.handover.default_from.address).domain());
        // What is none stays as it is, and the message is known by one of ours.
        if given.is_none() {
            out.extend_from_slice(format!("Message-ID: {id}\r\n").as_bytes());
        }
        id
    }

    fn id(&mut self, domain: &str) -> String {
        format!("<{}@{}>", self.stamp.mark(), id_domain(domain))
    }

    /// A message that goes to a single one says so; of several, each sees nobody.
    fn recipients(&self, in_header: &[Address], out: &mut Vec<u8>) {
        if self.has("To") || self.has("Cc") {
            return;
        }
        match self.handover.named {
            [address] if in_header.iter().all(|other| other == address) => {
                let domain = if address.domain() == LOCAL { self.handover.domain } else { address.domain() };
                let address = Address::new_dangerous(address.user(), domain);
                write_addresses("To", vec![Entry::Mailbox(Mailbox { name: None, address })], out);
            }
            _ => out.extend_from_slice(b"To: undisclosed-recipients:;\r\n"),
        }
    }
}

#[cfg(test)]
mod tests;
