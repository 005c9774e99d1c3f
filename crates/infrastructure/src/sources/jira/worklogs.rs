//! The feed of worklogs: what was changed or deleted since. It is the only list of deleted things Jira has.
//!
//! A first pass reads no worklogs (they come with the issues) and only notes the time of the server.

use std::collections::{BTreeSet, HashSet};

use application::ports::{Page, PageRequest, SourceError, SourceErrorKind};
use chrono::{DateTime, TimeDelta, Utc};
use domain::record::WorklogRecord;
use domain::{Cursor, PageRecords};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::api::Api;
use super::full;
use super::malformed;
use super::model::Worklog;
use super::normalize::unmapped;
use super::people::People;
use super::settings::Stream;
use super::text::markdown;

/// What is asked for again: the feed leaves out the last minute.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);

/// Where a pass goes on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// `deleted`, then `updated`.
    feed: Feed,
    /// Where the feed goes on, in milliseconds.
    since: i64,
    /// Where the pass began.
    began: i64,
    /// How far the first feed went.
    #[serde(default)]
    until: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Feed {
    Deleted,
    Updated,
}

/// A page of either feed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    #[serde(default)]
    values: Vec<ChangedWorklog>,
    #[serde(default)]
    until: Option<i64>,
    #[serde(default)]
    last_page: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangedWorklog {
    worklog_id: i64,
}

/// One page of the feed.
pub(super) async fn fetch(api: &Api<'_>, request: &PageRequest<'_>) -> Result<Page, SourceError> {
    let mut position = match (request.cursor, request.since) {
        (Some(Cursor(cursor)), _) => Position::deserialize(cursor)
            .map_err(|_| malformed("the stored position of worklogs has an unknown form"))?,
        (None, Some(since)) => {
            let since = (since - OVERLAP).timestamp_millis();
            Position { feed: Feed::Deleted, since, began: since, until: None }
        }
        (None, None) => {
            let watermark = api.server_info().await?.time();
            return Ok(Page { watermark, ..Page::default() });
        }
    };
    let (path, what) = match position.feed {
        Feed::Deleted => (api.rest("/worklog/deleted"), "the deleted worklogs"),
        Feed::Updated => (api.rest("/worklog/updated"), "the changed worklogs"),
    };
    let since = position.since.to_string();
    let changed: Changed = match api.get(&path, &[("since", &since)], what).await {
        // Servers before the feed: what changes is read with the issues.
        Err(error) if error.kind == SourceErrorKind::NotFound && !api.is_cloud() => {
            return Ok(Page { watermark: api.server_info().await?.time(), ..Page::default() });
        }
        answer => answer?.json(what)?,
    };
    let mut records = PageRecords::default();
    let ids: BTreeSet<i64> = changed.values.iter().map(|value| value.worklog_id).collect();
    match position.feed {
        Feed::Deleted => records.worklogs_gone = ids.iter().map(i64::to_string).collect(),
        Feed::Updated if !ids.is_empty() => list(api, &ids, &mut records).await?,
        Feed::Updated => {}
    }
    let until = changed.until.unwrap_or(position.since);
    if changed.last_page == Some(false) {
        if until <= position.since {
            return Err(malformed(format!("Jira's feed of {what} does not move on")));
        }
        position.since = until;
    } else if position.feed == Feed::Deleted {
        position = Position { feed: Feed::Updated, since: position.began, until: Some(until), ..position };
    } else {
        let until = position.until.map_or(until, |other| other.min(until));
        return Ok(Page { records, watermark: DateTime::from_timestamp_millis(until), ..Page::default() });
    }
    let next = serde_json::to_value(&position).map_err(|error| malformed(error.to_string()))?;
    Ok(Page { records, next: Some(Cursor(next)), ..Page::default() })
}

/// Reads worklogs by their ids; of selected projects only, when some are.
async fn list(api: &Api<'_>, ids: &BTreeSet<i64>, records: &mut PageRecords) -> Result<(), SourceError> {
    let what = "the changed worklogs";
    let answer = api.post(&api.rest("/worklog/list"), &json!({"ids": ids}), what).await?;
    let text = answer.text();
    let rows: Vec<&RawValue> =
        serde_json::from_str(&text).map_err(|error| malformed(format!("{what}: {error}")))?;
    let mut people = People::default();
    for raw in rows {
        match record(raw, None, &mut people) {
            Ok(worklog) => records.worklogs.push(worklog),
            Err(error) => records.unmapped.push(unmapped(Stream::Worklogs, raw.get(), error)),
        }
    }
    if api.settings.projects.is_some() {
        let issues: BTreeSet<String> =
            records.worklogs.iter().map(|worklog| worklog.item_ref_key.clone()).collect();
        let issues: Vec<String> = issues.into_iter().collect();
        let mut wanted: HashSet<String> = HashSet::new();
        for chunk in issues.chunks(full::BATCH) {
            wanted.extend(full::selected(api, chunk).await?);
        }
        records.worklogs.retain(|worklog| wanted.contains(&worklog.item_ref_key));
    }
    records.users = people.into_records();
    Ok(())
}

/// A worklog as stored. `issue` is the issue it was read with, when it does not tell itself.
pub(super) fn record(
    raw: &RawValue,
    issue: Option<&str>,
    people: &mut People,
) -> Result<WorklogRecord, String> {
    let worklog: Worklog<'_> =
        serde_json::from_str(raw.get()).map_err(|error| format!("it is no worklog ({error})"))?;
    let item_ref_key =
        issue.map(str::to_owned).or(worklog.issue_id).ok_or_else(|| "`issueId` is missing".to_owned())?;
    let created: DateTime<Utc> = worklog.created.unwrap_or(worklog.started).0;
    Ok(WorklogRecord {
        source_id: worklog.id,
        item_ref_key,
        author: people.meet(worklog.author.as_ref()),
        started_at: worklog.started.0,
        seconds: worklog.time_spent_seconds,
        comment: markdown(worklog.comment),
        created_at: created,
        updated_at: worklog.updated.map_or(created, |time| time.0),
    })
}
