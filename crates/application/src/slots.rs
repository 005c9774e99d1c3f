//! Room for others: a worker's slots, and when a slice of a run gives up its own.
//!
//! The queue hands out what is most urgent first: webhooks, then syncs of what changed, then everything that reads an
//! instance as a whole. That alone does not help while slices of huge backfills hold every slot. So a slice ends after
//! its current page as soon as no slot is free and something waits that is more urgent, or as urgent once the slice has
//! had its turn. Whether something waits is asked by one task for the whole process, and only while every slot is taken;
//! a slice looks at a number in memory.
//!
//! So that the least urgent is done too, however much of the rest there is: what has waited for long comes before
//! everything else, one job at a time, and of the slices that read an instance as a whole, one that is alone keeps its
//! slot for its turn. That costs the others one slot of several, never all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use domain::RunKind;
use tokio_util::sync::CancellationToken;

use crate::ports::JobQueue;

/// Applying what webhooks told: small, and somebody has just changed something.
pub const HINTS: i32 = -10;
/// Reading what changed.
pub const SYNC: i32 = 0;
/// Reading everything.
pub const WHOLE: i32 = 10;
/// Whatever has waited for long.
pub const OVERDUE: i32 = -20;

/// How urgent a run of this kind is; less is more urgent. The queue's own numbers.
pub const fn urgency(kind: RunKind) -> i32 {
    match kind {
        RunKind::Incremental => SYNC,
        RunKind::Backfill | RunKind::Reconcile | RunKind::Remap => WHOLE,
    }
}

/// How long a slice goes on while something as urgent waits: a page each in turn would mostly be taking turns.
const TURN: Duration = Duration::from_secs(5);
/// How often the queue is asked what waits, while every slot is taken.
const LOOK: Duration = Duration::from_millis(200);
/// After what wait for a slot a job comes before all others.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing waits, or a slot is free for it.
const NOTHING: i32 = i32::MAX;

/// The slots of this process's worker.
#[derive(Debug)]
pub struct Slots {
    size: usize,
    patience: Duration,
    taken: AtomicUsize,
    /// Slices under way that read an instance as a whole.
    whole: AtomicUsize,
    /// What the most urgent of those that wait is.
    waiting: AtomicI32,
}

/// A slot that is taken; it is free again when this is dropped.
#[derive(Debug)]
pub struct Slot<'a>(&'a Slots);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        // What waited gets this one.
        self.0.waiting.store(NOTHING, Ordering::Relaxed);
    }
}

/// A slice of a run under way.
#[derive(Debug)]
pub struct Reading<'a> {
    slots: &'a Slots,
    whole: bool,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if self.whole {
            self.slots.whole.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Slots {
    /// So many.
    pub fn new(size: usize) -> Self {
        Self {
            size: size.max(1),
            patience: PATIENCE,
            taken: AtomicUsize::new(0),
            whole: AtomicUsize::new(0),
            waiting: AtomicI32::new(NOTHING),
        }
    }

    /// Lets jobs wait for so long before they come first.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Takes one. The queue hands out no more jobs than there are slots.
    pub fn take(&self) -> Slot<'_> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Slot(self)
    }

    /// Counts a slice of such a run until what this returns is dropped.
    pub fn read(&self, kind: RunKind) -> Reading<'_> {
        let whole = urgency(kind) == WHOLE;
        if whole {
            self.whole.fetch_add(1, Ordering::Relaxed);
        }
        Reading { slots: self, whole }
    }

    /// Whether a slice of such a run, which has gone on for so long, is to end after its current page.
    pub fn wanted(&self, kind: RunKind, went_on: Duration) -> bool {
        let (waiting, own) = (self.waiting.load(Ordering::Relaxed), urgency(kind));
        let keeps_its_turn = own == WHOLE && self.size > 1 && self.whole.load(Ordering::Relaxed) <= 1;
        (waiting < own && !keeps_its_turn) || (waiting <= own && went_on >= TURN)
    }

    /// Looks what waits while every slot is taken, until `stop` fires.
    pub async fn watch(self: Arc<Self>, queue: Arc<dyn JobQueue>, stop: CancellationToken) {
        let mut raised = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let full = self.taken.load(Ordering::Relaxed) >= self.size;
            if !full {
                self.waiting.store(NOTHING, Ordering::Relaxed);
                continue;
            }
            if raised.elapsed() >= self.patience / 4 {
                raised = tokio::time::Instant::now();
                // What is not raised now is at the next look.
                if let Err(error) = queue.raise_overdue(self.patience).await {
                    tracing::debug!(%error, "Jobs that wait for long could not be looked for");
                }
            }
            // Without an answer nobody gives way: the slices end by themselves.
            let waiting = queue.most_urgent().await.ok().flatten().unwrap_or(NOTHING);
            self.waiting.store(waiting, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(waiting: i32) -> Slots {
        let slots = Slots::new(2);
        slots.waiting.store(waiting, Ordering::Relaxed);
        slots
    }

    #[test]
    fn a_slice_gives_way_to_what_is_more_urgent_at_once_and_to_its_equals_after_its_turn() {
        let moment = Duration::from_millis(1);
        let slots = with(SYNC);
        let _two = (slots.read(RunKind::Backfill), slots.read(RunKind::Reconcile));
        assert!(slots.wanted(RunKind::Backfill, moment));
        assert!(with(HINTS).wanted(RunKind::Incremental, moment));
        assert!(with(OVERDUE).wanted(RunKind::Incremental, moment));
        assert!(!with(WHOLE).wanted(RunKind::Backfill, moment));
        assert!(with(WHOLE).wanted(RunKind::Reconcile, TURN));
        assert!(!with(WHOLE).wanted(RunKind::Incremental, TURN * 100));
        assert!(!with(NOTHING).wanted(RunKind::Backfill, TURN * 100));
    }

    #[test]
    fn a_slice_that_alone_reads_everything_keeps_one_of_several_slots_for_its_turn() {
        let slots = with(SYNC);
        let other = slots.read(RunKind::Incremental);
        let own = slots.read(RunKind::Backfill);
        assert!(!slots.wanted(RunKind::Backfill, TURN / 2));
        assert!(slots.wanted(RunKind::Backfill, TURN));
        let second = slots.read(RunKind::Backfill);
        assert!(slots.wanted(RunKind::Backfill, Duration::ZERO));
        drop((other, own));
        assert!(!slots.wanted(RunKind::Backfill, Duration::ZERO));
        drop(second);
        let single = Slots::new(1);
        single.waiting.store(SYNC, Ordering::Relaxed);
        let _own = single.read(RunKind::Backfill);
        assert!(single.wanted(RunKind::Backfill, Duration::ZERO));
    }

    #[test]
    fn a_slot_that_becomes_free_is_for_the_one_that_waited() {
        let slots = with(HINTS);
        let slot = slots.take();
        assert!(slots.wanted(RunKind::Incremental, Duration::ZERO));
        drop(slot);
        assert!(!slots.wanted(RunKind::Incremental, Duration::ZERO));
        assert_eq!(slots.taken.load(Ordering::Relaxed), 0);
    }
}
