//! How a line looks: `key=value` or JSON, with what the system's logger wants before it, or as the fields of a journal
//! entry.

use std::{fmt::Write, process};

use jiff::Timestamp;

use crate::{
    config::{LogFormat, LogTarget},
    ledger::{Columns, Fields, beginning},
    mail::{State, clean},
    message::local_zone,
};

/// The facility mail.
const FACILITY: u8 = 2;
/// Loggers take no longer packets for granted.
const LONGEST: usize = 8 * 1024;
/// Where one would be longer its texts are cut to so many octets: replies first, and no address at all.
const CUTS: [usize; 3] = [usize::MAX, 1_000, 330];
/// Octets of a tag.
const TAG: usize = 32;

/// Makes lines.
pub(super) struct Lines {
    frame: Frame,
    format: LogFormat,
}

/// What is around a line.
enum Frame {
    /// A line end.
    Line,
    Syslog(Clock, String),
    Journal(String),
}

impl Lines {
    pub fn new(target: &LogTarget, format: LogFormat, tag: &str) -> Self {
        let is_plain = |c: &char| c.is_ascii_graphic() && !matches!(c, '[' | ']' | ':');
        let tag: String = tag.chars().filter(is_plain).take(TAG).collect();
        let tag = if tag.is_empty() { "mailsend".to_owned() } else { tag };
        let frame = match target {
            LogTarget::File(_) => Frame::Line,
            LogTarget::Syslog => Frame::Syslog(Clock::default(), tag),
            LogTarget::Journal => Frame::Journal(tag),
        };
        Self { frame, format }
    }

    /// Appends the line, or what is sent in its place.
    pub fn write(&mut self, fields: &Fields<'_>, state: State, out: &mut Vec<u8>) {
        let severity = match state {
            State::Accepted | State::Queued | State::Skipped => 6,
            State::Deferred | State::Unknown => 4,
            State::Failed => 3,
        };
        let format = self.format;
        let begin = out.len();
        match &mut self.frame {
            Frame::Line => {
                line(fields, format, out, usize::MAX);
                out.push(b'\n');
            }
            Frame::Syslog(clock, tag) => {
                let priority = FACILITY * 8 + severity;
                out.extend_from_slice(format!("<{priority}>{} {tag}[{}]: ", clock.now(), process::id()).as_bytes());
                let head = out.len();
                fit(out, begin, head, |out, longest| line(fields, format, out, longest));
            }
            Frame::Journal(tag) => fit(out, begin, begin, |out, longest| {
                let mut message = Vec::new();
                line(fields, format, &mut message, longest);
                field(out, "MESSAGE", &message);
                field(out, "PRIORITY", severity.to_string().as_bytes());
                field(out, "SYSLOG_FACILITY", FACILITY.to_string().as_bytes());
                field(out, "SYSLOG_IDENTIFIER", tag.as_bytes());
                fields.each(&mut Entry { out, longest });
            }),
        }
    }
}

/// Writes behind `head` until what begins at `begin` is short enough, with shorter and shorter texts.
fn fit(out: &mut Vec<u8>, begin: usize, head: usize, write: impl Fn(&mut Vec<u8>, usize)) {
    for longest in CUTS {
        out.truncate(head);
        write(out, longest);
        if out.len() - begin <= LONGEST {
            return;
        }
    }
}

fn line(fields: &Fields<'_>, format: LogFormat, out: &mut Vec<u8>, longest: usize) {
    match format {
        LogFormat::Json => fields.write_json_up_to(out, longest),
        LogFormat::Text => fields.each(&mut Pairs { out, longest, is_first: true }),
    }
}

/// `key=value key="another value" nothing=null`
struct Pairs<'a> {
    out: &'a mut Vec<u8>,
    longest: usize,
    is_first: bool,
}

impl Pairs<'_> {
    fn pair(&mut self, name: &str, value: &[u8]) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b' ');
        }
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'=');
        self.out.extend_from_slice(value);
    }
}

impl Columns for Pairs<'_> {
    fn number(&mut self, name: &'static str, value: Option<u64>) {
        match value {
            Some(value) => self.pair(name, value.to_string().as_bytes()),
            None => self.pair(name, b"null"),
        }
    }

    fn text(&mut self, name: &'static str, value: Option<&str>) {
        let Some(value) = value else { return self.pair(name, b"null") };
        let value = beginning(value, self.longest);
        let is_bare = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
        if !value.is_empty() && value != "null" && value.bytes().all(is_bare) {
            return self.pair(name, value.as_bytes());
        }
        self.pair(name, b"\"");
        for c in clean(value).chars() {
            if matches!(c, '"' | '\\') {
                self.out.push(b'\\');
            }
            self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        self.out.push(b'"');
    }

    fn flag(&mut self, name: &'static str, value: Option<bool>) {
        self.pair(name, value.map_or("null", |value| if value { "true" } else { "false" }).as_bytes());
    }
}

