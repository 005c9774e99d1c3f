//! The task that stores what waits. What several tenants have waiting goes into one transaction, as a transaction for each
//! would cost more than the reads that are recorded. A tenant whose chain somebody else holds, or whose last batch failed,
//! gets a transaction of its own, so that it holds up nobody.

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
use super::chain::AuditChain;
use super::draft::Draft;
use super::queue::{BATCHES, DELAY, DEPTH, FAILURES, Item, OLDEST, Queue, STORED};

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Most tenants whose chains one transaction holds.
const MOST_TENANTS: usize = 250;
/// How often the age of the oldest record is looked at; it takes a look at every tenant that waits.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// What waits of one tenant.
#[derive(Debug, Default)]
struct Line {
    items: VecDeque<Item>,
    /// In `ready`, in `resting` or being written; otherwise nothing waits.
    placed: bool,
    /// Must not share a transaction the next time.
    alone: bool,
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
    writing: JoinSet<Vec<Batch>>,
    measured: Instant,
}

/// What a tenant has waiting.
type Waiting = (TenantId, Vec<Item>);

/// What a tenant had waiting, and what came of it.
struct Batch {
    tenant: TenantId,
    items: Vec<Item>,
    outcome: Outcome,
}

enum Outcome {
    Stored,
    /// Not tried: the chain was somebody else's at that moment.
    Left,
    /// Tried together with others, and failed; or committed without our learning of it.
    Unsure,
    Failed(StoreError),
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
                Ok(batches) => batches.into_iter().for_each(|batch| writer.settle(batch)),
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
            let Some((first, again)) = self.next_batch() else { return };
            let (db, chain) = (self.db.clone(), self.chain.clone());
            if again.is_some() {
                let again = again == Some(true);
                self.writing.spawn(async move { vec![write_alone(&db, &chain, first, again).await] });
                continue;
            }
            let mut count = first.1.len();
            let mut batches = vec![first];
            while count < self.queue.bounds.batch && batches.len() < MOST_TENANTS {
                let shares = |line: &Line| !line.alone && line.failures == 0;
                let next = self.ready.front().and_then(|tenant| self.lines.get(tenant));
                if !next.is_some_and(shares) {
                    break;
                }
                let Some((next, _)) = self.next_batch() else { break };
                count += next.1.len();
                batches.push(next);
            }
            self.writing.spawn(async move { write_together(&db, &chain, batches).await });
        }
    }

    /// The records of the tenant whose turn it is. With them, for one that needs a transaction of its own, whether an
    /// earlier try may have stored them.
    fn next_batch(&mut self) -> Option<(Waiting, Option<bool>)> {
        loop {
            let tenant = self.ready.pop_front()?;
            let Some(line) = self.lines.get_mut(&tenant) else { continue };
            let count = line.items.len().min(self.queue.bounds.batch);
            let items: Vec<Item> = line.items.drain(..count).collect();
            let again = line.failures > 0;
            let alone = std::mem::take(&mut line.alone) || again;
            return Some(((tenant, items), alone.then_some(again)));
        }
    }

    /// Frees what is stored, and puts back what is not.
    fn settle(&mut self, batch: Batch) {
        let Batch { tenant, items, outcome } = batch;
        let Some(line) = self.lines.get_mut(&tenant) else { return };
        let mut stored = false;
        match outcome {
            Outcome::Left => {
                line.alone = true;
                put_back(line, items);
                self.ready.push_back(tenant);
                return;
            }
            Outcome::Unsure => {
                counter!(FAILURES).increment(1);
                line.failures = line.failures.saturating_add(1);
                put_back(line, items);
                self.resting.push((Instant::now() + FIRST_WAIT, tenant));
                return;
            }
            Outcome::Failed(error) if !is_without_tenant(&error) => {
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
                put_back(line, items);
                self.resting.push((Instant::now() + wait, tenant));
                return;
            }
            Outcome::Failed(_) => {
                let records = items.len();
                tracing::warn!(tenant.id = %tenant, records, "Audit records of a deleted tenant went with it");
            }
            Outcome::Stored => {
                stored = true;
                counter!(BATCHES).increment(1);
                counter!(STORED).increment(u64::try_from(items.len()).unwrap_or(u64::MAX));
                if let Some(oldest) = items.first() {
                    histogram!(DELAY).record(oldest.queued.elapsed().as_secs_f64());
                }
            }
        }
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

/// As they were.
fn put_back(line: &mut Line, items: Vec<Item>) {
    for item in items.into_iter().rev() {
        line.items.push_front(item);
    }
}

fn drafts(items: &[Item]) -> Vec<&Draft> {
    items.iter().map(|item| &item.draft).collect()
}

async fn write_alone(db: &Db, chain: &AuditChain, batch: Waiting, again: bool) -> Batch {
    let (tenant, items) = batch;
    let outcome = match write(db, chain, tenant, drafts(&items), again).await {
        Ok(()) => Outcome::Stored,
        Err(error) => Outcome::Failed(error),
    };
    Batch { tenant, items, outcome }
}

/// All in one transaction. When that fails, each is tried again on its own, which also finds what was stored after all.
async fn write_together(db: &Db, chain: &AuditChain, batches: Vec<Waiting>) -> Vec<Batch> {
    let written = async {
        let of_each: Vec<(Uuid, Vec<&Draft>)> =
            batches.iter().map(|(tenant, items)| (tenant.as_uuid(), drafts(items))).collect();
        let mut tx = db.system_tx().await?;
        let done = chain.append_to_many(&mut tx, &of_each).await?;
        tx.commit().await.map_err(store_error)?;
        Ok::<_, StoreError>(done)
    };
    match written.await {
        Ok(done) => batches
            .into_iter()
            .zip(done)
            .map(|((tenant, items), done)| {
                let outcome = if done { Outcome::Stored } else { Outcome::Left };
                Batch { tenant, items, outcome }
            })
            .collect(),
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(
                error = %error, source, tenants = batches.len(),
                "Audit records of several tenants cannot be stored together; trying each on its own"
            );
            batches
                .into_iter()
                .map(|(tenant, items)| Batch { tenant, items, outcome: Outcome::Unsure })
                .collect()
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
