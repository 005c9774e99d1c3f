//! Real Jira data through the running product: a Data Center site and a Cloud board, counted; again; and after kill -9.

use std::time::Duration;

use patchbay_e2e::{Api, Database, Patchbay, real_data};
use serde_json::{Value, json};
use simulator::{JiraLogin, JiraSite, Simulator, SimulatorConfig, devlake, titanium};

const TOKEN: &str = "e2e-token";

async fn tracker(site: JiraSite) -> Simulator {
    let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
    simulator.control().add_jira(site).unwrap();
    simulator
}

async fn connect(api: &Api, base_url: &str, credentials: Value) -> String {
    let body = json!({
        "source": "jira", "name": "jira", "base_url": base_url, "credentials": credentials, "settings": {}
    });
    let created = api.post("/api/v1/instances", &body).await.unwrap();
    assert_eq!(created.status, 201, "{created:?}");
    created.body["id"].as_str().unwrap().to_owned()
}

/// Every row that a backfill writes, with where it stands: the same again when nothing was written anew.
const ROWS: &str = "select what || ' ' || md5(string_agg(t::text, '|' order by t::text)) from (
    select 'items' as what, xmin::text, ctid::text, source_id from work_items union all
    select 'comments', xmin::text, ctid::text, source_id from comments union all
    select 'people', xmin::text, ctid::text, source_id from source_users union all
    select 'sprints', xmin::text, ctid::text, source_id from sprints union all
    select 'worklogs', xmin::text, ctid::text, source_id from worklogs union all
    select 'memberships', xmin::text, ctid::text, item_ref_key || sprint_source_id from sprint_memberships union all
    select 'transitions', xmin::text, ctid::text, source_id from work_item_transitions) t
    group by what order by what";

async fn count(db: &Database, sql: &'static str) -> i64 {
    db.count(sql).await.unwrap()
}

