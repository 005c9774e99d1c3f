//! What hangs on no single repository: relations between issues, webhooks, apps, and what tokens may not do.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::apps::App;
use super::hooks::{Delivery, Hook};

/// Repository id and number.
pub(crate) type Place = (u64, u64);

#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// Child → parent.
    pub(crate) parents: BTreeMap<Place, Place>,
    /// What is blocked, and by what.
    pub(crate) blocked_by: BTreeSet<(Place, Place)>,
    /// Tokens that may open issues but not push.
    pub(crate) read_only: HashSet<String>,
    pub(crate) apps: Vec<App>,
    /// When installation tokens expire.
    pub(crate) expiry_ms: HashMap<String, i64>,
    pub(crate) issued: u64,
    pub(crate) hooks: Vec<Hook>,
    /// Newest last.
    pub(crate) deliveries: Vec<Delivery>,
    /// Deliveries to be sent, by id.
    pub(crate) outbox: Vec<u64>,
    pub(crate) next_id: u64,
}

impl Extras {
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        7_000_000 + self.next_id
    }
}

/// Types of issues that every organization has.
pub(super) const TYPES: [&str; 3] = ["Task", "Bug", "Feature"];

pub(super) fn issue_type(name: &str) -> Option<Value> {
    let at = TYPES.iter().position(|known| known.eq_ignore_ascii_case(name))?;
    let id = 500 + at;
    Some(serde_json::json!({
        "id": id, "node_id": format!("IT_kwDO{id:08x}"), "name": TYPES[at], "description": null, "color": "blue",
        "created_at": "2024-12-11T14:39:09Z", "updated_at": "2024-12-11T14:39:09Z", "is_enabled": true
    }))
}
