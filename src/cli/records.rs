//! Where the records of a command go: into the report that its options ask for, and into the log that the configuration
//! names.

use super::{
    CliError, Exit,
    args::{Context, ReportArgs},
};
use crate::{
    config::{LogTarget, resolve_log},
    ledger::Record,
    mail::{Outcome, Route},
    queue::Job,
    report::{Format, Log, Records, Target},
};

/// Opens both, as far as they are wanted.
///
/// # Errors
/// If the report cannot be written, or `[log]` is wrong.
pub(super) fn open(report: &ReportArgs, context: &Context) -> Result<Records, CliError> {
    let records = report.target().map_or_else(|| Ok(Records::default()), |target| open_report(target, report))?;
    Ok(records.with_log(log(context)?))
}

/// The same for a command whose lines for standard output are to be passed on to somebody else.
///
/// # Errors
/// As of [`open`].
pub(super) fn open_passing<P: FnMut(Vec<u8>) -> bool + Send + 'static>(
    report: &ReportArgs,
    context: &Context,
    pass: P,
) -> Result<Records, CliError> {
    match report.target() {
        Some(Target::Stdout) => {
            let out = Box::new(super::ui::Passing::new(pass));
            let records = Records::through(out, report.format().unwrap_or(Format::Human));
            Ok(records.with_log(log(context)?))
        }
        _ => open(report, context),
    }
}

/// The log.
///
/// # Errors
/// If `[log]` is wrong.
pub(super) fn log(context: &Context) -> Result<Option<Log>, CliError> {
    Ok(Log::open(&resolve_log(&context.files, &context.environment)?, &context.tag))
}

/// The log of a command that leaves mail to the worker of another user, whose file is not for everybody to write: who took
/// the mail is then noted by that worker.
///
/// # Errors
/// As of [`log`].
pub(super) fn log_of_many(context: &Context) -> Result<Option<Log>, CliError> {
    if is_file(context)? { Ok(None) } else { log(context) }
}

/// The log of that worker, where it notes what others cannot.
///
/// # Errors
/// As of [`log`].
pub(super) fn log_for_many(context: &Context) -> Result<Option<Log>, CliError> {
    if is_file(context)? { log(context) } else { Ok(None) }
}

fn is_file(context: &Context) -> Result<bool, CliError> {
    let table = resolve_log(&context.files, &context.environment)?;
    Ok(matches!(table.target, Some(LogTarget::File(_))))
}

/// Writes who waits in the queue now, under this name.
pub(super) fn queued(records: &mut Records, run: &str, job: &Job, name: &str, route: &Route) {
    for recipient in job.envelope.to() {
        records.write(&Record {
            run,
            row: None,
            message_id: &job.message_id,
            from: job.envelope.from(),
            outcome: &Outcome::queued(recipient.clone(), name),
            route,
            attempts: 0,
            is_redelivered: false,
        });
    }
}

fn open_report(target: Target, report: &ReportArgs) -> Result<Records, CliError> {
    Records::open(target.clone(), report.format()).map_err(|error| {
        CliError::new(Exit::CannotCreate, format!("--report {target} cannot be opened for writing")).source(error)
    })
}
