//! The transport around a server's handler, and what clients get that are not quite as the protocol wants them.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{ACCEPT, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use super::McpConfig;
use crate::problem::Problem;
use crate::request::MAX_BODY;

/// The largest message. Below the bound that every request has, so that rmcp, which knows how to say so, meets a
/// message without a declared length first.
const MAX_MESSAGE: usize = MAX_BODY - 128 * 1024;
const JSON: &str = "application/json";

/// A router with the handler at `/mcp`. Stateless: every request stands for itself and may meet another replica.
pub(super) fn router<H>(handler: H, config: &McpConfig) -> Router
where
    H: ServerHandler + Clone + Send + Sync + 'static,
{
    let settings = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_allowed_hosts(config.hosts())
        .with_allowed_origins(config.origins())
        .enforce_origin_validation()
        .with_max_request_body_bytes(MAX_MESSAGE)
        // Its own token cuts requests off; those end by themselves, and streams by a token of ours.
        .with_cancellation_token(CancellationToken::new());
    let sessions = Arc::new(NeverSessionManager::default());
    // Behind one pointer: the router clones what it serves several times a request, and this one holds lists of names.
    let service = Arc::new(StreamableHttpService::new(move || Ok(handler.clone()), sessions, settings));
    Router::new().route("/mcp", any(move |request: Request| smooth(service.clone(), request)))
}

/// Accepts clients that say less than they should, and answers broken JSON in the protocol's own words.
async fn smooth<H: ServerHandler>(
    service: Arc<StreamableHttpService<H, NeverSessionManager>>,
    mut request: Request,
) -> Response {
    if request.headers().get_all(ORIGIN).iter().nth(1).is_some() {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden_origin",
            "there is more than one Origin header",
        )
        .into_response();
    }
    let post = request.method() == Method::POST;
    if post && takes_json(request.headers()) {
        let both = HeaderValue::from_static("application/json, text/event-stream");
        request.headers_mut().insert(ACCEPT, both);
    }
    let json = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..JSON.len()))
        .is_some_and(|begin| begin.eq_ignore_ascii_case(JSON.as_bytes()));
    let response = service.handle(request).await;
    if post && json && response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        // The type was right, so it was the content that could not be read.
        let body = concat!(
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"#,
            r#""the body is not a JSON-RPC message: send one object with jsonrpc, id, method and params"}}"#
        );
        return (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, JSON)], body).into_response();
    }
    response.into_response()
}

/// Whether JSON is welcome: it is named, any type is, or nothing is said.
fn takes_json(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().peekable();
    accepted.peek().is_none()
        || accepted.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            !refused && matches!(kind, "*/*" | "application/*" | JSON)
        })
}
