//! Times as Jira writes them: `2026-11-21T09:15:03.123+0000`, an offset without colon.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

fn moment(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// A field's form.
pub(crate) fn iso(ms: i64) -> String {
    moment(ms).format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

/// A sprint's form: RFC 3339.
pub(crate) fn zulu(ms: i64) -> String {
    moment(ms).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// `X-RateLimit-Reset`: ISO 8601 without seconds, rounded up to the minute.
pub(crate) fn to_the_minute(ms: i64) -> String {
    moment(ms + 59_999).format("%Y-%m-%dT%H:%MZ").to_string()
}

/// Either form of a time with offset, in milliseconds since 1970.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let moment = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z")
        .or_else(|_| DateTime::parse_from_rfc3339(text))
        .ok()?;
    Some(moment.timestamp_millis())
}

/// A literal of JQL, in a zone that is so many minutes ahead of UTC: `yyyy/MM/dd HH:mm`, `yyyy-MM-dd
/// HH:mm`, the date alone, or a period such as `-2h30m` before or after now.
pub(crate) fn jql_literal(text: &str, now: i64, ahead_minutes: i64) -> Option<i64> {
    let local = |at: NaiveDateTime| at.and_utc().timestamp_millis() - ahead_minutes * 60_000;
    for format in ["%Y/%m/%d %H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(at) = NaiveDateTime::parse_from_str(text, format) {
            return Some(local(at));
        }
    }
    for format in ["%Y/%m/%d", "%Y-%m-%d"] {
        if let Ok(day) = NaiveDate::parse_from_str(text, format) {
            return Some(local(day.and_hms_opt(0, 0, 0)?));
        }
    }
    now.checked_add(period(text)?.num_milliseconds())
}

fn period(text: &str) -> Option<TimeDelta> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let mut minutes = 0_i64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let amount: i64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes().get(digits)? {
            b'm' => 1,
            b'h' => 60,
            b'd' => 1440,
            b'w' => 10_080,
            _ => return None,
        };
        minutes = minutes.checked_add(amount.checked_mul(unit)?)?;
        rest = rest[digits + 1..].trim_start();
    }
    TimeDelta::try_minutes(sign * minutes)
}

/// How many minutes ahead of UTC a profile's zone is. Only zones without daylight saving time, and UTC for the rest.
pub(crate) fn zone_minutes(zone: &str) -> i64 {
    match zone {
        "Asia/Shanghai" => 480,
        "Asia/Kolkata" => 330,
        "America/Phoenix" => -420,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_being_written_and_read_in_every_form() {
        let ms = 1_795_252_503_123;
        assert_eq!(parse(&iso(ms)), Some(ms));
        assert_eq!(parse(&zulu(ms)), Some(ms));
        assert_eq!(parse("2021-01-25T11:09:27.985+0800"), Some(1_611_544_167_985));
        assert_eq!(parse("2026-11-30"), None);
    }

    #[test]
    fn literals_are_read_in_the_profiles_zone_and_to_the_minute() {
        let now = 1_795_252_503_123;
        assert_eq!(jql_literal("2026/11/21 10:00", now, 480), Some(1_795_226_400_000));
        assert_eq!(jql_literal("2026-11-21", now, 0), Some(1_795_219_200_000));
        assert_eq!(jql_literal("-2h30m", now, 0), Some(now - 9_000_000));
        assert_eq!(jql_literal("2026-11-21T10:00:00Z", now, 0), None);
        assert_eq!(jql_literal("yesterday", now, 0), None);
    }
}
