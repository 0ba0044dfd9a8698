//! `-bv`: says what becomes of recipients, without a message and without a connection.

use super::intake::Intake;
use crate::{
    cli::{CliError, Exit, printed, send::no_server, ui},
    config::Server,
    mail::clean,
};

/// Says for each recipient where it goes.
///
/// # Errors
/// 67, if one goes nowhere.
pub(super) fn verify(words: &[String], intake: &Intake<'_>) -> Result<Exit, CliError> {
    if words.is_empty() {
        return Err(CliError::usage("-bv: which recipients?").hint("sendmail -bv ADDRESS …"));
    }
    let profile = intake.profile(&[])?;
    let Some(server) = &profile.server else { return Err(no_server()) };
    let (mailer, host) = match server {
        Server::Network { is_lmtp: true, .. } => ("lmtp", server.to_string()),
        Server::Network { .. } => ("smtp", server.to_string()),
        Server::Sendmail { .. } => ("sendmail", server.to_string()),
        Server::Maildir { .. } => ("maildir", server.to_string()),
    };
    let (mut text, mut exit) = (String::new(), Exit::Success);
    for word in words {
        let expanded = Intake::recipients(word).and_then(|to| intake.expand(&to));
        let expanded = match expanded {
            Ok(expanded) => expanded,
            Err(error) => {
                ui::show(&error);
                text.push_str(&format!("{}... undeliverable\n", clean(word)));
                exit = Exit::NoUser;
                continue;
            }
        };
        let ways = expanded.mailboxes.iter().map(|to| format!("mailer {mailer}, host {host}, user {}", to.address));
        let places = expanded.places.iter().map(|place| format!("mailer local, user {place}"));
        for way in ways.chain(places) {
            text.push_str(&clean(&format!("{word}... deliverable: {way}")));
            text.push('\n');
        }
    }
    printed(ui::print(&text))?;
    Ok(exit)
}
