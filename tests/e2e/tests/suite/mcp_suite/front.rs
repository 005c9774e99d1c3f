//! A reverse proxy that adds the key to every request, for a program that cannot.

use std::net::Ipv4Addr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A running proxy. It ends when dropped.
pub(super) struct Front {
    serving: AbortHandle,
}

#[derive(Clone)]
struct Target {
    http: reqwest::Client,
    /// Scheme, host and port.
    base: String,
    key: String,
}

/// A free port, taken already, whose address a server can be told before there is anything behind it.
pub(super) async fn place() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

impl Front {
    /// Hands everything on as it is, `Host` and `Origin` too, with the key of this caller.
    #[expect(clippy::disallowed_methods, reason = "the tests are the client, not the product")]
    pub(super) fn start(listener: TcpListener, mcp: &str, key: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let base = mcp.trim_end_matches("/mcp").to_owned();
        let router = Router::new().fallback(hand_on).with_state(Target { http, base, key: key.to_owned() });
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { serving: serving.abort_handle() }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn hand_on(State(target): State<Target>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let Ok(body) = to_bytes(body, 4 << 20).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let mut headers = parts.headers;
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONTENT_LENGTH);
    headers.insert(AUTHORIZATION, format!("Bearer {}", target.key).parse().unwrap());
    let url = format!("{}{path}", target.base);
    match target.http.request(parts.method, url).headers(headers).body(body).send().await {
        Ok(answer) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            response.headers_mut().remove(TRANSFER_ENCODING);
            *response.body_mut() = Body::from_stream(answer.bytes_stream());
            response
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
