//! Rows of JSON: an object on each line.

use std::{
    fmt,
    io::{self, BufRead},
};

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{csv::Extent, csv::MAX_CELL, csv::MAX_ROW};
use crate::mail::clean;

/// One line; its memory is used again for the next.
#[derive(Debug, Default)]
pub(super) struct Line {
    octets: Vec<u8>,
    is_large: bool,
}

impl Line {
    /// Reads the next line that is not blank; `None` if there is none. One that is too long is read to its end, but
    /// not held.
    ///
    /// # Errors
    /// Of `input`.
    pub fn read(&mut self, input: &mut impl BufRead) -> io::Result<Option<Extent>> {
        let mut extent = Extent { skipped: 0, length: 0 };
        loop {
            self.octets.clear();
            self.octets.shrink_to(64 * 1024);
            self.is_large = false;
            let mut is_whole = false;
            while !is_whole {
                let block = input.fill_buf()?;
                if block.is_empty() {
                    break;
                }
                let end = memchr::memchr(b'\n', block);
                let part = &block[..end.unwrap_or(block.len())];
                self.is_large |= self.octets.len() + part.len() > MAX_ROW;
                if !self.is_large {
                    self.octets.extend_from_slice(part);
                }
                is_whole = end.is_some();
                let used = part.len() + usize::from(is_whole);
                input.consume(used);
                extent.length += used as u64;
            }
            if extent.length == 0 {
                return Ok(None);
            }
            if self.is_large || !self.octets.trim_ascii().is_empty() {
                return Ok(Some(extent));
            }
            extent.skipped += std::mem::take(&mut extent.length);
        }
    }

    /// Its object; `columns` gets the keys as they stand there.
    ///
    /// # Errors
    /// A clause that says why it is none, or not one for a row.
    pub fn object(&self, columns: Option<&mut Vec<String>>) -> Result<Map<String, Value>, String> {
        if self.is_large {
            return Err("it has more than 2 MiB".to_owned());
        }
        let object = parse(&self.octets, columns)?;
        for (key, value) in &object {
            if matches!(value, Value::String(text) if text.len() > MAX_CELL) {
                return Err(format!("'{}' has more than 1 MiB", clean(key)));
            }
        }
        if memchr::memmem::find(&self.octets, b"\\u0000").is_some()
            && let Some((key, _)) = object.iter().find(|(key, value)| key.contains('\0') || has_nul(value))
        {
            return Err(format!("'{}' has a NUL in it", clean(key)));
        }
        Ok(object)
    }

    /// The octets, without the line end; none of a line that is too long.
    pub fn octets(&self) -> &[u8] {
        if self.is_large { &[] } else { &self.octets }
    }
}

/// Parses one object.
pub(super) fn parse(octets: &[u8], columns: Option<&mut Vec<String>>) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(octets).map_err(|error| no_utf8(octets, error.valid_up_to()))?;
    if !text.trim_start().starts_with('{') {
        return Err("an object is wanted, in braces: {\"to\": \"ada@example.com\"}".to_owned());
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    let object = parser.deserialize_map(Keys { columns }).and_then(|object| parser.end().map(|()| object));
    object.map_err(|error| {
        let what = error.to_string();
        let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what);
        if error.is_data() {
            return clean(what);
        }
        let line = if error.line() > 1 { format!("in line {} ", error.line()) } else { String::new() };
        format!("no JSON {line}at octet {}: {}", error.column(), clean(what))
    })
}

/// Says where octets are not UTF-8, with the key in whose value they are.
fn no_utf8(octets: &[u8], at: usize) -> String {
    let octet = octets.get(at).copied().unwrap_or_default();
    let text = String::from_utf8_lossy(octets);
    let object: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    let is_it = |(key, value): &(&String, &Value)| key.contains('\u{FFFD}') || value.to_string().contains('\u{FFFD}');
    match object.iter().find(is_it) {
        Some((key, _)) => format!("'{}' is not UTF-8 (octet 0x{octet:02X})", clean(key)),
        None => format!("octet {} is not UTF-8 (0x{octet:02X})", at + 1),
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(object) => object.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// An object whose keys differ, in their order.
struct Keys<'a> {
    columns: Option<&'a mut Vec<String>>,
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        let mut columns = self.columns;
        while let Some((key, value)) = access.next_entry::<String, Value>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("'{key}' is there twice")));
            }
            if let Some(columns) = &mut columns {
                columns.push(key.clone());
            }
            object.insert(key, value);
        }
        Ok(object)
    }
}

