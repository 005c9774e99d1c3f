//! The Jira surface answers and refuses as Jira does.

use crate::client;

use client::{Client, start_with};
use patchbay_simulator::{Deployment, FaultRule, Simulator, SimulatorConfig, devlake, generate, titanium};
use serde_json::{Value, json};

async fn site(deployment: Deployment, count: usize) -> (Simulator, Client) {
    let (simulator, _) = start_with(SimulatorConfig::default()).await;
    let projects = [("ENG", 4, count), ("APP", 5, 20)];
    simulator.control().add_jira(generate::jira("acme", deployment, &projects)).unwrap();
    let client = Client::new(&format!("{}/jira/acme", simulator.url()));
    (simulator, client)
}

async fn page(client: &Client, jql: &str, token: Option<&str>, rest: Value) -> (u16, Value) {
    let mut body = json!({"jql": jql, "nextPageToken": token});
    body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    let answer = client.send("POST", "/rest/api/3/search/jql", &body).await;
    (answer.status, answer.json())
}

async fn all(client: &Client, jql: &str) -> Vec<Value> {
    let (mut rows, mut token) = (Vec::new(), None::<String>);
    loop {
        let (status, answer) =
            page(client, jql, token.as_deref(), json!({"fields": ["updated", "summary"]})).await;
        assert_eq!(status, 200, "{answer}");
        rows.extend(answer["issues"].as_array().unwrap().iter().cloned());
        token = answer["nextPageToken"].as_str().map(str::to_owned);
        if token.is_none() {
            assert_eq!(answer["isLast"], true);
            return rows;
        }
    }
}

#[tokio::test]
async fn a_search_is_paged_by_tokens_and_gives_ids_only_unless_asked() {
    let (_simulator, client) = site(Deployment::Cloud, 260).await;
    let (_, first) = page(&client, "project = ENG", None, json!({})).await;
    assert_eq!(first["issues"].as_array().unwrap().len(), 50);
    assert_eq!(first["issues"][0].as_object().unwrap().keys().collect::<Vec<_>>(), ["id"]);
    assert!(first["total"].is_null());
    let rows = all(&client, "project = ENG ORDER BY updated ASC, key ASC").await;
    assert_eq!(rows.len(), 260);
    let times: Vec<&str> = rows.iter().map(|row| row["fields"]["updated"].as_str().unwrap()).collect();
    assert!(times.is_sorted());
    let (_, ids) =
        page(&client, "project = ENG ORDER BY id", None, json!({"fields": ["id"], "maxResults": 5000})).await;
    assert_eq!(ids["issues"].as_array().unwrap().len(), 260);
}

#[tokio::test]
async fn what_jira_refuses_is_refused() {
    let (_simulator, client) = site(Deployment::Cloud, 20).await;
    for (jql, word) in [
        ("ORDER BY updated", "Unbounded"),
        ("", "Unbounded"),
        ("project = NOPE", "NOPE"),
        ("colour = red", "colour"),
        ("updated >= \"2026-11-21T10:00:00Z\"", "updated"),
        ("project = ENG ORDER BY a, b", "'a'"),
        ("project = ENG AND", "Expecting"),
        ("project = ENG ORDER BY id, key, updated, created, summary, status, priority, assignee", "7"),
    ] {
        let (status, answer) = page(&client, jql, None, json!({})).await;
        assert_eq!(status, 400, "{jql}: {answer}");
        assert!(answer["errorMessages"][0].as_str().unwrap().contains(word), "{jql}: {answer}");
    }
    for (path, status) in [
        ("/rest/api/3/search/jql?jql=project%3DENG&startAt=0", 400),
        ("/rest/api/3/search/jql?jql=project%3DENG&maxResults=many", 400),
        ("/rest/api/3/search?jql=project%3DENG", 410),
        ("/rest/api/3/issue/ENG-9999", 404),
        ("/rest/api/3/nothing", 404),
        ("/rest/agile/1.0/board/99", 404),
    ] {
        assert_eq!(client.get(path).await.status, status, "{path}");
    }
    let (_, first) = page(&client, "project = ENG", None, json!({"maxResults": 5})).await;
    let token = first["nextPageToken"].as_str();
    assert_eq!(
        page(&client, "project = APP", token, json!({})).await.0,
        400,
        "a token is bound to its query"
    );
}

