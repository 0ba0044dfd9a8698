//! Which columns hold addresses, and who the recipients of a row are.

use serde_json::Value;

use super::{Row, RowError, RowsError};
use crate::{
    config::nearest,
    mail::{AddressError, Entry, clean, parse_list},
};

/// Names of the column with the recipients, in any case.
const TO: [&str; 4] = ["to", "email", "e-mail", "mail"];

/// The columns that say where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Recipients; none, if they are named otherwise.
    pub to: Option<String>,
    /// Recipients of a copy.
    pub cc: Option<String>,
    /// Recipients whom no one sees.
    pub bcc: Option<String>,
    /// The display name of the only recipient.
    pub name: Option<String>,
    /// Files to attach.
    pub attach: Option<String>,
    /// Language of the message.
    pub locale: Option<String>,
}

/// The recipients of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipients {
    /// At least one mailbox.
    pub to: Vec<Entry>,
    /// Recipients of a copy.
    pub cc: Vec<Entry>,
    /// Recipients whom no one sees.
    pub bcc: Vec<Entry>,
}

impl Layout {
    /// Finds them among the columns; `to` is the name of the recipients' column, if it is told.
    ///
    /// # Errors
    /// If there is no column with recipients, or two whose names differ in their case only.
    pub fn find(columns: &[String], to: Option<&str>) -> Result<Self, RowsError> {
        let to = match to {
            Some(told) => match one(columns, told)? {
                Some(column) => column,
                None => return Err(no_column(columns, &format!("there is no column '{}'", clean(told)), told)),
            },
            None => {
                let mut found = TO.iter().filter_map(|name| one(columns, name).transpose());
                match found.next() {
                    Some(column) => column?,
                    None => return Err(no_column(columns, "there is no column 'to' or 'email'", "email")),
                }
            }
        };
        Self::with(columns, Some(to))
    }

    /// Finds those that are there beside recipients who are named otherwise.
    ///
    /// # Errors
    /// If there is more than one that could be it.
    pub fn beside(columns: &[String]) -> Result<Self, RowsError> {
        Self::with(columns, None)
    }

    fn with(columns: &[String], to: Option<String>) -> Result<Self, RowsError> {
        let other = |name: &str| Ok::<_, RowsError>(one(columns, name)?.filter(|column| Some(column) != to.as_ref()));
        Ok(Self {
            cc: other("cc")?,
            bcc: other("bcc")?,
            name: other("name")?,
            attach: other("attach")?,
            locale: other("locale")?,
            to,
        })
    }

    /// The language that a row wants, if it says so.
    pub fn locale_of<'a>(&self, row: &'a Row) -> Option<&'a str> {
        let cell = row.cells.get(self.locale.as_ref()?)?.as_str()?.trim();
        Some(cell).filter(|cell| !cell.is_empty())
    }

    /// The recipients of a row: of each cell one address or several, divided by commas, semicolons or line ends, or an
    /// array of them. A single bare address gets the display name of the row.
    ///
    /// # Errors
    /// With the column: nobody to send to, or something that is no address.
    pub fn recipients(&self, row: &Row) -> Result<Recipients, RowError> {
        let fail = |what| RowError { number: row.number, position: Some(row.position), what, is_final: false };
        let list = |column: &str| entries(row, column).map_err(fail);
        let mut to = Vec::new();
        if let Some(column) = &self.to {
            to = list(column)?;
            if to.iter().all(|entry| entry.mailboxes().is_empty()) {
                return Err(fail(format!("column '{}' is empty", clean(column))));
            }
        }
        if let (Some(column), [Entry::Mailbox(mailbox)]) = (&self.name, to.as_mut_slice())
            && mailbox.name.is_none()
            && let Some(name) = row.cells.get(column).and_then(Value::as_str).map(str::trim)
            && !name.is_empty()
        {
            if name.chars().any(char::is_control) {
                let what = "a line end or another control character cannot be in a name";
                return Err(fail(format!("column '{}': {what}", clean(column))));
            }
            mailbox.name = Some(name.to_owned());
        }
        let others = |column: &Option<String>| column.as_deref().map_or(Ok(Vec::new()), list);
        Ok(Recipients { to, cc: others(&self.cc)?, bcc: others(&self.bcc)? })
    }
}

/// The column of this name in any case; that of the very name if there are several.
fn one(columns: &[String], name: &str) -> Result<Option<String>, RowsError> {
    let alike: Vec<&String> = columns.iter().filter(|column| column.to_lowercase() == name.to_lowercase()).collect();
    match alike.as_slice() {
        [] => Ok(None),
        [column] => Ok(Some((*column).clone())),
        several => match several.iter().find(|column| **column == name) {
            Some(column) => Ok(Some((**column).clone())),
            None => Err(RowsError::wrong(format!("columns {} are alike, and one is wanted", quoted(&alike, ", ")))
                .hint("rename one of them")),
        },
    }
}

