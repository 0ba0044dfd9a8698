//! Tables: where rows come from, and how they are read, one after the other or again by their position.
//!
//! Everything that is not a UTF-8 file is copied first, so that a row can be read again; nothing holds more than the
//! row in hand. What a row means for a message is decided above.

mod addresses;
mod convert;
mod csv;
mod data;
mod failed;
mod fetch;
mod json;
mod open;
mod reader;
mod selection;
mod sniff;
mod table;

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    path::PathBuf,
    str::FromStr,
    sync::LazyLock,
};

use serde_json::{Map, Value};

use crate::config::Environment;

pub use addresses::{Layout, Recipients};
pub use data::data;
pub use failed::Failed;
pub use reader::Reader;
pub use selection::{Exclusions, Numbers};
pub use table::Table;

/// Where a table or the data of a template comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// A web address, http or https.
    Web(String),
    /// The output of a shell command.
    Command(String),
}

impl Origin {
    /// `-` is standard input, `https://…` a web address, everything else a file.
    pub fn from_word(word: &str) -> Self {
        let has_scheme =
            |scheme: &str| word.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        match word {
            "-" => Origin::Stdin,
            word if has_scheme("https://") || has_scheme("http://") => Origin::Web(word.to_owned()),
            word => Origin::File(PathBuf::from(word)),
        }
    }
}

impl fmt::Display for Origin {
    /// For messages: `people.csv`, `standard input`, `command 'x'`, a web address without its query, which may hold
    /// what gives access.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Stdin => f.write_str("standard input"),
            Origin::Web(url) => f.write_str(url.split(['?', '#']).next().unwrap_or_default()),
            Origin::Command(command) => write!(f, "command '{command}'"),
        }
    }
}

/// How the rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values (RFC 4180), whatever the delimiter.
    Csv,
    /// The same with tabs.
    Tsv,
    /// A JSON object on each line.
    JsonLines,
    /// An array of JSON objects, or objects one behind the other.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word.to_ascii_lowercase().as_str() {
            "csv" => Ok(Format::Csv),
            "tsv" | "tab" => Ok(Format::Tsv),
            "jsonl" | "ndjson" => Ok(Format::JsonLines),
            "json" => Ok(Format::Json),
            _ => Err("csv, tsv, jsonl or json is wanted".to_owned()),
        }
    }
}

/// What stands between two cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiter(u8);

impl FromStr for Delimiter {
    type Err = String;

    /// One ASCII character, or its name: `comma`, `semicolon`, `tab`, `pipe`.
    fn from_str(word: &str) -> Result<Self, String> {
        match (word, word.as_bytes()) {
            ("tab" | "\\t", _) => Ok(Delimiter(b'\t')),
            ("comma", _) => Ok(Delimiter(b',')),
            ("semicolon", _) => Ok(Delimiter(b';')),
            ("pipe", _) => Ok(Delimiter(b'|')),
            (_, &[byte]) if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | b' ' | 0) => Ok(Delimiter(byte)),
            _ => Err("one character is wanted, such as ';', or comma, semicolon, tab, pipe".to_owned()),
        }
    }
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\t' => f.write_str("tab"),
            byte => write!(f, "{}", char::from(byte)),
        }
    }
}

/// The encoding of a text, by one of the names that the WHATWG knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charset(&'static encoding_rs::Encoding);

impl FromStr for Charset {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match encoding_rs::Encoding::for_label_no_replacement(word.as_bytes()) {
            Some(encoding) => Ok(Charset(encoding)),
            None => Err("an encoding is wanted, such as utf-8, utf-16le, windows-1252, shift_jis".to_owned()),
        }
    }
}

/// What is told about a table, and where a copy of it goes.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How it is written; found out if absent.
    pub format: Option<Format>,
    /// What stands between cells; found out if absent.
    pub delimiter: Option<Delimiter>,
    /// Its encoding; found out if absent.
    pub charset: Option<Charset>,
    /// Path of a copy, if one is needed; the format's extension is added. Its folder has to be there.
    pub copy: PathBuf,
    /// For the way to a web server.
    pub environment: Environment,
}

/// One row: the variables of one message.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// From 1, without the header.
    pub number: u64,
    /// Where it can be read again.
    pub position: Position,
    /// Its cells by column; the cells of a JSON row may hold more than text.
    pub cells: Map<String, Value>,
}

/// Where a row begins, for [`Reader::at`]. Opaque.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(u64);

impl Row {
    /// The same for rows with the same cells, another for nearly all others; within one run of the program only.
    pub fn digest(&self) -> u64 {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let mut hasher = KEY.build_hasher();
        for (column, value) in &self.cells {
            column.hash(&mut hasher);
            value.hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {number}: {what}")]
pub struct RowError {
    /// From 1, without the header.
    pub number: u64,
    /// Where it can be read again, if it can be.
    pub position: Option<Position>,
    /// A clause for people, naming the column where there is one; clean.
    pub what: String,
    /// Nothing behind it can be read.
    pub is_final: bool,
}

/// Why a table cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct RowsError {
    /// A clause for people; clean.
    pub what: String,
    /// What to type or check next.
    pub hints: Vec<String>,
    /// Whether it cannot be read (exit 66), or is wrong in itself (65).
    pub is_unreadable: bool,
}

impl RowsError {
    /// It is wrong in itself.
    fn wrong(what: impl Into<String>) -> Self {
        Self { what: what.into(), hints: Vec::new(), is_unreadable: false }
    }

    /// It cannot be read.
    fn unreadable(what: impl Into<String>) -> Self {
        Self { what: what.into(), hints: Vec::new(), is_unreadable: true }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// Hexadecimal digits.
fn hex(octets: &[u8]) -> String {
    use fmt::Write;
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        // Writing to a string does not fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}
