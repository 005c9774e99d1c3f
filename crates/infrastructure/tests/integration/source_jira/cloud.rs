//! Cloud, on DevLake's recorded board: 33 issues, their changelogs, sprints and worklogs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use domain::StatusNorm;

use super::*;

/// The column `data` of a recording, each row an object. Quoted fields hold commas, line breaks and doubled quotes.
fn recorded(folder: &Path, name: &str) -> Vec<Value> {
    let text =
        std::fs::read_to_string(folder.join("devlake").join(format!("_raw_jira_api_{name}.csv"))).unwrap();
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            '\r' if !quoted => {}
            other => field.push(other),
        }
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    let data = rows[0].iter().position(|name| name == "data").unwrap();
    rows[1..]
        .iter()
        .filter(|row| row.len() > data)
        .map(|row| serde_json::from_str(&row[data]).unwrap())
        .collect()
}

fn devlake(folder: &Path) -> Site {
    let issues = recorded(folder, "issues");
    let mut projects: BTreeMap<String, Value> = BTreeMap::new();
    for issue in &issues {
        let project = &issue["fields"]["project"];
        projects.insert(project["id"].as_str().unwrap().to_owned(), project.clone());
    }
    let field = |id: &str, name: &str, custom: &str| {
        json!({"id": id, "name": name, "custom": true, "schema": {"type": "array", "items": "json",
            "custom": format!("com.pyxis.greenhopper.jira:{custom}"), "customId": 1}})
    };
    Site {
        cloud: true,
        projects: projects.into_values().collect(),
        fields: vec![field("customfield_10020", "Sprint", "gh-sprint")],
        statuses: recorded(folder, "status"),
        boards: vec![
            json!({"id": 8, "name": "EE", "type": "scrum", "location": {"projectId": 10003}}),
            json!({"id": 9, "name": "Flow", "type": "kanban"}),
        ],
        sprints: BTreeMap::from([(8, recorded(folder, "sprints"))]),
        issues,
        page: 7,
        changes: 60,
        ..Site::default()
    }
}

