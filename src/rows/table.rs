//! A table that lies in a file, and its readers.

use std::{
    fs::{File, Metadata},
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use encoding_rs::{Encoding, UTF_8};
use serde_json::{Map, Value};

use super::{
    Options, Origin, Position, Row, RowError, RowsError,
    csv::{Extent, Fault, Record},
    json::Line,
    open::{Copy, Opened, not_copied, unread},
};
use crate::mail::clean;

/// Octets that are read at once for rows one after the other.
const AHEAD: usize = 64 * 1024;
/// Octets that are read at once for a row by its position.
const ONCE: usize = 4 * 1024;
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

/// What all readers of a table share.
#[derive(Debug)]
struct Shape {
    file: Arc<File>,
    /// How it was when it was opened.
    state: State,
    /// For messages.
    name: String,
    /// Where the first row begins.
    start: u64,
    /// None for JSON.
    delimiter: Option<u8>,
    columns: Vec<String>,
    /// The encoding as it came.
    encoding: &'static Encoding,
}

/// What changes when somebody writes to a file.
type State = (u64, Option<SystemTime>);

fn state(metadata: &Metadata) -> State {
    (metadata.len(), metadata.modified().ok())
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
            file.persist(&path).map_err(|error| not_copied(path, &error.error))?;
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
    fn blocks(&self, at: u64) -> Blocks {
        Blocks { file: Arc::clone(&self.file), state: self.state, at }
    }

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

    /// How people call a cell.
    fn place(&self, cell: usize) -> String {
        match self.columns.get(cell) {
            Some(column) => format!("column '{}'", clean(column)),
            None => format!("cell {}", cell + 1),
        }
    }

    /// The cells of a record by column.
    fn cells(&self, record: &Record) -> Result<Map<String, Value>, String> {
        if let Some(fault) = record.fault() {
            return Err(words(fault, |cell| self.place(cell)));
        }
        let (count, wanted) = (record.count(), self.columns.len());
        if count < wanted {
            return Err(format!("{} missing", listed(&self.columns[count..])));
        }
        if count > wanted && !record.is_blank_from(wanted) {
            let delimiter = self.delimiter.map_or(String::new(), |byte| super::Delimiter(byte).to_string());
            return Err(format!(
                "it has {count} cells, {} more than the header; a cell with {delimiter} in it needs quotation marks",
                count - wanted
            ));
        }
        let has_nul = record.has_nul();
        let mut cells = Map::new();
        for (index, (column, cell)) in self.columns.iter().zip(record.cells()).enumerate() {
            let text = std::str::from_utf8(cell)
                .map_err(|error| no_text(&self.place(index), cell, error.valid_up_to(), self.encoding))?;
            if has_nul && text.contains('\0') {
                return Err(format!("{} has a NUL in it", self.place(index)));
            }
            cells.insert(column.clone(), Value::String(text.to_owned()));
        }
        Ok(cells)
    }
}

/// Columns that are missing, in words.
fn listed(columns: &[String]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<String> = columns.iter().take(SHOWN).map(|column| format!("'{}'", clean(column))).collect();
    let more = match columns.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (noun, verb) = if columns.len() == 1 { ("column", "is") } else { ("columns", "are") };
    format!("{noun} {}{more} {verb}", names.join(", "))
}

fn words(fault: Fault, place: impl Fn(usize) -> String) -> String {
    match fault {
        Fault::LargeCell(cell) => format!("{} has more than 1 MiB", place(cell)),
        Fault::LargeRow(cell) => format!("it has more than 2 MiB up to {}", place(cell)),
        Fault::Behind(cell) => {
            format!("{}: text behind the closing quotation mark; a mark inside of marks is written twice", place(cell))
        }
        Fault::Unclosed(cell) => {
            format!("{}: its quotation mark is not closed, and where the next row begins is not known", place(cell))
        }
    }
}

/// Says which octet is not in the encoding that the table has or is taken for.
fn no_text(place: &str, cell: &[u8], at: usize, encoding: &'static Encoding) -> String {
    match cell.get(at) {
        Some(octet) if encoding == UTF_8 => format!(
            "{place} is not UTF-8 (octet 0x{octet:02X}); if the table is in another encoding, name it: \
             --encoding windows-1252"
        ),
        _ => format!("{place} is not {}", encoding.name()),
    }
}

/// Reads rows one after the other, or again.
#[derive(Debug)]
pub struct Reader {
    shape: Arc<Shape>,
    ahead: BufReader<Blocks>,
    /// Where `ahead` stands.
    at: u64,
    number: u64,
    is_over: bool,
    again: BufReader<Blocks>,
    record: Record,
    line: Line,
}

impl Reader {
    fn new(shape: Arc<Shape>) -> Self {
        Self {
            ahead: BufReader::with_capacity(AHEAD, shape.blocks(shape.start)),
            at: shape.start,
            number: 0,
            is_over: false,
            again: BufReader::with_capacity(ONCE, shape.blocks(shape.start)),
            record: Record::default(),
            line: Line::default(),
            shape,
        }
    }

    /// The next row, or what is wrong with it: the rows behind it can still be read unless the error says otherwise.
    /// Rows in which every cell is blank are none.
    pub fn next_row(&mut self) -> Option<Result<Row, RowError>> {
        if self.is_over {
            return None;
        }
        loop {
            let read = match self.shape.delimiter {
                Some(delimiter) => self.record.read(&mut self.ahead, delimiter),
                None => self.line.read(&mut self.ahead),
            };
            let extent = match read {
                Ok(Some(extent)) => extent,
                Ok(None) => {
                    self.is_over = true;
                    return None;
                }
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(unreadable(self.number + 1, None, &error)));
                }
            };
            let position = Position(self.at + extent.skipped);
            self.at += extent.skipped + extent.length;
            if self.shape.delimiter.is_some() && self.record.is_blank() {
                continue;
            }
            self.number += 1;
            let row = self.row(self.number, position);
            self.is_over = row.as_ref().is_err_and(|error| error.is_final);
            return Some(row);
        }
    }

    /// The row at this position; the sequence of [`Reader::next_row`] is not disturbed.
    ///
    /// # Errors
    /// As for the first reading.
    pub fn at(&mut self, number: u64, position: Position) -> Result<Row, RowError> {
        self.go_to(position).map_err(|error| unreadable(number, Some(position), &error))?;
        self.row(number, position)
    }

    /// Reads what is at this position, so that [`Reader::row`] can tell what it is.
    fn go_to(&mut self, position: Position) -> io::Result<Extent> {
        let left = self.again.buffer().len();
        self.again.consume(left);
        self.again.get_mut().at = position.0;
        let extent = match self.shape.delimiter {
            Some(delimiter) => self.record.read(&mut self.again, delimiter)?,
            None => self.line.read(&mut self.again)?,
        };
        extent.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }

    /// The cells at this position as they came, blanks behind the last column left out; none if they are not all cells,
    /// or not UTF-8.
    pub(super) fn cells_at(&mut self, position: Position) -> io::Result<Option<Vec<&[u8]>>> {
        self.go_to(position)?;
        if self.record.fault().is_some() || self.record.count() > super::csv::MAX_CELLS {
            return Ok(None);
        }
        let columns = self.shape.columns.len();
        let count = if self.record.is_blank_from(columns) { columns } else { self.record.count() };
        let cells: Vec<&[u8]> = self.record.cells().take(count).collect();
        Ok(cells.iter().all(|cell| std::str::from_utf8(cell).is_ok()).then_some(cells))
    }

    /// The line at this position; empty if it is too long.
    pub(super) fn line_at(&mut self, position: Position) -> io::Result<&[u8]> {
        self.go_to(position)?;
        Ok(self.line.octets())
    }

    /// The row that was just read.
    fn row(&self, number: u64, position: Position) -> Result<Row, RowError> {
        let cells = match self.shape.delimiter {
            Some(_) => self.shape.cells(&self.record),
            None => self.line.object(None),
        };
        match cells {
            Ok(cells) => Ok(Row { number, position, cells }),
            Err(what) => {
                let is_final = matches!(self.record.fault(), Some(Fault::Unclosed(_)));
                Err(RowError { number, position: Some(position), what, is_final })
            }
        }
    }
}

