//! Certificates of a real TLS stack.

use super::{Desk, unique};
use crate::support::real::postfix;

#[test]
fn only_what_is_trusted_gets_mail() {
    let Some(postfix) = postfix() else { return };
    let to = unique("trust");
    let send = |port: &str, more: &[&str]| {
        let url = format!("smtp://USER@localhost:{}?security=starttls", postfix.postfix.said(port));
        let desk = Desk::new(&url);
        // The authority of the profile, or another.
        desk.trace(&[&[to.as_str(), "--body", "hi"], more].concat(), b"")
    };
    let strange = send("submission", &["-o", "tls.ca-file=/etc/ssl/certs/ca-certificates.crt"]);
    let strange = strange.exits(77).says("signed by 'CN=Test Authority'");
    assert!(!strange.stderr.contains("-> AUTH"), "{strange:#?}");
    let other = send("wrong-host", &[]).exits(77).says("not for localhost but for other.example");
    assert!(!other.stderr.contains("-> MAIL"), "{other:#?}");
    let pin = strange.stderr.split("-o tls.pin-sha256=").nth(1).and_then(|rest| rest.lines().next()).expect("a pin");
    let pin = format!("tls.pin-sha256={pin}");
    assert!(postfix.postfix.mails_for(&to).is_empty());
    send("wrong-host", &["-o", &pin]).exits(77).says("is none of tls.pin-sha256");
    send("submission", &["-o", &pin]).exits(0);
    postfix.postfix.wait_for(&to);
}

#[test]
fn both_versions_of_tls_are_spoken() {
    let Some(postfix) = postfix() else { return };
    for (port, version) in [("submission", "TLSv1.3"), ("old", "TLSv1.2")] {
        let desk = Desk::new(&format!("smtp://USER@localhost:{}?security=starttls", postfix.postfix.said(port)));
        let to = unique("tls");
        desk.trace(&[&to, "--body", "hi"], b"").exits(0).says(&format!("** {version} "));
        let received = postfix.postfix.mail_for(&to).all("received").join("\n");
        assert!(received.contains(&format!("using {version} with cipher")), "{received}");
    }
    let desk = Desk::new(&format!("smtp://USER@localhost:{}?security=starttls", postfix.postfix.said("old")));
    let run = desk.trace(&["you@example.test", "--body", "hi", "-o", "tls.min-version=1.3"], b"").exits(69);
    assert!(!run.stderr.contains("-> AUTH"), "{run:#?}");
}
