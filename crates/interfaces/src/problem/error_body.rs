//! The one place where a failure of a use case becomes a status, a code and safe words.

use std::error::Error as _;
use std::time::Duration;

use application::Error;
use application::live::clean_text;
use application::ports::{SourceError, SourceErrorKind};
use application::sign_in::SignInError;
use domain::{FieldError, RunId};
use http::StatusCode;
use serde::Serialize;

/// A failure for any transport: the content of an MCP result with `isError`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ErrorBody {
    /// A stable word for programs.
    pub code: &'static str,
    /// What happened, for a person or an assistant.
    pub message: String,
    /// JSON Pointer of the first field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The values that field accepts, where they are few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// How long to wait before another try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The HTTP status the tracker answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ErrorBody {
    /// A failure with a code and words of its own.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            allowed: Vec::new(),
            retry_after_ms: None,
            upstream_status: None,
            hint: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<&Error> for ErrorBody {
    /// Logs an internal fault with its chain, so call it once for each failure.
    fn from(error: &Error) -> Self {
        describe(error).body
    }
}

/// Everything a transport may want to say about a failure.
pub(super) struct Described {
    pub(super) status: StatusCode,
    pub(super) body: ErrorBody,
    pub(super) errors: Vec<FieldError>,
    pub(super) run_id: Option<RunId>,
    pub(super) challenge: Option<String>,
}

impl Described {
    fn new(status: StatusCode, body: ErrorBody) -> Self {
        Self { status, body, errors: Vec::new(), run_id: None, challenge: None }
    }
}

pub(super) fn describe(error: &Error) -> Described {
    let mut told = in_words(error);
    // Trackers are quoted and what their users named is proposed: nothing that hides in it may reach a reader.
    let body = &mut told.body;
    let texts = body.hint.iter_mut().chain([&mut body.message]).chain(&mut body.field);
    for text in texts.chain(&mut body.allowed) {
        clean_text(text);
    }
    for error in &mut told.errors {
        for text in [&mut error.pointer, &mut error.message].into_iter().chain(&mut error.allowed) {
            clean_text(text);
        }
    }
    told
}

