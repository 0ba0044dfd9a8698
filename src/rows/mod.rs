//! Tables: where rows come from, and how they are read, one after the other or again by their position.
//!
//! Everything that is not a UTF-8 file is copied first, so that a row can be read again; nothing holds more than the
//! row in hand. What a row means for a message is decided above.

use std::{ops::RangeInclusive, path::PathBuf};

use serde_json::{Map, Value};

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

/// One row: the variables of one message.
#[derive(Debug, Clone)]
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

/// A table that can be read from its beginning and from any row's position.
#[derive(Debug)]
pub struct Table {}

impl Table {
    /// The columns: the header, or the keys of the first JSON row.
    pub fn columns(&self) -> &[String] {
        todo!()
    }

    /// SHA-256 of the rows as they came, in hexadecimal digits; another source has another.
    pub fn digest(&self) -> &str {
        todo!()
    }

    /// Reads it from its beginning.
    ///
    /// # Errors
    /// If it cannot be opened any more.
    pub fn reader(&self) -> Result<Reader, RowsError> {
        todo!()
    }
}

/// Reads rows one after the other, or again.
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// The next row, or what is wrong with it: the rows behind it can still be read unless the error says otherwise.
    pub fn next_row(&mut self) -> Option<Result<Row, RowError>> {
        todo!()
    }

    /// The row at this position; the sequence of [`Reader::next_row`] is not disturbed.
    ///
    /// # Errors
    /// As for the first reading.
    pub fn at(&mut self, _number: u64, _position: Position) -> Result<Row, RowError> {
        todo!()
    }
}

/// What is wrong with one row.
#[derive(Debug, Clone, thiserror::Error)]
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

/// Numbers of rows: `17,20-25`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers(Vec<RangeInclusive<u64>>);
