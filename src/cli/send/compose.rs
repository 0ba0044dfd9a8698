//! From the options to a message with its envelope.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{
    SendArgs,
    book::{AddressBook, Habit},
};
use crate::{
    cli::{
        CliError, Exit,
        args::Context,
        message::{MessageArgs, PriorityArg},
        stdin::Stdin,
        ui,
        user::own_mailbox,
    },
    config::{LocalPlace, Profile, Server},
    feed::{add_unsubscribe, dress},
    mail::{Address, Content, DsnRequest, Entry, Envelope, Mailbox},
    message::{
        AttachmentSpec, Draft, Field, Input, Message, Stamp, compose, message_id, message_ids, parse_date, read_raw,
    },
    net::host_name,
    rows::{self, Origin},
    template::{self, Data, Names},
};

/// A message, and who gets it.
#[derive(Debug)]
pub(super) struct Made {
    /// What needs a way; `None` if aliases lead to nothing but places on this machine.
    pub letter: Option<Letter>,
    /// These places.
    pub places: Vec<LocalPlace>,
    pub content: Content,
    /// The return path.
    pub sender: Option<Address>,
}

/// A message that only needs a way.
#[derive(Debug)]
pub(in crate::cli) struct Letter {
    pub message_id: String,
    pub envelope: Envelope,
    pub content: Content,
    pub dsn: DsnRequest,
    /// For the plan: subject, and a line per part.
    pub subject: Option<String>,
    pub parts: Vec<String>,
}

/// Makes the message; `None` if there is nothing to send and that is right.
pub(super) fn letter(
    send: &SendArgs,
    context: &Context,
    profile: &Profile,
    stdin: &mut Stdin,
    book: &mut AddressBook,
    stamp: &mut Stamp,
) -> Result<Option<Made>, CliError> {
    let args = &send.message;
    let dsn = args.dsn()?;
    let mut named = |option: &str, values: &[String]| book.recipients(option, values, stdin);
    let to = [named("ADDRESS", &send.addresses)?, named("--to", &args.to)?].concat();
    let cc = named("--cc", &args.cc)?;
    let bcc = named("--bcc", &args.bcc)?;
    if let Some(raw) = &send.raw {
        let named = [to, cc, bcc].concat();
        let message = raw_message(args, raw, &named, profile, stdin, book, stamp)?;
        return made(message, dsn, book).map(Some);
    }

    let mut draft = Draft::new(sender(args, context, profile, book.habit())?);
    (draft.to, draft.cc, draft.bcc) = (to, cc, bcc);
    fields(args, profile, book, &mut draft)?;
    texts(args, &mut draft, stdin)?;
    files(args, &mut draft, stdin)?;
    if let Some(unsubscribe) = &args.unsubscribe {
        add_unsubscribe(&mut draft, unsubscribe)?;
    }
    if let Some(name) = &args.template {
        use_template(name, send, context, &mut draft, stdin)?;
    }
    if draft.to.is_empty() && draft.cc.is_empty() && draft.bcc.is_empty() && book.places().is_empty() {
        return Err(no_recipient());
    }
    read_text_from_stdin(args, &mut draft, stdin)?;
    if send.skip_empty && draft.is_blank() {
        return Ok(None);
    }

    let message = compose(&draft, stamp)?;
    let sender = return_path(args, profile.return_path(Some(&draft.from.address)).as_ref())?;
    let parts = parts(&draft);
    let Message { message_id, recipients, content } = message;
    made(Ready { message_id, sender, recipients, content, subject: draft.subject, parts }, dsn, book).map(Some)
}

/// A message that is ready but for its envelope.
struct Ready {
    message_id: String,
    sender: Option<Address>,
    recipients: Vec<Address>,
    content: Content,
    subject: Option<String>,
    parts: Vec<String>,
}

fn made(message: Ready, dsn: DsnRequest, book: &AddressBook) -> Result<Made, CliError> {
    let Ready { message_id, sender, recipients, content, subject, parts } = message;
    let places = book.places().to_vec();
    let letter = match recipients.is_empty() && !places.is_empty() {
        true => None,
        false => Some(Letter {
            envelope: Envelope::new(sender.clone(), recipients).map_err(|_| no_recipient())?,
            message_id,
            content: content.clone(),
            dsn,
            subject,
            parts,
        }),
    };
    Ok(Made { letter, places, content, sender })
}

/// Fills what the options have left open with what the template gives.
fn use_template(
    name: &str,
    send: &SendArgs,
    context: &Context,
    draft: &mut Draft,
    stdin: &mut Stdin,
) -> Result<(), CliError> {
    let template = template::load(name, &context.files)?;
    let mut data = match &send.data {
        Some(word) => {
            let origin = Origin::from_word(word);
            if origin == Origin::Stdin {
                stdin.claim("--data")?;
            }
            rows::data(&origin, &context.environment)?
        }
        None => Map::new(),
    };
    data.extend(send.message.given()?);
    template.check(&Names { given: data.keys().cloned().collect(), optional: Vec::new() })?;
    let locale = data.get("locale").and_then(Value::as_str).map(str::to_owned);
    let rendered = template.render(&Data::new(Value::Object(data)), locale.as_deref())?;
    Ok(dress(draft, rendered)?)
}

