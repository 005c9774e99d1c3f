//! The data key of each tenant: made at first use, kept wrapped in the database, unwrapped in memory for minutes.

use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use domain::TenantId;
use moka::future::Cache;
use rand::Rng;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::envelope::{unwrap, wrap};
use super::master_key::{KEK_ID_LEN, MasterKey};
use super::{StoreError, VaultError};
use crate::postgres::{Db, store_error};

/// How long a destroyed key may still open secrets in a running process.
const KEPT_FOR: Duration = Duration::from_secs(5 * 60);
const MOST_KEPT: u64 = 10_000;

/// An unwrapped data key; wiped from memory when the last user drops it.
pub(super) struct DataKey {
    pub(super) id: Uuid,
    pub(super) secret: Zeroizing<[u8; 32]>,
}

pub(super) struct DataKeys {
    db: Db,
    master: MasterKey,
    /// The one to encrypt with, by tenant.
    current: Cache<TenantId, Arc<DataKey>>,
    /// Any, by tenant and id.
    by_id: Cache<(TenantId, Uuid), Arc<DataKey>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    wrapped: Vec<u8>,
}

impl DataKeys {
    pub(super) fn new(db: Db, master: MasterKey) -> Self {
        let cache = || Cache::builder().max_capacity(MOST_KEPT).time_to_live(KEPT_FOR);
        Self {
            db,
            master,
            current: cache().build(),
            by_id: Cache::builder().max_capacity(MOST_KEPT).time_to_live(KEPT_FOR).build(),
        }
    }

    pub(super) fn kek_id(&self) -> [u8; KEK_ID_LEN] {
        self.master.kek_id()
    }

    /// The tenant's key to encrypt with; makes it when there is none.
    pub(super) async fn current(&self, ctx: &Ctx) -> Result<Arc<DataKey>, VaultError> {
        if let Some(key) = self.current.get(&ctx.tenant).await {
            return Ok(key);
        }
        let row = match self.read_current(ctx).await? {
            Some(row) => row,
            None => self.create(ctx).await?,
        };
        let key = self.unwrapped(ctx.tenant, &row)?;
        self.by_id.insert((ctx.tenant, key.id), Arc::clone(&key)).await;
        self.current.insert(ctx.tenant, Arc::clone(&key)).await;
        Ok(key)
    }

    /// A key of the tenant by id.
    pub(super) async fn find(&self, ctx: &Ctx, id: Uuid) -> Result<Arc<DataKey>, VaultError> {
        if let Some(key) = self.by_id.get(&(ctx.tenant, id)).await {
            return Ok(key);
        }
        let mut tx = self.db.tenant_read(ctx).await?;
        let row: Row =
            sqlx::query_as("select id, wrapped from tenant_data_keys where tenant_id = $1 and id = $2")
                .bind(ctx.tenant.as_uuid())
                .bind(id)
                .fetch_optional(&mut *tx)
                .await
                .map_err(store_error)?
                .ok_or(VaultError::NoDataKey)?;
        let key = self.unwrapped(ctx.tenant, &row)?;
        self.by_id.insert((ctx.tenant, id), Arc::clone(&key)).await;
        Ok(key)
    }

    async fn read_current(&self, ctx: &Ctx) -> Result<Option<Row>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        sqlx::query_as("select id, wrapped from tenant_data_keys where tenant_id = $1 and retired_at is null")
            .bind(ctx.tenant.as_uuid())
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)
    }

    /// Makes the tenant's first key. Of several that try at once, one wins and all use its key.
    async fn create(&self, ctx: &Ctx) -> Result<Row, VaultError> {
        let mut secret = Zeroizing::new([0u8; 32]);
        rand::rng().fill_bytes(secret.as_mut_slice());
        let id = Uuid::new_v4();
        let wrapped = wrap(&self.master, &purpose(ctx.tenant, id), &secret)?;
        let mut tx = self.db.tenant_tx(ctx).await?;
        sqlx::query(
            "insert into tenant_data_keys (tenant_id, id, kek_id, wrapped) values ($1, $2, $3, $4)
             on conflict (tenant_id) where retired_at is null do nothing",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(id)
        .bind(self.master.id())
        .bind(wrapped)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        // A statement of its own: it sees what the winner of a race has committed meanwhile.
        let row = sqlx::query_as(
            "select id, wrapped from tenant_data_keys where tenant_id = $1 and retired_at is null",
        )
        .bind(ctx.tenant.as_uuid())
        .fetch_one(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)?;
        Ok(row)
    }

    fn unwrapped(&self, tenant: TenantId, row: &Row) -> Result<Arc<DataKey>, VaultError> {
        let secret = unwrap(&self.master, &purpose(tenant, row.id), &row.wrapped, "tenant's data key")?;
        Ok(Arc::new(DataKey { id: row.id, secret }))
    }
}

/// What a wrapped data key is bound to; the master key's id is added by the wrapping.
fn purpose(tenant: TenantId, id: Uuid) -> String {
    format!("data key|{tenant}|{id}")
}
