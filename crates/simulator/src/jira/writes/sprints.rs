//! Moving issues between sprints.

use std::sync::Arc;

use axum::http::StatusCode;

use super::change::Change;
use super::{Write, run};
use crate::Shared;
use crate::jira::call::Call;
use crate::jira::catalog::SPRINT;
use crate::jira::issues::visible;
use crate::jira::reply::Reply;
use crate::jira::search;

/// `POST /sprint/{id}/issue`: at most 50 issues leave their open sprint for this one.
pub(in crate::jira) fn to_sprint(
    shared: &Arc<Shared>,
    site: usize,
    call: &Call<'_>,
    id: &str,
) -> Result<Reply, Reply> {
    let number: Option<u64> = id.parse().ok();
    run(shared, site, call, |write| {
        let missing = || {
            Reply::error(
                StatusCode::NOT_FOUND,
                "Sprint does not exist or you do not have permission to view it.",
            )
        };
        let sprint = number.and_then(|id| write.site.sprints.get(&id)).ok_or_else(missing)?;
        if sprint["state"] == "closed" {
            return Err(Reply::bad_request("Issue can only be added to sprints that are not closed."));
        }
        move_to(write, number)
    })
}

/// `POST /backlog/issue`.
pub(in crate::jira) fn to_backlog(
    shared: &Arc<Shared>,
    site: usize,
    call: &Call<'_>,
) -> Result<Reply, Reply> {
    run(shared, site, call, |write| move_to(write, None))
}

fn move_to(write: &mut Write<'_>, sprint: Option<u64>) -> Result<Reply, Reply> {
    write.call.allow(&[])?;
    let body =
        write.call.object(Some(&["issues", "rankBeforeIssue", "rankAfterIssue", "rankCustomFieldId"]))?;
    let keys = search::texts(&body, "issues")?;
    if keys.is_empty() || keys.len() > 50 {
        return Err(Reply::bad_request("Between 1 and 50 issues can be moved at once."));
    }
    let mut ids = Vec::new();
    for key in &keys {
        ids.push(visible(write.call, write.site, key)?.id);
    }
    let field = write.site.catalog.custom(SPRINT).ok_or_else(Reply::no_resource)?.to_owned();
    for id in ids {
        let change = Change::sprint(write.site, write.issue(id)?, &field, sprint);
        write.apply(id, vec![change]);
    }
    Ok(Reply::no_content())
}
