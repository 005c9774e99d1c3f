//! The life of a tenant: suspending, resuming, exporting, deleting.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::{Invalid, RequestId, Scope, Slug, Tenant, TenantStatus};
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::ports::{Clock, Deletion, ExportLine, Ids, StoreError, TenantStore};
use crate::{Ctx, Error};

/// Rows removed in one transaction: locks are short, and a crash repeats no more than this.
const BATCH: i64 = 5_000;
/// Looks for what was written while rows were removed; each is a full pass over all tables.
const PASSES: usize = 5;
/// What still runs for a tenant ends by itself within this time.
const BETWEEN_PASSES: Duration = Duration::from_secs(2);
/// When the worker takes over from an operator's command that was killed.
const TAKE_OVER_AFTER: TimeDelta = TimeDelta::minutes(2);

/// Use cases around the life of tenants.
pub struct TenantService {
    store: Arc<dyn TenantStore>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

/// Who carries out a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarriedOutBy {
    /// A worker, as soon as one is free.
    Worker,
    /// The caller, with [`TenantService::carry_out`]; a worker only if that does not finish it.
    Caller,
}

impl TenantService {
    /// Puts the service together.
    pub fn new(store: Arc<dyn TenantStore>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self { store, clock, ids }
    }

    /// Every tenant. For operators: no request can.
    pub async fn list(&self) -> Result<Vec<Tenant>, Error> {
        Ok(self.store.list().await?)
    }

    /// The tenant of a slug, as an operator acts on it. For operators.
    pub async fn operator(&self, slug: &Slug) -> Result<(Ctx, Tenant), Error> {
        let tenant = self.store.by_slug(slug).await?.ok_or_else(|| unknown(slug))?;
        let ctx = Ctx::system(tenant.id, "operator", RequestId::new(self.ids.uuid()));
        Ok((ctx, tenant))
    }

    /// The latest deletion of a tenant of this slug. For operators.
    pub async fn deletion_of(&self, slug: &Slug) -> Result<Option<Deletion>, Error> {
        Ok(self.store.deletion_of(slug).await?)
    }

    /// Stops a tenant: keys, sessions and tokens are refused, runs wait. For operators.
    pub async fn suspend(&self, slug: &Slug) -> Result<Tenant, Error> {
        self.set_status(slug, TenantStatus::Suspended).await
    }

    /// Lets a suspended tenant go on where it was. For operators.
    pub async fn resume(&self, slug: &Slug) -> Result<Tenant, Error> {
        self.set_status(slug, TenantStatus::Active).await
    }

    async fn set_status(&self, slug: &Slug, status: TenantStatus) -> Result<Tenant, Error> {
        let (ctx, _) = self.operator(slug).await?;
        let tenant = self.store.set_status(&ctx, status).await?.ok_or_else(|| unknown(slug))?;
        if tenant.status == TenantStatus::Deleting {
            return Err(Error::Conflict {
                what: format!("the tenant {slug} is being deleted"),
                hint: "a deletion cannot be taken back".into(),
            });
        }
        Ok(tenant)
    }

    /// The caller's tenant.
    pub async fn get(&self, ctx: &Ctx) -> Result<Tenant, Error> {
        ctx.require(Scope::Admin)?;
        self.store.find(ctx).await?.ok_or_else(|| Error::not_found("the tenant"))
    }

    /// Changes the caller's tenant.
    pub async fn update(&self, ctx: &Ctx, strict_audit: Option<bool>) -> Result<Tenant, Error> {
        require_whole(ctx)?;
        match strict_audit {
            None => self.get(ctx).await,
            Some(strict) => {
                self.store.set_strict_audit(ctx, strict).await?.ok_or_else(|| Error::not_found("the tenant"))
            }
        }
    }

