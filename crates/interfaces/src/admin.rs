//! The admin REST API under `/api/v1`, its description, and the operations endpoints beside it.

pub mod audit;
mod docs;
mod freshness;
mod grants;
mod instance_actions;
mod instances;
mod invitations;
mod keys;
mod list;
mod mappings;
mod me;
mod members;
mod names;
pub mod openapi;
mod policy;
mod run_events;
mod runs;
mod schedules;
pub mod scoped;
mod sign_in;
mod templates;
mod tenant;
mod webhooks;
mod work_items;

use application::Services;
use axum::Router;
use axum::extract::FromRef;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use domain::Scope;
use domain::Scope::{
    Admin, AuditRead, InstancesRead, InstancesWrite, ItemsRead, KeysWrite, MembersRead, MembersWrite,
    SyncRun, TemplatesRead, TemplatesWrite,
};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode, Uri};
use metrics_exporter_prometheus::PrometheusHandle;
use url::Url;
use utoipa_axum::routes;

use crate::audit::{Denials, record_denials};
use crate::auth::{Guard, OwnOrigins, ProtectedResource, require_caller};
use crate::health;
use crate::idempotency::{self, Once};
use crate::limits;
use crate::mcp::metadata;
use crate::problem::Problem;
use crate::request::{self, Limits};
use crate::streams::Streams;
use scoped::Scoped;

/// Where the admin server stands, as its users see it.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// The address users type; the identity provider sends browsers back to `auth/callback` below it.
    pub public_url: Url,
    /// Further origins of this server's own pages, such as `http://localhost:8080`.
    pub origins: Vec<String>,
    /// The largest body of a webhook delivery.
    pub webhook_body: usize,
}

impl AdminConfig {
    /// What access tokens for the API are made for: `<public URL>/api/v1`.
    fn resource(&self) -> ProtectedResource {
        let url = below(&self.public_url, "api/v1");
        ProtectedResource { url, name: "Patchbay admin API", scopes: USUAL_SCOPES.to_vec() }
    }

    fn own_origins(&self) -> OwnOrigins {
        let public = self.public_url.origin().ascii_serialization();
        OwnOrigins::new(self.origins.iter().cloned().chain([public]))
    }
}

/// What clients of the API usually need.
const USUAL_SCOPES: [Scope; 3] = [InstancesRead, ItemsRead, SyncRun];

/// A path below an address, whether that ends in a slash or not.
fn below(url: &Url, path: &str) -> Url {
    let mut below = url.clone();
    below.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
    below.set_query(None);
    below.set_fragment(None);
    below
}

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
pub fn router(services: Services, metrics: PrometheusHandle, config: &AdminConfig) -> Router {
    let resource = config.resource();
    let description_of_resource = metadata::routes(&resource, &services.sign_in);
    let guard = Guard::new(&services, resource).with_sessions(config.own_origins());
    let sign_in = sign_in::router(&services, &guard, config);
    let streams = Streams::new(run_events::MAX_STREAMS);
    let state = AdminState { services: services.clone(), guard: guard.clone(), streams };
    let limits = services.limits.clone();
    let once = Once::new(services.idempotency.clone());
    let denials = Denials::new(services.audit.clone());
    let (api, paths) = api_routes().split_for_parts();
    let api = api
        .route_layer(from_fn_with_state(once, idempotency::once))
        .route_layer(from_fn_with_state(limits, limits::by_caller))
        .route_layer(from_fn_with_state(denials, record_denials))
        .route_layer(from_fn_with_state(guard, require_caller))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(state);
    let description = openapi::complete(paths);
    let page = docs::page(&description);
    let json = openapi::to_json(&description);
    let api = Router::new()
        .nest("/api/v1", api)
        .merge(sign_in)
        .merge(description_of_resource)
        .route("/openapi.json", get(async move || ([(CONTENT_TYPE, "application/json")], json)))
        .route("/docs", get(async move || (docs::HEADERS, page)))
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(services.limits.clone(), limits::by_address));
    let api = request::while_there(api, services.health.clone());
    let deliveries = crate::webhooks::router(&services, config.webhook_body);
    let operations = health::router(services, metrics).method_not_allowed_fallback(method_not_allowed);
    // Several guards: an overloaded API must not look dead or unready, nor a storm of deliveries lock people out.
    request::guard(api, "admin", Limits::default()).merge(deliveries).merge(request::guard(
        operations,
        "admin",
        Limits::default(),
    ))
}

/// Every route of the API, with the scope it needs.
fn api_routes() -> Scoped {
    Scoped::new()
        .signed_in(routes!(me::get))
        .needs(KeysWrite, routes!(keys::list, keys::create))
        .needs(KeysWrite, routes!(keys::get, keys::revoke))
        .needs(KeysWrite, routes!(keys::rotate))
        .needs(MembersRead, routes!(members::list))
        .needs(MembersWrite, routes!(members::update, members::remove))
        .needs(MembersRead, routes!(invitations::list))
        .needs(MembersWrite, routes!(invitations::create))
        .needs(MembersWrite, routes!(invitations::revoke))
        .needs(Admin, routes!(tenant::get, tenant::update, tenant::delete))
        .needs(Admin, routes!(tenant::export))
        .needs(Admin, routes!(policy::get, policy::replace))
        .needs(InstancesRead, routes!(instances::list))
        .needs(InstancesWrite, routes!(instances::create))
        .needs(InstancesRead, routes!(instances::get))
        .needs(InstancesWrite, routes!(instances::update, instances::delete))
        .needs(InstancesWrite, routes!(instance_actions::test))
        .needs(SyncRun, routes!(instance_actions::start_backfill))
        .needs(SyncRun, routes!(instance_actions::start_reconcile))
        .needs(SyncRun, routes!(instance_actions::start_sync))
        .needs(InstancesRead, routes!(mappings::get))
        .needs(InstancesWrite, routes!(mappings::replace))
        .needs(InstancesWrite, routes!(mappings::preview))
        .needs(InstancesRead, routes!(freshness::get))
        .needs(InstancesRead, routes!(freshness::list_projects))
        .needs(InstancesRead, routes!(schedules::get))
        .needs(InstancesWrite, routes!(schedules::replace))
        .needs(InstancesRead, routes!(webhooks::get))
        .needs(InstancesWrite, routes!(webhooks::register, webhooks::unregister))
        .needs(InstancesRead, routes!(webhooks::list_deliveries))
        .needs(InstancesWrite, routes!(webhooks::replay))
        .needs(InstancesRead, routes!(runs::list))
        .needs(InstancesRead, routes!(runs::get))
        .needs(SyncRun, routes!(runs::cancel))
        .needs(InstancesRead, routes!(runs::dead_letters))
        .needs(InstancesRead, routes!(run_events::follow))
        .needs(ItemsRead, routes!(work_items::list))
        .needs(ItemsRead, routes!(work_items::get))
        .needs(TemplatesRead, routes!(templates::list))
        .needs(TemplatesWrite, routes!(templates::create))
        .needs(TemplatesRead, routes!(templates::get))
        .needs(TemplatesWrite, routes!(templates::prove))
        .needs(TemplatesWrite, routes!(templates::publish))
        .needs(TemplatesWrite, routes!(templates::retire))
        .needs(TemplatesWrite, routes!(templates::attempt))
        .needs(TemplatesRead, routes!(templates::runs))
        .needs(AuditRead, routes!(audit::list))
        .needs(AuditRead, routes!(audit::export))
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
