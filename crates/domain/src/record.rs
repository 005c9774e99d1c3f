//! What a source hands over: one page of its objects in normalized form, before they have ids of ours.
//!
//! Objects refer to each other by the source's own ids. `ref_key` is the key by which a source's other
//! objects point at an item (GitHub: repository id and number; Jira: issue id).

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::value::RawValue;

use crate::{BoardKind, PriorityNorm, SprintState, StatusNorm, StreamName, TypeNorm};

/// One page of objects. What a page does not hold stays as stored.
#[derive(Debug, Default)]
pub struct PageRecords {
    /// Projects or repositories.
    pub projects: Vec<ProjectRecord>,
    /// People; also those only mentioned by other objects of the page.
    pub users: Vec<UserRecord>,
    /// Label definitions of a project, complete.
    pub labels: Vec<LabelRecord>,
    /// Milestones of a project, complete.
    pub milestones: Vec<MilestoneRecord>,
    /// Work items.
    pub items: Vec<ItemRecord>,
    /// Comments.
    pub comments: Vec<CommentRecord>,
    /// Status changes.
    pub transitions: Vec<TransitionRecord>,
    /// Other field changes.
    pub changes: Vec<ChangeRecord>,
    /// Links between items.
    pub links: Vec<LinkRecord>,
    /// Pull request details.
    pub pull_requests: Vec<PullRequestRecord>,
    /// Reviews.
    pub reviews: Vec<ReviewRecord>,
    /// Boards.
    pub boards: Vec<BoardRecord>,
    /// Sprints or iterations.
    pub sprints: Vec<SprintRecord>,
    /// When items were in which sprint. Complete for every item of [`Self::sprint_memberships_of`].
    pub sprint_memberships: Vec<SprintMembershipRecord>,
    /// Items, by `ref_key`, whose memberships this page holds completely: what else is stored of them is removed.
    pub sprint_memberships_of: Vec<String>,
    /// Time booked on items.
    pub worklogs: Vec<WorklogRecord>,
    /// Worklogs that the source says are deleted, by its id.
    pub worklogs_gone: Vec<String>,
    /// Items, by `ref_key`, whose comments this page holds completely: others that are stored are removed.
    pub comments_of: Vec<String>,
    /// Comments that the source says are deleted: kind and its id.
    pub comments_gone: Vec<(&'static str, String)>,
    /// Items, by `ref_key`, whose links this page holds completely: others that are stored are removed.
    pub links_of: Vec<String>,
    /// Definitions of custom fields.
    pub custom_fields: Vec<CustomFieldRecord>,
    /// Items proved to be gone at the source.
    pub gone: Vec<GoneRecord>,
    /// Items whose details are read completely with this page, by `ref_key`.
    pub details_done: Vec<String>,
    /// Objects that could not be mapped.
    pub unmapped: Vec<Unmapped>,
    /// What the adapter said of items, by `source_id`, where [`Mappings::apply`](crate::Mappings::apply) said otherwise.
    pub item_defaults: HashMap<String, ItemDefaults>,
    /// The same of transitions: the statuses before and after.
    pub transition_defaults: HashMap<String, (Option<StatusNorm>, StatusNorm)>,
}

impl PageRecords {
    /// How many objects of the source this page stands for: what progress counts.
    pub fn len(&self) -> usize {
        self.items.len()
            + self.comments.len()
            + self.labels.len()
            + self.milestones.len()
            + self.projects.len()
            + self.boards.len()
            + self.sprints.len()
            + self.worklogs.len()
            + self.custom_fields.len()
            + self.details_done.len()
            + self.unmapped.len()
    }

    /// Whether the page holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
            && self.users.is_empty()
            && self.gone.is_empty()
            && self.worklogs_gone.is_empty()
            && self.comments_gone.is_empty()
    }

    /// Adds everything another page holds.
    pub fn append(&mut self, mut other: Self) {
        self.projects.append(&mut other.projects);
        self.users.append(&mut other.users);
        self.labels.append(&mut other.labels);
        self.milestones.append(&mut other.milestones);
        self.items.append(&mut other.items);
        self.comments.append(&mut other.comments);
        self.transitions.append(&mut other.transitions);
        self.changes.append(&mut other.changes);
        self.links.append(&mut other.links);
        self.pull_requests.append(&mut other.pull_requests);
        self.reviews.append(&mut other.reviews);
        self.boards.append(&mut other.boards);
        self.sprints.append(&mut other.sprints);
        self.sprint_memberships.append(&mut other.sprint_memberships);
        self.sprint_memberships_of.append(&mut other.sprint_memberships_of);
        self.worklogs.append(&mut other.worklogs);
        self.worklogs_gone.append(&mut other.worklogs_gone);
        self.comments_of.append(&mut other.comments_of);
        self.comments_gone.append(&mut other.comments_gone);
        self.links_of.append(&mut other.links_of);
        self.custom_fields.append(&mut other.custom_fields);
        self.gone.append(&mut other.gone);
        self.details_done.append(&mut other.details_done);
        self.unmapped.append(&mut other.unmapped);
        self.item_defaults.extend(other.item_defaults);
        self.transition_defaults.extend(other.transition_defaults);
    }
}

