//! The people met on a page, each once.

use std::collections::BTreeMap;

use domain::record::{UserRecord, UserRef};

use super::model::User;

/// Collects people while a page is mapped.
#[derive(Debug, Default)]
pub(super) struct People(BTreeMap<String, UserRecord>);

impl People {
    /// Notes a person and returns how others refer to them. `None` for someone without id, as after an anonymization.
    pub(super) fn meet(&mut self, user: Option<&User>) -> Option<UserRef> {
        let user = user?;
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let source_id = given(&user.account_id).or_else(|| given(&user.key)).or_else(|| given(&user.name))?;
        let name =
            given(&user.display_name).or_else(|| given(&user.name)).unwrap_or_else(|| source_id.clone());
        if !self.0.contains_key(&source_id) {
            self.0.insert(
                source_id.clone(),
                UserRecord {
                    source_id: source_id.clone(),
                    login: given(&user.name).unwrap_or_else(|| name.clone()),
                    name: Some(name.clone()),
                    kind: if user.account_type.as_deref() == Some("app") { "bot" } else { "person" },
                    as_of: None,
                },
            );
        }
        Some(UserRef { source_id, name })
    }

    /// Adds those who were met elsewhere.
    pub(super) fn append(&mut self, other: Self) {
        for (source_id, person) in other.0 {
            self.0.entry(source_id).or_insert(person);
        }
    }

    pub(super) fn into_records(self) -> Vec<UserRecord> {
        self.0.into_values().collect()
    }
}
