//! Where the header of a message ends that nobody has checked, and which fields are in it.

use crate::message::{
    header::{Header, HeaderField},
    lines::MAX_LINE,
};

/// A longer name is no name: the colon must fit on a line, and some of the value.
const MAX_NAME: usize = MAX_LINE - 98;
const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Takes apart what `octets` begin with; returns where the body begins. A header ends at an empty line, or before the
/// first line that is no field: a text without a header is a message, too. `is_message` lets an mbox line stand before
/// the first field, as some programs hand it over; the header of a part has none.
pub(super) fn read_header(octets: &[u8], is_message: bool) -> (Header, usize) {
    let mut fields: Vec<HeaderField> = Vec::new();
    let mut at = if is_message && octets.starts_with(UTF8_MARK) { UTF8_MARK.len() } else { 0 };
    let mut is_behind_prelude = at > 0;
    while at < octets.len() {
        let end = memchr::memchr(b'\n', &octets[at..]).map_or(octets.len(), |length| at + length + 1);
        let lines = at..end;
        let line = trim_end(&octets[lines.clone()]);
        match (fields.last_mut(), name_length(line)) {
            _ if line.is_empty() => {
                // Without a field the line before is a text.
                at = if fields.is_empty() && is_behind_prelude { 0 } else { end };
                return (finished(fields, octets), at);
            }
            (Some(field), _) if line.starts_with(b" ") || line.starts_with(b"\t") => field.lines.end = end,
            (_, Some(length)) => {
                let name = String::from_utf8_lossy(&line[..length]).into_owned();
                fields.push(HeaderField { name, value: String::new(), lines });
            }
            (None, None) if is_message && !is_behind_prelude && is_mbox_line(line) => is_behind_prelude = true,
            _ => break,
        }
        at = end;
    }
    if fields.is_empty() {
        at = 0;
    }
    (finished(fields, octets), at)
}

fn finished(mut fields: Vec<HeaderField>, octets: &[u8]) -> Header {
    for field in &mut fields {
        field.value = String::from_utf8_lossy(&value(&octets[field.lines.clone()])).into_owned();
    }
    Header { fields }
}

/// The value in the lines of a field: unfolded, without the white space around it; what controls is a space.
pub(super) fn value(lines: &[u8]) -> Vec<u8> {
    let colon = memchr::memchr(b':', lines).map_or(0, |colon| colon + 1);
    let mut value = Vec::with_capacity(lines.len());
    for line in lines[colon..].split(|&byte| byte == b'\n') {
        let octets = trim_end(line).iter();
        value.extend(octets.map(|&byte| if byte.is_ascii_control() && byte != b'\t' { b' ' } else { byte }));
    }
    value.trim_ascii().to_vec()
}

/// Octets of the name, if the line is one of a field. White space before the colon is obsolete, and understood
/// (RFC 5322, 4.5).
fn name_length(line: &[u8]) -> Option<usize> {
    let length = line.iter().position(|&byte| !byte.is_ascii_graphic() || byte == b':')?;
    let is_name = (1..=MAX_NAME).contains(&length) && line[length..].trim_ascii_start().starts_with(b":");
    is_name.then_some(length)
}

/// `From ada Mon Nov 23 10:00:00 2026`, which mbox files quote by a `>`.
fn is_mbox_line(line: &[u8]) -> bool {
    let quotes = line.iter().take_while(|&&byte| byte == b'>').count();
    line[quotes..].starts_with(b"From ")
}

/// Without its end. Several CRs are one end of line that was written twice.
fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let length = line.iter().rposition(|&byte| byte != b'\r').map_or(0, |last| last + 1);
    &line[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<(String, String)>, &str) {
        let (header, at) = read_header(text.as_bytes(), true);
        (header.fields.into_iter().map(|field| (field.name, field.value)).collect(), &text[at..])
    }

    #[test]
    fn headers_end_where_a_line_is_no_field() {
        for (text, fields, body) in [
            ("A: b\n\nbody\n", &[("A", "b")][..], "body\n"),
            ("A: b\r\nC:d\r\n\r\nbody\r\n", &[("A", "b"), ("C", "d")], "body\r\n"),
            ("A: b\r\r\n\r\r\nbody", &[("A", "b")], "body"),
            ("A : b\n\tc\n d\nbody: no\n", &[("A", "b\tc d"), ("body", "no")], ""),
            ("A: b\nhello world\nC: d\n", &[("A", "b")], "hello world\nC: d\n"),
            ("hello\nTo: x\n", &[], "hello\nTo: x\n"),
            (" A: b\n", &[], " A: b\n"),
            ("\nA: b\n", &[], "A: b\n"),
            ("From x Mon\nA: b\n\nc", &[("A", "b")], "c"),
            (">From x\nA: b\n\nc", &[("A", "b")], "c"),
            ("From now on\n\nit rains\n", &[], "From now on\n\nit rains\n"),
            ("From now on", &[], "From now on"),
            ("From a\nFrom b\nC: d\n", &[], "From a\nFrom b\nC: d\n"),
            ("A: b\nFrom c\n", &[("A", "b")], "From c\n"),
            ("\u{feff}A: b\n\nc", &[("A", "b")], "c"),
            ("\u{feff}hello", &[], "\u{feff}hello"),
            ("\u{feff}\nhello", &[], "\u{feff}\nhello"),
            ("A:\n \n\nc", &[("A", "")], "c"),
            ("A: x\ry\0z\x1b\n", &[("A", "x y z")], ""),
            (": b\n", &[], ": b\n"),
            ("ü: b\n", &[], "ü: b\n"),
            ("", &[], ""),
        ] {
            let fields = fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            assert_eq!(read(text), (fields, body), "{text:?}");
        }
        let long = format!("{}: b\n", "A".repeat(MAX_NAME + 1));
        assert_eq!(read(&long).1, long);
    }

    #[test]
    fn parts_have_no_mbox_line() {
        assert_eq!(read_header(b"From x\nA: b\n", false).1, 0);
    }
}
