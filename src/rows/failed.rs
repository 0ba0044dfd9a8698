//! Rows that came to nothing, written so that they can be mended and given again.

use std::{
    borrow::Cow,
    fmt,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tempfile::NamedTempFile;

use super::{Position, Reader, Table};
use crate::mail::clean;

/// The column with the reason.
const ERROR: &str = "error";

/// A file with rows of a table as they came, and the reason of each.
///
/// Format, delimiter and columns are those of the table; the encoding is UTF-8. Cells that cannot be read are left out
/// with all others of their row, so that the row is wrong when it is read again, too.
#[derive(Debug)]
pub struct Failed {
    reader: Reader,
    columns: usize,
    /// Where the reason goes; that of an earlier time is replaced.
    at: usize,
    out: Out,
    path: PathBuf,
}

#[derive(Debug)]
enum Out {
    Csv(Box<csv::Writer<BufWriter<NamedTempFile>>>),
    Json(BufWriter<NamedTempFile>),
}

impl Failed {
    /// Begins it; the file is there, or replaced, when it is finished.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(path: &Path, table: &Table) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let file = BufWriter::new(NamedTempFile::new_in(folder)?);
        let columns = table.columns();
        let at = columns.iter().position(|column| column.eq_ignore_ascii_case(ERROR)).unwrap_or(columns.len());
        let out = match table.delimiter() {
            None => Out::Json(file),
            Some(delimiter) => {
                let mut writer = csv::WriterBuilder::new().delimiter(delimiter).flexible(true).from_writer(file);
                let mut header: Vec<&str> = columns.iter().map(String::as_str).collect();
                if at == columns.len() {
                    header.push(ERROR);
                }
                writer.write_record(header)?;
                Out::Csv(Box::new(writer))
            }
        };
        Ok(Self { reader: table.reader(), columns: columns.len(), at, out, path: path.to_owned() })
    }

    /// Writes the row that stands there, or an empty one if it cannot be read, with the reason.
    ///
    /// # Errors
    /// If it cannot be written, or the table cannot be read any more.
    pub fn add(&mut self, position: Option<Position>, reason: &str) -> io::Result<()> {
        let reason = clean(reason);
        match &mut self.out {
            Out::Csv(writer) => {
                let read = position.map(|position| self.reader.cells_at(position)).transpose()?.flatten();
                let mut cells: Vec<&[u8]> = read.unwrap_or_else(|| vec![b""; self.columns]);
                // What is missing or too much in the row stays so.
                match cells.get_mut(self.at) {
                    Some(cell) if self.at < self.columns => *cell = reason.as_bytes(),
                    _ => cells.insert(self.at.min(cells.len()), reason.as_bytes()),
                }
                Ok(writer.write_record(cells)?)
            }
            Out::Json(writer) => {
                let line = position.map(|position| self.reader.line_at(position)).transpose()?.unwrap_or_default();
                let mut entries = serde_json::from_slice::<Entries<'_>>(line).unwrap_or_default().0;
                let reason = serde_json::value::to_raw_value(&reason)?;
                match entries.iter_mut().find(|(key, _)| key == ERROR) {
                    Some((_, value)) => *value = &reason,
                    None => entries.push((Cow::Borrowed(ERROR), &reason)),
                }
                for (index, (key, value)) in entries.iter().enumerate() {
                    writer.write_all(if index == 0 { b"{" } else { b"," })?;
                    serde_json::to_writer(&mut *writer, key)?;
                    write!(writer, ":{value}")?;
                }
                writer.write_all(b"}\n")
            }
        }
    }

    /// Puts the file in place.
    ///
    /// # Errors
    /// If it cannot be written; what was there before is there still.
    pub fn finish(self) -> io::Result<()> {
        let file = match self.out {
            Out::Csv(writer) => writer.into_inner().map_err(|error| error.into_error())?,
            Out::Json(writer) => writer,
        };
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map(drop).map_err(|error| error.error)
    }
}

/// Keys and values of an object as they are written, in their order.
#[derive(Default)]
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = access.next_entry::<String, &RawValue>()? {
                    entries.push((Cow::Owned(key), value));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}
