//! Keys of `[secrets]`, which are the same for all profiles.

use super::{Key, reading::secret_source};
use crate::config::{
    profile::{SecretSource, StoreKind},
    value::Raw,
};

/// The keys of `[secrets]`, which are the same for all profiles.
pub const SECRETS_KEYS: &[Key] = &[
    Key {
        name: "secrets.store",
        wanted: "keyring, keyutils or file",
        default: None,
        doc: "The one store of login to use. Without it passwords are looked for in all of them: the desktop's keyring, \
              the keys of the Linux kernel (gone when the machine starts anew), the encrypted file; and kept in the first.",
        set: |parts, input| {
            parts.profile.secrets.store = Some(input.choice(&StoreKind::WORDS)?);
            Ok(())
        },
    },
    Key {
        name: "secrets.file",
        wanted: "path",
        default: None,
        doc: "The encrypted file, instead of secrets.json in the state folder.",
        set: |parts, input| {
            parts.profile.secrets.file = Some(input.path()?);
            Ok(())
        },
    },
    Key {
        name: "secrets.key",
        wanted: "passphrase, or a table with one source",
        default: None,
        doc: "Where the key of the encrypted file comes from: \"passphrase\" is asked for at the terminal; \
              { file = \"FILE\" } is made at the first login where it is not there, { credential = \"NAME\" } comes from \
              systemd; or any other source as for password.",
        set: |parts, input| {
            parts.profile.secrets.key = match input.raw {
                Raw::Text(text) if text == "passphrase" => None,
                _ => match secret_source(input)? {
                    SecretSource::Keyring => return Err("where there is a keyring, no file is needed".to_owned()),
                    source => Some(source),
                },
            };
            Ok(())
        },
    },
];
