//! Messages are taken out of the drop directory. Whoever can make files there may have made anything: nothing of it is
//! believed, and nothing of it is in the way of what others have added.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read},
    mem,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use rustix::{fs::OFlags, io::Errno};

use super::{Drop, MOST_HEAD, UNFINISHED};
use crate::{
    mail::clean,
    message::Stamp,
    queue::{
        Job, Letter, QueueError, Time,
        letter::{self, is_name},
    },
};

/// Messages that are kept at once, and their octets.
const MANY: usize = 100;
const LARGE: u64 = 8 << 20;
/// Octets of a file: those of a message, and of the line before it.
const MOST: u64 = letter::MOST + MOST_HEAD as u64;
/// What was not finished by then is not finished any more, in seconds.
const STALE: i64 = 24 * 3_600;
/// A folder that has changed so lately may have changed once more since, at the same time by its clock.
const RECENTLY: Duration = Duration::from_secs(2);
/// The folder for what is no message.
const REJECTED: &str = "rejected";
/// Lines about what is no message, of one round.
const LINES: usize = 20;
/// Names of what cannot be moved, or be read now, and was told.
pub(super) const KNOWN: usize = 1_000;
/// What cannot be read now is looked at again after this.
const LATER: Duration = Duration::from_secs(30);
/// What was rejected is kept so long, in seconds, and so many files of it.
const REJECTED_AGE: i64 = 30 * 24 * 3_600;
pub(super) const REJECTED_FILES: usize = 1_000;

/// A message that a user has added.
#[derive(Debug, Clone)]
pub struct Dropped {
    /// Its name.
    pub name: String,
    /// The message. Its key tells it from all others, so that it is not kept twice; its place is the profile it wishes for.
    pub job: Job,
    /// The number of the user.
    pub user: u32,
}

/// Takes messages out of a folder that is ours.
#[derive(Debug)]
pub struct Intake {
    path: PathBuf,
    user: u32,
    /// When the folder had changed last, where nothing can have come since.
    seen: Option<SystemTime>,
    /// When it is looked through even so, since something could not be read.
    pub(super) again: Option<Instant>,
    /// What stays where it is, though it is no message.
    staying: Known,
    /// What could not be read.
    late: Known,
    stamp: Stamp,
}

/// Names of which was told, as far as there is room for them.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub names: HashSet<OsString>,
    pub is_full: bool,
}

impl Known {
    /// What is to be said of this name for the first time: the line, or that there are too many.
    pub fn tell(
        &mut self,
        name: &OsStr,
        line: impl FnOnce() -> String,
        more: impl FnOnce() -> String,
    ) -> Option<String> {
        if self.names.contains(name) {
            return None;
        }
        if self.names.len() < KNOWN {
            self.names.insert(name.to_owned());
            return Some(line());
        }
        (!mem::replace(&mut self.is_full, true)).then(more)
    }

    /// Forgets what was not found any more.
    pub fn retain(&mut self, found: &HashSet<OsString>) {
        self.names.retain(|name| found.contains(name));
        self.is_full &= self.names.len() == KNOWN;
    }
}

/// What is done with what was found.
struct Round<'a, E> {
    batch: Vec<Dropped>,
    octets: u64,
    lines: usize,
    /// What stays where it is, and what could not be read: those of the names that are known.
    staying: HashSet<OsString>,
    late: HashSet<OsString>,
    is_any_late: bool,
    keep: &'a mut dyn FnMut(Vec<Dropped>) -> Result<(), E>,
    tell: &'a mut dyn FnMut(String),
}

/// Why a file is no message that can be kept.
enum No {
    /// It has gone.
    Gone,
    /// It is none, and never will be.
    Message(String),
    /// The system says so: another time.
    Now(io::Error),
}

impl<E> Round<'_, E> {
    /// Tells of what is no message.
    fn line(&mut self, line: String) {
        self.lines += 1;
        if self.lines <= LINES {
            (self.tell)(line);
        }
    }
}

