//! A storm of deliveries, measured: a thousand a second for half a minute, a fifth of them repetitions.
//!
//! ```text
//! cargo test --release -p patchbay-infrastructure --test integration -- --ignored --nocapture storm
//! ```

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::World;
use super::deliveries::{Hooked, item};

const SECONDS: u64 = 30;
const A_SECOND: u64 = 1_000;
/// What is sent at once; a timer is no finer.
const AT_ONCE: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: 30,000 deliveries in half a minute, whose figures depend on the machine; run with --ignored"]
async fn a_thousand_a_second_are_stored_once_and_applied_once() {
    let world = World::new().await;
    let hooked = Hooked::new(&world).await;
    for n in 0..500 {
        world.tracker.put(&n.to_string(), "x");
    }
    let worker = world.work();
    let mut clock = tokio::time::interval(Duration::from_millis(1_000 * AT_ONCE / A_SECOND));
    let mut sending = JoinSet::new();
    for first in (0..SECONDS * A_SECOND).step_by(usize::try_from(AT_ONCE).unwrap()) {
        clock.tick().await;
        for n in first..first + AT_ONCE {
            // Every fifth repeats the one before it.
            let incoming = hooked.delivery(&format!("d{}", n - n % 5 / 4), [item(&(n % 500).to_string())]);
            let webhooks = world.webhooks.clone();
            sending.spawn(async move {
                let sent = Instant::now();
                (webhooks.take_in(incoming).await.map(|answer| answer.outcome), sent.elapsed())
            });
        }
    }
    let (mut stored, mut repeated, mut refused, mut waits) = (0u64, 0u64, 0u64, Vec::new());
    while let Some(answer) = sending.join_next().await {
        let (outcome, wait) = answer.unwrap();
        waits.push(wait);
        match outcome {
            Ok("stored") => stored += 1,
            Ok(_) => repeated += 1,
            Err(_) => refused += 1,
        }
    }
    world.wait_for("select count(*) from webhook_deliveries where applied_at is null", 0).await;
    world.end(worker).await;
    waits.sort_unstable();
    let at = |percent: usize| waits[(waits.len() * percent / 100).min(waits.len() - 1)];
    let kept = world.count("select count(*) from webhook_deliveries").await;
    println!(
        "{} sent: {stored} stored, {repeated} repeated, {refused} refused; p50 {:?}, p99 {:?}, longest {:?}; {kept} kept \
         and applied",
        waits.len(),
        at(50),
        at(99),
        at(100)
    );
    assert_eq!((stored, repeated, refused), (24_000, 6_000, 0));
    assert_eq!(kept, 24_000);
}
