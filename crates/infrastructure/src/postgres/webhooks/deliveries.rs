//! Deliveries: listing them, applying them once more, and those that are open.

use application::Ctx;
use application::ports::{ListCursor, ListPage, Listing, OpenDelivery, PutOff, StoreError};
use chrono::{DateTime, Utc};
use domain::webhook::MOST_ATTEMPTS;
use domain::{AuditEntry, Hints, InstanceId, WebhookDelivery};
use sqlx::QueryBuilder;
use sqlx::types::Json;
use uuid::Uuid;

use super::REPLAYED;
use crate::postgres::audit::AuditChain;
use crate::postgres::db::{Db, Tx, store_error};
use crate::postgres::jobs;

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    delivery_id: String,
    event: String,
    hints: Json<Hints>,
    received_at: DateTime<Utc>,
    applied_at: Option<DateTime<Utc>>,
    attempts: i32,
    problem: Option<String>,
}

impl From<Row> for WebhookDelivery {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            delivery_id: row.delivery_id,
            event: row.event,
            hints: row.hints.0,
            received_at: row.received_at,
            applied_at: row.applied_at,
            attempts: row.attempts,
            problem: row.problem,
        }
    }
}

pub(super) async fn list(
    db: &Db,
    ctx: &Ctx,
    instance: InstanceId,
    page: &ListPage,
) -> Result<Listing<WebhookDelivery>, StoreError> {
    let mut query = QueryBuilder::new(
        "select id, delivery_id, event, hints, received_at, applied_at, attempts, problem
         from webhook_deliveries where tenant_id = ",
    );
    query.push_bind(ctx.tenant.as_uuid()).push(" and instance_id = ").push_bind(instance.as_uuid());
    if let Some(after) = &page.cursor {
        // Ids are UUIDv7: their order is the order of receipt.
        query.push(" and id < ").push_bind(after.id);
    }
    query.push(" order by id desc limit ").push_bind(page.limit + 1);
    let mut tx = db.tenant_read(ctx).await?;
    let rows: Vec<Row> = query.build_query_as().fetch_all(&mut *tx).await.map_err(store_error)?;
    let mut items: Vec<WebhookDelivery> = rows.into_iter().map(Into::into).collect();
    let limit = usize::try_from(page.limit).unwrap_or(0);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| ListCursor { after: String::new(), id: last.id });
    Ok(Listing { items, next })
}

pub(super) async fn replay(
    db: &Db,
    audit: &AuditChain,
    ctx: &Ctx,
    instance: InstanceId,
    delivery: Uuid,
) -> Result<Option<WebhookDelivery>, StoreError> {
    let mut tx = db.tenant_tx(ctx).await?;
    let row: Option<Row> = sqlx::query_as(
        "update webhook_deliveries set applied_at = null, attempts = 0, problem = null, retry_at = null
         where tenant_id = $1 and instance_id = $2 and id = $3
         returning id, delivery_id, event, hints, received_at, applied_at, attempts, problem",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .bind(delivery)
    .fetch_optional(&mut *tx)
    .await
    .map_err(store_error)?;
    let Some(row) = row else { return Ok(None) };
    jobs::enqueue_hints(&mut tx, ctx.tenant, instance, None).await?;
    let entry = AuditEntry::ok(REPLAYED).to("instance", instance).with("delivery", delivery.to_string());
    audit.record(&mut tx, ctx, &entry).await?;
    tx.commit().await.map_err(store_error)?;
    Ok(Some(row.into()))
}

pub(super) async fn open(
    db: &Db,
    ctx: &Ctx,
    instance: InstanceId,
    limit: i64,
) -> Result<Vec<OpenDelivery>, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    let rows: Vec<(Uuid, Json<Hints>, i32)> = sqlx::query_as(
        "select id, hints, attempts from webhook_deliveries
         where tenant_id = $1 and instance_id = $2 and applied_at is null and attempts < $3
           and (retry_at is null or retry_at <= now())
           and exists (select from tenants t where t.id = $1 and t.status = 'active')
         order by received_at limit $4",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .bind(MOST_ATTEMPTS)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await
    .map_err(store_error)?;
    Ok(rows.into_iter().map(|(id, hints, attempts)| OpenDelivery { id, hints: hints.0, attempts }).collect())
}

pub(super) async fn put_off(
    db: &Db,
    ctx: &Ctx,
    instance: InstanceId,
    what: PutOff<'_>,
) -> Result<(), StoreError> {
    let mut tx = db.tenant_tx(ctx).await?;
    sqlx::query(
        "update webhook_deliveries set attempts = least(attempts + $4, $5), problem = $6, retry_at = $7
         where tenant_id = $1 and instance_id = $2 and id = any ($3) and applied_at is null",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .bind(what.deliveries)
    .bind(what.attempts)
    .bind(MOST_ATTEMPTS)
    .bind(what.problem.replace('\0', ""))
    .bind(what.retry_at)
    .execute(&mut *tx)
    .await
    .map_err(store_error)?;
    enqueue_next_retry(&mut tx, ctx, instance).await?;
    tx.commit().await.map_err(store_error)
}

pub(super) async fn retry_later(db: &Db, ctx: &Ctx, instance: InstanceId) -> Result<(), StoreError> {
    let mut tx = db.tenant_tx(ctx).await?;
    enqueue_next_retry(&mut tx, ctx, instance).await?;
    tx.commit().await.map_err(store_error)
}

/// There is one job for all that wait for another try, for when the first of them is due.
async fn enqueue_next_retry(tx: &mut Tx, ctx: &Ctx, instance: InstanceId) -> Result<(), StoreError> {
    let next: Option<DateTime<Utc>> = sqlx::query_scalar(
        "select min(retry_at) from webhook_deliveries
         where tenant_id = $1 and instance_id = $2 and applied_at is null and attempts < $3",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .bind(MOST_ATTEMPTS)
    .fetch_one(&mut **tx)
    .await
    .map_err(store_error)?;
    match next {
        Some(at) => jobs::enqueue_hints(tx, ctx.tenant, instance, Some(at)).await,
        None => Ok(()),
    }
}

pub(super) async fn skip_open(
    db: &Db,
    ctx: &Ctx,
    instance: InstanceId,
    reason: &str,
) -> Result<(), StoreError> {
    let mut tx = db.tenant_tx(ctx).await?;
    sqlx::query(
        "update webhook_deliveries set applied_at = now(), problem = $3
         where tenant_id = $1 and instance_id = $2 and applied_at is null",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .bind(reason)
    .execute(&mut *tx)
    .await
    .map_err(store_error)?;
    tx.commit().await.map_err(store_error)
}
