use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::JiraPolicy;

use super::StoreError;
use crate::Ctx;

/// A tenant's policy as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantPolicy {
    /// Of the Jira server.
    pub jira: JiraPolicy,
    /// Goes up with each change; 1 before there was any.
    pub version: i32,
    /// When it was changed last.
    pub updated_at: Option<DateTime<Utc>>,
}

impl Default for TenantPolicy {
    fn default() -> Self {
        Self { jira: JiraPolicy::default(), version: 1, updated_at: None }
    }
}

/// What came of replacing a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplacedPolicy {
    /// Somebody else replaced it meanwhile; this is its version.
    Stale {
        /// It.
        version: i32,
    },
    /// It is stored, as this.
    Stored(TenantPolicy),
}

/// What tenants let assistants do.
#[async_trait]
pub trait PolicyStore: Send + Sync {
    /// The tenant's policy as it is stored; the default when it has none.
    async fn find(&self, ctx: &Ctx) -> Result<TenantPolicy, StoreError>;

    /// The same, as it was at most 3 s before: for every call of a tool.
    async fn current(&self, ctx: &Ctx) -> Result<Arc<TenantPolicy>, StoreError>;

    /// Replaces it as a whole, with the audit record in one transaction. With `if_version` only when it still has that
    /// version.
    async fn replace(
        &self,
        ctx: &Ctx,
        jira: &JiraPolicy,
        if_version: Option<i32>,
    ) -> Result<ReplacedPolicy, StoreError>;
}
