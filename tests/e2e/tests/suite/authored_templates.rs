//! Templates that tenants write, through the running product: two replicas, two tenants, and a hostile admin.

use std::time::Duration;

use patchbay_e2e::{Api, Patchbay};
use serde_json::{Value, json};
use simulator::{Simulator, SimulatorConfig, TokenGrant, generate};

fn text(statement: &str) -> String {
    format!("/*\ntitle = 'Own'\ndescription = 'Titles of items.'\n*/\n{statement}")
}

const TITLES: &str =
    "select w.title as title, w.project_key as project from work_items w where w.tenant_id = $1";

async fn create(api: &Api, name: &str, statement: &str) -> Value {
    let made =
        api.post("/api/v1/templates", &json!({"name": name, "source": text(statement)})).await.unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    made.body
}

async fn publish(api: &Api, name: &str, visible_to: &Value) {
    let mut body = json!({"version": 1});
    match visible_to {
        Value::Null => body["all_keys"] = json!(true),
        keys => body["visible_to"] = keys.clone(),
    }
    let published = api.post(&format!("/api/v1/templates/{name}/publish"), &body).await.unwrap();
    assert_eq!(published.status, 200, "{published:?}");
}

/// Calls the tool until it answers so. A change counts within five seconds on every replica; a test waits longer rather
/// than to fail on a busy machine.
async fn until(api: &Api, mcp: &str, tool: &str, status: u16) -> Value {
    for _ in 0..150 {
        let answer = api.invoke(mcp, tool, &json!({"limit": 100})).await.unwrap();
        if answer.status == status {
            return answer.body;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{tool} does not answer {status}")
}

fn projects(answer: &Value) -> Vec<&str> {
    let mut projects: Vec<&str> =
        answer["rows"].as_array().unwrap().iter().map(|row| row[1].as_str().unwrap()).collect();
    projects.dedup();
    projects
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_templates_are_its_own_on_every_replica_and_a_hostile_admin_gets_findings() {
    let token = |tenant: &str| TokenGrant {
        token: format!("token-{tenant}"),
        login: tenant.into(),
        repositories: Some(vec![format!("{tenant}/app")]),
    };
    let tracker = Simulator::start(SimulatorConfig {
        port: 0,
        repositories: vec![
            generate::repository("acme/app", 5, 12),
            generate::repository("globex/app", 6, 12),
        ],
        tokens: vec![token("acme"), token("globex")],
        latency: Duration::ZERO,
    })
    .await
    .unwrap();
    let patchbay = Patchbay::install().await.unwrap();
    let (one, two) =
        (patchbay.serve("admin,mcp-sql,worker").await.unwrap(), patchbay.serve("mcp-sql").await.unwrap());
    let (first, second) = (one.mcp_sql_url.clone().unwrap(), two.mcp_sql_url.clone().unwrap());
    let mut tenants = Vec::new();
    for slug in ["acme", "globex"] {
        patchbay.tenant(slug).await.unwrap();
        let admin = one.api(&patchbay.key(slug, "admin").await.unwrap()).unwrap();
        let settings = json!({"repositories": [format!("{slug}/app")]});
        let instance =
            admin.connect_github(&tracker.url(), &format!("token-{slug}"), &settings).await.unwrap();
        admin.run_to(&instance, "backfill", "succeeded").await.unwrap();
        tenants.push(admin);
    }
    let [acme, globex] = &tenants[..] else { panic!("there are two") };

    // The same name in both.
    create(acme, "titles", TITLES).await;
    create(globex, "titles", TITLES).await;
    let helpdesk = json!({"name": "helpdesk", "scopes": ["mcp:sql"]});
    let helpdesk = acme.post("/api/v1/keys", &helpdesk).await.unwrap().body;
    publish(acme, "titles", &json!([helpdesk["id"]])).await;
    let assistant = acme.with_key(helpdesk["key"].as_str().unwrap());
    for mcp in [&first, &second] {
        assert_eq!(projects(&until(&assistant, mcp, "titles", 200).await), ["acme/app"]);
        // Neither another key of the tenant nor the other tenant has it.
        for other in [acme, globex] {
            assert_eq!(other.invoke(mcp, "titles", &json!({})).await.unwrap().status, 404);
        }
    }
    publish(globex, "titles", &Value::Null).await;
    for mcp in [&first, &second] {
        assert_eq!(projects(&until(globex, mcp, "titles", 200).await), ["globex/app"]);
    }

    let retired = acme.post("/api/v1/templates/titles/retire", &json!({})).await.unwrap();
    assert_eq!((retired.status, &retired.body["state"]), (200, &json!("retired")));
    for mcp in [&first, &second] {
        until(&assistant, mcp, "titles", 404).await;
        assert_eq!(projects(&until(globex, mcp, "titles", 200).await), ["globex/app"]);
    }
    let runs = acme.get("/api/v1/templates/titles/runs").await.unwrap();
    assert!(
        runs.body["items"].as_array().unwrap().iter().any(|run| run["principal"] == "helpdesk"),
        "{runs:?}"
    );

    let foreign =
        globex.get("/api/v1/tenant").await.unwrap().body["id"].as_str().unwrap_or_default().to_owned();
    for hostile in [
        "select set_config('app.current_tenant_id', 'x', true) as title from work_items w where w.tenant_id = $1".to_owned(),
        format!("select w.title as title from work_items w where w.tenant_id = '{foreign}'"),
        "select w.title as title from work_items w".to_owned(),
        "select w.title as title from public.work_items w where w.tenant_id = $1".to_owned(),
        "select k.key as title from public.template_seal k".to_owned(),
        "select current_setting('app.tenant_seal') as title from work_items w where w.tenant_id = $1".to_owned(),
        "select w.title as title from work_items w where w.tenant_id = $1; set app.current_tenant_id = ''".to_owned(),
        "select query_to_xml('select 1', true, true, '')::text as title from work_items w where w.tenant_id = $1".to_owned(),
    ] {
        let draft = create(acme, "hostile", &hostile).await;
        assert_eq!(draft["state"], "draft", "{hostile}: {draft}");
        assert!(!draft["shown"]["report"]["findings"].as_array().unwrap().is_empty(), "{hostile}");
        let version = draft["version"].clone();
        let body = json!({"version": version, "all_keys": true});
        let refused = acme.post("/api/v1/templates/hostile/publish", &body);
        assert_eq!(refused.await.unwrap().status, 422, "{hostile}");
        let tried = acme.post("/api/v1/templates/hostile/try", &json!({})).await.unwrap();
        assert_eq!((tried.status, tried.body["code"].as_str()), (409, Some("conflict")), "{hostile}");
    }
    // Tenants for probing are there by now, and on no operator's list.
    let listed = patchbay.run(&["tenant", "list"]).await.unwrap();
    assert!(!listed.contains("probe"), "{listed}");
    let (_, doctor) = patchbay.fails(&["tenant", "show", "patchbay-probe-1"], &[]).await.unwrap();
    assert!(!doctor.contains("probe item"), "{doctor}");
    for server in [one, two] {
        assert_eq!(server.terminate().await.unwrap(), Some(0));
    }
    patchbay.run(&["tenant", "delete", "acme", "--confirm", "acme"]).await.unwrap();
    patchbay.database.drop().await.unwrap();
}
