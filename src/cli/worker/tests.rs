//! The worker as a command, on a real queue and with maildirs; its units; whose password goes where.

use crate::queue::Store;
use std::{collections::BTreeMap, fs, path::Path};

use clap::Parser;

use super::*;
use crate::{
    cli::Cli,
    config::{Environment, Files, Request, resolve},
    mail::{Cause, Content, DsnRequest, Envelope, Mailbox, Stage},
    queue::{Job, Place, Status},
};

struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.configure(config);
        home
    }

    fn configure(&self, config: &str) {
        fs::write(self.path().join("config.toml"), config).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn common(&self) -> CommonArgs {
        CommonArgs { config: Some(self.path().join("config.toml")), ..CommonArgs::default() }
    }

    fn context(&self, variable: (&str, &str)) -> Context {
        let environment = Environment::from([("XDG_STATE_HOME", self.path().to_str().unwrap()), variable]);
        let files = Files::load(self.common().config.as_deref(), &environment).unwrap();
        self.common().context_of(environment, files).unwrap()
    }

    fn store(&self) -> Store {
        Store::open(&self.path().join("mailsend/queue.sqlite")).unwrap()
    }

    fn add(&self, to: &str, place: Place) -> String {
        let address = |text: &str| Mailbox::parse(text).unwrap().address;
        let job = Job {
            message_id: "<m@x.example>".to_owned(),
            envelope: Envelope::new(Some(address("a@x.example")), vec![address(to)]).unwrap(),
            content: Content::from_bytes(b"Subject: s\r\n\r\nt\r\n".to_vec()),
            dsn: DsnRequest::default(),
            place,
            priority: 0,
            due: None,
            expires: i64::MAX,
            key: None,
        };
        self.store().add(&[job]).unwrap().remove(0).0
    }

    fn drain(&self) -> Exit {
        let report = self.path().join("sent.jsonl").display().to_string();
        let report = ReportArgs { report: Some(report), format: None, progress: ProgressArg::None };
        drain_once(self.context(("LANG", "C")), &self.common(), None, WhereArgs::default(), None, &report).unwrap()
    }

    fn count(&self, folder: &str) -> usize {
        fs::read_dir(self.path().join(folder).join("new")).map_or(0, Iterator::count)
    }
}

fn place(profile: &str) -> Place {
    Place { profile: Some(profile.to_owned()), ..Place::default() }
}

#[test]
fn what_is_due_is_sent_once_by_the_way_of_its_place() {
    let home = Home::new("");
    let url = |name: &str| format!("maildir:{}", home.path().join(name).display());
    home.configure(&format!(
        "default-profile = \"a\"\n[profiles.a]\nserver = {:?}\n[profiles.b]\nserver = {:?}\n",
        url("a"),
        url("b")
    ));
    let name = home.add("one@y.example", place("a"));
    home.add("two@y.example", place("b"));
    home.add("three@y.example", Place { server: Some(url("c")), ..Place::default() });
    home.add("four@y.example", Place::default());
    assert_eq!(home.drain(), Exit::Success);
    assert_eq!([home.count("a"), home.count("b"), home.count("c")], [2, 1, 1]);
    let records = fs::read_to_string(home.path().join("sent.jsonl")).unwrap();
    assert_eq!(records.lines().count(), 4);
    assert!(records.contains(&format!("\"run\":\"{name}\",\"row\":null")), "{records}");

    // Nothing is left of it, and a profile that has gone holds its messages until it is there again.
    let gone = home.add("five@y.example", place("gone"));
    assert_eq!(home.drain(), Exit::Partial);
    let entry = home.store().show(&gone).unwrap();
    assert_eq!(entry.outline.status, Status::Held);
    assert!(entry.outline.why.unwrap().contains("there is no profile 'gone'"));
    assert_eq!(home.drain(), Exit::Success, "it is told once");
    assert_eq!([home.count("a"), home.count("b"), home.count("c")], [2, 1, 1]);
    home.configure(&format!("[profiles.gone]\nserver = {:?}\n", url("a")));
    assert_eq!((home.drain(), home.count("a")), (Exit::Success, 3));
}

