//! Logins at a provider: every flow, renewal by many processes at once, crashes, and what is told of a provider that
//! does not keep to the rules. No token and no secret shows up anywhere.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use mailsend::{
    config::{Environment, Files, OAuth, Request, SecretSource, resolve},
    mail::{Cause, Secret},
    secret::{self, Wanted},
};

use crate::support::{
    Run, Sandbox, Server, finish,
    identity::{Answer, CERTIFICATE, CLIENT_SECRET, KEY, Provider},
};

/// A sandbox whose profile logs in at this provider by this flow.
fn sandbox(provider: &Provider, port: u16, flow: &str, more: &str) -> Sandbox {
    let mut sandbox = Sandbox::new();
    let state = sandbox.path("state");
    sandbox.env("XDG_STATE_HOME", state.to_str().expect("a UTF-8 path"));
    private(&sandbox, "client-secret", CLIENT_SECRET);
    fs::create_dir(sandbox.path("vault")).expect("a folder");
    sandbox.config(&format!(
        "[secrets]\nstore = \"file\"\nfile = \"vault/secrets.json\"\nkey = {{ file = \"key\" }}\n\
         [profiles.work] # mine\nserver = \"smtp://ada@127.0.0.1:{port}\"\nfrom = \"ada@x.example\"\n\
         auth = \"XOAUTH2\"\nallow-plaintext-auth = true\n\
         [profiles.work.oauth]\nprovider = \"custom\"\nflow = \"{flow}\"\nclient-id = \"client-1\"\nscopes = \"mail\"\n\
         token-endpoint = \"{}\"\ndevice-endpoint = \"{}\"\nauthorize-endpoint = \"{}\"\n{more}\n",
        provider.url("/token"),
        provider.url("/device"),
        provider.url("/authorize"),
    ));
    sandbox
}

fn private(sandbox: &Sandbox, name: &str, content: &str) -> String {
    let path = sandbox.file(name, content);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    path
}

const SECRET: &str = "client-secret = { file = \"client-secret\" }";
const SEND: [&str; 6] = ["-p", "work", "b@y.example", "--body", "hi", "--trace"];
const LOGIN: [&str; 3] = ["login", "-p", "work"];

/// A server that takes the tokens which the provider has given out, and mail; it bears with clients that vanish.
fn server(provider: &Provider) -> Server {
    let provider = provider.clone();
    Server::new(move |talk, _| {
        talk.say("220 mx.example ESMTP");
        while let Some(line) = talk.hear_or_end() {
            match line.split(' ').next().unwrap_or_default() {
                "EHLO" => talk.say("250-mx.example\n250 AUTH XOAUTH2"),
                "AUTH" => {
                    let words = line.rsplit(' ').next().expect("a token");
                    let words = encodify::base64::STANDARD.decode(words).expect("Base64");
                    let words = String::from_utf8(words).expect("UTF-8");
                    let token =
                        words.strip_prefix("user=ada\x01auth=Bearer ").and_then(|rest| rest.strip_suffix("\x01\x01"));
                    let is_given = provider.has_given(token.expect("a token of ada"));
                    talk.say(if is_given { "235 2.7.0 welcome" } else { "535 5.7.8 no such token" });
                }
                "DATA" => {
                    talk.say("354 go ahead");
                    while talk.hear_or_end().is_some_and(|line| line != ".") {}
                    talk.say("250 2.0.0 taken");
                }
                "QUIT" => return talk.say("221 bye"),
                _ => talk.say("250 2.0.0 fine"),
            }
        }
    })
}

/// How often this command was heard.
fn count(server: Server, command: &str) -> usize {
    let heard = server.heard();
    heard.iter().flat_map(|talk| &talk.commands).filter(|line| line.starts_with(command)).count()
}

/// Nothing of what is secret is told, in no form.
#[track_caller]
fn clean(run: Run) -> Run {
    for trace in ["canary", "Y2FuYXJ5", "NhbmFye", "jYW5hcn"] {
        assert!(!run.stdout.contains(trace) && !run.stderr.contains(trace), "'{trace}' is told in {run:#?}");
    }
    run
}

