//! Requests with an idempotency key: who claimed which, and what was answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use application::Ctx;
use application::ctx::UnitOfWork;
use application::ports::{
    Claimed, IdempotencyKey, IdempotencyStore, Sealed, SecretRef, StoreError, StoredAnswer, Vault,
};
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use sqlx::types::Json;
use uuid::Uuid;

use super::db::{Db, store_error};
use super::unit::PgUnit;

/// How long a claim holds: the deadline of a request, and then some.
pub(super) const LEASE: Duration = Duration::from_secs(35);
/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// When to ask again for the answer of a request that is being served: most take far less.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How many expired rows a claim clears away.
const SWEEP: i64 = 20;

/// [`IdempotencyStore`] over PostgreSQL.
#[derive(Clone)]
pub struct PgIdempotency {
    db: Db,
    vault: Arc<dyn Vault>,
    lease: Duration,
    kept_for: Duration,
}

impl PgIdempotency {
    /// Uses these connections; answers are sealed by `vault`.
    pub fn new(db: Db, vault: Arc<dyn Vault>) -> Self {
        Self { db, vault, lease: LEASE, kept_for: KEPT_FOR }
    }

    /// With other spans than the product's: how long a claim holds, and how long an answer is kept.
    #[must_use]
    pub fn with_spans(mut self, lease: Duration, kept_for: Duration) -> Self {
        (self.lease, self.kept_for) = (lease, kept_for);
        self
    }
}

impl std::fmt::Debug for PgIdempotency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PgIdempotency")
    }
}

/// A claim on a key. Freed when dropped, unless it was settled: a request that went away leaves nothing to wait for.
pub(super) struct Claim {
    db: Db,
    ctx: Ctx,
    key: IdempotencyKey,
    owner: Uuid,
    settled: AtomicBool,
}

