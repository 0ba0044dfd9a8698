//! Options that say what a message is made of, for one message and for batches.

use clap::{Args, ValueEnum, ValueHint};

use super::{CliError, Exit};
use crate::{
    mail::{DsnNotify, DsnRequest, DsnReturn},
    message::Priority,
};

/// What the message is made of.
#[derive(Debug, Args)]
#[command(next_help_heading = "Message")]
pub struct MessageArgs {
    /// Recipients: an address, an alias, a list, or @FILE with one per line
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true, value_hint = ValueHint::EmailAddress)]
    pub to: Vec<String>,

    /// Recipients of a copy
    #[arg(short, long, value_name = "ADDRESS", allow_hyphen_values = true, value_hint = ValueHint::EmailAddress)]
    pub cc: Vec<String>,

    /// Recipients whom no one sees
    #[arg(short, long, value_name = "ADDRESS", allow_hyphen_values = true, value_hint = ValueHint::EmailAddress)]
    pub bcc: Vec<String>,

    /// Subject
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub subject: Option<String>,

    /// Sender; the profile's by default
    #[arg(short = 'r', long, value_name = "ADDRESS", allow_hyphen_values = true, value_hint = ValueHint::EmailAddress)]
    pub from: Option<String>,

    /// Return path; the sender's address by default, <> for none
    #[arg(short = 'f', long, value_name = "ADDRESS", allow_hyphen_values = true, value_hint = ValueHint::EmailAddress)]
    pub envelope_from: Option<String>,

    /// Where replies go
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true, value_hint = ValueHint::EmailAddress)]
    pub reply_to: Option<String>,

    /// Text: as it is, @FILE, or - for standard input; '' for none
    ///
    /// A file's charset can be told: '@FILE;charset=iso-8859-1'. A text that begins with '@' is written with '@@'.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub body: Option<String>,

    /// HTML; without --body a text is made of it
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub html: Option<String>,

    /// Markdown: sent as text and as HTML
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with_all = ["body", "html"])]
    pub markdown: Option<String>,

    /// Attach a file: 'FILE;name=n.pdf;type=application/pdf'
    ///
    /// One file per option. '-;name=report.csv' is standard input. ;name=, ;type= and ;charset= may follow the file.
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    pub attach: Vec<String>,

    /// An image that the HTML shows as cid:logo: 'FILE;cid=logo'
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    pub inline: Vec<String>,

    /// Any header field: 'X: y'
    #[arg(short = 'H', long, value_name = "FIELD", allow_hyphen_values = true)]
    pub header: Vec<String>,

    /// Make the message of this template: a name or a folder
    ///
    /// See mailsend template. Options win over its parts. Its names are the columns of a batch, what --data gives to a single
    /// message, and above both what --set gives.
    #[arg(long, value_name = "NAME", value_hint = ValueHint::AnyPath)]
    pub template: Option<String>,

    /// Give a name of the template a value: 'NAME=VALUE'
    #[arg(long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    pub set: Vec<String>,

    /// Give every recipient a return path of its own: list+ada=example.com@you.example (VERP)
    ///
    /// Reports of failure then name who failed, whatever is in them.
    #[arg(long)]
    pub verp: bool,

    /// Web address that unsubscribes with one click (RFC 8058): https only
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub unsubscribe: Option<String>,

    /// Ask for delivery reports: success, failure, delay (a list), or never
    #[arg(long, value_name = "WHEN")]
    pub dsn_notify: Option<DsnNotify>,

    /// What a report returns: the full message, or its hdrs
    #[arg(long, value_name = "WHAT")]
    pub dsn_return: Option<DsnReturnArg>,

    /// Name of this sending in reports: letters, digits, dot and hyphen
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub envid: Option<String>,

    /// Ask the reader for a receipt
    #[arg(long)]
    pub mdn: bool,

    /// Message-ID: <left@right>
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub message_id: Option<String>,

    /// Date: as in mail, as 2026-11-23T10:00:00+01:00, or as @SECONDS
    #[arg(long, value_name = "DATE", allow_hyphen_values = true)]
    pub date: Option<String>,

    /// Message-ID of the message that this one replies to
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub in_reply_to: Option<String>,

    /// Message-IDs of the conversation so far
    #[arg(long, value_name = "IDS", allow_hyphen_values = true)]
    pub references: Option<String>,

    /// How urgent it is
    #[arg(long, value_name = "HOW")]
    pub priority: Option<PriorityArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DsnReturnArg {
    /// The whole message
    Full,
    /// Its header
    Hdrs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum PriorityArg {
    /// Urgent
    High,
    /// As every other
    Normal,
    /// It can wait
    Low,
}

impl PriorityArg {
    /// The word's meaning.
    pub fn priority(self) -> Priority {
        match self {
            PriorityArg::High => Priority::High,
            PriorityArg::Normal => Priority::Normal,
            PriorityArg::Low => Priority::Low,
        }
    }
}

impl MessageArgs {
    /// The delivery reports that are wished for.
    ///
    /// # Errors
    /// An ENVID that servers change.
    pub fn dsn(&self) -> Result<DsnRequest, CliError> {
        let request = DsnRequest {
            notify: self.dsn_notify,
            ret: self.dsn_return.map(|ret| match ret {
                DsnReturnArg::Full => DsnReturn::Full,
                DsnReturnArg::Hdrs => DsnReturn::Hdrs,
            }),
            envid: self.envid.clone(),
        };
        request.check_envid().map_err(|what| CliError::new(Exit::Data, format!("--envid: {what}")))?;
        Ok(request)
    }

    /// What `--set` gives.
    ///
    /// # Errors
    /// A value without a name.
    pub fn given(&self) -> Result<serde_json::Map<String, serde_json::Value>, CliError> {
        let pair = |text: &String| match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.into())),
            _ => Err(CliError::usage(format!("--set: '{}' is no NAME=VALUE", crate::mail::clean(text)))),
        };
        self.set.iter().map(pair).collect()
    }
}
