//! The users met on a page, each once.

use std::collections::BTreeMap;

use domain::record::{UserRecord, UserRef};

use super::model::Named;

/// Collects users while a page is mapped. Asana tells everyone's name of today.
#[derive(Debug, Default)]
pub(super) struct People(BTreeMap<String, UserRecord>);

impl People {
    /// Notes a user and returns how others refer to them.
    pub(super) fn meet(&mut self, user: Option<&Named>) -> Option<UserRef> {
        let user = user?;
        if user.name.is_empty() {
            // A deleted user, or one whose name the token may not see.
            return Some(UserRef { source_id: user.gid.clone(), name: user.gid.clone() });
        }
        self.0.entry(user.gid.clone()).or_insert_with(|| UserRecord {
            source_id: user.gid.clone(),
            login: user.name.clone(),
            name: Some(user.name.clone()),
            kind: "person",
            as_of: None,
        });
        Some(UserRef { source_id: user.gid.clone(), name: user.name.clone() })
    }

    pub(super) fn into_records(self) -> Vec<UserRecord> {
        self.0.into_values().collect()
    }
}
