//! Takes what users have left in the drop directory into the queue, on a thread of its own while a worker stays.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::places::Places;
use crate::{
    cli::{
        CliError,
        args::{CommonArgs, Context, WhereArgs},
        queue, records, ui,
    },
    config::{profile_names, resolve_queue, resolve_sendmail},
    mail::{Route, clean},
    message::Stamp,
    queue::{Drop, Dropped, Intake, Job, Place, Store, Time},
    report::Records,
};

/// The folder is looked at so often.
const LOOK: Duration = Duration::from_secs(1);

/// Takes messages in.
pub(super) struct Clerk {
    intake: Intake,
    places: Places,
    /// The queue of this machine; RabbitMQ is asked anew each time.
    store: Option<Store>,
    /// Where it is noted what has come, since those who leave it cannot do that.
    records: Records,
    /// What was wrong the last time.
    trouble: Option<String>,
}

/// A clerk at work, who ends with this.
pub(super) struct Attending {
    thread: Option<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
    wake: Option<mpsc::Sender<()>>,
}

impl Clerk {
    /// For the drop directory, if there is one and it is ours; `own` is the way of messages that name none.
    ///
    /// # Errors
    /// If it, the queue or the configuration cannot be used.
    pub fn new(context: Context, common: &CommonArgs, own: WhereArgs) -> Result<Option<Self>, CliError> {
        let Some(path) = resolve_sendmail(&context.files, &context.environment)?.drop else { return Ok(None) };
        match fs::metadata(&path).map(|metadata| metadata.uid()) {
            Ok(owner) if owner == rustix::process::geteuid().as_raw() => {}
            Ok(owner) => {
                let folder = path.display();
                if !context.is_quiet {
                    ui::tell(&clean(&format!(
                        "nothing is taken from the drop directory {folder}: it is user {owner}'s"
                    )));
                }
                return Ok(None);
            }
            Err(error) => {
                let what = format!("warning: nothing is taken from the drop directory {}: {error}", path.display());
                ui::tell(&clean(&what));
                return Ok(None);
            }
        }
        let intake = Intake::new(&Drop::open(&path)?)?;
        let table = resolve_queue(&context.files, &context.environment)?;
        let store = match table.url {
            Some(_) => None,
            None => Some(queue::open(&queue::file(&table, &context)?)?),
        };
        let records = Records::default().with_log(records::log_for_many(&context)?);
        let places = Places::new(context, common, own, None)?;
        Ok(Some(Self { intake, places, store, records, trouble: None }))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.intake.path()
    }

    /// Takes what is there, until it `is_over`. Why that is not possible now is told once.
    pub fn take(&mut self, is_over: &dyn Fn() -> bool) {
        if !self.intake.has_news() {
            return;
        }
        let trouble = self.try_to_take(is_over).err().map(|error| error.lines());
        let first = trouble.as_ref().and_then(|lines| lines.first().cloned());
        if first != self.trouble {
            trouble.into_iter().flatten().for_each(|line| ui::tell(&line));
        }
        self.trouble = first;
    }

    fn try_to_take(&mut self, is_over: &dyn Fn() -> bool) -> Result<(), CliError> {
        // What is wrong with the configuration the worker tells.
        let _ = self.places.refresh(true);
        let Self { intake, places, store, records, .. } = self;
        let context = places.context();
        let table = resolve_queue(&context.files, &context.environment)?;
        let lifetime = Time::try_from(table.lifetime.as_millis()).unwrap_or(Time::MAX);
        let mut keep = |batch: Vec<Dropped>| {
            if context.is_verbose {
                batch.iter().for_each(|dropped| ui::tell(&format!("{} is of user {}", dropped.name, dropped.user)));
            }
            let named = |Dropped { name, job, .. }| (name, Job { place: place(&job, places), ..job });
            let named: Vec<(String, Job)> = batch.into_iter().map(named).collect();
            let added = match store {
                Some(store) => store.add_named(&named)?,
                None => {
                    let jobs: Vec<Job> = named.iter().map(|(_, job)| Job { key: None, ..job.clone() }).collect();
                    queue::add(&jobs, &table, context)?
                }
            };
            let run = Stamp::now().mark();
            for ((name, first), (_, job)) in added.iter().zip(&named) {
                // What was there before was noted then.
                if first.is_none() {
                    records::queued(records, &run, job, name, &route(job, places));
                }
            }
            Ok(())
        };
        intake.take(lifetime, &mut keep, &mut |line| ui::tell(&line), is_over)
    }

    /// Takes whatever comes, until what is returned is dropped.
    pub fn attend(mut self) -> Attending {
        let is_over: Arc<AtomicBool> = Arc::default();
        let (wake, woken) = mpsc::channel();
        let thread = thread::spawn({
            let is_over = is_over.clone();
            move || {
                loop {
                    self.take(&|| is_over.load(Ordering::Relaxed));
                    match woken.recv_timeout(LOOK) {
                        Err(RecvTimeoutError::Timeout) => {}
                        _ => break,
                    }
                }
            }
        });
        Attending { thread: Some(thread), is_over, wake: Some(wake) }
    }
}

impl std::ops::Drop for Attending {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.wake = None;
        // What was begun comes to its end. Its defects have been told.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// By which way: the profile that the message names, if there is one, else that of its sender, else the worker's own.
fn place(job: &Job, places: &Places) -> Place {
    let names = profile_names(&places.context().files);
    match &job.place.profile {
        Some(name) if names.contains_key(name) => Place { profile: Some(name.clone()), ..Place::default() },
        // Of a sender who could mean several profiles nobody knows more than the worker.
        _ => job.envelope.from().and_then(|sender| places.of_sender(sender).ok()).unwrap_or_default(),
    }
}

/// The way of a message as it is now.
fn route(job: &Job, places: &Places) -> Route {
    let profile = places.profile(&job.place).unwrap_or_default();
    Route { profile: profile.name, server: profile.server.map_or_else(String::new, |server| server.to_string()) }
}
