//! What an edit sends: only what differs from what is there.

use std::collections::BTreeMap;

use application::ports::SourceError;
use domain::ChangedField;
use http::Method;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::super::refusals::is_definite;
use super::super::api::Api;
use super::super::model::Task;
use super::super::normalize::{COMPLETED, INCOMPLETE};
use super::super::{fields, marker};

/// A change that has a call of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    AddTag(String),
    RemoveTag(String),
    Parent(Option<String>),
    Section(String),
    Comment(String),
}

/// The calls of an edit, in order: the task's own fields at once, then the rest.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) data: Map<String, Value>,
    pub(super) steps: Vec<Step>,
    /// Names of the fields that are to be different afterwards.
    pub(super) asked: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.steps.is_empty()
    }

    pub(super) fn set(&mut self, field: &str, name: &str, value: Value) {
        self.data.insert(name.to_owned(), value);
        self.asked.push(field.to_owned());
    }

    /// Sends it. Once something was done, a refusal of the rest is told as a warning. Answers the comment's id.
    pub(super) async fn send(&mut self, api: &Api<'_>, gid: &str) -> Result<Option<String>, SourceError> {
        let (mut done, mut comment) = (false, None);
        if !self.data.is_empty() {
            let data = Value::Object(std::mem::take(&mut self.data));
            let what = format!("the task {gid}");
            let _: Box<RawValue> = api.write(Method::PUT, &format!("/tasks/{gid}"), &[], data, &what).await?;
            done = true;
        }
        for step in std::mem::take(&mut self.steps) {
            match step.send(api, gid).await {
                Ok(made) => comment = made.or(comment),
                Err(error) if done && is_definite(error.kind) => self.warnings.push(error.to_string()),
                Err(error) => return Err(error),
            }
            done = true;
        }
        Ok(comment)
    }
}

impl Step {
    async fn send(&self, api: &Api<'_>, gid: &str) -> Result<Option<String>, SourceError> {
        let (path, data, what) = match self {
            Self::AddTag(tag) => (format!("/tasks/{gid}/addTag"), json!({"tag": tag}), "the tag"),
            Self::RemoveTag(tag) => (format!("/tasks/{gid}/removeTag"), json!({"tag": tag}), "the tag"),
            Self::Parent(parent) => {
                (format!("/tasks/{gid}/setParent"), json!({"parent": parent}), "the parent")
            }
            Self::Section(section) => {
                (format!("/sections/{section}/addTask"), json!({"task": gid}), "the section")
            }
            Self::Comment(html) => {
                (format!("/tasks/{gid}/stories"), json!({"html_text": html}), "the comment")
            }
        };
        let what = format!("{what} of the task {gid}");
        let made: Value = api.write(Method::POST, &path, &[], data, &what).await?;
        Ok(made
            .get("gid")
            .and_then(Value::as_str)
            .filter(|_| matches!(self, Self::Comment(_)))
            .map(str::to_owned))
    }
}

/// A task's fields by the names that writes use.
pub(super) fn snapshot(task: &Task, project: &str) -> BTreeMap<String, Value> {
    let names =
        |gid: &str| task.memberships.iter().find(|m| m.project.as_ref().is_some_and(|p| p.gid == gid));
    let section =
        names(project).and_then(|membership| membership.section.as_ref()).map(|section| &section.name);
    let html = task.html_notes.as_deref().unwrap_or_default();
    let mut all: BTreeMap<String, Value> = match fields::values(&task.custom_fields) {
        Value::Object(values) => values.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    all.extend(
        [
            ("title", json!(task.name)),
            ("body", json!(rich_text::asana::to_markdown(&marker::strip(html)).markdown)),
            ("type", json!(task.resource_subtype)),
            ("assignees", json!(task.assignee.iter().map(|user| &user.name).collect::<Vec<_>>())),
            ("labels", json!(task.tags.iter().map(|tag| &tag.name).collect::<Vec<_>>())),
            ("parent", json!(task.parent.as_ref().map(|parent| &parent.gid))),
            ("due_on", json!(task.due_on)),
            ("section", json!(section)),
            ("status", json!(if task.completed { COMPLETED } else { INCOMPLETE })),
            ("approval", json!(task.approval_status)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    all
}

/// What of the asked fields is different, and warnings for those that Asana left as they were.
pub(super) fn compare(
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
    asked: &[String],
    warnings: &mut Vec<String>,
) -> Vec<ChangedField> {
    let mut changed = Vec::new();
    for field in asked {
        let of = |all: &BTreeMap<String, Value>| all.get(field).cloned().unwrap_or(Value::Null);
        let (from, to) = (of(before), of(after));
        if from == to {
            warnings.push(format!("Asana left {field} as it was"));
        } else if changed.iter().all(|known: &ChangedField| known.field != *field) {
            changed.push(ChangedField { field: field.clone(), from, to });
        }
    }
    changed
}
