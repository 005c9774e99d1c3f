//! An instance is deleted while it is synced.

use std::time::Duration;

use application::ports::{InstanceStore, StoreError, SyncStore};
use domain::{RunId, RunKind};
use patchbay_infrastructure::postgres::PgInstances;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::postgres_sync::{Fixture, item, items};
use crate::support::run;

impl Fixture {
    /// Waits until as many connections wait for a lock.
    async fn waiting(&self, connections: i64) {
        const WAITING: &str = "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'";
        for _ in 0..500 {
            if self.count(WAITING).await >= connections {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{connections} connections do not wait for a lock after 10 s");
    }
}

/// Whoever works at a run locks the run, then the instance. A run that begins after who deletes has locked those there are
/// would be locked by its worker, who waits for the instance, while who deletes that waits for the run.
#[tokio::test]
async fn a_run_that_begins_while_its_instance_is_deleted_goes_with_it() {
    let fixture = Fixture::new().await;
    let ctx = fixture.test.ctx("alpha").await;
    let instance = fixture.instance(&ctx).await;
    let first = fixture.slice(&ctx, instance).await;
    fixture.sync.commit_page(&ctx, &first, items(vec![item(1, 1, "a")])).await.unwrap();
    fixture.finish(&ctx, &first).await;

    // Something that holds up who deletes, once the instance is locked.
    let mut hindrance = fixture.test.admin().await;
    run(&mut hindrance, "begin; select from raw_objects for update".into()).await;
    // A run that is not to be seen yet.
    let begun = RunId::new(Uuid::now_v7());
    let mut starter = fixture.test.admin().await;
    let insert = format!(
        "begin; insert into sync_runs (tenant_id, id, instance_id, kind, state)
         values ('{}', '{begun}', '{instance}', '{}', 'queued')",
        ctx.tenant.as_uuid(),
        RunKind::Incremental.as_str()
    );
    run(&mut starter, insert).await;

    let instances = PgInstances::new(fixture.test.db.clone(), fixture.test.audit());
    let ended = CancellationToken::new();
    let work = async {
        fixture.waiting(1).await;
        run(&mut starter, "commit".into()).await;
        let _ended = ended.clone().drop_guard();
        if let Some(slice) = fixture.sync.begin_slice(&ctx, begun).await? {
            fixture.sync.commit_page(&ctx, &slice.key, items(vec![item(2, 2, "b")])).await?;
        }
        Ok::<_, StoreError>(())
    };
    let let_go = async {
        // Who deletes for the hindrance, who works for who deletes; unless the work was done first.
        tokio::select! {
            () = fixture.waiting(2) => (),
            () = ended.cancelled() => (),
        }
        run(&mut hindrance, "commit".into()).await;
    };
    let (deleted, worked, ()) = tokio::join!(instances.delete(&ctx, instance), work, let_go);
    assert!(deleted.unwrap());
    // Between two of its transactions the worker holds nothing; then it finds its run gone.
    assert!(matches!(worked, Ok(()) | Err(StoreError::Fenced)), "{worked:?}");
    assert_eq!(fixture.count("select count(*) from sync_runs").await, 0);
    assert_eq!(fixture.count("select count(*) from work_items").await, 0);
    assert_eq!(fixture.count("select count(*) from raw_objects").await, 0);
}