fn no_column(columns: &[String], what: &str, wanted: &str) -> RowsError {
    const SHOWN: usize = 20;
    let shown: Vec<&String> = columns.iter().take(SHOWN).collect();
    let more = match columns.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let noun = if columns.len() == 1 { "the only column is" } else { "the columns are" };
    let error = RowsError::wrong(format!("{what}; {noun} {}{more}", quoted(&shown, ", ")));
    // Whatever the case, and words within a name count, too: "E-Mail address".
    let lower: Vec<String> = columns.iter().map(|column| column.to_lowercase()).collect();
    let wanted = wanted.to_lowercase();
    let within = lower.iter().find(|column| column.contains("mail") && wanted == "email");
    let near = within.map(String::as_str).or_else(|| nearest(&wanted, lower.iter().map(String::as_str)));
    match near.and_then(|near| columns.iter().zip(&lower).find(|(_, lower)| *lower == near)) {
        Some((column, _)) => error.hint(format!("name the column with the addresses: --to-column '{}'", clean(column))),
        None if columns.iter().any(|column| column.contains('@')) => {
            error.hint("the first line has to name the columns: put a line such as to,name above")
        }
        None => error.hint("name the column with the addresses: --to-column NAME"),
    }
}

fn quoted(columns: &[&String], between: &str) -> String {
    columns.iter().map(|column| format!("'{}'", clean(column))).collect::<Vec<_>>().join(between)
}

/// The addresses in a cell.
fn entries(row: &Row, column: &str) -> Result<Vec<Entry>, String> {
    let wrong = |error: AddressError| format!("column '{}': {error}", clean(column));
    let no_text = || format!("column '{}': an address is wanted, or an array of them", clean(column));
    match row.cells.get(column) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => list(text).map_err(wrong),
        Some(Value::Array(values)) => {
            let mut entries = Vec::new();
            for value in values {
                entries.extend(list(value.as_str().ok_or_else(no_text)?).map_err(wrong)?);
            }
            Ok(entries)
        }
        Some(_) => Err(no_text()),
    }
}

/// Addresses divided by commas, or by semicolons or line ends as people write them.
fn list(text: &str) -> Result<Vec<Entry>, AddressError> {
    let error = match parse_list(text) {
        Ok(entries) => return Ok(entries),
        Err(error) => error,
    };
    match with_commas(text) {
        Some(text) => parse_list(&text).map_err(|_| error),
        None => Err(error),
    }
}

