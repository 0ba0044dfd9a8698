//! A table that lies in a file: its header, and who may read it.

use std::{
    io::{self, BufReader},
    path::Path,
    sync::Arc,
};

use super::{
    Options, Origin, RowsError,
    csv::Record,
    json::Line,
    open::{Copy, Opened, not_copied, unread},
    reader::{Reader, Shape, no_text, state, words},
};
use crate::mail::clean;

/// Rows of JSON that are looked at for the first good one, whose keys are the columns.
const SEARCHED: u64 = 1_000;

/// A table that can be read from its beginning and from any row's position.
#[derive(Debug)]
pub struct Table {
    shape: Arc<Shape>,
    digest: String,
    warnings: Vec<String>,
    copy: Option<Copy>,
}

impl Table {
    /// Opens a table: reads it once as a whole, and makes a copy if it is no file in UTF-8 with its rows in lines.
    ///
    /// # Errors
    /// If it cannot be read or copied; if it is empty, has a header only, or a header that is none.
    pub fn open(origin: &Origin, options: &Options) -> Result<Self, RowsError> {
        let opened = Opened::new(origin, options)?;
        let mut shape = Shape {
            state: state(&opened.file.metadata().map_err(|error| unread(&opened.name, &error))?),
            file: Arc::new(opened.file),
            name: opened.name,
            start: opened.start,
            delimiter: opened.delimiter,
            columns: Vec::new(),
            encoding: opened.encoding,
        };
        match shape.delimiter {
            Some(delimiter) => shape.read_header(delimiter)?,
            None => shape.read_keys()?,
        }
        let shape = Arc::new(shape);
        let table = Self { shape, digest: opened.digest, warnings: opened.warnings, copy: opened.copy };
        match table.reader().next_row() {
            Some(_) => Ok(table),
            None => Err(RowsError::wrong(format!("{} has a header, but no rows", table.shape.name))),
        }
    }

    /// The columns: the header, or the keys of the first JSON row.
    pub fn columns(&self) -> &[String] {
        &self.shape.columns
    }

    /// SHA-256 of what rows are read from, in hexadecimal digits; another source has another.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What people should know about how it was read, such as an encoding that was guessed.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Keeps the copy that rows are read from, if one was needed, under its final name; otherwise it vanishes with the
    /// table. Opened as a file without an encoding told, it is the same table with the same digest.
    ///
    /// # Errors
    /// If it cannot be put in place; what was there under this name is still there then.
    pub fn keep(&mut self) -> Result<Option<&Path>, RowsError> {
        if let Some(Copy { temporary, path }) = &mut self.copy
            && let Some(file) = temporary.take()
        {
            // A batch that goes on after a loss of power needs it whole.
            let kept = file.as_file().sync_all().and_then(|()| file.persist(&path).map_err(|error| error.error));
            kept.map_err(|error| not_copied(path, &error))?;
        }
        Ok(self.copy.as_ref().map(|copy| copy.path.as_path()))
    }

    /// What stands between cells; nothing does in JSON.
    pub(super) fn delimiter(&self) -> Option<u8> {
        self.shape.delimiter
    }

    /// Reads it from its beginning.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shape))
    }
}

impl Shape {
    fn fail(&self, error: &io::Error) -> RowsError {
        unread(&self.name, error)
    }

    fn read_header(&mut self, delimiter: u8) -> Result<(), RowsError> {
        let wrong = |what: String| RowsError::wrong(format!("the header of {}: {what}", self.name));
        let mut record = Record::default();
        let mut input = BufReader::new(self.blocks(self.start));
        let mut at = self.start;
        loop {
            let Some(extent) = record.read(&mut input, delimiter).map_err(|error| self.fail(&error))? else {
                return Err(RowsError::wrong(format!("{} is empty", self.name)));
            };
            at += extent.skipped + extent.length;
            if !record.is_blank() {
                break;
            }
        }
        let place = |cell: usize| format!("column {}", cell + 1);
        if let Some(fault) = record.fault() {
            return Err(wrong(words(fault, place)));
        }
        if record.count() > super::csv::MAX_CELLS {
            return Err(wrong(format!("{} columns are more than can be", record.count())));
        }
        let mut columns: Vec<String> = Vec::with_capacity(record.count());
        // Programs write delimiters behind the last column.
        let count = (1..=record.count()).rev().find(|&count| !record.is_blank_from(count - 1)).unwrap_or(1);
        for (index, cell) in record.cells().take(count).enumerate() {
            let text = std::str::from_utf8(cell)
                .map_err(|error| wrong(no_text(&place(index), cell, error.valid_up_to(), self.encoding)))?;
            let name = text.trim();
            if name.is_empty() {
                return Err(wrong(format!("{} has no name", place(index))).hint("give every column a name"));
            }
            if name.contains('\0') {
                return Err(wrong(format!("{} has a NUL in it", place(index))));
            }
            if let Some(first) = columns.iter().position(|column| column == name) {
                let what = format!("'{}' is there twice, as columns {} and {}", clean(name), first + 1, index + 1);
                return Err(wrong(what).hint("give every column a name of its own"));
            }
            columns.push(name.to_owned());
        }
        self.columns = columns;
        self.start = at;
        Ok(())
    }

