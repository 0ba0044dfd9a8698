//! `mail`, `mailx`, `Mail`: the habits of those who write mail with BSD's, GNU's and s-nail's programs of these names.
//!
//! Their options become those of `mailsend`, and the message is made as there. Mail is sent, never read.

mod fields;
mod options;
mod typing;

use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal},
    path::Path,
};

use clap::{CommandFactory, Parser};

use self::{
    fields::MediaType,
    options::{Call, Wish},
};
use super::{
    Cli, CliError, Exit,
    args::{CommonArgs, Context},
    printed,
    send::{
        SendArgs,
        book::Habit,
        compose::{Letter, sender_of_machine},
        send_as,
    },
    stdin::Stdin,
    submit::submit,
    ui,
};
use crate::{
    config::{Aliases, Mailrc, Profile, resolve_sendmail},
    mail::{Entry, Mailbox, parse_list_at},
    message::{Input, Text},
    report::is_attended,
};

const HELP: &str = "\
mail [-s SUBJECT] [-c ADDRESS] [-b ADDRESS] [-r FROM] [-a 'FIELD: VALUE'] [-A FILE] ADDRESS... < TEXT

This is mailsend, which sends mail as mail and mailx do. Addresses without '@' are aliases or users of this machine.
  -s SUBJECT         -r ADDRESS  sender and return path
  -c, -b ADDRESS     copies; with -b nobody sees it
  -a 'FIELD: VALUE'  a header field; 'Content-Type: text/html' makes it HTML
  -A FILE            attach a file
  -E                 without text send nothing
  -t                 recipients and other fields stand at the head of the text
See man mailsend-sendmail.";

/// Sends a message as these arguments, without the program's name, ask for it.
pub fn mailx(arguments: &[OsString]) -> Result<Exit, CliError> {
    let mut call = match options::parse(arguments)? {
        Wish::Send(call) => *call,
        Wish::Help => return printed(ui::print(&format!("{HELP}\n"))),
        Wish::Version => return printed(ui::print(&Cli::command().render_version())),
    };
    let context = context(&call)?;
    let text = text(&mut call)?;
    if call.is_empty_handed() {
        return Err(match call.reads_header {
            true => CliError::new(Exit::NoInput, "the text names no recipient: it has no To, Cc or Bcc at its head"),
            false => CliError::usage("nobody is named to send it to").hint("mail -s SUBJECT ADDRESS... < TEXT"),
        });
    }
    if text.bytes.is_empty() && !call.skips_empty && is_attended() && call.attachments.is_empty() {
        ui::tell("Null message body; hope that's ok");
    }
    let args = send_args(&call, &context)?;
    let stdin = Stdin::holding(text);
    send_as(&args, &context, stdin, Habit::Machine, |letter, profile| hand_over(letter, profile, &args, &context))
}

/// Hands the message over.
fn hand_over(letter: Letter, profile: Profile, args: &SendArgs, context: &Context) -> Result<Exit, CliError> {
    Ok(submit(vec![letter], &profile, context, &args.common)?.exit())
}

/// Environment and files; `~/.mailrc` says who writes where the environment does not.
fn context(call: &Call) -> Result<Context, CliError> {
    let common = CommonArgs { verbose: call.is_verbose, ..CommonArgs::default() };
    let mut context = common.context()?;
    let mailrc = Mailrc::path(&context.environment).filter(|_| call.has_mailrc);
    let Some(path) = mailrc else {
        // Neither are its aliases.
        context.environment = context.environment.without(&["MAILRC"]).or("MAILRC", "/dev/null");
        return Ok(context);
    };
    let mailrc = Mailrc::load(&path)?;
    for (name, value) in [("EMAIL", mailrc.from), ("REPLYTO", mailrc.reply_to)] {
        if let Some(value) = value {
            context.environment = context.environment.or(name, &value);
        }
    }
    Ok(context)
}

/// Files that open the text, what comes from standard input, and, at a terminal, what else has to be asked for.
fn text(call: &mut Call) -> Result<Text, CliError> {
    let mut octets = Vec::new();
    for path in &call.texts {
        let input = if path == "-" { Input::Stdin } else { Input::from_word(path) };
        octets.extend(input.read()?);
    }
    let is_taken =
        [&call.texts, &call.attachments].into_iter().flatten().any(|word| word == "-" || word.starts_with("-;"));
    if is_taken {
        // What it is wanted for reads it.
    } else if io::stdin().is_terminal() {
        typing::ask(call)?;
        octets.extend(typing::text()?);
    } else {
        octets.extend(Input::Stdin.read()?);
    }
    if call.reads_header {
        octets = fields::take_header(octets, call)?;
    }
    let charset = call.media_type.as_ref().and_then(|media_type| media_type.charset.clone());
    Ok(Text { bytes: octets, charset })
}

