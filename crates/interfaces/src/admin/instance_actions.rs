//! What can be done with an instance: testing it, and starting runs.

use std::time::Instant;

use application::instances::TestedConnection;
use application::ports::{MissingScope, ProjectProbe};
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

use super::openapi::{BodyFailures, ItemFailures, StartFailures};
use crate::auth::Caller;
use crate::extract::{Json, NoBody, OptionalJson, Path};
use crate::problem::{ErrorBody, Problem};

/// Most projects that are named.
const MOST_PROJECTS: usize = 100;

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
    /// What the credentials lack, as far as the tracker tells.
    missing_scopes: Vec<MissingScopeBody>,
    /// The projects that would be synced: the first 100.
    projects: Vec<ProbedProject>,
    /// How many projects there are.
    project_count: i64,
    /// How long reading everything would take; `null` where signing in did not work.
    backfill: Option<BackfillBody>,
    /// How long the test took.
    latency_ms: u64,
    /// What does not work, and what to do about it; empty when all is well.
    problems: Vec<TestProblem>,
}

/// Something the credentials may not do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MissingScope)]
struct MissingScopeBody {
    /// The tracker's name of it.
    scope: String,
    /// What does not work without it.
    needed_for: String,
}

impl From<MissingScope> for MissingScopeBody {
    fn from(missing: MissingScope) -> Self {
        Self { scope: missing.scope, needed_for: missing.needed_for }
    }
}

/// A project as the test saw it.
#[derive(Debug, Serialize, ToSchema)]
struct ProbedProject {
    key: String,
    name: String,
    /// Items in it, as far as the tracker tells.
    items: Option<i64>,
    /// Why it cannot be read, when it cannot.
    problem: Option<String>,
}

impl From<ProjectProbe> for ProbedProject {
    fn from(probe: ProjectProbe) -> Self {
        Self { key: probe.key, name: probe.name, items: probe.items, problem: probe.problem }
    }
}

/// How long reading everything would take, as far as can be told before.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BackfillEstimate)]
struct BackfillBody {
    estimated_items: Option<i64>,
    /// Requests to the tracker.
    estimated_requests: Option<i64>,
    /// At the rate below.
    estimated_seconds: Option<i64>,
    requests_per_second: f64,
    /// What decides the rate: `budget`, the number of requests the tracker allows, or `latency`, how fast it answered.
    #[schema(example = "budget")]
    limited_by: &'static str,
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
    fn connected(tested: TestedConnection, latency_ms: u64) -> Self {
        let TestedConnection { report, backfill } = tested;
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
            missing_scopes: report.missing.into_iter().map(Into::into).collect(),
            projects: report.projects.into_iter().take(MOST_PROJECTS).map(Into::into).collect(),
            project_count: report.project_count,
            backfill: Some(BackfillBody {
                estimated_items: backfill.items,
                estimated_requests: backfill.requests,
                estimated_seconds: backfill.seconds,
                requests_per_second: backfill.requests_per_second,
                limited_by: if backfill.limited_by_budget { "budget" } else { "latency" },
            }),
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
            missing_scopes: Vec::new(),
            projects: Vec::new(),
            project_count: 0,
            backfill: None,
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
        Ok(tested) => Ok(Json(TestBody::connected(tested, latency_ms))),
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
    responses((status = 202, body = StartedBody, headers(("location" = String, description = "The run"))), StartFailures, ItemFailures, BodyFailures)
)]
pub(super) async fn start_reconcile(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
    OptionalJson(body): OptionalJson<ReconcileBody>,
) -> Result<impl IntoResponse, Problem> {
    Ok(started(&ctx, services.sync.start_reconcile(&ctx, id, body.confirm_removals).await?))
}

fn started(ctx: &Ctx, run: RunId) -> impl IntoResponse + use<> {
    tracing::info!(run.id = %run, request.id = %ctx.request_id, "Run {run} was asked for");
    let location: [(HeaderName, String); 1] = [(LOCATION, format!("/api/v1/runs/{run}"))];
    (StatusCode::ACCEPTED, location, Json(StartedBody { run_id: run.as_uuid() }))
}
