//! `/templates`: SQL templates, those that come with the installation and the tenant's own, with their versions, proofs
//! and runs.

mod bodies;

use application::Services;
use axum::extract::State;
use axum::response::IntoResponse;
use domain::Allowed;
use domain::{Invalid, KeyId};
use http::StatusCode;
use http::header::LOCATION;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use validator::Validate;

use self::bodies::{DetailBody, RunBody, TemplateBody, TrialBody};
use super::instances::ListQuery;
use super::list::{ListBody, Params};
use super::openapi::{BodyFailures, ChangeFailures, ItemFailures, ListFailures};
use crate::auth::Caller;
use crate::extract::{Json, NoBody, OptionalJson, Path, Query};
use crate::problem::Problem;

/// Adds a version of a template.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTemplateVersion)]
pub(super) struct CreateBody {
    /// Its name, also the tool's: a new one, or that of a template of the tenant, which gets another version.
    #[validate(length(min = 1, max = 32, message = "must have 1 to 32 characters"))]
    #[schema(min_length = 1, max_length = 32, pattern = "^[a-z][a-z0-9_]{0,31}$", example = "open_bugs")]
    name: String,
    /// The text of a template file: a header in TOML between `/*` and `*/`, then one SELECT.
    #[validate(length(min = 1, max = 65_536, message = "must have 1 to 65536 characters"))]
    #[schema(min_length = 1, max_length = 65_536)]
    source: String,
}

/// Which version.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProveTemplate)]
pub(super) struct ProveBody {
    /// The newest when absent.
    #[validate(range(min = 1, message = "must be a version's number"))]
    #[schema(minimum = 1)]
    version: Option<i32>,
}

/// Makes a version a tool.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PublishTemplate)]
pub(super) struct PublishBody {
    /// The version; an earlier one rolls back.
    #[validate(range(min = 1, message = "must be a version's number"))]
    #[schema(minimum = 1)]
    version: i32,
    /// The keys that get it as a tool, as far as their own grants let them; people do not. Either this or `all_keys`.
    #[validate(length(min = 1, max = 200, message = "must have 1 to 200 entries"))]
    #[schema(min_items = 1, max_items = 200)]
    visible_to: Option<Vec<Uuid>>,
    /// `true` makes it a tool of everybody in the tenant whose grant lets them.
    all_keys: Option<bool>,
}

impl PublishBody {
    fn visible_to(&self) -> Result<Allowed<KeyId>, Invalid> {
        match (&self.visible_to, self.all_keys.unwrap_or(false)) {
            (Some(keys), false) => Ok(Allowed::Only(keys.iter().copied().map(KeyId::new).collect())),
            (None, true) => Ok(Allowed::All),
            (Some(_), true) => Err(Invalid::one("/all_keys", "stands beside visible_to: say one of them")),
            (None, false) => Err(Invalid::one(
                "/visible_to",
                "is required: name the keys that get it, or say \"all_keys\": true",
            )),
        }
    }
}

/// Tries a version.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TryTemplate)]
pub(super) struct TryBody {
    /// The newest when absent.
    #[validate(range(min = 1, message = "must be a version's number"))]
    #[schema(minimum = 1)]
    version: Option<i32>,
    /// As a caller of the tool gives them, `limit` included.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    arguments: Option<Map<String, Value>>,
}

/// Which version to show.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VersionQuery {
    /// Its number; the newest when absent.
    #[param(value_type = Option<u16>, minimum = 1)]
    version: Option<String>,
}

/// Lists SQL templates by name: those that come with the installation, and the tenant's own in any state.
#[utoipa::path(
    get, path = "/templates", operation_id = "list_templates", tag = "templates", params(ListQuery),
    responses((status = 200, body = ListBody<TemplateBody>), ListFailures)
)]
pub(super) async fn list(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListBody<TemplateBody>>, Problem> {
    let mut params = Params::default();
    let page = params.page("templates", query.limit.as_deref(), query.cursor.as_deref());
    params.finish()?;
    let listing = services.authoring.list(&ctx, &page).await?;
    Ok(Json(ListBody::of("templates", listing, TemplateBody::from)))
}

/// Adds a version of a template of the tenant, its first when the name is new, and proves it. A version that is refused
/// is kept with its findings; correct it in another one.
#[utoipa::path(
    post, path = "/templates", operation_id = "create_template", tag = "templates", request_body = CreateBody,
    responses((status = 201, body = DetailBody, headers(("location" = String, description = "The template"))), BodyFailures)
)]
pub(super) async fn create(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Json(body): Json<CreateBody>,
) -> Result<impl IntoResponse, Problem> {
    let detail = services.authoring.create(&ctx, &body.name, &body.source).await?;
    let location = [(LOCATION, format!("/api/v1/templates/{}", body.name))];
    Ok((StatusCode::CREATED, location, Json(DetailBody::from(detail))))
}

