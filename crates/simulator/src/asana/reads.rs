//! What is asked for: people, projects, tasks, stories, events.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::call::{Call, Page};
use super::render;
use super::reply::Reply;
use super::world::{AsanaTask, AsanaWorkspace, AsanaWorld};
use crate::timestamp::now_ms;

/// Most events that one token tells.
const MOST_EVENTS: usize = 100;

pub(super) fn dispatch(world: &mut AsanaWorld, call: &Call<'_>) -> Result<Reply, Reply> {
    match call.parts().as_slice() {
        ["users", "me"] => {
            let user = me(world, call).ok_or_else(|| Reply::not_found("user", "me"))?;
            Ok(Reply::data(&call.shown(&user)))
        }
        ["users", gid] => {
            let user = world.user_value(gid);
            if user.is_null() {
                Err(Reply::not_found("user", gid))
            } else {
                Ok(Reply::data(&call.shown(&user)))
            }
        }
        ["users"] => {
            let gid = call.gid("workspace")?;
            let users: Vec<Value> = world
                .workspaces
                .iter()
                .filter(|workspace| gid.is_none_or(|gid| workspace.gid == gid))
                .flat_map(|workspace| &workspace.users)
                .map(|user| json!({"gid": user.gid, "resource_type": "user", "name": user.name, "email": user.email}))
                .collect();
            values(world, call, &users)
        }
        ["workspaces"] => {
            let all: Vec<Value> = world
                .workspaces
                .iter()
                .map(|found| json!({"gid": found.gid, "resource_type": "workspace", "name": found.name}))
                .collect();
            values(world, call, &all)
        }
        ["workspaces", gid, "tags"] => {
            let workspace = workspace(world, gid)?;
            let tags: Vec<Value> = workspace
                .tags
                .iter()
                .map(|(gid, name)| json!({"gid": gid, "resource_type": "tag", "name": name}))
                .collect();
            values(world, call, &tags)
        }
        ["workspaces", gid, "tasks", "search"] => {
            workspace(world, gid)?;
            Err(Reply::error(StatusCode::PAYMENT_REQUIRED, "Search is only available to premium users"))
        }
        ["projects"] => projects(world, call),
        ["projects", gid, rest @ ..] => project(world, call, gid, rest),
        ["tasks"] => tasks(world, call),
        ["tasks", gid, rest @ ..] => task(world, call, gid, rest),
        ["events"] => events(world, call),
        ["webhooks"] => super::hooks::list(world, call),
        _ => Err(Reply::error(StatusCode::NOT_FOUND, "No matching route for request")),
    }
}

pub(super) fn me(world: &AsanaWorld, call: &Call<'_>) -> Option<Value> {
    let users = || world.workspaces.iter().flat_map(|workspace| &workspace.users);
    let user = users().find(|user| user.name == call.grant.login).or_else(|| users().next())?;
    Some(json!({"gid": user.gid, "resource_type": "user", "name": user.name, "email": user.email}))
}

pub(super) fn values(world: &mut AsanaWorld, call: &Call<'_>, rows: &[Value]) -> Result<Reply, Reply> {
    let page = call.page(world, rows, |row| row["gid"].as_str().unwrap_or_default(), Clone::clone)?;
    Ok(call.paged(world, page))
}

fn workspace<'w>(world: &'w AsanaWorld, gid: &str) -> Result<&'w AsanaWorkspace, Reply> {
    let found = world.workspaces.iter().find(|workspace| workspace.gid == gid);
    found.ok_or_else(|| Reply::not_found("workspace", gid))
}

fn projects(world: &mut AsanaWorld, call: &Call<'_>) -> Result<Reply, Reply> {
    let gid = call.gid("workspace")?;
    let archived = call.flag("archived")?;
    if let Some(gid) = gid {
        workspace(world, gid)?;
    }
    let rows: Vec<Value> = world
        .workspaces
        .iter()
        .filter(|workspace| gid.is_none_or(|gid| workspace.gid == gid))
        .flat_map(|workspace| workspace.projects.iter().map(move |project| (workspace, project)))
        .filter(|(_, project)| !project.hidden && archived.is_none_or(|wanted| project.archived == wanted))
        .map(|(workspace, project)| render::project(workspace, project, &call.base))
        .collect();
    values(world, call, &rows)
}

