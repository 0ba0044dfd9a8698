//! `~/.mailrc`, as BSD's mailx and s-nail read it: aliases, and who writes.
//!
//! Of its language only `alias`, `group` and `set` are understood; everything else is for reading mail.

use std::path::{Path, PathBuf};

use super::target::{Target, target};
use crate::{
    config::{ConfigError, Environment, file::read_list},
    mail::{Entry, parse_list},
};

/// What it says about sending.
#[derive(Debug, Default)]
pub struct Mailrc {
    /// `set from=…`.
    pub from: Option<String>,
    /// `set replyto=…`.
    pub reply_to: Option<String>,
    /// Lines, names, and what each stands for.
    pub(super) aliases: Vec<(usize, String, Result<Vec<Target>, String>)>,
}

/// A word without its quotation marks.
#[derive(Debug, Default)]
struct Word {
    text: String,
    is_quoted: bool,
}

impl Mailrc {
    /// Where it is: `$MAILRC`, else `~/.mailrc`.
    pub fn path(environment: &Environment) -> Option<PathBuf> {
        environment.path("MAILRC").or_else(|| Some(environment.path("HOME")?.join(".mailrc")))
    }

    /// Reads the one at `path`; one that is not there says nothing.
    ///
    /// # Errors
    /// If it cannot be read, or everybody can write it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        match read_list(path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                Ok(Self::default())
            }
            Err(error) => Err(ConfigError::File { path: path.to_owned(), error }),
        }
    }

    /// Reads its text.
    pub fn parse(text: &str) -> Self {
        let mut mailrc = Self::default();
        // What stands between these is for some accounts, or under some condition, which nobody knows here.
        let mut ends: Vec<&str> = Vec::new();
        for (line, text) in joined_lines(text) {
            let words = words(&text);
            let Some((command, words)) = words.split_first() else { continue };
            if ends.last().is_some_and(|end| *end == command.text) {
                ends.pop();
                continue;
            }
            match command.text.as_str() {
                "if" => ends.push("endif"),
                "account" | "define" if words.last().is_some_and(|word| word.text == "{") => ends.push("}"),
                _ => {}
            }
            if !ends.is_empty() {
                continue;
            }
            // Commands may be shortened.
            match command.text.trim_start_matches('\\') {
                "" => {}
                command if "alias".starts_with(command) || "group".starts_with(command) => {
                    // Without addresses it shows them.
                    if let Some((name, words @ [_, ..])) = words.split_first() {
                        mailrc.aliases.push((line, name.text.clone(), targets(words)));
                    }
                }
                command if "set".starts_with(command) && command.len() > 1 => {
                    words.iter().for_each(|word| mailrc.set(&word.text));
                }
                _ => {}
            }
        }
        mailrc
    }

    /// Sets a variable, as `name=value` writes it; the last holds.
    pub fn set(&mut self, assignment: &str) {
        let Some((name, value)) = assignment.split_once('=') else { return };
        let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        match name.trim() {
            "from" => self.from = value,
            "replyto" | "reply-to" => self.reply_to = value,
            _ => {}
        }
    }
}

/// Words are addresses, or lists where the commas are between whole addresses.
fn targets(words: &[Word]) -> Result<Vec<Target>, String> {
    let mut targets = Vec::new();
    for word in words {
        let text = word.text.trim();
        if !word.is_quoted {
            if text.starts_with('<') {
                return Err(format!("'{text}': a name and its address belong between quotation marks: \"Ada {text}\""));
            }
            text.split(',').try_for_each(|element| target(element, &mut targets))?;
        } else if let Ok(entries) = parse_list(text) {
            targets.extend(entries.iter().flat_map(Entry::mailboxes).cloned().map(Target::Mailbox));
        } else if text.contains(',') && !text.starts_with(['|', '/', ':']) {
            // Of "Lovelace, Ada <ada@x>" only the second half is an address.
            return Err(format!(
                "'{text}' is no list of addresses; a name with a comma needs quotation marks of its own"
            ));
        } else {
            target(text, &mut targets)?;
        }
    }
    Ok(targets)
}

/// Lines with their numbers; a `\` at the end goes on with the next.
fn joined_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let more = line.strip_suffix('\\');
        let part = more.unwrap_or(line);
        match lines.last_mut() {
            Some((_, line)) if goes_on => {
                line.push(' ');
                line.push_str(part);
            }
            _ => lines.push((number + 1, part.to_owned())),
        }
        goes_on = more.is_some();
    }
    lines
}

/// Words with their quotation marks taken away; a `#` at the beginning of one ends the line.
fn words(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<Word>, None::<char>);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            // Within double quotation marks a backslash hides what would end them.
            ('\\', Some('"')) => word.get_or_insert_default().text.extend(chars.next()),
            (c, Some(_)) => word.get_or_insert_default().text.push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default().is_quoted = true;
            }
            // `$'…'` of s-nail.
            ('$', None) if chars.peek() == Some(&'\'') => {}
            ('#', None) if word.is_none() => break,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().text.push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aliases(text: &str) -> Vec<String> {
        let shown = |target: &Target| match target {
            Target::Mailbox(mailbox) => mailbox.to_string(),
            other => format!("{other:?}"),
        };
        Mailrc::parse(text)
            .aliases
            .into_iter()
            .map(|(line, name, targets)| match targets {
                Ok(targets) => {
                    format!("{line} {name}: {}", targets.iter().map(shown).collect::<Vec<_>>().join("; "))
                }
                Err(what) => format!("{line} {name}! {what}"),
            })
            .collect()
    }

    #[test]
    fn aliases_as_mailx_and_s_nail_write_them() {
        assert_eq!(
            aliases(
                "# mine\nset askcc\nalias team ada bob@y.example\ngroup all team \\\n  'C D <c@d.example>'\n\
                 a x a@x.example,b@x.example , c@x.example # the rest\nunalias y\nalias lonely\n\
                 alias q \"\\\"Lovelace, Ada\\\" <ada@y.example>\" $'z@y.example'\n"
            ),
            [
                "3 team: ada@; bob@y.example",
                "4 all: team@; C D <c@d.example>",
                "6 x: a@x.example; b@x.example; c@x.example",
                "9 q: \"Lovelace, Ada\" <ada@y.example>; z@y.example",
            ]
        );
    }

    /// Half a name is no recipient.
    #[test]
    fn names_without_quotation_marks_are_refused() {
        for text in ["alias ada Ada Lovelace <ada@y.example>", "alias ada \"Lovelace, Ada <ada@y.example>\""] {
            let found = aliases(text);
            assert!(found[0].starts_with("1 ada! ") && found[0].contains("quotation marks"), "{found:?}");
        }
        assert!(aliases("alias f /var/mail/x")[0].contains("File"));
    }

    #[test]
    fn who_writes() {
        let mailrc = Mailrc::parse("set from=\"Ada <ada@y.example>\" nodot\nse replyto=r@y.example\nset from\nifx\n");
        assert_eq!(mailrc.from.as_deref(), Some("Ada <ada@y.example>"));
        assert_eq!(mailrc.reply_to.as_deref(), Some("r@y.example"));
    }
}
