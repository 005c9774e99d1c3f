//! `/runs`: backfills and syncs, their progress and outcome.

use application::Services;
use application::ports::{DeadLetter, RunFilter};
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{Run, RunError, RunId, RunState};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use validator::Validate;

use super::instances::ListQuery as PageQuery;
use super::list::{ListBody, Params};
use super::names::{RunKindName, RunStateName};
use super::openapi::{ItemFailures, ListFailures};
use crate::auth::Caller;
use crate::extract::{Json, NoBody, Path, Query};
use crate::problem::Problem;

/// One backfill or sync.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
pub(super) struct RunBody {
    id: Uuid,
    instance_id: Uuid,
    #[schema(value_type = RunKindName)]
    kind: &'static str,
    #[schema(value_type = RunStateName)]
    state: &'static str,
    progress: ProgressBody,
    counts: CountsBody,
    /// Why it failed, or what it waits for.
    error: Option<RunErrorBody>,
    /// The stream being read.
    #[schema(example = "issues")]
    stream: Option<String>,
    /// When it goes on, while it waits.
    resume_at: Option<DateTime<Utc>>,
    /// Whether someone asked to cancel it.
    cancel_requested: bool,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

/// How far a run is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Progress)]
struct ProgressBody {
    /// Objects handled so far.
    done: i64,
    /// Objects in all, as far as the tracker told.
    estimate: Option<i64>,
    /// Objects per second since the run began, waiting included.
    rate: Option<f64>,
    /// Seconds left at that rate.
    eta_s: Option<i64>,
}

/// What a run has counted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunCounts)]
struct CountsBody {
    /// Work items written, new or changed.
    upserted: i64,
    /// Work items that were as stored already.
    unchanged: i64,
    /// Work items marked deleted, with proof.
    tombstoned: i64,
    /// Objects that could not be mapped; each is a dead letter.
    failed: i64,
    /// Comments written, new or changed.
    comments: i64,
    /// Status changes written.
    transitions: i64,
    /// Requests sent to the tracker.
    requests: i64,
}

/// Why a run failed or waits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunError)]
pub(super) struct RunErrorBody {
    /// A stable word for programs.
    #[schema(example = "source_rate_limited")]
    code: String,
    /// What to do.
    hint: String,
}

impl From<RunError> for RunErrorBody {
    fn from(error: RunError) -> Self {
        Self { code: error.code, hint: error.hint }
    }
}

impl RunBody {
    pub(super) fn at(run: Run, now: DateTime<Utc>) -> Self {
        let progress = run.progress(now);
        Self {
            id: run.id.as_uuid(),
            instance_id: run.instance_id.as_uuid(),
            kind: run.kind.as_str(),
            state: run.state.as_str(),
            progress: ProgressBody {
                done: progress.done,
                estimate: progress.estimate,
                rate: progress.rate,
                eta_s: progress.eta_s,
            },
            counts: CountsBody {
                upserted: run.counts.upserted,
                unchanged: run.counts.unchanged,
                tombstoned: run.counts.tombstoned,
                failed: run.counts.failed,
                comments: run.counts.comments,
                transitions: run.counts.transitions,
                requests: run.counts.requests,
            },
            error: run.error.map(Into::into),
            stream: run.stream.map(|stream| stream.to_string()),
            resume_at: run.resume_at,
            cancel_requested: run.cancel_requested,
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
        }
    }
}

/// Only for rate and time left, which are worked out when a run is shown.
pub(super) fn now() -> DateTime<Utc> {
    #[expect(
        clippy::disallowed_methods,
        reason = "decides nothing; a clock in Services would serve only this"
    )]
    Utc::now()
}

/// Which runs to list.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Of one instance.
    #[param(value_type = Option<Uuid>)]
    instance: Option<String>,
    /// In one state.
    #[param(value_type = Option<RunStateName>)]
    state: Option<String>,
    /// The most items of a page.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists runs, newest first.
#[utoipa::path(
    get, path = "/runs", operation_id = "list_runs", tag = "runs", params(ListQuery),
    responses((status = 200, body = ListBody<RunBody>), ListFailures)
)]
pub(super) async fn list(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListBody<RunBody>>, Problem> {
    let mut params = Params::default();
    let filter = RunFilter {
        instance: params.id("instance", query.instance),
        state: params.one_of("state", query.state, RunState::parse, RunState::ALL.map(RunState::as_str)),
    };
    let page = params.page("runs", query.limit.as_deref(), query.cursor.as_deref());
    params.finish()?;
    let listing = services.sync.list_runs(&ctx, &filter, &page).await?;
    let now = now();
    Ok(Json(ListBody::of("runs", listing, |run| RunBody::at(run, now))))
}

/// Reads one run with its progress.
#[utoipa::path(
    get, path = "/runs/{id}", operation_id = "get_run", tag = "runs", params(("id" = Uuid, Path)),
    responses((status = 200, body = RunBody), ItemFailures)
)]
pub(super) async fn get(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<RunId>,
) -> Result<Json<RunBody>, Problem> {
    Ok(Json(RunBody::at(services.sync.get_run(&ctx, id).await?, now())))
}

/// Asks for a run to end; it does within a page. A finished run stays as it is.
#[utoipa::path(
    post, path = "/runs/{id}/cancel", operation_id = "cancel_run", tag = "runs", params(("id" = Uuid, Path)),
    responses((status = 200, body = RunBody), ItemFailures)
)]
pub(super) async fn cancel(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<RunId>,
    NoBody: NoBody,
) -> Result<Json<RunBody>, Problem> {
    Ok(Json(RunBody::at(services.sync.cancel_run(&ctx, id).await?, now())))
}

/// An object that could not be mapped.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(super) struct DeadLetterBody {
    id: Uuid,
    run_id: Uuid,
    /// The stream it came with.
    stream: String,
    /// Its id at the tracker, as far as it could be read.
    source_id: String,
    /// What is wrong with it.
    error: String,
    created_at: DateTime<Utc>,
}

impl From<DeadLetter> for DeadLetterBody {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            run_id: letter.run_id.as_uuid(),
            stream: letter.stream,
            source_id: letter.source_id,
            error: letter.error,
            created_at: letter.created_at,
        }
    }
}

/// Lists the objects of a run that could not be mapped, newest first.
#[utoipa::path(
    get, path = "/runs/{id}/dead-letters", operation_id = "list_dead_letters", tag = "runs", params(("id" = Uuid, Path), PageQuery),
    responses((status = 200, body = ListBody<DeadLetterBody>), ListFailures, ItemFailures)
)]
pub(super) async fn dead_letters(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<RunId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<ListBody<DeadLetterBody>>, Problem> {
    let mut params = Params::default();
    let page = params.page("dead_letters", query.limit.as_deref(), query.cursor.as_deref());
    params.finish()?;
    let listing = services.sync.dead_letters(&ctx, id, &page).await?;
    Ok(Json(ListBody::of("dead_letters", listing, DeadLetterBody::from)))
}
