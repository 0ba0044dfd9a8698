//! Tokens that end: one renewal for all processes, and nothing lost whatever dies meanwhile.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::Child,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use mailsend::{
    config::{OAuth, SecretSource},
    mail::{Cause, Secret},
    secret::{self, Wanted},
};

use super::{SEND, clean, count, interrupt, logged_in, private, server, start, vault, wanted};
use crate::support::{
    Server, finish,
    identity::{Answer, CLIENT_SECRET, Provider},
};

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
    let gate = Mutex::new((asked, may_answer));
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
    let asked = Mutex::new(asked);
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
    clean(sandbox.shell(&line)).exits(74).says("a new one could not be stored");
    assert_eq!(vault(&sandbox), before);
    assert!(provider.grants("refresh_token").is_empty());
    // A login does not let anybody consent in vain.
    let asked = provider.asked().len();
    let line = line.replace("b@y.example --body hi", "").replace(" -p", " login -p");
    clean(sandbox.shell(&line)).exits(74);
    assert_eq!((provider.asked().len(), vault(&sandbox)), (asked, before));
    clean(sandbox.run(&SEND)).exits(0);
    drop(server.heard());
}

/// The store goes away between question and answer: the new token is put aside, and finds its way back.
#[test]
fn a_token_that_no_store_takes_is_put_aside() {
    let place = Arc::new(Mutex::new(None::<std::path::PathBuf>));
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
    let run = clean(sandbox.run(&SEND)).exits(0).says("could not be stored");
    let run = run.says("until the next run stores them");
    let aside: Vec<_> = fs::read_dir(sandbox.path("state/mailsend/locks"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "tokens"))
        .collect();
    assert_eq!(aside.len(), 1);
    run.says(aside[0].to_str().expect("a UTF-8 path"));
    assert_eq!(fs::metadata(&aside[0]).expect("a file").permissions().mode() & 0o777, 0o600);
    fs::remove_file(&folder).expect("a file");
    fs::rename(folder.with_extension("away"), &folder).expect("a folder");
    let run = clean(sandbox.run(&SEND)).exits(0);
    assert!(!aside[0].exists() && !run.stderr.contains("could not be stored"), "{run:#?}");
    clean(sandbox.run(&SEND)).exits(0);
    assert_eq!(provider.grants("refresh_token").len(), 1);
    drop(server.heard());
}

/// A source of the client's secret may take long: others must not wait for it with the lock.
#[test]
fn a_slow_client_secret_is_asked_without_the_lock() {
    let provider = Provider::new();
    provider.set_lifetime(0);
    let sandbox = logged_in(&provider, 9);
    let config = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    let gate = sandbox.path("gate");
    let command = format!("touch asked; while ! test -e gate; do sleep 0.01; done; echo {CLIENT_SECRET}");
    let command = command.replace("asked;", &format!("{};", sandbox.path("asked").display()));
    let command = command.replace("-e gate", &format!("-e {}", gate.display()));
    sandbox.config(&config.replace("{ file = \"client-secret\" }", &format!("{{ command = \"{command}\" }}")));
    let wanted = wanted(&sandbox);
    let asking = thread::spawn({
        let wanted = wanted.clone();
        move || secret::get(&wanted)
    });
    let start = Instant::now();
    while !sandbox.path("asked").exists() {
        assert!(start.elapsed() < Duration::from_secs(20), "the source is not asked");
        thread::sleep(Duration::from_millis(5));
    }
    drop(secret::oauth::hold(&wanted).expect("the lock is free"));
    fs::write(&gate, "").expect("a file");
    asking.join().expect("no panic").expect("a token");
    assert_eq!(provider.grants("refresh_token")[0].get("client_secret"), CLIENT_SECRET);
}

/// A provider out of order is asked again, as a server is.
#[test]
fn trouble_of_the_provider_passes() {
    let answers = Arc::new(Mutex::new(0));
    let provider = Provider::with({
        let answers = answers.clone();
        move |request| {
            let is_renewal = request.get("grant_type") == "refresh_token";
            let mut answers = answers.lock().expect("no test panics with it");
            *answers += u32::from(is_renewal);
            let body = "<html>canary</html>".to_owned();
            (is_renewal && *answers == 1).then_some(Answer::Say(502, "text/html", body))
        }
    });
    let server = server(&provider);
    provider.set_lifetime(0);
    let sandbox = logged_in(&provider, server.port);
    let run = clean(sandbox.run(&[&SEND[..], &["--retry", "1", "-o", "retry.initial-delay=1s"]].concat())).exits(0);
    assert!(!run.stderr.contains("token-endpoint"), "{run:#?}");
    assert_eq!((*answers.lock().expect("no test panics with it"), count(server, "MAIL")), (2, 1));
    // Nobody is there, or nobody knows where.
    for (endpoint, exit) in [("http://127.0.0.1:9/token", 75), ("https://nonesuch.invalid/token", 68)] {
        let config = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
        sandbox.config(&config.replace("\"device\"", "\"client-credentials\""));
        let option = format!("oauth.token-endpoint={endpoint}");
        clean(sandbox.run(&[&["login", "-p", "work"][..], &["-o", &option]].concat())).exits(exit).says(endpoint);
    }
}

