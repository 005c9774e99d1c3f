//! One count of the algorithm, wherever it is kept.

use std::num::NonZeroU32;
use std::time::Duration;

use application::ports::{Decision, Limit, LimitKey, LimitState};
use domain::Quota;

/// How many bursts can be owed, at the most.
const MOST_OWED: u32 = 2;

/// What is counted, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    /// The limit's name.
    pub(super) name: &'static str,
    /// Its key. What stands in braces decides where a cluster keeps it: the same for all keys of one call.
    pub(super) key: String,
    /// How much is allowed.
    pub(super) quota: Quota,
    /// How much at once, of the quota's burst.
    pub(super) tolerated: NonZeroU32,
    /// How many are counted.
    pub(super) cost: u32,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was counted; how much time of each cell is used up now.
    Counted(Vec<Duration>),
    /// It was not counted.
    Refused {
        /// Which cell refused it.
        index: usize,
        /// How long until it would not.
        wait: Duration,
        /// How much time of it is used up.
        used: Duration,
    },
}

impl Cell {
    pub(super) fn of(prefix: &str, limit: &Limit) -> Self {
        let name = limit.key.name();
        let key = match &limit.key {
            LimitKey::Address(address) | LimitKey::SignIn(address) | LimitKey::Webhook(address) => {
                format!("{prefix}:{{a:{address}}}:{name}")
            }
            LimitKey::Tenant(tenant) => format!("{prefix}:{{t:{tenant}}}:{name}"),
            LimitKey::Principal(tenant, principal) | LimitKey::Tool(_, tenant, principal) => {
                format!("{prefix}:{{t:{tenant}}}:{name}:{principal}")
            }
        };
        Self { name, key, quota: limit.quota, tolerated: limit.quota.burst, cost: 1 }
    }

    /// The time one costs, in whole microseconds: rounded up, so that no more is let through than allowed.
    pub(super) fn interval(&self) -> Duration {
        let nanos = self.quota.interval().as_nanos();
        Duration::from_micros(u64::try_from(nanos.div_ceil(1_000)).unwrap_or(u64::MAX))
    }

    /// The most time that may be used up at once.
    pub(super) fn most(&self) -> Duration {
        self.interval().saturating_mul(self.tolerated.get())
    }

    /// The most time that can be owed.
    pub(super) fn ceiling(&self) -> Duration {
        self.interval().saturating_mul(self.quota.burst.get()).saturating_mul(MOST_OWED)
    }

    /// One replica's share.
    pub(super) fn share(&self, replicas: u32) -> Self {
        let one_of = |n: NonZeroU32| NonZeroU32::new(n.get() / replicas).unwrap_or(NonZeroU32::MIN);
        let Quota { count, window, burst } = self.quota;
        let quota = if count.get() >= replicas {
            Quota { count: one_of(count), window, burst: one_of(burst) }
        } else {
            Quota { count, window: window.saturating_mul(replicas), burst: one_of(burst) }
        };
        Self { quota, tolerated: one_of(self.tolerated), ..self.clone() }
    }

    fn state(&self, used: Duration) -> LimitState {
        let free = self.most().saturating_sub(used).as_nanos() / self.interval().as_nanos().max(1);
        LimitState {
            name: self.name,
            quota: self.quota,
            remaining: u32::try_from(free).unwrap_or(u32::MAX),
            reset: used,
        }
    }
}

/// In the port's words, the tightest limit first.
pub(super) fn decision(cells: &[Cell], outcome: Outcome) -> Decision {
    match outcome {
        Outcome::Counted(used) => {
            let mut states: Vec<LimitState> =
                cells.iter().zip(used).map(|(cell, used)| cell.state(used)).collect();
            // Compares the shares that are left: a/b < c/d as a*d < c*b.
            states.sort_by_key(|state| {
                u64::from(state.remaining) * 1_000_000 / u64::from(state.quota.burst.get())
            });
            Decision::Allowed(states)
        }
        Outcome::Refused { index, wait, used } => match cells.get(index) {
            Some(cell) => {
                Decision::Denied { state: LimitState { remaining: 0, ..cell.state(used) }, retry_after: wait }
            }
            // Not an answer of ours.
            None => Decision::Closed { retry_after: wait },
        },
    }
}
