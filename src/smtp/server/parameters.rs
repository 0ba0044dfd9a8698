//! The parameters of MAIL and RCPT: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), and the wishes for reports
//! (RFC 3461).

use super::replies::Refusal;
use crate::mail::{DsnNotify, DsnRequest, DsnReturn};

/// Longest ENVID before it is decoded (RFC 3461, 4.4).
const MAX_ENVID: usize = 100;
/// Longest ORCPT (RFC 3461, 4.2).
const MAX_ORCPT: usize = 500;

/// What MAIL says beside the sender.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MailParameters {
    pub size: Option<u64>,
    pub is_8bit: bool,
    pub is_utf8: bool,
    pub ret: Option<DsnReturn>,
    pub envid: Option<String>,
}

/// What RCPT says beside the recipient.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RcptParameters {
    pub notify: Option<DsnNotify>,
}

/// Keywords in upper case with their values, each once.
struct Parameters<'a> {
    seen: Vec<String>,
    words: std::str::Split<'a, char>,
}

impl<'a> Parameters<'a> {
    fn new(text: &'a str) -> Self {
        Self { seen: Vec::new(), words: text.split(' ') }
    }

    fn next(&mut self) -> Result<Option<(String, Option<&'a str>)>, Refusal> {
        let Some(word) = self.words.find(|word| !word.is_empty()) else { return Ok(None) };
        let (keyword, value) = word.split_once('=').map_or((word, None), |(keyword, value)| (keyword, Some(value)));
        let keyword = keyword.to_ascii_uppercase();
        if self.seen.contains(&keyword) {
            return Err(Refusal::new(501, 5, 4, format!("{keyword} is given twice")));
        }
        self.seen.push(keyword.clone());
        Ok(Some((keyword, value)))
    }
}

/// Reads what stands behind the path of MAIL.
///
/// # Errors
/// 555 for what is not known, 501 for what is wrong.
pub(super) fn mail(text: &str) -> Result<MailParameters, Refusal> {
    let mut parameters = Parameters::new(text);
    let mut mail = MailParameters::default();
    while let Some((keyword, value)) = parameters.next()? {
        match (keyword.as_str(), value.map(str::to_ascii_uppercase).as_deref()) {
            ("SIZE", Some(digits)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                // More than fits is more than anybody takes.
                mail.size = Some(digits.parse().unwrap_or(u64::MAX));
            }
            ("BODY", Some("7BIT")) => {}
            ("BODY", Some("8BITMIME")) => mail.is_8bit = true,
            ("SMTPUTF8", None) => mail.is_utf8 = true,
            ("RET", Some(word)) if DsnReturn::from_word(word).is_some() => mail.ret = DsnReturn::from_word(word),
            ("ENVID", Some(_)) => mail.envid = envid(value.unwrap_or_default())?,
            ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID", _) => return Err(wrong(&keyword)),
            _ => return Err(unknown(&keyword)),
        }
    }
    Ok(mail)
}

/// Reads what stands behind the path of RCPT; `is_utf8` says that MAIL has SMTPUTF8.
///
/// # Errors
/// As [`mail`].
pub(super) fn rcpt(text: &str, is_utf8: bool) -> Result<RcptParameters, Refusal> {
    let mut parameters = Parameters::new(text);
    let mut rcpt = RcptParameters::default();
    while let Some((keyword, value)) = parameters.next()? {
        match (keyword.as_str(), value) {
            ("NOTIFY", Some(words)) => {
                rcpt.notify = Some(words.to_ascii_lowercase().parse().map_err(|_| wrong(&keyword))?);
            }
            // What is sent on names the recipient that it is sent to, which is the same unless an alias is behind it.
            ("ORCPT", Some(value)) if is_orcpt(value, is_utf8) => {}
            ("NOTIFY" | "ORCPT", _) => return Err(wrong(&keyword)),
            _ => return Err(unknown(&keyword)),
        }
    }
    Ok(rcpt)
}

fn wrong(keyword: &str) -> Refusal {
    Refusal::new(501, 5, 4, format!("The value of {keyword} is wrong"))
}

fn unknown(keyword: &str) -> Refusal {
    Refusal::new(555, 5, 4, format!("The parameter {keyword} is not known"))
}

