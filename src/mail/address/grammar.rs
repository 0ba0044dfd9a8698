//! The grammar of RFC 5322, 3.2 to 3.4, read from left to right: words first, then what follows tells what they were.

use std::{iter::Peekable, net::IpAddr, str::CharIndices};

use lettre::Address;

use super::{AddressError, Entry, Mailbox};
use crate::mail::is_direction_mark;

/// A path must fit into 256 octets with its angle brackets (RFC 5321, 4.5.3.1.3).
const MAX_ADDRESS: usize = 254;
/// Comments nest; nobody nests deeper than this (RFC 5322 sets no limit, stacks do).
const MAX_NESTING: u32 = 32;

pub(super) fn error(input: &str, at: usize, why: impl Into<String>) -> AddressError {
    AddressError { input: input.to_owned(), at, why: why.into() }
}

/// Puts `text` into a quoted string (RFC 5322, 3.2.4).
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// atext of RFC 5322, 3.2.3, with RFC 6532's addition of all that is not ASCII.
pub(super) fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_visible_unicode(c)
}

fn is_visible_unicode(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !c.is_whitespace() && !is_direction_mark(c)
}

fn is_dot_atom(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// An atom (dots included) or a quoted string, with its place in the input.
struct Word {
    text: String,
    quoted: bool,
    start: usize,
}

pub(super) struct Parser<'a> {
    input: &'a str,
    chars: Peekable<CharIndices<'a>>,
    /// The domain of an address that names none.
    domain: Option<&'a str>,
}

impl<'a> Parser<'a> {
    /// Without a `domain` every address must name its own.
    pub fn new(input: &'a str, domain: Option<&'a str>) -> Self {
        Self { input, chars: input.char_indices().peekable(), domain }
    }

