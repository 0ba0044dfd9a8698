use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    record::tests::{outcome, route},
    *,
};
use crate::mail::{Mailbox, State};

fn facts() -> Facts {
    Facts { source: "s1".to_owned(), template: "t1".to_owned(), name: "people.csv".to_owned() }
}

fn address(text: &str) -> crate::mail::Address {
    Mailbox::parse(text).unwrap().address
}

fn settle(ledger: &mut Ledger, row: u64, recipient: &str, state: State, is_last: bool) {
    let (outcome, route) = (outcome(recipient, state), route());
    let run = ledger.run().to_owned();
    let record = Record {
        run: &run,
        row: Some(row),
        message_id: "<m@x>",
        from: None,
        outcome: &outcome,
        route: &route,
        attempts: 1,
        is_redelivered: false,
    };
    if is_last { ledger.outcome(&record) } else { ledger.attempt(&record) }
}

/// What a resumption finds, without being one.
fn past(path: &Path, boot: Option<&str>) -> Past {
    let (mut past, _) = read(path, &File::open(path).unwrap(), boot).unwrap();
    past.begin(boot);
    past
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("run.jsonl")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    /// As if the system had been started since.
    fn restart_system(&self) {
        let own = boot().unwrap_or_default();
        let text = self.text();
        fs::write(self.path(), text.replace(&own, &format!("before-{}", text.len()))).unwrap();
    }
}

