//! Intents of writes to trackers: committed before the call, settled after it.

use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use application::ports::{
    ClaimedWrite, HeldWrite, Outcome, Sealed, SecretRef, SourceError, SourceErrorKind, StoreError, Vault,
    Write, WriteIntentStore,
};
use async_trait::async_trait;
use domain::{AuditAction, AuditEntry, AuditOutcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::audit::AuditChain;
use super::db::{Db, Tx, store_error};

/// How long a settled write is remembered.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How long one is whose outcome is unknown and nobody asked for.
const UNKNOWN_KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// When to ask again about a write that somebody is at.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How many old rows a claim clears away.
const SWEEP: i64 = 20;

const WRITTEN: AuditAction = AuditAction::new("tracker.write");

/// [`WriteIntentStore`] over PostgreSQL.
#[derive(Clone)]
pub struct PgWriteIntents {
    db: Db,
    vault: Arc<dyn Vault>,
    audit: AuditChain,
}

impl PgWriteIntents {
    /// Uses these connections; outcomes are sealed by `vault`, and go on this record.
    pub fn new(db: Db, vault: Arc<dyn Vault>, audit: AuditChain) -> Self {
        Self { db, vault, audit }
    }
}

impl std::fmt::Debug for PgWriteIntents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PgWriteIntents")
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    fingerprint: Vec<u8>,
    state: String,
    outcome: Option<Vec<u8>>,
}

#[async_trait]
impl WriteIntentStore for PgWriteIntents {
    async fn claim(
        &self,
        ctx: &Ctx,
        write: &Write,
        id: Uuid,
        owner: Uuid,
        lease: Duration,
    ) -> Result<ClaimedWrite, StoreError> {
        let held = |id: Uuid, until: Instant| HeldWrite {
            id,
            instance: write.instance,
            operation: write.operation.clone(),
            owner,
            marker: marker(id),
            until,
        };
        // A row that goes away between the statements is claimed on the next round.
        for _ in 0..5 {
            let mut tx = self.db.own_tx(ctx).await?;
            sweep(&mut tx, ctx, write).await?;
            let until = Instant::now() + lease;
            let fresh = sqlx::query(
                "insert into write_intents (tenant_id, id, instance_id, principal, operation, key, fingerprint, marker,
                     state, attempts, owner, lease_until, attempt_over_at)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, 'intended', 1, $9, now() + $10, now() + $10)
                 on conflict (tenant_id, principal, operation, key) do nothing",
            )
            .bind(ctx.tenant.as_uuid())
            .bind(id)
            .bind(write.instance.as_uuid())
            .bind(principal(ctx))
            .bind(&write.operation)
            .bind(&write.key)
            .bind(write.fingerprint.as_slice())
            .bind(marker(id))
            .bind(owner)
            .bind(lease)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
            if fresh.rows_affected() == 1 {
                tx.commit().await.map_err(store_error)?;
                return Ok(ClaimedWrite::Fresh(held(id, until)));
            }
            let lost: Option<(Uuid, i64)> = sqlx::query_as(
                "update write_intents set owner = $5, lease_until = now() + $6
                 where tenant_id = $1 and principal = $2 and operation = $3 and key = $4 and state = 'intended'
                   and lease_until <= now() and fingerprint = $7
                 returning id, (extract(epoch from now() - attempt_over_at) * 1000)::bigint",
            )
            .bind(ctx.tenant.as_uuid())
            .bind(principal(ctx))
            .bind(&write.operation)
            .bind(&write.key)
            .bind(owner)
            .bind(lease)
            .bind(write.fingerprint.as_slice())
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
            if let Some((id, over_for_ms)) = lost {
                tx.commit().await.map_err(store_error)?;
                let over_for = Duration::from_millis(u64::try_from(over_for_ms).unwrap_or(0));
                return Ok(ClaimedWrite::Unknown { held: held(id, until), over_for });
            }
            let row: Option<Row> = sqlx::query_as(
                "select id, fingerprint, state, outcome from write_intents
                 where tenant_id = $1 and principal = $2 and operation = $3 and key = $4",
            )
            .bind(ctx.tenant.as_uuid())
            .bind(principal(ctx))
            .bind(&write.operation)
            .bind(&write.key)
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
            drop(tx);
            match row {
                None => {}
                Some(row) if row.fingerprint != write.fingerprint => return Ok(ClaimedWrite::Mismatch),
                Some(Row { id, state, outcome: Some(sealed), .. }) if state != "intended" => {
                    let opened = self.vault.open(ctx, SecretRef::WriteOutcome(id), &Sealed(sealed)).await?;
                    return Ok(ClaimedWrite::Settled(read(&opened)?));
                }
                Some(_) => break,
            }
        }
        Ok(ClaimedWrite::InFlight { retry_after: ASK_AGAIN })
    }

    async fn attempt(&self, ctx: &Ctx, held: HeldWrite, lease: Duration) -> Result<HeldWrite, StoreError> {
        let until = Instant::now() + lease;
        let mut tx = self.db.own_tx(ctx).await?;
        let renewed = sqlx::query(
            "update write_intents set attempts = attempts + 1, lease_until = now() + $4, attempt_over_at = now() + $4
             where tenant_id = $1 and id = $2 and owner = $3 and state = 'intended'",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(held.id)
        .bind(held.owner)
        .bind(lease)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        if renewed.rows_affected() != 1 {
            return Err(StoreError::Fenced);
        }
        tx.commit().await.map_err(store_error)?;
        Ok(HeldWrite { until, ..held })
    }

    async fn settle(&self, ctx: &Ctx, held: &HeldWrite, outcome: &Outcome) -> Result<(), StoreError> {
        let (state, ended) = match outcome {
            Ok(_) => ("done", AuditOutcome::Ok),
            Err(_) => ("failed", AuditOutcome::Failed),
        };
        let sealed = self.vault.seal(ctx, SecretRef::WriteOutcome(held.id), &written(outcome)?).await?;
        let mut tx = self.db.own_tx(ctx).await?;
        let settled = sqlx::query(
            "update write_intents set state = $4, outcome = $5
             where tenant_id = $1 and id = $2 and owner = $3 and state = 'intended'",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(held.id)
        .bind(held.owner)
        .bind(state)
        .bind(&sealed.0)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        if settled.rows_affected() != 1 {
            return Err(StoreError::Fenced);
        }
        let entry = AuditEntry::ok(WRITTEN)
            .to("instance", held.instance)
            .with("operation", held.operation.as_str())
            .with("marker", held.marker.as_str())
            .ended(ended);
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)
    }

    async fn let_go(&self, ctx: &Ctx, held: &HeldWrite, tried: bool) -> Result<(), StoreError> {
        let mut tx = self.db.own_tx(ctx).await?;
        sqlx::query(
            "update write_intents set lease_until = now(),
                 attempt_over_at = case when $4 then now() else attempt_over_at end
             where tenant_id = $1 and id = $2 and owner = $3 and state = 'intended'",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(held.id)
        .bind(held.owner)
        .bind(tried)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)
    }

    async fn withdraw(&self, ctx: &Ctx, held: &HeldWrite) -> Result<(), StoreError> {
        let mut tx = self.db.own_tx(ctx).await?;
        sqlx::query(
            "delete from write_intents where tenant_id = $1 and id = $2 and owner = $3 and state = 'intended'",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(held.id)
        .bind(held.owner)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)
    }
}

