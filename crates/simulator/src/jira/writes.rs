//! Changing operations. Each checks what Jira checks, keeps the changelog, and tells the webhooks.

mod attachments;
mod change;
mod checks;
mod moves;
mod notes;
mod relations;
mod sprints;
mod versions;
mod watchers;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::call::{Api, Call, Kind};
use super::fields::ways;
use super::hooks::{self, Event};
use super::issue::{Issue, id_of};
use super::issues::visible;
use super::render::Selection;
use super::reply::Reply;
use super::site::JiraSite;
use super::{search, text, time};
use crate::Shared;
use attachments::attach;
use change::Change;
use checks::{checked, checked_updates};
use moves::{move_issues, progress};
use notes::{add_comment, add_worklog, append_comment, delete_comment, delete_worklog, edit_comment};
use relations::{delete_property, link, set_property, unlink};
pub(super) use sprints::{change_sprint, new_sprint, to_backlog, to_sprint};
use versions::{change_version, new_version};
pub(super) use watchers::watchers;
use watchers::{unwatch, watch};

/// `None` when it is no changing operation.
pub(super) fn dispatch(shared: &Arc<Shared>, site: usize, call: &Call<'_>) -> Option<Result<Reply, Reply>> {
    let parts = call.parts();
    let act: fn(&mut Write<'_>) -> Result<Reply, Reply> = match (call.method, parts.as_slice()) {
        (&Method::POST, ["issue"]) => create,
        (&Method::PUT, ["issue", _]) => edit,
        (&Method::DELETE, ["issue", _]) => delete,
        (&Method::POST, ["issue", _, "transitions"]) => transition,
        (&Method::PUT, ["issue", _, "assignee"]) => assign,
        (&Method::POST, ["issue", _, "comment"]) => add_comment,
        (&Method::PUT, ["issue", _, "comment", _]) => edit_comment,
        (&Method::DELETE, ["issue", _, "comment", _]) => delete_comment,
        (&Method::POST, ["issue", _, "worklog"]) => add_worklog,
        (&Method::DELETE, ["issue", _, "worklog", _]) => delete_worklog,
        (&Method::POST, ["issue", _, "attachments"]) => attach,
        (&Method::POST, ["issue", _, "watchers"]) => watch,
        (&Method::DELETE, ["issue", _, "watchers"]) => unwatch,
        (&Method::PUT, ["issue", _, "properties", _]) => set_property,
        (&Method::DELETE, ["issue", _, "properties", _]) => delete_property,
        (&Method::POST, ["bulk", "issues", "move"]) => move_issues,
        (&Method::GET, ["bulk", "queue", _]) => progress,
        (&Method::POST, ["version"]) => new_version,
        (&Method::PUT, ["version", _]) => change_version,
        (&Method::POST, ["issueLink"]) => link,
        (&Method::DELETE, ["issueLink", _]) => unlink,
        (&Method::POST, ["webhook"]) => hooks::register,
        (&Method::PUT, ["webhook", "refresh"]) => hooks::refresh,
        (&Method::DELETE, ["webhook"]) => hooks::remove,
        _ => return None,
    };
    Some(run(shared, site, call, act))
}

/// One changing operation under way.
pub(super) struct Write<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) site: &'a mut JiraSite,
    pub(super) account: String,
    events: Vec<Event>,
}

