//! Cloud when it goes wrong: tokens that repeat or lapse, lists that are cut, issues that are gone.

use std::collections::BTreeSet;

use domain::OAuthGrant;

use super::*;

fn site(count: u32) -> Site {
    Site {
        cloud: true,
        issues: (1..=count).map(|n| issue(n, &format!("ENG-{n}"), &minute(n), &json!({}))).collect(),
        projects: vec![json!({"id": "10000", "key": "ENG", "name": "Engineering"})],
        page: 10,
        ..Site::default()
    }
}

async fn read(replay: &Replay) -> Result<(PageRecords, Option<DateTime<Utc>>), SourceError> {
    let (adapter, connection) = (jira(), connection(&replay.url, json!({})));
    let project = adapter.list_projects(&connection).await?.remove(0);
    walk(adapter.as_ref(), &connection, "issues", Some(&project), None).await
}

fn ids(records: &PageRecords) -> BTreeSet<&str> {
    records.items.iter().map(|item| item.source_id.as_str()).collect()
}

#[tokio::test]
async fn a_search_asks_for_its_fields_by_epoch_and_counts_once() {
    let replay = Replay::start(site(25)).await;
    let (adapter, connection) = (jira(), connection(&replay.url, json!({})));
    let project = adapter.list_projects(&connection).await.unwrap().remove(0);
    let since = Some("2026-02-01T00:10:00Z".parse().unwrap());
    let (found, _) = walk(adapter.as_ref(), &connection, "issues", Some(&project), since).await.unwrap();
    // Five minutes before are asked for again.
    assert_eq!(found.items.len(), 21);
    assert_eq!((replay.requests("approximate-count"), replay.requests("search/jql")), (0, 3));
    let body = replay.bodies("search/jql").remove(0);
    assert_eq!(body["jql"], "project = 10000 AND updated >= 1769904300000 ORDER BY updated ASC, key ASC");
    assert_eq!((&body["expand"], &body["fields"][0]), (&json!("names,schema"), &json!("*all")));
    read(&replay).await.unwrap();
    assert_eq!(replay.requests("approximate-count"), 1);
}

#[tokio::test]
async fn a_token_that_repeats_ends_in_an_error_and_one_that_lapses_does_not() {
    let mut repeating = site(30);
    repeating.fault = Some(Box::new(|_, path, body| {
        let repeats = path.ends_with("/search/jql") && body.get("nextPageToken").is_some();
        repeats.then(|| (200, json!({"issues": [], "nextPageToken": body["nextPageToken"], "isLast": false})))
    }));
    let error = read(&Replay::start(repeating).await).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Malformed);

    let mut lapsing = site(30);
    let mut lapsed = false;
    lapsing.fault = Some(Box::new(move |_, path, body| {
        let lapses = path.ends_with("/search/jql") && body.get("nextPageToken").is_some() && !lapsed;
        lapsed |= lapses;
        lapses.then(|| (400, json!({"errorMessages": ["The provided next page token is invalid."]})))
    }));
    let (found, _) = read(&Replay::start(lapsing).await).await.unwrap();
    assert_eq!(ids(&found).len(), 30);
}

#[tokio::test]
async fn comments_and_worklogs_beyond_the_first_page_are_all_read() {
    let comments: Vec<Value> = (0..250)
        .map(|n| json!({"id": (9_000 + n).to_string(), "created": minute(n), "body": "b", "author": {"accountId": "a1", "displayName": "Ann"}}))
        .collect();
    let worklogs: Vec<Value> = (0..30)
        .map(|n| json!({"id": (5_000 + n).to_string(), "started": minute(n), "timeSpentSeconds": 60}))
        .collect();
    let mut site = site(2);
    site.issues[0]["fields"]["comment"]["comments"] = json!(comments);
    site.issues[0]["fields"]["worklog"]["worklogs"] = json!(worklogs);
    site.inside = 20;
    let replay = Replay::start(site).await;
    let all = backfill(jira().as_ref(), &connection(&replay.url, json!({}))).await;
    assert_eq!((all.comments.len(), all.worklogs.len()), (250, 30));
    assert_eq!(all.comments_of.len(), 2);
    // The second issue's lists were complete, and cost nothing.
    assert_eq!((replay.requests("/issue/2/comment"), replay.requests("/issue/1/comment")), (0, 7));
    assert_eq!(replay.requests("/issue/bulkfetch"), 0, "what came with the issues is asked for again");
    assert!(all.items.iter().all(|item| !item.raw.get().contains("\"comment\"")), "kept twice");
}

