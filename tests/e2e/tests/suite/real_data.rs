//! A backfill of real GitHub data, counted; a second one; and a sync after three changes.

use std::time::Duration;

use patchbay_e2e::{Patchbay, real_data};
use serde_json::json;
use simulator::{Simulator, SimulatorConfig, TokenGrant, load};

const TOKEN: &str = "e2e-token";

async fn tracker(data: &std::path::Path) -> Simulator {
    let tokens = vec![TokenGrant { token: TOKEN.into(), login: "sync".into(), repositories: None }];
    let repositories = vec![load::bitcoin_gui(data).unwrap()];
    Simulator::start(SimulatorConfig { port: 0, repositories, tokens, latency: Duration::ZERO })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_backfill_of_real_data_is_exact_a_second_writes_nothing_and_a_sync_reads_what_changed() {
    let Some(data) = real_data() else {
        println!("skipped: ../shared/data is not here");
        return;
    };
    let tracker = tracker(&data).await;
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    let running = patchbay.serve("admin,worker").await.unwrap();
    let api = running.api(&key).unwrap();
    let settings = json!({"repositories": ["bitcoin-core/gui"]});
    let instance = api.connect_github(&tracker.url(), TOKEN, &settings).await.unwrap();
    let db = &patchbay.database;

    let first = api.run_to(&instance, "backfill", "succeeded").await.unwrap();
    let counts = "select count(*) from work_items where type_norm <> 'pull_request'";
    assert_eq!(db.count(counts).await.unwrap(), 341, "issues");
    assert_eq!(
        db.count("select count(*) from work_items where type_norm = 'pull_request'").await.unwrap(),
        537
    );
    assert_eq!(db.count("select count(*) from comments where kind = 'comment'").await.unwrap(), 5197);
    assert_eq!(db.count("select count(*) from comments where kind = 'review_comment'").await.unwrap(), 2308);
    // 785 `closed` and 58 `reopened` among the 19,604 events.
    assert_eq!(db.count("select count(*) from work_item_transitions").await.unwrap(), 843);
    assert_eq!(
        db.count("select count(*) from work_item_transitions where to_norm in ('todo', 'in_progress')")
            .await
            .unwrap(),
        58,
        "reopened"
    );
    assert_eq!(db.count("select count(*) from pull_requests").await.unwrap(), 537);
    assert_eq!(
        db.count("select count(*) from pull_requests where merged_at is not null").await.unwrap(),
        332
    );
    assert_eq!(db.count("select count(*) from reviews").await.unwrap(), 1788);
    assert_eq!(db.count("select count(*) from work_item_details_pending").await.unwrap(), 0);
    assert_eq!(db.count("select count(*) from raw_objects where stream = 'issues'").await.unwrap(), 878);
    assert_eq!(
        db.count("select sum(created)::bigint from work_item_metrics_daily").await.unwrap(),
        878,
        "every item is created on some day"
    );
    assert_eq!(first["counts"]["upserted"], 878, "{first}");
    assert_eq!(first["counts"]["comments"], 5197 + 2308, "{first}");
    assert_eq!(first["counts"]["transitions"], 843, "{first}");
    assert_eq!(first["progress"]["eta_s"], json!(null), "{first}");

    // A second backfill reads the lists again and writes no row of them.
    let rows = "select md5(string_agg(t::text, '|' order by t::text)) from (
        select xmin::text, ctid::text, source_id from work_items union all
        select xmin::text, ctid::text, source_id from comments union all
        select xmin::text, ctid::text, source_id from source_users union all
        select xmin::text, ctid::text, source_id from labels union all
        select xmin::text, ctid::text, source_id from milestones union all
        select xmin::text, ctid::text, source_id from work_item_transitions union all
        select xmin::text, ctid::text, project_key || day from work_item_metrics_daily) t";
    let before = db.texts(rows).await.unwrap();
    let second = api.run_to(&instance, "backfill", "succeeded").await.unwrap();
    assert_eq!(second["counts"]["upserted"], 0, "{second}");
    assert_eq!(second["counts"]["comments"], 0, "{second}");
    assert_eq!(second["counts"]["transitions"], 0, "{second}");
    assert_eq!(db.texts(rows).await.unwrap(), before, "a row was written anew");

    // Three items change: one page of each list, and the details of the three.
    api.run_to(&instance, "sync", "succeeded").await.unwrap();
    let issue = db
        .texts(
            "select split_part(source_key, '#', 2) from work_items where type_norm <> 'pull_request'
        order by source_key limit 2",
        )
        .await
        .unwrap();
    let pull = db
        .texts(
            "select split_part(source_key, '#', 2) from work_items where type_norm = 'pull_request'
        order by source_key limit 1",
        )
        .await
        .unwrap();
    let numbers: Vec<u64> = issue.iter().chain(&pull).map(|number| number.parse().unwrap()).collect();
    tracker.control().touch("bitcoin-core/gui", &numbers).unwrap();
    tracker.control().reset_requests();
    let third = api.run_to(&instance, "sync", "succeeded").await.unwrap();
    assert_eq!(third["counts"]["upserted"], 3, "{third}");
    let requests: Vec<String> = tracker.control().requests().into_iter().map(|r| r.path_and_query).collect();
    let timelines = requests.iter().filter(|path| path.contains("/timeline")).count();
    let lists = requests.iter().filter(|path| path.contains("/issues?")).count();
    let details =
        requests.iter().filter(|path| path.contains("/pulls/") && !path.contains("/comments")).count();
    assert!((3..=6).contains(&timelines), "a timeline for each of three, of one or two pages: {requests:#?}");
    assert_eq!(details, 2, "one pull request and its reviews: {requests:#?}");
    assert!(lists <= 2, "{requests:#?}");
    assert!(requests.len() <= 18, "{} requests: {requests:#?}", requests.len());

    // With nothing new, every list answers "not modified" or holds the overlap only, and no details are read.
    api.run_to(&instance, "sync", "succeeded").await.unwrap();
    tracker.control().reset_requests();
    let idle = api.run_to(&instance, "sync", "succeeded").await.unwrap();
    assert_eq!(idle["counts"]["upserted"], 0, "{idle}");
    let stats = tracker.control().stats();
    assert!(stats.not_modified >= 5, "{stats:?}");
    assert!(stats.requests <= 9, "{stats:?}");

    assert_eq!(running.terminate().await.unwrap(), Some(0));
    patchbay.database.drop().await.unwrap();
}