fn run(
    shared: &Arc<Shared>,
    index: usize,
    call: &Call<'_>,
    act: impl FnOnce(&mut Write<'_>) -> Result<Reply, Reply>,
) -> Result<Reply, Reply> {
    call.may_write()?;
    let mut sites = shared.jira_mut();
    let site = &mut sites[index];
    let account = site.account(call.login).to_owned();
    let mut write = Write { call, site, account, events: Vec::new() };
    let reply = act(&mut write)?;
    let events = std::mem::take(&mut write.events);
    let deliveries: Vec<_> =
        events.into_iter().flat_map(|event| hooks::told(site, &call.base, &event)).collect();
    drop(sites);
    hooks::deliver(shared, index, deliveries);
    Ok(reply)
}

impl Write<'_> {
    fn part(&self, index: usize) -> &str {
        self.call.parts.get(index).map_or("", String::as_str)
    }

    /// The issue of the path, if it may be changed once more within the minute.
    fn target(&mut self) -> Result<u64, Reply> {
        let id = visible(self.call, self.site, self.part(1))?.id;
        let Some(limit) = self.site.switches.issue_writes_per_minute else { return Ok(id) };
        let now = crate::timestamp::now_ms();
        let recent = self.site.recent_writes.entry(id).or_default();
        recent.retain(|at| *at > now - 60_000);
        if recent.len() >= limit {
            return Err(Reply::error(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded.")
                .header("ratelimit-reason", "jira-per-issue-on-write".to_owned())
                .header("retry-after", "2".to_owned()));
        }
        recent.push(now);
        Ok(id)
    }

    fn issue(&self, id: u64) -> Result<&Issue, Reply> {
        self.site.issue(id).ok_or_else(Reply::no_issue)
    }

    /// Puts changes in force, with one changelog entry.
    fn apply(&mut self, id: u64, changes: Vec<Change>) {
        let items: Vec<Value> = changes.iter().filter_map(|change| change.item.clone()).collect();
        let (history, author) = (self.site.new_id(), json!(self.account));
        self.site.edit(id, |issue, at| {
            for change in changes {
                issue.fields.insert(change.field, change.value);
            }
            if !items.is_empty() {
                let entry = json!({"id": history.to_string(), "author": author, "created": time::iso(at), "items": items});
                issue.histories.push(entry);
            }
        });
        self.events.push(Event::updated(id, "issue_generic", items));
    }

    /// A text as this version sends it: a document, or wiki markup.
    fn rich(&self, field: &str, value: &Value) -> Result<Value, Reply> {
        let right = match self.call.api {
            Api::Three => text::is_document(value),
            _ => value.is_string(),
        };
        if right {
            return Ok(value.clone());
        }
        let message = match self.call.api {
            Api::Three => "Operation value must be an Atlassian Document (see the Atlassian Document Format)",
            _ => "Operation value must be a string",
        };
        Err(Reply::fields([(field.to_owned(), message.to_owned())]))
    }

    fn shown(&self, id: u64) -> Result<Value, Reply> {
        let selection = Selection::new(&[], &["*all"]);
        Ok(self.call.view(self.site).issue(self.issue(id)?, &selection))
    }
}

const BODY: [&str; 5] = ["fields", "historyMetadata", "properties", "transition", "update"];

fn object<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Map<String, Value>>, Reply> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(search::wrong(name)),
    }
}

