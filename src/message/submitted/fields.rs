//! One field at a time: 7-bit, on lines that are not too long, its names of this machine with a domain.

use super::{
    header::value,
    media::write_parameters,
    words::{Folder, is_unfit},
};
use crate::{
    mail::{Entry, Mailbox, parse_list, parse_list_at},
    message::{
        field::ADDRESS_FIELDS,
        lines::{MAX_LINE, without_end},
    },
};

/// Octets that are no UTF-8 stand here while addresses are read: letters that nobody uses.
const FOREIGN: u32 = 0xE000;

/// Whether the field is for addresses.
pub(super) fn is_for_addresses(name: &str) -> bool {
    ["From", "To", "Cc", "Reply-To", "Resent-Reply-To"]
        .iter()
        .chain(&ADDRESS_FIELDS)
        .any(|field| field.eq_ignore_ascii_case(name))
}

/// Writes a field of which these are the lines: as it is if it can stand so. Names without a domain get `domain`, if
/// there is one. Nothing but an address that is not ASCII stays 8-bit.
pub(super) fn write_field(name: &str, lines: &[u8], domain: Option<&str>, out: &mut Vec<u8>) {
    let is_fit = is_fit(name, lines);
    let wants_addresses = is_for_addresses(name) && (!is_fit || domain.is_some());
    if wants_addresses && let Some(addresses) = Addresses::read(&value(lines), domain, is_fit) {
        return addresses.write(name, out);
    }
    if is_fit {
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            out.extend_from_slice(without_end(line));
            out.extend_from_slice(b"\r\n");
        }
        return;
    }
    let value = value(lines);
    let mut folder = Folder::new(name, out);
    if ["Content-Type", "Content-Disposition"].iter().any(|field| field.eq_ignore_ascii_case(name)) {
        return write_parameters(&value, folder);
    }
    folder.text(&value, is_unfit, b"");
    folder.end();
}

/// Writes a field of addresses.
pub(super) fn write_addresses(name: &str, entries: Vec<Entry>, out: &mut Vec<u8>) {
    Addresses { entries, is_foreign: false }.write(name, out);
}

/// Whether every line can go as it is.
fn is_fit(name: &str, lines: &[u8]) -> bool {
    lines.get(name.len()) == Some(&b':')
        && lines.split_inclusive(|&byte| byte == b'\n').all(|line| {
            let line = without_end(line);
            line.len() <= MAX_LINE
                && line.iter().all(|&byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
                && line.iter().any(u8::is_ascii_graphic)
        })
}

/// What a field of addresses says.
struct Addresses {
    entries: Vec<Entry>,
    /// It is no UTF-8.
    is_foreign: bool,
}

impl Addresses {
    /// Reads a value, unless it can stay as it is or cannot be understood.
    fn read(value: &[u8], domain: Option<&str>, is_fit: bool) -> Option<Self> {
        let (text, is_foreign) = match std::str::from_utf8(value) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (value.iter().map(|&byte| letter(byte)).collect(), true),
        };
        let strict = parse_list(&text);
        if is_fit && strict.is_ok() {
            return None;
        }
        let entries = strict.ok().or_else(|| parse_list_at(&text, domain?).ok())?;
        let is_known = |mailbox: &Mailbox| !is_foreign || mailbox.address.user().chars().all(|c| octet(c).is_none());
        let has_some = !entries.is_empty() && entries.iter().flat_map(Entry::mailboxes).all(is_known);
        has_some.then_some(Self { entries, is_foreign })
    }

    fn write(&self, name: &str, out: &mut Vec<u8>) {
        let mut folder = Folder::new(name, out);
        let last = self.entries.len().saturating_sub(1);
        for (number, entry) in self.entries.iter().enumerate() {
            let comma = if number < last { "," } else { "" };
            match entry {
                Entry::Mailbox(mailbox) => self.mailbox(mailbox, comma, &mut folder),
                Entry::Group { name, members } if members.is_empty() => {
                    self.phrase(name, &format!(":;{comma}"), &mut folder);
                }
                Entry::Group { name, members } => {
                    self.phrase(name, ":", &mut folder);
                    for (number, member) in members.iter().enumerate() {
                        let tail = if number + 1 < members.len() { "," } else { &format!(";{comma}") };
                        self.mailbox(member, tail, &mut folder);
                    }
                }
            }
        }
        folder.end();
    }

    fn mailbox(&self, mailbox: &Mailbox, tail: &str, folder: &mut Folder<'_>) {
        let address = &mailbox.address;
        match &mailbox.name {
            None => folder.word(b" ", format!("{address}{tail}").as_bytes()),
            Some(name) => {
                self.phrase(name, "", folder);
                folder.word(b" ", format!("<{address}>{tail}").as_bytes());
            }
        }
    }

    /// A display name: words as they are, in quotation marks, or encoded.
    fn phrase(&self, name: &str, tail: &str, folder: &mut Folder<'_>) {
        let octets = match self.is_foreign {
            false => name.as_bytes().to_vec(),
            true => name
                .chars()
                .flat_map(|c| octet(c).map_or_else(|| c.to_string().into_bytes(), |byte| vec![byte]))
                .collect(),
        };
        let is_atoms = octets.split(|&byte| byte == b' ').all(is_atom);
        if !is_atoms && octets.is_ascii() && octets.len() <= MAX_LINE / 2 {
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
            return folder.text(format!("\"{escaped}\"").as_bytes(), is_unfit, tail.as_bytes());
        }
        folder.text(&octets, |word| is_unfit(word) || !is_atom(word), tail.as_bytes());
    }
}

/// atext of RFC 5322, 3.2.3.
fn is_atom(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(byte))
}

fn letter(byte: u8) -> char {
    if byte.is_ascii() { char::from(byte) } else { char::from_u32(FOREIGN + u32::from(byte)).unwrap_or('?') }
}

fn octet(letter: char) -> Option<u8> {
    u8::try_from(u32::from(letter).checked_sub(FOREIGN)?).ok().filter(|byte| !byte.is_ascii())
}
