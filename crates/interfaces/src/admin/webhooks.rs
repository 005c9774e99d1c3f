//! Webhooks of an instance: setting them up, and what came of deliveries.

use application::Services;
use application::webhooks::WebhookStatus;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{Hint, InstanceId, WebhookDelivery};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use validator::Validate;

use super::instances::ListQuery as PageQuery;
use super::list::{ListBody, Params};
use super::openapi::{ChangeFailures, ItemFailures, ListFailures};
use crate::auth::Caller;
use crate::extract::{Json, NoBody, Path, Query};
use crate::problem::Problem;

/// How an instance's webhooks stand.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(super) struct WebhookBody {
    /// `none`, `pending` until the tracker sends something, `active` or `failing`.
    state: &'static str,
    /// Whether Patchbay sets them up at the tracker. Otherwise somebody does by the steps.
    managed: bool,
    /// Where the tracker sends deliveries; only for keys with `instances:write`.
    url: Option<String>,
    /// What deliveries are signed with. Told once, when it has to be entered at the tracker.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    secret: Option<String>,
    /// What to do at the tracker, one step each.
    steps: Vec<String>,
    /// When the tracker lets them lapse; they are renewed long before.
    expires_at: Option<DateTime<Utc>>,
    /// What is wrong.
    problem: Option<String>,
    created_at: Option<DateTime<Utc>>,
    last_delivery_at: Option<DateTime<Utc>>,
}

impl From<WebhookStatus> for WebhookBody {
    fn from(status: WebhookStatus) -> Self {
        Self {
            state: status.state.map_or("none", domain::WebhookState::as_str),
            managed: status.managed,
            url: status.url.map(|url| url.expose_secret().to_owned()),
            secret: status.secret.map(|secret| secret.expose_secret().to_owned()),
            steps: status.steps,
            expires_at: status.expires_at,
            problem: status.problem,
            created_at: status.created_at,
            last_delivery_at: status.last_delivery_at,
        }
    }
}

/// Says how an instance's webhooks stand.
#[utoipa::path(
    get, path = "/instances/{id}/webhook", operation_id = "get_webhook", tag = "webhooks", params(("id" = Uuid, Path)),
    responses((status = 200, body = WebhookBody), ItemFailures, ChangeFailures)
)]
pub(super) async fn get(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<WebhookBody>, Problem> {
    Ok(Json(services.webhooks.status(&ctx, id).await?.into()))
}

/// Sets an instance's webhooks up at the tracker. Where the tracker does not let Patchbay do that, answers what somebody
/// has to do there, the address, and, this once, the secret. Repeated, it makes a new secret; the one before holds until
/// the next time.
#[utoipa::path(
    post, path = "/instances/{id}/webhook", operation_id = "register_webhook", tag = "webhooks", params(("id" = Uuid, Path)),
    responses((status = 200, body = WebhookBody), ItemFailures, ChangeFailures)
)]
pub(super) async fn register(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
    NoBody: NoBody,
) -> Result<Json<WebhookBody>, Problem> {
    Ok(Json(services.webhooks.register(&ctx, id).await?.into()))
}

/// How to take webhooks away.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UnregisterQuery {
    /// `true` takes them away here even when the tracker does not let them be taken away there.
    force: Option<String>,
}

/// Takes an instance's webhooks away, at the tracker first.
#[utoipa::path(
    delete, path = "/instances/{id}/webhook", operation_id = "unregister_webhook", tag = "webhooks", params(("id" = Uuid, Path), UnregisterQuery),
    responses((status = 204, description = "Taken away"), ListFailures, ItemFailures, ChangeFailures)
)]
pub(super) async fn unregister(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
    Query(query): Query<UnregisterQuery>,
) -> Result<StatusCode, Problem> {
    let mut params = Params::default();
    let force = params.parsed("force", query.force, "must be true or false").unwrap_or(false);
    params.finish()?;
    services.webhooks.unregister(&ctx, id, force).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A delivery and what came of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub(super) struct DeliveryBody {
    id: Uuid,
    /// What the tracker calls it, or a digest of it.
    delivery_id: String,
    /// The tracker's name of what happened.
    event: String,
    /// The items it points at, by key or id; the first ten.
    items: Vec<String>,
    /// `waiting`, `applied`, `skipped` with the reason in `problem`, or `failed` after ten attempts.
    #[schema(example = "applied")]
    outcome: &'static str,
    received_at: DateTime<Utc>,
    applied_at: Option<DateTime<Utc>>,
    attempts: i32,
    problem: Option<String>,
}

impl From<WebhookDelivery> for DeliveryBody {
    fn from(delivery: WebhookDelivery) -> Self {
        let outcome = delivery.outcome();
        let name = |hint: &Hint| match hint {
            Hint::Item { source_id, ref_key, key } => key.clone().or(ref_key.clone()).or(source_id.clone()),
            Hint::WorklogGone { .. } | Hint::CommentGone { .. } | Hint::Reference => None,
        };
        Self {
            id: delivery.id,
            items: delivery.hints.iter().filter_map(name).take(10).collect(),
            delivery_id: delivery.delivery_id,
            event: delivery.event,
            outcome,
            received_at: delivery.received_at,
            applied_at: delivery.applied_at,
            attempts: delivery.attempts,
            problem: delivery.problem,
        }
    }
}

/// Lists deliveries of the last seven days, newest first.
#[utoipa::path(
    get, path = "/instances/{id}/webhook/deliveries", operation_id = "list_webhook_deliveries", tag = "webhooks", params(("id" = Uuid, Path), PageQuery),
    responses((status = 200, body = ListBody<DeliveryBody>), ListFailures, ItemFailures)
)]
pub(super) async fn list_deliveries(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<ListBody<DeliveryBody>>, Problem> {
    let mut params = Params::default();
    let page = params.page("webhook_deliveries", query.limit.as_deref(), query.cursor.as_deref());
    params.finish()?;
    let listing = services.webhooks.deliveries(&ctx, id, &page).await?;
    Ok(Json(ListBody::of("webhook_deliveries", listing, DeliveryBody::from)))
}

/// Has a delivery applied once more.
#[utoipa::path(
    post, path = "/instances/{id}/webhook/deliveries/{delivery_id}/replay", operation_id = "replay_webhook_delivery", tag = "webhooks",
    params(("id" = Uuid, Path), ("delivery_id" = Uuid, Path)),
    responses((status = 202, body = DeliveryBody), ItemFailures)
)]
pub(super) async fn replay(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path((id, delivery)): Path<(InstanceId, Uuid)>,
    NoBody: NoBody,
) -> Result<(StatusCode, Json<DeliveryBody>), Problem> {
    let delivery = services.webhooks.replay(&ctx, id, delivery).await?;
    Ok((StatusCode::ACCEPTED, Json(delivery.into())))
}
