//! `mailsend queue list`, `show` and `stats`: the queue for people and for programs.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, ValueHint};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{NO_WORKER, broker, own, tell_of_dropped};
use crate::{
    cli::{
        CliError, Exit,
        args::{CommonArgs, Context},
        printed, runtime,
        send::write_message,
        ui,
    },
    config::resolve_queue,
    mail::clean,
    queue::{
        Entry, Outline, Stats, Status, Store, Time,
        amqp::{Broker, Count, Link, Purpose},
    },
};

/// So long a due message may wait before something must be wrong.
const TOO_LONG: i64 = 3_600_000;
/// Characters of a name that people are shown; they tell millions apart.
const SHOWN: usize = 10;

/// Lists messages.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Also those that have ended
    #[arg(long)]
    all: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    common: CommonArgs,
}

/// Shows a message.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Its name, or the beginning of it
    #[arg(value_name = "NAME")]
    name: String,

    /// Print JSON
    #[arg(long, conflicts_with = "eml")]
    json: bool,

    /// Write the message itself to FILE, - for standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    eml: Option<PathBuf>,

    #[command(flatten)]
    common: CommonArgs,
}

/// Shows figures.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    common: CommonArgs,
}

pub(super) fn list(args: &ListArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let (path, mut store) = own(&context)?;
    let now = now();
    let states: Vec<Status> = Status::ALL.into_iter().filter(|state| args.all || *state != Status::Done).collect();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut result = Ok(());
    let mut count = 0_u64;
    store.list(&states, &mut |outline| {
        if result.is_ok() {
            result = match args.json {
                true => write!(out, "{}{}", if count == 0 { "[\n" } else { ",\n" }, json(outline)),
                false => (if count == 0 { writeln!(out, "{HEAD}") } else { Ok(()) })
                    .and_then(|()| writeln!(out, "{}", row(outline, now))),
            };
        }
        count += 1;
    })?;
    let result = result.and_then(|()| match (args.json, count) {
        (true, 0) => writeln!(out, "[]"),
        (true, _) => writeln!(out, "\n]"),
        (false, _) => Ok(()),
    });
    let exit = printed(ui::written(result.and_then(|()| out.flush())))?;
    if count == 0 && !args.json && !context.is_quiet {
        ui::tell("the queue is empty");
    }
    warn(&store.stats(now)?, &path, &context);
    Ok(exit)
}

pub(super) fn show(args: &ShowArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let (_, mut store) = own(&context)?;
    let entry = store.show(&args.name)?;
    if let Some(file) = &args.eml {
        let Some(content) = store.content(&entry.outline.name)? else {
            return Err(CliError::new(
                Exit::NoInput,
                format!("message '{}' has ended, and its text is gone", entry.outline.name),
            ));
        };
        return write_message(file, &content).map(|()| Exit::Success);
    }
    match args.json {
        true => printed(ui::print(&format!("{}\n", json(&entry)))),
        false => printed(ui::print(&page(&entry, now()))),
    }
}

pub(super) fn stats(args: &StatsArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let table = resolve_queue(&context.files, &context.environment)?;
    if let Some(broker) = broker(&table, &context)? {
        return shared_stats(broker, args.json);
    }
    let (path, mut store) = own(&context)?;
    let stats = store.stats(now())?;
    let text = match args.json {
        true => {
            let mut value = serde_json::to_value(&stats).unwrap_or_default();
            value["path"] = path.display().to_string().into();
            value["has_worker"] = Store::has_worker(&path).into();
            format!("{value}\n")
        }
        false => {
            let mut lines = vec![
                ("waiting", stats.waiting.to_string()),
                ("due", stats.due.to_string()),
                ("leased", stats.leased.to_string()),
                ("held", stats.held.to_string()),
                ("done", stats.done.to_string()),
                ("failed", stats.failed.to_string()),
                ("octets", stats.octets.to_string()),
            ];
            lines.extend(stats.oldest_due.map(|time| ("due since", span(time))));
            lines.push(("worker", if Store::has_worker(&path) { "runs" } else { "none" }.to_owned()));
            lines.push(("queue", path.display().to_string()));
            lines.iter().map(|(name, value)| line(name, value)).collect()
        }
    };
    let exit = printed(ui::print(&text))?;
    warn(&stats, &path, &context);
    Ok(exit)
}