fn project(world: &mut AsanaWorld, call: &Call<'_>, gid: &str, rest: &[&str]) -> Result<Reply, Reply> {
    let (workspace, project) = world.project(gid).ok_or_else(|| Reply::not_found("project", gid))?;
    if project.hidden {
        return Err(Reply::forbidden("You do not have access to this project"));
    }
    match rest {
        [] => Ok(Reply::data(&call.shown(&render::project(workspace, project, &call.base)))),
        ["sections"] => {
            let sections: Vec<Value> = project
                .sections
                .iter()
                .map(|(gid, name)| json!({"gid": gid, "resource_type": "section", "name": name}))
                .collect();
            values(world, call, &sections)
        }
        ["custom_field_settings"] => {
            if workspace.free {
                return Err(Reply::error(
                    StatusCode::PAYMENT_REQUIRED,
                    "Custom fields are not available for free users",
                ));
            }
            let settings: Vec<Value> = workspace.fields.iter().map(render::field_setting).collect();
            values(world, call, &settings)
        }
        ["task_counts"] => {
            let count = project.tasks.len();
            let done = project
                .tasks
                .iter()
                .filter(|gid| workspace.tasks.get(*gid).is_some_and(|task| task.completed_at.is_some()));
            let done = done.count();
            let counts = json!({"num_tasks": count, "num_completed_tasks": done, "num_incomplete_tasks": count - done});
            // "All fields are excluded by default."
            Ok(Reply::data(&if call.text("opt_fields").is_some() { call.shown(&counts) } else { json!({}) }))
        }
        _ => Err(Reply::error(StatusCode::NOT_FOUND, "No matching route for request")),
    }
}

/// `GET /tasks`: by project, section or tag; there is no list of all tasks.
fn tasks(world: &mut AsanaWorld, call: &Call<'_>) -> Result<Reply, Reply> {
    let (project, section, tag) = (call.gid("project")?, call.gid("section")?, call.gid("tag")?);
    let since = call.time("modified_since")?;
    call.time("completed_since")?;
    if project.is_none() && section.is_none() && tag.is_none() {
        return Err(Reply::bad("You should specify one of workspace, tag, section or project"));
    }
    if project.is_some() && call.text("workspace").is_some() {
        return Err(Reply::bad("Must specify exactly one of project, tag, section, or assignee + workspace"));
    }
    let own = section
        .map(|section| world.section_project(section).ok_or_else(|| Reply::not_found("section", section)));
    let gid = match (project, own) {
        (Some(gid), _) => gid.to_owned(),
        (None, Some(found)) => found?,
        (None, None) => return Err(Reply::error(StatusCode::NOT_IMPLEMENTED, "tags are not listed here")),
    };
    let (workspace, project) = world.project(&gid).ok_or_else(|| Reply::not_found("project", &gid))?;
    if project.hidden {
        return Err(Reply::forbidden("You do not have access to this project"));
    }
    let all = since.is_none() && section.is_none();
    let passes = |task: &AsanaTask| {
        since.is_none_or(|since| task.modified_at >= since)
            && section.is_none_or(|section| task.memberships.iter().any(|(_, own)| own == section))
    };
    // Looking at each task for each page of it takes minutes where there are 100,000.
    let rows = project.tasks.iter().filter(|gid| all || workspace.tasks.get(*gid).is_some_and(passes));
    let page = shown(world, call, workspace, &rows.collect::<Vec<_>>())?;
    Ok(call.paged(world, page))
}

