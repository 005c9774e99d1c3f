//! Plans of changes of several items, until they expire.

use application::Ctx;
use application::ports::{BulkPlan, BulkPlanStore, StoreError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::InstanceId;
use sqlx::types::Json;
use uuid::Uuid;

use super::db::{Db, store_error};

/// How many old rows a new one clears away.
const SWEEP: i64 = 20;

/// [`BulkPlanStore`] over PostgreSQL.
#[derive(Debug, Clone)]
pub struct PgBulkPlans {
    db: Db,
}

impl PgBulkPlans {
    /// Uses these connections.
    pub fn new(db: Db) -> Self {
        Self { db }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    instance_id: Uuid,
    change: serde_json::Value,
    items: serde_json::Value,
    done: Vec<String>,
    expires_at: DateTime<Utc>,
}

fn unreadable(error: serde_json::Error) -> StoreError {
    StoreError::Internal(Box::new(error))
}

fn principal(ctx: &Ctx) -> Uuid {
    ctx.principal.id().unwrap_or_default()
}

#[async_trait]
impl BulkPlanStore for PgBulkPlans {
    async fn insert(&self, ctx: &Ctx, plan: &BulkPlan) -> Result<(), StoreError> {
        let mut tx = self.db.own_tx(ctx).await?;
        sqlx::query(
            "delete from bulk_plans where tenant_id = $1 and id in (
                 select id from bulk_plans where tenant_id = $1 and expires_at <= now() limit $2 for update skip locked)",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(SWEEP)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        sqlx::query(
            "insert into bulk_plans (tenant_id, id, instance_id, principal, change, items, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(plan.id)
        .bind(plan.instance.as_uuid())
        .bind(principal(ctx))
        .bind(Json(&plan.change))
        .bind(Json(&plan.items))
        .bind(plan.expires_at)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)
    }

    async fn find(&self, ctx: &Ctx, id: Uuid) -> Result<Option<BulkPlan>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let row: Option<Row> = sqlx::query_as(
            "select instance_id, change, items, done, expires_at from bulk_plans
             where tenant_id = $1 and id = $2 and principal = $3 and expires_at > now()",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(id)
        .bind(principal(ctx))
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(BulkPlan {
            id,
            instance: InstanceId::new(row.instance_id),
            change: serde_json::from_value(row.change).map_err(unreadable)?,
            items: serde_json::from_value(row.items).map_err(unreadable)?,
            done: row.done.into_iter().collect(),
            expires_at: row.expires_at,
        }))
    }

    async fn note_done(&self, ctx: &Ctx, id: Uuid, keys: &[String]) -> Result<(), StoreError> {
        let mut tx = self.db.own_tx(ctx).await?;
        sqlx::query(
            "update bulk_plans set done = array(select distinct unnest(done || $4))
             where tenant_id = $1 and id = $2 and principal = $3",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(id)
        .bind(principal(ctx))
        .bind(keys)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)
    }
}
