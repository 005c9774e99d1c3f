//! A huge backfill delays nobody's sync.

use std::time::Duration;

use application::slots::Slots;
use application::sync::SliceLimits;
use sqlx::Row;

use super::World;

/// Slices never end by themselves: what gives way does so for the others.
const ENDLESS: SliceLimits = SliceLimits {
    pages: usize::MAX,
    time: Duration::from_secs(24 * 60 * 60),
    first_wait: Duration::from_secs(2),
    max_failures: 10,
};
const SYNCED: &str = "select count(*) from sync_runs where kind = 'incremental' and state = 'succeeded'";

#[tokio::test(flavor = "multi_thread")]
async fn endless_backfills_in_every_slot_make_room_for_the_syncs_of_twenty_others() {
    let world = World::with(ENDLESS, 2).await;
    let hog = world.test.ctx("hog").await;
    let others = world.test.ctx("others").await;
    let mut endless = Vec::new();
    for n in 0..3 {
        endless.push(world.instance(&hog, &format!("endless-{n}")).await);
    }
    for n in 0..20 {
        world.instance(&others, &format!("quick-{n}")).await;
    }
    world.schedules.give_missing().await.unwrap();
    for instance in endless {
        world.runs.start_backfill(&hog, instance).await.unwrap();
    }
    let worker = world.work();
    world.wait_for("select count(*) from sync_runs where kind = 'backfill' and state = 'running'", 2).await;
    let busy = world.tracker.pages();
    world
        .execute(
            "update sync_schedules s set next_sync_at = now() from source_instances i
             where i.id = s.instance_id and i.slug like 'quick%'",
        )
        .await;
    assert_eq!(world.schedules.start_due().await.unwrap(), 20);
    world.wait_for(SYNCED, 20).await;
    let rows = sqlx::query(
        "select extract(epoch from started_at - created_at)::float8 from sync_runs
         where kind = 'incremental' order by 1",
    )
    .fetch_all(&mut world.test.admin().await)
    .await
    .unwrap();
    let waits: Vec<f64> = rows.iter().map(|row| row.get(0)).collect();
    println!("syncs began after {:.2} s (median) and {:.2} s (longest)", waits[10], waits[19]);
    // The backfills go on.
    let after = world.tracker.pages();
    assert!(after >= busy);
    for _ in 0..600 {
        if world.tracker.pages() > after + 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(world.tracker.pages() > after + 20, "the backfills stand still");
    world.end(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_backfills_share_two_slots() {
    let world = World::with(ENDLESS, 2).await;
    let ctx = world.test.ctx("acme").await;
    for n in 0..3 {
        let instance = world.instance(&ctx, &format!("endless-{n}")).await;
        world.runs.start_backfill(&ctx, instance).await.unwrap();
    }
    let worker = world.work();
    world.wait_for("select count(*) from sync_runs where started_at is not null", 3).await;
    world.end(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_gets_its_turns_though_syncs_would_fill_every_slot_for_ever() {
    let slots = Slots::new(2).with_patience(Duration::from_secs(2));
    let world = World::with_slots(ENDLESS, slots).await;
    let ctx = world.test.ctx("acme").await;
    for n in 0..4 {
        let instance = world.instance(&ctx, &format!("endless-{n}")).await;
        world.runs.start_sync(&ctx, instance).await.unwrap();
    }
    let worker = world.work();
    world
        .wait_for("select count(*) from sync_runs where kind = 'incremental' and state = 'running'", 2)
        .await;
    let instance = world.instance(&ctx, "endless-whole").await;
    world.runs.start_backfill(&ctx, instance).await.unwrap();
    world.wait_for("select count(*) from sync_runs where kind = 'backfill' and fence >= 3", 1).await;
    // And each of the syncs has had its own.
    world.wait_for("select count(*) from sync_runs where kind = 'incremental' and fence >= 2", 4).await;
    world.end(worker).await;
}
