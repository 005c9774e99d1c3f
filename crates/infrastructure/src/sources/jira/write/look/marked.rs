//! Issues and comments that carry the marker of a write.
//!
//! JQL finds issues by a property only where an app has declared an index on it, which a credential cannot
//! (<https://developer.atlassian.com/cloud/jira/platform/jira-entity-properties/>). So the account's own issues of the
//! project are gone through, from when the write was meant on: the marker tells when that was.

use std::collections::BTreeMap;

use application::ports::{Look, SourceError, SourceErrorKind};
use chrono::{DateTime, TimeDelta, Utc};
use domain::NewItem;
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::super::api::{Api, segment};
use super::super::super::text::value_markdown;
use super::super::super::time::Time;
use super::super::comment::with_comment;
use super::super::issue::Issue;
use super::super::{PROPERTY, carries, text};
use super::found;

/// How far Jira's clock and ours may be apart.
const SKEW: TimeDelta = TimeDelta::minutes(10);
const PAGE: usize = 100;
/// Beyond so many pages the search is not trusted.
const MOST_PAGES: usize = 5;
/// Properties that are read one by one, where they cannot be asked for together.
const MOST_SINGLE: usize = 30;

/// When the write was meant; `None` when the marker does not tell.
pub(in super::super) fn meant_at(marker: &str) -> Option<DateTime<Utc>> {
    let id = Uuid::try_parse(marker.rsplit('-').next()?).ok()?;
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

/// A little before the write was meant.
pub(in super::super) fn since(marker: &str) -> Option<DateTime<Utc>> {
    Some(meant_at(marker)? - SKEW)
}

/// The account's own issues of a project since the write was meant.
fn own_issues(new: &NewItem, marker: &str) -> Option<String> {
    let since = since(marker)?.timestamp_millis();
    let project = new.project.trim().replace(['"', '\\'], "");
    Some(format!(
        "project = \"{project}\" AND creator = currentUser() AND created >= {since} ORDER BY created ASC"
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    #[serde(default)]
    issues: Vec<Candidate>,
    #[serde(default)]
    next_page_token: Option<String>,
    #[serde(default)]
    total: Option<usize>,
}

#[derive(Deserialize)]
struct Candidate {
    id: String,
    #[serde(default)]
    fields: Map<String, Value>,
    #[serde(default)]
    properties: Map<String, Value>,
}

pub(super) async fn created_on_cloud(
    api: &Api<'_>,
    new: &NewItem,
    marker: &str,
) -> Result<Look, SourceError> {
    let Some(jql) = own_issues(new, marker) else { return Ok(Look::Unsure) };
    let what = "the issues this account has made";
    let mut token: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let mut body =
            json!({"jql": jql, "fields": ["summary"], "properties": [PROPERTY], "maxResults": PAGE});
        if let Some(token) = &token {
            body["nextPageToken"] = Value::String(token.clone());
        }
        let page: Found = api.post(&api.rest("/search/jql"), &body, what).await?.json(what)?;
        let ours = page
            .issues
            .iter()
            .find(|issue| issue.properties.get(PROPERTY).is_some_and(|value| carries(value, marker)));
        if let Some(issue) = ours {
            return found(Issue::read(api, &issue.id, &[]).await?.written(api));
        }
        match page.next_page_token {
            None => return Ok(Look::Absent),
            again if again == token => return Ok(Look::Unsure),
            next => token = next,
        }
    }
    Ok(Look::Unsure)
}

/// Searches of Data Center do not hand out properties: those of issues with the same title are read one by one.
pub(super) async fn created_on_data_center(
    api: &Api<'_>,
    new: &NewItem,
    marker: &str,
) -> Result<Look, SourceError> {
    let Some(jql) = own_issues(new, marker) else { return Ok(Look::Unsure) };
    let what = "the issues this account has made";
    let (mut start, mut read_one_by_one) = (0, 0);
    for _ in 0..MOST_PAGES {
        let body = json!({"jql": jql, "fields": ["summary"], "startAt": start, "maxResults": PAGE});
        let page: Found = api.post(&api.rest("/search"), &body, what).await?.json(what)?;
        start += page.issues.len();
        let same = |issue: &&Candidate| {
            issue.fields.get("summary").and_then(Value::as_str).map(str::trim) == Some(new.title.trim())
        };
        for issue in page.issues.iter().filter(same) {
            read_one_by_one += 1;
            if read_one_by_one > MOST_SINGLE {
                return Ok(Look::Unsure);
            }
            let mark = property_of(api, &format!("/issue/{}", issue.id)).await?;
            if mark.is_some_and(|mark| carries(&mark, marker)) {
                return found(Issue::read(api, &issue.id, &[]).await?.written(api));
            }
        }
        if page.issues.is_empty() || page.total.is_some_and(|total| start >= total) {
            return Ok(Look::Absent);
        }
    }
    Ok(Look::Unsure)
}

#[derive(Deserialize)]
struct Property {
    #[serde(default)]
    value: Value,
}

/// Our property of an issue or comment; `None` where it has none.
async fn property_of(api: &Api<'_>, of: &str) -> Result<Option<Value>, SourceError> {
    let path = api.rest(&format!("{of}/properties/{PROPERTY}"));
    let what = "a property";
    match api.get(&path, &[], what).await {
        Ok(answer) => Ok(Some(answer.json::<Property>(what)?.value)),
        Err(error) if error.kind == SourceErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[derive(Deserialize)]
struct Comments {
    #[serde(default)]
    comments: Vec<Comment>,
    #[serde(default)]
    total: Option<usize>,
}

#[derive(Deserialize)]
struct Comment {
    id: String,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    created: Option<Time>,
}

/// What was found of a comment.
pub(in super::super) enum Looked {
    Marked(String),
    Absent,
    /// There are too many to look at, or one of the same words that carries no mark: this one, or a person's.
    Unsure,
}

/// Whether a comment was added.
pub(super) async fn commented(api: &Api<'_>, key: &str, marker: &str) -> Result<Look, SourceError> {
    match comment(api, key, None, marker).await? {
        Looked::Marked(id) => {
            let issue = Issue::read(api, key, &[]).await?;
            found(with_comment(issue.written(api), api, id))
        }
        Looked::Absent => Ok(Look::Absent),
        Looked::Unsure => Ok(Look::Unsure),
    }
}

/// Whether a transition with this comment took place. The comment comes after the status, or with it: a marked one proves
/// both, also where the issue was taken elsewhere since; the status alone may have been there before.
pub(super) async fn transitioned(
    api: &Api<'_>,
    issue: &Issue,
    alike: Option<&str>,
    marker: &str,
) -> Result<Look, SourceError> {
    match comment(api, &issue.key, alike, marker).await? {
        Looked::Marked(id) => found(with_comment(issue.written(api), api, id)),
        Looked::Absent => Ok(Look::Absent),
        Looked::Unsure => Ok(Look::Unsure),
    }
}

/// Looks for the comment that carries the marker; with `alike` also for one of these words that carries none, where it is
/// not certain that Jira keeps it.
///
/// Comments are read from the issue itself and not from the search index: what is there is shown at once.
pub(in super::super) async fn comment(
    api: &Api<'_>,
    key: &str,
    alike: Option<&str>,
    marker: &str,
) -> Result<Looked, SourceError> {
    let Some(since) = since(marker) else { return Ok(Looked::Unsure) };
    let path = api.rest(&format!("/issue/{}/comment", segment(key)));
    let most = PAGE.to_string();
    let what = format!("the comments of {key}");
    let query = [("orderBy", "-created"), ("maxResults", most.as_str())];
    let mut page: Comments = api.get(&path, &query, &what).await?.json(&what)?;
    // Old servers take no order and give the oldest: then the newest are at the end.
    let oldest_first =
        page.comments.first().map(|first| first.created) < page.comments.last().map(|last| last.created);
    if oldest_first && let Some(rest) = page.total.and_then(|total| total.checked_sub(PAGE)) {
        let start = rest.to_string();
        let query = [("startAt", start.as_str()), ("maxResults", most.as_str())];
        page = api.get(&path, &query, &what).await?.json(&what)?;
    }
    let recent = page.comments.iter().filter(|comment| comment.created.is_none_or(|at| at.0 >= since));
    let recent: Vec<&Comment> = recent.collect();
    if recent.len() >= PAGE || (!api.is_cloud() && recent.len() > MOST_SINGLE) {
        return Ok(Looked::Unsure);
    }
    let mut marks = if api.is_cloud() { marks_on_cloud(api, &recent).await? } else { BTreeMap::new() };
    let mut unmarked = Vec::new();
    for comment in recent {
        let mark = match api.is_cloud() {
            true => marks.remove(&comment.id),
            false => property_of(api, &format!("/comment/{}", comment.id)).await?,
        };
        match mark {
            Some(mark) if carries(&mark, marker) => return Ok(Looked::Marked(comment.id.clone())),
            // Of another write.
            Some(_) => {}
            None => unmarked.push(comment),
        }
    }
    let same = alike.is_some_and(|alike| {
        let meant = plain(&text::new(api.dialect(), alike).value);
        unmarked.iter().any(|comment| plain(&comment.body) == meant)
    });
    Ok(if same { Looked::Unsure } else { Looked::Absent })
}

fn plain(body: &Value) -> String {
    value_markdown(body).unwrap_or_default().trim().to_owned()
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    values: Vec<ListedComment>,
}

#[derive(Deserialize)]
struct ListedComment {
    id: String,
    #[serde(default)]
    properties: Vec<KeyedProperty>,
}

#[derive(Deserialize)]
struct KeyedProperty {
    key: String,
    #[serde(default)]
    value: Value,
}

/// Our property of each comment that has it.
async fn marks_on_cloud(api: &Api<'_>, recent: &[&Comment]) -> Result<BTreeMap<String, Value>, SourceError> {
    let ids: Vec<i64> = recent.iter().filter_map(|comment| comment.id.parse().ok()).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let what = "comments with their properties";
    let (path, query) = (api.rest("/comment/list"), [("expand", "properties")]);
    let answer = api.ask(Method::POST, &path, &query, Some(&json!({"ids": ids})), what).await?;
    let listed: Listed = answer.json(what)?;
    let marks = listed.values.into_iter().filter_map(|comment| {
        let ours = comment.properties.into_iter().find(|property| property.key == PROPERTY)?;
        Some((comment.id, ours.value))
    });
    Ok(marks.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_begins_a_little_before_the_write_was_meant() {
        let new = NewItem { project: "ENG\" OR 1".into(), ..NewItem::default() };
        let jql = own_issues(&new, "patchbay-0193500000007abc8def001122334455").unwrap();
        assert_eq!(
            jql,
            format!(
                "project = \"ENG OR 1\" AND creator = currentUser() AND created >= {} ORDER BY created ASC",
                0x0193_5000_0000_i64 - 600_000
            )
        );
        assert_eq!(own_issues(&new, "of-nobody"), None);
    }
}
