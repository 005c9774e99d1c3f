//! Issues that live reads found, until it is looked whether the synced copy has them as they are. A read only leaves a note:
//! it waits for nothing and asks nobody.

mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{InstanceId, TenantId};
use moka::sync::Cache;

pub use self::store::NoticedOutcome;
use super::waits::Waits;
use crate::ports::LiveIssue;

/// Issues that wait at once: what some hundred searches find in a second. Beyond, they are passed over, and the next sync
/// brings them.
const MOST: usize = 10_000;
/// An issue that was looked at is looked at again when it was changed since, or after so long.
const LOOKED_FOR: Duration = Duration::from_secs(10 * 60);
/// Some hundred bytes each.
const MOST_LOOKED: u64 = 20_000;

/// Issues by key, with the latest change that was seen of each.
type Seen = HashMap<String, DateTime<Utc>>;

#[derive(Debug, Default)]
struct Waiting {
    instances: HashMap<(TenantId, InstanceId), Seen>,
    /// Issues in all.
    count: usize,
    /// Those that found no place.
    dropped: u64,
}

impl Waiting {
    fn add<'a>(
        &mut self,
        tenant: TenantId,
        instance: InstanceId,
        issues: impl Iterator<Item = (&'a str, DateTime<Utc>)>,
    ) {
        let seen = self.instances.entry((tenant, instance)).or_default();
        for (key, updated) in issues {
            if let Some(known) = seen.get_mut(key) {
                *known = updated.max(*known);
            } else if self.count < MOST {
                seen.insert(key.to_owned(), updated);
                self.count += 1;
            } else {
                self.dropped += 1;
            }
        }
    }
}

/// What was noticed, and what became of it lately.
pub(super) struct Noticed {
    waiting: Mutex<Waiting>,
    /// The latest change of an issue that the copy was found to have, or that was read for it. An issue that is told with
    /// another time by itself than in lists is so not read each time.
    looked: Cache<(InstanceId, String), DateTime<Utc>>,
    /// Instances that are left alone for a while, as reading from them failed.
    pauses: Waits,
}

impl Default for Noticed {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            looked: Cache::builder().max_capacity(MOST_LOOKED).time_to_live(LOOKED_FOR).build(),
            pauses: Waits::default(),
        }
    }
}

impl Noticed {
    /// Notes what a read found. An issue without the time of its last change says nothing.
    pub(super) fn add(&self, tenant: TenantId, instance: InstanceId, issues: &[LiveIssue]) {
        let dated = issues.iter().filter_map(|issue| Some((issue.key.as_str(), issue.updated?)));
        self.waiting().add(tenant, instance, dated);
    }

    fn take(&self) -> Waiting {
        std::mem::take(&mut *self.waiting())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
