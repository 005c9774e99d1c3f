//! `/members`: who belongs to the tenant, and as what.

use application::Services;
use application::ports::Member;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{Role, UserId};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::instances::ListQuery;
use super::list::{ListBody, Params};
use super::names::RoleName;
use super::openapi::{BodyFailures, ChangeFailures, ItemFailures, ListFailures};
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::problem::Problem;

/// A member of the tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub(super) struct MemberBody {
    id: Uuid,
    /// Their e-mail address as of the last sign-in.
    email: String,
    /// Their name as of the last sign-in.
    name: Option<String>,
    #[schema(value_type = RoleName)]
    role: &'static str,
    /// Who invited them.
    invited_by: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<Member> for MemberBody {
    fn from(member: Member) -> Self {
        Self {
            id: member.user.as_uuid(),
            email: member.email,
            name: member.name,
            role: member.role.as_str(),
            invited_by: member.invited_by,
            created_at: member.created_at,
        }
    }
}

/// Changes a member.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MemberPatch)]
pub(super) struct PatchBody {
    /// The new role: one that allows no more than the caller may.
    #[schema(value_type = RoleName)]
    role: String,
}

/// Lists members.
#[utoipa::path(
    get, path = "/members", operation_id = "list_members", tag = "access", params(ListQuery),
    responses((status = 200, body = ListBody<MemberBody>), ListFailures)
)]
pub(super) async fn list(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListBody<MemberBody>>, Problem> {
    let mut params = Params::default();
    let page = params.page("members", query.limit.as_deref(), query.cursor.as_deref());
    params.finish()?;
    let listing = services.members.list(&ctx, &page).await?;
    Ok(Json(ListBody::of("members", listing, MemberBody::from)))
}

/// Gives a member another role; within 5 seconds it counts everywhere. The last owner stays one.
#[utoipa::path(
    patch, path = "/members/{id}", operation_id = "update_member", tag = "access", params(("id" = Uuid, Path)),
    request_body = PatchBody,
    responses((status = 200, body = MemberBody), ItemFailures, BodyFailures)
)]
pub(super) async fn update(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<UserId>,
    Json(body): Json<PatchBody>,
) -> Result<Json<MemberBody>, Problem> {
    let role: Role = body.role.parse()?;
    Ok(Json(services.members.change_role(&ctx, id, role).await?.into()))
}

/// Ends a membership, and with it the person's keys and sessions in this tenant. The last owner stays.
#[utoipa::path(
    delete, path = "/members/{id}", operation_id = "remove_member", tag = "access", params(("id" = Uuid, Path)),
    responses((status = 204, description = "Removed"), ItemFailures, ChangeFailures)
)]
pub(super) async fn remove(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<UserId>,
) -> Result<StatusCode, Problem> {
    services.members.remove(&ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
