//! How an instance's own words are read: which status means done, which type is a bug, which field holds story points.
//!
//! Adapters map by default rules. An instance's mappings come after them and win. They are data, and what is stored can
//! be mapped anew from the objects as received.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::{ItemRecord, TransitionRecord};
use crate::{PageRecords, PriorityNorm, StatusNorm, TypeNorm};

/// What a custom field stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldRole {
    /// A number: size in story points.
    StoryPoints,
    /// A day: when work begins.
    StartOn,
    /// A day: when it is due.
    DueOn,
    /// An option: the status.
    Status,
    /// An option: the priority.
    Priority,
    /// An option: the type.
    Type,
    /// Jira's sprint field; found by its schema where not mapped.
    Sprint,
}

/// The mappings of one instance; what is absent is mapped by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mappings {
    /// By the source's status.
    pub status: BTreeMap<String, StatusNorm>,
    /// By the source's reason for closing; wins over `status` for items that have one.
    pub resolution: BTreeMap<String, StatusNorm>,
    /// By the source's type.
    #[serde(rename = "type")]
    pub item_type: BTreeMap<String, TypeNorm>,
    /// By the source's priority.
    pub priority: BTreeMap<String, PriorityNorm>,
    /// By the field's id at the source.
    pub fields: BTreeMap<String, FieldRole>,
}

impl Mappings {
    /// Whether everything is mapped by default.
    pub fn is_default(&self) -> bool {
        self == &Self::default()
    }

    /// The field that has been given a role.
    pub fn field(&self, role: FieldRole) -> Option<&str> {
        self.fields.iter().find(|(_, found)| **found == role).map(|(id, _)| id.as_str())
    }

    /// Maps a page anew, after the adapter did by default.
    pub fn apply(&self, records: &mut PageRecords) {
        if self.is_default() {
            return;
        }
        records.items.iter_mut().for_each(|item| self.apply_to_item(item));
        records.transitions.iter_mut().for_each(|transition| self.apply_to_transition(transition));
    }

    fn apply_to_item(&self, item: &mut ItemRecord) {
        let resolution = item.resolution_original.as_ref().and_then(|text| self.resolution.get(text));
        if let Some(&status) = resolution.or_else(|| self.status.get(&item.status_original)) {
            item.status_norm = status;
        }
        if let Some(&item_type) = self.item_type.get(&item.type_original) {
            item.type_norm = item_type;
        }
        let priority = item.priority_original.as_ref().and_then(|text| self.priority.get(text));
        if let Some(&priority) = priority {
            item.priority_norm = priority;
        }
    }

    fn apply_to_transition(&self, transition: &mut TransitionRecord) {
        if let Some(&to) = self.status.get(&transition.to_original) {
            transition.to_norm = to;
        }
        if let Some(&from) = transition.from_original.as_ref().and_then(|text| self.status.get(text)) {
            transition.from_norm = Some(from);
        }
    }
}
