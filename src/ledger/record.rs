//! One recipient's outcome as it is recorded: the same fields in JSON and CSV, in this order.

use std::{borrow::Cow, fmt};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::VERSION;
use crate::mail::{Address, Outcome, Reply, Route, State, Trouble};

/// An outcome as it is recorded, borrowed from where it is. Its fields are part of the contract.
#[derive(Debug)]
pub struct Record<'a> {
    /// The run.
    pub run: &'a str,
    /// The row, from 1; none for a single message.
    pub row: Option<u64>,
    /// With its angle brackets.
    pub message_id: &'a str,
    /// The return path; none for `<>`.
    pub from: Option<&'a Address>,
    /// What became of whom.
    pub outcome: &'a Outcome,
    /// By which way.
    pub route: &'a Route,
    /// Attempts made.
    pub attempts: u32,
    /// Another worker had the message before, and has not said what came of it.
    pub is_redelivered: bool,
}

/// The record as columns.
#[derive(Serialize)]
pub(crate) struct Fields<'a> {
    v: u32,
    r#type: &'static str,
    time: &'a str,
    run: &'a str,
    row: Option<u64>,
    message_id: &'a str,
    from: &'a str,
    recipient: &'a str,
    state: &'static str,
    stage: &'static str,
    code: Option<u16>,
    enhanced: Option<Shown<crate::mail::EnhancedStatus>>,
    reply: Option<Cow<'a, str>>,
    attempts: u32,
    profile: Option<&'a str>,
    server: &'a str,
    remote_id: Option<&'a str>,
    elapsed_ms: u64,
    error: Option<Shown<&'a crate::mail::Trouble>>,
    dsn: Option<bool>,
    /// True, or nothing.
    redelivered: Option<bool>,
}

impl Record<'_> {
    /// Its columns, settled at this time.
    pub(crate) fn fields<'a>(&'a self, kind: &'static str, time: &'a str) -> Fields<'a> {
        let outcome = self.outcome;
        Fields {
            v: VERSION,
            r#type: kind,
            time,
            run: self.run,
            row: self.row,
            message_id: self.message_id,
            from: self.from.map_or("<>", AsRef::as_ref),
            recipient: outcome.recipient.as_ref(),
            state: outcome.state.as_str(),
            stage: outcome.stage.as_str(),
            code: outcome.reply.as_ref().map(|reply| reply.code),
            enhanced: outcome.reply.as_ref().and_then(Reply::enhanced).map(Shown),
            reply: outcome.reply.as_ref().map(Reply::text),
            attempts: self.attempts,
            profile: self.route.profile.as_deref(),
            server: &self.route.server,
            remote_id: outcome.remote_id.as_deref(),
            elapsed_ms: u64::try_from(outcome.elapsed.as_millis()).unwrap_or(u64::MAX),
            error: outcome.trouble.as_ref().map(Shown),
            dsn: outcome.dsn,
            redelivered: self.is_redelivered.then_some(true),
        }
    }
}

/// Who writes columns down.
pub(crate) trait Columns {
    /// A number, or nothing.
    fn number(&mut self, name: &'static str, value: Option<u64>);
    /// A text, or nothing.
    fn text(&mut self, name: &'static str, value: Option<&str>);
    /// True or false, or nothing.
    fn flag(&mut self, name: &'static str, value: Option<bool>);
}

impl Fields<'_> {
    /// Hands over every column, in the order of the contract.
    pub(crate) fn each(&self, columns: &mut impl Columns) {
        columns.number("v", Some(self.v.into()));
        columns.text("type", Some(self.r#type));
        columns.text("time", Some(self.time));
        columns.text("run", Some(self.run));
        columns.number("row", self.row);
        columns.text("message_id", Some(self.message_id));
        columns.text("from", Some(self.from));
        columns.text("recipient", Some(self.recipient));
        columns.text("state", Some(self.state));
        columns.text("stage", Some(self.stage));
        columns.number("code", self.code.map(u64::from));
        columns.text("enhanced", self.enhanced.as_ref().map(|enhanced| enhanced.0.to_string()).as_deref());
        columns.text("reply", self.reply.as_deref());
        columns.number("attempts", Some(self.attempts.into()));
        columns.text("profile", self.profile);
        columns.text("server", Some(self.server));
        columns.text("remote_id", self.remote_id);
        columns.number("elapsed_ms", Some(self.elapsed_ms));
        columns.text("error", self.error.as_ref().map(|error| error.0.to_string()).as_deref());
        columns.flag("dsn", self.dsn);
        columns.flag("redelivered", self.redelivered);
    }

    /// Appends the JSON that serde makes of it, faster: a batch writes it for every recipient.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        self.write_json_up_to(out, usize::MAX);
    }

    /// The same with texts of so many octets at most.
    pub(crate) fn write_json_up_to(&self, out: &mut Vec<u8>, longest: usize) {
        self.each(&mut Object { out, between: b"{", longest });
        out.push(b'}');
    }
}

/// The beginning of a text, of so many octets at most.
pub(crate) fn beginning(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}

/// A JSON object being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    /// What stands before the next key.
    between: &'static [u8],
    /// Octets of a text at most.
    longest: usize,
}

impl Object<'_> {
    fn key(&mut self, key: &str) {
        self.out.extend_from_slice(self.between);
        self.between = b",";
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

impl Columns for Object<'_> {
    fn number(&mut self, name: &'static str, value: Option<u64>) {
        self.key(name);
        // Memory takes everything, and numbers and text have no form that JSON has not.
        let _ = serde_json::to_writer(&mut *self.out, &value);
    }

    fn text(&mut self, name: &'static str, value: Option<&str>) {
        self.key(name);
        let Some(value) = value else { return self.out.extend_from_slice(b"null") };
        let value = beginning(value, self.longest);
        if value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
            self.out.push(b'"');
            self.out.extend_from_slice(value.as_bytes());
            self.out.push(b'"');
        } else {
            let _ = serde_json::to_writer(&mut *self.out, value);
        }
    }

    fn flag(&mut self, name: &'static str, value: Option<bool>) {
        self.key(name);
        self.out.extend_from_slice(match value {
            Some(true) => b"true",
            Some(false) => b"false",
            None => b"null",
        });
    }
}

/// The columns of a row that is not sent; it names no recipient.
pub(crate) fn skipped<'a>(run: &'a str, row: u64, trouble: &'a Trouble, time: &'a str) -> Fields<'a> {
    Fields {
        v: VERSION,
        r#type: "outcome",
        time,
        run,
        row: Some(row),
        message_id: "",
        from: "",
        recipient: "",
        state: State::Skipped.as_str(),
        stage: trouble.stage.as_str(),
        code: None,
        enhanced: None,
        reply: None,
        attempts: 0,
        profile: None,
        server: "",
        remote_id: None,
        elapsed_ms: 0,
        error: Some(Shown(trouble)),
        dsn: None,
        redelivered: None,
    }
}

