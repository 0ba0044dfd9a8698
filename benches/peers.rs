//! The programs that are compared, and how each sends one message as its users would.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub const FROM: &str = "bench@example.com";
pub const TO: &str = "sink@example.com";
const USER: &str = "bench";
const PASSWORD: &str = "not-a-secret";
const SUBJECT: &str = "A small message";
const TEXT: &str = "One line of text.";

/// As smtplib's documentation shows it.
const PYTHON: &str = r#"
import smtplib, ssl, sys
from email.message import EmailMessage
port, is_tls, ca, sender, recipient, subject, text, attachment, user, password = sys.argv[1:]
message = EmailMessage()
message["From"], message["To"], message["Subject"] = sender, recipient, subject
message.set_content(text)
if attachment:
    with open(attachment, "rb") as file:
        message.add_attachment(file.read(), maintype="application", subtype="octet-stream", filename="large.bin")
with smtplib.SMTP("127.0.0.1", int(port)) as server:
    if is_tls == "1":
        server.starttls(context=ssl.create_default_context(cafile=ca))
        server.login(user, password)
    server.send_message(message)
"#;

/// A mail program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    Mailsend,
    Curl,
    Msmtp,
    Swaks,
    Python,
}

/// What is to be sent where.
pub struct Task<'a> {
    pub port: u16,
    /// STARTTLS, then AUTH PLAIN.
    pub is_tls: bool,
    pub attachment: Option<&'a Path>,
}

/// A place for files, and the programs that are there.
pub struct Peers {
    folder: tempfile::TempDir,
    found: Vec<(Tool, PathBuf)>,
}

/// What a run took.
pub struct Run {
    pub time: Duration,
    /// Octets of the largest resident set, where the system tells.
    pub memory: Option<u64>,
}

impl Tool {
    pub const ALL: [Self; 5] = [Self::Mailsend, Self::Curl, Self::Msmtp, Self::Swaks, Self::Python];

    pub fn name(self) -> &'static str {
        match self {
            Self::Mailsend => "mailsend",
            Self::Curl => "curl",
            Self::Msmtp => "msmtp",
            Self::Swaks => "swaks",
            Self::Python => "Python smtplib",
        }
    }

    fn program(self) -> &'static str {
        if self == Self::Python { "python3" } else { self.name() }
    }
}

impl Peers {
    pub fn new(ca: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut found = vec![(Tool::Mailsend, PathBuf::from(env!("CARGO_BIN_EXE_mailsend")))];
        for &tool in &Tool::ALL[1..] {
            found.extend(find(tool.program()).map(|path| (tool, path)));
        }
        let peers = Self { folder, found };
        let small = format!("From: {FROM}\r\nTo: {TO}\r\nSubject: {SUBJECT}\r\n\r\n{TEXT}\r\n");
        for (name, content) in [("ca.pem", ca), ("small.eml", &small), ("send.py", PYTHON), ("empty.toml", "")] {
            fs::write(peers.path(name), content).expect("a writable folder");
        }
        peers
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn word(&self, name: &str) -> String {
        self.path(name).to_str().expect("a UTF-8 path").to_owned()
    }

    /// The programs that are there, mailsend first.
    pub fn tools(&self) -> Vec<Tool> {
        self.found.iter().map(|(tool, _)| *tool).collect()
    }

    /// The names of those that are not.
    pub fn absent(&self) -> Vec<&'static str> {
        let tools = self.tools();
        Tool::ALL.into_iter().filter(|tool| !tools.contains(tool)).map(Tool::name).collect()
    }

