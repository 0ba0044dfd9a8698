//! Secrets from a file, a descriptor, a command, the environment, systemd.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    path::Path,
    process::{Child, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use super::{SecretError, environ};
use crate::{
    config::{Environment, SecretSource},
    mail::{Secret, clean},
};

/// A secret is a line; access tokens reach some 10 KB.
const MAX_SECRET: u64 = 64 * 1024;
/// Between two looks at a command that has said everything: most have ended by then.
const PAUSE: Duration = Duration::from_millis(2);

/// Reads the secret from a source other than the keyring.
pub(super) fn read(
    source: &SecretSource,
    environment: &Environment,
    command_limit: Duration,
) -> Result<Secret, SecretError> {
    let fail = |error: &dyn std::fmt::Display| SecretError::new(format!("no password from {source}: {error}"));
    match source {
        SecretSource::Netrc(_) => Err(fail(&"it has passwords for users at hosts only")),
        SecretSource::Keyring => Err(fail(&"the keyring is not a plain source")),
        SecretSource::Env(name) => match environment.value(name) {
            Some(value) => one_line(value.as_encoded_bytes().to_vec(), source),
            None => Err(fail(&"it is not set").hint(format!("set it: {name}=… mailsend …, or export it"))),
        },
        SecretSource::File(path) => one_line(of_file(path, source)?, source),
        SecretSource::Credential(name) => {
            let Some(folder) = environment.path("CREDENTIALS_DIRECTORY") else {
                return Err(fail(&"CREDENTIALS_DIRECTORY is not set").hint(format!(
                    "systemd sets it for a service with LoadCredential={name}:/path or LoadCredentialEncrypted="
                )));
            };
            one_line(
                read_limited(File::open(folder.join(name)).map_err(|error| fail(&error))?).map_err(|e| fail(&e))?,
                source,
            )
        }
        SecretSource::Fd(number) => {
            let bytes = read_descriptor(*number)
                .map_err(|error| fail(&error).hint(format!("open it in the shell: mailsend … {number}< FILE")))?;
            one_line(bytes, source)
        }
        SecretSource::Command(command) => run(command, command_limit, source),
    }
}

fn read_limited(reader: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // Reserved once: a buffer that grows leaves copies of the secret behind.
    read_at_most(reader, MAX_SECRET, MAX_SECRET)
}

/// Reads at most one octet more than `limit`, into a buffer for what is expected.
fn read_at_most(reader: impl Read, limit: u64, expected: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected as usize + 1));
    reader.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads an open descriptor from where it stands, whatever it is.
