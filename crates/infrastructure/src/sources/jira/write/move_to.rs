//! Issues moved to another project. Cloud does it as a task of its own
//! (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-bulk-operations/>); Data Center's API has no
//! operation for it (<https://developer.atlassian.com/server/jira/platform/rest/v10004/api-group-issue/>).

use std::collections::BTreeMap;
use std::time::Duration;

use application::ports::{Look, SourceError, SourceErrorKind};
use domain::{ChangedField, ItemMove, WrittenItem};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::super::nearest::nearest;
use super::super::api::{Api, segment};
use super::super::malformed;
use super::form::{IssueType, issue_types};
use super::issue::{Issue, Watched, changes, finish};
use super::look::found;
use super::project::Project;
use super::send::change;
use super::{Mode, rejected};

/// How long the task is waited for: a write has 15 s in all. What takes longer is looked for afterwards.
const PATIENCE: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(400);
const FIELDS: [&str; 3] = ["project", "issuetype", "subtasks"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Submitted {
    task_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    status: String,
    #[serde(default)]
    failed_accessible_issues: BTreeMap<String, Vec<String>>,
}

/// Moves an issue with its subtasks. What is there already is no failure.
pub(super) async fn move_to(
    api: &Api<'_>,
    key: &str,
    to: &ItemMove,
    mode: Mode,
) -> Result<WrittenItem, SourceError> {
    if !api.is_cloud() {
        let message =
            "Jira Data Center has no API that moves issues: have a person move it in Jira, under More > Move";
        return Err(SourceError::new(SourceErrorKind::Unsupported, message));
    }
    let issue = Issue::read(api, key, &FIELDS).await?;
    issue.require_selected(api)?;
    let project = Project::read(api, &to.project).await?;
    if is_there(&issue, to) {
        let warnings = vec!["the issue is there already".to_owned()];
        return Ok(WrittenItem { warnings, ..issue.written(api) });
    }
    if issue.field("issuetype").get("subtask") == Some(&Value::Bool(true)) {
        return Err(rejected("/key", format!("{} is a subtask, which moves with its parent", issue.key)));
    }
    let types = issue_types(api, &project.id).await?;
    let chosen = choose(&types, &issue, to)?;
    let type_id = chosen.id.clone().ok_or_else(|| malformed("Jira's type of issue has no id"))?;
    let subtasks: Vec<Value> = issue
        .field("subtasks")
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row.get("key").cloned())
        .collect();
    let mut warnings = Vec::new();
    if !subtasks.is_empty() {
        warnings.push(format!(
            "its subtasks move along and get other keys, which the next sync brings: {}",
            subtasks.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        ));
    }
    let watched: Vec<Watched> = vec![("type".to_owned(), "issuetype".to_owned())];
    let mut away = Vec::new();
    let from = issue.field("project").get("key").cloned().unwrap_or_default();
    if from.as_str() != Some(project.key.as_str()) {
        away.push(ChangedField { field: "project".to_owned(), from, to: json!(project.key) });
    }
    if mode == Mode::Rehearse {
        let mut after = Issue { id: issue.id.clone(), key: issue.key.clone(), fields: issue.fields.clone() };
        after.fields.insert("issuetype".to_owned(), json!({"name": chosen.name}));
        away.extend(changes(&watched, Some(&issue), &after));
        return Ok(WrittenItem { changed: away, warnings, ..issue.written(api) });
    }
    let what = format!("the move of {}", issue.key);
    let mapping = json!({
        "issueIdsOrKeys": [issue.id], "inferClassificationDefaults": true, "inferFieldDefaults": true,
        "inferStatusDefaults": true, "inferSubtaskTypeDefault": true,
    });
    let body = json!({"targetToSourcesMapping": {(format!("{},{type_id}", project.key)): mapping}});
    let path = api.rest("/bulk/issues/move");
    let answer = change(api, Method::POST, &path, &body, &BTreeMap::new(), &what).await?;
    let submitted: Submitted = serde_json::from_slice(&answer.body)
        .map_err(|error| malformed(format!("Jira's answer for {what} is not what it should be ({error})")))?;
    let ended = wait(api, &submitted.task_id, &what).await?;
    let after = Issue::read(api, &issue.id, &FIELDS).await.map_err(|error| unknown(&what, &error.message))?;
    if !is_there(&after, to) {
        let why = ended.failed_accessible_issues.get(&issue.id).map(|reasons| reasons.join("; "));
        let why = why.unwrap_or_else(|| format!("Jira's task ended as {}", ended.status));
        return Err(rejected("/project", format!("Jira did not move {}: {why}", issue.key)));
    }
    let mut moved = finish(api, &after.key, &watched, Some(&issue), &issue.id, warnings).await;
    if after.key != issue.key {
        away.push(ChangedField { field: "key".to_owned(), from: json!(issue.key), to: json!(after.key) });
    }
    away.append(&mut moved.changed);
    Ok(WrittenItem { changed: away, ..moved })
}

/// Whether an issue is where it was to be moved, by whatever key.
pub(super) async fn look(api: &Api<'_>, key: &str, to: &ItemMove) -> Result<Look, SourceError> {
    let issue = Issue::read(api, key, &FIELDS).await?;
    if is_there(&issue, to) { found(issue.written(api)) } else { Ok(Look::Absent) }
}

fn is_there(issue: &Issue, to: &ItemMove) -> bool {
    let project = issue.field("project").get("key").and_then(Value::as_str);
    let of_type = |wanted: &String| {
        let own = issue.field("issuetype");
        let is = |name: &str| own.get(name).and_then(Value::as_str).is_some_and(|own| same(own, wanted));
        is("name") || is("id")
    };
    project.is_some_and(|key| same(key, &to.project)) && to.item_type.as_ref().is_none_or(of_type)
}

fn same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

/// The type that is asked for, or the one of the same name as now.
fn choose<'t>(types: &'t [IssueType], issue: &Issue, to: &ItemMove) -> Result<&'t IssueType, SourceError> {
    let now = issue.field("issuetype").get("name").and_then(Value::as_str).unwrap_or_default();
    let wanted = to.item_type.as_deref().unwrap_or(now);
    let mut open = types.iter().filter(|found| !found.subtask);
    let is = |found: &&IssueType| {
        same(&found.name, wanted) || found.id.as_deref().is_some_and(|id| same(id, wanted))
    };
    open.find(is).ok_or_else(|| {
        let known = types.iter().filter(|found| !found.subtask).map(|found| found.name.as_str());
        let message = format!("{} has no type of issue called `{wanted}`: name one", to.project);
        SourceError::unknown_value("/issue_type", message, nearest(wanted, known))
    })
}

/// Waits for the end of a task. Nothing that goes wrong meanwhile says that the issue is not moved.
async fn wait(api: &Api<'_>, task: &str, what: &str) -> Result<Progress, SourceError> {
    let path = api.rest(&format!("/bulk/queue/{}", segment(task)));
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = api.get(&path, &[], what).await.map_err(|error| unknown(what, &error.message))?;
        let progress: Progress = answer.json(what)?;
        if !matches!(progress.status.as_str(), "ENQUEUED" | "RUNNING" | "CANCEL_REQUESTED") {
            return Ok(progress);
        }
        if Instant::now() >= until {
            return Err(unknown(what, "Jira is still at it"));
        }
        sleep(ASK_AGAIN).await;
    }
}

fn unknown(what: &str, why: &str) -> SourceError {
    let message = format!("it is not known what came of {what}: {why}");
    SourceError::new(SourceErrorKind::Unavailable, message)
}
