//! Webhooks that an OAuth app registers, delivered and verified.

use application::ports::Clock;
use application::ports::{Connection, Delivery, Received, Refusal, SourceErrorKind, SourceWebhooks};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use chrono::TimeDelta;
use domain::{Credential, Hint, ItemPatch};
use patchbay_infrastructure::clock::SystemClock;
use secrecy::SecretString;
use serde_json::json;
use simulator::Deployment;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use url::Url;

use super::{Tracker, adapter};

const CLIENT_SECRET: &str = "the-apps-own-secret";

type Delivered = (Vec<(String, String)>, Bytes);

/// Takes in deliveries.
async fn receiver() -> (Url, mpsc::UnboundedReceiver<Delivered>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let take = |State(sender): State<mpsc::UnboundedSender<Delivered>>, headers: HeaderMap, body: Bytes| async move {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        let _ = sender.send((headers, body));
    };
    let app = Router::new().fallback(take).with_state(sender);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/webhooks/jira/t0ken", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, receiver)
}

fn as_app(tracker: &Tracker) -> Connection {
    let control = tracker.simulator.control();
    let (access, refresh) = control
        .with_jira("acme", |site| {
            site.set_client("patchbay", CLIENT_SECRET);
            site.grant(None)
        })
        .unwrap();
    let grant = json!({
        "kind": "oauth", "access_token": access, "refresh_token": refresh, "client_id": "patchbay",
        "client_secret": CLIENT_SECRET,
    });
    Connection {
        instance: tracker.connection.instance,
        base_url: tracker.connection.base_url.clone(),
        credential: serde_json::from_value(grant).unwrap(),
        settings: tracker.connection.settings.clone(),
        mappings: std::sync::Arc::default(),
        requests: std::sync::atomic::AtomicI64::new(0),
    }
}

#[tokio::test]
async fn an_app_sets_up_renews_and_takes_away_its_webhook_and_knows_its_deliveries() {
    let tracker = Tracker::start(Deployment::Cloud).await;
    let key = tracker.make("Tell about me").await;
    let app = as_app(&tracker);
    let adapter = adapter();
    let webhooks: &dyn SourceWebhooks = adapter.webhooks().expect("Jira has webhooks");
    assert!(webhooks.registers(&app.credential));
    assert!(!webhooks.registers(&tracker.connection.credential), "an admin sets these up");
    let secret = webhooks.given_secret(&app.credential).expect("Atlassian signs with the app's secret");
    let (target, mut deliveries) = receiver().await;

    let first = webhooks.register(&app, &target, &secret, None).await.unwrap();
    let lasts = first.expires_at.unwrap() - SystemClock.now();
    assert!(lasts > TimeDelta::days(29) && lasts <= TimeDelta::days(31), "{lasts}");
    let again = webhooks.register(&app, &target, &secret, Some(&first)).await.unwrap();
    assert_eq!(again.remote, first.remote, "what is there is taken over");
    let renewed = webhooks.renew(&app, &target, &again).await.unwrap();
    assert_eq!(renewed.remote, first.remote);

    let patch = ItemPatch { title: Some("Told".into()), ..ItemPatch::default() };
    tracker.writer().update_item(&tracker.connection, &key, &patch, "").await.unwrap();
    let (headers, body) = deliveries.recv().await.expect("a delivery");
    let delivery = Delivery { headers: &headers, body: &body };
    let Received::Verified { delivery_id, event, hints } =
        webhooks.receive(&delivery, &[SecretString::from("older"), secret]).unwrap()
    else {
        panic!("no handshake")
    };
    assert_eq!(event, "jira:issue_updated");
    assert!(!delivery_id.is_empty());
    assert!(
        hints.iter().any(|hint| matches!(hint, Hint::Item { key: Some(told), .. } if *told == key)),
        "{hints:?}"
    );
    let forged = webhooks.receive(&delivery, &[SecretString::from("older")]).unwrap_err();
    assert_eq!(forged, Refusal::Forged);

    webhooks.unregister(&app, &renewed).await.unwrap();
    let lost = webhooks.renew(&app, &target, &renewed).await.unwrap_err();
    assert_eq!(lost.kind, SourceErrorKind::NotFound, "{lost}");
    webhooks.unregister(&app, &renewed).await.unwrap();
}

#[tokio::test]
async fn an_admin_is_told_the_page_the_address_and_the_projects() {
    let tracker = Tracker::start(Deployment::DataCenter).await;
    let target: Url = "https://patchbay.example/webhooks/jira/t0ken".parse().unwrap();
    let adapter = adapter();
    let steps = adapter.webhooks().unwrap().steps(&tracker.connection, &target).join("\n");
    for told in ["/plugins/servlet/webhooks", target.as_str(), "project in (\"ENG\")", "Secret"] {
        assert!(steps.contains(told), "{told} is missing in:\n{steps}");
    }
    let credential = Credential::Pat { token: "p4t".to_owned().into() };
    assert!(!adapter.webhooks().unwrap().registers(&credential));
}

/// What Jira itself sent, signed here: every recording points at its issue.
#[test]
fn every_recorded_delivery_points_at_its_issue() {
    use hmac::{Hmac, KeyInit, Mac};
    let folder =
        std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/jira/webhooks");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("skipped: ../shared/data is not here");
        return;
    };
    let adapter = adapter();
    let mut read = 0;
    for file in files {
        let path = file.unwrap().path();
        let body = std::fs::read(&path).unwrap();
        let Ok(sent) = serde_json::from_slice::<serde_json::Value>(&body) else { continue };
        let mac = Hmac::<sha2::Sha256>::new_from_slice(b"secret").unwrap().chain_update(&body);
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let headers = [("x-hub-signature".to_owned(), signature)];
        let delivery = Delivery { headers: &headers, body: &body };
        let received = adapter.webhooks().unwrap().receive(&delivery, &[SecretString::from("secret")]);
        let Ok(Received::Verified { event, hints, .. }) = received else {
            panic!("{} is refused", path.display())
        };
        assert_eq!(event, sent["webhookEvent"], "{}", path.display());
        let points = hints.iter().any(|hint| {
            matches!(hint, Hint::Item { source_id: Some(id), key, .. }
                if *id == sent["issue"]["id"] && key.as_deref() == sent["issue"]["key"].as_str())
        });
        assert!(points, "{}: {hints:?}", path.display());
        read += 1;
    }
    println!("{read} recorded deliveries");
    assert!(read > 0);
}
