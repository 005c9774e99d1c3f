use domain::record::UserRef;
use domain::{FieldRole, PriorityNorm};
use serde_json::{Value, json};

use super::*;

fn task(change: &Value) -> (Task, Box<RawValue>) {
    let mut task = json!({
        "gid": "1200000000000000017", "name": "Ship \"it\"", "resource_subtype": "default_task", "completed": false,
        "completed_at": null, "created_at": "2026-11-20T09:15:03.123Z", "created_by": {"gid": "7"},
        "modified_at": "2026-11-21T09:15:03.123Z", "html_notes": "<body></body>",
        "assignee": {"gid": "8", "name": "Ann"}, "due_on": "2026-11-30", "due_at": null, "parent": null,
        "num_subtasks": 0, "permalink_url": "https://app.asana.com/0/1/1200000000000000017",
        "memberships": [
            {"project": {"gid": "1", "name": "Plan"}, "section": {"gid": "11", "name": "In review"}},
            {"project": {"gid": "2", "name": "Other"}, "section": {"gid": "21", "name": "Later"}}
        ],
        "tags": [{"gid": "5", "name": "risk"}], "dependencies": [{"gid": "90"}], "dependents": [{"gid": "91"}],
        "custom_fields": [
            {"gid": "31", "name": "Priority", "resource_subtype": "enum", "enum_value": {"gid": "311", "name": "High"}},
            {"gid": "32", "name": "Points", "resource_subtype": "number", "number_value": 5},
            {"gid": "33", "name": "Stage", "resource_subtype": "enum", "enum_value": {"gid": "331", "name": "Doing"}},
            {"gid": "34", "name": "Empty", "resource_subtype": "text", "text_value": ""},
            {"gid": "35", "name": "Points", "resource_subtype": "people", "people_value": [{"gid": "8", "name": "Ann"}]},
            {"gid": "36", "name": "Start", "resource_subtype": "date", "date_value": {"date": "2026-11-22", "date_time": null}}
        ]
    });
    for (key, value) in change.as_object().unwrap() {
        task[key] = value.clone();
    }
    let raw = serde_json::value::to_raw_value(&task).unwrap();
    (serde_json::from_str(raw.get()).unwrap(), raw)
}

fn map(change: &Value, mappings: &Mappings) -> ItemRecord {
    let (task, raw) = task(change);
    item(&task, &raw, "1", Some("Ben"), mappings, &mut People::default())
}

#[test]
fn a_task_becomes_a_work_item() {
    let item = map(&json!({}), &Mappings::default());
    assert_eq!(
        (item.source_id.as_str(), item.ref_key.as_str()),
        ("1200000000000000017", "1200000000000000017")
    );
    assert_eq!((item.project_source_id.as_str(), item.title.as_str()), ("1", "Ship \"it\""));
    assert_eq!(item.reporter, Some(UserRef { source_id: "7".into(), name: "Ben".into() }));
    assert_eq!(item.assignees[0].name, "Ann");
    assert_eq!(item.labels, ["risk"]);
    assert_eq!((item.priority_norm, item.priority_original.as_deref()), (PriorityNorm::High, Some("High")));
    assert_eq!(item.due_on.unwrap().to_string(), "2026-11-30");
    assert_eq!(item.story_points, None, "no field has the role");
    assert_eq!(
        item.custom_fields,
        json!({"Priority": "High", "Points": 5.0, "Stage": "Doing", "Points (35)": ["Ann"], "Start": "2026-11-22"})
    );
    let homes: Vec<_> =
        item.homes.iter().map(|home| (home.project_key.as_str(), home.section.as_deref())).collect();
    assert_eq!(homes, [("1", Some("In review")), ("2", Some("Later"))]);
}

