//! What tenants let assistants do.

use std::sync::Arc;

use async_trait::async_trait;
use domain::JiraPolicy;

use super::{Memory, moment};
use crate::Ctx;
use crate::ports::{PolicyStore, ReplacedPolicy, StoreError, TenantPolicy};

#[async_trait]
impl PolicyStore for Memory {
    async fn find(&self, ctx: &Ctx) -> Result<TenantPolicy, StoreError> {
        self.reach("policy.find").await?;
        Ok(self.state().policies.get(&ctx.tenant).cloned().unwrap_or_default())
    }

    async fn current(&self, ctx: &Ctx) -> Result<Arc<TenantPolicy>, StoreError> {
        Ok(Arc::new(PolicyStore::find(self, ctx).await?))
    }

    async fn replace(
        &self,
        ctx: &Ctx,
        jira: &JiraPolicy,
        if_version: Option<i32>,
    ) -> Result<ReplacedPolicy, StoreError> {
        self.reach("policy.replace").await?;
        let version = PolicyStore::find(self, ctx).await?.version;
        if if_version.is_some_and(|expected| expected != version) {
            return Ok(ReplacedPolicy::Stale { version });
        }
        let policy = TenantPolicy { jira: jira.clone(), version: version + 1, updated_at: Some(moment()) };
        self.state().policies.insert(ctx.tenant, policy.clone());
        Ok(ReplacedPolicy::Stored(policy))
    }
}
