//! Moments as people type them.

use jiff::{ToSpan, Zoned, civil, tz::TimeZone};

const WANTED: &str = "a moment is wanted: 2026-12-01T09:00:00+01:00, '2026-12-01 09:00' (local time), or 09:00";

/// Reads a moment: as in RFC 3339, a local day and time, or a local time, which is the next one that comes.
///
/// # Errors
/// What is wanted instead.
pub(super) fn parse(text: &str, now: &Zoned) -> Result<jiff::Timestamp, String> {
    let text = text.trim();
    let wanted = || WANTED.to_owned();
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(moment);
    }
    // `0900` and `09` are times for jiff, and anything for people.
    if !text.contains(':') {
        return Err(wanted());
    }
    let zone: TimeZone = now.time_zone().clone();
    let at = |day: civil::DateTime| day.to_zoned(zone.clone()).map_err(|_| wanted());
    if let Ok(day) = text.parse::<civil::DateTime>() {
        return at(day).map(|moment| moment.timestamp());
    }
    let hour = if text.find(':') == Some(1) { "0" } else { "" };
    let time = format!("{hour}{text}").parse::<civil::Time>().map_err(|_| wanted())?;
    let today = at(now.date().to_datetime(time))?;
    if today > *now {
        return Ok(today.timestamp());
    }
    let tomorrow = now.date().checked_add(1.day()).map_err(|_| wanted())?;
    at(tomorrow.to_datetime(time)).map(|moment| moment.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Zoned {
        "2026-03-28T12:30:00+01:00[Europe/Berlin]".parse().unwrap()
    }

    #[test]
    fn moments() {
        for (text, wanted) in [
            ("2026-12-01T09:00:00+01:00", "2026-12-01T08:00:00Z"),
            ("2026-12-01T09:00:00Z", "2026-12-01T09:00:00Z"),
            ("2026-12-01 09:00", "2026-12-01T08:00:00Z"),
            ("2026-07-01 09:00:30", "2026-07-01T07:00:30Z"),
            ("12:31", "2026-03-28T11:31:00Z"),
            // The next day has summer time.
            ("12:30", "2026-03-29T10:30:00Z"),
            ("9:00", "2026-03-29T07:00:00Z"),
            // This hour is left out then: the one behind it is meant.
            ("2026-03-29 02:30", "2026-03-29T01:30:00Z"),
        ] {
            let found = parse(text, &now()).map(|moment| moment.to_string());
            assert_eq!(found.as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment() {
        for text in ["", "tomorrow", "0900", "09", "25:00", "2026-13-01 09:00", "2026-12-01", "12:30 pm", "-1:00"] {
            assert_eq!(parse(text, &now()), Err(WANTED.to_owned()), "{text}");
        }
    }
}