#[tokio::test]
async fn the_recorded_board_is_read_exactly() {
    let Some(folder) = real_data() else { return };
    let site = devlake(&folder);
    let issues = site.issues.clone();
    let replay = Replay::start(site).await;
    let adapter = jira();
    let all = backfill(adapter.as_ref(), &connection(&replay.url, json!({}))).await;
    assert!(all.unmapped.is_empty(), "{:?}", all.unmapped);

    let ids = |rows: &[Value]| {
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let read: BTreeSet<String> = all.items.iter().map(|item| item.source_id.clone()).collect();
    assert_eq!(read, ids(&issues));
    assert_eq!((all.items.len(), all.projects.len()), (33, 2));

    // Every item of every change, as one record.
    let changes: usize = issues
        .iter()
        .flat_map(|issue| issue["changelog"]["histories"].as_array().unwrap())
        .map(|history| history["items"].as_array().unwrap().len())
        .sum();
    assert_eq!(all.transitions.len() + all.changes.len(), changes);
    let statuses = issues
        .iter()
        .flat_map(|issue| issue["changelog"]["histories"].as_array().unwrap())
        .flat_map(|history| history["items"].as_array().unwrap())
        .filter(|change| change["field"] == "status")
        .count();
    assert_eq!(all.transitions.len(), statuses);
    let histories: BTreeSet<&str> = all
        .transitions
        .iter()
        .map(|change| change.source_id.as_str())
        .chain(all.changes.iter().map(|change| change.source_id.as_str()))
        .filter_map(|id| id.split_once(':').map(|(history, _)| history))
        .collect();
    assert_eq!(histories.len(), 522);

    let sprints: BTreeSet<&str> = all.sprints.iter().map(|sprint| sprint.source_id.as_str()).collect();
    assert!(sprints.len() >= 30, "{}", sprints.len());
    assert_eq!((all.comments.len(), all.worklogs.len()), (8, 6));
    assert_eq!(all.comments_of.len(), 33);
    assert!(all.items.iter().any(|item| item.status_norm == StatusNorm::Done));
}

/// In which sprints each issue was at a moment, by going through its changelog and nothing else.
fn by_changelog(issue: &Value, at: DateTime<Utc>) -> BTreeSet<String> {
    let ids = |value: &Value| -> BTreeSet<String> {
        let text = value.as_str().unwrap_or_default();
        text.split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect()
    };
    let mut moves: Vec<(DateTime<Utc>, BTreeSet<String>, BTreeSet<String>)> = Vec::new();
    for history in issue["changelog"]["histories"].as_array().unwrap() {
        for change in history["items"].as_array().unwrap().iter().filter(|change| change["field"] == "Sprint")
        {
            moves.push((recorded_time(&history["created"]), ids(&change["from"]), ids(&change["to"])));
        }
    }
    moves.sort();
    let now: BTreeSet<String> = issue["fields"]["customfield_10020"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|sprint| sprint["id"].as_u64().unwrap().to_string())
        .collect();
    let first = moves.first().map_or(now, |(_, from, _)| from.clone());
    moves.iter().rev().find(|(moved, _, _)| *moved <= at).map_or(first, |(_, _, to)| to.clone())
}

fn recorded_time(value: &Value) -> DateTime<Utc> {
    DateTime::parse_from_str(value.as_str().unwrap(), "%Y-%m-%dT%H:%M:%S%.f%z").unwrap().into()
}

#[tokio::test]
async fn membership_in_sprints_is_what_the_changelog_says_at_every_moment() {
    let Some(folder) = real_data() else { return };
    let site = devlake(&folder);
    let issues = site.issues.clone();
    let replay = Replay::start(site).await;
    let adapter = jira();
    let all = backfill(adapter.as_ref(), &connection(&replay.url, json!({}))).await;
    assert_eq!(all.sprint_memberships_of.len(), 33);
    let mut checked = 0;
    for issue in &issues {
        let stays: Vec<_> =
            all.sprint_memberships.iter().filter(|stay| issue["id"] == *stay.item_ref_key).collect();
        assert!(stays.iter().all(|stay| stay.from_history), "{}", issue["key"]);
        let created = recorded_time(&issue["fields"]["created"]);
        let histories = issue["changelog"]["histories"].as_array().unwrap();
        let moments = histories.iter().map(|history| recorded_time(&history["created"])).chain([created]);
        for at in moments {
            let inside: BTreeSet<String> = stays
                .iter()
                .filter(|stay| stay.added_at <= at && stay.removed_at.is_none_or(|removed| removed > at))
                .map(|stay| stay.sprint_source_id.clone())
                .collect();
            assert_eq!(inside, by_changelog(issue, at), "{} at {at}", issue["key"]);
            checked += 1;
        }
    }
    assert!(checked > 500, "{checked}");
}

#[tokio::test]
async fn only_selected_projects_are_read_and_an_unknown_one_is_named() {
    let Some(folder) = real_data() else { return };
    let replay = Replay::start(devlake(&folder)).await;
    let adapter = jira();
    let all = backfill(adapter.as_ref(), &connection(&replay.url, json!({"projects": ["K5"]}))).await;
    assert_eq!(all.items.len(), 3);
    let error = adapter
        .list_projects(&connection(&replay.url, json!({"projects": ["EE", "NONE"]})))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.field.as_deref()),
        (SourceErrorKind::NotFound, Some("/settings/projects/1"))
    );
}

#[tokio::test]
async fn a_test_tells_account_version_permissions_projects_and_how_much_there_is() {
    let Some(folder) = real_data() else { return };
    let replay = Replay::start(devlake(&folder)).await;
    let adapter = jira();
    let settings = json!({"projects": ["EE", "K5", "NONE"]});
    let report = adapter.test_connection(&connection(&replay.url, settings)).await.unwrap();
    assert_eq!((report.account.as_str(), report.version.as_deref()), ("ann@example.com", Some("9.12.0")));
    assert_eq!(report.scopes, ["BROWSE_PROJECTS"]);
    assert_eq!(report.missing[0].scope, "ADMINISTER");
    let items: Vec<_> = report.projects.iter().map(|probe| (probe.key.as_str(), probe.items)).collect();
    assert_eq!(items, [("NONE", None), ("EE", Some(30)), ("K5", Some(3))]);
    assert_eq!((report.project_count, report.estimated_items, report.problems.len()), (2, Some(33), 1));
}

#[tokio::test]
async fn a_kept_issue_is_mapped_anew_without_a_request() {
    let Some(folder) = real_data() else { return };
    let replay = Replay::start(devlake(&folder)).await;
    let adapter = jira();
    let connection = connection(&replay.url, json!({}));
    let project = adapter.list_projects(&connection).await.unwrap().remove(0);
    let (read, _) = walk(adapter.as_ref(), &connection, "issues", Some(&project), None).await.unwrap();
    let raw: Vec<application::ports::RawObject> = read
        .items
        .iter()
        .map(|item| application::ports::RawObject {
            stream: StreamName::new("issues"),
            source_id: item.source_id.clone(),
            payload: item.raw.clone(),
        })
        .collect();
    let again = adapter.map_raw(&json!({}), &connection.mappings, &raw);
    assert_eq!(format!("{:?}", again.items), format!("{:?}", read.items));
    assert_eq!(again.links.len(), read.links.len());
}
