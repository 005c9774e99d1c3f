//! What a route asks of its caller: declared once, checked before the handler, and told by the description.
//!
//! [`Scoped`] takes no route without it. The tests of the authorization matrix (`tests/e2e/tests/suite/authorization.rs`) read
//! the declarations from the description, so a new route is tested against every scope and role without more ado; it
//! only needs its case there: what to send, and where its ids come from.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use domain::Scope;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa::openapi::{OpenApi, SecurityRequirement};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::AdminState;
use crate::auth::Caller;
use crate::problem::Problem;

/// The extension of an operation that names the scope it needs, or [`SIGNED_IN`] or [`OPEN`].
pub const REQUIRED_SCOPE: &str = "x-required-scope";
/// Whoever is signed in may call it, with any scope.
pub const SIGNED_IN: &str = "any";
/// Nobody needs to be signed in.
pub const OPEN: &str = "none";

/// The routes of the API, each with what it needs. Who calls is to be found out around all of them.
pub(super) struct Scoped(OpenApiRouter<AdminState>);

impl Scoped {
    pub(super) fn new() -> Self {
        Self(OpenApiRouter::new())
    }

    /// Adds routes that need this scope. Without it a caller gets 403, whatever else is wrong with the request. The
    /// use cases ask for it once more.
    pub(super) fn needs(
        self,
        scope: Scope,
        (schemas, mut paths, methods): UtoipaMethodRouter<AdminState>,
    ) -> Self {
        declare(&mut paths, scope.as_str(), &SecurityRequirement::new("api_key", [scope.as_str()]));
        let methods = methods.route_layer(from_fn(move |caller: Caller, request: Request, next: Next| {
            require(scope, caller, request, next)
        }));
        Self(self.0.routes((schemas, paths, methods)))
    }

    /// Adds routes for whoever is signed in.
    pub(super) fn signed_in(self, (schemas, mut paths, methods): UtoipaMethodRouter<AdminState>) -> Self {
        declare(&mut paths, SIGNED_IN, &SecurityRequirement::new("api_key", [""; 0]));
        Self(self.0.routes((schemas, paths, methods)))
    }

    pub(super) fn split_for_parts(self) -> (Router<AdminState>, OpenApi) {
        self.0.split_for_parts()
    }
}

async fn require(scope: Scope, Caller { ctx, .. }: Caller, request: Request, next: Next) -> Response {
    match ctx.require(scope) {
        Ok(()) => next.run(request).await,
        Err(error) => Problem::from(error).into_response(),
    }
}

/// Says of all operations that nobody needs to be signed in.
pub(super) fn declare_open(paths: &mut Paths) {
    declare(paths, OPEN, &SecurityRequirement::default());
}

fn declare(paths: &mut Paths, needed: &str, security: &SecurityRequirement) {
    for operation in paths.paths.values_mut().flat_map(operations) {
        // One extension only: they are kept in no particular order.
        operation.extensions = Some(Extensions::builder().add(REQUIRED_SCOPE, needed).build());
        operation.security = Some(vec![security.clone()]);
    }
}

/// The operations of a path.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
}