/// Forgets what is old: this very write, so that its key can be used again, and a few others. A write that was refused did
/// nothing, so that its key is free for one that is meant otherwise.
async fn sweep(tx: &mut Tx, ctx: &Ctx, write: &Write) -> Result<(), StoreError> {
    sqlx::query(
        "with old as (
             select id from write_intents
             where tenant_id = $1 and created_at <= now() - $2 and (state <> 'intended' or created_at <= now() - $3)
             order by created_at limit $7 for update skip locked
         ), own as (
             select id from write_intents
             where tenant_id = $1 and principal = $4 and operation = $5 and key = $6
               and (created_at <= now() - case when state = 'intended' then $3 else $2 end
                   or (state = 'failed' and fingerprint <> $8))
             for update skip locked
         )
         delete from write_intents where tenant_id = $1 and id in (select id from old union all select id from own)",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(KEPT_FOR)
    .bind(UNKNOWN_KEPT_FOR)
    .bind(principal(ctx))
    .bind(&write.operation)
    .bind(&write.key)
    .bind(SWEEP)
    .bind(write.fingerprint.as_slice())
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

fn principal(ctx: &Ctx) -> Uuid {
    ctx.principal.id().unwrap_or_default()
}

/// What the tracker's object carries. Nobody else's write has it, and it says nothing of the tenant.
fn marker(id: Uuid) -> String {
    format!("patchbay-{}", id.simple())
}

/// An outcome as it is sealed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    Done(Value),
    Failed {
        kind: String,
        status: Option<u16>,
        field: Option<String>,
        #[serde(default)]
        allowed: Vec<String>,
        message: String,
    },
}

/// The refusals that are kept, by the words they are kept under.
const REFUSALS: [(&str, SourceErrorKind); 7] = [
    ("unauthorized", SourceErrorKind::Unauthorized),
    ("forbidden", SourceErrorKind::Forbidden),
    ("not_found", SourceErrorKind::NotFound),
    ("gone", SourceErrorKind::Gone),
    ("rejected", SourceErrorKind::Rejected),
    ("conflict", SourceErrorKind::Conflict),
    ("unsupported", SourceErrorKind::Unsupported),
];

fn written(outcome: &Outcome) -> Result<Vec<u8>, StoreError> {
    let stored = match outcome {
        Ok(value) => Stored::Done(value.clone()),
        Err(error) => {
            let known = REFUSALS.iter().find(|(_, kind)| *kind == error.kind);
            let (kind, _) = known
                .ok_or_else(|| StoreError::Internal("a failure that is no refusal is not kept".into()))?;
            Stored::Failed {
                kind: (*kind).to_owned(),
                status: error.upstream_status,
                field: error.field.clone(),
                allowed: error.allowed.clone(),
                message: error.message.clone(),
            }
        }
    };
    serde_json::to_vec(&stored).map_err(|error| StoreError::Internal(Box::new(error)))
}

fn read(bytes: &[u8]) -> Result<Outcome, StoreError> {
    let stored = serde_json::from_slice(bytes).map_err(|error| StoreError::Internal(Box::new(error)))?;
    Ok(match stored {
        Stored::Done(value) => Ok(value),
        Stored::Failed { kind, status, field, allowed, message } => {
            let known = REFUSALS.iter().find(|(name, _)| *name == kind);
            let (_, kind) =
                known.ok_or_else(|| StoreError::Internal("a kept refusal has an unknown kind".into()))?;
            Err(SourceError { upstream_status: status, field, allowed, ..SourceError::new(*kind, message) })
        }
    })
}
