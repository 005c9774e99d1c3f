//! Reading the normalized data of a tenant.

use application::Ctx;
use application::ports::{ListCursor, ListPage, Listing, StoreError, WorkItemStore};
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use domain::{InstanceId, SourceKind, WorkItem, WorkItemFilter, WorkItemId};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::db::{Db, store_error};

/// [`WorkItemStore`] over PostgreSQL.
#[derive(Debug, Clone)]
pub struct PgWorkItems {
    db: Db,
}

impl PgWorkItems {
    /// Uses these connections.
    pub fn new(db: Db) -> Self {
        Self { db }
    }
}

/// All but the body. Comments and sprints are looked up by index, for the rows of a page only.
const COLUMNS: &str = "w.id, w.instance_id, w.source, w.source_id, w.source_key, w.project_key, w.type_norm,
    w.type_original, w.status_norm, w.status_original, w.resolution_original, w.priority_norm, w.priority_original,
    w.title, w.assignee, w.assignees, w.reporter, w.labels, w.milestone, w.due_on, w.url, w.custom_fields,
    w.created_at, w.updated_at, w.resolved_at, w.deleted_at, w.delete_reason, w.start_on, w.story_points, w.estimate_s,
    w.spent_s, w.remaining_s, w.status_category, w.synced_at,
    array(select s.name from sprint_memberships m join sprints s on s.tenant_id = m.tenant_id
              and s.instance_id = m.instance_id and s.source_id = m.sprint_source_id
          where m.tenant_id = w.tenant_id and m.instance_id = w.instance_id and m.item_ref_key = w.ref_key
              and m.removed_at is null order by s.start_at, s.source_id) as sprints,
    (select count(*) from comments c where c.tenant_id = w.tenant_id and c.instance_id = w.instance_id
         and c.item_ref_key = w.ref_key) as comment_count";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    instance_id: Uuid,
    source: String,
    source_id: String,
    source_key: String,
    project_key: String,
    type_norm: String,
    type_original: String,
    status_norm: String,
    status_original: String,
    status_category: Option<String>,
    resolution_original: Option<String>,
    priority_norm: String,
    priority_original: Option<String>,
    title: String,
    #[sqlx(default)]
    body: Option<String>,
    assignee: Option<String>,
    assignees: Vec<String>,
    reporter: Option<String>,
    labels: Vec<String>,
    milestone: Option<String>,
    due_on: Option<NaiveDate>,
    start_on: Option<NaiveDate>,
    story_points: Option<f64>,
    estimate_s: Option<i64>,
    spent_s: Option<i64>,
    remaining_s: Option<i64>,
    sprints: Vec<String>,
    url: String,
    custom_fields: serde_json::Value,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
    synced_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
    delete_reason: Option<String>,
    comment_count: i64,
}

impl TryFrom<Row> for WorkItem {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unknown =
            |_| StoreError::Internal(format!("work item {} has an unknown normalized value", row.id).into());
        Ok(Self {
            id: WorkItemId::new(row.id),
            instance_id: InstanceId::new(row.instance_id),
            source: SourceKind::new(row.source),
            source_id: row.source_id,
            source_key: row.source_key,
            project_key: row.project_key,
            type_norm: row.type_norm.parse().map_err(unknown)?,
            type_original: row.type_original,
            status_norm: row.status_norm.parse().map_err(unknown)?,
            status_original: row.status_original,
            status_category: row.status_category,
            resolution_original: row.resolution_original,
            priority: row.priority_norm.parse().map_err(unknown)?,
            priority_original: row.priority_original,
            title: row.title,
            body: row.body,
            assignee: row.assignee,
            assignees: row.assignees,
            reporter: row.reporter,
            labels: row.labels,
            milestone: row.milestone,
            due_on: row.due_on,
            start_on: row.start_on,
            story_points: row.story_points,
            estimate_s: row.estimate_s,
            spent_s: row.spent_s,
            remaining_s: row.remaining_s,
            sprints: row.sprints,
            comment_count: row.comment_count,
            created_at: row.created_at,
            updated_at: row.updated_at,
            resolved_at: row.resolved_at,
            synced_at: row.synced_at,
            url: row.url,
            custom_fields: row.custom_fields,
            deleted_at: row.deleted_at,
            delete_reason: row.delete_reason,
        })
    }
}

