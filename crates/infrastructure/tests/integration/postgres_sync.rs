//! Runs and what they write, as the application role.

use crate::support;

use application::Ctx;
use application::ports::{
    Finish, InstanceStore, ListPage, NewRun, PageCommit, ProjectRef, RunFilter, SecretRef, SliceKey,
    StoreError, StreamCommit, SyncStore, Vault,
};
use chrono::{DateTime, TimeDelta, Utc};
use domain::record::{
    CommentRecord, GoneRecord, ItemRecord, LabelRecord, TransitionRecord, Unmapped, UserRecord, UserRef,
};
use domain::{
    Cursor, Instance, InstanceId, InstanceStatus, PageRecords, PriorityNorm, RunId, RunKind, RunState, Slug,
    SourceKind, StatusNorm, StreamName, TypeNorm,
};
use patchbay_infrastructure::postgres::{PgInstances, PgSync};
use serde_json::json;
use serde_json::value::RawValue;
use sqlx::Row;
use support::TestDb;
use uuid::Uuid;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000 + seconds, 0).unwrap()
}

fn item(number: u32, updated: i64, title: &str) -> ItemRecord {
    let user = UserRef { source_id: "7".into(), name: "ada".into() };
    let raw = json!({"id": number, "title": title, "updated": updated}).to_string();
    ItemRecord {
        source_id: (1000 + number).to_string(),
        ref_key: format!("1#{number}"),
        source_key: format!("acme/app#{number}"),
        project_source_id: "1".into(),
        project_key: "acme/app".into(),
        type_norm: TypeNorm::Bug,
        type_original: "issue".into(),
        status_norm: StatusNorm::Todo,
        status_original: "open".into(),
        status_category: None,
        resolution_original: None,
        priority_norm: PriorityNorm::None,
        priority_original: None,
        title: title.into(),
        body: Some("body".into()),
        assignees: vec![user.clone()],
        reporter: Some(user),
        labels: vec!["bug".into(), format!("n{number}")],
        milestone_source_id: None,
        milestone: None,
        parent_ref_key: None,
        due_on: None,
        start_on: None,
        story_points: None,
        estimate_s: None,
        spent_s: None,
        remaining_s: None,
        homes: Vec::new(),
        url: format!("https://example.com/{number}"),
        created_at: at(0),
        updated_at: at(updated),
        resolved_at: None,
        custom_fields: json!({}),
        has_details: true,
        raw: RawValue::from_string(raw).unwrap(),
    }
}

struct Fixture {
    test: TestDb,
    sync: PgSync,
}

impl Fixture {
    async fn new() -> Self {
        let test = TestDb::new().await;
        let sync = PgSync::new(test.db.clone(), test.audit());
        Self { test, sync }
    }

    async fn instance(&self, ctx: &Ctx) -> InstanceId {
        let id = InstanceId::new(Uuid::now_v7());
        let instance = Instance {
            id,
            slug: Slug::of(&format!("i-{id}")),
            source: SourceKind::new("github"),
            name: "test".into(),
            base_url: "https://api.github.com".parse().unwrap(),
            settings: json!({}),
            status: InstanceStatus::Active,
            created_at: at(0),
            updated_at: at(0),
        };
        let sealed =
            self.test.vault().await.seal(ctx, SecretRef::InstanceCredential(id), b"{}").await.unwrap();
        PgInstances::new(self.test.db.clone(), self.test.audit())
            .insert(ctx, &instance, &sealed)
            .await
            .unwrap();
        id
    }

    async fn run(&self, ctx: &Ctx, instance: InstanceId, kind: RunKind) -> RunId {
        let run =
            NewRun { id: RunId::new(Uuid::now_v7()), instance_id: instance, kind, confirm_removals: false };
        self.sync.start(ctx, &run).await.unwrap();
        run.id
    }

    async fn slice(&self, ctx: &Ctx, instance: InstanceId) -> SliceKey {
        let run = self.run(ctx, instance, RunKind::Backfill).await;
        self.sync.begin_slice(ctx, run).await.unwrap().unwrap().key
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query(sql).fetch_one(&mut self.test.admin().await).await.unwrap().try_get(0).unwrap()
    }

    /// Ends the run so that the instance can have another.
    async fn finish(&self, ctx: &Ctx, key: &SliceKey) {
        let finish = Finish { state: RunState::Succeeded, error: None, instance_status: None };
        self.sync.finish(ctx, key, &finish).await.unwrap();
    }
}

