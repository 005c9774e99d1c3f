//! The task that stores what waits: a batch is one tenant's, in one transaction; batches of several tenants are written
//! side by side, and one that fails is tried again without holding up the others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use application::ports::StoreError;
use domain::{RequestId, TenantId};
use metrics::{counter, gauge, histogram};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::super::db::{Db, store_error};
use super::chain::{AuditChain, Draft};
use super::queue::{BATCHES, DELAY, DEPTH, FAILURES, Item, OLDEST, Queue, STORED};

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often the age of the oldest record is looked at; it takes a look at every tenant that waits.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// What waits of one tenant.
#[derive(Debug, Default)]
struct Line {
    items: VecDeque<Item>,
    /// In `ready`, in `resting` or being written; otherwise nothing waits.
    placed: bool,
    /// Failures in a row.
    failures: u32,
}

struct Writer {
    queue: Arc<Queue>,
    db: Db,
    chain: AuditChain,
    lines: HashMap<TenantId, Line>,
    /// Tenants whose turn it is.
    ready: VecDeque<TenantId>,
    /// Tenants whose last batch failed, and when to try again.
    resting: Vec<(Instant, TenantId)>,
    writing: JoinSet<Batch>,
    measured: Instant,
}

/// A batch that was tried.
struct Batch {
    tenant: TenantId,
    items: Vec<Item>,
    result: Result<(), StoreError>,
}

/// Ends when the queue is closed and empty, or abandoned.
pub(super) async fn run(queue: Arc<Queue>, db: Db, chain: AuditChain) {
    let _ended = queue.ended.clone().drop_guard();
    let mut writer = Writer {
        queue: queue.clone(),
        db,
        chain,
        lines: HashMap::new(),
        ready: VecDeque::new(),
        resting: Vec::new(),
        writing: JoinSet::new(),
        measured: Instant::now(),
    };
    // When to take what has arrived; none while nothing has.
    let mut take_at: Option<Instant> = None;
    let mut closing = false;
    loop {
        let retry_at = writer.resting.iter().map(|(at, _)| *at).min();
        tokio::select! {
            () = queue.abandoned.cancelled() => return,
            () = queue.urgent.notified() => take_at = Some(Instant::now()),
            () = queue.first.notified(), if take_at.is_none() => take_at = Some(Instant::now() + queue.bounds.linger),
            () = at(take_at) => {}
            () = at(retry_at) => {}
            Some(batch) = writer.writing.join_next() => match batch {
                Ok(batch) => writer.settle(batch),
                // Only a panic gets here; its records are gone, and everybody should know.
                Err(error) => tracing::error!(error = %error, "Writing audit records panicked"),
            },
            // Once: whatever is in the queue when it is closed is all there will be.
            () = queue.closing.cancelled(), if !closing => {
                closing = true;
                take_at = Some(Instant::now());
            }
        }
        if take_at.is_some_and(|at| at <= Instant::now()) {
            take_at = None;
            writer.accept(queue.take());
        }
        writer.start();
        writer.measure();
        if writer.lines.is_empty() && queue.is_drained() {
            return;
        }
    }
}

/// At that time, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

impl Writer {
    /// Sorts what has arrived by tenant.
    fn accept(&mut self, items: Vec<Item>) {
        for item in items {
            let tenant = item.tenant;
            let line = self.lines.entry(tenant).or_default();
            line.items.push_back(item);
            if !line.placed {
                line.placed = true;
                self.ready.push_back(tenant);
            }
        }
    }

    /// Begins as many batches as may be written at once.
    fn start(&mut self) {
        let now = Instant::now();
        let ready = &mut self.ready;
        self.resting.retain(|&(at, tenant)| {
            if at <= now {
                ready.push_back(tenant);
            }
            at > now
        });
        while self.writing.len() < self.queue.bounds.writers {
            let Some(tenant) = self.ready.pop_front() else { return };
            let Some(line) = self.lines.get_mut(&tenant) else { continue };
            let count = line.items.len().min(self.queue.bounds.batch);
            let items: Vec<Item> = line.items.drain(..count).collect();
            let again = line.failures > 0;
            let (db, chain) = (self.db.clone(), self.chain.clone());
            self.writing.spawn(async move {
                let drafts: Vec<&Draft> = items.iter().map(|item| &item.draft).collect();
                let result = write(&db, &chain, tenant, drafts, again).await;
                Batch { tenant, items, result }
            });
        }
    }

