//! What makes two messages of the same draft differ: the time, and random marks.

use std::{env, fs};

use jiff::{Timestamp, Zoned, fmt::rfc2822, tz::TimeZone};
use ring::rand::{SecureRandom, SystemRandom};

/// Time and randomness of one message.
#[derive(Debug)]
pub struct Stamp {
    now: Zoned,
    /// The time as RFC 5322 writes it.
    date: String,
    marks: Marks,
}

/// Octets of a mark.
const MARK: usize = 20;

#[derive(Debug)]
enum Marks {
    /// Octets of the system that are not used up yet, from many marks' worth that are fetched at once.
    System(SystemRandom, Vec<u8>),
    Seeded(u64),
}

impl Stamp {
    /// The present, in the local time zone, and marks that nobody can guess.
    pub fn now() -> Self {
        let random = Marks::System(SystemRandom::new(), Vec::new());
        Self::at(Timestamp::now().to_zoned(local_zone()), random)
    }

    /// A given second since 1970 in UTC, and marks that follow from `seed`: the same message every time.
    pub fn fixed(seconds: i64, seed: u64) -> Self {
        let now = Timestamp::from_second(seconds).unwrap_or_default().to_zoned(TimeZone::UTC);
        Self::at(now, Marks::Seeded(seed))
    }

    fn at(now: Zoned, marks: Marks) -> Self {
        Self { date: format_date(&now), now, marks }
    }

    /// Takes the present time, unless the time is given.
    pub fn renew(&mut self) {
        let now = Timestamp::now();
        if matches!(self.marks, Marks::System(..)) && now.as_second() != self.seconds() {
            self.now = now.to_zoned(self.now.time_zone().clone());
            self.date = format_date(&self.now);
        }
    }

    /// The time as RFC 5322 writes it.
    pub fn date(&self) -> &str {
        &self.date
    }

    /// The same second as a number, for names.
    pub fn seconds(&self) -> i64 {
        self.now.timestamp().as_second()
    }

    /// Returns a mark of 20 characters from 0-9 and a-v, 100 bits of randomness.
    pub fn mark(&mut self) -> String {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let mut bytes = [0_u8; MARK];
        match &mut self.marks {
            Marks::System(random, left) => {
                if left.is_empty() {
                    left.resize(MARK * 16, 0);
                    // A system without randomness cannot do TLS either; the time still tells messages apart.
                    if random.fill(left).is_err() {
                        left.truncate(MARK);
                        left[..16].copy_from_slice(&self.now.timestamp().as_nanosecond().to_le_bytes());
                    }
                }
                bytes.copy_from_slice(&left[left.len() - MARK..]);
                left.truncate(left.len() - MARK);
            }
            Marks::Seeded(state) => bytes.iter_mut().for_each(|byte| *byte = (splitmix64(state) >> 56) as u8),
        }
        bytes.iter().map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect()
    }
}

/// Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The local time zone. Only its offset is of interest, for which the system's own file suffices; to know the zone's
/// name, jiff would walk through the folders of all zones.
pub(crate) fn local_zone() -> TimeZone {
    let own = || TimeZone::tzif("local", &fs::read("/etc/localtime").ok()?).ok();
    if env::var_os("TZ").is_some() { TimeZone::system() } else { own().unwrap_or_else(TimeZone::system) }
}

/// A second since 1970 as RFC 5322 writes it, in UTC.
pub fn date_of(seconds: i64) -> String {
    format_date(&Timestamp::from_second(seconds).unwrap_or_default().to_zoned(TimeZone::UTC))
}

fn format_date(time: &Zoned) -> String {
    // RFC 5322 has no year before 1900, jiff none before 0: neither has mail.
    rfc2822::to_string(time).unwrap_or_else(|_| "Thu, 1 Jan 1970 00:00:00 +0000".to_owned())
}

/// Reads a date as RFC 5322, RFC 3339 (a space for the T is fine, local time without an offset) or `@SECONDS`;
/// returns it as RFC 5322 writes it.
///
/// # Errors
/// With what is wanted.
pub fn parse_date(text: &str) -> Result<String, String> {
    let text = text.trim();
    let seconds = text.strip_prefix('@').map(str::parse::<i64>);
    let date = match seconds {
        Some(seconds) => {
            seconds.ok().and_then(|s| Timestamp::from_second(s).ok()).map(|t| t.to_zoned(TimeZone::system()))
        }
        None => rfc2822::parse(text)
            .ok()
            .or_else(|| jiff::fmt::strtime::parse("%Y-%m-%dT%H:%M:%S%.f%:z", text).ok()?.to_zoned().ok())
            .or_else(|| text.parse::<Timestamp>().ok().map(|time| time.to_zoned(TimeZone::UTC)))
            .or_else(|| text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(TimeZone::system()).ok()),
    };
    match date {
        Some(date) if (1900..=9999).contains(&date.year()) => Ok(format_date(&date)),
        _ => Err("a date is wanted, like 'Mon, 23 Nov 2026 10:00:00 +0100', 2026-11-23T10:00:00+01:00 or @1795000000"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_and_out() {
        for (text, date) in [
            ("Mon, 23 Nov 2026 10:00:00 +0100", "Mon, 23 Nov 2026 10:00:00 +0100"),
            ("23 Nov 2026 10:00 GMT", "Mon, 23 Nov 2026 10:00:00 +0000"),
            ("2026-11-23T10:00:00+01:00", "Mon, 23 Nov 2026 10:00:00 +0100"),
            ("2026-11-23T10:00:00Z", "Mon, 23 Nov 2026 10:00:00 +0000"),
        ] {
            assert_eq!(parse_date(text).as_deref(), Ok(date), "{text}");
        }
        assert!(parse_date("@1795000000").unwrap().contains(" Nov 2026 "));
        assert!(parse_date("2026-11-23 10:00").unwrap().starts_with("Mon, 23 Nov 2026 10:00:00 "));
        for text in
            ["", "tomorrow", "@", "@99999999999999", "2026-13-01T00:00:00Z", "Mon, 23 Nov 2026 10:00:00 +0100\r\nX: y"]
        {
            assert!(parse_date(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_local_zone_is_the_system_s() {
        for text in ["2026-01-23T12:00:00Z", "2026-07-23T12:00:00Z"] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(time.to_zoned(local_zone()).offset(), time.to_zoned(TimeZone::system()).offset());
        }
    }

    #[test]
    fn a_seed_repeats_and_nothing_else_does() {
        let marks = |mut stamp: Stamp| [stamp.mark(), stamp.mark()];
        assert_eq!(marks(Stamp::fixed(0, 1)), marks(Stamp::fixed(0, 1)));
        assert_ne!(marks(Stamp::fixed(0, 1)), marks(Stamp::fixed(0, 2)));
        let [first, second] = marks(Stamp::now());
        assert!(first != second && first.len() == 20);
        assert_eq!(Stamp::fixed(0, 1).date(), "Thu, 1 Jan 1970 00:00:00 +0000");
    }
}
