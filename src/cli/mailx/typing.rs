//! At a terminal: what is asked for, and a text that is typed.

use std::io::{self, BufRead, Write};

use super::options::Call;
use crate::cli::{CliError, Exit};

/// Asks for what no option has said.
///
/// # Errors
/// If the terminal cannot be read.
pub(super) fn ask(call: &mut Call) -> Result<(), CliError> {
    if call.is_empty_handed() && !call.reads_header {
        call.to.extend(answer("To: ")?);
    }
    if call.subject.is_none() && !call.reads_header {
        call.subject = answer("Subject: ")?;
    }
    Ok(())
}

/// A line; `None` if it is empty.
fn answer(question: &str) -> Result<Option<String>, CliError> {
    let mut out = io::stderr();
    // Who does not see the question will not answer it.
    let _ = write!(out, "{question}").and_then(|()| out.flush());
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
    Ok(Some(line.trim().to_owned()).filter(|line| !line.is_empty()))
}

/// The text: up to Ctrl-D, or to a line with nothing but a dot.
///
/// # Errors
/// If the terminal cannot be read.
pub(super) fn text() -> Result<Vec<u8>, CliError> {
    up_to_dot(&mut io::stdin().lock()).map_err(unreadable)
}

fn unreadable(error: io::Error) -> CliError {
    CliError::new(Exit::Io, "the terminal cannot be read").source(error)
}

fn up_to_dot(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let begin = text.len();
        if input.read_until(b'\n', &mut text)? == 0 {
            return Ok(text);
        }
        if matches!(&text[begin..], b".\n" | b".\r\n") {
            text.truncate(begin);
            return Ok(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::up_to_dot;

    #[test]
    fn a_lone_dot_ends_it() {
        for (typed, text) in
            [("a\n.\nb\n", "a\n"), ("a\n..\n. \nb", "a\n..\n. \nb"), (".\n", ""), ("", ""), ("a\n.", "a\n.")]
        {
            assert_eq!(up_to_dot(&mut typed.as_bytes()).unwrap(), text.as_bytes(), "{typed:?}");
        }
    }
}
