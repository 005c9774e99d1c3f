//! What GitHub's refusals mean.

use std::time::Duration;

use application::ports::{SourceError, SourceErrorKind};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::super::refusals::{self, DEFAULT_WAIT, answered_at, quoted, retry_after, seconds};
use super::super::sanitize::json_text;

#[derive(Deserialize, Default)]
struct ErrorBody {
    #[serde(default)]
    message: Option<String>,
    /// Some answers have plain texts here.
    #[serde(default)]
    errors: serde_json::Value,
}

/// Classifies an answer that is neither a success nor a redirect. `what` names the thing asked for.
pub(super) fn from_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], what: &str) -> SourceError {
    let said = said(body);
    let said_or = |fallback: &str| said.clone().unwrap_or_else(|| fallback.to_owned());
    let limit =
        if matches!(status.as_u16(), 403 | 429) { limited(status, headers, said.as_deref()) } else { None };
    let refusal = match (status.as_u16(), limit) {
        (_, Some(wait)) => (
            SourceErrorKind::RateLimited,
            format!("GitHub asks to wait {} seconds: too many requests", wait.as_secs()),
        ),
        (401, _) => (
            SourceErrorKind::Unauthorized,
            format!("GitHub refused the token ({}): give the instance a new one", said_or("Unauthorized")),
        ),
        (403, _) => (SourceErrorKind::Forbidden, forbidden(headers, &said_or("Forbidden"), what)),
        (410, _) => (SourceErrorKind::Gone, format!("{what} is gone from GitHub ({})", said_or("Gone"))),
        _ => refusals::classify("GitHub", status, what, said.as_deref()),
    };
    let field = if status == StatusCode::UNPROCESSABLE_ENTITY { refused_field(body) } else { None };
    let wait = || limit.unwrap_or(DEFAULT_WAIT);
    SourceError { field, ..refusals::error(status, headers, refusal, wait) }
}

/// How long to wait, when this refusal is a rate limit.
fn limited(status: StatusCode, headers: &HeaderMap, said: Option<&str>) -> Option<Duration> {
    if let Some(wait) = retry_after(headers) {
        return Some(wait);
    }
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    // GitHub Enterprise Server with limits off answers 0 of 0, or leaves the headers out.
    let exhausted = number("x-ratelimit-remaining") == Some(0) && number("x-ratelimit-limit") != Some(0);
    if exhausted && let Some(reset) = number("x-ratelimit-reset").filter(|reset| *reset > 0) {
        let Some(now) = answered_at(headers) else { return Some(DEFAULT_WAIT) };
        // The second in which it resets is not over when it begins.
        return Some(seconds(reset - now.timestamp() + 1));
    }
    let said = said.unwrap_or_default().to_lowercase();
    let secondary = said.contains("secondary rate limit") || said.contains("abuse detection");
    (secondary || status == StatusCode::TOO_MANY_REQUESTS).then_some(DEFAULT_WAIT)
}

fn forbidden(headers: &HeaderMap, said: &str, what: &str) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("x-github-sso").is_some() {
        return format!(
            "GitHub does not show {what} before the token is authorized for the organization's single sign-on: \
             open the token's settings at GitHub and choose \"Configure SSO\""
        );
    }
    match text("x-accepted-github-permissions").filter(|needed| !needed.is_empty()) {
        Some(needed) => {
            format!("the token may not read {what} ({said}): it needs the permission {}", quoted(needed))
        }
        None => format!("the token may not read {what} ({said})"),
    }
}

/// GitHub's own words, when the body is an error of its API.
pub(super) fn said(body: &[u8]) -> Option<String> {
    let body: ErrorBody = serde_json::from_str(&json_text(body)).ok()?;
    let mut message = body.message?;
    // "Validation Failed" alone helps nobody.
    for error in body.errors.as_array().into_iter().flatten().take(5) {
        let text = |name: &str| error[name].as_str();
        let about = match (text("message").or(error.as_str()), text("field"), text("code")) {
            (Some(said), ..) => said.to_owned(),
            (None, Some(field), Some(code)) => format!("{field}: {code}"),
            _ => continue,
        };
        message = format!("{message}; {about}");
    }
    Some(quoted(&message)).filter(|message| !message.is_empty())
}