/// The same with commas for semicolons and line ends, but not in quotation marks and comments; `None` if there are none.
fn with_commas(text: &str) -> Option<String> {
    let (mut is_quoted, mut is_escaped, mut depth, mut is_changed) = (false, false, 0_u32, false);
    let text = text
        .chars()
        .map(|c| {
            let is_plain = !std::mem::take(&mut is_escaped);
            match c {
                '\\' if is_plain => is_escaped = true,
                '"' if is_plain && depth == 0 => is_quoted = !is_quoted,
                '(' if is_plain && !is_quoted => depth += 1,
                ')' if is_plain && !is_quoted => depth = depth.saturating_sub(1),
                ';' | '\r' | '\n' if is_plain && !is_quoted && depth == 0 => {
                    is_changed = true;
                    return ',';
                }
                _ => {}
            }
            c
        })
        .collect();
    is_changed.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Position;
    use serde_json::json;

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn find(names: &[&str], to: Option<&str>) -> Result<Layout, String> {
        Layout::find(&columns(names), to).map_err(|error| format!("{error} | {}", error.hints.join(" | ")))
    }

    fn recipients(cells: Value) -> Result<String, String> {
        let Value::Object(cells) = cells else { panic!("no object") };
        let layout = Layout::find(&cells.keys().cloned().collect::<Vec<_>>(), None).unwrap();
        let row = Row { number: 7, position: Position(0), cells };
        let shown = |entries: &[Entry]| {
            let mailboxes = entries.iter().flat_map(Entry::mailboxes);
            mailboxes.map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let recipients = layout.recipients(&row).map_err(|error| error.to_string())?;
        Ok([&recipients.to, &recipients.cc, &recipients.bcc].map(|entries| shown(entries)).join(" | "))
    }

    #[test]
    fn columns_are_found_in_any_case() {
        let layout = find(&["Name", "E-Mail", "CC", "x", "Locale"], None).unwrap();
        assert_eq!(
            layout,
            Layout {
                to: Some("E-Mail".to_owned()),
                cc: Some("CC".to_owned()),
                bcc: None,
                name: Some("Name".to_owned()),
                attach: None,
                locale: Some("Locale".to_owned()),
            }
        );
        assert_eq!(find(&["email", "to"], None).unwrap().to.unwrap(), "to");
        assert_eq!(find(&["email", "Kunde"], Some("kunde")).unwrap().to.unwrap(), "Kunde");
        assert_eq!(find(&["TO", "to"], None).unwrap().to.unwrap(), "to");
    }

    #[test]
    fn a_missing_column_is_told_with_the_nearest() {
        for (names, to, error) in [
            (
                &["name", "E-Mail-Adresse"][..],
                None,
                "there is no column 'to' or 'email'; the columns are 'name', 'E-Mail-Adresse' | name the column with \
                 the addresses: --to-column 'E-Mail-Adresse'",
            ),
            (
                &["x"],
                None,
                "there is no column 'to' or 'email'; the only column is 'x' | name the column with the addresses: \
                 --to-column NAME",
            ),
            (
                &["ada@x.example", "Ada"],
                None,
                "there is no column 'to' or 'email'; the columns are 'ada@x.example', 'Ada' | the first line has to \
                 name the columns: put a line such as to,name above",
            ),
            (
                &["to", "Customer"],
                Some("custmer"),
                "there is no column 'custmer'; the columns are 'to', 'Customer' | name the column with the addresses: \
                 --to-column 'Customer'",
            ),
            (&["To", "TO"], None, "columns 'To', 'TO' are alike, and one is wanted | rename one of them"),
        ] {
            assert_eq!(find(names, to), Err(error.to_owned()));
        }
    }

    #[test]
    fn recipients_of_a_row() {
        for (cells, expected) in [
            (json!({"to": "ada@x.example"}), "ada@x.example |  | "),
            (json!({"to": " ada@x.example ", "name": " Ada L. "}), "\"Ada L.\" <ada@x.example> |  | "),
            (json!({"to": "Bob <ada@x.example>", "name": "Ada"}), "Bob <ada@x.example> |  | "),
            (json!({"to": "a@x.example, B <b@x.example>", "name": "Ada"}), "a@x.example, B <b@x.example> |  | "),
            (
                json!({"to": "a@x.example;B <b@x.example>; ", "cc": "", "bcc": "c@x.example"}),
                "a@x.example, B <b@x.example> |  | c@x.example",
            ),
            (json!({"to": "a@x.example\r\nb@x.example\n"}), "a@x.example, b@x.example |  | "),
            (json!({"to": "\"x;y\" <a@x.example>;b@x.example"}), "\"x;y\" <a@x.example>, b@x.example |  | "),
            (json!({"to": "team: a@x.example, b@x.example;"}), "a@x.example, b@x.example |  | "),
            (
                json!({"to": ["a@x.example", "b@bücher.example"], "cc": null}),
                "a@x.example, b@xn--bcher-kva.example |  | ",
            ),
        ] {
            assert_eq!(recipients(cells.clone()).as_deref(), Ok(expected), "{cells}");
        }
    }

    #[test]
    fn what_is_no_recipient_is_told_with_its_column() {
        for (cells, expected) in [
            (json!({"to": "  "}), "row 7: column 'to' is empty"),
            (json!({"to": null}), "row 7: column 'to' is empty"),
            (json!({"E-Mail": "undisclosed:;"}), "row 7: column 'E-Mail' is empty"),
            (json!({"to": "ada"}), "row 7: column 'to': 'ada' is not an address: the '@' is missing"),
            (
                json!({"to": "\"a\nb\" <a@x.example>"}),
                "row 7: column 'to': '\"a b\" <a@x.example>' is not an address: it contains the control character U+000A",
            ),
            (json!({"to": 17}), "row 7: column 'to': an address is wanted, or an array of them"),
            (json!({"to": ["a@x.example", 1]}), "row 7: column 'to': an address is wanted, or an array of them"),
            (
                json!({"to": "a@x.example", "name": "A\r\nBcc: x@y.example"}),
                "row 7: column 'name': a line end or another control character cannot be in a name",
            ),
        ] {
            assert_eq!(recipients(cells.clone()), Err(expected.to_owned()), "{cells}");
        }
        let error = recipients(json!({"to": "a@x.example", "cc": "b@x.example;c@"})).unwrap_err();
        assert!(error.starts_with("row 7: column 'cc': 'b@x.example;c@' is not an address:"), "{error}");
    }
}
