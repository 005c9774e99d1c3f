//! A run that maps anew what is stored does what the preview said, and asks nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use application::connections::Connections;
use application::limits::{LimitService, Quotas};
use application::ports::{MappingPreview, MappingStore, Replaced, Sources, SyncStore, UpstreamUse};
use application::sync::{SliceLimits, SyncEngine};
use chrono::TimeDelta;
use domain::record::{CustomFieldRecord, GoneRecord, TransitionRecord};
use domain::{Mappings, PageRecords, Quota, Run, RunId, RunState, StatusNorm};
use patchbay_infrastructure::clock::{SystemClock, SystemIds};
use patchbay_infrastructure::limiter::Limiter;
use patchbay_infrastructure::postgres::PgInstances;
use serde_json::json;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::mappings::mappings;
use super::tracker::{Tracker, map};
use super::{Fixture, at, item, items, page};

struct Engine {
    engine: SyncEngine,
    limits: Arc<LimitService>,
    asked: Arc<AtomicUsize>,
}

impl Engine {
    async fn new(fixture: &Fixture, pages: usize) -> Self {
        let tracker = Tracker::default();
        let asked = tracker.0.clone();
        let sources = Sources::default().with(tracker);
        let (db, audit) = (fixture.test.db.clone(), fixture.test.audit());
        let connections = Connections::new(
            Arc::new(PgInstances::new(db.clone(), audit)),
            Arc::new(fixture.test.vault().await),
            sources.clone(),
            Arc::new(fixture.mappings.clone()),
            Arc::new(SystemClock),
        );
        let limits = Arc::new(LimitService::new(Limiter::in_process(None), Quotas::default()));
        let slices = SliceLimits { pages, time: Duration::from_secs(600), ..SliceLimits::default() };
        let sync = super::PgSync::new(db, fixture.test.audit());
        let engine = SyncEngine::new(
            Arc::new(sync),
            connections,
            sources,
            Arc::new(SystemClock),
            Arc::new(SystemIds),
            limits.clone(),
            slices,
        );
        Self { engine, limits, asked }
    }

    /// Does slices until the run ends; how many that took.
    async fn run(&self, fixture: &Fixture, run: RunId) -> (Run, usize) {
        for slices in 1..=1_000 {
            self.engine.run_slice(&fixture.ctx, run, &CancellationToken::new()).await.unwrap();
            let now = fixture.sync.find(&fixture.ctx, run).await.unwrap().unwrap();
            if now.state.is_final() {
                return (now, slices);
            }
        }
        panic!("the run does not end");
    }
}

async fn replace(fixture: &Fixture, mappings: &Mappings) -> RunId {
    let run = RunId::new(Uuid::now_v7());
    let stored = fixture.mappings.replace(&fixture.ctx, fixture.instance, mappings, None, run).await.unwrap();
    assert!(matches!(stored, Replaced::Stored { run: Some(_), .. }), "{stored:?}");
    run
}

/// Raw objects of all sorts, as many as asked for, with a history.
fn varied(numbers: std::ops::RangeInclusive<u32>) -> PageRecords {
    let mut records = PageRecords::default();
    for n in numbers {
        let status = ["To Do", "Doing", "Done", "In Review"][n as usize % 4];
        let kind = ["Bug", "Incident"][n as usize % 2];
        let priority = ["P1", "P2", "P3"][n as usize % 3];
        let mut raw =
            json!({"number": n, "status": status, "f1": n % 13, "type": kind, "priority": priority});
        if n % 10 == 0 {
            raw["resolution"] = ["Won't Do", "Fixed"][n as usize / 10 % 2].into();
        }
        let item = map(&RawValue::from_string(raw.to_string()).unwrap(), None);
        records.transitions.push(TransitionRecord {
            item_ref_key: item.ref_key.clone(),
            source_id: format!("t{n}"),
            at: at(5) + TimeDelta::seconds(i64::from(n)),
            actor: None,
            from_original: Some("To Do".into()),
            from_norm: Some(StatusNorm::Todo),
            to_original: status.into(),
            to_norm: item.status_norm,
        });
        records.details_done.push(item.ref_key.clone());
        records.items.push(item);
    }
    records.custom_fields.push(CustomFieldRecord {
        source_id: "f1".into(),
        name: "Size".into(),
        field_type: "number".into(),
    });
    records
}

