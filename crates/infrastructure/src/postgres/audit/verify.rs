//! Looking a chain through.

use application::Ctx;
use application::ports::{AuditVerdict, StoreError};
use domain::AuditHead;
use futures::TryStreamExt;
use sqlx::QueryBuilder;

use super::super::db::{Db, store_error};
use super::chain::{AuditChain, Content};
use super::list::{COLUMNS, Row};

/// Reads every record of the tenant, oldest first, in one snapshot and one at a time, up to the first that does not
/// follow from the one before.
pub(super) async fn verify(
    db: &Db,
    chain: &AuditChain,
    ctx: &Ctx,
    expected: Option<&AuditHead>,
) -> Result<AuditVerdict, StoreError> {
    let tenant = ctx.tenant.as_uuid();
    let mut tx = db.tenant_snapshot(ctx).await?;
    let head: Option<(i64, [u8; 32], [u8; 32])> =
        sqlx::query_as("select seq, hash, seal from audit_heads where tenant_id = $1")
            .bind(tenant)
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
    let mut query = QueryBuilder::new("select ");
    query.push(COLUMNS).push(" from audit_log where tenant_id = ").push_bind(tenant).push(" order by seq");
    let mut last = AuditHead { seq: 0, hash: [0; 32] };
    let mut broken = None;
    {
        let mut rows = query.build_query_as::<Row>().fetch(&mut *tx);
        while let Some(row) = rows.try_next().await.map_err(store_error)? {
            let place = last.seq + 1;
            if row.seq != place {
                broken = Some((place, format!("the record is missing; the next one is {}", row.seq)));
                break;
            }
            let hash = chain.next(&last.hash, &content(tenant, &row))?;
            if row.hash != hash {
                let why = "the record was changed, or another stood here";
                broken = Some((place, why.to_owned()));
                break;
            }
            if expected.is_some_and(|expected| expected.seq == place && expected.hash != hash) {
                broken = Some((place, "another record stood here when the given head was kept".to_owned()));
                break;
            }
            last = AuditHead { seq: place, hash };
        }
    }
    if broken.is_none() {
        broken = check_end(chain, tenant, head, &last, expected);
    }
    let head = head.filter(|(seq, ..)| *seq > 0).map(|(seq, hash, _)| AuditHead { seq, hash });
    Ok(AuditVerdict { records: last.seq, head, broken })
}

/// What is wrong with where the chain ends.
fn check_end(
    chain: &AuditChain,
    tenant: uuid::Uuid,
    head: Option<(i64, [u8; 32], [u8; 32])>,
    last: &AuditHead,
    expected: Option<&AuditHead>,
) -> Option<(i64, String)> {
    match head {
        None if last.seq > 0 => return Some((last.seq, "the end of the chain was removed".to_owned())),
        None => {}
        Some((seq, ..)) if seq > last.seq => {
            return Some((last.seq + 1, format!("the records from here to {seq} are missing")));
        }
        Some((seq, ..)) if seq < last.seq => {
            return Some((seq + 1, "the record stands behind the end of the chain".to_owned()));
        }
        Some((seq, hash, seal)) if hash != last.hash || seal != chain.seal(tenant, seq, &hash) => {
            return Some((seq, "the end of the chain was changed".to_owned()));
        }
        Some(_) => {}
    }
    let expected = expected.filter(|expected| expected.seq > last.seq)?;
    Some((
        last.seq + 1,
        format!("the log was rolled back: it had {} records when the given head was kept", expected.seq),
    ))
}

fn content(tenant: uuid::Uuid, row: &Row) -> Content<'_> {
    Content {
        tenant_id: tenant,
        seq: row.seq,
        id: row.id,
        at: row.at.timestamp_micros(),
        principal_kind: &row.principal_kind,
        principal_id: row.principal_id,
        principal_name: &row.principal_name,
        client: row.client.as_deref(),
        address: row.address.as_deref(),
        request_id: row.request_id,
        action: &row.action,
        target_kind: row.target_kind.as_deref(),
        target_id: row.target_id.as_deref(),
        outcome: &row.outcome,
        arguments_digest: row.arguments_digest.as_deref(),
        details: &row.details,
    }
}