/// How much is in the queues of RabbitMQ, as far as it tells.
fn shared_stats(broker: Arc<Broker>, is_json: bool) -> Result<Exit, CliError> {
    let about = broker.to_string();
    let runtime = runtime()?;
    let counts = runtime.block_on(async {
        let link = Link::open(broker, Purpose::Looking).await?;
        let counts = link.counts().await;
        link.close().await;
        counts
    });
    // A thread that waits for a keyring is not waited for.
    runtime.shutdown_background();
    let counts = counts?;
    let text = match is_json {
        true => format!("{}\n", serde_json::json!({ "broker": about, "queues": counts })),
        false => {
            let shown = |count: &Count| format!("{} waiting, {} who take", count.messages, count.consumers);
            let width = counts.iter().map(|count| count.queue.chars().count()).max().unwrap_or_default() + 2;
            let lines = counts.iter().map(|count| format!("{:<width$}{}\n", clean(&count.queue), shown(count)));
            lines.chain([format!("{:<width$}{about}\n", "queue")]).collect()
        }
    };
    printed(ui::print(&text))
}

/// What waits without a worker, or for too long, may wait for nobody.
fn warn(stats: &Stats, path: &Path, context: &Context) {
    let has_worker = Store::has_worker(path);
    if context.is_quiet {
        return;
    }
    tell_of_dropped(path, context);
    match stats.oldest_due.filter(|time| *time > TOO_LONG) {
        Some(time) if has_worker => {
            ui::tell(&format!("a message has been due for {}: see what 'mailsend worker' says", span(time)));
        }
        Some(time) => ui::tell(&format!("a message has been due for {}, and {NO_WORKER}", span(time))),
        None if stats.waiting > 0 && !has_worker => ui::tell(NO_WORKER),
        None => {}
    }
}

pub(super) fn now() -> Time {
    Timestamp::now().as_millisecond()
}

const HEAD: &str = "NAME        STATUS    AGE  DUE      SIZE  FROM, TO";

/// A line of the list.
fn row(outline: &Outline, now: Time) -> String {
    let name: String = outline.name.chars().take(SHOWN).collect();
    let due = match (outline.status, outline.due) {
        (Status::Waiting, Some(due)) if due > now => span(due - now),
        (Status::Waiting, _) => "now".to_owned(),
        _ => "-".to_owned(),
    };
    let more = match outline.recipients {
        0 | 1 => String::new(),
        many => format!(" +{}", many - 1),
    };
    let failed = if outline.failed > 0 { format!(", {} failed", outline.failed) } else { String::new() };
    let why = outline.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let line = format!(
        "{name:<10}  {:<7}  {:>4}  {due:<4}  {:>7}  {} > {}{more}{failed}{why}",
        outline.status.as_str(),
        span(now - outline.added),
        size(outline.size),
        outline.sender.as_deref().unwrap_or("<>"),
        outline.first_recipient,
    );
    clean(&line)
}

/// All about a message, a name and a value per line.
fn page(entry: &Entry, now: Time) -> String {
    let outline = &entry.outline;
    let mut lines = vec![
        ("name", outline.name.clone()),
        ("status", outline.status.as_str().to_owned()),
        ("why", outline.why.clone().unwrap_or_default()),
        ("added", moment(outline.added, now)),
    ];
    if outline.status == Status::Waiting {
        lines.push((
            "due",
            outline.due.filter(|due| *due > now).map_or_else(|| "now".to_owned(), |due| moment(due, now)),
        ));
    }
    if outline.status != Status::Done {
        lines.push(("expires", moment(outline.expires, now)));
    }
    let priority = match outline.priority {
        0 => "",
        1.. => "high",
        _ => "low",
    };
    lines.extend([
        ("priority", priority.to_owned()),
        ("attempts", outline.attempts.to_string()),
        ("message", format!("{} octets, Message-ID {}", outline.size, outline.message_id)),
        ("key", entry.key.clone().unwrap_or_default()),
        ("profile", entry.place.profile.clone().unwrap_or_default()),
        ("server", entry.place.server.clone().unwrap_or_default()),
    ]);
    lines.extend(entry.place.settings.iter().map(|(key, value)| ("setting", format!("{key} = {value}"))));
    lines.push(("worker", entry.worker.clone().unwrap_or_default()));
    lines.push(("return path", outline.sender.clone().unwrap_or_else(|| "<>".to_owned())));
    let mut text: String =
        lines.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| line(name, value)).collect();
    for recipient in &entry.all {
        let state = recipient.state.map_or("open", crate::mail::State::as_str);
        let server = recipient.server.as_ref().map(|server| format!(" by {server}")).unwrap_or_default();
        let said = recipient.text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        let time = recipient.time.map(|time| format!(", {}", moment(time, now))).unwrap_or_default();
        text.push_str(&line("recipient", &format!("{}, {state}{server}{time}{said}", recipient.address)));
    }
    text
}

