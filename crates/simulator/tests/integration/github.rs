//! The GitHub surface as a client meets it over HTTP.

use crate::client;

use std::time::Duration;

use client::{Client, start, start_with};
use patchbay_simulator::{SimulatorConfig, TokenGrant, generate};
use serde_json::{Value, json};

const REPOSITORY: &str = "/repos/octo/billing";

fn numbers(rows: &[Value]) -> Vec<u64> {
    rows.iter().filter_map(|row| row["number"].as_u64()).collect()
}

#[tokio::test]
async fn following_next_links_reads_every_item_once_in_order() {
    let (_simulator, client) = start(230).await;
    let rows =
        client.all(&format!("{REPOSITORY}/issues?state=all&sort=updated&direction=asc&per_page=50")).await;
    assert_eq!(rows.len(), 230);
    let times: Vec<_> = rows.iter().map(|row| row["updated_at"].as_str().unwrap().to_owned()).collect();
    assert!(times.is_sorted());
    let mut seen = numbers(&rows);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 230);
    assert!(rows.iter().any(|row| row["pull_request"].is_object()));
}

#[tokio::test]
async fn links_are_absolute_and_keep_the_path_and_parameters_as_called() {
    let (simulator, client) = start(90).await;
    let answer =
        client.get(&format!("/api/v3{REPOSITORY}/issues?labels=&state=all&page=2&per_page=30")).await;
    let url = format!("{}/api/v3{REPOSITORY}/issues?labels=&state=all&per_page=30", simulator.url());
    assert_eq!(
        answer.header("link"),
        format!(
            "<{url}&page=1>; rel=\"prev\", <{url}&page=3>; rel=\"next\", <{url}&page=3>; rel=\"last\", <{url}&page=1>; rel=\"first\""
        )
    );
    let last = client.get(&format!("{REPOSITORY}/issues?state=all&page=3")).await;
    assert!(!last.header("link").contains("next"));
    let whole = client.get(&format!("{REPOSITORY}/issues?state=all&per_page=1000")).await;
    assert_eq!(whole.header("link"), "", "90 rows fit on a page of 100");
}

#[tokio::test]
async fn since_is_inclusive_and_a_touched_item_is_the_newest() {
    let (simulator, client) = start(60).await;
    let list = format!("{REPOSITORY}/issues?state=all&sort=updated&direction=desc&per_page=100");
    let before = client.all(&list).await;
    let newest = before[0]["updated_at"].as_str().unwrap();
    let found = client.all(&format!("{list}&since={newest}")).await;
    assert_eq!(found[0]["number"], before[0]["number"]);
    simulator.control().touch("octo/billing", &[3, 5]).unwrap();
    let after = client.all(&list).await;
    assert_eq!(numbers(&after)[..2], [5, 3]);
    assert!(simulator.control().touch("octo/billing", &[999]).is_err());
}

#[tokio::test]
async fn filters_narrow_the_list() {
    let (_simulator, client) = start(200).await;
    let list = format!("{REPOSITORY}/issues?per_page=100");
    let open = client.all(&list).await;
    assert!(open.iter().all(|row| row["state"] == "open"));
    let bugs = client.all(&format!("{list}&state=all&labels=bug,Area:%20Tax")).await;
    assert!(!bugs.is_empty());
    let has =
        |row: &Value, name: &str| row["labels"].as_array().unwrap().iter().any(|label| label["name"] == name);
    assert!(bugs.iter().all(|row| has(row, "bug") && has(row, "area: tax")));
    let unassigned = client.all(&format!("{list}&state=all&assignee=none")).await;
    assert!(unassigned.iter().all(|row| row["assignees"] == json!([])));
    let planned = client.all(&format!("{list}&state=all&milestone=*")).await;
    assert!(!planned.is_empty() && planned.iter().all(|row| row["milestone"].is_object()));
}

#[tokio::test]
async fn wrong_parameters_are_422_in_the_shape_of_github() {
    let (_simulator, client) = start(5).await;
    for (query, field) in [
        ("issues?state=foo", "state"),
        ("issues?sort=votes", "sort"),
        ("issues?since=yesterday", "since"),
        ("issues?milestone=soon", "milestone"),
        ("pulls?direction=up", "direction"),
        ("milestones?state=done", "state"),
        ("issues/comments?sort=likes", "sort"),
    ] {
        let answer = client.get(&format!("{REPOSITORY}/{query}")).await;
        assert_eq!(answer.status, 422, "{query}");
        assert_eq!(answer.json()["errors"][0]["field"], field);
        assert_eq!(answer.json()["errors"][0]["code"], "invalid");
        assert_eq!(answer.json()["message"], "Validation Failed");
    }
}

