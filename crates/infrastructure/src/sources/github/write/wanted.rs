//! How an item is to be: what of it to send, what GitHub did not take, and what it changed.

use domain::ChangedField;
use serde_json::{Map, Value, json};

use super::super::marker;
use super::names::Target;
use super::snapshot::{Milestone, Snapshot};

/// How an item is to be; what is absent stays.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) title: Option<String>,
    pub(super) body: Option<String>,
    pub(super) labels: Option<Vec<String>>,
    pub(super) assignees: Option<Vec<String>>,
    pub(super) milestone: Option<Option<Milestone>>,
    pub(super) item_type: Option<String>,
    /// `open` or `closed`, and the reason.
    pub(super) state: Option<(&'static str, Option<&'static str>)>,
    pub(super) parent: Option<Option<Target>>,
    /// The parent it has, where another is wanted.
    pub(super) parent_now: Option<Target>,
}

impl Wanted {
    /// The fields to send: those that differ from what is there.
    pub(super) fn to_json(&self, before: Option<&Snapshot>) -> Value {
        let mut fields = Map::new();
        if let Some(title) = self.title.as_ref().filter(|title| before.is_none_or(|b| b.title != **title)) {
            fields.insert("title".into(), json!(title));
        }
        if let Some(body) = &self.body
            && let Some(before) = before.filter(|before| !same_text(before.body(), body))
        {
            fields.insert("body".into(), json!(marker::keep_marks(body, before.marked_body())));
        }
        if let Some(labels) =
            self.labels.as_ref().filter(|all| before.is_none_or(|b| !same(&b.labels(), all)))
        {
            fields.insert("labels".into(), json!(labels));
        }
        if let Some(people) =
            self.assignees.as_ref().filter(|all| before.is_none_or(|b| !same(&b.assignees(), all)))
        {
            fields.insert("assignees".into(), json!(people));
        }
        if let Some(milestone) =
            self.milestone.as_ref().filter(|wanted| before.is_none_or(|b| b.milestone() != wanted.as_ref()))
        {
            fields.insert("milestone".into(), json!(milestone.as_ref().map(|one| one.number)));
        }
        if let Some(name) = self.item_type.as_ref().filter(|name| before.is_none_or(|b| !is_type(b, name))) {
            fields.insert("type".into(), json!(name));
        }
        if let Some((state, reason)) = self.state.filter(|state| before.is_none_or(|b| !is_state(b, *state)))
        {
            fields.insert("state".into(), json!(state));
            if let Some(reason) = reason {
                fields.insert("state_reason".into(), json!(reason));
            }
        }
        Value::Object(fields)
    }

    /// What was asked for and is not there: GitHub drops silently what the token may not set.
    pub(super) fn dropped(&self, after: &Snapshot) -> Vec<String> {
        let mut dropped = Vec::new();
        let mut note = |what: &str, names: Vec<String>| {
            if !names.is_empty() {
                dropped.push(format!(
                    "GitHub did not take {what} ({}): the token needs push access to the repository for that",
                    names.join(", ")
                ));
            }
        };
        let missing = |wanted: &Option<Vec<String>>, there: Vec<String>| {
            let has = |name: &&String| !there.iter().any(|one| one.to_lowercase() == name.to_lowercase());
            wanted.iter().flatten().filter(has).cloned().collect::<Vec<_>>()
        };
        let left = |wanted: &Option<Vec<String>>, there: Vec<String>| match wanted {
            Some(wanted) => missing(&Some(there), wanted.clone()),
            None => Vec::new(),
        };
        note("the labels", missing(&self.labels, after.labels()));
        note("the removal of the labels", left(&self.labels, after.labels()));
        note("the assignees", missing(&self.assignees, after.assignees()));
        note("the removal of the assignees", left(&self.assignees, after.assignees()));
        if let Some(wanted) = &self.milestone
            && after.milestone() != wanted.as_ref()
        {
            note("the milestone", vec![wanted.as_ref().map_or("none".into(), |one| one.title.clone())]);
        }
        if let Some(wanted) = self.item_type.as_ref().filter(|name| !is_type(after, name)) {
            note("the type", vec![wanted.clone()]);
        }
        if let Some(wanted) = self.state.filter(|state| !is_state(after, *state)) {
            note("the status", vec![wanted.1.unwrap_or(wanted.0).to_owned()]);
        }
        dropped
    }

    /// What of the asked is different now.
    pub(super) fn changes(&self, before: Option<&Snapshot>, after: &Snapshot) -> Vec<ChangedField> {
        let mut changes = Vec::new();
        let mut note = |asked: bool, field: &str, from: Value, to: Value| {
            // A new issue has no list before, which is as good as an empty one.
            let is_same = from == to || (from.is_null() && to == json!([]));
            if asked && !is_same {
                changes.push(ChangedField { field: field.into(), from, to });
            }
        };
        let text = |of: &dyn Fn(&Snapshot) -> Value| (before.map_or(Value::Null, of), of(after));
        let new = before.is_none();
        let mut both = |asked: bool, field: &str, of: &dyn Fn(&Snapshot) -> Value| {
            let (from, to) = text(of);
            note(asked, field, from, to);
        };
        both(new || self.title.is_some(), "title", &|one| json!(one.title));
        both((new && !after.body().is_empty()) || self.body.is_some(), "body", &|one| json!(one.body()));
        both(self.labels.is_some(), "labels", &|one| json!(one.labels()));
        both(self.assignees.is_some(), "assignees", &|one| json!(one.assignees()));
        both(self.milestone.is_some(), "milestone", &|one| {
            json!(one.milestone().map(|milestone| &milestone.title))
        });
        both(self.item_type.is_some(), "type", &|one| json!(one.item_type()));
        both(self.state.is_some(), "status", &|one| json!(one.state));
        let closed = self.state.is_some_and(|(state, _)| state == "closed");
        both(closed, "resolution", &|one| json!(one.state_reason));
        changes
    }

    /// Whether the parent is as wanted.
    pub(super) fn has_parent(&self) -> bool {
        match &self.parent {
            None => true,
            Some(wanted) => self.parent_now == *wanted,
        }
    }
}

/// GitHub keeps texts with the line ends of whoever wrote them.
fn same_text(left: &str, right: &str) -> bool {
    left.replace("\r\n", "\n").trim_end() == right.replace("\r\n", "\n").trim_end()
}

fn same(left: &[String], right: &[String]) -> bool {
    let sorted = |list: &[String]| {
        let mut names: Vec<String> = list.iter().map(|name| name.to_lowercase()).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    sorted(left) == sorted(right)
}

fn is_type(item: &Snapshot, name: &str) -> bool {
    item.item_type().is_some_and(|known| known.eq_ignore_ascii_case(name))
}

fn is_state(item: &Snapshot, (state, reason): (&str, Option<&str>)) -> bool {
    item.state == state && reason.is_none_or(|reason| item.state_reason.as_deref() == Some(reason))
}
