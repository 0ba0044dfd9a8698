//! Logins: what is said, what is not, and that a secret shows up nowhere.

use std::{fs, sync::Mutex, time::Duration};

use crate::support::{Run, Sandbox, Server, Talk, authority, finish, traces_of};

const SECRET: &str = "correct horse battery";

fn arguments<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["--server", url, "-r", "s@x.example", "a@y.example", "--body", "hi"];
    arguments.extend(more);
    arguments
}

/// Sends in the clear, which is allowed here, with the password in the environment.
fn send(script: impl Fn(&mut Talk) + Send + Sync + 'static, more: &[&str]) -> Run {
    let server = Server::new(move |talk, number| {
        assert_eq!(number, 0, "it comes again");
        script(talk);
        talk.hear_to_the_end();
    });
    let mut sandbox = Sandbox::new();
    sandbox.env("MAILSEND_PASSWORD", SECRET);
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    let mut arguments = arguments(&url, more);
    if !more.contains(&"allow-plaintext-auth=false") {
        arguments.extend(["-o", "allow-plaintext-auth=true"]);
    }
    sandbox.run(&arguments)
}

fn base64(text: &str) -> String {
    encodify::base64::STANDARD.encode(text)
}

#[test]
fn plain_goes_with_the_command() {
    send(
        |talk| {
            talk.greet("AUTH LOGIN PLAIN");
            let line = talk.answer("AUTH PLAIN ", "235 welcome");
            assert_eq!(line, format!("AUTH PLAIN {}", base64("\0ada\0correct horse battery")));
            talk.take_one(1);
        },
        &[],
    )
    .exits(0)
    .silently();
}

/// A password that stands in every reply is no reason to change them once the login is over.
#[test]
fn replies_behind_the_login_are_the_server_s_words() {
    let server = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        talk.answer("AUTH PLAIN ", "235 2.7.0 ok");
        talk.take_one(1);
    });
    let mut sandbox = Sandbox::new();
    sandbox.env("MAILSEND_PASSWORD", "2");
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    let run = sandbox.run(&arguments(&url, &["-o", "allow-plaintext-auth=true", "--format", "json"])).exits(0);
    assert_eq!(run.records()[0]["reply"], "2.0.0 Ok: queued as 4F2");
}

#[test]
fn login_answers_two_questions() {
    send(
        |talk| {
            talk.greet("AUTH LOGIN");
            talk.answer("AUTH LOGIN", "334 VXNlcm5hbWU6");
            assert_eq!(talk.answer("", "334 UGFzc3dvcmQ6"), base64("ada"));
            assert_eq!(talk.answer("", "235 welcome"), base64(SECRET));
            talk.take_one(1);
        },
        &[],
    )
    .exits(0);
}

#[test]
fn a_token_goes_by_xoauth2_and_its_refusal_is_read() {
    send(
        |talk| {
            talk.greet("AUTH PLAIN XOAUTH2");
            let line = talk.answer("AUTH XOAUTH2 ", "235 welcome");
            assert_eq!(line, format!("AUTH XOAUTH2 {}", base64(&format!("user=ada\x01auth=Bearer {SECRET}\x01\x01"))));
            talk.take_one(1);
        },
        &["-o", "auth=XOAUTH2"],
    )
    .exits(0);
    send(
        |talk| {
            talk.greet("AUTH XOAUTH2");
            talk.answer("AUTH XOAUTH2 ", &format!("334 {}", base64("{\"status\":\"401\"}")));
            assert_eq!(talk.answer("", "535 5.7.8 no"), "");
        },
        &["-o", "auth=XOAUTH2"],
    )
    .exits(77)
    .says("the token was refused (status 401): 535 5.7.8 no");
}

#[test]
fn a_long_token_waits_to_be_asked() {
    let server = Server::new(|talk, _| {
        talk.greet("AUTH XOAUTH2");
        talk.answer("AUTH XOAUTH2", "334 ");
        assert!(talk.answer("", "235 ok").len() > 2_000);
        assert!(talk.heard.commands.iter().any(|line| line == "AUTH XOAUTH2"));
        talk.take_one(1);
    });
    let mut sandbox = Sandbox::new();
    sandbox.env("MAILSEND_PASSWORD", &"t".repeat(2_000));
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    sandbox.run(&arguments(&url, &["-o", "auth=XOAUTH2", "-o", "allow-plaintext-auth=true"])).exits(0);
}

