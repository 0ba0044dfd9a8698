//! Passwords from a `.netrc`, as ftp, curl and Git read it.
//!
//! Words apart from each other by white space: `machine HOST`, or `default` behind all of them, and then `login`,
//! `password` and `account`, each with a value. A value in quotation marks may have spaces, and `\"`, `\\`, `\n`,
//! `\r`, `\t`. A word that begins with '#' begins a comment up to the end of the line; `macdef NAME` begins a macro
//! up to the next empty line. The first entry that fits host and user is taken; one without a login fits everybody.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{
    SecretError, Wanted,
    sources::{self, NotPrivate},
};
use crate::mail::{Secret, clean};

/// The largest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// Reads the password of user and host from this file, `$NETRC` or `~/.netrc`.
pub(super) fn read(path: Option<&Path>, wanted: &Wanted) -> Result<Secret, SecretError> {
    let environment = &wanted.environment;
    let home = || Some(environment.path("HOME")?.join(".netrc"));
    let path: Option<PathBuf> = path.map(Path::to_owned).or_else(|| environment.path("NETRC")).or_else(home);
    let Some(path) = path else {
        return Err(SecretError::new("no password from netrc: neither NETRC nor HOME is set"));
    };
    let name = path.display();
    let octets = sources::read_private(&path, MAX_FILE).map_err(|error| match error {
        NotPrivate::Failed(error) => SecretError::new(format!("no password from {name}: {error}")),
        NotPrivate::Refused { why, hint } => {
            let error = SecretError::new(format!("{name} is refused: {why}"));
            hint.into_iter().fold(error, SecretError::hint)
        }
    })?;
    let fail = |what: String| SecretError::new(format!("no password from {name}: {what}"));
    let (user, host) = (&wanted.user, &wanted.host);
    let wanted_line = format!("machine {host} login {user} password …");
    let entries = parse(&octets).map_err(|(line, what)| fail(format!("line {line}: {what}")))?;
    let of_host: Vec<&Entry> = entries.iter().filter(|entry| entry.is_for_host(host)).collect();
    match of_host.iter().find(|entry| entry.is_for_user(user)) {
        Some(Entry { password: Some(password), .. }) if password.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) => {
            Err(fail(format!("the password for {host} is more than one line")))
        }
        Some(Entry { password: Some(password), .. }) if !password.is_empty() => Ok(Secret::new(password.to_vec())),
        Some(_) => Err(fail(format!("its entry for {host} has no password")).hint(wanted_line)),
        None if of_host.is_empty() => Err(fail(format!("it has no entry for {host}")).hint(wanted_line)),
        None => {
            let others: Vec<String> = of_host
                .iter()
                .filter_map(|entry| entry.login.as_deref())
                .map(String::from_utf8_lossy)
                .map(|login| clean(&login))
                .collect();
            Err(fail(format!("its entry for {host} is for {}, not for {user}", others.join(", "))).hint(wanted_line))
        }
    }
}

/// An entry of the file.
#[derive(Default)]
struct Entry {
    /// The host; `None` stands for all.
    machine: Option<Vec<u8>>,
    login: Option<Vec<u8>>,
    password: Option<Zeroizing<Vec<u8>>>,
}

impl Entry {
    fn is_for_host(&self, host: &str) -> bool {
        self.machine.as_ref().is_none_or(|machine| machine.eq_ignore_ascii_case(host.as_bytes()))
    }

    fn is_for_user(&self, user: &str) -> bool {
        self.login.as_ref().is_none_or(|login| login == user.as_bytes())
    }
}

/// Reads all entries; an error names the line, from 1, and never what is in it.
fn parse(text: &[u8]) -> Result<Vec<Entry>, Wrong> {
    let mut words = Words { text, at: 0, line: 1 };
    let mut entries: Vec<Entry> = Vec::new();
    while let Some((word, is_quoted)) = words.next()? {
        if word.starts_with(b"#") && !is_quoted {
            words.skip_line();
            continue;
        }
        let mut value = |what| match words.next()? {
            Some((value, _)) => Ok(value),
            None => Err((words.line, what)),
        };
        match word.to_ascii_lowercase().as_slice() {
            b"machine" => {
                let machine = Some(value("machine without a name")?.to_vec());
                entries.push(Entry { machine, ..Entry::default() });
            }
            b"default" => entries.push(Entry::default()),
            b"macdef" => {
                value("macdef without a name")?;
                words.skip_macro();
            }
            keyword @ (b"login" | b"password" | b"account") => {
                let value = value("a word without a value")?;
                let Some(entry) = entries.last_mut() else {
                    return Err((words.line, "machine or default has to come first"));
                };
                match keyword {
                    b"login" => entry.login = Some(value.to_vec()),
                    b"password" => entry.password = Some(value),
                    _ => {}
                }
            }
            _ => return Err((words.line, "machine, default, login, password, account or macdef is wanted")),
        }
    }
    // `default` is behind all others, wherever it stands.
    entries.sort_by_key(|entry| entry.machine.is_none());
    Ok(entries)
}

