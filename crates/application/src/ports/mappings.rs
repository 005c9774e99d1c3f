use async_trait::async_trait;
use domain::{InstanceId, Mappings};

use super::StoreError;
use crate::Ctx;

/// How instances' words are read.
#[async_trait]
pub trait MappingStore: Send + Sync {
    /// The instance's mappings; the default ones when it has none of its own or does not exist.
    async fn find(&self, ctx: &Ctx, instance: InstanceId) -> Result<Mappings, StoreError>;
}
