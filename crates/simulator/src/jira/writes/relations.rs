//! Properties and links.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Write;
use crate::jira::catalog::Catalog;
use crate::jira::hooks::Event;
use crate::jira::issue::id_of;
use crate::jira::issues::visible;
use crate::jira::reply::Reply;
use crate::jira::site::JiraSite;

/// `PUT /issue/{idOrKey}/properties/{key}`: 201 when new, 200 else. The issue is not updated by it.
pub(super) fn set_property(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[])?;
    let id = write.target()?;
    let name = write.part(3).to_owned();
    if name.is_empty() || name.len() > 255 {
        return Err(Reply::bad_request("The property key must have 1 to 255 characters."));
    }
    let value: Value = serde_json::from_slice(write.call.body)
        .map_err(|_| Reply::bad_request("The property value must be valid JSON."))?;
    let known = write.issue(id)?.properties.contains_key(&name);
    write.site.edit_silently(id, |issue| drop(issue.properties.insert(name, value)));
    write.events.push(Event::of("issue_property_set", "issue_property_set", id));
    Ok(Reply::new(if known { StatusCode::OK } else { StatusCode::CREATED }, String::new()))
}

/// `DELETE /issue/{idOrKey}/properties/{key}`.
pub(super) fn delete_property(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[])?;
    let id = write.target()?;
    let name = write.part(3).to_owned();
    if !write.issue(id)?.properties.contains_key(&name) {
        return Err(Reply::error(StatusCode::NOT_FOUND, &format!("The property '{name}' does not exist.")));
    }
    write.site.edit_silently(id, |issue| drop(issue.properties.remove(&name)));
    write.events.push(Event::of("issue_property_deleted", "issue_property_deleted", id));
    Ok(Reply::no_content())
}

/// `POST /issueLink`.
pub(super) fn link(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[])?;
    let body = write.call.object(Some(&["comment", "inwardIssue", "outwardIssue", "type"]))?;
    let side = |name: &str| {
        let wanted = body.get(name).and_then(|one| id_of(&one["id"]).or_else(|| id_of(&one["key"])));
        visible(write.call, write.site, &wanted.unwrap_or_default()).map(|issue| issue.id)
    };
    let (inward, outward) = (side("inwardIssue")?, side("outwardIssue")?);
    let wanted = body.get("type").and_then(|one| id_of(&one["id"]).or_else(|| id_of(&one["name"])));
    let kind = Catalog::named(&write.site.catalog.link_types, &wanted.unwrap_or_default());
    let kind = kind.and_then(id_of).ok_or_else(|| {
        Reply::error(StatusCode::NOT_FOUND, "No issue link type with the given name found.")
    })?;
    let id = join(write.site, &kind, inward, outward);
    let told = json!({
        "id": id, "sourceIssueId": inward, "destinationIssueId": outward, "systemLink": false,
        "issueLinkType": write.site.catalog.link_types.get(&kind)
    });
    write.events.push(Event::about("issuelink_created", Some(inward), "issueLink", told));
    Ok(Reply::created(&json!({})))
}

/// `DELETE /issueLink/{linkId}`; both issues are updated by it.
pub(super) fn unlink(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[])?;
    let id = write.part(1).to_owned();
    let is_it = |link: &Value| link["id"].as_str() == Some(&id);
    let ends: Vec<u64> = write.site.linked_by(&id);
    let seen = ends.first().map(|end| visible(write.call, write.site, &end.to_string()).is_ok());
    if seen != Some(true) {
        return Err(Reply::error(StatusCode::NOT_FOUND, &format!("No issue link with id '{id}' exists.")));
    }
    for end in &ends {
        write.site.edit(*end, |issue, _| {
            let list = issue.fields.get_mut("issuelinks").and_then(Value::as_array_mut);
            list.into_iter().for_each(|list| list.retain(|link| !is_it(link)));
        });
    }
    let told = json!({"id": id, "systemLink": false});
    write.events.push(Event::about("issuelink_deleted", ends.first().copied(), "issueLink", told));
    Ok(Reply::no_content())
}

/// Links two issues; both are updated by it. Answers the link's id.
fn join(site: &mut JiraSite, kind: &str, inward: u64, outward: u64) -> u64 {
    let number = site.new_id();
    let id = number.to_string();
    for (own, name, other) in [(inward, "outwardIssue", outward), (outward, "inwardIssue", inward)] {
        let row = json!({"id": id, "type": kind, name: other.to_string()});
        site.edit(own, |issue, _| {
            let list = issue.fields.entry("issuelinks").or_insert_with(|| json!([]));
            list.as_array_mut().into_iter().for_each(|list| list.push(row.clone()));
        });
    }
    number
}