    /// The program in an environment in which nobody's settings are.
    pub fn program(&self, tool: Tool) -> Command {
        let path = self.found.iter().find(|(found, _)| *found == tool).map(|(_, path)| path);
        let mut command = Command::new(path.expect("a program that is there"));
        command
            .env_clear()
            .envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LOGNAME", "bench")])
            .env("HOME", self.folder.path())
            .env("MAILSEND_CONFIG", self.path("empty.toml"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// How this program sends it.
    pub fn command(&self, tool: Tool, task: &Task) -> Command {
        let mut command = self.program(tool);
        let Task { port, is_tls, attachment } = *task;
        let attachment = attachment.map_or("", |path| path.to_str().expect("a UTF-8 path"));
        let ca = self.word("ca.pem");
        match tool {
            Tool::Mailsend => {
                command.args(["--server", &format!("smtp://127.0.0.1:{port}"), "-r", FROM, "--to", TO]);
                command.args(["-s", SUBJECT, "--body", TEXT]);
                if is_tls {
                    command.args(["-o", "security=starttls", "-o", &format!("tls.ca-file={ca}")]);
                    command.args(["-o", &format!("username={USER}")]).env("MAILSEND_PASSWORD", PASSWORD);
                }
                if !attachment.is_empty() {
                    command.args(["--attach", attachment]);
                }
            }
            Tool::Curl => {
                command.args(["-q", "-s", "--url", &format!("smtp://127.0.0.1:{port}")]);
                command.args(["--mail-from", FROM, "--mail-rcpt", TO]);
                if is_tls {
                    command.args(["--ssl-reqd", "--cacert", &ca, "--user", &format!("{USER}:{PASSWORD}")]);
                }
                if attachment.is_empty() {
                    command.args(["--upload-file", &self.word("small.eml")]);
                } else {
                    command.args(["-H", &format!("From: {FROM}"), "-H", &format!("To: {TO}")]);
                    command.args(["-H", &format!("Subject: {SUBJECT}"), "-F", &format!("={TEXT};type=text/plain")]);
                    command.args(["-F", &format!("=@{attachment};encoder=base64")]);
                }
            }
            Tool::Msmtp => {
                let mut settings = format!("account default\nhost 127.0.0.1\nport {port}\nfrom {FROM}\n");
                if is_tls {
                    settings += &format!("tls on\ntls_trust_file {ca}\nauth plain\nuser {USER}\npassword {PASSWORD}\n");
                }
                let file = self.path(&format!("msmtp-{port}-{is_tls}"));
                if !file.exists() {
                    fs::write(&file, settings).expect("a writable folder");
                    // It refuses a password that others can read.
                    make_private(&file).expect("a folder of our own");
                }
                command.arg("-C").arg(file).args(["--", TO]);
                command.stdin(fs::File::open(self.path("small.eml")).expect("the message"));
            }
            Tool::Swaks => {
                command.args(["--server", &format!("127.0.0.1:{port}"), "--from", FROM, "--to", TO]);
                command.args(["--header", &format!("Subject: {SUBJECT}"), "--body", TEXT, "--silent", "3"]);
                if is_tls {
                    command.args(["--tls", "--tls-verify", "--tls-ca-path", &ca, "--auth", "PLAIN"]);
                    command.args(["--auth-user", USER, "--auth-password", PASSWORD]);
                }
                if !attachment.is_empty() {
                    command.args(["--attach", &format!("@{attachment}")]);
                }
            }
            Tool::Python => {
                let (port, is_tls) = (port.to_string(), if is_tls { "1" } else { "" });
                command.arg(self.path("send.py"));
                command.args([&port, is_tls, &ca, FROM, TO, SUBJECT, TEXT, attachment, USER, PASSWORD]);
            }
        }
        command
    }
}

/// Runs to the end, which must be a good one.
pub fn run(mut command: Command) -> Run {
    let start = Instant::now();
    let mut child = command.spawn().expect("a program that starts");
    let status = child.wait().expect("it ends");
    let time = start.elapsed();
    assert!(status.success(), "{status}: {command:?}");
    Run { time, memory: None }
}

/// The same, with a look at its memory every few milliseconds: the high-water mark only rises, so that nothing but a
/// rise in the very last of them can be missed.
pub fn run_watched(mut command: Command) -> Run {
    let start = Instant::now();
    let mut child = command.spawn().expect("a program that starts");
    let id = child.id();
    let watcher = thread::spawn(move || {
        let mut peak = None;
        // A process that has ended has no memory any more.
        while let Some(mark) = high_water_mark(id) {
            peak = Some(mark);
            thread::sleep(Duration::from_millis(5));
        }
        peak
    });
    let status = child.wait().expect("it ends");
    let time = start.elapsed();
    assert!(status.success(), "{status}: {command:?}");
    Run { time, memory: watcher.join().expect("the watcher ends") }
}

fn high_water_mark(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The system's own program before one that a version manager puts into its place: those add their own start.
pub fn find(program: &str) -> Option<PathBuf> {
    let system = ["/usr/bin", "/usr/sbin", "/bin", "/opt/homebrew/bin", "/usr/local/bin"].map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    system.into_iter().chain(env::split_paths(&path)).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(unix)]
fn make_private(file: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn make_private(_file: &Path) -> io::Result<()> {
    Ok(())
}
