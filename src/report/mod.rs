//! From events to what people and programs read: lines on the terminal, records as JSON or CSV, progress.
//!
//! Presenters only: nothing here decides anything. Nothing secret comes here, and foreign text is clean.

mod batch;
mod histogram;
mod human;
mod log;
mod page;
mod plot;
mod progress;
mod reading;
mod reason;
mod tally;

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

pub use batch::{BatchProgress, event_line};
pub use human::{human_line, paint};
pub use log::Log;
pub use page::page;
pub use progress::{Progress, ProgressMode};
pub use reading::{Found, Reading};
pub use tally::Tally;

use crate::{
    ledger::{self, Clock, Fields, Record},
    mail::{Cause, Outcome, Stage, State, Trouble},
};

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line for people.
    Human,
    /// A JSON object per line.
    Json,
    /// Comma-separated values with a line of names.
    Csv,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file; records are added to its end.
    File(PathBuf),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Stdout => f.write_str("-"),
            Target::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Writes records wherever they are wanted: into a report, into the log. Of the report's first error it tells at the end,
/// and is silent until then; of the log's trouble the log tells itself.
#[derive(Default)]
pub struct Records {
    report: Option<Report>,
    log: Option<Log>,
    clock: Clock,
}

/// A report that is written.
struct Report {
    out: Box<dyn Write + Send>,
    format: Format,
    needs_names: bool,
    target: Target,
    error: Option<io::Error>,
}

impl Records {
    /// Opens a report. Without a format a file gets JSON, or CSV by its name, and standard output human lines.
    ///
    /// # Errors
    /// If the file cannot be opened for writing.
    pub fn open(target: Target, format: Option<Format>) -> io::Result<Self> {
        let (out, default, is_empty): (Box<dyn Write + Send>, _, _) = match &target {
            Target::Stdout => (Box::new(io::stdout()), Format::Human, true),
            Target::File(path) => {
                let file = File::options().append(true).create(true).open(path)?;
                let is_empty = file.metadata()?.len() == 0;
                let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
                (Box::new(file), if is_csv { Format::Csv } else { Format::Json }, is_empty)
            }
        };
        let mut report = Report::new(out, format.unwrap_or(default), target);
        report.needs_names &= is_empty;
        Ok(Self { report: Some(report), ..Self::default() })
    }

    /// A report into `out`, on its way to standard output.
    pub fn through(out: Box<dyn Write + Send>, format: Format) -> Self {
        Self { report: Some(Report::new(out, format, Target::Stdout)), ..Self::default() }
    }

    /// Writes into the log as well, if there is one.
    #[must_use]
    pub fn with_log(mut self, log: Option<Log>) -> Self {
        self.log = log;
        self
    }

    /// Writes one record, whole, at once.
    pub fn write(&mut self, record: &Record<'_>) {
        if self.report.is_none() && self.log.is_none() {
            return;
        }
        let fields = record.fields("outcome", self.clock.now());
        if let Some(report) = &mut self.report {
            report.write(&fields, record.outcome);
        }
        if let Some(log) = &mut self.log {
            log.write(&fields, record.outcome.state);
        }
    }

    /// An attempt after which a recipient is tried again, which the log has and a report has not.
    pub fn attempt(&mut self, record: &Record<'_>) {
        if let Some(log) = &mut self.log {
            log.write(&record.fields("attempt", self.clock.now()), record.outcome.state);
        }
    }

    /// A row that is not sent, likewise.
    pub fn skipped(&mut self, run: &str, row: u64, why: &str) {
        if let Some(log) = &mut self.log {
            let trouble = Trouble::new(Stage::Compose, Cause::Input, why);
            log.write(&ledger::skipped(run, row, &trouble, self.clock.now()), State::Skipped);
        }
    }

    /// The error that ended the report. A reader of standard output that has gone is none. What the log has not written is
    /// written now.
    pub fn finish(self) -> Option<(Target, io::Error)> {
        let report = self.report?;
        let error = report.error?;
        let is_end = report.target == Target::Stdout && error.kind() == io::ErrorKind::BrokenPipe;
        (!is_end).then_some((report.target, error))
    }
}

impl Report {
    fn new(out: Box<dyn Write + Send>, format: Format, target: Target) -> Self {
        Self { out, format, needs_names: format == Format::Csv, target, error: None }
    }

