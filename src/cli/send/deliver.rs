//! Sends a letter, tells what becomes of it, and decides the exit code.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
        mpsc,
    },
    thread,
};

use tokio::sync::oneshot;

use super::{
    SendArgs,
    compose::Letter,
    keep::{self, Deferred, Keeping},
};
use crate::{
    cli::{
        CliError, Exit,
        args::Context,
        outlets::outlets,
        runtime,
        signals::{die_of, listen},
        ui,
    },
    config::{Profile, Server},
    feed::{Told, once, verp},
    ledger::Record,
    mail::{Address, Cause, Envelope, Event, Outcome, Route, Stage, State, Submission, Trouble},
    message::Stamp,
    queue::Added,
    report::{Progress, Records, human_line, is_attended, paint},
    secret,
    smtp::changed,
};

/// Sends the letter.
pub(in crate::cli) fn deliver(
    letter: Letter,
    mut profile: Profile,
    args: &SendArgs,
    context: &Context,
) -> Result<Exit, CliError> {
    if profile.server.is_none() {
        return Err(no_server());
    }
    let (place, report) = (&args.place, &args.report);
    let keeping = args.queue_on_failure.then(|| Keeping::of(args, &profile, context)).transpose()?;
    profile.retry.max_attempts = Some(place.retry.saturating_add(1));
    let records = keep::open(report)?;
    let retry = profile.retry;
    let outlets = outlets(&profile, place, context)?;
    let presenter = Presenter {
        run: Stamp::now().mark(),
        message_id: letter.message_id.clone(),
        from: letter.envelope.from().cloned(),
        records,
        progress: Progress::new(report.progress()),
        is_told: !context.is_quiet && (is_attended() || context.is_verbose),
        is_verbose: context.is_verbose,
        is_quiet: context.is_quiet,
        is_maildir: matches!(profile.server, Some(Server::Maildir { .. })),
        has_profile: profile.name.is_some(),
        has_colour: ui::has_colour(),
        outcomes: Vec::new(),
        deferred: keeping.is_some().then(Vec::new),
    };
    let envelopes = envelopes(&letter, args.message.verp)?;
    let submission = |(number, envelope)| Submission {
        id: number,
        message_id: letter.message_id.clone(),
        envelope,
        content: letter.content.clone(),
        dsn: letter.dsn.clone(),
        has_turn: false,
    };
    let submissions = (1..).zip(envelopes.clone()).map(submission).collect();
    let signal = Arc::new(AtomicI32::new(0));
    let runtime = runtime()?;
    let wants_trace = context.wants_trace;
    let presenter = runtime.block_on(async {
        let mut stop = listen(signal.clone());
        let (telling, presented) = present(presenter);
        // The presenter has ended early only by a defect, which shows below.
        once(submissions, retry, outlets, wants_trace, stop.clone(), |told| drop(telling.send(told))).await;
        drop(telling);
        stop.mark_unchanged();
        tokio::select! {
            presenter = presented => Some(presenter),
            _ = changed(&mut stop) => None,
        }
    });
    // A thread that still reads, writes or waits for a keyring is not waited for.
    runtime.shutdown_background();
    let exit = match presenter {
        Some(Ok(mut presenter)) => {
            let keeping = keeping.filter(|_| signal.load(Ordering::Relaxed) == 0);
            let keeping = keeping.filter(|keeping| {
                presenter.keep(|rest| keeping.add(&letter, rest, &profile, args, context), &envelopes)
            });
            let exit = presenter.finish();
            if let Some(keeping) = keeping {
                keeping.see_off(true, &profile, args, context);
            }
            exit
        }
        Some(Err(_)) => Err(CliError::new(Exit::Internal, "what became of the message could not be shown")),
        None => Ok(Exit::TryAgain),
    };
    match signal.load(Ordering::Relaxed) {
        0 => exit,
        number => {
            if let Err(error) = &exit {
                ui::show(error);
            }
            secret::settle();
            die_of(number);
            exit
        }
    }
}

/// The envelopes that a letter goes out in: one, or one for each recipient.
///
/// # Errors
/// If there is no return path to name recipients in.
pub(super) fn envelopes(letter: &Letter, has_verp: bool) -> Result<Vec<Envelope>, CliError> {
    if has_verp { own_return_paths(&letter.envelope) } else { Ok(vec![letter.envelope.clone()]) }
}

