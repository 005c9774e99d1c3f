//! Issues read by their ids, with everything that hangs on them: changelog, comments, worklogs, times in sprints.

use application::ports::SourceError;
use domain::PageRecords;
use serde_json::json;

use super::api::{Answer, Api, is_too_large};
use super::changelogs::{self, Told, Waiting};
use super::lists;
use super::model::{Issue, Named};
use super::normalize::{distinct_records, unmapped};
use super::people::People;
use super::settings::Stream;
use super::walk::{Found, last_rows};

/// Issues that Jira gives at once by their ids.
pub(super) const BATCH: usize = 100;

/// Issues by id, with these fields; those that are gone or not visible are just absent.
pub(super) async fn issues(
    api: &Api<'_>,
    ids: &[String],
    fields: &[&str],
    what: &str,
) -> Result<Vec<Answer>, SourceError> {
    if api.is_cloud() {
        let body = json!({"issueIdsOrKeys": ids, "fields": fields});
        return Ok(vec![api.post(&api.rest("/issue/bulkfetch"), &body, what).await?]);
    }
    let mut answers = Vec::new();
    // Though told not to, some servers refuse them all for one unknown id: then it is found by halves.
    let mut open = vec![ids];
    while let Some(batch) = open.pop() {
        match searched(api, batch, fields, what).await {
            Ok(some) => answers.extend(some),
            Err(error) if error.upstream_status == Some(400) && batch.len() > 1 => {
                let (left, right) = batch.split_at(batch.len() / 2);
                open.extend([right, left]);
            }
            Err(error) if error.upstream_status == Some(400) && error.message.contains("does not exist") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answers)
}

/// Data Center's way: a search for the ids.
async fn searched(
    api: &Api<'_>,
    ids: &[String],
    fields: &[&str],
    what: &str,
) -> Result<Vec<Answer>, SourceError> {
    let mut answers = Vec::new();
    let mut start = 0;
    // The whole history comes with them, where details are asked for.
    let expand: &[&str] = if fields.contains(&"comment") { &["changelog"] } else { &[] };
    loop {
        // Ids are numbers and keys are words, or they would not be here.
        let jql = format!("issue in ({}) ORDER BY key ASC", ids.join(", "));
        let body = json!({
            "jql": jql, "startAt": start, "maxResults": BATCH, "fields": fields, "expand": expand,
            "validateQuery": false,
        });
        let answer = api.post(&api.rest("/search"), &body, what).await?;
        let (rows, total) = {
            let text = answer.text();
            let found = Found::read(&text, what)?;
            (found.issues.len() as u64, found.total.unwrap_or(0))
        };
        answers.push(answer);
        start += rows;
        if rows == 0 || start >= total {
            return Ok(answers);
        }
    }
}

/// Which of the issues are in selected projects.
pub(super) async fn selected(api: &Api<'_>, ids: &[String]) -> Result<Vec<String>, SourceError> {
    let mut wanted = Vec::new();
    for answer in issues(api, ids, &["project"], "the projects of issues").await? {
        let text = answer.text();
        for raw in Found::read(&text, "the projects of issues")?.issues {
            let Ok(issue) = serde_json::from_str::<Issue<'_>>(raw.get()) else { continue };
            let key = issue.get::<Named>("project").and_then(|project| project.key).unwrap_or_default();
            let selected = api.settings.projects.as_ref();
            if selected.is_none_or(|keys| keys.iter().any(|wanted| wanted.eq_ignore_ascii_case(&key))) {
                wanted.push(issue.id);
            }
        }
    }
    Ok(wanted)
}

/// Everything that hangs on these issues. Where that is too much for one answer, fewer are asked for at once.
pub(super) async fn details(api: &Api<'_>, ids: &[String]) -> Result<PageRecords, SourceError> {
    let mut records = PageRecords::default();
    let mut people = People::default();
    let mut open: Vec<&[String]> = ids.chunks(BATCH).rev().collect();
    while let Some(batch) = open.pop() {
        match read(api, batch, &mut people).await {
            Ok(page) => records.append(page),
            Err(error) if is_too_large(&error) && batch.len() > 1 => {
                let (left, right) = batch.split_at(batch.len() / 2);
                open.extend([right, left]);
            }
            Err(error) => return Err(error),
        }
    }
    distinct_records(&mut records);
    records.users = people.into_records();
    Ok(records)
}

async fn read(api: &Api<'_>, ids: &[String], people: &mut People) -> Result<PageRecords, SourceError> {
    let known = api.known().await?;
    let sprint_fields = known.sprint_fields(&api.connection.mappings);
    let fields: Vec<&str> = ["created", "updated", "comment", "worklog"]
        .into_iter()
        .chain(sprint_fields.iter().map(String::as_str))
        .collect();
    let answers = issues(api, ids, &fields, "the details of issues").await?;
    let texts: Vec<_> = answers.iter().map(Answer::text).collect();
    let mut rows = Vec::new();
    for text in &texts {
        rows.extend(Found::read(text, "the details of issues")?.issues);
    }
    let mut records = PageRecords::default();
    let mut waiting = Vec::new();
    for raw in last_rows(&rows) {
        match serde_json::from_str::<Issue<'_>>(raw.get()) {
            Ok(issue) => {
                let rest = lists::add_inside(api, &issue, &mut records, people);
                let told = Told::of(&issue, &sprint_fields, rest);
                let inside = (!api.is_cloud()).then(|| changelogs::inside(&issue, &mut records));
                waiting.push(Waiting { id: issue.id, key: issue.key, told, inside });
            }
            Err(error) => {
                let error = format!("it is no issue ({error})");
                records.unmapped.push(unmapped(Stream::Details, raw.get(), error));
            }
        }
    }
    records.append(changelogs::read(api, waiting, people).await?);
    Ok(records)
}
