//! `/keys`: API keys of the tenant. A key's text is shown once, to who makes it.

use std::time::Duration;

use application::Services;
use application::keys::{CreatedKey, KeySpec};
use application::ports::Key;
use axum::extract::State;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use domain::{Invalid, KeyId, KeyKind, Scopes, UserId};
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderName, StatusCode};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::grants::GrantBody;
use super::instances::ListQuery;
use super::list::{ListBody, Params};
use super::names::{KeyKindName, ScopeName};
use super::openapi::{BodyFailures, ItemFailures, ListFailures};
use crate::auth::Caller;
use crate::extract::{Json, OptionalJson, Path, Query};
use crate::problem::Problem;

/// An API key, without its text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub(super) struct KeyBody {
    id: Uuid,
    /// The part of the key that is no secret: `pb_<env>_<public id>_…`.
    public_id: String,
    name: String,
    #[schema(value_type = KeyKindName)]
    kind: &'static str,
    #[schema(value_type = Vec<ScopeName>)]
    scopes: Vec<String>,
    grant: GrantBody,
    /// Whose key it is: it allows no more than their role, and ends with their membership.
    user_id: Option<Uuid>,
    created_at: DateTime<Utc>,
    /// Who made it.
    created_by: Option<String>,
    /// When it ends; null when it does not end by itself.
    expires_at: Option<DateTime<Utc>>,
    /// When it was used last, to the minute.
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_by: Option<String>,
    /// The key that this one takes over from.
    rotated_from: Option<Uuid>,
}

impl From<Key> for KeyBody {
    fn from(key: Key) -> Self {
        Self {
            id: key.id.as_uuid(),
            public_id: key.public_id,
            name: key.name,
            kind: key.kind.as_str(),
            scopes: key.scopes.names(),
            grant: GrantBody::from(&key.grant),
            user_id: key.user.map(UserId::as_uuid),
            created_at: key.created_at,
            created_by: key.created_by,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
            revoked_by: key.revoked_by,
            rotated_from: key.rotated_from.map(KeyId::as_uuid),
        }
    }
}

/// A key just made.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedKey)]
pub(super) struct CreatedBody {
    #[serde(flatten)]
    info: KeyBody,
    /// The key itself. It is shown this once.
    #[schema(example = "pb_live_…")]
    key: String,
}

/// Makes a key.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewKey)]
pub(super) struct CreateBody {
    /// A name to recognise it by.
    #[validate(length(min = 1, max = 100, message = "must have 1 to 100 characters"))]
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// What it is meant for; `service` when absent. Shown in lists and on the record, and decides nothing.
    #[schema(value_type = Option<KeyKindName>)]
    kind: Option<String>,
    /// What it may do: scopes that the caller holds.
    #[validate(length(min = 1, max = 50, message = "must have 1 to 50 entries"))]
    #[schema(value_type = Vec<ScopeName>, min_items = 1)]
    scopes: Vec<String>,
    /// What it is narrowed to: no more than the caller's own key allows.
    #[serde(default)]
    grant: Option<GrantBody>,
    /// Whose key it shall be: a member. A `person` key is the caller's own when absent.
    user_id: Option<Uuid>,
    /// When it ends.
    expires_at: Option<DateTime<Utc>>,
}

impl TryFrom<CreateBody> for KeySpec {
    type Error = Invalid;

    fn try_from(body: CreateBody) -> Result<Self, Invalid> {
        let kind = body.kind.as_deref().map_or(Ok(KeyKind::Service), str::parse)?;
        Ok(Self {
            name: body.name,
            kind,
            scopes: Scopes::parse(body.scopes.iter().map(String::as_str))?,
            grant: body.grant.unwrap_or_default().try_into()?,
            user: body.user_id.map(UserId::new),
            expires_at: body.expires_at,
        })
    }
}

/// Rotates a key.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RotateKey)]
pub(super) struct RotateBody {
    /// Seconds that the older key goes on working; a day when absent, 30 days at most.
    #[validate(range(max = 2_592_000, message = "must be between 0 and 2592000, which is 30 days"))]
    #[schema(minimum = 0, maximum = 2_592_000, default = 86_400)]
    overlap_s: Option<u32>,
}

/// Lists keys, newest first, the revoked ones included. A narrowed key sees those that are no wider than itself.
#[utoipa::path(
    get, path = "/keys", operation_id = "list_keys", tag = "access", params(ListQuery),
    responses((status = 200, body = ListBody<KeyBody>), ListFailures)
)]
pub(super) async fn list(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListBody<KeyBody>>, Problem> {
    let mut params = Params::default();
    let page = params.page("keys", query.limit.as_deref(), query.cursor.as_deref());
    params.finish()?;
    let listing = services.keys.list(&ctx, &page).await?;
    Ok(Json(ListBody::of("keys", listing, KeyBody::from)))
}

/// Makes a key with scopes and bounds that the caller holds itself. The answer is the only place that shows it.
#[utoipa::path(
    post, path = "/keys", operation_id = "create_key", tag = "access", request_body = CreateBody,
    responses((status = 201, body = CreatedBody, headers(("location" = String, description = "The new key"))), BodyFailures)
)]
pub(super) async fn create(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Json(body): Json<CreateBody>,
) -> Result<impl IntoResponse, Problem> {
    Ok(created(services.keys.create(&ctx, body.try_into()?).await?))
}

/// Reads one key.
#[utoipa::path(
    get, path = "/keys/{id}", operation_id = "get_key", tag = "access", params(("id" = Uuid, Path)),
    responses((status = 200, body = KeyBody), ItemFailures)
)]
pub(super) async fn get(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<KeyId>,
) -> Result<Json<KeyBody>, Problem> {
    Ok(Json(services.keys.get(&ctx, id).await?.into()))
}

/// Revokes a key. Within 5 seconds nothing accepts it; open streams end within 10. Safe to repeat.
#[utoipa::path(
    delete, path = "/keys/{id}", operation_id = "revoke_key", tag = "access", params(("id" = Uuid, Path)),
    responses((status = 204, description = "Revoked"), ItemFailures)
)]
pub(super) async fn revoke(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<KeyId>,
) -> Result<StatusCode, Problem> {
    services.keys.revoke(&ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a successor with the same scopes and bounds. The older key goes on working for a while, so that whoever uses
/// it can change over without a failed request; at most two are good at once.
#[utoipa::path(
    post, path = "/keys/{id}/rotate", operation_id = "rotate_key", tag = "access", params(("id" = Uuid, Path)),
    request_body = RotateBody,
    responses((status = 201, body = CreatedBody, headers(("location" = String, description = "The new key"))), ItemFailures, BodyFailures)
)]
pub(super) async fn rotate(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<KeyId>,
    OptionalJson(body): OptionalJson<RotateBody>,
) -> Result<impl IntoResponse, Problem> {
    let overlap = body.overlap_s.map(|seconds| Duration::from_secs(seconds.into()));
    Ok(created(services.keys.rotate(&ctx, id, overlap).await?))
}

fn created(created: CreatedKey) -> impl IntoResponse {
    let headers: [(HeaderName, String); 2] =
        [(LOCATION, format!("/api/v1/keys/{}", created.key.id)), (CACHE_CONTROL, "no-store".to_owned())];
    let body = CreatedBody { info: created.key.into(), key: created.text.expose_secret().to_owned() };
    (StatusCode::CREATED, headers, Json(body))
}