#[tokio::test]
async fn jql_finds_what_it_says() {
    let (simulator, client) = site(Deployment::Cloud, 120).await;
    let everything = all(&client, "project in (ENG, APP)").await.len();
    let done = all(&client, "statusCategory = done").await.len();
    assert_eq!(all(&client, "NOT statusCategory = done").await.len() + done, everything);
    assert_eq!(all(&client, "assignee is EMPTY OR assignee is not EMPTY").await.len(), everything);
    assert_eq!(all(&client, "key in (ENG-1, APP-2) AND project = ENG").await.len(), 1);
    simulator.control().with_jira("acme", |site| site.touch_issues(&["ENG-7".into()])).unwrap().unwrap();
    let found = all(&client, "updated >= -5m").await;
    assert_eq!(found.iter().map(|row| &row["key"]).collect::<Vec<_>>(), ["ENG-7"]);
    let at = chrono::DateTime::parse_from_str(
        found[0]["fields"]["updated"].as_str().unwrap(),
        "%Y-%m-%dT%H:%M:%S%.f%z",
    );
    let ms = at.unwrap().timestamp_millis();
    assert_eq!(all(&client, &format!("updated >= {ms} ORDER BY updated ASC")).await.len(), 1);
    assert!(all(&client, &format!("updated > {ms}")).await.is_empty());
    let set =
        client.send("PUT", "/rest/api/3/issue/ENG-3/properties/sync", &json!({"run": {"id": "r1"}})).await;
    assert_eq!(set.status, 201);
    assert_eq!(all(&client, "issue.property[sync].run.id = r1").await[0]["key"], "ENG-3");
}

