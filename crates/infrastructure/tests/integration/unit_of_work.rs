//! One transaction around everything a request writes: parts that fail or go away undo themselves and nothing else,
//! and a request that goes away undoes everything. Security requirement 13.

use crate::support;

use std::sync::Arc;

use application::Ctx;
use application::ctx::UnitOfWork;
use application::ports::{
    Claimed, IdempotencyKey, IdempotencyStore, InstanceStore, ListPage, Sealed, StoreError, StoredAnswer,
};
use chrono::{DateTime, Utc};
use domain::{Instance, InstanceId, InstanceStatus, SourceKind};
use patchbay_infrastructure::postgres::{PgIdempotency, PgInstances, PoolSizes};
use support::{TestDb, cancel_after};
use uuid::Uuid;

struct World {
    test: TestDb,
    ctx: Ctx,
    keys: PgIdempotency,
    instances: PgInstances,
}

impl World {
    async fn new(connections: u32) -> Self {
        let test = TestDb::with_pools(PoolSizes { app: connections, reader: 1, queue: 1 }).await;
        let ctx = test.ctx("alpha").await;
        let vault = Arc::new(test.vault().await);
        let keys = PgIdempotency::new(test.db.clone(), vault);
        let instances = PgInstances::new(test.db.clone(), test.audit());
        Self { test, ctx, keys, instances }
    }

    /// The context of a request with this key, in a unit of its own.
    async fn request(&self, key: &str) -> (Ctx, IdempotencyKey, Arc<dyn UnitOfWork>) {
        let key = IdempotencyKey { key: key.into(), route: "POST /x".into(), fingerprint: [7; 32] };
        match self.keys.claim(&self.ctx, &key).await.unwrap() {
            Claimed::Fresh(unit) => (Ctx { unit: Some(unit.clone()), ..self.ctx.clone() }, key, unit),
            other => panic!("{other:?}"),
        }
    }

    async fn insert(&self, ctx: &Ctx, slug: &str) -> Result<InstanceId, StoreError> {
        let new = instance(slug);
        self.instances.insert(ctx, &new, &Sealed(vec![])).await.map(|()| new.id)
    }

    async fn slugs(&self, ctx: &Ctx) -> Vec<String> {
        let page = ListPage { limit: 100, cursor: None };
        let listed = self.instances.list(ctx, &page).await.unwrap().items;
        let mut slugs: Vec<_> = listed.iter().map(|instance| instance.slug.to_string()).collect();
        slugs.sort();
        slugs
    }
}

fn answer() -> StoredAnswer {
    StoredAnswer { status: 201, headers: vec![], body: b"{}".to_vec() }
}

#[tokio::test]
async fn what_several_stores_wrote_is_stored_with_the_answer_and_not_before() {
    let world = World::new(4).await;
    let (ctx, key, unit) = world.request("k").await;
    assert!(world.slugs(&ctx).await.is_empty(), "reads before the first write");
    world.insert(&ctx, "a").await.unwrap();
    world.insert(&ctx, "b").await.unwrap();
    assert_eq!(world.slugs(&ctx).await, ["a", "b"], "the request reads what it wrote");
    assert!(world.slugs(&world.ctx).await.is_empty(), "nobody else sees it yet");
    world.keys.finish(&ctx, &key, &unit, &answer()).await.unwrap();
    assert_eq!(world.slugs(&world.ctx).await, ["a", "b"]);
    let late = world.insert(&ctx, "c").await;
    assert!(matches!(late, Err(StoreError::Internal(_))), "written after the end: {late:?}");
}

#[tokio::test]
async fn a_failed_statement_undoes_its_part_and_poisons_neither_unit_nor_connection() {
    let world = World::new(1).await;
    let (ctx, key, unit) = world.request("k").await;
    world.insert(&ctx, "a").await.unwrap();
    for _ in 0..3 {
        let again = world.insert(&ctx, "a").await;
        assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    }
    assert_eq!(world.slugs(&ctx).await, ["a"], "a read right after the failure");
    world.insert(&ctx, "b").await.unwrap();
    assert!(world.insert(&ctx, "b").await.is_err());
    // Ends right after a failed part.
    world.keys.finish(&ctx, &key, &unit, &answer()).await.unwrap();
    assert_eq!(world.slugs(&world.ctx).await, ["a", "b"]);
}

#[tokio::test]
async fn a_released_request_leaves_nothing_and_its_key_is_free() {
    let world = World::new(2).await;
    let (ctx, key, unit) = world.request("k").await;
    world.insert(&ctx, "a").await.unwrap();
    world.keys.release(&ctx, &key, &unit).await.unwrap();
    assert!(world.slugs(&world.ctx).await.is_empty());
    let (ctx, key, unit) = world.request("k").await;
    world.insert(&ctx, "a").await.unwrap();
    world.keys.finish(&ctx, &key, &unit, &answer()).await.unwrap();
    assert_eq!(world.slugs(&world.ctx).await, ["a"]);
}