/// Makes lines of an array of values, or of objects one behind the other; how the text is cut does not matter. What is
/// inside of a value is for the one who reads the line.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    place: Place,
    /// Values that have begun.
    count: u64,
    is_array: bool,
    depth: u64,
    in_string: bool,
    is_escaped: bool,
}

/// Where the next octet stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Before everything.
    #[default]
    Start,
    /// Behind the opening bracket: a value may come.
    First,
    /// Behind a comma: a value must come.
    Value,
    Inside,
    /// Between two objects without an array.
    Between,
    /// Behind the array.
    Behind,
}

impl Splitter {
    /// Appends the lines of the next octets.
    ///
    /// # Errors
    /// A clause that says what is wrong with the array.
    pub fn split(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        for &byte in text {
            let is_space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
            match (self.place, byte) {
                (Place::Inside, byte) => self.inside(byte, out),
                (_, _) if is_space => {}
                (Place::Start, b'[') => (self.place, self.is_array) = (Place::First, true),
                (Place::First, b']') => self.place = Place::Behind,
                (Place::First | Place::Value, b',') | (Place::Value, b']') => {
                    return Err(format!("row {} is missing between two commas or brackets", self.count + 1));
                }
                (Place::Start | Place::Between, b'{') | (Place::First | Place::Value, _) => self.begin(byte, out),
                (Place::Start, _) => return Err("no JSON: it begins neither with '[' nor with '{'".to_owned()),
                (Place::Between, _) => return Err(format!("behind row {} stands something else", self.count)),
                (Place::Behind, _) => return Err("something stands behind the array".to_owned()),
            }
        }
        Ok(())
    }

    /// Whether it may end here, if it does.
    ///
    /// # Errors
    /// A clause that says that it may not.
    pub fn end(&self, is_last: bool) -> Result<(), String> {
        match self.place {
            _ if !is_last => Ok(()),
            Place::Start | Place::Between | Place::Behind => Ok(()),
            _ => Err(format!("it ends in the middle, in or behind row {}; is it cut off?", self.count)),
        }
    }

    fn begin(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.count += 1;
        (self.place, self.depth, self.in_string) = (Place::Inside, 0, false);
        self.inside(byte, out);
    }

