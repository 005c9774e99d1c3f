//! What is changed: tasks, their tags, parents and sections, comments.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::hooks;
use super::reads::me;
use super::render;
use super::reply::Reply;
use super::world::{AsanaTask, AsanaWorld, resource};

pub(super) fn dispatch(world: &mut AsanaWorld, call: &Call<'_>) -> Result<Reply, Reply> {
    let parts = call.parts();
    if let (&Method::DELETE, ["webhooks", gid]) = (&call.method, parts.as_slice()) {
        return hooks::delete(world, gid);
    }
    if let (&Method::DELETE, ["tasks", gid]) = (&call.method, parts.as_slice()) {
        world.delete(gid).map_err(|_| Reply::not_found("task", gid))?;
        return Ok(Reply::data(&json!({})));
    }
    let data = call.body()?;
    let user = me(world, call).and_then(|user| user["gid"].as_str().map(str::to_owned)).unwrap_or_default();
    match (&call.method, parts.as_slice()) {
        (&Method::POST, ["tasks"]) => create(world, call, &data, &user),
        (&Method::PUT, ["tasks", gid]) => {
            known(world, gid)?;
            apply(world, gid, &data, &user, call)?;
            world.changed(gid);
            shown(world, call, gid)
        }
        (&Method::POST, ["tasks", gid, "addTag"]) => {
            tag(world, gid, &data, |tags, tag| {
                if !tags.contains(&tag) {
                    tags.push(tag);
                }
            })?;
            world.story(
                gid,
                &user,
                "added_to_tag",
                json!({"tag": {"gid": data["tag"], "resource_type": "tag"}}),
            );
            Ok(Reply::data(&json!({})))
        }
        (&Method::POST, ["tasks", gid, "removeTag"]) => {
            tag(world, gid, &data, |tags, tag| tags.retain(|own| *own != tag))?;
            world.story(
                gid,
                &user,
                "removed_from_tag",
                json!({"tag": {"gid": data["tag"], "resource_type": "tag"}}),
            );
            Ok(Reply::data(&json!({})))
        }
        (&Method::POST, ["tasks", gid, "setParent"]) => {
            known(world, gid)?;
            let parent = data["parent"].as_str().map(str::to_owned);
            set_parent(world, gid, parent)?;
            world.changed(gid);
            shown(world, call, gid)
        }
        (&Method::POST, ["tasks", gid, "stories"]) => {
            known(world, gid)?;
            let (text, html) = (data["text"].as_str(), data["html_text"].as_str());
            if text.is_none() && html.is_none() {
                return Err(Reply::bad("text: Missing input"));
            }
            html.map(rich).transpose()?;
            let more = json!({"text": text.or(html), "html_text": html.or(text)});
            let story = world.story(gid, &user, "comment_added", more);
            Ok(Reply::created(&call.shown(&resource(&story, "story"))))
        }
        (&Method::POST, ["sections", section, "addTask"]) => {
            let gid = data["task"].as_str().ok_or_else(|| Reply::bad("task: Missing input"))?;
            known(world, gid)?;
            world.put(gid, section, &user).map_err(|_| Reply::not_found("section", section))?;
            Ok(Reply::data(&json!({})))
        }
        _ => Err(Reply::error(axum::http::StatusCode::NOT_FOUND, "No matching route for request")),
    }
}

fn known(world: &AsanaWorld, gid: &str) -> Result<(), Reply> {
    world.task(gid).map(|_| ()).ok_or_else(|| Reply::not_found("task", gid))
}

fn shown(world: &AsanaWorld, call: &Call<'_>, gid: &str) -> Result<Reply, Reply> {
    let (workspace, task) = world.task(gid).ok_or_else(|| Reply::not_found("task", gid))?;
    Ok(Reply::data(&call.shown(&render::task(world, workspace, task, &call.base))))
}

/// Asana refuses what is no XML in one `<body>`.
fn rich(html: &str) -> Result<(), Reply> {
    if html.starts_with("<body>") && html.ends_with("</body>") {
        return Ok(());
    }
    Err(Reply::bad("xml_parsing_error: html_notes must be valid XML in a <body> element"))
}