/// An envelope for each recipient, whose return path names it.
fn own_return_paths(envelope: &Envelope) -> Result<Vec<Envelope>, CliError> {
    let Some(sender) = envelope.from() else {
        return Err(CliError::new(Exit::Data, "--verp: there is no return path to put the recipient into"));
    };
    let own = |recipient: &Address| {
        let path = verp(sender, recipient).map_err(|what| CliError::new(Exit::Data, what))?;
        Envelope::new(Some(path), vec![recipient.clone()]).map_err(|error| CliError::new(Exit::Data, error.to_string()))
    };
    envelope.to().iter().map(own).collect()
}

/// Lets the presenter work on a thread of its own: a reader that pauses must not hold the conversation, its time limits
/// or a signal. It comes back when everything is told.
fn present(mut presenter: Presenter) -> (mpsc::Sender<Told>, oneshot::Receiver<Presenter>) {
    let (telling, told) = mpsc::channel();
    let (done, presented) = oneshot::channel();
    thread::spawn(move || {
        told.into_iter().for_each(|told| presenter.told(told));
        // Nobody waits any more after a signal.
        let _ = done.send(presenter);
    });
    (telling, presented)
}

pub(in crate::cli) fn no_server() -> CliError {
    CliError::new(Exit::Configuration, "no server is named and no profile is set up")
        .hint("set up an account: mailsend profile add work --server smtps://USER@HOST --from ADDRESS")
        .hint(
            "or name a server for this call: --server smtp://HOST, or --server maildir:./outbox to try it without one",
        )
}

/// Shows what comes, and keeps the outcomes for the verdict.
struct Presenter {
    run: String,
    message_id: String,
    from: Option<Address>,
    records: Option<Records>,
    progress: Progress,
    is_told: bool,
    is_verbose: bool,
    is_quiet: bool,
    is_maildir: bool,
    has_profile: bool,
    has_colour: bool,
    outcomes: Vec<Outcome>,
    /// Those who may get it later, if it can be kept for them.
    deferred: Option<Vec<Deferred>>,
}

impl Presenter {
    fn told(&mut self, told: Told) {
        match told {
            Told::Settled { route, outcome, attempts } => match &mut self.deferred {
                Some(deferred) if is_passing(&outcome) => deferred.push((outcome, route, attempts)),
                _ => self.settled(outcome, &route, attempts),
            },
            Told::Event(Event::Progress { sent, total, .. }) => self.progress.advance(sent, total),
            Told::Event(Event::Trace(line)) => self.progress.print(&line),
            Told::Event(Event::Note(line)) if self.is_verbose => self.progress.print(&line),
            Told::Event(Event::Warning(line)) if !self.is_quiet => self.progress.print(&format!("warning: {line}")),
            Told::Event(Event::Retry { attempt, pause }) if self.is_told => {
                self.progress.print(&format!("attempt {attempt} follows in {:.1} s", pause.as_secs_f32()));
            }
            Told::Event(_) => {}
        }
    }

    fn settled(&mut self, outcome: Outcome, route: &Route, attempts: u32) {
        if let Some(records) = &mut self.records {
            records.write(&Record {
                run: &self.run,
                row: None,
                message_id: &self.message_id,
                from: self.from.as_ref(),
                outcome: &outcome,
                route,
                attempts,
                is_redelivered: false,
            });
        }
        self.show(&outcome);
        self.outcomes.push(outcome);
    }

