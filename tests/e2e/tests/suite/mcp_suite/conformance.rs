//! The official conformance suite (npm `@modelcontextprotocol/conformance`) against both servers of the running product, for
//! both revisions. What it cannot find here stands in `tests/e2e/mcp-suite/<revision>.yaml`, each with its reason, and what it
//! cannot find at one server alone in `<server>-<revision>.yaml`; an exception that is none any more fails as well.

use std::path::PathBuf;

use patchbay_e2e::setting;
use tokio::process::Command;

use super::world::{Server, World, installed};
use crate::front::{self, Front};

/// What neither server need have, and what this one need not.
fn exceptions_of(server: Server, revision: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("mcp-suite");
    let common = std::fs::read_to_string(folder.join(format!("{revision}.yaml"))).unwrap();
    let own = std::fs::read_to_string(folder.join(format!("{}-{revision}.yaml", server.name())));
    // Both are lists under the same word.
    let own = own.unwrap_or_default();
    let (_, own) = own.split_once("server:\n").unwrap_or_default();
    format!("{common}{own}")
}

async fn conforms(server: Server, revision: &str) {
    let Some(folder) = installed("PATCHBAY_TEST_MCP_SUITE_DIR") else { return };
    let (listener, port) = front::place().await;
    let origins = format!("http://127.0.0.1:{port},http://localhost:{port}");
    let world = World::of(server, &[("PATCHBAY_MCP_ALLOWED_ORIGINS", &origins)]).await;
    // The suite sends no credential.
    let _front = Front::with_key(listener, &world.mcp, &world.key);
    let results = tempfile::tempdir().unwrap();
    let exceptions = results.path().join("exceptions.yaml");
    std::fs::write(&exceptions, exceptions_of(server, revision)).unwrap();
    let output = Command::new(setting("PATCHBAY_TEST_NODE").unwrap())
        .arg(folder.join("node_modules/@modelcontextprotocol/conformance/dist/index.js"))
        .args(["server", "--url", &format!("http://127.0.0.1:{port}/mcp"), "--requirements", revision])
        .arg("--expected-failures")
        .arg(exceptions)
        .arg("-o")
        .arg(results.path())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_conforms_to_revision_2026_07_28() {
    conforms(Server::Sql, "2026-07-28").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_conforms_to_revision_2025_11_25() {
    conforms(Server::Sql, "2025-11-25").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jira_server_conforms_to_revision_2026_07_28() {
    conforms(Server::Jira, "2026-07-28").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jira_server_conforms_to_revision_2025_11_25() {
    conforms(Server::Jira, "2025-11-25").await;
}
