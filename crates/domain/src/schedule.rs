//! When an instance is synced by itself.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};

use crate::{FieldError, InstanceId, Invalid};

/// The shortest interval between two syncs.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(60);
/// The longest interval between two syncs.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// The most jitter, in percent of the interval.
pub const MOST_JITTER: u8 = 50;

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

impl Schedule {
    /// What an instance has unless somebody says otherwise: the source's usual interval, and a comparison each night, at
    /// a time that differs from instance to instance.
    pub fn usual(instance: InstanceId, interval: Duration) -> Self {
        /// From midnight to six o'clock, UTC.
        const NIGHT_MINUTES: u128 = 6 * 60;
        // The last bits of the id are random; a minute of at most 359 fits.
        let minute = u32::try_from(instance.as_uuid().as_u128() % NIGHT_MINUTES).unwrap_or_default();
        Self {
            paused: false,
            interval: interval.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL),
            reconcile_at: NaiveTime::from_hms_opt(minute / 60, minute % 60, 0),
            jitter_percent: 10,
            next_sync_at: None,
            next_reconcile_at: None,
        }
    }

    /// Refuses what would ask a tracker too often, or hardly ever.
    pub fn check(&self) -> Result<(), Invalid> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: &str, message: String| {
            errors.push(FieldError { pointer: pointer.to_owned(), message, allowed: Vec::new() });
        };
        if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&self.interval) {
            let (least, most) = (SHORTEST_INTERVAL.as_secs(), LONGEST_INTERVAL.as_secs());
            wrong("/interval_s", format!("must be between {least} and {most} seconds"));
        }
        if self.jitter_percent > MOST_JITTER {
            wrong("/jitter_percent", format!("must be at most {MOST_JITTER}"));
        }
        if errors.is_empty() { Ok(()) } else { Err(Invalid { errors }) }
    }

    /// When the sync after one that started at `start` begins. `chance`, from 0 to 1, is the part of the jitter to take.
    pub fn sync_after(&self, start: DateTime<Utc>, chance: f64) -> DateTime<Utc> {
        start + delta(self.interval) + self.jitter(chance)
    }

    /// When the first comparison after `start` begins; `None` when there is to be none.
    pub fn reconcile_after(&self, start: DateTime<Utc>, chance: f64) -> Option<DateTime<Utc>> {
        let at = self.reconcile_at?;
        let today = start.date_naive();
        let next = match today.and_time(at).and_utc() {
            at if at > start => at,
            _ => today.checked_add_days(Days::new(1))?.and_time(at).and_utc(),
        };
        Some(next + self.jitter(chance))
    }

    fn jitter(&self, chance: f64) -> TimeDelta {
        let part = f64::from(self.jitter_percent.min(MOST_JITTER)) / 100.0 * chance.clamp(0.0, 1.0);
        delta(self.interval.mul_f64(part))
    }
}

/// How old data may become while all is well: a sync starts after an interval and its jitter, and reads what is newer than
/// its start; it is given another interval to end.
pub fn freshness_target(interval: Duration, jitter_percent: u8) -> Duration {
    let jitter = f64::from(jitter_percent.min(MOST_JITTER)) / 100.0;
    interval.mul_f64(2.0 + jitter)
}

/// Of at most a day and a half.
fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn usual() -> Schedule {
        Schedule::usual(InstanceId::new(Uuid::from_u128(90)), Duration::from_secs(300))
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn data_may_be_as_old_as_two_syncs_with_their_jitter() {
        assert_eq!(freshness_target(Duration::from_secs(300), 10), Duration::from_secs(630));
        assert_eq!(freshness_target(Duration::from_secs(60), 0), Duration::from_secs(120));
    }

    #[test]
    fn a_comparison_is_due_at_the_next_time_of_its_hour() {
        let schedule = usual();
        assert_eq!(schedule.reconcile_at, NaiveTime::from_hms_opt(1, 30, 0));
        let next = |from| schedule.reconcile_after(at(from), 0.0);
        assert_eq!(next("2026-11-21T01:29:59Z"), Some(at("2026-11-21T01:30:00Z")));
        assert_eq!(next("2026-11-21T01:30:00Z"), Some(at("2026-11-22T01:30:00Z")));
        assert_eq!(next("2026-12-31T23:00:00Z"), Some(at("2027-01-01T01:30:00Z")));
        assert_eq!(
            Schedule { reconcile_at: None, ..usual() }.reconcile_after(at("2026-11-21T01:00:00Z"), 0.5),
            None
        );
    }

    #[test]
    fn what_would_ask_too_often_is_refused_with_its_field() {
        let wrong = Schedule { interval: Duration::from_secs(59), jitter_percent: 51, ..usual() };
        let pointers: Vec<_> =
            wrong.check().unwrap_err().errors.into_iter().map(|error| error.pointer).collect();
        assert_eq!(pointers, ["/interval_s", "/jitter_percent"]);
        assert!(usual().check().is_ok());
    }

    proptest! {
        #[test]
        fn the_next_sync_is_at_least_an_interval_away_and_at_most_the_jitter_later(
            interval in 60u64..=86_400, jitter in 0u8..=50, chance in 0.0f64..=1.0,
        ) {
            let schedule = Schedule { interval: Duration::from_secs(interval), jitter_percent: jitter, ..usual() };
            let start = at("2026-11-21T01:30:00Z");
            let wait = (schedule.sync_after(start, chance) - start).num_milliseconds();
            let interval = i64::try_from(interval).unwrap() * 1000;
            prop_assert!(wait >= interval && wait <= interval + interval * i64::from(jitter) / 100 + 1);
        }

        #[test]
        fn usual_comparisons_are_at_night(id in any::<u128>()) {
            let schedule = Schedule::usual(InstanceId::new(Uuid::from_u128(id)), Duration::from_secs(1));
            prop_assert!(schedule.check().is_ok());
            prop_assert!(schedule.reconcile_at < NaiveTime::from_hms_opt(6, 0, 0));
        }
    }
}
