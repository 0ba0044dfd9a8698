//! Recipients as they are named: addresses, lists in files, and names without '@', which are aliases.

use std::collections::HashSet;

use crate::{
    cli::{CliError, args::Context, stdin::Stdin},
    config::{Aliases, LocalPlace, SendmailTable},
    mail::{AddressError, Entry, Mailbox, parse_list, parse_list_at},
};

/// What a name without '@' may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Habit {
    /// An alias, and nothing else: a slip of the finger goes to nobody.
    Strict,
    /// An alias or a user of this machine, as for mailx; so is an address at this machine.
    Machine,
}

/// Names, and where they have led beside addresses.
#[derive(Debug)]
pub(in crate::cli) struct AddressBook {
    aliases: Aliases,
    habit: Habit,
    places: Vec<LocalPlace>,
}

impl AddressBook {
    /// The aliases of this user and this machine. No file is read before a name is named.
    pub fn new(context: &Context, table: &SendmailTable, habit: Habit) -> Self {
        let aliases = Aliases::new(&context.files, &context.environment, table, true);
        Self { aliases, habit, places: Vec::new() }
    }

    /// Where recipients have led on this machine, each place once.
    pub fn places(&self) -> &[LocalPlace] {
        &self.places
    }

    /// The recipients that an option names: addresses, or a file with a line for each.
    ///
    /// # Errors
    /// What is neither address nor alias, an alias that leads nowhere, a file that cannot be read.
    pub fn recipients(&mut self, option: &str, values: &[String], stdin: &mut Stdin) -> Result<Vec<Entry>, CliError> {
        let mut entries = Vec::new();
        let mut has_names = false;
        let mut take = |place: &str, text: &str| {
            let (more, mut places) = self.look_up(place, text)?;
            has_names |= more.is_some();
            entries.extend(match more {
                Some(more) => more,
                None => parse_list(text).map_err(|error| CliError::address(place, &error))?,
            });
            places.retain(|place| !self.places.contains(place));
            self.places.append(&mut places);
            Ok::<_, CliError>(())
        };
        for value in values {
            match stdin.list(option, value)? {
                Some(lines) => {
                    for (number, line) in lines.iter().enumerate() {
                        take(&format!("{option} {value}, entry {}", number + 1), line)?;
                    }
                }
                // '@@x' is the literal '@x', here as everywhere.
                None => take(option, value.strip_prefix('@').filter(|rest| rest.starts_with('@')).unwrap_or(value))?,
            }
        }
        if has_names {
            // A member of two lists is named once.
            let mut seen = HashSet::new();
            entries.retain(|entry| match entry {
                Entry::Mailbox(mailbox) => seen.insert(mailbox.address.clone()),
                Entry::Group { .. } => true,
            });
        }
        Ok(entries)
    }

    /// How names are taken.
    pub fn habit(&self) -> Habit {
        self.habit
    }

    /// Addresses that no message goes to.
    ///
    /// # Errors
    /// As [`AddressBook::recipients`]; and what leads to a file or a command, where nobody can reply to.
    pub fn addresses(&self, option: &str, text: &str) -> Result<Vec<Entry>, CliError> {
        match self.look_up(option, text)? {
            (None, _) => parse_list(text).map_err(|error| CliError::address(option, &error)),
            (Some(entries), places) if places.is_empty() => Ok(entries),
            (_, places) => Err(CliError::usage(format!("{option}: {} is no address", places[0]))),
        }
    }

    /// Replaces the names in a list by what they stand for; `None` if there is none in it.
    fn look_up(&self, place: &str, text: &str) -> Result<(Option<Vec<Entry>>, Vec<LocalPlace>), CliError> {
        let plain = parse_list(text);
        let is_name = |mailbox: &Mailbox| match self.habit {
            Habit::Strict => mailbox.address.domain().is_empty(),
            Habit::Machine => self.aliases.is_local(&mailbox.address),
        };
        if plain.as_ref().is_ok_and(|entries| !entries.iter().flat_map(Entry::mailboxes).any(is_name)) {
            return Ok((None, Vec::new()));
        }
        let entries = parse_list_at(text, "")
            .map_err(|error| CliError::address(place, plain.as_ref().err().unwrap_or(&error)))?;
        let mut places = Vec::new();
        let mut expand = |mailbox: Mailbox| {
            if !is_name(&mailbox) {
                return Ok(vec![mailbox]);
            }
            if self.habit == Habit::Strict && !self.aliases.knows(&mailbox.address)? {
                return Err(self.unknown(place, plain.as_ref().err(), mailbox.address.user())?);
            }
            let expanded = self.aliases.expand(&[mailbox])?;
            places.extend(expanded.places);
            Ok(expanded.mailboxes)
        };
        let mut found = Vec::new();
        for entry in entries {
            match entry {
                Entry::Mailbox(mailbox) => found.extend(expand(mailbox)?.into_iter().map(Entry::Mailbox)),
                Entry::Group { name, members } => {
                    let members = members.into_iter().map(&mut expand).collect::<Result<Vec<_>, CliError>>()?;
                    found.push(Entry::Group { name, members: members.concat() });
                }
            }
        }
        Ok((Some(found), places))
    }

    /// A name that is nobody's; `Err` if the files cannot be read.
    fn unknown(&self, place: &str, error: Option<&AddressError>, name: &str) -> Result<CliError, CliError> {
        let shown = match error {
            Some(error) => CliError::address(place, error),
            None => CliError::usage(format!("{place}: '{name}' is not an address")),
        };
        let shown = match self.aliases.nearest(name)? {
            Some(near) => shown.hint(format!("did you mean the alias '{near}'?")),
            None => shown,
        };
        let paths: Vec<String> = self.aliases.paths().map(|path| path.display().to_string()).collect();
        Ok(shown.hint(format!("no alias has the name '{name}' in: {}", paths.join(", "))))
    }
}
