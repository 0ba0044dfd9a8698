//! The encrypted file, for machines without a keyring.
//!
//! Whoever changes it holds the lock of a file beside it from reading to writing; it is replaced as a whole, so that
//! who only reads sees the one before or the one after. What cannot be read is never written over.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use zeroize::Zeroizing;

use super::{
    Refusal, owner_of,
    vault::{self, Key, Material, NoRandomness, Unreadable, Vault},
};
use crate::{
    config::{Environment, SecretSource, Secrets},
    mail::{Cause, Secret},
    secret::{
        COMMAND_LIMIT, SecretError, Wanted,
        private::{self, NotLocked, NotReplaced, beside},
        sources, terminal,
    },
};

/// Some ten thousand entries.
const MAX_FILE: u64 = 16 << 20;
/// As many as Linux follows.
const MAX_LINKS: usize = 40;
/// Others hold the lock for as long as a passphrase is made into a key, which is not long.
const LOCK_LIMIT: Duration = Duration::from_secs(30);
/// How often a passphrase may be typed.
const TRIES: usize = 3;
/// The key that opened a file, so that nobody types a passphrase twice and a descriptor is read once.
static OPENED: Mutex<Vec<(PathBuf, Key)>> = Mutex::new(Vec::new());

/// Where the file is; `None` if nothing says where this user's files are.
pub(in crate::secret) fn path(secrets: &Secrets, environment: &Environment) -> Option<PathBuf> {
    secrets.file.clone().or_else(|| Some(environment.state_folder()?.join("secrets.json")))
}

/// Says which lines choose this store, with a key that needs nobody at a terminal.
pub(in crate::secret) fn hint_settings(error: SecretError, environment: &Environment) -> SecretError {
    let folder = environment.state_folder().unwrap_or_else(|| "/path/to".into());
    let key = toml::Value::from(folder.join("secrets.key").to_string_lossy().as_ref());
    error
        .hint("with these lines in the configuration:")
        .hint("    [secrets]")
        .hint("    store = \"file\"")
        .hint(format!("    key = {{ file = {key} }}    # made at the first login"))
}

pub(super) fn load(wanted: &Wanted, account: &str) -> Result<Option<Secret>, Refusal> {
    let path = place(&wanted.secrets, &wanted.environment)?;
    let Some(vault) = read(&path)? else { return Ok(None) };
    if !vault.has(account) {
        return Ok(None);
    }
    let key = unlock(wanted, &path, &vault, None)?;
    let secret = vault.get(account, &key).ok_or_else(|| {
        let what = format!("the entry of {} in {} is damaged", owner_of(account), path.display());
        Refusal::failed("its entry is damaged", SecretError::new(what).hint(wanted.login_command()))
    })?;
    Ok(Some(secret))
}

/// Opens the file with its key; makes it, and a key file, if they are not there.
pub(super) fn reach(wanted: &Wanted) -> Result<(), Refusal> {
    let path = place(&wanted.secrets, &wanted.environment)?;
    if let Some(vault) = read(&path)? {
        return unlock(wanted, &path, &vault, None).map(|_| ());
    }
    // The lock is not held while somebody types.
    let (secret, is_typed) = material(wanted, &path, State::New)?;
    let material = Material { secret: &secret, is_typed };
    let _lock = lock(&path)?;
    if let Some(vault) = read(&path)? {
        return unlock(wanted, &path, &vault, Some(&material)).map(|_| ());
    }
    let (vault, key) = Vault::new(&material).map_err(|error| no_randomness(&error))?;
    write(&path, &vault)?;
    remember(&path, key);
    Ok(())
}

pub(super) fn save(wanted: &Wanted, account: &str, secret: &Secret) -> Result<(), Refusal> {
    reach(wanted)?;
    let path = place(&wanted.secrets, &wanted.environment)?;
    let _lock = lock(&path)?;
    let mut vault = read(&path)?.ok_or_else(|| failed(&path, "somebody has taken it away"))?;
    let key = unlock(wanted, &path, &vault, None)?;
    vault.put(account, secret, &key).map_err(|error| no_randomness(&error))?;
    write(&path, &vault)
}

/// Takes an entry out, for which no key is needed.
pub(super) fn forget(wanted: &Wanted, account: &str) -> Result<bool, Refusal> {
    let path = place(&wanted.secrets, &wanted.environment)?;
    // Without a file there is nothing to lock, and nothing to make.
    if !read(&path)?.is_some_and(|vault| vault.has(account)) {
        return Ok(false);
    }
    let _lock = lock(&path)?;
    let Some(mut vault) = read(&path)? else { return Ok(false) };
    let was_there = vault.remove(account);
    if was_there {
        write(&path, &vault)?;
    }
    Ok(was_there)
}