/// `POST /issue`.
fn create(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[("updateHistory", Kind::Flag)])?;
    let body = write.call.object(Some(&BODY))?;
    let empty = Map::new();
    let given = object(&body, "fields")?.unwrap_or(&empty);
    let mut errors = Vec::new();
    let project = given.get("project").and_then(|one| id_of(&one["id"]).or_else(|| id_of(&one["key"])));
    let project = project.filter(|key| write.site.sees(write.call.login, key));
    let project = project.and_then(|key| write.site.project(&key)).cloned();
    let Some(project) = project else {
        return Err(Reply::fields([("project".to_owned(), "Specify a valid project ID or key".to_owned())]));
    };
    let kinds = &write.site.catalog.types;
    let kind = given.get("issuetype").and_then(|one| {
        let wanted = id_of(&one["id"]).or_else(|| id_of(&one["name"]))?;
        super::catalog::Catalog::named(kinds, &wanted).cloned()
    });
    if kind.is_none() {
        errors.push(("issuetype".to_owned(), "Specify an issue type".to_owned()));
    }
    let project_id = id_of(&project["id"]).unwrap_or_default();
    let mut rest = given.clone();
    rest.remove("project");
    rest.remove("issuetype");
    if !rest.contains_key("summary") {
        errors.push(("summary".to_owned(), "You must specify a summary of the issue.".to_owned()));
    }
    if kind.as_ref().is_some_and(|kind| kind["subtask"] == true) && !rest.contains_key("parent") {
        errors.push((
            "parent".to_owned(),
            "Issue type is a sub-task but parent issue key or id not specified.".to_owned(),
        ));
    }
    let mut changes = checked(write, None, &project_id, &rest, &mut errors)?;
    let (more, comments) = match object(&body, "update")? {
        Some(update) => checked_updates(write, None, &project_id, update, &mut errors)?,
        None => Default::default(),
    };
    changes.extend(more);
    let Some(kind) = kind.filter(|_| errors.is_empty()) else { return Err(Reply::fields(errors)) };
    let (id, at) = (write.site.new_id(), write.site.tick());
    let key = write.site.next_key(project["key"].as_str().unwrap_or_default());
    let first =
        write.site.catalog.statuses.iter().find(|(_, status)| status["statusCategory"]["key"] == "new");
    let status = first.map(|(id, _)| id.clone()).unwrap_or_default();
    let mut fields = Map::new();
    let (now, me) = (json!(time::iso(at)), json!(write.account));
    for (name, value) in [
        ("project", json!(project_id)),
        ("issuetype", json!(id_of(&kind))),
        ("status", json!(status)),
        ("created", now.clone()),
        ("updated", now.clone()),
        ("statuscategorychangedate", now),
        ("creator", me.clone()),
        ("reporter", me),
        ("labels", json!([])),
    ] {
        fields.insert(name.to_owned(), value);
    }
    let medium = write.site.catalog.priorities.iter().find(|(_, one)| one["name"] == "Medium");
    fields.insert("priority".into(), json!(medium.map(|(id, _)| id)));
    for change in changes {
        fields.insert(change.field, change.value);
    }
    let mut issue = Issue::new(id, &key, fields);
    issue.changed = at;
    for property in body.get("properties").and_then(Value::as_array).into_iter().flatten() {
        if let Some(name) = property["key"].as_str() {
            issue.properties.insert(name.to_owned(), property["value"].clone());
        }
    }
    let parent = issue.reference("parent").filter(|_| kind["subtask"] == true);
    write.site.insert(issue);
    if let Some(parent) = parent.and_then(|id| id.parse().ok()) {
        write.site.edit_silently(parent, |parent| {
            let list = parent.fields.entry("subtasks").or_insert_with(|| json!([]));
            list.as_array_mut().into_iter().for_each(|list| list.push(json!(id.to_string())));
        });
    }
    write.events.push(Event::of("jira:issue_created", "issue_created", id));
    for comment in comments {
        append_comment(write, id, &comment["body"], Some(&comment));
    }
    let own = write.call.view(write.site).url(&format!("issue/{id}"));
    Ok(Reply::created(&json!({"id": id.to_string(), "key": key, "self": own})))
}

/// `PUT /issue/{idOrKey}`.
fn edit(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[
        ("notifyUsers", Kind::Flag),
        ("overrideScreenSecurity", Kind::Flag),
        ("overrideEditableFlag", Kind::Flag),
        ("returnIssue", Kind::Flag),
        ("expand", Kind::Text),
    ])?;
    let id = write.target()?;
    let body = write.call.object(Some(&BODY))?;
    change(write, id, &body, Vec::new())?;
    match write.call.flag("returnIssue") {
        true => Ok(Reply::json(&write.shown(id)?)),
        false => Ok(Reply::no_content()),
    }
}

/// Checks and applies `fields` and `update`, with what a transition changes.
fn change(
    write: &mut Write<'_>,
    id: u64,
    body: &Map<String, Value>,
    first: Vec<Change>,
) -> Result<(), Reply> {
    let project = write.issue(id)?.reference("project").unwrap_or_default();
    let mut errors = Vec::new();
    let mut changes = first;
    if let Some(fields) = object(body, "fields")? {
        changes.extend(checked(write, Some(id), &project, fields, &mut errors)?);
    }
    let mut comments = Vec::new();
    if let Some(update) = object(body, "update")? {
        let (more, added) = checked_updates(write, Some(id), &project, update, &mut errors)?;
        changes.extend(more);
        comments = added;
    }
    if !errors.is_empty() {
        return Err(Reply::fields(errors));
    }
    if !changes.is_empty() {
        write.apply(id, changes);
    }
    for comment in comments {
        append_comment(write, id, &comment["body"], Some(&comment));
    }
    Ok(())
}

