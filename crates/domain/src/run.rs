//! Runs: one backfill or sync of an instance, its state, progress and outcome.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{InstanceId, RunId};

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// Reads everything from the beginning.
    Backfill,
    /// Reads what changed since the last successful run.
    Incremental,
    /// Compares the ids of everything at the source with what is stored, reads what is missing, and marks what is
    /// proved to be gone.
    Reconcile,
    /// Maps what is stored anew, without asking the source.
    Remap,
}

impl RunKind {
    /// The stored and served name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backfill => "backfill",
            Self::Incremental => "incremental",
            Self::Reconcile => "reconcile",
            Self::Remap => "remap",
        }
    }

    /// Reads a stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Backfill, Self::Incremental, Self::Reconcile, Self::Remap]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for a worker.
    Queued,
    /// A worker is at it.
    Running,
    /// Waits for the tracker: a rate limit or an outage. It goes on by itself.
    Waiting,
    /// Ended, everything is there.
    Succeeded,
    /// Ended, but some items could not be mapped: see the dead letters.
    Partial,
    /// Ended early: see the error and its hint.
    Failed,
    /// Ended early, because someone asked for it.
    Cancelled,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Waiting,
        Self::Succeeded,
        Self::Partial,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The stored and served name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads a stored name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Partial | Self::Failed | Self::Cancelled)
    }
}

/// The name of one stream of a source, such as `issues` or `comments`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamName(String);

impl StreamName {
    /// Names a stream.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a stream goes on. Its content is the adapter's own; nobody else looks inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub serde_json::Value);

/// What a run has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// Work items written, new or changed.
    pub upserted: i64,
    /// Work items that were as stored already.
    pub unchanged: i64,
    /// Work items marked deleted, with proof.
    pub tombstoned: i64,
    /// Objects that could not be mapped; each is a dead letter.
    pub failed: i64,
    /// Comments written, new or changed.
    pub comments: i64,
    /// Status changes written.
    pub transitions: i64,
    /// Requests sent to the tracker.
    pub requests: i64,
}

impl RunCounts {
    /// Adds another count.
    pub fn add(&mut self, other: &Self) {
        self.upserted += other.upserted;
        self.unchanged += other.unchanged;
        self.tombstoned += other.tombstoned;
        self.failed += other.failed;
        self.comments += other.comments;
        self.transitions += other.transitions;
        self.requests += other.requests;
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Objects handled so far.
    pub done: i64,
    /// Objects in all, as far as the tracker told.
    pub estimate: Option<i64>,
    /// Objects per second since the run began, waiting included.
    pub rate: Option<f64>,
    /// Seconds left at that rate.
    pub eta_s: Option<i64>,
}

impl Progress {
    /// Works out rate and time left. `elapsed_s` is the time since the run began.
    pub fn of(done: i64, estimate: Option<i64>, elapsed_s: f64, state: RunState) -> Self {
        let estimate = estimate.map(|estimate| estimate.max(done));
        let rate = (elapsed_s > 0.0 && done > 0).then(|| done as f64 / elapsed_s);
        let eta_s = match (estimate, rate) {
            (Some(estimate), Some(rate)) if !state.is_final() => {
                Some(((estimate - done) as f64 / rate).ceil() as i64)
            }
            _ => None,
        };
        Self { done, estimate, rate: rate.map(|rate| (rate * 10.0).round() / 10.0), eta_s }
    }
}

/// Why a run failed or waits, for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// A stable word, such as `source_unauthorized`.
    pub code: String,
    /// What to do.
    pub hint: String,
}

/// One backfill or sync.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The instance it reads.
    pub instance_id: InstanceId,
    /// What it does.
    pub kind: RunKind,
    /// Where it stands.
    pub state: RunState,
    /// Objects handled so far.
    pub done: i64,
    /// Objects in all, as far as is known.
    pub estimate: Option<i64>,
    /// What it counted.
    pub counts: RunCounts,
    /// The stream being read.
    pub stream: Option<StreamName>,
    /// Why it failed, or what it waits for.
    pub error: Option<RunError>,
    /// When it goes on, while it waits.
    pub resume_at: Option<DateTime<Utc>>,
    /// Whether someone asked to cancel it.
    pub cancel_requested: bool,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When a worker first took it.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

impl Run {
    /// How far it is at `now`.
    pub fn progress(&self, now: DateTime<Utc>) -> Progress {
        let elapsed_s = self.started_at.map_or(0.0, |started| {
            (self.finished_at.unwrap_or(now) - started).num_milliseconds().max(1) as f64 / 1000.0
        });
        Progress::of(self.done, self.estimate, elapsed_s, self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_rate() {
        let progress = Progress::of(250, Some(1000), 10.0, RunState::Running);
        assert_eq!(progress.rate, Some(25.0));
        assert_eq!(progress.eta_s, Some(30));
    }

    #[test]
    fn an_estimate_is_never_below_what_is_done_and_a_finished_run_has_no_time_left() {
        assert_eq!(Progress::of(12, Some(10), 1.0, RunState::Running).estimate, Some(12));
        assert_eq!(Progress::of(12, Some(20), 1.0, RunState::Cancelled).eta_s, None);
        assert_eq!(Progress::of(0, None, 0.0, RunState::Queued), Progress::default());
    }
}
