//! Aliases: names of this machine that stand for addresses, in the files of other programs and in one of our own.
//!
//! `/etc/aliases` (aliases(5)), `~/.mailrc` (mailx(1)) and `aliases` beside config.toml. Lists of addresses are read
//! here, included ones at the moment in which a name leads to them; nothing is delivered, and no command is run.

mod book;
mod mailrc;
mod target;
mod walk;

use std::{cell::OnceCell, fmt, path::PathBuf};

pub use mailrc::Mailrc;

use self::book::{Book, Form};
use super::{
    AliasKind, ConfigError, Environment, Files, Origin, SendmailTable,
    file::{SYSTEM_FILE, read_list},
};
use crate::{
    mail::{Address, Mailbox},
    net::host_name,
};

/// The domain of a name that was written without one: nobody can type it.
const NO_DOMAIN: &str = "";

/// Where a name of this machine leads.
#[derive(Debug)]
pub struct Aliases {
    /// The first that knows a name counts.
    sources: Vec<(PathBuf, Form)>,
    allows: Vec<AliasKind>,
    host: String,
    domain: String,
    /// They are read when the first name is looked up: whoever writes to an address does not suffer from a broken file.
    books: OnceCell<Vec<Book>>,
}

/// Who gets a message, by the aliases.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// Addresses with a domain, each once.
    pub mailboxes: Vec<Mailbox>,
    /// What is no address, each once.
    pub places: Vec<LocalPlace>,
}

/// What an alias leads to on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LocalPlace {
    /// A mailbox file that is added to; a maildir, if its name ends with `/`; nothing, if it is `/dev/null`.
    File(PathBuf),
    /// A shell command that gets the message.
    Command(String),
}

impl LocalPlace {
    /// `/dev/null`, where nothing is kept: everybody may say that.
    pub fn is_nowhere(&self) -> bool {
        matches!(self, LocalPlace::File(path) if path.as_os_str() == "/dev/null")
    }
}

impl fmt::Display for LocalPlace {
    /// As aliases(5) writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalPlace::File(path) => write!(f, "{}", path.display()),
            LocalPlace::Command(command) => write!(f, "|{command}"),
        }
    }
}

impl Aliases {
    /// The aliases of this user; with `has_mailrc` those of `~/.mailrc` are among them. Nothing is read yet.
    pub fn new(files: &Files, environment: &Environment, table: &SendmailTable, has_mailrc: bool) -> Self {
        // Where no user has a file, the only place is the system's.
        let own = files.places.first().filter(|place| place.as_os_str() != SYSTEM_FILE);
        let own = own.map(|config| (config.with_file_name("aliases"), Form::Aliases));
        let mailrc = Mailrc::path(environment).filter(|_| has_mailrc).map(|path| (path, Form::Mailrc));
        let system = table.aliases.iter().map(|path| (path.clone(), Form::Aliases));
        Self::of(own.into_iter().chain(mailrc).chain(system).collect(), table, host_name())
    }

    fn of(sources: Vec<(PathBuf, Form)>, table: &SendmailTable, host: String) -> Self {
        let domain = table.domain.clone().unwrap_or_else(|| host.clone());
        Self { sources, allows: table.allows.clone(), host, domain, books: OnceCell::new() }
    }

    /// The files in which names are looked up, whether they are there or not, in this order.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.sources.iter().map(|(path, _)| path)
    }

    /// Whether an address is that of a name of this machine: it has no domain, or one that means this machine.
    pub fn is_local(&self, address: &Address) -> bool {
        let domain = address.domain();
        [NO_DOMAIN, "localhost", "localhost.localdomain", &self.host]
            .iter()
            .any(|local| local.eq_ignore_ascii_case(domain))
    }

    /// The whole address of a name of this machine, whatever aliases say of it.
    pub fn whole(&self, address: &Address) -> Address {
        match self.is_local(address) {
            true => Address::new_dangerous(address.user(), self.domain.as_str()),
            false => address.clone(),
        }
    }

    /// Whether a file names this name. What stands for all names that nobody knows does not count.
    ///
    /// # Errors
    /// A file that cannot be read, or is not what it should be.
    pub fn knows(&self, address: &Address) -> Result<bool, ConfigError> {
        let key = target::key(address.user());
        Ok(self.books()?.iter().any(|book| book.entry(&key).is_some()))
    }

    /// The name that this one was most likely meant to be.
    ///
    /// # Errors
    /// As [`Aliases::knows`].
    pub fn nearest(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        Ok(super::nearest(name, self.books()?.iter().flat_map(Book::names)))
    }

    /// Everybody whom these recipients stand for. Addresses of other machines stand for themselves; so does a name that
    /// no file knows, or that stands in its own list: it becomes an address of `[sendmail] domain`.
    ///
    /// # Errors
    /// A file that cannot be read or that others can write; a line that is needed and broken; names that lead in a
    /// circle; what an alias may not lead to; more recipients than anybody means.
    pub fn expand(&self, recipients: &[Mailbox]) -> Result<Expanded, ConfigError> {
        let has_names = recipients.iter().any(|mailbox| self.is_local(&mailbox.address));
        let books = if has_names { self.books()? } else { &[] };
        walk::walk(self, books, recipients)
    }

    /// Looks at everything in every file. Returns the number of names, and remarks about lines without effect.
    ///
    /// # Errors
    /// The first broken line.
    pub fn check(&self) -> Result<(usize, Vec<String>), ConfigError> {
        let books = self.books()?;
        for book in books {
            book.check()?;
        }
        let count = books.iter().map(|book| book.names().count()).sum();
        Ok((count, books.iter().flat_map(|book| book.remarks.iter().cloned()).collect()))
    }

    fn books(&self) -> Result<&[Book], ConfigError> {
        if let Some(books) = self.books.get() {
            return Ok(books);
        }
        let read = |(path, form): &(PathBuf, Form)| {
            let text = read_list(path).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Ok(String::new()),
                _ => Err(ConfigError::File { path: path.clone(), error }),
            })?;
            Book::parse(path, &text, *form)
        };
        let books = self.sources.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(self.books.get_or_init(|| books))
    }
}

/// An error at a line of a file.
fn at_line(path: &std::path::Path, line: usize, what: impl AsRef<str>, hint: Option<String>) -> ConfigError {
    let origin = Origin::File(path.to_owned(), line);
    ConfigError::Value { origin, what: crate::mail::clean(what.as_ref()), hint }
}

#[cfg(test)]
mod tests;
