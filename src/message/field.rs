//! Header fields: what may be in them, and how a value becomes one (RFC 5322, 2.2; RFC 2047).

use mail_builder::headers::{HeaderType, address::Address, raw::Raw, text::Text};

use super::ComposeError;
use crate::mail::{Entry, Mailbox, clean, parse_list};

/// A header line must stay below 998 octets (RFC 5322, 2.1.1); words longer than this cannot be folded into it.
const MAX_WORD: usize = 900;
const MAX_MESSAGE_ID: usize = 250;

/// Fields that hold addresses besides those that have an option of their own.
pub(super) const ADDRESS_FIELDS: [&str; 12] = [
    "Sender",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Mail-Followup-To",
    "Mail-Reply-To",
    "Errors-To",
    "Return-Receipt-To",
    "Disposition-Notification-To",
    "Apparently-To",
    "Abuse-Reports-To",
];

/// Fields that are made here, or are not the sender's to write.
const REFUSED_FIELDS: [(&str, &str); 8] = [
    ("MIME-Version", "it is written by itself"),
    ("Content-Type", "it follows from the parts; for an attachment use ';type='"),
    ("Content-Transfer-Encoding", "it follows from the parts"),
    ("Content-Disposition", "it follows from the parts"),
    ("Content-ID", "for an image use --inline 'FILE;cid=…'"),
    ("Return-Path", "the last server writes it; for another return path use --envelope-from"),
    ("Received", "servers write it"),
    ("Resent-Bcc", "it would be delivered to everybody; use --bcc"),
];

/// A field given as a whole: `X-Priority: 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name as typed.
    pub name: String,
    /// The value without surrounding white space.
    pub value: String,
}

impl Field {
    /// Takes `Name: value` apart and checks both.
    ///
    /// # Errors
    /// A name with a space or another character that is not allowed, a value with a control character, a field that
    /// is not the sender's to write.
    pub fn parse(text: &str) -> Result<Self, ComposeError> {
        let Some((name, value)) = text.split_once(':') else {
            return Err(ComposeError::value("--header", format!("'{text}' has no colon: 'Name: value' is wanted")));
        };
        if name.is_empty() {
            return Err(ComposeError::value("--header", format!("'{text}' has no name before the colon")));
        }
        // ftext of RFC 5322, 2.2
        if let Some(c) = name.chars().find(|c| !matches!(c, '!'..='~')) {
            let shown = match c {
                ' ' => "a space".to_owned(),
                c => format!("U+{:04X}", u32::from(c)),
            };
            return Err(ComposeError::value("--header", format!("the name '{name}' contains {shown}")));
        }
        if name.len() > 76 {
            return Err(ComposeError::value("--header", "the name is longer than 76 characters"));
        }
        if let Some((_, reason)) = REFUSED_FIELDS.iter().find(|(refused, _)| refused.eq_ignore_ascii_case(name)) {
            return Err(ComposeError::value(name, format!("this field cannot be given: {reason}")));
        }
        let value = value.trim_matches([' ', '\t']);
        check_value(name, value)?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The addresses in its value, if it is a field for such.
    pub(super) fn entries(&self) -> Result<Option<Vec<Entry>>, ComposeError> {
        let is_for_addresses = ADDRESS_FIELDS.iter().any(|field| self.is(field));
        is_for_addresses.then(|| parse_addresses(&self.name, &self.value)).transpose()
    }
}

/// Refuses what would end the field or hide in it: every control character but the tab.
pub(super) fn check_value(field: &str, value: &str) -> Result<(), ComposeError> {
    match value.chars().find(|c| c.is_control() && *c != '\t') {
        None => Ok(()),
        Some(c) => {
            let name = match c {
                '\r' => "a carriage return (CR)".to_owned(),
                '\n' => "a line feed (LF)".to_owned(),
                '\0' => "a NUL".to_owned(),
                c => format!("the control character U+{:04X}", u32::from(c)),
            };
            Err(ComposeError::value(field, format!("it contains {name}")))
        }
    }
}

pub(super) fn parse_addresses(field: &str, text: &str) -> Result<Vec<Entry>, ComposeError> {
    parse_list(text).map_err(|error| ComposeError::Address { field: field.to_owned(), error })
}

/// The value of a field of addresses.
pub(super) fn addresses(entries: &[Entry]) -> HeaderType<'_> {
    let list = entries.iter().map(|entry| match entry {
        Entry::Mailbox(single) => address(single),
        Entry::Group { name, members } => {
            Address::new_group(Some(name.as_str()), members.iter().map(address).collect())
        }
    });
    HeaderType::Address(Address::new_list(list.collect()))
}

/// The value of a field of one address.
pub(super) fn mailbox(mailbox: &Mailbox) -> HeaderType<'_> {
    HeaderType::Address(address(mailbox))
}

fn address(mailbox: &Mailbox) -> Address<'_> {
    Address::new_address(mailbox.name.as_deref(), AsRef::<str>::as_ref(&mailbox.address))
}

/// The value of a field of free text: folded where it is plain, in encoded words where it is not.
pub(super) fn unstructured(value: &str) -> HeaderType<'_> {
    let is_plain = value.is_ascii()
        && !value.contains("=?")
        && !value.contains("  ")
        && value.split([' ', '\t']).all(|word| word.len() <= MAX_WORD);
    if is_plain {
        return Raw::new(value).into();
    }
    if value.is_ascii() && value.contains("=?") {
        // Text that looks like an encoded word would be read as one.
        let words: Vec<String> = value
            .as_bytes()
            .chunks(45)
            .map(|chunk| format!("=?us-ascii?B?{}?=", encodify::base64::STANDARD.encode(chunk)))
            .collect();
        return Raw::new(words.join(" ")).into();
    }
    Text::new(value).into()
}

