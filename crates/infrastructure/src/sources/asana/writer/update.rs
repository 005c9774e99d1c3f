//! Changes of tasks: fields, completion, sections.

use application::ports::SourceError;
use domain::{FieldRole, ItemPatch, ListChange, Transition};
use serde_json::{Value, json};

use super::super::super::nearest::nearest;
use super::super::api::Api;
use super::super::model::{Field, Named};
use super::super::normalize::{COMPLETED, INCOMPLETE};
use super::super::{account, marker, rejected};
use super::create::{parent_gid, subtype};
use super::plan::{Plan, Step, snapshot};
use super::{There, lookup, unsupported};

async fn workspace(api: &Api<'_>, there: &There) -> Result<String, SourceError> {
    let project = account::project(api, &there.project).await?;
    Ok(project.workspace.map(|workspace| workspace.gid).unwrap_or_default())
}

/// What a patch asks for, as far as it is not so already.
pub(super) async fn plan(api: &Api<'_>, there: &There, patch: &ItemPatch) -> Result<Plan, SourceError> {
    if patch.milestone.is_some() {
        return Err(unsupported(
            "/milestone",
            "a task of Asana has no milestone: make it a part of one by `parent`",
        ));
    }
    if patch.sprint.is_some() {
        return Err(unsupported("/sprint", "Asana has no sprints: name a section, or a custom field"));
    }
    let mut plan = Plan::default();
    let task = &there.task;
    if let Some(title) = patch.title.as_ref().filter(|title| **title != task.name) {
        plan.set("title", "name", json!(title));
    }
    if let Some(body) = &patch.body {
        plan_body(there, body.as_deref().unwrap_or_default(), &mut plan);
    }
    if let Some(kind) = &patch.item_type {
        let subtype = subtype(kind)?;
        if subtype != task.resource_subtype {
            plan.set("type", "resource_subtype", json!(subtype));
        }
    }
    if let Some(due_on) = patch.due_on.filter(|due_on| *due_on != task.due_on) {
        plan.set("due_on", "due_on", json!(due_on));
    }
    let named = patch.assignees.is_some()
        || patch.labels.is_some()
        || patch.priority.is_some()
        || !patch.fields.is_empty();
    let workspace = if named { workspace(api, there).await? } else { String::new() };
    if let Some(change) = &patch.assignees {
        plan_assignee(api, there, change, &workspace, &mut plan).await?;
    }
    if let Some(change) = &patch.labels {
        plan_tags(api, there, change, &workspace, &mut plan).await?;
    }
    if patch.priority.is_some() || !patch.fields.is_empty() {
        plan_fields(api, there, patch, &workspace, &mut plan).await?;
    }
    if let Some(parent) = &patch.parent {
        let parent = parent.as_deref().map(parent_gid).transpose()?;
        if parent.as_deref() != task.parent.as_ref().map(|parent| parent.gid.as_str()) {
            plan.steps.push(Step::Parent(parent));
            plan.asked.push("parent".into());
        }
    }
    match &patch.section {
        None => {}
        Some(None) => {
            return Err(unsupported("/section", "a task of a project is always in a section: name another"));
        }
        Some(Some(name)) => {
            let section = lookup::section(api, &there.project, name).await?;
            if !is_in(there, &section.gid) {
                plan.steps.push(Step::Section(section.gid));
                plan.asked.push("section".into());
            }
        }
    }
    Ok(plan)
}

fn is_in(there: &There, section: &str) -> bool {
    there
        .task
        .memberships
        .iter()
        .any(|membership| membership.section.as_ref().is_some_and(|found| found.gid == section))
}

/// The text with what was changed in it; what Markdown cannot say stays.
fn plan_body(there: &There, body: &str, plan: &mut Plan) {
    let original = there.task.html_notes.as_deref().unwrap_or_default();
    let bare = marker::strip(original);
    if rich_text::asana::to_markdown(&bare).markdown == body {
        return;
    }
    let edited = rich_text::asana::edit(&bare, body);
    plan.warnings.extend(edited.warnings.iter().map(ToString::to_string));
    plan.set("body", "html_notes", json!(edited.value));
}

