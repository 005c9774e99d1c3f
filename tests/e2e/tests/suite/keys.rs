//! Keys by command line and API: narrowed, rotated under load, revoked; and invitations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use patchbay_e2e::{Api, Patchbay};
use reqwest::Method;
use serde_json::{Value, json};

async fn made(patchbay: &Patchbay, args: &[&str]) -> Value {
    serde_json::from_str(&patchbay.run(args).await.unwrap()).unwrap()
}

async fn connect(api: &Api, name: &str) -> String {
    let body = json!({"source": "github", "name": name, "base_url": "https://api.github.com",
        "credentials": {"kind": "token", "token": "t"}, "settings": {"repositories": ["acme/app"]}});
    let answer = api.post("/api/v1/instances", &body).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_narrowed_listed_rotated_and_revoked_by_command_line() {
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let admin = patchbay.key("acme", "admin").await.unwrap();
    let running = patchbay.serve("admin").await.unwrap();
    let api = running.api(&admin).unwrap();
    let (core, _web) = (connect(&api, "core").await, connect(&api, "web").await);

    let narrow = made(
        &patchbay,
        &[
            "key",
            "create",
            "--tenant",
            "acme",
            "--scope",
            "instances:read,mcp:sql",
            "--name",
            "helpdesk",
            "--kind",
            "assistant",
            "--expires-in",
            "90d",
            "--instance",
            "core",
            "--project",
            "acme/app",
            "--write-project",
            "acme/app",
            "--template",
            "find_work_items",
            "--toolset",
            "sql",
            "--json",
        ],
    )
    .await;
    let key = api.with_key(narrow["key"].as_str().unwrap());
    let me = key.get("/api/v1/me").await.unwrap().body;
    let grant = json!({"instances": [core], "projects_read": ["acme/app"], "projects_write": ["acme/app"],
                       "templates": ["find_work_items"], "toolsets": ["sql"]});
    assert_eq!((&me["grant"], &me["key"]["kind"]), (&grant, &json!("assistant")), "{me}");
    assert!(me["key"]["expires_at"].is_string(), "{me}");
    let seen = key.get("/api/v1/instances").await.unwrap().body;
    assert_eq!((&seen["items"][0]["id"], &seen["items"][1]), (&json!(core), &Value::Null), "{seen}");

    let (code, wrong) = patchbay
        .fails(&["key", "create", "--tenant", "acme", "--scope", "mcp:sql", "--instance", "nothing"], &[])
        .await
        .unwrap();
    assert!(code == 1 && wrong.contains("no instance nothing"), "{wrong}");
    let (code, wrong) = patchbay
        .fails(&["key", "create", "--tenant", "acme", "--scope", "mcp:sql", "--expires-in", "soon"], &[])
        .await
        .unwrap();
    assert!(code == 2 && wrong.contains("90d"), "{wrong}");

    let id = narrow["id"].as_str().unwrap();
    let next = made(&patchbay, &["key", "rotate", id, "--tenant", "acme", "--overlap", "1h", "--json"]).await;
    let listed = patchbay.run(&["key", "list", "--tenant", "acme", "--json"]).await.unwrap();
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = listed.iter().map(|key| key["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["helpdesk", "helpdesk", "key"], "newest first");
    assert_eq!(listed[0]["rotated_from"], json!(id));
    assert!(!listed.iter().any(|key| key.to_string().contains("pb_live_")));

    let gone = made(&patchbay, &["key", "revoke", id, "--tenant", "acme", "--json"]).await;
    assert_eq!(gone, json!({"id": id, "revoked": true}));
    // Security requirement 32: it was revoked by another process.
    let refused = async {
        while key.get("/api/v1/me").await.unwrap().status != 401 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused).await.unwrap();
    let next = api.with_key(next["key"].as_str().unwrap());
    assert_eq!(next.get("/api/v1/me").await.unwrap().body["grant"], grant);

    let invited = made(
        &patchbay,
        &[
            "invitation",
            "create",
            "--tenant",
            "acme",
            "--email",
            "Ada@Example.com",
            "--role",
            "owner",
            "--public-url",
            "https://patchbay.example",
            "--json",
        ],
    )
    .await;
    let link =
        format!("https://patchbay.example/auth/login?invitation={}", invited["token"].as_str().unwrap());
    assert_eq!(invited["link"], json!(link));
    let open = api.get("/api/v1/invitations").await.unwrap().body;
    assert_eq!(
        (&open["items"][0]["email"], &open["items"][0]["role"]),
        (&json!("ada@example.com"), &json!("owner"))
    );
    running.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_fails_no_request() {
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let admin = patchbay.key("acme", "admin").await.unwrap();
    // Two replicas: each knows keys for a moment.
    let replicas = [patchbay.serve("admin").await.unwrap(), patchbay.serve("admin").await.unwrap()];
    let api = replicas[0].api(&admin).unwrap();
    let new = json!({"name": "service", "scopes": ["instances:read"]});
    let mut current = api.post("/api/v1/keys", &new).await.unwrap().body;
    let key = Arc::new(std::sync::Mutex::new(current["key"].as_str().unwrap().to_owned()));
    let stop = Arc::new(AtomicBool::new(false));
    let answered: Arc<[AtomicUsize; 8]> = Arc::default();
    let load: Vec<_> = (0..8)
        .map(|n: usize| {
            let (key, stop, answered) = (key.clone(), stop.clone(), answered.clone());
            let api = replicas[n % 2].api(&admin).unwrap();
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let now = key.lock().unwrap().clone();
                    let answer = api.with_key(&now).get("/api/v1/instances").await.unwrap();
                    assert_eq!(answer.status, 200, "{answer:?}");
                    answered[n].fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for _ in 0..5 {
        let rotate = format!("/api/v1/keys/{}/rotate", current["id"].as_str().unwrap());
        let next = api.post(&rotate, &json!({"overlap_s": 3600})).await.unwrap();
        assert_eq!(next.status, 201, "{next:?}");
        *key.lock().unwrap() = next.body["key"].as_str().unwrap().to_owned();
        // Until every request with the older key has ended.
        let begun: Vec<usize> = answered.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        while answered.iter().zip(&begun).any(|(count, begun)| count.load(Ordering::SeqCst) < begun + 5) {
            assert!(!load.iter().any(tokio::task::JoinHandle::is_finished), "a request failed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let old = format!("/api/v1/keys/{}", current["id"].as_str().unwrap());
        assert_eq!(api.send(Method::DELETE, &old, None).await.unwrap().status, 204);
        current = next.body;
    }
    stop.store(true, Ordering::SeqCst);
    for one in load {
        one.await.unwrap();
    }
    for replica in replicas {
        replica.terminate().await.unwrap();
    }
}
