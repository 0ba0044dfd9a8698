//! Shows a batch while it goes, on a thread of its own: whoever reads slowly does not hold the conversation.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::Book;
use crate::{
    cli::{
        CliError, Exit,
        args::{Context, ReportArgs},
        records, ui,
    },
    feed::{BatchTold, End, Verdict},
    mail::{Event, State, clean},
    report::{BatchProgress, ProgressMode, Records, Tally, Target, human_line, is_attended, paint},
};

/// Lines that wait to be shown; further ones are counted only, and stand in the ledger.
const LINES: usize = 10_000;
const TICK: Duration = Duration::from_millis(100);

/// The engine's side: counts, and passes on what is to be shown.
pub(super) struct Presenter {
    tally: Tally,
    counts: Arc<[AtomicU64; State::ALL.len()]>,
    telling: mpsc::Sender<Shown>,
    waiting: Arc<AtomicU64>,
    dropped: u64,
    records: Records,
    run: String,
    thread: JoinHandle<(BatchProgress, io::Result<()>)>,
    mode: ProgressMode,
    total: u64,
    is_quiet: bool,
    is_verbose: bool,
    has_colour: bool,
}

enum Shown {
    /// A record for standard output.
    Record(Vec<u8>),
    Line(String),
    Event(Event),
}

impl Presenter {
    pub fn start(report: &ReportArgs, context: &Context, run: &str, total: u64) -> Result<Self, CliError> {
        let (telling, told) = mpsc::channel();
        let records = match report.target() {
            // The ledger is the report.
            Some(Target::File(path)) if !super::is_csv(&path, report) => {
                Records::default().with_log(records::log(context)?)
            }
            _ => {
                // Whoever reads standard output may be slow, and misses none.
                let telling = telling.clone();
                records::open_passing(report, context, move |line| telling.send(Shown::Record(line)).is_ok())?
            }
        };
        let tally = Tally::new();
        let counts: Arc<[AtomicU64; State::ALL.len()]> = Arc::default();
        let waiting: Arc<AtomicU64> = Arc::default();
        let mode = report.progress();
        let thread = thread::spawn({
            let (counts, waiting) = (counts.clone(), waiting.clone());
            move || show(BatchProgress::new(mode, Some(total)), &counts, &waiting, &told)
        });
        Ok(Self {
            tally,
            counts,
            telling,
            waiting,
            dropped: 0,
            records,
            run: run.to_owned(),
            thread,
            mode,
            total,
            is_quiet: context.is_quiet,
            is_verbose: context.is_verbose,
            has_colour: ui::has_colour(),
        })
    }

    /// Must not wait: this is the engine's thread.
    pub fn told(&mut self, told: BatchTold<'_>) {
        match told {
            BatchTold::Settled(record) => {
                let outcome = record.outcome;
                self.tally.settled(record);
                self.counts[outcome.state as usize].fetch_add(1, Ordering::Relaxed);
                self.records.write(record);
                let is_shown = match outcome.state {
                    State::Accepted | State::Queued => false,
                    State::Skipped => self.is_verbose,
                    _ => true,
                };
                if is_shown {
                    let line = paint(&human_line(outcome), outcome.state, self.has_colour);
                    self.line(format!("row {}: {line}", record.row.unwrap_or_default()));
                }
            }
            BatchTold::Deferred(record) => {
                self.tally.deferred(record);
                self.records.attempt(record);
                if self.is_verbose {
                    let line = paint(&human_line(record.outcome), record.outcome.state, self.has_colour);
                    self.line(format!("row {}: {line}, attempt {}", record.row.unwrap_or_default(), record.attempts));
                }
            }
            BatchTold::Left(row, why) => self.line(format!("row {row}: not sent now: {}", clean(why))),
            BatchTold::Skipped(row, why) => {
                self.tally.skipped();
                self.records.skipped(&self.run, row, why);
                self.counts[State::Skipped as usize].fetch_add(1, Ordering::Relaxed);
                self.line(format!("row {row}: not sent: {}", clean(why)));
            }
            BatchTold::Event(event) => {
                self.tally.event(&event);
                match event {
                    Event::Trace(line) => self.line(line),
                    Event::Note(line) if self.is_verbose => self.line(line),
                    Event::Warning(line) if !self.is_quiet => self.line(format!("warning: {line}")),
                    Event::Breaker { .. } | Event::Slowed { .. } => drop(self.telling.send(Shown::Event(event))),
                    _ => {}
                }
            }
        }
    }

