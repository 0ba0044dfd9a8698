//! What a batch came to: counts, speed, reasons. It is fed outcome by outcome, and does not grow with their number.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    histogram::{Latency, Timeline},
    reason::{Tops, general},
};
use crate::{
    ledger::{Counts, Record},
    mail::{BreakerState, Event, State, clean},
};

/// Servers whose breaker is remembered.
const MAX_SERVERS: usize = 64;
/// Reasons, domains and codes that are shown.
pub(super) const SHOWN: usize = 10;

/// What a batch came to.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    counts: Counts,
    /// Deferred and tried again, in all and by code.
    repeats: u64,
    repeated: Tops<String>,
    latency: Latency,
    timeline: Timeline,
    reasons: Tops<Reason>,
    domains: Tops<String>,
    codes: Tops<String>,
    breakers: BTreeMap<String, Breaker>,
    slowed: u64,
    /// The part of the run that goes on, from its first line to its last so far, and the length of those before.
    part: Option<(u64, u64)>,
    worked: u64,
    settled_in_time: u64,
}

/// Why somebody was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Reason {
    pub state: &'static str,
    /// The reply's code, or where it stopped.
    pub code: String,
    pub text: String,
}

impl Reason {
    /// `550 5.1.1 no such user`.
    pub fn words(&self) -> String {
        let colon = if self.code.starts_with(|c: char| c.is_ascii_digit()) { "" } else { ":" };
        format!("{}{colon} {}", self.code, self.text)
    }
}

#[derive(Debug, Clone)]
struct Breaker {
    state: BreakerState,
    opened: u64,
    why: Option<String>,
}

/// One outcome, from a session or from a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// In milliseconds since 1970.
    pub time: u64,
    pub recipient: &'a str,
    pub state: State,
    pub stage: &'a str,
    pub code: Option<u16>,
    /// What was said, or what went wrong.
    pub text: &'a str,
    pub elapsed_ms: u64,
    /// Attempts made, where that is written.
    pub attempts: Option<u32>,
}

impl Seen<'_> {
    /// An unknown that was only found in the ledger, and nothing done about it.
    fn is_left_alone(&self) -> bool {
        self.state == State::Unknown && self.stage == "final" && self.elapsed_ms == 0 && self.attempts == Some(0)
    }
}

impl Tally {
    /// A run begins, or goes on.
    pub fn new() -> Self {
        let mut tally = Self::default();
        tally.begin_at(now());
        tally
    }

    /// A part of a run begins at this time, in milliseconds since 1970.
    pub(super) fn begin_at(&mut self, time: u64) {
        if let Some((first, last)) = self.part.replace((time, time)) {
            self.worked += last.saturating_sub(first);
        }
    }

    /// Something happened at this time.
    pub(super) fn pass(&mut self, time: u64) {
        let part = self.part.get_or_insert((time, time));
        part.1 = part.1.max(time);
    }

    /// A recipient has ended.
    pub fn settled(&mut self, record: &Record<'_>) {
        let outcome = record.outcome;
        let text = match (outcome.state, &outcome.trouble, &outcome.reply) {
            (State::Accepted | State::Skipped | State::Queued, ..) => String::new(),
            (_, Some(trouble), _) => trouble.to_string(),
            (_, None, Some(reply)) => reply.text().into_owned(),
            (_, None, None) => String::new(),
        };
        self.add(&Seen {
            time: now(),
            recipient: outcome.recipient.as_ref(),
            state: outcome.state,
            stage: outcome.stage.as_str(),
            code: outcome.reply.as_ref().map(|reply| reply.code),
            text: &text,
            elapsed_ms: u64::try_from(outcome.elapsed.as_millis()).unwrap_or(u64::MAX),
            attempts: Some(record.attempts),
        });
    }

    /// A recipient was deferred and will be tried again.
    pub fn deferred(&mut self, record: &Record<'_>) {
        let outcome = record.outcome;
        self.repeat(now(), outcome.reply.as_ref().map(|reply| reply.code), outcome.stage.as_str());
    }

    pub(super) fn repeat(&mut self, time: u64, code: Option<u16>, stage: &str) {
        self.pass(time);
        self.repeats += 1;
        self.repeated.add(label(code, stage), 1);
    }

    /// A row could not be sent, whoever its recipients are.
    pub fn skipped(&mut self) {
        self.counts.add(State::Skipped);
    }

