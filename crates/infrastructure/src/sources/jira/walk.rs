//! Reads issues in the order of change.
//!
//! Cloud hands out a token for the next page; a row that changes meanwhile moves to the end and is met again. A token
//! that is refused is replaced by asking anew from the last change seen.
//!
//! Data Center pages by number, where a row that moves would make another one be skipped. So each page asks for what
//! changed at or after the last change seen, from the beginning. Only where a whole page has one timestamp does it go on
//! by number, a few rows back each time.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use application::ports::{Page, PageRequest, ProjectRef, SourceError, SourceErrorKind};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Cursor, PageRecords};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::super::circle::Circle;
use super::api::{Api, is_too_large};
use super::fields::{Fields, Schema};
use super::lists::{self, List};
use super::malformed;
use super::normalize::{Mapper, distinct_records, unmapped};
use super::people::People;
use super::settings::Stream;
use super::time::Time;
use super::{epics, inside};

/// Issues asked for in one page.
const PAGE_ISSUES: u32 = 100;
/// What an incremental pass asks for again, because the index lags behind.
const CLOUD_OVERLAP: TimeDelta = TimeDelta::minutes(5);
const DATA_CENTER_OVERLAP: TimeDelta = TimeDelta::minutes(10);
/// How many earlier pages are remembered to notice a walk in circles.
const REMEMBERED: usize = 16;
/// Rows read again when going on by number, for those that moved out from before.
const BACK_STEP: u64 = 10;
const MINUTE_MS: i64 = 60_000;
/// Everything but what nobody reads, and the lists.
const FIELDS: [&str; 9] = [
    "*all",
    "-attachment",
    "-thumbnail",
    "-votes",
    "-watches",
    "-subtasks",
    "-lastViewed",
    "-comment",
    "-worklog",
];

/// The fields to ask issues for; with the first comments and worklogs in them or without.
pub(super) const fn fields(with_lists: bool) -> &'static [&'static str] {
    let (without, _lists) = FIELDS.split_at(FIELDS.len() - List::NAMES.len());
    if with_lists { without } else { &FIELDS }
}

/// Where a pass goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// What changed at or after this, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<i64>,
    /// Cloud: the token of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    /// Data Center: rows to pass over.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) start: u64,
    /// Issues a page, where fewer than usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
    /// The latest change seen, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<i64>,
    /// Digests of the last tokens and pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recent: Vec<u64>,
    /// Pages in a row that held nothing new.
    #[serde(default, skip_serializing_if = "is_zero")]
    stalls: u64,
    /// Where it was last begun anew after a refused token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anew: Option<i64>,
    /// The server told what changed before it was asked for: it knows whole minutes only, or gave an earlier page again.
    #[serde(default, skip_serializing_if = "is_false")]
    coarse: bool,
    #[serde(default)]
    circle: Circle,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A page of a search, in either dialect; its issues each as they came, or read at once.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FoundOf<I> {
    /// Never absent: an answer without it is another server's, and would look like the end.
    pub(super) issues: Vec<I>,
    #[serde(default)]
    pub(super) names: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) schema: BTreeMap<String, Schema>,
    /// Cloud.
    #[serde(default)]
    pub(super) next_page_token: Option<String>,
    #[serde(default)]
    pub(super) is_last: Option<bool>,
    /// Data Center.
    #[serde(default)]
    pub(super) start_at: Option<u64>,
    #[serde(default)]
    pub(super) total: Option<u64>,
    #[serde(default)]
    pub(super) max_results: Option<u64>,
}

/// A page of issues that are read one by one, so that what is wrong with one is not wrong with all.
pub(super) type Found<'a> = FoundOf<&'a RawValue>;

impl<I> FoundOf<I> {
    pub(super) fn read<'a>(text: &'a str, what: &str) -> Result<Self, SourceError>
    where
        I: Deserialize<'a>,
    {
        serde_json::from_str(text)
            .map_err(|error| malformed(format!("Jira's answer for {what} is not a page of issues ({error})")))
    }

    /// Names and types of its fields.
    pub(super) fn fields(&mut self) -> Fields {
        Fields::new(std::mem::take(&mut self.names), std::mem::take(&mut self.schema))
    }
}