fn no_recipient() -> CliError {
    CliError::usage("nobody is named to send it to").hint("mailsend --to ADDRESS …, or --cc, --bcc")
}

fn mailbox(option: &str, text: &str) -> Result<Mailbox, CliError> {
    Mailbox::parse(text).map_err(|error| CliError::address(option, &error))
}

/// Addresses by which a profile may be chosen: the sender's, and that of the return path, empty for the null sender,
/// which is the stronger wish of the two.
pub(in crate::cli) fn senders(args: &MessageArgs, context: &Context) -> Result<Vec<String>, CliError> {
    let named = match named_sender(args)? {
        Some(mailbox) => Some(mailbox.address.to_string()),
        None => {
            let from = ["MAILSEND_FROM", "EMAIL"].iter().find_map(|name| context.environment.get(name));
            // What is wrong with it is told when it is used.
            from.and_then(|from| Mailbox::parse(from).ok()).map(|mailbox| mailbox.address.to_string())
        }
    };
    let path = args.envelope_from.as_ref().map(|_| return_path(args, None));
    let path = path.transpose()?.map(|path| path.map_or_else(String::new, |address| address.to_string()));
    let mut senders: Vec<String> = named.into_iter().chain(path).collect();
    senders.sort_by_key(|sender| !sender.is_empty());
    Ok(senders)
}

/// The sender of `--from`, or of a field given as a whole.
fn named_sender(args: &MessageArgs) -> Result<Option<Mailbox>, CliError> {
    if let Some(from) = &args.from {
        return mailbox("--from", from).map(Some);
    }
    for header in &args.header {
        let field = Field::parse(header)?;
        if field.name.eq_ignore_ascii_case("From") {
            return mailbox("From", &field.value).map(Some);
        }
    }
    Ok(None)
}

fn sender(args: &MessageArgs, context: &Context, profile: &Profile, habit: Habit) -> Result<Mailbox, CliError> {
    if let Some(named) = named_sender(args)? {
        return Ok(named);
    }
    match habit {
        Habit::Strict => default_sender(context, profile),
        Habit::Machine => sender_of_machine(context, profile),
    }
}

/// The sender where no option names one, and a user of this machine will do.
pub(in crate::cli) fn sender_of_machine(context: &Context, profile: &Profile) -> Result<Mailbox, CliError> {
    let domain = profile.sendmail.domain.clone().unwrap_or_else(host_name);
    match profile.from.clone().or_else(|| own_mailbox(context, &domain)) {
        Some(from) => Ok(from),
        None => default_sender(context, profile),
    }
}

/// The sender where no option names one.
pub(in crate::cli) fn default_sender(context: &Context, profile: &Profile) -> Result<Mailbox, CliError> {
    if let Some(from) = &profile.from {
        return Ok(from.clone());
    }
    let is_local = match &profile.server {
        Some(Server::Network { endpoint, .. }) => endpoint.is_loopback(),
        Some(Server::Sendmail { .. } | Server::Maildir { .. }) => true,
        None => false,
    };
    if is_local && let Some(own) = own_mailbox(context, &host_name()) {
        return Ok(Mailbox { name: None, ..own });
    }
    let error = CliError::new(Exit::Configuration, "nobody is named as the sender").hint("name one: --from ADDRESS");
    Err(match (&profile.name, profile.server.is_some()) {
        (Some(name), _) => {
            error.hint(format!("or for good, in [profiles.{name}]: from = \"Your Name <you@example.com>\""))
        }
        (None, true) => error.hint("or for good: export EMAIL=you@example.com"),
        (None, false) => {
            error.hint("or set up an account: mailsend profile add NAME --server smtps://USER@HOST --from ADDRESS")
        }
    })
}

fn return_path(args: &MessageArgs, from: Option<&Address>) -> Result<Option<Address>, CliError> {
    match args.envelope_from.as_deref() {
        None => Ok(from.cloned()),
        Some("<>" | "") => Ok(None),
        Some(address) => mailbox("--envelope-from", address).map(|mailbox| Some(mailbox.address)),
    }
}

