//! Comparing with the source: what was deleted there unnoticed, what suspiciously many deletions do, and a project that
//! refuses amid a run.

use std::time::Duration;

use patchbay_e2e::{Api, Patchbay, Started};
use serde_json::{Value, json};
use simulator::{FaultKind, FaultMatch, FaultRule, Simulator, SimulatorConfig, TokenGrant, generate};

const TOKEN: &str = "e2e-token";

struct World {
    tracker: Simulator,
    patchbay: Patchbay,
    server: Started,
    api: Api,
    instance: String,
}

/// Two repositories of 90 and 10 items, backfilled.
async fn backfilled() -> World {
    let tokens = vec![TokenGrant { token: TOKEN.into(), login: "sync".into(), repositories: None }];
    let repositories =
        vec![generate::repository("acme/app", 3, 90), generate::repository("acme/other", 4, 10)];
    let config = SimulatorConfig { port: 0, repositories, tokens, latency: Duration::ZERO };
    let tracker = Simulator::start(config).await.unwrap();
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    let server = patchbay.serve("admin,worker").await.unwrap();
    let api = server.api(&key).unwrap();
    let settings = json!({"repositories": ["acme/app", "acme/other"]});
    let instance = api.connect_github(&tracker.url(), TOKEN, &settings).await.unwrap();
    api.run_to(&instance, "backfill", "succeeded").await.unwrap();
    World { tracker, patchbay, server, api, instance }
}

impl World {
    /// Numbers of issues that are stored, the lowest first.
    async fn issues(&self) -> Vec<u64> {
        let numbers = "select split_part(source_key, '#', 2) from work_items
            where project_key = 'acme/app' and type_norm <> 'pull_request' and deleted_at is null
            order by length(source_key), source_key";
        let found = self.patchbay.database.texts(numbers).await.unwrap();
        found.iter().map(|number| number.parse().unwrap()).collect()
    }

    async fn deleted(&self) -> i64 {
        let sql = "select count(*) from work_items where deleted_at is not null";
        self.patchbay.database.count(sql).await.unwrap()
    }

    async fn end(self) {
        assert_eq!(self.server.terminate().await.unwrap(), Some(0));
        self.patchbay.database.drop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_unnoticed_is_found_and_what_was_lost_comes_back() {
    let world = backfilled().await;
    let numbers = world.issues().await;
    for &number in &numbers[..4] {
        world.tracker.control().delete_issue("acme/app", number).unwrap();
    }
    let lost = "delete from work_items where source_key = $1";
    let key = format!("acme/app#{}", numbers[10]);
    assert_eq!(world.patchbay.database.execute(lost, &key).await.unwrap(), 1);
    // A deletion tells nobody: an incremental sync does not see it.
    world.api.run_to(&world.instance, "sync", "succeeded").await.unwrap();
    assert_eq!(world.deleted().await, 0);

    let ended = world.api.run_to(&world.instance, "reconcile", "succeeded").await.unwrap();
    assert_eq!(ended["counts"]["tombstoned"], 4, "{ended}");
    assert_eq!(world.deleted().await, 4);
    let still = world.issues().await;
    assert!(still.contains(&numbers[10]), "the lost item is there again");
    let proof = "select count(*) from work_items where deleted_at is not null and delete_proof like '%is gone from GitHub%'";
    assert_eq!(world.patchbay.database.count(proof).await.unwrap(), 4, "each with what the tracker said");
    // Nothing more to do the second time.
    let again = world.api.run_to(&world.instance, "reconcile", "succeeded").await.unwrap();
    assert_eq!((&again["counts"]["tombstoned"], &again["counts"]["upserted"]), (&json!(0), &json!(0)));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deletions_at_once_mark_nothing_until_an_admin_confirms_them() {
    let world = backfilled().await;
    let numbers = world.issues().await;
    for &number in &numbers[..20] {
        world.tracker.control().delete_issue("acme/app", number).unwrap();
    }
    let doubted = world.api.run_to(&world.instance, "reconcile", "partial").await.unwrap();
    assert_eq!(doubted["error"]["code"], "mass_deletion_guard", "{doubted}");
    let hint = doubted["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("20 of the 90") && hint.contains("confirm_removals"), "{hint}");
    assert_eq!(world.deleted().await, 0);

    let path = format!("/api/v1/instances/{}/reconcile", world.instance);
    let started = world.api.post(&path, &json!({"confirm_removals": true})).await.unwrap();
    let run = started.body["run_id"].as_str().unwrap().to_owned();
    let confirmed = world.api.ended(&run).await.unwrap();
    assert_eq!(
        (&confirmed["state"], &confirmed["error"]),
        (&json!("succeeded"), &Value::Null),
        "{confirmed}"
    );
    assert_eq!(world.deleted().await, 20);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_refuses_amid_a_run_is_named_and_left_as_it_is() {
    let world = backfilled().await;
    let synced = "select synced_at::text from source_instances";
    let before = world.patchbay.database.texts(synced).await.unwrap();
    let matching = FaultMatch {
        path_contains: Some("/repos/acme/other/issues".into()),
        times: Some(10_000),
        ..FaultMatch::default()
    };
    world.tracker.control().add_fault(FaultRule { matching, kind: FaultKind::ServerError { status: 403 } });
    for what in ["sync", "backfill", "reconcile"] {
        let ended = world.api.run_to(&world.instance, what, "partial").await.unwrap();
        assert_eq!(ended["error"]["code"], "source_forbidden", "{what}: {ended}");
        assert!(ended["error"]["hint"].as_str().unwrap().starts_with("acme/other: "), "{what}: {ended}");
    }
    assert_eq!(world.deleted().await, 0);
    let now = world.patchbay.database.texts(synced).await.unwrap();
    assert_eq!(now, before, "who left out a project is not up to date");
    world.tracker.control().clear_faults();
    world.api.run_to(&world.instance, "sync", "succeeded").await.unwrap();
    world.end().await;
}
