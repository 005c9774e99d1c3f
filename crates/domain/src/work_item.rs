//! Work items: issues, tasks and pull requests of any tracker in one shape.
//!
//! Normalized and original values stand side by side: without the original nobody trusts the normalized one.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::{InstanceId, Invalid, SourceKind, WorkItemId};

macro_rules! norm {
    ($(#[$doc:meta])* $name:ident, $pointer:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$vdoc])* $variant),+
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stored and served name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    Invalid::not_one_of($pointer, format!("has the unknown value `{text}`"), Self::ALL.iter().map(|v| v.as_str()))
                })
            }
        }
    };
}

norm!(
    /// What a status means.
    StatusNorm, "/status" {
        /// Not begun.
        Todo = "todo",
        /// Begun.
        InProgress = "in_progress",
        /// Finished as wanted.
        Done = "done",
        /// Closed without being done.
        Cancelled = "cancelled",
        /// Not mapped.
        Unknown = "unknown",
    }
);

norm!(
    /// What kind of work it is.
    TypeNorm, "/type" {
        /// A large piece of work.
        Epic = "epic",
        /// A user story.
        Story = "story",
        /// Any task.
        Task = "task",
        /// A part of another item.
        Subtask = "subtask",
        /// A defect.
        Bug = "bug",
        /// An improvement.
        Feature = "feature",
        /// A pull or merge request.
        PullRequest = "pull_request",
        /// A milestone kept as an item.
        Milestone = "milestone",
        /// Not mapped.
        Other = "other",
    }
);

norm!(
    /// How urgent it is.
    PriorityNorm, "/priority" {
        /// Drop everything.
        Urgent = "urgent",
        /// Before the rest.
        High = "high",
        /// As usual.
        Normal = "normal",
        /// When there is time.
        Low = "low",
        /// The tracker says nothing.
        None = "none",
    }
);

norm!(
    /// What kind of board it is.
    BoardKind, "/kind" {
        /// Works in sprints.
        Scrum = "scrum",
        /// Works without.
        Kanban = "kanban",
        /// Anything else.
        Other = "other",
    }
);

norm!(
    /// Where a sprint stands.
    SprintState, "/state" {
        /// Not begun.
        Future = "future",
        /// Begun.
        Active = "active",
        /// Closed.
        Closed = "closed",
    }
);

/// A stored work item, as served.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkItem {
    /// Its id in Patchbay.
    pub id: WorkItemId,
    /// The instance it comes from.
    pub instance_id: InstanceId,
    /// The source's name.
    pub source: SourceKind,
    /// The tracker's own immutable id.
    pub source_id: String,
    /// The key people use, such as `owner/repo#12` or `ENG-42`; may change.
    pub source_key: String,
    /// The key of its project.
    pub project_key: String,
    /// Normalized type.
    pub type_norm: TypeNorm,
    /// The tracker's type.
    pub type_original: String,
    /// Normalized status.
    pub status_norm: StatusNorm,
    /// The tracker's status.
    pub status_original: String,
    /// The tracker's own group of the status, where it has groups: Jira's `new`, `indeterminate` and `done`.
    pub status_category: Option<String>,
    /// The tracker's reason for closing.
    pub resolution_original: Option<String>,
    /// Normalized priority.
    pub priority: PriorityNorm,
    /// The tracker's priority.
    pub priority_original: Option<String>,
    /// Its title.
    pub title: String,
    /// Its description; only filled when a single item is read.
    pub body: Option<String>,
    /// The first assignee's login or name.
    pub assignee: Option<String>,
    /// All assignees.
    pub assignees: Vec<String>,
    /// Who opened it.
    pub reporter: Option<String>,
    /// Its labels.
    pub labels: Vec<String>,
    /// The title of its milestone.
    pub milestone: Option<String>,
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
    /// The names of the sprints it is in now.
    pub sprints: Vec<String>,
    /// How many comments are stored.
    pub comment_count: i64,
    /// Creation, by the tracker's clock.
    pub created_at: DateTime<Utc>,
    /// Last change, by the tracker's clock.
    pub updated_at: DateTime<Utc>,
    /// When it was finished or closed.
    pub resolved_at: Option<DateTime<Utc>>,
    /// When it was last written here.
    pub synced_at: DateTime<Utc>,
    /// Its page in the tracker.
    pub url: String,
    /// Custom fields by name.
    pub custom_fields: serde_json::Value,
    /// When it was found deleted at the source.
    pub deleted_at: Option<DateTime<Utc>>,
    /// How that was found: `deleted` or `transferred`.
    pub delete_reason: Option<String>,
}

/// Which work items to list; all given conditions hold together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkItemFilter {
    /// Of one instance.
    pub instance: Option<InstanceId>,
    /// Of one project, by key.
    pub project: Option<String>,
    /// With one normalized status.
    pub status: Option<StatusNorm>,
    /// Of one normalized type.
    pub type_norm: Option<TypeNorm>,
    /// With one label.
    pub label: Option<String>,
    /// Assigned to one login or name.
    pub assignee: Option<String>,
    /// Changed at or after.
    pub updated_since: Option<DateTime<Utc>>,
    /// Deleted ones too.
    pub include_deleted: bool,
}
