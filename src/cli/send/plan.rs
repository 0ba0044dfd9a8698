//! What would be sent, where, and to whom.

use std::fmt::Write;

use super::compose::{Letter, Made};
use crate::{
    cli::{check::way, queue::Terms},
    config::{Profile, Server},
    mail::clean,
    secret::Wanted,
};

/// The plan of `--dry-run`, a name and a value per line.
pub(super) fn plan(made: &Made, profile: &Profile, wanted: Option<&Wanted>, later: Option<Terms>) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    if let Some(name) = &profile.name {
        lines.push(("profile", name.clone()));
    }
    lines.push((
        "server",
        match &profile.server {
            None => "none: name one with --server, or set up a profile".to_owned(),
            Some(server @ Server::Network { security, .. }) => format!("{server}, security {}", security.as_str()),
            Some(server) => server.to_string(),
        },
    ));
    lines.extend(way(profile).map(|way| ("way", way)));
    if let Some(wanted) = wanted {
        let source = match (wanted.source_of_call(), &wanted.oauth) {
            (None, Some(_)) => "access token by OAuth".to_owned(),
            _ => match wanted.source() {
                Some(source) => format!("password from {source}"),
                None => "password from the stores of login, or a prompt".to_owned(),
            },
        };
        lines.push(("login", format!("{}, {source}", wanted.user)));
    }
    if let Some(terms) = later {
        lines.push(("queue", terms.to_string()));
    }
    let sender = made.sender.as_ref().map_or_else(|| "<>".to_owned(), ToString::to_string);
    lines.push(("return path", sender));
    lines.extend(made.places.iter().map(|place| ("place", place.to_string())));
    if let Some(letter) = &made.letter {
        of_letter(letter, &mut lines);
    }
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{name:<12}{}", clean(value));
        text
    })
}

fn of_letter(letter: &Letter, lines: &mut Vec<(&str, String)>) {
    for recipient in letter.envelope.to() {
        lines.push(("recipient", recipient.to_string()));
    }
    if let Some(subject) = &letter.subject {
        lines.push(("subject", subject.clone()));
    }
    for part in &letter.parts {
        lines.push(("part", part.clone()));
    }
    lines.push(("message", format!("{} octets, Message-ID {}", letter.content.len(), letter.message_id)));
    if letter.content.has_utf8_headers || letter.envelope.to().iter().any(|address| !address.user().is_ascii()) {
        lines.push(("needs", "SMTPUTF8".to_owned()));
    } else if letter.content.is_8bit {
        lines.push(("needs", "8BITMIME".to_owned()));
    }
    if letter.dsn.is_wanted() {
        let notify = letter.dsn.notify.map(|notify| format!("on {notify}"));
        let ret = letter.dsn.ret.map(|ret| format!("returning {ret}"));
        let envid = letter.dsn.envid.as_ref().map(|envid| format!("named {envid}"));
        let wishes: Vec<String> = [notify, ret, envid].into_iter().flatten().collect();
        lines.push(("reports", wishes.join(", ")));
    }
}
