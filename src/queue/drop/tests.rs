//! The drop directory in a folder of one's own: what is added is taken, and what was planted does no harm.

use std::{
    collections::HashSet,
    io::Read,
    os::unix::fs::{chown, symlink},
    process::Command,
};

use proptest::prelude::*;

use super::{
    intake::{KNOWN, Known, REJECTED_FILES},
    *,
};
use crate::{
    mail::{Content, DsnRequest, Envelope, Mailbox},
    queue::{Place, Store},
};

const DAY: i64 = 24 * 3_600_000;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let drop = folder.path().join("drop");
        fs::create_dir(&drop).unwrap();
        set_mode(&drop, MODE);
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("drop")
    }

    fn drop(&self) -> Drop {
        Drop::open(&self.path()).unwrap()
    }

    fn intake(&self) -> Intake {
        Intake::new(&self.drop()).unwrap()
    }

    /// What there is, but for the folder of what was rejected.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "rejected").collect()
    }

    fn rejected(&self) -> usize {
        fs::read_dir(self.path().join("rejected")).map_or(0, Iterator::count)
    }
}

impl Drop {
    fn add(&self, job: &Job) -> Result<String, QueueError> {
        self.add_all(std::slice::from_ref(job)).map(|mut names| names.remove(0))
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn job(to: &str) -> Job {
    let address = |text: &str| Mailbox::parse(text).unwrap().address;
    Job {
        message_id: "<m@x.example>".to_owned(),
        envelope: Envelope::new(Some(address("a@x.example")), vec![address(to)]).unwrap(),
        content: Content::from_bytes(b"Subject: s\r\n\r\nt\r\n".to_vec()),
        dsn: DsnRequest::default(),
        place: Place { profile: Some("work".to_owned()), server: Some("smtp://x".to_owned()), ..Place::default() },
        priority: 1,
        due: None,
        expires: i64::MAX,
        key: Some("mine".to_owned()),
    }
}

/// Takes everything; returns it with the lines that are told.
fn take(intake: &mut Intake) -> (Vec<Dropped>, Vec<String>) {
    let (mut all, mut lines) = (Vec::new(), Vec::new());
    let mut keep = |batch: Vec<Dropped>| -> Result<(), QueueError> {
        all.extend(batch);
        Ok(())
    };
    intake.take(DAY, &mut keep, &mut |line| lines.push(line), &|| false).unwrap();
    (all, lines)
}

#[test]
fn what_is_added_is_taken_once() {
    let folder = Folder::new();
    let drop = folder.drop();
    let mut intake = folder.intake();
    assert!(drop.is_ours() && intake.has_news());
    let name = drop.add(&job("b@y.example")).unwrap();
    let metadata = fs::metadata(folder.path().join(&name)).unwrap();
    assert_eq!((metadata.mode() & 0o7777, folder.names()), (WHOLE, vec![name.clone()]));
    let before = jiff::Timestamp::now().as_millisecond();
    let (taken, lines) = take(&mut intake);
    let [Dropped { name: own, job, user }] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!((own, *user, lines.len()), (&name, metadata.uid(), 0));
    assert_eq!(job.key, Some(format!("drop {user} {name}")));
    assert_eq!(job.place, Place { profile: Some("work".to_owned()), ..Place::default() });
    assert!((before + DAY..before + 2 * DAY).contains(&job.expires), "nobody's message stays for ever");
    assert!(folder.names().is_empty() && take(&mut intake).0.is_empty());
}

/// A folder that has just changed is looked at again; one that has long been as it is, is not.
#[test]
fn what_comes_meanwhile_is_seen() {
    let folder = Folder::new();
    let mut intake = folder.intake();
    let drop = folder.drop();
    take(&mut intake);
    assert!(intake.has_news(), "something may have come at the same moment");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    File::open(folder.path()).unwrap().set_modified(old).unwrap();
    take(&mut intake);
    assert!(!intake.has_news());
    drop.add(&job("b@y.example")).unwrap();
    assert!(intake.has_news() && take(&mut intake).0.len() == 1);
}

#[test]
fn what_was_not_kept_stays() {
    let folder = Folder::new();
    let (drop, mut intake) = (folder.drop(), folder.intake());
    for _ in 0..3 {
        drop.add(&job("b@y.example")).unwrap();
    }
    let mut keep = |_| Err(QueueError::Full("/q".into()));
    let taken = intake.take(DAY, &mut keep, &mut |line| panic!("{line}"), &|| false);
    assert!(matches!(taken, Err(QueueError::Full(_))) && folder.names().len() == 3 && intake.has_news());
    assert_eq!(take(&mut intake).0.len(), 3);
    // Whoever is about it has it alone, and who is to end begins nothing.
    drop.add(&job("b@y.example")).unwrap();
    let lock = File::open(folder.path()).unwrap();
    lock.lock().unwrap();
    assert!(take(&mut intake).0.is_empty());
    lock.unlock().unwrap();
    let mut keep = |_| -> Result<(), QueueError> { panic!("it is over") };
    intake.take(DAY, &mut keep, &mut |line| panic!("{line}"), &|| true).unwrap();
    assert_eq!(take(&mut intake).0.len(), 1);
}

/// Whoever dies between keeping and removing leaves a message that is not kept twice, and no name is anybody's claim.
#[test]
fn the_queue_has_it_once() {
    let folder = Folder::new();
    let (drop, mut intake) = (folder.drop(), folder.intake());
    let mut store = Store::open(&folder.0.path().join("state/queue.sqlite")).unwrap();
    set_mode(&folder.0.path().join("state"), 0o700);
    let mut large = job("large@y.example");
    large.content = Content::from_bytes(b"0123456789\r\n".repeat(20_000));
    let names = [drop.add(&job("b@y.example")).unwrap(), drop.add(&large).unwrap()];
    let named = |batch: Vec<Dropped>| -> Vec<(String, Job)> {
        batch.into_iter().map(|dropped| (dropped.name, dropped.job)).collect()
    };
    for _ in 0..2 {
        let mut keep = |batch: Vec<Dropped>| {
            store.add_named(&named(batch))?;
            Err(QueueError::Busy("killed".into()))
        };
        assert!(intake.take(DAY, &mut keep, &mut |line| panic!("{line}"), &|| false).is_err());
    }
    intake
        .take(DAY, &mut |batch| store.add_named(&named(batch)).map(drop_it), &mut |line| panic!("{line}"), &|| false)
        .unwrap();
    assert!(folder.names().is_empty());
    for name in &names {
        assert_eq!(
            store.show(name).unwrap().key.unwrap(),
            format!("drop {} {name}", rustix::process::geteuid().as_raw())
        );
    }
    // A message of another key with its name gets a new one; so does one whose file is left of somebody who has died.
    let other = Job { key: None, ..large.clone() };
    let added = store.add_named(&[(names[0].clone(), other.clone()), (names[1].clone(), other.clone())]).unwrap();
    assert!(added.iter().zip(&names).all(|((name, first), old)| name != old && first.is_none()));
    let left = "0123456789abcdefghij".to_owned();
    fs::write(folder.0.path().join("state/queue.sqlite.d").join(&left), "half").unwrap();
    assert_ne!(store.add_named(&[(left.clone(), other)]).unwrap()[0].0, left);
    assert_eq!(store.stats(0).unwrap().waiting, 5);
}

fn drop_it<T>(_: T) {}

#[test]
fn a_folder_that_is_not_safe_gets_nothing() {
    let folder = Folder::new();
    let error = |path: &Path| match Drop::open(path) {
        Err(QueueError::Exposed { what, hint, .. }) => (what, hint),
        other => panic!("{other:?}"),
    };
    for mode in [0o1733, 0o2733, 0o3777, 0o3755, 0o3773, 0o700, 0o3711] {
        set_mode(&folder.path(), mode);
        let (what, hint) = error(&folder.path());
        assert!(what.contains("mode 3733") && hint.starts_with("chmod 3733"), "{what} {hint}");
    }
    assert!(error(&folder.path().join("gone")).1.contains("install -d"));
    fs::write(folder.0.path().join("file"), "").unwrap();
    assert!(error(&folder.0.path().join("file")).0.contains("no folder"));
}

#[test]
fn nothing_is_left_of_what_cannot_be_added() {
    let folder = Folder::new();
    let drop = folder.drop();
    let mut huge = job("b@y.example");
    huge.content = Content::from_bytes(vec![b'x'; (64 << 20) + 1]);
    assert!(matches!(drop.add(&huge), Err(QueueError::Unfit(what)) if what.contains("67108864")));
    assert!(folder.names().is_empty());
    // Its files would have another group than the folder.
    let other = Drop { group: drop.group + 1, ..folder.drop() };
    let error = other.add(&job("b@y.example")).unwrap_err().to_string();
    assert!(error.contains("its group") && folder.names().is_empty(), "{error}");
    fs::remove_dir(folder.path()).unwrap();
    assert!(matches!(drop.add(&job("b@y.example")), Err(QueueError::File { .. })));
}

/// Of several messages all are added or none.
#[test]
fn all_are_added_or_none() {
    let folder = Folder::new();
    let drop = folder.drop();
    let good = job("b@y.example");
    let bad = Job { message_id: "20261128.1234".to_owned(), ..good.clone() };
    let error = drop.add_all(&[good.clone(), good.clone(), bad]).unwrap_err();
    assert!(matches!(error, QueueError::Unfit(_)) && error.to_string().contains("Message-ID"), "{error}");
    assert!(folder.names().is_empty());
    // One whose file cannot be renamed, after others were.
    let mut adding = Adding { folder: &drop, files: Vec::new() };
    for name in ["0123456789abcdefghij", "1123456789abcdefghij"] {
        adding.write(name, b"x").unwrap();
    }
    fs::remove_file(folder.path().join("1123456789abcdefghij.new")).unwrap();
    assert!(adding.publish().is_err() && folder.names().is_empty());
    let names = drop.add_all(&[good.clone(), Job { message_id: "<other@x.example>".to_owned(), ..good }]).unwrap();
    let (taken, lines) = take(&mut folder.intake());
    assert!(names.len() == 2 && taken.iter().all(|dropped| names.contains(&dropped.name)), "{lines:?}");
    assert_eq!(taken.len(), 2);
}

/// Whatever somebody has made there is moved away and told, and the message beside it is taken.
#[test]
fn what_was_planted_does_no_harm() {
    let folder = Folder::new();
    let (drop, path) = (folder.drop(), folder.path());
    let outside = folder.0.path().join("secret");
    fs::write(&outside, "a secret").unwrap();
    let name = |first: char| format!("{first}123456789abcdefghij");
    let whole = drop.add(&job("b@y.example")).unwrap();
    let octets = fs::read(path.join(&whole)).unwrap();
    let mut planted = 0;
    let mut plant = |make: &dyn Fn(&Path), name: &str| {
        make(&path.join(name));
        planted += 1;
    };
    plant(&|path| symlink(&outside, path).unwrap(), &name('a'));
    plant(&|path| symlink(path.parent().unwrap().join(&whole), path).unwrap(), &name('b'));
    plant(&|path| fs::hard_link(&outside, path).unwrap(), &name('c'));
    plant(&|path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()), &name('d'));
    plant(&|path| drop_it(std::os::unix::net::UnixListener::bind(path).unwrap()), &name('e'));
    plant(&|path| fs::create_dir(path).unwrap(), &name('f'));
    plant(&|path| fs::write(path, &octets[..octets.len() - 3]).unwrap(), &name('g'));
    plant(&|path| fs::write(path, "").unwrap(), &name('h'));
    plant(&|path| File::create(path).unwrap().set_len(1 << 40).unwrap(), &name('i'));
    plant(&|path| fs::write(path, &octets).unwrap(), &name('j'));
    plant(&|path| fs::write(path, &octets).unwrap(), "message");
    plant(&|path| fs::write(path, &octets).unwrap(), "..new");
    plant(&|path| symlink(&outside, path).unwrap(), &format!("{}.new", name('k')));
    plant(&|path| fs::write(path, "").unwrap(), "\u{1b}[2J\n");
    plant(&|path| symlink("/etc", path).unwrap(), "rejected");
    plant(&|path| fs::write(path, "").unwrap(), std::str::from_utf8(&[b'x'; 255]).unwrap());
    // Of somebody who is still writing.
    let unfinished = format!("{}.new", name('l'));
    fs::write(path.join(&unfinished), "ha").unwrap();

    let mut intake = folder.intake();
    let (taken, lines) = take(&mut intake);
    let (more, again) = take(&mut intake);
    assert_eq!((taken.len(), more.len()), (1, 0));
    assert_eq!(taken[0].name, whole);
    assert_eq!(folder.names(), [unfinished]);
    assert_eq!(folder.rejected(), planted, "{lines:#?} {again:#?}");
    assert!(lines.iter().chain(&again).all(|line| !line.chars().any(char::is_control) && line.contains("no message")));
    assert_eq!(lines.len() + again.len(), planted);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "a secret");
    assert_eq!(fs::metadata(path.join("rejected")).unwrap().mode() & 0o777, 0o700);
    assert!(take(&mut intake).1.is_empty(), "it is told once");
}

