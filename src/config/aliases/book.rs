//! One file of aliases: its names, with what each stands for.

use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    path::{Path, PathBuf},
};

use super::{
    Mailrc, at_line,
    target::{Target, key, targets, unquoted},
};
use crate::config::ConfigError;

/// Names that stand for all that no file knows: dma's, and msmtp's.
const CATCH_ALL: [&str; 2] = ["*", "default"];

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// aliases(5).
    Aliases,
    /// mailx(1).
    Mailrc,
}

/// The names of a file.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub path: PathBuf,
    entries: HashMap<String, Entry>,
    /// What a line without effect is told by.
    pub remarks: Vec<String>,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Where it stands, from 1.
    pub line: usize,
    /// What is wrong with it matters to those who need it.
    pub targets: Result<Vec<Target>, String>,
}

impl Book {
    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// With file and line: what is no alias at all.
    pub fn parse(path: &Path, text: &str, form: Form) -> Result<Self, ConfigError> {
        let mut book = Self { path: path.to_owned(), ..Self::default() };
        match form {
            Form::Aliases => book.take_aliases(text)?,
            Form::Mailrc => book.take_mailrc(Mailrc::parse(text)),
        }
        Ok(book)
    }

    /// What this name stands for, in the form that [`key`] gives.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// What every name stands for that no file knows, with its own name.
    pub fn catch_all(&self) -> Option<(&'static str, &Entry)> {
        CATCH_ALL.into_iter().find_map(|name| Some((name, self.entries.get(name)?)))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The first entry, by its line, with something wrong in it.
    pub fn check(&self) -> Result<(), ConfigError> {
        let broken = self.entries.values().filter_map(|entry| Some((entry.line, entry.targets.as_ref().err()?)));
        match broken.min() {
            Some((line, what)) => Err(at_line(&self.path, line, what, None)),
            None => Ok(()),
        }
    }

    fn take_aliases(&mut self, text: &str) -> Result<(), ConfigError> {
        let lines = logical_lines(text).map_err(|line| {
            at_line(
                &self.path,
                line,
                "a line that begins with a space goes on with the one before, and there is none",
                None,
            )
        })?;
        for (line, text) in lines {
            let Some((name, value)) = split_name(&text) else {
                return Err(at_line(
                    &self.path,
                    line,
                    format!("'{text}' is no alias"),
                    Some("write it as: name: address, address".to_owned()),
                ));
            };
            if name.contains('@') {
                self.remark(line, &format!("'{name}' has no effect: only names of this machine are looked up"));
                continue;
            }
            let targets = targets(&value).and_then(|targets| match targets.is_empty() {
                true => Err(format!("'{name}' stands for nothing")),
                false => Ok(targets),
            });
            match self.entries.entry(key(&name)) {
                Slot::Vacant(place) => drop(place.insert(Entry { line, targets })),
                Slot::Occupied(first) => {
                    let first = first.get().line;
                    self.remark(line, &format!("'{name}' has no effect: the first counts, in line {first}"));
                }
            }
        }
        Ok(())
    }

    /// Several lines for one name add up.
    fn take_mailrc(&mut self, mailrc: Mailrc) {
        for (line, name, targets) in mailrc.aliases {
            match self.entries.entry(key(&name)) {
                Slot::Vacant(place) => drop(place.insert(Entry { line, targets })),
                Slot::Occupied(mut place) => match (&mut place.get_mut().targets, targets) {
                    (Ok(before), Ok(more)) => before.extend(more),
                    (Ok(_), Err(what)) => *place.get_mut() = Entry { line, targets: Err(what) },
                    (Err(_), _) => {}
                },
            }
        }
    }

    fn remark(&mut self, line: usize, what: &str) {
        self.remarks.push(crate::mail::clean(&format!("{}:{line}: {what}", self.path.display())));
    }
}

/// Lines with the number at which each begins, without comments. `Err` is a line that goes on from nothing.
fn logical_lines(text: &str) -> Result<Vec<(usize, String)>, usize> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = without_comment(line);
        match (line.trim(), line.starts_with([' ', '\t']), lines.last_mut()) {
            ("", ..) => {}
            (more, true, Some((_, line))) => {
                line.push(' ');
                line.push_str(more);
            }
            (_, true, None) => return Err(number + 1),
            (text, false, _) => lines.push((number + 1, text.to_owned())),
        }
    }
    Ok(lines)
}

