//! What the Asana surface knows: workspaces with their people, projects and tasks, events and webhooks.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::time::iso;
use crate::timestamp::now_ms;

/// Someone of a workspace.
#[derive(Debug, Clone)]
pub struct AsanaUser {
    /// Their gid.
    pub gid: String,
    /// Their name.
    pub name: String,
    /// Their e-mail address.
    pub email: String,
}

/// A project with its sections.
#[derive(Debug, Clone)]
pub struct AsanaProject {
    /// Its gid.
    pub gid: String,
    /// Its name.
    pub name: String,
    /// Whether it is archived.
    pub archived: bool,
    /// Gid and name of each section.
    pub sections: Vec<(String, String)>,
    /// Its tasks, in their order; subtasks only where they were put here.
    pub tasks: Vec<String>,
    pub(super) events: Vec<Event>,
    pub(super) hidden: bool,
}

/// A custom field; an enum when it has options.
#[derive(Debug, Clone)]
pub struct AsanaField {
    /// Its gid.
    pub gid: String,
    /// Its name.
    pub name: String,
    /// `enum`, `number`, `text`, …
    pub subtype: String,
    /// Gid and name of each option.
    pub options: Vec<(String, String)>,
}

/// A task as it is stored.
#[derive(Debug, Clone, Default)]
pub struct AsanaTask {
    /// Its gid.
    pub gid: String,
    /// Its name.
    pub name: String,
    /// Its description.
    pub html_notes: String,
    /// `default_task`, `milestone` or `approval`.
    pub subtype: String,
    /// When it was completed, in milliseconds since 1970.
    pub completed_at: Option<i64>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: i64,
    /// When it was changed last.
    pub modified_at: i64,
    /// Gid of the assignee.
    pub assignee: Option<String>,
    /// The day it is due.
    pub due_on: Option<String>,
    /// Gid of the task it is a part of.
    pub parent: Option<String>,
    /// Gids of its parts.
    pub subtasks: Vec<String>,
    /// Gids of project and section.
    pub memberships: Vec<(String, String)>,
    /// Gids of its tags.
    pub tags: Vec<String>,
    /// Gids of tasks it waits for.
    pub dependencies: Vec<String>,
    /// Values of custom fields, as they are written, by gid.
    pub fields: BTreeMap<String, Value>,
    /// The app's own id.
    pub external: Option<String>,
    /// Its comments and history, oldest first.
    pub stories: Vec<Value>,
}

/// Something that happened, as events and webhooks tell it.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) sequence: u64,
    pub(super) value: Value,
}

/// A workspace and everything in it.
#[derive(Debug, Clone, Default)]
pub struct AsanaWorkspace {
    /// Its gid.
    pub gid: String,
    /// Its name.
    pub name: String,
    /// A free workspace has no custom fields and no search.
    pub free: bool,
    /// Its people.
    pub users: Vec<AsanaUser>,
    /// Its projects.
    pub projects: Vec<AsanaProject>,
    /// Gid and name of each tag.
    pub tags: Vec<(String, String)>,
    /// Its custom fields; every project uses all of them.
    pub fields: Vec<AsanaField>,
    /// Its tasks by gid.
    pub tasks: BTreeMap<String, AsanaTask>,
}

/// A webhook.
#[derive(Debug, Clone)]
pub(super) struct Webhook {
    pub(super) gid: String,
    pub(super) project: String,
    pub(super) target: String,
    pub(super) secret: String,
    pub(super) active: bool,
    pub(super) kinds: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Offset {
    pub(super) after: String,
    pub(super) index: usize,
    pub(super) query: String,
}

/// All workspaces, and what the API hands out beside them.
#[derive(Debug, Default)]
pub(crate) struct AsanaWorld {
    pub(super) workspaces: Vec<AsanaWorkspace>,
    /// Gids of the tasks that wait for one, by its gid. Dependencies come with the world and go with their tasks.
    dependents: HashMap<String, Vec<String>>,
    pub(super) webhooks: Vec<Webhook>,
    /// Project and the first sequence number that is new, by token.
    pub(super) tokens: HashMap<String, (String, u64)>,
    pub(super) offsets: HashMap<String, Offset>,
    /// Deliveries that wait to be sent: webhook and body.
    pub(super) outbox: Vec<(Webhook, String)>,
    last_gid: u64,
    last_sequence: u64,
    last_ms: i64,
}

impl AsanaWorld {
    pub(crate) fn new(workspaces: Vec<AsanaWorkspace>) -> Self {
        let mut world = Self { last_gid: 1_300_000_000_000_000, ..Self::default() };
        workspaces.into_iter().for_each(|workspace| world.add(workspace));
        world
    }

