//! Resources, prompts and completions, and what is declared of them.

use application::testing::TENANT;
use domain::{Allowed, Grant};

use super::*;

impl Server {
    /// A request of revision 2026-07-28.
    async fn modern(&self, method: &str, name: Option<&str>, mut params: Value) -> (StatusCode, Value) {
        params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                                 "io.modelcontextprotocol/clientCapabilities": {}});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let request =
            self.post("/mcp").header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
        let request = match name {
            Some(name) => request.header("mcp-name", name),
            None => request,
        };
        let (status, _, json) = self.send(request.body(body.into()).unwrap()).await;
        (status, json)
    }

    async fn read(&self, uri: &str) -> Value {
        self.rpc("resources/read", json!({"uri": uri})).await
    }

    async fn content(&self, uri: &str) -> Value {
        let answer = self.read(uri).await;
        serde_json::from_str(
            answer["result"]["contents"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")),
        )
        .unwrap()
    }

    async fn completed(&self, begin: &str) -> Value {
        let params = json!({"ref": {"type": "ref/resource", "uri": "patchbay://templates/{name}"},
                            "argument": {"name": "name", "value": begin}});
        self.rpc("completion/complete", params).await["result"]["completion"]["values"].take()
    }
}

// Security requirement 27, for what is beside the tools.
#[tokio::test]
async fn resources_prompts_and_completions_show_no_template_outside_the_keys_list() {
    let wide = Server::new();
    let all = wide.content("patchbay://templates").await;
    assert_eq!(all["templates"].as_array().unwrap().len(), 4, "{all}");
    let one = wide.content("patchbay://templates/find_work_items").await;
    assert_eq!((&one["name"], one["columns"].is_array()), (&json!("find_work_items"), true));
    assert_eq!(wide.completed("get_").await, json!(["get_project_metrics"]));
    let prompts = wide.rpc("prompts/list", json!({})).await["result"]["prompts"].take();
    assert_eq!(prompts.as_array().unwrap().len(), 3, "{prompts}");

    let grant = Grant { templates: Allowed::Only(["find_work_items".to_owned()].into()), ..Grant::default() };
    let narrow = Server::narrowed(grant).await;
    let mine = narrow.content("patchbay://templates").await;
    assert_eq!(mine["templates"].as_array().unwrap().len(), 1, "{mine}");
    let refused =
        async |uri: &str, name: &str| narrow.read(uri).await["error"].to_string().replace(name, "NAME");
    let hidden = refused("patchbay://templates/get_project_metrics", "get_project_metrics").await;
    assert_eq!(hidden, refused("patchbay://templates/no_such_template", "no_such_template").await);
    assert!(hidden.contains("-32002"), "{hidden}");
    assert_eq!(narrow.completed("").await, json!(["find_work_items"]));
    let prompts = narrow.rpc("prompts/list", json!({})).await;
    assert_eq!(prompts["result"]["prompts"], json!([]), "{prompts}");
    let got = async |name: &str| {
        let params = json!({"name": name, "arguments": {"project": "a/b"}});
        narrow.rpc("prompts/get", params).await["error"].to_string()
    };
    assert_eq!(got("weekly_report").await, got("no_such_prompt").await);
}

#[tokio::test]
async fn what_depends_on_the_caller_is_for_the_caller_alone_and_in_order() {
    let server = Server::new();
    for (method, list, by) in [
        ("resources/list", "resources", "uri"),
        ("resources/templates/list", "resourceTemplates", "uriTemplate"),
        ("prompts/list", "prompts", "name"),
    ] {
        let (status, answer) = server.modern(method, None, json!({})).await;
        let result = &answer["result"];
        assert_eq!((status.as_u16(), &result["cacheScope"]), (200, &json!("private")), "{answer}");
        assert!(result["ttlMs"].as_u64().is_some_and(|ttl| ttl > 0), "{answer}");
        let names: Vec<&str> =
            result[list].as_array().unwrap().iter().map(|entry| entry[by].as_str().unwrap()).collect();
        assert!(names.is_sorted(), "{names:?}");
    }
    let uri = "patchbay://freshness";
    let (status, answer) = server.modern("resources/read", Some(uri), json!({"uri": uri})).await;
    assert_eq!((status.as_u16(), &answer["result"]["cacheScope"]), (200, &json!("private")), "{answer}");
}

#[tokio::test]
async fn changes_are_promised_only_to_clients_that_can_be_told_of_them() {
    let server = Server::new();
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let old = server.rpc("initialize", hello).await["result"]["capabilities"].take();
    assert_eq!(
        (&old["tools"], &old["resources"], &old["prompts"]),
        (&json!({}), &json!({}), &json!({})),
        "{old}"
    );
    let (_, new) = server.modern("server/discover", None, json!({})).await;
    let new = &new["result"]["capabilities"];
    assert_eq!(new["tools"]["listChanged"], true, "{new}");
    assert_eq!(
        (&new["resources"]["listChanged"], &new["resources"]["subscribe"]),
        (&json!(true), &json!(true))
    );
}

#[tokio::test]
async fn a_look_at_a_resource_is_on_the_record() {
    let server = Server::new();
    server.content("patchbay://templates").await;
    server.read("patchbay://templates/nothing").await;
    let records = server.world.records(TENANT);
    let reads: Vec<(&str, &str)> =
        records.iter().map(|record| (record.action.as_str(), record.outcome.as_str())).collect();
    assert_eq!(reads, [("resource.read", "ok"), ("resource.read", "failed")], "{records:?}");
}