fn read_descriptor(number: u32) -> io::Result<Zeroizing<Vec<u8>>> {
    // To open /dev/fd/N opens the file anew on Linux, from its start, and cannot open a socket. A shell hands the
    // descriptor itself on, but only those of one digit are portable.
    if number > 9 {
        return read_limited(File::open(format!("/dev/fd/{number}"))?);
    }
    let mut child = environ::command("/bin/sh")
        .args(["-c", &format!("exec cat <&{number}")])
        .stdin(if number == 0 { Stdio::inherit() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let read = child.stdout.take().map_or_else(|| Ok(Zeroizing::default()), read_limited);
    // What was too long is still being written.
    let _ = child.kill();
    let status = child.wait()?;
    match read {
        Ok(bytes) if bytes.is_empty() && !status.success() => Err(io::Error::other("it is not open")),
        read => read,
    }
}

/// Why a file of secrets is not read.
pub(super) enum NotPrivate {
    /// The operating system says so.
    Failed(io::Error),
    /// It is not its owner's alone.
    Refused {
        /// In what way.
        why: String,
        /// What to type.
        hint: Option<String>,
    },
}

/// Reads a file that nobody else can read, and one octet more than `limit` if there are more.
pub(super) fn read_private(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, NotPrivate> {
    let file = File::open(path).map_err(NotPrivate::Failed)?;
    let metadata = file.metadata().map_err(NotPrivate::Failed)?;
    if metadata.is_dir() {
        return Err(NotPrivate::Refused { why: "it is a folder".to_owned(), hint: None });
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        // A shell hands a pipe over where a file is wanted: <(command).
        if !metadata.is_file() && !metadata.file_type().is_fifo() {
            return Err(NotPrivate::Refused { why: "it is no regular file".to_owned(), hint: None });
        }
        let me = rustix::process::geteuid().as_raw();
        if metadata.mode() & 0o077 != 0 {
            return Err(NotPrivate::Refused {
                why: format!("others than its owner can use it (mode {:o})", metadata.mode() & 0o7777),
                hint: Some(format!("chmod 600 {}", path.display())),
            });
        }
        if metadata.uid() != me && metadata.uid() != 0 {
            let why = format!("it belongs to user {}, not to you", metadata.uid());
            return Err(NotPrivate::Refused { why, hint: None });
        }
    }
    // Reserved once: a buffer that grows leaves copies of the secret behind.
    let expected = metadata.len().max(MAX_SECRET).min(limit);
    read_at_most(file, limit, expected).map_err(NotPrivate::Failed)
}

pub(super) fn of_file(path: &Path, source: &SecretSource) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    read_private(path, MAX_SECRET).map_err(|error| match error {
        NotPrivate::Failed(error) => SecretError::new(format!("no password from {source}: {error}")),
        NotPrivate::Refused { why, hint } => {
            let error = SecretError::new(format!("{source} is refused: {why}"));
            hint.into_iter().fold(error, SecretError::hint)
        }
    })
}

/// Reads one line from standard input, to its end.
///
/// # Errors
/// Why it cannot be read, or is no secret.
pub fn of_stdin() -> io::Result<Secret> {
    line_of(read_limited(io::stdin().lock())?).map_err(io::Error::other)
}

fn one_line(bytes: impl Into<Zeroizing<Vec<u8>>>, source: &SecretSource) -> Result<Secret, SecretError> {
    line_of(bytes.into()).map_err(|what| SecretError::new(format!("no password from {source}: {what}")))
}

/// Checks that `bytes` are one line, and takes its end off.
fn line_of(mut bytes: Zeroizing<Vec<u8>>) -> Result<Secret, &'static str> {
    if bytes.len() as u64 > MAX_SECRET {
        return Err("it is longer than 64 KiB");
    }
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err("it is empty");
    }
    if bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err("there is more than one line; the password alone is wanted");
    }
    if bytes.contains(&0) {
        return Err("it contains a NUL");
    }
    Ok(Secret::new(std::mem::take(&mut *bytes)))
}

/// Runs the command as its shell would, and beside it somebody who waits for our end: when the pipe from us is closed
/// without a line, whatever has ended us, all of the command's process group is killed. Standard input of the command
/// is empty: the message may be waiting in ours.
const GUARDED: &str = "exec 3<&0 </dev/null; { read -r _ <&3 || kill -9 0; } >/dev/null 2>&1 & exec 3<&-; eval \"$1\"";

/// A running command.
struct Running {
    child: Child,
    /// Whether it has a process group of its own, which can be ended as a whole.
    has_group: bool,
}

