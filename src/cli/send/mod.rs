//! `mailsend`: one message, made of flags, files and standard input.

pub(super) mod book;
pub(super) mod compose;
pub(super) mod deliver;
mod keep;
mod plan;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Parser, ValueHint};
use jiff::Zoned;

pub(super) use self::deliver::no_server;
use self::{
    book::{AddressBook, Habit},
    compose::{Letter, Made},
};
use super::{
    Cli, CliError, Exit, address_word,
    args::{CommonArgs, Context, ReportArgs, WhereArgs},
    local,
    message::MessageArgs,
    printed,
    queue::LaterArgs,
    stdin::Stdin,
    ui,
};
use crate::{
    config::{Profile, Request, SecretSource, Server, resolve},
    mail::Content,
    message::{Blocks, Stamp},
};

/// Keys are kept with their messages, and compared.
const MAX_KEY: usize = 500;

/// One message.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Recipients; each contains an '@'
    ///
    /// One address, a list separated by commas, or @FILE with one per line, as for --to. The text of the message
    /// comes from standard input unless an option gives it.
    #[arg(value_name = "ADDRESS", value_parser = address_word, value_hint = ValueHint::EmailAddress)]
    addresses: Vec<String>,

    #[command(flatten)]
    pub message: MessageArgs,

    /// An existing message; recipients from options, else from its header
    ///
    /// Bcc is removed, a missing Date, Message-ID or From is added, everything else stays as it is. - is standard input.
    #[arg(long, help_heading = "Message", value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = [
        "subject", "reply_to", "body", "html", "markdown", "attach", "inline", "header", "mdn", "message_id", "date",
        "in_reply_to", "references", "priority", "skip_empty", "template", "unsubscribe"
    ])]
    raw: Option<String>,

    /// Values for the template: a JSON file, a web address, or -
    #[arg(long, help_heading = "Message", value_name = "FILE", value_hint = ValueHint::FilePath, requires = "template")]
    data: Option<String>,

    /// Print what would be sent, and to whom; send nothing
    #[arg(long, help_heading = "Message", conflicts_with_all = ["report", "format"])]
    dry_run: bool,

    /// Write the message to FILE, - for standard output; send nothing
    #[arg(long, help_heading = "Message", value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["report", "format"])]
    eml: Option<PathBuf>,

    /// Without text and file send nothing, and be content
    #[arg(short = 'E', long, help_heading = "Message")]
    skip_empty: bool,

    #[command(flatten)]
    later: LaterArgs,

    /// Into the queue once only: who adds a second message with this key gets the first
    #[arg(long, help_heading = "Queue", value_name = "KEY", allow_hyphen_values = true)]
    key: Option<String>,

    /// Send it now, and put it into the queue if that is not possible now
    ///
    /// Only for the recipients that were deferred; never for one who may have it already.
    #[arg(long, help_heading = "Queue", conflicts_with_all = ["queue", "at", "delay", "key"])]
    queue_on_failure: bool,

    #[command(flatten)]
    pub place: WhereArgs,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Sends one message, or shows it.
pub fn send(args: SendArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    check_queue(&args)?;
    send_as(&args, &context, Stdin::default(), Habit::Strict, |letter, profile| match args.later.is_wanted() {
        true => keep::keep(&letter, &profile, &args, &context),
        false => deliver::deliver(letter, profile, &args, &context),
    })
}

/// The same, for whoever has read standard input, takes names in another way, and hands over to somebody else.
pub(super) fn send_as(
    args: &SendArgs,
    context: &Context,
    mut stdin: Stdin,
    habit: Habit,
    hand_over: impl FnOnce(Letter, Profile) -> Result<Exit, CliError>,
) -> Result<Exit, CliError> {
    let profile = args.profile(context)?;
    let is_shown = args.dry_run || args.eml.is_some();
    let mut stamp = stamp(context, &profile, is_shown)?;
    if args.place.wanted(&profile, context).is_some_and(|wanted| wanted.source() == Some(SecretSource::Fd(0))) {
        stdin.claim("the password")?;
    }
    let mut book = AddressBook::new(context, &profile.sendmail, habit);
    let Some(made) = compose::letter(args, context, &profile, &mut stdin, &mut book, &mut stamp)? else {
        return Ok(Exit::Success);
    };
    if args.dry_run {
        let later = match args.later.is_wanted() {
            true => Some(args.later.terms(&profile.queue, &Zoned::now(), context.is_quiet)?),
            false => None,
        };
        let wanted = args.place.wanted(&profile, context);
        printed(ui::print(&plan::plan(&made, &profile, wanted.as_ref(), later)))?;
    }
    if let Some(path) = &args.eml {
        write_message(path, &made.content)?;
    }
    if is_shown {
        return Ok(Exit::Success);
    }
    let Made { letter, places, content, sender } = made;
    // What can be known is told before anybody has it.
    if letter.is_some() && profile.server.is_none() {
        return Err(no_server());
    }
    let addresses = letter.map(|letter| hand_over(letter, profile.clone()));
    local::hand_out_after(addresses, &places, &content, sender.as_ref(), &profile)
}

