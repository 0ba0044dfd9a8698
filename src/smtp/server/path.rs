//! The paths of MAIL and RCPT (RFC 5321, 4.1.2).

use crate::mail::{Address, Entry, Mailbox, parse_list_at};

/// Characters outside of quoted strings.
fn unquoted(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.char_indices().filter(move |(_, c)| {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => return !is_quoted,
        }
        false
    })
}

/// Divides what stands behind `FROM:` or `TO:` into the path without its brackets, and the parameters. Programs of one
/// machine leave brackets out, as sendmail lets them.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(' ');
    let Some(path) = text.strip_prefix('<') else {
        let end = unquoted(text).find(|(_, c)| *c == ' ').map_or(text.len(), |(at, _)| at);
        return Some(text.split_at(end)).filter(|(path, _)| !path.is_empty());
    };
    let (end, _) = unquoted(path).find(|(_, c)| *c == '>')?;
    let parameters = &path[end + 1..];
    (parameters.is_empty() || parameters.starts_with(' ')).then_some((&path[..end], parameters))
}

/// The address of a path; of a name alone the domain is `domain`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn address(path: &str, domain: &str) -> Result<Address, String> {
    let Some(mailbox) = without_route(path) else {
        return Err(format!("'{path}' has a route that is none"));
    };
    // The grammar of header fields knows lists, comments and spaces; here is one address.
    if let Some((_, c)) = unquoted(mailbox).find(|(_, c)| c.is_whitespace() || ",;()<>".contains(*c)) {
        return Err(format!("'{path}' is not an address: '{c}' cannot be part of it"));
    }
    match parse_list_at(mailbox, domain).map_err(|error| error.to_string())?.pop() {
        Some(Entry::Mailbox(Mailbox { name: None, address })) => Ok(address),
        _ => Err(format!("'{path}' is not an address")),
    }
}

/// `@a,@b:c@d` is `c@d` (RFC 5321, appendix C).
fn without_route(path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    let mut is_literal = false;
    let end = path.find(|c| {
        is_literal = c == '[' || (is_literal && c != ']');
        c == ':' && !is_literal
    })?;
    let is_hop = |hop: &str| hop.starts_with('@') && Mailbox::parse(&format!("x{hop}")).is_ok();
    path[..end].split(',').all(is_hop).then_some(&path[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_and_parameters() {
        for (text, path, parameters) in [
            ("<a@b> SIZE=1", "a@b", " SIZE=1"),
            (" <a@b>", "a@b", ""),
            ("<>", "", ""),
            ("a@b SIZE=1", "a@b", " SIZE=1"),
            ("root", "root", ""),
            ("<\"a> SIZE=1 \\\"\"@b> X", "\"a> SIZE=1 \\\"\"@b", " X"),
            ("\"a b\"@c X", "\"a b\"@c", " X"),
        ] {
            assert_eq!(split(text), Some((path, parameters)), "{text}");
        }
        for text in ["", " ", "<", "<a@b", "<a@b>SIZE=1", "<\"a@b>", "<a@b>>"] {
            assert_eq!(split(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_of_paths() {
        let read = |path: &str| address(path, "localhost").map(|address| address.to_string());
        for (path, expected) in [
            ("a@b.example", "a@b.example"),
            ("postmaster", "postmaster@localhost"),
            ("-v", "-v@localhost"),
            ("\"a b\"@c.example", "\"a b\"@c.example"),
            ("\"a, b;(c)<d>\"@e.example", "\"a, b;(c)<d>\"@e.example"),
            ("@relay.example:a@b.example", "a@b.example"),
            ("@a.example,@[IPv6:::1],@b.example:c@d.example", "c@d.example"),
            ("@a.example:root", "root@localhost"),
            ("a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"),
            ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"),
        ] {
            assert_eq!(read(path).as_deref(), Ok(expected), "{path}");
        }
        for path in [
            "",
            "a@b.example,c@d.example",
            "a@b.example,",
            ",a@b.example",
            "a b@c.example",
            "a@b.example (c)",
            "()a@b.example",
            "a <b@c.example>",
            "<b@c.example>",
            "g:a@b.example;",
            "g:;",
            "@a.example",
            "@a.example:",
            "@a.example,b@c.example:d@e.example",
            "@a.example,:d@e.example",
            "@@a:b@c.example",
            "a@",
            "a@b@c",
            "a..b",
            "a\u{85}@b.example",
            "a\u{3000}@b.example",
            "a\u{202e}@b.example",
        ] {
            assert!(read(path).is_err(), "{path}");
        }
    }

    proptest! {
        /// Whatever is taken is an address that says itself, and never a second one.
        #[test]
        fn what_is_taken_is_one_address(text in "[a\"\\\\@<>(),;: .ü\\[\\]-]{0,20}") {
            if let Some((path, _)) = split(&text) && let Ok(address) = address(path, "localhost") {
                prop_assert_eq!(Mailbox::parse(address.as_ref()).map(|again| again.address), Ok(address));
            }
        }
    }
}
