//! The ways to a token, from the first line of a login to a message that is sent with it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use mailsend::{
    config::StoreKind,
    mail::Secret,
    secret::{Wanted, stores},
};

use super::{LOGIN, SECRET, SEND, clean, count, interrupt, private, sandbox, server, vault};
use crate::{
    stores::{at_terminal, has_keys, nobody},
    support::{
        Run, Sandbox, finish,
        identity::{CERTIFICATE, CLIENT_SECRET, KEY, Provider},
    },
};

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
    sandbox.env("BROWSER", &script).env("MAILSEND_PASSWORD", "canary-password");
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
    sandbox.without("MAILSEND_PASSWORD");
    clean(sandbox.run(&SEND)).exits(0);
    assert_eq!(count(server, "AUTH"), 1);
}

/// Google's clients have a secret that the profile need not name: it is read once and kept with the tokens.
#[test]
fn a_secret_that_was_typed_is_kept() {
    let provider = Provider::new();
    provider.set_lifetime(0);
    let server = server(&provider);
    let sandbox = sandbox(&provider, server.port, "code", "");
    let config = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    sandbox.config(&config.replace("\"custom\"", "\"google\""));
    let mut login = Browsing::new(&sandbox, &LOGIN);
    let stdin = login.child.stdin.as_mut().expect("a pipe");
    writeln!(stdin, "{CLIENT_SECRET}").expect("it reads");
    let address = login.address();
    assert!(
        address.contains("&access_type=offline&prompt=consent") && address.contains("&login_hint=ada"),
        "{address}"
    );
    browse(&consent(&address));
    login.finish().exits(0);
    clean(sandbox.run(&SEND)).exits(0);
    for kind in ["authorization_code", "refresh_token"] {
        assert_eq!(provider.grants(kind)[0].get("client_secret"), CLIENT_SECRET);
    }
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

/// A sandbox where tokens may be in the kernel or in the file, and its user, who is nobody else's; none where the kernel
/// keeps nothing.
fn two_stores(provider: &Provider, name: &str) -> Option<(Sandbox, String)> {
    let mut sandbox = sandbox(provider, 9, "device", SECRET);
    sandbox.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonesuch");
    let user = format!("{name}-{}", std::process::id());
    let config = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    sandbox.config(&config.replace("store = \"file\"\n", "").replace("smtp://ada@", &format!("smtp://{user}@")));
    has_keys(&sandbox).then_some((sandbox, user))
}

#[test]
fn an_old_password_that_moves_is_no_login() {
    let provider = Provider::new();
    let Some((sandbox, user)) = two_stores(&provider, "una") else { return };
    let wanted = Wanted { user: user.clone(), host: "127.0.0.1".to_owned(), ..nobody() };
    let account = stores::password_account(&user, "127.0.0.1");
    stores::save(&wanted, &account, &Secret::new(b"old".to_vec()), Some(StoreKind::Keyutils)).expect("a key");
    let run = clean(sandbox.run(&[&LOGIN[..], &["--store", "file"]].concat())).exits(0);
    run.says("moved the password").says("holds the tokens of una-");
    // Tokens that are there are moved, and nobody has to consent again.
    let asked = provider.asked().len();
    let run = clean(sandbox.run(&[&LOGIN[..], &["--store", "keyutils"]].concat())).exits(0);
    run.says("moved the tokens");
    assert_eq!(provider.asked().len(), asked);
    clean(sandbox.run(&["logout", "-p", "work"])).exits(0);
}

/// The tokens are there: what another store does not let go is a remark.
#[test]
fn a_login_has_worked_even_where_older_tokens_stay() {
    let provider = Provider::new();
    let Some((sandbox, user)) = two_stores(&provider, "ida") else { return };
    clean(sandbox.run(&[&LOGIN[..], &["--store", "file"]].concat())).exits(0);
    // The file can be read, but not be locked.
    let lock = sandbox.path("vault/secrets.json.lock");
    fs::remove_file(&lock).expect("a lock");
    fs::create_dir(&lock).expect("a folder");
    let again = [&LOGIN[..], &["--oauth", "custom", "--store", "keyutils"]].concat();
    let run = clean(sandbox.run(&again)).exits(0);
    run.says("older tokens are still in another store").says("holds the tokens of ida-");
    let config = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    assert!(config.contains("client-1"), "{config}");
    fs::remove_dir(&lock).expect("a folder");
    clean(sandbox.run(&["logout", "-p", "work"])).exits(0).says(&user);
}

/// Nobody else reads from the terminal while a passphrase is typed.
#[test]
fn a_passphrase_is_typed_before_an_address_is_pasted() {
    let provider = Provider::new();
    let mut sandbox = sandbox(&provider, 9, "code", SECRET);
    let config = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    sandbox.config(&config.replace("key = { file = \"key\" }\n", ""));
    // It consents, and follows the way back.
    let browser = sandbox.file(
        "browser",
        "#!/usr/bin/env python3\nimport sys, urllib.request\nurllib.request.urlopen(sys.argv[1]).read()\n",
    );
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).expect("a mode");
    sandbox.env("BROWSER", &browser);
    let run = clean(at_terminal(&sandbox, &LOGIN, &["open sesame", "open sesame"])).exits(0);
    assert!(run.stdout.contains("holds the tokens of ada"), "{run:#?}");
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
fn a_signal_ends_a_login_at_once() {
    let provider = Provider::new();
    let sandbox = sandbox(&provider, 9, "code", "");
    let mut login = Browsing::new(&sandbox, &LOGIN);
    login.address();
    interrupt(&login.child);
    login.finish().exits(-2);
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
    clean(sandbox.run(&wrong)).exits(75).says("no code from http://127.0.0.1:9/").says("oauth.device-endpoint");
    assert_eq!(fs::read_to_string(sandbox.path("config.toml")).expect("a configuration"), config);
}