/// The options of `mailsend` that mean the same.
fn send_args(call: &Call, context: &Context) -> Result<SendArgs, CliError> {
    let mut words = vec!["mailsend".to_owned()];
    let mut say = |option: &str, value: &str| words.push(format!("--{option}={value}"));
    for (option, addresses) in [("to", &call.to), ("cc", &call.cc), ("bcc", &call.bcc)] {
        addresses.iter().for_each(|list| say(option, &literal(&list_of(list))));
    }
    call.headers.iter().for_each(|field| say("header", field));
    for file in call.attachments.iter().filter(|file| !call.skips_empty_files || !is_empty_file(file)) {
        say("attach", file);
    }
    for (option, value) in [("subject", &call.subject), ("reply-to", &call.reply_to)] {
        if let Some(value) = value {
            say(option, value);
        }
    }
    if call.media_type.as_ref().is_some_and(MediaType::is_html) {
        say("html", "-");
    }
    words.extend(call.skips_empty.then(|| "--skip-empty".to_owned()));
    words.extend(call.is_dry.then(|| "--dry-run".to_owned()));
    let mut args = Cli::try_parse_from(words).map_err(|error| CliError::usage(error.to_string()))?.send;
    let aliases = Aliases::new(
        &context.files,
        &context.environment,
        &resolve_sendmail(&context.files, &context.environment)?,
        true,
    );
    let whole = |option: &str, text: &str| {
        let Mailbox { name, address } = mailbox(option, text)?;
        Ok::<_, CliError>(Mailbox { name, address: aliases.whole(&address) })
    };
    if let Some(from) = &call.from {
        args.message.from = Some(whole("-r", from)?.to_string());
    }
    match call.return_path.as_deref() {
        Some("" | "<>") => args.message.envelope_from = Some("<>".to_owned()),
        Some(path) => args.message.envelope_from = Some(whole("-r", path)?.address.to_string()),
        None => {}
    }
    if let Some(name) = &call.full_name {
        let sender = match &args.message.from {
            Some(from) => mailbox("-r", from)?,
            None => sender_of_machine(context, &args.profile(context)?)?,
        };
        args.message.from = Some(Mailbox { name: Some(name.clone()), ..sender }.to_string());
    }
    Ok(args)
}

/// One mailbox; a name without '@' has no domain.
fn mailbox(option: &str, text: &str) -> Result<Mailbox, CliError> {
    let entries = parse_list_at(text, "").map_err(|error| CliError::address(option, &error))?;
    match entries.as_slice() {
        [Entry::Mailbox(mailbox)] => Ok(mailbox.clone()),
        _ => Err(CliError::usage(format!("{option}: one address is wanted"))),
    }
}

/// Where spaces are between whole addresses, commas are meant.
fn list_of(text: &str) -> String {
    let words: Vec<&str> = text.split([' ', '\t', ',']).filter(|word| !word.is_empty()).collect();
    let is_spaced = words.len() > 1 && !text.contains(['"', '<', '(', ':', ';']);
    match is_spaced && words.iter().all(|word| word.contains('@')) {
        true => words.join(", "),
        false => text.to_owned(),
    }
}

/// No file of addresses is meant.
fn literal(list: &str) -> String {
    if list.starts_with('@') { format!("@{list}") } else { list.to_owned() }
}

fn is_empty_file(word: &str) -> bool {
    fs::metadata(Path::new(word)).is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_between_addresses_are_commas() {
        for (text, list) in [
            ("a@x.example b@x.example", "a@x.example, b@x.example"),
            ("a@x.example,b@x.example  c@x.example", "a@x.example, b@x.example, c@x.example"),
            ("ada bob@x.example", "ada bob@x.example"),
            ("Ada <a@x.example>", "Ada <a@x.example>"),
            ("ada", "ada"),
        ] {
            assert_eq!(list_of(text), list);
        }
        assert_eq!((literal("@x"), literal("x@y")), ("@@x".to_owned(), "x@y".to_owned()));
    }
}
