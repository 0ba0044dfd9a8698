//! The log, end to end: every command that has outcomes writes them down, wherever `[log]` says, and mail never waits for it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    Run, Sandbox, finish, real,
    sink::{Act, Heard, Sink},
};

const NO: &str = "550 5.1.1 no \"such\" user=x";

/// Refuses `no@`, and defers `later@`.
fn sink() -> Sink {
    Sink::with("PIPELINING", |moment| match moment.heard {
        Heard::Rcpt(who, _) if who.starts_with("no@") => Act::Say(NO.to_owned()),
        Heard::Rcpt(who, _) if who.starts_with("later@") => Act::Say("450 4.2.0 later".to_owned()),
        _ => Act::Agree,
    })
}

fn message<'a>(server: &'a str, to: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--server", server, "-r", "s@x.example", "--to", to, "-s", "Hi", "--body", "Hello\n"], more].concat()
}

/// What a reader of key=value makes of a line.
fn parsed(line: &str) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    let mut rest = line;
    while let Some((name, behind)) = rest.split_once('=') {
        let (value, behind) = match behind.strip_prefix('"') {
            None => {
                let (value, behind) = behind.split_once(' ').unwrap_or((behind, ""));
                (value.to_owned(), behind)
            }
            Some(quoted) => {
                let (mut value, mut chars) = (String::new(), quoted.char_indices());
                let end = loop {
                    match chars.next().expect("a closing quote") {
                        (at, '"') => break at,
                        (_, '\\') => value.push(chars.next().expect("a character").1),
                        (_, c) => value.push(c),
                    }
                };
                (value, quoted[end + 1..].trim_start())
            }
        };
        pairs.insert(name.to_owned(), value);
        rest = behind;
    }
    pairs
}

/// The lines of a file, as `recipient state`, in the order of the alphabet.
fn ends(path: &Path, is_json: bool) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let end = |line: &str| {
        if !is_json {
            let pairs = parsed(line);
            return format!("{} {}", pairs["recipient"], pairs["state"]);
        }
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        format!("{} {}", value["recipient"].as_str().expect("text"), value["state"].as_str().expect("text"))
    };
    let mut ends: Vec<String> = text.lines().map(end).collect();
    ends.sort();
    ends
}

#[test]
fn every_command_writes_it() {
    for (format, is_json) in [("text", false), ("json", true)] {
        let mut sandbox = Sandbox::new();
        sandbox.env("MAILSEND_QUEUE_DRAIN", "false");
        sandbox.config(&format!("[log]\nfile = \"mail.log\"\nformat = \"{format}\"\n"));
        let (sink, log) = (sink(), sandbox.path("mail.log"));
        let url = sink.url();
        let next = |run: Run, code, wanted: &[&str]| {
            run.exits(code);
            assert_eq!(ends(&log, is_json), wanted, "{format}");
            fs::remove_file(&log).expect("a log");
        };
        let three = "a@y.example, no@y.example, later@y.example";
        let run = sandbox.run(&message(&url, three, &["--report", "run.jsonl"]));
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&log).expect("a log")) & 0o777, 0o600);
        if is_json {
            assert_eq!(fs::read_to_string(&log).ok(), fs::read_to_string(sandbox.path("run.jsonl")).ok());
        } else {
            let text = fs::read_to_string(&log).expect("a log");
            let refused = text.lines().find(|line| line.contains("no@y.example")).expect("a line");
            let (pairs, json) = (parsed(refused), fs::read_to_string(sandbox.path("run.jsonl")).expect("records"));
            let json = json.lines().find(|line| line.contains("no@y.example")).expect("a record");
            let json: BTreeMap<String, Value> = serde_json::from_str(json).expect("JSON");
            for (name, value) in json {
                let wanted = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                assert_eq!(pairs[&name], wanted, "{name}");
            }
            assert_eq!(pairs["reply"], &NO[4..]);
        }
        next(run, 1, &["a@y.example accepted", "later@y.example deferred", "no@y.example failed"]);
        let run = sandbox.run(&message(&url, "later@y.example", &["--queue-on-failure"]));
        next(run, 0, &["later@y.example queued"]);
        sandbox.run(&["queue", "purge", "--waiting", "--yes"]).exits(0);
        next(
            sandbox.run(&message(&url, three, &["--queue"])),
            0,
            &["a@y.example queued", "later@y.example queued", "no@y.example queued"],
        );
        // The report about it goes to the sender.
        let run = sandbox.run(&["queue", "run"]);
        next(
            run,
            75,
            &["a@y.example accepted", "later@y.example deferred", "no@y.example failed", "s@x.example accepted"],
        );

        let file = sandbox.file("people.csv", "to\nb@y.example\nnonsense\nno@y.example\n");
        let batch = ["batch", &file, "--server", &url, "-r", "s@x.example", "-s", "Hi", "--body", "Hello\n"];
        let run = sandbox.run(&[&batch[..], &["--skip-bad-rows"]].concat());
        next(run, 1, &[" skipped", "b@y.example accepted", "no@y.example failed"]);
        let run = sandbox.run(&[&batch[..], &["--skip-bad-rows", "--queue"]].concat());
        next(run, 1, &[" skipped", "b@y.example queued", "no@y.example queued"]);
    }
}

