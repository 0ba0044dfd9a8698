//! The header of a message that exists already: what its fields say and where they stand.

use std::{collections::HashSet, ops::Range};

use super::ComposeError;
use crate::mail::{Address, Entry};

/// Of these, the fields of the first block count alone.
const RESENT_RECIPIENTS: [&str; 3] = ["Resent-To", "Resent-Cc", "Resent-Bcc"];

/// The fields in their order.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub fields: Vec<HeaderField>,
}

/// One field.
#[derive(Debug)]
pub(super) struct HeaderField {
    pub name: String,
    /// The value unfolded, decoded leniently.
    pub value: String,
    /// Where its lines are.
    pub lines: Range<usize>,
}

impl HeaderField {
    /// Whether this is its name.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn is_resent(&self) -> bool {
        self.name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("Resent-"))
    }
}

impl Header {
    /// The values of all fields of this name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |field| field.is(name)).map(|field| field.value.as_str())
    }

    /// The value of the first field of this name.
    pub fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.values(name).next()
    }

    /// The newest block of Resent fields that names recipients: a block is a run of such fields; where a name occurs
    /// again, the next one begins (RFC 5322, 3.6.6).
    pub fn resent(&self) -> Option<Range<usize>> {
        let mut start = 0;
        while start < self.fields.len() {
            let mut names = HashSet::new();
            let length = self.fields[start..]
                .iter()
                .take_while(|field| field.is_resent() && names.insert(field.name.to_ascii_lowercase()))
                .count();
            let block = &self.fields[start..start + length];
            if block.iter().any(|field| RESENT_RECIPIENTS.iter().any(|name| field.is(name))) {
                return Some(start..start + length);
            }
            start += length.max(1);
        }
        None
    }

    /// The addresses of To, Cc and Bcc, or of the newest Resent block; each once. `parse` gets the name of a field and
    /// its value.
    ///
    /// # Errors
    /// Those of `parse`.
    pub fn recipients(
        &self,
        parse: impl Fn(&str, &str) -> Result<Vec<Entry>, ComposeError>,
    ) -> Result<Vec<Address>, ComposeError> {
        let (names, fields) = match self.resent() {
            Some(block) => (RESENT_RECIPIENTS, &self.fields[block]),
            None => (["To", "Cc", "Bcc"], &self.fields[..]),
        };
        let mut seen = HashSet::new();
        let mut recipients: Vec<Address> = Vec::new();
        for name in names {
            for field in fields.iter().filter(|field| field.is(name)) {
                for mailbox in parse(name, &field.value)?.iter().flat_map(Entry::mailboxes) {
                    if seen.insert(mailbox.address.clone()) {
                        recipients.push(mailbox.address.clone());
                    }
                }
            }
        }
        Ok(recipients)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::parse_list;

    fn recipients(fields: &[(&str, &str)]) -> Vec<String> {
        let field =
            |(name, value): &(&str, &str)| HeaderField { name: (*name).into(), value: (*value).into(), lines: 0..0 };
        let header = Header { fields: fields.iter().map(field).collect() };
        let list = header.recipients(|_, value| Ok(parse_list(value).unwrap())).unwrap();
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_newest_block_counts_alone() {
        let original = [("Cc", "c@x"), ("To", "t@x, c@x"), ("bcc", "b@x"), ("To", "u@x")];
        assert_eq!(recipients(&original), ["t@x", "c@x", "u@x", "b@x"]);
        let resent = |block: &[(&'static str, &'static str)]| recipients(&[block, &original].concat());
        assert_eq!(resent(&[("Received", "x"), ("Resent-Cc", "n@x"), ("resent-to", "m@x")]), ["m@x", "n@x"]);
        assert_eq!(resent(&[("Resent-To", "m@x"), ("Resent-To", "old@x")]), ["m@x"]);
        assert_eq!(resent(&[("Resent-To", "m@x"), ("Received", "x"), ("Resent-Cc", "old@x")]), ["m@x"]);
        assert_eq!(resent(&[("Resent-From", "f@x"), ("X-Y", ""), ("Resent-Bcc", "m@x")]), ["m@x"]);
        assert_eq!(resent(&[("Resent-From", "f@x"), ("Resent-Date", "")]), ["t@x", "c@x", "u@x", "b@x"]);
    }
}