fn page(records: PageRecords) -> PageCommit {
    PageCommit {
        stream: StreamCommit {
            stream: StreamName::new("issues"),
            project: "1".into(),
            cursor: Some(Cursor(json!({"since": "x"}))),
            complete: false,
            watermark: Some(at(500)),
            validator: None,
            seen: i64::try_from(records.len()).unwrap(),
            estimate: Some(10),
        },
        records,
        requests: 1,
        fetched_at: at(1000),
        end_slice: false,
    }
}

fn items(items: Vec<ItemRecord>) -> PageCommit {
    page(PageRecords { items, ..PageRecords::default() })
}

#[tokio::test]
async fn a_page_is_written_once_and_rows_that_are_as_stored_are_not_written_again() {
    let fixture = Fixture::new().await;
    let ctx = fixture.test.ctx("alpha").await;
    let instance = fixture.instance(&ctx).await;
    let key = fixture.slice(&ctx, instance).await;
    let first =
        fixture.sync.commit_page(&ctx, &key, items(vec![item(1, 1, "a"), item(2, 2, "b")])).await.unwrap();
    assert_eq!((first.counts.upserted, first.counts.unchanged), (2, 0));
    assert_eq!(fixture.count("select count(*) from work_item_labels").await, 4);
    assert_eq!(fixture.count("select count(*) from raw_objects").await, 2);
    assert_eq!(fixture.count("select count(*) from work_item_details_pending").await, 2);

    let versions = "select sum(xmin::text::bigint)::bigint from work_items";
    let before = fixture.count(versions).await;
    let second =
        fixture.sync.commit_page(&ctx, &key, items(vec![item(2, 2, "b"), item(1, 1, "a")])).await.unwrap();
    assert_eq!((second.counts.upserted, second.counts.unchanged), (0, 2));
    assert_eq!(fixture.count(versions).await, before, "a row that did not change was written");

    let mut changed = item(1, 9, "a better title");
    changed.labels = vec!["other".into()];
    let third = fixture.sync.commit_page(&ctx, &key, items(vec![changed])).await.unwrap();
    assert_eq!((third.counts.upserted, third.counts.unchanged), (1, 0));
    assert_eq!(fixture.count("select count(*) from work_item_labels where label = 'other'").await, 1);
    assert_eq!(fixture.count("select count(*) from work_item_labels").await, 3);
    let run = fixture.sync.find(&ctx, key.run).await.unwrap().unwrap();
    assert_eq!((run.counts.upserted, run.counts.unchanged, run.done, run.counts.requests), (3, 2, 5, 3));
}

#[tokio::test]
async fn of_two_versions_of_an_item_the_newer_stays_whatever_the_order() {
    let fixture = Fixture::new().await;
    let ctx = fixture.test.ctx("alpha").await;
    let instance = fixture.instance(&ctx).await;
    let key = fixture.slice(&ctx, instance).await;
    fixture.sync.commit_page(&ctx, &key, items(vec![item(1, 5, "new"), item(1, 3, "old")])).await.unwrap();
    assert_eq!(fixture.count("select count(*) from work_items where title = 'new'").await, 1);
    let late = fixture.sync.commit_page(&ctx, &key, items(vec![item(1, 4, "late")])).await.unwrap();
    assert_eq!(late.counts.upserted, 0);
    assert_eq!(fixture.count("select count(*) from work_items where title = 'new'").await, 1);
}

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
async fn the_same_source_ids_of_two_tenants_are_two_items() {
    let fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.test.ctx("alpha").await, fixture.test.ctx("beta").await);
    for ctx in [&alpha, &beta] {
        let instance = fixture.instance(ctx).await;
        let key = fixture.slice(ctx, instance).await;
        fixture.sync.commit_page(ctx, &key, items(vec![item(1, 1, "same")])).await.unwrap();
        // Neither can write for, or see, the other's run.
        let other = if ctx.tenant == alpha.tenant { &beta } else { &alpha };
        let foreign = fixture.sync.commit_page(other, &key, items(vec![item(2, 1, "foreign")])).await;
        assert!(matches!(foreign, Err(StoreError::Fenced)), "{foreign:?}");
        assert!(fixture.sync.find(other, key.run).await.unwrap().is_none());
        assert!(fixture.sync.begin_slice(other, key.run).await.unwrap().is_none());
        assert!(fixture.sync.request_cancel(other, key.run).await.unwrap().is_none());
    }
    assert_eq!(fixture.count("select count(*) from work_items").await, 2);
    let all = ListPage { limit: 50, cursor: None };
    assert_eq!(fixture.sync.list(&alpha, &RunFilter::default(), &all).await.unwrap().items.len(), 1);
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

