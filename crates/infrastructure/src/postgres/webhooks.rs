//! How webhook deliveries come in, and what came of them.

mod batch;
mod deliveries;

use std::time::Duration;

use application::Ctx;
use application::ports::{
    KnownWebhook, ListPage, Listing, NewDelivery, OpenDelivery, PutOff, Registration, Sealed, StoreError,
    StoredWebhook, WebhookStore,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{AuditAction, AuditEntry, InstanceId, SourceKind, TenantId, WebhookDelivery, WebhookState};
use serde_json::Value;
use uuid::Uuid;

use super::audit::AuditChain;
use super::db::{Db, store_error};
use batch::Batcher;

const PREPARED: AuditAction = AuditAction::new("webhook.prepare");
const REGISTERED: AuditAction = AuditAction::new("webhook.register");
const REMOVED: AuditAction = AuditAction::new("webhook.remove");
const REPLAYED: AuditAction = AuditAction::new("webhook.replay");

/// [`WebhookStore`] over PostgreSQL.
#[derive(Debug, Clone)]
pub struct PgWebhooks {
    db: Db,
    audit: AuditChain,
    batcher: Batcher,
}

impl PgWebhooks {
    /// Uses these connections, and puts changes on this record. Starts the task that stores deliveries, which ends with
    /// the last clone.
    pub fn new(db: Db, audit: AuditChain) -> Self {
        Self { batcher: Batcher::start(db.clone()), db, audit }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    sealed: Vec<u8>,
    managed: bool,
    state: String,
    remote: Option<Value>,
    expires_at: Option<DateTime<Utc>>,
    problem: Option<String>,
    created_at: DateTime<Utc>,
    last_delivery_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for StoredWebhook {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let state = WebhookState::parse(&row.state)
            .ok_or_else(|| StoreError::Internal(format!("unknown webhook state {}", row.state).into()))?;
        Ok(Self {
            sealed: Sealed(row.sealed),
            managed: row.managed,
            state,
            registration: Registration {
                remote: row.remote.unwrap_or(Value::Null),
                expires_at: row.expires_at,
            },
            problem: row.problem,
            created_at: row.created_at,
            last_delivery_at: row.last_delivery_at,
        })
    }
}

#[derive(sqlx::FromRow)]
struct KnownRow {
    tenant_id: Uuid,
    served: bool,
    instance_id: Uuid,
    source: String,
    sealed: Vec<u8>,
    handshake_open: bool,
}

#[async_trait]
impl WebhookStore for PgWebhooks {
    async fn find_by_token(&self, digest: &[u8; 32]) -> Result<Option<KnownWebhook>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let row: Option<KnownRow> = sqlx::query_as(
            "select tenant_id, served, instance_id, source, sealed, handshake_open from public.find_webhook($1)",
        )
        .bind(&digest[..])
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        Ok(row.map(|row| KnownWebhook {
            tenant: TenantId::new(row.tenant_id),
            served: row.served,
            instance: InstanceId::new(row.instance_id),
            source: SourceKind::new(row.source),
            sealed: Sealed(row.sealed),
            handshake_open: row.handshake_open,
        }))
    }

    async fn store(&self, delivery: NewDelivery) -> Result<bool, StoreError> {
        self.batcher.store(delivery).await
    }

    async fn find(&self, ctx: &Ctx, instance: InstanceId) -> Result<Option<StoredWebhook>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let row: Option<Row> = sqlx::query_as(
            "select sealed, managed, state, remote, expires_at, problem, created_at, last_delivery_at
             from webhook_subscriptions where tenant_id = $1 and instance_id = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        row.map(StoredWebhook::try_from).transpose()
    }

    async fn prepare(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        digest: &[u8; 32],
        sealed: &Sealed,
        managed: bool,
        handshake: Option<Duration>,
    ) -> Result<(), StoreError> {
        // Not in a unit of work: the tracker is called next, and may call back before that returns.
        let mut tx = self.db.apart_tx(ctx).await?;
        sqlx::query(
            "insert into webhook_subscriptions as w (tenant_id, instance_id, token_digest, sealed, managed, state,
                 handshake_until, renew_at, created_at, updated_at)
             values ($1, $2, $3, $4, $5, 'pending', now() + make_interval(secs => $6),
                 -- Should the process end before the tracker has answered.
                 now() + make_interval(secs => $6), now(), now())
             on conflict (tenant_id, instance_id) do update set
                 token_digest = excluded.token_digest, sealed = excluded.sealed, managed = excluded.managed,
                 state = excluded.state, problem = null, handshake_until = excluded.handshake_until,
                 renew_at = excluded.renew_at, updated_at = now()",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .bind(&digest[..])
        .bind(&sealed.0)
        .bind(managed)
        .bind(handshake.map(|time| time.as_secs_f64()))
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        let entry = AuditEntry::ok(PREPARED).to("instance", instance).with("managed", managed);
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)
    }

    async fn replace_secrets(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        old: &Sealed,
        new: &Sealed,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.own_tx(ctx).await?;
        let replaced = sqlx::query(
            "update webhook_subscriptions set sealed = $4, updated_at = now()
             where tenant_id = $1 and instance_id = $2 and sealed = $3",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .bind(&old.0)
        .bind(&new.0)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)?;
        Ok(replaced.rows_affected() > 0)
    }

    async fn open_handshake(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        time: Duration,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.own_tx(ctx).await?;
        sqlx::query(
            "update webhook_subscriptions set handshake_until = now() + make_interval(secs => $3)
             where tenant_id = $1 and instance_id = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .bind(time.as_secs_f64())
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)
    }

    async fn registered(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        registration: &Registration,
        renew_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        sqlx::query(
            "update webhook_subscriptions set state = 'active', problem = null, remote = $3, expires_at = $4,
                 renew_at = $5, handshake_until = null, updated_at = now()
             where tenant_id = $1 and instance_id = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .bind(&registration.remote)
        .bind(registration.expires_at)
        .bind(renew_at)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        let entry = AuditEntry::ok(REGISTERED).to("instance", instance);
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)
    }

    async fn failing(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        problem: &str,
        renew_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.own_tx(ctx).await?;
        // Only what came about at the tracker once is looked after again by itself.
        sqlx::query(
            "update webhook_subscriptions set state = 'failing', problem = $3, handshake_until = null,
                 renew_at = case when remote is not null then $4 end, updated_at = now()
             where tenant_id = $1 and instance_id = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .bind(problem.replace('\0', ""))
        .bind(renew_at)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)
    }

    async fn remove(&self, ctx: &Ctx, instance: InstanceId) -> Result<bool, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        let removed =
            sqlx::query("delete from webhook_subscriptions where tenant_id = $1 and instance_id = $2")
                .bind(ctx.tenant.as_uuid())
                .bind(instance.as_uuid())
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
        if removed.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("delete from webhook_deliveries where tenant_id = $1 and instance_id = $2")
            .bind(ctx.tenant.as_uuid())
            .bind(instance.as_uuid())
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        self.audit.record(&mut tx, ctx, &AuditEntry::ok(REMOVED).to("instance", instance)).await?;
        tx.commit().await.map_err(store_error)?;
        Ok(true)
    }

    async fn deliveries(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        page: &ListPage,
    ) -> Result<Listing<WebhookDelivery>, StoreError> {
        deliveries::list(&self.db, ctx, instance, page).await
    }

    async fn replay(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        delivery: Uuid,
    ) -> Result<Option<WebhookDelivery>, StoreError> {
        deliveries::replay(&self.db, &self.audit, ctx, instance, delivery).await
    }

    async fn open_deliveries(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        limit: i64,
    ) -> Result<Vec<OpenDelivery>, StoreError> {
        deliveries::open(&self.db, ctx, instance, limit).await
    }

    async fn put_off(&self, ctx: &Ctx, instance: InstanceId, what: PutOff<'_>) -> Result<(), StoreError> {
        deliveries::put_off(&self.db, ctx, instance, what).await
    }

    async fn retry_later(&self, ctx: &Ctx, instance: InstanceId) -> Result<(), StoreError> {
        deliveries::retry_later(&self.db, ctx, instance).await
    }

    async fn skip_open(&self, ctx: &Ctx, instance: InstanceId, reason: &str) -> Result<(), StoreError> {
        deliveries::skip_open(&self.db, ctx, instance, reason).await
    }

    async fn claim_renewals(
        &self,
        limit: i64,
        lease: Duration,
    ) -> Result<Vec<(TenantId, InstanceId)>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let rows: Vec<(Uuid, Uuid)> =
            sqlx::query_as("select tenant_id, instance_id from public.claim_webhook_renewals($1, $2)")
                .bind(limit)
                .bind(lease.as_secs_f64())
                .fetch_all(&mut *tx)
                .await
                .map_err(store_error)?;
        tx.commit().await.map_err(store_error)?;
        Ok(rows
            .into_iter()
            .map(|(tenant, instance)| (TenantId::new(tenant), InstanceId::new(instance)))
            .collect())
    }

    async fn prune(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let removed: i64 = sqlx::query_scalar("select public.prune_webhook_deliveries($1)")
            .bind(before)
            .fetch_one(&mut *tx)
            .await
            .map_err(store_error)?;
        tx.commit().await.map_err(store_error)?;
        Ok(removed.unsigned_abs())
    }
}
