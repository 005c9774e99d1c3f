use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Api, Served, app};

/// What a client gets to read when it sends this and then nothing more, and after how long.
async fn stall_after(served: &Served, begin: &str) -> (String, Duration) {
    let begun = Instant::now();
    let mut stream = served.connect().await;
    stream.write_all(begin.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end, too.
    let end = tokio::time::timeout(Duration::from_secs(16), stream.read_to_end(&mut answer)).await;
    assert!(end.is_ok(), "still open 16 s after {begin:?}");
    (String::from_utf8_lossy(&answer).into_owned(), begun.elapsed())
}

#[tokio::test]
async fn connections_that_stall_are_closed_within_15_seconds() {
    let api = Api::new();
    let served = Served::new(app(&api.world)).await;
    let authorization = format!("authorization: Bearer {}", api.key);
    let slow_body = format!(
        "POST /api/v1/instances HTTP/1.1\r\nhost: x\r\n{authorization}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"na"
    );
    let (silent, preface, head, body, anonymous) = tokio::join!(
        stall_after(&served, ""),
        stall_after(&served, "PRI * HT"),
        stall_after(&served, "GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: "),
        stall_after(&served, &slow_body),
        stall_after(&served, "POST /api/v1/instances HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"),
    );
    for (what, took) in [
        ("silent", silent.1),
        ("preface", preface.1),
        ("head", head.1),
        ("body", body.1),
        ("anonymous", anonymous.1),
    ] {
        assert!(took < Duration::from_secs(15), "{what} took {took:?}");
    }
    assert!(body.0.starts_with("HTTP/1.1 408") && body.0.contains("body_too_slow"), "{}", body.0);
    assert!(anonymous.0.starts_with("HTTP/1.1 401"), "{}", anonymous.0);
    assert!(anonymous.1 < Duration::from_secs(12), "the anonymous body was waited for");
}

#[tokio::test]
async fn a_running_request_is_let_finish_and_new_connections_are_refused() {
    let router = Router::new().route(
        "/slow",
        get(async || {
            tokio::time::sleep(Duration::from_millis(500)).await;
            "done"
        }),
    );
    let served = Served::new(router).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.shutdown.cancel();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    served.task.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn heads_over_16_kib_are_refused() {
    let api = Api::new();
    let served = Served::new(app(&api.world)).await;
    let mut stream = served.connect().await;
    let head = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-big: {}\r\n\r\n", "a".repeat(20_000));
    // The server may close before it has read all.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
}
