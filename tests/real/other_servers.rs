//! LMTP, and a sendmail program that is one.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{Desk, pdf, unique};
use crate::support::real::{exim, postfix, read_mail, root};

#[test]
fn dovecot_answers_for_each_recipient() {
    let Some(postfix) = postfix() else { return };
    for chunking in ["prefer", "off"] {
        let desk = Desk::new(&format!("lmtp://127.0.0.1:{}", postfix.dovecot.said("lmtp")));
        let file = pdf();
        desk.sandbox.file("Größe.pdf", &file);
        let subject = unique("lmtp");
        let arguments = [
            "ada@example.test",
            "full@example.test",
            "nobody@example.test",
            "bob@example.test",
            "-s",
            &subject,
            "--body",
            "hi",
            "-a",
            "Größe.pdf",
            "-o",
            &format!("extensions.chunking={chunking}"),
        ];
        desk.trace(&arguments, b"").exits(1).says("-> LHLO ").says("full@example.test").says("nobody@example.test");
        assert_eq!(desk.outcome("ada@example.test"), ("accepted".into(), "data".into(), 250));
        assert_eq!(desk.outcome("bob@example.test"), ("accepted".into(), "data".into(), 250));
        assert_eq!(desk.outcome("nobody@example.test"), ("failed".into(), "rcpt".into(), 550));
        assert_eq!(desk.outcome("full@example.test"), ("failed".into(), "data".into(), 552));
        for name in ["ada", "bob"] {
            let folder = postfix.dovecot.path("mail").join(name).join("new");
            let mails: Vec<_> =
                fs::read_dir(folder).expect("a folder").flatten().map(|file| read_mail(&file.path())).collect();
            let mail = mails.iter().find(|mail| mail.header("subject") == subject).expect("the mail");
            mail.has_file("Größe.pdf", &file);
        }
    }
}

#[test]
fn dovecot_is_reached_over_its_unix_socket() {
    let Some(postfix) = postfix() else { return };
    let desk = Desk::new(&format!("lmtp://{}", postfix.dovecot.path("lmtp").display()));
    let subject = unique("socket");
    let arguments = ["ada@example.test", "nobody@example.test", "-s", &subject, "--body", "hi"];
    desk.trace(&arguments, b"").exits(1).says("-> LHLO ").says("nobody@example.test");
    assert_eq!(desk.outcome("ada@example.test"), ("accepted".into(), "data".into(), 250));
    assert_eq!(desk.outcome("nobody@example.test"), ("failed".into(), "rcpt".into(), 550));
    let folder = postfix.dovecot.path("mail/ada/new");
    let mails: Vec<_> = fs::read_dir(folder).expect("a folder").flatten().map(|file| read_mail(&file.path())).collect();
    assert!(mails.iter().any(|mail| mail.header("subject") == subject), "the mail");
}

#[test]
fn the_sendmail_of_exim_takes_it() {
    let Some(exim) = exim() else { return };
    let to = unique("by-hand");
    let desk = Desk::new("maildir:./unused");
    let state = exim.path("exim.conf");
    let inside = state.strip_prefix(root()).expect("within the root").display();
    let program = desk.sandbox.file(
        "sendmail",
        format!("#!/bin/sh\nexec chroot '{}' /usr/sbin/exim4 -C '/{inside}' \"$@\"\n", root().display()),
    );
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    let bcc = unique("bcc");
    let text = "Grüße\n.\nEnde\n";
    let file = pdf();
    desk.sandbox.file("Größe.pdf", &file);
    let server = format!("sendmail:{program}");
    let arguments = ["--server", &server, "-r", "ada@example.test", "--to", &to, "--bcc", &bcc, "-a", "Größe.pdf"];
    desk.run_with(&arguments, text.as_bytes()).exits(0);
    for recipient in [&to, &bcc] {
        let mail = exim.mail_for(recipient);
        assert_eq!(mail.text(), text);
        assert_eq!(mail.all("bcc"), [""; 0]);
        assert_eq!(mail.header("return-path"), "<ada@example.test>");
        mail.has_file("Größe.pdf", &file);
    }
}
