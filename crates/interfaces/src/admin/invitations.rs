//! `/invitations`: how people become members. A token is shown once, to who invites.

use std::time::Duration;

use application::Services;
use application::ports::Invitation;
use axum::extract::State;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use domain::{InvitationId, Role};
use http::header::CACHE_CONTROL;
use http::{HeaderName, StatusCode};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::instances::ListQuery;
use super::list::{ListBody, Params};
use super::names::RoleName;
use super::openapi::{BodyFailures, ItemFailures, ListFailures};
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::problem::Problem;

/// An invitation, without its token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Invitation)]
pub(super) struct InvitationBody {
    id: Uuid,
    email: String,
    #[schema(value_type = RoleName)]
    role: &'static str,
    invited_by: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    accepted_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl From<Invitation> for InvitationBody {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id.as_uuid(),
            email: invitation.email,
            role: invitation.role.as_str(),
            invited_by: invitation.invited_by,
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
            accepted_at: invitation.accepted_at,
            revoked_at: invitation.revoked_at,
        }
    }
}

/// An invitation just made.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedInvitation)]
pub(super) struct CreatedBody {
    #[serde(flatten)]
    info: InvitationBody,
    /// What the invited person signs in with. It is shown this once.
    token: String,
    /// Where they sign in; null when the installation does not know its public address.
    link: Option<String>,
}

/// Invites somebody.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewInvitation)]
pub(super) struct CreateBody {
    /// Their e-mail address, as their identity provider tells it.
    #[validate(length(min = 3, max = 254, message = "must have 3 to 254 characters"))]
    #[schema(min_length = 3, max_length = 254, example = "ada@example.com")]
    email: String,
    /// What they will be: a role that allows no more than the caller may.
    #[schema(value_type = RoleName)]
    role: String,
    /// Seconds that it is good; a week when absent, 30 days at most.
    #[validate(range(
        min = 1,
        max = 2_592_000,
        message = "must be between 1 and 2592000, which is 30 days"
    ))]
    #[schema(minimum = 1, maximum = 2_592_000, default = 604_800)]
    expires_in_s: Option<u32>,
}

/// Lists invitations, newest first, the accepted and revoked ones included.
#[utoipa::path(
    get, path = "/invitations", operation_id = "list_invitations", tag = "access", params(ListQuery),
    responses((status = 200, body = ListBody<InvitationBody>), ListFailures)
)]
pub(super) async fn list(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListBody<InvitationBody>>, Problem> {
    let mut params = Params::default();
    let page = params.page("invitations", query.limit.as_deref(), query.cursor.as_deref());
    params.finish()?;
    let listing = services.members.list_invitations(&ctx, &page).await?;
    Ok(Json(ListBody::of("invitations", listing, InvitationBody::from)))
}

/// Invites somebody. Whoever signs in with the token and a confirmed address becomes a member.
#[utoipa::path(
    post, path = "/invitations", operation_id = "create_invitation", tag = "access", request_body = CreateBody,
    responses((status = 201, body = CreatedBody), BodyFailures)
)]
pub(super) async fn create(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Json(body): Json<CreateBody>,
) -> Result<impl IntoResponse, Problem> {
    let role: Role = body.role.parse()?;
    let validity = body.expires_in_s.map(|seconds| Duration::from_secs(seconds.into()));
    let created = services.members.invite(&ctx, &body.email, role, validity).await?;
    let headers: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];
    let body = CreatedBody {
        info: created.invitation.into(),
        token: created.token.expose_secret().to_owned(),
        link: created.link.map(|link| link.expose_secret().to_owned()),
    };
    Ok((StatusCode::CREATED, headers, Json(body)))
}

/// Takes an invitation back that nobody has accepted.
#[utoipa::path(
    delete, path = "/invitations/{id}", operation_id = "revoke_invitation", tag = "access",
    params(("id" = Uuid, Path)), responses((status = 204, description = "Taken back"), ItemFailures)
)]
pub(super) async fn revoke(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InvitationId>,
) -> Result<StatusCode, Problem> {
    services.members.revoke_invitation(&ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
