//! Limits in a real Redis: the arithmetic, three replicas, a Redis that is gone, and what is kept for people.

use crate::redis_server;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use application::ports::{Decision, Limit, LimitKey, RateLimiter, UpstreamUse};
use domain::{InstanceId, Quota, TenantId};
use patchbay_infrastructure::limiter::{GCRA, Limiter, LimiterSettings, RedisAddress};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis_server::RedisServer;
use uuid::Uuid;

/// Of the server that all tests share.
fn shared_url() -> String {
    std::env::var("PATCHBAY_TEST_REDIS_URL").expect("run by `cargo xtask test`, which starts a Redis")
}

/// Settings for exact counts: nothing falls back because the machine is slow.
fn patient() -> LimiterSettings {
    LimiterSettings {
        prefix: format!("test-{}", Uuid::new_v4().simple()),
        command_timeout: Duration::from_secs(20),
        ..LimiterSettings::default()
    }
}

fn address(url: &str) -> RedisAddress {
    RedisAddress::parse(&url.to_owned().into()).unwrap()
}

fn tenant_limit(quota: &str) -> Limit {
    Limit { key: LimitKey::Tenant(TenantId::new(Uuid::new_v4())), quota: quota.parse().unwrap() }
}

fn sign_in() -> Limit {
    Limit { key: LimitKey::SignIn("192.0.2.1".into()), quota: "600/60s:100".parse().unwrap() }
}

async fn allowed(limiter: &Limiter, limits: &[Limit]) -> bool {
    matches!(limiter.take(limits).await, Decision::Allowed(_))
}

/// How many of `tries` are let through.
async fn let_through(limiter: &Limiter, limit: &Limit, tries: u32) -> u32 {
    let mut through = 0;
    for _ in 0..tries {
        through += u32::from(allowed(limiter, std::slice::from_ref(limit)).await);
    }
    through
}

async fn until(what: &str, within: Duration, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < within, "not {what} within {within:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The script in plain numbers, at the times at which it ran.
#[derive(Default)]
struct Model(std::collections::HashMap<usize, u64>);

impl Model {
    /// Cells are interval, burst and cost.
    fn take(&mut self, now: u64, cells: &[(usize, u64, u64, u64)], past_the_limit: bool) -> Vec<i64> {
        let mut after = Vec::new();
        let mut refused: Option<(usize, u64, u64)> = None;
        for (i, &(key, interval, burst, cost)) in cells.iter().enumerate() {
            let before = self.0.get(&key).copied().unwrap_or(now).clamp(now, now + 2 * burst * interval);
            let mut then = before + interval * cost;
            let too_early = then.saturating_sub(interval * burst + now);
            if too_early > refused.map_or(0, |(_, wait, _)| wait) {
                refused = Some((i + 1, too_early, before - now));
            }
            if past_the_limit {
                then = then.min(now + 2 * burst * interval);
            }
            after.push((key, then));
        }
        if let Some((number, wait, used)) = refused.filter(|_| !past_the_limit) {
            return [0, now, number as u64, wait, used].map(|n| n as i64).to_vec();
        }
        let mut answer = vec![1, now as i64];
        for (key, then) in after {
            self.0.insert(key, then);
            answer.push((then - now) as i64);
        }
        answer
    }
}

#[test]
fn redis_decides_as_the_model_does() {
    let client = redis::Client::open(shared_url()).unwrap();
    let connection = std::cell::RefCell::new(client.get_connection().unwrap());
    let script = redis::Script::new(GCRA);
    let cell = (0usize..3, 1u64..200_000, 1u64..20, 1u64..4);
    let step = (prop::collection::vec(cell, 1..4), prop::bool::weighted(0.1), 0u64..3);
    let steps = prop::collection::vec(step, 1..40);
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    runner
        .run(&steps, |steps| {
            let run = Uuid::new_v4().simple().to_string();
            let mut model = Model::default();
            for (mut cells, past_the_limit, pause) in steps {
                // A call names a key once.
                cells.sort_by_key(|cell| cell.0);
                cells.dedup_by_key(|cell| cell.0);
                std::thread::sleep(Duration::from_millis(pause));
                let mut call = script.prepare_invoke();
                call.arg(u8::from(past_the_limit));
                for (key, interval, burst, cost) in &cells {
                    call.key(format!("test:{{{run}}}:{key}"));
                    call.arg(interval).arg(interval * burst).arg(cost).arg(2 * interval * burst);
                }
                let answer: Vec<i64> = call.invoke(&mut *connection.borrow_mut()).unwrap();
                let now = u64::try_from(answer[1]).unwrap();
                let expected = model.take(now, &cells, past_the_limit);
                // Keys expire in whole milliseconds, when nothing of them is used any more: no difference to see.
                prop_assert_eq!(answer, expected, "{:?}", cells);
            }
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn keys_are_of_one_hash_slot_for_each_call_and_expire() {
    let settings = patient();
    let prefix = settings.prefix.clone();
    let limiter = Limiter::in_redis(address(&shared_url()), settings).await;
    let (tenant, principal) = (TenantId::new(Uuid::new_v4()), Uuid::new_v4());
    let quota: Quota = "60/60s:60".parse().unwrap();
    let limits =
        [LimitKey::Principal(tenant, principal), LimitKey::Tenant(tenant)].map(|key| Limit { key, quota });
    assert!(allowed(&limiter, &limits).await);
    let mut connection = redis::Client::open(shared_url()).unwrap().get_connection().unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("{prefix}:*")).query(&mut connection).unwrap();
    let counted: Vec<&String> = keys.iter().filter(|key| !key.contains("replicas")).collect();
    assert_eq!(counted.len(), 2, "{keys:?}");
    for key in &keys {
        let ttl: i64 = redis::cmd("PTTL").arg(key).query(&mut connection).unwrap();
        assert!(ttl > 0, "{key} never expires: {ttl}");
    }
    for key in counted {
        assert!(key.contains(&format!("{{t:{tenant}}}")), "{key} is not of its tenant's slot");
    }
}

// Security requirement 34: limits hold within 5 % across 3 replicas.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn three_replicas_let_through_what_one_would() {
    let settings = patient();
    let url = shared_url();
    let limit = tenant_limit("1000/10s:200");
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Limiter::in_redis(address(&url), settings.clone()).await);
    }
    let begun = Instant::now();
    let asking = replicas.into_iter().map(|replica| {
        let limit = limit.clone();
        tokio::spawn(async move {
            let mut through = 0u32;
            while begun.elapsed() < Duration::from_secs(4) {
                through += u32::from(allowed(&replica, std::slice::from_ref(&limit)).await);
            }
            through
        })
    });
    let through: u32 = futures::future::join_all(asking).await.into_iter().map(Result::unwrap).sum();
    let expected = 200.0 + 100.0 * begun.elapsed().as_secs_f64();
    let off = (f64::from(through) / expected - 1.0).abs();
    println!("{through} let through of {expected:.0}: off by {:.2} %", off * 100.0);
    assert!(off <= 0.05, "{through} were let through instead of {expected:.0}");
}