async fn plan_assignee(
    api: &Api<'_>,
    there: &There,
    change: &ListChange,
    workspace: &str,
    plan: &mut Plan,
) -> Result<(), SourceError> {
    let user = async |name: &String, field: &'static str| lookup::user(api, workspace, name, field).await;
    let now = there.task.assignee.as_ref().map(|user| user.gid.clone());
    let wanted = match change {
        ListChange::Set(all) => match all.as_slice() {
            [] => None,
            [one] => Some(user(one, "/assignees/0").await?.gid),
            _ => return Err(unsupported("/assignees", "a task of Asana has one assignee")),
        },
        ListChange::Edit { add, remove } => {
            let mut wanted = now.clone();
            for name in remove {
                let gone = user(name, "/assignees/remove").await?.gid;
                wanted = wanted.filter(|gid| *gid != gone);
            }
            match (add.as_slice(), &wanted) {
                ([], _) => {}
                ([one], kept) => {
                    let added = user(one, "/assignees/add").await?;
                    if kept.as_ref().is_some_and(|gid| *gid != added.gid) {
                        return Err(rejected(
                            "a task of Asana has one assignee: remove the present one, or set another",
                        ));
                    }
                    wanted = Some(added.gid);
                }
                _ => return Err(unsupported("/assignees", "a task of Asana has one assignee")),
            }
            wanted
        }
    };
    if wanted != now {
        plan.set("assignees", "assignee", json!(wanted));
    }
    Ok(())
}

async fn plan_tags(
    api: &Api<'_>,
    there: &There,
    change: &ListChange,
    workspace: &str,
    plan: &mut Plan,
) -> Result<(), SourceError> {
    let now = &there.task.tags;
    let is_on = |gid: &str| now.iter().any(|tag| tag.gid == gid);
    let (add, remove) = match change {
        ListChange::Set(all) => {
            let wanted = lookup::tags(api, workspace, all).await?;
            let gone: Vec<Named> =
                now.iter().filter(|tag| wanted.iter().all(|kept| kept.gid != tag.gid)).cloned().collect();
            (wanted, gone)
        }
        ListChange::Edit { add, remove } => {
            (lookup::tags(api, workspace, add).await?, lookup::tags(api, workspace, remove).await?)
        }
    };
    let before = plan.steps.len();
    plan.steps.extend(add.into_iter().filter(|tag| !is_on(&tag.gid)).map(|tag| Step::AddTag(tag.gid)));
    plan.steps.extend(remove.into_iter().filter(|tag| is_on(&tag.gid)).map(|tag| Step::RemoveTag(tag.gid)));
    if plan.steps.len() > before {
        plan.asked.push("labels".into());
    }
    Ok(())
}

async fn plan_fields(
    api: &Api<'_>,
    there: &There,
    patch: &ItemPatch,
    workspace: &str,
    plan: &mut Plan,
) -> Result<(), SourceError> {
    let known = lookup::fields(api, &there.project).await?;
    let mut values = lookup::values(api, workspace, &known, &patch.fields).await?;
    if let Some(priority) = &patch.priority {
        let field = lookup::priority_field(api, &known)?;
        let value = lookup::value(api, workspace, field, &json!(priority), "/priority").await?;
        values.insert(field.gid.clone(), value);
    }
    values.retain(|gid, value| !is_so(there, gid, value));
    for field in known.iter().filter(|field| values.contains_key(&field.gid)) {
        plan.asked.push(field.name.clone());
    }
    if !values.is_empty() {
        plan.data.insert("custom_fields".into(), Value::Object(values));
    }
    Ok(())
}

/// Whether a custom field has this value, as it would be sent, already.
fn is_so(there: &There, gid: &str, wanted: &Value) -> bool {
    let Some(field) = there.task.custom_fields.iter().find(|field| field.gid == gid) else { return false };
    let gids = |list: &Option<Vec<Named>>| {
        json!(list.iter().flatten().map(|one| one.gid.as_str()).collect::<Vec<_>>())
    };
    match field.resource_subtype.as_deref() {
        Some("enum") => json!(field.enum_value.as_ref().map(|option| &option.gid)) == *wanted,
        Some("multi_enum") => gids(&field.multi_enum_values) == *wanted,
        Some("people") => gids(&field.people_value) == *wanted,
        Some("number") => field.number_value == wanted.as_f64(),
        Some("text") => {
            field.text_value.as_deref().unwrap_or_default() == wanted.as_str().unwrap_or_default()
        }
        Some("date") => match (&field.date_value, wanted.get("date")) {
            (Some(now), Some(day)) => now.date_time.is_none() && json!(now.date) == *day,
            (None, None) => wanted.is_null(),
            _ => false,
        },
        _ => false,
    }
}

