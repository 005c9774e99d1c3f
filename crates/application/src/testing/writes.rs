//! Intents of writes to trackers. Their leases run out by tokio's clock.

use std::time::Duration;

use async_trait::async_trait;
use domain::TenantId;
use tokio::time::Instant;
use uuid::Uuid;

use super::Memory;
use crate::Ctx;
use crate::ports::{ClaimedWrite, HeldWrite, Outcome, StoreError, Write, WriteIntentStore};

#[derive(Debug)]
pub(super) struct StoredWrite {
    tenant: TenantId,
    principal: Option<Uuid>,
    write: Write,
    held: HeldWrite,
    over_at: Instant,
    outcome: Option<Outcome>,
}

impl Memory {
    fn with_write<T>(&self, held: &HeldWrite, change: impl FnOnce(&mut StoredWrite) -> T) -> Option<T> {
        let mut state = self.state();
        let mut open = state.writes.iter_mut().filter(|row| row.outcome.is_none());
        open.find(|row| (row.held.id, row.held.owner) == (held.id, held.owner)).map(change)
    }
}

#[async_trait]
impl WriteIntentStore for Memory {
    async fn claim(
        &self,
        ctx: &Ctx,
        write: &Write,
        id: Uuid,
        owner: Uuid,
        lease: Duration,
    ) -> Result<ClaimedWrite, StoreError> {
        self.reach("writes.claim").await?;
        let now = Instant::now();
        let principal = ctx.principal.id();
        let mut state = self.state();
        let same = |row: &StoredWrite| {
            (row.tenant, row.principal) == (ctx.tenant, principal)
                && (&row.write.operation, &row.write.key) == (&write.operation, &write.key)
        };
        state.writes.retain(|row| {
            let refused = matches!(row.outcome, Some(Err(_)));
            !(same(row) && refused && row.write.fingerprint != write.fingerprint)
        });
        let known = state.writes.iter_mut().find(|row| same(row));
        let Some(row) = known else {
            let held = HeldWrite {
                id,
                instance: write.instance,
                operation: write.operation.clone(),
                owner,
                marker: format!("patchbay-{}", id.simple()),
                until: now + lease,
            };
            state.writes.push(StoredWrite {
                tenant: ctx.tenant,
                principal,
                write: write.clone(),
                held: held.clone(),
                over_at: held.until,
                outcome: None,
            });
            return Ok(ClaimedWrite::Fresh(held));
        };
        if row.write.fingerprint != write.fingerprint {
            return Ok(ClaimedWrite::Mismatch);
        }
        if let Some(outcome) = &row.outcome {
            return Ok(ClaimedWrite::Settled(outcome.clone()));
        }
        if row.held.until > now {
            return Ok(ClaimedWrite::InFlight { retry_after: Duration::from_secs(1) });
        }
        (row.held.owner, row.held.until) = (owner, now + lease);
        let over_for = now.saturating_duration_since(row.over_at);
        Ok(ClaimedWrite::Unknown { held: row.held.clone(), over_for })
    }

    async fn attempt(&self, _: &Ctx, held: HeldWrite, lease: Duration) -> Result<HeldWrite, StoreError> {
        self.reach("writes.attempt").await?;
        let until = Instant::now() + lease;
        let renewed = self.with_write(&held, |row| {
            (row.held.until, row.over_at) = (until, until);
            row.held.clone()
        });
        renewed.ok_or(StoreError::Fenced)
    }

    async fn settle(&self, _: &Ctx, held: &HeldWrite, outcome: &Outcome) -> Result<(), StoreError> {
        self.reach("writes.settle").await?;
        self.with_write(held, |row| row.outcome = Some(outcome.clone())).ok_or(StoreError::Fenced)
    }

    async fn let_go(&self, _: &Ctx, held: &HeldWrite, tried: bool) -> Result<(), StoreError> {
        self.reach("writes.let_go").await?;
        let now = Instant::now();
        self.with_write(held, |row| {
            row.held.until = now;
            if tried {
                row.over_at = now;
            }
        });
        Ok(())
    }

    async fn withdraw(&self, _: &Ctx, held: &HeldWrite) -> Result<(), StoreError> {
        self.reach("writes.withdraw").await?;
        let mine = |row: &StoredWrite| (row.held.id, row.held.owner) == (held.id, held.owner);
        self.state().writes.retain(|row| row.outcome.is_some() || !mine(row));
        Ok(())
    }
}
