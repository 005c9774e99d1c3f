//! GitHub's objects in Patchbay's words.

use application::ports::ProjectRef;
use chrono::DateTime;
use domain::record::{
    CommentRecord, ItemRecord, LabelRecord, MilestoneRecord, ProjectRecord, PullRequestRecord, ReviewRecord,
};
use domain::{PriorityNorm, StatusNorm, TypeNorm};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::marker;
use super::model::{Comment, Issue, Label, Milestone, Pull, Repository, Review, Text};
use super::people::People;

/// The key by which comments, events and links point at an item.
pub(super) fn ref_key(project: &ProjectRef, number: u64) -> String {
    format!("{}#{number}", project.source_id)
}

fn owned(text: Option<&Text<'_>>) -> Option<String> {
    text.map(ToString::to_string)
}

pub(super) fn item(
    project: &ProjectRef,
    issue: &Issue<'_>,
    raw: &RawValue,
    has_details: bool,
    people: &mut People,
) -> ItemRecord {
    people.mentioned_at(Some(issue.updated_at));
    let labels: Vec<String> = issue.labels.iter().map(|label| label.0.to_string()).collect();
    let (type_norm, type_original) = kind(issue, &labels);
    let (status_norm, status_original) = status(issue);
    let (priority_norm, priority_original) = priority(&labels);
    let parent =
        issue.parent_issue_url.as_ref().and_then(|url| trailing_number_in(url.as_ref(), &project.key));
    ItemRecord {
        source_id: issue.id.to_string(),
        ref_key: ref_key(project, issue.number),
        source_key: format!("{}#{}", project.key, issue.number),
        project_source_id: project.source_id.clone(),
        project_key: project.key.clone(),
        type_norm,
        type_original,
        status_norm,
        status_original,
        status_category: None,
        resolution_original: owned(issue.state_reason.as_ref()).filter(|_| issue.state.as_ref() == "closed"),
        priority_norm,
        priority_original,
        title: issue.title.to_string(),
        body: issue.body.as_ref().map(|body| marker::strip(body.as_ref()).to_owned()),
        assignees: issue.assignees.iter().flatten().filter_map(|user| people.meet(Some(user))).collect(),
        reporter: people.meet(issue.user.as_ref()),
        labels,
        milestone_source_id: issue.milestone.as_ref().map(|milestone| milestone.id.to_string()),
        milestone: issue.milestone.as_ref().map(|milestone| milestone.title.to_string()),
        parent_ref_key: parent.map(|number| ref_key(project, number)),
        due_on: None,
        start_on: None,
        story_points: None,
        estimate_s: None,
        spent_s: None,
        remaining_s: None,
        homes: Vec::new(),
        url: issue.html_url.to_string(),
        created_at: issue.created_at,
        updated_at: issue.updated_at,
        resolved_at: issue.closed_at,
        custom_fields: custom_fields(issue),
        has_details,
        raw: raw.to_owned(),
    }
}

fn status(issue: &Issue<'_>) -> (StatusNorm, String) {
    let open = match issue.state.as_ref() {
        "open" => true,
        "closed" => false,
        other => return (StatusNorm::Unknown, other.to_owned()),
    };
    let (norm, original) = match &issue.pull_request {
        Some(_) if open => (StatusNorm::InProgress, "open"),
        Some(pull) if pull.merged_at.is_some() => (StatusNorm::Done, "merged"),
        Some(_) => (StatusNorm::Cancelled, "closed"),
        None if open => (StatusNorm::Todo, "open"),
        None => (closed_as(issue.state_reason.as_ref()), "closed"),
    };
    (norm, original.to_owned())
}

/// What closing an issue with this reason means.
pub(super) fn closed_as(reason: Option<&Text<'_>>) -> StatusNorm {
    match reason.map(AsRef::as_ref) {
        Some("not_planned" | "duplicate") => StatusNorm::Cancelled,
        _ => StatusNorm::Done,
    }
}

/// An issue's type where the organization uses types, else by GitHub's default labels.
fn kind(issue: &Issue<'_>, labels: &[String]) -> (TypeNorm, String) {
    if issue.pull_request.is_some() {
        return (TypeNorm::PullRequest, "pull_request".into());
    }
    if let Some(kind) = &issue.kind {
        let norm = match kind.name.as_ref().to_lowercase().as_str() {
            "bug" | "defect" => TypeNorm::Bug,
            "feature" | "enhancement" | "improvement" => TypeNorm::Feature,
            "task" => TypeNorm::Task,
            "epic" => TypeNorm::Epic,
            "story" | "user story" => TypeNorm::Story,
            "subtask" | "sub-task" => TypeNorm::Subtask,
            _ => TypeNorm::Other,
        };
        return (norm, kind.name.to_string());
    }
    let has = |names: &[&str]| {
        labels
            .iter()
            .any(|label| words(label).any(|word| names.iter().any(|name| word.eq_ignore_ascii_case(name))))
    };
    let norm = if has(&["bug"]) {
        TypeNorm::Bug
    } else if has(&["enhancement", "feature"]) {
        TypeNorm::Feature
    } else {
        TypeNorm::Task
    };
    (norm, "issue".into())
}

