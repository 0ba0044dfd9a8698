//! Called as `sendmail`, `mailq` or `newaliases`, or as `mailsend sendmail`: takes the place of /usr/sbin/sendmail.
//!
//! What programs say and expect is theirs: options, exit codes, the listing. What becomes of a message is that of every
//! other: a profile is chosen, it is kept in the queue, a worker sends it.

mod dialogue;
mod intake;
mod options;
mod queue;
mod verify;

use std::{
    ffi::OsString,
    io::{self, ErrorKind},
    slice,
};

use clap::Args;
use tempfile::SpooledTempFile;

pub(super) use self::options::Mode;
use self::{
    intake::{Intake, Offer},
    options::Options,
};
use super::{
    CliError, Exit,
    args::{CommonArgs, Context},
    printed,
    submit::{Taken, service_context},
    ui,
};
use crate::{
    config::{Aliases, resolve_sendmail},
    mail::{Address, clean},
    smtp::{Refusal, Transaction},
};

/// Take a message as sendmail does
#[derive(Debug, Args)]
pub struct SendmailArgs {
    /// Options and recipients as sendmail takes them
    #[arg(value_name = "WORD", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) words: Vec<OsString>,
}

const HELP: &str = "\
sendmail [-t] [-i] [-f ADDRESS] [-F NAME] [-v] [--] ADDRESS... < MESSAGE

This is mailsend, in the place of sendmail.
  -t         recipients are those of the header, too
  -i         a line with a lone dot is part of the message
  -f, -r     the return path, <> for none
  -bp, -q    print the queue; send what is in it
  -bs, -bv   speak SMTP on standard input; say where recipients go
See man mailsend-sendmail.";

/// What the name of the program asks for, if it is one of sendmail's.
pub(super) fn mode_of(name: &str) -> Option<Mode> {
    match name {
        "sendmail" => Some(Mode::Message),
        "mailq" => Some(Mode::List),
        "newaliases" => Some(Mode::Aliases),
        _ => None,
    }
}

/// Does what a caller of sendmail asks for; `words` stand behind the name of the program.
pub(super) fn sendmail(mode: Mode, words: &[OsString]) -> Result<Exit, CliError> {
    if let [word] = words
        && let Some(text) = [("--help", HELP), ("--version", concat!("mailsend ", env!("CARGO_PKG_VERSION")))]
            .into_iter()
            .find_map(|(option, text)| (word == option).then_some(text))
    {
        return printed(ui::print(&format!("{text}\n")));
    }
    let options = Options::parse(mode, words)?;
    let (quiet, verbose) = (!options.is_verbose, options.is_verbose);
    let common = CommonArgs { config: options.config.clone(), quiet, verbose, trace: false };
    match &options.mode {
        Mode::Hosts => Ok(Exit::Success),
        Mode::Aliases => check_aliases(&context(&options, &common)?),
        Mode::Daemon => {
            ui::tell("no daemon is needed: mailsend worker sends what is in the queue; nothing listens");
            Ok(Exit::Success)
        }
        Mode::List => queue::list(&context(&options, &common)?),
        Mode::Run(which) => queue::run(which, context(&options, &common)?, &common),
        Mode::Verify => {
            let context = context(&options, &common)?;
            verify::verify(&options.recipients, &Intake::new(&context, &common)?)
        }
        Mode::Message => {
            let context = context(&options, &common)?;
            message(options, &Intake::new(&context, &common)?)
        }
        Mode::Dialogue => {
            let context = context(&options, &common)?;
            serve(&Intake::new(&context, &common)?)
        }
    }
}

/// There is no database to be made anew; what is wrong with the files can be told.
fn check_aliases(context: &Context) -> Result<Exit, CliError> {
    let table = resolve_sendmail(&context.files, &context.environment)?;
    match Aliases::new(&context.files, &context.environment, &table, false).check() {
        Ok((count, remarks)) => {
            remarks.iter().for_each(|remark| ui::tell(&clean(remark)));
            if context.is_verbose {
                ui::tell(&format!("{count} aliases"));
            }
        }
        Err(error) => ui::show(&error.into()),
    }
    Ok(Exit::Success)
}

