use std::sync::Arc;

use chrono::TimeDelta;
use domain::{InstanceStatus, Quota};
use uuid::Uuid;

use super::*;
use crate::limits::Quotas;
use crate::live::LiveService;
use crate::ports::{Decision, InstanceStore, RateLimiter, UpstreamUse};
use crate::testing::{Fault, INSTANCE, Memory, OTHER_TENANT, TENANT, changed, moment};
use crate::{Ctx, Error};

/// What became of issues: stored, current, left, dropped.
type Told = (u64, u64, u64, u64);

struct World {
    memory: Arc<Memory>,
    live: Arc<LiveService>,
}

impl World {
    fn new() -> Self {
        let memory = Memory::new();
        let live = memory.services().live;
        Self { memory, live }
    }

    /// One whose trackers get so many requests, of which syncs may use four fifths.
    fn with_budget(budget: Quota) -> Self {
        let memory = Memory::new();
        let quotas = Quotas { upstream: Some(budget), ..Quotas::default() };
        let live = memory.services_within(quotas).live;
        Self { memory, live }
    }

    /// A read that finds issues of these keys, changed at that time.
    fn read(&self, keys: &[&str], updated: DateTime<Utc>) {
        self.read_of(TENANT, INSTANCE, keys, updated);
    }

    fn read_of(&self, tenant: TenantId, instance: InstanceId, keys: &[&str], updated: DateTime<Utc>) {
        let issue =
            |key: &&str| LiveIssue { key: (*key).to_owned(), updated: Some(updated), ..LiveIssue::default() };
        self.live.noticed.add(tenant, instance, &keys.iter().map(issue).collect::<Vec<_>>());
    }

    async fn store(&self) -> Told {
        let NoticedOutcome { stored, current, left, dropped, failed } = self.live.store_noticed().await;
        assert!(failed.is_none(), "{failed:?}");
        (stored, current, left, dropped)
    }

    fn asked(&self) -> u32 {
        self.memory.upstream_requests(INSTANCE)
    }

    async fn set_status(&self, status: InstanceStatus) {
        let ctx = Ctx::system(TENANT, "test", domain::RequestId::new(Uuid::nil()));
        let instance = InstanceStore::find(&*self.memory, &ctx, INSTANCE).await.unwrap().unwrap();
        let instance = domain::Instance { status, ..instance };
        assert!(self.memory.update(&ctx, &instance, None).await.unwrap());
    }
}

#[tokio::test]
async fn what_changed_is_read_once_and_what_did_not_never() {
    let world = World::new();
    assert_eq!(world.store().await, (0, 0, 0, 0), "nothing was read");
    // Both are stored as they were changed at the latest.
    world.read(&["acme/core#1"], moment() + TimeDelta::minutes(1));
    world.read(&["acme/core#2"], moment());
    assert_eq!(world.store().await, (0, 2, 0, 0));
    assert_eq!(world.asked(), 0, "the tracker was asked for what is stored");

    // One is changed, and another is not stored at all. Several reads of the same are one.
    for _ in 0..3 {
        world.read(&["acme/core#1", "acme/core#99"], changed());
        world.read(&["acme/core#1", "acme/core#2"], moment());
    }
    assert_eq!(world.store().await, (2, 1, 0, 0));
    assert_eq!(world.asked(), 1);
    world.read(&["acme/core#1", "acme/core#99"], changed());
    assert_eq!(world.store().await, (0, 2, 0, 0));
    assert_eq!(world.asked(), 1, "it is read again though nothing changed");
}

#[tokio::test]
async fn an_issue_that_stays_older_than_a_list_says_is_not_read_each_time() {
    let world = World::new();
    let rounded = changed() + TimeDelta::seconds(1);
    world.read(&["acme/core#1"], rounded);
    assert_eq!(world.store().await, (1, 0, 0, 0));
    world.read(&["acme/core#1"], rounded);
    assert_eq!(world.store().await, (0, 1, 0, 0));
    assert_eq!(world.asked(), 1);
    // A later change is another matter.
    world.read(&["acme/core#1"], rounded + TimeDelta::seconds(1));
    assert_eq!(world.store().await, (1, 0, 0, 0));
    assert_eq!(world.asked(), 2);
}