/// The background's lines come into the file that a variable names from here.
#[test]
fn what_goes_on_in_the_background_is_there_too() {
    let mut sandbox = Sandbox::new();
    sandbox.env("MAILSEND_LOG_FILE", "mail.log");
    let (sink, log) = (sink(), sandbox.path("mail.log"));
    sandbox.run(&message(&sink.url(), "a@y.example", &["--queue"])).exits(0);
    until("its line", || ends(&log, false) == ["a@y.example accepted", "a@y.example queued"]);
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what} does not come");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_log_that_cannot_be_written_is_said_once() {
    let sandbox = Sandbox::new();
    let sink = sink();
    fs::create_dir(sandbox.path("folder")).expect("a folder");
    for (file, why) in [("nowhere/mail.log", "No such file"), ("folder", "directory"), ("/dev/full", "No space")] {
        sandbox.config(&format!("[log]\nfile = \"{file}\"\n"));
        let run = sandbox.run(&message(&sink.url(), "a@y.example, b@y.example", &["-q"])).exits(0);
        let lines: Vec<&str> = run.stderr.lines().collect();
        assert!(lines.len() == 1 && lines[0].starts_with("warning: the log (") && lines[0].contains(why), "{run:#?}");
        let people = (0..300).fold("to\n".to_owned(), |table, row| format!("{table}p{row}@y.example\n"));
        let people = sandbox.file("people.csv", people);
        let batch = ["batch", &people, "--server", &sink.url(), "-r", "s@x.example", "-s", "Hi", "--body", "Hello\n"];
        let run = sandbox.run(&batch).exits(0);
        assert_eq!(run.stderr.matches("the log").count(), 1, "{run:#?}");
    }
    // Nobody reads this pipe.
    let pipe = sandbox.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    sandbox.config("[log]\nfile = \"pipe\"\n");
    let begin = Instant::now();
    sandbox.run(&message(&sink.url(), "a@y.example", &[])).exits(0).says("too slowly");
    assert!(begin.elapsed() < Duration::from_secs(10));
    sandbox.config("[log]\nfile = 7\n");
    sandbox.run(&message(&sink.url(), "a@y.example", &[])).exits(78);
}

