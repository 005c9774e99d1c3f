//! Where reads and refusals wait for their batch: bounded by number and bytes, and written by one task, in batches of one
//! tenant each. Nothing is dropped silently: who finds the queue full waits, and is told when that does not help.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use application::Ctx;
use application::ports::StoreError;
use domain::{AuditEntry, TenantId};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::db::Db;
use super::chain::AuditChain;
use super::draft::Draft;
use super::writer;

pub(super) const DEPTH: &str = "audit_queue_records";
pub(super) const OLDEST: &str = "audit_queue_oldest_seconds";
pub(super) const STORED: &str = "audit_records_total";
pub(super) const BATCHES: &str = "audit_batches_total";
pub(super) const DELAY: &str = "audit_delay_seconds";
pub(super) const FAILURES: &str = "audit_write_failures_total";
const REFUSED: &str = "audit_refused_total";

/// Tells the metrics recorder what the names mean.
pub fn describe_metrics() {
    describe_gauge!(DEPTH, "Audit records that are not stored yet");
    describe_gauge!(OLDEST, Unit::Seconds, "Age of the oldest audit record that is not stored yet");
    describe_counter!(STORED, "Audit records of reads and refusals that were stored");
    describe_counter!(BATCHES, "Batches of audit records that were stored");
    describe_histogram!(DELAY, Unit::Seconds, "Time the oldest record of a batch waited until it was stored");
    describe_counter!(FAILURES, "Batches of audit records that could not be stored and are tried again");
    describe_counter!(REFUSED, "Requests refused because their audit record could not be kept");
}

/// How much waits, and how it is written.
#[derive(Debug, Clone, Copy)]
pub struct AuditQueueBounds {
    /// Most records that wait; half of them of one tenant at most, so that one that cannot be written stops no other.
    pub records: usize,
    /// Most bytes that wait, about.
    pub bytes: usize,
    /// Most records of a batch.
    pub batch: usize,
    /// Most batches written at once; no two hold records of one tenant.
    pub writers: usize,
    /// How long a record may wait for others to share its batch.
    pub linger: Duration,
    /// How long a request waits for a place in the queue.
    pub patience: Duration,
    /// How long a request of a strict tenant waits until its record is stored.
    pub strict_patience: Duration,
}

impl Default for AuditQueueBounds {
    fn default() -> Self {
        Self {
            records: 20_000,
            bytes: 16 * 1024 * 1024,
            batch: 500,
            writers: 4,
            linger: Duration::from_millis(150),
            patience: Duration::from_secs(2),
            strict_patience: Duration::from_secs(5),
        }
    }
}

/// One record that waits.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) tenant: TenantId,
    pub(super) draft: Draft,
    pub(super) queued: Instant,
    /// Told once the record is stored.
    pub(super) stored: Option<oneshot::Sender<()>>,
    bytes: usize,
}

/// The queue; shared by those who fill it and the task that empties it.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) bounds: AuditQueueBounds,
    state: Mutex<State>,
    /// Something waits where nothing did.
    pub(super) first: Notify,
    /// What waits should not wait longer.
    pub(super) urgent: Notify,
    /// Places are free again.
    freed: Notify,
    /// Nothing more comes.
    pub(super) closing: CancellationToken,
    /// Nobody waits for the rest any more.
    pub(super) abandoned: CancellationToken,
    /// The writer has ended.
    pub(super) ended: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    inbox: Vec<Item>,
    /// Everything not stored yet, whether in the inbox or with the writer.
    records: usize,
    bytes: usize,
    by_tenant: HashMap<TenantId, usize>,
    closed: bool,
}