impl Running {
    fn start(command: &str, is_attended: bool) -> io::Result<Self> {
        // At a terminal it stays in our group: there it may ask ("touch the key"), and Ctrl-C reaches it by itself.
        let has_group = cfg!(unix) && !is_attended;
        let mut shell = environ::command("/bin/sh");
        if has_group {
            #[cfg(unix)]
            std::os::unix::process::CommandExt::process_group(&mut shell, 0);
            shell.args(["-c", GUARDED, "sh", command]).stdin(Stdio::piped()).stderr(Stdio::piped());
        } else {
            shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit());
        }
        Ok(Self { child: shell.stdout(Stdio::piped()).spawn()?, has_group })
    }

    /// Waits for its end, and lets the one who waits for ours go; `None` if it goes on after `end`.
    fn wait(&mut self, end: Instant) -> io::Result<Option<ExitStatus>> {
        // Not `Child::wait`: that closes the pipe first, and what the command leaves behind would be killed.
        while self.child.try_wait()?.is_none() {
            if Instant::now() >= end {
                return Ok(None);
            }
            thread::sleep(PAUSE);
        }
        if let Some(mut guard) = self.child.stdin.take() {
            // The command may have taken it along.
            let _ = guard.write_all(b"\n");
        }
        self.child.try_wait()
    }

    /// Ends it with all it has started. It may have ended by itself meanwhile.
    fn kill(&mut self) {
        #[cfg(unix)]
        if self.has_group {
            let group = rustix::process::Pid::from_child(&self.child);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        #[cfg(target_os = "linux")]
        if !self.has_group {
            descendants(self.child.id()).into_iter().for_each(|process| {
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            });
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that a process has started and that has not been given away; nothing, where the kernel does not tell.
#[cfg(target_os = "linux")]
fn descendants(process: u32) -> Vec<rustix::process::Pid> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse::<i32>().ok());
    children
        .filter_map(rustix::process::Pid::from_raw)
        .flat_map(|child| std::iter::once(child).chain(descendants(child.as_raw_nonzero().get().unsigned_abs())))
        .collect()
}

fn run(command: &str, limit: Duration, source: &SecretSource) -> Result<Secret, SecretError> {
    let fail = |what: &str| SecretError::new(format!("no password from {source}: {what}"));
    let slow = || fail(&format!("it was still running after {} s", limit.as_secs_f32()));
    let end = Instant::now() + limit;
    // A question of the command must reach the user; without one its words go into the error.
    let mut running = Running::start(command, io::stderr().is_terminal()).map_err(|error| fail(&error.to_string()))?;
    let (sender, output) = mpsc::channel();
    let (stdout, stderr) = (running.child.stdout.take(), running.child.stderr.take());
    thread::spawn(move || {
        let complaints = stderr.map(|stderr| thread::spawn(move || read_limited(stderr)));
        let password = stdout.map(read_limited).unwrap_or_else(|| Ok(Zeroizing::default()));
        let complaints = complaints.and_then(|thread| thread.join().ok()).and_then(Result::ok).unwrap_or_default();
        // Nobody listens any more when the time ran out.
        let _ = sender.send((password, complaints));
    });
    let Ok((password, complaints)) = output.recv_timeout(limit) else {
        running.kill();
        return Err(slow());
    };
    let password = password.map_err(|error| fail(&error.to_string()))?;
    // It may close its output and go on.
    let Some(status) = running.wait(end).map_err(|error| fail(&error.to_string()))? else {
        running.kill();
        return Err(slow());
    };
    // A command whose output was cut off did not fail by itself.
    if !status.success() && password.len() as u64 <= MAX_SECRET {
        let words = clean(String::from_utf8_lossy(&complaints).trim());
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        return Err(fail(&format!("it failed ({status}){words}")));
    }
    one_line(password, source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const SOON: Duration = Duration::from_millis(200);

    fn read_now(source: SecretSource, variables: Environment) -> Result<Vec<u8>, String> {
        read(&source, &variables, SOON).map(|secret| secret.expose().to_vec()).map_err(|error| error.what)
    }

    fn command(text: &str) -> Result<Vec<u8>, String> {
        read_now(SecretSource::Command(text.to_owned()), Environment::default())
    }

    #[test]
    fn commands_say_what_is_wrong_with_them() {
        assert_eq!(command("printf 'pa ss\"wörd\\n'"), Ok("pa ss\"wörd".as_bytes().to_vec()));
        assert_eq!(command("printf 'crlf\\r\\n'"), Ok(b"crlf".to_vec()));
        assert!(command("true").unwrap_err().ends_with("it is empty"));
        assert!(command("echo a; echo b").unwrap_err().contains("more than one line"));
        assert!(command("exit 3").unwrap_err().contains("it failed (exit status: 3)"));
        assert!(command("printf 'a\\000b'").unwrap_err().contains("NUL"));
        assert!(command("yes x | head -c 100000").unwrap_err().contains("64 KiB"));
        let start = Instant::now();
        for slow in ["exec sleep 60", "echo x; exec >&- 2>&-; sleep 60"] {
            assert!(command(slow).unwrap_err().contains("still running after 0.2 s"), "{slow}");
        }
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    /// The shell is not all that has to end.
    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_of_a_command_outlives_its_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for is_attended in [false, true] {
            fs::write(file.path(), "").unwrap();
            let command = format!("sleep 600 & echo $! > {}; sleep 600; true", file.path().display());
            let mut running = Running::start(&command, is_attended).unwrap();
            let started = wait_for(|| fs::read_to_string(file.path()).ok().filter(|text| text.ends_with('\n')));
            running.kill();
            wait_for(|| {
                // Whoever adopts it may take its time to bury it.
                let stat = fs::read_to_string(format!("/proc/{}/stat", started.trim())).unwrap_or_default();
                (stat.is_empty() || stat.contains(") Z ")).then_some(())
            });
        }
    }

    /// A program that is to serve longer, as an agent does, is left alone when its command has ended well.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_command_leaves_behind_lives_on() {
        let mut running = Running::start("sleep 600 >/dev/null 2>&1 & echo x", false).unwrap();
        let group = running.child.id();
        let status = running.wait(Instant::now() + Duration::from_secs(20)).unwrap().unwrap();
        assert!(status.success());
        // The guard ends with a line, or with all the others.
        let left = wait_for(|| {
            let left = members(group);
            (!left.iter().any(|name| name == "sh")).then_some(left)
        });
        running.kill();
        assert_eq!(left, ["sleep"]);
    }

    /// The names of the processes of a group that have not ended.
    #[cfg(target_os = "linux")]
    fn members(group: u32) -> Vec<String> {
        let stats = fs::read_dir("/proc").unwrap().flatten();
        let stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        stats
            .filter_map(|stat| {
                let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
                let mut fields = rest.split(' ');
                let is_alive = fields.next() != Some("Z");
                (is_alive && fields.nth(1)? == group.to_string()).then(|| name.to_owned())
            })
            .collect()
    }

    #[cfg(target_os = "linux")]
    fn wait_for<T>(look: impl Fn() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "it does not come");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[cfg(unix)]
    #[test]
    fn files_that_others_can_read_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::File::create(&path).unwrap().write_all(b"hunter2\n").unwrap();
        let with_mode = |mode: u32| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read(&SecretSource::File(path.clone()), &Environment::default(), SOON)
        };
        assert_eq!(with_mode(0o600).unwrap().expose(), b"hunter2");
        assert_eq!(with_mode(0o400).unwrap().expose(), b"hunter2");
        for mode in [0o644, 0o640, 0o604, 0o660, 0o602] {
            let error = with_mode(mode).unwrap_err();
            assert!(error.what.contains("refused") && !error.what.contains("hunter2"), "{error:?}");
            assert_eq!(error.hints, [format!("chmod 600 {}", path.display())]);
        }
        for (path, what) in [(folder.path(), "it is a folder"), (Path::new("/dev/zero"), "it is no regular file")] {
            let error = read(&SecretSource::File(path.into()), &Environment::default(), SOON).unwrap_err();
            assert!(error.what.contains(what) && error.hints.is_empty(), "{error:?}");
        }
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap().success());
        let writer = thread::spawn({
            let pipe = pipe.clone();
            move || fs::write(pipe, "from a pipe\n").unwrap()
        });
        assert_eq!(read_now(SecretSource::File(pipe), Environment::default()), Ok(b"from a pipe".to_vec()));
        writer.join().unwrap();
        assert!(
            read_now(SecretSource::File("/nonesuch".into()), Environment::default()).unwrap_err().contains("/nonesuch")
        );
    }

    #[test]
    fn variables_credentials_and_descriptors() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("smtp"), "from systemd").unwrap();
        let environment =
            Environment::from([("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap()), ("X", "from env")]);
        assert_eq!(
            read_now(SecretSource::Credential("smtp".into()), environment.clone()),
            Ok(b"from systemd".to_vec())
        );
        assert_eq!(read_now(SecretSource::Env("X".into()), environment.clone()), Ok(b"from env".to_vec()));
        assert!(read_now(SecretSource::Env("Y".into()), environment).unwrap_err().contains("variable Y"));
        let no_credentials = read_now(SecretSource::Credential("smtp".into()), Environment::default());
        assert!(no_credentials.unwrap_err().contains("CREDENTIALS_DIRECTORY"));
        assert!(read_now(SecretSource::Fd(9_999), Environment::default()).unwrap_err().contains("descriptor 9999"));
    }
}