/// Of many of them not many lines are made.
#[test]
fn a_flood_is_told_in_few_lines() {
    let folder = Folder::new();
    for number in 0..200 {
        fs::write(folder.path().join(number.to_string()), "").unwrap();
    }
    let name = folder.drop().add(&job("b@y.example")).unwrap();
    let (taken, lines) = take(&mut folder.intake());
    assert!(taken.len() == 1 && taken[0].name == name && lines.len() == 21, "{lines:#?}");
    assert!(lines[20].ends_with("180 more are no messages") && folder.rejected() == 200);
}

/// What another user has made cannot always be moved: it stays, and is told once.
#[test]
fn what_cannot_be_moved_stays() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Root can do everything: so this looks at the folder of another user who took the name first.
    let folder = Folder::new();
    fs::create_dir(folder.path().join("rejected")).unwrap();
    chown(folder.path().join("rejected"), Some(65_534), Some(65_534)).unwrap();
    fs::write(folder.path().join("x"), "").unwrap();
    let (_, lines) = take(&mut folder.intake());
    assert!(lines.iter().any(|line| line.contains("it is rejected/0-")), "{lines:#?}");
    assert_eq!(fs::metadata(folder.path().join("rejected")).unwrap().uid(), 0);
}

/// A file that cannot be read now, since its maker holds a lease on it, is in nobody's way.
#[test]
fn what_cannot_be_read_now_holds_nothing_up() {
    let folder = Folder::new();
    let (drop, mut intake) = (folder.drop(), folder.intake());
    let held = drop.add(&job("held@y.example")).unwrap();
    // F_SETLEASE, F_WRLCK; whoever holds it hears by a signal that somebody waits.
    let hold =
        "$SIG{IO} = 'IGNORE'; $| = 1; open F, '+<', $ARGV[0] or die; fcntl(F, 1024, 1) or die; print '.'; <STDIN>";
    let mut holder = Command::new("perl");
    holder.args(["-e", hold]).arg(folder.path().join(&held));
    holder.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let Ok(mut holder) = holder.spawn() else { return };
    let mut answer = [0];
    if holder.stdout.take().unwrap().read_exact(&mut answer).is_err() {
        // Not every file system has leases.
        return drop_it(holder.wait());
    }
    let other = drop.add(&job("b@y.example")).unwrap();
    let (taken, lines) = take(&mut intake);
    assert!(taken.len() == 1 && taken[0].name == other, "{taken:?} {lines:?}");
    assert!(lines.len() == 1 && lines[0].contains(&held) && lines[0].contains("looked at again"), "{lines:?}");
    assert!(intake.again.is_some());
    let (taken, lines) = take(&mut intake);
    assert!(taken.is_empty() && lines.is_empty(), "it is told once: {lines:?}");
    drop_it(holder.stdin.take());
    holder.wait().unwrap();
    assert_eq!(take(&mut intake).0[0].name, held);
    assert!(intake.again.is_none() && folder.names().is_empty());
}

