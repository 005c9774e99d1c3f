//! Reading the record.

use application::Ctx;
use application::ports::{AuditFilter, ListCursor, ListPage, Listing, StoreError};
use chrono::{DateTime, Utc};
use domain::{AuditHead, AuditRecord};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::super::db::{Db, store_error};

/// Records an export reads at once. Between two of these it holds nothing of the database, however slow its reader is.
const CHUNK: i64 = 1000;

#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) seq: i64,
    pub(super) id: Uuid,
    pub(super) at: DateTime<Utc>,
    pub(super) principal_kind: String,
    pub(super) principal_id: Option<Uuid>,
    pub(super) principal_name: String,
    pub(super) client: Option<String>,
    pub(super) address: Option<String>,
    pub(super) request_id: Uuid,
    pub(super) action: String,
    pub(super) target_kind: Option<String>,
    pub(super) target_id: Option<String>,
    pub(super) outcome: String,
    pub(super) arguments_digest: Option<Vec<u8>>,
    pub(super) details: String,
    pub(super) hash: Vec<u8>,
}

/// What [`Row`] needs.
pub(super) const COLUMNS: &str =
    "seq, id, at, principal_kind, principal_id, principal_name, client, address, request_id,
    action, target_kind, target_id, outcome, arguments_digest, details, hash";

impl TryFrom<Row> for AuditRecord {
    type Error = StoreError;

    /// Fails for a row that Patchbay has not written.
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let seq = row.seq;
        let foreign = |what: &str| {
            StoreError::Internal(
                format!("audit record {seq} has a wrong {what}: run `patchbay audit verify`").into(),
            )
        };
        let digest = row.arguments_digest.map(<[u8; 32]>::try_from).transpose();
        Ok(Self {
            seq,
            id: row.id,
            at: row.at,
            principal_kind: row.principal_kind,
            principal_id: row.principal_id,
            principal_name: row.principal_name,
            client: row.client,
            address: row.address.map(|text| text.parse()).transpose().map_err(|_| foreign("address"))?,
            request_id: row.request_id,
            action: row.action,
            target: row.target_kind.zip(row.target_id),
            outcome: row.outcome,
            arguments_digest: digest.map_err(|_| foreign("digest"))?,
            details: serde_json::from_str(&row.details).map_err(|_| foreign("details"))?,
            hash: row.hash.try_into().map_err(|_| foreign("hash"))?,
        })
    }
}

/// The end of the tenant's chain.
pub(super) async fn head(db: &Db, ctx: &Ctx) -> Result<Option<AuditHead>, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    let row: Option<(i64, [u8; 32])> =
        sqlx::query_as("select seq, hash from audit_heads where tenant_id = $1 and seq > 0")
            .bind(ctx.tenant.as_uuid())
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
    Ok(row.map(|(seq, hash)| AuditHead { seq, hash }))
}

pub(super) async fn newest_first(
    db: &Db,
    ctx: &Ctx,
    filter: &AuditFilter,
    page: &ListPage,
) -> Result<Listing<AuditRecord>, StoreError> {
    let mut query = matching(ctx, filter);
    if let Some(after) = &page.cursor {
        // Anything else than a place was not made here; nothing stands behind it.
        query.push(" and seq < ").push_bind(after.after.parse::<i64>().unwrap_or(0));
    }
    query.push(" order by seq desc limit ").push_bind(page.limit + 1);
    let mut items = read(db, ctx, query).await?;
    let limit = usize::try_from(page.limit).unwrap_or(0);
    let more = items.len() > limit;
    items.truncate(limit);
    let next =
        items.last().filter(|_| more).map(|last| ListCursor { after: last.seq.to_string(), id: last.id });
    Ok(Listing { items, next })
}

pub(super) fn oldest_first(
    db: Db,
    ctx: Ctx,
    filter: AuditFilter,
    last: i64,
) -> BoxStream<'static, Result<AuditRecord, StoreError>> {
    // Where the next chunk begins; none when there is nothing more.
    let chunks = stream::try_unfold(Some(0i64), move |after| {
        let (db, ctx, filter) = (db.clone(), ctx.clone(), filter.clone());
        async move {
            let Some(after) = after else { return Ok::<_, StoreError>(None) };
            let mut query = matching(&ctx, &filter);
            query.push(" and seq > ").push_bind(after).push(" and seq <= ").push_bind(last);
            query.push(" order by seq limit ").push_bind(CHUNK);
            let items = read(&db, &ctx, query).await?;
            let full = items.len() == usize::try_from(CHUNK).unwrap_or(0);
            let next = items.last().filter(|_| full).map(|record| record.seq);
            Ok(Some((items, next)))
        }
    });
    chunks
        .flat_map(|chunk| {
            let items = match chunk {
                Ok(items) => items.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            stream::iter(items)
        })
        .boxed()
}

async fn read(db: &Db, ctx: &Ctx, mut query: QueryBuilder<Postgres>) -> Result<Vec<AuditRecord>, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    let rows: Vec<Row> = query.build_query_as().fetch_all(&mut *tx).await.map_err(store_error)?;
    rows.into_iter().map(AuditRecord::try_from).collect()
}

fn matching(ctx: &Ctx, filter: &AuditFilter) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("select ");
    query.push(COLUMNS).push(" from audit_log where tenant_id = ").push_bind(ctx.tenant.as_uuid());
    if let Some(principal) = filter.principal {
        query.push(" and principal_id = ").push_bind(principal);
    }
    if let Some(action) = &filter.action {
        let prefix = action.ends_with('.');
        query.push(if prefix { " and action ^@ " } else { " and action = " }).push_bind(action.clone());
        if prefix && !READS.iter().any(|read| read.starts_with(action.as_str())) {
            // Says what the index of changes leaves out, so that it is used.
            query.push(" and action <> 'tool.call' and action <> 'template.run'");
        }
    }
    if let Some(kind) = &filter.target_kind {
        query.push(" and target_kind = ").push_bind(kind.clone());
    }
    if let Some(id) = &filter.target_id {
        query.push(" and target_id = ").push_bind(id.clone());
    }
    if let Some(outcome) = &filter.outcome {
        query.push(" and outcome = ").push_bind(outcome.clone());
    }
    if let Some(since) = filter.since {
        query.push(" and at >= ").push_bind(since);
    }
    if let Some(until) = filter.until {
        query.push(" and at < ").push_bind(until);
    }
    query
}

/// Actions that the index of changes leaves out: nearly all records are of these.
const READS: [&str; 2] = ["tool.call", "template.run"];
