//! Mappings as stored: the vocabulary, replacing them, and what follows for runs.

use application::ports::{MappingStore, NormChange, Replaced, SyncStore};
use domain::record::CustomFieldRecord;
use domain::{
    FieldRole, Mappings, PageRecords, PriorityNorm, RunId, RunKind, RunState, StatusNorm, TypeNorm,
};
use uuid::Uuid;

use super::{Fixture, item, items, page};

pub(super) fn mappings() -> Mappings {
    Mappings {
        status: [("Doing".to_owned(), StatusNorm::Done), ("To Do".to_owned(), StatusNorm::Todo)].into(),
        resolution: [("Won't Do".to_owned(), StatusNorm::Cancelled)].into(),
        item_type: [("Incident".to_owned(), TypeNorm::Bug)].into(),
        priority: [("P1".to_owned(), PriorityNorm::Urgent)].into(),
        fields: [("f1".to_owned(), FieldRole::StoryPoints)].into(),
    }
}

fn new_run() -> RunId {
    RunId::new(Uuid::now_v7())
}

async fn records(fixture: &Fixture, action: &'static str) -> i64 {
    sqlx::query_scalar("select count(*) from audit_log where action = $1")
        .bind(action)
        .fetch_one(&mut fixture.test.admin().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_vocabulary_tells_every_word_with_its_default_whatever_is_mapped() {
    let fixture = Fixture::new().await;
    let mut mapped = PageRecords {
        items: vec![item(1, "Doing"), item(2, "Doing"), item(3, "To Do")],
        custom_fields: vec![CustomFieldRecord {
            source_id: "f1".into(),
            name: "Size".into(),
            field_type: "number".into(),
        }],
        ..PageRecords::default()
    };
    mapped.items[2].resolution_original = Some("Won't Do".into());
    mappings().apply(&mut mapped);
    fixture.store(page(mapped)).await;
    let found = fixture.mappings.vocabulary(&fixture.ctx, fixture.instance).await.unwrap();
    let status: Vec<_> =
        found.status.iter().map(|w| (w.original.as_str(), w.items, w.defaults.join(","))).collect();
    assert_eq!(status, [("Doing", 2, "in_progress".to_owned()), ("To Do", 1, "todo".to_owned())]);
    assert_eq!(
        (found.resolution[0].original.as_str(), &*found.resolution[0].defaults),
        ("Won't Do", &["todo".to_owned()][..])
    );
    assert_eq!((found.item_type.len(), found.priority.len()), (1, 1));
    assert_eq!(found.fields[0].name, "Size");
    // Another tenant finds nothing.
    let other = fixture.test.ctx("beta").await;
    assert_eq!(fixture.mappings.vocabulary(&other, fixture.instance).await.unwrap(), Default::default());
    assert!(fixture.mappings.versioned(&other, fixture.instance).await.unwrap().is_none());
}

#[tokio::test]
async fn mappings_are_replaced_as_a_whole_with_one_record_and_a_run() {
    let fixture = Fixture::new().await;
    let (ctx, instance) = (&fixture.ctx, fixture.instance);
    let run = new_run();
    let stored = fixture.mappings.replace(ctx, instance, &mappings(), Some(1), run).await.unwrap();
    assert_eq!(stored, Replaced::Stored { version: 2, run: Some(run) });
    assert_eq!(fixture.mappings.versioned(ctx, instance).await.unwrap(), Some((mappings(), 2)));
    assert_eq!(records(&fixture, "mapping.update").await, 1);
    let started = fixture.sync.find(ctx, run).await.unwrap().unwrap();
    assert_eq!((started.kind, started.state), (RunKind::Remap, RunState::Queued));
    assert_eq!(fixture.count("select count(*) from graphile_worker._private_jobs").await, 1);
    // Who did not see that changes nothing.
    let late =
        fixture.mappings.replace(ctx, instance, &Mappings::default(), Some(1), new_run()).await.unwrap();
    assert_eq!(late, Replaced::Stale { version: 2 });
    assert_eq!(fixture.mappings.find(ctx, instance).await.unwrap(), mappings());
    assert_eq!(records(&fixture, "mapping.update").await, 1);
    let other = fixture.test.ctx("beta").await;
    let foreign =
        fixture.mappings.replace(&other, instance, &Mappings::default(), None, new_run()).await.unwrap();
    assert_eq!(foreign, Replaced::Unknown);
    fixture.mappings.replace(ctx, instance, &Mappings::default(), None, new_run()).await.unwrap();
    assert!(fixture.mappings.find(ctx, instance).await.unwrap().is_default());
}

#[tokio::test]
async fn mappings_changed_during_a_run_are_applied_when_it_has_ended_however_it_ends() {
    let fixture = Fixture::new().await;
    let (ctx, instance) = (&fixture.ctx, fixture.instance);
    let key = fixture.slice().await;
    let stored = fixture.mappings.replace(ctx, instance, &mappings(), None, new_run()).await.unwrap();
    assert_eq!(stored, Replaced::Stored { version: 2, run: None });
    assert_eq!(fixture.sync.active_run(ctx, instance).await.unwrap(), Some(key.run));
    fixture.finish(&key).await;
    let remap = fixture.sync.active_run(ctx, instance).await.unwrap().unwrap();
    assert_eq!(fixture.sync.find(ctx, remap).await.unwrap().unwrap().kind, RunKind::Remap);
    // Changed while that is queued, and cancelled: the next one follows, once.
    fixture.mappings.replace(ctx, instance, &Mappings::default(), None, new_run()).await.unwrap();
    fixture.sync.request_cancel(ctx, remap).await.unwrap();
    let next = fixture.sync.active_run(ctx, instance).await.unwrap().unwrap();
    assert_ne!(next, remap);
    fixture.sync.request_cancel(ctx, next).await.unwrap();
    assert_eq!(fixture.sync.active_run(ctx, instance).await.unwrap(), None);
}

#[tokio::test]
async fn a_preview_counts_items_by_what_would_change_and_writes_nothing() {
    let fixture = Fixture::new().await;
    let mut found: Vec<_> = (1..=30).map(|n| item(n, if n <= 20 { "Doing" } else { "To Do" })).collect();
    found[0].resolution_original = Some("Won't Do".into());
    found[1].priority_original = Some("P1".into());
    fixture.store(items(found)).await;
    let before = fixture.texts("select xmin::text from work_items order by id").await;
    let preview = fixture.mappings.preview(&fixture.ctx, fixture.instance, &mappings()).await.unwrap();
    assert_eq!(preview.items, 20);
    let changes: Vec<_> = preview
        .changes
        .iter()
        .map(|NormChange { field, from, to, items, .. }| format!("{items} {field} {from} {to}"))
        .collect();
    assert_eq!(
        changes,
        ["19 status in_progress done", "1 priority normal urgent", "1 status in_progress cancelled"]
    );
    assert_eq!(preview.changes[0].examples.len(), 10);
    assert_eq!(preview.changes[2].examples, ["APP-1"]);
    assert_eq!((preview.fields.len(), preview.fields[0].items), (1, 0));
    assert_eq!(fixture.texts("select xmin::text from work_items order by id").await, before);
    let nothing =
        fixture.mappings.preview(&fixture.ctx, fixture.instance, &Mappings::default()).await.unwrap();
    assert_eq!(nothing, Default::default());
}
