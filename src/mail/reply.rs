//! A server's reply, kept whole (RFC 5321, 4.2; enhanced codes of RFC 3463).

use std::{borrow::Cow, fmt};

/// One reply: the code and the text of every line, decoded leniently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Three digits, 200 to 599 in a reply that makes sense.
    pub code: u16,
    /// The texts behind the codes, one per line, exactly as decoded: control characters are still there.
    pub lines: Vec<String>,
}

impl Reply {
    /// 2xx: done.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 5xx: never like this.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The enhanced status code in front of the text, if it is of the reply's own class (RFC 2034, 4).
    pub fn enhanced(&self) -> Option<EnhancedStatus> {
        let status = EnhancedStatus::parse(self.lines.first()?.split([' ', '\t']).next()?)?;
        (u16::from(status.class) == self.code / 100).then_some(status)
    }

    /// Returns the whole text on one line, without control characters; the enhanced code of later lines is left out.
    pub fn text(&self) -> Cow<'_, str> {
        if let [line] = self.lines.as_slice()
            && line.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        {
            return Cow::Borrowed(line.trim());
        }
        let enhanced = self.enhanced().map(|status| status.to_string());
        let lines = self.lines.iter().enumerate().map(|(number, line)| {
            let line = line.trim();
            match &enhanced {
                Some(enhanced) if number > 0 => line.strip_prefix(enhanced.as_str()).unwrap_or(line).trim_start(),
                _ => line,
            }
        });
        Cow::Owned(super::clean(&lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")))
    }

    /// The name under which the server keeps the accepted message, where its reply has one of the known shapes.
    pub fn remote_id(&self) -> Option<String> {
        let text = self.text();
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        // Postfix "queued as ID", Exim "OK id=ID", OpenSMTPD and sendmail "ID Message accepted", Dovecot "<to> ID Saved",
        // Exchange "<message-id> [InternalId=…] Queued mail for delivery".
        let after = |marker: &[&str]| {
            words.windows(marker.len() + 1).find(|w| w[..marker.len()] == *marker).map(|w| w[marker.len()])
        };
        let before = |marker: &[&str]| words.windows(marker.len() + 1).find(|w| w[1..] == *marker).map(|w| w[0]);
        let id = after(&["queued", "as"])
            .or_else(|| words.iter().find_map(|word| word.strip_prefix("id=")))
            .or_else(|| {
                words
                    .iter()
                    .find_map(|word| word.strip_prefix("[InternalId="))
                    .map(|id| id.trim_end_matches([',', ']']))
            })
            .or_else(|| before(&["Message", "accepted"]))
            .or_else(|| before(&["Saved"]))?;
        Some(id.to_owned()).filter(|id| id.len() <= 255)
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text())
    }
}

/// An enhanced mail system status code (RFC 3463): class, subject, detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnhancedStatus {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// What it is about, 0 to 999.
    pub subject: u16,
    /// More precisely, 0 to 999.
    pub detail: u16,
}

impl EnhancedStatus {
    /// Parses `5.1.1`; other text is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let number = |part: Option<&str>| {
            let part = part?;
            (part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
        };
        let (class, subject, detail) = (number(parts.next())?, number(parts.next())?, number(parts.next())?);
        (matches!(class, 2 | 4 | 5) && parts.next().is_none()).then_some(Self { class: class as u8, subject, detail })
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, lines: &[&str]) -> Reply {
        Reply { code, lines: lines.iter().map(|&line| line.to_owned()).collect() }
    }

    #[test]
    fn enhanced_codes() {
        assert_eq!(reply(550, &["5.1.1 No such user"]).enhanced().unwrap().to_string(), "5.1.1");
        assert_eq!(reply(550, &["4.1.1 odd"]).enhanced(), None);
        for text in ["", "5", "5.1", "5.1.1.1", "5.1.1234", "3.0.0", "5.a.1", "5..1", "+5.1.1"] {
            assert_eq!(EnhancedStatus::parse(text), None, "{text}");
        }
    }

    #[test]
    fn text_is_one_clean_line() {
        let reply = reply(550, &["5.7.1 first", "", "5.7.1 \x1b[31mred", "5.7.1"]);
        assert_eq!(reply.to_string(), "550 5.7.1 first \u{FFFD}[31mred");
    }

    #[test]
    fn queue_ids_of_real_servers() {
        for (text, id) in [
            ("2.0.0 Ok: queued as 4ZcF2k3Zzz", Some("4ZcF2k3Zzz")),
            ("OK id=1vNABC-0000000-1234", Some("1vNABC-0000000-1234")),
            ("2.0.0 8c1b2f3d Message accepted for delivery", Some("8c1b2f3d")),
            ("2.0.0 <a@b.example> iA0xEvCkImf0CwAAnUuWqA Saved", Some("iA0xEvCkImf0CwAAnUuWqA")),
            ("2.6.0 <m@x> [InternalId=4711, Hostname=EX1] Queued mail for delivery", Some("4711")),
            ("2.0.0 OK", None),
            ("queued as", None),
        ] {
            assert_eq!(reply(250, &[text]).remote_id().as_deref(), id, "{text}");
        }
    }
}
