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

use super::{Position, Reader, Table, sniff};
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
        let mut file = BufWriter::new(NamedTempFile::new_in(folder)?);
        let columns = table.columns();
        let at = columns.iter().position(|column| column.eq_ignore_ascii_case(ERROR)).unwrap_or(columns.len());
        let out = match table.delimiter() {
            None => Out::Json(file),
            Some(delimiter) => {
                if !sniff::is_plain(delimiter, columns.concat().as_bytes()) {
                    // As spreadsheet programs tell it, which understand it, too.
                    file.write_all(&[b"sep=", &[delimiter][..], b"\n"].concat())?;
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::table::tests::{rows, shown, table};
    use std::fs;

    /// The file with all rows of a table, the second with the reason "550 no\nsuch user".
    fn failed(name: &str, octets: &[u8]) -> String {
        let (folder, table) = table(name, octets);
        let table = table.unwrap();
        let path = folder.path().join("failed");
        fs::write(&path, "old").unwrap();
        let mut failed = Failed::create(&path, &table).unwrap();
        for row in rows(&table) {
            match row {
                Ok(row) => failed.add(Some(row.position), "550 no\nsuch, user").unwrap(),
                Err(error) => failed.add(error.position, &error.to_string()).unwrap(),
            }
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "old", "it is in place when it is whole");
        failed.finish().unwrap();
        fs::read_to_string(&path).unwrap()
    }

    #[test]
    fn rows_are_written_as_they_came_with_the_reason() {
        assert_eq!(
            failed("t", b"to;n\na@x;\"1;\"\"2\"\"\"\nb@x; J\xFC \n"),
            "to;n;error\na@x;\"1;\"\"2\"\"\";550 no such, user\nb@x; J\u{fc} ;550 no such, user\n"
        );
        assert_eq!(failed("t", b"to\tError\tn\na@x\told\t1\n"), "to\tError\tn\na@x\t550 no such, user\t1\n");
        assert_eq!(
            failed("t", b"[{\"to\":\"a\\u0040x\", \"n\": 12345678901234567890123.10},\n{\"error\": 1, \"to\":\"b\"}]"),
            "{\"to\":\"a\\u0040x\",\"n\":12345678901234567890123.10,\"error\":\"550 no such, user\"}\n\
             {\"error\":\"550 no such, user\",\"to\":\"b\"}\n"
        );
    }

    #[test]
    fn a_delimiter_that_cannot_be_found_out_is_told() {
        for text in ["sep=:\nto:n\na@x:1\n", "to;a|b;c|d\na@x;1;2\n", "to\ta,b\na\t1\n"] {
            let again = failed("t", text.as_bytes());
            assert!(again.starts_with("sep="), "{again}");
            assert_eq!(
                shown(&again)[0]
                    .replace(",\"error\":\"550 no such, user\"", "")
                    .replace("{\"error\":\"550 no such, user\",", "{"),
                shown(text)[0]
            );
        }
    }

    #[test]
    fn what_was_wrong_is_wrong_when_it_is_read_again() {
        let again = failed("t", b"\xEF\xBB\xBFto,n\na@x\nb@x,1,2\nc@x,1,,\nd@x,\xFF\ne@x,\"1\"2\nf@x,\0\ng@x,\"1\n");
        let rows = shown(&again);
        assert!(rows[0].starts_with("row 1: column 'error' is missing"), "{again}");
        assert!(rows[1].starts_with("row 2: it has 4 cells, 1 more than the header"), "{again}");
        assert_eq!(rows[2], r#"3 {"error":"550 no such, user","n":"1","to":"c@x"}"#);
        assert!(rows[3].starts_with(r#"4 {"error":"row 4: column 'n' is not UTF-8 (octet 0xFF)"#), "{again}");
        assert!(rows[4].starts_with(r#"5 {"error":"row 5: column 'n': text behind the closing quotation mark"#));
        assert!(rows[3].ends_with(r#""n":"","to":""}"#) && rows[4].ends_with(r#""n":"","to":""}"#));
        assert_eq!(rows[5], "row 6: column 'n' has a NUL in it");
        assert!(rows[6].starts_with(r#"7 {"error":"row 7: column 'n': its quotation mark is not closed"#));
        assert_eq!(rows.len(), 7);
        let again = failed("t", b"{\"to\":\"a\"}\n{\"to\": }\n");
        assert_eq!(shown(&again)[1], r#"2 {"error":"row 2: no JSON at octet 8: expected value"}"#);
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_at_once() {
        let (_folder, table) = table("t", "to\na\n");
        assert!(Failed::create(Path::new("/nonesuch/failed.csv"), &table.unwrap()).is_err());
    }
}
