use simulator::{Deployment, JiraLogin, SimulatorConfig, generate};

use super::*;

async fn tracker(deployment: Deployment) -> Simulator {
    let tracker = Simulator::start(SimulatorConfig::default()).await.unwrap();
    let site = generate::jira("acme", deployment, &[("ENG", 7, 30), ("OPS", 8, 6)]);
    let site = site.with_login(JiraLogin::new(None, TOKEN));
    tracker.control().add_jira(site.with_login(JiraLogin::new(Some("ann@example.com"), TOKEN))).unwrap();
    tracker
}

fn webhooks_at(tracker: &Simulator) -> usize {
    tracker.control().with_jira("acme", |site| site.webhook_count()).unwrap()
}

/// Follows the steps, as an administrator of Jira does.
async fn by_the_steps(admin: &Person, told: &Value) {
    assert_eq!(told["managed"], false, "{told}");
    let (url, steps) = (told["url"].as_str().unwrap(), told["steps"].to_string());
    for step in [url, "/plugins/servlet/webhooks", "project in (", "ENG", "Worklog", "Sprint"] {
        assert!(steps.contains(step), "{step} is not among the steps: {steps}");
    }
    let events = json!([
        "jira:issue_created",
        "jira:issue_updated",
        "jira:issue_deleted",
        "comment_created",
        "comment_updated",
        "comment_deleted",
        "worklog_created",
        "worklog_updated",
        "worklog_deleted",
        "issuelink_created",
        "issuelink_deleted",
        "sprint_created",
        "sprint_started",
        "sprint_updated",
        "sprint_closed"
    ]);
    let body = json!({"name": "Patchbay", "url": url, "events": events, "secret": told["secret"],
        "filters": {"issue-related-events-section": "project in (\"ENG\")"}});
    admin.does(Method::POST, "/rest/webhooks/1.0/webhook", body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_administrator_set_up_tells_of_issues_comments_worklogs_links_and_sprints() {
    for deployment in [Deployment::Cloud, Deployment::DataCenter] {
        let (tracker, running) = (tracker(deployment).await, Running::start().await);
        let ann = Person::at(&tracker, "/jira/acme");
        let url = format!("{}/jira/acme", tracker.url());
        let credentials = match deployment {
            Deployment::Cloud => json!({"kind": "basic", "email": "ann@example.com", "token": TOKEN}),
            Deployment::DataCenter => json!({"kind": "pat", "token": TOKEN}),
        };
        let instance = running.connect("jira", &url, credentials, json!({"projects": ["ENG"]})).await;
        let runs = running.count(RUNS).await;
        by_the_steps(&ann, &running.set_up(&instance).await).await;

        let title = json!({"fields": {"summary": "Told by a webhook"}});
        ann.does(Method::PUT, "/rest/api/2/issue/ENG-7", title).await;
        running.wait_for("select count(*) from work_items where title = 'Told by a webhook'", 1).await;
        ann.does(Method::POST, "/rest/api/2/issue/ENG-7/comment", json!({"body": "So it goes."})).await;
        running.wait_for("select count(*) from comments where body like 'So it goes.%'", 1).await;
        let worklogs = running.count("select count(*) from worklogs").await;
        let spent = json!({"timeSpentSeconds": 4_260});
        let worklog = ann.does(Method::POST, "/rest/api/2/issue/ENG-7/worklog", spent).await;
        running.wait_for("select count(*) from worklogs where seconds = 4260", 1).await;
        let path = format!("/rest/api/2/issue/ENG-7/worklog/{}", worklog["id"].as_str().unwrap());
        ann.0.send(Method::DELETE, &path, None).await.unwrap();
        running.wait_for("select count(*) from worklogs", worklogs).await;
        let links = running.count("select count(*) from links").await;
        let kinds = ann.0.get("/rest/api/2/issueLinkType").await.unwrap().body;
        let link = json!({"type": {"name": kinds["issueLinkTypes"][0]["name"]}, "inwardIssue": {"key": "ENG-8"},
            "outwardIssue": {"key": "ENG-9"}});
        ann.does(Method::POST, "/rest/api/2/issueLink", link).await;
        running.wait_for_more("select count(*) from links", links).await;
        running.wait_for(OPEN, 0).await;
        assert_eq!(running.count(RUNS).await, runs, "{deployment:?}: a run was started for it");
        // Of a project that the webhook is not about.
        ann.does(Method::PUT, "/rest/api/2/issue/OPS-1", json!({"fields": {"summary": "Elsewhere"}})).await;

        let genuine = running.delivery("jira:issue_updated");
        running.refuses_what_is_not_the_trackers(&genuine, "x-hub-signature").await;

        // What is no item brings the next sync within a minute.
        let future = tracker.control().with_jira("acme", |site| site.sprints_in("future")).unwrap();
        let (sprint, _) = future.iter().find(|(_, name)| name.starts_with("ENG")).unwrap();
        let path = format!("/rest/agile/1.0/sprint/{sprint}");
        ann.does(Method::POST, &path, json!({"name": "Renamed sprint"})).await;
        running.wait_for("select count(*) from sprints where name = 'Renamed sprint'", 1).await;
        assert_eq!(running.count(RUNS).await, runs + 1, "{deployment:?}");
        assert_eq!(running.count("select count(*) from work_items where title = 'Elsewhere'").await, 0);

        running.take_away(&instance).await;
        assert_eq!(running.relay.send(&genuine).await.unwrap(), 404, "the address is gone");
        running.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oauth_app_sets_its_webhook_up_by_itself_and_takes_it_away() {
    let (tracker, running) = (tracker(Deployment::Cloud).await, Running::start().await);
    let ann = Person::at(&tracker, "/jira/acme");
    let (access, refresh) = tracker
        .control()
        .with_jira("acme", |site| {
            site.set_client("patchbay", "the-apps-own-secret");
            site.grant(None)
        })
        .unwrap();
    let credentials = json!({"kind": "oauth", "access_token": access, "refresh_token": refresh,
        "client_id": "patchbay", "client_secret": "the-apps-own-secret"});
    let url = format!("{}/jira/acme", tracker.url());
    let instance = running.connect("jira", &url, credentials, json!({"projects": ["ENG"]})).await;
    let runs = running.count(RUNS).await;
    let told = running.set_up(&instance).await;
    assert_eq!((&told["managed"], told.get("secret")), (&json!(true), None), "{told}");
    assert!(told["expires_at"].is_string(), "{told}");
    assert_eq!(webhooks_at(&tracker), 1);

    let title = json!({"fields": {"summary": "Told to an app"}});
    ann.does(Method::PUT, "/rest/api/2/issue/ENG-7", title).await;
    running.wait_for("select count(*) from work_items where title = 'Told to an app'", 1).await;
    let gone = "select count(*) from work_items where source_key = 'ENG-9' and deleted_at is not null";
    assert_eq!(running.count(gone).await, 0);
    let deleted =
        ann.0.send(Method::DELETE, "/rest/api/2/issue/ENG-9?deleteSubtasks=true", None).await.unwrap();
    assert_eq!(deleted.status, 204, "{deleted:?}");
    running.wait_for(gone, 1).await;
    running.wait_for(OPEN, 0).await;
    assert_eq!(running.count(RUNS).await, runs, "a run was started for it");

    let genuine = running.delivery("jira:issue_updated");
    running.refuses_what_is_not_the_trackers(&genuine, "authorization").await;
    running.take_away(&instance).await;
    assert_eq!(webhooks_at(&tracker), 0, "a webhook stays at the tracker");
    running.end().await;
}
