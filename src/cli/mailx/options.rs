//! The options of three programs that have grown apart, joined or separated, before, between and behind addresses.
//!
//! Where they differ, `-a` and `-A` mean what BSD and GNU say, and `-E`, `-M`, `-q`, `-t` what BSD and s-nail say.

use std::{collections::VecDeque, ffi::OsString, path::Path};

use super::fields::{MediaType, field};
use crate::{
    cli::{CliError, Exit},
    config::Mailrc,
    mail::clean,
};

/// What is asked for.
#[derive(Debug)]
pub(super) enum Wish {
    Send(Box<Call>),
    Help,
    Version,
}

/// A message, in the words of mailx.
#[derive(Debug)]
pub(super) struct Call {
    pub to: Vec<String>,
    pub cc: Vec<String>,
    pub bcc: Vec<String>,
    pub subject: Option<String>,
    pub from: Option<String>,
    pub full_name: Option<String>,
    /// Empty for the null sender.
    pub return_path: Option<String>,
    pub reply_to: Option<String>,
    /// Whole fields.
    pub headers: Vec<String>,
    /// As `--attach` wants them.
    pub attachments: Vec<String>,
    /// Files that the text begins with.
    pub texts: Vec<String>,
    pub media_type: Option<MediaType>,
    /// `-t`.
    pub reads_header: bool,
    pub skips_empty: bool,
    pub skips_empty_files: bool,
    pub is_verbose: bool,
    pub is_dry: bool,
    pub has_mailrc: bool,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            to: Vec::new(),
            cc: Vec::new(),
            bcc: Vec::new(),
            subject: None,
            from: None,
            full_name: None,
            return_path: None,
            reply_to: None,
            headers: Vec::new(),
            attachments: Vec::new(),
            texts: Vec::new(),
            media_type: None,
            reads_header: false,
            skips_empty: false,
            skips_empty_files: false,
            is_verbose: false,
            is_dry: false,
            has_mailrc: true,
        }
    }
}

impl Call {
    /// Whether nobody is named to send it to.
    pub fn is_empty_handed(&self) -> bool {
        self.to.is_empty() && self.cc.is_empty() && self.bcc.is_empty()
    }
}

/// What an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Nothing, and has no value.
    Nothing,
    /// Nothing with its value.
    Ignores,
    /// It is for reading mail.
    Reads,
    Help,
    Version,
    SkipsEmpty,
    SkipsEmptyFiles,
    Says,
    Tries,
    ReadsHeader,
    Appends,
    Attaches,
    AttachesDescriptor,
    Bcc,
    Cc,
    Target,
    Subject,
    From,
    Text,
    Type,
    /// The type of the files behind it; of the text, if there are none.
    FileType,
    FileName,
    Sets,
    Starts,
    Resources,
}

impl Does {
    fn has_value(self) -> bool {
        use Does::*;
        !matches!(self, Nothing | Reads | Help | Version | SkipsEmpty | SkipsEmptyFiles | Says | Tries | ReadsHeader)
    }
}

const SHORT: [(&str, Does); 23] = [
    ("BDFINin~#.P", Does::Nothing),
    ("oOY", Does::Ignores),
    ("fuHeLRp", Does::Reads),
    ("h", Does::Help),
    ("V", Does::Version),
    ("E", Does::SkipsEmpty),
    ("v", Does::Says),
    ("d", Does::Tries),
    ("t", Does::ReadsHeader),
    ("a", Does::Appends),
    ("C", Does::Appends),
    ("A", Does::Attaches),
    ("b", Does::Bcc),
    ("c", Does::Cc),
    ("T", Does::Target),
    ("s", Does::Subject),
    ("r", Does::From),
    ("q", Does::Text),
    ("m", Does::Text),
    ("M", Does::Type),
    ("S", Does::Sets),
    ("X", Does::Starts),
    (":", Does::Resources),
];

/// GNU's and s-nail's.
const LONG: [(&str, Does); 51] = [
    ("account", Does::Ignores),
    ("append", Does::Appends),
    ("attach", Does::Attaches),
    ("attach-fd", Does::AttachesDescriptor),
    ("batch-mode", Does::Nothing),
    ("bcc", Does::Bcc),
    ("byname", Does::Nothing),
    ("cc", Does::Cc),
    ("check-and-exit", Does::Reads),
    ("config-file", Does::Ignores),
    ("content-filename", Does::FileName),
    ("content-name", Does::FileName),
    ("content-type", Does::FileType),
    ("custom-header", Does::Appends),
    ("debug", Does::Tries),
    ("debug-level", Does::Ignores),
    ("disable-cmd-escapes", Does::Nothing),
    ("discard-empty-messages", Does::SkipsEmpty),
    ("enable-cmd-escapes", Does::Nothing),
    ("encoding", Does::Ignores),
    ("exec", Does::Ignores),
    ("exist", Does::Reads),
    ("file", Does::Reads),
    ("folder", Does::Reads),
    ("header-search", Does::Reads),
    ("header-summary", Does::Reads),
    ("headers", Does::Reads),
    ("help", Does::Help),
    ("ignore", Does::Nothing),
    ("inbox-of", Does::Reads),
    ("mime", Does::Nothing),
    ("no-config", Does::Nothing),
    ("no-header-summary", Does::Nothing),
    ("no-skip-empty-attachments", Does::Nothing),
    ("norc", Does::Nothing),
    ("nosum", Does::Nothing),
    ("print", Does::Reads),
    ("quit", Does::Nothing),
    ("quote-file", Does::Text),
    ("read-only", Does::Reads),
    ("resource-files", Does::Resources),
    ("return-address", Does::From),
    ("set", Does::Sets),
    ("skip-empty-attachments", Does::SkipsEmptyFiles),
    ("startup-cmd", Does::Starts),
    ("subject", Does::Subject),
    ("target", Does::Target),
    ("template", Does::Text),
    ("to", Does::ReadsHeader),
    ("user", Does::Reads),
    ("version", Does::Version),
];

