use simulator::{App, SimulatorConfig, TokenGrant, generate};

use super::*;

const KEY: &str =
    include_str!("../../../../../crates/infrastructure/tests/integration/github_depth/app_key.pem");
const PUBLIC_KEY: &str =
    include_str!("../../../../../crates/infrastructure/tests/integration/github_depth/app_key.pub.pem");
const APP: &str = "Iv23liPatchbay";

async fn tracker() -> Simulator {
    let repositories = ["acme/app", "acme/other", "umbrella/lab"].iter().zip(3..);
    let repositories = repositories.map(|(name, seed)| generate::repository(name, seed, 8)).collect();
    let tokens = vec![TokenGrant { token: TOKEN.into(), login: "ann".into(), repositories: None }];
    Simulator::start(SimulatorConfig { repositories, tokens, ..SimulatorConfig::default() }).await.unwrap()
}

async fn open(person: &Person, repository: &str, title: &str) -> u64 {
    let body = json!({"title": title, "body": "x"});
    let made = person.does(Method::POST, &format!("/repos/{repository}/issues"), body).await;
    made["number"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_that_changes_at_github_changes_here_without_a_poll_and_the_webhook_goes_with_the_instance()
{
    let (tracker, running) = (tracker().await, Running::start().await);
    let ann = Person::at(&tracker, "");
    let number = open(&ann, "acme/app", "As it was").await;
    let settings = json!({"repositories": ["acme/app", "acme/other"]});
    let credentials = json!({"kind": "token", "token": TOKEN});
    let instance = running.connect("github", &tracker.url(), credentials, settings).await;
    let runs = running.count(RUNS).await;
    let told = running.set_up(&instance).await;
    assert_eq!((&told["managed"], told.get("secret")), (&json!(true), None), "{told}");
    assert!(told["url"].as_str().unwrap().starts_with(running.relay.url()), "{told}");
    assert_eq!(tracker.control().webhook_count(), 2);

    let issue = format!("/repos/acme/app/issues/{number}");
    ann.does(Method::PATCH, &issue, json!({"title": "Told by a webhook"})).await;
    running.wait_for("select count(*) from work_items where title = 'Told by a webhook'", 1).await;
    let comment = ann.does(Method::POST, &format!("{issue}/comments"), json!({"body": "So it goes."})).await;
    let comments = "select count(*) from comments where body = 'So it goes.'";
    running.wait_for(comments, 1).await;
    ann.0
        .send(Method::DELETE, &format!("/repos/acme/app/issues/comments/{}", comment["id"]), None)
        .await
        .unwrap();
    running.wait_for(comments, 0).await;
    let created = open(&ann, "acme/other", "Made while nobody polls").await;
    running.wait_for("select count(*) from work_items where title = 'Made while nobody polls'", 1).await;
    running.wait_for(OPEN, 0).await;
    assert_eq!(running.count(RUNS).await, runs, "a run was started for it");
    assert_eq!(running.status(&instance).await["state"], "active");

    let genuine = running.delivery("X-GitHub-Event: issues\r\n");
    running.refuses_what_is_not_the_trackers(&genuine, "x-hub-signature-256").await;

    let listed = running.api.get(&format!("{}/deliveries?limit=200", webhook(&instance))).await.unwrap();
    let mut of_the_new = listed.body["items"].as_array().unwrap().iter();
    let key = json!(format!("acme/other#{created}"));
    let delivery = of_the_new.rfind(|one| one["items"][0] == key).expect("it is listed");
    assert_eq!((&delivery["outcome"], &delivery["event"]), (&json!("applied"), &json!("issues")));
    let path = format!("{}/deliveries/{}/replay", webhook(&instance), delivery["id"].as_str().unwrap());
    running
        .patchbay
        .database
        .execute("update work_items set title = $1 where title like 'Made while%'", "x")
        .await
        .unwrap();
    let again = running.api.post(&path, &json!({})).await.unwrap();
    assert_eq!(again.status, 202, "{again:?}");
    running.wait_for(OPEN, 0).await;
    let audited = "select count(*) from audit_log where action = 'webhook.replay'";
    assert_eq!(running.count(audited).await, 1);

    running.take_away(&instance).await;
    assert_eq!(tracker.control().webhook_count(), 0, "a webhook stays at the tracker");
    assert_eq!(running.relay.send(&genuine).await.unwrap(), 404, "the address is gone");
    running.set_up(&instance).await;
    assert_eq!(tracker.control().webhook_count(), 2);
    let path = format!("/api/v1/instances/{instance}");
    assert_eq!(running.api.send(Method::DELETE, &path, None).await.unwrap().status, 204);
    assert_eq!(tracker.control().webhook_count(), 0, "a webhook outlives its instance");
    assert_eq!(running.count(STORED).await, 0);
    let audited = "select count(*) from audit_log
        where action in ('webhook.prepare', 'webhook.register', 'webhook.remove') and outcome = 'ok'";
    assert_eq!(running.count(audited).await, 5, "two were set up, one was taken away");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_told_of_all_its_installations_once_somebody_has_entered_address_and_secret() {
    let (tracker, running) = (tracker().await, Running::start().await);
    let ann = Person::at(&tracker, "");
    tracker.control().install_app(App {
        app_id: APP.into(),
        slug: "patchbay".into(),
        public_key: PUBLIC_KEY.into(),
        installations: vec![(11, "acme".into()), (12, "umbrella".into())],
        token_lifetime_s: 3_600,
    });
    let credentials = json!({"kind": "github_app", "app_id": APP, "private_key": KEY});
    let instance = running.connect("github", &tracker.url(), credentials, json!({})).await;
    let told = running.set_up(&instance).await;
    assert_eq!(told["managed"], false, "{told}");
    let (url, secret) = (told["url"].as_str().unwrap(), told["secret"].as_str().unwrap());
    let steps = told["steps"].to_string();
    for step in ["Webhook", url, "secret shown here", "Issue comments"] {
        assert!(steps.contains(step), "{step} is not among the steps: {steps}");
    }
    assert_eq!(tracker.control().webhook_count(), 0);
    assert!(running.status(&instance).await.get("secret").is_none(), "the secret is told once");

    tracker.control().set_app_webhook(APP, Some((url, secret)));
    for repository in ["acme/app", "umbrella/lab"] {
        open(&ann, repository, "By an app's webhook").await;
    }
    running.wait_for("select count(*) from work_items where title = 'By an app''s webhook'", 2).await;
    assert_eq!(running.status(&instance).await["state"], "active");
    let genuine = running.delivery("X-GitHub-Event: issues\r\n");
    assert!(text(&genuine).contains(r#""installation":{"id":1"#), "{}", text(&genuine));
    running.refuses_what_is_not_the_trackers(&genuine, "x-hub-signature-256").await;
    running.take_away(&instance).await;
    running.end().await;
}