#[test]
fn what_is_told_has_a_bound() {
    let mut known = Known::default();
    let mut tell = |number: usize| known.tell(number.to_string().as_ref(), || "one".into(), || "more".into());
    assert!((0..KNOWN).all(|number| tell(number).as_deref() == Some("one")));
    assert_eq!([tell(0), tell(KNOWN), tell(KNOWN + 1)], [None, Some("more".to_owned()), None]);
    known.retain(&HashSet::from(["7".into()]));
    assert!(known.names.len() == 1 && !known.is_full);
}

/// What is no message does not gather for ever.
#[test]
fn of_what_was_rejected_the_oldest_go() {
    let folder = Folder::new();
    let rejected = folder.path().join("rejected");
    fs::create_dir(&rejected).unwrap();
    for number in 0..=REJECTED_FILES {
        fs::create_dir(rejected.join(number.to_string())).unwrap();
        fs::write(rejected.join(format!("{number}/file")), "").unwrap();
    }
    let mut intake = folder.intake();
    assert!(take(&mut intake).1.is_empty(), "nothing was added to it");
    fs::write(folder.path().join("x"), "").unwrap();
    let (_, lines) = take(&mut intake);
    assert!(lines.len() == 2 && lines[1].contains("the oldest 2 were removed"), "{lines:?}");
    assert_eq!(folder.rejected(), REJECTED_FILES);
}