fn shown(
    world: &AsanaWorld,
    call: &Call<'_>,
    workspace: &AsanaWorkspace,
    gids: &[&String],
) -> Result<Page, Reply> {
    call.page(
        world,
        gids,
        |gid| gid,
        |gid| {
            workspace
                .tasks
                .get(*gid)
                .map_or(Value::Null, |task| render::task(world, workspace, task, &call.base))
        },
    )
}

fn task(world: &mut AsanaWorld, call: &Call<'_>, gid: &str, rest: &[&str]) -> Result<Reply, Reply> {
    if let Some(external) = gid.strip_prefix("external:") {
        let found = world.workspaces.iter().find_map(|workspace| {
            workspace
                .tasks
                .values()
                .find(|task| task.external.as_deref() == Some(external))
                .map(|task| task.gid.clone())
        });
        let gid = found.ok_or_else(|| Reply::not_found("task", gid))?;
        return task(world, call, &gid, rest);
    }
    let (workspace, found) = world.task(gid).ok_or_else(|| Reply::not_found("task", gid))?;
    if is_hidden(workspace, found) {
        return Err(Reply::forbidden("You do not have access to this task"));
    }
    match rest {
        [] => Ok(Reply::data(&call.shown(&render::task(world, workspace, found, &call.base)))),
        ["subtasks"] => {
            let page = shown(world, call, workspace, &found.subtasks.iter().collect::<Vec<_>>())?;
            Ok(call.paged(world, page))
        }
        ["stories"] => {
            let stories = found.stories.clone();
            values(world, call, &stories)
        }
        _ => Err(Reply::error(StatusCode::NOT_FOUND, "No matching route for request")),
    }
}

/// A task is seen where one of its projects is, or one of those it is a part of.
fn is_hidden(workspace: &AsanaWorkspace, task: &AsanaTask) -> bool {
    let mut at = Some(task);
    while let Some(task) = at {
        if !task.memberships.is_empty() {
            return task.memberships.iter().all(|(gid, _)| {
                workspace.projects.iter().any(|project| project.gid == *gid && project.hidden)
            });
        }
        at = task.parent.as_ref().and_then(|parent| workspace.tasks.get(parent));
    }
    false
}

/// `GET /events`: 412 with a new token when there is none or it is too old.
fn events(world: &mut AsanaWorld, call: &Call<'_>) -> Result<Reply, Reply> {
    let gid = call.gid("resource")?.ok_or_else(|| Reply::bad("resource: Missing input"))?.to_owned();
    let (_, project) = world.project(&gid).ok_or_else(|| Reply::not_found("resource", &gid))?;
    if project.hidden {
        return Err(Reply::forbidden("You do not have access to this project"));
    }
    let known = call.text("sync").and_then(|token| world.tokens.get(token)).filter(|(own, _)| *own == gid);
    let Some((_, from)) = known.cloned() else {
        let from = world.sequence() + 1;
        let token = token(world, &gid, from);
        let message = "Sync token invalid or too old. If you are attempting to keep resources in sync, you must fetch \
                       the full dataset for this query now and use the new sync token for the next sync.";
        let body = json!({"errors": [{"message": message}], "sync": token});
        return Err(Reply::json(StatusCode::PRECONDITION_FAILED, &body));
    };
    let waiting = project.events.iter().filter(|event| event.sequence >= from);
    let told: Vec<_> = waiting.take(MOST_EVENTS + 1).cloned().collect();
    let more = told.len() > MOST_EVENTS;
    let told = &told[..told.len().min(MOST_EVENTS)];
    let next = told.last().map_or(world.sequence() + 1, |last| last.sequence + 1);
    let token = token(world, &gid, next);
    let data: Vec<Value> = told.iter().map(|event| call.shown(&event.value)).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"data": data, "sync": token, "has_more": more})))
}

fn token(world: &mut AsanaWorld, project: &str, from: u64) -> String {
    let token = format!("{:016x}{}", now_ms(), world.next_gid());
    world.tokens.insert(token.clone(), (project.to_owned(), from));
    token
}
