//! `mailsend queue`: what waits to be sent, and what people decide about it. Also the way into it, which the commands that
//! send share.

mod deciding;
mod inlet;
mod later;
mod looking;
mod moment;

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use jiff::Timestamp;

pub(super) use self::inlet::{add, broker, inlet};
pub(super) use self::later::{LaterArgs, Terms, place, priority, warn_of_password};
use super::{
    CliError, Exit,
    args::{CommonArgs, Context, ReportArgs, WhereArgs},
    ui, worker,
};
use crate::{
    config::{
        LogTable, LogTarget, QueueTable, SendmailTable, parse_duration, resolve_log, resolve_queue, resolve_sendmail,
    },
    mail::clean,
    queue::{Drop, Store, Time},
    report::is_attended,
    secret::private,
};

/// How long somebody drains the queue in the background who has only added something.
const BACKGROUND: Duration = Duration::from_secs(10);
/// What is said where something waits for nobody.
const NO_WORKER: &str = "no worker runs: mailsend worker, or mailsend queue run from cron";

/// Look at the queue, and decide about what is in it
#[derive(Debug, Args)]
#[command(after_help = "\
mailsend queue list                              what waits, is held, or is being sent
mailsend queue show 4k7r                         all about the one whose name begins so
mailsend queue retry --all                       do not wait until it is due
mailsend queue run                               send what is due now, and end")]
pub struct QueueArgs {
    #[command(subcommand)]
    command: QueueCommand,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// List messages
    List(looking::ListArgs),
    /// Show all that is known of a message
    Show(looking::ShowArgs),
    /// Show the queue in figures
    Stats(looking::StatsArgs),
    /// Send what is due now, then end
    Run(Box<RunArgs>),
    /// Let waiting messages be due now
    Retry(deciding::NamesArgs),
    /// Let waiting messages wait until they are released
    Hold(deciding::NamesArgs),
    /// Let held messages be sent
    Release(deciding::ReleaseArgs),
    /// Remove messages, whoever has not got them yet
    Remove(deciding::RemoveArgs),
    /// Remove all messages of a kind
    Purge(deciding::PurgeArgs),
}

/// Sends what is due.
#[derive(Debug, Args)]
#[command(after_help = "\
--profile, --server and the other options of where to send are for messages that name neither a profile nor a server.
What was said about the others when they were queued counts for them; --concurrency and --limit count for all.")]
struct RunArgs {
    /// Begin nothing new after this time, and end
    #[arg(long, value_name = "TIME")]
    limit: Option<String>,

    /// Connections at once to each server (pool.max-connections)
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,