/// What is in the store, to see whether it has changed.
fn vault(sandbox: &Sandbox) -> Vec<u8> {
    fs::read(sandbox.path("vault/secrets.json")).unwrap_or_default()
}

/// A profile that has logged in with a device code.
fn logged_in(provider: &Provider, port: u16) -> Sandbox {
    let sandbox = sandbox(provider, port, "device", SECRET);
    clean(sandbox.run(&LOGIN)).exits(0);
    sandbox
}

/// Starts a run, its output in pipes.
fn start(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = sandbox.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary starts")
}

#[test]
fn a_device_code_logs_in_and_its_token_sends() {
    let provider = Provider::new();
    provider.set_pending(1);
    let server = server(&provider);
    let sandbox = sandbox(&provider, server.port, "device", SECRET);
    let before = clean(sandbox.run(&SEND)).exits(78);
    before.says("nobody has logged in as ada at 127.0.0.1").says("mailsend login --profile work");
    let run = clean(sandbox.run(&LOGIN)).exits(0).says("https://provider.example/device").says("WDJB-MJHT");
    run.says("holds the tokens of ada at 127.0.0.1").says("next: mailsend profile check --profile work");
    let asked = provider.asked();
    assert_eq!((asked[0].path.as_str(), asked[0].get("scope"), asked.len()), ("/device", "mail", 3));
    assert!(
        asked.iter().all(|asked| asked.get("client_id") == "client-1" && asked.get("client_secret") == CLIENT_SECRET)
    );
    // Encrypted.
    assert!(!String::from_utf8_lossy(&vault(&sandbox)).contains("canary"));
    for _ in 0..2 {
        clean(sandbox.run(&SEND)).exits(0).says("AUTH XOAUTH2 ");
    }
    let mut report = SEND.to_vec();
    report.extend(["--report", "report.jsonl", "-v"]);
    clean(sandbox.run(&report)).exits(0);
    assert!(!fs::read_to_string(sandbox.path("report.jsonl")).expect("a report").contains("canary"));
    clean(sandbox.run(&["profile", "check", "work"])).exits(0);
    clean(sandbox.run(&["profile", "show", "work"])).exits(0);
    assert_eq!(provider.asked().len(), 3, "a living token is used");
    clean(sandbox.run(&["logout", "-p", "work"])).exits(0);
    clean(sandbox.run(&SEND)).exits(78);
    assert_eq!(count(server, "AUTH XOAUTH2"), 4);
}

/// A login whose lines on standard error come as they are told.
struct Browsing {
    child: Child,
    lines: mpsc::Receiver<String>,
    told: Vec<String>,
}

impl Browsing {
    fn new(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let mut command = sandbox.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Self { child, lines, told: Vec::new() }
    }

    /// The address to open.
    fn address(&mut self) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(20)).expect("an address is told");
            self.told.push(line.clone());
            if let Some(address) = line.strip_prefix("  http://") {
                return format!("http://{address}");
            }
        }
    }

    fn finish(mut self) -> Run {
        drop(self.child.stdin.take());
        let mut run = finish(self.child);
        run.stderr = self.told.into_iter().chain(self.lines).collect::<Vec<_>>().join("\n");
        clean(run)
    }
}

