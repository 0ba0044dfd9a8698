//! Logins at Postfix and Exim.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{Desk, session, unique};
use crate::support::{
    authority,
    real::{Postfix, exim, postfix, token},
};

/// Where nothing is encrypted.
fn in_the_clear(postfix: &Postfix) -> String {
    format!("smtp://USER@localhost:{}", postfix.postfix.said("clear"))
}

fn over_tls(postfix: &Postfix) -> String {
    format!("smtp://USER@localhost:{}?security=starttls", postfix.postfix.said("submission"))
}

/// Gives the desk another secret than everybody's.
fn keep(desk: &Desk, secret: &str) {
    let file = desk.sandbox.file("password", secret);
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("a mode");
}

#[test]
fn every_mechanism_works_on_every_port() {
    let (Some(postfix), Some(exim)) = (postfix(), exim()) else { return };
    for (server, submission, submissions, mechanisms) in [
        (
            &postfix.postfix,
            postfix.postfix.said("submission"),
            postfix.postfix.said("submissions"),
            &["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"][..],
        ),
        (exim, exim.said("submission"), exim.said("submissions"), &["PLAIN", "LOGIN"]),
    ] {
        for url in [
            format!("smtp://USER@localhost:{submission}?security=starttls"),
            format!("smtps://USER@localhost:{submissions}"),
        ] {
            for mechanism in mechanisms {
                let desk = Desk::new(&url);
                let to = unique("login");
                let auth = format!("auth={mechanism}");
                let run = desk.trace(&[&to, "--body", "hi", "-o", &auth], b"").exits(0);
                run.says(&format!("-> AUTH {mechanism}")).says("<- 235 ");
                let received = server.mail_for(&to).all("received").join("\n").to_lowercase();
                assert!(received.contains("with esmtpsa"), "{received}");
            }
        }
    }
}

#[test]
fn the_best_mechanism_is_taken() {
    let Some(postfix) = postfix() else { return };
    for url in [over_tls(postfix), in_the_clear(postfix)] {
        let to = unique("best");
        Desk::new(&url).trace(&[&to, "--body", "hi"], b"").exits(0).says("-> AUTH SCRAM-SHA-256 ***");
        postfix.postfix.mail_for(&to);
    }
}

#[test]
fn challenges_are_answered_in_the_clear() {
    let Some(postfix) = postfix() else { return };
    for mechanism in ["CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"] {
        let to = unique("clear");
        let auth = format!("auth={mechanism}");
        let run = Desk::new(&in_the_clear(postfix)).trace(&[&to, "--body", "hi", "-o", &auth], b"").exits(0);
        run.says(&format!("-> AUTH {mechanism}")).says("<- 334 ***").says("<- 235 ");
        postfix.postfix.mail_for(&to);
    }
}

#[test]
fn a_password_of_odd_characters_works_with_every_mechanism() {
    let Some(postfix) = postfix() else { return };
    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"] {
        let desk = Desk::new(&over_tls(postfix).replace("USER", "odd@example.test"));
        keep(&desk, "pa ss\"wörd");
        let auth = format!("auth={mechanism}");
        let run = desk.run_with(&["profile", "check", "test", "-o", &auth], b"").exits(0);
        assert!(run.stdout.contains(&format!("odd@example.test by {mechanism} works")), "{run:#?}");
    }
}

#[test]
fn a_token_works_until_it_expires() {
    let Some(postfix) = postfix() else { return };
    for mechanism in ["XOAUTH2", "OAUTHBEARER"] {
        let auth = format!("auth={mechanism}");
        let desk = Desk::new(&over_tls(postfix));
        keep(&desk, &token(&desk.user, 3_600));
        let to = unique("token");
        let run = desk.trace(&[&to, "--body", "hi", "-o", &auth], b"").exits(0);
        run.says(&format!("-> AUTH {mechanism}"));
        postfix.postfix.mail_for(&to);

        // Of yesterday, and of somebody else.
        for token in [token(&desk.user, -3_600), token("eve@example.test", 3_600)] {
            keep(&desk, &token);
            let to = unique("expired");
            let run = desk.trace(&[&to, "--body", "hi", "--retry", "3", "-o", &auth], b"").exits(77);
            assert_eq!(run.stderr.matches("-> AUTH").count(), 1, "{run:#?}");
            run.says("the token was refused (status ");
            assert_eq!(desk.outcome(&to).0, "deferred");
        }
    }
}

