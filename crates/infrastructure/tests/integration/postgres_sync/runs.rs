//! Runs, their slices and where they stand.

use application::ports::{Finish, ListPage, NewRun, ProjectRef, StoreError, SyncStore};
use chrono::TimeDelta;
use domain::record::Unmapped;
use domain::{Cursor, PageRecords, RunId, RunKind, RunState, StreamName};
use serde_json::json;
use uuid::Uuid;

use crate::postgres_sync::{Fixture, at, item, items, page};

#[tokio::test]
async fn a_worker_that_was_overtaken_writes_nothing() {
    let fixture = Fixture::new().await;
    let ctx = fixture.test.ctx("alpha").await;
    let instance = fixture.instance(&ctx).await;
    let zombie = fixture.slice(&ctx, instance).await;
    let successor = fixture.sync.begin_slice(&ctx, zombie.run).await.unwrap().unwrap().key;
    assert!(successor.fence > zombie.fence);
    let refused = fixture.sync.commit_page(&ctx, &zombie, items(vec![item(1, 1, "a")])).await;
    assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
    assert!(fixture.sync.should_stop(&ctx, &zombie).await.unwrap());
    assert!(!fixture.sync.should_stop(&ctx, &successor).await.unwrap());
    assert_eq!(fixture.count("select count(*) from work_items").await, 0);
    let finish = Finish { state: RunState::Succeeded, error: None, instance_status: None };
    assert!(matches!(fixture.sync.finish(&ctx, &zombie, &finish).await, Err(StoreError::Fenced)));
}

#[tokio::test]
async fn an_instance_has_one_unfinished_run_and_a_refused_start_leaves_no_job() {
    let fixture = Fixture::new().await;
    let ctx = fixture.test.ctx("alpha").await;
    let instance = fixture.instance(&ctx).await;
    let run = fixture.run(&ctx, instance, RunKind::Backfill).await;
    let jobs = "select count(*) from graphile_worker._private_jobs";
    assert_eq!(fixture.count(jobs).await, 1);
    let second = NewRun {
        id: RunId::new(Uuid::now_v7()),
        instance_id: instance,
        kind: RunKind::Incremental,
        confirm_removals: false,
    };
    assert!(matches!(fixture.sync.start(&ctx, &second).await, Err(StoreError::Conflict(_))));
    assert_eq!(fixture.count(jobs).await, 1, "the refused start enqueued a job");
    assert_eq!(fixture.sync.active_run(&ctx, instance).await.unwrap(), Some(run));

    let cancelled = fixture.sync.request_cancel(&ctx, run).await.unwrap().unwrap();
    assert_eq!(cancelled.state, RunState::Cancelled, "nobody had taken it");
    assert_eq!(fixture.count(jobs).await, 0, "its job stayed");
    assert!(fixture.sync.begin_slice(&ctx, run).await.unwrap().is_none());
    fixture.sync.start(&ctx, &second).await.unwrap();
}

#[tokio::test]
async fn the_position_moves_with_the_page_and_the_watermark_when_the_pass_is_complete() {
    let fixture = Fixture::new().await;
    let ctx = fixture.test.ctx("alpha").await;
    let instance = fixture.instance(&ctx).await;
    let key = fixture.slice(&ctx, instance).await;
    let projects = [ProjectRef { source_id: "1".into(), key: "acme/app".into() }];
    fixture.sync.set_projects(&ctx, &key, &projects).await.unwrap();
    let mut last = items(vec![item(1, 1, "a")]);
    last.end_slice = true;
    fixture.sync.commit_page(&ctx, &key, last).await.unwrap();
    assert_eq!(
        fixture.count("select count(*) from graphile_worker._private_jobs").await,
        1,
        "one continuation"
    );

    let slice = fixture.sync.begin_slice(&ctx, key.run).await.unwrap().unwrap();
    assert_eq!(slice.projects, projects);
    let state = &slice.streams[0];
    assert_eq!((state.complete, state.watermark, state.pass_watermark), (false, None, Some(at(500))));
    assert_eq!(state.cursor, Some(Cursor(json!({"since": "x"}))));
    let mut end = items(Vec::new());
    end.stream.cursor = None;
    end.stream.complete = true;
    end.stream.watermark = None;
    end.stream.validator = Some("etag".into());
    fixture.sync.commit_page(&ctx, &slice.key, end).await.unwrap();
    fixture.finish(&ctx, &slice.key).await;

    let next = fixture.run(&ctx, instance, RunKind::Incremental).await;
    let slice = fixture.sync.begin_slice(&ctx, next).await.unwrap().unwrap();
    let state = &slice.streams[0];
    assert_eq!((state.complete, state.watermark), (true, Some(at(500))), "where the next sync begins");
    assert_eq!(state.validator.as_deref(), Some("etag"));
    assert_ne!(state.run, Some(next), "the pass of an earlier run");
}

