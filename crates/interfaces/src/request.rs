//! What every request gets: an id, a span, counters, a deadline, and limits on its body and number.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use application::Error;
use application::ports::{Health, StoreError};
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use domain::RequestId;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::DeadlineBody;
use tracing::Instrument;

use crate::metrics;
use crate::problem::Problem;
use crate::trace;

/// The largest body accepted.
pub const MAX_BODY: usize = 1024 * 1024;

/// How much of a refused body is read away, and for how long.
const MOST_DISCARDED: usize = 16 * MAX_BODY;
const LONGEST_DISCARD: Duration = Duration::from_secs(2);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The id of the request this task serves.
pub fn current_id() -> Option<RequestId> {
    CURRENT.try_with(|id| *id).ok()
}

/// A new id. Ids that callers send are not taken over: logs are found by ids only we make.
pub fn new_id() -> RequestId {
    RequestId::new(uuid::Uuid::now_v7())
}

/// Bounds on what one server takes on.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests served at once; more are turned away with 503.
    pub concurrency: usize,
    /// How long a handler may take until its answer begins.
    pub deadline: Duration,
    /// How long a body may take to arrive.
    pub body_deadline: Duration,
    /// The largest body accepted.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: 512,
            deadline: Duration::from_secs(30),
            body_deadline: Duration::from_secs(15),
            body: MAX_BODY,
        }
    }
}

#[derive(Debug, Clone)]
struct Gate {
    server: &'static str,
    limits: Limits,
    slots: Arc<Semaphore>,
}

/// Wraps a complete router. `server` names it in logs and metrics: `admin`, `mcp_sql`.
pub fn guard(router: Router, server: &'static str, limits: Limits) -> Router {
    let gate = Gate { server, limits, slots: Arc::new(Semaphore::new(limits.concurrency)) };
    router.layer(CatchPanicLayer::custom(after_panic)).layer(middleware::from_fn_with_state(gate, enter))
}

/// Turns requests away while what all of them need does not answer, those included that wait for it already: they would
/// wait in vain until their deadline, and keep their places. To be put inside of [`guard`].
pub fn while_there(router: Router, health: Arc<dyn Health>) -> Router {
    router.layer(middleware::from_fn_with_state(health, serve_while_there))
}

async fn serve_while_there(State(health): State<Arc<dyn Health>>, request: Request, next: Next) -> Response {
    tokio::select! {
        // First: nothing is begun that cannot end.
        biased;
        () = health.outage() => {
            Problem::from(Error::Unavailable(StoreError::Unavailable("the database does not answer".into())))
                .into_response()
        }
        response = next.run(request) => response,
    }
}

async fn enter(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = new_id();
    let method = metrics::method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = tracing::info_span!(
        "http.request",
        server = gate.server,
        request.id = %id,
        http.method = method,
        http.route = route,
    );
    if let Some(traceparent) = text(request.headers(), "traceparent") {
        trace::adopt(&span, &trace::Sent { traceparent, tracestate: text(request.headers(), "tracestate") });
    }
    let mut response = CURRENT.scope(id, admit(&gate, request, next)).instrument(span.clone()).await;
    let status = response.status().as_u16();
    let took = begun.elapsed();
    metrics::record(gate.server, method, route, status, took);
    span.in_scope(|| {
        tracing::info!(
            http.status = status,
            duration_ms = took.as_secs_f64() * 1000.0,
            "{method} {route}: {status}"
        );
    });
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        headers.insert(X_REQUEST_ID, value);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

async fn admit(gate: &Gate, request: Request, next: Next) -> Response {
    let Ok(_slot) = gate.slots.try_acquire() else {
        return Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "too many requests are being served",
        )
        .with_hint("try again shortly, with fewer requests at once")
        .with_retry_after(Duration::from_secs(1))
        .into_response();
    };
    if declared_length(&request).is_some_and(|length| length > gate.limits.body as u64) {
        discard(request.into_body()).await;
        return too_large_for(gate.limits.body).into_response();
    }
    let request = if request.body().is_end_stream() {
        request
    } else {
        request.map(|body| {
            Body::new(Limited::new(DeadlineBody::new(gate.limits.body_deadline, body), gate.limits.body))
        })
    };
    match tokio::time::timeout(gate.limits.deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            format!("the request took longer than {} s and was stopped", gate.limits.deadline.as_secs()),
        )
        .with_hint("ask for less at once, or try again")
        .into_response(),
    }
}

/// Reads away a body that is refused, within reason: closing a connection with unread data resets it, and the client
/// would see that instead of the answer.
async fn discard(body: Body) {
    let reading = async {
        let mut body = Limited::new(body, MOST_DISCARDED);
        while let Some(Ok(_)) = body.frame().await {}
    };
    // Whoever sends longer or slower than this sees the reset.
    let _ = tokio::time::timeout(LONGEST_DISCARD, reading).await;
}

fn declared_length(request: &Request) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// 413.
pub(crate) fn too_large() -> Problem {
    too_large_for(MAX_BODY)
}

fn too_large_for(most: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the body is larger than {most} bytes"),
    )
    .with_hint("send less")
}

/// Turns an unreadable body into what the client did wrong.
pub(crate) fn unreadable(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return too_large();
        }
        if error.is::<tower_http::timeout::TimeoutError>() {
            return too_slow();
        }
        cause = error.source();
    }
    Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "the body broke off before its end")
        .with_hint("send the request again")
}

/// 408.
pub(crate) fn too_slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body did not arrive in time")
        .with_hint("send the whole body at once")
}

#[expect(clippy::needless_pass_by_value, reason = "CatchPanicLayer hands it over")]
fn after_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic.message = what, "A handler panicked");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the request failed through a fault of the service",
    )
    .with_hint("try again; if it stays, give the operator the request id")
    .into_response()
}
