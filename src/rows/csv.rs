//! Records of comma-separated values (RFC 4180), with any delimiter, from octets that come block by block.
//!
//! Lenient where people are: lines end with LF, CRLF or CR, spaces around quotation marks do not count, and a mark in
//! the middle of a cell is one. Strict where rows would be lost: what a mark has opened, a mark has to close. A record
//! is read to its end however long it is, but never held beyond the limits.

use std::{
    io::{self, BufRead},
    ops::Range,
};

/// Octets of one cell.
pub(super) const MAX_CELL: usize = 1024 * 1024;
/// Octets of one row.
pub(super) const MAX_ROW: usize = 2 * 1024 * 1024;
/// Cells of one row that are kept: the columns of the largest spreadsheets.
pub(super) const MAX_CELLS: usize = 16_384;

/// One record; its memory is used again for the next.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The cells, without marks and delimiters, one behind the other.
    text: Vec<u8>,
    /// Where each of them ends in it.
    ends: Vec<usize>,
    /// All cells, those beyond the limits too.
    count: usize,
    state: State,
    /// Nothing more is kept of it.
    is_full: bool,
    fault: Option<Fault>,
}

/// Where in a cell the next octet stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Before it, or among the spaces it begins with.
    #[default]
    Start,
    Bare,
    Quoted,
    /// Behind a mark: the end, or the first half of a mark that stands for itself.
    Mark,
    /// Behind the closing mark.
    Closed,
}

/// What is wrong with a record, and in which cell, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The cell has more than [`MAX_CELL`] octets.
    LargeCell(usize),
    /// With this cell the row has more than [`MAX_ROW`] octets.
    LargeRow(usize),
    /// Something stands behind the closing mark.
    Behind(usize),
    /// The opening mark has no closing one, or one in another line with text behind it: where the rows behind begin,
    /// nobody can know.
    Unclosed(usize),
}

/// Octets that a record takes in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Line ends before it.
    pub skipped: u64,
    /// Its own, with the line end.
    pub length: u64,
}

impl Record {
    /// Reads the next record; `None` if there is none.
    ///
    /// # Errors
    /// Of `input`.
    pub fn read(&mut self, input: &mut impl BufRead, delimiter: u8) -> io::Result<Option<Extent>> {
        self.clear();
        let mut extent = Extent { skipped: 0, length: 0 };
        loop {
            let block = input.fill_buf()?;
            if block.is_empty() {
                return Ok(None);
            }
            let ends = block.iter().position(|&byte| !matches!(byte, b'\r' | b'\n'));
            let count = ends.unwrap_or(block.len());
            input.consume(count);
            extent.skipped += count as u64;
            if ends.is_some() {
                break;
            }
        }
        loop {
            let block = input.fill_buf()?;
            if block.is_empty() {
                if self.state == State::Quoted {
                    self.fault = Some(Fault::Unclosed(self.count));
                }
                self.end_cell();
                return Ok(Some(extent));
            }
            let (used, is_whole) = self.scan(block, delimiter);
            input.consume(used);
            extent.length += used as u64;
            if is_whole {
                return Ok(Some(extent));
            }
        }
    }

