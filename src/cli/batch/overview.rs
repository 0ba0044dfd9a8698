//! What a batch would do, before it does it: bad rows, sums, and the question at a terminal.

use crate::{
    cli::{CliError, Exit, send::compose::parts, ui},
    config::Profile,
    feed::Preflight,
    mail::{Entry, clean},
    message::Draft,
    rows::RowError,
};

/// What the first pass has found, for people.
pub(super) struct Overview<'a> {
    pub plan: &'a Preflight,
    pub profile: &'a Profile,
    pub bad_are_skipped: bool,
    /// They go into the queue.
    pub is_kept: bool,
}

impl Overview<'_> {
    /// Tells of bad rows.
    ///
    /// # Errors
    /// If there are some, unless they are to be skipped.
    pub fn complain(&self) -> Result<(), CliError> {
        let plan = self.plan;
        let Some(first) = plan.complaints.first() else { return Ok(()) };
        let mut lines: Vec<String> = plan.complaints.iter().map(ToString::to_string).collect();
        let more = plan.bad.saturating_sub(lines.len() as u64);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        if self.bad_are_skipped && !first.is_final {
            // Each is told when its turn comes.
            return Ok(());
        }
        let rows = if plan.bad == 1 { "a row cannot be sent" } else { "rows cannot be sent" };
        let count = if plan.bad == 1 { String::new() } else { format!("{} ", plan.bad) };
        let mut error = CliError::new(Exit::Data, format!("{count}{rows}; nothing was sent"));
        error.excerpt = Some(lines.join("\n"));
        Err(match first.is_final {
            true => error,
            false => error.hint("correct them, or send the others: --skip-bad-rows --failed bad.csv"),
        })
    }

    /// The sums, one per line.
    pub fn text(&self) -> String {
        let plan = self.plan;
        let mut text = String::new();
        let mut line = |name: &str, value: String| text.push_str(&format!("{name:<12}{value}\n"));
        if let Some(name) = &self.profile.name {
            line("profile", name.clone());
        }
        let server = self.profile.server.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        line("server", server);
        line("rows", plan.rows.to_string());
        line("messages", plan.messages.to_string());
        line("recipients", plan.recipients.to_string());
        for (name, count) in [
            ("duplicates", plan.duplicates),
            ("excluded", plan.excluded),
            ("bad", plan.bad),
            ("settled", plan.done),
            ("unknown", plan.unknown),
        ] {
            if count > 0 {
                line(name, count.to_string());
            }
        }
        line("largest", format!("{} octets", plan.largest));
        text
    }

    /// Asks, if somebody is there who can answer.
    ///
    /// # Errors
    /// If the terminal cannot be read.
    pub fn is_agreed(&self, is_quiet: bool) -> Result<bool, CliError> {
        if is_quiet || self.plan.messages == 0 || !ui::can_ask() {
            return Ok(true);
        }
        ui::tell(self.text().trim_end());
        let messages = count(self.plan.messages, "message");
        ui::is_agreed(&match self.is_kept {
            true => format!("Put {messages} into the queue?"),
            false => format!("Send {messages} now?"),
        })
    }
}

/// `1 message`, `2 messages`.
fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Messages as people read them.
///
/// # Errors
/// If one cannot be made.
pub(super) fn preview(drafts: &[Result<(u64, Draft), RowError>], redirect: Option<&str>) -> Result<String, CliError> {
    let mut text = String::new();
    for draft in drafts {
        let (row, draft) = draft.as_ref().map_err(|error| CliError::new(Exit::Data, error.to_string()))?;
        let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<12}{}\n", clean(value)));
        line("row", &row.to_string());
        line("from", &draft.from.to_string());
        for (name, entries) in [("to", &draft.to), ("cc", &draft.cc), ("bcc", &draft.bcc)] {
            for mailbox in entries.iter().flat_map(Entry::mailboxes) {
                line(name, &mailbox.to_string());
            }
        }
        if let Some(redirect) = redirect {
            line("sent to", redirect);
        }
        if let Some(subject) = &draft.subject {
            line("subject", subject);
        }
        for field in &draft.fields {
            line("field", &format!("{}: {}", field.name, field.value));
        }
        for part in parts(draft) {
            line("part", &part);
        }
        for body in [&draft.text, &draft.markdown].into_iter().flatten() {
            text.push('\n');
            for line in String::from_utf8_lossy(&body.bytes).lines() {
                text.push_str(&clean(line));
                text.push('\n');
            }
        }
        text.push('\n');
    }
    Ok(text)
}
