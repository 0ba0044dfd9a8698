//! Shows what becomes of the queue, on a thread of its own: whoever reads slowly does not hold the conversation.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use crate::{
    cli::{
        CliError, Exit,
        args::{Context, ReportArgs},
        records, ui,
    },
    feed::QueueTold,
    ledger::Record,
    mail::{Event, State, clean},
    queue::Place,
    report::{Records, Target, event_line, human_line, paint},
};

/// Lines that wait to be shown; further ones are dropped, and counted.
const LINES: u64 = 10_000;

/// The engine's side.
pub(super) struct Presenter {
    telling: mpsc::Sender<Shown>,
    waiting: Arc<AtomicU64>,
    dropped: u64,
    records: Records,
    thread: JoinHandle<io::Result<()>>,
    is_quiet: bool,
    is_verbose: bool,
    /// Who is deferred is named, too.
    names_deferred: bool,
    has_colour: bool,
}

enum Shown {
    /// A record for standard output.
    Record(Vec<u8>),
    Line(String),
}

impl Presenter {
    /// A worker that `is_lasting` tries again, and says nothing of those who are deferred.
    pub fn start(report: &ReportArgs, context: &Context, is_lasting: bool) -> Result<Self, CliError> {
        let (telling, told) = mpsc::channel();
        let passing = telling.clone();
        let records = records::open_passing(report, context, move |line| passing.send(Shown::Record(line)).is_ok())?;
        let waiting: Arc<AtomicU64> = Arc::default();
        let thread = thread::spawn({
            let waiting = waiting.clone();
            move || show(&told, &waiting)
        });
        let (is_quiet, is_verbose, has_colour) = (context.is_quiet, context.is_verbose, ui::has_colour());
        let names_deferred = is_verbose || !(is_lasting || is_quiet);
        Ok(Self { telling, waiting, dropped: 0, records, thread, is_quiet, is_verbose, names_deferred, has_colour })
    }

    /// Must not wait: this is the engine's thread.
    pub fn told(&mut self, told: QueueTold<'_>) {
        match told {
            QueueTold::Settled(record) => {
                self.records.write(record);
                if record.outcome.state != State::Accepted || self.is_verbose {
                    self.record(record);
                }
            }
            QueueTold::Deferred(record) => {
                self.records.write(record);
                if self.names_deferred {
                    self.record(record);
                }
            }
            QueueTold::Taken | QueueTold::Alive => {}
            QueueTold::Held(name, why) => {
                self.line(format!("{name} is held: {}", clean(why)));
            }
            QueueTold::Rests(place, trouble, pause) => {
                self.line(format!("{} is left alone for {} min: {trouble}", name_of(place), pause.as_secs() / 60));
                for hint in &trouble.hints {
                    self.line(format!("  hint: {hint}"));
                }
            }
            QueueTold::Recovered(free, unknown) => {
                let messages = |count| if count == 1 { "1 message".to_owned() } else { format!("{count} messages") };
                if unknown > 0 {
                    self.line(format!(
                        "in doubt, since their worker is dead: {}; see mailsend queue list",
                        messages(unknown)
                    ));
                }
                if self.is_verbose && free > 0 {
                    self.line(format!("free again, since their worker is dead: {}", messages(free)));
                }
            }
            QueueTold::Failing(error) => self.line(format!("the queue cannot be used now: {error}")),
            QueueTold::Warning(what) => self.line(format!("warning: {}", clean(&what))),
            QueueTold::Event(event) => match event {
                Event::Trace(line) => self.line(line),
                Event::Note(line) if self.is_verbose => self.line(line),
                Event::Warning(line) if !self.is_quiet => self.line(format!("warning: {line}")),
                event if !self.is_quiet => {
                    if let Some(line) = event_line(&event) {
                        self.line(line);
                    }
                }
                _ => {}
            },
        }
    }

    fn record(&mut self, record: &Record<'_>) {
        let line = paint(&human_line(record.outcome), record.outcome.state, self.has_colour);
        self.line(format!("{}: {line}", record.run));
    }

    fn line(&mut self, line: String) {
        if self.waiting.load(Ordering::Relaxed) >= LINES {
            self.dropped += 1;
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // If the thread has met a defect, finish() tells.
        let _ = self.telling.send(Shown::Line(line));
    }

    /// Shows what is left.
    ///
    /// # Errors
    /// If the records are not complete.
    pub fn finish(self) -> Result<(), CliError> {
        drop(self.telling);
        let records = self.records.finish();
        let Ok(printed) = self.thread.join() else {
            return Err(CliError::new(Exit::Internal, "what became of the queue could not be shown"));
        };
        if self.dropped > 0 {
            ui::tell(&format!("{} more lines were not shown", self.dropped));
        }
        match records.or_else(|| Some((Target::Stdout, printed.err()?))) {
            None => Ok(()),
            Some((target, error)) => {
                Err(CliError::new(Exit::Io, format!("--report {target}: the records are not complete")).source(error))
            }
        }
    }
}

fn name_of(place: &Place) -> String {
    let name = place.profile.as_ref().map(|name| format!("profile '{name}'")).or_else(|| place.server.clone());
    clean(&name.unwrap_or_else(|| "the server".to_owned()))
}

/// The showing side. A reader that has gone ends the printing, nothing else.
fn show(told: &mpsc::Receiver<Shown>, waiting: &AtomicU64) -> io::Result<()> {
    let mut result = Ok(());
    for shown in told {
        match shown {
            Shown::Record(line) if result.is_ok() => result = ui::print_bytes(&line),
            Shown::Record(_) => {}
            Shown::Line(line) => {
                waiting.fetch_sub(1, Ordering::Relaxed);
                ui::tell(&line);
            }
        }
    }
    result
}