/// One page of a project's issues.
pub(super) async fn fetch(
    api: &Api<'_>,
    project: &ProjectRef,
    request: &PageRequest<'_>,
) -> Result<Page, SourceError> {
    let first = request.cursor.is_none();
    let overlap = if api.is_cloud() { CLOUD_OVERLAP } else { DATA_CENTER_OVERLAP };
    let position = match request.cursor {
        Some(Cursor(cursor)) => Position::deserialize(cursor)
            .map_err(|_| malformed("the stored position of issues has an unknown form"))?,
        None => Position {
            from: request.since.map(|since| (since - overlap).timestamp_millis()),
            ..Position::default()
        },
    };
    let what = format!("the issues of {}", project.key);
    let restriction = format!("project = {}", project.source_id);
    let estimate = async {
        match (first, request.since, api.is_cloud()) {
            (true, None, true) => count(api, &restriction).await,
            _ => Ok(None),
        }
    };
    let (found, estimate) = tokio::join!(search(api, &restriction, &position, &what), estimate);
    let answer = match found {
        Ok(answer) => answer,
        Err(error) => return recover(error, &position),
    };
    let text = answer.text();
    let mut found = Found::read(&text, &what)?;
    let (records, oldest, updated) = map(api, &mut found).await?;
    let seen = updated.map(|time| time.timestamp_millis()).max(position.seen);
    let estimate = match (first, found.total) {
        // Where details come with the issues, each counts for both.
        (true, Some(total)) => {
            let both = 1 + i64::from(!records.details_done.is_empty());
            i64::try_from(total).ok().map(|total| total.saturating_mul(both))
        }
        _ => estimate?,
    };
    let next = if api.is_cloud() {
        by_token(&found, &position, seen)?
    } else {
        let ms = |time: Option<DateTime<Utc>>| time.map(|time| time.timestamp_millis());
        by_time(&found, &position, ms(oldest), ms(updated))?
    };
    Ok(Page {
        records,
        next: next.map(cursor).transpose()?,
        watermark: updated,
        total_estimate: estimate,
        validator: None,
        not_modified: false,
    })
}

pub(super) fn cursor(position: Position) -> Result<Cursor, SourceError> {
    serde_json::to_value(position)
        .map(Cursor)
        .map_err(|error| malformed(format!("the position cannot be written ({error})")))
}

async fn search(
    api: &Api<'_>,
    restriction: &str,
    position: &Position,
    what: &str,
) -> Result<super::api::Answer, SourceError> {
    let since = position.from.map_or(String::new(), |from| format!(" AND updated >= {from}"));
    let jql = format!("{restriction}{since} ORDER BY updated ASC, key ASC");
    let size = position.size.unwrap_or(PAGE_ISSUES);
    if api.is_cloud() {
        // The first comments and worklogs come with the issues, so that most need not be asked for again.
        let fields = fields(api.settings.reads(Stream::Details));
        let mut body = json!({"jql": jql, "maxResults": size, "fields": fields, "expand": "names,schema"});
        if let Some(token) = &position.token {
            body["nextPageToken"] = json!(token);
        }
        return api.post(&api.rest("/search/jql"), &body, what).await;
    }
    // Everything that hangs on the issues comes with them, so that none of it need be asked for again; not where that was
    // too much for one answer.
    let whole = api.settings.reads(Stream::Details) && position.size.is_none();
    let expand: &[&str] = if whole { &["names", "schema", "changelog"] } else { &["names", "schema"] };
    let body = json!({
        "jql": jql, "startAt": position.start, "maxResults": size, "fields": fields(whole), "expand": expand,
    });
    api.post(&api.rest("/search"), &body, what).await
}

