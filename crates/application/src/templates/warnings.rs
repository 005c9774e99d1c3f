//! What a reader must know before trusting an answer.

use chrono::{DateTime, Utc};

use crate::ports::Freshness;

/// The most that are told; a tenant may have hundreds of instances.
const MOST: usize = 10;

/// A sentence for each instance whose data may be missing or old: its sync is broken, has never ended, or is behind what
/// its schedule promises.
pub fn warnings(freshness: &[Freshness], now: DateTime<Utc>) -> Vec<String> {
    let mut warnings: Vec<String> = freshness.iter().filter_map(|of| warning(of, now)).collect();
    let more = warnings.len().saturating_sub(MOST);
    if more > 0 {
        warnings.truncate(MOST);
        warnings.push(format!("{more} more instances are broken or late: sql_get_freshness lists them"));
    }
    warnings
}

fn warning(of: &Freshness, now: DateTime<Utc>) -> Option<String> {
    let slug = &of.slug;
    let Some(synced_at) = of.synced_at else {
        return Some(match &of.last_error {
            Some(error) => {
                format!("{slug} was never synced to its end: its last sync failed ({})", error.code)
            }
            None => format!("{slug} has not been synced to its end yet: items of it are missing"),
        });
    };
    let lag_s = (now - synced_at).num_seconds().max(0);
    if let Some(error) = &of.last_error {
        return Some(format!("{slug} is {lag_s} s old: its last sync failed ({})", error.code));
    }
    let target_s = i64::try_from(of.target?.as_secs()).unwrap_or(i64::MAX);
    (lag_s > target_s).then(|| format!("{slug} is {lag_s} s old, and its schedule promises {target_s} s"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeDelta;
    use domain::{InstanceId, RunError};
    use uuid::Uuid;

    use super::*;

    fn of(lag_s: Option<i64>, error: Option<&str>) -> Freshness {
        Freshness {
            instance_id: InstanceId::new(Uuid::nil()),
            slug: "web".parse().unwrap(),
            source: "github".into(),
            synced_at: lag_s.map(|lag| DateTime::UNIX_EPOCH - TimeDelta::seconds(lag)),
            backfilled_at: None,
            active_run: None,
            last_error: error.map(|code| RunError { code: code.into(), hint: "h".into() }),
            target: Some(Duration::from_secs(600)),
        }
    }

    #[test]
    fn what_is_broken_missing_or_late_is_told_and_what_is_well_is_not() {
        let told = |of: Freshness| warnings(&[of], DateTime::UNIX_EPOCH).join("");
        assert_eq!(told(of(Some(600), None)), "");
        assert_eq!(told(of(Some(601), None)), "web is 601 s old, and its schedule promises 600 s");
        assert_eq!(told(Freshness { target: None, ..of(Some(9_999), None) }), "");
        assert_eq!(
            told(of(Some(5), Some("rate_limited"))),
            "web is 5 s old: its last sync failed (rate_limited)"
        );
        assert!(told(of(None, None)).contains("items of it are missing"));
        assert!(told(of(None, Some("x"))).contains("never synced to its end: its last sync failed (x)"));
        assert_eq!(warnings(&vec![of(None, None); 300], DateTime::UNIX_EPOCH).len(), MOST + 1);
    }
}
