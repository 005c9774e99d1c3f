//! What a write is to make of an item, and whether it did.

use application::ports::{SourceError, SourceErrorKind};
use domain::{ChangedField, ItemPatch, ListChange, NewItem, Transition, WrittenItem};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::api::Api;
use super::super::marker;
use super::names::{self, Target};
use super::pace::Turn;
use super::snapshot::{Milestone, Snapshot};

const REASONS: [&str; 3] = ["completed", "not_planned", "duplicate"];

/// How an item is to be; what is absent stays.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    title: Option<String>,
    body: Option<String>,
    labels: Option<Vec<String>>,
    assignees: Option<Vec<String>>,
    milestone: Option<Option<Milestone>>,
    item_type: Option<String>,
    /// `open` or `closed`, and the reason.
    state: Option<(&'static str, Option<&'static str>)>,
    pub(super) parent: Option<Option<Target>>,
    /// The parent it has, where another is wanted.
    pub(super) parent_now: Option<Target>,
}

fn unsupported(field: &str, message: &str) -> SourceError {
    SourceError::unknown_value(field, message, Vec::new())
}

/// What Patchbay cannot write there.
fn refuse(
    given: [(bool, &str, &str); 4],
    fields: &std::collections::BTreeMap<String, Value>,
) -> Result<(), SourceError> {
    for (is_given, field, message) in given {
        if is_given {
            return Err(unsupported(field, message));
        }
    }
    match fields.keys().next() {
        Some(name) => {
            let pointer = format!("/fields/{}", name.replace('~', "~0").replace('/', "~1"));
            Err(unsupported(&pointer, "GitHub's issues have no such field that can be written"))
        }
        None => Ok(()),
    }
}

const NO_PRIORITY: &str = "GitHub's issues have no priority: use the repository's labels for it";
const NO_DUE_DATE: &str = "GitHub's issues have no due date: use a milestone, which has one";
const NO_SPRINT: &str = "iterations of GitHub's projects are read, not written";
const NO_SECTION: &str = "columns of GitHub's projects are not written";

/// What a new issue is to be.
pub(super) async fn of_new(api: &Api<'_>, repository: &str, new: &NewItem) -> Result<Wanted, SourceError> {
    let given = [
        (new.priority.is_some(), "/priority", NO_PRIORITY),
        (new.due_on.is_some(), "/due_on", NO_DUE_DATE),
        (new.sprint.is_some(), "/sprint", NO_SPRINT),
        (new.section.is_some(), "/section", NO_SECTION),
    ];
    refuse(given, &new.fields)?;
    if new.title.trim().is_empty() {
        return Err(unsupported("/title", "an issue needs a title"));
    }
    let some = |list: &Vec<String>| !list.is_empty();
    Ok(Wanted {
        labels: match &new.labels {
            list if some(list) => Some(names::labels(api, repository, list).await?),
            _ => None,
        },
        assignees: match &new.assignees {
            list if some(list) => Some(names::assignees(api, repository, list).await?),
            _ => None,
        },
        milestone: match &new.milestone {
            Some(name) => Some(Some(names::milestone(api, repository, name).await?)),
            None => None,
        },
        item_type: match &new.item_type {
            // What items without a type are called here.
            Some(name) if name.eq_ignore_ascii_case("issue") => None,
            Some(name) => Some(names::item_type(api, repository, name).await?),
            None => None,
        },
        parent: match &new.parent {
            Some(key) => Some(Some(names::parent(api, key).await?)),
            None => None,
        },
        ..Wanted::default()
    })
}