    fn read_keys(&mut self) -> Result<(), RowsError> {
        let mut line = Line::default();
        let mut input = BufReader::new(self.blocks(self.start));
        let mut first = None;
        for number in 1..=SEARCHED {
            if line.read(&mut input).map_err(|error| self.fail(&error))?.is_none() {
                break;
            }
            let mut columns = Vec::new();
            match line.object(Some(&mut columns)) {
                Ok(_) => {
                    self.columns = columns;
                    return Ok(());
                }
                Err(what) => drop(first.get_or_insert((number, what))),
            }
        }
        Err(RowsError::wrong(match first {
            Some((number, what)) => format!("{}, row {number}: {what}", self.name),
            None => format!("{} has no rows", self.name),
        }))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::rows::{Row, RowError};
    use serde_json::Value;
    use std::fs;
    use tempfile::TempDir;

    /// A table in a file of this name, and the folder that keeps it.
    pub(in super::super) fn table(name: &str, octets: impl AsRef<[u8]>) -> (TempDir, Result<Table, RowsError>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, octets).unwrap();
        let options = Options { copy: folder.path().join("rows"), ..Options::default() };
        let table = Table::open(&Origin::File(path), &options);
        (folder, table)
    }

    pub(in super::super) fn rows(table: &Table) -> Vec<Result<Row, RowError>> {
        let mut reader = table.reader();
        std::iter::from_fn(|| reader.next_row()).collect()
    }

    /// Every row as JSON, or what is wrong with it.
    pub(in super::super) fn shown(octets: impl AsRef<[u8]>) -> Vec<String> {
        let (_folder, table) = table("t", octets);
        let shown = |row: Result<Row, RowError>| match row {
            Ok(row) => format!("{} {}", row.number, Value::Object(row.cells)),
            Err(error) => error.to_string(),
        };
        rows(&table.unwrap()).into_iter().map(shown).collect()
    }

    /// Why there is no table.
    fn refused(octets: impl AsRef<[u8]>) -> String {
        let (folder, table) = table("t", octets);
        let error = table.unwrap_err();
        assert!(!error.is_unreadable);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left behind");
        error.what.replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn tables_that_are_none() {
        for (octets, error) in [
            (&b""[..], "t is empty"),
            (b"\n\r\n  \n", "t is empty"),
            (b"\xEF\xBB\xBF", "t is empty"),
            (b"to,name\n", "t has a header, but no rows"),
            (b"to,name\n\n , \n", "t has a header, but no rows"),
            (b"[]", "t has no rows"),
            (b"to,,name\na,b,c\n", "the header of t: column 2 has no name"),
            (b"to,name,to\na,b,c\n", "the header of t: 'to' is there twice, as columns 1 and 3"),
            (b"to,na\0me\na,b\n", "the header of t: column 2 has a NUL in it"),
            (
                b"to,\"name\na,b\n",
                "the header of t: column 2: its quotation mark is not closed, and where the next row begins is not known",
            ),
            (
                b"\xEF\xBB\xBFto,na\xFFme\na,b\n",
                "the header of t: column 2 is not UTF-8 (octet 0xFF); if the table is in another encoding, name it: \
                 --encoding windows-1252",
            ),
            (b"{\"to\": \"a\", }\n{\"to\": }", "t, row 1: no JSON at octet 13: trailing comma"),
            (b"[{\"to\": \"a\"}, {\"to\"", "t: it ends in the middle, in or behind row 2; is it cut off?"),
            (b"PK\x03\x04", "t is a spreadsheet, or another ZIP archive, a table as text is wanted"),
        ] {
            assert_eq!(refused(octets), error, "{}", String::from_utf8_lossy(octets));
        }
        assert_eq!(refused(vec![b','; 20_000]), "t is empty");
        assert_eq!(refused("x,".repeat(20_000)), "the header of t: 20001 columns are more than can be");
        assert_eq!(refused("x".repeat(2_000_000)), "the header of t: column 1 has more than 1 MiB");
    }

    #[test]
    fn tables_that_cannot_be_read() {
        let (folder, _) = table("t", "");
        let open = |path: &Path| Table::open(&Origin::File(path.to_owned()), &Options::default()).unwrap_err();
        let error = open(&folder.path().join("none"));
        assert!(
            error.is_unreadable && error.what.ends_with("none cannot be read: No such file or directory (os error 2)")
        );
        let error = open(folder.path());
        assert!(error.is_unreadable && error.what.ends_with(" is a folder, a table is wanted"), "{error}");
    }
}