/// Returns a Message-ID with its angle brackets (RFC 5322, 3.6.4).
///
/// # Errors
/// If it has no '@', or contains white space, control or non-ASCII characters.
pub fn message_id(field: &str, text: &str) -> Result<String, ComposeError> {
    check_value(field, text)?;
    let text = text.trim();
    let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    let is_valid = bare.split_once('@').is_some_and(|(left, right)| !left.is_empty() && !right.is_empty())
        && bare.len() <= MAX_MESSAGE_ID
        && bare.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'(' | b')' | b','));
    if is_valid {
        Ok(format!("<{bare}>"))
    } else {
        Err(ComposeError::value(field, format!("'{text}' is no Message-ID: <left@right> in ASCII is wanted")))
    }
}

/// Whether a Message-ID that somebody else has given does no harm where it is repeated, however odd it is: `<` and `>`
/// around it, and in between what ends no word and no line.
pub fn is_message_id(text: &str) -> bool {
    let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>'));
    bare.is_some_and(|bare| {
        !bare.is_empty() && bare.len() + 2 <= MAX_WORD && !bare.chars().any(|c| c.is_control() || c.is_whitespace())
    })
}

/// The Message-ID of a header as it is repeated elsewhere; `None` if it had better not be.
pub(super) fn given_message_id(text: &str) -> Option<String> {
    message_id("Message-ID", text).ok().or_else(|| Some(clean(text.trim())).filter(|id| is_message_id(id)))
}

/// The list of them that In-Reply-To and References hold.
///
/// # Errors
/// As [`message_id`].
pub fn message_ids(field: &str, text: &str) -> Result<Vec<String>, ComposeError> {
    check_value(field, text)?;
    text.split_ascii_whitespace().map(|id| message_id(field, id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_builder::headers::Header;
    use proptest::prelude::*;

    fn written(value: &str) -> String {
        let mut out = b"X: ".to_vec();
        unstructured(value).write_header(&mut out, 3);
        String::from_utf8(out).unwrap()
    }

    /// Reads a field back with a parser that did not write it.
    fn read(field: &str) -> String {
        let message = format!("Subject{}\r\n", field.strip_prefix('X').unwrap());
        let message = mail_parser::MessageParser::new().parse(message.as_bytes()).unwrap().into_owned();
        message.subject().unwrap_or_default().to_owned()
    }

    #[test]
    fn names_are_checked() {
        for (text, why) in [
            ("X Priority: 1", "contains a space"),
            ("no colon", "no colon"),
            (": x", "no name"),
            ("X\r\nBcc: x@y.example", "contains U+000D"),
            ("Ünique: x", "contains U+00DC"),
            ("Content-type: text/html", "cannot be given"),
            ("RETURN-PATH: <>", "--envelope-from"),
            ("X: a\r\nBcc: x@y.example", "a carriage return"),
            ("X: a\nb", "a line feed"),
            ("X: a\0b", "a NUL"),
            ("X: a\x1b[2Jb", "U+001B"),
        ] {
            let error = Field::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
            assert!(!error.chars().any(char::is_control), "{error:?}");
        }
        assert_eq!(Field::parse("X-Empty:").unwrap().value, "");
        assert_eq!(Field::parse("X-A:  b c ").unwrap(), Field { name: "X-A".to_owned(), value: "b c".to_owned() });
    }

    #[test]
    fn long_and_foreign_values_fold() {
        for value in [
            "word ".repeat(60).trim().to_owned(),
            "ü界 ".repeat(80).trim().to_owned(),
            "x".repeat(3_000),
            "=?utf-8?Q?x?= as typed".to_owned(),
        ] {
            let field = written(&value);
            assert!(field.split("\r\n").all(|line| line.len() <= 78), "{field}");
            assert_eq!(read(&field), value);
        }
        assert_eq!(written("plain text"), "X: plain text\r\n");
    }

    #[test]
    fn message_ids_are_checked() {
        assert_eq!(message_id("x", "a@b").unwrap(), "<a@b>");
        assert_eq!(message_ids("x", " <a@b>  <c@d> ").unwrap(), ["<a@b>", "<c@d>"]);
        for bad in ["", "a", "@b", "a@", "<a@b", "a b@c", "a@b\r\nBcc: x", "ü@b", "a@b>,<c@d", "a(b)@c"] {
            assert!(message_id("x", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn odd_message_ids_of_others_are_repeated_where_they_do_no_harm() {
        for (given, known) in [
            ("<a@b>", Some("<a@b>")),
            (" a@b ", Some("<a@b>")),
            ("<20261128.1234>", Some("<20261128.1234>")),
            ("<a,b@c>", Some("<a,b@c>")),
            ("20261128.1234", None),
            ("<a b@c>", None),
            ("<a@b> <c@d>", None),
            ("<>", None),
            ("<", None),
            ("", None),
        ] {
            assert_eq!(given_message_id(given).as_deref(), known, "{given}");
        }
        assert_eq!(given_message_id(&format!("<{}@b>", "a".repeat(900))), None);
    }

    proptest! {
        #[test]
        fn every_accepted_value_comes_back(value in "[ -~üß界\u{1F600}=?_]{0,200}") {
            prop_assume!(check_value("x", &value).is_ok());
            let value = value.trim();
            let field = written(value);
            for line in field.trim_end_matches("\r\n").split("\r\n") {
                prop_assert!(line.len() <= 998 && !line.contains(['\r', '\n']) && line.is_ascii());
            }
            if !value.is_empty() {
                prop_assert_eq!(read(&field), value);
            }
        }
    }
}
