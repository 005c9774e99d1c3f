//! Webhooks: taking in what trackers tell, applying it as a hint where to look, and setting them up.

mod apply;
mod intake;
mod registration;
mod secrets;

use std::sync::Arc;

use domain::{Instance, InstanceId, RequestId, Scope, TenantId, WebhookDelivery};
use url::Url;
use uuid::Uuid;

pub use apply::HintApplier;
pub use intake::{Answer, Incoming, IntakeError};
pub use registration::WebhookStatus;
pub use secrets::WebhookSecrets;

use crate::connections::Connections;
use crate::limits::LimitService;
use crate::ports::{
    Clock, Ids, InstanceStore, ListPage, Listing, SourceAdapter, SourceWebhooks, Sources, Vault, WebhookStore,
};
use crate::{Ctx, Error};

/// How long deliveries are kept.
const KEPT: chrono::TimeDelta = chrono::TimeDelta::days(7);

/// What the service is made of.
#[derive(Clone)]
pub struct WebhookParts {
    /// How deliveries come in, and what came of them.
    pub store: Arc<dyn WebhookStore>,
    /// Instances.
    pub instances: Arc<dyn InstanceStore>,
    /// Opens connections to trackers.
    pub connections: Connections,
    /// The adapters.
    pub sources: Sources,
    /// Seals token and secrets.
    pub vault: Arc<dyn Vault>,
    /// Budgets of requests.
    pub limits: Arc<LimitService>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids and random bytes.
    pub ids: Arc<dyn Ids>,
    /// Where trackers reach the installation.
    pub public_url: Option<Url>,
}

impl std::fmt::Debug for WebhookParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookParts").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

/// Use cases around webhooks. Cheap to clone.
#[derive(Clone)]
pub struct WebhookService {
    parts: WebhookParts,
    known: Arc<intake::Known>,
}

impl WebhookService {
    /// Puts the service together.
    pub fn new(parts: WebhookParts) -> Self {
        Self { parts, known: Arc::default() }
    }

    /// Names of the sources whose trackers send deliveries.
    pub fn sources(&self) -> Vec<&'static str> {
        self.parts.sources.names()
    }

    /// Deliveries of an instance and what came of them, newest first.
    pub async fn deliveries(
        &self,
        ctx: &Ctx,
        id: InstanceId,
        page: &ListPage,
    ) -> Result<Listing<WebhookDelivery>, Error> {
        ctx.require(Scope::InstancesRead)?;
        require_whole(ctx)?;
        self.instance(ctx, id).await?;
        Ok(self.parts.store.deliveries(ctx, id, page).await?)
    }

    /// Has a delivery applied once more.
    pub async fn replay(&self, ctx: &Ctx, id: InstanceId, delivery: Uuid) -> Result<WebhookDelivery, Error> {
        ctx.require(Scope::InstancesWrite)?;
        require_whole(ctx)?;
        let found = self.parts.store.replay(ctx, id, delivery).await?;
        found.ok_or_else(|| Error::not_found(format!("the delivery {delivery}")))
    }

    /// Removes old deliveries of all tenants.
    pub async fn prune(&self) -> Result<u64, Error> {
        Ok(self.parts.store.prune(self.parts.clock.now() - KEPT).await?)
    }

    async fn instance(&self, ctx: &Ctx, id: InstanceId) -> Result<Instance, Error> {
        let found = self.parts.instances.find(ctx, id).await?;
        found.ok_or_else(|| Error::not_found(format!("the instance {id}")))
    }

    fn adapter(&self, instance: &Instance) -> Result<&Arc<dyn SourceAdapter>, Error> {
        self.parts.sources.get(&instance.source).ok_or_else(|| Error::Conflict {
            what: format!("this installation has no adapter for {}", instance.source),
            hint: "upgrade Patchbay, or delete the instance".into(),
        })
    }

    fn system(&self, tenant: TenantId) -> Ctx {
        Ctx::system(tenant, "webhooks", RequestId::new(self.parts.ids.uuid()))
    }
}

/// The adapter's webhooks, where it has them.
fn webhooks_of(adapter: &dyn SourceAdapter) -> Result<&dyn SourceWebhooks, Error> {
    adapter.webhooks().ok_or_else(|| Error::Conflict {
        what: format!("{} has no webhooks that Patchbay understands", adapter.kind()),
        hint: "its instances are kept up to date by their schedule".into(),
    })
}

/// Deliveries are of every project of an instance.
fn require_whole(ctx: &Ctx) -> Result<(), Error> {
    ctx.require_every_project()
}

impl std::fmt::Debug for WebhookService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookService")
    }
}
