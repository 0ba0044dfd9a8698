//! Disks that are full, processes that die, files that vanish, clocks of other starts.

use std::{path::Path, process::Command, time::SystemTime};

use super::*;
use crate::mail::{Encoding, Piece, Source};

const LARGE: usize = 200_000;

/// A message with an attachment in a file, and the file.
fn large(queue: &Queue) -> (Job, PathBuf) {
    let path = queue.path.with_file_name("attachment");
    fs::write(&path, vec![b'x'; LARGE]).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().ok();
    let mut content = Content::from_bytes("Subject: ü\r\n\r\n".into());
    content.push(Piece::base64(Source::Path { path: path.clone(), modified }, 0, LARGE as u64));
    content.push(Piece::Bytes(b"\r\n"[..].into()));
    content.has_utf8_headers = true;
    (Job { content, ..job(&["b@y.example"]) }, path)
}

fn files(queue: &Queue) -> Vec<String> {
    let entries = fs::read_dir(private::beside(&queue.path, ".d")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| looking::is_name(name)).collect()
}

#[test]
fn a_large_message_is_a_file_until_it_has_ended() {
    let queue = Queue::new();
    let mut store = queue.open();
    let (job, attachment) = large(&queue);
    let expected = octets(&job.content);
    let name = add(&mut store, job.clone(), 0);
    fs::remove_file(attachment).unwrap();
    assert_eq!(files(&queue), std::slice::from_ref(&name));
    let worker = store.worker(true).unwrap();
    let claim = claim(&mut store, &worker, 0).unwrap();
    let content = &claim.submission.content;
    assert!(matches!(content.pieces(), [Piece::File { encoding: Encoding::Verbatim, .. }]), "{content:?}");
    assert!(octets(content) == expected && content.len() == expected.len() as u64);
    assert!(content.is_8bit && content.has_utf8_headers);
    assert!(octets(&store.content(&name).unwrap().unwrap()) == expected);
    settle(&mut store, &claim, &[outcome("b@y.example", State::Accepted, "ok")], Next::Done, 0);
    // Not before a loss of power cannot bring the message back.
    assert_eq!(files(&queue).len(), 1);
    store.sync().unwrap();
    assert_eq!(files(&queue).len(), 0);
}

#[test]
fn all_are_added_or_none() {
    let queue = Queue::new();
    let mut store = queue.open();
    let (fine, attachment) = large(&queue);
    let mut gone = job(&["b@y.example"]);
    let path = queue.path.with_file_name("gone");
    gone.content.push(Piece::base64(Source::Path { path: path.clone(), modified: None }, 0, LARGE as u64));
    let error = store.add(&[fine.clone(), gone]).unwrap_err();
    assert!(matches!(&error, QueueError::Input { path: named, .. } if *named == path), "{error}");
    assert_eq!((files(&queue).len(), store.stats(0).unwrap().waiting), (0, 0));
    fs::write(&attachment, "changed").unwrap();
    let error = store.add(&[fine]).unwrap_err();
    assert!(matches!(&error, QueueError::Input { path, .. } if *path == attachment), "{error}");
    assert_eq!(files(&queue).len(), 0);
    // The same key: the file of the second is not wanted.
    let job = Job { key: Some("k".to_owned()), ..large(&queue).0 };
    assert_eq!(store.add(&[job.clone(), job]).unwrap().len(), 2);
    assert_eq!(files(&queue).len(), 1);
}

#[test]
fn files_without_a_message_are_swept_away() {
    let queue = Queue::new();
    let mut store = queue.open();
    let kept = add(&mut store, large(&queue).0, 0);
    let folder = private::beside(&queue.path, ".d");
    let (young, old, other) = ("0".repeat(20), "1".repeat(20), "notes.txt".to_owned());
    for name in [&young, &old, &other] {
        fs::write(folder.join(name), "half").unwrap();
    }
    for name in [&kept, &old, &other] {
        let file = fs::File::options().write(true).open(folder.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(7_200)).unwrap();
    }
    store.recover(0, false).unwrap();
    let mut left = files(&queue);
    left.sort();
    assert_eq!(left, [young, kept.clone()]);
    assert!(folder.join(other).exists());
    // Gone before anybody could read it: held with the reason, and in nobody's way.
    fs::remove_file(folder.join(&kept)).unwrap();
    let next = add(&mut store, job(&["c@y.example"]), 1);
    let worker = store.worker(true).unwrap();
    let claims = store.claim(&worker, 9, 1, LEASE).unwrap();
    assert_eq!((claims.len(), store.show(&next).unwrap().outline.status), (1, Status::Leased));
    let entry = store.show(&kept).unwrap();
    assert_eq!(entry.outline.status, Status::Held);
    assert!(entry.outline.why.unwrap().starts_with("it cannot be read: "));
}

