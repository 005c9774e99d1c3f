//! The official TypeScript client as a separate process, and a second tenant that must see nothing.

use std::time::Duration;

use patchbay_e2e::{Patchbay, setting};
use serde_json::{Value, json};
use simulator::{Simulator, SimulatorConfig, TokenGrant, generate};

/// Calls tools through the SDK; one result each.
async fn ask(url: &str, key: &str, calls: &Value) -> Vec<Value> {
    let script = std::path::Path::new(&setting("PATCHBAY_TEST_MCP_CLIENT_DIR").unwrap()).join("call.mjs");
    let output = tokio::process::Command::new(setting("PATCHBAY_TEST_NODE").unwrap())
        .arg(script)
        .args([url, key, &calls.to_string()])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sdk_client_gets_what_the_database_holds_and_a_second_tenant_nothing_of_it() {
    let token = |name: &str, repository: &str| TokenGrant {
        token: format!("token-{name}"),
        login: name.into(),
        repositories: Some(vec![repository.into()]),
    };
    let config = SimulatorConfig {
        port: 0,
        repositories: vec![
            generate::repository("acme/app", 5, 120),
            generate::repository("globex/api", 6, 80),
        ],
        tokens: vec![token("acme", "acme/app"), token("globex", "globex/api")],
        latency: Duration::ZERO,
    };
    let tracker = Simulator::start(config).await.unwrap();
    let patchbay = Patchbay::install().await.unwrap();
    let running_parts = "admin,mcp-sql,worker";
    let (acme, _globex) = (patchbay.tenant("acme").await.unwrap(), patchbay.tenant("globex").await.unwrap());
    let running = patchbay.serve(running_parts).await.unwrap();
    let mcp = running.mcp_sql_url.clone().unwrap();
    let acme_api = running.api(&patchbay.key("acme", "admin").await.unwrap()).unwrap();
    let globex_api = running.api(&patchbay.key("globex", "admin").await.unwrap()).unwrap();
    let acme_key = patchbay.key("acme", "mcp:sql").await.unwrap();
    let globex_key = patchbay.key("globex", "mcp:sql").await.unwrap();
    let acme_instance = acme_api
        .connect_github(&tracker.url(), "token-acme", &json!({"repositories": ["acme/app"]}))
        .await
        .unwrap();
    let globex_instance = globex_api
        .connect_github(&tracker.url(), "token-globex", &json!({"repositories": ["globex/api"]}))
        .await
        .unwrap();
    let acme_run = acme_api.run_to(&acme_instance, "backfill", "succeeded").await.unwrap();
    globex_api.run_to(&globex_instance, "backfill", "succeeded").await.unwrap();

    // The answer over MCP equals the database.
    let calls = json!([["tools/list"], ["search_issues_by_project", {"project": "acme/app", "limit": 500}],
        ["search_issues_by_project", {"project": "acme/app", "status": "done", "limit": 500}],
        ["get_project_metrics", {"project": "acme/app"}], ["cycle_time_percentiles", {"project": "acme/app"}],
        ["find_work_items", {"query": "payment OR invoice OR login OR error"}], ["sql_list_templates", {}],
        ["sql_run_template", {"name": "search_issues_by_project", "arguments": {"project": "acme/app"}}],
        ["sql_get_freshness", {}]]);
    let answers = ask(&mcp, &acme_key, &calls).await;
    let names: Vec<&str> =
        answers[0]["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    for tool in [
        "search_issues_by_project",
        "get_project_metrics",
        "find_work_items",
        "cycle_time_percentiles",
        "sql_list_templates",
        "sql_run_template",
        "sql_get_freshness",
    ] {
        assert!(names.contains(&tool), "{tool} is missing in {names:?}");
    }
    let size = answers[0].to_string().len();
    assert!(size <= 15 * 1024, "the list of tools takes {size} bytes of every assistant's context");
    for (i, answer) in answers.iter().enumerate().skip(1) {
        assert!(answer["structuredContent"].is_object(), "call {i}: {answer}");
        assert_ne!(answer["isError"], true, "call {i}: {answer}");
    }
    let keys = |answer: &Value| -> Vec<String> {
        let names = ["source_key", "title", "status"];
        let columns = answer["structuredContent"]["columns"].as_array().unwrap();
        assert!(columns.iter().map(|column| &column["name"]).take(3).eq(names), "{columns:?}");
        answer["structuredContent"]["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| [0, 1, 2].map(|column| row[column].as_str().unwrap()).join("|"))
            .collect()
    };
    let db = &patchbay.database;
    let stored = db
        .texts(
            "select source_key || '|' || title || '|' || status_norm from work_items
        where project_key = 'acme/app' order by updated_at desc, id",
        )
        .await
        .unwrap();
    let (mut told, mut expected) = (keys(&answers[1]), stored.clone());
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!(told.len(), 120);
    let done: Vec<String> = stored.iter().filter(|key| key.ends_with("|done")).cloned().collect();
    assert_eq!(keys(&answers[2]).len(), done.len());
    let freshness = &answers[1]["structuredContent"]["freshness"];
    assert_eq!(freshness.as_array().map(Vec::len), Some(1), "only this tenant's instance: {freshness}");

    // The second tenant: no tool, route or id gives any of it.
    let foreign = json!([["search_issues_by_project", {"project": "acme/app", "limit": 500}],
        ["get_project_metrics", {"project": "acme/app"}], ["cycle_time_percentiles", {"project": "acme/app"}],
        ["find_work_items", {"query": "payment OR invoice OR login OR error", "limit": 100}], ["sql_get_freshness", {}],
        ["sql_run_template", {"name": "search_issues_by_project", "arguments": {"project": "acme/app"}}],
        ["search_issues_by_project", {"project": "acme/app", "tenant_id": acme}]]);
    for answer in ask(&mcp, &globex_key, &foreign).await {
        let text = answer.to_string();
        assert!(!text.contains("acme/app#"), "{text}");
        assert!(!text.contains(&acme_instance), "{text}");
    }
    let item = db
        .texts("select id::text from work_items where project_key = 'acme/app' limit 1")
        .await
        .unwrap()
        .remove(0);
    let run = acme_run["id"].as_str().unwrap();
    let unknown = uuid::Uuid::now_v7().to_string();
    for path in [
        "/api/v1/instances/{}",
        "/api/v1/instances/{}/freshness",
        "/api/v1/instances/{}/projects",
        "/api/v1/runs/{}",
        "/api/v1/runs/{}/events",
        "/api/v1/runs/{}/dead-letters",
        "/api/v1/work-items/{}",
    ] {
        let theirs = if path.contains("runs") {
            run
        } else if path.contains("work-items") {
            &item
        } else {
            &acme_instance
        };
        let foreign = globex_api.get(&path.replace("{}", theirs)).await.unwrap();
        let absent = globex_api.get(&path.replace("{}", &unknown)).await.unwrap();
        assert_eq!(foreign.status, 404, "{path}: {foreign:?}");
        let same = |body: &Value, id: &str| {
            body.to_string().replace(id, "ID").replace(body["request_id"].as_str().unwrap_or("-"), "-")
        };
        assert_eq!(
            same(&foreign.body, theirs),
            same(&absent.body, &unknown),
            "a foreign id answers like an unknown one"
        );
    }
    for path in [
        "/api/v1/instances/{}/test",
        "/api/v1/instances/{}/backfill",
        "/api/v1/instances/{}/sync",
        "/api/v1/runs/{}/cancel",
    ] {
        let theirs = if path.contains("runs") { run } else { &acme_instance };
        let refused = globex_api.post(&path.replace("{}", theirs), &json!({})).await.unwrap();
        assert_eq!(refused.status, 404, "{path}: {refused:?}");
    }
    let patched = globex_api
        .send(
            reqwest::Method::PATCH,
            &format!("/api/v1/instances/{acme_instance}"),
            Some(&json!({"name": "mine"})),
        )
        .await
        .unwrap();
    assert_eq!(patched.status, 404, "{patched:?}");
    let deleted = globex_api
        .send(reqwest::Method::DELETE, &format!("/api/v1/instances/{acme_instance}"), None)
        .await
        .unwrap();
    assert_eq!(deleted.status, 404, "{deleted:?}");
    let listed = globex_api.get("/api/v1/work-items?limit=200").await.unwrap();
    assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(80), "{:?}", listed.status);
    assert!(!listed.body.to_string().contains("acme/app"));
    let filtered = globex_api.get(&format!("/api/v1/work-items?instance={acme_instance}")).await.unwrap();
    assert_eq!(filtered.body["items"], json!([]), "{filtered:?}");

    // Walking the cursor gives every row once.
    let (mut seen, mut path) = (Vec::new(), "/api/v1/work-items?limit=50".to_owned());
    loop {
        let page = acme_api.get(&path).await.unwrap();
        seen.extend(
            page.body["items"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap().to_owned()),
        );
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/work-items?limit=50&cursor={cursor}"),
            None => break,
        }
    }
    let walked = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((walked, seen.len()), (120, 120));

    assert_eq!(running.terminate().await.unwrap(), Some(0));
    patchbay.database.drop().await.unwrap();
}
