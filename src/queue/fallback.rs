//! Where the queue of this user is: where `[queue]` says so, else in the state folder, else, for users who have no home, in
//! a folder that the administrator has made for all of them.

use std::{
    fs::{self, DirBuilder},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::QueueError;
use crate::config::{Environment, QueueTable};

/// The file of the queue.
///
/// # Errors
/// [`QueueError::NoPlace`] if there is none; [`QueueError::Exposed`], [`QueueError::Foreign`] if `queue.fallback-folder` is
/// of no use, or could be another's.
pub fn file(table: &QueueTable, environment: &Environment) -> Result<PathBuf, QueueError> {
    const NAME: &str = "queue.sqlite";
    if let Some(path) = &table.path {
        return Ok(path.clone());
    }
    let state = environment.state_folder();
    match (state, &table.fallback_folder) {
        (Some(state), _) if is_usable(&state, environment) => Ok(state.join(NAME)),
        (_, Some(above)) => Ok(own_folder(above)?.join(NAME)),
        // Whoever opens it tells whose it is.
        (Some(state), None) if state.exists() => Ok(state.join(NAME)),
        (state, None) => Err(QueueError::NoPlace(state)),
    }
}

/// Whether we can use the state folder, or make it: not where HOME leads nowhere, or to what is another's.
fn is_usable(state: &Path, environment: &Environment) -> bool {
    let is_ours = |folder: &Path| folder.is_dir() && access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    let is_named = environment.path("XDG_STATE_HOME").is_some_and(|named| named.is_absolute());
    let above = if is_named { state.ancestors().find(|folder| folder.exists()) } else { None };
    is_ours(state)
        || above.map(Path::to_owned).or_else(|| environment.path("HOME")).is_some_and(|folder| is_ours(&folder))
}

/// Our folder in a folder for those of many users, made where it is not there.
fn own_folder(above: &Path) -> Result<PathBuf, QueueError> {
    let user = rustix::process::geteuid().as_raw();
    let wrong = |path: &Path, what: String, hint: String| QueueError::Exposed { path: path.to_owned(), what, hint };
    let metadata = fs::metadata(above).map_err(|error| {
        let what = format!("the folder for queues (queue.fallback-folder) cannot be used: {error}");
        wrong(above, what, format!("the administrator makes it: install -d -m 1777 {}", above.display()))
    })?;
    if !metadata.is_dir() || (metadata.mode() & 0o1000 == 0 && metadata.mode() & 0o022 != 0) {
        let what =
            "it has to be a folder where nobody can take away what is another's (queue.fallback-folder)".to_owned();
        return Err(wrong(above, what, format!("chmod 1777 {}", above.display())));
    }
    // Its owner can take away everything.
    if ![0, user].contains(&metadata.uid()) {
        return Err(QueueError::Foreign { path: above.to_owned(), owner: metadata.uid() });
    }
    let path = above.join(user.to_string());
    let by_hand = || format!("the administrator makes it: install -d -o {user} -m 700 {}", path.display());
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(wrong(&path, format!("it cannot be made: {error}"), by_hand()));
        }
        _ => {}
    }
    let metadata = fs::symlink_metadata(&path).map_err(|error| wrong(&path, error.to_string(), by_hand()))?;
    if !metadata.is_dir() {
        return Err(wrong(&path, "it is no folder".to_owned(), by_hand()));
    }
    if metadata.uid() != user {
        return Err(QueueError::Foreign { path, owner: metadata.uid() });
    }
    if metadata.mode() & 0o077 != 0 {
        let hint = format!("chmod 700 {}", path.display());
        return Err(wrong(&path, "others than its owner can use it".to_owned(), hint));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn found(table: &QueueTable, home: &Path) -> Result<PathBuf, QueueError> {
        file(table, &Environment::from([("HOME", home.to_str().unwrap())]))
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_home_is_the_place() {
        let home = tempfile::tempdir().unwrap();
        let table = QueueTable { fallback_folder: Some("/nowhere".into()), ..QueueTable::default() };
        let state = home.path().join(".local/state/mailsend/queue.sqlite");
        assert_eq!(found(&table, home.path()).unwrap(), state);
        let named = home.path().join("not/there/yet");
        let environment = Environment::from([("HOME", "/nonexistent"), ("XDG_STATE_HOME", named.to_str().unwrap())]);
        assert_eq!(file(&table, &environment).unwrap(), named.join("mailsend/queue.sqlite"));
        let table = QueueTable { path: Some("/q".into()), ..table };
        assert_eq!(file(&table, &Environment::default()).unwrap(), Path::new("/q"));
    }

    #[test]
    fn who_has_no_home_has_a_folder_of_their_own() {
        let above = tempfile::tempdir().unwrap();
        let above = above.path();
        let nowhere = Path::new("/nonexistent");
        let without = QueueTable::default();
        let error = found(&without, nowhere).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/.local/state/mailsend"), "{error}");
        assert!(matches!(file(&without, &Environment::default()), Err(QueueError::NoPlace(None))));

        let table = QueueTable { fallback_folder: Some(above.to_owned()), ..QueueTable::default() };
        set_mode(above, 0o777);
        assert!(
            matches!(found(&table, nowhere), Err(QueueError::Exposed { hint, .. }) if hint.starts_with("chmod 1777"))
        );
        set_mode(above, 0o1777);
        let own = above.join(rustix::process::geteuid().as_raw().to_string());
        for _ in 0..2 {
            assert_eq!(found(&table, nowhere).unwrap(), own.join("queue.sqlite"));
            assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700);
        }
        // What others may have put there before us.
        set_mode(&own, 0o750);
        assert!(matches!(found(&table, nowhere), Err(QueueError::Exposed { .. })));
        fs::remove_dir(&own).unwrap();
        symlink("/tmp", &own).unwrap();
        let error = found(&table, nowhere).unwrap_err().to_string();
        assert!(error.contains("no folder"), "{error}");
        fs::remove_file(&own).unwrap();
        fs::write(&own, "").unwrap();
        assert!(found(&table, nowhere).is_err());
        fs::remove_file(&own).unwrap();
        let gone = QueueTable { fallback_folder: Some(above.join("gone")), ..QueueTable::default() };
        assert!(matches!(found(&gone, nowhere), Err(QueueError::Exposed { hint, .. }) if hint.contains("-m 1777")));
        if rustix::process::geteuid().is_root() {
            fs::create_dir(&own).unwrap();
            std::os::unix::fs::chown(&own, Some(65_534), None).unwrap();
            assert!(matches!(found(&table, nowhere), Err(QueueError::Foreign { owner: 65_534, .. })));
            std::os::unix::fs::chown(above, Some(65_534), None).unwrap();
            assert!(matches!(found(&table, nowhere), Err(QueueError::Foreign { .. })));
        }
    }
}
