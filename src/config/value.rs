//! Values as they were written, and their reading as what a key wants.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use toml::de::DeValue;

/// A value before a key has given it a meaning.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    List(Vec<Raw>),
    Table(BTreeMap<String, Raw>),
}

/// A value with what its reading depends on.
#[derive(Clone)]
pub(super) struct Input<'a> {
    pub raw: &'a Raw,
    /// Folder that a relative path in it starts from: that of the configuration file.
    pub folder: Option<PathBuf>,
    /// What `~/` stands for.
    pub home: Option<PathBuf>,
}

impl Raw {
    pub fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Some(match value {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Integer(number) => Raw::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()?),
            DeValue::Float(number) => Raw::Float(number.as_str().parse().ok()?),
            DeValue::Boolean(value) => Raw::Bool(*value),
            DeValue::Datetime(_) => return None,
            DeValue::Array(list) => {
                Raw::List(list.iter().map(|value| Self::from_toml(value.get_ref())).collect::<Option<_>>()?)
            }
            DeValue::Table(table) => Raw::Table(
                table
                    .iter()
                    .map(|(key, value)| Some((key.get_ref().to_string(), Self::from_toml(value.get_ref())?)))
                    .collect::<Option<_>>()?,
            ),
        })
    }

    /// Reads what stands behind `-o KEY=` or in a variable: TOML if it opens a list or a table, else text.
    pub fn from_text(text: &str) -> Result<Self, String> {
        if !text.starts_with(['{', '[']) {
            return Ok(Raw::Text(text.to_owned()));
        }
        let value = match DeValue::parse(text) {
            Ok(value) => value,
            // An address literal opens like a list.
            Err(_) if text.starts_with('[') => return Ok(Raw::Text(text.to_owned())),
            Err(error) => return Err(format!("it is not valid TOML: {}", error.message())),
        };
        Self::from_toml(value.get_ref()).ok_or_else(|| "a date has no meaning here".to_owned())
    }
}

/// As it would be written in TOML.
impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Text(text) => write!(f, "{}", toml::Value::String(text.clone())),
            Raw::Integer(number) => write!(f, "{number}"),
            Raw::Float(number) => write!(f, "{number:?}"),
            Raw::Bool(value) => write!(f, "{value}"),
            Raw::List(list) => {
                let list: Vec<String> = list.iter().map(Raw::to_string).collect();
                write!(f, "[{}]", list.join(", "))
            }
            Raw::Table(table) => {
                let table: Vec<String> = table.iter().map(|(key, value)| format!("{key} = {value}")).collect();
                write!(f, "{{ {} }}", table.join(", "))
            }
        }
    }
}

impl Input<'_> {
    pub fn text(&self) -> Result<&str, String> {
        match self.raw {
            Raw::Text(text) => Ok(text),
            _ => Err("a text in quotation marks is wanted".to_owned()),
        }
    }

    /// Text for a command or a header: no control characters.
    pub fn line(&self) -> Result<&str, String> {
        let text = self.text()?;
        match text.chars().find(|c| c.is_control()) {
            Some(c) => Err(format!("it contains the control character U+{:04X}", u32::from(c))),
            None => Ok(text),
        }
    }

    pub fn boolean(&self) -> Result<bool, String> {
        match self.raw {
            Raw::Bool(value) => Ok(*value),
            Raw::Text(text) => parse_bool(text),
            _ => Err("true or false is wanted".to_owned()),
        }
    }

    pub fn integer<T: TryFrom<i64>>(&self) -> Result<T, String> {
        let number = match self.raw {
            Raw::Integer(number) => Some(*number),
            Raw::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| "a whole number is wanted".to_owned())
    }

    pub fn factor(&self) -> Result<f64, String> {
        let number = match self.raw {
            Raw::Float(number) => Some(*number),
            Raw::Integer(number) => Some(*number as f64),
            Raw::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        number
            .filter(|number| (1.0..=1_000.0).contains(number))
            .ok_or_else(|| "a number from 1 to 1000 is wanted".to_owned())
    }

    pub fn duration(&self) -> Result<Duration, String> {
        match self.raw {
            Raw::Text(text) => parse_duration(text),
            Raw::Integer(seconds) => parse_duration(&seconds.to_string()),
            _ => parse_duration(""),
        }
    }

    /// A time that something may take: nothing can be done in none.
    pub fn limit(&self) -> Result<Duration, String> {
        match self.duration()? {
            Duration::ZERO => Err("a time above 0 is wanted".to_owned()),
            limit => Ok(limit),
        }
    }

    /// A list, or a text split at commas.
    pub fn list(&self) -> Result<Vec<String>, String> {
        match self.raw {
            Raw::Text(text) => Ok(text.split(',').map(|word| word.trim().to_owned()).collect()),
            Raw::List(list) => list
                .iter()
                .map(|raw| match raw {
                    Raw::Text(text) => Ok(text.clone()),
                    _ => Err("a list of texts is wanted".to_owned()),
                })
                .collect(),
            _ => Err("a text or a list of texts is wanted".to_owned()),
        }
    }

    pub fn path(&self) -> Result<PathBuf, String> {
        let text = self.text()?;
        if text.is_empty() || text.contains('\0') {
            return Err("a path is wanted".to_owned());
        }
        match (text.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => Ok(home.join(rest)),
            (Some(_), None) => Err("'~/' has no meaning: HOME is not set".to_owned()),
            (None, _) => Ok(self.folder.as_ref().map_or_else(|| PathBuf::from(text), |folder| folder.join(text))),
        }
    }

    /// One of `words`, without regard to case.
    pub fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, String> {
        let text = self.text()?;
        words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            format!("'{}' is none of {}", crate::mail::clean(text), known.join(", "))
        })
    }
}

pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err("1, 0, true or false is wanted".to_owned()),
    }
}

/// Parses `500ms`, `15s`, `10m`, `2h`, `5d`, `1h30m`, or seconds without a unit; at most 100 days.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const MOST: f64 = 100.0 * 86_400.0;
    let seconds = seconds(text.trim())
        .ok_or_else(|| "a time is wanted, like \"500ms\", \"15s\", \"10m\", \"1h30m\", \"2h\" or \"5d\"".to_owned())?;
    match seconds {
        ..0.0 => Err("a time above 0 is wanted, like \"10m\"".to_owned()),
        0.0..=MOST => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("at most 100 days are possible (100d)".to_owned()),
    }
}

/// What a text in units says, the largest first; each is there once.
fn seconds(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 5] = [("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001)];
    let number = |digits: &str| {
        let is_plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        digits.parse::<f64>().ok().filter(|_| is_plain)
    };
    if let Some(rest) = text.strip_prefix('-') {
        return seconds(rest).map(|seconds| -seconds);
    }
    if let Some(seconds) = number(text) {
        return Some(seconds);
    }
    let (mut rest, mut sum, mut units) = (text, 0.0, &UNITS[..]);
    while !rest.is_empty() {
        let digits = &rest[..rest.find(|c: char| c.is_ascii_alphabetic())?];
        let behind = &rest[digits.len()..];
        let unit = &behind[..behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len())];
        let at = units.iter().position(|(name, _)| *name == unit)?;
        sum += number(digits)? * units[at].1;
        (rest, units) = (&behind[unit.len()..], &units[at + 1..]);
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("15s", 15_000),
            ("1.5m", 90_000),
            ("30", 30_000),
            ("5d", 432_000_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4.5s6ms", 93_784_506),
            ("0", 0),
            ("100d", 8_640_000_000),
            ("-0s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "", "s", "-1s", "1e9s", "1x", "15 s x", "inf", "nan", "101d", "0x5", "+1", "30m1h", "1h1h", "1h30",
            "1h-30m", "h1", "5é",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for (text, what) in [("-5m", "above 0"), ("9999999d", "100 days"), ("99d25h", "100 days"), ("x", "\"1h30m\"")] {
            assert!(parse_duration(text).unwrap_err().contains(what), "{text}");
        }
    }

    #[test]
    fn lists_and_tables_come_from_text_too() {
        assert_eq!(Raw::from_text("[\"a\", 1]").unwrap().to_string(), "[\"a\", 1]");
        assert_eq!(Raw::from_text("{ env = \"X\" }").unwrap().to_string(), "{ env = \"X\" }");
        assert!(Raw::from_text("{ env").is_err());
        assert_eq!(Raw::from_text("plain, text"), Ok(Raw::Text("plain, text".to_owned())));
    }

    #[test]
    fn paths_start_from_the_file_that_names_them() {
        let raw = Raw::Text("ca.pem".to_owned());
        let input = Input { raw: &raw, folder: Some("/etc/mailsend".into()), home: Some("/home/ada".into()) };
        assert_eq!(input.path(), Ok("/etc/mailsend/ca.pem".into()));
        let raw = Raw::Text("~/ca.pem".to_owned());
        assert_eq!(Input { raw: &raw, ..input }.path(), Ok("/home/ada/ca.pem".into()));
    }

    proptest! {
        #[test]
        fn any_text_is_a_duration_or_an_error(text in "\\PC{0,12}") {
            let _ = parse_duration(&text);
            let _ = Raw::from_text(&text);
        }
    }
}
