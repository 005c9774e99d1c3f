//! Makes tasks, and finds again those that were made.

use application::ports::{Look, SourceError, SourceErrorKind};
use chrono::{DateTime, SecondsFormat, TimeDelta};
use domain::{ChangedField, NewItem, WrittenItem};
use http::Method;
use serde_json::{Map, Value, json};

use super::super::api::Api;
use super::super::model::{Project, Task};
use super::super::normalize::TASK_FIELDS;
use super::super::settings::is_gid;
use super::super::{malformed, marker};
use super::plan::{self, Plan, Step};
use super::{There, found, html, lookup, unsupported};

/// How far Asana's clock and ours may be apart when a task is looked for by its time.
const SLACK: TimeDelta = TimeDelta::hours(1);
const MOST_PAGES: usize = 50;

/// Everything is looked up before anything is sent.
pub(super) async fn create(api: &Api<'_>, new: &NewItem, marker: &str) -> Result<WrittenItem, SourceError> {
    let project = lookup::project(api, &new.project).await?;
    let mut plan = Plan::default();
    let data = data(api, &project, new, marker, &mut plan).await?;
    let query = [("opt_fields", TASK_FIELDS)];
    let task: Task = api.write(Method::POST, "/tasks", &query, data, "the new task").await?;
    let mut made = There { task, project: project.gid };
    if !plan.steps.is_empty() {
        let gid = made.task.gid.clone();
        // The task is made: what cannot be done with it is told, and does not deny that.
        match plan.send(api, &gid).await {
            Ok(_) => match super::task(api, &gid).await {
                Ok(task) => made.task = task,
                Err(error) => plan.warnings.push(format!("the new task could not be read: {error}")),
            },
            Err(error) => plan.warnings.push(format!("the task is made, but in no section: {error}")),
        }
    }
    let fields = plan::snapshot(&made.task, &made.project);
    let changed = plan
        .asked
        .iter()
        .filter_map(|field| {
            let to = fields.get(field).cloned()?;
            Some(ChangedField { field: field.clone(), from: Value::Null, to })
        })
        .collect();
    Ok(WrittenItem { changed, warnings: plan.warnings, ..made.written() })
}

async fn data(
    api: &Api<'_>,
    project: &Project,
    new: &NewItem,
    marker: &str,
    plan: &mut Plan,
) -> Result<Value, SourceError> {
    if new.milestone.is_some() {
        return Err(unsupported(
            "/milestone",
            "a task of Asana has no milestone: make it a part of one by `parent`",
        ));
    }
    if new.sprint.is_some() {
        return Err(unsupported("/sprint", "Asana has no sprints: name a section, or a custom field"));
    }
    let workspace = project.workspace.as_ref().map(|workspace| workspace.gid.clone()).unwrap_or_default();
    let mut data = Map::new();
    let mut set = |field: &str, name: &str, value: Value, asked: &mut Vec<String>| {
        data.insert(name.to_owned(), value);
        asked.push(field.to_owned());
    };
    set("title", "name", json!(new.title), &mut plan.asked);
    if let Some(kind) = &new.item_type {
        set("type", "resource_subtype", json!(subtype(kind)?), &mut plan.asked);
    }
    let assignee = match new.assignees.as_slice() {
        [] => None,
        [one] => Some(lookup::user(api, &workspace, one, "/assignees/0").await?),
        _ => return Err(unsupported("/assignees", "a task of Asana has one assignee")),
    };
    if let Some(user) = assignee {
        set("assignees", "assignee", json!(user.gid), &mut plan.asked);
    }
    let tags = lookup::tags(api, &workspace, &new.labels).await?;
    if !tags.is_empty() {
        let gids: Vec<_> = tags.iter().map(|tag| tag.gid.as_str()).collect();
        set("labels", "tags", json!(gids), &mut plan.asked);
    }
    if let Some(due_on) = new.due_on {
        set("due_on", "due_on", json!(due_on), &mut plan.asked);
    }
    let mut values = Map::new();
    if new.priority.is_some() || !new.fields.is_empty() {
        let known = lookup::fields(api, &project.gid).await?;
        values = lookup::values(api, &workspace, &known, &new.fields).await?;
        if let Some(priority) = &new.priority {
            let field = lookup::priority_field(api, &known)?;
            let value = lookup::value(api, &workspace, field, &json!(priority), "/priority").await?;
            values.insert(field.gid.clone(), value);
            plan.asked.push(field.name.clone());
        }
        plan.asked.extend(
            known.iter().filter(|field| values.contains_key(&field.gid)).map(|field| field.name.clone()),
        );
        plan.asked.dedup();
    }
    if let Some(name) = &new.section {
        plan.steps.push(Step::Section(lookup::section(api, &project.gid, name).await?.gid));
        plan.asked.push("section".to_owned());
    }
    if let Some(parent) = &new.parent {
        let parent = parent_gid(parent)?;
        There::read(api, &parent, None).await.map_err(|error| match error.kind {
            SourceErrorKind::NotFound => SourceError { field: Some("/parent".into()), ..error },
            _ => error,
        })?;
        plan.asked.push("parent".to_owned());
        data.insert("parent".into(), json!(parent));
    }
    // A subtask stands under its parent, and in a project of its own only when a section of it is asked for.
    if new.parent.is_none() || new.section.is_some() {
        data.insert("projects".into(), json!([project.gid]));
    } else if !workspace.is_empty() {
        data.insert("workspace".into(), json!(workspace));
    }
    if !values.is_empty() {
        data.insert("custom_fields".into(), Value::Object(values));
    }
    let mut body = String::new();
    if let Some(markdown) = &new.body {
        body = html(markdown, &mut plan.warnings);
        plan.asked.push("body".to_owned());
    }
    if api.is_app() {
        data.insert("external".into(), json!({"gid": marker}));
    } else {
        body = marker::put(&body, marker);
    }
    if !body.is_empty() {
        data.insert("html_notes".into(), json!(body));
    }
    Ok(Value::Object(data))
}