#[async_trait]
impl WorkItemStore for PgWorkItems {
    async fn list(
        &self,
        ctx: &Ctx,
        filter: &WorkItemFilter,
        page: &ListPage,
    ) -> Result<Listing<WorkItem>, StoreError> {
        let position =
            page.cursor.as_ref().map(|cursor| (DateTime::parse_from_rfc3339(&cursor.after), cursor.id));
        let position = match position {
            // Nothing stands behind a position that no page ended at.
            Some((Err(_), _)) => return Ok(Listing { items: Vec::new(), next: None }),
            Some((Ok(updated_at), id)) => Some((updated_at.to_utc(), id)),
            None => None,
        };
        if holds_nul(filter) {
            return Ok(Listing { items: Vec::new(), next: None });
        }
        let mut query = QueryBuilder::new("select ");
        query.push(COLUMNS).push(" from work_items w where w.tenant_id = ").push_bind(ctx.tenant.as_uuid());
        conditions(&mut query, ctx, filter);
        if let Some((updated_at, id)) = position {
            query
                .push(" and (w.updated_at, w.id) < (")
                .push_bind(updated_at)
                .push(", ")
                .push_bind(id)
                .push(")");
        }
        query.push(" order by w.updated_at desc, w.id desc limit ").push_bind(page.limit + 1);

        let mut tx = self.db.tenant_read(ctx).await?;
        let rows: Vec<Row> = query.build_query_as().fetch_all(&mut *tx).await.map_err(store_error)?;
        let mut items = rows.into_iter().map(WorkItem::try_from).collect::<Result<Vec<_>, _>>()?;
        let limit = usize::try_from(page.limit).unwrap_or(0);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| ListCursor {
            // The column's own precision, so that the next page begins exactly behind this row.
            after: last.updated_at.to_rfc3339_opts(SecondsFormat::Micros, true),
            id: last.id.as_uuid(),
        });
        Ok(Listing { items, next })
    }

    async fn find(&self, ctx: &Ctx, id: WorkItemId) -> Result<Option<WorkItem>, StoreError> {
        let mut query = QueryBuilder::new("select w.body, ");
        query.push(COLUMNS).push(" from work_items w where w.tenant_id = ").push_bind(ctx.tenant.as_uuid());
        query.push(" and w.id = ").push_bind(id.as_uuid());
        let mut tx = self.db.tenant_read(ctx).await?;
        let row: Option<Row> = query.build_query_as().fetch_optional(&mut *tx).await.map_err(store_error)?;
        row.map(WorkItem::try_from).transpose()
    }

    async fn find_by_key(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        key: &str,
    ) -> Result<Option<WorkItem>, StoreError> {
        if key.contains('\0') {
            return Ok(None);
        }
        let mut query = QueryBuilder::new("select w.body, ");
        query.push(COLUMNS).push(" from work_items w where w.tenant_id = ").push_bind(ctx.tenant.as_uuid());
        query.push(" and w.instance_id = ").push_bind(instance.as_uuid());
        query.push(" and w.source_key = ").push_bind(key.to_owned());
        // Trackers give a key to one item at a time; while a move is half known, two may have it here.
        query.push(" and w.deleted_at is null order by w.changed_in desc limit 1");
        let mut tx = self.db.tenant_read(ctx).await?;
        let row: Option<Row> = query.build_query_as().fetch_optional(&mut *tx).await.map_err(store_error)?;
        row.map(WorkItem::try_from).transpose()
    }
}

/// Only conditions that are asked for stand in the statement, so that each combination gets its own plan.
fn conditions(query: &mut QueryBuilder<Postgres>, ctx: &Ctx, filter: &WorkItemFilter) {
    if let Some(instance) = filter.instance {
        query.push(" and w.instance_id = ").push_bind(instance.as_uuid());
    }
    if let Some(project) = &filter.project {
        query.push(" and w.project_key = ").push_bind(project.clone());
    }
    if let Some(status) = filter.status {
        query.push(" and w.status_norm = ").push_bind(status.as_str());
    }
    if let Some(type_norm) = filter.type_norm {
        query.push(" and w.type_norm = ").push_bind(type_norm.as_str());
    }
    if let Some(label) = &filter.label {
        query
            .push(" and w.id in (select l.work_item_id from work_item_labels l where l.tenant_id = ")
            .push_bind(ctx.tenant.as_uuid())
            .push(" and l.label = ")
            .push_bind(label.clone())
            .push(")");
    }
    if let Some(assignee) = &filter.assignee {
        query.push(" and (w.assignee = ").push_bind(assignee.clone());
        query.push(" or ").push_bind(assignee.clone()).push(" = any(w.assignees))");
    }
    if let Some(since) = filter.updated_since {
        query.push(" and w.updated_at >= ").push_bind(since);
    }
    if !filter.include_deleted {
        query.push(" and w.deleted_at is null");
    }
}

/// PostgreSQL's text holds no NUL and refuses one as an error; so nothing stored can match.
fn holds_nul(filter: &WorkItemFilter) -> bool {
    [&filter.project, &filter.label, &filter.assignee].into_iter().flatten().any(|text| text.contains('\0'))
}