#[tokio::test]
async fn an_odd_comment_or_change_keeps_no_other_out() {
    let mut site = site(2);
    site.issues[0]["fields"]["comment"]["comments"] =
        json!([{"id": "1", "created": "soon"}, {"id": "2", "created": minute(1), "body": "kept"}]);
    site.issues[0]["changelog"]["histories"] = json!([
        {"id": "7", "items": []},
        {"id": "8", "created": 1_769_904_000, "items": [{"field": "summary", "fieldId": "summary", "toString": "x"}]},
    ]);
    let replay = Replay::start(site).await;
    let all = backfill(jira().as_ref(), &connection(&replay.url, json!({}))).await;
    assert_eq!((all.comments.len(), all.changes.len(), all.unmapped.len()), (1, 1, 2));
    assert_eq!(all.comments_of, ["2"], "the comments of the first issue are not known to be complete");
    assert_eq!(all.details_done.len(), 2);
}

fn address(id: &str, key: &str) -> ItemAddress {
    ItemAddress { source_id: Some(id.into()), ref_key: Some(id.into()), key: Some(key.into()) }
}

#[tokio::test]
async fn what_is_gone_is_told_apart_from_what_may_not_be_seen() {
    let mut site = site(3);
    site.projects.push(json!({"id": "10001", "key": "OPS"}));
    site.issues.push(issue(50, "OPS-1", &minute(1), &json!({"project": {"id": "10001", "key": "OPS"}})));
    site.hidden = vec!["OPS".into()];
    let replay = Replay::start(site).await;
    let (adapter, connection) = (jira(), connection(&replay.url, json!({})));
    let keyless = ItemAddress { source_id: Some("98".into()), ..ItemAddress::default() };
    let wanted = [address("1", "ENG-1"), address("99", "ENG-99"), address("50", "OPS-1"), keyless.clone()];
    let fetched = adapter.fetch_items(&connection, &wanted).await.unwrap();
    assert_eq!(ids(&fetched.records), BTreeSet::from(["1"]));
    assert_eq!(fetched.records.details_done, ["1"]);
    let gone: Vec<_> =
        fetched.records.gone.iter().map(|gone| (gone.item_ref_key.as_str(), gone.reason)).collect();
    assert_eq!(gone, [("99", "deleted")]);
    let invisible: Vec<_> =
        fetched.invisible.iter().map(|(address, _)| address.source_id.clone().unwrap()).collect();
    assert_eq!(invisible, ["50", "98"]);
    // An issue that was moved is found under its id and tells its new key.
    replay.change(|site| site.issues[1]["key"] = json!("ENG-700"));
    let moved = adapter.fetch_items(&connection, &[address("2", "ENG-2")]).await.unwrap();
    assert_eq!((moved.records.items[0].source_key.as_str(), moved.invisible.len()), ("ENG-700", 0));
}

#[tokio::test]
async fn issues_of_projects_that_are_not_selected_are_no_items_however_one_hears_of_them() {
    let mut site = site(2);
    site.projects.push(json!({"id": "10001", "key": "OPS"}));
    site.issues.push(issue(50, "OPS-1", &minute(1), &json!({"project": {"id": "10001", "key": "OPS"}})));
    let replay = Replay::start(site).await;
    let (adapter, connection) = (jira(), connection(&replay.url, json!({"projects": ["ENG"]})));
    let wanted = [address("1", "ENG-1"), address("50", "OPS-1")];
    let fetched = adapter.fetch_items(&connection, &wanted).await.unwrap();
    assert_eq!(ids(&fetched.records), BTreeSet::from(["1"]));
    assert_eq!((fetched.records.details_done.len(), fetched.invisible.len()), (1, 0));
    // Had it been here before, it is no more.
    let gone: Vec<_> =
        fetched.records.gone.iter().map(|gone| (gone.item_ref_key.as_str(), gone.reason)).collect();
    assert_eq!(gone, [("50", "transferred")]);
    assert!(fetched.records.gone[0].proof.contains("OPS-1"), "{:?}", fetched.records.gone);

    // The project's key was changed, and the old one leads to it still.
    replay.change(|site| {
        site.projects[0]["key"] = json!("PROD");
        let project = site.projects[0].clone();
        site.issues[0]["key"] = json!("PROD-1");
        site.issues[0]["fields"]["project"] = project.clone();
        site.fault =
            Some(Box::new(move |_, path, _| path.ends_with("/project/ENG").then(|| (200, project.clone()))));
    });
    let fetched = adapter.fetch_items(&connection, &[address("1", "ENG-1")]).await.unwrap();
    assert_eq!(fetched.records.items[0].source_key, "PROD-1");
    assert!(fetched.records.gone.is_empty() && fetched.invisible.is_empty(), "{fetched:?}");
}