/// The columns as fields of the journal. What is nothing is no field.
struct Entry<'a> {
    out: &'a mut Vec<u8>,
    longest: usize,
}

impl Entry<'_> {
    fn own(&mut self, name: &str, value: &str) {
        field(self.out, &format!("MAILSEND_{}", name.to_ascii_uppercase()), value.as_bytes());
    }
}

impl Columns for Entry<'_> {
    fn number(&mut self, name: &'static str, value: Option<u64>) {
        value.into_iter().for_each(|value| self.own(name, &value.to_string()));
    }

    fn text(&mut self, name: &'static str, value: Option<&str>) {
        let longest = self.longest;
        value.into_iter().for_each(|value| self.own(name, beginning(value, longest)));
    }

    fn flag(&mut self, name: &'static str, value: Option<bool>) {
        value.into_iter().for_each(|value| self.own(name, if value { "true" } else { "false" }));
    }
}

/// A field of an entry, with its length where there is a line end in it.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// The local time as RFC 3164 writes it, made once per second.
#[derive(Default)]
struct Clock {
    second: Option<i64>,
    text: String,
}

impl Clock {
    fn now(&mut self) -> &str {
        let now = Timestamp::now();
        if self.second.replace(now.as_second()) != Some(now.as_second()) {
            self.text.clear();
            // Memory takes everything.
            let _ = write!(self.text, "{}", now.to_zoned(local_zone()).strftime("%b %e %H:%M:%S"));
        }
        &self.text
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        ledger::Record,
        mail::{Cause, Mailbox, Outcome, Reply, Route, Stage, Trouble},
    };

