//! `patchbay mcp stdio`: clients that only speak stdio, through the bridge.

use std::process::Stdio;

use patchbay_e2e::setting;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::world::{Client, Server, World, check, questions};

async fn clients_on_stdio(server: Server) {
    let clients = [("typescript", Client::typescript()), ("python", Client::python())];
    if clients.iter().all(|(_, client)| client.is_none()) {
        return;
    }
    let world = World::of(server, &[]).await;
    let bridge = setting("PATCHBAY_TEST_BIN").unwrap();
    let command = json!([bridge, "mcp", "stdio", "--server", server.name(), "--url", world.mcp]);
    for (name, client) in clients {
        let Some(client) = client else { continue };
        for (mode, version) in [("legacy", "2025-11-25"), ("2026-07-28", "2026-07-28")] {
            let (agreed, answers) =
                client.ask(mode, "stdio", &command.to_string(), &world.key, &questions(server)).await;
            assert_eq!(agreed, version, "{name} {mode}");
            check(server, &format!("{name} {mode} over stdio"), &answers);
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_on_stdio_get_what_clients_over_http_get_in_both_eras() {
    clients_on_stdio(Server::Sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_on_stdio_read_and_write_jira_in_both_eras() {
    clients_on_stdio(Server::Jira).await;
}

/// Runs the bridge over this input to its end: what it wrote, line by line, what it complained of, its exit code.
async fn bridge(arguments: &[&str], key: &str, input: &str) -> (Vec<Value>, String, Option<i32>) {
    let mut child = Command::new(setting("PATCHBAY_TEST_BIN").unwrap())
        .args(["mcp", "stdio"])
        .args(arguments)
        .env("PATCHBAY_API_KEY", key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that has ended at once reads nothing.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let (mut said, mut complaint) = (String::new(), String::new());
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    tokio::try_join!(stdout.read_to_string(&mut said), stderr.read_to_string(&mut complaint)).unwrap();
    let code = child.wait().await.unwrap().code();
    let lines =
        said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    (lines, complaint, code)
}

fn modern(id: u32, method: &str, mut params: Value) -> String {
    params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                             "io.modelcontextprotocol/clientCapabilities": {}});
    format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_is_answered_after_the_input_has_ended_and_nothing_else_is_written() {
    let world = World::start(&[]).await;
    let to_server = ["--server", "sql", "--url", &world.mcp];
    let mut input = modern(1, "tools/call", json!({"name": "sql_list_templates", "arguments": {}}));
    // Has no end of its own, so the end of the input is its end.
    input.push_str(&modern(2, "subscriptions/listen", json!({"notifications": {"toolsListChanged": true}})));
    input.push_str("this is no JSON\n\n[]\n");
    let (lines, complaint, code) = bridge(&to_server, &world.key, &input).await;
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{lines:?}");
    let answer = |id: Value| lines.iter().filter(|line| line["id"] == id).collect::<Vec<_>>();
    assert!(answer(json!(1))[0]["result"]["structuredContent"]["templates"].is_array(), "{lines:?}");
    let codes: Vec<_> =
        answer(Value::Null).iter().filter_map(|line| line["error"]["code"].as_i64()).collect();
    assert_eq!(codes, [-32700, -32600], "{lines:?}");

    // A key that is none: the client is answered, and people are told what to do.
    let ping = format!("{}\n", json!({"jsonrpc": "2.0", "id": "a", "method": "ping"}));
    let (lines, complaint, code) = bridge(&to_server, "pb_live_nobody", &ping).await;
    assert_eq!((code, &lines[0]["id"]), (Some(0), &json!("a")), "{lines:?}");
    assert!(lines[0]["error"]["message"].as_str().unwrap().contains("401"), "{lines:?}");
    assert!(complaint.contains("PATCHBAY_API_KEY"), "{complaint}");
    assert!(!complaint.contains("pb_live_nobody"), "{complaint}");

    let nobody = ["--server", "sql", "--url", "http://127.0.0.1:1025/mcp"];
    let (lines, complaint, _) = bridge(&nobody, &world.key, &ping).await;
    assert_eq!(lines[0]["error"]["code"], -32000, "{lines:?}");
    assert!(complaint.contains("PATCHBAY_MCP_URL"), "{complaint}");
    world.end().await;
}
