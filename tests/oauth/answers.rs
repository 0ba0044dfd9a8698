//! What a provider should not answer, what a store should not hold, and who else may bring a token.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use mailsend::{mail::Secret, secret::stores};

use super::{LOGIN, SEND, clean, count, entry, logged_in, private, server, vault, wanted};
use crate::support::identity::{Answer, Provider};

#[test]
fn what_is_wrong_with_an_answer_is_told_and_the_store_stays() {
    let wrong = Arc::new(Mutex::new(None::<(u16, &str, String)>));
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
        ((503, "text/plain", ""), 75, "status 503, text/plain"),
        ((502, "text/html", "<html>canary</html>"), 75, "try again later"),
        ((400, json, "{\"error\":\"temporarily_unavailable\"}"), 75, "try again later"),
        ((400, json, "{\"error\":\"slow_down\"}"), 75, "try again later"),
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
    let is_wrong = Arc::new(AtomicBool::new(false));
    let provider = Provider::with({
        let is_wrong = is_wrong.clone();
        move |request| {
            let is_poll = request.path == "/token" && is_wrong.load(Ordering::SeqCst);
            let body = "{\"access_token\":\"canary-x\",\"token_type\":\"Bearer\"}".to_owned();
            is_poll.then_some(Answer::Say(200, "application/json", body))
        }
    });
    let sandbox = logged_in(&provider, 9);
    let before = entry(&sandbox);
    is_wrong.store(true, Ordering::SeqCst);
    clean(sandbox.run(&LOGIN)).exits(78).says("no refresh token").says("offline_access");
    assert_eq!(entry(&sandbox), before);
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
    let damaged = [&b"canary"[..], b"{}", b"{\"version\":1,\"refresh_token\":\"canary\"}", b"\xff"];
    for octets in damaged {
        let account = stores::token_account("ada", "127.0.0.1");
        stores::save(&wanted(&sandbox), &account, &Secret::new(octets.to_vec()), None).expect("a store");
        let before = vault(&sandbox);
        let run = clean(sandbox.run(&SEND)).exits(78).says("the entry oauth:ada@127.0.0.1 in the file ");
        run.says("vault/secrets.json is damaged").says("log in again: mailsend login --profile work");
        assert_eq!(vault(&sandbox), before);
    }
    clean(sandbox.run(&LOGIN)).exits(0);
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
