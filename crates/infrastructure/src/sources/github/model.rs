//! GitHub's objects as far as they are read, borrowing from the answer's text.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::super::repair::repaired;

/// Reads an object; without those of its parts that lack what GitHub promises of them, where it cannot be read with them.
/// What is then read borrows from `scratch`.
pub(super) fn read<'a, T: Deserialize<'a>>(
    raw: &'a str,
    scratch: &'a mut String,
) -> Result<T, serde_json::Error> {
    match serde_json::from_str(raw) {
        Ok(object) => Ok(object),
        Err(error) => {
            *scratch = repaired(raw, &["id", "login", "name", "number", "title"]).unwrap_or_default();
            serde_json::from_str(scratch).map_err(|_| error)
        }
    }
}

/// Text that is borrowed unless it holds escapes.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `2026-11-21T09:15:03Z`.
pub(super) type Time = DateTime<Utc>;

#[derive(Debug, Deserialize)]
pub(super) struct User<'a> {
    pub(super) id: u64,
    #[serde(borrow)]
    pub(super) login: Text<'a>,
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Option<Text<'a>>,
}

/// A label on an item: an object, or in old answers only its name.
#[derive(Debug)]
pub(super) struct ItemLabel<'a>(pub(super) Text<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for ItemLabel<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: &'de RawValue = Deserialize::deserialize(deserializer)?;
        let text = if raw.get().starts_with('"') {
            serde_json::from_str(raw.get())
        } else {
            serde_json::from_str::<Named<'_>>(raw.get()).map(|label| label.name)
        };
        text.map(Self).map_err(de::Error::custom)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Named<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ItemMilestone<'a> {
    pub(super) id: u64,
    #[serde(borrow)]
    pub(super) title: Text<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PullMark {
    pub(super) merged_at: Option<Time>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FieldValue<'a> {
    #[serde(borrow)]
    pub(super) issue_field_name: Option<Text<'a>>,
    #[serde(default)]
    pub(super) value: serde_json::Value,
    #[serde(borrow)]
    pub(super) single_select_option: Option<Named<'a>>,
}

/// An entry of the issues list: an issue, or a pull request in its issue form.
#[derive(Debug, Deserialize)]
pub(super) struct Issue<'a> {
    pub(super) id: u64,
    pub(super) number: u64,
    #[serde(borrow)]
    pub(super) title: Text<'a>,
    #[serde(borrow)]
    pub(super) body: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) user: Option<User<'a>>,
    #[serde(borrow, default)]
    pub(super) labels: Vec<ItemLabel<'a>>,
    #[serde(borrow)]
    pub(super) state: Text<'a>,
    #[serde(borrow)]
    pub(super) state_reason: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) assignees: Option<Vec<User<'a>>>,
    #[serde(borrow)]
    pub(super) milestone: Option<ItemMilestone<'a>>,
    pub(super) created_at: Time,
    pub(super) updated_at: Time,
    pub(super) closed_at: Option<Time>,
    #[serde(borrow)]
    pub(super) html_url: Text<'a>,
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Option<Named<'a>>,
    pub(super) pull_request: Option<PullMark>,
    #[serde(borrow)]
    pub(super) repository_url: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) parent_issue_url: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) issue_field_values: Option<Vec<FieldValue<'a>>>,
}

/// A comment of a conversation or on a line of code.
#[derive(Debug, Deserialize)]
pub(super) struct Comment<'a> {
    pub(super) id: u64,
    #[serde(borrow)]
    pub(super) user: Option<User<'a>>,
    #[serde(borrow)]
    pub(super) body: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) html_url: Text<'a>,
    #[serde(borrow)]
    pub(super) issue_url: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) pull_request_url: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) path: Option<Text<'a>>,
    pub(super) line: Option<u64>,
    pub(super) original_line: Option<u64>,
    pub(super) created_at: Time,
    pub(super) updated_at: Time,
}

#[derive(Debug, Deserialize)]
pub(super) struct Repository<'a> {
    pub(super) id: u64,
    #[serde(borrow)]
    pub(super) full_name: Text<'a>,
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) html_url: Text<'a>,
    #[serde(default)]
    pub(super) archived: bool,
    #[serde(borrow)]
    pub(super) owner: Option<User<'a>>,
    pub(super) has_issues: Option<bool>,
    pub(super) permissions: Option<Permissions>,
}

