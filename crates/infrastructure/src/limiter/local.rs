//! Counts in this process, by `governor`.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use super::cell::{Cell, Outcome};

/// The most keys that are kept; when more are in use at once, the others are counted as one.
const MOST_KEYS: usize = 100_000;
/// How often keys that nothing is used of are let go of.
const TIDY_EVERY: Duration = Duration::from_secs(10);
/// The most different quotas; there are few, but for changing numbers of replicas.
const MOST_QUOTAS: usize = 256;

/// The time of the call being served, in nanoseconds since the limiter was made.
#[derive(Debug, Clone, Default)]
struct Time(Arc<AtomicU64>);

impl Clock for Time {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Ordering::Relaxed))
    }
}

/// For each key the moment at which nothing of it will be used any more.
#[derive(Clone, Default)]
struct States(Arc<Mutex<HashMap<String, Nanos>>>);

impl States {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Nanos>> {
        // Single numbers are written: a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for States {
    type Key = String;

    fn measure_and_replace<T, F, E>(&self, key: &String, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut states = self.lock();
        let known = states.get(key).copied();
        let (answer, after) = decide(known)?;
        match states.get_mut(key) {
            Some(state) => *state = after,
            None => drop(states.insert(key.clone(), after)),
        }
        Ok(answer)
    }
}

type Governor = RateLimiter<String, States, Time, NoOpMiddleware<Nanos>>;

/// The counts of this process.
pub(super) struct Local {
    made: Instant,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    time: Time,
    states: States,
    /// By the time one costs and the burst.
    governors: HashMap<(Duration, u32), Governor>,
    tidied: Duration,
}

impl Default for Local {
    fn default() -> Self {
        Self { made: Instant::now(), counts: Mutex::default() }
    }
}

impl Local {
    /// Counts in every cell or in none.
    pub(super) fn take(&self, cells: &[Cell], past_the_limit: bool) -> Outcome {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.take(self.made.elapsed(), cells, past_the_limit)
    }
}

impl Counts {
    fn take(&mut self, now: Duration, cells: &[Cell], past_the_limit: bool) -> Outcome {
        self.time.0.store(nanos(now), Ordering::Relaxed);
        if now.saturating_sub(self.tidied) >= TIDY_EVERY {
            self.tidy(now);
        }
        let mut before: Vec<(String, Option<Nanos>)> = Vec::with_capacity(cells.len());
        for (index, cell) in cells.iter().enumerate() {
            let key = self.place(cell);
            let state = self.states.lock().get(&key).copied();
            let wait = if past_the_limit {
                self.owe(now, key.clone(), state, cell);
                None
            } else {
                self.refused(now, &key, cell)
            };
            if let Some(wait) = wait {
                self.take_back(before);
                let used = state.map_or(Duration::ZERO, |state| since(state, now));
                return Outcome::Refused { index, wait, used };
            }
            before.push((key, state));
        }
        let states = self.states.lock();
        let used = |key: &String| states.get(key).map_or(Duration::ZERO, |&state| since(state, now));
        Outcome::Counted(before.iter().map(|(key, _)| used(key)).collect())
    }

    /// What the cells before the one that refuses have counted.
    fn take_back(&self, before: Vec<(String, Option<Nanos>)>) {
        let mut states = self.states.lock();
        for (key, state) in before {
            match state {
                Some(state) => drop(states.insert(key, state)),
                None => drop(states.remove(&key)),
            }
        }
    }

    /// How long to wait, when the cell does not take it.
    fn refused(&mut self, now: Duration, key: &String, cell: &Cell) -> Option<Duration> {
        let (interval, burst) = (cell.interval(), cell.tolerated);
        let cost = NonZeroU32::new(cell.cost)?;
        if !self.governors.contains_key(&(interval, burst.get())) {
            if self.governors.len() >= MOST_QUOTAS {
                self.governors.clear();
            }
            // Cannot be `None`: a quota's interval is never zero.
            let quota = Quota::with_period(interval)?.allow_burst(burst);
            // All count from the same beginning, as they share their states.
            self.time.0.store(0, Ordering::Relaxed);
            let governor = Governor::new(quota, self.states.clone(), self.time.clone());
            self.time.0.store(nanos(now), Ordering::Relaxed);
            self.governors.insert((interval, burst.get()), governor);
        }
        let governor = self.governors.get(&(interval, burst.get()))?;
        match governor.check_key_n(key, cost) {
            Ok(Ok(())) => None,
            Ok(Err(until)) => Some(until.wait_time_from(self.time.now())),
            // More than fits at once: never, so as long as the whole burst takes.
            Err(_) => Some(cell.most()),
        }
    }

    fn owe(&self, now: Duration, key: String, state: Option<Nanos>, cell: &Cell) {
        let used = state.map_or(Duration::ZERO, |state| since(state, now));
        let after = used.saturating_add(cell.interval().saturating_mul(cell.cost)).min(cell.ceiling());
        self.states.lock().insert(key, Nanos::new(nanos(now.saturating_add(after))));
    }