    pub fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|&(_, c)| c)
    }

    pub fn next(&mut self) -> Option<char> {
        self.chars.next().map(|(_, c)| c)
    }

    fn at(&mut self) -> usize {
        self.chars.peek().map_or(self.input.len(), |&(at, _)| at)
    }

    fn fail<T>(&mut self, at: usize, why: impl Into<String>) -> Result<T, AddressError> {
        Err(error(self.input, at, why))
    }

    /// An error at the next character, which is named if it cannot be seen.
    pub fn unexpected(&mut self, wanted: &str) -> AddressError {
        let at = self.at();
        let why = match self.peek() {
            Some(c) if c.is_control() || is_direction_mark(c) => {
                format!("it contains the control character U+{:04X}", u32::from(c))
            }
            _ => wanted.to_owned(),
        };
        error(self.input, at, why)
    }

    /// Skips white space and comments (CFWS); returns the text of the last comment.
    pub fn comments(&mut self) -> Result<Option<String>, AddressError> {
        let mut last = None;
        loop {
            match self.peek() {
                // Between the parts of a name other spaces stand, too: U+3000 in Japan. They become plain ones.
                Some(c) if matches!(c, ' ' | '\t') || (!c.is_ascii() && c.is_whitespace()) => drop(self.next()),
                Some('(') => last = Some(self.comment()?),
                _ => return Ok(last),
            }
        }
    }

    fn comment(&mut self) -> Result<String, AddressError> {
        let start = self.at();
        let (mut depth, mut text) = (0, String::new());
        loop {
            let c = match self.peek() {
                None => return self.fail(start, "the comment is not closed by ')'"),
                Some(c) if c.is_control() || is_direction_mark(c) => return Err(self.unexpected("")),
                Some(c) => c,
            };
            self.next();
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                '\\' => text.extend(self.quoted_pair()?),
                c => text.push(c),
            }
            if depth == 0 {
                return Ok(text.trim().to_owned());
            }
            if depth > MAX_NESTING {
                return self.fail(start, "the comments are nested too deeply");
            }
        }
    }

    fn quoted_pair(&mut self) -> Result<Option<char>, AddressError> {
        match self.peek() {
            Some(c) if c.is_control() || is_direction_mark(c) => Err(self.unexpected("")),
            _ => Ok(self.next()),
        }
    }

    pub fn entry(&mut self) -> Result<Entry, AddressError> {
        let (words, comment) = self.words()?;
        if self.peek() != Some(':') || words.is_empty() {
            return self.mailbox(words, comment).map(Entry::Mailbox);
        }
        self.next();
        let name = phrase(&words);
        let mut members = Vec::new();
        loop {
            self.comments()?;
            match self.peek() {
                None => return Err(self.unexpected("the group is not closed by ';'")),
                Some(';') => {
                    self.next();
                    return Ok(Entry::Group { name, members });
                }
                Some(',') => drop(self.next()),
                Some(_) => {
                    let (words, comment) = self.words()?;
                    members.push(self.mailbox(words, comment)?);
                    self.comments()?;
                    if !matches!(self.peek(), None | Some(',' | ';')) {
                        return Err(self.unexpected("in a group, a comma or ';' is wanted after an address"));
                    }
                }
            }
        }
    }

    /// Reads atoms and quoted strings up to the character that tells what they were.
    fn words(&mut self) -> Result<(Vec<Word>, Option<String>), AddressError> {
        let mut words = Vec::new();
        let mut comment = None;
        loop {
            comment = self.comments()?.or(comment);
            let start = self.at();
            match self.peek() {
                Some('"') => {
                    let text = self.quoted_string()?;
                    words.push(Word { text, quoted: true, start });
                }
                Some(c) if is_atext(c) || c == '.' => {
                    let text = self.take_while(|c| is_atext(c) || c == '.');
                    words.push(Word { text, quoted: false, start });
                }
                _ => return Ok((words, comment)),
            }
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some((_, c)) = self.chars.next_if(|&(_, c)| wanted(c)) {
            text.push(c);
        }
        text
    }

    fn quoted_string(&mut self) -> Result<String, AddressError> {
        let start = self.at();
        self.next();
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return self.fail(start, "the quotation mark is not closed"),
                Some(c) if (c.is_control() && c != '\t') || is_direction_mark(c) => return Err(self.unexpected("")),
                _ => {}
            }
            match self.next() {
                Some('"') | None => return Ok(text),
                Some('\\') => text.extend(self.quoted_pair()?),
                Some(c) => text.push(c),
            }
        }
    }

    /// Reads what follows `words`: `<address>` when they are a display name, `@domain` when they are a local part.
    fn mailbox(&mut self, words: Vec<Word>, comment: Option<String>) -> Result<Mailbox, AddressError> {
        match self.peek() {
            Some('<') => {
                self.next();
                let (inner, _) = self.words()?;
                if inner.is_empty() && self.peek() == Some('@') {
                    return Err(
                        self.unexpected("routes before the address are obsolete: only the last address is wanted")
                    );
                }
                let address = self.addr_spec(&inner)?;
                self.comments()?;
                if self.peek() != Some('>') {
                    return Err(self.unexpected("'>' is wanted after the address"));
                }
                self.next();
                let name = Some(phrase(&words)).filter(|name| !name.is_empty()).or(comment);
                Ok(Mailbox { name, address })
            }
            Some('@') => {
                let address = self.addr_spec(&words)?;
                let name = self.comments()?.or(comment).filter(|name| !name.is_empty());
                if self.peek() == Some('<') {
                    let why = "a display name with '@' needs quotation marks: \"…\" <address>";
                    let at = words.first().map_or(0, |word| word.start);
                    return self.fail(at, why);
                }
                Ok(Mailbox { name, address })
            }
            Some(',' | ';') | None if words.len() == 1 && self.domain.is_some() => {
                Ok(Mailbox { name: comment.filter(|name| !name.is_empty()), address: self.addr_spec(&words)? })
            }
            Some(',' | ';') | None if !words.is_empty() => {
                let last_comma = words.len() > 1 || self.peek().is_some();
                let at = words[0].start;
                let hint = if last_comma { "; a name with a comma needs quotation marks" } else { "" };
                self.fail(at, format!("the '@' is missing{hint}"))
            }
            _ => Err(self.unexpected("an address is wanted here")),
        }
    }

    /// Builds the address from the words of its local part and the domain that follows, or is taken for granted.
    fn addr_spec(&mut self, local: &[Word]) -> Result<Address, AddressError> {
        let end = self.at();
        let has_domain = self.peek() == Some('@');
        if !has_domain && self.domain.is_none() {
            return Err(self.unexpected("the '@' is missing"));
        }
        let (first, rest) = match local {
            [] => return self.fail(end, "there is nothing before the '@'"),
            [first, rest @ ..] => (first, rest),
        };
        if let Some(second) = rest.first() {
            let gap = second.start.saturating_sub(1);
            return self.fail(gap, "there is a space in the part before the '@'");
        }
        if first.quoted && first.text.contains('\t') {
            return self.fail(first.start, "there is a tab in the part before the '@'");
        }
        if !first.quoted && !is_dot_atom(&first.text) {
            let at = first.start + misplaced_dot(&first.text);
            return self.fail(at, "a dot must stand between two other characters");
        }
        let user = if is_dot_atom(&first.text) { first.text.clone() } else { quote(&first.text) };
        let domain = match self.domain.filter(|_| !has_domain) {
            Some(domain) => domain.to_owned(),
            None => {
                self.next();
                self.domain()?
            }
        };
        if user.len() + 1 + domain.len() > MAX_ADDRESS {
            return self.fail(first.start, format!("it is longer than {MAX_ADDRESS} octets"));
        }
        // lettre's own check would refuse long local parts and underscores, which servers accept.
        Ok(Address::new_dangerous(user, domain))
    }

    fn domain(&mut self) -> Result<String, AddressError> {
        self.comments()?;
        let start = self.at();
        if self.peek() == Some('[') {
            return self.domain_literal(start);
        }
        let text =
            self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') || is_visible_unicode(c));
        if text.is_empty() {
            return Err(self.unexpected("there is no domain after the '@'"));
        }
        if let Some(c) = self.peek()
            && !matches!(c, ' ' | '\t' | '(' | ',' | ';' | '>' | '<')
        {
            return Err(self.unexpected(&format!("'{c}' cannot be part of a domain")));
        }
        if text.starts_with('.') || text.ends_with('.') || text.contains("..") {
            return self.fail(start + misplaced_dot(&text), "a dot must stand between two labels of the domain");
        }
        let domain = match idna::domain_to_ascii(&text) {
            Ok(domain) if !domain.is_empty() => domain,
            _ => return self.fail(start, "the domain is not a valid internationalised name"),
        };
        let bad_label =
            |label: &str| label.len() > 63 || label.is_empty() || label.starts_with('-') || label.ends_with('-');
        if !domain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return self.fail(start, "the domain is not a valid internationalised name");
        }
        if domain.split('.').any(bad_label) {
            return self.fail(start, "a label of the domain is longer than 63 octets or begins or ends with '-'");
        }
        Ok(domain)
    }

    /// An address literal: `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321, 4.1.3).
    fn domain_literal(&mut self, start: usize) -> Result<String, AddressError> {
        self.next();
        let text = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '.'));
        if self.next() != Some(']') {
            return self.fail(start, "the address literal is not closed by ']'");
        }
        let tagged = text.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
        match if tagged { text[5..].parse() } else { text.parse::<IpAddr>() } {
            Ok(IpAddr::V4(ip)) if !tagged => Ok(format!("[{ip}]")),
            Ok(IpAddr::V6(ip)) => Ok(format!("[IPv6:{ip}]")),
            _ => self.fail(start, "the address literal holds no IP address"),
        }
    }
}

fn phrase(words: &[Word]) -> String {
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).filter(|text| !text.is_empty()).collect();
    texts.join(" ")
}

/// Offset of the first dot that opens, ends or doubles.
fn misplaced_dot(text: &str) -> usize {
    if text.starts_with('.') { 0 } else { text.find("..").map_or(text.len().saturating_sub(1), |at| at + 1) }
}