#[test]
fn damaged_rows_are_in_nobody_s_way() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(true).unwrap();
    let damages = [
        "UPDATE job SET place = '{' WHERE id = 1",
        "UPDATE job SET sender = 'nobody' WHERE id = 2",
        "UPDATE recipient SET address = 'nobody' WHERE job = 3",
        "DELETE FROM content WHERE job = 4",
        "DELETE FROM recipient WHERE job = 5",
    ];
    for damage in damages {
        add(&mut store, job(&["b@y.example"]), 0);
        store.connection.execute(damage, []).unwrap();
    }
    let fine = add(&mut store, job(&["b@y.example"]), 0);
    let claims = store.claim(&worker, 9, 0, LEASE).unwrap();
    assert_eq!(claims.iter().map(|claim| claim.id).collect::<Vec<_>>(), [6]);
    let mut stand = Vec::new();
    store.list(&Status::ALL, &mut |outline| stand.push(outline.status)).unwrap();
    let [h, d, l] = [Status::Held, Status::Done, Status::Leased];
    assert_eq!(stand, [h, h, h, h, d, l]);
    assert!(store.content(&fine).unwrap().is_some());
}

#[test]
fn the_dead_are_buried_at_once() {
    for retries_unknown in [false, true] {
        let queue = Queue::new();
        let mut store = queue.open();
        let names: Vec<String> = (0..4).map(|_| add(&mut store, job(&["b@y.example", "c@y.example"]), 0)).collect();
        let worker = store.worker(false).unwrap();
        let claims = store.claim(&worker, 9, 0, LEASE).unwrap();
        let keys: Vec<_> = claims[1..].iter().map(|claim| (claim.id, claim.generation)).collect();
        store.intend(&keys, 0).unwrap();
        settle(&mut store, &claims[2], &[outcome("b@y.example", State::Accepted, "ok")], Next::More, 0);
        let all = [outcome("b@y.example", State::Accepted, "ok"), outcome("c@y.example", State::Failed, "no")];
        settle(&mut store, &claims[3], &all, Next::More, 0);
        assert_eq!(store.recover(0, retries_unknown).unwrap(), (0, 0));
        assert_eq!(store.show(&names[0]).unwrap().outline.why, None);
        drop(worker);
        let left = store.show(&names[0]).unwrap().outline;
        assert_eq!(left.why.as_deref(), Some("its worker is dead: the next one takes it up"));
        assert_eq!(store.recover(0, retries_unknown).unwrap(), (1, 2));
        let entries: Vec<_> = names.iter().map(|name| store.show(name).unwrap()).collect();
        let stand: Vec<_> = entries.iter().map(|entry| (entry.outline.status, entry.outline.open)).collect();
        let [w, h, d] = [Status::Waiting, Status::Held, Status::Done];
        if retries_unknown {
            assert_eq!(stand, [(w, 2), (w, 2), (w, 1), (d, 0)]);
        } else {
            assert_eq!(stand, [(w, 2), (h, 0), (h, 0), (d, 0)]);
            let states: Vec<_> = entries[2].all.iter().map(|recipient| recipient.state.unwrap()).collect();
            assert_eq!(states, [State::Accepted, State::Unknown]);
            assert_eq!(entries[2].outline.why.as_deref(), Some("the worker died while it was sent"));
        }
        let attempts: Vec<_> = entries.iter().map(|entry| entry.outline.attempts).collect();
        assert_eq!(attempts, [0, 1, 1, 0]);
        // Its last words come all the same.
        settle(&mut store, &claims[1], &all, Next::Done, 1);
        assert_eq!(store.show(&names[1]).unwrap().outline.status, Status::Done);
    }
}

