//! `{{date value format="long" tz="Europe/Berlin" locale="de"}}`.

use std::fmt::Write;

use jiff::{
    Timestamp, Zoned,
    civil::DateTime,
    fmt::temporal::DateTimeParser,
    tz::{Offset, TimeZone},
};
use serde_json::Value;

use super::{Call, is_blank, locale::Locale};

/// So many digits are seconds since 1970, and no date without hyphens.
const LEAST_EPOCH: usize = 9;

/// A date in words: ISO 8601 date or time, or seconds since 1970 in; out a style (short, medium, long, full) or a
/// format as of strftime. What has an offset, or is seconds, is shown in the time zone; else it is local already.
pub(super) fn date(call: &Call<'_>) -> Result<Value, String> {
    let value = call.value(0)?;
    if is_blank(value) {
        return Ok(Value::String(String::new()));
    }
    let locale = call.locale()?;
    let format = call.hash_text("format")?.unwrap_or("medium");
    let zone = match call.hash_text("tz")? {
        Some(name) => Some(TimeZone::get(name).map_err(|_| format!("'{name}' is no time zone"))?),
        None => None,
    };
    let time = time(value, zone)?;
    let format = match locale.date_format(format) {
        Some(format) => format,
        None if format.contains('%') => format,
        None => {
            return Err(format!("format=\"{format}\" is neither short, medium, long, full nor a format like %d.%m.%Y"));
        }
    };
    Ok(Value::String(formatted(&time, format, locale)?))
}

fn time(value: &Value, zone: Option<TimeZone>) -> Result<Zoned, String> {
    let unknown = || {
        format!(
            "'{}' is no date: 2026-11-23, 2026-11-23T10:00:00+01:00 or seconds since 1970 are wanted",
            super::text_of(value).unwrap_or_default()
        )
    };
    let in_zone = |time: Timestamp, own: TimeZone| time.to_zoned(zone.clone().unwrap_or(own));
    let seconds = |seconds: i64| {
        let time = Timestamp::from_second(seconds).map_err(|_| unknown())?;
        Ok(in_zone(time, TimeZone::UTC))
    };
    let text = match value {
        Value::String(text) => text.trim(),
        Value::Number(number) => return seconds(number.as_f64().ok_or_else(unknown)? as i64),
        _ => return Err(unknown()),
    };
    let digits = text.strip_prefix('@').or_else(|| (text.len() >= LEAST_EPOCH).then_some(text));
    if let Some(count) = digits.and_then(|digits| digits.parse().ok()) {
        return seconds(count);
    }
    let parser = DateTimeParser::new();
    if let Ok(pieces) = parser.parse_pieces(text)
        && let Some(offset) = pieces.to_numeric_offset().or_else(|| text.ends_with(['z', 'Z']).then_some(Offset::UTC))
    {
        let civil = pieces.date().to_datetime(pieces.time().unwrap_or_default());
        let time = offset.to_timestamp(civil).map_err(|_| unknown())?;
        return Ok(in_zone(time, offset.to_time_zone()));
    }
    let civil: DateTime = parser.parse_datetime(text).map_err(|_| unknown())?;
    civil.to_zoned(zone.unwrap_or(TimeZone::UTC)).map_err(|_| unknown())
}

