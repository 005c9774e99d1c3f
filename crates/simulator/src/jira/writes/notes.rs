//! Comments and worklogs.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::Write;
use crate::jira::call::Kind;
use crate::jira::hooks::Event;
use crate::jira::issue::Entry;
use crate::jira::reply::Reply;
use crate::jira::time;

pub(super) fn append_comment(
    write: &mut Write<'_>,
    id: u64,
    body: &Value,
    given: Option<&Map<String, Value>>,
) -> Value {
    let visibility = given.and_then(|given| given.get("visibility"));
    let properties = given.and_then(|given| given.get("properties"));
    let internal = properties
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|property| property["key"] == "sd.public.comment" && property["value"]["internal"] == true);
    let (comment, at) = (write.site.new_id(), write.site.tick());
    let mut value = json!({
        "id": comment.to_string(), "author": write.account, "updateAuthor": write.account, "body": body,
        "created": time::iso(at), "updated": time::iso(at), "jsdPublic": !internal,
        "self": write.call.view(write.site).url(&format!("issue/{id}/comment/{comment}"))
    });
    if let Some(visibility) = visibility {
        value["visibility"] = visibility.clone();
    }
    if let Some(properties) = properties.filter(|properties| properties.is_array()) {
        value["properties"] = properties.clone();
    }
    let entry = Entry { id: comment, updated: at, value };
    let shown = write.call.view(write.site).entry(&entry);
    write.site.edit_at(id, at, |issue, _| issue.comments.push(entry));
    write.events.push(Event::comment("comment_created", id, shown.clone()));
    shown
}

/// `POST /issue/{idOrKey}/comment`.
pub(super) fn add_comment(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[("expand", Kind::Text)])?;
    let id = write.target()?;
    let body = write.call.object(None)?;
    let text = comment_text(write, &body)?;
    Ok(Reply::created(&append_comment(write, id, &text, Some(&body))))
}

fn comment_text(write: &Write<'_>, body: &Map<String, Value>) -> Result<Value, Reply> {
    let Some(value) = body.get("body") else {
        return Err(Reply::fields([("comment".to_owned(), "Comment body can not be empty!".to_owned())]));
    };
    write.rich("comment", value)
}

fn comment_index(write: &Write<'_>, id: u64, comment: &str) -> Result<usize, Reply> {
    let found = write.issue(id)?.comments.iter().position(|one| one.id.to_string() == comment);
    found.ok_or_else(|| {
        Reply::error(StatusCode::NOT_FOUND, &format!("Can not find a comment for the id: {comment}."))
    })
}

/// `PUT /issue/{idOrKey}/comment/{id}`.
pub(super) fn edit_comment(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[
        ("notifyUsers", Kind::Flag),
        ("overrideEditableFlag", Kind::Flag),
        ("expand", Kind::Text),
    ])?;
    let id = write.target()?;
    let body = write.call.object(None)?;
    let text = comment_text(write, &body)?;
    let index = comment_index(write, id, write.part(3))?;
    let account = json!(write.account);
    write.site.edit(id, |issue, at| {
        let entry = &mut issue.comments[index];
        entry.value["body"] = text;
        entry.value["updateAuthor"] = account;
        entry.value["updated"] = json!(time::iso(at));
        entry.updated = at;
    });
    let shown = write.call.view(write.site).entry(&write.issue(id)?.comments[index]);
    write.events.push(Event::comment("comment_updated", id, shown.clone()));
    Ok(Reply::json(&shown))
}

/// `DELETE /issue/{idOrKey}/comment/{id}`.
pub(super) fn delete_comment(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[])?;
    let id = write.target()?;
    let index = comment_index(write, id, write.part(3))?;
    let shown = write.call.view(write.site).entry(&write.issue(id)?.comments[index]);
    write.site.edit(id, |issue, _| drop(issue.comments.remove(index)));
    write.events.push(Event::comment("comment_deleted", id, shown));
    Ok(Reply::no_content())
}

