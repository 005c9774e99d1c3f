//! Clients over Streamable HTTP, in both eras.

use patchbay_e2e::setting;
use serde_json::Value;
use tokio::process::Command;

use super::world::{Client, Server, World, check, installed, questions};

async fn clients_of_both_eras(server: Server) {
    let clients = [("typescript", Client::typescript()), ("python", Client::python())];
    if clients.iter().all(|(_, client)| client.is_none()) {
        return;
    }
    let world = World::of(server, &[]).await;
    for (name, client) in clients {
        let Some(client) = client else { continue };
        for (mode, version) in
            [("legacy", "2025-11-25"), ("auto", "2026-07-28"), ("2026-07-28", "2026-07-28")]
        {
            let (agreed, answers) =
                client.ask(mode, "http", &world.mcp, &world.key, &questions(server)).await;
            assert_eq!(agreed, version, "{name} {mode}");
            check(server, &format!("{name} {mode}"), &answers);
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_and_python_clients_of_both_eras_get_tools_resources_and_prompts() {
    clients_of_both_eras(Server::Sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_and_python_clients_of_both_eras_read_and_write_jira() {
    clients_of_both_eras(Server::Jira).await;
}

/// `call` is a tool with its arguments; the list names `listed`, the answer `told`.
async fn inspector(server: Server, listed: &str, call: &[&str], told: &str) {
    let Some(folder) = installed("PATCHBAY_TEST_MCP_SUITE_DIR") else { return };
    let world = World::of(server, &[]).await;
    let home = tempfile::tempdir().unwrap();
    let inspect = async |arguments: &[&str]| -> Value {
        let output = Command::new(setting("PATCHBAY_TEST_NODE").unwrap())
            .arg(folder.join("node_modules/.bin/mcp-inspector"))
            .args(["--cli", &world.mcp, "--transport", "http", "--header"])
            .arg(format!("Authorization: Bearer {}", world.key))
            .args(["--stored-auth-only", "-q", "--format", "json"])
            .args(arguments)
            // It keeps files of its own at home.
            .env("HOME", home.path())
            .env_remove("MCP_CATALOG_PATH")
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let (said, complaint) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {:?}\n{said}\n{complaint}", output.status);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{said}"))
    };
    for era in ["legacy", "auto", "modern"] {
        let tools = inspect(&["--protocol-era", era, "--method", "tools/list", "--strict"]).await;
        assert!(tools.to_string().contains(&format!("\"{listed}\"")), "{era}: {tools}");
        let call = [&["--protocol-era", era, "--method", "tools/call", "--tool-name"], call].concat();
        let called = inspect(&call).await;
        assert!(called.to_string().contains(told), "{era}: {called}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_finds_no_fault_in_the_schemas_and_calls_a_tool_in_each_era() {
    let call = ["search_issues_by_project", "--tool-arg", "project=acme/app"];
    inspector(Server::Sql, "find_work_items", &call, "acme/app#").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_finds_no_fault_in_jiras_schemas_and_calls_a_tool_in_each_era() {
    let call = ["jira_get_issue", "--tool-arg", "key=ENG-7"];
    inspector(Server::Jira, "jira_create_issue", &call, "ENG-7 of acme").await;
}
