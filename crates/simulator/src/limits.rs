//! Rate limits per token: the hourly budget, and refusals that hold until the announced
//! time. <https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api>

use std::collections::HashMap;
use std::time::Duration;

use crate::faults::FaultKind;

/// High enough that nobody meets it, so that by default only faults refuse requests.
const UNLIMITED: u64 = 1_000_000;

/// How a refusal tells when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    RetryAfterSeconds,
    RetryAfterDate,
    ResetHeader,
    Nothing,
}

/// A token is refused until a time.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: &'static str,
    pub(crate) announced: Announced,
    pub(crate) until_ms: i64,
    sent_ms: i64,
}

/// The numbers of the `x-ratelimit-*` headers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) limit: u64,
    pub(crate) used: u64,
    pub(crate) reset: i64,
}

#[derive(Debug)]
pub(crate) struct Limits {
    limit: u64,
    window_s: i64,
    used: HashMap<String, (u64, i64)>,
    refusals: HashMap<String, Refusal>,
    pub(crate) violations: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            limit: UNLIMITED,
            window_s: 3600,
            used: HashMap::new(),
            refusals: HashMap::new(),
            violations: 0,
        }
    }
}

impl Limits {
    pub(crate) fn set(&mut self, limit: Option<u64>, window: Duration) {
        self.limit = limit.unwrap_or(UNLIMITED);
        self.window_s = i64::try_from(window.as_secs()).unwrap_or(3600).max(1);
        self.used.clear();
    }

    /// The refusal that holds for the token, if any. Counts a violation when the request
    /// arrived after the refusal was sent and before the announced time.
    pub(crate) fn refused(&mut self, token: &str, arrived_ms: i64, now_ms: i64) -> Option<Refusal> {
        let refusal = self.refusals.get(token)?;
        let early = arrived_ms > refusal.sent_ms && arrived_ms < refusal.until_ms;
        if early && refusal.announced != Announced::Nothing {
            self.violations += 1;
        }
        if now_ms >= refusal.until_ms {
            return self.refusals.remove(token).filter(|_| early);
        }
        Some(refusal.clone())
    }

    /// Starts refusing the token as the fault says; `None` when it is no rate-limit fault.
    pub(crate) fn refuse(&mut self, token: &str, fault: &FaultKind, now_ms: i64) -> Option<Refusal> {
        let whole_second = (now_ms + 999) / 1000 * 1000;
        let ms = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX / 2000) * 1000;
        let (status, message, announced, until_ms) = match *fault {
            FaultKind::RateLimited { retry_after_s, omit_header: true, .. } => {
                (429, PRIMARY, Announced::Nothing, now_ms + ms(retry_after_s))
            }
            FaultKind::RateLimited { retry_after_s, as_http_date: true, .. } => {
                (429, PRIMARY, Announced::RetryAfterDate, whole_second + ms(retry_after_s))
            }
            FaultKind::RateLimited { retry_after_s, .. } => {
                (429, PRIMARY, Announced::RetryAfterSeconds, now_ms + ms(retry_after_s))
            }
            FaultKind::PrimaryExhausted { reset_in_s } => {
                (403, PRIMARY, Announced::ResetHeader, whole_second + ms(reset_in_s))
            }
            FaultKind::SecondaryLimit { retry_after_s: Some(seconds) } => {
                (403, SECONDARY, Announced::RetryAfterSeconds, now_ms + ms(seconds))
            }
            FaultKind::SecondaryLimit { retry_after_s: None } => (403, SECONDARY, Announced::Nothing, now_ms),
            _ => return None,
        };
        let refusal = Refusal { status, message, announced, until_ms, sent_ms: now_ms };
        self.refusals.insert(token.to_owned(), refusal.clone());
        Some(refusal)
    }

    /// Takes one request from the token's budget, or refuses it when nothing is left.
    pub(crate) fn take(&mut self, token: &str, now_ms: i64) -> Result<(), Refusal> {
        let budget = self.budget(token, now_ms);
        if budget.used < budget.limit {
            self.used.insert(token.to_owned(), (budget.used + 1, budget.reset));
            return Ok(());
        }
        let refusal = Refusal {
            status: 403,
            message: PRIMARY,
            announced: Announced::ResetHeader,
            until_ms: budget.reset * 1000,
            sent_ms: now_ms,
        };
        self.refusals.insert(token.to_owned(), refusal.clone());
        Err(refusal)
    }

    /// Gives one request back: a 304 costs nothing.
    pub(crate) fn give_back(&mut self, token: &str) {
        if let Some((used, _)) = self.used.get_mut(token) {
            *used = used.saturating_sub(1);
        }
    }

    pub(crate) fn budget(&self, token: &str, now_ms: i64) -> Budget {
        let now = now_ms / 1000;
        let fresh = (0, now + self.window_s);
        let (used, reset) = self.used.get(token).copied().filter(|(_, reset)| *reset > now).unwrap_or(fresh);
        Budget { limit: self.limit, used, reset }
    }
}

const PRIMARY: &str = "API rate limit exceeded for user ID 583231. If you reach out to GitHub Support for help, \
                       please include the request ID and timestamp.";
const SECONDARY: &str = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. \
                         If you reach out to GitHub Support for help, please include the request ID and timestamp.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_before_the_announced_time_is_refused_and_counted() {
        let mut limits = Limits::default();
        let fault = FaultKind::RateLimited { retry_after_s: 2, as_http_date: false, omit_header: false };
        limits.refuse("t", &fault, 10_000);
        assert!(limits.refused("t", 10_000, 10_001).is_some(), "was under way: refused, not counted");
        assert_eq!(limits.violations, 0);
        assert!(limits.refused("other", 10_500, 10_500).is_none());
        assert!(limits.refused("t", 11_999, 11_999).is_some());
        assert_eq!(limits.violations, 1);
        assert!(limits.refused("t", 12_000, 12_000).is_none());
        assert_eq!(limits.violations, 1);
    }

    #[test]
    fn a_time_that_was_not_announced_cannot_be_violated() {
        let mut limits = Limits::default();
        let fault = FaultKind::RateLimited { retry_after_s: 2, as_http_date: false, omit_header: true };
        limits.refuse("t", &fault, 10_000);
        assert!(limits.refused("t", 10_500, 10_500).is_some());
        assert_eq!(limits.violations, 0);
    }

    #[test]
    fn an_empty_budget_refuses_until_its_reset() {
        let mut limits = Limits::default();
        limits.set(Some(2), Duration::from_secs(10));
        assert!(limits.take("t", 1_000).is_ok());
        assert!(limits.take("t", 1_000).is_ok());
        assert_eq!(limits.take("t", 1_000).unwrap_err().until_ms, 11_000);
        limits.refused("t", 5_000, 5_000);
        assert_eq!(limits.violations, 1);
        assert!(limits.refused("t", 11_000, 11_000).is_none());
        assert!(limits.take("t", 11_000).is_ok());
    }
}