#[test]
fn after_a_loss_of_power_every_lease_is_in_doubt() {
    let queue = Queue::new();
    let mut store = queue.open();
    store.boot = Some("one".to_owned());
    let name = add(&mut store, job(&["b@y.example"]), 0);
    let worker = store.worker(false).unwrap();
    claim(&mut store, &worker, 0).unwrap();
    drop(store);
    let mut store = queue.open();
    store.boot = Some("two".to_owned());
    assert_eq!(store.recover(0, false).unwrap(), (0, 1));
    assert_eq!(
        store.show(&name).unwrap().outline.why.as_deref(),
        Some("the system was started anew while it was sent")
    );
}

#[test]
fn only_what_was_written_is_taken_for_synced() {
    let queue = Queue::new();
    let mut store = queue.open();
    let worker = store.worker(false).unwrap();
    add(&mut store, job(&["b@y.example"]), 0);
    let claim = claim(&mut store, &worker, 0).unwrap();
    assert!(store.is_synced.get());
    store.intend(&[(claim.id, claim.generation)], 0).unwrap();
    assert!(!store.is_synced.get());
    // Nothing is due: nothing is written, and nothing synced.
    assert_eq!(store.claim(&worker, 9, 0, LEASE).unwrap().len(), 0);
    assert!(!store.is_synced.get());
    store.sync().unwrap();
    assert!(store.is_synced.get());
}

#[test]
fn on_a_full_disk_what_was_there_stays() {
    let queue = Queue::new();
    let mut store = queue.open();
    let first = add(&mut store, job(&["b@y.example"]), 0);
    let pages: i64 = store.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let limit = |store: &Store, pages: i64| {
        store.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    };
    limit(&store, pages);
    let content = Content::from_bytes(vec![b'x'; 60_000]);
    let error = store.add(&[Job { content, ..job(&["c@y.example"]) }]).unwrap_err();
    assert!(matches!(&error, QueueError::Full(_)), "{error:?}");
    assert!(error.to_string().ends_with(": no room is left on the disk"), "{error}");
    assert_eq!(store.stats(0).unwrap().waiting, 1);
    // Sending goes on, and makes room.
    let worker = store.worker(true).unwrap();
    let claim = claim(&mut store, &worker, 0).unwrap();
    settle(&mut store, &claim, &[outcome("b@y.example", State::Accepted, "ok")], Next::Done, 0);
    assert_eq!(store.show(&first).unwrap().outline.status, Status::Done);
    limit(&store, 1_000_000);
    add(&mut store, job(&["c@y.example"]), 0);
}

/// A disk of 16 MB.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs"]).arg(folder.path());
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn a_disk_that_fills_up_takes_nothing_away() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("skipped: a small disk cannot be mounted here");
        return;
    };
    let queue = Queue { _folder: tempfile::tempdir().unwrap(), path: disk.path().join("queue.sqlite") };
    let mut store = queue.open();
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![0; 6_000_000]).unwrap();
    let content = Content::from_bytes(vec![b'x'; 60_000]);
    let one = Job { content, ..job(&["b@y.example"]) };
    let mut names = Vec::new();
    let error = loop {
        match store.add(std::slice::from_ref(&one)) {
            Ok(added) => names.push(added[0].0.clone()),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().ends_with(": no room is left on the disk"), "{error}");
    let content = Content::from_bytes(vec![b'x'; 16_000_000]);
    let error = store.add(&[Job { content, ..one.clone() }]).unwrap_err();
    assert!(matches!(error, QueueError::Full(_)), "{error}");
    assert_eq!(files(&queue).len(), 0);
    drop(store);
    let mut store = queue.open();
    let mut listed = Vec::new();
    store.list(&[Status::Waiting], &mut |outline| listed.push(outline.name.clone())).unwrap();
    assert!(!names.is_empty() && listed == names, "{} {}", listed.len(), names.len());
    fs::remove_file(ballast).unwrap();
    let worker = store.worker(true).unwrap();
    while let Some(claim) = claim(&mut store, &worker, NEVER - 1) {
        assert!(octets(&claim.submission.content) == octets(&one.content));
        settle(&mut store, &claim, &[outcome("b@y.example", State::Accepted, "ok")], Next::Done, 0);
    }
    assert_eq!(store.stats(0).unwrap().done, names.len() as u64);
    drop(store);
}

