//! Applying deliveries: reading what they point at, a hundred items at a time, and writing it together with the note that
//! they are applied.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::webhook::MOST_ATTEMPTS;
use domain::{Hint, InstanceId, InstanceStatus, PageRecords, RequestId, TenantId};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::WebhookParts;
use crate::connections::LiveConnection;
use crate::item_reads::{ItemReader, MOST_ITEMS};
use crate::ports::{
    FetchedItems, ItemAddress, Job, JobOutcome, JobQueue, OpenDelivery, PutOff, SourceError, SourceErrorKind,
    StoreError, SyncStore,
};
use crate::schedules::ScheduleService;
use crate::{Ctx, Error};

/// Deliveries looked at once: in a storm many point at the same items.
const MOST_DELIVERIES: i64 = 500;
/// After this time a job makes room for others.
const SHARE: Duration = Duration::from_secs(20);
/// The wait after the first failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);
/// How long to wait when the tracker asks for it without saying how long.
const UNTOLD_WAIT: Duration = Duration::from_secs(60);

/// Applies what deliveries point at.
pub struct HintApplier {
    parts: WebhookParts,
    sync: Arc<dyn SyncStore>,
    schedules: Arc<ScheduleService>,
    queue: Arc<dyn JobQueue>,
}

/// Deliveries that are applied together, and what they point at.
#[derive(Debug, Default)]
struct Batch {
    deliveries: Vec<Uuid>,
    items: BTreeSet<ItemAddress>,
    gone: PageRecords,
    reference: bool,
    /// The most failures one of them has had.
    attempts: i32,
}

impl Batch {
    /// As many deliveries as point at no more items than are read at once; at least one, which never points at more.
    fn of(open: Vec<OpenDelivery>) -> Self {
        let mut batch = Self::default();
        for OpenDelivery { id, hints, attempts } in open {
            let mut items = batch.items.clone();
            for hint in &hints {
                if let Hint::Item { source_id, ref_key, key } = hint {
                    let (source_id, ref_key, key) = (source_id.clone(), ref_key.clone(), key.clone());
                    items.insert(ItemAddress { source_id, ref_key, key });
                }
            }
            if items.len() > MOST_ITEMS && !batch.deliveries.is_empty() {
                break;
            }
            batch.items = items;
            for hint in hints {
                match hint {
                    Hint::Item { .. } => {}
                    Hint::WorklogGone { source_id } => batch.gone.worklogs_gone.push(source_id),
                    Hint::CommentGone { kind, source_id } if kind == "review_comment" => {
                        batch.gone.comments_gone.push(("review_comment", source_id));
                    }
                    Hint::CommentGone { source_id, .. } => {
                        batch.gone.comments_gone.push(("comment", source_id));
                    }
                    Hint::Reference => batch.reference = true,
                }
            }
            batch.attempts = batch.attempts.max(attempts);
            batch.deliveries.push(id);
        }
        batch
    }
}

impl HintApplier {
    /// Puts it together.
    pub fn new(
        parts: WebhookParts,
        sync: Arc<dyn SyncStore>,
        schedules: Arc<ScheduleService>,
        queue: Arc<dyn JobQueue>,
    ) -> Self {
        Self { parts, sync, schedules, queue }
    }

    /// Does the job of an instance: applies what is open.
    pub async fn handle(
        &self,
        tenant: TenantId,
        instance: InstanceId,
        retry: bool,
        stop: &CancellationToken,
    ) -> JobOutcome {
        let ctx = Ctx::system(tenant, "webhooks", RequestId::new(self.parts.ids.uuid()));
        let applied = match self.apply(&ctx, instance, stop).await {
            // This job was for the first of those that wait for another try; the others need theirs.
            Ok(()) if retry => self.parts.store.retry_later(&ctx, instance).await.map_err(Into::into),
            other => other,
        };
        match applied {
            Ok(()) => JobOutcome::Done,
            Err(error) => {
                warn!(instance.id = %instance, error = &error as &dyn std::error::Error, "Deliveries were not applied");
                JobOutcome::Retry(error.to_string())
            }
        }
    }

    async fn apply(&self, ctx: &Ctx, id: InstanceId, stop: &CancellationToken) -> Result<(), Error> {
        let began = Instant::now();
        let Some(instance) = self.parts.instances.find(ctx, id).await? else { return Ok(()) };
        if instance.status != InstanceStatus::Active {
            let reason = match instance.status {
                InstanceStatus::Paused => "the instance is paused; its next sync reads what changed",
                _ => {
                    "the tracker refused the instance's credentials; the first sync with new ones reads what changed"
                }
            };
            return Ok(self.parts.store.skip_open(ctx, id, reason).await?);
        }
        let Some(adapter) = self.parts.sources.get(&instance.source) else {
            let reason = "this installation has no adapter for the source";
            return Ok(self.parts.store.skip_open(ctx, id, reason).await?);
        };
        let mut open = self.parts.store.open_deliveries(ctx, id, MOST_DELIVERIES).await?;
        if open.is_empty() {
            return Ok(());
        }
        let live = match self.parts.connections.open(ctx, &instance).await {
            Ok(connection) => LiveConnection::from(connection),
            Err(Error::Source(error)) => return self.put_off(ctx, id, &Batch::of(open), &error).await,
            Err(error) => return Err(error),
        };
        let work = ItemReader {
            connections: &self.parts.connections,
            limits: &self.parts.limits,
            ctx,
            instance: &instance,
            adapter: adapter.as_ref(),
            live,
        };
        while !open.is_empty() {
            if stop.is_cancelled() || began.elapsed() >= SHARE {
                let again = Job::ApplyHints { tenant: ctx.tenant, instance: id, retry: false };
                return Ok(self.queue.enqueue(&again, None).await?);
            }
            self.apply_batch(&work, Batch::of(open)).await?;
            open = self.parts.store.open_deliveries(ctx, id, MOST_DELIVERIES).await?;
        }
        Ok(())
    }