fn formatted(time: &Zoned, format: &str, locale: Locale) -> Result<String, String> {
    let words = locale.words();
    let has_day = ["%d", "%e", "%-d", "%-e"].iter().any(|day| format.contains(day));
    let mut text = String::with_capacity(format.len() + 16);
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut directive = rest.next();
        let is_padded = directive != Some('-');
        if !is_padded {
            directive = rest.next();
        }
        let month = usize::from(time.month().unsigned_abs()) - 1;
        let day = usize::from(time.weekday().to_sunday_zero_offset().unsigned_abs());
        let half = usize::from(time.hour() >= 12);
        let number = match directive {
            Some('Y') => (i64::from(time.year()), 4),
            Some('y') => (i64::from(time.year().rem_euclid(100)), 2),
            Some('m') => (i64::from(time.month()), 2),
            Some('d') => (i64::from(time.day()), 2),
            Some('e') => (i64::from(time.day()), 1),
            Some('H') => (i64::from(time.hour()), 2),
            Some('I') => (i64::from((time.hour() + 11) % 12 + 1), 2),
            Some('M') => (i64::from(time.minute()), 2),
            Some('S') => (i64::from(time.second()), 2),
            Some('j') => (i64::from(time.day_of_year()), 3),
            Some('V') => (i64::from(time.date().iso_week_date().week()), 2),
            Some('s') => (time.timestamp().as_second(), 1),
            directive => {
                match directive {
                    Some('B') if has_day => text.push_str(words.months[month]),
                    Some('B') => text.push_str(locale.lone_months()[month]),
                    Some('b') => text.push_str(words.short_months[month]),
                    Some('A') => text.push_str(words.days[day]),
                    Some('a') => text.push_str(words.short_days[day]),
                    Some('p') => text.push_str(words.halves[half]),
                    Some('%') => text.push('%'),
                    // Writing into a String cannot fail.
                    Some('Z') => drop(write!(text, "{}", time.strftime("%Z"))),
                    Some('z') => drop(write!(text, "{}", time.strftime("%z"))),
                    _ => {
                        let known = "%Y %y %m %d %e %B %b %A %a %H %I %M %S %p %j %V %s %Z %z %%";
                        return Err(format!("format=\"{format}\" has an unknown part; known are {known}"));
                    }
                }
                continue;
            }
        };
        let width = if is_padded { number.1 } else { 1 };
        let _ = write!(text, "{:0width$}", number.0);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use crate::template::{Data, Kind, Phrase};
    use serde_json::{Value, json};

    fn render(text: &str, data: Value) -> Result<String, String> {
        let phrase = Phrase::compile("t", text, Kind::Text).map_err(|error| error.to_string())?;
        phrase.render(&Data::new(data)).map_err(|error| error.to_string())
    }

    #[test]
    fn styles_in_every_language() {
        for (locale, expected) in [
            ("en", "11/3/26 | Nov 3, 2026 | November 3, 2026 | Tuesday, November 3, 2026"),
            ("en-GB", "03/11/2026 | 3 Nov 2026 | 3 November 2026 | Tuesday 3 November 2026"),
            ("de", "03.11.26 | 03.11.2026 | 3. November 2026 | Dienstag, 3. November 2026"),
            ("fr", "03/11/2026 | 3 nov. 2026 | 3 novembre 2026 | mardi 3 novembre 2026"),
            ("es", "3/11/26 | 3 nov 2026 | 3 de noviembre de 2026 | martes, 3 de noviembre de 2026"),
            ("it", "03/11/26 | 3 nov 2026 | 3 novembre 2026 | martedì 3 novembre 2026"),
            ("nl", "03-11-2026 | 3 nov 2026 | 3 november 2026 | dinsdag 3 november 2026"),
            ("pt", "03/11/2026 | 3 de nov. de 2026 | 3 de novembro de 2026 | terça-feira, 3 de novembro de 2026"),
            ("pl", "03.11.2026 | 3 lis 2026 | 3 listopada 2026 | wtorek, 3 listopada 2026"),
            ("zh", "2026/11/3 | 2026年11月3日 | 2026年11月3日 | 2026年11月3日星期二"),
            ("ja", "2026/11/03 | 2026/11/03 | 2026年11月3日 | 2026年11月3日火曜日"),
        ] {
            let text =
                "{{date d format=\"short\"}} | {{date d}} | {{date d format=\"long\"}} | {{date d format=\"full\"}}";
            assert_eq!(render(text, json!({"d": "2026-11-03", "locale": locale})).as_deref(), Ok(expected), "{locale}");
        }
    }

    #[test]
    fn formats_and_zones() {
        let data = json!({
            "day": "2026-07-23", "civil": "2026-07-23 09:05:00", "offset": "2026-07-23T09:05:00+02:00",
            "utc": "2026-07-23T07:05:00Z", "epoch": 1_784_790_300, "text": "1784790300", "at": "@1784790300", "none": ""
        });
        let full = "%Y-%m-%d %H:%M";
        for (text, expected) in [
            ("{{date day format=\"%A %-d. %B\" locale=\"de\"}}", "Donnerstag 23. Juli"),
            ("{{date day format=\"%B %Y\" locale=\"pl\"}}", "lipiec 2026"),
            ("{{date civil format=\"%I:%M %p, %j, %V, 100%%\"}}", "09:05 AM, 204, 30, 100%"),
            ("{{date offset format=F}}", "2026-07-23 09:05"),
            ("{{date utc format=F}}", "2026-07-23 07:05"),
            ("{{date utc format=F tz=\"Europe/Berlin\"}}", "2026-07-23 09:05"),
            ("{{date offset format=F tz=\"America/New_York\"}}", "2026-07-23 03:05"),
            ("{{date civil format=F tz=\"America/New_York\"}}", "2026-07-23 09:05"),
            ("{{date utc format=\"%H:%M %Z %z\" tz=\"Europe/Berlin\"}}", "09:05 CEST +0200"),
            ("{{date epoch format=F}}", "2026-07-23 07:05"),
            ("{{date text format=F}}", "2026-07-23 07:05"),
            ("{{date at format=F}}", "2026-07-23 07:05"),
            ("[{{date none}}]", "[]"),
            ("{{#if (date none)}}x{{else}}y{{/if}}", "y"),
        ] {
            let text = text.replace("format=F", &format!("format=\"{full}\""));
            assert_eq!(render(&text, data.clone()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_told() {
        let data = json!({"d": "31.2.2026", "l": [1], "ok": "2026-01-01", "n": 1e30});
        for (text, expected) in [
            ("a\n{{date d}}", "t:2:1: date: '31.2.2026' is no date: "),
            ("{{date l}}", "t:1:1: date: '' is no date: "),
            ("{{date n}}", " is no date: "),
            ("{{date ok format=\"lang\"}}", "neither short, medium, long, full"),
            ("{{date ok format=\"%Q\"}}", "unknown part"),
            ("{{date ok format=\"%\"}}", "unknown part"),
            ("{{date ok tz=\"../../etc/passwd\"}}", "is no time zone"),
            ("{{date ok locale=\"xx\"}}", "is no locale"),
            ("{{date ok format=3}}", "format= wants a text"),
        ] {
            let error = render(text, data.clone()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        for text in ["{{date}}", "{{date 1 2}}", "{{date ok fromat=\"x\"}}"] {
            let error = render(text, data.clone());
            assert!(error.is_err(), "{text}");
        }
    }
}
