//! What can be done with an instance: testing it, and starting runs.

use std::time::Instant;

use application::ports::ConnectionReport;
use application::{Ctx, Error, Services};
use axum::extract::State;
use axum::response::IntoResponse;
use domain::{InstanceId, RunId};
use http::header::LOCATION;
use http::{HeaderName, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::openapi::{ItemFailures, StartFailures};
use crate::auth::Caller;
use crate::extract::{Json, NoBody, Path};
use crate::problem::{ErrorBody, Problem};

/// What a connection test found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConnectionTest)]
pub(super) struct TestBody {
    /// Whether signing in worked.
    connected: bool,
    /// Who the credentials belong to.
    account: Option<String>,
    /// The tracker's version, where it tells one.
    version: Option<String>,
    /// What the credentials may do, as far as the tracker tells.
    scopes: Vec<String>,
    /// How long the test took.
    latency_ms: u64,
    /// What does not work, and what to do about it; empty when all is well.
    problems: Vec<TestProblem>,
}

/// One thing that does not work.
#[derive(Debug, Serialize, ToSchema)]
struct TestProblem {
    /// A stable word, such as `source_unauthorized` or `egress_blocked`.
    code: &'static str,
    message: String,
    hint: Option<String>,
    /// How long the tracker asks to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// The HTTP status the tracker answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_status: Option<u16>,
}

impl TestBody {
    fn connected(report: ConnectionReport, latency_ms: u64) -> Self {
        let problems = report.problems.into_iter().map(|message| TestProblem {
            code: "limited_access",
            message,
            hint: None,
            retry_after_ms: None,
            upstream_status: None,
        });
        Self {
            connected: true,
            account: Some(report.account),
            version: report.version,
            scopes: report.scopes,
            latency_ms,
            problems: problems.collect(),
        }
    }

    fn refused(error: ErrorBody, latency_ms: u64) -> Self {
        Self {
            connected: false,
            account: None,
            version: None,
            scopes: Vec::new(),
            latency_ms,
            problems: vec![TestProblem {
                code: error.code,
                message: error.message,
                hint: error.hint,
                retry_after_ms: error.retry_after_ms,
                upstream_status: error.upstream_status,
            }],
        }
    }
}

/// Signs in to the tracker and says what works. That the tracker refuses is a finding, not a failure of this request.
#[utoipa::path(
    post, path = "/instances/{id}/test", operation_id = "test_instance", tag = "instances", params(("id" = Uuid, Path)),
    responses((status = 200, body = TestBody), ItemFailures)
)]
pub(super) async fn test(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
    NoBody: NoBody,
) -> Result<Json<TestBody>, Problem> {
    let begun = Instant::now();
    let outcome = services.instances.test(&ctx, id).await;
    let latency_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok(report) => Ok(Json(TestBody::connected(report, latency_ms))),
        Err(error @ Error::Source(_)) => Ok(Json(TestBody::refused((&error).into(), latency_ms))),
        Err(error) => Err(error.into()),
    }
}

/// A run was started.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StartedRun)]
pub(super) struct StartedBody {
    run_id: Uuid,
}

/// Starts reading everything of an instance.
#[utoipa::path(
    post, path = "/instances/{id}/backfill", operation_id = "start_backfill", tag = "runs", params(("id" = Uuid, Path)),
    responses((status = 202, body = StartedBody, headers(("location" = String, description = "The run"))), StartFailures, ItemFailures)
)]
pub(super) async fn start_backfill(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
    NoBody: NoBody,
) -> Result<impl IntoResponse, Problem> {
    Ok(started(&ctx, services.sync.start_backfill(&ctx, id).await?))
}

/// Starts reading what changed since the last successful run; the first one of an instance reads everything.
#[utoipa::path(
    post, path = "/instances/{id}/sync", operation_id = "start_sync", tag = "runs", params(("id" = Uuid, Path)),
    responses((status = 202, body = StartedBody, headers(("location" = String, description = "The run"))), StartFailures, ItemFailures)
)]
pub(super) async fn start_sync(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
    NoBody: NoBody,
) -> Result<impl IntoResponse, Problem> {
    Ok(started(&ctx, services.sync.start_sync(&ctx, id).await?))
}

/// How to compare.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Reconcile)]
pub(super) struct ReconcileBody {
    /// Mark items as deleted even when more than a tenth of a project's items seem to be gone. Without it such a run ends
    /// as partial and marks none.
    #[serde(default)]
    confirm_removals: bool,
}

/// Starts comparing everything with the tracker: what is missing here is read, and what is proved to be gone there is
/// marked as deleted.
#[utoipa::path(
    post, path = "/instances/{id}/reconcile", operation_id = "start_reconcile", tag = "runs", params(("id" = Uuid, Path)),
    request_body = ReconcileBody,
    responses((status = 202, body = StartedBody, headers(("location" = String, description = "The run"))), StartFailures, ItemFailures)
)]
pub(super) async fn start_reconcile(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
    Json(body): Json<ReconcileBody>,
) -> Result<impl IntoResponse, Problem> {
    Ok(started(&ctx, services.sync.start_reconcile(&ctx, id, body.confirm_removals).await?))
}

fn started(ctx: &Ctx, run: RunId) -> impl IntoResponse + use<> {
    tracing::info!(run.id = %run, request.id = %ctx.request_id, "Run {run} was asked for");
    let location: [(HeaderName, String); 1] = [(LOCATION, format!("/api/v1/runs/{run}"))];
    (StatusCode::ACCEPTED, location, Json(StartedBody { run_id: run.as_uuid() }))
}