/// People take messages away because the disk is full.
#[test]
fn on_a_full_disk_messages_can_be_purged() {
    for ballast in [0, 6_000_000, 12_000_000] {
        let Some(disk) = SmallDisk::new() else {
            eprintln!("skipped: a small disk cannot be mounted here");
            return;
        };
        let queue = Queue { _folder: tempfile::tempdir().unwrap(), path: disk.path().join("queue.sqlite") };
        let mut store = queue.open();
        fs::write(disk.path().join("ballast"), vec![0; ballast]).unwrap();
        let one = Job { content: Content::from_bytes(vec![b'x'; 60_000]), ..job(&["b@y.example"]) };
        let mut names = Vec::new();
        while let Ok(added) = store.add(std::slice::from_ref(&one)) {
            names.push(added[0].0.clone());
        }
        // Somebody else takes the last of it.
        let mut file = fs::File::create(disk.path().join("other")).unwrap();
        while io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        drop(store);
        let mut store = queue.open();
        assert_eq!(store.purge(Status::Waiting).unwrap(), names.len() as u64);
        assert!(fs::metadata(private::beside(&queue.path, "-wal")).unwrap().len() < 1_000_000);
        store.add(std::slice::from_ref(&one)).unwrap();
    }
}

#[test]
fn room_goes_back_to_the_disk() {
    let queue = Queue::new();
    let mut store = queue.open();
    let content = Content::from_bytes(vec![b'x'; 64 * 1024]);
    store.add(&vec![Job { content, ..job(&["b@y.example"]) }; 400]).unwrap();
    assert_eq!(files(&queue).len(), 0);
    let pages =
        |store: &Store| -> i64 { store.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap() };
    let before = pages(&store);
    assert_eq!(store.purge(Status::Waiting).unwrap(), 400);
    assert!(pages(&store) < before / 2, "{before} {}", pages(&store));
}

#[test]
fn others_have_it_for_too_long() {
    let queue = Queue::new();
    let (mut store, other) = (queue.open(), queue.open());
    store.connection.busy_timeout(Duration::from_millis(20)).unwrap();
    other.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(store.add(&[job(&["b@y.example"])]), Err(QueueError::Busy(_))));
    // Who only looks does not wait.
    assert_eq!(store.stats(0).unwrap().waiting, 0);
    other.connection.execute_batch("COMMIT").unwrap();
    assert_eq!(store.add(&[job(&["b@y.example"])]).unwrap().len(), 1);
}

#[test]
fn a_damaged_file_is_told_as_such() {
    let queue = Queue::new();
    let mut store = queue.open();
    for _ in 0..100 {
        add(&mut store, job(&["b@y.example"]), 0);
    }
    store.shorten().unwrap();
    drop(store);
    let mut octets = fs::read(&queue.path).unwrap();
    octets[4_096..].fill(0x55);
    fs::write(&queue.path, octets).unwrap();
    let error = Store::open(&queue.path).and_then(|mut store| store.add(&[job(&["b@y.example"])])).unwrap_err();
    assert!(matches!(&error, QueueError::Invalid { what, .. } if what == "it is damaged"), "{error}");
}

#[test]
fn the_log_begins_anew() {
    let queue = Queue::new();
    let mut store = queue.open();
    let log = private::beside(&queue.path, "-wal");
    add(&mut store, job(&["b@y.example"]), 0);
    assert!(fs::metadata(&log).unwrap().len() > 0);
    let reader = queue.open();
    reader.connection.execute_batch("BEGIN; SELECT count(*) FROM job").unwrap();
    // Somebody reads: it stays, and that is no error.
    store.shorten().unwrap();
    reader.connection.execute_batch("COMMIT").unwrap();
    store.shorten().unwrap();
    assert_eq!(fs::metadata(&log).unwrap().len(), 0);
}