#[test]
fn no_password_goes_over_an_open_connection() {
    let run = send(
        |talk| {
            talk.greet("AUTH PLAIN LOGIN");
            assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT"));
        },
        &["-o", "allow-plaintext-auth=false"],
    );
    run.exits(69).says("the connection is not protected").says("-o security=starttls");
}

#[test]
fn a_refusal_is_final() {
    for (reply, exit, words) in [
        ("535 5.7.8 wrong", 77, "the login was refused: 535 5.7.8 wrong"),
        ("534 5.7.9 stronger", 77, "the login was refused: 534"),
        ("530 5.7.0 first", 77, "wants a login"),
        ("454 4.7.0 not now", 75, "does not work now"),
        ("421 4.7.0 going", 75, "does not work now"),
    ] {
        let retry: &[&str] = if exit == 77 { &["--retry", "3"] } else { &[] };
        let run = send(
            move |talk| {
                talk.greet("AUTH PLAIN LOGIN");
                talk.answer("AUTH PLAIN ", reply);
                let rest = talk.hear_to_the_end();
                assert!(rest.iter().all(|line| line == "QUIT"), "{rest:?}");
            },
            retry,
        );
        run.exits(exit).says(words);
    }
}

#[test]
fn a_mechanism_that_is_none_after_all_leads_to_the_next() {
    send(
        |talk| {
            talk.greet("AUTH PLAIN LOGIN");
            talk.answer("AUTH PLAIN ", "504 5.5.4 not this one");
            talk.answer("AUTH LOGIN", "334 VXNlcm5hbWU6");
            talk.answer("", "334 UGFzc3dvcmQ6");
            talk.answer("", "235 welcome");
            talk.take_one(1);
        },
        &[],
    )
    .exits(0);
}

#[test]
fn logins_that_cannot_be_are_told() {
    send(|talk| talk.greet("8BITMIME"), &[]).exits(69).says("the server offers no login");
    send(|talk| talk.greet("AUTH GSSAPI NTLM"), &[]).exits(69).says("the server offers GSSAPI, NTLM");
    send(
        |talk| {
            talk.greet("AUTH LOGIN");
            talk.answer("AUTH LOGIN", "334 YQ==");
            talk.answer("", "334 YQ==");
            talk.answer("", "334 YQ==");
            talk.answer("*", "501 ok");
        },
        &[],
    )
    .exits(76)
    .says("asks more than LOGIN can answer");
}

#[test]
fn a_server_that_wants_a_login_at_mail_is_no_refusal_of_the_recipient() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING, CHUNKING");
        talk.hear();
        talk.hear();
        talk.bdat();
        talk.say("530 5.7.0 Authentication required\n503 x\n503 x");
    });
    let run =
        Sandbox::new().run(&arguments(&server.url(), &["--format", "json"])).exits(77).says("the server wants a login");
    assert_eq!(run.records()[0]["state"], "deferred");
}

#[test]
fn no_password_names_the_ways_out() {
    let server = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT"));
    });
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    let run = Sandbox::new().run(&arguments(&url, &["-o", "allow-plaintext-auth=true"])).exits(78);
    let run = run.says("keyring").says("-o 'password={ file = ").says("{ command = ").says("{ env = ");
    assert!(run.stderr.contains("not sent to a@y.example"), "{run:#?}");
}

