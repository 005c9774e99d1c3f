//! What the refusals of all trackers have in common: how long to wait, and the statuses that mean the same everywhere.

use std::time::Duration;

use application::ports::{SourceError, SourceErrorKind};
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header};

use crate::egress::EgressError;

/// How long to wait when a tracker limits without saying for how long.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(60);
/// Of what a tracker says, so much is quoted.
const MAX_QUOTED_CHARS: usize = 300;

/// `Retry-After` in seconds, or as a date by the tracker's own clock.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(wait) = text.parse::<u32>() {
        return Some(Duration::from_secs(wait.into()));
    }
    let until = http_date(text)?;
    let Some(now) = answered_at(headers) else { return Some(DEFAULT_WAIT) };
    Some(seconds((until - now).num_seconds()))
}

/// When the tracker says it answered.
pub(super) fn answered_at(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    http_date(headers.get(header::DATE)?.to_str().ok()?)
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

/// At least one: what is over by now is asked for again in a second.
pub(super) fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1))
}

/// What failed after an earlier request of the same write had its effect: not what says that nothing was done.
pub(super) fn midway(error: SourceError) -> SourceError {
    match error.kind {
        SourceErrorKind::RateLimited | SourceErrorKind::Blocked => {
            SourceError { kind: SourceErrorKind::Unavailable, ..error }
        }
        _ => error,
    }
}

/// Whether a tracker has refused for good what it was asked for.
pub(super) fn is_definite(kind: SourceErrorKind) -> bool {
    matches!(
        kind,
        SourceErrorKind::Forbidden
            | SourceErrorKind::NotFound
            | SourceErrorKind::Gone
            | SourceErrorKind::Rejected
            | SourceErrorKind::Conflict
            | SourceErrorKind::Unsupported
    )
}

/// A tracker's words as they are quoted.
pub(super) fn quoted(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_QUOTED_CHARS).collect::<String>().trim().to_owned()
}

/// The kind and message of a status that means the same at every tracker. `what` names the thing asked for, `said` is the
/// tracker's own word.
pub(super) fn classify(
    tracker: &str,
    status: StatusCode,
    what: &str,
    said: Option<&str>,
) -> (SourceErrorKind, String) {
    let code = status.as_u16();
    match code {
        404 => (
            SourceErrorKind::NotFound,
            format!("{tracker} does not find {what}: it does not exist, or the credential may not see it"),
        ),
        408 | 425 | 500.. => (SourceErrorKind::Unavailable, format!("{tracker} answered {code} for {what}")),
        300..=399 => (
            SourceErrorKind::Rejected,
            format!("{tracker} redirects {what} elsewhere; check that the base URL is that of its API"),
        ),
        _ => (
            SourceErrorKind::Rejected,
            format!(
                "{tracker} refused the request for {what} with {code}: {}",
                said.unwrap_or("no reason given")
            ),
        ),
    }
}

/// The error of an answer. A limit is waited for as long as `limit` says, an outage as long as the tracker asks.
pub(super) fn error(
    status: StatusCode,
    headers: &HeaderMap,
    (kind, message): (SourceErrorKind, String),
    limit: impl FnOnce() -> Duration,
) -> SourceError {
    let retry_after = match kind {
        SourceErrorKind::RateLimited => Some(limit()),
        SourceErrorKind::Unavailable => retry_after(headers),
        _ => None,
    };
    SourceError { retry_after, upstream_status: Some(status.as_u16()), ..SourceError::new(kind, message) }
}

/// The error of a request without an answer.
pub(super) fn unanswered(tracker: &str, error: &EgressError) -> SourceError {
    let kind = match error {
        EgressError::Blocked(_) => SourceErrorKind::Blocked,
        EgressError::Timeout | EgressError::Connect | EgressError::Truncated | EgressError::Tls(_) => {
            SourceErrorKind::Unavailable
        }
        EgressError::TooLarge => SourceErrorKind::Malformed,
        EgressError::Internal(_) => SourceErrorKind::Rejected,
    };
    match error {
        EgressError::Blocked(reason) => SourceError {
            field: Some("/base_url".to_owned()),
            ..SourceError::new(kind, format!("the base URL cannot be used: {reason}"))
        },
        _ => SourceError::new(kind, format!("{tracker} {error}")),
    }
}
