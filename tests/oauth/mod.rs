//! Logins at a provider: every flow, renewal by many processes at once, crashes, and what is told of a provider that
//! does not keep to the rules. No token and no secret shows up anywhere.

mod answers;
mod flows;
mod renewal;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Child, Stdio},
};

use mailsend::{
    config::{Environment, Files, Request, resolve},
    mail::Secret,
    secret::{Wanted, stores},
};

use crate::support::{
    Run, Sandbox, Server,
    identity::{CLIENT_SECRET, Provider},
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

/// The entry of the profile, decrypted.
fn entry(sandbox: &Sandbox) -> Secret {
    stores::load(&wanted(sandbox), &stores::token_account("ada", "127.0.0.1")).found.expect("an entry").0
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
        web: mailsend::config::WebWay::default(),
        profile_name: profile.name,
        may_prompt: false,
    }
}

/// Sends what Ctrl-C sends.
fn interrupt(run: &Child) {
    let kill = std::process::Command::new("kill").args(["-INT", &run.id().to_string()]).status();
    assert!(kill.expect("kill").success());
}
