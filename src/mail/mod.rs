//! The nouns of mail, without I/O: who, what, and what became of it.
//!
//! Every other room speaks in these types. From lettre come [`Address`] and the SMTP [`Envelope`]; the rest is
//! ours. Nothing here opens a file or a socket, knows a protocol's order of commands, or prints.

mod address;
mod content;
mod outcome;
mod reply;
mod secret;
mod step;
mod submission;
mod trouble;

pub use address::{AddressError, Entry, Mailbox, parse_list};
pub use content::{Content, Encoding, Piece, Source};
pub use lettre::{Address, address::Envelope};
pub use outcome::{Outcome, Stage, State};
pub use reply::{EnhancedStatus, Reply};
pub use secret::Secret;
pub use step::{BreakerState, Event, Route, Step, Stop, Submissions};
pub use submission::{DsnNotify, DsnRequest, DsnReturn, RetryPolicy, Submission};
pub use trouble::{Cause, Trouble};

/// Returns foreign text fit for a terminal or a log: control characters and the marks that reverse the direction
/// of writing become `�`, tabs and line ends become spaces.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\r' | '\n' => ' ',
            c if c.is_control() || is_direction_mark(c) => '\u{FFFD}',
            c => c,
        })
        .collect()
}

/// Whether `c` changes the direction in which a terminal shows its neighbours (Unicode TR 9, 2.1 to 2.3).
pub(crate) fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn escape_sequences_lose_their_teeth() {
        assert_eq!(
            clean("5.1.1 \x1b[2Jno\r\nsuch\u{202e} user\u{7}"),
            "5.1.1 \u{FFFD}[2Jno  such\u{FFFD} user\u{FFFD}"
        );
        assert_eq!(clean("Grüße, 世界"), "Grüße, 世界");
    }
}
