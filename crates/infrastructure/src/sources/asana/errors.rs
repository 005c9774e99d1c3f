//! What Asana's refusals mean. <https://developers.asana.com/docs/errors>

use application::ports::{SourceError, SourceErrorKind};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::super::refusals::{self, quoted};
use super::super::sanitize::json_text;

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
    let refusal = match status.as_u16() {
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
        410 => (SourceErrorKind::Gone, format!("{what} is gone from Asana ({})", said_or("Gone"))),
        412 => (
            SourceErrorKind::Conflict,
            format!("{what} was changed meanwhile ({})", said_or("Precondition Failed")),
        ),
        451 => (
            SourceErrorKind::Forbidden,
            format!("Asana does not serve this network for legal reasons (451): it refused {what}"),
        ),
        424 | 500.. => (
            SourceErrorKind::Unavailable,
            match phrase {
                Some(phrase) => format!(
                    "Asana answered {} for {what}; its support finds the request by the phrase \"{phrase}\"",
                    status.as_u16()
                ),
                None => format!("Asana answered {} for {what}", status.as_u16()),
            },
        ),
        _ => refusals::classify("Asana", status, what, said.as_deref()),
    };
    // Its limits are by the minute, as the wait is when it names none.
    let limit = || refusals::retry_after(headers).unwrap_or(refusals::DEFAULT_WAIT);
    refusals::error(status, headers, refusal, limit)
}

/// Asana's own words and the phrase its support asks for, when the body is an error of its API.
fn said(body: &[u8]) -> (Option<String>, Option<String>) {
    let body: ErrorBody = serde_json::from_str(&json_text(body)).unwrap_or_default();
    let first = body.errors.into_iter().next().unwrap_or_default();
    let clip = |text: Option<String>| text.map(|text| quoted(&text)).filter(|text| !text.is_empty());
    (clip(first.message), clip(first.phrase))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
