//! `mailsend queue retry`, `hold`, `release`, `remove` and `purge`: what people decide.

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
    /// Those that wait
    #[arg(long)]
    waiting: bool,

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
    match args.which.all {
        true => remove_kinds(&[Status::Waiting, Status::Held], args.yes, &args.which.common),
        false => decide(&args.which, &[], "removed", Store::remove),
    }
}

pub(super) fn purge(args: &PurgeArgs) -> Result<Exit, CliError> {
    let kinds = [(Status::Waiting, args.waiting), (Status::Held, args.held), (Status::Done, args.done)];
    let kinds: Vec<Status> = kinds.into_iter().filter(|(_, is_wanted)| *is_wanted).map(|(kind, _)| kind).collect();
    if kinds.is_empty() {
        return Err(CliError::usage("queue purge: which messages?")
            .hint("say it, one or several: --done, --held, --waiting")
            .hint("see: mailsend queue stats"));
    }
    remove_kinds(&kinds, args.yes, &args.common)
}

/// Removes all that stand so, if that is meant.
fn remove_kinds(kinds: &[Status], is_sure: bool, common: &CommonArgs) -> Result<Exit, CliError> {
    let context = common.context()?;
    let (_, mut store) = own(&context)?;
    let stats = store.stats(now())?;
    let counts = kinds.iter().map(|kind| match kind {
        Status::Waiting => (stats.waiting, "that wait"),
        Status::Leased => (stats.leased, "that are leased"),
        Status::Held => (stats.held, "that are held"),
        Status::Done => (stats.done, "that have ended"),
    });
    let words: Vec<String> = counts.clone().map(|(count, words)| format!("{count} {words}")).collect();
    let is_any = counts.map(|(count, _)| count).sum::<u64>() > 0;
    if is_any && !is_sure && !is_meant(&format!("Remove {}?", words.join(", ")))? {
        ui::tell("nothing was removed");
        return Ok(Exit::Success);
    }
    let mut removed = 0;
    for kind in kinds {
        removed += store.purge(*kind).map_err(|error| match error {
            QueueError::Full(_) => CliError::new(Exit::Io, error.to_string())
                .hint("removing needs a little room, too: free 1 MB on that disk by other means, then do it again"),
            error => error.into(),
        })?;
    }
    store.sync()?;
    tell(&context, &format!("removed {removed}"));
    Ok(Exit::Success)
}

/// Does it to every message that is meant, if all names are known; what cannot be done to one is told, and does not stop
/// the others. `states` are those of all.
fn decide(
    args: &NamesArgs,
    states: &[Status],
    done: &str,
    mut change: impl FnMut(&mut Store, &str) -> Result<String, QueueError>,
) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let (_, mut store) = own(&context)?;
    let mut names = Vec::new();
    if args.all {
        store.list(states, &mut |outline| names.push(outline.name.clone()))?;
    }
    for name in &args.names {
        let name = store.show(name)?.outline.name;
        if !names.contains(&name) {
            names.push(name);
        }
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

/// Asks.
///
/// # Errors
/// If nobody is there who could answer.
fn is_meant(question: &str) -> Result<bool, CliError> {
    if !ui::can_ask() {
        return Err(CliError::usage("nobody is at the terminal to say whether that is meant").hint("say it: --yes"));
    }
    ui::is_agreed(question)
}

fn tell(context: &Context, line: &str) {
    if !context.is_quiet && (is_attended() || context.is_verbose) {
        ui::tell(&crate::mail::clean(line));
    }
}
