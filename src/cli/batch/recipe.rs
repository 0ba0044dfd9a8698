//! From the options of a batch to its recipe: what is literal is taken once, the rest is compiled.

use ring::digest::{Context as Digest, SHA256};

use super::BatchArgs;
use crate::{
    cli::{CliError, Exit, args::Context, message::PriorityArg, send::compose::default_sender, stdin::Stdin},
    config::Profile,
    feed::{FileValue, Recipe, ReturnPath, Values},
    mail::{Address, Mailbox, clean, parse_list},
    message::{AttachmentSpec, Draft, Field, Input, message_id, message_ids, parse_date},
    rows::Layout,
    template::{Kind, Phrase, Template},
};

/// A recipe, and the digest of everything that it was made of.
pub(super) struct Made {
    pub recipe: Recipe,
    pub digest: String,
}

/// Makes the recipe of a batch.
pub(super) fn recipe(
    args: &BatchArgs,
    context: &Context,
    profile: &Profile,
    columns: &[String],
    template: Option<Template>,
    stdin: &mut Stdin,
) -> Result<Made, CliError> {
    let message = &args.message;
    let mut maker = Maker { digest: Digest::new(&SHA256), stdin };
    maker.note("template", template.as_ref().map_or("", Template::digest));
    let from = maker.phrase("--from", &message.from)?;
    let sender = match from.as_ref().map(Phrase::literal) {
        Some(Some(literal)) => mailbox("--from", literal)?,
        // The rows name their own.
        Some(None) => profile.from.clone().map_or_else(|| mailbox("--from", "nobody@localhost"), Ok)?,
        None => default_sender(context, profile)?,
    };
    maker.note("sender", &sender.to_string());
    let mut base = Draft::new(sender);
    let mut values = Values { from: from.filter(|phrase| phrase.literal().is_none()), ..Values::default() };

    values.to = maker.recipients("--to", &message.to)?;
    values.cc = maker.recipients("--cc", &message.cc)?;
    values.bcc = maker.recipients("--bcc", &message.bcc)?;
    values.subject = maker.phrase("--subject", &message.subject)?;
    values.message_id = maker.phrase("--message-id", &message.message_id)?;
    if let Some(literal) = values.message_id.as_ref().and_then(Phrase::literal) {
        message_id("--message-id", literal)?;
        return Err(CliError::usage("--message-id: every message of a batch has its own")
            .hint("let a column be in it: --message-id '<{{id}}@example.com>', or leave it out"));
    }
    values.unsubscribe = maker.phrase("--unsubscribe", &message.unsubscribe)?;
    match maker.phrase("--reply-to", &message.reply_to)? {
        Some(phrase) => match phrase.literal() {
            Some(literal) => {
                base.reply_to = parse_list(literal).map_err(|error| CliError::address("--reply-to", &error))?;
            }
            None => values.reply_to = Some(phrase),
        },
        None => base.reply_to.clone_from(&profile.reply_to),
    }
    for entry in &base.reply_to {
        entry.mailboxes().iter().for_each(|mailbox| maker.note("Reply-To", &mailbox.to_string()));
    }
    maker.note("null sender", if profile.has_null_sender { "1" } else { "" });
    if let Some(address) = &profile.envelope_from {
        maker.note("return path", address.as_ref());
    }
    let mut return_path = match (profile.has_null_sender, &profile.envelope_from) {
        (true, _) => ReturnPath::Null,
        (false, Some(address)) => ReturnPath::Address(address.clone()),
        (false, None) => ReturnPath::Sender,
    };
    if let Some(phrase) = maker.phrase("--envelope-from", &message.envelope_from)? {
        match phrase.literal() {
            Some("" | "<>") => return_path = ReturnPath::Null,
            Some(literal) => return_path = ReturnPath::Address(mailbox("--envelope-from", literal)?.address),
            None => values.envelope_from = Some(phrase),
        }
    }
    values.text = maker.text("--body", &message.body, Kind::Text)?;
    values.html = maker.text("--html", &message.html, Kind::Html)?;
    values.markdown = maker.text("--markdown", &message.markdown, Kind::Text)?;
    let layout = match values.to.is_empty() {
        true => Layout::find(columns, args.to_column.as_deref())?,
        false => Layout::beside(columns)?,
    };
    maker.note("--to-column", layout.to.as_deref().unwrap_or_default());
    maker.files("--attach", &message.attach, &mut base.attachments, &mut values.attach)?;
    maker.files("--inline", &message.inline, &mut base.inline, &mut values.inline)?;
    if let Some(column) = &layout.attach {
        values.attach.push(FileValue::of_column(column)?);
    }
    if let Some(date) = &message.date {
        let date = parse_date(date).map_err(|what| CliError::new(Exit::Data, format!("--date: {what}")))?;
        maker.note("--date", &date);
        base.date = Some(date);
    }
    for (option, ids, place) in [
        ("--in-reply-to", &message.in_reply_to, &mut base.in_reply_to),
        ("--references", &message.references, &mut base.references),
    ] {
        if let Some(ids) = ids {
            maker.note(option, ids);
            *place = message_ids(option, ids)?;
        }
    }
    base.priority = message.priority.map(PriorityArg::priority);
    base.wants_read_receipt = message.mdn;
    for header in &message.header {
        let phrase = maker.one("--header", header, Kind::Line)?;
        if header.split(':').next().is_some_and(|name| name.contains("{{")) {
            return Err(CliError::usage(format!("--header: '{}' has a name that depends on the row", clean(header)))
                .hint("write the field's name as it is: -H 'X-Name: {{value}}'"));
        }
        match phrase.literal() {
            Some(literal) => base.add_field(Field::parse(literal)?)?,
            None => values.headers.push(phrase),
        }
    }
    let has_own = message.header.iter().any(|header| header.to_ascii_lowercase().starts_with("auto-submitted:"));
    if !has_own {
        // RFC 3834, 5: nobody's vacation notice answers it.
        base.add_field(Field::parse("Auto-Submitted: auto-generated")?)?;
    }
    let set = message.given()?;
    for (name, value) in &set {
        maker.note(name, &value.to_string());
    }
    let dsn = message.dsn()?;
    maker.note("wishes", &format!("{:?} {:?} {} {}", dsn, message.priority, message.mdn, message.verp));
    let redirect = args.redirect_to.as_ref().map(|address| mailbox("--redirect-to", address)).transpose()?;
    let redirect: Option<Address> = redirect.map(|mailbox| mailbox.address);
    // What is in the queue without the ledger knowing must not be sent beside it.
    if args.later.is_wanted() {
        maker.note("--queue", "1");
    }
    maker.note("--redirect-to", redirect.as_ref().map_or("", AsRef::as_ref));
    let digest = maker.digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let has_verp = message.verp;
    let recipe = Recipe { base, values, layout, template, set, dsn, return_path, redirect, has_verp };
    recipe.check(columns)?;
    Ok(Made { recipe, digest })
}

