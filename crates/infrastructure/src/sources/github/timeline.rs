//! An item's timeline: changes of status, of other fields, and links.

use std::collections::BTreeMap;

use application::ports::PendingItem;
use chrono::TimeDelta;
use domain::record::{ChangeRecord, CommentRecord, LinkRecord, TransitionRecord};
use domain::{PageRecords, StatusNorm};
use serde_json::value::RawValue;

use super::model::{self, Comment, Event, EventHead, Named, OtherIssue, Time, User};
use super::normalize::{self, closed_as, trailing_number};
use super::people::People;
use super::relations::Relations;
use super::settings::Stream;
use super::unmapped::unmapped;

/// GitHub writes "merged" and "closed" of the same act as two events, up to a few seconds apart.
const MERGE_SLACK: TimeDelta = TimeDelta::seconds(5);

/// Maps the timeline of one item, page by page.
pub(super) struct Timeline<'a> {
    item: &'a PendingItem,
    merged_at: Option<Time>,
    moves: Vec<Move>,
    /// By kind, the other end and GitHub's word: an item may be connected to another and mentioned by it, too.
    links: BTreeMap<(&'static str, String, &'static str), LinkRecord>,
    relations: Relations,
    /// Comments stand in the timeline as a whole, so that they need no request of their own.
    reads_comments: bool,
    has_all_comments: bool,
}

struct Move {
    record: TransitionRecord,
    reopened: bool,
}

impl<'a> Timeline<'a> {
    pub(super) fn new(item: &'a PendingItem, reads_comments: bool) -> Self {
        Self {
            item,
            merged_at: None,
            moves: Vec::new(),
            links: BTreeMap::new(),
            relations: Relations::default(),
            reads_comments,
            has_all_comments: reads_comments,
        }
    }

    /// Which relations the item has or had.
    pub(super) fn relations(&self) -> Relations {
        self.relations
    }

    /// Whether every comment of the conversation could be read.
    pub(super) fn has_all_comments(&self) -> bool {
        self.has_all_comments
    }

    /// Takes in one page of events, oldest first.
    pub(super) fn read(&mut self, events: &[&RawValue], records: &mut PageRecords, people: &mut People) {
        for raw in events {
            if let Err(error) = self.event(raw.get(), records, people) {
                let mut broken = unmapped(Stream::Details, raw.get(), &error);
                broken.source_id = format!("{}/{}", self.item.ref_key, broken.source_id);
                records.unmapped.push(broken);
            }
        }
    }

