//! From a name to everybody whom it stands for: every name is looked up once, however often it is named.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use super::{
    Aliases, Expanded, LocalPlace, at_line,
    book::{Book, Entry, without_comment},
    target::{Target, key, targets},
};
use crate::{
    config::{AliasKind, ConfigError, file::read_list},
    mail::{Address, Mailbox},
};

/// Names that lead to names; sendmail stops at 10, Postfix at 100.
const MAX_DEPTH: usize = 100;
/// More than a company has, and less than an accident brings.
const MAX_RECIPIENTS: usize = 100_000;
/// Stands before the files in a path.
const INCLUDE: &str = ":include:";

/// Looks up those of `recipients` that are names of this machine.
pub(super) fn walk(aliases: &Aliases, books: &[Book], recipients: &[Mailbox]) -> Result<Expanded, ConfigError> {
    let mut walk = Walk {
        aliases,
        books,
        path: Vec::new(),
        states: HashMap::new(),
        addresses: HashSet::new(),
        places: HashSet::new(),
        expanded: Expanded::default(),
    };
    recipients.iter().try_for_each(|mailbox| walk.mailbox(mailbox, None))?;
    Ok(walk.expanded)
}

struct Walk<'a> {
    aliases: &'a Aliases,
    books: &'a [Book],
    /// The names and included files that have led here.
    path: Vec<String>,
    /// Whether what a name or file stands for is known by now; otherwise it is in `path`.
    states: HashMap<String, bool>,
    addresses: HashSet<Address>,
    places: HashSet<LocalPlace>,
    expanded: Expanded,
}

/// Where an element stands.
#[derive(Clone, Copy)]
struct Line<'a> {
    file: &'a Path,
    number: usize,
    /// In a file that an alias includes: whoever may write that may name addresses only.
    is_included: bool,
}

impl Line<'_> {
    fn error(self, what: impl AsRef<str>, hint: Option<String>) -> ConfigError {
        at_line(self.file, self.number, what, hint)
    }
}

impl Walk<'_> {
    fn mailbox(&mut self, mailbox: &Mailbox, line: Option<Line<'_>>) -> Result<(), ConfigError> {
        if !self.aliases.is_local(&mailbox.address) {
            return self.address(mailbox, line);
        }
        let key = key(mailbox.address.user());
        // A name in its own list, or in one that this includes, is the mailbox of that name.
        if self.path.iter().rfind(|name| !name.starts_with(INCLUDE)) == Some(&key) {
            return self.address(mailbox, line);
        }
        let books = self.books;
        let known = books.iter().find_map(|book| Some((book, book.entry(&key)?)));
        if let Some((book, entry)) = known {
            return self.entry(key, book, entry, line);
        }
        let catch_all = books.iter().find_map(|book| Some((book, book.catch_all()?)));
        match catch_all {
            Some((book, (name, entry))) if !self.path.iter().any(|before| before == name) => {
                self.entry(name.to_owned(), book, entry, line)
            }
            _ => self.address(mailbox, line),
        }
    }

    /// Goes through what a name stands for.
    fn entry(&mut self, key: String, book: &Book, entry: &Entry, line: Option<Line<'_>>) -> Result<(), ConfigError> {
        let here = Line { file: &book.path, number: entry.line, is_included: false };
        let targets = entry.targets.as_ref().map_err(|what| here.error(what, None))?;
        self.enter(key, line.unwrap_or(here), |walk| targets.iter().try_for_each(|target| walk.target(target, here)))
    }

    /// Does this on the way through `name`, unless that was done before.
    fn enter(
        &mut self,
        name: String,
        line: Line<'_>,
        through: impl FnOnce(&mut Self) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        match self.states.get(&name) {
            Some(true) => return Ok(()),
            Some(false) => {
                let circle = self.path.iter().skip_while(|before| **before != name).chain([&name]);
                let circle = circle.map(String::as_str).collect::<Vec<_>>().join(" -> ");
                return Err(line.error(format!("the aliases lead in a circle: {circle}"), None));
            }
            None if self.path.len() >= MAX_DEPTH => {
                return Err(line.error(format!("more than {MAX_DEPTH} aliases lead to each other"), None));
            }
            None => {}
        }
        self.states.insert(name.clone(), false);
        self.path.push(name.clone());
        through(self)?;
        self.path.pop();
        self.states.insert(name, true);
        Ok(())
    }

    fn target(&mut self, target: &Target, line: Line<'_>) -> Result<(), ConfigError> {
        match target {
            Target::Mailbox(mailbox) => self.mailbox(mailbox, Some(line)),
            Target::Final(mailbox) => self.address(mailbox, Some(line)),
            Target::Place(place) => self.place(place, line),
            Target::Include(path) => self.include(path, line),
        }
    }

    fn address(&mut self, mailbox: &Mailbox, line: Option<Line<'_>>) -> Result<(), ConfigError> {
        let address = self.aliases.whole(&mailbox.address);
        if self.addresses.insert(address.clone()) {
            self.expanded.mailboxes.push(Mailbox { name: mailbox.name.clone(), address });
        }
        match line {
            Some(line) if self.addresses.len() > MAX_RECIPIENTS => {
                Err(line.error(format!("the aliases lead to more than {MAX_RECIPIENTS} recipients"), None))
            }
            _ => Ok(()),
        }
    }

    fn place(&mut self, place: &LocalPlace, line: Line<'_>) -> Result<(), ConfigError> {
        let (kind, what) = match place {
            _ if place.is_nowhere() => (None, ""),
            LocalPlace::File(_) => (Some(AliasKind::File), "is a file"),
            LocalPlace::Command(_) => (Some(AliasKind::Command), "is a command"),
        };
        if let Some(kind) = kind {
            if line.is_included {
                return Err(
                    line.error(format!("'{place}' {what}, and a list that is included names addresses only"), None)
                );
            }
            self.check_allowed(kind, format!("'{place}' {what}"), line)?;
        }
        if self.places.insert(place.clone()) {
            self.expanded.places.push(place.clone());
        }
        Ok(())
    }

    /// Goes through the lines of a file.
    fn include(&mut self, path: &Path, line: Line<'_>) -> Result<(), ConfigError> {
        let name = format!("{INCLUDE}{}", path.display());
        self.check_allowed(AliasKind::Include, format!("'{name}' is a list in another file"), line)?;
        self.enter(name, line, |walk| {
            let text = read_list(path).map_err(|error| line.error(format!("{}: {error}", path.display()), None))?;
            for (number, text) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
                let here = Line { file: path, number, is_included: true };
                let targets = targets(without_comment(text)).map_err(|what| here.error(what, None))?;
                targets.iter().try_for_each(|target| walk.target(target, here))?;
            }
            Ok(())
        })
    }

    fn check_allowed(&self, kind: AliasKind, what: String, line: Line<'_>) -> Result<(), ConfigError> {
        let allows = &self.aliases.allows;
        if allows.contains(&kind) {
            return Ok(());
        }
        let words = allows.iter().chain([&kind]).map(|kind| match kind {
            AliasKind::Include => "\"include\"",
            AliasKind::File => "\"file\"",
            AliasKind::Command => "\"command\"",
        });
        let hint =
            format!("if it is meant, in config.toml: [sendmail] allow = [{}]", words.collect::<Vec<_>>().join(", "));
        Err(line.error(format!("{what}, which no alias may lead to"), Some(hint)))
    }
}