    /// Frees what is stored, and puts back what is not.
    fn settle(&mut self, batch: Batch) {
        let Batch { tenant, items, result } = batch;
        let Some(line) = self.lines.get_mut(&tenant) else { return };
        match result {
            Err(error) if !is_without_tenant(&error) => {
                counter!(FAILURES).increment(1);
                let wait = FIRST_WAIT.saturating_mul(1 << line.failures.min(10)).min(LONGEST_WAIT);
                let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                if line.failures == 0 || matches!(error, StoreError::Internal(_)) {
                    tracing::error!(
                        tenant.id = %tenant, error = %error, source, records = items.len(),
                        "Audit records of tenant {tenant} cannot be stored; trying again"
                    );
                }
                line.failures = line.failures.saturating_add(1);
                for item in items.into_iter().rev() {
                    line.items.push_front(item);
                }
                self.resting.push((Instant::now() + wait, tenant));
                return;
            }
            Err(_) => {
                let records = items.len();
                tracing::warn!(tenant.id = %tenant, records, "Audit records of a deleted tenant went with it");
            }
            Ok(()) => {
                counter!(BATCHES).increment(1);
                counter!(STORED).increment(u64::try_from(items.len()).unwrap_or(u64::MAX));
                if let Some(oldest) = items.first() {
                    histogram!(DELAY).record(oldest.queued.elapsed().as_secs_f64());
                }
            }
        }
        let stored = result.is_ok();
        self.queue.free(&items);
        for told in items.into_iter().filter_map(|item| item.stored).filter(|_| stored) {
            // Whoever waited may have gone away.
            let _ = told.send(());
        }
        line.failures = 0;
        if line.items.is_empty() {
            self.lines.remove(&tenant);
        } else {
            self.ready.push_back(tenant);
        }
    }

    fn measure(&mut self) {
        gauge!(DEPTH).set(u32::try_from(self.queue.depth()).unwrap_or(u32::MAX));
        if self.measured.elapsed() >= MEASURE_EVERY || self.lines.is_empty() {
            let oldest =
                self.lines.values().filter_map(|line| line.items.front()).map(|item| item.queued).min();
            gauge!(OLDEST).set(oldest.map_or(0.0, |oldest| oldest.elapsed().as_secs_f64()));
            self.measured = Instant::now();
        }
    }
}

async fn write(
    db: &Db,
    chain: &AuditChain,
    tenant: TenantId,
    mut drafts: Vec<&Draft>,
    again: bool,
) -> Result<(), StoreError> {
    let ctx = Ctx::system(tenant, "audit", RequestId::new(Uuid::now_v7()));
    let mut tx = db.tenant_tx(&ctx).await?;
    if again {
        // The last try may have been committed without our learning of it.
        let there: Vec<Uuid> = sqlx::query_scalar(
            "select id from audit_log where tenant_id = $1 and at >= $2 and at <= $3 and id = any ($4)",
        )
        .bind(tenant.as_uuid())
        .bind(drafts.iter().map(|draft| draft.at).min())
        .bind(drafts.iter().map(|draft| draft.at).max())
        .bind(drafts.iter().map(|draft| draft.id).collect::<Vec<_>>())
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
        drafts.retain(|draft| !there.contains(&draft.id));
    }
    if !drafts.is_empty() {
        chain.append(&mut tx, tenant.as_uuid(), &drafts).await?;
    }
    tx.commit().await.map_err(store_error)
}

/// Whether the tenant is no more.
fn is_without_tenant(error: &StoreError) -> bool {
    let StoreError::Internal(error) = error else { return false };
    error
        .downcast_ref::<sqlx::Error>()
        .and_then(sqlx::Error::as_database_error)
        .is_some_and(|database| database.is_foreign_key_violation())
}