/// A line that would be too long in the queue is refused before others wait for it.
#[test]
fn what_grows_is_refused() {
    let folder = Folder::new();
    let drop = folder.drop();
    let name = drop.add(&job("b@y.example")).unwrap();
    let path = folder.path().join(&name);
    let to: Vec<String> = (0..90_000).map(|number| format!("\"{number}@{}ü\"", "ü.".repeat(23))).collect();
    let text = fs::read_to_string(&path).unwrap().replace("\"b@y.example\"", &to.join(","));
    fs::write(&path, &text).unwrap();
    let (taken, lines) = take(&mut folder.intake());
    assert!(taken.is_empty() && lines[0].contains("octets"), "{} {lines:?}", text.len());
}

#[test]
fn nobody_takes_more_than_others_have() {
    let folder = Folder::new();
    let now = jiff::Timestamp::now().as_millisecond();
    let wishes =
        [(Some(i64::MAX), i64::MAX), (None, i64::MAX), (Some(now + 1_000), now + 2_000), (Some(i64::MIN), i64::MIN)];
    for (due, expires) in wishes {
        folder.drop().add(&Job { due, expires, ..job("b@y.example") }).unwrap();
    }
    let (taken, _) = take(&mut folder.intake());
    assert_eq!(taken.len(), wishes.len());
    for Dropped { job, .. } in taken {
        assert!(
            job.due.is_none_or(|due| due <= now + DAY + 60_000) && job.expires <= now + 2 * DAY + 60_000,
            "{job:?}"
        );
    }
    // The priority is an octet in the file.
    let name = folder.drop().add(&Job { priority: 0, ..job("b@y.example") }).unwrap();
    let path = folder.path().join(&name);
    let text = fs::read_to_string(&path).unwrap().replace("\"priority\":0", "\"priority\":127");
    fs::write(&path, text).unwrap();
    assert_eq!(take(&mut folder.intake()).0[0].job.priority, 1);
}

proptest! {
    #[test]
    fn no_octets_are_too_odd(octets in proptest::collection::vec(any::<u8>(), 0..300), at in 0..400usize) {
        let folder = Folder::new();
        let name = folder.drop().add(&job("b@y.example")).unwrap();
        let mut damaged = fs::read(folder.path().join(&name)).unwrap();
        let at = at % damaged.len();
        damaged.splice(at..at, octets);
        fs::write(folder.path().join(&name), damaged).unwrap();
        let (taken, lines) = take(&mut folder.intake());
        prop_assert_eq!(taken.len() + lines.len(), 1);
        prop_assert!(folder.names().is_empty());
    }
}