/// Two pages in a row that tell of the same objects, the second later but for one user.
fn overlapping() -> [PageCommit; 2] {
    let user = |id: &str, login: &str, name: Option<&str>, as_of| UserRecord {
        source_id: id.into(),
        login: login.into(),
        name: name.map(str::to_owned),
        kind: "person",
        as_of: Some(at(as_of)),
    };
    let label = |color: &str| LabelRecord {
        project_source_id: "1".into(),
        source_id: "l1".into(),
        name: "bug".into(),
        color: Some(color.into()),
        description: None,
    };
    let first = PageRecords {
        users: vec![user("7", "ada", Some("Ada"), 1), user("8", "bob", None, 5)],
        labels: vec![label("red")],
        items: vec![item(1, 1, "a"), item(2, 2, "b")],
        ..PageRecords::default()
    };
    let second = PageRecords {
        users: vec![user("7", "ada-l", None, 2), user("8", "bobby", None, 3)],
        labels: vec![label("blue")],
        items: vec![item(2, 3, "b, moved"), item(3, 4, "c")],
        ..PageRecords::default()
    };
    [page(first), page(second)]
}

#[tokio::test]
async fn pages_that_are_written_together_leave_what_one_after_the_other_leaves() {
    let fixture = Fixture::new().await;
    let mut stored = Vec::new();
    for together in [false, true] {
        let ctx = fixture.test.ctx(if together { "together" } else { "apart" }).await;
        let instance = fixture.instance(&ctx).await;
        let key = fixture.slice(&ctx, instance).await;
        let [mut first, second] = overlapping();
        if together {
            first.join(second);
            fixture.sync.commit_page(&ctx, &key, first).await.unwrap();
        } else {
            fixture.sync.commit_page(&ctx, &key, first).await.unwrap();
            fixture.sync.commit_page(&ctx, &key, second).await.unwrap();
        }
        let rows: Vec<String> = sqlx::query_scalar(
            "select source_id || login || coalesce(name, '') || as_of from source_users where tenant_id = $1
             union all select name || color from labels where tenant_id = $1
             union all select source_id || title from work_items where tenant_id = $1 order by 1",
        )
        .bind(ctx.tenant.as_uuid())
        .fetch_all(&mut fixture.test.admin().await)
        .await
        .unwrap();
        stored.push(rows);
    }
    assert_eq!(stored[1], stored[0]);
    let told = stored[1].join(" ");
    for word in ["7ada-lAda", "8bob2026", "bugblue", "1002b, moved"] {
        assert!(told.contains(word), "{word} is not in {told}");
    }
}

#[tokio::test]
async fn details_of_an_item_leave_those_of_the_same_key_in_another_instance_alone() {
    let fixture = Fixture::new().await;
    let ctx = fixture.test.ctx("alpha").await;
    let comment = |id: &str| CommentRecord {
        source_id: id.into(),
        kind: "comment",
        item_ref_key: "1#1".into(),
        author: None,
        body: "hello".into(),
        url: format!("https://example.com/{id}"),
        path: None,
        created_at: at(2),
        updated_at: at(2),
    };
    let (one, other) = (fixture.instance(&ctx).await, fixture.instance(&ctx).await);
    let key = fixture.slice(&ctx, one).await;
    for key in [&key, &fixture.slice(&ctx, other).await] {
        let records = PageRecords {
            items: vec![item(1, 1, "a"), item(2, 2, "b")],
            comments: vec![comment("c1"), comment("c2")],
            ..PageRecords::default()
        };
        fixture.sync.commit_page(&ctx, key, page(records)).await.unwrap();
    }
    let records = PageRecords {
        comments: vec![comment("c2")],
        comments_of: vec!["1#1".into()],
        details_done: vec!["1#1".into()],
        ..PageRecords::default()
    };
    let done = fixture.sync.commit_page(&ctx, &key, page(records)).await.unwrap();
    assert_eq!(done.counts.comments, 0, "it is stored already");
    for (instance, comments, waiting) in
        [(one, vec!["c2"], vec!["1#2"]), (other, vec!["c1", "c2"], vec!["1#1", "1#2"])]
    {
        let stored: Vec<String> =
            sqlx::query_scalar("select source_id from comments where instance_id = $1 order by 1")
                .bind(instance.as_uuid())
                .fetch_all(&mut fixture.test.admin().await)
                .await
                .unwrap();
        assert_eq!(stored, comments);
        let pending = fixture.sync.pending_items(&ctx, instance, None, 10).await.unwrap().items;
        assert_eq!(pending.iter().map(|item| item.ref_key.as_str()).collect::<Vec<_>>(), waiting);
    }
}

