//! `/me`: who the caller is.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::names::ScopeName;
use crate::auth::Caller;
use crate::extract::Json;

/// Who the caller is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Me)]
pub(super) struct MeBody {
    tenant: TenantBody,
    principal: PrincipalBody,
    #[schema(value_type = Vec<ScopeName>)]
    scopes: Vec<String>,
}

/// Whose data the caller sees.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
struct TenantBody {
    id: Uuid,
    #[schema(example = "acme")]
    slug: String,
}

/// Who acts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Principal)]
struct PrincipalBody {
    /// `key` for the holder of an API key, `user` for a person who signed in.
    kind: &'static str,
    id: Option<Uuid>,
    name: String,
}

/// Says who the caller is and what it may do.
#[utoipa::path(
    get, path = "/me", operation_id = "get_me", tag = "access",
    responses((status = 200, body = MeBody))
)]
pub(super) async fn get(Caller { ctx, tenant_slug }: Caller) -> Json<MeBody> {
    Json(MeBody {
        tenant: TenantBody { id: ctx.tenant.as_uuid(), slug: tenant_slug.to_string() },
        principal: PrincipalBody {
            kind: ctx.principal.kind(),
            id: ctx.principal.id(),
            name: ctx.principal.label().to_owned(),
        },
        scopes: ctx.scopes.names(),
    })
}