#[test]
fn completion_is_the_status_unless_a_section_or_a_field_is_mapped() {
    use StatusNorm::{Cancelled, Done, InProgress, Todo};
    let none = Mappings::default();
    let section = Mappings {
        status: [("In review".to_owned(), InProgress), ("Later".to_owned(), Todo)].into(),
        ..Mappings::default()
    };
    let cancelling = Mappings { status: [("In review".to_owned(), Cancelled)].into(), ..Mappings::default() };
    let field = Mappings { fields: [("33".to_owned(), FieldRole::Status)].into(), ..Mappings::default() };
    for (mappings, completed, norm, original) in [
        (&none, false, Todo, "incomplete"),
        (&none, true, Done, "completed"),
        (&section, false, InProgress, "In review"),
        (&section, true, Done, "completed"),
        (&cancelling, true, Cancelled, "In review"),
        (&field, false, InProgress, "Doing"),
        (&field, true, Done, "completed"),
    ] {
        let item =
            map(&json!({"completed": completed, "completed_at": "2026-11-21T09:15:03.123Z"}), mappings);
        assert_eq!((item.status_norm, item.status_original.as_str()), (norm, original));
        assert_eq!(item.resolved_at.is_some(), completed);
    }
}

#[test]
fn roles_of_custom_fields_are_read() {
    let mappings = Mappings {
        fields: [("32".to_owned(), FieldRole::StoryPoints), ("36".to_owned(), FieldRole::StartOn)].into(),
        ..Mappings::default()
    };
    let item = map(&json!({}), &mappings);
    assert_eq!(item.story_points, Some(5.0));
    assert_eq!(item.start_on.unwrap().to_string(), "2026-11-22");
    let told = map(&json!({"start_on": "2026-11-01"}), &mappings);
    assert_eq!(told.start_on.unwrap().to_string(), "2026-11-01", "the task's own day comes first");
}

#[test]
fn types_come_from_the_subtype_and_the_place() {
    for (change, norm, original) in [
        (json!({}), TypeNorm::Task, "task"),
        (json!({"parent": {"gid": "3"}}), TypeNorm::Subtask, "subtask"),
        (json!({"resource_subtype": "milestone"}), TypeNorm::Milestone, "milestone"),
        (json!({"resource_subtype": "approval"}), TypeNorm::Task, "approval"),
        (
            json!({"resource_subtype": "custom", "custom_type": {"gid": "1", "name": "Bug"}}),
            TypeNorm::Bug,
            "Bug",
        ),
        (json!({"resource_subtype": "something_new"}), TypeNorm::Other, "something_new"),
    ] {
        let item = map(&change, &Mappings::default());
        assert_eq!((item.type_norm, item.type_original.as_str()), (norm, original), "{change}");
    }
}

#[test]
fn nulls_where_none_are_promised_do_not_fail_a_task() {
    let nulls = json!({
        "name": null, "resource_subtype": null, "completed": null, "memberships": null, "tags": null,
        "custom_fields": null, "html_notes": null, "num_subtasks": null, "permalink_url": null, "created_by": null,
        "dependencies": null, "dependents": null, "assignee": null
    });
    let (found, raw) = task(&nulls);
    let item = item(&found, &raw, "1", None, &Mappings::default(), &mut People::default());
    assert_eq!((item.title.as_str(), item.body, item.reporter), ("", None, None));
    assert_eq!(item.url, "https://app.asana.com/0/1/1200000000000000017");
    assert!(links(&found).is_none(), "what is not told is not taken for empty");
}

#[test]
fn a_kept_object_tells_its_project_and_maker_when_it_is_mapped_anew() {
    let (_, raw) = task(&json!({"memberships": []}));
    let kept = kept(&raw, "77", Some("Ben \"B\""));
    let again: Task = serde_json::from_str(kept.get()).unwrap();
    let noted = again.noted.unwrap();
    assert_eq!((noted.project.as_deref(), noted.reporter.as_deref()), (Some("77"), Some("Ben \"B\"")));
    assert!(kept.get().ends_with(&raw.get()[1..]));
    let empty = RawValue::from_string("{}".into()).unwrap();
    assert_eq!(super::kept(&empty, "1", None).get(), "{}");
}

#[test]
fn dependencies_are_links_both_ways() {
    let (task, _) = task(&json!({}));
    let links = links(&task).unwrap();
    let links: Vec<_> = links.iter().map(|link| (link.type_norm, link.to_key.as_str())).collect();
    assert_eq!(links, [("blocked_by", "90"), ("blocks", "91")]);
}