#[tokio::test]
async fn details_take_the_item_off_the_list_and_a_gone_item_becomes_a_tombstone() {
    let fixture = Fixture::new().await;
    let ctx = fixture.test.ctx("alpha").await;
    let instance = fixture.instance(&ctx).await;
    let key = fixture.slice(&ctx, instance).await;
    fixture.sync.commit_page(&ctx, &key, items(vec![item(1, 1, "a"), item(2, 2, "b")])).await.unwrap();
    let pending = fixture.sync.pending_items(&ctx, instance, None, 1).await.unwrap();
    let next = fixture.sync.pending_items(&ctx, instance, pending.last, 10).await.unwrap();
    let waiting: Vec<_> = pending.items.iter().chain(&next.items).map(|item| item.ref_key.as_str()).collect();
    assert_eq!(waiting, ["1#1", "1#2"], "the second page goes on behind the first");
    let end = fixture.sync.pending_items(&ctx, instance, next.last, 10).await.unwrap();
    assert!(end.items.is_empty() && end.last.is_none(), "{end:?}");
    let user = UserRef { source_id: "7".into(), name: "ada".into() };
    let records = PageRecords {
        users: vec![UserRecord {
            source_id: "7".into(),
            login: "ada".into(),
            name: None,
            kind: "person",
            as_of: None,
        }],
        transitions: vec![TransitionRecord {
            item_ref_key: "1#1".into(),
            source_id: "e1".into(),
            at: at(3),
            actor: Some(user.clone()),
            from_original: Some("open".into()),
            from_norm: Some(StatusNorm::Todo),
            to_original: "closed".into(),
            to_norm: StatusNorm::Done,
        }],
        comments: vec![CommentRecord {
            source_id: "c1".into(),
            kind: "comment",
            item_ref_key: "1#1".into(),
            author: Some(user),
            body: "hello".into(),
            url: "https://example.com/c1".into(),
            path: None,
            created_at: at(2),
            updated_at: at(2),
        }],
        gone: vec![GoneRecord { item_ref_key: "1#2".into(), reason: "deleted", proof: "410".into() }],
        details_done: vec!["1#1".into(), "1#2".into()],
        ..PageRecords::default()
    };
    let done = fixture.sync.commit_page(&ctx, &key, page(records)).await.unwrap();
    assert_eq!((done.counts.transitions, done.counts.comments, done.counts.tombstoned), (1, 1, 1));
    assert!(fixture.sync.pending_items(&ctx, instance, None, 10).await.unwrap().items.is_empty());
    assert_eq!(fixture.count("select count(*) from work_items where delete_reason = 'deleted'").await, 1);
    fixture.finish(&ctx, &key).await;
    let (freshness, counts) = fixture.sync.freshness(&ctx, Some(instance)).await.unwrap().remove(0);
    assert_eq!(counts.items, 1, "a tombstone is not counted");
    assert!(freshness.synced_at.is_some() && freshness.backfilled_at.is_some());
    assert_eq!(fixture.count("select sum(created)::bigint from work_item_metrics_daily").await, 1);
}

#[tokio::test]
async fn a_note_of_what_an_item_was_before_is_not_given_back() {
    let fixture = Fixture::new().await;
    let ctx = fixture.test.ctx("alpha").await;
    let instance = fixture.instance(&ctx).await;
    let key = fixture.slice(&ctx, instance).await;
    let noted = |title: &str| {
        let mut commit = items(vec![item(1, 1, title)]);
        commit.records.details_noted.insert("1001".into(), json!({"times": [title]}));
        commit
    };
    let given =
        async || fixture.sync.pending_items(&ctx, instance, None, 10).await.unwrap().items.remove(0).noted;
    fixture.sync.commit_page(&ctx, &key, noted("a")).await.unwrap();
    assert_eq!(given().await, Some(json!({"times": ["a"]})));
    let note = "select noted from work_item_details_pending";
    let of_a: serde_json::Value =
        sqlx::query_scalar(note).fetch_one(&mut fixture.test.admin().await).await.unwrap();

    fixture.sync.commit_page(&ctx, &key, noted("b")).await.unwrap();
    assert_eq!(given().await, Some(json!({"times": ["b"]})));
    // As a worker leaves it that knows of no notes, and one that noted nothing of the content.
    for stale in [of_a, json!({"times": ["b"]})] {
        sqlx::query("update work_item_details_pending set noted = $1")
            .bind(&stale)
            .execute(&mut fixture.test.admin().await)
            .await
            .unwrap();
        assert_eq!(given().await, None, "{stale}");
    }
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