    /// One more workspace with everything in it.
    pub(super) fn add(&mut self, workspace: AsanaWorkspace) {
        for task in workspace.tasks.values() {
            for other in &task.dependencies {
                self.dependents.entry(other.clone()).or_default().push(task.gid.clone());
            }
        }
        self.workspaces.push(workspace);
    }

    /// Gids of the tasks that wait for this one.
    pub(super) fn dependents(&self, gid: &str) -> &[String] {
        self.dependents.get(gid).map_or(&[], Vec::as_slice)
    }

    pub(super) fn next_gid(&mut self) -> String {
        self.last_gid += 1;
        self.last_gid.to_string()
    }

    /// Later than every moment before.
    pub(super) fn tick(&mut self) -> i64 {
        self.last_ms = now_ms().max(self.last_ms + 1);
        self.last_ms
    }

    pub(super) fn sequence(&self) -> u64 {
        self.last_sequence
    }

    pub(super) fn project(&self, gid: &str) -> Option<(&AsanaWorkspace, &AsanaProject)> {
        self.workspaces.iter().find_map(|workspace| {
            Some((workspace, workspace.projects.iter().find(|project| project.gid == gid)?))
        })
    }

    pub(super) fn project_mut(&mut self, gid: &str) -> Option<&mut AsanaProject> {
        self.workspaces
            .iter_mut()
            .flat_map(|workspace| &mut workspace.projects)
            .find(|project| project.gid == gid)
    }

    pub(super) fn task(&self, gid: &str) -> Option<(&AsanaWorkspace, &AsanaTask)> {
        self.workspaces.iter().find_map(|workspace| Some((workspace, workspace.tasks.get(gid)?)))
    }

    pub(super) fn task_mut(&mut self, gid: &str) -> Option<&mut AsanaTask> {
        self.workspaces.iter_mut().find_map(|workspace| workspace.tasks.get_mut(gid))
    }

    pub(super) fn section_project(&self, section: &str) -> Option<String> {
        self.workspaces
            .iter()
            .flat_map(|workspace| &workspace.projects)
            .find(|project| project.sections.iter().any(|(gid, _)| gid == section))
            .map(|project| project.gid.clone())
    }

    /// Projects that are told of a task: its own, and those of the tasks it is a part of.
    fn told(&self, gid: &str) -> Vec<String> {
        let (mut told, mut next, mut levels) = (Vec::new(), Some(gid.to_owned()), 0);
        while let Some((_, task)) = next.and_then(|gid| self.task(&gid)) {
            told.extend(task.memberships.iter().map(|(project, _)| project.clone()));
            next = task.parent.clone();
            levels += 1;
            if levels > 20 {
                break;
            }
        }
        told.sort();
        told.dedup();
        told
    }

    /// Notes an event for the projects that are told of the task.
    #[expect(clippy::needless_pass_by_value, reason = "both are made for the call")]
    pub(super) fn happened(&mut self, task: &str, action: &str, resource: Value, parent: Value) {
        let told = self.told(task);
        let at = self.tick();
        self.tell(told, action, &resource, &parent, at);
    }

    fn tell(&mut self, told: Vec<String>, action: &str, resource: &Value, parent: &Value, at: i64) {
        let kind = resource["resource_type"].as_str().unwrap_or_default().to_owned();
        for project in told {
            self.last_sequence += 1;
            let value = json!({
                "user": null, "created_at": iso(at), "type": kind, "action": action, "resource": resource,
                "parent": parent,
            });
            let hooks: Vec<Webhook> = self
                .webhooks
                .iter()
                .filter(|hook| {
                    hook.project == project && (hook.kinds.is_empty() || hook.kinds.contains(&kind))
                })
                .cloned()
                .collect();
            let body = json!({"events": [value]}).to_string();
            self.outbox.extend(hooks.into_iter().map(|hook| (hook, body.clone())));
            let sequence = self.last_sequence;
            if let Some(project) = self.project_mut(&project) {
                project.events.push(Event { sequence, value });
            }
        }
    }

    /// A task is changed now.
    pub(super) fn changed(&mut self, gid: &str) {
        let at = self.tick();
        if let Some(task) = self.task_mut(gid) {
            task.modified_at = at;
        }
        self.happened(gid, "changed", resource(gid, "task"), Value::Null);
    }