    /// Has `look` look at a record that is about this.
    pub fn with_fields<T>(reply: &str, server: &str, error: Option<&str>, look: impl FnOnce(&Fields<'_>) -> T) -> T {
        let outcome = Outcome {
            recipient: Mailbox::parse("b@y.example").unwrap().address,
            state: State::Failed,
            stage: Stage::Data,
            reply: Some(Reply { code: 550, lines: vec![reply.to_owned()] }),
            trouble: error.map(|error| Trouble::new(Stage::Data, Cause::Lost, error)),
            remote_id: None,
            dsn: Some(false),
            elapsed: Duration::from_millis(37),
        };
        let route = Route { profile: Some("work".to_owned()), server: server.to_owned() };
        let record = Record {
            run: "r1",
            row: Some(7),
            message_id: "<m=1@x>",
            from: None,
            outcome: &outcome,
            route: &route,
            attempts: 1,
            is_redelivered: false,
        };
        look(&record.fields("outcome", "2026-11-23T04:00:00.123Z"))
    }

    fn written(target: LogTarget, format: LogFormat, tag: &str, reply: &str, error: Option<&str>) -> Vec<u8> {
        let mut out = Vec::new();
        with_fields(reply, "smtp.example.com:587", error, |fields| {
            Lines::new(&target, format, tag).write(fields, State::Failed, &mut out);
        });
        out
    }

    fn text(target: LogTarget, format: LogFormat, tag: &str, reply: &str) -> String {
        String::from_utf8(written(target, format, tag, reply, None)).unwrap()
    }

    /// What a reader of such lines makes of one: keys with values, which are nothing where they say so.
    fn parsed(line: &str) -> BTreeMap<String, Option<String>> {
        let mut pairs = BTreeMap::new();
        let mut rest = line;
        while !rest.is_empty() {
            let (name, behind) = rest.split_once('=').unwrap();
            let (value, behind) = match behind.strip_prefix('"') {
                None => {
                    let (value, behind) = behind.split_once(' ').unwrap_or((behind, ""));
                    (Some(value.to_owned()).filter(|value| value != "null"), behind)
                }
                Some(quoted) => {
                    let (mut value, mut chars) = (String::new(), quoted.char_indices());
                    let end = loop {
                        match chars.next().unwrap() {
                            (at, '"') => break at,
                            (_, '\\') => value.push(chars.next().unwrap().1),
                            (_, c) => value.push(c),
                        }
                    };
                    (Some(value), quoted[end + 1..].strip_prefix(' ').unwrap_or(&quoted[end + 1..]))
                }
            };
            assert!(pairs.insert(name.to_owned(), value).is_none(), "{name} twice in {line}");
            rest = behind;
        }
        pairs
    }

    #[test]
    fn a_line_of_a_file() {
        let file = || LogTarget::File("/x".into());
        assert_eq!(
            text(file(), LogFormat::Text, "", "5.1.1 no \"such\" user\u{1b}[2J"),
            "v=1 type=outcome time=2026-11-23T04:00:00.123Z run=r1 row=7 message_id=\"<m=1@x>\" from=<> \
             recipient=b@y.example state=failed stage=data code=550 enhanced=5.1.1 \
             reply=\"5.1.1 no \\\"such\\\" user\u{FFFD}[2J\" attempts=1 profile=work server=smtp.example.com:587 \
             remote_id=null elapsed_ms=37 error=null dsn=false redelivered=null\n"
        );
        assert!(text(file(), LogFormat::Text, "", "").contains(" reply=\"\" "));
        let json: serde_json::Value = serde_json::from_str(&text(file(), LogFormat::Json, "", "no")).unwrap();
        assert_eq!((&json["reply"], &json["row"]), (&"no".into(), &7.into()));
    }

    #[test]
    fn a_line_of_the_system() {
        let line = text(LogTarget::Syslog, LogFormat::Text, "send mail[1]:", "no");
        let (head, line) = line.split_once(": ").unwrap();
        assert!(head.starts_with("<19>") && head.ends_with(&format!(" sendmail1[{}]", process::id())), "{head}");
        let date: Vec<&str> = head["<19>".len()..].split_whitespace().collect();
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        assert!(date.len() == 4 && months.contains(&date[0]) && head.as_bytes()[19] == b' ', "{head}");
        assert_eq!(parsed(line)["reply"].as_deref(), Some("no"));
        assert!(
            text(LogTarget::Syslog, LogFormat::Json, "", "no").contains(&format!(" mailsend[{}]: {{", process::id()))
        );
    }

    #[test]
    fn an_entry_of_the_journal() {
        let entry = text(LogTarget::Journal, LogFormat::Text, "cron", "5.1.1 no");
        let fields: BTreeMap<&str, &str> = entry.lines().map(|line| line.split_once('=').unwrap()).collect();
        for (name, value) in [
            ("PRIORITY", "3"),
            ("SYSLOG_FACILITY", "2"),
            ("SYSLOG_IDENTIFIER", "cron"),
            ("MAILSEND_RECIPIENT", "b@y.example"),
            ("MAILSEND_REPLY", "5.1.1 no"),
            ("MAILSEND_CODE", "550"),
            ("MAILSEND_DSN", "false"),
        ] {
            assert_eq!(fields.get(name), Some(&value), "{entry}");
        }
        assert_eq!(parsed(fields["MESSAGE"])["state"].as_deref(), Some("failed"));
        assert!(!fields.contains_key("MAILSEND_REMOTE_ID"), "nothing is no field");
        let mut out = Vec::new();
        field(&mut out, "A", b"one\ntwo");
        assert_eq!(out, b"A\n\x07\0\0\0\0\0\0\0one\ntwo\n");
    }

    /// No reply is so long that nobody hears of it.
    #[test]
    fn what_is_too_long_is_cut() {
        let long = "5.1.1 ".to_owned() + &"\u{4e16}\"".repeat(20_000);
        for target in [LogTarget::Syslog, LogTarget::Journal] {
            for format in [LogFormat::Text, LogFormat::Json] {
                let packet = written(target.clone(), format, "t", &long, Some(&long));
                assert!(packet.len() <= LONGEST, "{} octets for {target:?}", packet.len());
                let packet = String::from_utf8(packet).unwrap();
                assert!(packet.contains("b@y.example") && packet.contains("redelivered") && packet.contains("5.1.1 "));
            }
        }
        assert!(text(LogTarget::File("/x".into()), LogFormat::Text, "", &long).len() > long.len(), "a file has room");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(reply in any::<String>(), server in any::<String>()) {
            let mut out = Vec::new();
            with_fields(&reply, &server, None, |fields| {
                Lines::new(&LogTarget::File("/x".into()), LogFormat::Text, "").write(fields, State::Failed, &mut out);
                let line = std::str::from_utf8(&out).unwrap();
                let line = line.strip_suffix('\n').unwrap();
                assert!(!line.chars().any(char::is_control), "{line:?}");
                let pairs = parsed(line);
                let json = serde_json::to_value(fields).unwrap();
                assert_eq!(pairs.len(), json.as_object().unwrap().len());
                assert_eq!(pairs["server"].as_deref(), Some(&*clean(&server)));
                assert_eq!(pairs["reply"].as_deref(), json["reply"].as_str().map(clean).as_deref());
            });
        }
    }
}
