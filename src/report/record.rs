//! One recipient's outcome as a record: the same fields in JSON and CSV, in this order.

use jiff::Timestamp;
use serde::Serialize;

use super::human_line;
use crate::mail::{Outcome, Route};

/// Version of the format: it changes when a field changes its meaning, not when one is added.
const VERSION: u32 = 1;

/// A record. Its fields are part of the contract.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    v: u32,
    r#type: &'static str,
    time: String,
    run: String,
    row: Option<u64>,
    message_id: String,
    from: String,
    recipient: String,
    state: &'static str,
    stage: &'static str,
    code: Option<u16>,
    enhanced: Option<String>,
    reply: Option<String>,
    attempts: u32,
    profile: Option<String>,
    server: String,
    remote_id: Option<String>,
    elapsed_ms: u64,
    error: Option<String>,
    dsn: Option<bool>,
    #[serde(skip)]
    human: String,
}

impl Record {
    /// Makes the record of an outcome at this moment.
    pub fn new(
        run: &str,
        message_id: &str,
        from: Option<&str>,
        outcome: &Outcome,
        route: &Route,
        attempts: u32,
    ) -> Self {
        Self {
            v: VERSION,
            r#type: "outcome",
            time: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
            run: run.to_owned(),
            row: None,
            message_id: message_id.to_owned(),
            from: from.unwrap_or("<>").to_owned(),
            recipient: outcome.recipient.to_string(),
            state: outcome.state.as_str(),
            stage: outcome.stage.as_str(),
            code: outcome.reply.as_ref().map(|reply| reply.code),
            enhanced: outcome.reply.as_ref().and_then(|reply| reply.enhanced()).map(|status| status.to_string()),
            reply: outcome.reply.as_ref().map(|reply| reply.text()),
            attempts,
            profile: route.profile.clone(),
            server: route.server.clone(),
            remote_id: outcome.remote_id.clone(),
            elapsed_ms: u64::try_from(outcome.elapsed.as_millis()).unwrap_or(u64::MAX),
            error: outcome.trouble.as_ref().map(ToString::to_string),
            dsn: outcome.dsn,
            human: human_line(outcome),
        }
    }

    pub(super) fn human(&self) -> &str {
        &self.human
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mail::{Mailbox, Reply, Stage, State},
        report::{Format, Records, Target},
    };
    use std::{fs, time::Duration};

    fn record() -> Record {
        let outcome = Outcome {
            recipient: Mailbox::parse("b@y.example").unwrap().address,
            state: State::Accepted,
            stage: Stage::Data,
            reply: Some(Reply { code: 250, lines: vec!["2.0.0 Ok: queued as 4F2".to_owned()] }),
            trouble: None,
            remote_id: Some("4F2".to_owned()),
            dsn: Some(false),
            elapsed: Duration::from_millis(37),
        };
        let route = Route { profile: Some("work".to_owned()), server: "smtp.example.com:587".to_owned() };
        Record::new("r1", "<m@x>", Some("a@x.example"), &outcome, &route, 1)
    }

    #[test]
    fn json_has_the_fields_of_the_contract_in_their_order() {
        let json = serde_json::to_string(&record()).unwrap();
        let (head, tail) = json.split_once("\"run\"").unwrap();
        assert!(head.starts_with("{\"v\":1,\"type\":\"outcome\",\"time\":\"20") && head.ends_with("Z\","), "{head}");
        assert_eq!(
            tail,
            ":\"r1\",\"row\":null,\"message_id\":\"<m@x>\",\"from\":\"a@x.example\",\"recipient\":\"b@y.example\",\
             \"state\":\"accepted\",\"stage\":\"data\",\"code\":250,\"enhanced\":\"2.0.0\",\"reply\":\"2.0.0 Ok: queued as 4F2\",\
             \"attempts\":1,\"profile\":\"work\",\"server\":\"smtp.example.com:587\",\"remote_id\":\"4F2\",\"elapsed_ms\":37,\
             \"error\":null,\"dsn\":false}"
        );
    }

    #[test]
    fn csv_names_its_columns_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.csv");
        for _ in 0..2 {
            let mut records = Records::open(Target::File(path.clone()), None).unwrap();
            records.write(&record());
            assert!(records.finish().is_none());
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("v,type,time,run,row,message_id,from,recipient,state,stage,code,"), "{text}");
        assert!(lines[2].contains(",b@y.example,accepted,data,250,"), "{text}");
    }

    #[test]
    fn a_format_that_is_named_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.txt");
        let mut records = Records::open(Target::File(path.clone()), Some(Format::Human)).unwrap();
        records.write(&record());
        assert_eq!(fs::read_to_string(&path).unwrap(), "accepted b@y.example: 250 2.0.0 Ok: queued as 4F2\n");
        assert!(Records::open(Target::File(folder.path().to_owned()), None).is_err());
    }
}
