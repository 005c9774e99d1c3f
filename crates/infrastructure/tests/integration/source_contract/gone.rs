//! Items that are deleted, moved or hidden, and projects that refuse: what is stored in the end is what there is, and
//! nothing is deleted that was merely not shown.

use application::ports::ItemAddress;

use super::proxy::Answer;
use super::store::Installation;
use super::world::{Tracker, trackers};
use super::*;

/// The id and address of an item of the first project that hangs on no other: the last in order.
fn address(installation: &[(String, String)], name: &str) -> ItemAddress {
    let (id, key) = installation.iter().find(|(id, key)| id == name || key == name).unwrap();
    ItemAddress { source_id: Some(id.clone()), ref_key: None, key: Some(key.clone()) }
}

/// Leaves an item out of every list, and answers whoever asks for it by itself with this status.
fn hide(tracker: &Tracker, item: &ItemAddress, status: u16) {
    let (world, hidden) = (tracker.world.clone(), item.clone());
    tracker.proxy.before(move |asked| {
        world.asks_item(asked, &hidden).then(|| Answer::refusal(status, "you may not look at this"))
    });
    let (world, id) = (tracker.world.clone(), item.source_id.clone());
    tracker.proxy.after(move |_, answer| {
        answer.edit(|body| {
            if let Some(rows) = world.rows(body) {
                rows.retain(|row| world.row_id(row) != id);
            }
        });
    });
}

#[tokio::test]
async fn deleted_and_moved_items_are_found_by_a_comparison_and_nothing_else_is_lost() {
    for tracker in trackers().await {
        let installation = Installation::of(&tracker).await;
        installation.succeeds(RunKind::Backfill).await;
        let names: Vec<String> = tracker.there().into_keys().collect();
        tracker.world.delete(tracker.control(), &names[5]);
        let there = tracker.there();
        let mut moved = names.iter().skip(20).filter(|name| there.contains_key(*name));
        let moved = moved.find(|name| tracker.world.move_away(tracker.control(), name));
        assert!(moved.is_some(), "{}: nothing can be moved", tracker.name());
        installation.succeeds(RunKind::Incremental).await;
        installation.succeeds(RunKind::Reconcile).await;
        installation.assert_is(&tracker, "after a deletion and a move").await;
        let last = installation.run(RunKind::Reconcile).await;
        assert_eq!((last.counts.tombstoned, last.counts.upserted), (0, 0), "{}: it goes on", tracker.name());
    }
}

#[tokio::test]
async fn a_deleted_item_is_in_no_sweep_and_its_absence_is_told() {
    for tracker in trackers().await {
        let read = tracker.read(None, |_| ()).await;
        let (id, (name, _)) = read.items.iter().next_back().unwrap();
        let key = read.item(id).unwrap().source_key.clone();
        tracker.world.delete(tracker.control(), name);
        let swept = tracker.sweep().await.unwrap();
        assert!(!swept.contains(id), "{}: {key} is swept", tracker.name());
        assert_eq!(swept.len(), tracker.there().len(), "{}: more than that one is gone", tracker.name());
        let address = ItemAddress { source_id: Some(id.clone()), ref_key: None, key: Some(key) };
        let fetched = tracker.adapter.fetch_items(&tracker.connection, &[address]).await.unwrap();
        assert!(fetched.records.items.is_empty(), "{}", tracker.name());
        let told = fetched.records.gone.len() + fetched.invisible.len();
        assert_eq!(told, 1, "{}: {:?}", tracker.name(), fetched.invisible);
    }
}

#[tokio::test]
async fn an_item_that_may_not_be_looked_at_stays_as_it_is() {
    for tracker in trackers().await {
        let installation = Installation::of(&tracker).await;
        installation.succeeds(RunKind::Backfill).await;
        let stored = installation.keys().await;
        let name = tracker.there().into_keys().nth(3).unwrap();
        hide(&tracker, &address(&stored, &name), 403);
        installation.succeeds(RunKind::Reconcile).await;
        installation.assert_is(&tracker, "with an item that is forbidden").await;
    }
}

#[tokio::test]
async fn a_project_that_refuses_amid_a_run_is_named_and_its_items_stay() {
    for tracker in trackers().await {
        let installation = Installation::of(&tracker).await;
        installation.succeeds(RunKind::Backfill).await;
        let projects = tracker.adapter.list_projects(&tracker.connection).await.unwrap();
        let last = projects.last().unwrap().clone();
        for status in [403, 404] {
            for kind in [RunKind::Incremental, RunKind::Reconcile, RunKind::Backfill] {
                let (world, refused) = (tracker.world.clone(), last.clone());
                tracker.proxy.before(move |asked| {
                    let asks = world.asks_items(asked) && world.asks_project(asked, &refused);
                    asks.then(|| Answer::refusal(status, "you may not look at this project"))
                });
                let run = installation.run(kind).await;
                let what = format!("{}, {} answered with {status}", tracker.name(), kind.as_str());
                assert_eq!(run.state, RunState::Partial, "{what}: {run:?}");
                let error = run.error.expect(&what);
                assert!(!error.hint.is_empty() && !error.hint.contains(TOKEN), "{what}: {error:?}");
                installation.assert_is(&tracker, &what).await;
                tracker.proxy.clear();
            }
        }
        installation.succeeds(RunKind::Incremental).await;
        installation.assert_is(&tracker, "after the project is shown again").await;
    }
}
