//! Credentials of instances, and their renewal under a lock.

use std::time::Duration;

use application::Ctx;
use application::ports::{CredentialRenewer, RefreshState, Renewal, Sealed, StoreError, StoredCredential};
use domain::{AuditAction, AuditEntry, AuditOutcome, InstanceId};
use sqlx::Row;

use super::audit::AuditChain;
use super::db::{Db, Tx, store_error};

const RENEWED: AuditAction = AuditAction::new("credential.renewed");

/// A renewal that succeeded at the provider is stored after this many tries, or not at all.
const STORE_TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Longer than a renewal may take, so that whoever waits for another process's gets its result; and a process that
/// stands still with the lock loses it a little later.
const BOUNDS: &str = "set local lock_timeout = '20s'; set local idle_in_transaction_session_timeout = '25s'";

/// Stores a credential that somebody gave; what came of renewing the one before is forgotten.
pub(super) async fn write_in(
    tx: &mut Tx,
    ctx: &Ctx,
    id: InstanceId,
    sealed: &Sealed,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into credentials (tenant_id, instance_id, sealed) values ($1, $2, $3)
         on conflict (tenant_id, instance_id) do update
         set sealed = excluded.sealed, version = credentials.version + 1, refresh_state = 'ok', refreshed_at = null,
             updated_at = excluded.updated_at",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(id.as_uuid())
    .bind(&sealed.0)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// Reads a credential inside a transaction. `None` when it does not exist for this tenant.
pub(super) async fn find_in(
    tx: &mut Tx,
    ctx: &Ctx,
    id: InstanceId,
) -> Result<Option<StoredCredential>, StoreError> {
    const FIND: &str = "select sealed, version, refresh_state,
                extract(epoch from clock_timestamp() - refreshed_at)::float8 as refreshed_ago
         from credentials where tenant_id = $1 and instance_id = $2";
    read(tx, ctx, id, FIND).await
}

async fn lock_in(tx: &mut Tx, ctx: &Ctx, id: InstanceId) -> Result<Option<StoredCredential>, StoreError> {
    const LOCK: &str = "select sealed, version, refresh_state,
                extract(epoch from clock_timestamp() - refreshed_at)::float8 as refreshed_ago
         from credentials where tenant_id = $1 and instance_id = $2 for update";
    read(tx, ctx, id, LOCK).await
}

async fn read(
    tx: &mut Tx,
    ctx: &Ctx,
    id: InstanceId,
    statement: &'static str,
) -> Result<Option<StoredCredential>, StoreError> {
    let row = sqlx::query(statement)
        .bind(ctx.tenant.as_uuid())
        .bind(id.as_uuid())
        .fetch_optional(&mut **tx)
        .await
        .map_err(lock_error)?;
    let Some(row) = row else { return Ok(None) };
    let ago: Option<f64> = row.try_get("refreshed_ago").map_err(store_error)?;
    let state: &str = row.try_get("refresh_state").map_err(store_error)?;
    Ok(Some(StoredCredential {
        sealed: Sealed(row.try_get("sealed").map_err(store_error)?),
        version: row.try_get("version").map_err(store_error)?,
        refresh: RefreshState::parse(state).ok_or_else(|| {
            StoreError::Internal(format!("the credential of {id} has an unknown state").into())
        })?,
        refreshed_ago: ago.map(|ago| Duration::try_from_secs_f64(ago.max(0.0)).unwrap_or(Duration::MAX)),
    }))
}

/// A lock that somebody else keeps for long is worth another try.
fn lock_error(error: sqlx::Error) -> StoreError {
    let waited_in_vain = error.as_database_error().is_some_and(|e| e.code().as_deref() == Some("55P03"));
    if waited_in_vain { StoreError::Unavailable(Box::new(error)) } else { store_error(error) }
}

/// Renews a credential while its row is locked.
pub(super) async fn renew(
    db: &Db,
    audit: &AuditChain,
    ctx: &Ctx,
    id: InstanceId,
    renewer: &dyn CredentialRenewer,
) -> Result<(), StoreError> {
    // Never a part of a request's unit of work: what the provider has done is not undone with the request.
    let mut tx = db.own_tx(ctx).await?;
    sqlx::raw_sql(BOUNDS).execute(&mut *tx).await.map_err(store_error)?;
    let Some(held) = lock_in(&mut tx, ctx, id).await? else { return Ok(()) };
    let renewal = renewer.renew(&held).await;
    if renewal == Renewal::Kept {
        return Ok(());
    }
    let mut stored = store(tx, audit, ctx, id, held.version, &renewal).await;
    // The provider has given a new credential and perhaps voided the old one. It must not get lost because the
    // connection broke meanwhile.
    for again in 0..STORE_TRIES {
        if stored.is_ok() {
            break;
        }
        tokio::time::sleep(FIRST_WAIT * 2_u32.pow(again)).await;
        stored = match db.own_tx(ctx).await {
            Ok(tx) => store(tx, audit, ctx, id, held.version, &renewal).await,
            Err(error) => Err(error),
        };
    }
    stored
}

/// Writes what came of a renewal, unless somebody gave another credential meanwhile.
async fn store(
    mut tx: Tx,
    audit: &AuditChain,
    ctx: &Ctx,
    id: InstanceId,
    version: i64,
    renewal: &Renewal,
) -> Result<(), StoreError> {
    let (state, sealed) = match renewal {
        Renewal::Kept => return Ok(()),
        Renewal::Replaced(sealed) => (RefreshState::Ok, Some(&sealed.0)),
        Renewal::Unknown => (RefreshState::Unknown, None),
        Renewal::Refused => (RefreshState::Refused, None),
    };
    let written = sqlx::query(
        "update credentials
         set sealed = coalesce($4, sealed), version = version + ($4::bytea is not null)::int, refresh_state = $5,
             refreshed_at = clock_timestamp(), updated_at = case when $4 is null then updated_at else now() end
         where tenant_id = $1 and instance_id = $2 and version = $3",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(id.as_uuid())
    .bind(version)
    .bind(sealed)
    .bind(state.as_str())
    .execute(&mut *tx)
    .await
    .map_err(lock_error)?;
    if written.rows_affected() == 0 {
        return Ok(());
    }
    if state == RefreshState::Refused {
        sqlx::query(
            "update source_instances set status = 'reconnect_required', updated_at = now()
             where tenant_id = $1 and id = $2 and status = 'active'",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(id.as_uuid())
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    }
    let outcome = match state {
        RefreshState::Ok => AuditOutcome::Ok,
        RefreshState::Unknown => AuditOutcome::Failed,
        RefreshState::Refused => AuditOutcome::Denied,
    };
    let entry = AuditEntry::ok(RENEWED).to("instance", id).with("state", state.as_str()).ended(outcome);
    audit.record(&mut tx, ctx, &entry).await?;
    tx.commit().await.map_err(store_error)
}
