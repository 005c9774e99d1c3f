//! A reverse proxy that adds a key to every request, for a program that cannot, or changes the answers of a tracker.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::events::http;

/// A running proxy. It ends when dropped.
pub(super) struct Front {
    serving: AbortHandle,
    under_way: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Target {
    http: reqwest::Client,
    /// Scheme, host and port.
    base: String,
    key: Option<HeaderValue>,
    change: Option<fn(&mut Value)>,
    under_way: Arc<AtomicUsize>,
}

/// A request that is not answered yet. Dropped with it, also when the caller has gone.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A free port, taken already, whose address a server can be told before there is anything behind it.
pub(super) async fn place() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

impl Front {
    /// Hands everything on as it is, `Host` and `Origin` too, with the key of this caller.
    pub(super) fn with_key(listener: TcpListener, mcp: &str, key: &str) -> Self {
        let key = format!("Bearer {key}").parse().unwrap();
        Self::start(listener, mcp.trim_end_matches("/mcp"), Some(key), None)
    }

    /// Hands on answers in JSON changed.
    pub(super) fn changing(listener: TcpListener, base: &str, change: fn(&mut Value)) -> Self {
        Self::start(listener, base, None, Some(change))
    }

    fn start(
        listener: TcpListener,
        base: &str,
        key: Option<HeaderValue>,
        change: Option<fn(&mut Value)>,
    ) -> Self {
        let under_way = Arc::new(AtomicUsize::new(0));
        let base = base.to_owned();
        let target = Target { http: http(), base, key, change, under_way: under_way.clone() };
        let router = Router::new().fallback(hand_on).with_state(target);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { serving: serving.abort_handle(), under_way }
    }

    /// How many requests are not answered yet.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn hand_on(State(target): State<Target>, request: Request) -> Response {
    target.under_way.fetch_add(1, Ordering::SeqCst);
    let _under_way = UnderWay(target.under_way.clone());
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let Ok(body) = to_bytes(body, 4 << 20).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let mut headers = parts.headers;
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONTENT_LENGTH);
    if let Some(key) = target.key {
        headers.insert(AUTHORIZATION, key);
    }
    if target.change.is_some() {
        headers.remove(ACCEPT_ENCODING);
        headers.remove(HOST);
    }
    let url = format!("{}{path}", target.base);
    let sent = target.http.request(parts.method, url).headers(headers).body(body).send().await;
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove(TRANSFER_ENCODING);
    match target.change {
        None => with(status, headers, Body::from_stream(answer.bytes_stream())),
        Some(change) => {
            headers.remove(CONTENT_LENGTH);
            let bytes = answer.bytes().await.unwrap_or_default();
            let body = match serde_json::from_slice::<Value>(&bytes) {
                Ok(mut content) => {
                    change(&mut content);
                    content.to_string().into()
                }
                Err(_) => bytes.into(),
            };
            with(status, headers, body)
        }
    }
}

fn with(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
