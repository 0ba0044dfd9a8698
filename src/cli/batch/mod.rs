//! `mailsend batch`: a message for each row of a table, and a ledger of what became of it.

mod overview;
mod presenter;
mod recipe;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use clap::{Args, ValueHint};
use jiff::Zoned;

use self::{overview::Overview, presenter::Presenter};
use super::{
    CliError, Exit,
    args::{CommonArgs, Context, ReportArgs, WhereArgs},
    message::MessageArgs,
    outlets::outlets,
    printed,
    queue::{self, LaterArgs, priority, warn_of_password},
    runtime,
    send::compose,
    signals::{die_of, listen},
    stdin::Stdin,
    ui,
};
use crate::{
    config::{DataSource, Profile, Request, resolve},
    delivery::{Outlet, make_room_for},
    feed::{Batch, BatchTold, Choice, End, Keeping, Manner, Preflight, Verdict},
    ledger::{self, Facts, Ledger, LedgerError, Past},
    mail::{Route, State},
    queue::{Inlet, QueueError},
    report::Target,
    rows::{Charset, Delimiter, Exclusions, Failed, Format, Numbers, Options, Origin, Table},
    secret, template,
};

/// A message for each row of a table.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct BatchArgs {
    /// The table: a file, a web address, or - for standard input; the template's by default
    ///
    /// CSV, TSV, JSON lines or a JSON array of objects; delimiter and encoding are found out. Its columns are the
    /// names that options and template may use. The column to, email, e-mail or mail holds the recipients; cc, bcc,
    /// name, attach and locale are used where they are there.
    #[arg(value_name = "SOURCE", value_hint = ValueHint::FilePath)]
    source: Option<String>,

    #[command(flatten)]
    pub(super) message: MessageArgs,

    #[command(flatten)]
    rows: RowArgs,

    /// The column with the recipients
    #[arg(long, help_heading = "Rows", value_name = "NAME")]
    to_column: Option<String>,

    /// Send everything to this address instead
    #[arg(long, help_heading = "Rows", value_name = "ADDRESS", value_hint = ValueHint::EmailAddress)]
    redirect_to: Option<String>,

    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    later: LaterArgs,
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// Which rows, and how they are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rows")]
struct RowArgs {
    /// How the table is written: csv, tsv, jsonl or json
    #[arg(long, value_name = "FORMAT")]
    input_format: Option<Format>,

    /// What stands between cells: a character, or tab
    #[arg(long, value_name = "CHARACTER", allow_hyphen_values = true)]
    delimiter: Option<Delimiter>,

    /// Encoding of the table, such as windows-1252
    #[arg(long, value_name = "NAME")]
    encoding: Option<Charset>,

    /// Only the first N rows
    #[arg(long, value_name = "N")]
    first: Option<u64>,

    /// Only these rows: 17,20-25 (the first below the header is 1)
    #[arg(long, value_name = "NUMBERS")]
    rows: Option<Numbers>,

    /// Each address once, the first time it comes
    ///
    /// Rows that are the same in every cell are sent once in any case.
    #[arg(long)]
    unique: bool,

    /// Nobody of this file: an address or @domain per line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    exclude: Option<PathBuf>,

    /// Send the good rows when some are bad
    ///
    /// Otherwise nothing is sent as long as a row is bad.
    #[arg(long)]
    skip_bad_rows: bool,
}

/// How it goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Batch")]
struct RunArgs {
    /// Check everything and say what would be sent; send nothing
    #[arg(long, conflicts_with = "preview")]
    dry_run: bool,

    /// Print the first N messages as they would be sent; send nothing
    #[arg(long, value_name = "N")]
    preview: Option<usize>,

    /// Send without the question that is asked at a terminal
    #[arg(short, long)]
    yes: bool,

    /// Connections at once (pool.max-connections)
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,

    /// At most so many recipients: 10/s, 500/h (rate.limit)
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,

    /// Go on with a run that was broken off: send what is not settled
    ///
    /// Accepted, failed and skipped recipients are never sent to again. What is unknown is left alone.
    #[arg(long)]
    resume: bool,

    /// With --resume, also send what may have arrived already
    #[arg(long, requires = "resume")]
    resend_unknown: bool,

    /// With --resume, even if the table or the message has changed
    #[arg(long, requires = "resume")]
    force: bool,

    /// Stop after so many messages in a row that were refused with the same code; 0 for never
    ///
    /// Refused as messages, after MAIL or the content: that means a quota. Refused recipients do not count.
    #[arg(long, value_name = "N", default_value_t = 5)]
    stop_after_failures: u32,