    fn event(&mut self, raw: &str, records: &mut PageRecords, people: &mut People) -> Result<(), String> {
        let head: EventHead<'_> = serde_json::from_str(raw).map_err(|error| error.to_string())?;
        let Some(name) = head.event.as_ref().map(AsRef::as_ref) else { return Ok(()) };
        if name == "commented" {
            return self.comment(raw, records, people);
        }
        if KNOWN_ASIDE.contains(&name) {
            return Ok(());
        }
        let mut scratch = String::new();
        let event: Event<'_> = match model::read(raw, &mut scratch) {
            Ok(event) => event,
            Err(error) if is_read(name) => return Err(error.to_string()),
            Err(_) => return Ok(()),
        };
        people.mentioned_at(Some(event.created_at));
        self.relations.note(name);
        if self.link(name, &event) {
            return Ok(());
        }
        // Without an id it could not be told from its own repetition.
        let Some(id) = head.id else { return Ok(()) };
        match name {
            "merged" => self.merged_at = Some(event.created_at),
            "closed" | "reopened" => self.moved(id, name == "reopened", &event, people),
            _ => records.changes.extend(change(self.item, id, name, &event, people)?),
        }
        Ok(())
    }

    fn comment(&mut self, raw: &str, records: &mut PageRecords, people: &mut People) -> Result<(), String> {
        if !self.reads_comments {
            return Ok(());
        }
        let read = serde_json::from_str::<Comment<'_>>(raw).map_err(|error| error.to_string());
        let mapped =
            read.and_then(|comment| normalize::comment(&self.item.project, &comment, "comment", people));
        self.has_all_comments &= mapped.is_ok();
        let comment = mapped?;
        records.comments.push(CommentRecord { item_ref_key: self.item.ref_key.clone(), ..comment });
        Ok(())
    }

    fn moved(&mut self, id: u64, reopened: bool, event: &Event<'_>, people: &mut People) {
        let open = if self.item.is_pull_request { StatusNorm::InProgress } else { StatusNorm::Todo };
        let to_norm = match (reopened, self.item.is_pull_request) {
            (true, _) => open,
            (false, true) => StatusNorm::Cancelled,
            (false, false) => closed_as(event.state_reason.as_ref()),
        };
        let record = TransitionRecord {
            item_ref_key: self.item.ref_key.clone(),
            source_id: id.to_string(),
            at: event.created_at,
            actor: people.meet(event.actor.as_ref()),
            from_original: None,
            from_norm: None,
            to_original: if reopened { "open" } else { "closed" }.to_owned(),
            to_norm,
        };
        self.moves.push(Move { record, reopened });
    }

    /// Notes or removes a link; `false` when the event is about something else.
    fn link(&mut self, name: &str, event: &Event<'_>) -> bool {
        let source = || event.source.as_ref().and_then(|source| source.issue.as_ref());
        let (adds, type_norm, type_original, other) = match name {
            // The other end mentions this one, which is not to mention it.
            "cross-referenced" => (true, "relates", "cross-referenced", source()),
            "connected" => (true, "relates", "connected", source()),
            "disconnected" => (false, "relates", "connected", source()),
            "sub_issue_added" => (true, "parent_of", "sub_issue", event.sub_issue.as_ref()),
            "sub_issue_removed" => (false, "parent_of", "sub_issue", event.sub_issue.as_ref()),
            "parent_issue_added" => (true, "child_of", "parent_issue", event.parent_issue.as_ref()),
            "parent_issue_removed" => (false, "child_of", "parent_issue", event.parent_issue.as_ref()),
            "blocked_by_added" => (true, "blocked_by", "blocked_by", event.blocked_by.as_ref()),
            "blocked_by_removed" => (false, "blocked_by", "blocked_by", event.blocked_by.as_ref()),
            "blocking_added" => (true, "blocks", "blocking", event.blocking.as_ref()),
            "blocking_removed" => (false, "blocks", "blocking", event.blocking.as_ref()),
            "marked_as_duplicate" => {
                (true, "duplicates", "duplicate", event.canonical.as_ref().or_else(source))
            }
            "unmarked_as_duplicate" => {
                (false, "duplicates", "duplicate", event.canonical.as_ref().or_else(source))
            }
            _ => return false,
        };
        if let Some(link) = other.and_then(|other| link(self.item, other, type_norm, type_original)) {
            let key = (type_norm, link.to_key.clone(), type_original);
            if adds {
                self.links.insert(key, link);
            } else {
                self.links.remove(&key);
            }
        }
        true
    }

    /// Hands over what can only be told once the whole timeline is read; answers the links.
    pub(super) fn finish(self, records: &mut PageRecords) -> Vec<LinkRecord> {
        let pull_request = self.item.is_pull_request;
        let open = if pull_request { StatusNorm::InProgress } else { StatusNorm::Todo };
        let mut status = ("open".to_owned(), open);
        for Move { mut record, reopened } in self.moves {
            let merged = self.merged_at.is_some_and(|at| record.at + MERGE_SLACK >= at);
            if pull_request && !reopened && merged {
                record.to_original = "merged".into();
                record.to_norm = StatusNorm::Done;
            }
            let before = std::mem::replace(&mut status, (record.to_original.clone(), record.to_norm));
            (record.from_original, record.from_norm) = (Some(before.0), Some(before.1));
            records.transitions.push(record);
        }
        self.links.into_values().collect()
    }
}

/// Events that change none of an item's fields, or none that is kept.
/// <https://docs.github.com/rest/using-the-rest-api/issue-event-types>
const KNOWN_ASIDE: &[&str] = &[
    "added_to_merge_queue",
    "added_to_project",
    "added_to_project_v2",
    "auto_merge_disabled",
    "auto_merge_enabled",
    "auto_rebase_enabled",
    "auto_squash_enabled",
    "automatic_base_change_failed",
    "automatic_base_change_succeeded",
    "base_ref_changed",
    "base_ref_deleted",
    "base_ref_force_pushed",
    "comment_deleted",
    "commit-commented",
    "committed",
    "converted_from_draft",
    "converted_note_to_issue",
    "converted_to_discussion",
    "deployed",
    "deployment_environment_changed",
    "head_ref_deleted",
    "head_ref_force_pushed",
    "head_ref_restored",
    "line-commented",
    "mentioned",
    "moved_columns_in_project",
    "pinned",
    "project_v2_item_status_changed",
    "referenced",
    "removed_from_merge_queue",
    "removed_from_project",
    "removed_from_project_v2",
    "review_dismissed",
    "reviewed",
    "subscribed",
    "transferred",
    "unpinned",
    "unsubscribed",
    "user_blocked",
];

fn is_read(name: &str) -> bool {
    matches!(
        name,
        "closed"
            | "reopened"
            | "merged"
            | "labeled"
            | "unlabeled"
            | "assigned"
            | "unassigned"
            | "milestoned"
            | "demilestoned"
            | "renamed"
            | "locked"
            | "unlocked"
            | "convert_to_draft"
            | "ready_for_review"
            | "review_requested"
            | "review_request_removed"
            | "issue_type_added"
            | "issue_type_changed"
            | "issue_type_removed"
            | "cross-referenced"
            | "connected"
            | "disconnected"
            | "sub_issue_added"
            | "sub_issue_removed"
            | "parent_issue_added"
            | "parent_issue_removed"
            | "blocked_by_added"
            | "blocked_by_removed"
            | "blocking_added"
            | "blocking_removed"
            | "marked_as_duplicate"
            | "unmarked_as_duplicate"
    )
}

