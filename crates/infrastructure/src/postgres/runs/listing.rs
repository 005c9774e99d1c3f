//! Runs and their dead letters as they are read.

use application::Ctx;
use application::ports::{DeadLetter, ListCursor, ListPage, Listing, RunFilter, StoreError};
use domain::{InstanceId, Run, RunCounts, RunError, RunId, RunKind, RunState, StreamName};
use sqlx::postgres::PgRow;
use sqlx::{QueryBuilder, Row};

use crate::postgres::db::{Db, Tx, store_error};

const COLUMNS: &str = "id, instance_id, kind, state, stream, done, estimate, upserted, unchanged, tombstoned, failed,
    comments, transitions, requests, error_code, error_hint, resume_at, cancel_requested_at is not null as cancelled,
    created_at, started_at, finished_at";

fn read(row: &PgRow) -> Result<Run, sqlx::Error> {
    let unknown = |what: &str, value: &str| sqlx::Error::Decode(format!("unknown {what} {value}").into());
    let (kind, state) = (row.try_get::<&str, _>("kind")?, row.try_get::<&str, _>("state")?);
    let error = match (row.try_get("error_code")?, row.try_get("error_hint")?) {
        (Some(code), Some(hint)) => Some(RunError { code, hint }),
        _ => None,
    };
    Ok(Run {
        id: RunId::new(row.try_get("id")?),
        instance_id: InstanceId::new(row.try_get("instance_id")?),
        kind: RunKind::parse(kind).ok_or_else(|| unknown("run kind", kind))?,
        state: RunState::parse(state).ok_or_else(|| unknown("run state", state))?,
        done: row.try_get("done")?,
        estimate: row.try_get("estimate")?,
        counts: RunCounts {
            upserted: row.try_get("upserted")?,
            unchanged: row.try_get("unchanged")?,
            tombstoned: row.try_get("tombstoned")?,
            failed: row.try_get("failed")?,
            comments: row.try_get("comments")?,
            transitions: row.try_get("transitions")?,
            requests: row.try_get("requests")?,
        },
        stream: row.try_get::<Option<String>, _>("stream")?.map(StreamName::new),
        error,
        resume_at: row.try_get("resume_at")?,
        cancel_requested: row.try_get("cancelled")?,
        created_at: row.try_get("created_at")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
    })
}

pub(super) async fn find_in(tx: &mut Tx, ctx: &Ctx, run: RunId) -> Result<Option<Run>, StoreError> {
    let mut query = QueryBuilder::new("select ");
    query.push(COLUMNS).push(" from sync_runs where tenant_id = ").push_bind(ctx.tenant.as_uuid());
    query.push(" and id = ").push_bind(run.as_uuid());
    let row = query.build().fetch_optional(&mut **tx).await.map_err(store_error)?;
    row.as_ref().map(read).transpose().map_err(store_error)
}

pub(in crate::postgres) async fn find(db: &Db, ctx: &Ctx, run: RunId) -> Result<Option<Run>, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    find_in(&mut tx, ctx, run).await
}

pub(in crate::postgres) async fn list(
    db: &Db,
    ctx: &Ctx,
    filter: &RunFilter,
    page: &ListPage,
) -> Result<Listing<Run>, StoreError> {
    let mut query = QueryBuilder::new("select ");
    query.push(COLUMNS).push(" from sync_runs where tenant_id = ").push_bind(ctx.tenant.as_uuid());
    if let Some(instance) = filter.instance {
        query.push(" and instance_id = ").push_bind(instance.as_uuid());
    }
    if let Some(state) = filter.state {
        query.push(" and state = ").push_bind(state.as_str());
    }
    if let Some(after) = &page.cursor {
        // Ids are UUIDv7: their order is the order of creation.
        query.push(" and id < ").push_bind(after.id);
    }
    query.push(" order by id desc limit ").push_bind(page.limit + 1);
    let mut tx = db.tenant_read(ctx).await?;
    let rows = query.build().fetch_all(&mut *tx).await.map_err(store_error)?;
    let items = rows.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(store_error)?;
    Ok(listing(items, page.limit, |run| ListCursor { after: String::new(), id: run.id.as_uuid() }))
}

/// Cuts off the row that was read to see whether there are more.
fn listing<T>(mut items: Vec<T>, limit: i64, position: impl Fn(&T) -> ListCursor) -> Listing<T> {
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(position);
    Listing { items, next }
}

pub(in crate::postgres) async fn dead_letters(
    db: &Db,
    ctx: &Ctx,
    run: RunId,
    page: &ListPage,
) -> Result<Listing<DeadLetter>, StoreError> {
    let mut query = QueryBuilder::new(
        "select id, run_id, stream, source_id, error, created_at from sync_dead_letters where tenant_id = ",
    );
    query.push_bind(ctx.tenant.as_uuid()).push(" and run_id = ").push_bind(run.as_uuid());
    if let Some(after) = &page.cursor {
        query.push(" and id < ").push_bind(after.id);
    }
    query.push(" order by id desc limit ").push_bind(page.limit + 1);
    let mut tx = db.tenant_read(ctx).await?;
    let rows = query.build().fetch_all(&mut *tx).await.map_err(store_error)?;
    let items = rows
        .iter()
        .map(|row| {
            Ok(DeadLetter {
                id: row.try_get("id")?,
                run_id: RunId::new(row.try_get("run_id")?),
                stream: row.try_get("stream")?,
                source_id: row.try_get("source_id")?,
                error: row.try_get("error")?,
                created_at: row.try_get("created_at")?,
            })
        })
        .collect::<Result<Vec<_>, sqlx::Error>>()
        .map_err(store_error)?;
    Ok(listing(items, page.limit, |letter| ListCursor { after: String::new(), id: letter.id }))
}
