//! What a decision of the limiter costs, in this process and in Redis:
//! `cargo run --release -p patchbay-infrastructure --example limiter_cost -- redis://127.0.0.1:6379`

use std::sync::Arc;
use std::time::{Duration, Instant};

use application::ports::{Decision, Limit, LimitKey, RateLimiter, ToolClass};
use domain::{Quota, TenantId};
use patchbay_infrastructure::limiter::{Limiter, LimiterSettings, RedisAddress, RedisProblem};
use uuid::Uuid;

const DECISIONS: usize = 20_000;

#[tokio::main]
async fn main() -> Result<(), RedisProblem> {
    measure("in this process", &Limiter::in_process(None)).await;
    for url in std::env::args().skip(1) {
        let address = RedisAddress::parse(&url.into())?;
        address.check().await?;
        let settings =
            LimiterSettings { command_timeout: Duration::from_secs(1), ..LimiterSettings::default() };
        measure("in Redis", &Limiter::in_redis(address, settings).await).await;
    }
    Ok(())
}

/// A tool call's three limits, one call after the other and 16 at once.
async fn measure(where_: &str, limiter: &Arc<Limiter>) {
    let mut times = Vec::with_capacity(DECISIONS);
    let limits = limits();
    for _ in 0..DECISIONS {
        let begun = Instant::now();
        take(limiter, &limits).await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let at = |share: f64| micros(times[(times.len() as f64 * share) as usize]);
    println!("{where_}: p50 {:.1} µs, p99 {:.1} µs one after the other", at(0.5), at(0.99));
    let begun = Instant::now();
    let calls = (0..16).map(|_| {
        let limiter = limiter.clone();
        tokio::spawn(async move {
            let limits = self::limits();
            for _ in 0..DECISIONS / 16 {
                take(&limiter, &limits).await;
            }
        })
    });
    futures::future::join_all(calls).await;
    let each = micros(begun.elapsed()) / DECISIONS as f64;
    println!("{where_}: {each:.1} µs each, {:.0} in a second, 16 at once", 1e6 / each);
}

async fn take(limiter: &Limiter, limits: &[Limit]) {
    let decision = limiter.take(limits).await;
    assert!(matches!(decision, Decision::Allowed(_)), "{decision:?}");
}

fn limits() -> [Limit; 3] {
    let (tenant, principal) = (TenantId::new(Uuid::new_v4()), Uuid::new_v4());
    let keys = [
        LimitKey::Principal(tenant, principal),
        LimitKey::Tenant(tenant),
        LimitKey::Tool(ToolClass::Read, tenant, principal),
    ];
    keys.map(|key| Limit { key, quota: Quota::per(1_000_000_000, 60, 1_000_000_000) })
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
