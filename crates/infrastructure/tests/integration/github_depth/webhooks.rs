//! Webhooks: set up, really delivered, asked for again, taken away.

use std::sync::Mutex;
use std::time::Duration;

use application::ports::{Delivery, Received};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use domain::{Hint, NewItem};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;

/// Headers and body.
type Arrived = (Vec<(String, String)>, Vec<u8>);

/// What arrived, and with which status the next are answered.
#[derive(Default)]
struct Inbox {
    got: Mutex<Vec<Arrived>>,
    failing: std::sync::atomic::AtomicBool,
    came: Notify,
}

async fn listen() -> (Arc<Inbox>, Url) {
    let inbox = Arc::new(Inbox::default());
    let own = Arc::clone(&inbox);
    let take = async move |headers: HeaderMap, body: Bytes| {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        own.got.lock().unwrap().push((headers, body.to_vec()));
        own.came.notify_one();
        if own.failing.load(std::sync::atomic::Ordering::SeqCst) {
            StatusCode::BAD_GATEWAY
        } else {
            StatusCode::OK
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let app = Router::new().fallback(take);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (inbox, Url::parse(&url).unwrap())
}

impl Inbox {
    /// Waits for a delivery of an event.
    async fn wait(&self, event: &str) -> Received {
        loop {
            let came = self.came.notified();
            let found = {
                let mut got = self.got.lock().unwrap();
                let is = |headers: &[(String, String)]| {
                    headers.iter().any(|h| h.0 == "x-github-event" && h.1 == event)
                };
                let at = got.iter().position(|(headers, _)| is(headers));
                at.map(|at| got.remove(at))
            };
            if let Some((headers, body)) = found {
                let delivery = Delivery { headers: &headers, body: &body };
                return github().webhooks().unwrap().receive(&delivery, &[secret()]).unwrap();
            }
            tokio::time::timeout(Duration::from_secs(20), came).await.unwrap();
        }
    }
}

fn secret() -> SecretString {
    "of the instance".to_owned().into()
}

#[tokio::test]
async fn deliveries_arrive_signed_are_asked_for_again_and_end() {
    let (simulator, connection) = simulated().await;
    let (inbox, target) = listen().await;
    let adapter = github();
    let hooks = adapter.webhooks().unwrap();
    assert!(hooks.registers(&connection.credential));
    let registration = hooks.register(&connection, &target, &secret(), None).await.unwrap();
    assert_eq!(registration.remote["hooks"].as_array().unwrap().len(), 2);
    inbox.wait("ping").await;
    // Again takes over what is there.
    let again = hooks.register(&connection, &target, &secret(), Some(&registration)).await.unwrap();
    assert_eq!(again, registration);

    let new = NewItem { project: REPOSITORY.into(), title: "Told".into(), ..NewItem::default() };
    inbox.failing.store(true, std::sync::atomic::Ordering::SeqCst);
    let written = adapter.writer().unwrap().create_item(&connection, &new, &marker()).await.unwrap();
    let Received::Verified { delivery_id, event, hints } = inbox.wait("issues").await else { panic!() };
    assert_eq!(event, "issues");
    let told = hints.iter().any(|hint| {
        matches!(hint, Hint::Item { source_id, key, .. }
            if source_id.as_deref() == Some(&written.source_id) && key.as_deref() == Some(&written.key))
    });
    assert!(told, "{hints:?}");

    // It was answered with 502, so it is asked for again.
    inbox.failing.store(false, std::sync::atomic::Ordering::SeqCst);
    let again = async {
        loop {
            hooks.renew(&connection, &target, &registration).await.unwrap();
            let listed = simulator.control().requests();
            if listed.iter().any(|request| request.path_and_query.ends_with("/attempts")) {
                return inbox.wait("issues").await;
            }
        }
    };
    let Received::Verified { delivery_id: same, .. } = again.await else { panic!() };
    assert_eq!(same, delivery_id);

    hooks.unregister(&connection, &registration).await.unwrap();
    hooks.unregister(&connection, &registration).await.unwrap();
    let error = hooks.renew(&connection, &target, &registration).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Forbidden);
}

#[tokio::test]
async fn without_the_permission_the_admin_is_told_and_an_app_is_set_up_by_hand() {
    let (simulator, connection) = simulated().await;
    simulator.control().allow_push(TOKEN, false);
    let adapter = github();
    let hooks = adapter.webhooks().unwrap();
    let target = Url::parse("http://127.0.0.1:9/hook").unwrap();
    let error = hooks.register(&connection, &target, &secret(), None).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Forbidden);
    assert!(error.message.contains("admin:repo_hook"), "{error}");
    let app = Credential::GithubApp { app_id: "1".into(), private_key: "k".to_owned().into() };
    assert!(!hooks.registers(&app));
    let steps = hooks.steps(&super::connection(&simulator.url(), app, json!({})), &target);
    assert!(steps.iter().any(|step| step.contains(target.as_str())));
    assert!(steps.iter().any(|step| step.contains("Subscribe to events")));
}
