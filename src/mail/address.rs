//! Mailboxes as people type them: the RFC 5322 address grammar, strict where a mistake would misroute mail.
//!
//! Accepts quoted local parts, display names, groups and comments (3.2 to 3.4), domain literals, and non-ASCII in
//! local part and domain (RFC 6531, 6532). Domains come out as A-labels (RFC 5891), so that only a local part can
//! need SMTPUTF8. Source routes and obsolete forms are refused. Does not look anything up.

mod grammar;

use std::fmt;

use lettre::Address;

use self::grammar::{Parser, error, is_atext, quote};

/// One mailbox: an address with an optional display name, unquoted and decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    /// The display name as people read it, never empty.
    pub name: Option<String>,
    /// The address; its domain consists of A-labels or is a literal.
    pub address: Address,
}

/// One element of an address list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A single mailbox.
    Mailbox(Mailbox),
    /// A named group, possibly empty (`undisclosed-recipients:;`).
    Group {
        /// The group's display name.
        name: String,
        /// Its members; groups do not nest.
        members: Vec<Mailbox>,
    },
}

impl Entry {
    /// Returns the mailboxes of this element: itself, or the members of the group.
    pub fn mailboxes(&self) -> &[Mailbox] {
        match self {
            Entry::Mailbox(mailbox) => std::slice::from_ref(mailbox),
            Entry::Group { members, .. } => members,
        }
    }
}

/// Text that is no address, with the place and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError {
    /// The whole text.
    pub input: String,
    /// Byte offset of the first character that does not fit.
    pub at: usize,
    /// The reason, a phrase in lower case.
    pub why: String,
}

impl std::error::Error for AddressError {}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not an address: {}", super::clean(&self.input), self.why)
    }
}

impl AddressError {
    /// Returns two lines: the text, and a caret below the character that does not fit.
    pub fn caret(&self) -> String {
        let before = self.input.get(..self.at).unwrap_or(&self.input);
        format!("{}\n{}^", super::clean(&self.input), " ".repeat(before.chars().count()))
    }
}

impl Mailbox {
    /// Parses exactly one mailbox: `ada@example.com` or `Ada Lovelace <ada@example.com>`.
    pub fn parse(input: &str) -> Result<Self, AddressError> {
        let mut list = parse_list(input)?;
        match (list.pop(), list.is_empty()) {
            (Some(Entry::Mailbox(mailbox)), true) => Ok(mailbox),
            (None, _) => Err(error(input, 0, "it is empty")),
            (Some(Entry::Group { .. }), true) => Err(error(input, 0, "it is a group, one address is wanted")),
            _ => Err(error(input, input.find(',').unwrap_or(0), "one address is wanted, not a list")),
        }
    }
}

impl fmt::Display for Mailbox {
    /// Writes the mailbox for people (RFC 5322 quoting, no encoded words).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => write!(f, "{}", self.address),
            Some(name) if name.chars().all(|c| is_atext(c) || c == ' ') => write!(f, "{name} <{}>", self.address),
            Some(name) => write!(f, "{} <{}>", quote(name), self.address),
        }
    }
}

/// Parses a comma-separated list of mailboxes and groups; empty elements are skipped, an empty text is an empty list.
pub fn parse_list(input: &str) -> Result<Vec<Entry>, AddressError> {
    match plain(input) {
        Some(address) => Ok(vec![Entry::Mailbox(Mailbox { name: None, address })]),
        None => parse_any(input, None),
    }
}

/// The same where an address may be a name alone, as on one machine: its domain is `domain` then.
///
/// # Errors
/// A text that is no address even so.
pub fn parse_list_at(input: &str, domain: &str) -> Result<Vec<Entry>, AddressError> {
    parse_any(input, Some(domain))
}

/// The address that nearly all are, at a glance: ASCII, nothing quoted, in brackets or beside it. What the grammar
/// makes of it is the same; of many rows each has one.
fn plain(input: &str) -> Option<Address> {
    let (user, domain) = input.split_once('@')?;
    let is_atom = |atom: &str| {
        !atom.is_empty() && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+'))
    };
    // Two hyphens may stand for another script.
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
            && !label.contains("--")
    };
    let is_plain = input.len() <= 254 && user.split('.').all(is_atom) && domain.split('.').all(is_label);
    is_plain.then(|| Address::new_dangerous(user, domain))
}

