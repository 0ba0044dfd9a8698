//! `mailsend queue retry`, `hold`, `release`, `remove` and `purge`: what people decide.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use super::{looking::now, own};
use crate::{
    cli::{
        CliError, Exit,
        args::{CommonArgs, Context},
        ui,
    },
    queue::{QueueError, Status, Store},
    report::is_attended,
};

/// Which messages.
#[derive(Debug, Args)]
pub struct NamesArgs {
    /// Their names, or the beginnings of them
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,

    /// All for which it can be done
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    common: CommonArgs,
}

/// Which, and for whom.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    which: NamesArgs,

    /// Also to recipients who may have it already: they may get it twice
    ///
    /// The last byte of the message had left for the server, and no reply came. Look for its Message-ID at the server or
    /// ask the recipient first; queue show tells both.
    #[arg(long)]
    unknown: bool,
}

/// Which, and whether that is meant.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    which: NamesArgs,

    /// Without the question that --all asks at a terminal
    #[arg(short, long)]
    yes: bool,
}

/// Which kinds, and whether that is meant.
#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// Those that have ended
    #[arg(long)]
    done: bool,

    /// Those that are held
    #[arg(long)]
    held: bool,

    /// Without the question that is asked at a terminal
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    common: CommonArgs,
}

pub(super) fn retry(args: &NamesArgs) -> Result<Exit, CliError> {
    decide(args, &[Status::Waiting], "due now", Store::retry)
}

pub(super) fn hold(args: &NamesArgs) -> Result<Exit, CliError> {
    decide(args, &[Status::Waiting], "held", Store::hold)
}

pub(super) fn release(args: &ReleaseArgs) -> Result<Exit, CliError> {
    let done = if args.unknown { "released, to those who may have it, too" } else { "released" };
    decide(&args.which, &[Status::Held], done, |store, name| store.release(name, args.unknown))
}

pub(super) fn remove(args: &RemoveArgs) -> Result<Exit, CliError> {
    let states = [Status::Waiting, Status::Held];
    if args.which.all {
        let context = args.which.common.context()?;
        let (_, mut store) = own(&context)?;
        let stats = store.stats(now())?;
        let question = format!("Remove {} that wait and {} that are held?", stats.waiting, stats.held);
        if !is_meant(&question, args.yes, stats.waiting + stats.held)? {
            return Ok(Exit::Success);
        }
    }
    decide(&args.which, &states, "removed", Store::remove)
}

pub(super) fn purge(args: &PurgeArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let (_, mut store) = own(&context)?;
    let stats = store.stats(now())?;
    let is_all = !args.done && !args.held;
    let kinds = [
        (Status::Waiting, is_all, stats.waiting, "that wait"),
        (Status::Held, is_all || args.held, stats.held, "that are held"),
        (Status::Done, is_all || args.done, stats.done, "that have ended"),
    ];
    let kinds: Vec<_> = kinds.into_iter().filter(|(_, is_wanted, ..)| *is_wanted).collect();
    let words: Vec<String> = kinds.iter().map(|(_, _, count, words)| format!("{count} {words}")).collect();
    let count = kinds.iter().map(|(_, _, count, _)| count).sum();
    if !is_meant(&format!("Remove {}?", words.join(", ")), args.yes, count)? {
        return Ok(Exit::Success);
    }
    let mut removed = 0;
    for (status, ..) in kinds {
        removed += store.purge(status)?;
    }
    store.sync()?;
    tell(&context, &format!("removed {removed}"));
    Ok(Exit::Success)
}

/// Does it to every message that is meant; what cannot be done to one is told, and does not stop the others.
fn decide(
    args: &NamesArgs,
    states: &[Status],
    done: &str,
    mut change: impl FnMut(&mut Store, &str) -> Result<String, QueueError>,
) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let (_, mut store) = own(&context)?;
    let mut names = args.names.clone();
    if args.all {
        store.list(states, &mut |outline| names.push(outline.name.clone()))?;
    }
    let mut exit = Exit::Success;
    for name in &names {
        match change(&mut store, name) {
            Ok(name) => tell(&context, &format!("{name} {done}")),
            // Since it was listed it has gone on.
            Err(QueueError::Unknown(_) | QueueError::Standing { .. }) if args.all => {}
            Err(error) => {
                let is_of_message = matches!(
                    error,
                    QueueError::Unknown(_)
                        | QueueError::Ambiguous(_)
                        | QueueError::Standing { .. }
                        | QueueError::OnlyUnknown(_)
                );
                let error = CliError::from(error);
                if !is_of_message {
                    return Err(error);
                }
                exit = error.exit;
                ui::show(&error);
            }
        }
    }
    store.sync()?;
    Ok(exit)
}

/// Asks, unless that is answered already.
///
/// # Errors
/// If nobody is there who could answer.
fn is_meant(question: &str, is_sure: bool, count: u64) -> Result<bool, CliError> {
    if is_sure || count == 0 {
        return Ok(true);
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CliError::usage("nobody is at the terminal to say whether that is meant").hint("say it: --yes"));
    }
    let mut out = io::stderr();
    // Who does not see the question will not answer it.
    let _ = write!(out, "{question} [y/N] ").and_then(|()| out.flush());
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| CliError::new(Exit::Io, "the terminal cannot be read").source(error))?;
    let is_meant = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
    if !is_meant {
        ui::tell("nothing was removed");
    }
    Ok(is_meant)
}

fn tell(context: &Context, line: &str) {
    if !context.is_quiet && (is_attended() || context.is_verbose) {
        ui::tell(&crate::mail::clean(line));
    }
}
