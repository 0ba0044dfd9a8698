//! The door to a sendmail program of this machine, started once per message.
//!
//! Not lettre's own transport: that one wants the whole message in memory and keeps neither exit code nor time limit.

use std::{env, ffi::OsString, fs, path::PathBuf, process::ExitStatus};

use tokio::{
    process::Command,
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    is_of_the_way,
    program::{DEPTH_VARIABLE, MAX_DEPTH, Running, depth, given_up},
    same_for_all,
};
use crate::{
    config::Timeouts,
    mail::{Cause, Stage, State, Step, Submission, Trouble},
    secret,
    smtp::{Duty, Supply},
};

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
        let depth = depth();
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
            &shown,
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
        let has_left = running.has_all();
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
        running.feed(&submission.content, self.timeouts.content).await?;
        running.end(self.timeouts.final_reply).await
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
}

/// Whether the feed consents to this submission.
async fn consent(id: u64, steps: &mpsc::Sender<Step>) -> bool {
    let (ack, consent) = oneshot::channel();
    steps.send(Step::Commit { ids: vec![id], ack }).await.is_ok() && consent.await.is_ok()
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