/// The first label that tells a priority: `priority: high`, `high-priority`, `prio/low`, `P1`.
fn priority(labels: &[String]) -> (PriorityNorm, Option<String>) {
    for label in labels {
        if let Some(norm) = label_priority(label) {
            return (norm, Some(label.clone()));
        }
    }
    (PriorityNorm::None, None)
}

fn label_priority(label: &str) -> Option<PriorityNorm> {
    let is = |word: &str, names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    let mut named = false;
    let mut level = None;
    for word in words(label) {
        if is(word, &["priority", "prio"]) {
            named = true;
            continue;
        }
        // P0 to P4 need no further word.
        if level.is_none() && is(word, &["p0", "p1", "p2", "p3", "p4"]) {
            named = true;
        }
        level = level.or(if is(word, &["p0", "urgent", "critical", "blocker", "highest"]) {
            Some(PriorityNorm::Urgent)
        } else if is(word, &["p1", "high"]) {
            Some(PriorityNorm::High)
        } else if is(word, &["p2", "medium", "normal"]) {
            Some(PriorityNorm::Normal)
        } else if is(word, &["p3", "p4", "low", "lowest", "minor"]) {
            Some(PriorityNorm::Low)
        } else {
            return None;
        });
    }
    level.filter(|_| named)
}