/// Whoever rotates logs need not tell a worker.
#[test]
fn a_worker_whose_log_is_moved_away() {
    let mut sandbox = Sandbox::new();
    sandbox.env("MAILSEND_QUEUE_DRAIN", "false").env("MAILSEND_LOG_FILE", "mail.log");
    let (sink, log) = (sink(), sandbox.path("mail.log"));
    let mut worker = sandbox.command(&["worker"]);
    let worker = worker.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut more = sandbox.command(&message(&sink.url(), "a@y.example", &["--queue"]));
    more.env("MAILSEND_LOG_FILE", "other.log");
    assert!(more.status().expect("it ends").success());
    until("the first line", || ends(&log, false) == ["a@y.example accepted"]);
    fs::rename(&log, sandbox.path("mail.log.1")).expect("a log");
    assert!(more.status().expect("it ends").success());
    until("the second line", || ends(&log, false) == ["a@y.example accepted"]);
    let pid = rustix::process::Pid::from_child(&worker);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
    finish(worker).exits(0);
    assert_eq!(ends(&sandbox.path("mail.log.1"), false).len(), 1);
}

/// A system of its own, as far as its loggers go: `/dev/log` and the journal's socket are the test's.
struct Loggers {
    folder: tempfile::TempDir,
    syslog: UnixDatagram,
    journal: UnixDatagram,
}

impl Loggers {
    /// Nothing, if there are no mount namespaces here, which has been said then.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| -> PathBuf { folder.path().join(name) };
        fs::create_dir_all(path("dev")).expect("a folder");
        fs::create_dir_all(path("run/systemd/journal")).expect("a folder");
        for device in ["null", "urandom"] {
            fs::write(path("dev").join(device), "").expect("a file");
        }
        let bind = |name: &str| {
            let socket = UnixDatagram::bind(path(name)).expect("a socket");
            socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
            socket
        };
        let (syslog, journal) = (bind("dev/log"), bind("run/systemd/journal/socket"));
        let loggers = Self { syslog, journal, folder };
        let is_possible = loggers.within(Command::new("true")).output().is_ok_and(|output| output.status.success());
        real::is_here("a mount namespace (unshare)", is_possible).then_some(loggers)
    }

    /// The command in that system.
    fn within(&self, command: Command) -> Command {
        let script = "cd \"$0\" && for one in null urandom; do mount --bind /dev/$one dev/$one; done && \
                      mount --bind run /run && mount --rbind dev /dev && cd \"$1\" && shift && exec \"$@\"";
        let mut within = Command::new("unshare");
        within.args(if rustix::process::geteuid().is_root() { &["--mount"][..] } else { &["-rm"] });
        within.args(["/bin/sh", "-ec", script]).arg(self.folder.path());
        within
            .arg(command.get_current_dir().unwrap_or(Path::new("/")))
            .arg(command.get_program())
            .args(command.get_args());
        // Every variable of the sealed environment is named.
        within.env_clear();
        within.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        within.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        within
    }

    fn run(&self, sandbox: &Sandbox, arguments: &[&str]) -> Run {
        finish(self.within(sandbox.command(arguments)).spawn().expect("unshare"))
    }
}

fn heard(socket: &UnixDatagram) -> Vec<u8> {
    let mut packet = vec![0; 100_000];
    let length = socket.recv(&mut packet).expect("a packet");
    packet.truncate(length);
    packet
}

