//! Moments as people type them.

use jiff::{
    Timestamp, ToSpan, Zoned,
    civil::{self, DateTime},
    fmt::temporal::Pieces,
    tz::{AmbiguousOffset, TimeZone},
};

const WANTED: &str = "a moment is wanted: 2026-12-01T09:00:00+01:00, '2026-12-01 09:00' (local time), or 09:00";
/// No zone is farther from UTC, in seconds.
const WIDEST: i32 = 14 * 3_600;

/// Reads a moment: as in RFC 3339, a local day and time, or a local time, which is the next one that comes.
///
/// # Errors
/// What is wanted instead.
pub(super) fn parse(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let text = text.trim();
    let wanted = || WANTED.to_owned();
    // `0900` and `09` are times for jiff, and anything for people.
    if !text.contains(':') {
        return Err(wanted());
    }
    let zone = now.time_zone();
    if let Ok(pieces) = Pieces::parse(text) {
        let (Some(time), None) = (pieces.time(), pieces.time_zone_annotation()) else { return Err(wanted()) };
        let day = pieces.date().to_datetime(time);
        return match pieces.to_numeric_offset() {
            Some(offset) if offset.seconds().abs() > WIDEST => Err(format!("there is no zone of {offset}; {WANTED}")),
            Some(offset) => offset.to_timestamp(day).map_err(|_| wanted()),
            None => here(day, zone),
        };
    }
    let hour = if text.find(':') == Some(1) { "0" } else { "" };
    let time = format!("{hour}{text}").parse::<civil::Time>().map_err(|_| wanted())?;
    let today = here(now.date().to_datetime(time), zone);
    if today.as_ref().map_or(time > now.time(), |today| *today > now.timestamp()) {
        return today;
    }
    let tomorrow = now.date().checked_add(1.day()).map_err(|_| wanted())?;
    here(tomorrow.to_datetime(time), zone)
}

/// A local day and time; the first, where clocks that are set back show it twice.
///
/// # Errors
/// Where clocks that are put forward leave it out.
fn here(day: DateTime, zone: &TimeZone) -> Result<Timestamp, String> {
    let moment = zone.to_ambiguous_timestamp(day);
    if matches!(moment.offset(), AmbiguousOffset::Gap { .. }) {
        return Err(format!("clocks are put forward then: there is no {} on {}", day.time(), day.date()));
    }
    moment.compatible().map_err(|_| WANTED.to_owned())
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
            ("2026-12-01T09:00:00+14:00", "2026-11-30T19:00:00Z"),
            // This hour comes twice then: the first is meant.
            ("2026-10-25 02:30", "2026-10-25T00:30:00Z"),
        ] {
            let found = parse(text, &now()).map(|moment| moment.to_string());
            assert_eq!(found.as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_clocks_leave_out() {
        for text in ["2026-03-29 02:30", "02:30", "2:30"] {
            let what = "clocks are put forward then: there is no 02:30:00 on 2026-03-29".to_owned();
            assert_eq!(parse(text, &now()), Err(what), "{text}");
        }
        assert_eq!(parse("2026-03-29 03:00", &now()).unwrap().to_string(), "2026-03-29T01:00:00Z");
        let what = parse("2026-12-01T09:00:00+25:00", &now()).unwrap_err();
        assert_eq!(what, format!("there is no zone of +25; {WANTED}"));
    }

    #[test]
    fn what_is_no_moment() {
        for text in [
            "",
            "2026-12-01T09:00:00[Asia/Tokyo]",
            "2026-12-01T09:00:00+09:00[Asia/Tokyo]",
            "tomorrow",
            "0900",
            "09",
            "25:00",
            "2026-13-01 09:00",
            "2026-12-01",
            "12:30 pm",
            "-1:00",
        ] {
            assert_eq!(parse(text, &now()), Err(WANTED.to_owned()), "{text}");
        }
    }
}
