//! The drop directory with users of its own: whoever adds can do nothing else, and the worker of its owner sends it once.

use std::{
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use mailsend::{
    mail::{Content, DsnRequest, Envelope, Mailbox},
    queue::{Drop as DropFolder, Job, Place},
};

use crate::support::{Dice, Run, finish, real, sink::Sink};

/// The worker, and two users.
const WORKER: u32 = 60_101;
const ADA: u32 = 60_102;
const BOB: u32 = 60_103;

/// What a user's run of this very program is to do: `FOLDER FIRST COUNT`.
const WISH: &str = "MAILSEND_TEST_DROP";

/// A system with a drop directory.
struct Commons(tempfile::TempDir);

impl Commons {
    /// Nothing where we cannot be others, which has been said then.
    fn new() -> Option<Self> {
        let is_possible = rustix::process::geteuid().is_root()
            && Command::new("setpriv").args(["--reuid=60101", "true"]).status().is_ok_and(|status| status.success());
        if !real::is_here("other users (setpriv needs root)", is_possible) {
            return None;
        }
        let commons = Self(tempfile::tempdir().expect("a folder"));
        fs::set_permissions(commons.0.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        for (program, name) in
            [(env!("CARGO_BIN_EXE_mailsend").into(), "mailsend"), (env::current_exe().expect("it"), "tests")]
        {
            let program: PathBuf = program;
            fs::copy(program, commons.path(name)).expect("a copy");
            fs::set_permissions(commons.path(name), fs::Permissions::from_mode(0o755)).expect("a mode");
        }
        for (name, mode, owner) in [("drop", 0o3733, WORKER), ("state", 0o700, WORKER), ("home", 0o700, BOB)] {
            fs::create_dir(commons.path(name)).expect("a folder");
            chown(commons.path(name), Some(owner), Some(owner)).expect("an owner");
            fs::set_permissions(commons.path(name), fs::Permissions::from_mode(mode)).expect("a mode");
        }
        Some(commons)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn drop(&self) -> PathBuf {
        self.path("drop")
    }

    fn configure(&self, more: &str) {
        let text = format!("[sendmail]\ndrop = {:?}\n{more}", self.drop());
        fs::write(self.path("config.toml"), text).expect("a file");
    }

    /// A command of a user.
    fn of(&self, user: u32, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
        command.arg(program).args(arguments).env_clear().current_dir("/");
        command.envs([("PATH", "/usr/bin:/bin"), ("LANG", "C")]);
        command.env("MAILSEND_CONFIG", self.path("config.toml")).env("XDG_STATE_HOME", self.path("state"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn mailsend(&self, arguments: &[&str]) -> Child {
        self.of(WORKER, &self.path("mailsend"), arguments).spawn().expect("the binary starts")
    }

    /// A line of shell of a user, in the drop directory.
    fn shell(&self, user: u32, line: &str) -> Run {
        let line = format!("cd {} && {line}", self.drop().display());
        finish(self.of(user, Path::new("/bin/sh"), &["-c", &line]).spawn().expect("a shell"))
    }

    /// Has a user add so many messages, for p1@y.example and so on.
    fn add(&self, user: u32, first: usize, count: usize) {
        let name = "queue::dropping::what_a_user_adds";
        let mut command = self.of(user, &self.path("tests"), &["--exact", name]);
        let output = command.env(WISH, format!("{} {first} {count}", self.drop().display())).output().expect("a run");
        assert!(output.status.success(), "{output:?}");
    }

    /// Names of messages that are there, whole or not.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.drop()).expect("a folder").flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name != "rejected").collect()
    }
}

/// What a user does; by itself it is no test.
#[test]
fn what_a_user_adds() {
    let Ok(wish) = env::var(WISH) else { return };
    let [folder, first, count] = wish.split(' ').collect::<Vec<_>>()[..] else { panic!("{wish}") };
    let drop = DropFolder::open(folder.as_ref()).expect("a drop directory");
    assert!(!drop.is_ours());
    let address = |text: &str| Mailbox::parse(text).expect("an address").address;
    let first: usize = first.parse().expect("a number");
    for number in first..first + count.parse::<usize>().expect("a number") {
        let job = Job {
            message_id: format!("<{number}@x.example>"),
            envelope: Envelope::new(Some(address("a@x.example")), vec![address(&format!("p{number}@y.example"))])
                .expect("an envelope"),
            content: Content::from_bytes(b"Subject: s\r\n\r\nfor nobody else\r\n".to_vec()),
            dsn: DsnRequest::default(),
            place: Place::default(),
            priority: 0,
            due: None,
            expires: i64::MAX,
            key: None,
        };
        drop.add_all(&[job]).expect("room for it");
    }
}

#[test]
fn nobody_else_reads_it_and_the_worker_sends_it() {
    let Some(commons) = Commons::new() else { return };
    let sink = Sink::new("PIPELINING");
    commons.configure(&format!("[profiles.p]\nserver = \"{}\"\n", sink.url()));
    commons.add(ADA, 1, 1);
    let names = commons.names();
    let [name] = &names[..] else { panic!("{names:?}") };
    let path = commons.drop().join(name);
    let metadata = fs::metadata(&path).expect("a message");
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (ADA, WORKER, 0o640));
    // Even if they knew its name.
    commons.shell(BOB, "echo x > own").exits(0);
    for line in [
        "ls .".to_owned(),
        format!("cat {name}"),
        format!("rm -f {name}"),
        format!("echo x > {name}"),
        format!("echo x >> {name}"),
        format!("mv {name} mine"),
        format!("mv -f own {name}"),
        format!("ln {name} mine && cat mine"),
        format!("chmod 666 {name}"),
        "chmod 777 .".to_owned(),
        "ls rejected/".to_owned(),
    ] {
        let run = commons.shell(BOB, &line);
        assert!(run.code != 0 && !run.stdout.contains("nobody else"), "{line}: {run:#?}");
    }
    // Where links to what is another's are possible the worker does not take it for one of two.
    let _ = fs::remove_file(commons.drop().join("mine"));
    assert_eq!(fs::metadata(&path).expect("a message").len(), metadata.len());
    // A worker of somebody else leaves it alone.
    finish(
        commons
            .of(BOB, &commons.path("mailsend"), &["queue", "run"])
            .env("XDG_STATE_HOME", commons.path("home"))
            .spawn()
            .expect("it"),
    )
    .exits(0);
    assert_eq!(sink.count(), 0);
    finish(commons.mailsend(&["queue", "run", "-v"])).exits(0).says(&format!("{name} is of user {ADA}"));
    let taken = sink.taken();
    assert_eq!(
        (taken.len(), taken[0].recipients[0].as_str(), taken[0].body()),
        (1, "p1@y.example", "for nobody else\r\n")
    );
    let shown = finish(commons.mailsend(&["queue", "show", name])).exits(0);
    assert!(shown.stdout.contains(&format!("drop {ADA} {name}")), "{shown:#?}");
    assert!(commons.names().is_empty());
    let rejected: Vec<_> = fs::read_dir(commons.drop().join("rejected")).expect("a folder").flatten().collect();
    assert!(rejected.len() == 1 && rejected[0].file_name().to_string_lossy().starts_with(&format!("{BOB}-")));
}

/// What any user hands to sendmail waits in the folder, and whoever may look is told so.
#[test]
fn sendmail_of_any_user() {
    let Some(commons) = Commons::new() else { return };
    let sink = Sink::new("PIPELINING");
    commons.configure(&format!("mode = \"direct\"\n[profiles.p]\nserver = \"{}\"\n", sink.url()));
    for name in ["sendmail", "mailq"] {
        std::os::unix::fs::symlink("mailsend", commons.path(name)).expect("a link");
    }
    let sendmail = commons.path("sendmail");
    let hand_over = |user, id: &str| {
        let line = format!(
            "printf 'Message-ID: {id}\\nFrom: Ada@X.Example\\n\\nhi\\n' | {} -i b@Y.example",
            sendmail.display()
        );
        commons.shell(user, &line).exits(0).silently();
    };
    // Whatever they call it.
    for id in ["<1@x.example>", "20261128.1234", "<a b@c>"] {
        hand_over(ADA, id);
    }
    assert_eq!((commons.names().len(), sink.count()), (3, 0));
    let mailq = |user| finish(commons.of(user, &commons.path("mailq"), &[]).spawn().expect("it"));
    mailq(BOB).exits(77).says(&format!("sudo -u '#{WORKER}' mailq"));
    let run = mailq(WORKER).exits(0).says("lie 3 more that nobody has taken yet");
    assert_eq!(run.stdout, "Mail queue is empty\n");
    finish(commons.mailsend(&["queue", "run"])).exits(0);
    assert_eq!(sink.counts()["b@y.example"], 3);
    assert!(commons.names().is_empty());
    mailq(WORKER).exits(0).silently();
}

/// A worker that waits sees what comes, whatever somebody has put beside it.
#[test]
fn what_a_user_plants_does_no_harm() {
    let Some(commons) = Commons::new() else { return };
    let sink = Sink::new("PIPELINING");
    commons.configure(&format!("[profiles.p]\nserver = \"{}\"\n", sink.url()));
    let mut planted = commons.shell(
        BOB,
        "set -e; n=123456789abcdefghij; ln -s /etc/shadow a$n; ln -s . b$n; echo x > c$n; ln c$n d$n; mkfifo -m 666 e$n; \
         truncate -s 1T f$n; head -c 100000 /dev/zero > g$n; chmod 640 g$n; mkdir -p h$n/deep; mkdir -m 777 rejected; \
         echo x > i$n; chmod 0 i$n; echo x > k$n.new; i=0; while [ $i -lt 300 ]; do : > junk$i; i=$((i+1)); done",
    );
    planted = planted.exits(0);
    assert_eq!(planted.stderr, "");
    let worker = commons.mailsend(&["worker"]);
    commons.add(ADA, 1, 3);
    let until = |count: usize| {
        let begin = Instant::now();
        while sink.count() < count {
            assert!(begin.elapsed() < Duration::from_secs(30), "{} of {count}", sink.count());
            thread::sleep(Duration::from_millis(10));
        }
    };
    until(3);
    commons.add(BOB, 4, 1);
    until(4);
    super::signal(&worker, rustix::process::Signal::TERM);
    let run = finish(worker).exits(0).says("is no message");
    assert!(run.stderr.lines().count() < 60, "{run:#?}");
    assert_eq!(sink.counts().len(), 4);
    // What is being written stays, and so does a folder that only its maker can move.
    let mut names = commons.names();
    names.sort();
    assert!(names.contains(&"k123456789abcdefghij.new".to_owned()), "{names:?}");
    assert!(
        names.iter().all(|name| name.starts_with('k') || name.starts_with('h') || name.starts_with("rejected-")),
        "{names:?}"
    );
    let rejected = fs::read_dir(commons.drop().join("rejected")).expect("a folder").count();
    assert!(rejected >= 308, "{rejected}");
    assert!(fs::metadata("/etc/shadow").is_ok());
}

/// Whoever dies between keeping a message and removing it sends it once all the same.
#[test]
fn workers_that_are_killed_while_they_take() {
    const MESSAGES: usize = 600;
    let Some(commons) = Commons::new() else { return };
    let mut dice = Dice::new(77);
    // They are only kept: there is no way for them yet.
    commons.configure("");
    commons.add(ADA, 1, MESSAGES);
    let (mut kills, mut begin) = (0, MESSAGES);
    while begin > 0 && kills < 40 {
        let mut worker = commons.mailsend(&["worker", "-q"]);
        let wanted = begin.saturating_sub(1 + dice.below(60));
        let start = Instant::now();
        while commons.names().len() > wanted && start.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_micros(50));
        }
        worker.kill().expect("it is ours");
        worker.wait().expect("it ends");
        kills += 1;
        begin = commons.names().len();
        eprintln!("{begin} are left");
    }
    assert!(kills >= 5, "only {kills} kills");
    let sink = Sink::new("PIPELINING");
    commons.configure(&format!("[profiles.p]\nserver = \"{}\"\n", sink.url()));
    let run = finish(commons.mailsend(&["queue", "run"]));
    let counts = sink.counts();
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert_eq!(counts.len(), MESSAGES, "{run:#?}");
}