    /// All cells, also those that were not kept.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What is wrong with it.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The cells that were kept.
    pub fn cells(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).map(|index| &self.text[self.range(index)])
    }

    /// Whether nothing but white space is in it.
    pub fn is_blank(&self) -> bool {
        self.fault.is_none() && self.text.iter().all(u8::is_ascii_whitespace)
    }

    /// Whether nothing but white space is in the cells from this one on.
    pub fn is_blank_from(&self, cell: usize) -> bool {
        let from = self.ends.get(cell.wrapping_sub(1)).copied().unwrap_or_default();
        self.text[from..].iter().all(u8::is_ascii_whitespace)
    }

    /// Whether a NUL is in it.
    pub fn has_nul(&self) -> bool {
        memchr::memchr(0, &self.text).is_some()
    }

    fn range(&self, cell: usize) -> Range<usize> {
        let start = self.ends.get(cell.wrapping_sub(1)).copied().unwrap_or_default();
        start..self.ends[cell]
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        (self.count, self.state, self.is_full, self.fault) = (0, State::Start, false, None);
        // One large row must not make all that follow expensive.
        self.text.shrink_to(64 * 1024);
    }

    /// Takes the octets of this record from the block: how many, and whether it is whole.
    fn scan(&mut self, block: &[u8], delimiter: u8) -> (usize, bool) {
        let mut at = 0;
        while let Some(&byte) = block.get(at) {
            match self.state {
                State::Start => match byte {
                    b'"' => {
                        self.drop_spaces();
                        self.state = State::Quoted;
                        at += 1;
                    }
                    b' ' => {
                        self.push(b" ");
                        at += 1;
                    }
                    _ => self.state = State::Bare,
                },
                State::Bare => {
                    let is_end = |&byte: &u8| byte == delimiter || matches!(byte, b'\r' | b'\n');
                    let rest = &block[at..];
                    let Some(length) = rest.iter().position(is_end) else {
                        self.push(rest);
                        return (block.len(), false);
                    };
                    self.push(&rest[..length]);
                    self.end_cell();
                    at += length + 1;
                    if rest[length] != delimiter {
                        return (at, true);
                    }
                }
                State::Quoted => {
                    let rest = &block[at..];
                    let length = memchr::memchr(b'"', rest).unwrap_or(rest.len());
                    self.push(&rest[..length]);
                    at += length;
                    if at < block.len() {
                        self.state = State::Mark;
                        at += 1;
                    }
                }
                State::Mark if byte == b'"' => {
                    self.push(b"\"");
                    self.state = State::Quoted;
                    at += 1;
                }
                State::Mark => self.state = State::Closed,
                State::Closed if byte == delimiter || matches!(byte, b'\r' | b'\n') => self.state = State::Bare,
                State::Closed if byte == b' ' => at += 1,
                State::Closed => {
                    let is_one_line = !self.text[self.start()..].iter().any(|byte| matches!(byte, b'\r' | b'\n'));
                    let is_known = is_one_line && !self.is_full;
                    let fault = if is_known { Fault::Behind(self.count) } else { Fault::Unclosed(self.count) };
                    self.fault = Some(fault);
                    self.state = State::Bare;
                }
            }
        }
        (at, false)
    }

    /// Where the cell in hand begins.
    fn start(&self) -> usize {
        self.ends.last().copied().unwrap_or_default()
    }

    fn drop_spaces(&mut self) {
        if !self.is_full && self.ends.len() == self.count {
            self.text.truncate(self.start());
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.is_full {
            return;
        }
        let fault = if self.text.len() - self.start() + bytes.len() > MAX_CELL && self.ends.len() == self.count {
            Fault::LargeCell(self.count)
        } else if self.text.len() + bytes.len() > MAX_ROW {
            Fault::LargeRow(self.count)
        } else {
            self.text.extend_from_slice(bytes);
            return;
        };
        self.is_full = true;
        self.fault.get_or_insert(fault);
    }

    fn end_cell(&mut self) {
        self.count += 1;
        self.state = State::Start;
        if !self.is_full && self.ends.len() < MAX_CELLS {
            self.ends.push(self.text.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    type Read = Vec<(Vec<Vec<u8>>, usize, Option<Fault>, Extent)>;

    /// All records, read in blocks of this size.
    fn records(text: &[u8], delimiter: u8, block: usize) -> Read {
        let (mut input, mut record, mut found) = (BufReader::with_capacity(block, text), Record::default(), Vec::new());
        while let Some(extent) = record.read(&mut input, delimiter).unwrap() {
            let cells = record.cells().map(<[u8]>::to_vec).collect();
            found.push((cells, record.count(), record.fault(), extent));
        }
        found
    }

    fn fault(text: &[u8]) -> Option<Fault> {
        records(text, b',', 64)[0].2
    }

    #[test]
    fn marks_that_are_not_closed_well() {
        assert_eq!(fault(b"a,\"b\"x,c\n"), Some(Fault::Behind(1)));
        assert_eq!(fault(b"a,\"b \"c\" d\",e\n"), Some(Fault::Behind(1)));
        assert_eq!(fault(b"a,\"b,c\nd,e\n"), Some(Fault::Unclosed(1)));
        assert_eq!(fault(b"a,\"b\nd,\"e\"\n"), Some(Fault::Unclosed(1)));
        assert_eq!(fault(b"a,\""), Some(Fault::Unclosed(1)));
        assert_eq!(fault(b"a,b\"c\n"), None);
        assert_eq!(fault(b"a, \"b\" \n"), None);
    }

    #[test]
    fn large_records_are_read_to_their_end_but_not_held() {
        for (cell, fault) in [("x".repeat(MAX_CELL), None), ("x".repeat(20_000_000), Some(Fault::LargeCell(1)))] {
            let text = format!("a,\"{cell}\",c\nd,e,f\n");
            let (mut input, mut record) = (text.as_bytes(), Record::default());
            let extent = record.read(&mut input, b',').unwrap().unwrap();
            assert_eq!((record.count(), record.fault()), (3, fault));
            assert_eq!(extent.length as usize, text.len() - 6);
            assert!(record.text.capacity() <= 2 * MAX_ROW, "{}", record.text.capacity());
            record.read(&mut input, b',').unwrap().unwrap();
            assert_eq!(record.cells().collect::<Vec<_>>(), [b"d", b"e", b"f"]);
            assert!(record.text.capacity() <= 64 * 1024);
        }
        let wide = format!("{}\n", "x".repeat(1000) + &",".repeat(5_000_000));
        let (mut input, mut record) = (wide.as_bytes(), Record::default());
        record.read(&mut input, b',').unwrap().unwrap();
        assert_eq!((record.count(), record.ends.len()), (5_000_001, MAX_CELLS));
        let many = format!("{}\n", "x,".repeat(3_000_000));
        let (mut input, mut record) = (many.as_bytes(), Record::default());
        record.read(&mut input, b',').unwrap().unwrap();
        assert_eq!(record.fault(), Some(Fault::LargeRow(MAX_ROW)));
    }

    fn delimiters() -> impl Strategy<Value = u8> {
        proptest::sample::select(vec![b',', b';', b'\t', b'|', b':', b'a'])
    }

    proptest! {
        /// What the crate csv has written comes back, but for rows without anything in them.
        #[test]
        fn tables_come_back(
            table in proptest::collection::vec(proptest::collection::vec("[ a,;\t|\"\r\nü]{0,6}", 1..5), 1..6),
            delimiter in delimiters(),
            block in 1_usize..40,
        ) {
            let mut writer = csv::WriterBuilder::new().delimiter(delimiter).flexible(true).from_writer(Vec::new());
            table.iter().for_each(|row| writer.write_record(row).unwrap());
            let text = writer.into_inner().unwrap();
            let is_blank = |row: &[Vec<u8>]| row.iter().all(|cell| cell.trim_ascii().is_empty());
            let wanted = table.iter().map(|row| row.iter().map(|cell| cell.clone().into_bytes()).collect::<Vec<_>>());
            let wanted: Vec<_> = wanted.filter(|row| !is_blank(row)).collect();
            let found = records(&text, delimiter, block).into_iter().map(|(cells, ..)| cells);
            prop_assert_eq!(found.filter(|row| !is_blank(row)).collect::<Vec<_>>(), wanted);
        }

        /// Whatever it is: cuts do not matter, every octet belongs to one record, and each can be read again.
        #[test]
        fn any_octets_are_read_in_the_same_way(
            text in proptest::collection::vec(proptest::sample::select(b"aa, \"\"\r\n;\xFF\0".to_vec()), 0..60),
            block in 1_usize..9,
        ) {
            let found = records(&text, b',', 1000);
            prop_assert_eq!(&records(&text, b',', block), &found);
            let mut at = 0;
            for (cells, count, fault, extent) in found {
                at += extent.skipped as usize;
                let again = records(&text[at..at + extent.length as usize], b',', 1000);
                prop_assert_eq!(again.len(), 1);
                prop_assert_eq!((&again[0].0, again[0].1, again[0].2), (&cells, count, fault));
                at += extent.length as usize;
            }
            prop_assert!(text[at..].iter().all(|byte| matches!(byte, b'\r' | b'\n')));
        }
    }
}