#[test]
fn who_has_no_name_comes_in_where_that_is_enough() {
    let Some(postfix) = postfix() else { return };
    // Postfix lets nobody without a name send, so the login is all there is to see.
    for (url, name) in [(in_the_clear(postfix).replace("USER@", ""), ""), (in_the_clear(postfix), "@example.test by ")]
    {
        let desk = Desk::new(&url);
        let command = ["profile", "check", "test", "-o", "auth=ANONYMOUS", "-o", "password={ command = \"exit 1\" }"];
        let run = desk.run_with(&command, b"").exits(0);
        assert!(run.stdout.contains(&format!("{name}ANONYMOUS works")), "{run:#?}");
    }
}

#[test]
fn a_certificate_logs_in() {
    let Some(exim) = exim() else { return };
    let log_in = |url: &str, is_shown: bool, more: &[&str]| {
        let desk = Desk::new(url);
        desk.sandbox.file("client.pem", &authority().client.chain);
        desk.sandbox.file("client.key", &authority().client.key);
        let to = unique("certificate");
        let mut arguments = vec![to.as_str(), "--body", "hi", "-o", "auth=EXTERNAL"];
        if is_shown {
            arguments.extend(["-o", "tls.client-cert=client.pem", "-o", "tls.client-key=client.key"]);
        }
        arguments.extend(more);
        (desk.trace(&arguments, b""), to)
    };
    let url = format!("smtp://USER@localhost:{}?security=starttls", exim.said("submission"));
    for url in [url.replace("USER@", ""), url.replace("USER", "client.example")] {
        let (run, to) = log_in(&url, true, &["-o", "password={ command = \"exit 1\" }"]);
        run.exits(0).says("-> AUTH EXTERNAL ***");
        let received = exim.mail_for(&to).all("received").join("\n").to_lowercase();
        assert!(received.contains("with esmtpsa"), "{received}");
    }
    let (run, _) = log_in(&url.replace("USER", "eve"), true, &[]);
    run.exits(77).says("the login was refused").says("tls.client-cert");
    let (run, _) = log_in(&url, false, &[]);
    run.exits(78).says("EXTERNAL needs a certificate of yours").says("-o tls.client-cert=");
}

#[test]
fn a_wrong_password_is_tried_once() {
    let Some(postfix) = postfix() else { return };
    for auth in ["auto", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"] {
        let mut desk = Desk::at_postfix(postfix);
        desk.sandbox.env("MAILSEND_PASSWORD", "wrong");
        let to = unique("nobody");
        let auth = format!("auth={auth}");
        let run = desk.trace(&[&to, "--body", "hi", "--retry", "3", "-o", &auth], b"").exits(77);
        assert_eq!(run.stderr.matches("-> AUTH").count(), 1, "{run:#?}");
        run.says("the login was refused").says("535").says(&format!("not sent to {to}"));
        assert_eq!(desk.outcome(&to).0, "deferred");
        let user = format!("({}", desk.user);
        let attempts = postfix.dovecot.log("dovecot.log", &user);
        let attempts: Vec<_> =
            attempts.iter().filter(|line| line.contains(&user) && line.to_lowercase().contains("mismatch")).collect();
        assert_eq!(attempts.len(), 1, "{auth}: {attempts:#?}");
    }
}

#[test]
fn who_does_not_log_in_sends_nothing() {
    let (Some(postfix), Some(exim)) = (postfix(), exim()) else { return };
    let to = unique("stranger");
    let desk = Desk::new(&format!("smtp://localhost:{}?security=starttls", postfix.postfix.said("submission")));
    desk.trace(&[&to, "--body", "hi"], b"").exits(67).says("554 5.7.1");
    let lines = session(postfix, &to);
    assert!(lines.last().is_some_and(|line| line.contains("rcpt=0/1")), "{lines:#?}");
    let desk = Desk::new(&format!("smtp://localhost:{}?security=starttls", exim.said("submission")));
    desk.trace(&[&to, "--body", "hi"], b"").exits(67).says("550 5.7.1 Log in first");
}
