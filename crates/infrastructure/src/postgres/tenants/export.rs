//! Everything a tenant has, line by line.

use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use application::ports::{ExportLine, StoreError};
use domain::AuditEntry;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{EXPORTED, catalog};
use crate::postgres::audit::AuditChain;
use crate::postgres::db::{Db, Tx, store_error};

/// Lines read ahead of the reader.
const AHEAD: usize = 16;
/// A reader that takes nothing for so long is gone: the snapshot must not be kept for it.
const STALLED: Duration = Duration::from_secs(60);

type Lines = mpsc::Sender<Result<ExportLine, StoreError>>;

pub(super) async fn begin(
    db: &Db,
    audit: &AuditChain,
    slots: &Arc<Semaphore>,
    ctx: &Ctx,
) -> Result<BoxStream<'static, Result<ExportLine, StoreError>>, StoreError> {
    let slot = slots
        .clone()
        .try_acquire_owned()
        .map_err(|_| StoreError::Unavailable("as many exports as may run at once are running".into()))?;
    let mut tx = db.tenant_tx(ctx).await?;
    audit.record(&mut tx, ctx, &AuditEntry::ok(EXPORTED).to("tenant", ctx.tenant)).await?;
    tx.commit().await.map_err(store_error)?;

    let snapshot = db.tenant_snapshot(ctx).await?;
    let (lines, received) = mpsc::channel(AHEAD);
    tokio::spawn(write(snapshot, ctx.clone(), lines, slot));
    Ok(stream::unfold(received, async |mut received| Some((received.recv().await?, received))).boxed())
}

/// Ends early, and with it the snapshot, when nobody takes the lines.
async fn write(mut tx: Tx, ctx: Ctx, lines: Lines, _slot: OwnedSemaphorePermit) {
    if let Err(Ended::Failed(error)) = write_all(&mut tx, &ctx, &lines).await {
        tracing::warn!(tenant.id = %ctx.tenant, error = %error, "An export of a tenant broke off");
        // A reader that is gone need not know.
        let _ = lines.send(Err(error)).await;
    }
}

enum Ended {
    Unread,
    Failed(StoreError),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

async fn write_all(tx: &mut Tx, ctx: &Ctx, lines: &Lines) -> Result<(), Ended> {
    let mut counts = Map::new();
    for table in catalog::readable(tx).await? {
        let name = Value::from(table.name.as_str());
        let mut found: u64 = 0;
        let mut rows =
            sqlx::query_scalar::<_, String>(table.rows()).bind(ctx.tenant.as_uuid()).fetch(&mut **tx);
        while let Some(row) = rows.try_next().await.map_err(store_error)? {
            found += 1;
            // Objects of trackers are kept as they came, with line ends between their parts perhaps. Inside of JSON's
            // strings there are none.
            let row = if row.contains(['\n', '\r']) { row.replace(['\n', '\r'], " ") } else { row };
            send(lines, format!("{{\"table\":{name},\"row\":{row}}}")).await?;
        }
        drop(rows);
        counts.insert(table.name, found.into());
    }
    send(lines, json!({"counts": counts}).to_string()).await
}

async fn send(lines: &Lines, line: ExportLine) -> Result<(), Ended> {
    match tokio::time::timeout(STALLED, lines.send(Ok(line))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Ended::Unread),
    }
}