    pub(super) fn add(&mut self, seen: &Seen<'_>) {
        self.pass(seen.time);
        self.counts.add(seen.state);
        if seen.state == State::Skipped {
            return;
        }
        if seen.state == State::Queued {
            self.settled_in_time += 1;
            return;
        }
        if !seen.is_left_alone() {
            self.settled_in_time += 1;
            self.latency.add(seen.elapsed_ms);
            self.timeline.add(seen.time, seen.state);
        }
        if seen.state == State::Accepted {
            return;
        }
        let code = label(seen.code, seen.stage);
        let text = general(&clean(seen.text), seen.recipient);
        self.codes.add(code.clone(), 1);
        self.reasons.add(Reason { state: seen.state.as_str(), code, text }, 1);
        let domain = seen.recipient.rsplit_once('@').map_or(seen.recipient, |(_, domain)| domain);
        self.domains.add(clean(domain), 1);
    }

    /// So many recipients of whom nothing but an intent is written.
    pub(super) fn doubted(&mut self, number: u64) {
        self.counts.unknown += number;
        if number > 0 {
            let text = "on its way when the run ended or was looked at; no outcome was written".to_owned();
            let reason = Reason { state: State::Unknown.as_str(), code: "no outcome".to_owned(), text };
            self.codes.add(reason.code.clone(), number);
            self.reasons.add(reason, number);
        }
    }

