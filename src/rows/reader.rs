//! Rows of a table, one after the other or by their positions.

use std::{
    fs::{File, Metadata},
    io::{self, BufRead, BufReader, Read},
    sync::Arc,
    time::SystemTime,
};

use encoding_rs::{Encoding, UTF_8};
use serde_json::{Map, Value};

use super::{
    Position, Row, RowError,
    csv::{Extent, Fault, Record},
    json::Line,
};
use crate::mail::clean;

/// Octets that are read at once for rows one after the other.
const AHEAD: usize = 64 * 1024;
/// Octets that are read at once for a row by its position.
const ONCE: usize = 4 * 1024;

/// What all readers of a table share.
#[derive(Debug)]
pub(super) struct Shape {
    pub file: Arc<File>,
    /// How it was when it was opened.
    pub state: State,
    /// For messages.
    pub name: String,
    /// Where the first row begins.
    pub start: u64,
    /// None for JSON.
    pub delimiter: Option<u8>,
    pub columns: Vec<String>,
    /// The encoding as it came.
    pub encoding: &'static Encoding,
}

/// What changes when somebody writes to a file.
pub(super) type State = (u64, Option<SystemTime>);

pub(super) fn state(metadata: &Metadata) -> State {
    (metadata.len(), metadata.modified().ok())
}

impl Shape {
    pub fn blocks(&self, at: u64) -> Blocks {
        Blocks { file: Arc::clone(&self.file), state: self.state, at }
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

pub(super) fn words(fault: Fault, place: impl Fn(usize) -> String) -> String {
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
pub(super) fn no_text(place: &str, cell: &[u8], at: usize, encoding: &'static Encoding) -> String {
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
    pub(super) fn new(shape: Arc<Shape>) -> Self {
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
pub(super) struct Blocks {
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
mod tests {
    use super::*;
    use crate::rows::table::tests::{rows, shown, table};
    use proptest::prelude::*;
    use std::{fmt::Write, fs};

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