    /// Keeps the message for those who may get it later; where that is not possible they stay deferred. Tells whether it
    /// was kept.
    fn keep(&mut self, add: impl FnOnce(&[Envelope]) -> Result<Vec<Added>, CliError>, envelopes: &[Envelope]) -> bool {
        let Some(deferred) = self.deferred.take().filter(|deferred| !deferred.is_empty()) else { return false };
        let rest = |envelope: &Envelope| {
            let is_deferred = |to: &&Address| deferred.iter().any(|(outcome, ..)| outcome.recipient == **to);
            let recipients = envelope.to().iter().filter(is_deferred).cloned().collect();
            Envelope::new(envelope.from().cloned(), recipients).ok()
        };
        let rest: Vec<Envelope> = envelopes.iter().filter_map(rest).collect();
        let added = match add(&rest) {
            Ok(added) => added,
            Err(error) => {
                ui::show(&error);
                deferred.into_iter().for_each(|(outcome, route, attempts)| self.settled(outcome, &route, attempts));
                return false;
            }
        };
        for (outcome, route, attempts) in deferred {
            let place = rest.iter().position(|envelope| envelope.to().contains(&outcome.recipient));
            let Some((name, _)) = place.and_then(|place| added.get(place)) else { continue };
            if !self.is_quiet {
                self.progress.print(&format!("{}; queued as {name}", human_line(&outcome)));
            }
            self.settled(Outcome::queued(outcome.recipient, name), &route, attempts);
        }
        true
    }

    /// A line per recipient: on a terminal for everybody, elsewhere for who was not accepted. What stopped the whole
    /// session is said once, at the end.
    fn show(&self, outcome: &Outcome) {
        if outcome.state == State::Queued {
            // It was told with the reason.
        } else if outcome.state == State::Accepted {
            // Where a maildir's file lies is known nowhere else.
            if self.is_told || (self.is_maildir && !self.is_quiet) {
                self.progress.print(&paint(&human_line(outcome), outcome.state, self.has_colour));
            }
            if self.is_told && outcome.dsn == Some(false) && !self.is_maildir {
                self.progress.print("the server does not offer delivery reports (DSN): none will come");
            }
        } else if session_trouble(outcome).is_none() {
            self.progress.print(&paint(&human_line(outcome), outcome.state, self.has_colour));
            if outcome.state == State::Unknown {
                self.progress.print(&format!("  look for {} at the server before it is sent again", self.message_id));
            }
        }
    }

    fn finish(mut self) -> Result<Exit, CliError> {
        for (outcome, route, attempts) in self.deferred.take().unwrap_or_default() {
            self.settled(outcome, &route, attempts);
        }
        self.progress.finish();
        let exit = Exit::of_message(&self.outcomes);
        let mut stopped: BTreeMap<String, (Trouble, Vec<String>)> = BTreeMap::new();
        for outcome in &self.outcomes {
            if let Some(trouble) = session_trouble(outcome) {
                let entry = stopped.entry(trouble.to_string()).or_insert_with(|| (trouble.clone(), Vec::new()));
                entry.1.push(outcome.recipient.to_string());
            }
        }
        for (trouble, recipients) in stopped.into_values() {
            let state = if trouble.cause == Cause::TooLarge { "refused" } else { "not sent" };
            let mut error = CliError::from(trouble);
            error.excerpt = Some(format!("{state} to {}", shorten(&recipients)));
            ui::show(&error);
        }
        if self.is_maildir && !self.has_profile && !self.is_quiet && exit == Exit::Success {
            ui::tell("next: mailsend profile add NAME --server smtps://USER@HOST --from ADDRESS");
        }
        let written = self.records.take().and_then(Records::finish);
        match written {
            Some((target, error)) => {
                let exit = if exit == Exit::Success { Exit::Io } else { exit };
                Err(CliError::new(exit, format!("--report {target}: the records are not complete")).source(error))
            }
            None => Ok(exit),
        }
    }
}

/// Whether the next hour may bring what this one has not.
fn is_passing(outcome: &Outcome) -> bool {
    let passes = |trouble: &Trouble| matches!(Exit::of_trouble(trouble), Exit::TryAgain | Exit::NoHost);
    let is_stopped = outcome.trouble.as_ref().is_some_and(|trouble| trouble.cause == Cause::Stopped);
    outcome.state == State::Deferred && !is_stopped && outcome.trouble.as_ref().is_none_or(passes)
}

/// Trouble that is nobody's own: it is told once for all.
fn session_trouble(outcome: &Outcome) -> Option<&Trouble> {
    let trouble = outcome.trouble.as_ref()?;
    // A login is asked for at one recipient and missing for all.
    let is_for_all = outcome.reply.is_none() || outcome.stage <= Stage::Auth || trouble.cause == Cause::Login;
    (outcome.state != State::Unknown && is_for_all).then_some(trouble)
}

/// Some names, and how many more.
pub(super) fn shorten(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