    /// A breaker has changed its state, or a server asks for less.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Breaker { server, state, why } => {
                if self.breakers.len() >= MAX_SERVERS && !self.breakers.contains_key(server) {
                    return;
                }
                let breaker =
                    self.breakers.entry(server.clone()).or_insert(Breaker { state: *state, opened: 0, why: None });
                breaker.state = *state;
                if *state == BreakerState::Open {
                    breaker.opened += 1;
                    breaker.why.clone_from(why);
                }
            }
            Event::Slowed { .. } => self.slowed += 1,
            _ => {}
        }
    }

    /// How many recipients have which state.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Seconds of work, without the time between two parts of a run.
    pub(super) fn seconds(&self) -> f64 {
        let part = self.part.map_or(0, |(first, last)| last.saturating_sub(first));
        (self.worked + part) as f64 / 1000.0
    }

    /// Recipients per second, where that can be told.
    pub(super) fn rate(&self) -> Option<f64> {
        let seconds = self.seconds();
        (seconds > 0.0 && self.settled_in_time > 1).then(|| self.settled_in_time as f64 / seconds)
    }

    pub(super) fn latency(&self) -> &Latency {
        &self.latency
    }

    pub(super) fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    pub(super) fn reasons(&self) -> (Vec<(Reason, u64)>, u64) {
        self.reasons.top(SHOWN)
    }

    pub(super) fn domains(&self) -> (Vec<(String, u64)>, u64) {
        self.domains.top(SHOWN)
    }

    pub(super) fn codes(&self) -> (Vec<(String, u64)>, u64) {
        self.codes.top(SHOWN)
    }

    /// The summary for people at the end of a batch.
    pub fn lines(&self) -> Vec<String> {
        let total = self.counts.total();
        let mut lines = vec![format!("{}{}", plural(total, "recipient"), self.pace())];
        let width = grouped(total).len();
        for state in State::ALL {
            let count = self.counts.of(state);
            if count > 0 {
                lines.push(format!("  {state:<9} {:>width$}  {:>6}", grouped(count), share(count, total)));
            }
        }
        if self.latency.count() > 1 {
            let [half, most, nearly_all] = [0.5, 0.9, 0.99].map(|share| spoken(self.latency.percentile(share)));
            let longest = spoken(self.latency.longest());
            lines.push(format!("took {half} (median), {most} (p90), {nearly_all} (p99), {longest} at most"));
        }
        if self.repeats > 0 {
            let codes: Vec<String> =
                self.repeated.top(3).0.iter().map(|(code, count)| format!("{} × {code}", grouped(*count))).collect();
            lines.push(format!("deferred and tried again: {} ({})", plural(self.repeats, "time"), codes.join(", ")));
        }
        for (server, breaker) in &self.breakers {
            if breaker.opened > 0 {
                let why = breaker.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
                let (times, state) = (plural(breaker.opened, "time"), breaker.state.as_str());
                lines.push(clean(&format!("breaker of {server}: opened {times}{why}, now {state}")));
            }
        }
        if self.slowed > 0 {
            lines.push(format!("slowed down by servers: {}", plural(self.slowed, "time")));
        }
        let (reasons, others) = self.reasons();
        if !reasons.is_empty() {
            lines.push("why they were not accepted:".to_owned());
            let width = reasons.iter().map(|(_, count)| grouped(*count).len()).max().unwrap_or(0);
            for (reason, count) in &reasons {
                lines.push(format!("  {:>width$} {} {}", grouped(*count), reason.state, reason.words()));
            }
            if others > 0 {
                lines.push(format!("  {:>width$} for other reasons", grouped(others)));
            }
        }
        lines
    }

    /// ` in 12.3 s (1,622/s)`.
    fn pace(&self) -> String {
        match self.rate() {
            Some(rate) => format!(" in {} ({}/s)", spoken((self.seconds() * 1000.0) as u64), rounded(rate)),
            None => String::new(),
        }
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let counts = self.counts;
        let pairs = |top: (Vec<(String, u64)>, u64), name: &str| {
            let top: Vec<Value> = top.0.iter().map(|(key, count)| json!({ name: key, "count": count })).collect();
            Value::from(top)
        };
        let bins: Vec<Value> = self
            .timeline
            .bins()
            .iter()
            .map(|bin| json!([bin.accepted, bin.deferred, bin.failed, bin.unknown]))
            .collect();
        let breakers: Vec<Value> = self
            .breakers
            .iter()
            .map(|(server, breaker)| {
                json!({ "server": server, "state": breaker.state.as_str(), "opened": breaker.opened, "why": breaker.why })
            })
            .collect();
        let latency: Vec<Value> = self
            .latency
            .steps()
            .into_iter()
            .map(|(from, below, count)| json!({ "from": from, "below": below, "count": count }))
            .collect();
        json!({
            "v": 1,
            "type": "summary",
            "recipients": counts.total(),
            "accepted": counts.accepted,
            "deferred": counts.deferred,
            "failed": counts.failed,
            "unknown": counts.unknown,
            "skipped": counts.skipped,
            "queued": counts.queued,
            "repeats": self.repeats,
            "seconds": self.seconds(),
            "rate": self.rate(),
            "elapsed_ms": {
                "p50": self.latency.percentile(0.5),
                "p90": self.latency.percentile(0.9),
                "p99": self.latency.percentile(0.99),
                "max": self.latency.longest(),
                "histogram": latency,
            },
            "reasons": self.reasons().0.iter().map(|(reason, count)| json!({
                "state": reason.state, "code": reason.code, "text": reason.text, "count": count
            })).collect::<Vec<Value>>(),
            "domains": pairs(self.domains(), "domain"),
            "codes": pairs(self.codes(), "code"),
            "breakers": breakers,
            "slowed": self.slowed,
            "timeline": {
                "start": self.timeline.start().and_then(time_of).map(|time| time.to_string()),
                "width_ms": self.timeline.width(),
                "states": ["accepted", "deferred", "failed", "unknown"],
                "bins": bins,
            },
        })
    }
}

/// The code of a reply, or where there was none.
fn label(code: Option<u16>, stage: &str) -> String {
    code.map_or_else(|| format!("no reply ({})", clean(stage)), |code| code.to_string())
}

fn now() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

pub(super) fn time_of(milliseconds: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(milliseconds).ok()?).ok()
}

/// `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 row`, `12,345 rows`.
pub(super) fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A share in percent that does not say 100 or 0 unless it is.
pub(super) fn share(count: u64, total: u64) -> String {
    let percent = if total == 0 { 0.0 } else { count as f64 * 100.0 / total as f64 };
    match (count, percent) {
        (0, _) => "0 %".to_owned(),
        _ if count == total => "100 %".to_owned(),
        (_, percent) => format!("{:.1} %", percent.clamp(0.1, 99.9)),
    }
}

/// A time for people: `37 ms`, `1.2 s`, `3 min 5 s`, `2 h 10 min`.
pub(super) fn spoken(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 if milliseconds % 1_000 < 100 => format!("{seconds} s"),
        1_000..60_000 => format!("{seconds}.{} s", milliseconds % 1_000 / 100),
        60_000..3_600_000 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        60_000..3_600_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", grouped(seconds / 3600), seconds / 60 % 60),
    }
}

