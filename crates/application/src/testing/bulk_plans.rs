//! Plans of changes of several items.

use async_trait::async_trait;
use uuid::Uuid;

use super::Memory;
use crate::Ctx;
use crate::ports::{BulkPlan, BulkPlanStore, StoreError};

#[async_trait]
impl BulkPlanStore for Memory {
    async fn insert(&self, ctx: &Ctx, plan: &BulkPlan) -> Result<(), StoreError> {
        self.reach("bulk_plans.insert").await?;
        self.state().plans.push((ctx.tenant, ctx.principal.id(), plan.clone()));
        Ok(())
    }

    async fn find(&self, ctx: &Ctx, id: Uuid) -> Result<Option<BulkPlan>, StoreError> {
        self.reach("bulk_plans.find").await?;
        let own = (ctx.tenant, ctx.principal.id());
        let state = self.state();
        let found = state.plans.iter().find(|(tenant, who, plan)| (*tenant, *who) == own && plan.id == id);
        Ok(found.map(|(.., plan)| plan.clone()))
    }

    async fn note_done(&self, ctx: &Ctx, id: Uuid, keys: &[String]) -> Result<(), StoreError> {
        self.reach("bulk_plans.note_done").await?;
        let own = (ctx.tenant, ctx.principal.id());
        let mut state = self.state();
        let found =
            state.plans.iter_mut().find(|(tenant, who, plan)| (*tenant, *who) == own && plan.id == id);
        found.into_iter().for_each(|(.., plan)| plan.done.extend(keys.iter().cloned()));
        Ok(())
    }
}
