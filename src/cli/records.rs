//! Where the records of a command go: into the report that its options ask for, and into the log that the configuration
//! names.

use super::{
    CliError, Exit,
    args::{Context, ReportArgs},
};
use crate::{
    config::resolve_log,
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

fn open_report(target: Target, report: &ReportArgs) -> Result<Records, CliError> {
    Records::open(target.clone(), report.format()).map_err(|error| {
        CliError::new(Exit::CannotCreate, format!("--report {target} cannot be opened for writing")).source(error)
    })
}