/// What an item is to be after a change.
pub(super) async fn of_patch(
    api: &Api<'_>,
    target: &Target,
    before: &Snapshot,
    patch: &ItemPatch,
) -> Result<Wanted, SourceError> {
    let given = [
        (patch.priority.is_some(), "/priority", NO_PRIORITY),
        (patch.due_on.is_some(), "/due_on", NO_DUE_DATE),
        (patch.sprint.is_some(), "/sprint", NO_SPRINT),
        (patch.section.is_some(), "/section", NO_SECTION),
    ];
    refuse(given, &patch.fields)?;
    if patch.title.as_ref().is_some_and(|title| title.trim().is_empty()) {
        return Err(unsupported("/title", "an issue needs a title"));
    }
    let repository = &target.repository;
    let issues_only = |field: &str| match before.is_pull_request() {
        true => Err(unsupported(field, "pull requests have no such thing, only issues do")),
        false => Ok(()),
    };
    let mut wanted = Wanted {
        title: patch.title.clone(),
        body: patch.body.as_ref().map(|body| body.clone().unwrap_or_default()),
        ..Wanted::default()
    };
    if let Some(change) = &patch.labels {
        let known = names::labels(api, repository, added(change)).await?;
        wanted.labels = Some(resolved(change, known, &before.labels()));
    }
    if let Some(change) = &patch.assignees {
        let known = names::assignees(api, repository, added(change)).await?;
        wanted.assignees = Some(resolved(change, known, &before.assignees()));
    }
    if let Some(milestone) = &patch.milestone {
        wanted.milestone = Some(match milestone {
            Some(name) => Some(names::milestone(api, repository, name).await?),
            None => None,
        });
    }
    if let Some(name) = &patch.item_type {
        issues_only("/type")?;
        wanted.item_type = Some(names::item_type(api, repository, name).await?);
    }
    if let Some(parent) = &patch.parent {
        issues_only("/parent")?;
        wanted.parent_now = parent_of(api, target).await?;
        wanted.parent = Some(match parent {
            Some(key) => Some(names::parent(api, key).await?),
            None => None,
        });
    }
    Ok(wanted)
}

fn added(change: &ListChange) -> &[String] {
    match change {
        ListChange::Set(all) => all,
        ListChange::Edit { add, .. } => add,
    }
}

/// The list after a change, in the names as GitHub writes them.
fn resolved(change: &ListChange, known: Vec<String>, before: &[String]) -> Vec<String> {
    match change {
        ListChange::Set(_) => ListChange::Set(known).apply(before),
        ListChange::Edit { remove, .. } => {
            let names =
                |name: &&String| remove.iter().any(|one| one.trim().to_lowercase() == name.to_lowercase());
            let remove = before.iter().filter(names).cloned().collect();
            ListChange::Edit { add: known, remove }.apply(before)
        }
    }
}