/// A login replaces what other stores have.
#[test]
fn tokens_are_in_one_store() {
    let provider = Provider::new();
    let mut sandbox = super::sandbox(&provider, 9, "device", super::SECRET);
    let config = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    let user = format!("tina-{}", std::process::id());
    let config = config.replace("store = \"file\"\n", "").replace("smtp://ada@", &format!("smtp://{user}@"));
    sandbox.config(&config);
    sandbox.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonesuch");
    let first = sandbox.run(&[&super::LOGIN[..], &["--store", "keyutils"]].concat());
    if first.code != 0 {
        assert!(first.stderr.contains("the kernel's keys"), "{first:#?}");
        eprintln!("skipped: keys of the kernel are refused here");
        return;
    }
    let rows = || {
        let list = sandbox.run(&["login", "--list"]).exits(0).stdout;
        list.lines().filter(|line| line.contains(&user)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(matches!(&rows()[..], [row] if row.starts_with("tokens ") && row.ends_with("  keyutils")), "{:?}", rows());
    // Another client, so that a login is needed and nothing is moved.
    clean(sandbox.run(&[&super::LOGIN[..], &["--oauth", "custom", "--store", "file"]].concat())).exits(0);
    assert!(matches!(&rows()[..], [row] if row.starts_with("tokens ") && row.ends_with("  file")), "{:?}", rows());
    sandbox.run(&["logout", "-p", "work"]).exits(0);
    assert!(rows().is_empty());
}

/// A server that refuses the first `refused` tokens with a status, and hangs up then; it tells which tokens it was shown.
fn strict_server(refused: usize, status: &'static str) -> (Server, Arc<Mutex<Vec<String>>>) {
    let shown: Arc<Mutex<Vec<String>>> = Arc::default();
    let server = Server::new({
        let shown = shown.clone();
        move |talk, number| {
            talk.greet("AUTH XOAUTH2");
            let line = talk.expect("AUTH XOAUTH2 ");
            let words = encodify::base64::STANDARD.decode(&line["AUTH XOAUTH2 ".len()..]).expect("Base64");
            shown.lock().expect("no test panics with it").push(String::from_utf8(words).expect("UTF-8"));
            if number >= refused {
                talk.say("235 welcome");
                talk.take_one(1);
                return;
            }
            talk.say(&format!("334 {}", encodify::base64::STANDARD.encode(format!("{{\"status\":\"{status}\"}}"))));
            talk.answer("", "535 5.7.8 expired");
            talk.close();
        }
    });
    (server, shown)
}

#[test]
fn a_token_that_the_server_calls_expired_is_renewed_for_the_same_message() {
    let provider = Provider::new();
    let (server, shown) = strict_server(1, "401");
    let sandbox = logged_in(&provider, server.port);
    clean(sandbox.run(&[&SEND[..], &["-v"]].concat())).exits(0).says("the token was refused; another is asked for");
    assert_eq!(provider.grants("refresh_token").len(), 1);
    let shown = shown.lock().expect("no test panics with it");
    assert!(shown.len() == 2 && shown[0] != shown[1], "{shown:?}");
    assert_eq!(server.heard().len(), 2);
}

/// Another token would not be taken either.
#[test]
fn a_refusal_of_something_else_renews_nothing() {
    let provider = Provider::new();
    let (server, shown) = strict_server(usize::MAX, "403");
    let sandbox = logged_in(&provider, server.port);
    clean(sandbox.run(&SEND)).exits(77);
    assert!(provider.grants("refresh_token").is_empty());
    assert_eq!(shown.lock().expect("no test panics with it").len(), 1);
    drop(server.heard());
}

#[test]
fn a_second_refusal_is_the_last() {
    let provider = Provider::new();
    let (server, shown) = strict_server(usize::MAX, "401");
    let sandbox = logged_in(&provider, server.port);
    let run = clean(sandbox.run(&[&SEND[..], &["--retry", "3"]].concat())).exits(77);
    run.says("the token was refused (status 401): 535 5.7.8 expired");
    assert_eq!(provider.grants("refresh_token").len(), 1);
    assert_eq!(shown.lock().expect("no test panics with it").len(), 2);
    drop(server.heard());
}
