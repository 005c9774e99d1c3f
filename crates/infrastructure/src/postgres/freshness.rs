//! How fresh each instance's data is.

use std::collections::HashMap;
use std::time::Duration;

use application::Ctx;
use application::ports::{Freshness, StoreError, StoredCounts};
use domain::schedule::freshness_target;
use domain::{InstanceId, RunError, RunId, RunKind, RunState, Slug};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::db::{Db, Tx, store_error};

/// All instances, by slug.
pub(super) async fn read(db: &Db, ctx: &Ctx) -> Result<Vec<Freshness>, StoreError> {
    select(&mut db.tenant_lookup(ctx).await?, ctx, None).await
}

/// One instance or all, by slug, and how much of each is stored.
pub(super) async fn read_counted(
    db: &Db,
    ctx: &Ctx,
    instance: Option<InstanceId>,
) -> Result<Vec<(Freshness, StoredCounts)>, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    let instances = select(&mut tx, ctx, instance).await?;
    let ids: Vec<Uuid> = instances.iter().map(|of| of.instance_id.as_uuid()).collect();
    let counts: HashMap<Uuid, StoredCounts> = sqlx::query(
        "select i.id,
             (select count(*) from work_items w
              where w.tenant_id = $1 and w.instance_id = i.id and w.deleted_at is null) as items,
             (select count(*) from sync_dead_letters d where d.tenant_id = $1 and d.instance_id = i.id) as dead_letters
         from unnest($2::uuid[]) as i (id)",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(ids)
    .fetch_all(&mut *tx)
    .await
    .map_err(store_error)?
    .iter()
    .map(|row| {
        let counts = StoredCounts { items: row.try_get("items")?, dead_letters: row.try_get("dead_letters")? };
        Ok((row.try_get("id")?, counts))
    })
    .collect::<Result<_, sqlx::Error>>()
    .map_err(store_error)?;
    let count = |of: Freshness| {
        let counts = counts.get(&of.instance_id.as_uuid()).copied().unwrap_or_default();
        (of, counts)
    };
    Ok(instances.into_iter().map(count).collect())
}

async fn select(tx: &mut Tx, ctx: &Ctx, instance: Option<InstanceId>) -> Result<Vec<Freshness>, StoreError> {
    sqlx::query(
        "select i.id, i.slug, i.source, i.synced_at, i.backfilled_at,
             a.id as run_id, a.kind as run_kind, a.state as run_state, l.error_code, l.error_hint,
             s.interval_s, s.jitter_percent
         from source_instances i
         left join sync_schedules s on s.tenant_id = $1 and s.instance_id = i.id and not s.paused
         left join lateral (select id, kind, state from sync_runs r where r.tenant_id = $1 and r.instance_id = i.id
             and r.state in ('queued', 'running', 'waiting')) a on true
         left join lateral (select error_code, error_hint from sync_runs r
             where r.tenant_id = $1 and r.instance_id = i.id and r.finished_at is not null and r.state <> 'cancelled'
             order by r.created_at desc limit 1) l on true
         where i.tenant_id = $1 and ($2::uuid is null or i.id = $2) order by i.slug limit 1000",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.map(InstanceId::as_uuid))
    .fetch_all(&mut **tx)
    .await
    .map_err(store_error)?
    .iter()
    .map(freshness)
    .collect::<Result<_, _>>()
    .map_err(store_error)
}

fn freshness(row: &PgRow) -> Result<Freshness, sqlx::Error> {
    let slug: &str = row.try_get("slug")?;
    let slug = slug.parse::<Slug>().map_err(|error| sqlx::Error::Decode(error.into()))?;
    let active_run =
        match (row.try_get::<Option<_>, _>("run_id")?, row.try_get("run_kind")?, row.try_get("run_state")?) {
            (Some(id), Some(kind), Some(state)) => RunKind::parse(kind)
                .zip(RunState::parse(state))
                .map(|(kind, state)| (RunId::new(id), kind, state)),
            _ => None,
        };
    let last_error = match (row.try_get("error_code")?, row.try_get("error_hint")?) {
        (Some(code), Some(hint)) => Some(RunError { code, hint }),
        _ => None,
    };
    let target = match (row.try_get("interval_s")?, row.try_get("jitter_percent")?) {
        (Some(interval), Some(jitter)) => target(interval, jitter),
        _ => None,
    };
    Ok(Freshness {
        instance_id: InstanceId::new(row.try_get("id")?),
        slug,
        source: row.try_get("source")?,
        synced_at: row.try_get("synced_at")?,
        backfilled_at: row.try_get("backfilled_at")?,
        active_run,
        last_error,
        target,
    })
}

fn target(interval_s: i32, jitter_percent: i16) -> Option<Duration> {
    let interval = Duration::from_secs(u64::try_from(interval_s).ok()?);
    Some(freshness_target(interval, u8::try_from(jitter_percent).ok()?))
}