/// About how many issues there are; `None` when Jira does not tell.
pub(super) async fn count(api: &Api<'_>, jql: &str) -> Result<Option<i64>, SourceError> {
    #[derive(Deserialize)]
    struct Count {
        count: Option<i64>,
    }
    let what = "the number of issues";
    if !api.is_cloud() {
        let body = json!({"jql": jql, "startAt": 0, "maxResults": 0, "fields": ["id"]});
        let answer = api.post(&api.rest("/search"), &body, what).await?;
        return Ok(Found::read(&answer.text(), what)?.total.and_then(|total| i64::try_from(total).ok()));
    }
    match api.post(&api.rest("/search/approximate-count"), &json!({"jql": jql}), what).await {
        Ok(answer) => Ok(answer.json::<Count>(what)?.count),
        Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Gone) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What to do about a search that was refused: ask for less when the answer was too large, and begin anew at the last
/// change seen when it is the token that is refused.
fn recover(error: SourceError, position: &Position) -> Result<Page, SourceError> {
    let size = position.size.unwrap_or(PAGE_ISSUES);
    let smaller = is_too_large(&error) && size > 1;
    let expired = error.upstream_status == Some(400)
        && position.token.is_some()
        && position.anew != Some(position.seen.unwrap_or(0));
    if !smaller && !expired {
        return Err(error);
    }
    let next = Position {
        from: position.seen.or(position.from),
        size: if smaller { Some(size / 2) } else { position.size },
        seen: position.seen,
        start: if position.token.is_some() { 0 } else { position.start },
        anew: if expired { Some(position.seen.unwrap_or(0)) } else { position.anew },
        ..Position::default()
    };
    // Going on by number, the window must stay as it is.
    let next = if smaller && position.start > 0 { Position { from: position.from, ..next } } else { next };
    Ok(Page { next: Some(cursor(next)?), ..Page::default() })
}

fn digest(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    // JSON numbers beyond 2^53 do not survive everywhere.
    hasher.finish() >> 12
}

fn remember(recent: &[u64], new: &[u64]) -> Vec<u64> {
    let all: Vec<u64> = recent.iter().chain(new).copied().collect();
    all[all.len().saturating_sub(2 * REMEMBERED)..].to_vec()
}

/// Where Cloud goes on; `None` after the last page.
pub(super) fn by_token(
    found: &Found<'_>,
    position: &Position,
    seen: Option<i64>,
) -> Result<Option<Position>, SourceError> {
    let token =
        found.next_page_token.as_ref().filter(|token| !token.is_empty() && found.is_last != Some(true));
    let Some(token) = token else {
        return match found.is_last {
            Some(false) if found.next_page_token.as_deref().is_none_or(str::is_empty) => {
                Err(malformed("Jira's search says that there is more, and not by which token"))
            }
            _ => Ok(None),
        };
    };
    let (of_token, of_page) = (digest(token), page_digest(found));
    let mut circle = position.circle.clone();
    if position.token.as_ref() == Some(token)
        || position.recent.contains(&of_token)
        || circle.closes_at(token)
    {
        return Err(malformed("Jira's search does not move on: it gave the same page token again"));
    }
    let stalled = of_page.is_some_and(|page| position.recent.contains(&page));
    let stalls = if stalled { position.stalls + 1 } else { 0 };
    if stalls >= 2 {
        return Err(malformed("Jira's search does not move on: its pages hold nothing new"));
    }
    let new: Vec<u64> = [Some(of_token), of_page].into_iter().flatten().collect();
    Ok(Some(Position {
        token: Some(token.clone()),
        seen,
        recent: remember(&position.recent, &new),
        stalls,
        circle,
        ..position.clone()
    }))
}

/// The rows of a page; of an issue that is on it twice, the last.
pub(super) fn last_rows<'a>(rows: &[&'a RawValue]) -> Vec<&'a RawValue> {
    let mut seen = HashSet::new();
    let mut kept: Vec<&RawValue> = rows
        .iter()
        .rev()
        .filter(|raw| serde_json::from_str::<Id>(raw.get()).ok().is_none_or(|row| seen.insert(row.id)))
        .copied()
        .collect();
    kept.reverse();
    kept
}

#[derive(Deserialize, Hash)]
struct Id {
    id: String,
}

/// What a page holds, to be recognised; `None` when it holds nothing.
fn page_digest(found: &Found<'_>) -> Option<u64> {
    let ids: Vec<Id> = found.issues.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect();
    (!ids.is_empty()).then(|| digest(&ids))
}

