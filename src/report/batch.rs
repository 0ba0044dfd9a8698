//! How a batch goes on, on standard error: a bar, lines, or JSON objects.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{
    ProgressMode, Tally, is_attended,
    tally::{grouped, rounded, spoken},
};
use crate::{
    ledger::Counts,
    mail::{BreakerState, Event, State, clean},
};

/// Pause between two looks at the bar.
const DRAW: Duration = Duration::from_millis(100);
/// Pause between two JSON objects.
const TELL: Duration = Duration::from_secs(1);
/// A line comes no sooner than this after the last,
const SOONEST: Duration = Duration::from_secs(10);
/// and no later than this.
const LATEST: Duration = Duration::from_secs(60);

/// Shows how a batch goes on.
pub struct BatchProgress {
    mode: ProgressMode,
    bar: Option<ProgressBar>,
    total: Option<u64>,
    counts: Counts,
    /// What is wrong with the server at present: its breaker, or its wish for less.
    remark: Option<String>,
    start: Instant,
    shown: Instant,
    shown_settled: u64,
    /// Smoothed, in recipients per second.
    rate: Option<f64>,
}

impl BatchProgress {
    /// Shows it so, of so many recipients if that is known. A bar on a terminal, nothing elsewhere, if nobody says.
    pub fn new(mode: ProgressMode, total: Option<u64>) -> Self {
        let mode = match mode {
            ProgressMode::Auto if is_attended() => ProgressMode::Bar,
            ProgressMode::Auto => ProgressMode::None,
            mode => mode,
        };
        let now = Instant::now();
        Self {
            mode,
            bar: (mode == ProgressMode::Bar).then(|| new_bar(total)),
            total,
            counts: Counts::default(),
            remark: None,
            start: now,
            shown: now,
            shown_settled: 0,
            rate: None,
        }
    }

    /// So many more recipients have ended so. Called with none, it shows that time passes.
    pub fn settled_many(&mut self, state: State, number: u64) {
        self.counts.add_many(state, number);
        if self.mode == ProgressMode::None {
            return;
        }
        let now = Instant::now();
        let since = now - self.shown;
        let is_due = match self.mode {
            ProgressMode::Bar => since >= DRAW,
            ProgressMode::Json => since >= TELL,
            _ => since >= LATEST || (since >= SOONEST && self.has_another_tenth()),
        };
        if is_due {
            self.show(now);
        }
    }

    fn has_another_tenth(&self) -> bool {
        let tenth = |settled: u64| self.total.and_then(|total| (settled * 10).checked_div(total));
        self.total.is_none() || tenth(self.counts.total()) > tenth(self.shown_settled)
    }

    fn show(&mut self, now: Instant) {
        let settled = self.counts.total();
        let seconds = (now - self.shown).as_secs_f64();
        if seconds > 0.0 {
            let latest = (settled - self.shown_settled) as f64 / seconds;
            // What was five seconds ago has lost two thirds of its weight.
            let weight = (-seconds / 5.0).exp();
            self.rate = Some(self.rate.map_or(latest, |rate| rate * weight + latest * (1.0 - weight)));
        }
        (self.shown, self.shown_settled) = (now, settled);
        match &self.bar {
            Some(bar) => {
                bar.set_position(settled);
                bar.set_message(self.words());
            }
            None if self.mode == ProgressMode::Json => print(&self.json("progress", now - self.start).to_string()),
            None => print(&self.words()),
        }
    }

    /// `1,234 of 20,000, 310/s, 1 min 5 s to go; accepted 1,200, failed 34; breaker of x:25 open`.
    fn words(&self) -> String {
        let settled = self.counts.total();
        let mut words = match self.total {
            Some(total) => format!("{} of {}", grouped(settled), grouped(total)),
            None => grouped(settled),
        };
        if let Some(rate) = self.rate {
            words.push_str(&format!(", {}/s", rounded(rate)));
        }
        if let Some(left) = self.left() {
            words.push_str(&format!(", {} to go", spoken(left.as_secs() * 1000)));
        }
        let counts = State::ALL.iter().filter(|state| self.counts.of(**state) > 0);
        let counts: Vec<String> = counts.map(|state| format!("{state} {}", grouped(self.counts.of(*state)))).collect();
        if !counts.is_empty() {
            words.push_str(&format!("; {}", counts.join(", ")));
        }
        if let Some(remark) = &self.remark {
            words.push_str(&format!("; {remark}"));
        }
        words
    }

    /// How long what is left may take.
    fn left(&self) -> Option<Duration> {
        let left = self.total?.checked_sub(self.counts.total()).filter(|left| *left > 0)?;
        Duration::try_from_secs_f64(left as f64 / self.rate.filter(|rate| *rate > 0.0)?).ok()
    }

    fn json(&self, kind: &str, elapsed: Duration) -> Value {
        let counts = &self.counts;
        json!({
            "type": kind,
            "settled": counts.total(),
            "total": self.total,
            "accepted": counts.accepted,
            "deferred": counts.deferred,
            "failed": counts.failed,
            "unknown": counts.unknown,
            "skipped": counts.skipped,
            "queued": counts.queued,
            "seconds": elapsed.as_secs_f64(),
            "rate": self.rate,
            "seconds_left": self.left().map(|left| left.as_secs()),
        })
    }

