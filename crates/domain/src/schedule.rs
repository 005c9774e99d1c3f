//! When an instance is synced by itself.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, Utc};

/// When an instance is synced by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Nothing is started by itself.
    pub paused: bool,
    /// From one sync's start to the next one's.
    pub interval: Duration,
    /// The time of day, UTC, at which everything is compared with the source; `None` for never.
    pub reconcile_at: Option<NaiveTime>,
    /// Each start is put off by a random time of up to this part of the interval, in percent, so that instances do not
    /// all start at once.
    pub jitter_percent: u8,
    /// When the next sync starts.
    pub next_sync_at: Option<DateTime<Utc>>,
    /// When the next comparison starts.
    pub next_reconcile_at: Option<DateTime<Utc>>,
}
