//! One process at a time renews the tokens of an account; and the place for tokens that no store would take.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    time::Duration,
};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::tokens::{Entry, account, hexadecimal};
use crate::{
    mail::{Cause, Secret},
    secret::{
        SecretError, Wanted,
        private::{self, NotLocked},
    },
};

/// How long another process may take: two answers of an endpoint that hardly works.
pub(super) const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// Held until it is dropped, or the process ends however.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    place: PathBuf,
}

/// Where the file for tokens that no store would take is, if there is a place for it.
fn unsaved(wanted: &Wanted) -> Option<PathBuf> {
    // Foreign names have no place in a path.
    let name = hexadecimal(&digest(&SHA256, account(wanted).as_bytes()).as_ref()[..16]);
    Some(wanted.environment.state_folder()?.join("locks").join(name))
}

/// Whether there are tokens that no store would take.
pub(super) fn has_unsaved(wanted: &Wanted) -> bool {
    unsaved(wanted).is_some_and(|place| place.with_extension("tokens").exists())
}

/// Removes them.
pub(super) fn forget_unsaved(wanted: &Wanted) {
    if let Some(place) = unsaved(wanted) {
        // What is not there is removed; what stays belongs to an entry that is not there any more.
        let _ = fs::remove_file(place.with_extension("tokens"));
    }
}

impl Lock {
    /// Waits for the lock, up to `limit`.
    ///
    /// # Errors
    /// If there is no place for it, or another process keeps it.
    pub fn take(wanted: &Wanted, limit: Duration) -> Result<Self, SecretError> {
        let place = unsaved(wanted).ok_or_else(|| {
            SecretError::new("there is no place for the lock of the tokens: neither XDG_STATE_HOME nor HOME is set")
                .hint("name a folder for it: XDG_STATE_HOME=/path mailsend …")
        })?;
        let path = place.with_extension("lock");
        match private::lock(&path, limit) {
            Ok(file) => Ok(Self { _file: file, place }),
            Err(NotLocked::Failed(error)) => {
                Err(SecretError::new(format!("the tokens cannot be locked: {}: {error}", path.display()))
                    .because(Cause::Output)
                    .hint("its folder has to be writable; another one: XDG_STATE_HOME=/path mailsend …"))
            }
            Err(NotLocked::Busy) => {
                let what = format!(
                    "another mailsend has been renewing the tokens of {} at {} for {} s",
                    wanted.user,
                    wanted.host,
                    limit.as_secs_f32()
                );
                Err(SecretError::new(what).hint(format!("see which process it is: fuser {}", path.display())))
            }
        }
    }

    /// Puts an entry that no store would take aside, in the place of the one it replaces.
    ///
    /// # Errors
    /// If that cannot be written, either.
    pub fn put_aside(&self, entry: &Entry, replaced: &Entry) -> io::Result<()> {
        let entry: Value = serde_json::from_slice(entry.encode().expose())?;
        let text = Secret::new(json!({ "replaces": replaced.mark(), "entry": entry }).to_string().into_bytes());
        private::replace(&self.aside(), text.expose()).or_else(|failure| match failure.is_in_place {
            // There is no better place.
            true => Ok(()),
            false => Err(failure.error),
        })
    }

    /// Where that is.
    pub fn aside(&self) -> PathBuf {
        self.place.with_extension("tokens")
    }

    /// The entry that was put aside in the place of `replaced`. One that replaces another is of an older login.
    pub fn put_aside_for(&self, replaced: &Entry) -> Option<Entry> {
        let text = Secret::new(fs::read(self.aside()).ok()?);
        let value: Value = serde_json::from_slice(text.expose()).ok()?;
        if value.get("replaces")?.as_str()? != replaced.mark() {
            return None;
        }
        Entry::decode(value.get("entry")?.to_string().as_bytes()).ok()
    }

    /// Removes what was put aside.
    pub fn clear(&self) {
        // What is not there is removed; what stays is of no use beside a newer entry.
        let _ = fs::remove_file(self.aside());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Environment,
        secret::{oauth::tokens::tests::entry, tests},
    };

    fn wanted(folder: &std::path::Path) -> Wanted {
        let environment = Environment::from([("XDG_STATE_HOME", folder.to_str().unwrap())]);
        Wanted { user: "../a/b".to_owned(), ..tests::wanted(environment, None) }
    }

    #[test]
    fn one_at_a_time_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = wanted(folder.path());
        let held = Lock::take(&wanted, Duration::ZERO).unwrap();
        let error = Lock::take(&wanted, Duration::from_millis(50)).unwrap_err();
        assert!(error.what.starts_with("another mailsend has been renewing"), "{error:?}");
        drop(held);
        Lock::take(&wanted, Duration::ZERO).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let locks = folder.path().join("mailsend/locks");
            let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&locks), 0o700);
            let files: Vec<_> = fs::read_dir(&locks).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!((files.len(), mode(&files[0])), (1, 0o600));
        }
    }

    #[test]
    fn no_place_is_an_error_with_a_way_out() {
        let nowhere = Wanted { environment: Environment::default(), ..wanted("/".as_ref()) };
        assert!(Lock::take(&nowhere, Duration::ZERO).unwrap_err().hints[0].contains("XDG_STATE_HOME"));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mailsend"), "").unwrap();
        let error = Lock::take(&wanted(folder.path()), Duration::ZERO).unwrap_err();
        assert!(error.what.contains("cannot be locked") && error.cause == Cause::Output, "{error:?}");
    }

    #[test]
    fn what_is_put_aside_belongs_to_what_it_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = wanted(folder.path());
        let lock = Lock::take(&wanted, Duration::ZERO).unwrap();
        let next = Entry { refresh_token: Secret::new(b"next".to_vec()), ..entry() };
        assert!(!has_unsaved(&wanted));
        lock.put_aside(&next, &entry()).unwrap();
        assert!(has_unsaved(&wanted));
        assert_eq!(lock.put_aside_for(&entry()), Some(next.clone()));
        assert_eq!(lock.put_aside_for(&next), None);
        lock.clear();
        assert!(!has_unsaved(&wanted) && lock.put_aside_for(&entry()).is_none());
    }
}
