//! Standard output and standard error.

use std::{
    env,
    io::{self, BufRead, IsTerminal, Write},
};

use super::{CliError, Exit};
use crate::report::is_attended;

/// Writes what was asked for to standard output. A reader that has gone ends the printing, nothing else.
///
/// # Errors
/// Any other error, such as a full disk behind a redirection.
pub fn print(text: &str) -> io::Result<()> {
    print_bytes(text.as_bytes())
}

/// The same for bytes.
///
/// # Errors
/// As [`print`].
pub fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()))
}

/// A reader that has seen enough is no error.
///
/// # Errors
/// All others.
pub fn written(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Lines on their way to somebody else: each is passed on whole, with the flush behind it.
pub struct Passing<F> {
    pass: F,
    line: Vec<u8>,
}

impl<F: FnMut(Vec<u8>) -> bool> Passing<F> {
    /// `pass` takes a line, and tells whether somebody has it.
    pub fn new(pass: F) -> Self {
        Self { pass, line: Vec::new() }
    }
}

impl<F: FnMut(Vec<u8>) -> bool> Write for Passing<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match (self.pass)(std::mem::take(&mut self.line)) {
            true => Ok(()),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// Writes a line to standard error; there is nobody to tell if that fails.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Shows an error.
pub fn show(error: &CliError) {
    error.lines().iter().for_each(|line| tell(line));
}

/// Whether somebody is there who can answer a question.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question that only `y` or `yes` agrees to.
///
/// # Errors
/// If the terminal cannot be read.
pub fn is_agreed(question: &str) -> Result<bool, CliError> {
    let mut out = io::stderr();
    // Who does not see the question will not answer it.
    let _ = write!(out, "{question} [y/N] ").and_then(|()| out.flush());
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| CliError::new(Exit::Io, "the terminal cannot be read").source(error))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Whether standard error takes colours.
pub fn has_colour() -> bool {
    is_attended()
        && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_none_or(|term| term != "dumb")
}
