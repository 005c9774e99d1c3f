//! Requests with an idempotency key. What a released request wrote stays: only a database can undo it.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use domain::TenantId;
use uuid::Uuid;

use super::Memory;
use crate::Ctx;
use crate::ctx::UnitOfWork;
use crate::ports::{Claimed, IdempotencyKey, IdempotencyStore, StoreError, StoredAnswer};

#[derive(Debug)]
pub(super) struct KeptAnswer {
    tenant: TenantId,
    principal: Option<Uuid>,
    key: IdempotencyKey,
    /// `None` while the request is being served.
    answer: Option<StoredAnswer>,
}

impl KeptAnswer {
    fn is(&self, ctx: &Ctx, key: &IdempotencyKey) -> bool {
        (self.tenant, self.principal) == (ctx.tenant, ctx.principal.id())
            && (&self.key.route, &self.key.key) == (&key.route, &key.key)
    }
}

/// Frees its key when it is dropped unsettled.
#[derive(Debug)]
struct MemoryUnit {
    memory: Weak<Memory>,
    ctx: Ctx,
    key: IdempotencyKey,
    settled: AtomicBool,
}

impl UnitOfWork for MemoryUnit {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn abandon(&self) {
        if !self.settled.swap(true, Ordering::SeqCst)
            && let Some(memory) = self.memory.upgrade()
        {
            memory.state().answers.retain(|kept| kept.answer.is_some() || !kept.is(&self.ctx, &self.key));
        }
    }
}

impl Drop for MemoryUnit {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// [`Memory`] as a store of keys: units point back at what they were made by.
#[derive(Debug, Clone)]
pub(super) struct Keys(pub(super) Arc<Memory>);

#[async_trait]
impl IdempotencyStore for Keys {
    async fn claim(&self, ctx: &Ctx, key: &IdempotencyKey) -> Result<Claimed, StoreError> {
        self.0.reach("idempotency.claim").await?;
        let mut state = self.0.state();
        if let Some(kept) = state.answers.iter().find(|kept| kept.is(ctx, key)) {
            return Ok(match &kept.answer {
                _ if kept.key.fingerprint != key.fingerprint => Claimed::Mismatch,
                Some(answer) => Claimed::Done(answer.clone()),
                None => Claimed::InFlight { retry_after: Duration::from_secs(1) },
            });
        }
        let (tenant, principal) = (ctx.tenant, ctx.principal.id());
        state.answers.push(KeptAnswer { tenant, principal, key: key.clone(), answer: None });
        Ok(Claimed::Fresh(Arc::new(MemoryUnit {
            memory: Arc::downgrade(&self.0),
            ctx: ctx.detached(),
            key: key.clone(),
            settled: AtomicBool::new(false),
        })))
    }

    async fn finish(
        &self,
        ctx: &Ctx,
        key: &IdempotencyKey,
        unit: &Arc<dyn UnitOfWork>,
        answer: &StoredAnswer,
    ) -> Result<(), StoreError> {
        self.0.reach("idempotency.finish").await?;
        let mut state = self.0.state();
        let kept = state.answers.iter_mut().find(|kept| kept.is(ctx, key));
        kept.ok_or(StoreError::Fenced)?.answer = Some(answer.clone());
        if let Some(unit) = unit.as_any().downcast_ref::<MemoryUnit>() {
            unit.settled.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    async fn release(
        &self,
        _: &Ctx,
        _: &IdempotencyKey,
        unit: &Arc<dyn UnitOfWork>,
    ) -> Result<(), StoreError> {
        self.0.reach("idempotency.release").await?;
        unit.abandon();
        Ok(())
    }
}