/// A word, and whether it stood in quotation marks.
type Word = (Zeroizing<Vec<u8>>, bool);
/// The line, from 1, and what is wrong there.
type Wrong = (usize, &'static str);

struct Words<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Words<'_> {
    /// The next word.
    fn next(&mut self) -> Result<Option<Word>, Wrong> {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.take();
        }
        let Some(first) = self.peek() else { return Ok(None) };
        // Reserved once: a buffer that grows leaves copies of the secret behind.
        let mut word = Zeroizing::new(Vec::with_capacity(self.length(first == b'"')));
        if first != b'"' {
            while let Some(byte) = self.peek().filter(|byte| !byte.is_ascii_whitespace()) {
                self.take();
                word.push(byte);
            }
            return Ok(Some((word, false)));
        }
        let start = self.line;
        self.take();
        loop {
            match self.take() {
                None => return Err((start, "a quotation mark is not closed")),
                Some(b'"') => return Ok(Some((word, true))),
                Some(b'\\') => match self.take() {
                    None => return Err((start, "a quotation mark is not closed")),
                    Some(b'n') => word.push(b'\n'),
                    Some(b'r') => word.push(b'\r'),
                    Some(b't') => word.push(b'\t'),
                    Some(byte) => word.push(byte),
                },
                Some(byte) => word.push(byte),
            }
        }
    }

    /// No less octets than the word has that begins here.
    fn length(&self, is_quoted: bool) -> usize {
        let rest = &self.text[self.at..];
        let mut is_escaped = true;
        let end = rest.iter().position(|byte| {
            let is_end = if is_quoted { *byte == b'"' && !is_escaped } else { byte.is_ascii_whitespace() };
            is_escaped = *byte == b'\\' && !is_escaped;
            is_end
        });
        end.unwrap_or(rest.len())
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.take();
        }
    }

    /// Goes behind the next empty line.
    fn skip_macro(&mut self) {
        self.skip_line();
        while self.take().is_some() {
            let start = self.at;
            self.skip_line();
            if self.text[start..self.at].iter().all(|byte| *byte == b'\r') {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn ask(text: impl AsRef<[u8]>, user: &str, host: &str) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = tempfile::NamedTempFile::new_in(&folder).unwrap();
        std::fs::write(file.path(), text).unwrap();
        let wanted = Wanted {
            user: user.to_owned(),
            host: host.to_owned(),
            ..crate::secret::tests::wanted(Environment::default(), None)
        };
        let read = read(Some(file.path()), &wanted).map(|secret| secret.expose().to_vec());
        read.map_err(|error| error.what.rsplit_once(&format!("{}: ", file.path().display())).unwrap().1.to_owned())
    }

    const FILE: &str = "\
# machine commented.example login a password b
default login any password fallback
machine mx.example
    login ada
    password pa#ss # not the password
    account x
machine mx.example login bob password \"two \\\"words\\\" \\\\ \\t\"
macdef init
machine evil.example login ada password macro
cd /

MACHINE open.example PASSWORD for-all
machine none.example login ada
";

    #[test]
    fn the_entry_of_host_and_user() {
        for (user, host, password) in [
            ("ada", "mx.example", "pa#ss"),
            ("bob", "MX.Example", "two \"words\" \\ \t"),
            ("zoe", "open.example", "for-all"),
            ("any", "elsewhere.example", "fallback"),
            // Neither a comment nor a macro is an entry.
            ("any", "commented.example", "fallback"),
            ("any", "evil.example", "fallback"),
            ("any", "mx.example", "fallback"),
        ] {
            assert_eq!(ask(FILE, user, host), Ok(password.as_bytes().to_vec()), "{user} at {host}");
        }
    }

    #[test]
    fn what_is_missing_is_said_and_no_secret_is() {
        let without_default = FILE.replace("default login any password fallback", "");
        for (text, user, host, what) in [
            (without_default.as_str(), "zoe", "mx.example", "its entry for mx.example is for ada, bob, not for zoe"),
            (&without_default, "ada", "b.example", "it has no entry for b.example"),
            (&without_default, "ada", "none.example", "its entry for none.example has no password"),
            ("machine mx password \"a\\nb\"", "ada", "mx", "the password for mx is more than one line"),
            ("machine mx\npassword \"hunter2", "ada", "mx", "line 2: a quotation mark is not closed"),
            (
                "machine mx\nhunter2",
                "ada",
                "mx",
                "line 2: machine, default, login, password, account or macdef is wanted",
            ),
            ("login ada", "ada", "mx", "line 1: machine or default has to come first"),
            ("machine", "ada", "mx", "line 1: machine without a name"),
        ] {
            assert_eq!(ask(text, user, host), Err(what.to_owned()), "{text}");
        }
    }

    /// A file of many words takes no longer for each of them.
    #[test]
    fn no_word_takes_more_room_than_it_has() {
        let text = [FILE, "machine b login c password \"\\\"\\\\\" login \"\" x"].concat();
        let mut words = Words { text: text.as_bytes(), at: 0, line: 1 };
        while let Some((word, is_quoted)) = words.next().unwrap() {
            let most = if is_quoted { 2 * word.len() + 2 } else { word.len() };
            assert!(word.capacity() <= most.max(8), "{} for {}", word.capacity(), word.len());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_read_or_refused(octets in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&octets);
        }

        #[test]
        fn any_words_are_read_or_refused(text in "((machine|default|login|password|macdef|#|\"|\\\\|a| |\n|\r){1,3} ?){0,20}") {
            let _ = parse(text.as_bytes());
        }

        #[test]
        fn any_password_in_quotation_marks_comes_back(password in "[^\r\n\0]{1,40}") {
            let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
            proptest::prop_assert_eq!(ask(format!("machine mx login ada password \"{quoted}\""), "ada", "mx"), Ok(password.into_bytes()));
        }
    }
}
