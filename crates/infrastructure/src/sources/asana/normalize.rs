//! Asana's tasks and projects in Patchbay's words.

use domain::record::{HomeRecord, ItemRecord, LinkRecord, ProjectRecord, UserRef};
use domain::{FieldRole, Mappings, StatusNorm, TypeNorm};
use serde_json::json;
use serde_json::value::RawValue;

use super::model::{Named, Project, Task};
use super::people::People;
use super::{fields, marker};

/// Fields of a task that are asked for: all of them stand in Asana's description of `GET /tasks`.
pub(super) const TASK_FIELDS: &str = "actual_time_minutes,approval_status,assignee,assignee.name,completed,\
    completed_at,created_at,created_by,custom_fields,custom_fields.date_value,custom_fields.date_value.date,\
    custom_fields.date_value.date_time,custom_fields.display_value,custom_fields.enum_value,\
    custom_fields.enum_value.name,custom_fields.multi_enum_values,custom_fields.multi_enum_values.name,\
    custom_fields.name,custom_fields.number_value,custom_fields.people_value,custom_fields.people_value.name,\
    custom_fields.reference_value,custom_fields.reference_value.name,custom_fields.resource_subtype,\
    custom_fields.text_value,custom_type,custom_type.name,custom_type_status_option,\
    custom_type_status_option.name,dependencies,dependents,due_at,due_on,html_notes,is_rendered_as_separator,\
    memberships,memberships.project,memberships.project.name,memberships.section,memberships.section.name,\
    modified_at,name,num_subtasks,parent,permalink_url,resource_subtype,start_on,tags,tags.name";

/// Whether a row is a heading of a list, which old projects keep among their tasks.
pub(super) fn is_heading(subtype: &str, separator: bool) -> bool {
    separator || subtype == "section"
}

/// The task's page, where it does not tell it.
fn page(task: &Task, project: &str) -> String {
    if task.permalink_url.is_empty() {
        format!("https://app.asana.com/0/{project}/{}", task.gid)
    } else {
        task.permalink_url.clone()
    }
}

/// A task of a project, the one it is listed under when it is in several.
pub(super) fn item(
    task: &Task,
    raw: &RawValue,
    project: &str,
    reporter_name: Option<&str>,
    mappings: &Mappings,
    people: &mut People,
) -> ItemRecord {
    let values = &task.custom_fields;
    let (type_norm, type_original) = kind(task, mappings);
    let (status_norm, status_original) = status(task, project, mappings);
    let (priority_norm, priority_original) = fields::priority(values, mappings);
    let date = |role| fields::with_role(values, mappings, role)?.date_value.as_ref()?.date;
    let reporter = task.created_by.as_ref().and_then(|user| reporter(user, reporter_name, people));
    ItemRecord {
        source_id: task.gid.clone(),
        ref_key: task.gid.clone(),
        source_key: task.gid.clone(),
        project_source_id: project.to_owned(),
        project_key: project.to_owned(),
        type_norm,
        type_original,
        status_norm,
        status_original,
        status_category: None,
        resolution_original: task.approval_status.clone().filter(|_| task.completed),
        priority_norm,
        priority_original,
        title: task.name.clone(),
        body: task
            .html_notes
            .as_deref()
            .map(|html| rich_text::asana::to_markdown(&marker::strip(html)).markdown)
            .filter(|body| !body.is_empty()),
        assignees: people.meet(task.assignee.as_ref()).into_iter().collect(),
        reporter,
        labels: task.tags.iter().map(|tag| tag.name.clone()).collect(),
        milestone_source_id: None,
        milestone: None,
        parent_ref_key: task.parent.as_ref().map(|parent| parent.gid.clone()),
        due_on: task
            .due_on
            .or_else(|| task.due_at.map(|at| at.date_naive()))
            .or_else(|| date(FieldRole::DueOn)),
        start_on: task.start_on.or_else(|| date(FieldRole::StartOn)),
        story_points: fields::with_role(values, mappings, FieldRole::StoryPoints)
            .and_then(|field| field.number_value),
        estimate_s: None,
        spent_s: task.actual_time_minutes.and_then(seconds),
        remaining_s: None,
        homes: homes(task, project),
        url: page(task, project),
        created_at: task.created_at,
        updated_at: task.modified_at,
        resolved_at: task.completed_at.filter(|_| task.completed),
        custom_fields: fields::values(values),
        has_details: true,
        raw: raw.to_owned(),
    }
}

fn reporter(user: &Named, name: Option<&str>, people: &mut People) -> Option<UserRef> {
    let name = name.map_or_else(|| user.name.clone(), str::to_owned);
    people.meet(Some(&Named { gid: user.gid.clone(), name }))
}

#[expect(clippy::cast_possible_truncation, reason = "the value is checked to be one that fits")]
fn seconds(minutes: f64) -> Option<i64> {
    let seconds = (minutes * 60.0).round();
    (0.0..1e15).contains(&seconds).then_some(seconds as i64)
}

