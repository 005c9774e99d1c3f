//! The users met on a page, each once.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::record::{UserRecord, UserRef};

use super::model::User;

/// Collects users while a page is mapped. Of two logins of a user, the later mentioned one stays.
#[derive(Debug, Default)]
pub(super) struct People {
    met: BTreeMap<u64, UserRecord>,
    as_of: Option<DateTime<Utc>>,
}

impl People {
    /// Says how old the mentions are that follow; `None` for what GitHub says of users now.
    pub(super) fn mentioned_at(&mut self, as_of: Option<DateTime<Utc>>) {
        self.as_of = as_of;
    }

    /// Notes a user and returns how others refer to them. `None` for a deleted account.
    pub(super) fn meet(&mut self, user: Option<&User<'_>>) -> Option<UserRef> {
        let user = user?;
        let source_id = user.id.to_string();
        let record = UserRecord {
            source_id: source_id.clone(),
            login: user.login.to_string(),
            name: None,
            kind: match user.kind.as_ref().map(AsRef::as_ref) {
                Some("Bot") => "bot",
                Some("Organization") => "group",
                _ => "person",
            },
            as_of: self.as_of,
        };
        self.note(user.id, record);
        Some(UserRef { source_id, name: user.login.to_string() })
    }

    fn note(&mut self, id: u64, record: UserRecord) {
        let known = self.met.entry(id).or_insert_with(|| record.clone());
        let later = match (record.as_of, known.as_of) {
            (None, Some(_)) => true,
            (Some(new), Some(old)) => new > old,
            (_, None) => false,
        };
        if later {
            *known = record;
        }
    }

    pub(super) fn extend(&mut self, others: Self) {
        for (id, record) in others.met {
            self.note(id, record);
        }
    }

    pub(super) fn into_records(self) -> Vec<UserRecord> {
        self.met.into_values().collect()
    }
}
