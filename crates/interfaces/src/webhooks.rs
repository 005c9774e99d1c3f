//! `POST /webhooks/{source}/{token}`: where trackers send what happened. No key: the address is unguessable, and each
//! delivery is signed. Answered once it is stored; applied later.

use std::sync::Arc;
use std::time::Duration;

use application::Error;
use application::Services;
use application::ports::{Refusal, StoreError};
use application::webhooks::{Answer, Incoming, IntakeError, WebhookService};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::extract::Path;
use crate::limits;
use crate::metrics::WEBHOOK_DELIVERIES;
use crate::problem::Problem;
use crate::request::{self, Limits, unreadable};

/// Deliveries taken in at once.
const CONCURRENCY: usize = 1_024;
/// Memory for the bodies of all that are taken in at once, in KiB; more have to be sent again.
const MOST_KIB: usize = 128 * 1024;
/// How long a tracker waits before it sends again what was turned away.
const SEND_AGAIN: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Intake {
    webhooks: Arc<WebhookService>,
    sources: Arc<[&'static str]>,
    memory: Arc<Semaphore>,
}

/// The route, with bounds of its own: `most` is the largest body.
pub fn router(services: &Services, most: usize) -> Router {
    let intake = Intake {
        webhooks: services.webhooks.clone(),
        sources: services.webhooks.sources().into(),
        memory: Arc::new(Semaphore::new(MOST_KIB.max(most.div_ceil(1024)))),
    };
    let routes = Router::new()
        .route("/webhooks/{source}/{token}", post(receive).with_state(intake))
        .layer(from_fn_with_state(services.limits.clone(), limits::webhook));
    let routes = request::while_there(routes, services.health.clone());
    let bounds = Limits { concurrency: CONCURRENCY, body: most, ..Limits::default() };
    request::guard(routes, "webhooks", bounds)
}

/// Takes in a delivery of a tracker. The address is unguessable and of one instance; `GET /instances/{id}/webhook` tells it.
#[utoipa::path(
    post, path = "/webhooks/{source}/{token}", operation_id = "receive_webhook", tag = "webhooks",
    params(
        ("source" = String, Path, description = "The source's name"),
        ("token" = String, Path, description = "The unguessable part of the address"),
    ),
    request_body(content = String, content_type = "application/json", description = "As the tracker sends it; its signature is of these bytes"),
    responses(
        (status = 200, description = "Stored, or known already"),
        (status = 400, description = "Signed, but not what the tracker's documentation promises", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "Not signed, or not with the secret of this address", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such address", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than is taken", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many from this client address; Retry-After says when to go on", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Could not be stored; send it again after Retry-After", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn receive(
    State(intake): State<Intake>,
    Path((source, token)): Path<(String, String)>,
    request: Request,
) -> Response {
    let known = intake.sources.iter().find(|known| **known == source).copied();
    let (outcome, response) = match known {
        Some(_) => take_in(&intake, source, token, request).await,
        None => ("unknown", unknown().into_response()),
    };
    counter!(WEBHOOK_DELIVERIES, "source" => known.unwrap_or("unknown"), "outcome" => outcome).increment(1);
    response
}

async fn take_in(
    intake: &Intake,
    source: String,
    token: String,
    request: Request,
) -> (&'static str, Response) {
    let (parts, body) = request.into_parts();
    let (body, _memory) = match read(body, &intake.memory).await {
        Ok(read) => read,
        Err(problem) => return ("unread", problem.into_response()),
    };
    let incoming = Incoming { source, token: token.into(), headers: headers(&parts.headers), body };
    match intake.webhooks.take_in(incoming).await {
        Ok(answer) => (answer.outcome, accepted(&answer)),
        Err(error) => refused(error),
    }
}

/// Reads a body, and keeps as much of the common memory as it takes.
async fn read(
    mut body: Body,
    memory: &Arc<Semaphore>,
) -> Result<(Vec<u8>, Vec<OwnedSemaphorePermit>), Problem> {
    let (mut read, mut permits) = (Vec::new(), Vec::new());
    let mut kept = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| unreadable(&error))?.into_data() else { continue };
        read.extend_from_slice(&data);
        let wanted = read.len().div_ceil(1024).saturating_sub(kept);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        if wanted > 0 {
            let permit = memory.clone().try_acquire_many_owned(wanted).map_err(|_| busy())?;
            kept += permit.num_permits();
            permits.push(permit);
        }
    }
    Ok((read, permits))
}

/// Those that are text; signatures and ids always are.
fn headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    headers.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?))).collect()
}

fn accepted(answer: &Answer) -> Response {
    let mut response = StatusCode::OK.into_response();
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(*name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn refused(error: IntakeError) -> (&'static str, Response) {
    let unsigned = |detail: &str| {
        Problem::new(StatusCode::UNAUTHORIZED, "unsigned_delivery", detail.to_owned())
            .with_hint("check that the secret at the tracker is the one this webhook was set up with")
            .with_challenge("Signature")
    };
    let (outcome, problem) = match error {
        IntakeError::Unknown => ("unknown", unknown()),
        IntakeError::Refused(refusal @ Refusal::Unsigned) => ("unsigned", unsigned(&refusal.to_string())),
        IntakeError::Refused(refusal @ Refusal::Forged) => ("forged", unsigned(&refusal.to_string())),
        IntakeError::Refused(refusal @ Refusal::Malformed) => (
            "malformed",
            Problem::new(StatusCode::BAD_REQUEST, "malformed_delivery", refusal.to_string())
                .with_hint("the tracker's documentation says what a delivery holds"),
        ),
        IntakeError::NotServed => ("not_served", busy()),
        IntakeError::Failed(Error::Unavailable(StoreError::Unavailable(_))) => ("busy", busy()),
        IntakeError::Failed(error) => ("failed", error.into()),
    };
    (outcome, problem.into_response())
}

/// Says nothing of what there is.
fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this address")
}

fn busy() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the delivery was not stored")
        .with_hint("send it again after the time in Retry-After")
        .with_retry_after(SEND_AGAIN)
}