#[test]
fn sources_are_taken_in_their_order() {
    let login = |configure: &dyn Fn(&mut Sandbox, &str) -> Vec<String>| {
        let server = Server::new(|talk, _| {
            talk.greet("AUTH PLAIN");
            talk.answer("AUTH PLAIN ", "235 ok");
            talk.take_one(1);
        });
        let mut sandbox = Sandbox::new();
        let file = sandbox.file("password", "from file\n");
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
        let more = configure(&mut sandbox, &file);
        let url = format!("smtp://ada@127.0.0.1:{}", server.port);
        let mut more: Vec<&str> = more.iter().map(String::as_str).collect();
        more.extend(["-o", "allow-plaintext-auth=true"]);
        sandbox.run(&arguments(&url, &more)).exits(0);
        let line = server.only().commands.into_iter().find(|line| line.starts_with("AUTH PLAIN ")).expect("a login");
        let said = encodify::base64::STANDARD.decode(&line["AUTH PLAIN ".len()..]).expect("Base64");
        String::from_utf8(said).expect("UTF-8").split('\0').next_back().expect("a password").to_owned()
    };
    let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    assert_eq!(login(&|_, file| words(&["--password-file", file])), "from file");
    assert_eq!(login(&|_, _| words(&["--password-command", "printf 'from command'"])), "from command");
    assert_eq!(
        login(&|sandbox, _| {
            sandbox.env("MAILSEND_PASSWORD", "from environment");
            words(&["--password-command", "printf flag"])
        }),
        "flag"
    );
    assert_eq!(
        login(&|sandbox, file| {
            sandbox.env("MAILSEND_PASSWORD_FILE", file);
            words(&["-o", "password={ env = \"HOME\" }"])
        }),
        "from file"
    );
    assert_eq!(
        login(&|sandbox, _| {
            sandbox.file("credentials/smtp", "from systemd");
            sandbox.env("CREDENTIALS_DIRECTORY", sandbox.path("credentials").to_str().expect("UTF-8"));
            words(&["-o", "password={ credential = \"smtp\" }"])
        }),
        "from systemd"
    );
}

#[test]
fn a_descriptor_hands_over_a_password() {
    let server = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        assert!(talk.answer("AUTH PLAIN ", "235 ok").ends_with(&base64("\0ada\0from fd")));
        talk.take_one(1);
    });
    let sandbox = Sandbox::new();
    let script = format!(
        "exec {} --server smtp://ada@127.0.0.1:{} -o allow-plaintext-auth=true --password-fd 3 -r s@x.example a@y.example --body hi 3<<'X'\nfrom fd\nX\n",
        env!("CARGO_BIN_EXE_mailsend"),
        server.port
    );
    sandbox.shell(&script).exits(0);
}

/// What stands in a file before the password has been read by somebody else; a socket cannot be opened by name.
#[test]
fn a_descriptor_is_read_from_where_it_stands() {
    let sandbox = Sandbox::new();
    let server = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        assert!(talk.answer("AUTH PLAIN ", "235 ok").ends_with(&base64("\0ada\0second")));
        talk.take_one(1);
    });
    sandbox.file("secrets", "first\nsecond\n");
    let line = format!(
        "exec 3< secrets; read first <&3; exec {} --server smtp://ada@127.0.0.1:{} -o allow-plaintext-auth=true \
         --password-fd 3 -r s@x.example a@y.example --body hi",
        env!("CARGO_BIN_EXE_mailsend"),
        server.port
    );
    sandbox.shell(&line).exits(0).silently();

    let server = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        assert!(talk.answer("AUTH PLAIN ", "235 ok").ends_with(&base64("\0ada\0socket")));
        talk.take_one(1);
    });
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("sockets");
    std::io::Write::write_all(&mut ours, b"socket\n").expect("a line");
    drop(ours);
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    let mut command = sandbox.command(&arguments(&url, &["-o", "allow-plaintext-auth=true", "--password-fd", "0"]));
    command.stdin(std::os::fd::OwnedFd::from(theirs));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    finish(command.spawn().expect("it starts")).exits(0);
    let url = "smtp://ada@127.0.0.1:1";
    let closed = sandbox.run(&arguments(url, &["-o", "allow-plaintext-auth=true", "--password-fd", "7"]));
    assert!(closed.code != 0, "{closed:#?}");
}

/// Latin-1 in a variable is a password like any other, and no server.
#[test]
fn variables_need_not_be_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let latin = std::ffi::OsStr::from_bytes(b"gr\xFC\xDFe");
    let server = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        let line = talk.answer("AUTH PLAIN ", "235 ok");
        assert!(line.ends_with(&encodify::base64::STANDARD.encode(b"\0ada\0gr\xFC\xDFe")), "{line}");
        talk.take_one(1);
    });
    let sandbox = Sandbox::new();
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    let run = |name: &str| {
        let mut command = sandbox.command(&arguments(&url, &["-o", "allow-plaintext-auth=true"]));
        command.env(name, latin).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        finish(command.spawn().expect("it starts"))
    };
    run("MAILSEND_PASSWORD").exits(0);
    run("MAILSEND_EHLO_NAME").exits(78).says("MAILSEND_EHLO_NAME: it is not UTF-8");
}