/// `0.52`, `7.3`, `1,622`.
pub(super) fn rounded(rate: f64) -> String {
    match rate {
        ..1.0 => format!("{rate:.2}"),
        ..10.0 => format!("{rate:.1}"),
        _ => grouped(rate.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn seen(time: u64, state: State) -> Seen<'static> {
        Seen {
            time,
            recipient: "b@y.example",
            state,
            stage: "rcpt",
            code: (state != State::Unknown).then_some(550),
            text: "5.1.1 <b@y.example>\x1b[2J was not found",
            elapsed_ms: 37,
            attempts: Some(1),
        }
    }

    #[test]
    fn the_summary_for_people() {
        let mut tally = Tally::default();
        assert_eq!(tally.lines(), ["0 recipients"]);
        tally.begin_at(1_000);
        for time in 0..1200 {
            tally.add(&seen(1_000 + time, State::Accepted));
        }
        tally.add(&seen(2_500, State::Skipped));
        // An hour between the parts of a run is not worked.
        tally.begin_at(3_600_000);
        tally.add(&seen(3_600_000, State::Failed));
        tally.add(&seen(3_600_500, State::Failed));
        tally.add(&seen(3_600_500, State::Unknown));
        tally.doubted(2);
        tally.repeat(3_600_000, Some(450), "rcpt");
        let server = "x:25".to_owned();
        for (state, why) in [(BreakerState::Open, Some("no\x07 way".to_owned())), (BreakerState::HalfOpen, None)] {
            tally.event(&Event::Breaker { server: server.clone(), state, why });
        }
        tally.event(&Event::Slowed { server, pause: Duration::from_secs(1), why: "421".to_owned() });
        assert_eq!(
            tally.lines(),
            [
                "1,206 recipients in 2 s (602/s)",
                "  accepted  1,200  99.5 %",
                "  failed        2   0.2 %",
                "  unknown       3   0.2 %",
                "  skipped       1   0.1 %",
                "took 37 ms (median), 37 ms (p90), 37 ms (p99), 37 ms at most",
                "deferred and tried again: 1 time (1 × 450)",
                "breaker of x:25: opened 1 time (no\u{FFFD} way), now half-open",
                "slowed down by servers: 1 time",
                "why they were not accepted:",
                "  2 failed 550 5.1.1 … was not found",
                "  2 unknown no outcome: on its way when the run ended or was looked at; no outcome was written",
                "  1 unknown no reply (rcpt): 5.1.1 … was not found",
            ]
        );
        let json = tally.json();
        assert_eq!((json["accepted"].as_u64(), json["recipients"].as_u64()), (Some(1200), Some(1206)));
        assert_eq!(json["domains"], json!([{ "domain": "y.example", "count": 3 }]));
        assert_eq!(json["timeline"]["start"], "1970-01-01T00:00:01Z");
    }

    #[test]
    fn what_was_left_alone_took_no_time() {
        let mut tally = Tally::default();
        tally.begin_at(1_000);
        tally.add(&seen(1_500, State::Accepted));
        tally.add(&seen(2_000, State::Accepted));
        let left = Seen { stage: "final", elapsed_ms: 0, attempts: Some(0), ..seen(2_000, State::Unknown) };
        (0..9).for_each(|_| tally.add(&left));
        assert_eq!((tally.counts().unknown, tally.latency().count(), tally.rate()), (9, 2, Some(2.0)));
        assert_eq!(tally.latency().percentile(0.5), 37);
        // One that was sent and lost has a time.
        tally.add(&Seen { attempts: Some(1), ..left });
        assert_eq!(tally.latency().count(), 3);
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 999, 2_000, 59_999, 60_000, 61_000, 7_800_000].map(spoken),
            ["0 ms", "999 ms", "2 s", "59.9 s", "1 min", "1 min 1 s", "2 h 10 min"]
        );
        assert_eq!([0.517, 7.26, 1621.5].map(rounded), ["0.52", "7.3", "1,622"]);
        assert_eq!(
            [(0, 5), (1, 100_000), (99_999, 100_000), (5, 5)].map(|(n, of)| share(n, of)),
            ["0 %", "0.1 %", "99.9 %", "100 %"]
        );
        assert_eq!([1, 2].map(|n| plural(n, "row")), ["1 row", "2 rows"]);
    }
}