impl From<io::Error> for No {
    fn from(error: io::Error) -> Self {
        let is = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
        match error.kind() {
            ErrorKind::NotFound => No::Gone,
            ErrorKind::PermissionDenied => No::Message("it cannot be read".to_owned()),
            _ if is(Errno::LOOP) || is(Errno::NXIO) => No::Message("it is no file".to_owned()),
            _ => No::Now(error),
        }
    }
}

impl Intake {
    /// For our drop directory.
    ///
    /// # Errors
    /// If its files would not be ours to read.
    pub fn new(drop: &Drop) -> Result<Self, QueueError> {
        let path = drop.path.clone();
        let user = rustix::process::geteuid();
        let groups = rustix::process::getgroups().unwrap_or_default();
        let own = rustix::process::getegid().as_raw();
        let has_group = own == drop.group || groups.iter().any(|group| group.as_raw() == drop.group);
        if !has_group && !user.is_root() {
            let what = format!("its owner is not in its group ({}), and could not read what is added", drop.group);
            let hint = format!("chgrp {own} {0}; chmod {1:o} {0}", path.display(), super::MODE);
            return Err(QueueError::Exposed { path, what, hint });
        }
        Ok(Self {
            path,
            user: user.as_raw(),
            seen: None,
            again: None,
            staying: Known::default(),
            late: Known::default(),
            stamp: Stamp::now(),
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there may be something new since it was looked through last. Costs next to nothing.
    pub fn has_news(&self) -> bool {
        self.seen.is_none()
            || changed(&self.path).ok() != self.seen
            || self.again.is_some_and(|again| again <= Instant::now())
    }

    /// Takes what is there, up to so many at once, until it `is_over`. A message is removed once `keep` has kept it; none is
    /// kept longer than `lifetime`, in milliseconds. `tell` hears of everything that is no message, in lines for people:
    /// it lies in the folder `rejected` then.
    ///
    /// # Errors
    /// Of `keep`, and of the folder: what was not kept is there the next time. A file that cannot be read now is told, and
    /// is in nobody's way.
    pub fn take<E: From<QueueError>>(
        &mut self,
        lifetime: Time,
        keep: &mut dyn FnMut(Vec<Dropped>) -> Result<(), E>,
        tell: &mut dyn FnMut(String),
        is_over: &dyn Fn() -> bool,
    ) -> Result<(), E> {
        // It may be another one by now.
        Drop::open(&self.path)?;
        let folder = File::open(&self.path).map_err(|error| self.failed(&error))?;
        match folder.try_lock() {
            Ok(()) => {}
            // Another worker is about it. It is free again when that one has closed it.
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(self.failed(&error).into()),
        }
        let mut round = Round {
            batch: Vec::new(),
            octets: 0,
            lines: 0,
            staying: HashSet::new(),
            late: HashSet::new(),
            is_any_late: false,
            keep,
            tell,
        };
        let taken = self.take_all(lifetime, &mut round, is_over);
        if round.lines > LINES {
            (round.tell)(format!("{}: {} more are no messages", self.path.display(), round.lines - LINES));
        }
        if round.lines > 0 {
            self.clear_rejected(&mut round);
        }
        taken
    }

    fn take_all<E: From<QueueError>>(
        &mut self,
        lifetime: Time,
        round: &mut Round<'_, E>,
        is_over: &dyn Fn() -> bool,
    ) -> Result<(), E> {
        self.seen = None;
        let changed = changed(&self.path).map_err(|error| self.failed(&error))?;
        let now = jiff::Timestamp::now().as_millisecond();
        for entry in fs::read_dir(&self.path).map_err(|error| self.failed(&error))? {
            if is_over() {
                return self.keep(round);
            }
            let name = entry.map_err(|error| self.failed(&error))?.file_name();
            match self.look(&name, now) {
                Ok(Some((Dropped { name, job, user }, octets))) => {
                    round.batch.push(Dropped { name, job: modest(job, now, lifetime), user });
                    round.octets += octets;
                    if round.batch.len() >= MANY || round.octets >= LARGE {
                        self.keep(round)?;
                    }
                }
                Ok(None) | Err(No::Gone) => {}
                Err(No::Message(why)) => self.reject(&name, &why, round),
                Err(No::Now(error)) => self.leave(name, &error, round),
            }
        }
        self.keep(round)?;
        self.staying.retain(&round.staying);
        self.late.retain(&round.late);
        self.again = round.is_any_late.then(|| Instant::now() + LATER);
        let is_old = SystemTime::now().duration_since(changed).is_ok_and(|age| age > RECENTLY);
        self.seen = Some(changed).filter(|_| is_old);
        Ok(())
    }

    /// Has what was found kept, and removes it.
    fn keep<E: From<QueueError>>(&self, round: &mut Round<'_, E>) -> Result<(), E> {
        round.octets = 0;
        let batch = mem::take(&mut round.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let paths: Vec<PathBuf> = batch.iter().map(|dropped| self.path.join(&dropped.name)).collect();
        (round.keep)(batch)?;
        for path in paths {
            match fs::remove_file(&path) {
                // Its maker was faster, and may have made something else in its place.
                Err(_) if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) => {}
                removed => removed.map_err(|error| self.failed(&error))?,
            }
        }
        Ok(())
    }

    /// What there is: a message and the octets of its file, nothing yet, or no message.
    fn look(&self, name: &OsStr, now: Time) -> Result<Option<(Dropped, u64)>, No> {
        let path = self.path.join(name);
        let metadata = fs::symlink_metadata(&path)?;
        if name == REJECTED && self.is_own_folder(&metadata) {
            return Ok(None);
        }
        let text = name.to_str().unwrap_or_default();
        if text.strip_suffix(UNFINISHED).is_some_and(is_name) && metadata.is_file() {
            // Its maker can set any time but this one.
            if now / 1_000 - metadata.ctime() > STALE {
                fs::remove_file(&path)?;
            }
            return Ok(None);
        }
        if !is_name(text) {
            return Err(No::Message("a message has another kind of name".to_owned()));
        }
        check(&metadata)?;
        // Whatever it may have become meanwhile.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&path)?;
        let metadata = file.metadata()?;
        check(&metadata)?;
        let mut octets = Vec::new();
        file.take(MOST + 1).read_to_end(&mut octets)?;
        let length = octets.len() as u64;
        if length > MOST {
            return Err(too_large());
        }
        let letter = Letter::decode(&octets).map_err(No::Message)?;
        // In the queue it may be longer than here, by the names of domains, and no queue must fail for that.
        if memchr::memchr(b'\n', &octets).is_some_and(|head| head > MOST_HEAD / 8) {
            letter.seal(MOST_HEAD).map_err(|error| No::Message(error.to_string()))?;
        }
        if letter.name != text {
            return Err(No::Message("it is the message of another name".to_owned()));
        }
        // Nobody else can have this key: neither by a file of their own, nor by the name of one that is not theirs.
        let key = Some(format!("drop {} {text}", metadata.uid()));
        let dropped = Dropped { name: letter.name, job: Job { key, ..letter.job }, user: metadata.uid() };
        Ok(Some((dropped, length)))
    }

    fn is_own_folder(&self, metadata: &Metadata) -> bool {
        metadata.is_dir() && metadata.uid() == self.user
    }

    /// Moves what is no message away, or leaves it where it is if that is not possible.
    fn reject<E>(&mut self, name: &OsStr, why: &str, round: &mut Round<'_, E>) {
        if self.staying.names.contains(name) {
            round.staying.insert(name.to_owned());
            return;
        }
        let path = self.path.join(name);
        let user = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.uid());
        let new = format!("{REJECTED}/{user}-{}", self.stamp.mark());
        let what = clean(&format!("{} of user {user} is no message: {why}", path.display()));
        match self.make_rejected().and_then(|()| fs::rename(&path, self.path.join(&new))) {
            Ok(()) => round.line(format!("{what}; it is {new} now")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let line = || format!("{what}; it stays where it is: {error}");
                let more = || format!("{}: more than {KNOWN} stay that are no messages", self.path.display());
                if let Some(line) = self.staying.tell(name, line, more) {
                    round.line(line);
                }
                if self.staying.names.contains(name) {
                    round.staying.insert(name.to_owned());
                }
            }
        }
    }

    /// Leaves for later what cannot be read now.
    fn leave<E>(&mut self, name: OsString, error: &io::Error, round: &mut Round<'_, E>) {
        let path = self.path.join(&name);
        let line = || clean(&format!("{} cannot be read now, and is looked at again: {error}", path.display()));
        let more = || format!("{}: more than {KNOWN} files cannot be read now", self.path.display());
        if let Some(line) = self.late.tell(&name, line, more) {
            (round.tell)(line);
        }
        round.is_any_late = true;
        if self.late.names.contains(&name) {
            round.late.insert(name);
        }
    }

    /// Removes the oldest of what was rejected, where it is too old or too much.
    fn clear_rejected<E>(&self, round: &mut Round<'_, E>) {
        let path = self.path.join(REJECTED);
        let is_ours = fs::symlink_metadata(&path).is_ok_and(|metadata| self.is_own_folder(&metadata));
        let Ok(entries) = fs::read_dir(&path) else { return };
        if !is_ours {
            return;
        }
        // Nobody but us can have set this time.
        let mut files: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some(((metadata.ctime(), metadata.ctime_nsec()), metadata.is_dir(), entry.path()))
            })
            .collect();
        files.sort();
        let many = files.len().saturating_sub(REJECTED_FILES);
        let oldest = jiff::Timestamp::now().as_second() - REJECTED_AGE;
        let old = files.partition_point(|((changed, _), ..)| *changed < oldest);
        let remove = |(_, is_folder, path): &(_, bool, PathBuf)| match is_folder {
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        };
        let removed = files[..many.max(old)].iter().filter(|file| remove(file).is_ok()).count();
        if removed > 0 {
            let days = REJECTED_AGE / (24 * 3_600);
            let why = format!("no more than {REJECTED_FILES} are kept, and for {days} days");
            (round.tell)(format!("{}: the oldest {removed} were removed: {why}", path.display()));
        }
    }