/// A password command that thinks for long does not keep the news that there is no server.
#[test]
fn a_password_is_not_waited_for_without_a_server() {
    let start = std::time::Instant::now();
    let run = Sandbox::new().run(&arguments(
        "smtp://ada@127.0.0.1:1",
        &["-o", "allow-plaintext-auth=true", "--password-command", "exec sleep 30"],
    ));
    run.exits(75);
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// Ctrl-C at the prompt, or a signal from elsewhere: the terminal shows again what is typed.
#[test]
fn a_prompt_that_is_interrupted_leaves_the_terminal_as_it_was() {
    const SCRIPT: &str = r#"
import os, pty, sys, termios, time
number = int(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
def is_as_it_was():
    modes = termios.tcgetattr(terminal)[3]
    return modes & termios.ECHO and modes & termios.ISIG
said = b""
while b"Password for" not in said:
    said += os.read(terminal, 1000)
assert not is_as_it_was(), "it asks before the terminal is silent"
# It waits for a key.
while termios.tcgetattr(terminal)[3] & termios.ICANON:
    time.sleep(0.01)
if number == 0:
    os.write(terminal, b"\x03")
else:
    os.kill(pid, number)
_, status = os.waitpid(pid, 0)
assert is_as_it_was(), "the terminal shows nothing"
assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == (number or 2), status
"#;
    let mut sandbox = Sandbox::new();
    sandbox.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonesuch");
    sandbox.config("[secrets]\nstore = \"file\"\nfile = \"secrets.json\"\nkey = { file = \"key\" }\n");
    let url = "smtp://ada@127.0.0.1:1";
    // With somebody who listens for signals, and without.
    for arguments in [&arguments(url, &["-o", "allow-plaintext-auth=true"])[..], &["login", "--server", url]] {
        for number in ["0", "1", "2", "3", "15"] {
            let inner = sandbox.command(arguments);
            let mut command = std::process::Command::new("python3");
            command.args(["-c", SCRIPT, number]).arg(inner.get_program()).args(inner.get_args());
            command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let output = command.current_dir(sandbox.path(".")).output().expect("python3");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "signal {number} of {arguments:?}: {said}");
        }
    }
}

#[test]
fn a_password_file_that_others_can_read_is_refused() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("password", SECRET);
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("a mode");
    let server = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT"));
    });
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    let run = sandbox.run(&arguments(&url, &["-o", "allow-plaintext-auth=true", "--password-file", &file])).exits(78);
    run.says("is refused: others than its owner can use it").says(&format!("chmod 600 {file}"));
}