#[test]
fn a_run_in_its_lines() {
    let place = Place::new();
    let mut ledger = Ledger::create(&place.path(), &facts()).unwrap();
    let run = ledger.run().to_owned();
    assert_eq!(run.len(), 20);
    ledger.reserve(&[1, 2, 3, 4, 5, 7]);
    ledger.intent(&[1, 3]);
    settle(&mut ledger, 1, "a@x.example", State::Accepted, true);
    assert!(ledger.has_notes());
    assert_eq!(place.text().lines().count(), 1);
    ledger.write().unwrap();
    assert!(!ledger.has_notes());
    let text = place.text();
    let lines: Vec<&str> = text.lines().collect();
    let line: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((line["source"].as_str(), line["template"].as_str()), (Some("s1"), Some("t1")));
    assert_eq!(line["name"], "people.csv");
    assert_eq!((line["run"].as_str(), line["boot"].as_str()), (Some(run.as_str()), boot().as_deref()));
    assert_eq!(lines[1], "{\"v\":1,\"type\":\"reserve\",\"rows\":\"1-5,7\"}");
    assert_eq!(lines[2], "{\"v\":1,\"type\":\"intent\",\"rows\":\"1,3\"}");
    assert!(lines[3].starts_with("{\"v\":1,\"type\":\"outcome\",\"time\":\""), "{text}");
    assert!(lines[3].contains(",\"row\":1,\"message_id\":\"<m@x>\",\"from\":\"<>\","), "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
    drop(ledger);
    let (ledger, past) = Ledger::resume(&place.path(), &facts(), false).unwrap();
    assert_eq!((ledger.run(), past.run()), (run.as_str(), run.as_str()));
    assert_eq!(past.of(1, &address("a@x.example")), Some(State::Accepted));
    assert_eq!(past.of(3, &address("a@x.example")), Some(State::Unknown));
    assert_eq!(past.of(2, &address("a@x.example")), None);
    assert_eq!(past.of(999_999, &address("a@x.example")), None);
    assert_eq!(past.open().collect::<Vec<_>>(), [(3, State::Unknown)]);
    assert_eq!(past.unnamed().collect::<Vec<_>>(), [3]);
    assert_eq!(past.counts(), Counts { accepted: 1, unknown: 1, ..Counts::default() });
    let line: serde_json::Value = serde_json::from_str(place.text().lines().last().unwrap()).unwrap();
    assert_eq!((line["type"].as_str(), line["run"].as_str()), (Some("run"), Some(run.as_str())));
}

#[test]
fn one_run_at_a_time() {
    let place = Place::new();
    let ledger = Ledger::create(&place.path(), &facts()).unwrap();
    assert!(matches!(Ledger::create(&place.path(), &facts()), Err(LedgerError::Locked(_))));
    assert!(matches!(Ledger::resume(&place.path(), &facts(), true), Err(LedgerError::Locked(_))));
    drop(ledger);
    assert!(matches!(Ledger::create(&place.path(), &facts()), Err(LedgerError::Exists(_))));
    Ledger::resume(&place.path(), &facts(), false).unwrap();
    fs::write(place.path(), "").unwrap();
    Ledger::create(&place.path(), &facts()).unwrap();
}

#[test]
fn what_has_changed_is_named_and_may_be_forced() {
    let place = Place::new();
    // Where none is there, it begins.
    Ledger::resume(&place.path(), &facts(), false).unwrap();
    let before = place.text();
    for (source, template, what) in
        [("s2", "t1", "the source has"), ("s1", "t2", "the template or"), ("s2", "t2", "and")]
    {
        let facts = Facts { source: source.to_owned(), template: template.to_owned(), ..facts() };
        let error = Ledger::resume(&place.path(), &facts, false).unwrap_err();
        assert!(matches!(&error, LedgerError::Changed { what: said } if said.contains(what)), "{error}");
    }
    assert_eq!(place.text(), before);
    let other = Facts { source: "s2".to_owned(), name: "other.csv".to_owned(), ..facts() };
    Ledger::resume(&place.path(), &other, true).unwrap();
    Ledger::resume(&place.path(), &other, false).unwrap();
    assert!(Ledger::resume(&place.path(), &facts(), false).is_err());
}

#[test]
fn what_is_no_ledger_is_left_alone() {
    let place = Place::new();
    let run = "{\"v\":1,\"type\":\"run\",\"run\":\"r\",\"source\":\"s1\",\"template\":\"t1\"}\n";
    for (text, line, said) in [
        ("to,name\na@b.example,A\n".to_owned(), 1, "no line of a ledger"),
        ("{\"v\":1,\"type\":\"intent\",\"rows\":\"1\"}\n".to_owned(), 1, "no run begins here"),
        (run.replace("\"v\":1", "\"v\":2"), 1, "another version"),
        (format!("{run}{{\"v\":1,\"type\":\"intent\",\"rows\":\"0\"}}\n"), 2, "'0' names no rows"),
        (format!("{run}{{\"v\":1,\"type\":\"outcome\",\"row\":1}}\n"), 2, "a recipient and its state"),
        (
            format!("{run}{{\"v\":1,\"type\":\"outcome\",\"row\":0,\"recipient\":\"a\",\"state\":\"failed\"}}\n"),
            2,
            "from 1",
        ),
        (format!("{run}\n{run}"), 2, "no line of a ledger"),
        (format!("{run}{}", run.replace("\"r\"", "\"s\"")), 2, "another run begins here"),
        (run.replace("\"r\"", "\"\""), 1, "a run without a name"),
    ] {
        fs::write(place.path(), &text).unwrap();
        let error = Ledger::resume(&place.path(), &facts(), true).unwrap_err();
        assert!(matches!(&error, LedgerError::Invalid { line: at, .. } if *at == line), "{text}{error}");
        assert!(error.to_string().contains(said), "{text}{error}");
        assert_eq!(place.text(), text);
    }
    let error = Ledger::create(place.0.path(), &facts()).unwrap_err();
    assert!(error.to_string().contains("no regular file"), "{error}");
    assert!(matches!(Ledger::create(Path::new("/no/such/x"), &facts()), Err(LedgerError::File { .. })));
}

#[test]
fn many_scattered_rows_come_back() {
    let place = Place::new();
    let mut ledger = Ledger::create(&place.path(), &facts()).unwrap();
    // No two follow each other, none comes in order, and some come twice.
    let rows: Vec<u64> = (0..200_000).rev().map(|row| 1_000_000 + 2 * row).chain([1_000_000, 7]).collect();
    ledger.intent(&rows);
    ledger.write().unwrap();
    drop(ledger);
    assert!(place.text().lines().skip(1).all(|line| line.len() < 100_000 && line.contains("intent")));
    assert_eq!(past(&place.path(), None).unnamed().count(), 200_001);
}

#[test]
fn errors_are_read_again_where_they_stand() {
    let place = Place::new();
    let mut ledger = Ledger::create(&place.path(), &facts()).unwrap();
    for row in [3, 2] {
        settle(&mut ledger, row, "b@x.example", State::Deferred, false);
        settle(&mut ledger, row, "a@x.example", State::Failed, true);
        settle(&mut ledger, row, "c@x.example", State::Accepted, true);
    }
    settle(&mut ledger, 2, "b@x.example", State::Accepted, true);
    ledger.skipped(4, "there is no recipient");
    ledger.write().unwrap();
    let mut errors = errors(&place.path()).unwrap();
    let said = "2.0.0 Ok: queued as 4F2";
    assert_eq!(errors.take(1), None);
    assert_eq!(errors.take(3), Some(format!("b@x.example: 250 {said}; a@x.example: 250 {said}")));
    assert_eq!(errors.take(2), Some(format!("a@x.example: 250 {said}")));
    assert_eq!(errors.take(2), None);
    assert_eq!(errors.take(4).as_deref(), Some("there is no recipient"));
}

#[test]
fn a_loss_of_power_puts_reserved_rows_in_doubt() {
    let place = Place::new();
    let mut ledger = Ledger::create(&place.path(), &facts()).unwrap();
    ledger.reserve(&[1, 2, 3, 4]);
    settle(&mut ledger, 1, "a@x.example", State::Accepted, true);
    settle(&mut ledger, 2, "a@x.example", State::Deferred, false);
    settle(&mut ledger, 3, "a@x.example", State::Deferred, false);
    ledger.reserve(&[3]);
    ledger.write().unwrap();
    drop(ledger);
    let of = |past: &Past| [1, 2, 3, 4].map(|row| past.of(row, &address("a@x.example")));
    let without = [Some(State::Accepted), Some(State::Deferred), Some(State::Deferred), None];
    assert_eq!(of(&past(&place.path(), boot().as_deref())), without);
    place.restart_system();
    let doubtful = [Some(State::Accepted), Some(State::Deferred), Some(State::Unknown), Some(State::Unknown)];
    assert_eq!(of(&Ledger::resume(&place.path(), &facts(), false).unwrap().1), doubtful);
    // Doubt stays, even if they are reserved once more and nothing comes of it; a row that was not taken is as it was.
    let (mut ledger, _) = Ledger::resume(&place.path(), &facts(), false).unwrap();
    ledger.reserve(&[3, 4]);
    ledger.intent(&[4]);
    ledger.release(&[4]);
    ledger.write().unwrap();
    drop(ledger);
    assert_eq!(of(&Ledger::resume(&place.path(), &facts(), false).unwrap().1), doubtful);
}

#[test]
fn octets_that_a_loss_of_power_has_taken() {
    let place = Place::new();
    let mut ledger = Ledger::create(&place.path(), &facts()).unwrap();
    ledger.reserve(&[1, 2]);
    ledger.write().unwrap();
    let whole = place.text();
    settle(&mut ledger, 1, "a@x.example", State::Accepted, true);
    settle(&mut ledger, 2, "b@x.example", State::Accepted, true);
    ledger.write().unwrap();
    drop(ledger);
    let mut octets = fs::read(place.path()).unwrap();
    octets[whole.len() + 20..whole.len() + 200].fill(0);
    fs::write(place.path(), &octets).unwrap();
    // Somebody has done this by hand.
    assert!(matches!(Ledger::resume(&place.path(), &facts(), false), Err(LedgerError::Invalid { line: 3, .. })));
    place.restart_system();
    let (_, past) = Ledger::resume(&place.path(), &facts(), false).unwrap();
    assert_eq!(past.counts(), Counts { unknown: 2, ..Counts::default() });
    assert!(!place.text().contains('\0') && place.text().lines().count() == 3);
}

#[test]
fn recipients_of_one_row() {
    let place = Place::new();
    let mut ledger = Ledger::create(&place.path(), &facts()).unwrap();
    let names = ["a@x.example", "b@x.example", "c@x.example", "d@x.example"];
    ledger.intent(&[9]);
    settle(&mut ledger, 9, names[0], State::Accepted, true);
    settle(&mut ledger, 9, names[1], State::Deferred, false);
    settle(&mut ledger, 9, names[2], State::Failed, true);
    ledger.write().unwrap();
    let of = |past: &Past| names.map(|name| past.of(9, &address(name)));
    use State::*;
    let past_now = past(&place.path(), boot().as_deref());
    assert_eq!(of(&past_now), [Some(Accepted), Some(Deferred), Some(Failed), Some(Unknown)]);
    assert_eq!(past_now.open().collect::<Vec<_>>(), [(9, Deferred)]);
    ledger.intent(&[9]);
    ledger.write().unwrap();
    let past_now = past(&place.path(), boot().as_deref());
    assert_eq!(of(&past_now), [Some(Accepted), Some(Unknown), Some(Failed), Some(Unknown)]);
    assert_eq!(past_now.counts(), Counts { accepted: 1, failed: 1, unknown: 1, ..Counts::default() });
    settle(&mut ledger, 9, names[1], Deferred, true);
    settle(&mut ledger, 9, names[1], Accepted, true);
    ledger.write().unwrap();
    assert_eq!(past(&place.path(), None).of(9, &address(names[1])), Some(Accepted));
}

/// Takes so many octets and then is full, as a disk is.
struct Full(usize, Vec<u8>);

impl Write for Full {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let length = octets.len().min(self.0 - self.1.len());
        self.1.extend_from_slice(&octets[..length]);
        if length == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(length) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn as_much_as_goes_is_written() {
    let mut full = Full(5, Vec::new());
    let (written, error) = write(&mut full, b"12345678");
    assert_eq!((written, error.unwrap().kind(), full.1.as_slice()), (5, io::ErrorKind::StorageFull, &b"12345"[..]));
    assert!(matches!(write(&mut Full(5, Vec::new()), b"123"), (3, None)));
}

/// A limit of the file's size stands for a full disk, in a process of its own: this test, called by itself.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_whole_lines_and_loses_none() {
    const LIMIT: u64 = 4096;
    let Some(path) = std::env::var_os("LEDGER_ON_A_FULL_DISK").map(PathBuf::from) else {
        let place = Place::new();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ledger::tests::a_full_disk_leaves_whole_lines_and_loses_none"])
            .env("LEDGER_ON_A_FULL_DISK", place.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let past = past(&place.path(), boot().as_deref());
        assert_eq!(past.counts(), Counts { accepted: 100, ..Counts::default() });
        return;
    };
    let mut ledger = Ledger::create(&path, &facts()).unwrap();
    let limit = |soft| rustix::process::Rlimit { current: soft, maximum: None };
    // Over the limit a signal would come before the error; a handler makes it an error only.
    signal_hook::flag::register(25, Default::default()).unwrap();
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit(Some(LIMIT))).unwrap();
    for row in 1..=100 {
        settle(&mut ledger, row, "a@x.example", State::Accepted, true);
        if row % 10 == 0 && ledger.write().is_err() {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.ends_with("}\n") && text.len() as u64 <= LIMIT && ledger.has_notes());
            assert_eq!(past(&path, None).counts().accepted as usize, text.lines().count() - 1);
        }
    }
    assert!(ledger.write().is_err());
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit(None)).unwrap();
    ledger.write().unwrap();
    assert!(!ledger.has_notes());
}