    /// Where a cell is counted: by itself, or with all others of its limit when there are too many.
    fn place(&self, cell: &Cell) -> String {
        let states = self.states.lock();
        if states.len() < MOST_KEYS || states.contains_key(&cell.key) {
            cell.key.clone()
        } else {
            cell.name.to_owned()
        }
    }

    fn tidy(&mut self, now: Duration) {
        self.tidied = now;
        let mut states = self.states.lock();
        let now = Nanos::new(nanos(now));
        states.retain(|_, until| *until > now);
        if states.capacity() / 4 > states.len() {
            states.shrink_to_fit();
        }
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Local")
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn since(until: Nanos, now: Duration) -> Duration {
    Duration::from_nanos(until.as_u64().saturating_sub(nanos(now)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cell(key: &str, interval_us: u64, burst: u32, cost: u32) -> Cell {
        let burst = NonZeroU32::new(burst).unwrap();
        let window = Duration::from_micros(interval_us);
        let quota = domain::Quota { count: NonZeroU32::MIN, window, burst };
        Cell { name: "key", key: key.to_owned(), quota, tolerated: burst, cost }
    }

    /// The same algorithm in plain numbers: microseconds until nothing is used any more.
    fn model(until: &mut u64, now: u64, interval: u64, burst: u32, cost: u32) -> bool {
        let after = now.max(*until) + interval * u64::from(cost);
        let fits = after <= now + interval * u64::from(burst);
        if fits {
            *until = after;
        }
        fits
    }

    proptest! {
        #[test]
        fn the_governor_decides_as_the_model_does(
            interval in 1u64..5_000_000,
            burst in 1u32..50,
            steps in prop::collection::vec((0u64..20_000_000, 1u32..4), 1..200),
        ) {
            let (mut counts, mut until, mut now) = (Counts::default(), 0, 0);
            for (pause, cost) in steps {
                now += pause;
                let cell = cell("one", interval, burst, cost);
                let outcome = counts.take(Duration::from_micros(now), std::slice::from_ref(&cell), false);
                let expected = model(&mut until, now, interval, burst, cost);
                prop_assert_eq!(matches!(outcome, Outcome::Counted(_)), expected, "{:?}", outcome);
                let used = match outcome {
                    Outcome::Counted(used) => used[0],
                    Outcome::Refused { used, wait, .. } => {
                        // After the wait, and not before, it is taken.
                        let free = until.max(now) + interval * u64::from(cost.min(burst)) - interval * u64::from(burst);
                        if cost <= burst {
                            prop_assert_eq!(wait, Duration::from_micros(free.saturating_sub(now)));
                        }
                        used
                    }
                };
                prop_assert_eq!(used, Duration::from_micros(until.saturating_sub(now)));
            }
        }
    }

    #[test]
    fn a_request_that_one_limit_refuses_is_counted_by_none() {
        let mut counts = Counts::default();
        let now = Duration::from_secs(1);
        let cells = [cell("wide", 1_000_000, 10, 1), cell("narrow", 1_000_000, 1, 1)];
        assert!(matches!(counts.take(now, &cells, false), Outcome::Counted(_)));
        for _ in 0..20 {
            let refused = counts.take(now, &cells, false);
            assert!(matches!(refused, Outcome::Refused { index: 1, .. }), "{refused:?}");
        }
        let Outcome::Counted(used) = counts.take(now, &cells[..1], false) else { panic!("refused") };
        assert_eq!(used, [Duration::from_secs(2)], "refused requests were counted");
    }

    #[test]
    fn what_is_owed_is_waited_for_and_has_an_end() {
        let mut counts = Counts::default();
        let now = Duration::from_secs(1);
        let debt = cell("budget", 1_000_000, 10, 1_000);
        counts.take(now, std::slice::from_ref(&debt), true);
        let one = cell("budget", 1_000_000, 10, 1);
        let Outcome::Refused { wait, used, .. } = counts.take(now, &[one], false) else { panic!("taken") };
        assert_eq!(used, Duration::from_secs(20), "two bursts are owed at the most");
        assert_eq!(wait, Duration::from_secs(11));
    }

    #[test]
    fn memory_is_bounded_and_nobody_is_let_through_uncounted() {
        let mut counts = Counts::default();
        let now = Duration::from_secs(1);
        for n in 0..MOST_KEYS + 1_000 {
            counts.take(now, &[cell(&n.to_string(), 60_000_000, 5, 1)], false);
        }
        assert!(counts.states.lock().len() <= MOST_KEYS + 1, "{} keys", counts.states.lock().len());
        // All who found no room are one.
        let newcomer = counts.take(now, &[cell("newcomer", 60_000_000, 5, 1)], false);
        assert!(matches!(newcomer, Outcome::Refused { .. }), "{newcomer:?}");
        // Once nothing of them is used any more they are forgotten.
        let later = now + Duration::from_secs(3_600);
        let newcomer = counts.take(later, &[cell("newcomer", 60_000_000, 5, 1)], false);
        assert!(matches!(newcomer, Outcome::Counted(_)), "{newcomer:?}");
        assert_eq!(counts.states.lock().len(), 1);
    }
}