    /// Adds a story to a task, which changes the task.
    #[expect(clippy::needless_pass_by_value, reason = "its fields are made for the call")]
    pub(super) fn story(&mut self, gid: &str, user: &str, subtype: &str, more: Value) -> String {
        let (story, at) = (self.next_gid(), self.tick());
        let kind = if subtype == "comment_added" { "comment" } else { "system" };
        let mut value = json!({
            "gid": story, "resource_type": "story", "resource_subtype": subtype, "type": kind,
            "created_at": iso(at), "created_by": self.user_value(user), "is_edited": false,
        });
        if let (Some(value), Some(more)) = (value.as_object_mut(), more.as_object()) {
            value.extend(more.clone());
        }
        if let Some(task) = self.task_mut(gid) {
            task.stories.push(value);
            task.modified_at = at;
        }
        self.happened(gid, "added", resource(&story, "story"), resource(gid, "task"));
        story
    }

    pub(super) fn user_value(&self, gid: &str) -> Value {
        let user = self.workspaces.iter().flat_map(|workspace| &workspace.users).find(|user| user.gid == gid);
        user.map_or(Value::Null, |user| json!({"gid": user.gid, "resource_type": "user", "name": user.name}))
    }

    /// Deletes a task with its parts: 404 from now on.
    pub(super) fn delete(&mut self, gid: &str) -> anyhow::Result<()> {
        let (_, task) = self.task(gid).with_context(|| format!("there is no task {gid}"))?;
        let (parts, parent) = (task.subtasks.clone(), task.parent.clone());
        for part in parts {
            self.delete(&part)?;
        }
        let (told, at) = (self.told(gid), self.tick());
        self.dependents.remove(gid);
        for dependents in self.dependents.values_mut() {
            dependents.retain(|other| other != gid);
        }
        for workspace in &mut self.workspaces {
            workspace.tasks.remove(gid);
            for task in workspace.tasks.values_mut() {
                task.dependencies.retain(|other| other != gid);
            }
            for project in &mut workspace.projects {
                project.tasks.retain(|task| task != gid);
            }
        }
        if let Some(parent) = parent.and_then(|parent| self.task_mut(&parent)) {
            parent.subtasks.retain(|part| part != gid);
        }
        self.tell(told, "deleted", &resource(gid, "task"), &Value::Null, at);
        Ok(())
    }

    /// Puts a task into a section of a project, or moves it there.
    pub(super) fn put(&mut self, gid: &str, section: &str, user: &str) -> anyhow::Result<()> {
        let project = self.section_project(section).context("there is no such section")?;
        let named = |world: &Self, section: &str| {
            let found = world
                .project(&project)
                .and_then(|(_, project)| project.sections.iter().find(|(gid, _)| gid == section).cloned());
            found.map_or(
                Value::Null,
                |(gid, name)| json!({"gid": gid, "resource_type": "section", "name": name}),
            )
        };
        let task = self.task_mut(gid).context("there is no such task")?;
        let before = task.memberships.iter_mut().find(|(own, _)| *own == project);
        let old = match before {
            Some(membership) => Some(std::mem::replace(&mut membership.1, section.to_owned())),
            None => {
                task.memberships.push((project.clone(), section.to_owned()));
                None
            }
        };
        match old {
            Some(old) if old == section => {}
            Some(old) => {
                let more = json!({"old_section": named(self, &old), "new_section": named(self, section)});
                self.story(gid, user, "section_changed", more);
                self.changed(gid);
            }
            None => {
                if let Some(project) = self.project_mut(&project) {
                    project.tasks.push(gid.to_owned());
                }
                let more = json!({"project": {"gid": project, "resource_type": "project"}});
                self.story(gid, user, "added_to_project", more);
                self.happened(gid, "added", resource(gid, "task"), resource(&project, "project"));
            }
        }
        Ok(())
    }

    /// Takes a task out of a project.
    pub(super) fn take_out(&mut self, gid: &str, project: &str) -> anyhow::Result<()> {
        let told = self.told(gid);
        let task = self.task_mut(gid).context("there is no such task")?;
        let before = task.memberships.len();
        task.memberships.retain(|(own, _)| own != project);
        ensure!(task.memberships.len() < before, "the task is not in that project");
        if let Some(project) = self.project_mut(project) {
            project.tasks.retain(|task| task != gid);
        }
        let at = self.tick();
        if let Some(task) = self.task_mut(gid) {
            task.modified_at = at;
        }
        self.tell(told, "removed", &resource(gid, "task"), &resource(project, "project"), at);
        Ok(())
    }
}

pub(super) fn resource(gid: &str, kind: &str) -> Value {
    json!({"gid": gid, "resource_type": kind})
}
