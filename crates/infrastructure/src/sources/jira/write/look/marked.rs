//! Issues and comments that carry the marker of a write.
//!
//! JQL finds issues by a property only where an app has declared an index on it, which a credential cannot
//! (<https://developer.atlassian.com/cloud/jira/platform/jira-entity-properties/>). So the account's own issues of the
//! project are gone through, from when the write was meant on: the marker tells when that was.

use application::ports::{Look, SourceError, SourceErrorKind};
use chrono::{DateTime, TimeDelta, Utc};
use domain::NewItem;
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::super::api::{Api, segment};
use super::super::super::time::Time;
use super::super::comment::with_comment;
use super::super::issue::Issue;
use super::super::{PROPERTY, carries};
use super::found;

/// How far Jira's clock and ours may be apart.
const SKEW: TimeDelta = TimeDelta::minutes(10);
const PAGE: usize = 100;
/// Beyond so many pages the search is not trusted.
const MOST_PAGES: usize = 5;
/// Properties that are read one by one, where they cannot be asked for together.
const MOST_SINGLE: usize = 30;

/// When the write was meant, a little earlier; `None` when the marker does not tell.
fn since(marker: &str) -> Option<DateTime<Utc>> {
    let id = Uuid::try_parse(marker.rsplit('-').next()?).ok()?;
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    Some(DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)? - SKEW)
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
            if has_property(api, &format!("/issue/{}", issue.id), marker).await? {
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

async fn has_property(api: &Api<'_>, of: &str, marker: &str) -> Result<bool, SourceError> {
    let path = api.rest(&format!("{of}/properties/{PROPERTY}"));
    let what = "a property";
    match api.get(&path, &[], what).await {
        Ok(answer) => Ok(carries(&answer.json::<Property>(what)?.value, marker)),
        Err(error) if error.kind == SourceErrorKind::NotFound => Ok(false),
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
    created: Option<Time>,
}

/// Comments are read from the issue itself and not from the search index: what is there is shown at once.
pub(super) async fn commented(api: &Api<'_>, key: &str, marker: &str) -> Result<Look, SourceError> {
    let Some(since) = since(marker) else { return Ok(Look::Unsure) };
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
        return Ok(Look::Unsure);
    }
    let ours = if api.is_cloud() {
        marked_on_cloud(api, &recent, marker).await?
    } else {
        let mut ours = None;
        for comment in recent {
            if has_property(api, &format!("/comment/{}", comment.id), marker).await? {
                ours = Some(comment.id.clone());
                break;
            }
        }
        ours
    };
    let Some(id) = ours else { return Ok(Look::Absent) };
    let issue = Issue::read(api, key, &[]).await?;
    found(with_comment(issue.written(api), api, id))
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

async fn marked_on_cloud(
    api: &Api<'_>,
    recent: &[&Comment],
    marker: &str,
) -> Result<Option<String>, SourceError> {
    let ids: Vec<i64> = recent.iter().filter_map(|comment| comment.id.parse().ok()).collect();
    if ids.is_empty() {
        return Ok(None);
    }
    let what = "comments with their properties";
    let (path, query) = (api.rest("/comment/list"), [("expand", "properties")]);
    let answer = api.ask(Method::POST, &path, &query, Some(&json!({"ids": ids})), what).await?;
    let listed: Listed = answer.json(what)?;
    let marked = |comment: &&ListedComment| {
        comment.properties.iter().any(|property| property.key == PROPERTY && carries(&property.value, marker))
    };
    Ok(listed.values.iter().find(marked).map(|comment| comment.id.clone()))
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
