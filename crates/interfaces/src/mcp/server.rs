//! What every MCP server has, whatever its tools: its transports, who is let in, and what is counted.

use std::sync::Arc;

use application::{Ctx, Error, Services};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{Method, StatusCode, Uri};
use rmcp::ServerHandler;

use super::front::{self, Front};
use super::observed::Observed;
use super::step_up::Needed;
use super::{McpConfig, metadata, sse, transport};
use crate::audit::{Denials, record_denials};
use crate::auth::{Caller, Guard, require_caller};
use crate::limits;
use crate::problem::Problem;
use crate::request::{self, Limits};

/// Whether a caller may use the server at all: its scope, and its set of tools.
pub(super) type Admits = fn(&Ctx) -> Result<(), Error>;

/// What makes one MCP server differ from another.
pub(super) struct Parts<H> {
    /// Its name in logs and metrics: `mcp_sql`.
    pub(super) label: &'static str,
    /// What rmcp calls. Cloned for each request, so it must hold nothing of a caller.
    pub(super) handler: H,
    /// Finds out who calls, and names the server to OAuth clients.
    pub(super) guard: Guard,
    pub(super) admits: Admits,
    /// Routes beside the protocol's, for the same callers.
    pub(super) beside: Router,
}

/// The whole server: `/mcp`, `/sse` and `/messages` where they are switched on, the routes beside them, the description
/// for OAuth clients, and `/livez`.
pub(super) fn router<H>(services: &Services, config: &McpConfig, parts: Parts<H>) -> Router
where
    H: ServerHandler + Clone + Send + Sync + 'static,
{
    let Parts { label, handler, guard, admits, beside } = parts;
    let handler = Observed(Arc::new(handler));
    let metadata = metadata::routes(guard.resource(), &services.sign_in);
    let mut protocol = transport::router(handler.clone(), config);
    if config.sse {
        protocol = protocol.merge(sse::router(handler, guard.clone(), admits, config));
    }
    // route_layer, not layer: unknown paths stay 404, so that OAuth discovery is not answered with 401.
    let guarded = protocol
        .merge(beside)
        .route_layer(from_fn_with_state((guard.clone(), admits), require_admission))
        .route_layer(from_fn_with_state(Denials::new(services.audit.clone()), record_denials))
        .route_layer(from_fn_with_state(guard, require_caller));
    let router = Router::new()
        .merge(guarded)
        .merge(metadata)
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Front::new(config), front::check))
        .layer(from_fn_with_state(services.limits.clone(), limits::by_address));
    // Probes all come from one address, and must not go without an answer for it.
    let probes = Router::new()
        .route("/livez", get(crate::health::livez))
        .method_not_allowed_fallback(method_not_allowed);
    let router = request::while_there(router, services.health.clone()).merge(probes);
    request::guard(router, label, Limits::default())
}

/// 403 with the scope in the challenge: before any handler, or when a tool turned out to need more.
async fn require_admission(
    State((guard, admits)): State<(Guard, Admits)>,
    caller: Caller,
    mut request: Request,
    next: Next,
) -> Response {
    if let Err(error) = admits(&caller.ctx) {
        return guard.refuse(error).into_response();
    }
    let needed = Needed::go_along(&caller, &mut request);
    let response = next.run(request).await;
    match needed {
        Some(needed) => needed.instead_of(response, &guard),
        None => response,
    }
}

async fn unknown_route(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(StatusCode::NOT_FOUND, "unknown_route", format!("there is no {method} {path}"))
        .with_hint("the MCP endpoint is /mcp; scripts POST to /tools/invoke")
}

async fn method_not_allowed(method: Method) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{method} is not possible here"),
    )
    .with_hint("use POST")
}