/// Reads the arguments.
///
/// # Errors
/// 64: an option that none of these programs has, one without its value, one for reading mail; 66 or 65: what a value
/// names is not there or cannot be.
pub(super) fn parse(arguments: &[OsString]) -> Result<Wish, CliError> {
    if arguments.is_empty() {
        return Err(reads());
    }
    let mut reader = Reader { words: arguments.iter().map(text).collect(), ..Reader::default() };
    while let Some(word) = reader.words.pop_front() {
        if let Some(wish) = reader.word(word)? {
            return Ok(wish);
        }
    }
    reader.finish().map(|call| Wish::Send(Box::new(call)))
}

/// An argument in the charset of another age is Latin-1.
fn text(argument: &OsString) -> String {
    match argument.to_str() {
        Some(text) => text.to_owned(),
        None => argument.as_encoded_bytes().iter().map(|&byte| char::from(byte)).collect(),
    }
}

fn reads() -> CliError {
    CliError::usage("mailsend sends mail, it does not read it").hint("to send: mail -s SUBJECT ADDRESS... < TEXT")
}

#[derive(Default)]
struct Reader {
    words: VecDeque<String>,
    call: Call,
    /// What `-S`, `-X` say, in the words of `~/.mailrc`.
    variables: Mailrc,
    is_behind_end: bool,
    file_type: Option<String>,
    is_type_used: bool,
    file_name: Option<String>,
}

impl Reader {
    fn word(&mut self, word: String) -> Result<Option<Wish>, CliError> {
        let is_option = word.len() > 1 && word.starts_with('-');
        if !is_option || (self.is_behind_end && self.call.to.is_empty()) {
            return self.address(word).map(|()| None);
        }
        if self.is_behind_end {
            return self.of_sendmail(&word).map(|()| None);
        }
        match word.strip_prefix("--") {
            Some("") => self.is_behind_end = true,
            Some(long) => return self.long(long),
            // Behind addresses BSD's mail takes options of sendmail.
            None if word.starts_with(['-'])
                && word[1..].starts_with(['f', 'F', 'o', 'O'])
                && !self.call.to.is_empty() =>
            {
                self.of_sendmail(&word)?;
            }
            None => return self.cluster(&word[1..]),
        }
        Ok(None)
    }

    fn address(&mut self, word: String) -> Result<(), CliError> {
        if ["/", "./", "../", "~/", "|"].iter().any(|start| word.starts_with(start)) {
            let what = format!("'{}' is no address: only aliases lead to files and commands", clean(&word));
            return Err(CliError::new(Exit::Data, what));
        }
        self.call.to.push(word);
        Ok(())
    }

    /// Letters behind one hyphen: the first that has a value gets the rest, or the next word.
    fn cluster(&mut self, letters: &str) -> Result<Option<Wish>, CliError> {
        for (at, letter) in letters.char_indices() {
            let name = format!("-{letter}");
            let Some((_, does)) = SHORT.iter().find(|(known, _)| known.contains(letter)) else {
                return Err(unknown(&name));
            };
            if does.has_value() {
                let rest = &letters[at + letter.len_utf8()..];
                let value = match rest.is_empty() {
                    true => self.next(&name)?,
                    false => rest.to_owned(),
                };
                return self.act(*does, &name, value);
            }
            if let Some(wish) = self.act(*does, &name, String::new())? {
                return Ok(Some(wish));
            }
        }
        Ok(None)
    }

