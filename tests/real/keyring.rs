//! The desktop's keyring, without a desktop.

use std::{io::Write, process::Command};

use super::{Desk, unique};
use crate::support::{
    finish,
    real::{PASSWORD, Real, keyring, postfix},
    traces_of,
};

/// A desk whose profile names the keyring, on this bus.
fn desk(keyring: &Real, url: &str) -> Desk {
    let mut desk = Desk::new(url);
    let config = std::fs::read_to_string(desk.sandbox.path("config.toml")).expect("a configuration");
    desk.sandbox.config(&config.replace("{ file = \"password\" }", "\"keyring\""));
    desk.sandbox.env("DBUS_SESSION_BUS_ADDRESS", keyring.said("bus"));
    desk
}

#[test]
fn a_password_is_kept_used_and_forgotten() {
    let (Some(postfix), Some(keyring)) = (postfix(), keyring("open")) else { return };
    let url = format!("smtp://USER@localhost:{}?security=starttls", postfix.postfix.said("submission"));
    let desk = desk(&keyring, &url);
    let to = unique("keyring");
    desk.trace(&[&to, "--body", "hi"], b"").exits(78).says("the keyring holds no password").says("mailsend login");
    desk.run_with(&["login"], format!("{PASSWORD}\n").as_bytes()).exits(0).says("the keyring holds the password of");
    desk.trace(&[&to, "--body", "hi"], b"").exits(0);
    postfix.postfix.wait_for(&to);
    let run = desk.run_with(&["profile", "check"], b"").exits(0);
    assert!(run.stdout.contains("password      from keyring"), "{run:#?}");
    desk.run_with(&["logout"], b"").exits(0).says("holds no password any more");
    desk.run_with(&["logout"], b"").exits(0).says("no store held a password");
    desk.trace(&[&to, "--body", "hi"], b"").exits(78).says("the keyring holds no password");
}

#[test]
fn a_password_can_be_typed() {
    let Some(keyring) = keyring("open") else { return };
    let desk = desk(&keyring, "smtp://USER@localhost:587");
    // A terminal of its own, which shows what is typed unless somebody turns that off. That comes after the question.
    let typist = r#"
import os, pty, sys, termios, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown = b""
while b": " not in shown:
    shown += os.read(terminal, 1000)
deadline = time.monotonic() + 20
while termios.tcgetattr(terminal)[3] & termios.ECHO and time.monotonic() < deadline:
    time.sleep(0.01)
os.write(terminal, sys.stdin.buffer.read() + b"\n")
try:
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
    let login = desk.sandbox.command(&["login"]);
    let mut command = Command::new("python3");
    command.arg("-c").arg(typist).arg(login.get_program()).args(login.get_args());
    command.envs(login.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("Python");
    child.stdin.take().expect("a pipe").write_all(PASSWORD.as_bytes()).expect("a pipe");
    let run = finish(child).exits(0);
    assert!(run.stdout.contains("the keyring holds the password of"), "{run:#?}");
    for trace in traces_of(PASSWORD) {
        assert!(!run.stdout.contains(&trace), "{run:#?}");
    }
    desk.run_with(&["logout"], b"").exits(0).says("holds no password any more");
}

#[test]
fn a_locked_keyring_names_the_ways_out() {
    let (Some(postfix), Some(keyring)) = (postfix(), keyring("locked")) else { return };
    let url = format!("smtp://USER@localhost:{}?security=starttls", postfix.postfix.said("submission"));
    let desk = desk(&keyring, &url);
    for arguments in [&["login"][..], &["logout"]] {
        desk.run_with(arguments, b"a\n").exits(78).says("the keyring is locked");
    }
    desk.run_with(&["login"], b"a\n").exits(78).says("login --profile test --store file").says("store = \"file\"");
    let run = desk.run_with(&["you@example.test", "--body", "hi"], b"").exits(78).says("the keyring is locked");
    run.says("in [profiles.test]: password = { file = ").says("{ command = ").says("{ env = ");
}

/// A desk whose profile names no source, so that all stores are asked.
fn desk_with_stores(keyring: &Real, url: &str) -> Desk {
    let desk = desk(keyring, url);
    let config = std::fs::read_to_string(desk.sandbox.path("config.toml")).expect("a configuration");
    let config = config.replace("password = \"keyring\"\n", "");
    let secrets = "[secrets]\nfile = \"secrets.json\"\nkey = { file = \"key\" }\n";
    desk.sandbox.config(&format!("{secrets}{config}"));
    desk
}

#[test]
fn an_entry_moves_to_the_file_and_back() {
    let Some(keyring) = keyring("open") else { return };
    let desk = desk_with_stores(&keyring, "smtp://USER@localhost:587");
    let places = || {
        let listed = desk.run_with(&["login", "--list", "--json"], b"").exits(0);
        let rows: serde_json::Value = serde_json::from_str(&listed.stdout).expect("JSON");
        let rows = rows["entries"].as_array().expect("a list").iter().filter(|row| row["user"] == desk.user.as_str());
        rows.map(|row| format!("{} at {} in {}", row["kind"], row["host"], row["store"])).collect::<Vec<_>>()
    };
    let place = |store: &str| [format!("\"password\" at \"localhost\" in \"{store}\"")];
    desk.run_with(&["login"], format!("{PASSWORD}\n").as_bytes()).exits(0).says("the keyring holds the password of");
    assert_eq!(places(), place("keyring"));
    desk.run_with(&["login", "--store", "file"], b"").exits(0).says("from the keyring to the file");
    assert_eq!(places(), place("file"));
    desk.run_with(&["login", "--store", "keyring"], b"").exits(0).says("to the keyring");
    assert_eq!(places(), place("keyring"));
    desk.run_with(&["logout"], b"").exits(0).says("the keyring holds no password any more");
    assert_eq!(places(), [""; 0]);
}

#[test]
fn a_locked_keyring_hides_nothing_that_is_elsewhere() {
    let (Some(postfix), Some(keyring)) = (postfix(), keyring("locked")) else { return };
    let url = format!("smtp://USER@localhost:{}?security=starttls", postfix.postfix.said("submission"));
    let desk = desk_with_stores(&keyring, &url);
    desk.run_with(&["login", "--store", "file"], format!("{PASSWORD}\n").as_bytes()).exits(0);
    let to = unique("locked");
    desk.trace(&[&to, "--body", "hi"], b"").exits(0);
    postfix.postfix.wait_for(&to);
    let run = desk.run_with(&["profile", "check"], b"").exits(0);
    assert!(run.stdout.contains("keyring: locked") && run.stdout.contains("secrets.json: holds it"), "{run:#?}");
    desk.run_with(&["login", "--list"], b"").exits(78).says("the keyring cannot be asked: locked");
    // What is elsewhere is removed all the same.
    desk.run_with(&["logout"], b"").exits(78).says("the keyring is locked").says("secrets.json holds no password");
    // Other tests may have keys in the kernel.
    let run = desk.run_with(&["login", "--list"], b"").exits(78);
    assert!(!run.stdout.contains(&desk.user), "{run:#?}");
}