/// The accounts of all entries, for which no key is needed; or why they cannot be told, in a few words,
/// with whether there is no such file.
pub(super) fn list(secrets: &Secrets, environment: &Environment) -> Result<Vec<String>, (String, bool)> {
    let vault = place(secrets, environment).and_then(|path| read(&path));
    let vault = vault.map_err(|refusal| (refusal.error.what, refusal.is_absent))?;
    Ok(vault.iter().flat_map(Vault::accounts).map(str::to_owned).collect())
}

fn place(secrets: &Secrets, environment: &Environment) -> Result<PathBuf, Refusal> {
    let path = path(secrets, environment).ok_or_else(|| {
        let error =
            SecretError::new("there is no place for the encrypted file: neither HOME nor XDG_STATE_HOME is set")
                .hint("name one in [secrets]: file = \"/path/to/secrets.json\"");
        Refusal::absent("no place for it", error)
    })?;
    // A link stays one: what it leads to is replaced.
    Ok(fs::canonicalize(&path).unwrap_or_else(|_| followed(path)))
}

/// Where a link leads to, although nothing is there yet.
fn followed(mut path: PathBuf) -> PathBuf {
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&path) else { break };
        path = private::folder_of(&path).join(target);
    }
    path
}

fn failed(path: &Path, what: impl std::fmt::Display) -> Refusal {
    Refusal::failed(
        format!("it cannot be used: {what}"),
        SecretError::new(format!("the encrypted file {} cannot be used: {what}", path.display())),
    )
}

fn no_randomness(_: &NoRandomness) -> Refusal {
    Refusal::failed("it failed", SecretError::new("the operating system gives no random numbers"))
}

