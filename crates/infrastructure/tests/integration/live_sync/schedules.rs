//! Starting what is due.

use std::time::Duration;

use application::Error;
use application::schedules::ScheduleChange;
use chrono::{NaiveTime, TimeDelta};
use domain::RunKind;

use super::World;
use super::source::now;

const RUNS: &str = "select count(*) from sync_runs";

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_gets_the_usual_schedule_and_its_sync_is_due_an_interval_later() {
    let world = World::new().await;
    let ctx = world.test.ctx("acme").await;
    let instance = world.instance(&ctx, "core").await;
    assert!(world.schedules.get(&ctx, instance).await.unwrap().next_sync_at.is_none());
    world.schedules.give_missing().await.unwrap();
    let schedule = world.schedules.get(&ctx, instance).await.unwrap();
    assert_eq!((schedule.interval, schedule.paused), (Duration::from_secs(300), false));
    let wait = schedule.next_sync_at.unwrap() - now();
    assert!(wait > TimeDelta::minutes(4) && wait <= TimeDelta::seconds(331), "{wait}");
    // Its first backfill reads everything; it is not compared in the same night.
    let wait = schedule.next_reconcile_at.unwrap() - now();
    assert!(wait > TimeDelta::minutes(719) && wait < TimeDelta::hours(37), "{wait}");
    assert_eq!(world.schedules.start_due().await.unwrap(), 0);
    // A second look gives nothing anew.
    world.schedules.give_missing().await.unwrap();
    assert_eq!(world.schedules.get(&ctx, instance).await.unwrap(), schedule);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_starts_once_and_waits_while_a_run_is_unfinished() {
    let world = World::new().await;
    let ctx = world.test.ctx("acme").await;
    let instance = world.instance(&ctx, "core").await;
    world.schedules.give_missing().await.unwrap();
    world.execute("update sync_schedules set next_sync_at = now()").await;
    let (one, other) = tokio::join!(world.schedules.start_due(), world.schedules.start_due());
    assert_eq!(one.unwrap() + other.unwrap(), 1);
    assert_eq!(world.count(RUNS).await, 1);
    let next = world.schedules.get(&ctx, instance).await.unwrap().next_sync_at.unwrap();
    assert!(next > now() + TimeDelta::minutes(4), "the next one is due at {next}");
    // Due again, while the first one is unfinished.
    world.execute("update sync_schedules set next_sync_at = now()").await;
    assert_eq!(world.schedules.start_due().await.unwrap(), 0);
    assert_eq!(world.count(RUNS).await, 1);
    let worker = world.work();
    world.wait_for("select count(*) from sync_runs where state = 'succeeded'", 1).await;
    world.end(worker).await;
    assert_eq!(world.schedules.start_due().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_taken_and_not_started_is_due_again() {
    let world = World::new().await;
    let ctx = world.test.ctx("acme").await;
    world.instance(&ctx, "core").await;
    world.schedules.give_missing().await.unwrap();
    world.execute("update sync_schedules set next_sync_at = now()").await;
    // Whoever takes it dies.
    let taken = world.schedule_store.claim_due(10, Duration::from_millis(50)).await.unwrap();
    assert_eq!(taken.len(), 1);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(world.schedules.start_due().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_paused_disconnected_or_suspended_is_started() {
    let world = World::new().await;
    let ctx = world.test.ctx("acme").await;
    let instance = world.instance(&ctx, "core").await;
    world.schedules.give_missing().await.unwrap();
    let due = "update sync_schedules set next_sync_at = now(), next_reconcile_at = now()";
    let change = |paused| ScheduleChange {
        paused,
        interval: Duration::from_secs(60),
        reconcile_at: NaiveTime::from_hms_opt(3, 30, 0),
        jitter_percent: 0,
    };
    world.schedules.replace(&ctx, instance, &change(true)).await.unwrap();
    world.execute(due).await;
    assert_eq!(world.schedules.start_due().await.unwrap(), 0);
    world.schedules.replace(&ctx, instance, &change(false)).await.unwrap();
    world.execute(due).await;
    for (without, with) in [
        (
            "update source_instances set status = 'reconnect_required'",
            "update source_instances set status = 'active'",
        ),
        ("update source_instances set status = 'paused'", "update source_instances set status = 'active'"),
        ("update tenants set status = 'suspended'", "update tenants set status = 'active'"),
    ] {
        world.execute(without).await;
        assert_eq!(world.schedules.start_due().await.unwrap(), 0, "{without}");
        world.execute(with).await;
    }
    assert_eq!(world.schedules.start_due().await.unwrap(), 1);
    assert_eq!(world.count("select count(*) from audit_log where action = 'schedule.update'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_that_is_due_longer_comes_before_a_sync() {
    let world = World::new().await;
    let ctx = world.test.ctx("acme").await;
    let instance = world.instance(&ctx, "core").await;
    world.schedules.give_missing().await.unwrap();
    world
        .execute(
            "update sync_schedules set next_sync_at = now(), next_reconcile_at = now() - interval '1 minute'",
        )
        .await;
    let taken = world.schedule_store.claim_due(10, Duration::from_secs(60)).await.unwrap();
    assert_eq!((taken.len(), taken[0].kind, taken[0].instance), (1, RunKind::Reconcile, instance));
    let taken = world.schedule_store.claim_due(10, Duration::from_secs(60)).await.unwrap();
    assert_eq!((taken.len(), taken[0].kind), (1, RunKind::Incremental));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_asks_too_often_or_of_another_tenant_is_refused() {
    let world = World::new().await;
    let ctx = world.test.ctx("acme").await;
    let instance = world.instance(&ctx, "core").await;
    let change = ScheduleChange {
        paused: false,
        interval: Duration::from_secs(59),
        reconcile_at: None,
        jitter_percent: 0,
    };
    let refused = world.schedules.replace(&ctx, instance, &change).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    let stranger = world.test.ctx("globex").await;
    let change = ScheduleChange { interval: Duration::from_secs(60), ..change };
    let refused = world.schedules.replace(&stranger, instance, &change).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_is_that_of_the_instance_that_waits_longest() {
    let world = World::new().await;
    let ctx = world.test.ctx("acme").await;
    for name in ["one", "other"] {
        world.instance(&ctx, name).await;
    }
    world.schedules.give_missing().await.unwrap();
    world
        .execute(
            "update source_instances set synced_at = case slug when 'one' then now() else now() - interval '1 hour' end",
        )
        .await;
    let lags = world.schedules.longest_lags().await.unwrap();
    assert_eq!((lags.len(), lags[0].0.as_str()), (1, "scripted"));
    assert!((3_590..3_700).contains(&lags[0].1.as_secs()), "{lags:?}");
}
