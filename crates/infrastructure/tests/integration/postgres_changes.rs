//! The order in which the synced copy changes: nothing is skipped, whatever commits late, and nothing is told twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::support;
use crate::tenant_data;
use application::Ctx;
use application::ports::{ChangeKind, ChangePage, ChangePosition, ChangeStore, WorkItemStore};
use domain::{Allowed, Grant, InstanceId};
use patchbay_infrastructure::postgres::{PgChanges, PgWorkItems};
use support::{TestDb, run};
use tenant_data::{fill, items};

struct World {
    test: TestDb,
    ctx: Ctx,
    instance: InstanceId,
    changes: PgChanges,
}

impl World {
    /// A tenant with one item, `acme/app`, which was there before.
    async fn new() -> Self {
        let test = TestDb::new().await;
        let ctx = test.ctx("acme").await;
        let (instance, _) = fill(&mut test.admin().await, ctx.tenant).await;
        let changes = PgChanges::new(test.db.clone());
        Self { test, ctx, instance: InstanceId::new(instance), changes }
    }

    fn add(&self, from: u32, to: u32) -> String {
        items(self.ctx.tenant, self.instance.as_uuid(), from, to)
    }

    async fn since(&self, after: ChangePosition, limit: usize) -> ChangePage {
        let page = self.changes.since(&self.ctx, self.instance, None, after, limit).await.unwrap();
        page.expect("the position is of this database")
    }

