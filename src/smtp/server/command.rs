//! Command lines: the verb, and what stands behind it (RFC 5321, 4.1.1).

use super::replies::Refusal;

/// The commands that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Ehlo,
    Helo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Quit,
}

impl Verb {
    /// All of them, as HELP says them.
    pub const ALL: [(&str, Verb); 12] = [
        ("EHLO", Verb::Ehlo),
        ("HELO", Verb::Helo),
        ("MAIL", Verb::Mail),
        ("RCPT", Verb::Rcpt),
        ("DATA", Verb::Data),
        ("BDAT", Verb::Bdat),
        ("RSET", Verb::Rset),
        ("NOOP", Verb::Noop),
        ("VRFY", Verb::Vrfy),
        ("EXPN", Verb::Expn),
        ("HELP", Verb::Help),
        ("QUIT", Verb::Quit),
    ];
}

/// Reads a line without its end.
///
/// # Errors
/// 500 for what is no command, or none that is known.
pub(super) fn read(line: &[u8]) -> Result<(Verb, &str), Refusal> {
    let text = std::str::from_utf8(line).map_err(|_| Refusal::new(500, 5, 2, "The command is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(Refusal::new(500, 5, 2, "There are control characters in the command"));
    }
    let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
    let verb = Verb::ALL.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(verb)).map(|(_, verb)| verb);
    let verb = verb.ok_or_else(|| Refusal::new(500, 5, 1, "The command is not known"))?;
    Ok((verb, argument.trim_matches(' ')))
}

/// What stands behind `FROM:` or `TO:`.
///
/// # Errors
/// 501 if that does not stand there.
pub(super) fn behind<'a>(keyword: &str, argument: &'a str) -> Result<&'a str, Refusal> {
    match argument.split_at_checked(keyword.len()) {
        Some((word, rest)) if word.eq_ignore_ascii_case(keyword) => Ok(rest),
        _ => Err(Refusal::new(501, 5, 4, format!("{keyword}<address> is wanted"))),
    }
}

/// The octets of a chunk, and whether it is the last (RFC 3030, 2).
pub(super) fn chunk(argument: &str) -> Option<(u64, bool)> {
    let (size, is_last) = match argument.split_once(' ') {
        None => (argument, false),
        Some((size, word)) => (size, word.trim().eq_ignore_ascii_case("LAST").then_some(true)?),
    };
    let is_number = size.bytes().all(|byte| byte.is_ascii_digit());
    Some((size.parse().ok().filter(|_| is_number)?, is_last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands() {
        assert_eq!(read(b"mail FROM:<>  "), Ok((Verb::Mail, "FROM:<>")));
        assert_eq!(read(b"QUIT"), Ok((Verb::Quit, "")));
        for line in [&b""[..], b" NOOP", b"MAILFROM:<>", b"NOOP\n", b"NOOP\r", b"NOOP\0", b"NOOP \xFF", b"NOOP\t"] {
            assert_eq!(read(line).map_err(|refusal| refusal.code), Err(500), "{line:?}");
        }
        assert_eq!(behind("TO:", "to: <a@b>"), Ok(" <a@b>"));
        assert!(behind("TO:", "FROM:<a@b>").is_err() && behind("TO:", "T\u{f6}").is_err());
    }

    #[test]
    fn chunks() {
        assert_eq!(chunk("10"), Some((10, false)));
        assert_eq!(chunk("0  last"), Some((0, true)));
        for argument in ["", "x", "-1", "+1", "1 FIRST", "1 LAST 2", "99999999999999999999", "LAST"] {
            assert_eq!(chunk(argument), None, "{argument}");
        }
    }
}
