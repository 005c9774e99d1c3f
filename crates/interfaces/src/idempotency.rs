//! `Idempotency-Key`: a POST that carries one has one effect, however often it is sent.

mod description;

use std::sync::Arc;

use application::Error;
use application::idempotency::{Begun, IdempotencyService, fingerprint, is_key};
use application::ports::{IdempotencyKey, StoredAnswer};
use axum::body::Body;
use axum::extract::{MatchedPath, OriginalUri, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LINK, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Limited};

use crate::auth::Caller;
use crate::extract;
use crate::problem::Problem;
use crate::request::MAX_BODY;
pub(crate) use description::describe;

/// The header of a request.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of an answer that was kept from an earlier request.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The headers that are kept with an answer.
const KEPT: [HeaderName; 4] = [CONTENT_TYPE, LOCATION, LINK, WWW_AUTHENTICATE];

/// State of [`once`].
#[derive(Clone)]
pub(crate) struct Once {
    service: Arc<IdempotencyService>,
    /// Whether a request of this body changes anything. Reads are not kept: repeating them does no harm.
    changes: fn(&[u8]) -> bool,
}

impl Once {
    /// Every POST counts.
    pub(crate) fn new(service: Arc<IdempotencyService>) -> Self {
        Self { service, changes: |_| true }
    }

    /// Only those count whose body says that they change something.
    pub(crate) fn when(mut self, changes: fn(&[u8]) -> bool) -> Self {
        self.changes = changes;
        self
    }
}

/// Serves each POST with a key once, and repetitions from what was kept. Goes inside of
/// [`require_caller`](crate::auth::require_caller), as keys belong to their callers.
pub(crate) async fn once(State(once): State<Once>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return next.run(request).await;
    }
    serve(&once, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn serve(once: &Once, request: Request, next: Next) -> Result<Response, Problem> {
    let key = key(request.headers())?;
    let (mut parts, body) = request.into_parts();
    let Some(caller) = parts.extensions.get::<Caller>().cloned() else {
        return Err(Error::Unauthenticated("no API key was checked").into());
    };
    let body = extract::read(Request::new(body)).await?;
    if !(once.changes)(&body) {
        return Ok(next.run(Request::from_parts(parts, Body::from(body))).await);
    }
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
    let route = parts.extensions.get::<MatchedPath>().map_or(uri.path(), MatchedPath::as_str);
    let key = IdempotencyKey {
        key,
        route: format!("{} {route}", parts.method),
        fingerprint: fingerprint(parts.method.as_str(), uri.path(), uri.query(), &body),
    };
    let claim = match once.service.begin(&caller.ctx, key).await? {
        Begun::Done(answer) => return replay(answer),
        Begun::Fresh(claim) => claim,
    };
    parts.extensions.insert(Caller { ctx: claim.ctx().clone(), ..caller });
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (head, body) = response.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        claim.release().await;
        tracing::error!("The answer to a request with an idempotency key is too large to be kept");
        return Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "answer_too_large",
            "the answer is too large to be kept for repetitions, so nothing was done",
        )
        .with_hint("ask for less, or leave the Idempotency-Key away"));
    };
    let body = body.to_bytes();
    let answer =
        StoredAnswer { status: head.status.as_u16(), headers: kept(&head.headers), body: body.to_vec() };
    claim.settle(&answer).await?;
    Ok(Response::from_parts(head, Body::from(body)))
}

fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (given.next().and_then(|value| value.to_str().ok()), given.next()) {
        (Some(key), None) if is_key(key) => Ok(key.to_owned()),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "idempotency_key_malformed",
            "the header Idempotency-Key is not one text of 1 to 255 visible ASCII characters",
        )
        .with_hint(
            "send one key, such as a UUID, and the same one again only when repeating the same request",
        )),
    }
}

fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let all = KEPT.iter().flat_map(|name| headers.get_all(name).iter().map(move |value| (name, value)));
    all.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned()))).collect()
}

fn replay(answer: StoredAnswer) -> Result<Response, Problem> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the kept answer cannot be read")
            .with_hint("use a new Idempotency-Key, after a look whether the request was done")
    })?;
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}
