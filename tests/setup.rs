//! Setting up an account: what is found for an address, in a network of its own, and that the login is proven first.

use std::{fs, process::Command};

use crate::support::{Run, Sandbox, authority, finish, real::is_here};

const CONFIGURATION: &str = "<clientConfig><emailProvider id='example.test'>\
    <outgoingServer type='smtp'><hostname>told.example.test</hostname><port>465</port><socketType>SSL</socketType>\
    <username>%EMAILLOCALPART%</username></outgoingServer></emailProvider></clientConfig>";

/// Runs in a network in which this plan holds; nothing where such networks cannot be made, which has been said then.
fn run_in(sandbox: &mut Sandbox, plan: &serde_json::Value, arguments: &[&str]) -> Option<Run> {
    let can = rustix::process::geteuid().is_root()
        && Command::new("unshare").args(["--mount", "--net", "true"]).status().is_ok_and(|status| status.success());
    if !is_here("network namespaces (root and unshare)", can) {
        return None;
    }
    let ca = sandbox.file("ca.pem", &authority().ca);
    // Where the platform keeps its authorities.
    sandbox.env("SSL_CERT_FILE", &ca);
    let mut plan = plan.clone();
    plan["chain"] = sandbox.file("chain.pem", &authority().domain.chain).into();
    plan["key"] = sandbox.file("key.pem", &authority().domain.key).into();
    let plan = sandbox.file("plan.json", plan.to_string());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/domain.py");
    let inner = sandbox.command(arguments);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "python3", script, &plan]).arg(inner.get_program()).args(arguments);
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.current_dir(sandbox.path(".")).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    Some(finish(command.spawn().expect("unshare")))
}

const ADD: [&str; 6] = ["profile", "add", "work", "--from", "Ada <ada@example.test>", "--password-command"];

fn add<'a>(command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&ADD[..], &[command], more].concat()
}

#[test]
fn a_server_is_found_by_the_dns_and_the_login_proven() {
    let plan = serde_json::json!({
        "hosts": ["smtp.example.test"],
        "srv": { "_submissions._tcp.example.test": [[0, 0, 465, "smtp.example.test"]] },
        "smtp": [465],
    });
    let mut sandbox = Sandbox::new();
    let Some(run) = run_in(&mut sandbox, &plan, &add("echo mistaken", &[])) else { return };
    run.exits(77).says("the login was refused: 535 5.7.8 wrong").says("nothing was written");
    assert_eq!(fs::read_to_string(sandbox.path("config.toml")).expect("a file"), "");
    let run = run_in(&mut sandbox, &plan, &add("echo sesame", &[])).expect("a network").exits(0);
    let run = run.says("found smtp.example.test:465, security tls (DNS SRV)").says("added profile 'work'");
    assert!(!run.stderr.contains("login"), "the password is named, so none is to be stored: {run:#?}");
    let text = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    let expected = "default-profile = \"work\"\n\n[profiles.work]\nfrom = \"Ada <ada@example.test>\"\n\
        host = \"smtp.example.test\"\nport = 465\nusername = \"ada@example.test\"\n\
        password = { command = \"echo sesame\" }\n";
    assert_eq!(text, expected);
}

/// A password that one server refuses is not for the next.
#[test]
fn a_refused_login_does_not_go_on() {
    let mut sandbox = Sandbox::new();
    let log = sandbox.file("logins", "");
    let plan = serde_json::json!({
        "hosts": ["one.example.test", "two.example.test"],
        "srv": { "_submissions._tcp.example.test": [[0, 0, 465, "one.example.test"], [1, 0, 466, "two.example.test"]] },
        "smtp": [465, 466],
        "log": log,
    });
    let Some(run) = run_in(&mut sandbox, &plan, &add("echo mistaken", &[])) else { return };
    run.exits(77).says("found one.example.test:465").says("found two.example.test:466");
    assert_eq!(fs::read_to_string(log).expect("a log"), "AUTH\n");
}

#[test]
fn a_configuration_at_the_domain_comes_before_the_dns() {
    let plan = serde_json::json!({
        "hosts": ["autoconfig.example.test", "told.example.test"],
        "srv": { "_submissions._tcp.example.test": [[0, 0, 465, "gone.example.test"]] },
        "web": { "autoconfig.example.test/mail/config-v1.1.xml": CONFIGURATION },
        "smtp": [465],
    });
    let mut sandbox = Sandbox::new();
    let Some(run) = run_in(&mut sandbox, &plan, &add("echo sesame", &["--user", "lovelace", "-v"])) else { return };
    let run =
        run.exits(0).says("found told.example.test:465, security tls (the configuration at autoconfig.example.test)");
    run.says("DNS SRV _submission: none");
    let text = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    assert!(text.contains("username = \"lovelace\"") && text.contains("told.example.test"), "{text}");
    // One that takes tokens only gets no password.
    let plan = serde_json::json!({
        "hosts": ["autoconfig.example.test", "told.example.test"],
        "web": { "autoconfig.example.test/mail/config-v1.1.xml":
            CONFIGURATION.replace("</outgoingServer>", "<authentication>OAuth2</authentication></outgoingServer>") },
        "smtp": [465],
        "typed": [],
    });
    let run = run_in(&mut sandbox, &plan, &["profile", "add", "tokens", "-r", "a@example.test"]).expect("a network");
    let run = run.exits(0);
    let words = "told.example.test wants OAuth: mailsend login --profile tokens --oauth custom --client-id ID";
    assert!(run.stdout.contains(words), "{run:#?}");
    // The well-known place of the domain itself; and a server that is not there leads to the next.
    let plan = serde_json::json!({
        "hosts": ["example.test", "told.example.test", "next.example.test"],
        "srv": { "_submissions._tcp.example.test": [[0, 0, 4650, "next.example.test"]] },
        "web": { "example.test/.well-known/autoconfig/mail/config-v1.1.xml": CONFIGURATION },
        "smtp": [4650],
    });
    let run = run_in(
        &mut sandbox,
        &plan,
        &["profile", "add", "next", "-r", "a@example.test", "--password-command", "echo sesame"],
    );
    run.expect("a network").exits(0).says("the configuration at example.test").says("found next.example.test:4650");
    let text = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    assert!(text.contains("host = \"next.example.test\"\nport = 4650\nsecurity = \"tls\"\n"), "{text}");
}