fn in_words(error: &Error) -> Described {
    match error {
        Error::Unauthenticated(why) => Described {
            challenge: Some("Bearer error=\"invalid_token\"".to_owned()),
            ..Described::new(
                StatusCode::UNAUTHORIZED,
                ErrorBody::new("unauthenticated", *why).with_hint(
                    "send the header `Authorization: Bearer <API key>` with a key of this installation",
                ),
            )
        },
        Error::Forbidden { needed } => Described {
            challenge: Some(format!("Bearer error=\"insufficient_scope\", scope=\"{needed}\"")),
            ..Described::new(
                StatusCode::FORBIDDEN,
                ErrorBody::new(
                    "forbidden",
                    format!("this needs the scope `{needed}`, which the key does not have"),
                )
                .with_hint(format!("use a key with the scope `{needed}`, or ask an admin for one")),
            )
        },
        Error::Exceeds { what } => Described::new(
            StatusCode::FORBIDDEN,
            ErrorBody::new("exceeds_own_rights", format!("this goes beyond the caller's own rights: {what}"))
                .with_hint("nobody hands out, changes or removes more than they hold: ask somebody who does"),
        ),
        Error::SignIn(error) => describe_sign_in(error),
        Error::Invalid(invalid) => {
            let first = invalid.errors.first();
            let mut body = ErrorBody::new("invalid_input", invalid.to_string());
            body.field = first.map(|error| error.pointer.clone());
            body.allowed = first.map(|error| error.allowed.clone()).unwrap_or_default();
            Described {
                errors: invalid.errors.clone(),
                ..Described::new(StatusCode::UNPROCESSABLE_ENTITY, body)
            }
        }
        Error::NotFound { what } => Described::new(
            StatusCode::NOT_FOUND,
            ErrorBody::new("not_found", format!("{what} was not found"))
                .with_hint("check the id: only what belongs to the key's tenant can be found"),
        ),
        Error::Conflict { what, hint } => {
            Described::new(StatusCode::CONFLICT, ErrorBody::new("conflict", what).with_hint(hint))
        }
        Error::RunActive { run } => Described {
            run_id: Some(*run),
            ..Described::new(
                StatusCode::CONFLICT,
                ErrorBody::new("run_active", format!("the instance already has an unfinished run: {run}"))
                    .with_hint(format!("wait for it, or cancel it with POST /api/v1/runs/{run}/cancel")),
            )
        },
        Error::Source(source) => describe_source(source),
        Error::QueryTimeout { limit_ms } => Described::new(
            StatusCode::GATEWAY_TIMEOUT,
            ErrorBody::new(
                "query_timeout",
                format!("the query took longer than {limit_ms} ms and was stopped"),
            )
            .with_hint("narrow it down: one project, a shorter time, a smaller limit"),
        ),
        Error::RateLimited { state, retry_after } => {
            let mut body = ErrorBody::new(
                "rate_limited",
                format!(
                    "too many requests: the limit `{}` of {} in {} s is used up",
                    state.name,
                    state.quota.count,
                    state.quota.window.as_secs()
                ),
            )
            .with_hint("wait for retry_after_ms, then go on more slowly");
            body.retry_after_ms = Some(millis(*retry_after));
            Described::new(StatusCode::TOO_MANY_REQUESTS, body)
        }
        Error::Closed { retry_after } => {
            let mut body = ErrorBody::new(
                "closed_for_now",
                "requests of this kind are not taken while they cannot be counted",
            )
            .with_hint("try again after retry_after_ms; operators: Redis cannot be reached");
            body.retry_after_ms = Some(millis(*retry_after));
            Described::new(StatusCode::SERVICE_UNAVAILABLE, body)
        }
        Error::IdempotencyInFlight { retry_after } => {
            let mut body = ErrorBody::new(
                "idempotency_in_flight",
                "a request with this Idempotency-Key is being served",
            )
            .with_hint("send the same request again after retry_after_ms to get its answer");
            body.retry_after_ms = Some(millis(*retry_after));
            Described::new(StatusCode::CONFLICT, body)
        }
        Error::IdempotencyMismatch => Described::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            ErrorBody::new("idempotency_mismatch", "this Idempotency-Key was used for another request")
                .with_hint(
                    "use a new key for each different request; the same key only repeats the same one",
                ),
        ),
        Error::Unavailable(_) => {
            tracing::warn!(error.chain = %chain(error), "A request was turned away for now");
            let mut body = ErrorBody::new("unavailable", "the service cannot answer at the moment")
                .with_hint("try again shortly");
            body.retry_after_ms = Some(1_000);
            Described::new(StatusCode::SERVICE_UNAVAILABLE, body)
        }
        Error::Internal(_) => {
            tracing::error!(error.chain = %chain(error), "A request failed through a fault of ours");
            Described::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                ErrorBody::new("internal", "the request failed through a fault of the service")
                    .with_hint("try again; if it stays, give the operator the request id"),
            )
        }
    }
}

