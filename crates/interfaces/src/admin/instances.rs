//! `/instances`: a tenant's connections to trackers. Credentials go in and never come out.

use application::Services;
use axum::extract::State;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use domain::{Credential, Instance, InstanceId, InstancePatch, Invalid, NewInstance, SourceKind};
use http::header::LOCATION;
use http::{HeaderName, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use validator::Validate;

use super::list::{ListBody, Params};
use super::names::InstanceStatusName;
use super::openapi::{BodyFailures, ItemFailures, ListFailures};
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::problem::Problem;

/// A connection to a tracker, without its credentials.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Instance)]
pub(super) struct InstanceBody {
    id: Uuid,
    /// Its short name, unique in the tenant; does not change.
    #[schema(example = "core")]
    slug: String,
    #[schema(example = "github")]
    source: String,
    name: String,
    /// Where the tracker's API is.
    #[schema(example = "https://api.github.com")]
    base_url: String,
    /// What to sync; its shape is the source's own.
    #[schema(value_type = Object)]
    settings: Value,
    #[schema(value_type = InstanceStatusName)]
    status: &'static str,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Instance> for InstanceBody {
    fn from(instance: Instance) -> Self {
        Self {
            id: instance.id.as_uuid(),
            slug: instance.slug.to_string(),
            source: instance.source.to_string(),
            name: instance.name,
            base_url: instance.base_url.as_str().trim_end_matches('/').to_owned(),
            settings: instance.settings,
            status: instance.status.as_str(),
            created_at: instance.created_at,
            updated_at: instance.updated_at,
        }
    }
}

/// What the tracker is signed in to with. Write-only.
#[derive(ToSchema)]
#[schema(as = Credentials)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(dead_code, reason = "describes domain::Credential, which knows no schema")]
enum CredentialsBody {
    /// GitHub or Asana: a personal access token.
    Token { token: String },
    /// Jira Data Center: a personal access token.
    Pat { token: String },
    /// Jira Cloud: an account and its API token.
    Basic { email: String, token: String },
    /// Jira Cloud or Asana: an OAuth 2.0 grant, renewed by Patchbay as it expires.
    #[serde(rename = "oauth")]
    OAuth {
        access_token: String,
        refresh_token: Option<String>,
        expires_at: Option<chrono::DateTime<chrono::Utc>>,
        client_id: String,
        client_secret: Option<String>,
        token_url: Option<String>,
    },
    /// GitHub: an app, for all organizations it is installed in.
    GithubApp { app_id: String, private_key: String },
}

/// Connects a tracker.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewInstance)]
pub(super) struct CreateBody {
    /// The name of the source.
    #[validate(length(min = 1, max = 32, message = "must have 1 to 32 characters"))]
    #[schema(example = "github")]
    source: String,
    /// Its display name.
    #[validate(length(min = 1, max = 100, message = "must have 1 to 100 characters"))]
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Where the tracker's API is; the source's public address when absent.
    #[validate(length(min = 1, max = 2000, message = "must have 1 to 2000 characters"))]
    #[schema(example = "https://api.github.com")]
    base_url: Option<String>,
    #[schema(value_type = CredentialsBody, write_only)]
    credentials: Credential,
    /// What to sync; everything the credentials can see when absent. GitHub: `{"repositories":["owner/repo"]}`.
    #[schema(value_type = Option<Object>)]
    settings: Option<Value>,
}

impl TryFrom<CreateBody> for NewInstance {
    type Error = Invalid;

    fn try_from(body: CreateBody) -> Result<Self, Invalid> {
        check_credential(&body.credentials)?;
        Ok(Self {
            source: SourceKind::new(body.source),
            name: body.name,
            base_url: body.base_url.as_deref().map(parse_url).transpose()?,
            credentials: body.credentials,
            settings: body.settings.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
        })
    }
}

/// Changes an instance; what is absent stays.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InstancePatch)]
pub(super) struct PatchBody {
    #[validate(length(min = 1, max = 100, message = "must have 1 to 100 characters"))]
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// A new address; needs new credentials with it, so that a key is never sent to a host it was not given for.
    #[validate(length(min = 1, max = 2000, message = "must have 1 to 2000 characters"))]
    base_url: Option<String>,
    #[schema(value_type = Option<CredentialsBody>, write_only)]
    credentials: Option<Credential>,
    /// New settings, replacing the old ones whole.
    #[schema(value_type = Option<Object>)]
    settings: Option<Value>,
    /// Pause or resume: while paused, runs are refused.
    paused: Option<bool>,
}

impl TryFrom<PatchBody> for InstancePatch {
    type Error = Invalid;

    fn try_from(body: PatchBody) -> Result<Self, Invalid> {
        if let Some(credential) = &body.credentials {
            check_credential(credential)?;
        }
        Ok(Self {
            name: body.name,
            base_url: body.base_url.as_deref().map(parse_url).transpose()?,
            credentials: body.credentials,
            settings: body.settings,
            paused: body.paused,
        })
    }
}

/// Which instances to list.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The most items of a page.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200, default = 50)]
    pub(super) limit: Option<String>,
    /// The `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// Lists instances, newest first.
#[utoipa::path(
    get, path = "/instances", operation_id = "list_instances", tag = "instances", params(ListQuery),
    responses((status = 200, body = ListBody<InstanceBody>), ListFailures)
)]
pub(super) async fn list(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListBody<InstanceBody>>, Problem> {
    let mut params = Params::default();
    let page = params.page("instances", query.limit.as_deref(), query.cursor.as_deref());
    params.finish()?;
    let listing = services.instances.list(&ctx, &page).await?;
    Ok(Json(ListBody::of("instances", listing, InstanceBody::from)))
}

/// Connects a tracker. Nothing is fetched yet: test the connection, then start a backfill.
#[utoipa::path(
    post, path = "/instances", operation_id = "create_instance", tag = "instances", request_body = CreateBody,
    responses((status = 201, body = InstanceBody, headers(("location" = String, description = "The new instance"))), BodyFailures)
)]
pub(super) async fn create(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Json(body): Json<CreateBody>,
) -> Result<impl IntoResponse, Problem> {
    let instance = services.instances.create(&ctx, body.try_into()?).await?;
    let location: [(HeaderName, String); 1] = [(LOCATION, format!("/api/v1/instances/{}", instance.id))];
    Ok((StatusCode::CREATED, location, Json(InstanceBody::from(instance))))
}