#[test]
fn the_system_logger_has_it() {
    let Some(loggers) = Loggers::new() else { return };
    let (sandbox, sink) = (Sandbox::new(), sink());
    sandbox.config("[log]\nfile = \"syslog\"\n");
    let to = "a@y.example, no@y.example, later@y.example";
    loggers.run(&sandbox, &message(&sink.url(), to, &[])).exits(1);
    let mut priorities = BTreeMap::new();
    for _ in 0..3 {
        let line = String::from_utf8(heard(&loggers.syslog)).expect("text");
        let (head, line) = line.split_once("]: ").expect("a head");
        let (priority, head) = head.strip_prefix('<').and_then(|head| head.split_once('>')).expect("a priority");
        assert!(head.as_bytes()[15] == b' ' && head[16..].starts_with("mailsend["), "{head}");
        priorities.insert(parsed(line)["state"].clone(), priority.to_owned());
    }
    let wanted = [("accepted", "22"), ("deferred", "20"), ("failed", "19")];
    assert_eq!(priorities, wanted.map(|(state, priority)| (state.to_owned(), priority.to_owned())).into());
    sandbox.config("[log]\nfile = \"syslog\"\nformat = \"json\"\n");
    loggers.run(&sandbox, &message(&sink.url(), "a@y.example", &[])).exits(0).silently();
    let line = String::from_utf8(heard(&loggers.syslog)).expect("text");
    let json: Value = serde_json::from_str(line.split_once("]: ").expect("a head").1).expect("JSON");
    assert_eq!(json["recipient"], "a@y.example");
    // By the name that a caller of sendmail gives.
    let profile = format!("[profiles.p]\nserver = \"{}\"\n", sink.url());
    sandbox.config(&format!("[log]\nfile = \"syslog\"\n[sendmail]\nmode = \"queue\"\n{profile}"));
    loggers.run(&sandbox, &["sendmail", "-L", "nightly", "-i", "a@y.example"]).exits(0).silently();
    let line = String::from_utf8(heard(&loggers.syslog)).expect("text");
    assert!(line.contains(" nightly[") && line.contains("state=queued"), "{line}");
}

/// However long a reply is, there is a line of it.
#[test]
fn the_journal_has_every_column() {
    let Some(loggers) = Loggers::new() else { return };
    let sandbox = Sandbox::new();
    let reply = format!("250-2.0.0 {0}\r\n250-{0}\r\n250 {0}", "long ".repeat(600));
    let sink = Sink::with("PIPELINING", move |moment| match moment.heard {
        Heard::Content(_) => Act::Say(reply.clone()),
        _ => Act::Agree,
    });
    sandbox.config("[log]\nfile = \"journal\"\n");
    loggers.run(&sandbox, &message(&sink.url(), "a@y.example", &["--report", "run.jsonl"])).exits(0).silently();
    let entry = String::from_utf8(heard(&loggers.journal)).expect("text");
    let fields: BTreeMap<&str, &str> = entry.lines().map(|line| line.split_once('=').expect("a field")).collect();
    assert_eq!((fields["PRIORITY"], fields["SYSLOG_IDENTIFIER"], fields["SYSLOG_FACILITY"]), ("6", "mailsend", "2"));
    let record = fs::read_to_string(sandbox.path("run.jsonl")).expect("a record");
    let record: BTreeMap<String, Value> = serde_json::from_str(&record).expect("JSON");
    for (name, value) in record.iter().filter(|(_, value)| !value.is_null()) {
        let wanted = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let found = fields[&*format!("MAILSEND_{}", name.to_uppercase())];
        assert!(
            found == wanted || (name == "reply" && found.len() >= 300 && wanted.starts_with(found)),
            "{name}: {found}"
        );
    }
    assert_eq!(parsed(fields["MESSAGE"])["state"], "accepted");
}

/// A logger that has gone, or that takes nothing, costs a second at most.
#[test]
fn a_logger_that_hangs_holds_nobody() {
    let Some(loggers) = Loggers::new() else { return };
    let (sandbox, sink) = (Sandbox::new(), sink());
    sandbox.config("[log]\nfile = \"syslog\"\n");
    let file =
        sandbox.file("people.csv", (0..300).fold("to\n".to_owned(), |table, row| format!("{table}p{row}@y.example\n")));
    // Its queue is full before the end.
    let batch = ["batch", &file, "--server", &sink.url(), "-r", "s@x.example", "-s", "Hi", "--body", "Hello\n"];
    let begin = Instant::now();
    loggers.run(&sandbox, &batch).exits(0).says("the log (syslog) cannot be written");
    assert!(begin.elapsed() < Duration::from_secs(20) && sink.count() == 300, "{:?}", begin.elapsed());
    fs::remove_file(loggers.folder.path().join("dev/log")).expect("a socket");
    loggers.run(&sandbox, &message(&sink.url(), "a@y.example", &[])).exits(0).says("No such file");
}
