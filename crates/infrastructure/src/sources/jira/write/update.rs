//! Changes of an issue.

use application::ports::SourceError;
use domain::{ItemPatch, ListChange, WrittenItem};
use http::Method;
use serde_json::Value;

use super::super::api::{Api, segment};
use super::create::no_sections;
use super::fields::Draft;
use super::form::Form;
use super::issue::{Issue, finish};
use super::people::Among;
use super::values::Place;
use super::{Mode, rehearse, rejected, send};

/// Changes what is asked and nothing else.
///
/// Jira has no conditional edit: an issue that is changed between the check of `if_unchanged_since` and the edit is not
/// noticed.
pub(super) async fn update(
    api: &Api<'_>,
    key: &str,
    patch: &ItemPatch,
    mode: Mode,
) -> Result<WrittenItem, SourceError> {
    let form = Form::of_edit(api, key).await?;
    let issue = read(api, key, &form, patch).await?;
    issue.require_selected(api)?;
    issue.require_unchanged(patch.if_unchanged_since)?;
    let project = project_of(&issue);
    let place = Place { project: &project, people: Among::Issue(&issue.key), documents: patch.documents };
    let mut draft = Draft::new(api, &form, place, &issue.fields);
    fill(&mut draft, &issue, patch).await?;
    if draft.is_empty() {
        return Ok(issue.written(api));
    }
    if mode == Mode::Rehearse {
        return Ok(rehearse::of_change(api, draft, &issue, None));
    }
    let path = api.rest(&format!("/issue/{}", segment(&issue.key)));
    let what = format!("the change of {}", issue.key);
    send::change(api, Method::PUT, &path, &draft.body(), &draft.pointers, &what).await?;
    Ok(finish(api, &issue.key, &draft.watched, Some(&issue), &issue.id, draft.warnings).await)
}

/// Reads the issue with the fields that the patch is about.
pub(super) async fn read(
    api: &Api<'_>,
    key: &str,
    form: &Form,
    patch: &ItemPatch,
) -> Result<Issue, SourceError> {
    let mut fields = vec!["project", "summary", "description", "issuetype", "assignee", "labels", "priority"];
    fields.extend(["parent", "fixVersions", "duedate"]);
    let named = patch.fields.keys().filter_map(|given| form.named(given, "/fields").ok()).map(|(id, _)| id);
    fields.extend(named);
    fields.extend(form.sprint().filter(|_| patch.sprint.is_some()).map(|(id, _)| id));
    fields.extend(form.epic_link().filter(|_| patch.parent.is_some()).map(|(id, _)| id));
    Issue::read(api, key, &fields).await
}

pub(super) fn project_of(issue: &Issue) -> String {
    let told = issue.field("project").get("key").and_then(Value::as_str);
    told.or_else(|| issue.key.rsplit_once('-').map(|(project, _)| project)).unwrap_or_default().to_owned()
}

/// Puts what the patch asks into the draft.
pub(super) async fn fill(
    draft: &mut Draft<'_, '_>,
    issue: &Issue,
    patch: &ItemPatch,
) -> Result<(), SourceError> {
    let text = |value: &Option<String>| value.clone().map_or(Value::Null, Value::String);
    if let Some(title) = &patch.title {
        if title.trim().is_empty() {
            return Err(rejected("/title", "an issue needs a title"));
        }
        draft.set_own("title", &Value::String(title.clone())).await?;
    }
    if let Some(body) = &patch.body {
        draft.set_body(body.as_deref())?;
    }
    if let Some(item_type) = &patch.item_type {
        draft.set_own("type", &Value::String(item_type.clone())).await?;
    }
    if let Some(change) = &patch.assignees {
        assign(draft, issue, change).await?;
    }
    if let Some(change) = &patch.labels {
        draft.set_labels(change)?;
    }
    if let Some(priority) = &patch.priority {
        draft.set_own("priority", &text(priority)).await?;
    }
    if let Some(parent) = &patch.parent {
        draft.set_parent(parent.as_deref()).await?;
    }
    if let Some(milestone) = &patch.milestone {
        draft.set_milestone(milestone.as_deref()).await?;
    }
    if let Some(due_on) = &patch.due_on {
        draft.set_own("due_on", &due_on.map_or(Value::Null, |day| Value::String(day.to_string()))).await?;
    }
    if let Some(sprint) = &patch.sprint {
        draft.set_sprint(sprint.as_deref()).await?;
    }
    if patch.section.is_some() {
        return Err(no_sections());
    }
    draft.set_named(&patch.fields).await
}

/// Jira has one assignee: one that is added replaces them, one that is removed leaves nobody.
async fn assign(draft: &mut Draft<'_, '_>, issue: &Issue, change: &ListChange) -> Result<(), SourceError> {
    let (add, remove) = match change {
        ListChange::Set(all) => return draft.set_assignee(all).await,
        ListChange::Edit { add, remove } => (add, remove),
    };
    if !add.is_empty() {
        return draft.set_assignee(add).await;
    }
    let assignee = issue.field("assignee");
    let is_theirs = |given: &String| {
        let given = given.trim().trim_start_matches('@').to_lowercase();
        ["accountId", "name", "key", "emailAddress", "displayName"].iter().any(|name| {
            assignee.get(name).and_then(Value::as_str).is_some_and(|own| own.to_lowercase() == given)
        })
    };
    if remove.iter().any(is_theirs) { draft.set_assignee(&[]).await } else { Ok(()) }
}
