//! Times as GitHub writes them: whole seconds, UTC, `2026-11-21T09:15:03Z`.

use chrono::{DateTime, SecondsFormat, Utc};

/// `2026-11-21T09:15:03Z` for seconds since 1970.
pub(crate) fn iso(seconds: i64) -> String {
    moment(seconds).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// An HTTP date (RFC 9110 section 5.6.7): `Sat, 21 Nov 2026 09:15:03 GMT`.
pub(crate) fn http_date(seconds: i64) -> String {
    moment(seconds).format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Seconds since 1970 of an ISO 8601 time with zone; `None` when it is not one.
pub(crate) fn parse_iso(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp())
}

/// Seconds since 1970 of an HTTP date; `None` when it is not one.
pub(crate) fn parse_http_date(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc2822(text).ok()?.timestamp())
}

/// Milliseconds since 1970, now.
pub(crate) fn now_ms() -> i64 {
    clock().timestamp_millis()
}

/// Seconds since 1970, now.
pub(crate) fn now() -> i64 {
    clock().timestamp()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tracker's own clock; nothing of the product's domain runs on it"
)]
fn clock() -> DateTime<Utc> {
    Utc::now()
}

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_being_written_and_read() {
        let seconds = 1_795_252_503;
        assert_eq!(parse_iso(&iso(seconds)), Some(seconds));
        assert_eq!(parse_http_date(&http_date(seconds)), Some(seconds));
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
    }
}
