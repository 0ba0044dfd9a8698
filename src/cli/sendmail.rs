//! Called as `sendmail`, `mailq` or `newaliases`, or as `mailsend sendmail`: takes the place of /usr/sbin/sendmail.
//!
//! What programs say and expect is theirs: options, exit codes, the listing. What becomes of a message is that of every
//! other: a profile is chosen, it is kept in the queue, a worker sends it.

mod dialogue;
mod options;
mod queue;

use std::{ffi::OsString, path::Path};

use clap::Args;

pub(super) use self::options::Mode;
use self::options::Options;
use super::{CliError, Exit, args::CommonArgs, ui};

/// Take a message as sendmail does
#[derive(Debug, Args)]
pub struct SendmailArgs {
    /// Options and recipients as sendmail takes them
    #[arg(value_name = "WORD", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) words: Vec<OsString>,
}

/// What the name of the program asks for, if it is one of sendmail's.
pub(super) fn mode_of(name: &Path) -> Option<Mode> {
    match name.file_name()?.to_str()? {
        "sendmail" => Some(Mode::Message),
        "mailq" => Some(Mode::List),
        "newaliases" => Some(Mode::Aliases),
        _ => None,
    }
}

/// Does what a caller of sendmail asks for; `words` stand behind the name of the program.
pub(super) fn sendmail(mode: Mode, words: &[OsString]) -> Result<Exit, CliError> {
    let options = Options::parse(mode, words)?;
    let (quiet, verbose) = (!options.is_verbose, options.is_verbose);
    let common = CommonArgs { config: options.config.clone(), quiet, verbose, trace: false };
    match &options.mode {
        Mode::Aliases | Mode::Hosts => Ok(Exit::Success),
        Mode::Daemon => {
            ui::tell("no daemon is needed: mailsend worker sends what is in the queue; nothing listens");
            Ok(Exit::Success)
        }
        Mode::List => queue::list(&common.context()?),
        Mode::Run(which) => queue::run(which, common.context()?, &common),
        Mode::Message | Mode::Dialogue | Mode::Verify => Ok(Exit::Success),
    }
}
