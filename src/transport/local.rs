//! What an alias leads to beside addresses: a mailbox file, a maildir, a command. One message, at once, with the rights of
//! whoever sends it.

use std::{path::Path, process::ExitStatus};

use tokio::{process::Command, sync::watch, task::spawn_blocking};

use super::{
    maildir::Maildir,
    mbox,
    program::{DEPTH_VARIABLE, MAX_DEPTH, Running, depth, given_up},
};
use crate::{
    config::{LocalPlace, Timeouts},
    mail::{Address, Cause, Content, Stage, Stop, Trouble},
    secret,
};

/// Delivers a message to `place`. `None` of a sender is the null sender.
///
/// # Errors
/// Names the place. [`Cause::Busy`], [`Cause::TimedOut`] and [`Cause::Stopped`] may pass; [`Cause::Output`] is a file that
/// cannot be written, [`Cause::Refused`] a command that has failed, [`Cause::Input`] a message that cannot be read.
pub async fn deliver_locally(
    place: &LocalPlace,
    content: &Content,
    sender: Option<&Address>,
    timeouts: Timeouts,
    stop: &watch::Receiver<Stop>,
) -> Result<(), Trouble> {
    match place {
        place if place.is_nowhere() => Ok(()),
        LocalPlace::File(path) => {
            let (path, content, sender) = (path.clone(), content.clone(), sender.cloned());
            let written = spawn_blocking(move || match is_folder(&path) {
                true => Maildir::new(path).deliver(&content).map(drop),
                false => mbox::append(&path, &content, sender.as_ref(), mbox::LOCK_WAIT),
            });
            written.await.unwrap_or_else(|error| Err(Trouble::new(Stage::Data, Cause::Internal, error.to_string())))
        }
        LocalPlace::Command(command) => run(command, content, timeouts, stop.clone()).await,
    }
}

/// A name that ends with `/` is that of a maildir.
fn is_folder(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// Gives the message to a shell command.
async fn run(
    command: &str,
    content: &Content,
    timeouts: Timeouts,
    mut stop: watch::Receiver<Stop>,
) -> Result<(), Trouble> {
    let name = format!("|{command}");
    let depth = depth();
    if depth >= MAX_DEPTH {
        let what = format!("{name} calls mailsend, which calls it again");
        return Err(Trouble::new(Stage::Data, Cause::Configuration, what).hint("let the alias lead to an address"));
    }
    let mut shell = Command::from(secret::command("/bin/sh"));
    shell.args(["-c", command]).env(DEPTH_VARIABLE, (depth + 1).to_string());
    let mut running = Running::start(&name, &mut shell).map_err(|error| {
        Trouble::new(Stage::Data, Cause::Configuration, format!("{name} cannot be started: {error}"))
    })?;
    let ended = tokio::select! {
        biased;
        () = given_up(&mut stop) => Err(Trouble::new(Stage::Data, Cause::Stopped, stop.borrow().reason())),
        ended = talk(&mut running, content, timeouts) => ended,
    };
    match ended {
        Ok(status) => verdict(&name, status, &running.complaint().await),
        Err(trouble) => {
            // It must not take the end of its input for the end of the message.
            running.kill().await;
            Err(trouble)
        }
    }
}

/// Gives the message and waits for the end. A command that has read enough decides by its exit code.
async fn talk(running: &mut Running, content: &Content, timeouts: Timeouts) -> Result<ExitStatus, Trouble> {
    match running.feed(content, timeouts.content).await {
        Err(trouble) if trouble.cause != Cause::Lost => Err(trouble),
        _ => running.end(timeouts.final_reply).await,
    }
}

fn verdict(name: &str, status: ExitStatus, complaint: &str) -> Result<(), Trouble> {
    let (cause, how) = match status.code() {
        Some(0) => return Ok(()),
        // EX_TEMPFAIL of sysexits.h
        Some(75) => (Cause::Busy, "wants the message later (exit 75)".to_owned()),
        Some(code) => (Cause::Refused, format!("failed (exit {code})")),
        None => (Cause::Refused, "was killed".to_owned()),
    };
    let what = if complaint.is_empty() { format!("{name} {how}") } else { format!("{name} {how}: {complaint}") };
    Err(Trouble::new(Stage::Data, cause, what))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::config::{Environment, Files, Request, resolve};
    use std::{fs, time::Duration};

    fn timeouts() -> Timeouts {
        resolve(&Request::default(), &Files::default(), &Environment::default()).unwrap().timeouts
    }

    async fn deliver(place: LocalPlace, timeouts: Timeouts) -> Result<(), (Cause, String)> {
        let content = Content::from_bytes(b"Subject: x\r\n\r\nFrom me\r\n".to_vec());
        let (_sender, stop) = watch::channel(Stop::No);
        let delivered = deliver_locally(&place, &content, None, timeouts, &stop).await;
        delivered.map_err(|trouble| (trouble.cause, trouble.what))
    }

    #[tokio::test]
    async fn a_command_gets_the_message_and_its_exit_code_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("got");
        let run = |command: String| deliver(LocalPlace::Command(command), timeouts());
        let save = format!("cat > '{0}'; echo \"$MAILSEND_DEPTH$MAILSEND_PASSWORD\" >> '{0}'", path.display());
        assert_eq!(run(save).await, Ok(()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "Subject: x\n\nFrom me\n1\n");
        assert_eq!(run("exit 0".to_owned()).await, Ok(()));
        let (cause, what) = run("cat > /dev/null; echo no room >&2; exit 75".to_owned()).await.unwrap_err();
        assert!(cause == Cause::Busy && what.ends_with("later (exit 75): no room"), "{what}");
        let (cause, what) = run("echo 'no \u{1b}[2J' >&2; exit 3".to_owned()).await.unwrap_err();
        assert!(cause == Cause::Refused && what.ends_with("failed (exit 3): no \u{FFFD}[2J"), "{what}");
        let (cause, what) = run("kill -9 $$".to_owned()).await.unwrap_err();
        assert!(cause == Cause::Refused && what.ends_with("was killed"), "{what}");
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_ended() {
        let limits = Timeouts { final_reply: Duration::from_millis(200), ..timeouts() };
        let hangs = LocalPlace::Command("cat > /dev/null; sleep 600 & wait".to_owned());
        let (cause, what) = deliver(hangs, limits).await.unwrap_err();
        assert!(cause == Cause::TimedOut && what.contains("did not end within 0.2 s"), "{what}");
    }

    #[tokio::test]
    async fn files_folders_and_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for _ in 0..2 {
            assert_eq!(deliver(LocalPlace::File(path("box")), timeouts()).await, Ok(()));
            assert_eq!(deliver(LocalPlace::File(path("dir/")), timeouts()).await, Ok(()));
        }
        assert_eq!(fs::read_to_string(path("box")).unwrap().matches("Subject: x\n").count(), 2);
        assert_eq!(fs::read_dir(path("dir/new")).unwrap().count(), 2);
        assert_eq!(deliver(LocalPlace::File("/dev/null".into()), timeouts()).await, Ok(()));
        let (cause, what) = deliver(LocalPlace::File(path("none/box")), timeouts()).await.unwrap_err();
        assert!(cause == Cause::Output && what.contains("none/box"), "{what}");
    }
}
