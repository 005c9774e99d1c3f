//! A tenant with a little data, and programs that ask for it at one of the servers.

mod jira;
mod sql;

use std::path::PathBuf;

use patchbay_e2e::{Api, Patchbay, Started, setting};
use serde_json::Value;
use simulator::Simulator;
use tokio::process::Command;

/// A server that programs of others are let loose on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Sql,
    Jira,
}

impl Server {
    /// As the bridge calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Jira => "jira",
        }
    }
}

/// One tenant, its synced items, and a running server.
pub(super) struct World {
    pub(super) patchbay: Patchbay,
    pub(super) running: Started,
    pub(super) mcp: String,
    /// Of the tenant, with the scope of the server.
    pub(super) key: String,
    pub(super) admin: Api,
    _tracker: Simulator,
}

impl World {
    /// The server of templates.
    pub(super) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::of(Server::Sql, settings).await
    }

    pub(super) async fn of(server: Server, settings: &[(&str, &str)]) -> Self {
        let tracker = match server {
            Server::Sql => sql::tracker().await,
            Server::Jira => jira::tracker().await,
        };
        let patchbay = Patchbay::install().await.unwrap();
        patchbay.tenant("acme").await.unwrap();
        let (scope, parts) = match server {
            Server::Sql => ("mcp:sql", "admin,mcp-sql,worker"),
            Server::Jira => ("mcp:jira:write", "admin,mcp-jira,worker"),
        };
        let key = patchbay.key("acme", scope).await.unwrap();
        let running = patchbay.serve_with(parts, settings).await.unwrap();
        let admin = running.api(&patchbay.key("acme", "admin").await.unwrap()).unwrap();
        let (instance, mcp) = match server {
            Server::Sql => (sql::connect(&admin, &tracker).await, &running.mcp_sql_url),
            Server::Jira => (jira::connect(&admin, &tracker).await, &running.mcp_jira_url),
        };
        admin.run_to(&instance, "backfill", "succeeded").await.unwrap();
        let mcp = mcp.clone().unwrap();
        Self { patchbay, running, mcp, key, admin, _tracker: tracker }
    }

    pub(super) async fn end(self) {
        assert_eq!(self.running.terminate().await.unwrap(), Some(0));
        self.patchbay.database.drop().await.unwrap();
    }
}

/// A folder or program that `cargo xtask test` installs; `None`, with a word about it, when it is not there.
pub(super) fn installed(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os(name).map(PathBuf::from);
    if found.is_none() {
        println!("skipped: {name} is not set; `cargo xtask test` installs what it names");
    }
    found
}

/// A client of others.
#[derive(Debug, Clone)]
pub(super) struct Client {
    program: PathBuf,
    script: PathBuf,
}

impl Client {
    /// The second TypeScript client.
    pub(super) fn typescript() -> Option<Self> {
        let script = installed("PATCHBAY_TEST_MCP_SUITE_DIR")?.join("call.mjs");
        Some(Self { program: setting("PATCHBAY_TEST_NODE").unwrap().into(), script })
    }

    /// The Python client.
    pub(super) fn python() -> Option<Self> {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("mcp-suite/call.py");
        Some(Self { program: installed("PATCHBAY_TEST_MCP_PYTHON")?, script })
    }

    /// Connects and makes these calls; the version that was agreed on, and a result each.
    pub(super) async fn ask(
        &self,
        mode: &str,
        kind: &str,
        target: &str,
        key: &str,
        calls: &Value,
    ) -> (String, Vec<Value>) {
        let output = Command::new(&self.program)
            .arg(&self.script)
            .args([mode, kind, target, key, &calls.to_string()])
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?} {mode} {kind}: {complaint}", self.script);
        let mut lines = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<Value>>();
        let version = lines.remove(0)["version"].as_str().unwrap_or_default().to_owned();
        (version, lines)
    }
}

/// Questions of every kind that a server answers.
pub(super) fn questions(server: Server) -> Value {
    match server {
        Server::Sql => sql::questions(),
        Server::Jira => jira::questions(),
    }
}

/// That the answers to [`questions`] are what the tenant has.
pub(super) fn check(server: Server, who: &str, answers: &[Value]) {
    match server {
        Server::Sql => sql::check(who, answers),
        Server::Jira => jira::check(who, answers),
    }
}

/// The content of a resource that was read.
fn content(who: &str, answer: &Value) -> Value {
    let text = answer["contents"][0]["text"].as_str().unwrap_or_else(|| panic!("{who}: {answer}"));
    serde_json::from_str(text).unwrap()
}
