//! Deleting issues for good, with what hangs on them
//! (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/#api-rest-api-3-issue-issueidorkey-delete>).

use std::collections::BTreeSet;

use application::ports::{Look, SourceError, SourceErrorKind};
use domain::{ChangedField, ItemDeletion, SeenItem, WrittenItem};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::api::{Api, segment};
use super::issue::Issue;
use super::look::found;
use super::{rejected, send};

#[derive(Deserialize)]
struct Subtask {
    id: String,
    key: String,
    #[serde(default)]
    fields: Value,
}

impl Subtask {
    fn of(issue: &Issue) -> Vec<Self> {
        let rows = issue.field("subtasks").as_array().map_or(&[][..], Vec::as_slice);
        rows.iter().filter_map(|row| Self::deserialize(row).ok()).collect()
    }

    fn seen(self) -> SeenItem {
        SeenItem { source_id: self.id, key: self.key }
    }
}

/// Says what would go: the issue, its subtasks, and what hangs on it.
pub(super) async fn rehearse(
    api: &Api<'_>,
    key: &str,
    deletion: &ItemDeletion,
) -> Result<WrittenItem, SourceError> {
    let fields = ["summary", "subtasks", "attachment", "issuelinks", "worklog"];
    let issue = Issue::read(api, key, &fields).await?;
    issue.require_selected(api)?;
    require_key(&issue, key)?;
    let subtasks = Subtask::of(&issue);
    if !subtasks.is_empty() && !deletion.with_subtasks {
        let keys: Vec<&str> = subtasks.iter().map(|one| one.key.as_str()).collect();
        let message = format!(
            "is needed: {} has subtasks, and Jira deletes it only with them ({})",
            issue.key,
            keys.join(", ")
        );
        return Err(rejected("/delete_subtasks", message));
    }
    let what = format!("the comments of {}", issue.key);
    let path = api.rest(&format!("/issue/{}/comment", segment(&issue.key)));
    let comments: Value = api.get(&path, &[("maxResults", "1")], &what).await?.json(&what)?;
    let count = |value: &Value| value.as_array().map_or(0, Vec::len);
    let names = |value: &Value| -> Vec<Value> {
        value.as_array().into_iter().flatten().filter_map(|row| row.get("filename")).cloned().collect()
    };
    let mut changed = vec![gone("issue", json!({"key": issue.key, "summary": issue.field("summary")}))];
    if !subtasks.is_empty() {
        let told = subtasks.iter().map(|one| {
            json!({"key": one.key, "id": one.id, "summary": one.fields.get("summary").unwrap_or(&Value::Null)})
        });
        changed.push(gone("subtasks", told.collect()));
    }
    for (field, value) in [
        ("comment", comments.get("total").cloned().unwrap_or_default()),
        ("worklog", issue.field("worklog").get("total").cloned().unwrap_or_default()),
        ("issuelinks", json!(count(issue.field("issuelinks")))),
        ("attachment", json!(names(issue.field("attachment")))),
    ] {
        if !matches!(&value, Value::Null) && value != 0 && value != json!([]) {
            changed.push(gone(field, value));
        }
    }
    Ok(WrittenItem { changed, ..issue.written(api) })
}

/// Deletes an issue that is as it was when somebody agreed to it.
pub(super) async fn delete(
    api: &Api<'_>,
    key: &str,
    deletion: &ItemDeletion,
) -> Result<WrittenItem, SourceError> {
    let issue = Issue::read(api, key, &["subtasks"]).await?;
    issue.require_selected(api)?;
    require_key(&issue, key)?;
    let subtasks: BTreeSet<SeenItem> = Subtask::of(&issue).into_iter().map(Subtask::seen).collect();
    let Some(confirmed) = &deletion.confirmed else {
        let message = format!("nobody has agreed that {key} is deleted");
        return Err(SourceError::new(SourceErrorKind::Conflict, message));
    };
    let same = issue.id == confirmed.item.source_id
        && issue.updated_at() == Some(confirmed.seen)
        && subtasks == confirmed.subtasks.iter().cloned().collect();
    if !same {
        let message = format!("{key} or its subtasks were changed since somebody agreed that it is deleted");
        return Err(SourceError::new(SourceErrorKind::Conflict, message));
    }
    let path = api.rest(&format!("/issue/{}", segment(&issue.id)));
    let with = if deletion.with_subtasks { "true" } else { "false" };
    send::delete(api, &path, &[("deleteSubtasks", with)], &format!("the deletion of {key}")).await?;
    Ok(deleted(api, key, deletion))
}

/// Whether an issue is gone: Jira does not find it, and shows its project, so that it is not merely hidden.
pub(super) async fn look(api: &Api<'_>, key: &str, deletion: &ItemDeletion) -> Result<Look, SourceError> {
    match Issue::read(api, key, &[]).await {
        Ok(_) => return Ok(Look::Absent),
        Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Gone) => {}
        Err(error) => return Err(error),
    }
    let project = key.rsplit_once('-').map_or(key, |(project, _)| project);
    let path = api.rest(&format!("/project/{}", segment(project)));
    match api.get(&path, &[], &format!("the project {project}")).await {
        Ok(_) => found(deleted(api, key, deletion)),
        Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Forbidden) => {
            Ok(Look::Unsure)
        }
        Err(error) => Err(error),
    }
}

/// An issue that moved has another key, and perhaps another project, than the one that was asked for.
fn require_key(issue: &Issue, key: &str) -> Result<(), SourceError> {
    match issue.key.eq_ignore_ascii_case(key) {
        true => Ok(()),
        false => Err(rejected("/key", format!("has moved: the issue is {} now", issue.key))),
    }
}

fn gone(field: &str, what: Value) -> ChangedField {
    ChangedField { field: field.to_owned(), from: what, to: Value::Null }
}

fn deleted(api: &Api<'_>, key: &str, deletion: &ItemDeletion) -> WrittenItem {
    let confirmed = deletion.confirmed.as_ref();
    let mut changed = vec![gone("issue", json!(key))];
    let subtasks = confirmed.map_or(&[][..], |confirmed| confirmed.subtasks.as_slice());
    if !subtasks.is_empty() {
        changed.push(gone("subtasks", subtasks.iter().map(|one| json!(one.key)).collect()));
    }
    WrittenItem {
        source_id: confirmed.map(|confirmed| confirmed.item.source_id.clone()).unwrap_or_default(),
        key: key.to_owned(),
        url: api.browse(key),
        changed,
        ..WrittenItem::default()
    }
}
