//! Standard input, which can be claimed once, and values that come from it or from files.

use std::io::{self, IsTerminal};

use super::{CliError, Exit};
use crate::message::{AttachmentSpec, Input, Text, checked_charset};

/// Who reads standard input.
#[derive(Debug, Default)]
pub struct Stdin {
    claimed_by: Option<String>,
    /// What has been read of it already.
    held: Option<Text>,
}

impl Stdin {
    /// One that has been read: `text` is what is still wanted of it.
    pub fn holding(text: Text) -> Self {
        Self { claimed_by: None, held: Some(text) }
    }

    /// The text in it, for whoever has claimed it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&mut self) -> Result<Text, CliError> {
        match self.held.take() {
            Some(text) => Ok(text),
            None => Ok(Text { bytes: Input::Stdin.read()?, charset: None }),
        }
    }

    /// Whether somebody has to type now what is wanted of it.
    pub fn is_typed(&self) -> bool {
        self.held.is_none() && io::stdin().is_terminal()
    }

    /// Claims it for `who`.
    ///
    /// # Errors
    /// If somebody has it already; both are named.
    pub fn claim(&mut self, who: &str) -> Result<(), CliError> {
        match self.claimed_by.replace(who.to_owned()) {
            None => Ok(()),
            Some(first) => Err(CliError::usage(format!("standard input is wanted twice: for {first} and for {who}"))
                .hint("give one of them as a file")),
        }
    }

    /// Whether nobody has claimed it.
    pub fn is_free(&self) -> bool {
        self.claimed_by.is_none()
    }

    /// A text: literal, `@FILE` with `;charset=…`, or `-`. `@@x` is the literal `@x`.
    ///
    /// # Errors
    /// If a file cannot be read, or standard input is claimed already.
    pub fn text(&mut self, option: &str, value: &str) -> Result<Text, CliError> {
        if value == "-" {
            self.claim(option)?;
            return self.read();
        }
        match value.strip_prefix('@') {
            Some(rest) if rest.starts_with('@') => Ok(Text::from(rest)),
            Some(file) => {
                let spec = AttachmentSpec::parse(file);
                if spec.input == Input::Stdin {
                    self.claim(option)?;
                }
                if spec.name.is_some() || spec.media_type.is_some() || spec.cid.is_some() {
                    return Err(CliError::usage(format!("{option}: only ;charset= may follow the file of a text"))
                        .hint("a file that travels as such: --attach 'FILE;type=…'"));
                }
                let charset = spec.charset.map(|charset| checked_charset(option, &charset)).transpose()?;
                Ok(Text { bytes: spec.input.read()?, charset })
            }
            None => Ok(Text::from(value)),
        }
    }

    /// The lines of a list file: `@FILE` or `@-`. `None` if the value names none.
    ///
    /// # Errors
    /// If the file cannot be read or is not UTF-8.
    pub fn list(&mut self, option: &str, value: &str) -> Result<Option<Vec<String>>, CliError> {
        let Some(file) = value.strip_prefix('@').filter(|file| !file.starts_with('@')) else { return Ok(None) };
        let input = Input::from_word(file);
        if input == Input::Stdin {
            self.claim(option)?;
        }
        let bytes = input.read()?;
        let text = String::from_utf8(bytes).map_err(|_| {
            CliError::new(Exit::Data, format!("{}: the list of addresses is not UTF-8", input.path().display()))
        })?;
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        Ok(Some(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_second_claim_names_both() {
        let mut stdin = Stdin::default();
        stdin.claim("--body").unwrap();
        let error = stdin.claim("--attach").unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.message.contains("--body") && error.message.contains("--attach"));
    }

    #[test]
    fn texts_from_files_and_literals() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.txt");
        fs::write(&path, b"gr\xFC\xDFe").unwrap();
        let mut stdin = Stdin::default();
        let file = format!("@{};charset=iso-8859-1", path.display());
        let text = stdin.text("--body", &file).unwrap();
        assert_eq!((text.bytes.as_slice(), text.charset.as_deref()), (&b"gr\xFC\xDFe"[..], Some("iso-8859-1")));
        assert_eq!(stdin.text("--body", "@@x").unwrap(), Text::from("@x"));
        assert_eq!(stdin.text("--body", "").unwrap(), Text::from(""));
        assert_eq!(stdin.text("--body", &format!("@{};type=text/html", path.display())).unwrap_err().exit, Exit::Usage);
        assert_eq!(stdin.text("--body", "@/nonesuch").unwrap_err().exit, Exit::NoInput);
        fs::write(&path, "\u{feff}a@b.example\r\n\n  C <c@d.example>  \n").unwrap();
        let list = stdin.list("--to", &format!("@{}", path.display())).unwrap().unwrap();
        assert_eq!(list, ["a@b.example", "C <c@d.example>"]);
        assert_eq!(stdin.list("--to", "a@b.example").unwrap(), None);
    }
}