impl Queue {
    /// Makes the queue and starts its writer.
    pub(super) fn start(db: Db, chain: AuditChain, bounds: AuditQueueBounds) -> Arc<Self> {
        let queue = Arc::new(Self {
            bounds,
            state: Mutex::default(),
            first: Notify::new(),
            urgent: Notify::new(),
            freed: Notify::new(),
            closing: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        tokio::spawn(writer::run(queue.clone(), db, chain));
        queue
    }

    pub(super) async fn note(&self, ctx: &Ctx, entry: &AuditEntry) -> Result<(), StoreError> {
        let (stored, told) = if ctx.strict_audit {
            let (stored, told) = oneshot::channel();
            (Some(stored), Some(told))
        } else {
            (None, None)
        };
        let draft = Draft::new(ctx, entry)?;
        let bytes = draft.bytes();
        let item = Item { tenant: ctx.tenant, draft, queued: Instant::now(), stored, bytes };
        if let Some(item) = self.admit(item)? {
            self.wait_for_a_place(item).await?;
        }
        let Some(told) = told else { return Ok(()) };
        match tokio::time::timeout(self.bounds.strict_patience, told).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(refused("the audit record could not be stored in time")),
        }
    }

    async fn wait_for_a_place(&self, mut item: Item) -> Result<(), StoreError> {
        let deadline = item.queued + self.bounds.patience;
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // From here on no notification is missed.
            freed.as_mut().enable();
            match self.admit(item)? {
                None => return Ok(()),
                Some(back) => item = back,
            }
            if tokio::time::timeout_at(deadline, freed).await.is_err() {
                return Err(refused("the audit queue is full"));
            }
        }
    }

    /// Gives the item back when there is no place for it.
    fn admit(&self, item: Item) -> Result<Option<Item>, StoreError> {
        let mut state = self.state();
        if state.closed {
            return Err(refused("the process is ending"));
        }
        let of_tenant = state.by_tenant.get(&item.tenant).copied().unwrap_or_default();
        let full = state.records >= self.bounds.records
            || of_tenant >= self.bounds.records.div_ceil(2)
            || (state.records > 0 && state.bytes + item.bytes > self.bounds.bytes);
        if full {
            return Ok(Some(item));
        }
        let strict = item.stored.is_some();
        state.records += 1;
        state.bytes += item.bytes;
        *state.by_tenant.entry(item.tenant).or_default() += 1;
        state.inbox.push(item);
        let waiting = state.inbox.len();
        drop(state);
        if strict || waiting == self.bounds.batch {
            self.urgent.notify_one();
        } else if waiting == 1 {
            self.first.notify_one();
        }
        Ok(None)
    }

    /// Everything that arrived since the last time.
    pub(super) fn take(&self) -> Vec<Item> {
        std::mem::take(&mut self.state().inbox)
    }

    /// Frees the places of items that are done with.
    pub(super) fn free(&self, items: &[Item]) {
        let mut state = self.state();
        for item in items {
            state.records -= 1;
            state.bytes -= item.bytes;
            if let Some(count) = state.by_tenant.get_mut(&item.tenant) {
                *count -= 1;
                if *count == 0 {
                    state.by_tenant.remove(&item.tenant);
                }
            }
        }
        drop(state);
        self.freed.notify_waiters();
    }

    /// Records that are not stored yet.
    pub(super) fn depth(&self) -> usize {
        self.state().records
    }

    /// Whether nothing waits in the inbox and nothing more will.
    pub(super) fn is_drained(&self) -> bool {
        let state = self.state();
        state.closed && state.inbox.is_empty()
    }

    /// Takes nothing more, and waits for what is there to be stored.
    pub(super) async fn close(&self, within: Duration) -> usize {
        self.state().closed = true;
        self.closing.cancel();
        // Those who wait for a place learn that there will be none.
        self.freed.notify_waiters();
        let _ = tokio::time::timeout(within, self.ended.cancelled()).await;
        self.abandoned.cancel();
        self.depth()
    }

    /// Takes nothing more and lets go of what is there.
    pub(super) fn stop(&self) {
        self.state().closed = true;
        self.abandoned.cancel();
        self.freed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can fail half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(why: &'static str) -> StoreError {
    counter!(REFUSED).increment(1);
    StoreError::Unavailable(why.into())
}