    /// Makes the folder for what is no message. Whatever somebody else has made of this name is moved away.
    fn make_rejected(&mut self) -> io::Result<()> {
        let path = self.path.join(REJECTED);
        let make = || DirBuilder::new().mode(0o700).create(&path);
        match make() {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if self.is_own_folder(&fs::symlink_metadata(&path)?) {
                    return Ok(());
                }
                fs::rename(&path, self.path.join(format!("{REJECTED}-{}", self.stamp.mark())))?;
                make()
            }
            made => made,
        }
    }

    fn failed(&self, error: &io::Error) -> QueueError {
        QueueError::File { path: self.path.clone(), what: error.to_string(), is_new: false }
    }
}

/// When a folder has changed last.
fn changed(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// Whether it is a file of one name, and not too large.
fn check(metadata: &Metadata) -> Result<(), No> {
    match metadata {
        metadata if !metadata.is_file() => Err(No::Message("it is no file".to_owned())),
        metadata if metadata.nlink() != 1 => Err(No::Message("it has a second name".to_owned())),
        metadata if metadata.len() > MOST => Err(too_large()),
        _ => Ok(()),
    }
}

fn too_large() -> No {
    No::Message(format!("no message has more than {} octets", letter::MOST))
}

/// What a user may wish for: no more than others have by default.
fn modest(job: Job, now: Time, lifetime: Time) -> Job {
    let latest = now.saturating_add(lifetime);
    let due = job.due.map(|due| due.min(latest));
    let expires = job.expires.min(due.unwrap_or(now).max(now).saturating_add(lifetime));
    Job { priority: job.priority.clamp(-1, 1), due, expires, ..job }
}
