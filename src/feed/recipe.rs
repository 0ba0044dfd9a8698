//! What the messages of a batch are made of: options, template and columns, put together row by row.
//!
//! Whatever is the same for all rows is parsed and opened once. Nothing is sent here, and no option is known.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ring::hmac;
use serde_json::{Map, Value};

use crate::{
    mail::{Address, Content, DsnRequest, Entry, Envelope, Mailbox, clean, parse_list},
    message::{
        Attachment, AttachmentSpec, ComposeError, Draft, Field, Input, Message, Stamp, Text, check, compose, message_id,
    },
    rows::{Layout, Position, Recipients, Row, RowError},
    template::{Data, Kind, Names, Phrase, Rendered, Template, TemplateError},
};

/// What every row's message is made of.
#[derive(Debug)]
pub struct Recipe {
    /// What is the same for all.
    pub base: Draft,
    /// What differs from row to row.
    pub values: Values,
    /// Where the recipients stand in a row.
    pub layout: Layout,
    /// The template.
    pub template: Option<Template>,
    /// Names beside the columns, which they hide.
    pub set: Map<String, Value>,
    /// Delivery reports wished for.
    pub dsn: DsnRequest,
    /// The return path, if it is the same for all and not the sender.
    pub return_path: ReturnPath,
    /// Everybody who gets the messages, instead of their recipients.
    pub redirect: Option<Address>,
    /// Every recipient has a return path of its own, which names it.
    pub has_verp: bool,
}

/// Options whose values are templates.
#[derive(Debug, Default)]
pub struct Values {
    /// To; then the column is not looked at.
    pub to: Vec<Phrase>,
    /// Cc, beside the column.
    pub cc: Vec<Phrase>,
    /// Bcc, beside the column.
    pub bcc: Vec<Phrase>,
    /// From.
    pub from: Option<Phrase>,
    /// Return path.
    pub envelope_from: Option<Phrase>,
    /// Reply-To.
    pub reply_to: Option<Phrase>,
    /// Subject.
    pub subject: Option<Phrase>,
    /// Text part.
    pub text: Option<Phrase>,
    /// HTML part.
    pub html: Option<Phrase>,
    /// Text and HTML part.
    pub markdown: Option<Phrase>,
    /// Files.
    pub attach: Vec<FileValue>,
    /// Images of the HTML.
    pub inline: Vec<FileValue>,
    /// Whole fields.
    pub headers: Vec<Phrase>,
    /// Message-ID.
    pub message_id: Option<Phrase>,
    /// Web address that unsubscribes with one click (RFC 8058).
    pub unsubscribe: Option<Phrase>,
}

/// Where reports of failure go.
#[derive(Debug, Clone, Default)]
pub enum ReturnPath {
    /// To the sender.
    #[default]
    Sender,
    /// Nowhere: `<>`.
    Null,
    /// To this address.
    Address(Address),
}

/// A file whose name depends on the row.
#[derive(Debug)]
pub struct FileValue {
    /// The option, for messages.
    option: String,
    path: Phrase,
    name: Option<Phrase>,
    marks: AttachmentSpec,
    /// The folder of the literal beginning; no row leads out of it.
    root: PathBuf,
    /// Whether an empty path means no file.
    may_be_empty: bool,
}

/// The messages of a row.
#[derive(Debug, Clone)]
pub struct Letters {
    /// Of all of them, with its angle brackets.
    pub message_id: String,
    /// The messages; none, if nobody is left to get one.
    pub all: Vec<Letter>,
}

/// A message that only needs a way.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Return path and recipients.
    pub envelope: Envelope,
    /// The message.
    pub content: Content,
}

/// Message-IDs of the rows of one run: the same for every attempt, and nobody can guess them.
#[derive(Debug, Clone)]
pub struct RowIds(hmac::Key);

impl RowIds {
    /// The IDs of this run.
    pub fn new(run: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, run.as_bytes()))
    }

    /// The Message-ID of a row, with its angle brackets.
    fn of(&self, row: u64, domain: &str) -> String {
        let mut id = String::with_capacity(24 + domain.len());
        id.push('<');
        id.push_str(&self.mark(row));
        id.push('@');
        id.extend(domain.chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)));
        id.push('>');
        id
    }

    /// 20 characters from 0-9 and a-v.
    fn mark(&self, row: u64) -> String {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let tag = hmac::sign(&self.0, &row.to_be_bytes());
        tag.as_ref().iter().take(20).map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect()
    }
}

