//! From events to what people and programs read: lines on the terminal, records as JSON or CSV, progress.
//!
//! Presenters only: nothing here decides anything. Nothing secret comes here, and foreign text is clean.

mod human;
mod progress;
mod record;

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

pub use human::{human_line, paint};
pub use progress::{Progress, ProgressMode};
pub use record::Record;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line for people.
    Human,
    /// A JSON object per line.
    Json,
    /// Comma-separated values with a line of names.
    Csv,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file; records are added to its end.
    File(PathBuf),
}

/// Writes records. After the first error it is silent, and tells it at the end.
pub struct Records {
    out: Box<dyn Write + Send>,
    format: Format,
    needs_names: bool,
    target: Target,
    error: Option<io::Error>,
}

impl Records {
    /// Opens the target. Without a format a file gets JSON, or CSV by its name, and standard output human lines.
    ///
    /// # Errors
    /// If the file cannot be opened for writing.
    pub fn open(target: Target, format: Option<Format>) -> io::Result<Self> {
        let (out, default, is_empty): (Box<dyn Write + Send>, _, _) = match &target {
            Target::Stdout => (Box::new(io::stdout()), Format::Human, true),
            Target::File(path) => {
                let file = File::options().append(true).create(true).open(path)?;
                let is_empty = file.metadata()?.len() == 0;
                let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
                (Box::new(file), if is_csv { Format::Csv } else { Format::Json }, is_empty)
            }
        };
        let format = format.unwrap_or(default);
        Ok(Self { out, format, needs_names: is_empty && format == Format::Csv, target, error: None })
    }

    /// Writes one record, whole, at once.
    pub fn write(&mut self, record: &Record) {
        if self.error.is_some() {
            return;
        }
        if let Err(error) = self.try_write(record) {
            self.error = Some(error);
        }
    }

    fn try_write(&mut self, record: &Record) -> io::Result<()> {
        let mut line = Vec::new();
        match self.format {
            Format::Human => writeln!(line, "{}", record.human())?,
            Format::Json => {
                serde_json::to_writer(&mut line, record)?;
                line.push(b'\n');
            }
            Format::Csv => {
                let mut writer =
                    csv::WriterBuilder::new().has_headers(std::mem::take(&mut self.needs_names)).from_writer(&mut line);
                writer.serialize(record).map_err(io::Error::other)?;
                writer.flush()?;
            }
        }
        self.out.write_all(&line)?;
        self.out.flush()
    }

    /// The error that ended the writing. A reader of standard output that has gone is none.
    pub fn finish(self) -> Option<(Target, io::Error)> {
        self.error
            .filter(|error| !(self.target == Target::Stdout && error.kind() == io::ErrorKind::BrokenPipe))
            .map(|error| (self.target, error))
    }
}

/// Whether somebody sits before standard error.
pub fn is_attended() -> bool {
    io::stderr().is_terminal()
}
