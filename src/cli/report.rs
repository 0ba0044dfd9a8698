//! `mailsend report`: what a batch came to, from its ledger, also while it still runs.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum, ValueHint};
use serde_json::json;

use super::{CliError, Exit, printed, ui};
use crate::{
    config::Environment,
    ledger::LedgerError,
    mail::State,
    report::{Reading, page},
    secret::oauth::browser,
};

/// Show what a batch came to, from its ledger or from records
#[derive(Debug, Args)]
#[command(after_help = "\
mailsend report run.jsonl                        the summary, also while the batch runs
mailsend report run.jsonl --html run.html        a page with plots
mailsend report run.jsonl --list failed          who was refused, and why")]
pub struct ReportArgs {
    /// The ledger of a batch, or another file of --report with JSON lines
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Write a page with plots to FILE, - for standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["json", "list"])]
    html: Option<PathBuf>,

    /// Show the page in the browser
    #[arg(long, conflicts_with_all = ["json", "list"])]
    open: bool,

    /// Print a line for everybody who ended so; with --json the records
    #[arg(long, value_name = "STATE")]
    list: Option<StateArg>,
}

/// States of recipients.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum StateArg {
    /// A server took responsibility
    Accepted,
    /// Not now
    Deferred,
    /// Refused for good
    Failed,
    /// Nobody can know
    Unknown,
    /// Not to be sent
    Skipped,
    /// Kept in the queue
    Queued,
}

impl From<StateArg> for State {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Accepted => State::Accepted,
            StateArg::Deferred => State::Deferred,
            StateArg::Failed => State::Failed,
            StateArg::Unknown => State::Unknown,
            StateArg::Skipped => State::Skipped,
            StateArg::Queued => State::Queued,
        }
    }
}

/// Shows what a file tells.
pub fn report(args: &ReportArgs) -> Result<Exit, CliError> {
    if let Some(state) = args.list {
        return list(args, state.into());
    }
    let reading = read(&args.file, |_| {})?;
    if args.html.is_some() || args.open {
        return show_page(args, &reading);
    }
    if args.json {
        let mut json = reading.tally.json();
        json["run"] = Some(reading.run.as_str()).filter(|run| !run.is_empty()).into();
        json["unknown_lines"] = json!(reading.unknown);
        return printed(ui::print(&format!("{json}\n")));
    }
    let mut lines = reading.tally.lines();
    if !reading.unknown.is_empty() {
        lines.push("nobody can know whether these arrived:".to_owned());
        lines.extend(reading.unknown.iter().map(|line| format!("  {line}")));
        let more = reading.tally.counts().unknown.saturating_sub(reading.unknown.len() as u64);
        if more > 0 {
            lines.push(format!("  and {more} more: mailsend report {} --list unknown", args.file.display()));
        }
    }
    printed(ui::print(&lines.iter().map(|line| format!("{}\n", crate::mail::clean(line))).collect::<String>()))
}

fn read(path: &Path, each: impl FnMut(&crate::report::Found<'_>)) -> Result<Reading, CliError> {
    Reading::new(path, each).map_err(|error| match error {
        LedgerError::File { path, error } => CliError::no_input(&path.display().to_string(), error),
        error => CliError::new(Exit::Data, error.to_string())
            .hint("what can be read is the ledger of a batch, or records as JSON lines: --report FILE.jsonl"),
    })
}

/// Prints everybody who ended so.
fn list(args: &ReportArgs, state: State) -> Result<Exit, CliError> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut result = Ok(());
    read(&args.file, |found| {
        if found.state == state && result.is_ok() {
            result = match args.json {
                true => writeln!(out, "{}", found.json()),
                false => writeln!(out, "{found}"),
            };
        }
    })?;
    printed(ui::written(result.and_then(|()| out.flush())))
}

/// Writes the page, and opens it where that is wanted.
fn show_page(args: &ReportArgs, reading: &Reading) -> Result<Exit, CliError> {
    let name = args.file.file_name().unwrap_or(args.file.as_os_str()).to_string_lossy();
    let text = page(reading, &name);
    let path = match &args.html {
        Some(path) if path == Path::new("-") => {
            if args.open {
                return Err(CliError::usage("--open needs a file to open: --html FILE --open, or --open alone"));
            }
            return printed(ui::print(&text));
        }
        Some(path) => {
            let fail = |error| {
                CliError::new(Exit::CannotCreate, format!("{} cannot be written", path.display())).source(error)
            };
            File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(fail)?;
            path.clone()
        }
        None => kept(&text)
            .map_err(|error| CliError::new(Exit::CannotCreate, "a temporary page cannot be written").source(error))?,
    };
    if args.open {
        let absolute = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if !browser::open(&Environment::of_process(), &absolute.display().to_string()) {
            ui::tell(&format!("no browser could be started; the page is {}", absolute.display()));
        }
    }
    Ok(Exit::Success)
}

/// A page that stays: the browser reads it after this program has ended.
fn kept(text: &str) -> std::io::Result<PathBuf> {
    let mut file = tempfile::Builder::new().prefix("mailsend-report-").suffix(".html").tempfile()?;
    file.write_all(text.as_bytes())?;
    Ok(file.keep()?.1)
}
