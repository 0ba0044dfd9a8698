//! mailsend gets mail from a shell, a cron job or a CI script to a mail server, and tells for every single recipient
//! what became of it.
//!
//! # The house
//!
//! One crate: this library and a binary of ten lines. One ordered list of rooms; a module imports only from rooms
//! before it, and a test at the foot of this file holds the list:
//!
//! | room | what is in it |
//! |---|---|
//! | [`mail`] | nouns without I/O: mailbox, envelope, submission, content, reply, outcome, secret, and the two channels between a feed and its sessions |
//! | [`net`] | byte streams: connecting to a host, proxies, TLS, certificates; what the DNS and web servers say |
//! | [`config`] | TOML, environment, flags and other programs' files to one resolved profile; aliases; parse only |
//! | [`secret`] | passwords from the stores of login, file, descriptor, command, environment, systemd, netrc, terminal; OAuth tokens |
//! | [`message`] | draft to MIME, raw messages, and the octets of a content as a stream |
//! | [`template`] | Handlebars templates for text, HTML and header fields |
//! | [`rows`] | tables and template data from files, standard input, web servers, commands |
//! | [`smtp`] | the conversation over any byte stream: replies, capabilities, login, transactions; the server's side of it without I/O |
//! | [`ledger`] | what a batch intended, and what came of it |
//! | [`queue`] | messages that are kept, on this machine or in RabbitMQ, and sent later by whoever drains it |
//! | [`transport`] | doors: SMTP and LMTP server, sendmail program, maildir; mailbox files and commands of aliases |
//! | [`delivery`] | the engine: sessions of one or several outlets, opened as submissions come, replaced when they die; rate, circuit breaker, fallback |
//! | [`feed`] | where submissions come from and who is told: one message, a batch, the queue |
//! | [`report`] | events to lines for people, records, progress, the log |
//! | [`cli`] | one file per command, and those of sendmail and mailx; standard input and output, errors, exit codes |
//!
//! Data climbs once and comes down as events and an exit code. `mail`, `net::certificate`, `config`, `secret` and
//! `message` are synchronous; tokio lives where bytes meet a socket. Its runtime is built in one function of `cli`, and in
//! [`net::http::ask_and_wait`] for those who wait for a web server while they have no runtime.
//!
//! # How a message goes
//!
//! `cli` resolves flags, environment and files to a [`config::Profile`], makes a [`message::Draft`] and of it a
//! [`mail::Submission`]. [`feed::once()`] owns it and its retries; it hands it to [`delivery::deliver`] through one
//! channel and gets [`mail::Step`]s through another. The engine opens a [`transport::Session`], which pulls further
//! submissions as long as there are some and the outlet's gate lets them through: a single message is a window of one.
//! Before the last byte of a message leaves, the session sends `Commit` and waits for the feed's consent; an intent without
//! an outcome is `unknown`. [`feed::Batch`] reads [`rows`] on a thread of its own and composes them by a [`feed::Recipe`] on
//! others; it notes in the [`ledger`] what is about to leave and what came of it. What waits for another attempt is the
//! number of a row, and is composed again.
//!
//! With `--queue` it stops half way: the composed message and its envelope go into the [`queue`], with the *place* that says
//! by which profile or server it is to leave. [`feed::drain`] takes what is due under leases, and runs a delivery for each
//! place; before the last byte leaves, a compare-and-set on the lease tells whether the message is still its own. With
//! RabbitMQ ([`queue::amqp`]) the message is a line of JSON with the composed octets behind it, and whoever has it may send it
//! as long as RabbitMQ answers; it is acknowledged once everything that follows from it is confirmed. Jobs of other programs
//! become messages there, by a function that `cli` gives along.
//!
//! Called as `sendmail`, or as `mail`, it takes messages of programs: whatever their octets are,
//! [`message::read_submitted`] makes them fit; names of this machine go through [`config::Aliases`]; they are in the queue,
//! or in the [drop directory](queue::Drop) of a machine's mail service, before the program hears of them.
//! [`smtp::Server`] is the other side of a conversation, for programs that speak SMTP into a pipe.
//!
//! [`smtp::Exchange`] decides, without I/O, which bytes may go out and what each reply means for whom;
//! [`smtp::converse`] moves the bytes. The rules of the wire:
//!
//! - Nothing is sent before the 220. PIPELINING whenever it is offered: with DATA, the content of one message leaves
//!   together with MAIL, RCPT and DATA of the next, if that is ready; with CHUNKING, windows of MAIL, RCPT, BDAT LAST.
//! - In a window every transaction after the first begins with RSET; with DATA, one after a transaction whose content
//!   was not sent does.
//! - Content up to 64 KiB goes in one group with MAIL and RCPT; larger content waits until somebody wants it, and is
//!   read from its files while it leaves.
//! - A reply that does not fit ends the session; what is inconsistent or complete and unanswered is `unknown`, what
//!   had not left whole is `deferred`. After a 421 everything behind it is due again, without an attempt counted.
//! - Reading never waits for writing. After a failed write everything that still comes is read.
//! - A session in which 8 messages found no willing recipient is replaced. Windows are no longer than what is left of
//!   these 8 until the server has accepted something, and once it has refused all recipients of a message.
//! - A second session to a server opens only after the first has logged in; a refused login stops the run.
//! - STARTTLS: anything behind the server's consent ends the session; only the EHLO after TLS counts.
//! - LMTP: one reply to the content per willing recipient; missing ones are `unknown`; no lone dot.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cli;
pub mod config;
pub mod delivery;
pub mod feed;
pub mod ledger;
pub mod mail;
pub mod message;
pub mod net;
pub mod queue;
pub mod report;
pub mod rows;
pub mod secret;
pub mod smtp;
pub mod template;
pub mod transport;

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fs, path::Path};

    const ROOMS: [&str; 15] = [
        "mail",
        "net",
        "config",
        "secret",
        "message",
        "template",
        "rows",
        "smtp",
        "ledger",
        "queue",
        "transport",
        "delivery",
        "feed",
        "report",
        "cli",
    ];

    /// Every `crate::room` in every file of a room names a room before it, or the room itself.
    #[test]
    fn rooms_import_only_from_rooms_before_them() {
        let rank: HashMap<&str, usize> = ROOMS.iter().enumerate().map(|(rank, room)| (*room, rank)).collect();
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut seen = 0;
        for entry in fs::read_dir(&src).unwrap() {
            let path = entry.unwrap().path();
            let room = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if ["lib", "main"].contains(&room.as_str()) {
                continue;
            }
            let own = *rank.get(room.as_str()).unwrap_or_else(|| panic!("{room} is no room of the list"));
            seen += 1;
            for file in files(&path) {
                let text = fs::read_to_string(&file).unwrap();
                for used in imports(&text) {
                    let used_rank = rank.get(used.as_str()).unwrap_or_else(|| panic!("{file:?} imports {used}"));
                    assert!(*used_rank <= own, "{} ({room}) imports from {used}, a room above it", file.display());
                }
            }
        }
        assert_eq!(seen, ROOMS.len(), "a room of the list is not there");
    }

    fn files(path: &Path) -> Vec<std::path::PathBuf> {
        if path.is_file() {
            return vec![path.to_owned()];
        }
        fs::read_dir(path)
            .unwrap()
            .flat_map(|entry| files(&entry.unwrap().path()))
            .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
            .collect()
    }

    /// First names behind `crate::`, also those in braces.
    fn imports(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (at, _) in text.match_indices("crate::") {
            let rest = &text[at + "crate::".len()..];
            let Some(group) = rest.strip_prefix('{') else {
                found.push(first_word(rest));
                continue;
            };
            let mut depth = 0;
            let mut at_start = true;
            for (position, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => at_start = true,
                    c if at_start && c.is_alphabetic() => {
                        found.push(first_word(&group[position..]));
                        at_start = false;
                    }
                    _ => {}
                }
            }
        }
        found
    }

    fn first_word(text: &str) -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    }

    #[test]
    fn imports_are_found_in_every_form() {
        let text = "use crate::mail::X; use crate::{config::{A, B}, net::C,\n    smtp::D};\ncrate::report::x();";
        assert_eq!(imports(text), ["mail", "config", "net", "smtp", "report"]);
    }
}