fn describe_sign_in(error: &SignInError) -> Described {
    use SignInError as Kind;
    let described = |status, code, message: &str, hint: &str| {
        Described::new(status, ErrorBody::new(code, message).with_hint(hint))
    };
    match error {
        Kind::NotConfigured => described(
            StatusCode::NOT_FOUND,
            "sign_in_not_configured",
            "signing in is not configured on this installation",
            "use an API key; operators: set PATCHBAY_OIDC_ISSUER and PATCHBAY_OIDC_CLIENT_ID (docs/signing-in.md)",
        ),
        Kind::Expired => described(
            StatusCode::BAD_REQUEST,
            "sign_in_expired",
            "the sign-in took longer than 10 minutes, was used already, or was begun in another browser",
            "begin again at /auth/login",
        ),
        Kind::Refused(why) => described(
            StatusCode::FORBIDDEN,
            "sign_in_refused",
            &format!("the sign-in was refused: {why}"),
            "begin again at /auth/login; if it stays, ask the operator of this installation",
        ),
        Kind::Unavailable(why) => {
            tracing::warn!(reason = why, "The identity provider cannot be asked");
            let mut body = ErrorBody::new(
                "identity_provider_unavailable",
                "the identity provider cannot be asked at the moment, so nobody is let in",
            )
            .with_hint("try again shortly; operators: `patchbay doctor` says why");
            body.retry_after_ms = Some(5_000);
            Described::new(StatusCode::SERVICE_UNAVAILABLE, body)
        }
        Kind::Invitation(why) => described(
            StatusCode::FORBIDDEN,
            "invitation_not_accepted",
            &format!("the invitation was not accepted: {why}"),
            "sign in with the invited e-mail address, or ask for a new invitation",
        ),
        Kind::NoMembership => described(
            StatusCode::FORBIDDEN,
            "no_membership",
            "you are not a member of any tenant here",
            "ask an admin of your company for an invitation, and open its link; then sign in once with a browser",
        ),
        Kind::ChooseTenant { tenants } => {
            let list = tenants.join(", ");
            let mut body = ErrorBody::new(
                "choose_tenant",
                format!(
                    "you are a member of several tenants, or not of the one you named; yours are: {list}"
                ),
            )
            .with_hint("name one of yours: in the header Patchbay-Tenant, or as `tenant` when signing in");
            body.field = Some("/tenant".into());
            body.allowed.clone_from(tenants);
            let errors = vec![FieldError {
                pointer: "/tenant".into(),
                message: "must be one of your tenants".into(),
                allowed: tenants.clone(),
            }];
            Described { errors, ..Described::new(StatusCode::FORBIDDEN, body) }
        }
        Kind::NoScope => described(
            StatusCode::FORBIDDEN,
            "forbidden",
            "the access token grants nothing that your role in the tenant allows",
            "ask for a token with the scopes in the WWW-Authenticate header, or an admin for a greater role",
        ),
    }
}

fn describe_source(error: &SourceError) -> Described {
    use SourceErrorKind as Kind;
    let (status, code, hint, default_wait) = match error.kind {
        Kind::Unauthorized => (
            StatusCode::BAD_GATEWAY,
            "source_unauthorized",
            "the tracker refused the credentials: PATCH the instance with new ones",
            None,
        ),
        Kind::Forbidden => (
            StatusCode::BAD_GATEWAY,
            "source_forbidden",
            "give the credentials the missing permission in the tracker, or use others",
            None,
        ),
        Kind::NotFound => (
            StatusCode::BAD_GATEWAY,
            "source_not_found",
            "check base_url and the names in settings; the credentials must be allowed to see them",
            None,
        ),
        Kind::Gone => (
            StatusCode::BAD_GATEWAY,
            "source_gone",
            "it was deleted in the tracker: take it out of the settings",
            None,
        ),
        Kind::RateLimited => (
            StatusCode::SERVICE_UNAVAILABLE,
            "source_rate_limited",
            "the tracker asks to wait: try again after retry_after_ms",
            Some(Duration::from_secs(60)),
        ),
        Kind::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "source_unavailable",
            "check base_url and whether the tracker can be reached, then try again",
            Some(Duration::from_secs(10)),
        ),
        Kind::Rejected => (
            StatusCode::BAD_GATEWAY,
            "source_rejected",
            "the tracker refused the request as wrong: check the settings of the instance",
            None,
        ),
        Kind::Conflict => (
            StatusCode::CONFLICT,
            "source_conflict",
            "the item was changed meanwhile: read it again, then decide",
            None,
        ),
        Kind::Unsupported => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "source_unsupported",
            "this tracker cannot do that: do it in the tracker itself",
            None,
        ),
        Kind::Malformed => (
            StatusCode::BAD_GATEWAY,
            "source_malformed",
            "check that base_url is the address of the tracker's API, not of its web pages or a proxy",
            None,
        ),
        Kind::Blocked => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "egress_blocked",
            "use a public address, or have the operator add the network to PATCHBAY_EGRESS_ALLOW",
            None,
        ),
    };
    let mut body = ErrorBody::new(code, error.message.clone()).with_hint(hint);
    body.field.clone_from(&error.field);
    body.allowed.clone_from(&error.allowed);
    body.upstream_status = error.upstream_status;
    body.retry_after_ms = error.retry_after.or(default_wait).map(millis);
    let errors = error
        .field
        .iter()
        .map(|pointer| FieldError {
            pointer: pointer.clone(),
            message: error.message.clone(),
            allowed: error.allowed.clone(),
        })
        .collect();
    Described { errors, ..Described::new(status, body) }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// The error and its causes in one line, for the log.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
