//! How fresh an instance's data is, and the projects it has.

use application::Services;
use application::ports::{Freshness, StoredCounts};
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::InstanceId;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::names::{RunKindName, RunStateName};
use super::openapi::ItemFailures;
use super::runs::RunErrorBody;
use crate::auth::Caller;
use crate::extract::{Json, Path};
use crate::problem::Problem;

/// How fresh an instance's data is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Freshness)]
pub(super) struct FreshnessBody {
    instance_id: Uuid,
    slug: String,
    source: String,
    /// Changes at the tracker up to this moment are known to be here; null before the first successful run.
    synced_at: Option<DateTime<Utc>>,
    /// When a backfill last ended with success.
    backfilled_at: Option<DateTime<Utc>>,
    /// The unfinished run, if any.
    active_run: Option<ActiveRunBody>,
    /// Why the last run failed, if it did.
    last_error: Option<RunErrorBody>,
    /// Work items stored, deleted ones left out.
    items: i64,
    /// Objects that could not be mapped.
    dead_letters: i64,
}

/// An unfinished run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ActiveRun)]
struct ActiveRunBody {
    id: Uuid,
    #[schema(value_type = RunKindName)]
    kind: &'static str,
    #[schema(value_type = RunStateName)]
    state: &'static str,
}

impl From<(Freshness, StoredCounts)> for FreshnessBody {
    fn from((freshness, counts): (Freshness, StoredCounts)) -> Self {
        Self {
            instance_id: freshness.instance_id.as_uuid(),
            slug: freshness.slug.to_string(),
            source: freshness.source,
            synced_at: freshness.synced_at,
            backfilled_at: freshness.backfilled_at,
            active_run: freshness.active_run.map(|(id, kind, state)| ActiveRunBody {
                id: id.as_uuid(),
                kind: kind.as_str(),
                state: state.as_str(),
            }),
            last_error: freshness.last_error.map(Into::into),
            items: counts.items,
            dead_letters: counts.dead_letters,
        }
    }
}

/// Says how fresh an instance's data is.
#[utoipa::path(
    get, path = "/instances/{id}/freshness", operation_id = "get_freshness", tag = "instances", params(("id" = Uuid, Path)),
    responses((status = 200, body = FreshnessBody), ItemFailures)
)]
pub(super) async fn get(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<FreshnessBody>, Problem> {
    Ok(Json(services.sync.freshness(&ctx, id).await?.into()))
}

/// A project, repository or workspace.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Project)]
pub(super) struct ProjectBody {
    id: Uuid,
    /// The tracker's own immutable id.
    source_id: String,
    /// The key people use; work items refer to it as `project_key`.
    #[schema(example = "owner/repo")]
    key: String,
    name: String,
}

/// The projects of an instance.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Projects)]
pub(super) struct ProjectsBody {
    items: Vec<ProjectBody>,
    /// Always null: the list is whole.
    next_cursor: Option<String>,
}

/// Lists the synced projects of an instance, by key.
#[utoipa::path(
    get, path = "/instances/{id}/projects", operation_id = "list_projects", tag = "instances", params(("id" = Uuid, Path)),
    responses((status = 200, body = ProjectsBody), ItemFailures)
)]
pub(super) async fn list_projects(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<ProjectsBody>, Problem> {
    let projects = services.sync.projects(&ctx, id).await?;
    let items = projects
        .into_iter()
        .map(|(id, project, name)| ProjectBody {
            id: id.as_uuid(),
            source_id: project.source_id,
            key: project.key,
            name,
        })
        .collect();
    Ok(Json(ProjectsBody { items, next_cursor: None }))
}
