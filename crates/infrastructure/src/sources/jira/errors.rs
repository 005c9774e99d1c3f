//! What Jira's refusals mean.

use std::collections::BTreeMap;
use std::time::Duration;

use application::ports::{SourceError, SourceErrorKind};
use chrono::{DateTime, NaiveDateTime, Utc};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::super::refusals::{self, quoted};
use super::super::sanitize::json_text;

/// Jira's own words: `{"errorMessages": […], "errors": {field: message}}`; the gateway's are `{"message": …}`.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Messages about the request as a whole.
    pub(super) messages: Vec<String>,
    /// Messages by field.
    pub(super) fields: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default, rename = "errorMessages")]
    messages: Option<Vec<Value>>,
    #[serde(default)]
    errors: Option<Value>,
    #[serde(default)]
    message: Option<String>,
}

impl Said {
    /// Reads the body of a refusal; empty when it is something else, such as a proxy's page.
    pub(super) fn read(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_str::<ErrorBody>(&json_text(body)) else { return Self::default() };
        // Bulk operations tell a list.
        let rows = body.errors.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut messages: Vec<String> = body
            .messages
            .unwrap_or_default()
            .iter()
            .filter_map(Value::as_str)
            .chain(body.message.as_deref())
            .chain(rows.iter().filter_map(|row| row.get("message")?.as_str()))
            .map(quoted)
            .collect();
        messages.retain(|message| !message.is_empty());
        let fields = match body.errors {
            Some(Value::Object(errors)) => errors
                .into_iter()
                .map(|(field, message)| (field, quoted(message.as_str().unwrap_or("is not accepted"))))
                .collect(),
            _ => BTreeMap::new(),
        };
        Self { messages, fields }
    }

    /// Everything in one line; `None` when nothing was said.
    pub(super) fn line(&self) -> Option<String> {
        let parts: Vec<String> = self
            .messages
            .iter()
            .cloned()
            .chain(self.fields.iter().map(|(field, message)| format!("{field}: {message}")))
            .collect();
        (!parts.is_empty()).then(|| quoted(&parts.join("; ")))
    }
}

/// Classifies an answer that is not a success. `what` names the thing asked for.
pub(super) fn from_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], what: &str) -> SourceError {
    let said = Said::read(body);
    let line = said.line();
    let said_or = |fallback: &str| line.clone().unwrap_or_else(|| fallback.to_owned());
    let code = status.as_u16();
    let refusal = match code {
        429 => (SourceErrorKind::RateLimited, limit_message(headers)),
        // The gateway's word for a token that is good but was not given the scope.
        401 if line.as_ref().is_some_and(|said| said.contains("scope")) => (
            SourceErrorKind::Forbidden,
            format!("the token lacks the scope for {what} ({})", said_or("Unauthorized")),
        ),
        401 => (SourceErrorKind::Unauthorized, refused_credential(headers, &said_or("Unauthorized"))),
        403 if captcha(headers) => {
            (SourceErrorKind::Unauthorized, refused_credential(headers, &said_or("Forbidden")))
        }
        403 => (
            SourceErrorKind::Forbidden,
            format!("the credential may not reach {what} ({})", said_or("Forbidden")),
        ),
        410 => (SourceErrorKind::Gone, format!("{what} is gone from Jira ({})", said_or("Gone"))),
        409 => (
            SourceErrorKind::Conflict,
            format!("Jira reports a conflict on {what} ({})", said_or("Conflict")),
        ),
        _ => refusals::classify("Jira", status, what, line.as_deref()),
    };
    refusals::error(status, headers, refusal, || limit_wait(headers))
}

/// After several wrong passwords Jira asks for a CAPTCHA, which only a person can solve.
fn captcha(headers: &HeaderMap) -> bool {
    ["x-seraph-loginreason", "x-authentication-denied-reason"]
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok())
        .any(|reason| reason.contains("AUTHENTICATION_DENIED") || reason.contains("CAPTCHA"))
}

fn refused_credential(headers: &HeaderMap, said: &str) -> String {
    if captcha(headers) {
        return "Jira asks the account for a CAPTCHA before it may sign in again: open Jira in a browser and sign in \
                once, then try again"
            .to_owned();
    }
    format!("Jira refused the credential ({said}): give the instance a new one")
}

fn limit_message(headers: &HeaderMap) -> String {
    let wait = limit_wait(headers).as_secs();
    // <https://developer.atlassian.com/cloud/jira/platform/rate-limiting/>
    let reason = match headers.get("ratelimit-reason").and_then(|value| value.to_str().ok()) {
        Some("jira-quota-global-based" | "jira-quota-tenant-based") => "the hour's quota is used up",
        Some("jira-per-issue-on-write") => "too many writes to one issue",
        _ => "too many requests",
    };
    format!("Jira asks to wait {wait} seconds: {reason}")
}

/// How long a limit asks to wait: `Retry-After`, or `X-RateLimit-Reset`, which is a time without seconds.
fn limit_wait(headers: &HeaderMap) -> Duration {
    refusals::retry_after(headers).or_else(|| until_reset(headers)).unwrap_or(refusals::DEFAULT_WAIT)
}

fn until_reset(headers: &HeaderMap) -> Option<Duration> {
    let reset = reset_time(headers.get("x-ratelimit-reset")?.to_str().ok()?)?;
    let now = refusals::answered_at(headers)?;
    Some(refusals::seconds((reset - now).num_seconds() + 1))
}

/// `2026-11-21T10:00Z`, which RFC 3339 parsers refuse; with seconds too, should Jira come to write them.
fn reset_time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .ok()
        .or_else(|| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ").ok().map(|time| time.and_utc()))
}

#[cfg(test)]
mod tests;
