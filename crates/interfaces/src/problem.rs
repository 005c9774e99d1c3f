//! Errors as a client sees them: `application/problem+json` (RFC 9457) for REST, [`ErrorBody`] for MCP.

mod error_body;

use std::time::Duration;

use application::Error;
use axum::response::{IntoResponse, Response};
use domain::{FieldError, RequestId, RunId};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

pub use error_body::ErrorBody;
use error_body::{Described, describe};

/// An answer that says what went wrong, to what, and what to do. Never holds SQL, secrets or another tenant's data.
#[derive(Debug, Clone)]
pub struct Problem(Box<Content>);

#[derive(Debug, Clone)]
struct Content {
    status: StatusCode,
    code: &'static str,
    detail: String,
    hint: Option<String>,
    errors: Vec<FieldError>,
    run_id: Option<RunId>,
    retry_after: Option<Duration>,
    upstream_status: Option<u16>,
    challenge: Option<String>,
    allow: Option<HeaderValue>,
}

impl Problem {
    /// A problem with a stable `code` and a text for a person.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Content {
            status,
            code,
            detail: detail.into(),
            hint: None,
            errors: Vec::new(),
            run_id: None,
            retry_after: None,
            upstream_status: None,
            challenge: (status == StatusCode::UNAUTHORIZED).then(|| "Bearer".to_owned()),
            allow: None,
        }))
    }

    /// 422 `invalid_input`.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Error::Invalid(domain::Invalid { errors }).into()
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds when to try again: in the body and as `Retry-After`.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Replaces the `WWW-Authenticate` header.
    #[must_use]
    pub fn with_challenge(mut self, challenge: impl Into<String>) -> Self {
        self.0.challenge = Some(challenge.into());
        self
    }

    /// Adds the `Allow` header.
    #[must_use]
    pub fn with_allow(mut self, methods: HeaderValue) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable word for programs.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The JSON body, belonging to the request being served.
    pub fn body(&self) -> ProblemBody {
        let content = &*self.0;
        ProblemBody {
            kind: format!("urn:patchbay:problem:{}", content.code),
            title: title(content.code),
            status: content.status.as_u16(),
            code: content.code.to_owned(),
            detail: content.detail.clone(),
            hint: content.hint.clone(),
            request_id: crate::request::current_id().map(RequestId::as_uuid),
            errors: content.errors.iter().cloned().map(Into::into).collect(),
            run_id: content.run_id.map(RunId::as_uuid),
            retry_after_ms: content.retry_after.map(millis),
            upstream_status: content.upstream_status,
        }
    }
}

impl From<Error> for Problem {
    /// Logs an internal fault with its chain; the answer says nothing of the inside.
    fn from(error: Error) -> Self {
        let Described { status, body, errors, run_id, challenge } = describe(&error);
        Self(Box::new(Content {
            status,
            code: body.code,
            detail: body.message,
            hint: body.hint,
            errors,
            run_id,
            retry_after: body.retry_after_ms.map(Duration::from_millis),
            upstream_status: body.upstream_status,
            challenge,
            allow: None,
        }))
    }
}

impl From<domain::Invalid> for Problem {
    fn from(invalid: domain::Invalid) -> Self {
        Error::Invalid(invalid).into()
    }
}

/// The code of the problem an answer holds, for whatever stands around the handler.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProblemCode(pub(crate) &'static str);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // A struct of strings and numbers always serializes.
        let json = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut response = (self.0.status, json).into_response();
        response.extensions_mut().insert(ProblemCode(self.0.code));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.0.retry_after {
            // Whole seconds, rounded up: a client that waits them never comes too early.
            headers.insert(RETRY_AFTER, HeaderValue::from(millis(wait).div_ceil(1000)));
        }
        if let Some(challenge) = self.0.challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(allow) = self.0.allow {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

/// `application/problem+json`: what went wrong, to what, and what to do.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// A URN that names the kind of problem: `urn:patchbay:problem:<code>`.
    #[serde(rename = "type")]
    #[schema(example = "urn:patchbay:problem:invalid_input")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status again.
    pub status: u16,
    /// A stable word for programs.
    #[schema(example = "invalid_input")]
    pub code: String,
    /// What happened, for a person.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The request, as also in the header `x-request-id`; name it when asking for help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Uuid>,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldErrorBody>,
    /// The run that is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<Uuid>,
    /// How long to wait before another try, as also in the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The HTTP status the tracker answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
}

