//! What `profile check` says of a real server.

use super::{Desk, unique};
use crate::support::real::postfix;

#[test]
fn all_of_it_is_told() {
    let Some(postfix) = postfix() else { return };
    let desk = Desk::at_postfix(postfix);
    let run = desk.run_with(&["profile", "check", "test"], b"").exits(0).silently();
    for words in [
        "greeting      220 mx.example.test ESMTP Postfix",
        "before TLS    PIPELINING",
        "              STARTTLS",
        "TLS           TLSv1.3, ",
        "trusted by    tls.ca-file",
        "certificate   CN=localhost",
        "issued by     CN=Test Authority",
        "names         localhost, 127.0.0.1",
        "days left",
        "key           pin-sha256 = \"",
        "offers        PIPELINING",
        "              AUTH PLAIN LOGIN ",
        "logins        PLAIN, LOGIN, ",
        &format!("login         {} by SCRAM-SHA-256 works", desk.user),
        "password      from ",
    ] {
        assert!(run.stdout.contains(words), "'{words}' is not in {}", run.stdout);
    }
    let run = desk.run_with(&["profile", "check", "test", "--json", "--trace"], b"").exits(0);
    let found: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!((&found["login"], &found["error"]), (&"SCRAM-SHA-256".into(), &serde_json::Value::Null));
}

#[test]
fn a_test_message_arrives() {
    let Some(postfix) = postfix() else { return };
    let desk = Desk::at_postfix(postfix);
    let to = unique("check");
    desk.run_with(&["profile", "check", "test", "--send", &to], b"").exits(0);
    assert_eq!(postfix.postfix.mail_for(&to).all("from").len(), 1);
}

#[test]
fn a_refused_login_is_told() {
    let Some(postfix) = postfix() else { return };
    let mut desk = Desk::at_postfix(postfix);
    desk.sandbox.env("MAILSEND_PASSWORD", "wrong");
    let run = desk.run_with(&["profile", "check", "test"], b"").exits(77).says("the login was refused: 535");
    assert!(run.stdout.contains("refused") && run.stdout.contains("TLSv1.3"), "{run:#?}");
}
