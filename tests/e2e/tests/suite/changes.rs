//! What happens to repositories and items over time: renamed, deleted, transferred; and a run watched to its end.

use std::time::Duration;

use patchbay_e2e::{Api, Database, Patchbay};
use serde_json::{Value, json};
use simulator::{FaultKind, FaultMatch, FaultRule, Simulator, SimulatorConfig, TokenGrant, generate};

const TOKEN: &str = "e2e-token";

async fn tracker() -> Simulator {
    let tokens = vec![TokenGrant { token: TOKEN.into(), login: "sync".into(), repositories: None }];
    let repositories =
        vec![generate::repository("acme/app", 3, 90), generate::repository("acme/other", 4, 10)];
    let config = SimulatorConfig { port: 0, repositories, tokens, latency: Duration::ZERO };
    Simulator::start(config).await.unwrap()
}

/// Cancels a backfill while details are being read, so that items wait for theirs.
async fn interrupt(api: &Api, tracker: &Simulator, instance: &str) {
    let matching =
        FaultMatch { path_contains: Some("/timeline".into()), times: Some(10_000), ..FaultMatch::default() };
    tracker.control().add_fault(FaultRule { matching, kind: FaultKind::Slow { ms: 300 } });
    let run = api.start(instance, "backfill").await.unwrap();
    api.wait(&run, "reading details", |run: &Value| run["counts"]["upserted"] == 90).await.unwrap();
    api.post(&format!("/api/v1/runs/{run}/cancel"), &json!({})).await.unwrap();
    assert_eq!(api.ended(&run).await.unwrap()["state"], "cancelled");
    tracker.control().clear_faults();
}

/// The numbers of two issues whose details are still to be read.
async fn waiting_issues(db: &Database) -> Vec<u64> {
    let numbers = "select split_part(w.source_key, '#', 2) from work_item_details_pending p
        join work_items w on w.id = p.work_item_id where w.type_norm <> 'pull_request' order by w.source_key limit 2";
    db.texts(numbers).await.unwrap().iter().map(|number| number.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_and_transferred_items_become_tombstones_and_a_renamed_repository_keeps_its_items() {
    let tracker = tracker().await;
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    let running = patchbay.serve("admin,worker").await.unwrap();
    let api = running.api(&key).unwrap();
    let db = &patchbay.database;
    // As a GitHub Enterprise server has it: the API below a path.
    let base = format!("{}/api/v3", tracker.url());
    let instance = api.connect_github(&base, TOKEN, &json!({"repositories": ["acme/app"]})).await.unwrap();

    interrupt(&api, &tracker, &instance).await;
    let numbers = waiting_issues(db).await;
    tracker.control().delete_issue("acme/app", numbers[0]).unwrap();
    tracker.control().transfer_issue("acme/app", numbers[1], "acme/other").unwrap();
    let ended = api.run_to(&instance, "sync", "succeeded").await.unwrap();
    assert_eq!(ended["counts"]["tombstoned"], 2, "{ended}");
    let gone = db
        .texts(
            "select delete_reason || ' ' || split_part(source_key, '#', 2) from work_items
        where deleted_at is not null order by 1",
        )
        .await
        .unwrap();
    assert_eq!(gone, [format!("deleted {}", numbers[0]), format!("transferred {}", numbers[1])]);
    let listed = api.get("/api/v1/work-items?limit=200").await.unwrap();
    assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(88), "tombstones are not listed");
    let all = api.get("/api/v1/work-items?limit=200&include_deleted=true").await.unwrap();
    assert_eq!(all.body["items"].as_array().map(Vec::len), Some(90));

    tracker.control().rename_repository("acme/app", "acme/renamed").unwrap();
    api.run_to(&instance, "sync", "succeeded").await.unwrap();
    let renamed = api.get("/api/v1/work-items?project=acme/renamed&limit=200").await.unwrap();
    let items = renamed.body["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 88, "the items went along with the repository");
    assert!(items.iter().all(|item| item["source_key"].as_str().unwrap().starts_with("acme/renamed#")));

    // A run watched as a browser would: progress, then its end, then the stream closes.
    let run = api.start(&instance, "backfill").await.unwrap();
    let path = format!("/api/v1/runs/{run}/events");
    let watching = api.text(&path);
    let events = tokio::time::timeout(Duration::from_secs(60), watching).await.unwrap().unwrap();
    assert!(events.contains("event: progress") || events.contains("event:progress"), "{events}");
    assert!(events.contains("event: end") || events.contains("event:end"), "{events}");
    assert!(events.contains("\"state\":\"succeeded\""), "{events}");

    assert_eq!(running.terminate().await.unwrap(), Some(0));
    patchbay.database.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_asked_to_end_hands_its_run_over_and_the_next_goes_on_at_once() {
    let tracker = tracker().await;
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    let admin = patchbay.serve("admin").await.unwrap();
    let worker = patchbay.serve("worker").await.unwrap();
    let api = admin.api(&key).unwrap();
    let settings = json!({"repositories": ["acme/app"]});
    let instance = api.connect_github(&tracker.url(), TOKEN, &settings).await.unwrap();
    let matching =
        FaultMatch { path_contains: Some("/timeline".into()), times: Some(10_000), ..FaultMatch::default() };
    tracker.control().add_fault(FaultRule { matching, kind: FaultKind::Slow { ms: 100 } });
    let run = api.start(&instance, "backfill").await.unwrap();
    api.wait(&run, "reading details", |run: &Value| run["counts"]["upserted"] == 90).await.unwrap();
    assert_eq!(worker.terminate().await.unwrap(), Some(0));
    let handed_over = api.run(&run).await.unwrap();
    assert_eq!(handed_over["state"], "queued", "{handed_over}");
    assert_eq!(handed_over["error"], json!(null), "{handed_over}");
    tracker.control().clear_faults();

    let worker = patchbay.serve("worker").await.unwrap();
    let ended = api.ended(&run).await.unwrap();
    assert_eq!(ended["state"], "succeeded", "{ended}");
    let db = &patchbay.database;
    assert_eq!(db.count("select count(*) from work_items").await.unwrap(), 90);
    assert_eq!(db.count("select count(*) from work_item_details_pending").await.unwrap(), 0);
    worker.terminate().await.unwrap();
    admin.terminate().await.unwrap();
    patchbay.database.drop().await.unwrap();
}