    fn line(&mut self, line: String) {
        if self.waiting.load(Ordering::Relaxed) >= LINES as u64 {
            self.dropped += 1;
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // If the thread has met a defect, finish() tells.
        let _ = self.telling.send(Shown::Line(line));
    }

    /// Says how it has ended, and with which ledger and rows to go on, if these are others than those of the command.
    pub fn finish(self, verdict: Verdict, book: &Book, rows: Option<&Path>, exit: Exit) -> Result<Exit, CliError> {
        drop(self.telling);
        let records = self.records.finish();
        let Ok((progress, printed)) = self.thread.join() else {
            return Err(CliError::new(Exit::Internal, "the batch could not be shown"));
        };
        let records = match printed {
            Err(error) if records.is_none() => Some((Target::Stdout, error)),
            _ => records,
        };
        if self.dropped > 0 {
            ui::tell(&format!("{} more lines are in the ledger only", self.dropped));
        }
        let is_told = !self.is_quiet && (is_attended() || self.is_verbose);
        if is_told || (exit != Exit::Success && !self.is_quiet) || self.mode == ProgressMode::Json {
            progress.summary(&self.tally);
        }
        let left = self.total.saturating_sub(verdict.counts.iter().sum());
        if verdict.has_more && left > 0 && !self.is_quiet {
            ui::tell(&format!("not settled: {left} of {}", self.total));
        }
        let path = book.path.display();
        if !book.is_named && (is_told || exit != Exit::Success) {
            ui::tell(&format!("ledger: {path}"));
        }
        if let Some((target, error)) = records {
            let exit = if exit == Exit::Success { Exit::Io } else { exit };
            return Err(CliError::new(exit, format!("--report {target}: the records are not complete")).source(error));
        }
        let mut again = "go on later: the same command with --resume".to_owned();
        if let Some(rows) = rows {
            again.push_str(&format!(", and {} in place of -", rows.display()));
        }
        if book.is_named {
            again.push_str(&format!(" (the ledger is {path})"));
        }
        match verdict.end {
            Some(End::Trouble(trouble)) => {
                let error = CliError::from(trouble);
                Err(CliError { exit, ..error.hint(again) })
            }
            Some(End::Refused(count, reply)) => Err(CliError::new(
                exit,
                format!("stopped: {count} messages in a row were refused alike, as by a quota: {}", clean(&reply)),
            )
            .hint(again)
            .hint("if it is none: --stop-after-failures 0")),
            Some(End::Unreachable(time)) => {
                Err(CliError::new(exit, format!("stopped: no server could be used for {} s", time.as_secs()))
                    .hint(again))
            }
            Some(End::Ledger(error)) => {
                Err(CliError::new(exit, format!("{path} cannot be written; nothing more was sent"))
                    .source(error)
                    .hint("make room, then go on: the same command with --resume"))
            }
            Some(End::Queue(error)) => Err(CliError::from(error).hint(again)),
            Some(End::Stopped) | None => {
                if verdict.has_more && !self.is_quiet {
                    ui::tell(&again);
                }
                Ok(exit)
            }
        }
    }
}

/// The showing side.
fn show(
    mut progress: BatchProgress,
    counts: &[AtomicU64; State::ALL.len()],
    waiting: &AtomicU64,
    told: &mpsc::Receiver<Shown>,
) -> (BatchProgress, io::Result<()>) {
    let mut result = Ok(());
    let mut shown = [0; State::ALL.len()];
    loop {
        let one = told.recv_timeout(TICK);
        for (state, (seen, count)) in State::ALL.into_iter().zip(shown.iter_mut().zip(counts)) {
            let count = count.load(Ordering::Relaxed);
            progress.settled_many(state, count - std::mem::replace(seen, count));
        }
        match one {
            // A reader that has gone ends the printing, nothing else.
            Ok(Shown::Record(line)) if result.is_ok() => result = ui::print_bytes(&line),
            Ok(Shown::Record(_)) => {}
            Ok(Shown::Line(line)) => {
                waiting.fetch_sub(1, Ordering::Relaxed);
                progress.print(&line);
            }
            Ok(Shown::Event(event)) => progress.event(&event),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    progress.finish();
    (progress, result)
}
