//! Objects as Asana shows them, and the part of them that `opt_fields` asks for.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::time::iso;
use super::world::{AsanaField, AsanaProject, AsanaTask, AsanaWorkspace, AsanaWorld};

/// A task with every field the surface knows.
pub(super) fn task(world: &AsanaWorld, workspace: &AsanaWorkspace, task: &AsanaTask, base: &str) -> Value {
    let user = |gid: &str| {
        let user = workspace.users.iter().find(|user| user.gid == gid);
        user.map_or(Value::Null, |user| json!({"gid": user.gid, "resource_type": "user", "name": user.name}))
    };
    let other = |gid: &String| json!({"gid": gid, "resource_type": "task"});
    let memberships: Vec<Value> = task
        .memberships
        .iter()
        .filter_map(|(project, section)| {
            let project = workspace.projects.iter().find(|found| found.gid == *project && !found.hidden)?;
            let section = project.sections.iter().find(|(gid, _)| gid == section);
            Some(json!({
                "project": {"gid": project.gid, "resource_type": "project", "name": project.name},
                "section": section.map(|(gid, name)| json!({"gid": gid, "resource_type": "section", "name": name})),
            }))
        })
        .collect();
    let dependents: Vec<Value> = world.dependents(&task.gid).iter().map(other).collect();
    let tags: Vec<Value> = task
        .tags
        .iter()
        .filter_map(|gid| workspace.tags.iter().find(|(tag, _)| tag == gid))
        .map(|(gid, name)| json!({"gid": gid, "resource_type": "tag", "name": name}))
        .collect();
    let fields: Vec<Value> = match workspace.free {
        true => Vec::new(),
        false => workspace.fields.iter().map(|field| value(field, task.fields.get(&field.gid))).collect(),
    };
    json!({
        "gid": task.gid, "resource_type": "task", "name": task.name, "resource_subtype": task.subtype,
        "html_notes": task.html_notes, "notes": "", "completed": task.completed_at.is_some(),
        "completed_at": task.completed_at.map(iso), "created_at": iso(task.created_at),
        "modified_at": iso(task.modified_at), "created_by": {"gid": task.created_by, "resource_type": "user"},
        "assignee": task.assignee.as_deref().map(user), "due_on": task.due_on, "due_at": null, "start_on": null,
        "parent": task.parent.as_ref().map(other), "num_subtasks": task.subtasks.len(),
        "memberships": memberships, "tags": tags, "dependencies": task.dependencies.iter().map(other).collect::<Vec<_>>(),
        "dependents": dependents, "custom_fields": fields, "approval_status": null, "actual_time_minutes": null,
        "custom_type": null, "custom_type_status_option": null, "is_rendered_as_separator": false,
        "permalink_url": format!("{base}/0/0/{}", task.gid),
        "workspace": {"gid": workspace.gid, "resource_type": "workspace", "name": workspace.name},
    })
}

fn value(field: &AsanaField, value: Option<&Value>) -> Value {
    let option = |gid: &Value| {
        let found = field.options.iter().find(|(option, _)| gid == option);
        found.map_or(
            Value::Null,
            |(gid, name)| json!({"gid": gid, "resource_type": "enum_option", "name": name}),
        )
    };
    let mut shown = json!({
        "gid": field.gid, "resource_type": "custom_field", "name": field.name, "resource_subtype": field.subtype,
        "display_value": null,
    });
    let null = Value::Null;
    let value = value.unwrap_or(&null);
    match field.subtype.as_str() {
        "enum" => shown["enum_value"] = option(value),
        "number" => shown["number_value"] = value.clone(),
        "date" => shown["date_value"] = value.clone(),
        _ => shown["text_value"] = value.clone(),
    }
    shown
}

pub(super) fn project(workspace: &AsanaWorkspace, project: &AsanaProject, base: &str) -> Value {
    json!({
        "gid": project.gid, "resource_type": "project", "name": project.name, "archived": project.archived,
        "permalink_url": format!("{base}/0/{}", project.gid),
        "workspace": {"gid": workspace.gid, "resource_type": "workspace", "name": workspace.name},
    })
}

pub(super) fn field_setting(field: &AsanaField) -> Value {
    let options: Vec<Value> = field
        .options
        .iter()
        .map(|(gid, name)| json!({"gid": gid, "resource_type": "enum_option", "name": name, "enabled": true}))
        .collect();
    json!({
        "gid": format!("9{}", field.gid), "resource_type": "custom_field_setting",
        "custom_field": {"gid": field.gid, "resource_type": "custom_field", "name": field.name,
            "resource_subtype": field.subtype, "enum_options": options},
    })
}

/// Fields asked for, as a tree.
#[derive(Debug, Default)]
pub(super) struct Fields(BTreeMap<String, Fields>);

impl Fields {
    /// Unknown fields are left out of answers, not refused.
    pub(super) fn parse(text: &str) -> Self {
        let mut root = Self::default();
        for path in text.split(',').map(str::trim).filter(|path| !path.is_empty()) {
            path.split('.').fold(&mut root, |at, part| at.0.entry(part.to_owned()).or_default());
        }
        root
    }

    /// The part of an object that is asked for. Ids come always.
    pub(super) fn of(&self, value: &Value) -> Value {
        match value {
            Value::Array(rows) => rows.iter().map(|row| self.of(row)).collect(),
            Value::Object(object) => {
                let mut shown = Map::new();
                for (name, value) in object {
                    if let Some(below) = self.0.get(name) {
                        shown.insert(name.clone(), below.nested(value));
                    } else if matches!(name.as_str(), "gid" | "resource_type") {
                        shown.insert(name.clone(), value.clone());
                    }
                }
                Value::Object(shown)
            }
            other => other.clone(),
        }
    }

    /// Below a field that is asked for without more, an object is told by its id, a plain value whole.
    fn nested(&self, value: &Value) -> Value {
        match value {
            Value::Object(object) if self.0.is_empty() && !object.contains_key("gid") => value.clone(),
            Value::Array(rows) => rows.iter().map(|row| self.nested(row)).collect(),
            Value::Object(_) => self.of(value),
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_is_shown_and_ids_always() {
        let task = json!({"gid": "1", "resource_type": "task", "name": "t", "assignee": {"gid": "2", "resource_type": "user",
            "name": "Ann"}, "memberships": [{"project": {"gid": "3", "name": "P"}, "section": null}]});
        let shown = Fields::parse("assignee.name,memberships.project,nothing").of(&task);
        assert_eq!(
            shown,
            json!({"gid": "1", "resource_type": "task", "assignee": {"gid": "2", "resource_type": "user", "name": "Ann"},
                "memberships": [{"project": {"gid": "3"}}]})
        );
        assert_eq!(
            Fields::parse("assignee").of(&task)["assignee"],
            json!({"gid": "2", "resource_type": "user"})
        );
    }
}
