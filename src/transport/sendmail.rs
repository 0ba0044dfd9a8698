//! The door to a sendmail program of this machine, started once per message.
//!
//! Not lettre's own transport: that one wants the whole message in memory and keeps neither exit code nor time limit.

use std::{env, ffi::OsString, fs, io, path::PathBuf, process::Stdio};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use super::{maildir::NativeLines, same_for_all, settle};
use crate::{
    config::Timeouts,
    mail::{Cause, Stage, State, Step, Submission, Trouble, clean},
    message::Blocks,
    smtp::Work,
};

/// Counts programs that call each other in a circle.
const DEPTH_VARIABLE: &str = "MAILSEND_DEPTH";
const MAX_DEPTH: u32 = 5;
/// Most of what a program has to say about its failure.
const MAX_COMPLAINT: u64 = 4 * 1024;

/// A sendmail program.
#[derive(Debug)]
pub struct Sendmail {
    program: PathBuf,
    depth: u32,
    timeouts: Timeouts,
}

impl Sendmail {
    /// Takes the program at this path.
    ///
    /// # Errors
    /// [`Cause::Configuration`] if it is not there, or is this very program: it would call itself for ever.
    pub(super) fn new(program: PathBuf, timeouts: Timeouts) -> Result<Self, Trouble> {
        let configuration = |what: String| Trouble::new(Stage::Connect, Cause::Configuration, what);
        let shown = program.display().to_string();
        let theirs = fs::canonicalize(&program)
            .map_err(|error| configuration(format!("there is no sendmail program {shown}: {error}")))?;
        let is_itself = env::current_exe().and_then(fs::canonicalize).is_ok_and(|ours| is_same_file(&ours, &theirs));
        let depth = env::var(DEPTH_VARIABLE).ok().and_then(|depth| depth.parse().ok()).unwrap_or(0);
        if is_itself || depth >= MAX_DEPTH {
            let what = if is_itself { "is mailsend itself" } else { "calls mailsend, which calls it again" };
            return Err(configuration(format!("{shown} {what}"))
                .hint("name another program, or a server: --server smtp://HOST"));
        }
        Ok(Self { program, depth, timeouts })
    }

    pub(super) async fn carry(&self, submission: &Submission, work: &Work) {
        let start = Instant::now();
        let (state, trouble) = match self.run(submission, work).await {
            Ok(()) => (State::Accepted, None),
            Err((state, trouble)) => (state, Some(trouble)),
        };
        let stage = if state == State::Unknown { Stage::Final } else { Stage::Data };
        let mut outcomes = same_for_all(submission, state, stage, trouble.as_ref(), None, start.elapsed());
        for outcome in &mut outcomes {
            outcome.dsn = submission.dsn.is_wanted().then_some(true);
        }
        settle(work, submission.id, outcomes).await;
    }