impl SendArgs {
    /// The profile that they ask for.
    ///
    /// # Errors
    /// As [`resolve`], or a sender that is no address.
    pub(super) fn profile(&self, context: &Context) -> Result<Profile, CliError> {
        let request = Request { senders: compose::senders(&self.message, context)?, ..self.place.request()? };
        Ok(resolve(&request, &context.files, &context.environment)?)
    }
}

/// Complains of options that do not go together, as far as the queue goes.
fn check_queue(args: &SendArgs) -> Result<(), CliError> {
    args.later.check(&args.place, args.common.trace)?;
    if args.queue_on_failure && args.place.password_fd.is_some() {
        return Err(CliError::usage(
            "--password-fd has no meaning with --queue-on-failure: nobody holds it open later",
        )
        .hint("name a place that stays: --password-file FILE, --password-command COMMAND, or mailsend login"));
    }
    let is_kept = args.later.is_wanted() || args.queue_on_failure;
    for (option, is_given) in [("--expires", args.later.expires.is_some()), ("--key", args.key.is_some())] {
        if is_given && !is_kept {
            return Err(CliError::usage(format!("{option} is for messages in the queue")).hint("add --queue"));
        }
    }
    let what = match args.key.as_deref() {
        Some(key) if key.trim().is_empty() => "it is empty, and every message would be the same".to_owned(),
        Some(key) if key.len() > MAX_KEY => format!("it has {} octets, and {MAX_KEY} are possible", key.len()),
        Some(key) if key.chars().any(char::is_control) => "it has a control character in it".to_owned(),
        _ => return Ok(()),
    };
    Err(CliError::usage(format!("--key: {what}")).hint("name what is to be sent once: --key invoice-4711"))
}

/// Sends the message of `profile check --send`, and says what became of it.
pub(super) fn test_message(address: &str, place: &WhereArgs, common: &CommonArgs) -> Result<Exit, CliError> {
    const TEXT: &str = "This message was sent by 'mailsend profile check --send'. It works.";
    let to = format!("--to={address}");
    let words = ["mailsend", &to, "-s", "mailsend works", "--body", TEXT, "--report", "-"];
    let mut args = Cli::try_parse_from(words).map_err(|error| CliError::usage(error.to_string()))?.send;
    (args.place, args.common) = (place.clone(), common.clone());
    send(args)
}

/// Time and randomness: with a seed, and where nothing goes to others, the same every time.
pub(super) fn stamp(context: &Context, profile: &Profile, is_shown: bool) -> Result<Stamp, CliError> {
    let is_local = is_shown || matches!(profile.server, Some(Server::Maildir { .. }));
    let Some(seed) = context.environment.get("MAILSEND_SEED").filter(|_| is_local) else { return Ok(Stamp::now()) };
    let number = |name: &str, text: &str| {
        text.parse::<i64>().map_err(|_| CliError::new(Exit::Configuration, format!("{name}: a whole number is wanted")))
    };
    let seconds = match context.environment.get("SOURCE_DATE_EPOCH") {
        Some(epoch) => number("SOURCE_DATE_EPOCH", epoch)?,
        None => Stamp::now().seconds(),
    };
    Ok(Stamp::fixed(seconds, number("MAILSEND_SEED", seed)?.cast_unsigned()))
}

/// Writes the message to standard output, or to a file that is there whole or not at all.
pub(super) fn write_message(path: &Path, content: &Content) -> Result<(), CliError> {
    let blocks =
        Blocks::new(content).map(|block| block.map_err(|error| CliError::no_input("a file of the message", error)));
    if path == Path::new("-") {
        for block in blocks {
            printed(ui::print_bytes(&block?))?;
        }
        return Ok(());
    }
    let shown = path.display().to_string();
    let no_place =
        |error: io::Error| CliError::new(Exit::CannotCreate, format!("{shown} cannot be created")).source(error);
    let fail = |error: io::Error| CliError::new(Exit::Io, format!("{shown} cannot be written")).source(error);
    let write = |file: &File| {
        let mut file = BufWriter::new(file);
        for block in blocks {
            file.write_all(&block?).map_err(fail)?;
        }
        file.flush().map_err(fail)
    };
    // A device or a pipe is written to as it is; a link stays one.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file()) {
        return write(&OpenOptions::new().write(true).open(&target).map_err(no_place)?);
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder).map_err(no_place)?;
    if let Ok(metadata) = fs::metadata(&target) {
        file.as_file().set_permissions(metadata.permissions()).map_err(no_place)?;
    }
    write(file.as_file())?;
    file.persist(&target).map(|_| ()).map_err(|error| no_place(error.error))
}
