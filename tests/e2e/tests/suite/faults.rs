//! What trackers do to their clients, and what becomes of a backfill meanwhile.

use std::time::Duration;

use patchbay_e2e::{Api, Patchbay, Started};
use serde_json::{Value, json};

use simulator::{FaultKind, FaultMatch, FaultRule, Simulator, SimulatorConfig, TokenGrant, generate};

const TOKEN: &str = "e2e-token";
const REPOSITORY: &str = "acme/billing-service";
const ITEMS: usize = 350;

struct Bench {
    tracker: Simulator,
    patchbay: Patchbay,
    running: Started,
    api: Api,
}

async fn bench() -> Bench {
    let tokens = vec![TokenGrant { token: TOKEN.into(), login: "sync".into(), repositories: None }];
    let repositories = vec![generate::repository(REPOSITORY, 7, ITEMS)];
    let config = SimulatorConfig { port: 0, repositories, tokens, latency: Duration::ZERO };
    let tracker = Simulator::start(config).await.unwrap();
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    let running = patchbay.serve("admin,worker").await.unwrap();
    let api = running.api(&key).unwrap();
    Bench { tracker, patchbay, running, api }
}

impl Bench {
    /// Backfills a new instance while the fault is in force; the ended run.
    async fn backfill_with(&self, path: &str, nth: u32, times: u32, kind: FaultKind) -> Value {
        self.tracker.control().clear_faults();
        self.tracker.control().reset_requests();
        let settings = json!({"repositories": [REPOSITORY]});
        let instance = self.api.connect_github(&self.tracker.url(), TOKEN, &settings).await.unwrap();
        let matching = FaultMatch {
            path_contains: Some(path.into()),
            nth: Some(nth),
            times: Some(times),
            ..FaultMatch::default()
        };
        self.tracker.control().add_fault(FaultRule { matching, kind });
        let run = self.api.start(&instance, "backfill").await.unwrap();
        let ended = self.api.ended(&run).await.unwrap();
        assert_eq!(
            self.tracker.control().stats().violations,
            0,
            "called before Retry-After had passed: {ended}"
        );
        let items = self.patchbay.database.count("select count(*) from work_items").await.unwrap();
        let expected = ITEMS as i64 - ended["counts"]["failed"].as_i64().unwrap();
        assert_eq!(items, expected, "{ended}");
        assert_eq!(
            self.patchbay.database.count("select count(*) from work_item_details_pending").await.unwrap(),
            0,
            "{ended}"
        );
        self.api.send(reqwest::Method::DELETE, &format!("/api/v1/instances/{instance}"), None).await.unwrap();
        ended
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_ends_exact_whatever_the_tracker_does() {
    let bench = bench().await;
    let plain = bench.backfill_with("/never", 1, 1, FaultKind::Reset).await;
    assert_eq!(plain["state"], "succeeded", "{plain}");
    let transitions = plain["counts"]["transitions"].clone();

    let limited =
        |as_http_date, omit_header| FaultKind::RateLimited { retry_after_s: 2, as_http_date, omit_header };
    for (path, nth, times, kind) in [
        ("/issues?", 2, 1, limited(false, false)),
        ("/timeline", 30, 1, limited(true, false)),
        ("/timeline", 10, 1, FaultKind::SecondaryLimit { retry_after_s: Some(2) }),
        ("/issues/comments", 2, 1, FaultKind::PrimaryExhausted { reset_in_s: 2 }),
        ("/issues?", 2, 3, FaultKind::ServerError { status: 502 }),
        ("/timeline", 20, 5, FaultKind::ServerError { status: 503 }),
        ("/issues?", 1, 1, FaultKind::TruncatedBody),
        ("/timeline", 40, 2, FaultKind::TruncatedBody),
        ("/issues?", 3, 1, FaultKind::Reset),
        ("/pulls/", 5, 1, FaultKind::Reset),
        ("/issues?", 2, 1, FaultKind::Slow { ms: 3000 }),
    ] {
        let what = format!("{kind:?} on {path}");
        let ended = bench.backfill_with(path, nth, times, kind).await;
        assert_eq!(ended["state"], "succeeded", "{what}: {ended}");
        assert_eq!(ended["counts"]["upserted"], ITEMS, "{what}: {ended}");
        assert_eq!(ended["counts"]["transitions"], transitions, "{what}: {ended}");
    }
    assert_eq!(bench.running.terminate().await.unwrap(), Some(0));
    bench.patchbay.database.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_move_between_pages_are_not_lost() {
    let bench = bench().await;
    // Just before the second page is answered, the oldest items become the newest: in a list by pages, as many
    // rows of the second page slide into the first and would never be seen.
    let kind = FaultKind::RowsMove { repository: REPOSITORY.into(), numbers: (1..=30).collect() };
    let ended = bench.backfill_with("/issues?", 2, 1, kind).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    bench.running.terminate().await.unwrap();
    bench.patchbay.database.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_cannot_be_mapped_is_a_dead_letter_and_the_rest_is_there() {
    let bench = bench().await;
    let control = bench.tracker.control();
    let settings = json!({"repositories": [REPOSITORY]});
    let instance = bench.api.connect_github(&bench.tracker.url(), TOKEN, &settings).await.unwrap();
    let kind = FaultKind::UnmappableItem { repository: REPOSITORY.into(), number: 42 };
    control.add_fault(FaultRule { matching: FaultMatch::default(), kind });
    let ended = bench.api.run_to(&instance, "backfill", "partial").await.unwrap();
    assert_eq!(ended["counts"]["failed"], 1, "{ended}");
    let db = &bench.patchbay.database;
    assert_eq!(db.count("select count(*) from work_items").await.unwrap(), ITEMS as i64 - 1);
    assert_eq!(db.count("select count(*) from sync_dead_letters").await.unwrap(), 1);
    let run = ended["id"].as_str().unwrap();
    let letters = bench.api.get(&format!("/api/v1/runs/{run}/dead-letters")).await.unwrap();
    assert_eq!(letters.body["items"].as_array().map(Vec::len), Some(1), "{letters:?}");

    // Mended at the source, it arrives with the next backfill and the letter goes.
    control.clear_faults();
    bench.api.run_to(&instance, "backfill", "succeeded").await.unwrap();
    assert_eq!(db.count("select count(*) from work_items").await.unwrap(), ITEMS as i64);
    assert_eq!(db.count("select count(*) from sync_dead_letters").await.unwrap(), 0);
    bench.running.terminate().await.unwrap();
    bench.patchbay.database.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_ends_within_a_page_and_the_next_goes_on() {
    let bench = bench().await;
    let settings = json!({"repositories": [REPOSITORY]});
    let instance = bench.api.connect_github(&bench.tracker.url(), TOKEN, &settings).await.unwrap();
    let matching =
        FaultMatch { path_contains: Some("/timeline".into()), times: Some(10_000), ..FaultMatch::default() };
    bench.tracker.control().add_fault(FaultRule { matching, kind: FaultKind::Slow { ms: 200 } });
    let run = bench.api.start(&instance, "backfill").await.unwrap();
    let reading = |run: &Value| run["stream"] == "details" || run["counts"]["upserted"] == ITEMS;
    bench.api.wait(&run, "reading details", reading).await.unwrap();
    let asked = bench.api.post(&format!("/api/v1/runs/{run}/cancel"), &json!({})).await.unwrap();
    assert!(matches!(asked.status, 200 | 202), "{asked:?}");
    let ended = tokio::time::timeout(Duration::from_secs(10), bench.api.ended(&run)).await.unwrap().unwrap();
    assert_eq!(ended["state"], "cancelled", "{ended}");
    bench.tracker.control().clear_faults();
    bench.api.run_to(&instance, "sync", "succeeded").await.unwrap();
    let db = &bench.patchbay.database;
    assert_eq!(db.count("select count(*) from work_item_details_pending").await.unwrap(), 0);
    bench.running.terminate().await.unwrap();
    bench.patchbay.database.drop().await.unwrap();
}