    /// For a command that has added something: in a session of its own, without a word
    #[arg(long, hide = true)]
    background: bool,

    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// Does what was asked.
pub fn queue(args: QueueArgs) -> Result<Exit, CliError> {
    match args.command {
        QueueCommand::List(args) => looking::list(&args),
        QueueCommand::Show(args) => looking::show(&args),
        QueueCommand::Stats(args) => looking::stats(&args),
        QueueCommand::Run(args) => run(*args),
        QueueCommand::Retry(args) => deciding::retry(&args),
        QueueCommand::Hold(args) => deciding::hold(&args),
        QueueCommand::Release(args) => deciding::release(&args),
        QueueCommand::Remove(args) => deciding::remove(&args),
        QueueCommand::Purge(args) => deciding::purge(&args),
    }
}

fn run(args: RunArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let limit = match &args.limit {
        Some(text) => Some(parse_duration(text).map_err(|what| CliError::usage(format!("--limit: {what}")))?),
        None => None,
    };
    match args.background {
        true => run_in_background(&args, &context),
        false => worker::drain_once(context, &args.common, limit, args.place, args.concurrency, &args.report),
    }
}

/// Drains the queue for those who have only added something: one for all of them, or each would open connections.
fn run_in_background(args: &RunArgs, context: &Context) -> Result<Exit, CliError> {
    let begin = Instant::now();
    #[cfg(unix)]
    {
        // Only the leader of a group cannot, and it is in nobody's way.
        let _ = rustix::process::setsid();
    }
    let (path, mut store) = own(context)?;
    let lock = private::beside(&path, ".d").join("background");
    let lock = File::options().write(true).create(true).truncate(false).open(&lock).map_err(|error| {
        CliError::new(Exit::CannotCreate, format!("{} cannot be made", lock.display())).source(error)
    })?;
    // What is under way at the end is waited for; somebody else may begin then.
    if let Ok(lock) = lock.try_clone() {
        thread::spawn(move || {
            thread::sleep(BACKGROUND);
            // It is free at our end at the latest.
            let _ = lock.unlock();
        });
    }
    // Who has it looks once more when it is free again, and finds what has brought us here.
    while lock.try_lock().is_ok() {
        let left = BACKGROUND.saturating_sub(begin.elapsed());
        let (context, place) = (args.common.context()?, args.place.clone());
        let exit = worker::drain_once(context, &args.common, Some(left), place, args.concurrency, &args.report)?;
        // It is free at our end at the latest.
        let _ = lock.unlock();
        if exit == Exit::TryAgain || left.is_zero() || store.stats(looking::now())?.due == 0 {
            return Ok(exit);
        }
    }
    Ok(Exit::Success)
}

/// Where the queue is.
///
/// # Errors
/// If there is no place for it.
pub(super) fn file(queue: &QueueTable, context: &Context) -> Result<PathBuf, CliError> {
    Ok(crate::queue::file(queue, &context.environment)?)
}

/// Opens the queue, and makes it where there is none.
///
/// # Errors
/// If it cannot be used.
pub(super) fn open(path: &Path) -> Result<Store, CliError> {
    Ok(Store::open(path)?)
}

/// The queue of `[queue]`, for commands that know no profile.
pub(super) fn own(context: &Context) -> Result<(PathBuf, Store), CliError> {
    let table = resolve_queue(&context.files, &context.environment)?;
    if let Some(url) = &table.url {
        let what = format!("the messages are kept by {url}, where they can only be counted");
        return Err(CliError::usage(what).hint("count them: mailsend queue stats").hint(
            "look at the queue of this machine: mailsend -C FILE queue list, with a FILE that has no queue.url",
        ));
    }
    let path = file(&table, context)?;
    let store = open(&path)?;
    Ok((path, store))
}

/// Says that something lies in our drop directory, and nobody takes it.
pub(super) fn tell_of_dropped(path: &Path, context: &Context) {
    if context.is_quiet || Store::has_worker(path) {
        return;
    }
    // Who cannot look has nothing to tell.
    let Ok(SendmailTable { drop: Some(folder), .. }) = resolve_sendmail(&context.files, &context.environment) else {
        return;
    };
    let count = Drop::open(&folder).ok().filter(Drop::is_ours).and_then(|folder| folder.waiting().ok()).unwrap_or(0);
    if count > 0 {
        ui::tell(&clean(&format!("in {} lie {count} more that nobody has taken yet; {NO_WORKER}", folder.display())));
    }
}

/// Sees to it that somebody sends what was added, or says that nobody does. Where no worker runs it is begun in the
/// background, unless it is due later or `[queue]` leaves it to a worker; `may_stay` says that this may not be enough.
///
/// cron mails every line, so that it is told only who looks, or has named a time that nobody will heed.
pub(super) fn see_off(due: Option<Time>, may_stay: bool, queue: &QueueTable, common: &CommonArgs, context: &Context) {
    // Who takes from RabbitMQ is its affair.
    if queue.url.is_some() {
        return;
    }
    // Where there is none, nothing was added.
    let Ok(path) = file(queue, context) else { return };
    if Store::has_worker(&path) {
        return;
    }
    let is_begun = due.is_none() && queue.drains;
    if is_begun {
        drain_in_background(&path, common, context);
    }
    let is_of_interest = (may_stay || !is_begun) && (is_attended() || context.is_verbose);
    if !context.is_quiet && (due.is_some() || is_of_interest) {
        let when = match due {
            Some(due) => format!("due {:.0}", Timestamp::from_millisecond(due).unwrap_or(Timestamp::MAX)),
            None if is_begun => format!("sent in the background for {} s", BACKGROUND.as_secs()),
            None => "due now".to_owned(),
        };
        ui::tell(&format!("{when}, and {NO_WORKER}"));
    }
}

/// Begins to send what is due. Nobody waits for it, and if it cannot be begun the messages are safe all the same.
fn drain_in_background(path: &Path, common: &CommonArgs, context: &Context) {
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new(program);
    // Its file may have the name of another program, which it would take the place of.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::arg0(&mut command, "mailsend");
    command.args(["queue", "run", "--background"]);
    let config = common.config.clone().or_else(|| context.environment.path("MAILSEND_CONFIG"));
    if let Some(config) = config.and_then(|config| std::path::absolute(config).ok()) {
        command.arg("-C").arg(config);
    }
    if let Ok(path) = std::path::absolute(path) {
        command.env("MAILSEND_QUEUE_PATH", path);
    }
    // Where the configuration lies, also if only the system knows.
    if let Some(home) = context.environment.path("HOME") {
        command.env("HOME", home);
    }
    // What a variable names lies where we are.
    if let Ok(LogTable { target: Some(LogTarget::File(path)), .. }) = resolve_log(&context.files, &context.environment)
        && let Ok(path) = std::path::absolute(path)
    {
        command.env("MAILSEND_LOG_FILE", path);
    }
    let trace = context.trace_file.as_ref().and_then(|path| File::options().append(true).create(true).open(path).ok());
    if trace.is_some() {
        command.arg("--trace");
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(trace.map_or_else(Stdio::null, Stdio::from));
    // Whoever looks for it sees that nobody has come.
    let _ = command.spawn();
}
