//! Connections to trackers.

mod estimate;

use std::sync::Arc;
use std::time::Instant;

use domain::{
    Instance, InstanceId, InstancePatch, InstanceStatus, Invalid, NewInstance, Scope, Slug, instance,
};

pub use estimate::BackfillEstimate;

use crate::connections::{Connections, LiveConnection};
use crate::limits::LimitService;
use crate::ports::{
    Clock, Connection, ConnectionReport, Ids, InstanceStore, ListPage, Listing, SourceAdapter, SourceError,
    SourceErrorKind, Sources, StoreError, SyncStore, UpstreamUse,
};
use crate::{Ctx, Error};

/// What a connection test found, and what follows for a backfill.
#[derive(Debug, Clone, PartialEq)]
pub struct TestedConnection {
    /// What was found.
    pub report: ConnectionReport,
    /// How long reading everything would take.
    pub backfill: BackfillEstimate,
}

/// Use cases around instances.
pub struct InstanceService {
    store: Arc<dyn InstanceStore>,
    sync: Arc<dyn SyncStore>,
    connections: Connections,
    sources: Sources,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    limits: Arc<LimitService>,
}

impl InstanceService {
    /// Puts the service together.
    pub fn new(
        store: Arc<dyn InstanceStore>,
        sync: Arc<dyn SyncStore>,
        connections: Connections,
        sources: Sources,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        limits: Arc<LimitService>,
    ) -> Self {
        Self { store, sync, connections, sources, clock, ids, limits }
    }