#[test]
fn a_secret_shows_up_nowhere() {
    const CANARY: &str = "kanarienvogel-7319";
    /// What was computed of it.
    static DERIVED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    for (auth, script) in [
        // Some servers give back what they heard.
        (
            "PLAIN",
            (|talk| {
                let heard = talk.expect("AUTH");
                talk.say(&format!("535-5.7.8 wrong: {heard}\n535 5.7.8 ada/{CANARY}"));
            }) as fn(&mut Talk),
        ),
        ("LOGIN", |talk| {
            talk.answer("AUTH", "334 VXNlcm5hbWU6");
            talk.answer("", "334 UGFzc3dvcmQ6");
            let heard = talk.hear();
            talk.say(&format!("535 5.7.8 wrong {heard}"));
        }),
        ("XOAUTH2", |talk| {
            let heard = talk.expect("AUTH");
            talk.say(&format!("334 {}", base64(&format!("{{\"token\":\"{CANARY}\"}}"))));
            talk.answer("", &format!("535 5.7.8 wrong {heard}"));
        }),
        ("OAUTHBEARER", |talk| {
            let heard = talk.expect("AUTH");
            talk.say(&format!("334 {}", base64(&format!("{{\"status\":\"401\",\"error\":\"{CANARY}\"}}"))));
            talk.answer("AQ==", &format!("535 5.7.8 wrong {heard}"));
        }),
        // What these answer is no password, but who has it can try passwords on it.
        ("CRAM-MD5", |talk| {
            talk.answer("AUTH", &format!("334 {}", base64("<1@mx.example>")));
            let heard = talk.hear();
            let said = String::from_utf8(encodify::base64::STANDARD.decode(&heard).expect("Base64")).expect("UTF-8");
            let digest = said.split(' ').next_back().expect("a digest");
            *DERIVED.lock().expect("no panic") = vec![heard.clone(), digest.to_owned()];
            talk.say(&format!("535-5.7.8 wrong {heard}\n535 5.7.8 {digest} {CANARY}"));
        }),
        ("SCRAM-SHA-256", |talk| {
            let first = talk.expect("AUTH").split(' ').next_back().expect("a message").to_owned();
            let first = String::from_utf8(encodify::base64::STANDARD.decode(&first).expect("Base64")).expect("UTF-8");
            let nonce = first.split_once(",r=").expect("a nonce").1;
            let challenge = base64(&format!("r={nonce}server,s=c2FsdA==,i=4096"));
            talk.say(&format!("334 {challenge}"));
            let heard = talk.hear();
            let said = String::from_utf8(encodify::base64::STANDARD.decode(&heard).expect("Base64")).expect("UTF-8");
            let proof = said.split_once(",p=").expect("a proof").1;
            *DERIVED.lock().expect("no panic") = vec![challenge, heard.clone(), proof.to_owned()];
            talk.say(&format!("535-5.7.8 wrong {heard} {proof}\n535 5.7.8 {CANARY}"));
        }),
    ] {
        DERIVED.lock().expect("no panic").clear();
        let server = Server::new(move |talk, _| {
            talk.greet(&format!("STARTTLS, AUTH {auth}"));
            talk.answer("STARTTLS", "220 go");
            assert!(talk.tls(&authority().good));
            talk.hello(&format!("AUTH {auth}"));
            script(talk);
            talk.hear_to_the_end();
        });
        let sandbox = Sandbox::new();
        let ca = format!("tls.ca-file={}", sandbox.file("ca.pem", &authority().ca));
        let file = sandbox.file("password", CANARY);
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
        let url = format!("smtp://ada@localhost:{}?security=starttls", server.port);
        let auth = format!("auth={auth}");
        let more = ["-o", &ca, "-o", &auth, "--password-file", &file, "--trace", "-v", "--report", "run.jsonl"];
        let mut command = sandbox.command(&arguments(&url, &more));
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let child = command.spawn().expect("it starts");
        let argv = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
        let environ = fs::read(format!("/proc/{}/environ", child.id())).unwrap_or_default();
        let run = finish(child).exits(77);
        let records = fs::read_to_string(sandbox.path("run.jsonl")).expect("records");
        assert!(run.stderr.contains("-> AUTH") && run.stderr.contains("***"), "{run:#?}");
        let everything = [
            run.stdout,
            run.stderr,
            records,
            String::from_utf8_lossy(&argv).into(),
            String::from_utf8_lossy(&environ).into(),
        ]
        .concat();
        let derived = DERIVED.lock().expect("no panic").clone();
        assert_eq!(derived.is_empty(), !auth.contains("AM-"));
        for trace in traces_of(CANARY).into_iter().chain(derived) {
            assert!(!everything.contains(&trace), "{trace} is in {everything}");
        }
    }
}

#[test]
fn traces_are_found() {
    // The test above is worth nothing if this fails.
    let secret = "kanarienvogel-7319";
    let plain = base64(&format!("\0ada\0{secret}"));
    let bearer = base64(&format!("user=ada\x01auth=Bearer {secret}\x01\x01"));
    for encoded in [plain, bearer, base64(secret)] {
        assert!(traces_of(secret).iter().any(|trace| encoded.contains(trace.as_str())), "{encoded}");
    }
}

#[test]
fn a_slow_password_command_ends() {
    let run = Sandbox::new();
    let start = std::time::Instant::now();
    let url = "smtp://ada@127.0.0.1:1";
    run.run(&arguments(url, &["--password-command", "exit 1"])).exits(75);
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// What to change is where the password came from.
#[test]
fn a_refused_password_is_told_by_its_source() {
    let refuse = |talk: &mut Talk| {
        talk.greet("AUTH PLAIN");
        talk.answer("AUTH PLAIN ", "535 5.7.8 wrong");
    };
    let run = send(refuse, &[]).exits(77).says("the password from environment variable MAILSEND_PASSWORD");
    assert!(!run.stderr.contains("mailsend login"), "{run:#?}");
    send(refuse, &["--password-command", "echo wrong"]).exits(77).says("the password from command 'echo wrong'");
}
