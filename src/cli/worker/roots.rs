//! Files that the jobs of other programs may name: below the folders that the configuration allows, and nowhere else.

use std::{
    fs::{self, File},
    io,
    path::{Component, Path, PathBuf},
};

use crate::mail::clean;

/// The folders.
pub(super) struct Roots(Vec<PathBuf>);

impl Roots {
    /// Absolute folders; none allows nothing. They are looked at when a file is wanted.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        Self(folders)
    }

    /// Opens the file of this path, which starts from the first folder if it is relative. What is opened is a regular file
    /// below a folder, whatever somebody changes meanwhile.
    ///
    /// # Errors
    /// With a clause that says why it is none to be sent. Of what lies elsewhere it does not even tell whether it is there.
    pub fn open(&self, path: &str) -> Result<File, String> {
        let shown = clean(path);
        let Some(first) = self.0.first() else {
            return Err("files can only be named below queue.attachment-roots, which is not set".to_owned());
        };
        if path.is_empty() || path.contains('\0') {
            return Err("it is no path".to_owned());
        }
        let path = first.join(path);
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(format!("'{shown}' has a '..' in it"));
        }
        let Some((root, below)) = self.below(&path)? else {
            return Err(format!("'{shown}' lies outside of queue.attachment-roots"));
        };
        let unreadable = |error: io::Error| format!("'{shown}' cannot be read: {error}");
        let whole = fs::canonicalize(root.join(below)).map_err(unreadable)?;
        let Ok(below) = whole.strip_prefix(&root) else {
            return Err(format!("'{shown}' is a link that leads out of queue.attachment-roots"));
        };
        // What programs keep for themselves is nobody's attachment.
        if below.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b".")) {
            return Err(format!("'{shown}' is a hidden file, or in a hidden folder"));
        }
        let file = open_below(&root, below).map_err(unreadable)?;
        match file.metadata().map_err(unreadable)?.is_file() {
            true => Ok(file),
            false => Err(format!("'{shown}' is no regular file")),
        }
    }

    /// The folder that a path without links names, and what is below.
    fn below(&self, path: &Path) -> Result<Option<(PathBuf, PathBuf)>, String> {
        for named in &self.0 {
            let Ok(below) = path.strip_prefix(named) else { continue };
            let root = fs::canonicalize(named).map_err(|error| {
                format!("{} of queue.attachment-roots cannot be used: {error}", clean(&named.display().to_string()))
            })?;
            return Ok(Some((root, below.to_owned())));
        }
        Ok(None)
    }
}

/// Opens a path that had no link in it, folder by folder: a link that is there now is an error.
#[cfg(unix)]
fn open_below(root: &Path, below: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open, openat};
    let folder = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::DIRECTORY;
    // A pipe would be waited for.
    let file = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut opened = open(root, folder, Mode::empty())?;
    let mut names = below.components().peekable();
    while let Some(name) = names.next() {
        let flags = if names.peek().is_some() { folder } else { file };
        opened = openat(&opened, name.as_os_str(), flags, Mode::empty())?;
    }
    Ok(File::from(opened))
}

#[cfg(not(unix))]
fn open_below(root: &Path, below: &Path) -> io::Result<File> {
    File::open(root.join(below))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::{io::Read, os::unix::fs::symlink, process::Command};

    /// root/{a.txt, sub/b.txt, .key, .git/c, inside -> sub/b.txt, out -> ../outside.txt, up -> .., pipe}, outside.txt,
    /// link -> root
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("root/sub")).unwrap();
        fs::create_dir_all(at("root/.git")).unwrap();
        for name in ["root/a.txt", "root/sub/b.txt", "root/.key", "root/.git/c", "outside.txt"] {
            fs::write(at(name), name).unwrap();
        }
        symlink("sub/b.txt", at("root/inside")).unwrap();
        symlink("../outside.txt", at("root/out")).unwrap();
        symlink("..", at("root/up")).unwrap();
        symlink(".key", at("root/key")).unwrap();
        symlink("root", at("link")).unwrap();
        assert!(Command::new("mkfifo").arg(at("root/pipe")).status().unwrap().success());
        folder
    }

    fn read(roots: &Roots, path: &str) -> Result<String, String> {
        let mut text = String::new();
        roots.open(path)?.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn what_lies_below_is_opened() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let roots = Roots::new(vec![at("root").into(), at("link").into()]);
        for (path, wanted) in [
            (at("root/a.txt"), "root/a.txt"),
            (at("root/sub/b.txt"), "root/sub/b.txt"),
            (at("root/./sub//b.txt"), "root/sub/b.txt"),
            (at("link/a.txt"), "root/a.txt"),
            (at("root/inside"), "root/sub/b.txt"),
            ("a.txt".to_owned(), "root/a.txt"),
            ("./sub/b.txt".to_owned(), "root/sub/b.txt"),
        ] {
            assert_eq!(read(&roots, &path).as_deref(), Ok(wanted), "{path}");
        }
    }

    #[test]
    fn nothing_else_is() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let roots = Roots::new(vec![at("root").into()]);
        for (path, why) in [
            (String::new(), "no path"),
            ("a\0.txt".to_owned(), "no path"),
            (at("outside.txt"), "lies outside"),
            (at("nonesuch.txt"), "lies outside"),
            (at("root2/a.txt"), "lies outside"),
            (at("link/a.txt"), "lies outside"),
            ("/etc/passwd".to_owned(), "lies outside"),
            (at("root/../outside.txt"), "has a '..' in it"),
            ("../outside.txt".to_owned(), "has a '..' in it"),
            ("sub/../a.txt".to_owned(), "has a '..' in it"),
            ("out".to_owned(), "leads out of"),
            ("up/outside.txt".to_owned(), "leads out of"),
            (".key".to_owned(), "hidden"),
            ("key".to_owned(), "hidden"),
            (".git/c".to_owned(), "hidden"),
            ("nonesuch".to_owned(), "cannot be read"),
            ("a.txt/b".to_owned(), "cannot be read"),
            ("sub".to_owned(), "no regular file"),
            (at("root"), "no regular file"),
            ("pipe".to_owned(), "no regular file"),
        ] {
            let reason = read(&roots, &path).unwrap_err();
            assert!(reason.contains(why), "{path}: {reason}");
        }
        let reason = read(&Roots::new(Vec::new()), "a.txt").unwrap_err();
        assert_eq!(reason, "files can only be named below queue.attachment-roots, which is not set");
        let gone = Roots::new(vec![at("gone").into()]);
        assert!(read(&gone, "a.txt").unwrap_err().contains("cannot be used"));
    }

    /// What was no link when it was looked at, and is one when it is opened.
    #[test]
    fn a_link_put_in_its_place_is_not_followed() {
        let folder = folder();
        let root = fs::canonicalize(folder.path().join("root")).unwrap();
        for below in ["out", "up/outside.txt", "inside"] {
            assert!(open_below(&root, Path::new(below)).is_err(), "{below}");
        }
        assert!(open_below(&root, Path::new("sub/b.txt")).is_ok());
    }
}