#[test]
fn what_cannot_be_sent_now_is_left() {
    let home = Home::new("[profiles.a]\nserver = \"maildir:/dev/null/x\"\n");
    let name = home.add("one@y.example", place("a"));
    assert_eq!(home.drain(), Exit::TryAgain);
    let entry = home.store().show(&name).unwrap();
    assert_eq!((entry.outline.status, entry.outline.attempts), (Status::Waiting, 1));
    let records = fs::read_to_string(home.path().join("sent.jsonl")).unwrap();
    assert!(records.lines().count() == 1 && records.contains("\"state\":\"deferred\""), "{records}");
}

#[test]
fn a_password_of_ours_is_for_our_host_and_user_only() {
    let home = Home::new(
        "default-profile = \"a\"\n[profiles.a]\nserver = \"smtps://u@one.example\"\n\
         [profiles.same]\nserver = \"smtp://u@one.example\"\n[profiles.user]\nserver = \"smtps://v@one.example\"\n\
         [profiles.host]\nserver = \"smtps://u@two.example\"\n[profiles.box]\nserver = \"maildir:/x\"\n",
    );
    let places =
        Places::new(home.context(("MAILSEND_PASSWORD", "x")), &home.common(), WhereArgs::default(), Some(7)).unwrap();
    for (name, expected) in [("a", true), ("same", true), ("user", false), ("host", false), ("box", false)] {
        let profile = places.profile(&place(name)).unwrap();
        assert_eq!(places.is_ours(&place(name), &profile), expected, "{name}");
        assert_eq!(profile.pool.max_connections, 7);
    }
    let own = places.profile(&Place::default()).unwrap();
    assert!(places.is_ours(&Place::default(), &own));
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing() {
    let home = Home::new("[profiles.a]\nserver = \"maildir:/x\"\n");
    let mut places = Places::new(home.context(("LANG", "C")), &home.common(), WhereArgs::default(), None).unwrap();
    assert!(!places.refresh(true).unwrap());
    home.configure("[profiles.b]\nserver = nonsense\n");
    assert!(!places.refresh(false).unwrap(), "it was looked at just now");
    assert!(places.refresh(true).is_err());
    assert!(!places.refresh(true).unwrap(), "it is told once");
    assert!(places.reload().is_err(), "whoever asks for it is told again");
    assert!(places.ways(&place("a")).is_ok());
    home.configure("[profiles.b]\nserver = \"maildir:/x\"\n");
    assert!(places.refresh(true).unwrap() && !places.refresh(true).unwrap());
    assert!(places.ways(&place("a")).is_err() && places.ways(&place("b")).is_ok());
    // Of the same length, at the same time: another file all the same.
    let old = fs::metadata(home.path().join("config.toml")).unwrap().modified().unwrap();
    fs::write(home.path().join("new"), "[profiles.c]\nserver = \"maildir:/x\"\n").unwrap();
    fs::File::options().write(true).open(home.path().join("new")).unwrap().set_modified(old).unwrap();
    fs::rename(home.path().join("new"), home.path().join("config.toml")).unwrap();
    assert!(places.refresh(true).unwrap() && places.ways(&place("c")).is_ok());
    // Away it is nothing that could be read, and as it was before it is new again.
    fs::remove_file(home.path().join("config.toml")).unwrap();
    assert!(places.refresh(true).is_err() && places.ways(&place("c")).is_ok());
}

#[test]
fn what_flags_and_environment_say_is_looked_at_before_anything_is_sent() {
    // A profile that is wrong, too, hides nothing, and is no reason to end.
    for config in ["", "[profiles.a]\nserver = \"nonsense://\"\n", "[profiles.a]\n[profiles.b]\n"] {
        let home = Home::new(config);
        let start = |variable, options: &[&str], concurrency| {
            let own = WhereArgs { options: options.iter().map(ToString::to_string).collect(), ..WhereArgs::default() };
            Places::new(home.context(variable), &home.common(), own, concurrency).map(drop).map_err(|error| error.exit)
        };
        let nothing = ("LANG", "C");
        assert_eq!(start(nothing, &[], Some(3)), Ok(()));
        assert_eq!(start(nothing, &[], Some(0)), Err(Exit::Usage));
        assert_eq!(start(nothing, &["pool.max-connections=0"], None), Err(Exit::Usage));
        assert_eq!(start(nothing, &["no.such=0"], None), Err(Exit::Usage));
        assert_eq!(start(("MAILSEND_TIMEOUTS_CONNECT", "abc"), &[], None), Err(Exit::Configuration));
        assert_eq!(start(("MAILSEND_PROFILE", "gone"), &[], None), Err(Exit::Configuration));
    }
    let home = Home::new("[profiles.a]\npool.max-connections = 0\nserver = \"maildir:/x\"\n");
    let own = WhereArgs { profile: Some("a".to_owned()), ..WhereArgs::default() };
    assert_eq!(
        Places::new(home.context(("LANG", "C")), &home.common(), own, None).map(drop).unwrap_err().exit,
        Exit::Configuration
    );
}

#[test]
fn only_a_profile_that_is_not_there_holds_messages() {
    let home = Home::new(
        "[profiles.none]\nfrom = \"a@x.example\"\n[profiles.url]\nserver = \"nonsense://\"\n\
         [profiles.zero]\nserver = \"maildir:/x\"\npool.max-connections = 0\n\
         [profiles.heir]\ninherits = \"gone\"\n[profiles.file]\nserver = \"smtps://x\"\ntls.ca-file = \"/nowhere\"\n",
    );
    let places = Places::new(home.context(("LANG", "C")), &home.common(), WhereArgs::default(), None).unwrap();
    for (name, stage, words) in [
        ("gone", Stage::Compose, "there is no profile 'gone'"),
        ("none", Stage::Compose, "profile 'none' names no server"),
        ("url", Stage::Connect, "config.toml:4: server"),
        ("zero", Stage::Connect, "pool.max-connections"),
        ("heir", Stage::Connect, "'gone'"),
        ("file", Stage::Connect, "/nowhere"),
    ] {
        let trouble = places.ways(&place(name)).unwrap_err();
        assert_eq!((trouble.cause, trouble.stage), (Cause::Configuration, stage), "{name}: {trouble}");
        assert!(trouble.to_string().contains(words), "{name}: {trouble}");
    }
    // They wait, however many, and nobody is troubled for each of them.
    let names = ["url", "zero", "none"].map(|profile| home.add("one@y.example", place(profile)));
    assert_eq!(home.drain(), Exit::TryAgain);
    let status = |name: &String| home.store().show(name).unwrap().outline.status;
    assert_eq!(names.each_ref().map(status), [Status::Waiting, Status::Waiting, Status::Held]);
}

/// What users have left for us goes by the profile they name, by that of their sender, or by ours.
#[test]
fn what_was_dropped_is_sent_by_its_way() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new("");
    let url = |name: &str| format!("maildir:{}", home.path().join(name).display());
    let (drop, log) = (home.path().join("drop"), home.path().join("mail.log"));
    home.configure(&format!(
        "default-profile = \"a\"\n[sendmail]\ndrop = {drop:?}\n[log]\nfile = {log:?}\n[profiles.a]\nserver = {:?}\n[profiles.b]\nserver = {:?}\n\
         [profiles.c]\nserver = {:?}\nmatch = [\"*@c.example\"]\n",
        url("a"),
        url("b"),
        url("c")
    ));
    assert_eq!(home.drain(), Exit::Success, "a folder that is not there is said, and no reason to end");
    fs::create_dir(&drop).unwrap();
    let run = || {
        let report = ReportArgs { report: None, format: None, progress: ProgressArg::None };
        drain_once(home.context(("LANG", "C")), &home.common(), None, WhereArgs::default(), None, &report)
    };
    assert_eq!(run().unwrap_err().exit, Exit::Configuration, "one that is ours and not safe is");
    fs::set_permissions(&drop, fs::Permissions::from_mode(0o3733)).unwrap();
    let folder = crate::queue::Drop::open(&drop).unwrap();
    let mailbox = |text: &str| Mailbox::parse(text).unwrap().address;
    let add = |from: Option<&str>, profile: Option<&str>| {
        let job = Job {
            message_id: "<m@x.example>".to_owned(),
            envelope: Envelope::new(from.map(mailbox), vec![mailbox("b@y.example")]).unwrap(),
            content: Content::from_bytes(b"Subject: s\r\n\r\nt\r\n".to_vec()),
            dsn: DsnRequest::default(),
            place: Place { profile: profile.map(str::to_owned), server: Some(url("d")), settings: Vec::new() },
            priority: 0,
            due: None,
            expires: i64::MAX,
            key: None,
        };
        folder.add_all(&[job]).unwrap().remove(0)
    };
    for (from, profile) in [
        (Some("a@x.example"), None),
        (Some("a@x.example"), Some("gone")),
        (None, None),
        (Some("a@x.example"), Some("b")),
        (Some("a@c.example"), None),
        (Some("a@c.example"), Some("gone")),
    ] {
        add(from, profile);
    }
    let name = add(Some("a@c.example"), Some("b"));
    assert_eq!(home.drain(), Exit::Success);
    assert_eq!(["a", "b", "c", "d"].map(|name| home.count(name)), [3, 2, 2, 0]);
    assert_eq!(home.store().show(&name).unwrap().outline.status, Status::Done);
    assert_eq!(fs::read_dir(&drop).unwrap().count(), 0);
    // Who has left it could not note it in our file.
    let text = fs::read_to_string(&log).unwrap();
    let queued: Vec<&str> = text.lines().filter(|line| line.contains("state=queued")).collect();
    assert_eq!((queued.len(), text.matches("state=accepted").count()), (7, 7), "{text}");
    let last = queued.iter().find(|line| line.contains(&name)).unwrap();
    assert!(last.contains("profile=b") && last.contains(&url("b")), "{last}");
}

