//! Where passwords are kept: that they come back, that none is lost, that nothing shows them, and what is said when a
//! store, its key or a source of secrets is wrong.

use std::{
    fs,
    io::Write,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use mailsend::{
    config::{Environment, Secrets, StoreKind, WebWay},
    mail::Secret,
    secret::{Wanted, stores},
};

use crate::support::{Run, Sandbox, Server, finish, traces_of};

pub const CANARY: &str = "Kanarienvögel 7319+ß";
const WHO: [&str; 2] = ["--server", "smtp://ada@mx.example"];

/// A sandbox with the encrypted file `secrets.json`, whose key is said by these lines.
fn with_file(key: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.config(&format!("[secrets]\nstore = \"file\"\nfile = \"secrets.json\"\n{key}"));
    sandbox
}

fn login(sandbox: &Sandbox, who: &[&str], password: &str) -> Run {
    sandbox.run_with(&[&["login"], who].concat(), format!("{password}\n").as_bytes())
}

/// Asserts that the password is in no file of the sandbox, nor in what was said.
#[track_caller]
fn shows_nothing(sandbox: &Sandbox, run: &Run) {
    let mut texts = vec![run.stdout.clone(), run.stderr.clone()];
    let mut folders = vec![sandbox.path(".")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => texts.push(String::from_utf8_lossy(&fs::read(entry.path()).expect("a file")).into_owned()),
            }
        }
    }
    for trace in traces_of(CANARY) {
        assert!(texts.iter().all(|text| !text.contains(&trace)), "{trace} is in {texts:#?}");
    }
}

/// A server that takes the password of ada, and a message.
pub fn server() -> Server {
    Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        let line = talk.answer("AUTH PLAIN ", "235 welcome");
        assert_eq!(line, format!("AUTH PLAIN {}", encodify::base64::STANDARD.encode(format!("\0ada\0{CANARY}"))));
        talk.take_one(1);
    })
}

/// A server that nobody logs in to.
pub fn shy_server() -> Server {
    Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT"));
    })
}

pub fn send(sandbox: &Sandbox, server: &Server, more: &[&str]) -> Run {
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    let arguments = ["--server", &url, "-r", "s@x.example", "a@y.example", "--body", "hi"];
    sandbox.run(&[&arguments[..], &["-o", "allow-plaintext-auth=true", "--trace"], more].concat())
}

fn check(sandbox: &Sandbox, server: &Server) -> Run {
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    sandbox.run(&["profile", "check", "--json", "--server", &url, "-o", "allow-plaintext-auth=true"])
}

/// The chain that `profile check` shows.
fn chain(run: &Run) -> Vec<(String, String)> {
    let findings: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    let text = |asked: &serde_json::Value, key: &str| asked[key].as_str().expect("a text").to_owned();
    let asked = findings["secrets"].as_array().expect("a list").iter();
    asked.map(|asked| (text(asked, "source"), text(asked, "said"))).collect()
}

const AT_LOCALHOST: [&str; 2] = ["--server", "smtp://ada@127.0.0.1"];

