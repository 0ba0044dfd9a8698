//! Takes messages of programs that believe to talk to sendmail: each is safe on the disk before the program hears of it.

use jiff::Zoned;

use super::{
    Cli, CliError, Exit,
    args::{CommonArgs, Context, WhereArgs},
    queue::{self, LaterArgs},
    records,
    send::{compose::Letter, deliver::deliver, no_server},
    ui,
};
use crate::{
    config::{Files, Profile, SubmissionMode, resolve_sendmail},
    mail::Route,
    message::Stamp,
    queue::{Drop, Job, QueueError},
    report::Records,
};

/// What came of messages that were handed over.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Taken {
    /// They are safe, and have these names.
    Kept(Vec<String>),
    /// They were sent, or not, while the program waited.
    Sent(Exit),
}

impl Taken {
    /// The code that callers of sendmail know (sysexits.h). What may have been sent to somebody is not to be tried again.
    pub fn exit(&self) -> Exit {
        match self {
            Taken::Kept(_) => Exit::Success,
            Taken::Sent(Exit::Partial) => Exit::Unavailable,
            Taken::Sent(exit) => *exit,
        }
    }
}

/// Takes these messages as `[sendmail] mode` says: all, or none where they are kept.
///
/// # Errors
/// 75, if they could not be made safe; 78, if nobody could ever send them.
pub(in crate::cli) fn submit(
    letters: Vec<Letter>,
    profile: &Profile,
    context: &Context,
    common: &CommonArgs,
) -> Result<Taken, CliError> {
    if profile.server.is_none() {
        return Err(no_server());
    }
    let shared = shared(profile)?;
    if profile.sendmail.mode == SubmissionMode::Direct && shared.is_none() {
        return send_now(letters, profile, context, common);
    }
    let terms = LaterArgs::default().terms(&profile.queue, &Zoned::now(), context.is_quiet)?;
    let place = queue::place(profile, &WhereArgs::default(), context)?;
    let job = |letter: Letter| Job {
        message_id: letter.message_id,
        envelope: letter.envelope,
        content: letter.content,
        dsn: letter.dsn,
        place: place.clone(),
        priority: 0,
        due: None,
        expires: terms.expires,
        key: None,
    };
    let jobs: Vec<Job> = letters.into_iter().map(job).collect();
    let log = if shared.is_some() { records::log_of_many(context)? } else { records::log(context)? };
    let names: Vec<String> = match &shared {
        Some(folder) => folder.add_all(&jobs).map_err(|error| match error {
            QueueError::Unfit(_) => error.into(),
            error => not_safe(error.into()),
        })?,
        None => {
            let added = queue::add(&jobs, &profile.queue, context).map_err(not_safe)?;
            added.into_iter().map(|(name, _)| name).collect()
        }
    };
    note(&jobs, &names, profile, Records::default().with_log(log));
    if context.is_verbose {
        names.iter().for_each(|name| ui::tell(&format!("queued as {name}")));
    }
    if shared.is_some() {
        return Ok(Taken::Kept(names));
    }
    let mut table = profile.queue.clone();
    table.drains &= profile.sendmail.mode == SubmissionMode::QueueThenTry;
    queue::see_off(None, false, &table, common, context);
    Ok(Taken::Kept(names))
}

/// What holds for programs where the machine has a mail service of its own: the system's configuration alone, whatever
/// profiles the user has. The service knows neither them nor their passwords.
///
/// # Errors
/// Of the configuration.
pub(in crate::cli) fn service_context(mut context: Context) -> Result<Context, CliError> {
    let Some(system) = &context.files.system else { return Ok(context) };
    let files = Files { user: None, system: Some(system.clone()), places: context.files.places.clone() };
    let table = resolve_sendmail(&files, &context.environment)?;
    if table.drop.as_deref().is_some_and(|path| Drop::open(path).is_ok_and(|folder| !folder.is_ours())) {
        context.files = files;
    }
    Ok(context)
}

/// The folder of this machine's mail service, unless this is its worker's own mail.
fn shared(profile: &Profile) -> Result<Option<Drop>, CliError> {
    let folder = profile.sendmail.drop.as_deref().map(Drop::open).transpose()?;
    Ok(folder.filter(|folder| !folder.is_ours()))
}

/// Writes into the log who waits in the queue now.
fn note(jobs: &[Job], names: &[String], profile: &Profile, mut records: Records) {
    let server = profile.server.as_ref().map_or_else(String::new, ToString::to_string);
    let route = Route { profile: profile.name.clone(), server };
    let run = Stamp::now().mark();
    for (job, name) in jobs.iter().zip(names) {
        records::queued(&mut records, &run, job, name, &route);
    }
    // There is no file or reader that could have failed.
    let _ = records.finish();
}

/// A queue that cannot take it now may take it later, whatever ails it.
fn not_safe(error: CliError) -> CliError {
    match error.exit {
        // What never fits does not fit later.
        Exit::Configuration | Exit::Usage | Exit::Data | Exit::NoInput => error,
        // Somebody may have it: whoever tries again would send it twice.
        Exit::Partial => CliError { exit: Exit::Unavailable, ..error },
        _ => CliError { exit: Exit::TryAgain, ..error },
    }
}

fn send_now(
    letters: Vec<Letter>,
    profile: &Profile,
    context: &Context,
    common: &CommonArgs,
) -> Result<Taken, CliError> {
    let mut worst = Exit::Success;
    for letter in letters {
        let args = Cli::plain(common)?.send;
        match deliver(letter, profile.clone(), &args, context)? {
            Exit::Success => {}
            exit => worst = exit,
        }
    }
    Ok(Taken::Sent(worst))
}