#[tokio::test]
async fn a_dead_letter_makes_the_run_partial_and_goes_when_the_object_can_be_mapped() {
    let fixture = Fixture::new().await;
    let ctx = fixture.test.ctx("alpha").await;
    let instance = fixture.instance(&ctx).await;
    let key = fixture.slice(&ctx, instance).await;
    let unmapped = Unmapped {
        stream: StreamName::new("issues"),
        source_id: "1001".into(),
        error: "`updated_at` is null".into(),
        raw: "{\"nul\": \"\u{0}\"}".into(),
    };
    let records = PageRecords { unmapped: vec![unmapped], ..PageRecords::default() };
    assert_eq!(fixture.sync.commit_page(&ctx, &key, page(records)).await.unwrap().counts.failed, 1);
    fixture.finish(&ctx, &key).await;
    let run = fixture.sync.find(&ctx, key.run).await.unwrap().unwrap();
    assert_eq!(run.state, RunState::Partial);
    let letters = ListPage { limit: 10, cursor: None };
    assert_eq!(fixture.sync.dead_letters(&ctx, key.run, &letters).await.unwrap().items.len(), 1);

    let key = fixture.slice(&ctx, instance).await;
    fixture.sync.commit_page(&ctx, &key, items(vec![item(1, 1, "mended")])).await.unwrap();
    fixture.finish(&ctx, &key).await;
    assert_eq!(fixture.count("select count(*) from sync_dead_letters").await, 0);
    assert_eq!(fixture.sync.find(&ctx, key.run).await.unwrap().unwrap().state, RunState::Succeeded);
}

#[tokio::test]
async fn a_waiting_run_has_a_time_and_its_job_is_due_then() {
    let fixture = Fixture::new().await;
    let ctx = fixture.test.ctx("alpha").await;
    let instance = fixture.instance(&ctx).await;
    let key = fixture.slice(&ctx, instance).await;
    let resume_at = at(0) + TimeDelta::days(3650);
    let why = domain::RunError { code: "source_unavailable".into(), hint: "down".into() };
    fixture.sync.suspend(&ctx, &key, resume_at, Some(&why), 2).await.unwrap();
    let run = fixture.sync.find(&ctx, key.run).await.unwrap().unwrap();
    assert_eq!((run.state, run.resume_at, run.error), (RunState::Waiting, Some(resume_at), Some(why)));
    let due = "select count(*) from graphile_worker._private_jobs where run_at > now() + interval '1 year'";
    assert_eq!(fixture.count(due).await, 1);
    // Taken up again, it is running and counts its failures until a page succeeds.
    let slice = fixture.sync.begin_slice(&ctx, key.run).await.unwrap().unwrap();
    assert_eq!((slice.failures, slice.run.state), (1, RunState::Running));
    fixture.sync.commit_page(&ctx, &slice.key, items(vec![item(1, 1, "a")])).await.unwrap();
    let slice = fixture.sync.begin_slice(&ctx, key.run).await.unwrap().unwrap();
    assert_eq!(slice.failures, 0);
}
