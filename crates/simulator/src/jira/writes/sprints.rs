//! Moving issues between sprints.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::Value;

use super::change::Change;
use super::{Write, run};
use crate::Shared;
use crate::jira::call::Call;
use crate::jira::catalog::SPRINT;
use crate::jira::hooks::Event;
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
        let sprint = number.and_then(|id| write.site.sprints.get(&id)).ok_or_else(missing)?;
        if sprint["state"] == "closed" {
            return Err(Reply::bad_request("Issue can only be added to sprints that are not closed."));
        }
        move_to(write, number)
    })
}

fn missing() -> Reply {
    Reply::error(StatusCode::NOT_FOUND, "Sprint does not exist or you do not have permission to view it.")
}

/// `POST /sprint/{id}`: changes what is given of it. <https://developer.atlassian.com/cloud/jira/software/rest/>
pub(in crate::jira) fn change_sprint(
    shared: &Arc<Shared>,
    site: usize,
    call: &Call<'_>,
    id: &str,
) -> Result<Reply, Reply> {
    let number: Option<u64> = id.parse().ok();
    run(shared, site, call, |write| {
        write.call.allow(&[])?;
        let body =
            write.call.object(Some(&["completeDate", "endDate", "goal", "name", "startDate", "state"]))?;
        let id = number.filter(|id| write.site.sprints.contains_key(id)).ok_or_else(missing)?;
        let before = write.site.sprints[&id]["state"].clone();
        let after = body.get("state").cloned().unwrap_or_else(|| before.clone());
        let event = match (before.as_str(), after.as_str()) {
            (Some("future"), Some("active")) => "sprint_started",
            (Some("active"), Some("closed")) => "sprint_closed",
            (before, after) if before == after => "sprint_updated",
            _ => return Err(Reply::bad_request("The sprint cannot be taken to this state.")),
        };
        let changed = write.site.edit_sprint(id, &Value::Object(body));
        changed.map_err(|error| Reply::bad_request(&error.to_string()))?;
        let sprint = write.site.sprints[&id].clone();
        write.events.push(Event::about(event, None, "sprint", sprint.clone()));
        Ok(Reply::json(&sprint))
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