/// Written as it is shown, without a copy where the format allows it.
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The time as records write it, formatted once per millisecond.
#[derive(Debug, Default)]
pub struct Clock {
    millisecond: i64,
    text: String,
}

impl Clock {
    /// The present in UTC: `2026-11-23T04:00:00.123Z`.
    pub fn now(&mut self) -> &str {
        let now = Timestamp::now();
        if self.millisecond != now.as_millisecond() || self.text.is_empty() {
            self.millisecond = now.as_millisecond();
            self.text = now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        }
        &self.text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::mail::{Cause, Mailbox, Stage, State, Trouble};
    use std::time::Duration;

    pub(crate) fn outcome(recipient: &str, state: State) -> Outcome {
        Outcome {
            recipient: Mailbox::parse(recipient).unwrap().address,
            state,
            stage: Stage::Data,
            reply: Some(Reply { code: 250, lines: vec!["2.0.0 Ok: queued as 4F2".to_owned()] }),
            trouble: None,
            remote_id: Some("4F2".to_owned()),
            dsn: Some(false),
            elapsed: Duration::from_millis(37),
        }
    }

    pub(crate) fn route() -> Route {
        Route { profile: Some("work".to_owned()), server: "smtp.example.com:587".to_owned() }
    }

    /// Both ways to write it give the same.
    fn json(record: &Record<'_>) -> String {
        let mut clock = Clock::default();
        let fields = record.fields("outcome", clock.now());
        let mut written = Vec::new();
        fields.write_json(&mut written);
        assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&fields).unwrap());
        serde_json::to_string(&fields).unwrap()
    }

    #[test]
    fn json_has_the_fields_of_the_contract_in_their_order() {
        let (outcome, route) = (outcome("b@y.example", State::Accepted), route());
        let from = Mailbox::parse("a@x.example").unwrap().address;
        let record = Record {
            run: "r1",
            row: None,
            message_id: "<m@x>",
            from: Some(&from),
            outcome: &outcome,
            route: &route,
            attempts: 1,
            is_redelivered: false,
        };
        let json = json(&record);
        let (head, tail) = json.split_once("\"run\"").unwrap();
        assert!(head.starts_with("{\"v\":1,\"type\":\"outcome\",\"time\":\"20") && head.ends_with("Z\","), "{head}");
        assert_eq!(
            tail,
            ":\"r1\",\"row\":null,\"message_id\":\"<m@x>\",\"from\":\"a@x.example\",\"recipient\":\"b@y.example\",\
             \"state\":\"accepted\",\"stage\":\"data\",\"code\":250,\"enhanced\":\"2.0.0\",\"reply\":\"2.0.0 Ok: queued as 4F2\",\
             \"attempts\":1,\"profile\":\"work\",\"server\":\"smtp.example.com:587\",\"remote_id\":\"4F2\",\"elapsed_ms\":37,\
             \"error\":null,\"dsn\":false,\"redelivered\":null}"
        );
    }

    #[test]
    fn what_servers_say_is_clean_and_whole() {
        let mut outcome = outcome("b@y.example", State::Failed);
        let route = route();
        for (lines, text) in [
            (&["5.1.1 no such user "][..], "5.1.1 no such user"),
            (&["5.1.1 \"no\"", "5.1.1 such user"], "5.1.1 \"no\" such user"),
            (&["ruf\x1b[2Jen"], "ruf\u{FFFD}[2Jen"),
            (&["世界"], "世界"),
            (&[], ""),
        ] {
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            outcome.reply = Some(Reply { code: 550, lines });
            outcome.trouble = Some(Trouble::new(Stage::Data, Cause::Lost, "the \"connection\" ended"));
            let record = Record {
                run: "r",
                row: Some(7),
                message_id: "<m@x>",
                from: None,
                outcome: &outcome,
                route: &route,
                attempts: 2,
                is_redelivered: true,
            };
            let value: serde_json::Value = serde_json::from_str(&json(&record)).unwrap();
            assert_eq!(value["reply"], text);
            assert_eq!(value["error"], "the \"connection\" ended");
            assert_eq!((value["row"].as_u64(), value["from"].as_str()), (Some(7), Some("<>")));
        }
    }

    #[test]
    fn the_clock_goes_on() {
        let mut clock = Clock::default();
        let first = clock.now().to_owned();
        let mut next = first.clone();
        let start = std::time::Instant::now();
        while next == first && start.elapsed() < Duration::from_secs(5) {
            next = clock.now().to_owned();
        }
        assert!(next > first && next.len() == "2026-11-23T04:00:00.123Z".len(), "{first} {next}");
    }
}
