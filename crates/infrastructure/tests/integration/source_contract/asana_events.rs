//! What Asana's adapter rests on that other trackers have no like of: events of a project that tell of subtasks, too.

use super::store::Installation;
use super::world::trackers;
use super::*;

/// Its description says both: that events of a subtask reach its project, and that some may be missing.
#[test]
fn the_description_promises_events_of_subtasks_and_not_all_of_them() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/specs/asana.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("skipped: ../shared/specs is not here");
        return;
    };
    assert!(text.contains("listening to events on a project would include when stories are added to tasks in the project, and even to subtasks"));
    assert!(text.contains("a small number of events may be missing from the stream"));
    for field in ["html_notes", "html_text"] {
        assert!(text.contains(field), "{field}");
    }
}

#[tokio::test]
async fn a_subtask_whose_events_are_not_told_is_brought_by_the_next_comparison() {
    let tracker = trackers().await.into_iter().find(|tracker| tracker.world.source() == "asana").unwrap();
    let workspace = tracker.control().asana().remove(0);
    let parts: BTreeSet<String> =
        workspace.tasks.values().filter(|task| task.parent.is_some()).map(|task| task.gid.clone()).collect();
    let installation = Installation::of(&tracker).await;
    installation.succeeds(RunKind::Backfill).await;
    installation.succeeds(RunKind::Incremental).await;
    let hidden = parts.clone();
    tracker.proxy.after(move |asked, answer| {
        if asked.has("/events?") {
            answer.edit(|body| {
                let Some(events) = body.get_mut("data").and_then(Value::as_array_mut) else { return };
                let about = |event: &Value, what: &str| {
                    event[what]["gid"].as_str().is_some_and(|gid| hidden.contains(gid))
                };
                events.retain(|event| !about(event, "resource") && !about(event, "parent"));
            });
        }
    });
    let changed: Vec<String> = parts.into_iter().take(3).collect();
    tracker.world.touch(tracker.control(), &changed);
    tracker.world.delete(tracker.control(), &changed[0]);
    installation.succeeds(RunKind::Incremental).await;
    installation.succeeds(RunKind::Reconcile).await;
    installation.assert_is(&tracker, "after a comparison").await;
}
