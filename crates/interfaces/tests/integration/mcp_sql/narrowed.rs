//! Keys that are narrowed to templates and sets of tools.

use application::Ctx;
use application::keys::KeySpec;
use application::testing::TENANT;
use domain::{Allowed, Grant, KeyKind, RequestId, Scopes, Toolset};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::*;

impl Server {
    pub(super) async fn narrowed(grant: Grant) -> Self {
        let mut server = Self::new();
        let ctx = Ctx::system(TENANT, "test", RequestId::new(Uuid::nil()));
        let scopes = Scopes::new([Scope::McpSql]).unwrap();
        let spec = KeySpec { grant, ..KeySpec::new("narrow", KeyKind::Assistant, scopes) };
        let created = server.world.services().keys.create(&ctx, spec).await.unwrap();
        server.key = created.text.expose_secret().to_owned();
        server
    }
}

// Security requirement 27.
#[tokio::test]
async fn a_template_outside_the_keys_list_is_like_one_that_is_not_there() {
    let grant = Grant { templates: Allowed::Only(["find_work_items".to_owned()].into()), ..Grant::default() };
    let server = Server::narrowed(grant).await;
    let names: Vec<String> =
        server.tools().await.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        names,
        [
            "find_work_items",
            "sql_explain_template",
            "sql_get_dictionary",
            "sql_get_freshness",
            "sql_list_templates",
            "sql_run_template"
        ]
    );
    let listed = server.call("sql_list_templates", json!({})).await;
    assert_eq!(listed["structuredContent"]["templates"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(server.call("find_work_items", json!({"query": "x"})).await["isError"], json!(false));

    let run = async |name: &str| {
        let answer =
            server.call("sql_run_template", json!({"name": name, "arguments": {"project": "a/b"}})).await;
        assert_eq!(answer["isError"], json!(true), "{answer}");
        answer.to_string().replace(name, "NAME")
    };
    assert_eq!(run("search_issues_by_project").await, run("no_such_template").await);
    let call = async |name: &str| {
        let params = json!({"name": name, "arguments": {"project": "a/b"}});
        server.rpc("tools/call", params).await["error"].to_string().replace(name, "NAME")
    };
    let hidden = call("search_issues_by_project").await;
    assert_eq!(hidden, call("no_such_template").await);
    assert!(hidden.contains("NAME"), "{hidden}");
}

#[tokio::test]
async fn without_the_set_of_sql_tools_the_server_is_closed() {
    let grant = Grant { toolsets: Allowed::Only([Toolset::JiraCore].into()), ..Grant::default() };
    let server = Server::narrowed(grant).await;
    let (status, problem) = server.invoke(json!({"name": "sql_list_templates", "arguments": {}})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("exceeds_own_rights")), "{problem}");
}