    fn long(&mut self, word: &str) -> Result<Option<Wish>, CliError> {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value.to_owned())));
        let shown = format!("--{name}");
        let exact = LONG.iter().find(|(known, _)| *known == name);
        let mut starting = LONG.iter().filter(|(known, _)| known.starts_with(name));
        // A name may be shortened as long as it is clear which is meant.
        let found = exact.or_else(|| starting.next().filter(|(_, does)| starting.all(|(_, other)| other == does)));
        let Some((_, does)) = found else { return Err(unknown(&shown)) };
        match (does, value) {
            // GNU's has no value; whoever gives it one means an address.
            (Does::ReadsHeader, Some(value)) => self.address(value).map(|()| None),
            (does, Some(value)) => self.act(*does, &shown, value),
            (does, None) if does.has_value() => {
                let value = self.next(&shown)?;
                self.act(*does, &shown, value)
            }
            (does, None) => self.act(*does, &shown, String::new()),
        }
    }

    fn next(&mut self, name: &str) -> Result<String, CliError> {
        self.words.pop_front().ok_or_else(|| CliError::usage(format!("{} wants a value", clean(name))))
    }

    fn act(&mut self, does: Does, name: &str, value: String) -> Result<Option<Wish>, CliError> {
        let call = &mut self.call;
        match does {
            Does::Nothing | Does::Ignores => {}
            Does::Reads => return Err(reads()),
            Does::Help => return Ok(Some(Wish::Help)),
            Does::Version => return Ok(Some(Wish::Version)),
            Does::SkipsEmpty => call.skips_empty = true,
            Does::SkipsEmptyFiles => call.skips_empty_files = true,
            Does::Says => call.is_verbose = true,
            Does::Tries => call.is_dry = true,
            Does::ReadsHeader => call.reads_header = true,
            Does::Appends => match field(&value) {
                Some((field, value)) => call.take_field(field, value)?,
                // s-nail attaches with it.
                None if name == "-a" && Path::new(&value).exists() => call.attachments.push(value),
                None => {
                    let what = format!("{name}: '{}' is no header field", clean(&value));
                    let error = CliError::usage(what).hint(format!("{name} 'X-Field: value'"));
                    return Err(if name == "-a" {
                        error.hint("or a file, which is not there: -A FILE")
                    } else {
                        error
                    });
                }
            },
            Does::Attaches => self.attach(value),
            Does::AttachesDescriptor => self.attach(format!("/dev/fd/{value}")),
            Does::Bcc => call.bcc.push(value),
            Does::Cc => call.cc.push(value),
            Does::Target => match field(&value) {
                Some((field, value)) if ["to", "cc", "bcc"].iter().any(|known| known.eq_ignore_ascii_case(field)) => {
                    call.take_field(field, value)?;
                }
                _ => {
                    let what = format!("{name}: '{}' does not begin with to:, cc: or bcc:", clean(&value));
                    return Err(CliError::usage(what));
                }
            },
            Does::Subject => call.subject = Some(value),
            Does::From => self.sender(value),
            Does::Text => call.texts.push(value),
            Does::Type => call.media_type = Some(MediaType::parse(&value)?),
            Does::FileType => (self.file_type, self.is_type_used) = (Some(value), false),
            Does::FileName => self.file_name = Some(value),
            Does::Sets => self.variables.set(&value),
            Does::Starts => {
                let said = Mailrc::parse(&value);
                self.variables.from = said.from.or(self.variables.from.take());
                self.variables.reply_to = said.reply_to.or(self.variables.reply_to.take());
            }
            // Which files to read: `u` is the user's.
            Does::Resources => call.has_mailrc = value.contains('u'),
        }
        Ok(None)
    }

    /// From and return path; the null sender writes nothing.
    fn sender(&mut self, value: String) {
        if !matches!(value.as_str(), "" | "<>") {
            self.call.from = Some(value.clone());
        }
        self.call.return_path = Some(value);
    }

    fn attach(&mut self, file: String) {
        self.is_type_used = true;
        let parts = [("name", self.file_name.take()), ("type", self.file_type.clone())];
        let parts = parts.into_iter().filter_map(|(name, value)| Some(format!(";{name}={}", value?)));
        self.call.attachments.push(file + &parts.collect::<String>());
    }

    /// An option that mail passes on to sendmail: the sender matters.
    fn of_sendmail(&mut self, word: &str) -> Result<(), CliError> {
        let mut letters = word.chars();
        let letter = letters.nth(1).unwrap_or('-');
        if !"fFrBCLNORVXhop".contains(letter) {
            // An address that begins so is meant for somebody.
            return if word.contains('@') { self.address(word.to_owned()) } else { Ok(()) };
        }
        let value = match letters.as_str() {
            "" => self.next(&format!("-{letter}"))?,
            rest => rest.to_owned(),
        };
        match letter {
            'f' | 'r' => {
                let from = self.call.from.take();
                self.sender(value);
                self.call.from = from.or(self.call.from.take());
            }
            'F' => self.call.full_name = Some(value),
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Call, CliError> {
        let mut call = self.call;
        call.from = call.from.or(self.variables.from.take());
        call.reply_to = call.reply_to.or(self.variables.reply_to.take());
        if let Some(media_type) = self.file_type.filter(|_| !self.is_type_used) {
            call.media_type = Some(MediaType::parse(&media_type)?);
        }
        Ok(call)
    }
}

fn unknown(name: &str) -> CliError {
    CliError::usage(format!("there is no option {}", clean(name)))
        .hint("an address that begins with '-' goes behind --")
        .hint("see: man mailsend-sendmail, or mail --help")
}

#[cfg(test)]
mod tests;