#[tokio::test]
async fn an_expired_access_token_that_shows_as_not_found_is_told_for_what_it_is() {
    let mut site = site(1);
    site.fault = Some(Box::new(|_, path, _| {
        let known = path.ends_with("serverInfo");
        (!known).then(|| (404, json!({"message": "No Jira app with this cloud id"})))
    }));
    let replay = Replay::start(site).await;
    let mut connection = connection(&replay.url, json!({}));
    connection.credential = Credential::OAuth(Box::new(OAuthGrant {
        access_token: "a".to_owned().into(),
        refresh_token: None,
        expires_at: None,
        client_id: "c".into(),
        client_secret: None,
        token_url: None,
    }));
    let error = jira().list_projects(&connection).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unauthorized);
}

#[tokio::test]
async fn the_feed_of_worklogs_tells_what_changed_and_what_is_gone() {
    let mut site = site(2);
    site.issues[0]["fields"]["worklog"]["worklogs"] =
        json!([{"id": "5", "started": minute(1), "timeSpentSeconds": 60, "comment": "did it"}]);
    site.worklogs_deleted = vec![9];
    let replay = Replay::start(site).await;
    let (adapter, connection) = (jira(), connection(&replay.url, json!({"projects": ["ENG"]})));
    let (first, began) = walk(adapter.as_ref(), &connection, "worklogs", None, None).await.unwrap();
    assert!(first.worklogs.is_empty() && began == Some("2026-03-01T00:00:00Z".parse().unwrap()));
    let (found, until) = walk(adapter.as_ref(), &connection, "worklogs", None, began).await.unwrap();
    assert_eq!(found.worklogs_gone, ["9"]);
    assert_eq!((found.worklogs[0].item_ref_key.as_str(), found.worklogs[0].seconds), ("1", 60));
    // The next pass begins where the feed that went less far ended.
    assert_eq!(until, DateTime::from_timestamp_millis(1_771_000_000_000));
}

#[tokio::test]
async fn all_ids_are_listed_and_a_lost_permission_is_no_empty_list() {
    let replay = Replay::start(site(25)).await;
    let (adapter, connection) = (jira(), connection(&replay.url, json!({"projects": ["ENG"]})));
    let project = adapter.list_projects(&connection).await.unwrap().remove(0);
    let (mut listed, mut cursor) = (BTreeSet::new(), None);
    loop {
        let page = adapter.list_ids(&connection, &project, cursor.as_ref()).await.unwrap();
        listed.extend(page.ids.into_iter().map(|id| id.source_id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), 25);
    replay.change(|site| {
        site.fault = Some(Box::new(|_, path, _| {
            let message = "The value '10000' does not exist for the field 'project'.";
            path.ends_with("/search/jql").then(|| (400, json!({"errorMessages": [message], "errors": {}})))
        }));
    });
    let error = adapter.list_ids(&connection, &project, None).await.unwrap_err();
    assert_eq!(
        (error.kind, error.field.as_deref()),
        (SourceErrorKind::NotFound, Some("/settings/projects/0"))
    );
}

#[tokio::test]
async fn boards_sprints_and_versions_are_read_in_full() {
    let mut site = site(1);
    site.projects[0]["versions"] = json!([
        {"id": "1", "name": "1.0", "released": true, "startDate": "2026-01-01", "releaseDate": "2026-02-01"},
        {"id": 2, "name": "2.0", "released": false},
    ]);
    site.boards =
        vec![json!({"id": 8, "name": "B", "type": "scrum"}), json!({"id": 9, "name": "K", "type": "kanban"})];
    let sprints =
        (1..=25).map(|n| json!({"id": n, "name": format!("S {n}"), "state": "closed", "originBoardId": 8}));
    site.sprints.insert(8, sprints.collect());
    let replay = Replay::start(site).await;
    let all = backfill(jira().as_ref(), &connection(&replay.url, json!({}))).await;
    assert_eq!((all.boards.len(), all.sprints.len(), all.milestones.len()), (2, 25, 2));
    assert_eq!(replay.requests("/board/9/sprint"), 0);
    let closed: Vec<_> =
        all.milestones.iter().map(|version| (version.state.as_str(), version.closed_at.is_some())).collect();
    assert_eq!(closed, [("closed", true), ("open", false)]);
}
