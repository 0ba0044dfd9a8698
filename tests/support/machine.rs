//! A small Debian as a machine of its own, where mailsend is `/usr/sbin/sendmail` and `/usr/bin/mail`.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        net::UnixDatagram,
    },
    path::PathBuf,
    process::Command,
};

use super::{
    Run,
    real::{self, Real},
    run_to_end,
};

/// Who runs a program.
#[derive(Clone, Copy)]
pub struct User {
    id: u32,
    name: &'static str,
    home: &'static str,
}

pub const ROOT: User = User { id: 0, name: "root", home: "/root" };
/// Somebody with a name (Carla Caller) and a home.
pub const CARLA: User = User { id: 1001, name: "carla", home: "/home/carla" };
/// Whom web servers run as: the home is not there.
pub const WWW_DATA: User = User { id: 33, name: "www-data", home: "/var/www" };

/// It ends with this value, and with it all that runs there.
pub struct Machine(Real);

impl Machine {
    /// With this configuration for all users; nothing if there is no Debian here, which has been said then.
    pub fn new(config: &str) -> Option<Self> {
        let machine = Self(real::machine()?);
        machine.file("etc/mailsend/config.toml", config, ROOT);
        Some(machine)
    }

    /// A path there, as seen from here.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// Writes a file that others may read; the folder is made if need be.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>, owner: User) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        // cron takes no crontab that others may read.
        let mode = if name.contains("crontabs") { 0o600 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        chown(path, Some(owner.id), Some(owner.id)).expect("root may give files away");
    }

    /// What programs tell the system's logger from now on.
    pub fn log(&self) -> UnixDatagram {
        let path = self.path("dev/log");
        let log = UnixDatagram::bind(&path).expect("a socket");
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("a mode");
        log
    }

    /// A program with the environment of a login, not yet started. Nobody may kill it: what it has started would stay.
    pub fn command(&self, user: User, words: &[&str]) -> Command {
        let id = user.id.to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", self.0.said("process"), "--mount", "--pid", "--root", "--wd"]);
        command.args(["--setgid", &id, "--setuid", &id, "/usr/bin/env", "-i"]);
        command.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]);
        for (variable, value) in [("LOGNAME", user.name), ("USER", user.name), ("HOME", user.home)] {
            command.arg(format!("{variable}={value}"));
        }
        command.args(words);
        command
    }

    /// Runs a program with this on standard input.
    pub fn run(&self, user: User, words: &[&str], stdin: &[u8]) -> Run {
        run_to_end(self.command(user, words), stdin)
    }

    /// Runs one that succeeds and says nothing.
    #[track_caller]
    pub fn call(&self, user: User, words: &[&str], stdin: &[u8]) {
        let run = self.run(user, words, stdin).exits(0).silently();
        assert_eq!(run.stdout, "", "{words:?}");
    }
}
