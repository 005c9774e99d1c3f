//! `/me`: who the caller is.

use application::Services;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::grants::GrantBody;
use super::names::{KeyKindName, ScopeName};
use crate::auth::{Caller, Credential};
use crate::extract::Json;
use crate::problem::Problem;

/// Who the caller is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Me)]
pub(super) struct MeBody {
    tenant: TenantBody,
    principal: PrincipalBody,
    #[schema(value_type = Vec<ScopeName>)]
    scopes: Vec<String>,
    /// What the caller is narrowed to, inside its scopes.
    grant: GrantBody,
    /// The key that was presented; null for who signed in otherwise.
    key: Option<PresentedBody>,
    /// The session of a browser; null for who sent a key or token.
    session: Option<SessionBody>,
}

/// The key that was presented.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PresentedKey)]
struct PresentedBody {
    /// What it is meant for.
    #[schema(value_type = KeyKindName)]
    kind: &'static str,
    /// When it ends; null when it does not end by itself.
    expires_at: Option<DateTime<Utc>>,
}

/// The session of a browser.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MySession)]
struct SessionBody {
    /// What changes by cookie must send as `X-CSRF-Token`.
    csrf_token: String,
    /// The short names of the tenants that `POST /auth/tenant` switches to.
    tenants: Vec<String>,
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
pub(super) async fn get(
    State(services): State<Services>,
    Caller { ctx, tenant_slug, key, credential, .. }: Caller,
) -> Result<Json<MeBody>, Problem> {
    let session = match &*credential {
        Credential::Session(cookie) => Some(SessionBody {
            csrf_token: services.sign_in.csrf_token(cookie),
            tenants: services.sign_in.tenants_of(cookie).await?,
        }),
        Credential::Key(_) | Credential::Token { .. } => None,
    };
    Ok(Json(MeBody {
        tenant: TenantBody { id: ctx.tenant.as_uuid(), slug: tenant_slug.to_string() },
        principal: PrincipalBody {
            kind: ctx.principal.kind(),
            id: ctx.principal.id(),
            name: ctx.principal.label().to_owned(),
        },
        scopes: ctx.scopes.names(),
        grant: GrantBody::from(&*ctx.grant),
        key: key.map(|key| PresentedBody { kind: key.kind.as_str(), expires_at: key.expires_at }),
        session,
    }))
}