#[test]
fn what_strangers_say_is_not_taken() {
    let plan = serde_json::json!({
        "hosts": ["mail.hoster.test"],
        "srv": { "_submissions._tcp.example.test": [[0, 0, 465, "mail.hoster.test"]] },
        "smtp": [465],
    });
    let mut sandbox = Sandbox::new();
    let Some(run) = run_in(&mut sandbox, &plan, &add("echo sesame", &[])) else { return };
    let run = run.exits(78).says("mail.hoster.test:465 is not of example.test");
    run.says("--server smtps://ada@example.test@HOST");
    let run = run_in(&mut sandbox, &serde_json::json!({}), &add("echo sesame", &[])).expect("a network").exits(78);
    let run = run.says("the server of example.test was not found").says("DNS SRV _submissions: none");
    run.says("configuration at autoconfig.example.test: host 'autoconfig.example.test' was not found");
    assert_eq!(fs::read_to_string(sandbox.path("config.toml")).expect("a file"), "");
}

#[test]
fn who_takes_a_domain_s_mail_may_be_a_known_provider() {
    let plan = serde_json::json!({ "mx": { "example.test": [[1, "aspmx.l.google.com"]] } });
    let mut sandbox = Sandbox::new();
    let Some(run) = run_in(&mut sandbox, &plan, &add("echo x", &["--no-check"])) else { return };
    run.exits(0).says("found smtp.gmail.com:465, security tls (the provider that takes its mail)");
    // A known provider is not looked for; the name of the profile comes from the domain.
    sandbox.run(&["profile", "add", "ada@outlook.com", "--no-check"]).exits(0).says("found smtp-mail.outlook.com:587");
    let shown = sandbox.run(&["profile", "show", "outlook"]).exits(0).stdout;
    assert!(
        shown.contains("username = \"ada@outlook.com\"") && shown.contains("from = \"ada@outlook.com\""),
        "{shown}"
    );
}

/// Everything is asked for: the address, whether a strange host is meant, the password, which is kept.
#[test]
fn at_a_terminal_an_address_and_a_password_are_enough() {
    let mut plan = serde_json::json!({
        "hosts": ["mail.hoster.test"],
        "srv": { "_submissions._tcp.example.test": [[0, 0, 465, "mail.hoster.test"]] },
        "smtp": [465],
        "typed": [["Mail address: ", "ada@example.test"], ["[y/N] ", "y"], ["Password for", "sesame"]],
    });
    let mut sandbox = Sandbox::new();
    sandbox.config("# mine\n[secrets]\nstore = \"file\"\nkey = { file = \"key\" }\n");
    let Some(run) = run_in(&mut sandbox, &plan, &["profile", "add"]) else { return };
    let run = run.exits(0);
    assert!(run.stdout.contains("keeps the password of ada@example.test at mail.hoster.test"), "{run:#?}");
    assert!(!run.stdout.contains("sesame"), "{run:#?}");
    let text = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    assert!(text.contains("# mine\n[secrets]") && text.contains("[profiles.example]\n"), "{text}");
    assert!(!text.contains("password"), "{text}");
    // It is used from now on.
    plan["typed"] = serde_json::json!([]);
    let run = run_in(&mut sandbox, &plan, &["profile", "check"]).expect("a network").exits(0);
    assert!(run.stdout.contains("ada@example.test by PLAIN works"), "{run:#?}");
    // A wrong one is neither kept nor written down, and no is no.
    for (typed, code) in [
        (serde_json::json!([["[y/N] ", "y"], ["Password for", "mistaken"]]), 77),
        (serde_json::json!([["[y/N] ", ""]]), 78),
    ] {
        plan["typed"] = typed;
        let run = run_in(&mut sandbox, &plan, &["profile", "add", "other", "--from", "bob@example.test"]);
        run.expect("a network").exits(code);
        let list = sandbox.run(&["login", "--list"]).exits(0).stdout;
        assert!(list.contains("ada@example.test") && !list.contains("bob"), "{list}");
    }
    assert!(!fs::read_to_string(sandbox.path("config.toml")).expect("a configuration").contains("other"));
}

/// Without any place to keep it, the password is proven and the profile written, and what to do is told.
#[test]
fn a_password_that_cannot_be_kept_is_proven_all_the_same() {
    let plan = serde_json::json!({
        "hosts": ["smtp.example.test"],
        "srv": { "_submissions._tcp.example.test": [[0, 0, 465, "smtp.example.test"]] },
        "smtp": [465],
        "typed": [["Password for", "sesame"]],
    });
    let mut sandbox = Sandbox::new();
    sandbox.config("[secrets]\nstore = \"keyring\"\n");
    let Some(run) = run_in(&mut sandbox, &plan, &["profile", "add", "work", "-r", "ada@example.test"]) else { return };
    let run = run.exits(0);
    assert!(run.stdout.contains("no keyring") && run.stdout.contains("added profile 'work'"), "{run:#?}");
    assert!(run.stdout.contains("next: mailsend login"), "{run:#?}");
    assert!(!run.stdout.contains("was not tried"), "{run:#?}");
}