    fn write(&mut self, fields: &Fields<'_>, outcome: &Outcome) {
        if self.error.is_none() {
            self.error = self.try_to_write(fields, outcome).err();
        }
    }

    fn try_to_write(&mut self, fields: &Fields<'_>, outcome: &Outcome) -> io::Result<()> {
        let mut line = Vec::new();
        match self.format {
            Format::Human => writeln!(line, "{}", human_line(outcome))?,
            Format::Json => {
                fields.write_json(&mut line);
                line.push(b'\n');
            }
            Format::Csv => {
                let mut writer =
                    csv::WriterBuilder::new().has_headers(std::mem::take(&mut self.needs_names)).from_writer(&mut line);
                writer.serialize(fields).map_err(io::Error::other)?;
                writer.flush()?;
            }
        }
        self.out.write_all(&line)?;
        self.out.flush()
    }
}

/// Whether somebody sits before standard error.
pub fn is_attended() -> bool {
    io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{LogFormat, LogTable, LogTarget},
        mail::{Mailbox, Reply, Route},
    };
    use std::{fs, time::Duration};

    fn write(records: &mut Records) {
        let from = Mailbox::parse("a@x.example").unwrap().address;
        let outcome = Outcome {
            recipient: Mailbox::parse("b@y.example").unwrap().address,
            state: State::Accepted,
            stage: Stage::Data,
            reply: Some(Reply { code: 250, lines: vec!["2.0.0 Ok: queued as 4F2".to_owned()] }),
            trouble: None,
            remote_id: Some("4F2".to_owned()),
            dsn: Some(false),
            elapsed: Duration::from_millis(37),
        };
        let route = Route { profile: Some("work".to_owned()), server: "smtp.example.com:587".to_owned() };
        records.write(&Record {
            run: "r1",
            row: None,
            message_id: "<m@x>",
            from: Some(&from),
            outcome: &outcome,
            route: &route,
            attempts: 1,
            is_redelivered: false,
        });
    }

    #[test]
    fn csv_names_its_columns_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.csv");
        for _ in 0..2 {
            let mut records = Records::open(Target::File(path.clone()), None).unwrap();
            write(&mut records);
            assert!(records.finish().is_none());
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines[0].starts_with(
                "v,type,time,run,row,message_id,from,recipient,state,stage,code,enhanced,reply,attempts,\
                 profile,server,remote_id,elapsed_ms,error,dsn,redelivered"
            ),
            "{text}"
        );
        assert!(lines[2].ends_with(
            "Z,r1,,<m@x>,a@x.example,b@y.example,accepted,data,250,2.0.0,2.0.0 Ok: queued as 4F2,1,work,\
             smtp.example.com:587,4F2,37,,false,"
        ));
    }

    #[test]
    fn a_format_that_is_named_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.txt");
        let mut records = Records::open(Target::File(path.clone()), Some(Format::Human)).unwrap();
        write(&mut records);
        assert_eq!(fs::read_to_string(&path).unwrap(), "accepted b@y.example: 250 2.0.0 Ok: queued as 4F2\n");
        assert!(Records::open(Target::File(folder.path().to_owned()), None).is_err());
    }
    /// The log has all that a report has, and what only a ledger has beside it.
    #[test]
    fn a_record_goes_wherever_it_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let [report, log] = ["run.jsonl", "mail.log"].map(|name| folder.path().join(name));
        let open = || {
            let table = LogTable { target: Some(LogTarget::File(log.clone())), format: LogFormat::Json };
            Log::open(&table, "mailsend")
        };
        let mut records = Records::open(Target::File(report.clone()), None).unwrap().with_log(open());
        write(&mut records);
        records.skipped("r1", 9, "no address");
        assert!(records.finish().is_none());
        let mut alone = Records::default().with_log(open());
        write(&mut alone);
        assert!(alone.finish().is_none());
        let [report, log] = [report, log].map(|path| fs::read_to_string(path).unwrap());
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!((lines.len(), report.lines().next()), (3, Some(lines[0])));
        let skipped: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!(
            (&skipped["row"], &skipped["state"], &skipped["error"]),
            (&9.into(), &"skipped".into(), &"no address".into())
        );
        assert!(Log::open(&LogTable::default(), "mailsend").is_none());
        write(&mut Records::default());
    }
}
