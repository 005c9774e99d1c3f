//! Another data key for a tenant. The old one is retired: it opens and does not seal. Everything under it is sealed
//! anew in batches while requests go on, and it is removed when nothing is under it and no process can still use it.
//!
//! Safe to repeat after a crash and to run several times at once: a tenant with a retired key is not given another one,
//! its rotation is finished.

use std::time::Duration;

use application::Ctx;
use application::ports::{Sealed, Vault};
use domain::{AuditAction, AuditEntry};
use sqlx::PgConnection;
use uuid::Uuid;

use super::envelope::Header;
use super::sealed_columns::{Credentials, IdempotentAnswers, SealedColumn, Webhooks, WriteOutcomes};
use super::{FORGOTTEN_AFTER, PgVault, TenantKeys, VaultError, bound_to, envelope};
use crate::postgres::store_error;

const ROTATED: AuditAction = AuditAction::new("vault.rotate_data_key");
const REMOVED: AuditAction = AuditAction::new("vault.remove_data_key");

/// Between the last value sealed anew and the removal of its old key: a request that has just read the old value may
/// be about to open it.
const SETTLE: Duration = Duration::from_secs(30);

/// What came of rotating data keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DataKeysRotated {
    /// Tenants gone over.
    pub tenants: usize,
    /// Tenants that have a new key.
    pub new_keys: u64,
    /// Values sealed anew.
    pub resealed: u64,
    /// Values that do not open, and so stay as they are. Their keys stay, too.
    pub unopenable: u64,
    /// Retired keys removed.
    pub removed: u64,
    /// Retired keys that have to stay for now.
    pub waiting: i64,
}

/// What one look at a tenant has brought.
#[derive(Debug, Default)]
struct Step {
    new_key: bool,
    resealed: u64,
    unopenable: u64,
    removed: u64,
    /// Retired keys that are left.
    left: i64,
    /// Until the youngest of them may go.
    wait: Duration,
}

impl PgVault {
    /// Gives these tenants new data keys, seals their values anew, and removes the old keys. With `wait` it ends when
    /// all that is done, which takes the minutes in which other processes forget the old keys.
    pub async fn rotate_data_keys(
        &self,
        tenants: &[TenantKeys],
        wait: bool,
        mut progress: impl FnMut(usize, usize) + Send,
    ) -> Result<DataKeysRotated, VaultError> {
        let mut all = DataKeysRotated { tenants: tenants.len(), ..DataKeysRotated::default() };
        let mut open: Vec<&TenantKeys> = tenants.iter().collect();
        let mut first = true;
        loop {
            let (mut later, mut pause) = (Vec::new(), Duration::ZERO);
            (all.waiting, all.unopenable) = (0, 0);
            for (done, tenant) in open.iter().enumerate() {
                progress(done, open.len());
                let step = self.rotate_data_key(&tenant.ctx(), first).await?;
                all.new_keys += u64::from(step.new_key);
                all.resealed += step.resealed;
                all.unopenable += step.unopenable;
                all.removed += step.removed;
                all.waiting += step.left;
                if step.left > 0 && step.unopenable == 0 {
                    later.push(*tenant);
                    pause = pause.max(step.wait);
                }
            }
            progress(open.len(), open.len());
            if later.is_empty() || !wait {
                return Ok(all);
            }
            tokio::time::sleep(pause.max(SETTLE)).await;
            (open, first) = (later, false);
        }
    }

