//! When keys were last used: gathered in memory and written in batches, off the path of requests.

use std::collections::HashMap;
use std::time::Duration;

use application::Ctx;
use application::ports::StoreError;
use chrono::{DateTime, Utc};
use domain::{KeyId, RequestId, TenantId};
use moka::sync::Cache;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::db::{Db, store_error};

/// A key is noted at most once in this time.
const NOT_AGAIN_FOR: Duration = Duration::from_secs(60);
/// How long a batch waits for more.
const GATHERED_FOR: Duration = Duration::from_secs(1);
/// Most uses that wait to be written; more are forgotten until the key is used again.
const MOST_WAITING: usize = 4_096;
const MOST_KEPT: u64 = 100_000;

type Use = (TenantId, KeyId, DateTime<Utc>);

/// Takes notes; one writer per value and its clones.
#[derive(Clone)]
pub(super) struct KeyUses {
    noted: Cache<KeyId, ()>,
    queue: mpsc::Sender<Use>,
}

impl KeyUses {
    /// Starts the writer; it ends when the last clone is dropped, with what it has.
    pub(super) fn new(db: Db) -> Self {
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        tokio::spawn(write_batches(db, waiting));
        Self { noted: Cache::builder().max_capacity(MOST_KEPT).time_to_live(NOT_AGAIN_FOR).build(), queue }
    }

    /// Notes a use, unless the key was noted within a minute. Never waits.
    pub(super) fn note(&self, tenant: TenantId, key: KeyId, at: DateTime<Utc>) {
        if self.noted.contains_key(&key) {
            return;
        }
        self.noted.insert(key, ());
        if self.queue.try_send((tenant, key, at)).is_err() {
            // The next use tries again.
            self.noted.invalidate(&key);
        }
    }
}

async fn write_batches(db: Db, mut waiting: mpsc::Receiver<Use>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, MOST_WAITING).await > 0 {
        tokio::time::sleep(GATHERED_FOR).await;
        while batch.len() < MOST_WAITING
            && let Ok(one) = waiting.try_recv()
        {
            batch.push(one);
        }
        let mut by_tenant: HashMap<TenantId, Vec<(Uuid, DateTime<Utc>)>> = HashMap::new();
        for (tenant, key, at) in batch.drain(..) {
            by_tenant.entry(tenant).or_default().push((key.as_uuid(), at));
        }
        for (tenant, uses) in by_tenant {
            if let Err(error) = write(&db, tenant, &uses).await {
                // Nothing is decided by it, and the keys' next uses are noted again.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Last uses of keys were not written"
                );
            }
        }
    }
}

async fn write(db: &Db, tenant: TenantId, uses: &[(Uuid, DateTime<Utc>)]) -> Result<(), StoreError> {
    let ctx = Ctx::system(tenant, "key uses", RequestId::new(tenant.as_uuid()));
    let mut tx = db.tenant_tx(&ctx).await?;
    let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = uses.iter().copied().unzip();
    sqlx::query(
        "update api_keys k set last_used_at = u.at
         from (select id, max(at) as at from unnest($2::uuid[], $3::timestamptz[]) as u (id, at) group by id) u
         where k.tenant_id = $1 and k.id = u.id and (k.last_used_at is null or k.last_used_at < u.at)",
    )
    .bind(tenant.as_uuid())
    .bind(ids)
    .bind(times)
    .execute(&mut *tx)
    .await
    .map_err(store_error)?;
    tx.commit().await.map_err(store_error)
}
