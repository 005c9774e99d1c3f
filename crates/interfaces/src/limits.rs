//! Rate limits over HTTP: who is counted, the 429, and the header fields that tell a client where it stands
//! (draft-ietf-httpapi-ratelimit-headers-10).

mod address;

use std::fmt::Write;
use std::sync::Arc;

use application::Error;
use application::limits::LimitService;
use application::ports::LimitState;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use crate::auth::Caller;
use crate::problem::Problem;
pub use address::{ClientAddress, TrustedProxies};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Counts a request of a client address, before anything else is looked at.
///
/// ```ignore
/// router.layer(axum::middleware::from_fn_with_state(services.limits.clone(), limits::by_address))
/// ```
pub async fn by_address(State(limits): State<Arc<LimitService>>, request: Request, next: Next) -> Response {
    match limits.count_address(ClientAddress::of(request.extensions())).await {
        Ok(_) => next.run(request).await,
        Err(error) => refusal(error),
    }
}

/// Counts a request of a signed-in caller, and tells on every answer where its limits stand. Belongs inside of
/// [`crate::auth::require_caller`].
pub async fn by_caller(
    State(limits): State<Arc<LimitService>>,
    Caller { ctx, .. }: Caller,
    request: Request,
    next: Next,
) -> Response {
    match limits.count_request(&ctx).await {
        Ok(states) => {
            let mut response = next.run(request).await;
            tell(response.headers_mut(), &states);
            response
        }
        Err(error) => refusal(error),
    }
}

/// Counts a sign-in or a request for a token, for every route where guessing would pay. 503 while it cannot be counted
/// for all replicas.
pub async fn sign_in(State(limits): State<Arc<LimitService>>, request: Request, next: Next) -> Response {
    match limits.count_sign_in(ClientAddress::of(request.extensions())).await {
        Ok(_) => next.run(request).await,
        Err(error) => refusal(error),
    }
}

/// Counts a webhook delivery of a client address: trackers send more than people ask.
pub async fn webhook(State(limits): State<Arc<LimitService>>, request: Request, next: Next) -> Response {
    match limits.count_webhook(ClientAddress::of(request.extensions())).await {
        Ok(_) => next.run(request).await,
        Err(error) => refusal(error),
    }
}

fn refusal(error: Error) -> Response {
    let state = match &error {
        Error::RateLimited { state, .. } => Some(state.clone()),
        _ => None,
    };
    let mut response = Problem::from(error).into_response();
    tell(response.headers_mut(), state.as_slice());
    response
}

/// `RateLimit-Policy: "key";q=1200;w=60` and `RateLimit: "key";r=239;t=1`: the quota and its window, what is left at
/// once and the seconds until all of it is there again.
fn tell(headers: &mut HeaderMap, states: &[LimitState]) {
    if states.is_empty() {
        return;
    }
    let (mut policies, mut limits) = (String::new(), String::new());
    for (i, LimitState { name, quota, remaining, reset }) in states.iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        let reset = reset.as_millis().div_ceil(1_000);
        // Writing to a string does not fail.
        let _ = write!(policies, "{comma}\"{name}\";q={};w={}", quota.count, quota.window.as_secs());
        let _ = write!(limits, "{comma}\"{name}\";r={remaining};t={reset}");
    }
    for (name, value) in [(RATE_LIMIT_POLICY, policies), (RATE_LIMIT, limits)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::Quota;

    use super::*;

    #[test]
    fn limits_are_told_as_lists_of_structured_fields() {
        let state = |name, count, remaining, reset| LimitState {
            name,
            quota: Quota::per(count, 60, count),
            remaining,
            reset: Duration::from_millis(reset),
        };
        let mut headers = HeaderMap::new();
        tell(&mut headers, &[state("key", 1_200, 239, 50), state("tenant", 6_000, 1_199, 1_001)]);
        assert_eq!(headers["ratelimit-policy"], "\"key\";q=1200;w=60, \"tenant\";q=6000;w=60");
        assert_eq!(headers["ratelimit"], "\"key\";r=239;t=1, \"tenant\";r=1199;t=2");
    }
}
