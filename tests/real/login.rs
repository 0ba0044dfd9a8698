//! Logins at Postfix and Exim.

use super::{Desk, session, unique};
use crate::support::real::{exim, postfix};

#[test]
fn every_mechanism_works_on_every_port() {
    let (Some(postfix), Some(exim)) = (postfix(), exim()) else { return };
    for (server, submission, submissions) in [
        (&postfix.postfix, postfix.postfix.said("submission"), postfix.postfix.said("submissions")),
        (exim, exim.said("submission"), exim.said("submissions")),
    ] {
        for url in [
            format!("smtp://USER@localhost:{submission}?security=starttls"),
            format!("smtps://USER@localhost:{submissions}"),
        ] {
            for mechanism in ["PLAIN", "LOGIN"] {
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
fn a_wrong_password_is_tried_once() {
    let Some(postfix) = postfix() else { return };
    let mut desk = Desk::at_postfix(postfix);
    desk.sandbox.env("MAILSEND_PASSWORD", "wrong");
    let to = unique("nobody");
    let run = desk.trace(&[&to, "--body", "hi", "--retry", "3"], b"").exits(77);
    run.says("the login was refused: 535").says(&format!("not sent to {to}"));
    assert_eq!(desk.outcome(&to).0, "deferred");
    let user = format!("({}", desk.user);
    let attempts = postfix.dovecot.log("dovecot.log", &user);
    let attempts: Vec<_> =
        attempts.iter().filter(|line| line.contains(&user) && line.to_lowercase().contains("mismatch")).collect();
    assert_eq!(attempts.len(), 1, "{attempts:#?}");
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
