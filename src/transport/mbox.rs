//! Mailbox files (RFC 4155): a message is added to the end, under both locks that programs of this machine know.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::maildir::NativeLines;
use crate::{
    mail::{Address, Cause, Content, Stage, Trouble},
    message::Blocks,
};

/// How long others may keep a mailbox locked.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(30);
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Nobody holds a lock file for so long: its owner was killed.
const STALE_LOCK: Duration = Duration::from_secs(300);

/// Adds a message to the mailbox at `path`, which is made if it is not there. Whatever goes wrong, no half message stays.
///
/// # Errors
/// [`Cause::Busy`] if others keep it locked for `limit`; [`Cause::Output`] if it cannot be written, or is a link or no file;
/// [`Cause::Input`] if the message cannot be read.
pub(super) fn append(path: &Path, content: &Content, sender: Option<&Address>, limit: Duration) -> Result<(), Trouble> {
    let fail = |error: io::Error| {
        let (cause, what) = match error.kind() {
            io::ErrorKind::WouldBlock => (Cause::Busy, "another program keeps it locked".to_owned()),
            _ => (Cause::Output, error.to_string()),
        };
        Trouble::new(Stage::Data, cause, format!("{}: {what}", path.display()))
    };
    let start = Instant::now();
    // Where no file can be made beside it, as in /var/mail, the other lock has to do.
    let _dot_lock = DotLock::take(path, start, limit).map_err(fail)?;
    let (mut file, is_new) = open(path).map_err(fail)?;
    lock(&file, start, limit).map_err(fail)?;
    let end = file.seek(SeekFrom::End(0)).map_err(fail)?;
    let written = write(&mut file, end, content, sender).and_then(|()| {
        file.sync_all().map_err(Failure::Output)?;
        if is_new { crate::secret::private::sync_folder(path).map_err(Failure::Output) } else { Ok(()) }
    });
    written.map_err(|failure| {
        // If that fails, too, the next reader finds half a message: nothing is left to try.
        let _ = file.set_len(end).and_then(|()| file.sync_all());
        match failure {
            Failure::Output(error) => fail(error),
            Failure::Input(error) => {
                Trouble::new(Stage::Data, Cause::Input, format!("the message could not be written whole: {error}"))
            }
        }
    })
}

enum Failure {
    Output(io::Error),
    Input(io::Error),
}

/// Opens what is a file and no link; tells whether it was made for that.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe that nobody reads must not be waited for.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.mode(0o600).custom_flags(flags.bits().cast_signed());
    }
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a link, and links are not followed"));
    }
    let (file, is_new) = match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (options.open(path)?, false),
        made => (made?, true),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    Ok((file, is_new))
}

/// The lock of fcntl(2).
fn lock(file: &File, start: Instant, limit: Duration) -> io::Result<()> {
    #[cfg(unix)]
    loop {
        match rustix::fs::fcntl_lock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) if start.elapsed() < limit => {
                thread::sleep(LOCK_PAUSE);
            }
            Err(rustix::io::Errno::ACCESS) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => return Err(error.into()),
        }
    }
    #[cfg(not(unix))]
    {
        let _ = (start, limit);
        file.lock()
    }
}

/// A lock file beside the mailbox; it goes with this.
struct DotLock(PathBuf);

impl DotLock {
    /// `None` where no file can be made.
    fn take(mailbox: &Path, start: Instant, limit: Duration) -> io::Result<Option<Self>> {
        let path = crate::secret::private::beside(mailbox, ".lock");
        loop {
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    let lock = Self(path);
                    // Whoever finds it wants to know whose it is.
                    writeln!(file, "{}", process::id())?;
                    return Ok(Some(lock));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
            let written = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified());
            match written.map(|written| written.elapsed().unwrap_or_default()) {
                // Who is slower finds nothing to remove, or removes it again later.
                Ok(age) if age > STALE_LOCK => drop(fs::remove_file(&path)),
                _ if start.elapsed() >= limit => return Err(io::ErrorKind::WouldBlock.into()),
                _ => thread::sleep(LOCK_PAUSE),
            }
        }
    }
}

impl Drop for DotLock {
    fn drop(&mut self) {
        // Otherwise it is stale in five minutes.
        let _ = fs::remove_file(&self.0);
    }
}

fn write(file: &mut File, end: u64, content: &Content, sender: Option<&Address>) -> Result<(), Failure> {
    let separator = separator(file, end).map_err(Failure::Output)?;
    let mut out = BufWriter::with_capacity(64 * 1024, file);
    let from = sender.map_or_else(|| "MAILER-DAEMON".to_owned(), ToString::to_string);
    let date = Timestamp::now().strftime("%a %b %e %H:%M:%S %Y");
    writeln!(out, "{separator}From {from} {date}").map_err(Failure::Output)?;
    let (mut lines, mut quoting) = (NativeLines::default(), Quoting::default());
    for block in Blocks::new(content) {
        let mut native = Vec::new();
        lines.write(&block.map_err(Failure::Input)?, &mut native).map_err(Failure::Output)?;
        quoting.write(&native, &mut out).map_err(Failure::Output)?;
    }
    quoting.finish(&mut out).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// What is missing of an empty line behind what is there.
fn separator(file: &mut File, end: u64) -> io::Result<&'static str> {
    let mut last = [b'\n'; 2];
    let count = end.min(2);
    file.seek(SeekFrom::Start(end - count))?;
    file.read_exact(&mut last[2 - count as usize..])?;
    Ok(match last {
        [b'\n', b'\n'] => "",
        [_, b'\n'] => "\n",
        _ => "\n\n",
    })
}