/// Opens an address as a browser does; returns the whole answer.
fn browse(address: &str) -> String {
    let rest = address.strip_prefix("http://").expect("http");
    let (host, target) = rest.split_at(rest.find(['/', '?']).expect("a path or a query"));
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let mut stream = TcpStream::connect(host).expect("somebody listens");
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Consents; returns the address to which the browser is sent.
fn consent(address: &str) -> String {
    let answer = browse(address);
    let location = answer.lines().find_map(|line| line.strip_prefix("Location: "));
    location.unwrap_or_else(|| panic!("no way back: {answer}")).to_owned()
}

#[test]
fn a_browser_comes_back_with_a_code() {
    let provider = Provider::new();
    let server = server(&provider);
    let mut sandbox = sandbox(&provider, server.port, "code", SECRET);
    // A browser that writes down what its address, its command line and its environment are.
    let script = sandbox.file(
        "browser",
        "#!/bin/sh\n{ echo \"$1\"; env; cat /proc/$$/cmdline; } > opened.part\nmv opened.part opened\n",
    );
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a mode");
    sandbox.env("BROWSER", &script).env("MAILSEND_PASSWORD", "").env("XDG_RUNTIME_DIR", "/nonesuch");
    let mut login = Browsing::new(&sandbox, &LOGIN);
    let back = consent(&login.address());
    assert!(browse(&back.replace('?', "/favicon.ico?")).starts_with("HTTP/1.1 404 "));
    assert!(browse(&back).starts_with("HTTP/1.1 200 "));
    login.finish().exits(0).says("A browser was started").says("holds the tokens of ada");
    let opened = fs::read_to_string(sandbox.path("opened")).expect("the browser was started");
    assert!(opened.starts_with(&provider.url("/authorize?response_type=code&client_id=client-1&")), "{opened}");
    assert!(!opened.contains("canary"), "{opened}");
    let asked = provider.asked();
    assert_eq!((asked[0].get("login_hint"), asked[0].get("scope")), ("ada", "mail"));
    assert!(asked[0].get("code_verifier").is_empty() && asked[0].get("client_secret").is_empty());
    clean(sandbox.run(&SEND)).exits(0);
    assert_eq!(count(server, "AUTH"), 1);
}

#[test]
fn an_address_can_be_pasted_where_no_browser_comes_back() {
    let provider = Provider::new();
    let sandbox = sandbox(&provider, 9, "code", "redirect-uri = \"http://localhost/back\"");
    let mut login = Browsing::new(&sandbox, &LOGIN);
    let address = login.address();
    assert!(address.contains("redirect_uri=http%3A%2F%2Flocalhost%3A"), "{address}");
    let back = consent(&address);
    assert!(back.contains("/back?code="), "{back}");
    let stdin = login.child.stdin.as_mut().expect("a pipe");
    writeln!(stdin, "what?\n {back}").expect("it reads");
    login.finish().exits(0).says("That is no such address").says("To log in, open this address");
}

#[test]
fn another_state_is_refused_and_nothing_is_stored() {
    let provider = Provider::new();
    let sandbox = sandbox(&provider, 9, "code", "");
    let mut login = Browsing::new(&sandbox, &LOGIN);
    let back = consent(&login.address());
    let (front, _) = back.split_once("state=").expect("a state");
    assert!(browse(&format!("{front}state=another")).starts_with("HTTP/1.1 400 "));
    login.finish().exits(77).says("does not belong to this login (another state)");
    clean(sandbox.run(&["login", "--list"])).exits(0).says("Nothing is stored");
    // Nobody used the code.
    assert!(provider.asked().iter().all(|asked| asked.path == "/authorize"));

    let mut login = Browsing::new(&sandbox, &LOGIN);
    let address = login.address();
    let state = address.split_once("&state=").expect("a state").1.split('&').next().expect("a state").to_owned();
    let back = consent(&address);
    let (front, _) = back.split_once("code=").expect("a code");
    assert!(
        browse(&format!("{front}error=access_denied&error_description=no%1B%20way&state={state}"))
            .contains("Not logged in")
    );
    login.finish().exits(77).says("access_denied (no\u{FFFD} way)").says("log in again: mailsend login --profile work");
}

#[test]
fn a_client_alone_shows_its_secret_or_signs() {
    let provider = Provider::new();
    let server = server(&provider);
    let sandbox = sandbox(&provider, server.port, "client-credentials", SECRET);
    clean(sandbox.run(&LOGIN)).exits(0).says("there is nothing to store");
    clean(sandbox.run(&SEND)).exits(0);
    let key = private(&sandbox, "client.pem", KEY);
    let certificate = sandbox.file("client.crt", CERTIFICATE);
    let (key, certificate) = (format!("oauth.private-key={key}"), format!("oauth.certificate={certificate}"));
    for (name, value) in [("custom", "RS256"), ("microsoft", "PS256")] {
        let kind = format!("oauth.provider={name}");
        let mut arguments = SEND.to_vec();
        arguments.extend(["-o", &kind, "-o", &key, "-o", &certificate]);
        clean(sandbox.run(&arguments)).exits(0);
        let asked = provider.asked().pop().expect("a request");
        assert_eq!(asked.get("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let header = asked.get("client_assertion").split('.').next().expect("a header").to_owned();
        let header = encodify::base64::URL_SAFE_NO_PAD.decode(header).expect("Base64");
        let header: serde_json::Value = serde_json::from_slice(&header).expect("JSON");
        assert_eq!(header["alg"], value);
        assert_eq!(header["x5t#S256"], "H1jG_5gE7WeInGAmoe_SV4eCLJjUIcEuLRA69yZtfN8");
        assert!(asked.get("client_secret").is_empty());
    }
    let mut without = SEND.to_vec();
    without.extend(["-o", "oauth.provider=microsoft", "-o", &key]);
    clean(sandbox.run(&without)).exits(78).says("oauth.certificate is wanted");
    sandbox.file("client-secret", "another");
    clean(sandbox.run(&SEND)).exits(78).says("invalid_client").says("oauth.client-secret");
    assert_eq!(count(server, "AUTH"), 3);
    assert!(vault(&sandbox).is_empty());
}

#[test]
fn a_service_account_acts_for_the_user() {
    let provider = Provider::new();
    let server = server(&provider);
    let sandbox = sandbox(&provider, server.port, "service-account", "service-account = \"robot.json\"");
    let account = serde_json::json!({
        "type": "service_account", "client_email": "robot@project.example", "private_key": KEY,
        "private_key_id": "1", "token_uri": provider.url("/token"),
    });
    let path = private(&sandbox, "robot.json", &account.to_string());
    let scope = "oauth.scopes=https://mail.google.com/";
    let arguments: Vec<&str> = SEND.iter().copied().chain(["-o", scope]).collect();
    clean(sandbox.run(&arguments)).exits(0);
    clean(sandbox.run(&["login", "-p", "work", "-o", scope])).exits(0).says("there is nothing to store");
    clean(sandbox.run(&SEND)).exits(77).says("invalid_grant").says("a user of the domain");
    let run = |text: &str| {
        fs::write(&path, text).expect("a file");
        clean(sandbox.run(&SEND)).exits(78)
    };
    run("{\"client_email\":\"x\",\"private_key\":\"canary\"}").says("RSA key is wanted");
    run("canary").says("it is no JSON of an account");
    run(&account.to_string().replace("http://127.0.0.1", "http://192.0.2.1")).says("no https address");
    assert_eq!(count(server, "AUTH"), 1);
}

#[test]
fn a_token_is_renewed_and_the_next_refresh_token_kept() {
    let provider = Provider::new();
    let server = server(&provider);
    provider.set_lifetime(0);
    let sandbox = logged_in(&provider, server.port);
    for round in 1..=3 {
        clean(sandbox.run(&SEND)).exits(0);
        let renewals = provider.grants("refresh_token");
        assert_eq!(renewals.len(), round);
        assert_eq!(renewals[round - 1].get("refresh_token"), format!("canary-refresh-{round}"));
        assert_eq!(renewals[round - 1].get("client_secret"), CLIENT_SECRET);
    }
    provider.set_lifetime(3_600);
    for _ in 0..2 {
        clean(sandbox.run(&SEND)).exits(0);
    }
    assert_eq!(provider.grants("refresh_token").len(), 4);
    assert_eq!(count(server, "MAIL"), 5);
}

#[test]
fn ten_processes_renew_once() {
    let provider = Provider::new();
    let server = server(&provider);
    provider.set_lifetime(0);
    let sandbox = logged_in(&provider, server.port);
    provider.set_lifetime(3_600);
    let runs: Vec<Child> = (0..10).map(|_| start(&sandbox, &SEND)).collect();
    for run in runs {
        clean(finish(run)).exits(0);
    }
    assert_eq!(provider.grants("refresh_token").len(), 1);
    assert_eq!(count(server, "MAIL"), 10);
    // The store has the newest refresh token: it is what the next renewal uses.
    let newest = provider.newest_refresh_token();
    let stale = Secret::new(provider.newest_access_token().into_bytes());
    let found = secret::refresh(&wanted(&sandbox), &stale).expect("a token");
    assert_eq!(found.secret.expose(), provider.newest_access_token().as_bytes());
    assert_eq!(provider.grants("refresh_token").pop().expect("a renewal").get("refresh_token"), newest);
}

/// What the binary would want for the profile of a sandbox.
fn wanted(sandbox: &Sandbox) -> Wanted {
    let state = sandbox.path("state");
    let environment = Environment::from([("XDG_STATE_HOME", state.to_str().expect("a UTF-8 path"))]);
    let files = Files::load(Some(&sandbox.path("config.toml")), &environment).expect("a configuration");
    let request = Request { profile: Some("work".to_owned()), ..Request::default() };
    let profile = resolve(&request, &files, &environment).expect("a profile");
    Wanted {
        user: "ada".to_owned(),
        host: "127.0.0.1".to_owned(),
        flag: None,
        environment,
        profile: None,
        oauth: profile.oauth,
        secrets: profile.secrets,
        profile_name: profile.name,
        may_prompt: false,
    }
}

#[test]
fn a_refused_token_is_renewed_once() {
    let provider = Provider::new();
    let sandbox = logged_in(&provider, 9);
    let wanted = wanted(&sandbox);
    let stale = secret::get(&wanted).expect("a token").secret;
    assert!(provider.grants("refresh_token").is_empty(), "it is alive");
    let first = secret::refresh(&wanted, &stale).expect("a token").secret;
    // Another process that had the same one takes what is there.
    let second = secret::refresh(&wanted, &stale).expect("a token").secret;
    assert_eq!((&first, provider.grants("refresh_token").len()), (&second, 1));
    assert_ne!(first, stale);
    assert_eq!(secret::get(&wanted).expect("a token").secret, first);

    let of_call =
        Wanted { flag: Some(SecretSource::File(private(&sandbox, "token", "canary-t").into())), ..wanted.clone() };
    let error = secret::refresh(&of_call, &stale).expect_err("a file has no other");
    assert_eq!(error.cause, Cause::Login);
    let of_command = Wanted { oauth: Some(OAuth::Command("echo newer".to_owned())), ..wanted };
    assert_eq!(secret::refresh(&of_command, &stale).expect("a token").secret.expose(), b"newer");
}

/// Whenever a process is killed, the next one can renew.
#[test]
fn a_killed_renewal_loses_nothing() {
    let seed = std::process::id().wrapping_mul(2_654_435_761);
    println!("seed {seed}");
    let mut random = seed;
    let provider = Provider::new();
    let server = server(&provider);
    provider.set_lifetime(0);
    let sandbox = logged_in(&provider, server.port);
    for round in 0..15 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut run = start(&sandbox, &SEND);
        // Any moment will do: of its start, of the renewal, of the delivery.
        thread::sleep(Duration::from_millis(u64::from(random >> 16) % 80));
        run.kill().expect("it is ours");
        finish(run);
        let run = clean(sandbox.run(&SEND));
        assert_eq!(run.code, 0, "round {round} of seed {seed}: {run:#?}");
    }
    drop(server.heard());
}

/// A provider that tells of every renewal and waits before it answers.
fn slow_provider() -> (Provider, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (asked, is_asked) = mpsc::channel();
    let (answer, may_answer) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new((asked, may_answer));
    let provider = Provider::with(move |request| {
        if request.get("grant_type") == "refresh_token" {
            let gate = gate.lock().expect("no test panics with it");
            gate.0.send(()).expect("the test waits");
            gate.1.recv_timeout(Duration::from_secs(20)).expect("the test answers");
        }
        None
    });
    provider.set_lifetime(0);
    (provider, is_asked, answer)
}

#[test]
fn a_process_killed_between_question_and_answer_loses_nothing() {
    let (provider, is_asked, answer) = slow_provider();
    let server = server(&provider);
    let sandbox = logged_in(&provider, server.port);
    for _ in 0..3 {
        let mut run = start(&sandbox, &SEND);
        is_asked.recv_timeout(Duration::from_secs(20)).expect("a renewal");
        run.kill().expect("it is ours");
        finish(run);
        // The provider has given the token a successor that nobody got, and the next run goes on.
        for _ in 0..2 {
            answer.send(()).expect("the provider waits");
        }
        clean(sandbox.run(&SEND)).exits(0);
    }
    drop(server.heard());
}

/// A signal during the renewal waits for the new token to be stored.
#[test]
fn a_signal_during_a_renewal_loses_nothing() {
    let (provider, is_asked, answer) = slow_provider();
    let server = server(&provider);
    let sandbox = logged_in(&provider, server.port);
    for command in [&SEND[..], &["profile", "check", "work"]] {
        let run = start(&sandbox, command);
        is_asked.recv_timeout(Duration::from_secs(20)).expect("a renewal");
        interrupt(&run);
        // The signal is there before the answer; the process must not be gone before it is stored.
        thread::sleep(Duration::from_millis(200));
        answer.send(()).expect("the provider waits");
        clean(finish(run)).exits(-2);
    }
    // Both new tokens were stored: a third renewal uses the newest.
    let newest = provider.newest_refresh_token();
    answer.send(()).expect("the provider waits");
    clean(sandbox.run(&SEND)).exits(0);
    assert_eq!(provider.grants("refresh_token").pop().expect("a renewal").get("refresh_token"), newest);
    drop(server.heard());
}

/// Nobody waits for ever for a provider that does not answer.
#[test]
fn a_signal_ends_a_renewal_that_hangs() {
    let (asked, is_asked) = mpsc::channel();
    let asked = std::sync::Mutex::new(asked);
    let provider = Provider::with(move |request| {
        let is_renewal = request.get("grant_type") == "refresh_token";
        is_renewal.then(|| {
            asked.lock().expect("no test panics with it").send(()).expect("the test waits");
            Answer::Hang
        })
    });
    let server = server(&provider);
    provider.set_lifetime(0);
    let sandbox = logged_in(&provider, server.port);
    let run = start(&sandbox, &SEND);
    is_asked.recv_timeout(Duration::from_secs(20)).expect("a renewal");
    let start = Instant::now();
    interrupt(&run);
    clean(finish(run)).exits(-2);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    drop(server.heard());
}

fn interrupt(run: &Child) {
    let kill = std::process::Command::new("kill").args(["-INT", &run.id().to_string()]).status();
    assert!(kill.expect("kill").success());
}

#[test]
fn a_store_that_cannot_be_written_is_found_before_the_token_is_used_up() {
    let provider = Provider::new();
    let server = server(&provider);
    provider.set_lifetime(0);
    let sandbox = logged_in(&provider, server.port);
    let before = vault(&sandbox);
    // Every write to a file fails, as on a full disk.
    let line =
        format!("trap '' XFSZ; ulimit -f 0; exec {} -p work b@y.example --body hi", env!("CARGO_BIN_EXE_mailsend"));
    clean(sandbox.shell(&line)).exits(78).says("a new one could not be stored");
    assert_eq!(vault(&sandbox), before);
    assert!(provider.grants("refresh_token").is_empty());
    clean(sandbox.run(&SEND)).exits(0);
    drop(server.heard());
}

/// The store goes away between question and answer: the new token is put aside, and finds its way back.
#[test]
fn a_token_that_no_store_takes_is_put_aside() {
    let place = std::sync::Arc::new(std::sync::Mutex::new(None::<std::path::PathBuf>));
    let provider = Provider::with({
        let place = place.clone();
        move |request| {
            if request.get("grant_type") == "refresh_token"
                && let Some(folder) = place.lock().expect("no test panics with it").take()
            {
                fs::rename(&folder, folder.with_extension("away")).expect("a folder");
                fs::write(&folder, "no folder").expect("a file");
            }
            None
        }
    });
    let server = server(&provider);
    provider.set_lifetime(0);
    let sandbox = logged_in(&provider, server.port);
    let folder = sandbox.path("vault");
    *place.lock().expect("no test panics with it") = Some(folder.clone());
    provider.set_lifetime(3_600);
    clean(sandbox.run(&SEND)).exits(0);
    let aside: Vec<_> = fs::read_dir(sandbox.path("state/mailsend/locks"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "tokens"))
        .collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::metadata(&aside[0]).expect("a file").permissions().mode() & 0o777, 0o600);
    fs::remove_file(&folder).expect("a file");
    fs::rename(folder.with_extension("away"), &folder).expect("a folder");
    clean(sandbox.run(&SEND)).exits(0);
    assert!(!aside[0].exists());
    clean(sandbox.run(&SEND)).exits(0);
    assert_eq!(provider.grants("refresh_token").len(), 1);
    drop(server.heard());
}

#[test]
fn what_is_wrong_with_an_answer_is_told_and_the_store_stays() {
    let wrong = std::sync::Arc::new(std::sync::Mutex::new(None::<(u16, &str, String)>));
    let provider = Provider::with({
        let wrong = wrong.clone();
        move |request| {
            let (status, kind, body) = wrong.lock().expect("no test panics with it").clone()?;
            let body =
                body.replace("ECHO", &request.fields.iter().map(|(_, value)| value.as_str()).collect::<String>());
            Some(Answer::Say(status, kind, body))
        }
    });
    provider.set_lifetime(0);
    let server = server(&provider);
    let sandbox = logged_in(&provider, server.port);
    let json = "application/json";
    for (answer, exit, words) in [
        ((200, "text/html", "<html>canary</html>"), 78, "something else than JSON: status 200, text/html"),
        ((503, "text/plain", ""), 78, "status 503, text/plain"),
        (
            (400, json, "{\"error\":\"invalid_grant\",\"error_description\":\"gone: ECHO\"}"),
            77,
            "log in again: mailsend login",
        ),
        ((401, json, "{\"error\":\"invalid_client\"}"), 78, "oauth.client-id"),
        ((200, json, "{}"), 78, "there is no access token in the answer"),
        ((200, json, "{\"access_token\":\"a\",\"token_type\":\"mac\"}"), 78, "another type than Bearer"),
        ((200, json, "{\"access_token\":\"a\\u0000\"}"), 78, "characters that no token has"),
        ((200, json, "{\"access_token\":\"a\",\"expires_in\":-1}"), 78, "expires_in"),
    ] {
        *wrong.lock().expect("no test panics with it") = Some((answer.0, answer.1, answer.2.to_owned()));
        let run = sandbox.run(&["-p", "work", "b@y.example", "--body", "hi"]).exits(exit);
        clean(run).says(words).says(&provider.url("/token"));
    }
    // The refresh token of the login is still there.
    *wrong.lock().expect("no test panics with it") = None;
    clean(sandbox.run(&["profile", "check", "work"])).exits(0);
    assert_eq!(provider.grants("refresh_token").pop().expect("a renewal").get("refresh_token"), "canary-refresh-1");
    drop(server.heard());
}

#[test]
fn a_login_that_brings_no_refresh_token_changes_nothing() {
    let is_wrong = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let provider = Provider::with({
        let is_wrong = is_wrong.clone();
        move |request| {
            let is_poll = request.path == "/token" && is_wrong.load(std::sync::atomic::Ordering::SeqCst);
            let body = "{\"access_token\":\"canary-x\",\"token_type\":\"Bearer\"}".to_owned();
            is_poll.then(|| Answer::Say(200, "application/json", body))
        }
    });
    let sandbox = logged_in(&provider, 9);
    let before = vault(&sandbox);
    is_wrong.store(true, std::sync::atomic::Ordering::SeqCst);
    clean(sandbox.run(&LOGIN)).exits(78).says("no refresh token").says("offline_access");
    assert_eq!(vault(&sandbox), before);
}

#[test]
fn an_entry_that_is_damaged_or_somebody_else_s_is_not_used() {
    let provider = Provider::new();
    let server = server(&provider);
    let sandbox = logged_in(&provider, server.port);
    for option in ["oauth.client-id=client-2", &format!("oauth.token-endpoint={}", provider.url("/other"))] {
        let mut arguments = SEND.to_vec();
        arguments.extend(["-o", option]);
        clean(sandbox.run(&arguments)).exits(78).says("are not for the profile").says("mailsend login --profile work");
    }
    clean(sandbox.run(&SEND)).exits(0);
    drop(server.heard());
}

#[test]
fn a_token_of_the_call_wins_and_a_command_is_asked() {
    let provider = Provider::new();
    provider.set_lifetime(3_600);
    let server = server(&provider);
    let sandbox = logged_in(&provider, server.port);
    let token = provider.newest_access_token();
    let tokens = private(&sandbox, "token", &token);
    let asked = provider.asked().len();
    let mut arguments = SEND.to_vec();
    arguments.extend(["--password-file", &tokens]);
    clean(sandbox.run(&arguments)).exits(0);
    let config = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    let (head, _) = config.split_once("[profiles.work.oauth]").expect("a table");
    sandbox.config(&format!("{head}oauth = {{ command = \"cat {tokens}\" }}\n"));
    clean(sandbox.run(&SEND)).exits(0);
    clean(sandbox.run(&LOGIN)).exits(64).says("brings the tokens");
    sandbox.config(&format!("{head}oauth = {{ command = \"false\" }}\n"));
    clean(sandbox.run(&SEND)).exits(78).says("command 'false'");
    assert_eq!(provider.asked().len(), asked);
    assert_eq!(count(server, "AUTH"), 2);
}

#[test]
fn a_login_writes_down_how() {
    let provider = Provider::new();
    let sandbox = sandbox(&provider, 9, "device", "");
    let config = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    let (head, _) = config.split_once("[profiles.work.oauth]").expect("a table");
    sandbox.config(head);
    let options = [
        format!("oauth.token-endpoint={}", provider.url("/token")),
        format!("oauth.device-endpoint={}", provider.url("/device")),
        "oauth.client-secret={ file = \"client-secret\" }".to_owned(),
    ];
    let mut arguments = vec!["login", "-p", "work", "--oauth", "custom", "--client-id", "client-9"];
    for option in &options {
        arguments.extend(["-o", option]);
    }
    clean(sandbox.run(&arguments)).exits(0).says("profile 'work' now logs in so");
    let config = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    assert!(config.starts_with(head) && config.contains("# mine"), "{config}");
    let shown = sandbox.run(&["profile", "show", "work"]).exits(0);
    assert!(shown.stdout.contains("oauth.client-id") && shown.stdout.contains("client-9"), "{shown:?}");
    assert!(config.contains(sandbox.path("client-secret").to_str().expect("a UTF-8 path")), "{config}");
    // A login that fails writes nothing.
    let mut wrong = arguments.clone();
    wrong[6] = "client-10";
    wrong.extend(["-o", "oauth.device-endpoint=http://127.0.0.1:9/"]);
    clean(sandbox.run(&wrong)).exits(78);
    assert_eq!(fs::read_to_string(sandbox.path("config.toml")).expect("a configuration"), config);
}
