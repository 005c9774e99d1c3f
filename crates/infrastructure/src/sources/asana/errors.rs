//! What Asana's refusals mean. <https://developers.asana.com/docs/errors>

use std::time::Duration;

use application::ports::{SourceError, SourceErrorKind};
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use super::super::sanitize::json_text;
use crate::egress::EgressError;

/// How long to wait when Asana limits without saying for how long: its limits are by the minute.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);
const MAX_MESSAGE_CHARS: usize = 200;

#[derive(Deserialize, Default)]
struct ErrorBody {
    #[serde(default)]
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize, Default)]
struct ErrorEntry {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    phrase: Option<String>,
}

/// Classifies an answer that is no success. `what` names the thing asked for.
pub(super) fn from_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], what: &str) -> SourceError {
    let (said, phrase) = said(body);
    let said_or = |fallback: &str| said.clone().unwrap_or_else(|| fallback.to_owned());
    let (kind, message) = match status.as_u16() {
        429 => (SourceErrorKind::RateLimited, "Asana asks to wait: too many requests".to_owned()),
        401 => (
            SourceErrorKind::Unauthorized,
            format!("Asana refused the token ({}): give the instance a new one", said_or("Not Authorized")),
        ),
        402 => (
            SourceErrorKind::Forbidden,
            format!("{what} is not part of the workspace's Asana plan ({})", said_or("Payment Required")),
        ),
        403 => {
            (SourceErrorKind::Forbidden, format!("the token may not use {what} ({})", said_or("Forbidden")))
        }
        404 => (
            SourceErrorKind::NotFound,
            format!("Asana does not find {what}: it does not exist, is deleted, or the token may not see it"),
        ),
        412 => (
            SourceErrorKind::Conflict,
            format!("{what} was changed meanwhile ({})", said_or("Precondition Failed")),
        ),
        451 => (
            SourceErrorKind::Forbidden,
            format!("Asana does not serve this network for legal reasons (451): it refused {what}"),
        ),
        408 | 424 | 425 | 500.. => (
            SourceErrorKind::Unavailable,
            match phrase {
                Some(phrase) => format!(
                    "Asana answered {} for {what}; its support finds the request by the phrase \"{phrase}\"",
                    status.as_u16()
                ),
                None => format!("Asana answered {} for {what}", status.as_u16()),
            },
        ),
        300..=399 => (
            SourceErrorKind::Rejected,
            format!("Asana redirects {what} elsewhere; check that the base URL is that of the API"),
        ),
        code => (
            SourceErrorKind::Rejected,
            format!("Asana refused the request for {what} with {code}: {}", said_or("no reason given")),
        ),
    };
    let retry_after = match kind {
        SourceErrorKind::RateLimited => Some(retry_after(headers).unwrap_or(DEFAULT_WAIT)),
        SourceErrorKind::Unavailable => retry_after(headers),
        _ => None,
    };
    SourceError { retry_after, upstream_status: Some(status.as_u16()), ..SourceError::new(kind, message) }
}

/// `Retry-After` in seconds, or as a date by the source's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(wait) = text.parse::<u32>() {
        return Some(Duration::from_secs(wait.into()));
    }
    let until = http_date(text)?;
    let Some(now) = answered_at(headers) else { return Some(DEFAULT_WAIT) };
    Some(Duration::from_secs(u64::try_from((until - now).num_seconds()).unwrap_or(0).max(1)))
}

/// When the source says it answered.
pub(super) fn answered_at(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    http_date(headers.get(header::DATE)?.to_str().ok()?)
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

/// Asana's own words and the phrase its support asks for, when the body is an error of its API.
fn said(body: &[u8]) -> (Option<String>, Option<String>) {
    let body: ErrorBody = serde_json::from_str(&json_text(body)).unwrap_or_default();
    let first = body.errors.into_iter().next().unwrap_or_default();
    let clip = |text: Option<String>| text.map(|text| clip(&text)).filter(|text| !text.is_empty());
    (clip(first.message), clip(first.phrase))
}

fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE_CHARS).collect::<String>().trim().to_owned()
}

/// Classifies a request without an answer.
pub(super) fn from_egress(error: &EgressError) -> SourceError {
    let kind = match error {
        EgressError::Blocked(_) => SourceErrorKind::Blocked,
        EgressError::Timeout | EgressError::Connect | EgressError::Truncated | EgressError::Tls(_) => {
            SourceErrorKind::Unavailable
        }
        EgressError::TooLarge => SourceErrorKind::Malformed,
        EgressError::Internal(_) => SourceErrorKind::Rejected,
    };
    let message = match error {
        EgressError::Blocked(reason) => format!("the base URL cannot be used: {reason}"),
        _ => format!("Asana {error}"),
    };
    let field = matches!(error, EgressError::Blocked(_)).then(|| "/base_url".to_owned());
    SourceError { field, ..SourceError::new(kind, message) }
}

#[cfg(test)]
mod tests {
    use application::ports::SourceErrorKind as Kind;
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn classify(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> SourceError {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        from_answer(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), "the task 12")
    }

    #[test]
    fn every_status_has_its_kind() {
        for (status, kind) in [
            (400, Kind::Rejected),
            (401, Kind::Unauthorized),
            (402, Kind::Forbidden),
            (403, Kind::Forbidden),
            (404, Kind::NotFound),
            (412, Kind::Conflict),
            (413, Kind::Rejected),
            (424, Kind::Unavailable),
            (429, Kind::RateLimited),
            (451, Kind::Forbidden),
            (302, Kind::Rejected),
            (500, Kind::Unavailable),
            (503, Kind::Unavailable),
        ] {
            let error = classify(status, &[], "<html>");
            assert_eq!((error.kind, error.upstream_status), (kind, Some(status)));
            assert!(!error.message.contains('<'), "{error}");
        }
    }

    #[test]
    fn a_limit_says_how_long_to_wait_and_an_outage_quotes_its_phrase() {
        let date = ("date", "Sat, 21 Nov 2026 12:00:00 GMT");
        for (headers, wait) in [
            (vec![("retry-after", "7")], 7),
            (vec![date, ("retry-after", "Sat, 21 Nov 2026 12:01:30 GMT")], 90),
            (vec![("retry-after", "Sat, 21 Nov 2026 12:01:30 GMT")], 60),
            (vec![], 60),
        ] {
            assert_eq!(
                classify(429, &headers, "").retry_after,
                Some(Duration::from_secs(wait)),
                "{headers:?}"
            );
        }
        let outage = classify(
            500,
            &[],
            r#"{"errors":[{"message":"Server Error","phrase":"6 sad squid snuggle softly"}]}"#,
        );
        assert!(outage.message.contains("6 sad squid snuggle softly"), "{outage}");
        let said = classify(400, &[], r#"{"errors":[{"message":"project: Not a recognized ID: x"}]}"#);
        assert!(said.message.contains("Not a recognized ID"), "{said}");
    }
}
