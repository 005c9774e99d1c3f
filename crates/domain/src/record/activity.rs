//! What people did with an item: comments, changes, reviews, time booked.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::UserRef;
use crate::StatusNorm;

/// A comment.
#[derive(Debug)]
pub struct CommentRecord {
    /// The source's immutable id, unique together with `kind`.
    pub source_id: String,
    /// `comment` in the conversation, `review_comment` on a line of code.
    pub kind: &'static str,
    /// The item it belongs to.
    pub item_ref_key: String,
    /// Who wrote it.
    pub author: Option<UserRef>,
    /// Its text.
    pub body: String,
    /// Its page in the tracker.
    pub url: String,
    /// Where in the code: path and line, for review comments.
    pub path: Option<String>,
    /// Creation.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
}

/// A change of status.
#[derive(Debug)]
pub struct TransitionRecord {
    /// The item.
    pub item_ref_key: String,
    /// The source's id of the change, unique in the instance.
    pub source_id: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: Option<UserRef>,
    /// The source's status before, when known.
    pub from_original: Option<String>,
    /// Normalized status before, when known.
    pub from_norm: Option<StatusNorm>,
    /// The source's status after.
    pub to_original: String,
    /// Normalized status after.
    pub to_norm: StatusNorm,
}

/// A change of another field: labels, assignees, milestone, title, …
#[derive(Debug)]
pub struct ChangeRecord {
    /// The item.
    pub item_ref_key: String,
    /// The source's id of the change, unique in the instance.
    pub source_id: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: Option<UserRef>,
    /// Which field: `label`, `assignee`, `milestone`, `title`, `draft`, `lock`, `reviewer`, `type`, …; a custom one by its
    /// name.
    pub field: Cow<'static, str>,
    /// Value taken away or replaced.
    pub from: Option<String>,
    /// Value added or set.
    pub to: Option<String>,
}

/// A review of a pull request.
#[derive(Debug)]
pub struct ReviewRecord {
    /// The item.
    pub item_ref_key: String,
    /// The source's immutable id.
    pub source_id: String,
    /// Who reviewed.
    pub author: Option<UserRef>,
    /// `approved`, `changes_requested`, `commented`, `dismissed` or `pending`.
    pub state: String,
    /// Its text.
    pub body: Option<String>,
    /// When it was handed in.
    pub submitted_at: Option<DateTime<Utc>>,
}

/// Time booked on an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorklogRecord {
    /// The source's immutable id.
    pub source_id: String,
    /// The item.
    pub item_ref_key: String,
    /// Who worked.
    pub author: Option<UserRef>,
    /// When the work began.
    pub started_at: DateTime<Utc>,
    /// How long it took, in seconds.
    pub seconds: i64,
    /// What was done, as Markdown.
    pub comment: Option<String>,
    /// Creation.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
}