    /// Everything the tenant has, as JSON lines, secrets left out.
    pub async fn export(
        &self,
        ctx: &Ctx,
    ) -> Result<BoxStream<'static, Result<ExportLine, StoreError>>, Error> {
        require_whole(ctx)?;
        Ok(self.store.export(ctx).await?)
    }

    /// Begins the deletion of the context's tenant, which refuses everything of it from then on. `confirm` must be its
    /// slug. Asked again, answers the deletion that is under way.
    pub async fn delete(&self, ctx: &Ctx, confirm: &str, by: CarriedOutBy) -> Result<Deletion, Error> {
        require_whole(ctx)?;
        let tenant = self.store.find(ctx).await?.ok_or_else(|| Error::not_found("the tenant"))?;
        if confirm != tenant.slug.as_str() {
            let text =
                format!("must be the tenant's slug, `{}`: everything it has will be gone", tenant.slug);
            return Err(Invalid::one("/confirm", text).into());
        }
        let run_at = match by {
            CarriedOutBy::Worker => None,
            CarriedOutBy::Caller => Some(self.clock.now() + TAKE_OVER_AFTER),
        };
        let deletion = self
            .store
            .request_deletion(ctx, self.ids.uuid(), run_at)
            .await?
            .ok_or_else(|| Error::not_found("the tenant"))?;
        warn!(tenant.id = %ctx.tenant, deletion.id = %deletion.id, by = ctx.principal.kind(), "A tenant is being deleted");
        Ok(deletion)
    }

    /// Removes everything of a tenant that is being deleted, and looks whether anything stayed. Goes on where an earlier
    /// attempt ended, however that ended, and may run several times at once. The deletion as it stands: unfinished when
    /// `stop` fired, or when something of the tenant still runs after several passes.
    pub async fn carry_out(&self, id: Uuid, stop: &CancellationToken) -> Result<Deletion, Error> {
        let mut deletion =
            self.store.deletion(id).await?.ok_or_else(|| Error::not_found(format!("the deletion {id}")))?;
        for pass in 0..PASSES {
            if deletion.finished_at.is_some() || stop.is_cancelled() {
                return Ok(deletion);
            }
            if pass > 0 {
                tokio::select! {
                    () = tokio::time::sleep(BETWEEN_PASSES) => {}
                    () = stop.cancelled() => return Ok(deletion),
                }
            }
            self.store.begin_removal(&deletion).await?;
            for table in self.store.tables().await? {
                let mut rows = 0;
                loop {
                    if stop.is_cancelled() {
                        return Ok(deletion);
                    }
                    let removed = self.store.remove_rows(&deletion, &table, BATCH).await?;
                    rows += removed;
                    if removed < BATCH {
                        break;
                    }
                }
                if rows > 0 {
                    info!(deletion.id = %id, table = table.0, rows, "Rows of a deleted tenant are removed");
                }
            }
            self.store.remove_tenant(&deletion).await?;
            deletion = self.store.look_for_residue(&deletion).await?;
        }
        if deletion.finished_at.is_some() {
            info!(deletion.id = %id, "A tenant is deleted; nothing of it was found afterwards");
        }
        Ok(deletion)
    }
}

impl std::fmt::Debug for TenantService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TenantService")
    }
}

/// What concerns the whole tenant is not for a key that is narrowed to a part of it.
fn require_whole(ctx: &Ctx) -> Result<(), Error> {
    ctx.require(Scope::Admin)?;
    ctx.require_unnarrowed()
}

fn unknown(slug: &Slug) -> Error {
    Error::not_found(format!("the tenant {slug}"))
}

#[cfg(test)]
mod tests {
    use domain::{Allowed, Grant, Scopes};

    use super::*;
    use crate::ports::AccessStore;
    use crate::testing::{INSTANCE, Memory, TENANT};

    fn services() -> (Arc<Memory>, Arc<TenantService>, Ctx) {
        let memory = Memory::new();
        let tenants = memory.services().tenants;
        let ctx = Ctx::system(TENANT, "test", RequestId::new(Uuid::nil()));
        (memory, tenants, ctx)
    }

    #[tokio::test]
    async fn a_deletion_needs_the_slug_and_a_key_to_the_whole_tenant() {
        let (memory, tenants, ctx) = services();
        let wrong = tenants.delete(&ctx, "globex", CarriedOutBy::Worker).await.unwrap_err();
        assert!(matches!(wrong, Error::Invalid(_)), "{wrong}");

        let mut narrowed = ctx.clone();
        narrowed.grant =
            Arc::new(Grant { instances: Allowed::from_list(Some([INSTANCE])), ..Grant::default() });
        let refused = tenants.delete(&narrowed, "acme", CarriedOutBy::Worker).await.unwrap_err();
        assert!(matches!(refused, Error::Exceeds { .. }), "{refused}");
        assert!(matches!(tenants.export(&narrowed).await.map(drop), Err(Error::Exceeds { .. })));

        let mut reader = ctx.clone();
        reader.scopes = Scopes::new([Scope::AuditRead]).unwrap();
        assert!(matches!(tenants.get(&reader).await, Err(Error::Forbidden { needed: Scope::Admin })));
        let tenant = memory.find_tenant(&"acme".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(tenant.status, TenantStatus::Active);
    }

    #[tokio::test]
    async fn a_tenant_that_is_being_deleted_is_not_resumed() {
        let (_, tenants, ctx) = services();
        let slug: Slug = "acme".parse().unwrap();
        assert_eq!(tenants.suspend(&slug).await.unwrap().status, TenantStatus::Suspended);
        assert_eq!(tenants.resume(&slug).await.unwrap().status, TenantStatus::Active);
        let deletion = tenants.delete(&ctx, "acme", CarriedOutBy::Worker).await.unwrap();
        assert!(matches!(tenants.resume(&slug).await, Err(Error::Conflict { .. })));
        let done = tenants.carry_out(deletion.id, &CancellationToken::new()).await.unwrap();
        assert!(done.finished_at.is_some());
        assert!(matches!(tenants.resume(&slug).await, Err(Error::NotFound { .. })));
    }

    #[tokio::test]
    async fn a_worker_that_is_asked_to_end_removes_nothing_more() {
        let (_, tenants, ctx) = services();
        let deletion = tenants.delete(&ctx, "acme", CarriedOutBy::Worker).await.unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(tenants.carry_out(deletion.id, &stop).await.unwrap().finished_at.is_none());
    }
}