/// What an item is to be after a transition.
pub(super) fn of_transition(before: &Snapshot, transition: &Transition) -> Result<Wanted, SourceError> {
    refuse(Default::default(), &transition.fields)?;
    let reason_of = |name: &str| {
        let name = name.trim().to_lowercase().replace([' ', '-'], "_");
        REASONS.into_iter().find(|reason| *reason == name)
    };
    let to = transition.to.trim().to_lowercase();
    let (state, mut reason) = match to.as_str() {
        "open" | "reopened" => ("open", None),
        "closed" => ("closed", None),
        name => match reason_of(name) {
            Some(reason) => ("closed", Some(reason)),
            None => {
                return Err(SourceError::unknown_value(
                    "/to",
                    format!("{:?} is no status of GitHub", transition.to),
                    vec!["open".into(), "closed".into()],
                ));
            }
        },
    };
    if let Some(resolution) = &transition.resolution {
        let allowed = || REASONS.map(String::from).to_vec();
        let unknown = |message: String, allowed| SourceError::unknown_value("/resolution", message, allowed);
        if state == "open" {
            return Err(unknown("only closing has a reason".into(), Vec::new()));
        }
        reason = Some(reason_of(resolution).ok_or_else(|| {
            unknown(format!("{resolution:?} is no reason for closing that GitHub knows"), allowed())
        })?);
    }
    if before.is_pull_request() && reason.is_some_and(|reason| reason != "completed") {
        return Err(SourceError::unknown_value(
            "/resolution",
            "pull requests are closed without a reason",
            Vec::new(),
        ));
    }
    if state == "closed" && !before.is_pull_request() {
        reason = reason.or(Some("completed"));
    }
    let reason = reason.filter(|_| !before.is_pull_request());
    // Closed for whatever reason is closed, when none is asked for.
    let asked = transition.resolution.is_some() || to != "closed";
    let reason = if asked || before.state != "closed" { reason } else { None };
    Ok(Wanted { state: Some((state, reason)), ..Wanted::default() })
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

/// Sends what differs, and tells what came of it.
pub(super) async fn apply(
    api: &Api<'_>,
    turn: &mut Turn,
    target: &Target,
    before: &Snapshot,
    wanted: &Wanted,
) -> Result<WrittenItem, SourceError> {
    let fields = wanted.to_json(Some(before));
    let sends = fields.as_object().is_some_and(|fields| !fields.is_empty());
    let mut after = before.clone();
    let mut warnings = Vec::new();
    if sends {
        // GitHub ignores a reason unless the state changes with it, so a closed issue is closed for another by opening it.
        let reopen = fields.get("state_reason").is_some() && before.state == "closed";
        let url = api.url(&format!("/repos/{}/issues/{}", target.repository, target.number))?;
        let what = target.to_string();
        if reopen {
            turn.change(api, Method::PATCH, &url, Some(&json!({"state": "open"})), &what).await?;
        }
        let answer = turn.change(api, Method::PATCH, &url, Some(&fields), &what).await?;
        after = Snapshot::read(&answer.text(), &what)?;
        if !wanted.dropped(&after).is_empty() {
            after = Snapshot::fetch(api, target).await?;
        }
        warnings = wanted.dropped(&after);
    }
    let mut changed = wanted.changes(Some(before), &after);
    if !wanted.has_parent() {
        let parent = wanted.parent.as_ref().and_then(Option::as_ref);
        let moved = match (parent, &wanted.parent_now) {
            (Some(parent), _) => set_parent(api, turn, before.id, parent).await,
            (None, Some(now)) => leave_parent(api, turn, before.id, now).await,
            (None, None) => Ok(()),
        };
        match moved {
            Ok(()) => {
                changed.push(parent_changed(wanted.parent_now.as_ref(), parent));
            }
            Err(error) if changed.is_empty() => {
                return Err(SourceError { field: Some("/parent".into()), ..error });
            }
            Err(error) => warnings.push(format!("the parent is as it was: {error}")),
        }
    }
    if changed.is_empty() && sends && !warnings.is_empty() {
        return Err(SourceError::new(SourceErrorKind::Forbidden, warnings.join("; ")));
    }
    Ok(after.written(target, changed, warnings))
}

pub(super) fn parent_changed(from: Option<&Target>, to: Option<&Target>) -> ChangedField {
    let key = |target: Option<&Target>| json!(target.map(ToString::to_string));
    ChangedField { field: "parent".into(), from: key(from), to: key(to) }
}

/// Makes an issue a part of another.
pub(super) async fn set_parent(
    api: &Api<'_>,
    turn: &mut Turn,
    id: u64,
    parent: &Target,
) -> Result<(), SourceError> {
    let Target { repository, number } = parent;
    let url = api.url(&format!("/repos/{repository}/issues/{number}/sub_issues"))?;
    let body = json!({"sub_issue_id": id, "replace_parent": true});
    turn.change(api, Method::POST, &url, Some(&body), &format!("the sub-issues of {parent}")).await.map(drop)
}

async fn leave_parent(api: &Api<'_>, turn: &mut Turn, id: u64, parent: &Target) -> Result<(), SourceError> {
    let url = api.url(&format!("/repos/{}/issues/{}/sub_issue", parent.repository, parent.number))?;
    let body = json!({"sub_issue_id": id});
    turn.change(api, Method::DELETE, &url, Some(&body), &format!("the sub-issues of {parent}"))
        .await
        .map(drop)
}

#[derive(Deserialize)]
struct ParentAnswer {
    number: u64,
    repository_url: String,
}

/// The parent an issue has.
async fn parent_of(api: &Api<'_>, target: &Target) -> Result<Option<Target>, SourceError> {
    let what = format!("the parent of {target}");
    let url = api.url(&format!("/repos/{}/issues/{}/parent", target.repository, target.number))?;
    let answer = match api.get(&url, None, &what).await {
        Ok(answer) => answer,
        Err(error) if error.kind == SourceErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = answer.text();
    let parent: ParentAnswer = serde_json::from_str(&text)
        .map_err(|error| super::malformed(format!("GitHub's answer for {what} is not an issue ({error})")))?;
    let repository = parent.repository_url.split_once("/repos/").map(|(_, name)| name.to_owned());
    Ok(repository.map(|repository| Target { repository, number: parent.number }))
}