/// Where Data Center goes on; `None` after the last page.
pub(super) fn by_time(
    found: &Found<'_>,
    position: &Position,
    oldest: Option<i64>,
    updated: Option<i64>,
) -> Result<Option<Position>, SourceError> {
    // No more than it says it gave: rows that are there twice take no place of others.
    let rows = (found.issues.len() as u64).min(found.max_results.unwrap_or(u64::MAX));
    let start = found.start_at.unwrap_or(position.start);
    let total =
        found.total.ok_or_else(|| malformed("Jira's page of issues does not say how many there are"))?;
    if start + rows >= total {
        return Ok(None);
    }
    if rows == 0 {
        return Err(malformed("Jira's search does not move on: a page in the middle is empty"));
    }
    // Its index knows whole seconds.
    let second = |time: i64| time - time.rem_euclid(1_000);
    // Rows of one minute may come before those asked for, as long as they are passed over by number.
    let least = position.from.map(|from| if position.coarse { from.saturating_add(MINUTE_MS) } else { from });
    let advanced = updated.map(second).filter(|updated| Some(*updated) > least);
    let seen = updated.max(position.seen);
    let next = if let Some(from) = advanced {
        Position { from: Some(from), start: 0, seen, coarse: false, ..position.clone() }
    } else {
        let on = start + rows - BACK_STEP.min(rows / 2);
        if on <= position.start {
            return Err(malformed("Jira's search does not move on"));
        }
        // Rows are to be passed over in the window they were told in, which began earlier than asked for.
        let earlier =
            oldest.map(second).filter(|oldest| position.start == 0 && Some(*oldest) < position.from);
        Position {
            from: earlier.or(position.from),
            start: on,
            seen,
            coarse: position.coarse || earlier.is_some(),
            ..position.clone()
        }
    };
    let mut circle = position.circle.clone();
    if circle.closes_at(&(next.from, next.start)) {
        return Err(malformed("Jira's search does not move on: it leads back to what was read"));
    }
    Ok(Some(Position { circle, ..next }))
}

/// The part of an issue that leads on, also when the rest cannot be mapped.
#[derive(Deserialize)]
struct Stamp {
    fields: StampFields,
}

#[derive(Deserialize)]
struct StampFields {
    #[serde(default)]
    updated: Option<Time>,
}

/// The records of a page, and the first and last change among them.
async fn map(
    api: &Api<'_>,
    found: &mut Found<'_>,
) -> Result<(PageRecords, Option<DateTime<Utc>>, Option<DateTime<Utc>>), SourceError> {
    let of_page = found.fields();
    let known;
    let fields = if !of_page.is_told() && !found.issues.is_empty() {
        known = api.known().await?;
        &known.fields
    } else {
        &of_page
    };
    let mapper = Mapper {
        mappings: &api.connection.mappings,
        home: Some(&api.site.home),
        fields: Some(fields),
        has_details: api.settings.reads(Stream::Details),
    };
    let (mut records, mut people) = (PageRecords::default(), People::default());
    let mut mapped = Vec::new();
    let (mut oldest, mut updated): (Option<DateTime<Utc>>, Option<DateTime<Utc>>) = (None, None);
    let mut meet = |time: Option<DateTime<Utc>>| {
        updated = updated.max(time);
        oldest = oldest.into_iter().chain(time).min();
    };
    let rows = last_rows(&found.issues);
    let bare: Vec<Box<RawValue>> = rows.iter().map(|raw| lists::cut(raw)).collect();
    let mut whole = Vec::new();
    for (bare, raw) in bare.iter().zip(rows) {
        match mapper.issue(bare, &mut records, &mut people) {
            Ok(new) => {
                meet(Some(records.items[new.index].updated_at));
                mapped.push((new, &**bare));
                whole.push(raw);
            }
            Err(error) => {
                let stamp: Option<Stamp> = serde_json::from_str(raw.get()).ok();
                meet(stamp.and_then(|stamp| stamp.fields.updated).map(|time| time.0));
                records.unmapped.push(unmapped(Stream::Issues, bare.get(), error));
            }
        }
    }
    inside::add(api, &whole, &mut records, &mut people).await?;
    epics::resolve(api, &mapped, &mut records).await?;
    distinct_records(&mut records);
    records.users = people.into_records();
    Ok((records, oldest, updated))
}

#[cfg(test)]
mod tests;