fn fields(args: &MessageArgs, profile: &Profile, book: &AddressBook, draft: &mut Draft) -> Result<(), CliError> {
    draft.subject.clone_from(&args.subject);
    if let Some(reply_to) = &args.reply_to {
        draft.reply_to = book.addresses("--reply-to", reply_to)?;
    }
    if let Some(date) = &args.date {
        let date = parse_date(date).map_err(|what| CliError::new(Exit::Data, format!("--date: {what}")))?;
        draft.date = Some(date);
    }
    draft.message_id = args.message_id.as_ref().map(|id| message_id("--message-id", id)).transpose()?;
    let ids = |option: &str, value: &Option<String>| match value {
        Some(ids) => message_ids(option, ids),
        None => Ok(Vec::new()),
    };
    draft.in_reply_to = ids("--in-reply-to", &args.in_reply_to)?;
    draft.references = ids("--references", &args.references)?;
    draft.priority = args.priority.map(PriorityArg::priority);
    draft.wants_read_receipt = args.mdn;
    let mut has_from = args.from.is_some();
    for header in &args.header {
        let field = Field::parse(header)?;
        // The sender was taken from the first already.
        if field.name.eq_ignore_ascii_case("From") && std::mem::replace(&mut has_from, true) {
            return Err(CliError::new(Exit::Data, "From: it is given twice"));
        }
        draft.add_field(field)?;
    }
    if draft.reply_to.is_empty() {
        draft.reply_to.clone_from(&profile.reply_to);
    }
    Ok(())
}

fn texts(args: &MessageArgs, draft: &mut Draft, stdin: &mut Stdin) -> Result<(), CliError> {
    let mut text = |option: &str, value: &Option<String>| match value {
        Some(value) => stdin.text(option, value).map(Some),
        None => Ok(None),
    };
    draft.text = text("--body", &args.body)?;
    draft.html = text("--html", &args.html)?;
    draft.markdown = text("--markdown", &args.markdown)?;
    Ok(())
}

fn files(args: &MessageArgs, draft: &mut Draft, stdin: &mut Stdin) -> Result<(), CliError> {
    let mut open = |option: &str, values: &[String]| {
        let mut attachments = Vec::new();
        for value in values {
            let spec = AttachmentSpec::parse(value);
            if spec.input == Input::Stdin {
                stdin.claim(option)?;
            }
            attachments.push(spec.open(option)?);
        }
        Ok::<_, CliError>(attachments)
    };
    draft.attachments = open("--attach", &args.attach)?;
    draft.inline = open("--inline", &args.inline)?;
    Ok(())
}

/// Standard input is the text when nothing else is; at a terminal somebody has to type it.
fn read_text_from_stdin(args: &MessageArgs, draft: &mut Draft, stdin: &mut Stdin) -> Result<(), CliError> {
    let is_given = args.template.is_some() || args.body.is_some() || args.html.is_some() || args.markdown.is_some();
    if is_given || !stdin.is_free() {
        return Ok(());
    }
    if stdin.is_typed() {
        if !draft.attachments.is_empty() {
            return Ok(());
        }
        ui::tell("Type the text, then Ctrl-D on a line of its own.");
    }
    stdin.claim("the text")?;
    draft.text = Some(stdin.read()?);
    Ok(())
}

fn raw_message(
    args: &MessageArgs,
    raw: &str,
    named: &[Entry],
    profile: &Profile,
    stdin: &mut Stdin,
    book: &AddressBook,
    stamp: &mut Stamp,
) -> Result<Ready, CliError> {
    let input = Input::from_word(raw);
    if input == Input::Stdin {
        stdin.claim("--raw")?;
    }
    let from = match &args.from {
        Some(from) => Some(mailbox("--from", from)?),
        None => profile.from.clone(),
    };
    let is_named = !named.is_empty() || !book.places().is_empty();
    let message = read_raw(&input, from.as_ref(), !is_named, stamp)?;
    let mut seen = HashSet::new();
    let mut recipients: Vec<Address> =
        named.iter().flat_map(Entry::mailboxes).map(|mailbox| mailbox.address.clone()).collect();
    recipients.retain(|address| seen.insert(address.clone()));
    if !is_named {
        recipients = message.recipients;
    }
    let from = from.filter(|_| args.from.is_some()).map(|from| from.address).or(message.from);
    let sender = return_path(args, profile.return_path(from.as_ref()).as_ref())?;
    if sender.is_none() && args.envelope_from.is_none() && !profile.has_null_sender {
        return Err(CliError::new(
            Exit::Configuration,
            format!("{raw} has no From field and nobody is named as the sender"),
        )
        .hint("name one: --from ADDRESS"));
    }
    Ok(Ready {
        message_id: message.message_id,
        sender,
        recipients,
        parts: vec![format!("as it is, from {}", input.path().display())],
        content: message.content,
        subject: None,
    })
}

pub(in crate::cli) fn parts(draft: &Draft) -> Vec<String> {
    let mut parts = Vec::new();
    let texts = [("text", &draft.text), ("HTML", &draft.html), ("Markdown, as text and HTML", &draft.markdown)];
    for (kind, text) in texts {
        if let Some(text) = text {
            parts.push(format!("{kind}, {} octets", text.bytes.len()));
        }
    }
    if draft.html.is_some() && draft.text.is_none() {
        parts.push("text, made of the HTML".to_owned());
    }
    for (kind, files) in [("inline", &draft.inline), ("file", &draft.attachments)] {
        for file in files {
            parts.push(format!("{kind} {}, {}, {} octets", file.name(), file.media_type(), file.size()));
        }
    }
    parts
}
