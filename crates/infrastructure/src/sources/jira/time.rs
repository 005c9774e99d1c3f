//! Jira's ways to write a time.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// Numbers below this are seconds since 1970, above it milliseconds: as seconds it is the year 5138, as milliseconds 1973.
const SECONDS_END: i64 = 100_000_000_000;

/// A time as Jira writes it: `2026-11-21T09:15:03.123+0000`, whose offset has no colon; with colon or `Z` as RFC 3339.
pub(super) fn jira_time(text: &str) -> Result<DateTime<Utc>, chrono::ParseError> {
    let text = text.trim();
    let offset = text.len().checked_sub("+0000".len()).and_then(|at| text.split_at_checked(at));
    let time = match offset {
        // With the colon that is missing it is RFC 3339, which is read much quicker than by a pattern.
        Some((time, offset)) if is_bare_offset(offset) => {
            let (hours, minutes) = offset.split_at("+00".len());
            DateTime::parse_from_rfc3339(&format!("{time}{hours}:{minutes}"))
        }
        _ => DateTime::parse_from_rfc3339(text),
    };
    time.map(|time| time.to_utc())
}

fn is_bare_offset(text: &str) -> bool {
    text.starts_with(['+', '-']) && text[1..].bytes().all(|b| b.is_ascii_digit())
}

/// A number of seconds or milliseconds: Jira's documentation of the changelog says ISO, its example shows seconds.
pub(super) fn from_number(number: i64) -> Option<DateTime<Utc>> {
    if number.abs() < SECONDS_END {
        DateTime::from_timestamp(number, 0)
    } else {
        DateTime::from_timestamp_millis(number)
    }
}

/// A day: `2026-11-30`, without zone. A time is taken for its day, as written.
pub(super) fn jira_day(text: &str) -> Option<NaiveDate> {
    text.trim().get(..10)?.parse().ok()
}

/// A time in an object of Jira, in whatever form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(pub(super) DateTime<Utc>);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl Visitor<'_> for Form {
            type Value = Time;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a time as text, or as seconds or milliseconds")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Time, E> {
                from_number(number).map(Time).ok_or_else(|| E::custom(format!("{number} is not a time")))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Time, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                let told = |error| E::custom(format!("`{text}` is not a time ({error})"));
                jira_time(text).map(Time).map_err(told)
            }
        }

        deserializer.deserialize_any(Form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn an_offset_may_come_without_colon() {
        for text in [
            "2026-11-21T09:15:03.123+0000",
            "2026-11-21T10:15:03.123+0100",
            "2026-11-21T09:15:03.123Z",
            "2026-11-21T04:15:03.123-05:00",
        ] {
            assert_eq!(jira_time(text).unwrap(), utc("2026-11-21T09:15:03.123Z"), "{text}");
        }
        assert_eq!(jira_time("2026-11-21T09:15:03+0000").unwrap(), utc("2026-11-21T09:15:03Z"));
        assert!(jira_time("yesterday").is_err());
        assert!(jira_time("2026-11-21").is_err());
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds_by_their_size() {
        let parse = |json: &str| serde_json::from_str::<Time>(json).unwrap().0;
        assert_eq!(parse("1492070429"), utc("2017-04-13T08:00:29Z"));
        assert_eq!(parse("1492070429123"), utc("2017-04-13T08:00:29.123Z"));
        assert_eq!(parse("\"2017-04-13T08:00:29.123+0000\""), utc("2017-04-13T08:00:29.123Z"));
        assert!(serde_json::from_str::<Time>("null").is_err());
        assert!(serde_json::from_str::<Time>("9223372036854775807").is_err());
    }

    #[test]
    fn a_day_stays_the_day_it_is() {
        assert_eq!(jira_day("2026-11-30"), NaiveDate::from_ymd_opt(2026, 11, 30));
        assert_eq!(jira_day("2026-11-30T23:30:00.000-0500"), NaiveDate::from_ymd_opt(2026, 11, 30));
        assert_eq!(jira_day("soon"), None);
        assert_eq!(jira_day("2026-11-3é"), None);
    }
}
