//! What is handed in for delivery, and the wishes that go with it.

use std::{fmt, str::FromStr, time::Duration};

use super::{Content, Envelope};

/// ENVIDs over this are refused by servers (RFC 3461, 4.4).
const MAX_ENVID: usize = 100;

/// One message with its envelope, ready to be sent.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The feed's own number of it; steps name it by this.
    pub id: u64,
    /// The Message-ID with its angle brackets.
    pub message_id: String,
    /// Reverse path and recipients. Recipients are distinct.
    pub envelope: Envelope,
    /// The message.
    pub content: Content,
    /// Delivery reports wished for.
    pub dsn: DsnRequest,
    /// It was held back for its domain's rate already, and its turn is when it is handed in again.
    pub has_turn: bool,
}

/// Delivery status notifications wished for (RFC 3461).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DsnRequest {
    /// When to report; the server's own habit if absent.
    pub notify: Option<DsnNotify>,
    /// How much of the message to return; the server's own habit if absent.
    pub ret: Option<DsnReturn>,
    /// Letters, digits, dot and hyphen only, at most 100: servers hand other characters back in different forms.
    pub envid: Option<String>,
}

impl DsnRequest {
    /// Whether anything is wished for.
    pub fn is_wanted(&self) -> bool {
        self.notify.is_some() || self.ret.is_some() || self.envid.is_some()
    }

    /// Whether the ENVID is one that comes back as it was.
    ///
    /// # Errors
    /// What is wanted.
    pub fn check_envid(&self) -> Result<(), String> {
        let is_kept = |envid: &String| {
            (1..=MAX_ENVID).contains(&envid.len())
                && envid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        };
        if self.envid.as_ref().is_none_or(is_kept) {
            return Ok(());
        }
        Err(format!("up to {MAX_ENVID} letters, digits, dots and hyphens are wanted; servers change the rest"))
    }
}

/// Events to report; none of them means NEVER (RFC 3461, 4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DsnNotify {
    /// Delivered.
    pub success: bool,
    /// Not to be delivered.
    pub failure: bool,
    /// Late.
    pub delay: bool,
}

impl FromStr for DsnNotify {
    type Err = String;

    /// `success,failure,delay` in any choice, or `never`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut notify = DsnNotify::default();
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        if words == ["never"] {
            return Ok(notify);
        }
        for word in words {
            match word {
                "success" => notify.success = true,
                "failure" => notify.failure = true,
                "delay" => notify.delay = true,
                "never" => return Err("never cannot stand beside the others".to_owned()),
                _ => return Err("success, failure, delay (a list), or never is wanted".to_owned()),
            }
        }
        Ok(notify)
    }
}

impl fmt::Display for DsnNotify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let words: Vec<&str> = words.into_iter().filter(|(wanted, _)| *wanted).map(|(_, word)| word).collect();
        f.write_str(if words.is_empty() { "NEVER".to_owned() } else { words.join(",") }.as_str())
    }
}

/// How much of the message a report returns (RFC 3461, 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DsnReturn {
    /// The whole message.
    Full,
    /// Its header fields.
    Hdrs,
}

impl DsnReturn {
    /// What was displayed.
    pub fn from_word(text: &str) -> Option<Self> {
        [DsnReturn::Full, DsnReturn::Hdrs].into_iter().find(|ret| ret.to_string() == text)
    }
}

impl fmt::Display for DsnReturn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DsnReturn::Full => "FULL",
            DsnReturn::Hdrs => "HDRS",
        })
    }
}

/// When to try again what was deferred.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; no limit, if none is named.
    pub max_attempts: Option<u32>,
    /// No attempt begins later than this after the first.
    pub max_time: Duration,
    /// Pause before the second attempt.
    pub initial_delay: Duration,
    /// Factor from pause to pause, at least 1.
    pub multiplier: f64,
    /// Longest pause.
    pub max_delay: Duration,
    /// Whether a pause is shortened at random, to half at most.
    pub jitter: bool,
}

impl RetryPolicy {
    /// Whether another attempt may follow attempt number `attempt` (from 1), as far as their number goes.
    pub fn allows_after(&self, attempt: u32) -> bool {
        self.max_attempts.is_none_or(|max| attempt < max)
    }

    /// Returns the pause after attempt number `attempt` (from 1), or `None` if that was the last.
    /// `random` is from 0 to 1.
    pub fn pause_after(&self, attempt: u32, random: f64) -> Option<Duration> {
        if !self.allows_after(attempt) {
            return None;
        }
        let factor = self.multiplier.max(1.0).powi(attempt.saturating_sub(1).min(1_000) as i32);
        let seconds = (self.initial_delay.as_secs_f64() * factor).min(self.max_delay.as_secs_f64());
        let share = if self.jitter { 1.0 - random.clamp(0.0, 1.0) / 2.0 } else { 1.0 };
        Some(Duration::from_secs_f64(seconds * share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_words() {
        assert_eq!(DsnNotify::default().to_string(), "NEVER");
        assert_eq!(DsnNotify { success: true, failure: false, delay: true }.to_string(), "SUCCESS,DELAY");
        let read = |text: &str| text.parse::<DsnNotify>().map(|notify| notify.to_string());
        assert_eq!(read("never").as_deref(), Ok("NEVER"));
        assert_eq!(read("delay, success").as_deref(), Ok("SUCCESS,DELAY"));
        for bad in ["", "never,success", "always", "success;delay", "success\r\nRSET"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn pauses_grow_to_the_longest_and_end() {
        let policy = RetryPolicy {
            max_attempts: Some(5),
            max_time: Duration::MAX,
            initial_delay: Duration::from_secs(2),
            multiplier: 3.0,
            max_delay: Duration::from_secs(20),
            jitter: false,
        };
        let pauses: Vec<u64> = (1..9).map_while(|n| policy.pause_after(n, 0.5)).map(|d| d.as_secs()).collect();
        assert_eq!(pauses, [2, 6, 18, 20]);
        let jittered = RetryPolicy { jitter: true, ..policy };
        assert_eq!(jittered.pause_after(1, 1.0), Some(Duration::from_secs(1)));
        assert_eq!(jittered.pause_after(1, 0.0), Some(Duration::from_secs(2)));
        let endless = RetryPolicy { max_attempts: None, ..policy };
        assert_eq!(endless.pause_after(u32::MAX, 0.0), Some(Duration::from_secs(20)));
    }
}