/// `POST /issue/{idOrKey}/worklog`.
pub(super) fn add_worklog(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[
        ("notifyUsers", Kind::Flag),
        ("adjustEstimate", Kind::OneOf(&["new", "leave", "manual", "auto"])),
        ("newEstimate", Kind::Text),
        ("reduceBy", Kind::Text),
        ("expand", Kind::Text),
        ("overrideEditableFlag", Kind::Flag),
    ])?;
    let id = write.target()?;
    let body = write.call.object(None)?;
    let seconds = seconds_spent(&body)?;
    let started = body.get("started").and_then(Value::as_str);
    if started.is_some_and(|started| !is_field_time(started)) {
        let message =
            "Cannot deserialize value of type `java.util.Date`: expected \"yyyy-MM-dd'T'HH:mm:ss.SSSZ\"";
        return Err(Reply::bad_request(message));
    }
    let (worklog, at) = (write.site.new_id(), write.site.tick());
    let mut value = json!({
        "id": worklog.to_string(), "issueId": id.to_string(), "author": write.account,
        "updateAuthor": write.account, "created": time::iso(at), "updated": time::iso(at),
        "started": body.get("started").cloned().unwrap_or_else(|| json!(time::iso(at))),
        "timeSpentSeconds": seconds, "timeSpent": told(seconds)
    });
    // Data Center knows properties of comments only.
    if let Some(properties) = body.get("properties").filter(|list| list.is_array() && write.site.is_cloud()) {
        value["properties"] = properties.clone();
    }
    if let Some(comment) = body.get("comment") {
        value["comment"] = write.rich("comment", comment)?;
    }
    let entry = Entry { id: worklog, updated: at, value };
    let shown = write.call.view(write.site).entry(&entry);
    write.site.worklog_changes.insert(worklog, at);
    write.site.edit_at(id, at, |issue, _| issue.worklogs.push(entry));
    write.events.push(Event::updated(id, "issue_work_logged", Vec::new()));
    write.events.push(Event::about("worklog_created", Some(id), "worklog", shown.clone()));
    Ok(Reply::created(&shown))
}

/// What was given by either name; Jira takes one of them.
fn seconds_spent(body: &Map<String, Value>) -> Result<i64, Reply> {
    let wrong = |message: &str| Reply::fields([("timeLogged".to_owned(), message.to_owned())]);
    let seconds = match (body.get("timeSpent"), body.get("timeSpentSeconds")) {
        (Some(_), Some(_)) => return Err(wrong("Only one of timeSpent and timeSpentSeconds may be given.")),
        (Some(text), None) => text.as_str().and_then(span),
        (None, seconds) => seconds.and_then(Value::as_i64),
    };
    seconds.filter(|seconds| *seconds >= 60).ok_or_else(|| wrong("Worklog must not be null."))
}

/// Units of a site whose days have eight hours and whose weeks have five days.
const UNITS: [(char, i64); 4] = [('w', 144_000), ('d', 28_800), ('h', 3_600), ('m', 60)];

fn span(text: &str) -> Option<i64> {
    text.split_whitespace().try_fold(0_i64, |sum, part| {
        let unit = part.chars().last()?;
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let count: i64 = part.strip_suffix(unit)?.parse().ok()?;
        sum.checked_add(count.checked_mul(*length)?)
    })
}

fn told(seconds: i64) -> String {
    let mut left = seconds;
    let parts = UNITS.iter().filter_map(|(unit, length)| {
        let count = left / length;
        left %= length;
        (count > 0).then(|| format!("{count}{unit}"))
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// Jira reads no time whose offset has a colon, and no `Z`.
fn is_field_time(text: &str) -> bool {
    let offset = text.get(text.len().saturating_sub(5)..).unwrap_or_default();
    let (sign, digits) = offset.split_at_checked(1).unwrap_or_default();
    matches!(sign, "+" | "-")
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && time::parse(text).is_some()
}

/// `DELETE /issue/{idOrKey}/worklog/{id}`.
pub(super) fn delete_worklog(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[
        ("notifyUsers", Kind::Flag),
        ("adjustEstimate", Kind::OneOf(&["new", "leave", "manual", "auto"])),
        ("newEstimate", Kind::Text),
        ("increaseBy", Kind::Text),
        ("overrideEditableFlag", Kind::Flag),
    ])?;
    let id = write.target()?;
    let wanted = write.part(3).to_owned();
    let found = write.issue(id)?.worklogs.iter().position(|one| one.id.to_string() == wanted);
    let index = found.ok_or_else(|| {
        Reply::error(StatusCode::NOT_FOUND, &format!("Cannot find worklog with id: '{wanted}'."))
    })?;
    let at = write.site.tick();
    let entry = &write.issue(id)?.worklogs[index];
    let (number, shown) = (entry.id, write.call.view(write.site).entry(entry));
    write.site.worklog_changes.remove(&number);
    write.site.deleted_worklogs.insert(number, at);
    write.site.edit_at(id, at, |issue, _| drop(issue.worklogs.remove(index)));
    write.events.push(Event::updated(id, "issue_worklog_deleted", Vec::new()));
    write.events.push(Event::about("worklog_deleted", Some(id), "worklog", shown));
    Ok(Reply::no_content())
}
