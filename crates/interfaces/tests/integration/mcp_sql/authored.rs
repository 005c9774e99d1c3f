//! Templates of tenants as tools.

use application::Ctx;
use application::testing::{OTHER_TENANT, TENANT};
use domain::{Allowed, Principal, RequestId, Role, Scope, TenantId};
use serde_json::json;
use uuid::Uuid;

use super::Server;

fn admin(tenant: TenantId) -> Ctx {
    Ctx::new(tenant, Principal::System("test"), Role::Owner.scopes(), RequestId::new(Uuid::nil()))
}

async fn publish(server: &Server, tenant: TenantId, name: &str) {
    let authoring = server.world.services().authoring;
    authoring.create(&admin(tenant), name, "good").await.unwrap();
    authoring.publish(&admin(tenant), name, 1, &Allowed::All).await.unwrap();
}

#[tokio::test]
async fn a_published_template_of_the_tenant_is_a_tool_like_the_shipped_ones() {
    let mut server = Server::new();
    publish(&server, TENANT, "mine").await;
    let names: Vec<String> =
        server.tools().await.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
    assert!(names.is_sorted() && names.contains(&"mine".to_owned()), "{names:?}");
    let direct = server.call("mine", json!({"limit": 2})).await;
    assert_eq!(direct["structuredContent"]["row_count"], 2, "{direct}");
    let named = server.call("sql_run_template", json!({"name": "mine"})).await;
    assert_eq!(named["isError"], json!(false), "{named}");
    let records = server.world.records(TENANT);
    let runs = records.iter().filter(|record| record.action == "template.run").count();
    assert_eq!(runs, 2, "{records:?}");

    server.key = server.world.key_of(OTHER_TENANT, &[Scope::McpSql]);
    let foreign = server.call("sql_run_template", json!({"name": "mine"})).await;
    let unknown = server.call("sql_run_template", json!({"name": "never_was"})).await;
    assert_eq!(foreign, unknown, "a foreign template is answered like an unknown one");
}

#[tokio::test]
async fn a_retired_template_is_answered_like_an_unknown_one() {
    let server = Server::new();
    publish(&server, TENANT, "mine").await;
    server.world.services().authoring.retire(&admin(TENANT), "mine").await.unwrap();
    let (status, gone) = server.invoke(json!({"name": "mine"})).await;
    let (_, unknown) = server.invoke(json!({"name": "none"})).await;
    assert_eq!((status.as_u16(), &gone["code"]), (404, &json!("unknown_tool")), "{gone}");
    let text = |answer: &serde_json::Value| answer["detail"].as_str().unwrap().to_owned();
    assert_eq!(text(&gone).replace("mine", "NAME"), text(&unknown).replace("none", "NAME"));
    assert!(server.tools().await.iter().all(|tool| tool["name"] != "mine"));
}
