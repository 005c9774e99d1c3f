//! Trackers that asked to wait: nothing is sent to them before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::InstanceId;

/// Instances that are remembered at once; beyond, those whose time is over are forgotten first.
const MOST: usize = 10_000;
/// Longer waits are remembered for so long.
const LONGEST: Duration = Duration::from_secs(3_600);

#[derive(Debug, Default)]
pub(super) struct Waits(Mutex<HashMap<InstanceId, Instant>>);

impl Waits {
    /// How long nothing may be sent to the instance yet.
    pub(super) fn left(&self, instance: InstanceId) -> Option<Duration> {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = waits.get(&instance)?.checked_duration_since(Instant::now());
        if left.is_none_or(|left| left.is_zero()) {
            waits.remove(&instance);
            return None;
        }
        left
    }

    /// The instance's tracker asks to wait.
    pub(super) fn begin(&self, instance: InstanceId, wait: Duration) {
        let now = Instant::now();
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waits.len() >= MOST {
            waits.retain(|_, until| *until > now);
        }
        if waits.len() < MOST {
            waits.insert(instance, now + wait.min(LONGEST));
        }
    }
}
