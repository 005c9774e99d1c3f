//! Issues read by their ids, with everything that hangs on them: changelog, comments, worklogs, times in sprints.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use application::ports::{SourceError, SourceErrorKind};
use domain::record::CommentRecord;
use domain::{FieldRole, PageRecords};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::api::{Answer, Api, is_too_large, segment};
use super::known::Known;
use super::model::{Comment, History, Issue, Named, Part};
use super::normalize::{distinct_records, unmapped};
use super::people::People;
use super::settings::Stream;
use super::sprints;
use super::text::markdown;
use super::time::Time;
use super::walk::{Found, last_rows};
use super::{history, malformed, worklogs};

/// Issues that Jira gives at once by their ids.
pub(super) const BATCH: usize = 100;
/// Changes asked for in one page of the changelogs of many issues.
const CHANGES: u32 = 5_000;
/// Pages of changelogs after which something is wrong: five million changes of 100 issues.
const MAX_CHANGE_PAGES: usize = 1_000;
/// Rows asked for in one page of an issue's comments or worklogs.
const ROWS: &str = "1000";
const MAX_ROW_PAGES: usize = 10_000;
/// Requests to an instance at one time.
const CONCURRENCY: usize = 4;

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
    let known = api.known().await?;
    let mut records = PageRecords::default();
    let mut people = People::default();
    let mut open = vec![ids];
    while let Some(batch) = open.pop() {
        if batch.is_empty() {
            continue;
        }
        match read(api, &known, batch, &mut people).await {
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

async fn read(
    api: &Api<'_>,
    known: &Arc<Known>,
    ids: &[String],
    people: &mut People,
) -> Result<PageRecords, SourceError> {
    let mut sprint_fields = known.sprint_fields.clone();
    sprint_fields.extend(api.connection.mappings.field(FieldRole::Sprint).map(str::to_owned));
    let fields: Vec<&str> = ["created", "updated", "comment", "worklog"]
        .into_iter()
        .chain(sprint_fields.iter().map(String::as_str))
        .collect();
    let (answers, mut changes) =
        tokio::try_join!(issues(api, ids, &fields, "the details of issues"), changelogs(api, ids))?;
    let texts: Vec<_> = answers.iter().map(Answer::text).collect();
    let mut rows = Vec::new();
    for text in &texts {
        rows.extend(Found::read(text, "the details of issues")?.issues);
    }
    let mut records = PageRecords::default();
    let mut unfinished = Vec::new();
    for raw in last_rows(&rows) {
        let issue: Issue<'_> = match serde_json::from_str(raw.get()) {
            Ok(issue) => issue,
            Err(error) => {
                records.unmapped.push(unmapped(
                    Stream::Details,
                    raw.get(),
                    format!("it is no issue ({error})"),
                ));
                continue;
            }
        };
        let histories = changes.remove(&issue.id).unwrap_or_default();
        let histories = match issue.changelog {
            Some(changelog) if !api.is_cloud() => parse(inside(changelog), &mut records),
            _ => parse(histories.iter().map(AsRef::as_ref), &mut records),
        };
        let moves = history::add(&issue.id, histories, &known.statuses, &sprint_fields, &mut records, people);
        if let (Some(created), Some(updated)) = (issue.get::<Time>("created"), issue.get::<Time>("updated")) {
            let now: BTreeSet<String> = sprint_fields
                .iter()
                .filter_map(|field| issue.get::<Value>(field))
                .flat_map(|value| sprints::ids(&value))
                .collect();
            let stays = sprints::memberships(&issue.id, created.0, updated.0, &moves, &now);
            records.sprint_memberships.extend(stays);
            records.sprint_memberships_of.push(issue.id.clone());
        }
        for list in [List::Comments, List::Worklogs] {
            let (rows, complete) = list.inside(&issue);
            if complete {
                list.add(api, &issue.id, &issue.key, &rows, &mut records, people);
            } else {
                unfinished.push((list, issue.id.clone(), issue.key.clone()));
            }
        }
    }
    // Not in an inner closure of `for`: at most so many requests at once, over all issues of the batch.
    let rest: Vec<_> = stream::iter(unfinished)
        .map(|(list, id, key)| async move {
            let answers = list.all(api, &id, &key).await?;
            Ok::<_, SourceError>((list, id, key, answers))
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    for (list, id, key, answers) in rest {
        let Some(answers) = answers else { continue };
        let texts: Vec<_> = answers.iter().map(Answer::text).collect();
        let mut rows = Vec::new();
        for text in &texts {
            rows.extend(list.rows(text)?.0);
        }
        list.add(api, &id, &key, &rows, &mut records, people);
    }
    Ok(records)
}

/// The changes of issues by id; empty with Data Center, where they come with the issues.
async fn changelogs(
    api: &Api<'_>,
    ids: &[String],
) -> Result<HashMap<String, Vec<Box<RawValue>>>, SourceError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Bulk {
        #[serde(default)]
        issue_change_logs: Vec<OfIssue>,
        #[serde(default)]
        next_page_token: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct OfIssue {
        issue_id: String,
        #[serde(default)]
        change_histories: Vec<Box<RawValue>>,
    }
    let mut changes: HashMap<String, Vec<Box<RawValue>>> = HashMap::new();
    if !api.is_cloud() {
        return Ok(changes);
    }
    let what = "the changelogs of issues";
    let mut body = json!({"issueIdsOrKeys": ids, "maxResults": CHANGES});
    let mut tokens = BTreeSet::new();
    for _ in 0..MAX_CHANGE_PAGES {
        let page: Bulk = api.post(&api.rest("/changelog/bulkfetch"), &body, what).await?.json(what)?;
        for of_issue in page.issue_change_logs {
            changes.entry(of_issue.issue_id).or_default().extend(of_issue.change_histories);
        }
        let Some(token) = page.next_page_token.filter(|token| !token.is_empty()) else { return Ok(changes) };
        if !tokens.insert(token.clone()) {
            return Err(malformed("Jira's changelogs do not move on: it gave the same page token again"));
        }
        body["nextPageToken"] = json!(token);
    }
    Err(malformed("Jira's changelogs do not end"))
}

/// The changes that Data Center gives inside of an issue, all of them.
fn inside(changelog: &RawValue) -> Vec<&RawValue> {
    #[derive(Deserialize)]
    struct Inside<'a> {
        #[serde(default, borrow)]
        histories: Vec<&'a RawValue>,
    }
    serde_json::from_str::<Inside<'_>>(changelog.get()).map(|inside| inside.histories).unwrap_or_default()
}

/// Changes one by one, so that an odd one keeps nothing else out.
fn parse<'a>(rows: impl IntoIterator<Item = &'a RawValue>, records: &mut PageRecords) -> Vec<History> {
    let mut histories = Vec::new();
    for raw in rows {
        match serde_json::from_str(raw.get()) {
            Ok(history) => histories.push(history),
            Err(error) => {
                records.unmapped.push(unmapped(
                    Stream::Details,
                    raw.get(),
                    format!("it is no change ({error})"),
                ));
            }
        }
    }
    histories
}

/// The two lists of an issue of which it holds a first part.
#[derive(Debug, Clone, Copy)]
enum List {
    Comments,
    Worklogs,
}

impl List {
    const fn name(self) -> &'static str {
        match self {
            Self::Comments => "comment",
            Self::Worklogs => "worklog",
        }
    }

    /// What the issue itself holds, and whether that is all.
    fn inside<'a>(self, issue: &Issue<'a>) -> (Vec<&'a RawValue>, bool) {
        let Some(raw) = issue.raw(self.name()) else { return (Vec::new(), true) };
        self.rows(raw.get()).map_or((Vec::new(), false), |(rows, total)| {
            let complete =
                total.is_some_and(|total| i64::try_from(rows.len()).is_ok_and(|rows| rows >= total));
            (rows, complete)
        })
    }

    fn rows(self, text: &str) -> Result<(Vec<&RawValue>, Option<i64>), SourceError> {
        let part: Part<'_> = serde_json::from_str(text).map_err(|error| {
            malformed(format!("Jira's list of {}s is not what it should be ({error})", self.name()))
        })?;
        let rows = match self {
            Self::Comments => part.comments,
            Self::Worklogs => part.worklogs,
        };
        Ok((rows, part.total))
    }

    /// All pages of an issue's list; `None` when the issue is gone meanwhile.
    async fn all(self, api: &Api<'_>, id: &str, key: &str) -> Result<Option<Vec<Answer>>, SourceError> {
        let path = api.rest(&format!("/issue/{}/{}", segment(id), self.name()));
        let what = format!("the {}s of {key}", self.name());
        let mut answers = Vec::new();
        let mut start: usize = 0;
        for _ in 0..MAX_ROW_PAGES {
            let from = start.to_string();
            let answer = match api.get(&path, &[("startAt", &from), ("maxResults", ROWS)], &what).await {
                Err(error) if error.kind == SourceErrorKind::NotFound => return Ok(None),
                answer => answer?,
            };
            let (rows, total) = {
                let text = answer.text();
                let (rows, total) = self.rows(&text)?;
                (rows.len(), total)
            };
            answers.push(answer);
            start += rows;
            let more = total.is_none_or(|total| i64::try_from(start).is_ok_and(|start| start < total));
            if rows == 0 || !more {
                return Ok(Some(answers));
            }
        }
        Err(malformed(format!("Jira's list of {what} does not end")))
    }

    fn add(
        self,
        api: &Api<'_>,
        id: &str,
        key: &str,
        rows: &[&RawValue],
        records: &mut PageRecords,
        people: &mut People,
    ) {
        let mut whole = true;
        for raw in rows {
            let result = match self {
                Self::Comments => {
                    comment(api, raw, id, key, people).map(|comment| records.comments.push(comment))
                }
                Self::Worklogs => {
                    worklogs::record(raw, Some(id), people).map(|worklog| records.worklogs.push(worklog))
                }
            };
            if let Err(error) = result {
                whole = false;
                records.unmapped.push(unmapped(Stream::Details, raw.get(), error));
            }
        }
        // With one missing, those that are stored stay.
        if whole && matches!(self, Self::Comments) {
            records.comments_of.push(id.to_owned());
        }
    }
}

fn comment(
    api: &Api<'_>,
    raw: &RawValue,
    id: &str,
    key: &str,
    people: &mut People,
) -> Result<CommentRecord, String> {
    let comment: Comment<'_> =
        serde_json::from_str(raw.get()).map_err(|error| format!("it is no comment ({error})"))?;
    Ok(CommentRecord {
        url: format!("{}?focusedCommentId={}", api.browse(key), comment.id),
        source_id: comment.id,
        kind: "comment",
        item_ref_key: id.to_owned(),
        author: people.meet(comment.author.as_ref()),
        body: markdown(comment.body).unwrap_or_default(),
        path: None,
        created_at: comment.created.0,
        updated_at: comment.updated.unwrap_or(comment.created).0,
    })
}
