//! `/work-items`: the normalized data.

use application::Services;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use domain::{WorkItem, WorkItemFilter, WorkItemId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use validator::Validate;

use super::list::{ListBody, Params};
use super::names::{PriorityName, StatusName, TypeName};
use super::openapi::{ItemFailures, ListFailures};
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::problem::Problem;

/// An issue, task or pull request of any tracker, normalized and original values side by side.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkItem)]
pub(super) struct WorkItemBody {
    id: Uuid,
    instance_id: Uuid,
    #[schema(example = "github")]
    source: String,
    /// The tracker's own immutable id.
    source_id: String,
    /// The key people use; may change.
    #[schema(example = "owner/repo#12")]
    source_key: String,
    project_key: String,
    #[serde(rename = "type")]
    #[schema(value_type = TypeName)]
    kind: &'static str,
    type_original: String,
    #[schema(value_type = StatusName)]
    status: &'static str,
    status_original: String,
    /// The tracker's reason for closing.
    resolution_original: Option<String>,
    #[schema(value_type = PriorityName)]
    priority: &'static str,
    priority_original: Option<String>,
    title: String,
    /// The description; only where a single item is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The first assignee.
    assignee: Option<String>,
    assignees: Vec<String>,
    reporter: Option<String>,
    labels: Vec<String>,
    milestone: Option<String>,
    due_on: Option<NaiveDate>,
    /// The day work on it begins.
    start_on: Option<NaiveDate>,
    /// Its size.
    story_points: Option<f64>,
    /// Estimated effort, in seconds.
    estimate_s: Option<i64>,
    /// Booked effort, in seconds.
    spent_s: Option<i64>,
    /// Effort left, in seconds.
    remaining_s: Option<i64>,
    /// The sprints it is in now.
    sprints: Vec<String>,
    /// How many comments are stored.
    comment_count: i64,
    /// By the tracker's clock.
    created_at: DateTime<Utc>,
    /// By the tracker's clock.
    updated_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
    /// Its page in the tracker.
    url: String,
    #[schema(value_type = Object)]
    custom_fields: Value,
    /// When it was found deleted at the tracker.
    deleted_at: Option<DateTime<Utc>>,
    /// `deleted`, `transferred` or `archived`.
    delete_reason: Option<String>,
}

impl From<WorkItem> for WorkItemBody {
    fn from(item: WorkItem) -> Self {
        Self {
            id: item.id.as_uuid(),
            instance_id: item.instance_id.as_uuid(),
            source: item.source.to_string(),
            source_id: item.source_id,
            source_key: item.source_key,
            project_key: item.project_key,
            kind: item.type_norm.as_str(),
            type_original: item.type_original,
            status: item.status_norm.as_str(),
            status_original: item.status_original,
            resolution_original: item.resolution_original,
            priority: item.priority.as_str(),
            priority_original: item.priority_original,
            title: item.title,
            body: item.body,
            assignee: item.assignee,
            assignees: item.assignees,
            reporter: item.reporter,
            labels: item.labels,
            milestone: item.milestone,
            due_on: item.due_on,
            start_on: item.start_on,
            story_points: item.story_points,
            estimate_s: item.estimate_s,
            spent_s: item.spent_s,
            remaining_s: item.remaining_s,
            sprints: item.sprints,
            comment_count: item.comment_count,
            created_at: item.created_at,
            updated_at: item.updated_at,
            resolved_at: item.resolved_at,
            url: item.url,
            custom_fields: item.custom_fields,
            deleted_at: item.deleted_at,
            delete_reason: item.delete_reason,
        }
    }
}

/// Which work items to list; all given conditions hold together.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Of one instance.
    #[param(value_type = Option<Uuid>)]
    instance: Option<String>,
    /// Of one project, by its key.
    #[validate(length(max = 300, message = "must have at most 300 characters"))]
    project: Option<String>,
    /// With one normalized status.
    #[param(value_type = Option<StatusName>)]
    status: Option<String>,
    /// Of one normalized type.
    #[serde(rename = "type")]
    #[param(value_type = Option<TypeName>)]
    kind: Option<String>,
    /// With one label.
    #[validate(length(max = 300, message = "must have at most 300 characters"))]
    label: Option<String>,
    /// Assigned to one login or name.
    #[validate(length(max = 300, message = "must have at most 300 characters"))]
    assignee: Option<String>,
    /// Changed at or after this moment.
    #[param(value_type = Option<DateTime<Utc>>)]
    updated_since: Option<String>,
    /// Deleted ones too.
    #[param(value_type = Option<bool>, default = false)]
    include_deleted: Option<String>,
    /// The most items of a page.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists work items, newest change first.
#[utoipa::path(
    get, path = "/work-items", operation_id = "list_work_items", tag = "work items", params(ListQuery),
    responses((status = 200, body = ListBody<WorkItemBody>), ListFailures)
)]
pub(super) async fn list(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListBody<WorkItemBody>>, Problem> {
    let mut params = Params::default();
    let filter = WorkItemFilter {
        instance: params.id("instance", query.instance),
        project: params.text("project", query.project),
        status: params.named("status", query.status),
        type_norm: params.named("type", query.kind),
        label: params.text("label", query.label),
        assignee: params.text("assignee", query.assignee),
        updated_since: params.parsed(
            "updated_since",
            query.updated_since,
            "must be a moment such as 2026-01-31T08:00:00Z",
        ),
        include_deleted: params
            .parsed("include_deleted", query.include_deleted, "must be true or false")
            .unwrap_or(false),
    };
    let page = params.page("work_items", query.limit.as_deref(), query.cursor.as_deref());
    params.finish()?;
    let listing = services.work_items.list(&ctx, &filter, &page).await?;
    Ok(Json(ListBody::of("work_items", listing, WorkItemBody::from)))
}

/// Reads one work item with its description.
#[utoipa::path(
    get, path = "/work-items/{id}", operation_id = "get_work_item", tag = "work items", params(("id" = Uuid, Path)),
    responses((status = 200, body = WorkItemBody), ItemFailures)
)]
pub(super) async fn get(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<WorkItemId>,
) -> Result<Json<WorkItemBody>, Problem> {
    Ok(Json(services.work_items.get(&ctx, id).await?.into()))
}
