//! Doing jobs: hands each kind to the service it belongs to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::ports::{Clock, Job, JobHandler, JobOutcome, JobQueue};
use crate::slots::Slots;
use crate::sync::SyncEngine;
use crate::tenants::TenantService;
use crate::webhooks::HintApplier;

/// When a deletion is looked at again whose tenant still had something running.
const NEXT_LOOK: Duration = Duration::from_secs(15);

/// What a worker does.
pub struct Jobs {
    engine: Arc<SyncEngine>,
    hints: Arc<HintApplier>,
    tenants: Arc<TenantService>,
    queue: Arc<dyn JobQueue>,
    clock: Arc<dyn Clock>,
    slots: Arc<Slots>,
}

impl Jobs {
    /// Puts it together.
    pub fn new(
        engine: Arc<SyncEngine>,
        hints: Arc<HintApplier>,
        tenants: Arc<TenantService>,
        queue: Arc<dyn JobQueue>,
        clock: Arc<dyn Clock>,
        slots: Arc<Slots>,
    ) -> Self {
        Self { engine, hints, tenants, queue, clock, slots }
    }

    /// The slots of this process's worker.
    pub fn slots(&self) -> Arc<Slots> {
        self.slots.clone()
    }

    async fn delete_tenant(&self, deletion: uuid::Uuid, stop: &CancellationToken) -> JobOutcome {
        match self.tenants.carry_out(deletion, stop).await {
            Ok(state) if state.finished_at.is_some() => JobOutcome::Done,
            Ok(_) => {
                // Asked to end, or something of the tenant still runs: the next attempt goes on from there.
                let at = self.clock.now() + if stop.is_cancelled() { Duration::ZERO } else { NEXT_LOOK };
                match self.queue.enqueue(&Job::DeleteTenant { deletion }, Some(at)).await {
                    Ok(()) => JobOutcome::Done,
                    Err(error) => JobOutcome::Retry(error.to_string()),
                }
            }
            Err(error) => JobOutcome::Retry(error.to_string()),
        }
    }
}

#[async_trait]
impl JobHandler for Jobs {
    async fn handle(&self, job: Job, stop: CancellationToken) -> JobOutcome {
        let _slot = self.slots.take();
        match job {
            Job::ApplyHints { tenant, instance, retry } => {
                let span =
                    tracing::info_span!("job.apply_hints", tenant.id = %tenant, instance.id = %instance);
                self.hints.handle(tenant, instance, retry, &stop).instrument(span).await
            }
            Job::SyncSlice { .. } => self.engine.handle(job, stop).await,
            Job::DeleteTenant { deletion } => {
                let span = tracing::info_span!("job.delete_tenant", deletion.id = %deletion);
                self.delete_tenant(deletion, &stop).instrument(span).await
            }
        }
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Jobs")
    }
}
