//! The order in which the synced copy changes: nothing does, in memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::InstanceId;
use uuid::Uuid;

use super::Memory;
use crate::Ctx;
use crate::ports::{ChangePage, ChangePosition, ChangeStore, ItemPosition, StoreError};

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

    async fn positions(
        &self,
        ctx: &Ctx,
        items: &[(InstanceId, String)],
    ) -> Result<Vec<ItemPosition>, StoreError> {
        self.reach("changes.positions").await?;
        let state = self.state();
        let mine = state.items.iter().filter(|(tenant, _)| *tenant == ctx.tenant).map(|(_, item)| item);
        let asked = mine.filter(|item| {
            items.iter().any(|(instance, key)| *instance == item.instance_id && *key == item.source_key)
        });
        // Nothing changes by itself here: an item stands where its own clock says.
        Ok(asked
            .map(|item| ItemPosition {
                instance: item.instance_id,
                key: item.source_key.clone(),
                project: item.project_key.clone(),
                changed_in: item.updated_at.timestamp_micros(),
            })
            .collect())
    }
}