/// Decodes ENVID. One that other servers would give back changed is left out: it is a mark of the sender's own for reports,
/// and a wrong mark is worse than none. The message is none the worse for it, so it is not refused.
fn envid(value: &str) -> Result<Option<String>, Refusal> {
    let is_printable = |text: &String| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let envid = Some(value).filter(|value| (1..=MAX_ENVID).contains(&value.len())).and_then(decode_xtext);
    let dsn = DsnRequest { envid: envid.filter(is_printable), ..DsnRequest::default() };
    match dsn.envid {
        None => Err(wrong("ENVID")),
        Some(_) if dsn.check_envid().is_err() => Ok(None),
        envid => Ok(envid),
    }
}

/// `rfc822;xtext`, or `utf-8;…` with UTF-8 in it (RFC 6533, 3).
fn is_orcpt(value: &str, is_utf8: bool) -> bool {
    let Some((kind, address)) = value.split_once(';') else { return false };
    let is_kind = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let address: String = address.chars().filter(|c| c.is_ascii() || !is_utf8).collect();
    value.len() <= MAX_ORCPT && is_kind && decode_xtext(&address).is_some()
}

/// Decodes xtext (RFC 3461, 4); `None` if it is none, or decodes to something else than ASCII.
fn decode_xtext(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        decoded.push(match c {
            '+' => {
                let digits = rest.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
                rest = &rest[2..];
                char::from(u8::from_str_radix(digits, 16).ok().filter(u8::is_ascii)?)
            }
            '!'..='~' if c != '=' => c,
            _ => return None,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(result: Result<T, Refusal>) -> u16 {
        result.map_or_else(|refusal| refusal.code, |_| 250)
    }

    #[test]
    fn parameters_of_mail() {
        assert_eq!(mail(""), Ok(MailParameters::default()));
        assert_eq!(
            mail(" size=10  BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=a+2Db "),
            Ok(MailParameters {
                size: Some(10),
                is_8bit: true,
                is_utf8: true,
                ret: Some(DsnReturn::Hdrs),
                envid: Some("a-b".to_owned()),
            })
        );
        assert_eq!(mail("SIZE=99999999999999999999999").map(|mail| mail.size), Ok(Some(u64::MAX)));
        assert!(mail("BODY=7BIT RET=FULL").is_ok());
        for (text, expected) in [
            ("SIZE", 501),
            ("SIZE=", 501),
            ("SIZE=-1", 501),
            ("SIZE=1 SIZE=1", 501),
            ("BODY=BINARYMIME", 501),
            ("BODY", 501),
            ("SMTPUTF8=1", 501),
            ("RET=ALL", 501),
            ("AUTH=<>", 555),
            ("NOTIFY=NEVER", 555),
            ("=", 555),
        ] {
            assert_eq!(code(mail(text)), expected, "{text}");
        }
    }

    #[test]
    fn parameters_of_rcpt() {
        let notify = |text: &str| rcpt(text, false).map(|rcpt| rcpt.notify.map(|notify| notify.to_string()));
        assert_eq!(notify(""), Ok(None));
        assert_eq!(notify(" NOTIFY=success,DELAY ORCPT=rfc822;a+2Bb@c.example"), Ok(Some("SUCCESS,DELAY".to_owned())));
        assert_eq!(notify("NOTIFY=NEVER"), Ok(Some("NEVER".to_owned())));
        for (text, expected) in [
            ("NOTIFY=NEVER,DELAY", 501),
            ("NOTIFY=", 501),
            ("NOTIFY", 501),
            ("ORCPT=a@b", 501),
            ("ORCPT=;a@b", 501),
            ("ORCPT=rfc822;a+b", 501),
            ("ORCPT=utf-8;ü@b", 501),
            ("RET=FULL", 555),
            ("X", 555),
        ] {
            assert_eq!(code(rcpt(text, false)), expected, "{text}");
        }
        assert_eq!(code(rcpt("ORCPT=utf-8;ü@b", true)), 250);
        assert_eq!(code(rcpt("ORCPT=utf-8;\\x{FC}@b", false)), 250);
    }

    #[test]
    fn envids_are_decoded_or_left_out() {
        let read = |value: &str| mail(&format!("ENVID={value}")).map(|mail| mail.envid).map_err(|refusal| refusal.code);
        assert_eq!(read("QQ314159"), Ok(Some("QQ314159".to_owned())));
        assert_eq!(read("a+40b"), Ok(None));
        assert_eq!(read("a_b"), Ok(None));
        for bad in ["", "a=b", "a+4", "a+zz", "a+", "+0D+0A", "+00", "+FF", "ü", "++41", "a+é", &"x".repeat(101)] {
            assert_eq!(read(bad), Err(501), "{bad}");
        }
    }
}
