//! The same change for several items: looked up, told, and made when it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{InstanceId, ItemPatch, ListChange, Transition};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{ItemWrite, StoreError};
use crate::Ctx;

/// What is done to each item.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BulkChange {
    /// Fields by name or id; with `to`, those that the transition asks for.
    pub fields: BTreeMap<String, Value>,
    /// Labels that come.
    pub add_labels: Vec<String>,
    /// Labels that go.
    pub remove_labels: Vec<String>,
    /// The status to get to.
    pub to: Option<String>,
}

impl BulkChange {
    /// The change of one item, unless it was changed by others after it was seen.
    pub fn of(&self, item: &PlannedItem) -> ItemWrite {
        let if_unchanged_since = Some(item.seen);
        let key = item.key.clone();
        if let Some(to) = &self.to {
            let (to, fields) = (to.clone(), self.fields.clone());
            let transition = Transition { to, fields, if_unchanged_since, ..Transition::default() };
            return ItemWrite::Transition(key, transition);
        }
        let (add, remove) = (self.add_labels.clone(), self.remove_labels.clone());
        let labels = (!add.is_empty() || !remove.is_empty()).then_some(ListChange::Edit { add, remove });
        let patch =
            ItemPatch { labels, fields: self.fields.clone(), if_unchanged_since, ..ItemPatch::default() };
        ItemWrite::Update(key, patch)
    }
}

/// An item as it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedItem {
    /// Its key.
    pub key: String,
    /// Its last change then, by the tracker's clock.
    pub seen: DateTime<Utc>,
}

/// A plan of somebody's.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkPlan {
    /// Its id, of which the keys of its writes are made.
    pub id: Uuid,
    /// Where the items are.
    pub instance: InstanceId,
    /// What is done to each.
    pub change: BulkChange,
    /// The items.
    pub items: Vec<PlannedItem>,
    /// The keys of those that were done.
    pub done: BTreeSet<String>,
    /// Until when it can be run.
    pub expires_at: DateTime<Utc>,
}

/// Plans until they expire, each for who made it.
#[async_trait]
pub trait BulkPlanStore: Send + Sync {
    /// Keeps a plan of the caller's.
    async fn insert(&self, ctx: &Ctx, plan: &BulkPlan) -> Result<(), StoreError>;

    /// A plan of the caller's own; `None` also for one that has expired.
    async fn find(&self, ctx: &Ctx, id: Uuid) -> Result<Option<BulkPlan>, StoreError>;

    /// Notes that these of its items were done, beside those that are noted.
    async fn note_done(&self, ctx: &Ctx, id: Uuid, keys: &[String]) -> Result<(), StoreError>;
}