impl FileValue {
    /// Takes what stands behind `option`; its marks are split off before it is a template.
    ///
    /// # Errors
    /// If it is no template.
    pub fn new(option: &str, text: &str) -> Result<Self, TemplateError> {
        let marks = AttachmentSpec::parse(text);
        let path = match &marks.input {
            Input::Stdin => "-".to_owned(),
            Input::Path(path) => path.to_string_lossy().into_owned(),
        };
        Ok(Self {
            option: option.to_owned(),
            name: marks.name.as_deref().map(|name| Phrase::compile(option, name, Kind::Line)).transpose()?,
            root: literal_folder(&path),
            path: Phrase::compile(option, &path, Kind::Line)?,
            marks,
            may_be_empty: false,
        })
    }

    /// The file that a column names, in the present folder.
    ///
    /// # Errors
    /// If the column's name cannot stand in a template.
    pub fn of_column(column: &str) -> Result<Self, TemplateError> {
        let place = format!("column '{}'", clean(column));
        let path = Phrase::compile(&place, &format!("{{{{[{column}]}}}}"), Kind::Line)?;
        let marks = AttachmentSpec { input: Input::Stdin, name: None, media_type: None, cid: None, charset: None };
        Ok(Self { option: place, path, name: None, marks, root: PathBuf::from("."), may_be_empty: true })
    }

    /// Everything in it that is a template.
    pub fn phrases(&self) -> impl Iterator<Item = &Phrase> {
        [&self.path].into_iter().chain(&self.name)
    }

    fn open(&self, data: &Data) -> Result<Option<Attachment>, Complaint> {
        let path = self.path.render(data)?;
        if path.is_empty() && self.may_be_empty {
            return Ok(None);
        }
        if path.is_empty() {
            return Err(Complaint(format!("{}: the name of the file is empty", self.option)));
        }
        let place = Path::new(&path);
        // Who fills the table must not get at other files.
        let whole = |path: &Path| fs::canonicalize(path).map_err(|error| unreadable(path, &error));
        let (file, root) = (whole(place)?, whole(&self.root)?);
        let below = file.strip_prefix(&root).ok().filter(|_| root.parent().is_some());
        let Some(below) = below else {
            let what = format!("{}: '{}' lies outside of {}", self.option, clean(&path), self.root.display());
            return Err(Complaint(what));
        };
        // What programs keep for themselves is nobody's attachment: keys, passwords, configuration.
        if below.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b".")) {
            return Err(Complaint(format!(
                "{}: '{}' is a hidden file, or in a hidden folder",
                self.option,
                clean(&path)
            )));
        }
        // A pipe would be waited for.
        if !file.is_file() {
            return Err(Complaint(format!("{}: '{}' is no regular file", self.option, clean(&path))));
        }
        let name = match &self.name {
            Some(name) => Some(name.render(data)?),
            None => place.file_name().map(|name| name.to_string_lossy().into_owned()),
        };
        let spec = AttachmentSpec { input: Input::Path(file), name, ..self.marks.clone() };
        Ok(Some(spec.open(&self.option)?))
    }
}

/// The folder of what stands before the first expression.
fn literal_folder(path: &str) -> PathBuf {
    let literal = path.split_once("{{").map_or(path, |(literal, _)| literal);
    match literal.rsplit_once('/') {
        Some(("", _)) => PathBuf::from("/"),
        Some((folder, _)) => PathBuf::from(folder),
        None => PathBuf::from("."),
    }
}

/// A clause that says what is wrong with a row.
struct Complaint(String);

impl Complaint {
    fn of(self, number: u64, position: Position) -> RowError {
        RowError { number, position: Some(position), what: self.0, is_final: false }
    }
}

impl From<TemplateError> for Complaint {
    fn from(error: TemplateError) -> Self {
        Self(error.to_string())
    }
}

