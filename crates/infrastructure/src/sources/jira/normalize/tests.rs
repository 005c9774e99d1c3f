use std::sync::Arc;

use domain::TypeNorm;
use serde_json::json;

use super::*;
use crate::sources::jira::fields::Schema;

const HOME: &str = "https://acme.atlassian.net";

fn issue(fields: &Value) -> Box<RawValue> {
    let mut all = json!({
        "summary": "Ship it", "project": {"id": "10000", "key": "ENG"},
        "created": "2026-11-20T09:15:03.123+0100", "updated": "2026-11-21T09:15:03.123+0000",
        "status": {"id": "3", "name": "In Review", "statusCategory": {"key": "indeterminate"}},
        "issuetype": {"name": "Story", "subtask": false, "hierarchyLevel": 0},
    });
    for (name, value) in fields.as_object().unwrap() {
        all[name] = value.clone();
    }
    let issue = json!({"id": "10001", "key": "ENG-1", "self": format!("{HOME}/rest/api/3/issue/10001"), "fields": all});
    RawValue::from_string(issue.to_string()).unwrap()
}

fn map_with(raw: &RawValue, home: &str, mappings: &Mappings) -> (PageRecords, Option<String>) {
    let fields = Fields::new(
        [
            ("customfield_10020", "Sprint"),
            ("customfield_10016", "Story Points"),
            ("customfield_10014", "Epic Link"),
        ]
        .map(|(id, name)| (id.to_owned(), name.to_owned())),
        [
            ("customfield_10020".to_owned(), schema("gh-sprint")),
            ("customfield_10014".to_owned(), schema("gh-epic-link")),
        ],
    );
    let mapper = Mapper { mappings, home: Some(home), fields: Some(&fields), has_details: true };
    let (mut records, mut people) = (PageRecords::default(), People::default());
    let mapped = mapper.issue(raw, &mut records, &mut people).unwrap();
    records.users = people.into_records();
    (records, mapped.epic_key)
}

fn schema(custom: &str) -> Schema {
    Schema { kind: "array".into(), items: None, custom: Some(format!("com.pyxis.greenhopper.jira:{custom}")) }
}

fn map(fields: &Value) -> ItemRecord {
    map_with(&issue(fields), HOME, &Mappings::default()).0.items.remove(0)
}

#[test]
fn times_days_and_estimates_are_what_they_say() {
    let item = map(&json!({
        "duedate": "2026-11-30", "resolutiondate": "2026-11-21T08:00:00.000-0500",
        "timeoriginalestimate": 28800, "timespent": 3600, "timeestimate": null,
    }));
    assert_eq!(item.created_at.to_rfc3339(), "2026-11-20T08:15:03.123+00:00");
    assert_eq!(item.resolved_at.unwrap().to_rfc3339(), "2026-11-21T13:00:00+00:00");
    assert_eq!(item.due_on.unwrap().to_string(), "2026-11-30");
    assert_eq!((item.estimate_s, item.spent_s, item.remaining_s), (Some(28800), Some(3600), None));
    assert_eq!(item.url, "https://acme.atlassian.net/browse/ENG-1");
    assert_eq!((item.status_norm, item.type_norm), (StatusNorm::InProgress, TypeNorm::Story));
}

#[test]
fn nulls_and_odd_values_where_none_are_promised_lose_no_issue() {
    let item = map(&json!({
        "summary": null, "status": null, "issuetype": null, "priority": {"name": 7}, "labels": "x", "assignee": {},
        "reporter": "someone", "fixVersions": null, "issuelinks": [7, {"type": {}}], "components": {"id": 1},
        "customfield_10016": "five", "customfield_10020": "?", "duedate": 5, "description": 7,
    }));
    assert_eq!((item.title.as_str(), item.status_original.as_str()), ("ENG-1", "unknown"));
    assert_eq!((item.status_norm, item.type_norm), (StatusNorm::Unknown, TypeNorm::Other));
    assert_eq!((item.story_points, item.due_on, item.body), (None, None, None));
    assert!(item.assignees.is_empty() && item.labels.is_empty());
}

#[test]
fn an_issue_that_cannot_be_kept_says_why() {
    let (mut records, mut people) = (PageRecords::default(), People::default());
    let mappings = Mappings::default();
    let mapper = Mapper { mappings: &mappings, home: Some(HOME), fields: None, has_details: false };
    for (fields, wrong) in [
        (json!({"updated": "soon"}), "`updated`"),
        (json!({"created": null}), "`created`"),
        (json!({"project": {"id": "1"}}), "`project`"),
    ] {
        let error = mapper.issue(&issue(&fields), &mut records, &mut people).err().unwrap();
        assert!(error.contains(wrong), "{error}");
    }
    assert!(records.items.is_empty());
}

