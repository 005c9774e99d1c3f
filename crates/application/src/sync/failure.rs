//! What to do when a source fails: wait, or give up with a hint.

use std::time::Duration;

use domain::RunError;

use super::SliceLimits;
use crate::ports::{SourceError, SourceErrorKind};

/// Waits between tries within a slice, for failures that pass in a moment.
pub(super) const SHORT_WAITS: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];

/// The wait when a source limits requests and does not say for how long (GitHub's advice for secondary limits).
const UNTOLD_LIMIT_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// What to do about a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on later.
    Wait {
        /// How long.
        wait: Duration,
        /// What to show meanwhile.
        why: RunError,
    },
    /// End the run as failed.
    GiveUp {
        /// What to show.
        why: RunError,
        /// The credential was refused: ask for a new one.
        reconnect: bool,
    },
}

/// Whether to try again at once: never after a limit, whose waiting time belongs to the tracker.
pub(super) fn worth_a_short_wait(error: &SourceError) -> bool {
    matches!(error.kind, SourceErrorKind::Unavailable | SourceErrorKind::Malformed)
        && error.retry_after.is_none()
}

/// Decides. `failures` is how often in a row the source has failed before this.
pub(super) fn judge(error: &SourceError, failures: i32, limits: &SliceLimits) -> Verdict {
    let why = |code: &str, hint: String| RunError { code: code.into(), hint };
    let give_up = |code: &str, hint: String| Verdict::GiveUp { why: why(code, hint), reconnect: false };
    match error.kind {
        SourceErrorKind::RateLimited => Verdict::Wait {
            wait: error.retry_after.unwrap_or(UNTOLD_LIMIT_WAIT),
            why: why("source_rate_limited", "the tracker limits requests; the run goes on by itself".into()),
        },
        SourceErrorKind::Unavailable | SourceErrorKind::Malformed if failures + 1 >= limits.max_failures => {
            give_up(
                "source_unavailable",
                format!(
                    "{error}; it failed {} times in a row. Check the tracker's status, then start a sync: it goes on where this run stopped",
                    failures + 1
                ),
            )
        }
        SourceErrorKind::Unavailable | SourceErrorKind::Malformed => {
            let doubled = limits.first_wait.saturating_mul(1 << failures.clamp(0, 16));
            Verdict::Wait {
                wait: error.retry_after.unwrap_or(doubled.min(LONGEST_WAIT)),
                why: why("source_unavailable", format!("{error}; the run goes on by itself")),
            }
        }
        SourceErrorKind::Unauthorized => Verdict::GiveUp {
            why: why(
                "source_unauthorized",
                format!(
                    "{error}. Give the instance new credentials (PATCH /api/v1/instances/{{id}}), then start the run again"
                ),
            ),
            reconnect: true,
        },
        SourceErrorKind::Forbidden => give_up(
            "source_forbidden",
            format!("{error}. Give the token the missing permission, then start the run again"),
        ),
        SourceErrorKind::NotFound | SourceErrorKind::Gone => give_up(
            "source_not_found",
            format!(
                "{error}. Correct the instance's settings or the token's access, then start the run again"
            ),
        ),
        SourceErrorKind::Rejected | SourceErrorKind::Conflict | SourceErrorKind::Unsupported => {
            give_up("source_rejected", format!("{error}. Correct the instance's settings"))
        }
        SourceErrorKind::Blocked => give_up("egress_blocked", error.to_string()),
    }
}

/// Whether it says something of the project that was read, rather than of the instance.
pub(super) const fn is_about_a_project(error: &SourceError) -> bool {
    matches!(error.kind, SourceErrorKind::Forbidden | SourceErrorKind::NotFound | SourceErrorKind::Gone)
}

/// A stream that hands out the same position again would be read for ever.
pub(super) fn stuck(stream: &str) -> SourceError {
    SourceError::new(SourceErrorKind::Malformed, format!("the source's stream `{stream}` does not move on"))
}

/// An error with its causes, for the log.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: SourceErrorKind) -> SourceError {
        SourceError::new(kind, "it said no")
    }

    #[test]
    fn a_limit_is_waited_for_as_long_as_the_tracker_asks_and_never_given_up() {
        let limited =
            SourceError { retry_after: Some(Duration::from_secs(7)), ..error(SourceErrorKind::RateLimited) };
        let Verdict::Wait { wait, .. } = judge(&limited, 1000, &SliceLimits::default()) else {
            panic!("gave up")
        };
        assert_eq!(wait, Duration::from_secs(7));
        assert!(!worth_a_short_wait(&limited));
    }

    #[test]
    fn an_outage_is_waited_for_longer_each_time_and_given_up_in_the_end() {
        let limits = SliceLimits::default();
        let wait = |failures| match judge(&error(SourceErrorKind::Unavailable), failures, &limits) {
            Verdict::Wait { wait, .. } => Some(wait),
            Verdict::GiveUp { reconnect, .. } => {
                assert!(!reconnect, "an outage must not ask for new credentials");
                None
            }
        };
        assert!(wait(0) < wait(1) && wait(1) < wait(2));
        assert_eq!(wait(limits.max_failures - 1), None);
    }

    #[test]
    fn only_a_refused_credential_asks_to_reconnect() {
        for kind in [SourceErrorKind::Forbidden, SourceErrorKind::NotFound, SourceErrorKind::Rejected] {
            assert!(matches!(
                judge(&error(kind), 0, &SliceLimits::default()),
                Verdict::GiveUp { reconnect: false, .. }
            ));
        }
        let refused = judge(&error(SourceErrorKind::Unauthorized), 0, &SliceLimits::default());
        assert!(matches!(refused, Verdict::GiveUp { reconnect: true, .. }));
    }
}