/// A `#` at the beginning or behind a space ends the line, unless it is quoted.
pub(super) fn without_comment(line: &str) -> &str {
    let (mut is_quoted, mut before) = (false, ' ');
    for (at, c) in line.char_indices() {
        match c {
            '"' if before != '\\' => is_quoted = !is_quoted,
            '#' if !is_quoted && before.is_whitespace() => return &line[..at],
            _ => {}
        }
        before = c;
    }
    line
}

/// The name before the colon, and what follows it.
fn split_name(line: &str) -> Option<(String, String)> {
    let (name, value) = match line.strip_prefix('"') {
        Some(rest) => {
            let end = rest.match_indices('"').find(|(at, _)| !rest[..*at].ends_with('\\'))?.0;
            (unquoted(&line[..end + 2])?, rest[end + 1..].trim_start().strip_prefix(':')?)
        }
        None => {
            let (name, value) = line.split_once(':')?;
            (name.trim_end().to_owned(), value)
        }
    };
    let is_bare_word = line.starts_with('"') || !name.contains([' ', '\t', ',', '"']);
    (is_bare_word && !name.is_empty()).then(|| (name, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(text: &str) -> Result<Book, String> {
        Book::parse(Path::new("/etc/aliases"), text, Form::Aliases).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_that_go_on_and_comments() {
        let lines = logical_lines(
            "# head\n\nroot: ada,\n  # between\n\tbob # of sales\n\n   carl\nx: \"a # b\"\r\nteam#1: y\n",
        );
        assert_eq!(
            lines,
            Ok(vec![
                (3, "root: ada, bob carl".to_owned()),
                (8, "x: \"a # b\"".to_owned()),
                (9, "team#1: y".to_owned())
            ])
        );
        assert_eq!(logical_lines("# x\n  ada: b\n"), Err(2));
    }

    #[test]
    fn the_first_line_of_a_name_counts() {
        let book = book("Root: ada\nroot: bob\n\"J Smith\": j@x.example\nx@y.example: ada\n").unwrap();
        assert_eq!(book.entry("root").map(|entry| entry.line), Some(1));
        assert!(book.entry("j smith").is_some());
        assert_eq!(book.names().count(), 2);
        assert_eq!(book.remarks.len(), 2, "{:?}", book.remarks);
        assert!(book.remarks[0].starts_with("/etc/aliases:2: 'root' has no effect"), "{:?}", book.remarks);
    }

    #[test]
    fn what_is_no_alias_has_its_line() {
        for (text, place) in [
            ("root: a\nroot ops@x.example\n", "/etc/aliases:2: "),
            (" root: a\n", "/etc/aliases:1: a line that begins with a space"),
            ("a b: c\n", "/etc/aliases:1: "),
            (": c\n", "/etc/aliases:1: "),
            ("\"open: c\n", "/etc/aliases:1: "),
        ] {
            let error = book(text).unwrap_err();
            assert!(error.starts_with(place), "{text}: {error}");
        }
    }

    /// A line that nobody needs does no harm, until somebody looks at everything.
    #[test]
    fn what_is_wrong_with_an_entry_is_found_by_those_who_need_it() {
        let book = book("a: b@x.example\nz: :fail: gone\nc:\nd: x y\n").unwrap();
        assert!(book.entry("a").unwrap().targets.is_ok() && book.entry("d").unwrap().targets.is_err());
        assert!(book.check().unwrap_err().to_string().starts_with("/etc/aliases:2: "));
        assert!(book.entry("c").unwrap().targets.as_ref().unwrap_err().contains("nothing"));
    }
}
