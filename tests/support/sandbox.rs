//! A folder of its own as HOME and working folder, an environment of its own, and the binary.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Where one test runs the binary.
pub struct Sandbox {
    folder: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    /// Exit code, or minus the signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut variables = BTreeMap::new();
        for (name, value) in [
            ("HOME", folder.path().to_str().expect("a UTF-8 path")),
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("LOGNAME", "tester"),
            ("TZ", "UTC"),
            // The system's configuration must not reach in.
            ("MAILSEND_CONFIG", folder.path().join("config.toml").to_str().expect("a UTF-8 path")),
        ] {
            variables.insert(name.to_owned(), value.to_owned());
        }
        fs::write(folder.path().join("config.toml"), "").expect("a writable folder");
        Self { folder, variables }
    }

    /// A path in the sandbox.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the sandbox and returns its path as text.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        path.to_str().expect("a UTF-8 path").to_owned()
    }

    /// Sets the configuration file.
    pub fn config(&self, toml: &str) {
        self.file("config.toml", toml);
    }

    /// Sets a variable for all runs.
    pub fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Takes a variable away for all runs.
    pub fn without(&mut self, name: &str) -> &mut Self {
        self.variables.remove(name);
        self
    }

    /// The binary with the sealed environment, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).env_clear().envs(&self.variables).current_dir(self.folder.path());
        command
    }

    /// Runs a line of shell in the sealed environment.
    pub fn shell(&self, line: &str) -> Run {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).env_clear().envs(&self.variables).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().expect("a shell"))
    }

    /// Runs with nothing on standard input.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, b"")
    }

    /// Runs with these bytes on standard input.
    pub fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Run {
        run_to_end(self.command(arguments), stdin)
    }
}

/// Runs with these bytes on standard input.
pub fn run_to_end(mut command: Command, stdin: &[u8]) -> Run {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    let bytes = stdin.to_vec();
    // It may end without reading everything.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&bytes)));
    let run = finish(child);
    writer.join().expect("the writer ends");
    run
}

/// Waits for a run that was started by hand.
pub fn finish(child: Child) -> Run {
    let output = child.wait_with_output().expect("it ends");
    let signal = {
        use std::os::unix::process::ExitStatusExt;
        output.status.signal()
    };
    Run {
        code: output.status.code().unwrap_or_else(|| -signal.unwrap_or(0)),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Every alignment in which a text can stand in Base64, without the characters its neighbours change.
pub fn traces_of(secret: &str) -> Vec<String> {
    let mut traces = vec![secret.to_owned()];
    for shift in 0..3 {
        let encoded = encodify::base64::STANDARD.encode("x".repeat(shift) + secret);
        let inner: String = encoded.chars().skip(if shift == 0 { 0 } else { shift + 1 }).collect();
        traces.push(inner.trim_end_matches('=').chars().rev().skip(2).collect::<String>().chars().rev().collect());
    }
    traces
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mailsend"))
}

impl Run {
    /// Asserts the exit code; shows everything if it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code of {self:#?}");
        self
    }

    /// Asserts that standard error says this.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "'{text}' is not said in {self:#?}");
        self
    }

    /// Asserts that standard error is empty.
    #[track_caller]
    pub fn silently(self) -> Self {
        assert_eq!(self.stderr, "", "{self:#?}");
        self
    }

    /// The records that `--format json` has put on standard output.
    #[track_caller]
    pub fn records(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
            .collect()
    }
}
