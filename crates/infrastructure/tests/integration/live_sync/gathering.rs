//! Pages are read on while others are written, and what arrives meanwhile is written together.

use std::time::Duration;

use super::{World, support};

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_arrive_while_the_store_is_busy_are_written_together() {
    let world = World::new().await;
    let ctx = world.test.ctx("acme").await;
    let instance = world.instance(&ctx, "pages").await;
    let mut admin = world.test.admin().await;
    support::run(&mut admin, "begin; lock table work_items in share mode".into()).await;
    world.runs.start_backfill(&ctx, instance).await.unwrap();
    let worker = world.work();
    // The first is being written, and two wait; then reading waits as well.
    for _ in 0..600 {
        if world.tracker.pages() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.tracker.pages(), 3, "pages were read while the first could not be written");
    support::run(&mut admin, "rollback".into()).await;
    world.wait_for("select count(*) from sync_runs where state = 'succeeded'", 1).await;
    assert_eq!(world.tracker.pages(), 10, "each page is read once");
    assert_eq!(world.count("select count(*) from work_items").await, 1_000);
    let together = "select count(distinct xmin::text) from work_items where title in ('page 1', 'page 2')";
    assert_eq!(world.count(together).await, 1, "transactions of the two that waited");
    world.end(worker).await;
}
