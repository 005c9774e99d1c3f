//! Which items that were seen at a tracker the synced copy has as they were before, and when that is asked in vain.

use application::Ctx;
use application::ports::{ItemAddress, SyncStore};
use chrono::{DateTime, TimeDelta, Utc};
use domain::InstanceId;
use patchbay_infrastructure::postgres::PgSync;

use crate::support::{TestDb, run};
use crate::tenant_data::{fill, items};

struct World {
    test: TestDb,
    ctx: Ctx,
    instance: InstanceId,
    sync: PgSync,
}

/// To the millisecond, as Jira tells it.
fn changed() -> DateTime<Utc> {
    "2026-01-02T03:04:05.678Z".parse().unwrap()
}

impl World {
    /// A tenant with four items that were all changed at that moment, and a run that has not begun yet.
    async fn new() -> Self {
        let test = TestDb::new().await;
        let ctx = test.ctx("acme").await;
        let instance = with_items(&test, &ctx).await;
        let sync = PgSync::new(test.db.clone(), test.audit());
        Self { test, ctx, instance, sync }
    }

    async fn run(&self, statement: &str) {
        run(&mut self.test.admin().await, statement.to_owned()).await;
    }

    async fn ended(&self, kind: &str, state: &str) {
        self.run(&format!("update sync_runs set kind = '{kind}', state = '{state}', finished_at = now()"))
            .await;
    }

    async fn outdated(&self, ctx: &Ctx, seen: &[(&str, DateTime<Utc>)]) -> Option<Vec<ItemAddress>> {
        let seen: Vec<_> = seen.iter().map(|(key, at)| ((*key).to_owned(), *at)).collect();
        let mut found = self.sync.outdated_items(ctx, self.instance, &seen).await.unwrap();
        if let Some(items) = &mut found {
            items.sort();
        }
        found
    }
}

async fn with_items(test: &TestDb, ctx: &Ctx) -> InstanceId {
    let mut admin = test.admin().await;
    let (instance, _) = fill(&mut admin, ctx.tenant).await;
    run(&mut admin, items(ctx.tenant, instance, 100, 103)).await;
    let (at, tenant) = (changed(), ctx.tenant);
    run(&mut admin, format!("update work_items set updated_at = '{at}' where tenant_id = '{tenant}'")).await;
    InstanceId::new(instance)
}

fn stored(number: u32) -> ItemAddress {
    ItemAddress {
        source_id: Some(number.to_string()),
        ref_key: Some(format!("1#{number}")),
        key: Some(format!("acme/app#{number}")),
    }
}

#[tokio::test]
async fn an_item_is_outdated_that_was_changed_since_is_here_as_deleted_or_not_at_all() {
    let world = World::new().await;
    world.ended("backfill", "succeeded").await;
    world
        .run("update work_items set deleted_at = now(), delete_reason = 'deleted' where source_id = '102'")
        .await;
    let (now, millisecond) = (changed(), TimeDelta::milliseconds(1));
    let seen = [
        ("acme/app#100", now),
        ("acme/app#101", now + millisecond),
        ("acme/app#102", now),
        ("acme/app#103", now - millisecond),
        ("acme/app#999", now),
    ];
    let absent = ItemAddress { key: Some("acme/app#999".into()), ..ItemAddress::default() };
    assert_eq!(world.outdated(&world.ctx, &seen).await, Some(vec![absent, stored(101), stored(102)]));
    assert_eq!(world.outdated(&world.ctx, &[]).await, Some(Vec::new()));
    let nul = world.outdated(&world.ctx, &[("a\0", now)]).await;
    assert_eq!(nul.map(|items| items.len()), Some(1), "a key that the database cannot hold is an error");

    // A key that was another item's before is the one's that is there.
    world.run("update work_items set source_key = 'acme/app#100' where source_id = '102'").await;
    assert_eq!(world.outdated(&world.ctx, &seen[..1]).await, Some(Vec::new()));
}

#[tokio::test]
async fn nothing_is_asked_for_before_a_run_has_read_the_instance_nor_for_others() {
    let world = World::new().await;
    let seen = [("acme/app#100", changed() + TimeDelta::days(1))];
    let outdated = async || world.outdated(&world.ctx, &seen).await;
    assert_eq!(outdated().await, None, "its first run has not begun");
    for (kind, state) in [
        ("backfill", "running"),
        ("backfill", "failed"),
        ("backfill", "cancelled"),
        ("reconcile", "succeeded"),
        ("remap", "succeeded"),
    ] {
        world.ended(kind, state).await;
        assert_eq!(outdated().await, None, "{kind} {state}");
    }
    for (kind, state) in [("backfill", "succeeded"), ("backfill", "partial"), ("incremental", "succeeded")] {
        world.ended(kind, state).await;
        assert_eq!(outdated().await, Some(vec![stored(100)]), "{kind} {state}");
    }

    // Of a tenant, and of one that has an instance of its own, nothing is told to another.
    let other = world.test.ctx("globex").await;
    assert_eq!(world.outdated(&other, &seen).await, None);
    with_items(&world.test, &other).await;
    world.ended("backfill", "succeeded").await;
    assert_eq!(world.outdated(&other, &seen).await, None);

    world.run("update tenants set status = 'suspended', suspended_at = now()").await;
    assert_eq!(outdated().await, None, "the tenant is suspended");
}
