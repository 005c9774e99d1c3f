//! Time booked on issues.

use application::ports::{Look, SourceError};
use chrono::{DateTime, Utc};
use domain::{ChangedField, NewWorklog, WrittenItem};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::api::{Api, segment};
use super::super::malformed;
use super::super::model::id;
use super::super::text::mark;
use super::super::time::Time;
use super::issue::{Issue, finish};
use super::look::{found, marked};
use super::{Mode, PROPERTY, carries, property, rejected, send, text};

/// Worklogs in one request.
const PAGE: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    #[serde(deserialize_with = "id")]
    id: String,
    #[serde(default)]
    time_spent: Option<String>,
}

/// Books time with the marker on it, in one request. Worklogs of Cloud carry it as a property; those of Data Center have
/// none, so that there an anchor in the comment does, which Jira shows to nobody.
pub(super) async fn add(
    api: &Api<'_>,
    key: &str,
    worklog: &NewWorklog,
    marker: &str,
    mode: Mode,
) -> Result<WrittenItem, SourceError> {
    let issue = Issue::read(api, key, &["timespent", "timeestimate"]).await?;
    issue.require_selected(api)?;
    let said = |spent: &str| ChangedField {
        field: "worklog".to_owned(),
        from: Value::Null,
        to: Value::String(spent.to_owned()),
    };
    let comment = worklog.comment.as_deref().map(|comment| text::new(api.dialect(), comment));
    let warnings = comment.as_ref().map(|comment| comment.warnings.clone()).unwrap_or_default();
    if mode == Mode::Rehearse {
        let changed = vec![said(worklog.spent.as_str())];
        return Ok(WrittenItem { changed, warnings, ..issue.written(api) });
    }
    // The same at every attempt: when the work was told, and not when the request got through.
    let Some(started) = worklog.started.or_else(|| marked::meant_at(marker)) else {
        return Err(rejected("/started", "say when the work began: this call does not tell"));
    };
    let mut body = json!({"timeSpent": worklog.spent.as_str(), "started": written(started)});
    let mut comment = comment.map(|comment| comment.value);
    if api.is_cloud() {
        body["properties"] = json!([property(marker)]);
    } else {
        let words = comment.as_ref().and_then(Value::as_str).unwrap_or_default();
        comment = Some(Value::String(mark::put(words, marker)));
    }
    if let Some(comment) = comment {
        body["comment"] = comment;
    }
    let path = path(api, &issue.key);
    let pointers = [
        ("comment", "/comment"),
        ("started", "/started"),
        ("timeSpent", "/time_spent"),
        // Jira's word for it in refusals.
        ("timeLogged", "/time_spent"),
    ];
    let pointers = pointers.map(|(name, pointer)| (name.to_owned(), pointer.to_owned())).into();
    let what = format!("time spent on {}", issue.key);
    let answer = send::change(api, Method::POST, &path, &body, &pointers, &what).await?;
    let created: Created = serde_json::from_slice(&answer.body).map_err(|error| {
        malformed(format!("Jira's answer for a worklog is not what it should be ({error})"))
    })?;
    let watched = [("time_spent_s", "timespent"), ("time_remaining_s", "timeestimate")]
        .map(|(name, id)| (name.to_owned(), id.to_owned()));
    let mut told = finish(api, &issue.key, &watched, Some(&issue), &issue.id, warnings).await;
    told.changed.insert(0, said(created.time_spent.as_deref().unwrap_or(worklog.spent.as_str())));
    Ok(WrittenItem { worklog_id: Some(created.id), ..told })
}

fn path(api: &Api<'_>, key: &str) -> String {
    api.rest(&format!("/issue/{}/worklog", segment(key)))
}

/// Jira reads an offset without colon only.
fn written(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

#[derive(Deserialize)]
struct Worklogs {
    #[serde(default)]
    worklogs: Vec<Worklog>,
    #[serde(default)]
    total: Option<usize>,
}

#[derive(Deserialize)]
struct Worklog {
    #[serde(deserialize_with = "id")]
    id: String,
    #[serde(default)]
    created: Option<Time>,
    #[serde(default)]
    comment: Value,
    #[serde(default)]
    properties: Vec<Property>,
}

#[derive(Deserialize)]
struct Property {
    key: String,
    #[serde(default)]
    value: Value,
}

impl Worklog {
    fn has(&self, marker: &str) -> bool {
        self.properties.iter().any(|property| property.key == PROPERTY && carries(&property.value, marker))
            || self.comment.as_str().is_some_and(|comment| mark::is_in(comment, marker))
    }
}

/// Whether the time was booked.
pub(super) async fn look(api: &Api<'_>, key: &str, marker: &str) -> Result<Look, SourceError> {
    let Some(since) = marked::since(marker) else { return Ok(Look::Unsure) };
    let mut page = read(api, key, 0).await?;
    // By the time they were told, the oldest first; old servers give all of them at once.
    // <https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-worklogs/>
    if let Some(total) = page.total.filter(|total| *total > page.worklogs.len()) {
        page = read(api, key, total.saturating_sub(PAGE)).await?;
    }
    let recent = page.worklogs.iter().filter(|one| one.created.is_none_or(|at| at.0 >= since));
    let recent: Vec<&Worklog> = recent.collect();
    match recent.iter().find(|one| one.has(marker)) {
        Some(ours) => {
            let issue = Issue::read(api, key, &[]).await?;
            found(WrittenItem { worklog_id: Some(ours.id.clone()), ..issue.written(api) })
        }
        None if recent.len() >= PAGE => Ok(Look::Unsure),
        None => Ok(Look::Absent),
    }
}

async fn read(api: &Api<'_>, key: &str, start: usize) -> Result<Worklogs, SourceError> {
    let (start, most) = (start.to_string(), PAGE.to_string());
    let mut query = vec![("startAt", start.as_str()), ("maxResults", most.as_str())];
    query.extend(api.is_cloud().then_some(("expand", "properties")));
    let what = format!("the time booked on {key}");
    api.get(&path(api, key), &query, &what).await?.json(&what)
}
