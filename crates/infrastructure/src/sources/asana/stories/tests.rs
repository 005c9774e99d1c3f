use serde_json::json;

use super::*;

fn stories(list: &serde_json::Value) -> Vec<Story> {
    let mut list = list.clone();
    for (i, story) in list.as_array_mut().unwrap().iter_mut().enumerate() {
        story["gid"] = json!(format!("{}", 500 + i));
        story["created_at"] = json!(format!("2026-11-21T09:{:02}:00.000Z", i));
        story["created_by"] = json!({"gid": "7", "name": "Ann"});
    }
    serde_json::from_value(list).unwrap()
}

fn statuses(list: &serde_json::Value, mappings: &Mappings) -> Vec<(Option<String>, String)> {
    let mut records = PageRecords::default();
    map("1", &stories(list), mappings, &mut records);
    records.transitions.into_iter().map(|change| (change.from_original, change.to_original)).collect()
}

#[test]
fn completing_and_reopening_are_changes_of_status() {
    let list = json!([
        {"resource_subtype": "marked_complete"}, {"resource_subtype": "marked_complete"},
        {"resource_subtype": "marked_incomplete"}
    ]);
    let of = |from: &str, to: &str| (Some(from.to_owned()), to.to_owned());
    assert_eq!(
        statuses(&list, &Mappings::default()),
        [of("incomplete", "completed"), of("completed", "incomplete")]
    );
}

#[test]
fn sections_are_statuses_only_where_they_are_mapped() {
    let list = json!([
        {"resource_subtype": "section_changed", "old_section": {"gid": "1", "name": "Backlog"},
         "new_section": {"gid": "2", "name": "Doing"}},
        {"resource_subtype": "section_changed", "old_section": {"gid": "2", "name": "Doing"},
         "new_section": {"gid": "3", "name": "Somewhere"}},
        {"resource_subtype": "marked_complete"}
    ]);
    let mappings = Mappings {
        status: [("Doing".to_owned(), StatusNorm::InProgress), ("Backlog".to_owned(), StatusNorm::Todo)]
            .into(),
        ..Mappings::default()
    };
    let of = |from: &str, to: &str| (Some(from.to_owned()), to.to_owned());
    assert_eq!(
        statuses(&list, &mappings),
        [of("Backlog", "Doing"), of("Doing", "incomplete"), of("incomplete", "completed")]
    );
    assert_eq!(statuses(&list, &Mappings::default()), [of("incomplete", "completed")]);
    let never_moved = json!([{"resource_subtype": "marked_complete"}]);
    assert_eq!(
        statuses(&never_moved, &mappings),
        [(None, "completed".to_owned())],
        "its section is not told"
    );
}

#[test]
fn a_field_with_the_role_makes_changes_of_status() {
    let list = json!([{"resource_subtype": "enum_custom_field_changed", "custom_field": {"gid": "33", "name": "Stage"},
        "old_enum_value": {"gid": "1", "name": "Ready"}, "new_enum_value": {"gid": "2", "name": "In progress"}}]);
    let mappings = Mappings { fields: [("33".to_owned(), FieldRole::Status)].into(), ..Mappings::default() };
    assert_eq!(statuses(&list, &mappings), [(Some("Ready".to_owned()), "In progress".to_owned())]);
}

#[test]
fn comments_and_other_changes_are_told_apart() {
    let list = json!([
        {"type": "comment", "resource_subtype": "comment_added", "text": "Hello", "html_text": null},
        {"resource_subtype": "name_changed", "old_name": "A", "new_name": "B"},
        {"resource_subtype": "due_date_changed", "old_dates": null, "new_dates": {"due_on": "2026-11-30"}},
        {"resource_subtype": "date_custom_field_changed", "custom_field": {"gid": "36", "name": "Start"},
         "new_date_value": {"due_on": "2026-12-01"}},
        {"resource_subtype": "something_new", "text": "?"}
    ]);
    let mut records = PageRecords::default();
    map("1", &stories(&list), &Mappings::default(), &mut records);
    assert_eq!((records.comments.len(), records.comments[0].body.as_str()), (1, "Hello"));
    let changes: Vec<_> = records
        .changes
        .iter()
        .map(|change| (change.field.as_ref(), change.from.as_deref(), change.to.as_deref()))
        .collect();
    assert_eq!(
        changes,
        [
            ("title", Some("A"), Some("B")),
            ("due_on", None, Some("2026-11-30")),
            ("Start", None, Some("2026-12-01"))
        ]
    );
    assert_eq!(records.users.len(), 1);
}
