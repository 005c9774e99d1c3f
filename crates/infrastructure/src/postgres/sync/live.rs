//! Writing items that were read outside a run: after a webhook, after a write.

use application::Ctx;
use application::ports::{SliceKey, StoreError};
use chrono::{DateTime, Utc};
use domain::{InstanceId, PageRecords, RunCounts, RunId};
use uuid::Uuid;

use super::pages::{self, Target};
use crate::postgres::db::{Db, store_error};

/// What raw objects and dead letters of such items are kept under; the streams of runs have other names.
const STREAM: &str = "items";

pub(super) async fn commit(
    db: &Db,
    ctx: &Ctx,
    instance: InstanceId,
    records: PageRecords,
    fetched_at: DateTime<Utc>,
    deliveries: &[Uuid],
) -> Result<RunCounts, StoreError> {
    let mut tx = db.tenant_tx(ctx).await?;
    // Before its items, as who deletes it does; where it is gone, writing items fails by their key.
    pages::keep_instance(&mut tx, ctx, instance).await?;
    // Of no run; a fence is asked for by runs only.
    let key = SliceKey { run: RunId::new(Uuid::nil()), instance, fence: 0 };
    let to = Target { ctx, key: &key, fetched_at, stream: STREAM };
    let (counts, _) = pages::write(&mut tx, &to, records).await?;
    if !deliveries.is_empty() {
        sqlx::query(
            "update webhook_deliveries set applied_at = now(), problem = null
             where tenant_id = $1 and instance_id = $2 and id = any ($3) and applied_at is null",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .bind(deliveries)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    }
    tx.commit().await.map_err(store_error)?;
    pages::count(&counts);
    Ok(counts)
}
