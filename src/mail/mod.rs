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

pub use address::{AddressError, Entry, Mailbox, parse_list, parse_list_at};
pub use content::{Content, Encoding, Piece, Source};
pub use lettre::{Address, address::Envelope};
pub use outcome::{Outcome, Stage, State};
pub use reply::{EnhancedStatus, Reply};
pub use secret::Secret;
pub use step::{BreakerState, Event, Route, Step, Stop, Submissions};
pub use submission::{DsnNotify, DsnRequest, DsnReturn, RetryPolicy, Submission};
pub use trouble::{Cause, Trouble};

/// Returns foreign text fit for a terminal or a log: control characters, the marks that reverse the direction of writing
/// and those that show nothing become `�`, tabs and line ends become spaces.
pub fn clean(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .map(|c| {
            let shown = match c {
                '\t' | '\r' | '\n' => ' ',
                // Some languages and emoji join characters with these; between letters of ASCII they only hide.
                '\u{200C}' | '\u{200D}' if !before.is_ascii() => c,
                c if c.is_control() || is_direction_mark(c) || is_invisible(c) => '\u{FFFD}',
                c => c,
            };
            before = c;
            shown
        })
        .collect()
}

/// Whether `c` shows nothing, so that two texts look the same.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2064}' | '\u{206A}'..='\u{206F}'
        | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
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
        for same in ["Grüße, 世界", "می\u{200c}خواهم", "👩\u{200d}🚀"] {
            assert_eq!(clean(same), same);
        }
        for hidden in ['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{ad}', '\u{e0061}', '\u{61c}'] {
            assert_eq!(clean(&format!("ad{hidden}a@x")), "ad\u{FFFD}a@x");
        }
    }
}
