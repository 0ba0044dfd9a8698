//! One text is one message, whatever stands in it.

use super::{Desk, unique};
use crate::support::real::{Real, exim, opensmtpd, postfix};

fn send(server: &Real, desk: &Desk, can_chunk: bool) {
    let forms: &[&str] = if can_chunk { &["prefer", "off"] } else { &["off"] };
    for chunking in forms {
        let mut sent = Vec::new();
        for end in ["\n.\r\n", "\r\n.\n", "\n.\n", "\r\n.\r\n", "\r.\r", "\r.\r\n", "\n\0.\r\n", "\r\n.\r"] {
            let (to, victim) = (unique("smuggle"), unique("victim"));
            let smuggled = format!(
                "MAIL FROM:<{}>\r\nRCPT TO:<{victim}>\r\nDATA\r\nSubject: smuggled\r\n\r\nbad\r\n.\r\n",
                desk.user
            );
            let text = format!("before{end}{smuggled}after\n.\n..\n.");
            let chunking = format!("extensions.chunking={chunking}");
            desk.trace(&[&to, "-o", &chunking], text.as_bytes()).exits(0);
            let mail = server.mail_for(&to);
            assert_eq!(mail.parts.len(), 1);
            let normal = |text: &str| text.replace("\r\n", "\n");
            assert_eq!(normal(mail.text()).trim_end_matches('\n'), normal(&text), "{end:?}");
            sent.push((end, to, victim));
        }
        // What had been smuggled would have come before this.
        let next = unique("next");
        desk.trace(&[&next, "--body", "hi"], b"").exits(0);
        server.wait_for(&next);
        for (end, to, victim) in sent {
            assert_eq!((server.mails_for(&to).len(), server.mails_for(&victim).len()), (1, 0), "{end:?}");
        }
    }
}

#[test]
fn not_through_postfix() {
    let Some(postfix) = postfix() else { return };
    send(&postfix.postfix, &Desk::at_postfix(postfix), true);
}

#[test]
fn not_through_exim() {
    let Some(exim) = exim() else { return };
    send(exim, &Desk::at_exim(exim), true);
}

#[test]
fn not_through_opensmtpd() {
    let Some(opensmtpd) = opensmtpd() else { return };
    send(opensmtpd, &Desk::at_opensmtpd(opensmtpd), false);
}