impl Claim {
    /// Frees the key in the background. For where nobody can wait.
    pub(super) fn give_up(&self) {
        if self.settled.swap(true, Ordering::SeqCst) {
            return;
        }
        // Without a runtime the process is ending: the claim runs out.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (db, ctx, key, owner) = (self.db.clone(), self.ctx.clone(), self.key.clone(), self.owner);
            runtime.spawn(async move {
                // Twice: a commit that was given up may still be on its way to the server.
                for pause in [Duration::ZERO, ASK_AGAIN] {
                    tokio::time::sleep(pause).await;
                    match free(&db, &ctx, &key, owner).await {
                        Ok(false) => {}
                        Ok(true) => return,
                        Err(error) => {
                            tracing::debug!(%error, "A claim on an idempotency key was not freed; it runs out");
                        }
                    }
                }
            });
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Removes a claim that is still this one's; whether there was one. An answer stays, and so does another's claim.
async fn free(db: &Db, ctx: &Ctx, key: &IdempotencyKey, owner: Uuid) -> Result<bool, StoreError> {
    let mut tx = db.own_tx(ctx).await?;
    let freed = sqlx::query(
        "delete from idempotency_keys
         where tenant_id = $1 and principal = $2 and route = $3 and key = $4 and owner = $5 and state = 'in_flight'",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(principal(ctx))
    .bind(&key.route)
    .bind(&key.key)
    .bind(owner)
    .execute(&mut *tx)
    .await
    .map_err(store_error)?;
    tx.commit().await.map_err(store_error)?;
    Ok(freed.rows_affected() > 0)
}

#[derive(sqlx::FromRow)]
struct Row {
    fingerprint: Vec<u8>,
    state: String,
    status: Option<i16>,
    headers: Option<Json<Vec<(String, String)>>>,
    body: Option<Vec<u8>>,
}

#[async_trait]
impl IdempotencyStore for PgIdempotency {
    async fn claim(&self, ctx: &Ctx, key: &IdempotencyKey) -> Result<Claimed, StoreError> {
        // Makes the tenant's data key, if need be, while no connection is held.
        let ctx = &ctx.detached();
        self.vault.seal(ctx, answer_place(ctx, key), b"").await?;
        // A row that is freed between the two statements is claimed on the next round.
        for _ in 0..5 {
            let owner = Uuid::now_v7();
            // From here on, so that a caller who goes away right after the commit leaves nothing.
            let claim = Claim {
                db: self.db.clone(),
                ctx: ctx.clone(),
                key: key.clone(),
                owner,
                settled: AtomicBool::new(false),
            };
            let mut tx = self.db.own_tx(ctx).await?;
            let claimed: Option<Uuid> = sqlx::query_scalar(
                "insert into idempotency_keys as held
                     (tenant_id, principal, route, key, fingerprint, state, owner, lease_until, created_at, expires_at)
                 values ($1, $2, $3, $4, $5, 'in_flight', $6, now() + $7, now(), now() + $8)
                 on conflict (tenant_id, principal, route, key) do update
                     set fingerprint = excluded.fingerprint, state = excluded.state, owner = excluded.owner,
                         lease_until = excluded.lease_until, created_at = excluded.created_at,
                         expires_at = excluded.expires_at, status = null, headers = null, body = null
                     where held.expires_at <= excluded.created_at
                        or (held.state = 'in_flight' and held.lease_until <= excluded.created_at
                            and held.fingerprint = excluded.fingerprint)
                 returning owner",
            )
            .bind(ctx.tenant.as_uuid())
            .bind(principal(ctx))
            .bind(&key.route)
            .bind(&key.key)
            .bind(key.fingerprint.as_slice())
            .bind(owner)
            .bind(self.lease)
            .bind(self.kept_for)
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
            if claimed.is_some() {
                sqlx::query(
                    "delete from idempotency_keys where (tenant_id, principal, route, key) in (
                         select tenant_id, principal, route, key from idempotency_keys
                         where tenant_id = $1 and expires_at <= now() order by expires_at limit $2
                         for update skip locked)",
                )
                .bind(ctx.tenant.as_uuid())
                .bind(SWEEP)
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
                tx.commit().await.map_err(store_error)?;
                return Ok(Claimed::Fresh(Arc::new(PgUnit::new(ctx, claim))));
            }
            claim.settled.store(true, Ordering::SeqCst);
            let held: Option<Row> = sqlx::query_as(
                "select fingerprint, state, status, headers, body from idempotency_keys
                 where tenant_id = $1 and principal = $2 and route = $3 and key = $4",
            )
            .bind(ctx.tenant.as_uuid())
            .bind(principal(ctx))
            .bind(&key.route)
            .bind(&key.key)
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
            drop(tx);
            if let Some(row) = held {
                return self.held(ctx, key, row).await;
            }
        }
        Ok(Claimed::InFlight { retry_after: ASK_AGAIN })
    }

    async fn finish(
        &self,
        ctx: &Ctx,
        key: &IdempotencyKey,
        unit: &Arc<dyn UnitOfWork>,
        answer: &StoredAnswer,
    ) -> Result<(), StoreError> {
        // Within the unit, so that a key that must be read needs no second connection.
        let within = Ctx { unit: Some(Arc::clone(unit)), ..ctx.clone() };
        let unit = own(unit)?;
        let sealed = self.vault.seal(&within, answer_place(ctx, key), &answer.body).await?;
        let mut tx = unit.end(&self.db, ctx).await?;
        let kept = sqlx::query(
            "update idempotency_keys set state = 'done', status = $6, headers = $7, body = $8
             where tenant_id = $1 and principal = $2 and route = $3 and key = $4 and owner = $5
               and state = 'in_flight'",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(principal(ctx))
        .bind(&key.route)
        .bind(&key.key)
        .bind(unit.claim.owner)
        .bind(i16::try_from(answer.status).unwrap_or(i16::MAX))
        .bind(Json(&answer.headers))
        .bind(&sealed.0)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        if kept.rows_affected() != 1 {
            unit.claim.settled.store(true, Ordering::SeqCst);
            tx.rollback().await.map_err(store_error)?;
            return Err(StoreError::Fenced);
        }
        tx.commit().await.map_err(store_error)?;
        unit.claim.settled.store(true, Ordering::SeqCst);
        Ok(())
    }

    async fn release(
        &self,
        ctx: &Ctx,
        key: &IdempotencyKey,
        unit: &Arc<dyn UnitOfWork>,
    ) -> Result<(), StoreError> {
        let unit = own(unit)?;
        unit.undo().await?;
        free(&self.db, ctx, key, unit.claim.owner).await?;
        unit.claim.settled.store(true, Ordering::SeqCst);
        Ok(())
    }
}

impl PgIdempotency {
    async fn held(&self, ctx: &Ctx, key: &IdempotencyKey, row: Row) -> Result<Claimed, StoreError> {
        if row.fingerprint != key.fingerprint {
            return Ok(Claimed::Mismatch);
        }
        if row.state != "done" {
            return Ok(Claimed::InFlight { retry_after: ASK_AGAIN });
        }
        let (Some(status), Some(headers), Some(body)) = (row.status, row.headers, row.body) else {
            return Err(StoreError::Internal("a kept answer is incomplete".into()));
        };
        let status = u16::try_from(status).map_err(|error| StoreError::Internal(Box::new(error)))?;
        let body = self.vault.open(ctx, answer_place(ctx, key), &Sealed(body)).await?;
        Ok(Claimed::Done(StoredAnswer { status, headers: headers.0, body: body.to_vec() }))
    }
}

fn own(unit: &Arc<dyn UnitOfWork>) -> Result<&PgUnit, StoreError> {
    let unit = unit.as_any().downcast_ref::<PgUnit>();
    unit.ok_or_else(|| StoreError::Internal("another store's unit of work".into()))
}

/// Parts of the system have no id; none of them sends keys over HTTP.
fn principal(ctx: &Ctx) -> Uuid {
    ctx.principal.id().unwrap_or_default()
}

/// Where an answer belongs, for its sealing.
pub(crate) fn answer_place(ctx: &Ctx, key: &IdempotencyKey) -> SecretRef {
    SecretRef::IdempotentAnswer(row_digest(principal(ctx), &key.route, &key.key))
}

/// SHA-256 of principal, route and key: what a row's answer is bound to.
pub(crate) fn row_digest(principal: Uuid, route: &str, key: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(principal.as_bytes());
    hash.update((route.len() as u64).to_be_bytes());
    hash.update(route);
    hash.update(key);
    hash.finalize().into()
}