/// The object as it is kept: as received, with a note of what it does not tell: the project of a subtask, which is in
/// none itself, and the name behind the gid of who made it. Mapping it anew needs both.
pub(super) fn kept(raw: &RawValue, project: &str, reporter_name: Option<&str>) -> Box<RawValue> {
    let noted = json!({"project": project, "reporter": reporter_name});
    raw.get()
        .strip_prefix('{')
        .map(str::trim_start)
        .filter(|rest| !rest.starts_with('}'))
        .and_then(|rest| RawValue::from_string(format!("{{\"_patchbay\":{noted},{rest}")).ok())
        .unwrap_or_else(|| raw.to_owned())
}

/// Names of the sections a task is in; that of the project first.
fn sections<'t>(task: &'t Task, project: &'t str) -> impl Iterator<Item = &'t str> {
    let of = move |own: bool| {
        task.memberships.iter().filter(move |membership| {
            membership.project.as_ref().is_some_and(|found| (found.gid == project) == own)
        })
    };
    of(true).chain(of(false)).filter_map(|membership| Some(membership.section.as_ref()?.name.as_str()))
}

/// Asana knows no status but complete and incomplete. A field or a section is one where an admin says so.
fn status(task: &Task, project: &str, mappings: &Mappings) -> (StatusNorm, String) {
    let told = fields::option(&task.custom_fields, mappings, FieldRole::Status)
        .or_else(|| task.custom_type_status_option.as_ref().map(|option| option.name.as_str()))
        .filter(|name| !name.is_empty())
        .map(|name| {
            (mappings.status.get(name).copied().unwrap_or_else(|| fields::status_by_words(name)), name)
        })
        .or_else(|| sections(task, project).find_map(|name| Some((*mappings.status.get(name)?, name))));
    match told {
        // Completing a task does not take it out of its section.
        Some((norm, name)) if !task.completed || matches!(norm, StatusNorm::Done | StatusNorm::Cancelled) => {
            (norm, name.to_owned())
        }
        _ if task.completed => (StatusNorm::Done, COMPLETED.to_owned()),
        _ => (StatusNorm::Todo, INCOMPLETE.to_owned()),
    }
}

/// Asana's words for its two states.
pub(super) const COMPLETED: &str = "completed";
pub(super) const INCOMPLETE: &str = "incomplete";

fn kind(task: &Task, mappings: &Mappings) -> (TypeNorm, String) {
    let named = fields::option(&task.custom_fields, mappings, FieldRole::Type)
        .or_else(|| task.custom_type.as_ref().map(|kind| kind.name.as_str()))
        .filter(|name| !name.is_empty());
    if let Some(name) = named {
        return (fields::type_by_words(name), name.to_owned());
    }
    match task.resource_subtype.as_str() {
        "milestone" => (TypeNorm::Milestone, "milestone".into()),
        "approval" => (TypeNorm::Task, "approval".into()),
        _ if task.parent.is_some() => (TypeNorm::Subtask, "subtask".into()),
        "" | "default_task" => (TypeNorm::Task, "task".into()),
        other => (TypeNorm::Other, other.to_owned()),
    }
}

fn homes(task: &Task, project: &str) -> Vec<HomeRecord> {
    task.memberships
        .iter()
        .filter_map(|membership| {
            let found = membership.project.as_ref()?;
            let section = membership.section.as_ref().map(|section| section.name.clone());
            (found.gid != project || section.is_some()).then(|| HomeRecord {
                project_source_id: found.gid.clone(),
                project_key: found.gid.clone(),
                section,
            })
        })
        .collect()
}

/// What the task waits for and what waits for it; `None` when the answer does not tell.
pub(super) fn links(task: &Task) -> Option<Vec<LinkRecord>> {
    let link = |other: &Named, type_norm, type_original: &str| LinkRecord {
        source_id: String::new(),
        item_ref_key: task.gid.clone(),
        to_ref_key: Some(other.gid.clone()),
        to_key: other.gid.clone(),
        to_url: format!("https://app.asana.com/0/0/{}", other.gid),
        type_norm,
        type_original: type_original.to_owned(),
    };
    let (before, after) = (task.dependencies.as_ref()?, task.dependents.as_ref()?);
    let before = before.iter().map(|other| link(other, "blocked_by", "dependency"));
    Some(before.chain(after.iter().map(|other| link(other, "blocks", "dependent"))).collect())
}

pub(super) fn project(project: &Project, raw: &RawValue) -> ProjectRecord {
    ProjectRecord {
        source_id: project.gid.clone(),
        key: project.gid.clone(),
        name: project.name.clone(),
        url: if project.permalink_url.is_empty() {
            format!("https://app.asana.com/0/{}", project.gid)
        } else {
            project.permalink_url.clone()
        },
        archived: project.archived,
        raw: raw.to_owned(),
    }
}

#[cfg(test)]
mod tests;