    /// Connects a source to the tenant.
    pub async fn create(&self, ctx: &Ctx, new: NewInstance) -> Result<Instance, Error> {
        ctx.require(Scope::InstancesWrite)?;
        require_whole(ctx)?;
        if ctx.grant.instances.as_list().is_some() {
            return Err(Error::Exceeds { what: "the key is narrowed to certain instances" });
        }
        let Some(adapter) = self.sources.get(&new.source) else {
            return Err(Invalid::not_one_of("/source", "is not a known source", self.sources.names()).into());
        };
        instance::check_name(&new.name)?;
        let base_url = new
            .base_url
            .or_else(|| adapter.default_base_url())
            .ok_or_else(|| Invalid::one("/base_url", "is required for this source"))?;
        let base_url = instance::check_base_url(&base_url)?;
        adapter.check_credential(&new.credentials)?;
        let settings = adapter.check_settings(&new.settings)?;
        let now = self.clock.now();
        let plain_slug = Slug::of(&new.name);
        let mut created = Instance {
            id: InstanceId::new(self.ids.uuid()),
            slug: plain_slug.clone(),
            source: new.source,
            name: new.name.trim().to_owned(),
            base_url,
            settings,
            status: InstanceStatus::Active,
            created_at: now,
            updated_at: now,
        };
        let sealed = self.connections.seal(ctx, created.id, &new.credentials).await?;
        for n in 2..100 {
            match self.store.insert(ctx, &created, &sealed).await {
                Ok(()) => return Ok(created),
                Err(StoreError::Conflict(_)) => created.slug = plain_slug.numbered(n),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Conflict {
            what: format!("there are many instances called {} already", created.name),
            hint: "choose another name".into(),
        })
    }

    /// Newest first.
    pub async fn list(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Instance>, Error> {
        ctx.require(Scope::InstancesRead)?;
        let mut listing = self.store.list(ctx, page).await?;
        listing.items.iter_mut().for_each(|instance| hide_projects(ctx, instance));
        Ok(listing)
    }

    /// One instance.
    pub async fn get(&self, ctx: &Ctx, id: InstanceId) -> Result<Instance, Error> {
        ctx.require(Scope::InstancesRead)?;
        let mut instance = self.find(ctx, id).await?;
        hide_projects(ctx, &mut instance);
        Ok(instance)
    }

    /// Changes an instance.
    ///
    /// A new base URL needs new credentials: otherwise whoever may change an address could have the stored
    /// secret sent to a host of their own.
    pub async fn update(&self, ctx: &Ctx, id: InstanceId, patch: InstancePatch) -> Result<Instance, Error> {
        ctx.require(Scope::InstancesWrite)?;
        require_whole(ctx)?;
        let mut instance = self.find(ctx, id).await?;
        let adapter = self.adapter(&instance)?;
        if let Some(name) = patch.name {
            instance::check_name(&name)?;
            instance.name = name.trim().to_owned();
        }
        if let Some(base_url) = patch.base_url {
            let base_url = instance::check_base_url(&base_url)?;
            if base_url != instance.base_url && patch.credentials.is_none() {
                return Err(Invalid::one("/credentials", "must be given anew when base_url changes").into());
            }
            instance.base_url = base_url;
        }
        if let Some(settings) = patch.settings {
            instance.settings = adapter.check_settings(&settings)?;
        }
        let sealed = match &patch.credentials {
            Some(credential) => {
                adapter.check_credential(credential)?;
                if instance.status == InstanceStatus::ReconnectRequired {
                    instance.status = InstanceStatus::Active;
                }
                Some(self.connections.seal(ctx, id, credential).await?)
            }
            None => None,
        };
        match patch.paused {
            Some(true) => instance.status = InstanceStatus::Paused,
            Some(false) if instance.status == InstanceStatus::Paused => {
                instance.status = InstanceStatus::Active;
            }
            _ => {}
        }
        instance.updated_at = self.clock.now();
        if self.store.update(ctx, &instance, sealed.as_ref()).await? {
            Ok(instance)
        } else {
            Err(unknown(id))
        }
    }

    /// Disconnects an instance and removes everything synced through it.
    pub async fn delete(&self, ctx: &Ctx, id: InstanceId) -> Result<(), Error> {
        ctx.require(Scope::InstancesWrite)?;
        require_whole(ctx)?;
        if self.store.delete(ctx, id).await? { Ok(()) } else { Err(unknown(id)) }
    }

    /// Signs in to the tracker and reports what works. Not done while the tracker has asked to wait.
    pub async fn test(&self, ctx: &Ctx, id: InstanceId) -> Result<TestedConnection, Error> {
        ctx.require(Scope::InstancesWrite)?;
        require_whole(ctx)?;
        let instance = self.find(ctx, id).await?;
        self.refuse_while_limited(ctx, id).await?;
        let adapter = self.adapter(&instance)?;
        let live = LiveConnection::from(self.connections.open(ctx, &instance).await?);
        let budget = self.limits.budget(&adapter.capabilities());
        self.limits.count_upstream(id, budget, UpstreamUse::Person).await?;
        let test = |connection: Arc<Connection>| async move { adapter.test_connection(&connection).await };
        let begun = Instant::now();
        let tested = self.connections.call(ctx, &instance, &live, test).await;
        let (took, requests) = (begun.elapsed(), live.requests());
        self.limits.debit_upstream(id, budget, requests).await;
        let report = tested?;
        let backfill = BackfillEstimate::of(&report, budget, requests, took);
        Ok(TestedConnection { report, backfill })
    }

    async fn refuse_while_limited(&self, ctx: &Ctx, id: InstanceId) -> Result<(), Error> {
        let Some(run) = self.sync.active_run(ctx, id).await? else {
            return Ok(());
        };
        let Some(run) = self.sync.find(ctx, run).await? else {
            return Ok(());
        };
        let limited = run.error.as_ref().is_some_and(|error| error.code == "source_rate_limited");
        let wait = run.resume_at.and_then(|at| (at - self.clock.now()).to_std().ok());
        match wait {
            Some(wait) if limited => Err(Error::Source(SourceError {
                retry_after: Some(wait),
                ..SourceError::new(
                    SourceErrorKind::RateLimited,
                    "the source has asked to wait before the next request",
                )
            })),
            _ => Ok(()),
        }
    }

    async fn find(&self, ctx: &Ctx, id: InstanceId) -> Result<Instance, Error> {
        self.store.find(ctx, id).await?.ok_or_else(|| unknown(id))
    }

    fn adapter(&self, instance: &Instance) -> Result<&Arc<dyn SourceAdapter>, Error> {
        self.sources.get(&instance.source).ok_or_else(|| Error::Conflict {
            what: format!("this installation has no adapter for {}", instance.source),
            hint: "upgrade Patchbay, or delete the instance".into(),
        })
    }
}

/// An instance holds more projects than the key may see, so who is narrowed to projects changes none.
fn require_whole(ctx: &Ctx) -> Result<(), Error> {
    ctx.require_every_project()
}

/// Settings name the projects that are synced.
fn hide_projects(ctx: &Ctx, instance: &mut Instance) {
    if ctx.grant.projects_read.as_list().is_some() {
        instance.settings = serde_json::json!({});
    }
}

impl std::fmt::Debug for InstanceService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InstanceService")
    }
}

fn unknown(id: InstanceId) -> Error {
    Error::not_found(format!("the instance {id}"))
}
