//! Times as Asana writes them: milliseconds, UTC, `2026-11-21T09:15:03.123Z`.

use chrono::{DateTime, SecondsFormat};

pub(super) fn iso(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(super) fn parse(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis())
}
