//! What an endpoint has answered, read without trust (RFC 6749, 5.1 and 5.2; RFC 8628, 3.2).

use serde_json::{Map, Value};

use super::form::conceal;
use crate::{
    mail::{Secret, clean},
    net::http::Answer,
};

/// What a token lives where the answer does not say: as long as Google's and Microsoft's do.
const USUAL_LIFETIME: u64 = 3_600;
/// No token lives longer: a year.
const MAX_LIFETIME: u64 = 366 * 24 * 3_600;
/// A provider's words are cut off behind so many characters.
const MAX_WORDS: usize = 300;
/// Tokens reach some 10 KB.
const MAX_TOKEN: usize = 64 * 1024;

/// An answer in JSON.
#[derive(Debug)]
pub(super) enum Reply {
    /// What was asked for.
    Given(Map<String, Value>),
    /// Why it is not to be had.
    Refused(Refusal),
}

/// A refusal, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `error`.
    pub code: String,
    /// `error_description`, without secrets and control characters; empty if there is none.
    pub words: String,
    /// Whether the status says that it is the provider's fault (5xx).
    pub is_of_server: bool,
}

/// Tokens.
#[derive(Debug)]
pub(super) struct Grant {
    /// A new refresh token. It counts even if the rest of the answer is not fit for use.
    pub refresh_token: Option<Secret>,
    /// The access token, or why there is none.
    pub access: Result<Access, String>,
}

/// An access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Access {
    /// The token.
    pub token: Secret,
    /// Seconds from now.
    pub lifetime: u64,
}

impl Refusal {
    /// A refusal with these words of somebody else.
    pub fn new(code: &str, words: &str, secrets: &[Secret]) -> Self {
        let shown = |text: &str| -> String {
            let text = conceal(text, secrets);
            let mut shown: String = clean(text.trim()).chars().take(MAX_WORDS).collect();
            if text.trim().chars().count() > MAX_WORDS {
                shown.push('…');
            }
            shown
        };
        Self { code: shown(code), words: shown(words), is_of_server: false }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.words.is_empty() {
            true => f.write_str(&self.code),
            false => write!(f, "{} ({})", self.code, self.words),
        }
    }
}

impl Reply {
    /// Reads an answer.
    ///
    /// # Errors
    /// What it is instead of a JSON object: status and content type, nothing of its text.
    pub fn read(answer: &Answer, secrets: &[Secret]) -> Result<Self, String> {
        let kind = match answer.content_type.as_str() {
            "" => "without a content type",
            kind => kind,
        };
        let no_answer = |what: &str| Err(format!("{what}: status {}, {}", answer.status, clean(kind)));
        let Ok(Value::Object(fields)) = serde_json::from_slice(&answer.body) else {
            return no_answer("it answers with something else than JSON");
        };
        // Some providers refuse with 200.
        if let Some(code) = fields.get("error").and_then(Value::as_str) {
            let words = fields.get("error_description").and_then(Value::as_str).unwrap_or_default();
            let refusal = Refusal::new(code, words, secrets);
            return Ok(Reply::Refused(Refusal { is_of_server: answer.status >= 500, ..refusal }));
        }
        match answer.status {
            200..=299 => Ok(Reply::Given(fields)),
            _ => no_answer("it refuses without saying why"),
        }
    }
}

impl Grant {
    /// Reads the tokens of an answer.
    pub fn read(fields: &Map<String, Value>) -> Self {
        let refresh_token = token(fields, "refresh_token").ok().flatten();
        Self { refresh_token, access: access(fields) }
    }
}

fn access(fields: &Map<String, Value>) -> Result<Access, String> {
    let token = token(fields, "access_token")?.ok_or("there is no access token in the answer")?;
    // An answer without a type is a bearer token of a careless provider.
    if let Some(kind) = fields.get("token_type").filter(|kind| !kind.is_null())
        && !kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"))
    {
        return Err("the token is of another type than Bearer, which mail servers do not take".to_owned());
    }
    let lifetime = match fields.get("expires_in") {
        None | Some(Value::Null) => USUAL_LIFETIME,
        Some(value) => seconds(value).ok_or("the lifetime of the token (expires_in) is no number of seconds")?,
    };
    Ok(Access { token, lifetime: lifetime.min(MAX_LIFETIME) })
}