fn unreadable(number: u64, position: Option<Position>, error: &io::Error) -> RowError {
    RowError { number, position, what: format!("it cannot be read: {error}"), is_final: true }
}

/// Octets of a file from a place on; does not move the place of others. Notices when the file is not the same any more.
#[derive(Debug)]
struct Blocks {
    file: Arc<File>,
    state: State,
    at: u64,
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if state(&self.file.metadata()?) != self.state {
            return Err(io::Error::other("the file was changed meanwhile"));
        }
        #[cfg(unix)]
        let count = std::os::unix::fs::FileExt::read_at(&*self.file, buffer, self.at)?;
        #[cfg(windows)]
        let count = std::os::windows::fs::FileExt::seek_read(&*self.file, buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{fmt::Write, fs};
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
    fn forms_that_people_write() {
        assert_eq!(
            shown("to,name\r\na@x,Ada\r\n\r\n\"b@x\",\"Bob \"\"B\"\"\nx\"\r\n , \r\nc, \"d\" "),
            [r#"1 {"name":"Ada","to":"a@x"}"#, r#"2 {"name":"Bob \"B\"\nx","to":"b@x"}"#, r#"3 {"name":"d","to":"c"}"#]
        );
        assert_eq!(shown("\u{feff}to\r\ra\rb"), [r#"1 {"to":"a"}"#, r#"2 {"to":"b"}"#]);
        assert_eq!(shown("sep=;\nto;n\na;5\" x\n"), [r#"1 {"n":"5\" x","to":"a"}"#]);
        assert_eq!(shown("to , n,,\na,,,\nb,1,\n"), [r#"1 {"n":"","to":"a"}"#, r#"2 {"n":"1","to":"b"}"#]);
        assert_eq!(
            shown("{\"to\":\"a\",\"n\":{\"x\":[1]}}\n\n{\"to\":\"b\"}"),
            [r#"1 {"n":{"x":[1]},"to":"a"}"#, r#"2 {"to":"b"}"#]
        );
        assert_eq!(shown("[{\"to\":\"a\"},\n{\"to\":\"b\"}]"), [r#"1 {"to":"a"}"#, r#"2 {"to":"b"}"#]);
        let (_folder, table) = table("t.json", "\n{\"to\":\"a\",\n\"b\":1, \"a\":2}");
        assert_eq!(table.unwrap().columns(), ["to", "b", "a"]);
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

    #[test]
    fn rows_that_are_wrong() {
        let wide = format!("c@x{}", ",1".repeat(299));
        let large = format!("d@x,{},1", "x".repeat(20_000_000));
        let long = format!("f@x,{0},{0}", "x".repeat(1024 * 1024));
        let octets = [
            "\u{feff}to,first name,n\n".as_bytes(),
            b"a@x,Ada,1\n\nb@x\n",
            wide.as_bytes(),
            b"\n",
            large.as_bytes(),
            b"\ne@x,J\xFCrgen,1\n",
            long.as_bytes(),
            b"\ng@x,a\0b,1\nh@x,\"H \"h\" H\",1\nz@x,Z,1\ni@x,\"I,1\nj@x,J,1\n",
        ]
        .concat();
        let expected = [
            r#"1 {"first name":"Ada","n":"1","to":"a@x"}"#,
            "row 2: columns 'first name', 'n' are missing",
            "row 3: it has 300 cells, 297 more than the header; a cell with , in it needs quotation marks",
            "row 4: column 'first name' has more than 1 MiB",
            "row 5: column 'first name' is not UTF-8 (octet 0xFC); if the table is in another encoding, name it: \
             --encoding windows-1252",
            "row 6: it has more than 2 MiB up to column 'n'",
            "row 7: column 'first name' has a NUL in it",
            "row 8: column 'first name': text behind the closing quotation mark; a mark inside of marks is written twice",
            r#"9 {"first name":"Z","n":"1","to":"z@x"}"#,
            "row 10: column 'first name': its quotation mark is not closed, and where the next row begins is not known",
        ];
        assert_eq!(shown(&octets), expected);
        let (_folder, table) = table("t", &octets);
        let table = table.unwrap();
        let errors = rows(&table).into_iter().filter_map(Result::err);
        let finals: Vec<u64> = errors.filter(|error| error.is_final).map(|error| error.number).collect();
        assert_eq!(finals, [10]);
    }

    #[test]
    fn columns_that_are_missing_are_named_but_not_all_of_many() {
        let header: Vec<String> = (1..=9).map(|number| format!("c{number}")).collect();
        assert_eq!(
            shown(format!("{}\na,b\n{0}\n", header.join(",")))[0],
            "row 1: columns 'c3', 'c4', 'c5', 'c6', 'c7' and 2 more are missing"
        );
        assert_eq!(shown("to,n\na\n"), ["row 1: column 'n' is missing"]);
    }

    #[test]
    fn a_table_that_changes_is_noticed() {
        let (folder, table) = table("t", "to\na\nb\n");
        let table = table.unwrap();
        let mut reader = table.reader();
        let row = reader.next_row().unwrap().unwrap();
        fs::write(folder.path().join("t"), "to\nc\nb\nd\n").unwrap();
        let error = reader.at(1, row.position).unwrap_err();
        assert_eq!(error.to_string(), "row 1: it cannot be read: the file was changed meanwhile");
        assert!(error.is_final && table.reader().next_row().unwrap().is_err());
    }

    #[test]
    fn a_table_that_is_replaced_is_read_on() {
        let (folder, table) = table("t", "to\na\nb\n");
        let table = table.unwrap();
        fs::write(folder.path().join("new"), "to\nc\n").unwrap();
        fs::rename(folder.path().join("new"), folder.path().join("t")).unwrap();
        assert_eq!(rows(&table).len(), 2);
    }

    #[test]
    fn equal_rows_have_equal_digests() {
        let (_folder, table) = table("t", "to,n\na,b\nab,\na,b\n");
        let digests: Vec<u64> = rows(&table.unwrap()).into_iter().map(|row| row.unwrap().digest()).collect();
        assert_eq!(digests[0], digests[2]);
        assert_ne!(digests[0], digests[1]);
    }

    /// Ways to write the same table, with the name of the file.
    fn written(rows: &[[String; 3]], way: usize) -> (&'static str, Vec<u8>) {
        const COLUMNS: [&str; 3] = ["to", "first name", "größe"];
        let csv = |delimiter: u8| {
            let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
            writer.write_record(COLUMNS).unwrap();
            rows.iter().for_each(|row| writer.write_record(row).unwrap());
            String::from_utf8(writer.into_inner().unwrap()).unwrap()
        };
        let objects = || {
            rows.iter().map(|row| {
                let cells = COLUMNS.iter().zip(row).map(|(column, cell)| ((*column).to_owned(), cell.as_str().into()));
                Value::Object(cells.collect())
            })
        };
        let wide = |text: &str, octets: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(octets).collect::<Vec<u8>>();
        match way {
            0 => ("t.csv", csv(b',').into_bytes()),
            1 => ("t", csv(b';').into_bytes()),
            2 => ("t.tsv", csv(b'\t').into_bytes()),
            3 => ("t.csv", format!("\u{feff}{}", csv(b'|')).into_bytes()),
            4 => ("t", wide(&format!("\u{feff}{}", csv(b',')), u16::to_le_bytes)),
            5 => ("t.tsv", wide(&format!("\u{feff}{}", csv(b'\t')), u16::to_be_bytes)),
            6 => ("t", encoding_rs::WINDOWS_1252.encode(&csv(b';')).0.into_owned()),
            7 => {
                let mut text = String::new();
                objects().for_each(|object| writeln!(text, "{object}").unwrap());
                ("t.jsonl", text.into_bytes())
            }
            8 => ("t", serde_json::to_vec(&objects().collect::<Vec<_>>()).unwrap()),
            _ => {
                let text = serde_json::to_string_pretty(&objects().collect::<Vec<_>>()).unwrap();
                ("t.json", wide(&format!("\u{feff}{text}"), u16::to_le_bytes))
            }
        }
    }

    proptest! {
        /// The same rows come back from every format and encoding, one after the other and by their positions.
        #[test]
        fn rows_come_back(
            cells in proptest::collection::vec(["a([ab ,;|\t\"\n\r\\\\{}]ü?){0,6}", "([ab,;|\t\"\n\r {}]é?){0,6}", "[,;|\" ]{0,3}ß?"], 1..9),
            way in 0_usize..10,
        ) {
            let (name, octets) = written(&cells, way);
            let (folder, table) = table(name, octets);
            let table = table.unwrap();
            prop_assert_eq!(table.columns().len(), 3);
            let found: Vec<Row> = rows(&table).into_iter().map(Result::unwrap).collect();
            prop_assert_eq!(found.len(), cells.len());
            let mut reader = table.reader();
            let ahead = reader.next_row().unwrap().unwrap();
            for (row, cells) in found.iter().zip(&cells).rev() {
                let keys = ["to", "first name", "größe"];
                let wanted: Vec<&str> = cells.iter().map(String::as_str).collect();
                prop_assert_eq!(keys.map(|key| row.cells[key].as_str().unwrap()).to_vec(), wanted);
                prop_assert_eq!(&reader.at(row.number, row.position).unwrap(), row);
            }
            prop_assert_eq!(&ahead, &found[0]);
            prop_assert_eq!(reader.next_row().map(Result::unwrap), found.get(1).cloned());
            drop((table, folder));
        }

        #[test]
        fn any_octets_are_a_table_or_none(
            octets in proptest::collection::vec(proptest::sample::select(b"tno,;\"\"\n\n\r {}[]:\xFC\xC3\x00\xFE\xFF\\1".to_vec()), 0..60),
            name in proptest::sample::select(vec!["t", "t.csv", "t.tsv", "t.json", "t.jsonl"]),
        ) {
            let (_folder, table) = table(name, octets);
            if let Ok(table) = table {
                let mut reader = table.reader();
                for row in rows(&table) {
                    match row {
                        Ok(row) => prop_assert_eq!(reader.at(row.number, row.position).unwrap(), row),
                        Err(error) => {
                            let position = error.position.unwrap();
                            prop_assert_eq!(reader.at(error.number, position).unwrap_err(), error);
                        }
                    }
                }
            }
        }
    }
}