/// Reads one instance.
#[utoipa::path(
    get, path = "/instances/{id}", operation_id = "get_instance", tag = "instances", params(("id" = Uuid, Path)),
    responses((status = 200, body = InstanceBody), ItemFailures)
)]
pub(super) async fn get(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<InstanceBody>, Problem> {
    Ok(Json(services.instances.get(&ctx, id).await?.into()))
}

/// Changes an instance.
#[utoipa::path(
    patch, path = "/instances/{id}", operation_id = "update_instance", tag = "instances", params(("id" = Uuid, Path)), request_body = PatchBody,
    responses((status = 200, body = InstanceBody), ItemFailures, BodyFailures)
)]
pub(super) async fn update(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
    Json(body): Json<PatchBody>,
) -> Result<Json<InstanceBody>, Problem> {
    Ok(Json(services.instances.update(&ctx, id, body.try_into()?).await?.into()))
}

/// Disconnects an instance and removes everything synced through it.
#[utoipa::path(
    delete, path = "/instances/{id}", operation_id = "delete_instance", tag = "instances", params(("id" = Uuid, Path)),
    responses((status = 204, description = "Removed"), ItemFailures)
)]
pub(super) async fn delete(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
) -> Result<StatusCode, Problem> {
    services.webhooks.retire(&ctx, id).await?;
    services.instances.delete(&ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn parse_url(text: &str) -> Result<Url, Invalid> {
    // The text is not repeated: somebody may have put a password into it.
    Url::parse(text.trim())
        .map_err(|_| Invalid::one("/base_url", "must be an absolute URL such as https://api.github.com"))
}

/// What would break the header it is sent in is refused before it is stored.
fn check_credential(credential: &Credential) -> Result<(), Invalid> {
    let check_at = |pointer: &str, token: &SecretString| {
        let token = token.expose_secret();
        if token.is_empty() || token.len() > 8192 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid::one(
                pointer,
                "must have 1 to 8192 visible ASCII characters without spaces or line breaks",
            ));
        }
        Ok(())
    };
    let check = |token: &SecretString| check_at("/credentials/token", token);
    match credential {
        Credential::Token { token } | Credential::Pat { token } => check(token),
        Credential::OAuth(grant) => {
            check_at("/credentials/access_token", &grant.access_token)?;
            grant.refresh_token.iter().try_for_each(|token| check_at("/credentials/refresh_token", token))?;
            grant.client_secret.iter().try_for_each(|secret| check_at("/credentials/client_secret", secret))
        }
        Credential::GithubApp { app_id, private_key } => {
            if app_id.is_empty() || app_id.len() > 64 || !app_id.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Invalid::one("/credentials/app_id", "must be the app's client id or number"));
            }
            let key = private_key.expose_secret();
            if key.len() > 16_384 || !key.trim_start().starts_with("-----BEGIN ") {
                return Err(Invalid::one(
                    "/credentials/private_key",
                    "must be the app's private key as GitHub gave it: a PEM file that begins with -----BEGIN",
                ));
            }
            Ok(())
        }
        Credential::Basic { email, token } => {
            if email.is_empty()
                || email.len() > 320
                || email.contains(':')
                || email.chars().any(char::is_control)
            {
                return Err(Invalid::one(
                    "/credentials/email",
                    "must be the account's e-mail address: 1 to 320 characters without a colon",
                ));
            }
            check(token)
        }
    }
}