/// What the token may do in a repository.
#[derive(Debug, Deserialize)]
pub(super) struct Permissions {
    pub(super) push: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Label<'a> {
    pub(super) id: u64,
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) color: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) description: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Milestone<'a> {
    pub(super) id: u64,
    #[serde(borrow)]
    pub(super) title: Text<'a>,
    #[serde(borrow)]
    pub(super) description: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) state: Text<'a>,
    #[serde(borrow)]
    pub(super) html_url: Text<'a>,
    #[serde(borrow)]
    pub(super) creator: Option<User<'a>>,
    pub(super) due_on: Option<Time>,
    pub(super) created_at: Time,
    pub(super) updated_at: Time,
    pub(super) closed_at: Option<Time>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Branch<'a> {
    #[serde(borrow, rename = "ref")]
    pub(super) name: Text<'a>,
}

/// A pull request in full.
#[derive(Debug, Deserialize)]
pub(super) struct Pull<'a> {
    pub(super) id: u64,
    pub(super) draft: Option<bool>,
    #[serde(borrow)]
    pub(super) head: Branch<'a>,
    #[serde(borrow)]
    pub(super) base: Branch<'a>,
    pub(super) merged_at: Option<Time>,
    #[serde(borrow)]
    pub(super) merged_by: Option<User<'a>>,
    #[serde(borrow)]
    pub(super) merge_commit_sha: Option<Text<'a>>,
    pub(super) additions: Option<i64>,
    pub(super) deletions: Option<i64>,
    pub(super) review_comments: Option<u64>,
    pub(super) changed_files: Option<i64>,
    pub(super) commits: Option<i64>,
    #[serde(borrow)]
    pub(super) requested_reviewers: Option<Vec<User<'a>>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Review<'a> {
    pub(super) id: u64,
    #[serde(borrow)]
    pub(super) user: Option<User<'a>>,
    #[serde(borrow)]
    pub(super) body: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) state: Text<'a>,
    pub(super) submitted_at: Option<Time>,
}

/// What decides whether a timeline event is read at all.
#[derive(Debug, Deserialize)]
pub(super) struct EventHead<'a> {
    #[serde(borrow)]
    pub(super) event: Option<Text<'a>>,
    pub(super) id: Option<u64>,
}

/// A timeline event.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow)]
    pub(super) actor: Option<User<'a>>,
    pub(super) created_at: Time,
    #[serde(borrow)]
    pub(super) state_reason: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) label: Option<Named<'a>>,
    #[serde(borrow)]
    pub(super) assignee: Option<User<'a>>,
    #[serde(borrow)]
    pub(super) milestone: Option<Titled<'a>>,
    #[serde(borrow)]
    pub(super) rename: Option<Rename<'a>>,
    #[serde(borrow)]
    pub(super) lock_reason: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) requested_reviewer: Option<User<'a>>,
    #[serde(borrow)]
    pub(super) requested_team: Option<Named<'a>>,
    #[serde(borrow)]
    pub(super) issue_type: Option<Named<'a>>,
    #[serde(borrow)]
    pub(super) prev_issue_type: Option<Named<'a>>,
    #[serde(borrow)]
    pub(super) source: Option<EventSource<'a>>,
    #[serde(borrow)]
    pub(super) sub_issue: Option<OtherIssue<'a>>,
    #[serde(borrow)]
    pub(super) parent_issue: Option<OtherIssue<'a>>,
    #[serde(borrow)]
    pub(super) blocked_by: Option<OtherIssue<'a>>,
    #[serde(borrow)]
    pub(super) blocking: Option<OtherIssue<'a>>,
    #[serde(borrow)]
    pub(super) canonical: Option<OtherIssue<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Titled<'a> {
    #[serde(borrow)]
    pub(super) title: Text<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rename<'a> {
    #[serde(borrow)]
    pub(super) from: Text<'a>,
    #[serde(borrow)]
    pub(super) to: Text<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EventSource<'a> {
    #[serde(borrow)]
    pub(super) issue: Option<OtherIssue<'a>>,
}

/// The other end of a link.
#[derive(Debug, Deserialize)]
pub(super) struct OtherIssue<'a> {
    pub(super) number: u64,
    #[serde(borrow)]
    pub(super) html_url: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) repository: Option<OtherRepository<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OtherRepository<'a> {
    pub(super) id: u64,
    #[serde(borrow)]
    pub(super) full_name: Text<'a>,
    #[serde(borrow)]
    pub(super) html_url: Option<Text<'a>>,
}