fn line(name: &str, value: &str) -> String {
    format!("{name:<12}{}\n", clean(value))
}

/// `2026-11-23 10:00:05 (5m ago)`, in local time.
fn moment(time: Time, now: Time) -> String {
    let Ok(moment) = Timestamp::from_millisecond(time) else { return time.to_string() };
    let local = moment.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string();
    match time > now {
        true => format!("{local} (in {})", span(time - now)),
        false => format!("{local} ({} ago)", span(now - time)),
    }
}

/// Milliseconds in one unit: `12s`, `5m`, `30h`, `12d`. A clock that was set back makes nothing younger than new.
fn span(milliseconds: i64) -> String {
    const UNITS: [(i64, i64, &str); 3] = [(120, 1, "s"), (120 * 60, 60, "m"), (48 * 3_600, 3_600, "h")];
    let seconds = milliseconds.max(0) / 1_000;
    let unit = UNITS.into_iter().find(|(below, ..)| seconds < *below);
    let (_, length, unit) = unit.unwrap_or((0, 86_400, "d"));
    format!("{}{unit}", seconds / length)
}

/// Octets in one unit: `512`, `12k`, `3.4M`.
fn size(octets: u64) -> String {
    match octets {
        0..10_000 => octets.to_string(),
        10_000..1_000_000 => format!("{}k", octets / 1_000),
        _ => format!("{:.1}M", octets as f64 / 1e6),
    }
}

/// As JSON in one line.
fn json(what: &impl Serialize) -> Value {
    serde_json::to_value(what).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline() -> Outline {
        Outline {
            name: "0123456789abcdefghij".to_owned(),
            status: Status::Waiting,
            added: 1_000_000,
            due: Some(1_300_000),
            expires: 9_000_000,
            priority: 0,
            attempts: 1,
            size: 12_345,
            sender: None,
            recipients: 3,
            open: 2,
            failed: 0,
            first_recipient: "b@x.example".to_owned(),
            message_id: "<m@x>".to_owned(),
            why: Some("450 \u{1b}[2Jlater".to_owned()),
        }
    }

    #[test]
    fn a_line_for_people() {
        let line = row(&outline(), 1_200_000);
        assert_eq!(line, "0123456789  waiting    3m  100s      12k  <> > b@x.example +2: 450 \u{FFFD}[2Jlater");
        let held =
            Outline { status: Status::Held, sender: Some("a@x".to_owned()), recipients: 1, why: None, ..outline() };
        assert_eq!(row(&held, 900_000), "0123456789  held       0s  -         12k  a@x > b@x.example");
        assert!(row(&outline(), 1_300_000).contains("  now  "));
        let failed = Outline { status: Status::Done, failed: 2, ..outline() };
        assert!(row(&failed, 1_300_000).ends_with(" > b@x.example +2, 2 failed: 450 \u{FFFD}[2Jlater"));
    }

    #[test]
    fn units() {
        let spans = [-5, 119_999, 120_000, 7_200_000, 172_800_000].map(span);
        assert_eq!(spans, ["0s", "119s", "2m", "2h", "2d"]);
        assert_eq!([9_999, 10_000, 3_400_000].map(size), ["9999", "10k", "3.4M"]);
    }

    #[test]
    fn moments_are_those_of_records() {
        let value = json(&outline());
        assert_eq!(value["added"], "1970-01-01T00:16:40.000Z");
        assert_eq!((&value["status"], &value["size"]), (&"waiting".into(), &12_345.into()));
        assert_eq!(json(&Outline { due: None, ..outline() })["due"], Value::Null);
    }
}