    /// Write the rows that failed, are deferred or bad to FILE, with their errors
    ///
    /// Mend them and send that file as a batch of its own, or go on with --resume: not both, for both would send to who is
    /// deferred.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    failed: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  See what would be sent, then send it
    mailsend batch people.csv --template welcome --preview 1
    mailsend batch people.csv --template welcome --report run.jsonl

  Without a template, a file for each
    mailsend batch people.csv -s 'Invoice {{number}}' --body @letter.txt --attach 'invoices/{{number}}.pdf'

  Put it into the queue, for a worker that goes on for days if it has to
    mailsend batch people.csv --template welcome --report run.jsonl --queue

  Go on after a failure, and see what became of it
    mailsend batch people.csv --template welcome --report run.jsonl --resume
    mailsend report run.jsonl";

/// Everything that is known before anything is sent.
struct Plan {
    batch: Batch,
    profile: Profile,
    ledger: Book,
    found: Preflight,
    /// Whether the rows can be read again from where they came.
    is_file: bool,
    /// The copy that an earlier run has kept, if rows are read from it.
    kept: Option<PathBuf>,
}

/// Where the ledger is, and whether it is open already.
struct Book {
    path: PathBuf,
    facts: Facts,
    open: Option<Ledger>,
    /// Whether somebody has named it.
    is_named: bool,
}

/// Sends a message for each row.
pub fn batch(args: BatchArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    args.later.check(&args.place, args.common.trace)?;
    if args.later.expires.is_some() && !args.later.is_wanted() {
        return Err(CliError::usage("--expires is for messages in the queue").hint("add --queue"));
    }
    let plan = plan(&args, &context)?;
    let overview = Overview {
        plan: &plan.found,
        profile: &plan.profile,
        bad_are_skipped: args.rows.skip_bad_rows,
        is_kept: args.later.is_wanted(),
    };
    if let Some(count) = args.run.preview {
        return printed(ui::print(&overview::preview(&plan.batch.drafts(count), args.redirect_to.as_deref())?));
    }
    overview.complain()?;
    if args.run.dry_run {
        return printed(ui::print(&overview.text()));
    }
    if plan.profile.server.is_none() {
        return Err(super::send::no_server());
    }
    if !args.run.yes && !overview.is_agreed(context.is_quiet)? {
        ui::tell("nothing was sent");
        return Ok(Exit::Success);
    }
    send(&args, &context, plan)
}

/// Reads the table, makes every message once, and opens the ledger that is gone on with.
fn plan(args: &BatchArgs, context: &Context) -> Result<Plan, CliError> {
    let mut request = Request { senders: compose::senders(&args.message, context)?, ..args.place.request()? };
    let settings = [
        ("pool.max-connections", args.run.concurrency.map(|number| number.to_string()), "--concurrency"),
        ("rate.limit", args.run.rate.clone(), "--rate"),
    ];
    for (key, value, option) in settings {
        request.settings.extend(value.map(|value| (key.to_owned(), value, option.to_owned())));
    }
    let profile = resolve(&request, &context.files, &context.environment)?;
    let mut stdin = Stdin::default();
    let template = args.message.template.as_deref().map(|name| template::load(name, &context.files)).transpose()?;
    let (path, is_named) = match args.report.target() {
        Some(Target::File(path)) if !is_csv(&path, &args.report) => (Some(path), true),
        _ => (None, false),
    };
    let is_looking = args.run.dry_run || args.run.preview.is_some();
    if let Some(path) = &path
        && !(args.run.resume || is_looking)
        && fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
    {
        return Err(LedgerError::Exists(path.clone()).into());
    }
    if let Some(failed) = &args.run.failed
        && !(args.run.resume || is_looking)
        && fs::metadata(failed).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0)
    {
        return Err(CliError::usage(format!("--failed {} is there already", failed.display()))
            .hint("name another file, or take this one away"));
    }
    let folder = ledger::folder(&context.environment)?;
    let fresh = path.clone().unwrap_or_else(|| ledger::fresh(&folder));
    let options = Options {
        format: args.rows.input_format,
        delimiter: args.rows.delimiter,
        charset: args.rows.encoding,
        copy: fresh.with_extension("rows"),
        environment: context.environment.clone(),
    };
    let origin = origin(args, template.as_ref(), &mut stdin)?;
    let is_file = matches!(origin, Origin::File(_));
    // What could be read only once was kept by the run that is gone on with.
    let kept = options.kept_copy().filter(|_| args.run.resume && !is_file);
    let table = match kept.clone() {
        Some(copy) => Table::open(&Origin::File(copy), &Options { charset: None, format: None, ..options })?,
        None => Table::open(&origin, &options)?,
    };
    table.warnings().iter().filter(|_| !context.is_quiet).for_each(|warning| ui::tell(&format!("warning: {warning}")));
    let made = recipe::recipe(args, context, &profile, table.columns(), template, &mut stdin)?;
    let facts =
        Facts { source: table.digest().to_owned(), template: made.digest, name: name(&origin, &args.message.template) };
    let path = match path {
        // One that was about something else is refused below, instead of sending to everybody anew.
        None if args.run.resume => {
            ledger::latest(&folder, &facts).or_else(|| ledger::latest_of(&folder, &facts.name)).unwrap_or(fresh)
        }
        _ => fresh,
    };
    if args.run.resume && !context.is_quiet && fs::metadata(&path).map_or(0, |metadata| metadata.len()) == 0 {
        ui::tell(&format!("no run to go on with in {}: it begins", path.display()));
    }
    let (open, past) = match args.run.resume {
        false => (None, Past::default()),
        true if is_looking => (None, ledger::past(&path, &facts, args.run.force)?),
        true => Ledger::resume(&path, &facts, args.run.force).map(|(ledger, past)| (Some(ledger), past))?,
    };
    let choice = Choice {
        numbers: args.rows.rows.clone(),
        first: args.rows.first,
        exclusions: args.rows.exclude.as_deref().map(Exclusions::load).transpose()?,
        is_unique: args.rows.unique,
        resends_unknown: args.run.resend_unknown,
    };
    let is_chosen = choice.numbers.is_some();
    let mut batch = Batch::new(table, made.recipe, choice, past);
    let found = if args.run.preview.is_some() { Preflight::default() } else { batch.preflight() };
    if is_chosen && args.run.preview.is_none() && found.rows == 0 && found.bad == 0 && !context.is_quiet {
        ui::tell("the table has none of the rows of --rows");
    }
    Ok(Plan { batch, profile, ledger: Book { path, facts, open, is_named }, found, is_file, kept })
}

