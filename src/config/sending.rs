//! How much goes to a server at once: sessions, rate, circuit breaker.

use std::{fmt, time::Duration};

/// Sessions to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Sessions at once.
    pub max_connections: usize,
    /// Messages after which a session is replaced.
    pub max_messages_per_connection: usize,
    /// A session without work for so long ends.
    pub idle_timeout: Duration,
    /// A message that was taken in hand waits no longer for its place.
    pub acquire_timeout: Duration,
    /// Messages under way in one session: so many may be in doubt when it dies.
    pub pipeline_depth: usize,
}

/// When a server is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row after which it is.
    pub failure_threshold: u32,
    /// How long.
    pub cool_down: Duration,
}

/// How fast recipients may follow each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RatePolicy {
    /// All of them; without limit, if none is named.
    pub limit: Option<Rate>,
    /// Recipients at once after a pause, instead of what one second allows.
    pub burst: Option<u32>,
    /// Those of each domain.
    pub per_domain: Option<Rate>,
}

/// So many recipients in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Recipients, at least 1.
    pub count: u32,
    /// In this time.
    pub per: Duration,
}

impl Rate {
    const UNITS: [(&'static str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

    /// Parses `10/s`, `30/m`, `500/h`, `2000/d`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wanted = || "a rate is wanted, like \"10/s\", \"30/m\", \"500/h\" or \"2000/d\"".to_owned();
        let (count, unit) = text.split_once('/').ok_or_else(wanted)?;
        let (count, unit) = (count.trim(), unit.trim());
        let (_, seconds) = Self::UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wanted)?;
        let is_plain = count.bytes().all(|b| b.is_ascii_digit());
        match count.parse() {
            Ok(count @ 1..) if is_plain => Ok(Self { count, per: Duration::from_secs(*seconds) }),
            _ => Err(wanted()),
        }
    }

    /// Recipients per second.
    pub fn per_second(self) -> f64 {
        f64::from(self.count) / self.per.as_secs_f64()
    }

    /// Recipients at once where nobody says how many: what one second allows, and at least one.
    pub fn usual_burst(self) -> u32 {
        // Casts saturate.
        (self.per_second() as u32).max(1)
    }
}

impl fmt::Display for Rate {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Self::UNITS.iter().find(|(_, seconds)| *seconds == self.per.as_secs()).map_or("s", |(name, _)| name);
        write!(f, "{}/{unit}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates() {
        for (text, per_second, burst) in
            [("10/s", 10.0, 10), ("30/m", 0.5, 1), ("7200/h", 2.0, 2), ("2000/d", 2_000.0 / 86_400.0, 1)]
        {
            let rate = Rate::parse(text).unwrap();
            assert_eq!((rate.per_second(), rate.usual_burst(), rate.to_string()), (per_second, burst, text.to_owned()));
        }
        for text in ["", "10", "10/", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "10/w", "10/s/s", "99999999999/s"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_rate_or_an_error(text in "\\PC{0,12}") {
            if let Ok(rate) = Rate::parse(&text) {
                prop_assert!(rate.per_second() > 0.0 && rate.usual_burst() > 0);
            }
        }
    }
}