fn context(options: &Options, common: &CommonArgs) -> Result<Context, CliError> {
    // 66 says to callers that there are no recipients.
    let wrong = |error: CliError| match error.exit {
        Exit::NoInput => CliError { exit: Exit::Configuration, ..error },
        _ => error,
    };
    let mut context = service_context(common.context().map_err(wrong)?)?;
    context.trace_file.clone_from(&options.trace);
    if let Some(tag) = &options.tag {
        context.tag.clone_from(tag);
    }
    Ok(context)
}

/// Takes a message from standard input.
fn message(options: Options, intake: &Intake<'_>) -> Result<Exit, CliError> {
    let (mut to, mut refused) = (Vec::new(), Vec::new());
    for word in &options.recipients {
        match Intake::recipients(word) {
            Ok(addresses) => to.extend(addresses),
            Err(error) => refused.push(error),
        }
    }
    if to.is_empty() && refused.is_empty() && !options.reads_recipients {
        return Err(CliError::usage("nobody is named to send it to")
            .hint("sendmail ADDRESS …, or sendmail -t for the recipients of the header"));
    }
    let sender = options.sender.map(|sender| intake.sender(&sender)).transpose()?;
    let offer = Offer {
        sender,
        full_name: options.full_name,
        groups: vec![(to, options.dsn)],
        reads_recipients: options.reads_recipients,
        ends_at_dot: options.ends_at_dot,
        refused,
    };
    match intake.take(io::stdin().lock(), offer) {
        Ok(taken) => Ok(taken.exit()),
        // No room for a copy, above all: it could not be made safe.
        Err(error) if matches!(error.exit, Exit::Io | Exit::System | Exit::CannotCreate) => {
            Err(CliError { exit: Exit::TryAgain, ..error })
        }
        Err(error) => Err(error),
    }
}

/// Takes messages of a program that speaks SMTP.
fn serve(intake: &Intake<'_>) -> Result<Exit, CliError> {
    let check = |recipient: &Address| match intake.expand(slice::from_ref(recipient)) {
        Ok(_) => Ok(()),
        // Of aliases: the recipient will not be right by itself.
        Err(error) => Err(Refusal::new(550, 3, 5, error.message)),
    };
    let take = |transaction: Transaction, content: SpooledTempFile| {
        let sender = transaction.envelopes.first().and_then(|(envelope, _)| envelope.from().cloned());
        let groups = transaction.envelopes.into_iter().map(|(envelope, dsn)| (envelope.to().to_vec(), dsn)).collect();
        let offer = Offer { sender: Some(sender), groups, ..Offer::default() };
        match intake.take(content, offer) {
            Ok(Taken::Kept(names)) => Ok(names.first().map_or("Ok".to_owned(), |name| format!("Ok: queued as {name}"))),
            Ok(Taken::Sent(Exit::Success)) => Ok("Ok: sent".to_owned()),
            Ok(Taken::Sent(exit)) => Err(refusal(exit, "it could not be sent to everybody".to_owned())),
            Err(error) => {
                ui::show(&error);
                Err(refusal(error.exit, error.message))
            }
        }
    };
    dialogue::dialogue(io::stdin().lock(), io::stdout().lock(), intake.domain(), check, take)
        .map(|()| Exit::Success)
        .map_err(|error| {
            let exit = match error.kind() {
                ErrorKind::UnexpectedEof => Exit::Data,
                ErrorKind::InvalidData => Exit::Protocol,
                _ => Exit::Io,
            };
            CliError::new(exit, "-bs: the session has not come to its end").source(error)
        })
}

/// What a client is told of a message that is not taken, and whether it may come again.
fn refusal(exit: Exit, text: String) -> Refusal {
    match exit {
        Exit::Data => Refusal::new(554, 6, 0, text),
        Exit::Partial | Exit::NoUser | Exit::NoHost | Exit::Unavailable => Refusal::new(554, 0, 0, text),
        Exit::Configuration | Exit::NoPermission => Refusal::new(451, 3, 5, text),
        _ => Refusal::new(451, 3, 0, text),
    }
}
