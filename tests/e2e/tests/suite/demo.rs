//! `patchbay demo`: one command, everything up; a clean end; a quick second start; nothing left after a crash.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use patchbay_e2e::{Api, setting};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// A folder that the private PostgreSQL's user may pass through, as the system's own temporary folder is.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn start(folder: &Path) -> (Child, Value) {
    let ready = folder.join("ready.json");
    let _ = std::fs::remove_file(&ready);
    let mut child = Command::new(setting("PATCHBAY_TEST_BIN").unwrap())
        .args(["demo", "--admin-addr", "127.0.0.1:0", "--mcp-jira-addr", "127.0.0.1:0"])
        .args(["--mcp-sql-addr", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(folder.join("demo"))
        .arg("--ready-file")
        .arg(&ready)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    for _ in 0..1800 {
        if let Ok(text) = std::fs::read_to_string(&ready) {
            return (child, serde_json::from_str(&text).unwrap());
        }
        assert!(child.try_wait().unwrap().is_none(), "the demo ended early");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the demo was not ready within 90 s");
}

/// Processes whose command line names the folder.
async fn processes(folder: &Path) -> Vec<String> {
    let output = Command::new("ps").args(["-eo", "pid,args"]).output().await.unwrap();
    let folder = folder.join("demo").display().to_string();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.contains(&folder))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_serves_two_tenants_ends_cleanly_and_starts_again_with_its_data() {
    let folder = Folder(std::env::temp_dir().join(format!("patchbay-e2e-{}", uuid::Uuid::new_v4().simple())));
    std::fs::create_dir(&folder.0).unwrap();
    let (mut child, ready) = start(&folder.0).await;
    let tenants = ready["tenants"].as_array().unwrap().clone();
    assert_eq!(tenants.len(), 2, "{ready}");
    let admin_url = ready["admin_url"].as_str().unwrap();
    let mcp = ready["mcp_sql_url"].as_str().unwrap();
    for (tenant, project, other) in [
        (&tenants[0], "acme/billing-service", "globex/warehouse-api"),
        (&tenants[1], "globex/warehouse-api", "acme/mobile-app"),
        (&tenants[0], "BILL", "WH"),
        (&tenants[1], "WH", "BILL"),
    ] {
        let api = Api::new(admin_url, tenant["admin_key"].as_str().unwrap()).unwrap();
        let me = api.get("/api/v1/me").await.unwrap();
        assert_eq!(me.status, 200, "{me:?}");
        let own = api.get(&format!("/api/v1/work-items?project={project}&limit=5")).await.unwrap();
        assert_eq!(own.body["items"].as_array().map(Vec::len), Some(5), "{own:?}");
        let foreign = api.get(&format!("/api/v1/work-items?project={other}")).await.unwrap();
        assert_eq!(foreign.body["items"].as_array().map(Vec::len), Some(0), "{foreign:?}");
        let instances = api.get("/api/v1/instances").await.unwrap();
        let mut sources: Vec<&str> = instances.body["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|one| one["source"].as_str())
            .collect();
        sources.sort_unstable();
        assert_eq!(sources, ["asana", "github", "jira"], "{instances:?}");
        let assistant = api.with_key(tenant["assistant_key"].as_str().unwrap());
        let rows =
            assistant.invoke(mcp, "search_issues_by_project", &json!({"project": project})).await.unwrap();
        assert!(rows.body.to_string().contains(project), "{rows:?}");
    }
    let pid = child.id().unwrap().to_string();
    Command::new("kill").args(["-INT", &pid]).status().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(40), child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
    assert!(processes(&folder.0).await.is_empty(), "left running: {:?}", processes(&folder.0).await);

    // The second start finds tenants, keys and data; killed hard, it takes its database along.
    let (mut child, again) = start(&folder.0).await;
    assert_eq!(again["tenants"], ready["tenants"], "the keys stay good");
    child.start_kill().unwrap();
    child.wait().await.unwrap();
    for _ in 0..200 {
        if processes(&folder.0).await.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("left running after kill -9: {:?}", processes(&folder.0).await);
}