/// Reads a template: its versions, and one of these with its text, parameters, columns and proof.
#[utoipa::path(
    get, path = "/templates/{name}", operation_id = "get_template", tag = "templates",
    params(("name" = String, Path), VersionQuery),
    responses((status = 200, body = DetailBody), ItemFailures, ListFailures)
)]
pub(super) async fn get(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(name): Path<String>,
    Query(query): Query<VersionQuery>,
) -> Result<Json<DetailBody>, Problem> {
    let mut params = Params::default();
    let version = params.parsed("version", query.version, "must be a version's number");
    params.finish()?;
    Ok(Json(services.authoring.get(&ctx, &name, version).await?.into()))
}

/// Proves a version again, since the data or the installation may have changed. One that is refused now is no tool any
/// more.
#[utoipa::path(
    post, path = "/templates/{name}/prove", operation_id = "prove_template", tag = "templates",
    params(("name" = String, Path)), request_body = ProveBody,
    responses((status = 200, body = DetailBody), ItemFailures, BodyFailures)
)]
pub(super) async fn prove(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(name): Path<String>,
    OptionalJson(body): OptionalJson<ProveBody>,
) -> Result<Json<DetailBody>, Problem> {
    Ok(Json(services.authoring.prove(&ctx, &name, body.version).await?.into()))
}

/// Makes a version a tool, in the place of any other of the template, after proving it once more. Effective within 5
/// seconds on every replica.
#[utoipa::path(
    post, path = "/templates/{name}/publish", operation_id = "publish_template", tag = "templates",
    params(("name" = String, Path)), request_body = PublishBody,
    responses((status = 200, body = DetailBody), ItemFailures, BodyFailures)
)]
pub(super) async fn publish(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(name): Path<String>,
    Json(body): Json<PublishBody>,
) -> Result<Json<DetailBody>, Problem> {
    let visible_to = body.visible_to()?;
    Ok(Json(services.authoring.publish(&ctx, &name, body.version, &visible_to).await?.into()))
}

/// Makes a template no tool any more. Effective within 5 seconds on every replica. Safe to repeat.
#[utoipa::path(
    post, path = "/templates/{name}/retire", operation_id = "retire_template", tag = "templates",
    params(("name" = String, Path)),
    responses((status = 200, body = DetailBody), ItemFailures, ChangeFailures)
)]
pub(super) async fn retire(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(name): Path<String>,
    _: NoBody,
) -> Result<Json<DetailBody>, Problem> {
    Ok(Json(services.authoring.retire(&ctx, &name).await?.into()))
}

/// Runs a version that has passed its proof, published or not, over the caller's tenant. It is on the record like any
/// run.
#[utoipa::path(
    post, path = "/templates/{name}/try", operation_id = "try_template", tag = "templates",
    params(("name" = String, Path)), request_body = TryBody,
    responses((status = 200, body = TrialBody), ItemFailures, BodyFailures)
)]
pub(super) async fn attempt(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(name): Path<String>,
    OptionalJson(body): OptionalJson<TryBody>,
) -> Result<Json<TrialBody>, Problem> {
    let arguments = body.arguments.unwrap_or_default();
    let rows = services.authoring.attempt(&ctx, &name, body.version, &arguments).await?;
    Ok(Json(rows.into()))
}

/// Lists who ran a template, when, and how that ended: newest first, of the last 30 days.
#[utoipa::path(
    get, path = "/templates/{name}/runs", operation_id = "list_template_runs", tag = "templates",
    params(("name" = String, Path), ListQuery),
    responses((status = 200, body = ListBody<RunBody>), ItemFailures, ListFailures)
)]
pub(super) async fn runs(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(name): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListBody<RunBody>>, Problem> {
    let mut params = Params::default();
    let page = params.page("template_runs", query.limit.as_deref(), query.cursor.as_deref());
    params.finish()?;
    let listing = services.authoring.runs(&ctx, &name, &page).await?;
    Ok(Json(ListBody::of("template_runs", listing, RunBody::from)))
}
