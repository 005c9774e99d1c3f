use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::InstanceId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoreError;
use crate::Ctx;

/// A place in the order in which the synced copy changes. Everything before it was told, everything behind it was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangePosition {
    /// The transaction.
    pub transaction: i64,
    /// The item within it.
    pub id: Uuid,
}

/// What happened to an item of the synced copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It was not there before.
    Created,
    /// It is not what it was.
    Updated,
    /// It is gone at the tracker.
    Deleted,
}

/// A changed item, as it is now: of several changes the last is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemChange {
    /// Its key.
    pub key: String,
    /// What happened.
    pub kind: ChangeKind,
    /// When the synced copy learned of it.
    pub at: DateTime<Utc>,
    /// When it was changed by the tracker's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<DateTime<Utc>>,
    /// Its project.
    pub project: String,
}

/// One page of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePage {
    /// In the order in which they took place.
    pub changes: Vec<ItemChange>,
    /// Where to go on.
    pub next: ChangePosition,
    /// Whether there are more already.
    pub more: bool,
}

/// Where an item of the synced copy stands in the order of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemPosition {
    /// Its instance.
    pub instance: InstanceId,
    /// Its key.
    pub key: String,
    /// Its project.
    pub project: String,
    /// The transaction that changed it last.
    pub changed_in: i64,
}

/// The order in which the synced copy changes.
#[async_trait]
pub trait ChangeStore: Send + Sync {
    /// The place behind all that is complete now.
    async fn now(&self, ctx: &Ctx) -> Result<ChangePosition, StoreError>;

    /// What changed behind a position, at most `limit`, of these projects or of all. Told is only what no unfinished
    /// transaction can come before any more: a change that commits late is told later, never skipped. `None` when the
    /// position lies ahead of this database, which was put back since.
    async fn since(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        projects: Option<&BTreeSet<String>>,
        after: ChangePosition,
        limit: usize,
    ) -> Result<Option<ChangePage>, StoreError>;

    /// Where the items of these keys stand now. Deleted ones are among them; those that are not here are not.
    async fn positions(
        &self,
        ctx: &Ctx,
        items: &[(InstanceId, String)],
    ) -> Result<Vec<ItemPosition>, StoreError>;
}
