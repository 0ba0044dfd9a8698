//! Files that are their owner's alone: made, locked, and replaced as a whole.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Between two looks at a lock: short beside a request, long beside a system call.
const PAUSE: Duration = Duration::from_millis(20);

/// Why a lock was not had.
#[derive(Debug)]
pub(crate) enum NotLocked {
    /// The operating system says so.
    Failed(io::Error),
    /// Another process has kept it all the time.
    Busy,
}

/// Why a file was not replaced, or not for sure.
#[derive(Debug)]
pub(super) struct NotReplaced {
    /// What the operating system says.
    pub error: io::Error,
    /// Whether the new one is in place all the same, though a crash of the machine may bring the old one back.
    pub is_in_place: bool,
}

/// The path of a file beside this one, with something more behind its name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the folder of a file, and those it is in; where they are not there, only their owner can use them.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder_of(path))
}

/// Makes this file of locks and waits, up to `limit`, until nobody else holds it. It is free again when the descriptor
/// is closed, however that happens.
///
/// # Errors
/// If it or its folder cannot be made or locked, or another process keeps it.
pub(crate) fn lock(path: &Path, limit: Duration) -> Result<File, NotLocked> {
    make_folder(path).map_err(NotLocked::Failed)?;
    let file = open(path, OpenOptions::new().write(true).create(true).truncate(false)).map_err(NotLocked::Failed)?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if start.elapsed() < limit => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(NotLocked::Busy),
            Err(TryLockError::Error(error)) => return Err(NotLocked::Failed(error)),
        }
    }
}

/// Writes a new file beside and puts it in place; nobody sees half of it, and a full disk leaves the old one whole. Who
/// calls is the only writer.
///
/// # Errors
/// If it cannot be written, or it is not sure that it outlives a crash of the machine.
pub(super) fn replace(path: &Path, octets: &[u8]) -> Result<(), NotReplaced> {
    let new = beside(path, ".new");
    let failed = |error| NotReplaced { error, is_in_place: false };
    // What is there was left by a writer that was killed.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let written = open(&new, OpenOptions::new().write(true).create_new(true)).and_then(|mut file| {
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    if let Err(error) = written {
        // What matters has failed already.
        let _ = fs::remove_file(&new);
        return Err(failed(error));
    }
    sync_folder(path).map_err(|error| NotReplaced { error, is_in_place: true })
}

/// Makes sure that the name of a file outlives a crash of the machine.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder_of(path))?.sync_all() } else { Ok(()) }
}

/// Opens a file that only its owner can use.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_whatever_lies_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        // A writer was killed.
        fs::write(folder.path().join("tokens.new"), "half").unwrap();
        for content in ["one", "two"] {
            replace(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::create_dir(folder.path().join("tokens.new")).unwrap();
        assert!(!replace(&path, b"three").unwrap_err().is_in_place);
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    }

    #[test]
    fn a_name_alone_is_in_the_working_folder() {
        assert_eq!(folder_of("s.json".as_ref()), Path::new("."));
        assert_eq!(folder_of("a/s.json".as_ref()), Path::new("a"));
        sync_folder("s.json".as_ref()).unwrap();
    }
}
