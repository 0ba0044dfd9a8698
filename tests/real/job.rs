//! The job: a text and its files reach everybody as they were.

use super::{Desk, noise, pdf, unique};
use crate::support::real::{Real, exim, opensmtpd, postfix};

const SUBJECT: &str = "Übersicht für März – 日本語, und mehr als auf eine Zeile des Kopfes der Nachricht passt";
const TEXT: &str = "Grüße aus Köln,\n\n.\n.. und Zeilen mit Punkten\nFrom here to there  \nEnde\n";

/// Sends a text and two files to three people, and looks at what each of them has got.
fn send(desk: &Desk, server: &Real) {
    let (to, cc, bcc) = (unique("to"), unique("cc"), unique("bcc"));
    let small = pdf();
    let large = [b"%PDF-1.4\n".to_vec(), noise(3_000_000)].concat();
    desk.sandbox.file("Übersicht 2026 – Größe.pdf", &small);
    desk.sandbox.file("large.pdf", &large);
    let zoe = format!("Zoë Ölmann <{to}>");
    let comma = format!("\"Ørsted, Kim\" <{cc}>");
    desk.run_with(
        &[
            "--to",
            &zoe,
            "--cc",
            &comma,
            "--bcc",
            &bcc,
            "-s",
            SUBJECT,
            "-a",
            "Übersicht 2026 – Größe.pdf",
            "-a",
            "large.pdf;name=日本 (3 MB).pdf",
        ],
        TEXT.as_bytes(),
    )
    .exits(0)
    .silently();
    for recipient in [&to, &cc, &bcc] {
        let mail = server.mail_for(recipient);
        assert_eq!(mail.header("subject"), SUBJECT);
        assert_eq!(mail.header("from"), format!("Ada Größe <{}>", desk.user));
        assert_eq!(mail.header("to"), zoe);
        assert_eq!(mail.header("cc"), comma);
        assert_eq!(mail.all("bcc"), [""; 0]);
        assert_eq!(mail.text().replace("\r\n", "\n"), TEXT);
        assert_eq!(mail.parts.len(), 3);
        mail.has_file("Übersicht 2026 – Größe.pdf", &small);
        mail.has_file("日本 (3 MB).pdf", &large);
        assert_eq!(mail.parts[1]["type"], "application/pdf");
        if recipient != &bcc {
            // Envelope fields of the server aside, nobody reads of the hidden one.
            assert!(!String::from_utf8_lossy(&mail.octets).contains(&bcc));
        }
    }
}

#[test]
fn through_postfix() {
    let Some(postfix) = postfix() else { return };
    send(&Desk::at_postfix(postfix), &postfix.postfix);
}

#[test]
fn through_exim() {
    let Some(exim) = exim() else { return };
    send(&Desk::at_exim(exim), exim);
}

#[test]
fn through_opensmtpd() {
    let Some(opensmtpd) = opensmtpd() else { return };
    send(&Desk::at_opensmtpd(opensmtpd), opensmtpd);
}