#[tokio::test]
async fn a_part_that_is_dropped_midway_is_undone_before_the_next_begins() {
    let world = World::new(2).await;
    for polls in 0..60 {
        let (ctx, key, unit) = world.request(&format!("k{polls}")).await;
        let kept = world.insert(&ctx, &format!("kept-{polls}")).await.unwrap();
        let dropped = format!("dropped-{polls}");
        let done = cancel_after(polls, world.insert(&ctx, &dropped)).await;
        // The request goes on: its other parts are either possible, or the whole of it fails.
        let other = world.insert(&ctx, &format!("other-{polls}")).await;
        let finished = world.keys.finish(&ctx, &key, &unit, &answer()).await;
        drop((ctx, unit));
        let slugs = world.slugs(&world.ctx).await;
        let has = |slug: &str| slugs.iter().any(|found| *found == format!("{slug}-{polls}"));
        match (&other, &finished) {
            (Ok(_), Ok(())) => {
                assert!(has("kept") && has("other"), "{polls}: {slugs:?}");
                assert_eq!(has("dropped"), done.is_some(), "{polls}: {slugs:?}");
            }
            (Err(StoreError::Unavailable(_)), Err(StoreError::Unavailable(_))) => {
                assert!(!has("kept") && !has("other") && !has("dropped"), "{polls}: {slugs:?}");
            }
            other => panic!("{polls}: {other:?}"),
        }
        for id in [Some(kept), done.and_then(Result::ok), other.ok()].into_iter().flatten() {
            world.instances.delete(&world.ctx, id).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_request_that_goes_away_at_any_point_leaves_no_effect_no_transaction_and_no_claim() {
    let world = World::new(2).await;
    let mut admin = world.test.admin().await;
    for polls in 0..120u32 {
        let slug = format!("s{polls}");
        let request = async {
            let (ctx, key, unit) = world.request(&slug).await;
            world.insert(&ctx, &slug).await.unwrap();
            let _ = world.insert(&ctx, &slug).await;
            world.keys.finish(&ctx, &key, &unit, &answer()).await
        };
        let done = cancel_after(polls / 2, request).await;
        // The same request again: replayed when it was done, free when it was not.
        let key = IdempotencyKey { key: slug.clone(), route: "POST /x".into(), fingerprint: [7; 32] };
        let again = loop {
            match world.keys.claim(&world.ctx, &key).await.unwrap() {
                Claimed::InFlight { .. } => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                other => break other,
            }
        };
        let stored = world.slugs(&world.ctx).await.contains(&slug);
        match again {
            Claimed::Done(kept) => {
                assert!(stored && kept == answer(), "{polls}: an answer without its effect");
            }
            Claimed::Fresh(unit) => {
                assert!(!stored, "{polls}: an effect without its answer");
                assert!(done.is_none(), "{polls}: acknowledged and forgotten");
                unit.abandon();
            }
            other => panic!("{polls}: {other:?}"),
        }
        // What comes next on these connections is stored: none was left inside a transaction.
        let next = world.insert(&world.ctx, &format!("next-{polls}")).await.unwrap();
        let seen: bool = sqlx::query_scalar("select exists (select from source_instances where id = $1)")
            .bind(next.as_uuid())
            .fetch_one(&mut admin)
            .await
            .unwrap();
        assert!(seen, "{polls}: an acknowledged write is gone");
        world.instances.delete(&world.ctx, next).await.unwrap();
    }
}

#[tokio::test]
async fn an_abandoned_unit_gives_its_locks_up_even_when_somebody_keeps_its_context() {
    let world = World::new(2).await;
    let (ctx, _, unit) = world.request("k").await;
    world.insert(&ctx, "a").await.unwrap();
    unit.abandon();
    world.insert(&world.ctx, "a").await.expect("the name is free again");
    let late = world.insert(&ctx, "b").await;
    assert!(matches!(late, Err(StoreError::Internal(_))), "{late:?}");
}

#[tokio::test]
async fn parts_of_one_request_that_run_at_once_wait_for_each_other() {
    let world = World::new(2).await;
    let (ctx, key, unit) = world.request("k").await;
    let written = tokio::join!(world.insert(&ctx, "a"), world.insert(&ctx, "b"), world.insert(&ctx, "c"));
    assert!(matches!(written, (Ok(_), Ok(_), Ok(_))), "{written:?}");
    world.keys.finish(&ctx, &key, &unit, &answer()).await.unwrap();
    assert_eq!(world.slugs(&world.ctx).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_second_transaction_asked_for_while_the_first_is_held_fails_instead_of_waiting_for_ever() {
    let world = World::new(2).await;
    let (ctx, key, unit) = world.request("k").await;
    // It takes the unit in its first step, and is not gone on with.
    let mut first = Box::pin(world.insert(&ctx, "a"));
    assert!(futures::poll!(first.as_mut()).is_pending());
    let second = world.insert(&ctx, "b").await;
    assert!(matches!(second, Err(StoreError::Internal(_))), "{second:?}");
    first.await.unwrap();
    world.insert(&ctx, "c").await.unwrap();
    world.keys.finish(&ctx, &key, &unit, &answer()).await.unwrap();
    assert_eq!(world.slugs(&world.ctx).await, ["a", "c"]);
}

#[tokio::test]
async fn a_unit_serves_nobody_but_the_caller_it_was_made_for() {
    let world = World::new(4).await;
    let (ctx, ..) = world.request("k").await;
    let beta = world.test.ctx("beta").await;
    let foreign = Ctx { unit: ctx.unit.clone(), ..beta };
    let refused = world.insert(&foreign, "a").await;
    assert!(matches!(refused, Err(StoreError::Internal(_))), "{refused:?}");
    let mut narrowed = ctx.clone();
    narrowed.grant = Arc::new(domain::Grant {
        instances: domain::Allowed::from_list(Some([InstanceId::new(Uuid::now_v7())])),
        ..domain::Grant::default()
    });
    assert!(world.insert(&narrowed, "a").await.is_err());
}

fn instance(slug: &str) -> Instance {
    let at: DateTime<Utc> = "2026-11-01T10:00:00Z".parse().unwrap();
    Instance {
        id: InstanceId::new(Uuid::now_v7()),
        slug: slug.parse().unwrap(),
        source: SourceKind::new("github"),
        name: slug.into(),
        base_url: "https://api.github.com".parse().unwrap(),
        settings: serde_json::json!({}),
        status: InstanceStatus::Active,
        created_at: at,
        updated_at: at,
    }
}
