//! From a [`Draft`] to a message: header fields, MIME parts, and messages that exist already made fit for sending.
//!
//! mail-builder writes the fields and the tree; here is decided what goes into them, and what must not. Nothing that
//! comes from outside reaches it with a CR, LF or NUL. Files are read here, and streamed by [`Blocks`] while a
//! message goes out; nobody is connected to, and nothing is known of SMTP.

mod attachment;
mod compose;
mod draft;
mod field;
mod header;
mod lines;
mod raw;
mod report;
mod spool;
mod stamp;
mod stream;
mod submitted;
mod text;
mod tree;

use std::{io, path::PathBuf};

pub use attachment::{Attachment, AttachmentSpec, checked_charset};
pub use compose::{Message, check, compose, id_domain};
pub use draft::{Draft, Priority};
pub use field::{Field, is_message_id, message_id, message_ids};
pub use raw::{RawMessage, read_raw};
pub use report::{Failed, Undelivered, failure_report};
pub use spool::Input;
pub(crate) use stamp::local_zone;
pub use stamp::{Stamp, date_of, parse_date};
pub use stream::Blocks;
pub use submitted::{Handover, Submitted, read_submitted};
pub use text::{Text, html_fragment, html_page};

use crate::mail::AddressError;

/// Why a message cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// A value that must not be in a message.
    #[error("{field}: {what}")]
    Value {
        /// The header field or option.
        field: String,
        /// What is wrong, without control characters.
        what: String,
    },
    /// A text that is no address.
    #[error("{field}: {error}")]
    Address {
        /// The header field or option.
        field: String,
        /// Where and why.
        error: AddressError,
    },
    /// A file that cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The copy of what can be read only once cannot be written.
    #[error("a temporary copy cannot be written: {0}")]
    Spool(io::Error),
}

impl ComposeError {
    fn value(field: impl Into<String>, what: impl AsRef<str>) -> Self {
        Self::Value { field: field.into(), what: crate::mail::clean(what.as_ref()) }
    }
}
