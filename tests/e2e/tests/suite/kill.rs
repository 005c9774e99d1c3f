//! The worker dies by SIGKILL at random points of a backfill of real data.

use std::collections::BTreeMap;
use std::time::Duration;

use patchbay_e2e::{Patchbay, real_data};
use rand::{Rng, RngExt, SeedableRng};
use serde_json::json;
use simulator::{Simulator, SimulatorConfig, TokenGrant, load};

const TOKEN: &str = "e2e-token";
/// Backfills, each with two kills.
const ROUNDS: usize = 10;
/// How many requests of the run under way have their answers stored; very many when it has ended.
const STORED: &str = "select coalesce((select requests from sync_runs where finished_at is null), 1000000)";
/// At most so many requests are with the tracker at once.
const UNDER_WAY: i64 = 32;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_twenty_random_points_loses_nothing_and_repeats_no_page_twice() {
    let Some(data) = real_data() else {
        println!("skipped: ../shared/data is not here");
        return;
    };
    let seed: u64 = std::env::var("PATCHBAY_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| rand::rng().next_u64());
    println!("seed {seed} (set PATCHBAY_TEST_SEED to repeat)");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let tokens = vec![TokenGrant { token: TOKEN.into(), login: "sync".into(), repositories: None }];
    let repositories = vec![load::bitcoin_gui(&data).unwrap()];
    let config = SimulatorConfig { port: 0, repositories, tokens, latency: Duration::ZERO };
    let tracker = Simulator::start(config).await.unwrap();
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    let admin = patchbay.serve("admin").await.unwrap();
    let api = admin.api(&key).unwrap();
    let settings = json!({"repositories": ["bitcoin-core/gui"]});
    let mut worker = patchbay.serve("worker").await.unwrap();

    for round in 0..ROUNDS {
        let instance = api.connect_github(&tracker.url(), TOKEN, &settings).await.unwrap();
        tracker.control().reset_requests();
        // The whole backfill is about 2,050 requests: the points of death are counted in them.
        let first = random.random_range(1..1_900);
        let second = random.random_range(first + 1..2_000);
        let run = api.start(&instance, "backfill").await.unwrap();
        let mut died = Vec::new();
        for deadly in [first, second] {
            while tracker.control().stats().requests < deadly {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // A page that is under way at both deaths is rightly fetched three times: the second one waits until what was
            // under way at the first is stored, or nothing is left to be killed.
            while let Some(&dead) = died.last()
                && patchbay.database.count(STORED).await.unwrap() <= i64::try_from(dead).unwrap() + UNDER_WAY
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            died.push(tracker.control().stats().requests);
            worker.kill_9().await.unwrap();
            worker = patchbay.serve("worker").await.unwrap();
        }
        let ended = api.ended(&run).await.unwrap();
        let at = format!("round {round}, seed {seed}, killed after {died:?} requests: {ended}");
        assert_eq!(ended["state"], "succeeded", "{at}");

        let db = &patchbay.database;
        assert_eq!(
            db.count("select count(*) from work_items where type_norm <> 'pull_request'").await.unwrap(),
            341,
            "{at}"
        );
        assert_eq!(
            db.count("select count(*) from work_items where type_norm = 'pull_request'").await.unwrap(),
            537,
            "{at}"
        );
        assert_eq!(
            db.count("select count(*) from comments where kind = 'comment'").await.unwrap(),
            5197,
            "{at}"
        );
        assert_eq!(
            db.count("select count(*) from comments where kind = 'review_comment'").await.unwrap(),
            2308,
            "{at}"
        );
        assert_eq!(db.count("select count(*) from work_item_transitions").await.unwrap(), 843, "{at}");
        assert_eq!(db.count("select count(*) from reviews").await.unwrap(), 1788, "{at}");
        assert_eq!(db.count("select count(*) from work_item_details_pending").await.unwrap(), 0, "{at}");
        let mut fetched: BTreeMap<String, usize> = BTreeMap::new();
        for request in tracker.control().requests() {
            *fetched.entry(request.path_and_query).or_default() += 1;
        }
        let thrice: Vec<_> = fetched.iter().filter(|(_, times)| **times > 2).collect();
        assert!(thrice.is_empty(), "{at}: fetched more than twice: {thrice:?}");

        let deleted =
            api.send(reqwest::Method::DELETE, &format!("/api/v1/instances/{instance}"), None).await.unwrap();
        assert_eq!(deleted.status, 204, "{deleted:?}");
        assert_eq!(
            db.count("select count(*) from work_items").await.unwrap(),
            0,
            "the removed instance left items"
        );
        let labels = db.count("select count(*) from work_item_labels").await.unwrap();
        assert_eq!(labels, 0, "the removed instance left labels");
    }
    worker.terminate().await.unwrap();
    admin.terminate().await.unwrap();
    patchbay.database.drop().await.unwrap();
}