    /// One look at a tenant: begins a rotation if asked to and none is under way, seals anew what is under another key
    /// than the current one, and removes retired keys when that is due.
    async fn rotate_data_key(&self, ctx: &Ctx, begin: bool) -> Result<Step, VaultError> {
        let mut step = Step { new_key: begin && self.begin(ctx).await?, ..Step::default() };
        let Some(current) = self.current_id(ctx).await? else { return Ok(step) };
        // The key that this process seals with must be the current one, not one it remembers.
        self.data_keys.forget(ctx.tenant, &[]).await;
        self.reseal::<Credentials>(ctx, current, &mut step).await?;
        self.reseal::<IdempotentAnswers>(ctx, current, &mut step).await?;
        self.reseal::<WriteOutcomes>(ctx, current, &mut step).await?;
        self.reseal::<Webhooks>(ctx, current, &mut step).await?;
        if step.resealed == 0 {
            step.removed = self.remove_retired(ctx).await?;
        }
        let mut tx = self.db.tenant_read(ctx).await?;
        let (left, wait): (i64, Option<f64>) = sqlx::query_as(
            "select count(*), extract(epoch from max(retired_at) - now())::float8 + $2
             from tenant_data_keys where tenant_id = $1 and retired_at is not null",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(FORGOTTEN_AFTER.as_secs_f64())
        .fetch_one(&mut *tx)
        .await
        .map_err(store_error)?;
        step.left = left;
        step.wait = Duration::try_from_secs_f64(wait.unwrap_or_default()).unwrap_or_default();
        Ok(step)
    }

    /// Retires the tenant's key and makes another, unless it has none, or an earlier rotation is not finished.
    async fn begin(&self, ctx: &Ctx) -> Result<bool, VaultError> {
        let fresh = self.data_keys.fresh(ctx.tenant).await?;
        let mut tx = self.db.own_tx(ctx).await?;
        lock(&mut tx, ctx).await?;
        let (under_way, current): (bool, Option<Uuid>) = sqlx::query_as(
            "select coalesce(bool_or(retired_at is not null), false),
                    (array_agg(id) filter (where retired_at is null))[1]
             from tenant_data_keys where tenant_id = $1",
        )
        .bind(ctx.tenant.as_uuid())
        .fetch_one(&mut *tx)
        .await
        .map_err(store_error)?;
        let (Some(old), false) = (current, under_way) else { return Ok(false) };
        sqlx::query("update tenant_data_keys set retired_at = now() where tenant_id = $1 and id = $2")
            .bind(ctx.tenant.as_uuid())
            .bind(old)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        fresh.insert(&mut tx, ctx).await?;
        let entry = AuditEntry::ok(ROTATED).to("data_key", fresh.id).with("retired", old.to_string());
        self.audit_chain.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        Ok(true)
    }

    async fn current_id(&self, ctx: &Ctx) -> Result<Option<Uuid>, VaultError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let id =
            sqlx::query_scalar("select id from tenant_data_keys where tenant_id = $1 and retired_at is null")
                .bind(ctx.tenant.as_uuid())
                .fetch_optional(&mut *tx)
                .await
                .map_err(store_error)?;
        Ok(id)
    }

    /// Seals every value of a column anew that is not under the current key.
    async fn reseal<C: SealedColumn>(
        &self,
        ctx: &Ctx,
        current: Uuid,
        step: &mut Step,
    ) -> Result<(), VaultError> {
        let mut after: Option<C::Row> = None;
        loop {
            let mut tx = self.db.tenant_read(ctx).await?;
            let found = C::read(&mut tx, ctx, after.as_ref(), current).await.map_err(store_error)?;
            drop(tx);
            let Some(last) = found.last() else { return Ok(()) };
            after = Some(last.row.clone());
            let key = self.data_keys.current(ctx).await?;
            let header = Header::new(self.data_keys.kek_id(), key.id);
            let mut changed = Vec::with_capacity(found.len());
            for value in found {
                let sealed = Sealed(value.sealed);
                match self.open(ctx, value.place, &sealed).await {
                    Ok(plain) => {
                        let bound = bound_to(ctx.tenant, value.place);
                        let new = envelope::seal(&key.secret, &header, &bound, &plain)?;
                        changed.push((value.row, sealed.0, new));
                    }
                    Err(super::StoreError::Internal(error)) => {
                        tracing::warn!(tenant.id = %ctx.tenant, %error, "A stored secret does not open");
                        step.unopenable += 1;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let mut tx = self.db.own_tx(ctx).await?;
            step.resealed += C::replace(&mut tx, ctx, &changed).await.map_err(store_error)?;
            tx.commit().await.map_err(store_error)?;
        }
    }

    /// Removes the retired keys that no process seals with any more and nothing is under.
    async fn remove_retired(&self, ctx: &Ctx) -> Result<u64, VaultError> {
        let mut tx = self.db.own_tx(ctx).await?;
        lock(&mut tx, ctx).await?;
        let removed: Vec<Uuid> = sqlx::query_scalar(
            "delete from tenant_data_keys k
             where k.tenant_id = $1 and k.retired_at < now() - make_interval(secs => $2)
               and not exists (select from credentials c
                               where c.tenant_id = $1 and substring(c.sealed from 10 for 16) = uuid_send(k.id))
               and not exists (select from idempotency_keys i
                               where i.tenant_id = $1 and substring(i.body from 10 for 16) = uuid_send(k.id))
               and not exists (select from write_intents w
                               where w.tenant_id = $1 and substring(w.outcome from 10 for 16) = uuid_send(k.id))
               and not exists (select from webhook_subscriptions s
                               where s.tenant_id = $1 and substring(s.sealed from 10 for 16) = uuid_send(k.id))
             returning k.id",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(FORGOTTEN_AFTER.as_secs_f64())
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
        for id in &removed {
            let entry = AuditEntry::ok(REMOVED).to("data_key", id);
            self.audit_chain.record(&mut tx, ctx, &entry).await?;
        }
        if !removed.is_empty() {
            tx.commit().await.map_err(store_error)?;
        }
        Ok(u64::try_from(removed.len()).unwrap_or(u64::MAX))
    }
}

/// One rotation of a tenant at a time decides; ends with the transaction.
async fn lock(tx: &mut PgConnection, ctx: &Ctx) -> Result<(), VaultError> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("vault|{}", ctx.tenant))
        .execute(tx)
        .await
        .map(drop)
        .map_err(|error| store_error(error).into())
}