/// A line that would begin a message gets a `>` before it, and so does one that has some already: they can be taken away
/// again.
#[derive(Default)]
struct Quoting {
    line: Vec<u8>,
}

impl Quoting {
    fn write(&mut self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.pass(out)?;
            }
        }
        Ok(())
    }

    /// The last line ends, too.
    fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        if !self.line.is_empty() {
            self.line.push(b'\n');
        }
        self.pass(out)
    }

    fn pass(&mut self, out: &mut impl Write) -> io::Result<()> {
        let quotes = self.line.iter().take_while(|&&byte| byte == b'>').count();
        if self.line[quotes..].starts_with(b"From ") {
            out.write_all(b">")?;
        }
        out.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::mail::Mailbox;
    use proptest::prelude::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    const SHORT: Duration = Duration::from_millis(120);

    fn content(text: &str) -> Content {
        Content::from_bytes(text.replace('\n', "\r\n").into_bytes())
    }

    #[test]
    fn messages_stand_behind_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("box");
        let sender = Mailbox::parse("ada@x.example").unwrap().address;
        append(&path, &content("Subject: 1\n\nFrom me\n>From you\nFromage\n"), Some(&sender), SHORT).unwrap();
        // Somebody has torn its end off.
        fs::write(&path, fs::read_to_string(&path).unwrap().trim_end()).unwrap();
        append(&path, &content("Subject: 2\n\nx\n"), None, SHORT).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let (first, second) = text.split_once("\n\nFrom MAILER-DAEMON ").unwrap();
        assert!(first.starts_with("From ada@x.example ") && first.lines().next().unwrap().len() == 43, "{text}");
        assert!(first.ends_with("\nSubject: 1\n\n>From me\n>>From you\nFromage"), "{text}");
        assert!(second.ends_with("\nSubject: 2\n\nx\n\n"), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_a_file_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("target"), "").unwrap();
        symlink(path("target"), path("link")).unwrap();
        symlink(path("nowhere"), path("dangling")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        for name in ["link", "dangling", "folder", "none/box"] {
            let trouble = append(&path(name), &content("x\n"), None, SHORT).unwrap_err();
            assert!(trouble.cause == Cause::Output && trouble.what.contains(name), "{trouble}");
        }
        assert_eq!(fs::metadata(path("target")).unwrap().size(), 0);
        assert!(!path("nowhere").exists());
    }

    #[test]
    fn both_locks_are_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("box");
        let lock = folder.path().join("box.lock");
        fs::write(&lock, "1").unwrap();
        let trouble = append(&path, &content("x\n"), None, SHORT).unwrap_err();
        assert!(trouble.cause == Cause::Busy && trouble.what.ends_with("keeps it locked"), "{trouble}");
        assert!(lock.exists());
        // Its owner was killed.
        let old = std::time::SystemTime::now() - STALE_LOCK - Duration::from_secs(60);
        File::options().write(true).open(&lock).unwrap().set_modified(old).unwrap();
        append(&path, &content("x\n"), None, SHORT).unwrap();
        assert!(!lock.exists());
        // Locks of fcntl are a process's own: another one has to hold it.
        let script = "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(1,flush=True); sys.stdin.read()";
        let python = process::Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .stdin(process::Stdio::piped())
            .stdout(process::Stdio::piped())
            .spawn();
        let Ok(mut python) = python else { return };
        python.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let before = fs::read(&path).unwrap();
        assert_eq!(append(&path, &content("x\n"), None, SHORT).unwrap_err().cause, Cause::Busy);
        assert_eq!(fs::read(&path).unwrap(), before);
        drop(python.stdin.take());
        python.wait().unwrap();
        append(&path, &content("x\n"), None, SHORT).unwrap();
    }

    #[test]
    fn half_a_message_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("box");
        append(&path, &content("Subject: 1\n\nx\n"), None, SHORT).unwrap();
        let before = fs::read(&path).unwrap();
        let gone = folder.path().join("gone");
        let source = crate::mail::Source::Path { path: gone, modified: None };
        let mut broken = content("Subject: 2\n\n");
        broken.push(crate::mail::Piece::verbatim(source, 10));
        assert_eq!(append(&path, &broken, None, SHORT).unwrap_err().cause, Cause::Input);
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    proptest! {
        /// However it is cut into blocks, quotes can be taken away again, and no line begins a message.
        #[test]
        fn quotes_can_be_taken_away(text in "[>From \\nx]{0,40}|(>{0,2}From x\\n){0,5}", cut in 0_usize..40) {
            let mut out = Vec::new();
            let mut quoting = Quoting::default();
            let cut = cut.min(text.len());
            quoting.write(&text.as_bytes()[..cut], &mut out).unwrap();
            quoting.write(&text.as_bytes()[cut..], &mut out).unwrap();
            quoting.finish(&mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            prop_assert!(!out.lines().any(|line| line.starts_with("From ")));
            let plain: String = out
                .lines()
                .map(|line| match line.trim_start_matches('>').starts_with("From ") {
                    true => format!("{}\n", &line[1..]),
                    false => format!("{line}\n"),
                })
                .collect();
            let whole = if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" };
            prop_assert_eq!(plain, whole);
        }
    }
}