    /// A breaker has changed its state, a server asks for less: shown at once, as a line and in the bar.
    pub fn event(&mut self, event: &Event) {
        let Some(line) = event_line(event) else { return };
        match event {
            Event::Breaker { state: BreakerState::Closed, .. } => self.remark = None,
            Event::Breaker { server, state, .. } => {
                self.remark = Some(clean(&format!("breaker of {server} {}", state.as_str())));
            }
            Event::Slowed { server, .. } => self.remark = Some(clean(&format!("slowed down by {server}"))),
            _ => {}
        }
        match self.mode {
            ProgressMode::None => {}
            ProgressMode::Json => print(&event_json(event).to_string()),
            _ => {
                self.print(&line);
                self.show(Instant::now());
            }
        }
    }

    /// Prints a line beside it.
    pub fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| print(line)),
            None => print(line),
        }
    }

    /// Says for the last time how far it has come, and takes the bar away.
    pub fn finish(&mut self) {
        if self.mode == ProgressMode::Lines && self.shown_settled < self.counts.total() {
            self.show(Instant::now());
        }
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Shows what the batch came to: a JSON object among those of the progress, else the lines for people.
    pub fn summary(&self, tally: &Tally) {
        match self.mode {
            ProgressMode::Json => print(&tally.json().to_string()),
            _ => tally.lines().iter().for_each(|line| self.print(line)),
        }
    }
}

/// A breaker's change or a server's wish for less, as a line for people; nothing for other events.
pub fn event_line(event: &Event) -> Option<String> {
    let line = match event {
        Event::Breaker { server, state, why } => {
            let why = why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            match state {
                BreakerState::Open => format!("{server}: the breaker is open, nothing is sent there for now{why}"),
                BreakerState::HalfOpen => format!("{server}: the breaker is half open, one message tries it"),
                BreakerState::Closed => format!("{server}: the breaker is closed, all is sent again"),
            }
        }
        Event::Slowed { server, pause, why } => {
            format!("{server} asks for less: nothing new for {} ({why})", spoken(pause.as_millis() as u64))
        }
        _ => return None,
    };
    Some(clean(&line))
}

fn event_json(event: &Event) -> Value {
    match event {
        Event::Breaker { server, state, why } => {
            json!({ "type": "breaker", "server": server, "state": state.as_str(), "why": why })
        }
        Event::Slowed { server, pause, why } => {
            json!({ "type": "slowed", "server": server, "pause": pause.as_secs_f64(), "why": why })
        }
        _ => Value::Null,
    }
}

fn print(line: &str) {
    // Who looks at progress may go; the mail goes on.
    let _ = writeln!(io::stderr(), "{line}");
}

fn new_bar(total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
    let template = if total.is_some() { "{bar:20} {wide_msg}" } else { "{spinner} {wide_msg}" };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_people() {
        let mut progress = BatchProgress::new(ProgressMode::None, Some(20_000));
        assert_eq!(progress.words(), "0 of 20,000");
        progress.settled_many(State::Accepted, 1200);
        progress.settled_many(State::Failed, 1);
        progress.rate = Some(310.2);
        let server = "x\x07:25".to_owned();
        let opened =
            Event::Breaker { server: server.clone(), state: BreakerState::Open, why: Some("no way".to_owned()) };
        progress.event(&opened);
        assert_eq!(
            progress.words(),
            "1,201 of 20,000, 310/s, 1 min to go; accepted 1,200, failed 1; breaker of x\u{FFFD}:25 open"
        );
        assert_eq!(
            event_line(&opened).as_deref(),
            Some("x\u{FFFD}:25: the breaker is open, nothing is sent there for now (no way)")
        );
        progress.event(&Event::Slowed {
            server: server.clone(),
            pause: Duration::from_millis(1500),
            why: "421".to_owned(),
        });
        assert!(progress.words().ends_with("; slowed down by x\u{FFFD}:25"));
        progress.event(&Event::Breaker { server, state: BreakerState::Closed, why: None });
        assert!(progress.words().ends_with("failed 1"), "{}", progress.words());
        assert_eq!(event_line(&Event::Note(String::new())), None);
        let json = progress.json("progress", Duration::from_secs(2));
        assert_eq!(
            (json["settled"].as_u64(), json["total"].as_u64(), json["failed"].as_u64()),
            (Some(1201), Some(20_000), Some(1))
        );
        assert_eq!(event_json(&opened)["state"], "open");
    }

    /// Ten seconds and another tenth, or a minute.
    #[test]
    fn lines_are_rare() {
        let mut progress = BatchProgress::new(ProgressMode::Lines, Some(100));
        let due = |progress: &mut BatchProgress, ago: u64, settled: u64| {
            progress.shown = Instant::now().checked_sub(Duration::from_secs(ago)).unwrap();
            progress.shown_settled = 0;
            progress.counts = Counts { accepted: settled - 1, ..Counts::default() };
            progress.settled_many(State::Accepted, 1);
            progress.shown_settled > 0
        };
        assert!(!due(&mut progress, 9, 50));
        assert!(!due(&mut progress, 11, 9));
        assert!(due(&mut progress, 11, 10));
        assert!(due(&mut progress, 61, 1));
        progress.total = None;
        assert!(due(&mut progress, 11, 1));
        progress.finish();
    }
}