#[tokio::test]
async fn every_stream_answers_and_agrees_with_the_items() {
    let (_simulator, client) = start(120).await;
    let all = |path: &str| {
        let (client, path) = (client.clone(), format!("{REPOSITORY}{path}"));
        async move { client.all(&path).await }
    };
    let issues = all("/issues?state=all&per_page=100").await;
    let comments = all("/issues/comments?sort=updated&direction=asc&per_page=100").await;
    let expected: u64 = issues.iter().filter_map(|row| row["comments"].as_u64()).sum();
    assert_eq!(comments.len() as u64, expected);
    let pulls = all("/pulls?state=all&sort=updated&direction=desc&per_page=100").await;
    assert_eq!(pulls.len(), issues.iter().filter(|row| row["pull_request"].is_object()).count());
    assert!(pulls[0].get("merged").is_none(), "the list has not what only the single one has");
    let (mut notes, mut expected) = (0, 0);
    for pull in &pulls {
        let number = &pull["number"];
        let single = client.get(&format!("{REPOSITORY}/pulls/{number}")).await.json();
        assert!(single["merged"].is_boolean() && single["head"]["repo"]["full_name"] == "octo/billing");
        notes += all(&format!("/pulls/{number}/comments")).await.len();
        expected += usize::try_from(single["review_comments"].as_u64().unwrap()).unwrap();
        let timeline = all(&format!("/issues/{number}/timeline")).await;
        let reviewed = timeline.iter().filter(|event| event["event"] == "reviewed").count();
        assert_eq!(all(&format!("/pulls/{number}/reviews")).await.len(), reviewed);
    }
    assert_eq!(notes, expected);
    assert_eq!(all("/pulls/comments").await.len(), expected);
    assert_eq!(all("/milestones?state=all").await.len(), 6);
    assert_eq!(all("/assignees").await.len(), 12);
    assert!(all("/labels").await.len() > 10);
    assert!(!all("/issues/events").await.is_empty());
    let issue = issues.iter().find(|row| row["pull_request"].is_null()).unwrap();
    assert_eq!(client.get(&format!("{REPOSITORY}/pulls/{}", issue["number"])).await.status, 404);
}

#[tokio::test]
async fn an_answer_the_client_has_is_304_and_costs_nothing() {
    let (simulator, client) = start(40).await;
    let path = format!("{REPOSITORY}/issues?state=all");
    let first = client.get(&path).await;
    let etag = first.header("etag");
    assert!(etag.starts_with("W/\""));
    let used = first.header("x-ratelimit-used");
    let again = client.conditional(&path, "if-none-match", &etag).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(again.header("x-ratelimit-used"), used);
    simulator.control().touch("octo/billing", &[40]).unwrap();
    assert_eq!(client.conditional(&path, "if-none-match", &etag).await.status, 200);

    let one = format!("{REPOSITORY}/issues/7");
    let modified = client.get(&one).await.header("last-modified");
    assert_eq!(client.conditional(&one, "if-modified-since", &modified).await.status, 304);
    simulator.control().touch("octo/billing", &[7]).unwrap();
    assert_eq!(client.conditional(&one, "if-modified-since", &modified).await.status, 200);
    assert_eq!(simulator.control().stats().not_modified, 2);
    assert!(simulator.control().requests()[1].conditional);
}

#[tokio::test]
async fn a_token_sees_only_what_it_was_granted() {
    let grant = |token: &str, repositories: Option<&[&str]>| TokenGrant {
        token: token.to_owned(),
        login: "reader".to_owned(),
        repositories: repositories.map(|names| names.iter().map(ToString::to_string).collect()),
    };
    let (simulator, client) = start_with(SimulatorConfig {
        repositories: vec![
            generate::repository("octo/billing", 2, 5),
            generate::repository("octo/app", 3, 5),
        ],
        tokens: vec![grant("everything", None), grant("one", Some(&["Octo/App"]))],
        ..SimulatorConfig::default()
    })
    .await;
    let everything = client.with_token("everything");
    let one = client.with_token("one");
    assert_eq!(everything.get(REPOSITORY).await.status, 200);
    assert_eq!(one.get(REPOSITORY).await.status, 404);
    assert_eq!(one.get("/repos/octo/app/issues").await.status, 200);
    assert_eq!(one.all("/user/repos").await.len(), 1);
    assert_eq!(everything.all("/user/repos?per_page=1").await.len(), 2);
    assert_eq!(one.get("/user").await.json()["login"], "reader");
    let bad = client.with_token("wrong").get("/user").await;
    assert_eq!((bad.status, bad.json()["message"].as_str()), (401, Some("Bad credentials")));
    assert_eq!(client.with_token("").get("/user").await.status, 401);
    assert_eq!(Client::without_user_agent(&simulator.url()).get("/user").await.status, 403);
    simulator.control().revoke("one");
    assert_eq!(one.get("/user").await.status, 401);
    let digest = simulator.control().requests()[0].authorization_digest.clone().unwrap();
    assert!(digest.len() == 16 && !digest.contains("everything"));
}

