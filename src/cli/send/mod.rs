//! `mailsend`: one message, made of flags, files and standard input.

mod compose;
mod deliver;
mod plan;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Parser, ValueEnum, ValueHint};

use super::{
    Cli, CliError, Exit, address_word,
    args::{CommonArgs, Context, ReportArgs, WhereArgs},
    printed,
    stdin::Stdin,
    ui,
};
use crate::{
    config::{Profile, Request, SecretSource, Server, resolve},
    mail::Content,
    message::{Blocks, Stamp},
};

/// One message.
#[derive(Debug, Args)]
pub struct SendArgs {
    #[command(flatten)]
    message: MessageArgs,
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// What the message is made of.
#[derive(Debug, Args)]
#[command(next_help_heading = "Message")]
struct MessageArgs {
    /// Recipients; each contains an '@'
    ///
    /// One address, a list separated by commas, or @FILE with one per line, as for --to. The text of the message
    /// comes from standard input unless an option gives it.
    #[arg(value_name = "ADDRESS", value_parser = address_word, value_hint = ValueHint::EmailAddress)]
    addresses: Vec<String>,

    /// Recipients: an address, a list, or @FILE with one per line
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true, value_hint = ValueHint::EmailAddress)]
    to: Vec<String>,

    /// Recipients of a copy
    #[arg(short, long, value_name = "ADDRESS", allow_hyphen_values = true, value_hint = ValueHint::EmailAddress)]
    cc: Vec<String>,

    /// Recipients whom no one sees
    #[arg(short, long, value_name = "ADDRESS", allow_hyphen_values = true, value_hint = ValueHint::EmailAddress)]
    bcc: Vec<String>,

    /// Subject
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    subject: Option<String>,

    /// Sender; the profile's by default
    #[arg(short = 'r', long, value_name = "ADDRESS", allow_hyphen_values = true, value_hint = ValueHint::EmailAddress)]
    from: Option<String>,

    /// Return path; the sender's address by default, <> for none
    #[arg(short = 'f', long, value_name = "ADDRESS", allow_hyphen_values = true, value_hint = ValueHint::EmailAddress)]
    envelope_from: Option<String>,

    /// Where replies go
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true, value_hint = ValueHint::EmailAddress)]
    reply_to: Option<String>,

    /// Text: as it is, @FILE, or - for standard input; '' for none
    ///
    /// A file's charset can be told: '@FILE;charset=iso-8859-1'. A text that begins with '@' is written with '@@'.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    body: Option<String>,

    /// HTML; without --body a text is made of it
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    html: Option<String>,

    /// Markdown: sent as text and as HTML
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with_all = ["body", "html"])]
    markdown: Option<String>,

    /// Attach a file: 'FILE;name=n.pdf;type=application/pdf'
    ///
    /// One file per option. '-;name=report.csv' is standard input. ;name=, ;type= and ;charset= may follow the file.
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    attach: Vec<String>,

    /// An image that the HTML shows as cid:logo: 'FILE;cid=logo'
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    inline: Vec<String>,

    /// Any header field: 'X: y'
    #[arg(short = 'H', long, value_name = "FIELD", allow_hyphen_values = true)]
    header: Vec<String>,

    /// An existing message; recipients from options, else from its header
    ///
    /// Bcc is removed, a missing Date, Message-ID or From is added, everything else stays as it is. - is standard input.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = [
        "subject", "reply_to", "body", "html", "markdown", "attach", "inline", "header", "mdn", "message_id", "date",
        "in_reply_to", "references", "priority", "skip_empty"
    ])]
    raw: Option<String>,

    /// Ask for delivery reports: success, failure, delay (a list), or never
    #[arg(long, value_name = "WHEN", value_parser = compose::dsn_notify)]
    dsn_notify: Option<crate::mail::DsnNotify>,

    /// What a report returns: the full message, or its hdrs
    #[arg(long, value_name = "WHAT")]
    dsn_return: Option<DsnReturnArg>,

    /// Name of this sending in reports: letters, digits, dot and hyphen
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    envid: Option<String>,

    /// Ask the reader for a receipt
    #[arg(long)]
    mdn: bool,

    /// Message-ID: <left@right>
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    message_id: Option<String>,

    /// Date: as in mail, as 2026-11-23T10:00:00+01:00, or as @SECONDS
    #[arg(long, value_name = "DATE", allow_hyphen_values = true)]
    date: Option<String>,

    /// Message-ID of the message that this one replies to
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    in_reply_to: Option<String>,

    /// Message-IDs of the conversation so far
    #[arg(long, value_name = "IDS", allow_hyphen_values = true)]
    references: Option<String>,

    /// How urgent it is
    #[arg(long, value_name = "HOW")]
    priority: Option<PriorityArg>,

    /// Print what would be sent, and to whom; send nothing
    #[arg(long, conflicts_with_all = ["report", "format"])]
    dry_run: bool,

    /// Write the message to FILE, - for standard output; send nothing
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["report", "format"])]
    eml: Option<PathBuf>,

    /// Without text and file send nothing, and be content
    #[arg(short = 'E', long)]
    skip_empty: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DsnReturnArg {
    /// The whole message
    Full,
    /// Its header
    Hdrs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PriorityArg {
    /// Urgent
    High,
    /// As every other
    Normal,
    /// It can wait
    Low,
}

/// Sends one message, or shows it.
pub fn send(args: SendArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let request = Request { senders: compose::senders(&args.message, &context)?, ..args.place.request()? };
    let profile = resolve(&request, &context.files, &context.environment)?;
    let is_shown = args.message.dry_run || args.message.eml.is_some();
    let mut stamp = stamp(&context, &profile, is_shown)?;
    let mut stdin = Stdin::default();
    if args.place.wanted(&profile, &context).is_some_and(|wanted| wanted.source() == Some(SecretSource::Fd(0))) {
        stdin.claim("the password")?;
    }
    let Some(letter) = compose::letter(&args.message, &context, &profile, &mut stdin, &mut stamp)? else {
        return Ok(Exit::Success);
    };
    if args.message.dry_run {
        printed(ui::print(&plan::plan(&letter, &profile, args.place.wanted(&profile, &context).as_ref())))?;
    }
    if let Some(path) = &args.message.eml {
        write_message(path, &letter.content)?;
    }
    match is_shown {
        true => Ok(Exit::Success),
        false => deliver::deliver(letter, profile, &args.place, &args.report, &context),
    }
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
fn write_message(path: &Path, content: &Content) -> Result<(), CliError> {
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
