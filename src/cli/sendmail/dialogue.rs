//! `-bs`: SMTP on standard input and output, for a program of this machine.

use std::io::{self, Read, Seek, Write};

use tempfile::{SpooledTempFile, spooled_tempfile};

use crate::{
    mail::Address,
    smtp::{Limits, Next, Refusal, Server, Transaction},
};

/// Octets of one read.
const BLOCK: usize = 64 * 1024;
/// Contents up to this are kept in memory.
const SMALL: usize = 64 * 1024;

/// Talks to a client until it says QUIT or its input ends. `domain` is the name of this machine, and that of senders without
/// one.
///
/// `check` decides about a recipient; names alone are those at `localhost`. `take` gets a message that has come whole, its
/// content from its first octet on, and returns once the message is safe: with the words behind `250 2.0.0`. After a refusal
/// the message must not be anywhere. What has not ended is dropped.
///
/// # Errors
/// If input or output fail: what was taken until then stays taken, and nothing is taken afterwards. Kind `UnexpectedEof` if
/// the input ends within a message, which is not taken; `InvalidData` if the client was sent away.
pub(super) fn dialogue(
    mut input: impl Read,
    mut output: impl Write,
    domain: &str,
    mut check: impl FnMut(&Address) -> Result<(), Refusal>,
    mut take: impl FnMut(Transaction, SpooledTempFile) -> Result<String, Refusal>,
) -> io::Result<()> {
    let mut server = Server::new(domain, Limits::default());
    let mut spool = Spool::new();
    let mut block = vec![0; BLOCK];
    loop {
        while let Some(next) = server.advance() {
            match next {
                Next::Recipient(recipient) => server.answer(check(&recipient).map(|()| String::new())),
                Next::Content(octets) => spool.add(&octets),
                Next::Discard => spool = Spool::new(),
                Next::Message(transaction) => {
                    let content = std::mem::replace(&mut spool, Spool::new()).finish();
                    server.answer(content.and_then(|content| take(transaction, content)));
                    // Who does not hear of a message that is safe sends it again.
                    reply(&mut server, &mut output)?;
                }
                Next::End { has_quit } => {
                    let told = reply(&mut server, &mut output);
                    // Who has said QUIT may be gone.
                    return if has_quit { Ok(()) } else { told.and(Err(sent_away())) };
                }
            }
        }
        reply(&mut server, &mut output)?;
        match input.read(&mut block) {
            Ok(0) if server.is_receiving() => return Err(cut_off()),
            Ok(0) => return Ok(()),
            Ok(count) => server.push(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn reply(server: &mut Server, output: &mut impl Write) -> io::Result<()> {
    output.write_all(&server.take_replies())?;
    output.flush()
}

fn sent_away() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the client has sent what is no SMTP, and was sent away")
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the input has ended before the message, which was not taken")
}

/// The content that is coming.
struct Spool {
    file: SpooledTempFile,
    failure: Option<io::Error>,
}

impl Spool {
    fn new() -> Self {
        Self { file: spooled_tempfile(SMALL), failure: None }
    }

    fn add(&mut self, octets: &[u8]) {
        if self.failure.is_none() {
            self.failure = self.file.write_all(octets).err();
        }
    }

    /// The content from its beginning on.
    fn finish(mut self) -> Result<SpooledTempFile, Refusal> {
        match self.failure.map_or_else(|| self.file.rewind(), Err) {
            Ok(()) => Ok(self.file),
            Err(error) => Err(Refusal::new(452, 3, 1, format!("A temporary copy cannot be written: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        os::{fd::OwnedFd, unix::net::UnixStream},
        process::{Command, Stdio},
    };

    use super::*;

    /// What was taken: `from>to,to content`.
    #[derive(Default)]
    struct Taken(Vec<String>);

    impl Taken {
        fn take(&mut self, transaction: &Transaction, mut content: SpooledTempFile) -> Result<String, Refusal> {
            let mut text = String::new();
            for (envelope, dsn) in &transaction.envelopes {
                let to: Vec<String> = envelope.to().iter().map(ToString::to_string).collect();
                let notify = dsn.notify.map(|notify| format!("{notify} ")).unwrap_or_default();
                let from = envelope.from().map(ToString::to_string).unwrap_or_default();
                text += &format!("{from}>{} {notify}", to.join(","));
            }
            content.read_to_string(&mut text).unwrap();
            if text.contains("refuse me") {
                return Err(Refusal::new(451, 3, 0, "Not now"));
            }
            self.0.push(text);
            Ok(format!("Ok: queued as N{}", self.0.len()))
        }
    }

    fn check(recipient: &Address) -> Result<(), Refusal> {
        match recipient.user() {
            "nobody" => Err(Refusal::new(550, 1, 1, "Nobody")),
            _ => Ok(()),
        }
    }

    fn run(input: impl Read, output: impl Write) -> (io::Result<()>, Vec<String>) {
        let mut taken = Taken::default();
        let ended =
            dialogue(input, output, "box.example", check, |transaction, content| taken.take(&transaction, content));
        (ended, taken.0)
    }

    /// How it ended, the replies behind the greeting, and what was taken.
    fn say(octets: &str) -> (Option<io::ErrorKind>, String, Vec<String>) {
        let mut output = Vec::new();
        let (ended, taken) = run(octets.as_bytes(), &mut output);
        let replies = String::from_utf8(output).unwrap();
        let replies = replies.strip_prefix("220 box.example ESMTP mailsend\r\n").unwrap().replace("\r\n", "|");
        (ended.err().map(|error| error.kind()), replies, taken)
    }

    const MESSAGE: &str = "MAIL FROM:<a@x>\nRCPT TO:<root>\nRCPT TO:<nobody>\nDATA\nSubject: x\n\n..hi\n.\n";

    #[test]
    fn a_script_that_writes_into_a_pipe() {
        let (ended, replies, taken) = say(&format!("HELO x\n{MESSAGE}{}QUIT\n", MESSAGE.replace("hi", "refuse me")));
        assert_eq!((ended, &taken[..]), (None, &["a@x>root@localhost Subject: x\n\n.hi\n".to_owned()][..]));
        let verdict = "250 2.1.0 Ok|250 2.1.5 Ok|550 5.1.1 Nobody|354 End data with <CR><LF>.<CR><LF>|";
        assert_eq!(
            replies,
            format!("250 box.example|{verdict}250 2.0.0 Ok: queued as N1|{verdict}451 4.3.0 Not now|221 2.0.0 Bye|")
        );
    }

    #[test]
    fn the_end_of_the_input() {
        assert_eq!(say(""), (None, String::new(), Vec::new()));
        let (ended, _, taken) = say(MESSAGE);
        assert_eq!((ended, taken.len()), (None, 1), "what was answered is taken");
        for cut in [MESSAGE.len() - 1, MESSAGE.len() - 2, MESSAGE.len() - 10] {
            let (ended, replies, taken) = say(&MESSAGE[..cut]);
            assert_eq!((ended, taken.len()), (Some(io::ErrorKind::UnexpectedEof), 0), "{cut}");
            assert!(replies.contains("|354 ") && !replies.contains("queued"));
        }
        let chunk = format!("{}BDAT 3\nabc", &MESSAGE[..MESSAGE.find("DATA").unwrap()]);
        assert_eq!(say(&chunk).0, Some(io::ErrorKind::UnexpectedEof));
        assert_eq!(say("MAIL FROM:<a@x>\nRCPT TO:<b@x>\nDAT").0, None);
        assert_eq!(say(&"nonsense\n".repeat(30)).0, Some(io::ErrorKind::InvalidData));
    }

    #[test]
    fn large_contents_are_files() {
        let text = "x".repeat(70) + "\n";
        let octets = MESSAGE.replace("..hi\n", &text.repeat(3_000));
        let mut sizes = Vec::new();
        let taken = |_: Transaction, mut content: SpooledTempFile| {
            let mut octets = Vec::new();
            content.read_to_end(&mut octets).unwrap();
            sizes.push((content.is_rolled(), octets.len()));
            Ok(String::new())
        };
        dialogue([octets.as_bytes(), MESSAGE.as_bytes()].concat().as_slice(), io::sink(), "x", check, taken).unwrap();
        assert_eq!(sizes, [(true, 213_012), (false, 16)]);
    }

    /// Takes so many writes, then it is closed.
    struct Closing(usize);

    impl Write for Closing {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_is_taken_once_nobody_listens() {
        let octets = format!("{MESSAGE}{MESSAGE}{MESSAGE}QUIT\n");
        for (writes, count) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
            let (ended, taken) = run(octets.as_bytes(), Closing(writes));
            assert_eq!((ended.unwrap_err().kind(), taken.len()), (io::ErrorKind::BrokenPipe, count), "{writes}");
        }
        let (ended, taken) = run(octets.as_bytes(), Closing(4));
        assert!(ended.is_ok() && taken.len() == 3, "QUIT was said");
    }

    /// Each reply is there before the next command is.
    #[test]
    fn a_client_that_waits() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let client = std::thread::spawn(move || {
            let mut lines = BufReader::new(&theirs).lines().map(Result::unwrap);
            let groups = [
                ("", "220"),
                ("EHLO x\r\n", "250"),
                ("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n", "250 250 354"),
                ("x\r\n.\r\nNOOP\r\n", "250 250"),
                ("QUIT\r\n", "221"),
            ];
            for (group, expected) in groups {
                (&theirs).write_all(group.as_bytes()).unwrap();
                for code in expected.split(' ') {
                    let last = lines.find(|line| line.as_bytes()[3] == b' ').unwrap();
                    assert_eq!(last[..3], *code, "{group}");
                }
            }
        });
        let (ended, taken) = run(&ours, &ours);
        assert!(ended.is_ok() && taken.len() == 1);
        client.join().unwrap();
    }

    const SMTPLIB: &str = r#"
import email.message, smtplib, socket
smtp = smtplib.SMTP(local_hostname="client.example")
smtp.sock = socket.socket(fileno=0)
assert smtp.getreply()[0] == 220
text = "Subject: one\n\n.\n..\n.hidden\nend"
refused = smtp.sendmail("a@x.example", ["b@x.example", "nobody@x.example", "root"], text, rcpt_options=["NOTIFY=NEVER"])
assert list(refused) == ["nobody@x.example"] and refused["nobody@x.example"][0] == 550, refused
for feature in ["pipelining", "size", "8bitmime", "smtputf8", "dsn", "enhancedstatuscodes", "chunking"]:
    assert smtp.has_extn(feature), feature
message = email.message.EmailMessage()
message["From"], message["To"], message["Subject"] = "j\u00fcrgen@x.example", "b@x.example", "two"
message.set_content("\u00fc\n", cte="8bit")
smtp.send_message(message)
try:
    smtp.sendmail("a@x.example", "b@x.example", "refuse me")
    raise SystemExit("taken")
except smtplib.SMTPDataError as error:
    assert error.smtp_code == 451, error
assert smtp.verify("root")[0] == 252
assert smtp.quit()[0] == 221
"#;

    #[test]
    fn pythons_smtplib() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut python = Command::new("python3");
        python.args(["-c", SMTPLIB]).stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
        let mut child = python.spawn().expect("python3");
        drop(python);
        let (ended, taken) = run(&ours, &ours);
        assert!(child.wait().unwrap().success() && ended.is_ok());
        assert_eq!(
            taken[0],
            "a@x.example>b@x.example,root@localhost NEVER Subject: one\r\n\r\n.\r\n..\r\n.hidden\r\nend\r\n"
        );
        let (envelope, content) = taken[1].split_once(' ').unwrap();
        assert_eq!(envelope, "j\u{fc}rgen@x.example>b@x.example");
        assert!(content.contains("From: j\u{fc}rgen@x.example\r\n") && content.ends_with("\r\n\r\n\u{fc}\r\n"));
        assert_eq!(taken.len(), 2);
    }
}