/// The field of the request that GitHub refused.
fn refused_field(body: &[u8]) -> Option<String> {
    let body: ErrorBody = serde_json::from_str(&json_text(body)).ok()?;
    Some(format!("/{}", body.errors.get(0)?.get("field")?.as_str()?))
}

#[cfg(test)]
mod tests {
    use application::ports::SourceErrorKind as Kind;
    use http::{HeaderName, HeaderValue};

    use super::*;

    const PRIMARY: &str = r#"{"message":"API rate limit exceeded for user ID 1.","documentation_url":"https://docs.github.com/rest"}"#;
    const SECONDARY: &str = r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}"#;
    const DENIED: &str = r#"{"message":"Resource not accessible by personal access token"}"#;
    const DATE: (&str, &str) = ("date", "Sat, 21 Nov 2026 12:00:00 GMT");

    fn classify(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> SourceError {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        from_answer(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), "octo/hello")
    }

    #[test]
    fn limits_say_how_long_to_wait() {
        // 1795262400 is the time of DATE.
        for (status, headers, body, wait) in [
            (429, vec![("retry-after", "7")], "", 7),
            (
                403,
                vec![("retry-after", "30"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9")],
                PRIMARY,
                30,
            ),
            (429, vec![DATE, ("retry-after", "Sat, 21 Nov 2026 12:01:30 GMT")], "", 90),
            (429, vec![("retry-after", "Sat, 21 Nov 2026 12:01:30 GMT")], "", 60),
            (
                403,
                vec![DATE, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795262500")],
                PRIMARY,
                101,
            ),
            (403, vec![DATE, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "5")], PRIMARY, 1),
            (403, vec![], SECONDARY, 60),
            (429, vec![], "", 60),
        ] {
            let error = classify(status, &headers, body);
            assert_eq!(
                (error.kind, error.retry_after),
                (Kind::RateLimited, Some(Duration::from_secs(wait))),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_403_without_signs_of_a_limit_is_about_permission() {
        for headers in [
            vec![
                ("x-ratelimit-limit", "0"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1795262500"),
            ],
            vec![("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "4999")],
            vec![("x-accepted-github-permissions", "issues=read")],
            vec![("x-github-sso", "required; url=https://github.com/orgs/o/sso")],
        ] {
            let error = classify(403, &headers, DENIED);
            assert_eq!((error.kind, error.retry_after), (Kind::Forbidden, None), "{headers:?}");
        }
        let named = classify(403, &[("x-accepted-github-permissions", "issues=read")], DENIED);
        assert!(named.message.contains("issues=read"), "{named}");
        assert!(classify(403, &[("x-github-sso", "required")], DENIED).message.contains("single sign-on"));
    }

    #[test]
    fn every_status_has_its_kind() {
        for (status, body, kind) in [
            (401, r#"{"message":"Bad credentials"}"#, Kind::Unauthorized),
            (404, r#"{"message":"Not Found"}"#, Kind::NotFound),
            (410, r#"{"message":"This issue was deleted"}"#, Kind::Gone),
            (422, r#"{"message":"Validation Failed"}"#, Kind::Rejected),
            (451, "", Kind::Rejected),
            (302, "", Kind::Rejected),
            (408, "", Kind::Unavailable),
            (500, "<html>", Kind::Unavailable),
            (502, "<html>", Kind::Unavailable),
            (503, "", Kind::Unavailable),
        ] {
            let error = classify(status, &[], body);
            assert_eq!((error.kind, error.upstream_status), (kind, Some(status)));
            assert!(!error.message.contains('<'), "{error}");
        }
        assert!(
            classify(422, &[], r#"{"message":"Validation Failed"}"#).message.contains("Validation Failed")
        );
        assert_eq!(classify(503, &[("retry-after", "9")], "").retry_after, Some(Duration::from_secs(9)));
    }
}
