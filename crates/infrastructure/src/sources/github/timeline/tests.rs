//! Timelines as recorded, and one of each kind of event.

use std::path::Path;
use std::process::Command;

use application::ports::ProjectRef;
use serde_json::{Value, json};

use super::*;

fn item(pull_request: bool) -> PendingItem {
    PendingItem {
        source_id: "1".into(),
        ref_key: "7#12".into(),
        source_key: "octo/hello#12".into(),
        project: ProjectRef { source_id: "7".into(), key: "octo/hello".into() },
        is_pull_request: pull_request,
        noted: None,
    }
}

fn read(item: &PendingItem, events: &Value) -> PageRecords {
    let text = events.to_string();
    let rows: Vec<&RawValue> = serde_json::from_str(&text).unwrap();
    let (mut records, mut people) = (PageRecords::default(), People::default());
    let mut timeline = Timeline::new(item, true);
    timeline.read(&rows, &mut records, &mut people);
    records.links = timeline.finish(&mut records);
    records
}

fn event(name: &str, id: u64, minute: u32, more: &Value) -> Value {
    let mut event = json!({"event": name, "id": id, "created_at": format!("2026-11-21T09:{minute:02}:00Z"),
        "actor": {"id": 1, "login": "ann", "type": "User"}, "source": null, "sub_issue": null, "parent_issue": null});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

fn moves(records: &PageRecords) -> Vec<(&str, StatusNorm, &str, StatusNorm)> {
    records
        .transitions
        .iter()
        .map(|t| {
            (t.from_original.as_deref().unwrap(), t.from_norm.unwrap(), t.to_original.as_str(), t.to_norm)
        })
        .collect()
}

#[test]
fn an_issue_moves_by_closing_and_reopening() {
    use StatusNorm::{Cancelled, Done, Todo};
    let events = json!([
        event("closed", 1, 1, &json!({"state_reason": null})),
        event("reopened", 2, 2, &json!({})),
        event("closed", 3, 3, &json!({"state_reason": "not_planned"})),
    ]);
    let records = read(&item(false), &events);
    assert_eq!(
        moves(&records),
        [("open", Todo, "closed", Done), ("closed", Done, "open", Todo), ("open", Todo, "closed", Cancelled)]
    );
}

#[test]
fn only_the_closing_that_merged_a_pull_request_is_its_merge() {
    use StatusNorm::{Cancelled, Done, InProgress};
    let events = json!([
        event("closed", 1, 1, &json!({})),
        event("reopened", 2, 2, &json!({})),
        event("merged", 3, 3, &json!({})),
        event("closed", 4, 3, &json!({})),
    ]);
    let records = read(&item(true), &events);
    assert_eq!(
        moves(&records),
        [
            ("open", InProgress, "closed", Cancelled),
            ("closed", Cancelled, "open", InProgress),
            ("open", InProgress, "merged", Done)
        ]
    );
}

#[test]
fn other_events_become_changes_with_field_and_values() {
    let events = json!([
        event("labeled", 1, 1, &json!({"label": {"name": "bug"}})),
        event("unlabeled", 2, 1, &json!({"label": {"name": "bug"}})),
        event("assigned", 3, 1, &json!({"assignee": {"id": 2, "login": "bob"}})),
        event("milestoned", 4, 1, &json!({"milestone": {"title": "1.0"}})),
        event("renamed", 5, 1, &json!({"rename": {"from": "a", "to": "b"}})),
        event("locked", 6, 1, &json!({"lock_reason": "spam"})),
        event("convert_to_draft", 7, 1, &json!({})),
        event("review_requested", 8, 1, &json!({"requested_team": {"name": "core"}})),
        event(
            "issue_type_changed",
            9,
            1,
            &json!({"issue_type": {"name": "Bug"}, "prev_issue_type": {"name": "Task"}})
        ),
        event("subscribed", 10, 1, &json!({})),
        json!({"event": "committed", "sha": "abc"}),
        json!({"event": "line-commented", "comments": []}),
    ]);
    let records = read(&item(false), &events);
    let changes: Vec<_> =
        records.changes.iter().map(|c| (c.field.as_ref(), c.from.as_deref(), c.to.as_deref())).collect();
    assert_eq!(
        changes,
        [
            ("label", None, Some("bug")),
            ("label", Some("bug"), None),
            ("assignee", None, Some("bob")),
            ("milestone", None, Some("1.0")),
            ("title", Some("a"), Some("b")),
            ("lock", None, Some("spam")),
            ("draft", Some("false"), Some("true")),
            ("reviewer", None, Some("core")),
            ("type", Some("Task"), Some("Bug")),
        ]
    );
    assert!(records.unmapped.is_empty(), "{:?}", records.unmapped);
}

#[test]
fn links_stand_as_the_last_event_left_them() {
    let other = |number: u64| json!({"number": number, "repository": {"id": 7, "full_name": "octo/hello"}});
    let far = json!({"number": 4, "html_url": "https://github.com/away/team/pull/4"});
    let events = json!([
        {"event": "cross-referenced", "created_at": "2026-11-21T09:00:00Z", "source": {"type": "issue", "issue": far}},
        event("sub_issue_added", 1, 1, &json!({"sub_issue": other(3)})),
        event("sub_issue_added", 2, 1, &json!({"sub_issue": other(5)})),
        event("sub_issue_removed", 3, 1, &json!({"sub_issue": other(3)})),
        event("blocked_by_added", 4, 1, &json!({"blocked_by": other(6)})),
        event("connected", 5, 1, &json!({})),
        {"event": "connected", "created_at": "2026-11-21T09:05:00Z", "source": {"type": "issue", "issue": far}},
        {"event": "disconnected", "created_at": "2026-11-21T09:06:00Z", "source": {"type": "issue", "issue": far}},
    ]);
    let links = read(&item(false), &events).links;
    // What is no longer connected is still mentioned.
    assert_eq!(links[2].type_original, "cross-referenced");
    let links: Vec<_> =
        links.iter().map(|l| (l.type_norm, l.to_key.as_str(), l.to_ref_key.as_deref())).collect();
    assert_eq!(
        links,
        [
            ("blocked_by", "octo/hello#6", Some("7#6")),
            ("parent_of", "octo/hello#5", Some("7#5")),
            ("relates", "away/team#4", None),
        ]
    );
}

#[test]
fn an_event_of_a_broken_shape_is_reported_and_the_rest_is_read() {
    let events = json!([
        {"event": "closed", "id": 1, "created_at": null},
        event("labeled", 2, 1, &json!({"label": null})),
        event("reopened", 3, 2, &json!({})),
    ]);
    let records = read(&item(false), &events);
    let broken: Vec<_> = records.unmapped.iter().map(|u| (u.source_id.as_str(), u.error.as_str())).collect();
    assert_eq!(broken, [("7#12/1", "`created_at` is null"), ("7#12/2", "`label` is missing")]);
    assert_eq!(records.transitions.len(), 1);
}

/// The developers' real data: every timeline of bitcoin-core/gui.
#[test]
fn the_real_timelines_give_every_close_and_reopen_once() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/github/bitcoin-core-gui.items.jsonl.gz");
    let Ok(true) = file.try_exists() else {
        println!("skipped: {} is not there", file.display());
        return;
    };
    let output = Command::new("gzip").arg("-dc").arg(&file).output().unwrap();
    let (mut events, mut closed, mut reopened, mut merged, mut broken) = (0, 0, 0, 0, 0);
    let mut ids = std::collections::HashSet::new();
    for line in std::str::from_utf8(&output.stdout).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let rows = row["events"].as_array().unwrap();
        events += rows.len();
        let records = read(&item(row["type"] == "pull"), &row["events"]);
        for transition in &records.transitions {
            assert!(ids.insert(transition.source_id.clone()), "{} came twice", transition.source_id);
            match transition.to_original.as_str() {
                "open" => reopened += 1,
                "merged" => (merged, closed) = (merged + 1, closed + 1),
                _ => closed += 1,
            }
        }
        broken += records.unmapped.len();
    }
    assert_eq!((events, closed, reopened, merged, broken), (19_604, 785, 58, 332, 0));
}