/// Where the rows come from.
fn origin(args: &BatchArgs, template: Option<&template::Template>, stdin: &mut Stdin) -> Result<Origin, CliError> {
    let origin = match (&args.source, template.and_then(template::Template::source)) {
        (Some(word), _) => Origin::from_word(word),
        (None, Some(DataSource::File(path))) => Origin::File(path.clone()),
        (None, Some(DataSource::Web(address))) => Origin::Web(address.clone()),
        (None, Some(DataSource::Command(command))) => Origin::Command(command.clone()),
        (None, None) => {
            return Err(
                CliError::usage("no table is named").hint("mailsend batch people.csv …, or - for standard input")
            );
        }
    };
    if origin == Origin::Stdin {
        stdin.claim("the table")?;
    }
    Ok(origin)
}

/// What a run is known by when table or message have changed; nothing for what has no name of its own.
fn name(origin: &Origin, template: &Option<String>) -> String {
    let place = match origin {
        Origin::File(path) => fs::canonicalize(path).unwrap_or_else(|_| path.clone()).display().to_string(),
        Origin::Stdin => return String::new(),
        Origin::Web(_) => origin.to_string(),
        // Only a template names one. Its text may hold what is nobody's business, and the ledger is read by others.
        Origin::Command(_) => "command".to_owned(),
    };
    format!("{place} {}", template.as_deref().unwrap_or_default()).trim_end().to_owned()
}

/// Whether a report of this name is no ledger.
fn is_csv(path: &Path, report: &ReportArgs) -> bool {
    use crate::report::Format;
    match report.format() {
        Some(format) => format != Format::Json,
        None => path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")),
    }
}

