//! How instances' words are read.

use async_trait::async_trait;
use domain::{InstanceId, Mappings};

use super::Memory;
use crate::Ctx;
use crate::ports::{MappingStore, StoreError};

#[async_trait]
impl MappingStore for Memory {
    async fn find(&self, _: &Ctx, _: InstanceId) -> Result<Mappings, StoreError> {
        self.reach("mappings.find").await?;
        Ok(Mappings::default())
    }
}
