//! Commands on the wire; their parameters are written by lettre's types.

use std::{fmt, io::Write};

use lettre::transport::smtp::extension::{MailBodyParameter, MailParameter, RcptParameter};

use super::terms::Terms;
use crate::mail::{Address, DsnRequest, Submission};

/// `MAIL FROM:<…>` with the parameters that the terms allow.
pub(super) fn mail(submission: &Submission, terms: &Terms, uses_utf8: bool) -> Vec<u8> {
    let mut parameters = Vec::new();
    let other = |keyword: &str, value: Option<String>| MailParameter::Other { keyword: keyword.to_owned(), value };
    if terms.offers_size {
        parameters.push(MailParameter::Size(usize::try_from(submission.content.len()).unwrap_or(usize::MAX)));
    }
    if submission.content.is_8bit && terms.eight_bit {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    if uses_utf8 {
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if terms.dsn {
        if let Some(ret) = submission.dsn.ret {
            parameters.push(other("RET", Some(ret.to_string())));
        }
        if let Some(envid) = &submission.dsn.envid {
            parameters.push(other("ENVID", Some(envid.clone())));
        }
    }
    if terms.require_tls {
        parameters.push(other("REQUIRETLS", None));
    }
    line("MAIL FROM:<", submission.envelope.from().map_or("", AsRef::as_ref), &parameters)
}

/// `RCPT TO:<…>` with the wishes for reports.
pub(super) fn rcpt(recipient: &Address, dsn: &DsnRequest, terms: &Terms) -> Vec<u8> {
    let mut parameters = Vec::new();
    let mut other = |keyword: &str, value: String| {
        parameters.push(RcptParameter::Other { keyword: keyword.to_owned(), value: Some(value) });
    };
    if terms.dsn && dsn.is_wanted() {
        if let Some(notify) = dsn.notify {
            other("NOTIFY", notify.to_string());
        }
        other("ORCPT", original_recipient(recipient));
    }
    line("RCPT TO:<", recipient.as_ref(), &parameters)
}

fn line(verb: &str, path: &str, parameters: &[impl fmt::Display]) -> Vec<u8> {
    let mut line = Vec::with_capacity(verb.len() + path.len() + 3 + 24 * parameters.len());
    line.extend_from_slice(verb.as_bytes());
    line.extend_from_slice(path.as_bytes());
    line.push(b'>');
    for parameter in parameters {
        // Memory takes everything.
        let _ = write!(line, " {parameter}");
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// The value of ORCPT before its xtext encoding, which lettre does (RFC 3461, 4.2; RFC 6533, 3 for UTF-8).
fn original_recipient(recipient: &Address) -> String {
    let address = recipient.to_string();
    if address.is_ascii() {
        return format!("rfc822;{address}");
    }
    let escaped: String = address
        .chars()
        .map(|c| match c {
            '\\' => "\\x{5C}".to_owned(),
            '+' => "\\x{2B}".to_owned(),
            '=' => "\\x{3D}".to_owned(),
            c if c.is_ascii() => c.to_string(),
            c => format!("\\x{{{:X}}}", u32::from(c)),
        })
        .collect();
    format!("utf-8;{escaped}")
}

/// `BDAT SIZE LAST` (RFC 3030, 2).
pub(super) fn bdat_last(size: u64) -> Vec<u8> {
    format!("BDAT {size} LAST\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Content, DsnNotify, DsnReturn, Envelope, Mailbox};

    fn address(text: &str) -> Address {
        Mailbox::parse(text).unwrap().address
    }

    fn submission(from: Option<&str>, content: Content, dsn: DsnRequest) -> Submission {
        let envelope = Envelope::new(from.map(address), vec![address("b@example.com")]).unwrap();
        Submission { id: 1, message_id: "<m@x>".to_owned(), envelope, content, dsn, has_turn: false }
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn parameters_only_where_they_are_understood() {
        let dsn = DsnRequest {
            notify: Some(DsnNotify { success: true, failure: true, delay: false }),
            ret: Some(DsnReturn::Hdrs),
            envid: Some("abc.1-2".to_owned()),
        };
        let plain = submission(Some("a@example.com"), Content::from_bytes(b"x\r\n".to_vec()), dsn.clone());
        assert_eq!(text(mail(&plain, &Terms::default(), false)), "MAIL FROM:<a@example.com>\r\n");
        assert_eq!(text(rcpt(&address("b@example.com"), &dsn, &Terms::default())), "RCPT TO:<b@example.com>\r\n");
        let all = Terms {
            offers_size: true,
            eight_bit: true,
            smtputf8: true,
            dsn: true,
            require_tls: true,
            ..Terms::default()
        };
        assert_eq!(
            text(mail(&plain, &all, false)),
            "MAIL FROM:<a@example.com> SIZE=3 RET=HDRS ENVID=abc.1-2 REQUIRETLS\r\n"
        );
        let utf8 = submission(None, Content::from_bytes("ü\r\n".into()), DsnRequest::default());
        assert_eq!(text(mail(&utf8, &all, true)), "MAIL FROM:<> SIZE=4 BODY=8BITMIME SMTPUTF8 REQUIRETLS\r\n");
        assert_eq!(
            text(rcpt(&address("\"b c\"+x@example.com".replace("+x", "").as_str()), &dsn, &all)),
            "RCPT TO:<\"b c\"@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;\"b+20c\"@example.com\r\n"
        );
        assert_eq!(
            text(rcpt(&address("b+tag=1@example.com"), &dsn, &all)),
            "RCPT TO:<b+tag=1@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Btag+3D1@example.com\r\n"
        );
        assert_eq!(
            text(rcpt(&address("jürgen@example.com"), &DsnRequest { notify: None, ..dsn }, &all)),
            "RCPT TO:<jürgen@example.com> ORCPT=utf-8;j\\x{FC}rgen@example.com\r\n"
        );
        assert_eq!(bdat_last(7), b"BDAT 7 LAST\r\n");
    }
}
