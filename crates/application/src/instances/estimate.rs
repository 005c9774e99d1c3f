//! How long a backfill would take.

use std::time::Duration;

use domain::Quota;

use crate::ports::ConnectionReport;

/// How long reading everything would take, as far as can be told before.
#[derive(Debug, Clone, PartialEq)]
pub struct BackfillEstimate {
    /// Items to read.
    pub items: Option<i64>,
    /// Requests that takes.
    pub requests: Option<i64>,
    /// How long it takes at this rate.
    pub seconds: Option<i64>,
    /// The rate it is worked out with.
    pub requests_per_second: f64,
    /// Whether the tracker's limits decide the rate, rather than how fast it answers.
    pub limited_by_budget: bool,
}

impl BackfillEstimate {
    /// Works it out from what a test found: `took` is the time its requests took one after the other, as those of a
    /// backfill are sent. A budget's burst is not counted in: people may use it up.
    pub(super) fn of(report: &ConnectionReport, budget: Quota, requests: i64, took: Duration) -> Self {
        let allowed = 1.0 / budget.interval().as_secs_f64().max(1e-6);
        let answered = requests.max(1) as f64 / took.as_secs_f64().max(1e-3);
        let rate = allowed.min(answered);
        let seconds = report.estimated_requests.map(|requests| (requests as f64 / rate).ceil() as i64);
        Self {
            items: report.estimated_items,
            requests: report.estimated_requests,
            seconds,
            requests_per_second: (rate * 100.0).round() / 100.0,
            limited_by_budget: allowed <= answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(requests: Option<i64>) -> ConnectionReport {
        ConnectionReport { estimated_items: Some(10_000), estimated_requests: requests, ..Default::default() }
    }

    #[test]
    fn the_slower_of_budget_and_tracker_decides() {
        let hourly = Quota::per(3_600, 3_600, 100);
        let estimate = BackfillEstimate::of(&report(Some(500)), hourly, 4, Duration::from_millis(400));
        assert_eq!((estimate.seconds, estimate.limited_by_budget), (Some(500), true));
        let generous = Quota::per(100_000, 60, 100);
        let estimate = BackfillEstimate::of(&report(Some(500)), generous, 4, Duration::from_millis(400));
        assert_eq!((estimate.seconds, estimate.limited_by_budget), (Some(50), false));
        assert_eq!(estimate.requests_per_second, 10.0);
    }

    #[test]
    fn without_a_number_of_requests_there_is_no_time() {
        let estimate =
            BackfillEstimate::of(&report(None), Quota::per(60, 60, 1), 0, Duration::from_millis(1));
        assert_eq!((estimate.items, estimate.seconds), (Some(10_000), None));
    }
}
