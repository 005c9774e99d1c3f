//! The order in which the synced copy changes: by the transactions that wrote it
//! (<https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT>).

use std::collections::BTreeSet;

use application::Ctx;
use application::ports::{
    ChangeKind, ChangePage, ChangePosition, ChangeStore, ItemChange, ItemPosition, StoreError,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::InstanceId;
use uuid::Uuid;

use super::db::{Db, Tx, store_error};

/// [`ChangeStore`] over PostgreSQL.
#[derive(Debug, Clone)]
pub struct PgChanges {
    db: Db,
}

impl PgChanges {
    /// Uses these connections.
    pub fn new(db: Db) -> Self {
        Self { db }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    source_key: String,
    project_key: String,
    added_in: i64,
    changed_in: i64,
    synced_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
}

impl Row {
    fn position(&self) -> ChangePosition {
        ChangePosition { transaction: self.changed_in, id: self.id }
    }

    fn into_change(self, after: ChangePosition) -> ItemChange {
        let kind = match self.deleted_at {
            Some(_) => ChangeKind::Deleted,
            None if self.added_in == self.changed_in || self.added_in > after.transaction => {
                ChangeKind::Created
            }
            None => ChangeKind::Updated,
        };
        ItemChange {
            key: self.source_key,
            kind,
            at: self.deleted_at.unwrap_or(self.synced_at),
            updated: self.deleted_at.is_none().then_some(self.updated_at),
            project: self.project_key,
        }
    }
}

/// The oldest transaction that may still write: all before it have ended.
async fn horizon(tx: &mut Tx) -> Result<i64, StoreError> {
    sqlx::query_scalar("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        .fetch_one(&mut **tx)
        .await
        .map_err(store_error)
}

fn before(transaction: i64) -> ChangePosition {
    ChangePosition { transaction: transaction - 1, id: Uuid::max() }
}

#[async_trait]
impl ChangeStore for PgChanges {
    async fn now(&self, ctx: &Ctx) -> Result<ChangePosition, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        Ok(before(horizon(&mut tx).await?))
    }

    async fn since(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        projects: Option<&BTreeSet<String>>,
        after: ChangePosition,
        limit: usize,
    ) -> Result<Option<ChangePage>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        // First: what ends between this and the next statement is above it, and told the next time.
        let horizon = horizon(&mut tx).await?;
        if after >= before(horizon.saturating_add(1)) {
            return Ok(None);
        }
        let mut rows: Vec<Row> = sqlx::query_as(
            "select id, source_key, project_key, added_in, changed_in, synced_at, updated_at, deleted_at
             from work_items
             where tenant_id = $1 and instance_id = $2 and (changed_in, id) > ($3, $4) and changed_in < $5
                 and ($6::text[] is null or project_key = any ($6))
             order by changed_in, id limit $7",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .bind(after.transaction)
        .bind(after.id)
        .bind(horizon)
        .bind(projects.map(|keys| keys.iter().cloned().collect::<Vec<_>>()))
        .bind(i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX))
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        // Behind everything that was looked at, so that the next look does not pass over it again.
        let next = match rows.last() {
            Some(last) if more => last.position(),
            _ => before(horizon).max(after),
        };
        let changes = rows.into_iter().map(|row| row.into_change(after)).collect();
        Ok(Some(ChangePage { changes, next, more }))
    }

    async fn positions(
        &self,
        ctx: &Ctx,
        items: &[(InstanceId, String)],
    ) -> Result<Vec<ItemPosition>, StoreError> {
        // PostgreSQL's text holds no NUL and refuses one as an error; so nothing stored can match.
        let items = items.iter().filter(|(_, key)| !key.contains('\0'));
        let (instances, keys): (Vec<Uuid>, Vec<String>) =
            items.map(|(instance, key)| (instance.as_uuid(), key.clone())).unzip();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.db.tenant_read(ctx).await?;
        // A key that was given to another item after its own was deleted is that other one's.
        let rows: Vec<(Uuid, String, String, i64)> = sqlx::query_as(
            "select distinct on (w.instance_id, w.source_key) w.instance_id, w.source_key, w.project_key, w.changed_in
             from unnest($2::uuid[], $3::text[]) as asked (instance_id, source_key)
             join work_items w on w.tenant_id = $1 and w.source_key = asked.source_key
                 and w.instance_id = asked.instance_id
             order by w.instance_id, w.source_key, w.deleted_at nulls first, w.changed_in desc",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instances)
        .bind(keys)
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
        Ok(rows
            .into_iter()
            .map(|(instance, key, project, changed_in)| ItemPosition {
                instance: InstanceId::new(instance),
                key,
                project,
                changed_in,
            })
            .collect())
    }
}