/// What differs in norms between two readings of the stored items, as a preview tells it.
async fn norms(fixture: &Fixture) -> Vec<String> {
    fixture
        .texts(
            "select format('%s status %s', source_key, status_norm) from work_items where deleted_at is null
             union all select format('%s type %s', source_key, type_norm) from work_items where deleted_at is null
             union all select format('%s priority %s', source_key, priority_norm) from work_items
             where deleted_at is null order by 1",
        )
        .await
}

fn changes(before: &[String], after: &[String]) -> Vec<String> {
    let mut counted = std::collections::BTreeMap::<String, i64>::new();
    for (before, after) in before.iter().zip(after).filter(|(before, after)| before != after) {
        let (field, from) = before.split_once(' ').unwrap().1.split_once(' ').unwrap();
        let to = after.rsplit(' ').next().unwrap();
        *counted.entry(format!("{field} {from} {to}")).or_default() += 1;
    }
    counted.into_iter().map(|(change, items)| format!("{change}: {items}")).collect()
}

fn told(preview: &MappingPreview) -> Vec<String> {
    let mut told: Vec<_> =
        preview.changes.iter().map(|c| format!("{} {} {}: {}", c.field, c.from, c.to, c.items)).collect();
    told.sort();
    told
}

#[tokio::test]
async fn a_remap_of_10_000_items_does_what_the_preview_said_without_a_request() {
    let fixture = Fixture::new().await;
    let key = fixture.slice().await;
    for first in (1..=10_000).step_by(1_000) {
        fixture.sync.commit_page(&fixture.ctx, &key, page(varied(first..=first + 999))).await.unwrap();
    }
    fixture.finish(&key).await;
    let engine = Engine::new(&fixture, 7).await;
    // Forth, to others, and back: each time from what the one before left.
    let other = Mappings {
        status: [("In Review".to_owned(), StatusNorm::Todo)].into(),
        resolution: [("Fixed".to_owned(), StatusNorm::Unknown)].into(),
        ..Mappings::default()
    };
    let untouched = norms(&fixture).await;
    let histories =
        "select format('%s %s %s', source_id, from_norm, to_norm) from work_item_transitions order by 1";
    let history = fixture.texts(histories).await;
    for (turn, mappings) in [mappings(), other, Mappings::default()].iter().enumerate() {
        let preview = fixture.mappings.preview(&fixture.ctx, fixture.instance, mappings).await.unwrap();
        let before = norms(&fixture).await;
        let run = replace(&fixture, mappings).await;
        let (run, slices) = engine.run(&fixture, run).await;
        assert_eq!((run.state, run.done, run.estimate), (RunState::Succeeded, 10_000, Some(10_000)));
        assert!(slices >= 3, "{slices} slices");
        assert_eq!(told(&preview), changes(&before, &norms(&fixture).await), "turn {turn}");
        assert_eq!(run.counts.transitions, preview.transitions, "turn {turn}");
        assert!(preview.items > 0 && preview.transitions > 0);
        // Story points come and stay; all else follows the norms.
        assert!(run.counts.upserted >= preview.items, "{:?}", run.counts);
        assert_eq!((run.counts.requests, engine.asked.load(Ordering::SeqCst)), (0, 0));
        let waiting = "select count(*) from work_item_details_pending";
        assert_eq!(fixture.count(waiting).await, 0, "details are read again");
        let nothing = fixture.mappings.preview(&fixture.ctx, fixture.instance, mappings).await.unwrap();
        assert_eq!(nothing, MappingPreview::default(), "turn {turn}");
    }
    assert_eq!(norms(&fixture).await, untouched, "back where it was");
    assert_eq!(fixture.texts(histories).await, history);
    assert_eq!(fixture.count("select count(*) from work_items where story_points is not null").await, 10_000);
    let spent =
        engine.limits.count_upstream(fixture.instance, Quota::per(1, 3_600, 1), UpstreamUse::Person).await;
    assert!(spent.is_ok(), "the budget was touched: {spent:?}");
}

