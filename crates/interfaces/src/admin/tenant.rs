//! `/tenant`: the caller's tenant as a whole, for its owners.

use application::Services;
use application::ports::Deletion;
use application::tenants::CarriedOutBy;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::Tenant;
use futures::TryStreamExt;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderName, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::openapi::BodyFailures;
use crate::auth::Caller;
use crate::extract::Json;
use crate::problem::Problem;

/// The tenant and its settings.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TenantSettings)]
pub(super) struct TenantBody {
    id: Uuid,
    /// Its short name; does not change.
    #[schema(example = "acme")]
    slug: String,
    /// `active`; a suspended tenant is refused everywhere.
    status: &'static str,
    /// Whether reads wait until their audit record is stored.
    strict_audit: bool,
    created_at: DateTime<Utc>,
}

impl From<Tenant> for TenantBody {
    fn from(tenant: Tenant) -> Self {
        Self {
            id: tenant.id.as_uuid(),
            slug: tenant.slug.to_string(),
            status: tenant.status.as_str(),
            strict_audit: tenant.strict_audit,
            created_at: tenant.created_at,
        }
    }
}

/// Changes the tenant; what is absent stays.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TenantPatch)]
pub(super) struct PatchBody {
    /// Whether reads wait until their audit record is stored: slower, and no read is ever missing from the record.
    strict_audit: Option<bool>,
}

/// Says that the whole tenant is meant.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TenantDeletionRequest)]
pub(super) struct DeleteBody {
    /// The tenant's slug.
    #[validate(length(min = 1, max = 63, message = "must be the tenant's slug"))]
    #[schema(example = "acme", min_length = 1, max_length = 63)]
    confirm: String,
}

/// The tenant is being deleted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TenantDeletion)]
pub(super) struct DeletionBody {
    /// The deletion; an operator sees how far it is with `patchbay tenant show`.
    deletion_id: Uuid,
    requested_at: DateTime<Utc>,
}

impl From<Deletion> for DeletionBody {
    fn from(deletion: Deletion) -> Self {
        Self { deletion_id: deletion.id, requested_at: deletion.requested_at }
    }
}

/// The caller's tenant.
#[utoipa::path(
    get, path = "/tenant", operation_id = "get_tenant", tag = "access",
    responses((status = 200, body = TenantBody))
)]
pub(super) async fn get(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
) -> Result<Json<TenantBody>, Problem> {
    Ok(Json(services.tenants.get(&ctx).await?.into()))
}

/// Changes the tenant's settings.
#[utoipa::path(
    patch, path = "/tenant", operation_id = "update_tenant", tag = "access", request_body = PatchBody,
    responses((status = 200, body = TenantBody), BodyFailures)
)]
pub(super) async fn update(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Json(body): Json<PatchBody>,
) -> Result<Json<TenantBody>, Problem> {
    Ok(Json(services.tenants.update(&ctx, body.strict_audit).await?.into()))
}

/// Everything the tenant has, as JSON lines `{"table","row"}`, in one snapshot. Secrets are left out: hashes of keys, and
/// what is stored encrypted. The last line is `{"counts":{<table>:<rows>}}`; without it the export is not complete.
#[utoipa::path(
    get, path = "/tenant/export", operation_id = "export_tenant", tag = "access",
    responses((status = 200, content_type = "application/x-ndjson", body = String))
)]
pub(super) async fn export(
    State(services): State<Services>,
    Caller { ctx, tenant_slug, .. }: Caller,
) -> Result<impl IntoResponse, Problem> {
    let lines = services.tenants.export(&ctx).await?.map_ok(|mut line| {
        line.push('\n');
        Bytes::from(line)
    });
    let headers: [(HeaderName, String); 3] = [
        (CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{tenant_slug}.ndjson\"")),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(lines)))
}

/// Deletes the tenant with everything it has. From the answer on nothing of it is served; its rows are removed by a job.
/// This cannot be taken back.
#[utoipa::path(
    delete, path = "/tenant", operation_id = "delete_tenant", tag = "access", request_body = DeleteBody,
    responses((status = 202, body = DeletionBody), BodyFailures)
)]
pub(super) async fn delete(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Json(body): Json<DeleteBody>,
) -> Result<(StatusCode, Json<DeletionBody>), Problem> {
    let deletion = services.tenants.delete(&ctx, &body.confirm, CarriedOutBy::Worker).await?;
    Ok((StatusCode::ACCEPTED, Json(deletion.into())))
}
