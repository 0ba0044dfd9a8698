//! Real servers, each started by its script in `tests/servers`, and the mail that has arrived there.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::certificates::authority;

/// Mail that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// The password of everybody on every server; it must show up nowhere.
pub const PASSWORD: &str = "Kanarienvögel/7319+ß";

/// The key by which tokens are signed.
pub const TOKEN_KEY: &str = "a key for tokens of tests, 0123456789";

/// A token of Dovecot's provider: a JWT (RFC 7519) for this user, that expires in so many seconds.
pub fn token(user: &str, lifetime: i64) -> String {
    let encode = |bytes: &[u8]| encodify::base64::URL_SAFE_NO_PAD.encode(bytes);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    let claims = serde_json::json!({
        "iss": "https://idp.example.test", "sub": user, "email": user, "scope": "smtp",
        "iat": now - 7_200, "nbf": now - 7_200, "exp": now + lifetime,
    });
    let head = encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{head}.{}", encode(claims.to_string().as_bytes()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, TOKEN_KEY.as_bytes());
    format!("{signed}.{}", encode(ring::hmac::sign(&key, signed.as_bytes()).as_ref()))
}

/// A running server. It ends with this value, or with the process: its script runs until its standard input ends.
pub struct Real {
    state: PathBuf,
    script: Child,
    said: BTreeMap<String, String>,
}

/// Postfix with its Dovecot, one for the whole process: nobody needs a Postfix that has seen nothing.
pub struct Postfix {
    pub dovecot: Real,
    pub postfix: Real,
}

/// The Postfix of this process; nothing if there is none here, which has been said then.
pub fn postfix() -> Option<&'static Postfix> {
    static POSTFIX: OnceLock<Postfix> = OnceLock::new();
    is_here("Postfix", is_fetched()).then(|| {
        POSTFIX.get_or_init(|| {
            let dovecot = Real::start("dovecot", &[]);
            let login = format!("/srv/{}/login", dovecot.state.file_name().expect("a name").display());
            Postfix { postfix: Real::start("postfix", &[&login]), dovecot }
        })
    })
}

/// The Exim of this process, likewise.
pub fn exim() -> Option<&'static Real> {
    static EXIM: OnceLock<Real> = OnceLock::new();
    is_here("Exim", is_fetched()).then(|| EXIM.get_or_init(|| Real::start("exim", &[])))
}

/// The OpenSMTPD of this process, likewise.
pub fn opensmtpd() -> Option<&'static Real> {
    static OPENSMTPD: OnceLock<Real> = OnceLock::new();
    is_here("OpenSMTPD", is_fetched()).then(|| OPENSMTPD.get_or_init(|| Real::start("opensmtpd", &[])))
}

/// Starts a RabbitMQ by `how`, likewise; `super::broker` knows what to do with it.
pub(super) fn rabbitmq<T>(how: impl FnOnce(fn() -> Real) -> T) -> Option<T> {
    is_here("RabbitMQ", is_fetched()).then(|| how(|| Real::start("rabbitmq", &[])))
}

/// A machine of the caller's own, likewise; `super::machine` knows what to do with it.
pub(super) fn machine() -> Option<Real> {
    let has_namespaces = || {
        let unshare = Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).output();
        unshare.is_ok_and(|output| output.status.success())
    };
    is_here("a Debian with callers of sendmail, in namespaces", is_fetched() && has_namespaces())
        .then(|| Real::start("machine", &[env!("CARGO_BIN_EXE_mailsend")]))
}

/// A keyring of the caller's own, which is empty, and open or locked. It needs no root, so what is installed will do.
pub fn keyring(lock: &str) -> Option<Real> {
    let is_installed = ["gnome-keyring-daemon", "dbus-daemon", "dbus-send"].iter().all(|program| {
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(program).is_file())
    });
    is_here("gnome-keyring with D-Bus", is_fetched() || is_installed).then(|| Real::start("keyring", &[lock]))
}

/// The small Debian that `tests/run` makes.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers/root")
}

fn is_fetched() -> bool {
    rustix::process::geteuid().is_root() && root().join("fetched").exists()
}

/// Says aloud, past the harness, that a test is skipped; where servers are required that is a failure.
pub fn is_here(server: &str, is_here: bool) -> bool {
    if !is_here {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        let reason = format!("{test} needs {server}, which is not here; as root, tests/run fetches it");
        assert!(env::var_os("MAILSEND_TEST_SERVERS").is_none_or(|value| value != "require"), "{reason}");
        io::stderr().write_all(format!("skipped: {reason}\n").as_bytes()).expect("standard error");
    }
    is_here
}

impl Real {
    fn start(name: &str, arguments: &[&str]) -> Self {
        // Somebody else may have taken the port that the script has found free.
        (0..3).find_map(|_| Self::try_to_start(name, arguments)).unwrap_or_else(|| panic!("{name} does not start"))
    }

