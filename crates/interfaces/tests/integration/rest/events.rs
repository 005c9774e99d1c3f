use std::time::Duration;

use axum::body::BodyDataStream;
use domain::RunState;
use futures::StreamExt;
use tower::ServiceExt;

use super::{Api, Body, app};
use application::testing::RUN;

async fn follow(api: &Api) -> BodyDataStream {
    let request = api.request("GET", &format!("/api/v1/runs/{RUN}/events")).body(Body::empty()).unwrap();
    let response = api.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

/// The next event, as its name and the text of the whole.
async fn next(events: &mut BodyDataStream) -> Option<String> {
    loop {
        let chunk = events.next().await?.unwrap();
        let text = String::from_utf8(chunk.to_vec()).unwrap();
        if text.starts_with("event: ") {
            return Some(text);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn progress_is_sent_when_it_changed_and_the_stream_ends_with_the_run() {
    let api = Api::new();
    let mut events = follow(&api).await;
    assert!(next(&mut events).await.unwrap().starts_with("event: progress\ndata: {"));
    assert!(
        tokio::time::timeout(Duration::from_secs(2), next(&mut events)).await.is_err(),
        "an unchanged run was sent again"
    );
    api.world.set_run_state(RUN, RunState::Running);
    assert!(next(&mut events).await.unwrap().contains("\"state\":\"running\""));
    api.world.set_run_state(RUN, RunState::Succeeded);
    let end = next(&mut events).await.unwrap();
    assert!(end.starts_with("event: end\n") && end.contains("\"state\":\"succeeded\""), "{end}");
    assert_eq!(next(&mut events).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_ends_its_streams_within_ten_seconds() {
    let api = Api::new();
    let mut events = follow(&api).await;
    next(&mut events).await.unwrap();
    api.world.revoke_all_keys();
    let last = tokio::time::timeout(Duration::from_secs(10), next(&mut events)).await.unwrap().unwrap();
    assert!(last.starts_with("event: error\n") && last.contains("unauthenticated"), "{last}");
    assert_eq!(next(&mut events).await, None);
}

#[tokio::test]
async fn a_key_has_a_bounded_number_of_streams() {
    let api = Api::new();
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(follow(&api).await);
    }
    let path = format!("/api/v1/runs/{RUN}/events");
    let (status, problem) = api.get(&path).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (429, Some("too_many_streams")));
    open.pop();
    open.push(follow(&api).await);
}

#[tokio::test]
async fn a_stream_does_not_hold_up_the_end_of_the_server() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let api = Api::new();
    let served = super::Served::new(app(&api.world)).await;
    let mut stream = served.connect().await;
    let request = format!(
        "GET /api/v1/runs/{RUN}/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        api.key
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0u8; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    served.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(2), served.task)
        .await
        .expect("drained in time")
        .unwrap()
        .unwrap();
}