/// One thing wrong with one field.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = FieldError)]
pub struct FieldErrorBody {
    /// JSON Pointer (RFC 6901) into the body, or `/<name>` of a query parameter.
    #[schema(example = "/settings/repositories/0")]
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// The values or names that would be accepted, where they are few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub allowed: Vec<String>,
}

impl From<FieldError> for FieldErrorBody {
    fn from(error: FieldError) -> Self {
        Self { pointer: error.pointer, message: error.message, allowed: error.allowed }
    }
}

/// `invalid_input` → `Invalid input`.
fn title(code: &str) -> String {
    let mut title = code.replace('_', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use application::ports::{SourceError, SourceErrorKind, StoreError};
    use domain::Scope;

    use super::*;

    fn problem(error: Error) -> (StatusCode, &'static str) {
        let problem = Problem::from(error);
        (problem.status(), problem.code())
    }

    #[test]
    fn every_failure_has_its_status_and_code() {
        let source = |kind| Error::Source(SourceError::new(kind, "said the tracker"));
        for (error, status, code) in [
            (Error::Unauthenticated("no key"), 401, "unauthenticated"),
            (Error::Forbidden { needed: Scope::SyncRun }, 403, "forbidden"),
            (Error::Exceeds { what: "the key is narrowed" }, 403, "exceeds_own_rights"),
            (domain::Invalid::one("/name", "is wrong").into(), 422, "invalid_input"),
            (Error::not_found("the run"), 404, "not_found"),
            (Error::Conflict { what: "taken".into(), hint: "another".into() }, 409, "conflict"),
            (Error::RunActive { run: RunId::new(Uuid::nil()) }, 409, "run_active"),
            (Error::QueryTimeout { limit_ms: 5 }, 504, "query_timeout"),
            (Error::Unavailable(StoreError::Fenced), 503, "unavailable"),
            (Error::Internal(StoreError::Fenced), 500, "internal"),
            (source(SourceErrorKind::Unauthorized), 502, "source_unauthorized"),
            (source(SourceErrorKind::Forbidden), 502, "source_forbidden"),
            (source(SourceErrorKind::NotFound), 502, "source_not_found"),
            (source(SourceErrorKind::Gone), 502, "source_gone"),
            (source(SourceErrorKind::RateLimited), 503, "source_rate_limited"),
            (source(SourceErrorKind::Unavailable), 503, "source_unavailable"),
            (source(SourceErrorKind::Rejected), 502, "source_rejected"),
            (source(SourceErrorKind::Conflict), 409, "source_conflict"),
            (source(SourceErrorKind::Unsupported), 422, "source_unsupported"),
            (source(SourceErrorKind::Malformed), 502, "source_malformed"),
            (source(SourceErrorKind::Blocked), 422, "egress_blocked"),
        ] {
            let text = error.to_string();
            let (got_status, got_code) = problem(error);
            assert_eq!((got_status.as_u16(), got_code), (status, code), "{text}");
        }
    }

    #[test]
    fn an_internal_fault_says_nothing_of_the_inside() {
        let error =
            Error::Internal(StoreError::Internal("duplicate key (tenant_id)=(42) in select x".into()));
        let text = serde_json::to_string(&Problem::from(error).body()).unwrap();
        assert!(!text.contains("duplicate") && !text.contains("select"), "{text}");
    }

    #[test]
    fn waiting_is_told_in_whole_seconds_that_are_never_too_few() {
        let error = SourceError {
            retry_after: Some(Duration::from_millis(1_200)),
            ..SourceError::new(SourceErrorKind::RateLimited, "wait")
        };
        let response = Problem::from(Error::Source(error)).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }

    #[test]
    fn a_missing_scope_is_named_in_text_and_challenge() {
        let problem = Problem::from(Error::Forbidden { needed: Scope::ItemsRead });
        assert!(problem.body().detail.contains("items:read"));
        let response = problem.into_response();
        assert_eq!(
            response.headers()[WWW_AUTHENTICATE],
            "Bearer error=\"insufficient_scope\", scope=\"items:read\""
        );
    }
}
