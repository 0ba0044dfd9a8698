//! Names and values as token endpoints and browsers exchange them (RFC 6749, appendix B), and what of them is secret.

use zeroize::Zeroizing;

use crate::mail::Secret;

/// A form that is sent to an endpoint, and everything in it that no message may show.
#[derive(Debug, Default)]
pub(super) struct Form {
    octets: Zeroizing<String>,
    secrets: Vec<Secret>,
}

impl Form {
    /// Adds a field that anybody may see.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        if !self.octets.is_empty() {
            self.octets.push('&');
        }
        self.octets.push_str(name);
        self.octets.push('=');
        self.octets.push_str(&encode(value.as_bytes()));
        self
    }

    /// Adds a secret field.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &Secret) -> Self {
        if !self.octets.is_empty() {
            self.octets.push('&');
        }
        self.octets.push_str(name);
        self.octets.push('=');
        self.octets.push_str(&encode(value.expose()));
        self.secrets.push(value.clone());
        self
    }

    /// The form as it is sent.
    pub fn as_str(&self) -> &str {
        &self.octets
    }

    /// What no message may show.
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, 2.3.
fn encode(octets: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(octets.len() * 3));
    for &octet in octets {
        if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~') {
            text.push(octet.into());
        } else {
            text.push('%');
            text.extend([octet >> 4, octet & 15].map(|half| char::from(b"0123456789ABCDEF"[usize::from(half)])));
        }
    }
    text
}

/// The fields of a query, decoded; what is no UTF-8 is replaced.
pub(super) fn decode(query: &str) -> Vec<(String, String)> {
    let fields = query.split('&').filter(|field| !field.is_empty());
    fields
        .map(|field| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            (decode_one(name), decode_one(value))
        })
        .collect()
}

fn decode_one(text: &str) -> String {
    let digit = |octet: Option<&u8>| octet.and_then(|&octet| char::from(octet).to_digit(16));
    let octets = text.as_bytes();
    let mut decoded = Vec::with_capacity(octets.len());
    let mut at = 0;
    while let Some(&octet) = octets.get(at) {
        match (octet, digit(octets.get(at + 1)), digit(octets.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                // Two digits fit into an octet.
                decoded.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) => decoded.push(b' '),
            (octet, ..) => decoded.push(octet),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Puts asterisks in the place of secrets, also of those that come back percent-encoded.
pub(super) fn conceal(text: &str, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        let plain = String::from_utf8_lossy(secret.expose());
        text = text.replace(plain.as_ref(), "***").replace(encode(secret.expose()).as_str(), "***");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_are_encoded() {
        let form = Form::default()
            .field("scope", "https://mail.google.com/ x")
            .secret("client_secret", &Secret::new("a&ü=+".into()));
        assert_eq!(form.as_str(), "scope=https%3A%2F%2Fmail.google.com%2F%20x&client_secret=a%26%C3%BC%3D%2B");
        assert!(!format!("{:?}", form.secrets()).contains('a'.to_string().repeat(2).as_str()));
    }

    #[test]
    fn queries_are_decoded_whatever_they_are() {
        assert_eq!(
            decode("a=b+c%2B&d&%zz=%"),
            [("a", "b c+"), ("d", ""), ("%zz", "%")].map(|(a, b)| (a.into(), b.into()))
        );
        assert_eq!(decode("a=%ff"), [("a".to_owned(), "\u{FFFD}".to_owned())]);
    }

    #[test]
    fn secrets_are_concealed_in_both_forms() {
        let secrets = [Secret::new(b"s+cret".to_vec()), Secret::new(Vec::new())];
        assert_eq!(conceal("x s+cret s%2Bcret y", &secrets), "x *** *** y");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(name in "[a-z]{1,8}", value in ".*") {
            let form = Form::default().field(&name, &value);
            prop_assert_eq!(decode(form.as_str()), vec![(name, value)]);
        }
    }
}