fn parse_any(input: &str, domain: Option<&str>) -> Result<Vec<Entry>, AddressError> {
    let mut parser = Parser::new(input, domain);
    let mut list = Vec::new();
    loop {
        parser.comments()?;
        match parser.peek() {
            None => return Ok(list),
            Some(',') => drop(parser.next()),
            Some(_) => {
                list.push(parser.entry()?);
                parser.comments()?;
                match parser.peek() {
                    None | Some(',') => {}
                    Some(_) => return Err(parser.unexpected("after an address a comma is wanted")),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(input: &str) -> String {
        match Mailbox::parse(input) {
            Ok(mailbox) => format!("{}|{}", mailbox.name.unwrap_or_default(), mailbox.address),
            Err(error) => format!("{} {}", error.at, error.why),
        }
    }

    #[test]
    fn spaces_of_other_scripts_stand_in_names_only() {
        let mailbox = Mailbox::parse("山田\u{3000}太郎 <a@b.example>").unwrap();
        assert_eq!(mailbox.name.as_deref(), Some("山田 太郎"));
        assert!(Mailbox::parse("a\u{a0}b@c.example").is_err());
        assert!(Mailbox::parse("a@b\u{3000}c.example").is_err());
    }

    #[test]
    fn forms_that_people_type() {
        for (input, expected) in [
            ("ada@example.com", "|ada@example.com"),
            (" <ada@example.com> ", "|ada@example.com"),
            ("Ada Lovelace <ada@example.com>", "Ada Lovelace|ada@example.com"),
            ("\"Lovelace, Ada\" <ada@example.com>", "Lovelace, Ada|ada@example.com"),
            ("Dr. A. Lovelace <ada@example.com>", "Dr. A. Lovelace|ada@example.com"),
            ("ada@example.com (Ada Lovelace)", "Ada Lovelace|ada@example.com"),
            ("(x (nested \\) y)) Ada (z) <ada (a) @ (b) example.com>", "Ada|ada@example.com"),
            ("\"ada lovelace\"@example.com", "|\"ada lovelace\"@example.com"),
            ("\"ada\"@example.com", "|ada@example.com"),
            ("\"a\\\"b\\\\\"@example.com", "|\"a\\\"b\\\\\"@example.com"),
            ("ada+tag@EXAMPLE.com", "|ada+tag@example.com"),
            ("-OQueueDirectory=/tmp@example.com", "|-OQueueDirectory=/tmp@example.com"),
            ("jürgen@bücher.example", "|jürgen@xn--bcher-kva.example"),
            ("Jürgen Müller <j@faß.example>", "Jürgen Müller|j@xn--fa-hia.example"),
            ("用户@例子.广告", "|用户@xn--fsqu00a.xn--4rr70v"),
            ("a@[192.0.2.1]", "|a@[192.0.2.1]"),
            ("a@[ipv6:2001:DB8::1]", "|a@[IPv6:2001:db8::1]"),
            ("a@_dmarc_reports.example.com", "|a@_dmarc_reports.example.com"),
            ("root@localhost", "|root@localhost"),
            ("\"\" <a@b.example>", "|a@b.example"),
        ] {
            assert_eq!(one(input), expected, "{input}");
        }
    }

    /// The quoted local part holds an address of its own: the mail must go to the outer domain (CVE-2025-59937).
    #[test]
    fn the_domain_is_the_one_behind_the_last_at() {
        let mailbox = Mailbox::parse("\"a@evil.example x\"@good.example").unwrap();
        assert_eq!(mailbox.address.domain(), "good.example");
        assert_eq!(mailbox.address.user(), "\"a@evil.example x\"");
        let mailbox = Mailbox::parse("\"a@evil.example> SIZE=1\"@good.example").unwrap();
        assert_eq!(mailbox.address.to_string(), "\"a@evil.example> SIZE=1\"@good.example");
    }

    #[test]
    fn mistakes_are_named_at_their_place() {
        for (input, at, why) in [
            ("", 0, "it is empty"),
            ("ada", 0, "the '@' is missing"),
            ("Lovelace, Ada <ada@example.com>", 0, "needs quotation marks"),
            ("ada lovelace@example.com", 3, "a space in the part before"),
            ("ada@exa mple.com", 8, "a comma is wanted"),
            ("ada@", 4, "no domain"),
            ("@example.com", 0, "nothing before"),
            ("ada@@example.com", 4, "no domain"),
            ("ada@b@example.com", 5, "'@' cannot be part of a domain"),
            ("a..b@example.com", 2, "a dot must stand"),
            (".a@example.com", 0, "a dot must stand"),
            ("a.@example.com", 1, "a dot must stand"),
            ("a@example..com", 10, "between two labels"),
            ("a@example.com.", 13, "between two labels"),
            ("a@-example.com", 2, "begins or ends with '-'"),
            ("a@exa/mple.com", 5, "'/' cannot be part"),
            ("<a@example.com", 14, "'>' is wanted"),
            ("\"a@example.com", 0, "quotation mark is not closed"),
            ("a@example.com (x", 14, "comment is not closed"),
            ("<@relay.example:a@example.com>", 1, "routes"),
            ("a@[300.1.1.1]", 2, "no IP address"),
            ("a@[1.2.3.4", 2, "not closed by ']'"),
            ("a@b.example, c@d.example", 11, "not a list"),
            ("team: a@b.example;", 0, "it is a group"),
            ("a@example.com\r\nBcc: x@y.example", 13, "control character U+000D"),
            ("a\0b@example.com", 1, "control character U+0000"),
            ("\"a\nb\"@example.com", 2, "control character U+000A"),
            ("a@example.com> SIZE=1", 13, "a comma is wanted"),
            ("me@home <a@example.com>", 0, "needs quotation marks"),
            ("a\u{202e}b@example.com", 1, "control character U+202E"),
        ] {
            let error = Mailbox::parse(input).unwrap_err();
            assert!(error.why.contains(why), "{input:?}: {error:?}");
            assert_eq!(error.at, at, "{input:?}: {error:?}");
        }
        assert!(one(&format!("a@{}.example", "x".repeat(64))).contains("63"));
        assert!(one(&format!("{}@example.com", "x".repeat(250))).contains("254"));
        assert!(one(&format!("{}a@example.com", "(".repeat(1_000_000))).contains("nested too deeply"));
    }

    #[test]
    fn the_caret_stands_below_the_mistake() {
        let error = Mailbox::parse("jürgen@exa mple.com").unwrap_err();
        assert_eq!(error.caret(), "jürgen@exa mple.com\n           ^");
    }

    #[test]
    fn names_of_one_machine() {
        let list = |input: &str| {
            let list = parse_list_at(input, "box.example").map_err(|error| error.why)?;
            Ok::<_, String>(list.iter().flat_map(Entry::mailboxes).map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            list("root, \"j smith\", -v"),
            Ok(vec!["root@box.example".to_owned(), "\"j smith\"@box.example".to_owned(), "-v@box.example".to_owned(),])
        );
        assert_eq!(list("root (Cron Daemon)"), Ok(vec!["Cron Daemon <root@box.example>".to_owned()]));
        assert_eq!(
            list("Cron Daemon <root>, a@b.example"),
            Ok(vec!["Cron Daemon <root@box.example>".to_owned(), "a@b.example".to_owned(),])
        );
        assert_eq!(list("all: root, b;"), Ok(vec!["root@box.example".to_owned(), "b@box.example".to_owned()]));
        for bad in ["john smith", "a..b", "<>", "root@", "a b@c.example", "<root", "a\0"] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn most_addresses_are_plain() {
        let long = format!("{}@{}.example", "a".repeat(64), "b".repeat(63));
        for input in ["ada@example.com", "a.b+c_d-e@sub.x-1.example", "1@localhost", &long] {
            let address = plain(input).unwrap();
            assert_eq!(parse_any(input, None), Ok(vec![Entry::Mailbox(Mailbox { name: None, address })]), "{input}");
        }
        for input in ["a@B.example", "a@xn--x.example", "a@b..example", ".a@b", "a@b@c", "a@-b", "a b@c", "a@b\n", "@b"]
        {
            assert_eq!(plain(input), None, "{input}");
        }
    }

    #[test]
    fn lists_and_groups() {
        let list = parse_list(", a@b.example, Team: c@d.example, E <e@f.example>;, undisclosed-recipients:;,").unwrap();
        assert_eq!(list.len(), 3);
        let addresses: Vec<String> =
            list.iter().flat_map(Entry::mailboxes).map(|mailbox| mailbox.address.to_string()).collect();
        assert_eq!(addresses, ["a@b.example", "c@d.example", "e@f.example"]);
        assert!(parse_list("a@b.example c@d.example").is_err());
        assert!(parse_list("Team: a@b.example").is_err());
        assert_eq!(parse_list(" ").unwrap(), []);
    }

    proptest! {
        /// The glance sees what the grammar does.
        #[test]
        fn plain_addresses_are_those_of_the_grammar(
            input in "[a1Aü._+ -]{0,4}[a1.]{0,3}@?[a1.]{0,3}[a1A.@_xn -]{0,4}[a1]{0,2}",
        ) {
            if let Some(address) = plain(&input) {
                prop_assert_eq!(parse_any(&input, None), Ok(vec![Entry::Mailbox(Mailbox { name: None, address })]));
            }
        }

        /// Whatever is accepted is safe on a command line of SMTP and parses to itself.
        #[test]
        fn accepted_addresses_are_harmless(input in "[a\"\\\\@<>(),;: .\\r\\n\\x00\\x1bü界\\[\\]-]{0,24}") {
            for entry in parse_list(&input).into_iter().flatten() {
                for mailbox in entry.mailboxes() {
                    let address = mailbox.address.to_string();
                    prop_assert!(!address.chars().any(char::is_control), "{address:?}");
                    prop_assert!(mailbox.address.domain().is_ascii());
                    let again = Mailbox::parse(&address);
                    prop_assert_eq!(again.map(|again| again.address), Ok(mailbox.address.clone()));
                    let shown = mailbox.to_string();
                    prop_assert_eq!(&Mailbox::parse(&shown), &Ok(mailbox.clone()), "{}", shown);
                }
            }
        }
    }
}