/// A person as another object mentions them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserRef {
    /// The source's immutable user id.
    pub source_id: String,
    /// Login or display name.
    pub name: String,
}

/// A project, repository or workspace.
#[derive(Debug)]
pub struct ProjectRecord {
    /// The source's immutable id.
    pub source_id: String,
    /// The key people use: `owner/repo`.
    pub key: String,
    /// Display name.
    pub name: String,
    /// Its page in the tracker.
    pub url: String,
    /// When it was archived, as far as is known.
    pub archived: bool,
    /// The object as received.
    pub raw: Box<RawValue>,
}

/// A person or bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The source's immutable id.
    pub source_id: String,
    /// Login.
    pub login: String,
    /// Display name, when told.
    pub name: Option<String>,
    /// `person`, `bot` or `group`.
    pub kind: &'static str,
    /// When this was so: the time of the object that mentions them, which may be old and hold a login they had then.
    /// `None` for what the source says of them now.
    pub as_of: Option<DateTime<Utc>>,
}

/// A label definition.
#[derive(Debug)]
pub struct LabelRecord {
    /// The project it belongs to.
    pub project_source_id: String,
    /// The source's immutable id.
    pub source_id: String,
    /// Its name.
    pub name: String,
    /// Its colour as hex digits.
    pub color: Option<String>,
    /// What it means.
    pub description: Option<String>,
}

/// A milestone or version.
#[derive(Debug)]
pub struct MilestoneRecord {
    /// The project it belongs to.
    pub project_source_id: String,
    /// The source's immutable id.
    pub source_id: String,
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: Option<String>,
    /// `open` or `closed`.
    pub state: String,
    /// The day it is due.
    pub due_on: Option<NaiveDate>,
    /// Its page in the tracker.
    pub url: String,
    /// Creation.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
    /// When it was closed.
    pub closed_at: Option<DateTime<Utc>>,
}

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

/// A board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardRecord {
    /// The source's immutable id.
    pub source_id: String,
    /// Its name.
    pub name: String,
    /// What kind.
    pub kind: BoardKind,
    /// The project it belongs to, where it belongs to one.
    pub project_source_id: Option<String>,
    /// Its page in the tracker, where it has one.
    pub url: Option<String>,
}

/// A sprint or iteration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SprintRecord {
    /// The source's immutable id.
    pub source_id: String,
    /// The board it was made on, where told.
    pub board_source_id: Option<String>,
    /// Its name.
    pub name: String,
    /// Its goal.
    pub goal: Option<String>,
    /// Where it stands.
    pub state: SprintState,
    /// When it begins or began.
    pub start_at: Option<DateTime<Utc>>,
    /// When it is planned to end.
    pub end_at: Option<DateTime<Utc>>,
    /// When it was closed.
    pub completed_at: Option<DateTime<Utc>>,
}

/// An item was in a sprint for a time. One may come back, so an item and a sprint may have several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SprintMembershipRecord {
    /// The item.
    pub item_ref_key: String,
    /// The sprint.
    pub sprint_source_id: String,
    /// Since when: creation of the item, or the change that put it there.
    pub added_at: DateTime<Utc>,
    /// Until when; `None` while it is in it.
    pub removed_at: Option<DateTime<Utc>>,
    /// Whether this is from the item's history. Otherwise it is what the item says now, and `added_at` is a guess.
    pub from_history: bool,
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

/// The definition of a custom field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomFieldRecord {
    /// The source's immutable id: `customfield_10016`, a gid.
    pub source_id: String,
    /// Its name; unique in no tracker.
    pub name: String,
    /// The source's type: `number`, `array of option`, …
    pub field_type: String,
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

/// An object that could not be mapped: it becomes a dead letter, and the run goes on.
#[derive(Debug)]
pub struct Unmapped {
    /// The stream it came with.
    pub stream: StreamName,
    /// Its id, as far as it could be read.
    pub source_id: String,
    /// What is wrong with it.
    pub error: String,
    /// The object as received.
    pub raw: String,
}
