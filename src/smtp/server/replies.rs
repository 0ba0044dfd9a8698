//! Replies as a server writes them (RFC 5321, 4.2; RFC 2034).

use crate::mail::{EnhancedStatus, clean};

/// Octets of text per line: a line has up to 512 with code and end (RFC 5321, 4.5.3.1.5).
const MAX_TEXT: usize = 480;

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// 400 to 599; 421 ends the session.
    pub code: u16,
    /// The same, more precisely.
    pub enhanced: EnhancedStatus,
    /// Words for people.
    pub text: String,
}

impl Refusal {
    /// The class of the enhanced code is that of `code`.
    pub fn new(code: u16, subject: u16, detail: u16, text: impl Into<String>) -> Self {
        let class = if code < 500 { 4 } else { 5 };
        Self { code, enhanced: EnhancedStatus { class, subject, detail }, text: text.into() }
    }

    /// Whether it is about the command itself: one that a client that knows what it does would not have sent.
    pub(super) fn is_about_the_command(&self) -> bool {
        matches!(self.code, 500..=504 | 555)
    }
}

/// Writes a reply. What cannot be shown, or is not ASCII, is not in it: before SMTPUTF8 nobody has asked for that (RFC
/// 6531, 3.7.4.2).
pub(super) fn write(out: &mut Vec<u8>, code: u16, enhanced: Option<EnhancedStatus>, text: &str) {
    let text: String = clean(text).chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
    let enhanced = enhanced.map(|enhanced| format!("{enhanced} ")).unwrap_or_default();
    let mut rest = text.as_str();
    loop {
        let (line, behind) = rest.split_at_checked(MAX_TEXT).unwrap_or((rest, ""));
        let mark = if behind.is_empty() { ' ' } else { '-' };
        out.extend_from_slice(format!("{code}{mark}{enhanced}{line}\r\n").as_bytes());
        rest = behind;
        if rest.is_empty() {
            return;
        }
    }
}

/// Writes a reply of several lines.
pub(super) fn write_lines(out: &mut Vec<u8>, code: u16, lines: &[String]) {
    for (number, line) in lines.iter().enumerate() {
        let mark = if number + 1 == lines.len() { ' ' } else { '-' };
        out.extend_from_slice(format!("{code}{mark}{line}\r\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::ReplyReader;

    #[test]
    fn replies_are_what_a_client_reads() {
        let mut out = Vec::new();
        let long = "word ".repeat(300);
        let refusal = Refusal::new(450, 2, 1, "Grüße\r\n250 ok\0");
        for text in [&*refusal.text, "", &long] {
            write(&mut out, refusal.code, Some(refusal.enhanced), text);
        }
        assert!(out.is_ascii() && out.split(|&byte| byte == b'\n').all(|line| line.len() < 512));
        let mut reader = ReplyReader::default();
        reader.push(&out);
        let texts: Vec<String> =
            std::iter::from_fn(|| reader.take().unwrap()).map(|reply| reply.lines.concat()).collect();
        assert_eq!(texts[..2], ["4.2.1 Gr??e  250 ok?", "4.2.1 "]);
        assert_eq!(texts[2].replace("4.2.1 ", ""), long);
        assert_eq!(texts.len(), 3);
    }
}
