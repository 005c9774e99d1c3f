use simulator::{SimulatorConfig, TokenGrant, asana_workspace};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn asana_shakes_hands_while_its_webhooks_are_made_and_tells_of_tasks_and_stories() {
    let tokens = vec![TokenGrant { token: TOKEN.into(), login: "Aiko Tanabe".into(), repositories: None }];
    let config = SimulatorConfig { tokens, ..SimulatorConfig::default() };
    let tracker = Simulator::start(config).await.unwrap();
    let workspace = asana_workspace("Northwind", 7, 60);
    let projects: Vec<String> =
        workspace.projects.iter().take(2).map(|project| project.gid.clone()).collect();
    let task = workspace.projects[0].tasks[0].clone();
    tracker.control().add_asana(workspace);
    let running = Running::start().await;
    let aiko = Person::at(&tracker, "/api/1.0");
    let url = format!("{}/api/1.0", tracker.url());
    let credentials = json!({"kind": "token", "token": TOKEN});
    let instance = running.connect("asana", &url, credentials, json!({"projects": projects})).await;
    let runs = running.count(RUNS).await;
    let told = running.set_up(&instance).await;
    assert_eq!((&told["managed"], told.get("secret")), (&json!(true), None), "{told}");
    assert_eq!(tracker.control().asana_webhook_count(), 2);
    let handshake = running.delivery("X-Hook-Secret");

    aiko.does(Method::PUT, &format!("/tasks/{task}"), json!({"data": {"name": "Told by a webhook"}})).await;
    running.wait_for("select count(*) from work_items where title = 'Told by a webhook'", 1).await;
    let story = json!({"data": {"text": "So it goes."}});
    aiko.does(Method::POST, &format!("/tasks/{task}/stories"), story).await;
    running.wait_for("select count(*) from comments where body like 'So it goes.%'", 1).await;
    running.wait_for(OPEN, 0).await;
    assert_eq!(running.count(RUNS).await, runs, "a run was started for it");

    // Whoever knows the address cannot agree on a secret of their own afterwards.
    assert_eq!(running.relay.send(&handshake).await.unwrap(), 401);
    let genuine = running.delivery("X-Hook-Signature");
    running.refuses_what_is_not_the_trackers(&genuine, "x-hook-signature").await;
    running.take_away(&instance).await;
    assert_eq!(tracker.control().asana_webhook_count(), 0, "a webhook stays at the tracker");
    running.set_up(&instance).await;
    assert_eq!(tracker.control().asana_webhook_count(), 2);
    let path = format!("/api/v1/instances/{instance}");
    assert_eq!(running.api.send(Method::DELETE, &path, None).await.unwrap().status, 204);
    assert_eq!(tracker.control().asana_webhook_count(), 0, "a webhook outlives its instance");
    running.end().await;
}