async fn assert_titanium(db: &Database, at: &str) {
    assert_eq!(
        count(db, "select count(*) from work_items where deleted_at is null").await,
        2183,
        "issues {at}"
    );
    for (sql, issues) in [
        ("select count(*) from work_items where project_key = 'ALOY'", 1499),
        ("select count(*) from work_items where project_key = 'MOD'", 367),
        ("select count(*) from work_items where project_key = 'DAEMON'", 317),
    ] {
        assert_eq!(count(db, sql).await, issues, "{sql} {at}");
    }
    assert_eq!(count(db, "select count(*) from comments").await, 6431, "comments {at}");
    assert_eq!(count(db, "select count(*) from work_item_details_pending").await, 0, "{at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_center_site_syncs_exactly_and_a_second_backfill_writes_nothing() {
    let Some(data) = real_data() else {
        println!("skipped: ../shared/data is not here");
        return;
    };
    let site = titanium("titanium", &data).unwrap().with_login(JiraLogin::new(None, TOKEN));
    assert_eq!((site.issue_count(), site.comment_count(), site.link_count()), (2183, 6431, 1267));
    let sprints = site.sprint_count();
    let tracker = tracker(site).await;
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    let running = patchbay.serve("admin,worker").await.unwrap();
    let api = running.api(&key).unwrap();
    let url = format!("{}/jira/titanium", tracker.url());
    let instance = connect(&api, &url, json!({"kind": "pat", "token": TOKEN})).await;
    let db = &patchbay.database;

    let first = api.run_to(&instance, "backfill", "succeeded").await.unwrap();
    assert_titanium(db, "after the first backfill").await;
    assert_eq!(first["counts"]["upserted"], 2183, "{first}");
    assert_eq!(count(db, "select count(*) from links").await, 1267, "links");
    assert_eq!(count(db, "select count(*) from sprints").await, i64::try_from(sprints).unwrap(), "sprints");

    let before = db.texts(ROWS).await.unwrap();
    let second = api.run_to(&instance, "backfill", "succeeded").await.unwrap();
    assert_eq!(second["counts"]["upserted"], 0, "{second}");
    assert_eq!(second["counts"]["comments"], 0, "{second}");
    assert_eq!(db.texts(ROWS).await.unwrap(), before, "a row was written anew");

    assert_eq!(running.terminate().await.unwrap(), Some(0));
    patchbay.database.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_board_syncs_with_its_histories_sprints_and_worklogs() {
    let Some(data) = real_data() else {
        println!("skipped: ../shared/data is not here");
        return;
    };
    let site =
        devlake("devlake", &data).unwrap().with_login(JiraLogin::new(Some("sync@acme.example"), TOKEN));
    assert_eq!((site.issue_count(), site.history_count(), site.sprint_count()), (33, 522, 30));
    let (comments, worklogs) = (site.comment_count(), site.worklog_count());
    let moves = site.count_history_items("status");
    let tracker = tracker(site).await;
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    let running = patchbay.serve("admin,worker").await.unwrap();
    let api = running.api(&key).unwrap();
    let credentials = json!({"kind": "basic", "email": "sync@acme.example", "token": TOKEN});
    let instance = connect(&api, &format!("{}/jira/devlake", tracker.url()), credentials).await;
    let db = &patchbay.database;

    api.run_to(&instance, "backfill", "succeeded").await.unwrap();
    let expected = |number: usize| i64::try_from(number).unwrap();
    assert_eq!(count(db, "select count(*) from work_items where deleted_at is null").await, 33);
    assert_eq!(count(db, "select count(*) from comments").await, expected(comments));
    assert_eq!(count(db, "select count(*) from worklogs").await, expected(worklogs));
    // Beside the board's, sprint 175 of another board, which three issues were brought along with.
    assert_eq!(count(db, "select count(*) from sprints where source_id <> '175'").await, 30, "sprints");
    assert_eq!(count(db, "select count(*) from sprints").await, 31, "sprints");
    assert_eq!(count(db, "select count(*) from work_item_transitions").await, expected(moves));
    assert_eq!(count(db, "select count(*) from work_item_details_pending").await, 0);
    let open =
        "select count(*) from sprint_memberships where removed_at is not null and removed_at < added_at";
    assert_eq!(count(db, open).await, 0);

    let before = db.texts(ROWS).await.unwrap();
    let second = api.run_to(&instance, "backfill", "succeeded").await.unwrap();
    assert_eq!(second["counts"]["upserted"], 0, "{second}");
    assert_eq!(db.texts(ROWS).await.unwrap(), before, "a row was written anew");

    assert_eq!(running.terminate().await.unwrap(), Some(0));
    patchbay.database.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_middle_of_a_jira_backfill_loses_nothing() {
    let Some(data) = real_data() else {
        println!("skipped: ../shared/data is not here");
        return;
    };
    let site = titanium("titanium", &data).unwrap().with_login(JiraLogin::new(None, TOKEN));
    let tracker = tracker(site).await;
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    let admin = patchbay.serve("admin").await.unwrap();
    let api = admin.api(&key).unwrap();
    let mut worker = patchbay.serve("worker").await.unwrap();
    let url = format!("{}/jira/titanium", tracker.url());
    for deadly in [[6, 25], [15, 35]] {
        let instance = connect(&api, &url, json!({"kind": "pat", "token": TOKEN})).await;
        tracker.control().reset_requests();
        let run = api.start(&instance, "backfill").await.unwrap();
        for deadly in deadly {
            while tracker.control().stats().requests < deadly {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            worker.kill_9().await.unwrap();
            worker = patchbay.serve("worker").await.unwrap();
        }
        let ended = api.ended(&run).await.unwrap();
        let at = format!("killed after {deadly:?} requests: {ended}");
        assert_eq!(ended["state"], "succeeded", "{at}");
        assert_titanium(&patchbay.database, &at).await;
        let path = format!("/api/v1/instances/{instance}");
        let deleted = api.send(reqwest::Method::DELETE, &path, None).await.unwrap();
        assert_eq!(deleted.status, 204, "{deleted:?}");
    }
    worker.terminate().await.unwrap();
    admin.terminate().await.unwrap();
    patchbay.database.drop().await.unwrap();
}
