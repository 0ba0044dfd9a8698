//! `mailsend worker`: sends what is in the queue, until it is stopped; and the same once, for whoever has added something.

mod intake;
mod jobs;
mod notify;
mod places;
mod presenter;
mod roots;
mod source;

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use clap::{Args, ValueHint};
use tokio::{sync::watch, time::sleep};

use self::{intake::Clerk, jobs::Jobs, notify::Notifier, places::Places, presenter::Presenter};
use super::{
    CliError, Exit,
    args::{CommonArgs, Context, FormatArg, ProgressArg, ReportArgs, WhereArgs},
    runtime,
    signals::{die_of, hangups, listen, listen_but_for_hangups},
    ui,
};
use crate::{
    config::{parse_duration, resolve_queue},
    delivery::make_room_for,
    feed::{Drained, Draining, QueueTold, Signals, drain},
    mail::{State, Stop, clean},
    smtp::changed,
};

/// Connections for which there is room in any case.
const CONNECTIONS: usize = 100;

/// Send what is in the queue, until stopped
#[derive(Debug, Args)]
#[command(after_help = "\
mailsend worker                                  sends whatever the queue has, as it comes due
mailsend worker -p work --report sent.jsonl      by 'work', where a message does not say how; and records
systemctl --user enable --now mailsend-worker    see man mailsend-queue

--profile, --server and the other options of where to send are for messages that name neither a profile nor a server.
What was said about the others when they were queued counts for them; --concurrency counts for all.

SIGTERM lets what is under way come to its end, a second one does not. A changed
configuration is seen; SIGHUP also tries again at once what was left alone.")]
pub struct WorkerArgs {
    #[command(flatten)]
    place: WhereArgs,

    /// Connections at once to each server (pool.max-connections)
    #[arg(long, help_heading = "Worker", value_name = "N")]
    concurrency: Option<usize>,

    /// How long a message is this worker's without a sign of life, 5m by default
    ///
    /// After this time another worker may take it up. It is renewed in good time; only a worker that was stopped, or a
    /// machine that has slept, loses it so.
    #[arg(long, help_heading = "Worker", value_name = "TIME")]
    lease: Option<String>,

    /// Make no queue in RabbitMQ; they have to be there (queue.declare = false)
    #[arg(long, help_heading = "Worker")]
    no_declare: bool,

    /// Write a record for every recipient that has ended or is deferred to FILE, or to standard output (-)
    ///
    /// A file gets a JSON object per line, or CSV if its name ends so; records are added to its end. Standard output
    /// gets lines for people. --format says it otherwise.
    #[arg(long, help_heading = "Report", value_name = "FILE", value_hint = ValueHint::FilePath)]
    report: Option<String>,

    /// Format of the records; without --report they go to standard output
    #[arg(long, help_heading = "Report", value_name = "FORMAT")]
    format: Option<FormatArg>,

    #[command(flatten)]
    common: CommonArgs,
}

const LEASE: Duration = Duration::from_secs(300);
/// A disk that is slow for a moment takes no message away.
const SHORTEST: Duration = Duration::from_secs(10);

/// Drains the queue until it is stopped.
pub fn worker(args: WorkerArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let lease = match &args.lease {
        None => LEASE,
        Some(text) => parse_duration(text)
            .and_then(|time| if time < SHORTEST { Err("at least 10s are wanted".to_owned()) } else { Ok(time) })
            .map_err(|what| CliError::usage(format!("--lease: {what}")))?,
    };
    let report = ReportArgs { report: args.report.clone(), format: args.format, progress: ProgressArg::None };
    let (place, concurrency, declares) = (args.place, args.concurrency, !args.no_declare);
    let job = Job { lease, is_lasting: true, limit: None, place, concurrency, declares };
    run(job, context, &report, &args.common).map(|_| Exit::Success)
}

/// Drains what is due now, for so long at most. `place` is for messages that name none.
///
/// The code is that of a batch: 75 if something is left that was due, else 1 if something has failed or is in doubt.
///
/// # Errors
/// If the queue cannot be used.
pub(super) fn drain_once(
    context: Context,
    common: &CommonArgs,
    limit: Option<Duration>,
    place: WhereArgs,
    concurrency: Option<usize>,
    report: &ReportArgs,
) -> Result<Exit, CliError> {
    let job = Job { lease: LEASE, is_lasting: false, limit, place, concurrency, declares: true };
    let drained = run(job, context, report, common)?;
    let count = |state: State| drained.counts[state as usize];
    Ok(if drained.has_more {
        Exit::TryAgain
    } else if count(State::Failed) + count(State::Unknown) + drained.held > 0 {
        Exit::Partial
    } else {
        Exit::Success
    })
}

/// How long, and by which way.
struct Job {
    lease: Duration,
    is_lasting: bool,
    limit: Option<Duration>,
    place: WhereArgs,
    concurrency: Option<usize>,
    declares: bool,
}

