//! Bringing the synced copy up to date with what live reads noticed.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{InstanceId, InstanceStatus, RequestId, TenantId};
use futures::stream::{self, StreamExt};
use tokio::time::timeout;
use tracing::{Instrument, debug, info};

use super::Seen;
use crate::item_reads::{ItemReader, MOST_ITEMS};
use crate::live::call::too_slow;
use crate::live::{LiveService, Target};
use crate::ports::{FetchedItems, ItemAddress};
use crate::{Ctx, Error};

/// Instances that are read from at the same time: one that is slow keeps few others waiting.
const AT_ONCE: usize = 8;
/// How long reading from one may take.
const LONGEST: Duration = Duration::from_secs(10);
/// For how long an instance is left alone, at least, after reading from it failed.
const PAUSE: Duration = Duration::from_secs(60);

/// What became of the issues that live reads noticed.
#[derive(Debug, Default)]
pub struct NoticedOutcome {
    /// Read and stored.
    pub stored: u64,
    /// The copy had them, or they were looked at a moment ago.
    pub current: u64,
    /// Left to the next sync.
    pub left: u64,
    /// There were too many at once. The next sync brings them, too.
    pub dropped: u64,
    /// What went wrong here, of several things the last.
    pub failed: Option<Error>,
}

impl NoticedOutcome {
    fn add(&mut self, other: Self) {
        let Self { stored, current, left, dropped, failed } = other;
        self.stored += stored;
        self.current += current;
        self.left += left;
        self.dropped += dropped;
        self.failed = failed.or(self.failed.take());
    }
}

impl LiveService {
    /// Looks which of the issues that live reads noticed since the last call are stored as they were before, or not at all,
    /// and reads and stores these: a hundred an instance, the others the next time. What a limit or a failure prevents is
    /// left to the next sync. Safe to drop.
    pub async fn store_noticed(&self) -> NoticedOutcome {
        let waiting = self.noticed.take();
        let mut all = NoticedOutcome { dropped: waiting.dropped, ..NoticedOutcome::default() };
        let instances = waiting.instances.into_iter().map(|((tenant, instance), seen)| {
            let span =
                tracing::info_span!("live.store_noticed", tenant.id = %tenant, instance.id = %instance);
            self.store_seen(tenant, instance, seen).instrument(span)
        });
        let mut outcomes = stream::iter(instances).buffer_unordered(AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            all.add(outcome);
        }
        all
    }

    async fn store_seen(&self, tenant: TenantId, id: InstanceId, seen: Seen) -> NoticedOutcome {
        let mut outcome = NoticedOutcome { left: seen.len() as u64, ..NoticedOutcome::default() };
        let mut open = Vec::with_capacity(seen.len());
        for (key, updated) in seen {
            let place = (id, key);
            match self.noticed.looked.get(&place) {
                Some(looked) if looked >= updated => outcome.found_current(),
                _ => open.push((place.1, updated)),
            }
        }
        let waits = self.noticed.pauses.left(id).is_some() || self.may_be_asked(id).is_err();
        if !open.is_empty() && !waits {
            let ctx = Ctx::system(tenant, "live reads", RequestId::new(self.parts.ids.uuid()));
            outcome.failed = self.store_open(&ctx, id, open, &mut outcome).await.err();
        }
        outcome
    }

    /// Paused instances are left alone, as are those that need new credentials and projects that are not selected any more.
    async fn store_open(
        &self,
        ctx: &Ctx,
        id: InstanceId,
        mut open: Vec<(String, DateTime<Utc>)>,
        outcome: &mut NoticedOutcome,
    ) -> Result<(), Error> {
        let found = self.parts.instances.find(ctx, id).await?;
        let Some(instance) = found.filter(|found| found.status == InstanceStatus::Active) else {
            return Ok(());
        };
        let target = self.reach(ctx, instance)?;
        open.retain(|(key, _)| target.within.allows_issue(key));
        let Some(mut outdated) = self.parts.sync.outdated_items(ctx, id, &open).await? else {
            return Ok(());
        };
        let mut current: HashMap<String, DateTime<Utc>> = open.into_iter().collect();
        let mut behind = |item: &ItemAddress| current.remove_entry(item.key.as_deref()?);
        let later = outdated.split_off(MOST_ITEMS.min(outdated.len()));
        let now: Vec<(String, DateTime<Utc>)> = outdated.iter().filter_map(&mut behind).collect();
        let later: Vec<(String, DateTime<Utc>)> = later.iter().filter_map(&mut behind).collect();
        outcome.left -= later.len() as u64;
        let dated = later.iter().map(|(key, updated)| (key.as_str(), *updated));
        self.noticed.waiting().add(ctx.tenant, id, dated);
        for (key, updated) in current {
            self.noticed.looked.insert((id, key), updated);
            outcome.found_current();
        }
        if outdated.is_empty() {
            return Ok(());
        }
        let fetched_at = self.parts.clock.now();
        let fetched = match self.fetch(ctx, &target, &outdated).await {
            Ok(fetched) => fetched,
            Err(error) => return self.give_up(id, error),
        };
        for (key, updated) in now {
            self.noticed.looked.insert((id, key), updated);
        }
        let stored = outdated.len().saturating_sub(fetched.invisible.len()) as u64;
        self.parts.sync.commit_items(ctx, id, fetched.records, fetched_at, &[]).await?;
        outcome.stored += stored;
        outcome.left -= stored;
        Ok(())
    }

    async fn fetch(&self, ctx: &Ctx, target: &Target, items: &[ItemAddress]) -> Result<FetchedItems, Error> {
        let Target { instance, adapter, .. } = target;
        let (connections, limits) = (&self.parts.connections, self.parts.limits.as_ref());
        let live = self.opened.take(ctx, connections, instance).await?;
        let reader = ItemReader { connections, limits, ctx, instance, adapter: adapter.as_ref(), live };
        let read = timeout(LONGEST, reader.read(items)).await;
        let read = read.unwrap_or_else(|_| Err(too_slow(LONGEST).into()));
        let failed = match &read {
            Err(Error::Source(error)) => Some(error),
            _ => None,
        };
        self.opened.heed(ctx, instance, &reader.live, failed).await;
        read
    }

    /// The next sync brings what could not be read. An error is left that is neither the tracker's nor of a limit.
    fn give_up(&self, id: InstanceId, error: Error) -> Result<(), Error> {
        let wait = match &error {
            Error::Source(source) => {
                self.heed(id, source);
                info!(instance.id = %id, %source, "What was read live is not stored: the next sync brings it");
                source.retry_after.unwrap_or_default()
            }
            Error::RateLimited { retry_after, .. } | Error::Closed { retry_after } => {
                debug!(instance.id = %id, "What was read live is not stored: the budget is used up for now");
                *retry_after
            }
            // The instance was deleted meanwhile.
            Error::NotFound { .. } => return Ok(()),
            _ => return Err(error),
        };
        self.noticed.pauses.begin(id, wait.max(PAUSE));
        Ok(())
    }
}

impl NoticedOutcome {
    /// One of those that seemed to be left.
    fn found_current(&mut self) {
        self.current += 1;
        self.left -= 1;
    }
}
