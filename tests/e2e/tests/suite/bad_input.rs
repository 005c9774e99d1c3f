//! Wrong input of every kind: a clear error that says what to do, and nothing half-written.

use std::time::Duration;

use patchbay_e2e::Patchbay;
use serde_json::{Value, json};
use simulator::{Simulator, SimulatorConfig, TokenGrant, generate};

const TOKEN: &str = "e2e-token";

#[tokio::test(flavor = "multi_thread")]
async fn wrong_input_gets_a_clear_answer_and_leaves_nothing_behind() {
    let tokens = vec![TokenGrant { token: TOKEN.into(), login: "sync".into(), repositories: None }];
    let repositories = vec![generate::repository("acme/app", 3, 60)];
    let config = SimulatorConfig { port: 0, repositories, tokens, latency: Duration::ZERO };
    let tracker = Simulator::start(config).await.unwrap();
    let patchbay = Patchbay::install().await.unwrap();
    let tenant = patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    let assistant = patchbay.key("acme", "mcp:sql").await.unwrap();
    let running = patchbay.serve("admin,mcp-sql,worker").await.unwrap();
    let api = running.api(&key).unwrap();
    let mcp = running.mcp_sql_url.clone().unwrap();
    let good = json!({"source": "github", "name": "app", "base_url": tracker.url(),
        "credentials": {"kind": "token", "token": TOKEN}, "settings": {"repositories": ["acme/app"]}});
    let with = |change: fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        body
    };

    // Bodies that are refused at the edge.
    for (what, body, status, code) in [
        ("unknown source", with(|b| b["source"] = json!("gitlab")), 422, "invalid_input"),
        ("no name", with(|b| b["name"] = json!("")), 422, "invalid_input"),
        (
            "repository without owner",
            with(|b| b["settings"]["repositories"] = json!(["app"])),
            422,
            "invalid_input",
        ),
        ("unknown setting", with(|b| b["settings"]["repos"] = json!([])), 422, "invalid_input"),
        ("user in the URL", with(|b| b["base_url"] = json!("https://a:b@example.com")), 422, "invalid_input"),
        ("not a web address", with(|b| b["base_url"] = json!("ftp://example.com")), 422, "invalid_input"),
        (
            "unknown kind of credential",
            with(|b| b["credentials"] = json!({"kind": "magic", "token": "hunter2-secret"})),
            422,
            "invalid_input",
        ),
    ] {
        let answer = api.post("/api/v1/instances", &body).await.unwrap();
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{what}: {answer:?}");
        assert_eq!(answer.content_type, "application/problem+json", "{what}");
        assert!(
            !answer.body.to_string().contains("hunter2-secret"),
            "{what} leaks the credential: {answer:?}"
        );
    }
    let malformed = api.send_text("/api/v1/instances", "application/json", "{\"source\": ").await.unwrap();
    assert_eq!(
        (malformed.status, malformed.body["code"].as_str()),
        (400, Some("malformed_json")),
        "{malformed:?}"
    );
    let oversized =
        api.send_text("/api/v1/instances", "application/json", &" ".repeat(1_100_000)).await.unwrap();
    assert_eq!(oversized.status, 413, "{oversized:?}");
    let form = api.send_text("/api/v1/instances", "application/x-www-form-urlencoded", "a=b").await.unwrap();
    assert_eq!(form.status, 415, "{form:?}");
    for path in ["/api/v1/nothing", "/nothing", "/api/v2/me"] {
        let unknown = api.get(path).await.unwrap();
        assert_eq!(
            (unknown.status, unknown.content_type.as_str()),
            (404, "application/problem+json"),
            "{path}: {unknown:?}"
        );
    }
    for path in [
        "/api/v1/work-items?limit=0",
        "/api/v1/work-items?limit=201",
        "/api/v1/work-items?status=finished",
        "/api/v1/work-items?colour=red",
        "/api/v1/work-items?instance=1",
        "/api/v1/work-items?cursor=!!",
        "/api/v1/runs?state=x",
    ] {
        let refused = api.get(path).await.unwrap();
        assert_eq!(
            (refused.status, refused.body["code"].as_str()),
            (422, Some("invalid_input")),
            "{path}: {refused:?}"
        );
    }
    for bad in ["", "nonsense", "pb_live_AAAAAAAAAAAA_00000000000000000000000000000000_000000"] {
        let refused = api.with_key(bad).get("/api/v1/me").await.unwrap();
        assert_eq!(refused.status, 401, "{bad}: {refused:?}");
    }
    let db = &patchbay.database;
    assert_eq!(
        db.count("select count(*) from source_instances").await.unwrap(),
        0,
        "something was half-written"
    );
    assert_eq!(db.count("select count(*) from credentials").await.unwrap(), 0, "something was half-written");

    // What only the tracker can tell: the test says it, and a run fails with a hint.
    for (what, change, code) in [
        ("wrong token", json!({"credentials": {"kind": "token", "token": "wrong"}}), "source_unauthorized"),
        ("unknown repository", json!({"settings": {"repositories": ["acme/none"]}}), "source_not_found"),
        ("nobody there", json!({"base_url": "http://127.0.0.1:59999"}), "source_unavailable"),
        ("private address", json!({"base_url": "http://10.0.0.1"}), "egress_blocked"),
        ("metadata address", json!({"base_url": "http://169.254.169.254"}), "egress_blocked"),
    ] {
        let mut body = good.clone();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let created = api.post("/api/v1/instances", &body).await.unwrap();
        assert_eq!(created.status, 201, "{what}: {created:?}");
        let id = created.body["id"].as_str().unwrap();
        let tested = api.post(&format!("/api/v1/instances/{id}/test"), &json!({})).await.unwrap();
        assert_eq!(tested.status, 200, "{what}: {tested:?}");
        let problems = tested.body["problems"].to_string();
        assert!(problems.len() > 30, "{what}: the test does not say what is wrong: {tested:?}");
        assert!(!problems.contains(TOKEN), "{what}: {problems}");
        if what != "unknown repository" {
            assert_eq!(tested.body["connected"], false, "{what}: {tested:?}");
        }
        if code != "source_unavailable" {
            let run = api.run_to(id, "backfill", "failed").await.unwrap();
            assert_eq!(run["error"]["code"], code, "{what}: {run}");
            assert!(run["error"]["hint"].as_str().unwrap().len() > 30, "{what}: {run}");
        }
        api.send(reqwest::Method::DELETE, &format!("/api/v1/instances/{id}"), None).await.unwrap();
    }
    assert_eq!(db.count("select count(*) from work_items").await.unwrap(), 0);

    // Tools.
    let instance =
        api.connect_github(&tracker.url(), TOKEN, &json!({"repositories": ["acme/app"]})).await.unwrap();
    api.run_to(&instance, "backfill", "succeeded").await.unwrap();
    let ask = api.with_key(&assistant);
    let project = json!({"project": "acme/app"});
    let rows = |answer: &patchbay_e2e::Answer| {
        answer
            .body
            .pointer("/structuredContent/rows")
            .or(answer.body.get("rows"))
            .and_then(Value::as_array)
            .map(Vec::len)
    };
    let all = ask.invoke(&mcp, "search_issues_by_project", &project).await.unwrap();
    assert_eq!(rows(&all), Some(50), "{all:?}");
    for (what, arguments, field) in [
        ("limit out of range", json!({"project": "acme/app", "limit": 100_000}), "limit"),
        ("missing parameter", json!({}), "project"),
        ("tenant in a parameter", json!({"project": "acme/app", "tenant_id": tenant}), "tenant_id"),
        ("wrong type", json!({"project": 7}), "project"),
        ("unknown status", json!({"project": "acme/app", "status": "finished"}), "status"),
    ] {
        let refused = ask.invoke(&mcp, "search_issues_by_project", &arguments).await.unwrap();
        let text = refused.body.to_string();
        assert!(text.contains("invalid_input") && text.contains(field), "{what}: {refused:?}");
    }
    let injected = json!({"project": "acme/app' or '1'='1"});
    let none = ask.invoke(&mcp, "search_issues_by_project", &injected).await.unwrap();
    assert_eq!(rows(&none), Some(0), "SQL in a parameter is a value: {none:?}");
    let unknown = ask
        .invoke(&mcp, "sql_run_template", &json!({"name": "drop_everything", "arguments": {}}))
        .await
        .unwrap();
    assert!(unknown.body.to_string().contains("not_found"), "{unknown:?}");
    let no_tool = ask.invoke(&mcp, "execute_sql", &json!({"sql": "select 1"})).await.unwrap();
    assert!(no_tool.status >= 400, "{no_tool:?}");
    let wrong_key =
        api.with_key("nonsense").invoke(&mcp, "search_issues_by_project", &project).await.unwrap();
    assert_eq!(wrong_key.status, 401, "{wrong_key:?}");

    // A key without the scope.
    let refused = api.with_key(&assistant).get("/api/v1/instances").await.unwrap();
    assert_eq!((refused.status, refused.body["code"].as_str()), (403, Some("forbidden")), "{refused:?}");

    let logs = patchbay.logs().unwrap();
    for secret in [TOKEN, key.as_str(), assistant.as_str(), "hunter2-secret"] {
        assert!(!logs.contains(secret), "the log holds a secret");
    }
    assert_eq!(running.terminate().await.unwrap(), Some(0));
    patchbay.database.drop().await.unwrap();
}

#[tokio::test]
async fn a_start_without_a_good_master_key_is_refused() {
    let patchbay = Patchbay::install().await.unwrap();
    let (code, said) = patchbay.fails(&["serve"], &["PATCHBAY_MASTER_KEY"]).await.unwrap();
    assert_eq!(code, 1);
    assert!(said.contains("PATCHBAY_MASTER_KEY") && said.contains("openssl rand"), "{said}");
    for bad in ["changeme", "0000000000000000000000000000000000000000000000000000000000000000", "short"] {
        let (code, said) = patchbay.fails(&["serve", "--master-key", bad], &[]).await.unwrap();
        assert_eq!(code, 1, "{bad} was accepted");
        assert!(!said.contains(bad) || bad == "short", "the message repeats the key: {said}");
    }
    let other = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let (code, said) = patchbay.fails(&["serve", "--master-key", other], &[]).await.unwrap();
    assert_eq!(code, 1, "a key that does not open the vault was accepted");
    assert!(said.contains("master key"), "{said}");
    assert_eq!(patchbay.fails(&["serve", "--no-such-flag"], &[]).await.unwrap().0, 2);
    patchbay.database.drop().await.unwrap();
}