    fn try_to_start(name: &str, arguments: &[&str]) -> Option<Self> {
        let folder = if is_fetched() { root().join("srv") } else { env::temp_dir() };
        let state = tempfile::Builder::new().prefix(name).tempdir_in(folder).expect("a folder").keep();
        for (name, identity) in [("good", &authority().good), ("wrong-host", &authority().wrong_host)] {
            fs::write(state.join(format!("{name}.pem")), &identity.chain).expect("a file");
            fs::write(state.join(format!("{name}.key")), &identity.key).expect("a file");
        }
        fs::write(state.join("ca.pem"), &authority().ca).expect("a file");
        fs::write(state.join("password"), PASSWORD).expect("a file");
        fs::write(state.join("token-key"), TOKEN_KEY).expect("a file");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/servers/{name}.sh"));
        let mut script = Command::new(script)
            .arg(&state)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A key press that stops the tests is not for the servers.
            .process_group(0)
            .spawn()
            .expect("a start script");
        let mut said = BTreeMap::new();
        for line in BufReader::new(script.stdout.take().expect("a pipe")).lines() {
            let line = line.expect("text");
            if line == "ready" {
                return Some(Self { state, script, said });
            }
            let (name, value) = line.split_once(' ').expect("two words");
            said.insert(name.to_owned(), value.to_owned());
        }
        drop(Self { state, script, said });
        None
    }

    /// What its script has told, a port above all.
    #[track_caller]
    pub fn said(&self, name: &str) -> &str {
        self.said.get(name).unwrap_or_else(|| panic!("{name} was not told"))
    }

    /// Says something to its script.
    #[track_caller]
    pub fn tell(&self, line: &str) {
        let mut script = self.script.stdin.as_ref().expect("a pipe");
        script.write_all(format!("{line}\n").as_bytes()).expect("it listens");
    }

    /// A file of its own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    /// The lines of a log, once there is one that has this in it.
    #[track_caller]
    pub fn log(&self, name: &str, word: &str) -> Vec<String> {
        let start = Instant::now();
        loop {
            let log = fs::read(self.path(name)).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            if log.contains(word) {
                return log.lines().map(str::to_owned).collect();
            }
            assert!(start.elapsed() < PATIENCE, "'{word}' is not in {log}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The only mail for this address, once it is there.
    #[track_caller]
    pub fn mail_for(&self, address: &str) -> Mail {
        read_mail(&self.wait_for(address))
    }

    /// The file of the only mail for this address, once it is there.
    #[track_caller]
    pub fn wait_for(&self, address: &str) -> PathBuf {
        self.wait_for_all(1, address).remove(0)
    }

    /// The files of so many mails for this address, once they are there.
    #[track_caller]
    pub fn wait_for_all(&self, count: usize, address: &str) -> Vec<PathBuf> {
        let start = Instant::now();
        loop {
            let files = self.mails_for(address);
            if files.len() == count {
                return files;
            }
            assert!(start.elapsed() < PATIENCE, "{} mails for {address}", files.len());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The files of all mails that have come for this address so far.
    pub fn mails_for(&self, address: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for folder in fs::read_dir(self.path("mail")).expect("a folder").flatten() {
            for file in fs::read_dir(folder.path().join("new")).into_iter().flatten().flatten() {
                // What the server adds comes first, and what is long are the files in it.
                let mut head = Vec::new();
                fs::File::open(file.path()).expect("a mail").take(2_000).read_to_end(&mut head).expect("a mail");
                let head = String::from_utf8_lossy(&head).to_lowercase();
                let address = address.to_lowercase();
                if ["delivered-to", "envelope-to"].iter().any(|field| {
                    head.contains(&format!("{field}: {address}\n")) || head.contains(&format!("{field}: <{address}>\n"))
                }) {
                    files.push(file.path());
                }
            }
        }
        files
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if let Ok(Some(_)) = self.script.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let group = rustix::process::Pid::from_child(&self.script);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.script.wait();
        let _ = fs::remove_dir_all(&self.state);
    }
}

/// A mail as Python's parser has read it.
#[derive(Debug)]
pub struct Mail {
    pub octets: Vec<u8>,
    /// Names in lower case; text without encoding.
    pub headers: Vec<(String, String)>,
    pub parts: Vec<serde_json::Value>,
}

/// Has Python read a mail.
#[track_caller]
pub fn read_mail(file: &Path) -> Mail {
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/read_mail.py");
    let output = Command::new("python3").arg(reader).arg(file).output().expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut read: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(read["defects"], serde_json::json!([]), "{}", file.display());
    let headers: Vec<(String, String)> = serde_json::from_value(read["headers"].take()).expect("headers");
    Mail {
        octets: fs::read(file).expect("a mail"),
        headers: headers.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect(),
        parts: serde_json::from_value(read["parts"].take()).expect("parts"),
    }
}

impl Mail {
    /// Everything behind the header, as it has arrived.
    #[track_caller]
    pub fn body(&self) -> &[u8] {
        let end = self.octets.windows(2).position(|pair| pair == b"\n\n").expect("an empty line");
        &self.octets[end + 2..]
    }

    /// The values of a header field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header field that is there once.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        match self.all(name)[..] {
            [value] => value,
            _ => panic!("not one {name} in {:#?}", self.headers),
        }
    }

    /// The text of the first part.
    #[track_caller]
    pub fn text(&self) -> &str {
        self.parts[0]["text"].as_str().unwrap_or_else(|| panic!("no text in {:#?}", self.parts))
    }

    /// Asserts that the file of this name is there with every octet.
    #[track_caller]
    pub fn has_file(&self, name: &str, octets: &[u8]) {
        let part = self.parts.iter().find(|part| part["filename"] == name);
        let part = part.unwrap_or_else(|| panic!("no {name} in {:#?}", self.parts));
        let digest = ring::digest::digest(&ring::digest::SHA256, octets);
        let digest: String = digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!((&part["size"], &part["sha256"]), (&octets.len().into(), &digest.into()));
    }
}
