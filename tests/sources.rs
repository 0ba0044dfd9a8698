//! Sources of passwords that a profile or a flag names: commands and .netrc files, and what is said of bad ones.

use std::{
    fs,
    io::Read,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    stores::{CANARY, send, server, shy_server},
    support::{Sandbox, Server},
};

#[test]
fn a_password_command_that_is_wrong_is_told() {
    for (command, what) in [
        ("echo no such entry >&2; exit 3", "it failed (exit status: 3): no such entry"),
        ("true", "it is empty"),
        ("echo one; echo two", "there is more than one line"),
        ("nonesuch-command", "it failed (exit status: 127)"),
    ] {
        let run = send(&Sandbox::new(), &shy_server(), &["--password-command", command]).exits(78).says(what);
        run.says(&format!("no password from command '{command}'"));
    }
}

/// However we end, the command and what it has started end, too.
#[test]
fn a_password_command_does_not_outlive_us() {
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let sandbox = Sandbox::new();
        // The command is run while the server is still waited for.
        let server = Server::new(|talk, _| talk.hear_to_the_end_or_reset());
        let url = format!("smtp://ada@127.0.0.1:{}", server.port);
        let mut command = sandbox.command(&["--server", &url, "-r", "s@x.example", "a@y.example", "--body", "hi"]);
        command.args(["-o", "allow-plaintext-auth=true", "--password-command"]);
        command.arg("sleep 600 & echo $! > pid.new; mv pid.new pid; sleep 600");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let pid = wait_for(|| fs::read_to_string(sandbox.path("pid")).ok());
        let process = Pid::from_child(&child);
        kill_process(process, signal).expect("a signal");
        let mut said = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("a text");
        assert_eq!(child.wait().expect("it ends").signal(), Some(signal.as_raw()), "{said}");
        wait_for(|| {
            let stat = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
    }
}

/// Programs that are started may live long, and show their environment to whoever looks.
#[test]
fn no_program_gets_the_variables_that_hold_secrets() {
    let mut sandbox = Sandbox::new();
    for name in ["MAILSEND_PASSWORD", "WORK_PASSWORD", "STORE_KEY"] {
        sandbox.env(name, "canary");
    }
    sandbox.env("OTHER", "kept");
    let program = sandbox.file("bin/sendmail", "#!/bin/sh\nenv > seen.sendmail\nexec cat > /dev/null\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    let server = server();
    sandbox.config(&format!(
        "[secrets]\nkey = {{ env = \"STORE_KEY\" }}\n\
         [defaults]\nfrom = \"s@x.example\"\n\
         [profiles.network]\nserver = \"smtp://ada@127.0.0.1:{}\"\npassword = {{ env = \"WORK_PASSWORD\" }}\n\
         allow-plaintext-auth = true\n\
         [profiles.program]\nserver = \"sendmail:{program}\"\npassword = {{ env = \"WORK_PASSWORD\" }}\n",
        server.port
    ));
    let command = format!("env > seen.command; echo '{CANARY}'");
    let send = ["a@y.example", "--body", "hi"];
    sandbox.run(&[&send[..], &["-p", "network", "--password-command", &command]].concat()).exits(0);
    sandbox.run(&[&send[..], &["-p", "program"]].concat()).exits(0);
    for seen in ["seen.command", "seen.sendmail"] {
        let seen = fs::read_to_string(sandbox.path(seen)).expect("it was started");
        assert!(seen.contains("OTHER=kept") && !seen.contains("canary"), "{seen}");
    }
}

/// Looks until there is something to see.
#[track_caller]
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

#[test]
fn a_netrc_has_the_password_of_host_and_user() {
    let mut sandbox = Sandbox::new();
    let write = |sandbox: &Sandbox, name: &str, text: &str, mode: u32| {
        let file = sandbox.file(name, text);
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
        file
    };
    let entry =
        format!("machine 127.0.0.1\n  login bob password x\nmachine 127.0.0.1 login ada password \"{CANARY}\"\n");
    let from = ["-o", "password=netrc"];
    send(&sandbox, &shy_server(), &from).exits(78).says(".netrc: No such file");
    write(&sandbox, ".netrc", &entry, 0o600);
    let run = send(&sandbox, &server(), &from).exits(0);
    assert!(!run.stderr.contains(CANARY));
    write(&sandbox, ".netrc", &entry, 0o640);
    let run =
        send(&sandbox, &shy_server(), &from).exits(78).says("is refused: others than its owner can use it (mode 640)");
    run.says("chmod 600 ");
    let other = write(&sandbox, "other", &entry, 0o600);
    send(&sandbox, &server(), &["-o", &format!("password={{ netrc = \"{other}\" }}")]).exits(0);
    sandbox.env("NETRC", &other);
    send(&sandbox, &server(), &from).exits(0);
    for (text, what) in [
        ("machine b.example login ada password x", "it has no entry for 127.0.0.1"),
        ("machine 127.0.0.1 login bob password x", "its entry for 127.0.0.1 is for bob, not for ada"),
        ("machine 127.0.0.1 login ada", "its entry for 127.0.0.1 has no password"),
        ("machine 127.0.0.1 login ada password \"open", "line 1: a quotation mark is not closed"),
    ] {
        write(&sandbox, "other", text, 0o600);
        send(&sandbox, &shy_server(), &from).exits(78).says(what);
    }
}
