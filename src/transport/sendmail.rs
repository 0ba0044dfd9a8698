//! The door to a sendmail program of this machine, started once per message.
//!
//! Not lettre's own transport: that one wants the whole message in memory and keeps neither exit code nor time limit.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, ChildStdin, Command},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{is_of_the_way, maildir::NativeLines, same_for_all};
use crate::{
    config::Timeouts,
    mail::{Cause, Stage, State, Step, Stop, Submission, Trouble, clean},
    message::Blocks,
    secret,
    smtp::{Duty, Supply, changed},
};

/// Counts programs that call each other in a circle.
const DEPTH_VARIABLE: &str = "MAILSEND_DEPTH";
const MAX_DEPTH: u32 = 5;
/// Most of what a program has to say about its failure.
const MAX_COMPLAINT: u64 = 4 * 1024;
/// A daemon that it leaves behind may keep its standard error open for ever.
const COMPLAINT_WAIT: Duration = Duration::from_secs(1);

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

    /// Runs the program for a message; tells what speaks against it.
    pub(super) async fn carry(&self, submission: &Submission, duty: &mut Duty<impl Supply>) -> Option<Trouble> {
        let start = Instant::now();
        let (state, trouble) = match self.run(submission, duty).await {
            Ok(()) => (State::Accepted, None),
            Err((state, trouble)) => (state, Some(trouble)),
        };
        let stage = trouble.as_ref().map_or(Stage::Data, |trouble| trouble.stage);
        let mut outcomes = same_for_all(submission, state, stage, trouble.as_ref(), None, start.elapsed());
        for outcome in &mut outcomes {
            outcome.dsn = submission.dsn.is_wanted().then_some(true);
        }
        let is_deferred = state == State::Deferred;
        duty.settle(submission.id, outcomes).await;
        trouble.filter(|trouble| is_deferred && is_of_the_way(trouble))
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

    async fn run(&self, submission: &Submission, duty: &mut Duty<impl Supply>) -> Result<(), (State, Trouble)> {
        let shown = self.program.display().to_string();
        let mut stop = duty.stop.clone();
        // If we are killed, the program takes the end of its input for the end of the message: nobody knows what becomes
        // of it from its start on.
        let is_allowed = tokio::select! {
            biased;
            () = given_up(&mut stop) => false,
            is_allowed = consent(submission.id, &duty.steps) => is_allowed,
        };
        if !is_allowed {
            return Err((State::Deferred, Trouble::new(Stage::Data, Cause::Stopped, stop.borrow().reason())));
        }
        let mut running = Running::start(
            Command::from(secret::command(&self.program))
                .args(self.arguments(submission))
                .env(DEPTH_VARIABLE, (self.depth + 1).to_string()),
        )
        .map_err(|error| {
            let what = format!("{shown} cannot be started: {error}");
            (State::Deferred, Trouble::new(Stage::Data, Cause::Configuration, what))
        })?;
        let ended = tokio::select! {
            biased;
            () = given_up(&mut stop) => None,
            ended = self.talk(&mut running, submission) => Some(ended),
        };
        let has_left = running.stdin.is_none();
        let fed = match ended {
            Some(Ok(status)) => return self.verdict(status, &running.complaint().await),
            Some(Err(trouble)) => trouble,
            None => Trouble::new(Stage::Data, Cause::Stopped, stop.borrow().reason()),
        };
        // It must not take the end of its input for the end of the message.
        let status = running.kill().await;
        if has_left {
            return Err((State::Unknown, Trouble { stage: Stage::Final, ..fed }));
        }
        // It may have said why it does not read on.
        match status.and_then(|status| status.code()) {
            Some(code) if fed.cause == Cause::Lost => Err(self.refusal(code, &running.complaint().await)),
            _ if fed.cause == Cause::Input => Err((State::Failed, fed)),
            _ => Err((State::Deferred, fed)),
        }
    }

    /// Gives the whole message and waits for the end.
    async fn talk(&self, running: &mut Running, submission: &Submission) -> Result<ExitStatus, Trouble> {
        self.feed(&mut running.stdin, submission).await?;
        match timeout(self.timeouts.final_reply, running.child.wait()).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(Trouble::new(Stage::Final, Cause::Lost, error.to_string())),
            Err(_) => {
                let limit = self.timeouts.final_reply.as_secs_f32();
                let what = format!("{} did not end within {limit} s", self.program.display());
                Err(Trouble::new(Stage::Final, Cause::TimedOut, what))
            }
        }
    }

    fn verdict(&self, status: ExitStatus, complaint: &str) -> Result<(), (State, Trouble)> {
        match status.code() {
            Some(0) => Ok(()),
            Some(code) => Err(self.refusal(code, complaint)),
            // It took the message whole and was killed: it may have passed it on.
            None => Err((State::Unknown, Trouble::new(Stage::Final, Cause::Lost, self.says("was killed", complaint)))),
        }
    }

    fn refusal(&self, code: i32, complaint: &str) -> (State, Trouble) {
        let (state, stage, cause, what) = match code {
            // Bad data, no such user, no such host (sysexits.h): for good.
            65 | 68 => (State::Failed, Stage::Data, Cause::Refused, "refused"),
            67 => (State::Failed, Stage::Rcpt, Cause::Refused, "refused"),
            _ => (State::Deferred, Stage::Data, Cause::Busy, "failed"),
        };
        (state, Trouble::new(stage, cause, self.says(&format!("{what} (exit {code})"), complaint)))
    }

    fn says(&self, what: &str, complaint: &str) -> String {
        let shown = self.program.display();
        if complaint.is_empty() { format!("{shown} {what}") } else { format!("{shown} {what}: {complaint}") }
    }

    /// Writes the message. `stdin` is taken away with its end.
    async fn feed(&self, stdin: &mut Option<ChildStdin>, submission: &Submission) -> Result<(), Trouble> {
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
            if let Some(block) = std::mem::replace(&mut held, next) {
                let lost = |error: io::Error| {
                    let what = format!("{} stopped reading: {error}", self.program.display());
                    Trouble::new(Stage::Data, Cause::Lost, what)
                };
                let writing = async {
                    match stdin {
                        Some(stdin) => stdin.write_all(&block).await,
                        None => Err(io::ErrorKind::BrokenPipe.into()),
                    }
                };
                match timeout(self.timeouts.content, writing).await {
                    Ok(written) => written.map_err(lost)?,
                    Err(_) => return Err(Trouble::new(Stage::Data, Cause::TimedOut, "the program does not read")),
                }
            }
            if is_last {
                *stdin = None;
                return Ok(());
            }
        }
    }
}