/// `POST /issue/{idOrKey}/transitions`.
fn transition(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[])?;
    let id = write.target()?;
    let body = write.call.object(Some(&BODY))?;
    let wanted = body.get("transition").and_then(|one| id_of(&one["id"]));
    let wanted = wanted.ok_or_else(|| Reply::bad_request("Missing 'transition' identifier"))?;
    let from = write.issue(id)?.reference("status").unwrap_or_default();
    let way = ways(write.site, &from).into_iter().find(|way| way.id == wanted).ok_or_else(|| {
        Reply::bad_request(&format!("It seems that you have tried to perform a workflow operation (transition {wanted}) that is not valid for the current state of this issue."))
    })?;
    let mut rest = body;
    // As Jira does where a transition has no screen to comment on.
    if way.resolution.is_none()
        && let Some(update) = rest.get_mut("update").and_then(Value::as_object_mut)
    {
        update.remove("comment");
    }
    let mut resolution = Value::Null;
    if let Some(fields) = rest.get_mut("fields").and_then(Value::as_object_mut) {
        if let Some(given) = fields.remove("resolution") {
            if way.resolution.is_none() {
                let message =
                    "Field 'resolution' cannot be set. It is not on the appropriate screen, or unknown.";
                return Err(Reply::fields([("resolution".to_owned(), message.to_owned())]));
            }
            let wanted = id_of(&given["id"]).or_else(|| id_of(&given["name"])).unwrap_or_default();
            let known = super::catalog::Catalog::named(&write.site.catalog.resolutions, &wanted);
            let known = known.and_then(id_of).ok_or_else(|| {
                Reply::fields([("resolution".to_owned(), format!("Could not find valid 'id' or 'value' in the Parent Option object. Resolution '{wanted}' is not valid."))])
            })?;
            resolution = json!(known);
        }
        if let Some(other) = fields.keys().next() {
            let message =
                format!("Field '{other}' cannot be set. It is not on the appropriate screen, or unknown.");
            return Err(Reply::fields([(other.clone(), message)]));
        }
    }
    if way.resolution == Some(true) && resolution.is_null() {
        return Err(Reply::fields([("resolution".to_owned(), "Resolution is required.".to_owned())]));
    }
    let done = way.resolution.is_some();
    if done && resolution.is_null() {
        resolution = json!(write.site.catalog.resolutions.keys().next());
    }
    let at = write.site.tick();
    let mut changes = vec![Change::reference(write.site, write.issue(id)?, "status", json!(way.to))];
    if done || !write.issue(id)?.get("resolution").is_null() {
        changes.push(Change::reference(write.site, write.issue(id)?, "resolution", resolution));
        let date = if done { json!(time::iso(at)) } else { Value::Null };
        changes.push(Change::silent("resolutiondate", date));
    }
    changes.push(Change::silent("statuscategorychangedate", json!(time::iso(at))));
    change(write, id, &rest, changes)?;
    Ok(Reply::no_content())
}

/// `PUT /issue/{idOrKey}/assignee`.
fn assign(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[])?;
    let id = write.target()?;
    let body = write.call.object(None)?;
    let fields = Map::from_iter([("assignee".to_owned(), Value::Object(body))]);
    change(write, id, &Map::from_iter([("fields".to_owned(), Value::Object(fields))]), Vec::new())?;
    Ok(Reply::no_content())
}

/// `DELETE /issue/{idOrKey}`.
fn delete(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[("deleteSubtasks", Kind::OneOf(&["true", "false"]))])?;
    let id = write.target()?;
    let issue = write.issue(id)?;
    let key = issue.key.clone();
    let children: Vec<String> = issue.array("subtasks").iter().filter_map(id_of).collect();
    if !children.is_empty() && !write.call.flag("deleteSubtasks") {
        return Err(Reply::bad_request(
            "The issue has subtasks. You must specify the 'deleteSubtasks' parameter to delete this issue and all its subtasks.",
        ));
    }
    for key in children.into_iter().chain([key]) {
        let Some(issue) = write.site.find(&key) else { continue };
        let (id, shown) = (issue.id, write.shown(issue.id)?);
        if write.site.delete_issue(&key).is_ok() {
            write.events.push(Event::deleted(id, shown));
        }
    }
    Ok(Reply::no_content())
}
