//! Webhooks with the handshake inside the call that makes them.

use std::net::Ipv4Addr;
use std::sync::Mutex;

use application::ports::{Delivery, Received, SourceErrorKind};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::routing::post;
use domain::Hint;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

/// What a receiver does: keeps the secrets it is told, and hands on what is signed.
async fn receiver() -> (Url, UnboundedReceiver<(String, Vec<Hint>)>) {
    let (sender, receiver) = unbounded_channel();
    let secrets: Arc<Mutex<Vec<SecretString>>> = Arc::default();
    let take =
        move |headers: HeaderMap, body: Bytes| async move { receive(&secrets, &sender, &headers, &body) };
    let app = Router::new().route("/hook/{token}", post(take));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let target = format!("http://{}/hook/t0k3n", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (Url::parse(&target).unwrap(), receiver)
}

fn receive(
    secrets: &Mutex<Vec<SecretString>>,
    sender: &UnboundedSender<(String, Vec<Hint>)>,
    headers: &HeaderMap,
    body: &[u8],
) -> (StatusCode, HeaderMap) {
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let adapter = asana();
    let known = secrets.lock().unwrap().clone();
    match adapter.webhooks().unwrap().receive(&Delivery { headers: &headers, body }, &known) {
        Ok(Received::Handshake { secret, headers }) => {
            secrets.lock().unwrap().insert(0, secret);
            let answer = headers
                .into_iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap()));
            (StatusCode::OK, answer.collect())
        }
        Ok(Received::Verified { event, hints, .. }) => {
            let _ = sender.send((event, hints.into_iter().collect()));
            (StatusCode::OK, HeaderMap::new())
        }
        Err(_) => (StatusCode::UNAUTHORIZED, HeaderMap::new()),
    }
}

#[tokio::test]
async fn webhooks_are_made_tell_of_subtasks_are_renewed_and_taken_away() {
    let (simulator, connection) = simulated().await;
    let (target, mut deliveries) = receiver().await;
    let adapter = asana();
    let webhooks = adapter.webhooks().unwrap();
    assert!(webhooks.registers(&connection.credential));
    let unused = SecretString::from("unused");
    let made = webhooks.register(&connection, &target, &unused, None).await.unwrap();
    let world = world(&simulator);
    assert_eq!(made.remote["webhooks"].as_array().unwrap().len(), world.projects.len());
    let part = subtask(&world);
    simulator.control().rename_asana(&part, "Told at once").unwrap();
    let (event, hints) = deliveries.recv().await.unwrap();
    assert_eq!(event, "task.changed");
    let item = Hint::Item { source_id: Some(part.clone()), ref_key: Some(part.clone()), key: None };
    assert_eq!(hints, std::slice::from_ref(&item));
    let user = world.users[0].gid.clone();
    simulator.control().comment_asana(&part, &user, "Hello");
    // A task in two projects is told of twice.
    loop {
        let (event, hints) = deliveries.recv().await.unwrap();
        assert_eq!(hints, std::slice::from_ref(&item));
        if event == "story.added" {
            break;
        }
    }

    assert_eq!(webhooks.renew(&connection, &target, &made).await.unwrap(), made);
    let again = webhooks.register(&connection, &target, &unused, Some(&made)).await.unwrap();
    assert_eq!(again, made, "what is there is taken over");
    simulator.control().drop_asana_webhooks();
    let error = webhooks.renew(&connection, &target, &made).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::NotFound);
    let anew = webhooks.register(&connection, &target, &unused, Some(&made)).await.unwrap();
    assert_ne!(anew, made);
    webhooks.unregister(&connection, &anew).await.unwrap();
    webhooks.unregister(&connection, &anew).await.unwrap();
    let error = webhooks.renew(&connection, &target, &anew).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::NotFound);
}

#[tokio::test]
async fn a_target_that_does_not_confirm_is_told_with_what_to_do() {
    let (_simulator, connection) = simulated().await;
    let target = Url::parse("http://127.0.0.1:9/hook").unwrap();
    let adapter = asana();
    let webhooks = adapter.webhooks().unwrap();
    let error = webhooks.register(&connection, &target, &SecretString::from("x"), None).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Rejected);
    assert!(error.message.contains("reach"), "{error}");
}
