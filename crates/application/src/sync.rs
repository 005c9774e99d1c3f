//! Backfills and syncs: starting, watching and cancelling runs, and doing them slice by slice.

mod engine;
mod failure;
mod pending;
mod reading;
mod reconcile;
mod remap;
mod writing;

use std::sync::Arc;

use domain::{InstanceId, InstanceStatus, ProjectId, Run, RunId, RunKind, Scope};

pub use engine::{SliceLimits, SyncEngine};

use crate::ports::{
    DeadLetter, Freshness, Ids, InstanceStore, ListPage, Listing, NewRun, ProjectRef, RunFilter, StoreError,
    StoredCounts, SyncStore,
};
use crate::{Ctx, Error};

/// How often a run that ends at just the wrong moment may be in the way of a new one.
const START_ATTEMPTS: usize = 5;

/// Use cases around runs and freshness.
pub struct SyncService {
    store: Arc<dyn SyncStore>,
    instances: Arc<dyn InstanceStore>,
    ids: Arc<dyn Ids>,
}

impl SyncService {
    /// Puts the service together.
    pub fn new(store: Arc<dyn SyncStore>, instances: Arc<dyn InstanceStore>, ids: Arc<dyn Ids>) -> Self {
        Self { store, instances, ids }
    }

    /// Starts reading everything of an instance. [`Error::RunActive`] while another run is unfinished.
    pub async fn start_backfill(&self, ctx: &Ctx, instance: InstanceId) -> Result<RunId, Error> {
        self.start(ctx, instance, RunKind::Backfill, false).await
    }

    /// Starts reading what changed. The first one of an instance reads everything.
    pub async fn start_sync(&self, ctx: &Ctx, instance: InstanceId) -> Result<RunId, Error> {
        self.start(ctx, instance, RunKind::Incremental, false).await
    }

    /// Starts comparing everything with the source. When many items seem to be gone, they are marked only by a run that
    /// was started with `confirm_removals`.
    pub async fn start_reconcile(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        confirm_removals: bool,
    ) -> Result<RunId, Error> {
        self.start(ctx, instance, RunKind::Reconcile, confirm_removals).await
    }

    async fn start(
        &self,
        ctx: &Ctx,
        instance_id: InstanceId,
        kind: RunKind,
        confirm_removals: bool,
    ) -> Result<RunId, Error> {
        ctx.require(Scope::SyncRun)?;
        let instance =
            self.instances.find(ctx, instance_id).await?.ok_or_else(|| unknown_instance(instance_id))?;
        match instance.status {
            InstanceStatus::Active => {}
            InstanceStatus::Paused => {
                return Err(Error::Conflict {
                    what: "the instance is paused".into(),
                    hint: "resume it with PATCH {\"paused\": false}".into(),
                });
            }
            InstanceStatus::ReconnectRequired => {
                return Err(Error::Conflict {
                    what: "the tracker refused the instance's credentials".into(),
                    hint: "PATCH the instance with new credentials, then try again".into(),
                });
            }
        }
        let run = NewRun { id: RunId::new(self.ids.uuid()), instance_id, kind, confirm_removals };
        for _ in 0..START_ATTEMPTS {
            match self.store.start(ctx, &run).await {
                Ok(()) => return Ok(run.id),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(active) = self.store.active_run(ctx, instance_id).await? {
                return Err(Error::RunActive { run: active });
            }
            // The one in the way ended between the two looks, unless the instance was removed since the first.
            if self.instances.find(ctx, instance_id).await?.is_none() {
                return Err(unknown_instance(instance_id));
            }
        }
        Err(Error::Unavailable(StoreError::Conflict("an unfinished run")))
    }

    /// Newest first.
    pub async fn list_runs(
        &self,
        ctx: &Ctx,
        filter: &RunFilter,
        page: &ListPage,
    ) -> Result<Listing<Run>, Error> {
        ctx.require(Scope::InstancesRead)?;
        Ok(self.store.list(ctx, filter, page).await?)
    }

    /// One run.
    pub async fn get_run(&self, ctx: &Ctx, id: RunId) -> Result<Run, Error> {
        ctx.require(Scope::InstancesRead)?;
        self.store.find(ctx, id).await?.ok_or_else(|| unknown_run(id))
    }

    /// Asks for a run to end. It does within a page; a finished run stays as it is.
    pub async fn cancel_run(&self, ctx: &Ctx, id: RunId) -> Result<Run, Error> {
        ctx.require(Scope::SyncRun)?;
        self.store.request_cancel(ctx, id).await?.ok_or_else(|| unknown_run(id))
    }

    /// Objects of a run that could not be mapped.
    pub async fn dead_letters(
        &self,
        ctx: &Ctx,
        id: RunId,
        page: &ListPage,
    ) -> Result<Listing<DeadLetter>, Error> {
        let run = self.get_run(ctx, id).await?;
        Ok(self.store.dead_letters(ctx, run.id, page).await?)
    }

    /// How fresh an instance's data is, and how much there is of it.
    pub async fn freshness(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
    ) -> Result<(Freshness, StoredCounts), Error> {
        ctx.require(Scope::InstancesRead)?;
        let found = self.store.freshness(ctx, Some(instance)).await?;
        found.into_iter().next().ok_or_else(|| unknown_instance(instance))
    }

    /// The projects of an instance that were synced: id, key and name.
    pub async fn projects(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
    ) -> Result<Vec<(ProjectId, ProjectRef, String)>, Error> {
        ctx.require(Scope::InstancesRead)?;
        self.instances.find(ctx, instance).await?.ok_or_else(|| unknown_instance(instance))?;
        Ok(self.store.projects(ctx, instance).await?)
    }
}

impl std::fmt::Debug for SyncService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SyncService")
    }
}

fn unknown_instance(id: InstanceId) -> Error {
    Error::not_found(format!("the instance {id}"))
}

fn unknown_run(id: RunId) -> Error {
    Error::not_found(format!("the run {id}"))
}