#[tokio::test]
async fn a_renamed_repository_and_a_transferred_issue_answer_301_and_a_deleted_one_410() {
    let (simulator, client) = start_with(SimulatorConfig {
        repositories: vec![
            generate::repository("octo/billing", 2, 40),
            generate::repository("octo/app", 3, 5),
        ],
        ..SimulatorConfig::default()
    })
    .await;
    let control = simulator.control();
    let issues = client.all(&format!("{REPOSITORY}/issues?state=all")).await;
    let mut plain = issues.iter().filter(|row| row["pull_request"].is_null());
    let (deleted, moved) = (plain.next().unwrap(), plain.next().unwrap());
    control.delete_issue("octo/billing", deleted["number"].as_u64().unwrap()).unwrap();
    let gone = client.get(&format!("{REPOSITORY}/issues/{}", deleted["number"])).await;
    assert_eq!((gone.status, gone.json()["message"].as_str()), (410, Some("This issue was deleted")));
    assert_eq!(client.all(&format!("{REPOSITORY}/issues?state=all")).await.len(), 39);

    let number =
        control.transfer_issue("octo/billing", moved["number"].as_u64().unwrap(), "octo/app").unwrap();
    let answer = client.get(&format!("{REPOSITORY}/issues/{}/timeline", moved["number"])).await;
    assert_eq!(answer.status, 301);
    assert_eq!(answer.header("location"), format!("{}/repos/octo/app/issues/{number}", simulator.url()));
    let there = client.get(&answer.header("location")).await.json();
    assert_eq!((&there["number"], &there["title"]), (&json!(number), &moved["title"]));
    assert!(there["url"].as_str().unwrap().ends_with(&format!("/octo/app/issues/{number}")));

    control.rename_repository("octo/billing", "octo/invoicing").unwrap();
    let old = client.get(&format!("{REPOSITORY}/issues?state=all&page=2")).await;
    assert_eq!(old.status, 301);
    assert!(old.header("location").contains("/repositories/"));
    let followed = client.get(&old.header("location")).await;
    assert_eq!(followed.status, 200);
    assert!(followed.json()[0]["url"].as_str().unwrap().contains("/repos/octo/invoicing/"));
    assert_eq!(client.get("/repos/octo/invoicing").await.json()["name"], "invoicing");
}

#[tokio::test]
async fn writes_change_the_item_and_leave_their_events() {
    let (simulator, client) = start(10).await;
    let new = json!({"title": "Refund shows twice", "body": "See account", "labels": ["bug", "brand new"],
                     "assignees": ["jharada"], "milestone": 6});
    let created = client.send("POST", &format!("{REPOSITORY}/issues"), &new).await;
    assert_eq!(created.status, 201);
    let number = created.json()["number"].clone();
    let path = format!("{REPOSITORY}/issues/{number}");
    assert_eq!(created.json()["assignee"]["login"], "jharada");
    client.send("POST", &format!("{path}/comments"), &json!({"body": "On it"})).await;
    client.send("DELETE", &format!("{path}/labels/brand%20new"), &json!({})).await;
    let changes = json!({"title": "Refund is shown twice", "state": "closed", "state_reason": "not_planned", "milestone": null});
    let closed = client.send("PATCH", &path, &changes).await.json();
    assert_eq!((&closed["state"], &closed["state_reason"]), (&json!("closed"), &json!("not_planned")));
    let reopened = client.send("PATCH", &path, &json!({"state": "open"})).await.json();
    assert!(reopened["closed_at"].is_null() && reopened["comments"] == 1);
    let timeline = client.all(&format!("{path}/timeline")).await;
    let events: Vec<_> = timeline.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(
        events,
        [
            "labeled",
            "labeled",
            "assigned",
            "milestoned",
            "commented",
            "unlabeled",
            "renamed",
            "demilestoned",
            "closed",
            "reopened"
        ]
    );
    let newest = client.get(&format!("{REPOSITORY}/issues?state=all&sort=updated")).await.json();
    assert_eq!(newest[0]["number"], number);
    let same = client.send("PATCH", &path, &json!({"state": "open"})).await.json();
    assert_eq!(same["updated_at"], reopened["updated_at"], "an edit without change changes nothing");
    for (body, field) in [
        (json!({"title": " "}), "title"),
        (json!({"title": "x", "assignees": ["nobody"]}), "assignees"),
        (json!({"title": "x", "milestone": 99}), "milestone"),
    ] {
        let refused = client.send("POST", &format!("{REPOSITORY}/issues"), &body).await;
        assert_eq!((refused.status, refused.json()["errors"][0]["field"].as_str()), (422, Some(field)));
    }
    assert_eq!(client.all(&format!("{REPOSITORY}/issues?state=all")).await.len(), 11);
    simulator.stop().await;
}

#[tokio::test]
async fn a_configured_budget_runs_out_and_comes_back() {
    let (simulator, client) = start(5).await;
    simulator.control().set_rate_limit(Some(2), Duration::from_secs(1));
    assert_eq!(client.get("/user").await.header("x-ratelimit-remaining"), "1");
    assert_eq!(client.get("/user").await.status, 200);
    let refused = client.get("/user").await;
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining").as_str()), (403, "0"));
    assert_eq!(client.get("/rate_limit").await.status, 200, "free");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(client.get("/user").await.status, 200);
}