/// The keys of a unit's service, the last of each.
fn service(unit: &str) -> BTreeMap<&str, &str> {
    let mut sections = BTreeMap::new();
    let mut section = "";
    for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => section = name,
            None => {
                let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
                assert!(!section.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{line}");
                sections.entry(section).or_insert_with(BTreeMap::new).insert(key, value);
            }
        }
    }
    assert_eq!(sections.keys().copied().collect::<Vec<_>>(), ["Install", "Service", "Unit"]);
    sections.remove("Service").unwrap()
}

/// The service of the timer runs once, as the same user.
#[test]
fn the_unit_of_the_timer_fits() {
    let unit = include_str!("../../../examples/systemd/mailsend-queue.service");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap();
    assert!(Cli::try_parse_from(value("ExecStart").split(' ')).is_ok());
    let lasting = service(include_str!("../../../examples/systemd/mailsend.service"));
    assert_eq!(
        (value("Type"), value("User"), value("Environment")),
        ("oneshot", lasting["User"], lasting["Environment"])
    );
    let timer = include_str!("../../../examples/systemd/mailsend-queue.timer");
    assert!(timer.contains("OnUnitInactiveSec=") && timer.contains("WantedBy=timers.target"));
}

#[test]
fn the_units_fit_the_worker() {
    for unit in [
        include_str!("../../../examples/systemd/mailsend-worker.service"),
        include_str!("../../../examples/systemd/mailsend-worker@.service"),
        include_str!("../../../examples/systemd/mailsend.service"),
    ] {
        let service = service(unit);
        let command: Vec<&str> = service["ExecStart"].split(' ').collect();
        assert!(Cli::try_parse_from(&command).is_ok() && command[0].starts_with('/'), "{command:?}");
        let seconds = |key: &str| Duration::from_secs(service[key].parse().unwrap());
        let limits = resolve(&Request::default(), &Files::default(), &Environment::default()).unwrap().timeouts;
        assert!(seconds("TimeoutStopSec") > limits.final_reply, "it is killed before it has ended");
        assert!(seconds("WatchdogSec") > 4 * Duration::from_secs(30), "a store that is busy is no defect");
        assert_eq!((service["Type"], service["UMask"]), ("notify", "0077"));
        assert_eq!(service["ExecReload"], "/bin/kill -HUP $MAINPID");
    }
}