#[tokio::test]
async fn a_remap_leaves_what_is_deleted_and_what_is_as_mapped() {
    let fixture = Fixture::new().await;
    let mut records = varied(1..=40);
    records.gone = vec![GoneRecord { item_ref_key: "ref-1".into(), reason: "deleted", proof: "404".into() }];
    fixture.store(page(records)).await;
    let engine = Engine::new(&fixture, 20).await;
    let (first, _) = engine.run(&fixture, replace(&fixture, &mappings()).await).await;
    assert_eq!((first.state, first.done), (RunState::Succeeded, 39));
    assert_eq!(
        fixture.texts("select source_key from work_items where deleted_at is not null").await,
        ["APP-1"]
    );
    let versions = "select xmin::text from work_items order by id";
    let before = fixture.texts(versions).await;
    let (again, _) = engine.run(&fixture, replace(&fixture, &mappings()).await).await;
    assert_eq!((again.counts.upserted, again.counts.unchanged, again.counts.transitions), (0, 39, 0));
    assert_eq!(fixture.texts(versions).await, before);
    // Read once more from the source with these mappings, nothing is new.
    let mut fetched = varied(2..=40);
    fetched.items = fetched.items.iter().map(|item| map(&item.raw, Some("f1"))).collect();
    mappings().apply(&mut fetched);
    let key = fixture.slice().await;
    let read = fixture.sync.commit_page(&fixture.ctx, &key, page(fetched)).await.unwrap();
    assert_eq!((read.counts.upserted, read.counts.unchanged, read.counts.transitions), (0, 39, 0));
}

#[tokio::test]
async fn an_item_that_is_only_mapped_in_another_way_is_written_but_its_details_are_not_read_again() {
    let fixture = Fixture::new().await;
    let mut records = varied(1..=4);
    fixture.store(page(std::mem::take(&mut records))).await;
    let mut fetched = varied(1..=4);
    fetched.details_done.clear();
    mappings().apply(&mut fetched);
    let key = fixture.slice().await;
    let read = fixture.sync.commit_page(&fixture.ctx, &key, page(fetched)).await.unwrap();
    assert_eq!((read.counts.upserted, read.counts.unchanged), (2, 2), "those no mapping speaks of stay");
    assert_eq!(fixture.count("select count(*) from work_item_details_pending").await, 0);
    let mut changed = item(1, "Done");
    changed.updated_at = at(20);
    fixture.sync.commit_page(&fixture.ctx, &key, items(vec![changed])).await.unwrap();
    assert_eq!(fixture.count("select count(*) from work_item_details_pending").await, 1);
}

#[tokio::test]
async fn a_remap_is_cancelled_between_two_pages_and_a_later_one_does_the_rest() {
    let fixture = Fixture::new().await;
    let key = fixture.slice().await;
    for first in [1, 1_001] {
        fixture.sync.commit_page(&fixture.ctx, &key, page(varied(first..=first + 999))).await.unwrap();
    }
    fixture.finish(&key).await;
    let engine = Engine::new(&fixture, 1).await;
    let run = replace(&fixture, &mappings()).await;
    engine.engine.run_slice(&fixture.ctx, run, &CancellationToken::new()).await.unwrap();
    let half = fixture.sync.find(&fixture.ctx, run).await.unwrap().unwrap();
    assert_eq!((half.state, half.done, half.estimate), (RunState::Queued, 500, Some(2_000)));
    assert_eq!(
        fixture.sync.request_cancel(&fixture.ctx, run).await.unwrap().unwrap().state,
        RunState::Cancelled
    );
    let (rest, slices) = engine.run(&fixture, replace(&fixture, &mappings()).await).await;
    assert_eq!((rest.state, rest.done, slices), (RunState::Succeeded, 2_000, 5));
    assert!(rest.counts.unchanged >= 500, "{:?}", rest.counts);
    let preview = fixture.mappings.preview(&fixture.ctx, fixture.instance, &mappings()).await.unwrap();
    assert_eq!(preview, MappingPreview::default());
}