// Security requirement 34.
#[tokio::test]
async fn a_request_that_one_limit_refuses_is_counted_by_none() {
    let limiter = Limiter::in_redis(address(&shared_url()), patient()).await;
    let (tenant, principal) = (TenantId::new(Uuid::new_v4()), Uuid::new_v4());
    let wide = Limit { key: LimitKey::Tenant(tenant), quota: "10/3600s:10".parse().unwrap() };
    let narrow = Limit { key: LimitKey::Principal(tenant, principal), quota: "1/3600s:1".parse().unwrap() };
    assert!(allowed(&limiter, &[narrow.clone(), wide.clone()]).await);
    for _ in 0..20 {
        let Decision::Denied { state, retry_after } = limiter.take(&[narrow.clone(), wide.clone()]).await
        else {
            panic!("the key's limit did not hold")
        };
        assert_eq!(state.name, "key");
        assert!(retry_after > Duration::from_secs(3_000), "{retry_after:?}");
    }
    assert_eq!(let_through(&limiter, &wide, 20).await, 9, "refused requests were counted");
}

// Security requirement 34: the budget shared by sync and live tools, with a reserve for people.
#[tokio::test]
async fn a_sync_leaves_a_fifth_of_the_budget_for_people() {
    for limiter in [Limiter::in_redis(address(&shared_url()), patient()).await, Limiter::in_process(None)] {
        let instance = InstanceId::new(Uuid::new_v4());
        let budget: Quota = "100/3600s:100".parse().unwrap();
        let mut counted = [0u32; 2];
        for (who, counted) in [UpstreamUse::Sync, UpstreamUse::Person].into_iter().zip(&mut counted) {
            while let Decision::Allowed(_) = limiter.take_upstream(instance, budget, who, 1).await {
                *counted += 1;
            }
        }
        assert_eq!(counted, [80, 20]);
        // What was sent all the same is waited for.
        limiter.debit_upstream(instance, budget, 10).await;
        let Decision::Denied { state, retry_after } =
            limiter.take_upstream(instance, budget, UpstreamUse::Person, 1).await
        else {
            panic!("nothing was owed")
        };
        assert_eq!(state.name, "upstream");
        let eleven = budget.interval() * 11;
        assert!(retry_after > eleven - Duration::from_secs(30) && retry_after <= eleven, "{retry_after:?}");
    }
}

// Security requirement 35: without Redis configured, limits hold in this process and sign-ins are open.
#[tokio::test]
async fn without_redis_this_process_counts_alone() {
    let limiter = Limiter::in_process(None);
    assert_eq!(limiter.shared(), None);
    assert_eq!(let_through(&limiter, &tenant_limit("30/3600s:30"), 100).await, 30);
    assert!(allowed(&limiter, &[sign_in()]).await);
    let one_of_three = Limiter::in_process(NonZeroU32::new(3));
    assert_eq!(let_through(&one_of_three, &tenant_limit("30/3600s:30"), 100).await, 10);
}