/// Whether the feed consents to this submission.
async fn consent(id: u64, steps: &mpsc::Sender<Step>) -> bool {
    let (ack, consent) = oneshot::channel();
    steps.send(Step::Commit { ids: vec![id], ack }).await.is_ok() && consent.await.is_ok()
}

/// The program, its standard input while the message has not left whole, and what it complains of.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    complaining: JoinHandle<()>,
    complaint: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    /// Starts it in a process group of its own: a signal from the terminal is ours to pass on.
    fn start(command: &mut Command) -> io::Result<Self> {
        #[cfg(unix)]
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let complaint = Arc::<Mutex<Vec<u8>>>::default();
        let complaining = tokio::spawn(listen(child.stderr.take(), complaint.clone()));
        Ok(Self { stdin: child.stdin.take(), child, complaining, complaint })
    }

    /// Ends it and what it has started, and only then its input. `None` if it was killed, or nobody knows.
    async fn kill(&mut self) -> Option<ExitStatus> {
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
    async fn complaint(&mut self) -> String {
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
async fn given_up(stop: &mut watch::Receiver<Stop>) {
    stop.mark_changed();
    while changed(stop).await < Stop::Drain {}
    let again = async { while *stop.borrow() != Stop::Now && changed(stop).await != Stop::Now {} };
    // Either is the end.
    let _ = timeout(Stop::DRAIN, again).await;
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
