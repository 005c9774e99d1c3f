//! The users met on a page, each once.

use std::collections::BTreeMap;

use domain::record::{UserRecord, UserRef};

use super::model::User;

/// Collects users while a page is mapped.
#[derive(Debug, Default)]
pub(super) struct People(BTreeMap<u64, UserRecord>);

impl People {
    /// Notes a user and returns how others refer to them. `None` for a deleted account.
    pub(super) fn meet(&mut self, user: Option<&User<'_>>) -> Option<UserRef> {
        let user = user?;
        let record = self.0.entry(user.id).or_insert_with(|| UserRecord {
            source_id: user.id.to_string(),
            login: user.login.to_string(),
            name: None,
            kind: match user.kind.as_ref().map(AsRef::as_ref) {
                Some("Bot") => "bot",
                Some("Organization") => "group",
                _ => "person",
            },
        });
        Some(UserRef { source_id: record.source_id.clone(), name: user.login.to_string() })
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub(super) fn into_records(self) -> Vec<UserRecord> {
        self.0.into_values().collect()
    }
}
