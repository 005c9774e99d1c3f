//! Items, and what belongs to one as it is now.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::value::RawValue;

use super::UserRef;
use crate::{PriorityNorm, StatusNorm, TypeNorm};

/// A work item.
#[derive(Debug)]
pub struct ItemRecord {
    /// The source's immutable id.
    pub source_id: String,
    /// The key other objects of the source point at it with.
    pub ref_key: String,
    /// The key people use.
    pub source_key: String,
    /// Its project.
    pub project_source_id: String,
    /// The project's key.
    pub project_key: String,
    /// Normalized type.
    pub type_norm: TypeNorm,
    /// The source's type.
    pub type_original: String,
    /// Normalized status.
    pub status_norm: StatusNorm,
    /// The source's status.
    pub status_original: String,
    /// The source's own grouping of its statuses (Jira: the key of the status category), where it has one.
    pub status_category: Option<String>,
    /// The source's reason for closing.
    pub resolution_original: Option<String>,
    /// Normalized priority.
    pub priority_norm: PriorityNorm,
    /// The source's priority.
    pub priority_original: Option<String>,
    /// Title.
    pub title: String,
    /// Description.
    pub body: Option<String>,
    /// Who it is assigned to.
    pub assignees: Vec<UserRef>,
    /// Who opened it.
    pub reporter: Option<UserRef>,
    /// Label names, in the source's order.
    pub labels: Vec<String>,
    /// Its milestone's id.
    pub milestone_source_id: Option<String>,
    /// Its milestone's title.
    pub milestone: Option<String>,
    /// The item it is a part of, by `ref_key`.
    pub parent_ref_key: Option<String>,
    /// The day it is due.
    pub due_on: Option<NaiveDate>,
    /// The day work on it begins.
    pub start_on: Option<NaiveDate>,
    /// Its size in story points.
    pub story_points: Option<f64>,
    /// Estimated effort, in seconds.
    pub estimate_s: Option<i64>,
    /// Booked effort, in seconds.
    pub spent_s: Option<i64>,
    /// Effort left, in seconds.
    pub remaining_s: Option<i64>,
    /// Projects it is in beside its own (Asana's multi-homing), and its section in each, its own included where it has
    /// sections.
    pub homes: Vec<HomeRecord>,
    /// Its page in the tracker.
    pub url: String,
    /// Creation.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
    /// When it was finished or closed.
    pub resolved_at: Option<DateTime<Utc>>,
    /// Custom fields by name; an object, `{}` when there are none.
    pub custom_fields: serde_json::Value,
    /// Whether a stream of details has more about it to read once it changed.
    pub has_details: bool,
    /// The object as received.
    pub raw: Box<RawValue>,
}

/// What the adapter's own rules make of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemDefaults {
    /// Its status.
    pub status: StatusNorm,
    /// Its type.
    pub item_type: TypeNorm,
    /// Its priority.
    pub priority: PriorityNorm,
}

/// A project that holds an item, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeRecord {
    /// The project's immutable id at the source.
    pub project_source_id: String,
    /// The project's key.
    pub project_key: String,
    /// The section or column.
    pub section: Option<String>,
}

/// A link from an item to another.
#[derive(Debug)]
pub struct LinkRecord {
    /// The source's id of the link; empty where it gives links none. Both ends may tell the same one.
    pub source_id: String,
    /// The item it starts from.
    pub item_ref_key: String,
    /// The item it leads to, when it is in the same instance.
    pub to_ref_key: Option<String>,
    /// The other end's key as people write it.
    pub to_key: String,
    /// The other end's page.
    pub to_url: String,
    /// `blocks`, `blocked_by`, `relates`, `duplicates`, `parent_of`, `child_of`, `mentions`, `other`.
    pub type_norm: &'static str,
    /// The source's word.
    pub type_original: String,
}

/// What only a pull request has.
#[derive(Debug)]
pub struct PullRequestRecord {
    /// The item.
    pub item_ref_key: String,
    /// The source's id of the pull request itself.
    pub source_id: String,
    /// Whether it is a draft.
    pub draft: bool,
    /// Branch to merge.
    pub head_ref: String,
    /// Branch to merge into.
    pub base_ref: String,
    /// When it was merged.
    pub merged_at: Option<DateTime<Utc>>,
    /// Who merged it.
    pub merged_by: Option<UserRef>,
    /// The merge commit.
    pub merge_sha: Option<String>,
    /// Lines added.
    pub additions: i64,
    /// Lines removed.
    pub deletions: i64,
    /// Files changed.
    pub changed_files: i64,
    /// Commits.
    pub commits: i64,
    /// Logins asked for a review.
    pub requested_reviewers: Vec<String>,
}

/// Proof that an item is no longer there.
#[derive(Debug)]
pub struct GoneRecord {
    /// The item.
    pub item_ref_key: String,
    /// `deleted`, `transferred` or `archived`.
    pub reason: &'static str,
    /// What the source answered.
    pub proof: String,
}
