//! An issue with everything below it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::time;

/// An issue. Its fields hold objects as received (real data) or ids that are looked up when it is
/// shown (`"status": "10001"`, `"assignee": "<account id>"`, `"parent": "10007"`).
#[derive(Debug, Clone)]
pub(crate) struct Issue {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    /// What it was before, for a search whose index is behind.
    pub(crate) before: Option<i64>,
    /// When it last changed by the site's own clock; 0 for data that was there from the start.
    pub(crate) changed: i64,
    pub(crate) fields: Map<String, Value>,
    pub(crate) comments: Vec<Entry>,
    pub(crate) worklogs: Vec<Entry>,
    /// Oldest first.
    pub(crate) histories: Vec<Value>,
    pub(crate) remote_links: Vec<Value>,
    pub(crate) properties: BTreeMap<String, Value>,
    /// By the ids of the catalog.
    pub(crate) watchers: BTreeSet<String>,
}

/// A comment or worklog.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) updated: i64,
    /// `author` and `updateAuthor` are objects or ids; texts are as the site stores them.
    pub(crate) value: Value,
}

impl Entry {
    /// `None` when it has no number as id.
    pub(crate) fn new(value: Value) -> Option<Self> {
        let id = id_of(&value)?.parse().ok()?;
        let updated = value["updated"].as_str().or(value["created"].as_str());
        Some(Self { id, updated: updated.and_then(time::parse).unwrap_or_default(), value })
    }
}

impl Issue {
    pub(crate) fn new(id: u64, key: &str, fields: Map<String, Value>) -> Self {
        let at =
            |name: &str| fields.get(name).and_then(Value::as_str).and_then(time::parse).unwrap_or_default();
        Self {
            id,
            key: key.to_owned(),
            created: at("created"),
            updated: at("updated"),
            before: None,
            changed: 0,
            fields,
            comments: Vec::new(),
            worklogs: Vec::new(),
            histories: Vec::new(),
            remote_links: Vec::new(),
            properties: BTreeMap::new(),
            watchers: BTreeSet::new(),
        }
    }

    pub(crate) fn touch(&mut self, at: i64) {
        self.before = (self.changed != 0 || self.created < at).then_some(self.updated);
        self.updated = at;
        self.changed = at;
        self.fields.insert("updated".into(), json!(time::iso(at)));
    }

    pub(crate) fn get(&self, field: &str) -> &Value {
        self.fields.get(field).unwrap_or(&Value::Null)
    }

    /// The id in a reference field, whether it holds an object or the id itself.
    pub(crate) fn reference(&self, field: &str) -> Option<String> {
        id_of(self.get(field))
    }

    pub(crate) fn array(&self, field: &str) -> &[Value] {
        self.get(field).as_array().map_or(&[], Vec::as_slice)
    }

    /// The key's project part and number.
    pub(crate) fn key_parts(&self) -> (&str, u64) {
        let (project, number) = self.key.rsplit_once('-').unwrap_or((&self.key, "0"));
        (project, number.parse().unwrap_or_default())
    }

    pub(crate) fn total_time_spent(&self) -> i64 {
        self.worklogs.iter().filter_map(|entry| entry.value["timeSpentSeconds"].as_i64()).sum()
    }
}

/// The id of a reference: a string or number itself, or an object's `id`, `accountId` or `key`.
pub(crate) fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(object) => {
            ["accountId", "id", "key", "name"].iter().find_map(|name| object.get(*name)).and_then(id_of)
        }
        _ => None,
    }
}