fn words(label: &str) -> impl Iterator<Item = &str> {
    label.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn custom_fields(issue: &Issue<'_>) -> Value {
    let mut fields = Map::new();
    for field in issue.issue_field_values.iter().flatten() {
        let Some(name) = &field.issue_field_name else { continue };
        let value = match &field.single_select_option {
            Some(option) => Value::String(option.name.to_string()),
            None => field.value.clone(),
        };
        fields.insert(name.to_string(), value);
    }
    Value::Object(fields)
}

/// `owner/repo` of the repository an issue says it is in.
pub(super) fn repository_of(issue: &Issue<'_>) -> Option<String> {
    let (_, name) = issue.repository_url.as_ref()?.as_ref().split_once("/repos/")?;
    Some(name.to_owned())
}

/// The number at the end of `…/issues/12`.
pub(super) fn trailing_number(url: &str) -> Option<u64> {
    url.rsplit('/').next()?.parse().ok()
}

/// The number at the end of `…/owner/repo/issues/12` when it is this repository's.
fn trailing_number_in(url: &str, full_name: &str) -> Option<u64> {
    let number = trailing_number(url)?;
    let mut parts = url.rsplit('/').skip(2);
    let (repository, owner) = (parts.next()?, parts.next()?);
    let (expected_owner, expected_repository) = full_name.split_once('/')?;
    (owner.eq_ignore_ascii_case(expected_owner) && repository.eq_ignore_ascii_case(expected_repository))
        .then_some(number)
}

/// The number of the issue or pull request whose page this is, or a part of: `…/pull/4#discussion_r6`.
fn page_number(url: &str) -> Option<u64> {
    let page = url.split(['#', '?']).next()?;
    let mut parts = page.rsplit('/');
    let number = parts.next()?.parse().ok()?;
    matches!(parts.next()?, "pull" | "issues").then_some(number)
}

/// `Err` when it does not say which item it belongs to.
pub(super) fn comment(
    project: &ProjectRef,
    comment: &Comment<'_>,
    kind: &'static str,
    people: &mut People,
) -> Result<CommentRecord, String> {
    let (field, url) = match kind {
        "review_comment" => ("pull_request_url", &comment.pull_request_url),
        _ => ("issue_url", &comment.issue_url),
    };
    let number = url
        .as_ref()
        .and_then(|url| trailing_number(url.as_ref()))
        // Archives and proxies leave the field out at times; the comment's page stands below its item's.
        .or_else(|| page_number(comment.html_url.as_ref()))
        .ok_or_else(|| format!("`{field}` does not end in a number"))?;
    let line = comment.line.or(comment.original_line);
    people.mentioned_at(Some(comment.updated_at));
    Ok(CommentRecord {
        source_id: comment.id.to_string(),
        kind,
        item_ref_key: ref_key(project, number),
        author: people.meet(comment.user.as_ref()),
        body: comment.body.as_ref().map(|body| marker::strip(body.as_ref()).to_owned()).unwrap_or_default(),
        url: comment.html_url.to_string(),
        path: comment
            .path
            .as_ref()
            .map(|path| line.map_or(path.to_string(), |line| format!("{path}:{line}"))),
        created_at: comment.created_at,
        updated_at: comment.updated_at,
    })
}

pub(super) fn project(repository: &Repository<'_>, raw: &RawValue) -> ProjectRecord {
    ProjectRecord {
        source_id: repository.id.to_string(),
        key: repository.full_name.to_string(),
        name: repository.name.to_string(),
        url: repository.html_url.to_string(),
        archived: repository.archived,
        raw: raw.to_owned(),
    }
}

pub(super) fn label(project: &ProjectRef, label: &Label<'_>) -> LabelRecord {
    LabelRecord {
        project_source_id: project.source_id.clone(),
        source_id: label.id.to_string(),
        name: label.name.to_string(),
        color: owned(label.color.as_ref()),
        description: owned(label.description.as_ref()),
    }
}

pub(super) fn milestone(
    project: &ProjectRef,
    milestone: &Milestone<'_>,
    people: &mut People,
) -> MilestoneRecord {
    people.mentioned_at(Some(milestone.updated_at));
    people.meet(milestone.creator.as_ref());
    MilestoneRecord {
        project_source_id: project.source_id.clone(),
        source_id: milestone.id.to_string(),
        title: milestone.title.to_string(),
        description: owned(milestone.description.as_ref()),
        state: if milestone.state.as_ref() == "closed" { "closed" } else { "open" }.to_owned(),
        due_on: milestone.due_on.map(|due| due.date_naive()),
        url: milestone.html_url.to_string(),
        created_at: milestone.created_at,
        updated_at: milestone.updated_at,
        closed_at: milestone.closed_at,
    }
}

pub(super) fn pull_request(item_ref_key: &str, pull: &Pull<'_>, people: &mut People) -> PullRequestRecord {
    people.mentioned_at(Some(pull.merged_at.unwrap_or(DateTime::UNIX_EPOCH)));
    for reviewer in pull.requested_reviewers.iter().flatten() {
        people.meet(Some(reviewer));
    }
    PullRequestRecord {
        item_ref_key: item_ref_key.to_owned(),
        source_id: pull.id.to_string(),
        draft: pull.draft.unwrap_or(false),
        head_ref: pull.head.name.to_string(),
        base_ref: pull.base.name.to_string(),
        merged_at: pull.merged_at,
        merged_by: people.meet(pull.merged_by.as_ref()),
        // Before the merge it names GitHub's trial merge.
        merge_sha: owned(pull.merge_commit_sha.as_ref()).filter(|_| pull.merged_at.is_some()),
        additions: pull.additions.unwrap_or(0),
        deletions: pull.deletions.unwrap_or(0),
        changed_files: pull.changed_files.unwrap_or(0),
        commits: pull.commits.unwrap_or(0),
        requested_reviewers: pull
            .requested_reviewers
            .iter()
            .flatten()
            .map(|reviewer| reviewer.login.to_string())
            .collect(),
    }
}

pub(super) fn review(item_ref_key: &str, review: &Review<'_>, people: &mut People) -> ReviewRecord {
    people.mentioned_at(Some(review.submitted_at.unwrap_or(DateTime::UNIX_EPOCH)));
    ReviewRecord {
        item_ref_key: item_ref_key.to_owned(),
        source_id: review.id.to_string(),
        author: people.meet(review.user.as_ref()),
        state: review.state.as_ref().to_lowercase(),
        body: owned(review.body.as_ref()).filter(|body| !body.is_empty()),
        submitted_at: review.submitted_at,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn project_ref() -> ProjectRef {
        ProjectRef { source_id: "7".into(), key: "Octo/hello".into() }
    }

    fn map(change: &Value) -> ItemRecord {
        let mut issue = json!({
            "id": 4_291_809_780_u64, "number": 12, "title": "A \"quoted\" title", "body": null, "state": "open",
            "user": {"id": 1, "login": "ann", "type": "User"}, "labels": ["plain", {"id": 5, "name": "P1"}],
            "assignees": [{"id": 2, "login": "bot[bot]", "type": "Bot"}, {"id": 1, "login": "ann"}],
            "milestone": {"id": 9, "title": "1.0"}, "html_url": "https://github.com/Octo/hello/issues/12",
            "created_at": "2026-11-20T09:15:03Z", "updated_at": "2026-11-21T09:15:03Z", "closed_at": null
        });
        for (key, value) in change.as_object().unwrap() {
            issue[key] = value.clone();
        }
        let raw = serde_json::value::to_raw_value(&issue).unwrap();
        item(&project_ref(), &serde_json::from_str(raw.get()).unwrap(), &raw, true, &mut People::default())
    }

    #[test]
    fn an_issue_becomes_a_work_item() {
        let item = map(&json!({"parent_issue_url": "https://api.github.com/repos/octo/Hello/issues/3"}));
        assert_eq!((item.source_id.as_str(), item.ref_key.as_str()), ("4291809780", "7#12"));
        assert_eq!(item.source_key, "Octo/hello#12");
        assert_eq!(item.title, "A \"quoted\" title");
        assert_eq!(item.labels, ["plain", "P1"]);
        assert_eq!((item.priority_norm, item.priority_original.as_deref()), (PriorityNorm::High, Some("P1")));
        assert_eq!(item.assignees[0].name, "bot[bot]");
        assert_eq!(
            (item.milestone_source_id.as_deref(), item.milestone.as_deref()),
            (Some("9"), Some("1.0"))
        );
        assert_eq!(item.parent_ref_key.as_deref(), Some("7#3"));
        assert_eq!(
            map(&json!({"parent_issue_url": "https://h/repos/o/other/issues/3"})).parent_ref_key,
            None
        );
        let fields = json!({"issue_field_values": [{"issue_field_name": "Effort", "value": 3}]});
        assert_eq!(map(&fields).custom_fields, json!({"Effort": 3}));
    }

    #[test]
    fn states_and_reasons_are_normalized_side_by_side_with_the_original() {
        use StatusNorm::{Cancelled, Done, InProgress, Todo};
        let merged = json!({"merged_at": "2026-11-21T09:15:03Z"});
        for (change, norm, original) in [
            (json!({}), Todo, "open"),
            (json!({"state_reason": "reopened"}), Todo, "open"),
            (json!({"state": "closed", "state_reason": "completed"}), Done, "closed"),
            (json!({"state": "closed", "state_reason": null}), Done, "closed"),
            (json!({"state": "closed", "state_reason": "something_new"}), Done, "closed"),
            (json!({"state": "closed", "state_reason": "not_planned"}), Cancelled, "closed"),
            (json!({"state": "closed", "state_reason": "duplicate"}), Cancelled, "closed"),
            (json!({"pull_request": {}, "draft": true}), InProgress, "open"),
            (json!({"pull_request": {"merged_at": null}, "state": "closed"}), Cancelled, "closed"),
            (json!({"pull_request": merged, "state": "closed"}), Done, "merged"),
        ] {
            let item = map(&change);
            assert_eq!((item.status_norm, item.status_original.as_str()), (norm, original), "{change}");
            let closed = change["state"] == "closed";
            assert_eq!(
                item.resolution_original.as_deref(),
                change["state_reason"].as_str().filter(|_| closed)
            );
        }
    }

    #[test]
    fn types_come_from_the_type_else_from_labels() {
        for (change, norm, original) in [
            (json!({"type": {"name": "Bug"}}), TypeNorm::Bug, "Bug"),
            (json!({"type": {"name": "Feature"}, "labels": ["bug"]}), TypeNorm::Feature, "Feature"),
            (json!({"type": {"name": "Initiative"}}), TypeNorm::Other, "Initiative"),
            (json!({"type": null, "labels": [{"name": "kind/bug"}]}), TypeNorm::Bug, "issue"),
            (json!({"labels": ["enhancement"]}), TypeNorm::Feature, "issue"),
            (json!({"labels": ["debugging"]}), TypeNorm::Task, "issue"),
            (json!({"labels": ["bug"], "pull_request": {}}), TypeNorm::PullRequest, "pull_request"),
        ] {
            let item = map(&change);
            assert_eq!((item.type_norm, item.type_original.as_str()), (norm, original), "{change}");
        }
    }

    #[test]
    fn only_labels_that_speak_of_priority_set_one() {
        for (label, norm) in [
            ("priority: high", Some(PriorityNorm::High)),
            ("Low-Priority", Some(PriorityNorm::Low)),
            ("prio/critical", Some(PriorityNorm::Urgent)),
            ("P2", Some(PriorityNorm::Normal)),
            ("p0 / blocker", Some(PriorityNorm::Urgent)),
            ("high", None),
            ("priority", None),
            ("low hanging fruit", None),
            ("p2p", None),
            ("priority queue", None),
        ] {
            assert_eq!(label_priority(label), norm, "{label}");
        }
    }
}
