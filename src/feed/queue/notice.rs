//! What is told of a message that has failed: a report to its sender, or a command that takes its record.

use std::{io, process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::{milliseconds_of, open::Settled};
use crate::{
    mail::{DsnRequest, Envelope, Submission},
    message::{Failed, Stamp, Undelivered, failure_report},
    net::host_name,
    queue::{Entry, Job, Place},
    secret,
};

/// A command for failures may take so long.
const LIMIT: Duration = Duration::from_secs(60);

/// A message that has failed for some recipients.
pub(super) struct Notice {
    pub name: String,
    pub place: Place,
    pub has_expired: bool,
    pub submission: Submission,
    pub failed: Vec<Settled>,
}

impl Notice {
    /// The report to its sender, if it is to have one. A report that fails has no sender, and none follows.
    ///
    /// # Errors
    /// With a sentence for people, if its header cannot be read.
    pub fn report(&self, entry: Option<&Entry>, now: i64, lifetime: Duration) -> Result<Option<Job>, String> {
        let Submission { message_id, envelope, content, dsn, .. } = &self.submission;
        // RFC 3461, 6.2: NEVER is respected, and so is a wish for other reports only.
        let is_wanted = dsn.notify.is_none_or(|notify| notify.failure);
        let (Some(sender), true) = (envelope.from(), is_wanted) else { return Ok(None) };
        let last_words = |address: &str| {
            let known = entry?.all.iter().find(|recipient| recipient.address == address)?;
            known.text.clone()
        };
        let failed = self.failed.iter().map(|(outcome, route)| Failed {
            outcome,
            route,
            expired: self.has_expired.then(|| last_words(outcome.recipient.as_ref())),
        });
        let undelivered = Undelivered {
            sender,
            message_id,
            content,
            dsn,
            arrival: entry.map(|entry| entry.outline.added),
            failed: failed.collect(),
        };
        let fail =
            |error: &dyn std::fmt::Display| format!("no report can be made of the failure of {message_id}: {error}");
        let message = failure_report(&undelivered, &host_name(), &mut Stamp::now()).map_err(|error| fail(&error))?;
        let envelope = Envelope::new(None, vec![sender.clone()]).map_err(|error| fail(&error))?;
        Ok(Some(Job {
            message_id: message.message_id,
            envelope,
            content: message.content,
            dsn: DsnRequest::default(),
            place: self.place.clone(),
            priority: 0,
            due: None,
            expires: now.saturating_add(milliseconds_of(lifetime)),
            key: None,
        }))
    }
}

/// Runs the command with the record on its standard input. Its output goes where our errors go: ours may be
/// records.
///
/// # Errors
/// With a sentence for people.
pub(super) async fn run(command: String, record: String) -> Result<(), String> {
    let mut shell = Command::from(secret::command("/bin/sh"));
    shell.args(["-c", &command]).stdin(Stdio::piped()).stdout(io::stderr()).kill_on_drop(true);
    let ended = timeout(LIMIT, async {
        let mut child = shell.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A command that does not read it all has seen enough.
            let _ = input.write_all(format!("{record}\n").as_bytes()).await;
        }
        child.wait().await
    });
    match ended.await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("the command for failures failed ({status})")),
        Ok(Err(error)) => Err(format!("the command for failures cannot run: {error}")),
        Err(_) => Err(format!("the command for failures was ended after {} s", LIMIT.as_secs())),
    }
}