fn change(
    item: &PendingItem,
    id: u64,
    name: &str,
    event: &Event<'_>,
    people: &mut People,
) -> Result<Option<ChangeRecord>, String> {
    let named = |named: Option<&Named<'_>>| named.map(|named| named.name.to_string());
    let label = || named(event.label.as_ref()).ok_or("`label` is missing");
    let milestone = || {
        event.milestone.as_ref().map(|milestone| milestone.title.to_string()).ok_or("`milestone` is missing")
    };
    // People may have left, and types are not told by every version.
    let mut login = |user: Option<&User<'_>>| people.meet(user).map(|user| user.name);
    let (field, from, to) = match name {
        "labeled" => ("label", None, Some(label()?)),
        "unlabeled" => ("label", Some(label()?), None),
        "assigned" => ("assignee", None, login(event.assignee.as_ref())),
        "unassigned" => ("assignee", login(event.assignee.as_ref()), None),
        "milestoned" => ("milestone", None, Some(milestone()?)),
        "demilestoned" => ("milestone", Some(milestone()?), None),
        "renamed" => {
            let rename = event.rename.as_ref().ok_or("`rename` is missing")?;
            ("title", Some(rename.from.to_string()), Some(rename.to.to_string()))
        }
        "locked" => {
            let reason = event.lock_reason.as_ref().map_or("locked".to_owned(), ToString::to_string);
            ("lock", None, Some(reason))
        }
        "unlocked" => ("lock", Some("locked".into()), None),
        "convert_to_draft" => ("draft", Some("false".into()), Some("true".into())),
        "ready_for_review" => ("draft", Some("true".into()), Some("false".into())),
        "review_requested" | "review_request_removed" => {
            let reviewer =
                login(event.requested_reviewer.as_ref()).or_else(|| named(event.requested_team.as_ref()));
            if name == "review_requested" {
                ("reviewer", None, reviewer)
            } else {
                ("reviewer", reviewer, None)
            }
        }
        "issue_type_added" | "issue_type_changed" | "issue_type_removed" => {
            ("type", named(event.prev_issue_type.as_ref()), named(event.issue_type.as_ref()))
        }
        // One that came with a later GitHub is kept under its own name.
        other => {
            return Ok(Some(ChangeRecord {
                item_ref_key: item.ref_key.clone(),
                source_id: id.to_string(),
                at: event.created_at,
                actor: people.meet(event.actor.as_ref()),
                field: other.to_owned().into(),
                from: None,
                to: None,
            }));
        }
    };
    Ok(Some(ChangeRecord {
        item_ref_key: item.ref_key.clone(),
        source_id: id.to_string(),
        at: event.created_at,
        actor: people.meet(event.actor.as_ref()),
        field: field.into(),
        from,
        to,
    }))
}

/// `None` when the other end does not tell its repository.
pub(super) fn link(
    item: &PendingItem,
    other: &OtherIssue<'_>,
    type_norm: &'static str,
    type_original: &str,
) -> Option<LinkRecord> {
    let url = other.html_url.as_ref().map(AsRef::as_ref);
    let full_name = match (&other.repository, url) {
        (Some(repository), _) => repository.full_name.to_string(),
        (None, Some(url)) => repository_of(url, other.number)?,
        (None, None) => return None,
    };
    let to_ref_key = match &other.repository {
        Some(repository) => Some(format!("{}#{}", repository.id, other.number)),
        None if full_name.eq_ignore_ascii_case(&item.project.key) => {
            Some(format!("{}#{}", item.project.source_id, other.number))
        }
        None => None,
    };
    if to_ref_key.as_deref() == Some(item.ref_key.as_str()) {
        return None;
    }
    let to_url = url.map(str::to_owned).or_else(|| {
        let repository = other.repository.as_ref()?.html_url.as_ref()?;
        Some(format!("{repository}/issues/{}", other.number))
    });
    Some(LinkRecord {
        source_id: String::new(),
        item_ref_key: item.ref_key.clone(),
        to_ref_key,
        to_key: format!("{full_name}#{}", other.number),
        to_url: to_url.unwrap_or_default(),
        type_norm,
        type_original: type_original.to_owned(),
    })
}

/// `owner/repo` of `https://host/owner/repo/issues/12`.
fn repository_of(url: &str, number: u64) -> Option<String> {
    trailing_number(url).filter(|found| *found == number)?;
    let mut parts = url.rsplit('/').skip(2);
    let (repository, owner) = (parts.next()?, parts.next()?);
    Some(format!("{owner}/{repository}"))
}

#[cfg(test)]
mod tests;
