//! Puts a letter into the queue, at once or because it could not be sent.

use std::sync::Arc;

use jiff::Zoned;

use super::{
    SendArgs,
    compose::Letter,
    deliver::{envelopes, shorten},
    no_server,
};
use crate::{
    cli::{
        CliError, Exit,
        args::Context,
        queue::{self, Terms, priority, warn_of_password},
        records, ui,
    },
    config::Profile,
    ledger::Record,
    mail::{Envelope, Outcome, Route, clean},
    message::Stamp,
    queue::{Added, Job, Place},
    report::is_attended,
};

/// A recipient that was deferred, with the way and the attempts.
pub(super) type Deferred = (Outcome, Arc<Route>, u32);

/// How a letter is kept, decided before anything is sent.
#[derive(Debug)]
pub(super) struct Keeping {
    place: Place,
    terms: Terms,
    priority: i8,
    key: Option<String>,
}

impl Keeping {
    /// What the options say.
    ///
    /// # Errors
    /// No server, or what is no time.
    pub fn of(args: &SendArgs, profile: &Profile, context: &Context) -> Result<Self, CliError> {
        if profile.server.is_none() {
            return Err(no_server());
        }
        if args.key.is_some() && profile.queue.url.is_some() {
            return Err(CliError::usage("--key has no meaning where RabbitMQ keeps the messages: it knows no keys")
                .hint("its Message-ID is what others can tell a message by: --message-id"));
        }
        let keeping = Self {
            place: queue::place(profile, &args.place, context)?,
            terms: args.later.terms(&profile.queue, &Zoned::now(), context.is_quiet)?,
            priority: priority(args.message.priority),
            key: args.key.clone(),
        };
        warn_of_password(profile, &args.place, context);
        Ok(keeping)
    }

    /// Adds a message for each of these envelopes.
    ///
    /// # Errors
    /// Of the queue.
    pub fn add(
        &self,
        letter: &Letter,
        envelopes: &[Envelope],
        profile: &Profile,
        args: &SendArgs,
        context: &Context,
    ) -> Result<Vec<Added>, CliError> {
        let jobs: Vec<Job> = envelopes
            .iter()
            .map(|envelope| Job {
                message_id: letter.message_id.clone(),
                envelope: envelope.clone(),
                content: letter.content.clone(),
                dsn: letter.dsn.clone(),
                place: self.place.clone(),
                priority: self.priority,
                due: self.terms.due,
                expires: self.terms.expires,
                key: self.key.as_ref().map(|key| match envelope.to() {
                    [recipient] if args.message.verp => format!("{key} {recipient}"),
                    _ => key.clone(),
                }),
            })
            .collect();
        queue::add(&jobs, &profile.queue, context)
    }

    /// Sees to it that somebody sends what was added, or says that nobody does. `is_new`: it was not there before.
    pub fn see_off(&self, is_new: bool, profile: &Profile, args: &SendArgs, context: &Context) {
        // What was there before may be due, whatever is said now. What was deferred just now may well be so for longer.
        let due = self.terms.due.filter(|_| is_new);
        queue::see_off(due, args.queue_on_failure, &profile.queue, &args.common, context);
    }
}

/// Keeps the letter instead of sending it.
pub(super) fn keep(letter: &Letter, profile: &Profile, args: &SendArgs, context: &Context) -> Result<Exit, CliError> {
    let keeping = Keeping::of(args, profile, context)?;
    let envelopes = envelopes(letter, args.message.verp)?;
    let mut records = records::open(&args.report, context)?;
    let added = keeping.add(letter, &envelopes, profile, args, context)?;
    let route = Route {
        profile: profile.name.clone(),
        server: profile.server.as_ref().map_or_else(String::new, ToString::to_string),
    };
    let run = Stamp::now().mark();
    for (envelope, (name, first)) in envelopes.iter().zip(&added) {
        let message_id = first.as_ref().map_or(&letter.message_id, |first| &first.message_id);
        let mut without = Vec::new();
        for recipient in envelope.to() {
            let outcome = match first {
                Some(first) if !first.is_for(recipient) => {
                    without.push(recipient.to_string());
                    let why = format!("a message with this key was queued before as {name}, and not for them");
                    Outcome::skipped(recipient.clone(), why)
                }
                _ => Outcome::queued(recipient.clone(), name),
            };
            records.write(&Record {
                run: &run,
                row: None,
                message_id,
                from: envelope.from(),
                outcome: &outcome,
                route: &route,
                attempts: 0,
                is_redelivered: false,
            });
        }
        let before = || format!("a message with this key was queued before as {name}; this one was not added");
        if !without.is_empty() && !context.is_quiet {
            ui::tell(&clean(&format!("{}, and nothing goes to {}", before(), shorten(&without))));
        } else if !context.is_quiet && (is_attended() || context.is_verbose) {
            ui::tell(&if first.is_none() { format!("queued as {name}") } else { before() });
        }
    }
    let is_new = added.iter().any(|(_, first)| first.is_none());
    keeping.see_off(is_new, profile, args, context);
    match records.finish() {
        Some((target, error)) => {
            Err(CliError::new(Exit::Io, format!("--report {target}: the records are not complete")).source(error))
        }
        None => Ok(Exit::Success),
    }
}