#[derive(Debug, Clone)]
enum Note {
    Reserve(Vec<u64>),
    Intent(Vec<u64>),
    Release(Vec<u64>),
    Settled(u64, usize, State, bool),
    Resume,
    Restart,
}

const NAMES: [&str; 3] = ["a@x.example", "b@x.example", "ü@x.example"];

fn notes() -> impl Strategy<Value = Vec<Note>> {
    let rows = || proptest::collection::btree_set(1_u64..6, 1..4).prop_map(|rows| rows.into_iter().collect::<Vec<_>>());
    let state = prop_oneof![
        Just(State::Accepted),
        Just(State::Deferred),
        Just(State::Failed),
        Just(State::Unknown),
        Just(State::Skipped),
        Just(State::Queued)
    ];
    let note = prop_oneof![
        2 => rows().prop_map(Note::Reserve),
        3 => rows().prop_map(Note::Intent),
        1 => rows().prop_map(Note::Release),
        3 => (1_u64..6, 0..NAMES.len(), state).prop_map(|(row, name, state)| Note::Settled(row, name, state, true)),
        2 => (1_u64..6, 0..NAMES.len()).prop_map(|(row, name)| Note::Settled(row, name, State::Deferred, false)),
        1 => Just(Note::Resume),
        1 => Just(Note::Restart),
    ];
    proptest::collection::vec(note, 0..25)
}