#[tokio::test]
async fn a_change_is_found_only_when_the_index_has_it() {
    let (simulator, client) = site(Deployment::Cloud, 30).await;
    simulator.control().with_jira("acme", |site| site.switches_mut().index_lag_ms = 3_600_000).unwrap();
    let made = client
        .send(
            "POST",
            "/rest/api/3/issue",
            &json!({"fields": {"project": {"key": "ENG"}, "issuetype": {"name": "Task"}, "summary": "New"}}),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id: i64 = made.json()["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(all(&client, "project = ENG").await.len(), 30);
    let (_, answer) = page(&client, &format!("id = {id}"), None, json!({"reconcileIssues": [id]})).await;
    assert_eq!(answer["issues"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn changelogs_come_in_pages_over_many_issues_and_as_seconds_by_switch() {
    let (simulator, client) = site(Deployment::Cloud, 80).await;
    let keys: Vec<String> = (1..=80).map(|number| format!("ENG-{number}")).collect();
    let (mut entries, mut token) = (0, Value::Null);
    loop {
        let body = json!({"issueIdsOrKeys": keys, "maxResults": 50, "nextPageToken": token});
        let answer = client.send("POST", "/rest/api/3/changelog/bulkfetch", &body).await.json();
        entries += answer["issueChangeLogs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|log| log["changeHistories"].as_array().unwrap().len())
            .sum::<usize>();
        token = answer["nextPageToken"].clone();
        if token.is_null() {
            break;
        }
    }
    let total = simulator.control().with_jira("acme", |site| {
        site.switches_mut().changelog_epoch_seconds = true;
        site.history_count()
    });
    let app = client
        .send(
            "POST",
            "/rest/api/3/changelog/bulkfetch",
            &json!({"issueIdsOrKeys": (1..=20).map(|n| format!("APP-{n}")).collect::<Vec<_>>()}),
        )
        .await
        .json();
    let logs = app["issueChangeLogs"].as_array().unwrap();
    let others: usize = logs.iter().map(|log| log["changeHistories"].as_array().unwrap().len()).sum();
    assert_eq!(entries + others, total.unwrap());
    assert!(logs[0]["changeHistories"][0]["created"].as_i64().unwrap() < 100_000_000_000, "{}", logs[0]);
    let refused = client
        .send("POST", "/rest/api/3/changelog/bulkfetch", &json!({"issueIdsOrKeys": vec!["ENG-1"; 1001]}))
        .await;
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn a_write_keeps_the_changelog_and_checks_values() {
    let (_simulator, client) = site(Deployment::Cloud, 30).await;
    let refused = client.send("PUT", "/rest/api/3/issue/ENG-5", &json!({"fields": {
        "summary": "", "labels": ["two words"], "priority": {"name": "Blocker"}, "status": {"id": "10003"}, "colour": "red"
    }})).await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.json()["errors"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["colour", "labels", "priority", "status", "summary"]
    );
    let text =
        client.send("PUT", "/rest/api/3/issue/ENG-5", &json!({"fields": {"description": "plain"}})).await;
    assert!(text.body.contains("Atlassian Document"), "{}", text.body);

    let made = client
        .send(
            "POST",
            "/rest/api/3/issue",
            &json!({"fields": {"project": {"key": "ENG"}, "issuetype": {"id": "10003"}, "summary": "New"}}),
        )
        .await;
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let ways =
        client.get(&format!("/rest/api/3/issue/{key}/transitions?expand=transitions.fields")).await.json();
    let way = |name: &str| {
        ways["transitions"].as_array().unwrap().iter().find(|way| way["name"] == name).unwrap()["id"].clone()
    };
    let path = format!("/rest/api/3/issue/{key}/transitions");
    let refused =
        client.send("POST", &path, &json!({"transition": {"id": way("Close without doing")}})).await;
    assert_eq!(refused.json()["errors"]["resolution"], "Resolution is required.");
    let body = json!({"transition": {"id": way("Done")}, "update": {"labels": [{"add": "x"}]}});
    assert_eq!(client.send("POST", &path, &body).await.status, 204);
    let issue = client
        .get(&format!("/rest/api/3/issue/{key}?expand=changelog&fields=status,resolution,labels"))
        .await
        .json();
    assert_eq!(issue["fields"]["status"]["name"], "Done");
    assert_eq!(issue["fields"]["labels"], json!(["x"]));
    let items = issue["changelog"]["histories"][0]["items"].as_array().unwrap();
    assert_eq!(
        items.iter().map(|item| item["field"].as_str().unwrap()).collect::<Vec<_>>(),
        ["status", "resolution", "labels"]
    );
    assert_eq!(
        client.send("POST", &path, &body).await.status,
        400,
        "the transition belongs to the state before"
    );
}

#[tokio::test]
async fn data_center_speaks_wiki_and_offsets() {
    let (_simulator, client) = site(Deployment::DataCenter, 70).await;
    assert_eq!(client.get("/rest/api/2/serverInfo").await.json()["deploymentType"], "Server");
    assert_eq!(client.get("/rest/api/3/myself").await.status, 404);
    assert!(client.get("/rest/api/2/myself").await.json()["accountId"].is_null());
    let answer = client.get("/rest/api/2/search?jql=project%3DENG%20ORDER%20BY%20key&startAt=50&maxResults=50&expand=changelog").await.json();
    assert_eq!((&answer["total"], &answer["startAt"]), (&json!(70), &json!(50)));
    let issues = answer["issues"].as_array().unwrap();
    assert_eq!(issues.len(), 20);
    assert!(issues.iter().all(|issue| issue["fields"]["description"].is_string()));
    let unknown = "/rest/api/2/search?jql=key%20in%20(ENG-1,ZZ-9)";
    assert_eq!(client.get(unknown).await.status, 400);
    assert_eq!(client.get(&format!("{unknown}&validateQuery=false")).await.json()["total"], 1);
    let sprint = issues.iter().find_map(|issue| issue["fields"]["customfield_10104"][0].as_str()).unwrap();
    assert!(sprint.starts_with("com.atlassian.greenhopper.service.sprint.Sprint@"), "{sprint}");
    assert_eq!(
        client
            .send("POST", "/rest/api/2/issue/bulkfetch", &json!({"issueIdsOrKeys": ["ENG-1"]}))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn faults_strike_a_site_as_they_do_others() {
    let (simulator, client) = site(Deployment::Cloud, 160).await;
    let arm = |rule: Value| simulator.control().add_fault(serde_json::from_value::<FaultRule>(rule).unwrap());
    arm(json!({"kind": {"rate_limited": {"retry_after_s": 1}}, "match": {"path_contains": "/myself"}}));
    let refused = client.get("/rest/api/3/myself").await;
    assert_eq!(
        (refused.status, refused.header("ratelimit-reason").as_str()),
        (429, "jira-quota-tenant-based")
    );
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let (_, first) = page(&client, "project = ENG", None, json!({"maxResults": 100})).await;
    let token = first["nextPageToken"].as_str();
    arm(json!({"kind": "repeated_page_token"}));
    let (_, again) = page(&client, "project = ENG", token, json!({"maxResults": 40})).await;
    assert_eq!(again["nextPageToken"].as_str(), token);
    arm(json!({"kind": "expired_page_token"}));
    assert_eq!(page(&client, "project = ENG", token, json!({})).await.0, 400);
    arm(json!({"kind": "empty_page_in_middle"}));
    let rows = all(&client, "project = ENG").await;
    assert_eq!(rows.len(), 160);
    arm(json!({"kind": {"null_character": {"repository": "ENG", "number": 3}}}));
    let body = client.get("/rest/api/3/issue/ENG-3?fields=summary").await.body;
    assert!(body.contains("\\u0000") && body.contains("\\ud800"), "{body}");
    simulator.control().clear_faults();
    arm(json!({"kind": {"project_hidden": {"project": "ENG"}}}));
    assert!(all(&client, "project = ENG").await.is_empty());
    assert_eq!(client.get("/rest/api/3/issue/ENG-3").await.status, 404);
}

#[tokio::test]
async fn refresh_tokens_rotate_and_a_lost_answer_ends_the_old_one() {
    let (simulator, client) = site(Deployment::Cloud, 5).await;
    let control = simulator.control();
    let (access, refresh) = control.with_jira("acme", |site| site.grant(None)).unwrap();
    let cloud_id = control.with_jira("acme", |site| site.cloud_id().to_owned()).unwrap();
    let gateway = Client::new(&format!("{}/ex/jira/{cloud_id}", simulator.url())).with_token(&access);
    assert_eq!(gateway.get("/rest/api/3/myself").await.status, 200);
    control.with_jira("acme", |site| site.expire_access_tokens()).unwrap();
    assert_eq!(gateway.get("/rest/api/3/myself").await.status, 401);
    let body = json!({"grant_type": "refresh_token", "client_id": "c", "client_secret": "s", "refresh_token": refresh});
    let first = client.send("POST", "/oauth/token", &body).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let second = client.send("POST", "/oauth/token", &body).await;
    assert_eq!((second.status, second.json()["error"].as_str()), (403, Some("unauthorized_client")));
    let access = first.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(gateway.with_token(&access).get("/rest/api/3/myself").await.status, 200);
}

#[tokio::test]
async fn deliveries_are_signed_and_tried_again_until_they_are_taken() {
    let (_simulator, client) = site(Deployment::Cloud, 10).await;
    let (bodies, url) = receiver(1).await;
    let hook = json!({"name": "sync", "url": url, "events": ["jira:issue_updated"], "secret": "s3"});
    assert_eq!(client.send("POST", "/rest/webhooks/1.0/webhook", &hook).await.status, 201);
    client.send("POST", "/rest/api/3/issue/ENG-2/comment", &json!({"body": doc("not asked for")})).await;
    let edited =
        client.send("PUT", "/rest/api/3/issue/ENG-2", &json!({"fields": {"summary": "Other"}})).await;
    assert_eq!(edited.status, 204, "{}", edited.body);
    let mut bodies = bodies;
    let (first, second) = (bodies.recv().await.unwrap(), bodies.recv().await.unwrap());
    let header = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
        line.unwrap_or_default()
    };
    assert_eq!(
        header(&first, "X-Atlassian-Webhook-Identifier"),
        header(&second, "X-Atlassian-Webhook-Identifier")
    );
    assert_eq!(header(&second, "X-Atlassian-Webhook-Retry"), "1");
    assert!(header(&first, "X-Hub-Signature").starts_with("sha256="));
    let body: Value = serde_json::from_str(second.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["webhookEvent"], "jira:issue_updated");
    assert_eq!(body["changelog"]["items"][0]["toString"], "Other");
}

fn doc(text: &str) -> Value {
    json!({"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [{"type": "text", "text": text}]}]})
}

/// Takes requests, the first few with 503.
async fn receiver(refused: usize) -> (tokio::sync::mpsc::UnboundedReceiver<String>, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks", listener.local_addr().unwrap());
    let (sender, received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            loop {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap();
                text.extend_from_slice(&part[..read]);
                let whole = String::from_utf8_lossy(&text);
                let length = whole
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
                let end = whole.find("\r\n\r\n").map(|at| at + 4);
                if read == 0 || end.zip(length).is_some_and(|(end, length)| text.len() >= end + length) {
                    break;
                }
            }
            let status = if number < refused { "503 Service Unavailable" } else { "200 OK" };
            stream
                .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes())
                .await
                .unwrap();
            if sender.send(String::from_utf8(text).unwrap()).is_err() {
                return;
            }
        }
    });
    (received, url)
}

#[tokio::test]
async fn dynamic_webhooks_are_checked_listed_refreshed_and_end() {
    let (simulator, client) = site(Deployment::Cloud, 5).await;
    let body = json!({"url": "http://127.0.0.1:9/hook", "webhooks": [
        {"events": ["jira:issue_updated"], "jqlFilter": "project = ENG"},
        {"events": ["sprint_started"], "jqlFilter": "project = ENG"},
        {"events": ["jira:issue_updated"], "jqlFilter": "summary ~ x"},
    ]});
    let answer = client.send("POST", "/rest/api/3/webhook", &body).await.json();
    let results = answer["webhookRegistrationResult"].as_array().unwrap();
    let id = results[0]["createdWebhookId"].as_u64().unwrap();
    assert!(results[1]["errors"][0].as_str().unwrap().contains("sprint_started"));
    assert!(results[2]["errors"][0].as_str().unwrap().contains("summary"));
    let listed = client.get("/rest/api/3/webhook").await.json();
    assert_eq!((&listed["total"], &listed["values"][0]["id"]), (&json!(1), &json!(id)));
    let refreshed = client.send("PUT", "/rest/api/3/webhook/refresh", &json!({"webhookIds": [id]})).await;
    assert!(refreshed.json()["expirationDate"].is_string(), "{}", refreshed.body);
    let control = reqwest_control(&simulator, "webhooks", &json!({"expire": true})).await;
    assert_eq!(control, 200);
    assert_eq!(client.get("/rest/api/3/webhook").await.json()["total"], 0);
}

async fn reqwest_control(simulator: &Simulator, call: &str, body: &Value) -> u16 {
    Client::new(&simulator.url()).send("POST", &format!("/__control/jira/{call}"), body).await.status
}

#[tokio::test]
async fn extremes_are_paged_like_everything_else() {
    let (simulator, client) = start_with(SimulatorConfig::default()).await;
    let mut made = generate::jira("acme", Deployment::Cloud, &[("ENG", 4, 10)]);
    generate::jira_extremes(&mut made, "ENG").unwrap();
    simulator.control().add_jira(made).unwrap();
    let comments = client.get("/rest/api/3/issue/ENG-11/comment?startAt=2450&maxResults=100").await.json();
    assert_eq!(
        (comments["total"].as_u64(), comments["comments"].as_array().map(Vec::len)),
        (Some(2500), Some(50))
    );
    assert_eq!(
        client.get("/rest/api/3/issue/ENG-12/changelog?startAt=100").await.json()["values"]
            .as_array()
            .unwrap()
            .len(),
        50
    );
    assert!(client.get("/rest/api/3/issue/ENG-13").await.json()["fields"].as_object().unwrap().len() > 300);
    assert!(client.get("/rest/api/3/issue/ENG-14").await.body.len() > 1_000_000);
    assert_eq!(all(&client, "project = ENG ORDER BY updated ASC, key ASC").await.len(), 1014);
}

#[test]
fn the_shared_real_data_is_read_completely() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !data.is_dir() {
        println!("skipped: ../shared/data is not here");
        return;
    }
    let site = titanium("titanium", &data).unwrap();
    assert_eq!((site.issue_count(), site.comment_count(), site.link_count()), (2183, 6431, 1267));
    let site = devlake("devlake", &data).unwrap();
    assert_eq!((site.issue_count(), site.history_count(), site.sprint_count()), (33, 522, 30));
}