fn run(job: Job, context: Context, report: &ReportArgs, common: &CommonArgs) -> Result<Drained, CliError> {
    let rules = rules(&context)?;
    let notifier = Notifier::of_environment(&context.environment);
    let mut presenter = Presenter::start(report, &context, job.is_lasting)?;
    let wants_trace = context.wants_trace;
    let clerk = Clerk::new(context.clone(), common, job.place.clone())?;
    let places = Places::new(context, common, job.place.clone(), job.concurrency)?;
    let jobs = || Jobs::new(common.context()?, common, job.place);
    let (source, about) = source::open(places.context(), places.prefetch(), job.is_lasting, job.declares, jobs)?;
    let is_talkative = job.is_lasting && !places.context().is_quiet;
    if is_talkative {
        // Whoever looks into the journal sees when it began, and by which configuration.
        ui::tell(&about);
        if let Some(clerk) = &clerk {
            ui::tell(&clean(&format!("takes what is added to {}", clerk.path().display())));
        }
    }
    // Once for whoever ends, and for whoever stays all the time.
    let _attending = clerk.and_then(|mut clerk| {
        if job.is_lasting {
            return Some(clerk.attend());
        }
        clerk.take(&|| false);
        None
    });
    let places = RefCell::new(places);
    // Where there is less the pools tell: a place that cannot have its connections is left alone.
    let _ = make_room_for(CONNECTIONS);
    let draining = Draining { lease: job.lease, ends_idle: !job.is_lasting, wants_trace, ..rules };
    let signal = Arc::new(AtomicI32::new(0));
    let runtime = runtime()?;
    let drained = runtime.block_on(async {
        let asked = match job.is_lasting {
            true => listen_but_for_hangups(signal.clone()),
            false => listen(signal.clone()),
        };
        let stop = limited(asked, job.limit);
        let (renewed, renewal) = watch::channel(());
        let signals = Signals { stop: stop.clone(), renewal };
        let read = |ended: Result<bool, CliError>| match ended {
            Ok(true) => {
                if is_talkative {
                    ui::tell("the configuration has been read again");
                }
                renewed.send_replace(());
            }
            Ok(false) => {}
            Err(error) => ui::show(&error.hint("it goes on as before")),
        };
        let told = |told: QueueTold<'_>| {
            match told {
                QueueTold::Alive => {
                    notifier.alive();
                    read(places.borrow_mut().refresh(false));
                }
                QueueTold::Taken => read(places.borrow_mut().refresh(true)),
                _ => {}
            }
            presenter.told(told);
        };
        let ways = |place: &_| places.borrow().ways(place);
        let attending = attend(stop, job.is_lasting, &notifier, || read(places.borrow_mut().reload().map(|()| true)));
        tokio::select! {
            // First: a worker that has nothing to do ends as soon as it is asked to.
            biased;
            () = attending => Drained::default(),
            drained = drain(source, draining, ways, signals, told) => drained,
        }
    });
    // A thread that still reads, writes or waits for a keyring is not waited for.
    runtime.shutdown_background();
    let finished = presenter.finish();
    crate::secret::settle();
    if let Some(error) = drained.end {
        return Err(error.into());
    }
    finished?;
    match signal.load(Ordering::Relaxed) {
        number if number != 0 && !job.is_lasting => die_of(number),
        _ => {}
    }
    Ok(Drained { end: None, ..drained })
}

/// Tells the service manager of the end, and asks for the configuration anew when somebody wishes so. Never ends.
async fn attend(mut stop: watch::Receiver<Stop>, is_lasting: bool, notifier: &Notifier, reload: impl Fn()) {
    let mut hangups = hangups(is_lasting);
    loop {
        tokio::select! {
            _ = changed(&mut stop) => notifier.stopping(),
            () = hangups.next() => reload(),
        }
    }
}

/// Asks to end after this time as well.
fn limited(mut asked: watch::Receiver<Stop>, limit: Option<Duration>) -> watch::Receiver<Stop> {
    let Some(limit) = limit else { return asked };
    let (sender, stop) = watch::channel(*asked.borrow());
    tokio::spawn(async move {
        let mut limit = std::pin::pin!(sleep(limit));
        let mut is_over = false;
        loop {
            tokio::select! {
                wish = changed(&mut asked) => drop(sender.send(wish)),
                () = &mut limit, if !is_over => {
                    is_over = true;
                    sender.send_if_modified(|stop| std::mem::replace(stop, (*stop).max(Stop::Drain)) < Stop::Drain);
                }
            }
        }
    });
    stop
}

/// How the queue is drained.
fn rules(context: &Context) -> Result<Draining, CliError> {
    let table = resolve_queue(&context.files, &context.environment)?;
    Ok(Draining {
        lease: LEASE,
        retries_unknown: table.retries_unknown,
        on_failure: table.on_failure,
        lifetime: table.lifetime,
        keep: table.keep,
        ends_idle: false,
        wants_trace: false,
    })
}

#[cfg(test)]
mod tests;
