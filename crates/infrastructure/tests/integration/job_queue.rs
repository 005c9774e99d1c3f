//! What every job queue behind the port must keep.

use crate::support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use application::ports::{Job, JobHandler, JobOutcome, JobQueue};
use async_trait::async_trait;
use domain::{InstanceId, RunId, TenantId};
use patchbay_infrastructure::postgres::{GraphileQueue, QueueSettings};
use sqlx::Row;
use support::TestDb;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

fn job(instance: InstanceId) -> Job {
    Job::SyncSlice { tenant: TenantId::new(Uuid::now_v7()), instance, run: RunId::new(Uuid::now_v7()) }
}

fn an_instance() -> InstanceId {
    InstanceId::new(Uuid::now_v7())
}

#[derive(Default)]
struct Counting {
    done: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    takes: Duration,
    fails: bool,
}

#[async_trait]
impl JobHandler for Counting {
    async fn handle(&self, _: Job, _: CancellationToken) -> JobOutcome {
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        self.done.fetch_add(1, Ordering::SeqCst);
        if self.fails { JobOutcome::Retry("it failed".into()) } else { JobOutcome::Done }
    }
}

/// Works until so many jobs were handled, at most a minute.
async fn work(queue: &GraphileQueue, handler: Arc<Counting>, handled: usize) {
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (queue, handler, stop) = (queue.clone(), handler.clone(), stop.clone());
        async move { queue.run_worker(handler, 4, Duration::from_secs(5), stop).await }
    });
    for _ in 0..1200 {
        if handler.done.load(Ordering::SeqCst) >= handled {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Time for the queue to note the last outcome, and for a job too many to show.
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(handler.done.load(Ordering::SeqCst), handled);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_an_instance_run_one_at_a_time_and_those_of_others_beside_them() {
    let test = TestDb::new().await;
    let queue = GraphileQueue::new(test.db.clone(), QueueSettings::default());
    let (one, other) = (an_instance(), an_instance());
    for _ in 0..3 {
        queue.enqueue(&job(one), None).await.unwrap();
    }
    let handler = Arc::new(Counting { takes: Duration::from_millis(200), ..Counting::default() });
    work(&queue, handler.clone(), 3).await;
    assert_eq!(handler.most_at_once.load(Ordering::SeqCst), 1);

    queue.enqueue(&job(one), None).await.unwrap();
    queue.enqueue(&job(other), None).await.unwrap();
    let handler = Arc::new(Counting { takes: Duration::from_millis(800), ..Counting::default() });
    work(&queue, handler.clone(), 2).await;
    assert_eq!(handler.most_at_once.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_has_one_waiting_job_however_often_it_is_enqueued() {
    let test = TestDb::new().await;
    let queue = GraphileQueue::new(test.db.clone(), QueueSettings::default());
    let same = job(an_instance());
    for _ in 0..3 {
        queue.enqueue(&same, None).await.unwrap();
    }
    assert_eq!(queue.stats().await.unwrap().ready, 1);
    let Job::SyncSlice { run, .. } = same else { panic!("not the job that was enqueued") };
    queue.remove(run).await.unwrap();
    assert_eq!(queue.stats().await.unwrap().ready, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_waits_and_the_wait_is_stored() {
    let test = TestDb::new().await;
    let queue = GraphileQueue::new(test.db.clone(), QueueSettings::default());
    queue.enqueue(&job(an_instance()), None).await.unwrap();
    work(&queue, Arc::new(Counting { fails: true, ..Counting::default() }), 1).await;
    let row = sqlx::query(
        "select attempts::int, run_at > now() as later, locked_at is null as free from graphile_worker._private_jobs",
    )
    .fetch_one(&mut test.admin().await)
    .await
    .unwrap();
    assert_eq!(row.get::<i32, _>("attempts"), 1);
    assert!(row.get::<bool, _>("later"), "retried at once");
    assert!(row.get::<bool, _>("free"));
    assert_eq!(queue.stats().await.unwrap().scheduled, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_not_done_before_its_time() {
    let test = TestDb::new().await;
    let queue = GraphileQueue::new(test.db.clone(), QueueSettings::default());
    let later = chrono::DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    queue.enqueue(&job(an_instance()), Some(later)).await.unwrap();
    queue.enqueue(&job(an_instance()), None).await.unwrap();
    work(&queue, Arc::new(Counting::default()), 1).await;
    assert_eq!(queue.stats().await.unwrap().scheduled, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_role_can_neither_see_nor_forge_jobs() {
    let test = TestDb::new().await;
    let queue = GraphileQueue::new(test.db.clone(), QueueSettings::default());
    queue.enqueue(&job(an_instance()), None).await.unwrap();
    for role in ["patchbay_app", "patchbay_reader"] {
        let mut connection = test.connect(role).await;
        let seen =
            sqlx::query("select * from graphile_worker._private_jobs").fetch_all(&mut connection).await;
        assert!(seen.map_or(true, |rows| rows.is_empty()), "{role} sees jobs");
        let forged = sqlx::query("select graphile_worker.add_job('patchbay', '{}'::json)")
            .execute(&mut connection)
            .await;
        assert!(forged.is_err(), "{role} forged a job");
    }
}