#[test]
fn each_link_is_read_from_this_end_under_its_own_id() {
    let blocks = json!({"name": "Blocks", "inward": "is blocked by", "outward": "blocks"});
    let other = json!({"id": "10002", "key": "ENG-2"});
    let raw = issue(&json!({"issuelinks": [
        {"id": "1", "type": blocks, "outwardIssue": other}, {"id": 2, "type": blocks, "outwardIssue": other},
        {"id": "3", "type": blocks, "inwardIssue": {"id": "10003", "key": "OPS-3"}},
    ]}));
    let (records, _) = map_with(&raw, HOME, &Mappings::default());
    let told: Vec<_> = records
        .links
        .iter()
        .map(|l| (l.source_id.as_str(), l.type_norm, l.type_original.as_str(), l.to_ref_key.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            ("1", "blocks", "blocks", Some("10002")),
            ("2", "blocks", "blocks", Some("10002")),
            ("3", "blocked_by", "is blocked by", Some("10003")),
        ]
    );
    assert_eq!(records.links_of, ["10001"]);
}

#[test]
fn a_parent_is_told_by_its_id_or_looked_up_by_the_epics_key() {
    assert_eq!(map(&json!({"parent": {"id": "9", "key": "ENG-9"}})).parent_ref_key.as_deref(), Some("9"));
    let (records, epic) =
        map_with(&issue(&json!({"customfield_10014": "ENG-5"})), HOME, &Mappings::default());
    assert_eq!((records.items[0].parent_ref_key.as_deref(), epic.as_deref()), (None, Some("ENG-5")));
}

#[test]
fn what_an_issue_tells_of_its_sprints_and_people_is_kept() {
    let raw = issue(&json!({
        "customfield_10020": [{"id": 7, "name": "S 7", "state": "active", "boardId": 8}],
        "assignee": {"accountId": "a1", "displayName": "Ann"}, "reporter": {"name": "bo", "key": "JIRAUSER1"},
    }));
    let (records, _) = map_with(&raw, HOME, &Mappings::default());
    assert_eq!(records.sprints[0].source_id, "7");
    let people: Vec<_> =
        records.users.iter().map(|user| (user.source_id.as_str(), user.login.as_str())).collect();
    assert_eq!(people, [("JIRAUSER1", "bo"), ("a1", "Ann")]);
    assert_eq!(records.items[0].custom_fields["Sprint"], json!(["S 7"]));
}

#[test]
fn a_kept_issue_maps_to_the_same_item_without_jira() {
    let fields = json!({
        "customfield_10016": 3, "customfield_10020": [{"id": 7, "name": "S 7", "state": "active"}],
        "description": {"type": "doc", "version": 1, "content": []}, "labels": ["a", "a"],
        "components": [{"name": "API"}],
    });
    let raw = issue(&fields);
    for home in [HOME, "https://elsewhere.test"] {
        let (first, _) = map_with(&raw, home, &Mappings::default());
        let kept = Mapper { mappings: &Mappings::default(), home: None, fields: None, has_details: true };
        let (mut again, mut people) = (PageRecords::default(), People::default());
        kept.issue(&first.items[0].raw, &mut again, &mut people).unwrap();
        assert_eq!(format!("{:?}", first.items), format!("{:?}", again.items));
        assert_eq!(first.sprints, again.sprints);
        assert_eq!(again.items[0].labels, ["a"]);
    }
}

#[test]
fn fields_with_a_role_are_read_for_it() {
    let mut mappings = Mappings::default();
    for (id, role) in [("5", FieldRole::Priority), ("6", FieldRole::StartOn), ("7", FieldRole::StoryPoints)] {
        mappings.fields.insert(format!("customfield_{id}"), role);
    }
    let raw = issue(&json!({
        "customfield_5": {"value": "Highest"}, "customfield_6": "2026-11-01", "customfield_7": 8, "customfield_10016": 3,
        "priority": {"name": "Low"},
    }));
    let (records, _) = map_with(&raw, HOME, &Arc::new(mappings));
    let item = &records.items[0];
    assert_eq!((item.priority_norm, item.story_points), (PriorityNorm::Urgent, Some(8.0)));
    assert_eq!(item.start_on.unwrap().to_string(), "2026-11-01");
}

proptest::proptest! {
    /// Whatever the values of fields are, an issue is mapped or refused with a reason.
    #[test]
    fn no_value_of_any_field_makes_mapping_fail_badly(
        name in "(summary|status|issuetype|priority|labels|parent|issuelinks|fixVersions|duedate|description|customfield_10020|customfield_10016|assignee|project|created)",
        value in value(),
    ) {
        let (mut records, mut people) = (PageRecords::default(), People::default());
        let mappings = Mappings::default();
        let fields = Fields::new([("customfield_10020".to_owned(), "Sprint".to_owned())],
            [("customfield_10020".to_owned(), schema("gh-sprint"))]);
        let mapper = Mapper { mappings: &mappings, home: Some(HOME), fields: Some(&fields), has_details: true };
        let mapped = mapper.issue(&issue(&json!({name: value})), &mut records, &mut people);
        proptest::prop_assert_eq!(mapped.is_ok(), records.items.len() == 1);
    }
}

fn value() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zA-Z0-9 ,=\\[\\]ä-]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("(id|key|name|value|type|content|displayName|child)", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