/// Reads the file; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vault>, Refusal> {
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(failed(path, "it is no regular file"));
    }
    let octets = match sources::read_private(path, MAX_FILE) {
        Ok(octets) => octets,
        Err(sources::NotPrivate::Failed(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(sources::NotPrivate::Failed(error)) => return Err(failed(path, error)),
        Err(sources::NotPrivate::Refused { why, hint }) => {
            let error = SecretError::new(format!("the encrypted file {} is refused: {why}", path.display()));
            let error = hint.into_iter().fold(error, SecretError::hint);
            return Err(Refusal::failed(format!("refused: {why}"), error));
        }
    };
    Vault::parse(&octets).map(Some).map_err(|unreadable| {
        let file = path.display();
        match unreadable {
            Unreadable::Newer(version) => Refusal::failed(
                format!("of a newer version ({version})"),
                SecretError::new(format!("a newer mailsend has written {file} (version {version})"))
                    .hint("update this one, or name another file in [secrets]: file = \"/path/to/secrets.json\""),
            ),
            Unreadable::Corrupt(why) => Refusal::failed(
                format!("damaged: {why}"),
                SecretError::new(format!("{file} is no file of secrets, or damaged: {why}"))
                    .hint("put a copy of it back; without one, move it away and log in again:")
                    .hint(moving(path, ".damaged")),
            ),
        }
    })
}

/// Whether a path leads nowhere.
fn is_missing(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What to type to move the file away.
fn moving(path: &Path, ending: &str) -> String {
    format!("mv {} {}", quoted(path), quoted(&beside(path, ending)))
}

/// As one word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,@%".contains(c);
    match text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// Adds what to do where the key of a file is not to be had.
fn without_key(error: SecretError, path: &Path) -> SecretError {
    error
        .hint(
            "put the key back with which the file was made; without it nobody reads what is in the file: move it away",
        )
        .hint(format!("and log in again: {}", moving(path, ".locked")))
}

/// Replaces the file. The lock is held.
fn write(path: &Path, vault: &Vault) -> Result<(), Refusal> {
    let octets = vault.to_octets();
    let written = if octets.len() as u64 > MAX_FILE {
        Err(NotReplaced { error: io::ErrorKind::FileTooLarge.into(), is_in_place: false })
    } else {
        private::replace(path, &octets)
    };
    written.map_err(|failure| not_written(path, &failure))
}

fn not_written(path: &Path, failure: &NotReplaced) -> Refusal {
    let (file, error) = (path.display(), &failure.error);
    match failure.is_in_place {
        false => Refusal::failed(
            format!("it cannot be written: {error}"),
            SecretError::new(format!("the encrypted file {file} cannot be written: {error}"))
                .because(Cause::Output)
                .hint("it is as it was before"),
        ),
        true => Refusal::failed(
            format!("it is perhaps not on the disk: {error}"),
            SecretError::new(format!("the encrypted file {file} is written, but perhaps not on the disk: {error}"))
                .because(Cause::Output)
                .hint(
                    "a crash of the machine may bring the one before back; look after the disk and do the same again",
                ),
        ),
    }
}

/// Waits until nobody else changes the file. It is free again when the descriptor is closed, however that happens.
fn lock(path: &Path) -> Result<File, Refusal> {
    let name = beside(path, ".lock");
    private::lock(&name, LOCK_LIMIT).map_err(|failure| match failure {
        NotLocked::Failed(error) => {
            let refusal = failed(path, format!("{}: {error}", name.display()));
            Refusal { error: refusal.error.because(Cause::Output), ..refusal }
        }
        NotLocked::Busy => {
            failed(path, format!("another process holds {} for {} s", name.display(), LOCK_LIMIT.as_secs()))
        }
    })
}

/// Finds the key of the file: the one that opened it before, or what the user has.
fn unlock(wanted: &Wanted, path: &Path, vault: &Vault, given: Option<&Material<'_>>) -> Result<Key, Refusal> {
    let known = OPENED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((_, key)) = known.iter().find(|(known, key)| known == path && vault.is_opened_by(key)) {
        return Ok(key.clone());
    }
    if vault.wants_octets() && given.is_none() && wanted.secrets.key.is_none() {
        let what = format!("{} was made with a key, and the configuration does not say where that is", path.display());
        let error = SecretError::new(what).hint("say where it is in [secrets]: key = { file = \"/path/to/key\" }");
        return Err(Refusal::failed("no key for it", error));
    }
    let key = match given {
        Some(given) => vault.unlock(given),
        None => asked_for(wanted, path, vault)?,
    };
    let Some(key) = key else {
        let what = match &wanted.secrets.key {
            None => format!("this is not the passphrase of {}", path.display()),
            Some(source) => format!("the key from {source} does not open {}", path.display()),
        };
        return Err(Refusal::failed("the key is wrong", without_key(SecretError::new(what), path)));
    };
    remember(path, key.clone());
    Ok(key)
}

/// The key from where the user has it; `None` if that is another one. Who types may mistype.
fn asked_for(wanted: &Wanted, path: &Path, vault: &Vault) -> Result<Option<Key>, Refusal> {
    let mut state = State::Made;
    for _ in 0..TRIES {
        let (secret, is_typed) = material(wanted, path, state)?;
        let key = vault.unlock(&Material { secret: &secret, is_typed });
        if key.is_some() || !is_typed {
            return Ok(key);
        }
        state = State::Mistyped;
    }
    Ok(None)
}

/// How the file is that a key is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not yet there.
    New,
    /// There.
    Made,
    /// There, and not opened by what was typed.
    Mistyped,
}

fn remember(path: &Path, key: Key) {
    OPENED.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_owned(), key));
}

/// Gets what the key is made of, and whether somebody has typed it. For a new file a key file is made, too.
fn material(wanted: &Wanted, path: &Path, state: State) -> Result<(Secret, bool), Refusal> {
    let fail = |error: SecretError| {
        let what = format!("no key for the encrypted file {}: {}", path.display(), error.what);
        Refusal::failed("no key for it", SecretError { what, ..error })
    };
    let Some(source) = &wanted.secrets.key else { return typed(wanted, path, state).map_err(fail) };
    if let SecretSource::File(key) = source
        && state == State::New
        && fs::symlink_metadata(key).is_err_and(|error| is_missing(error.kind()))
    {
        make_key(key).map_err(|error| {
            let error = SecretError::new(format!("{} cannot be made: {error}", key.display())).because(Cause::Output);
            fail(
                error.hint(
                    "its folder has to be writable; another place in [secrets]: key = { file = \"/path/to/key\" }",
                ),
            )
        })?;
    }
    let secret = sources::read(source, &wanted.environment, COMMAND_LIMIT).map_err(|error| match (state, source) {
        (State::New, SecretSource::File(key)) if fs::metadata(key).is_ok_and(|metadata| metadata.len() == 0) => {
            fail(error.hint(format!("an empty file is no key; without it one is made: rm {}", quoted(key))))
        }
        (State::New, _) => fail(error),
        // A file that can be read by others has its hint already.
        _ if !error.hints.is_empty() => fail(error),
        _ => fail(without_key(error, path)),
    })?;
    Ok((secret, false))
}

