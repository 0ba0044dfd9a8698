//! Outcomes as lines for people.

use crate::mail::{Outcome, State};

/// `accepted b@example.com: 250 2.0.0 Ok`, in one line.
pub fn human_line(outcome: &Outcome) -> String {
    let why = match (&outcome.reply, &outcome.trouble) {
        (_, Some(trouble)) => trouble.to_string(),
        (Some(reply), None) => reply.to_string(),
        (None, None) => outcome.remote_id.clone().unwrap_or_default(),
    };
    let why = match outcome.state {
        State::Unknown => format!("{why} - it may have arrived or not"),
        State::Accepted | State::Queued | State::Skipped => why,
        _ if outcome.trouble.is_none() => format!("{why} (at {})", outcome.stage.as_str().to_uppercase()),
        _ => why,
    };
    format!("{} {}: {why}", outcome.state, crate::mail::clean(outcome.recipient.as_ref()))
}

/// The line with its first word in the colour of its state; plain where colours are not wanted.
pub fn paint(line: &str, state: State, has_colour: bool) -> String {
    let colour = match state {
        State::Accepted => 32,
        State::Deferred | State::Unknown => 33,
        State::Failed => 31,
        State::Skipped | State::Queued => 36,
    };
    match line.split_once(' ') {
        Some((word, rest)) if has_colour => format!("\x1b[{colour}m{word}\x1b[0m {rest}"),
        _ => line.to_owned(),
    }
}
