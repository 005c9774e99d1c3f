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

/// `POST /sprint`: a future sprint on a board. <https://developer.atlassian.com/cloud/jira/software/rest/>
pub(in crate::jira) fn new_sprint(
    shared: &Arc<Shared>,
    site: usize,
    call: &Call<'_>,
) -> Result<Reply, Reply> {
    run(shared, site, call, |write| {
        write.call.allow(&[])?;
        let mut body = write.call.object(Some(&["name", "startDate", "endDate", "originBoardId", "goal"]))?;
        let name = body.get("name").and_then(Value::as_str).map(str::trim).unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(Reply::bad_request("The sprint name is required."));
        }
        body.insert("name".into(), name.into());
        let Some(board) = body.get("originBoardId").and_then(Value::as_u64) else {
            return Err(Reply::bad_request("The origin board id is required."));
        };
        let site = &mut *write.site;
        let id = site.sprints.keys().next_back().map_or(1, |last| last + 1);
        let found = site.boards.iter_mut().find(|one| one.id == board).ok_or_else(|| {
            Reply::error(StatusCode::NOT_FOUND, "The requested board cannot be viewed because it either does not exist or you do not have permission to view it.")
        })?;
        if found.kind != "scrum" {
            return Err(Reply::bad_request("The board does not support sprints"));
        }
        found.sprints.push(id);
        body.insert("id".into(), id.into());
        body.insert("state".into(), "future".into());
        let sprint = Value::Object(body);
        site.sprints.insert(id, sprint.clone());
        write.events.push(Event::about("sprint_created", None, "sprint", sprint.clone()));
        Ok(Reply::created(&sprint))
    })
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
        let has = |name: &str| {
            let now = body.get(name).or_else(|| write.site.sprints[&id].get(name));
            now.is_some_and(Value::is_string)
        };
        if before == "closed" {
            return Err(Reply::bad_request("Sprints that are in a closed state cannot be updated."));
        }
        if before != after && after == "active" && !(has("startDate") && has("endDate")) {
            return Err(Reply::bad_request("A sprint must have a start date and an end date to be started."));
        }
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
