//! What a source hands over: one page of its objects in normalized form, before they have ids of ours.
//!
//! Objects refer to each other by the source's own ids. `ref_key` is the key by which a source's other
//! objects point at an item (GitHub: repository id and number; Jira: issue id).

mod activity;
mod item;
mod project;
mod sprint;

use std::collections::{HashMap, HashSet};

pub use activity::{ChangeRecord, CommentRecord, ReviewRecord, TransitionRecord, WorklogRecord};
pub use item::{GoneRecord, HomeRecord, ItemDefaults, ItemRecord, LinkRecord, PullRequestRecord};
pub use project::{CustomFieldRecord, LabelRecord, MilestoneRecord, ProjectRecord, UserRecord};
pub use sprint::{BoardRecord, SprintMembershipRecord, SprintRecord};

use crate::{StatusNorm, StreamName};

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
    /// What the adapter notes of items, by `source_id`, for the time their details are read: it is given back with them.
    pub details_noted: HashMap<String, serde_json::Value>,
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

    /// Whether it can be [joined](Self::append_earlier) with pages that may hold the same objects. One that says what is not
    /// there any more, or what could not be mapped, must be written before a later one, where it may be there again.
    pub fn may_join(&self) -> bool {
        self.gone.is_empty()
            && self.unmapped.is_empty()
            && self.worklogs_gone.is_empty()
            && self.comments_gone.is_empty()
    }

    /// Adds everything an earlier page holds, as if that had been written first: of what this one holds completely, nothing
    /// earlier stays.
    pub fn append_earlier(&mut self, mut earlier: Self) {
        let complete = |of: &[String]| of.iter().cloned().collect::<HashSet<String>>();
        let (comments_of, links_of) = (complete(&self.comments_of), complete(&self.links_of));
        let memberships_of = complete(&self.sprint_memberships_of);
        earlier.comments.retain(|comment| !comments_of.contains(&comment.item_ref_key));
        earlier.links.retain(|link| !links_of.contains(&link.item_ref_key));
        earlier.sprint_memberships.retain(|membership| !memberships_of.contains(&membership.item_ref_key));
        self.append(earlier);
    }

    /// Adds everything another part holds. Where both say something of one object, what this one says comes first and stays.
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
        let stays = std::mem::replace(&mut self.details_noted, other.details_noted);
        self.details_noted.extend(stays);
        let stays = std::mem::replace(&mut self.item_defaults, other.item_defaults);
        self.item_defaults.extend(stays);
        let stays = std::mem::replace(&mut self.transition_defaults, other.transition_defaults);
        self.transition_defaults.extend(stays);
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
