//! Another master key: every key it wraps is wrapped anew, tenant by tenant, while everything goes on. Each row says
//! which key wraps it, so a rotation that was killed goes on where it was, and several at once do no harm.

use application::Ctx;
use application::ports::StoreError;
use domain::{AuditAction, AuditEntry, RequestId, TenantId};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{PgVault, VaultError, deployment};
use crate::postgres::store_error;

const ROTATED: AuditAction = AuditAction::new("vault.rotate");
/// Keys of one tenant that are read at once. A tenant has one or two.
const BATCH: i64 = 100;
/// How often the tenants are gone over: processes that do not have the new key as their first yet may go on wrapping
/// with the old one.
const PASSES: u32 = 3;

/// A tenant to rotate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantKeys {
    /// Its id.
    pub tenant: TenantId,
    /// Its short name.
    pub slug: String,
}

impl TenantKeys {
    /// What an operator's command does to its keys is done as this.
    pub fn ctx(&self) -> Ctx {
        Ctx::system(self.tenant, "operator", RequestId::new(Uuid::now_v7()))
    }
}

/// What came of a rotation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotated {
    /// What wraps everything now.
    pub current: String,
    /// Tenants gone over.
    pub tenants: usize,
    /// Data keys wrapped anew.
    pub data_keys: u64,
    /// Secrets of the installation wrapped anew.
    pub deployment_secrets: u64,
    /// Keys that are under another one all the same: some process still wraps with it.
    pub left: i64,
}

impl PgVault {
    /// Wraps every key of the installation under the primary master key. `admin` may write the installation's secrets.
    /// Tells `progress` how many tenants are done and how many there are.
    pub async fn rotate(
        &self,
        admin: &PgConnectOptions,
        mut progress: impl FnMut(usize, usize) + Send,
    ) -> Result<Rotated, VaultError> {
        let current = self.data_keys.master().current().await?;
        let mut rotated = Rotated { current: current.clone(), ..Rotated::default() };
        let mut connection = PgConnection::connect_with(admin).await.map_err(store_error)?;
        for _ in 0..PASSES {
            rotated.deployment_secrets +=
                deployment::rewrap(&mut connection, self.data_keys.master(), &current).await?;
            let tenants = self.tenants().await?;
            rotated.tenants = tenants.len();
            for (done, tenant) in tenants.iter().enumerate() {
                progress(done, tenants.len());
                rotated.data_keys += self.rewrap_tenant(&tenant.ctx(), &current).await?;
            }
            progress(tenants.len(), tenants.len());
            rotated.left = self.status().await?.left();
            if rotated.left == 0 {
                break;
            }
        }
        drop(connection.close().await);
        Ok(rotated)
    }

    /// Every tenant, by slug.
    pub async fn tenants(&self) -> Result<Vec<TenantKeys>, VaultError> {
        let mut tx = self.db.system_tx().await?;
        let rows: Vec<(Uuid, String)> = sqlx::query_as("select id, slug from public.list_tenants()")
            .fetch_all(&mut *tx)
            .await
            .map_err(store_error)?;
        Ok(rows.into_iter().map(|(id, slug)| TenantKeys { tenant: TenantId::new(id), slug }).collect())
    }

    /// Wraps the tenant's data keys under `current`, the primary key; the number of those that were under another.
    async fn rewrap_tenant(&self, ctx: &Ctx, current: &str) -> Result<u64, VaultError> {
        let mut all = 0;
        loop {
            let mut tx = self.db.tenant_read(ctx).await?;
            let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(
                "select id, wrapped from tenant_data_keys where tenant_id = $1 and kek_id <> $2 limit $3",
            )
            .bind(ctx.tenant.as_uuid())
            .bind(current)
            .bind(BATCH)
            .fetch_all(&mut *tx)
            .await
            .map_err(store_error)?;
            // A key service may take its time; no transaction waits for it.
            drop(tx);
            if rows.is_empty() {
                return Ok(all);
            }
            let mut wrapped = Vec::with_capacity(rows.len());
            for (id, old) in rows {
                let (kek_id, new) = self.data_keys.rewrapped(ctx.tenant, id, &old).await?;
                wrapped.push((id, old, kek_id, new));
            }
            let count = self.store_rewrapped(ctx, &wrapped).await?;
            all += count;
            if wrapped.iter().any(|(_, _, kek_id, _)| kek_id != current) {
                // The key service has made another version meanwhile; the next run wraps with that one.
                return Ok(all);
            }
        }
    }

    async fn store_rewrapped(
        &self,
        ctx: &Ctx,
        wrapped: &[(Uuid, Vec<u8>, String, Vec<u8>)],
    ) -> Result<u64, StoreError> {
        let mut tx = self.db.own_tx(ctx).await?;
        let mut count = 0;
        for (id, old, kek_id, new) in wrapped {
            // Only what was read: another rotation may have been here first, or the key was destroyed.
            count += sqlx::query(
                "update tenant_data_keys set wrapped = $4, kek_id = $5
                 where tenant_id = $1 and id = $2 and wrapped = $3",
            )
            .bind(ctx.tenant.as_uuid())
            .bind(id)
            .bind(old)
            .bind(new)
            .bind(kek_id)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?
            .rows_affected();
        }
        if count == 0 {
            return Ok(0);
        }
        let under = wrapped.first().map(|(_, _, kek_id, _)| kek_id.as_str());
        let entry = AuditEntry::ok(ROTATED).with("data_keys", count).with("master_key", under);
        self.audit_chain.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        Ok(count)
    }
}