fn send(args: &BatchArgs, context: &Context, plan: Plan) -> Result<Exit, CliError> {
    let Plan { mut batch, profile, ledger: mut book, found, is_file, kept } = plan;
    let goal = match args.later.is_wanted() {
        true => keeping(args, context, &profile)?,
        false => {
            let outlets = outlets(&profile, &args.place, context)?;
            make_room_for(outlets.iter().map(|outlet| outlet.pool.max_connections).sum())?;
            Goal::Servers(outlets)
        }
    };
    let ledger = match book.open.take() {
        Some(ledger) => ledger,
        None => Ledger::create(&book.path, &book.facts)?,
    };
    // What cannot be read twice must be there for who goes on.
    let copy = match kept {
        None if !is_file => batch.keep_rows()?,
        kept => kept,
    };
    let due = match &goal {
        Goal::Queue(_, keeping) => Some(keeping.due),
        Goal::Servers(_) => None,
    };
    let manner = Manner {
        retry: profile.retry,
        stop_after_failures: Some(args.run.stop_after_failures).filter(|limit| *limit > 0),
        skips_bad: args.rows.skip_bad_rows,
        wants_trace: context.wants_trace,
    };
    let mut presenter = Presenter::start(&args.report, context, ledger.run(), found.total)?;
    let signal = Arc::new(AtomicI32::new(0));
    let runtime = runtime()?;
    let verdict = runtime.block_on(async {
        let stop = listen(signal.clone());
        let told = |told: BatchTold<'_>| presenter.told(told);
        match goal {
            Goal::Servers(outlets) => batch.send(ledger, outlets, manner, stop, told).await,
            Goal::Queue(inlet, keeping) => batch.keep(ledger, inlet, *keeping, stop, told).await,
        }
    });
    // A thread that still reads, writes or waits for a keyring is not waited for.
    runtime.shutdown_background();
    let exit = exit_of(&verdict, &found);
    let due = due.filter(|_| verdict.counts[State::Queued as usize] > 0);
    let failed = args.run.failed.as_ref().map_or(Ok(()), |failed| write_failed(failed, batch.table(), &book.path));
    let copy = copy.filter(|copy| {
        // What is left of it hurts nobody.
        verdict.has_more || fs::remove_file(copy).is_err()
    });
    // Standard input is read only once.
    let rows = copy.filter(|_| args.source.as_deref() == Some("-"));
    let result = presenter.finish(verdict, &book, rows.as_deref(), exit);
    if let Some(due) = due {
        queue::see_off(due, true, &profile.queue, &args.common, context);
    }
    let result = match (result, failed) {
        // How the run has ended says more, and is told in any case.
        (Ok(exit), Err(error)) => {
            Err(CliError { exit: if exit == Exit::Success { error.exit } else { exit }, ..error })
        }
        (Err(end), Err(error)) => {
            ui::show(&error);
            Err(end)
        }
        (result, Ok(())) => result,
    };
    match signal.load(Ordering::Relaxed) {
        0 => result,
        number => {
            if let Err(error) = &result {
                ui::show(error);
            }
            secret::settle();
            die_of(number);
            result
        }
    }
}

/// Where the messages go.
enum Goal {
    Servers(Vec<Outlet>),
    Queue(Inlet, Box<Keeping>),
}

/// The queue, and how messages are kept in it.
fn keeping(args: &BatchArgs, context: &Context, profile: &Profile) -> Result<Goal, CliError> {
    let terms = args.later.terms(&profile.queue, &Zoned::now(), context.is_quiet)?;
    let server = profile.server.as_ref().map_or_else(String::new, ToString::to_string);
    let keeping = Keeping {
        place: queue::place(profile, &args.place, context)?,
        route: Arc::new(Route { profile: profile.name.clone(), server }),
        priority: priority(args.message.priority),
        due: terms.due,
        expires: terms.expires,
        skips_bad: args.rows.skip_bad_rows,
    };
    warn_of_password(profile, &args.place, context);
    Ok(Goal::Queue(queue::inlet(&profile.queue, context)?, Box::new(keeping)))
}

/// The code that a batch ends with.
fn exit_of(verdict: &Verdict, found: &Preflight) -> Exit {
    let count = |state: State| verdict.counts[state as usize];
    match &verdict.end {
        Some(End::Trouble(trouble) | End::Queue(QueueError::Broker(trouble))) => Exit::of_trouble(trouble),
        Some(End::Ledger(_)) => Exit::Io,
        _ if verdict.has_more => Exit::TryAgain,
        _ if count(State::Failed) + count(State::Unknown) + found.failed + found.bad > 0 => Exit::Partial,
        _ => Exit::Success,
    }
}

/// Writes the original rows that are not settled well, with their errors, as the whole ledger tells.
fn write_failed(path: &Path, table: &Table, ledger: &Path) -> Result<(), CliError> {
    let mut errors = ledger::errors(ledger)?;
    let fail = |error: io::Error| {
        CliError::new(Exit::CannotCreate, format!("--failed {} cannot be written", path.display())).source(error)
    };
    let mut failed = Failed::create(path, table).map_err(fail)?;
    let mut reader = table.reader();
    while let Some(row) = reader.next_row() {
        let number = row.as_ref().map_or_else(|error| error.number, |row| row.number);
        let is_final = matches!(&row, Err(error) if error.is_final);
        let Some(why) = errors.take(number) else { if is_final { break } else { continue } };
        let position = row.as_ref().map_or_else(|error| error.position, |row| Some(row.position));
        failed.add(position, &why).map_err(fail)?;
        if is_final {
            break;
        }
    }
    failed.finish().map_err(fail)
}
