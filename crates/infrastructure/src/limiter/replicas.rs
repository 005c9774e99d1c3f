//! How many processes share the limits.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// After so many silent heartbeats a replica counts no more.
const SILENT_BEATS: u32 = 5;

/// What is known of the replicas.
#[derive(Debug)]
pub(super) struct Replicas {
    me: Uuid,
    fixed: Option<NonZeroU32>,
    counted: AtomicU32,
    ttl: Duration,
    met: Mutex<Option<Instant>>,
}

impl Replicas {
    pub(super) fn new(fixed: Option<NonZeroU32>, heartbeat: Duration) -> Self {
        Self {
            me: Uuid::new_v4(),
            fixed,
            counted: AtomicU32::new(1),
            ttl: heartbeat * SILENT_BEATS,
            met: Mutex::new(None),
        }
    }

    /// The name of this process among them.
    pub(super) fn me(&self) -> Uuid {
        self.me
    }

    /// How long a heartbeat counts.
    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// What the operator says, or else what was counted last.
    pub(super) fn count(&self) -> u32 {
        self.fixed.map_or_else(|| self.counted.load(Ordering::Relaxed), NonZeroU32::get).max(1)
    }

    /// Redis was found, and may have forgotten everybody.
    pub(super) fn met(&self) {
        *self.met.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Takes over a count; a lower one not before everybody had the time to say that they are there.
    pub(super) fn heard_of(&self, counted: u32) {
        let met = *self.met.lock().unwrap_or_else(PoisonError::into_inner);
        if met.is_some_and(|met| met.elapsed() < self.ttl) {
            self.counted.fetch_max(counted, Ordering::Relaxed);
        } else {
            self.counted.store(counted, Ordering::Relaxed);
        }
    }
}
