//! Idempotency keys in PostgreSQL: one of many is told to do it, the rest get its answer. Security requirement 64.

use crate::support;

use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use application::ctx::UnitOfWork;
use application::ports::{
    Claimed, IdempotencyKey, IdempotencyStore, InstanceStore, Sealed, StoreError, StoredAnswer,
};
use domain::{Instance, InstanceId, InstanceStatus, KeyId, Principal, SourceKind};
use futures::future::join_all;
use patchbay_infrastructure::postgres::{PgIdempotency, PgInstances};
use support::TestDb;
use uuid::Uuid;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

async fn keys(test: &TestDb) -> PgIdempotency {
    PgIdempotency::new(test.db.clone(), Arc::new(test.vault().await))
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey { key: text.into(), route: "POST /api/v1/instances".into(), fingerprint: [7; 32] }
}

fn answer(body: &str) -> StoredAnswer {
    StoredAnswer {
        status: 201,
        headers: vec![("location".into(), "/api/v1/instances/1".into())],
        body: body.as_bytes().to_vec(),
    }
}

async fn fresh(keys: &PgIdempotency, ctx: &Ctx, key: &IdempotencyKey) -> (Ctx, Arc<dyn UnitOfWork>) {
    match keys.claim(ctx, key).await.unwrap() {
        Claimed::Fresh(unit) => (Ctx { unit: Some(unit.clone()), ..ctx.clone() }, unit),
        other => panic!("{other:?}"),
    }
}

fn instance(slug: &str) -> Instance {
    let at = "2026-11-01T10:00:00Z".parse().unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_claims_at_once_exactly_one_is_fresh() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let keys = keys(&test).await;
    for round in 0..3 {
        let key = key(&format!("k{round}"));
        let claims = join_all((0..100).map(|_| keys.claim(&ctx, &key))).await;
        // The claims are held until all are counted: one that is dropped frees its key.
        let fresh = claims.iter().filter(|claim| matches!(claim, Ok(Claimed::Fresh(_)))).count();
        let waiting = claims.iter().filter(|claim| matches!(claim, Ok(Claimed::InFlight { .. }))).count();
        assert_eq!((fresh, waiting), (1, 99), "{claims:?}");
    }
}

#[tokio::test]
async fn an_answer_is_kept_sealed_and_given_to_repetitions_only() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let keys = keys(&test).await;
    let (within, unit) = fresh(&keys, &ctx, &key("k")).await;
    let busy = keys.claim(&ctx, &key("k")).await.unwrap();
    assert!(matches!(busy, Claimed::InFlight { retry_after } if retry_after <= MINUTE), "{busy:?}");
    let told = answer(r#"{"key":"pb_live_canary"}"#);
    keys.finish(&within, &key("k"), &unit, &told).await.unwrap();

    let again = keys.claim(&ctx, &key("k")).await.unwrap();
    assert!(matches!(&again, Claimed::Done(kept) if *kept == told), "{again:?}");
    let other = IdempotencyKey { fingerprint: [8; 32], ..key("k") };
    assert!(matches!(keys.claim(&ctx, &other).await.unwrap(), Claimed::Mismatch));

    let mut admin = test.admin().await;
    let stored: Vec<u8> =
        sqlx::query_scalar("select body from idempotency_keys").fetch_one(&mut admin).await.unwrap();
    assert!(!stored.windows(6).any(|part| part == b"canary"), "the answer stands in clear");
}

#[tokio::test]
async fn a_key_belongs_to_its_tenant_principal_and_route() {
    let test = TestDb::new().await;
    let keys = keys(&test).await;
    let alpha = test.ctx("alpha").await;
    let person = |ctx: &Ctx| Ctx {
        principal: Principal::Key { id: KeyId::new(Uuid::now_v7()), name: "k".into() },
        ..ctx.clone()
    };
    let route = IdempotencyKey { route: "POST /api/v1/keys".into(), ..key("k") };
    let beta = test.ctx("beta").await;
    let (one, two) = (person(&alpha), person(&alpha));
    let mut held = Vec::new();
    for (ctx, key) in [(&one, key("k")), (&two, key("k")), (&one, route), (&beta, key("k"))] {
        let (within, unit) = fresh(&keys, ctx, &key).await;
        keys.finish(&within, &key, &unit, &answer(&ctx.tenant.to_string())).await.unwrap();
        held.push(unit);
    }
    let again = keys.claim(&beta, &key("k")).await.unwrap();
    assert!(matches!(&again, Claimed::Done(kept) if *kept == answer(&beta.tenant.to_string())), "{again:?}");
}