/// The same as [`Past`] without any thrift: for every row and recipient the lines that concern it, looked at in order.
#[derive(Default)]
struct Model {
    lines: BTreeMap<(u64, usize), Vec<Note>>,
}

impl Model {
    fn note(&mut self, note: &Note) {
        for row in 1..6 {
            for name in 0..NAMES.len() {
                let concerned = match note {
                    Note::Reserve(rows) | Note::Intent(rows) | Note::Release(rows) => rows.contains(&row),
                    Note::Settled(of, who, ..) => (*of, *who) == (row, name),
                    Note::Resume | Note::Restart => true,
                };
                if concerned {
                    self.lines.entry((row, name)).or_default().push(note.clone());
                }
            }
        }
    }

    fn of(&self, row: u64, name: usize) -> Option<State> {
        let (mut state, mut intent, mut reserved, mut doubt) = (None, false, false, false);
        for note in self.lines.get(&(row, name)).into_iter().flatten().chain([&Note::Resume]) {
            let is_final = matches!(state, Some(State::Accepted | State::Failed | State::Skipped | State::Queued));
            match note {
                Note::Settled(.., settled, _) => {
                    (state, intent, reserved, doubt) = (Some(*settled), false, false, false)
                }
                _ if is_final => {}
                Note::Reserve(_) => reserved = true,
                Note::Intent(_) => intent = true,
                Note::Release(_) => intent = false,
                Note::Resume | Note::Restart => {
                    doubt |= intent || (reserved && matches!(note, Note::Restart));
                    (intent, reserved) = (false, false);
                }
            }
        }
        if doubt { Some(State::Unknown) } else { state }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is noted is read back as a simple model tells it, cut at every octet of its last lines.
    #[test]
    fn what_is_noted_is_read_back(notes in notes()) {
        let place = Place::new();
        let path = place.path();
        let mut ledger = Ledger::create(&path, &facts()).unwrap();
        // Notes by the length of the file that has them, each one line.
        let mut ends = vec![];
        for note in &notes {
            match note {
                Note::Reserve(rows) => ledger.reserve(rows),
                Note::Intent(rows) => ledger.intent(rows),
                Note::Release(rows) => ledger.release(rows),
                Note::Settled(row, name, state, is_last) => settle(&mut ledger, *row, NAMES[*name], *state, *is_last),
                Note::Resume | Note::Restart => {
                    drop(ledger);
                    if matches!(note, Note::Restart) {
                        place.restart_system();
                        ends.clear();
                        ends.push(usize::MAX);
                    }
                    ledger = Ledger::resume(&path, &facts(), false).unwrap().0;
                }
            }
            ledger.write().unwrap();
            ends.push(fs::metadata(&path).unwrap().len() as usize);
        }
        let run = ledger.run().to_owned();
        drop(ledger);
        let octets = fs::read(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let addresses = NAMES.map(address);
        let last = octets.len().saturating_sub(900).max(octets.iter().position(|byte| *byte == b'\n').unwrap() + 1);
        for cut in (last..=octets.len()).rev() {
            // Lengths are known since the last start of the system only.
            let known = ends.iter().filter(|end| **end != usize::MAX && **end <= cut).count();
            if ends.first() == Some(&usize::MAX) && known == 0 {
                break;
            }
            let missing = ends.iter().filter(|end| **end != usize::MAX).count() - known;
            let mut model = Model::default();
            notes[..notes.len() - missing].iter().for_each(|note| model.note(note));
            file.set_len(cut as u64).unwrap();
            let past = past(&path, boot().as_deref());
            for row in 1..7 {
                for (name, address) in addresses.iter().enumerate() {
                    prop_assert_eq!(past.of(row, address), model.of(row, name), "row {} {}", row, NAMES[name]);
                }
            }
        }
        let text = place.text();
        let whole = text.rfind('\n').unwrap() + 1;
        let (ledger, _) = Ledger::resume(&path, &facts(), false).unwrap();
        prop_assert_eq!(ledger.run(), &run);
        let resumed = place.text();
        prop_assert!(resumed.starts_with(&text[..whole]) && resumed.lines().count() == text[..whole].lines().count() + 1);
    }
}
