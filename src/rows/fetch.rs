//! What is no file: standard input, answers of web servers, output of commands.

use std::{
    fs::File,
    io::{self, Read, Write},
    process::Stdio,
    time::Duration,
};

use super::{Origin, RowsError};
use crate::{
    config::{Environment, WebWay},
    mail::clean,
    net::http,
    secret,
};

/// The largest table that a web server may send.
const MAX_ANSWER: u64 = 1024 * 1024 * 1024;
/// A web server gets this long for each piece of its answer.
const LIMIT: Duration = Duration::from_secs(60);
/// Octets that are copied at once.
const BLOCK: usize = 64 * 1024;

/// Why something was not copied.
#[derive(Debug)]
pub(super) enum NotCopied {
    /// It cannot be had.
    Source(RowsError),
    /// The copy cannot be written.
    Copy(io::Error),
}

/// Writes all of it to `out`; gives back the media type if somebody tells it, else nothing.
pub(super) fn fetch(origin: &Origin, environment: &Environment, out: &mut dyn Out) -> Result<String, NotCopied> {
    let name = clean(&origin.to_string());
    let fail = |error: io::Error| NotCopied::Source(RowsError::unreadable(format!("{name} cannot be read: {error}")));
    match origin {
        Origin::File(path) => copy(File::open(path).map_err(fail)?, out, fail)?,
        Origin::Stdin => copy(io::stdin().lock(), out, fail)?,
        Origin::Command(command) => run(command, out, fail)?,
        Origin::Web(url) => return ask(url, &name, environment, out),
    }
    Ok(String::new())
}

/// Where a copy goes; a web server's answer comes on another thread's event loop.
pub(super) trait Out: Write + Send {}
impl<T: Write + Send> Out for T {}

fn copy(mut input: impl Read, out: &mut dyn Out, fail: impl Fn(io::Error) -> NotCopied) -> Result<(), NotCopied> {
    let mut block = vec![0; BLOCK];
    loop {
        match input.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(count) => out.write_all(&block[..count]).map_err(NotCopied::Copy)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(fail(error)),
        }
    }
}

/// Its complaints go where ours go; its standard input is empty.
fn run(command: &str, out: &mut dyn Out, fail: impl Fn(io::Error) -> NotCopied) -> Result<(), NotCopied> {
    let mut shell = secret::command("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = shell.spawn().map_err(&fail)?;
    // Our end of the pipe is closed before the command is waited for: it must not wait for us.
    let copied = child.stdout.take().map_or(Ok(()), |output| copy(output, out, &fail));
    let status = child.wait().map_err(&fail)?;
    copied?;
    if status.success() { Ok(()) } else { Err(fail(io::Error::other(format!("it failed ({status})")))) }
}

fn ask(url: &str, name: &str, environment: &Environment, out: &mut dyn Out) -> Result<String, NotCopied> {
    let fail = |what: &str, hints: Vec<String>| {
        NotCopied::Source(RowsError { hints, ..RowsError::unreadable(format!("{name} cannot be read: {what}")) })
    };
    let authority = url.split(['/', '?', '#']).nth(2).unwrap_or_default();
    if authority.contains('@') {
        let hint = "take it out; a command can ask with a password: curl --netrc URL".to_owned();
        return Err(fail("a web address with a name or password in it is refused", vec![hint]));
    }
    if !starts_with(url, "https://") && !http::is_loopback(url) {
        let hint = "write https://".to_owned();
        return Err(fail("without https:// anybody on the way can change the recipients", vec![hint]));
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let passage =
        WebWay::default().passage_to(host, environment).map_err(|error| fail(&error.to_string(), Vec::new()))?;
    let accept = "text/csv, application/json, application/x-ndjson, text/tab-separated-values, */*;q=0.5";
    let asked = http::Asked { url: url.to_owned(), accept, passage, ..http::Asked::default() };
    let mut written = Ok(());
    let mut take = |status: u16, octets: &[u8]| {
        if status == 200 && written.is_ok() {
            written = out.write_all(octets);
        }
        written.is_ok()
    };
    let answer = http::take_and_wait(&asked, LIMIT, MAX_ANSWER, &mut take);
    written.map_err(NotCopied::Copy)?;
    let answer = answer.map_err(|trouble| fail(&trouble.what, trouble.hints))?;
    match answer.status {
        200 => Ok(answer.content_type),
        status => Err(fail(&format!("the server answers with status {status}"), Vec::new())),
    }
}

/// Whatever the case.
pub(super) fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start))
}