#[test]
fn a_file_with_a_key_file() {
    let sandbox = with_file("key = { file = \"keys/key\" }");
    let run = login(&sandbox, &AT_LOCALHOST, CANARY).exits(0).says("holds the password of ada at 127.0.0.1");
    shows_nothing(&sandbox, &run);
    for file in ["keys/key", "secrets.json", "secrets.json.lock"] {
        let mode = fs::metadata(sandbox.path(file)).expect("it is made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(fs::metadata(sandbox.path("keys")).expect("it is made").permissions().mode() & 0o777, 0o700);
    assert!(!sandbox.path("secrets.json.new").exists());

    let run = send(&sandbox, &server(), &["--report", "run.jsonl"]).exits(0);
    shows_nothing(&sandbox, &run);
    let run = check(
        &sandbox,
        &Server::new(|talk, _| {
            talk.greet("AUTH PLAIN");
            talk.answer("AUTH PLAIN ", "235 welcome");
            talk.hear_to_the_end();
        }),
    );
    let run = run.exits(0);
    let file = format!("file {}", fs::canonicalize(sandbox.path(".")).expect("a path").join("secrets.json").display());
    let wanted = [
        ("--password-*", "not given"),
        ("MAILSEND_PASSWORD", "not set"),
        ("MAILSEND_PASSWORD_FILE", "not set"),
        ("profile", "names none"),
        (&file, "holds it"),
    ];
    assert_eq!(chain(&run), wanted.map(|(source, said)| (source.to_owned(), said.to_owned())));
    shows_nothing(&sandbox, &run);

    // No key is needed to list and to forget.
    fs::remove_file(sandbox.path("keys/key")).expect("a key");
    let run = sandbox.run(&["login", "--list"]).exits(0);
    assert_eq!(run.stdout, "password  ada  127.0.0.1  file\n");
    let run = sandbox.run(&["login", "--list", "--json"]).exits(0).silently();
    let listed: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(
        listed,
        serde_json::json!({
            "entries": [{ "kind": "password", "user": "ada", "host": "127.0.0.1", "store": "file" }],
            "silent": [],
        })
    );
    // Nobody is asked for a passphrase where there is none.
    let keyed = "[secrets]\nstore = \"file\"\nfile = \"secrets.json\"\nkey = { file = \"keys/key\" }";
    sandbox.config("[secrets]\nstore = \"file\"\nfile = \"secrets.json\"\n");
    let run = login(&sandbox, &WHO, "other").exits(78).says("was made with a key");
    run.says("say where it is in [secrets]: key = { file = ");
    sandbox.config(keyed);
    // A key that is gone is told, and no other one is made in its place.
    let before = fs::read(sandbox.path("secrets.json")).expect("a file");
    let run = login(&sandbox, &AT_LOCALHOST, "other").exits(78).says("no key for the encrypted file").says("keys/key");
    let file = fs::canonicalize(sandbox.path("secrets.json")).expect("a path").display().to_string();
    let away = format!("log in again: mv {file} {file}.locked");
    run.says("put the key back").says(&away);
    send(&sandbox, &shy_server(), &[]).exits(78).says(&away);
    assert!(!sandbox.path("keys/key").exists());
    assert_eq!(fs::read(sandbox.path("secrets.json")).expect("a file"), before);
    sandbox.run(&[&["logout"], &AT_LOCALHOST[..]].concat()).exits(0).says("holds no password any more of ada");
    sandbox.run(&[&["logout"], &AT_LOCALHOST[..]].concat()).exits(0).says("no store held a password");
    let run = check(&sandbox, &shy_server()).exits(78);
    assert_eq!(chain(&run).last().expect("a chain").1, "no entry");
}

/// While the password is in use, neither our arguments nor our environment have it.
#[test]
fn others_see_no_password_in_a_running_process() {
    let sandbox = with_file("key = { file = \"key\" }");
    login(&sandbox, &AT_LOCALHOST, CANARY).exits(0);
    let (hold, held) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let server = Server::new(move |talk, _| {
        talk.greet("AUTH PLAIN");
        talk.answer("AUTH PLAIN ", "235 welcome");
        talk.expect("MAIL");
        hold.send(()).expect("the test waits");
        // It ends when the test has seen enough.
        let _ = released.lock().expect("one session").recv();
        talk.hear_to_the_end_or_reset();
    });
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    let mut command = sandbox.command(&["--server", &url, "-r", "s@x.example", "a@y.example", "--body", "hi"]);
    command.args(["-o", "allow-plaintext-auth=true", "-o", "extensions.pipelining=off", "--trace"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    held.recv().expect("the server has heard the login");
    let seen = ["cmdline", "environ"].map(|name| fs::read(format!("/proc/{}/{name}", child.id())).expect("/proc"));
    child.kill().expect("a signal");
    child.wait().expect("it ends");
    drop(release);
    for trace in traces_of(CANARY) {
        assert!(seen.iter().all(|text| !String::from_utf8_lossy(text).contains(&trace)), "{trace}");
    }
}

#[test]
fn a_file_with_a_key_of_systemd() {
    let mut sandbox = with_file("key = { credential = \"mail\" }");
    sandbox.file("credentials/mail", "a pass phrase");
    login(&sandbox, &WHO, CANARY).exits(78).says("CREDENTIALS_DIRECTORY is not set");
    let folder = sandbox.path("credentials").to_str().expect("UTF-8").to_owned();
    sandbox.env("CREDENTIALS_DIRECTORY", &folder);
    let run = login(&sandbox, &AT_LOCALHOST, CANARY).exits(0);
    shows_nothing(&sandbox, &run);
    assert!(fs::read_to_string(sandbox.path("secrets.json")).expect("a file").contains("pbkdf2-hmac-sha256"));
    send(&sandbox, &server(), &[]).exits(0);

    let before = fs::read(sandbox.path("secrets.json")).expect("a file");
    sandbox.file("credentials/mail", "another phrase");
    login(&sandbox, &WHO, CANARY).exits(78).says("the key from systemd credential 'mail' does not open");
    let run = send(&sandbox, &shy_server(), &[]).exits(78).says("the key from systemd credential 'mail' does not open");
    shows_nothing(&sandbox, &run);
    assert_eq!(fs::read(sandbox.path("secrets.json")).expect("a file"), before);
}

/// Runs at a terminal of its own and answers these questions, each once nothing is shown that is typed.
pub fn at_terminal(sandbox: &Sandbox, arguments: &[&str], answers: &[&str]) -> Run {
    const TYPIST: &str = r#"
import os, pty, signal, sys, termios, time
signal.alarm(60)
answers = sys.stdin.buffer.read().split(b"\n")
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown, seen = b"", 0
try:
    for answer in answers:
        while b": " not in shown[seen:]:
            octets = os.read(terminal, 1000)
            if not octets:
                raise OSError
            shown += octets
        seen = len(shown)
        deadline = time.monotonic() + 20
        while termios.tcgetattr(terminal)[3] & termios.ECHO and time.monotonic() < deadline:
            time.sleep(0.01)
        os.write(terminal, answer + b"\n")
    while True:
        octets = os.read(terminal, 1000)
        if not octets:
            break
        shown += octets
except OSError:
    pass
os.write(1, shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
    let inner = sandbox.command(arguments);
    let mut command = Command::new("python3");
    command.arg("-c").arg(TYPIST).arg(inner.get_program()).args(inner.get_args()).current_dir(sandbox.path("."));
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("Python");
    child.stdin.take().expect("a pipe").write_all(answers.join("\n").as_bytes()).expect("a pipe");
    finish(child)
}

#[test]
fn a_file_with_a_passphrase() {
    let sandbox = with_file("");
    // Where nobody can type, this is told before a password is read.
    let run =
        login(&sandbox, &AT_LOCALHOST, CANARY).exits(78).says("it wants a passphrase, and nobody sits at a terminal");
    run.says("hint:     key = { file = ");
    let arguments = [&["login"], &AT_LOCALHOST[..]].concat();
    let run = at_terminal(&sandbox, &arguments, &["open sesame", "open simsim"]).exits(78);
    assert!(run.stdout.contains("this is not the same passphrase"), "{run:#?}");
    assert!(!sandbox.path("secrets.json").exists());
    let run = at_terminal(&sandbox, &arguments, &["open sesame", "open sesame", CANARY]).exits(0);
    assert!(run.stdout.contains("holds the password of ada") && !run.stdout.contains("sesame"), "{run:#?}");
    shows_nothing(&sandbox, &run);

    let server = server();
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    let arguments =
        ["--server", &url, "-r", "s@x.example", "a@y.example", "--body", "hi", "-o", "allow-plaintext-auth=true"];
    let run = at_terminal(&sandbox, &arguments, &["open sesame"]).exits(0);
    assert_eq!(run.stdout.matches("Passphrase of").count(), 1, "{run:#?}");
    shows_nothing(&sandbox, &run);
    // Who mistypes has two tries more; and is not asked for the password next, which would go to the server.
    let login = [&["login"], &AT_LOCALHOST[..]].concat();
    let run = at_terminal(&sandbox, &login, &["open simsim", "open sesam", "open sesame", CANARY]).exits(0);
    assert_eq!(run.stdout.matches("This is not the passphrase.").count(), 2, "{run:#?}");
    // Nobody is connected to before the password is there.
    let url = "smtp://ada@127.0.0.1:9";
    let arguments =
        ["--server", url, "-r", "s@x.example", "a@y.example", "--body", "hi", "-o", "allow-plaintext-auth=true"];
    for arguments in [&login[..], &arguments] {
        let run = at_terminal(&sandbox, arguments, &["one", "two", "three"]).exits(78);
        assert!(run.stdout.contains("this is not the passphrase of"), "{run:#?}");
        assert!(!run.stdout.contains("Password for") && run.stdout.contains("log in again: mv "), "{run:#?}");
    }
    // Nor where the file is damaged.
    sandbox.file("secrets.json", "{");
    let run = at_terminal(&sandbox, &arguments, &[]).exits(78);
    assert!(run.stdout.contains("or damaged") && !run.stdout.contains("Password for"), "{run:#?}");
}

#[test]
fn what_is_wrong_with_a_key_has_a_way_out() {
    let sandbox = with_file("key = { file = \"keys/key\" }");
    // A file in the place of the folder cannot be written, whoever we are.
    sandbox.file("keys", "");
    let run = login(&sandbox, &WHO, CANARY).exits(74).says("keys/key cannot be made");
    run.says("its folder has to be writable").says("key = { file = ");
    fs::remove_file(sandbox.path("keys")).expect("a file");
    let empty = || {
        let key = sandbox.file("keys/key", "");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    };
    empty();
    let key = fs::canonicalize(sandbox.path("keys/key")).expect("a path").display().to_string();
    login(&sandbox, &WHO, CANARY).exits(78).says("it is empty").says("one is made: rm ").says(&key);
    fs::remove_file(&key).expect("a file");
    login(&sandbox, &WHO, CANARY).exits(0);
    let file = fs::canonicalize(sandbox.path("secrets.json")).expect("a path").display().to_string();
    let away = format!("log in again: mv {file} {file}.locked");
    empty();
    login(&sandbox, &WHO, CANARY).exits(78).says("it is empty").says(&away);
    sandbox.file("keys/key", "another");
    login(&sandbox, &WHO, CANARY).exits(78).says("does not open").says(&away);
    // And that works.
    fs::rename(&file, format!("{file}.locked")).expect("a file");
    login(&sandbox, &WHO, CANARY).exits(0);
}

/// Which profile is meant is all the same for a list.
#[test]
fn a_list_needs_no_profile() {
    let mut sandbox = with_file(
        "key = { file = \"key\" }\n[profiles.a]\nserver = \"smtp://ada@mx.example\"\n[profiles.b]\nport = 1\n",
    );
    login(&sandbox, &WHO, CANARY).exits(0);
    sandbox.env("MAILSEND_PROFILE", "nonesuch").env("MAILSEND_PORT", "none");
    let run = sandbox.run(&["login", "--list"]).exits(0).silently();
    assert_eq!(run.stdout, "password  ada  mx.example  file\n");
    let other = sandbox.path("other.json");
    sandbox.env("MAILSEND_SECRETS_FILE", other.to_str().expect("a UTF-8 path"));
    sandbox.run(&["login", "--list"]).exits(0).says("Nothing is stored");
}

#[test]
fn what_is_no_password_is_not_taken_from_standard_input() {
    let sandbox = with_file("key = { file = \"key\" }");
    for (stdin, what) in [
        (&b"a\0b\n"[..], "it contains a NUL"),
        (&[b'x'; 70_000], "it is longer than 64 KiB"),
        (b"one\ntwo\n", "there is more than one line"),
        (b"one\n\n", "there is more than one line"),
        (b"\n", "it is empty"),
    ] {
        let run = sandbox.run_with(&[&["login"], &WHO[..]].concat(), stdin).exits(64).says(what);
        run.says("one line with the password is wanted on standard input");
    }
    sandbox.run(&["login", "--list"]).exits(0).says("Nothing is stored");
}

#[test]
fn ten_at_once_lose_nothing() {
    let sandbox = with_file("key = { file = \"key\" }");
    thread::scope(|scope| {
        for number in 0..10 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                let url = format!("smtp://user{number}@mx.example");
                login(sandbox, &["--server", &url], &format!("password {number}")).exits(0);
            });
        }
    });
    let run = sandbox.run(&["login", "--list"]).exits(0);
    assert_eq!(run.stdout.lines().count(), 10, "{run:#?}");
    // And the one key opens them all.
    login(&sandbox, &WHO, CANARY).exits(0);
}

/// Moments that differ from run to run; the seed is printed.
struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    fn new() -> Self {
        let seed = u64::from(std::time::UNIX_EPOCH.elapsed().expect("a clock").subsec_nanos()) | 1;
        println!("seed {seed}");
        Self { seed, state: seed }
    }

    fn below(&mut self, span: Duration) -> Duration {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        Duration::from_micros(self.state % (span.as_micros() as u64).max(1))
    }
}

/// The file is one of those before or after, whenever its writer is killed.
#[test]
fn a_writer_that_is_killed_leaves_a_whole_file() {
    let mut random = Random::new();
    let seed = random.seed;
    let sandbox = with_file("key = { file = \"key\" }");
    // How long a login takes here.
    let start = Instant::now();
    login(&sandbox, &["--server", "smtp://first@mx.example"], "x").exits(0);
    let span = start.elapsed();
    let mut killed = 0;
    for number in 0..40 {
        let url = format!("smtp://user{number}@mx.example");
        let mut command = sandbox.command(&["login", "--server", &url]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        // It may be killed before it reads.
        let _ = child.stdin.take().expect("a pipe").write_all(b"password\n");
        thread::sleep(random.below(span));
        child.kill().expect("a signal");
        killed += usize::from(child.wait().expect("it ends").signal().is_some());
        let run = sandbox.run(&["login", "--list"]).exits(0).silently();
        assert!(run.stdout.contains("first  "), "seed {seed}, {number}: {run:#?}");
    }
    assert!(killed > 0, "seed {seed}: every login was faster than its murderer");
    login(&sandbox, &WHO, CANARY).exits(0);
    assert!(!sandbox.path("secrets.json.new").exists(), "seed {seed}");
}

#[test]
fn what_is_wrong_with_the_file_is_said_and_left_alone() {
    let sandbox = with_file("key = { file = \"key\" }");
    login(&sandbox, &AT_LOCALHOST, CANARY).exits(0);
    let good = fs::read_to_string(sandbox.path("secrets.json")).expect("a file");
    let tail = good.rfind("\"sealed\": \"").expect("an entry") + 12;
    let other = if &good[tail..=tail] == "A" { "B" } else { "A" };
    let damaged = format!("{}{other}{}", &good[..tail], &good[tail + 1..]);
    for (content, what) in [
        (&good[..good.len() / 2], "is no file of secrets, or damaged"),
        ("", "is no file of secrets, or damaged"),
        ("{\"users\": []}", "is no file of secrets, or damaged"),
        (&good.replace("\"version\": 1", "\"version\": 2"), "a newer mailsend has written"),
        (&damaged, "the entry of ada@127.0.0.1 in"),
    ] {
        sandbox.file("secrets.json", content);
        let run = send(&sandbox, &shy_server(), &[]).exits(78).says(what).says("secrets.json");
        shows_nothing(&sandbox, &run);
        if content != damaged {
            login(&sandbox, &WHO, "other").exits(78).says(what);
            sandbox.run(&[&["logout"], &WHO[..]].concat()).exits(78).says(what);
            let run = sandbox.run(&["login", "--list"]).exits(78).says(what);
            assert!(!run.stderr.contains("Nothing is stored"), "{run:#?}");
            let run = sandbox.run(&["login", "--list", "--json"]).exits(78);
            let listed: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
            assert_eq!((&listed["entries"], &listed["silent"][0]["store"]), (&serde_json::json!([]), &"file".into()));
            assert!(listed["silent"][0]["reason"].as_str().expect("a reason").contains(what), "{listed}");
        }
        assert_eq!(fs::read_to_string(sandbox.path("secrets.json")).expect("a file"), content);
    }
    // A new password mends a damaged entry.
    login(&sandbox, &AT_LOCALHOST, CANARY).exits(0);
    send(&sandbox, &server(), &[]).exits(0);

    fs::set_permissions(sandbox.path("secrets.json"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let run =
        send(&sandbox, &shy_server(), &[]).exits(78).says("is refused: others than its owner can use it (mode 644)");
    run.says("chmod 600 ");
    login(&sandbox, &WHO, "other").exits(78).says("is refused");
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let sandbox = with_file("key = { file = \"key\" }");
    login(&sandbox, &WHO, CANARY).exits(0);
    let before = fs::read(sandbox.path("secrets.json")).expect("a file");
    // No file may have more than a hundred octets.
    let script = "import os, resource, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n\
                  resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\nos.execv(sys.argv[1], sys.argv[1:])";
    let inner = sandbox.command(&["login", "--server", "smtp://bob@mx.example"]);
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(inner.get_program()).args(inner.get_args()).current_dir(sandbox.path("."));
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("Python");
    child.stdin.take().expect("a pipe").write_all(b"password\n").expect("a pipe");
    finish(child).exits(74).says("cannot be written: File too large").says("it is as it was before");
    assert_eq!(fs::read(sandbox.path("secrets.json")).expect("a file"), before);
    assert!(!sandbox.path("secrets.json.new").exists());
}

#[test]
fn a_store_that_is_not_asked_is_told_before_anybody_types() {
    let sandbox = with_file("key = { file = \"key\" }");
    let run = sandbox.run(&["login", "--server", "smtp://ada@mx.example", "--store", "keyutils"]).exits(78);
    run.says("--store keyutils: the configuration says [secrets] store = \"file\"").says("store = \"keyutils\"");
    // Where no keyring is and none is named, nothing is kept elsewhere unasked.
    let mut sandbox = Sandbox::new();
    sandbox.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonesuch");
    let run = login(&sandbox, &WHO, CANARY).exits(78).says("no keyring is running here\n");
    assert!(!run.stderr.contains("/nonesuch") && !run.stderr.contains("there is no password"), "{run:#?}");
    let run = run.says("mailsend login --server smtp://ada@mx.example --store keyutils");
    let run = run.says("mailsend login --server smtp://ada@mx.example --store file").says("store = \"file\"");
    run.says(&format!("key = {{ file = \"{}\" }}", sandbox.path(".local/state/mailsend/secrets.key").display()));
    assert!(!sandbox.path(".local").exists());
}

/// Somebody whose entries a test makes itself.
pub fn nobody() -> Wanted {
    Wanted {
        user: String::new(),
        host: String::new(),
        flag: None,
        environment: Environment::default(),
        profile: None,
        oauth: None,
        secrets: Secrets::default(),
        web: WebWay::default(),
        profile_name: None,
        may_prompt: false,
    }
}

/// The kernel may forbid keys, as in many containers; said aloud then.
pub fn has_keys(sandbox: &Sandbox) -> bool {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let url = format!("smtp://{}-{}@mx.example", test.replace(':', "-"), std::process::id());
    let run = login(sandbox, &["--server", &url, "--store", "keyutils"], "x");
    let has_keys = run.code == 0;
    if has_keys {
        sandbox.run(&["logout", "--server", &url]).exits(0);
    } else {
        let text = format!("skipped: {test} needs keys of the kernel, which are refused here: {}", run.stderr);
        std::io::stderr().write_all(text.as_bytes()).expect("standard error");
    }
    has_keys
}

#[test]
fn an_entry_moves_from_the_kernel_to_the_file_and_back() {
    let mut sandbox = Sandbox::new();
    sandbox.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonesuch");
    sandbox.config("[secrets]\nfile = \"secrets.json\"\nkey = { file = \"key\" }\n");
    if !has_keys(&sandbox) {
        return;
    }
    // The kernel's keys are the user's, whoever else tests here.
    let user = format!("ada-{}", std::process::id());
    let url = format!("smtp://{user}@127.0.0.1");
    let to = |store: &str| login(&sandbox, &["--server", &url, "--store", store], CANARY).exits(0);
    let place = || {
        let listed = sandbox.run(&["login", "--list"]).exits(0).says("the keyring cannot be asked: not running here");
        let rows = listed.stdout.lines().filter(|line| line.contains(&user));
        rows.map(|line| line.split_whitespace().next_back().expect("a store").to_owned()).collect::<Vec<_>>()
    };
    to("keyutils");
    assert_eq!(place(), ["keyutils"]);
    // The password that comes with it is not needed, since one is there.
    let run = login(&sandbox, &["--server", &url, "--store", "file"], "not this one").exits(0);
    shows_nothing(&sandbox, &run.says("from the kernel's key store to the file"));
    assert_eq!(place(), ["file"]);
    to("keyutils").says("from the file");
    assert_eq!(place(), ["keyutils"]);

    // A later process finds it, without a word about stores in any flag.
    let expected = encodify::base64::STANDARD.encode(format!("\0{user}\0{CANARY}"));
    let server = Server::new(move |talk, _| {
        talk.greet("AUTH PLAIN");
        assert_eq!(talk.answer("AUTH PLAIN ", "235 welcome"), format!("AUTH PLAIN {expected}"));
        talk.hear_to_the_end();
    });
    let url_there = format!("smtp://{user}@127.0.0.1:{}", server.port);
    let run = sandbox.run(&["profile", "check", "--json", "--server", &url_there, "-o", "allow-plaintext-auth=true"]);
    let run = run.exits(0);
    let chain = chain(&run);
    assert!(chain[4].0 == "keyring" && chain[4].1.starts_with("not running here"), "{chain:?}");
    assert_eq!(chain[5..], [("kernel's key store".to_owned(), "holds it".to_owned())]);
    shows_nothing(&sandbox, &run);
    sandbox.run(&["logout", "--server", &url]).exits(0).says("the kernel's key store holds no password any more");
    assert_eq!(place(), Vec::<String>::new());
}

/// Tokens that move are no password.
#[test]
fn a_password_is_kept_where_only_tokens_move() {
    let mut sandbox = Sandbox::new();
    sandbox.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonesuch");
    let config = "[secrets]\nfile = \"secrets.json\"\nkey = { file = \"key\" }\n";
    sandbox.config(config);
    if !has_keys(&sandbox) {
        return;
    }
    let user = format!("tom-{}", std::process::id());
    let wanted = Wanted { user: user.clone(), host: "mx.example".to_owned(), ..nobody() };
    let account = stores::token_account(&user, "mx.example");
    stores::save(&wanted, &account, &Secret::new(b"tokens".to_vec()), Some(StoreKind::Keyutils)).expect("a key");
    let url = format!("smtp://{user}@mx.example");
    let run = login(&sandbox, &["--server", &url, "--store", "file"], CANARY).exits(0);
    run.says("moved the tokens of").says("holds the password of");
    let listed = sandbox.run(&["login", "--list"]).exits(0).stdout;
    let kinds: Vec<&str> = listed.lines().filter(|line| line.contains(&user)).map(|line| &line[..8]).collect();
    assert_eq!(kinds, ["tokens  ", "password"], "{listed}");
    sandbox.run(&["logout", "--server", &url]).exits(0);
}

/// Another process may be renewing the tokens: they are touched under its lock, or not at all.
#[test]
fn tokens_are_left_alone_without_their_lock() {
    let mut sandbox = with_file("key = { file = \"key\" }");
    login(&sandbox, &WHO, CANARY).exits(0);
    sandbox.run(&[&["logout"], &WHO[..]].concat()).exits(0);
    let locks = fs::read_dir(sandbox.path(".local/state/mailsend/locks")).expect("a lock");
    assert_eq!(locks.count(), 1);
    login(&sandbox, &WHO, CANARY).exits(0);
    // Without HOME it would be the real one.
    let file = sandbox.file("file", "");
    sandbox.env("HOME", &file);
    let run = sandbox.run(&[&["logout"], &WHO[..]].concat()).exits(0);
    run.says("are left alone: the tokens cannot be locked").says("holds no password any more of ada");
}

/// `oauth:ada` would be given the tokens of ada as a password.
#[test]
fn a_user_cannot_be_called_as_tokens_are() {
    let sandbox = with_file("key = { file = \"key\" }");
    let user = ["--server", "smtp://127.0.0.1", "--user", "oauth:ada"];
    for command in ["login", "logout"] {
        let run = sandbox.run_with(&[&[command], &user[..]].concat(), b"x\n").exits(78);
        run.says("a name that begins with 'oauth:' cannot have a place in a store");
    }
    let more = ["-o", "username=oauth:ada"];
    send(&sandbox, &shy_server(), &more).exits(78).says("a name that begins with 'oauth:'");
    send(&sandbox, &shy_server(), &[&more[..], &["-o", "password=keyring"]].concat())
        .exits(78)
        .says("begins with 'oauth:'");
}

#[test]
fn a_file_may_be_named_without_a_folder() {
    let mut sandbox = Sandbox::new();
    sandbox.config("[secrets]\nstore = \"file\"\nkey = { file = \"key\" }\n");
    sandbox.env("MAILSEND_SECRETS_FILE", "s.json");
    for _ in 0..2 {
        login(&sandbox, &WHO, CANARY).exits(0);
    }
    assert!(sandbox.path("s.json").is_file());
}

/// A move that cannot be made leaves the entry where it is.
#[test]
fn a_move_to_a_full_disk_leaves_the_entry() {
    let mut sandbox = Sandbox::new();
    sandbox.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonesuch");
    sandbox.config("[secrets]\nfile = \"secrets.json\"\nkey = { file = \"key\" }\n");
    if !has_keys(&sandbox) {
        return;
    }
    let user = format!("eva-{}", std::process::id());
    let url = format!("smtp://{user}@127.0.0.1");
    login(&sandbox, &["--server", &url, "--store", "keyutils"], CANARY).exits(0);
    // The file is there and open: it is the move that fails.
    login(&sandbox, &["--server", "smtp://other@mx.example", "--store", "file"], "x").exits(0);
    let before = fs::read(sandbox.path("secrets.json")).expect("a file");
    let program = env!("CARGO_BIN_EXE_mailsend");
    let line = format!("trap '' XFSZ; ulimit -f 0; exec {program} login --server {url} --store file");
    sandbox.shell(&line).exits(74).says("cannot be written");
    assert_eq!(fs::read(sandbox.path("secrets.json")).expect("a file"), before);
    let run = sandbox.run(&["login", "--list"]).exits(0);
    let rows: Vec<_> = run.stdout.lines().filter(|line| line.contains(&user)).collect();
    assert!(matches!(rows[..], [row] if row.ends_with("  keyutils")), "{rows:?}");
    sandbox.run(&["logout", "--server", &url]).exits(0).says("the kernel's key store holds no password any more");
}

/// Whenever a move is ended, the entry is in one of both stores, or in both, and whole.
#[test]
fn a_move_that_is_killed_loses_nothing() {
    let mut sandbox = Sandbox::new();
    sandbox.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonesuch");
    sandbox.config("[secrets]\nfile = \"secrets.json\"\nkey = { file = \"key\" }\n");
    if !has_keys(&sandbox) {
        return;
    }
    let mut random = Random::new();
    let user = format!("mia-{}", std::process::id());
    let url = format!("smtp://{user}@127.0.0.1");
    login(&sandbox, &["--server", &url, "--store", "file"], CANARY).exits(0);
    let start = Instant::now();
    login(&sandbox, &["--server", &url, "--store", "keyutils"], "").exits(0);
    let span = start.elapsed();
    for round in 0..20 {
        let store = if round % 2 == 0 { "file" } else { "keyutils" };
        let mut command = sandbox.command(&["login", "--server", &url, "--store", store]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        thread::sleep(random.below(span));
        child.kill().expect("a signal");
        child.wait().expect("it ends");
        let run = sandbox.run(&["login", "--list"]).exits(0);
        assert!(run.stdout.contains(&user), "seed {}, {round}: {run:#?}", random.seed);
    }
    // It goes on where it was ended.
    login(&sandbox, &["--server", &url, "--store", "file"], CANARY).exits(0);
    let expected = encodify::base64::STANDARD.encode(format!("\0{user}\0{CANARY}"));
    let server = Server::new(move |talk, _| {
        talk.greet("AUTH PLAIN");
        assert_eq!(talk.answer("AUTH PLAIN ", "235 welcome"), format!("AUTH PLAIN {expected}"));
        talk.hear_to_the_end();
    });
    let url_there = format!("smtp://{user}@127.0.0.1:{}", server.port);
    sandbox.run(&["profile", "check", "--server", &url_there, "-o", "allow-plaintext-auth=true"]).exits(0);
    sandbox.run(&["logout", "--server", &url]).exits(0);
}

/// A profile that names another source would not use what is stored.
#[test]
fn an_entry_that_nobody_would_use_is_told() {
    let sandbox = with_file(
        "key = { file = \"key\" }\n[profiles.work]\nserver = \"smtp://ada@mx.example\"\npassword = { env = \"X\" }",
    );
    let run = login(&sandbox, &["--profile", "work"], CANARY).exits(0);
    run.says("but the profile takes its password from environment variable X");
}

/// Two different entries are no reason to lose one of them.
#[test]
fn a_move_onto_another_entry_is_refused() {
    let mut sandbox = Sandbox::new();
    sandbox.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonesuch");
    let config = "[secrets]\nfile = \"secrets.json\"\nkey = { file = \"key\" }\n";
    if !has_keys(&sandbox) {
        return;
    }
    let url = format!("smtp://eve-{}@mx.example", std::process::id());
    for (store, password) in [("keyutils", "one"), ("file", "two")] {
        sandbox.config(&format!("{config}store = \"{store}\"\n"));
        login(&sandbox, &["--server", &url], password).exits(0);
    }
    sandbox.config(config);
    let run = login(&sandbox, &["--server", &url, "--store", "file"], "three").exits(78);
    run.says("hold different password entries").says(&format!("mailsend logout --server {url}"));
    let run = sandbox.run(&["login", "--list"]).exits(0);
    assert_eq!(run.stdout.lines().filter(|line| line.contains("eve-")).count(), 2, "{run:#?}");
    sandbox.run(&["logout", "--server", &url]).exits(0);
}

/// A bus that takes every connection and says nothing; what the next store has is found all the same.
#[test]
fn a_silent_keyring_hides_nothing() {
    let mut sandbox = Sandbox::new();
    sandbox.config("[secrets]\nstore = \"file\"\nfile = \"secrets.json\"\nkey = { file = \"key\" }\n");
    login(&sandbox, &AT_LOCALHOST, CANARY).exits(0);
    sandbox.config("[secrets]\nfile = \"secrets.json\"\nkey = { file = \"key\" }\n");
    let bus = sandbox.path("bus");
    let _listener = std::os::unix::net::UnixListener::bind(&bus).expect("a socket");
    sandbox.env("DBUS_SESSION_BUS_ADDRESS", &format!("unix:path={}", bus.display()));
    let server = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        talk.answer("AUTH PLAIN ", "235 welcome");
        talk.hear_to_the_end();
    });
    let run = check(&sandbox, &server).exits(0);
    assert_eq!(chain(&run)[4], ("keyring".to_owned(), "no answer within 10 s".to_owned()));
    assert_eq!(chain(&run).last().expect("a chain").1, "holds it");
    login(&sandbox, &WHO, CANARY).exits(78).says("the keyring did not answer within 10 s").says("--store file");
}
