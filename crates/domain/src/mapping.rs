//! How an instance's own words are read: which status means done, which type is a bug, which field holds story points.
//!
//! Adapters map by default rules. An instance's mappings come after them and win. They are data, and what is stored can
//! be mapped anew from the objects as received.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::{ItemDefaults, ItemRecord, TransitionRecord};
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

impl FieldRole {
    /// Every role.
    pub const ALL: [Self; 7] = [
        Self::StoryPoints,
        Self::StartOn,
        Self::DueOn,
        Self::Status,
        Self::Priority,
        Self::Type,
        Self::Sprint,
    ];

    /// The stored and served name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StoryPoints => "story_points",
            Self::StartOn => "start_on",
            Self::DueOn => "due_on",
            Self::Status => "status",
            Self::Priority => "priority",
            Self::Type => "type",
            Self::Sprint => "sprint",
        }
    }

    /// Reads a stored name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
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

    /// Maps a page anew, after the adapter did by default, and keeps what it said. Safe to repeat.
    pub fn apply(&self, records: &mut PageRecords) {
        if self.is_default() {
            return;
        }
        let PageRecords { items, transitions, item_defaults, transition_defaults, .. } = records;
        for item in items {
            let before = ItemDefaults {
                status: item.status_norm,
                item_type: item.type_norm,
                priority: item.priority_norm,
            };
            if self.apply_to_item(item) {
                item_defaults.entry(item.source_id.clone()).or_insert(before);
            }
        }
        for transition in transitions {
            let before = (transition.from_norm, transition.to_norm);
            if self.apply_to_transition(transition) {
                transition_defaults.entry(transition.source_id.clone()).or_insert(before);
            }
        }
    }

    /// Whether anything is said of it here.
    fn apply_to_item(&self, item: &mut ItemRecord) -> bool {
        let resolution = item.resolution_original.as_ref().and_then(|text| self.resolution.get(text));
        let status = resolution.or_else(|| self.status.get(&item.status_original));
        let item_type = self.item_type.get(&item.type_original);
        let priority = item.priority_original.as_ref().and_then(|text| self.priority.get(text));
        item.status_norm = status.copied().unwrap_or(item.status_norm);
        item.type_norm = item_type.copied().unwrap_or(item.type_norm);
        item.priority_norm = priority.copied().unwrap_or(item.priority_norm);
        status.is_some() || item_type.is_some() || priority.is_some()
    }

    fn apply_to_transition(&self, transition: &mut TransitionRecord) -> bool {
        let to = self.status.get(&transition.to_original);
        let from = transition.from_original.as_ref().and_then(|text| self.status.get(text));
        transition.to_norm = to.copied().unwrap_or(transition.to_norm);
        transition.from_norm = from.copied().or(transition.from_norm);
        to.is_some() || from.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> PageRecords {
        let transition = TransitionRecord {
            item_ref_key: "1".into(),
            source_id: "t".into(),
            at: chrono::DateTime::UNIX_EPOCH,
            actor: None,
            from_original: Some("open".into()),
            from_norm: Some(StatusNorm::Todo),
            to_original: "review".into(),
            to_norm: StatusNorm::Unknown,
        };
        PageRecords { transitions: vec![transition], ..PageRecords::default() }
    }

    #[test]
    fn what_is_mapped_keeps_what_the_adapter_said_however_often_it_is_mapped() {
        let mut records = page();
        for norm in [StatusNorm::InProgress, StatusNorm::Done] {
            let mappings = Mappings { status: [("review".to_owned(), norm)].into(), ..Mappings::default() };
            mappings.apply(&mut records);
            assert_eq!(records.transitions[0].to_norm, norm);
            let said = (Some(StatusNorm::Todo), StatusNorm::Unknown);
            assert_eq!(records.transition_defaults.get("t"), Some(&said));
        }
    }

    #[test]
    fn nothing_is_kept_of_what_no_mapping_speaks_of() {
        let mut records = page();
        let mappings =
            Mappings { status: [("closed".to_owned(), StatusNorm::Done)].into(), ..Mappings::default() };
        mappings.apply(&mut records);
        assert!(records.transition_defaults.is_empty());
        assert_eq!(records.transitions[0].to_norm, StatusNorm::Unknown);
    }

    #[test]
    fn every_role_is_read_by_the_name_it_is_written_with() {
        for role in FieldRole::ALL {
            assert_eq!(FieldRole::parse(role.as_str()), Some(role));
            assert_eq!(serde_json::to_value(role).ok(), Some(role.as_str().into()));
        }
    }
}
