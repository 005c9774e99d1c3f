//! Jira's objects as far as they are read. What is optional anywhere is optional here.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::fields::Noted;
use super::time::Time;

/// An issue with its fields unread.
#[derive(Debug, Deserialize)]
pub(super) struct Issue<'a> {
    pub(super) id: String,
    pub(super) key: String,
    #[serde(rename = "self")]
    pub(super) self_url: Option<String>,
    #[serde(borrow, default)]
    pub(super) fields: BTreeMap<FieldId<'a>, &'a RawValue>,
    #[serde(borrow)]
    pub(super) changelog: Option<&'a RawValue>,
    /// What was noted beside the object when it was received.
    pub(super) patchbay: Option<Noted>,
}

/// The id of a field, as it stands in what was received.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct FieldId<'a>(#[serde(borrow)] Cow<'a, str>);

impl Borrow<str> for FieldId<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'a> Issue<'a> {
    /// A field that is there and not null.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.get(name).copied().filter(|value| value.get() != "null")
    }

    /// A field in the form it should have; `None` when it is absent, null or something else.
    pub(super) fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.raw(name)?.get()).ok()
    }

    /// A field without which the issue cannot be kept.
    pub(super) fn need<T: DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        let raw = self.raw(name).ok_or_else(|| format!("`{name}` is missing"))?;
        serde_json::from_str(raw.get())
            .map_err(|error| format!("`{name}` is not what it should be ({error})"))
    }
}

/// Something with an id and a name: status, type, priority, version, component, resolution.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Named {
    #[serde(default, deserialize_with = "text_or_number")]
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) key: Option<String>,
    /// Of a status.
    pub(super) status_category: Option<Box<Named>>,
    /// Of an issue type.
    pub(super) subtask: Option<bool>,
    pub(super) hierarchy_level: Option<i32>,
}

/// Ids are text in most places and numbers in some; what is neither is none.
pub(super) fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Id;

    impl<'de> Visitor<'de> for Id {
        type Value = Option<String>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("an id")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(text.to_owned()))
        }

        fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
            Ok(Some(text))
        }

        fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
            Ok(Some(number.to_string()))
        }

        fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
            Ok(Some(number.to_string()))
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<Self::Value, A::Error> {
            IgnoredAny.visit_seq(values).map(|_| None)
        }

        fn visit_map<A: MapAccess<'de>>(self, values: A) -> Result<Self::Value, A::Error> {
            IgnoredAny.visit_map(values).map(|_| None)
        }
    }

    deserializer.deserialize_any(Id)
}

/// A person: Cloud knows them by account id, Data Center by key.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub(super) account_id: Option<String>,
    pub(super) key: Option<String>,
    pub(super) name: Option<String>,
    pub(super) display_name: Option<String>,
    pub(super) account_type: Option<String>,
    pub(super) email_address: Option<String>,
}

impl User {
    /// Whether both are the same person: by account id on Cloud, by key or login on Data Center.
    pub(super) fn is(&self, other: &Self) -> bool {
        let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
        same(&self.account_id, &other.account_id)
            || same(&self.key, &other.key)
            || same(&self.name, &other.name)
    }
}

/// A file of an issue. The address of its content is left out: it is made of the id, and never taken from an answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    #[serde(default, deserialize_with = "text_or_number")]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) filename: String,
    pub(super) mime_type: Option<String>,
    pub(super) size: Option<i64>,
    pub(super) created: Option<Time>,
    pub(super) author: Option<User>,
}

/// The other end of a link, or a parent.
#[derive(Debug, Deserialize)]
pub(super) struct LinkedIssue {
    #[serde(default, deserialize_with = "text_or_number")]
    pub(super) id: Option<String>,
    pub(super) key: Option<String>,
}

/// An entry of `issuelinks`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IssueLink {
    #[serde(default, deserialize_with = "text_or_number")]
    pub(super) id: Option<String>,
    #[serde(rename = "type")]
    pub(super) link_type: LinkType,
    pub(super) inward_issue: Option<LinkedIssue>,
    pub(super) outward_issue: Option<LinkedIssue>,
}

/// What a link says, from either end.
#[derive(Debug, Deserialize)]
pub(super) struct LinkType {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) inward: String,
    #[serde(default)]
    pub(super) outward: String,
}

/// A list inside of an issue, of which Jira gives a first part.
#[derive(Debug, Deserialize)]
pub(super) struct Part<'a> {
    /// Comments.
    #[serde(default, borrow)]
    pub(super) comments: Vec<&'a RawValue>,
    /// Or worklogs.
    #[serde(default, borrow)]
    pub(super) worklogs: Vec<&'a RawValue>,
    pub(super) total: Option<i64>,
}

/// A comment.
#[derive(Debug, Deserialize)]
pub(super) struct Comment<'a> {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    pub(super) author: Option<User>,
    #[serde(borrow)]
    pub(super) body: Option<&'a RawValue>,
    pub(super) created: Time,
    pub(super) updated: Option<Time>,
}

/// Time booked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Worklog<'a> {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    #[serde(default, deserialize_with = "text_or_number")]
    pub(super) issue_id: Option<String>,
    pub(super) author: Option<User>,
    #[serde(borrow)]
    pub(super) comment: Option<&'a RawValue>,
    pub(super) started: Time,
    pub(super) created: Option<Time>,
    pub(super) updated: Option<Time>,
    #[serde(default)]
    pub(super) time_spent_seconds: i64,
}

pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text_or_number(deserializer)?.ok_or_else(|| serde::de::Error::custom("`id` is missing"))
}

/// Several changes made at once.
#[derive(Debug, Deserialize)]
pub(super) struct History {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    pub(super) author: Option<User>,
    pub(super) created: Time,
    #[serde(default)]
    pub(super) items: Vec<HistoryItem>,
}

/// One change.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HistoryItem {
    #[serde(default)]
    pub(super) field: String,
    pub(super) field_id: Option<String>,
    #[serde(default, deserialize_with = "text_or_number")]
    pub(super) from: Option<String>,
    pub(super) from_string: Option<String>,
    #[serde(default, deserialize_with = "text_or_number")]
    pub(super) to: Option<String>,
    #[serde(rename = "toString")]
    pub(super) to_text: Option<String>,
}

/// A project with what belongs to it.
#[derive(Debug, Deserialize)]
pub(super) struct Project {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    pub(super) key: String,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) archived: bool,
    #[serde(default)]
    pub(super) deleted: bool,
    #[serde(default)]
    pub(super) versions: Vec<Version>,
}

/// A version, which is what Jira has for milestones.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) archived: bool,
    #[serde(default)]
    pub(super) released: bool,
    pub(super) start_date: Option<String>,
    pub(super) release_date: Option<String>,
}