#[tokio::test]
async fn a_hundred_are_read_at_once_and_the_others_after_them() {
    let world = World::new();
    let keys: Vec<String> = (1_000..1_250).map(|number| format!("acme/core#{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    world.read(&keys, changed());
    for (stored, asked) in [(100, 1), (100, 2), (50, 3), (0, 3)] {
        assert_eq!(world.store().await, (stored, 0, 0, 0));
        assert_eq!(world.asked(), asked);
    }
}

#[tokio::test]
async fn what_finds_no_place_is_counted() {
    let noticed = Noticed::default();
    let keys: Vec<String> = (0..MOST + 7).map(|number| number.to_string()).collect();
    let issue =
        |key: &String| LiveIssue { key: key.clone(), updated: Some(moment()), ..LiveIssue::default() };
    let mut issues: Vec<LiveIssue> = keys.iter().map(issue).collect();
    issues.push(LiveIssue { key: "undated".into(), ..LiveIssue::default() });
    noticed.add(TENANT, INSTANCE, &issues);
    let waiting = noticed.take();
    assert_eq!((waiting.count, waiting.dropped), (MOST, 7));
    assert_eq!(waiting.instances.len(), 1);
    // What was taken leaves room.
    noticed.add(TENANT, INSTANCE, &issues[..1]);
    assert_eq!((noticed.take().count, noticed.take().dropped), (1, 0));
}

#[tokio::test]
async fn a_tracker_that_asks_to_wait_is_left_alone_by_everybody() {
    let world = World::new();
    world.read(&["limited#1"], changed());
    assert_eq!(world.store().await, (0, 0, 1, 0));
    assert_eq!(world.asked(), 1);
    let refused = world.live.may_be_asked(INSTANCE);
    assert!(refused.is_err_and(|error| error.retry_after.is_some()), "people would ask the tracker again");
    world.read(&["acme/core#1"], changed());
    assert_eq!(world.store().await, (0, 0, 1, 0));
    assert_eq!(world.asked(), 1, "it was asked again");
}

#[tokio::test]
async fn what_is_reserved_for_people_is_not_touched() {
    let budget = Quota::per(60, 60, 5);
    let world = World::with_budget(budget);
    let taken = world.memory.take_upstream(INSTANCE, budget, UpstreamUse::Person, 4).await;
    assert!(matches!(taken, Decision::Allowed(_)), "{taken:?}");
    world.read(&["acme/core#1"], changed());
    assert_eq!(world.store().await, (0, 0, 1, 0));
    assert_eq!(world.asked(), 4);
    assert!(world.live.may_be_asked(INSTANCE).is_ok(), "people are refused what is left for them");
}

#[tokio::test]
async fn nothing_is_stored_of_what_no_sync_reads() {
    let world = World::new();
    // No run has read it yet.
    let web = InstanceId::new(Uuid::from_u128(6));
    world.read_of(TENANT, web, &["acme/core#1"], changed());
    assert_eq!(world.store().await, (0, 0, 1, 0));
    // It is another tenant's, or gone.
    world.read_of(OTHER_TENANT, INSTANCE, &["acme/core#1"], changed());
    world.read_of(TENANT, InstanceId::new(Uuid::nil()), &["acme/core#1"], changed());
    assert_eq!(world.store().await, (0, 0, 2, 0));
    for status in [InstanceStatus::Paused, InstanceStatus::ReconnectRequired] {
        world.set_status(status).await;
        world.read(&["acme/core#1"], changed());
        assert_eq!(world.store().await, (0, 0, 1, 0), "{status:?}");
    }
    assert_eq!((world.asked(), world.memory.upstream_requests(web)), (0, 0));
    // What was left is not remembered as looked at.
    world.set_status(InstanceStatus::Active).await;
    world.read(&["acme/core#1"], changed());
    assert_eq!(world.store().await, (1, 0, 0, 0));
}

#[tokio::test]
async fn a_database_that_fails_is_told_and_what_was_noticed_is_left() {
    let world = World::new();
    world.memory.break_down("runs.outdated_items", Fault::Unavailable);
    world.read(&["acme/core#1"], changed());
    let outcome = world.live.store_noticed().await;
    assert_eq!((outcome.stored, outcome.left), (0, 1));
    assert!(matches!(outcome.failed, Some(Error::Unavailable(_))), "{outcome:?}");
    world.memory.repair();
    world.read(&["acme/core#1"], changed());
    assert_eq!(world.store().await, (1, 0, 0, 0));
}