#[tokio::test]
async fn a_claim_whose_holder_died_is_taken_over_and_its_late_finish_undoes_everything() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let short = keys(&test).await.with_spans(Duration::from_millis(50), DAY);
    let instances = PgInstances::new(test.db.clone(), test.audit());
    let (zombie, zombies_unit) = fresh(&short, &ctx, &key("k")).await;
    let written = instance("by-the-zombie");
    instances.insert(&zombie, &written, &Sealed(vec![])).await.unwrap();

    // It stands still for longer than its claim lasts.
    tokio::time::sleep(Duration::from_millis(60)).await;
    let (heir, unit) = fresh(&short, &ctx, &key("k")).await;
    let refused = short.finish(&zombie, &key("k"), &zombies_unit, &answer("zombie")).await;
    assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
    assert!(instances.find(&ctx, written.id).await.unwrap().is_none(), "the zombie's write was kept");

    let rightful = instance("by-the-heir");
    instances.insert(&heir, &rightful, &Sealed(vec![])).await.unwrap();
    // The zombie's clean-up must not free what is no longer its own.
    drop((zombie, zombies_unit));
    tokio::time::sleep(Duration::from_millis(50)).await;
    short.finish(&heir, &key("k"), &unit, &answer("heir")).await.unwrap();
    assert!(instances.find(&ctx, rightful.id).await.unwrap().is_some());
    let kept = short.claim(&ctx, &key("k")).await.unwrap();
    assert!(matches!(&kept, Claimed::Done(kept) if *kept == answer("heir")), "{kept:?}");
}

#[tokio::test]
async fn a_late_finish_that_nobody_forestalled_is_kept() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let short = keys(&test).await.with_spans(Duration::from_millis(10), DAY);
    let (within, unit) = fresh(&short, &ctx, &key("k")).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    short.finish(&within, &key("k"), &unit, &answer("late")).await.unwrap();
    assert!(matches!(short.claim(&ctx, &key("k")).await.unwrap(), Claimed::Done(_)));
}

#[tokio::test]
async fn a_dropped_claim_is_free_again_long_before_it_runs_out() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let keys = keys(&test).await;
    drop(fresh(&keys, &ctx, &key("k")).await);
    // A claim lasts 35 s; the clean-up is under way.
    for _ in 0..500 {
        if let Claimed::Fresh(_) = keys.claim(&ctx, &key("k")).await.unwrap() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still claimed after 5 s");
}

#[tokio::test]
async fn an_expired_answer_is_forgotten_and_cleared_away_in_batches() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let brief = keys(&test).await.with_spans(MINUTE, Duration::from_millis(1));
    for n in 0..25 {
        let key = key(&format!("k{n}"));
        let (within, unit) = fresh(&brief, &ctx, &key).await;
        brief.finish(&within, &key, &unit, &answer("old")).await.unwrap();
    }
    let lasting = keys(&test).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    // The key may be used anew, even for another request.
    let reused = IdempotencyKey { fingerprint: [9; 32], ..key("k24") };
    let (within, unit) = fresh(&lasting, &ctx, &reused).await;
    lasting.finish(&within, &reused, &unit, &answer("new")).await.unwrap();
    let (within, unit) = fresh(&lasting, &ctx, &key("another")).await;
    lasting.finish(&within, &key("another"), &unit, &answer("new")).await.unwrap();
    let mut admin = test.admin().await;
    let left: i64 =
        sqlx::query_scalar("select count(*) from idempotency_keys").fetch_one(&mut admin).await.unwrap();
    assert_eq!(left, 2, "expired answers were left behind");
}

mod with_redis_in_front {
    use application::ports::Vault;
    use patchbay_infrastructure::idempotency_cache::{CacheSettings, CachedIdempotency};
    use patchbay_infrastructure::limiter::RedisAddress;
    use redis::AsyncTypedCommands;
    use secrecy::SecretString;

    use super::*;

    struct Cached {
        test: TestDb,
        ctx: Ctx,
        store: CachedIdempotency<PgIdempotency>,
        prefix: String,
    }

    fn shared_url() -> SecretString {
        std::env::var("PATCHBAY_TEST_REDIS_URL")
            .expect("run by `cargo xtask test`, which starts a Redis")
            .into()
    }

    async fn cached(url: SecretString) -> Cached {
        let test = TestDb::new().await;
        let ctx = test.ctx("alpha").await;
        let vault: Arc<dyn Vault> = Arc::new(test.vault().await);
        let prefix = format!("test-{}", Uuid::new_v4().simple());
        let settings = CacheSettings {
            address: RedisAddress::parse(&url).unwrap(),
            prefix: prefix.clone(),
            timeout: Duration::from_secs(5),
        };
        let store = PgIdempotency::new(test.db.clone(), vault.clone());
        let store = CachedIdempotency::new(store, vault, settings).unwrap();
        Cached { test, ctx, store, prefix }
    }