/// What it takes to get to a status: completion, a section, or an option of the field that is the status.
pub(super) async fn transition(
    api: &Api<'_>,
    there: &There,
    transition: &Transition,
) -> Result<Plan, SourceError> {
    let wanted = transition.to.trim();
    let mut plan = Plan::default();
    let task = &there.task;
    if let Some(resolution) = &transition.resolution {
        approve(there, resolution, &mut plan)?;
    }
    let complete = |plan: &mut Plan, completed: bool| {
        if task.completed != completed {
            plan.set("status", "completed", json!(completed));
        }
    };
    match wanted.to_lowercase().as_str() {
        COMPLETED | "complete" | "closed" | "done" => complete(&mut plan, true),
        INCOMPLETE | "open" | "reopened" | "todo" => complete(&mut plan, false),
        lower => {
            let sections = lookup::sections(api, &there.project).await?;
            let field = status_field(api, there).await?;
            let is = |name: &str| name.trim().to_lowercase() == lower;
            let option = field.as_ref().and_then(|field| {
                field.enum_options.iter().find(|option| is(&option.name) && option.enabled != Some(false))
            });
            if let (Some(field), Some(option)) = (&field, option) {
                if !is_so(there, &field.gid, &json!(option.gid)) {
                    plan.data.insert("custom_fields".into(), json!({field.gid.as_str(): option.gid}));
                    plan.asked.push(field.name.clone());
                }
            } else if let Some(section) = sections.iter().find(|section| is(&section.name)) {
                if !is_in(there, &section.gid) {
                    plan.steps.push(Step::Section(section.gid.clone()));
                    plan.asked.push("section".into());
                }
            } else {
                let options =
                    field.iter().flat_map(|field| &field.enum_options).map(|option| option.name.as_str());
                let known = [COMPLETED, INCOMPLETE].into_iter();
                let known = known.chain(sections.iter().map(|section| section.name.as_str())).chain(options);
                return Err(SourceError::unknown_value(
                    "/to",
                    format!("the task {} cannot get to \"{wanted}\"", task.gid),
                    nearest(wanted, known),
                ));
            }
            // A section that stands for work does not hold what is completed.
            let norm = api.mappings().status.iter().find(|(name, _)| is(name)).map(|(_, norm)| *norm);
            match norm {
                Some(domain::StatusNorm::Done | domain::StatusNorm::Cancelled) => complete(&mut plan, true),
                _ => complete(&mut plan, false),
            }
        }
    }
    if !transition.fields.is_empty() {
        let patch = ItemPatch { fields: transition.fields.clone(), ..ItemPatch::default() };
        let workspace = workspace(api, there).await?;
        let kept = plan.data.remove("custom_fields");
        plan_fields(api, there, &patch, &workspace, &mut plan).await?;
        if let (Some(Value::Object(kept)), Value::Object(values)) =
            (kept, plan.data.entry("custom_fields").or_insert_with(|| json!({})))
        {
            values.extend(kept);
        }
        if plan.data.get("custom_fields").is_some_and(|values| *values == json!({})) {
            plan.data.remove("custom_fields");
        }
    }
    Ok(plan)
}

async fn status_field(api: &Api<'_>, there: &There) -> Result<Option<Field>, SourceError> {
    let Some(role) = api.mappings().field(FieldRole::Status) else { return Ok(None) };
    let known = lookup::fields(api, &there.project).await?;
    Ok(known.into_iter().find(|field| field.gid == role))
}

/// Only an approval has a reason of its own.
fn approve(there: &There, resolution: &str, plan: &mut Plan) -> Result<(), SourceError> {
    const KNOWN: [&str; 4] = ["approved", "rejected", "changes_requested", "pending"];
    let wanted = resolution.trim().to_lowercase().replace(' ', "_");
    if there.task.resource_subtype != "approval" {
        return Err(unsupported("/resolution", "only an approval of Asana is closed with a reason"));
    }
    if !KNOWN.contains(&wanted.as_str()) {
        return Err(SourceError::unknown_value(
            "/resolution",
            format!("an approval cannot be \"{}\"", resolution.trim()),
            KNOWN.map(String::from).to_vec(),
        ));
    }
    if snapshot(&there.task, &there.project).get("approval") != Some(&json!(wanted)) {
        plan.set("approval", "approval_status", json!(wanted));
    }
    Ok(())
}
