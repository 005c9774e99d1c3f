//! Where a delivery points. Only what is needed of its body is read, so that new fields and values do no harm.
//! <https://docs.github.com/en/webhooks/webhook-events-and-payloads>

use domain::{Hint, Hints};
use serde::Deserialize;

use super::super::super::sanitize::json_text;

#[derive(Debug, Deserialize)]
struct Payload {
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    repository: Option<Repository>,
    #[serde(default)]
    issue: Option<Item>,
    #[serde(default)]
    pull_request: Option<Item>,
    #[serde(default)]
    comment: Option<Comment>,
    #[serde(default)]
    changes: Option<Changes>,
    #[serde(default)]
    sub_issue: Option<Item>,
    #[serde(default)]
    sub_issue_repo: Option<Repository>,
    #[serde(default)]
    parent_issue: Option<Item>,
    #[serde(default)]
    parent_issue_repo: Option<Repository>,
    #[serde(default)]
    blocked_issue: Option<Item>,
    #[serde(default)]
    blocked_issue_repo: Option<Repository>,
    #[serde(default)]
    blocking_issue: Option<Item>,
    #[serde(default)]
    blocking_issue_repo: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    id: u64,
    full_name: String,
}

#[derive(Debug, Deserialize)]
struct Item {
    id: u64,
    number: u64,
}

#[derive(Debug, Deserialize)]
struct Comment {
    id: u64,
}

/// Where a transferred issue came from or went to.
#[derive(Debug, Deserialize)]
struct Changes {
    #[serde(default)]
    new_issue: Option<Item>,
    #[serde(default)]
    new_repository: Option<Repository>,
    #[serde(default)]
    old_issue: Option<Item>,
    #[serde(default)]
    old_repository: Option<Repository>,
}

/// What an event's body points at; nothing for events that are not about what is synced.
pub(super) fn read(event: &str, body: &[u8]) -> Result<Hints, serde_json::Error> {
    let mut hints = Hints::new();
    match event {
        "issues"
        | "issue_comment"
        | "pull_request"
        | "pull_request_review"
        | "pull_request_review_comment"
        | "pull_request_review_thread"
        | "sub_issues"
        | "issue_dependencies" => {}
        "label"
        | "milestone"
        | "repository"
        | "installation"
        | "installation_repositories"
        | "installation_target"
        | "projects_v2"
        | "projects_v2_item"
        | "member"
        | "organization" => {
            serde_json::from_str::<serde::de::IgnoredAny>(&json_text(body))?;
            hints.insert(Hint::Reference);
            return Ok(hints);
        }
        // Also `ping`: it is signed, and that is all there is to it.
        _ => {
            serde_json::from_str::<serde::de::IgnoredAny>(&json_text(body))?;
            return Ok(hints);
        }
    }
    let payload: Payload = serde_json::from_str(&json_text(body))?;
    let home = payload.repository.as_ref();
    let mut point = |item: Option<&Item>, repository: Option<&Repository>, is_issue: bool| {
        if let (Some(item), Some(repository)) = (item, repository) {
            hints.insert(Hint::Item {
                // A pull request's own id is not that of its issue form.
                source_id: is_issue.then(|| item.id.to_string()),
                ref_key: Some(format!("{}#{}", repository.id, item.number)),
                key: Some(format!("{}#{}", repository.full_name, item.number)),
            });
        }
    };
    point(payload.issue.as_ref(), home, true);
    point(payload.pull_request.as_ref(), home, false);
    if let Some(changes) = &payload.changes {
        point(changes.new_issue.as_ref(), changes.new_repository.as_ref(), true);
        point(changes.old_issue.as_ref(), changes.old_repository.as_ref(), true);
    }
    // The repository of the end that lies elsewhere stands beside it.
    point(payload.sub_issue.as_ref(), payload.sub_issue_repo.as_ref().or(home), true);
    point(payload.parent_issue.as_ref(), payload.parent_issue_repo.as_ref().or(home), true);
    point(payload.blocked_issue.as_ref(), payload.blocked_issue_repo.as_ref().or(home), true);
    point(payload.blocking_issue.as_ref(), payload.blocking_issue_repo.as_ref().or(home), true);
    if payload.action.as_deref() == Some("deleted")
        && let Some(comment) = payload.comment
    {
        let kind = if event == "issue_comment" { "comment" } else { "review_comment" };
        hints.insert(Hint::CommentGone { kind: kind.into(), source_id: comment.id.to_string() });
    }
    Ok(hints)
}
