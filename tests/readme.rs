//! What the README tells people to write and to type: it is taken from there and run, with another host.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::support::{Sandbox, Server, authority};

const README: &str = include_str!("../README.md");
/// What stands there for a server of one's own.
const SERVER: &str = "smtp.example.com";

/// The blocks of this language below a heading.
fn blocks(heading: &str, language: &str) -> Vec<String> {
    let section = README.split(heading).nth(1).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n### ").next().and_then(|section| section.split("\n## ").next()).expect("a section");
    let start = format!("```{language}\n");
    let blocks = section.split(&start).skip(1);
    blocks.map(|rest| rest.split("```").next().expect("an end").to_owned()).collect()
}

/// A server that takes one message from whoever logs in so.
fn server(user: &'static str, password: &'static str) -> Server {
    Server::new(move |talk, _| {
        assert!(talk.tls(&authority().good));
        talk.greet("AUTH PLAIN");
        let login = encodify::base64::STANDARD.encode(format!("\0{user}\0{password}"));
        assert_eq!(talk.answer("AUTH PLAIN ", "235 welcome"), format!("AUTH PLAIN {login}"));
        talk.take_one(1);
    })
}

/// A sandbox with the binary in its path, whose platform trusts the tests' authority.
fn sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new();
    let ca = sandbox.file("ca.pem", &authority().ca);
    sandbox.env("SSL_CERT_FILE", &ca);
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_mailsend")).parent().expect("a folder");
    sandbox.env("PATH", &format!("{}:/usr/bin:/bin", folder.display()));
    sandbox
}

/// The text with the server of a test instead of that of the README.
fn at(server: &Server, text: &str) -> String {
    text.replace(SERVER, &format!("localhost:{}", server.port))
}

/// The command of a line, from `mailsend` on.
fn command(line: &str) -> String {
    line[line.find("mailsend ").expect("a command")..].to_owned()
}

#[test]
fn every_configuration_holds() {
    let blocks: Vec<&str> =
        README.split("```toml\n").skip(1).map(|rest| rest.split("```").next().expect("an end")).collect();
    assert!(blocks.len() >= 5, "{blocks:#?}");
    for block in blocks {
        let sandbox = Sandbox::new();
        sandbox.config(block);
        let list = sandbox.run(&["profile", "list", "--json"]).exits(0).stdout;
        let list: Vec<serde_json::Value> = serde_json::from_str(&list).expect("JSON");
        assert!(list.iter().all(|profile| profile["error"].is_null() && profile["server"].is_string()), "{list:#?}");
    }
}

#[test]
fn github_and_gitlab() {
    let blocks = blocks("### GitHub, GitLab", "yaml");
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let line = block.lines().find(|line| line.contains("mailsend --server")).expect("a command");
        let server = server("ci", "geheim");
        let mut sandbox = sandbox();
        sandbox.env("MAILSEND_PASSWORD", "geheim").env("GITHUB_RUN_ID", "7").env("CI_JOB_ID", "7");
        sandbox.shell(&at(&server, &command(line))).exits(0).silently();
        let message = String::from_utf8(server.only().messages.remove(0)).expect("7-bit");
        assert!(message.contains("Subject: build 7\r\n"), "{message}");
    }
}

#[test]
fn docker() {
    let block = blocks("### Docker", "sh").remove(0).replace("\\\n", " ");
    let server = server("ci", "geheim");
    let mut sandbox = sandbox();
    let secret = sandbox.file("run/secrets/smtp", "geheim\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).expect("a mode");
    assert!(block.contains("-e MAILSEND_PASSWORD_FILE=/run/secrets/smtp "), "{block}");
    sandbox.env("MAILSEND_PASSWORD_FILE", &secret);
    sandbox.shell(&at(&server, &command(&block))).exits(0).silently();
    assert_eq!(server.only().messages.len(), 1);
}

#[test]
fn systemd() {
    let unit = blocks("### systemd", "ini").remove(0);
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    assert!(unit.contains("LoadCredentialEncrypted=smtp:"), "{unit}");
    let server = server("ada", "geheim");
    let mut sandbox = sandbox();
    sandbox.config(&at(&server, &blocks("### systemd", "toml").remove(0)));
    // As systemd hands it over.
    sandbox.file("credentials/smtp", "geheim");
    sandbox.env("CREDENTIALS_DIRECTORY", sandbox.path("credentials").to_str().expect("UTF-8"));
    sandbox.shell(line).exits(0).silently();
    assert_eq!(server.only().messages.len(), 1);
}

#[test]
fn cron_and_servers_without_a_desktop() {
    let secrets = blocks("### Cron, and servers", "toml").remove(0);
    let login = command(&blocks("### Cron, and servers", "sh").remove(0));
    let server = server("ada", "geheim");
    let mut sandbox = sandbox();
    let account = blocks("### systemd", "toml").remove(0).replace("password = { credential = \"smtp\" }\n", "");
    sandbox.config(&at(&server, &(secrets + &account)));
    sandbox.shell(&format!("echo geheim | {login}")).exits(0);
    assert!(sandbox.path(".config/mailsend/key").exists());
    let job = blocks("## In cron", "sh").remove(0);
    // cron has little in its environment.
    sandbox.without("LOGNAME");
    let job = job.replace("backup 2>&1", "echo all is well").replace("/var/log/", "");
    sandbox.shell(&job).exits(0).silently();
    let message = String::from_utf8(server.only().messages.remove(0)).expect("7-bit");
    assert!(message.contains("all is well"), "{message}");
}
