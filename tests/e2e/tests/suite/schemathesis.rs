//! Generated requests from the served description, by schemathesis (PyPI), which `cargo xtask test` installs: no fault of
//! the server, no status that is not described, and answers as their schemas say.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use patchbay_e2e::{Api, Patchbay};
use serde_json::{Value, json};
use simulator::{Simulator, SimulatorConfig, TokenGrant, generate};

const TOKEN: &str = "schemathesis-token";

/// What stands in messages of PostgreSQL, its driver and the compiler, and in no text of the API.
const INSIDE: [&str; 12] = [
    "duplicate key value",
    "violates",
    "syntax error at",
    "invalid byte sequence",
    "SQLSTATE",
    "sqlx",
    "pg_catalog",
    "patchbay_app",
    "current_tenant_id",
    "insert into",
    "panicked",
    ".rs:",
];

// Security requirement 12: every error that was provoked is looked through for the inside.
#[tokio::test(flavor = "multi_thread")]
async fn the_served_description_holds_for_generated_requests() {
    let Ok(program) = std::env::var("PATCHBAY_TEST_SCHEMATHESIS") else {
        println!(
            "skipped: PATCHBAY_TEST_SCHEMATHESIS does not name the program; `cargo xtask test` installs it"
        );
        return;
    };
    let tokens = vec![TokenGrant { token: TOKEN.into(), login: "sync".into(), repositories: None }];
    let repositories = vec![generate::repository("acme/app", 3, 12)];
    let tracker = SimulatorConfig { port: 0, repositories, tokens, latency: Duration::ZERO };
    let tracker = Simulator::start(tracker).await.unwrap();
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("generated").await.unwrap();
    let key = patchbay.key("generated", "admin").await.unwrap();
    let running = patchbay.serve("admin,worker").await.unwrap();
    let api = running.api(&key).unwrap();
    let settings = json!({"repositories": ["acme/app"]});
    let instance = api.connect_github(&tracker.url(), TOKEN, &settings).await.unwrap();
    api.run_to(&instance, "backfill", "succeeded").await.unwrap();

    let known = existing_things(&api, &instance).await;
    let seed = std::env::var("PATCHBAY_TEST_SEED").unwrap_or_else(|_| "20261121".into());
    println!("PATCHBAY_TEST_SEED={seed}");
    let admin = running.admin_url.clone().unwrap();
    // Ids as they come, which are nearly always unknown; then those of things that are there.
    let unknown = ["--phases", "examples,coverage,fuzzing,stateful", "--exclude-operation-id", "revoke_key"];
    let secrets = [TOKEN, key.as_str(), patchbay.master_key()];
    let mut errors = generate(&program, &admin, &key, &seed, "", &unknown, &secrets).await;
    let there = ["--phases", "examples,fuzzing", "--exclude-operation-id", "delete_instance"];
    errors += generate(&program, &admin, &key, &seed, &known, &there, &secrets).await;
    println!("{errors} errors were looked through");
    assert!(errors > 1_000, "only {errors} errors were seen: nothing was provoked");

    let logs = patchbay.logs().unwrap();
    let faults: Vec<&str> = logs.lines().filter(|line| line.contains("\"level\":\"ERROR\"")).collect();
    assert!(faults.is_empty(), "{} faults in the log, first {:?}", faults.len(), faults.first());
    assert_eq!(running.terminate().await.unwrap(), Some(0));
    patchbay.database.drop().await.unwrap();
}

/// A configuration that names things that are there for the ids in paths.
async fn existing_things(api: &Api, instance: &str) -> String {
    let run = api.run_to(instance, "sync", "succeeded").await.unwrap();
    let items = api.get("/api/v1/work-items?limit=1").await.unwrap();
    let new = json!({"name": "to be revoked", "scopes": ["items:read"]});
    let key = api.post("/api/v1/keys", &new).await.unwrap();
    let invitation = json!({"email": "ada@example.com", "role": "viewer"});
    let invitation = api.post("/api/v1/invitations", &invitation).await.unwrap();
    let source = "/*\ntitle = 'Own'\ndescription = 'Titles of items.'\n*/
        select w.title as title from work_items w where w.tenant_id = $1";
    let template = api.post("/api/v1/templates", &json!({"name": "own", "source": source})).await.unwrap();
    assert_eq!(template.status, 201, "{template:?}");
    let text = |value: &Value| value.as_str().expect("an id").to_owned();
    let mut config = String::new();
    for (path, id) in [
        ("instances", instance.to_owned()),
        ("runs", text(&run["id"])),
        ("work-items", text(&items.body["items"][0]["id"])),
        ("keys", text(&key.body["id"])),
        ("invitations", text(&invitation.body["id"])),
    ] {
        let _ = write!(
            config,
            "[[operations]]\ninclude-path-regex = \"^/api/v1/{path}/\"\nparameters = {{ \"path.id\" = \"{id}\" }}\n\n"
        );
    }
    config.push_str(
        "[[operations]]\ninclude-path-regex = \"^/api/v1/templates/\"\nparameters = { \"path.name\" = \"own\" }\n\n",
    );
    config
}

/// One run of the program; panics with all it said when it found something, and when an answer holds what it must not.
/// How many errors there were.
async fn generate(
    program: &str,
    admin: &str,
    key: &str,
    seed: &str,
    config: &str,
    more: &[&str],
    secrets: &[&str],
) -> usize {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("schemathesis.toml"), config).unwrap();
    let begun = Instant::now();
    let mut command = tokio::process::Command::new(program);
    command
        .current_dir(folder.path())
        .args(["run", &format!("{admin}/openapi.json"), "--url", admin])
        .args(["--header", &format!("Authorization: Bearer {key}")])
        // Left out: what a description cannot say. `{}` is a good patch, a name may be taken, a run may be under way.
        .args(["--checks", "all", "--exclude-checks"])
        .arg("negative_data_rejection,positive_data_acceptance,ensure_resource_availability")
        // One worker: more of them make CPython 3.11 fail now and then, and the order of requests chance.
        .args(["--max-examples", "25", "--seed", seed, "--workers", "1", "--request-timeout", "20"])
        .args(["--continue-on-failure", "--no-color", "--report", "har", "--report-har-path", "answers.har"])
        .args(more)
        .kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_secs(110), command.output());
    let output = ended.await.unwrap_or_else(|_| panic!("not done within 110 s")).unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let summary: Vec<&str> = told.lines().rev().take(8).collect();
    println!("{}\nin {:?}", summary.into_iter().rev().collect::<Vec<_>>().join("\n"), begun.elapsed());
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    let answers = std::fs::read(folder.path().join("answers.har")).unwrap();
    let answers: Value = serde_json::from_slice(&answers).unwrap();
    let mut errors = 0;
    for entry in answers["log"]["entries"].as_array().expect("entries") {
        let (request, response) = (&entry["request"], &entry["response"]);
        let text = response["content"]["text"].as_str().unwrap_or_default();
        let failed = response["status"].as_u64() >= Some(400);
        let inside: &[&str] = if failed { &INSIDE } else { &[] };
        let leak = inside.iter().chain(secrets).find(|leak| text.contains(**leak));
        // The secret itself is not repeated.
        let leak = leak.map(|leak| leak.get(..12).unwrap_or(leak));
        assert_eq!(leak, None, "{} {} is answered with it", request["method"], request["url"]);
        errors += usize::from(failed);
    }
    errors
}
