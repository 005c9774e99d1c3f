//! The order in which the synced copy changes: nothing does, in memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::InstanceId;
use uuid::Uuid;

use super::Memory;
use crate::Ctx;
use crate::ports::{ChangePage, ChangePosition, ChangeStore, StoreError};

const HERE: ChangePosition = ChangePosition { transaction: 1, id: Uuid::nil() };

#[async_trait]
impl ChangeStore for Memory {
    async fn now(&self, _: &Ctx) -> Result<ChangePosition, StoreError> {
        self.reach("changes.now").await?;
        Ok(HERE)
    }

    async fn since(
        &self,
        _: &Ctx,
        _: InstanceId,
        _: Option<&BTreeSet<String>>,
        after: ChangePosition,
        _: usize,
    ) -> Result<Option<ChangePage>, StoreError> {
        self.reach("changes.since").await?;
        Ok((after <= HERE).then(|| ChangePage { changes: Vec::new(), next: HERE, more: false }))
    }
}