impl From<ComposeError> for Complaint {
    fn from(error: ComposeError) -> Self {
        Self(error.to_string())
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Complaint {
    Complaint(format!("{} cannot be read: {error}", clean(&path.display().to_string())))
}

impl Recipe {
    /// Whether every name in it is known.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self, columns: &[String]) -> Result<(), TemplateError> {
        let mut names = Names { given: columns.to_vec(), optional: Vec::new() };
        names.given.extend(self.set.keys().cloned());
        for phrase in self.values.phrases() {
            phrase.check(&names)?;
        }
        self.template.as_ref().map_or(Ok(()), |template| template.check(&names))
    }

    /// Makes the message of a row: one, or one for each recipient if each has a return path of its own. Of the
    /// recipients only those get it for whom `is_wanted`, which is asked with the recipient of the row and with who
    /// gets it instead; there may be none.
    ///
    /// # Errors
    /// With what is wrong with the row.
    pub fn letters(
        &self,
        row: Row,
        ids: &RowIds,
        stamp: &mut Stamp,
        is_wanted: &mut dyn FnMut(&Address, &Address) -> bool,
    ) -> Result<Letters, RowError> {
        let (number, position) = (row.number, row.position);
        let make = || {
            let (draft, envelopes) = self.addressed(row, ids, is_wanted)?;
            let Message { message_id, content, .. } = compose(&draft, stamp)?;
            let letter = |envelope| Letter { envelope, content: content.clone() };
            Ok(Letters { message_id, all: envelopes.into_iter().map(letter).collect() })
        };
        make().map_err(|complaint: Complaint| complaint.of(number, position))
    }

    /// Looks whether [`Recipe::letters`] could be made of the row. Returns the message, not put together, and how many
    /// there would be.
    ///
    /// # Errors
    /// As [`Recipe::letters`].
    pub fn look(
        &self,
        row: Row,
        ids: &RowIds,
        is_wanted: &mut dyn FnMut(&Address, &Address) -> bool,
    ) -> Result<(Draft, usize), RowError> {
        let (number, position) = (row.number, row.position);
        let look = || {
            let (draft, envelopes) = self.addressed(row, ids, is_wanted)?;
            check(&draft)?;
            Ok((draft, envelopes.len()))
        };
        look().map_err(|complaint: Complaint| complaint.of(number, position))
    }

    /// The message of a row before it is put together, to be looked at.
    ///
    /// # Errors
    /// With what is wrong with the row.
    pub fn draft(&self, row: Row) -> Result<Draft, RowError> {
        let (number, position) = (row.number, row.position);
        self.drafted(row).map(|(draft, _)| draft).map_err(|complaint| complaint.of(number, position))
    }

    fn drafted(&self, row: Row) -> Result<(Draft, Data), Complaint> {
        let values = &self.values;
        let mut draft = self.base.clone();
        let found = self.layout.recipients(&row).map_err(|error| Complaint(error.what))?;
        let locale = self.layout.locale_of(&row).map(str::to_owned);
        let mut cells = row.cells;
        cells.extend(self.set.iter().map(|(name, value)| (name.clone(), value.clone())));
        let mut data = Data::new(Value::Object(cells));
        if let Some(template) = &self.template {
            data = data.with_optional(template.optional());
        }
        if let Some(from) = &values.from {
            draft.from = mailbox("--from", &from.render(&data)?)?;
        }
        self.recipients(found, &data, &mut draft)?;
        self.fields(&data, &mut draft)?;
        let text =
            |phrase: &Option<Phrase>| phrase.as_ref().map(|phrase| phrase.render(&data).map(Text::from)).transpose();
        draft.text = text(&values.text)?;
        draft.html = text(&values.html)?;
        draft.markdown = text(&values.markdown)?;
        if let Some(template) = &self.template {
            dress(&mut draft, template.render(&data, locale.as_deref())?)?;
        }
        for (files, place) in [(&values.attach, &mut draft.attachments), (&values.inline, &mut draft.inline)] {
            for file in files {
                place.extend(file.open(&data)?);
            }
        }
        Ok((draft, data))
    }

    /// The message of a row, and who it goes to.
    fn addressed(
        &self,
        row: Row,
        ids: &RowIds,
        is_wanted: &mut dyn FnMut(&Address, &Address) -> bool,
    ) -> Result<(Draft, Vec<Envelope>), Complaint> {
        let values = &self.values;
        let number = row.number;
        let (mut draft, data) = self.drafted(row)?;
        draft.message_id = Some(match &values.message_id {
            Some(id) => message_id("--message-id", &id.render(&data)?)?,
            None => ids.of(number, draft.from.address.domain()),
        });
        let sender = match (&values.envelope_from, &self.return_path) {
            (Some(path), _) => match path.render(&data)?.as_str() {
                "" | "<>" => None,
                path => Some(mailbox("--envelope-from", path)?.address),
            },
            (None, ReturnPath::Sender) => Some(draft.from.address.clone()),
            (None, ReturnPath::Null) => None,
            (None, ReturnPath::Address(address)) => Some(address.clone()),
        };
        let mut recipients = draft.recipients();
        if recipients.is_empty() {
            return Err(Complaint("nobody is named to send it to".to_owned()));
        }
        recipients.retain(|recipient| is_wanted(recipient, self.redirect.as_ref().unwrap_or(recipient)));
        if let Some(address) = self.redirect.as_ref().filter(|_| !recipients.is_empty()) {
            recipients = vec![address.clone()];
        }
        if !self.has_verp {
            return Ok((draft, Envelope::new(sender, recipients).ok().into_iter().collect()));
        }
        let Some(sender) = sender else {
            return Err(Complaint("--verp: there is no return path to put the recipient into".to_owned()));
        };
        let mut envelopes = Vec::with_capacity(recipients.len());
        for recipient in recipients {
            let path = verp(&sender, &recipient).map_err(Complaint)?;
            envelopes.extend(Envelope::new(Some(path), vec![recipient]));
        }
        Ok((draft, envelopes))
    }

    fn recipients(&self, found: Recipients, data: &Data, draft: &mut Draft) -> Result<(), Complaint> {
        let values = &self.values;
        draft.to.extend(found.to);
        draft.cc.extend(found.cc);
        draft.bcc.extend(found.bcc);
        let lists = [
            ("--to", &values.to, &mut draft.to),
            ("--cc", &values.cc, &mut draft.cc),
            ("--bcc", &values.bcc, &mut draft.bcc),
        ];
        for (option, phrases, place) in lists {
            for phrase in phrases {
                place.extend(list(option, &phrase.render(data)?)?);
            }
        }
        Ok(())
    }

    fn fields(&self, data: &Data, draft: &mut Draft) -> Result<(), Complaint> {
        let values = &self.values;
        if let Some(subject) = &values.subject {
            draft.subject = Some(subject.render(data)?);
        }
        if let Some(reply_to) = &values.reply_to {
            draft.reply_to = list("--reply-to", &reply_to.render(data)?)?;
        }
        for header in &values.headers {
            draft.add_field(Field::parse(&header.render(data)?)?)?;
        }
        if let Some(unsubscribe) = &values.unsubscribe {
            add_unsubscribe(draft, &unsubscribe.render(data)?)?;
        }
        Ok(())
    }
}

impl Values {
    /// Everything in it that is a template.
    fn phrases(&self) -> impl Iterator<Item = &Phrase> {
        let lists = [&self.to, &self.cc, &self.bcc, &self.headers].into_iter().flatten();
        let files = [&self.attach, &self.inline].into_iter().flatten().flat_map(FileValue::phrases);
        let single = [
            &self.from,
            &self.envelope_from,
            &self.reply_to,
            &self.subject,
            &self.text,
            &self.html,
            &self.markdown,
            &self.message_id,
            &self.unsubscribe,
        ];
        lists.chain(files).chain(single.into_iter().flatten())
    }
}

/// Fills what the options have left open with what the template gives.
///
/// # Errors
/// If a file of the template cannot be read.
pub fn dress(draft: &mut Draft, rendered: Rendered) -> Result<(), ComposeError> {
    let text = |text: Option<String>| text.map(Text::from);
    draft.subject = draft.subject.take().or(rendered.subject);
    if draft.text.is_none() && draft.html.is_none() && draft.markdown.is_none() {
        draft.text = text(rendered.text);
        draft.html = text(rendered.html);
        for (cid, path) in rendered.images {
            let input = Input::Path(path);
            let spec = AttachmentSpec { input, name: None, media_type: None, cid: Some(cid), charset: None };
            draft.inline.push(spec.open("image of the template")?);
        }
    }
    for spec in rendered.attachments {
        draft.attachments.push(spec.open("attachment of the template")?);
    }
    Ok(())
}

/// Adds the fields by which a mail program unsubscribes with one click (RFC 8058, 3.1): https only.
///
/// # Errors
/// If it is no such address, or the field is there already.
pub fn add_unsubscribe(draft: &mut Draft, address: &str) -> Result<(), ComposeError> {
    let is_web = address.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) && address.len() > 8;
    if !is_web || address.contains(['<', '>', ' ', ',']) || !address.is_ascii() {
        let what = format!("'{}' is no https:// address", clean(address));
        return Err(ComposeError::Value { field: "--unsubscribe".to_owned(), what });
    }
    draft.add_field(Field::parse(&format!("List-Unsubscribe: <{address}>"))?)?;
    draft.add_field(Field::parse("List-Unsubscribe-Post: List-Unsubscribe=One-Click")?)
}

fn mailbox(place: &str, text: &str) -> Result<Mailbox, Complaint> {
    Mailbox::parse(text).map_err(|error| Complaint(format!("{place}: {error} in '{}'", clean(text))))
}

fn list(place: &str, text: &str) -> Result<Vec<Entry>, Complaint> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    parse_list(text).map_err(|error| Complaint(format!("{place}: {error} in '{}'", clean(text))))
}

/// The return path that names the recipient: `list@x` and `ada@y` make `list+ada=y@x`.
///
/// # Errors
/// With a clause for people, if it becomes too long (RFC 5321, 4.5.3.1.1).
pub fn verp(sender: &Address, recipient: &Address) -> Result<Address, String> {
    let path = format!("{}+{}={}@{}", sender.user(), recipient.user(), recipient.domain(), sender.domain());
    let user_length = path.len() - sender.domain().len() - 1;
    // RFC 5321, 4.5.3.1.1
    if user_length > 64 {
        return Err(format!("--verp: the return path of {recipient} has more than 64 octets before its '@'"));
    }
    let mailbox = Mailbox::parse(&path).map_err(|error| format!("--verp: {error} in '{}'", clean(&path)))?;
    Ok(mailbox.address)
}