    fn inside(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.in_string {
            let is_escaped = std::mem::take(&mut self.is_escaped);
            match byte {
                b'"' if !is_escaped => self.in_string = false,
                b'\\' if !is_escaped => self.is_escaped = true,
                _ => {}
            }
            // A line end in a string is wrong; it must stay wrong.
            out.push(if byte == b'\n' { 1 } else { byte });
            return;
        }
        match byte {
            b',' if self.depth == 0 && self.is_array => return self.finish(Place::Value, out),
            b']' if self.depth == 0 && self.is_array => return self.finish(Place::Behind, out),
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        out.push(if byte == b'\n' { b' ' } else { byte });
        if self.depth == 0 && !self.is_array {
            self.finish(Place::Between, out);
        }
    }

    fn finish(&mut self, place: Place, out: &mut Vec<u8>) {
        out.push(b'\n');
        self.place = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(text: &[u8]) -> Result<String, String> {
        let mut line = Line::default();
        let mut input = text;
        line.read(&mut input).unwrap();
        line.object(None).map(|object| Value::Object(object).to_string())
    }

    #[test]
    fn what_is_no_row() {
        for (text, error) in [
            (&b"[1]"[..], "an object is wanted, in braces: {\"to\": \"ada@example.com\"}"),
            (b"{\"a\": }", "no JSON at octet 7: expected value"),
            (b"{\"a\": 1} {\"b\": 2}", "no JSON at octet 10: trailing characters"),
            (b"{\"a\": \"x", "no JSON at octet 8: EOF while parsing a string"),
            (b"{\"a\": 1, \"a\": 2}", "'a' is there twice"),
            (b"{\"b\": 1, \"a\": \"x\xFC\"}", "'a' is not UTF-8 (octet 0xFC)"),
            (b"{\"a\": \xFC}", "octet 7 is not UTF-8 (0xFC)"),
            (b"{\"a\": {\"b\": [\"x\\u0000\"]}}", "'a' has a NUL in it"),
            (
                b"{\"a\": \"x\0\"}",
                "no JSON at octet 9: control character (\\u0000-\\u001F) found while parsing a string",
            ),
        ] {
            assert_eq!(object(text), Err(error.to_owned()), "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(object(b"{\"a\": \"\\\\u0000\"}").as_deref(), Ok(r#"{"a":"\\u0000"}"#));
        let deep = [&b"{\"a\": "[..], &b"[".repeat(100_000)].concat();
        assert_eq!(object(&deep).unwrap_err(), "no JSON at octet 133: recursion limit exceeded");
    }

    #[test]
    fn long_lines_are_not_held() {
        let cell = |length: usize| format!("{{\"a\": \"{}\"}}\n{{\"b\": 1}}", "x".repeat(length));
        assert!(object(cell(MAX_CELL).as_bytes()).is_ok());
        assert_eq!(object(cell(MAX_CELL + 1).as_bytes()).unwrap_err(), "'a' has more than 1 MiB");
        let text = cell(20_000_000);
        let (mut line, mut input) = (Line::default(), text.as_bytes());
        line.read(&mut input).unwrap();
        assert_eq!(line.object(None).unwrap_err(), "it has more than 2 MiB");
        assert!(line.octets.capacity() <= 2 * MAX_ROW && line.octets().is_empty());
        line.read(&mut input).unwrap();
        assert_eq!(line.object(None).unwrap()["b"], 1);
    }

    fn split(text: &[u8], cut: usize) -> Result<String, String> {
        let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
        let (first, second) = text.split_at(cut.min(text.len()));
        splitter.split(first, &mut lines)?;
        splitter.split(second, &mut lines)?;
        splitter.end(true)?;
        Ok(String::from_utf8_lossy(&lines).into_owned())
    }

    #[test]
    fn arrays_become_lines() {
        for (text, lines) in [
            ("[]", ""),
            (
                " [ {\"a\": [1, {\"b\": \"]},\\\"\"}]} ,\n17, \"x\" ]\n",
                "{\"a\": [1, {\"b\": \"]},\\\"\"}]} \n17\n\"x\" \n",
            ),
            ("{\n\"a\":\n1}{\"b\": 2}\n", "{ \"a\": 1}\n{\"b\": 2}\n"),
            ("[{\"a\": \"x\ny\"}]", "{\"a\": \"x\u{1}y\"}\n"),
        ] {
            for cut in 0..text.len() {
                assert_eq!(split(text.as_bytes(), cut).as_deref(), Ok(lines), "{text}");
            }
        }
        for (text, error) in [
            ("[{}, {}", "it ends in the middle, in or behind row 2; is it cut off?"),
            ("[{}, ", "it ends in the middle, in or behind row 1; is it cut off?"),
            ("[{},,{}]", "row 2 is missing between two commas or brackets"),
            ("[,{}]", "row 1 is missing between two commas or brackets"),
            ("[{},]", "row 2 is missing between two commas or brackets"),
            ("[{}] x", "something stands behind the array"),
            ("{} x", "behind row 1 stands something else"),
            ("to,name", "no JSON: it begins neither with '[' nor with '{'"),
        ] {
            assert_eq!(split(text.as_bytes(), 3), Err(error.to_owned()), "{text}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            "[a\"\\\\,{}\\[\\]\n\r\u{1}ü]{0,5}".prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[a,\"{}\n]{0,3}", inner, 0..3)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_of_an_array_come_back(
            values in proptest::collection::vec(values(), 0..4),
            is_pretty in any::<bool>(),
            cut in 0_usize..60,
        ) {
            let text =
                if is_pretty { serde_json::to_string_pretty(&values) } else { serde_json::to_string(&values) }.unwrap();
            let lines = split(text.as_bytes(), cut).unwrap();
            let found: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            prop_assert_eq!(found, values);
        }

        #[test]
        fn any_octets_are_split_without_panic(text in "[\\[\\]{},\"\\\\ \na1]{0,40}", cut in 0_usize..40) {
            prop_assert_eq!(split(text.as_bytes(), cut), split(text.as_bytes(), 0));
            let _ = object(text.as_bytes());
        }
    }
}
