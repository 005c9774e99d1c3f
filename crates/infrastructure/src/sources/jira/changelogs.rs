//! The changelogs of issues whose other details are known, and the times in sprints that follow from them.

use std::collections::{BTreeSet, HashMap};

use application::ports::SourceError;
use chrono::{DateTime, Utc};
use domain::PageRecords;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::api::{Api, is_too_large};
use super::lists::{self, List};
use super::model::{History, Issue};
use super::normalize::unmapped;
use super::people::People;
use super::settings::Stream;
use super::time::Time;
use super::{history, malformed, sprints};

/// Changes asked for in one page of the changelogs of many issues. Jira would give 10,000; this bounds an answer to some
/// 1.5 MB.
const CHANGES: u32 = 2_000;
/// Pages of changelogs after which something is wrong: millions of changes.
const MAX_CHANGE_PAGES: usize = 2_000;

/// What an issue told of itself when it was read, for the time its changelog is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// When it was made and last changed.
    times: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The sprints it is in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    sprints: BTreeSet<String>,
    /// The lists of which it held a part only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rest: Vec<List>,
}

impl Told {
    pub(super) fn of(issue: &Issue<'_>, sprint_fields: &BTreeSet<String>, rest: Vec<List>) -> Self {
        let times = issue.get::<Time>("created").zip(issue.get::<Time>("updated"));
        let values = sprint_fields.iter().filter_map(|field| issue.get(field));
        Self {
            times: times.map(|(created, updated)| (created.0, updated.0)),
            sprints: values.flat_map(|value| sprints::ids(&value)).collect(),
            rest,
        }
    }
}

/// An issue whose changelog is to be read, and the lists of which it did not hold everything.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) told: Told,
    /// Its changes, where they came with it.
    pub(super) inside: Option<Vec<History>>,
}

/// Reads what is missing of these issues: at most as many as Jira gives changelogs of at once. Where that is too much
/// for one answer, fewer are asked for.
pub(super) async fn read(
    api: &Api<'_>,
    mut waiting: Vec<Waiting>,
    people: &mut People,
) -> Result<PageRecords, SourceError> {
    let mut records = PageRecords::default();
    if waiting.is_empty() {
        return Ok(records);
    }
    let known = api.known().await?;
    let sprint_fields = known.sprint_fields(&api.connection.mappings);
    let ids: Vec<&str> =
        waiting.iter().filter(|issue| issue.inside.is_none()).map(|issue| issue.id.as_str()).collect();
    let mut changes = changelogs(api, &ids, &mut records).await?;
    let mut rest = Vec::new();
    for Waiting { id, key, told, inside } in waiting.drain(..) {
        let histories = inside.unwrap_or_else(|| changes.remove(&id).unwrap_or_default());
        let moves = history::add(&id, histories, &known.statuses, &sprint_fields, &mut records, people);
        if let Some((created, updated)) = told.times {
            // Where it was moved after it was read, it is where the last move put it.
            let now = match moves.last() {
                Some(last) if last.at > updated => &last.to,
                _ => &told.sprints,
            };
            records.sprint_memberships.extend(sprints::memberships(&id, created, updated, &moves, now));
            records.sprint_memberships_of.push(id.clone());
        }
        rest.extend(told.rest.into_iter().map(|list| (list, id.clone(), key.clone())));
    }
    lists::read(api, rest, &mut records, people).await?;
    Ok(records)
}

/// The changes of issues by their ids, which are numbers.
async fn changelogs(
    api: &Api<'_>,
    ids: &[&str],
    records: &mut PageRecords,
) -> Result<HashMap<String, Vec<History>>, SourceError> {
    let mut changes = HashMap::new();
    let mut open = vec![ids];
    while let Some(batch) = open.pop() {
        if batch.is_empty() {
            continue;
        }
        match pages(api, batch).await {
            Ok((read, mut broken)) => {
                changes.extend(read);
                records.unmapped.append(&mut broken);
            }
            Err(error) if is_too_large(&error) && batch.len() > 1 => {
                let (left, right) = batch.split_at(batch.len() / 2);
                open.extend([right, left]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(changes)
}

type Read = (HashMap<String, Vec<History>>, Vec<domain::Unmapped>);

/// All pages of the changes of these issues: by time, so that an issue's are on several.
async fn pages(api: &Api<'_>, ids: &[&str]) -> Result<Read, SourceError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Bulk<'a> {
        #[serde(default, borrow)]
        issue_change_logs: Vec<OfIssue<'a>>,
        #[serde(default)]
        next_page_token: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct OfIssue<'a> {
        issue_id: String,
        #[serde(default, borrow)]
        change_histories: Vec<&'a RawValue>,
    }
    let what = "the changelogs of issues";
    let mut body = json!({"issueIdsOrKeys": ids, "maxResults": CHANGES});
    let mut tokens = BTreeSet::new();
    let (mut changes, mut broken) = (HashMap::<String, Vec<History>>::new(), PageRecords::default());
    for _ in 0..MAX_CHANGE_PAGES {
        let answer = api.post(&api.rest("/changelog/bulkfetch"), &body, what).await?;
        let text = answer.text();
        let page: Bulk<'_> = serde_json::from_str(&text).map_err(|error| {
            malformed(format!("Jira's answer for {what} is not what it should be ({error})"))
        })?;
        for of_issue in page.issue_change_logs {
            let histories = parse(of_issue.change_histories, &mut broken);
            changes.entry(of_issue.issue_id).or_default().extend(histories);
        }
        let Some(token) = page.next_page_token.filter(|token| !token.is_empty()) else {
            return Ok((changes, broken.unmapped));
        };
        if !tokens.insert(token.clone()) {
            return Err(malformed("Jira's changelogs do not move on: it gave the same page token again"));
        }
        body["nextPageToken"] = json!(token);
    }
    Err(malformed("Jira's changelogs do not end"))
}

#[derive(Default, Deserialize)]
struct Inside<'a> {
    #[serde(default, borrow)]
    histories: Vec<&'a RawValue>,
    #[serde(default)]
    total: Option<usize>,
}

impl<'a> Inside<'a> {
    fn of(issue: &Issue<'a>) -> Option<Self> {
        serde_json::from_str(issue.changelog?.get()).ok()
    }
}

/// The changes that Data Center gives inside of an issue, all of them.
pub(super) fn inside(issue: &Issue<'_>, records: &mut PageRecords) -> Vec<History> {
    parse(Inside::of(issue).unwrap_or_default().histories, records)
}

/// As [`inside`]; `None` where it did not give them, or says that there are more.
pub(super) fn whole(issue: &Issue<'_>, records: &mut PageRecords) -> Option<Vec<History>> {
    let inside = Inside::of(issue)?;
    let all = inside.total.is_none_or(|total| total <= inside.histories.len());
    all.then(|| parse(inside.histories, records))
}

/// Changes one by one, so that an odd one keeps nothing else out.
fn parse(rows: Vec<&RawValue>, records: &mut PageRecords) -> Vec<History> {
    let mut histories = Vec::with_capacity(rows.len());
    for raw in rows {
        match serde_json::from_str(raw.get()) {
            Ok(history) => histories.push(history),
            Err(error) => {
                let error = format!("it is no change ({error})");
                records.unmapped.push(unmapped(Stream::Details, raw.get(), error));
            }
        }
    }
    histories
}