    fn arguments(&self, submission: &Submission) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["-i".into(), "-f".into()];
        arguments.push(submission.envelope.from().map_or_else(|| "<>".into(), |from| from.to_string().into()));
        if submission.content.is_8bit {
            arguments.push("-B8BITMIME".into());
        }
        if let Some(notify) = submission.dsn.notify {
            arguments.extend(["-N".into(), notify.to_string().to_lowercase().into()]);
        }
        if let Some(ret) = submission.dsn.ret {
            arguments.extend(["-R".into(), ret.to_string().to_lowercase().into()]);
        }
        if let Some(envid) = &submission.dsn.envid {
            arguments.extend(["-V".into(), envid.into()]);
        }
        // An address may begin with '-': behind this it is no option.
        arguments.push("--".into());
        arguments.extend(submission.envelope.to().iter().map(|address| address.to_string().into()));
        arguments
    }

    async fn run(&self, submission: &Submission, work: &Work) -> Result<(), (State, Trouble)> {
        let shown = self.program.display().to_string();
        let deferred = |cause, what: String| (State::Deferred, Trouble::new(Stage::Data, cause, what));
        let mut child = Command::new(&self.program)
            .args(self.arguments(submission))
            .env(DEPTH_VARIABLE, (self.depth + 1).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| deferred(Cause::Configuration, format!("{shown} cannot be started: {error}")))?;
        let stderr = child.stderr.take();
        let complaint = tokio::spawn(async move {
            let mut bytes = Vec::new();
            if let Some(stderr) = stderr {
                // What cannot be read is not shown.
                let _ = stderr.take(MAX_COMPLAINT).read_to_end(&mut bytes).await;
            }
            clean(String::from_utf8_lossy(&bytes).trim())
        });
        let fed = self.feed(&mut child, submission, work).await;
        // Its input is closed by now; without the whole message it must not go on.
        if fed.is_err() {
            let _ = child.start_kill();
        }
        let status = match timeout(self.timeouts.final_reply, child.wait()).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return Err((State::Unknown, Trouble::new(Stage::Final, Cause::Lost, error.to_string()))),
            Err(_) => {
                let what = format!("{shown} did not end within {} s", self.timeouts.final_reply.as_secs_f32());
                return Err((State::Unknown, Trouble::new(Stage::Final, Cause::TimedOut, what)));
            }
        };
        let complaint = complaint.await.unwrap_or_default();
        let says = |what: &str| match complaint.as_str() {
            "" => format!("{shown} {what}"),
            complaint => format!("{shown} {what}: {complaint}"),
        };
        match (fed, status.code()) {
            (Ok(()), Some(0)) => Ok(()),
            // It took the message whole and was killed: it may have passed it on.
            (Ok(()), None) => Err((State::Unknown, Trouble::new(Stage::Final, Cause::Lost, says("was killed")))),
            // Bad data, no such user, no such host (sysexits.h): for good.
            (_, Some(code @ (65 | 67 | 68))) => {
                Err((State::Failed, Trouble::new(Stage::Data, Cause::Refused, says(&format!("refused (exit {code})")))))
            }
            (_, Some(code @ 1..)) => Err(deferred(Cause::Busy, says(&format!("failed (exit {code})")))),
            (Err(trouble), _) if trouble.cause == Cause::Input => Err((State::Failed, trouble)),
            (Err(trouble), _) => Err((State::Deferred, trouble)),
            (Ok(()), Some(code)) => Err(deferred(Cause::Busy, says(&format!("failed (exit {code})")))),
        }
    }

    /// Writes the message; the last block waits for the feed's consent.
    async fn feed(&self, child: &mut Child, submission: &Submission, work: &Work) -> Result<(), Trouble> {
        let Some(mut stdin) = child.stdin.take() else {
            return Err(Trouble::new(Stage::Data, Cause::Internal, "the program has no standard input"));
        };
        let mut blocks = native_blocks(submission);
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
            if is_last {
                let (ack, consent) = oneshot::channel();
                let commit = Step::Commit { ids: vec![submission.id], ack };
                if work.steps.send(commit).await.is_err() || consent.await.is_err() {
                    return Err(Trouble::new(Stage::Data, Cause::Stopped, "stopped by a signal"));
                }
            }
            if let Some(block) = std::mem::replace(&mut held, next) {
                let lost = |error: io::Error| {
                    let what = format!("{} stopped reading: {error}", self.program.display());
                    Trouble::new(Stage::Data, Cause::Lost, what)
                };
                match timeout(self.timeouts.content, stdin.write_all(&block)).await {
                    Ok(written) => written.map_err(lost)?,
                    Err(_) => return Err(Trouble::new(Stage::Data, Cause::TimedOut, "the program does not read")),
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

/// The message with the system's line ends, read on a thread of its own.
fn native_blocks(submission: &Submission) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, blocks) = mpsc::channel(2);
    let content = submission.content.clone();
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

#[cfg(unix)]
fn is_same_file(ours: &std::path::Path, theirs: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    ours == theirs || matches!((identity(ours), identity(theirs)), (Ok(ours), Ok(theirs)) if ours == theirs)
}

#[cfg(not(unix))]
fn is_same_file(ours: &std::path::Path, theirs: &std::path::Path) -> bool {
    ours == theirs
}
