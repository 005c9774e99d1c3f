//! The data key of each tenant: made at first use, kept wrapped in the database, unwrapped in memory for minutes.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use domain::TenantId;
use moka::future::Cache;
use rand::Rng;
use sqlx::PgConnection;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::envelope::wrapped_by;
use super::key_wrapper::KekId;
use super::{MasterKeys, StoreError, VaultError};
use crate::postgres::{Db, store_error};

/// How long a destroyed key may still open secrets in a running process.
const KEPT_FOR: Duration = Duration::from_secs(5 * 60);
/// How long a process may go on sealing with a key that was retired meanwhile. Far less than [`super::FORGOTTEN_AFTER`]:
/// the rest is for the transaction that stores what was sealed.
const SEALED_WITH_FOR: Duration = Duration::from_secs(60);
const MOST_KEPT: u64 = 10_000;

/// An unwrapped data key; wiped from memory when the last user drops it.
pub(super) struct DataKey {
    pub(super) id: Uuid,
    pub(super) secret: Zeroizing<[u8; 32]>,
}

pub(super) struct DataKeys {
    db: Db,
    master: MasterKeys,
    /// The one to encrypt with, by tenant.
    current: Cache<TenantId, Arc<DataKey>>,
    /// Any, by tenant and id.
    by_id: Cache<(TenantId, Uuid), Arc<DataKey>>,
}

/// A wrapped data key as it is stored.
#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    wrapped: Vec<u8>,
}

impl DataKeys {
    pub(super) fn new(db: Db, master: MasterKeys) -> Self {
        Self {
            db,
            master,
            current: Cache::builder().max_capacity(MOST_KEPT).time_to_live(SEALED_WITH_FOR).build(),
            by_id: Cache::builder().max_capacity(MOST_KEPT).time_to_live(KEPT_FOR).build(),
        }
    }

    pub(super) fn master(&self) -> &MasterKeys {
        &self.master
    }

    pub(super) fn kek_id(&self) -> KekId {
        self.master.primary_id()
    }

    /// The tenant's key to encrypt with; makes it when there is none.
    pub(super) async fn current(&self, ctx: &Ctx) -> Result<Arc<DataKey>, VaultError> {
        let key = self.once(ctx, &self.current, ctx.tenant, self.load_current(ctx)).await?;
        self.by_id.insert((ctx.tenant, key.id), Arc::clone(&key)).await;
        Ok(key)
    }

    /// A key of the tenant by id.
    pub(super) async fn find(&self, ctx: &Ctx, id: Uuid) -> Result<Arc<DataKey>, VaultError> {
        self.once(ctx, &self.by_id, (ctx.tenant, id), self.load(ctx, id)).await
    }

    /// From the cache, or loaded: of many that need a key at once, one asks database and key service.
    async fn once<K>(
        &self,
        ctx: &Ctx,
        cache: &Cache<K, Arc<DataKey>>,
        key: K,
        load: impl Future<Output = Result<Arc<DataKey>, VaultError>> + Send,
    ) -> Result<Arc<DataKey>, VaultError>
    where
        K: Hash + Eq + Clone + Send + Sync + 'static,
    {
        // Who has a unit of work has a connection, and must not wait for somebody who has yet to get one.
        if ctx.unit.is_none() {
            return cache.try_get_with(key, load).await.map_err(VaultError::Shared);
        }
        if let Some(known) = cache.get(&key).await {
            return Ok(known);
        }
        let loaded = load.await?;
        cache.insert(key, Arc::clone(&loaded)).await;
        Ok(loaded)
    }

    async fn load_current(&self, ctx: &Ctx) -> Result<Arc<DataKey>, VaultError> {
        let row = match self.read_current(ctx).await? {
            Some(row) => row,
            None => self.create(ctx).await?,
        };
        self.unwrapped(ctx.tenant, &row).await
    }

    async fn load(&self, ctx: &Ctx, id: Uuid) -> Result<Arc<DataKey>, VaultError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let row: Row =
            sqlx::query_as("select id, wrapped from tenant_data_keys where tenant_id = $1 and id = $2")
                .bind(ctx.tenant.as_uuid())
                .bind(id)
                .fetch_optional(&mut *tx)
                .await
                .map_err(store_error)?
                .ok_or(VaultError::NoDataKey)?;
        drop(tx);
        self.unwrapped(ctx.tenant, &row).await
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
        let fresh = self.fresh(ctx.tenant).await?;
        // Never within a request's unit of work: what the key encrypts may outlive it, in memory at least.
        let mut tx = self.db.own_tx(ctx).await?;
        fresh.insert(&mut tx, ctx).await?;
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

    /// A new, wrapped key that is stored nowhere yet.
    pub(super) async fn fresh(&self, tenant: TenantId) -> Result<Fresh, VaultError> {
        let mut secret = Zeroizing::new([0u8; 32]);
        rand::rng().fill_bytes(secret.as_mut_slice());
        let id = Uuid::new_v4();
        let wrapped = self.master.wrap(&purpose(tenant, id), &secret).await?;
        Ok(Fresh { id, kek_id: wrapped_by(&wrapped)?, wrapped })
    }

    async fn unwrapped(&self, tenant: TenantId, row: &Row) -> Result<Arc<DataKey>, VaultError> {
        let secret = self.master.unwrap(&purpose(tenant, row.id), &row.wrapped, "tenant's data key").await?;
        Ok(Arc::new(DataKey { id: row.id, secret }))
    }

    /// The same key, wrapped by the primary key: what the row says of it, and the bytes.
    pub(super) async fn rewrapped(
        &self,
        tenant: TenantId,
        id: Uuid,
        wrapped: &[u8],
    ) -> Result<(String, Vec<u8>), VaultError> {
        let secret = self.master.unwrap(&purpose(tenant, id), wrapped, "tenant's data key").await?;
        let wrapped = self.master.wrap(&purpose(tenant, id), &secret).await?;
        Ok((wrapped_by(&wrapped)?, wrapped))
    }

    /// Forgets these keys of a tenant, and which is current.
    pub(super) async fn forget(&self, tenant: TenantId, ids: &[Uuid]) {
        self.current.invalidate(&tenant).await;
        for id in ids {
            self.by_id.invalidate(&(tenant, *id)).await;
        }
    }
}

/// A key to store.
pub(super) struct Fresh {
    pub(super) id: Uuid,
    kek_id: String,
    wrapped: Vec<u8>,
}

impl Fresh {
    /// Makes it the tenant's current key unless there is one.
    pub(super) async fn insert(&self, connection: &mut PgConnection, ctx: &Ctx) -> Result<(), StoreError> {
        sqlx::query(
            "insert into tenant_data_keys (tenant_id, id, kek_id, wrapped) values ($1, $2, $3, $4)
             on conflict (tenant_id) where retired_at is null do nothing",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(self.id)
        .bind(&self.kek_id)
        .bind(&self.wrapped)
        .execute(connection)
        .await
        .map(drop)
        .map_err(store_error)
    }
}

/// What a wrapped data key is bound to; the wrapping key's id is added by the wrapping.
fn purpose(tenant: TenantId, id: Uuid) -> String {
    format!("data key|{tenant}|{id}")
}