fn mailbox(option: &str, text: &str) -> Result<Mailbox, CliError> {
    Mailbox::parse(text).map_err(|error| CliError::address(option, &error))
}

struct Maker<'a> {
    digest: Digest,
    stdin: &'a mut Stdin,
}

impl Maker<'_> {
    fn note(&mut self, name: &str, value: &str) {
        for part in [name, value] {
            self.digest.update(&(part.len() as u64).to_le_bytes());
            self.digest.update(part.as_bytes());
        }
    }

    fn one(&mut self, option: &str, text: &str, kind: Kind) -> Result<Phrase, CliError> {
        self.note(option, text);
        Ok(Phrase::compile(option, text, kind)?)
    }

    fn phrase(&mut self, option: &str, value: &Option<String>) -> Result<Option<Phrase>, CliError> {
        value.as_ref().map(|text| self.one(option, text, Kind::Line)).transpose()
    }

    fn recipients(&mut self, option: &str, values: &[String]) -> Result<Vec<Phrase>, CliError> {
        let mut phrases = Vec::new();
        for value in values {
            match self.stdin.list(option, value)? {
                Some(lines) => {
                    for line in lines {
                        phrases.push(self.one(option, &line, Kind::Line)?);
                    }
                }
                None => {
                    // '@@x' is the literal '@x', here as everywhere.
                    let literal = value.strip_prefix('@').filter(|rest| rest.starts_with('@')).unwrap_or(value);
                    phrases.push(self.one(option, literal, Kind::Line)?);
                }
            }
        }
        Ok(phrases)
    }

    fn text(&mut self, option: &str, value: &Option<String>, kind: Kind) -> Result<Option<Phrase>, CliError> {
        let Some(value) = value else { return Ok(None) };
        let text = self.stdin.text(option, value)?;
        let text = text.decoded(option)?.into_owned();
        self.one(option, &text, kind).map(Some)
    }

    /// Files of a literal name are opened and encoded once; the others with each row.
    fn files(
        &mut self,
        option: &str,
        values: &[String],
        same: &mut Vec<crate::message::Attachment>,
        others: &mut Vec<FileValue>,
    ) -> Result<(), CliError> {
        for value in values {
            self.note(option, value);
            let spec = AttachmentSpec::parse(value);
            if value.contains("{{") {
                others.push(FileValue::new(option, value)?);
                continue;
            }
            if spec.input == Input::Stdin {
                self.stdin.claim(option)?;
            }
            let mut attachment = spec.open(option)?;
            attachment.encode_once()?;
            same.push(attachment);
        }
        Ok(())
    }
}