/// A number of seconds that is not negative, also as a text.
pub(super) fn seconds(value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // Out of range it saturates.
    (number.is_finite() && number >= 0.0).then_some(number as u64)
}

/// A token: visible characters and spaces (RFC 6749, A.12 and A.17).
fn token(fields: &Map<String, Value>, name: &str) -> Result<Option<Secret>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text.len() > MAX_TOKEN => Err(format!("{name} in the answer is absurdly long")),
        Some(Value::String(text)) if text.bytes().all(|byte| (0x20..0x7F).contains(&byte)) => {
            Ok(Some(Secret::new(text.clone().into_bytes())))
        }
        Some(Value::String(_)) => Err(format!("{name} in the answer holds characters that no token has")),
        Some(_) => Err(format!("{name} in the answer is no text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(status: u16, content_type: &str, body: &str) -> Answer {
        Answer { status, content_type: content_type.to_owned(), body: body.as_bytes().to_vec() }
    }

    fn grant(json: &str) -> Grant {
        let Ok(Reply::Given(fields)) = Reply::read(&answer(200, "application/json", json), &[]) else {
            panic!("{json}")
        };
        Grant::read(&fields)
    }

    #[test]
    fn what_is_no_answer_is_named_and_not_shown() {
        for (status, content_type, body) in [
            (200, "text/html", "<html>canary</html>"),
            (502, "", ""),
            (200, "application/json", "[1]"),
            (400, "application/json", "{\"message\":\"canary\"}"),
            (302, "text/html", "{}"),
        ] {
            let what = Reply::read(&answer(status, content_type, body), &[]).unwrap_err();
            assert!(what.contains(&format!("status {status}")) && !what.contains("canary"), "{what}");
        }
    }

    #[test]
    fn a_refusal_is_decoded_and_harmless() {
        let secrets = [Secret::new(b"hunter2".to_vec())];
        let body = "{\"error\":\"invalid_grant\",\"error_description\":\"no \\u001b[2J hunter2 gr\\u00fc\\u00dfe\"}";
        for status in [200, 400] {
            let Ok(Reply::Refused(refusal)) = Reply::read(&answer(status, "application/json", body), &secrets) else {
                panic!()
            };
            assert_eq!(refusal.to_string(), "invalid_grant (no \u{FFFD}[2J *** grüße)");
        }
        let long = Refusal::new("x", &"y".repeat(10_000), &[]);
        assert!(long.words.chars().count() == MAX_WORDS + 1, "{long}");
    }

    #[test]
    fn lifetimes() {
        let lifetime = |value: &str| {
            let json = format!("{{\"access_token\":\"a\",\"expires_in\":{value},\"token_type\":\"bEARER\"}}");
            grant(&json).access.map(|access| access.lifetime)
        };
        assert_eq!(lifetime("3599"), Ok(3_599));
        assert_eq!(lifetime("\"3599\""), Ok(3_599));
        assert_eq!(lifetime("0"), Ok(0));
        assert_eq!(lifetime("1.5"), Ok(1));
        assert_eq!(lifetime("null"), Ok(USUAL_LIFETIME));
        assert_eq!(lifetime("1e300"), Ok(MAX_LIFETIME));
        for absurd in ["-1", "\"soon\"", "[]", "true", "\"NaN\"", "\"inf\""] {
            assert!(lifetime(absurd).unwrap_err().contains("expires_in"), "{absurd}");
        }
    }

    /// An answer that cannot be used may still have used the old refresh token up.
    #[test]
    fn a_refresh_token_counts_whatever_stands_beside_it() {
        for rest in [
            "",
            ",\"access_token\":\"a\\u0000b\"",
            ",\"access_token\":7",
            ",\"access_token\":\"a\",\"token_type\":\"mac\"",
            ",\"access_token\":\"\"",
        ] {
            let grant = grant(&format!("{{\"refresh_token\":\"new\"{rest}}}"));
            assert_eq!(grant.refresh_token, Some(Secret::new(b"new".to_vec())), "{rest}");
            assert!(grant.access.is_err(), "{rest}");
        }
        assert!(grant("{\"access_token\":\"a\",\"refresh_token\":\"x\\ny\"}").refresh_token.is_none());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(body in ".*", status in 100_u16..600) {
            if let Ok(Reply::Given(fields)) = Reply::read(&answer(status, "x", &body), &[]) {
                Grant::read(&fields);
            }
        }
    }
}
