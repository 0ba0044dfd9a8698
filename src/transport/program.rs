//! A program that gets a message on its standard input. Half a message is never the end of its input while we live.

use std::{
    env, io,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, ChildStdin, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::maildir::NativeLines;
use crate::{
    mail::{Cause, Content, Stage, Stop, Trouble, clean},
    message::Blocks,
    smtp::changed,
};

/// Counts programs that call each other in a circle.
pub(super) const DEPTH_VARIABLE: &str = "MAILSEND_DEPTH";
/// So many may.
pub(super) const MAX_DEPTH: u32 = 5;
/// Most of what a program has to say about its failure.
const MAX_COMPLAINT: u64 = 4 * 1024;
/// A daemon that it leaves behind may keep its standard error open for ever.
const COMPLAINT_WAIT: Duration = Duration::from_secs(1);

/// How many programs that were started with a message have led to this process.
pub(super) fn depth() -> u32 {
    env::var(DEPTH_VARIABLE).ok().and_then(|depth| depth.parse().ok()).unwrap_or(0)
}

/// The program, its standard input while the message has not left whole, and what it complains of.
pub(super) struct Running {
    /// How it is called.
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    complaining: JoinHandle<()>,
    complaint: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    /// Starts it in a process group of its own: a signal from the terminal is ours to pass on.
    pub fn start(name: &str, command: &mut Command) -> io::Result<Self> {
        #[cfg(unix)]
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let complaint = Arc::<Mutex<Vec<u8>>>::default();
        let complaining = tokio::spawn(listen(child.stderr.take(), complaint.clone()));
        Ok(Self { name: name.to_owned(), stdin: child.stdin.take(), child, complaining, complaint })
    }

    /// Gives it the whole message, whose end is the end of its input. `limit` is for each block.
    ///
    /// # Errors
    /// [`Cause::Lost`] if it stops reading, [`Cause::TimedOut`] if it does not read on, [`Cause::Input`] if the message
    /// cannot be read.
    pub async fn feed(&mut self, content: &Content, limit: Duration) -> Result<(), Trouble> {
        let mut blocks = native_blocks(content);
        let mut held: Option<Vec<u8>> = None;
        loop {
            let next = match blocks.recv().await {
                Some(Ok(block)) => Some(block),
                Some(Err(error)) => {
                    let what = format!("the message could not be written whole: {error}");
                    return Err(Trouble::new(Stage::Data, Cause::Input, what));
                }
                None => None,
            };
            let is_last = next.is_none();
            if let Some(block) = std::mem::replace(&mut held, next) {
                let lost = |error: io::Error| {
                    let what = format!("{} stopped reading: {error}", self.name);
                    Trouble::new(Stage::Data, Cause::Lost, what)
                };
                let writing = async {
                    match &mut self.stdin {
                        Some(stdin) => stdin.write_all(&block).await,
                        None => Err(io::ErrorKind::BrokenPipe.into()),
                    }
                };
                match timeout(limit, writing).await {
                    Ok(written) => written.map_err(lost)?,
                    Err(_) => return Err(Trouble::new(Stage::Data, Cause::TimedOut, "the program does not read")),
                }
            }
            if is_last {
                self.stdin = None;
                return Ok(());
            }
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Cause::TimedOut`] after `limit`.
    pub async fn end(&mut self, limit: Duration) -> Result<ExitStatus, Trouble> {
        match timeout(limit, self.child.wait()).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(Trouble::new(Stage::Final, Cause::Lost, error.to_string())),
            Err(_) => {
                let what = format!("{} did not end within {} s", self.name, limit.as_secs_f32());
                Err(Trouble::new(Stage::Final, Cause::TimedOut, what))
            }
        }
    }

    /// Whether it has got the whole message.
    pub fn has_all(&self) -> bool {
        self.stdin.is_none()
    }

    /// Ends it and what it has started, and only then its input. `None` if it was killed, or nobody knows.
    pub async fn kill(&mut self) -> Option<ExitStatus> {
        // One that ends of itself has something to say.
        let status = match self.child.try_wait() {
            Ok(Some(status)) => Some(status),
            _ => timeout(Duration::from_millis(100), self.child.wait()).await.ok().and_then(Result::ok),
        };
        #[cfg(unix)]
        if let Some(group) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            // A group that has gone needs no signal.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        // Killed alone, where there are no groups; an error means that it has ended.
        let _ = self.child.start_kill();
        self.stdin = None;
        match status {
            None => self.child.wait().await.ok(),
            status => status,
        }
    }

    /// What it has said on standard error.
    pub async fn complaint(&mut self) -> String {
        // What has not come by then is not waited for.
        let _ = timeout(COMPLAINT_WAIT, &mut self.complaining).await;
        let bytes = std::mem::take(&mut *self.complaint.lock().unwrap_or_else(PoisonError::into_inner));
        clean(String::from_utf8_lossy(&bytes).trim())
    }
}

async fn listen(stderr: Option<ChildStderr>, complaint: Arc<Mutex<Vec<u8>>>) {
    let Some(stderr) = stderr else { return };
    let mut stderr = stderr.take(MAX_COMPLAINT);
    let mut block = [0; 1024];
    // What cannot be read is not shown.
    while let Ok(count @ 1..) = stderr.read(&mut block).await {
        complaint.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&block[..count]);
    }
}

/// Waits until what is under way may not go on: some time after the first wish to stop, at once at the second.
pub(super) async fn given_up(stop: &mut watch::Receiver<Stop>) {
    stop.mark_changed();
    while changed(stop).await < Stop::Drain {}
    let again = async { while *stop.borrow() != Stop::Now && changed(stop).await != Stop::Now {} };
    // Either is the end.
    let _ = timeout(Stop::DRAIN, again).await;
}

/// The message with the system's line ends, read on a thread of its own.
fn native_blocks(content: &Content) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, blocks) = mpsc::channel(2);
    let content = content.clone();
    tokio::task::spawn_blocking(move || {
        let mut lines = NativeLines::default();
        for block in Blocks::new(&content) {
            let block = block.and_then(|block| {
                let mut native = Vec::with_capacity(block.len());
                lines.write(&block, &mut native).map(|()| native)
            });
            let is_last = block.is_err();
            // Nobody reads any more.
            if sender.blocking_send(block).is_err() || is_last {
                return;
            }
        }
    });
    blocks
}
