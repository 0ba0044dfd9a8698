//! Keys of the Linux kernel, for machines without a keyring: in its memory, until it starts anew.
//!
//! A key is linked into two rings of the user, which any later process of the user finds: the persistent one, which
//! is forgotten some days after it was last used (`/proc/sys/kernel/keys/persistent_keyring_expiry`), and the user's
//! own, which old kernels forget with the last process of the user. A kernel without the first has the second. Both
//! are linked into the session's ring, since only what a session reaches can be read. A key holds 32,767 octets, and
//! all keys of a user who is not root 20,000 (`/proc/sys/kernel/keys/maxbytes`).

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{forget, list, load, reach, save};
#[cfg(target_os = "linux")]
pub(super) use linux::{forget, list, load, reach, save};

#[cfg(target_os = "linux")]
mod linux {
    use linux_keyutils::{Key, KeyError, KeyRing, KeyRingIdentifier};

    use crate::{
        mail::{Cause, Secret},
        secret::{SecretError, stores::Refusal},
    };

    /// What the description of a key begins with; the account follows.
    const PREFIX: &str = "mailsend:";
    /// More keys than a ring can have.
    const MAX_LINKS: usize = 1 << 18;

    /// The rings of the user, the first for writing.
    fn rings() -> Result<Vec<KeyRing>, KeyError> {
        // A process that has none gets one of its own. This comes first: what follows would make another one.
        let session = KeyRing::from_special_id(KeyRingIdentifier::Session, true)?;
        let user = KeyRing::from_special_id(KeyRingIdentifier::User, true)?;
        session.link_keyring(user)?;
        // Kernels can be built without it.
        let persistent = KeyRing::get_persistent(KeyRingIdentifier::Session).ok();
        Ok(persistent.into_iter().chain([user]).collect())
    }

    fn find(rings: &[KeyRing], account: &str) -> Result<Option<Key>, KeyError> {
        let description = format!("{PREFIX}{account}");
        for ring in rings {
            match ring.search(&description) {
                Ok(key) => return Ok(Some(key)),
                Err(KeyError::KeyDoesNotExist | KeyError::KeyExpired | KeyError::KeyRevoked) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn refused(error: KeyError) -> Refusal {
        match error {
            KeyError::QuotaExceeded => Refusal::failed(
                "no room",
                SecretError::new("the kernel's keys of this user are used up")
                    .because(Cause::Output)
                    .hint("cat /proc/sys/kernel/keys/maxkeys /proc/sys/kernel/keys/maxbytes shows how much there is"),
            ),
            KeyError::InvalidArguments => {
                Refusal::failed("too long", SecretError::new("a kernel key holds no more than 32767 octets"))
            }
            // Without them compiled in, or in a container that forbids them.
            KeyError::Unknown(_) | KeyError::OperationNotSupported | KeyError::PermissionDenied => {
                let reason = words(error);
                let what = format!("the kernel's keys cannot be used here: {reason}");
                Refusal::absent(format!("not here: {reason}"), SecretError::new(what))
            }
            error => {
                let reason = words(error);
                let what = format!("the kernel's keys cannot be used: {reason}");
                Refusal::failed(
                    format!("it failed: {reason}"),
                    SecretError::new(what).hint("a new session may help: keyctl new_session, or log in again"),
                )
            }
        }
    }

    fn words(error: KeyError) -> String {
        match error {
            KeyError::Unknown(number) => std::io::Error::from_raw_os_error(number).to_string(),
            KeyError::PermissionDenied => "not permitted".to_owned(),
            KeyError::AccessDenied => "permission denied".to_owned(),
            KeyError::KeyRevoked => "the session's ring is revoked".to_owned(),
            KeyError::KeyExpired => "the session's ring has expired".to_owned(),
            error => error.to_string(),
        }
    }

    pub(in super::super) fn load(account: &str) -> Result<Option<Secret>, Refusal> {
        let read = || -> Result<_, KeyError> {
            let Some(key) = find(&rings()?, account)? else { return Ok(None) };
            match key.read_to_vec() {
                Ok(octets) => Ok(Some(Secret::new(octets))),
                // Another process has removed it meanwhile.
                Err(KeyError::KeyDoesNotExist | KeyError::KeyExpired | KeyError::KeyRevoked) => Ok(None),
                Err(error) => Err(error),
            }
        };
        read().map_err(refused)
    }

    pub(in super::super) fn reach() -> Result<(), Refusal> {
        rings().map(|_| ()).map_err(refused)
    }

    pub(in super::super) fn save(account: &str, secret: &Secret) -> Result<(), Refusal> {
        let write = || -> Result<(), KeyError> {
            let rings = rings()?;
            let Some((first, others)) = rings.split_first() else { return Ok(()) };
            let key = first.add_key(&format!("{PREFIX}{account}"), secret.expose())?;
            others.iter().try_for_each(|ring| ring.link_key(key))
        };
        write().map_err(refused)
    }

    pub(in super::super) fn forget(account: &str) -> Result<bool, Refusal> {
        let remove = || -> Result<bool, KeyError> {
            let mut was_there = false;
            // Two rings may hold two keys.
            for ring in rings()? {
                let Some(key) = find(&[ring], account)? else { continue };
                ring.unlink_key(key)?;
                // Wherever else it is linked; that it is gone from here is what counts.
                let _ = key.invalidate();
                was_there = true;
            }
            Ok(was_there)
        };
        remove().map_err(refused)
    }

    pub(in super::super) fn list() -> Result<Vec<String>, (String, bool)> {
        let look = || -> Result<Vec<String>, KeyError> {
            let mut accounts = Vec::new();
            for ring in rings()? {
                for key in ring.get_links(MAX_LINKS)?.iter().filter_map(|link| link.as_key()) {
                    // Another process may have removed it meanwhile.
                    let Ok(metadata) = key.metadata() else { continue };
                    accounts.extend(metadata.get_description().strip_prefix(PREFIX).map(str::to_owned));
                }
            }
            accounts.sort();
            accounts.dedup();
            Ok(accounts)
        };
        look().map_err(|error| {
            let refusal = refused(error);
            (refusal.said, refusal.is_absent)
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use crate::{
        mail::Secret,
        secret::{SecretError, stores::Refusal},
    };

    fn none() -> Refusal {
        Refusal::absent("only Linux has it", SecretError::new("only Linux keeps keys in its kernel"))
    }

    pub(in super::super) fn load(_account: &str) -> Result<Option<Secret>, Refusal> {
        Err(none())
    }

    pub(in super::super) fn reach() -> Result<(), Refusal> {
        Err(none())
    }

    pub(in super::super) fn save(_account: &str, _secret: &Secret) -> Result<(), Refusal> {
        Err(none())
    }

    pub(in super::super) fn forget(_account: &str) -> Result<bool, Refusal> {
        Err(none())
    }

    pub(in super::super) fn list() -> Result<Vec<String>, (String, bool)> {
        Err((none().said, true))
    }
}
