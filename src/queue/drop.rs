//! The drop directory: a folder that every user of a system may add messages to, and that only the worker of its owner
//! reads. So one service sends for everybody, holds all secrets, and no program needs another's rights.
//!
//! The folder has the mode 3733. Everybody may make files in it, but neither list them nor, since it is sticky, touch those
//! of others. Its files get its group (setgid), which is the worker's, and the mode 0640: their maker and the worker can
//! read them, and nobody else. A file is written as `NAME.new`, and renamed and synced once it is whole. Nobody who adds can
//! sync the folder, for want of the right to read it: ext4, xfs and btrfs keep the name of a new file together with the
//! file, and Postfix relies on the same.

mod intake;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

pub use intake::{Dropped, Intake};

use super::{Job, Letter, QueueError, letter};
use crate::message::Stamp;

/// The mode of the folder.
const MODE: u32 = 0o3733;
/// That of a file that is whole.
const WHOLE: u32 = 0o640;
/// Octets of the line in front of a message: there is room for what may be longer in the queue that it goes to.
const MOST_HEAD: usize = letter::MOST_HEAD - (64 << 10);
/// Characters of the name of a message.
const NAME: usize = 20;
/// Ends the name of a file that is being written.
const UNFINISHED: &str = ".new";

/// A folder that every user may add messages to.
#[derive(Debug)]
pub struct Drop {
    path: PathBuf,
    owner: u32,
    group: u32,
}

impl Drop {
    /// Looks at the folder, and whether it is safe to leave mail there.
    ///
    /// # Errors
    /// [`QueueError::Exposed`] if it is not there, or is not as it has to be.
    pub fn open(path: &Path) -> Result<Self, QueueError> {
        let wrong = |what: String, hint: String| QueueError::Exposed { path: path.to_owned(), what, hint };
        let make =
            || format!("the administrator makes it: install -d -o mailsend -g mailsend -m 3733 {}", path.display());
        let metadata = fs::metadata(path)
            .map_err(|error| wrong(format!("the drop directory (sendmail.drop) cannot be used: {error}"), make()))?;
        if !metadata.is_dir() {
            return Err(wrong("the drop directory (sendmail.drop) is no folder".to_owned(), make()));
        }
        let mode = metadata.mode() & 0o7777;
        if mode != MODE {
            let what = format!("as a drop directory it has to have the mode {MODE:o}, and has {mode:o}");
            return Err(wrong(what, format!("chmod {MODE:o} {}", path.display())));
        }
        Ok(Self { path: path.to_owned(), owner: metadata.uid(), group: metadata.gid() })
    }

    /// The number of the user whose worker sends from it.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// How many messages lie in it that no worker has taken yet. Only its owner can look.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn waiting(&self) -> io::Result<usize> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name()));
        let names: Vec<_> = names.collect::<io::Result<_>>()?;
        // What is being written, and what was rejected, have other names.
        Ok(names.iter().filter(|name| name.to_str().is_some_and(|name| name.len() == NAME)).count())
    }

    /// Whether our worker is the one that sends from it.
    pub fn is_ours(&self) -> bool {
        self.owner == rustix::process::geteuid().as_raw()
    }

    /// Adds these messages, which outlive a loss of power when this returns: all, or none that the worker has not taken
    /// yet. Of their places only the profiles go along, and no key. Returns their names, which they have in the queue and
    /// in the log, too.
    ///
    /// # Errors
    /// [`QueueError::Unfit`] for a message that is too large, of which a file cannot be read, or that the worker would
    /// refuse; a full disk. Then nothing is left of them.
    pub fn add_all(&self, jobs: &[Job]) -> Result<Vec<String>, QueueError> {
        let mut stamp = Stamp::now();
        let now = jiff::Timestamp::now().as_millisecond();
        let mut adding = Adding { folder: self, files: Vec::with_capacity(jobs.len()) };
        let mut names = Vec::with_capacity(jobs.len());
        for job in jobs {
            let letter = Letter::new(stamp.mark(), job.clone(), now).whole().map_err(QueueError::Unfit)?;
            adding.write(&letter.name, &letter.seal(MOST_HEAD)?).map_err(|error| self.failed(&error))?;
            names.push(letter.name);
        }
        adding.publish().map_err(|error| self.failed(&error))?;
        Ok(names)
    }

    fn failed(&self, error: &io::Error) -> QueueError {
        let what = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "no room is left on the disk".to_owned(),
            _ => error.to_string(),
        };
        QueueError::File { path: self.path.clone(), what, is_new: false }
    }
}

/// Messages that are being added. What is not all there when this is dropped is removed.
struct Adding<'a> {
    folder: &'a Drop,
    /// Their paths, and the files while these have not been added.
    files: Vec<(PathBuf, File)>,
}

impl Adding<'_> {
    /// Writes a message that nobody takes yet.
    fn write(&mut self, name: &str, octets: &[u8]) -> io::Result<()> {
        let path = self.folder.path.join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new(&path))?;
        self.files.push((path, file));
        let Some((_, file)) = self.files.last_mut() else { return Ok(()) };
        if file.metadata()?.gid() != self.folder.group {
            return Err(io::Error::other("files in it do not get its group, so that nobody could read them"));
        }
        file.write_all(octets)?;
        file.set_permissions(Permissions::from_mode(WHOLE))?;
        // Who takes it the moment it has its name takes all of it.
        file.sync_all()
    }

    /// Lets all of them be taken.
    fn publish(mut self) -> io::Result<()> {
        for (path, _) in &self.files {
            fs::rename(new(path), path)?;
        }
        for (path, file) in &self.files {
            // Its name. What is not there any more has been taken, and is safe elsewhere.
            match file.sync_all() {
                Err(error) if is_there(path) => return Err(error),
                _ => {}
            }
        }
        self.files.clear();
        Ok(())
    }
}

impl std::ops::Drop for Adding<'_> {
    fn drop(&mut self) {
        for (path, _) in &self.files {
            // It has the one name or the other, and what could not be removed is never taken for a message.
            let _ = (fs::remove_file(new(path)), fs::remove_file(path));
        }
    }
}

/// The name of a file that is being written.
fn new(path: &Path) -> PathBuf {
    path.with_extension(&UNFINISHED[1..])
}

fn is_there(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(error) if error.kind() == ErrorKind::NotFound)
}