    /// All that is told from a position until nothing more comes of what has been committed: other tests on this server
    /// may hold its oldest transaction back.
    async fn until(
        &self,
        mut after: ChangePosition,
        count: usize,
    ) -> (Vec<(String, ChangeKind)>, ChangePosition) {
        let mut told = Vec::new();
        for _ in 0..400 {
            let page = self.since(after, 7).await;
            told.extend(page.changes.into_iter().map(|change| (change.key, change.kind)));
            after = page.next;
            if told.len() >= count && !page.more {
                return (told, after);
            }
            if !page.more {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        panic!("only {told:?} of {count}")
    }
}

/// From here to behind the one item that a world begins with, however long others on the server hold it back.
const BEFORE_ALL: ChangePosition = ChangePosition { transaction: 0, id: uuid::Uuid::nil() };

#[tokio::test]
async fn what_commits_late_is_told_later_and_never_skipped() {
    let world = World::new().await;
    let (_, begin) = world.until(BEFORE_ALL, 1).await;
    let (mut early, mut late) = (world.test.admin().await, world.test.admin().await);
    run(&mut early, "begin".to_owned()).await;
    run(&mut early, world.add(100, 104)).await;
    // Begun after the other and committed before it.
    run(&mut late, world.add(200, 204)).await;
    let page = world.since(begin, 100).await;
    let keys: Vec<&str> = page.changes.iter().map(|change| change.key.as_str()).collect();
    assert!(!keys.iter().any(|key| key.contains("#20")), "told before what may come in between: {keys:?}");
    assert!(!page.more);
    run(&mut early, "commit".to_owned()).await;
    let (told, next) = world.until(page.next, 10).await;
    let distinct: BTreeSet<&String> = told.iter().map(|(key, _)| key).collect();
    assert_eq!((told.len(), distinct.len()), (10, 10), "{told:?}");
    assert!(told.iter().all(|(_, kind)| *kind == ChangeKind::Created), "{told:?}");
    let (first, last) = (&told[0].0, &told[9].0);
    assert!(first.contains("#10") && last.contains("#20"), "not in order: {told:?}");
    assert_eq!(world.since(next, 100).await.changes, []);
}

#[tokio::test]
async fn an_item_is_told_as_it_is_now_and_by_what_happened_to_it() {
    let world = World::new().await;
    let mut admin = world.test.admin().await;
    let (_, begin) = world.until(BEFORE_ALL, 1).await;
    run(&mut admin, world.add(1_000, 1_002)).await;
    let (told, next) = world.until(begin, 3).await;
    assert_eq!(told.len(), 3, "what was there before is told: {told:?}");
    let touch = |number: u32, more: &str| {
        format!(
            "update work_items set changed_in = pg_current_xact_id()::text::bigint{more}
             where tenant_id = '{}' and source_id = '{number}'",
            world.ctx.tenant
        )
    };
    run(&mut admin, touch(1_000, "")).await;
    run(&mut admin, touch(1_001, ", deleted_at = now(), delete_reason = 'deleted'")).await;
    // Twice: told once.
    run(&mut admin, touch(1_000, "")).await;
    let (told, _) = world.until(next, 2).await;
    let expected = [("acme/app#1001", ChangeKind::Deleted), ("acme/app#1000", ChangeKind::Updated)];
    assert_eq!(told, expected.map(|(key, kind)| (key.to_owned(), kind)));

    let elsewhere = BTreeSet::from(["acme/other".to_owned()]);
    let none = world.changes.since(&world.ctx, world.instance, Some(&elsewhere), begin, 10).await.unwrap();
    assert_eq!(none.map(|page| page.changes), Some(Vec::new()));
    let stranger = world.test.ctx("globex").await;
    let none = world.changes.since(&stranger, world.instance, None, begin, 10).await.unwrap();
    assert_eq!(none.map(|page| page.changes), Some(Vec::new()));
    let ahead = ChangePosition { transaction: i64::MAX - 1, ..begin };
    assert_eq!(world.changes.since(&world.ctx, world.instance, None, ahead, 10).await.unwrap(), None);
}

#[tokio::test]
async fn writers_at_work_and_readers_walking_lose_nothing_and_repeat_nothing() {
    let world = World::new().await;
    let (_, begin) = world.until(BEFORE_ALL, 1).await;
    const WRITERS: u32 = 4;
    const EACH: u32 = 15;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let mut connection = world.test.admin().await;
        let adds: Vec<String> = (0..EACH)
            .map(|n| {
                let at = 10_000 + writer * 1_000 + n * 2;
                world.add(at, at + 1)
            })
            .collect();
        writers.spawn(async move {
            for (n, add) in adds.into_iter().enumerate() {
                run(&mut connection, "begin".to_owned()).await;
                run(&mut connection, add).await;
                tokio::time::sleep(Duration::from_millis(u64::from(writer) * 3 + n as u64 % 5)).await;
                run(&mut connection, "commit".to_owned()).await;
            }
        });
    }
    let all = usize::try_from(WRITERS * EACH * 2).unwrap();
    let (told, _) = world.until(begin, all).await;
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let distinct: BTreeSet<&String> = told.iter().map(|(key, _)| key).collect();
    assert_eq!((told.len(), distinct.len()), (all, all));
}

#[tokio::test]
async fn a_watched_item_is_found_by_its_key_stands_elsewhere_when_it_changed_and_is_its_tenants_alone() {
    let world = World::new().await;
    let mut admin = world.test.admin().await;
    run(&mut admin, world.add(500, 502)).await;
    let asked: Vec<(InstanceId, String)> = ["acme/app#500", "acme/app#501", "acme/app#9999", "a\0"]
        .map(|key| (world.instance, key.to_owned()))
        .to_vec();
    let positions = async |ctx: &Ctx| world.changes.positions(ctx, &asked).await.unwrap();
    let before = positions(&world.ctx).await;
    let keys: Vec<&str> = before.iter().map(|at| at.key.as_str()).collect();
    assert_eq!(keys, ["acme/app#500", "acme/app#501"]);
    assert!(before.iter().all(|at| at.instance == world.instance && at.project == "acme/app"), "{before:?}");
    let touch = |number: u32, more: &str| {
        format!(
            "update work_items set changed_in = pg_current_xact_id()::text::bigint{more}
             where tenant_id = '{}' and source_id = '{number}'",
            world.ctx.tenant
        )
    };
    run(&mut admin, touch(500, ", deleted_at = now(), delete_reason = 'deleted'")).await;
    let after = positions(&world.ctx).await;
    assert!(after[0].changed_in > before[0].changed_in, "a deletion is a change: {after:?}");
    assert_eq!(after[1], before[1]);

    let items = PgWorkItems::new(world.test.db.clone());
    let found = async |ctx: &Ctx, key: &str| items.find_by_key(ctx, world.instance, key).await.unwrap();
    assert_eq!(found(&world.ctx, "acme/app#501").await.map(|item| item.source_key), Some(asked[1].1.clone()));
    assert_eq!(found(&world.ctx, "acme/app#500").await, None, "it was deleted");
    assert_eq!(found(&world.ctx, "a\0").await, None);

    // Another tenant, and keys of this one that may not see the project or the instance.
    let narrow = |grant: Grant| Ctx { grant: Arc::new(grant), ..world.ctx.clone() };
    let projects = Allowed::Only(["acme/other".parse().unwrap()].into());
    let instances = Allowed::Only([InstanceId::new(uuid::Uuid::nil())].into());
    for ctx in [
        world.test.ctx("globex").await,
        narrow(Grant { projects_read: projects, ..Grant::default() }),
        narrow(Grant { instances, ..Grant::default() }),
    ] {
        assert_eq!(positions(&ctx).await, []);
        assert_eq!(found(&ctx, "acme/app#501").await, None);
    }
}