    async fn apply_batch(&self, work: &ItemReader<'_>, mut batch: Batch) -> Result<(), Error> {
        let (ctx, id) = (work.ctx, work.instance.id);
        let fetched_at = self.parts.clock.now();
        let mut records = match read(work, &batch).await {
            Ok(records) => records,
            Err(Error::Source(error)) => return self.put_off(ctx, id, &batch, &error).await,
            Err(Error::RateLimited { retry_after, .. } | Error::Closed { retry_after }) => {
                let why = "the instance's budget of requests is used up for now";
                return self.wait(ctx, id, &batch, why, retry_after, 0).await;
            }
            Err(error) => return Err(error),
        };
        records.append(std::mem::take(&mut batch.gone));
        let deliveries = &batch.deliveries;
        match self.sync.commit_items(ctx, id, records, fetched_at, deliveries).await {
            Ok(counts) => {
                info!(
                    instance.id = %id, deliveries = deliveries.len(), items = batch.items.len(),
                    upserted = counts.upserted, "Deliveries were applied"
                );
            }
            Err(error @ StoreError::Internal(_)) => {
                warn!(instance.id = %id, error = &error as &dyn std::error::Error, "What a delivery points at cannot be written");
                let why = "what it points at could not be written; this is a fault of Patchbay";
                return self.wait(ctx, id, &batch, why, wait_after(batch.attempts), 1).await;
            }
            Err(error) => return Err(error.into()),
        }
        if batch.reference {
            self.schedules.sync_soon(ctx, id).await?;
        }
        Ok(())
    }

    async fn put_off(
        &self,
        ctx: &Ctx,
        id: InstanceId,
        batch: &Batch,
        error: &SourceError,
    ) -> Result<(), Error> {
        if error.kind == SourceErrorKind::RateLimited {
            let wait = error.retry_after.unwrap_or(UNTOLD_WAIT);
            return self.wait(ctx, id, batch, &error.message, wait, 0).await;
        }
        let attempts = if error.kind.is_transient() { 1 } else { MOST_ATTEMPTS };
        let wait = wait_after(batch.attempts).max(error.retry_after.unwrap_or_default());
        self.wait(ctx, id, batch, &error.message, wait, attempts).await
    }

    async fn wait(
        &self,
        ctx: &Ctx,
        id: InstanceId,
        batch: &Batch,
        problem: &str,
        wait: Duration,
        attempts: i32,
    ) -> Result<(), Error> {
        let retry_at = self.parts.clock.now() + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
        let what = PutOff { deliveries: &batch.deliveries, problem, retry_at, attempts };
        self.parts.store.put_off(ctx, id, what).await?;
        if batch.attempts + attempts >= MOST_ATTEMPTS {
            self.schedules.sync_now(ctx, id).await?;
        }
        Ok(())
    }
}

async fn read(work: &ItemReader<'_>, batch: &Batch) -> Result<PageRecords, Error> {
    if batch.items.is_empty() {
        return Ok(PageRecords::default());
    }
    let items: Vec<ItemAddress> = batch.items.iter().cloned().collect();
    let FetchedItems { records, invisible } = work.read(&items).await?;
    if !invisible.is_empty() {
        // That proves nothing; a comparison with the source finds out.
        let id = work.instance.id;
        info!(instance.id = %id, items = invisible.len(), "Deliveries point at items that are not visible");
    }
    Ok(records)
}

fn wait_after(attempts: i32) -> Duration {
    let doubled = 2u32.saturating_pow(u32::try_from(attempts).unwrap_or(0));
    FIRST_WAIT.saturating_mul(doubled).min(LONGEST_WAIT)
}

impl std::fmt::Debug for HintApplier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HintApplier")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(n: u128, hints: impl IntoIterator<Item = Hint>) -> OpenDelivery {
        OpenDelivery { id: Uuid::from_u128(n), hints: hints.into_iter().collect(), attempts: 0 }
    }

    fn item(n: u32) -> Hint {
        Hint::Item { source_id: Some(n.to_string()), ref_key: None, key: None }
    }

    #[test]
    fn many_deliveries_about_the_same_items_are_one_read() {
        let batch = Batch::of((0..500).map(|n| delivery(n, [item((n % 7) as u32)])).collect());
        assert_eq!((batch.deliveries.len(), batch.items.len()), (500, 7));
    }

    #[test]
    fn no_more_items_are_read_at_once_than_an_adapter_takes() {
        let batch =
            Batch::of((0..500u32).map(|n| delivery(n.into(), [item(2 * n), item(2 * n + 1)])).collect());
        assert_eq!((batch.deliveries.len(), batch.items.len()), (50, 100));
        let large = Batch::of(vec![delivery(1, (0..100).map(item)), delivery(2, [item(100)])]);
        assert_eq!((large.deliveries.len(), large.items.len()), (1, 100));
    }

    #[test]
    fn waits_grow_up_to_half_an_hour() {
        assert_eq!(wait_after(0), Duration::from_secs(5));
        assert_eq!(wait_after(3), Duration::from_secs(40));
        assert_eq!(wait_after(MOST_ATTEMPTS), LONGEST_WAIT);
        assert_eq!(wait_after(i32::MAX), LONGEST_WAIT);
    }
}
