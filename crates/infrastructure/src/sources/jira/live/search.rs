//! Searching issues by JQL, within what may be seen.

use application::ports::{LiveIssue, LiveIssues, LiveSearch, LiveView, SourceError};
use domain::Cursor;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::api::{Answer, Api};
use super::super::malformed;
use super::super::model::Issue;
use super::super::text::markdown;
use super::super::walk::FoundOf;
use super::fields::{self, Asked};
use super::issue::core;
use super::jql::Query;
use super::projects::SeenProjects;
use super::unknown_position;

/// What a list of issues shows.
const SUMMARY: [&str; 6] = ["summary", "status", "issuetype", "assignee", "priority", "updated"];
/// Everything but what has a tool of its own or tells of other issues.
const FULL: [&str; 11] = [
    "*all",
    "-comment",
    "-worklog",
    "-attachment",
    "-thumbnail",
    "-votes",
    "-watches",
    "-subtasks",
    "-issuelinks",
    "-parent",
    "-lastViewed",
];
const WHAT: &str = "the search";

/// Where a search goes on: by token on Cloud, by number on Data Center.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<u64>,
}

/// One page.
pub(super) async fn search(
    api: &Api<'_>,
    known: &SeenProjects,
    ask: &LiveSearch<'_>,
) -> Result<LiveIssues, SourceError> {
    let query = Query::parse(ask.jql)?;
    query.refuse_hidden(ask.within.hidden())?;
    let position = match ask.from {
        Some(Cursor(cursor)) => Position::deserialize(cursor).map_err(|_| unknown_position())?,
        None => Position::default(),
    };
    let url_template = api.browse("{key}");
    let jql = match ask.within.as_list() {
        None => query.render(None),
        Some(keys) => {
            let seen = known.find(api, keys).await?;
            query.check(ask.within, &seen)?;
            if seen.is_empty() {
                return Ok(LiveIssues { url_template, total: Some(0), ..LiveIssues::default() });
            }
            query.render(Some(&seen))
        }
    };
    let asked = fields::resolve(api, ask.fields).await?;
    let answer = send(api, &jql, ask, &asked, &position).await.map_err(blame_jql)?;
    let text = answer.text();
    let mut found: FoundOf<Issue<'_>> = FoundOf::read(&text, WHAT)?;
    let next = next(api, &found, &position)?;
    let total = match (found.total, &next, ask.from) {
        (Some(total), ..) => i64::try_from(total).ok(),
        (None, None, None) => i64::try_from(found.issues.len()).ok(),
        _ => None,
    };
    let of_page = (ask.view == LiveView::Full).then(|| found.fields());
    let mut issues = Vec::with_capacity(found.issues.len());
    for issue in &found.issues {
        let read = read(issue, ask, &asked, of_page.as_ref());
        // The query says it already; whatever became of that, nothing from outside leaves here.
        if ask.within.allows_issue(&read.key) {
            issues.push(read);
        }
    }
    Ok(LiveIssues { issues, next, total, url_template })
}

async fn send(
    api: &Api<'_>,
    jql: &str,
    ask: &LiveSearch<'_>,
    asked: &[Asked],
    position: &Position,
) -> Result<Answer, SourceError> {
    let mut fields: Vec<&str> = match ask.view {
        LiveView::Key => vec!["key"],
        LiveView::Summary => SUMMARY.to_vec(),
        LiveView::Full => FULL.to_vec(),
    };
    fields.extend(asked.iter().map(|field| field.id.as_str()));
    let mut body = json!({"jql": jql, "maxResults": ask.limit, "fields": fields});
    let full = ask.view == LiveView::Full;
    if api.is_cloud() {
        if full {
            body["expand"] = json!("names,schema");
        }
        if let Some(token) = &position.token {
            body["nextPageToken"] = json!(token);
        }
        return api.post(&api.rest("/search/jql"), &body, WHAT).await;
    }
    if full {
        body["expand"] = json!(["names", "schema"]);
    }
    body["startAt"] = json!(position.start.unwrap_or(0));
    api.post(&api.rest("/search"), &body, WHAT).await
}

/// What is refused about a search is the query.
fn blame_jql(error: SourceError) -> SourceError {
    if error.upstream_status == Some(400) && error.field.is_none() {
        return SourceError { field: Some("/jql".into()), ..error };
    }
    error
}

fn next(
    api: &Api<'_>,
    found: &FoundOf<Issue<'_>>,
    position: &Position,
) -> Result<Option<Cursor>, SourceError> {
    let next = if api.is_cloud() {
        let token = found.next_page_token.clone().filter(|token| !token.is_empty());
        match (token, found.is_last) {
            (Some(_), Some(true)) | (None, Some(true) | None) => None,
            (Some(token), _) if position.token.as_ref() == Some(&token) => {
                return Err(malformed("Jira's search does not move on: it gave the same page token again"));
            }
            (Some(token), _) => Some(Position { token: Some(token), start: None }),
            (None, Some(false)) => {
                return Err(malformed("Jira's search says that there is more, and not by which token"));
            }
        }
    } else {
        let start = found.start_at.or(position.start).unwrap_or(0);
        let end = start + found.issues.len() as u64;
        let more = !found.issues.is_empty() && found.total.is_some_and(|total| end < total);
        more.then_some(Position { token: None, start: Some(end) })
    };
    next.map(|next| serde_json::to_value(next).map(Cursor))
        .transpose()
        .map_err(|error| malformed(format!("the position cannot be written ({error})")))
}

fn read(
    issue: &Issue<'_>,
    ask: &LiveSearch<'_>,
    asked: &[Asked],
    of_page: Option<&super::super::fields::Fields>,
) -> LiveIssue {
    let mut told = match ask.view {
        LiveView::Key => LiveIssue { key: issue.key.clone(), ..LiveIssue::default() },
        LiveView::Summary | LiveView::Full => core(issue),
    };
    if let Some(of_page) = of_page {
        if let Some(text) = markdown(issue.raw("description")) {
            told.more.insert("description".into(), text.into());
        }
        if let Value::Object(values) = fields::shown(of_page.noted(issue).values(issue), ask.within) {
            told.fields.extend(values);
        }
    }
    told.fields.extend(fields::values(issue, asked, ask.within));
    told
}
