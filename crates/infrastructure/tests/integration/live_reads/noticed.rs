//! What was read live is stored as a sync would, in both dialects, and only of the projects that syncs read.

use application::live::NoticedOutcome;
use application::ports::ListPage;
use sqlx::Row;

use super::*;
use crate::support::run;

impl World {
    /// As if a run had read the instance, which had no issues then.
    async fn backfilled(&self) {
        let ended = "insert into sync_runs (tenant_id, id, instance_id, kind, state, finished_at)
             select tenant_id, id, id, 'backfill', 'succeeded', now() from source_instances";
        run(&mut self.test.admin().await, ended.to_owned()).await;
    }

    /// What became of what was noticed: stored, current, left.
    async fn store(&self) -> (u64, u64, u64) {
        let NoticedOutcome { stored, current, left, dropped, failed } = self.service.store_noticed().await;
        assert!(failed.is_none(), "{failed:?}");
        assert_eq!(dropped, 0);
        (stored, current, left)
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query(sql).fetch_one(&mut self.test.admin().await).await.unwrap().get(0)
    }

    async fn select(&self, projects: Value) {
        let listed = self.instances.list(&self.ctx, &ListPage { limit: 10, cursor: None }).await.unwrap();
        let instance = listed.items.into_iter().next().unwrap();
        let instance = Instance { settings: json!({"projects": projects}), ..instance };
        assert!(self.instances.update(&self.ctx, &instance, None).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_live_is_stored_once_and_only_of_the_projects_that_are_synced() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        world.search("project = OPS").await.unwrap();
        assert_eq!(world.store().await, (0, 0, 9), "{deployment:?}: no run has read it yet");

        world.backfilled().await;
        let found = keys(&world.search("project = OPS").await.unwrap());
        world.issue(&world.ctx, "ENG-7").await.unwrap();
        assert_eq!((found.len(), world.store().await), (9, (10, 0, 0)), "{deployment:?}");
        assert_eq!(world.count("select count(*) from work_items").await, 10, "{deployment:?}");
        let histories = "select count(*) from work_item_transitions";
        assert!(world.count(histories).await > 0, "{deployment:?}: without their history");

        // As it is, it costs nothing but the read itself.
        let before = world.asked().len();
        world.search("project = OPS").await.unwrap();
        assert_eq!(world.store().await, (0, 9, 0), "{deployment:?}");
        assert_eq!(world.asked().len(), before + 1, "{deployment:?}: {:?}", world.asked());

        let touched = found[..2].to_vec();
        let touch = |keys: &[String]| {
            let changed = world.simulator.control().with_jira("acme", |site| site.touch_issues(keys));
            changed.unwrap().unwrap();
        };
        touch(&touched);
        world.search("project = OPS").await.unwrap();
        assert_eq!(world.store().await, (2, 7, 0), "{deployment:?}");

        // A project that is not synced any more by the time.
        touch(&["ENG-7".to_owned(), found[3].clone()]);
        world.issue(&world.ctx, "ENG-7").await.unwrap();
        world.issue(&world.ctx, "ENG-8").await.unwrap();
        world.issue(&world.ctx, &found[3]).await.unwrap();
        world.select(json!(["OPS"])).await;
        assert_eq!(world.store().await, (1, 0, 2), "{deployment:?}");
        assert_eq!(world.count("select count(*) from work_items").await, 10, "{deployment:?}");
    }
}