/// Three replicas that know of each other.
async fn three(url: &str) -> Vec<Arc<Limiter>> {
    let settings = LimiterSettings { heartbeat: Duration::from_millis(100), ..LimiterSettings::default() };
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Limiter::in_redis(address(url), settings.clone()).await);
    }
    until("three replicas", Duration::from_secs(10), || replicas.iter().all(|one| one.replicas() == 3)).await;
    replicas
}

/// What requirement 35 asks of every way in which Redis can be gone.
async fn holds_without_redis(replicas: &[Arc<Limiter>], gone: Instant) {
    let limit = tenant_limit("90/3600s:90");
    // The first call that notices waits no longer than a command may take.
    for replica in replicas {
        assert!(allowed(replica, std::slice::from_ref(&limit)).await, "nothing goes without Redis");
    }
    let noticed = gone.elapsed();
    assert!(noticed < Duration::from_secs(1), "the local limiter took over after {noticed:?}");
    println!("the local limiters took over within {noticed:?}");
    let mut through = 0;
    let mut slowest = Duration::ZERO;
    for replica in replicas {
        for _ in 0..100 {
            let begun = Instant::now();
            through += u32::from(allowed(replica, std::slice::from_ref(&limit)).await);
            slowest = slowest.max(begun.elapsed());
        }
        assert_eq!(replica.shared(), Some(false));
        let Decision::Closed { retry_after } = replica.take(&[sign_in()]).await else {
            panic!("sign-ins are open without Redis")
        };
        assert!(!retry_after.is_zero());
    }
    assert_eq!(through + 3, 90, "the three shares are not the whole limit");
    println!("the slowest of 300 local decisions took {slowest:?}");
}

// Security requirement 35: local fallback within 1 s at limit/replicas, never unlimited, sign-ins closed.
#[tokio::test]
async fn a_killed_redis_is_replaced_within_a_second_and_taken_back_when_it_is_there_again() {
    let mut server = RedisServer::start().await;
    let replicas = three(&server.url()).await;
    assert!(allowed(&replicas[0], &[sign_in()]).await);
    server.kill();
    holds_without_redis(&replicas, Instant::now()).await;
    server.restart().await;
    until("taken back", Duration::from_secs(5), || replicas.iter().all(|one| one.shared() == Some(true)))
        .await;
    assert!(allowed(&replicas[0], &[sign_in()]).await);
    let limit = tenant_limit("30/3600s:30");
    let mut through = 0;
    for replica in &replicas {
        through += let_through(replica, &limit, 30).await;
    }
    assert_eq!(through, 30, "the replicas do not count together again");
    // The new server has seen each replica only now, one by one; the number known before is kept meanwhile.
    assert!(replicas.iter().all(|one| one.replicas() == 3));
}

// Security requirement 35.
#[tokio::test]
async fn a_redis_that_hangs_is_replaced_within_a_second() {
    let server = RedisServer::start().await;
    let replicas = three(&server.url()).await;
    server.pause();
    holds_without_redis(&replicas, Instant::now()).await;
    server.resume();
    until("taken back", Duration::from_secs(5), || replicas.iter().all(|one| one.shared() == Some(true)))
        .await;
}

// Security requirement 35: a process that starts without Redis is never unlimited, either.
#[tokio::test]
async fn a_process_that_finds_no_redis_counts_its_share() {
    let mut server = RedisServer::start().await;
    server.kill();
    let settings = LimiterSettings { replicas: NonZeroU32::new(3), ..LimiterSettings::default() };
    let limiter = Limiter::in_redis(address(&server.url()), settings).await;
    assert_eq!(limiter.shared(), Some(false));
    assert_eq!(let_through(&limiter, &tenant_limit("30/3600s:30"), 100).await, 10);
    assert!(matches!(limiter.take(&[sign_in()]).await, Decision::Closed { .. }));
    server.restart().await;
    until("found", Duration::from_secs(5), || limiter.shared() == Some(true)).await;
}

// Security requirement 57: no password in what is told.
#[tokio::test]
async fn a_refused_password_is_told_without_it() {
    let server = RedisServer::with_password("right-one").await;
    let wrong = server.url().replace("redis://", "redis://:wrong-one@");
    let problem = address(&wrong).check().await.unwrap_err();
    let told = format!("{problem} {problem:?} {:?}", address(&wrong));
    assert!(told.contains("127.0.0.1") && told.contains("refuses"), "{told}");
    assert!(!told.contains("wrong-one"), "{told}");
    address(&server.url().replace("redis://", "redis://:right-one@")).check().await.unwrap();
    let nonsense = RedisAddress::parse(&"postgres://secret@host".to_owned().into()).unwrap_err();
    assert!(!nonsense.to_string().contains("secret"), "{nonsense}");
}
