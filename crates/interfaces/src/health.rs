//! For operations: whether the process lives, whether it is fit to serve, and what it counts. Needs no key.

use application::Services;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::Json;

/// Whether the process is fit to serve.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(crate) struct ReadyBody {
    /// Whether all checks passed.
    ready: bool,
    checks: Vec<CheckBody>,
}

/// One thing readiness depends on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Check)]
pub(crate) struct CheckBody {
    #[schema(example = "database")]
    name: &'static str,
    ok: bool,
    /// What is wrong and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// `/livez`, `/readyz` and `/metrics`.
pub fn router(services: Services, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz).with_state(services))
        .route("/metrics", get(render).with_state(metrics))
}

/// Says that the process runs; looks at nothing else, so that an outage of the database restarts nobody.
#[utoipa::path(
    get, path = "/livez", tag = "operations", security(()),
    responses((status = 200, description = "The process runs", body = String))
)]
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// Says whether requests can be served, and if not, why.
#[utoipa::path(
    get, path = "/readyz", tag = "operations", security(()),
    responses(
        (status = 200, description = "Fit to serve", body = ReadyBody),
        (status = 503, description = "Not fit to serve; the checks say why", body = ReadyBody),
    )
)]
pub(crate) async fn readyz(State(services): State<Services>) -> (StatusCode, Json<ReadyBody>) {
    let checks = services.health.check().await;
    let ready = checks.iter().all(|check| check.result.is_ok());
    let checks = checks
        .into_iter()
        .map(|check| CheckBody { name: check.name, ok: check.result.is_ok(), problem: check.result.err() })
        .collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ReadyBody { ready, checks }))
}

/// Counters and histograms in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", security(()),
    responses((status = 200, description = "Prometheus text format", body = String))
)]
pub(crate) async fn render(State(metrics): State<PrometheusHandle>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()).into_response()
}
