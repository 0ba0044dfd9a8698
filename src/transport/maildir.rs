//! The door into a maildir: one file per message, complete and on the disk before it is seen.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::{sync::oneshot, time::Instant};

use super::{is_of_the_way, same_for_all};
use crate::{
    mail::{Cause, Content, Event, Stage, State, Step, Submission, Trouble, clean},
    message::Blocks,
    net::host_name,
    smtp::{Duty, Supply},
};

/// A folder with tmp, new and cur.
#[derive(Debug)]
pub struct Maildir {
    path: PathBuf,
    /// Messages of this process so far: two of one microsecond get two names.
    count: Arc<AtomicU64>,
}

impl Maildir {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, count: Arc::new(AtomicU64::new(0)) }
    }

    /// Writes a message at once. Blocks; tells where it is, and what may become of it all the same.
    pub(super) fn deliver(&self, content: &Content) -> Result<(PathBuf, Option<String>), Trouble> {
        write(&self.path, self.count.fetch_add(1, Ordering::Relaxed), content)?.publish()
    }

    /// Writes a message; tells what speaks against the folder.
    pub(super) async fn carry(&self, submission: &Submission, duty: &mut Duty<impl Supply>) -> Option<Trouble> {
        let start = Instant::now();
        let (path, content) = (self.path.clone(), submission.content.clone());
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let written = run(move || write(&path, number, &content)).await;
        let verdict = match written {
            Ok(file) => {
                let (ack, consent) = oneshot::channel();
                let commit = Step::Commit { ids: vec![submission.id], ack };
                if duty.steps.send(commit).await.is_ok() && consent.await.is_ok() {
                    run(move || file.publish()).await
                } else {
                    Err(Trouble::new(Stage::Data, Cause::Stopped, "stopped by a signal"))
                }
            }
            Err(trouble) => Err(trouble),
        };
        let elapsed = start.elapsed();
        let against = verdict.as_ref().err().filter(|trouble| is_of_the_way(trouble)).cloned();
        let outcomes = match verdict {
            Ok((path, warning)) => {
                if let Some(warning) = warning {
                    // If the feed is gone, there is nobody to tell.
                    let _ = duty.steps.send(Step::Event(Event::Warning(clean(&warning)))).await;
                }
                same_for_all(submission, State::Accepted, Stage::Data, None, Some(&path.to_string_lossy()), elapsed)
            }
            Err(trouble) => {
                let state = if trouble.cause == Cause::Input { State::Failed } else { State::Deferred };
                same_for_all(submission, state, Stage::Data, Some(&trouble), None, elapsed)
            }
        };
        duty.settle(submission.id, outcomes).await;
        against
    }
}

async fn run<T: Send + 'static>(task: impl FnOnce() -> Result<T, Trouble> + Send + 'static) -> Result<T, Trouble> {
    let ended = tokio::task::spawn_blocking(task).await;
    ended.unwrap_or_else(|error| Err(Trouble::new(Stage::Data, Cause::Internal, error.to_string())))
}

/// A file in tmp; it goes when it is not published.
struct Written {
    file: tempfile::TempPath,
    new: PathBuf,
    name: String,
}

fn write(maildir: &Path, number: u64, content: &Content) -> Result<Written, Trouble> {
    let fail = |path: &Path, error: io::Error| {
        Trouble::new(Stage::Data, Cause::Output, format!("{}: {error}", path.display()))
    };
    for folder in ["tmp", "new", "cur"] {
        let folder = maildir.join(folder);
        create_private(&folder).map_err(|error| fail(&folder, error))?;
    }
    let name = unique_name(number);
    let path = maildir.join("tmp").join(&name);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(|error| fail(&path, error))?;
    let temporary = tempfile::TempPath::try_from_path(&path).map_err(|error| fail(&path, error))?;
    let mut out = io::BufWriter::with_capacity(64 * 1024, file);
    let mut lines = NativeLines::default();
    for block in Blocks::new(content) {
        let block = block.map_err(|error| {
            Trouble::new(Stage::Data, Cause::Input, format!("the message could not be written whole: {error}"))
        })?;
        lines.write(&block, &mut out).map_err(|error| fail(&path, error))?;
    }
    let file = out.into_inner().map_err(|error| fail(&path, error.into_error()))?;
    file.sync_all().map_err(|error| fail(&path, error))?;
    Ok(Written { file: temporary, new: maildir.join("new"), name })
}

fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

impl Written {
    /// Puts the file where it is seen; tells of a folder that may not survive a power loss.
    fn publish(self) -> Result<(PathBuf, Option<String>), Trouble> {
        let path = self.new.join(&self.name);
        let fail = |error: io::Error| Trouble::new(Stage::Data, Cause::Output, format!("{}: {error}", path.display()));
        self.file.persist_noclobber(&path).map_err(|error| fail(error.error))?;
        // Without this the name may be gone after a power loss, though the bytes are there. The message is delivered
        // all the same: whoever took this for a failure would deliver it twice.
        let synced = if cfg!(unix) { fs::File::open(&self.new).and_then(|folder| folder.sync_all()) } else { Ok(()) };
        let warning = synced.err().map(|error| format!("{} may be lost with the power: {error}", path.display()));
        Ok((path, warning))
    }
}

/// A name that nobody else gives (maildir specification of D. J. Bernstein).
fn unique_name(number: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let host = host_name().replace('/', "\\057").replace(':', "\\072");
    format!("{}.M{}P{}Q{number}.{host}", now.as_secs(), now.subsec_micros(), process::id())
}

/// Mail programs expect the line ends of the system in a maildir.
#[derive(Default)]
pub(super) struct NativeLines {
    has_cr: bool,
}

impl NativeLines {
    pub fn write(&mut self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        for part in bytes.split_inclusive(|&byte| byte == b'\r') {
            if self.has_cr && !part.starts_with(b"\n") {
                out.write_all(b"\r")?;
            }
            self.has_cr = part.ends_with(b"\r");
            out.write_all(part.strip_suffix(b"\r").unwrap_or(part))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_become_native_however_they_are_cut() {
        for cut in 0..=12 {
            let text = b"a\r\nb\r\n\r\nc\rd";
            let mut out = Vec::new();
            let mut lines = NativeLines::default();
            let cut = cut.min(text.len());
            lines.write(&text[..cut], &mut out).unwrap();
            lines.write(&text[cut..], &mut out).unwrap();
            assert_eq!(out, b"a\nb\n\nc\rd", "{cut}");
        }
    }

    #[test]
    fn a_message_is_in_new_or_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = folder.path().join("deep/box");
        let content = Content::from_bytes(b"Subject: x\r\n\r\nhi\r\n".to_vec());
        drop(write(&maildir, 0, &content).unwrap());
        let count = |name: &str| fs::read_dir(maildir.join(name)).unwrap().count();
        assert_eq!((count("tmp"), count("new"), count("cur")), (0, 0, 0));
        let path = write(&maildir, 1, &content).unwrap().publish().unwrap().0;
        assert_eq!((count("tmp"), count("new")), (0, 1));
        assert_eq!(fs::read(&path).unwrap(), b"Subject: x\n\nhi\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_place_that_cannot_be_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let trouble = write(&folder.path().join("file"), 0, &Content::default()).err().unwrap();
        assert_eq!(trouble.cause, Cause::Output);
    }
}