    async fn claimed(cached: &Cached, key: &IdempotencyKey) -> (Ctx, Arc<dyn UnitOfWork>) {
        match cached.store.claim(&cached.ctx, key).await.unwrap() {
            Claimed::Fresh(unit) => (Ctx { unit: Some(unit.clone()), ..cached.ctx.clone() }, unit),
            other => panic!("{other:?}"),
        }
    }

    async fn redis() -> redis::aio::MultiplexedConnection {
        use secrecy::ExposeSecret;
        let client = redis::Client::open(shared_url().expose_secret()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    async fn only_entry(cached: &Cached) -> (String, Vec<u8>) {
        let mut redis = redis().await;
        let names = redis.keys(format!("{}:*", cached.prefix)).await.unwrap();
        assert_eq!(names.len(), 1, "{names:?}");
        let value: Vec<u8> = redis::cmd("GET").arg(&names[0]).query_async(&mut redis).await.unwrap();
        (names[0].clone(), value)
    }

    async fn forget_rows(cached: &Cached) {
        let mut admin = cached.test.admin().await;
        sqlx::query("delete from idempotency_keys").execute(&mut admin).await.unwrap();
    }

    #[tokio::test]
    async fn a_repetition_is_answered_without_postgresql_and_nothing_stands_in_clear() {
        let cached = cached(shared_url()).await;
        let (within, unit) = claimed(&cached, &key("the-clients-key")).await;
        let busy = cached.store.claim(&cached.ctx, &key("the-clients-key")).await.unwrap();
        assert!(matches!(busy, Claimed::InFlight { .. }), "{busy:?}");
        let told = answer("pb_live_canary");
        cached.store.finish(&within, &key("the-clients-key"), &unit, &told).await.unwrap();
        forget_rows(&cached).await;
        let again = cached.store.claim(&cached.ctx, &key("the-clients-key")).await.unwrap();
        assert!(matches!(&again, Claimed::Done(kept) if *kept == told), "{again:?}");

        let (name, value) = only_entry(&cached).await;
        let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        for secret in ["canary", "the-clients-key", "instances", &cached.ctx.tenant.to_string()] {
            assert!(!holds(name.as_bytes(), secret) && !holds(&value, secret), "{secret} stands in Redis");
        }
        let ttl = redis().await.pttl(&name).await.unwrap().raw();
        assert!((1..=600_000).contains(&ttl), "kept for {ttl} ms");
    }

    #[tokio::test]
    async fn what_does_not_open_or_fit_is_looked_up_in_postgresql() {
        let cached = cached(shared_url()).await;
        let (within, unit) = claimed(&cached, &key("k")).await;
        cached.store.finish(&within, &key("k"), &unit, &answer("true")).await.unwrap();
        let other = IdempotencyKey { fingerprint: [9; 32], ..key("k") };
        let mismatch = cached.store.claim(&cached.ctx, &other).await.unwrap();
        assert!(matches!(mismatch, Claimed::Mismatch), "{mismatch:?}");
        let (name, sealed) = only_entry(&cached).await;
        let mut tampered = sealed.clone();
        *tampered.last_mut().unwrap() ^= 1;
        for value in [tampered, b"d".to_vec(), vec![], b"f".to_vec(), sealed[..20].to_vec(), b"x".to_vec()] {
            let _: () =
                redis::cmd("SET").arg(&name).arg(&value).query_async(&mut redis().await).await.unwrap();
            let again = cached.store.claim(&cached.ctx, &key("k")).await.unwrap();
            assert!(matches!(&again, Claimed::Done(kept) if *kept == answer("true")), "{value:?}: {again:?}");
        }
    }

    #[tokio::test]
    async fn a_released_key_is_free_at_once() {
        let cached = cached(shared_url()).await;
        let (within, unit) = claimed(&cached, &key("k")).await;
        cached.store.release(&within, &key("k"), &unit).await.unwrap();
        claimed(&cached, &key("k")).await;
    }

    #[tokio::test]
    async fn without_redis_everything_is_as_without_the_cache() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = format!("redis://{}", listener.local_addr().unwrap());
        drop(listener);
        let cached = cached(nobody.into()).await;
        let (within, unit) = claimed(&cached, &key("k")).await;
        let busy = cached.store.claim(&cached.ctx, &key("k")).await.unwrap();
        assert!(matches!(busy, Claimed::InFlight { .. }), "{busy:?}");
        cached.store.finish(&within, &key("k"), &unit, &answer("true")).await.unwrap();
        let again = cached.store.claim(&cached.ctx, &key("k")).await.unwrap();
        assert!(matches!(&again, Claimed::Done(kept) if *kept == answer("true")), "{again:?}");
    }
}
