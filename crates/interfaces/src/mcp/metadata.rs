//! The description of a server as an OAuth 2.1 resource server (RFC 9728), at its path and at the root: clients look at
//! both.

use application::sign_in::SignInService;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::auth::ProtectedResource;
use crate::extract::Json;
use crate::problem::Problem;

#[derive(Debug, Clone, Serialize)]
struct Metadata {
    resource: String,
    authorization_servers: Vec<String>,
    scopes_supported: Vec<&'static str>,
    bearer_methods_supported: [&'static str; 1],
    resource_name: &'static str,
}

/// The routes of the description. Without an authorization server they answer 404 and say what takes its place.
pub(crate) fn routes(resource: &ProtectedResource, sign_in: &SignInService) -> Router {
    let metadata = sign_in.token_issuer().map(|issuer| Metadata {
        resource: resource.url.to_string(),
        authorization_servers: vec![issuer.to_owned()],
        scopes_supported: resource.scopes.iter().map(|scope| scope.as_str()).collect(),
        bearer_methods_supported: ["header"],
        resource_name: resource.name,
    });
    let answer = get(async move || describe(metadata));
    let router = Router::new().route(ProtectedResource::root_metadata_path(), answer.clone());
    match resource.metadata_path() {
        path if path == ProtectedResource::root_metadata_path() => router,
        path => router.route(&path, answer),
    }
}

fn describe(metadata: Option<Metadata>) -> Response {
    let Some(metadata) = metadata else {
        return Problem::new(
            StatusCode::NOT_FOUND,
            "no_authorization_server",
            "this installation has no authorization server: an API key is required",
        )
        .with_hint(
            "send the header `Authorization: Bearer <API key>`; operators: set PATCHBAY_OAUTH_ISSUER \
             (docs/signing-in.md)",
        )
        .into_response();
    };
    let cache = HeaderValue::from_static("public, max-age=300");
    ([(CACHE_CONTROL, cache)], Json(metadata)).into_response()
}