fn typed(wanted: &Wanted, path: &Path, state: State) -> Result<(Secret, bool), SecretError> {
    if !wanted.may_prompt {
        let error = SecretError::new("it wants a passphrase, and nobody sits at a terminal");
        return Err(hint_settings(
            error.hint("where nobody types, the key comes from a file, or from systemd:"),
            &wanted.environment,
        ));
    }
    let lead = if state == State::Mistyped { "This is not the passphrase. " } else { "" };
    let secret = terminal::ask(&format!("{lead}Passphrase of {}: ", path.display()))?;
    if state == State::New && terminal::ask("The same once more: ")? != secret {
        return Err(SecretError::new("this is not the same passphrase"));
    }
    Ok((secret, true))
}

/// Makes a key file, unless another process is faster.
fn make_key(path: &Path) -> io::Result<()> {
    private::make_folder(path)?;
    let key = vault::new_key().map_err(|_| io::Error::other("the operating system gives no random numbers"))?;
    let mut octets = Zeroizing::new(key.as_bytes().to_vec());
    octets.push(b'\n');
    // Readable by its owner only; it gets its name when it is whole.
    let mut file = tempfile::NamedTempFile::new_in(private::folder_of(path))?;
    file.write_all(&octets)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error),
        _ => {}
    }
    private::sync_folder(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(folder: &Path) -> Wanted {
        let mut wanted = crate::secret::tests::wanted(Environment::default(), None);
        wanted.secrets.file = Some(folder.join("new/secrets.json"));
        wanted.secrets.key = Some(SecretSource::File(folder.join("key")));
        wanted
    }

    #[test]
    fn lines_to_paste_are_toml() {
        let environment = Environment::from([("XDG_STATE_HOME", "/s \"t\""), ("HOME", "/h")]);
        let lines = hint_settings(SecretError::new("x"), &environment).hints[1..].join("\n");
        let table: toml::Table = lines.parse().unwrap();
        assert_eq!(table["secrets"]["store"].as_str(), Some("file"));
        assert_eq!(table["secrets"]["key"]["file"].as_str(), Some("/s \"t\"/mailsend/secrets.key"));
        assert_eq!(path(&Secrets::default(), &environment), Some("/s \"t\"/mailsend/secrets.json".into()));
        assert_eq!(path(&Secrets::default(), &Environment::default()), None);
    }

    #[test]
    fn entries_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = wanted(folder.path());
        assert!(matches!(load(&wanted, "a@x"), Ok(None)));
        assert!(matches!(forget(&wanted, "a@x"), Ok(false)));
        assert!(!folder.path().join("new").exists(), "who only looks makes nothing");
        for (account, secret) in [("a@x", "one"), ("b@x", "two"), ("a@x", "three")] {
            save(&wanted, account, &Secret::new(secret.as_bytes().to_vec())).unwrap();
        }
        assert_eq!(load(&wanted, "a@x").unwrap().unwrap().expose(), b"three");
        assert_eq!(list(&wanted.secrets, &wanted.environment).unwrap(), ["a@x", "b@x"]);
        assert!(forget(&wanted, "a@x").unwrap() && !forget(&wanted, "a@x").unwrap());
        assert!(matches!(load(&wanted, "a@x"), Ok(None)));
        assert_eq!(load(&wanted, "b@x").unwrap().unwrap().expose(), b"two");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut wanted = wanted(folder.path());
        save(&wanted, "a@x", &Secret::new(b"one".to_vec())).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("new/secrets.json"), &link).unwrap();
        wanted.secrets.file = Some(link.clone());
        save(&wanted, "b@x", &Secret::new(b"two".to_vec())).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(list(&wanted.secrets, &wanted.environment).unwrap(), ["a@x", "b@x"]);

        // One that leads to nothing yet, and over another one.
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        std::os::unix::fs::symlink("second", &first).unwrap();
        std::os::unix::fs::symlink("later.json", &second).unwrap();
        wanted.secrets.file = Some(first.clone());
        save(&wanted, "c@x", &Secret::new(b"three".to_vec())).unwrap();
        assert!(
            fs::symlink_metadata(&first).unwrap().is_symlink() && fs::symlink_metadata(&second).unwrap().is_symlink()
        );
        assert!(folder.path().join("later.json").is_file());
    }

    #[test]
    fn what_is_in_place_is_not_as_it_was_before() {
        let hint = |is_in_place| {
            let failure = NotReplaced { error: io::Error::other("x"), is_in_place };
            not_written("s".as_ref(), &failure).error.hints.join("; ")
        };
        assert_eq!(hint(false), "it is as it was before");
        assert!(hint(true).contains("may bring the one before back"));
    }
}
