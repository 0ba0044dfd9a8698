//! Who drains the queue: a lock that ends with its process, so that the living can be told from the dead.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{message::Stamp, secret::private};

/// Begins the name of the file of a worker that stays.
const LASTING: &str = "lasting-";
/// Begins the name of the file of a worker that ends once nothing is due.
const PASSING: &str = "passing-";
/// Begins the name of a file that is not locked yet.
const FRESH: &str = "fresh-";
/// From making a file to locking it takes less.
const FRESH_FOR: Duration = Duration::from_secs(600);

/// Somebody who drains a queue. Whoever sees its lock free knows that it is dead, however it died.
#[derive(Debug)]
pub struct Worker {
    name: String,
    path: PathBuf,
    /// Locked as long as it is open.
    _file: File,
}

impl Worker {
    /// Its name: 20 characters from 0-9 and a-v.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts a locked file into the folder of workers. It gets its name once it is locked: nobody can see it without.
    pub(super) fn new(folder: &Path, is_lasting: bool) -> io::Result<Self> {
        let name = Stamp::now().mark();
        let fresh = folder.join(format!("{FRESH}{name}"));
        let path = folder.join(format!("{}{name}", if is_lasting { LASTING } else { PASSING }));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        private::make_folder(&fresh)?;
        let file = options.open(&fresh)?;
        file.lock()?;
        fs::rename(&fresh, &path)?;
        Ok(Self { name, path, _file: file })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // What stays is a file that nobody has locked, and the next one sweeps it away.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a worker that stays is alive.
pub(super) fn has_lasting(folder: &Path) -> bool {
    files(folder).any(|(name, path)| name.starts_with(LASTING) && is_alive(&path))
}

/// Whether this worker lives. In doubt it does.
pub(super) fn lives(folder: &Path, name: &str) -> bool {
    [LASTING, PASSING].iter().any(|kind| is_alive(&folder.join(format!("{kind}{name}"))))
}

/// Removes the files of the dead.
pub(super) fn sweep(folder: &Path) {
    for (name, path) in files(folder) {
        let is_over = if name.starts_with(FRESH) { is_old(&path, FRESH_FOR) } else { !is_alive(&path) };
        if is_over {
            // Another one may have been faster.
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether a file was last written to longer ago than that. In doubt it was not.
pub(super) fn is_old(path: &Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|since| since > age))
}

fn files(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter_map(|path| Some((path.file_name().and_then(OsStr::to_str)?.to_owned(), path)))
}

/// Whether somebody has this file locked. The lock asked for is shared: those who ask do not take each other for it.
fn is_alive(path: &Path) -> bool {
    match File::open(path) {
        Ok(file) => !matches!(file.try_lock_shared(), Ok(())),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_are_told_from_the_dead() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("workers");
        assert!(!has_lasting(&folder));
        let passing = Worker::new(&folder, false).unwrap();
        assert!(lives(&folder, passing.name()) && !has_lasting(&folder));
        let lasting = Worker::new(&folder, true).unwrap();
        assert!(has_lasting(&folder) && lives(&folder, lasting.name()));
        assert!(passing.name().len() == 20 && passing.name() != lasting.name());
        // Killed: its file stays, without a lock.
        let name = lasting.name().to_owned();
        let path = lasting.path.clone();
        drop(lasting);
        fs::write(&path, "").unwrap();
        assert!(!has_lasting(&folder) && !lives(&folder, &name));
        fs::write(folder.join("fresh-x"), "").unwrap();
        sweep(&folder);
        let mut left: Vec<String> = files(&folder).map(|(name, _)| name).collect();
        left.sort();
        assert_eq!(left, ["fresh-x".to_owned(), format!("passing-{}", passing.name())]);
        let old = SystemTime::now() - 2 * FRESH_FOR;
        File::options().write(true).open(folder.join("fresh-x")).unwrap().set_modified(old).unwrap();
        sweep(&folder);
        drop(passing);
        assert_eq!(files(&folder).count(), 0);
    }
}