pub(super) fn parent_gid(parent: &str) -> Result<String, SourceError> {
    let parent = parent.trim();
    if is_gid(parent) {
        return Ok(parent.to_owned());
    }
    Err(SourceError::unknown_value(
        "/parent",
        format!("\"{parent}\" is no key of an Asana task: give its gid"),
        Vec::new(),
    ))
}

pub(super) fn subtype(kind: &str) -> Result<&'static str, SourceError> {
    match kind.trim().to_lowercase().as_str() {
        "task" | "default_task" | "subtask" => Ok("default_task"),
        "milestone" => Ok("milestone"),
        "approval" => Ok("approval"),
        _ => Err(SourceError::unknown_value(
            "/type",
            format!("Asana has no type \"{}\"", kind.trim()),
            ["task", "milestone", "approval"].map(String::from).to_vec(),
        )),
    }
}

/// Looks for a task with this mark: by its external id, or among what was changed in the project since the write was
/// meant, which needs no search.
pub(super) async fn look(api: &Api<'_>, new: &NewItem, marker: &str) -> Result<Look, SourceError> {
    let tell = |task: Task, project: &str| found(There { task, project: project.to_owned() }.written());
    if api.is_app() {
        let path = format!("/tasks/external:{marker}");
        return match api.get::<Task>(&path, &[("opt_fields", TASK_FIELDS)], "the task that was made").await {
            Ok(task) => tell(task, ""),
            Err(error) if error.kind == SourceErrorKind::NotFound => Ok(Look::Absent),
            Err(error) => Err(error),
        };
    }
    let project = lookup::project(api, &new.project).await?;
    let since = marker::made_at_ms(marker)
        .and_then(DateTime::from_timestamp_millis)
        .map(|made| (made - SLACK).to_rfc3339_opts(SecondsFormat::Millis, true));
    let path = match &new.parent {
        Some(parent) if new.section.is_none() => format!("/tasks/{}/subtasks", parent_gid(parent)?),
        _ => "/tasks".to_owned(),
    };
    let mut query = vec![("opt_fields", "created_at,html_notes,name")];
    if path == "/tasks" {
        query.push(("project", project.gid.as_str()));
        query.extend(since.as_deref().map(|since| ("modified_since", since)));
    }
    let what = format!("the tasks of the project {}", project.gid);
    let (mut offset, mut alike) = (None, None);
    for _ in 0..MOST_PAGES {
        let page = api.list(&path, &query, offset.as_deref(), &what).await?;
        for raw in &page.rows {
            let row: Value = serde_json::from_str(raw.get())
                .map_err(|error| malformed(format!("Asana lists a task that cannot be read ({error})")))?;
            let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
            if marker::is_on(text("html_notes"), marker) {
                return tell(super::task(api, text("gid")).await?, &project.gid);
            }
            let made_at = text("created_at").parse().ok();
            if text("name") == new.title && marker::is_unmarked(text("html_notes"), made_at, marker, SLACK) {
                alike = Some((text("gid").to_owned(), super::says(text("html_notes"), new.body.as_deref())));
            }
        }
        offset = page.next;
        if offset.is_none() {
            return match alike {
                // Its mark got lost.
                Some((gid, true)) => tell(super::task(api, &gid).await?, &project.gid),
                // Of that name alone it may be another one.
                Some((_, false)) => Ok(Look::Unsure),
                None => Ok(Look::Absent),
            };
        }
    }
    Ok(Look::Unsure)
}
