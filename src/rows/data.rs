//! Variables of a single message or template.

use std::{
    io::{self, Write},
    path::Path,
};

use serde_json::{Map, Value};

use super::{
    Origin, RowsError,
    convert::sample,
    fetch::{NotCopied, fetch},
    json,
};
use crate::{config::Environment, mail::clean};

/// More than this is no data for one message.
const MAX_DATA: usize = 16 * 1024 * 1024;

/// Reads an object: JSON, or TOML from what is named `.toml`.
///
/// # Errors
/// If it cannot be read, or is no object.
pub fn data(origin: &Origin, environment: &Environment) -> Result<Map<String, Value>, RowsError> {
    let name = clean(&origin.to_string());
    let wrong = |what: String| RowsError::wrong(format!("{name}: {what}"));
    let mut held = Held(Vec::new());
    fetch(origin, environment, &mut held).map_err(|error| match error {
        NotCopied::Source(error) => error,
        NotCopied::Copy(error) => wrong(error.to_string()),
    })?;
    let mark = encoding_rs::Encoding::for_bom(&held.0).map_or(encoding_rs::UTF_8, |(encoding, _)| encoding);
    let text = sample(&held.0, mark);
    if !is_toml(origin) {
        return json::parse(&text, None).map_err(wrong);
    }
    let text = String::from_utf8(text).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let line =
            error.span().and_then(|span| text.get(..span.start)).map_or(1, |text| text.matches('\n').count() + 1);
        wrong(format!("line {line}: {}", clean(error.message())))
    })?;
    Ok(table.into_iter().map(|(key, value)| (key, of_toml(value))).collect())
}

fn is_toml(origin: &Origin) -> bool {
    let path = match origin {
        Origin::File(path) => path.as_path(),
        Origin::Web(url) => Path::new(url.split(['?', '#']).next().unwrap_or_default()),
        Origin::Stdin | Origin::Command(_) => return false,
    };
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

/// Times become text as they are written.
fn of_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(is_true) => is_true.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(of_toml).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, of_toml(value))).collect())
        }
    }
}

/// Octets in memory, not too many.
struct Held(Vec<u8>);

impl Write for Held {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.0.len() + octets.len() > MAX_DATA {
            return Err(io::Error::other("it has more than 16 MiB"));
        }
        self.0.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(name: &str, octets: &[u8]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, octets).unwrap();
        let data = data(&Origin::File(path.clone()), &Environment::default());
        let shown = |error: RowsError| error.what.replace(path.to_str().unwrap(), name);
        data.map(|object| Value::Object(object).to_string()).map_err(shown)
    }

    #[test]
    fn objects_in_json_and_toml() {
        assert_eq!(read("d.json", b"\xEF\xBB\xBF{\n\"a\": [1, \"x\"]}\n").as_deref(), Ok(r#"{"a":[1,"x"]}"#));
        assert_eq!(read("d", b"\xFF\xFE{\0}\0").as_deref(), Ok("{}"));
        let toml = b"day = 2026-01-02\nprice = 1.5\n[customer]\nname = \"Ada\"\n";
        assert_eq!(
            read("d.TOML", toml).as_deref(),
            Ok(r#"{"customer":{"name":"Ada"},"day":"2026-01-02","price":1.5}"#)
        );
        let command = Origin::Command("echo '{\"a\":1}'".to_owned());
        assert_eq!(data(&command, &Environment::default()).unwrap()["a"], 1);
    }

    #[test]
    fn what_is_no_object() {
        for (name, octets, error) in [
            ("d", &b"[1]"[..], "d: an object is wanted, in braces: {\"to\": \"ada@example.com\"}"),
            ("d", b"", "d: an object is wanted, in braces: {\"to\": \"ada@example.com\"}"),
            ("d", b"{\n \"a\": x}", "d: no JSON in line 2 at octet 7: expected value"),
            ("d", b"{\"a\": 1, \"a\": 2}", "d: 'a' is there twice"),
            ("d.toml", b"a = 1\nb = = 2", "d.toml: line 2: extra `=`, expected nothing"),
        ] {
            assert_eq!(read(name, octets), Err(error.to_owned()));
        }
        let large = [b"{\"a\": \"", vec![b'x'; MAX_DATA].as_slice(), b"\"}"].concat();
        assert_eq!(read("d", &large).unwrap_err(), "d: it has more than 16 MiB");
        let error = data(&Origin::Command("echo '{}'; exit 3".to_owned()), &Environment::default()).unwrap_err();
        assert_eq!(
            (error.what.as_str(), error.is_unreadable),
            ("command 'echo '{}'; exit 3' cannot be read: it failed (exit status: 3)", true)
        );
    }
}
