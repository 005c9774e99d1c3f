//! What a write asks for, in GitHub's names; what GitHub does not have is refused before anything is sent.

use application::ports::SourceError;
use domain::{ItemPatch, ListChange, NewItem, Transition};
use serde_json::Value;

use super::super::api::Api;
use super::names::{self, Target};
use super::parent;
use super::snapshot::Snapshot;
use super::wanted::Wanted;

const REASONS: [&str; 3] = ["completed", "not_planned", "duplicate"];
const NO_PRIORITY: &str = "GitHub's issues have no priority: use the repository's labels for it";
const NO_DUE_DATE: &str = "GitHub's issues have no due date: use a milestone, which has one";
const NO_SPRINT: &str = "iterations of GitHub's projects are read, not written";
const NO_SECTION: &str = "columns of GitHub's projects are not written";

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
        wanted.parent_now = parent::find(api, target).await?;
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