fn create(world: &mut AsanaWorld, call: &Call<'_>, data: &Value, user: &str) -> Result<Reply, Reply> {
    let projects: Vec<String> = data["projects"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let parent = data["parent"].as_str().map(str::to_owned);
    if projects.is_empty() && parent.is_none() && data["workspace"].is_null() {
        return Err(Reply::bad("You should specify one of workspace, parent or projects"));
    }
    for project in &projects {
        world.project(project).ok_or_else(|| Reply::not_found("project", project))?;
    }
    if let Some(parent) = &parent {
        known(world, parent)?;
    }
    let workspace = match (&projects.first(), &parent) {
        (Some(project), _) => world.project(project).map(|(workspace, _)| workspace.gid.clone()),
        (None, Some(parent)) => world.task(parent).map(|(workspace, _)| workspace.gid.clone()),
        (None, None) => data["workspace"].as_str().map(str::to_owned),
    };
    let (gid, at) = (world.next_gid(), world.tick());
    let workspace = workspace.unwrap_or_default();
    let found = world.workspaces.iter_mut().find(|known| known.gid == workspace);
    let found = found.ok_or_else(|| Reply::not_found("workspace", &workspace))?;
    let task = AsanaTask {
        gid: gid.clone(),
        subtype: "default_task".into(),
        html_notes: "<body></body>".into(),
        created_by: user.to_owned(),
        created_at: at,
        modified_at: at,
        ..AsanaTask::default()
    };
    found.tasks.insert(gid.clone(), task);
    if let Err(refusal) = apply(world, &gid, data, user, call) {
        // Refused as a whole.
        let _ = world.delete(&gid);
        return Err(refusal);
    }
    for project in projects {
        let section = world.project(&project).and_then(|(_, project)| project.sections.first().cloned());
        if let Some((section, _)) = section {
            world.put(&gid, &section, user).map_err(|_| Reply::not_found("project", &project))?;
        }
    }
    set_parent(world, &gid, parent)?;
    world.happened(&gid, "added", resource(&gid, "task"), Value::Null);
    let mut reply = shown(world, call, &gid)?;
    reply.status = axum::http::StatusCode::CREATED;
    Ok(reply)
}

fn apply(world: &mut AsanaWorld, gid: &str, data: &Value, user: &str, call: &Call<'_>) -> Result<(), Reply> {
    let text = |name: &str| match &data[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(Reply::bad(&format!("{name}: Not a String"))),
    };
    let (name, html, subtype, due_on) =
        (text("name")?, text("html_notes")?, text("resource_subtype")?, text("due_on")?);
    html.as_deref().map(rich).transpose()?;
    let app = call.grant.token.starts_with("oauth-");
    if !data["external"].is_null() && !app {
        return Err(Reply::forbidden("external: only apps may set external data"));
    }
    let assignee = text("assignee")?;
    if let Some(gid) = &assignee
        && world.user_value(gid).is_null()
    {
        return Err(Reply::bad(&format!("assignee: Not a user in Organization: {gid}")));
    }
    let empty = Map::new();
    let values = data["custom_fields"].as_object().unwrap_or(&empty);
    let (workspace, _) = world.task(gid).ok_or_else(|| Reply::not_found("task", gid))?;
    for (field, value) in values {
        let known = workspace.fields.iter().find(|known| known.gid == *field);
        let known =
            known.ok_or_else(|| Reply::bad(&format!("custom_fields: Unknown custom field: {field}")))?;
        let option = || known.options.iter().any(|(gid, _)| value == gid);
        if known.subtype == "enum" && !value.is_null() && !option() {
            return Err(Reply::bad(&format!("custom_fields: {value} is no option of {}", known.name)));
        }
    }
    let tags: Vec<String> =
        data["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let (values, given) = (values.clone(), |name: &str| data.get(name).is_some());
    let at = world.tick();
    let task = world.task_mut(gid).ok_or_else(|| Reply::not_found("task", gid))?;
    let was_complete = task.completed_at.is_some();
    if let Some(name) = name {
        task.name = name;
    }
    if let Some(html) = html {
        task.html_notes = html;
    }
    if let Some(subtype) = subtype {
        task.subtype = subtype;
    }
    if given("due_on") {
        task.due_on = due_on;
    }
    if given("assignee") {
        task.assignee = assignee;
    }
    task.tags.extend(tags);
    task.fields.extend(values);
    task.external = data["external"]["gid"].as_str().map(str::to_owned).or(task.external.take());
    match data["completed"] {
        Value::Null => {}
        Value::Bool(completed) if completed == was_complete => {}
        Value::Bool(completed) => {
            task.completed_at = completed.then_some(at);
            let subtype = if completed { "marked_complete" } else { "marked_incomplete" };
            world.story(gid, user, subtype, json!({}));
        }
        _ => return Err(Reply::bad("completed: Not a boolean")),
    }
    Ok(())
}

fn tag(
    world: &mut AsanaWorld,
    gid: &str,
    data: &Value,
    change: impl FnOnce(&mut Vec<String>, String),
) -> Result<(), Reply> {
    let tag = data["tag"].as_str().ok_or_else(|| Reply::bad("tag: Missing input"))?.to_owned();
    let (workspace, _) = world.task(gid).ok_or_else(|| Reply::not_found("task", gid))?;
    if workspace.tags.iter().all(|(known, _)| *known != tag) {
        return Err(Reply::not_found("tag", &tag));
    }
    if let Some(task) = world.task_mut(gid) {
        change(&mut task.tags, tag);
    }
    world.changed(gid);
    Ok(())
}

fn set_parent(world: &mut AsanaWorld, gid: &str, parent: Option<String>) -> Result<(), Reply> {
    if let Some(parent) = &parent {
        known(world, parent)?;
        if parent == gid {
            return Err(Reply::bad("parent: A task cannot be its own parent"));
        }
    }
    let before = world.task_mut(gid).and_then(|task| std::mem::replace(&mut task.parent, parent.clone()));
    if let Some(before) = before.and_then(|before| world.task_mut(&before)) {
        before.subtasks.retain(|part| part != gid);
    }
    if let Some(parent) = parent.and_then(|parent| world.task_mut(&parent)) {
        parent.subtasks.push(gid.to_owned());
    }
    Ok(())
}
