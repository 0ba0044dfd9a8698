//! What OAuth servers say when they refuse a token: JSON in a challenge (RFC 7628, 3.2.2; XOAUTH2 likewise).

use encodify::base64::STANDARD;
use serde::Deserialize;

use crate::mail::clean;

/// A refusal in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// "status 401, scope wanted: …"; empty if it says nothing.
    pub words: String,
    /// Whether another token could do better: this one has expired or is none.
    pub is_about_token: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    status: Option<serde_json::Value>,
    error: Option<String>,
    error_description: Option<String>,
    schemes: Option<String>,
    scope: Option<String>,
    #[serde(rename = "openid-configuration")]
    openid_configuration: Option<String>,
}

impl Refusal {
    /// Reads the challenge, whatever it holds; `hide` takes out of it what nobody may see.
    pub fn parse(challenge: &str, hide: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        let json = hide(STANDARD.decode(challenge.trim()).unwrap_or_default());
        let Ok(said) = serde_json::from_slice::<Said>(&json) else {
            let words = clean(String::from_utf8_lossy(&json).trim());
            return Self { is_about_token: speaks_of_token(&words), words };
        };
        // Google says "400", Dovecot "invalid_token", others 401 as a number.
        let status = said.status.map(|status| status.as_str().map_or_else(|| status.to_string(), str::to_owned));
        let is_about_token =
            status.as_deref().is_some_and(|status| matches!(status, "400" | "401") || speaks_of_token(status))
                || [&said.error, &said.error_description].into_iter().flatten().any(|text| speaks_of_token(text));
        let parts = [
            ("status", status),
            ("error", said.error),
            ("", said.error_description),
            ("schemes", said.schemes.filter(|schemes| !schemes.eq_ignore_ascii_case("bearer"))),
            ("scope wanted:", said.scope.filter(|scope| !scope.is_empty())),
            ("see", said.openid_configuration),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .filter_map(|(name, value)| value.map(|value| format!("{name} {}", clean(&value)).trim().to_owned()))
            .collect();
        Self { words: parts.join(", "), is_about_token }
    }
}

fn speaks_of_token(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("invalid_token") || text.contains("expired")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(json: &str) -> (String, bool) {
        let refusal = Refusal::parse(&STANDARD.encode(json), |said| said);
        (refusal.words, refusal.is_about_token)
    }

    #[test]
    fn refusals_of_real_servers() {
        for (json, words, is_about_token) in [
            (
                // Google's
                r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#,
                "status 400, scope wanted: https://mail.google.com/",
                true,
            ),
            (
                // RFC 7628, 4.3
                r#"{"status":"invalid_token","scope":"example_scope","openid-configuration":"https://example.com/.well-known/openid-configuration"}"#,
                "status invalid_token, scope wanted: example_scope, see https://example.com/.well-known/openid-configuration",
                true,
            ),
            (r#"{"status":"insufficient_scope","scope":"a b"}"#, "status insufficient_scope, scope wanted: a b", false),
            (r#"{"status":401}"#, "status 401", true),
            (r#"{"error":"x","error_description":"Token has expired"}"#, "error x, Token has expired", true),
            ("{}", "", false),
            ("", "", false),
            ("<html>\u{1b}[2J", "<html>\u{FFFD}[2J", false),
            (r#"{"status":"invalid_request","error":"\u001b"}"#, "status invalid_request, error \u{FFFD}", false),
        ] {
            assert_eq!(parse(json), (words.to_owned(), is_about_token), "{json}");
        }
        assert_eq!(Refusal::parse("no Base64!", |said| said).words, "");
    }

    proptest! {
        #[test]
        fn any_challenge_is_survived(text in "\\PC{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            Refusal::parse(&text, |said| said);
            Refusal::parse(&STANDARD.encode(bytes), |said| said);
        }
    }
}
