//! The admin REST API under `/api/v1`, its description, and the operations endpoints beside it.

mod docs;
mod freshness;
mod instance_actions;
mod instances;
mod list;
mod me;
mod names;
pub mod openapi;
mod run_events;
mod runs;
mod work_items;

use application::Services;
use axum::Router;
use axum::extract::FromRef;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode, Uri};
use metrics_exporter_prometheus::PrometheusHandle;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Guard, require_caller};
use crate::health;
use crate::problem::Problem;
use crate::request::{self, Limits};
use run_events::Streams;

/// What handlers need.
#[derive(Clone)]
struct AdminState {
    services: Services,
    guard: Guard,
    streams: Streams,
}

impl FromRef<AdminState> for Services {
    fn from_ref(state: &AdminState) -> Self {
        state.services.clone()
    }
}

/// The whole server: API, description, health and metrics.
pub fn router(services: Services, metrics: PrometheusHandle) -> Router {
    let guard = Guard::new(services.access.clone());
    let state = AdminState { services: services.clone(), guard: guard.clone(), streams: Streams::default() };
    let (api, paths) = api_routes().split_for_parts();
    let api = api
        .route_layer(from_fn_with_state(guard, require_caller))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(state);
    let description = openapi::complete(paths);
    let page = docs::page(&description);
    let json = openapi::to_json(&description);
    let api = Router::new()
        .nest("/api/v1", api)
        .route("/openapi.json", get(async move || ([(CONTENT_TYPE, "application/json")], json)))
        .route("/docs", get(async move || (docs::HEADERS, page)))
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed);
    let operations = health::router(services, metrics).method_not_allowed_fallback(method_not_allowed);
    // Two guards: an overloaded API must not look dead or unready.
    request::guard(api, "admin", Limits::default()).merge(request::guard(
        operations,
        "admin",
        Limits::default(),
    ))
}

fn api_routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(me::get))
        .routes(routes!(instances::list, instances::create))
        .routes(routes!(instances::get, instances::update, instances::delete))
        .routes(routes!(instance_actions::test))
        .routes(routes!(instance_actions::start_backfill))
        .routes(routes!(instance_actions::start_sync))
        .routes(routes!(freshness::get))
        .routes(routes!(freshness::list_projects))
        .routes(routes!(runs::list))
        .routes(routes!(runs::get))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::dead_letters))
        .routes(routes!(run_events::follow))
        .routes(routes!(work_items::list))
        .routes(routes!(work_items::get))
}

async fn unknown_route(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(StatusCode::NOT_FOUND, "unknown_route", format!("there is no {method} {path}"))
        .with_hint("GET /openapi.json lists every route, /docs shows them")
}

/// axum adds the `Allow` header.
async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{path} does not take {method}"),
    )
    .with_hint("the Allow header lists the methods it takes")
}
