//! What a page leaves in the tables.

use application::ports::{ListPage, PageCommit, RunFilter, StoreError, SyncStore};
use domain::record::{CommentRecord, GoneRecord, LabelRecord, TransitionRecord, UserRecord, UserRef};
use domain::{PageRecords, StatusNorm};
use serde_json::json;

use crate::postgres_sync::{Fixture, at, item, items, page};

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

/// The order of the list's key: in that of entry each page of it would read all that wait.
#[tokio::test]
async fn what_waits_is_listed_by_item_whenever_it_was_entered() {
    let fixture = Fixture::new().await;
    let ctx = fixture.test.ctx("alpha").await;
    let instance = fixture.instance(&ctx).await;
    let key = fixture.slice(&ctx, instance).await;
    fixture.sync.commit_page(&ctx, &key, items(vec![item(1, 1, "a"), item(2, 2, "b")])).await.unwrap();
    let read = PageRecords { details_done: vec!["1#1".into()], ..PageRecords::default() };
    fixture.sync.commit_page(&ctx, &key, page(read)).await.unwrap();
    let mut later = items(vec![item(1, 3, "a again")]);
    later.fetched_at = at(2000);
    fixture.sync.commit_page(&ctx, &key, later).await.unwrap();

    let mut walked = Vec::new();
    let mut last = None;
    loop {
        let pending = fixture.sync.pending_items(&ctx, instance, last, 1).await.unwrap();
        let Some(item) = pending.items.first() else { break };
        walked.push(item.ref_key.clone());
        last = pending.last;
    }
    assert_eq!(walked, ["1#1", "1#2"]);
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
