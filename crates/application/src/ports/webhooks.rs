use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Hints, InstanceId, SourceKind, TenantId, WebhookDelivery, WebhookState};
use uuid::Uuid;

use super::{ListPage, Listing, Registration, Sealed, StoreError};
use crate::Ctx;

/// How deliveries of an instance come in, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredWebhook {
    /// Token and secrets.
    pub sealed: Sealed,
    /// Whether the product set it up at the tracker, and takes it away.
    pub managed: bool,
    /// Where it stands.
    pub state: WebhookState,
    /// What the tracker calls it.
    pub registration: Registration,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When the last delivery came.
    pub last_delivery_at: Option<DateTime<Utc>>,
}

/// Whom a delivery is for, found by the token of its address.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownWebhook {
    /// Whose instance.
    pub tenant: TenantId,
    /// Whether the tenant is served.
    pub served: bool,
    /// The instance.
    pub instance: InstanceId,
    /// Its source.
    pub source: SourceKind,
    /// Token and secrets.
    pub sealed: Sealed,
    /// Whether a registration is under way, in which the tracker may tell its secret.
    pub handshake_open: bool,
}

/// A verified delivery to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDelivery {
    /// Whose instance.
    pub tenant: TenantId,
    /// The instance.
    pub instance: InstanceId,
    /// Its id here.
    pub id: Uuid,
    /// What a repeated delivery is recognised by.
    pub delivery_id: String,
    /// The tracker's name of what happened.
    pub event: String,
    /// Where it points.
    pub hints: Hints,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

/// A delivery that is to be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenDelivery {
    /// Its id here.
    pub id: Uuid,
    /// Where it points.
    pub hints: Hints,
    /// How often applying it failed.
    pub attempts: i32,
}

/// Deliveries that could not be applied, and what becomes of them.
#[derive(Debug, Clone, Copy)]
pub struct PutOff<'a> {
    /// Which.
    pub deliveries: &'a [Uuid],
    /// Why.
    pub problem: &'a str,
    /// When they are tried again.
    pub retry_at: DateTime<Utc>,
    /// Failures to add to their count; what reaches [`domain::webhook::MOST_ATTEMPTS`] is not tried again.
    pub attempts: i32,
}

/// How deliveries come in, and what came of them.
#[async_trait]
pub trait WebhookStore: Send + Sync {
    /// Whom the token is of; asked by its SHA-256, before the tenant is known.
    async fn find_by_token(&self, digest: &[u8; 32]) -> Result<Option<KnownWebhook>, StoreError>;

    /// Stores a delivery and enqueues its applying; answers when both are on disk. `false` for one that was there
    /// already. Many are stored in one transaction; [`StoreError::Unavailable`] when too many wait for that.
    async fn store(&self, delivery: NewDelivery) -> Result<bool, StoreError>;

    /// `None` when the instance has none for this tenant.
    async fn find(&self, ctx: &Ctx, instance: InstanceId) -> Result<Option<StoredWebhook>, StoreError>;

    /// Saves token and secrets before the tracker is told, on its own even within a unit of work: the tracker may call
    /// before the request ends. Keeps what an earlier one was registered as. For `handshake` the tracker may tell its
    /// own secret.
    async fn prepare(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        digest: &[u8; 32],
        sealed: &Sealed,
        managed: bool,
        handshake: Option<Duration>,
    ) -> Result<(), StoreError>;

    /// Replaces token and secrets if they are still `old`.
    async fn replace_secrets(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        old: &Sealed,
        new: &Sealed,
    ) -> Result<bool, StoreError>;

    /// Lets the tracker tell its own secret for a while.
    async fn open_handshake(&self, ctx: &Ctx, instance: InstanceId, time: Duration)
    -> Result<(), StoreError>;

    /// Notes what it is registered as, and when to look after it. Ends the time for handshakes.
    async fn registered(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        registration: &Registration,
        renew_at: DateTime<Utc>,
    ) -> Result<(), StoreError>;

    /// Notes what is wrong, and when to look again.
    async fn failing(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        problem: &str,
        renew_at: DateTime<Utc>,
    ) -> Result<(), StoreError>;

    /// Removes it, with its deliveries. `false` when there is none.
    async fn remove(&self, ctx: &Ctx, instance: InstanceId) -> Result<bool, StoreError>;

    /// Deliveries, newest first.
    async fn deliveries(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        page: &ListPage,
    ) -> Result<Listing<WebhookDelivery>, StoreError>;

    /// Has a delivery applied once more. `None` when it does not exist for this tenant.
    async fn replay(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        delivery: Uuid,
    ) -> Result<Option<WebhookDelivery>, StoreError>;

    /// Deliveries to be applied now, the oldest first.
    async fn open_deliveries(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        limit: i64,
    ) -> Result<Vec<OpenDelivery>, StoreError>;

    /// Notes that deliveries could not be applied and enqueues the next try.
    async fn put_off(&self, ctx: &Ctx, instance: InstanceId, what: PutOff<'_>) -> Result<(), StoreError>;

    /// Enqueues the next try of deliveries that wait for one.
    async fn retry_later(&self, ctx: &Ctx, instance: InstanceId) -> Result<(), StoreError>;

    /// Ends every open delivery unapplied, with the reason.
    async fn skip_open(&self, ctx: &Ctx, instance: InstanceId, reason: &str) -> Result<(), StoreError>;

    /// Webhooks of all tenants that have to be looked after; for `lease` nobody else gets them.
    async fn claim_renewals(
        &self,
        limit: i64,
        lease: Duration,
    ) -> Result<Vec<(TenantId, InstanceId)>, StoreError>;

    /// Removes deliveries of all tenants that came before this moment, some at a time; how many were.
    async fn prune(&self, before: DateTime<Utc>) -> Result<u64, StoreError>;
}
