//! Data Center, on the archive of a public tracker: wiki markup, users by key, offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::read::GzDecoder;

use super::*;

fn archived(folder: &Path, project: &str) -> Vec<Value> {
    let file = std::fs::File::open(folder.join(format!("titanium-{project}.jsonl.gz"))).unwrap();
    BufReader::new(GzDecoder::new(file))
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

fn titanium(folder: &Path) -> Site {
    let mut issues = Vec::new();
    let mut projects = Vec::new();
    for key in ["ALOY", "MOD", "DAEMON"] {
        let archived = archived(folder, key);
        projects.push(archived[0]["fields"]["project"].clone());
        issues.extend(archived);
    }
    Site { issues, projects, ..Site::default() }
}

#[tokio::test]
async fn the_archived_projects_are_read_exactly() {
    let Some(folder) = real_data() else { return };
    let site = titanium(&folder);
    let issues = site.issues.clone();
    let replay = Replay::start(site).await;
    let adapter = jira();
    let all = backfill(adapter.as_ref(), &connection(&replay.url, json!({}))).await;
    assert!(all.unmapped.is_empty(), "{:?}", all.unmapped.first());
    let expected: BTreeSet<&str> = issues.iter().map(|issue| issue["key"].as_str().unwrap()).collect();
    let read: BTreeSet<&str> = all.items.iter().map(|item| item.source_key.as_str()).collect();
    assert_eq!((read.len(), &read), (2_183, &expected));
    let comments: BTreeSet<&str> = all.comments.iter().map(|comment| comment.source_id.as_str()).collect();
    assert_eq!(comments.len(), 6_431);

    // Each end tells its links; one pair is linked twice by the same words, once in each direction.
    let mut links: BTreeSet<[String; 4]> = BTreeSet::new();
    for issue in &issues {
        for link in issue["fields"]["issuelinks"].as_array().into_iter().flatten() {
            let (words, other) = match link.get("outwardIssue") {
                Some(other) => (&link["type"]["outward"], other),
                None => (&link["type"]["inward"], &link["inwardIssue"]),
            };
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            links.insert([text(&issue["id"]), text(words), text(&other["key"]), text(&link["id"])]);
        }
    }
    let read: BTreeSet<_> = all
        .links
        .iter()
        .map(|link| {
            [&link.item_ref_key, &link.type_original, &link.to_key, &link.source_id].map(String::clone)
        })
        .collect();
    assert_eq!((read.len(), &read), (1_267, &links));

    let parents: BTreeMap<&str, &str> = issues
        .iter()
        .filter_map(|issue| Some((issue["id"].as_str()?, issue["fields"]["parent"]["id"].as_str()?)))
        .collect();
    let read: BTreeMap<&str, &str> = all
        .items
        .iter()
        .filter_map(|item| Some((item.source_id.as_str(), item.parent_ref_key.as_deref()?)))
        .collect();
    assert_eq!(read, parents);
    let described = issues
        .iter()
        .filter(|issue| issue["fields"]["description"].as_str().is_some_and(|text| !text.trim().is_empty()));
    let bodies = all.items.iter().filter(|item| item.body.is_some()).count();
    assert!(bodies + 10 >= described.count(), "{bodies} bodies");
}

#[tokio::test]
async fn all_ids_are_listed_in_pages() {
    let Some(folder) = real_data() else { return };
    let mut site = titanium(&folder);
    site.page = 200;
    let replay = Replay::start(site).await;
    let (adapter, connection) = (jira(), connection(&replay.url, json!({"projects": ["ALOY"]})));
    let project = adapter.list_projects(&connection).await.unwrap().remove(0);
    let (mut ids, mut cursor) = (BTreeSet::new(), None);
    loop {
        let page = adapter.list_ids(&connection, &project, cursor.as_ref()).await.unwrap();
        ids.extend(page.ids.into_iter().map(|id| id.source_id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(ids.len(), 1_499);
}

fn site(issues: Vec<Value>) -> Site {
    Site {
        issues,
        projects: vec![json!({"id": "10000", "key": "ENG", "name": "Engineering"})],
        page: 20,
        ..Site::default()
    }
}

#[tokio::test]
async fn issues_that_change_while_they_are_read_hide_no_others() {
    let issues = (1..=100).map(|n| issue(n, &format!("ENG-{n}"), &minute(n), &json!({}))).collect();
    let mut site = site(issues);
    let mut at = 0;
    site.fault = Some(Box::new(move |issues, path, _| {
        // With each page three issues that were read already move to the end.
        if path.ends_with("/search") && at < 30 {
            for (n, issue) in issues.iter_mut().enumerate().skip(at).take(3) {
                issue["fields"]["updated"] = json!(minute(500 + u32::try_from(n).unwrap()));
            }
            at += 3;
        }
        None
    }));
    let replay = Replay::start(site).await;
    let (adapter, connection) = (jira(), connection(&replay.url, json!({})));
    let project = adapter.list_projects(&connection).await.unwrap().remove(0);
    let (read, watermark) =
        walk(adapter.as_ref(), &connection, "issues", Some(&project), None).await.unwrap();
    let ids: BTreeSet<&str> = read.items.iter().map(|item| item.source_id.as_str()).collect();
    assert_eq!(ids.len(), 100);
    assert_eq!(watermark, read.items.iter().map(|item| item.updated_at).max());
}

#[tokio::test]
async fn a_thousand_issues_of_one_second_are_all_read() {
    let issues = (1..=1_000).map(|n| issue(n, &format!("ENG-{n}"), &minute(5), &json!({}))).collect();
    let replay = Replay::start(site(issues)).await;
    let (adapter, connection) = (jira(), connection(&replay.url, json!({})));
    let project = adapter.list_projects(&connection).await.unwrap().remove(0);
    let (read, _) = walk(adapter.as_ref(), &connection, "issues", Some(&project), None).await.unwrap();
    let ids: BTreeSet<&str> = read.items.iter().map(|item| item.source_id.as_str()).collect();
    assert_eq!(ids.len(), 1_000);
}

#[tokio::test]
async fn an_epic_told_by_its_key_only_becomes_the_parent() {
    let link = json!({"customfield_1": "ENG-1"});
    let mut site = site(vec![
        issue(1, "ENG-1", &minute(1), &json!({})),
        issue(2, "ENG-2", &minute(2), &link),
        issue(3, "ENG-3", &minute(3), &json!({"customfield_1": "ENG-99"})),
    ]);
    site.page = 1;
    site.fields = vec![json!({"id": "customfield_1", "name": "Epic Link", "custom": true,
        "schema": {"type": "any", "custom": "com.pyxis.greenhopper.jira:gh-epic-link"}})];
    let replay = Replay::start(site).await;
    let (adapter, connection) = (jira(), connection(&replay.url, json!({})));
    let project = adapter.list_projects(&connection).await.unwrap().remove(0);
    let (read, _) = walk(adapter.as_ref(), &connection, "issues", Some(&project), None).await.unwrap();
    let parents: BTreeMap<&str, Option<&str>> =
        read.items.iter().map(|item| (item.source_id.as_str(), item.parent_ref_key.as_deref())).collect();
    assert_eq!(parents, BTreeMap::from([("1", None), ("2", Some("1")), ("3", None)]));
    let kept = read.items.iter().find(|item| item.source_id == "2").unwrap();
    let raw = application::ports::RawObject {
        stream: StreamName::new("issues"),
        source_id: "2".into(),
        payload: kept.raw.clone(),
    };
    let again = adapter.map_raw(&json!({}), &connection.mappings, &[raw]);
    assert_eq!(again.items[0].parent_ref_key.as_deref(), Some("1"));
}

#[tokio::test]
async fn an_issue_that_did_not_come_whole_is_read_by_itself() {
    let comments = |count: usize| -> Vec<Value> {
        (0..count).map(|n| json!({"id": format!("9{n}"), "created": minute(1), "body": "b"})).collect()
    };
    let mut issues: Vec<Value> = [(1, 2), (2, 30), (3, 1)]
        .into_iter()
        .map(|(n, count)| {
            let fields = json!({"comment": {"comments": comments(count)}});
            issue(n, &format!("ENG-{n}"), &minute(n), &fields)
        })
        .collect();
    for (issue, total) in issues.iter_mut().zip([1, 1, 40]) {
        let change =
            json!({"id": "7", "created": minute(1), "items": [{"field": "summary", "toString": "x"}]});
        issue["changelog"] = json!({"total": total, "histories": [change]});
    }
    let mut site = site(issues);
    site.inside = 20;
    let replay = Replay::start(site).await;
    let (adapter, connection) = (jira(), connection(&replay.url, json!({})));
    let project = adapter.list_projects(&connection).await.unwrap().remove(0);
    let (read, _) = walk(adapter.as_ref(), &connection, "issues", Some(&project), None).await.unwrap();
    assert_eq!(read.details_done, ["1"]);
    let all = backfill(adapter.as_ref(), &connection).await;
    let done: BTreeSet<&str> = all.details_done.iter().map(String::as_str).collect();
    assert_eq!(done, BTreeSet::from(["1", "2", "3"]));
    let of_second = all.comments.iter().filter(|comment| comment.item_ref_key == "2");
    assert_eq!(of_second.map(|comment| &comment.source_id).collect::<BTreeSet<_>>().len(), 30);
}
